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
//!   its last epoch, that is when no list names it any more, and whoever hands rows on was told.
//!
//! - A chunk *rests* ([`Rest`]) when nobody has touched any of its entries for a while and no list
//!   names one of them: then it is bytes. Reading it unpacks one entry, touching it all of them.
//!
//! # State
//! Grows with its entities; chunks are small (64 entries) and do not move once they are full, the
//! index word holds the position too, so that growing touches at most one chunk's entries. Undo lists live until the floor passes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use schemas::names::{Fingerprint, Name};

use super::marks::Marks;
use super::prefetch::prefetch;
use super::rest::{Opened, Rest};
use crate::Epoch;
use crate::erased::Tags;

/// No slot, no step.
pub(crate) const NONE: u32 = u32::MAX;

/// Entries per chunk: growing a shard copies one that is not full at most.
/// In the tests here two rest together.
pub(super) const CHUNK: usize = if cfg!(test) { 2 } else { 64 };

/// So many at a time are made room for in a chunk: most shards of most maps have few entries, and a
/// map has hundreds of shards.
const STEP_UP: usize = if cfg!(test) { 1 } else { 16 };

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

impl<S> Entry<S> {
    /// One without history.
    pub(super) fn new(key: Fingerprint, name: Name, state: S, epoch: Epoch) -> Entry<S> {
        Entry { key: halves(key), epoch, prev: NONE, name, state }
    }

    /// Its key.
    pub(crate) fn key(&self) -> Fingerprint {
        let [low, high] = self.key;
        u128::from(high) << 64 | u128::from(low)
    }
}

/// Entries that lie together.
enum Chunk<S> {
    Awake(Vec<Entry<S>>),
    Resting(Box<[u8]>),
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
    chunks: Vec<Chunk<S>>,
    /// Where it is looked next for one that may rest.
    tired: AtomicUsize,
    rest: Option<Arc<Rest<S>>>,
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
    /// `rest`: how its entries rest, if they do.
    pub(crate) fn new(number: usize, is_kept: bool, rest: Option<Arc<Rest<S>>>) -> Shard<S> {
        Shard {
            index: vec![0; 8],
            load: 64 + number * 11 % 37,
            filled: 0,
            chunks: Vec::new(),
            tired: AtomicUsize::new(0),
            rest,
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
        let of_chunk = |it: &Chunk<S>| match it {
            Chunk::Awake(entries) => entries.capacity() * size_of::<Entry<S>>(),
            Chunk::Resting(bytes) => bytes.len(),
        };
        self.index.len() * 8
            + self.chunks.capacity() * size_of::<Chunk<S>>()
            + self.chunks.iter().map(of_chunk).sum::<usize>()
            + self.free.capacity() * 4
            + self.marks.as_ref().map_or(0, Marks::bytes)
            + self.leaving.iter().flatten().map(Marks::bytes).sum::<usize>()
    }

    /// Whether this slot's entry is bytes.
    pub(crate) fn rests(&self, slot: u32) -> bool {
        self.awake_entry(slot).is_none()
    }

    /// Whether an entry of this slot's chunk may be of one of those with these tags.
    pub(crate) fn may_be_of(&self, slot: u32, tags: &Tags) -> bool {
        match (&self.chunks[slot as usize / CHUNK], &self.rest) {
            (Chunk::Resting(bytes), Some(rest)) => rest.may_be_of(bytes, tags),
            _ => true,
        }
    }

    /// The entry, unless it rests.
    #[inline]
    pub(crate) fn awake_entry(&self, slot: u32) -> Option<&Entry<S>> {
        match &self.chunks[slot as usize / CHUNK] {
            Chunk::Awake(entries) => Some(&entries[slot as usize % CHUNK]),
            Chunk::Resting(_) => None,
        }
    }

    /// To look at entries, also at those that rest.
    #[inline]
    pub(crate) fn look(&self) -> Look<'_, S> {
        Look { shard: self, opened: None }
    }

    #[inline]
    fn entry_mut(&mut self, slot: u32) -> &mut Entry<S> {
        let chunk = &mut self.chunks[slot as usize / CHUNK];
        if let Chunk::Resting(bytes) = chunk
            && let Some(rest) = &self.rest
        {
            *chunk = Chunk::Awake(rest.unpacked(bytes));
        }
        match chunk {
            Chunk::Awake(entries) => &mut entries[slot as usize % CHUNK],
            Chunk::Resting(_) => unreachable!("only what rests knows how"),
        }
    }

    /// Of the next so many chunks the first that may rest, packed: nobody touched one of its entries
    /// after `before`, and no list names one.
    pub(crate) fn packed(&self, most: usize, before: Epoch) -> Option<Packed> {
        let (n, rest) = (self.chunks.len(), self.rest.as_ref()?);
        let before = before.min(self.trimmed);
        let from = Some(self.tired.load(Relaxed)).filter(|it| *it < n).unwrap_or(0);
        for at in (from..n).take(most) {
            let Chunk::Awake(entries) = &self.chunks[at] else { continue };
            if entries.len() < CHUNK || entries.iter().any(|it| it.epoch > before) {
                continue;
            }
            self.tired.store(at + 1, Relaxed);
            let newest = entries.iter().map(|it| it.epoch).max()?;
            return rest.packed(entries).map(|bytes| Packed { at, newest, bytes });
        }
        self.tired.store(from + most, Relaxed);
        None
    }

    /// Puts a chunk to rest, unless it was touched since it was packed.
    pub(crate) fn lay(&mut self, it: Packed) {
        let Chunk::Awake(entries) = &self.chunks[it.at] else { return };
        if entries.iter().map(|it| it.epoch).max() == Some(it.newest) {
            self.chunks[it.at] = Chunk::Resting(it.bytes);
        }
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
        if slot != NONE
            && let Some(entry) = self.awake_entry(slot)
        {
            prefetch(entry);
        }
        slot
    }

    #[inline]
    fn probe(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
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

    /// An entity as it was at an epoch not below the floor.
    pub(crate) fn version<'a>(&'a self, entry: &'a Entry<S>, at: Epoch) -> Option<Version<'a, S>> {
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
        let floor = self.leaving.iter().flatten().fold(floor, |floor, it| floor.min(it.passed()));
        while let Some((epoch, slot)) = self.dead.front().copied().filter(|it| it.0 <= floor) {
            self.dead.pop_front();
            // Touched again since (then it is marked again, if it is dead again).
            let entry = self.entry_mut(slot);
            if entry.epoch != epoch {
                continue;
            }
            let hash = hash(entry.key());
            self.remove(hash, slot);
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
        let known =
            guess != NONE && self.awake_entry(guess).is_some_and(|it| it.key == halves(key));
        let found = if known { Some(guess) } else { self.look().find(hash, key) };
        if let Some(slot) = found {
            change(self.keep(slot));
            return;
        }
        let Some(epoch) = self.undo.back().map(|it| it.epoch) else { return };
        let mut state = S::default();
        change(&mut state);
        let slot = self.place(Entry::new(key, name.clone(), state, epoch));
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
        if self.rests(slot) {
            self.entry_mut(slot);
        }
        let Chunk::Awake(entries) = &mut self.chunks[slot as usize / CHUNK] else {
            unreachable!("it was woken")
        };
        let entry = &mut entries[slot as usize % CHUNK];
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
        let found = self.look().find(hash, key);
        if let Some(slot) = found {
            let entry = self.entry_mut(slot);
            if entry.epoch >= epoch {
                return Loaded::Known;
            }
            entry.epoch = epoch;
            return Loaded::Newer(slot, std::mem::replace(&mut entry.state, state));
        }
        let slot = self.place(Entry::new(key, name, state, epoch));
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
            self.chunks.push(Chunk::Awake(Vec::new()));
        }
        // One that is not full does not rest.
        if let Chunk::Awake(entries) = &mut self.chunks[slot as usize / CHUNK] {
            if entries.len() == entries.capacity() {
                entries.reserve_exact(STEP_UP);
            }
            entries.push(entry);
        }
        self.slots += 1;
        slot
    }
}

/// A chunk that may rest.
pub(crate) struct Packed {
    at: usize,
    newest: Epoch,
    bytes: Box<[u8]>,
}

/// Looks at entries of a shard; of those that rest it keeps the chunk opened that it looked at last.
pub(crate) struct Look<'s, S> {
    shard: &'s Shard<S>,
    opened: Option<(usize, Opened<S>)>,
}

impl<S> Look<'_, S> {
    /// The entry of this slot.
    #[inline]
    pub(crate) fn entry(&mut self, slot: u32) -> &Entry<S> {
        let shard = self.shard;
        match (&shard.chunks[slot as usize / CHUNK], &shard.rest) {
            (Chunk::Awake(entries), _) => &entries[slot as usize % CHUNK],
            (Chunk::Resting(bytes), Some(rest)) => self.opened(slot as usize, bytes, rest),
            (Chunk::Resting(_), None) => unreachable!("only what rests knows how"),
        }
    }

    #[cold]
    fn opened(&mut self, slot: usize, bytes: &[u8], rest: &Rest<S>) -> &Entry<S> {
        let (chunk, n) = (slot / CHUNK, slot % CHUNK);
        let opened = self.opened.take().filter(|it| it.0 == chunk);
        let opened = opened.unwrap_or_else(|| (chunk, rest.opened(bytes)));
        rest.entry(&mut self.opened.insert(opened).1, n)
    }

    /// The slot of this key.
    #[inline]
    pub(crate) fn find(&mut self, hash: u64, key: Fingerprint) -> Option<u32> {
        let shard = self.shard;
        shard.probe(hash, |slot| self.entry(slot).key == halves(key))
    }
}
