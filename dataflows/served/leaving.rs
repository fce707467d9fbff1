//! A map as those see it who hand its rows on: what was touched, since when, and as of when.
//!
//! # Meaning
//! An entity whose row is another at `at` than at the call before is told, with the row of `at`; one
//! that has none and never had one is not, where a row stays for good ([`Fold::LASTS`]).
//! Test: `tests::what_is_told_is_what_changed`, against the map itself.
//!
//! # Invariants
//! - No touch is missed, whatever runs beside: the list is a [`Marks`] of its
//!   own, taken and put back as the store does with its own (see [`super::keeping`]).
//! - A slot is not given back before its last touch was told: its name would be gone. What was taken
//!   off the list and is not told yet is not told (test:
//!   `tests::what_dies_is_told_whoever_buries_beside`).
//! - No lock is held while a row is made or a caller's closure runs.
//!
//! # State
//! Four bytes per entity touched since the call before.

use schemas::leaving::{Leaving, Spot, Touched, Version};
use schemas::names::Fingerprint;
use schemas::reading::Gone;
use schemas::rows::ViewDef;

use super::marks::Marks;
use super::{Copied, STRIDE, Served, Slots};
use crate::{Epoch, Fold};

fn spot(worker: usize, number: usize, slot: u32) -> Spot {
    Spot((worker as u64) << 40 | (number as u64) << 32 | u64::from(slot))
}

/// Worker, shard, slot.
fn place(spot: Spot) -> (usize, usize, u32) {
    ((spot.0 >> 40) as usize, (spot.0 >> 32) as usize & 0xff, spot.0 as u32)
}

/// Who is told what was touched: each has a list of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ear {
    /// The view whose states these are.
    Own,
    /// The view that shows the same states in another way (see [`super::face`]).
    Face,
}

/// An entity of one stride, copied out of its shard.
struct Seen<S> {
    slot: u32,
    key: Fingerprint,
    exists: bool,
    version: Copied<S>,
}

impl<F: Fold> Served<F> {
    /// Tells what is due in one shard. Whatever happens, what was taken and not told is put back.
    fn tell_shard<G: Fold<State = F::State>>(
        &self,
        ear: Ear,
        (worker, number): (usize, usize),
        (after, at): (Epoch, Epoch),
        with_rows: bool,
        emit: &mut dyn FnMut(Touched<'_>),
    ) -> Result<(), Gone> {
        let lock = &self.parts[worker].shards[number];
        let mut slots = Vec::new();
        // Most shards have nothing in most calls: to find that out no writer waits.
        if lock.read().leaving[ear as usize].as_ref().is_none_or(Marks::is_empty) {
            return Ok(());
        }
        if let Some(marks) = &mut lock.write().leaving[ear as usize] {
            marks.take(at, &mut slots);
        }
        slots.sort_unstable();
        slots.dedup();
        let mut back = Vec::new();
        let mut outcome = Ok(());
        for (n, some) in slots.chunks(STRIDE as usize).enumerate() {
            let mut seen = Vec::with_capacity(some.len());
            let shard = lock.read();
            outcome = self.readable(&shard, at);
            if outcome.is_err() {
                back.extend_from_slice(&slots[n * STRIDE as usize..]);
                break;
            }
            let mut look = shard.look();
            for &slot in some {
                let entry = look.entry(slot);
                if entry.epoch > at {
                    back.push(slot);
                }
                let version = shard.version(entry, at).filter(|it| it.1 > after);
                let Some((state, epoch)) = version else { continue };
                let exists = G::exists(state);
                if G::LASTS && !exists {
                    continue;
                }
                let name = entry.name.clone();
                // Without its row an entity need not be copied.
                let state = if with_rows { state.clone() } else { F::State::default() };
                let version = Copied { name, state, epoch };
                seen.push(Seen { slot, key: entry.key(), exists, version });
            }
            drop(look);
            drop(shard);
            for it in seen {
                emit(Touched {
                    spot: spot(worker, number, it.slot),
                    key: it.key,
                    name: &it.version.name,
                    epoch: it.version.epoch,
                    exists: it.exists,
                    row: if with_rows { it.version.row::<G>() } else { None },
                });
            }
        }
        if let Some(marks) = &mut lock.write().leaving[ear as usize] {
            marks.put_back(&back);
            if outcome.is_ok() {
                marks.told(at);
            }
        }
        outcome
    }

    /// See [`Leaving`], as for the next two.
    pub(super) fn note_as(&self, ear: Ear) {
        for lock in self.parts.iter().flat_map(|it| &it.shards) {
            lock.write().leaving[ear as usize] = Some(Marks::default());
        }
    }

    pub(super) fn touched_as<G: Fold<State = F::State>>(
        &self,
        ear: Ear,
        after: Epoch,
        at: Epoch,
        with_rows: bool,
        emit: &mut dyn FnMut(Touched<'_>),
    ) -> Result<(), Gone> {
        for (worker, part) in self.parts.iter().enumerate() {
            for number in 0..part.shards.len() {
                self.tell_shard::<G>(ear, (worker, number), (after, at), with_rows, emit)?;
            }
        }
        Ok(())
    }

    pub(super) fn read_as<G: Fold<State = F::State>>(
        &self,
        spot: Spot,
        key: Fingerprint,
        at: Epoch,
    ) -> Result<Option<Version>, Gone> {
        let (worker, number, slot) = place(spot);
        let copied = {
            let shard = self.parts[worker].shards[number].read();
            self.readable(&shard, at)?;
            let mut look = shard.look();
            let entry = look.entry(slot);
            if entry.epoch == Epoch::MAX || entry.key() != key {
                return Ok(None);
            }
            shard.version(entry, at).map(|it| Copied::new(&entry.name, it))
        };
        Ok(copied.map(|it| {
            let row = it.row::<G>();
            (it.epoch, it.name, row)
        }))
    }
}

impl<F: Fold> Leaving for Served<F> {
    fn def(&self) -> &'static ViewDef {
        F::DEF
    }

    fn is_kept(&self) -> bool {
        matches!(self.slots, Slots::Kept)
    }

    fn note(&self) {
        self.note_as(Ear::Own);
    }

    fn touched(
        &self,
        after: Epoch,
        at: Epoch,
        with_rows: bool,
        emit: &mut dyn FnMut(Touched<'_>),
    ) -> Result<(), Gone> {
        self.touched_as::<F>(Ear::Own, after, at, with_rows, emit)
    }

    fn read(&self, spot: Spot, key: Fingerprint, at: Epoch) -> Result<Option<Version>, Gone> {
        self.read_as::<F>(spot, key, at)
    }

    fn since(
        &self,
        after: Epoch,
        at: Epoch,
        emit: &mut dyn FnMut(Spot, Fingerprint, Epoch),
    ) -> Result<(), Gone> {
        for (worker, part) in self.parts.iter().enumerate() {
            for (number, lock) in part.shards.iter().enumerate() {
                let mut from = 0;
                loop {
                    let shard = lock.read();
                    self.readable(&shard, at)?;
                    let upto = (from + STRIDE).min(shard.slots());
                    let mut found = Vec::new();
                    let mut look = shard.look();
                    for slot in from..upto {
                        let entry = look.entry(slot);
                        let is_free = entry.epoch == Epoch::MAX;
                        if let Some((state, epoch)) = shard.version(entry, at)
                            && epoch > after
                            && !is_free
                            && (!F::LASTS || F::exists(state))
                        {
                            found.push((slot, entry.key(), epoch));
                        }
                    }
                    drop(look);
                    drop(shard);
                    for (slot, key, epoch) in found {
                        emit(spot(worker, number, slot), key, epoch);
                    }
                    if upto == from {
                        break;
                    }
                    from = upto;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
