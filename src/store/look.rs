//! The state as a person may see it: its checkpoints, its figures, whether it holds. Of a folder
//! that no process has open, or of the running one's. Nothing is written.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::incarnation::Incarnation;
use super::load::unreadable;
use super::payload::{self, Commit};
use super::{IDENTITIES_DIR, STATE_DIR, Store};
use crate::report::Report;
use crate::segments::{self, Folder, OnDamage, Segment};

/// The logs of a state, for those who look.
#[derive(Clone)]
pub struct Looking {
    state: Arc<Folder>,
    identities: Arc<Folder>,
    incarnation: Option<Incarnation>,
}

/// A checkpoint that is on the disk. Of older ones not every record may be there any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Its number.
    pub checkpoint: u32,
    /// Its instant, milliseconds since the Unix epoch.
    pub epoch_ms: u64,
    /// Which life of the state wrote it.
    pub incarnation: u64,
    /// Records of states written for it.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The next position of the embedded log at it.
    pub position: Option<u64>,
    /// The file that its commit is in.
    pub segment: String,
    /// The newest event time read by then, microseconds since the Unix epoch.
    #[serde(skip)]
    pub newest_event: i64,
    /// The models that were published.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

/// The state in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Where it lies.
    pub folder: String,
    /// Which life of the state this is.
    pub incarnation: Option<u64>,
    /// How it began.
    pub began: Option<super::Began>,
    /// The newest checkpoint; none was made yet if absent.
    pub newest: Option<Checkpoint>,
    /// Checkpoints on the disk.
    pub n_checkpoints: usize,
    /// Files of states.
    pub n_segments: usize,
    /// Bytes of states on disk.
    pub state_bytes: u64,
    /// Bytes of identities on disk.
    pub identities_bytes: u64,
    /// Identities on disk.
    pub n_identities: u64,
    /// By view.
    pub views: Vec<ViewStats>,
}

/// A view in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ViewStats {
    /// Its name.
    pub view: String,
    /// Entities at the newest checkpoint.
    pub entities: Option<u64>,
    /// Records on disk, those that newer ones have replaced included.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Looking {
    /// Looks into the state of a data folder; none where none was ever kept.
    pub fn at(data_dir: &Path) -> Result<Option<Looking>, Report> {
        let (state, identities) = (data_dir.join(STATE_DIR), data_dir.join(IDENTITIES_DIR));
        if !state.is_dir() || !identities.is_dir() {
            return Ok(None);
        }
        let look = |dir: &Path, contents, what| -> Result<Arc<Folder>, Report> {
            Ok(segments::look(dir, contents, OnDamage::Skip, what)?.folder)
        };
        Ok(Some(Looking {
            state: look(&state, payload::STATES, "the state")?,
            identities: look(&identities, payload::IDENTITIES, "the identities")?,
            incarnation: Incarnation::read(data_dir)?,
        }))
    }

    /// The logs of a store that is open in this process.
    pub(super) fn of(store: &Store, incarnation: Incarnation) -> Looking {
        Looking {
            state: Arc::clone(&store.state.folder),
            identities: Arc::clone(&store.identities.folder),
            incarnation: Some(incarnation),
        }
    }

    /// Its logs by the names of their folders, in the order in which they must be copied: what a
    /// checkpoint names is durable before it.
    pub fn logs(&self) -> [(&'static str, Arc<Folder>); 2] {
        let (state, identities) = (Arc::clone(&self.state), Arc::clone(&self.identities));
        [(STATE_DIR, state), (IDENTITIES_DIR, identities)]
    }

    /// Checkpoints, the newest first.
    pub fn checkpoints(&self, limit: usize) -> Result<Vec<Checkpoint>, Report> {
        let (mut found, _) = self.survey()?;
        found.truncate(limit);
        Ok(found.into_iter().map(|it| it.0).collect())
    }

    /// Figures.
    pub fn stats(&self) -> Result<Stats, Report> {
        let (found, mut views) = self.survey()?;
        for (view, entities) in found.first().map_or(&[][..], |it| &it.1) {
            views.entry(view.clone()).or_default().entities = Some(*entities);
        }
        let identities = self.identities.segments();
        Ok(Stats {
            folder: self.state.dir.parent().unwrap_or(&self.state.dir).display().to_string(),
            incarnation: self.incarnation.map(|it| it.number),
            began: self.incarnation.map(|it| it.began),
            n_checkpoints: found.len(),
            newest: found.into_iter().next().map(|it| it.0),
            n_segments: self.state.segments().len(),
            state_bytes: self.state.bytes(),
            identities_bytes: self.identities.bytes(),
            n_identities: identities.iter().map(|it| it.extent().tally.records).sum(),
            views: views.into_iter().map(|(view, it)| ViewStats { view, ..it }).collect(),
        })
    }

    /// Every checkpoint with the entities of each view, the newest first; and what is on the disk
    /// of each view.
    #[expect(clippy::type_complexity, reason = "read once, two lines further up")]
    fn survey(
        &self,
    ) -> Result<(Vec<(Checkpoint, Vec<(String, u64)>)>, BTreeMap<String, ViewStats>), Report> {
        let mut found = Vec::new();
        let mut views: BTreeMap<String, ViewStats> = BTreeMap::new();
        let mut so_far: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for segment in self.state.segments() {
            // It may leave while it is looked at, in a running process.
            if segment.open()?.is_none() {
                continue;
            }
            self.state.each_block(&segment, |block| {
                if block.header.tag == payload::COMMIT {
                    let commit: Commit = serde_json::from_slice(block.payload)
                        .map_err(|why| unreadable(&segment, &why.to_string()))?;
                    let (records, bytes) = so_far.remove(&commit.seq).unwrap_or_default();
                    found.push(told(commit, &segment, records, bytes));
                } else if block.header.tag != payload::RECORDS {
                    let tag = block.header.tag;
                    return Err(unreadable(&segment, &format!("a block has the tag {tag}")));
                } else {
                    let (seq, view, records) = payload::records(block.payload)
                        .ok_or_else(|| unreadable(&segment, "a block of records is cut short"))?;
                    let (n, bytes) = (records.len() as u64, block.payload.len() as u64);
                    let of = so_far.entry(seq).or_default();
                    *of = (of.0 + n, of.1 + bytes);
                    let view = views.entry(view.to_string()).or_default();
                    view.records += n;
                    view.bytes += bytes;
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        found.reverse();
        Ok((found, views))
    }
}

fn told(
    commit: Commit,
    segment: &Segment,
    records: u64,
    bytes: u64,
) -> (Checkpoint, Vec<(String, u64)>) {
    let log = commit.lines.iter().find(|it| it.feed == "log" && it.partition == 0);
    let checkpoint = Checkpoint {
        checkpoint: commit.seq,
        epoch_ms: commit.epoch,
        incarnation: commit.incarnation,
        records,
        bytes,
        position: log.map(|it| it.next),
        segment: segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        newest_event: commit.lines.iter().map(|it| it.newest_event).max().unwrap_or(0),
        models: commit.models,
    };
    (checkpoint, commit.entities)
}
