//! One worker's life: ask for a chunk, open its epoch, decode, send, step, park.
//!
//! In: dated chunks. Out: updates into the dataflow; counts to the [`Book`]; rejects, new
//! identities and applied events to whoever takes them.
//!
//! # Invariants
//! - A chunk is sent in the epoch it was dated with, which every worker has opened before.
//! - Counts, identities and applied events are told before their epoch can be complete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::dedup::Dedup;
use dataflows::inputs::Updates;
use dataflows::models::published::Published;
use parking_lot::Mutex;
use schemas::names::Secret;
use schemas::reading::Instants;
use timely::worker::Worker;

use super::decoder::{self, Judgement, Needs, Scratch};
#[cfg(feature = "crash")]
use super::hook;
use super::introspect::Introspection;
use super::prepared::dedup;
use super::{OnApplied, OnFresh, OnRejected};
use crate::config;
use crate::epochs::{Epochs, Take};
use crate::ledger::Book;
use crate::messages::{BACKFILL, Chunk, Epoch, Feeds, Partition, buffers, of_backfill};

/// What the workers share with each other and with the threads beside them.
pub(super) struct Shared {
    pub(super) feeds: Feeds,
    pub(super) secret: Secret,
    pub(super) chosen: ViewSet,
    pub(super) views: Arc<Views>,
    pub(super) dedup: Dedup,
    pub(super) epochs: Arc<Epochs>,
    pub(super) book: Arc<Book>,
    pub(super) on_rejected: OnRejected,
    pub(super) judgement: Judgement,
    pub(super) max_event_bytes: usize,
    pub(super) introspection: Introspection,
    /// Newest event time per partition, for lateness.
    pub(super) newest_event: Mutex<BTreeMap<Partition, i64>>,
    pub(super) on_fresh: Option<OnFresh>,
    pub(super) on_applied: Option<OnApplied>,
    pub(super) backfill: Option<Backfill>,
    pub(super) published: Arc<Published>,
    pub(super) stopped: AtomicBool,
    pub(super) work: Work,
}

/// What the workers did since they began.
#[derive(Default)]
pub(super) struct Work {
    /// Events applied, but those about ourselves.
    pub(super) n_events: AtomicU64,
    /// Time that went into decoding and addressing them; the rest is the dataflows'.
    pub(super) decoding_nanos: AtomicU64,
}

/// What is built again: these views, with identities of their own.
pub(super) struct Backfill {
    views: ViewSet,
    dedup: Dedup,
}

impl Backfill {
    pub(super) fn of(views: &[&'static str], settings: &config::Engine) -> Option<Backfill> {
        if views.is_empty() {
            return None;
        }
        let views = ViewSet::parse(views).expect("folds of the catalogue");
        Some(Backfill { views, dedup: dedup(settings) })
    }
}

/// Runs until all feeds have ended and their last epoch is complete.
pub(super) fn work(worker: &mut Worker, shared: &Shared) {
    let me = worker.index();
    let epochs = &shared.epochs;
    let clock = shared.views.clock();
    shared.introspection.install(worker);
    let mut sources = Sources::build(worker, &shared.views);
    let activator = worker.sync_activator_for(vec![0]);
    epochs.bell(
        me,
        Box::new(move || {
            if activator.activate().is_err() {
                tracing::debug!("a bell was rung for a worker that has ended");
            }
        }),
    );
    let mut updates = Updates::speaking(Arc::clone(&shared.published));
    let mut scratch = Scratch::default();
    let mut open: Epoch = 0;
    let mut open_epoch = |sources: &mut Sources, epoch: Epoch| {
        if epoch > open {
            sources.advance_to(epoch);
            epochs.opened(me, epoch);
            open = epoch;
        }
    };
    loop {
        match epochs.take(clock.complete()) {
            Take::Chunk(epoch, chunk) => {
                open_epoch(&mut sources, epoch);
                while !epochs.all_opened(epoch) {
                    worker.step_or_park(Some(Duration::from_micros(50)));
                }
                let began = crate::clock::monotonic();
                decode(shared, epoch, &chunk, &mut scratch, &mut updates);
                buffers::give_back(chunk.bytes);
                sources.send(&mut updates);
                let took = u64::try_from(crate::clock::since(began).as_nanos());
                shared.work.decoding_nanos.fetch_add(took.unwrap_or(0), Relaxed);
                worker.step();
            }
            Take::Nothing(epoch, wait) => {
                open_epoch(&mut sources, epoch);
                epochs.parking(me);
                // What came between asking and parking rang for nobody: look once more. While
                // epochs wait for completion, records wait too: do not spin on them.
                let stay = epochs.open() > epoch || epochs.waiting();
                let wait = if stay { wait.min(Duration::from_micros(50)) } else { wait };
                // Works if there is work, and parks only if there is none.
                worker.step_or_park(Some(wait));
                epochs.awake(me);
            }
            Take::Ended(epoch) => {
                open_epoch(&mut sources, epoch);
                let wait = Some(Duration::from_millis(1));
                worker.step_or_park_while(wait, || sources.probe().less_than(&epoch));
                return;
            }
        }
    }
}

fn decode(
    shared: &Shared,
    epoch: Epoch,
    chunk: &Chunk,
    scratch: &mut Scratch,
    updates: &mut Updates,
) {
    #[cfg(feature = "crash")]
    hook::panic_on_marked(chunk);
    if chunk.partition.0 >= BACKFILL {
        return decode_again(shared, chunk, scratch, updates);
    }
    let feed = shared.feeds.of(chunk.partition.0);
    let needs = Needs {
        format: &feed.format,
        secret: &shared.secret,
        views: shared.chosen,
        dedup: &shared.dedup,
        judgement: shared.judgement,
        max_event_bytes: shared.max_event_bytes,
        is_log: feed.is_log,
        takes_own: feed.takes_own,
        tell_fresh: shared.on_fresh.is_some(),
        keep_applied: shared.on_applied.is_some(),
        erased: shared.views.erased(),
    };
    // Not read yet in this life: what was put back says.
    let known = shared.newest_event.lock().get(&chunk.partition).copied();
    let newest = known.unwrap_or_else(|| shared.book.newest_event(chunk.partition));
    let outcome = decoder::decode_chunk(chunk, &needs, newest, feed.is_log, scratch, updates);
    {
        let mut all = shared.newest_event.lock();
        let newest = all.entry(chunk.partition).or_insert(0);
        *newest = outcome.newest.max(*newest);
    }
    shared.epochs.decoded(outcome.newest);
    shared.work.n_events.fetch_add(outcome.n_events, Relaxed);
    let (counts, places) = (&outcome.counts, &outcome.places);
    let newest = (outcome.appended_ms, outcome.newest);
    shared.book.note(epoch, chunk.partition, counts, newest, places);
    if let Some(on_fresh) = &shared.on_fresh {
        for (claimed_ms, ids) in outcome.fresh {
            on_fresh(epoch, claimed_ms, ids);
        }
    }
    if let Some(on_applied) = &shared.on_applied
        && !outcome.taken.events.is_empty()
    {
        on_applied(epoch, chunk.partition, outcome.taken);
    }
    if !outcome.rejected.is_empty() {
        (shared.on_rejected)(outcome.rejected);
    }
}

/// A chunk of a feed read once more, for views that are built again: it was counted, and what of it
/// cannot be taken kept, when it was first read.
fn decode_again(shared: &Shared, chunk: &Chunk, scratch: &mut Scratch, updates: &mut Updates) {
    let Some(backfill) = &shared.backfill else { return };
    let feed = shared.feeds.of(of_backfill(chunk.partition.0));
    let needs = Needs {
        format: &feed.format,
        secret: &shared.secret,
        views: backfill.views,
        dedup: &backfill.dedup,
        judgement: shared.judgement,
        max_event_bytes: shared.max_event_bytes,
        is_log: feed.is_log,
        takes_own: feed.takes_own,
        tell_fresh: false,
        keep_applied: false,
        erased: shared.views.erased(),
    };
    decoder::decode_chunk(chunk, &needs, i64::MIN / 2, false, scratch, updates);
}
