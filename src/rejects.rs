//! Keeps what could not be decoded or was refused, with its report, until it is retried or old.
//!
//! In: [`Rejected`] records from the workers. Out: pages of [`Reject`]s, counts, and retried
//! records to the embedded log.
//!
//! ```text
//!  worker ─put─▶ queue (bounded) ─▶ keeper thread ─▶ segments
//!                     full: counted     └─▶ index ◀─ list, get, counts, retry
//! ```
//!
//! # Invariants
//! - A worker never waits. What the queue has no room for is counted as not kept; what is pushed
//!   out by newer ones is counted as summarised. Nothing goes silently.
//! - One record read twice is one reject: (feed, partition, offset, code, bytes) is its identity.
//!   Of what was pushed out only the highest offset is known, by feed, partition and code: a
//!   record at or below it is taken for one that is read again, and counted as repeated.
//! - A reject is retried once. One is no record that was read and is not retried: a message whose text
//!   could not be made ([`UNSAID`]), at the position of what planned it.
//!
//! # State
//! At most `rejects.max_bytes` on disk; in memory some 100 bytes for each that is kept.
//!
//! # When it fails
//! While the disk cannot be written, rejects wait in the queue; the ledger counts them in any
//! case.

mod index;
mod keeper;
mod kept;
mod record;
mod retry;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use parking_lot::{Mutex, MutexGuard};
use schemas::problem::CODES;

use crate::config;
use crate::messages::{Feeds, Rejected, UNSAID};
use crate::report::Report;
use crate::segments::{self, Contents, Folder, OnDamage};

use index::Index;
pub use keeper::Theirs;
pub use kept::{Kept, Looking};
pub use record::{Count, Filter, Page, Reject};
pub use retry::{Retried, Select, Skipped};

/// The layout of a block's payload; another one is another schema hash, and refused.
const CONTENTS: Contents = Contents::new(
    *b"rjct",
    "rejects 1: tag 0 (len u32, head as JSON, bytes); tag 1 retried, JSON; tag 2 summary, JSON",
);

/// The name of their folder in the data folder.
pub const DIR: &str = "rejects";

/// Rejects waiting for the keeper: a thousand a second is far below, a feed that is nothing but
/// rejects is not to fill the memory.
const QUEUE: usize = 16 * 1024;
/// The same, in bytes.
const QUEUE_BYTES: u64 = 16 << 20;

/// Where the time comes from: milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The kept rejects. Clones share them; the last one to go closes the store.
#[derive(Clone)]
pub struct RejectStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Sender<keeper::Work>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    notes: Vec<Report>,
}

/// What the keeper and those who ask share.
struct Shared {
    feeds: Feeds,
    clock: Clock,
    kept: Kept,
    max_bytes: u64,
    pressure: keeper::Pressure,
    /// One retry at a time.
    retrying: Mutex<()>,
}

impl RejectStore {
    /// Opens the store in this folder.
    pub fn open(
        dir: &Path,
        settings: &config::Rejects,
        feeds: Feeds,
        on_damage: OnDamage,
        clock: Clock,
    ) -> Result<RejectStore, Report> {
        // Eight segments and more, so that what is pushed out at once is a small part.
        let segment_bytes = (settings.max_bytes / 8).clamp(64 << 10, 32 << 20);
        let what = "the kept rejects";
        let opened = segments::open(dir, CONTENTS, on_damage, segment_bytes, what, clock())?;
        let index = Index::load(&opened.folder)?;
        index.remove_leftovers(&opened.folder, clock())?;
        let keeper = keeper::Keep::Disk(Box::new(opened.writer));
        Self::start(settings, feeds, clock, Some(opened.folder), index, keeper, opened.notes)
    }

    /// A store that forgets when the process ends, for commands that have no data folder.
    pub fn in_memory(
        settings: &config::Rejects,
        feeds: Feeds,
        clock: Clock,
    ) -> Result<RejectStore, Report> {
        let keeper = keeper::Keep::Memory { next: 0 };
        Self::start(settings, feeds, clock, None, Index::default(), keeper, Vec::new())
    }

    fn start(
        settings: &config::Rejects,
        feeds: Feeds,
        clock: Clock,
        folder: Option<Arc<Folder>>,
        index: Index,
        keep: keeper::Keep,
        notes: Vec<Report>,
    ) -> Result<RejectStore, Report> {
        let shared = Arc::new(Shared {
            feeds,
            clock,
            kept: Kept::new(folder, index),
            max_bytes: settings.max_bytes,
            pressure: keeper::Pressure::default(),
            retrying: Mutex::new(()),
        });
        let (queue, work) = bounded(QUEUE);
        let keeper = keeper::Keeper::new(shared.clone(), keep, work);
        let thread = std::thread::Builder::new()
            .name("rejects".into())
            .spawn(move || keeper.run())
            .map_err(|why| Report {
                code: "rejects/no-thread",
                what: "could not start the thread that keeps rejects".into(),
                at: vec![],
                why: why.to_string(),
                effect: "nothing was read or written".into(),
                fix: "raise the limit of threads for this user".into(),
            })?;
        let keeper = Mutex::new(Some(thread));
        Ok(RejectStore { inner: Arc::new(Inner { shared, queue, keeper, notes }) })
    }

    /// What was found at opening and dealt with.
    pub fn notes(&self) -> &[Report] {
        &self.inner.notes
    }

    /// Takes a reject. Never waits.
    pub fn put(&self, rejected: Rejected) {
        let shared = &self.inner.shared;
        let bytes = keeper::size(&rejected);
        let (feed, code) = (rejected.partition.0, rejected.problem.code);
        let room = shared.pressure.take(bytes);
        if !room || self.inner.queue.try_send(keeper::Work::Keep(Box::new(rejected))).is_err() {
            if room {
                shared.pressure.give_back(bytes);
            }
            shared.pressure.miss(feed, code);
        }
    }

    /// The rejects, to be looked at.
    pub fn kept(&self) -> &Kept {
        &self.inner.shared.kept
    }

    /// A page of rejects, the newest first; `before` is the previous page's `next`.
    pub fn list(&self, filter: &Filter, limit: usize, before: Option<u64>) -> Result<Page, Report> {
        self.kept().list(filter, limit, before)
    }

    /// One reject.
    pub fn get(&self, id: u64) -> Result<Option<Reject>, Report> {
        self.kept().get(id)
    }

    /// How many there are and were, by feed and code.
    pub fn counts(&self) -> Vec<Count> {
        self.count_missed().counts()
    }

    /// Reasons and feeds by which rejects can be asked for: every reason a record can be rejected
    /// for, or a message, every feed that is read, and those of what is kept.
    pub fn known(&self) -> (Vec<String>, Vec<String>) {
        let reasons = CODES.iter().chain([&UNSAID]);
        let mut reasons: BTreeSet<String> = reasons.map(|it| it.to_string()).collect();
        let feeds = self.inner.shared.feeds.all();
        let mut feeds: BTreeSet<String> = feeds.iter().map(|it| it.name.clone()).collect();
        for it in self.counts() {
            reasons.insert(it.code);
            feeds.insert(it.feed);
        }
        (reasons.into_iter().collect(), feeds.into_iter().collect())
    }

    /// How many are kept, were pushed out by newer ones, were never kept.
    pub fn totals(&self) -> (u64, u64, u64) {
        self.count_missed().totals()
    }

    /// The index, with all in it that were not kept until now.
    fn count_missed(&self) -> MutexGuard<'_, Index> {
        let shared = &self.inner.shared;
        let mut index = shared.kept.index();
        for ((feed, code), n) in shared.pressure.missed() {
            let name = shared.feeds.get(feed).map_or_else(|| "?".into(), |it| it.name.clone());
            index.not_kept(&name, code, n);
        }
        index
    }

    /// Overwrites the bytes of rejects that are `theirs`; what was found in them, too. Gives how many
    /// that were. Their places, reasons and numbers stay.
    pub fn blank(&self, theirs: Theirs) -> Result<u64, Report> {
        let (done, waits) = bounded(1);
        let asked = self.inner.queue.send(keeper::Work::Blank(theirs, done));
        // Closed meanwhile: what is not overwritten now is at the next start.
        if asked.is_err() { Ok(0) } else { waits.recv().unwrap_or(Ok(0)) }
    }

    /// Waits until all that was taken is durable; `false` if that took longer than `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, waits) = bounded(1);
        self.inner.queue.send_timeout(keeper::Work::Flush(done), limit).is_ok()
            && waits.recv_timeout(limit).is_ok()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.pressure.close();
        let told = self.queue.send(keeper::Work::Close);
        if let Some(thread) = self.keeper.lock().take()
            && (thread.join().is_err() || told.is_err())
        {
            tracing::error!("the thread that keeps rejects panicked");
        }
    }
}
