//! What load comes: day and week profiles and the plain ways, weighted by their own back-test.
//!
//! In: what was measured so far, a value a bucket ([`Past`]). Out: a [`Forecast`]: for each bucket to
//! come the value with even chance, the one that nine in ten exceed, and the one that nine in ten
//! stay below; and how right such forecasts of this series were lately.
//!
//! # Meaning
//! Six ways are asked ([`WAYS`]): the day before; the week before, times or plus what the last day
//! was against the same day a week before; and three profiles of the week. A profile is the mean of
//! each bucket of the week, newer weeks counting more, leaning on the day's shape; times the level of
//! the last day, which fades. Each of the last [`ORIGINS`] days every way is asked what it would have
//! said by what was known at its beginning; a way weighs by its error over the newest [`WEIGHED`] of
//! them to the power of minus [`POWER`]. The band holds eight in ten of what then happened beside
//! what the mix would have said, widened or narrowed by how much of the newest days the older ones'
//! band would have held.
//!
//! # Invariants
//! A pure function of whole numbers in the order of time: the same bits for any order of events.
//! Nothing at or after the origin is looked at.
//!
//! # Why this way
//! Of counts (calls, events) this is nearer than a decomposition with smoothing, at a hundredth of
//! the time, and it needs no more than sums.

use std::f64::consts::LN_2;

/// How many ways are asked.
pub const WAYS: usize = 6;
/// Their names, as shown.
pub const NAMES: [&str; WAYS] = [
    "day before",
    "week before times",
    "week before plus",
    "fast profile",
    "profile",
    "slow profile",
];
/// The same as a reason for what is forecast.
pub const WORDS: [&str; WAYS] = [
    "as it was the day before",
    "as a week before, times what the last day was of the same day a week earlier",
    "as a week before, plus what the last day was above the same day a week earlier",
    "as is usual then in a week, by the last two weeks most, at the level of the last day",
    "as is usual then in a week, by the last three weeks most, at the level of the last day",
    "as is usual then in a week, by the last six weeks most, at the level of the last two days",
];
/// Days that are gone through once more.
const ORIGINS: usize = 20;
/// Days that are looked at for them, as those without values do not count.
const DAYS_BACK: usize = 28;
/// The newest of them, by which ways are weighed.
const WEIGHED: usize = 7;
/// How much a smaller error counts.
const POWER: f64 = 6.0;
/// Days that a band is made of at the least, to be judged.
const BAND_MIN: usize = 6;
/// What a band is stretched by: no more and no less.
const STRETCH: std::ops::RangeInclusive<f64> = 0.9..=1.6;
/// Of what is usual, so much is added where little is expected: a band has some width there too.
const FLOOR: f64 = 0.05;
/// Weeks back that a bucket without a value is looked for.
const WEEKS_BACK: usize = 4;

/// A profile: weeks after which something counts half, how much the day's shape counts beside a
/// bucket's own mean, neighbours averaged with, days after which the level counts half, and those
/// in which it fades.
struct Shape {
    half_life: f64,
    lean: f64,
    near: usize,
    level: f64,
    fades: f64,
}

const FAST: Shape = Shape { half_life: 1.5, lean: 1.0, near: 0, level: 1.0, fades: 2.0 };
const USUAL: Shape = Shape { half_life: 3.0, lean: 3.0, near: 3, level: 1.0, fades: 2.0 };
const SLOW: Shape = Shape { half_life: 6.0, lean: 1.0, near: 1, level: 2.0, fades: 5.0 };

/// What was measured: buckets in a row.
#[derive(Clone, Copy, Debug)]
pub struct Past<'p> {
    /// The first bucket, counted from the Unix epoch.
    pub first: i64,
    /// Buckets of a day.
    pub per_day: usize,
    /// Values; none where nothing was measured: not a number.
    pub values: &'p [f64],
}

/// What comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Of each bucket: nine in ten exceed it, half do, one in ten does.
    pub bands: Vec<[f64; 3]>,
    /// What each way counts, of one.
    pub weights: [f64; WAYS],
    /// How right forecasts of this series were.
    pub quality: Quality,
}

/// How right forecasts were, over the days gone through that had enough days before them: each was
/// made by what was known at its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// Buckets judged.
    pub n: usize,
    /// Sum of errors over sum of values.
    pub wape: f64,
    /// Mean error over that of saying the day before.
    pub mase: f64,
    /// Share within the band.
    pub covered: f64,
}

impl<'p> Past<'p> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn week(&self) -> usize {
        self.per_day * 7
    }

    /// Which bucket of the week.
    fn slot(&self, at: usize) -> usize {
        (self.first + at as i64).rem_euclid(self.week() as i64) as usize
    }

    /// As it was so many buckets ago.
    fn before(&self, buckets: usize) -> Past<'p> {
        Past { values: &self.values[..self.len() - buckets], ..*self }
    }

    /// The newest value at this bucket of a period, looked for so many periods back.
    fn newest(&self, ahead: usize, period: usize, most: usize) -> f64 {
        let at = |back: usize| (self.len() + ahead).checked_sub(period * back);
        let known = |at: usize| self.values.get(at).copied().filter(|it| !it.is_nan());
        (1..=most).filter_map(at).find_map(known).unwrap_or(f64::NAN)
    }

    /// The mean of a day that ended so many buckets ago.
    fn mean_of_day(&self, ago: usize) -> Option<f64> {
        let end = self.len().checked_sub(ago)?;
        let day = &self.values[end.checked_sub(self.per_day)?..end];
        let (sum, n) = sums(day.iter().map(|it| (*it, 1.0)));
        (n > 0.0).then(|| sum / n)
    }

    /// The week's profile.
    fn profile(&self, shape: &Shape) -> Vec<f64> {
        let (week, day) = (self.week(), self.per_day);
        let fades = (-LN_2 / (shape.half_life * week as f64)).exp();
        let (mut cells, mut weight) = (vec![(0.0, 0.0); week], 1.0);
        for (at, value) in self.values.iter().enumerate().rev() {
            weight *= fades;
            if !value.is_nan() {
                let cell: &mut (f64, f64) = &mut cells[self.slot(at)];
                *cell = (cell.0 + weight * value, cell.1 + weight);
            }
        }
        let cells = averaged(cells, shape.near);
        let (sum, n) = cells.iter().fold((0.0, 0.0), |it, cell| (it.0 + cell.0, it.1 + cell.1));
        let mean = if n > 0.0 { sum / n } else { 0.0 };
        let of_day: Vec<f64> = (0..day)
            .map(|at| {
                let same = cells.iter().skip(at).step_by(day);
                let (sum, n) = same.fold((0.0, 0.0), |it, cell| (it.0 + cell.0, it.1 + cell.1));
                (sum + 0.1 * mean) / (n + 0.1)
            })
            .collect();
        let mut profile = Vec::with_capacity(week);
        for cells in cells.chunks(day) {
            // How full this weekday is against the usual one.
            let expected: f64 = cells.iter().zip(&of_day).map(|(cell, it)| cell.1 * it).sum();
            let found: f64 = cells.iter().map(|it| it.0).sum();
            let some = 0.005 * day as f64 * mean.abs() + 1e-9;
            let full = if shape.near > 0 { (found + some) / (expected + some) } else { 1.0 };
            profile.extend(
                cells
                    .iter()
                    .zip(&of_day)
                    .map(|((sum, n), usual)| (sum + shape.lean * full * usual) / (n + shape.lean)),
            );
        }
        profile
    }

    /// What a profile says, at the level of the last days.
    fn by_profile(&self, shape: &Shape, ahead: usize) -> Vec<f64> {
        let profile = self.profile(shape);
        let fades = (-LN_2 / (shape.level * self.per_day as f64)).exp();
        let (mut found, mut expected, mut weight) = (0.0, 0.0, 1.0);
        for (at, value) in self.values.iter().enumerate().rev().filter(|it| !it.1.is_nan()) {
            weight *= fades;
            found += weight * value;
            expected += weight * profile[self.slot(at)];
            if weight < 1e-4 {
                break;
            }
        }
        let level = if expected.abs() > 1e-9 { found / expected } else { 1.0 };
        let fading = shape.fades * self.per_day as f64;
        let at = |it: usize| profile[self.slot(self.len() + it)];
        (0..ahead)
            .map(|it| at(it) * (1.0 + (level - 1.0) * (-(it as f64) / fading).exp()))
            .collect()
    }

    /// What each way says.
    fn ways(&self, ahead: usize) -> [Vec<f64>; WAYS] {
        let fast = self.by_profile(&FAST, ahead);
        let or_fast = |of: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let said = fast.iter().enumerate().map(|(at, fast)| match of(at) {
                it if it.is_finite() => it,
                _ => *fast,
            });
            said.collect()
        };
        let days = self.mean_of_day(0).zip(self.mean_of_day(self.week()));
        let times = days.filter(|it| it.1.abs() > 1e-9).map_or(1.0, |(now, then)| now / then);
        let plus = days.map_or(0.0, |(now, then)| now - then);
        let week = |at: usize| self.newest(at, self.week(), WEEKS_BACK);
        [
            or_fast(&|at| self.newest(at, self.per_day, WEEKS_BACK * 7 / 2)),
            or_fast(&|at| week(at) * times),
            or_fast(&|at| week(at) + plus),
            self.by_profile(&USUAL, ahead),
            self.by_profile(&SLOW, ahead),
            fast,
        ]
        .map(|it: Vec<f64>| it)
    }

    /// What will be measured in the next `ahead` buckets.
    pub fn forecast(&self, ahead: usize) -> Forecast {
        let days: Vec<Day> = self.days(ahead);
        let weights = weigh(&days);
        let middle = mixed(&self.ways(ahead), &weights);
        let wide = floor(&middle);
        let [low, high] = band(&days, &weights);
        let bands = middle.iter().map(|it| {
            let width = it.abs() + wide;
            [it + low * width, *it, it + high * width]
        });
        Forecast { bands: bands.collect(), weights, quality: self.quality(&days) }
    }

    /// The days gone through once more, the newest first.
    fn days(&self, ahead: usize) -> Vec<Day> {
        let backs = (1..=DAYS_BACK).map(|it| it * self.per_day);
        let far =
            |it: &usize| *it >= ahead.min(self.per_day) && self.len() >= it + 2 * self.per_day;
        let days = backs.filter(far).filter_map(|back| {
            let then = self.before(back);
            let end = (then.len() + ahead).min(self.len());
            let happened = &self.values[then.len()..end];
            let n = happened.iter().filter(|it| !it.is_nan()).count();
            // A day with hardly a value tells little.
            (n * 24 >= ahead.max(24))
                .then(|| Day { said: then.ways(ahead), happened: happened.to_vec() })
        });
        days.take(ORIGINS).collect()
    }

    /// How right each day's forecast was, made by the days before it.
    fn quality(&self, days: &[Day]) -> Quality {
        let (mut n, mut off, mut sum, mut within, mut plain) = (0, 0.0, 0.0, 0, 0.0);
        for (at, day) in days.iter().enumerate() {
            let older = &days[at + 1..];
            if older.len() < BAND_MIN {
                break;
            }
            let weights = weigh(older);
            let [low, high] = band(older, &weights);
            let middle = mixed(&day.said, &weights);
            let wide = floor(&middle);
            for ((said, happened), before) in middle.iter().zip(&day.happened).zip(&day.said[0]) {
                if happened.is_nan() {
                    continue;
                }
                let share = (happened - said) / (said.abs() + wide);
                n += 1;
                off += (happened - said).abs();
                sum += happened.abs();
                plain += (happened - before).abs();
                within += usize::from((low..=high).contains(&share));
            }
        }
        let share = |of: f64, all: f64| if all > 0.0 { of / all } else { 0.0 };
        let covered = share(within as f64, n as f64);
        Quality { n, wape: share(off, sum), mase: share(off, plain), covered }
    }
}

/// A day gone through once more.
struct Day {
    said: [Vec<f64>; WAYS],
    happened: Vec<f64>,
}

impl Day {
    /// Errors of the mix, as shares of what it said.
    fn shares(&self, weights: &[f64; WAYS]) -> Vec<f64> {
        let middle = mixed(&self.said, weights);
        let wide = floor(&middle);
        let both = middle.iter().zip(&self.happened).filter(|it| !it.1.is_nan());
        both.map(|(said, happened)| (happened - said) / (said.abs() + wide)).collect()
    }
}

fn sums(of: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    of.filter(|it| !it.0.is_nan()).fold((0.0, 0.0), |it, one| (it.0 + one.0 * one.1, it.1 + one.1))
}

/// Each cell with its neighbours, the nearest counting most.
fn averaged(cells: Vec<(f64, f64)>, near: usize) -> Vec<(f64, f64)> {
    if near == 0 {
        return cells;
    }
    let n = cells.len();
    let around = |at: usize| {
        let places = (0..=2 * near).map(|off| ((at + n + off - near) % n, off.abs_diff(near)));
        places.fold((0.0, 0.0), |sum: (f64, f64), (place, off)| {
            let counts = (near + 1 - off) as f64 / (near + 1) as f64;
            (sum.0 + counts * cells[place].0, sum.1 + counts * cells[place].1)
        })
    };
    (0..n).map(around).collect()
}

fn floor(middle: &[f64]) -> f64 {
    let sum: f64 = middle.iter().map(|it| it.abs()).sum();
    FLOOR * sum / middle.len().max(1) as f64 + 1e-9
}

fn mixed(said: &[Vec<f64>; WAYS], weights: &[f64; WAYS]) -> Vec<f64> {
    let at = |it: usize| said.iter().zip(weights).map(|(said, weight)| said[it] * weight).sum();
    (0..said[0].len()).map(at).collect()
}

/// What each way counts, by its errors on the newest of the days.
fn weigh(days: &[Day]) -> [f64; WAYS] {
    let mut off = [0.0_f64; WAYS];
    for day in days.iter().take(WEIGHED) {
        for (off, said) in off.iter_mut().zip(&day.said) {
            let both = said.iter().zip(&day.happened).filter(|it| !it.1.is_nan());
            *off += both.map(|(said, happened)| (said - happened).abs()).sum::<f64>();
        }
    }
    let least = off.iter().copied().fold(f64::MAX, f64::min).max(1e-9);
    let weights = off.map(|it| (least / it.max(1e-9)).powf(POWER));
    let sum: f64 = weights.iter().sum();
    weights.map(|it| it / sum)
}

/// The band as shares of what the mix says: the tenth and the ninetieth part of its errors, stretched
/// so that, of the newer half of the days, the older ones' band would have held eight in ten.
fn band(days: &[Day], weights: &[f64; WAYS]) -> [f64; 2] {
    let shares: Vec<Vec<f64>> = days.iter().map(|it| it.shares(weights)).collect();
    let [low, high] = tenths(&shares);
    let mut needed = Vec::new();
    for (at, day) in shares.iter().enumerate() {
        if shares.len() - at < BAND_MIN {
            break;
        }
        let [low, high] = tenths(&shares[at + 1..]);
        needed.extend(day.iter().map(|it| if *it < 0.0 { it / low } else { it / high }));
    }
    needed.sort_by(f64::total_cmp);
    let stretch = needed.get(needed.len() * 4 / 5).copied().unwrap_or(1.0);
    [low, high].map(|it| it * stretch.clamp(*STRETCH.start(), *STRETCH.end()))
}

/// The tenth and the ninetieth part of errors, one below nothing and one above. With no errors known:
/// two fifths to either side.
fn tenths(of: &[Vec<f64>]) -> [f64; 2] {
    let mut all: Vec<f64> = of.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let at = |tenths: usize| all.get(all.len().saturating_sub(1) * tenths / 10).copied();
    [at(1).unwrap_or(-0.4).min(-1e-6), at(9).unwrap_or(0.4).max(1e-6)]
}

#[cfg(test)]
mod tests;
