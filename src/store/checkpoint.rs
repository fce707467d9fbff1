//! One checkpoint after the other, on a thread of its own.
//!
//! # Invariants
//! Identities are durable before the commit is written, and so are the rejects that it counts.
//! Records and commit are one group: the commit is there only if they are, for nothing is read
//! beyond a block that is not whole.
//!
//! # Why this way
//! A complete epoch is pinned and what changed is read there while the workers go on: they only
//! push a number when they touch an entity for the first time since the last checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemas::keeping::StateKeeper;
use schemas::reading::{Instants, Pin};

use super::fresh::{Claimed, FRESH_MAX, Fresh};
use super::payload::{self, Commit, Records};
use super::{Log, Store, load};
use crate::clock;
use crate::messages::{BookState, Epoch};
use crate::metrics::Metrics;
use crate::report::{Report, log_report};
use crate::segments::NewBlock;
use crate::tasks;

/// A checkpoint takes at most this share of the time: after one that took long, the next waits
/// so many times as long (up to `state.max_interval`).
const REST: u32 = 6;

/// What is made durable at once. One sync for all of a checkpoint, but for one of so much that
/// the disk should begin, and a segment end.
const GROUP_BYTES: u64 = 64 << 20;

/// Tries to find the ledger at the very epoch that is pinned.
const MEETINGS: usize = 10_000;

/// Longest time between two looks whether to end, or whether much waits.
const LOOK: Duration = Duration::from_millis(50);

/// The ledger at this epoch, if it stands there now: only then is it put together.
pub type BookStateAt = Arc<dyn Fn(Epoch) -> Option<BookState> + Send + Sync>;

/// What leaves is durable with the checkpoint that it belongs to, and does not leave before.
#[derive(Clone)]
pub struct Leaves {
    /// Gathers what leaves of the epochs up to this one, which is held. True if there is anything
    /// that no checkpoint has: then one is to be made at it.
    pub gather: Arc<dyn Fn(Epoch) -> Result<bool, Report> + Send + Sync>,
    /// Takes the pin over, once the states were read at it: rows are read there, too.
    pub read: Arc<dyn Fn(Pin) + Send + Sync>,
    /// Makes durable what was gathered; before the commit.
    pub settle: Arc<dyn Fn() -> Result<(), Report> + Send + Sync>,
    /// The checkpoint at this epoch is durable: what was gathered up to it may leave.
    pub durable: Arc<dyn Fn(Epoch) + Send + Sync>,
    /// Whether so much waits for a checkpoint that it should come sooner.
    pub much: Arc<dyn Fn() -> bool + Send + Sync>,
}

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
    /// The models that were published, as a checkpoint names them.
    pub models: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Waits until what was rejected is durable; false where it cannot be.
    pub rejects: Arc<dyn Fn() -> bool + Send + Sync>,
    /// What leaves, if anything does.
    pub leaving: Option<Leaves>,
    /// Whether what is decided by the rows up to an epoch is durable; waits for it a moment. Where
    /// it is not, the checkpoint is made later.
    pub decided: Option<Arc<dyn Fn(Epoch) -> bool + Send + Sync>>,
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
    /// Raised when what is no longer the newest is to leave the disk at once, not in its time:
    /// somebody was erased.
    pub forget: Arc<AtomicU64>,
    /// What [`Parts::forget`] was when it was last done.
    pub forgot: Arc<AtomicU64>,
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
    cleaning_fails: bool,
    /// Views that were being built when the newest was made.
    n_building: usize,
    /// A block's memory, used again.
    room: Vec<u8>,
    /// Segments of which nothing is needed once this checkpoint and one more have been made.
    pub(super) retiring: Vec<super::clean::Retiring>,
    /// What is asked to be forgotten, and the position before which all segments retire for it.
    pub(super) forgets: (u64, u64),
}

impl Maker {
    pub(super) fn new(store: Store, parts: Parts, last: Option<BookState>) -> Maker {
        let (room, retiring) = (Vec::new(), Vec::new());
        let hold = Arc::clone(&parts.hold);
        parts.fresh.holds(move || hold(true));
        let (failing, cleaning_fails) = (false, false);
        Maker {
            store,
            parts,
            last,
            made: 0,
            failing,
            cleaning_fails,
            n_building: 0,
            room,
            retiring,
            forgets: (0, 0),
        }
    }

    fn run(mut self, stop: &AtomicBool) -> Result<(), Report> {
        let mut wait = self.store.settings.interval;
        loop {
            let until = clock::monotonic() + wait;
            while !stop.load(SeqCst) && clock::monotonic() < until {
                let left = until.saturating_duration_since(clock::monotonic());
                std::thread::park_timeout(left.min(LOOK));
                // Sooner where much waits; not where the last one failed: the disk needs its time.
                let much = || self.parts.leaving.as_ref().is_some_and(|it| (it.much)());
                if !self.failing && (self.parts.fresh.waiting() > FRESH_MAX / 2 || much()) {
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
        if self.parts.decided.as_ref().is_some_and(|it| !it(epoch)) {
            return Ok(());
        }
        let n_building = self.parts.keepers.iter().filter(|it| (self.parts.building)(it.view()));
        let n_building = n_building.count();
        // What is built again changes states, and no offset.
        let same =
            |it: &BookState| it.lines == book.lines && n_building == 0 && self.n_building == 0;
        // Time alone changes rows, too: then no offset does.
        let leaves = match &self.parts.leaving {
            Some(it) => (it.gather)(epoch)?,
            None => false,
        };
        let forgets = self.parts.forget.load(SeqCst) != self.parts.forgot.load(SeqCst);
        let is_same = self.last.as_ref().is_some_and(same) && self.retiring.is_empty() && !forgets;
        if epoch == 0 || is_same && !leaves {
            return Ok(());
        }
        let began = clock::monotonic();
        let now_ms = (self.parts.now_ms)();
        let seq = self.store.seq;
        self.store.seq += 1;
        if let Err(report) = self.write(pin, &book, seq, now_ms) {
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
        if let Some(it) = &self.parts.leaving {
            (it.durable)(epoch);
        }
        let metrics = &self.parts.metrics;
        metrics.checkpoints.one();
        metrics.checkpoint_epoch.set(epoch as f64 / 1e3);
        metrics.checkpoint_time.observe(clock::since(began));
        let (states, identities) = self.store.bytes();
        metrics.state_bytes.set((states + identities).cast_signed());
        // The checkpoint counts whatever becomes of this; what is not removed is tried again.
        let noted = self.last.as_ref().map_or(Ok(()), |it| self.store.note_kept(it));
        let cleaned = self.clean(now_ms);
        match noted.and(cleaned) {
            Ok(()) => self.cleaning_fails = false,
            Err(report) if !std::mem::replace(&mut self.cleaning_fails, true) => {
                log_report!(error, report, "a checkpoint was made, but not tidied up after");
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// The records as of the pinned epoch, then the identities, then the commit. The epoch is held
    /// only while it is read: old versions pile up behind it, and no disk is waited for meanwhile
    /// (but for more than [`GROUP_BYTES`]).
    fn write(&mut self, pin: Pin, book: &BookState, seq: u32, now_ms: u64) -> Result<(), Report> {
        let Maker { store, parts, room, retiring, .. } = self;
        let epoch = pin.epoch();
        let needs = Maker::needs(store, retiring);
        let identities_from = Maker::identities_from(store, parts.horizon, now_ms);
        let Store {
            state,
            identities,
            newest_in,
            record_bytes,
            incarnation,
            under,
            made_by,
            since,
            dead,
            ..
        } = store;
        let mut group = state.writer.group(now_ms)?;
        for keeper in &parts.keepers {
            let mut block = Records::of(seq, keeper.view(), std::mem::take(room));
            let mut result = Ok(());
            let mut put = |block: &mut Records| -> Result<(), Report> {
                let bytes = block.bytes.len() as u64;
                parts.metrics.state_records.add(block.n);
                parts.metrics.state_written.add(bytes);
                let written = record_bytes.entry(keeper.view()).or_default();
                *written = (written.0 + bytes, written.1 + block.n);
                newest_in.insert(group.segment(), seq);
                group.add(&NewBlock::new(payload::RECORDS, 1, &block.bytes))?;
                block.again();
                if group.bytes() < GROUP_BYTES { Ok(()) } else { group.turn() }
            };
            let shown = keeper.save(epoch, seq, &mut |record| {
                if result.is_ok() {
                    block.push(record);
                    if block.is_full() {
                        result = put(&mut block);
                    }
                }
            });
            if result.is_ok() && block.n > 0 {
                result = put(&mut block);
            }
            *room = block.bytes;
            result?;
            shown.map_err(|gone| lost_track(keeper.view(), epoch, gone.oldest))?;
        }
        match &parts.leaving {
            Some(it) => {
                (it.read)(pin);
                (it.settle)()?;
            }
            None => drop(pin),
        }
        // What the ledger counts as rejected is kept before the offsets go past it.
        if !(parts.rejects)() {
            return Err(rejects_waiting(epoch));
        }
        put_identities(identities, parts, room, (epoch, now_ms))?;
        // One that is being built again is not whole: no checkpoint has it.
        let mut views = load::layouts(&parts.keepers);
        views.retain(|it| !(parts.building)(&it.0));
        let commit = Commit {
            seq,
            incarnation: incarnation.number,
            epoch: book.epoch,
            views,
            under: under.clone(),
            made_by: made_by.clone(),
            since: since.iter().map(|it| (it.0.clone(), *it.1)).collect(),
            entities: (parts.entities)(),
            models: (parts.models)(),
            needs: Some(needs),
            identities_from: Some(identities_from),
            identities: identities.writer.next(),
            dead: dead.clone(),
            lines: book.lines.clone(),
        };
        let bytes = serde_json::to_vec(&commit).map_err(|why| Report {
            code: "store/checkpoint",
            what: "could not write a checkpoint".into(),
            at: vec![("checkpoint", seq.to_string())],
            why: why.to_string(),
            effect: "nothing is lost: states go on in memory, the log holds the events".into(),
            fix: "report it".into(),
        })?;
        newest_in.insert(group.segment(), seq);
        group.add(&NewBlock::new(payload::COMMIT, 1, &bytes))?;
        parts.metrics.state_written.add(bytes.len() as u64);
        group.end()?;
        store.identities_from = identities_from;
        Ok(())
    }
}

/// The identities of the epochs up to this one.
fn put_identities(
    log: &mut Log,
    parts: &Parts,
    room: &mut Vec<u8>,
    (epoch, now_ms): (Epoch, u64),
) -> Result<(), Report> {
    let mut taken = parts.fresh.take(epoch);
    if taken.is_empty() {
        return Ok(());
    }
    // They come in the steps by which they age: few blocks.
    taken.sort_by_key(|it| it.claimed_ms);
    match write_identities(log, &taken, room, now_ms) {
        Ok(bytes) => {
            parts.metrics.state_written.add(bytes);
            Ok(())
        }
        Err(report) => {
            parts.fresh.give_back(epoch, taken);
            Err(report)
        }
    }
}

fn write_identities(
    log: &mut Log,
    taken: &[Claimed],
    room: &mut Vec<u8>,
    now_ms: u64,
) -> Result<u64, Report> {
    let mut group = log.writer.group(now_ms)?;
    let mut put = |room: &Vec<u8>, n: u32| match n {
        0 => Ok(()),
        n => group.add(&NewBlock::new(payload::CLAIMED, n, room)),
    };
    for same in taken.chunk_by(|one, next| one.claimed_ms == next.claimed_ms) {
        let claimed_ms = same[0].claimed_ms;
        payload::begin_claimed(room, claimed_ms);
        let mut n = 0;
        for id in same.iter().flat_map(|it| &it.ids) {
            room.extend_from_slice(&id.to_le_bytes());
            n += 1;
            if n == payload::BLOCK_IDS {
                put(room, n)?;
                payload::begin_claimed(room, claimed_ms);
                n = 0;
            }
        }
        put(room, n)?;
    }
    let bytes = group.bytes();
    group.end().map(|_| bytes)
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
