//! What runs, and how it ends: drained, or stopped in order.
//!
//! # Invariants
//! - Nobody is cut off unanswered, and nothing acknowledged is lost: serving ends first, then what
//!   reads, then the workers, then what writes.
//! - What one part says of its end does not keep the others from ending.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ends::joined;
use super::files::Reading;
use super::measuring::Measuring;
use super::midnights::{Midnights, Passed};
use super::sealing::Sealing;
use super::serving::Serving;
use super::{LOG, kafka, ports};
use crate::config::show_duration;
use crate::engine::Engine;
use crate::epochs::{Epochs, Hold};
use crate::ingest::file::Progress;
use crate::ingest::local_log::{Following, LocalLog};
use crate::ledger::Book;
use crate::messages::{Append, Ledger, ReadHandle};
use crate::notify::{self, Notifying};
use crate::rejects::{Reject, RejectStore};
use crate::report::Report;
use crate::segments::FolderLock;
use crate::sinks::{Asking, Sinks};
use crate::store::Checkpoints;

/// What runs: handles to read, append, and end it.
pub struct Running {
    /// What readers are handed.
    pub read: ReadHandle,
    /// The embedded log, if the plan has one.
    pub append: Option<Arc<dyn Append>>,
    pub(super) book: Arc<Book>,
    pub(super) ledger: Arc<dyn Fn() -> Ledger + Send + Sync>,
    pub(super) engine: Engine,
    pub(super) sources: Vec<Reading>,
    pub(super) clusters: Vec<kafka::Cluster>,
    pub(super) rebuilding: Option<JoinHandle<Result<(), Report>>>,
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) sinks: Option<Sinks>,
    pub(super) notifying: Option<Notifying>,
    pub(super) measuring: Option<Measuring>,
    pub(super) sealing: Option<Sealing>,
    pub(super) midnights: Option<Arc<Midnights>>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) log: Option<(Arc<LocalLog>, Following)>,
    pub(super) rejects: RejectStore,
    pub(super) serving: Option<Serving>,
    pub(super) watching: JoinHandle<()>,
    pub(super) erasing: Option<JoinHandle<()>>,
    /// How long the end may take: requests and streams have theirs, the rest has [`CLOSE`].
    pub(super) within: Duration,
    pub(super) _lock: Option<FolderLock>,
}

/// What is left when every record of every source is in a complete epoch.
pub struct Ended {
    /// What readers are handed.
    pub read: ReadHandle,
    /// Where the records ended, and when.
    pub book: Arc<Book>,
    /// What was sealed on the way, where that is done.
    pub passed: Option<Passed>,
    rejects: RejectStore,
    serving: Option<Serving>,
}

impl Running {
    /// Where HTTP is served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.serving.as_ref().map(|it| it.address)
    }

    /// Where the records ended, as of the last complete epoch.
    pub fn ledger(&self) -> Ledger {
        (self.ledger)()
    }

    /// The sinks, for those who ask; none if there are none.
    pub fn sinks(&self) -> Option<Asking> {
        self.sinks.as_ref().map(Sinks::asking)
    }

    /// The channels, for those who ask; none if there are none.
    pub fn channels(&self) -> Option<notify::AskingChannels> {
        self.notifying.as_ref().map(Notifying::channels)
    }

    /// For those who have something done about messages; none where nothing is told to anybody.
    pub fn notifications(&self) -> Option<notify::Asking> {
        self.notifying.as_ref().map(Notifying::asking)
    }

    /// How far the sources have been read, in their order.
    pub fn progress(&self) -> Vec<Arc<Progress>> {
        self.sources.iter().map(|it| Arc::clone(&it.progress)).collect()
    }

    /// Whether someone has asked for the end: a signal, or the command line.
    pub fn ending(&self) -> bool {
        self.serving.as_ref().is_some_and(|it| *it.end.borrow())
    }

    /// Waits until told to end: SIGINT, SIGTERM, or the command line.
    pub fn until_told(&self) {
        if let Some(serving) = &self.serving {
            serving.until_told();
        }
    }

    /// Waits until every source has been read to its end and every record is in a complete
    /// epoch. Without a log only: a log has no end.
    pub fn drain(self) -> Result<Ended, Report> {
        for source in self.sources {
            joined(&source.name, source.thread.join())?;
        }
        if let Some(report) = self.midnights.as_ref().and_then(|it| it.failed()) {
            return Err(report);
        }
        for cluster in self.clusters {
            cluster.join()?;
        }
        self.engine.join()?;
        self.stop.store(true, SeqCst);
        self.checkpoints.map_or(Ok(()), Checkpoints::stop)?;
        self.sinks.map_or(Ok(()), Sinks::stop)?;
        self.watching.thread().unpark();
        joined("watch", self.watching.join().map(Ok))?;
        let (read, book, rejects) = (self.read, self.book, self.rejects);
        let passed = self.midnights.map(|it| it.passed());
        Ok(Ended { read, book, passed, rejects, serving: self.serving })
    }

    /// [`stop`](Running::stop), given up when it takes longer than it may: for a process that ends
    /// then. What was acknowledged is durable before, and the next start reads the rest.
    pub fn stop_in_time(self) -> Result<(), Report> {
        let within = self.within;
        let (ended, result) = crossbeam_channel::bounded(1);
        let stopping = crate::tasks::thread("stop", move || ended.send(self.stop()))?;
        let late = match result.recv_timeout(within) {
            Ok(result) => return result,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => Report {
                code: "run/stop-late",
                what: "the end took too long; the process ends without the rest of it".into(),
                at: vec![("within", show_duration(within))],
                why: "a disk, or whom something is sent to, does not answer".into(),
                effect: "nothing acknowledged is lost; the next start reads what no checkpoint \
                         holds"
                    .into(),
                fix: "look at the disk; a longer serve.drain_timeout gives it more time".into(),
            },
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
                return joined("stop", stopping.join().map(|_| Ok(())));
            }
        };
        Err(late)
    }

    /// Ends it all: nobody is cut off unanswered, nothing acknowledged is lost.
    pub fn stop(self) -> Result<(), Report> {
        let until = crate::clock::monotonic() + self.within.saturating_sub(LAST_CHECKPOINT);
        let served = self.serving.map_or(Ok(()), Serving::stop);
        let measured = self.measuring.map_or(Ok(()), Measuring::stop);
        let sealed = self.sealing.map_or(Ok(()), Sealing::stop);
        if let Some((log, following)) = &self.log {
            drain((log, following), &self.book, &self.epochs, until);
        }
        self.stop.store(true, SeqCst);
        // Before the log and the rejects are closed under it.
        if let Some(it) = self.erasing {
            it.thread().unpark();
            joined("erasing", it.join().map(Ok))?;
        }
        // What is read already is to get through, whatever the disk does.
        self.epochs.hold(Hold::Checkpoints, false);
        self.epochs.hold(Hold::Memory, false);
        self.epochs.hold(Hold::Outbox, false);
        // The rest is closed whatever became of a feed; what it says is said at the end.
        let mut read: Vec<Result<(), Report>> =
            self.sources.into_iter().map(|it| joined(&it.name, it.thread.join())).collect();
        read.extend(self.clusters.into_iter().map(kafka::Cluster::join));
        read.extend(self.rebuilding.map(|it| joined("rebuild", it.join())));
        if let Some((log, following)) = self.log {
            following.stop();
            read.push(following.join());
            log.close();
        }
        self.engine.join()?;
        // A last checkpoint has what rules decided, or is not made.
        let kept = self.checkpoints.map_or(Ok(()), Checkpoints::stop);
        if let Some(it) = self.notifying {
            it.stop();
        }
        let left = self.sinks.map_or(Ok(()), Sinks::stop);
        self.watching.thread().unpark();
        joined("watch", self.watching.join().map(Ok))?;
        if !self.rejects.flush(ports::GRACE) {
            tracing::error!(
                code = "run/rejects",
                "some rejects were not written; they are found again when the log is read"
            );
        }
        read.into_iter().collect::<Result<(), Report>>()?;
        measured?;
        sealed?;
        kept?;
        left?;
        served
    }
}

impl Ended {
    /// Of the rejects that are kept the first.
    pub fn first_reject(&self) -> Result<Option<Reject>, Report> {
        if !self.rejects.flush(ports::GRACE) {
            tracing::warn!(code = "run/rejects", "some rejects are not written yet");
        }
        self.rejects.kept().first()
    }

    /// Serves what there is until told to end.
    pub fn stay(self) -> Result<(), Report> {
        match self.serving {
            Some(serving) => {
                serving.until_told();
                serving.stop()
            }
            None => Ok(()),
        }
    }

    /// Ends serving, if there was any.
    pub fn stop(self) -> Result<(), Report> {
        self.serving.map_or(Ok(()), Serving::stop)
    }
}

/// What comes after serving has so long: the log read to its end, a last checkpoint, all closed.
pub(super) const CLOSE: Duration = Duration::from_secs(5);
/// Of that, the last checkpoint and the closing; what is not read before is read by the next start.
const LAST_CHECKPOINT: Duration = Duration::from_secs(2);

/// Waits until the views include all that the log holds. Nothing is appended any more.
fn drain(
    (log, following): (&LocalLog, &Following),
    book: &Book,
    epochs: &Epochs,
    until: std::time::Instant,
) {
    let left = || log.end().saturating_sub(book.next((LOG, 0)).unwrap_or(0));
    // Where reading is held back on purpose, or has failed, it would not come to an end.
    while left() > 0 && !epochs.is_held() && !following.has_ended() {
        if crate::clock::monotonic() > until {
            tracing::warn!(records = left(), "ends before all of the log was read");
            return;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
