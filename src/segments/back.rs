//! How far a log is sound, and going back to there.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::blocks::{Block, Blocks, Source};
use super::folder::sync_dir;
use super::format::{Contents, END_TAG, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::lock::FolderLock;
use super::open::list;
use super::trouble;
use crate::report::Report;

/// Reads a log from its first block up to the first one that is damaged or not there; what lies
/// behind that is not looked at. Gives the first position, and the one up to which it is sound.
pub fn sound(
    dir: &Path,
    contents: Contents,
    what: &str,
    take: &mut dyn FnMut(&Block<'_>),
) -> Result<(u64, u64), Report> {
    let _lock = FolderLock::share(dir, what)?;
    let files = list(dir, false).map_err(|why| trouble::cannot_open(dir, &why))?;
    let begin = files.first().map_or(0, |it| it.0);
    let (mut next, mut log_id) = (begin, None);
    for (n, (first, path)) in files.iter().enumerate() {
        let follower = files.get(n + 1).map(|it| it.0);
        let cannot = |why: io::Error| trouble::cannot_read(path, &why);
        let file = File::open(path).map_err(cannot)?;
        let Some((header, mut blocks)) = begun(file).map_err(cannot)? else { break };
        let same_log = *log_id.get_or_insert(header.log_id) == header.log_id;
        if *first != next || header.first != *first || header.contents != contents || !same_log {
            break;
        }
        loop {
            match blocks.read().map_err(cannot)? {
                None => break,
                Some(Ok(block)) if block.header.tag == END_TAG => {}
                // Written by one that was told that it failed, or that had lost the log: nobody
                // ever read it (docs/format.md).
                Some(Ok(block)) if follower.is_some_and(|it| block.header.next() > it) => break,
                Some(Err(_)) if follower == Some(next) => break,
                Some(Ok(block)) => {
                    next = block.header.next();
                    take(&block);
                }
                Some(Err(_)) => return Ok((begin, next)),
            }
        }
    }
    Ok((begin, next))
}

/// The blocks of a segment; none where its header is damaged, or it is of kept blocks alone.
fn begun(file: File) -> io::Result<Option<(SegmentHeader, Blocks<File>)>> {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let n = Source::read_at(&file, &mut bytes, 0)?;
    let len = file.metadata()?.len();
    let whole = SegmentHeader::decode(&bytes[..n]).ok().filter(|(header, _)| !header.compacted);
    Ok(whole.map(|(header, salt)| (header, Blocks::new(file, salt, header.first, true, len))))
}

/// Gives up what lies behind a position at which a block begins or the log ends: later segments,
/// the newest first, then the end of the one that it lies in. Who is killed meanwhile can do it
/// once more.
pub fn go_back(dir: &Path, to: u64, what: &str) -> Result<(), Report> {
    let _lock = FolderLock::take(dir, what)?;
    let files = list(dir, true).map_err(|why| trouble::cannot_open(dir, &why))?;
    for (first, path) in files.iter().rev() {
        let cannot = |why: io::Error| trouble::cannot_write(path, &why, true);
        if *first >= to {
            super::remove(path).and_then(|()| sync_dir(dir)).map_err(cannot)?;
            continue;
        }
        return end_at(path, to).map_err(cannot);
    }
    Ok(())
}

fn end_at(path: &Path, to: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let not_sound = || io::Error::other(format!("it is not sound up to position {to}"));
    let (_, mut blocks) = begun(file.try_clone()?)?.ok_or_else(not_sound)?;
    while blocks.expected() < to {
        if !matches!(blocks.read()?, Some(Ok(_))) {
            return Err(not_sound());
        }
    }
    file.set_len(blocks.offset())?;
    file.sync_all()
}
