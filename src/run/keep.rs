//! The state that is kept: put back before anything is read, then one checkpoint after the other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::now_by;
use super::rebuild::Building;
use crate::clock::SteadyClock;
use crate::config::Settings;
use crate::engine::{Engine, OnFresh, Prepared};
use crate::epochs::{Epochs, Hold};
use crate::ingest::local_log::Stats;
use crate::ledger::Book;
use crate::messages::{BookState, Epoch, FeedId, Feeds, Offsets};
use crate::metrics::Metrics;
use crate::rejects::RejectStore;
use crate::report::{Report, log_report};
use crate::store::{
    Began, Checkpoints, Fresh, Incarnation, Looking, OTHER_VIEWS, Others, Parts, Restored, Store,
    other_views,
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

impl Kept {
    /// Opens what is kept in this folder and puts the newest checkpoint back. Views that this
    /// build cannot read, or that are to be built again, are built from the log beside the others;
    /// where that cannot be, all are, if every event there ever was is `covered`.
    pub(super) fn load(
        dir: &Path,
        settings: &Settings,
        prepared: &Prepared,
        clock: &SteadyClock,
        (covered, rebuild): (&Covered, &Rebuild),
    ) -> Result<Kept, Report> {
        let keepers = prepared.keepers();
        let known: Vec<&'static str> = keepers.iter().map(|it| it.view()).collect();
        if let Some(it) = rebuild.views.iter().find(|it| !known.contains(&it.as_str())) {
            return Err(no_such_view(it, &known));
        }
        let asked = known.iter().filter(|it| rebuild.views.iter().any(|asked| asked == *it));
        let mut anew: Vec<&'static str> = asked.copied().collect();
        let mut all = rebuild.all;
        if !all && let Some(Others { views: differ, lines }) = other_views(dir, &keepers)? {
            if !differ.is_empty() {
                let views = differ.join(", ");
                tracing::warn!(code = OTHER_VIEWS, views, "views that this build lays out anew");
            }
            anew.extend(differ.iter().filter(|it| !anew.contains(it)).collect::<Vec<_>>());
            // Only the log can be read beside itself.
            all = !anew.is_empty()
                && (covered.log.is_none() || lines.iter().any(|it| it.feed != "log"));
        }
        if all || !anew.is_empty() {
            covered.or(rebuild.accept_incomplete)?;
        }
        if all {
            tracing::warn!("every view is built again");
            Store::remove(dir, clock.now_ms())?;
            anew.clear();
        } else if !anew.is_empty() {
            tracing::warn!(views = anew.join(", "), "views are built again beside the others");
            Incarnation::begin(dir, Began::Rebuilt, clock.now_ms())?;
        }
        Kept::open(dir, settings, prepared, clock, anew)
    }

    /// Views that are to be built again, and up to which record of the log.
    pub(super) fn building(&self) -> (&[&'static str], u64) {
        let log = self.book().and_then(|it| it.lines.iter().find(|it| it.feed == "log"));
        // Without a checkpoint everything is read again anyhow.
        (if log.is_some() { &self.anew } else { &[] }, log.map_or(0, |it| it.next))
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
        for note in notes {
            log_report!(warn, note, "found in the state kept");
        }
        let horizon_ms = settings.engine.dedup_horizon.as_millis() as u64;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let take_ids = |ids: &[u128], claimed_ms| prepared.take_ids(ids, claimed_ms);
        let from_ms = now_ms.saturating_sub(horizon_ms);
        let restored = store.load(&prepared.keepers(), &take_ids, from_ms, threads, &anew)?;
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
        Ok(Kept { store, restored, anew, fresh: Arc::default() })
    }

    /// For those who look.
    pub(super) fn looking(&self) -> Looking {
        self.store.looking()
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
        (book, epochs, clock, durable): (
            &Arc<Book>,
            &Arc<Epochs>,
            &Arc<SteadyClock>,
            &Arc<AtomicU64>,
        ),
        metrics: &Metrics,
        (rejects, building, ending): (&RejectStore, &Arc<Building>, &Arc<AtomicBool>),
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
            rejects: Arc::new(move || rejects.flush(REJECTS_WITHIN)),
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
            kept: Arc::new(move |it| keeps.kept(it)),
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

/// From where on events can be read again.
pub(super) struct Covered {
    /// The embedded log; none for a replay, which reads its input whole.
    pub(super) log: Option<Stats>,
    /// Topics are read too: what they have let go of nobody here can know.
    pub(super) topics: bool,
}

impl Covered {
    /// Refused where something may be missing, and that was not accepted.
    fn or(&self, accept_incomplete: bool) -> Result<(), Report> {
        let log = self.log.as_ref().filter(|it| it.first > 0);
        let why = match log {
            Some(log) => {
                let from = log.oldest_ms.map_or_else(String::new, |ms| {
                    let at = schemas::time::rfc3339((ms * 1_000).cast_signed());
                    format!(", which came at {at}")
                });
                format!(
                    "expected the log's first record, found that it begins at {}{from}",
                    log.first
                )
            }
            None if self.topics => {
                "topics of Kafka are read: what they no longer hold would be missing".into()
            }
            None => return Ok(()),
        };
        if accept_incomplete {
            tracing::warn!(code = "store/not-covered", why, "the state is built from what is left");
            return Ok(());
        }
        Err(Report {
            code: "store/not-covered",
            what: "cannot build the whole state again from the log".into(),
            at: log.map(|it| vec![("folder", it.folder.clone())]).unwrap_or_default(),
            why,
            effect: "nothing was started; the state is as it was".into(),
            fix: "start with the build that wrote the state, restore a backup, or build it from \
                  what is left: `millstream run --rebuild --accept-incomplete`"
                .into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what may be missing is never built over in silence. Method: a table.
    #[test]
    fn a_rebuild_that_may_lose_is_refused() {
        let log = |first| Stats {
            folder: "data/log".into(),
            n_segments: 1,
            bytes: 1,
            first,
            next: 20,
            n_records: 5,
            oldest_ms: Some(1_767_225_600_000),
            newest_ms: None,
            queued_bytes: 0,
            failing: false,
        };
        let check = |log, topics, why: Option<&str>| {
            let covered = Covered { log, topics };
            let refused = covered.or(false).err().map(|it| it.why);
            assert_eq!(refused.as_deref(), why);
            covered.or(true).unwrap();
        };
        check(None, false, None);
        check(Some(log(0)), false, None);
        check(
            Some(log(15)),
            false,
            Some(
                "expected the log's first record, found that it begins at 15, which came at \
                 2026-01-01T00:00:00.000Z",
            ),
        );
        let topics = "topics of Kafka are read: what they no longer hold would be missing";
        check(Some(log(0)), true, Some(topics));
        check(None, true, Some(topics));
    }
}
