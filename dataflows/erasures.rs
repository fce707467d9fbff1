//! That customers were erased: the fact stays, without the data.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per customer whom any event `customer.erased` names: which event was the first to say so,
//! by (event time, id, source). What follows from it is in [`crate::erased`].
//!
//! # State
//! The stamp of that event: 8 bytes in place and 96 behind an `Arc`, beside the customer's id. It is
//! never given up: it is what keeps the customer's data from being taken in again.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::{Data, Event};
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::stamps::Stamp;
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "erasures",
    words: "That customers were erased: the fact stays, without the data.",
    shape: Shape::Fold,
    key: &["customer"],
    fields: &[
        FieldDef::new("customer", FieldKind::Text, false, true, "The customer's id."),
        FieldDef::new(
            "erased_at",
            FieldKind::Time,
            false,
            false,
            "The event time of the first event that said so.",
        ),
        FieldDef::new("source", FieldKind::Text, false, true, "That event's source."),
        FieldDef::new("id", FieldKind::Text, false, false, "That event's id."),
    ],
};

/// The fold.
pub struct Erasures;

/// That an event erases a customer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    stamp: Stamp,
    source: CompactString,
    id: CompactString,
}

impl Update {
    pub(crate) fn of(event: &Event<'_>) -> Update {
        Update { stamp: Stamp::of(event), source: (&*event.source).into(), id: (&*event.id).into() }
    }
}

/// The first that said so.
#[derive(Clone, Debug, Default)]
pub struct State(Option<std::sync::Arc<Update>>);

const _: () = assert!(size_of::<State>() <= 8 && 16 + size_of::<Update>() <= 96); // the doc's

impl Fold for Erasures {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, update: &Update) {
        if state.0.as_ref().is_none_or(|it| update.stamp < it.stamp) {
            state.0 = Some(update.clone().into());
        }
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        let it = state.0.as_deref()?;
        Some(row(crate::key_id(name), it.stamp.at, &it.source, &it.id))
    }

    fn exists(state: &State) -> bool {
        state.0.is_some()
    }

    fn heap_bytes(state: &State) -> usize {
        let text = crate::stamps::text_bytes;
        state.0.as_ref().map_or(0, |it| {
            16 + size_of::<Update>() + it.stamp.heap_bytes() + text(&it.source) + text(&it.id)
        })
    }
}

impl Keep for Erasures {
    const LAYOUT: &'static str = layout!("erasures 1: 0, or 1 and stamp, source, id");

    fn store(state: &State, into: &mut Vec<u8>) {
        into.push(u8::from(state.0.is_some()));
        let Some(it) = &state.0 else { return };
        let mut writer = Writer(into);
        it.stamp.store(&mut writer);
        writer.text(&it.source);
        writer.text(&it.id);
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        match from.byte()? {
            0 => return from.end().map(|()| State::default()),
            1 => {}
            _ => return None,
        }
        let stamp = Stamp::restore(&mut from)?;
        let (source, id) = (from.text()?.into(), from.text()?.into());
        from.end()?;
        Some(State(Some(Update { stamp, source, id }.into())))
    }
}

fn row(customer: CompactString, at: i64, source: &str, id: &str) -> Row {
    Row {
        values: vec![
            Value::Text(customer),
            Value::Time(at),
            Value::Text(source.into()),
            Value::Text(id.into()),
        ],
    }
}

/// The view, plainly: of each customer the first event that erases them.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut sorted: Vec<&Event<'static>> = events.iter().collect();
    sorted.sort_by_key(|it| (it.time, &it.id, &it.source));
    let mut rows = BTreeMap::new();
    for event in sorted {
        let Data::CustomerErased(it) = &event.data else { continue };
        for customer in &it.customers {
            let name = Name::new(&event.tenant, &key_text(&[customer]));
            let first = || row((&**customer).into(), event.time, &event.source, &event.id);
            rows.entry(name).or_insert_with(first);
        }
    }
    rows
}
