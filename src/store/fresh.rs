//! New identities on their way from the workers to the next checkpoint, by epoch.
//!
//! # Invariants
//! What a worker notes for an epoch is here before that epoch can be complete: it is noted before
//! the chunk's updates are sent.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::messages::Epoch;

/// Identities that may wait for a checkpoint before reading is held back: 64 MiB of them.
pub const FRESH_MAX: u64 = 4 << 20;

/// Some identities that were claimed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    /// The instant from which they are remembered, milliseconds.
    pub(super) claimed_ms: u64,
    pub(super) ids: Vec<u128>,
}

/// Identities by epoch.
#[derive(Debug, Default)]
pub struct Fresh {
    by_epoch: Mutex<BTreeMap<Epoch, Vec<Claimed>>>,
    waiting: AtomicU64,
    /// Holds reading back, once too many wait; whoever writes them lets it go on.
    hold: OnceLock<Hold>,
}

struct Hold(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

impl Fresh {
    /// These were new in this epoch.
    pub fn note(&self, epoch: Epoch, claimed_ms: u64, ids: Vec<u128>) {
        if ids.is_empty() {
            return;
        }
        let before = self.waiting.fetch_add(ids.len() as u64, Relaxed);
        // A checkpoint may be waiting for its disk: nobody else looks meanwhile.
        if before + ids.len() as u64 > FRESH_MAX
            && let Some(hold) = self.hold.get()
        {
            (hold.0)();
        }
        let mut by_epoch = self.by_epoch.lock();
        by_epoch.entry(epoch).or_default().push(Claimed { claimed_ms, ids });
    }

    /// How reading is held back.
    pub(super) fn holds(&self, hold: impl Fn() + Send + Sync + 'static) {
        self.hold.get_or_init(|| Hold(Box::new(hold)));
    }

    /// How many wait.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// Takes those of the epochs up to and including this one.
    pub(super) fn take(&self, upto: Epoch) -> Vec<Claimed> {
        let mut by_epoch = self.by_epoch.lock();
        let later = by_epoch.split_off(&(upto + 1));
        let taken: Vec<Claimed> =
            std::mem::replace(&mut *by_epoch, later).into_values().flatten().collect();
        let n: usize = taken.iter().map(|it| it.ids.len()).sum();
        self.waiting.fetch_sub(n as u64, Relaxed);
        taken
    }

    /// They could not be written: they wait again.
    pub(super) fn give_back(&self, epoch: Epoch, taken: Vec<Claimed>) {
        for it in taken {
            self.note(epoch, it.claimed_ms, it.ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a checkpoint gets exactly what its epochs claimed. Method: three epochs, one taken
    /// in between, one given back.
    #[test]
    fn of_exactly_the_epochs_up_to_one() {
        let fresh = Fresh::default();
        for (epoch, id) in [(10, 1), (20, 2), (30, 3), (20, 4)] {
            fresh.note(epoch, epoch, vec![id]);
        }
        fresh.note(15, 15, vec![]);
        let ids =
            |taken: &[Claimed]| taken.iter().flat_map(|it| it.ids.clone()).collect::<Vec<_>>();
        let taken = fresh.take(20);
        assert_eq!((ids(&taken), fresh.waiting()), (vec![1, 2, 4], 1));
        fresh.give_back(20, taken);
        assert_eq!(fresh.waiting(), 4);
        assert_eq!(ids(&fresh.take(29)), [1, 2, 4]);
        assert_eq!((ids(&fresh.take(30)), fresh.waiting()), (vec![3], 0));
    }
}
