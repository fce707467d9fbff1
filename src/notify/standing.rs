//! How a channel stands: whether its receiver is tried, and since when not.
//!
//! # Meaning
//! A breaker that is open, a receiver that answered 410 and one that asked to be left alone stay so
//! over restarts: what is to be tried is decided by how the receiver behaved, not by when we were
//! started. Which messages wait is no part of this: the view says that.
//!
//! # When it fails
//! A note that cannot be written is told, and the process goes on with what it knows; one that cannot
//! be read is told, and the channel begins as if its receiver were well. Neither loses a message.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::segments;
use crate::sinks::breaker::{Kept, State};

/// The folder of the notes, in the data folder.
pub const DIR: &str = "channels";

/// What is kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// The breaker.
    pub(super) breaker: Kept,
    /// The receiver answered 410.
    pub(super) gone: bool,
    /// The receiver asked for nothing before this, milliseconds.
    pub(super) asked_ms: u64,
}

/// How a channel stands, and where that is kept.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) note: Note,
    /// Delivered by this process.
    pub(super) delivered: u64,
    /// When the newest of them was.
    pub(super) last_ms: Option<u64>,
    /// None: nowhere.
    path: Option<PathBuf>,
    written: Note,
}

impl Standing {
    /// As it was left.
    pub(super) fn open(folder: &Path, channel: &str) -> Standing {
        let path = folder.join(format!("{channel}.json"));
        let read = || -> std::io::Result<Note> {
            match segments::read_checked(&path)? {
                Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
                None => Ok(Note::default()),
            }
        };
        let note = read().unwrap_or_else(|why| {
            let file = path.display().to_string();
            tracing::warn!(code = "notify/note", file, %why, "how a channel stood cannot be read");
            Note::default()
        });
        Standing { written: note.clone(), note, path: Some(path), ..Standing::default() }
    }

    /// It stands so now; kept where that is another state than before.
    pub(super) fn tell(&mut self, note: Note) {
        self.note = note;
        let state = |it: &Note| {
            let state = match it.breaker.state {
                // A probe that has no end yet changes nothing.
                State::HalfOpen => State::Open,
                it => it,
            };
            // To the second: one that asks for no time asks often.
            (state, it.gone, it.asked_ms / 1_000)
        };
        if state(&self.note) == state(&self.written) {
            return;
        }
        let Some(path) = &self.path else { return };
        let written = serde_json::to_vec(&self.note)
            .map_err(std::io::Error::other)
            .and_then(|bytes| segments::replace_checked(path, &bytes));
        match written {
            Ok(()) => self.written = self.note.clone(),
            Err(why) => {
                let file = path.display().to_string();
                tracing::warn!(code = "notify/note", file, %why, "how a channel stands is not kept");
            }
        }
    }

    /// In a word.
    pub(super) fn word(&self) -> &'static str {
        match self.note.gone {
            true => "gone",
            false => self.note.breaker.state.word(),
        }
    }

    /// Whether somebody is to be told.
    pub(super) fn is_alarm(&self) -> bool {
        self.note.gone || self.note.breaker.state.is_alarm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what keeps a receiver from being tried outlives the process; what is torn is as if
    /// nothing had been noted.
    #[test]
    fn outlives_the_process() {
        let name = format!("millstream-standing-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut it = Standing::open(&folder, "ops");
        assert_eq!((it.word(), it.is_alarm()), ("closed", false));
        let breaker = Kept { state: State::Misconfigured, failures: 1, ..Kept::default() };
        it.tell(Note { breaker, ..Note::default() });
        let it = Standing::open(&folder, "ops");
        assert_eq!((it.word(), it.is_alarm()), ("misconfigured", true));
        let mut it = Standing::open(&folder, "ops");
        it.tell(Note { gone: true, ..Note::default() });
        assert_eq!(Standing::open(&folder, "ops").word(), "gone");
        std::fs::write(folder.join("ops.json"), b"{").unwrap();
        assert_eq!(Standing::open(&folder, "ops").word(), "closed");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
