//! One interest: who watches the same rows, and what happened to them lately.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use schemas::rows::{Value, ViewDef};
use tokio::sync::mpsc;

use super::{Account, Change, Delta, Progress, Wanted};
use crate::messages::Epoch;

/// Deltas that wait for one watcher: about five seconds of epochs.
pub(super) const QUEUED_DELTAS: usize = 1_024;
/// Bytes that wait for one watcher, unless it is one delta.
const QUEUED_BYTES: u64 = 1024 * 1024;
/// Bytes that wait for all watchers; beyond, each may have [`CROWDED_BYTES`].
const ALL_QUEUED_BYTES: u64 = 64 * 1024 * 1024;
const CROWDED_BYTES: u64 = 32 * 1024;
/// Bytes and deltas kept for those who come back.
const RING_BYTES: u64 = 256 * 1024;
const RING_DELTAS: usize = 4_096;

pub(super) struct Interest {
    pub(super) wanted: Wanted,
    pub(super) def: &'static ViewDef,
    watchers: Vec<Watcher>,
    ring: VecDeque<Arc<Delta>>,
    ring_bytes: u64,
    /// The ring has everything after this epoch.
    base: Epoch,
    idle_since: Instant,
}

impl Interest {
    pub(super) fn new(wanted: Wanted, def: &'static ViewDef, epoch: Epoch, now: Instant) -> Self {
        Interest {
            wanted,
            def,
            watchers: Vec::new(),
            ring: VecDeque::new(),
            ring_bytes: 0,
            base: epoch,
            idle_since: now,
        }
    }

    pub(super) fn join(&mut self, watcher: Watcher) {
        self.watchers.push(watcher);
    }

    /// To every watcher, and into the ring. How many watchers were let go for being slow.
    pub(super) fn hand_out(&mut self, delta: Delta, progress: &Progress) -> u64 {
        let delta = Arc::new(delta);
        let mut slow = 0;
        self.watchers.retain_mut(|it| {
            let handed = it.hand(&delta, progress);
            slow += u64::from(it.account.slow.load(SeqCst));
            handed
        });
        self.ring_bytes += delta.bytes;
        self.ring.push_back(delta);
        while self.ring_bytes > RING_BYTES || self.ring.len() > RING_DELTAS {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.bytes;
            self.base = oldest.as_of.epoch;
        }
        slow
    }

    /// What the ring has after an epoch, if it has all of it.
    pub(super) fn since(&self, epoch: Epoch) -> Option<Vec<Arc<Delta>>> {
        let later = self.ring.iter().filter(|it| it.as_of.epoch > epoch).map(Arc::clone);
        (epoch >= self.base).then(|| later.collect())
    }

    /// Nothing is known up to this epoch; watchers are let go.
    pub(super) fn forget(&mut self, epoch: Epoch) {
        self.watchers.clear();
        self.ring.clear();
        self.ring_bytes = 0;
        self.base = epoch;
    }

    /// How long nobody has watched.
    pub(super) fn idle(&mut self, now: Instant) -> Option<Duration> {
        self.watchers.retain(|it| !it.queue.is_closed());
        if !self.watchers.is_empty() {
            self.idle_since = now;
            return None;
        }
        Some(now.saturating_duration_since(self.idle_since))
    }
}

/// One watcher's queue.
pub(super) struct Watcher {
    queue: mpsc::Sender<Arc<Delta>>,
    account: Arc<Account>,
}

impl Watcher {
    pub(super) fn new(queue: mpsc::Sender<Arc<Delta>>, account: Arc<Account>) -> Watcher {
        Watcher { queue, account }
    }

    /// Queues a delta; false if the watcher has left or is let go for being slow.
    pub(super) fn hand(&mut self, delta: &Arc<Delta>, progress: &Progress) -> bool {
        let crowded = progress.queued.load(SeqCst) > ALL_QUEUED_BYTES;
        let limit = if crowded { CROWDED_BYTES } else { QUEUED_BYTES };
        let waiting = self.account.bytes.load(SeqCst);
        let fits = waiting == 0 || waiting + delta.bytes <= limit;
        // Counted first: the receiver may take it, and count it off, at once.
        self.account.bytes.fetch_add(delta.bytes, SeqCst);
        progress.queued.fetch_add(delta.bytes, SeqCst);
        let handed = fits && self.queue.try_send(Arc::clone(delta)).is_ok();
        if !handed {
            self.account.bytes.fetch_sub(delta.bytes, SeqCst);
            progress.queued.fetch_sub(delta.bytes, SeqCst);
            self.account.slow.store(!self.queue.is_closed(), SeqCst);
        }
        handed
    }
}

/// About how much memory a change takes.
pub(super) fn weight(change: &Change) -> u64 {
    fn json(value: &serde_json::Value) -> u64 {
        match value {
            serde_json::Value::String(it) => it.len() as u64 + 32,
            serde_json::Value::Array(all) => 32 + all.iter().map(json).sum::<u64>(),
            serde_json::Value::Object(all) => {
                32 + all.iter().map(|(name, it)| name.len() as u64 + 32 + json(it)).sum::<u64>()
            }
            _ => 32,
        }
    }
    let values = change.row.iter().flat_map(|row| &row.values);
    let values: u64 = values
        .map(|value| match value {
            Value::Text(it) => it.len() as u64 + 32,
            Value::Json(it) => 32 + json(it),
            _ => 32,
        })
        .sum();
    96 + change.name.key().len() as u64 + values
}
