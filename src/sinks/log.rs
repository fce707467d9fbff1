//! The log of one sink: what was gathered for it, the rows of its batches, and its book.
//!
//! # Invariants
//! One writer at a time; what is appended is durable when the call returns. A position is one block.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::batch::Stream;
use super::book::{self, Book, Gathered};
use crate::config::OnDamage;
use crate::report::Report;
use crate::segments::{self, Blocks, Damaged, Folder, NewBlock, Reading, Segment, Writer};

/// Size of a segment, what is removed at once: a share of what a log may have, within these.
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 16 << 20);

/// Takes a block: its position, its tag, its payload.
type Take<'t> = dyn FnMut(u64, u16, &[u8]) -> Result<(), Report> + 't;

/// One sink's.
pub(super) struct Log {
    pub(super) folder: Arc<Folder>,
    writer: Mutex<Writer>,
}

/// What is found when it is opened.
pub(super) struct Found {
    pub(super) log: Log,
    /// The newest book.
    pub(super) book: Option<Book>,
    pub(super) notes: Vec<Report>,
}

/// Damage in an outbox is not gone on without: what of it was delivered nobody would know.
fn begins_anew(report: Report) -> Report {
    if report.code != "segments/damaged" {
        return report;
    }
    let fix = "move the sink's folder away while the process is stopped: the sink begins anew, and \
               changes and events that waited in it are missing at its receiver";
    Report { fix: fix.into(), ..report }
}

impl Log {
    pub(super) fn open(dir: &Path, max_bytes: u64, now_ms: u64) -> Result<Found, Report> {
        let what = "the outbox of a sink";
        let refuse = OnDamage::Refuse;
        let bytes = (max_bytes / 8).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
        let opened =
            segments::open(dir, book::OUTBOX, refuse, bytes, what, now_ms).map_err(begins_anew)?;
        let folder = Arc::clone(&opened.folder);
        let found = newest_book(&folder).map_err(begins_anew)?;
        let log = Log { folder, writer: Mutex::new(opened.writer) };
        Ok(Found { log, book: found, notes: opened.notes })
    }

    /// Appends these, at once and durably; `make` is told the position of the first.
    pub(super) fn append<B: AsRef<[u8]>>(
        &self,
        now_ms: u64,
        make: impl FnOnce(u64) -> Vec<(u16, B)>,
    ) -> Result<u64, Report> {
        let mut writer = self.writer.lock();
        let blocks = make(writer.next());
        if blocks.is_empty() {
            return Ok(writer.next());
        }
        let blocks: Vec<NewBlock<'_>> =
            blocks.iter().map(|(tag, payload)| NewBlock::new(*tag, 1, payload.as_ref())).collect();
        writer.append(&blocks, now_ms)
    }

    /// Every file, from the next segment on, goes through this.
    #[cfg(test)]
    pub(super) fn through(
        &self,
        file: impl FnMut(File) -> Box<dyn crate::segments::Medium> + Send + 'static,
    ) -> Result<(), Report> {
        let mut writer = self.writer.lock();
        // Who follows goes on behind an end only.
        writer.roll()?;
        writer.through(file);
        Ok(())
    }

    /// The next position.
    pub(super) fn next(&self) -> u64 {
        self.writer.lock().next()
    }

    /// Nothing below this position is needed any more, but for the newest book.
    pub(super) fn trim(&self, needed: u64, now_ms: u64) -> Result<(), Report> {
        // The newest book is in the segment that is written: it was appended a moment ago.
        while self.folder.oldest().is_some_and(|it| it.extent().next <= needed) {
            self.folder.age_out(0, now_ms)?;
        }
        Ok(())
    }

    /// Ends the segment that is being written; gives the position at which the next one begins.
    pub(super) fn end_segment(&self) -> Result<u64, Report> {
        let mut writer = self.writer.lock();
        writer.roll()?;
        Ok(writer.next())
    }

    /// Ends the segment that is being written.
    pub(super) fn close(&self) -> Result<(), Report> {
        self.writer.lock().roll()
    }

    /// Every block of `from..upto`.
    pub(super) fn each(
        &self,
        from: u64,
        upto: u64,
        mut take: impl FnMut(u64, u16, &[u8]) -> Result<(), Report>,
    ) -> Result<(), Report> {
        each(&self.folder, from, upto, &mut take)
    }
}

fn each(folder: &Folder, from: u64, upto: u64, take: &mut Take<'_>) -> Result<(), Report> {
    for segment in folder.segments() {
        if segment.extent().next <= from || segment.header.first >= upto {
            continue;
        }
        folder.each_block(&segment, |block| {
            let at = block.header.first;
            if at >= upto {
                return Ok(ControlFlow::Break(()));
            }
            if at >= from {
                take(at, block.header.tag, block.payload)?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

/// The newest book there is; segments are read from the newest on until one has it.
pub(super) fn newest_book(folder: &Folder) -> Result<Option<Book>, Report> {
    for segment in folder.segments().iter().rev() {
        if segment.extent().tally.tags & (1 << book::BOOK) == 0 {
            continue;
        }
        let mut newest = None;
        folder.each_block(segment, |block| {
            if block.header.tag == book::BOOK {
                newest = Some(block.payload.to_vec());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some(bytes) = newest {
            let read = serde_json::from_slice(&bytes);
            return read.map(Some).map_err(|why| unreadable(folder, &why.to_string()));
        }
    }
    Ok(None)
}

/// What lies in a log and is not fixed.
pub(super) struct Unread {
    /// What was gathered at instants that never became durable, and beginnings that come again.
    pub(super) void: Vec<(u64, u64)>,
    /// How many bytes wait besides.
    pub(super) bytes: u64,
    /// Streams of which something waits that the sink does not take any more: it is passed over.
    pub(super) passed: BTreeSet<String>,
}

/// Looks through what is not fixed; nothing above this instant became durable.
pub(super) fn unread(
    log: &Log,
    book: &Book,
    declared: &[Stream],
    durable: u64,
) -> Result<Unread, Report> {
    let mut void: Vec<(u64, u64)> = book.void.clone();
    let (mut bytes, mut passed) = (0, BTreeSet::new());
    void.retain(|it| it.1 > book.needed());
    log.each(book.read, u64::MAX, |at, tag, payload| {
        if tag != book::GATHERED || book.is_void(at) {
            return Ok(());
        }
        let read = Gathered::read(payload).ok_or_else(|| unreadable(&log.folder, "a head"))?;
        if read.instant <= durable && !book.comes_again(at, &read, declared) {
            bytes += payload.len() as u64;
            if !declared.iter().any(|it| read.is_of(it)) {
                passed.insert(read.name());
            }
            return Ok(());
        }
        match void.last_mut().filter(|it| it.1 == at) {
            Some(last) => last.1 = at + 1,
            None => void.push((at, at + 1)),
        }
        Ok(())
    })?;
    Ok(Unread { void, bytes, passed })
}

pub(super) fn unreadable(folder: &Folder, why: &str) -> Report {
    Report {
        code: "sinks/unreadable",
        what: "cannot read what waits for a sink".into(),
        at: vec![("folder", folder.dir.display().to_string())],
        why: format!("expected an outbox as this build writes it, found another: {why}"),
        effect: "nothing was started; what waits is as it was".into(),
        fix: "start with the build that wrote it; or remove the folder: then the sink is begun \
              anew, and changes that had not been delivered are missing at its receiver"
            .into(),
    }
}

/// Reads on where it stood, as the log grows.
#[derive(Default)]
pub(super) struct Follow {
    open: Option<(Arc<Segment>, Blocks<File>)>,
    /// What is open stands before the position that is wanted.
    behind: bool,
}

impl Follow {
    /// Blocks from `from` on, until `take` says no: that one, and those behind it, come again.
    /// Gives the position to go on from.
    pub(super) fn read(
        &mut self,
        log: &Log,
        from: u64,
        mut take: impl FnMut(u64, u16, &[u8]) -> Result<bool, Report>,
    ) -> Result<u64, Report> {
        let mut from = from;
        let folder = &log.folder;
        loop {
            let (segment, blocks) = match &mut self.open {
                Some((segment, blocks)) if blocks.expected() == from || self.behind => {
                    (segment, blocks)
                }
                open => match folder.find(from) {
                    Reading::Nothing(_) => return Ok(from),
                    Reading::At(segment, at) => {
                        let Some(blocks) = segment.open()? else {
                            return Err(unreadable(folder, "a segment is gone"));
                        };
                        from = at;
                        // It begins at the segment's first block.
                        self.behind = true;
                        let it = open.insert((segment, blocks));
                        (&mut it.0, &mut it.1)
                    }
                },
            };
            let extent = segment.extent();
            blocks.set_end(extent.end);
            let offset = blocks.offset();
            let cannot = |why: std::io::Error| segments::cannot_read(&segment.path, &why);
            match blocks.read().map_err(cannot)? {
                None if extent.sealed => {
                    self.open = None;
                    self.behind = false;
                    if let Reading::Nothing(_) = folder.find(from) {
                        return Ok(from);
                    }
                }
                None => {
                    self.behind = false;
                    return Ok(from);
                }
                Some(Err(bad)) => {
                    let (until, next) = (extent.end, extent.next);
                    let it = Damaged { offset: bad.offset, until, first: from, next, why: bad.why };
                    return Err(segments::damaged(&segment.path, &it));
                }
                Some(Ok(block)) if block.header.count == 0 || block.header.first < from => {}
                Some(Ok(block)) => {
                    self.behind = false;
                    let at = block.header.first;
                    if !take(at, block.header.tag, block.payload)? {
                        blocks.seek(offset, at);
                        return Ok(at);
                    }
                    from = at + 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(follow: &mut Follow, log: &Log, from: u64, most: usize) -> (Vec<Vec<u8>>, u64) {
        let mut found = Vec::new();
        let next = follow.read(log, from, |_, _, payload| {
            if found.len() == most {
                return Ok(false);
            }
            found.push(payload.to_vec());
            Ok(true)
        });
        (found, next.unwrap())
    }

    /// Goal: what was appended is read once, in order, over the ends of segments, while the log
    /// grows, is closed and opened again; what is not taken comes again.
    #[test]
    fn follows_what_grows() {
        let dir = std::env::temp_dir().join(format!("millstream-follow-{}", std::process::id()));
        let mut log = Log::open(&dir, 1 << 30, 1).unwrap().log;
        let mut follow = Follow::default();
        let mut from = 0;
        let mut expected = 0_u64;
        for n in 0..60_u64 {
            log.append(1, |first| {
                assert_eq!(first, n);
                vec![(book::GATHERED, n.to_le_bytes().to_vec())]
            })
            .unwrap();
            if n % 7 == 3 {
                log.close().unwrap();
            }
            if n % 20 == 19 {
                drop(log);
                log = Log::open(&dir, 1 << 30, 1).unwrap().log;
                follow = Follow::default();
            }
            if n % 3 == 2 {
                let (found, next) = all(&mut follow, &log, from, 2);
                for it in found {
                    assert_eq!(it, expected.to_le_bytes());
                    expected += 1;
                }
                (from, _) = (next, assert_eq!(next, expected));
            }
        }
        let (found, next) = all(&mut follow, &log, from, 100);
        assert_eq!((found.len() as u64 + expected, next), (60, 60));
        assert_eq!(all(&mut follow, &log, 60, 9), (vec![], 60));
        log.trim(60, 1).unwrap();
        assert!(log.folder.range().0 > 0);
        drop(log);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
