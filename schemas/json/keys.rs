//! Whether a key was there before in its object.
//!
//! # Why this way
//! Events have a handful of keys. Each is kept as one number made of its length and its first and
//! last eight bytes, behind a filter of 64 bits: a key that sets a new bit is new, and only keys
//! with equal numbers are looked at as text. From [`FEW`] keys on a hash set takes over, so that
//! an object of thousands of keys costs no more than its length.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Scanner;
use super::text::rest_of_string;

/// Keys kept without allocation: more than any object of the contract has.
const FEW: usize = 16;

/// The keys of one object so far.
pub(super) struct Keys<'a> {
    filter: u64,
    n: usize,
    marks: [u64; FEW],
    /// Where each key starts, after its quote.
    starts: [u32; FEW],
    many: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Keys<'a> {
    #[inline(always)]
    pub(super) fn new() -> Keys<'a> {
        Keys { filter: 0, n: 0, marks: [0; FEW], starts: [0; FEW], many: None }
    }

    /// Takes a key in; false if it was there. `start`: where it starts in the text.
    #[inline(always)]
    pub(super) fn is_new(&mut self, text: &'a str, start: usize, key: &str) -> bool {
        let mark = mark(key.as_bytes());
        let bit = 1 << (mark.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58);
        if self.n == FEW
            || start > u32::MAX as usize
            || (self.filter & bit != 0 && self.marks[..self.n].contains(&mark))
        {
            return self.compare(text, start, key, mark);
        }
        self.filter |= bit;
        self.push(start, mark);
        true
    }

    #[inline(always)]
    fn push(&mut self, start: usize, mark: u64) {
        self.marks[self.n] = mark;
        self.starts[self.n] = start as u32; // compared with u32::MAX before
        self.n += 1;
    }

    #[cold]
    fn compare(&mut self, text: &'a str, start: usize, key: &str, mark: u64) -> bool {
        let earlier = |at: usize| {
            let mut scanner = Scanner { at, ..Scanner::over(text) };
            rest_of_string(&mut scanner).unwrap_or_default() // read once already
        };
        let few = self.starts.map(|it| it as usize);
        let few = &few[..self.n];
        if self.n < FEW && start <= u32::MAX as usize {
            let mut marked = few.iter().zip(&self.marks).filter(|it| *it.1 == mark);
            let same = marked.any(|it| earlier(*it.0) == key);
            self.push(start, mark);
            return !same;
        }
        let many = self.many.get_or_insert_with(|| few.iter().map(|it| earlier(*it)).collect());
        many.insert(earlier(start))
    }
}

/// Differs for most keys that differ; equal for equal ones.
#[inline(always)]
fn mark(key: &[u8]) -> u64 {
    let length = (key.len() as u64) << 56;
    if let (Some(head), Some(tail)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        return length ^ u64::from_le_bytes(*head) ^ u64::from_le_bytes(*tail).rotate_left(29);
    }
    if let (Some(head), Some(tail)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        return length
            ^ u64::from(u32::from_le_bytes(*head))
            ^ (u64::from(u32::from_le_bytes(*tail)) << 24);
    }
    key.iter().fold(length, |mark, byte| (mark << 8) ^ u64::from(*byte))
}
