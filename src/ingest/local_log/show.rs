//! What a person may see of the log.

use std::ops::ControlFlow;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::CONTENTS;
use super::follow::is_of_system;
use super::record::{Kind, places};
use crate::messages::{Apart, FormatOf, Origin, RetriedAs};
use crate::report::Report;
use crate::segments::{self, Folder, OnDamage, Reading, other_layout};

/// The log of a folder that no process has open, looked at: nothing is written.
pub struct Looking {
    folder: Arc<Folder>,
    notes: Vec<Report>,
}

impl Looking {
    /// Looks into this folder.
    pub fn at(dir: &Path, on_damage: OnDamage) -> Result<Looking, Report> {
        let looked = segments::look(dir, CONTENTS, on_damage, "the event log")?;
        Ok(Looking { folder: looked.folder, notes: looked.notes })
    }

    /// What was found, and left as it is: a tail cut short, damage skipped.
    pub fn notes(&self) -> &[Report] {
        &self.notes
    }

    /// Its segments, to be copied or verified.
    pub fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.folder)
    }

    /// First position that is still there.
    pub fn first(&self) -> u64 {
        self.folder.range().0
    }

    /// Sizes, positions, times.
    pub fn stats(&self) -> Stats {
        stats(&self.folder, 0, false)
    }

    /// Every record from the position on, until enough.
    pub fn each(&self, from: u64, take: &mut OnRecord<'_>) -> Result<(), Report> {
        each(&self.folder, from, take)
    }

    /// Up to `limit` records from the position on.
    pub fn show(&self, from: u64, limit: usize) -> Result<Vec<Shown>, Report> {
        show(&self.folder, from, limit)
    }
}

/// The log in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Where it lies.
    pub folder: String,
    /// Files.
    pub n_segments: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// First position that is there.
    pub first: u64,
    /// From this position on every record is there; below it, at most own facts.
    pub whole_from: u64,
    /// The next position to be given.
    pub next: u64,
    /// Records that are there.
    pub n_records: u64,
    /// Append time of the oldest, milliseconds since the Unix epoch.
    pub oldest_ms: Option<u64>,
    /// Append time of the newest.
    pub newest_ms: Option<u64>,
    /// Bytes waiting to be written.
    pub queued_bytes: u64,
    /// The last write failed.
    pub failing: bool,
}

/// A record as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its position.
    pub position: u64,
    /// What it is.
    pub kind: Kind,
    /// When it was appended, milliseconds since the Unix epoch.
    pub appended_ms: u64,
    /// A retried reject: where it was first read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The record.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

impl Shown {
    /// How a reader of the log would mark it: one that is read otherwise than the others.
    pub fn apart(&self, formats: &FormatOf) -> Option<Arc<Apart>> {
        if let Some(origin) = &self.origin {
            let (format, origin) = (formats(origin), origin.clone());
            return Some(Arc::new(Apart::Retried(RetriedAs { format, origin })));
        }
        let system = self.kind == Kind::Fact && is_of_system(&self.bytes);
        system.then(|| Arc::new(Apart::System))
    }
}

pub(super) fn stats(folder: &Folder, queued_bytes: u64, failing: bool) -> Stats {
    let segments = folder.segments();
    let tallies: Vec<_> =
        segments.iter().map(|it| it.extent().tally).filter(|it| it.blocks > 0).collect();
    let (first, next) = folder.range();
    let reduced = segments.iter().filter(|it| it.header.compacted).map(|it| it.extent().next);
    Stats {
        folder: folder.dir.display().to_string(),
        n_segments: segments.len(),
        bytes: folder.bytes(),
        first,
        whole_from: reduced.max().unwrap_or(first),
        next,
        n_records: tallies.iter().map(|it| it.records).sum(),
        oldest_ms: tallies.first().map(|it| it.oldest_ms),
        newest_ms: tallies.last().map(|it| it.newest_ms),
        queued_bytes,
        failing,
    }
}

pub(super) fn show(folder: &Folder, from: u64, limit: usize) -> Result<Vec<Shown>, Report> {
    let mut out = Vec::new();
    if limit == 0 {
        return Ok(out);
    }
    each(folder, from, &mut |it| {
        out.push(it);
        Ok(if out.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(out)
}

/// Told of a record; says whether it wants the next.
pub type OnRecord<'a> = dyn FnMut(Shown) -> Result<ControlFlow<()>, Report> + 'a;

/// Every record from the position on, until enough.
pub(super) fn each(folder: &Folder, from: u64, take: &mut OnRecord<'_>) -> Result<(), Report> {
    let (mut position, mut enough) = (from, false);
    while !enough {
        let Reading::At(segment, _) = folder.find(position) else { break };
        folder.each_block(&segment, |block| {
            let header = &block.header;
            if header.next() <= position {
                return Ok(ControlFlow::Continue(()));
            }
            let other = |why| other_layout(&segment.path, block.offset, why);
            let kind = Kind::of(header.tag).ok_or_else(|| other("its tag is none of ours"))?;
            let (mut at, mut ended) = (header.first, Ok(ControlFlow::Continue(())));
            let laid_out = places(kind, block.payload, |place| {
                if at >= position && matches!(ended, Ok(ControlFlow::Continue(()))) {
                    let bytes = place.bytes(block.payload).to_vec();
                    let appended_ms = header.appended_ms;
                    ended = place.origin(block.payload).map_err(other).and_then(|origin| {
                        take(Shown { position: at, kind, appended_ms, origin, bytes })
                    });
                }
                at += 1;
            });
            laid_out.map_err(other)?;
            enough = !matches!(ended, Ok(ControlFlow::Continue(())));
            ended
        })?;
        position = segment.extent().next.max(position + 1);
    }
    Ok(())
}
