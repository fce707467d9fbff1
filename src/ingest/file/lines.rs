//! Cuts bytes into chunks that end at a line's end.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::pace::Pace;
use super::{Plan, Progress};

use crate::messages::{Chunk, Framing, Gap, MAX_CHUNK_BYTES, Outlet, Partition, buffers};

/// Where the lines are.
pub(super) struct At {
    pub(super) partition: Partition,
    pub(super) pass: u32,
    /// Offset of the next line.
    pub(super) next: u64,
    /// Lines at the start that were read before: passed over.
    pub(super) passed: u64,
}

/// Why it ended before the end.
pub(super) enum End {
    Stopped,
    Failed(io::Error),
}

pub(super) struct Lines<'a> {
    at: At,
    plan: &'a Plan,
    outlet: &'a Outlet,
    progress: &'a Progress,
    stop: &'a AtomicBool,
    /// Of a line that is longer than a chunk, so much is kept.
    line_bytes: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(
        at: At,
        plan: &'a Plan,
        outlet: &'a Outlet,
        progress: &'a Progress,
        stop: &'a AtomicBool,
    ) -> Lines<'a> {
        let line_bytes = usize::try_from(plan.max_event_bytes).unwrap_or(usize::MAX / 2) + 1;
        Lines { at, plan, outlet, progress, stop, line_bytes }
    }

    /// Offset of the line that comes next.
    pub(super) fn next(&self) -> u64 {
        self.at.next
    }

    /// Reads to the end.
    pub(super) fn run(
        &mut self,
        input: &mut (dyn Read + Send),
        mut pace: Option<&mut Pace>,
    ) -> Result<(), End> {
        let capacity = MAX_CHUNK_BYTES.max(self.line_bytes + 1);
        let mut buffer = buffers::take(capacity);
        // Bytes of a line that was begun; bytes of it are dropped once it is too long.
        let (mut filled, mut dropping) = (0, false);
        loop {
            if self.stop.load(Relaxed) {
                return Err(End::Stopped);
            }
            let n = self.fill(input, &mut buffer[filled..]).map_err(End::Failed)?;
            let (from, had) = (filled, filled);
            filled += n;
            if n == 0 {
                // A last line without its end.
                return match had {
                    0 => Ok(()),
                    _ => self.hand_over(buffer, had, &mut pace),
                };
            }
            if dropping {
                // The kept part is at the front; what was read is the line's rest, or past it.
                match memchr::memchr(b'\n', &buffer[from..filled]) {
                    None => {
                        filled = from;
                        continue;
                    }
                    Some(end) => {
                        buffer.copy_within(from + end..filled, from);
                        filled -= end;
                        dropping = false;
                    }
                }
            }
            match memchr::memrchr(b'\n', &buffer[..filled]) {
                Some(end) => {
                    let mut next = buffers::take(capacity);
                    let left = filled - (end + 1);
                    next[..left].copy_from_slice(&buffer[end + 1..filled]);
                    self.hand_over(std::mem::replace(&mut buffer, next), end + 1, &mut pace)?;
                    filled = left;
                }
                None if filled == capacity => {
                    filled = self.line_bytes;
                    dropping = true;
                }
                None => {}
            }
        }
    }

    /// Fills the buffer; from a pipe takes what there is, because more may be long in coming.
    fn fill(&self, input: &mut (dyn Read + Send), buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) => return Err(why),
            }
            if self.plan.path == Path::new("-") {
                break;
            }
        }
        Ok(filled)
    }

    fn hand_over(
        &mut self,
        mut bytes: Vec<u8>,
        len: usize,
        pace: &mut Option<&mut Pace>,
    ) -> Result<(), End> {
        bytes.truncate(len);
        self.pass_over(&mut bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(pace) = pace else {
            let lines = count(&bytes);
            return self.send(bytes, lines, self.plan.first_read_ms);
        };
        let mut at = 0;
        while at < bytes.len() {
            let Some((due, due_ms)) = pace.due(self.stop) else { return Err(End::Stopped) };
            let (mut end, mut lines) = (bytes.len(), 0);
            for place in memchr::memchr_iter(b'\n', &bytes[at..]) {
                lines += 1;
                if lines == due {
                    end = at + place + 1;
                    break;
                }
            }
            if end == bytes.len() {
                lines = count(&bytes[at..]);
            }
            self.send(bytes[at..end].to_vec(), lines, due_ms)?;
            pace.sent(lines);
            at = end;
        }
        Ok(())
    }

    /// Drops the lines that were read before.
    fn pass_over(&mut self, bytes: &mut Vec<u8>) {
        if self.at.passed == 0 {
            return;
        }
        let last = usize::try_from(self.at.passed - 1).unwrap_or(usize::MAX);
        let (lines, end) = match memchr::memchr_iter(b'\n', bytes).nth(last) {
            Some(end) => (self.at.passed, end + 1),
            None => (count(bytes), bytes.len()),
        };
        self.at.passed -= lines;
        self.at.next += lines;
        self.progress.lines.fetch_add(lines, Relaxed);
        bytes.drain(..end);
    }

    fn send(&mut self, bytes: Vec<u8>, lines: u64, appended_ms: u64) -> Result<(), End> {
        let first = self.at.next;
        let next = first + lines;
        self.outlet.send(Chunk {
            partition: self.at.partition,
            first,
            next,
            gap: Gap::default(),
            appended_ms,
            bytes,
            framing: Framing::Lines,
            pass: self.at.pass,
        })?;
        self.at.next = next;
        self.progress.records.fetch_add(lines, Relaxed);
        self.progress.lines.fetch_add(lines, Relaxed);
        self.progress.at.0.store(self.at.partition.1, Relaxed);
        self.progress.at.1.store(next, Relaxed);
        Ok(())
    }
}

/// Lines; the last one may lack its end.
fn count(bytes: &[u8]) -> u64 {
    let ends = memchr::memchr_iter(b'\n', bytes).count() as u64;
    ends + u64::from(!bytes.is_empty() && bytes.last() != Some(&b'\n'))
}
