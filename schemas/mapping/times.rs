//! Times as foreign systems write them: stated in the mapping, never guessed.
//!
//! In: a text or a number and the stated format. Out: microseconds since the Unix epoch.
//!
//! # Meaning
//! Local times are resolved in their zone as RFC 5545 says (jiff's *compatible*): a time that the
//! clock passed twice is its first passing, one that it jumped over is as late after the gap as
//! it was written after the gap's start. Fractions beyond the microsecond are cut.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};

use crate::time::{MAX_TIME, Micros, parse_rfc3339};

use super::digits;

/// How a time is written.
#[derive(Debug)]
pub(super) enum TimeFormat {
    /// RFC 3339.
    Rfc3339,
    /// A number since the Unix epoch; microseconds are it times ten to this power.
    Unix(i32),
    /// By a `strptime` format.
    Text(Box<TextFormat>),
}

/// A stated `strptime` format.
#[derive(Debug)]
pub(super) struct TextFormat {
    format: String,
    shape: Shape,
    /// Where the text itself names no offset.
    zone: Option<TimeZone>,
    /// The format has no time of day, and a date means its last microsecond.
    end_of_day: bool,
}

/// Formats met everywhere, read without the general machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `%Y-%m-%d`
    Date,
    /// `%Y-%m-%d %H:%M:%S`, or with `T`.
    Seconds(u8),
    Any,
}

/// What a format text can say, found out by writing a known time with it and reading it back.
pub(super) struct Abilities {
    /// It has an offset or a zone of its own.
    pub(super) offset: bool,
    /// It has a time of day.
    pub(super) time_of_day: bool,
}

/// Whether this is a format that gives at least a date; else why not.
pub(super) fn abilities(format: &str) -> Result<Abilities, String> {
    let known = DateTime::constant(2024, 2, 29, 13, 5, 7, 0);
    let zoned = known.to_zoned(TimeZone::UTC).map_err(|it| it.to_string())?;
    let text = strtime::format(format, &zoned).map_err(|it| it.to_string())?;
    let parts = strtime::parse(format, &text).map_err(|it| it.to_string())?;
    if parts.to_timestamp().is_ok() {
        return Ok(Abilities { offset: true, time_of_day: true });
    }
    match parts.to_date() {
        Ok(date) if date == known.date() => {
            Ok(Abilities { offset: false, time_of_day: parts.hour().is_some() })
        }
        _ => Err("it does not give year, month and day".into()),
    }
}

/// A zone by IANA name, `UTC`, or a fixed offset such as `-03:00`.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    match name.as_bytes() {
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|it| it.is_ascii_digit()) =>
        {
            let two = |a: &u8, b: &u8| i32::from(a - b'0') * 10 + i32::from(b - b'0');
            let seconds = (two(h1, h2) * 60 + two(m1, m2)) * 60;
            let signed = if *sign == b'-' { -seconds } else { seconds };
            let well_formed = two(h1, h2) < 24 && two(m1, m2) < 60;
            well_formed.then(|| Offset::from_seconds(signed).ok().map(TimeZone::fixed))?
        }
        _ => TimeZone::get(name).ok(),
    }
}

/// The zone that was probably meant.
pub(super) fn nearest_zone(name: &str) -> Option<String> {
    let names: Vec<String> = jiff::tz::db().available().map(|it| it.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    crate::nearest::nearest(name, &names).map(String::from)
}

impl TimeFormat {
    /// By a format text that [`abilities`] has approved; `zone` where the text has no offset.
    pub(super) fn text(format: &str, zone: Option<TimeZone>, end_of_day: bool) -> TimeFormat {
        let shape = match format {
            "%Y-%m-%d" | "%F" => Shape::Date,
            "%Y-%m-%d %H:%M:%S" | "%F %T" | "%Y-%m-%d %T" => Shape::Seconds(b' '),
            "%Y-%m-%dT%H:%M:%S" | "%FT%T" | "%Y-%m-%dT%T" => Shape::Seconds(b'T'),
            _ => Shape::Any,
        };
        let format = format.to_string();
        TimeFormat::Text(Box::new(TextFormat { format, shape, zone, end_of_day }))
    }

    /// What is expected, in words.
    pub(super) fn expected(&self) -> String {
        match self {
            TimeFormat::Rfc3339 => "an RFC 3339 time from 1970 to 9999".into(),
            TimeFormat::Unix(power) => {
                let unit = match power {
                    6 => "seconds",
                    3 => "milliseconds",
                    0 => "microseconds",
                    _ => "nanoseconds",
                };
                format!("{unit} since 1970, up to the year 9999")
            }
            TimeFormat::Text(it) => format!("a time like {:?}, from 1970 to 9999", it.format),
        }
    }

    /// A time given as text.
    #[inline]
    pub(super) fn of_text(&self, text: &str) -> Option<Micros> {
        let micros = match self {
            TimeFormat::Rfc3339 => parse_rfc3339(text)?,
            TimeFormat::Text(it) => it.read(text)?,
            TimeFormat::Unix(_) => {
                let mut scanner = crate::json::Scanner::over(text);
                let number = scanner.number().ok()?;
                // White space around a number is not part of one.
                if number.text.len() != text.len() {
                    return None;
                }
                return self.of_number(number.text);
            }
        };
        (0..=MAX_TIME).contains(&micros).then_some(micros)
    }

    /// A time given as a number, by its digits.
    #[inline]
    pub(super) fn of_number(&self, number: &str) -> Option<Micros> {
        let TimeFormat::Unix(power) = self else { return None };
        let micros = match power {
            // Whole milliseconds are what most systems write.
            3 => match digits::scaled(number, 0) {
                Some(it) if !it.cut => it.value.checked_mul(1_000)?,
                _ => digits::scaled(number, 3)?.value,
            },
            _ => digits::scaled(number, *power)?.value,
        };
        (0..=MAX_TIME).contains(&micros).then_some(micros)
    }
}

impl TextFormat {
    fn read(&self, text: &str) -> Option<Micros> {
        let (datetime, offset) = match self.shape {
            Shape::Date => (date(text.as_bytes(), 10)?.to_datetime(Time::midnight()), None),
            Shape::Seconds(separator) => (seconds(text.as_bytes(), separator)?, None),
            Shape::Any => {
                let parts = strtime::parse(&self.format, text).ok()?;
                if self.zone.is_none() {
                    return parts.to_timestamp().ok().map(|it| it.as_microsecond());
                }
                (parts.to_datetime().ok()?, parts.offset())
            }
        };
        let datetime = if self.end_of_day {
            datetime.date().to_datetime(Time::constant(23, 59, 59, 999_999_000))
        } else {
            datetime
        };
        let zone = match offset {
            Some(offset) => TimeZone::fixed(offset),
            None => self.zone.clone()?,
        };
        let timestamp = zone.to_ambiguous_timestamp(datetime).compatible().ok()?;
        Some(timestamp.as_microsecond())
    }
}

fn number(digits: &[u8]) -> Option<i16> {
    digits
        .iter()
        .try_fold(0, |sum, it| it.is_ascii_digit().then(|| sum * 10 + i16::from(it - b'0')))
}

fn small(digits: &[u8]) -> Option<i8> {
    number(digits).and_then(|it| i8::try_from(it).ok())
}

fn date(bytes: &[u8], len: usize) -> Option<Date> {
    if bytes.len() != len || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    Date::new(number(&bytes[..4])?, small(&bytes[5..7])?, small(&bytes[8..10])?).ok()
}

fn seconds(bytes: &[u8], separator: u8) -> Option<DateTime> {
    let date = date(bytes, 19)?;
    if bytes[10] != separator || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    // A leap second is the next second, as in RFC 3339 times.
    let (second, leap) = match small(&bytes[17..])? {
        60 => (59, 1),
        second => (second, 0),
    };
    let time = Time::new(small(&bytes[11..13])?, small(&bytes[14..16])?, second, 0).ok()?;
    date.to_datetime(time).checked_add(jiff::Span::new().seconds(leap)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::rfc3339;

    fn brazil(format: &str, end_of_day: bool) -> TimeFormat {
        TimeFormat::text(format, zone("America/Sao_Paulo"), end_of_day)
    }

    #[test]
    fn reads_what_was_stated_and_nothing_else() {
        let check = |format: &TimeFormat, text: &str, expected: Option<&str>| {
            assert_eq!(format.of_text(text).map(rfc3339).as_deref(), expected, "{text}");
        };
        let local = brazil("%Y-%m-%d %H:%M:%S", false);
        check(&local, "2016-10-04 10:41:17", Some("2016-10-04T13:41:17.000Z"));
        // The clock went from 00:00 to 01:00 on this day: 00:30 is half an hour after the gap.
        check(&local, "2016-10-16 00:30:00", Some("2016-10-16T03:30:00.000Z"));
        // The clock went back from 00:00 to 23:00: the first of the two passings.
        check(&local, "2017-02-18 23:30:00", Some("2017-02-19T01:30:00.000Z"));
        check(&local, "2016-10-04T10:41:17", None);
        check(&local, "2016-10-04 10:41:17Z", None);
        check(&local, "2016-13-04 10:41:17", None);
        check(&local, "1969-12-31 10:00:00", None);
        let any = brazil("%d/%m/%Y %H:%M", false);
        check(&any, "04/10/2016 10:41", Some("2016-10-04T13:41:00.000Z"));
        check(&any, "04/10/2016 10:41 ", None);
        let due = brazil("%Y-%m-%d", true);
        check(&due, "2016-11-28", Some("2016-11-29T01:59:59.999999Z"));
        check(&brazil("%Y-%m-%d", false), "2016-11-28", Some("2016-11-28T02:00:00.000Z"));
        let own = TimeFormat::text("%Y%m%dT%H%M%S%z", None, false);
        check(&own, "20161128T120000+0100", Some("2016-11-28T11:00:00.000Z"));
        check(&TimeFormat::Rfc3339, "2016-11-28T12:00:00+01:00", Some("2016-11-28T11:00:00.000Z"));
        let unix = TimeFormat::Unix(3);
        check(&unix, "1767225595621", Some("2025-12-31T23:59:55.621Z"));
        check(&unix, " 1767225595621", None);
        check(&unix, "-1", None);
        check(&unix, "1767225595621000", None);
        check(&TimeFormat::Unix(6), "1767225595.6215559", Some("2025-12-31T23:59:55.621555Z"));
        check(&TimeFormat::Unix(6), "1.767225595E9", Some("2025-12-31T23:59:55.000Z"));
        check(&TimeFormat::Unix(0), "1767225595621555", Some("2025-12-31T23:59:55.621555Z"));
        check(&TimeFormat::Unix(-3), "1767225595621555999", Some("2025-12-31T23:59:55.621555Z"));
    }

    /// The hand-written readers and the general one agree, day by day and hour by hour.
    #[test]
    fn the_short_ways_agree_with_the_long_one() {
        let short = brazil("%Y-%m-%d %H:%M:%S", false);
        let long = brazil("%Y-%m-%d %k:%M:%S", false);
        for day in 1..=31 {
            for hour in 0..=24 {
                for month in [2, 10] {
                    let text = format!("2016-{month:02}-{day:02} {hour:02}:30:59");
                    assert_eq!(short.of_text(&text), long.of_text(&text), "{text}");
                }
            }
        }
    }

    #[test]
    fn formats_are_checked_by_writing_and_reading() {
        assert!(abilities("%Y-%m-%d").is_ok_and(|it| !it.time_of_day && !it.offset));
        assert!(abilities("%d.%m.%y %H:%M").is_ok_and(|it| it.time_of_day && !it.offset));
        assert!(abilities("%Y-%m-%dT%H:%M:%S%:z").is_ok_and(|it| it.offset));
        assert!(abilities("%s").is_ok_and(|it| it.offset));
        assert!(abilities("%H:%M").is_err());
        assert!(abilities("%Y-%m-%d %!").is_err());
    }

    #[test]
    fn zones() {
        for name in ["America/Sao_Paulo", "UTC", "-03:00", "+05:30"] {
            assert!(zone(name).is_some(), "{name}");
        }
        for name in ["America/Sao Paulo", "-3", "-03:60", "+24:00", ""] {
            assert!(zone(name).is_none(), "{name}");
        }
    }
}
