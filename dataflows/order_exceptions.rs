//! What is wrong with orders now.
//!
//! ```text
//!  fold orders ─(what is wrong with a touched order)─▶ publish
//! ```
//!
//! # Meaning
//! One row per order and exception, as long as it holds:
//!
//! - `late`: promised, and not delivered or cancelled by then; severity 1 while it has not been
//!   shipped, else 2.
//! - `not_in_production`: paid, and nothing was said for longer than is usual on its lane
//!   (`orders::standing`); `stuck`: the same wherever else it stands on its way. Severity 2.
//! - `problem`: said to be one. Severity 2.
//! - `contradictory`: delivered before it was shipped, or both delivered and cancelled. Severity 3.
//! - `split`: some of its lines have left the house and others have not. Severity 4.
//! - `returned`: it came back. Severity 4.
//!
//! Since when is always an instant of the facts (the promise, the end of the usual time, a
//! statement), never the time at which it was noticed. What is late or stuck is noticed by a timer,
//! in the first millisecond in which it is so; when the facts change the row is gone. (Of an order of
//! which nothing was said for eighty days the end of the usual time is that of the fixed one again.)
//!
//! What is usual is a prediction where a model says it, and `model` names that one; everything else is
//! a fact, or a fixed time's.
//!
//! # State
//! A row per exception, of 128 bytes, and what is longer than 24 of its names. What is looked at per
//! event is the order's own state, before and after. A row goes when what was wrong is so no more.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::{Event, Status};
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::fold::Project;
use crate::order_visibility::Plain;
use crate::orders::standing::has_left;
use crate::orders::{self, NEVER, Orders, State};
use crate::publish::Relation;
use crate::{Epoch, key_id};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "order_exceptions",
    words: "What is wrong with orders now: late, stuck, contradictory, split, returned.",
    shape: Shape::Relation,
    key: &["order", "exception"],
    fields: &[
        FieldDef::new("order", FieldKind::Text, false, true, "The order."),
        FieldDef::new(
            "exception",
            FieldKind::Text,
            false,
            true,
            "late, not_in_production, stuck, problem, contradictory, split or returned.",
        ),
        FieldDef::new("customer", FieldKind::Text, true, true, "Whose order, if that is known."),
        FieldDef::new("severity", FieldKind::Int, false, true, "1 (most severe) to 4."),
        FieldDef::new("since", FieldKind::Time, false, false, "Since when it is so."),
        FieldDef::new("status", FieldKind::Text, true, true, "Where the order stands."),
        FieldDef::new(
            "model",
            FieldKind::Text,
            true,
            true,
            "Of stuck and not_in_production: which model says what is usual, with its version; null \
             where a fixed time holds, and of facts.",
        ),
    ],
};

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Promised earlier.
    Late,
    /// Paid, and nothing since.
    NotInProduction,
    /// Nothing for longer than is usual.
    Stuck,
    /// Said to be one.
    Problem,
    /// Statements that cannot all be true.
    Contradictory,
    /// Lines that go separate ways.
    Split,
    /// It came back.
    Returned,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Late => "late",
            Kind::NotInProduction => "not_in_production",
            Kind::Stuck => "stuck",
            Kind::Problem => "problem",
            Kind::Contradictory => "contradictory",
            Kind::Split => "split",
            Kind::Returned => "returned",
        }
    }
}

/// Something that is wrong with an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wrong {
    tenant: CompactString,
    order: CompactString,
    kind: Kind,
    customer: Option<CompactString>,
    severity: u8,
    since: i64,
    status: Option<Status>,
    model: Option<CompactString>,
}

const _: () = assert!(16 + size_of::<Wrong>() <= 128); // the doc's

/// The relation, and what tells it.
pub struct OrderExceptions;

/// What is wrong with an order at an instant: kind, severity, since when, and the model that says so.
fn each(
    tenant: &str,
    state: &State,
    now: Epoch,
    mut predicted: impl FnMut(Kind, u8, i64, Option<CompactString>),
) {
    let now = i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(1_000);
    let status = state.status();
    let [promised, delivered, cancelled, returned] = state.instants_known();
    if let Some((since, model)) = state.stuck_since(tenant, now) {
        let is_paid = status == Some(Status::Paid);
        predicted(if is_paid { Kind::NotInProduction } else { Kind::Stuck }, 2, since, model);
    }
    let mut is = |kind, severity, since| predicted(kind, severity, since, None);
    if promised < now && delivered.min(cancelled) == NEVER {
        is(Kind::Late, if status.is_some_and(has_left) { 2 } else { 1 }, promised);
    }
    if status == Some(Status::Returned) && returned != NEVER {
        is(Kind::Returned, 4, returned);
    }
    // Most orders need not be gone through.
    let is_problem = status == Some(Status::Problem);
    if !is_problem && delivered == NEVER && state.n_lines() < 2 {
        return;
    }
    let said = state.said_of();
    if let Some(since) = said.since.filter(|_| is_problem) {
        is(Kind::Problem, 2, since);
    }
    let both = (delivered != NEVER && cancelled != NEVER).then(|| delivered.max(cancelled));
    let before = said.shipped_at.filter(|it| delivered < *it);
    if let Some(since) = both.into_iter().chain(before).min() {
        is(Kind::Contradictory, 3, since);
    }
    if let Some(since) = split(&said.lines) {
        is(Kind::Split, 4, since);
    }
}

/// Since when some lines have left and others have not.
fn split(lines: &[Option<(Status, i64)>]) -> Option<i64> {
    let stays = |it: Status| !has_left(it) && !matches!(it, Status::Cancelled | Status::Returned);
    let stands = || lines.iter().flatten();
    let left = stands().filter(|it| has_left(it.0)).map(|it| it.1).min();
    left.filter(|_| stands().any(|it| stays(it.0)))
}

fn tell(name: &Name, state: &State, now: Epoch, mut emit: impl FnMut(Wrong)) {
    each(name.tenant(), state, now, |kind, severity, since, model| {
        emit(Wrong {
            tenant: name.tenant().into(),
            order: key_id(name),
            kind,
            customer: state.customer().map(CompactString::from),
            severity,
            since,
            status: state.status(),
            model,
        });
    });
}

impl Project<Orders> for OrderExceptions {
    type Data = Wrong;
    type Diff = isize;

    fn change(&mut self, _: &Name, _: Option<&State>, _: &State, _: &mut dyn FnMut(Wrong, isize)) {
        unreachable!("what is wrong depends on the instant: `change_at` is what is called");
    }

    fn change_at(
        &mut self,
        name: &Name,
        old: Option<(&State, Epoch)>,
        (new, now): (&State, Epoch),
        emit: &mut dyn FnMut(Wrong, isize),
    ) {
        // Most of what is wrong stays as it is.
        let mut gone = Vec::new();
        if let Some((old, since)) = old {
            tell(name, old, since, |it| gone.push(it));
        }
        tell(name, new, now, |it| match gone.iter().position(|old| *old == it) {
            Some(at) => drop(gone.swap_remove(at)),
            None => emit(it, 1),
        });
        gone.into_iter().for_each(|it| emit(it, -1));
    }
}

impl Relation for OrderExceptions {
    const DEF: &'static ViewDef = &DEF;
    type Record = Wrong;

    fn name(record: &Wrong) -> Name {
        Name::new(&record.tenant, &key_text(&[&record.order, record.kind.as_str()]))
    }

    fn row(record: &Wrong) -> Row {
        let text = |it: Option<CompactString>| it.map_or(Value::Null, Value::Text);
        Row {
            values: vec![
                Value::Text(record.order.clone()),
                Value::Text(record.kind.as_str().into()),
                text(record.customer.clone()),
                Value::Int(record.severity.into()),
                Value::Time(record.since),
                text(record.status.map(|it| it.as_str().into())),
                text(record.model.clone()),
            ],
        }
    }
}

/// The view, plainly: of the rows of `orders`, their timelines gone through in order.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut rows = BTreeMap::new();
    let now_micros = now as i64 * 1_000;
    for (name, row) in orders::reference(events, now) {
        let of = |field: &str| row.values[orders::DEF.position(field).expect("a field")].clone();
        let at = |field: &str| match of(field) {
            Value::Time(it) => Some(it),
            _ => None,
        };
        let said = Plain::of(&row);
        let status = said.status;
        let (delivered, cancelled) = (at("delivered_at"), at("cancelled_at"));
        let mut found: Vec<(&str, i64, Option<i64>)> = Vec::new();
        let mut model = None;
        if of("late") == Value::Bool(true) && !said.is_settled {
            let is_under_way = status.is_some_and(has_left);
            found.push(("late", if is_under_way { 2 } else { 1 }, at("promised_at")));
        }
        let due = said.due(name.tenant(), &row, now);
        if let Some((since, by)) = due.filter(|it| it.0 < now_micros) {
            model = by;
            let is_paid = status == Some(Status::Paid);
            found.push((if is_paid { "not_in_production" } else { "stuck" }, 2, Some(since)));
        }
        match status {
            Some(Status::Problem) => found.push(("problem", 2, said.since)),
            Some(Status::Returned) => found.push(("returned", 4, at("returned_at"))),
            _ => {}
        }
        let mut cannot_be = Vec::new();
        if let (Some(delivered), Some(cancelled)) = (delivered, cancelled) {
            cannot_be.push(delivered.max(cancelled));
        }
        if let (Some(delivered), Some(shipped)) = (delivered, said.shipped_at)
            && delivered < shipped
        {
            cannot_be.push(shipped);
        }
        if let Some(since) = cannot_be.into_iter().min() {
            found.push(("contradictory", 3, Some(since)));
        }
        let is_out = |it: &&(Status, i64)| has_left(it.0);
        let is_in = |it: &&(Status, i64)| {
            !matches!(it.0, Status::Cancelled | Status::Returned) && !has_left(it.0)
        };
        if said.lines.iter().flatten().any(|it| is_in(&it)) {
            let out = said.lines.iter().flatten().filter(is_out).map(|it| it.1).min();
            found.extend(out.map(|it| ("split", 4, Some(it))));
        }
        for (kind, severity, since) in found {
            let order = key_id(&name);
            let is_predicted = matches!(kind, "stuck" | "not_in_production");
            let model = model.clone().filter(|_| is_predicted);
            let values = vec![
                Value::Text(order.clone()),
                Value::Text(kind.into()),
                of("customer"),
                Value::Int(severity),
                Value::Time(since.expect("a statement says it")),
                of("status"),
                model.map_or(Value::Null, Value::Text),
            ];
            rows.insert(Name::new(name.tenant(), &key_text(&[&order, kind])), Row { values });
        }
    }
    rows
}
