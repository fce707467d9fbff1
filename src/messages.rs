//! What one room hands the next. Plain values: public fields, little behaviour, no I/O.

pub(crate) mod buffers; // for what is read, used again
pub mod marks; // what people say of messages
pub mod queues; // what is asked of the desk, and what it answers
pub mod sql; // what is asked in SQL, and what comes back

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::mapping::Mapping;
use schemas::problem::Problem;
use schemas::reading::{Instants, ViewReader};

use crate::report::Report;

pub use schemas::reading::Epoch;

/// Where we read: a file, the embedded log, later a topic. An index into the list of feeds.
pub type FeedId = u16;

/// From here on: the feed of the id less this, read once more for views that are built again. No
/// feed of its own, and in no ledger.
pub const BACKFILL: FeedId = 1 << 15;

/// The feed that this is, be it read once more.
pub fn of_backfill(feed: FeedId) -> FeedId {
    feed % BACKFILL
}

/// A partition of a feed.
pub type Partition = (FeedId, u32);

/// The next offset to read, per partition. Everything below has been read.
pub type Offsets = BTreeMap<Partition, u64>;

/// A feed as others name it.
#[derive(Clone, Debug)]
pub struct Feed {
    /// `log`, `orders`, `shop/crm.orders` (a topic of the Kafka feed `shop`); unique.
    pub name: String,
    /// The name of its mapping, as a retried reject's origin says it; native if absent.
    pub mapping: Option<String>,
    /// How its records are to be read: native CloudEvents, or through a mapping.
    pub format: Format,
    /// The embedded log: its offsets are the positions that HTTP answers speak of.
    pub is_log: bool,
    /// Our own facts are taken from it as they stand there: a file that is read by a process
    /// without a log, which tells nobody anything. (Those of the log are known by how it took them.)
    pub takes_own: bool,
    /// What is behind the name (a topic's id), where that can change.
    pub identity: Option<String>,
}

/// Every feed, by [`FeedId`]. Shared; only grows, because a topic may be found while we run.
#[derive(Clone, Debug, Default)]
pub struct Feeds(Arc<parking_lot::RwLock<Vec<Arc<Feed>>>>);

impl Feeds {
    /// These, in the order of their ids.
    pub fn new(feeds: Vec<Feed>) -> Feeds {
        Feeds(Arc::new(parking_lot::RwLock::new(feeds.into_iter().map(Arc::new).collect())))
    }

    /// The feed of this id.
    ///
    /// # Panics
    /// If there is none: ids come from here.
    pub fn of(&self, id: FeedId) -> Arc<Feed> {
        Arc::clone(&self.0.read()[usize::from(id)])
    }

    /// The feed of this id, if there is one.
    pub fn get(&self, id: FeedId) -> Option<Arc<Feed>> {
        self.0.read().get(usize::from(id)).map(Arc::clone)
    }

    /// All, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Feed>> {
        self.0.read().clone()
    }

    /// One more. `None`: there are as many as there can be.
    pub fn add(&self, feed: Feed) -> Option<FeedId> {
        let mut all = self.0.write();
        let id = FeedId::try_from(all.len()).ok().filter(|it| *it < BACKFILL)?;
        all.push(Arc::new(feed));
        Some(id)
    }
}

/// How a record is to be read.
#[derive(Clone, Debug)]
pub enum Format {
    /// Structured CloudEvents.
    Native,
    /// Foreign JSON through a mapping.
    Mapped(Arc<Mapping>),
}

/// 1 → 2: some consecutive records of one partition, as bytes. Decoded by a worker; belongs to
/// one epoch whole. At most [`MAX_CHUNK_BYTES`], unless one record is larger.
#[derive(Debug)]
pub struct Chunk {
    /// Where it was read.
    pub partition: Partition,
    /// Offset of the first record.
    pub first: u64,
    /// The next offset after the last record.
    pub next: u64,
    /// Offsets since the previous chunk's `next` that have no record to read: those before
    /// `first`, and in a [`Framing::Sparse`] chunk those between its records. A chunk without
    /// records tells of a gap with nothing after it yet, or where a partition begins.
    pub gap: Gap,
    /// Which reading of the source this is: 0, or more under `replay --repeat`, where the engine
    /// suffixes ids and shifts times by it.
    pub pass: u32,
    /// When the log took it (else: when it was first read), milliseconds.
    pub appended_ms: u64,
    /// The records, one after the other.
    pub bytes: Vec<u8>,
    /// How they are told apart.
    pub framing: Framing,
}

/// Offsets just before a chunk that have no record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// The source no longer has them (aged out, damaged and skipped on request).
    pub lost: u64,
    /// They never were records.
    pub absent: u64,
}

/// Largest chunk: a slice that a worker decodes in a few milliseconds, so that an epoch can close.
pub const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// How the records of a chunk are told apart.
#[derive(Debug)]
pub enum Framing {
    /// One per line; the offset counts lines. Empty lines are skipped but counted.
    Lines,
    /// Each with its place; offsets are consecutive from `first`.
    Records(Vec<RecordAt>),
    /// Each with its place and its offset, counted from `first`: some offsets between them have no
    /// record.
    Sparse(Vec<(RecordAt, u32)>),
}

/// One record inside a chunk.
#[derive(Clone, Debug)]
pub struct RecordAt {
    /// First byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
    /// Append time, milliseconds.
    pub appended_ms: u64,
    /// If it is not to be read as the feed's other records are.
    pub apart: Option<Arc<Apart>>,
}

/// A record that is not read as the other records of its feed are.
#[derive(Clone, Debug)]
pub enum Apart {
    /// A retried reject.
    Retried(RetriedAs),
    /// It could not be put together when it was read; it is rejected with this.
    Refused(Problem),
    /// A fact of ours about ourselves (`system.…`): for those who look into the log; no view has it.
    System,
}

impl Apart {
    /// How a retried reject is to be read.
    pub fn retried(&self) -> Option<&RetriedAs> {
        match self {
            Apart::Retried(it) => Some(it),
            Apart::Refused(_) | Apart::System => None,
        }
    }
}

/// A rejected record that was appended to the log again.
#[derive(Clone, Debug)]
pub struct RetriedAs {
    /// Where it was first read, and when: the verdict on times in the future depends on that.
    pub origin: Origin,
    /// How it is to be read.
    pub format: Format,
}

/// A record that could not be decoded or was refused, on its way to the kept rejects.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Where it was read.
    pub partition: Partition,
    /// Its offset.
    pub offset: u64,
    /// When the log took it.
    pub appended_ms: u64,
    /// Why.
    pub problem: Problem,
    /// The record, cut at [`MAX_REJECT_BYTES`].
    pub bytes: Vec<u8>,
    /// It was a retried one: where it was first read.
    pub origin: Option<Origin>,
}

/// Events of a chunk that were applied, on their way to the sinks that take events.
#[derive(Debug, Default)]
pub struct Applied {
    /// Each: the offset of its record, its append time in milliseconds, where it ends in `bytes`.
    pub events: Vec<(u64, u64, usize)>,
    /// One after the other, as structured CloudEvents.
    pub bytes: Vec<u8>,
}

/// Longest reject kept whole.
pub const MAX_REJECT_BYTES: usize = 64 * 1024;

/// The reason of a reject that is no record which was read: a message of ours whose text could not be
/// made, at the position of what planned it. There is nothing to be read again.
pub const UNSAID: &str = "notify/template";

/// Why a record of the log held nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNew {
    /// All of its events were known.
    Known,
    /// It could not be taken.
    Rejected,
}

/// How the records of one request ended, once they are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// With an event that is new.
    pub new: u64,
    /// With known ones only.
    pub duplicate: u64,
    /// Among the rejects.
    pub rejected: u64,
}

/// Where the records of one partition ended, counted. Counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Events applied (late ones included).
    pub applied: u64,
    /// Of these, older than the newest event time of the partition by more than `late_after`.
    pub late: u64,
    /// Events whose identity was known.
    pub duplicate: u64,
    /// Records that a mapping said to skip (and empty lines).
    pub skipped: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Of the records applied, retried rejects.
    pub retried: u64,
    /// Of the records rejected, retried rejects (docs/decisions/retries-are-the-logs.md).
    #[serde(default)]
    pub rejected_again: u64,
    /// Records the source no longer had.
    pub lost: u64,
    /// Offsets that are no records (markers, aborted, compacted).
    pub absent: u64,
}

impl Counts {
    /// Adds.
    pub fn add(&mut self, other: &Counts) {
        self.read += other.read;
        self.applied += other.applied;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.skipped += other.skipped;
        self.rejected += other.rejected;
        self.retried += other.retried;
        self.rejected_again += other.rejected_again;
        self.lost += other.lost;
        self.absent += other.absent;
    }
}

/// What a tenant has less than it measured with `load.measured`, for it names too many series.
pub struct LeftOut {
    /// Whose it is.
    pub tenant: String,
    /// Measurements of series that had no place when they came.
    pub measurements: u64,
    /// Series that had one, and lost it to another.
    pub pushed_out: u64,
}

/// The instant of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AsOf {
    /// The complete epoch.
    pub epoch: Epoch,
    /// The next position of the embedded log at it: every event below is in.
    pub position: u64,
}

/// The way from a feed to the workers: a bounded queue, and a bell that wakes a parked worker.
#[derive(Clone)]
pub struct Outlet {
    queue: crossbeam_channel::Sender<Chunk>,
    bell: Arc<dyn Fn() + Send + Sync>,
    through: Option<Arc<dyn Through>>,
}

/// Hands a chunk, or a piece of one, on to the workers.
pub type HandOn<'h> = &'h dyn Fn(Chunk) -> Result<(), Stopped>;

/// Who stands before a queue, on the thread of who reads: hands on what comes, whole or in pieces,
/// and may wait in between.
pub trait Through: Send + Sync {
    /// Every record of the chunk is handed on, in its place; or reading is to end.
    fn pass(&self, chunk: Chunk, hand_on: HandOn<'_>) -> Result<(), Stopped>;
}

/// The engine has stopped; reading has nobody to read for.
#[derive(Debug)]
pub struct Stopped;

/// Why a chunk was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// The queue stayed full; here it is again.
    Full(Chunk),
    /// Nobody reads any more.
    Stopped,
}

impl Outlet {
    /// An outlet into this queue.
    pub fn new(queue: crossbeam_channel::Sender<Chunk>, bell: Arc<dyn Fn() + Send + Sync>) -> Self {
        Outlet { queue, bell, through: None }
    }

    /// All that is [sent](Outlet::send) goes through this first.
    #[must_use]
    pub fn through(self, it: Arc<dyn Through>) -> Outlet {
        Outlet { through: Some(it), ..self }
    }

    /// Waits while the queue is full: that is how reading slows when the engine falls behind.
    pub fn send(&self, chunk: Chunk) -> Result<(), Stopped> {
        match &self.through {
            Some(it) => it.pass(chunk, &|chunk| self.hand_on(chunk)),
            None => self.hand_on(chunk),
        }
    }

    fn hand_on(&self, chunk: Chunk) -> Result<(), Stopped> {
        self.queue.send(chunk).map_err(|_| Stopped)?;
        (self.bell)();
        Ok(())
    }

    /// Waits at most so long while the queue is full.
    pub fn send_within(&self, chunk: Chunk, wait: std::time::Duration) -> Result<(), NotTaken> {
        use crossbeam_channel::SendTimeoutError;
        self.queue.send_timeout(chunk, wait).map_err(|why| match why {
            SendTimeoutError::Timeout(chunk) => NotTaken::Full(chunk),
            SendTimeoutError::Disconnected(_) => NotTaken::Stopped,
        })?;
        (self.bell)();
        Ok(())
    }
}

/// What readers are handed: every view, and the instants at which they can be read.
#[derive(Clone)]
pub struct ReadHandle {
    /// In the catalogue's order.
    pub views: Arc<[Arc<dyn ViewReader>]>,
    /// Pins and leases.
    pub instants: Arc<dyn Instants>,
    /// The newest complete instant; changes with each.
    pub newest: tokio::sync::watch::Receiver<AsOf>,
    /// The instant that belongs to a held epoch.
    pub as_of: Arc<dyn Fn(Epoch) -> AsOf + Send + Sync>,
}

/// One line of the ledger: a partition of a feed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LedgerLine {
    /// The feed's name.
    pub feed: String,
    /// Its partition.
    pub partition: u32,
    /// Where reading began.
    pub first: u64,
    /// The next offset to read, at `as_of`.
    pub next: u64,
    /// Records behind.
    pub lag: u64,
    /// Age of the newest record read, against the newest there is, in seconds.
    pub lag_seconds: f64,
    /// Where the records ended.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Where reading stood and the records had ended, at one complete epoch: what is kept of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookState {
    /// The epoch.
    pub epoch: Epoch,
    /// A line per partition.
    pub lines: Vec<BookLine>,
}

/// One partition in a [`BookState`], its feed by name.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookLine {
    /// The feed's name.
    pub feed: String,
    /// What was behind the name (a topic's id), where that can change.
    pub identity: Option<String>,
    /// Its partition.
    pub partition: u32,
    /// Where reading began.
    pub first: u64,
    /// The next offset to read.
    pub next: u64,
    /// Newest event time read, microseconds: what late is judged against.
    pub newest_event: i64,
    /// Number of the last reset that placed it; 0: none.
    #[serde(default)]
    pub reset: u64,
    /// Where the records ended.
    pub counts: Counts,
}

/// The ledger at one instant.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Ledger {
    /// The instant.
    pub as_of: AsOf,
    /// A line per partition.
    pub partitions: Vec<LedgerLine>,
    /// Identities remembered, and how far back.
    pub dedup: serde_json::Value,
    /// What rules decided to say, by what became of it; none without rules.
    pub notifications: Option<BTreeMap<String, i64>>,
}

/// Why an append was not taken; nothing of it is in the log.
#[derive(Clone, Debug)]
pub enum AppendRefused {
    /// Queues are full: try again after this long.
    Busy(std::time::Duration),
    /// The log cannot be written; the report says why (a full disk, for one).
    Failed(Report),
}

/// A block appended: positions `first..next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first record.
    pub first: u64,
    /// The next position after the last: a view whose `as_of.position` reaches it has them all.
    pub next: u64,
}

/// A reject on its way into the embedded log once more.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Where it was first read, and how.
    pub origin: Origin,
    /// The record.
    pub bytes: Vec<u8>,
}

/// Where a retried record was first read; travels with it in the log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The feed's name.
    pub feed: String,
    /// Its partition.
    pub partition: u32,
    /// The record's offset.
    pub offset: u64,
    /// Its first append time, milliseconds.
    pub appended_ms: u64,
    /// The name of the mapping by which that feed was read; native CloudEvents if absent.
    pub mapping: Option<String>,
}

/// How a retried record's origin says that it is to be read.
pub type FormatOf = Arc<dyn Fn(&Origin) -> Format + Send + Sync>;

/// The embedded log as the kept rejects see it. The same promise as [`Append`].
pub trait AppendRetried: Send + Sync {
    /// Hands over a block of rejects that are to be read again.
    fn append_retried(
        &self,
        records: Vec<Retry>,
    ) -> Result<tokio::sync::oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused>;
}

/// The embedded log as those who append see it. One call is one block: there whole or not at
/// all; the answer comes once it is durable.
pub trait Append: Send + Sync {
    /// Hands over a block of structured CloudEvents; the receiver answers when it is fsynced.
    fn append(
        &self,
        records: Vec<Vec<u8>>,
    ) -> Result<tokio::sync::oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused>;
}
