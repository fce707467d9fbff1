//! The embedded log: takes events durably, and is read back as it grows.
//!
//! In: blocks of records through [`Append`] and [`AppendRetried`]. Out: an answer once a block is
//! on the disk, and [`Chunk`](crate::messages::Chunk)s to an [`Outlet`].
//!
//! ```text
//!  append ─▶ queue (bounded in bytes) ─▶ writer thread: one write, one sync, answers
//!                                             └─▶ durable ─▶ reader threads ─▶ Outlet
//! ```
//!
//! # Meaning
//! One call is one block, there whole or not at all; a position is given once and never changes.
//! `tests/log.rs` kills the process in a loop and looks.
//!
//! # Invariants
//! - A reader never sees a block before it is durable.
//! - Own facts are never aged out; every other record leaves with its segment.
//!
//! # When it fails
//! A full or failing disk refuses the appends waiting for it with its report; nothing of them is
//! kept; the next append tries again.

mod blank;
mod follow;
mod record;
mod retention;
mod show;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::config;
use crate::messages::{
    Append, AppendRefused, AppendRetried, Appended, FeedId, FormatOf, Outlet, Retry,
};
use crate::metrics::Durations;
use crate::report::Report;
use crate::segments::{self, Contents, Folder, OnDamage};

pub use blank::Judged;
pub use follow::{Following, PARTITION};
pub use record::Kind;
pub use show::{Looking, OnRecord, Shown, Stats};

/// The name of its folder in the data folder.
pub const DIR: &str = "log";

/// The name of its feed.
pub const FEED: &str = "log";

/// The layout of a block's payload; another one is another schema hash, and refused.
const CONTENTS: Contents = Contents::new(
    *b"evlg",
    "event log 1; tag 0 events, 1 own facts: (len u32, bytes)*; \
     tag 2 retried: (len u32, origin as JSON, len u32, bytes)*",
);

/// Told at once when the log cannot be read further; the report comes from [`Following::join`].
pub type OnFailed = Arc<dyn Fn(&Report) + Send + Sync>;

/// Where the log gets the time from: milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The embedded log, opened. Dropping it ends it as [`LocalLog::close`] does.
pub struct LocalLog {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    notes: Vec<Report>,
}

/// What the threads share.
struct Shared {
    folder: Arc<Folder>,
    queue: Mutex<write::Queue>,
    /// Rung when the writer has something to do.
    work: Condvar,
    /// The next position, all below being durable.
    durable: Mutex<u64>,
    /// Rung when it has grown, or when a reader is to stop.
    grown: Condvar,
    closing: AtomicBool,
    settings: config::Log,
    clock: Clock,
    retention: retention::Bell,
    /// The segment that is being written is to be ended.
    end_segment: AtomicBool,
    /// From this position on everything is kept: a start would read it.
    needed: AtomicU64,
    /// More lies there than may, and all of it is needed.
    overfull: AtomicBool,
    /// Told how long each group took, if anybody wants to know.
    commits: OnceLock<Durations>,
}

impl LocalLog {
    /// Its segments, to be copied or verified.
    pub fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.shared.folder)
    }

    /// Opens the log in this folder, making it if need be, and begins to take appends.
    pub fn open(
        dir: &Path,
        settings: &config::Log,
        on_damage: OnDamage,
        clock: Clock,
    ) -> Result<LocalLog, Report> {
        let what = "the event log";
        let opened =
            segments::open(dir, CONTENTS, on_damage, settings.segment_bytes, what, clock())?;
        let shared = Arc::new(Shared {
            queue: Mutex::new(write::Queue::default()),
            work: Condvar::new(),
            durable: Mutex::new(opened.writer.next()),
            grown: Condvar::new(),
            closing: AtomicBool::new(false),
            settings: settings.clone(),
            clock,
            retention: retention::Bell::default(),
            end_segment: AtomicBool::new(false),
            needed: AtomicU64::new(0),
            overfull: AtomicBool::new(false),
            commits: OnceLock::new(),
            folder: opened.folder,
        });
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work).map_err(no_thread)
        };
        let (to_write, to_retain) = (shared.clone(), shared.clone());
        let writer = opened.writer;
        let threads = vec![
            spawn("log-writer", Box::new(move || write::run(&to_write, writer)))?,
            spawn("log-retention", Box::new(move || retention::run(&to_retain)))?,
        ];
        Ok(LocalLog { shared, threads: Mutex::new(threads), notes: opened.notes })
    }

    /// From now on tells how long each group took to be written and made durable.
    pub fn measure(&self, commits: &Durations) {
        self.shared.commits.get_or_init(|| commits.clone());
    }

    /// For whoever knows from which position on records are needed. Until that is told none are
    /// aged out.
    pub fn needed(&self) -> Needed {
        Needed(Arc::clone(&self.shared))
    }

    /// What was found at opening and dealt with: a tail cut off, damage skipped.
    pub fn notes(&self) -> &[Report] {
        &self.notes
    }

    /// First position that is still there.
    pub fn first(&self) -> u64 {
        self.shared.folder.range().0
    }

    /// The next position: every record below is durable.
    pub fn end(&self) -> u64 {
        *self.shared.durable.lock()
    }

    /// Reads from the position on and follows the log as it grows, on a thread of its own.
    /// `formats` says how a retried record is to be read. A position that the log has not reached
    /// is refused: what it came from was another log, or one that has lost its end.
    pub fn read_from(
        &self,
        position: u64,
        feed: FeedId,
        outlet: Outlet,
        formats: FormatOf,
        on_failed: OnFailed,
    ) -> Result<Following, Report> {
        let end = self.end();
        if position > end {
            return Err(Report {
                code: "ingest/position-ahead",
                what: "cannot read the event log from a position that it has not reached".into(),
                at: vec![
                    ("folder", self.shared.folder.dir.display().to_string()),
                    ("position", position.to_string()),
                ],
                why: format!("the log ends before position {end}"),
                effect: "nothing was read".into(),
                fix: "restore the log that belongs to this data folder".into(),
            });
        }
        follow::start(self.shared.clone(), position, feed, outlet, formats, on_failed)
    }

    /// Sizes, positions, times.
    pub fn stats(&self) -> Stats {
        let queue = self.shared.queue.lock();
        show::stats(&self.shared.folder, queue.bytes, queue.failing)
    }

    /// Up to `limit` records from the position on.
    pub fn show(&self, from: u64, limit: usize) -> Result<Vec<Shown>, Report> {
        show::show(&self.shared.folder, from, limit)
    }

    /// Hands over a block of our own facts (models, claims, erasures); they are never aged out.
    pub fn append_facts(&self, records: Vec<Vec<u8>>) -> Answer {
        self.shared.push(Kind::Fact, records.len(), record::plain(&records))
    }

    /// Writes what was handed over, ends the segment and stops every thread of the log.
    pub fn close(&self) {
        self.shared.close();
        for it in self.threads.lock().drain(..) {
            if it.join().is_err() {
                tracing::error!("a thread of the event log panicked");
            }
        }
    }
}

/// Tells a log what it has to keep.
#[derive(Clone)]
pub struct Needed(Arc<Shared>);

impl Needed {
    /// Records below this position are needed by nobody: they may be aged out.
    pub fn from(&self, position: u64) {
        self.0.needed.store(position, Ordering::SeqCst);
        if self.0.overfull.load(Ordering::SeqCst) {
            self.0.retention.ring();
        }
    }
}

/// The answer to come, or why there will be none.
pub type Answer = Result<oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused>;

impl Append for LocalLog {
    fn append(&self, records: Vec<Vec<u8>>) -> Answer {
        self.shared.push(Kind::Event, records.len(), record::plain(&records))
    }
}

impl AppendRetried for LocalLog {
    fn append_retried(&self, records: Vec<Retry>) -> Answer {
        self.shared.push(Kind::Retried, records.len(), record::retried(&records))
    }
}

pub(super) fn no_thread(why: std::io::Error) -> Report {
    Report {
        code: "ingest/no-thread",
        what: "could not start a thread that reads or writes".into(),
        at: vec![],
        why: why.to_string(),
        effect: "nothing was read or written".into(),
        fix: "raise the limit of threads for this user".into(),
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        // Under the locks, so that nobody checks before and waits after.
        drop(self.queue.lock());
        self.work.notify_all();
        drop(self.durable.lock());
        self.grown.notify_all();
        self.retention.ring();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}
