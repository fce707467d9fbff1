//! Views that are built again from the log while the others go on from their states.
//!
//! ```text
//!  log, first record to T ──reader──▶ this thread ──▶ queue ─▶ workers: these views only, with
//!                                     (counts, ends at T)       identities of their own
//!  log, from T on ───────────────────────────────────▶ queue ─▶ workers: every view
//! ```
//!
//! # Meaning
//! A fold's `apply` does not mind the order, so what came before T (where the state of the others
//! stands) may come while what comes after it does. What is read here is in no ledger: it was
//! counted when it was first read. Until it is whole the view is not served, and no checkpoint
//! says that it holds it: a process that goes down meanwhile begins again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::QUEUE_CHUNKS;
use crate::epochs::Epochs;
use crate::ingest::local_log::LocalLog;
use crate::messages::{BACKFILL, Chunk, FormatOf, Framing, NotTaken, Outlet, ReadHandle};
use crate::report::{Report, log_report};
use crate::tasks;

/// Longest time between two looks whether to end.
const LOOK: Duration = Duration::from_millis(50);

/// The views that are being built, and how far.
#[derive(Debug, Default)]
pub(super) struct Building {
    views: Mutex<BTreeSet<&'static str>>,
    next: AtomicU64,
    until: u64,
}

impl Building {
    /// These, from the log's records up to there.
    pub(super) fn of(views: &[&'static str], until: u64) -> Building {
        let views = Mutex::new(views.iter().copied().collect());
        Building { views, next: AtomicU64::new(0), until }
    }

    /// Whether this fold is being built.
    pub(super) fn has(&self, fold: &str) -> bool {
        self.views.lock().contains(fold)
    }

    /// How far, in words; none where nothing is being built, or not this view.
    pub(super) fn words(&self, view: Option<&str>) -> Option<String> {
        let views = self.views.lock();
        let (all, next, until) = (views.iter().copied(), self.next.load(SeqCst), self.until);
        match view {
            _ if views.is_empty() => None,
            Some(view) if !views.contains(crate::engine::fold_of(view)) => None,
            Some(view) => Some(format!("{view} is being built again: {next} of {until} records")),
            None => {
                let names = all.collect::<Vec<_>>().join(", ");
                Some(format!("building again {names}: {next} of {until} records"))
            }
        }
    }

    fn end(&self) {
        self.views.lock().clear();
    }
}

/// What it takes to build.
pub(super) struct Behind<'a> {
    pub(super) log: &'a LocalLog,
    pub(super) formats: FormatOf,
    pub(super) queue: Sender<Chunk>,
    pub(super) bell: Arc<dyn Fn() + Send + Sync>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) read: ReadHandle,
    pub(super) building: Arc<Building>,
    pub(super) stop: Arc<AtomicBool>,
}

/// Reads the log once more, from its first record on.
pub(super) fn start(behind: Behind<'_>) -> Result<JoinHandle<Result<(), Report>>, Report> {
    let Behind { log, formats, queue, bell, epochs, read, building, stop } = behind;
    let (send, chunks) = bounded::<Chunk>(QUEUE_CHUNKS);
    let failed = Arc::new(|report: &Report| {
        log_report!(error, *report, "a view cannot be built again");
    });
    let outlet = Outlet::new(send, Arc::new(|| {}));
    let following = log.read_from(log.first(), BACKFILL, outlet, formats, failed)?;
    let ahead = Outlet::new(queue.clone(), bell);
    tasks::thread("rebuild", move || {
        let began = crate::clock::monotonic();
        let mut whole = building.until <= building.next.load(SeqCst);
        while !whole && !stop.load(SeqCst) {
            let mut chunk = match chunks.recv_timeout(LOOK) {
                Ok(chunk) => chunk,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            cut(&mut chunk, building.until);
            let next = chunk.next;
            // In no ledger: what is missing was told when it was first missed.
            chunk.gap = Default::default();
            if !forward(&ahead, chunk, &stop) {
                break;
            }
            building.next.store(next, SeqCst);
            whole = next >= building.until;
        }
        following.stop();
        // It may be waiting for room.
        drop(chunks);
        let ended = following.join();
        if whole {
            // All is handed out once the queue is empty, and applied when that epoch is complete.
            while !queue.is_empty() && !stop.load(SeqCst) {
                std::thread::park_timeout(LOOK);
            }
            let last = epochs.open();
            while read.instants.complete() < last && !stop.load(SeqCst) {
                std::thread::park_timeout(LOOK);
            }
            if !stop.load(SeqCst) {
                building.end();
                let took_ms = crate::clock::since(began).as_millis() as u64;
                tracing::info!(took_ms, records = building.until, "the views are whole again");
            }
        }
        ended
    })
}

/// Sends it, unless told to stop.
fn forward(ahead: &Outlet, mut chunk: Chunk, stop: &AtomicBool) -> bool {
    loop {
        match ahead.send_within(chunk, LOOK) {
            Ok(()) => return true,
            Err(NotTaken::Stopped) => return false,
            Err(NotTaken::Full(_)) if stop.load(SeqCst) => return false,
            Err(NotTaken::Full(it)) => chunk = it,
        }
    }
}

/// Without the records from there on.
fn cut(chunk: &mut Chunk, until: u64) {
    if chunk.next > until {
        if let Framing::Records(records) = &mut chunk.framing {
            records.truncate(until.saturating_sub(chunk.first) as usize);
        }
        chunk.next = until.max(chunk.first);
    }
}
