//! A customer's cases: of each what was said of it last, by event time.
//!
//! In: [`Said`]. Out: how many are open.
//!
//! # Meaning
//! A set of cases, each with the newest statement, by (event time, id, source), that names both it
//! and the customer. A case is open unless that statement is a resolution. A function of the set
//! of events: the same in every order of arrival, and putting a statement in twice changes nothing.
//!
//! # Invariants
//! Kept are the [`MAX_CASES`] cases whose newest statements are the newest. A case's newest
//! statement only ever becomes newer, so once as many others are ahead of it, as many stay ahead
//! until it is spoken of again, later than they were: dropping it at once gives the same as
//! dropping it at the end. Deliberately absent: a preference for open cases. A resolution forgotten
//! would let an older opening that comes late open the case again, and arrival order would decide.
//!
//! # State
//! One allocation, packed, in the order of the statements: time (8 bytes), whether the case is
//! open, lengths of the tie and of the case (2 each), the tie, the case. Some 40 bytes a case;
//! nothing is reserved for growth.
//!
//! # Why this way
//! Nearly every customer has few cases, so finding one is a walk over some hundred bytes (0.1 µs a
//! statement, measured on one shared core). At [`MAX_CASES`] it is a walk over 180 KB, and the first
//! touch in an epoch copies them: 19 µs, for the few customers who are so busy. A map would be
//! dearer for all others.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::stamps::tie;

/// Most cases kept of one customer, resolved ones included: more than one per week for a lifetime.
/// At 400 bytes for the longest names, 1.6 MB of a state.
pub const MAX_CASES: usize = 4_096;

/// Time, open, length of the tie, length of the case.
const HEAD: usize = 13;

/// What an event says of a customer's case.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(super) word: Word,
    case: CompactString,
    tie: CompactString,
}

/// What was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    Opened,
    Assigned,
    Resolved,
}

impl Said {
    pub(super) fn of(event: &schemas::events::Event<'_>, case: &str, word: Word) -> Said {
        Said { word, case: case.into(), tie: tie(&event.id, &event.source) }
    }
}

/// The newest statement of each case, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Caseload {
    /// `case.opened` events.
    pub(super) n_opened: u64,
    packed: Vec<u8>,
}

impl Caseload {
    pub(super) fn take(&mut self, at: i64, said: &Said) {
        self.n_opened += u64::from(said.word == Word::Opened);
        let open = said.word != Word::Resolved;
        let (tie, case) = (said.tie.as_bytes(), said.case.as_bytes());
        put(&mut self.packed, &Entry { at, tie, case, open }, MAX_CASES);
    }

    pub(super) fn n_open(&self) -> u64 {
        Entries(&self.packed).filter(|it| it.open).count() as u64
    }

    /// The cases as they are kept, for the disk.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.packed
    }

    /// What [`Caseload::bytes`] gave; `None` if it cannot have: every entry whole and in order, each
    /// case once, no more than are ever kept.
    pub(super) fn restore(n_opened: u64, bytes: &[u8]) -> Option<Caseload> {
        let mut rest = bytes;
        let mut last: Option<(i64, &[u8], &[u8])> = None;
        let mut cases = Vec::new();
        while !rest.is_empty() {
            let (head, behind) = rest.split_first_chunk::<HEAD>()?;
            let (at, open, n_tie, n_case) = taken_apart(head);
            let (tie, behind) = behind.split_at_checked(n_tie)?;
            let (case, behind) = behind.split_at_checked(n_case)?;
            let order = (at, tie, case);
            if open > 1 || cases.len() == MAX_CASES || last.is_some_and(|it| it >= order) {
                return None;
            }
            last = Some(order);
            cases.push(case);
            rest = behind;
        }
        cases.sort_unstable();
        let twice = cases.windows(2).any(|it| it[0] == it[1]);
        (!twice).then(|| Caseload { n_opened, packed: bytes.to_vec() })
    }

    /// Bytes kept outside.
    pub(super) fn heap_bytes(&self) -> usize {
        16 + size_of::<Caseload>() + self.packed.capacity()
    }
}

/// A case and its newest statement.
struct Entry<'c> {
    /// Event time, microseconds since the Unix epoch.
    at: i64,
    /// See [`crate::stamps::tie`].
    tie: &'c [u8],
    case: &'c [u8],
    open: bool,
}

impl<'c> Entry<'c> {
    /// Two cases never share (time, tie) unless two events share an identity; then their names
    /// decide, so that the order is whole.
    fn order(&self) -> (i64, &'c [u8], &'c [u8]) {
        (self.at, self.tie, self.case)
    }

    fn bytes(&self) -> usize {
        HEAD + self.tie.len() + self.case.len()
    }

    fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&self.at.to_le_bytes());
        head[8] = self.open.into();
        head[9..11].copy_from_slice(&(self.tie.len() as u16).to_le_bytes());
        head[11..].copy_from_slice(&(self.case.len() as u16).to_le_bytes());
        head
    }
}

/// Time, open, length of the tie, length of the case.
fn taken_apart(head: &[u8; HEAD]) -> (i64, u8, usize, usize) {
    let at = i64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
    let length = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    (at, head[8], length(9), length(11))
}

/// Puts a statement in, if it is the newest of its case; keeps no more than `most` cases.
fn put(packed: &mut Vec<u8>, new: &Entry<'_>, most: usize) {
    let (mut place, mut older, mut n) = (packed.len(), None, 0);
    let mut entries = Entries(packed);
    loop {
        let from = packed.len() - entries.0.len();
        let Some(it) = entries.next() else { break };
        n += 1;
        if it.case == new.case {
            if it.order() >= new.order() {
                return;
            }
            older = Some(from..from + it.bytes());
        }
        if place == packed.len() && it.order() > new.order() {
            place = from;
        }
    }
    if older.is_none() && n >= most {
        let oldest = Entries(packed).next().map_or(0, |it| it.bytes());
        if place == 0 {
            return;
        }
        older = Some(0..oldest);
    }
    // What goes is older than what comes, so it lies before it.
    if let Some(older) = older {
        place -= older.len();
        packed.drain(older);
    }
    packed.reserve_exact(new.bytes());
    let bytes = new.head().into_iter().chain(new.tie.iter().copied());
    packed.splice(place..place, bytes.chain(new.case.iter().copied()));
}

/// Reads packed entries.
struct Entries<'c>(&'c [u8]);

impl<'c> Iterator for Entries<'c> {
    type Item = Entry<'c>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'c>> {
        let (head, rest) = self.0.split_first_chunk::<HEAD>()?;
        let (at, open, n_tie, n_case) = taken_apart(head);
        let (tie, rest) = rest.split_at(n_tie);
        let (case, rest) = rest.split_at(n_case);
        self.0 = rest;
        Some(Entry { at, tie, case, open: open == 1 })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Time, case, open; its place in the list is its id.
    type Statement = (i64, u8, bool, usize);

    /// Few instants, so that ties decide; few places, so that many cases fall out.
    const MOST: usize = 7;

    fn kept(said: &[Statement]) -> Vec<(String, bool)> {
        let mut packed = Vec::new();
        for (at, case, open, id) in said {
            let (tie, case) = (format!("{id:03}\0s"), format!("T{case}"));
            let (at, open) = (*at, *open);
            let entry = Entry { at, tie: tie.as_bytes(), case: case.as_bytes(), open };
            put(&mut packed, &entry, MOST);
            put(&mut packed, &entry, MOST);
        }
        let text = |it: &[u8]| String::from_utf8(it.to_vec()).expect("as it was");
        let found: Vec<_> = Entries(&packed).map(|it| (text(it.case), it.open)).collect();
        let back = Caseload::restore(0, &packed).expect("as it was kept");
        assert_eq!(back.bytes(), packed);
        assert_eq!(back.n_open(), found.iter().filter(|it| it.1).count() as u64);
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Goal: beyond its bound, too, a caseload is a function of the set of what was said.
        /// Method: statements of more cases than are kept, in two orders; compared with sorting
        /// and bounding all of them at once.
        #[test]
        fn bounded_the_same_in_every_order(
            said in prop::collection::vec((0..9_i64, 0..20_u8, any::<bool>()), 1..80),
            seed in any::<u64>(),
        ) {
            let numbered = said.into_iter().enumerate();
            let mut said: Vec<Statement> = numbered.map(|(n, it)| (it.0, it.1, it.2, n)).collect();
            let found = kept(&said);
            said.sort_by_key(|it| (it.3 as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(&kept(&said), &found);

            said.sort_by_key(|it| (it.0, it.3));
            let mut newest = BTreeMap::new();
            for (n, it) in said.iter().enumerate() {
                newest.insert(it.1, (n, it.2));
            }
            let mut plain: Vec<_> = newest.into_iter().map(|(case, it)| (it.0, case, it.1)).collect();
            plain.sort_unstable();
            plain.drain(..plain.len().saturating_sub(MOST));
            let plain: Vec<_> = plain.into_iter().map(|it| (format!("T{}", it.1), it.2)).collect();
            prop_assert_eq!(found, plain);
        }
    }

    /// Goal: the bound is the one that the field's words name, and a busy customer's statement
    /// costs what the head of this file says. Method: one case more than are kept, oldest first.
    #[test]
    fn as_many_as_the_words_say() {
        let mut cases = Caseload::default();
        for n in 0..=MAX_CASES {
            let case = format!("{n}").into();
            let said = Said { word: Word::Opened, case, tie: "1\0s".into() };
            cases.take(n as i64, &said);
        }
        assert_eq!((cases.n_opened, cases.n_open()), (MAX_CASES as u64 + 1, MAX_CASES as u64));
        let field = crate::customers::DEF.fields.iter().find(|it| it.name == "n_open_cases");
        assert!(field.expect("a field").words.contains("4,096") && MAX_CASES == 4_096);
        assert!(Caseload::restore(0, cases.bytes()).is_some());
        let first = Entry { at: -1, tie: b"", case: b"x", open: true };
        let one_more = [&first.head()[..], b"x", cases.bytes()].concat();
        assert!(Caseload::restore(0, &one_more).is_none());
    }

    /// Goal: bytes are taken for a caseload only if one is kept so. Method: one that is, with two
    /// entries exchanged, with one twice, with a case twice, with a flag that is none.
    #[test]
    fn comes_back_in_order_or_not() {
        let restored = |entries: &[(i64, &str)]| {
            let mut bytes = Vec::new();
            for (at, case) in entries {
                let it = Entry { at: *at, tie: b"1\0s", case: case.as_bytes(), open: true };
                bytes.extend_from_slice(&it.head());
                bytes.extend_from_slice(it.tie);
                bytes.extend_from_slice(it.case);
            }
            Caseload::restore(0, &bytes).map(|it| it.bytes() == bytes)
        };
        assert_eq!(restored(&[]), Some(true));
        assert_eq!(restored(&[(-1, "b"), (0, "a"), (0, "c")]), Some(true));
        assert_eq!(restored(&[(0, "a"), (-1, "b")]), None);
        assert_eq!(restored(&[(0, "a"), (0, "a")]), None);
        assert_eq!(restored(&[(0, "a"), (1, "a")]), None);
        let mut bytes = Entry { at: 0, tie: b"", case: b"a", open: true }.head().to_vec();
        bytes.push(b'a');
        assert!(Caseload::restore(0, &bytes).is_some());
        bytes[8] = 2;
        assert!(Caseload::restore(0, &bytes).is_none());
    }
}
