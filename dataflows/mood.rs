//! How the texts of one subject feel over time: what the views by customer and by product keep.
//!
//! # Meaning
//! Texts by label; the mean score, in which a text half as new by [`half_life_days`] counts half;
//! the share of negative texts within the last [`RECENT_DAYS`] days of which there are texts, and
//! the share before them: its own past; the newest texts. Days are counted back from the newest
//! text's day, so time alone changes nothing: a factor common to all weights falls out of a mean.
//!
//! # Invariants
//! Whole numbers by day, so the order of texts does not matter and taking one out is exact. Days
//! further back than [`DAYS_MAX`] are one sum, in the same way in every order.
//!
//! # State
//! About 24 bytes a day with texts, at most [`DAYS_MAX`] of them, and the keys of the newest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use compact_str::CompactString;
use schemas::names::Fingerprint;
use schemas::rows::Value;
use serde::{Deserialize, Serialize};

use crate::insert_tight;
use crate::models::opinion::{Label, Opinion};
use crate::packed::{Checked, Reader, Writer};
use crate::sentiment::permille;

/// Days that are kept one by one, counted back from the newest.
pub(crate) const DAYS_MAX: i64 = 400;
/// Days that count as recent, the newest among them.
pub(crate) const RECENT_DAYS: i64 = 30;
/// Newest texts that are named.
pub(crate) const NEWEST: usize = 5;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 86_400_000_000;

/// After how many days a text counts half, unless it is set otherwise.
pub const HALF_LIFE_DAYS: u32 = 30;
static HALF_LIFE: AtomicU32 = AtomicU32::new(HALF_LIFE_DAYS);

/// Sets the half-life for this process, before the views are made. A row is made by functions
/// without settings, and a process has one configuration; answers are compared at equal settings.
pub fn set_half_life_days(days: u32) {
    HALF_LIFE.store(days.max(1), Relaxed);
}

/// After how many days a text counts half.
pub fn half_life_days() -> u32 {
    HALF_LIFE.load(Relaxed)
}

/// One text, as it counts for a subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heard {
    /// Event time, microseconds since the Unix epoch.
    pub(crate) at: i64,
    pub(crate) label: Label,
    pub(crate) score: i32,
    /// Its key in the view `sentiment`.
    pub(crate) key: CompactString,
    pub(crate) owner: Fingerprint,
}

impl Heard {
    pub(crate) fn new(at: i64, said: &Opinion, key: &str, owner: Fingerprint) -> Heard {
        Heard { at, label: said.label, score: said.score, key: key.into(), owner }
    }
}

/// Sums of texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) by_label: [u64; 3],
    /// Ten-thousandths.
    pub(crate) score: i64,
}

impl Sums {
    pub(crate) fn add(&mut self, label: Label, score: i32) {
        self.by_label[label as usize] = self.by_label[label as usize].saturating_add(1);
        self.score = self.score.saturating_add(score.into());
    }

    pub(crate) fn merge(&mut self, other: &Sums) {
        for (it, by) in self.by_label.iter_mut().zip(other.by_label) {
            *it = it.saturating_add(by);
        }
        self.score = self.score.saturating_add(other.score);
    }

    pub(crate) fn n(&self) -> u64 {
        self.by_label.iter().fold(0, |sum, it| sum.saturating_add(*it))
    }

    /// The mean score in thousandths.
    pub(crate) fn mean(&self) -> i64 {
        permille((self.score as f64 / self.n().max(1) as f64).round() as i32)
    }

    /// The share of negative texts in thousandths; none where there are no texts.
    pub(crate) fn negative(&self) -> Option<i64> {
        let n = u128::from(self.n());
        let negative = u128::from(self.by_label[Label::Negative as usize]);
        (n > 0).then(|| ((negative * 2_000 + n) / (2 * n)) as i64)
    }

    pub(crate) fn store(&self, into: &mut Writer<'_>) {
        self.by_label.iter().for_each(|it| into.count(*it));
        into.int(self.score);
    }

    pub(crate) fn restore(from: &mut Checked<'_>) -> Option<Sums> {
        let mut sums = Sums::default();
        for it in &mut sums.by_label {
            *it = from.count()?;
        }
        sums.score = from.int()?;
        Some(sums)
    }

    /// `n_texts`, and texts by label.
    pub(crate) fn values(&self) -> Vec<Value> {
        let int = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
        let mut values = vec![int(self.n())];
        values.extend(self.by_label.map(int));
        values
    }
}

/// The mean score in thousandths of texts by how many days old they are, in which those half as new
/// by [`half_life_days`] count half.
pub(crate) fn decayed_mean<'s>(by_age: impl Iterator<Item = (i64, &'s Sums)>) -> i64 {
    let (mut score, mut weight) = (0.0, 0.0);
    for (age, sums) in by_age {
        let half = (-(age as f64) / f64::from(half_life_days())).exp2();
        score += half * sums.score as f64;
        weight += half * sums.n() as f64;
    }
    permille((score / weight).round() as i32)
}

/// What is known of a subject.
#[derive(Clone, Debug, Default)]
pub struct Mood(Option<Arc<Kept>>);

#[derive(Clone, Debug, Default)]
struct Kept {
    /// By day since the Unix epoch, ascending.
    days: Vec<(i64, Sums)>,
    older: Sums,
    newest: Newest,
    owner: Fingerprint,
}

/// The newest texts, the newest first: of each its time (8 bytes) and its key, packed.
#[derive(Clone, Debug, Default)]
struct Newest(Box<[u8]>);

impl Newest {
    fn of<'n>(texts: impl Iterator<Item = (i64, &'n str)>) -> Newest {
        let mut bytes = Vec::new();
        for (at, key) in texts {
            let mut writer = Writer(&mut bytes);
            writer.instant(at);
            writer.text(key);
        }
        Newest(bytes.into())
    }

    fn each(&self) -> impl Iterator<Item = (i64, &str)> {
        let mut rest = Reader(&self.0);
        std::iter::from_fn(move || (!rest.0.is_empty()).then(|| (rest.instant(), rest.text())))
    }

    /// One more, if it is among them and is not there yet.
    fn hear(&mut self, text: (i64, &str)) {
        let newer = self.each().take_while(|it| *it > text).count();
        if newer < NEWEST && self.each().nth(newer) != Some(text) {
            let (before, behind) = (self.each().take(newer), self.each().skip(newer));
            *self = Newest::of(before.chain([text]).chain(behind).take(NEWEST));
        }
    }
}

impl Mood {
    /// One more text.
    pub(crate) fn hear(&mut self, it: &Heard) {
        let kept = Arc::make_mut(self.0.get_or_insert_default());
        kept.owner = it.owner;
        let day = it.at.div_euclid(DAY);
        let newest = kept.days.last().map_or(day, |it| it.0.max(day));
        if day <= newest - DAYS_MAX {
            kept.older.add(it.label, it.score);
        } else {
            let place = kept.days.partition_point(|it| it.0 < day);
            if kept.days.get(place).is_none_or(|it| it.0 != day) {
                insert_tight(&mut kept.days, place, (day, Sums::default()));
            }
            kept.days[place].1.add(it.label, it.score);
            let past = kept.days.partition_point(|it| it.0 <= newest - DAYS_MAX);
            for (_, sums) in kept.days.drain(..past) {
                kept.older.merge(&sums);
            }
        }
        kept.newest.hear((it.at, &it.key));
    }

    /// The fields from `n_texts` on; none where nothing was heard.
    pub(crate) fn values(&self) -> Option<Vec<Value>> {
        let kept = self.0.as_deref()?;
        let newest_day = kept.days.last()?.0;
        let (mut all, mut recent, mut past) = (kept.older, Sums::default(), kept.older);
        for (day, sums) in &kept.days {
            all.merge(sums);
            let part = if *day > newest_day - RECENT_DAYS { &mut recent } else { &mut past };
            part.merge(sums);
        }
        let by_age = kept.days.iter().map(|(day, sums)| (newest_day - day, sums));
        let share = |it: &Sums| it.negative().map_or(Value::Null, Value::Int);
        let keys: Vec<&str> = kept.newest.each().map(|it| it.1).collect();
        let mut values = all.values();
        values.extend([
            Value::Int(decayed_mean(by_age)),
            share(&recent),
            share(&past),
            Value::Json(keys.into()),
            Value::Time(kept.newest.each().next()?.0),
        ]);
        Some(values)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn owner(&self) -> Option<Fingerprint> {
        self.0.as_ref().map(|it| it.owner).filter(|it| *it != 0)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |it| {
            let days = it.days.len() * size_of::<(i64, Sums)>();
            16 + size_of::<Kept>() + days + it.newest.0.len()
        })
    }

    pub(crate) fn store(&self, into: &mut Vec<u8>) {
        into.push(u8::from(self.0.is_some()));
        let Some(it) = &self.0 else { return };
        let mut writer = Writer(into);
        writer.id(it.owner);
        it.older.store(&mut writer);
        writer.count(it.days.len() as u64);
        for (day, sums) in &it.days {
            writer.int(*day);
            sums.store(&mut writer);
        }
        writer.count(it.newest.each().count() as u64);
        for (at, key) in it.newest.each() {
            writer.int(at);
            writer.text(key);
        }
    }

    pub(crate) fn restore(bytes: &[u8]) -> Option<Mood> {
        let mut from = Checked(bytes);
        match from.byte()? {
            0 => return from.end().map(|()| Mood::default()),
            1 => {}
            _ => return None,
        }
        let owner = from.id()?;
        let older = Sums::restore(&mut from)?;
        let n: usize = from.count()?;
        let mut days: Vec<(i64, Sums)> = Vec::new();
        for _ in 0..n {
            let (day, sums) = (from.int()?, Sums::restore(&mut from)?);
            let follows = days.last().is_none_or(|it| it.0 < day);
            // A day of event time is far from either end.
            if !follows || day.unsigned_abs() > i64::MAX as u64 / DAY as u64 {
                return None;
            }
            days.push((day, sums));
        }
        let n: usize = from.count()?;
        let mut newest: Vec<(i64, &str)> = Vec::new();
        for _ in 0..n {
            newest.push((from.int()?, from.text()?));
        }
        from.end()?;
        let falls = newest.is_sorted_by(|a, b| a > b) && newest.len() <= NEWEST;
        let newest = (falls && !newest.is_empty()).then(|| Newest::of(newest.into_iter()))?;
        (!days.is_empty()).then(|| Mood(Some(Arc::new(Kept { days, older, newest, owner }))))
    }
}

/// The same fields, plainly: of all texts of a subject (time, opinion, key), in any order.
pub(crate) fn plainly(texts: &[(i64, Opinion, CompactString)]) -> Vec<Value> {
    let newest_day = texts.iter().map(|it| it.0.div_euclid(DAY)).max().unwrap_or(0);
    let age = |it: &(i64, Opinion, CompactString)| newest_day - it.0.div_euclid(DAY);
    let of = |within: &dyn Fn(i64) -> bool| {
        let mut sums = Sums::default();
        texts.iter().filter(|it| within(age(it))).for_each(|it| sums.add(it.1.label, it.1.score));
        sums
    };
    let mut by_day = std::collections::BTreeMap::<i64, (f64, f64)>::new();
    for it in texts.iter().filter(|it| age(it) < DAYS_MAX) {
        let day = by_day.entry(-age(it)).or_default();
        *day = (day.0 + f64::from(it.1.score), day.1 + 1.0);
    }
    let (mut score, mut weight) = (0.0, 0.0);
    for (age, (sum, n)) in by_day {
        let half = (age as f64 / f64::from(half_life_days())).exp2();
        score += half * sum;
        weight += half * n;
    }
    let mut newest: Vec<_> = texts.iter().map(|it| (it.0, it.2.as_str())).collect();
    newest.sort_by(|a, b| b.cmp(a));
    let keys: Vec<&str> = newest.iter().take(NEWEST).map(|it| it.1).collect();
    let share = |it: Sums| it.negative().map_or(Value::Null, Value::Int);
    let mut values = of(&|_| true).values();
    values.extend([
        Value::Int(permille((score / weight).round() as i32)),
        share(of(&|age| age < RECENT_DAYS)),
        share(of(&|age| age >= RECENT_DAYS)),
        Value::Json(keys.into()),
        Value::Time(newest[0].0),
    ]);
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: what is kept is what the plain computation says, in any order, also where texts
        /// lie years apart; and after a while as bytes. Method: random days.
        #[test]
        fn kept_by_day_is_all_that_counts(
            texts in proptest::collection::vec((0..1_500_i64, 0..3_usize, -10_000..10_000_i32), 1..40),
        ) {
            let texts: Vec<_> = texts.into_iter().enumerate().map(|(n, (day, label, score))| {
                let said = Opinion { label: Label::ALL[label], score, ..Opinion::default() };
                (day * DAY + n as i64, said, CompactString::from(format!("s/{n}")))
            }).collect();
            let heard = |it: &(i64, Opinion, CompactString)| Heard::new(it.0, &it.1, &it.2, 7);
            let (mut one, mut two) = (Mood::default(), Mood::default());
            texts.iter().for_each(|it| one.hear(&heard(it)));
            for it in texts.iter().rev() {
                two.hear(&heard(it));
                let mut bytes = Vec::new();
                two.store(&mut bytes);
                two = Mood::restore(&bytes).unwrap();
            }
            let expected = plainly(&texts);
            prop_assert_eq!(one.values().unwrap(), expected.clone());
            prop_assert_eq!(two.values().unwrap(), expected);
        }
    }
}
