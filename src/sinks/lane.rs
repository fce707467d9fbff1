//! One sink's way: its log, what waits for it, and what others tell of it.
//!
//! Shared by the thread that gathers, the one that fixes, and the sink's own. No lock here is held
//! while a disk or a receiver is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::aside::Aside;
use super::batch::{Batch, Stream};
use super::breaker::Kept;
use super::log::Log;
use super::present::Hole;
use super::waiting::Waiting;
use super::{Counted, Declared, Sink};
use crate::messages::Epoch;

/// Batches that were fixed and wait for their sink, at most; more only where two flushes of all its
/// streams are more ([`batches_most`]).
pub const QUEUE_BATCHES: usize = 64;
/// Their bytes: above, nothing more is fixed.
pub const QUEUE_BYTES: usize = 16 << 20;

/// How many batches of a sink of so many streams may be fixed and not delivered: a flush of all of
/// them, and the one under way.
pub(super) fn batches_most(streams: usize) -> usize {
    QUEUE_BATCHES.max(2 * (streams + 1))
}

/// What the threads share of one sink.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) declared: Declared,
    /// The life under which what is gathered for it leaves.
    pub(super) incarnation: u64,
    /// What it has missed, being away from the settings.
    pub(super) holes: Vec<Hole>,
    pub(super) log: Log,
    /// Bytes of its log above which reading is held back.
    pub(super) max_bytes: u64,
    /// Where fixed batches wait.
    pub(super) queue: tokio::sync::mpsc::Sender<Batch>,
    pub(super) aside: Aside,
    pub(super) shared: Mutex<Shared>,
    /// Bytes gathered that no batch holds yet, about.
    pub(super) unread: AtomicU64,
    /// Somebody asked that all be delivered anew.
    pub(super) anew: AtomicBool,
    /// Its book is on the disk as it was made at the start.
    pub(super) noted: AtomicBool,
    /// What lies below this position is to leave the disk as soon as it was delivered.
    pub(super) leaves: AtomicU64,
    /// Told to the sink's thread: what was asked of it has changed.
    pub(super) ask: Notify,
    pub(super) probe: AtomicBool,
    pub(super) retry_aside: AtomicBool,
}

/// What changes often.
#[derive(Default)]
pub(super) struct Shared {
    /// Rows that wait, by the view's name.
    pub(super) waiting: BTreeMap<&'static str, Waiting>,
    /// Batches that became durable at the receiver, or were put aside, with their items.
    pub(super) done: Vec<(u64, u64)>,
    /// Streams that have begun with all there was.
    pub(super) begun: Vec<Begun>,
    /// The breaker, where it has changed.
    pub(super) breaker: Option<Kept>,
    /// What is told to people.
    pub(super) told: Told,
}

/// Streams that have begun with all there was at an instant.
pub(super) struct Begun {
    pub(super) streams: Vec<Stream>,
    /// It lies below this position.
    pub(super) position: u64,
    /// Until the checkpoint at this instant is durable they have not begun: a crash takes it back.
    pub(super) at: Epoch,
}

/// How a sink stands, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) breaker: Kept,
    pub(super) delivered: (u64, u64),
    pub(super) in_flight: usize,
    /// A flush is being made, or was since `in_flight` was counted.
    pub(super) fixing: bool,
    pub(super) marked: Epoch,
    /// The events that have been handed over.
    pub(super) events: Option<Counted>,
    pub(super) whole: bool,
    /// How often it was noted, durably, that all is delivered anew.
    pub(super) anews: u64,
    pub(super) last: Option<u64>,
}

impl Lane {
    /// Whether it takes this stream.
    pub(super) fn takes(&self, stream: &Stream) -> bool {
        self.declared.streams.contains(stream)
    }

    /// The rows that wait for it, about.
    pub(super) fn n_waiting(&self) -> usize {
        self.shared.lock().waiting.values().map(Waiting::known).sum()
    }

    /// Whether a row waits that was touched at or before this epoch, or may.
    pub(super) fn waits_at(&self, epoch: Epoch) -> bool {
        let mut shared = self.shared.lock();
        let mut waiting = shared.waiting.values_mut();
        waiting.any(|it| it.is_lost() || it.first().is_some_and(|it| it.epoch <= epoch))
    }

    pub(super) fn is_full(&self) -> bool {
        self.log.folder.bytes() > self.max_bytes
    }

    pub(super) fn unread(&self) -> u64 {
        self.unread.load(SeqCst)
    }

    /// For people and programs.
    pub(super) fn json(&self, now_ms: u64) -> serde_json::Value {
        let shared = self.shared.lock();
        let told = shared.told.clone();
        let waiting: usize = shared.waiting.values().map(Waiting::known).sum();
        let looking = shared.waiting.values().any(Waiting::is_lost);
        drop(shared);
        let kept = &told.breaker;
        let open = kept.state != super::breaker::State::Closed;
        let streams: Vec<String> = self.declared.streams.iter().map(Stream::to_string).collect();
        json!({
            "name": self.name,
            "kind": self.declared.kind,
            "streams": streams,
            "state": kept.state.word(),
            "failures": kept.failures,
            "since_ms": open.then_some(kept.since_ms),
            "next_try_ms": open.then_some(kept.until_ms),
            "code": (!kept.code.is_empty()).then_some(&kept.code),
            "why": (!kept.why.is_empty()).then_some(&kept.why),
            "delivered_batches": told.delivered.0,
            "delivered_items": told.delivered.1,
            "in_flight_batches": told.in_flight,
            "waiting_rows": waiting,
            "waiting_rows_unknown": looking,
            "gathered_bytes": self.unread(),
            "outbox_bytes": self.log.folder.bytes(),
            "outbox_max_bytes": self.max_bytes,
            "full": self.is_full(),
            "aside": self.aside.len(),
            "marked_epoch": told.marked,
            "whole": told.whole,
            "incarnation": self.incarnation,
            "missed": self.holes,
            "last_delivery_ms": told.last,
            "now_ms": now_ms,
        })
    }
}
