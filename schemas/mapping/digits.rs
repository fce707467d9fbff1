//! Decimal numbers read from their digits, never through a float.
//!
//! In: a number as JSON writes it (`12.34`, `-7`, `1.767e12`). Out: an integer so many decimals
//! finer, and whether digits other than zero were left over.

/// A number, scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaled {
    /// The number times ten to the power asked for, cut towards zero.
    pub(super) value: i64,
    /// Digits other than zero were cut off.
    pub(super) cut: bool,
}

/// `number` (well-formed JSON) times ten to the power of `decimals`; `None` if it does not fit.
#[inline]
pub(super) fn scaled(number: &str, decimals: i32) -> Option<Scaled> {
    let bytes = number.as_bytes();
    // Most numbers are short, whole and not negative; eighteen digits always fit.
    if decimals == 0 && bytes.len() <= 18 {
        let mut value = 0_i64;
        let whole = bytes.iter().all(|it| {
            let digit = it.wrapping_sub(b'0');
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
            digit < 10
        });
        if whole {
            return Some(Scaled { value, cut: false });
        }
    }
    any(bytes, decimals)
}

fn any(bytes: &[u8], decimals: i32) -> Option<Scaled> {
    let (negative, bytes) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let end = bytes.iter().position(|it| matches!(it, b'e' | b'E')).unwrap_or(bytes.len());
    let exponent = bytes.get(end + 1..).map_or(0, exponent);
    let mantissa = &bytes[..end];
    let point = mantissa.iter().position(|it| *it == b'.').unwrap_or(end);
    // This many of the digits count; those after them are cut, missing ones are zero.
    let kept = (point as i64).saturating_add(exponent).saturating_add(i64::from(decimals));
    let (mut value, mut cut, mut place) = (0_i64, false, 0_i64);
    for digit in mantissa.iter().filter(|it| **it != b'.').map(|it| i64::from(it - b'0')) {
        if place < kept {
            value = value.checked_mul(10)?.checked_sub(digit)?;
        } else {
            cut |= digit != 0;
        }
        place += 1;
    }
    while place < kept && value != 0 {
        value = value.checked_mul(10)?;
        place += 1;
    }
    // Kept negative until here: the range of an i64 is one longer below zero.
    Some(Scaled { value: if negative { value } else { value.checked_neg()? }, cut })
}

/// An exponent; so far off that it does not matter where it has too many digits.
fn exponent(bytes: &[u8]) -> i64 {
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, bytes),
    };
    let far = 1_000_000_000;
    let value = digits.iter().fold(0_i64, |sum, it| (sum * 10 + i64::from(it - b'0')).min(far));
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_digits() {
        let check = |number: &str, decimals, expected: Option<(i64, bool)>| {
            let found = scaled(number, decimals).map(|it| (it.value, it.cut));
            assert_eq!(found, expected, "{number} at {decimals}");
        };
        check("12.34", 2, Some((1234, false)));
        check("12.3", 2, Some((1230, false)));
        check("12", 2, Some((1200, false)));
        check("12.340", 2, Some((1234, false)));
        check("12.345", 2, Some((1234, true)));
        check("-12.345", 2, Some((-1234, true)));
        check("0.1", 0, Some((0, true)));
        check("1.5e3", 0, Some((1500, false)));
        check("1.5E+3", 2, Some((150_000, false)));
        check("1500e-3", 0, Some((1, true)));
        check("1e-999999999999999999999", 0, Some((0, true)));
        check("0e999999999999999999999", 0, Some((0, false)));
        check("1e999999999999999999999", 0, None);
        check("9223372036854775807", 0, Some((i64::MAX, false)));
        check("9223372036854775808", 0, None);
        check("-9223372036854775808", 0, Some((i64::MIN, false)));
        check("1767225595621123456", -3, Some((1_767_225_595_621_123, true)));
    }

    proptest! {
        /// Cents written with any number of zeros after them come back.
        #[test]
        fn cents_come_back(cents in -1_000_000_000_000..1_000_000_000_000_i64, zeros in 0..4usize) {
            let sign = if cents < 0 { "-" } else { "" };
            let (whole, rest) = (cents.abs() / 100, cents.abs() % 100);
            let text = format!("{sign}{whole}.{rest:02}{}", "0".repeat(zeros));
            prop_assert_eq!(scaled(&text, 2), Some(Scaled { value: cents, cut: false }));
        }
    }
}
