//! Gives old segments up, so that the disk holds about twice what lives.
//!
//! # Meaning
//! While the log of states is over twice the live states, its oldest segments are *retired*: what
//! of their records is still the newest is shown again and written by the next checkpoint; when
//! one more after that is durable too, nothing needs them, and they are removed. So the newest
//! two checkpoints can always be read.
//!
//! # Why this way
//! A number of four bytes per entity says which checkpoint wrote it last. No segment is read.

use super::checkpoint::Maker;
use crate::report::Report;

/// A segment on its way out.
pub(super) struct Retiring {
    /// Its first position.
    first: u64,
    /// It goes when this checkpoint has been made.
    after: u32,
}

/// Segments that are never worth giving up.
const SEGMENTS_MIN: u64 = 4;

impl Maker {
    /// After a checkpoint: removes what has retired, and retires what should.
    pub(super) fn clean(&mut self, seq: u32, now_ms: u64) -> Result<(), Report> {
        self.forget_identities(now_ms)?;
        let store = &mut self.store;
        while let Some(it) = self.retiring.first().filter(|it| it.after <= seq) {
            let (first, folder) = (it.first, &store.state.folder);
            if folder.oldest().is_some_and(|it| it.header.first == first) {
                folder.age_out(0, now_ms)?;
            }
            store.newest_in.remove(&first);
            self.retiring.remove(0);
        }
        if !self.retiring.is_empty() {
            return Ok(());
        }
        let (bytes, n) = store.record_bytes;
        let entities: u64 = (self.parts.entities)().iter().map(|it| it.1).sum();
        let live = entities * bytes / n.max(1);
        let wanted = 2 * live + SEGMENTS_MIN * store.settings.segment_bytes;
        let mut left = store.state.folder.bytes();
        // As much again as lives in one segment for each that goes: a slice at a time.
        for segment in store.state.folder.segments() {
            let extent = segment.extent();
            if left <= wanted || !extent.sealed || self.retiring.len() >= 4 {
                break;
            }
            left -= extent.end;
            self.retiring.push(Retiring { first: segment.header.first, after: seq + 2 });
        }
        let Some(last) = self.retiring.last() else { return Ok(()) };
        let newest = store.newest_in.range(..=last.first).map(|it| *it.1).max().unwrap_or(0);
        for keeper in &self.parts.keepers {
            let n = keeper.again(&|generation| generation <= newest);
            self.parts.metrics.state_again.add(n);
        }
        Ok(())
    }

    /// Identities beyond the horizon, or beyond what memory could hold of them, leave the disk.
    fn forget_identities(&mut self, now_ms: u64) -> Result<(), Report> {
        let (horizon_ms, max_bytes) = self.parts.horizon;
        let folder = &self.store.identities.folder;
        while let Some(oldest) = folder.oldest() {
            let expired = oldest.extent().tally.newest_ms.saturating_add(horizon_ms) < now_ms;
            if !expired && folder.bytes() <= max_bytes {
                break;
            }
            folder.age_out(0, now_ms)?;
        }
        let first = folder.range().0;
        self.store.dead.retain(|it| it.1 > first);
        Ok(())
    }
}
