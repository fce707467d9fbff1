//! Appends groups of blocks to the newest segment. One per log; whoever has it writes.
//!
//! # Meaning
//! A group is there whole or not at all. Its blocks may be written one by one ([`Group`]), so that
//! a large one needs no memory of its size; one sync at its end makes it durable and visible. A
//! segment is written by the process that made it, and by no other.
//!
//! # When it fails
//! A write that failed is taken back (the file is cut to where it was durable) and the next
//! append tries again. A sync that failed says nothing about what is on the disk: the segment is
//! given up, read again and checked, and the log goes on in a new one. A folder that was removed,
//! moved or replaced under the process is never written into again: what would be there is part of
//! a log, and could be taken for all of it.

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
use super::lock::FileId;
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
    /// The folder is not ours any more.
    lost: Option<Report>,
}

/// A payload of so many bytes is written from where it lies; copying it first would cost more than
/// another write.
const DIRECT_BYTES: usize = 64 << 10;
/// Smaller ones are gathered up to so many bytes, so that many are one write.
const BUFFER_BYTES: usize = 1 << 20;

/// Turns an opened file into what is written to.
pub(super) type Wrap = Box<dyn FnMut(File) -> Box<dyn Medium> + Send>;

struct Active {
    medium: Box<dyn Medium>,
    segment: Arc<Segment>,
    /// Which file it is, whatever its name comes to mean.
    file: FileId,
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
            lost: None,
        }
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
        let mut group = self.group(now_ms)?;
        for it in blocks {
            group.add(it)?;
        }
        group.end()
    }

    /// A group whose blocks are written as they come.
    pub fn group(&mut self, now_ms: u64) -> Result<Group<'_>, Report> {
        self.expect_ours()?;
        if self.active.as_ref().is_some_and(|it| it.segment.extent().end >= self.segment_bytes) {
            self.roll()?;
        }
        let now_ms = now_ms.max(self.newest_ms);
        let active = match self.active.take() {
            Some(it) => it,
            None => self.begin(now_ms)?,
        };
        self.buffer.clear();
        let before = active.segment.extent();
        let (first, at, tally) = (self.next, before.end, before.tally);
        let active = Some(active);
        Ok(Group { writer: self, active, before, at, first, next: first, tally, now_ms })
    }

    /// Ends the segment that is being written, so that the next append begins another.
    pub fn roll(&mut self) -> Result<(), Report> {
        self.expect_ours()?;
        let Some(active) = self.active.take() else { return Ok(()) };
        let before = active.segment.extent();
        self.buffer.clear();
        end_mark(&mut self.buffer, active.segment.salt, self.next, &before.tally);
        let end = before.end + self.buffer.len() as u64;
        self.put(active, Extent { end, sealed: true, ..before })
    }

    /// Refused, from then on for ever, where the folder is not ours any more.
    fn expect_ours(&mut self) -> Result<(), Report> {
        if self.lost.is_none() {
            match self.folder.expect_ours() {
                Err(report) if report.code == trouble::REMOVED => self.lost = Some(report),
                it => return it,
            }
        }
        self.lost.clone().map_or(Ok(()), Err)
    }

    /// Writes the buffer behind what is durable, and makes it durable.
    fn put(&mut self, mut active: Active, then: Extent) -> Result<(), Report> {
        let end = active.segment.extent().end;
        match active.medium.write_at(&self.buffer, end) {
            Ok(()) => self.sync(active, then),
            Err(why) => Err(self.not_written(active, end, &why)),
        }
    }

    /// Makes what was written durable: then it is there.
    fn sync(&mut self, mut active: Active, then: Extent) -> Result<(), Report> {
        *self.folder.syncing.lock() = Some(crate::clock::monotonic());
        let synced = active.medium.sync();
        *self.folder.syncing.lock() = None;
        if let Err(why) = synced {
            let end = active.segment.extent().end;
            let back_out = active.medium.cut(end).is_ok();
            let report = trouble::cannot_write(&active.segment.path, &why, back_out);
            self.give_up(active)?;
            return Err(report);
        }
        // A file without a name takes every write, and is gone with the process.
        if !active.file.is_at(&active.segment.path) {
            self.lost.get_or_insert_with(|| trouble::removed(&active.segment.path));
        }
        self.expect_ours()?;
        *active.segment.extent.lock() = then;
        if !then.sealed {
            self.active = Some(active);
        }
        Ok(())
    }

    /// A write has failed: takes back what of it may be there, and goes on in the segment or gives
    /// it up.
    fn not_written(&mut self, mut active: Active, end: u64, why: &io::Error) -> Report {
        let back_out = active.medium.cut(end).is_ok();
        let report = trouble::cannot_write(&active.segment.path, why, back_out);
        if back_out {
            self.active = Some(active);
            return report;
        }
        match self.give_up(active) {
            Ok(()) => report,
            Err(damaged) => damaged,
        }
    }

    /// Never writes to this segment again, and looks at what of it can be read.
    fn give_up(&mut self, active: Active) -> Result<(), Report> {
        let Active { medium, segment, .. } = active;
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
        let cannot = |why: io::Error| trouble::cannot_write(&path, &why, true);
        let medium = make(&path).map_err(cannot)?;
        let file = FileId::of(&std::fs::metadata(&path).map_err(cannot)?);
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
        Ok(Active { medium, segment, file })
    }
}

/// Blocks that become durable together. What is added is written at once or a little later; it
/// counts when the group has ended. Dropped before, nothing of it is left.
pub struct Group<'w> {
    writer: &'w mut Writer,
    /// None once it has ended, or failed.
    active: Option<Active>,
    before: Extent,
    /// Written up to here; the rest is in the writer's buffer.
    at: u64,
    first: u64,
    next: u64,
    tally: Tally,
    now_ms: u64,
}

impl Group<'_> {
    /// One more block. After an error nothing more can be added.
    pub fn add(&mut self, it: &NewBlock<'_>) -> Result<(), Report> {
        assert!(
            it.payload.len() <= MAX_BLOCK_BYTES && it.tag < 64 && it.count > 0,
            "checked by the owner"
        );
        let salt = self.active.as_ref().expect("it has neither ended nor failed").segment.salt;
        let buffer = &mut self.writer.buffer;
        let back = self.at - self.before.end + buffer.len() as u64;
        let header = BlockHeader {
            len: it.payload.len() as u32,
            count: it.count,
            tag: it.tag,
            first: self.next,
            appended_ms: self.now_ms,
            back: u32::try_from(back).expect("a group is far below 4 GiB"),
            payload_crc: it.payload_crc,
        };
        buffer.extend_from_slice(&header.encode(salt));
        self.tally.add(it.tag, it.count, self.now_ms);
        self.next = header.next();
        if it.payload.len() < DIRECT_BYTES {
            buffer.extend_from_slice(it.payload);
            return if buffer.len() < BUFFER_BYTES { Ok(()) } else { self.flush() };
        }
        self.flush()?;
        self.write(it.payload)
    }

    /// Bytes of it so far.
    pub fn bytes(&self) -> u64 {
        self.at - self.before.end + self.writer.buffer.len() as u64
    }

    /// First position of the segment in which it lies.
    pub fn segment(&self) -> u64 {
        self.active.as_ref().map_or(self.first, |it| it.segment.header.first)
    }

    /// Ends it, and gives the first position: all of it is durable.
    pub fn end(mut self) -> Result<u64, Report> {
        self.commit()
    }

    /// The same, and begins another.
    pub fn turn(&mut self) -> Result<(), Report> {
        self.commit()?;
        let mut next = self.writer.group(self.now_ms)?;
        self.active = next.active.take();
        (self.before, self.at, self.tally) = (next.before, next.at, next.tally);
        (self.first, self.next) = (next.first, next.next);
        Ok(())
    }

    fn commit(&mut self) -> Result<u64, Report> {
        self.flush()?;
        let active = self.active.take().expect("it has neither ended nor failed");
        let then = Extent { end: self.at, next: self.next, tally: self.tally, sealed: false };
        let writer = &mut *self.writer;
        writer.sync(active, then)?;
        (writer.next, writer.newest_ms, writer.group_at) =
            (self.next, self.now_ms, self.before.end);
        Ok(self.first)
    }

    fn flush(&mut self) -> Result<(), Report> {
        let bytes = std::mem::take(&mut self.writer.buffer);
        let written = self.write(&bytes);
        self.writer.buffer = bytes;
        self.writer.buffer.clear();
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Report> {
        let active = self.active.as_mut().expect("it has neither ended nor failed");
        let Err(why) = active.medium.write_at(bytes, self.at) else {
            self.at += bytes.len() as u64;
            return Ok(());
        };
        let active = self.active.take().expect("as above");
        Err(self.writer.not_written(active, self.before.end, &why))
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        if self.at == self.before.end || active.medium.cut(self.before.end).is_ok() {
            self.writer.active = Some(active);
        } else if let Err(report) = self.writer.give_up(active) {
            tracing::error!(%report, "what a group has left could not be removed");
        }
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
