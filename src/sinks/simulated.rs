//! Outboxes without threads, on whatever disk is given: who fixes and who delivers take a turn when
//! they are told to.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::batch::Batch;
use super::fixing::Desk;
use super::lane::Lane;
use super::outbox::{Outbox, Parts};
use super::threads::turn;
use super::{Delivery, Given};
use crate::report::Report;
use crate::segments::Medium;

pub(crate) struct Driven {
    outbox: Arc<Outbox>,
    desks: Vec<Desk>,
    ways: Vec<Way>,
}

/// One sink's: what was fixed, and the batch that it has been handed.
struct Way {
    lane: Arc<Lane>,
    batches: mpsc::Receiver<Batch>,
    current: Option<Batch>,
}

impl Driven {
    /// Opens them as [`super::Sinks::start`] does. Every file, from the next segment on, is made by
    /// `file`.
    pub(crate) fn open(
        data_dir: &Path,
        sinks: Vec<Given>,
        parts: Parts,
        file: impl Fn(File) -> Box<dyn Medium> + Clone + Send + 'static,
    ) -> Result<Driven, Report> {
        let (outbox, opened) = Outbox::open(data_dir, sinks, parts)?;
        let mut desks = Vec::new();
        for (n, it) in opened.iter().enumerate() {
            it.lane.log.through(file.clone())?;
            let mut desk = Desk::new(it, n)?;
            desk.write((outbox.now_ms)());
            desks.push(desk);
        }
        let way =
            |it: super::opening::Opened| Way { lane: it.lane, batches: it.batches, current: None };
        Ok(Driven { outbox, desks, ways: opened.into_iter().map(way).collect() })
    }

    /// For the checkpoints.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }

    /// A turn of the one who fixes. `patient`: a pin whose checkpoint is not durable yet is waited
    /// for, else given up; `own`: rows may be read at a pin of its own.
    pub(crate) fn fix(&mut self, patient: bool, own: bool) {
        let mut window = self.outbox.window.lock();
        let durable = self.outbox.durable.load(SeqCst);
        let pin = match window.take() {
            Some(pin) if pin.epoch() <= durable => Some(pin),
            Some(pin) if patient => {
                *window = Some(pin);
                None
            }
            _ => None,
        };
        drop(window);
        turn(&self.outbox, &mut self.desks, pin, (own, false));
    }

    /// One attempt of each sink at what it has been handed.
    pub(crate) fn deliver(&mut self) {
        for way in &mut self.ways {
            let Some(batch) = way.current.take().or_else(|| way.batches.try_recv().ok()) else {
                continue;
            };
            match way.lane.sink.deliver(&batch).now_or_never() {
                Some(Delivery::Durable) => {
                    way.lane.shared.lock().done.push((batch.seq, batch.len() as u64));
                }
                _ => way.current = Some(batch),
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ways.len()
    }

    /// All is to be delivered anew. Gives the number of the first batch of it, once that is durable:
    /// else it is to be asked again.
    pub(crate) fn anew(&mut self, n: usize) -> Option<u64> {
        self.outbox.lanes[n].anew.store(true, SeqCst);
        turn(&self.outbox, &mut self.desks, None, (false, false));
        self.desks[n].anew_from()
    }

    /// How they stand.
    pub(crate) fn told(&self) -> String {
        self.ways.iter().map(|it| it.lane.json(0).to_string()).collect()
    }

    /// Whether nothing waits, is fixed, or is being delivered.
    pub(crate) fn is_idle(&self) -> bool {
        self.ways.iter().all(|way| {
            let shared = way.lane.shared.lock();
            let waits = shared.waiting.values().any(|it| !it.is_empty());
            let is_fixed = shared.told.in_flight > 0 || shared.told.fixing;
            way.current.is_none() && !is_fixed && !waits && way.lane.unread() == 0
        })
    }
}
