//! Files on their way through threads of their own, and how far they have been read.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use super::LOG;
use crate::config::Settings;
use crate::ingest::file::{self, Progress};
use crate::ingest::local_log::LocalLog;
use crate::ledger::Book;
use crate::messages::{FeedId, Offsets, Outlet};
use crate::metrics::Metrics;
use crate::rejects::RejectStore;
use crate::report::{Report, log_report};
use crate::tasks;

/// A file, a folder or `-`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Unique.
    pub name: String,
    /// Where.
    pub path: PathBuf,
    /// A mapping file; native CloudEvents if absent.
    pub mapping: Option<PathBuf>,
    /// How often it is read.
    pub repeat: u32,
    /// Records a second; as fast as it goes if absent.
    pub rate: Option<f64>,
}

/// A source on its way through a thread of its own.
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) thread: JoinHandle<Result<(), Report>>,
    pub(super) progress: Arc<Progress>,
}

pub(super) fn read_source(
    feed: FeedId,
    source: &Source,
    settings: &Settings,
    outlet: Outlet,
    (resumed, stop): (&Offsets, &Arc<AtomicBool>),
) -> Result<Reading, Report> {
    let there = file::there(&source.path)?;
    let plan = file::Plan {
        path: source.path.clone(),
        feed,
        first_read_ms: crate::clock::wall_ms(),
        max_event_bytes: settings.serve.max_event_bytes,
        rate: source.rate,
        passes: source.repeat.max(1),
        from: resumed.range((feed, 0)..=(feed, u32::MAX)).map(|it| (it.0.1, *it.1)).collect(),
    };
    let progress = Arc::new(Progress::default());
    // Before its thread has begun it is not read to its end either.
    let bytes_total = there * u64::from(source.repeat.max(1));
    progress.bytes_total.store(bytes_total, std::sync::atomic::Ordering::Relaxed);
    let (stop, shown) = (Arc::clone(stop), Arc::clone(&progress));
    let name = source.name.clone();
    let thread = tasks::thread(&format!("read-{}", source.name), move || {
        let read = file::read(&plan, &outlet, &shown, &stop);
        if let Err(report) = &read {
            log_report!(error, *report, feed = name, "a feed cannot be read further");
            shown.failed.get_or_init(|| report.why.clone());
        }
        read
    })?;
    Ok(Reading { name: source.name.clone(), thread, progress })
}

/// Where the log ends, told to the book (for lag) and to the metrics.
pub(super) fn note_tails(
    book: &Arc<Book>,
    log: Option<Arc<LocalLog>>,
    files: Files,
    metrics: &Metrics,
    rejects: &RejectStore,
) -> Arc<dyn Fn() + Send + Sync> {
    let (book, metrics, rejects) = (Arc::clone(book), metrics.clone(), rejects.clone());
    if let Some(log) = &log {
        log.measure(&metrics.log_commit);
    }
    Arc::new(move || {
        let (kept, summarised, not_kept) = rejects.totals();
        metrics.rejects_kept.set(kept.cast_signed());
        metrics.rejects_summarised.raise_to(summarised);
        metrics.rejects_not_kept.raise_to(not_kept);
        if let Some(log) = &log {
            let stats = log.stats();
            book.tail((LOG, 0), stats.next, stats.newest_ms.unwrap_or(0));
            metrics.log_bytes.set(stats.bytes.cast_signed());
            metrics.log_failing.set(i64::from(stats.failing));
        }
        for (feed, _, progress) in &files {
            let (file, end) = progress.end();
            book.estimate((*feed, file), end);
        }
    })
}

/// Files being read: feed, its name, how far.
pub(super) type Files = Vec<(FeedId, String, Arc<Progress>)>;

/// What of the files is not read yet, or cannot be, in words.
pub(super) fn unread(files: &Files, book: &Book) -> Vec<String> {
    let of = |(feed, name, progress): &(FeedId, String, Arc<Progress>)| {
        use std::sync::atomic::Ordering::Relaxed;
        if let Some(why) = progress.failed.get() {
            return Some(format!("feed {name} cannot be read further: {why}"));
        }
        let (bytes, total) = (progress.bytes.load(Relaxed), progress.bytes_total.load(Relaxed));
        let behind = book.read_of(*feed) < progress.lines.load(Relaxed);
        // Of standard input nobody knows an end.
        let reading = total > 0 && !progress.done.load(Relaxed);
        (reading || behind).then(|| format!("feed {name}: {bytes} of {total} bytes read"))
    };
    files.iter().filter_map(of).collect()
}
