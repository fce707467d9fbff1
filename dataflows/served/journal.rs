//! Per worker: which shards each epoch touched, and how many rows each tenant gained.
//!
//! # Meaning
//! [`Journal::count`] is exact at every epoch that is held; below the last trimmed one it gives
//! the count there. [`Journal::touched`] names every shard with changes in a range, so that
//! reading one epoch's changes does not look into all of them.
//!
//! # State
//! One number per tenant ever seen, one mark per epoch above the floor.

use std::collections::VecDeque;

use compact_str::CompactString;
use hashbrown::HashMap;

use crate::Epoch;

/// Shards per worker and map: enough that a reader rarely meets the writer in one, few enough
/// that an epoch of thousands finds several entities in each.
pub(crate) const SHARDS: usize = 256;

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardSet([u64; SHARDS / 64]);

impl ShardSet {
    pub(crate) fn add(&mut self, shard: usize) {
        self.0[shard / 64] |= 1 << (shard % 64);
    }
    pub(crate) fn remove(&mut self, shard: usize) {
        self.0[shard / 64] &= !(1 << (shard % 64));
    }
    pub(crate) fn add_all(&mut self, other: ShardSet) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let bit = bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    word * 64 + bit
                })
            })
        })
    }
}

/// Rows gained (or lost) per tenant.
pub(crate) type Gains = HashMap<CompactString, i64>;

struct Mark {
    epoch: Epoch,
    shards: ShardSet,
    gains: Vec<(CompactString, i64)>,
}

#[derive(Default)]
pub(crate) struct Journal {
    marks: VecDeque<Mark>,
    rows: Gains,
    trimmed: Epoch,
}

impl Journal {
    /// Notes what an epoch did; `gains` is emptied.
    pub(crate) fn note(&mut self, epoch: Epoch, shards: ShardSet, gains: &mut Gains) {
        let mut by_tenant = Vec::with_capacity(gains.len());
        for (tenant, n) in gains.drain().filter(|it| it.1 != 0) {
            *self.rows.entry_ref(tenant.as_str()).or_default() += n;
            by_tenant.push((tenant, n));
        }
        self.marks.push_back(Mark { epoch, shards, gains: by_tenant });
    }

    /// An entity that was there from the start, as of this epoch, and the rows gained by it.
    pub(crate) fn load(&mut self, tenant: &str, gained: i64, epoch: Epoch) {
        if gained != 0 {
            *self.rows.entry_ref(tenant).or_default() += gained;
        }
        self.trimmed = self.trimmed.max(epoch);
    }

    /// Forgets what no reader at or above `floor` needs; gives the shards that had changes.
    pub(crate) fn trim(&mut self, floor: Epoch) -> ShardSet {
        let mut shards = ShardSet::default();
        while self.marks.front().is_some_and(|it| it.epoch <= floor) {
            if let Some(mark) = self.marks.pop_front() {
                shards.add_all(mark.shards);
                self.trimmed = mark.epoch;
            }
        }
        shards
    }

    /// The shards with changes in `(after, upto]`; `None` when some of it is trimmed.
    pub(crate) fn touched(&self, after: Epoch, upto: Epoch) -> Option<ShardSet> {
        if after < self.trimmed {
            return None;
        }
        let mut shards = ShardSet::default();
        let first = self.marks.partition_point(|it| it.epoch <= after);
        for mark in self.marks.range(first..).take_while(|it| it.epoch <= upto) {
            shards.add_all(mark.shards);
        }
        Some(shards)
    }

    /// Rows of a tenant at an epoch.
    pub(crate) fn count(&self, tenant: &str, at: Epoch) -> i64 {
        let newest = self.rows.get(tenant).copied().unwrap_or(0);
        let later = self.marks.iter().rev().take_while(|it| it.epoch > at);
        let gained: i64 =
            later.flat_map(|it| &it.gains).filter(|it| it.0 == tenant).map(|it| it.1).sum();
        newest - gained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: counts are exact at each epoch above the floor, shards are found by range.
    #[test]
    fn counts_and_shards_by_epoch() {
        let mut journal = Journal::default();
        for (epoch, n) in [(10, 3), (20, -1), (30, 5)] {
            let mut shards = ShardSet::default();
            shards.add(epoch as usize);
            journal.note(epoch, shards, &mut Gains::from_iter([("a".into(), n)]));
        }
        let counts: Vec<_> = [9, 10, 25, 30].map(|at| journal.count("a", at)).into();
        assert_eq!(counts, [0, 3, 2, 7]);
        assert_eq!(journal.count("b", 30), 0);
        let touched: Vec<_> = journal.touched(10, 30).unwrap().iter().collect();
        assert_eq!(touched, [20, 30]);
        assert_eq!(journal.trim(20).iter().collect::<Vec<_>>(), [10, 20]);
        assert_eq!(journal.touched(19, 30), None);
        assert_eq!((journal.count("a", 20), journal.count("a", 30)), (2, 7));
    }
}
