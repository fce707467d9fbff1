//! Overwrites what is in blocks, in place: positions, lengths and offsets stay as they are.
//!
//! # Meaning
//! A segment that was ended is copied, the changed payloads are written over their places in the
//! copy with their checksums, the copy is made durable and renamed over the old one. So nothing
//! that knows a position, a place in the file or the file's length has to hear of it, and the
//! format stays the same. Readers that have the old file open read it to its end.
//!
//! # When it fails
//! A crash leaves the old file or the new one. Bytes that are no good block are copied as they are:
//! where damage is refused, this is refused too; where it is skipped, what lies in it stays.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::folder::{Folder, NEW_ENDING, Segment, create_anew, sync_dir};
use super::format::{BLOCK_HEADER_BYTES, BlockHeader};
use super::trouble;
use crate::report::Report;

impl Folder {
    /// Lets `edit` change the payload of each block (its length stays); true: it has. Gives how many
    /// were changed. The segment must have been ended. One that is no longer listed is left alone.
    pub fn overwrite(
        &self,
        segment: &Arc<Segment>,
        mut edit: impl FnMut(&BlockHeader, &mut [u8]) -> Result<bool, Report>,
    ) -> Result<u64, Report> {
        self.expect_ours()?;
        let _one = self.rewriting.lock();
        let is_listed = self.segments.lock().iter().any(|it| Arc::ptr_eq(it, segment));
        if !is_listed || !segment.extent().sealed {
            return Ok(0);
        }
        let mut changed: Vec<(u64, BlockHeader, Vec<u8>)> = Vec::new();
        let mut room = Vec::new();
        self.each_block(segment, |block| {
            room.clear();
            room.extend_from_slice(block.payload);
            if edit(&block.header, &mut room)? {
                let payload_crc = crc32c::crc32c(&room);
                changed.push((
                    block.offset,
                    BlockHeader { payload_crc, ..block.header },
                    room.clone(),
                ));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if changed.is_empty() {
            return Ok(0);
        }
        let cannot = |why: io::Error| trouble::cannot_write(&segment.path, &why, true);
        let aside = segment.path.with_extension(NEW_ENDING);
        let mut copy = create_anew(&aside).map_err(cannot)?;
        let mut old = File::open(&segment.path).map_err(cannot)?;
        io::copy(&mut old, &mut copy).map_err(cannot)?;
        for (offset, header, payload) in &changed {
            copy.write_all_at(&header.encode(segment.salt), *offset).map_err(cannot)?;
            let at = offset + BLOCK_HEADER_BYTES as u64;
            copy.write_all_at(payload, at).map_err(cannot)?;
        }
        copy.sync_all().map_err(cannot)?;
        std::fs::rename(&aside, &segment.path).map_err(cannot)?;
        sync_dir(&self.dir).map_err(cannot)?;
        Ok(changed.len() as u64)
    }
}
