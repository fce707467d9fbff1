//! How the texts of each day feel.
//!
//! In: [`Heard`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per day of event time (UTC) on which something was said: texts by label, the mean of
//! their scores, the share of negative ones.
//!
//! # State
//! 40 bytes a day, beside its name.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::Event;
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::time::rfc3339;

use crate::models::opinion::text_of;
use crate::mood::{DAY, Heard, Sums};
use crate::packed::{Checked, Writer};
use crate::sentiment::plainly;
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "sentiment_by_day",
    words: "How the texts of each day feel.",
    shape: Shape::Fold,
    key: &["day"],
    fields: &[
        FieldDef::new(
            "day",
            FieldKind::Text,
            false,
            true,
            "The day of event time in UTC, such as 2026-01-31.",
        ),
        FieldDef::new("n_texts", FieldKind::Int, false, false, "Texts."),
        FieldDef::new("n_negative", FieldKind::Int, false, false, "Of them negative."),
        FieldDef::new("n_neutral", FieldKind::Int, false, false, "Of them neutral."),
        FieldDef::new("n_positive", FieldKind::Int, false, false, "Of them positive."),
        FieldDef::new("mean_permille", FieldKind::Int, false, false, "Mean score, -1000 to 1000."),
        FieldDef::new("negative_permille", FieldKind::Int, true, false, "Share of negative ones."),
    ],
};

/// The fold.
pub struct SentimentByDay;

/// What is known of a day.
#[derive(Clone, Debug, Default)]
pub struct State(Sums);

impl Fold for SentimentByDay {
    type Update = Heard;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, heard: &Heard) {
        state.0.add(heard.label, heard.score);
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        Some(row(crate::key_id(name), &state.0))
    }
}

impl Keep for SentimentByDay {
    const LAYOUT: &'static str = layout!("sentiment_by_day 1: texts by label, sum of scores");

    fn store(state: &State, into: &mut Vec<u8>) {
        state.0.store(&mut Writer(into));
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let sums = Sums::restore(&mut from)?;
        from.end()?;
        Some(State(sums))
    }
}

/// The day that an event time lies in, as in its key.
pub(crate) fn day_of(time: i64) -> CompactString {
    rfc3339(time - time.rem_euclid(DAY))[..10].into()
}

fn row(day: CompactString, sums: &Sums) -> Row {
    let mut values = vec![Value::Text(day)];
    values.extend(sums.values());
    values.push(Value::Int(sums.mean()));
    values.push(sums.negative().map_or(Value::Null, Value::Int));
    Row { values }
}

/// The view, plainly: every text on its day.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut days: BTreeMap<(&str, CompactString), Sums> = BTreeMap::new();
    for event in events {
        let Some(text) = text_of(event) else { continue };
        let (said, _) = plainly(text);
        let of = days.entry((&event.tenant, day_of(event.time))).or_default();
        of.add(said.label, said.score);
    }
    let rows = days.into_iter();
    rows.map(|((tenant, day), it)| (Name::new(tenant, &key_text(&[&day])), row(day, &it))).collect()
}
