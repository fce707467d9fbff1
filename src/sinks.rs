//! Hands what has been computed to the outside: each batch once, whoever fails meanwhile.
//!
//! In: rows, changes, events and marks of complete epochs whose checkpoint is durable.
//! Out: [`Batch`]es, to each [`Sink`] in one fixed order.
//!
//! ```text
//!  checkpoint at T ─▶ outbox (durable with T) ─fix─▶ batch: its id and its bytes, durable
//!                        ▲                             │ one queue and one thread per sink
//!                        └────────── Durable ──────────┴─▶ Sink::deliver
//! ```
//!
//! # The contract of a sink
//! - **Idempotent by id.** The same [`Batch::id`] may be handed over any number of times, also by
//!   the next process after a crash, always with the same bytes. Afterwards it must be as if it had
//!   been once. A receiver that remembers ids only for a while must have a second net: of rows,
//!   ([`OutRow::tenant`], [`OutRow::key`], [`OutRow::epoch`], [`Batch::incarnation`]).
//! - **[`Delivery::Durable`] means that the receiver keeps it after a crash.** Nothing less: what
//!   was answered so is forgotten here.
//! - **In order, one at a time** of a stream. A batch is handed over when the one before it is durable
//!   or was put aside. So a mark ([`Stream::Marks`]) comes after all that it speaks of, and the changes
//!   of a key come in their order. Inside one call a sink may do several things at once. One that says
//!   so ([`Sink::takes_two`]) may be handed the next batch, if it is of another stream and no mark,
//!   while one is on its way.
//! - **Who was erased comes behind** ([`Stream::is_behind`]): when the row of an erasure is handed over,
//!   everything of earlier epochs was, and nothing that comes later has their data. So a sink that
//!   can removes what its receiver has of them before it says that the batch is durable.
//! - **It may be dropped at any await** (after [`Limits::timeout`], or at the end): what has become
//!   of the batch is then not known, and it is handed over again.
//! - **It says whose fault a failure is** ([`Delivery`]), and never guesses: what it does not know
//!   is [`Fault::Unknown`].
//! - It never drops, splits or reorders anything by itself: halving and putting aside are done here.
//!
//! `tests/sink_contract.rs` holds every sink against these sentences.
//!
//! # What is in a stream
//! - [`Stream::Rows`]: the current rows of a view. Only the newest per key waits; a row is as of the
//!   epoch that it carries, and a batch has a key at most once. Deleted: a row without fields.
//!   At a new incarnation, and when asked to begin anew, all of them come again.
//! - [`Stream::Changes`]: every row that was another than before at an *instant* (the epoch of a
//!   checkpoint), as it was then. An upsert with the instant as its epoch: what a key was at any
//!   epoch E is its newest change at or below E. Begins, in each incarnation, with a change per live
//!   key. Instants of one incarnation rise.
//! - [`Stream::Events`]: events that were applied, as structured CloudEvents, once each in each
//!   incarnation (one that was built again applies them again).
//! - [`Stream::Marks`]: everything up to the instant of the mark has been delivered before it.
//!
//! # When it fails
//! | answer | what happens |
//! |---|---|
//! | [`Delivery::Retry`] | tried again, after a pause that grows and is jittered; the breaker opens after some |
//! | [`Fault::Configuration`] | the breaker opens and the alarm is raised; one probe at a time, so that a repaired receiver is found by itself |
//! | [`Fault::Data`] | the batch is halved, down to the row, which is put aside with the report |
//! | [`Fault::Unknown`] | the sink is paused and the alarm raised; a probe now and then; never dropped |
//!
//! A sink that is slow or dead fills its outbox, which is bounded; then reading slows. Nobody else
//! waits for it before that.

pub mod aside; // items that a receiver will not take
mod batch; // what a sink is handed
mod book; // what an outbox knows of itself
pub mod breaker; // when a receiver is left alone
pub mod clickhouse; // ClickHouse as one
mod coding; // rows and events as bytes, and back
mod fixing; // what waits becomes batches
pub mod jsonl; // files of JSON lines
mod lane; // one sink's way
mod log; // its log on the disk
mod look; // outboxes that no process has open
mod opening; // one sink's outbox, as a start finds it
mod outbox; // what leaves, durable with its checkpoint
mod packing; // items on their way into blocks
mod present; // which streams are told, and what others missed
mod runner; // one sink's own thread
#[cfg(test)]
pub(crate) mod simulated; // on a disk of a test, turn by turn
mod threads; // all of them
mod waiting; // which current rows wait

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use schemas::reading::ViewReader;

use crate::messages::Epoch;
use crate::report::Report;

pub use batch::{Batch, Mark, OutEvent, OutRow, Part, Stream, Value};
pub use coding::{Items, Packed};
pub use lane::{QUEUE_BATCHES, QUEUE_BYTES};
pub use look::{aside_of, look, outboxes};
pub use outbox::{EVENTS_MAX_BYTES, Outbox, Parts, SINKS_DIR, nobody, note};
pub use present::Hole;
pub use threads::{Asking, Sinks, no_sinks};
pub use waiting::DUE_MAX;

/// Most bytes of one batch: what a block of its log can hold, with room.
pub const BATCH_MAX_BYTES: usize = 12 << 20;

/// A sink as the settings give it.
#[derive(Clone)]
pub struct Given {
    /// Its name; that of its folder, too.
    pub name: String,
    /// It.
    pub sink: std::sync::Arc<dyn Sink>,
    /// Bytes of its outbox above which reading is held back.
    pub max_bytes: u64,
}

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What becomes of a batch: the future of one attempt.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Delivery> + Send + 'a>>;

/// A receiver of batches. One per `[sinks.NAME]`; lives on a thread of its own.
pub trait Sink: Send + Sync {
    /// Which streams it takes, and how much of them at once. Asked once, at the start.
    fn declared(&self) -> Declared;

    /// Looks whether the receiver is fit (reachable, its tables there, its settings as they must
    /// be): before the first batch, and before each probe of a breaker that is open.
    /// [`Delivery::Durable`] means yes; [`Fault::Data`] is taken as [`Fault::Unknown`].
    fn ready(&self) -> Delivering<'_>;

    /// What the receiver has against what it must have. A JSON object a table, with `equal` in it. May
    /// take long, and is called on a thread that may wait.
    fn verify(&self, _against: &Against<'_>) -> Result<serde_json::Value, Report> {
        Err(Report {
            code: "sinks/cannot-verify",
            what: "cannot compare what this sink's receiver has".into(),
            at: vec![("kind", self.declared().kind.into())],
            why: "only ClickHouse can be asked what it has".into(),
            effect: "nothing was changed".into(),
            fix: "name a sink with kind = \"clickhouse\"".into(),
        })
    }

    /// Whether a batch of another stream may be handed over while one is on its way: for a receiver
    /// whose time is not ours. Marks wait for all before them.
    fn takes_two(&self) -> bool {
        false
    }

    /// One attempt at one batch; see the contract above.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivering<'a>;
}

/// What a receiver had of an erased customer, and has no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedThere {
    /// Whose customer.
    pub tenant: String,
    /// The customer's id.
    pub customer: String,
    /// The id of the batch that said so.
    pub by: String,
    /// Rows that went.
    pub rows: u64,
    /// Of these, events.
    pub events: u64,
}

/// Where that is written down.
pub trait Certificates: Send + Sync {
    /// Whether this is done, by this batch.
    fn has(&self, by: &str, tenant: &str, customer: &str) -> bool;
    /// It is done.
    fn note(&self, it: RemovedThere);
    /// What was noted is durable when this returns.
    fn write(&self) -> Result<(), Report>;
    /// Events that were removed, of all who were erased.
    fn events(&self) -> u64;
}

/// What a receiver must have.
#[derive(Clone, Copy)]
pub struct Against<'r> {
    /// Everything up to this epoch has been delivered; it is held.
    pub at: Epoch,
    /// Current rows that were touched up to this one may be on their way; it is held, too.
    pub upto: Epoch,
    /// What is served.
    pub readers: &'r [Arc<dyn ViewReader>],
    /// The events that were handed over.
    pub events: Option<Counted>,
}

/// Events that were handed over, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Those of epochs above this one,
    pub from: Epoch,
    /// up to this one:
    pub upto: Epoch,
    /// so many.
    pub n: u64,
}

/// What a sink says about itself.
#[derive(Clone, Debug)]
pub struct Declared {
    /// What it is, in a word: `clickhouse`, `jsonl`.
    pub kind: &'static str,
    /// What it takes, in the order in which it wants them within one flush. Marks come last,
    /// wherever they stand.
    pub streams: Vec<Stream>,
    /// How much at once.
    pub limits: Limits,
}

/// How much a sink takes at once, and how long it may take for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Items (rows, events) in one batch, at most.
    pub rows: usize,
    /// Bytes of a batch as it lies in the outbox; exceeded by one item at most.
    pub bytes: usize,
    /// What waits is handed over after so long, however little it is.
    pub wait: Duration,
    /// An attempt that takes longer is given up.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows: 200_000,
            bytes: 12 << 20,
            wait: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// The receiver has it, and keeps it after a crash; now, or from an earlier attempt.
    Durable,
    /// The surroundings failed (network, a server that starts, too many parts): the same later.
    Retry {
        /// Not before, if the receiver said so (`Retry-After`); capped here.
        after: Option<Duration>,
        /// What happened.
        report: Report,
    },
    /// It will not be taken like this.
    Refused {
        /// Whose fault.
        fault: Fault,
        /// What happened; kept with a row that is put aside.
        report: Report,
    },
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Ours to set right: credentials, a table, a grant, an address.
    Configuration,
    /// Something in this batch: another batch may pass.
    Data,
    /// Cannot be told.
    Unknown,
}
