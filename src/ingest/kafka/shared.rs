//! What the one who reads and the one who asks know of each other.
//!
//! # Why this way
//! The reader never asks the cluster and never decides: it reads, and says what it met. Numbers
//! are atomics that one side writes and the other reads; a flag stays until it is taken, so that
//! nothing is lost between them whatever is full.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::thread::Thread;

use rdkafka::consumer::BaseConsumer;

use super::clients::{Ear, Heard};
use crate::messages::{FeedId, Partition};

/// A topic that is read.
#[derive(Debug)]
pub(super) struct Topic {
    /// Its name in Kafka.
    pub(super) name: String,
    /// Its id there.
    pub(super) id: String,
    /// The id of another topic that the reading client has found under its name: nothing that came
    /// since is handed over.
    pub(super) another: OnceLock<String>,
    /// Its feed.
    pub(super) feed: FeedId,
    /// Its feed's name.
    pub(super) feed_name: String,
}

/// A partition that is read.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) topic: Arc<Topic>,
    pub(super) number: i32,
    /// The next offset: handed over, or about to be.
    pub(super) next: AtomicU64,
    /// The stable end, as the cluster last said.
    pub(super) end: AtomicU64,
    /// Bytes of payload read.
    pub(super) bytes: AtomicU64,
    /// Timestamp of the newest record read, milliseconds; 0 before the first.
    pub(super) stamp_ms: AtomicI64,
    /// The broker does not have the offset that we asked for.
    pub(super) out_of_range: AtomicBool,
    /// We may not read it: the next offset at which we heard that, and one more; 0: we may.
    pub(super) refused_at: AtomicU64,
    /// It looks for what can be read behind damage, and got an answer since the last look.
    pub(super) searches: AtomicBool,
    /// Not read any more.
    pub(super) left: AtomicBool,
    /// Not read yet: where it begins was chosen (the latest, an instant), and is to be in a
    /// checkpoint first, so that it is chosen once.
    pub(super) held: AtomicBool,
}

impl Lane {
    pub(super) fn new(topic: Arc<Topic>, number: i32, next: u64) -> Lane {
        Lane {
            topic,
            number,
            next: AtomicU64::new(next),
            end: AtomicU64::new(next),
            bytes: AtomicU64::new(0),
            stamp_ms: AtomicI64::new(0),
            out_of_range: AtomicBool::new(false),
            refused_at: AtomicU64::new(0),
            searches: AtomicBool::new(false),
            left: AtomicBool::new(false),
            held: AtomicBool::new(false),
        }
    }

    /// Whether we may not read it: we were told, and no record has come since.
    pub(super) fn is_refused(&self) -> bool {
        self.refused_at.load(SeqCst) > self.next.load(SeqCst)
    }

    /// As the ledger knows it.
    pub(super) fn partition(&self) -> Partition {
        (self.topic.feed, self.number.unsigned_abs())
    }
}

/// What both threads see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// What librdkafka said.
    pub(super) heard: Arc<Heard>,
    /// When the queue to the workers was last found full, milliseconds since the start; 0: never.
    pub(super) full_at_ms: AtomicU64,
    /// How often it was.
    pub(super) waits: AtomicU64,
    /// The consumer is of no use: a new one is needed.
    pub(super) broken: AtomicBool,
    /// Reading has ended, whatever the reason.
    pub(super) ended: AtomicBool,
    reader: OnceLock<Thread>,
    control: OnceLock<Thread>,
}

impl Shared {
    /// This thread reads.
    pub(super) fn i_read(&self) {
        self.reader.get_or_init(std::thread::current);
    }

    /// This thread asks and decides.
    pub(super) fn i_control(&self) {
        self.control.get_or_init(std::thread::current);
    }

    /// There is something to read, or an order.
    pub(super) fn ring_reader(&self) {
        if let Some(it) = self.reader.get() {
            it.unpark();
        }
    }

    /// There is something to decide.
    pub(super) fn ring_control(&self) {
        if let Some(it) = self.control.get() {
            it.unpark();
        }
    }

    /// Nobody reads any more.
    pub(super) fn end(&self) {
        self.ended.store(true, SeqCst);
        self.ring_reader();
        self.ring_control();
    }
}

/// What the one who decides tells the one who reads.
pub(super) enum Order {
    /// Read with this consumer from now on; every partition at its next offset.
    Open(Arc<BaseConsumer<Ear>>),
    /// Read nothing until there is another consumer.
    Close,
    /// Read these too.
    Take(Vec<Begin>),
    /// Read this partition again from its next offset, or from this one if that is later: what
    /// lies between is lost.
    Again(Partition, u64),
    /// Do not read this topic any more.
    Leave(FeedId),
    /// There will be no more partitions.
    All,
}

/// A partition to be read.
pub(super) struct Begin {
    pub(super) lane: Arc<Lane>,
    /// What is lost before its next offset is counted from here.
    pub(super) first: u64,
    /// Not further than this.
    pub(super) until: Option<u64>,
}
