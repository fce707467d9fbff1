//! Where each order is, in words that a customer understands, and what comes next.
//!
//! In: the states of [`crate::orders`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per order of `orders`, of the same state at the same epoch. Where it stands is what that
//! view says; a line stands where the newest statement about it, or about the whole order, says.
//! What comes next is the next of: paid, made, checked, shipped, out for delivery, delivered; by
//! when is the time of the newest statement and what is usual on its lane where the order stands
//! ([`crate::orders`], `standing`); `next_by_model` is the model that says what is usual, where one
//! does. Past that it is stuck. A line that stands as the order does is
//! expected as the order is, another by the fixed time of its own status. The words for the
//! customer tell a time that was learnt from one that is fixed.
//!
//! When it arrives (`eta_p50`, `eta_p90`, `late_risk_percent`) is said of an order that was paid and
//! is neither delivered nor cancelled nor came back, for [`SHOWN`] from entering the stage that it is
//! in ([`crate::models::journeys`]): by the model of *other* orders' lanes that was sealed and published
//! before it entered that stage ([`crate::models::arrivals`]), whose name is `eta_model`; `eta_reasons`
//! are the kinds of orders that it leans on. It is said anew when the order enters the next stage (paid,
//! in production, checked, shipped, out for delivery), and at no other time; where that model knows
//! nothing of orders in that stage, what was said at the stage before stands. Where there is none at
//! all nothing is made up.
//!
//! # State
//! None: it is another look at the map of `orders` ([`crate::served`]), so it costs an event
//! nothing but the timers of being stuck and of the end of the estimate and of what was learnt.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::{Event, Status};
use schemas::names::Name;
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde_json::{Value as Json, json};

use crate::models::arrivals::{self, SHOWN};
use crate::models::eta::Reason;
use crate::models::journeys::Journey;
use crate::models::lanes::Way;
use crate::models::silences;
use crate::orders::standing::{next, usual};
use crate::orders::{self, Orders, State};
use crate::{Epoch, Fold};

mod words;

use words::{message, now_words};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "order_visibility",
    words: "Where each order is, in words that a customer understands, and what comes next.",
    shape: Shape::Relation,
    key: &["order"],
    fields: &[
        FieldDef::new("order", FieldKind::Text, false, false, "The order."),
        FieldDef::new("status", FieldKind::Text, true, true, "Where it stands, as in orders."),
        FieldDef::new("customer", FieldKind::Text, true, true, "Who placed it."),
        FieldDef::new(
            "message",
            FieldKind::Text,
            false,
            false,
            "Where it is and what comes next, in a sentence or three for the customer.",
        ),
        FieldDef::new(
            "since",
            FieldKind::Time,
            true,
            false,
            "Since when it stands there: the newest statement about the whole order.",
        ),
        FieldDef::new("next", FieldKind::Text, true, true, "The status that comes next."),
        FieldDef::new(
            "next_by",
            FieldKind::Time,
            true,
            false,
            "By when that usually comes, at the latest.",
        ),
        FieldDef::new(
            "next_by_model",
            FieldKind::Text,
            true,
            true,
            "Which model says so, with its version; null where a fixed time holds, or nothing comes next.",
        ),
        FieldDef::new(
            "stuck",
            FieldKind::Bool,
            false,
            true,
            "On its way, and nothing was said of it for longer than is usual.",
        ),
        FieldDef::new("promised_at", FieldKind::Time, true, false, "When it was promised."),
        FieldDef::new("late", FieldKind::Bool, true, true, "As in orders."),
        FieldDef::new("delivered_at", FieldKind::Time, true, false, "As in orders."),
        FieldDef::new(
            "eta_p50",
            FieldKind::Time,
            true,
            false,
            "It arrives by then with even chance; null until models of lanes are published.",
        ),
        FieldDef::new(
            "eta_p90",
            FieldKind::Time,
            true,
            false,
            "It arrives by then in nine cases of ten; null until models of lanes are published.",
        ),
        FieldDef::new(
            "late_risk_percent",
            FieldKind::Int,
            true,
            false,
            "How likely it breaks its promise; null until models of lanes are published.",
        ),
        FieldDef::new(
            "eta_model",
            FieldKind::Text,
            true,
            true,
            "Which published model says when it arrives, such as arrival 3.",
        ),
        FieldDef::new(
            "eta_reasons",
            FieldKind::Json,
            false,
            false,
            "What that leans on, the orders most like it first, at most three: words, and orders (how \
             many of them arrived, older ones counting less).",
        ),
        FieldDef::new(
            "lines",
            FieldKind::Json,
            false,
            false,
            "Each line: line, sku, quantity, the status in which it stands and since when, what comes \
             next (next) and by when (next_by); eta_p50 and eta_p90, where that is known and said of the \
             order; ship_from, ship_to, carrier, seller where stated.",
        ),
        FieldDef::new(
            "timeline",
            FieldKind::Json,
            false,
            false,
            "What was said, oldest first: at, status, words, and the line if it is one line's.",
        ),
    ],
};

/// `orders`, seen so.
pub struct OrderVisibility;

impl Fold for OrderVisibility {
    /// Nobody folds it.
    type Update = ();
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(_: &mut State, (): &()) {}

    #[inline]
    fn exists(state: &State) -> bool {
        Orders::exists(state)
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        let order = <Orders as Fold>::row(name, state, now)?;
        let said = state.said_of();
        let lines = said.lines.iter().map(|it| it.map(|(status, at)| (status, at))).collect();
        let at = i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(1_000);
        let due = state.due_by(name.tenant(), at).map(|(due, by)| (due.at, by));
        Some(seen((name.tenant(), &order), state.status(), said.since, due, lines, now))
    }
}

/// What is said of when it arrives: half of such orders by then, nine of ten by then, how many of a
/// hundred break their promise, who says so, and why.
struct Eta {
    p50: i64,
    p90: i64,
    risk: Option<i64>,
    model: CompactString,
    reasons: Vec<Reason>,
}

impl Eta {
    /// Of an order.
    fn of(journey: &Journey, now: i64) -> Option<Eta> {
        let way = journey.way();
        let shown = |it: &(Status, i64)| now <= it.1.saturating_add(SHOWN);
        let mut told = journey.stages().filter(shown).filter_map(|(stage, entered)| {
            let (arrival, model) = arrivals::published().of(&way, stage, entered)?;
            Some((stage, entered, arrival, model))
        });
        let (stage, entered, arrival, model) = told.next()?;
        let [p50, p90] = arrival.shown();
        let risk = journey.promised_at.map(|it| arrival.risk_percent(it));
        let reasons = arrivals::published().reasons(&way, stage, entered);
        Some(Eta { p50, p90, risk, model, reasons })
    }
}

/// The row, of the order's own row, where the whole order stands and since when, when it gets stuck
/// and which model says so, if it was learnt, and where its lines stand.
fn seen(
    (tenant, order): (&str, &Row),
    status: Option<Status>,
    since: Option<i64>,
    due: Option<(i64, Option<CompactString>)>,
    stands: Vec<Option<(Status, i64)>>,
    now: Epoch,
) -> Row {
    let of = |name: &str| {
        let place = orders::DEF.position(name);
        place.and_then(|it| order.values.get(it).cloned()).unwrap_or_default()
    };
    let time = |it: Option<i64>| it.map_or(Value::Null, Value::Time);
    let now = i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(1_000);
    let (stuck_at, by) = due.unzip();
    let by = by.flatten();
    let text = |it: Option<CompactString>| it.map_or(Value::Null, Value::Text);
    let is_stuck = stuck_at.is_some_and(|it| it < now);
    let next = status.and_then(next).filter(|_| stuck_at.is_some());
    let promised = match of("promised_at") {
        Value::Time(it) => Some(it),
        _ => None,
    };
    let is_late = of("late") == Value::Bool(true);
    let journey = Journey::of(order, tenant);
    let eta = Eta::of(&journey, now);
    let told = eta.is_some().then_some(&journey);
    let due = stuck_at.map(|it| (it, by.is_some()));
    let message = message((status, since), next, due, is_stuck, promised, is_late);
    Row {
        values: vec![
            of("order"),
            of("status"),
            of("customer"),
            Value::Text(message.into()),
            time(since),
            text(next.map(|it| it.as_str().into())),
            time(stuck_at),
            text(by),
            Value::Bool(is_stuck),
            of("promised_at"),
            of("late"),
            of("delivered_at"),
            time(eta.as_ref().map(|it| it.p50)),
            time(eta.as_ref().map(|it| it.p90)),
            eta.as_ref().and_then(|it| it.risk).map_or(Value::Null, Value::Int),
            text(eta.as_ref().map(|it| it.model.clone())),
            Value::Json(reasons(eta.map_or_else(Vec::new, |it| it.reasons))),
            lines(of("lines"), stands, (status.zip(since), stuck_at), told),
            timeline(of("timeline")),
        ],
    }
}

fn reasons(of: Vec<Reason>) -> Json {
    let of = of.into_iter().map(|it| json!({"words": it.words, "orders": it.orders}));
    of.collect()
}

/// The order's lines without prices, each with where it stands, and what comes next by when: as of
/// the order (where that stands, and when it gets stuck), if it stands as the order does; else by
/// the fixed time of its own status. Nothing comes next of an order that is not on its way. As long
/// as it is told when the order arrives it is told of its lines, too, that stand at a stage of which
/// enough is known: on the line's own lane, from the newest statement on. (Nothing is said of the
/// order that does not hold for its lines, so none has stood there for longer than the order.)
fn lines(
    of: Value,
    stands: Vec<Option<(Status, i64)>>,
    (order, stuck_at): (Option<(Status, i64)>, Option<i64>),
    told: Option<&Journey>,
) -> Value {
    let Value::Json(Json::Array(mut lines)) = of else { return Value::Json(json!([])) };
    let arrives = |line: &serde_json::Map<String, Json>, stands: Option<(Status, i64)>| {
        let place = |name: &str| line.get(name).and_then(Json::as_str);
        let (from, to) = (place("ship_from"), place("ship_to"));
        let seller = place("seller").or_else(|| place("carrier"));
        let (stage, since) = stands?;
        let way = Way { from, to, seller, ..told?.way() };
        Some(arrivals::published().of(&way, stage, since)?.0.shown())
    };
    for (line, stands) in lines.iter_mut().zip(stands) {
        let Json::Object(line) = line else { continue };
        line.remove("unit_price");
        let at = |it: Option<i64>| it.map(schemas::time::rfc3339);
        line.insert("status".into(), stands.map(|it| it.0.as_str()).into());
        line.insert("since".into(), at(stands.map(|it| it.1)).into());
        let on_its_way = stands.zip(stuck_at);
        let next_by = on_its_way.and_then(|((status, since), stuck_at)| match stands == order {
            true => Some(stuck_at),
            false => Some(since + usual(status)?),
        });
        let next = on_its_way.and_then(|it| next(it.0.0));
        line.insert("next".into(), next.map(Status::as_str).into());
        line.insert("next_by".into(), at(next_by).into());
        if let Some([p50, p90]) = arrives(line, stands) {
            line.insert("eta_p50".into(), at(Some(p50)).into());
            line.insert("eta_p90".into(), at(Some(p90)).into());
        }
    }
    Value::Json(Json::Array(lines))
}

/// The order's timeline, each entry with its words.
fn timeline(of: Value) -> Value {
    let Value::Json(Json::Array(mut entries)) = of else { return Value::Json(json!([])) };
    for entry in &mut entries {
        let status = entry["status"].as_str().and_then(Status::parse);
        entry["words"] = status.map(now_words).into();
    }
    Value::Json(Json::Array(entries))
}

/// The view, plainly: of the rows of `orders`, their timelines gone through in order.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let rows = orders::reference(events, now).into_iter();
    rows.map(|(name, row)| {
        let said = Plain::of(&row);
        let row = (name.tenant(), &row);
        let due = said.due(row.0, row.1, now);
        let seen = seen(row, said.status, said.since, due, said.lines, now);
        (name, seen)
    })
    .collect()
}

/// What a row of `orders` says of how the order stands.
#[derive(Clone)]
pub(crate) struct Plain {
    pub(crate) status: Option<Status>,
    pub(crate) since: Option<i64>,
    pub(crate) newest: Option<i64>,
    pub(crate) is_settled: bool,
    pub(crate) shipped_at: Option<i64>,
    pub(crate) lines: Vec<Option<(Status, i64)>>,
}

impl Plain {
    pub(crate) fn of(row: &Row) -> Plain {
        let of = |name: &str| {
            let Value::Json(it) = &row.values[orders::DEF.position(name).expect("a field")] else {
                panic!("{name} is JSON");
            };
            it.as_array().cloned().expect("a list")
        };
        let null =
            |name: &str| row.values[orders::DEF.position(name).expect("a field")] == Value::Null;
        let said: Vec<(i64, Status, usize)> = of("timeline")
            .iter()
            .map(|it| {
                let at = it["at"].as_str().and_then(schemas::time::parse_rfc3339);
                let status = it["status"].as_str().and_then(Status::parse);
                let line = it["line"].as_u64().unwrap_or(0) as usize;
                (at.expect("an instant"), status.expect("a status"), line)
            })
            .collect();
        let whole = || said.iter().filter(|it| it.2 == 0);
        let about = |line: usize| said.iter().rev().find(|it| it.2 == 0 || it.2 == line);
        Plain {
            status: whole().next_back().map(|it| it.1),
            since: whole().next_back().map(|it| it.0),
            newest: said.last().map(|it| it.0),
            is_settled: !null("delivered_at") || !null("cancelled_at"),
            shipped_at: whole().find(|it| it.1 == Status::Shipped).map(|it| it.0),
            lines: (1..=of("lines").len()).map(|it| about(it).map(|it| (it.1, it.0))).collect(),
        }
    }

    /// When it gets stuck, and which model says so, if that was learnt.
    pub(crate) fn due(
        &self,
        tenant: &str,
        row: &Row,
        now: Epoch,
    ) -> Option<(i64, Option<CompactString>)> {
        let status = self.status.filter(|_| !self.is_settled)?;
        let (usual, newest) = (usual(status)?, self.newest?);
        let is_recent = now as i64 * 1_000 <= newest + SHOWN;
        let places = || silences::places(row);
        let learnt = arrivals::published().patience_by(tenant, status, newest, places);
        let (learnt, by) = learnt.filter(|_| is_recent).unzip();
        Some((newest + learnt.unwrap_or(usual), by))
    }
}

#[cfg(test)]
mod tests;
