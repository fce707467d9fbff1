//! One request's hold on one instant, and how long it may go on.
//!
//! # Meaning
//! Everything a request reads is read at the epoch of its hold. A short one keeps a pin, which is
//! never revoked; one that lasts longer than [`PINNED_FOR`] changes it for a lease, which is: a
//! statement of ten seconds cannot make undo grow without bound. Then it ends with `sql/gone`.
//!
//! # Why this way
//! A lease from the start would hold each instant for the lease's whole time, long after a point
//! query has its answer; a pin to the end would hold undo that nobody may take away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemas::reading::{Gone, Instants, Pin};

use crate::clock;
use crate::messages::{AsOf, ReadHandle};

/// Longest pin: pins are for reads of milliseconds.
const PINNED_FOR: Duration = Duration::from_millis(50);
/// A lease, and how often it is renewed. It outlives the statement by at most its length.
const LEASE: Duration = Duration::from_secs(2);
const RENEW: Duration = Duration::from_millis(500);

/// Why a statement has to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The time is over.
    Late,
    /// Nobody waits for the answer.
    GivenUp,
    /// The instant was let go.
    Gone(Gone),
    /// A view is being built again, in words.
    Building(String),
}

/// When a request has to end.
#[derive(Clone, Debug)]
pub(super) struct Until {
    pub(super) deadline: Instant,
    pub(super) given_up: Arc<AtomicBool>,
}

impl Until {
    /// Why it has to stop, if it has to.
    pub(super) fn look(&self) -> Result<Instant, Stop> {
        if self.given_up.load(Relaxed) {
            return Err(Stop::GivenUp);
        }
        let now = clock::monotonic();
        if now >= self.deadline { Err(Stop::Late) } else { Ok(now) }
    }
}

/// A request's hold.
pub(super) struct Hold {
    instants: Arc<dyn Instants>,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) as_of: AsOf,
    until: Until,
    held: Mutex<Held>,
    /// The first reason to stop; SQLite only tells that something failed.
    stopped: Mutex<Option<Stop>>,
}

struct Held {
    pin: Option<Pin>,
    /// When it was pinned or leased last.
    since: Instant,
}

impl Hold {
    pub(super) fn new(
        read: &ReadHandle,
        now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
        until: Until,
    ) -> Hold {
        let pin = read.instants.pin();
        let as_of = (read.as_of)(pin.epoch());
        let held = Mutex::new(Held { pin: Some(pin), since: clock::monotonic() });
        let instants = Arc::clone(&read.instants);
        Hold { instants, now_ms, as_of, until, held, stopped: Mutex::new(None) }
    }

    /// Looks whether to go on, and keeps the instant. Called often: costs some tens of ns.
    pub(super) fn tend(&self) -> Result<(), Stop> {
        let outcome = self.until.look().and_then(|now| self.keep(now).map_err(Stop::Gone));
        outcome.map_err(|why| self.stop(why))
    }

    fn keep(&self, now: Instant) -> Result<(), Gone> {
        let mut held = self.held.lock();
        let renew = if held.pin.is_some() { PINNED_FOR } else { RENEW };
        if now.saturating_duration_since(held.since) < renew {
            return Ok(());
        }
        let lease_ms = LEASE.as_millis() as u64;
        self.instants.lease(self.as_of.epoch, (self.now_ms)(), lease_ms)?;
        (held.pin, held.since) = (None, now);
        Ok(())
    }

    /// Notes why it stops.
    pub(super) fn stop(&self, why: Stop) -> Stop {
        self.stopped.lock().get_or_insert(why).clone()
    }

    /// Why it was stopped.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stopped.lock().clone()
    }
}
