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

mod ahead; // when the records of a chunk happened, before it is handed out
mod decoder;
#[cfg(feature = "crash")]
mod hook; // a marked record brings the process down
mod introspect;
mod prepared; // what it is made of, before it runs
mod terms; // by which cases wait
mod worker; // what each worker does, all its life

pub use ahead::{Ahead, Reached};
pub use introspect::OperatorLine;
pub use prepared::{Prepared, chosen, definitions, fold_of, is_made_of_others};
pub use terms::{Brought, Promises, join_by, judge_by, scale_by};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use dataflows::models::published::Published;
use parking_lot::Mutex;
use schemas::keeping::StateKeeper;
use schemas::reading::Instants;

use crate::epochs::Epochs;
use crate::ledger::Book;
use crate::messages::{Applied, AsOf, Epoch, Feeds, LeftOut, Partition, ReadHandle, Rejected};
use crate::report::Report;
use crate::tasks;
use decoder::Judgement;
use introspect::Introspection;
use worker::{Backfill, Shared, Work, work};

/// What this process is called where it speaks of itself.
pub const PROCESS: &str = dataflows::capacity::MAIN;

/// What all workers together did since they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worked {
    /// Events applied, but those about ourselves.
    pub n_events: u64,
    /// Time that they were busy.
    pub busy_micros: u64,
}

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
    /// Views that are built again from what [`crate::messages::BACKFILL`] brings.
    pub building: Vec<&'static str>,
    /// The models that speak of texts.
    pub published: Arc<Published>,
}

/// The running engine.
pub struct Engine {
    shared: Arc<Shared>,
    newest: tokio::sync::watch::Receiver<AsOf>,
    workers: std::thread::JoinHandle<Result<(), String>>,
    housekeeping: std::thread::JoinHandle<()>,
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
            published,
        } = parts;
        let backfill = Backfill::of(&building, &settings);
        let workers = settings.workers;
        let judgement = Judgement::new(&settings, shift_per_pass);
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
            introspection: Introspection::default(),
            newest_event: Mutex::default(),
            on_fresh,
            on_applied,
            backfill,
            published,
            stopped: AtomicBool::new(false),
            work: Work::default(),
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

    /// What all workers together did since they began.
    pub fn worked(&self) -> impl Fn() -> Worked + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let decoding = shared.work.decoding_nanos.load(Relaxed) / 1_000;
            let busy_micros = decoding + shared.introspection.busy_micros();
            Worked { n_events: shared.work.n_events.load(Relaxed), busy_micros }
        }
    }

    /// Consolidated records whose multiplicity was not one, over all relations: an alarm.
    pub fn anomalies(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.views.anomalies()
    }

    /// What of `load.measured` is in no row, for there are too many series: since the start, by tenant.
    pub fn left_out(&self) -> impl Fn() -> Vec<LeftOut> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let all = shared.views.left_out().tenants().into_iter();
            let told = all.map(|(tenant, it)| LeftOut {
                tenant: tenant.into(),
                measurements: it.measurements,
                pushed_out: it.pushed_out,
            });
            told.collect()
        }
    }

    /// How many customers are erased.
    pub fn erased(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.views.erased().len()
    }

    /// Waits until every record of every feed is in a complete epoch, all feeds having ended.
    pub fn join(self) -> Result<(), Report> {
        // They may sleep for as long as an idle period is, and nobody else wakes them for the end.
        self.shared.epochs.ring();
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
