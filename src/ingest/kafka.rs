//! Reads topics of Kafka: every record once, every offset accounted for, as fast as the decoding
//! behind it.
//!
//! In: a [`Plan`]: brokers, topics, where each partition goes on. Out: chunks to an [`Outlet`]; how
//! far the partitions reach, by the [`Hooks`]; metrics and alarms.
//!
//! ```text
//!            asks: topics, ids, ends ┌─────────┐ orders: take, again, leave   ┌────────┐
//!  cluster ◀────────────────────────▶│ control │─────────────────────────────▶│ reader │──▶ Outlet
//!     │                              └─────────┘◀──── met: out of range ──────└────────┘
//!     └──────────────────── records, by the batch, a queue per partition ──────────▲
//! ```
//!
//! # Meaning
//! Per partition, at every complete epoch: next - first = read + lost + absent. *Lost* are offsets
//! that were removed before we read them, *absent* those that a broker never delivers: markers of
//! transactions, aborted records, compacted ones (`chunks::tests::every_offset_is_in_one_place`).
//!
//! # Invariants
//! - A partition goes on at the offset that we say, from the epochs' own record; never from a
//!   group. The group is told how far checkpoints are, so that tools can show lag.
//! - Only what is committed is read. Checksums are checked. A topic is known by its id.
//! - Nothing is paused, and no position is asked for: with batches and partition ends, both lose
//!   records. When the workers are behind, a partition's queue is left unread.
//! - Errors end no loop: a topic that is another one, or that we may not read, is left with an
//!   alarm; a cluster that is away or refuses us is tried again; only when the client itself has
//!   given up, or three new ones bring nothing although there is something, the process ends.
//!
//! # State
//! An entry a topic (at most [`MAX_TOPICS`]) and partition; librdkafka's queues, 3 MiB of payload
//! over all partitions or 512 KiB each; chunks that the outlet has no room for, of one turn of one partition.
//!
//! # When it fails
//! The codes `ingest/kafka-…`, each with its page. What is not told as lost is not lost: it is in
//! the broker, and is read again from the recorded offsets.

mod alarms; // what is wrong at the moment, told once
mod batch; // records by the batch (the raw interface)
mod chunks; // records into chunks, every offset accounted for
mod clients; // librdkafka's clients as we need them
mod control; // asks and decides
mod damage; // past records that cannot be read
mod look; // how far the partitions reach, and what that means
mod progress; // whether a partition goes on: pure
mod reach; // what a cluster still holds
mod reader; // reads
mod recorded; // where a topic goes on, as recorded and decided: pure
mod shared; // what the two know of each other
mod topic_ids; // which topics are there, by their ids (the raw interface)
mod topics; // which partitions there are, and where each begins
mod trouble; // what an error means, and how it is told
mod whole; // a record with its key and headers, as one JSON
mod work; // a partition at work

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

pub use reach::lacking;
pub use recorded::Recorded;

use crate::clock;
use crate::config::KafkaSettings;
use crate::messages::{FeedId, Outlet, Partition};
use crate::metrics::Metrics;
use crate::report::Report;

/// Most topics of one `[[kafka]]`: a pattern is not to fill the memory.
pub const MAX_TOPICS: usize = 1_000;

/// Orders on their way; each is taken within some milliseconds.
const ORDERS: usize = 64;

/// What to read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Brokers, topics, who we are.
    pub settings: KafkaSettings,
    /// What is handed over of a record.
    pub takes: Takes,
    /// Where each topic goes on; those that are not here begin where the settings say.
    pub recorded: BTreeMap<String, Recorded>,
    /// Read what is there at the start, and end.
    pub until_end: bool,
    /// Longest event (settings). Of a longer record one byte more is kept.
    pub max_event_bytes: u64,
}

/// What is handed over of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The CloudEvent that it is, structured or binary.
    Event,
    /// Its value.
    Value,
    /// All of it, as one JSON text.
    Whole,
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug)]
pub struct Begins {
    /// Its next offset, or the one from which lost offsets are counted.
    pub first: u64,
    /// What the ledger has of it is over: its line begins anew.
    pub anew: bool,
    /// Number of the last reset that its line knows of; 0: of none.
    pub reset: u64,
}

/// Gives a feed of this name, and of this cluster's and topic's identity, an id of ours. `None`: there are as many as
/// there can be.
pub type AddFeed = Arc<dyn Fn(&str, &str) -> Option<FeedId> + Send + Sync>;

/// Keeps the offsets that a decision came to: its number, the topic's identity, its partitions.
pub type OnPlaced = Arc<dyn Fn(u64, &str, &BTreeMap<u32, u64>) -> Result<(), Report> + Send + Sync>;

/// A feed's name, and how many partitions it has now.
pub type OnAccepted = Arc<dyn Fn(&str, u32) + Send + Sync>;

/// The next offset of a partition in the newest checkpoint.
pub type Durable = Arc<dyn Fn(Partition) -> Option<u64> + Send + Sync>;

/// What reading tells and asks of the rest.
#[derive(Clone)]
pub struct Hooks {
    /// A topic is found.
    pub add_feed: AddFeed,
    /// A partition is read from here on; told before its first chunk.
    pub begins: Arc<dyn Fn(Partition, Begins) + Send + Sync>,
    /// What a decision of this number came to, by the topic's identity; told before it is acted on.
    pub placed: OnPlaced,
    /// Another topic was accepted under a feed's name: it has so many partitions.
    pub accepted: OnAccepted,
    /// A partition's stable end, and how long its oldest unread record has been there, in ms.
    pub tail: Arc<dyn Fn(Partition, u64, u64) + Send + Sync>,
    /// Absent: nothing is kept.
    pub durable: Option<Durable>,
    /// The time, milliseconds: what records without a broker's time are dated by.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The process is to end.
    pub on_fatal: Arc<dyn Fn(&Report) + Send + Sync>,
}

/// A cluster that is being read.
pub struct Reading {
    /// Ends when told to, at the end if there is one, or with the report that ends the process.
    pub threads: [JoinHandle<Result<(), Report>>; 2],
}

/// Starts reading, on two threads of its own.
pub fn start(
    plan: Plan,
    outlet: Outlet,
    hooks: Hooks,
    metrics: Metrics,
    stop: Arc<AtomicBool>,
) -> Result<Reading, Report> {
    let shared = Arc::new(shared::Shared::default());
    let (send, orders) = crossbeam_channel::bounded(ORDERS);
    let (name, started) = (plan.settings.name.clone(), clock::monotonic());
    let reader = reader::Reader {
        orders,
        outlet,
        stop: Arc::clone(&stop),
        now_ms: Arc::clone(&hooks.now_ms),
        shared: Arc::clone(&shared),
        takes: plan.takes,
        max_event_bytes: usize::try_from(plan.max_event_bytes).unwrap_or(usize::MAX / 2),
        started,
    };
    let control = control::Control {
        alarms: alarms::Alarms::new(&name, metrics.clone()),
        plan,
        hooks,
        orders: send,
        shared,
        stop,
        metrics,
        started,
        cluster: None,
        known: BTreeMap::new(),
        looked: false,
        progress: BTreeMap::new(),
        rebuilds: 0,
        answers: false,
        silence: progress::Silence::default(),
        stood: None,
    };
    let reading = thread(&format!("kafka-{name}"), move || {
        reader.run();
        Ok(())
    })?;
    let asking = thread(&format!("kafka-{name}-ask"), move || control.run())?;
    Ok(Reading { threads: [reading, asking] })
}

/// What is wrong with these settings, without connecting.
pub fn check(settings: &KafkaSettings) -> Result<(), Report> {
    clients::check(settings).map_err(|it| trouble::cannot_make(&settings.name, &it))
}

fn thread(
    name: &str,
    body: impl FnOnce() -> Result<(), Report> + Send + 'static,
) -> Result<JoinHandle<Result<(), Report>>, Report> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(crate::ingest::local_log::no_thread)
}
