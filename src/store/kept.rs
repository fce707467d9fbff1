//! That a state was kept here, and of which feeds: so that one that is gone is not taken for one
//! that never was.

use std::collections::BTreeSet;
use std::path::Path;

use crate::messages::BookState;
use crate::report::Report;
use crate::segments;

/// The file in the data folder: the names of feeds, JSON with a checksum.
pub const KEPT_FILE: &str = "kept.json";

/// The feeds of which a checkpoint was ever made; none where none was.
pub fn kept(data_dir: &Path) -> Result<Option<BTreeSet<String>>, Report> {
    let path = data_dir.join(KEPT_FILE);
    let bytes = segments::read_checked(&path).map_err(|why| told(&path, &why.to_string()))?;
    let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    bytes.map(read).transpose().map_err(|why| told(&path, &why.to_string()))
}

/// A checkpoint of this is durable. Gives what is noted now: nothing is written where that is
/// noted already.
pub(super) fn note(
    data_dir: &Path,
    noted: Option<&BTreeSet<String>>,
    book: &BookState,
) -> Result<Option<BTreeSet<String>>, Report> {
    let read = book.lines.iter().filter(|it| it.next > it.first);
    let mut feeds: BTreeSet<String> = read.map(|it| it.feed.clone()).collect();
    feeds.extend(noted.into_iter().flatten().cloned());
    if noted == Some(&feeds) {
        return Ok(None);
    }
    let path = data_dir.join(KEPT_FILE);
    let bytes = serde_json::to_vec(&feeds).map_err(|why| told(&path, &why.to_string()))?;
    segments::replace_checked(&path, &bytes).map_err(|why| told(&path, &why.to_string()))?;
    Ok(Some(feeds))
}

/// What was kept is removed on purpose.
pub(super) fn forget(data_dir: &Path) -> Result<(), Report> {
    let path = data_dir.join(KEPT_FILE);
    segments::remove(&path).map_err(|why| told(&path, &why.to_string()))
}

fn told(path: &Path, why: &str) -> Report {
    Report {
        code: "store/kept",
        what: "could not read or write of which feeds a state was kept".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "nothing is lost: the state is as it was".into(),
        fix: "if the disk is full, make room; if it cannot be read, remove the file: the next \
              checkpoint makes it anew"
            .into(),
    }
}

/// A state was kept here, and no checkpoint of it is there.
pub(crate) fn gone(data_dir: &Path, feeds: &BTreeSet<String>) -> Report {
    let feeds = feeds.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Report {
        code: "store/gone",
        what: "cannot take up the state that was kept".into(),
        at: vec![("folder", data_dir.display().to_string()), ("feeds", feeds)],
        why: "checkpoints were made here, and none is there any more".into(),
        effect: "nothing was started; nothing was changed".into(),
        fix: "restore a backup, or let it be built again from the log: `millstream run --rebuild`"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{BookLine, Counts};

    /// Goal: once a checkpoint was made, the folder knows of it, and of every feed that ever had
    /// one; what is known is not written again.
    #[test]
    fn every_feed_that_ever_was() {
        let dir = std::env::temp_dir().join(format!("millstream-kept-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert_eq!(kept(&dir).unwrap(), None);
        let line = |feed: &str, next| BookLine {
            feed: feed.into(),
            identity: None,
            partition: 0,
            first: 0,
            next,
            newest_event: 0,
            reset: 0,
            counts: Counts::default(),
        };
        let book = |lines: Vec<BookLine>| BookState { epoch: 1, lines };
        let both = note(&dir, None, &book(vec![line("log", 3), line("shop", 1)])).unwrap();
        let names: BTreeSet<String> = ["log".to_string(), "shop".to_string()].into();
        assert_eq!(both.as_ref(), Some(&names));
        // One that is not read any more stays; one of which nothing was read is not there.
        let less = book(vec![line("log", 9), line("part", 0)]);
        assert_eq!(note(&dir, Some(&names), &less).unwrap(), None);
        assert_eq!(kept(&dir).unwrap(), Some(names));
        std::fs::write(dir.join(KEPT_FILE), b"[").unwrap();
        assert_eq!(kept(&dir).unwrap_err().code, "store/kept");
        forget(&dir).unwrap();
        forget(&dir).unwrap();
        assert_eq!(kept(&dir).unwrap(), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
