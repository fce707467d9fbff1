//! Event time: microseconds since the Unix epoch, and RFC 3339 both ways.

/// Microseconds since the Unix epoch.
pub type Micros = i64;

/// 9999-12-31T23:59:59.999999Z, the last instant that RFC 3339 can say.
pub const MAX_TIME: Micros = 253_402_300_799_999_999;

/// RFC 3339 (with any offset, any number of fraction digits, truncated to microseconds) to
/// microseconds; `None` if it is not one. A leap second (`:60`) is read as the next second.
pub fn parse_rfc3339(text: &str) -> Option<Micros> {
    let b = text.as_bytes();
    // Every part up to the seconds stands at a fixed place: one check for all digits.
    let (head, _) = b.split_first_chunk::<19>()?;
    let mut no_digit = false;
    let mut two = |i: usize| {
        let (h, l) = (head[i].wrapping_sub(b'0'), head[i + 1].wrapping_sub(b'0'));
        no_digit |= h > 9 || l > 9;
        i64::from(h) * 10 + i64::from(l)
    };
    let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
    let (hour, minute, second) = (two(11), two(14), two(17));
    let separators = head[4] == b'-'
        && head[7] == b'-'
        && matches!(head[10], b'T' | b't' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    if no_digit || !separators {
        return None;
    }
    if !(1..=12).contains(&month) || day < 1 || (day > 28 && day > days_in(year, month)) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut i = 19;
    let mut micros = 0;
    if b.get(i) == Some(&b'.') {
        let start = i + 1;
        i = start;
        while let Some(digit @ b'0'..=b'9') = b.get(i) {
            if i - start < 6 {
                micros = micros * 10 + i64::from(digit - b'0');
            }
            i += 1;
        }
        if i == start {
            return None;
        }
        for _ in (i - start)..6 {
            micros *= 10;
        }
    }
    let offset = match &b[i..] {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            offset_minutes(rest)? * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    Some(seconds * 1_000_000 + micros)
}

/// `hh:mm`
fn offset_minutes(text: &[u8]) -> Option<i64> {
    let &[a, b, b':', c, d] = text else { return None };
    let digits = [a, b, c, d].map(|it| i64::from(it.wrapping_sub(b'0')));
    let (h, m) = (digits[0] * 10 + digits[1], digits[2] * 10 + digits[3]);
    (digits.iter().all(|it| *it <= 9) && h <= 23 && m <= 59).then_some(h * 60 + m)
}

/// Microseconds to RFC 3339 in UTC: three fraction digits if they suffice, else six.
pub fn rfc3339(micros: Micros) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
    let (fraction, width) =
        if fraction % 1_000 == 0 { (fraction / 1_000, 3) } else { (fraction, 6) };
    let mut text = String::with_capacity(27);
    if !(0..=9_999).contains(&year) {
        text.push_str(&year.to_string());
    } else {
        push_digits(&mut text, year, 4);
    }
    let parts = [('-', month), ('-', day), ('T', h), (':', m), (':', s)];
    for (separator, part) in parts {
        text.push(separator);
        push_digits(&mut text, part, 2);
    }
    text.push('.');
    push_digits(&mut text, fraction, width);
    text.push('Z');
    text
}

/// The last `width` decimal digits.
fn push_digits(text: &mut String, number: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        text.push(char::from(b'0' + digit as u8));
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date: counts from 1 March, so that the leap
/// day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * of_year + 2) / 153;
    let day = of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(parse_rfc3339(text).map(rfc3339).as_deref(), expected, "{text}");
        };
        check("2026-01-01T00:00:00Z", Some("2026-01-01T00:00:00.000Z"));
        check("2026-02-28t23:59:59.1234567+01:30", Some("2026-02-28T22:29:59.123456Z"));
        check("1970-01-01 00:00:00.5Z", Some("1970-01-01T00:00:00.500Z"));
        check("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00.000Z"));
        check("2026-02-29T00:00:00Z", None);
        check("2026-01-01T00:00:00", None);
        check("2026-01-01T24:00:00Z", None);
        check("2026-01-01T00:00:00.Z", None);
        check("２026-01-01T00:00Z", None);
        check("", None);
    }

    proptest! {
        /// The kept library says the same of every instant it can say.
        #[test]
        fn agrees_with_jiff(micros in 0..MAX_TIME) {
            let text = rfc3339(micros);
            prop_assert_eq!(parse_rfc3339(&text), Some(micros));
            let theirs: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(theirs.as_microsecond(), micros);
        }

        /// What ours takes, the kept library takes alike, whatever was done to the text. (It takes
        /// more forms than RFC 3339 has, and stays at `:59` in a leap second.)
        #[test]
        fn takes_nothing_that_jiff_does_not(
            micros in 0..MAX_TIME - 2 * 86_400_000_000,
            fraction in "(\\.[0-9]{0,9})?",
            zone in "(Z|z|[+-][0-2][0-9]:[0-6][0-9])",
            at in 0usize..30,
            with in "[-+0-9:.TZ a]",
        ) {
            let mut text = format!("{}{fraction}{zone}", &rfc3339(micros)[..19]);
            let at = at.min(text.len() - 1);
            text.replace_range(at..=at, &with);
            let theirs = text.parse::<jiff::Timestamp>().ok().map(|it| it.as_microsecond());
            if let Some(ours) = parse_rfc3339(&text)
                && ours >= 0
                && !text.contains(":60")
            {
                prop_assert_eq!(Some(ours), theirs, "{}", text);
            }
        }
    }
}
