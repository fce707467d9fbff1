//! The wiring: every channel with its bound, every thread with its fate, start and end.
//!
//! ```text
//!  HTTP ──append──▶ embedded log ──reader──▶ queue ─┐
//!  files ──reader per file────────────────▶ queue ─┼▶ Epochs ─▶ workers ─▶ served maps ─▶ HTTP
//!                                                                └─▶ kept rejects
//! ```
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | feed to workers | [`QUEUE_CHUNKS`] chunks of at most 256 KiB, per feed | the reader waits |
//! | appends to the log | `log.queue_bytes` | 429 with `Retry-After` |
//! | rejects to the store | its own bound | counted in the summary, never silently |
//!
//! # End
//! Serving drains first (nobody is cut off unanswered), then the feeds stop, the last epoch
//! completes, the workers end, the log and the rejects are closed. A thread that panics ends the
//! process with its report ([`end_on_panic`]).

mod again; // what was read, read once more
mod covered; // whether it can be
mod ends; // how threads end
mod feeds; // how what is read is read
mod files; // files on their way through threads
mod folder; // what is durable, opened
mod kafka; // clusters on their way through threads
mod keep; // the state that is kept
mod rebuild; // views that are built again beside the others
mod ports; // what serving may ask
mod serving; // the server on its runtime
mod sinks; // what leaves, on its way through threads
mod supervised; // what a process does that has a parent

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::clock::{Seen, SteadyClock};
use crate::commands::replay::Clock;
use crate::config::{KafkaSettings, Settings};
use crate::engine::{Engine, Parts, Prepared};
use crate::epochs::{Epochs, Hold, Limits, TimeSource};
use crate::ingest::file::Progress;
use crate::ingest::local_log::{Following, LocalLog};
use crate::ingest::resets::Resets;
use crate::ledger::Book;
use crate::messages::{Append, Chunk, FeedId, Feeds, Ledger, Offsets, Outlet, ReadHandle};
use crate::metrics::Metrics;
use crate::rejects::{Reject, RejectStore};
use crate::report::{Report, log_report};
use crate::secret;
use crate::segments::FolderLock;
use crate::serve::Door;
use crate::sinks::{Asking, Given, Sinks};
use crate::store::Checkpoints;
use crate::supervise::notes::Told;
use crate::tasks;
use crate::watch::{self, Watched};
use covered::Covered;
pub use ends::end_on_panic;
use ends::joined;
use feeds::formats;
pub use feeds::mapping;
pub use files::Source;
use files::{Files, Reading, note_tails, read_source, unread};
use folder::{open_log, open_rejects, take_folder};
use keep::Kept;
pub use keep::Rebuild;
use rebuild::Building;
pub use serving::{ADMIN_ADDRESS, listen_for_signals};
use serving::{Serving, forget_address, serve};

/// Chunks waiting per feed: two megabytes, some milliseconds of work for a worker.
pub const QUEUE_CHUNKS: usize = 3;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// With the embedded log (and a data folder); a replay has neither.
    pub log: bool,
    /// Files to read, after the log.
    pub sources: Vec<Source>,
    /// Kafka clusters to read, after the files.
    pub kafka: Vec<KafkaSettings>,
    /// Where states are kept; in memory only if absent.
    pub state: Option<PathBuf>,
    /// What is to be built again from the log.
    pub rebuild: Rebuild,
    /// Read of Kafka what is there at the start, and end; else go on for ever.
    pub until_end: bool,
    /// Sinks besides those of the settings.
    pub sinks: Vec<Given>,
    /// What the parent says, if one has started us.
    pub told: Option<Told>,
    /// Where the epoch's time comes from.
    pub clock: Clock,
    /// Whether to serve HTTP.
    pub serve: bool,
}

impl Plan {
    /// All that the settings name, kept in their data folder and served, until told to end: what
    /// `millstream run` does.
    pub fn of(settings: &Settings) -> Plan {
        let sources = settings.feeds.iter().map(|it| Source {
            name: it.name.clone(),
            path: it.path.clone(),
            mapping: it.mapping.clone(),
            repeat: 1,
            rate: None,
        });
        Plan {
            log: true,
            sources: sources.collect(),
            kafka: settings.kafka.clone(),
            state: Some(settings.data_dir.clone()),
            rebuild: Rebuild::default(),
            until_end: false,
            sinks: Vec::new(),
            told: None,
            clock: Clock::Wall,
            serve: true,
        }
    }
}

/// Between passes of a repeated replay: one day, so that passes of a file of less do not overlap.
const SHIFT_PER_PASS: i64 = 86_400_000_000;

/// What runs: handles to read, append, and end it.
pub struct Running {
    /// What readers are handed.
    pub read: ReadHandle,
    /// The embedded log, if the plan has one.
    pub append: Option<Arc<dyn Append>>,
    book: Arc<Book>,
    ledger: Arc<dyn Fn() -> Ledger + Send + Sync>,
    engine: Engine,
    sources: Vec<Reading>,
    clusters: Vec<kafka::Cluster>,
    rebuilding: Option<JoinHandle<Result<(), Report>>>,
    checkpoints: Option<Checkpoints>,
    sinks: Option<Sinks>,
    epochs: Arc<Epochs>,
    stop: Arc<AtomicBool>,
    log: Option<(Arc<LocalLog>, Following)>,
    rejects: RejectStore,
    serving: Option<Serving>,
    watching: JoinHandle<()>,
    _lock: Option<FolderLock>,
}

/// What is left when every record of every source is in a complete epoch.
pub struct Ended {
    /// What readers are handed.
    pub read: ReadHandle,
    /// Where the records ended, and when.
    pub book: Arc<Book>,
    rejects: RejectStore,
    serving: Option<Serving>,
}

/// Starts everything that the plan names.
pub fn start(settings: Settings, plan: Plan) -> Result<Running, Report> {
    // Before anything is touched: most often it is another of us who has it.
    let door = plan.serve.then(|| Door::reserve(settings.serve.listen)).transpose()?;
    // What is durable is one process's at a time, and under one secret.
    let folder = if plan.log { Some(&settings.data_dir) } else { plan.state.as_ref() };
    let lock = folder.map(|it| take_folder(it)).transpose()?;
    if let Some(folder) = folder {
        forget_address(&folder.join(ADMIN_ADDRESS));
    }
    let secret = match folder {
        Some(folder) => secret::of(folder)?,
        None => secret::fresh()?,
    };
    let began = crate::clock::monotonic();
    let metrics = Metrics::default();
    let steps = metrics.clone();
    let clock = SteadyClock::start(Box::new(move |seen| told_of_step(&steps, seen)));
    let log = match plan.log {
        true => Some(open_log(&settings, &clock)?),
        false => None,
    };
    let known = feeds::of(&plan)?;
    let topics = kafka::formats(&plan.kafka)?;
    let formats = formats(&known, &topics);
    let n_queues = known.len() + topics.len();
    let feeds = Feeds::new(known);

    let prepared = Prepared::new(&settings.engine, secret, plan.state.is_some())?;
    // Without a state that is kept nothing leaves: what left could not be told from what is new.
    let views: Vec<_> = prepared.leaving().iter().map(|it| it.def()).collect();
    let mut given =
        plan.state.as_ref().map_or_else(Vec::new, |_| sinks::given(&settings, &views, &secret));
    given.extend(plan.state.iter().flat_map(|_| plan.sinks.clone()));
    let leaving = prepared.leaving();
    sinks::prepare(&leaving, &given);
    let outbox = sinks::Later::default();
    let again = plan.sources.iter().filter(|it| it.path.as_os_str() != "-");
    let covered = Covered {
        log: log.as_ref().map(LocalLog::stats),
        files: again.map(|it| it.name.as_str()).collect(),
        kafka: &plan.kafka,
    };
    let kept = match &plan.state {
        Some(dir) => {
            Some(Kept::load(dir, &settings, &prepared, &clock, (&covered, &plan.rebuild))?)
        }
        None => None,
    };
    let after = kept.as_ref().map_or(0, Kept::epoch);
    clock.not_before(after);

    // Where reading begins: where the state that was put back had come to.
    let mut from: Offsets = log.iter().map(|it| ((LOG, 0), it.first())).collect();
    let book = Arc::new(Book::new(feeds.clone(), from.clone(), metrics.clone()));
    if let Some(state) = kept.as_ref().and_then(Kept::book) {
        book.restore(state);
        from.extend(keep::offsets(state, &feeds));
    }
    let resets = match &plan.state {
        Some(dir) => Some(Arc::new(Resets::open(dir)?)),
        None => None,
    };
    let log_from = from.get(&(LOG, 0)).copied().unwrap_or(0);
    let resumed = from.clone();
    let (anew, lines) = kept.as_ref().map_or((&[][..], &[][..]), Kept::building);
    let building = Arc::new(Building::of(anew, lines));
    let (anew, lines) = (anew.to_vec(), lines.to_vec());
    // Read once more as they are read on.
    let topics_again = topics.clone();
    // The last queue, if there is one to build from.
    let n_queues = n_queues + usize::from(!anew.is_empty());
    let (mut queues, chunks): (Vec<Sender<Chunk>>, Vec<_>) =
        (0..n_queues).map(|_| crossbeam_channel::bounded(QUEUE_CHUNKS)).unzip();
    let time = match plan.clock {
        Clock::Wall => TimeSource::Wall(Arc::clone(&clock)),
        Clock::Event => TimeSource::Event,
        Clock::Instant(at) => TimeSource::Instant(at),
    };
    let sealed = Arc::clone(&book);
    let epochs = Epochs::new(
        chunks,
        from,
        settings.engine.workers,
        Limits::from(&settings.engine),
        (time, after),
        Box::new(move |it| sealed.sealed(it.epoch, it.offsets)),
    );
    let durable = Arc::new(AtomicU64::new(after));
    if let Some(dir) = &plan.state
        && let Some(guard) = supervised::guard(dir, plan.told.as_ref(), &feeds, &durable)?
    {
        epochs.guarded(guard);
    }
    let rejects = open_rejects(&settings, &plan, feeds.clone(), &clock)?;
    let keep_rejects = rejects.clone();
    let engine = Engine::start(Parts {
        prepared,
        feeds: feeds.clone(),
        epochs: Arc::clone(&epochs),
        book: Arc::clone(&book),
        on_rejected: Box::new(move |all| {
            for rejected in all {
                keep_rejects.put(rejected);
            }
        }),
        shift_per_pass: SHIFT_PER_PASS,
        max_event_bytes: settings.serve.max_event_bytes,
        now_ms: now_by(&clock),
        on_fresh: kept.as_ref().map(Kept::on_fresh),
        on_applied: sinks::on_applied(&given, &feeds, &outbox),
        building: anew.clone(),
    })?;

    let (end, told) = tokio::sync::watch::channel(false);
    if plan.told.is_some() {
        supervised::end_with_parent(end.clone())?;
        supervised::remember_last_words(settings.data_dir.clone());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let looking = kept.as_ref().map(Kept::looking);
    let leaves = match (&kept, &plan.state) {
        (Some(kept), Some(dir)) => {
            let behind = sinks::Behind {
                dir,
                leaving,
                read: engine.read_handle(),
                state: (kept.incarnation(), kept.epoch()),
                epochs: &epochs,
                clock: &clock,
                metrics: &metrics,
                ending: &stop,
                later: &outbox,
            };
            behind.start(given)?
        }
        _ => None,
    };
    let (sinks, leaves) = leaves.unzip();
    let checkpoints = match kept {
        Some(kept) => Some(kept.start(
            &settings,
            &engine,
            (&book, &epochs, &clock, &durable),
            &metrics,
            (&rejects, &building, &stop),
            leaves,
        )?),
        None => None,
    };
    let ringing = Arc::clone(&epochs);
    let bell: Arc<dyn Fn() + Send + Sync> = Arc::new(move || ringing.ring());
    let backfill = if anew.is_empty() { None } else { queues.pop() };
    let retried = Arc::clone(&formats);
    let mut outlets = queues.into_iter().map(|it| Outlet::new(it, Arc::clone(&bell)));
    let log = match log {
        Some(log) => {
            let outlet = outlets.next().expect("the log is the first feed");
            let end = end.clone();
            let on_failed = Arc::new(move |report: &Report| {
                log_report!(error, *report, "the log cannot be read further");
                end.send_replace(true);
            });
            let following = log.read_from(log_from, LOG, outlet, formats, on_failed)?;
            Some((Arc::new(log), following))
        }
        None => None,
    };
    let first_source = FeedId::from(plan.log);
    let mut sources = Vec::new();
    for ((feed, source), outlet) in
        (first_source..).zip(&plan.sources).zip(outlets.by_ref().take(plan.sources.len()))
    {
        sources.push(read_source(feed, source, &settings, outlet, (&resumed, &stop))?);
    }
    // Not before everything that could be refused has been looked at.
    if let Some(resets) = &resets {
        resets.forget_done(&book.state().lines)?;
    }
    let mut clusters = Vec::new();
    for ((cluster, topics), outlet) in plan.kafka.iter().zip(topics).zip(outlets) {
        let behind = kafka::Behind {
            feeds: &feeds,
            book: &book,
            clock: &clock,
            metrics: &metrics,
            stop: &stop,
            end: &end,
            resets: resets.as_ref(),
            max_event_bytes: settings.serve.max_event_bytes,
            until_end: plan.until_end,
            keeps: plan.state.is_some(),
        };
        clusters.push(behind.read(cluster, topics, outlet)?);
    }
    let append = log.as_ref().map(|it| Arc::clone(&it.0) as Arc<dyn Append>);
    let read = engine.read_handle();
    let rebuilding = match backfill {
        Some(queue) => Some(rebuild::start(rebuild::Behind {
            again: again::Again {
                settings: &settings,
                log: log.as_ref().map(|it| &*it.0),
                formats: retried,
                files: (first_source..).zip(&plan.sources).collect(),
                kafka: plan.kafka.iter().zip(topics_again).collect(),
                feeds: feeds.clone(),
                clock: Arc::clone(&clock),
            },
            lines,
            accept_incomplete: plan.rebuild.accept_incomplete,
            feeds: feeds.clone(),
            queue,
            bell,
            epochs: Arc::clone(&epochs),
            read: read.clone(),
            building: Arc::clone(&building),
            stop: Arc::clone(&stop),
        })?),
        None => None,
    };
    // The relations are computed from the states that were put back: then all can be read.
    while read.instants.complete() < after {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    if after > 0 {
        metrics.restored_after.set(crate::clock::since(began).as_secs_f64());
    }

    let files: Files = (first_source..)
        .zip(&sources)
        .map(|(feed, it)| (feed, it.name.clone(), Arc::clone(&it.progress)))
        .collect();
    let note_tails = note_tails(
        &book,
        log.as_ref().map(|it| Arc::clone(&it.0)),
        files.clone(),
        &metrics,
        &rejects,
    );
    let (counted, holding) = (Arc::clone(&book), Arc::clone(&epochs));
    let dedup: Arc<dyn Fn() -> serde_json::Value + Send + Sync> = Arc::new(engine.dedup());
    let health = Arc::new(watch::Health::awaiting(log.as_ref().map_or(0, |it| it.0.end())));
    let ledger: Arc<dyn Fn() -> Ledger + Send + Sync> = {
        let (note, book, dedup) = (Arc::clone(&note_tails), Arc::clone(&book), Arc::clone(&dedup));
        Arc::new(move || {
            note();
            book.ledger(dedup())
        })
    };
    let serving = match door {
        None => None,
        Some(door) => {
            let ports = ports::of(ports::Behind {
                settings: &settings,
                engine: &engine,
                book: &book,
                epochs: &epochs,
                log: log.as_ref().map(|it| Arc::clone(&it.0)),
                rejects: &rejects,
                health: Arc::clone(&health),
                metrics: metrics.clone(),
                ledger: Arc::clone(&ledger),
                end: end.clone(),
                resets,
                state: looking,
                sinks: sinks.as_ref().map(Sinks::asking),
                building: Arc::clone(&building),
                now_ms: now_by(&clock),
            })?;
            let address_file = plan.log.then(|| settings.data_dir.join(ADMIN_ADDRESS));
            Some(serve(&settings, door, ports, end, told, address_file)?)
        }
    };
    let told_metrics = metrics.clone();
    let watched = Watched {
        book: Arc::clone(&book),
        read: read.clone(),
        feeds,
        dedup,
        anomalies: Arc::new(engine.anomalies()),
        note_tails,
        metrics,
        health,
        reading: {
            let building = Arc::clone(&building);
            Arc::new(move || {
                let mut words = unread(&files, &counted);
                words.extend(building.words(None));
                words
            })
        },
        held: Arc::new(move || holding.is_held()),
        stall_after: settings.engine.stall_after,
        cap: watch::Cap::new(settings.engine.memory_max),
        hold_memory: {
            let (epochs, ending) = (Arc::clone(&epochs), Arc::clone(&stop));
            Box::new(move |held| epochs.hold(Hold::Memory, held && !ending.load(SeqCst)))
        },
        on_look: plan.told.as_ref().map(|_| supervised::on_look(Arc::clone(&epochs))),
        on_ready: plan.told.as_ref().map(|it| {
            supervised::on_ready(it, &told_metrics, log.as_ref().map(|it| Arc::clone(&it.0)))
        }),
    };
    let until = Arc::clone(&stop);
    let watching = tasks::thread("watch", move || watched.run(&until))?;
    Ok(Running {
        read,
        append,
        book,
        ledger,
        engine,
        sources,
        clusters,
        rebuilding,
        checkpoints,
        sinks,
        epochs,
        stop,
        log,
        rejects,
        serving,
        watching,
        _lock: lock,
    })
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
        Ok(Ended { read, book, rejects, serving: self.serving })
    }

    /// Ends it all: nobody is cut off unanswered, nothing acknowledged is lost.
    pub fn stop(self) -> Result<(), Report> {
        let served = self.serving.map_or(Ok(()), Serving::stop);
        if let Some((log, following)) = &self.log {
            drain((log, following), &self.book, &self.epochs);
        }
        self.stop.store(true, SeqCst);
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
        let kept = self.checkpoints.map_or(Ok(()), Checkpoints::stop);
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

/// How long what was acknowledged may take to be read at the end, so that the next start has
/// nothing to read; what is left then is read by that.
const DRAIN: Duration = Duration::from_secs(10);

/// Waits until the views include all that the log holds. Nothing is appended any more.
fn drain((log, following): (&LocalLog, &Following), book: &Book, epochs: &Epochs) {
    let began = crate::clock::monotonic();
    let left = || log.end().saturating_sub(book.next((LOG, 0)).unwrap_or(0));
    // Where reading is held back on purpose, or has failed, it would not come to an end.
    while left() > 0 && !epochs.is_held() && !following.has_ended() {
        if crate::clock::since(began) > DRAIN {
            tracing::warn!(records = left(), "ends before all of the log was read");
            return;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// The embedded log is the first feed where there is one.
const LOG: FeedId = 0;

/// The steady clock as a function.
fn now_by(clock: &Arc<SteadyClock>) -> Arc<dyn Fn() -> u64 + Send + Sync> {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.now_ms())
}

fn told_of_step(metrics: &Metrics, seen: Seen) {
    if let Seen::Step(_) = seen {
        metrics.clock_steps.one();
    }
    match seen {
        Seen::Calm => tracing::info!("the system's clock agrees again"),
        Seen::Step(ms) => tracing::error!(
            code = "run/clock-step",
            step_ms = ms,
            "the system's clock was stepped; epochs go on by the steady clock until it stands"
        ),
        Seen::Followed(ms) => {
            tracing::warn!(code = "run/clock-step", step_ms = ms, "the step has stood; followed");
        }
    }
}
