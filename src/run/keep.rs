//! The state that is kept: put back before anything is read, then one checkpoint after the other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::now_by;
use crate::clock::SteadyClock;
use crate::config::Settings;
use crate::engine::{Engine, OnFresh, Prepared};
use crate::epochs::Epochs;
use crate::ledger::Book;
use crate::messages::{BookState, Epoch, FeedId, Feeds, Offsets};
use crate::metrics::Metrics;
use crate::report::{Report, log_report};
use crate::store::{Checkpoints, Fresh, OTHER_VIEWS, Parts, Restored, Store};

/// The store, with what was put back.
pub(super) struct Kept {
    store: Store,
    restored: Option<Restored>,
    fresh: Arc<Fresh>,
}

impl Kept {
    /// Opens what is kept in this folder and puts the newest checkpoint back. `covered`: every
    /// event there ever was can be read again, so a state that this build cannot read may be
    /// built again.
    pub(super) fn load(
        dir: &Path,
        settings: &Settings,
        prepared: &Prepared,
        clock: &SteadyClock,
        (covered, rebuild): (bool, bool),
    ) -> Result<Kept, Report> {
        if rebuild {
            if !covered {
                return Err(not_covered());
            }
            Store::remove(dir)?;
        }
        match Kept::open(dir, settings, prepared, clock) {
            Err(report) if report.code == OTHER_VIEWS && covered => {
                log_report!(warn, report, "the state kept is not of these views");
                tracing::warn!(code = report.code, "the state is built again from the log");
                Store::remove(dir)?;
                Kept::open(dir, settings, prepared, clock)
            }
            it => it,
        }
    }

    fn open(
        dir: &Path,
        settings: &Settings,
        prepared: &Prepared,
        clock: &SteadyClock,
    ) -> Result<Kept, Report> {
        let began = crate::clock::monotonic();
        let now_ms = clock.now_ms();
        let (mut store, notes) = Store::open(dir, &settings.state, now_ms)?;
        for note in notes {
            log_report!(warn, note, "found in the state kept");
        }
        let horizon_ms = settings.engine.dedup_horizon.as_millis() as u64;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let take_ids = |ids: &[u128], claimed_ms| prepared.take_ids(ids, claimed_ms);
        let from_ms = now_ms.saturating_sub(horizon_ms);
        let restored = store.load(&prepared.keepers(), &take_ids, from_ms, threads)?;
        if let Some(it) = &restored {
            tracing::info!(
                epoch = it.epoch,
                incarnation = it.incarnation,
                entities = it.n_entities,
                identities = it.n_identities,
                took_ms = crate::clock::since(began).as_millis() as u64,
                "state put back"
            );
        }
        Ok(Kept { store, restored, fresh: Arc::default() })
    }

    /// The instant of the checkpoint that was put back; 0 if there was none.
    pub(super) fn epoch(&self) -> Epoch {
        self.restored.as_ref().map_or(0, |it| it.epoch)
    }

    /// What was kept of the ledger.
    pub(super) fn book(&self) -> Option<&BookState> {
        self.restored.as_ref().map(|it| &it.book)
    }

    /// Where workers leave new identities.
    pub(super) fn on_fresh(&self) -> OnFresh {
        let fresh = Arc::clone(&self.fresh);
        Box::new(move |epoch, claimed_ms, ids| fresh.note(epoch, claimed_ms, ids))
    }

    /// From now on a checkpoint is made after the other. Once `ending`, reading is not held back.
    pub(super) fn start(
        self,
        settings: &Settings,
        engine: &Engine,
        (book, epochs, clock): (&Arc<Book>, &Arc<Epochs>, &Arc<SteadyClock>),
        metrics: &Metrics,
        ending: &Arc<AtomicBool>,
    ) -> Result<Checkpoints, Report> {
        let read = engine.read_handle();
        let (views, book) = (Arc::clone(&read.views), Arc::clone(book));
        let (epochs, ending) = (Arc::clone(epochs), Arc::clone(ending));
        let keepers = engine.keepers();
        let kept: Vec<&str> = keepers.iter().map(|it| it.view()).collect();
        let of_folds: Vec<_> =
            views.iter().filter(|it| kept.contains(&it.def().name)).cloned().collect();
        let parts = Parts {
            keepers,
            instants: read.instants,
            book: Arc::new(move || book.state()),
            fresh: self.fresh,
            n_entities: Arc::new(move || of_folds.iter().map(|it| it.stats().entities).sum()),
            hold: Arc::new(move |held| epochs.hold(held && !ending.load(SeqCst))),
            now_ms: now_by(clock),
            horizon: (
                settings.engine.dedup_horizon.as_millis() as u64,
                settings.engine.dedup_max_bytes.saturating_mul(2),
            ),
            metrics: metrics.clone(),
        };
        Checkpoints::start(self.store, parts, self.restored.map(|it| it.book))
    }
}

/// Offsets that were kept, of the feeds that are known.
pub(super) fn offsets(kept: &BookState, feeds: &Feeds) -> Offsets {
    let feeds = feeds.all();
    let of = |name: &str| feeds.iter().position(|it| it.name == name).map(|it| it as FeedId);
    let lines = kept.lines.iter();
    lines.filter_map(|it| Some(((of(&it.feed)?, it.partition), it.next))).collect()
}

fn not_covered() -> Report {
    Report {
        code: "store/not-covered",
        what: "cannot build the state again from the log".into(),
        at: vec![],
        why: "the log does not reach back to its first record".into(),
        effect: "nothing was started; the state is as it was".into(),
        fix: "start with the build that wrote the state, or restore a backup".into(),
    }
}
