//! A model that becomes the one in use, while the process runs.
//!
//! ```text
//!  body durable ─▶ reading held, what was handed out is complete ─▶ the instant from which it
//!  speaks ─▶ list durable ─▶ known to the workers ─▶ reading goes on ─▶ fact in the log
//! ```
//!
//! # Invariants
//! While the list is written no worker has a chunk, and none gets one before all know the model. So
//! every text that was scored before has an event time before its instant, and is scored by the
//! same model at every replay. What is held is reading only: reads of rows go on, HTTP takes events.
//!
//! # When it fails
//! Until the list is durable nothing has changed. A fact that the log does not take is told at the
//! next start.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::epochs::{Epochs, Hold};
use crate::ingest::local_log::LocalLog;
use crate::ledger::Book;
use crate::messages::{AppendRefused, ReadHandle};
use crate::models::Published;
use crate::models::shelf::{self, Asked, Entry, Shelf};
use crate::report::{Report, log_report};

/// Longest wait for what was handed out to be complete: some epochs.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// The models of this process: on the disk, and as the workers know them.
pub(super) struct Models {
    shelf: Shelf,
    entries: Mutex<Vec<Entry>>,
    published: Arc<Published>,
    /// One after the other.
    turn: Mutex<()>,
}

impl Models {
    /// All that were published in this folder, read and verified; none without a folder.
    /// `named`: those by which texts of the state that was put back were scored.
    pub(super) fn load(
        folder: Option<&std::path::Path>,
        named: &[String],
    ) -> Result<Arc<Models>, Report> {
        let shelf = Shelf::at(folder.unwrap_or(std::path::Path::new("")));
        let entries = if folder.is_some() { shelf.list()? } else { Vec::new() };
        shelf::expect(&shelf, &entries, named)?;
        let published = Arc::new(shelf.published(&entries)?);
        Ok(Arc::new(Models { shelf, entries: entries.into(), published, turn: Mutex::new(()) }))
    }

    /// For the workers.
    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// For a checkpoint.
    pub(super) fn named(self: &Arc<Models>) -> Arc<dyn Fn() -> Vec<String> + Send + Sync> {
        let models = Arc::clone(self);
        Arc::new(move || models.entries.lock().iter().map(Entry::id).collect())
    }

    /// Tells the log of those that it does not know yet.
    pub(super) fn tell(&self, log: &LocalLog) {
        let _turn = self.turn.lock();
        let mut entries = self.entries.lock().clone();
        if entries.iter().all(|it| it.told) {
            return;
        }
        let facts = entries.iter().filter(|it| !it.told).map(Entry::fact).collect();
        let told = append(log, facts).and_then(|()| {
            entries.iter_mut().for_each(|it| it.told = true);
            self.shelf.write(&entries)
        });
        match told {
            Ok(()) => *self.entries.lock() = entries,
            Err(report) => {
                log_report!(warn, report, "told of a published model at the next start");
            }
        }
    }
}

fn append(log: &LocalLog, facts: Vec<Vec<u8>>) -> Result<(), Report> {
    let answer = log.append_facts(facts).map(tokio::sync::oneshot::Receiver::blocking_recv);
    match answer {
        Ok(Ok(Ok(_))) => Ok(()),
        Err(AppendRefused::Failed(report)) | Ok(Ok(Err(AppendRefused::Failed(report)))) => {
            Err(report)
        }
        _ => Err(not_now("the log is busy, or ends")),
    }
}

/// What publishing needs of the rest.
pub(super) struct Publisher {
    pub(super) models: Arc<Models>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) read: ReadHandle,
    pub(super) book: Arc<Book>,
    pub(super) log: Option<Arc<LocalLog>>,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Reading, held back until this is dropped.
struct Quiet<'a>(&'a Epochs);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.hold(Hold::Model, false);
    }
}

impl Publisher {
    /// Publishes a model whose body is in the folder; it speaks of texts from an instant on that is
    /// after every event time read so far.
    pub(super) fn publish(&self, asked: &Asked) -> Result<Entry, Report> {
        let Some(log) = &self.log else {
            return Err(not_now("this process replays a file and keeps no log"));
        };
        let models = &self.models;
        let entry = {
            let _turn = models.turn.lock();
            // What takes long comes first.
            let model = models.shelf.body(&asked.digest)?;
            let quiet = self.quiet()?;
            let mut entries = models.entries.lock().clone();
            let now = ((self.now_ms)(), self.newest_event());
            let entry = models.shelf.next(&entries, asked, &model, now)?;
            let speaker = models.shelf.speaker_of(model, &entry);
            entries.push(entry.clone());
            models.shelf.write(&entries)?;
            *models.entries.lock() = entries;
            // Its instant is after those of all before: it is taken.
            models.published.add(speaker);
            drop(quiet);
            entry
        };
        tracing::info!(model = entry.speaks_as(), digest = entry.digest, "a model was published");
        models.tell(log);
        Ok(entry)
    }

    /// Nothing is handed out any more, and what was is complete.
    fn quiet(&self) -> Result<Quiet<'_>, Report> {
        self.epochs.hold(Hold::Model, true);
        let quiet = Quiet(&self.epochs);
        let last = self.epochs.dated();
        let began = crate::clock::monotonic();
        while self.read.instants.complete() < last {
            if crate::clock::since(began) > QUIET_WITHIN {
                return Err(not_now("what was read before did not become complete in time"));
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Ok(quiet)
    }

    fn newest_event(&self) -> i64 {
        let lines = self.book.state().lines;
        let kept = lines.iter().map(|it| it.newest_event).max().unwrap_or(0);
        kept.max(self.epochs.newest_event())
    }
}

fn not_now(why: &str) -> Report {
    Report {
        code: "models/not-now",
        what: "could not publish a model now".into(),
        at: vec![],
        why: why.into(),
        effect: "the models in use stay; no data was touched".into(),
        fix: "try again; where it repeats, look at `/health/ready` and the log of the process"
            .into(),
    }
}
