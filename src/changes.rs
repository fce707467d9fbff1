//! Gathers what changed in each complete epoch and hands it to everyone who watches.
//!
//! ```text
//!  complete epochs ─▶ gatherer (a thread) ─▶ interest: rows of one tenant's view ─▶ its watchers
//!                      changes(last, now)      ring of its recent changes            bounded queues
//! ```
//!
//! In: [`ReadHandle`]. Out: [`Delta`]s, one per interest and gathered instant.
//!
//! # Meaning
//! What a watcher is handed, applied to the rows it had at its first epoch, gives the rows at each
//! later one. Epochs that complete while the gatherer works are gathered
//! together: never half of one.
//!
//! # State
//! One *interest* per distinct (tenant, view, key or filters), shared by all who watch the same: it
//! is matched and encoded once. An interest keeps its recent deltas (bounded) and lives on for
//! [`gatherer::LINGER`] after its last watcher has left, so that who comes back goes on where it was.
//!
//! # When it fails
//! A watcher whose queue is full is let go and told ([`Subscription::ended`]); nobody else notices.

mod gatherer; // the thread: one complete epoch's changes, to everyone who is interested
mod interest; // one of what is watched: its recent changes and its watchers

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use schemas::names::Name;
use schemas::reading::Pin;
use schemas::rows::{Row, ViewDef};
use tokio::sync::{mpsc, oneshot};

use crate::messages::{AsOf, Epoch, ReadHandle};
use crate::metrics::Metrics;
use gatherer::Gatherer;

/// Requests to watch that wait for the gatherer.
const WAITING: usize = 256;

/// What is watched: rows of one tenant in one view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Whose.
    pub tenant: String,
    /// Index into [`ReadHandle::views`].
    pub view: usize,
    /// Which rows.
    pub select: Select,
}

/// Which rows are watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Select {
    /// The one with this key text.
    Key(String),
    /// Those whose fields equal these texts (all, if there are none); sorted.
    Filters(Vec<(usize, String)>),
}

impl Select {
    /// What is asked of rows; nothing, where one key is.
    pub fn filters(&self) -> &[(usize, String)] {
        match self {
            Select::Key(_) => &[],
            Select::Filters(filters) => filters,
        }
    }

    /// Whether a row (of the right key) is among them.
    pub fn wants(&self, row: &Row) -> bool {
        match self {
            Select::Key(_) => true,
            Select::Filters(filters) => {
                filters.iter().all(|(at, text)| row.values[*at].matches(text))
            }
        }
    }
}

/// How a row changed, as a watcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is now among those watched.
    Enter,
    /// It still is, and is not as it was.
    Update,
    /// It no longer is.
    Leave,
}

/// One row's change.
#[derive(Clone, Debug)]
pub struct Change {
    /// How.
    pub kind: Kind,
    /// The row's name.
    pub name: Name,
    /// The row as it is now; none for [`Kind::Leave`].
    pub row: Option<Arc<Row>>,
}

/// Changes of one interest up to an instant; never empty; by key.
#[derive(Debug)]
pub struct Delta {
    /// The instant.
    pub as_of: AsOf,
    /// The view.
    pub def: &'static ViewDef,
    /// The changes.
    pub changes: Vec<Change>,
    /// About how much memory it takes.
    pub bytes: u64,
    encoded: OnceLock<Bytes>,
}

impl Delta {
    /// As bytes; made by the first who asks and shared by all.
    pub fn encoded(&self, encode: impl FnOnce(&Delta) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
}

/// From when a watcher wants the changes.
pub enum After {
    /// From an instant that it still holds.
    Held(Pin),
    /// From an epoch that it was told of, some time ago.
    Told(Epoch),
}

/// The changes since that epoch are no longer known: read the rows anew.
#[derive(Debug, PartialEq, Eq)]
pub struct Expired;

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its queue was full.
    Slow,
    /// The gatherer has ended, or lost the thread.
    Over,
}

/// The way to the gatherer. Dropping it ends the thread.
pub struct Changes {
    requests: mpsc::Sender<Request>,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Everything up to this epoch is in the queues.
    gathered: AtomicU64,
    /// Bytes in all queues.
    queued: AtomicU64,
}

struct Request {
    wanted: Wanted,
    after: After,
    answer: oneshot::Sender<Result<Subscription, Expired>>,
}

/// What one watcher is handed.
#[derive(Debug)]
pub struct Subscription {
    queue: mpsc::Receiver<Arc<Delta>>,
    account: Arc<Account>,
    progress: Arc<Progress>,
}

/// What waits for one watcher.
#[derive(Debug, Default)]
struct Account {
    bytes: AtomicU64,
    slow: AtomicBool,
}

impl Subscription {
    /// The next changes; none: see [`Subscription::ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Delta>> {
        let delta = self.queue.recv().await?;
        self.account.bytes.fetch_sub(delta.bytes, SeqCst);
        self.progress.queued.fetch_sub(delta.bytes, SeqCst);
        Some(delta)
    }

    /// Why there is nothing more.
    pub fn ended(&self) -> Ended {
        if self.account.slow.load(SeqCst) { Ended::Slow } else { Ended::Over }
    }

    /// The epoch up to which everything was taken, if nothing waits.
    pub fn caught_up(&self) -> Option<Epoch> {
        // In this order: what is queued after the first look belongs to a later epoch.
        let gathered = self.progress.gathered.load(SeqCst);
        self.queue.is_empty().then_some(gathered)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
        while let Ok(delta) = self.queue.try_recv() {
            self.progress.queued.fetch_sub(delta.bytes, SeqCst);
        }
    }
}

impl Changes {
    /// Starts the gatherer, on a thread of its own: it computes, and would hold up a reactor.
    pub fn start(
        read: ReadHandle,
        metrics: Metrics,
        now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> std::io::Result<Changes> {
        let (requests, waiting) = mpsc::channel(WAITING);
        let progress = Arc::new(Progress::default());
        let gatherer = Gatherer::new(read, metrics, now_ms, Arc::clone(&progress));
        // A runtime of its own: the server's ends before this thread has seen that it is to end,
        // and its timers would panic then.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new()
            .name("changes".into())
            .spawn(move || runtime.block_on(gatherer.run(waiting)))?;
        Ok(Changes { requests, progress })
    }

    /// Watches these rows from then on.
    pub async fn subscribe(&self, wanted: Wanted, after: After) -> Result<Subscription, Expired> {
        let (answer, answered) = oneshot::channel();
        let request = Request { wanted, after, answer };
        if self.requests.send(request).await.is_err() {
            return Err(Expired);
        }
        answered.await.unwrap_or(Err(Expired))
    }

    /// Everything up to this epoch has been handed on.
    pub fn gathered(&self) -> Epoch {
        self.progress.gathered.load(SeqCst)
    }
}
