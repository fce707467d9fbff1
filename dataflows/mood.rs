//! How the texts of one subject feel over time: what the views by customer and by product keep.
//!
//! # Meaning
//! Texts by label; the mean score, in which a text half as new by [`half_life_days`] counts half;
//! the share of negative texts within the last [`RECENT_DAYS`] days of which there are texts, and
//! the share before them: its own past; the newest texts. Days are counted back from the newest
//! text's day, so time alone changes nothing: a factor common to all weights falls out of a mean.
//! All texts of a customer go with that one. Of a product's, those of who is erased still count, and
//! are not named ([`crate::newest`]).
//!
//! # Invariants
//! Whole numbers by day, so the order of texts does not matter and taking one out is exact. Days
//! further back than [`DAYS_MAX`] are one sum, in the same way in every order.
//!
//! # State
//! About 24 bytes a day with texts, at most [`DAYS_MAX`] of them, and the newest texts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use compact_str::CompactString;
use schemas::names::Fingerprint;
use schemas::rows::Value;
use serde::{Deserialize, Serialize};

use crate::erased::Gone;
use crate::insert_tight;
use crate::models::opinion::{Label, Opinion};
use crate::newest::{self, Newest, Said, Text};
use crate::packed::{Checked, Writer};
use crate::sentiment::permille;

/// Days that are kept one by one, counted back from the newest.
pub(crate) const DAYS_MAX: i64 = 400;
/// Days that count as recent, the newest among them.
pub(crate) const RECENT_DAYS: i64 = 30;
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

/// What is known of a subject; `MANY`: its texts are of many customers.
#[derive(Clone, Debug, Default)]
pub struct Mood<const MANY: bool>(Option<Arc<Kept>>);

#[derive(Clone, Debug, Default)]
struct Kept {
    /// By day since the Unix epoch, ascending.
    days: Vec<(i64, Sums)>,
    older: Sums,
    /// [`Newest`], packed.
    newest: Box<[u8]>,
    /// Whose all texts are; of many: 0.
    owner: Fingerprint,
}

impl<const MANY: bool> Mood<MANY> {
    fn newest(kept: &Kept) -> Newest<&str> {
        Newest::of(&kept.newest, MANY)
    }

    fn packed(newest: &Newest<&str>) -> Box<[u8]> {
        let mut bytes = Vec::new();
        newest.store(&mut Writer(&mut bytes), MANY);
        bytes.into()
    }

    /// One more text.
    pub(crate) fn hear(&mut self, it: &Heard) {
        let kept = Arc::make_mut(self.0.get_or_insert_default());
        if !MANY {
            kept.owner = it.owner;
        }
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
        let text = match MANY {
            true => Text::of_many(it.at, it.key.as_str(), it.owner),
            false => Text::of_one(it.at, it.key.as_str()),
        };
        let mut newest = Self::newest(kept);
        if newest.hear(text) {
            kept.newest = Self::packed(&newest);
        }
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
        let mut values = all.values();
        values.extend([Value::Int(decayed_mean(by_age)), share(&recent), share(&past)]);
        values.extend(Self::newest(kept).values()?);
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
            16 + size_of::<Kept>() + days + it.newest.len()
        })
    }

    pub(crate) fn store(&self, into: &mut Vec<u8>) {
        into.push(u8::from(self.0.is_some()));
        let Some(it) = &self.0 else { return };
        let mut writer = Writer(into);
        if !MANY {
            writer.id(it.owner);
        }
        it.older.store(&mut writer);
        writer.count(it.days.len() as u64);
        for (day, sums) in &it.days {
            writer.int(*day);
            sums.store(&mut writer);
        }
        writer.count(Self::newest(it).len() as u64);
        into.extend_from_slice(&it.newest);
    }

    pub(crate) fn restore(bytes: &[u8]) -> Option<Mood<MANY>> {
        let mut from = Checked(bytes);
        match from.byte()? {
            0 => return from.end().map(|()| Mood::default()),
            1 => {}
            _ => return None,
        }
        let owner = if MANY { 0 } else { from.id()? };
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
        let newest = Newest::read(&mut from, n, MANY)?;
        from.end()?;
        let is_there = n > 0 && !days.is_empty();
        let newest = Self::packed(&newest);
        is_there.then(|| Mood(Some(Arc::new(Kept { days, older, newest, owner }))))
    }
}

impl Mood<true> {
    /// What is left once some customers are erased: the newest texts that are theirs are named no
    /// more. None: it stays as it is.
    pub(crate) fn settle(&self, gone: &Gone) -> Option<Mood<true>> {
        let kept = self.0.as_deref()?;
        let mut newest = Self::newest(kept);
        newest
            .settle(gone)
            .then(|| Mood(Some(Arc::new(Kept { newest: Self::packed(&newest), ..kept.clone() }))))
    }
}

/// The same fields, plainly: of all texts of a subject, in any order; `is_many`: of many customers.
pub(crate) fn plainly(texts: &[Said], is_many: bool) -> Vec<Value> {
    let newest_day = texts.iter().map(|it| it.0.div_euclid(DAY)).max().unwrap_or(0);
    let age = |it: &Said| newest_day - it.0.div_euclid(DAY);
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
    let share = |it: Sums| it.negative().map_or(Value::Null, Value::Int);
    let mut values = of(&|_| true).values();
    values.extend([
        Value::Int(permille((score / weight).round() as i32)),
        share(of(&|age| age < RECENT_DAYS)),
        share(of(&|age| age >= RECENT_DAYS)),
    ]);
    values.extend(newest::plainly(texts.iter(), is_many));
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::names::Secret;

    use super::*;
    use crate::erased::{Erased, Watched};

    const ERASED: Fingerprint = 3;

    fn gone() -> Gone {
        let erased = Erased::new(Secret([5; 16]));
        erased.add(&[ERASED], 1);
        Watched::new(erased).at(1).expect("somebody is").clone()
    }

    /// The text, of one of some customers.
    fn heard(it: &Said) -> Heard {
        Heard::new(it.0, &it.1, &it.2, if it.3 { ERASED } else { 7 })
    }

    fn through_bytes<const MANY: bool>(it: &mut Mood<MANY>) {
        let mut bytes = Vec::new();
        it.store(&mut bytes);
        *it = Mood::restore(&bytes).unwrap();
    }

    proptest! {
        /// Goal: what is kept is what the plain computation says, in any order, also where texts
        /// lie years apart or in one microsecond; after a while as bytes; and whenever a customer
        /// is erased. Method: random days, few instants in each.
        #[test]
        fn kept_by_day_is_all_that_counts(
            texts in prop::collection::vec(
                (0..1_500_i64, 0..3_usize, -10_000..10_000_i32, any::<bool>()), 1..40),
            near in any::<bool>(),
            erased in 0..40_usize,
        ) {
            let texts: Vec<Said> = texts.into_iter().enumerate().map(|(n, it)| {
                let said = Opinion { label: Label::ALL[it.1], score: it.2, ..Opinion::default() };
                let at = if near { it.0 % 4 } else { it.0 * DAY + n as i64 };
                (at, said, CompactString::from(format!("s/{n}")), it.3)
            }).collect();
            let (mut one, mut two) = (Mood::<true>::default(), Mood::<true>::default());
            let gone = gone();
            let settle = |it: &mut Mood<true>| if let Some(left) = it.settle(&gone) { *it = left };
            for (n, it) in texts.iter().enumerate() {
                one.hear(&heard(it));
                if n >= erased {
                    settle(&mut one);
                }
            }
            settle(&mut one);
            prop_assert!(one.settle(&gone).is_none(), "once");
            for it in texts.iter().rev() {
                two.hear(&heard(it));
                through_bytes(&mut two);
            }
            settle(&mut two);
            let expected = plainly(&texts, true);
            prop_assert_eq!(one.values().unwrap(), expected.clone());
            prop_assert_eq!(two.values().unwrap(), expected);
            let bytes = |it: &Mood<true>| {
                let mut bytes = Vec::new();
                it.store(&mut bytes);
                bytes
            };
            prop_assert_eq!(bytes(&one), bytes(&two));

            // Of one customer all are named.
            let theirs: Vec<Said> = texts.into_iter().map(|it| (it.0, it.1, it.2, false)).collect();
            let (mut one, mut two) = (Mood::<false>::default(), Mood::<false>::default());
            theirs.iter().for_each(|it| one.hear(&heard(it)));
            for it in theirs.iter().rev() {
                two.hear(&heard(it));
                through_bytes(&mut two);
            }
            let expected = plainly(&theirs, false);
            prop_assert_eq!(one.values().unwrap(), expected.clone());
            prop_assert_eq!(two.values().unwrap(), expected);
        }
    }

    /// Goal: of an erased customer's texts no key is left, and their places are not taken by older
    /// ones; that a customer's own texts cost no owner each. Method: six texts, the newest two of
    /// whom is erased; the bytes of both kinds.
    #[test]
    fn texts_of_the_erased_are_not_named() {
        let said: Vec<Said> = (0..6)
            .map(|n| (n, Opinion::default(), CompactString::from(format!("s/{n}")), n > 3))
            .collect();
        let (mut of_many, mut of_one) = (Mood::<true>::default(), Mood::<false>::default());
        for it in &said {
            of_many.hear(&heard(it));
            of_one.hear(&heard(it));
        }
        assert_eq!(of_many.heap_bytes() - of_one.heap_bytes(), 5 * (8 + 16));
        let newest = |it: &Mood<true>| it.values().unwrap().split_off(7);
        let named = |keys: &[&str]| vec![Value::Json(keys.to_vec().into()), Value::Time(5)];
        assert_eq!(newest(&of_many), named(&["s/5", "s/4", "s/3", "s/2", "s/1"]));
        let left = of_many.settle(&gone()).unwrap();
        assert_eq!(newest(&left), named(&["s/3", "s/2", "s/1"]));
        let mut bytes = Vec::new();
        left.store(&mut bytes);
        let has = |part: &[u8]| bytes.windows(part.len()).any(|it| it == part);
        assert!(has(b"s/3") && !has(b"s/4") && !has(b"s/5") && !has(&ERASED.to_le_bytes()));
    }
}
