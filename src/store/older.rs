//! The newest checkpoint before damage: a state that is damaged behind one can go back to it.
//!
//! # Meaning
//! A checkpoint rests on the states from the segment that it needs on, and on the identities up to
//! the position that it names. Where all of that is sound, what lies behind it can be given up:
//! then it is the newest, as if the process had been killed before it made another. What had left
//! since it was made left in an earlier life: whoever goes back begins another.

use std::path::Path;

use super::payload::{self, Commit};
use super::{Began, IDENTITIES_DIR, Incarnation, STATE_DIR};
use crate::messages::{BookLine, Epoch};
use crate::report::Report;
use crate::segments;

/// A checkpoint that can be gone back to.
pub struct Older {
    /// Its number.
    pub seq: u32,
    /// Its instant.
    pub epoch: Epoch,
    /// Where reading stood.
    pub lines: Vec<BookLine>,
    /// Where the states end with it.
    states: u64,
    /// Up to where the identities are sound.
    identities: u64,
}

/// The newest checkpoint of which all is sound; none where there is none. Nothing is written.
pub fn older(data_dir: &Path) -> Result<Option<Older>, Report> {
    let (states, identities) = (data_dir.join(STATE_DIR), data_dir.join(IDENTITIES_DIR));
    if !states.is_dir() || !identities.is_dir() {
        return Ok(None);
    }
    let read = |dir: &Path, contents, what, take: &mut dyn FnMut(&segments::Block<'_>)| {
        segments::sound(dir, contents, what, take)
    };
    let ids = read(&identities, payload::IDENTITIES, "the identities", &mut |_| {})?;
    let mut commits: Vec<(Commit, u64)> = Vec::new();
    let (first, _) = read(&states, payload::STATES, "the state", &mut |block| {
        let it = &block.header;
        if it.tag == payload::COMMIT
            && let Ok(commit) = serde_json::from_slice(block.payload)
        {
            commits.push((commit, it.next()));
        }
    })?;
    // Of identities something has to stay, by which a start knows the next position.
    let sound = |it: &Commit| {
        let states = it.needs.is_some_and(|it| it >= first);
        let begin = it.identities_from.is_none_or(|it| it >= ids.0);
        states && begin && it.identities <= ids.1 && (it.identities == 0 || ids.1 > ids.0)
    };
    let newest = commits.into_iter().rev().find(|it| sound(&it.0));
    Ok(newest.map(|(it, states)| Older {
        seq: it.seq,
        epoch: it.epoch,
        lines: it.lines,
        states,
        identities: ids.1,
    }))
}

impl Older {
    /// Gives up what lies behind it, in another life of the state.
    pub fn take_up(&self, data_dir: &Path, now_ms: u64) -> Result<(), Report> {
        Incarnation::begin(data_dir, Began::Restored, now_ms)?;
        segments::go_back(&data_dir.join(STATE_DIR), self.states, "the state")?;
        segments::go_back(&data_dir.join(IDENTITIES_DIR), self.identities, "the identities")
    }
}
