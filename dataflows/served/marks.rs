//! Of one shard: which slots the store has yet to be shown, and where it has the others.
//!
//! # Meaning
//! A slot is *due* when its newest version has never been shown: then it stands in the list.
//!
//! # Invariants
//! Everything here is read and written under the shard's lock.
//!
//! - Every slot whose newest epoch is above [`Marks::shown`] stands in the list, at least once, or
//!   is in the hands of the one saver who took the list and will put it back.
//! - So a touch pushes the slot only when the version before it is at or below `shown`: above it,
//!   the slot stands there already. It costs one comparison, and one push per slot and save.
//! - A slot may stand there twice (ordered again, or put back by the saver after a touch pushed
//!   it). Whoever takes the list sifts it, outside the lock.
//!
//! # State
//! Four bytes a slot that was ever shown, four per slot in the list.

use crate::Epoch;

/// The store has no record of it that counts.
const NOWHERE: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Marks {
    list: Vec<u32>,
    /// By slot; beyond the end: nowhere.
    generations: Vec<u32>,
    /// As of which epoch the list was last taken.
    shown: Epoch,
    /// Up to which one all was told: what was taken, too.
    passed: Epoch,
}

impl Marks {
    /// An entity was born.
    #[inline]
    pub(crate) fn born(&mut self, slot: u32) {
        self.list.push(slot);
    }

    /// An entity was touched; its version before is of epoch `was`.
    #[inline]
    pub(crate) fn touched(&mut self, slot: u32, was: Epoch) {
        if was <= self.shown {
            self.list.push(slot);
        }
    }

    /// An entity was put back; without a generation the store has yet to be shown it.
    pub(crate) fn loaded(&mut self, slot: u32, epoch: Epoch, generation: Option<u32>) {
        self.shown = self.shown.max(epoch);
        match generation {
            Some(generation) => self.note(&[slot], generation),
            None => self.list.push(slot),
        }
    }

    /// Everything up to here counts as shown.
    pub(crate) fn told(&mut self, epoch: Epoch) {
        self.shown = self.shown.max(epoch);
        self.passed = self.passed.max(epoch);
    }

    /// Up to here all was told. Behind [`Marks::shown`] as long as somebody has taken the list and is
    /// still telling it.
    pub(crate) fn passed(&self) -> Epoch {
        self.passed
    }

    /// Whether nothing is in the list.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whoever takes the list shows all of it as of `at`. It is given in `spare`, whose room is
    /// left in its place.
    pub(crate) fn take(&mut self, at: Epoch, spare: &mut Vec<u32>) {
        spare.clear();
        std::mem::swap(&mut self.list, spare);
        self.shown = self.shown.max(at);
    }

    /// These have to be shown (once more).
    pub(crate) fn put_back(&mut self, slots: &[u32]) {
        self.list.extend_from_slice(slots);
    }

    /// These were shown; the store has them there.
    pub(crate) fn note(&mut self, slots: &[u32], generation: u32) {
        let Some(last) = slots.iter().max() else { return };
        let needed = *last as usize + 1;
        if self.generations.len() < needed {
            self.generations.resize(needed, NOWHERE);
        }
        slots.iter().for_each(|it| self.generations[*it as usize] = generation);
    }

    /// Orders those of the slots in `range` whose generation `of` names, and forgets where they
    /// are. Gives how many.
    pub(crate) fn again(&mut self, range: std::ops::Range<usize>, of: &dyn Fn(u32) -> bool) -> u64 {
        let end = range.end.min(self.generations.len());
        let mut n = 0;
        for slot in range.start.min(end)..end {
            let generation = &mut self.generations[slot];
            if *generation != NOWHERE && of(*generation) {
                *generation = NOWHERE;
                self.list.push(slot as u32);
                n += 1;
            }
        }
        n
    }

    /// Slots that have, or had, a generation.
    pub(crate) fn slots(&self) -> usize {
        self.generations.len()
    }

    /// Slots in the list, some perhaps twice.
    #[cfg(test)]
    pub(crate) fn due(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.list.capacity() + self.generations.capacity()) * 4
    }
}
