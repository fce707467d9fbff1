//! What this process can do, against what comes: headroom, and when to have more workers.
//!
//! In: [`Update`]: what `system.measured` says, and events of all tenants counted per worker and
//! epoch by [`crate::inputs`]. Out: rows of [`DEF`], of the tenant [`DEFAULT_TENANT`].
//!
//! # Meaning
//! One row per process that was measured; `main` as long as there is one.
//! - *Rate*: what its workers can do. Of the newest [`MEASURED_MAX`] measurements, by their time,
//!   the events over the time that workers were busy with them, times as many workers as have a
//!   processor (by the newest).
//! - *What comes*: the events of all tenants, counted by event time as in
//!   [`crate::load_forecast`], the next four hours by five minutes and after those by the hour, up
//!   to 24, as forecast at the end of each bucket. The peak is the bucket whose p90 is the largest
//!   for its length; of equal ones the first.
//! - *Headroom*: the share of the rate that the peak leaves; below nothing where it is more than
//!   the rate.
//! - *`scale_at`*: the start of the first bucket whose p90 is above a share of the rate
//!   ([`Terms::full_permille`]). From then on there should be more workers, if the forecast holds.
//!
//! [`crate::capacity_advice`] shows what follows, and changes only when that does. Nothing acts on
//! it.
//!
//! # Invariants
//! A row is a function of the set of events, of the settings, and of the bucket in which it is made.
//! After the forecast everything is whole numbers, rounded so that less is promised. Time moves a
//! row at the end of a bucket and at no other instant.
//!
//! Deliberately absent: what the log, checkpoints, sinks and readers need; rates measured at another
//! load (an epoch's own costs fall on few events where few come, so the rate of a quiet day is too
//! low, never too high); a pause between two advices.
//!
//! # State
//! Per process 104 bytes in place, two series of [`crate::load_forecast`] (5 minutes, an hour) and
//! [`MEASURED_MAX`] measurements of 40 bytes. A forecast is made by who reads the row, never by a
//! worker.
//!
//! # Why this way
//! All tenants' events go through the same workers, and the p90 of a sum is not the sum of p90s: so
//! the total has series of its own, and is nobody's but the deployment's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use compact_str::CompactString;
use schemas::events::{Data, Event};
use schemas::names::{DEFAULT_TENANT, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::time::rfc3339;
use serde::{Deserialize, Serialize};

use crate::load_forecast::{self, LoadForecast, bucket_of};
use crate::packed::{Checked, Writer};
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

/// The process, as long as there is one.
pub const MAIN: &str = "main";
/// Lengths of the buckets in which the events of all tenants are counted.
pub(crate) const MINUTES: [u16; 2] = [5, 60];
/// So many of the newest measurements are leant on: a day of hours.
pub const MEASURED_MAX: usize = 24;
const HOUR_SECONDS: i64 = 3_600;

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "capacity",
    words: "What this process can do, against what comes: headroom, and when to have more workers.",
    shape: Shape::Fold,
    key: &["process"],
    fields: &[
        FieldDef::new("process", FieldKind::Text, false, true, "Which process."),
        FieldDef::new(
            "measured_at",
            FieldKind::Time,
            false,
            false,
            "The end of the newest measurement.",
        ),
        FieldDef::new(
            "n_measurements",
            FieldKind::Int,
            false,
            false,
            "Measurements that the rate is made of: the newest 24 at the most.",
        ),
        FieldDef::new(
            "n_events",
            FieldKind::Int,
            false,
            false,
            "Events that were applied in them.",
        ),
        FieldDef::new(
            "busy_nanos_per_event",
            FieldKind::Int,
            false,
            false,
            "How long a worker was busy with one of them.",
        ),
        FieldDef::new("workers", FieldKind::Int, false, false, "Workers, by the newest."),
        FieldDef::new(
            "processors",
            FieldKind::Int,
            false,
            false,
            "Processors that they may use, by the newest.",
        ),
        FieldDef::new(
            "rate_per_second",
            FieldKind::Int,
            false,
            false,
            "Events that this process can apply in a second.",
        ),
        FieldDef::new(
            "rate_per_hour",
            FieldKind::Int,
            false,
            false,
            "Events that this process can apply in an hour.",
        ),
        FieldDef::new(
            "made_at",
            FieldKind::Time,
            true,
            false,
            "The end of the five minutes up to which the forecast knows; null: there is none yet.",
        ),
        FieldDef::new(
            "peak_at",
            FieldKind::Time,
            true,
            false,
            "The start of the fullest bucket to come.",
        ),
        FieldDef::new(
            "peak_seconds",
            FieldKind::Int,
            true,
            false,
            "How long that bucket is: five minutes, or an hour.",
        ),
        FieldDef::new(
            "peak_per_hour",
            FieldKind::Int,
            true,
            false,
            "Its p90, as if it went on like this for an hour.",
        ),
        FieldDef::new(
            "headroom_permille",
            FieldKind::Int,
            true,
            false,
            "The share of the rate that the peak leaves; below nothing: it is above the rate.",
        ),
        FieldDef::new(
            "full_permille",
            FieldKind::Int,
            false,
            false,
            "The share of the rate above which more workers are advised.",
        ),
        FieldDef::new(
            "scale_at",
            FieldKind::Time,
            true,
            false,
            "The start of the first bucket whose p90 is above that share: have more workers by then.",
        ),
        FieldDef::new(
            "workers_wanted",
            FieldKind::Int,
            true,
            false,
            "Workers, each with a processor, of whom the peak takes no more than that share.",
        ),
        FieldDef::new("advice", FieldKind::Text, false, true, "unknown, enough, or more."),
        FieldDef::new("reason", FieldKind::Text, false, false, "Why, with the figures."),
    ],
};

/// By what is judged: settings of the process, as [`crate::health::Terms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Share of the rate above which more workers are advised, in thousandths.
    pub full_permille: u16,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { full_permille: 800 }
    }
}

static FULL_PERMILLE: AtomicU16 = AtomicU16::new(800);

/// Sets them for this process, before the views are made.
pub fn set_terms(terms: Terms) {
    FULL_PERMILLE.store(terms.full_permille, Relaxed);
}

/// Those by which rows are made.
pub fn terms() -> Terms {
    Terms { full_permille: FULL_PERMILLE.load(Relaxed) }
}

/// The fold.
pub struct Capacity;

/// What is said of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Update {
    /// So many more events in a bucket.
    Came(load_forecast::Update),
    /// It was measured.
    Measured(Measured),
}

/// A measurement; the newest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Measured {
    /// Its end, microseconds since the Unix epoch.
    at: i64,
    n_events: i64,
    busy_micros: i64,
    seconds: i64,
    workers: u16,
    processors: u16,
}

impl Update {
    /// What `system.measured` says, and of which process.
    pub fn of<'e>(event: &'e Event<'_>) -> Option<(&'e str, Update)> {
        let Data::SystemMeasured(it) = &event.data else { return None };
        let measured = Measured {
            at: event.time,
            n_events: it.n_events,
            busy_micros: it.busy_micros,
            seconds: it.seconds,
            workers: it.workers,
            processors: it.processors,
        };
        Some((&it.process, Update::Measured(measured)))
    }
}

/// What is known of a process.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What came, by five minutes and by the hour.
    came: [load_forecast::State; 2],
    /// The newest measurements, the newest last.
    measured: Arc<Vec<Measured>>,
}

const _: () = assert!(size_of::<State>() <= 104 && size_of::<Measured>() <= 40); // the doc's

/// A bucket to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    /// Microseconds.
    start: i64,
    seconds: i64,
    /// Its p90, as if it went on so for an hour.
    per_hour: i64,
}

/// What comes, and up to when it is known.
#[derive(Clone, Debug, Default)]
struct Comes {
    made_at: i64,
    slots: Vec<Slot>,
}

/// What follows for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    n_measurements: usize,
    n_events: i64,
    busy_nanos: i64,
    pub(crate) newest: Measured,
    rate_per_hour: i64,
    pub(crate) full_permille: u16,
    made_at: Option<i64>,
    peak: Option<Slot>,
    /// The first that is above the share.
    full: Option<Slot>,
    wanted: Option<i64>,
}

impl Measured {
    pub(crate) fn workers(&self) -> u16 {
        self.workers
    }

    pub(crate) fn processors(&self) -> u16 {
        self.processors
    }

    /// Workers who have a processor.
    fn at_work(&self) -> u16 {
        self.workers.min(self.processors)
    }
}

impl State {
    fn hear(&mut self, it: &Update) {
        match it {
            Update::Came(it) => {
                let place = MINUTES.iter().position(|minutes| *minutes == it.minutes);
                if let Some(place) = place {
                    self.came[place].hear(it);
                }
            }
            Update::Measured(it) => {
                let all = Arc::make_mut(&mut self.measured);
                all.insert(all.partition_point(|other| other < it), *it);
                all.drain(..all.len().saturating_sub(MEASURED_MAX));
            }
        }
    }

    fn comes(&self, now: Epoch) -> Option<Comes> {
        let [five, hour] = &self.came;
        let bands = |of: &load_forecast::State| {
            let until = of.until(now);
            Some((until, of.made(until)?.bands.iter().map(|it| it[2]).collect()))
        };
        comes(bands(five), bands(hour))
    }

    pub(crate) fn judged(&self, now: Epoch) -> Option<Judged> {
        judge(&self.measured, self.comes(now), terms())
    }
}

/// The next hours, of the p90s from a bucket on by five minutes and by the hour.
fn comes(five: Option<(i64, Vec<f64>)>, hour: Option<(i64, Vec<f64>)>) -> Option<Comes> {
    let made_at = five.as_ref().map(|it| slot((it.0, 300), 0, 0.0).start);
    let slots = |of: Option<(i64, Vec<f64>)>, seconds: i64| -> Vec<Slot> {
        let (until, p90s) = of.unwrap_or_default();
        let p90s = p90s.iter().enumerate();
        p90s.map(|(ahead, p90)| slot((until, seconds), ahead, *p90)).collect()
    };
    let (mut all, later) = (slots(five, 300), slots(hour, HOUR_SECONDS));
    let end = |it: &Slot| it.start.saturating_add(it.seconds * 1_000_000);
    let near = all.last().map(end)?;
    // The hour in which the five minutes end is as good as the others.
    all.extend(later.into_iter().filter(|it| end(it) > near));
    Some(Comes { made_at: made_at?, slots: all })
}

/// A bucket to come, so many after one.
fn slot((until, seconds): (i64, i64), ahead: usize, p90: f64) -> Slot {
    let start = until.saturating_add(ahead as i64).saturating_mul(seconds * 1_000_000);
    let p90 = p90.max(0.0).ceil() as i64;
    Slot { start, seconds, per_hour: p90.saturating_mul(HOUR_SECONDS / seconds) }
}

/// What follows, of the newest measurements and what comes; nothing of a process never measured.
fn judge(measured: &[Measured], comes: Option<Comes>, terms: Terms) -> Option<Judged> {
    let newest = *measured.last()?;
    let sum = |of: fn(&Measured) -> i64| measured.iter().map(|it| i128::from(of(it))).sum::<i128>();
    let (n_events, busy) = (sum(|it| it.n_events).max(1), sum(|it| it.busy_micros).max(1));
    let narrow = |it: i128| i64::try_from(it).unwrap_or(i64::MAX);
    // What one worker does in an hour is `n_events * 3.6e9 / busy`.
    let hour_micros = i128::from(HOUR_SECONDS) * 1_000_000;
    let rate = (i128::from(newest.at_work()) * n_events * hour_micros / busy).max(1);
    let full = i128::from(terms.full_permille.max(1));
    let comes = comes.unwrap_or_default();
    let slots = comes.slots.iter().copied();
    // Of equal ones the first.
    let peak = slots.clone().rev().max_by_key(|it| it.per_hour);
    let is_full = |it: &Slot| i128::from(it.per_hour) * 1_000 > rate * full;
    let wanted = peak.map(|it| {
        let busy_permille = i128::from(it.per_hour) * 1_000 * busy;
        let of_one = n_events * hour_micros * full;
        narrow((busy_permille + of_one - 1) / of_one).max(1)
    });
    Some(Judged {
        n_measurements: measured.len(),
        n_events: narrow(n_events),
        busy_nanos: narrow(busy * 1_000 / n_events),
        newest,
        rate_per_hour: narrow(rate),
        full_permille: terms.full_permille,
        made_at: peak.map(|_| comes.made_at),
        peak,
        full: slots.clone().find(is_full),
        wanted,
    })
}

impl Judged {
    /// unknown, enough, more.
    pub(crate) fn advice(&self) -> &'static str {
        match (self.peak, self.full) {
            (None, _) => "unknown",
            (_, None) => "enough",
            (_, Some(_)) => "more",
        }
    }

    /// How many workers there should be, where more are advised.
    pub(crate) fn wanted(&self) -> Option<i64> {
        self.wanted.filter(|_| self.full.is_some())
    }

    /// Whether workers share processors.
    pub(crate) fn share(&self) -> bool {
        self.newest.workers > self.newest.processors
    }

    fn headroom(&self) -> Option<i64> {
        let (peak, rate) = (i128::from(self.peak?.per_hour), i128::from(self.rate_per_hour));
        i64::try_from(((rate - peak) * 1_000).div_euclid(rate)).ok()
    }

    fn reason(&self) -> String {
        let can = format!(
            "{} in an hour is what {} can do ({} in each of {} busy with {} events)",
            self.rate_per_hour,
            workers(self.newest.workers.into(), self.share().then_some(self.newest.processors)),
            nanos(self.busy_nanos),
            self.n_measurements,
            self.n_events,
        );
        match (self.peak, self.full, self.wanted) {
            (Some(peak), Some(full), Some(wanted)) => format!(
                "from {} on more may come than {} of what can be done: at {} a rate of {} events \
                 in an hour, which one in ten such times exceeds; {can}; {} would do",
                rfc3339(full.start),
                percent(self.full_permille),
                rfc3339(peak.start),
                peak.per_hour,
                each_with_a_processor(wanted),
            ),
            (Some(peak), ..) => format!(
                "the most that comes within 24 hours is, at {}, a rate of {} events in an hour, \
                 which one in ten such times exceeds; {can}",
                rfc3339(peak.start),
                peak.per_hour,
            ),
            (None, ..) => format!("nothing is forecast before there are events of two days; {can}"),
        }
    }
}

/// Such as `80 %`, `72.5 %`.
pub(crate) fn percent(permille: u16) -> String {
    match (permille / 10, permille % 10) {
        (whole, 0) => format!("{whole} %"),
        (whole, tenth) => format!("{whole}.{tenth} %"),
    }
}

/// Such as `1 worker`, `4 workers on 2 processors`.
pub(crate) fn workers(n: i64, processors: Option<u16>) -> String {
    let some = |n: i64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match processors {
        Some(it) => format!("{} on {}", some(n, "worker"), some(it.into(), "processor")),
        None => some(n, "worker"),
    }
}

/// Such as `3 workers, each with a processor`.
pub(crate) fn each_with_a_processor(n: i64) -> String {
    format!("{}, each with a processor of its own,", workers(n, None))
}

fn nanos(it: i64) -> String {
    format!("{}.{:03} µs", it / 1_000, it % 1_000)
}

impl Fold for Capacity {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, update: &Update) {
        state.hear(update);
    }

    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        Some(row(crate::key_id(name), &state.judged(now)?))
    }

    fn exists(state: &State) -> bool {
        !state.measured.is_empty()
    }

    /// At the end of each bucket of both lengths, as in [`LoadForecast`].
    fn next_due(state: &State, after: Epoch) -> Option<Epoch> {
        let due = state.came.iter().filter_map(|it| LoadForecast::next_due(it, after)).min();
        due.filter(|_| Capacity::exists(state))
    }

    fn heap_bytes(state: &State) -> usize {
        let came: usize = state.came.iter().map(LoadForecast::heap_bytes).sum();
        came + state.measured.len() * size_of::<Measured>()
    }
}

fn row(process: CompactString, it: &Judged) -> Row {
    let int = |it: Option<i64>| it.map_or(Value::Null, Value::Int);
    let time = |it: Option<i64>| it.map_or(Value::Null, Value::Time);
    let count = |it: u16| Value::Int(it.into());
    Row {
        values: vec![
            Value::Text(process),
            Value::Time(it.newest.at),
            Value::Int(it.n_measurements as i64),
            Value::Int(it.n_events),
            Value::Int(it.busy_nanos),
            count(it.newest.workers),
            count(it.newest.processors),
            Value::Int(it.rate_per_hour / HOUR_SECONDS),
            Value::Int(it.rate_per_hour),
            time(it.made_at),
            time(it.peak.map(|it| it.start)),
            int(it.peak.map(|it| it.seconds)),
            int(it.peak.map(|it| it.per_hour)),
            int(it.headroom()),
            count(it.full_permille),
            time(it.full.map(|it| it.start)),
            int(it.wanted),
            Value::Text(it.advice().into()),
            Value::Text(it.reason().into()),
        ],
    }
}

impl Keep for Capacity {
    const LAYOUT: &'static str = layout!(
        "capacity 1: two states of load_forecast, each behind its length; the newest measurements: \
         end, events, busy microseconds, seconds, workers, processors"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        for came in &state.came {
            let mut bytes = Vec::new();
            LoadForecast::store(came, &mut bytes);
            Writer(into).count(bytes.len() as u64);
            into.extend_from_slice(&bytes);
        }
        let mut writer = Writer(into);
        writer.count(state.measured.len() as u64);
        for it in state.measured.iter() {
            writer.int(it.at);
            writer.int(it.n_events);
            writer.int(it.busy_micros);
            writer.int(it.seconds);
            writer.count(it.workers.into());
            writer.count(it.processors.into());
        }
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let mut came = || {
            let n = from.count()?;
            LoadForecast::restore(from.bytes(n)?)
        };
        let came = [came()?, came()?];
        let n = from.count::<usize>().filter(|it| *it <= MEASURED_MAX)?;
        let mut measured: Vec<Measured> = Vec::new();
        for _ in 0..n {
            let it = Measured {
                at: from.int()?,
                n_events: from.int()?,
                busy_micros: from.int()?,
                seconds: from.int()?,
                workers: from.count()?,
                processors: from.count()?,
            };
            if measured.last().is_some_and(|before| *before > it) {
                return None;
            }
            measured.push(it);
        }
        from.end()?;
        Some(State { came, measured: Arc::new(measured) })
    }
}

/// What follows for every process, plainly: all measurements sorted, every event into its bucket.
pub(crate) fn plainly(events: &[Event<'static>], now: Epoch) -> BTreeMap<CompactString, Judged> {
    let mut processes: BTreeMap<CompactString, Vec<Measured>> = BTreeMap::new();
    for event in events {
        if let Some((process, Update::Measured(it))) = Update::of(event) {
            processes.entry(process.into()).or_default().push(it);
        }
    }
    let came = MINUTES.map(|minutes| {
        let mut cells = BTreeMap::new();
        for event in events {
            *cells.entry(bucket_of(event.time, minutes)).or_insert(0) += 1;
        }
        let state = (!cells.is_empty())
            .then(|| load_forecast::State::of(minutes, load_forecast::Counted::All, cells))?;
        let until = state.until(now);
        let bands = state.made(until)?.bands.clone();
        Some((until, bands.iter().map(|it| it[2]).collect::<Vec<f64>>()))
    });
    let judged = processes.into_iter().filter_map(|(process, mut all)| {
        all.sort_unstable();
        let newest = &all[all.len().saturating_sub(MEASURED_MAX)..];
        let [five, hour] = if process == MAIN { came.clone() } else { [None, None] };
        let judged = judge(newest, comes(five, hour), terms())?;
        Some((process, judged))
    });
    judged.collect()
}

/// The name of a process's row.
pub(crate) fn name_of(process: &str) -> Name {
    Name::new(DEFAULT_TENANT, &key_text(&[process]))
}

/// The view, plainly.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let all = plainly(events, now).into_iter();
    all.map(|(process, it)| (name_of(&process), row(process, &it))).collect()
}

#[cfg(test)]
mod tests;
