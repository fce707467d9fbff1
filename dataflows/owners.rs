//! Whose an entity was said to be, beside the one who stands; and that it is gone.
//!
//! # Meaning
//! Statements about one order or case may name different customers, of whom the newest stands.
//! What is about any of them goes when that one is erased, in whatever order the statements and the
//! erasure come: so the others are remembered, by fingerprint. What is gone remembers nothing but
//! that, and takes nothing in any more.
//!
//! # State
//! Nothing where all statements name one customer, as they nearly always do; else at most
//! [`MAX_OTHERS`] fingerprints, the smallest ones. An entity of which more customers were named is
//! not found by the rest of them.

use std::sync::Arc;

use schemas::names::Fingerprint;

use crate::packed::{Checked, Writer};

/// Most further customers remembered of one entity.
pub(crate) const MAX_OTHERS: usize = 16;

/// The further ones, ascending; an empty list: it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Others(Option<Arc<[Fingerprint]>>);

impl Others {
    /// Of an entity that is gone.
    pub(crate) fn gone() -> Others {
        Others(Some([].into()))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.as_ref().is_some_and(|it| it.is_empty())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Another one was named; 0: nobody was.
    pub(crate) fn add(&mut self, owner: Fingerprint) {
        let known = self.0.as_deref().unwrap_or(&[]);
        if owner == 0 || known.binary_search(&owner).is_ok() {
            return;
        }
        let mut all: Vec<Fingerprint> = known.iter().copied().chain([owner]).collect();
        all.sort_unstable();
        all.truncate(MAX_OTHERS);
        self.0 = Some(all.into());
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.0.as_deref().unwrap_or(&[]).iter().copied()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |it| 16 + size_of_val(&it[..]))
    }

    /// 0: none; else how many and one, and each.
    pub(crate) fn store(&self, into: &mut Writer<'_>) {
        into.count(self.0.as_ref().map_or(0, |it| it.len() as u64 + 1));
        self.each().for_each(|it| into.id(it));
    }

    pub(crate) fn restore(from: &mut Checked<'_>) -> Option<Others> {
        let n = match from.count::<usize>()? {
            0 => return Some(Others::default()),
            it => Some(it - 1).filter(|it| *it <= MAX_OTHERS)?,
        };
        let all = (0..n).map(|_| from.id()).collect::<Option<Vec<_>>>()?;
        all.is_sorted_by(|a, b| a < b).then(|| Others(Some(all.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: who was named does not depend on the order, and what is gone stays so. Method: more
    /// than are remembered, in two orders, through bytes.
    #[test]
    fn in_any_order() {
        let (mut up, mut down) = (Others::default(), Others::default());
        (1..40).for_each(|it| up.add(it));
        (0..40).rev().for_each(|it| down.add(it));
        assert_eq!(up, down);
        assert_eq!(up.each().collect::<Vec<_>>(), (1..=16).collect::<Vec<u128>>());
        for it in [up, Others::default(), Others::gone()] {
            let mut bytes = Vec::new();
            it.store(&mut Writer(&mut bytes));
            let mut from = Checked(&bytes);
            assert_eq!(Others::restore(&mut from), Some(it));
            assert_eq!(from.end(), Some(()));
        }
        assert!(Others::gone().is_gone() && !Others::default().is_gone());
    }
}
