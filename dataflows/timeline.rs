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
//! Packed: time (8 bytes), status, line (2), length of the tie (2), the tie. The newest entries
//! are one allocation of some [`RECENT_BYTES`], with the length of the newest at the end, for most
//! statements come in order; when it is full it is put before a new one, and shared from then on.
//! Nothing is ever changed in place: a new allocation replaces the newest, so older versions of
//! the order stay as they were, nothing is reserved for growth, and what a statement costs does
//! not grow with the history before it. One that comes late, among older ones, puts all of it
//! together again.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use schemas::events::{MAX_LINES, Status};

use crate::served::prefetch::prefetch_shared;

/// Most entries of a timeline, apart from those that say what holds now.
pub(crate) const MAX_ENTRIES: usize = 256;

/// Time, status, line, length of the tie.
const HEAD: usize = 13;

/// The newest entries are copied with each new one; from so many bytes on they no longer are.
/// Most orders never have as many.
const RECENT_BYTES: usize = 256;

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

    #[inline]
    fn write(&self, bytes: &mut Vec<u8>) {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&self.at.to_le_bytes());
        head[8] = self.status as u8;
        head[9..11].copy_from_slice(&self.line.to_le_bytes());
        head[11..].copy_from_slice(&(self.tie.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(self.tie);
    }

    fn length(&self) -> usize {
        HEAD + self.tie.len()
    }
}

/// Sorted entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// The newest ones, and the length of the newest.
    recent: Option<Arc<[u8]>>,
    older: Option<Arc<Older>>,
}

/// Entries that stand before all newer ones.
#[derive(Debug)]
struct Older {
    /// As in [`Timeline::recent`].
    entries: Arc<[u8]>,
    before: Option<Arc<Older>>,
    /// Of this and all before.
    n_entries: usize,
    heap_bytes: usize,
}

/// Bytes behind the entries: the length of the newest one, so that it is found from the end.
const TAIL: usize = 2;

/// Without what stands behind the entries.
#[inline]
fn entries_of(packed: &[u8]) -> &[u8] {
    &packed[..packed.len() - TAIL]
}

#[inline]
fn newest_of(packed: &[u8]) -> Option<Entry<'_>> {
    let (entries, tail) = packed.split_last_chunk::<TAIL>()?;
    Entries(&entries[entries.len() - usize::from(u16::from_le_bytes(*tail))..]).next()
}

impl Timeline {
    /// Oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.parts().into_iter().flat_map(Entries)
    }

    /// Asks for the memory that [`Timeline::insert`] will look at.
    #[inline]
    pub(crate) fn bring_near(&self) {
        if let Some(recent) = &self.recent {
            prefetch_shared(recent);
        }
    }

    /// When the newest statement was made.
    #[inline]
    pub(crate) fn newest_at(&self) -> Option<i64> {
        self.recent.as_deref().and_then(newest_of).map(|it| it.at)
    }

    /// When the oldest statement was made, where that is known at once: of a timeline that is one
    /// allocation.
    #[inline]
    pub(crate) fn oldest_recent(&self) -> Option<i64> {
        let recent = self.recent.as_deref().filter(|_| self.older.is_none())?;
        Entries(entries_of(recent)).next().map(|it| it.at)
    }

    /// Oldest first.
    fn parts(&self) -> Vec<&[u8]> {
        let mut parts: Vec<&[u8]> = self.recent.iter().map(|it| entries_of(it)).collect();
        let mut older = self.older.as_deref();
        while let Some(it) = older {
            parts.push(entries_of(&it.entries));
            older = it.before.as_deref();
        }
        parts.reverse();
        parts
    }

    /// Puts an entry where it belongs, if it is not there yet; true if it is the newest now.
    #[inline]
    pub(crate) fn insert(&mut self, new: Entry<'_>) -> bool {
        let recent = self.recent.as_deref().map_or(&[][..], entries_of);
        let newest = self.recent.as_deref().and_then(newest_of);
        let is_newest = newest.is_none_or(|it| it.order() < new.order());
        let n_older = self.older.as_ref().map_or(0, |it| it.n_entries);
        let is_bounded = n_older + recent.len() / HEAD < MAX_ENTRIES;
        // Most statements come in the order of their times: nothing is looked through for them.
        if is_newest && is_bounded {
            let is_full = recent.len() + new.length() > RECENT_BYTES && !recent.is_empty();
            let packed = packed(if is_full { &[] } else { recent }, &new, &[], new.length());
            let recent = self.recent.replace(packed);
            if is_full {
                self.put_before(recent);
            }
            return true;
        }
        self.insert_between(new, is_newest, is_bounded);
        is_newest
    }

    #[cold]
    fn put_before(&mut self, recent: Option<Arc<[u8]>>) {
        let Some(entries) = recent else { return };
        let before = self.older.take();
        let (n, bytes) = before.as_ref().map_or((0, 0), |it| (it.n_entries, it.heap_bytes));
        self.older = Some(Arc::new(Older {
            n_entries: n + Entries(entries_of(&entries)).count(),
            heap_bytes: bytes + 32 + size_of::<Older>() + entries.len(),
            entries,
            before,
        }));
    }

    #[cold]
    fn insert_between(&mut self, new: Entry<'_>, is_newest: bool, is_bounded: bool) {
        let is_after = |it: &Arc<Older>| {
            newest_of(&it.entries).is_none_or(|newest| newest.order() < new.order())
        };
        let among_recent = is_bounded && self.older.as_ref().is_none_or(is_after);
        let bytes = match among_recent {
            true => Cow::Borrowed(self.recent.as_deref().map_or(&[][..], entries_of)),
            false => self.bytes(),
        };
        let place = if is_newest { Some(bytes.len()) } else { place_of(&bytes, &new) };
        let Some(place) = place else { return };
        let newest = match is_newest {
            true => new.length(),
            false => self.recent.as_deref().and_then(newest_of).map_or(0, |it| it.length()),
        };
        // The newest entry is never dropped.
        let mut grown = packed(&bytes[..place], &new, &bytes[place..], newest);
        let entries = entries_of(&grown);
        if !among_recent && Entries(entries).count() > MAX_ENTRIES {
            let mut kept = bounded(entries);
            kept.extend_from_slice(&(newest as u16).to_le_bytes());
            grown = kept.into();
        }
        self.recent = Some(grown);
        if !among_recent {
            self.older = None;
        }
    }

    /// The status of the whole order: what was said of it last.
    pub(crate) fn status(&self) -> Option<Status> {
        self.entries().filter(|it| it.line == 0).last().map(|it| it.status)
    }

    /// In one piece, for the disk.
    #[inline]
    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        match (&self.recent, &self.older) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(recent), None) => Cow::Borrowed(entries_of(recent)),
            (Some(_), Some(_)) => Cow::Owned(self.parts().concat()),
        }
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
        (n <= most).then(|| Timeline { recent: (n > 0).then(packed), older: None })
    }

    /// Bytes kept outside.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.recent.as_ref().map_or(0, |it| 16 + it.len())
            + self.older.as_ref().map_or(0, |it| it.heap_bytes)
    }
}

/// One allocation of its own size: what is before an entry, the entry, what is behind it, and the
/// length of the newest.
#[inline]
fn packed(before: &[u8], new: &Entry<'_>, behind: &[u8], newest: usize) -> Arc<[u8]> {
    SCRATCH.with_borrow_mut(|grown| {
        grown.clear();
        grown.extend_from_slice(before);
        new.write(grown);
        grown.extend_from_slice(behind);
        grown.extend_from_slice(&(newest as u16).to_le_bytes());
        grown.as_slice().into()
    })
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
            Timeline::restore(&bytes).map(|it| *it.bytes() == bytes)
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
