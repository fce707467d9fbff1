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

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::epochs::{Epochs, Hold};
use crate::ingest::local_log::LocalLog;
use crate::ledger::Book;
use crate::messages::{AppendRefused, ReadHandle};
use crate::models::arrivals::{self, List};
use crate::models::shelf::{self, Asked, Entry, Shelf};
use crate::models::{Fitted, Published, arrivals_of, keep};
use crate::report::{Report, log_report};
use crate::segments;

/// Longest wait for what was handed out to be complete: some epochs.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// The models of this process: on the disk, and as the workers know them.
pub(super) struct Models {
    pub(super) shelf: Shelf,
    entries: Mutex<Vec<Entry>>,
    published: Arc<Published>,
    /// Those of arrival, which whoever makes a row asks.
    pub(super) arrivals: Mutex<List>,
    /// Where these lie; in memory only if nothing is kept.
    lies: Option<Shelf>,
    /// One after the other.
    pub(super) turn: Mutex<()>,
}

impl Models {
    /// All that were published in these folders (of texts, and of arrival), read and verified; none
    /// without a folder. Those of arrival are this process's from now on. `named`: those by which
    /// texts of the state that was put back were scored, and the newest of arrival.
    pub(super) fn load(
        (folder, lies): (Option<&Path>, Option<&Path>),
        named: &[String],
    ) -> Result<Arc<Models>, Report> {
        let shelf = Shelf::at(folder.unwrap_or(Path::new("")));
        let entries = if folder.is_some() { shelf.list()? } else { Vec::new() };
        let of_texts: Vec<String> =
            named.iter().filter(|it| !arrivals::is_ours(it)).cloned().collect();
        shelf::expect(&shelf, &entries, &of_texts)?;
        let published = Arc::new(shelf.published(&entries)?);
        let lies = lies.map(Shelf::at);
        let list = lies.as_ref().map_or_else(|| Ok(List::default()), List::read)?;
        let place = lies.as_ref().unwrap_or(&shelf);
        list.expect(place, named)?;
        arrivals_of().set(list.speakers(place)?);
        Ok(Arc::new(Models {
            shelf,
            entries: entries.into(),
            published,
            arrivals: list.into(),
            lies,
            turn: Mutex::new(()),
        }))
    }

    /// The newest of arrival.
    pub(super) fn newest_arrival(&self) -> Option<arrivals::Entry> {
        self.arrivals.lock().models.last().cloned()
    }

    /// Puts a model of arrival on the list, durably where one is kept, and makes it known. `quiet`:
    /// when what was read is complete, what holds back the rest, and then the time in milliseconds
    /// and the newest event time in microseconds. Before it nothing has changed.
    pub(super) fn take_up<Held>(
        &self,
        model: Fitted,
        quiet: impl FnOnce() -> Result<(Held, (u64, i64)), Report>,
    ) -> Result<arrivals::Entry, Report> {
        let _turn = self.turn.lock();
        let body = model.body();
        let list = self.arrivals.lock().clone();
        let digest = crate::models::digest(&body);
        let path = self.lies.as_ref().map(|it| it.dir().join(&digest));
        let new = path.filter(|it| !it.exists());
        let published = || {
            if let Some(shelf) = &self.lies {
                keep(shelf.dir(), &body)?;
            }
            let (held, now) = quiet()?;
            let next = list.next((&model, &body, &digest), now)?;
            if let Some(shelf) = &self.lies {
                list.let_go(shelf)?;
                next.write(shelf)?;
            }
            Ok((next, held))
        };
        let (next, held) = published().inspect_err(|_| {
            // A body that is not published is not left behind.
            if let Some(path) = &new
                && let Err(why) = segments::remove(path)
            {
                tracing::warn!(file = %path.display(), %why, "could not remove a body");
            }
        })?;
        let (first, entry) = (next.models[0].since, next.models[next.models.len() - 1].clone());
        *self.arrivals.lock() = next;
        arrivals_of().forget(first);
        // Its instant is after those of all before: it is taken.
        arrivals_of().add(entry.speaker(model));
        drop(held);
        Ok(entry)
    }

    /// For the workers.
    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// For a checkpoint.
    pub(super) fn named(self: &Arc<Models>) -> Arc<dyn Fn() -> Vec<String> + Send + Sync> {
        let models = Arc::clone(self);
        Arc::new(move || {
            let of_texts: Vec<String> = models.entries.lock().iter().map(Entry::id).collect();
            of_texts.into_iter().chain(models.arrivals.lock().named()).collect()
        })
    }

    /// Tells the log of those that it does not know yet.
    pub(super) fn tell(&self, log: &LocalLog) {
        let _turn = self.turn.lock();
        let told = self.tell_of_texts(log).and_then(|()| self.tell_of_arrivals(log));
        if let Err(report) = told {
            log_report!(warn, report, "told of a published model at the next start");
        }
    }

    fn tell_of_texts(&self, log: &LocalLog) -> Result<(), Report> {
        let mut entries = self.entries.lock().clone();
        if entries.iter().all(|it| it.told) {
            return Ok(());
        }
        append(log, entries.iter().filter(|it| !it.told).map(Entry::fact).collect())?;
        entries.iter_mut().for_each(|it| it.told = true);
        self.shelf.write(&entries)?;
        *self.entries.lock() = entries;
        Ok(())
    }

    fn tell_of_arrivals(&self, log: &LocalLog) -> Result<(), Report> {
        let mut list = self.arrivals.lock().clone();
        let untold = || list.models.iter().filter(|it| !it.told);
        if untold().next().is_none() {
            return Ok(());
        }
        append(log, untold().map(arrivals::Entry::fact).collect())?;
        list.models.iter_mut().for_each(|it| it.told = true);
        if let Some(shelf) = &self.lies {
            list.write(shelf)?;
        }
        *self.arrivals.lock() = list;
        Ok(())
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
pub(super) struct Quiet<'a>(&'a Epochs);

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
    pub(super) fn quiet(&self) -> Result<Quiet<'_>, Report> {
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

    pub(super) fn newest_event(&self) -> i64 {
        let lines = self.book.state().lines;
        let kept = lines.iter().map(|it| it.newest_event).max().unwrap_or(0);
        kept.max(self.epochs.newest_event())
    }
}

pub(super) fn not_now(why: &str) -> Report {
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
