//! What is durable, opened: the data folder, the embedded log in it, the kept rejects.

use std::path::Path;
use std::sync::Arc;

use super::{Plan, now_by};
use crate::clock::SteadyClock;
use crate::config::Settings;
use crate::ingest::local_log::{self, LocalLog};
use crate::messages::Feeds;
use crate::rejects::{self, RejectStore};
use crate::report::{Report, log_report};
use crate::segments::{self, FolderLock};

pub(super) fn take_folder(data_dir: &Path) -> Result<FolderLock, Report> {
    segments::make_dir(data_dir).map_err(|why| Report {
        code: "run/data-folder",
        what: "could not make the data folder".into(),
        at: vec![("folder", data_dir.display().to_string())],
        why: if data_dir.is_file() { "it is a file".into() } else { why.to_string() },
        effect: "nothing was started; no data was touched".into(),
        fix: "name a folder that this user may write to (`--data-dir`)".into(),
    })?;
    FolderLock::take(data_dir, "the data folder")
}

pub(super) fn open_log(settings: &Settings, clock: &Arc<SteadyClock>) -> Result<LocalLog, Report> {
    let log = LocalLog::open(
        &settings.data_dir.join(local_log::DIR),
        &settings.log,
        settings.log.on_damage,
        now_by(clock),
    )?;
    let newest = log.stats().newest_ms.unwrap_or(0);
    let now = clock.now_ms();
    if newest > now {
        tracing::error!(
            code = "run/clock-step",
            ahead_ms = newest - now,
            "the log's newest record is ahead of the system's clock; time stands until it is reached"
        );
        clock.not_before(newest);
    }
    for note in log.notes() {
        log_report!(warn, *note, "found when the log was opened");
    }
    Ok(log)
}

pub(super) fn open_rejects(
    settings: &Settings,
    plan: &Plan,
    feeds: Feeds,
    clock: &Arc<SteadyClock>,
) -> Result<RejectStore, Report> {
    if !plan.log {
        return RejectStore::in_memory(&settings.rejects, feeds, now_by(clock));
    }
    let folder = settings.data_dir.join(rejects::DIR);
    let store = RejectStore::open(
        &folder,
        &settings.rejects,
        feeds,
        settings.log.on_damage,
        now_by(clock),
    )?;
    for note in store.notes() {
        log_report!(warn, *note, "found when the kept rejects were opened");
    }
    Ok(store)
}
