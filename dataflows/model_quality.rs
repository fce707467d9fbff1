//! How right each model was, against what then happened.
//!
//! ```text
//!  fold model_quality (texts that came with stars) ─────┐
//!  the states of load_forecast, looked at otherwise ────┼─▶ one view ([`crate::served`], `several`)
//!  fold orders ─▶ relate (orders that arrived) ─▶ publish ┘
//! ```
//!
//! In: [`Judged`], and the states of [`crate::load_forecast`] and [`crate::orders`]. Out: rows of
//! [`DEF`].
//!
//! # Meaning
//! - Of texts: of every text that came with a rating, the label that the model in use gave it against
//!   the one that the stars say (one and two negative, three neutral, four and five positive):
//!   accuracy, macro-F1 and expected calibration error, in thousandths ([`crate::models::measure`]).
//! - Of loads: a row for each row of `load_forecast`, with the errors of such forecasts over the last
//!   days and how often the band held ([`loads`]).
//! - Of orders: a row for each model of arrival and stage, with how far it was off, how often orders
//!   came by when they were told to in nine cases of ten, and what the risk of being late that they
//!   were told was worth; and a row for each such model and status in which orders stood, with how often
//!   nothing was said for no longer than was said to be usual ([`arrivals`]).
//!
//! A key is those parts of it that say something: of a model of texts `sentiment 3`, of loads
//! `load 1/events/all/60`, of orders `arrival 3/shipped`, of silences
//! `arrival 3/silences/shipped`. What does not apply to a model is null; parts of the key, which are null
//! nowhere, are `all` and 0.
//!
//! # State
//! 39 sums a model of texts. What is said of loads is kept by `load_forecast`; of orders some records
//! for each model.
//!
//! # Why this way
//! `docs/decisions/quality-of-several.md`.

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

pub(crate) mod arrivals; // of when orders arrive
pub(crate) mod loads; // of the forecasts of load

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "model_quality",
    words: "How right each model was, against what then happened.",
    shape: Shape::Relation,
    key: &["model", "of", "series", "bucket_minutes"],
    fields: &[
        FieldDef::new("model", FieldKind::Text, false, true, "The model, with its version."),
        FieldDef::new(
            "of",
            FieldKind::Text,
            false,
            true,
            "What it speaks of: texts; loads, events or measured ones; when orders arrive, as said at a \
             stage of their way; silences, of orders that stood somewhere.",
        ),
        FieldDef::new(
            "series",
            FieldKind::Text,
            false,
            true,
            "Which series of loads, as in load_forecast; of silences, where the orders stood; all, of \
             anything else.",
        ),
        FieldDef::new(
            "bucket_minutes",
            FieldKind::Int,
            false,
            true,
            "How long a bucket of loads is; 0, of anything else.",
        ),
        FieldDef::new(
            "n_judged",
            FieldKind::Int,
            false,
            false,
            "What it is judged by: texts that came with a rating; buckets of the last days; orders \
             that arrived; their stays.",
        ),
        share("accuracy_permille", "Share of right labels."),
        share("macro_f1_permille", "Mean over the labels of 2 tp / (2 tp + fp + fn)."),
        share(
            "calibration_error_permille",
            "Mean distance between confidence and share of right ones, in ten bands.",
        ),
        share("wape_permille", "Of loads: sum of errors over sum of values."),
        share(
            "mase_permille",
            "Of loads: errors over those of saying that it will be as the day before.",
        ),
        share("covered_permille", "Of loads: share between p10 and p90; 800 is meant."),
        share(
            "mean_error_hours",
            "Of orders: mean distance between eta_p50 and when they arrived.",
        ),
        share("by_p90_permille", "Of orders: share that arrived by eta_p90; 900 is meant."),
        share(
            "n_promised",
            "Of orders: those of n_judged that were promised, and told late_risk_percent.",
        ),
        share("risk_told_permille", "Of orders promised: mean of the risk that they were told."),
        share("late_permille", "Of orders promised: share that arrived after their promise."),
        share(
            "brier_permille",
            "Of orders promised: mean square of risk less what happened, the Brier score; 0 is best, \
             250 is what always saying even chance comes to.",
        ),
        share(
            "late_auc_permille",
            "Of orders promised: how often of a late and a punctual one the late one was told the \
             greater risk, in bands of five percent; ties count half.",
        ),
        share(
            "by_p95_permille",
            "Of silences: share of stays without a longer one than was said to be usual; 950 is meant.",
        ),
        FieldDef::new(
            "judged_until",
            FieldKind::Time,
            true,
            false,
            "Of loads: the end of the newest bucket that is looked at.",
        ),
    ],
};

/// A whole number, or null where that does not apply.
const fn share(name: &'static str, words: &'static str) -> FieldDef {
    FieldDef::new(name, FieldKind::Int, true, false, words)
}

/// All of a kind.
const ALL: &str = "all";

/// A row, as far as something applies.
#[derive(Default)]
struct Quality<'q> {
    model: CompactString,
    of: &'q str,
    series: &'q str,
    bucket_minutes: i64,
    n_judged: i64,
    /// Accuracy, macro-F1, calibration error.
    of_texts: [Option<i64>; 3],
    /// WAPE, MASE, covered.
    of_loads: [Option<i64>; 3],
    /// Mean error, by p90; of those promised how many, risk told, late, Brier score, area under the curve.
    of_orders: [Option<i64>; 7],
    /// By p95.
    of_silences: Option<i64>,
    judged_until: Option<i64>,
}

impl Quality<'_> {
    fn row(self) -> Row {
        let int = |it: Option<i64>| it.map_or(Value::Null, Value::Int);
        let key = [
            Value::Text(self.model),
            Value::Text(self.of.into()),
            Value::Text(self.series.into()),
            Value::Int(self.bucket_minutes),
            Value::Int(self.n_judged),
        ];
        let shares = self.of_texts.into_iter().chain(self.of_loads).chain(self.of_orders);
        let shares = shares.chain([self.of_silences]).map(int);
        let until = self.judged_until.map_or(Value::Null, Value::Time);
        Row { values: key.into_iter().chain(shares).chain([until]).collect() }
    }
}

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
    let permille = |it: f64| Some((it * 1_000.0).round() as i64);
    let n_judged = i64::try_from(it.n_texts).unwrap_or(i64::MAX);
    let of_texts = [it.accuracy, it.macro_f1, it.ece].map(permille);
    Quality { model, of: "texts", series: ALL, n_judged, of_texts, ..Quality::default() }.row()
}

/// The view, plainly: every rated text against its stars; of every series its errors; every order
/// that arrived against what was told of it.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut rows = reference_of_texts(events);
    rows.extend(loads::reference(events, now));
    rows.extend(arrivals::reference(events, now));
    rows
}

/// Every rated text against its stars.
fn reference_of_texts(events: &[Event<'static>]) -> BTreeMap<Name, Row> {
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
