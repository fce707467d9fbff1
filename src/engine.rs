//! Drives the dataflow: owns the timely workers, feeds them epochs, reads the frontier.
//!
//! In: dated chunks from [`Epochs`]. Out: [`ReadHandle`]; counts to the [`Book`]; rejects.
//!
//! # Invariants
//! - The only room that knows `dataflows`.
//! - A worker never waits for a disk, a lock held across I/O, or a reader.
//! - With nothing to do every worker is parked; a feed's bell wakes one.
//!
//! # When it fails
//! A panic in a worker ends the process with its report (the hook is set at the door): a worker
//! that is missing would leave the others waiting for it without a word.

mod decoder;
#[cfg(feature = "crash")]
mod hook; // a marked record brings the process down
mod introspect;

pub use introspect::OperatorLine;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::dedup::{Dedup, DedupLimits};
use dataflows::inputs::Updates;
use parking_lot::Mutex;
use schemas::keeping::StateKeeper;
use schemas::leaving::Leaving;
use schemas::names::{Kind, Secret};
use schemas::reading::Instants;
use timely::worker::Worker;

use crate::config;
use crate::epochs::{Epochs, Take};
use crate::ledger::Book;
use crate::messages::{
    Applied, AsOf, BACKFILL, Chunk, Epoch, Feeds, Partition, ReadHandle, Rejected, buffers,
    of_backfill,
};
use crate::report::Report;
use crate::tasks;
use decoder::{Judgement, Needs, Scratch};

/// Where rejected records go; must not block for long.
pub type OnRejected = Box<dyn Fn(Vec<Rejected>) + Send + Sync>;

/// Told of identities that are new in an epoch, with the instant from which they are remembered;
/// before the epoch can be complete.
pub type OnFresh = Box<dyn Fn(Epoch, u64, Vec<u128>) + Send + Sync>;

/// Told of the events of a partition that were applied in an epoch; before it can be complete.
pub type OnApplied = Box<dyn Fn(Epoch, Partition, Applied) + Send + Sync>;

/// What an engine is made of.
pub struct Parts {
    /// Its views and identities.
    pub prepared: Prepared,
    /// Every feed, by [`crate::messages::FeedId`].
    pub feeds: Feeds,
    /// Who dates.
    pub epochs: Arc<Epochs>,
    /// Who counts.
    pub book: Arc<Book>,
    /// Where rejects go.
    pub on_rejected: OnRejected,
    /// Added to event times once per pass, microseconds (repeated replays).
    pub shift_per_pass: i64,
    /// Longest record.
    pub max_event_bytes: u64,
    /// By which leases end.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Where new identities go, if states are kept.
    pub on_fresh: Option<OnFresh>,
    /// Where the events that are applied go, if anybody takes them.
    pub on_applied: Option<OnApplied>,
    /// Views that are built again from what [`BACKFILL`] brings.
    pub building: Vec<&'static str>,
}

/// Views and identities of an engine that does not run yet: states can be put back.
pub struct Prepared {
    settings: config::Engine,
    secret: Secret,
    chosen: ViewSet,
    views: Arc<Views>,
    dedup: Dedup,
}

impl Prepared {
    /// Empty. `keep`: states are going to be kept.
    pub fn new(settings: &config::Engine, secret: Secret, keep: bool) -> Result<Prepared, Report> {
        let chosen = chosen(&settings.views)?;
        let make = if keep { Views::keeping } else { Views::new };
        let views = make(chosen, settings.workers, secret, settings.undo_max_bytes);
        let dedup = dedup(settings);
        Ok(Prepared { settings: settings.clone(), secret, chosen, views, dedup })
    }

    /// The states, as the store sees them.
    pub fn keepers(&self) -> Vec<Arc<dyn StateKeeper>> {
        self.views.keepers().to_vec()
    }

    /// The views, as those see them who hand rows on.
    pub fn leaving(&self) -> Vec<Arc<dyn Leaving>> {
        self.views.leaving().to_vec()
    }

    /// What the secret makes of a known text: a state that was kept under another is not read.
    pub fn under(&self) -> String {
        let made = self.secret.fingerprint("", Kind::Event, &["under which secret"]);
        format!("{made:032x}")
    }

    /// Puts identities back.
    pub fn take_ids(&self, ids: &[u128], claimed_ms: u64) {
        self.dedup.restore(ids, claimed_ms);
    }
}

/// The running engine.
pub struct Engine {
    shared: Arc<Shared>,
    newest: tokio::sync::watch::Receiver<AsOf>,
    workers: std::thread::JoinHandle<Result<(), String>>,
    housekeeping: std::thread::JoinHandle<()>,
}

struct Shared {
    feeds: Feeds,
    secret: Secret,
    chosen: ViewSet,
    views: Arc<Views>,
    dedup: Dedup,
    epochs: Arc<Epochs>,
    book: Arc<Book>,
    on_rejected: OnRejected,
    judgement: Judgement,
    max_event_bytes: usize,
    introspection: introspect::Introspection,
    /// Newest event time per partition, for lateness.
    newest_event: Mutex<std::collections::BTreeMap<Partition, i64>>,
    on_fresh: Option<OnFresh>,
    on_applied: Option<OnApplied>,
    backfill: Option<Backfill>,
    stopped: AtomicBool,
}

/// What is built again: these views, with identities of their own.
struct Backfill {
    views: ViewSet,
    dedup: Dedup,
}

impl Backfill {
    fn of(views: &[&'static str], settings: &config::Engine) -> Option<Backfill> {
        if views.is_empty() {
            return None;
        }
        let views = ViewSet::parse(views).expect("folds of the catalogue");
        Some(Backfill { views, dedup: dedup(settings) })
    }
}

fn dedup(settings: &config::Engine) -> Dedup {
    Dedup::new(DedupLimits {
        horizon_ms: settings.dedup_horizon.as_millis() as u64,
        max_bytes: settings.dedup_max_bytes,
    })
}

/// The fold whose rows a view is made from; itself, if it is none's.
pub fn fold_of(view: &str) -> &str {
    ViewSet::fold_of(view)
}

/// The definitions of every view of this build.
pub fn definitions() -> &'static [&'static schemas::rows::ViewDef] {
    dataflows::catalogue::definitions()
}

/// The views that are to be kept: all, if none is named. A relation needs the folds that it reads.
pub fn chosen(names: &[String]) -> Result<ViewSet, Report> {
    if names.is_empty() {
        return Ok(ViewSet::all());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    ViewSet::parse(&names).map_err(|why| Report {
        code: "engine/views",
        what: "cannot keep these views".into(),
        at: vec![("setting", "engine.views".into())],
        why,
        effect: "nothing was started; no data was touched".into(),
        fix: "name views of the catalogue (`GET /v1/views` lists them)".into(),
    })
}

impl Engine {
    /// Starts the workers and the housekeeping thread.
    pub fn start(parts: Parts) -> Result<Engine, Report> {
        let Parts {
            prepared: Prepared { settings, secret, chosen, views, dedup },
            feeds,
            epochs,
            book,
            on_rejected,
            shift_per_pass,
            max_event_bytes,
            now_ms,
            on_fresh,
            on_applied,
            building,
        } = parts;
        let backfill = Backfill::of(&building, &settings);
        let workers = settings.workers;
        let judgement = Judgement {
            future_limit: settings.future_limit.as_micros() as i64,
            late_after: settings.late_after.as_micros() as i64,
            shift_per_pass,
        };
        let before = book.state();
        let (tell, newest) = tokio::sync::watch::channel(book.as_of(before.epoch));
        let completed = Arc::clone(&book);
        views.clock().on_complete(Box::new(move |epoch| {
            let as_of = completed.completed(epoch);
            // Several workers may complete epochs at once; the newest stands.
            tell.send_if_modified(|it| {
                let newer = as_of.epoch > it.epoch;
                if newer {
                    *it = as_of;
                }
                newer
            });
        }));
        let shared = Arc::new(Shared {
            feeds,
            secret,
            chosen,
            views,
            dedup,
            epochs,
            book,
            on_rejected,
            judgement,
            max_event_bytes: usize::try_from(max_event_bytes).unwrap_or(usize::MAX),
            introspection: introspect::Introspection::default(),
            newest_event: Mutex::default(),
            on_fresh,
            on_applied,
            backfill,
            stopped: AtomicBool::new(false),
        });
        let config = match workers {
            1 => timely::Config::thread(),
            _ => timely::Config::process(workers),
        };
        let theirs = Arc::clone(&shared);
        // The guards join when dropped: a thread of its own waits for the workers.
        let workers = tasks::thread("engine", move || {
            let guards = timely::execute(config, move |worker| work(worker, &theirs))?;
            for result in guards.join() {
                result?;
            }
            Ok(())
        })?;
        let theirs = Arc::clone(&shared);
        let housekeeping = tasks::thread("housekeeping", move || keep_house(&theirs, &*now_ms))?;
        Ok(Engine { shared, newest, workers, housekeeping })
    }

    /// What readers are handed.
    pub fn read_handle(&self) -> ReadHandle {
        let book = Arc::clone(&self.shared.book);
        let instants: Arc<dyn Instants> = Arc::clone(self.shared.views.clock()) as _;
        ReadHandle {
            views: self.shared.views.readers().into(),
            instants,
            newest: self.newest.clone(),
            as_of: Arc::new(move |epoch| book.as_of(epoch)),
        }
    }

    /// The states, as the store sees them.
    pub fn keepers(&self) -> Vec<Arc<dyn StateKeeper>> {
        self.shared.views.keepers().to_vec()
    }

    /// What is remembered of identities, as `/v1/ledger` shows it.
    pub fn dedup(&self) -> impl Fn() -> serde_json::Value + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let stats = shared.dedup.stats();
            serde_json::json!({
                "entries": stats.entries,
                "bytes": stats.bytes,
                "oldest_ms": stats.oldest_ms,
                "effective_horizon_ms": stats.effective_horizon_ms,
                "shortened": stats.shortened,
            })
        }
    }

    /// What each operator did and holds, the busiest first.
    pub fn operators(&self) -> impl Fn() -> Vec<OperatorLine> + Send + Sync + 'static {
        let introspection = self.shared.introspection.clone();
        move || introspection.table()
    }

    /// Consolidated records whose multiplicity was not one, over all relations: an alarm.
    pub fn anomalies(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.views.anomalies()
    }

    /// Waits until every record of every feed is in a complete epoch, all feeds having ended.
    pub fn join(self) -> Result<(), Report> {
        let ended = self.workers.join();
        self.shared.stopped.store(true, SeqCst);
        self.housekeeping.thread().unpark();
        let kept = self.housekeeping.join();
        let why = match (ended, kept) {
            (Ok(Ok(())), Ok(())) => return Ok(()),
            (Ok(Err(why)), _) => why,
            (Err(_), _) => "a worker thread panicked".to_string(),
            (_, Err(_)) => "the housekeeping thread panicked".to_string(),
        };
        Err(Report {
            code: "engine/worker",
            what: "a worker ended".into(),
            at: vec![],
            why,
            effect: "nothing appended is lost; the views stop at the last complete epoch".into(),
            fix: "start again; if it repeats, keep the log and report the message above".into(),
        })
    }
}

/// One worker's life: ask, open, decode, send, step.
fn work(worker: &mut Worker, shared: &Shared) {
    let me = worker.index();
    let epochs = &shared.epochs;
    let clock = shared.views.clock();
    shared.introspection.install(worker);
    let mut sources = Sources::build(worker, &shared.views);
    let activator = worker.sync_activator_for(vec![0]);
    epochs.bell(
        me,
        Box::new(move || {
            if activator.activate().is_err() {
                tracing::debug!("a bell was rung for a worker that has ended");
            }
        }),
    );
    let mut updates = Updates::default();
    let mut scratch = Scratch::default();
    let mut open: Epoch = 0;
    let mut open_epoch = |sources: &mut Sources, epoch: Epoch| {
        if epoch > open {
            sources.advance_to(epoch);
            epochs.opened(me, epoch);
            open = epoch;
        }
    };
    loop {
        match epochs.take(clock.complete()) {
            Take::Chunk(epoch, chunk) => {
                open_epoch(&mut sources, epoch);
                while !epochs.all_opened(epoch) {
                    worker.step_or_park(Some(Duration::from_micros(50)));
                }
                decode(shared, epoch, &chunk, &mut scratch, &mut updates);
                buffers::give_back(chunk.bytes);
                sources.send(&mut updates);
                worker.step();
            }
            Take::Nothing(epoch, wait) => {
                open_epoch(&mut sources, epoch);
                epochs.parking(me);
                // What came between asking and parking rang for nobody: look once more. While
                // epochs wait for completion, records wait too: do not spin on them.
                let stay = epochs.open() > epoch || epochs.waiting();
                let wait = if stay { wait.min(Duration::from_micros(50)) } else { wait };
                // Works if there is work, and parks only if there is none.
                worker.step_or_park(Some(wait));
                epochs.awake(me);
            }
            Take::Ended(epoch) => {
                open_epoch(&mut sources, epoch);
                let wait = Some(Duration::from_millis(1));
                worker.step_or_park_while(wait, || sources.probe().less_than(&epoch));
                return;
            }
        }
    }
}

fn decode(
    shared: &Shared,
    epoch: Epoch,
    chunk: &Chunk,
    scratch: &mut Scratch,
    updates: &mut Updates,
) {
    #[cfg(feature = "crash")]
    hook::panic_on_marked(chunk);
    if chunk.partition.0 >= BACKFILL {
        return decode_again(shared, chunk, scratch, updates);
    }
    let feed = shared.feeds.of(chunk.partition.0);
    let needs = Needs {
        format: &feed.format,
        secret: &shared.secret,
        views: shared.chosen,
        dedup: &shared.dedup,
        judgement: shared.judgement,
        max_event_bytes: shared.max_event_bytes,
        tell_fresh: shared.on_fresh.is_some(),
        keep_applied: shared.on_applied.is_some(),
    };
    // Not read yet in this life: what was put back says.
    let known = shared.newest_event.lock().get(&chunk.partition).copied();
    let newest = known.unwrap_or_else(|| shared.book.newest_event(chunk.partition));
    let outcome = decoder::decode_chunk(chunk, &needs, newest, feed.is_log, scratch, updates);
    {
        let mut all = shared.newest_event.lock();
        let newest = all.entry(chunk.partition).or_insert(0);
        *newest = outcome.newest.max(*newest);
    }
    shared.epochs.decoded(outcome.newest);
    let (counts, duplicates) = (&outcome.counts, &outcome.duplicates);
    let newest = (outcome.appended_ms, outcome.newest);
    shared.book.note(epoch, chunk.partition, counts, newest, duplicates);
    if let Some(on_fresh) = &shared.on_fresh {
        for (claimed_ms, ids) in outcome.fresh {
            on_fresh(epoch, claimed_ms, ids);
        }
    }
    if let Some(on_applied) = &shared.on_applied
        && !outcome.taken.events.is_empty()
    {
        on_applied(epoch, chunk.partition, outcome.taken);
    }
    if !outcome.rejected.is_empty() {
        (shared.on_rejected)(outcome.rejected);
    }
}

/// A chunk of a feed read once more, for views that are built again: it was counted, and what of it cannot be
/// taken kept, when it was first read.
fn decode_again(shared: &Shared, chunk: &Chunk, scratch: &mut Scratch, updates: &mut Updates) {
    let Some(backfill) = &shared.backfill else { return };
    let feed = shared.feeds.of(of_backfill(chunk.partition.0));
    let needs = Needs {
        format: &feed.format,
        secret: &shared.secret,
        views: backfill.views,
        dedup: &backfill.dedup,
        judgement: shared.judgement,
        max_event_bytes: shared.max_event_bytes,
        tell_fresh: false,
        keep_applied: false,
    };
    decoder::decode_chunk(chunk, &needs, i64::MIN / 2, false, scratch, updates);
}

/// Keeps the ordered indexes merged and the leases in their bounds. Seldom enough that keys come in
/// batches worth merging: each is copied once for every doubling from its batch to all keys.
fn keep_house(shared: &Shared, now_ms: &dyn Fn() -> u64) {
    const PAUSE: Duration = Duration::from_millis(100);
    while !shared.stopped.load(SeqCst) {
        for view in shared.views.readers() {
            view.merge_index();
        }
        shared.views.clock().expire(now_ms());
        std::thread::park_timeout(PAUSE);
    }
}
