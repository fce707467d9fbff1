//! Which life of the state this is: durable, so that what left in an earlier one can be told apart.
//!
//! # Meaning
//! A restart goes on with the life it finds: what it sends again is the same. A state that was
//! made, built again or restored begins another, with a greater number than any before on this
//! folder: two that were restored from one backup differ too, for the number is the instant at
//! which that life began.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::segments;

/// The file in the data folder.
pub const INCARNATION_FILE: &str = "incarnation";

/// Which life of the state this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incarnation {
    /// When it began, milliseconds since the Unix epoch; above that of any before.
    pub number: u64,
    /// How it began.
    pub began: Began,
}

/// How a life of the state began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Began {
    /// There was none before.
    Made,
    /// It was built again from the log.
    Rebuilt,
    /// A backup was put in its place, or an older checkpoint was taken up.
    Restored,
}

impl Incarnation {
    /// What the folder says; none where no state was ever kept.
    pub fn read(data_dir: &Path) -> Result<Option<Incarnation>, Report> {
        let path = data_dir.join(INCARNATION_FILE);
        let bytes = segments::read_checked(&path).map_err(|why| told(&path, &why.to_string()))?;
        let Some(bytes) = bytes else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|why| told(&path, &why.to_string()))
    }

    /// The one that is to go on, or the first.
    pub fn of(data_dir: &Path, now_ms: u64) -> Result<Incarnation, Report> {
        match Incarnation::read(data_dir)? {
            Some(it) => Ok(it),
            None => Incarnation::begin(data_dir, Began::Made, now_ms),
        }
    }

    /// Begins another, durably.
    pub fn begin(data_dir: &Path, began: Began, now_ms: u64) -> Result<Incarnation, Report> {
        let before = Incarnation::read(data_dir)?.map_or(0, |it| it.number);
        let next = Incarnation { number: now_ms.max(before + 1), began };
        let path = data_dir.join(INCARNATION_FILE);
        let bytes = serde_json::to_vec(&next).map_err(|why| told(&path, &why.to_string()))?;
        segments::replace_checked(&path, &bytes).map_err(|why| told(&path, &why.to_string()))?;
        Ok(next)
    }
}

fn told(path: &Path, why: &str) -> Report {
    Report {
        code: "store/incarnation",
        what: "could not read or write which life of the state this is".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "nothing was started; the state is as it was".into(),
        fix: "restore the file from the backup that the rest of the folder is from; if the disk \
              is full, make room"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a life goes on over restarts, another is greater, and a torn file is refused.
    #[test]
    fn goes_on_until_another_begins() {
        let dir = std::env::temp_dir().join(format!("millstream-life-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let first = Incarnation::of(&dir, 1_000).unwrap();
        assert_eq!(first, Incarnation { number: 1_000, began: Began::Made });
        assert_eq!(Incarnation::of(&dir, 9_000).unwrap(), first);
        let restored = Incarnation::begin(&dir, Began::Restored, 500).unwrap();
        assert_eq!(restored, Incarnation { number: 1_001, began: Began::Restored });
        assert_eq!(Incarnation::of(&dir, 2_000).unwrap(), restored);
        std::fs::write(dir.join(INCARNATION_FILE), b"{").unwrap();
        assert_eq!(Incarnation::of(&dir, 2_000).unwrap_err().code, "store/incarnation");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
