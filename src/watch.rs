//! Looks at the whole four times a second: metrics, alarms, whether we are ready.
//!
//! In: the ledger's book, the read handle, the log's sizes. Out: [`Metrics`]; log lines when an
//! alarm begins and ends; what `/health` answers.
//!
//! # Meaning
//! *Stalled*: something is sealed or waits to be read, and no epoch has completed for
//! `engine.stall_after`. *Ready*: not stalled, and caught up once with what the log held at start.

mod memory; // holds reading back before memory runs out

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;

use crate::ledger::Book;
use crate::messages::{Feeds, LeftOut, ReadHandle};
use crate::metrics::{Metrics, OfFeed, OfView};
use crate::usage;
pub use memory::Cap;

/// A sync that takes longer is told (some may take a quarter of a second more).
pub const DISK_SLOW: Duration = Duration::from_secs(1);
/// Without such a sync for so long, the disk is well again.
const DISK_WELL: Duration = Duration::from_secs(5);

/// How often it looks.
pub const PERIOD: Duration = Duration::from_millis(250);

/// What is known of our health; shared with whoever answers for it.
#[derive(Debug, Default)]
pub struct Health {
    stalled: AtomicBool,
    /// What lives is above the cap of memory.
    out_of_memory: AtomicBool,
    caught_up: AtomicBool,
    position: AtomicU64,
    awaited: u64,
    /// What is wrong with feeds, or not yet read of them.
    feeds: Mutex<Vec<String>>,
}

impl Health {
    /// Ready once the views include this position of the log.
    pub fn awaiting(position: u64) -> Health {
        Health { awaited: position, ..Health::default() }
    }

    /// Whether the frontier stands although work waits.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(SeqCst)
    }

    /// Whether what lives is above the cap of memory: nothing more is taken.
    pub fn is_out_of_memory(&self) -> bool {
        self.out_of_memory.load(SeqCst)
    }

    /// Why we are not ready; empty if we are.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.stalled.load(SeqCst) {
            troubles.push("the frontier has stopped: no epoch completes".to_string());
        }
        if self.is_out_of_memory() {
            troubles.push("what is kept needs more memory than it may have".to_string());
        }
        if self.position.load(SeqCst) < self.awaited {
            troubles.push(format!(
                "catching up: at position {} of the {} that were there at start",
                self.position.load(SeqCst),
                self.awaited
            ));
        }
        let feeds = self.feeds.lock();
        troubles.extend(feeds.iter().cloned());
        if troubles.is_empty() && !self.caught_up.load(SeqCst) {
            troubles.push("starting".to_string());
        }
        troubles
    }
}

/// What is looked at.
pub struct Watched {
    /// Epochs and counts.
    pub book: Arc<Book>,
    /// Views and undo.
    pub read: ReadHandle,
    /// Names for the counts.
    pub feeds: Feeds,
    /// Identities remembered.
    pub dedup: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// Multiplicities other than one.
    pub anomalies: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// What of `load.measured` is in no row, by tenant.
    pub left_out: Arc<dyn Fn() -> Vec<LeftOut> + Send + Sync>,
    /// Notes where the feeds end; called before the ledger is read.
    pub note_tails: Arc<dyn Fn() + Send + Sync>,
    /// Where numbers go.
    pub metrics: Metrics,
    /// Where the verdict goes.
    pub health: Arc<Health>,
    /// What of the files that were there at start is not read yet, or cannot be, in words.
    pub reading: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// For how long the disk has been at a sync of what is kept.
    pub syncing: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Whether reading is held back on purpose: that is no stall.
    pub held: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Longest time without a complete epoch while work waits.
    pub stall_after: Duration,
    /// What of memory may be used.
    pub cap: Cap,
    /// Holds reading back for memory, or lets it go on.
    pub hold_memory: Box<dyn Fn(bool) + Send>,
    /// Told at each look whether the frontier stands, and whether all is caught up.
    pub on_look: Option<Box<dyn Fn(bool, bool) + Send>>,
    /// Called once, when all is caught up.
    pub on_ready: Option<Box<dyn FnOnce() + Send>>,
}

/// How far it had come when it last moved.
struct Seen {
    epoch: u64,
    at: std::time::Instant,
    /// Where the log is to be read on, if something waits there and nothing holds it back.
    unread: Option<u64>,
    unread_at: std::time::Instant,
    /// A count that only grows.
    anomalies: u64,
    /// The same, by tenant: measurements left out, series pushed out.
    left_out: BTreeMap<String, (u64, u64)>,
}

impl Seen {
    fn new(epoch: u64) -> Seen {
        let at = crate::clock::monotonic();
        Seen { epoch, at, unread: None, unread_at: at, anomalies: 0, left_out: BTreeMap::new() }
    }
}

impl Watched {
    /// Looks until told to stop.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut seen = Seen::new(0);
        let mut disk_slow = None;
        let began = crate::clock::monotonic();
        while !stop.load(SeqCst) {
            (self.note_tails)();
            self.look(&mut seen);
            self.look_at_memory(crate::clock::since(began));
            self.look_at_disk(&mut disk_slow);
            let ready = self.health.troubles().is_empty();
            if let Some(on_look) = &self.on_look {
                on_look(self.health.is_stalled(), ready);
            }
            if ready && let Some(on_ready) = self.on_ready.take() {
                on_ready();
            }
            std::thread::park_timeout(PERIOD);
        }
        // A replay may be over before the first look that finds something.
        self.look_at_rows(&mut seen);
    }

    /// One alarm for syncs that follow one another. `slow`: when the last one was seen.
    fn look_at_disk(&self, slow: &mut Option<std::time::Instant>) {
        let took = (self.syncing)();
        if took > DISK_SLOW {
            if slow.replace(crate::clock::monotonic()).is_none() {
                self.metrics.disk_slow.set(1);
                tracing::warn!(
                    code = "watch/disk-slow",
                    took_ms = took.as_millis() as u64,
                    "the disk takes long over a sync: what is sent is acknowledged late"
                );
            }
        } else if slow.is_some_and(|it| crate::clock::since(it) > DISK_WELL) {
            *slow = None;
            self.metrics.disk_slow.set(0);
            tracing::warn!(code = "watch/disk-slow", "the disk answers in time again");
        }
    }

    fn look_at_memory(&mut self, now: Duration) {
        let resident_bytes = usage::resident_bytes();
        let verdict = self.cap.look(resident_bytes, now);
        (self.hold_memory)(verdict.held);
        self.metrics.memory_held.set(i64::from(verdict.held));
        self.health.out_of_memory.store(verdict.alarmed, SeqCst);
        if verdict.news && verdict.alarmed {
            let views_bytes: u64 = self.read.views.iter().map(|it| it.stats().bytes).sum();
            let dedup_bytes = (self.dedup)()["bytes"].as_u64().unwrap_or(0);
            tracing::error!(
                code = "watch/memory",
                resident_bytes,
                views_bytes,
                dedup_bytes,
                "what is kept needs more memory than it may have; nothing more is read"
            );
        } else if verdict.news {
            tracing::warn!(code = "watch/memory", resident_bytes, "there is room again");
        }
    }

    fn look(&self, seen: &mut Seen) {
        let as_of = *self.read.newest.borrow();
        let now = crate::clock::monotonic();
        if as_of.epoch != seen.epoch {
            (seen.epoch, seen.at) = (as_of.epoch, now);
        }
        let ledger = self.book.ledger((self.dedup)());
        let (waiting, _) = self.book.incomplete();
        let held = (self.held)() && waiting == 0;
        let behind = !held && (waiting > 0 || ledger.partitions.iter().any(|it| it.lag > 0));
        // Epochs of nothing complete while nobody reads the log; other feeds may wait for theirs.
        let is_log = |feed: &str| self.feeds.all().iter().any(|it| it.is_log && it.name == *feed);
        let log = ledger.partitions.iter().find(|it| is_log(&it.feed));
        let unread = log.filter(|it| it.lag > 0 && !(self.held)()).map(|it| it.next);
        if unread.is_none() || unread != seen.unread {
            (seen.unread, seen.unread_at) = (unread, now);
        }
        let stands = |since| crate::clock::since(since) > self.stall_after;
        let stalled = behind && stands(seen.at) || unread.is_some() && stands(seen.unread_at);
        if stalled != self.health.stalled.swap(stalled, SeqCst) {
            if stalled {
                self.metrics.stalls.one();
                tracing::error!(
                    code = "watch/stall",
                    epoch = as_of.epoch,
                    epochs_waiting = waiting,
                    log_position = unread,
                    "no epoch completes, or nothing is read of the log, although work waits"
                );
            } else {
                tracing::warn!(code = "watch/stall", epoch = as_of.epoch, "epochs complete again");
            }
        }
        self.health.position.store(as_of.position, SeqCst);
        let reading = (self.reading)();
        if as_of.position >= self.health.awaited && reading.is_empty() {
            self.health.caught_up.store(true, SeqCst);
        }
        *self.health.feeds.lock() = reading;
        self.look_at_rows(seen);
        self.measure(&ledger, as_of.epoch, waiting);
    }

    /// What is in no row and should be, or might be expected to.
    fn look_at_rows(&self, seen: &mut Seen) {
        let now = (self.anomalies)();
        if now > seen.anomalies {
            tracing::error!(
                code = "watch/anomaly",
                new = now - seen.anomalies,
                "a relation gave a record a multiplicity other than one; it is not shown"
            );
            self.metrics.anomalies.add(now - seen.anomalies);
            seen.anomalies = now;
        }
        for LeftOut { tenant, measurements, pushed_out } in (self.left_out)() {
            if !seen.left_out.contains_key(&tenant) {
                // Once: the counts go on.
                tracing::warn!(
                    code = "watch/series",
                    tenant,
                    measurements,
                    pushed_out,
                    "more series are measured than a tenant may have forecasts of; of the others nothing is kept"
                );
            }
            let before = seen.left_out.entry(tenant).or_default();
            self.metrics.left_out.add(measurements - before.0);
            self.metrics.pushed_out.add(pushed_out - before.1);
            *before = (measurements, pushed_out);
        }
    }

    fn measure(&self, ledger: &crate::messages::Ledger, epoch: u64, waiting: usize) {
        let m = &self.metrics;
        m.epoch_seconds.set(epoch as f64 / 1e3);
        m.frontier_lag_seconds.set(crate::clock::wall_ms().saturating_sub(epoch) as f64 / 1e3);
        m.epochs_waiting.set(waiting as i64);
        for feed in self.feeds.all() {
            let of = OfFeed { feed: feed.name.clone() };
            // Partitions of a feed are summed, or the worst stands for them: labels stay few.
            let lines = || ledger.partitions.iter().filter(|it| it.feed == feed.name);
            m.lag.get_or_create(&of).set(lines().map(|it| it.lag as i64).sum());
            let behind = lines().map(|it| it.lag_seconds).fold(0.0, f64::max);
            m.lag_seconds.get_or_create(&of).set(behind);
            let sum = |field: fn(&crate::messages::Counts) -> u64| {
                let lines = ledger.partitions.iter().filter(|it| it.feed == feed.name);
                lines.map(|it| field(&it.counts)).sum::<u64>()
            };
            m.read.get_or_create(&of).raise_to(sum(|it| it.read));
            m.applied.get_or_create(&of).raise_to(sum(|it| it.applied));
            m.late.get_or_create(&of).raise_to(sum(|it| it.late));
            m.duplicate.get_or_create(&of).raise_to(sum(|it| it.duplicate));
            m.skipped.get_or_create(&of).raise_to(sum(|it| it.skipped));
            m.rejected.get_or_create(&of).raise_to(sum(|it| it.rejected));
            m.lost.get_or_create(&of).raise_to(sum(|it| it.lost));
        }
        for view in self.read.views.iter() {
            let of = OfView { view: view.def().name };
            let stats = view.stats();
            m.entities.get_or_create(&of).set(stats.entities as i64);
            m.view_bytes.get_or_create(&of).set(stats.bytes as i64);
        }
        let number = |name: &str| ledger.dedup[name].as_i64().unwrap_or(0);
        m.dedup_entries.set(number("entries"));
        m.dedup_bytes.set(number("bytes"));
        m.dedup_horizon_seconds.set(number("effective_horizon_ms") as f64 / 1e3);
        m.undo_bytes.set(self.read.instants.undo_bytes() as i64);
        m.resident_bytes.set(usage::resident_bytes() as i64);
        m.cpu_centiseconds.raise_to((usage::cpu_seconds() * 100.0) as u64);
        m.log_position.raise_to(ledger.as_of.position);
    }
}

#[cfg(test)]
mod tests;
