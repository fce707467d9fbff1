//! The sealed models of arrival of this process, and which of them speaks of which order.
//!
//! In: [`Speaker`]s, each with the instant from which it speaks. Out: to whoever makes a row, what is
//! said of an order, and by whom; and to whoever tells what is stuck, how long nothing is usually said.
//!
//! # Meaning
//! Of an order speaks the newest model whose instant is not after the one at which the order entered
//! its stage, by its own event time. So what is said depends on the order and on what was published,
//! and is never made anew (test: `the_newest_before_its_own_time_speaks`). In the same way the newest
//! model whose instant is not after an order's newest statement says how long nothing is usually said
//! of it then, for [`SHOWN`] from that statement on; so here, too, the oldest can be taken away.
//!
//! # Invariants
//! - Instants strictly increase. A model is added while no worker has a chunk, with an instant after
//!   every event time that was read (the door's matter): no row is changed by it.
//! - The oldest are taken away only when no order is told by them any more ([`SHOWN`]).
//!
//! # State
//! The bodies, 1.3 megabytes each at the most, and an eighth of one for silences; how many there may be
//! is the business of those who add them. The rates of at most [`LANES_MAX`] lanes are kept beside, ten
//! megabytes for all models together; when there are more all of them are made again.
//!
//! # Why this way
//! A row is made by whoever reads it, by functions without settings, so the models are of the
//! process, as [`crate::health::set_terms`]. Who reads all rows would make the rates of a lane again
//! for each of its orders, an exponential for each quarter of eighty days and each key. What depends on
//! the quarter of the week is not kept: there would be 28 times as many.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use compact_str::CompactString;
use hashbrown::HashMap;
use parking_lot::RwLock;
use schemas::events::Status;

use super::eta::{Arrival, Fitted, Reason};
use super::lanes::{QUARTER, QUARTERS_MAX, Way};

/// The rates of so many lanes and models are kept.
pub const LANES_MAX: usize = 4_096;

/// How long an order is told when it arrives, from entering its stage: eighty days, beyond which
/// nothing is told apart. Microseconds.
pub const SHOWN: i64 = QUARTERS_MAX as i64 * QUARTER;

/// A model, and of what it speaks.
pub struct Speaker {
    since: i64,
    name: CompactString,
    model: Fitted,
}

impl Speaker {
    /// A model that speaks of orders which enter a stage from this instant on (microseconds since
    /// the Unix epoch), under this name.
    pub fn new(model: Fitted, name: &str, since: i64) -> Speaker {
        Speaker { since, name: name.into(), model }
    }
}

/// By instant of the model, and keys of a lane.
type Rates = HashMap<(i64, Box<[u64]>), Arc<[f64]>>;

/// All of them, in the order in which they were published.
pub struct Arrivals {
    all: RwLock<Arc<[Arc<Speaker>]>>,
    rates: RwLock<Rates>,
    /// From when on one speaks, and from when on one may say how long nothing is usually said. Of what
    /// is older nobody is asked and nothing is locked: the first is looked at for each stage of an
    /// order that arrived, the second for every statement about one.
    speaks_from: AtomicI64,
    patient_from: AtomicI64,
}

impl Default for Arrivals {
    fn default() -> Arrivals {
        Arrivals {
            all: RwLock::default(),
            rates: RwLock::default(),
            speaks_from: AtomicI64::new(i64::MAX),
            patient_from: AtomicI64::new(i64::MAX),
        }
    }
}

static PUBLISHED: LazyLock<Arrivals> = LazyLock::new(Arrivals::default);

/// Those of this process.
pub fn published() -> &'static Arrivals {
    &PUBLISHED
}

impl Arrivals {
    /// These and no others, in order: before anything is read.
    pub fn set(&self, all: Vec<Speaker>) {
        let mut these = self.all.write();
        *these = all.into_iter().map(Arc::new).collect();
        self.look_over(&these);
        self.rates.write().clear();
    }

    /// One more, whose instant is after those of all before it; false, and nothing is added, if it
    /// is not.
    pub fn add(&self, speaker: Speaker) -> bool {
        let mut all = self.all.write();
        if all.last().is_some_and(|it| it.since >= speaker.since) {
            return false;
        }
        let more = all.iter().cloned().chain([Arc::new(speaker)]);
        *all = more.collect();
        self.look_over(&all);
        true
    }

    /// Takes away those that speak from before this instant on.
    pub fn forget(&self, before: i64) {
        let mut all = self.all.write();
        *all = all.iter().filter(|it| it.since >= before).cloned().collect();
        self.look_over(&all);
    }

    fn look_over(&self, all: &[Arc<Speaker>]) {
        let since = |first: Option<&Arc<Speaker>>| first.map_or(i64::MAX, |it| it.since);
        self.speaks_from.store(since(all.first()), Ordering::SeqCst);
        let patient = all.iter().find(|it| !it.model.patience().is_empty());
        self.patient_from.store(since(patient), Ordering::SeqCst);
    }

    /// How long nothing is said, at the most, of nineteen of twenty orders that stand there, where
    /// something was said of one at an instant; microseconds. Nothing, if that is not known.
    #[inline]
    pub fn patience<'p>(
        &self,
        tenant: &str,
        status: Status,
        said_at: i64,
        places: impl FnOnce() -> [Option<&'p str>; 2],
    ) -> Option<i64> {
        self.patient(tenant, status, said_at, places, |_, usual| usual)
    }

    /// The same, and the name of who says so.
    pub fn patience_by<'p>(
        &self,
        tenant: &str,
        status: Status,
        said_at: i64,
        places: impl FnOnce() -> [Option<&'p str>; 2],
    ) -> Option<(i64, CompactString)> {
        self.patient(tenant, status, said_at, places, |by, usual| (usual, by.name.clone()))
    }

    /// Whether anybody says so of something that was said up to an instant.
    #[inline]
    pub fn is_patient_by(&self, at: i64) -> bool {
        at >= self.patient_from.load(Ordering::Relaxed)
    }

    #[inline]
    fn patient<'p, T>(
        &self,
        tenant: &str,
        status: Status,
        said_at: i64,
        places: impl FnOnce() -> [Option<&'p str>; 2],
        told: impl FnOnce(&Speaker, i64) -> T,
    ) -> Option<T> {
        if !self.is_patient_by(said_at) {
            return None;
        }
        let all = self.all.read();
        let it = all.iter().rfind(|it| it.since <= said_at)?;
        it.model.patience().of(tenant, status, places()).map(|usual| told(it, usual))
    }

    /// When an order arrives that entered a stage at an instant, and the name of who says so.
    pub fn of(
        &self,
        way: &Way<'_>,
        stage: Status,
        entered: i64,
    ) -> Option<(Arrival, CompactString)> {
        if entered < self.speaks_from.load(Ordering::Relaxed) {
            return None;
        }
        let all = Arc::clone(&self.all.read());
        let it = all.iter().rfind(|it| it.since <= entered)?;
        let lane = it.model.lane(way, stage)?;
        let key = (it.since, Box::from(lane.keys()));
        let known = self.rates.read().get(&key).cloned();
        let rates = known.unwrap_or_else(|| {
            let made = it.model.rates(&lane);
            let mut rates = self.rates.write();
            if rates.len() >= LANES_MAX {
                rates.clear();
            }
            rates.insert(key, Arc::clone(&made));
            made
        });
        Some((it.model.by_rates(&lane, &rates, entered), it.name.clone()))
    }

    /// What that leans on.
    pub fn reasons(&self, way: &Way<'_>, stage: Status, entered: i64) -> Vec<Reason> {
        let all = Arc::clone(&self.all.read());
        let it = all.iter().rfind(|it| it.since <= entered);
        it.map_or_else(Vec::new, |it| it.model.reasons(way, stage))
    }
}

#[cfg(test)]
mod tests;
