//! One shard of the identities: open addressing, the age of each in its own slot.
//!
//! # Invariants
//! In a run of slots nobody lies nearer home than one who follows would there (Celis, Robin Hood
//! Hashing, 1986): what is not there, as most is not, is known at the first who does, so that shards
//! may be filled to nine tenths.
//!
//! # State
//!
//! ```text
//!  slot (128 bits):  lower 112 bits of the fingerprint | step, 16 bits; 0: empty
//! ```
//!
//! Two fingerprints that differ only in their upper 16 bits are taken for one: among a billion
//! identities that happens with a chance of 10^-16, and nobody who lacks the secret can make it.

use schemas::names::Fingerprint;

use crate::served::prefetch::prefetch;

/// Slots at first.
const SLOTS_MIN: usize = 8;

/// From so many slots on it grows by a quarter instead of a half: what stands empty counts more
/// then than what growing costs. All shards together have some hundred thousand identities by then.
const LARGE: usize = 512;

/// No identity.
const EMPTY: u128 = 0;

/// What of a slot is the step.
const STEP: u128 = u16::MAX as u128;

/// What of a slot is the fingerprint.
const ID: u128 = !STEP;

/// Slots in a line of the cache.
const LINE: usize = 64 / size_of::<u128>();

/// What is kept of a fingerprint, at its place in a slot; never [`EMPTY`].
#[inline]
fn stored(id: Fingerprint) -> u128 {
    match id << STEP.count_ones() {
        EMPTY => ID,
        id => id,
    }
}

/// Spreads fingerprints, also poor ones, over 64 bits.
#[inline]
pub(super) fn hash(id: Fingerprint) -> u64 {
    spread(stored(id))
}

#[inline]
fn spread(id: u128) -> u64 {
    let product = u128::from(id as u64 ^ 0xa076_1d64_78bd_642f)
        * u128::from((id >> 64) as u64 ^ 0xe703_7ed1_a0b4_28db);
    product as u64 ^ (product >> 64) as u64
}

/// What time it is in the stream, in steps of append time.
#[derive(Clone, Copy)]
pub(super) struct Age {
    pub(super) newest: u64,
    pub(super) horizon: u64,
}

impl Age {
    fn is_expired(self, step: u64) -> bool {
        step + self.horizon < self.newest
    }
}

pub(super) struct Shard {
    slots: Box<[u128]>,
    /// Steps are counted from here.
    base: u64,
    len: usize,
    /// No identity is older.
    oldest: u64,
    /// 128ths of the slots that may be filled.
    load: usize,
}

impl Shard {
    /// Shards are filled to different loads, so that they do not all grow at once.
    pub(super) fn new(number: usize) -> Shard {
        Shard {
            slots: vec![EMPTY; SLOTS_MIN].into(),
            base: 0,
            len: 0,
            oldest: 0,
            load: 108 + number % 9,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        bytes(self.slots.len())
    }

    pub(super) fn is_full(&self) -> bool {
        (self.len + 1) * 128 > self.slots.len() * self.load
    }

    /// The step that none remembered is older than.
    pub(super) fn oldest(&self) -> Option<u64> {
        (self.len > 0).then_some(self.oldest)
    }

    #[inline]
    pub(super) fn prefetch(&self, id: Fingerprint) {
        let home = self.home(stored(id));
        prefetch(&self.slots[home]);
        // Where many are looked through, they do not end in the line in which they begin.
        if let Some(next) = self.slots.get(home + LINE / 2) {
            prefetch(next);
        }
    }

    /// Whether it is new, or was last new beyond the horizon. There must be room.
    #[inline]
    pub(super) fn claim(&mut self, id: Fingerprint, age: Age) -> bool {
        let id = stored(id);
        let (at, is_known) = self.find(id);
        if is_known {
            let expired = age.is_expired(self.step(self.slots[at]));
            if expired {
                self.date(at, age.newest, age);
            }
            return expired;
        }
        if self.len == 0 {
            (self.base, self.oldest) = (age.newest, age.newest);
        }
        self.put(at, id);
        self.date(at, age.newest, age);
        true
    }

    /// Puts back what was new at a step, unless that is beyond the horizon. There must be room.
    pub(super) fn restore(&mut self, id: Fingerprint, step: u64, age: Age) {
        if age.is_expired(step) {
            return;
        }
        let id = stored(id);
        let (at, is_known) = self.find(id);
        if self.len == 0 {
            // All that is not expired fits above it, in whatever order it comes.
            self.base = step.saturating_sub(age.horizon + 1);
            self.oldest = step;
        }
        if !is_known {
            self.put(at, id);
        } else if self.step(self.slots[at]) >= step {
            return;
        }
        self.oldest = self.oldest.min(step);
        self.date(at, step, age);
    }

    /// Drops what is expired; true if that made room enough to go on without growing.
    pub(super) fn drop_expired(&mut self, age: Age) -> bool {
        if !age.is_expired(self.oldest) {
            return false;
        }
        let kept = self.each().filter(|it| !age.is_expired(it.1)).count();
        if kept == self.len || kept * 128 > self.slots.len() * self.load * 7 / 8 {
            return false;
        }
        self.rebuild(self.slots.len(), |step| !age.is_expired(step));
        true
    }

    /// Drops what is expired, and gives memory back where much is free.
    pub(super) fn sweep(&mut self, age: Age) {
        let kept = self.each().filter(|it| !age.is_expired(it.1)).count();
        let slots = (kept * 2).max(SLOTS_MIN).min(self.slots.len());
        if kept < self.len || slots * 2 < self.slots.len() {
            let slots = if slots * 2 < self.slots.len() { slots } else { self.slots.len() };
            self.rebuild(slots, |step| !age.is_expired(step));
        }
    }

    /// Bytes that [`Shard::grow`] would add.
    pub(super) fn growth_bytes(&self) -> usize {
        bytes(self.grown()) - self.bytes()
    }

    /// Bytes that [`Shard::make_room_for`] would add.
    pub(super) fn room_bytes(&self, n: u64) -> u64 {
        ((self.slots_for(n) - self.slots.len()) as u64).saturating_mul(size_of::<u128>() as u64)
    }

    /// Grows at once to where so many fit.
    pub(super) fn make_room_for(&mut self, n: u64) {
        let slots = self.slots_for(n);
        if slots > self.slots.len() {
            self.rebuild(slots, |_| true);
        }
    }

    fn slots_for(&self, n: u64) -> usize {
        let slots = (n.saturating_add(1)).saturating_mul(128).div_ceil(self.load as u64);
        usize::try_from(slots).unwrap_or(usize::MAX).max(self.slots.len())
    }

    pub(super) fn grow(&mut self) {
        self.rebuild(self.grown(), |_| true);
    }

    /// Forgets the oldest eighth; gives the newest step of which something was forgotten.
    pub(super) fn forget_oldest(&mut self) -> u64 {
        let mut steps: Vec<u64> = self.each().map(|it| it.1).collect();
        let drop = (steps.len() / 8).max(1);
        let upto = *steps.select_nth_unstable(drop - 1).1;
        let mut of_last = drop - steps[..drop].iter().filter(|it| **it < upto).count();
        self.rebuild(self.slots.len(), |step| {
            if step == upto && of_last > 0 {
                of_last -= 1;
                return false;
            }
            step >= upto
        });
        upto
    }

    fn grown(&self) -> usize {
        match self.slots.len() < LARGE {
            true => (self.slots.len() * 3).div_ceil(2),
            false => (self.slots.len() * 5).div_ceil(4),
        }
    }

    /// `id`: as [`stored`], like all below.
    fn home(&self, id: u128) -> usize {
        (((spread(id) >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// The slot after this one: the first after the last.
    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// How far from its home what lies in a slot lies.
    #[inline]
    fn far(&self, slot: u128, at: usize) -> usize {
        let home = self.home(slot & ID);
        if at >= home { at - home } else { at + self.slots.len() - home }
    }

    /// Where an identity is (true), or is to be put. There must be room.
    #[inline]
    fn find(&self, id: u128) -> (usize, bool) {
        let (mut at, mut far) = (self.home(id), 0);
        loop {
            let slot = self.slots[at];
            if slot & ID == id && slot != EMPTY {
                return (at, true);
            }
            if slot == EMPTY || self.far(slot, at) < far {
                return (at, false);
            }
            (at, far) = (self.after(at), far + 1);
        }
    }

    /// Puts in what is to be put there; what follows in the run moves up by one.
    #[inline]
    fn put(&mut self, mut at: usize, mut slot: u128) {
        self.len += 1;
        loop {
            std::mem::swap(&mut self.slots[at], &mut slot);
            if slot == EMPTY {
                return;
            }
            at = self.after(at);
        }
    }

    fn step(&self, slot: u128) -> u64 {
        self.base + (slot & STEP) as u64
    }

    /// Dates a slot: new at this step.
    fn date(&mut self, at: usize, step: u64, age: Age) {
        if step.saturating_sub(self.base) > u64::from(u16::MAX) {
            self.base_on(age);
        }
        // Below the base: another worker has seen newer records meanwhile.
        let step = step.saturating_sub(self.base) as u16;
        self.slots[at] = self.slots[at] & ID | u128::from(step);
    }

    /// Moves the base up to the horizon; what is older is expired already and reads as just so.
    fn base_on(&mut self, age: Age) {
        let base = age.newest.saturating_sub(age.horizon + 1);
        let by = base - self.base;
        for slot in self.slots.iter_mut().filter(|it| **it != EMPTY) {
            *slot = *slot & ID | (*slot & STEP).saturating_sub(u128::from(by));
        }
        self.base = base;
    }

    /// Each as [`stored`], and its step.
    fn each(&self) -> impl Iterator<Item = (u128, u64)> {
        let taken = self.slots.iter().filter(|it| **it != EMPTY);
        taken.map(|it| (*it & ID, self.step(*it)))
    }

    fn rebuild(&mut self, slots: usize, mut keep: impl FnMut(u64) -> bool) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots].into());
        (self.len, self.oldest) = (0, u64::MAX);
        for slot in old.iter().filter(|it| **it != EMPTY) {
            let step = self.step(*slot);
            if keep(step) {
                let (at, _) = self.find(*slot & ID);
                self.put(at, *slot);
                self.oldest = self.oldest.min(step);
            }
        }
    }
}

fn bytes(slots: usize) -> usize {
    slots * size_of::<u128>() + size_of::<Shard>()
}
