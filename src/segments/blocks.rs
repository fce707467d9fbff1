//! Reads a segment block by block, checking each before anybody sees it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockHeader, SEGMENT_HEADER_BYTES};

/// Read at once: large enough that a call costs nothing beside the bytes, small enough that a
/// reader's memory does not matter.
const WINDOW_BYTES: usize = 1 << 20;

/// Bytes that can be read at an offset: a file, or a slice in tests.
pub trait Source {
    /// Fills the buffer from the offset on; fewer bytes only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(done)
    }
}

impl Source for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let n = buffer.len().min(self.len() - from);
        buffer[..n].copy_from_slice(&self[from..from + n]);
        Ok(n)
    }
}

/// A block whose checksums hold.
#[derive(Debug)]
pub struct Block<'a> {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its header.
    pub header: BlockHeader,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Bytes that are not a good block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where they begin in the file.
    pub offset: u64,
    /// What is wrong with them.
    pub why: &'static str,
}

/// The blocks of one segment, in order.
pub struct Blocks<S> {
    source: S,
    salt: u32,
    /// Positions must follow one another without a gap.
    gapless: bool,
    at: u64,
    end: u64,
    expected: u64,
    window: Vec<u8>,
    window_at: u64,
    filled: usize,
}

impl<S: Source> Blocks<S> {
    /// From the first block to `end` (bytes). `first` is the segment's first position.
    pub fn new(source: S, salt: u32, first: u64, gapless: bool, end: u64) -> Blocks<S> {
        let at = SEGMENT_HEADER_BYTES as u64;
        let window = Vec::new();
        Blocks { source, salt, gapless, at, end, expected: first, window, window_at: 0, filled: 0 }
    }

    /// What it reads.
    pub fn into_source(self) -> S {
        self.source
    }

    /// Where the next block begins.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The next position.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// Goes to a block whose place is known.
    pub fn seek(&mut self, offset: u64, position: u64) {
        self.at = offset;
        self.expected = position;
    }

    /// Passes over what is left up to here: nothing in it can be read.
    pub fn skip_to_end(&mut self, next: u64) {
        self.at = self.end;
        self.expected = next;
    }

    /// More has become durable.
    pub fn set_end(&mut self, end: u64) {
        self.end = end;
    }

    /// The next block; `None` at the end. After a bad one it stands still: see [`Blocks::resync`].
    pub fn read(&mut self) -> io::Result<Option<Result<Block<'_>, Bad>>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let at = self.at;
        match self.check(at)? {
            Ok(header) => {
                if self.gapless && header.first != self.expected {
                    let why = "the block's position does not follow the one before";
                    return Ok(Some(Err(Bad { offset: at, why })));
                }
                self.at += header.total();
                self.expected = header.next();
                let from = (at - self.window_at) as usize + BLOCK_HEADER_BYTES;
                let payload = &self.window[from..from + header.len as usize];
                Ok(Some(Ok(Block { offset: at, header, payload })))
            }
            Err(why) => Ok(Some(Err(Bad { offset: at, why }))),
        }
    }

    /// Goes on at the next whole block behind the bytes at which it stands. `false`: there is
    /// none, and it stands where it stood.
    pub fn resync(&mut self) -> io::Result<bool> {
        let stood = self.at;
        let mut from = stood + 1;
        while from + BLOCK_HEADER_BYTES as u64 <= self.end {
            let have = self.fill(from, BLOCK_HEADER_BYTES)?;
            let start = (from - self.window_at) as usize;
            let found = memchr::memmem::find(&self.window[start..start + have], &BLOCK_MAGIC);
            match found {
                Some(i) => {
                    let at = from + i as u64;
                    if let Ok(header) = self.check(at)?
                        && header.first >= self.expected
                    {
                        self.at = at;
                        self.expected = header.first;
                        return Ok(true);
                    }
                    from = at + 1;
                }
                // The magic may begin in the last three bytes.
                None => from += (have - (BLOCK_MAGIC.len() - 1)).max(1) as u64,
            }
        }
        Ok(false)
    }

    /// The header of the block at the offset, if the block is whole and good. Its bytes are in
    /// the window then.
    fn check(&mut self, at: u64) -> io::Result<Result<BlockHeader, &'static str>> {
        const CUT: &str = "the block is cut short";
        if self.fill(at, BLOCK_HEADER_BYTES)? < BLOCK_HEADER_BYTES {
            return Ok(Err(CUT));
        }
        let start = (at - self.window_at) as usize;
        let bytes = self.window[start..].first_chunk().expect("filled above");
        let header = match BlockHeader::decode(bytes, self.salt) {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        if header.total() > self.end - at {
            return Ok(Err(CUT));
        }
        let total = header.total() as usize;
        if self.fill(at, total)? < total {
            return Ok(Err(CUT));
        }
        let start = (at - self.window_at) as usize;
        let payload = &self.window[start + BLOCK_HEADER_BYTES..start + total];
        if crc32c::crc32c(payload) != header.payload_crc {
            return Ok(Err("the checksum of the block's payload does not hold"));
        }
        if header.first < self.expected {
            return Ok(Err("the block's position is one that came before"));
        }
        Ok(Ok(header))
    }

    /// Sees to it that `need` bytes from the offset on are in the window, as far as there are so
    /// many; how many are there.
    fn fill(&mut self, at: u64, need: usize) -> io::Result<usize> {
        let there = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        let need = need.min(there);
        if at >= self.window_at && at + need as u64 <= self.window_at + self.filled as u64 {
            return Ok(self.filled - (at - self.window_at) as usize);
        }
        let want = need.max(WINDOW_BYTES).min(there);
        if self.window.len() < want || self.window.len() > 2 * WINDOW_BYTES.max(want) {
            self.window = vec![0; want.max(need)];
        }
        self.filled = 0;
        self.window_at = at;
        self.filled = self.source.read_at(&mut self.window[..want], at)?;
        Ok(self.filled)
    }
}
