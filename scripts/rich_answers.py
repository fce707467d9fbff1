# What: what nine views must say of a file of gen-rich: their rows and digests, computed from
#       the file's lines without Millstream. Imported by gen-rich.
# Why:  answers from the same code that is tested prove nothing; read from the lines that were
#       written, they hold for the file and not for what its maker meant.
# Needs: python3.
"""No row speaks of two tenants, so each tenant is answered in a process of its own. Of most events
a word and two numbers are kept, so that a file of millions fits into memory."""
import concurrent.futures
import gc
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rich_persons  # noqa: E402
import rows  # noqa: E402
from rich_time import millis, stamp  # noqa: E402


def of(path, tenants, now, keep_lines):
    """The answers: of each view its rows, digest and fields, and with `keep_lines` its lines.
    `now` is the newest event time of all tenants: the views' clock in a replay."""
    with concurrent.futures.ProcessPoolExecutor() as pool:
        told = list(pool.map(of_tenant, [path] * len(tenants), tenants, [now] * len(tenants)))
    answer = {}
    for view, fields in FIELDS.items():
        lines = [line for of_one in told for line in of_one[view]]
        answer[view] = rows.digest(lines) | {"fields": fields}
        if keep_lines:
            answer[view]["lines"] = sorted(lines)
    return answer


def of_tenant(path, tenant, now):
    """The lines of these views that this file's events make for one tenant."""
    gc.disable()  # nothing here is a circle
    answers, member, newest = Answers(tenant, now), f'"tenant":"{tenant}"', ""
    with open(path, encoding="utf-8") as file:
        for line in file:
            if (member not in line) if tenant != "default" else ('"tenant":"' in line):
                continue
            event = json.loads(line)
            if event["id"] <= newest:  # ids count up: this one was here
                continue
            newest = event["id"]
            answers.take(event["type"], millis(event["time"]), int(newest, 16), event["data"])
    lines = {view: [] for view in FIELDS}
    for view, row in answers.views():
        lines[view].append(rows.line(row, FIELDS[view]))
    return lines


class Newest:
    """The value with the greatest (event time, id): last writer wins, whatever the order."""

    __slots__ = ("at", "value")

    def __init__(self):
        self.at, self.value = None, None

    def offer(self, at, value):
        if self.at is None or at > self.at:
            self.at, self.value = at, value


class Answers:
    """What the views must say of one tenant. Takes each event once, in the order of making."""

    def __init__(self, tenant, now):
        self.tenant, self.now = tenant, now
        self.customers, self.orders, self.cases, self.volume = {}, {}, {}, {}
        self.persons = rich_persons.Persons()

    def customer(self, customer):
        if customer not in self.customers:
            self.customers[customer] = {
                "n_events": 0, "n_orders": 0, "spend": {}, "cancelled": {}, "returned": {},
                "rating_sum": 0, "n_ratings": 0, "opened": 0, "cases": {},
                "first": None, "last": None, "fields": {},
            }
        return self.customers[customer]

    def take(self, kind, ms, event_id, data):
        at = (ms, event_id)
        kind = sys.intern(kind)
        minute = (ms // 60_000, kind)
        self.volume[minute] = self.volume.get(minute, 0) + 1
        who = None
        if "customer" in data:
            who = self.customer(data["customer"])
            who["n_events"] += 1
            who["first"] = ms if who["first"] is None else min(who["first"], ms)
            who["last"] = ms if who["last"] is None else max(who["last"], ms)
        if "other" in data and data["other"] != data["customer"]:  # two are named
            other = self.customer(data["other"])
            other["n_events"] += 1
            other["first"] = ms if other["first"] is None else min(other["first"], ms)
            other["last"] = ms if other["last"] is None else max(other["last"], ms)
        self.persons.take(kind, at, data)
        if kind in ("customer.registered", "customer.updated"):
            for name in ("name", "email", "phone", "tier", "language", "country", "time_zone"):
                if name in data:
                    who["fields"].setdefault(name, Newest()).offer(at, data[name])
            for name, value in data.get("attributes", {}).items():
                who["fields"].setdefault(("attribute", name), Newest()).offer(at, value)
        elif kind == "order.placed":
            who["n_orders"] += 1
            who["spend"][data["currency"]] = who["spend"].get(data["currency"], 0) + amount_of(data)
        elif kind in ("order.cancelled", "order.returned"):
            word = kind[len("order."):]
            who[word][data["currency"]] = who[word].get(data["currency"], 0) + data["amount"]
        elif kind == "feedback.submitted":
            if "rating" in data:
                who["rating_sum"] += data["rating"]
                who["n_ratings"] += 1
        elif kind == "case.opened":
            who["opened"] += 1
        if kind.startswith("case.") and who:  # one that names nobody says nothing of a customer
            who["cases"].setdefault(data["case"], Newest()).offer(at, kind != "case.resolved")
        # Of an order or case is kept what was said of it: (ms, id, status, the rest of it).
        if kind.startswith("order."):
            said = self.orders.setdefault(data["order"], [])
            if kind == "order.status_changed":
                said.append((ms, event_id, sys.intern(data["status"]), data.get("line")))
            else:
                said.append((ms, event_id, sys.intern(kind[len("order."):]), data))
        if kind.startswith("case."):
            self.cases.setdefault(data["case"], []).append((ms, event_id, kind[len("case."):], data))

    def views(self):
        """Rows of these views, with the catalogue's names for the fields."""
        by_status, top = {}, {}
        tenant = self.tenant
        for customer, it in self.customers.items():
            value = lambda name: it["fields"][name].value if name in it["fields"] else None  # noqa: E731
            yield "customers", {
                "tenant": tenant, "customer": customer, "n_events": it["n_events"],
                "n_orders": it["n_orders"], "spend": it["spend"], "cancelled": it["cancelled"],
                "returned": it["returned"], "rating_sum": it["rating_sum"],
                "n_ratings": it["n_ratings"], "n_cases": it["opened"], "n_open_cases": sum(case.value for case in it["cases"].values()),
                "first_seen_at": stamp(it["first"]), "last_seen_at": stamp(it["last"]),
                **{name: value(name) for name in ("name", "email", "phone", "tier", "language", "country", "time_zone")},
                "attributes": {name[1]: newest.value for name, newest in it["fields"].items() if name[0] == "attribute" and newest.value is not None},
            }
            for currency, amount in it["spend"].items():
                top.setdefault(currency, []).append((-amount, customer))
        for view, row in self.persons.views(self.customers):
            yield view, {"tenant": tenant} | row
        for order, said in self.orders.items():
            row = order_row(order, sorted(said, key=lambda it: it[:2]), self.now)
            yield "orders", {"tenant": tenant} | row
            counted = by_status.setdefault((row["status"], row["currency"]), [0, 0])
            counted[0] += 1
            counted[1] += row["amount"]
        for case, said in self.cases.items():
            yield "cases", {"tenant": tenant} | case_row(case, sorted(said, key=lambda it: it[:2]))
        for (minute, kind), count in self.volume.items():
            yield "volume", {"tenant": tenant, "minute": stamp(minute * 60_000), "type": kind, "n_events": count}
        for (status, currency), (count, amount) in by_status.items():
            yield "orders_by_status", {"tenant": tenant, "status": status, "currency": currency, "n_orders": count, "amount": amount}
        for currency, ranked in top.items():
            for rank, (negative, customer) in enumerate(sorted(ranked)[:100], 1):
                yield "top_customers", {"tenant": tenant, "currency": currency, "rank": rank, "customer": customer, "spend": -negative}


def amount_of(placed):
    return sum(it["quantity"] * it["unit_price"] for it in placed["lines"])


def order_row(order, said, now):
    """One order of everything said of it, oldest first."""
    row = {
        "order": order, "status": None, "customer": None, "channel": None, "currency": None,
        "amount": None, "n_lines": 0, "placed_at": None, "promised_at": None, "late": None,
        "delivered_at": None, "cancelled_at": None, "cancelled": {}, "cancel_reason": None,
        "returned_at": None, "returned": {}, "return_reason": None, "lines": [], "timeline": [],
    }
    settled = None
    for ms, _, status, data in said:
        if isinstance(data, int):  # a line's status is not the order's
            row["timeline"].append({"at": stamp(ms), "status": status, "line": data})
            continue
        row["status"] = status
        row["timeline"].append({"at": stamp(ms), "status": status})
        if status == "placed":
            row |= {
                "customer": data["customer"], "channel": data.get("channel"), "currency": data["currency"],
                "amount": amount_of(data), "n_lines": len(data["lines"]), "placed_at": stamp(ms),
                "promised_at": data.get("promised_at"),
                "lines": [{"line": at, "status": None} | line for at, line in enumerate(data["lines"], 1)],
            }
        elif status in ("cancelled", "returned"):
            sums = row[status]
            sums[data["currency"]] = sums.get(data["currency"], 0) + data["amount"]
            reason = "cancel_reason" if status == "cancelled" else "return_reason"
            row[reason] = data.get("reason", row[reason])
        if status in ("delivered", "cancelled", "returned") and row[f"{status}_at"] is None:
            row[f"{status}_at"] = stamp(ms)
            if status != "returned":
                settled = ms if settled is None else min(settled, ms)
    for _, _, status, line in said:
        if isinstance(line, int):
            row["lines"][line - 1]["status"] = status
    if row["promised_at"] is not None:  # stamps of one zone and length compare as text
        row["late"] = stamp(now if settled is None else settled) > row["promised_at"]
    return row


def case_row(case, said):
    """One case of everything said of it, oldest first."""
    row = {name: None for name in FIELDS["cases"][1:]} | {"case": case, "skills": []}
    for ms, _, word, data in said:
        row |= {"status": "open" if word == "opened" else word, f"{word}_at": stamp(ms)}
        if word == "opened":
            row |= {"severity": data["severity"], "customer": data["customer"], "text": data.get("text"), "skills": data.get("skills", [])}
        if word == "assigned":
            row["agent"] = data["agent"]
        if word == "resolved":
            row["resolution"] = data.get("resolution")
        row["queue"] = data.get("queue", row["queue"])
    return row


# What of each view goes into its digest, in this order; bench-rich reads it from the answers.
FIELDS = {
    "customers": ["tenant", "customer", "name", "email", "phone", "tier", "language", "country", "time_zone", "attributes", "first_seen_at", "last_seen_at", "n_events", "n_orders", "spend", "cancelled", "returned", "n_ratings", "rating_sum", "n_cases", "n_open_cases"],
    "orders": ["tenant", "order", "status", "customer", "channel", "currency", "amount", "n_lines", "placed_at", "promised_at", "late", "delivered_at", "cancelled_at", "cancelled", "cancel_reason", "returned_at", "returned", "return_reason", "lines", "timeline"],
    "cases": ["tenant", "case", "status", "severity", "queue", "agent", "customer", "opened_at", "assigned_at", "resolved_at", "text", "skills", "resolution"],
    "volume": ["tenant", "minute", "type", "n_events"],
    "orders_by_status": ["tenant", "status", "currency", "n_orders", "amount"],
    "top_customers": ["tenant", "currency", "rank", "customer", "spend"],
    "profiles": ["tenant", "person", "name", "email", "phone", "tier", "language", "country", "time_zone", "attributes", "n_members", "members", "first_seen_at", "last_seen_at", "n_events", "n_orders", "spend", "cancelled", "returned", "n_ratings", "rating_sum", "n_cases", "n_open_cases"],
    "identifiers": ["tenant", "kind", "value", "person", "usable", "why_not", "n_customers", "customers", "persons"],
    "identity_conflicts": ["tenant", "kind", "value", "reason", "detail", "customers"],
}
