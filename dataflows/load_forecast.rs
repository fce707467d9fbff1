//! What load comes, series by series, and how right such forecasts were.
//!
//! In: [`Update`]: events counted per worker and epoch by [`crate::inputs`], and what
//! `load.measured` says. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per series and length of its buckets. Series are the tenant's own events (`of` is `events`:
//! every type and `all` of them, by five minutes and by the hour), and what was measured outside (`of`
//! is `measured`): of a tenant at most [`SERIES_MAX`] of those ([`mod@bounded`]). At the end of each
//! bucket, by the epoch, the row says what comes in the next 24 hours, or the next four where buckets
//! are shorter than a quarter of an hour ([`crate::models::load`]), by the [`KEPT`] weeks before (by
//! five minutes single types by [`KEPT_OF_TYPES`]), and how right such forecasts were. A bucket in
//! which no event came counts none; one in which nothing was measured is not known. What is said of a
//! bucket twice is added up. Of a series with less than two days there is no forecast.
//!
//! A row is a function of the events up to its epoch: a late event corrects the forecast that
//! stands, and what was said before is in the changes.
//!
//! # State
//! 16 bytes for each bucket of the last eight weeks (of at most [`BUCKETS_MAX`]; of single types by
//! five minutes of the last two) in which there was something. A forecast is made by who reads the
//! row, never by a worker, and is kept until it is another one. One is made at a time in the whole
//! process: however many read, forecasts take one core at the most, and leave the others to the workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use compact_str::CompactString;
use parking_lot::Mutex;
use schemas::events::{Data, Event};
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::time::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::models::load::{Forecast, NAMES, Past, WAYS, WORDS};
use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

mod bounded; // which series measured outside there are rows of

pub use bounded::{LeftOut, SERIES_MAX};
pub(crate) use bounded::{Standing, bounded};

/// Weeks that a forecast leans on.
const KEPT: i64 = 8;
/// The same for a single type of events by less than an hour: there are many of them, and what changes
/// is written to the state as a whole.
const KEPT_OF_TYPES: i64 = 2;
/// Buckets that are kept at the most: eight weeks of five minutes, eleven days of one.
const BUCKETS_MAX: i64 = 16_128;
/// Buckets that changed lately, kept aside so that a change copies little.
const RECENT_MAX: usize = 16;
/// Reasons that are told.
const REASONS_MAX: usize = 3;
const MINUTE: i64 = 60_000_000;
const DAY_MINUTES: i64 = 1_440;
/// Whose series: the tenant's own events.
pub(crate) const EVENTS: &str = "events";
/// What was measured outside.
pub(crate) const MEASURED: &str = "measured";
/// All types together.
pub(crate) const ALL: &str = "all";
/// Minutes of the buckets in which a tenant's events are counted.
pub(crate) const COUNTED_BY: [u16; 2] = [5, 60];
/// Who makes the forecasts: [`crate::models::load`], and its version, which is another one whenever
/// the same values would be told otherwise.
pub const MODEL: &str = "load 1";

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "load_forecast",
    words: "What load comes, series by series, and how right such forecasts were.",
    shape: Shape::Fold,
    key: &["of", "series", "bucket_minutes"],
    fields: &[
        FieldDef::new(
            "of",
            FieldKind::Text,
            false,
            true,
            "events: of this tenant; measured: by load.measured.",
        ),
        FieldDef::new(
            "series",
            FieldKind::Text,
            false,
            true,
            "The type of events, or all; what was measured.",
        ),
        FieldDef::new("bucket_minutes", FieldKind::Int, false, true, "How long a bucket is."),
        FieldDef::new(
            "model",
            FieldKind::Text,
            true,
            true,
            "Which model says it, with its version; what it chose is in ways. Null without a forecast.",
        ),
        FieldDef::new(
            "made_at",
            FieldKind::Time,
            true,
            false,
            "The end of the bucket up to which it knows; null as long as there is no forecast.",
        ),
        FieldDef::new(
            "next_p10",
            FieldKind::Int,
            true,
            false,
            "In the next bucket: nine in ten exceed it.",
        ),
        FieldDef::new(
            "next_p50",
            FieldKind::Int,
            true,
            false,
            "In the next bucket, with even chance.",
        ),
        FieldDef::new(
            "next_p90",
            FieldKind::Int,
            true,
            false,
            "In the next bucket: one in ten exceeds it.",
        ),
        FieldDef::new(
            "peak_at",
            FieldKind::Time,
            true,
            false,
            "The start of the fullest bucket to come.",
        ),
        FieldDef::new(
            "peak_p50",
            FieldKind::Int,
            true,
            false,
            "What comes in it, with even chance.",
        ),
        FieldDef::new(
            "peak_p90",
            FieldKind::Int,
            true,
            false,
            "One in ten such buckets exceeds it.",
        ),
        FieldDef::new(
            "forecast",
            FieldKind::Json,
            false,
            false,
            "Each bucket to come: at (its start), p10, p50, p90.",
        ),
        FieldDef::new(
            "ways",
            FieldKind::Json,
            false,
            false,
            "What each way of forecasting counts, in percent.",
        ),
        FieldDef::new(
            "reasons",
            FieldKind::Json,
            false,
            false,
            "What that leans on, what counts most first, at most three: words, and percent (what it counts, \
             for it was nearest on the last days).",
        ),
        FieldDef::new(
            "n_judged",
            FieldKind::Int,
            false,
            false,
            "Buckets of the last days by which the next three are judged.",
        ),
        FieldDef::new(
            "wape_permille",
            FieldKind::Int,
            true,
            false,
            "Sum of errors over sum of values.",
        ),
        FieldDef::new(
            "mase_permille",
            FieldKind::Int,
            true,
            false,
            "Errors over those of saying that it will be as the day before.",
        ),
        FieldDef::new(
            "covered_permille",
            FieldKind::Int,
            true,
            false,
            "Share between p10 and p90; 800 is meant.",
        ),
    ],
};

/// The fold.
pub struct LoadForecast;

/// So much more of a series in a bucket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Update {
    pub(crate) minutes: u16,
    /// Counted from the Unix epoch.
    pub(crate) bucket: i64,
    pub(crate) n: i64,
    pub(crate) counted: Counted,
}

/// Whether no word of a bucket means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Counted {
    /// It is not known then: it is measured outside.
    #[default]
    Not,
    /// All events are counted.
    All,
    /// Events of one type are.
    OneType,
}

impl Update {
    /// To a series that was measured, and stands no more ([`mod@bounded`]).
    const NO_MORE: Update = Update { minutes: 0, bucket: 0, n: 0, counted: Counted::Not };

    /// What `load.measured` says, and of which series.
    pub fn of<'e>(event: &'e Event<'_>) -> Option<(&'e str, Update)> {
        let Data::LoadMeasured(it) = &event.data else { return None };
        let update = Update {
            minutes: it.bucket_minutes,
            bucket: bucket_of(event.time, it.bucket_minutes),
            n: it.value,
            counted: Counted::Not,
        };
        Some((&it.series, update))
    }

    /// The bucket, counted from the Unix epoch.
    pub fn bucket(&self) -> i64 {
        self.bucket
    }

    /// How much.
    pub fn value(&self) -> i64 {
        self.n
    }
}

/// The bucket that an instant lies in.
pub(crate) fn bucket_of(at: i64, minutes: u16) -> i64 {
    at.div_euclid(i64::from(minutes.max(1)) * MINUTE)
}

/// What is known of a series.
#[derive(Clone, Debug, Default)]
pub struct State {
    minutes: u16,
    counted: Counted,
    /// Whether anything was said.
    is_known: bool,
    /// The first and the newest bucket ever said.
    since: i64,
    newest: i64,
    /// Buckets and values, ascending; those that changed lately beside the others.
    past: Arc<Vec<(i64, i64)>>,
    recent: Arc<Vec<(i64, i64)>>,
    made: Made,
}

/// The forecast that was made last, by what it was made of.
type Made = Arc<Mutex<Option<Leaf>>>;

#[derive(Debug)]
struct Leaf {
    until: i64,
    past: Arc<Vec<(i64, i64)>>,
    recent: Vec<(i64, i64)>,
    forecast: Option<Arc<Forecast>>,
}

/// Adds where it belongs.
fn add(cells: &mut Vec<(i64, i64)>, (bucket, n): (i64, i64)) {
    let place = cells.partition_point(|it| it.0 < bucket);
    match cells.get_mut(place).filter(|it| it.0 == bucket) {
        Some(cell) => cell.1 = cell.1.saturating_add(n),
        None => cells.insert(place, (bucket, n)),
    }
}

impl State {
    /// What there is after all of this was said, bucket by bucket; not of no bucket at all.
    pub(crate) fn of(minutes: u16, counted: Counted, cells: BTreeMap<i64, i64>) -> State {
        let ends = |of: Option<(&i64, &i64)>| *of.expect("something was said").0;
        State {
            minutes,
            counted,
            is_known: true,
            since: ends(cells.first_key_value()),
            newest: ends(cells.last_key_value()),
            past: Arc::new(cells.into_iter().collect()),
            ..State::default()
        }
    }

    /// How long a bucket is.
    pub(crate) fn minutes(&self) -> u16 {
        self.minutes
    }

    /// How many buckets are kept.
    fn kept(&self) -> i64 {
        let is_one_of_many = self.counted == Counted::OneType && self.minutes < 60;
        let weeks = if is_one_of_many { KEPT_OF_TYPES } else { KEPT };
        (weeks * 7 * DAY_MINUTES / i64::from(self.minutes.max(1))).min(BUCKETS_MAX)
    }

    /// Buckets of a day.
    pub fn per_day(&self) -> usize {
        let minutes = i64::from(self.minutes.max(1));
        ((DAY_MINUTES + minutes / 2) / minutes).max(1) as usize
    }

    /// The last bucket that is not complete at an instant.
    pub(crate) fn until(&self, now: Epoch) -> i64 {
        let micros = i64::try_from(now).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
        bucket_of(micros, self.minutes)
    }

    /// One more word.
    pub fn hear(&mut self, it: &Update) {
        self.minutes = it.minutes;
        self.counted = it.counted;
        let had = std::mem::replace(&mut self.is_known, true).then_some((self.since, self.newest));
        let (since, newest) = had.unwrap_or((it.bucket, it.bucket));
        (self.since, self.newest) = (since.min(it.bucket), newest.max(it.bucket));
        let oldest = self.newest.saturating_sub(self.kept());
        if it.bucket <= oldest {
            return;
        }
        let recent = Arc::make_mut(&mut self.recent);
        add(recent, (it.bucket, it.n));
        if recent.len() > RECENT_MAX {
            let past = Arc::make_mut(&mut self.past);
            recent.drain(..).for_each(|it| add(past, it));
            past.drain(..past.partition_point(|it| it.0 <= oldest));
        }
    }

    /// The values before a bucket, in a row; with the first of them.
    fn values(&self, until: i64) -> (i64, Vec<f64>) {
        let from = until.max(self.newest.saturating_add(1)).saturating_sub(self.kept());
        let from = from.max(self.since);
        let n = usize::try_from(until.saturating_sub(from)).unwrap_or(0);
        let mut values = vec![if self.counted == Counted::Not { f64::NAN } else { 0.0 }; n];
        for (bucket, value) in self.past.iter().chain(self.recent.iter()) {
            let place = bucket.checked_sub(from).and_then(|it| usize::try_from(it).ok());
            if let Some(it) = place.and_then(|it| values.get_mut(it)) {
                *it = if it.is_nan() { *value as f64 } else { *it + *value as f64 };
            }
        }
        (from, values)
    }

    /// What comes from a bucket on, so many of them; none where too little is known.
    pub fn forecast(&self, until: i64, ahead: usize) -> Option<Forecast> {
        let (first, values) = self.values(until);
        let per_day = self.per_day();
        if values.len() < 2 * per_day {
            return None;
        }
        let full = |day: &[f64]| day.iter().any(|it| *it > 0.0);
        // Nothing follows from a single day.
        values.chunks(per_day).filter(|it| full(it)).nth(1)?;
        // Whoever else makes one now goes first.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock();
        Some(Past { first, per_day, values: &values }.forecast(ahead))
    }

    /// Buckets that a row looks ahead.
    fn ahead(&self) -> usize {
        let minutes = i64::from(self.minutes.max(1));
        let hours = if minutes < 15 { 4 } else { 24 };
        (hours * 60 / minutes).max(1) as usize
    }

    /// The forecast at a bucket, made once.
    pub(crate) fn made(&self, until: i64) -> Option<Arc<Forecast>> {
        let recent = self.recent.iter().filter(|it| it.0 < until);
        let mut made = self.made.lock();
        if let Some(leaf) = &*made
            && leaf.until == until
            && Arc::ptr_eq(&leaf.past, &self.past)
            && leaf.recent.iter().eq(recent.clone())
        {
            return leaf.forecast.clone();
        }
        let forecast = self.forecast(until, self.ahead()).map(Arc::new);
        let (past, recent) = (self.past.clone(), recent.copied().collect());
        *made = Some(Leaf { until, past, recent, forecast: forecast.clone() });
        forecast
    }
}

impl Fold for LoadForecast {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, update: &Update) {
        match update.minutes {
            0 => *state = State::default(),
            _ => state.hear(update),
        }
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        let until = state.until(now);
        state.is_known.then(|| row(name, state, until, state.made(until).as_deref()))
    }

    fn exists(state: &State) -> bool {
        state.is_known
    }

    /// At the end of each bucket, from the one of which there is a forecast as long as something is
    /// kept. Before that time moves nothing: a replay begins long before its events.
    fn next_due(state: &State, after: Epoch) -> Option<Epoch> {
        let length = u64::from(state.minutes.max(1)) * 60_000;
        let lasts = state.newest.saturating_add(1).saturating_add(state.kept());
        let first = state.since.saturating_add(2 * state.per_day() as i64);
        let next = state.until(after).saturating_add(1).max(first);
        let due = u64::try_from(next).ok().and_then(|it| it.checked_mul(length));
        due.filter(|_| state.is_known && next <= lasts)
    }

    fn heap_bytes(state: &State) -> usize {
        (state.past.len() + state.recent.len()) * 16
    }
}

/// The row: of which series, up to which bucket, and what comes.
fn row(name: &Name, state: &State, until: i64, comes: Option<&Forecast>) -> Row {
    let (of, series) = series_of(name);
    let start = |ahead: usize| {
        let bucket = until.saturating_add(ahead as i64);
        bucket.saturating_mul(i64::from(state.minutes) * MINUTE)
    };
    let int = |it: Option<f64>| it.map_or(Value::Null, |it| Value::Int(it.max(0.0).round() as i64));
    let time = |it: Option<i64>| it.map_or(Value::Null, Value::Time);
    let bands = comes.map_or(&[][..], |it| &it.bands[..]);
    let next = |at: usize| int(bands.first().map(|it| it[at]));
    let fuller = |a: &(usize, &[f64; 3]), b: &(usize, &[f64; 3])| a.1[1].total_cmp(&b.1[1]);
    // Of equal ones the first.
    let peak = bands.iter().enumerate().rev().max_by(fuller);
    let tenth = |it: f64| (it.max(0.0) * 10.0).round() / 10.0;
    let forecast = bands.iter().enumerate().map(|(at, [p10, p50, p90])| {
        json!({"at": rfc3339(start(at)), "p10": tenth(*p10), "p50": tenth(*p50), "p90": tenth(*p90)})
    });
    let ways = comes.map_or_else(
        || json!({}),
        |it| {
            let counts = it.weights.map(|it| (it * 100.0).round());
            NAMES
                .iter()
                .zip(counts)
                .map(|(name, counts)| (name.to_string(), json!(counts)))
                .collect()
        },
    );
    let quality = comes.map(|it| it.quality).unwrap_or_default();
    let permille = |it: f64| int((quality.n > 0).then_some(it * 1_000.0));
    Row {
        values: vec![
            Value::Text(of),
            Value::Text(series),
            Value::Int(state.minutes.into()),
            comes.map_or(Value::Null, |_| Value::Text(MODEL.into())),
            time(comes.map(|_| start(0))),
            next(0),
            next(1),
            next(2),
            time(peak.map(|it| start(it.0))),
            int(peak.map(|it| it.1[1])),
            int(peak.map(|it| it.1[2])),
            Value::Json(forecast.collect()),
            Value::Json(ways),
            Value::Json(comes.map_or_else(|| json!([]), |it| reasons(&it.weights))),
            Value::Int(quality.n as i64),
            permille(quality.wape),
            permille(quality.mase),
            permille(quality.covered),
        ],
    }
}

/// What counts most, in words; of equal ones the first. What rounds to nothing is none.
fn reasons(weights: &[f64; WAYS]) -> Json {
    let percent = weights.map(|it| (it * 100.0).round() as i64);
    let mut all: Vec<_> = percent.into_iter().zip(WORDS).filter(|it| it.0 > 0).collect();
    all.sort_by_key(|it| -it.0);
    let all = all.into_iter().take(REASONS_MAX);
    all.map(|(percent, words)| json!({"words": words, "percent": percent})).collect()
}

impl Keep for LoadForecast {
    const LAYOUT: &'static str = layout!(
        "load_forecast 3: of every type of events by five minutes and by the hour; minutes of a bucket, \
         0, or 1 and 2 where no word means none: of all, of one type, whether anything was said, the first and the newest bucket, buckets that are kept by distance, \
         each with its value (series measured outside: a thousand of a tenant)"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        let mut cells = (*state.past).clone();
        state.recent.iter().for_each(|it| add(&mut cells, *it));
        let mut writer = Writer(into);
        writer.count(state.minutes.into());
        writer.count(state.counted as u64);
        writer.count(state.is_known.into());
        writer.int(state.since);
        writer.int(state.newest);
        writer.count(cells.len() as u64);
        let mut before = state.since;
        for (bucket, value) in cells {
            writer.int(bucket - before);
            writer.int(value);
            before = bucket;
        }
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let minutes: u16 = from.count()?;
        let counted = [Counted::Not, Counted::All, Counted::OneType];
        let counted = *counted.get(from.count::<usize>()?)?;
        let is_known = from.count::<u8>().filter(|it| *it < 2)? == 1;
        let (since, newest) = (from.int()?, from.int()?);
        let n: usize = from.count()?;
        let (mut cells, mut before) = (Vec::new(), since);
        for at in 0..n {
            let bucket = from.int()?.checked_add(before)?;
            if at > 0 && bucket <= before {
                return None;
            }
            cells.push((bucket, from.int()?));
            before = bucket;
        }
        from.end()?;
        let past = Arc::new(cells);
        let (recent, made) = Default::default();
        Some(State { minutes, counted, is_known, since, newest, past, recent, made })
    }
}

/// The key of a series.
pub(crate) fn key_of(of: &str, series: &str, minutes: u16) -> CompactString {
    key_text(&[of, series, &minutes.to_string()])
}

/// Whose series a key is of, and which.
pub(crate) fn series_of(name: &Name) -> (CompactString, CompactString) {
    // Always three parts: no other key is made ([`key_of`]).
    let mut parts = name.key().split('/').map(crate::decoded);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The view, plainly: every event into its series' buckets, in a map.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut series: BTreeMap<Name, (u16, Counted, BTreeMap<i64, i64>)> = BTreeMap::new();
    let mut say = |tenant: &str, of: &str, named: &str, minutes: u16, at: i64, n: i64| {
        let name = Name::new(tenant, &key_of(of, named, minutes));
        let counted = match (of, named) {
            (EVENTS, ALL) => Counted::All,
            (EVENTS, _) => Counted::OneType,
            _ => Counted::Not,
        };
        let it = series.entry(name).or_insert((minutes, counted, BTreeMap::new()));
        *it.2.entry(bucket_of(at, minutes)).or_insert(0) += n;
    };
    for event in events {
        let kind = event.data.event_type().as_str();
        for (named, minutes) in [(kind, 60), (kind, 5), (ALL, 60), (ALL, 5)] {
            say(&event.tenant, EVENTS, named, minutes, event.time, 1);
        }
        if let Data::LoadMeasured(it) = &event.data {
            say(&event.tenant, MEASURED, &it.series, it.bucket_minutes, event.time, it.value);
        }
    }
    let mut measured: BTreeMap<&str, BTreeSet<bounded::Rank>> = BTreeMap::new();
    for (name, _) in series.iter().filter(|it| it.1.1 == Counted::Not) {
        measured.entry(name.tenant()).or_default().insert(bounded::rank(name));
    }
    let stand = measured.into_values().flat_map(|it| it.into_iter().take(SERIES_MAX));
    let stand: BTreeSet<Name> = stand.map(|it| it.1).collect();
    series.retain(|name, it| it.1 != Counted::Not || stand.contains(name));
    let rows = series.into_iter().map(|(name, (minutes, counted, cells))| {
        let state = State::of(minutes, counted, cells);
        let until = state.until(now);
        let comes = state.forecast(until, state.ahead());
        let row = row(&name, &state, until, comes.as_ref());
        (name, row)
    });
    rows.collect()
}

#[cfg(test)]
mod tests;
