//! Which customers are one person.
//!
//! ```text
//!  fold customers ─┬ what each carries ─▶ count per identifier ─▶ usable ones ─┐
//!   (told by       ├ what was said by hand of two ─────────────────────────────┼─▶ level 0, 1, 2 …
//!    [`told`])     │                                                           │   ([`level`])
//!                  └ what is known of each ─▶ put to its part ◀────────────────┘
//!                                              └─▶ profiles, identifiers, identity_conflicts,
//!                                                  and whose each is, for profile_health
//! ```
//!
//! # Meaning
//! A customer *carries* an identifier (kind, normalised value) if the newest statement of the two
//! says so. An identifier is *usable* if its kind is configured, it is not blocked
//! ([`Terms::judge`]), and at most as many customers carry it as its kind allows. Level 0 are the
//! links by hand, then the kinds in the order of trust. At each level the links join parts that
//! earlier levels made: a link is an identifier (or a pair) whose customers stand in two parts or
//! more. A component of a level is refused, in this order of reasons, if
//!
//! - `too_large`: it has more customers than [`Terms::max_members`];
//! - `separated`: two of its customers were separated by hand;
//! - `contradiction`: its parts carry two usable values of a veto kind which no single part of it
//!   carries together (not asked at level 0).
//!
//! Of a refused component no link of this level counts, and each is a row of `identity_conflicts`.
//! The person's id is the member with the smallest (first event time, customer id). All of it is a
//! function of what is carried and said, whatever the order. Tests: `tests`, `tests/oracle.rs`,
//! `tests/shape.rs`.
//!
//! # Invariants
//! A customer of whom no statement about identity was made is not told of: they cost one look at
//! their state, and have no row; the view `customers` has. Of a pair of customers the newest
//! statement by hand stands.
//!
//! # State
//! Per customer of whom such a statement was made: what is known (shared with the fold), its part,
//! its identifiers. What iterates are only links between customers, never customers alone. An
//! identifier that too many carry is a number, not a list: it meets nobody.
//!
//! # When it fails
//! The links of a level that join very many customers by a long chain are followed to its end before
//! they are refused: the epoch takes as many rounds as the chain is long.

pub(crate) mod known; // what was said of one customer
mod level; // the links of one level, and what becomes of them
mod normal; // identifiers as they are compared
mod reference; // all of it, plainly
mod relate;
mod terms; // which kinds, limits, vetoes
mod told; // what the fold of customers tells

pub use known::{MAX_BY_HAND, MAX_EVIDENCE, MAX_KINDS, MAX_VALUES};
pub use normal::normalised;
pub use terms::{Rank, Terms, set_terms, terms};

pub use level::Conflict;
pub(crate) use reference::plain;
pub(crate) use relate::{Whose, relate};
pub(crate) use told::{Member, Sums, Tells, Told};

use schemas::names::Name;

/// A customer: tenant and key text.
pub(crate) type Who = Name;

/// An identifier: what its kind is worth, and its name: tenant, kind and value.
pub(crate) type Mark = (Rank, Name);

/// The kind under which `identifiers` shows customers' own ids.
pub(crate) const CUSTOMER: &str = "customer";

/// The kind under which links by hand are told.
pub(crate) const BY_HAND: &str = "by_hand";

#[cfg(test)]
pub(crate) mod tests;
