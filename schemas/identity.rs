//! Who is who: what identifies a customer (`customer.identified`, `customer.unlinked`), and what a
//! person said of two customers (`customer.linked_by_hand`, `customer.separated_by_hand`), and who is
//! to be forgotten (`customer.erased`).
//!
//! # Meaning
//! Of the statements about one customer and one identifier the newest by event time stands, and so
//! it does of those about a pair of customers, whichever of the two is named first.

use crate::events::Text;

/// Most customers that one event erases.
pub const MAX_ERASED: usize = 32;

/// `customer.identified`, `customer.unlinked`
#[derive(Clone, Debug, PartialEq)]
pub struct Identified<'a> {
    /// The customer (also the subject).
    pub customer: Text<'a>,
    /// What sort of identifier it is, such as `email`.
    pub kind: Text<'a>,
    /// The identifier, as it was given.
    pub value: Text<'a>,
    /// ISO 3166-1 alpha-2 country in which a telephone number without a country code is read.
    pub country: Option<Text<'a>>,
}

/// `customer.linked_by_hand`, `customer.separated_by_hand`
#[derive(Clone, Debug, PartialEq)]
pub struct ByHand<'a> {
    /// One of the two (also the subject).
    pub customer: Text<'a>,
    /// The other.
    pub other: Text<'a>,
    /// Who says so.
    pub agent: Option<Text<'a>>,
    /// Why, in words.
    pub reason: Option<Text<'a>>,
}

/// `customer.erased`: what is about these customers goes, and nothing about them comes any more.
#[derive(Clone, Debug, PartialEq)]
pub struct Erased<'a> {
    /// 1 to [`MAX_ERASED`] customers; the subject is one of them.
    pub customers: Vec<Text<'a>>,
}
