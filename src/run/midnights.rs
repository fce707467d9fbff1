//! Models of arrival, sealed at the midnights that a replay by the events' own time passes.
//!
//! ```text
//!  record of the next day ─▶ it waits until what was read before is complete ─▶ rows of `orders`
//!  ─▶ sums of lanes ─▶ body, list ─▶ known to who makes rows ─▶ reading goes on with that record
//! ```
//!
//! # Meaning
//! In the order of reading, a *cut* is before each record that reaches a midnight in UTC which no
//! record before it had reached. There what happened before the newest midnight reached is sealed, of
//! exactly the records before the cut; the model speaks from right behind the newest event time of
//! these on. So the list of models and all rows are a function of the file: of neither the number of
//! workers nor how records come in chunks and epochs, nor of when it was stopped and went on
//! (test: `a_replay_seals_at_the_midnights_it_passes`).
//!
//! # Invariants
//! - It waits on the thread that reads, and there is one: nothing behind the cut is handed out.
//! - At most one model a cut, however many days it jumps; of a boundary that is on the list none.
//! - What is late goes on as ever: it is in the next model, if it is of before that one's boundary.
//!
//! # State
//! The list and its bodies, as a running process has them: in the folder of the state, or in memory
//! where none is kept. The sums of the last cut, so that only orders that changed since are read at
//! the next; where a day has too many of these all are ([`Carried`]).
//!
//! # When it fails
//! A model that cannot be written ends the replay with its report: going on without would say other
//! things of the same file. With a state the replay goes on from there when it is started again.
//!
//! # Why this way
//! Topics are not read so: which of two partitions is ahead is decided by the network, and no two
//! replays would have the same cuts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::Plan;
use super::publishing::{Models, not_now};
use super::rebuild::Building;
use super::sealing::seals_of;
use crate::commands::replay::Clock;
use crate::engine::Ahead;
use crate::epochs::Epochs;
use crate::ledger::Book;
use crate::messages::{Chunk, Framing, Gap, HandOn, Partition, ReadHandle, Stopped, Through};
use crate::models::arrivals::{self, Carried, DAY};
use crate::report::{Report, log_report};

/// Between two looks whether what was read is complete.
const LOOK: Duration = Duration::from_micros(200);

/// What was sealed on the way.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Passed {
    /// Cuts: how often reading waited.
    pub cuts: u64,
    /// Models that were sealed in this life.
    pub sealed: u64,
    /// Cuts at which too few orders had arrived.
    pub too_few: u64,
    /// How long reading waited for it, seconds.
    pub waited_s: f64,
    /// Those that are on the list at the end, as `millstream model list` tells them.
    pub models: Vec<Value>,
}

/// Who stands before the queue, and seals.
pub(super) struct Midnights {
    ahead: Ahead,
    models: Arc<Models>,
    epochs: Arc<Epochs>,
    book: Arc<Book>,
    read: ReadHandle,
    building: Arc<Building>,
    stop: Arc<AtomicBool>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The midnight that nothing has reached yet; none before the first event.
    next: Option<i64>,
    /// What was handed on last: up to which offset.
    handed: Option<(Partition, u64)>,
    carried: Carried,
    passed: Passed,
    failed: Option<Report>,
}

/// What it takes.
pub(super) struct Behind<'a> {
    pub(super) ahead: Ahead,
    pub(super) models: &'a Arc<Models>,
    pub(super) epochs: &'a Arc<Epochs>,
    pub(super) book: &'a Arc<Book>,
    pub(super) read: ReadHandle,
    /// So much undo may be held for the sums.
    pub(super) undo_max_bytes: u64,
    pub(super) building: &'a Arc<Building>,
    pub(super) stop: &'a Arc<AtomicBool>,
}

/// Whether a plan seals as it goes, where it is given no list of models: what one reads as of the
/// events' own time, in an order that is the same every time.
pub(super) fn are_passed(plan: &Plan) -> bool {
    let is_one = plan.sources.len() == 1 && plan.kafka.is_empty() && !plan.log;
    plan.seals && is_one && plan.until_end && plan.clock == Clock::Event
}

impl Midnights {
    /// Nothing where nobody would say when orders arrive.
    pub(super) fn of(behind: Behind<'_>) -> Option<Arc<Midnights>> {
        let Behind { ahead, models, epochs, book, read, undo_max_bytes, building, stop } = behind;
        if !seals_of(&read) {
            return None;
        }
        // What was put back had come so far.
        let kept = book.state().lines.iter().map(|it| it.newest_event).max();
        let next = kept.filter(|it| *it > 0).map(after);
        let (passed, handed, failed) = (Passed::default(), None, None);
        Some(Arc::new(Midnights {
            ahead,
            models: Arc::clone(models),
            epochs: Arc::clone(epochs),
            book: Arc::clone(book),
            read,
            building: Arc::clone(building),
            stop: Arc::clone(stop),
            inner: Mutex::new(Inner {
                next,
                handed,
                carried: Carried::new(undo_max_bytes),
                passed,
                failed,
            }),
        }))
    }

    /// What was sealed so far.
    pub(super) fn passed(&self) -> Passed {
        let models = self.models.arrivals.lock().models.iter().map(|it| it.as_json()).collect();
        Passed { models, ..self.inner.lock().passed.clone() }
    }

    /// Why it ended, if it did.
    pub(super) fn failed(&self) -> Option<Report> {
        self.inner.lock().failed.clone()
    }

    /// Waits until what was handed on is complete, and seals what was before a boundary.
    fn cut(&self, inner: &mut Inner, boundary: i64) -> Result<(), Stopped> {
        let began = crate::clock::monotonic();
        self.epochs.hurry(true);
        let waited = self.until_complete(inner.handed);
        self.epochs.hurry(false);
        waited?;
        let sealed = self.seal(&mut inner.carried, boundary);
        inner.passed.cuts += 1;
        inner.passed.waited_s += crate::clock::since(began).as_secs_f64();
        match sealed {
            Ok(Sealing::One) => inner.passed.sealed += 1,
            Ok(Sealing::TooFew) => inner.passed.too_few += 1,
            Ok(Sealing::Known) => {}
            Err(_) if self.stop.load(SeqCst) => return Err(Stopped),
            Err(report) => {
                log_report!(error, report, "a model of arrival was not sealed; the replay ends");
                inner.failed = Some(report);
                return Err(Stopped);
            }
        }
        Ok(())
    }

    fn until_complete(&self, handed: Option<(Partition, u64)>) -> Result<(), Stopped> {
        let is_complete = || {
            // In one queue: what was handed on before is complete too.
            let counted =
                handed.is_none_or(|(of, next)| self.book.next(of).is_some_and(|it| it >= next));
            counted && self.read.instants.complete() >= self.book.state().epoch
        };
        while !is_complete() || self.building.goes_on() {
            if self.stop.load(SeqCst) {
                return Err(Stopped);
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    fn seal(&self, carried: &mut Carried, boundary: i64) -> Result<Sealing, Report> {
        let known = self.models.newest_arrival();
        if known.is_some_and(|it| it.boundary >= boundary) {
            // By an earlier life, which came further than its last checkpoint.
            return Ok(Sealing::Known);
        }
        if self.building.shows_half(arrivals::VIEW) {
            return Err(not_now("the view `orders` could not be built again"));
        }
        let lanes = carried.to(&self.read, boundary, &|| !self.stop.load(SeqCst));
        let lanes = lanes.ok_or_else(|| not_now("the view `orders` could not be read"))?;
        let Some(model) = lanes.sealed(boundary) else { return Ok(Sealing::TooFew) };
        let lines = self.book.state().lines;
        let newest = lines.iter().map(|it| it.newest_event).max().unwrap_or(0);
        // The events' own time is all the time there is.
        let now_ms = newest.max(0).cast_unsigned() / 1_000;
        let entry = self.models.take_up(model, || Ok(((), (now_ms, newest))))?;
        tracing::debug!(model = entry.speaks_as(), digest = entry.digest, "sealed at a midnight");
        Ok(Sealing::One)
    }
}

enum Sealing {
    One,
    TooFew,
    Known,
}

/// The midnight after an instant.
fn after(at: i64) -> i64 {
    (at.div_euclid(DAY) + 1) * DAY
}

impl Through for Midnights {
    fn pass(&self, chunk: Chunk, hand_on: HandOn<'_>) -> Result<(), Stopped> {
        let inner = &mut *self.inner.lock();
        inner.carried.relieve(&self.read);
        let mut from = (0, chunk.first);
        let mut handed = from;
        loop {
            let bound = inner.next.unwrap_or(i64::MIN);
            let Some(it) = self.ahead.reaches(&chunk, from, bound) else { break };
            if inner.next.is_some() {
                if it.offset > handed.1 {
                    hand_on(piece(&chunk, handed, (it.byte, it.offset)))?;
                    inner.handed = Some((chunk.partition, it.offset));
                }
                handed = (it.byte, it.offset);
                self.cut(inner, it.time.div_euclid(DAY) * DAY)?;
            }
            inner.next = Some(after(it.time));
            // Looked at once more, it reaches nothing.
            from = (it.byte, it.offset);
        }
        let next = (chunk.partition, chunk.next);
        hand_on(rest(chunk, handed))?;
        inner.handed = Some(next);
        Ok(())
    }
}

/// The records of a chunk of lines from one place to another.
fn piece(chunk: &Chunk, (byte, first): (usize, u64), (end, next): (usize, u64)) -> Chunk {
    Chunk {
        partition: chunk.partition,
        first,
        next,
        gap: if first == chunk.first { chunk.gap } else { Gap::default() },
        pass: chunk.pass,
        appended_ms: chunk.appended_ms,
        bytes: chunk.bytes[byte..end].to_vec(),
        framing: Framing::Lines,
    }
}

/// Those from a place on.
fn rest(chunk: Chunk, from: (usize, u64)) -> Chunk {
    match from.0 {
        0 => chunk,
        _ => piece(&chunk, from, (chunk.bytes.len(), chunk.next)),
    }
}
