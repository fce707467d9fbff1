//! Rules and channels on their way through threads.

use std::sync::Arc;

use serde_json::{Value, json};

use super::plan::Read;
use super::rebuild::Building;
use crate::config::Settings;
use crate::engine::{Prepared, definitions};
use crate::ingest::local_log::{LocalLog, PARTITION};
use crate::messages::{Epoch, ReadHandle, Rejected};
use crate::notify::{self, Notifying, Parts, Planned, Reloading, Resolve, Rules};
use crate::rejects::RejectStore;
use crate::report::{Report, log_report};

/// How long the epoch of what was put back is held until rules look at it.
const LEASE_MS: u64 = 60_000;

/// Whether somebody is to be told of something.
pub(super) fn is_wanted(settings: &Settings) -> bool {
    !settings.rules.is_empty() || !settings.channels.is_empty()
}

/// The rules over the views that are kept, or everything that is wrong with them.
pub fn compiled(settings: &Settings) -> Result<Rules, Vec<Report>> {
    let kept = &settings.engine.views;
    let of = |name: &str| kept.is_empty() || kept.iter().any(|it| it == name);
    let kept: Vec<_> = definitions().iter().copied().filter(|it| of(it.name)).collect();
    Rules::compile(&settings.rules, &kept)
}

/// Holds the epoch of what was put back, before anything is read: rules look from it on.
pub(super) fn hold(prepared: &Prepared, after: Epoch, now_ms: u64) -> Epoch {
    match prepared.instants().lease(after, now_ms, LEASE_MS) {
        Ok(()) => after,
        Err(_) => 0,
    }
}

/// Has rules and channels put in place as they stand in the settings now.
#[derive(Clone)]
pub(super) struct Reloader {
    /// Those of the start: which views are kept does not change.
    pub(super) settings: Settings,
    pub(super) read: Option<Read>,
    /// None where there were neither rules nor channels at the start.
    pub(super) reloading: Option<Reloading>,
}

impl Reloader {
    /// Does it: how it stands then, or everything that is wrong, and all is as it was.
    pub(super) fn reload(&self) -> Result<Value, Vec<Report>> {
        let (Some(read), Some(reloading)) = (&self.read, &self.reloading) else {
            return Err(vec![notify::no_notifications()]);
        };
        let told = |mut all: Vec<Report>| {
            for it in &mut all {
                it.effect = "nothing was changed: rules and channels are as they were".into();
            }
            all
        };
        let fresh = read().map_err(told)?;
        let settings =
            Settings { rules: fresh.rules, channels: fresh.channels, ..self.settings.clone() };
        let keep = fresh.notifications.keep;
        let rules = compiled(&settings).map_err(told)?;
        reloading.reload(rules, settings.channels, keep).map_err(told)
    }

    /// The same, as the command line is answered.
    pub(super) fn answer(&self) -> Value {
        self.reload().unwrap_or_else(|problems| {
            let problems: Vec<Value> = problems.iter().map(Report::as_json).collect();
            json!({"reloaded": false, "problems": problems})
        })
    }

    /// The same, as a signal is answered.
    pub(super) fn by_signal(&self) {
        for report in self.reload().err().into_iter().flatten() {
            log_report!(error, report, "rules and channels are as they were");
        }
    }
}

/// What notifications need of the rest.
pub(super) struct Behind<'a> {
    pub(super) settings: &'a Settings,
    pub(super) read: &'a ReadHandle,
    pub(super) log: &'a Arc<LocalLog>,
    pub(super) building: &'a Arc<Building>,
    pub(super) from: Epoch,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) planned: Arc<Planned>,
    pub(super) resolve: Resolve,
    pub(super) rejects: &'a RejectStore,
}

/// Starts them.
pub(super) fn start(behind: Behind<'_>) -> Result<Option<Notifying>, Report> {
    let Behind { settings, read, log, building, from, now_ms, planned, resolve, rejects } = behind;
    // All that is wrong was told by `check`; here the first says enough.
    let rules = compiled(settings).map_err(|mut it| it.swap_remove(0))?;
    let (building, append) = (Arc::clone(building), Arc::clone(log));
    let (rejects, at) = (rejects.clone(), Arc::clone(&now_ms));
    // The log is the first of the feeds.
    let reject = Arc::new(move |offset, problem, bytes| {
        let (partition, appended_ms) = ((0, PARTITION), at());
        rejects.put(Rejected { partition, offset, appended_ms, problem, bytes, origin: None });
    });
    notify::start(Parts {
        rules,
        channels: settings.channels.clone(),
        folder: settings.data_dir.join(notify::DIR),
        read: read.clone(),
        append: Arc::new(move |facts| append.append_facts(facts)),
        needed: log.end(),
        from,
        now_ms,
        is_building: Arc::new(move |view| building.shows_half(view)),
        resolve,
        planned,
        keep: settings.notifications.keep,
        reject,
    })
}
