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
mod asked; // what somebody asked to be built again
mod covered; // whether it can be
mod damaged; // what becomes of a state that cannot be read
mod ends; // how threads end
pub mod erasing; // what is kept of erased customers, taken out of the files
mod feeds; // how what is read is read
mod files; // files on their way through threads
mod folder; // what is durable, opened
mod ground; // what everything stands on
mod kafka; // clusters on their way through threads
mod keep; // the state that is kept
mod measuring; // what the workers did, once an hour
mod midnights; // models of arrival, at those that a replay passes
mod notifying; // rules and channels, on their way through threads
mod plan; // what is to run
mod publishing; // a model becomes the one in use
mod ports; // what serving may ask
mod reading; // everything that is read, begun
mod rebuild; // views that are built again beside the others
mod running; // what runs, and how it ends
mod sealing; // models of arrival, by the day
mod serving; // the server on its runtime
#[cfg(test)]
mod simulation; // the protocol, by a seed
mod sinks; // what leaves, on its way through threads
mod supervised; // what a process does that has a parent
pub mod tried; // a log lived through once more, nothing kept
mod watching; // who looks at the whole

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::commands::replay::Clock;
use crate::config::Settings;
use crate::engine::{self, Ahead, Engine, Parts, Prepared};
use crate::epochs::{Epochs, Limits, TimeSource};
use crate::ingest::local_log::LocalLog;
use crate::ingest::resets::Resets;
use crate::ledger::Book;
use crate::messages::{Append, Chunk, FeedId, Feeds, Ledger, Offsets, Outlet};
use crate::metrics::Metrics;
use crate::report::Report;
use crate::serve::Door;
use crate::sinks::Sinks;
use crate::watch;
use covered::Covered;
pub use ends::end_on_panic;
use feeds::formats;
pub use feeds::mapping;
pub use files::Source;
use files::{Files, note_tails};
use folder::open_rejects;
use ground::{Ground, now_by};
use keep::Kept;
pub use keep::Rebuild;
use midnights::Midnights;
pub use midnights::Passed;
pub use notifying::compiled as compiled_rules;
pub use plan::{Plan, Read, Reread, Resolver};
use publishing::{Models, Publisher};
use reading::Readers;
use rebuild::Building;
pub use running::{Ended, Running};
pub use serving::{ADMIN_ADDRESS, listen_for_signals, tell_address};
use serving::{Porch, serve};
pub use sinks::writer_of;

/// Chunks waiting per feed: two megabytes, some milliseconds of work for a worker.
pub const QUEUE_CHUNKS: usize = 3;

/// Between passes of a repeated replay: one day, so that passes of a file of less do not overlap.
const SHIFT_PER_PASS: i64 = 86_400_000_000;

/// The embedded log is the first feed where there is one.
const LOG: FeedId = 0;

/// Starts everything that the plan names.
pub fn start(settings: Settings, plan: Plan) -> Result<Running, Report> {
    // Before anything is touched: most often it is another of us who has it.
    let door = plan.serve.then(|| Door::reserve(settings.serve.listen)).transpose()?;
    let began = crate::clock::monotonic();
    let metrics = Metrics::default();
    let Ground { lock, secret, clock, log } = Ground::take(&settings, &plan, &metrics)?;
    let porch = door.map(|it| Porch::open(it, &settings, &metrics)).transpose()?;
    let known = feeds::of(&plan)?;
    let topics = kafka::formats(&plan.kafka)?;
    let formats = formats(&known, &topics);
    let n_queues = known.len() + topics.len();
    let feeds = Feeds::new(known);

    engine::judge_by(&settings.health);
    engine::join_by(&settings.identity);
    let there = match &plan.state {
        Some(dir) => Some(erasing::there::There::open(dir, now_by(&clock))?),
        None => None,
    };
    engine::scale_by(&settings.capacity);
    let prepare = || {
        let is_kept = plan.state.is_some();
        let prepared = Prepared::new(&settings.engine, &settings.queues, secret, is_kept)?;
        // Without a state that is kept nothing leaves: what left could not be told from what is new.
        let views: Vec<_> = prepared.leaving().iter().map(|it| it.def()).collect();
        let mut given =
            there.as_ref().map_or_else(Vec::new, |it| sinks::given(&settings, &views, &secret, it));
        given.extend(plan.state.iter().flat_map(|_| plan.sinks.clone()));
        sinks::prepare(&prepared.leaving(), &given);
        Ok::<_, Report>((prepared, given))
    };
    let (mut prepared, mut given) = prepare()?;
    let outbox = sinks::Later::default();
    let again = plan.sources.iter().filter(|it| it.path.as_os_str() != "-");
    let covered = Covered {
        log: log.as_ref().map(LocalLog::stats),
        files: again.map(|it| it.name.as_str()).collect(),
        kafka: &plan.kafka,
    };
    let kept = match &plan.state {
        Some(dir) => {
            let load = |prepared: &Prepared, rebuild: &Rebuild| {
                Kept::load(dir, &settings, prepared, &clock, (&covered, rebuild))
            };
            Some(match load(&prepared, &plan.rebuild) {
                Ok(it) => it,
                Err(report) => {
                    let rebuild = damaged::instead(
                        report,
                        settings.state.on_damage,
                        (dir, clock.now_ms()),
                        log.as_ref(),
                        &covered,
                        &plan.rebuild,
                    )?;
                    // Some of what was kept may be in them already.
                    (prepared, given) = prepare()?;
                    load(&prepared, &rebuild)?
                }
            })
        }
        None => None,
    };
    let leaving = prepared.leaving();
    let seals = midnights::are_passed(&plan) && !plan.gives_arrivals();
    let folders = (plan.models.as_deref(), plan.arrivals());
    let folders = (folders.0, folders.1.as_deref());
    let models = Models::load(folders, kept.as_ref().map_or(&[], |it| it.models()))?;
    if let Some(log) = &log {
        models.tell(log);
    }
    if let Some(log) = &log {
        // Without a state every start reads what there is.
        let kept = kept.as_ref().map(|it| it.book().map_or(0, keep::position));
        log.needed().from(kept.unwrap_or(u64::MAX));
    }
    let after = kept.as_ref().map_or(0, Kept::epoch);
    clock.not_before(after);
    let notifies = log.is_some() && notifying::is_wanted(&settings);
    let planned = notifies.then(Arc::<crate::notify::Planned>::default);
    let held = if notifies { notifying::hold(&prepared, after, clock.now_ms()) } else { 0 };

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
        published: models.published(),
    })?;

    let (end, told) = tokio::sync::watch::channel(false);
    let hangup = Arc::new(tokio::sync::Notify::new());
    if plan.told.is_some() {
        supervised::end_with_parent(end.clone(), Arc::clone(&hangup))?;
        supervised::remember_last_words(settings.data_dir.clone());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let looking = kept.as_ref().map(Kept::looking);
    let folders = looking.iter().flat_map(|it| it.logs().map(|it| it.1));
    let folders = folders.chain(log.as_ref().map(LocalLog::folder)).collect();
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
                building: &building,
                later: &outbox,
            };
            behind.start(given)?
        }
        _ => None,
    };
    let (sinks, leaves) = leaves.unzip();
    let log_needed = log.as_ref().map(LocalLog::needed);
    let forget = erasing::Forget::default();
    let asked = (Arc::clone(&forget.asked), Arc::clone(&forget.done));
    let beside = keep::Beside { log: log_needed, planned: planned.clone(), forget: asked };
    let checkpoints = match kept {
        Some(kept) => Some(kept.start(
            &settings,
            &engine,
            (&book, &epochs, &clock, &durable),
            &metrics,
            (&rejects, &building, &stop),
            (&models, leaves, beside),
        )?),
        None => None,
    };
    let ringing = Arc::clone(&epochs);
    let bell: Arc<dyn Fn() + Send + Sync> = Arc::new(move || ringing.ring());
    let backfill = if anew.is_empty() { None } else { queues.pop() };
    let retried = Arc::clone(&formats);
    let outlets = queues.into_iter().map(|it| Outlet::new(it, Arc::clone(&bell)));
    let through = seals.then(|| {
        let moved = (SHIFT_PER_PASS, settings.serve.max_event_bytes);
        Midnights::of(midnights::Behind {
            ahead: Ahead::new(feeds.clone(), &settings.engine, moved),
            models: &models,
            epochs: &epochs,
            book: &book,
            read: engine.read_handle(),
            // Half of what is kept for all who read.
            undo_max_bytes: settings.engine.undo_max_bytes / 2,
            building: &building,
            stop: &stop,
        })
    });
    let midnights = through.flatten();
    let reading = reading::Behind {
        settings: &settings,
        plan: &plan,
        from: &resumed,
        feeds: &feeds,
        book: &book,
        clock: &clock,
        metrics: &metrics,
        stop: &stop,
        end: &end,
        resets: resets.as_ref(),
        midnights: midnights.as_ref(),
    };
    let Readers { log, sources, clusters } = reading.start(log, formats, topics, outlets)?;
    let append = log.as_ref().map(|it| Arc::clone(&it.0) as Arc<dyn Append>);
    let read = engine.read_handle();
    let rebuilding = match backfill {
        Some(queue) => Some(rebuild::start(rebuild::Behind {
            again: again::Again {
                settings: &settings,
                log: log.as_ref().map(|it| &*it.0),
                formats: retried,
                files: (FeedId::from(plan.log)..).zip(&plan.sources).collect(),
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

    // What is read as of another time was measured, if it was, when it was read first.
    let measuring = match (&log, plan.clock) {
        (Some(log), Clock::Wall) => Some(measuring::start(measuring::Behind {
            every: settings.capacity.measure,
            workers: settings.engine.workers,
            worked: Box::new(engine.worked()),
            log: Arc::clone(&log.0),
            building: Arc::clone(&building),
            now_ms: now_by(&clock),
        })?),
        _ => None,
    };
    let notifying = match (planned, &log) {
        (Some(planned), Some(log)) => notifying::start(notifying::Behind {
            settings: &settings,
            read: &read,
            log: &log.0,
            building: &building,
            from: held,
            now_ms: now_by(&clock),
            planned,
            resolve: plan.resolver.0.clone(),
            rejects: &rejects,
        })?,
        _ => None,
    };
    let said = notifying.as_ref().map(crate::notify::Notifying::counts);
    let reloader = notifying::Reloader {
        settings: settings.clone(),
        read: plan.reread.0.clone(),
        reloading: notifying.as_ref().map(crate::notify::Notifying::reloading),
    };
    let messages = notifying.as_ref().map(crate::notify::Notifying::asking);
    let files: Files = (FeedId::from(plan.log)..)
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
    let dedup: Arc<dyn Fn() -> serde_json::Value + Send + Sync> = Arc::new(engine.dedup());
    let health = Arc::new(watch::Health::awaiting(log.as_ref().map_or(0, |it| it.0.end())));
    let ledger: Arc<dyn Fn() -> Ledger + Send + Sync> = {
        let (note, book, dedup) = (Arc::clone(&note_tails), Arc::clone(&book), Arc::clone(&dedup));
        Arc::new(move || {
            note();
            let notifications = said.as_ref().map(|it| it.lock().clone());
            Ledger { notifications, ..book.ledger(dedup()) }
        })
    };
    let publisher = Arc::new(Publisher {
        models,
        epochs: Arc::clone(&epochs),
        read: read.clone(),
        book: Arc::clone(&book),
        log: log.as_ref().map(|it| Arc::clone(&it.0)),
        now_ms: now_by(&clock),
    });
    // What is read as of another time is told by the models of its time.
    let sealing = match (&log, plan.clock) {
        (Some(_), Clock::Wall) => sealing::start(Arc::clone(&publisher), Arc::clone(&health))?,
        _ => None,
    };
    let serving = match porch {
        None => None,
        Some(porch) => {
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
                messages,
                channels: notifying.as_ref().map(crate::notify::Notifying::channels),
                reloader: reloader.clone(),
                publisher,
                building: Arc::clone(&building),
                now_ms: now_by(&clock),
            })?;
            let address_file = plan.folder(&settings).map(|it| it.join(ADMIN_ADDRESS));
            let again = Box::new(move || reloader.by_signal());
            Some(serve(&settings, porch, ports, (end, told, (hangup, again)), address_file)?)
        }
    };
    let erasing = match (&log, &plan.state) {
        (Some(log), Some(dir)) => Some(erasing::start(erasing::Behind {
            dir: dir.clone(),
            read: read.clone(),
            erased: Box::new(engine.erased()),
            log: Arc::clone(&log.0),
            rejects: rejects.clone(),
            forget,
            outbox: sinks.as_ref().map(Sinks::outbox),
            now_ms: now_by(&clock),
            stop: Arc::clone(&stop),
        })?),
        _ => None,
    };
    let watching = watching::start(watching::Behind {
        settings: &settings,
        told: plan.told.as_ref(),
        engine: &engine,
        book: &book,
        epochs: &epochs,
        read: read.clone(),
        feeds,
        log: log.as_ref().map(|it| Arc::clone(&it.0)),
        files,
        note_tails,
        dedup,
        metrics,
        health,
        building,
        folders,
        stop: &stop,
    })?;
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
        notifying,
        measuring,
        sealing,
        midnights,
        epochs,
        stop,
        log,
        rejects,
        serving,
        watching,
        erasing,
        within: settings.serve.drain_timeout + running::CLOSE,
        _lock: lock,
    })
}
