//! One process per folder; or several that only look.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::trouble;
use crate::report::Report;

/// The file that is locked.
const NAME: &str = "lock";
/// Looking takes some seconds at most (a log of any size is read and checked up to a gigabyte):
/// who starts meanwhile waits so long for it.
const FOR_LOOKERS: Duration = Duration::from_secs(10);
/// Tried again so often.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Between fork and exec a child holds what its parent has just let go.
const FOR_CHILDREN: Duration = Duration::from_secs(1);

/// Held for as long as the folder is open; the system releases it when the process ends, however
/// it ends.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    path: PathBuf,
}

impl FolderLock {
    /// Takes the folder, or says who has it. `what` names the folder to people: `the data folder`.
    pub fn take(folder: &Path, what: &str) -> Result<FolderLock, Report> {
        let path = folder.join(NAME);
        let cannot = |why| trouble::cannot_open(&path, &why);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(cannot)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(why)) => return Err(cannot(why)),
            }
            // Who can share it shares it with some that look; they are soon gone.
            let looked_at = match file.try_lock_shared() {
                Ok(()) => file.unlock().map(|()| true),
                Err(TryLockError::WouldBlock) => Ok(false),
                Err(TryLockError::Error(why)) => Err(why),
            };
            // A child that we are just starting has what we had, for a moment.
            let ours = || std::fs::read_to_string(&path).is_ok_and(|it| it == holder());
            let passing = looked_at.map_err(cannot)? || waited < FOR_CHILDREN && ours();
            if !passing || waited >= FOR_LOOKERS {
                return Err(in_use(&mut file, folder, what));
            }
            std::thread::sleep(TRY_AGAIN);
            waited += TRY_AGAIN;
        }
        let line = holder();
        let mut write = || {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(line.as_bytes())
        };
        // A full disk has no room for the line, and the lock holds without it.
        if let Err(why) = write() {
            tracing::debug!(%why, "could not write who holds the lock");
        }
        Ok(FolderLock { file, path })
    }

    /// Shares the folder with others who only look, or says who has it. Writes nothing; `None` if
    /// nobody has ever taken the folder.
    pub fn share(folder: &Path, what: &str) -> Result<Option<FolderLock>, Report> {
        let path = folder.join(NAME);
        let cannot = |why| trouble::cannot_open(&path, &why);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(cannot(why)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(FolderLock { file, path })),
            Err(TryLockError::WouldBlock) => Err(in_use(&mut file, folder, what)),
            Err(TryLockError::Error(why)) => Err(cannot(why)),
        }
    }

    /// Whether what is locked is still what others would lock: not where the folder was removed,
    /// moved or replaced since. Then another may have it, and nothing is to be written into it.
    pub fn is_held(&self) -> io::Result<bool> {
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok(FileId::of(&there) == FileId::of(&self.file.metadata()?)),
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(false),
            Err(why) => Err(why),
        }
    }
}

/// Who holds it, as the file says.
fn holder() -> String {
    format!("process {}\n", std::process::id())
}

/// A file, whatever name it has or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    pub(super) fn of(it: &Metadata) -> FileId {
        FileId { device: it.dev(), number: it.ino() }
    }

    /// Whether the file is still under this name; what cannot be seen is not there.
    pub(super) fn is_at(self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|it| FileId::of(&it) == self)
    }
}

fn in_use(file: &mut File, folder: &Path, what: &str) -> Report {
    let mut holder = String::new();
    // Who holds it is a courtesy; that somebody does is certain.
    if file.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
        holder = "another process".into();
    }
    Report {
        code: "segments/in-use",
        what: format!("cannot open {what}"),
        at: vec![("folder", folder.display().to_string())],
        why: format!("{} has it open", holder.trim()),
        effect: "nothing was read or written".into(),
        fix: "stop that process, or give this one a `data_dir` of its own".into(),
    }
}
