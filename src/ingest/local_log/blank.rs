//! Blanks records: their bytes become spaces, their positions stay.
//!
//! # Meaning
//! A record of spaces says nothing: whoever reads it skips and counts it. So positions, lengths and
//! the format stay as they are, and a log that was blanked is read by every version.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::LocalLog;
use super::record::{Kind, Place, places};
use crate::report::Report;
use crate::segments::{Segment, other_layout};

/// What a record is overwritten with.
const BLANK: u8 = b' ';

/// A record, as one who judges it sees it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'r> {
    /// Its bytes.
    pub bytes: &'r [u8],
    /// It is one of another format perhaps: a reject that was retried.
    pub is_retried: bool,
}

impl LocalLog {
    /// Ends the segment that is being written, soon, if anything is in it: only then can it be
    /// blanked.
    pub fn end_segment(&self) {
        self.shared.end_segment.store(true, SeqCst);
        drop(self.shared.queue.lock());
        self.shared.work.notify_all();
    }

    /// Segments that were ended, in the order of positions, and of which every record is in a
    /// checkpoint: those that can be blanked.
    pub fn ended(&self) -> Vec<Arc<Segment>> {
        let needed = self.shared.needed.load(SeqCst);
        let all = self.shared.folder.segments();
        let is_ended = |it: &Arc<Segment>| it.extent().sealed && it.extent().next <= needed;
        all.into_iter().take_while(is_ended).collect()
    }

    /// Shows every record of a segment.
    pub fn each_record(
        &self,
        segment: &Segment,
        see: &mut dyn FnMut(Judged<'_>),
    ) -> Result<(), Report> {
        self.shared.folder.each_block(segment, |block| {
            let Some(kind) = Kind::of(block.header.tag) else {
                return Ok(std::ops::ControlFlow::Continue(()));
            };
            let is_retried = kind == Kind::Retried;
            let seen = places(kind, block.payload, |place| {
                see(Judged { bytes: place.bytes(block.payload), is_retried });
            });
            seen.map_err(|why| other_layout(&segment.path, block.offset, why))?;
            Ok(std::ops::ControlFlow::Continue(()))
        })
    }

    /// Blanks the records of a segment that are `to_go`; gives how many that were.
    pub fn blank(
        &self,
        segment: &Arc<Segment>,
        to_go: &mut dyn FnMut(Judged<'_>) -> bool,
    ) -> Result<u64, Report> {
        let mut n = 0;
        let path = &segment.path;
        self.shared.folder.overwrite(segment, |header, payload| {
            let Some(kind) = Kind::of(header.tag) else { return Ok(false) };
            let is_retried = kind == Kind::Retried;
            let mut found: Vec<Place> = Vec::new();
            let seen = places(kind, payload, |place| {
                let bytes = place.bytes(payload);
                let is_blank = bytes.iter().all(|it| *it == BLANK);
                if !is_blank && to_go(Judged { bytes, is_retried }) {
                    found.push(place);
                }
            });
            seen.map_err(|why| other_layout(path, 0, why))?;
            for it in &found {
                payload[it.start..it.start + it.len].fill(BLANK);
            }
            n += found.len() as u64;
            Ok(!found.is_empty())
        })?;
        Ok(n)
    }
}
