//! Views and identities before anything runs: chosen, made empty, filled again by the store.

use std::sync::Arc;

use dataflows::catalogue::{ViewSet, Views};
use dataflows::dedup::{Dedup, DedupLimits};
use schemas::keeping::StateKeeper;
use schemas::leaving::Leaving;
use schemas::names::{Kind, Secret};
use schemas::reading::Instants;

use super::terms;
use crate::config;
use crate::report::Report;

/// Views and identities of an engine that does not run yet: states can be put back.
pub struct Prepared {
    pub(super) settings: config::Engine,
    pub(super) secret: Secret,
    pub(super) chosen: ViewSet,
    pub(super) views: Arc<Views>,
    pub(super) dedup: Dedup,
}

impl Prepared {
    /// Empty. `keep`: states are going to be kept.
    pub fn new(
        settings: &config::Engine,
        queues: &config::Queues,
        secret: Secret,
        keep: bool,
    ) -> Result<Prepared, Report> {
        let chosen = chosen(&settings.views)?;
        let days = settings.sentiment_half_life.as_secs() / 86_400;
        dataflows::mood::set_half_life_days(u32::try_from(days).unwrap_or(u32::MAX));
        let terms = terms::of(queues);
        let undo_max_bytes = settings.undo_max_bytes;
        let views =
            Views::with_terms(chosen, settings.workers, secret, undo_max_bytes, keep, terms);
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

    /// Which epochs can be read: also before anything runs.
    pub fn instants(&self) -> Arc<dyn Instants> {
        Arc::clone(self.views.clock()) as Arc<dyn Instants>
    }

    /// What the secret makes of a known text: a state that was kept under another is not read.
    pub fn under(&self) -> String {
        let made = self.secret.fingerprint("", Kind::Event, &["under which secret"]);
        format!("{made:032x}")
    }

    /// So many identities are about to be put back.
    pub fn expect_ids(&self, n: u64) {
        self.dedup.expect(n);
    }

    /// Puts identities back.
    pub fn take_ids(&self, ids: &[u128], claimed_ms: u64) {
        self.dedup.restore(ids, claimed_ms);
    }
}

/// None remembered yet.
pub(super) fn dedup(settings: &config::Engine) -> Dedup {
    Dedup::new(DedupLimits {
        horizon_ms: settings.dedup_horizon.as_millis() as u64,
        max_bytes: settings.dedup_max_bytes,
    })
}

/// The fold whose rows a view is made from; itself, if it is none's.
pub fn fold_of(view: &str) -> &str {
    ViewSet::fold_of(view)
}

/// Whether rows of a view are made of the states of others than itself.
pub fn is_made_of_others(view: &str) -> bool {
    ViewSet::is_made_of_others(view)
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
