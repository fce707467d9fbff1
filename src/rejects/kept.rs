//! The kept rejects as those who look see them, while they are kept or with nobody keeping them.

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::CONTENTS;
use super::index::{Index, Place};
use super::record::{self, Count, Filter, Page, Reject};
use crate::report::Report;
use crate::segments::{self, Folder, OnDamage};

/// The rejects: an index, and the folder that their bytes are in.
pub struct Kept {
    /// `None`: they are in memory only.
    folder: Option<Arc<Folder>>,
    index: Mutex<Index>,
}

/// The rejects of a folder that no process has open, looked at: nothing is written.
pub struct Looking {
    /// The rejects.
    pub kept: Kept,
    /// What was found, and left as it is: a tail cut short, damage skipped.
    pub notes: Vec<Report>,
}

impl Looking {
    /// Looks into this folder; one that is not there holds nothing.
    pub fn at(dir: &Path, on_damage: OnDamage) -> Result<Looking, Report> {
        if !dir.is_dir() {
            return Ok(Looking { kept: Kept::new(None, Index::default()), notes: Vec::new() });
        }
        let looked = segments::look(dir, CONTENTS, on_damage, "the kept rejects")?;
        let index = Index::load(&looked.folder)?;
        Ok(Looking { kept: Kept::new(Some(looked.folder), index), notes: looked.notes })
    }
}

impl Kept {
    pub(super) fn new(folder: Option<Arc<Folder>>, index: Index) -> Kept {
        Kept { folder, index: Mutex::new(index) }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock()
    }

    /// Where their bytes are, unless they are in memory only.
    pub fn folder(&self) -> Option<&Arc<Folder>> {
        self.folder.as_ref()
    }

    /// A page of rejects, the newest first; `before` is the previous page's `next`.
    pub fn list(&self, filter: &Filter, limit: usize, before: Option<u64>) -> Result<Page, Report> {
        let mut before = before;
        loop {
            let (ids, next) = self.index().page(filter, limit, before);
            let mut rejects = Vec::with_capacity(ids.len());
            for id in ids {
                // Pushed out since: it is counted now, and no longer listed.
                rejects.extend(self.get(id)?);
            }
            // A page without rejects would read as the end.
            if !rejects.is_empty() || next.is_none() {
                return Ok(Page { rejects, next });
            }
            before = next;
        }
    }

    /// The oldest.
    pub fn first(&self) -> Result<Option<Reject>, Report> {
        let first = self.index().first();
        first.map_or(Ok(None), |it| self.get(it))
    }

    /// How many there are and were, by feed and code, as far as it is written down.
    pub fn counts(&self) -> Vec<Count> {
        self.index().counts()
    }

    /// One reject.
    pub fn get(&self, id: u64) -> Result<Option<Reject>, Report> {
        // Retried marks are in memory only, so the entry is read first.
        let (place, retried_as) = match self.index().entry(id) {
            Some(it) => (it.place.clone(), it.retried_as()),
            None => return Ok(None),
        };
        let read = |payload: &[u8]| record::decode(id, payload, retried_as);
        match (place, &self.folder) {
            (Place::Held(payload), _) => Ok(read(&payload)),
            (Place::At(offset), Some(folder)) => {
                let segments::Reading::At(segment, _) = folder.find(id) else { return Ok(None) };
                let cannot = |why| segments::cannot_read(&segment.path, &why);
                let Some(mut blocks) = segment.open()? else { return Ok(None) };
                blocks.seek(offset, id);
                match blocks.read().map_err(cannot)? {
                    Some(Ok(block)) => Ok(read(block.payload)),
                    Some(Err(bad)) => {
                        let (offset, until) = (bad.offset, bad.offset);
                        let (first, next) = (id, id + 1);
                        let it = segments::Damaged { offset, until, first, next, why: bad.why };
                        Err(segments::damaged(&segment.path, &it))
                    }
                    None => Ok(None),
                }
            }
            (Place::At(_), None) => Ok(None),
        }
    }
}
