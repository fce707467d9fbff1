//! What wakes an entity when only time passes.
//!
//! Far ones wait unordered in buckets of a second, so that scheduling is a push; a bucket is put in
//! order when its second is reached.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::Epoch;
use crate::served::Place;

/// The timers of one operator.
#[derive(Default)]
pub(crate) struct Timers {
    near: BinaryHeap<Reverse<(Epoch, Place)>>,
    far: BTreeMap<u64, Vec<(Epoch, Place)>>,
    /// Buckets below this one are in `near`.
    opened: u64,
}

/// Milliseconds per bucket of far timers.
const BUCKET_MS: u64 = 1_000;

impl Timers {
    pub(crate) fn add(&mut self, due: Epoch, place: Place) {
        if due / BUCKET_MS < self.opened {
            self.near.push(Reverse((due, place)));
        } else {
            self.far.entry(due / BUCKET_MS).or_default().push((due, place));
        }
    }

    /// The first due instant below `end`.
    pub(crate) fn next(&mut self, end: Epoch) -> Option<Epoch> {
        while let Some(bucket) = self.far.first_entry().filter(|it| it.key() * BUCKET_MS < end) {
            // An earlier instant that is near already comes first; its bucket can wait.
            let starts = bucket.key() * BUCKET_MS;
            if self.near.peek().is_some_and(|it| it.0.0 < starts) {
                break;
            }
            self.opened = bucket.key() + 1;
            self.near.extend(bucket.remove().into_iter().map(Reverse));
        }
        self.near.peek().map(|it| it.0.0).filter(|it| *it < end)
    }

    /// Takes those due at this instant.
    pub(crate) fn take(&mut self, due: Epoch, places: &mut Vec<Place>) {
        places.clear();
        while self.near.peek().is_some_and(|it| it.0.0 == due) {
            places.extend(self.near.pop().map(|it| it.0.1));
        }
        places.dedup();
    }
}
