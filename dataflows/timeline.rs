//! An order's timeline: what was said of its status and of its lines', by event time.
//!
//! # Meaning
//! A set of entries, each of one event, in the order of (event time, id, source). A function of
//! the set of events: the same in every order of arrival, and putting an entry in twice changes
//! nothing.
//!
//! # Invariants
//! Kept are the [`MAX_ENTRIES`] newest, and beyond them the newest about the whole order and about
//! each of its first [`MAX_LINES`] lines: an entry that is neither never becomes either, so
//! dropping it at once gives the same as dropping it at the end.
//!
//! # State
//! One allocation, packed: time (8 bytes), status, line (2), length of the tie (2), the tie; at the
//! end the length of the newest entry, for most statements come in order. It is never changed in
//! place: a new one replaces it, so older versions of the entry stay as they were, and nothing is
//! reserved for growth.

use std::cell::RefCell;
use std::sync::Arc;

use schemas::events::{MAX_LINES, Status};

/// Most entries of a timeline, apart from those that say what holds now.
pub(crate) const MAX_ENTRIES: usize = 256;

/// Time, status, line, length of the tie.
const HEAD: usize = 13;

thread_local! {
    /// Where the next timeline is put together, so that each costs one allocation of its own size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'t> {
    /// Event time, microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// The status said.
    pub(crate) status: Status,
    /// The line, from 1; 0: the whole order.
    pub(crate) line: u16,
    /// See [`crate::stamps::tie`].
    pub(crate) tie: &'t [u8],
}

impl Entry<'_> {
    fn order(&self) -> (i64, &[u8]) {
        (self.at, self.tie)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.at.to_le_bytes());
        bytes.push(self.status as u8);
        bytes.extend_from_slice(&self.line.to_le_bytes());
        bytes.extend_from_slice(&(self.tie.len() as u16).to_le_bytes());
        bytes.extend_from_slice(self.tie);
    }
}

/// Sorted entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline(Option<Arc<[u8]>>);

/// Bytes behind the entries: the length of the newest one, so that it is found from the end.
const TAIL: usize = 2;

impl Timeline {
    /// Oldest first.
    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries(self.bytes())
    }

    /// The newest entry.
    #[inline]
    fn newest(&self) -> Option<Entry<'_>> {
        let (entries, tail) = self.0.as_deref()?.split_last_chunk::<TAIL>()?;
        Entries(&entries[entries.len() - usize::from(u16::from_le_bytes(*tail))..]).next()
    }

    /// Puts an entry where it belongs, if it is not there yet; true if it is the newest now.
    #[inline]
    pub(crate) fn insert(&mut self, new: Entry<'_>) -> bool {
        let bytes = self.bytes();
        // Most statements come in the order of their times: nothing is looked through for them.
        let is_newest = self.newest().is_none_or(|it| it.order() < new.order());
        let place = if is_newest { Some(bytes.len()) } else { place_of(bytes, &new) };
        let Some(place) = place else { return false };
        let packed = SCRATCH.with_borrow_mut(|grown| {
            grown.clear();
            grown.extend_from_slice(&bytes[..place]);
            new.write(grown);
            grown.extend_from_slice(&bytes[place..]);
            if grown.len() > MAX_ENTRIES * HEAD && Entries(grown).count() > MAX_ENTRIES {
                *grown = bounded(grown);
            }
            // The newest entry is never dropped.
            let newest = match is_newest {
                true => ((HEAD + new.tie.len()) as u16).to_le_bytes(),
                false => self.tail(),
            };
            grown.extend_from_slice(&newest);
            grown.as_slice().into()
        });
        self.0 = Some(packed);
        is_newest
    }

    fn tail(&self) -> [u8; TAIL] {
        self.0.as_deref().and_then(|it| it.last_chunk()).copied().unwrap_or_default()
    }

    /// The status of the whole order: what was said of it last.
    pub(crate) fn status(&self) -> Option<Status> {
        self.entries().filter(|it| it.line == 0).last().map(|it| it.status)
    }

    /// As it is kept, for the disk.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], |it| &it[..it.len() - TAIL])
    }

    /// What [`Timeline::bytes`] gave; `None` if it cannot have: every entry whole and in order,
    /// no more than are ever kept.
    pub(crate) fn restore(bytes: &[u8]) -> Option<Timeline> {
        let (mut rest, mut n, mut newest) = (bytes, 0, 0);
        let mut last: Option<(i64, &[u8])> = None;
        while !rest.is_empty() {
            let (head, behind) = rest.split_first_chunk::<HEAD>()?;
            let at = i64::from_le_bytes(*head.first_chunk()?);
            Status::ALL.get(usize::from(head[8]))?;
            let length = usize::from(u16::from_le_bytes([head[11], head[12]]));
            let (tie, behind) = behind.split_at_checked(length)?;
            if last.is_some_and(|it| it >= (at, tie)) {
                return None;
            }
            last = Some((at, tie));
            n += 1;
            newest = u16::try_from(HEAD + length).ok()?;
            rest = behind;
        }
        let most = MAX_ENTRIES + MAX_LINES + 1;
        let packed = || [bytes, &newest.to_le_bytes()].concat().into();
        (n <= most).then(|| Timeline((n > 0).then(packed)))
    }

    /// Bytes kept outside.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |it| 16 + it.len())
    }
}

/// Where an entry belongs; `None`: it is there.
fn place_of(bytes: &[u8], new: &Entry<'_>) -> Option<usize> {
    let mut entries = Entries(bytes);
    loop {
        let place = bytes.len() - entries.0.len();
        let Some(entry) = entries.next() else { return Some(place) };
        match entry.order().cmp(&new.order()) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater => return Some(place),
        }
    }
}

/// Without the entries that neither are among the newest nor say what holds now.
fn bounded(bytes: &[u8]) -> Vec<u8> {
    let entries: Vec<Entry<'_>> = Entries(bytes).collect();
    let mut seen = [false; MAX_LINES + 1];
    let mut keep = vec![false; entries.len()];
    for (age, (entry, keep)) in entries.iter().zip(&mut keep).rev().enumerate() {
        let newest_of_line =
            seen.get_mut(usize::from(entry.line)).is_some_and(|it| !std::mem::replace(it, true));
        *keep = age < MAX_ENTRIES || newest_of_line;
    }
    let mut kept = Vec::with_capacity(bytes.len());
    entries.iter().zip(&keep).filter(|it| *it.1).for_each(|it| it.0.write(&mut kept));
    kept
}

/// Reads packed entries.
pub(crate) struct Entries<'t>(&'t [u8]);

impl<'t> Iterator for Entries<'t> {
    type Item = Entry<'t>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'t>> {
        let (head, rest) = self.0.split_first_chunk::<HEAD>()?;
        let at = i64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
        let line = u16::from_le_bytes([head[9], head[10]]);
        let (tie, rest) = rest.split_at(usize::from(u16::from_le_bytes([head[11], head[12]])));
        self.0 = rest;
        Some(Entry { at, status: Status::ALL[usize::from(head[8])], line, tie })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Said = (i64, u8, u16);

    /// Entries in this order of arrival, as the timeline keeps them.
    fn kept(said: &[Said]) -> Vec<(i64, Status, u16)> {
        let mut timeline = Timeline::default();
        for (n, status, line) in said {
            let tie = format!("{n}\0s");
            let status = Status::ALL[usize::from(*status)];
            // Few instants, so that ties decide.
            let entry = Entry { at: n / 4, status, line: *line, tie: tie.as_bytes() };
            timeline.insert(entry);
            timeline.insert(entry);
        }
        timeline.entries().map(|it| (it.at, it.status, it.line)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Goal: beyond its bound, too, a timeline is a function of the set of what was said.
        /// Method: some hundred entries of few lines, among them lines beyond those that are
        /// kept, in two orders; compared with sorting and bounding all of them at once.
        #[test]
        fn bounded_the_same_in_every_order(
            said in proptest::collection::vec((0..10_u8, prop_oneof![0..6_u16, 255..300_u16]), 1..700),
            seed in any::<u64>(),
        ) {
            let said = said.into_iter().zip(0..).map(|((status, line), n)| (n, status, line));
            let mut said: Vec<Said> = said.collect();
            let in_order = kept(&said);
            said.sort_by_key(|it| (it.0 as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(&kept(&said), &in_order);

            said.sort_by_key(|it| (it.0 / 4, format!("{}\0s", it.0)));
            let newest = |n: usize| !said[n + 1..].iter().any(|it| it.2 == said[n].2);
            let stays = |n: &usize| {
                n + MAX_ENTRIES >= said.len() || (usize::from(said[*n].2) <= MAX_LINES && newest(*n))
            };
            let plain = (0..said.len()).filter(stays).map(|n| said[n]);
            let plain = plain.map(|it| (it.0 / 4, Status::ALL[usize::from(it.1)], it.2));
            prop_assert_eq!(in_order, plain.collect::<Vec<_>>());
        }
    }

    /// Goal: bytes are taken for a timeline only if a timeline is kept so. Method: one that is,
    /// with two entries exchanged, with one twice, with one too many.
    #[test]
    fn comes_back_in_order_or_not() {
        let entry = |at: i64| {
            let mut bytes = Vec::new();
            Entry { at, status: Status::Paid, line: 0, tie: b"1\0s" }.write(&mut bytes);
            bytes
        };
        let restored = |entries: &[i64]| {
            let bytes: Vec<u8> = entries.iter().flat_map(|it| entry(*it)).collect();
            Timeline::restore(&bytes).map(|it| it.bytes() == bytes)
        };
        assert_eq!(restored(&[]), Some(true));
        assert_eq!(restored(&[-1, 0, 1]), Some(true));
        assert_eq!(restored(&[0, -1, 1]), None);
        assert_eq!(restored(&[-1, -1, 1]), None);
        let most: Vec<i64> = (0..(MAX_ENTRIES + MAX_LINES + 2) as i64).collect();
        assert_eq!(restored(&most), None);
        assert_eq!(restored(&most[1..]), Some(true));
    }
}
