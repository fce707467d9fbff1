//! How long nothing is said of orders that stand somewhere on their way: the sums, and what of them
//! is longer than usual on a lane.
//!
//! In: stays of orders, each with its longest silence. Out: [`Patience`], sealed with the model of
//! arrival ([`super::eta`]): by status and lane the silence that nineteen of twenty orders do not
//! exceed.
//!
//! # Meaning
//! An order *stays* in a status from the statement that says so of the whole order to the next one
//! that says another. Its *silence* there is the longest time between two statements about it, or
//! about one of its lines; without statements about lines that is all the time that it stays. A stay
//! that goes on at the boundary, or was ended by the order being cancelled or coming back, counts as
//! one that lasts at least as long (Kaplan and Meier, as in [`super::eta`]), so a lane that has come
//! to a halt is not believed quick because only its quick orders went on.
//!
//! Lanes are, from wide to narrow: all orders of a tenant, from where, from where to where (each part
//! of a place written `wide/narrow` by itself). The narrowest one speaks of which [`ORDERS_MIN`]
//! orders went on, and of whose orders nineteen of twenty are known to go on within eighty
//! days ([`super::arrivals::SHOWN`]).
//!
//! # Invariants
//! Whole numbers, each the sum of what single stays add; the same for any order of events, and a stay
//! taken out again leaves no trace (test: `the_order_does_not_matter`). What entered its status
//! longer than [`LEARNT`] before the boundary is not looked at.
//!
//! # State
//! About 40 bytes for each (key, bucket) that occurs, of a key at most [`BUCKETS`] times, while a model
//! is being sealed. Of the answer nine bytes on the disk, and some thirty in memory, for each of at
//! most [`KEYS_MAX`] keys: those with the most orders.
//!
//! # Why this way
//! An order is called stuck by the time since its newest statement, so what is learnt is the longest
//! such time, once an order and stay: of twenty orders one is called stuck too early, however many
//! lines each of them has. The time between any two statements would be mostly that between lines.

use std::collections::BTreeMap;

use schemas::events::Status;
use schemas::rows::{Row, Value};
use schemas::time::parse_rfc3339;
use serde_json::Value as Json;

pub use carried::Carried;

use super::counts::ByHash;
use crate::orders;
use crate::orders::standing::is_on_its_way;

/// Fewest orders of a lane that must have gone on before it speaks: the slowest two of them are the
/// twentieth.
pub const ORDERS_MIN: i64 = 40;
/// Most keys that are kept, those with the most orders: forty kilobytes on the disk.
pub const KEYS_MAX: usize = 4_096;
/// Stays of so long before the boundary are looked at, microseconds: half a year, more than twice as
/// long as any silence that is told apart.
pub const LEARNT: i64 = 180 * 86_400_000_000;
/// The shortest silence that is told apart, microseconds: a quarter of an hour.
pub const SILENCE_MIN: i64 = 900_000_000;
/// Of twenty orders so many go on in time.
const IN_TIME: f64 = 0.95;
/// A share so much off is that share: it comes of fractions that no float has.
const EVEN: f64 = 1e-9;
/// An octave has so many buckets: what is said is an eighth too long at the most.
const OF_OCTAVE: u64 = 8;
/// Buckets up to eighty days, and one for what takes longer.
pub const BUCKETS: usize = 88;
/// The last bucket: nothing that went on is in it.
const LONGER: usize = BUCKETS - 1;
/// The last one that can be said.
pub(super) const LONGEST: u8 = LONGER as u8 - 1;
/// Most parts of a place that are looked at.
const PARTS_MAX: usize = 4;

/// In which bucket a silence lies.
fn bucket(silence: i64) -> usize {
    let n = u64::try_from(silence / SILENCE_MIN).unwrap_or(0);
    if n < OF_OCTAVE {
        return n as usize;
    }
    let octave = n.ilog2() - OF_OCTAVE.ilog2();
    let place = u64::from(octave) * OF_OCTAVE + (n >> octave);
    usize::try_from(place).map_or(LONGER, |it| it.min(LONGER))
}

/// The end of a bucket, microseconds: no silence in it is as long.
fn end(bucket: usize) -> i64 {
    let next = bucket as u64 + 1;
    let n = match (next / OF_OCTAVE).checked_sub(1) {
        None => next,
        Some(octave) => (OF_OCTAVE + next % OF_OCTAVE) << octave,
    };
    i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(SILENCE_MIN)
}

/// The keys of where an order stands, from wide to narrow, and how many there are.
fn keys(tenant: &str, status: Status, places: [Option<&str>; 2]) -> ([u64; PARTS_MAX + 2], usize) {
    // FNV-1a of the parts, each with its end: a narrower key goes on where the wider one ends.
    let more = |hash: u64, part: &str| {
        part.bytes()
            .chain([0xff])
            .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let mut keys = [0; PARTS_MAX + 2];
    let silent = more(more(0xcbf2_9ce4_8422_2325, "silent"), status.as_str());
    keys[0] = more(silent, tenant);
    let [from, to] = places;
    if from.is_none() && to.is_none() {
        return (keys, 1);
    }
    keys[1] = more(keys[0], from.unwrap_or(""));
    let mut n = 2;
    for part in to.into_iter().flat_map(|it| it.split('/')).take(PARTS_MAX) {
        keys[n] = more(keys[n - 1], part);
        n += 1;
    }
    (keys, n)
}

/// What an order did in a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Where it stood.
    pub status: Status,
    /// Since when, microseconds since the Unix epoch.
    pub entered: i64,
    /// The longest time that nothing was said, microseconds.
    pub silence: i64,
    /// Whether it went on from there.
    pub went_on: bool,
}

/// By bucket: how many went on, how many were seen waiting no longer.
type Sums = BTreeMap<u8, [i64; 2]>;

/// The sums, by key of a lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silences {
    of: ByHash<Sums>,
}

impl Silences {
    /// `n` more orders (less, if negative) stayed so.
    pub fn add(&mut self, tenant: &str, places: [Option<&str>; 2], stay: &Stay, n: i64) {
        let bucket = bucket(stay.silence);
        let went_on = stay.went_on && bucket < LONGER;
        let cell = if went_on { [n, 0] } else { [0, n] };
        let (keys, len) = keys(tenant, stay.status, places);
        for key in &keys[..len] {
            self.add_to(*key, bucket as u8, cell);
        }
    }

    fn add_to(&mut self, key: u64, bucket: u8, cell: [i64; 2]) {
        let sums = self.of.entry(key).or_default();
        let sum = sums.entry(bucket).or_default();
        sum.iter_mut().zip(cell).for_each(|(it, n)| *it = it.saturating_add(n));
        if *sum == [0, 0] {
            sums.remove(&bucket);
        }
        if sums.is_empty() {
            self.of.remove(&key);
        }
    }

    /// Takes in what was summed elsewhere, so many times; less, if negative.
    pub(super) fn add_all(&mut self, other: &Silences, times: i64) {
        for (key, sums) in &other.of {
            for (bucket, cell) in sums {
                self.add_to(*key, *bucket, cell.map(|n| n.saturating_mul(times)));
            }
        }
    }

    /// What is to be kept of them.
    pub(super) fn learnt(&self) -> Patience {
        let n = |sums: &Sums| sums.values().flatten().sum::<i64>();
        let said = self.of.iter().filter_map(|(key, it)| Some((-n(it), *key, p95(it)?)));
        let mut said: Vec<(i64, u64, u8)> = said.collect();
        // Most orders first; of as many the key decides.
        said.sort_unstable();
        said.truncate(KEYS_MAX);
        Patience { of: said.into_iter().map(|it| (it.1, it.2)).collect() }
    }
}

/// The bucket by whose end nineteen of twenty went on, if enough did.
fn p95(sums: &Sums) -> Option<u8> {
    let of = |which: usize| sums.values().map(|it| it[which]).sum::<i64>();
    let (went_on, waited) = (of(0), of(1));
    if went_on < ORDERS_MIN {
        return None;
    }
    let (mut n, mut waits) = (went_on + waited, 1.0_f64);
    for (bucket, [went_on, waited]) in sums {
        waits *= 1.0 - *went_on as f64 / n.max(1) as f64;
        if waits <= 1.0 - IN_TIME + EVEN {
            return Some(*bucket);
        }
        n -= went_on + waited;
    }
    None
}

/// By key of a lane, the bucket of its longest usual silence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patience {
    pub(super) of: ByHash<u8>,
}

impl Patience {
    /// How long nothing is said, at the most, of nineteen of twenty orders that stand there,
    /// microseconds; none, if too few are known.
    pub fn of(&self, tenant: &str, status: Status, places: [Option<&str>; 2]) -> Option<i64> {
        let (keys, n) = keys(tenant, status, places);
        keys[..n].iter().rev().find_map(|it| self.of.get(it)).map(|it| end(usize::from(*it)))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

/// Where the first line of a row of `orders` leaves from, and where it goes.
pub(crate) fn places(row: &Row) -> [Option<&str>; 2] {
    let first = list(row, "lines").first();
    ["ship_from", "ship_to"].map(|name| first?.get(name)?.as_str())
}

fn list<'r>(row: &'r Row, name: &str) -> &'r [Json] {
    let value = orders::DEF.position(name).and_then(|it| row.values.get(it));
    match value {
        Some(Value::Json(Json::Array(it))) => it,
        _ => &[],
    }
}

/// The stays of a row of `orders`, as far as they were known before a boundary and still count.
pub fn stays(row: &Row, boundary: i64) -> Vec<Stay> {
    let mut all = stays_of(said(row), boundary);
    all.retain(|it| it.entered >= boundary.saturating_sub(LEARNT));
    all
}

fn stays_of(said: impl Iterator<Item = (i64, Status, bool)>, boundary: i64) -> Vec<Stay> {
    let (mut all, stands) = of_timeline(said.filter(|it| it.0 < boundary));
    all.extend(stands.map(|(mut stay, mut last)| {
        heard(&mut stay, &mut last, boundary);
        stay
    }));
    all
}

/// The stays of an order that went on, of what was said of it, oldest first: when, which status,
/// whether of a line only.
pub(crate) fn went_on(said: impl Iterator<Item = (i64, Status, bool)>) -> Vec<Stay> {
    let mut all = of_timeline(said).0;
    all.retain(|it| it.went_on);
    all
}

/// What a row says of an order, oldest first: when, which status, whether of a line only.
fn said(row: &Row) -> impl Iterator<Item = (i64, Status, bool)> {
    list(row, "timeline").iter().filter_map(|it| {
        let at = parse_rfc3339(it["at"].as_str()?)?;
        Some((at, Status::parse(it["status"].as_str()?)?, it.get("line").is_some()))
    })
}

/// Something is said again of who stays.
fn heard(stay: &mut Stay, last: &mut i64, at: i64) {
    stay.silence = stay.silence.max(at - *last);
    *last = at;
}

/// The stays that were ended, and the one that goes on, with when something was said last.
fn of_timeline(
    said: impl Iterator<Item = (i64, Status, bool)>,
) -> (Vec<Stay>, Option<(Stay, i64)>) {
    let mut all = Vec::new();
    let mut stands: Option<(Stay, i64)> = None;
    for (at, status, of_line) in said {
        if let Some((stay, last)) = &mut stands {
            heard(stay, last, at);
            if of_line || stay.status == status {
                continue;
            }
            let mut stay = *stay;
            stay.went_on = !matches!(status, Status::Cancelled | Status::Returned);
            all.push(stay);
            stands = None;
        }
        if of_line {
            continue;
        }
        if matches!(status, Status::Delivered | Status::Cancelled) {
            return (all, None);
        }
        let stay = Stay { status, entered: at, silence: 0, went_on: false };
        stands = is_on_its_way(status).then_some((stay, at));
    }
    (all, stands)
}

mod carried;
#[cfg(test)]
mod tests;
