//! What the workers did, entered into the log once an hour.
//!
//! In: what the workers did since they began. Out: facts `system.measured`, of which the view
//! `capacity` is made.
//!
//! # Meaning
//! At whole multiples of the period, in UTC, one fact: events applied since the one before and how
//! long the workers were busy with them. Only whole periods are measured: the first begins at the
//! first such instant after the start. Its id says the end of the period, so there is one for each.
//! Of fewer than [`EVENTS_MIN`] events nothing is said, and the next fact is
//! of a longer time. Facts about ourselves do not count: a process that nobody sends anything does
//! not go on to say that it was asked to do nothing but this.
//!
//! A measurement is of this process and of this life: whoever reads the log again reads what was
//! measured then, and only a process whose epochs follow the wall measures. While views are built
//! again nothing is measured: that is work for events that were counted before.
//!
//! # When it fails
//! What the log does not take is said with the next fact.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use schemas::encode;
use schemas::events::{CAPACITY, Data, Event, SystemMeasured};
use schemas::limits::{MEASURED, SOME};
use schemas::names::DEFAULT_TENANT;
use schemas::time::rfc3339;

use super::ends::joined;
use super::rebuild::Building;
use crate::engine::{PROCESS, Worked};
use crate::ingest::local_log::LocalLog;
use crate::report::Report;
use crate::tasks;

/// Of fewer events a rate would say more about our own ticks than about them.
const EVENTS_MIN: u64 = 100;

/// What is measured, and where it is said.
pub(super) struct Behind {
    pub(super) every: Duration,
    pub(super) workers: usize,
    pub(super) worked: Box<dyn Fn() -> Worked + Send>,
    pub(super) log: Arc<LocalLog>,
    pub(super) building: Arc<Building>,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The thread that measures.
pub(super) struct Measuring {
    /// Nothing is sent: it ends when this is gone.
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Measuring {
    /// Ends it.
    pub(super) fn stop(self) -> Result<(), Report> {
        drop(self.end);
        joined("measure", self.thread.join().map(Ok))
    }
}

/// Starts measuring.
pub(super) fn start(behind: Behind) -> Result<Measuring, Report> {
    let (end, ended) = crossbeam_channel::bounded(0);
    let thread = tasks::thread("measure", move || behind.run(&ended))?;
    Ok(Measuring { end, thread })
}

/// What was done up to an instant.
#[derive(Clone, Copy)]
struct Mark {
    at_ms: u64,
    worked: Worked,
}

impl Behind {
    fn run(&self, ended: &Receiver<()>) {
        let (mut from, mut last) = (None, 0);
        loop {
            let next = end_after((self.now_ms)().max(last), self.every);
            let wait = Duration::from_millis(next.saturating_sub((self.now_ms)()));
            match ended.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            last = next;
            let now = Mark { at_ms: next, worked: (self.worked)() };
            let Some(begin) = from.filter(|_| self.building.words(None).is_none()) else {
                from = Some(now);
                continue;
            };
            let Some(event) = measured(begin, now, self.workers) else { continue };
            match self.log.append_facts(vec![encode::structured(&event)]) {
                // Whether it becomes durable is seen by all who wait for the log.
                Ok(_) => from = Some(now),
                Err(_) => tracing::warn!("the log does not take what was measured now"),
            }
        }
    }
}

/// The end of the period that an instant lies in.
fn end_after(at_ms: u64, every: Duration) -> u64 {
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
    (at_ms / every).saturating_add(1).saturating_mul(every)
}

/// What is to be said of the time between two marks, if it is worth it.
fn measured(from: Mark, now: Mark, workers: usize) -> Option<Event<'static>> {
    let n_events = now.worked.n_events.saturating_sub(from.worked.n_events);
    let busy_micros = now.worked.busy_micros.saturating_sub(from.worked.busy_micros);
    if n_events < EVENTS_MIN {
        return None;
    }
    let within = |it: u64, range: std::ops::RangeInclusive<i64>| {
        i64::try_from(it).unwrap_or(i64::MAX).clamp(*range.start(), *range.end())
    };
    let count = |it: usize| u16::try_from(it.max(1)).unwrap_or(u16::MAX);
    let processors = std::thread::available_parallelism().map_or(workers, usize::from);
    let time = i64::try_from(now.at_ms).ok()?.checked_mul(1_000)?;
    let data = SystemMeasured {
        process: PROCESS.into(),
        seconds: within(now.at_ms.saturating_sub(from.at_ms) / 1_000, MEASURED),
        n_events: within(n_events, SOME),
        busy_micros: within(busy_micros, SOME),
        workers: count(workers),
        processors: count(processors),
    };
    Some(Event {
        tenant: DEFAULT_TENANT.into(),
        source: CAPACITY.into(),
        id: format!("measured/{PROCESS}/{}", rfc3339(time)).into(),
        time,
        data: Data::SystemMeasured(data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is said is of the time between, its id and its time are the period's end, and of
    /// too little nothing is said. Method: marks by hand.
    #[test]
    fn what_is_said() {
        let mark =
            |at_ms, n_events, busy_micros| Mark { at_ms, worked: Worked { n_events, busy_micros } };
        let hour = Duration::from_secs(3_600);
        let end = end_after(1_772_357_400_123, hour);
        assert_eq!(rfc3339((end * 1_000).cast_signed()), "2026-03-01T10:00:00.000Z");
        assert_eq!(end_after(end, hour), end + 3_600_000);
        let from = mark(end - 1_800_000, 1_000, 5_000);
        assert!(measured(from, mark(end, 1_000 + EVENTS_MIN - 1, 9_000), 2).is_none());
        let event = measured(from, mark(end, 1_000 + EVENTS_MIN, 9_000), 2).unwrap();
        assert_eq!(event.id, "measured/main/2026-03-01T10:00:00.000Z");
        assert_eq!(event.time, (end * 1_000).cast_signed());
        let Data::SystemMeasured(it) = event.data else { panic!("a measurement") };
        assert_eq!((it.seconds, it.n_events, it.busy_micros, it.workers), (1_800, 100, 4_000, 2));
        // As little as may be said.
        let least = measured(mark(end, 0, 0), mark(end, 100, 0), 1).unwrap();
        let Data::SystemMeasured(it) = least.data else { panic!("a measurement") };
        assert_eq!((it.seconds, it.busy_micros), (1, 1));
    }
}
