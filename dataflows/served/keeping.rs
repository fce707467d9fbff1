//! A map as the store sees it: what to save, what to save again, what to put back.
//!
//! ```text
//!  worker ─touch─▶ list of the shard ─take─▶ saver ─as of `at`─▶ record ─▶ store
//!                      ▲                       │
//!                      └── touched after `at` ─┘ (or ordered again)
//! ```
//!
//! # Meaning
//! Of each entity the newest record shown, up to the last save that the store has kept, says what
//! the entity was then. Test: `tests::records_are_the_map`, against the map itself.
//!
//! A record: key (16 bytes), epoch of the state (8), flags (1), owner (16, if any), length of the
//! name and the name (tenant, NUL, key text), the state to the end.
//!
//! # Invariants
//! No entity touched is ever missed, whatever runs beside the saver. Per shard, with
//! [`Marks`](super::marks::Marks) as it says there:
//!
//! - *A touch and the taking of the list* stand in one order, that of the shard's lock: there is
//!   no word beside it that could be read too early. A touch before is in the list that is taken;
//!   a touch after compares with the epoch that the taker left.
//! - *A touch while the saver has the slot in hand.* If its version before is at or below `at`, it
//!   pushes the slot itself. If it is above `at`, it does not, and the saver, whenever it looks,
//!   finds the newest epoch above `at`, and puts the slot back.
//! - *Born after `at`:* no version to show, the newest epoch is above `at`: put back as well.
//! - *Two saves in a row* (or [`again`](StateKeeper::again) between): one at a time, by a lock of
//!   their own; each puts back what it has in hand before it ends, also when it gives up.
//! - *Two records of one entity, put back by two threads:* the newer stands, whichever comes first.
//! - *A save that the store could not keep* has noted its generation for all that it showed, so
//!   ordering that generation again orders exactly those; and it names none, until shown anew.
//!
//! Never a closure of the caller under a lock of a worker, but for `again`'s predicate; a state is
//! put into bytes under a reader's lock, [`STRIDE`] at a time.
//!
//! # State
//! The bytes of one stride; the list of one shard.
//!
//! # When it fails
//! An epoch that is not held gives [`Gone`]: what was shown of it is no checkpoint, and its
//! generation has to be ordered again.

use schemas::keeping::{StateKeeper, Unreadable};
use schemas::names::Name;
use schemas::reading::Gone;

use super::prefetch::prefetch;
use super::shard::{self, Shard};
use super::{STRIDE, Served, route, shard_of};
use crate::packed::{Checked, Writer};
use crate::{Epoch, Keep};

/// Generations looked at per hold of a shard's lock.
const SCAN: usize = 1_024;

/// A list longer than this is not kept for the next shard: one burst must not set the memory of
/// all saves that follow.
const SPARE_SLOTS_MAX: usize = 16 << 10;

/// Entries whose memory is asked for before they are read.
const AHEAD: usize = 8;

/// There is an owner.
const OWNED: u8 = 1;

/// A fold's layout: that of the record around the state, and that of the state.
macro_rules! layout {
    ($state:literal) => {
        concat!("record 1: key, epoch, flags, owner, name, state; ", $state)
    };
}
pub(crate) use layout;

/// What one save has in hand; its memory is used again by the next.
#[derive(Default)]
pub(super) struct Hand {
    /// Slots to be looked at.
    slots: Vec<u32>,
    shown: Vec<u32>,
    /// To be put back.
    back: Vec<u32>,
    /// Records of one stride, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Hand {
    /// Reads some slots as of `at`.
    fn read<F: Keep>(&mut self, shard: &Shard<F::State>, slots: std::ops::Range<usize>, at: Epoch) {
        self.bytes.clear();
        self.ends.clear();
        let mut look = shard.look();
        for n in slots {
            let slot = self.slots[n];
            if let Some(next) = self.slots.get(n + AHEAD)
                && let Some(next) = shard.awake_entry(*next)
            {
                prefetch(next);
            }
            let entry = look.entry(slot);
            if entry.epoch > at {
                self.back.push(slot);
            }
            if let Some((state, epoch)) = shard.version(entry, at) {
                write::<F>(entry.key(), &entry.name, state, epoch, &mut self.bytes);
                self.ends.push(self.bytes.len());
                self.shown.push(slot);
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

fn write<F: Keep>(key: u128, name: &Name, state: &F::State, epoch: Epoch, into: &mut Vec<u8>) {
    let owner = F::owner(state);
    into.extend_from_slice(&key.to_le_bytes());
    into.extend_from_slice(&epoch.to_le_bytes());
    into.push(if owner.is_some() { OWNED } else { 0 });
    let mut writer = Writer(into);
    if let Some(owner) = owner {
        writer.id(owner);
    }
    let (tenant, key) = (name.tenant(), name.key());
    writer.count((tenant.len() + 1 + key.len()) as u64);
    writer.0.extend_from_slice(tenant.as_bytes());
    writer.0.push(0);
    writer.0.extend_from_slice(key.as_bytes());
    F::store(state, into);
}

/// What a record says before its state.
struct Head<'r> {
    key: u128,
    epoch: Epoch,
    name: &'r str,
    state: &'r [u8],
}

impl Head<'_> {
    fn read(record: &[u8]) -> Option<Head<'_>> {
        let mut from = Checked(record);
        let key = from.id()?;
        let epoch = u64::from_le_bytes(*from.bytes(8)?.first_chunk()?);
        match from.byte()? {
            0 => {}
            OWNED => drop(from.id()?),
            _ => return None,
        }
        let name = from.text().filter(|it| it.contains('\0'))?;
        // Of all ones is the epoch of a slot that is free.
        (epoch != Epoch::MAX).then_some(Head { key, epoch, name, state: from.0 })
    }
}

impl<F: Keep> Served<F> {
    /// Shows what is due in one shard. Whatever happens, what was taken and not shown is put back.
    fn save_shard(
        &self,
        (worker, number): (usize, usize),
        at: Epoch,
        generation: u32,
        hand: &mut Hand,
        emit: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, Gone> {
        let lock = &self.parts[worker].shards[number];
        {
            let mut shard = lock.write();
            let Some(marks) = &mut shard.marks else { return Ok(0) };
            marks.take(at, &mut hand.slots);
        }
        if hand.slots.is_empty() {
            return Ok(0);
        }
        // In the order in which they lie, each once.
        hand.slots.sort_unstable();
        hand.slots.dedup();
        hand.shown.clear();
        hand.back.clear();
        let mut outcome = Ok(());
        let mut from = 0;
        while from < hand.slots.len() {
            let upto = (from + STRIDE as usize).min(hand.slots.len());
            let shard = lock.read();
            outcome = self.readable(&shard, at);
            if outcome.is_err() {
                hand.back.extend_from_slice(&hand.slots[from..]);
                break;
            }
            hand.read::<F>(&shard, from..upto, at);
            drop(shard);
            hand.records().for_each(&mut *emit);
            from = upto;
        }
        if let Some(marks) = &mut lock.write().marks {
            marks.put_back(&hand.back);
            marks.note(&hand.shown, generation);
        }
        let n = hand.shown.len() as u64;
        for list in [&mut hand.slots, &mut hand.shown, &mut hand.back] {
            if list.capacity() > SPARE_SLOTS_MAX {
                *list = Vec::new();
            }
        }
        outcome.map(|()| n)
    }
}

impl<F: Keep> StateKeeper for Served<F> {
    fn view(&self) -> &'static str {
        F::DEF.name
    }

    fn layout(&self) -> &'static str {
        F::LAYOUT
    }

    fn save(&self, at: Epoch, generation: u32, emit: &mut dyn FnMut(&[u8])) -> Result<u64, Gone> {
        let hand = &mut *self.saver.lock();
        let mut n = 0;
        for (worker, part) in self.parts.iter().enumerate() {
            for number in 0..part.shards.len() {
                n += self.save_shard((worker, number), at, generation, hand, emit)?;
            }
        }
        Ok(n)
    }

    fn again(&self, of: &dyn Fn(u32) -> bool) -> u64 {
        let _one = self.saver.lock();
        let mut n = 0;
        for lock in self.parts.iter().flat_map(|it| &it.shards) {
            let mut from = 0;
            loop {
                let mut shard = lock.write();
                let Some(marks) = &mut shard.marks else { break };
                n += marks.again(from..from + SCAN, of);
                from += SCAN;
                if from >= marks.slots() {
                    break;
                }
            }
        }
        n
    }

    fn restore(&self, record: &[u8], generation: u32) -> Result<bool, Unreadable> {
        let unreadable = |why: &str| Unreadable { why: format!("{}: {why}", F::DEF.name) };
        let head = Head::read(record).ok_or_else(|| unreadable("the head of a record is cut"))?;
        let part = &self.parts[(route(head.key) % self.parts.len() as u64) as usize];
        let hash = shard::hash(head.key);
        // An older record of what is there already need not be read.
        let shard = part.shards[shard_of(hash)].read();
        let mut look = shard.look();
        let found = look.find(hash, head.key);
        if found.is_some_and(|slot| look.entry(slot).epoch >= head.epoch) {
            return Ok(false);
        }
        drop(look);
        drop(shard);
        let state =
            F::restore(head.state).ok_or_else(|| unreadable("the state is not of this layout"))?;
        let name = Name::from_text(head.name);
        Ok(self.load_shown(head.key, name, state, head.epoch, Some(generation)))
    }
}

#[cfg(test)]
mod tests;
