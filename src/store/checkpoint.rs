//! One checkpoint after the other, on a thread of its own.
//!
//! # Invariants
//! Identities are durable before the records, the records before the commit.
//!
//! # Why this way
//! A complete epoch is pinned and what changed is read there while the workers go on: they only
//! push a number when they touch an entity for the first time since the last checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemas::keeping::StateKeeper;
use schemas::reading::{Instants, Pin};

use super::fresh::{FRESH_MAX, Fresh};
use super::payload::{self, Commit, Records};
use super::{Store, load};
use crate::clock;
use crate::messages::{BookState, Epoch};
use crate::metrics::Metrics;
use crate::report::{Report, log_report};
use crate::segments::NewBlock;
use crate::tasks;

/// A checkpoint takes at most this share of the time: after one that took long, the next waits
/// so many times as long (up to `state.max_interval`).
const REST: u32 = 6;

/// Records that are gathered before they are written: one write and one sync for all of a small
/// checkpoint, and no more memory than this for a large one.
const GROUP_BYTES: usize = 8 << 20;

/// Tries to find the ledger at the very epoch that is pinned.
const MEETINGS: usize = 10_000;

/// Longest time between two looks whether to end, or whether much waits.
const LOOK: Duration = Duration::from_millis(50);

/// The ledger at this epoch, if it stands there now: only then is it put together.
pub type BookStateAt = Arc<dyn Fn(Epoch) -> Option<BookState> + Send + Sync>;

/// What checkpoints are made of.
pub struct Parts {
    /// The folds' states.
    pub keepers: Vec<Arc<dyn StateKeeper>>,
    /// Which epochs can be read.
    pub instants: Arc<dyn Instants>,
    /// Counts and offsets.
    pub book: BookStateAt,
    /// Identities.
    pub fresh: Arc<Fresh>,
    /// Entities there are, by view.
    pub entities: Arc<dyn Fn() -> Vec<(String, u64)> + Send + Sync>,
    /// Waits until what was rejected is durable; false where it cannot be.
    pub rejects: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Holds reading back, or lets it go on.
    pub hold: Arc<dyn Fn(bool) + Send + Sync>,
    /// The time.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Whether a view is being built again.
    pub building: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Told the epoch of each that was made.
    pub durable: Arc<AtomicU64>,
    /// How far back identities are kept, milliseconds, and their most bytes.
    pub horizon: (u64, u64),
    /// Told what is durable from now on.
    pub kept: Arc<dyn Fn(&BookState) + Send + Sync>,
    /// How it is going.
    pub metrics: Metrics,
}

/// The thread that makes them.
pub struct Checkpoints {
    thread: JoinHandle<Result<(), Report>>,
    stop: Arc<AtomicBool>,
}

impl Checkpoints {
    /// Starts.
    pub fn start(
        store: Store,
        parts: Parts,
        last: Option<BookState>,
    ) -> Result<Checkpoints, Report> {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        parts.metrics.incarnation.set(store.incarnation.number.cast_signed());
        let maker = Maker::new(store, parts, last);
        let thread = tasks::thread("checkpoints", move || maker.run(&until))?;
        Ok(Checkpoints { thread, stop })
    }

    /// Makes a last one and ends. The workers must have ended: nothing changes any more.
    pub fn stop(self) -> Result<(), Report> {
        self.stop.store(true, SeqCst);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

pub(super) struct Maker {
    pub(super) store: Store,
    pub(super) parts: Parts,
    /// What the newest checkpoint holds.
    last: Option<BookState>,
    /// Epoch of the newest checkpoint of this life.
    pub(super) made: Epoch,
    failing: bool,
    /// Views that were being built when the newest was made.
    n_building: usize,
    /// Segments of which nothing is needed once this checkpoint and one more have been made.
    pub(super) retiring: Vec<super::clean::Retiring>,
}

impl Maker {
    pub(super) fn new(store: Store, parts: Parts, last: Option<BookState>) -> Maker {
        Maker { store, parts, last, made: 0, failing: false, n_building: 0, retiring: Vec::new() }
    }

    fn run(mut self, stop: &AtomicBool) -> Result<(), Report> {
        let mut wait = self.store.settings.interval;
        loop {
            let until = clock::monotonic() + wait;
            while !stop.load(SeqCst) && clock::monotonic() < until {
                let left = until.saturating_duration_since(clock::monotonic());
                std::thread::park_timeout(left.min(LOOK));
                // Sooner where much waits; not where the last one failed: the disk needs its time.
                if !self.failing && self.parts.fresh.waiting() > FRESH_MAX / 2 {
                    break;
                }
            }
            let last = stop.load(SeqCst);
            let began = clock::monotonic();
            let made = self.make();
            (self.parts.hold)(self.parts.fresh.waiting() > FRESH_MAX);
            wait = self.next_wait(began);
            match made {
                Ok(()) if self.failing => {
                    self.failing = false;
                    tracing::warn!(code = "store/checkpoint", "checkpoints are made again");
                }
                Ok(()) => {}
                Err(report) => {
                    self.parts.metrics.checkpoints_failed.one();
                    wait = self.store.settings.max_interval;
                    if last {
                        return Err(report);
                    }
                    if !std::mem::replace(&mut self.failing, true) {
                        log_report!(error, report, "checkpoints cannot be written");
                    }
                }
            }
            if last {
                self.store.state.writer.roll()?;
                return self.store.identities.writer.roll();
            }
        }
    }

    fn next_wait(&self, began: Instant) -> Duration {
        let settings = &self.store.settings;
        let took = clock::since(began);
        (took * REST).clamp(settings.interval, settings.max_interval.max(settings.interval))
    }

    /// A complete epoch, held, and the ledger at exactly that epoch.
    fn meet(&self) -> Result<(Pin, BookState), Report> {
        for _ in 0..MEETINGS {
            let pin = self.parts.instants.pin();
            if let Some(book) = (self.parts.book)(pin.epoch()) {
                return Ok((pin, book));
            }
            drop(pin);
            std::thread::yield_now();
        }
        Err(Report {
            code: "store/checkpoint",
            what: "could not write a checkpoint".into(),
            at: vec![("epoch", self.parts.instants.complete().to_string())],
            why: format!("in {MEETINGS} tries the ledger never stood at the epoch that was held"),
            effect: "nothing is lost: states go on in memory, the log holds the events".into(),
            fix: "it is tried again; if it repeats, report it".into(),
        })
    }

    /// One checkpoint, if there is anything new.
    pub(super) fn make(&mut self) -> Result<(), Report> {
        let (pin, book) = self.meet()?;
        let epoch = pin.epoch();
        let n_building = self.parts.keepers.iter().filter(|it| (self.parts.building)(it.view()));
        let n_building = n_building.count();
        // What is built again changes states, and no offset.
        let same =
            |it: &BookState| it.lines == book.lines && n_building == 0 && self.n_building == 0;
        if epoch == 0 || self.last.as_ref().is_some_and(same) && self.retiring.is_empty() {
            return Ok(());
        }
        let began = clock::monotonic();
        let now_ms = (self.parts.now_ms)();
        // What the ledger counts as rejected is kept before the offsets go past it.
        if !(self.parts.rejects)() {
            return Err(rejects_waiting(epoch));
        }
        let seq = self.store.seq;
        self.store.seq += 1;
        self.put_identities(epoch, now_ms)?;
        let mut group = Vec::new();
        let records = self.put_records(epoch, seq, now_ms, &mut group);
        drop(pin);
        let made = records.and_then(|()| self.put_commit(seq, book.clone(), now_ms, &group));
        if let Err(report) = made {
            // What was shown for this checkpoint is to be shown again.
            for keeper in &self.parts.keepers {
                keeper.again(&|generation| generation == seq);
            }
            return Err(report);
        }
        (self.parts.kept)(&book);
        self.last = Some(book);
        self.n_building = n_building;
        self.made = epoch;
        self.parts.durable.store(epoch, SeqCst);
        let metrics = &self.parts.metrics;
        metrics.checkpoints.one();
        metrics.checkpoint_epoch.set(epoch as f64 / 1e3);
        metrics.checkpoint_time.observe(clock::since(began));
        let (states, identities) = self.store.bytes();
        metrics.state_bytes.set((states + identities).cast_signed());
        // The checkpoint counts whatever becomes of this.
        self.clean(seq, now_ms)
    }

    /// The identities of the epochs up to this one.
    fn put_identities(&mut self, epoch: Epoch, now_ms: u64) -> Result<(), Report> {
        let taken = self.parts.fresh.take(epoch);
        let mut by_time: BTreeMap<u64, Vec<u128>> = BTreeMap::new();
        for it in &taken {
            // They come in the steps by which they age: few blocks.
            by_time.entry(it.claimed_ms).or_default().extend(&it.ids);
        }
        let payloads: Vec<(Vec<u8>, u32)> = by_time
            .iter()
            .flat_map(|(ms, ids)| ids.chunks(payload::BLOCK_IDS).map(move |it| (ms, it)))
            .map(|(ms, ids)| (payload::claimed(*ms, ids), ids.len() as u32))
            .collect();
        let blocks: Vec<NewBlock<'_>> =
            payloads.iter().map(|(bytes, n)| NewBlock::new(payload::CLAIMED, *n, bytes)).collect();
        if blocks.is_empty() {
            return Ok(());
        }
        if let Err(report) = self.store.identities.writer.append(&blocks, now_ms) {
            self.parts.fresh.give_back(epoch, taken);
            return Err(report);
        }
        let bytes: usize = payloads.iter().map(|it| it.0.len()).sum();
        self.parts.metrics.state_written.add(bytes as u64);
        Ok(())
    }

    /// What changed, as of this epoch. What is left in the group goes with the commit.
    fn put_records(
        &mut self,
        epoch: Epoch,
        seq: u32,
        now_ms: u64,
        group: &mut Vec<Vec<u8>>,
    ) -> Result<(), Report> {
        let Maker { store, parts, .. } = self;
        let mut waiting = 0;
        for keeper in &parts.keepers {
            let mut block = Records::of(seq, keeper.view());
            let mut result = Ok(());
            let mut close = |block: &mut Records| {
                parts.metrics.state_records.add(block.n);
                let bytes = block.bytes.len();
                store.record_bytes.0 += bytes as u64;
                store.record_bytes.1 += block.n;
                group.push(block.close());
                waiting += bytes;
                if waiting < GROUP_BYTES {
                    return Ok(());
                }
                waiting = 0;
                let blocks: Vec<_> = group.iter().map(|it| (payload::RECORDS, &**it)).collect();
                let written = append(store, &parts.metrics, seq, &blocks, now_ms);
                group.clear();
                written
            };
            let shown = keeper.save(epoch, seq, &mut |record| {
                block.push(record);
                if result.is_ok() && block.is_full() {
                    result = close(&mut block);
                }
            });
            result?;
            shown.map_err(|gone| lost_track(keeper.view(), epoch, gone.oldest))?;
            if block.n > 0 {
                close(&mut block)?;
            }
        }
        Ok(())
    }

    /// The last records, and the commit behind them, by one write: it is there only if they are,
    /// for nothing is read beyond a block that is not whole.
    fn put_commit(
        &mut self,
        seq: u32,
        book: BookState,
        now_ms: u64,
        group: &[Vec<u8>],
    ) -> Result<(), Report> {
        let store = &mut self.store;
        // One that is being built again is not whole: no checkpoint has it.
        let mut views = load::layouts(&self.parts.keepers);
        views.retain(|it| !(self.parts.building)(&it.0));
        let commit = Commit {
            seq,
            incarnation: store.incarnation.number,
            epoch: book.epoch,
            views,
            under: store.under.clone(),
            since: store.since.iter().map(|it| (it.0.clone(), *it.1)).collect(),
            entities: (self.parts.entities)(),
            identities: store.identities.writer.next(),
            dead: store.dead.clone(),
            lines: book.lines,
        };
        let bytes = serde_json::to_vec(&commit).map_err(|why| Report {
            code: "store/checkpoint",
            what: "could not write a checkpoint".into(),
            at: vec![("checkpoint", seq.to_string())],
            why: why.to_string(),
            effect: "nothing is lost: states go on in memory, the log holds the events".into(),
            fix: "report it".into(),
        })?;
        let mut blocks: Vec<_> = group.iter().map(|it| (payload::RECORDS, &**it)).collect();
        blocks.push((payload::COMMIT, &bytes));
        append(store, &self.parts.metrics, seq, &blocks, now_ms)
    }
}

/// Appends blocks of a checkpoint by one write, and notes in which segment they lie.
fn append(
    store: &mut Store,
    metrics: &Metrics,
    seq: u32,
    blocks: &[(u16, &[u8])],
    now_ms: u64,
) -> Result<(), Report> {
    let blocks: Vec<NewBlock<'_>> =
        blocks.iter().map(|(tag, payload)| NewBlock::new(*tag, 1, payload)).collect();
    store.state.writer.append(&blocks, now_ms)?;
    let bytes: usize = blocks.iter().map(|it| it.payload.len()).sum();
    metrics.state_written.add(bytes as u64);
    if let Some(segment) = store.state.folder.segments().last() {
        store.newest_in.insert(segment.header.first, seq);
    }
    Ok(())
}

fn rejects_waiting(epoch: Epoch) -> Report {
    Report {
        code: "store/checkpoint",
        what: "could not write a checkpoint".into(),
        at: vec![("epoch", epoch.to_string())],
        why: "the rejects of its epochs are not durable yet".into(),
        effect: "nothing is lost: states go on in memory, the log holds the events".into(),
        fix: "it is tried again; if the disk is full, make room".into(),
    }
}

fn lost_track(view: &str, epoch: Epoch, oldest: Epoch) -> Report {
    Report {
        code: "store/checkpoint",
        what: "could not write a checkpoint".into(),
        at: vec![("view", view.into()), ("epoch", epoch.to_string())],
        why: format!("expected the epoch to be held, found that {oldest} is the oldest"),
        effect: "nothing is lost: states go on in memory, the log holds the events".into(),
        fix: "it is tried again; if it repeats, report it".into(),
    }
}
