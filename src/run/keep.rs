//! The state that is kept: put back before anything is read, then one checkpoint after the other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::asked::Asked;
use super::covered::Covered;
use super::now_by;
use super::publishing::Models;
use super::rebuild::Building;
use crate::clock::SteadyClock;
use crate::config::Settings;
use crate::engine::{Engine, OnFresh, Prepared};
use crate::epochs::{Epochs, Hold};
use crate::ingest::local_log::{self, Needed};
use crate::ledger::Book;
use crate::messages::{BookLine, BookState, Epoch, FeedId, Feeds, Offsets};
use crate::metrics::Metrics;
use crate::notify::Planned;
use crate::rejects::RejectStore;
use crate::report::{Report, log_report};
use crate::store::{
    self, Began, Checkpoints, Fresh, Incarnation, Leaves, Looking, MadeBy, OTHER_VIEWS, Others,
    Parts, Restored, Store, other_views,
};

/// Rejects are written at once; where the disk does not take them so long, the checkpoint fails.
const REJECTS_WITHIN: Duration = Duration::from_secs(5);

/// The store, with what was put back.
pub(super) struct Kept {
    store: Store,
    restored: Option<Restored>,
    /// Views of which nothing was put back.
    anew: Vec<&'static str>,
    fresh: Arc<Fresh>,
}

/// Who else has a word in checkpoints.
pub(super) struct Beside {
    /// The log, which keeps what no checkpoint holds.
    pub(super) log: Option<Needed>,
    /// Rules: what they decide is durable first.
    pub(super) planned: Option<Arc<Planned>>,
    /// Asked to forget, and how far that is done.
    pub(super) forget: (Arc<AtomicU64>, Arc<AtomicU64>),
}

impl Kept {
    /// Opens what is kept in this folder and puts the newest checkpoint back. Views that this
    /// build cannot read, or that are to be built again, are built beside the others from all that
    /// was read, if every event there ever was is `covered`. A replay reads its input whole: there
    /// all views are.
    pub(super) fn load(
        dir: &Path,
        settings: &Settings,
        prepared: &Prepared,
        clock: &SteadyClock,
        (covered, rebuild): (&Covered<'_>, &Rebuild),
    ) -> Result<Kept, Report> {
        let keepers = prepared.keepers();
        let known: Vec<&'static str> = keepers.iter().map(|it| it.view()).collect();
        if let Some(it) = rebuild.views.iter().find(|it| !known.contains(&it.as_str())) {
            return Err(no_such_view(it, &known));
        }
        let noted = Asked::read(dir)?;
        let asked = known.iter().filter(|it| rebuild.views.iter().any(|asked| asked == *it));
        let mut anew: Vec<&'static str> = asked.copied().collect();
        let mut accept_incomplete = rebuild.accept_incomplete;
        let mut all = rebuild.all;
        let (mut read, mut after) = (Vec::new(), 0);
        let others = if all { None } else { other_views(dir, &keepers)? };
        if !all && others.is_none() {
            if let Some(feeds) = store::kept(dir)? {
                return Err(store::gone(dir, &feeds));
            }
            covered.start(accept_incomplete)?;
        }
        if let Some(Others { seq, views: differ, lines }) = others {
            let left = noted.left(&known, seq, &differ);
            if !left.is_empty() {
                accept_incomplete |= noted.accept_incomplete;
            }
            let differ: Vec<_> = differ.into_iter().filter(|it| !left.contains(it)).collect();
            if !differ.is_empty() {
                let views = differ.join(", ");
                tracing::warn!(code = OTHER_VIEWS, views, "views that this build lays out anew");
            }
            let more: Vec<_> =
                left.into_iter().chain(differ).filter(|it| !anew.contains(it)).collect();
            anew.extend(more);
            all = !anew.is_empty() && covered.log.is_none();
            (read, after) = (lines, seq);
        }
        if all {
            covered.all(accept_incomplete)?;
        } else if !anew.is_empty() {
            covered.beside(&read, accept_incomplete)?;
        }
        if all {
            tracing::warn!("every view is built again");
            Store::remove(dir, clock.now_ms())?;
            Asked::forget(dir);
            anew.clear();
        } else if !anew.is_empty() {
            tracing::warn!(views = anew.join(", "), "views are built again beside the others");
            let views = anew.iter().map(ToString::to_string).collect();
            Asked { views, after, accept_incomplete }.note(dir)?;
            Incarnation::begin(dir, Began::Rebuilt, clock.now_ms())?;
        } else if !noted.views.is_empty() {
            Asked::forget(dir);
        }
        Kept::open(dir, settings, prepared, clock, anew)
    }

    /// Views that are to be built again, and from what: the lines of the ledger as far as they had
    /// come.
    pub(super) fn building(&self) -> (&[&'static str], &[BookLine]) {
        match self.book() {
            Some(book) => (&self.anew, &book.lines),
            // Without a checkpoint everything is read again anyhow.
            None => (&[], &[]),
        }
    }

    fn open(
        dir: &Path,
        settings: &Settings,
        prepared: &Prepared,
        clock: &SteadyClock,
        anew: Vec<&'static str>,
    ) -> Result<Kept, Report> {
        let began = crate::clock::monotonic();
        let now_ms = clock.now_ms();
        let (mut store, notes) = Store::open(dir, &settings.state, now_ms)?;
        store.under(prepared.under());
        let made_by = made_by(settings);
        store.made_by(made_by.clone());
        for note in notes {
            log_report!(warn, note, "found in the state kept");
        }
        let horizon_ms = settings.engine.dedup_horizon.as_millis() as u64;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let take_ids = |ids: &[u128], claimed_ms| prepared.take_ids(ids, claimed_ms);
        let from_ms = now_ms.saturating_sub(horizon_ms);
        prepared.expect_ids(store.identities_at_most(from_ms));
        let restored = store.load(&prepared.keepers(), &take_ids, from_ms, threads, &anew)?;
        if let Some(it) = &restored {
            // A backup has none, nor have folders of builds that made none.
            if let Err(report) = store.note_kept(&it.book) {
                log_report!(warn, report, "a note could not be written");
            }
            if it.made_by != made_by {
                let (MadeBy { version, settings }, now) = (&it.made_by, &made_by.settings);
                // What was decided stands: a record is judged once.
                tracing::info!(version, settings, now, "kept by another version or settings");
            }
            tracing::info!(
                epoch = it.epoch,
                incarnation = it.incarnation,
                entities = it.n_entities,
                identities = it.n_identities,
                took_ms = crate::clock::since(began).as_millis() as u64,
                "state put back"
            );
        }
        Ok(Kept { store, restored, anew, fresh: Arc::default() })
    }

    /// For those who look.
    pub(super) fn looking(&self) -> Looking {
        self.store.looking()
    }

    /// Which life of the state this is.
    pub(super) fn incarnation(&self) -> u64 {
        self.store.incarnation().number
    }

    /// The instant of the checkpoint that was put back; 0 if there was none.
    pub(super) fn epoch(&self) -> Epoch {
        self.restored.as_ref().map_or(0, |it| it.epoch)
    }

    /// What was kept of the ledger.
    pub(super) fn book(&self) -> Option<&BookState> {
        self.restored.as_ref().map(|it| &it.book)
    }

    /// The models that were published at the checkpoint that was put back.
    pub(super) fn models(&self) -> &[String] {
        self.restored.as_ref().map_or(&[], |it| &it.models)
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
        (book, epochs, clock, durable): (
            &Arc<Book>,
            &Arc<Epochs>,
            &Arc<SteadyClock>,
            &Arc<AtomicU64>,
        ),
        metrics: &Metrics,
        (rejects, building, ending): (&RejectStore, &Arc<Building>, &Arc<AtomicBool>),
        (models, leaving, Beside { log, planned, forget }): (&Arc<Models>, Option<Leaves>, Beside),
    ) -> Result<Checkpoints, Report> {
        let read = engine.read_handle();
        let (views, book) = (Arc::clone(&read.views), Arc::clone(book));
        let (epochs, ending) = (Arc::clone(epochs), Arc::clone(ending));
        let rejects = rejects.clone();
        let keepers = engine.keepers();
        let kept: Vec<&str> = keepers.iter().map(|it| it.view()).collect();
        let of_folds: Vec<_> =
            views.iter().filter(|it| kept.contains(&it.def().name)).cloned().collect();
        let keeps = Arc::clone(&book);
        let parts = Parts {
            keepers,
            instants: read.instants,
            book: Arc::new(move |epoch| book.state_at(epoch)),
            fresh: self.fresh,
            entities: Arc::new(move || {
                let of = of_folds.iter().map(|it| (it.def().name.to_string(), it.stats().entities));
                of.collect()
            }),
            models: models.named(),
            rejects: Arc::new(move || rejects.flush(REJECTS_WITHIN)),
            leaving,
            decided: planned.map(|it| {
                Arc::new(move |epoch| it.includes(epoch))
                    as Arc<dyn Fn(Epoch) -> bool + Send + Sync>
            }),
            hold: Arc::new(move |held| {
                epochs.hold(Hold::Checkpoints, held && !ending.load(SeqCst));
            }),
            now_ms: now_by(clock),
            durable: Arc::clone(durable),
            building: {
                let building = Arc::clone(building);
                Arc::new(move |view| building.has(view))
            },
            horizon: (
                settings.engine.dedup_horizon.as_millis() as u64,
                settings.engine.dedup_max_bytes.saturating_mul(2),
            ),
            kept: Arc::new(move |it| {
                keeps.kept(it);
                if let Some(log) = &log {
                    log.from(position(it));
                }
            }),
            forget: forget.0,
            forgot: forget.1,
            metrics: metrics.clone(),
        };
        Checkpoints::start(self.store, parts, self.restored.map(|it| it.book))
    }
}

/// Where reading the embedded log stood.
pub(super) fn position(book: &BookState) -> u64 {
    book.lines.iter().find(|it| it.feed == local_log::FEED).map_or(0, |it| it.next)
}

/// This program, and the settings that decide what becomes of a record.
fn made_by(settings: &Settings) -> MadeBy {
    let it = &settings.engine;
    let settings = format!(
        "future_limit {:?}, late_after {:?}, dedup_horizon {:?}",
        it.future_limit, it.late_after, it.dedup_horizon
    );
    MadeBy { version: env!("CARGO_PKG_VERSION").into(), settings }
}

/// Offsets that were kept, of the feeds that are known.
pub(super) fn offsets(kept: &BookState, feeds: &Feeds) -> Offsets {
    let feeds = feeds.all();
    let of = |name: &str| feeds.iter().position(|it| it.name == name).map(|it| it as FeedId);
    let lines = kept.lines.iter();
    lines.filter_map(|it| Some(((of(&it.feed)?, it.partition), it.next))).collect()
}

fn no_such_view(found: &str, known: &[&str]) -> Report {
    Report {
        code: "store/no-such-view",
        what: "cannot build a view again".into(),
        at: vec![("flag", "--rebuild".into())],
        why: format!("expected one of {}, found {found:?}", known.join(", ")),
        effect: "nothing was started; the state is as it was".into(),
        fix: "name one of them, or none: then every state is built again".into(),
    }
}

/// What is to be built again from the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuild {
    /// Every view.
    pub all: bool,
    /// These, beside the others.
    pub views: Vec<String>,
    /// Also from a log that no longer has its first records.
    pub accept_incomplete: bool,
}
