//! Reads JSON lines from a file, a folder or standard input, plain or compressed.
//!
//! In: a path. Out: [`Chunk`](crate::messages::Chunk)s of whole lines to an [`Outlet`].
//!
//! # Meaning
//! Each file is a partition of its feed, in the order of names; the offset counts its lines from
//! 0. A last line without a line end counts. `tests/file.rs` checks both.
//!
//! # Invariants
//! - A line is one record, whatever its length; of one that is far over the limit only so much is
//!   kept that it is seen to be (`Limits::max_event_bytes` and one byte more), and it is rejected
//!   where it is decoded.
//! - Memory: one chunk, and the line that was begun at its end.
//!
//! # When it fails
//! A file that cannot be read further ends the reading with a report that says how many of its
//! lines were taken; nothing of the line at hand is.

mod lines;
mod pace;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::messages::{FeedId, Outlet, Stopped};
use crate::report::Report;

/// What to read, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A file, a folder, or `-` for standard input.
    pub path: PathBuf,
    /// Its feed.
    pub feed: FeedId,
    /// When it was first read, milliseconds: what its records have for an append time. Under a
    /// rate: when the first line is due.
    pub first_read_ms: u64,
    /// Longest event (settings). Of a longer line one byte more is kept.
    pub max_event_bytes: u64,
    /// Lines a second: line `k` is sent when `k / rate` seconds have passed, not before, however
    /// late the ones before were. As fast as it goes if absent.
    pub rate: Option<f64>,
    /// How often the whole is read; at least 1.
    pub passes: u32,
    /// Where each file goes on: lines before are passed over. Of the first pass only.
    pub from: BTreeMap<u32, u64>,
}

/// How far reading is; others look while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read from the files (compressed ones: as they lie there).
    pub bytes: AtomicU64,
    /// Bytes there are, over all passes; 0 if nobody knows.
    pub bytes_total: AtomicU64,
    /// Lines sent.
    pub records: AtomicU64,
    /// Lines sent or passed over.
    pub lines: AtomicU64,
    /// The file being read, and its next line.
    pub at: (AtomicU32, AtomicU64),
    /// Read to the end.
    pub done: AtomicBool,
    /// Why it cannot be read further.
    pub failed: OnceLock<String>,
    /// Under a rate: when the first line was due.
    pub paced_from: OnceLock<Instant>,
}

impl Progress {
    /// Where the file being read ends, as far as can be guessed from the lines and bytes so far.
    pub fn end(&self) -> (u32, u64) {
        let (file, next) = (self.at.0.load(Relaxed), self.at.1.load(Relaxed));
        let (bytes, total) = (self.bytes.load(Relaxed), self.bytes_total.load(Relaxed));
        let left = match self.done.load(Relaxed) {
            true => 0,
            false => {
                u128::from(total.saturating_sub(bytes)) * u128::from(self.lines.load(Relaxed))
                    / u128::from(bytes.max(1))
            }
        };
        (file, next + u64::try_from(left).unwrap_or(u64::MAX))
    }
}

/// How many bytes there are to read (of standard input: 0), before anything is started.
pub fn there(path: &Path) -> Result<u64, Report> {
    Ok(source::files(path)?.iter().map(|it| it.bytes).sum())
}

/// Reads it all, on the thread of the caller, until the end, or `stop`, or nobody to read for.
pub fn read(
    plan: &Plan,
    outlet: &Outlet,
    progress: &Arc<Progress>,
    stop: &AtomicBool,
) -> Result<(), Report> {
    let files = source::files(&plan.path)?;
    if plan.path == Path::new("-") && plan.passes > 1 {
        return Err(source::cannot_repeat());
    }
    let total: u64 = files.iter().map(|it| it.bytes).sum();
    progress.bytes_total.store(total * u64::from(plan.passes), Relaxed);
    let mut reached = vec![0; files.len()];
    let mut pace = plan.rate.map(|rate| pace::Pace::new(rate, plan.first_read_ms, progress));
    for pass in 0..plan.passes.max(1) {
        for (i, file) in files.iter().enumerate() {
            let mut input = source::open(file, progress)?;
            let partition = i as u32;
            let passed =
                if pass == 0 { plan.from.get(&partition).copied().unwrap_or(0) } else { 0 };
            let at =
                lines::At { partition: (plan.feed, partition), pass, next: reached[i], passed };
            let mut lines = lines::Lines::new(at, plan, outlet, progress, stop);
            match lines.run(&mut *input, pace.as_mut()) {
                Ok(()) => reached[i] = lines.next(),
                Err(lines::End::Stopped) => return Ok(()),
                Err(lines::End::Failed(why)) => {
                    return Err(source::cannot_read_on(file, lines.next() - reached[i], &why));
                }
            }
        }
    }
    progress.done.store(true, Relaxed);
    Ok(())
}

impl From<Stopped> for lines::End {
    fn from(_: Stopped) -> lines::End {
        lines::End::Stopped
    }
}
