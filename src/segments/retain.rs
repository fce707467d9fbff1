//! Takes the oldest segment out of a log, keeping the blocks that are never aged out.
//!
//! # Meaning
//! Positions stay. A segment without kept blocks is removed; one with some is written again with
//! only these, together with the kept segment before it while that is small. Readers that have
//! the old file open read it to its end.
//!
//! # When it fails
//! The new file is renamed over the old one once it is durable, so that a crash leaves the one or
//! the other; the leftover of a merge is known by its positions and removed at the next opening.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;

use super::blocks::Block;
use super::examine::{Damaged, Tally};
use super::folder::{Extent, Folder, NEW_ENDING, Segment, create_anew, sync_dir};
use super::format::{BlockHeader, END_TAG, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::trouble;
use super::writer::end_mark;
use crate::config::OnDamage;
use crate::report::Report;

/// Kept blocks are merged into one segment up to this size: copying so much again for each
/// segment that leaves is nothing beside reading that one.
const MERGE_UP_TO_BYTES: u64 = 8 << 20;

impl Folder {
    /// The oldest segment that could be aged out: sealed, and not yet reduced to what is kept. The
    /// newest never is: by it a start knows the next position.
    pub fn oldest(&self) -> Option<Arc<Segment>> {
        let segments = self.segments.lock();
        let (_, older) = segments.split_last()?;
        older.iter().find(|it| !it.header.compacted).filter(|it| it.extent().sealed).cloned()
    }

    /// Takes out the [`oldest`](Folder::oldest), but for blocks whose tag has a bit in `kept`.
    /// One thread at a time.
    pub fn age_out(&self, kept: u64, now_ms: u64) -> Result<(), Report> {
        self.expect_ours()?;
        let _one = self.rewriting.lock();
        let Some(old) = self.oldest() else { return Ok(()) };
        let before = {
            let segments = self.segments.lock();
            let i = segments.iter().position(|it| Arc::ptr_eq(it, &old)).expect("it is listed");
            i.checked_sub(1).map(|i| segments[i].clone())
        };
        let cannot = |why: io::Error| trouble::cannot_write(&old.path, &why, true);
        if before.is_none() && old.extent().tally.tags & kept == 0 {
            // Nobody is to begin with it any more. Where it cannot be removed it stays listed, and
            // is tried again: the next one gone before it would leave a hole.
            self.segments.lock().retain(|it| !Arc::ptr_eq(it, &old));
            return self.remove(&old).map_err(|why| {
                self.segments.lock().insert(0, Arc::clone(&old));
                cannot(why)
            });
        }
        let merged = before.filter(|it| it.extent().end < MERGE_UP_TO_BYTES);
        let mut sources: Vec<Arc<Segment>> = merged.into_iter().collect();
        sources.push(old.clone());
        let made = self.rewrite(&sources, kept, now_ms)?;
        let mut segments = self.segments.lock();
        let i = segments.iter().position(|it| Arc::ptr_eq(it, &sources[0])).expect("it is listed");
        segments.splice(i..i + sources.len(), [made]);
        drop(segments);
        if sources.len() > 1 {
            self.remove(&old).map_err(cannot)?;
        }
        Ok(())
    }

    fn remove(&self, it: &Segment) -> io::Result<()> {
        // (A try before may have removed it, and failed to make that durable.)
        super::remove(&it.path)?;
        super::remove(&it.path.with_extension("cut"))?;
        sync_dir(&self.dir)
    }

    /// One segment of the sources' kept blocks, in the place of the first of them.
    fn rewrite(
        &self,
        sources: &[Arc<Segment>],
        kept: u64,
        now_ms: u64,
    ) -> Result<Arc<Segment>, Report> {
        let (path, first) = (sources[0].path.clone(), sources[0].header.first);
        let next = sources.last().expect("at least one").extent().next;
        let cannot = |why: io::Error| trouble::cannot_write(&path, &why, true);
        let header = SegmentHeader {
            contents: self.contents,
            log_id: self.log_id,
            first,
            created_ms: now_ms,
            compacted: true,
        };
        let bytes = header.encode();
        let salt = super::format::u32_at(&bytes, SEGMENT_HEADER_BYTES - 4);
        let aside = path.with_extension(NEW_ENDING);
        let mut out = BufWriter::new(create_anew(&aside).map_err(cannot)?);
        let mut tally = Tally::default();
        let mut end = bytes.len() as u64;
        out.write_all(&bytes).map_err(cannot)?;
        for source in sources {
            self.each_block(source, |block| {
                if kept & (1 << (block.header.tag % 64)) != 0 {
                    let again = BlockHeader { back: 0, ..block.header };
                    out.write_all(&again.encode(salt)).map_err(cannot)?;
                    out.write_all(block.payload).map_err(cannot)?;
                    tally.add(again.tag, again.count, again.appended_ms);
                    end += again.total();
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let mut mark = Vec::new();
        end_mark(&mut mark, salt, next, &tally);
        end += mark.len() as u64;
        out.write_all(&mark).map_err(cannot)?;
        let file = out.into_inner().map_err(|it| cannot(it.into_error()))?;
        file.sync_all().map_err(cannot)?;
        std::fs::rename(&aside, &path).map_err(cannot)?;
        sync_dir(&self.dir).map_err(cannot)?;
        let extent = Mutex::new(Extent { end, next, tally, sealed: true });
        Ok(Arc::new(Segment { path, header, salt, extent }))
    }

    /// The good blocks of a segment, end marks excluded, until `take` breaks off. Damage is
    /// refused or skipped.
    pub fn each_block(
        &self,
        segment: &Segment,
        mut take: impl FnMut(&Block<'_>) -> Result<ControlFlow<()>, Report>,
    ) -> Result<(), Report> {
        let cannot = |why: io::Error| trouble::cannot_read(&segment.path, &why);
        let Some(mut blocks) = segment.open()? else {
            return Err(cannot(io::ErrorKind::NotFound.into()));
        };
        loop {
            let (bad, first) = match blocks.read().map_err(cannot)? {
                None => return Ok(()),
                Some(Ok(block)) if block.header.tag == END_TAG => continue,
                Some(Ok(block)) => match take(&block)? {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return Ok(()),
                },
                Some(Err(bad)) => (bad, blocks.expected()),
            };
            let there = blocks.resync().map_err(cannot)?;
            if self.on_damage == OnDamage::Refuse {
                let extent = segment.extent();
                let (until, next) = match there {
                    true => (blocks.offset(), blocks.expected()),
                    false => (extent.end, extent.next),
                };
                let it = Damaged { offset: bad.offset, until, first, next, why: bad.why };
                return Err(trouble::damaged(&segment.path, &it));
            }
            if !there {
                return Ok(());
            }
        }
    }
}
