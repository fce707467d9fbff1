# What: which customers of a file of gen-rich are one person, and the rows of profiles, identifiers
#       and identity_conflicts, computed from its lines without Millstream. Imported by gen-rich.
# Why:  as rich_answers.py: answers from the same code that is tested prove nothing.
# Needs: python3.
"""The default settings of `[identity]`, written out again. Telephone numbers in the file have a
country code or are no numbers, so that reading one is dropping signs."""
from rich_time import stamp

KINDS = [("account", 20), ("loyalty_card", 20), ("external_id", 20), ("email", 10), ("phone", 6), ("device", 4), ("cookie", 4)]
LIMITS = dict(KINDS)
NOTHING = {"null", "none", "nil", "n/a", "na", "undefined", "unknown", "anonymous", "guest", "test"}
MAX_MEMBERS = 50
MAX_VALUES = 32  # of a customer and a kind; the first by text
FIELDS = ("name", "email", "phone", "tier", "language", "country", "time_zone")


def compared(kind, value):
    value = value.strip()
    if kind == "email":
        return value.lower()
    if kind == "phone":
        digits = "".join(it for it in value if it.isdigit() or it == "+")
        return "+" + digits[2:] if digits.startswith("0049") else digits
    return value


def worth(kind, value):
    """usable by itself, or why not."""
    if kind not in LIMITS:
        return "kind"
    low = value.lower()
    if low in NOTHING or low.startswith(("test@", "noreply@", "no-reply@")) or low.endswith("@example.com"):
        return "blocked"
    return None if any(it.isalnum() and it != "0" for it in low) else "blocked"


class Persons:
    """Of one tenant. Takes every event once, in any order."""

    def __init__(self):
        self.said, self.pairs, self.known = {}, {}, set()

    def take(self, kind, at, data):
        if kind in ("customer.identified", "customer.unlinked"):
            self.known.add(data["customer"])
            key = (data["kind"], compared(data["kind"], data["value"]), data["customer"])
            self.offer(self.said, key, at, kind == "customer.identified")
        elif kind in ("customer.linked_by_hand", "customer.separated_by_hand"):
            pair = tuple(sorted((data["customer"], data["other"]), key=str.encode))
            self.known.update(pair)
            if pair[0] != pair[1]:
                self.offer(self.pairs, pair, at, kind == "customer.linked_by_hand")

    @staticmethod
    def offer(into, key, at, value):
        if key not in into or into[key][0] < at:
            into[key] = (at, value)

    def kept(self):
        """What was said, without the values beyond the bound."""
        of = {}
        for kind, value, who in self.said:
            of.setdefault((kind, who), []).append(value)
        beyond = set()
        for (kind, who), all in of.items():
            if len(all) > MAX_VALUES:
                beyond.update((kind, value, who) for value in sorted(all, key=str.encode)[MAX_VALUES:])
        return ((it, yes) for it, (_, yes) in self.said.items() if it not in beyond)

    def join(self):
        """Which part each stands in; the links that do not count."""
        carriers = {}
        for (kind, value, who), yes in self.kept():
            if yes:
                carriers.setdefault((kind, value), []).append(who)
        usable = {it: all for it, all in carriers.items() if worth(*it) is None and len(all) <= LIMITS[it[0]]}
        accounts = {}
        for (kind, value), all in usable.items():
            for who in all if kind == "account" else ():
                accounts.setdefault(who, []).append(value)
        apart = sorted((pair for pair, (_, one) in self.pairs.items() if not one), key=lambda it: [x.encode() for x in it])
        part = {who: who for who in self.known}
        members = {who: [who] for who in self.known}
        conflicts = []
        levels = [("by_hand", {("by_hand", f"{encoded(a)}/{encoded(b)}"): [a, b] for (a, b), (_, one) in self.pairs.items() if one})]
        levels += [(kind, {it: all for it, all in usable.items() if it[0] == kind}) for kind, _ in KINDS]
        for level, links in levels:
            to = {}

            def root(it):
                while to.get(it, it) != it:
                    it = to[it]
                return it

            joins = [(link, all, {part[who] for who in all}) for link, all in links.items()]
            joins = [it for it in joins if len(it[2]) > 1]
            for _, _, parts in joins:
                first, *others = parts
                for other in others:
                    to[root(other)] = root(first)
            components, its_links = {}, {}
            for it in joins:
                its_links.setdefault(root(next(iter(it[2]))), []).append(it)
                for one in it[2]:
                    components.setdefault(root(one), set()).add(one)
            whose = {}
            for at, parts in components.items():
                for one in parts:
                    for who in members[one]:
                        whose[who] = at
            parted = {}
            for a, b in apart:
                if a in whose and whose[a] == whose.get(b):
                    parted.setdefault(whose[a], f"{a}, {b}")
            for at, parts in components.items():
                whole = [who for one in parts for who in members[one]]
                against = None
                if len(whole) > MAX_MEMBERS:
                    against = "too_large", f"{len(whole)} customers"
                elif at in parted:
                    against = "separated", parted[at]
                elif level != "by_hand":
                    against = contradiction([{it for who in members[one] for it in accounts.get(who, ())} for one in parts])
                if against:
                    conflicts += [(link, all, *against) for link, all, _ in its_links[at]]
                    continue
                for one in parts:
                    del members[one]
                members[at] = whole
                for who in whole:
                    part[who] = at
        return part, members, carriers, usable, conflicts

    def views(self, customers):
        part, members, carriers, usable, conflicts = self.join()
        person = {}
        for at, all in members.items():
            all.sort(key=lambda it: (customers[it]["first"], it.encode()))
            person[at] = all[0]
            yield "profiles", profile(all, [customers[it] for it in all])
        ids = lambda all: sorted(set(all), key=str.encode)  # noqa: E731
        for (kind, value), all in carriers.items():
            is_usable = (kind, value) in usable
            persons = ids(person[part[it]] for it in all) if is_usable else []
            yield "identifiers", {
                "kind": kind, "value": value, "usable": is_usable, "n_customers": len(all),
                "why_not": None if is_usable else worth(kind, value) or "too_many",
                "customers": ids(all) if is_usable else [], "persons": persons,
                "person": persons[0] if len(persons) == 1 else None,
            }
        for who in self.known:
            whose = person[part[who]]
            yield "identifiers", {
                "kind": "customer", "value": who, "usable": True, "n_customers": 1, "why_not": None,
                "customers": [who], "persons": [whose], "person": whose,
            }
        for (kind, value), all, reason, detail in conflicts:
            yield "identity_conflicts", {"kind": kind, "value": value, "reason": reason, "detail": detail, "customers": ids(all)}


def encoded(it):
    """A part of a key, as a key has it."""
    return "".join(f"%{ord(c):02X}" if c in "%/" or ord(c) < 32 or ord(c) == 127 else c for c in it)


def contradiction(parts):
    """The first two values that no part carries together."""
    values = sorted(set().union(*parts), key=str.encode)
    for place, a in enumerate(values):
        for b in values[place + 1:]:
            if not any(a in it and b in it for it in parts):
                return "contradiction", f"account: {a}, {b}"
    return None


def profile(ids, members):
    fields = {}
    for it in members:
        for name, newest in it["fields"].items():
            if newest.at is not None and (name not in fields or fields[name].at < newest.at):
                fields[name] = newest
    value = lambda name: fields[name].value if name in fields else None  # noqa: E731
    total = lambda name: sum(it[name] for it in members)  # noqa: E731
    money = {name: {} for name in ("spend", "cancelled", "returned")}
    for name, sums in money.items():
        for it in members:
            for currency, amount in it[name].items():
                sums[currency] = sums.get(currency, 0) + amount
    attributes = {it[1]: newest.value for it, newest in fields.items() if it[0] == "attribute" and newest.value is not None}
    return {
        "person": ids[0], "n_members": len(ids), "members": ids, "attributes": attributes,
        **{name: value(name) for name in FIELDS}, **money,
        "n_events": total("n_events"), "n_orders": total("n_orders"), "n_ratings": total("n_ratings"),
        "rating_sum": total("rating_sum"), "n_cases": total("opened"),
        "n_open_cases": sum(case.value for it in members for case in it["cases"].values()),
        "first_seen_at": stamp(min(it["first"] for it in members)),
        "last_seen_at": stamp(max(it["last"] for it in members)),
    }
