//! Which cases wait, and what makes each of them urgent.
//!
//! ```text
//!  [`crate::queues`]: cases with promise and deadline ─(those that wait)─▶ publish
//! ```
//!
//! # Meaning
//! One row per case that was opened, is not resolved and is nobody's now: its class, what it was
//! promised, its deadline, and why that is earlier than the promise. A change of what is known of a
//! customer (a tier, a falling health, an order that gets late, a third case) changes the rows of all
//! their cases in the same epoch. The *order* is not here: it depends on the instant and on how many
//! cases were handed out, and is computed when it is asked for, so that an arrival rewrites one row.
//!
//! # State
//! Beside its name 8 bytes per case that waits: the record is that of [`crate::queues`], shared with
//! `sla`, and the row is made when it is read. Shrinks when cases are handed out.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use differential_dataflow::VecCollection;
use schemas::events::Event;
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde_json::Value as Json;

use crate::Epoch;
use crate::publish::Relation;
use crate::queues::{Key, Open, Person, Pressed, Terms, crowded};
use crate::{cases, customers, health, orders};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "priority_queue",
    words: "Which cases wait, and what makes each of them urgent.",
    shape: Shape::Relation,
    key: &["case"],
    fields: &[
        FieldDef::new("case", FieldKind::Text, false, false, "The case."),
        FieldDef::new("queue", FieldKind::Text, false, true, "Where it waits."),
        FieldDef::new("severity", FieldKind::Int, false, true, "1 (most severe) to 4."),
        FieldDef::new(
            "class",
            FieldKind::Text,
            false,
            true,
            "Severity, and the customer's tier and band of health, as far as known: P2/gold.",
        ),
        FieldDef::new("customer", FieldKind::Text, false, true, "Whose case."),
        FieldDef::new("opened_at", FieldKind::Time, false, false, "When it was opened (last)."),
        FieldDef::new(
            "due_at",
            FieldKind::Time,
            false,
            false,
            "The promise: work begins by then. opened_at and the time of its class.",
        ),
        FieldDef::new(
            "deadline",
            FieldKind::Time,
            false,
            false,
            "What the queue is ordered by: the promise, brought forward by what is known of the \
             customer now.",
        ),
        FieldDef::new(
            "reasons",
            FieldKind::Json,
            false,
            false,
            "Why the deadline is earlier than the promise: a list of words.",
        ),
        FieldDef::new(
            "skills",
            FieldKind::Json,
            false,
            false,
            "What it takes to solve it: a list of names.",
        ),
    ],
};

/// The relation.
pub struct PriorityQueue;

/// Those that wait.
pub(crate) fn relate(
    cases: VecCollection<'_, Epoch, Arc<Pressed>, isize>,
) -> VecCollection<'_, Epoch, Arc<Pressed>, isize> {
    cases.filter(|it| it.open().agent.is_none())
}

fn list(texts: &[CompactString]) -> Value {
    Value::Json(texts.iter().map(|it| Json::String(it.to_string())).collect())
}

impl Relation for PriorityQueue {
    const DEF: &'static ViewDef = &DEF;
    type Record = Pressed;

    fn name(record: &Pressed) -> Name {
        Name::new(record.tenant(), &key_text(&[&record.open().case]))
    }

    fn row(record: &Pressed) -> Row {
        let open = record.open();
        Row {
            values: vec![
                Value::Text(open.case.clone()),
                Value::Text(open.queue.clone()),
                Value::Int(open.severity.into()),
                Value::Text(record.class.clone()),
                Value::Text(record.customer().clone()),
                Value::Time(open.opened_at),
                Value::Time(record.due_at),
                Value::Time(record.deadline),
                list(&record.reasons),
                list(&open.skills),
            ],
        }
    }
}

/// The view, plainly: of the rows of `cases` those that are open, with their customer.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let waiting = pressed(events, now).into_iter().filter(|it| it.open().agent.is_none());
    waiting.map(|it| (PriorityQueue::name(&it), PriorityQueue::row(&it))).collect()
}

/// Every case that is not resolved, plainly: from the rows of `cases`, `customers`, `orders`, and
/// the facts of `health`.
pub(crate) fn pressed(events: &[Event<'static>], now: Epoch) -> Vec<Arc<Pressed>> {
    let field = |def: &ViewDef, row: &Row, name: &str| {
        row.values[def.position(name).expect("a field")].clone()
    };
    let text = |it: Value| match it {
        Value::Text(it) => Some(it),
        _ => None,
    };
    let time = |it: Value| match it {
        Value::Time(it) => Some(it),
        _ => None,
    };
    let mut people: BTreeMap<Key, (Person, BTreeMap<i64, isize>)> = BTreeMap::new();
    for (name, row) in customers::reference(events, now) {
        let of = |field_name| text(field(&customers::DEF, &row, field_name));
        let key = (name.tenant().into(), of("customer").expect("the key"));
        people.entry(key).or_default().0.tier = of("tier");
    }
    for (name, row) in orders::reference(events, now) {
        let of = |name| field(&orders::DEF, &row, name);
        let is_on_its_way = of("delivered_at") == Value::Null && of("cancelled_at") == Value::Null;
        if let Some(customer) = text(of("customer"))
            && of("late") == Value::Bool(true)
            && is_on_its_way
        {
            people.entry((name.tenant().into(), customer)).or_default().0.is_late = true;
        }
    }
    for (name, (band, before)) in health::standings(events, now) {
        let person = people.entry((name.tenant().into(), crate::key_id(&name))).or_default();
        (person.0.band, person.0.fell_from) = (Some(band), before);
    }
    let cases: Vec<_> = cases::reference(events, now)
        .into_iter()
        .filter_map(|(name, row)| {
            let of = |name| field(&cases::DEF, &row, name);
            let opened_at = time(of("opened_at"))?;
            let key: Key = (name.tenant().into(), text(of("customer"))?);
            let days = &mut people.entry(key.clone()).or_default().1;
            *days.entry(opened_at.div_euclid(86_400_000_000)).or_default() += 1;
            let status = text(of("status"))?;
            let (Value::Int(severity), Value::Json(skills)) = (of("severity"), of("skills")) else {
                return None;
            };
            let agent = text(of("agent")).zip(time(of("assigned_at")));
            let skills = skills.as_array().into_iter().flatten();
            let open = Open {
                case: text(of("case"))?,
                queue: text(of("queue"))?,
                severity: severity as u8,
                skills: skills.filter_map(|it| it.as_str()).map(CompactString::from).collect(),
                opened_at,
                agent: agent.filter(|_| status == "assigned"),
            };
            (status != "resolved").then_some((key, Arc::new(open)))
        })
        .collect();
    for (person, days) in people.values_mut() {
        let days: Vec<_> = std::mem::take(days).into_iter().collect();
        person.crowded = crowded(&days);
    }
    let terms = Terms::default();
    let of =
        |(key, open): &(Key, Arc<Open>)| Arc::new(Pressed::of(key, open, &people[key].0, &terms));
    cases.iter().map(of).collect()
}
