//! Views that somebody asked to be built again: noted until a checkpoint holds them whole, so that
//! a process that goes down before is started with the same.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::segments;

/// The file in the data folder.
const ASKED_FILE: &str = "rebuild.json";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) views: Vec<String>,
    /// The newest checkpoint then: a later one that has a view has it as it was built.
    pub(super) after: u32,
    /// Also from what is left.
    pub(super) accept_incomplete: bool,
}

impl Asked {
    /// What is noted; nothing, where nothing is.
    pub(super) fn read(data_dir: &Path) -> Result<Asked, Report> {
        let path = data_dir.join(ASKED_FILE);
        let bytes = segments::read_checked(&path).map_err(|why| cannot(&path, &why.to_string()))?;
        let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        let it = bytes.map(read).transpose().map_err(|why| cannot(&path, &why.to_string()))?;
        Ok(it.unwrap_or_default())
    }

    /// Which of these are still to be built: `lacking` are those that the newest checkpoint, of this
    /// number, does not have.
    pub(super) fn left<'k>(
        &self,
        known: &[&'k str],
        newest: u32,
        lacking: &[&'static str],
    ) -> Vec<&'k str> {
        let asked = known.iter().filter(|it| self.views.iter().any(|name| name == *it));
        asked.filter(|it| newest <= self.after || lacking.contains(it)).copied().collect()
    }

    /// Notes it, durably.
    pub(super) fn note(&self, data_dir: &Path) -> Result<(), Report> {
        let path = data_dir.join(ASKED_FILE);
        let bytes = serde_json::to_vec(self).map_err(|why| cannot(&path, &why.to_string()))?;
        segments::replace_checked(&path, &bytes).map_err(|why| cannot(&path, &why.to_string()))
    }

    /// It has been done. Where the note stays, it is done once more at the next start.
    pub(super) fn forget(data_dir: &Path) {
        let path = data_dir.join(ASKED_FILE);
        if let Err(why) = segments::remove(&path) {
            tracing::warn!(file = %path.display(), %why, "could not remove a note");
        }
    }
}

fn cannot(path: &Path, why: &str) -> Report {
    Report {
        code: "store/asked",
        what: "could not read or write which views are to be built again".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "nothing was started; the state is as it was".into(),
        fix:
            "if the disk is full, make room; a note that cannot be read may be removed: then name \
              the views again, with `--rebuild`"
                .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what was asked for is done once, and until it is. Method: checkpoints before, while and
    /// after it is built.
    #[test]
    fn until_a_checkpoint_has_it() {
        let views = vec!["orders".to_string(), "gone".to_string()];
        let asked = Asked { views, after: 7, accept_incomplete: true };
        let known = ["customers", "orders"];
        assert_eq!(asked.left(&known, 7, &[]), ["orders"], "the one before: as it was");
        assert_eq!(asked.left(&known, 9, &["orders"]), ["orders"], "being built");
        assert_eq!(asked.left(&known, 10, &[]), [""; 0], "whole");
        assert_eq!(Asked::default().left(&known, 0, &["orders"]), [""; 0]);
    }
}
