//! How the texts of each customer feel.
//!
//! In: [`Heard`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per customer who has said something: see [`crate::mood`].
//!
//! # State
//! What [`crate::mood`] keeps.

use std::collections::BTreeMap;

use schemas::events::Event;
use schemas::names::{Fingerprint, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};

use crate::models::opinion::text_of;
use crate::mood::{self, Heard};
use crate::sentiment::{about, plainly};
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "sentiment_by_customer",
    words: "How the texts of each customer feel, over time and against their own past.",
    shape: Shape::Fold,
    key: &["customer"],
    fields: &[
        FieldDef::new("customer", FieldKind::Text, false, true, "The customer."),
        FieldDef::new("n_texts", FieldKind::Int, false, false, "Texts."),
        FieldDef::new("n_negative", FieldKind::Int, false, false, "Of them negative."),
        FieldDef::new("n_neutral", FieldKind::Int, false, false, "Of them neutral."),
        FieldDef::new("n_positive", FieldKind::Int, false, false, "Of them positive."),
        FieldDef::new(
            "mean_permille",
            FieldKind::Int,
            false,
            false,
            "Mean score, -1000 to 1000, newer texts counting more.",
        ),
        FieldDef::new(
            "negative_permille",
            FieldKind::Int,
            true,
            false,
            "Share of negative ones in the thirty days up to the newest text.",
        ),
        FieldDef::new(
            "past_negative_permille",
            FieldKind::Int,
            true,
            false,
            "Share of negative ones before that; nothing where there were none.",
        ),
        FieldDef::new(
            "newest",
            FieldKind::Json,
            false,
            false,
            "Keys of the newest texts in the view sentiment, the newest first.",
        ),
        FieldDef::new("newest_at", FieldKind::Time, false, false, "When the newest was said."),
    ],
};

/// All texts of a customer are theirs, and go with them.
type Mood = mood::Mood<false>;

/// The fold.
pub struct SentimentByCustomer;

impl Fold for SentimentByCustomer {
    type Update = Heard;
    type State = Mood;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut Mood, heard: &Heard) {
        state.hear(heard);
    }

    fn row(name: &Name, state: &Mood, _now: Epoch) -> Option<Row> {
        let mut values = vec![Value::Text(crate::key_id(name))];
        values.extend(state.values()?);
        Some(Row { values })
    }

    fn exists(state: &Mood) -> bool {
        state.is_there()
    }

    const OWNED: bool = true;

    fn owner(state: &Mood) -> Option<Fingerprint> {
        state.owner()
    }

    fn heap_bytes(state: &Mood) -> usize {
        state.heap_bytes()
    }
}

impl Keep for SentimentByCustomer {
    const LAYOUT: &'static str = layout!(
        "sentiment_by_customer 1: 0, or 1 and owner, sums of long ago, days with their sums, newest texts"
    );

    fn store(state: &Mood, into: &mut Vec<u8>) {
        state.store(into);
    }

    fn restore(bytes: &[u8]) -> Option<Mood> {
        Mood::restore(bytes)
    }
}

/// The view, plainly: the texts of each customer.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut texts: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
    let gone = crate::erased::Plain::of(events);
    for event in events.iter().filter(|it| !gone.names(it)) {
        let (Some(text), Some(customer)) = (text_of(event), about(event).0) else { continue };
        let key = key_text(&[&event.source, &event.id]);
        let of = texts.entry((&event.tenant, customer)).or_default();
        of.push((event.time, plainly(text).0, key, false));
    }
    let rows = texts.into_iter().map(|((tenant, customer), texts)| {
        let mut values = vec![Value::Text(customer.into())];
        values.extend(mood::plainly(&texts, false));
        (Name::new(tenant, &key_text(&[customer])), Row { values })
    });
    rows.collect()
}
