//! What a single value may be: one place for both ways in, native and mapped.
//!
//! Each limit has a name, each rule is a question that a value answers. The published schemas say
//! the same as far as JSON Schema can.

use std::ops::RangeInclusive;

use crate::events::{Line, MAX_TEXT_BYTES};
use crate::names::{MAX_AMOUNT, MAX_IDENTIFIER_BYTES};

/// Units in one line of an order: a million is a warehouse, more is a mistake.
pub const QUANTITY: RangeInclusive<i64> = 1..=1_000_000;
/// Minor units.
pub const AMOUNT: RangeInclusive<i64> = 0..=MAX_AMOUNT;
/// A line of an order, counted from 1, up to [`crate::events::MAX_LINES`].
pub const LINE: RangeInclusive<i64> = 1..=256;
/// A bucket of time in which a load is measured, in minutes: at most a day.
pub const BUCKET: RangeInclusive<i64> = 1..=1_440;
/// A load, in whole units of its own.
pub const LOAD: RangeInclusive<i64> = 0..=MAX_AMOUNT;
/// How long a measurement of a process may take, in seconds: at most a year.
pub const MEASURED: RangeInclusive<i64> = 1..=31_622_400;
/// How many of something a process has, of which it has some.
pub const SOME: RangeInclusive<i64> = 1..=MAX_AMOUNT;
/// How many workers, or processors.
pub const WORKERS: RangeInclusive<i64> = 1..=65_535;
/// A rating.
pub const RATING: RangeInclusive<i64> = 1..=5;
/// A case's severity, 1 the most severe.
pub const SEVERITY: RangeInclusive<i64> = 1..=4;
/// Attempts at one message.
pub const ATTEMPTS: RangeInclusive<i64> = 0..=1_000_000;

/// 1 to 128 bytes without control characters. Anything else is allowed: identifiers are opaque.
#[inline]
pub fn is_identifier(text: &str) -> bool {
    // Most identifiers are plain ASCII: one pass without a branch tells.
    let plain = |it: &u8| (0x20..0x7f).contains(it);
    let all_plain = text.as_bytes().iter().fold(true, |all, it| all & plain(it));
    (1..=MAX_IDENTIFIER_BYTES).contains(&text.len())
        && (all_plain || !text.chars().any(char::is_control))
}

/// At most 32 KiB.
#[inline]
pub fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT_BYTES
}

/// Two upper-case letters, as ISO 3166-1 alpha-2 writes countries.
pub fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|it| it.is_ascii_uppercase())
}

/// What the lines of an order come to, unless it is above [`MAX_AMOUNT`].
#[inline]
pub fn amount_of(lines: &[Line<'_>]) -> Option<i64> {
    let mut amount: i64 = 0;
    for line in lines {
        amount = amount.checked_add(line.quantity.checked_mul(line.unit_price)?)?;
    }
    (amount <= MAX_AMOUNT).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        let check = |text: &str, expected| assert_eq!(is_identifier(text), expected, "{text:?}");
        check("", false);
        check("a", true);
        check("Müller / 50 %", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check(&"é".repeat(64), true);
        check(&"é".repeat(65), false);
        check("a\0b", false);
        check("a\u{7f}", false);
        check("a\u{9b}", false);
    }

    #[test]
    fn amounts_do_not_wrap() {
        let line = |quantity, unit_price| Line {
            sku: "A".into(),
            quantity,
            unit_price,
            ship_from: None,
            ship_to: None,
            carrier: None,
            seller: None,
        };
        assert_eq!(amount_of(&[line(2, 50), line(1, 1)]), Some(101));
        assert_eq!(amount_of(&[line(1, MAX_AMOUNT)]), Some(MAX_AMOUNT));
        assert_eq!(amount_of(&[line(1, MAX_AMOUNT), line(1, 1)]), None);
        assert_eq!(amount_of(&[line(1_000_000, MAX_AMOUNT)]), None);
    }
}
