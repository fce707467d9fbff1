//! What everything stands on: a folder that is ours alone, its secret, a steady clock, the log.

use std::sync::Arc;

use super::Plan;
use super::folder::{open_log, take_folder};
use super::serving::{ADMIN_ADDRESS, forget_address};
use crate::clock::{Seen, SteadyClock};
use crate::config::Settings;
use crate::ingest::local_log::LocalLog;
use crate::metrics::Metrics;
use crate::report::Report;
use crate::secret;
use crate::segments::FolderLock;
use schemas::names::Secret;

pub(super) struct Ground {
    /// Held as long as anything runs; none where nothing is durable.
    pub(super) lock: Option<FolderLock>,
    pub(super) secret: Secret,
    pub(super) clock: Arc<SteadyClock>,
    pub(super) log: Option<LocalLog>,
}

impl Ground {
    /// What is durable is one process's at a time, and under one secret.
    pub(super) fn take(
        settings: &Settings,
        plan: &Plan,
        metrics: &Metrics,
    ) -> Result<Ground, Report> {
        let folder = plan.folder(settings);
        let lock = folder.map(take_folder).transpose()?;
        if let Some(folder) = folder {
            forget_address(&folder.join(ADMIN_ADDRESS));
        }
        let secret = match folder {
            Some(folder) => secret::of(folder)?,
            None => secret::fresh()?,
        };
        let steps = metrics.clone();
        let clock = SteadyClock::start(Box::new(move |seen| told_of_step(&steps, seen)));
        let log = match plan.log {
            true => Some(open_log(settings, &clock)?),
            false => None,
        };
        Ok(Ground { lock, secret, clock, log })
    }
}

/// The steady clock as a function.
pub(super) fn now_by(clock: &Arc<SteadyClock>) -> Arc<dyn Fn() -> u64 + Send + Sync> {
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
