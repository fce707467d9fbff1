//! How many events there were, by minute of event time and type.
//!
//! In: [`Count`], summed per worker and epoch by [`crate::inputs`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per (tenant, minute, type) with the number of events whose time lies in that minute.
//!
//! # State
//! 24 bytes a cell, beside its name. Grows with the minutes of event time that were ever said.

use std::collections::BTreeMap;

use schemas::events::{Event, EventType};
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::time::rfc3339;
use serde::{Deserialize, Serialize};

use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

/// Microseconds in a minute.
pub(crate) const MINUTE: i64 = 60_000_000;

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "volume",
    words: "How many events there were, by minute of event time and by type.",
    shape: Shape::Fold,
    key: &["minute", "type"],
    fields: &[
        FieldDef {
            name: "minute",
            kind: FieldKind::Time,
            nullable: false,
            filterable: true,
            words: "The minute of event time, by its start.",
        },
        FieldDef {
            name: "type",
            kind: FieldKind::Text,
            nullable: false,
            filterable: true,
            words: "The events' type, such as order.placed.",
        },
        FieldDef {
            name: "n_events",
            kind: FieldKind::Int,
            nullable: false,
            filterable: false,
            words: "Events of this type in this minute.",
        },
    ],
};

/// The fold.
pub struct Volume;

/// So many more events of one cell.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Count {
    /// Start of the minute, microseconds since the Unix epoch.
    pub minute: i64,
    /// Events.
    pub n: u64,
    /// Place of the type in [`EventType::ALL`].
    pub kind: u8,
}

/// What is known of a cell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell {
    minute: i64,
    n: u64,
    kind: u8,
}

impl Fold for Volume {
    type Update = Count;
    type State = Cell;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut Cell, update: &Count) {
        state.minute = update.minute;
        state.kind = update.kind;
        state.n = state.n.saturating_add(update.n);
    }

    fn row(_name: &Name, state: &Cell, _now: Epoch) -> Option<Row> {
        Some(row(state.minute, EventType::ALL[usize::from(state.kind)], state.n))
    }
}

impl Keep for Volume {
    const LAYOUT: &'static str = layout!(
        "volume 6: minute, n, type (customer.registered, customer.updated, order.placed, \
         order.status_changed, order.cancelled, order.returned, feedback.submitted, case.opened, \
         case.assigned, case.resolved, interaction.recorded, \
         record.upserted, record.deleted, message.planned, message.answered, load.measured, \
         message.marked, customer.identified, customer.unlinked, customer.linked_by_hand, \
         customer.separated_by_hand, customer.erased, system.measured)"
    );

    fn store(state: &Cell, into: &mut Vec<u8>) {
        let mut writer = Writer(into);
        writer.int(state.minute);
        writer.count(state.n);
        writer.count(state.kind.into());
    }

    fn restore(bytes: &[u8]) -> Option<Cell> {
        let mut from = Checked(bytes);
        let cell = Cell { minute: from.int()?, n: from.count()?, kind: from.count()? };
        EventType::ALL.get(usize::from(cell.kind))?;
        from.end()?;
        Some(cell)
    }
}

/// The start of the minute that an event time lies in.
#[inline]
pub(crate) fn minute_of(time: i64) -> i64 {
    time - time.rem_euclid(MINUTE)
}

/// A cell's key: its minute in RFC 3339, as in the row, and its type.
pub(crate) fn key_of(minute: &str, kind: EventType) -> compact_str::CompactString {
    key_text(&[minute, kind.as_str()])
}

fn row(minute: i64, kind: EventType, n: u64) -> Row {
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    Row { values: vec![Value::Time(minute), Value::Text(kind.as_str().into()), Value::Int(n)] }
}

/// The view, plainly: every event counted where it belongs.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut counts: BTreeMap<(&str, i64, EventType), u64> = BTreeMap::new();
    for event in events {
        let minute = event.time / 60_000_000 * 60_000_000;
        *counts.entry((&event.tenant, minute, event.data.event_type())).or_insert(0) += 1;
    }
    let cells = counts.into_iter();
    cells
        .map(|((tenant, minute, kind), n)| {
            (Name::new(tenant, &key_of(&rfc3339(minute), kind)), row(minute, kind, n))
        })
        .collect()
}
