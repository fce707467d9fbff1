//! What every view of every worker has applied, the last complete epoch, who reads below it.
//!
//! # Meaning
//! An epoch is complete when every lane (one view of one worker) has applied it. Nothing that an
//! epoch at or above the floor needs is ever trimmed: the floor is the least of the last complete
//! epoch, the pins and the leases.
//!
//! # State
//! One word per lane, 256 pin slots, one record per leased epoch, one number per epoch above the
//! floor (its undo bytes). A lease ends by its time, or early, the oldest first, when undo
//! exceeds its limit: a reader that sleeps cannot make memory grow.
//!
//! # Why this way
//! Leases, the floor and the undo account stand under one mutex: a floor once handed out is
//! remembered there, so that no lease can be given below it. It is taken once per lane and epoch
//! and once per lease. Pins, taken by every read, go without (see [`super::pins`]).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use parking_lot::Mutex;
use schemas::reading::{Gone, Instants, Pin};

use super::pins::Pins;
use crate::Epoch;

/// Short reads at once; more wait. Far above what 16 cores can have in flight.
const PIN_SLOTS: usize = 256;

/// Undo that leases may hold unless told otherwise.
pub const UNDO_MAX_BYTES: u64 = 64 << 20;

/// A word with a cache line to itself: each lane's is written by its own worker.
#[repr(align(64))]
struct Lane(AtomicU64);

/// Told of each new complete epoch.
type Listener = Box<dyn Fn(Epoch) + Send + Sync>;

/// What every view of every worker has applied. One per process.
pub struct Clock {
    lanes: Box<[Lane]>,
    complete: AtomicU64,
    pins: Arc<Pins<AtomicU64>>,
    held: Mutex<Held>,
    /// The last floor handed out, for reports.
    oldest: AtomicU64,
    undo_max_bytes: u64,
    /// Undo bytes that exist, trimmed or not yet.
    undo_bytes: AtomicI64,
    listeners: Mutex<Listeners>,
}

#[derive(Default)]
struct Listeners {
    calls: Vec<Listener>,
    told: Epoch,
}

#[derive(Default)]
struct Held {
    /// Leased epochs and when their lease ends (milliseconds of wall time).
    leases: BTreeMap<Epoch, u64>,
    /// The highest floor handed out. Everything below may be gone.
    floor: Epoch,
    /// Undo bytes per epoch above the floor, and their sum.
    undo: BTreeMap<Epoch, u64>,
    undo_sum: u64,
}

impl Clock {
    /// A clock for this many lanes; nothing is complete yet (epoch 0). `undo_max_bytes`: leases
    /// are revoked, the oldest first, while undo is above it ([`UNDO_MAX_BYTES`]).
    pub fn new(lanes: usize, undo_max_bytes: u64) -> Arc<Clock> {
        Arc::new(Clock {
            lanes: (0..lanes).map(|_| Lane(AtomicU64::new(0))).collect(),
            complete: AtomicU64::new(0),
            pins: Arc::new(Pins::new(PIN_SLOTS)),
            held: Mutex::default(),
            oldest: AtomicU64::new(0),
            undo_max_bytes,
            undo_bytes: AtomicI64::new(0),
            listeners: Mutex::default(),
        })
    }

    /// This lane has applied everything up to and including `epoch`.
    pub fn publish(&self, lane: usize, epoch: Epoch) {
        self.lanes[lane].0.store(epoch, SeqCst);
        let complete = self.lanes.iter().map(|it| it.0.load(SeqCst)).min().unwrap_or(0);
        if self.complete.fetch_max(complete, SeqCst) < complete {
            self.tell();
        }
    }

    /// Called with each new complete epoch, rising, from a worker thread; must return at once.
    pub fn on_complete(&self, call: Box<dyn Fn(Epoch) + Send + Sync>) {
        self.listeners.lock().calls.push(call);
    }

    /// No undo entry at or below this epoch is needed by anyone.
    pub fn floor(&self) -> Epoch {
        self.raise(&mut self.held.lock())
    }

    /// The oldest epoch that can surely still be read, without taking a lock.
    pub fn oldest(&self) -> Epoch {
        self.oldest.load(Relaxed)
    }

    /// How many epochs are leased now.
    pub fn leases(&self) -> usize {
        self.held.lock().leases.len()
    }

    /// Undo that was written up to `epoch`. Revokes leases when it is too much.
    pub(crate) fn undo_written(&self, epoch: Epoch, bytes: u64) {
        self.undo_bytes.fetch_add(bytes as i64, Relaxed);
        let mut held = self.held.lock();
        *held.undo.entry(epoch).or_default() += bytes;
        held.undo_sum += bytes;
        self.relieve(&mut held);
    }

    /// Undo that was freed.
    pub(crate) fn undo_freed(&self, bytes: u64) {
        self.undo_bytes.fetch_sub(bytes as i64, Relaxed);
    }

    /// Undo is near its limit: free what can be freed at once.
    pub(crate) fn is_undo_large(&self) -> bool {
        self.undo_bytes() > self.undo_max_bytes / 2
    }

    fn tell(&self) {
        let mut listeners = self.listeners.lock();
        let complete = self.complete.load(SeqCst);
        // Two workers may complete an epoch each at once; the later one tells of both.
        if complete > listeners.told {
            listeners.told = complete;
            for call in &listeners.calls {
                call(complete);
            }
        }
    }

    /// The floor now; never falls.
    fn raise(&self, held: &mut Held) -> Epoch {
        let unleased = self.pins.floor(&self.complete);
        let leased = held.leases.first_key_value().map_or(Epoch::MAX, |it| *it.0);
        let floor = unleased.min(leased);
        if floor > held.floor {
            held.floor = floor;
            self.oldest.store(floor, Relaxed);
            while let Some(first) = held.undo.first_entry().filter(|it| *it.key() <= floor) {
                held.undo_sum -= first.remove();
            }
        }
        held.floor
    }

    /// Revokes the oldest leases while they make undo exceed its limit.
    fn relieve(&self, held: &mut Held) {
        while held.undo_sum > self.undo_max_bytes {
            let floor = self.raise(held);
            let holds = held.leases.first_key_value().is_some_and(|it| *it.0 <= floor);
            if held.undo_sum <= self.undo_max_bytes || !holds {
                // What is left is between the floor and the present: short reads, or a lane that
                // is behind. Both pass by themselves.
                return;
            }
            held.leases.pop_first();
            if self.raise(held) == floor && held.leases.is_empty() {
                return;
            }
        }
    }
}

thread_local! {
    /// Where this thread looks for a free pin slot first.
    static FIRST_SLOT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Neighbouring threads start eight slots (one cache line) apart.
fn first_slot() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    FIRST_SLOT.with(|slot| {
        if slot.get() == usize::MAX {
            let n = THREADS.fetch_add(1, Relaxed);
            slot.set((n * 8 + n / 32) % PIN_SLOTS);
        }
        slot.get()
    })
}

impl Instants for Clock {
    fn complete(&self) -> Epoch {
        self.complete.load(SeqCst)
    }

    fn pin(&self) -> Pin {
        let (slot, epoch) = self.pins.pin(&self.complete, first_slot());
        let pins = self.pins.clone();
        Pin::new(epoch, Box::new(move || pins.release(slot)))
    }

    fn lease(&self, epoch: Epoch, now_ms: u64, lease_ms: u64) -> Result<(), Gone> {
        let mut held = self.held.lock();
        let oldest = self.raise(&mut held);
        if epoch < oldest {
            return Err(Gone { oldest });
        }
        let until = held.leases.entry(epoch).or_default();
        *until = (*until).max(now_ms.saturating_add(lease_ms));
        Ok(())
    }

    fn expire(&self, now_ms: u64) {
        let mut held = self.held.lock();
        held.leases.retain(|_, until| *until > now_ms);
        self.raise(&mut held);
        self.relieve(&mut held);
    }

    fn undo_bytes(&self) -> u64 {
        u64::try_from(self.undo_bytes.load(Relaxed)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an epoch is complete when the slowest lane has it, and each is told once, rising.
    #[test]
    fn completes_with_the_slowest_lane() {
        let clock = Clock::new(2, UNDO_MAX_BYTES);
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        clock.on_complete(Box::new(move |epoch| listener.lock().push(epoch)));
        clock.publish(0, 5);
        assert_eq!(clock.complete(), 0);
        clock.publish(1, 3);
        clock.publish(1, 9);
        assert_eq!(clock.complete(), 5);
        assert_eq!(*told.lock(), [3, 5]);
    }

    /// Goal: pins and leases hold the floor, and their end lets it go; a lease is given only for
    /// what is surely still there, and ends by its time.
    #[test]
    fn pins_and_leases_hold_the_floor() {
        let clock = Clock::new(1, UNDO_MAX_BYTES);
        clock.publish(0, 10);
        let pin = clock.pin();
        assert_eq!(pin.epoch(), 10);
        clock.publish(0, 20);
        assert_eq!(clock.floor(), 10);
        clock.lease(15, 1_000, 500).unwrap();
        drop(pin);
        assert_eq!(clock.floor(), 15);
        assert_eq!(clock.lease(14, 1_000, 500), Err(Gone { oldest: 15 }));
        clock.lease(15, 1_200, 500).unwrap();
        clock.expire(1_600);
        assert_eq!((clock.floor(), clock.leases()), (15, 1));
        clock.expire(1_700);
        assert_eq!((clock.floor(), clock.leases()), (20, 0));
    }

    /// Goal: undo above its limit ends leases, the oldest first, no more than needed.
    #[test]
    fn undo_above_its_limit_revokes_the_oldest_lease() {
        let clock = Clock::new(1, 1_000);
        for epoch in 1..=10 {
            clock.publish(0, epoch);
            clock.lease(epoch, 0, u64::MAX).unwrap();
            clock.undo_written(epoch, 300);
        }
        // Above the floor 7 lie the epochs 8, 9 and 10: 900 bytes.
        assert_eq!((clock.floor(), clock.leases()), (7, 4));
        assert_eq!(clock.lease(6, 0, 1), Err(Gone { oldest: 7 }));
    }
}
