//! Records of a foreign database's tables: what a change stream says of one of them.
//!
//! # Meaning
//! A record is named by (table, key). Of all that is said of it the newest *version* stands: the
//! position in the source's own log, as text, ordered by [`compare_versions`]. So the same changes
//! give the same record in every order, however often they come.

use std::cmp::Ordering;

use crate::events::Text;

/// Longest `fields` of a record, in bytes of its JSON: as much as an event may have.
pub const MAX_FIELDS_BYTES: usize = crate::decode::MAX_EVENT_BYTES;

/// `record.upserted`: the whole of a record, as it is from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordUpserted<'a> {
    /// The table, such as `public.orders`.
    pub table: Text<'a>,
    /// The record in it: the parts of its key percent-encoded, joined by `/` (also the subject).
    pub key: Text<'a>,
    /// Its columns: the text of a JSON object, as it was written.
    pub fields: Text<'a>,
    /// The position in the source's log.
    pub version: Text<'a>,
}

/// `record.deleted`: there is no such record from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordDeleted<'a> {
    /// The table.
    pub table: Text<'a>,
    /// The record in it (also the subject).
    pub key: Text<'a>,
    /// The position in the source's log.
    pub version: Text<'a>,
}

/// Which of two versions is the older: runs of digits count as the numbers they are, everything
/// else byte by byte (`9/5` before `10/4`, `a9` before `b1`). Versions that differ only in leading
/// zeros are ordered by their text, so that equal means equal.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (number(&mut left), number(&mut right));
            // Without leading zeros the longer number is the larger.
            match m.len().cmp(&n.len()).then(m.cmp(n)) {
                Ordering::Equal => {}
                other => return other,
            }
        } else if x == y {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return x.cmp(y);
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The digits that come next, without leading zeros.
fn number<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let n = bytes.iter().take_while(|it| it.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(n);
    *bytes = rest;
    let zeros = digits.iter().take_while(|it| **it == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positions_count_as_numbers() {
        let rising =
            ["", "0/0", "0/1", "9/5", "10/4", "10/4/1", "66756335160/1", "a9", "a10", "b1"];
        for (n, a) in rising.iter().enumerate() {
            for (m, b) in rising.iter().enumerate() {
                assert_eq!(compare_versions(a, b), n.cmp(&m), "{a} {b}");
            }
        }
        assert_eq!(compare_versions("007", "7"), Ordering::Less);
        assert_eq!(compare_versions("007", "8"), Ordering::Less);
    }

    proptest! {
        /// Goal: an order in which the newest is the same whoever comes first. Method: any three.
        #[test]
        fn versions_have_one_order(all in prop::collection::vec("[0-2/a]{0,6}", 3)) {
            let [a, b, c] = [&all[0], &all[1], &all[2]];
            prop_assert_eq!(compare_versions(a, b), compare_versions(b, a).reverse());
            prop_assert_eq!(compare_versions(a, b) == Ordering::Equal, a == b);
            if compare_versions(a, b).is_lt() && compare_versions(b, c).is_lt() {
                prop_assert!(compare_versions(a, c).is_lt());
            }
        }
    }
}
