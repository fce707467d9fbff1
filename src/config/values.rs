//! Sizes and durations as people write them: the unit is part of the value.

use std::time::Duration;

/// Units of time, in microseconds, smallest first.
const TIME_UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// Units of size, in bytes, smallest first; the first of equal ones is written.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// What a duration looks like, in words.
pub const A_DURATION: &str = "a duration with its unit (us, ms, s, min, h, d) such as \"500ms\"";
/// What a size looks like, in words.
pub const A_SIZE: &str =
    "a size with its unit (B, KiB, MiB, GiB, TiB, kB, MB, ..) such as \"64 MiB\"";

/// `"500ms"`, `"1.5 s"`, `"7 d"`; `None` without a unit or below a microsecond.
pub fn duration(text: &str) -> Option<Duration> {
    quantity(text, TIME_UNITS).map(Duration::from_micros)
}

/// `"64 MiB"`, `"10MB"`; `None` without a unit or with a part of a byte.
pub fn size(text: &str) -> Option<u64> {
    quantity(text, SIZE_UNITS)
}

/// A duration in the largest unit that says it exactly.
pub fn show_duration(it: Duration) -> String {
    show(u64::try_from(it.as_micros()).unwrap_or(u64::MAX), TIME_UNITS, "")
}

/// A size in the largest binary unit that says it exactly.
pub fn show_size(it: u64) -> String {
    show(it, &SIZE_UNITS[..5], " ")
}

fn show(value: u64, units: &[(&str, u64)], space: &str) -> String {
    let fits = units.iter().rev().find(|(_, factor)| value.is_multiple_of(*factor) && value > 0);
    let (unit, factor) = fits.unwrap_or(&units[0]);
    format!("{}{space}{unit}", value / factor)
}

/// Digits, perhaps a fraction, a unit. From the digits, never through a float.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let (number, unit) = (text[..end].replace('_', ""), text[end..].trim_start());
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 12 {
        return None;
    }
    let tenth = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = u128::from(factor) * fraction.parse::<u128>().ok()?;
    if parts % tenth != 0 {
        return None;
    }
    let whole = u128::from(factor).checked_mul(whole.parse().ok()?)?;
    u64::try_from(whole.checked_add(parts / tenth)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a value means what it says, and only with its unit. Method: tables, both ways.
    #[test]
    fn reads_and_writes_units() {
        let time = |text: &str, expected: Option<&str>| {
            assert_eq!(duration(text).map(show_duration).as_deref(), expected, "{text}");
        };
        time("500ms", Some("500ms"));
        time("1.5 s", Some("1500ms"));
        time(" 7 d ", Some("7d"));
        time("168h", Some("7d"));
        time("90min", Some("90min"));
        time("0s", Some("0us"));
        time("500", None);
        time("1.0000001s", None);
        time("-1s", None);
        time("5 minutes", None);
        time(".5s", None);
        time("99999999999999999999d", None);
        let bytes = |text: &str, expected: Option<&str>| {
            assert_eq!(size(text).map(show_size).as_deref(), expected, "{text}");
        };
        bytes("64 MiB", Some("64 MiB"));
        bytes("64MiB", Some("64 MiB"));
        bytes("1.5 KiB", Some("1536 B"));
        bytes("1 MB", Some("1000000 B"));
        bytes("65_536 B", Some("64 KiB"));
        bytes("64", None);
        bytes("64 mib", None);
        bytes("0.3 B", None);
    }
}
