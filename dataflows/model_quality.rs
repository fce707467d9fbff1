//! How right each model was, against what people then said with stars.
//!
//! In: [`Judged`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! Of every text that came with a rating, the label that the model in use gave it against the one
//! that the stars say (one and two negative, three neutral, four and five positive): accuracy,
//! macro-F1 and expected calibration error, in thousandths ([`crate::models::measure`]).
//!
//! # State
//! 39 sums a model.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::Event;
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::models::measure::Tally;
use crate::models::opinion::{Label, Opinion, rated};
use crate::packed::{Checked, Writer};
use crate::sentiment::plainly;
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "model_quality",
    words: "How right each model was, against what people said with stars.",
    shape: Shape::Fold,
    key: &["model"],
    fields: &[
        FieldDef::new("model", FieldKind::Text, false, true, "The model, with its version."),
        FieldDef::new("n_judged", FieldKind::Int, false, false, "Texts that came with a rating."),
        FieldDef::new("accuracy_permille", FieldKind::Int, false, false, "Share of right labels."),
        FieldDef::new(
            "macro_f1_permille",
            FieldKind::Int,
            false,
            false,
            "Mean over the labels of 2 tp / (2 tp + fp + fn).",
        ),
        FieldDef::new(
            "calibration_error_permille",
            FieldKind::Int,
            false,
            false,
            "Mean distance between confidence and share of right ones, in ten bands.",
        ),
    ],
};

/// The fold.
pub struct ModelQuality;

/// One text that people judged as well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub(crate) given: Label,
    pub(crate) said: Label,
    pub(crate) confidence: i32,
}

/// What is known of a model.
#[derive(Clone, Debug, Default)]
pub struct State(Tally);

impl Fold for ModelQuality {
    type Update = Judged;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, it: &Judged) {
        let confidence = it.confidence;
        state.0.add(it.given, &Opinion { label: it.said, confidence, ..Opinion::default() });
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        Some(row(crate::key_id(name), &state.0))
    }
}

impl Keep for ModelQuality {
    const LAYOUT: &'static str =
        layout!("model_quality 1: texts by label given and said, ten bands of three sums");

    fn store(state: &State, into: &mut Vec<u8>) {
        let mut writer = Writer(into);
        state.0.sums().for_each(|it| writer.count(it));
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let tally = Tally::of_sums(|| from.count())?;
        from.end()?;
        Some(State(tally))
    }
}

fn row(model: CompactString, tally: &Tally) -> Row {
    let it = tally.quality();
    let permille = |it: f64| Value::Int((it * 1_000.0).round() as i64);
    let n = i64::try_from(it.n_texts).unwrap_or(i64::MAX);
    Row {
        values: vec![
            Value::Text(model),
            Value::Int(n),
            permille(it.accuracy),
            permille(it.macro_f1),
            permille(it.ece),
        ],
    }
}

/// The view, plainly: every rated text against its stars.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut models: BTreeMap<(&str, CompactString), Tally> = BTreeMap::new();
    for event in events {
        let Some((text, given)) = rated(event) else { continue };
        let (said, model) = plainly(text);
        models.entry((&event.tenant, model)).or_default().add(given, &said);
    }
    let rows = models.into_iter();
    rows.map(|((tenant, it), tally)| (Name::new(tenant, &key_text(&[&it])), row(it, &tally)))
        .collect()
}
