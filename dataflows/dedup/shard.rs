//! One shard of the identities: open addressing, the age of each beside it.

use schemas::names::Fingerprint;

use crate::served::prefetch::prefetch;

/// Slots at first.
const SLOTS_MIN: usize = 8;

/// No identity (a fingerprint of 0 is taken for 1).
const EMPTY: Fingerprint = 0;

/// Spreads fingerprints, also poor ones, over 64 bits.
#[inline]
pub(super) fn hash(id: Fingerprint) -> u64 {
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
    ids: Box<[Fingerprint]>,
    /// Step of each, from `base`.
    steps: Box<[u16]>,
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
            ids: vec![EMPTY; SLOTS_MIN].into(),
            steps: vec![0; SLOTS_MIN].into(),
            base: 0,
            len: 0,
            oldest: 0,
            load: 88 + number % 9,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        bytes(self.ids.len())
    }

    pub(super) fn is_full(&self) -> bool {
        (self.len + 1) * 128 > self.ids.len() * self.load
    }

    /// The step that none remembered is older than.
    pub(super) fn oldest(&self) -> Option<u64> {
        (self.len > 0).then_some(self.oldest)
    }

    #[inline]
    pub(super) fn prefetch(&self, id: Fingerprint) {
        prefetch(&self.ids[self.home(id)]);
    }

    /// Whether it is new, or was last new beyond the horizon. There must be room.
    #[inline]
    pub(super) fn claim(&mut self, id: Fingerprint, age: Age) -> bool {
        let id = id.max(1);
        let mut at = self.home(id);
        while self.ids[at] != EMPTY {
            if self.ids[at] == id {
                let expired = age.is_expired(self.base + u64::from(self.steps[at]));
                if expired {
                    self.date(at, age.newest, age);
                }
                return expired;
            }
            at += 1;
            if at == self.ids.len() {
                at = 0;
            }
        }
        if self.len == 0 {
            (self.base, self.oldest) = (age.newest, age.newest);
        }
        self.ids[at] = id;
        self.len += 1;
        self.date(at, age.newest, age);
        true
    }

    /// Puts back what was new at a step, unless that is beyond the horizon. There must be room.
    pub(super) fn restore(&mut self, id: Fingerprint, step: u64, age: Age) {
        if age.is_expired(step) {
            return;
        }
        let id = id.max(1);
        let mut at = self.home(id);
        while self.ids[at] != EMPTY && self.ids[at] != id {
            at = (at + 1) % self.ids.len();
        }
        if self.len == 0 {
            // All that is not expired fits above it, in whatever order it comes.
            self.base = step.saturating_sub(age.horizon + 1);
            self.oldest = step;
        }
        if self.ids[at] == EMPTY {
            self.ids[at] = id;
            self.len += 1;
        } else if self.base + u64::from(self.steps[at]) >= step {
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
        if kept == self.len || kept * 128 > self.ids.len() * self.load * 7 / 8 {
            return false;
        }
        self.rebuild(self.ids.len(), |step| !age.is_expired(step));
        true
    }

    /// Drops what is expired, and gives memory back where much is free.
    pub(super) fn sweep(&mut self, age: Age) {
        let kept = self.each().filter(|it| !age.is_expired(it.1)).count();
        let slots = (kept * 2).max(SLOTS_MIN).min(self.ids.len());
        if kept < self.len || slots * 2 < self.ids.len() {
            let slots = if slots * 2 < self.ids.len() { slots } else { self.ids.len() };
            self.rebuild(slots, |step| !age.is_expired(step));
        }
    }

    /// Bytes that [`Shard::grow`] would add.
    pub(super) fn growth_bytes(&self) -> usize {
        bytes(self.grown()) - self.bytes()
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
        self.rebuild(self.ids.len(), |step| {
            if step == upto && of_last > 0 {
                of_last -= 1;
                return false;
            }
            step >= upto
        });
        upto
    }

    fn grown(&self) -> usize {
        (self.ids.len() * 4).div_ceil(3)
    }

    fn home(&self, id: Fingerprint) -> usize {
        (((hash(id.max(1)) >> 32) * self.ids.len() as u64) >> 32) as usize
    }

    /// Dates a slot: new at this step.
    fn date(&mut self, at: usize, step: u64, age: Age) {
        if step.saturating_sub(self.base) > u64::from(u16::MAX) {
            self.base_on(age);
        }
        // Below the base: another worker has seen newer records meanwhile.
        self.steps[at] = step.saturating_sub(self.base) as u16;
    }

    /// Moves the base up to the horizon; what is older is expired already and reads as just so.
    fn base_on(&mut self, age: Age) {
        let base = age.newest.saturating_sub(age.horizon + 1);
        let by = base - self.base;
        for step in &mut self.steps {
            *step = u64::from(*step).saturating_sub(by) as u16;
        }
        self.base = base;
    }

    fn each(&self) -> impl Iterator<Item = (Fingerprint, u64)> {
        let all = self.ids.iter().zip(&self.steps);
        all.filter(|it| *it.0 != EMPTY).map(|(id, step)| (*id, self.base + u64::from(*step)))
    }

    fn rebuild(&mut self, slots: usize, mut keep: impl FnMut(u64) -> bool) {
        let old = Shard {
            ids: std::mem::replace(&mut self.ids, vec![EMPTY; slots].into()),
            steps: std::mem::replace(&mut self.steps, vec![0; slots].into()),
            ..*self
        };
        (self.len, self.oldest) = (0, u64::MAX);
        for (id, step) in old.each().filter(|it| keep(it.1)) {
            let mut at = self.home(id);
            while self.ids[at] != EMPTY {
                at = (at + 1) % slots;
            }
            self.ids[at] = id;
            self.steps[at] = (step - self.base) as u16;
            self.len += 1;
            self.oldest = self.oldest.min(step);
        }
    }
}

fn bytes(slots: usize) -> usize {
    slots * (size_of::<Fingerprint>() + size_of::<u16>()) + size_of::<Shard>()
}
