//! The writing end of one worker's part of a map.
//!
//! # Meaning
//! [`Writer::begin`], then per instant [`Writer::apply`] and [`Writer::fire`] and
//! [`Writer::finish`], then [`Writer::end`]. Every entity touched at an instant is shown once,
//! with its version before and its state after.
//!
//! # Why this way
//! An event by event walk is a cache miss after the other and a lock for each. A whole epoch is
//! put in order of shards (a counting sort), each shard is locked once, and index words, updates
//! and entries are brought near sixteen at a time. A shard that a reader holds is put off, not
//! waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::journal::{Gains, SHARDS, ShardSet};
use super::keys::{Born, Place};
use super::prefetch::prefetch;
use super::shard::{self, CHUNK, NONE, Shard, Version};
use super::{Served, Slots, shard_of};
use crate::erased::{Gone, Tags};
use crate::{Addressed, Epoch, Fold};
use schemas::names::Name;

/// Updates whose memory is asked for together: about as many misses as a core keeps in flight.
const GROUP: usize = 16;

/// Shards ahead whose header is asked for: in small epochs it is the dearest miss.
const AHEAD: usize = 2;

/// Times a shard held by readers is put off before the writer waits for it.
const PUT_OFF_MAX: usize = 3;

/// Shards with old undo that are looked at per step; all of them when undo is large.
const SWEEP: usize = 64;

/// An entity that was touched.
pub(crate) struct Touch<'a, S> {
    pub(crate) place: Place,
    pub(crate) name: &'a Name,
    /// Before; `None`: it was not there.
    pub(crate) old: Option<Version<'a, S>>,
    pub(crate) new: &'a S,
}

/// An update's hash, and where it lies in the epoch's batches.
#[derive(Clone, Copy, Default)]
struct Spot {
    hash: u64,
    batch: u32,
    at: u32,
}

/// Which shard, at which instant, and how many updates wait for it.
struct At {
    number: usize,
    epoch: Epoch,
    updates: usize,
}

pub(crate) struct Writer<F: Fold> {
    map: Arc<Served<F>>,
    worker: usize,
    floor: Epoch,
    spots: Vec<Spot>,
    sorted: Vec<Spot>,
    /// Of the open instant.
    shards: ShardSet,
    gains: Gains,
    rows: i64,
    born: Vec<Born>,
    /// Undo written since [`Writer::begin`], and the last instant.
    written: u64,
    freed: u64,
    last: Epoch,
    /// Shards that may hold undo below the floor.
    stale: ShardSet,
    /// Who is erased as of the open instant.
    gone: Option<Gone>,
}

impl<F: Fold> Writer<F> {
    pub(crate) fn new(map: Arc<Served<F>>, worker: usize) -> Writer<F> {
        Writer {
            map,
            worker,
            floor: 0,
            spots: Vec::new(),
            sorted: Vec::new(),
            shards: ShardSet::default(),
            gains: Gains::default(),
            rows: 0,
            born: Vec::new(),
            written: 0,
            freed: 0,
            last: 0,
            stale: ShardSet::default(),
            gone: None,
        }
    }

    /// Before the instants of one step: what readers no longer need may go.
    pub(crate) fn begin(&mut self) {
        self.floor = self.map.clock.floor();
        let stale = self.map.parts[self.worker].journal.lock().trim(self.floor);
        self.stale.add_all(stale);
    }

    /// From now on what is touched is settled: states of those who are erased are emptied.
    pub(crate) fn settle_by(&mut self, gone: Option<&Gone>) {
        self.gone = gone.cloned();
    }

    /// Every entity of this worker, newest.
    pub(crate) fn each_newest(&self, mut see: impl FnMut(&Name, &F::State)) {
        self.map.each_newest(self.worker, |_, name, state, _| see(name, state));
    }

    /// Empties every state of those who are erased.
    #[cold]
    pub(crate) fn erase(&mut self, epoch: Epoch, touched: &mut impl FnMut(Touch<'_, F::State>)) {
        let Some(gone) = self.gone.clone() else { return };
        let map = self.map.clone();
        let tags = if map.rests { gone.tags() } else { Tags::default() };
        let mut slots = Vec::new();
        for (number, lock) in map.parts[self.worker].shards.iter().enumerate() {
            slots.clear();
            // Only this worker writes here: what is found by reading stands until it is written.
            let shard = lock.read();
            let mut look = shard.look();
            let chunks = (0..shard.slots()).step_by(CHUNK);
            for first in chunks.filter(|it| shard.may_be_of(*it, &tags)) {
                for slot in (first..shard.slots()).take(CHUNK) {
                    let entry = look.entry(slot);
                    let is_there = entry.epoch != Epoch::MAX;
                    let settled =
                        || F::settle(entry.key(), &entry.name, &entry.state, &gone).is_some();
                    if is_there && settled() {
                        slots.push(slot);
                    }
                }
            }
            drop(look);
            drop(shard);
            if slots.is_empty() {
                continue;
            }
            let mut shard = lock.write();
            let at = At { number, epoch, updates: slots.len() };
            // What is touched is settled.
            self.change(&mut shard, at, touched, |shard| {
                for slot in &slots {
                    shard.keep(*slot);
                }
            });
        }
    }

    /// Applies all updates of an instant.
    pub(crate) fn apply<U>(
        &mut self,
        epoch: Epoch,
        batches: &[Vec<Addressed<U>>],
        change: &impl Fn(&mut F::State, &U),
        touched: &mut impl FnMut(Touch<'_, F::State>),
    ) {
        let starts = self.sort(batches);
        let map = self.map.clone();
        let sorted = std::mem::take(&mut self.sorted);
        let mut todo: Vec<usize> = (0..SHARDS).filter(|it| starts[*it] < starts[it + 1]).collect();
        let mut round = 0;
        while !todo.is_empty() {
            let mut ahead = todo.clone().into_iter().skip(AHEAD);
            todo.retain(|&number| {
                let locks = &map.parts[self.worker].shards;
                if let Some(next) = ahead.next() {
                    prefetch(&locks[next]);
                }
                let lock = &locks[number];
                let guard = if round < PUT_OFF_MAX { lock.try_write() } else { Some(lock.write()) };
                let Some(mut shard) = guard else { return true };
                let group = &sorted[starts[number] as usize..starts[number + 1] as usize];
                let at = At { number, epoch, updates: group.len() };
                self.change(&mut shard, at, touched, |shard| {
                    walk::<F, U>(shard, group, batches, change);
                });
                false
            });
            round += 1;
        }
        self.sorted = sorted;
    }

    /// Touches the entities of these places that are due at this very instant; those that are due
    /// later, and when, are added to `early`.
    pub(crate) fn fire(
        &mut self,
        epoch: Epoch,
        places: &[Place],
        early: &mut Vec<(Epoch, Place)>,
        touched: &mut impl FnMut(Touch<'_, F::State>),
    ) {
        let map = self.map.clone();
        for place in places {
            let mut shard = map.parts[self.worker].shards[place.shard as usize].write();
            let mut look = shard.look();
            let entry = look.entry(place.slot);
            // The slot of nobody.
            if entry.epoch == Epoch::MAX {
                continue;
            }
            let due = super::due::<F>(&entry.name, &entry.state, entry.epoch, map.is_looked_on());
            if let Some(due) = due.filter(|it| *it > epoch) {
                early.push((due, *place));
            } else if entry.epoch < epoch && due == Some(epoch) {
                let at = At { number: place.shard as usize, epoch, updates: 1 };
                self.change(&mut shard, at, touched, |shard| {
                    shard.keep(place.slot);
                });
            }
        }
    }

    /// Closes an instant: its changes, counts and new keys are where readers find them.
    pub(crate) fn finish(&mut self, epoch: Epoch) {
        self.last = epoch;
        if self.shards == ShardSet::default() {
            return;
        }
        let part = &self.map.parts[self.worker];
        part.journal.lock().note(epoch, std::mem::take(&mut self.shards), &mut self.gains);
        part.rows.fetch_add(std::mem::take(&mut self.rows), Relaxed);
        if !self.born.is_empty() {
            part.keys.push(std::mem::take(&mut self.born));
        }
    }

    /// After the instants of one step: settles the undo account, says how far the lane is.
    pub(crate) fn end(&mut self, applied: Epoch) {
        let clock = self.map.clock.clone();
        if self.written > 0 {
            self.map.parts[self.worker].undo_bytes.fetch_add(self.written, Relaxed);
            clock.undo_written(self.last, std::mem::take(&mut self.written));
        }
        self.sweep();
        if self.freed > 0 {
            self.map.parts[self.worker].undo_bytes.fetch_sub(self.freed, Relaxed);
            clock.undo_freed(std::mem::take(&mut self.freed));
        }
        clock.publish(self.map.first_lane + self.worker, applied);
    }

    /// Frees undo in shards that no update came to.
    fn sweep(&mut self) {
        let floor = self.map.clock.floor();
        if floor > self.floor {
            self.floor = floor;
            let stale = self.map.parts[self.worker].journal.lock().trim(floor);
            self.stale.add_all(stale);
        }
        let most = if self.map.clock.is_undo_large() { SHARDS } else { SWEEP };
        let map = self.map.clone();
        for number in self.stale.iter().take(most) {
            if let Some(mut shard) = map.parts[self.worker].shards[number].try_write() {
                self.trim(&mut shard, number);
            }
        }
    }

    fn trim(&mut self, shard: &mut Shard<F::State>, number: usize) {
        let (freed, buried) = shard.trim(self.floor);
        self.freed += freed;
        self.stale.remove(number);
        if buried > 0 {
            self.map.parts[self.worker].buried.fetch_add(buried, Relaxed);
        }
    }

    /// Puts the updates in the order of their shards; gives where each shard's begin.
    fn sort<U>(&mut self, batches: &[Vec<Addressed<U>>]) -> [u32; SHARDS + 1] {
        let mut starts = [0_u32; SHARDS + 1];
        self.spots.clear();
        for (n, batch) in batches.iter().enumerate() {
            for (at, update) in batch.iter().enumerate() {
                let hash = shard::hash(update.key);
                starts[shard_of(hash) + 1] += 1;
                self.spots.push(Spot { hash, batch: n as u32, at: at as u32 });
            }
        }
        for n in 0..SHARDS {
            starts[n + 1] += starts[n];
        }
        let mut next = starts;
        self.sorted.clear();
        self.sorted.resize(self.spots.len(), Spot::default());
        for spot in &self.spots {
            let place = &mut next[shard_of(spot.hash)];
            self.sorted[*place as usize] = *spot;
            *place += 1;
        }
        starts
    }

    /// Makes changes in a locked shard, and shows each entity that they touched.
    fn change(
        &mut self,
        shard: &mut Shard<F::State>,
        At { number, epoch, updates }: At,
        touched: &mut impl FnMut(Touch<'_, F::State>),
        make: impl FnOnce(&mut Shard<F::State>),
    ) {
        self.trim(shard, number);
        shard.open(epoch, updates);
        self.shards.add(number);
        let before = shard.undo_last().map_or((0, 0), |it| (it.steps.len(), it.born.len()));
        make(shard);
        if F::OWNED
            && let Some(gone) = &self.gone
        {
            settle::<F>(shard, before, gone);
        }
        let vacant = match &self.map.slots {
            Slots::Reclaimed(vacant) => Some(*vacant),
            Slots::Stay | Slots::Kept => None,
        };
        let vacant = |state: &F::State| vacant.is_some_and(|it| it(state));
        let mut died = Vec::new();
        let mut bytes = 0;
        if let Some(undo) = shard.undo_last() {
            let place = |slot| Place { shard: number as u8, slot };
            let mut look = shard.look();
            for step in &undo.steps[before.0..] {
                let entry = look.entry(step.slot);
                bytes += size_of_val(step) + F::heap_bytes(&step.state);
                let (was, is) = (F::exists(&step.state), F::exists(&entry.state));
                if was != is {
                    self.gain(&entry.name, i64::from(is) - i64::from(was));
                }
                if vacant(&entry.state) {
                    died.push(step.slot);
                }
                touched(Touch {
                    place: place(step.slot),
                    name: &entry.name,
                    old: Some((&step.state, step.epoch)),
                    new: &entry.state,
                });
            }
            for &slot in &undo.born[before.1..] {
                let entry = look.entry(slot);
                bytes += size_of::<u32>();
                if F::exists(&entry.state) {
                    self.gain(&entry.name, 1);
                } else if vacant(&entry.state) {
                    died.push(slot);
                }
                self.born.push(Born { name: entry.name.clone(), place: place(slot) });
                touched(Touch {
                    place: place(slot),
                    name: &entry.name,
                    old: None,
                    new: &entry.state,
                });
            }
        }
        shard.account(bytes as u64);
        self.written += bytes as u64;
        for slot in died {
            shard.died(slot, epoch);
        }
    }

    fn gain(&mut self, name: &Name, rows: i64) {
        self.rows += rows;
        *self.gains.entry_ref(name.tenant()).or_default() += rows;
    }
}

/// Empties what was touched in the opened instant since `before` (steps, births) and is of those
/// who are erased.
fn settle<F: Fold>(shard: &mut Shard<F::State>, before: (usize, usize), gone: &Gone) {
    let Some(undo) = shard.undo_last() else { return };
    let steps = undo.steps[before.0..].iter().map(|it| it.slot);
    let slots: Vec<u32> = steps.chain(undo.born[before.1..].iter().copied()).collect();
    for slot in slots {
        let mut look = shard.look();
        let entry = look.entry(slot);
        let left = F::settle(entry.key(), &entry.name, &entry.state, gone);
        drop(look);
        if let Some(left) = left {
            *shard.keep(slot) = left;
        }
    }
}

/// The updates of one shard, sixteen at a time.
fn walk<F: Fold, U>(
    shard: &mut Shard<F::State>,
    spots: &[Spot],
    batches: &[Vec<Addressed<U>>],
    change: &impl Fn(&mut F::State, &U),
) {
    let near = |shard: &Shard<F::State>, group: &[Spot]| {
        for spot in group {
            shard.prefetch_index(spot.hash);
            prefetch(&batches[spot.batch as usize][spot.at as usize]);
        }
    };
    let mut groups = spots.chunks(GROUP).peekable();
    if let Some(first) = groups.peek() {
        near(shard, first);
    }
    while let Some(group) = groups.next() {
        let mut guesses = [NONE; GROUP];
        for (guess, spot) in guesses.iter_mut().zip(group) {
            *guess = shard.guess(spot.hash);
        }
        if let Some(next) = groups.peek() {
            near(shard, next);
        }
        for guess in guesses.into_iter().filter(|it| *it != NONE) {
            if let Some(entry) = shard.awake_entry(guess) {
                F::bring_near(&entry.state);
            }
        }
        for (guess, spot) in guesses.into_iter().zip(group) {
            let it = &batches[spot.batch as usize][spot.at as usize];
            shard.touch((spot.hash, guess), it.key, &it.name, |state| change(state, &it.update));
        }
    }
}
