//! Models of arrival, sealed by the day while the process runs.
//!
//! ```text
//!  midnight ─▶ rows of `orders` ─▶ sums of lanes ─▶ body durable ─▶ reading held, what was handed
//!  out is complete ─▶ the instant from which it speaks ─▶ list durable ─▶ known to who makes rows
//!  ─▶ reading goes on ─▶ fact in the log
//! ```
//!
//! # Meaning
//! At each midnight in UTC, of the process's clock, what happened before it is sealed, once; also
//! after a start, where none is of the last midnight. A process that is not ready, builds views again
//! or has just started waits ([`SETTLES`]): half of what there is teaches something else. Whoever
//! asks for one by a command gets one of all before the current quarter of the day.
//!
//! # Invariants
//! Rows are read and lanes fitted on this thread, before reading is held; no worker waits for it.
//! Reading all orders takes half of one core: after each slice the thread rests for as long as it
//! worked, up to [`REST_MAX`] ([`Pace`]; a slice is read in some milliseconds). The fit is some 16 ms,
//! at once.
//! Whoever asks by a command waits for no rests.
//! While the list is written no worker has a chunk: so no order that was shown has entered its stage
//! at the model's instant or later, and no row is changed by it.
//!
//! # When it fails
//! Nothing has changed until the list is durable; it is tried again after [`AGAIN`]. Of a day with
//! too few orders nothing is sealed: the model before goes on speaking.
//!
//! # Why this way
//! A replay has no midnights of a clock to wait for: it seals at those of the events (`midnights`),
//! unless it is given the models of then, and says what was said then.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::ends::joined;
use super::publishing::{Publisher, not_now};
use crate::clock;
use crate::messages::ReadHandle;
use crate::models::arrivals::{self, Entry};
use crate::models::{ARRIVED_MIN, QUARTER};
use crate::report::{Report, log_report};
use crate::tasks;
use crate::watch;

/// From the start to the first look: a start has more to do, and who starts again and again is not
/// to seal each time.
const SETTLES: Duration = Duration::from_secs(600);
/// Between two looks whether a midnight has passed.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// After one that could not be sealed.
const AGAIN: Duration = Duration::from_secs(600);
/// The longest rest: whoever ends the process waits for one.
const REST_MAX: Duration = Duration::from_millis(100);
/// The view that says when an order arrives.
const SAYS: &str = "order_visibility";

/// The thread that seals.
pub(super) struct Sealing {
    /// Nothing is sent: it ends when this is gone.
    end: Sender<()>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sealing {
    /// Ends it, in the middle of reading too.
    pub(super) fn stop(self) -> Result<(), Report> {
        self.ends.store(true, SeqCst);
        drop(self.end);
        joined("seal", self.thread.join().map(Ok))
    }
}

/// Whether there is what models are made of, and what they are made for.
pub(super) fn seals_of(read: &ReadHandle) -> bool {
    let has = |name| read.views.iter().any(|it| it.def().name == name);
    has(arrivals::VIEW) && has(SAYS)
}

/// Starts it; nothing where nobody would say when orders arrive.
pub(super) fn start(
    publisher: Arc<Publisher>,
    health: Arc<watch::Health>,
) -> Result<Option<Sealing>, Report> {
    if !seals_of(&publisher.read) {
        return Ok(None);
    }
    let (end, ended) = crossbeam_channel::bounded(0);
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    let thread = tasks::thread("seal", move || by_the_day(&publisher, &health, &ended, &told))?;
    Ok(Some(Sealing { end, ends, thread }))
}

/// Work in slices, half of the time where they are short.
struct Pace(Cell<Instant>);

impl Pace {
    fn start() -> Pace {
        Pace(Cell::new(clock::monotonic()))
    }

    /// Rests for as long as it worked since the last rest, but for no longer than [`REST_MAX`].
    fn rest(&self) {
        std::thread::sleep(clock::since(self.0.get()).min(REST_MAX));
        self.0.set(clock::monotonic());
    }
}

fn by_the_day(
    publisher: &Publisher,
    health: &watch::Health,
    ended: &Receiver<()>,
    ends: &AtomicBool,
) {
    let (mut wait, mut too_few) = (SETTLES, None);
    loop {
        match ended.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => wait = LOOK_EVERY,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let newest = publisher.models.newest_arrival();
        let due = arrivals::due(newest.as_ref(), (publisher.now_ms)());
        let Some(boundary) = due.filter(|it| too_few != Some(*it)) else { continue };
        if !health.troubles().is_empty() {
            continue;
        }
        let pace = Pace::start();
        let go_on = || {
            pace.rest();
            !ends.load(SeqCst)
        };
        match publisher.seal(boundary, &go_on) {
            Ok(_) => {}
            Err(_) if ends.load(SeqCst) => return,
            Err(report) if report.code == FEW => {
                tracing::debug!(why = report.why, "nothing was sealed");
                too_few = Some(boundary);
            }
            Err(report) => {
                log_report!(warn, report, "a model of arrival was not sealed; tried again");
                wait = AGAIN;
            }
        }
    }
}

impl Publisher {
    /// Seals what is known before now.
    pub(super) fn seal_now(&self) -> Result<Entry, Report> {
        let now = (self.now_ms)().cast_signed().saturating_mul(1_000);
        self.seal(now.div_euclid(QUARTER) * QUARTER, &|| true)
    }

    /// Seals what is known before a boundary, and publishes it.
    fn seal(&self, boundary: i64, go_on: &dyn Fn() -> bool) -> Result<Entry, Report> {
        let Some(log) = &self.log else {
            return Err(not_now("this process replays a file and keeps no log"));
        };
        let models = &self.models;
        // What takes long comes first.
        let lanes = arrivals::lanes(&self.read, boundary, go_on);
        let lanes = lanes.ok_or_else(|| not_now("the view `orders` could not be read"))?;
        let model = lanes.sealed(boundary).ok_or_else(too_few_arrived)?;
        drop(lanes);
        let entry = models.take_up(model, || {
            let quiet = self.quiet()?;
            Ok((quiet, ((self.now_ms)(), self.newest_event())))
        })?;
        tracing::info!(model = entry.speaks_as(), digest = entry.digest, "a model was published");
        models.tell(log);
        Ok(entry)
    }
}

/// The code of what is no fault.
const FEW: &str = "models/too-few-arrived";

fn too_few_arrived() -> Report {
    Report {
        code: "models/too-few-arrived",
        what: "cannot seal a model of arrival yet".into(),
        at: vec![],
        why: format!(
            "expected a tenant of whose orders {ARRIVED_MIN} entered one stage, and were delivered, \
             within the last 160 days"
        ),
        effect: "nothing was published; the one in use, if any, stays".into(),
        fix: "wait until more orders were delivered".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: whoever works in slices takes half of the time at the most. Method: slices that end after a
    /// given time, however much of it the system gave; the whole takes twice as long as they did.
    #[test]
    fn works_half_of_the_time() {
        let (began, pace) = (clock::monotonic(), Pace::start());
        let mut worked = Duration::ZERO;
        for _ in 0..20 {
            let at = clock::monotonic();
            while clock::since(at) < Duration::from_millis(3) {
                std::hint::spin_loop();
            }
            worked += clock::since(at).min(REST_MAX);
            pace.rest();
        }
        assert!(clock::since(began) >= worked * 2, "{worked:?} of {:?}", clock::since(began));
    }
}
