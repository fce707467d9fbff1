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
//! Packed in blocks. The first entry of a block: time (8 bytes), status, line (if it is one line's),
//! length of the tie, the tie. Each other one: how much later it is than the first, status, line, and
//! of the tie what differs from the first one's: ids are often counted, and most that is said of an
//! order comes from one source. Numbers are as in [`crate::packed`].
//!
//! The newest block is one allocation of some [`RECENT_BYTES`], with the length of the newest entry at
//! the end, for most statements come in order; when it is full it is put before a new one, and shared
//! from then on. Nothing is ever changed in place: a new allocation replaces the newest, so older
//! versions of the order stay as they were, nothing is reserved for growth, and what a statement costs
//! does not grow with the history before it. One that comes late, among older ones, puts all of it
//! together again.

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;

use schemas::events::{MAX_LINES, Status};
use schemas::names::MAX_IDENTIFIER_BYTES;

use crate::packed::{Checked, Reader, Writer};
use crate::served::prefetch::prefetch_shared;

/// Most entries of a timeline, apart from those that say what holds now.
pub(crate) const MAX_ENTRIES: usize = 256;

/// Longest tie: two identifiers, and NUL between them.
const TIE_MAX: usize = 2 * MAX_IDENTIFIER_BYTES + 1;

/// No entry is smaller: a byte each for time, status, and what of the tie is before, own and behind.
const ENTRY_MIN: usize = 5;

/// Of the status: a line follows.
const OF_LINE: u8 = 0x80;

/// The newest entries are copied with each new one; from so many bytes on they no longer are.
/// Most orders never have as many.
const RECENT_BYTES: usize = 256;

thread_local! {
    /// Where the next timeline is put together, so that each costs one allocation of its own size.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See [`crate::stamps::tie`]. What it has of another at its begin, its own, and what at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tie<'t>([&'t [u8]; 3]);

impl<'t> Tie<'t> {
    /// In one piece.
    pub(crate) fn of(bytes: &'t [u8]) -> Tie<'t> {
        Tie([&[], bytes, &[]])
    }

    fn bytes(&self) -> impl DoubleEndedIterator<Item = u8> + use<'t> {
        self.0.into_iter().flatten().copied()
    }

    fn len(&self) -> usize {
        self.0.iter().map(|it| it.len()).sum()
    }

    /// How many bytes at the begin and at the end are those of another.
    #[inline]
    fn shared(&self, other: &[u8]) -> (usize, usize) {
        let alike = |(a, b): &(u8, &u8)| a == *b;
        let before = self.bytes().zip(other).take_while(alike).count();
        let most = self.len().min(other.len()) - before;
        let behind =
            self.bytes().rev().zip(other.iter().rev()).take(most).take_while(alike).count();
        (before, behind)
    }
}

impl Ord for Tie<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Tie<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Tie<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Tie<'_> {}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'t> {
    /// Event time, microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// The status said.
    pub(crate) status: Status,
    /// The line, from 1; 0: the whole order.
    pub(crate) line: u16,
    pub(crate) tie: Tie<'t>,
}

/// What the other entries of a block are told by: time and tie of its first.
#[derive(Clone, Copy)]
struct First<'t> {
    at: i64,
    tie: &'t [u8],
}

impl<'t> First<'t> {
    #[inline]
    fn of(block: &'t [u8]) -> Option<First<'t>> {
        let mut entries = Entries::of(block);
        entries.next();
        entries.first
    }
}

impl<'t> Entry<'t> {
    fn order(&self) -> (i64, Tie<'t>) {
        (self.at, self.tie)
    }

    fn write_status(&self, writer: &mut Writer<'_>) {
        let of_line = if self.line > 0 { OF_LINE } else { 0 };
        writer.0.push(self.status as u8 | of_line);
        if self.line > 0 {
            writer.count(self.line.into());
        }
    }

    /// As the first entry of a block.
    fn write_first(&self, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.instant(self.at);
        self.write_status(&mut writer);
        writer.count(self.tie.len() as u64);
        bytes.extend(self.tie.bytes());
    }

    /// Behind others of a block.
    #[inline]
    fn write_after(&self, later: u64, (before, behind): (usize, usize), bytes: &mut Vec<u8>) {
        let own = self.tie.len() - before - behind;
        let mut writer = Writer(bytes);
        writer.count(later);
        self.write_status(&mut writer);
        [before, behind, own].into_iter().for_each(|it| writer.count(it as u64));
        bytes.extend(self.tie.bytes().skip(before).take(own));
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
    let place = entries.len() - usize::from(u16::from_le_bytes(*tail));
    let mut block = Entries::of(entries);
    let first = block.next()?;
    if place == 0 {
        return Some(first);
    }
    block.rest = &entries[place..];
    block.next()
}

/// When the first entry of a block was said.
fn oldest_of(entries: &[u8]) -> Option<i64> {
    Checked(entries).instant()
}

impl Timeline {
    /// Oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.parts().into_iter().flat_map(Entries::of)
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
        self.recent.as_deref().filter(|_| self.older.is_none()).and_then(oldest_of)
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
        let is_bounded = n_older + recent.len() / ENTRY_MIN < MAX_ENTRIES;
        // Most statements come in the order of their times: nothing is looked through for them.
        if is_newest && is_bounded {
            let grown = recent.len() + ENTRY_MIN + new.tie.len();
            let is_full = !recent.is_empty() && grown > RECENT_BYTES;
            let packed = packed(if is_full { &[] } else { recent }, &[new]);
            let recent = self.recent.replace(packed);
            if is_full {
                self.put_before(recent);
            }
            return true;
        }
        self.insert_between(new, is_bounded);
        is_newest
    }

    #[cold]
    fn put_before(&mut self, recent: Option<Arc<[u8]>>) {
        let Some(entries) = recent else { return };
        let before = self.older.take();
        let (n, bytes) = before.as_ref().map_or((0, 0), |it| (it.n_entries, it.heap_bytes));
        self.older = Some(Arc::new(Older {
            n_entries: n + Entries::of(entries_of(&entries)).count(),
            heap_bytes: bytes + 32 + size_of::<Older>() + entries.len(),
            entries,
            before,
        }));
    }

    #[cold]
    fn insert_between(&mut self, new: Entry<'_>, is_bounded: bool) {
        let is_after = |it: &Arc<Older>| {
            newest_of(&it.entries).is_none_or(|newest| newest.order() < new.order())
        };
        let among_recent = is_bounded && self.older.as_ref().is_none_or(is_after);
        let mut entries: Vec<Entry<'_>> = match among_recent {
            true => self.recent.iter().flat_map(|it| Entries::of(entries_of(it))).collect(),
            false => self.entries().collect(),
        };
        let Err(place) = entries.binary_search_by(|it| it.order().cmp(&new.order())) else {
            return;
        };
        entries.insert(place, new);
        if !among_recent && entries.len() > MAX_ENTRIES {
            bound(&mut entries);
        }
        let recent = packed(&[], &entries);
        self.recent = Some(recent);
        if !among_recent {
            self.older = None;
        }
    }

    /// The status of the whole order: what was said of it last.
    pub(crate) fn status(&self) -> Option<Status> {
        self.entries().filter(|it| it.line == 0).last().map(|it| it.status)
    }

    /// In one block, for the disk.
    #[inline]
    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        match (&self.recent, &self.older) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(recent), None) => Cow::Borrowed(entries_of(recent)),
            (Some(_), Some(_)) => {
                let mut block = Vec::new();
                let entries: Vec<Entry<'_>> = self.entries().collect();
                write(&entries, &mut block);
                Cow::Owned(block)
            }
        }
    }

    /// What [`Timeline::bytes`] gave; `None` if it cannot have: every entry whole and in order,
    /// no more than are ever kept.
    pub(crate) fn restore(bytes: &[u8]) -> Option<Timeline> {
        if bytes.is_empty() {
            return Some(Timeline::default());
        }
        let mut rest = Checked(bytes);
        let at = rest.instant()?;
        check_status(&mut rest)?;
        let n = rest.count().filter(|it| *it <= TIE_MAX)?;
        let tie = rest.bytes(n)?;
        let mut last = (at, Tie::of(tie));
        let (mut n, mut newest) = (1, bytes.len());
        while !rest.0.is_empty() {
            newest = rest.0.len();
            let at = at.checked_add(rest.count::<i64>()?)?;
            check_status(&mut rest)?;
            let (before, behind): (usize, usize) = (rest.count()?, rest.count()?);
            let shared = before.checked_add(behind).filter(|it| *it <= tie.len())?;
            let own = rest.count()?;
            let own = rest.bytes(own)?;
            let this = (at, Tie([&tie[..before], own, &tie[tie.len() - behind..]]));
            if last >= this || shared + own.len() > TIE_MAX {
                return None;
            }
            last = this;
            n += 1;
        }
        let tail = u16::try_from(newest).ok()?.to_le_bytes();
        let most = MAX_ENTRIES + MAX_LINES + 1;
        let recent = [bytes, &tail].concat().into();
        (n <= most).then_some(Timeline { recent: Some(recent), older: None })
    }

    /// Bytes kept outside.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.recent.as_ref().map_or(0, |it| 16 + it.len())
            + self.older.as_ref().map_or(0, |it| it.heap_bytes)
    }
}

/// Status and line of an entry, as they are written.
fn check_status(rest: &mut Checked<'_>) -> Option<()> {
    let status = rest.byte()?;
    Status::ALL.get(usize::from(status & !OF_LINE))?;
    (status & OF_LINE == 0 || rest.count::<u16>()? > 0).then_some(())
}

/// One allocation of its own size: a block, what comes behind it, and the length of the newest.
#[inline]
fn packed(block: &[u8], entries: &[Entry<'_>]) -> Arc<[u8]> {
    SCRATCH.with_borrow_mut(|grown| {
        grown.clear();
        grown.extend_from_slice(block);
        let newest = write(entries, grown);
        grown.extend_from_slice(&newest.to_le_bytes());
        grown.as_slice().into()
    })
}

/// Puts entries at the end of a block, or begins one; the length of the last.
#[inline]
fn write(entries: &[Entry<'_>], block: &mut Vec<u8>) -> u16 {
    let mut length = 0;
    for entry in entries {
        let before = block.len();
        let after = First::of(block);
        match after.map(|it| (entry.at.abs_diff(it.at), entry.tie.shared(it.tie))) {
            None => entry.write_first(block),
            Some((later, shared)) => entry.write_after(later, shared, block),
        }
        length = block.len() - before;
    }
    u16::try_from(length).expect("a tie of TIE_MAX bytes and some twenty more")
}

/// Without the entries that neither are among the newest nor say what holds now.
fn bound(entries: &mut Vec<Entry<'_>>) {
    let (mut seen, mut age) = ([false; MAX_LINES + 1], 0);
    entries.reverse();
    entries.retain(|it| {
        age += 1;
        let is_newest_of_line =
            seen.get_mut(usize::from(it.line)).is_some_and(|it| !std::mem::replace(it, true));
        age <= MAX_ENTRIES || is_newest_of_line
    });
    entries.reverse();
}

/// Reads a block.
struct Entries<'t> {
    first: Option<First<'t>>,
    rest: &'t [u8],
}

impl<'t> Entries<'t> {
    #[inline]
    fn of(block: &'t [u8]) -> Entries<'t> {
        Entries { first: None, rest: block }
    }
}

impl<'t> Iterator for Entries<'t> {
    type Item = Entry<'t>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'t>> {
        if self.rest.is_empty() {
            return None;
        }
        let mut reader = Reader(self.rest);
        let at = match self.first {
            None => reader.instant(),
            Some(first) => first.at.wrapping_add_unsigned(reader.count()),
        };
        let status = reader.bytes(1)[0];
        let line = if status & OF_LINE == 0 { 0 } else { reader.count() as u16 };
        let tie = match self.first {
            None => {
                let n = reader.count() as usize;
                let tie = reader.bytes(n);
                self.first = Some(First { at, tie });
                Tie::of(tie)
            }
            Some(first) => {
                let [before, behind, own] = std::array::from_fn(|_| reader.count() as usize);
                let end = first.tie.len() - behind;
                Tie([&first.tie[..before], reader.bytes(own), &first.tie[end..]])
            }
        };
        self.rest = reader.0;
        Some(Entry { at, status: Status::ALL[usize::from(status & !OF_LINE)], line, tie })
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
            let entry = Entry { at: n / 4, status, line: *line, tie: Tie::of(tie.as_bytes()) };
            timeline.insert(entry);
            timeline.insert(entry);
        }
        let bytes = timeline.bytes();
        let back = Timeline::restore(&bytes).expect("what was kept");
        assert_eq!((back.bytes(), back.newest_at()), (bytes.clone(), timeline.newest_at()));
        assert!(back.entries().eq(timeline.entries()) && back.status() == timeline.status());
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

    /// Goal: of a tie is kept what differs from the first one's, and all of it is told. Method: ties
    /// that are alike at both ends, at neither, and in more than there is of them.
    #[test]
    fn a_tie_is_told_by_another() {
        let ties = ["aa-1/aa", "aa-2/aa", "aa-/aa", "aa", "a", "", "aa-1/aa/aa", "b", "aaaaaaaa"];
        for (first, other) in ties.iter().flat_map(|a| ties.iter().map(move |b| (*a, *b))) {
            let [a, b] = [(5, first), (i64::from(u32::MAX), other)].map(|(at, tie)| {
                let (status, tie) = (Status::Paid, Tie::of(tie.as_bytes()));
                Entry { at, status, line: 300, tie }
            });
            let (mut block, mut alone) = (Vec::new(), Vec::new());
            let length = usize::from(write(&[a, b], &mut block));
            assert_eq!(block.len() - length, usize::from(write(&[a], &mut alone)));
            assert!(Entries::of(&block).eq([a, b]), "{first} {other}");
            let (before, behind) = b.tie.shared(first.as_bytes());
            assert_eq!(length, 5 + 3 + 3 + other.len() - before - behind, "{first} {other}");
            assert!(Timeline::restore(&block).is_some_and(|it| *it.bytes() == block));
        }
    }

    /// Goal: bytes are taken for a timeline only if a timeline is kept so. Method: one that is,
    /// with two entries exchanged, with one twice, with one too many, cut anywhere.
    #[test]
    fn comes_back_in_order_or_not() {
        let block = |entries: &[i64]| {
            let tie = Tie::of(b"1\0s");
            let entry = |at: &i64| Entry { at: *at, status: Status::Paid, line: 0, tie };
            let mut bytes = Vec::new();
            write(&entries.iter().map(entry).collect::<Vec<_>>(), &mut bytes);
            bytes
        };
        let restored = |entries: &[i64]| {
            let bytes = block(entries);
            Timeline::restore(&bytes).map(|it| *it.bytes() == bytes)
        };
        assert_eq!(restored(&[]), Some(true));
        assert_eq!(restored(&[-1, 0, 1]), Some(true));
        assert_eq!(restored(&[-1, 2, 1]), None);
        assert_eq!(restored(&[-1, -1, 1]), None);
        let most: Vec<i64> = (0..(MAX_ENTRIES + MAX_LINES + 2) as i64).collect();
        assert_eq!(restored(&most), None);
        assert_eq!(restored(&most[1..]), Some(true));
        let (one, two) = (block(&[3]), block(&[3, 4]));
        for cut in 1..two.len() {
            assert_eq!(Timeline::restore(&two[..cut]).is_some(), cut == one.len(), "{cut}");
        }
    }
}
