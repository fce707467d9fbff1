//! Whether there are workers enough for what comes: changes only when the answer does.
//!
//! In: the states of [`crate::capacity`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per process of `capacity`, of the same state at the same epoch: its advice, and a reason
//! without the figures that move every five minutes. So a change of this view is a change of the
//! advice: `GET /v1/stream` tells each, rules may say it to somebody, and in ClickHouse the table
//! `capacity_advice_changes` has every one of them with its epoch. It is advice: nothing acts on it.
//!
//! # State
//! None: it is another look at the map of `capacity` ([`crate::served`]).

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::Event;
use schemas::names::Name;
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};

use crate::capacity::{self, Judged, State, each_with_a_processor, percent, workers};
use crate::{Epoch, Fold};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "capacity_advice",
    words: "Whether there are workers enough for what comes: changes only when the answer does.",
    shape: Shape::Relation,
    key: &["process"],
    fields: &[
        FieldDef::new("process", FieldKind::Text, false, true, "Which process."),
        FieldDef::new("advice", FieldKind::Text, false, true, "unknown, enough, or more."),
        FieldDef::new("workers", FieldKind::Int, false, false, "Workers that there are."),
        FieldDef::new(
            "workers_wanted",
            FieldKind::Int,
            true,
            false,
            "Where more are advised: workers, each with a processor, that would do.",
        ),
        FieldDef::new("reason", FieldKind::Text, false, false, "Why, in words."),
    ],
};

/// `capacity`, seen so.
pub struct CapacityAdvice;

impl Fold for CapacityAdvice {
    /// Nobody folds it.
    type Update = ();
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(_: &mut State, (): &()) {}

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        Some(row(crate::key_id(name), &state.judged(now)?))
    }

    fn exists(state: &State) -> bool {
        <capacity::Capacity as Fold>::exists(state)
    }
}

fn row(process: CompactString, it: &Judged) -> Row {
    let there = i64::from(it.newest.workers());
    let have = workers(there, it.share().then_some(it.newest.processors()));
    let share = percent(it.full_permille);
    let reason = match it.wanted() {
        Some(wanted) => format!(
            "more than {share} of what {have} can do may come within 24 hours; {} would do",
            each_with_a_processor(wanted)
        ),
        None if it.advice() == "enough" => {
            format!("no more than {share} of what {have} can do is expected within 24 hours")
        }
        None => "nothing is forecast before there are events of two days".into(),
    };
    Row {
        values: vec![
            Value::Text(process),
            Value::Text(it.advice().into()),
            Value::Int(there),
            it.wanted().map_or(Value::Null, Value::Int),
            Value::Text(reason.into()),
        ],
    }
}

/// The view, plainly.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let all = capacity::plainly(events, now).into_iter();
    all.map(|(process, it)| (capacity::name_of(&process), row(process, &it))).collect()
}
