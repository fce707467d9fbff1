//! What each queue has to do, and what it did: arrivals, waiting, work.
//!
//! ```text
//!  fold cases ──(loads, summed)──┐
//!  fold claims ─(picks, summed)──┴▶ arranged by (tenant, queue, period) ─▶ publish
//! ```
//!
//! # Meaning
//! Per queue as a whole, and per hour of it. A case counts in the hour in which it was opened,
//! whatever becomes of it later; a claim in the hour in which it was decided. Every number is a sum
//! over cases (or claims), so the hours of a queue sum to its whole.
//!
//! # State
//! Per queue, and per hour of it in which cases were opened or claimed: 128 bytes arranged (period,
//! epoch, sums) and 136 for the row. Grows with the hours, at most 24 a day and queue, and not with
//! the cases; an event changes the whole, and the hour of its case or claim.

use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use schemas::events::Event;
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};

use crate::Epoch;
use crate::publish::Relation;
use crate::queues::{Load, Period};
use crate::{cases, claims};

/// Stands for the whole of a queue.
pub const ALL: &str = "all";

const fn count(name: &'static str, words: &'static str) -> FieldDef {
    FieldDef::new(name, FieldKind::Int, false, false, words)
}

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "queue_load",
    words: "What each queue has to do, and what it did: arrivals, waiting, work.",
    shape: Shape::Relation,
    key: &["queue", "period"],
    fields: &[
        FieldDef::new("queue", FieldKind::Text, false, true, "The queue."),
        FieldDef::new(
            "period",
            FieldKind::Text,
            false,
            true,
            "all, or the hour (UTC) in which the cases were opened.",
        ),
        count("n_arrived", "Cases that were opened."),
        count("n_waiting", "Those that wait now."),
        count("n_in_work", "Those that somebody works on now."),
        count("n_resolved", "Those that are resolved."),
        count(
            "wait_seconds",
            "From opening to the last assignment, over all that were assigned, in whole seconds \
             each.",
        ),
        count(
            "work_seconds",
            "From the last assignment to the resolution, over all that were resolved, in whole \
             seconds each.",
        ),
        count("n_claims", "Cases handed out to claims, by the hour of the claim."),
    ],
};

/// The relation.
pub struct QueueLoad;

/// What differential computes: a period and its load.
pub type Record = (Period, Load);

const _: () = assert!(8 + size_of::<Record>() <= 128 && 16 + size_of::<Record>() <= 136); // the doc's

/// Loads per period.
pub(crate) fn relate(
    loads: VecCollection<'_, Epoch, Period, Load>,
) -> VecCollection<'_, Epoch, Record, isize> {
    loads.arrange_by_self_named("Arrange: queue_load").count_total_core::<isize>()
}

fn row(queue: &str, period: &str, it: &Load) -> Row {
    let counts = [
        it.n,
        it.n_waiting,
        it.n_in_work,
        it.n_resolved,
        it.wait_seconds,
        it.work_seconds,
        it.n_claims,
    ];
    let texts = [queue, period].map(|it| Value::Text(it.into()));
    Row { values: texts.into_iter().chain(counts.map(Value::Int)).collect() }
}

fn words(period: Option<i64>) -> String {
    period.map_or(ALL.into(), schemas::time::rfc3339)
}

impl Relation for QueueLoad {
    const DEF: &'static ViewDef = &DEF;
    type Record = Record;

    fn name(((tenant, queue, period), _): &Record) -> Name {
        Name::new(tenant, &key_text(&[queue, &words(*period)]))
    }

    fn row(((_, queue, period), load): &Record) -> Row {
        row(queue, &words(*period), load)
    }
}

/// The view, plainly: the rows of `cases` and of `claims`, grouped.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut all: BTreeMap<(String, String, Option<i64>), Load> = BTreeMap::new();
    let hour = |at: i64| at - at.rem_euclid(3_600_000_000);
    for (name, row) in cases::reference(events, now) {
        let of = |it: &str| &row.values[cases::DEF.position(it).expect("a field")];
        let at = |it: &str| match of(it) {
            Value::Time(it) => Some(*it),
            _ => None,
        };
        let (Some(opened), Value::Text(queue)) = (at("opened_at"), of("queue")) else { continue };
        let Value::Text(status) = of("status") else { continue };
        for period in [None, Some(hour(opened))] {
            let key = (name.tenant().to_string(), queue.to_string(), period);
            let load = all.entry(key).or_default();
            load.n += 1;
            match status.as_str() {
                "open" => load.n_waiting += 1,
                "assigned" => load.n_in_work += 1,
                _ => load.n_resolved += 1,
            }
            if let Some(assigned) = at("assigned_at") {
                load.wait_seconds += ((assigned - opened) / 1_000_000).max(0);
                if let Some(resolved) = at("resolved_at").filter(|_| status == "resolved") {
                    load.work_seconds += ((resolved - assigned) / 1_000_000).max(0);
                }
            }
        }
    }
    for (name, row) in claims::reference(events, now) {
        let of = |it: &str| &row.values[claims::DEF.position(it).expect("a field")];
        if let (Value::Text(queue), Value::Time(at)) = (of("queue"), of("at"))
            && *of("did") == Value::Text("claimed".into())
        {
            for period in [None, Some(hour(*at))] {
                let key = (name.tenant().to_string(), queue.to_string(), period);
                all.entry(key).or_default().n_claims += 1;
            }
        }
    }
    let rows = all.into_iter().map(|((tenant, queue, period), load)| {
        let period = words(period);
        (Name::new(&tenant, &key_text(&[&queue, &period])), row(&queue, &period, &load))
    });
    rows.collect()
}
