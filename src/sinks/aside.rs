//! Items that a receiver will not take, each with its report: kept until somebody decides.
//!
//! # Meaning
//! An item stands here once, under the id of the piece of a batch that it was alone in. It leaves
//! when it was delivered after all, or when somebody drops it. Nothing leaves by itself.
//!
//! # State
//! At most [`ASIDE_MAX`] items of a sink, in one file that is replaced whole. When it is full the
//! sink is paused: a receiver that refuses so much is not refusing single rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::batch::{Batch, Part, Stream, Value as Of};
use super::coding::Items;
use crate::messages::Epoch;
use crate::report::Report;
use crate::segments;

/// Items of one sink that may stand aside.
pub const ASIDE_MAX: usize = 1_000;
/// Its file in the sink's folder.
pub const FILE: &str = "aside.json";

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The id of the piece of a batch.
    pub id: String,
    /// Its stream, as it is written.
    pub stream: String,
    /// Which life of the state it is from.
    pub incarnation: u64,
    /// The checkpoint as of which it was fixed.
    pub upto: Epoch,
    /// When it was put here.
    pub at_ms: u64,
    /// The report of the receiver's refusal.
    pub report: Value,
    /// The item's bytes, in base64.
    item: String,
}

impl Kept {
    /// The piece of a batch that it was, if there still is such a stream.
    pub(super) fn batch(&self, streams: &[Stream]) -> Option<Batch> {
        let stream = streams.iter().find(|it| it.to_string() == self.stream)?;
        let bytes: Arc<[u8]> = STANDARD.decode(&self.item).ok()?.into();
        Some(Batch {
            id: self.id.clone(),
            seq: 0,
            stream: *stream,
            incarnation: self.incarnation,
            upto: self.upto,
            items: Items::of(bytes)?,
            part: Part(Some(0..1)),
        })
    }

    /// Whether it names one of those who were erased, by these rows.
    pub(super) fn is_of_one_of(&self, streams: &[Stream], erased: &Batch) -> bool {
        let Some(batch) = self.batch(streams).filter(|it| !it.stream.is_behind()) else {
            return false;
        };
        erased.rows().filter(|it| !it.is_deleted()).any(|erased| {
            let Some(Of::Text(id)) = erased.values().next() else { return false };
            let quoted = Value::from(id).to_string();
            let row = batch.rows().any(|it| {
                let says = |of: Of<'_>| match of {
                    Of::Text(text) => text == id,
                    Of::Json(json) => json.contains(&quoted),
                    _ => false,
                };
                it.tenant == erased.tenant && (it.key == erased.key || it.values().any(says))
            });
            let quotes = |json: &[u8]| json.windows(quoted.len()).any(|it| it == quoted.as_bytes());
            row || batch.events().any(|it| quotes(it.json))
        })
    }

    /// For people and programs.
    pub fn json(&self, streams: &[Stream]) -> Value {
        let batch = self.batch(streams);
        let row = batch.as_ref().and_then(|it| {
            let row = it.rows().next()?;
            Some(json!({"tenant": row.tenant, "key": row.key, "epoch": row.epoch,
                        "deleted": row.is_deleted()}))
        });
        json!({"id": self.id, "stream": self.stream, "incarnation": self.incarnation,
               "upto": self.upto, "at_ms": self.at_ms, "report": self.report, "row": row})
    }
}

/// Those of one sink.
pub(super) struct Aside {
    path: PathBuf,
    kept: Mutex<Vec<Kept>>,
}

impl Aside {
    pub(super) fn open(dir: &Path) -> Result<Aside, Report> {
        let path = dir.join(FILE);
        let cannot = |why: String| trouble(&path, why);
        let bytes = segments::read_checked(&path).map_err(|why| cannot(why.to_string()))?;
        let kept = match bytes {
            Some(it) => serde_json::from_slice(&it).map_err(|why| cannot(why.to_string()))?,
            None => Vec::new(),
        };
        Ok(Aside { path, kept: Mutex::new(kept) })
    }

    pub(super) fn len(&self) -> usize {
        self.kept.lock().len()
    }

    pub(super) fn all(&self) -> Vec<Kept> {
        self.kept.lock().clone()
    }

    /// Puts the only item of a piece here, durably. False: there is no room.
    pub(super) fn put(&self, piece: &Batch, report: &Report, at_ms: u64) -> Result<bool, Report> {
        let mut all = self.all();
        if all.iter().any(|it| it.id == piece.id) {
            return Ok(true);
        }
        if all.len() >= ASIDE_MAX {
            return Ok(false);
        }
        all.push(Kept {
            id: piece.id.clone(),
            stream: piece.stream.to_string(),
            incarnation: piece.incarnation,
            upto: piece.upto,
            at_ms,
            report: report.as_json(),
            item: STANDARD.encode(piece.items.bytes()),
        });
        self.write(all).map(|()| true)
    }

    /// They are delivered, or nobody wants them. Gives how many were there.
    pub(super) fn remove(&self, gone: impl Fn(&Kept) -> bool) -> Result<usize, Report> {
        let mut all = self.all();
        let before = all.len();
        all.retain(|it| !gone(it));
        let n = before - all.len();
        if n > 0 {
            self.write(all)?;
        }
        Ok(n)
    }

    fn write(&self, all: Vec<Kept>) -> Result<(), Report> {
        let cannot = |why: String| trouble(&self.path, why);
        let bytes = serde_json::to_vec(&all).map_err(|why| cannot(why.to_string()))?;
        segments::replace_checked(&self.path, &bytes).map_err(|why| cannot(why.to_string()))?;
        *self.kept.lock() = all;
        Ok(())
    }
}

fn trouble(path: &Path, why: String) -> Report {
    Report {
        code: "sinks/aside",
        what: "could not read or write what a receiver refused".into(),
        at: vec![("file", path.display().to_string())],
        why,
        effect: "nothing is lost: what is refused stays in its batch, and the sink waits".into(),
        fix: "see to the disk; restore the file from a backup if it is damaged".into(),
    }
}
