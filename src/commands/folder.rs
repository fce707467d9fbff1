//! A data folder that no process has open: taken for a command that changes it, or looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Settings;
use crate::ingest::local_log::{self, LocalLog};
use crate::messages::Feeds;
use crate::rejects::{self, RejectStore};
use crate::report::Report;
use crate::segments::{Folder, FolderLock, OnDamage};
use crate::store::Looking;

/// A data folder under its lock, to be changed.
pub struct Taken {
    _lock: FolderLock,
    settings: Settings,
}

/// Takes the folder. Damage in it is refused.
pub fn take(settings: &Settings) -> Result<Taken, Report> {
    let dir = &settings.data_dir;
    expect_log(dir)?;
    let lock = FolderLock::take(dir, "the data folder")?;
    Ok(Taken { _lock: lock, settings: settings.clone() })
}

impl Taken {
    /// The embedded log; what was found to be wrong with it is told.
    pub fn log(&self) -> Result<LocalLog, Report> {
        let dir = self.settings.data_dir.join(local_log::DIR);
        let clock = Arc::new(crate::clock::wall_ms);
        let log = LocalLog::open(&dir, &self.settings.log, OnDamage::Refuse, clock)?;
        log.notes().iter().for_each(note);
        Ok(log)
    }

    /// The kept rejects.
    pub fn rejects(&self) -> Result<RejectStore, Report> {
        let dir = self.settings.data_dir.join(rejects::DIR);
        let clock = Arc::new(crate::clock::wall_ms);
        let rejects = &self.settings.rejects;
        let store = RejectStore::open(&dir, rejects, Feeds::default(), OnDamage::Refuse, clock)?;
        store.notes().iter().for_each(note);
        Ok(store)
    }
}

/// A data folder that is looked at, perhaps with others who look. Nothing in it is written, so
/// that one that may only be read will do.
pub struct LookedAt {
    _lock: Option<FolderLock>,
    data_dir: PathBuf,
}

/// Looks into the folder. Goes on behind damage and tells of it.
pub fn look(settings: &Settings) -> Result<LookedAt, Report> {
    let dir = &settings.data_dir;
    expect_log(dir)?;
    let lock = FolderLock::share(dir, "the data folder")?;
    Ok(LookedAt { _lock: lock, data_dir: dir.clone() })
}

impl LookedAt {
    /// The embedded log; what was found to be wrong with it is told.
    pub fn log(&self) -> Result<local_log::Looking, Report> {
        let log = local_log::Looking::at(&self.data_dir.join(local_log::DIR), OnDamage::Skip)?;
        log.notes().iter().for_each(note);
        Ok(log)
    }

    /// The kept rejects.
    pub fn rejects(&self) -> Result<rejects::Kept, Report> {
        let looking = rejects::Looking::at(&self.data_dir.join(rejects::DIR), OnDamage::Skip)?;
        looking.notes.iter().for_each(note);
        Ok(looking.kept)
    }
}

impl LookedAt {
    /// The state; told where none was ever kept.
    pub fn state(&self) -> Result<Looking, Report> {
        Looking::at(&self.data_dir)?.ok_or_else(|| Report {
            what: "cannot find a state".into(),
            why: "expected a data folder with a `state` in it, found none".into(),
            ..no_data(&self.data_dir)
        })
    }

    /// Every log there is, in the order in which they are to be copied.
    pub fn logs(&self) -> Result<Vec<(&'static str, Arc<Folder>)>, Report> {
        let mut logs: Vec<_> = Vec::new();
        if let Some(state) = Looking::at(&self.data_dir)? {
            logs.extend(state.logs());
        }
        if let Some(rejects) = self.rejects()?.folder() {
            logs.push((rejects::DIR, Arc::clone(rejects)));
        }
        logs.push((local_log::DIR, self.log()?.folder()));
        Ok(logs)
    }
}

fn expect_log(dir: &Path) -> Result<(), Report> {
    if dir.join(local_log::DIR).is_dir() { Ok(()) } else { Err(no_data(dir)) }
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
