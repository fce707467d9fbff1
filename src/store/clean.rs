//! Gives old segments up, so that the disk holds about twice what lives.
//!
//! # Meaning
//! While the log of states is over twice the live states, its oldest segments are *retired*: what
//! of their records is still the newest is shown again and written by the next checkpoint; when
//! one more after that is durable too, nothing needs them, and they are removed. So the newest
//! two checkpoints can always be read. Each says from which segment on it needs them: one that is
//! older, and comes to be the newest because files were cut or lost, is refused at a start.
//!
//! When somebody was erased, every segment from before retires so, a few at a time: of their states
//! only that they are gone is the newest.
//!
//! # Why this way
//! A number of four bytes per entity says which checkpoint wrote it last. No segment is read.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::Store;
use super::checkpoint::Maker;
use crate::report::Report;
use crate::segments::Segment;

/// A segment on its way out.
pub(super) struct Retiring {
    /// Its first position.
    first: u64,
    /// It goes when so many more checkpoints have been made.
    left: u32,
}

/// Segments that are never worth giving up.
const SEGMENTS_MIN: u64 = 4;

impl Maker {
    /// The first position of the segments that a checkpoint needs that is made now: what retires
    /// is written again by it, or was by the one before.
    pub(super) fn needs(store: &Store, retiring: &[Retiring]) -> u64 {
        let stays = |it: &Arc<Segment>| retiring.iter().all(|old| old.first != it.header.first);
        let (first, _) = store.state.folder.range();
        store
            .state
            .folder
            .segments()
            .iter()
            .find(|it| stays(it))
            .map_or(first, |it| it.header.first)
    }

    /// After a checkpoint: removes what has retired, and retires what should.
    pub(super) fn clean(&mut self, now_ms: u64) -> Result<(), Report> {
        self.forget_identities(now_ms)?;
        let store = &mut self.store;
        self.retiring.iter_mut().for_each(|it| it.left = it.left.saturating_sub(1));
        while let Some(it) = self.retiring.first().filter(|it| it.left == 0) {
            let (first, folder) = (it.first, &store.state.folder);
            if folder.oldest().is_some_and(|it| it.header.first == first) {
                folder.age_out(0, now_ms)?;
            }
            store.newest_in.remove(&first);
            self.retiring.remove(0);
        }
        let asked = self.parts.forget.load(SeqCst);
        if asked != self.forgets.0 {
            // The checkpoint just made has what is to be forgotten as gone.
            store.state.writer.roll()?;
            self.forgets = (asked, store.state.writer.next());
        }
        let below = self.forgets.1;
        if store.state.folder.range().0 >= below {
            self.parts.forgot.store(self.forgets.0, SeqCst);
        }
        if !self.retiring.is_empty() {
            return Ok(());
        }
        // By view: one record of each entity, of the average size of those that were written.
        let of_view = |(view, n): &(String, u64)| {
            let (bytes, written) = store.record_bytes.get(view.as_str()).copied().unwrap_or((0, 1));
            n * bytes / written.max(1)
        };
        let live: u64 = (self.parts.entities)().iter().map(of_view).sum();
        let wanted = 2 * live + SEGMENTS_MIN * store.settings.segment_bytes;
        let mut left = store.state.folder.bytes();
        // As much again as lives in one segment for each that goes: a slice at a time.
        for segment in store.state.folder.segments() {
            let extent = segment.extent();
            let is_to_go = left > wanted || segment.header.first < below;
            if !is_to_go || !extent.sealed || self.retiring.len() >= 4 {
                break;
            }
            left = left.saturating_sub(extent.end);
            self.retiring.push(Retiring { first: segment.header.first, left: 2 });
        }
        let Some(last) = self.retiring.last() else { return Ok(()) };
        let newest = store.newest_in.range(..=last.first).map(|it| *it.1).max().unwrap_or(0);
        for keeper in &self.parts.keepers {
            let n = keeper.again(&|generation| generation <= newest);
            self.parts.metrics.state_again.add(n);
        }
        Ok(())
    }

    /// The first position of the identities that a checkpoint needs that is made now: those beyond
    /// the horizon, or beyond what memory could hold of them, are not.
    pub(super) fn identities_from(store: &Store, horizon: (u64, u64), now_ms: u64) -> u64 {
        let (horizon_ms, max_bytes) = horizon;
        let folder = &store.identities.folder;
        let segments = folder.segments();
        let mut left = folder.bytes();
        let Some((newest, older)) = segments.split_last() else { return 0 };
        for it in older {
            let extent = it.extent();
            let expired = extent.tally.newest_ms.saturating_add(horizon_ms) < now_ms;
            if !extent.sealed || !expired && left <= max_bytes {
                return it.header.first;
            }
            left -= extent.end;
        }
        newest.header.first
    }

    /// Identities that no checkpoint needs leave the disk: the newest, which is durable, says so.
    fn forget_identities(&mut self, now_ms: u64) -> Result<(), Report> {
        let (folder, from) = (&self.store.identities.folder, self.store.identities_from);
        while folder.oldest().is_some_and(|it| it.header.first < from) {
            folder.age_out(0, now_ms)?;
        }
        let first = folder.range().0;
        self.store.dead.retain(|it| it.1 > first);
        Ok(())
    }
}
