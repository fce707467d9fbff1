//! Appends groups of blocks to the newest segment. One per log; whoever has it writes.
//!
//! # When it fails
//! A write that failed is taken back (the file is cut to where it was durable) and the next
//! append tries again. A sync that failed says nothing about what is on the disk: the segment is
//! given up, read again and checked, and the log goes on in a new one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::examine::{Tally, examine};
use super::folder::{Extent, Folder, NEW_ENDING, Segment, create_anew, sync_dir};
use super::format::{
    BLOCK_HEADER_BYTES, BlockHeader, END_TAG, MAX_BLOCK_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader,
};
use super::trouble;
use crate::report::Report;

/// The file as the writer sees it; a test hands in one that fails.
pub trait Medium: Send {
    /// Writes all of it at the offset.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once what was written is durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// A block to be appended.
#[derive(Clone, Copy, Debug)]
pub struct NewBlock<'a> {
    /// The owner's mark, below 64.
    pub tag: u16,
    /// Positions that it takes; at least 1, so that no two segments can have one name.
    pub count: u32,
    /// At most [`MAX_BLOCK_BYTES`].
    pub payload: &'a [u8],
    /// Its CRC32C.
    pub payload_crc: u32,
}

impl<'a> NewBlock<'a> {
    /// With its checksum.
    pub fn new(tag: u16, count: u32, payload: &'a [u8]) -> NewBlock<'a> {
        NewBlock { tag, count, payload, payload_crc: crc32c::crc32c(payload) }
    }
}

/// The one who appends.
pub struct Writer {
    folder: Arc<Folder>,
    active: Option<Active>,
    next: u64,
    newest_ms: u64,
    segment_bytes: u64,
    group_at: u64,
    buffer: Vec<u8>,
    wrap: Wrap,
}

/// Turns an opened file into what is written to.
pub(super) type Wrap = Box<dyn FnMut(File) -> Box<dyn Medium> + Send>;

struct Active {
    medium: Box<dyn Medium>,
    segment: Arc<Segment>,
}

impl Writer {
    pub(super) fn new(
        folder: Arc<Folder>,
        next: u64,
        newest_ms: u64,
        segment_bytes: u64,
    ) -> Writer {
        let wrap: Wrap = Box::new(|file| Box::new(file));
        Writer {
            folder,
            active: None,
            next,
            newest_ms,
            segment_bytes,
            group_at: 0,
            buffer: Vec::new(),
            wrap,
        }
    }

    /// Goes on in a segment that was opened.
    pub(super) fn resume(&mut self, file: File, segment: Arc<Segment>) {
        self.active = Some(Active { medium: (self.wrap)(file), segment });
    }

    /// For tests: every file that is written to goes through this, from the next segment on.
    pub fn through(&mut self, wrap: impl FnMut(File) -> Box<dyn Medium> + Send + 'static) {
        self.wrap = Box::new(wrap);
        self.active = None;
    }

    /// The next position.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Where in its file the last group begins.
    pub fn group_at(&self) -> u64 {
        self.group_at
    }

    /// Append time of the newest block.
    pub fn newest_ms(&self) -> u64 {
        self.newest_ms
    }

    /// When the segment that is being written was made.
    pub fn active_since(&self) -> Option<u64> {
        let it = self.active.as_ref()?;
        (it.segment.extent().tally.blocks > 0).then_some(it.segment.header.created_ms)
    }

    /// Appends the blocks as one group: returns once all are durable, or none is there. The
    /// append time (milliseconds) is never less than before. Gives the first position.
    pub fn append(&mut self, blocks: &[NewBlock<'_>], now_ms: u64) -> Result<u64, Report> {
        if self.active.as_ref().is_some_and(|it| it.segment.extent().end >= self.segment_bytes) {
            self.roll()?;
        }
        let now_ms = now_ms.max(self.newest_ms);
        let active = match self.active.take() {
            Some(it) => it,
            None => self.begin(now_ms)?,
        };
        let first = self.next;
        let mut next = first;
        let before = active.segment.extent();
        let mut tally = before.tally;
        self.buffer.clear();
        for it in blocks {
            assert!(
                it.payload.len() <= MAX_BLOCK_BYTES && it.tag < 64 && it.count > 0,
                "checked by the owner"
            );
            let header = BlockHeader {
                len: it.payload.len() as u32,
                count: it.count,
                tag: it.tag,
                first: next,
                appended_ms: now_ms,
                back: u32::try_from(self.buffer.len()).expect("a group is far below 4 GiB"),
                payload_crc: it.payload_crc,
            };
            self.buffer.extend_from_slice(&header.encode(active.segment.salt));
            self.buffer.extend_from_slice(it.payload);
            tally.add(it.tag, it.count, now_ms);
            next = header.next();
        }
        let end = before.end + self.buffer.len() as u64;
        self.put(active, Extent { end, next, tally, sealed: false })?;
        self.next = next;
        self.newest_ms = now_ms;
        self.group_at = before.end;
        Ok(first)
    }

    /// Ends the segment that is being written, so that the next append begins another.
    pub fn roll(&mut self) -> Result<(), Report> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let before = active.segment.extent();
        self.buffer.clear();
        end_mark(&mut self.buffer, active.segment.salt, self.next, &before.tally);
        let end = before.end + self.buffer.len() as u64;
        self.put(active, Extent { end, sealed: true, ..before })
    }

    /// Writes the buffer behind what is durable, and makes it durable.
    fn put(&mut self, mut active: Active, then: Extent) -> Result<(), Report> {
        let before = active.segment.extent();
        if let Err(why) = active.medium.write_at(&self.buffer, before.end) {
            let back_out = active.medium.cut(before.end).is_ok();
            let report = trouble::cannot_write(&active.segment.path, &why, back_out);
            if back_out {
                self.active = Some(active);
            } else {
                self.give_up(active)?;
            }
            return Err(report);
        }
        if let Err(why) = active.medium.sync() {
            let back_out = active.medium.cut(before.end).is_ok();
            let report = trouble::cannot_write(&active.segment.path, &why, back_out);
            self.give_up(active)?;
            return Err(report);
        }
        *active.segment.extent.lock() = then;
        if !then.sealed {
            self.active = Some(active);
        }
        Ok(())
    }

    /// Never writes to this segment again, and looks at what of it can be read.
    fn give_up(&mut self, active: Active) -> Result<(), Report> {
        let Active { medium, segment } = active;
        drop(medium);
        segment.extent.lock().sealed = true;
        let extent = segment.extent();
        let cannot = |why: io::Error| trouble::cannot_read(&segment.path, &why);
        let file = File::open(&segment.path).map_err(cannot)?;
        let follower = Some(extent.next);
        let found =
            examine(file, &segment.header, segment.salt, extent.end, follower).map_err(cannot)?;
        match found.damaged.first() {
            Some(damaged) => Err(trouble::damaged(&segment.path, damaged)),
            None => Ok(()),
        }
    }

    /// Makes the next segment: written beside, durable, then renamed, then the name durable.
    fn begin(&mut self, now_ms: u64) -> Result<Active, Report> {
        // One that has nothing in it has this name already; it was ended by a close.
        let header = SegmentHeader {
            contents: self.folder.contents,
            log_id: self.folder.log_id,
            first: self.next,
            created_ms: now_ms,
            compacted: false,
        };
        let path = self.folder.path_of(self.next);
        let bytes = header.encode();
        let salt = super::format::u32_at(&bytes, SEGMENT_HEADER_BYTES - 4);
        let wrap = &mut self.wrap;
        let mut make = |path: &Path| -> io::Result<Box<dyn Medium>> {
            let aside = path.with_extension(NEW_ENDING);
            let mut medium = wrap(create_anew(&aside)?);
            medium.write_at(&bytes, 0)?;
            medium.sync()?;
            std::fs::rename(&aside, path)?;
            sync_dir(&self.folder.dir)?;
            Ok(medium)
        };
        let medium = make(&path).map_err(|why| trouble::cannot_write(&path, &why, true))?;
        let extent = Extent {
            end: SEGMENT_HEADER_BYTES as u64,
            next: self.next,
            tally: Tally::default(),
            sealed: false,
        };
        let segment = Arc::new(Segment { path, header, salt, extent: Mutex::new(extent) });
        let mut segments = self.folder.segments.lock();
        segments.retain(|it| it.path != segment.path);
        segments.push(segment.clone());
        Ok(Active { medium, segment })
    }
}

/// The mark that ends a segment.
pub(super) fn end_mark(out: &mut Vec<u8>, salt: u32, next: u64, tally: &Tally) {
    let payload = tally.encode();
    let header = BlockHeader {
        len: payload.len() as u32,
        count: 0,
        tag: END_TAG,
        first: next,
        appended_ms: tally.newest_ms,
        back: 0,
        payload_crc: crc32c::crc32c(&payload),
    };
    out.extend_from_slice(&header.encode(salt));
    out.extend_from_slice(&payload);
}

/// Bytes of an end mark.
pub(super) const END_MARK_BYTES: u64 =
    (BLOCK_HEADER_BYTES + super::examine::END_PAYLOAD_BYTES) as u64;
