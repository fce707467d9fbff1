//! What was promised to each case that is not resolved, and whether it is kept.
//!
//! ```text
//!  [`crate::queues`]: cases with promise and deadline ─▶ publish (with timers)
//! ```
//!
//! # Meaning
//! Of a case that waits: `on_time`, `due_soon` once little of its time is left, `breached` once the
//! promised instant has passed; the timer that says so fires on the first millisecond at which it
//! is so. Of a case that somebody works on: `kept` if work began by the promised instant, else
//! `missed`. A case whose lease ends waits again, and is judged as if nobody had begun.
//!
//! # State
//! Beside its name 8 bytes per case that is not resolved: the record is that of [`crate::queues`],
//! shared with `priority_queue`, and the row is made when it is read. While it waits one timer,
//! which fires twice at most. Shrinks when cases are resolved.

use std::collections::BTreeMap;

use schemas::events::Event;
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};

use crate::Epoch;
use crate::publish::Relation;
use crate::queues::Pressed;

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "sla",
    words: "What was promised to each case that is not resolved, and whether it is kept.",
    shape: Shape::Relation,
    key: &["case"],
    fields: &[
        FieldDef::new("case", FieldKind::Text, false, false, "The case."),
        FieldDef::new("queue", FieldKind::Text, false, true, "Where it waits or was taken from."),
        FieldDef::new(
            "state",
            FieldKind::Text,
            false,
            true,
            "While it waits: on_time, due_soon, breached; while somebody works on it: kept or \
             missed.",
        ),
        FieldDef::new("class", FieldKind::Text, false, true, "As in priority_queue."),
        FieldDef::new("customer", FieldKind::Text, false, true, "Whose case."),
        FieldDef::new("agent", FieldKind::Text, true, true, "Who works on it now."),
        FieldDef::new("opened_at", FieldKind::Time, false, false, "When it was opened (last)."),
        FieldDef::new("started_at", FieldKind::Time, true, false, "When that began."),
        FieldDef::new("due_at", FieldKind::Time, false, false, "Promised: work begins by then."),
    ],
};

/// The relation.
pub struct Slas;

/// What is said of a case at an instant.
fn state(record: &Pressed, now: Epoch) -> &'static str {
    let now = i64::try_from(now).unwrap_or(i64::MAX).saturating_mul(1_000);
    match &record.open().agent {
        Some((_, since)) if *since <= record.due_at => "kept",
        Some(_) => "missed",
        None if now > record.due_at => "breached",
        None if now >= record.soon_at => "due_soon",
        None => "on_time",
    }
}

fn row(record: &Pressed, now: Epoch) -> Row {
    let open = record.open();
    let agent = open.agent.clone();
    let (agent, since) = agent.map_or((Value::Null, Value::Null), |(agent, since)| {
        (Value::Text(agent), Value::Time(since))
    });
    Row {
        values: vec![
            Value::Text(open.case.clone()),
            Value::Text(open.queue.clone()),
            Value::Text(state(record, now).into()),
            Value::Text(record.class.clone()),
            Value::Text(record.customer().clone()),
            agent,
            Value::Time(open.opened_at),
            since,
            Value::Time(record.due_at),
        ],
    }
}

impl Relation for Slas {
    const DEF: &'static ViewDef = &DEF;
    type Record = Pressed;

    fn name(record: &Pressed) -> Name {
        Name::new(record.tenant(), &key_text(&[&record.open().case]))
    }

    fn row(record: &Pressed) -> Row {
        row(record, 0)
    }

    fn row_at(record: &Pressed, now: Epoch) -> Row {
        row(record, now)
    }

    fn next_due(record: &Pressed, after: Epoch) -> Option<Epoch> {
        if record.open().agent.is_some() {
            return None;
        }
        let first_at = |micros: i64| u64::try_from(micros.div_euclid(1_000)).ok();
        // At it, rounded up to the millisecond; and the first millisecond behind it.
        let soon = first_at(record.soon_at.saturating_add(999));
        let breach = first_at(record.due_at).map(|it| it + 1);
        soon.into_iter().chain(breach).filter(|it| *it > after).min()
    }
}

/// The view, plainly.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let all = crate::priority_queue::pressed(events, now);
    all.iter().map(|it| (Slas::name(it), row(it, now))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::queues::{Open, Person, Terms};

    /// Goal: what is said of a case changes on the first millisecond at which it is so, and a timer is
    /// set for that one. Method: around the promise, and around the instant from which on little is
    /// left of it, a millisecond before, at it, one after; whole milliseconds, and parts of one.
    #[test]
    fn timers_are_set_for_the_first_millisecond() {
        let opened_at = 1_767_225_600_000_000;
        for part in [0, 1, 999] {
            let open = Arc::new(Open {
                case: "T1".into(),
                queue: "first".into(),
                severity: 2,
                skills: vec![],
                opened_at: opened_at + part,
                agent: None,
            });
            let key = ("default".into(), "a".into());
            let waits = Arc::new(Pressed::of(&key, &open, &Person::default(), &Terms::default()));
            let soon = waits.soon_at as u64 / 1_000 + u64::from(part > 0);
            let due = waits.due_at as u64 / 1_000;
            assert!(soon + 1 < due);
            for (now, says, next) in [
                (soon - 1, "on_time", Some(soon)),
                (soon, "due_soon", Some(due + 1)),
                (soon + 1, "due_soon", Some(due + 1)),
                (due - 1, "due_soon", Some(due + 1)),
                (due, "due_soon", Some(due + 1)),
                (due + 1, "breached", None),
            ] {
                assert_eq!(state(&waits, now), says, "{part} at {now}");
                assert_eq!(Slas::next_due(&waits, now), next, "{part} at {now}");
            }
            // Time says nothing more of a case that somebody works on.
            let open = Open { agent: Some(("bob".into(), waits.due_at)), ..Open::clone(&open) };
            let open = Arc::new(open);
            let works = Arc::new(Pressed::of(&key, &open, &Person::default(), &Terms::default()));
            assert_eq!((state(&works, due + 1), Slas::next_due(&works, soon - 1)), ("kept", None));
        }
    }
}
