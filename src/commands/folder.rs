//! A data folder that no process has open, taken for one command.

use std::path::Path;
use std::sync::Arc;

use crate::config::Settings;
use crate::ingest::local_log::LocalLog;
use crate::messages::Feeds;
use crate::rejects::RejectStore;
use crate::report::Report;
use crate::segments::{FolderLock, OnDamage};

/// A data folder under its lock.
pub struct Taken {
    _lock: FolderLock,
    settings: Settings,
    on_damage: OnDamage,
}

/// Takes the folder. Looking (`OnDamage::Skip`) goes on behind damage and tells of it; changing
/// refuses.
pub fn take(settings: &Settings, on_damage: OnDamage) -> Result<Taken, Report> {
    let dir = &settings.data_dir;
    if !dir.join("log").is_dir() {
        return Err(no_data(dir));
    }
    let lock = FolderLock::take(dir, "the data folder")?;
    Ok(Taken { _lock: lock, settings: settings.clone(), on_damage })
}

impl Taken {
    /// The embedded log; what was found to be wrong with it is told.
    pub fn log(&self) -> Result<LocalLog, Report> {
        let dir = self.settings.data_dir.join("log");
        let clock = Arc::new(crate::clock::wall_ms);
        let log = LocalLog::open(&dir, &self.settings.log, self.on_damage, clock)?;
        log.notes().iter().for_each(note);
        Ok(log)
    }

    /// The kept rejects.
    pub fn rejects(&self) -> Result<RejectStore, Report> {
        let dir = self.settings.data_dir.join("rejects");
        let clock = Arc::new(crate::clock::wall_ms);
        let rejects = &self.settings.rejects;
        let store = RejectStore::open(&dir, rejects, Feeds::default(), self.on_damage, clock)?;
        store.notes().iter().for_each(note);
        Ok(store)
    }
}

fn note(it: &Report) {
    eprintln!("{it}");
}

fn no_data(dir: &Path) -> Report {
    Report {
        code: "commands/no-data",
        what: "cannot find an embedded log".into(),
        at: vec![("folder", dir.display().to_string())],
        why: "expected a data folder with a `log` in it, found none".into(),
        effect: "nothing was read or changed".into(),
        fix: "name the folder with --data-dir; `millstream demo` uses demo-data".into(),
    }
}
