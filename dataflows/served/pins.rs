//! Short holds on the last complete epoch, without a lock.
//!
//! # Meaning
//! While a [`Pins::pin`] stands, no [`Pins::floor`] that begins after it returned is above its
//! epoch. Test: `tests::a_floor_never_passes_a_standing_pin`, every interleaving (loom).
//!
//! # Invariants
//! A reader (1) loads `complete` = c, (2) stores c in its slot, fences, (3) loads `complete` again
//! and keeps the pin only if it is still c. A trimmer (a) loads `complete`, fences, (b) loads every
//! slot, and takes the least. Sequentially consistent fences stand in one order. Reader's first:
//! then (b) sees the slot, and the floor is not above c. Trimmer's first: then (3) sees at least
//! what (a) saw; it saw c, so (a) gave c or less, and the floor is not above c either. A reader
//! that has to try again leaves its older, lower number in the slot meanwhile, which only holds
//! more. A slot belongs to one reader from its taking to its release.
//!
//! # Why this way
//! A lock per read would be shared by all readers and the writers; a slot is a cache line that
//! one thread mostly has to itself. Generic over the word, so that loom can drive the very code.

use std::sync::atomic::{
    AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release, Ordering::SeqCst, fence,
};

use crate::Epoch;

/// In a slot that nobody has.
const FREE: u64 = u64::MAX;

/// One atomic word.
pub(crate) trait Word {
    fn new(value: u64) -> Self;
    fn load(&self) -> u64;
    fn store(&self, value: u64);
    fn take_if(&self, expected: u64, value: u64) -> bool;
    /// A sequentially consistent fence.
    fn fence();
    /// Lets another thread run.
    fn wait();
}

impl Word for AtomicU64 {
    fn new(value: u64) -> Self {
        AtomicU64::new(value)
    }
    #[inline]
    fn load(&self) -> u64 {
        AtomicU64::load(self, Acquire)
    }
    #[inline]
    fn store(&self, value: u64) {
        AtomicU64::store(self, value, Release);
    }
    #[inline]
    fn take_if(&self, expected: u64, value: u64) -> bool {
        self.compare_exchange(expected, value, AcqRel, Acquire).is_ok()
    }
    #[inline]
    fn fence() {
        fence(SeqCst);
    }
    fn wait() {
        std::thread::yield_now();
    }
}

/// The slots.
pub(crate) struct Pins<W> {
    slots: Box<[W]>,
}

impl<W: Word> Pins<W> {
    /// This many holds at once; the next reader waits for one to be released.
    pub(crate) fn new(slots: usize) -> Pins<W> {
        Pins { slots: (0..slots).map(|_| W::new(FREE)).collect() }
    }

    /// Holds the last complete epoch. `start`: where to look for a free slot first.
    pub(crate) fn pin(&self, complete: &W, start: usize) -> (usize, Epoch) {
        let mut epoch = complete.load();
        let slot = self.take(epoch, start);
        loop {
            W::fence();
            let now = complete.load();
            if now == epoch {
                return (slot, epoch);
            }
            epoch = now;
            self.slots[slot].store(epoch);
        }
    }

    /// Lets a hold go.
    pub(crate) fn release(&self, slot: usize) {
        self.slots[slot].store(FREE);
    }

    /// The least of `complete` and all holds.
    pub(crate) fn floor(&self, complete: &W) -> Epoch {
        let complete = complete.load();
        W::fence();
        self.slots.iter().fold(complete, |least, slot| least.min(slot.load()))
    }

    fn take(&self, epoch: Epoch, start: usize) -> usize {
        let n = self.slots.len();
        loop {
            for i in 0..n {
                let slot = (start + i) % n;
                if self.slots[slot].load() == FREE && self.slots[slot].take_if(FREE, epoch) {
                    return slot;
                }
            }
            W::wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64 as Modelled;

    impl Word for Modelled {
        fn new(value: u64) -> Self {
            Modelled::new(value)
        }
        fn load(&self) -> u64 {
            Modelled::load(self, Acquire)
        }
        fn store(&self, value: u64) {
            Modelled::store(self, value, Release);
        }
        fn take_if(&self, expected: u64, value: u64) -> bool {
            self.compare_exchange(expected, value, AcqRel, Acquire).is_ok()
        }
        fn fence() {
            loom::sync::atomic::fence(SeqCst);
        }
        fn wait() {
            loom::thread::yield_now();
        }
    }

    /// Goal: nothing at or below a floor may be needed by a standing pin. Method: one reader, one
    /// writer that completes two epochs and trims after each; loom runs every interleaving.
    #[test]
    fn a_floor_never_passes_a_standing_pin() {
        model(1, 3);
    }

    /// The same with two readers that share one slot.
    #[test]
    fn readers_may_share_a_slot() {
        model(2, 2);
    }

    fn model(readers: usize, last: u64) {
        let mut builder = loom::model::Builder::new();
        // Without the second load, or without a fence, two forced switches find it.
        builder.preemption_bound = Some(if readers == 1 { 3 } else { 2 });
        builder.check(move || {
            let pins = Arc::new(Pins::<Modelled>::new(1));
            let complete = Arc::new(Modelled::new(1));
            let trimmed = Arc::new(Modelled::new(0));
            let threads: Vec<_> = (0..readers)
                .map(|_| {
                    let (pins, complete, trimmed) =
                        (pins.clone(), complete.clone(), trimmed.clone());
                    loom::thread::spawn(move || {
                        let (slot, epoch) = pins.pin(&complete, 0);
                        // A trimmer that took its floor before may still store it, but not above.
                        assert!(Word::load(&*trimmed) <= epoch, "trimmed above a standing pin");
                        pins.release(slot);
                    })
                })
                .collect();
            for epoch in 2..=last {
                Word::store(&*complete, epoch);
                let floor = pins.floor(&complete);
                Word::store(&*trimmed, floor.max(Word::load(&*trimmed)));
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}
