//! One process per folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::trouble;
use crate::report::Report;

/// Held for as long as the folder is open; the system releases it when the process ends, however
/// it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder, or says who has it. `what` names the folder to people: `the data folder`.
    pub fn take(folder: &Path, what: &str) -> Result<FolderLock, Report> {
        let path = folder.join("lock");
        let cannot = |why| trouble::cannot_open(&path, &why);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is a courtesy; that somebody does is certain.
                if file.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
                    holder = "another process".into();
                }
                return Err(Report {
                    code: "segments/in-use",
                    what: format!("cannot open {what}"),
                    at: vec![("folder", folder.display().to_string())],
                    why: format!("{} has it open", holder.trim()),
                    effect: "nothing was read or written".into(),
                    fix: "stop that process, or give this one a `data_dir` of its own".into(),
                });
            }
            Err(TryLockError::Error(why)) => return Err(cannot(why)),
        }
        let line = format!("process {}\n", std::process::id());
        let mut write = || {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(line.as_bytes())
        };
        // A full disk has no room for the line, and the lock holds without it.
        if let Err(why) = write() {
            tracing::debug!(%why, "could not write who holds the lock");
        }
        Ok(FolderLock { _file: file })
    }
}
