//! Identities already applied: shared by all workers, bounded by horizon and memory.
//!
//! # Meaning
//! [`Dedup::claim`] is true for the first record of an identity and false for each repeat whose
//! append time lies within the horizon of the newest append time at the first one's claim. A
//! repeat beyond it is new again. Test: `tests::is_a_set_with_a_horizon`, against a hash map. What
//! is put back at start-up, in any order, is remembered as if it had never been gone: test
//! `tests::what_is_put_back_is_as_it_was`.
//!
//! # Invariants
//! One probe sequence per lookup, whatever the horizon: age is a number beside the identity, not a
//! table of its own. Locks are taken in rising order, a few at a time, so that workers cannot wait
//! for each other in a ring.
//!
//! # State
//! 16 bytes a slot at 70 to 90 % load, about 20 an identity (the first some hundred thousand at 60 to
//! 90 %, about 22): 1,024 shards, each grown by half, a large one by a quarter, and swept by itself, so
//! that no claim ever waits for the whole. What is past the horizon goes when its shard fills up, or by
//! the sweep, which comes round once in an eighth of the horizon. At `max_bytes` a full shard forgets
//! its oldest eighth instead of growing: the horizon is shortened, and [`DedupStats`] says so.
//!
//! # Why this way
//! One table per day or hour costs a probe each; two big generations pause for more than a second
//! when they change (FIELD-NOTES 5).

mod shard;

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use schemas::names::Fingerprint;

use shard::{Age, Shard};

/// How far back identities are remembered.
#[derive(Clone, Copy, Debug)]
pub struct DedupLimits {
    /// Milliseconds of append time (default 7 days).
    pub horizon_ms: u64,
    /// Bytes (default 1 GiB); reached first, it shortens the horizon: an alarm.
    pub max_bytes: u64,
}

/// What is remembered now.
#[derive(Clone, Copy, Debug, Default)]
pub struct DedupStats {
    /// Identities.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
    /// Append time of the oldest, milliseconds since the Unix epoch (0: none).
    pub oldest_ms: u64,
    /// The horizon that holds now, milliseconds.
    pub effective_horizon_ms: u64,
    /// Whether memory has shortened the horizon.
    pub shortened: bool,
}

/// Shards: at 100 million identities one is rebuilt in about two milliseconds.
const SHARDS: usize = 1_024;

/// Shards locked at a time, so that the memory of all their probes is asked for together.
const WINDOW: usize = 32;

/// Ages are told apart in steps of a minute, or coarser for long horizons: a horizon is at most
/// this many steps, so that sixteen bits hold twice of it.
const STEPS_MAX: u64 = 30_000;

/// A minute.
const STEP_MS: u64 = 60_000;

/// Times that the sweep comes round within one horizon.
const ROUNDS: u64 = 8;

/// Shards swept by one claim at most: some ten microseconds each at ten million identities.
const SWEEP_MAX: u64 = 2;

/// The set of identities already applied. Many small shards, each under its own lock; a batch is
/// grouped by shard and prefetched.
pub struct Dedup {
    shards: Box<[Mutex<Shard>]>,
    limits: DedupLimits,
    step_ms: u64,
    /// The horizon in steps, rounded up: never shorter than asked for.
    horizon: u64,
    /// Newest append time claimed so far, in steps and in milliseconds.
    newest: AtomicU64,
    newest_ms: AtomicU64,
    /// Newest step from which memory made us forget something, plus one; 0: nothing.
    forgotten: AtomicU64,
    bytes: AtomicI64,
    /// Shards swept so far, and how many should have been.
    swept: AtomicUsize,
    to_sweep: AtomicUsize,
}

impl Dedup {
    /// Empty.
    pub fn new(limits: DedupLimits) -> Dedup {
        let step_ms = STEP_MS.max(limits.horizon_ms.div_ceil(STEPS_MAX));
        let shards: Box<[_]> = (0..SHARDS).map(|n| Mutex::new(Shard::new(n))).collect();
        let bytes = shards.iter().map(|it| it.lock().bytes() as i64).sum();
        Dedup {
            shards,
            limits,
            step_ms,
            horizon: limits.horizon_ms.div_ceil(step_ms),
            newest: AtomicU64::new(0),
            newest_ms: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            bytes: AtomicI64::new(bytes),
            swept: AtomicUsize::new(0),
            to_sweep: AtomicUsize::new(0),
        }
    }

    /// For each identity: true if it is new (it is remembered from now on), false if a repeat,
    /// also within the batch. `appended_ms`: the append time of the batch's records.
    ///
    /// `fresh` is emptied first. What was appended before the newest claimed so far is remembered
    /// as long as if it were new: a feed read late is guarded like any other. So what they are
    /// remembered from is not always `appended_ms`, and is the answer: [`Dedup::restore`] needs it.
    pub fn claim(&self, ids: &[Fingerprint], appended_ms: u64, fresh: &mut Vec<bool>) -> u64 {
        let age = self.age_at(appended_ms);
        fresh.clear();
        fresh.resize(ids.len(), false);
        self.each(ids, |shard, at| {
            if shard.is_full() {
                self.make_room(shard, age);
            }
            fresh[at] = shard.claim(ids[at], age);
        });
        self.sweep(age);
        age.newest * self.step_ms
    }

    /// Puts identities back at start-up: remembered from `claimed_ms`, as [`Dedup::claim`] said
    /// when they were new. In any order of batches, newest or oldest first, from any thread.
    /// Beside it nothing is claimed.
    pub fn restore(&self, ids: &[Fingerprint], claimed_ms: u64) {
        let age = self.age_at(claimed_ms);
        let step = claimed_ms / self.step_ms;
        self.each(ids, |shard, at| {
            if shard.is_full() {
                self.make_room(shard, age);
            }
            shard.restore(ids[at], step, age);
        });
    }

    /// So many are about to be put back: room is made at once that would be made step by step.
    /// Where they are more than memory may hold, it is made as they come.
    pub fn expect(&self, n: u64) {
        let of_each = n / SHARDS as u64;
        // They spread by chance: four standard deviations.
        let of_each = of_each + 4 * of_each.isqrt();
        let of_shard = self.shards.iter().map(|it| it.lock().room_bytes(of_each));
        let more = of_shard.fold(0, u64::saturating_add);
        if more.saturating_add(self.bytes.load(Relaxed) as u64) > self.limits.max_bytes {
            return;
        }
        for shard in &self.shards {
            shard.lock().make_room_for(of_each);
        }
        self.bytes.fetch_add(more as i64, Relaxed);
    }

    /// Shows each identity's place with its shard, locked.
    fn each(&self, ids: &[Fingerprint], mut see: impl FnMut(&mut Shard, usize)) {
        let (starts, sorted) = sort(ids);
        let mut next = 0;
        while next < SHARDS {
            let mut window = [const { None }; WINDOW];
            let mut n = 0;
            while next < SHARDS && n < WINDOW {
                if starts[next] < starts[next + 1] {
                    let shard = self.shards[next].lock();
                    let group = &sorted[starts[next] as usize..starts[next + 1] as usize];
                    group.iter().for_each(|at| shard.prefetch(ids[*at as usize]));
                    window[n] = Some((shard, group));
                    n += 1;
                }
                next += 1;
            }
            for (mut shard, group) in window.into_iter().flatten() {
                group.iter().for_each(|at| see(&mut shard, *at as usize));
            }
        }
    }

    /// What is remembered.
    pub fn stats(&self) -> DedupStats {
        let newest = self.newest.load(Relaxed);
        let newest_ms = self.newest_ms.load(Relaxed);
        let oldest_kept = newest.saturating_sub(self.horizon);
        let (mut entries, mut oldest) = (0, u64::MAX);
        for shard in &self.shards {
            let shard = shard.lock();
            entries += shard.len() as u64;
            oldest = oldest.min(shard.oldest().unwrap_or(u64::MAX));
        }
        let forgotten = self.forgotten.load(Relaxed);
        let shortened = forgotten > oldest_kept;
        DedupStats {
            entries,
            bytes: u64::try_from(self.bytes.load(Relaxed)).unwrap_or(0),
            oldest_ms: if entries == 0 { 0 } else { oldest.max(oldest_kept) * self.step_ms },
            effective_horizon_ms: if shortened {
                newest_ms.saturating_sub(forgotten * self.step_ms)
            } else {
                self.limits.horizon_ms
            },
            shortened,
        }
    }

    fn age_at(&self, appended_ms: u64) -> Age {
        let step = appended_ms / self.step_ms;
        let before = self.newest.fetch_max(step, Relaxed);
        self.newest_ms.fetch_max(appended_ms, Relaxed);
        if before != 0 && step > before {
            let due = u128::from(step - before) * u128::from(SHARDS as u64 * ROUNDS)
                / u128::from(self.horizon.max(1));
            // More than once round is in vain.
            self.to_sweep.fetch_add(due.min(SHARDS as u128) as usize, Relaxed);
        }
        Age { newest: step.max(before), horizon: self.horizon }
    }

    /// A full shard drops what is past the horizon, else grows, else forgets.
    fn make_room(&self, shard: &mut Shard, age: Age) {
        let before = shard.bytes();
        if !shard.drop_expired(age) {
            let more = shard.growth_bytes() as i64;
            if self.bytes.load(Relaxed) + more <= self.limits.max_bytes as i64 {
                shard.grow();
            } else {
                let upto = shard.forget_oldest();
                self.forgotten.fetch_max(upto + 1, Relaxed);
            }
        }
        self.bytes.fetch_add(shard.bytes() as i64 - before as i64, Relaxed);
    }

    /// A step of the slow round that frees what nobody comes to.
    fn sweep(&self, age: Age) {
        for _ in 0..SWEEP_MAX {
            let taken = self.to_sweep.fetch_update(Relaxed, Relaxed, |it| it.checked_sub(1));
            if taken.is_err() {
                return;
            }
            let n = self.swept.fetch_add(1, Relaxed) % SHARDS;
            let mut shard = self.shards[n].lock();
            let before = shard.bytes();
            shard.sweep(age);
            self.bytes.fetch_add(shard.bytes() as i64 - before as i64, Relaxed);
        }
    }
}

/// The batch in the order of shards, and where each shard's identities begin.
fn sort(ids: &[Fingerprint]) -> ([u32; SHARDS + 1], Vec<u32>) {
    let mut starts = [0_u32; SHARDS + 1];
    for id in ids {
        starts[shard_of(*id) + 1] += 1;
    }
    for n in 0..SHARDS {
        starts[n + 1] += starts[n];
    }
    let mut next = starts;
    let mut sorted = vec![0; ids.len()];
    for (at, id) in ids.iter().enumerate() {
        let place = &mut next[shard_of(*id)];
        sorted[*place as usize] = at as u32;
        *place += 1;
    }
    (starts, sorted)
}

fn shard_of(id: Fingerprint) -> usize {
    shard::hash(id) as usize % SHARDS
}

#[cfg(test)]
mod tests;
