//! The log of a folder that no process has open, lived through once more: the same views, nothing
//! kept, nothing told to anybody outside.
//!
//! ```text
//!  log ─▶ steps: records of one stretch of time ─▶ one epoch each ─▶ complete ─▶ who looks
//!              (an empty one where nothing came for long: timers)
//! ```
//!
//! # Meaning
//! Time is that of the events, at most the instant at which the log took them: a history that was
//! written in an hour is lived through as it happened. From [`Steps::since`] on an epoch is a
//! stretch of [`Steps::step`], complete before the next is read, so that whoever looks sees what a
//! running process would have seen, whatever the machine's pace; before, only the rows count, and
//! epochs are as long as they may be. What happened within one stretch is seen as its end.
//!
//! # When it fails
//! Damage is told and passed over, as when the log is looked at otherwise.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use schemas::decode;
use schemas::reading::Pin;

use super::publishing::Models;
use super::{LOG, Plan, feeds, kafka};
use crate::config::Settings;
use crate::engine::{Engine, Parts, Prepared};
use crate::epochs::{Epochs, Limits, Sealed, TimeSource};
use crate::ingest::local_log::{Looking, Shown};
use crate::ledger::Book;
use crate::messages::{
    Chunk, Epoch, Feeds, FormatOf, Framing, Gap, Offsets, Outlet, ReadHandle, RecordAt,
};
use crate::metrics::Metrics;
use crate::report::Report;
use crate::secret;

/// Where nobody looks an epoch has so many bytes of records.
const FAST_BYTES: usize = 1 << 20;
/// And so many at most where somebody does; then it is cut.
const STEP_BYTES: usize = 16 << 20;
/// The first epoch: of nothing.
pub const FIRST: Epoch = 1;
/// Between two looks whether an epoch is complete: less than it takes.
const LOOK: Duration = Duration::from_micros(50);

/// How history is cut.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// From this instant on somebody looks, milliseconds.
    pub since: Epoch,
    /// Nothing later is read.
    pub until: Epoch,
    /// An epoch.
    pub step: Duration,
    /// Where nothing comes, time goes on by so much.
    pub idle: Duration,
}

/// An epoch that is complete, and the one before: both can be read.
pub struct Seen<'a> {
    /// The views.
    pub read: &'a ReadHandle,
    /// The epoch before.
    pub last: Epoch,
    /// This one.
    pub now: Epoch,
    /// It is one of those that somebody looks at; else only its rows count.
    pub looks: bool,
    /// Records read so far.
    pub records: u64,
}

/// Told of each epoch; says when it wants to look next, though nothing comes.
pub type See<'a> = dyn FnMut(Seen<'_>) -> Result<Option<Epoch>, Report> + 'a;

/// The views as they are at the end of history.
pub struct Lived {
    /// The views; their last epoch can be read.
    pub read: ReadHandle,
    /// Records read.
    pub records: u64,
}

/// Lives through a log.
pub fn live(
    settings: &Settings,
    log: &Looking,
    steps: &Steps,
    see: &mut See<'_>,
) -> Result<Lived, Report> {
    let plan = Plan::of(settings);
    let known = feeds::of(&plan)?;
    let formats = feeds::formats(&known, &kafka::formats(&plan.kafka)?);
    let feeds = Feeds::new(known);
    let prepared = Prepared::new(&settings.engine, &settings.queues, secret::fresh()?, false)?;
    let from: Offsets = [((LOG, 0), log.first())].into();
    let book = Arc::new(Book::new(feeds.clone(), from.clone(), Metrics::default()));
    let (send, chunks) = crossbeam_channel::bounded(1);
    let told = Arc::new(AtomicU64::new(FIRST));
    let limits = Limits {
        // One chunk an epoch, closed at once; none without a chunk.
        period: Duration::ZERO,
        max_period: Duration::ZERO,
        max_arrivals: 1,
        idle_period: Duration::from_secs(86_400),
    };
    let sealed = Arc::clone(&book);
    let time = (TimeSource::Told(Arc::clone(&told)), 0);
    let on_sealed = Box::new(move |it: Sealed| sealed.sealed(it.epoch, it.offsets));
    let workers = settings.engine.workers;
    let epochs = Epochs::new(vec![chunks], from, workers, limits, time, on_sealed);
    let folder = plan.models.as_deref().filter(|it| it.is_dir());
    let models = Models::load((folder, folder), &[])?;
    let engine = Engine::start(Parts {
        prepared,
        feeds,
        epochs: Arc::clone(&epochs),
        book,
        // What was rejected then is so again; its report is kept where it was first told.
        on_rejected: Box::new(drop),
        shift_per_pass: 0,
        max_event_bytes: settings.serve.max_event_bytes,
        now_ms: Arc::new(crate::clock::wall_ms),
        on_fresh: None,
        on_applied: None,
        building: Vec::new(),
        published: models.published(),
    })?;
    let ringing = Arc::clone(&epochs);
    let mut line = Line {
        steps: *steps,
        formats,
        told,
        outlet: Outlet::new(send, Arc::new(move || ringing.ring())),
        read: engine.read_handle(),
        see,
        step: Step::from(log.first(), FIRST),
        next: FIRST,
        now: 0,
        held: None,
        wanted: None,
        records: 0,
    };
    let lived = line.all(log);
    let Line { read, records, outlet, .. } = line;
    drop(outlet);
    let ended = engine.join();
    lived.and(ended)?;
    Ok(Lived { read, records })
}

/// One epoch in the making.
struct Step {
    end: Epoch,
    first: u64,
    next: u64,
    bytes: Vec<u8>,
    records: Vec<RecordAt>,
}

impl Step {
    /// Nothing yet, from this position on.
    fn from(position: u64, end: Epoch) -> Step {
        let (bytes, records) = (Vec::new(), Vec::new());
        Step { end, first: position, next: position, bytes, records }
    }

    fn chunk(self) -> Chunk {
        let first = self.next - self.records.len() as u64;
        Chunk {
            partition: (LOG, 0),
            first,
            next: self.next,
            // Positions that are not there any more.
            gap: Gap { lost: first - self.first, absent: 0 },
            pass: 0,
            appended_ms: self.records.last().map_or(0, |it| it.appended_ms),
            bytes: self.bytes,
            framing: Framing::Records(self.records),
        }
    }
}

/// History, on its way through the engine.
struct Line<'s, 'f> {
    steps: Steps,
    formats: FormatOf,
    told: Arc<AtomicU64>,
    outlet: Outlet,
    read: ReadHandle,
    see: &'s mut See<'f>,
    /// Being filled.
    step: Step,
    /// The epoch that is open in the engine.
    next: Epoch,
    /// The newest instant that was read.
    now: Epoch,
    /// Holds the epoch before.
    held: Option<Pin>,
    /// Whoever looks wants to look then.
    wanted: Option<Epoch>,
    records: u64,
}

impl Line<'_, '_> {
    fn all(&mut self, log: &Looking) -> Result<(), Report> {
        // The epoch before the first: of nothing.
        self.close()?;
        log.each(log.first(), &mut |record| self.record(&record))?;
        if !self.step.records.is_empty() {
            self.close()?;
        }
        // From the last record on only time goes on.
        self.idle_until(self.steps.until)?;
        self.step.end = self.step.end.max(self.steps.until);
        self.close()
    }

    fn record(&mut self, record: &Shown) -> Result<ControlFlow<()>, Report> {
        let apart = record.apart(&self.formats);
        // Of what is not said in our own words the time is that of what came before.
        let said = match apart {
            None => decode::structured(&record.bytes).map_or(0, |it| it.time),
            Some(_) => 0,
        };
        let said = said.max(0).cast_unsigned() / 1_000;
        let before = self.now;
        self.now = before.max(said.min(record.appended_ms));
        if self.now >= self.steps.until {
            return Ok(ControlFlow::Break(()));
        }
        let (is_looked_at, size) = (self.now >= self.steps.since, self.step.bytes.len());
        let is_whole = match is_looked_at {
            // The first that is looked at begins anew.
            true => before < self.steps.since || self.now >= self.step.end || size >= STEP_BYTES,
            false => size >= FAST_BYTES,
        };
        if is_whole && !self.step.records.is_empty() {
            self.close()?;
        }
        if is_looked_at && self.step.records.is_empty() {
            self.idle_until(self.now)?;
            let step = millis(self.steps.step);
            self.step.end = self.step.end.max((self.now / step + 1).saturating_mul(step));
        }
        let at = &mut self.step;
        at.end = at.end.max(self.now);
        at.records.push(RecordAt {
            start: u32::try_from(at.bytes.len()).unwrap_or(u32::MAX),
            len: u32::try_from(record.bytes.len()).unwrap_or(u32::MAX),
            appended_ms: record.appended_ms,
            apart,
        });
        at.bytes.extend_from_slice(&record.bytes);
        at.next = record.position + 1;
        Ok(ControlFlow::Continue(()))
    }

    /// Where nothing came for long, time goes on all the same; only where somebody looks.
    fn idle_until(&mut self, now: Epoch) -> Result<(), Report> {
        if self.next < self.steps.since && now >= self.steps.since {
            // What was so when somebody began to look is so as of then.
            self.step.end = self.steps.since - 1;
            self.close()?;
        }
        loop {
            let last = self.next.max(self.steps.since);
            let wanted = self.wanted.filter(|it| *it > last).unwrap_or(Epoch::MAX);
            let next = wanted.min(last.saturating_add(millis(self.steps.idle)));
            if next >= now {
                return Ok(());
            }
            self.step.end = next;
            self.close()?;
        }
    }

    /// The step into the engine, until it is complete; then it is looked at.
    fn close(&mut self) -> Result<(), Report> {
        let end = self.step.end.max(self.next);
        let after = Step::from(self.step.next, end + 1);
        let step = Step { end, ..std::mem::replace(&mut self.step, after) };
        if self.next < end {
            // What is open is closed with nothing in it, so that the next one is ours.
            let position = step.first;
            self.send(Step::from(position, self.next), end)?;
        }
        self.records += step.records.len() as u64;
        self.send(step, end + 1)?;
        let pin = self.read.instants.pin();
        let (last, looks) = (self.held.as_ref().map_or(0, Pin::epoch), end >= self.steps.since);
        let (read, records) = (&self.read, self.records);
        self.wanted = (self.see)(Seen { read, last, now: end, looks, records })?;
        self.held = Some(pin);
        Ok(())
    }

    /// `next`: the epoch that is open afterwards.
    fn send(&mut self, step: Step, next: Epoch) -> Result<(), Report> {
        let epoch = self.next;
        self.told.store(next, SeqCst);
        self.next = next;
        if self.outlet.send(step.chunk()).is_err() {
            return Err(stopped());
        }
        while self.read.instants.complete() < epoch {
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }
}

fn millis(it: Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn stopped() -> Report {
    Report {
        code: "engine/worker",
        what: "could not compute the views".into(),
        at: vec![],
        why: "the workers have ended".into(),
        effect: "nothing was changed: what is durable was only read".into(),
        fix: "see the log lines before this".into(),
    }
}
