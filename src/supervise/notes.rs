//! What the parent and the process write down for each other, in the data folder and on the
//! process's command line.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::segments;

/// Records that are put aside: they brought the process down.
pub const ASIDE_FILE: &str = "aside.json";
/// What is being tried, while records are handed out few at a time.
const TRYING_FILE: &str = "trying.json";
/// What the process said when it went down.
const LAST_WORDS_FILE: &str = "panic.json";
/// Most records that are put aside: more is no record's fault.
pub const ASIDE_MAX: usize = 1_000;

/// A place in a partition of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The feed's name.
    pub feed: String,
    /// Its partition.
    pub partition: u32,
    /// An offset.
    pub offset: u64,
    /// It is read once more, to build a view again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// A record that is put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aside {
    /// Where it was read.
    #[serde(flatten)]
    pub place: Place,
    /// What the process said when it went down over it.
    pub why: String,
}

/// Records from a place on, before this offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trying {
    /// The first of them.
    #[serde(flatten)]
    pub from: Place,
    /// The offset after the last.
    pub next: u64,
}

/// How carefully a process is to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarefulPlan {
    /// Records handed out at once.
    pub limit: u64,
    /// Over once this has been passed, where that is known.
    pub until: Option<Place>,
}

/// What the parent tells the process on its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When the one before it went, milliseconds; 0: there was none.
    pub went_ms: u64,
    /// How it went.
    pub why: String,
    /// How often one was started again.
    pub restarts: u64,
    /// Whether and how it is to be careful.
    pub careful: Option<CarefulPlan>,
}

/// Records that are put aside.
pub fn aside(data_dir: &Path) -> Result<Vec<Aside>, Report> {
    Ok(read(&data_dir.join(ASIDE_FILE))?.unwrap_or_default())
}

/// Puts one more aside. False where so many are that it is no record's fault.
pub fn put_aside(data_dir: &Path, it: Aside) -> Result<bool, Report> {
    let mut all = aside(data_dir)?;
    if all.len() >= ASIDE_MAX {
        return Ok(false);
    }
    if all.iter().all(|known| known.place != it.place) {
        all.push(it);
    }
    write(&data_dir.join(ASIDE_FILE), &all).map(|()| true)
}

/// Notes what is about to be tried.
pub fn trying(data_dir: &Path, it: &Trying) -> Result<(), Report> {
    write(&data_dir.join(TRYING_FILE), it)
}

/// What was being tried.
pub fn tried(data_dir: &Path) -> Result<Option<Trying>, Report> {
    read(&data_dir.join(TRYING_FILE))
}

/// Notes why the process goes down; told where it cannot be.
pub fn last_words(data_dir: &Path, words: &str) -> Result<(), Report> {
    write(&data_dir.join(LAST_WORDS_FILE), &words)
}

/// Takes what the process said when it went down, if it did.
pub fn take_last_words(data_dir: &Path) -> Option<String> {
    let path = data_dir.join(LAST_WORDS_FILE);
    let words = read(&path).ok().flatten();
    forget(&path);
    words
}

/// Forgets what was tried and said.
pub fn forget_all(data_dir: &Path) {
    forget(&data_dir.join(TRYING_FILE));
    forget(&data_dir.join(LAST_WORDS_FILE));
}

fn forget(path: &Path) {
    if let Err(why) = segments::remove(path) {
        tracing::warn!(file = %path.display(), %why, "could not remove a note");
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Report> {
    let bytes = segments::read_checked(path).map_err(|why| cannot(path, &why.to_string()))?;
    let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    bytes.map(read).transpose().map_err(|why| cannot(path, &why.to_string()))
}

fn write(path: &Path, it: &impl Serialize) -> Result<(), Report> {
    let bytes = serde_json::to_vec(it).map_err(|why| cannot(path, &why.to_string()))?;
    segments::replace_checked(path, &bytes).map_err(|why| cannot(path, &why.to_string()))
}

fn cannot(path: &Path, why: &str) -> Report {
    Report {
        code: "supervise/note",
        what: "could not read or write a note about a process that went down".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "no record is put aside by this; no data was touched".into(),
        fix: "if the disk is full, make room; a note that cannot be read may be removed, but for \
              `aside.json`: what it names would be tried again"
            .into(),
    }
}
