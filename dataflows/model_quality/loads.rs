//! How right the forecasts of each series of loads were: the states of `load_forecast`, looked at
//! otherwise.
//!
//! # Meaning
//! Of each row of `load_forecast`, at the same epoch, its own errors over the days by which it is
//! judged; nothing is counted twice and nothing is remembered. Test: `tests/oracle.rs`, against the
//! plain rows of `load_forecast`; `tests::as_the_forecast_says`.

use std::collections::BTreeMap;

use schemas::events::Event;
use schemas::names::Name;
use schemas::rows::{Row, Value, ViewDef};

use super::{DEF, Quality};
use crate::load_forecast::{self, LoadForecast, MODEL, State};
use crate::{Epoch, Fold};

/// Microseconds.
const MINUTE: i64 = 60_000_000;

/// Before the keys of `load_forecast`: [`MODEL`] and a slash.
pub(crate) const PREFIX: &str = "load 1/";

/// `load_forecast`, seen so.
pub(crate) struct Loads;

impl Fold for Loads {
    /// Nobody folds it.
    type Update = ();
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(_: &mut State, (): &()) {}

    fn exists(state: &State) -> bool {
        LoadForecast::exists(state)
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        if !Self::exists(state) {
            return None;
        }
        let (of, series) = load_forecast::series_of(name);
        let bucket_minutes = i64::from(state.minutes());
        let until = state.until(now);
        let made = state.made(until);
        // Without a forecast it is judged by nothing: no errors are said.
        let quality = made.as_ref().map(|it| it.quality).unwrap_or_default();
        let permille = |it: f64| (quality.n > 0).then_some((it * 1_000.0).max(0.0).round() as i64);
        let it = Quality {
            model: MODEL.into(),
            of: &of,
            series: &series,
            bucket_minutes,
            n_judged: quality.n as i64,
            of_loads: [quality.wape, quality.mase, quality.covered].map(permille),
            judged_until: made.map(|_| until.saturating_mul(bucket_minutes * MINUTE)),
            ..Quality::default()
        };
        Some(it.row())
    }
}

/// The rows, plainly: what those of `load_forecast` say of themselves.
pub(super) fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let rows = load_forecast::reference(events, now).into_iter();
    rows.map(|(name, forecast)| {
        let key = [PREFIX, name.key()].concat();
        let said = |field: &str| {
            let place = load_forecast::DEF.position(field).expect("a field");
            forecast.values[place].clone()
        };
        let values = DEF.fields.iter().map(|it| match it.name {
            "model" => Value::Text(MODEL.into()),
            "judged_until" => said("made_at"),
            "wape_permille" | "mase_permille" | "covered_permille" => said(it.name),
            "of" | "series" | "bucket_minutes" | "n_judged" => said(it.name),
            _ => Value::Null,
        });
        (Name::new(name.tenant(), &key), Row { values: values.collect() })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use schemas::names::key_text;

    use super::*;
    use crate::load_forecast::{Counted, EVENTS, MEASURED, key_of};

    /// Goal: a key begins with who says it, so that another version of the model has keys of its own.
    #[test]
    fn the_key_begins_with_the_model() {
        assert_eq!(PREFIX, [&key_text(&[MODEL]), "/"].concat());
    }

    /// Goal: what is said of a series is what its forecast says of itself, and all else is null; as
    /// long as there is no forecast there is a row that says so. Method: weeks of hours, and one hour.
    #[test]
    fn as_the_forecast_says() {
        let cells = (0..24 * 30).map(|it| (500_000 + it, 100 + it % 24 * 10 + it % 7)).collect();
        let long = State::of(60, Counted::Not, cells);
        let short = State::of(60, Counted::All, [(500_000, 3)].into());
        let now = (500_000 + 24 * 30) * 3_600_000;
        for (name, state, is_judged) in [
            (Name::new("t", &key_of(MEASURED, "calls/b", 60)), long, true),
            (Name::new("t", &key_of(EVENTS, "all", 60)), short, false),
        ] {
            let forecast = LoadForecast::row(&name, &state, now).unwrap();
            let found = Loads::row(&name, &state, now).unwrap();
            let there = |field: &str| {
                forecast.values[load_forecast::DEF.position(field).expect(field)].clone()
            };
            let here = |field: &str| found.values[DEF.position(field).expect(field)].clone();
            let errors = ["wape_permille", "mase_permille", "covered_permille"];
            for field in ["of", "series", "bucket_minutes", "n_judged"].into_iter().chain(errors) {
                assert_eq!(here(field), there(field), "{field}");
            }
            assert_eq!(here("judged_until"), there("made_at"));
            for field in errors.into_iter().chain(["judged_until"]) {
                assert_eq!(here(field) != Value::Null, is_judged, "{field}");
            }
            assert_eq!(here("model"), Value::Text(MODEL.into()));
            assert_eq!(here("accuracy_permille"), Value::Null);
        }
    }
}
