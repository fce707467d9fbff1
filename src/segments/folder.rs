//! The segments of one log, as readers and the writer share them.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::blocks::{Blocks, Source};
use super::examine::Tally;
use super::format::{Contents, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::lock::FolderLock;
use super::trouble;
use crate::config::OnDamage;
use crate::report::Report;

/// One file of the log.
#[derive(Debug)]
pub struct Segment {
    /// The file.
    pub path: PathBuf,
    /// Its header.
    pub header: SegmentHeader,
    pub(super) salt: u32,
    pub(super) extent: Mutex<Extent>,
}

/// How far a segment reaches, durably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes that count.
    pub end: u64,
    /// The next position after its last record.
    pub next: u64,
    /// What is in it.
    pub tally: Tally,
    /// Nothing will be appended to it.
    pub sealed: bool,
}

impl Segment {
    /// How far it reaches now.
    pub fn extent(&self) -> Extent {
        *self.extent.lock()
    }

    /// Its blocks up to where it reaches now; `None` if the file is gone or is another one now
    /// (aged out): look the position up again.
    pub fn open(&self) -> Result<Option<Blocks<File>>, Report> {
        let cannot = |why: io::Error| trouble::cannot_read(&self.path, &why);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(cannot(why)),
        };
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let n = Source::read_at(&file, &mut bytes, 0).map_err(cannot)?;
        if SegmentHeader::decode(&bytes[..n]).ok() != Some((self.header, self.salt)) {
            return Ok(None);
        }
        let gapless = !self.header.compacted;
        Ok(Some(Blocks::new(file, self.salt, self.header.first, gapless, self.extent().end)))
    }
}

/// Where a position is to be read.
#[derive(Debug)]
pub enum Reading {
    /// In this segment, from this position on (later than asked for: those before are gone).
    At(Arc<Segment>, u64),
    /// Nothing is there yet; this is the next position.
    Nothing(u64),
}

/// The folder of one log: its lock, its segments.
#[derive(Debug)]
pub struct Folder {
    /// The folder.
    pub dir: PathBuf,
    /// What its blocks hold.
    pub contents: Contents,
    /// What becomes of damage.
    pub on_damage: OnDamage,
    pub(super) log_id: u64,
    /// In the order of positions; the last may be written to.
    pub(super) segments: Mutex<Vec<Arc<Segment>>>,
    /// `None`: nobody has ever opened it, and it is only looked at.
    pub(super) lock: Option<FolderLock>,
    /// Since when a sync has been under way, if one is.
    pub(super) syncing: Mutex<Option<Instant>>,
    /// Held by whoever makes a segment anew: to age it out, to overwrite what is in it.
    pub(super) rewriting: Mutex<()>,
}

impl Folder {
    /// The segments, in the order of positions.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.lock().clone()
    }

    /// For how long a sync has been under way; zero where none is.
    pub fn syncing(&self) -> Duration {
        self.syncing.lock().map_or(Duration::ZERO, crate::clock::since)
    }

    /// Drawn when the log was made: no other has it.
    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// First position that is there, and the next to be given.
    pub fn range(&self) -> (u64, u64) {
        let segments = self.segments.lock();
        let first = segments.first().map_or(0, |it| it.header.first);
        (first, segments.last().map_or(0, |it| it.extent().next))
    }

    /// First position of the newest segment: changes when a segment is made.
    pub fn newest(&self) -> Option<u64> {
        self.segments.lock().last().map(|it| it.header.first)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.lock().iter().map(|it| it.extent().end).sum()
    }

    /// Where the position is to be read.
    pub fn find(&self, position: u64) -> Reading {
        let segments = self.segments.lock();
        // The first segment that reaches beyond the position.
        let i = segments.partition_point(|it| it.extent().next <= position);
        match segments.get(i) {
            Some(it) => Reading::At(it.clone(), position.max(it.header.first)),
            None => Reading::Nothing(segments.last().map_or(0, |it| it.extent().next)),
        }
    }

    /// Refused where this folder is not ours to write into any more.
    pub(super) fn expect_ours(&self) -> Result<(), Report> {
        let Some(lock) = &self.lock else { return Ok(()) };
        match lock.is_held() {
            Ok(true) => Ok(()),
            Ok(false) => Err(trouble::removed(&self.dir)),
            Err(why) => Err(trouble::cannot_write(&self.dir, &why, true)),
        }
    }

    pub(super) fn path_of(&self, first: u64) -> PathBuf {
        self.dir.join(format!("{first:020}.{SEGMENT_ENDING}"))
    }
}

pub(super) const SEGMENT_ENDING: &str = "seg";
/// A segment that is being made; it becomes one by being renamed.
pub(super) const NEW_ENDING: &str = "new";

/// A file of this name that was not there before. What an attempt that failed has left is removed
/// and not written to again: a sync that failed is never tried again on the same file.
pub(super) fn create_anew(path: &Path) -> io::Result<File> {
    let make = || OpenOptions::new().write(true).create_new(true).open(path);
    match make() {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            make()
        }
        it => it,
    }
}

/// Makes names in the folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The folder that this stands in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a folder with those it stands in, and their names durable: what is durable in a folder
/// that is not there after a crash is lost.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .filter(|it| !it.as_os_str().is_empty())
        .take_while(|it| !it.is_dir())
        .collect();
    std::fs::create_dir_all(dir)?;
    missing.into_iter().rev().try_for_each(|it| sync_dir(parent(it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: whatever way a folder is named, it is made, and made again without harm; a file in the
    /// way is an error.
    #[test]
    fn a_folder_is_made_with_those_it_stands_in() {
        let under = std::env::temp_dir().join(format!("millstream-make-{}", std::process::id()));
        for path in [under.join("a/b/c"), under.join("a/b/d/"), under.join("a/./e/../f")] {
            make_dir(&path).unwrap();
            assert!(path.is_dir(), "{}", path.display());
            make_dir(&path).unwrap();
        }
        std::fs::write(under.join("file"), "").unwrap();
        assert!(make_dir(&under.join("file")).is_err());
        assert!(make_dir(&under.join("file/below")).is_err());
        assert_eq!(parent(Path::new("data")), Path::new("."), "a relative name stands here");
        std::fs::remove_dir_all(&under).unwrap();
    }
}
