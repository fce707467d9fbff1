//! How the texts of each product feel.
//!
//! In: [`Heard`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per product of which something was said: see [`crate::mood`]. Of the newest texts those
//! are left out whose customer is erased; counts and times keep them.
//!
//! # State
//! What [`crate::mood`] keeps.

use std::collections::BTreeMap;

use schemas::events::Event;
use schemas::names::{Fingerprint, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};

use crate::erased::{Gone, Plain};
use crate::models::opinion::text_of;
use crate::mood::{self, Heard};
use crate::sentiment::{about, plainly};
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "sentiment_by_product",
    words: "How the texts about each product feel, over time and against its own past.",
    shape: Shape::Fold,
    key: &["product"],
    fields: &[
        FieldDef::new("product", FieldKind::Text, false, true, "The product."),
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

/// Of a product many customers speak.
type Mood = mood::Mood<true>;

/// The fold.
pub struct SentimentByProduct;

impl Fold for SentimentByProduct {
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

    /// Of the newest texts that are theirs the keys go.
    fn settle(_key: Fingerprint, _name: &Name, state: &Mood, gone: &Gone) -> Option<Mood> {
        state.settle(gone)
    }

    fn heap_bytes(state: &Mood) -> usize {
        state.heap_bytes()
    }
}

impl Keep for SentimentByProduct {
    const LAYOUT: &'static str = layout!(
        "sentiment_by_product 2: 0, or 1 and sums of long ago, days with their sums, newest texts \
         (time, hash of the key, key, owner)"
    );

    fn store(state: &Mood, into: &mut Vec<u8>) {
        state.store(into);
    }

    fn restore(bytes: &[u8]) -> Option<Mood> {
        Mood::restore(bytes)
    }
}

/// The view, plainly: the texts of each product.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let gone = Plain::of(events);
    let mut texts: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
    for event in events {
        let (Some(text), Some(product)) = (text_of(event), about(event).1) else { continue };
        let key = key_text(&[&event.source, &event.id]);
        let of = texts.entry((&event.tenant, product)).or_default();
        of.push((event.time, plainly(text).0, key, gone.names(event)));
    }
    let rows = texts.into_iter().map(|((tenant, product), texts)| {
        let mut values = vec![Value::Text(product.into())];
        values.extend(mood::plainly(&texts, true));
        (Name::new(tenant, &key_text(&[product])), Row { values })
    });
    rows.collect()
}
