//! How the texts of each day feel, beside the days before.
//!
//! In: [`Update`], summed per worker and epoch by [`days`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! One row per day of event time (UTC) on which something was said: texts by label, the mean of
//! their scores, the share of negative ones; the mean over this day and the [`PAST_DAYS`] before it,
//! in which a text half as new by [`mood::half_life_days`] counts half; the share of negative ones
//! within the days before; the newest texts. Of the newest those are left out whose customer is
//! erased ([`crate::newest`]); counts and times keep them. Tests: `tests`, and
//! `days_are_their_reference` in `tests/oracle.rs`.
//!
//! # Invariants
//! A text is said to its own day and to each of the days that follow, with how far back it lies; so a
//! row depends on its own state only. Whole numbers by distance, so the order does not matter; they
//! are weighted when a row is made. A day on which nothing was said has a state and no row, and what
//! has a row has one for good ([`Fold::LASTS`]).
//!
//! # State
//! Some 12 bytes for each of the at most 31 days with texts, and the newest texts' keys, in one
//! allocation. A day with texts makes states of at most [`PAST_DAYS`] others: none behind the last
//! day that event time can say. An epoch with texts of one day touches that day and those that
//! follow, once per worker.

mod days; // texts summed by day, before they are exchanged

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::Event;
use schemas::names::{Fingerprint, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::time::rfc3339;
use serde::{Deserialize, Serialize};

use crate::erased::{Gone, Plain};
use crate::models::opinion::text_of;
use crate::mood::{self, DAY, Sums};
use crate::newest::{self, Newest, Said};
use crate::packed::{Checked, Writer};
use crate::sentiment::{permille, plainly};
use crate::served::layout;
use crate::{Epoch, Fold, Keep};

pub(crate) use days::Days;

/// Days before a day that are its past.
pub(crate) const PAST_DAYS: u8 = 30;

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
        FieldDef::new(
            "decayed_mean_permille",
            FieldKind::Int,
            false,
            false,
            "Mean score of this day and the thirty before it, newer texts counting more.",
        ),
        FieldDef::new("negative_permille", FieldKind::Int, true, false, "Share of negative ones."),
        FieldDef::new(
            "past_negative_permille",
            FieldKind::Int,
            true,
            false,
            "Share of negative ones in the thirty days before; nothing where there were none.",
        ),
        FieldDef::new(
            "newest",
            FieldKind::Json,
            false,
            false,
            "Keys of the newest texts in the view sentiment, the newest first; without those of erased customers.",
        ),
        FieldDef::new("newest_at", FieldKind::Time, false, false, "When the newest was said."),
    ],
};

/// The fold.
pub struct SentimentByDay;

/// What is said to a day.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Update {
    /// By how many days back: 0 is the day itself. Each with texts.
    sums: Vec<(u8, Sums)>,
    /// Of the day itself, the newest first; none where nothing was said on it.
    newest: Newest<CompactString>,
}

/// What is known of a day, packed; none: nothing was said to it.
#[derive(Clone, Debug, Default)]
pub struct State(Option<Arc<[u8]>>);

/// The same, to be changed and read.
#[derive(Debug, Default)]
struct Kept<'s> {
    /// None where nothing was said on the day.
    newest: Newest<&'s str>,
    /// By how many days back, ascending, each with texts.
    sums: Vec<(u8, Sums)>,
}

impl<'s> Kept<'s> {
    fn pack(&self) -> State {
        let mut bytes = Vec::new();
        let mut into = Writer(&mut bytes);
        into.count(self.newest.len() as u64);
        self.newest.store(&mut into, true);
        into.count(self.sums.len() as u64);
        for (back, sums) in &self.sums {
            into.count((*back).into());
            sums.store(&mut into);
        }
        State(Some(bytes.into()))
    }

    fn read(bytes: &'s [u8]) -> Option<Kept<'s>> {
        let mut from = Checked(bytes);
        let newest = Kept::read_newest(&mut from)?;
        let n: usize = from.count()?;
        let mut sums: Vec<(u8, Sums)> = Vec::new();
        for _ in 0..n {
            let (back, it) = (from.count()?, Sums::restore(&mut from)?);
            if back > PAST_DAYS || it.n() == 0 || sums.last().is_some_and(|it| it.0 >= back) {
                return None;
            }
            sums.push((back, it));
        }
        from.end()?;
        let is_said = sums.first()?.0 == 0;
        (is_said == (newest.len() > 0)).then_some(Kept { newest, sums })
    }

    fn read_newest(from: &mut Checked<'s>) -> Option<Newest<&'s str>> {
        let n = from.count()?;
        Newest::read(from, n, true)
    }

    fn add(&mut self, back: u8, sums: &Sums) {
        let place = self.sums.partition_point(|it| it.0 < back);
        match self.sums.get_mut(place).filter(|it| it.0 == back) {
            Some((_, it)) => it.merge(sums),
            None => self.sums.insert(place, (back, *sums)),
        }
    }

    /// The fields behind the day; none where nothing was said on it.
    fn values(&self) -> Option<Vec<Value>> {
        let (own, past) = self.sums.split_first().filter(|it| it.0.0 == 0)?;
        let mut before = Sums::default();
        past.iter().for_each(|it| before.merge(&it.1));
        let share = |it: &Sums| it.negative().map_or(Value::Null, Value::Int);
        let mut values = own.1.values();
        values.extend([
            Value::Int(own.1.mean()),
            Value::Int(mood::decayed_mean(self.sums.iter().map(|it| (it.0.into(), &it.1)))),
            share(&own.1),
            share(&before),
        ]);
        values.extend(self.newest.values()?);
        Some(values)
    }
}

impl State {
    fn kept(&self) -> Option<Kept<'_>> {
        let bytes = self.0.as_deref()?;
        Some(Kept::read(bytes).expect("it was packed here, or looked through"))
    }
}

impl Fold for SentimentByDay {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, update: &Update) {
        let mut kept = state.kept().unwrap_or_default();
        update.sums.iter().for_each(|(back, sums)| kept.add(*back, sums));
        for it in update.newest.each() {
            kept.newest.hear(it.borrowed());
        }
        *state = kept.pack();
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        let mut values = vec![Value::Text(crate::key_id(name))];
        values.extend(state.kept()?.values()?);
        Some(Row { values })
    }

    /// Where something was said there are newest texts, and how many stands first.
    fn exists(state: &State) -> bool {
        state.0.as_ref().is_some_and(|it| it[0] > 0)
    }

    const LASTS: bool = true;

    const OWNED: bool = true;

    /// Of the newest texts that are theirs the keys go.
    fn settle(_key: Fingerprint, _name: &Name, state: &State, gone: &Gone) -> Option<State> {
        let bytes = state.0.as_deref().filter(|_| Self::exists(state))?;
        let mut newest = Kept::read_newest(&mut Checked(bytes))?;
        if !newest.settle(gone) {
            return None;
        }
        Some(Kept { newest, ..state.kept()? }.pack())
    }

    fn heap_bytes(state: &State) -> usize {
        state.0.as_ref().map_or(0, |it| 16 + it.len())
    }
}

impl Keep for SentimentByDay {
    const LAYOUT: &'static str = layout!(
        "sentiment_by_day 2: 0, or 1 and newest texts (time, hash of the key, key, owner), by days \
         back texts by label and sum of scores"
    );

    fn store(state: &State, into: &mut Vec<u8>) {
        into.push(u8::from(state.0.is_some()));
        into.extend(state.0.iter().flat_map(|it| it.iter()));
    }

    fn restore(bytes: &[u8]) -> Option<State> {
        match bytes.split_first()? {
            (0, []) => Some(State::default()),
            // Packed anew: a number may have been written in more bytes than it takes.
            (1, packed) => Kept::read(packed).map(|it| it.pack()),
            _ => None,
        }
    }
}

/// The day that an event time lies in, as in its key.
fn day_of(time: i64) -> CompactString {
    rfc3339(time - time.rem_euclid(DAY))[..10].into()
}

/// The view, plainly: every text on its day, and those of the thirty days before.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let gone = Plain::of(events);
    let mut texts: BTreeMap<&str, Vec<Said>> = BTreeMap::new();
    for event in events {
        let Some(text) = text_of(event) else { continue };
        let key = key_text(&[&event.source, &event.id]);
        let of = texts.entry(&event.tenant).or_default();
        of.push((event.time, plainly(text).0, key, gone.names(event)));
    }
    let mut rows = BTreeMap::new();
    for (tenant, texts) in texts {
        for at in texts.iter().map(|it| it.0) {
            let name = Name::new(tenant, &key_text(&[&day_of(at)]));
            rows.entry(name).or_insert_with(|| row_of(at, &texts));
        }
    }
    rows
}

/// Of the day that this instant lies in, among all texts of its tenant.
fn row_of(at: i64, texts: &[Said]) -> Row {
    let back = |it: &&Said| at.div_euclid(DAY) - it.0.div_euclid(DAY);
    let of = |within: std::ops::RangeInclusive<i64>| {
        let mut sums = Sums::default();
        let those = texts.iter().filter(|it| within.contains(&back(it)));
        those.for_each(|it| sums.add(it.1.label, it.1.score));
        sums
    };
    let (mut score, mut weight) = (0.0, 0.0);
    for age in 0..=30 {
        let half = (-(age as f64) / f64::from(mood::half_life_days())).exp2();
        let on = of(age..=age);
        score += half * on.score as f64;
        weight += half * on.n() as f64;
    }
    let share = |it: Sums| it.negative().map_or(Value::Null, Value::Int);
    let mut values = vec![Value::Text(day_of(at))];
    values.extend(of(0..=0).values());
    values.extend([
        Value::Int(of(0..=0).mean()),
        Value::Int(permille((score / weight).round() as i32)),
        share(of(0..=0)),
        share(of(1..=30)),
    ]);
    values.extend(newest::plainly(texts.iter().filter(|it| back(it) == 0), true));
    Row { values }
}

#[cfg(test)]
mod tests;
