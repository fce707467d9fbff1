//! What wakes an entity when only time passes.
//!
//! Far ones wait unordered in buckets of about a minute, so that scheduling is a push; a bucket is put
//! in order when its time is reached. By the second there were as many buckets as timers.
//!
//! # Invariants
//! Of an entity that is due at some instant a timer is pending for that instant or an earlier one.
//! One that fires too early is put off to when the entity is due ([`Timers::put_off`]): so what is
//! due later and later, as an order is that moves on, waits once and not once for each statement.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::Epoch;
use crate::served::Place;

/// The timers of one operator.
#[derive(Default)]
pub(crate) struct Timers {
    near: BinaryHeap<Reverse<(Epoch, Place)>>,
    far: BTreeMap<u64, Vec<Far>>,
    /// Buckets below this one are in `near`.
    opened: u64,
}

/// Milliseconds per bucket of far timers.
const BUCKET_MS: u64 = 1 << 16;

/// A far timer in its bucket, in half the room: the millisecond, the shard and the slot, from above.
#[derive(Clone, Copy)]
struct Far(u64);

impl Far {
    fn new(due: Epoch, place: Place) -> Far {
        Far((due % BUCKET_MS) << 40 | u64::from(place.shard) << 32 | u64::from(place.slot))
    }

    fn of(self, bucket: u64) -> (Epoch, Place) {
        let Far(it) = self;
        (bucket * BUCKET_MS + (it >> 40), Place { shard: (it >> 32) as u8, slot: it as u32 })
    }
}

impl Timers {
    /// An entity is due at an instant after `now`, and was due at `had` before it was touched now.
    #[inline]
    pub(crate) fn schedule(
        &mut self,
        (due, had): (Epoch, Option<Epoch>),
        now: Epoch,
        place: Place,
    ) {
        // What was pending for `had`, or for an instant before it, is still pending.
        let is_pending = had.is_some_and(|had| had > now && had <= due);
        if !is_pending {
            self.add(due, place);
        }
    }

    /// Those that fired too early.
    pub(crate) fn put_off(&mut self, early: &mut Vec<(Epoch, Place)>) {
        early.drain(..).for_each(|(due, place)| self.add(due, place));
    }

    pub(crate) fn add(&mut self, due: Epoch, place: Place) {
        if due / BUCKET_MS < self.opened {
            self.near.push(Reverse((due, place)));
        } else {
            self.far.entry(due / BUCKET_MS).or_default().push(Far::new(due, place));
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
            let (at, bucket) = bucket.remove_entry();
            self.opened = at + 1;
            self.near.extend(bucket.into_iter().map(|it| Reverse(it.of(at))));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(n: u32) -> Place {
        Place { shard: (n % 256) as u8, slot: n / 2 * 0x0101_0101 }
    }

    proptest! {
        /// Goal: whoever is due is woken at that very instant, though a timer waits for an earlier
        /// one only. Method: entities whose instants move at random, or are no more, next to a plain
        /// map of when each is due.
        #[test]
        fn everybody_is_woken_when_they_are_due(
            moves in proptest::collection::vec(
                (0..20_u32, prop_oneof![1..4_000_u64, 1..400_000_u64], 0..5_u8), 1..200),
        ) {
            let mut timers = Timers::default();
            let mut due: BTreeMap<u32, Epoch> = BTreeMap::new();
            let (mut now, mut woken, mut early) = (0, Vec::new(), Vec::new());
            for (n, after, what) in moves {
                if what < 2 {
                    let end = now + after;
                    while let Some(at) = timers.next(end) {
                        prop_assert!(due.values().all(|it| *it >= at), "{due:?} at {at}");
                        timers.take(at, &mut woken);
                        prop_assert!(woken.is_sorted() && woken.windows(2).all(|it| it[0] != it[1]));
                        for it in &woken {
                            let Some(n) = (0..20).find(|n| place(*n) == *it) else { panic!("{it:?}") };
                            match due.get(&n) {
                                Some(then) if *then == at => drop(due.remove(&n)),
                                Some(then) => early.push((*then, *it)),
                                None => {}
                            }
                        }
                        timers.put_off(&mut early);
                    }
                    now = end;
                } else if what == 2 {
                    due.remove(&n);
                } else {
                    let then = now + after;
                    let had = due.insert(n, then);
                    timers.schedule((then, had), now, place(n));
                }
                prop_assert!(due.values().all(|it| *it >= now), "{due:?} at {now}");
            }
        }

        /// Goal: a far timer is what was put in. Method: any instant, any place.
        #[test]
        fn far_ones_are_whole(due in 0..1_u64 << 50, shard in any::<u8>(), slot in any::<u32>()) {
            let place = Place { shard, slot };
            prop_assert_eq!(Far::new(due, place).of(due / BUCKET_MS), (due, place));
        }
    }

    /// Goal: who is due later and later waits once. Method: a thousand times.
    #[test]
    fn who_moves_on_waits_once() {
        let mut timers = Timers::default();
        let mut had = None;
        for now in 0..1_000 {
            timers.schedule((now + 86_400_000, had), now, place(1));
            had = Some(now + 86_400_000);
        }
        assert_eq!(timers.far.values().map(Vec::len).sum::<usize>(), 1);
    }
}
