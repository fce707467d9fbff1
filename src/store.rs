//! Remembers: states, identities, counts and offsets of one complete epoch, durable together.
//!
//! In: records from the [`StateKeeper`](schemas::keeping::StateKeeper)s, identities from
//! [`Fresh`], the ledger's [`BookState`](crate::messages::BookState).
//! Out: the same, put back at start ([`Store::load`]).
//!
//! ```text
//!  workers ──new identities, by epoch──▶ Fresh ──────────────┐ up to T
//!  served maps ──records of what changed, as of T──▶ keepers ┼▶ checkpoint ─▶ identities/  (first)
//!  ledger ──counts and next offsets at T──▶ BookState ───────┘               └▶ state/: records,
//!                                                                               then the commit
//! ```
//!
//! # Meaning
//! A checkpoint at epoch T is there whole or not at all: it counts when its commit block is
//! durable, and everything that it names is durable before. What belongs to later epochs stays
//! out: an identity from after T in checkpoint T would be a lost event after a crash.
//!
//! # Invariants
//! - Numbers of checkpoints (*seq*) rise and are never given twice, also not to one that failed.
//! - Records of a checkpoint without a commit are never read.
//! - Of an entity the newest committed record stands; older ones are left behind and go with
//!   their segment.
//! - No worker waits for a disk here. Nothing depends on the number of workers.
//!
//! # State
//! Identities of epochs not yet in a checkpoint, at most [`FRESH_MAX`] before reading is held
//! back; one buffer of a block. On disk about twice the live states (the oldest segments are
//! written again and removed), and the identities of the dedup horizon.
//!
//! # When it fails
//! A write that fails is told once and tried again; states go on in memory, and reading is held
//! back when too much waits. Damage is refused with its place, never decoded.
//!
//! # Why this way
//! Random upserts into a B-tree or LSM were measured ten to forty times dearer (FIELD-NOTES 5).

mod checkpoint; // one after the other, on a thread of its own
mod clean; // gives old segments up
mod fresh; // identities on their way
mod incarnation; // which life of the state this is
mod kept; // that there was one
mod load; // puts it all back
mod look; // as a person may see it
mod older; // the newest before damage
mod payload; // what is in the blocks

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;
use crate::report::{Report, log_report};
use crate::segments::{self, Folder, OnDamage, Writer};

pub use checkpoint::{BookStateAt, Checkpoints, Leaves, Parts};
pub use fresh::{FRESH_MAX, Fresh};
pub use incarnation::{Began, INCARNATION_FILE, Incarnation};
pub(crate) use kept::gone;
pub use kept::{KEPT_FILE, kept};
pub use load::{OTHER_VIEWS, Others, Restored, lines, lines_left, other_views};
pub use look::{Checkpoint, Looking, Stats, ViewStats};
pub use older::{Older, older};
pub use payload::MadeBy;

/// What holds states; the name of its folder in the data folder.
pub const STATE_DIR: &str = "state";
/// What holds identities.
pub const IDENTITIES_DIR: &str = "identities";

/// The durable state of a deployment, opened.
pub struct Store {
    state: Log,
    identities: Log,
    settings: config::State,
    /// What both lie in.
    data_dir: PathBuf,
    /// The feeds that are noted in it as kept.
    kept: Option<BTreeSet<String>>,
    /// Number of the next checkpoint.
    seq: u32,
    /// Which life of this state this is.
    incarnation: Incarnation,
    /// What the deployment's secret makes of a known text.
    under: String,
    /// Who writes.
    made_by: MadeBy,
    /// Views that were built again, each with the first checkpoint whose records count.
    since: BTreeMap<String, u32>,
    /// The first position of the identities that the newest checkpoint needs.
    identities_from: u64,
    /// Positions of identities that belong to no checkpoint.
    dead: Vec<(u64, u64)>,
    /// The newest checkpoint with blocks in each segment, by the segment's first position.
    newest_in: BTreeMap<u64, u32>,
    /// Bytes and number of the records written, by view.
    record_bytes: BTreeMap<&'static str, (u64, u64)>,
}

/// One log of the two.
struct Log {
    folder: Arc<Folder>,
    writer: Writer,
}

impl Store {
    /// Opens (or makes) both logs in the data folder. Also gives what was found and dealt with.
    pub fn open(
        data_dir: &Path,
        settings: &config::State,
        now_ms: u64,
    ) -> Result<(Store, Vec<Report>), Report> {
        let mut notes = Vec::new();
        let mut open = |dir: &str, contents, bytes, what| -> Result<Log, Report> {
            let dir = data_dir.join(dir);
            // Damage in a state is never skipped: a wrong row would be served.
            remove_leftover(&dir)?;
            let opened =
                segments::open_to_read(&dir, contents, OnDamage::Refuse, bytes, what, now_ms)
                    .map_err(never_skipped)?;
            notes.extend(opened.notes);
            Ok(Log { folder: opened.folder, writer: opened.writer })
        };
        let bytes = settings.segment_bytes;
        let state = open(STATE_DIR, payload::STATES, bytes, "the state")?;
        let identities = open(IDENTITIES_DIR, payload::IDENTITIES, bytes, "the identities")?;
        let store = Store {
            state,
            identities,
            settings: settings.clone(),
            data_dir: data_dir.to_path_buf(),
            kept: kept(data_dir).unwrap_or_else(|report| {
                // Where a checkpoint is there, the next one makes it anew.
                log_report!(warn, report, "a note is damaged");
                None
            }),
            seq: 1,
            incarnation: Incarnation::of(data_dir, now_ms)?,
            under: String::new(),
            made_by: MadeBy::default(),
            since: BTreeMap::new(),
            identities_from: 0,
            dead: Vec::new(),
            newest_in: BTreeMap::new(),
            record_bytes: BTreeMap::new(),
        };
        Ok((store, notes))
    }

    /// Removes what is kept, so that it can be built again: in another life.
    pub fn remove(data_dir: &Path, now_ms: u64) -> Result<(), Report> {
        Incarnation::begin(data_dir, Began::Rebuilt, now_ms)?;
        kept::forget(data_dir)?;
        for dir in [STATE_DIR, IDENTITIES_DIR] {
            let dir = data_dir.join(dir);
            remove_leftover(&dir)?;
            // Under its name it is there whole, or not at all.
            match std::fs::rename(&dir, leftover(&dir)) {
                Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                    return Err(segments::cannot_write(&dir, &why, true));
                }
                _ => {}
            }
            segments::sync_dir(data_dir)
                .map_err(|why| segments::cannot_write(data_dir, &why, true))?;
            remove_leftover(&dir)?;
        }
        Ok(())
    }

    /// States are read and written under the secret that makes this of a known text.
    pub fn under(&mut self, told: String) {
        self.under = told;
    }

    /// A checkpoint of this is durable: that there was one outlives it.
    pub(crate) fn note_kept(&mut self, book: &crate::messages::BookState) -> Result<(), Report> {
        if let Some(it) = kept::note(&self.data_dir, self.kept.as_ref(), book)? {
            self.kept = Some(it);
        }
        Ok(())
    }

    /// Who writes from now on.
    pub fn made_by(&mut self, it: MadeBy) {
        self.made_by = it;
    }

    /// For those who look, while it is open here.
    pub fn looking(&self) -> Looking {
        Looking::of(self, self.incarnation)
    }

    /// Which life of this state this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Bytes on disk: states, identities.
    pub fn bytes(&self) -> (u64, u64) {
        (self.state.folder.bytes(), self.identities.folder.bytes())
    }
}

/// Where a folder lies while it is being removed.
fn leftover(dir: &Path) -> PathBuf {
    dir.with_extension("removed")
}

/// Removes what a removal before has left.
fn remove_leftover(dir: &Path) -> Result<(), Report> {
    let dir = leftover(dir);
    match std::fs::remove_dir_all(&dir) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(segments::cannot_write(&dir, &why, true))
        }
        _ => Ok(()),
    }
}

/// Damage in a state is not to be gone on without.
fn never_skipped(report: Report) -> Report {
    if report.code != "segments/damaged" {
        return report;
    }
    let fix = "restore a backup, or let it be built again from the log: `millstream run --rebuild`";
    Report { fix: fix.into(), ..report }
}

#[cfg(test)]
pub(crate) mod simulated; // on a disk of a test, step by step
