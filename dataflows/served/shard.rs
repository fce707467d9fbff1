//! One shard of a map: an index of (tag, slot), a slab of entries, an undo list per epoch.
//!
//! ```text
//!  index  [tag|slot+1] ─▶ slab [key, epoch, name, state (newest)]
//!                                     │ prev: its step in the undo list of `epoch`
//!                                     ▼
//!                        undo of that epoch [slot, older epoch, older state] ─▶ older lists …
//! ```
//!
//! # Invariants
//! - `entry.epoch` is the epoch that last touched the entry, and the instant its row is made at.
//! - An entry last touched at `e` with `prev != NONE` has its version before `e` at step `prev`
//!   of the list of `e`; with `NONE` it was born at `e`. Steps chain the same way, downwards.
//! - The list of `e` exists unless a floor at or above `e` has passed it: a reader at `at` at or
//!   above the floor only ever needs lists above `at`.
//! - A dead slot (no row, in a map that reclaims) is given away only when the floor has passed
//!   its last epoch, that is when no list names it any more.
//!
//! # State
//! Grows with its entities; chunks are small (64 entries) and never move, the index word holds
//! the position too, so that growing touches no entry. Undo lists live until the floor passes.

use std::collections::VecDeque;

use schemas::names::{Fingerprint, Name};

use super::marks::Marks;
use super::prefetch::prefetch;
use crate::Epoch;

/// No slot, no step.
pub(crate) const NONE: u32 = u32::MAX;

/// Entries per chunk: growing a shard allocates this many, and nothing is ever copied.
const CHUNK: usize = 64;

/// An emptied undo list larger than this goes back to the allocator instead of being reused:
/// one epoch of a backlog must not set the memory of all that follow.
const SPARE_BYTES_MAX: usize = 16 << 10;

/// Where a key belongs: worker, shard and index position come from different bits.
pub(crate) fn hash(key: Fingerprint) -> u64 {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let product =
        u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xc2b2_ae3d_27d4_eb4f);
    product as u64 ^ (product >> 64) as u64
}

/// One entity.
pub(crate) struct Entry<S> {
    /// The fingerprint in halves: a `u128` would align the entry to 16 bytes.
    key: [u64; 2],
    /// When it was last touched.
    pub(crate) epoch: Epoch,
    prev: u32,
    pub(crate) name: Name,
    pub(crate) state: S,
}

/// What an entity was before an epoch touched it.
pub(crate) struct Step<S> {
    pub(crate) epoch: Epoch,
    prev: u32,
    pub(crate) slot: u32,
    pub(crate) state: S,
}

/// What one epoch changed in one shard.
pub(crate) struct Undo<S> {
    pub(crate) epoch: Epoch,
    pub(crate) steps: Vec<Step<S>>,
    pub(crate) born: Vec<u32>,
    /// As told to the clock.
    pub(crate) bytes: u64,
}

/// What became of an entity that was put back.
pub(crate) enum Loaded<S> {
    New(u32),
    /// Instead of this older state.
    Newer(u32, S),
    /// One at least as new was there.
    Known,
}

/// A version: the state and the epoch it was made at.
pub(crate) type Version<'a, S> = (&'a S, Epoch);

pub(crate) struct Shard<S> {
    index: Vec<u64>,
    /// Entries the index takes before it doubles, in 128ths of its length.
    load: usize,
    filled: usize,
    chunks: Vec<Vec<Entry<S>>>,
    slots: u32,
    free: Vec<u32>,
    dead: VecDeque<(Epoch, u32)>,
    undo: VecDeque<Undo<S>>,
    spare: Option<Undo<S>>,
    /// The newest epoch whose undo list is gone: nothing below it can be read.
    trimmed: Epoch,
    /// What the store has to be shown; `None`: its map is not kept.
    pub(crate) marks: Option<Marks>,
    /// What those have to be told who hand rows on, of the view and of its face; `None`: nobody
    /// does.
    pub(crate) leaving: [Option<Marks>; 2],
}

fn halves(key: Fingerprint) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

fn tag_of(hash: u64) -> u64 {
    hash >> 32
}

impl<S> Shard<S> {
    /// Empty. Shards double at different loads, so that they do not all do it in one epoch.
    pub(crate) fn new(number: usize, is_kept: bool) -> Shard<S> {
        Shard {
            index: vec![0; 8],
            load: 64 + number * 11 % 37,
            filled: 0,
            chunks: Vec::new(),
            slots: 0,
            free: Vec::new(),
            dead: VecDeque::new(),
            undo: VecDeque::new(),
            spare: None,
            trimmed: 0,
            marks: is_kept.then(Marks::default),
            leaving: [None, None],
        }
    }

    /// Entities.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// Slots ever used; some may be free.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// Nothing below this epoch can be read.
    pub(crate) fn trimmed(&self) -> Epoch {
        self.trimmed
    }

    /// Bytes of index and slab, without what names and states keep outside.
    pub(crate) fn bytes(&self) -> usize {
        self.index.len() * 8
            + self.chunks.len() * (CHUNK * size_of::<Entry<S>>() + size_of::<Vec<Entry<S>>>())
            + self.free.capacity() * 4
            + self.marks.as_ref().map_or(0, Marks::bytes)
            + self.leaving.iter().flatten().map(Marks::bytes).sum::<usize>()
    }

    #[inline]
    pub(crate) fn entry(&self, slot: u32) -> &Entry<S> {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    #[inline]
    fn entry_mut(&mut self, slot: u32) -> &mut Entry<S> {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// Brings the index word of this hash near.
    #[inline]
    pub(crate) fn prefetch_index(&self, hash: u64) {
        prefetch(&self.index[tag_of(hash) as usize & (self.index.len() - 1)]);
    }

    /// The first slot with this tag, most likely the right one, brought near; or [`NONE`].
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> u32 {
        let slot = self.probe(hash, |_| true).unwrap_or(NONE);
        if slot != NONE {
            prefetch(self.entry(slot));
        }
        slot
    }

    /// The key of this slot.
    pub(crate) fn key(&self, slot: u32) -> Fingerprint {
        let [low, high] = self.entry(slot).key;
        u128::from(high) << 64 | u128::from(low)
    }

    /// The slot of this key.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: Fingerprint) -> Option<u32> {
        self.probe(hash, |slot| self.entry(slot).key == halves(key))
    }

    #[inline]
    fn probe(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.index.len() - 1;
        let mut at = tag_of(hash) as usize & mask;
        loop {
            let word = self.index[at];
            if word == 0 {
                return None;
            }
            if word >> 32 == tag_of(hash) && is_it(word as u32 - 1) {
                return Some(word as u32 - 1);
            }
            at = (at + 1) & mask;
        }
    }

    /// The entity of this slot as it was at an epoch not below the floor.
    pub(crate) fn version(&self, slot: u32, at: Epoch) -> Option<Version<'_, S>> {
        let entry = self.entry(slot);
        if entry.epoch <= at {
            return Some((&entry.state, entry.epoch));
        }
        let (mut epoch, mut prev) = (entry.epoch, entry.prev);
        while prev != NONE {
            let step = &self.undo_of(epoch)?.steps[prev as usize];
            if step.epoch <= at {
                return Some((&step.state, step.epoch));
            }
            (epoch, prev) = (step.epoch, step.prev);
        }
        None
    }

    /// The list of this epoch.
    pub(crate) fn undo_of(&self, epoch: Epoch) -> Option<&Undo<S>> {
        let at = self.undo.binary_search_by_key(&epoch, |it| it.epoch).ok()?;
        self.undo.get(at)
    }

    /// The lists of the epochs in `(after, upto]`.
    pub(crate) fn undo_between(&self, after: Epoch, upto: Epoch) -> impl Iterator<Item = &Undo<S>> {
        let first = self.undo.partition_point(|it| it.epoch <= after);
        self.undo.range(first..).take_while(move |it| it.epoch <= upto)
    }

    /// The list being written.
    pub(crate) fn undo_last(&self) -> Option<&Undo<S>> {
        self.undo.back()
    }

    /// Adds to the account of the list being written.
    pub(crate) fn account(&mut self, bytes: u64) {
        if let Some(undo) = self.undo.back_mut() {
            undo.bytes += bytes;
        }
    }

    fn insert(&mut self, hash: u64, slot: u32) {
        if (self.filled + 1) * 128 > self.index.len() * self.load {
            self.grow();
        }
        self.filled += 1;
        put(&mut self.index, tag_of(hash) << 32 | (u64::from(slot) + 1));
    }

    fn grow(&mut self) {
        let mut index = vec![0; self.index.len() * 2];
        for word in self.index.drain(..).filter(|it| *it != 0) {
            put(&mut index, word);
        }
        self.index = index;
    }

    /// Takes a word out of the index and moves those behind it up, so that no probe ends early.
    fn remove(&mut self, hash: u64, slot: u32) {
        let mask = self.index.len() - 1;
        let wanted = tag_of(hash) << 32 | (u64::from(slot) + 1);
        let mut hole = tag_of(hash) as usize & mask;
        while self.index[hole] != wanted {
            if self.index[hole] == 0 {
                return;
            }
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let word = self.index[at];
            if word == 0 {
                break;
            }
            let home = (word >> 32) as usize & mask;
            // It may move up unless its home lies between the hole and itself.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.index[hole] = word;
                hole = at;
            }
        }
        self.index[hole] = 0;
        self.filled -= 1;
    }
}

fn put(index: &mut [u64], word: u64) {
    let mask = index.len() - 1;
    let mut at = (word >> 32) as usize & mask;
    while index[at] != 0 {
        at = (at + 1) & mask;
    }
    index[at] = word;
}

impl<S: Clone + Default> Shard<S> {
    /// Drops what no reader at or above `floor` needs; gives the undo bytes freed and how many
    /// slots were given back.
    pub(crate) fn trim(&mut self, floor: Epoch) -> (u64, u64) {
        let mut freed = 0;
        while self.undo.front().is_some_and(|it| it.epoch <= floor) {
            let Some(mut undo) = self.undo.pop_front() else { break };
            self.trimmed = self.trimmed.max(undo.epoch);
            freed += undo.bytes;
            undo.steps.clear();
            undo.born.clear();
            if undo.steps.capacity() * size_of::<Step<S>>() <= SPARE_BYTES_MAX {
                self.spare = Some(undo);
            }
        }
        (freed, self.bury(floor))
    }

    /// Gives slots back whose entity is gone for every reader.
    fn bury(&mut self, floor: Epoch) -> u64 {
        let mut n = 0;
        let floor = self.leaving.iter().flatten().fold(floor, |floor, it| floor.min(it.shown()));
        while let Some((epoch, slot)) = self.dead.front().copied().filter(|it| it.0 <= floor) {
            self.dead.pop_front();
            // Touched again since (then it is marked again, if it is dead again).
            if self.entry(slot).epoch != epoch {
                continue;
            }
            self.remove(hash(self.key(slot)), slot);
            let entry = self.entry_mut(slot);
            (entry.epoch, entry.prev) = (Epoch::MAX, NONE);
            entry.name = Name::default();
            entry.state = S::default();
            self.free.push(slot);
            n += 1;
        }
        n
    }

    /// This slot's entity has no row any more since `epoch`.
    pub(crate) fn died(&mut self, slot: u32, epoch: Epoch) {
        self.dead.push_back((epoch, slot));
    }

    /// Opens the list of an epoch, not below the last one, with room for so many steps.
    pub(crate) fn open(&mut self, epoch: Epoch, steps: usize) {
        if self.undo.back().is_none_or(|it| it.epoch != epoch) {
            let mut undo = self.spare.take().unwrap_or(Undo {
                epoch,
                steps: Vec::new(),
                born: Vec::new(),
                bytes: 0,
            });
            (undo.epoch, undo.bytes) = (epoch, 0);
            undo.steps.reserve_exact(steps.min(self.slots as usize));
            self.undo.push_back(undo);
        }
    }

    /// Changes an entity in place in the opened epoch; makes it when it is new.
    #[inline]
    pub(crate) fn touch(
        &mut self,
        (hash, guess): (u64, u32),
        key: Fingerprint,
        name: &Name,
        change: impl FnOnce(&mut S),
    ) {
        let known = guess != NONE && self.entry(guess).key == halves(key);
        let found = if known { Some(guess) } else { self.find(hash, key) };
        if let Some(slot) = found {
            change(self.keep(slot));
            return;
        }
        let Some(epoch) = self.undo.back().map(|it| it.epoch) else { return };
        let mut state = S::default();
        change(&mut state);
        let slot =
            self.place(Entry { key: halves(key), epoch, prev: NONE, name: name.clone(), state });
        self.insert(hash, slot);
        if let Some(undo) = self.undo.back_mut() {
            undo.born.push(slot);
        }
        for marks in self.marks.iter_mut().chain(self.leaving.iter_mut().flatten()) {
            marks.born(slot);
        }
    }

    /// Marks an entity as touched in the opened epoch: its old version goes to the undo list.
    #[inline]
    pub(crate) fn keep(&mut self, slot: u32) -> &mut S {
        let entry = &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK];
        if let Some(undo) = self.undo.back_mut().filter(|it| it.epoch != entry.epoch) {
            let (epoch, prev) = (entry.epoch, entry.prev);
            undo.steps.push(Step { epoch, prev, slot, state: entry.state.clone() });
            entry.prev = undo.steps.len() as u32 - 1;
            entry.epoch = undo.epoch;
            for marks in self.marks.iter_mut().chain(self.leaving.iter_mut().flatten()) {
                marks.touched(slot, epoch);
            }
        }
        &mut entry.state
    }

    /// Puts an entity back as of an epoch, without history: of two states the newer stands.
    pub(crate) fn load(
        &mut self,
        key: Fingerprint,
        name: Name,
        state: S,
        epoch: Epoch,
    ) -> Loaded<S> {
        let hash = hash(key);
        self.trimmed = self.trimmed.max(epoch);
        self.leaving.iter_mut().flatten().for_each(|it| it.told(epoch));
        if let Some(slot) = self.find(hash, key) {
            let entry = self.entry_mut(slot);
            if entry.epoch >= epoch {
                return Loaded::Known;
            }
            entry.epoch = epoch;
            return Loaded::Newer(slot, std::mem::replace(&mut entry.state, state));
        }
        let slot = self.place(Entry { key: halves(key), epoch, prev: NONE, name, state });
        self.insert(hash, slot);
        Loaded::New(slot)
    }

    fn place(&mut self, entry: Entry<S>) -> u32 {
        if let Some(slot) = self.free.pop() {
            *self.entry_mut(slot) = entry;
            return slot;
        }
        let slot = self.slots;
        if (slot as usize).is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[slot as usize / CHUNK].push(entry);
        self.slots += 1;
        slot
    }
}
