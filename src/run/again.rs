//! Everything that was read, read once more: the log, files, topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::ends::joined;
use super::files::Source;
use super::kafka::Topics;
use super::{LOG, QUEUE_CHUNKS, kafka};
use crate::clock::SteadyClock;
use crate::config::{KafkaSettings, Settings};
use crate::ingest::file::{self, Progress};
use crate::ingest::kafka::{self as topics, Hooks, Plan, Recorded};
use crate::ingest::local_log::{Following, LocalLog};
use crate::messages::{BACKFILL, BookLine, Chunk, FeedId, Feeds, FormatOf, Outlet};
use crate::metrics::Metrics;
use crate::report::{Report, log_report};
use crate::tasks;

/// A topic is found by those who read it on at the same time; waited for so long.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// Looked for so often.
const AGAIN: Duration = Duration::from_millis(20);

/// What can be read.
pub(super) struct Again<'a> {
    pub(super) settings: &'a Settings,
    pub(super) log: Option<&'a LocalLog>,
    pub(super) formats: FormatOf,
    pub(super) files: Vec<(FeedId, &'a Source)>,
    pub(super) kafka: Vec<(&'a KafkaSettings, Topics)>,
    pub(super) feeds: Feeds,
    pub(super) clock: Arc<SteadyClock>,
}

/// Readers at work.
pub(super) struct Reading {
    log: Option<Following>,
    threads: Vec<(String, JoinHandle<Result<(), Report>>)>,
    enough: Arc<AtomicBool>,
}

impl Reading {
    /// Asks them to stop.
    pub(super) fn stop(&self) {
        self.enough.store(true, SeqCst);
        if let Some(log) = &self.log {
            log.stop();
        }
    }

    /// Whether all have ended; that of the log has no end, but may be `done`.
    pub(super) fn have_ended(&self, done: bool) -> bool {
        let log = done || self.log.as_ref().is_none_or(Following::has_ended);
        log && self.threads.iter().all(|it| it.1.is_finished())
    }

    /// Waits for their ends.
    pub(super) fn join(self) -> Result<(), Report> {
        let mut ended = self.log.map_or(Ok(()), Following::join);
        for (name, thread) in self.threads {
            ended = ended.and(joined(&name, thread.join()));
        }
        ended
    }
}

/// Reads what these lines were made of, each feed as [`BACKFILL`] and itself.
pub(super) fn start(
    again: &Again<'_>,
    lines: &[BookLine],
) -> Result<(Receiver<Chunk>, Reading), Report> {
    let (send, chunks) = bounded::<Chunk>(QUEUE_CHUNKS);
    let outlet = || Outlet::new(send.clone(), Arc::new(|| {}));
    let enough = Arc::new(AtomicBool::new(false));
    let mut reading = Reading { log: None, threads: Vec::new(), enough: Arc::clone(&enough) };
    let was_read = |name: &str| lines.iter().any(|it| it.feed == name && it.next > it.first);
    if let Some(log) = again.log.filter(|_| was_read("log")) {
        let failed = Arc::new(|report: &Report| {
            log_report!(error, *report, "the log cannot be read once more");
        });
        let formats = Arc::clone(&again.formats);
        let feed = BACKFILL + LOG;
        reading.log = Some(log.read_from(log.first(), feed, outlet(), formats, failed)?);
    }
    for (feed, source) in again.files.iter().filter(|it| was_read(&it.1.name)) {
        let plan = file::Plan {
            path: source.path.clone(),
            feed: BACKFILL + feed,
            first_read_ms: crate::clock::wall_ms(),
            max_event_bytes: again.settings.serve.max_event_bytes,
            rate: None,
            passes: 1,
            from: Default::default(),
        };
        let (outlet, enough) = (outlet(), Arc::clone(&enough));
        let name = format!("again-{}", source.name);
        let thread = tasks::thread(&name, move || {
            let read = file::read(&plan, &outlet, &Arc::new(Progress::default()), &enough);
            if let Err(report) = &read {
                log_report!(error, *report, "a file cannot be read once more");
            }
            read
        })?;
        reading.threads.push((name, thread));
    }
    for (cluster, how) in &again.kafka {
        let recorded = kafka::first_of(lines, &cluster.name);
        if !recorded.is_empty() {
            let threads = again.topics(cluster, how, recorded, outlet(), &enough)?;
            reading.threads.extend(threads.map(|it| (format!("again-{}", cluster.name), it)));
        }
    }
    Ok((chunks, reading))
}

impl Again<'_> {
    /// Topics from where they were first read to their ends of now: what is beyond the lines is
    /// left out by whoever takes the chunks.
    fn topics(
        &self,
        cluster: &KafkaSettings,
        how: &Topics,
        recorded: std::collections::BTreeMap<String, Recorded>,
        outlet: Outlet,
        enough: &Arc<AtomicBool>,
    ) -> Result<[JoinHandle<Result<(), Report>>; 2], Report> {
        let mut settings = cluster.clone();
        settings.topics = recorded.keys().cloned().collect();
        settings.pattern = None;
        let plan = Plan {
            settings,
            takes: kafka::takes(&how.format),
            recorded,
            until_end: true,
            max_event_bytes: self.settings.serve.max_event_bytes,
        };
        let (feeds, stop) = (self.feeds.clone(), Arc::clone(enough));
        let hooks = Hooks {
            add_feed: Arc::new(move |name, identity| {
                let until = crate::clock::monotonic() + FOUND_WITHIN;
                while !stop.load(SeqCst) && crate::clock::monotonic() < until {
                    let is = |it: &&std::sync::Arc<crate::messages::Feed>| {
                        it.name == name && it.identity.as_deref() == Some(identity)
                    };
                    if let Some(at) = feeds.all().iter().position(|it| is(&it)) {
                        return Some(BACKFILL + FeedId::try_from(at).ok()?);
                    }
                    std::thread::park_timeout(AGAIN);
                }
                None
            }),
            begins: Arc::new(|_, _| {}),
            placed: Arc::new(|_, _, _| Ok(())),
            accepted: Arc::new(|_, _| {}),
            tail: Arc::new(|_, _, _| {}),
            durable: None,
            now_ms: super::now_by(&self.clock),
            on_fatal: Arc::new(|report| {
                log_report!(error, *report, "topics cannot be read once more");
            }),
        };
        // Its figures would stand in the place of those of the reading that goes on.
        let metrics = Metrics::default();
        Ok(topics::start(plan, outlet, hooks, metrics, Arc::clone(enough))?.threads)
    }
}
