//! What is known, packed; and of several who are one person, added up.
//!
//! # Meaning
//! Of a person purchases and texts of a day are those of all members together, and of an order or a
//! case the newest statement of each kind stands, whichever member it named: [`Facts`] as if all had
//! been one customer. The days of purchases and texts are those by which they were counted, each
//! member's own; those as of which the person is judged begin when the person's id says. Within the
//! first hour after midnight the two may be a day apart.

use std::sync::Arc;

use schemas::names::Name;
use schemas::rows::Value;
use serde::{Deserialize, Serialize};

use super::facts::{self, Facts, Head};
use super::{FIELDS, offset_of, values};
use crate::packed::Writer;
use crate::{Epoch, key_id};

/// What is known of a customer, or of a person: [`Facts`], packed. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Packed(Arc<[u8]>);

impl Packed {
    /// By way of `bytes`.
    pub(super) fn of(facts: &Facts, bytes: &mut Vec<u8>) -> Packed {
        bytes.clear();
        facts.pack(&mut Writer(bytes));
        Packed::from_bytes(bytes)
    }

    /// What [`Facts::pack`] wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Packed {
        Packed(bytes.into())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn heap_bytes(&self) -> usize {
        16 + self.0.len()
    }

    pub(super) fn head(&self) -> Head {
        facts::head(&self.0)
    }

    /// Appended to what is there.
    pub(super) fn unpack(&self, facts: &mut Facts) {
        // Made by `of`, or of bytes that a restore has unpacked already.
        facts.unpack(&self.0).expect("as it was packed");
    }

    /// Whether it is the very same, not looked into.
    pub(crate) fn is(&self, other: &Packed) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Of a person, of what is known of each member; none where there is nothing to say.
    pub(crate) fn united<'m>(
        person: &Name,
        members: impl Iterator<Item = &'m Packed>,
    ) -> Option<Packed> {
        let mut all = Facts { offset: offset_of(&key_id(person)), ..Facts::default() };
        let (mut one, mut members) = (Facts::default(), members.peekable());
        let first = members.next()?;
        first.unpack(&mut one);
        // Who is one customer is known as that customer is: it is held once.
        if members.peek().is_none() && one.offset == all.offset {
            return one.begins().map(|_| first.clone());
        }
        all.add(&one);
        for it in members {
            one.clear();
            it.unpack(&mut one);
            all.add(&one);
        }
        all.begins().map(|_| Packed::of(&all, &mut Vec::new()))
    }

    /// The fields of the row of whom it is about, as of an instant.
    pub(crate) fn judged(&self, whom: &Name, now: Epoch) -> Option<Vec<Value>> {
        let mut facts = Facts::default();
        self.unpack(&mut facts);
        let all: Vec<usize> = (0..FIELDS.len()).collect();
        values(whom, &facts, facts.day_at(now), &all)
    }

    /// The next instant after `after` at which time alone changes that.
    pub(crate) fn next_day(&self, after: Epoch) -> Option<Epoch> {
        self.head().next_day(after)
    }
}
