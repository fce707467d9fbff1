//! `millstream eval forecast`: what would have been said of recorded loads, and what came.
//!
//! # Meaning
//! What `load.measured` says is put, in the order of its time, into the states that `load_forecast`
//! keeps. At the first bucket that is to be judged a forecast is made, of what was measured before
//! it, for so many buckets; the next one at the first bucket that is to be judged after those; and
//! so on. Judged is what events of the named source measured. The scaled error (MASE) is that of
//! the forecast over that of saying the day before, in what was measured before the first of them.

use std::collections::{BTreeMap, HashSet};

use schemas::events::{Data, Event};
use serde_json::json;

use super::one;
use crate::commands::check::load_mapping;
use crate::commands::chosen::Chosen;
use crate::commands::model::{identity, texts};
use crate::commands::out::Out;
use crate::commands::{Problems, typed};
use crate::models::{Measured, Series};

/// What was measured of one series, by tenant, name and minutes of a bucket.
type Record = BTreeMap<(String, String, u16), Vec<Word>>;

/// One measurement.
struct Word {
    said: Measured,
    is_judged: bool,
}

/// Evaluates and prints.
pub(super) fn main(it: &typed::Forecast, chosen: &Chosen) -> Result<(), Problems> {
    let mapping = it.mapping.as_deref().map(load_mapping).transpose()?;
    let settings = chosen.settings(&[], &[])?;
    let (mut record, mut seen) = (Record::new(), HashSet::new());
    let mut take = |event: &Event<'_>| {
        // What comes twice is one.
        if let (Data::LoadMeasured(load), Some((_, said))) = (&event.data, Measured::of(event))
            && seen.insert(identity(event))
        {
            let name = (event.tenant.to_string(), load.series.to_string(), load.bucket_minutes);
            let is_judged = it.source.as_deref().is_none_or(|source| source == event.source);
            record.entry(name).or_default().push(Word { said, is_judged });
        }
        Ok(())
    };
    texts::each(&it.events, mapping.as_ref(), &settings, &mut take)?;
    let tallies: Vec<Tally> = record.into_values().map(|words| judged(words, it.ahead)).collect();
    let of = Total::of(&tallies);
    let mut out = Out::default();
    let line = match it.json {
        true => json!({
            "series": of.n_series, "n": of.n, "wape": rounded(of.wape), "smape": rounded(of.smape),
            "mase": rounded(of.mase), "cover80": rounded(of.covered),
        })
        .to_string(),
        false => format!(
            "{} series, {} buckets judged: WAPE {:.4}, sMAPE {:.2}, MASE {:.3}; {:.3} within the band",
            of.n_series, of.n, of.wape, of.smape, of.mase, of.covered
        ),
    };
    out.line(line).map_err(one)?;
    out.end().map_err(one)
}

fn rounded(it: f64) -> f64 {
    (it * 10_000.0).round() / 10_000.0
}

/// How near what was said of a series came.
#[derive(Default)]
struct Tally {
    n: u64,
    off: f64,
    sum: f64,
    /// Twice the error over the sum of both.
    both: f64,
    within: u64,
    /// Mean error of saying the day before, earlier.
    usual: f64,
}

/// Goes through one series.
fn judged(mut words: Vec<Word>, ahead: Option<usize>) -> Tally {
    words.sort_by_key(|it| it.said.bucket());
    let ahead = |state: &Series| ahead.unwrap_or_else(|| state.per_day());
    let (mut state, mut tally) = (Series::default(), Tally::default());
    // What was measured so far, what is said of the buckets from one on, and up to which.
    let mut measured: BTreeMap<i64, i64> = BTreeMap::new();
    let mut said: Option<(i64, Vec<[f64; 3]>)> = None;
    let buckets = words.chunk_by(|a, b| a.said.bucket() == b.said.bucket());
    for words in buckets {
        let bucket = words[0].said.bucket();
        if words.iter().any(|it| it.is_judged) {
            let over = said.as_ref().is_none_or(|it| bucket >= it.0 + it.1.len() as i64);
            if over {
                if said.is_none() {
                    tally.usual = usual(&measured, state.per_day());
                }
                let made = state.forecast(bucket, ahead(&state));
                said = Some((bucket, made.map(|it| it.bands).unwrap_or_default()));
            }
            let value: i64 = words.iter().map(|it| it.said.value()).sum();
            let bands = said.as_ref().and_then(|it| it.1.get((bucket - it.0) as usize));
            if let Some([low, middle, high]) = bands {
                tally.add(*middle, value as f64, (*low, *high));
            }
        }
        for word in words {
            *measured.entry(bucket).or_insert(0) += word.said.value();
            state.hear(&word.said);
        }
    }
    tally
}

/// The mean error of saying the day before.
fn usual(measured: &BTreeMap<i64, i64>, per_day: usize) -> f64 {
    let off = measured.iter().filter_map(|(bucket, value)| {
        Some((value - measured.get(&(bucket - per_day as i64))?).unsigned_abs() as f64)
    });
    let (n, sum) = off.fold((0_u64, 0.0), |it, off| (it.0 + 1, it.1 + off));
    if n > 0 { sum / n as f64 } else { 0.0 }
}

impl Tally {
    fn add(&mut self, said: f64, came: f64, (low, high): (f64, f64)) {
        let off = (said - came).abs();
        self.n += 1;
        self.off += off;
        self.sum += came;
        self.both += 200.0 * off / (said.abs() + came).max(1e-9);
        self.within += u64::from((low..=high).contains(&came));
    }
}

/// All series together: the first and the last by all buckets, the others as means over the series.
struct Total {
    n_series: usize,
    n: u64,
    wape: f64,
    smape: f64,
    mase: f64,
    covered: f64,
}

impl Total {
    fn of(tallies: &[Tally]) -> Total {
        let judged = || tallies.iter().filter(|it| it.n > 0);
        let n: u64 = judged().map(|it| it.n).sum();
        let share = |of: f64, all: f64| if all > 0.0 { of / all } else { 0.0 };
        let mean =
            |of: &dyn Fn(&Tally) -> f64| share(judged().map(of).sum(), judged().count() as f64);
        Total {
            n_series: judged().count(),
            n,
            wape: share(judged().map(|it| it.off).sum(), judged().map(|it| it.sum).sum()),
            smape: mean(&|it| it.both / it.n as f64),
            mase: mean(&|it| share(it.off / it.n as f64, it.usual)),
            covered: share(judged().map(|it| it.within as f64).sum(), n as f64),
        }
    }
}
