//! Reads a whole log and says what of it does not hold; and keeps files open that a copy is to be
//! made of.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::examine::Damaged;
use super::folder::Folder;
use super::format::END_TAG;
use super::trouble;
use crate::report::Report;

/// What a log holds, and what of it does not hold.
#[derive(Debug, Default)]
pub struct Verified {
    /// Files.
    pub n_segments: usize,
    /// Blocks whose checksums hold.
    pub blocks: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Each place that is damaged.
    pub damaged: Vec<Report>,
}

/// A segment, open: it can be read to this end even when it has left its folder.
#[derive(Debug)]
pub struct Held {
    /// Its name in the folder.
    pub name: PathBuf,
    /// The file.
    pub file: File,
    /// Bytes of it that count.
    pub bytes: u64,
}

/// Tries to open all segments while the oldest are being removed.
const TRIES: usize = 100;

impl Folder {
    /// Reads every block of every segment that is there, up to where each reaches now. Segments
    /// that leave meanwhile are passed over.
    pub fn verify(&self) -> Result<Verified, Report> {
        let mut found = Verified::default();
        for segment in self.segments() {
            let cannot = |why: io::Error| trouble::cannot_read(&segment.path, &why);
            let Some(mut blocks) = segment.open()? else { continue };
            let extent = segment.extent();
            found.n_segments += 1;
            found.bytes += extent.end;
            loop {
                let (bad, first) = match blocks.read().map_err(cannot)? {
                    None => break,
                    Some(Ok(block)) => {
                        found.blocks += u64::from(block.header.tag != END_TAG);
                        continue;
                    }
                    Some(Err(bad)) => (bad, blocks.expected()),
                };
                let there = blocks.resync().map_err(cannot)?;
                let (until, next) = match there {
                    true => (blocks.offset(), blocks.expected()),
                    false => (extent.end, extent.next),
                };
                let it = Damaged { offset: bad.offset, until, first, next, why: bad.why };
                found.damaged.push(trouble::damaged(&segment.path, &it));
                if !there {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Every segment as it is at one instant, open, in order.
    pub fn hold(&self) -> Result<Vec<Held>, Report> {
        'again: for _ in 0..TRIES {
            let mut held = Vec::new();
            for segment in self.segments() {
                // Its end is read after the list was: what is in it is a prefix of the log.
                let bytes = segment.extent().end;
                let Some(blocks) = segment.open()? else { continue 'again };
                let name = segment.path.file_name().map_or_else(PathBuf::new, PathBuf::from);
                held.push(Held { name, file: blocks.into_source(), bytes });
            }
            return Ok(held);
        }
        let why = io::Error::other(format!("segments left it in each of {TRIES} tries"));
        Err(trouble::cannot_read(&self.dir, &why))
    }
}
