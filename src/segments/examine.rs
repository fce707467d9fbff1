//! Reads a whole segment and says what is good in it, what is damaged, and where its end is.
//!
//! # Meaning
//! Bytes that are no good block are **damage** if they were durable once: in a segment that
//! another follows, or before the group of a later good block. Else they are a **tail**: a group
//! that was being written when the process or the machine stopped, and was never answered (or the
//! last group that was, damaged since: from the file alone nobody can tell, so it is told).

use std::io;

use super::blocks::{Blocks, Source};
use super::format::{END_TAG, SEGMENT_HEADER_BYTES, SegmentHeader};

/// What good blocks add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Blocks, end marks excluded.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Append time of the first, milliseconds.
    pub oldest_ms: u64,
    /// Append time of the last.
    pub newest_ms: u64,
    /// A bit per tag that occurs.
    pub tags: u64,
}

impl Tally {
    pub(super) fn add(&mut self, tag: u16, count: u32, appended_ms: u64) {
        self.oldest_ms = if self.blocks == 0 { appended_ms } else { self.oldest_ms };
        self.newest_ms = appended_ms;
        self.blocks += 1;
        self.records += u64::from(count);
        self.tags |= 1 << (tag % 64);
    }

    /// The payload of an end mark: so that a sealed segment need not be read to be known.
    pub(super) fn encode(&self) -> [u8; END_PAYLOAD_BYTES] {
        let mut out = [0; END_PAYLOAD_BYTES];
        let fields = [self.blocks, self.records, self.oldest_ms, self.newest_ms, self.tags];
        for (place, field) in out.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Tally> {
        let it: &[u8; END_PAYLOAD_BYTES] = payload.try_into().ok()?;
        let field = |i: usize| super::format::u64_at(it, i * 8);
        Some(Tally {
            blocks: field(0),
            records: field(1),
            oldest_ms: field(2),
            newest_ms: field(3),
            tags: field(4),
        })
    }
}

/// Bytes of an end mark's payload.
pub(super) const END_PAYLOAD_BYTES: usize = 40;

/// Bytes that were durable once and are no good block now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where they begin in the file.
    pub offset: u64,
    /// Where the next good block begins, or the segment ends.
    pub until: u64,
    /// Positions lost: from here,
    pub first: u64,
    /// to before here (the same: none).
    pub next: u64,
    /// What is wrong.
    pub why: &'static str,
}

/// What is in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Bytes up to the end of the last block that counts.
    pub end: u64,
    /// The next position after it.
    pub next: u64,
    /// The blocks that count.
    pub tally: Tally,
    /// The last of them is an end mark.
    pub ended: bool,
    /// Damage, in order.
    pub damaged: Vec<Damaged>,
    /// Why the bytes from `end` on do not count.
    pub tail: Option<&'static str>,
}

/// Reads the segment's first `len` bytes. `followed_by`: the first position of the segment after
/// it, if there is one; what lies at or beyond that position here was refused and written anew.
pub fn examine<S: Source>(
    source: S,
    header: &SegmentHeader,
    salt: u32,
    len: u64,
    followed_by: Option<u64>,
) -> io::Result<Examined> {
    let mut blocks = Blocks::new(source, salt, header.first, !header.compacted, len);
    let mut so_far =
        Examined { end: SEGMENT_HEADER_BYTES as u64, next: header.first, ..Default::default() };
    // Gaps between good blocks, each with what was good before it.
    let mut gaps: Vec<(Damaged, Examined)> = Vec::new();
    let mut durable = if followed_by.is_some() { len } else { 0 };
    loop {
        let (offset, why) = match blocks.read()? {
            None => break,
            Some(Ok(block)) => {
                let it = block.header;
                if followed_by.is_some_and(|follower| it.next() > follower) {
                    break;
                }
                durable = durable.max(block.offset - u64::from(it.back).min(block.offset));
                so_far.ended = it.tag == END_TAG;
                if !so_far.ended {
                    so_far.tally.add(it.tag, it.count, it.appended_ms);
                }
                so_far.end = block.offset + it.total();
                so_far.next = it.next();
                continue;
            }
            Some(Err(bad)) => (bad.offset, bad.why),
        };
        if followed_by == Some(so_far.next) {
            break; // the rest was refused, and its positions given to others
        }
        let before = so_far.clone();
        let found = blocks.resync()?;
        let (until, next) = match found {
            true => (blocks.offset(), blocks.expected()),
            false => (len, followed_by.unwrap_or(so_far.next)),
        };
        let damaged = Damaged { offset, until, first: so_far.next, next, why };
        gaps.push((damaged, before));
        if !found {
            so_far.next = next;
            break;
        }
    }
    if let Some(i) = gaps.iter().position(|(gap, _)| gap.offset >= durable) {
        let (gap, before) = gaps.swap_remove(i);
        gaps.truncate(i);
        so_far = Examined { tail: Some(gap.why), ..before };
    } else if let Some(follower) = followed_by
        && so_far.next < follower
    {
        // Cut off at a block's edge: nothing in the file itself shows it.
        let why = "the segment ends before the next one begins";
        let (offset, first) = (so_far.end, so_far.next);
        gaps.push((Damaged { offset, until: len, first, next: follower, why }, so_far.clone()));
        so_far.next = follower;
    }
    so_far.damaged = gaps.into_iter().map(|(gap, _)| gap).collect();
    Ok(so_far)
}
