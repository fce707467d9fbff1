//! The attributes of a customer: the newest statement about each, packed.
//!
//! # Meaning
//! Of two statements about an attribute the one with the newer [stamp](crate::stamps) stands, whatever the order
//! of arrival. Of attributes by free name the [`MAX_NAMES`] first by text are kept.
//!
//! # State
//! One allocation of the bytes that are also kept on the disk: which of the fixed ones there are,
//! each as its stamp and its value, then the others with their names. Attributes of one event share
//! its stamp: it is written where it first occurs, later ones say how many stamps ago that was. A
//! customer of nine attributes takes some 220 bytes; as structs they took 500.
//!
//! # Why this way
//! Attributes change seldom: a statement takes all of them apart and puts them together again (a
//! microsecond), and a row walks through them.

use compact_str::CompactString;

use super::{Attributes, FIXED, MAX_NAMES};
use crate::packed::{Checked, Reader, Writer};

/// How many stamps ago one is still looked for: enough for an event after the other, and a bound
/// on the time for a customer of hundreds of attributes.
const STAMPS_BACK: usize = 16;

/// What one event says is seldom longer.
const ROOM: usize = 256;

/// The attributes, packed.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct Profile {
    packed: Box<[u8]>,
}

impl Profile {
    /// What an event says of them.
    pub(super) fn take(&mut self, said: &Attributes) {
        let mut all = self.unpacked();
        all.take(said);
        let mut packed = Vec::with_capacity(self.packed.len() + ROOM);
        all.pack(&mut Writer(&mut packed));
        self.packed = packed.into();
    }

    /// The value of a fixed one, if there is one.
    pub(super) fn fixed(&self, place: usize) -> Option<&str> {
        let (mask, rest) = self.packed.split_first()?;
        let mut rest = Reader(rest);
        if mask & 1 << place == 0 {
            return None;
        }
        let before = (0..place).filter(|it| mask & 1 << it != 0).count();
        let mut value = None;
        for _ in 0..=before {
            if rest.count() == 0 {
                let _stamp = (rest.int(), rest.text());
            }
            value = rest.maybe();
        }
        value
    }

    /// Those by free name that have a value, in the order of their names.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.unpacked().named.into_iter();
        named.filter_map(|(name, it)| Some((name, it.value?)))
    }

    /// All fixed ones.
    pub(super) fn all_fixed(&self) -> [Option<CompactString>; FIXED] {
        self.unpacked().fixed.map(|it| it.and_then(|it| it.value).map(CompactString::from))
    }

    /// As they are kept.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.packed
    }

    /// What [`Profile::bytes`] gave; `None` if it cannot have.
    pub(super) fn restore(bytes: &[u8]) -> Option<Profile> {
        let mut from = Checked(bytes);
        All::unpack(&mut from)?;
        from.end()?;
        Some(Profile { packed: bytes.into() })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        16 + size_of::<Profile>() + self.packed.len()
    }

    fn unpacked(&self) -> All<'_> {
        match self.packed.is_empty() {
            true => All::default(),
            false => All::unpack(&mut Checked(&self.packed)).expect("it was packed here"),
        }
    }
}

/// What several customers' attributes would be, were they one customer: the newest statement about
/// each stands.
#[allow(clippy::type_complexity)]
pub(crate) fn newest_of<'p>(
    all: impl Iterator<Item = &'p Profile>,
) -> ([Option<&'p str>; FIXED], Vec<(&'p str, &'p str)>) {
    let mut newest = All::default();
    all.for_each(|it| newest.take_all(it.unpacked()));
    let named = newest.named.into_iter().filter_map(|(name, it)| Some((name, it.value?)));
    (newest.fixed.map(|it| it.and_then(|it| it.value)), named.collect())
}

/// The newest statement about each attribute.
#[derive(Default)]
struct All<'p> {
    fixed: [Option<Kept<'p>>; FIXED],
    /// Sorted by name.
    named: Vec<(&'p str, Kept<'p>)>,
}

/// A statement: when it was made and by which event, and what it says.
#[derive(Clone, Copy)]
struct Kept<'p> {
    stamp: (i64, &'p str),
    value: Option<&'p str>,
}

impl<'p> All<'p> {
    fn take(&mut self, said: &'p Attributes) {
        let stamp = (said.stamp.at, said.stamp.tie.as_str());
        let newer = |it: &Kept<'_>| it.stamp < stamp;
        let kept = |value: &'p Option<CompactString>| Kept { stamp, value: value.as_deref() };
        for (place, value) in &said.fixed {
            let place = &mut self.fixed[usize::from(*place)];
            if place.as_ref().is_none_or(newer) {
                *place = Some(kept(value));
            }
        }
        for (name, value) in &said.named {
            match self.named.binary_search_by(|it| it.0.cmp(name.as_str())) {
                Ok(at) if newer(&self.named[at].1) => self.named[at].1 = kept(value),
                Ok(_) => {}
                Err(at) => {
                    self.named.insert(at, (name, kept(value)));
                    self.named.truncate(MAX_NAMES);
                }
            }
        }
    }

    fn take_all(&mut self, other: All<'p>) {
        for (mine, its) in self.fixed.iter_mut().zip(other.fixed) {
            if its.is_some_and(|its| mine.is_none_or(|mine| mine.stamp < its.stamp)) {
                *mine = its;
            }
        }
        for (name, its) in other.named {
            match self.named.binary_search_by(|it| it.0.cmp(name)) {
                Ok(at) if self.named[at].1.stamp < its.stamp => self.named[at].1 = its,
                Ok(_) => {}
                Err(at) => self.named.insert(at, (name, its)),
            }
        }
        self.named.truncate(MAX_NAMES);
    }

    fn pack(&self, into: &mut Writer<'_>) {
        let mut stamps = Vec::new();
        let set = (0..FIXED).filter(|it| self.fixed[*it].is_some());
        into.0.push(set.fold(0, |mask, it| mask | 1 << it));
        for kept in self.fixed.iter().flatten() {
            kept.pack(into, &mut stamps);
        }
        into.count(self.named.len() as u64);
        for (name, kept) in &self.named {
            into.text(name);
            kept.pack(into, &mut stamps);
        }
    }

    fn unpack(from: &mut Checked<'p>) -> Option<All<'p>> {
        let mut all = All::default();
        let mut stamps = Vec::new();
        let mask = from.byte().filter(|it| it >> FIXED == 0)?;
        for (place, kept) in all.fixed.iter_mut().enumerate() {
            if mask & 1 << place != 0 {
                *kept = Some(Kept::unpack(from, &mut stamps)?);
            }
        }
        let n = from.count::<usize>().filter(|it| *it <= MAX_NAMES)?;
        // Of each at least a length, a stamp and a value: three bytes.
        all.named.reserve_exact(n.min(from.0.len() / 3));
        for _ in 0..n {
            let name = from.text()?;
            if all.named.last().is_some_and(|it| it.0 >= name) {
                return None;
            }
            all.named.push((name, Kept::unpack(from, &mut stamps)?));
        }
        Some(all)
    }
}

impl<'p> Kept<'p> {
    /// `stamps`: those written so far.
    fn pack(&self, into: &mut Writer<'_>, stamps: &mut Vec<(i64, &'p str)>) {
        let back = stamps.iter().rev().take(STAMPS_BACK).position(|it| *it == self.stamp);
        into.count(back.map_or(0, |it| it as u64 + 1));
        if back.is_none() {
            into.int(self.stamp.0);
            into.text(self.stamp.1);
            stamps.push(self.stamp);
        }
        into.maybe(self.value);
    }

    fn unpack(from: &mut Checked<'p>, stamps: &mut Vec<(i64, &'p str)>) -> Option<Kept<'p>> {
        let stamp = match from.count::<usize>()? {
            0 => {
                let stamp = (from.int()?, from.text()?);
                stamps.push(stamp);
                stamp
            }
            back => *stamps.get(stamps.len().checked_sub(back)?)?,
        };
        Some(Kept { stamp, value: from.maybe()? })
    }
}
