//! `millstream backup` and `millstream restore`.
//!
//! # Meaning
//! A running process makes its backup itself; with none running the folder is copied under its
//! lock. A restored folder begins another incarnation.

use std::path::Path;

use serde_json::{Value, json};

use super::Problems;
use super::ask;
use super::chosen::Chosen;
use super::folder;
use super::out::Out;
use super::state::begin_restored;
use super::typed::{Backup, Restore};
use crate::backup;
use crate::config::Settings;
use crate::ingest::resets;
use crate::models::{arrivals, shelf};
use crate::report::Report;
use crate::run::erasing;
use crate::secret;
use crate::store::INCARNATION_FILE;
use crate::supervise::notes::ASIDE_FILE;

/// Small files of a data folder that a backup holds. The lists of models come before their
/// bodies: what they name is there by then.
pub const SMALL: &[&str] = &[
    secret::FILE,
    INCARNATION_FILE,
    resets::FILE,
    ASIDE_FILE,
    erasing::FILE,
    erasing::there::FILE,
    shelf::LIST_PATH,
    arrivals::LIST_PATH,
    shelf::DIR,
];

/// Makes one.
pub fn main(it: &Backup, chosen: &Chosen) -> Result<(), Problems> {
    let settings = chosen.folder(&it.folder)?;
    made(&settings, &it.to, it.folder.json).map_err(|it| vec![it])
}

fn made(settings: &Settings, to: &Path, json: bool) -> Result<(), Report> {
    let found = match ask::running(&settings.data_dir) {
        Some(peer) => {
            // The process has a working directory of its own.
            let to = std::path::absolute(to).unwrap_or_else(|_| to.to_path_buf());
            let to = [("to", Some(to.display().to_string()))];
            peer.post_slowly(&format!("/v1/admin/backup{}", ask::query(&to)))?
        }
        None => {
            let looked = folder::look(settings)?;
            let (dir, now_ms) = (&settings.data_dir, crate::clock::wall_ms());
            told(&backup::make(dir, &looked.logs()?, SMALL, to, now_ms)?)
        }
    };
    let mut out = Out::default();
    if json {
        out.line(found.to_string())?;
    } else {
        out.line(format!("{} files, {} bytes", found["n_files"], found["bytes"]))?;
    }
    out.end()
}

/// A backup in figures.
pub fn told(made: &backup::Made) -> Value {
    json!({"made_ms": made.made_ms, "n_files": made.files.len(), "bytes": made.bytes})
}

/// Puts one into an empty data folder.
pub fn restore(it: &Restore, chosen: &Chosen) -> Result<(), Problems> {
    let settings = chosen.folder(&it.folder)?;
    let put_back = || -> Result<(), Report> {
        let made = backup::restore(&it.from, &settings.data_dir, begin_restored)?;
        let mut out = Out::default();
        let found = told(&made);
        if it.folder.json {
            out.line(found.to_string())?;
        } else {
            let dir = settings.data_dir.display();
            out.line(format!("{} files, {} bytes in {dir}", found["n_files"], found["bytes"]))?;
        }
        out.end()
    };
    put_back().map_err(|it| vec![it])
}
