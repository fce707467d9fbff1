//! One reader per kind of field: a value of that kind, or what is wrong with it.
//!
//! Told to go on after a problem, a reader gives some value of its kind: it is never used.

use std::ops::RangeInclusive;

use super::report::{At, IDENTIFIER, OUT_OF_RANGE, Stop, TIME, TOO_LARGE, Tell, WRONG_SHAPE};
use super::report::{missing, problem};
use crate::events::{Status, Text};
use crate::json::{Kind, Scanner};
use crate::limits::{is_country, is_identifier, is_text};
use crate::names::Currency;
use crate::nearest::nearest;
use crate::time::{MAX_TIME, Micros, parse_rfc3339};

const AN_IDENTIFIER: &str = "an identifier: text of 1 to 128 bytes without control characters";
const A_TIME: &str = "a time as RFC 3339 writes it, from 1970 on";
const A_CURRENCY: &str = "a currency of ISO 4217: three upper-case letters";

/// A value of the wrong kind.
#[cold]
pub(super) fn mistyped(
    s: &mut Scanner<'_>,
    tell: &mut impl Tell,
    at: At<'_>,
    expected: &str,
) -> Result<(), Stop> {
    let found = s.skip()?;
    tell.tell(problem(WRONG_SHAPE, at, expected, found))
}

/// Text since `start`, without the white space before it.
#[cold]
fn since<'a>(s: &Scanner<'a>, start: usize) -> &'a str {
    s.text()[start..s.offset()].trim_start()
}

/// Text that must pass `good`, else `code` and `expected` are told.
#[inline(always)]
fn text_that<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
    at: At<'_>,
    good: impl Fn(&str) -> bool,
    code: &'static str,
    expected: &'static str,
) -> Result<Text<'a>, Stop> {
    if s.peek()? != Kind::String {
        mistyped(s, tell, at, expected)?;
        return Ok(Text::default());
    }
    let start = s.offset();
    let text = s.string()?;
    if !good(&text) {
        let length = match text.len() {
            0..=128 => String::new(),
            n => format!(" ({n} bytes)"),
        };
        let mut told = problem(code, at, expected, since(s, start));
        told.found.push_str(&length);
        tell.tell(told)?;
    }
    Ok(text)
}

#[inline]
pub(super) fn identifier<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
    at: At<'_>,
) -> Result<Text<'a>, Stop> {
    text_that(s, tell, at, is_identifier, IDENTIFIER, AN_IDENTIFIER)
}

#[inline]
pub(super) fn text<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
    at: At<'_>,
) -> Result<Text<'a>, Stop> {
    text_that(s, tell, at, is_text, TOO_LARGE, "text of at most 32 KiB")
}

pub(super) fn country<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
    at: At<'_>,
) -> Result<Text<'a>, Stop> {
    let expected = "a country of ISO 3166-1: two upper-case letters";
    text_that(s, tell, at, is_country, OUT_OF_RANGE, expected)
}

#[inline]
pub(super) fn currency(
    s: &mut Scanner<'_>,
    tell: &mut impl Tell,
    at: At<'_>,
) -> Result<Currency, Stop> {
    let good = |it: &str| Currency::parse(it).is_some();
    let text = text_that(s, tell, at, good, OUT_OF_RANGE, A_CURRENCY)?;
    Ok(Currency::parse(&text).unwrap_or_default())
}

#[inline]
pub(super) fn status(
    s: &mut Scanner<'_>,
    tell: &mut impl Tell,
    at: At<'_>,
) -> Result<Status, Stop> {
    if s.peek()? == Kind::String {
        let start = s.offset();
        let text = s.string()?;
        if let Some(status) = Status::parse(&text) {
            return Ok(status);
        }
        tell.tell(not_a_status(at, &text, since(s, start)))?;
    } else {
        mistyped(s, tell, at, "a status")?;
    }
    Ok(Status::Placed)
}

#[cold]
fn not_a_status(at: At<'_>, text: &str, found: &str) -> crate::problem::Problem {
    let names = Status::ALL.map(Status::as_str);
    let mut expected = format!("one of {}", names.join(", "));
    if let Some(meant) = nearest(text, &names) {
        expected.push_str(&format!(" (perhaps {meant})"));
    }
    problem(OUT_OF_RANGE, at, expected, found)
}

/// An integer, from its digits.
#[inline]
pub(super) fn integer(
    s: &mut Scanner<'_>,
    tell: &mut impl Tell,
    at: At<'_>,
    range: &RangeInclusive<i64>,
) -> Result<i64, Stop> {
    if s.peek()? != Kind::Number {
        mistyped(s, tell, at, &an_integer(range))?;
        return Ok(*range.start());
    }
    let number = s.number()?;
    match number.as_i64() {
        Some(value) if range.contains(&value) => Ok(value),
        _ => {
            let whole = number.text.bytes().skip(1).all(|it| it.is_ascii_digit());
            let code = if whole && number.text != "-0" { OUT_OF_RANGE } else { WRONG_SHAPE };
            tell.tell(problem(code, at, an_integer(range), number.text))?;
            Ok(*range.start())
        }
    }
}

#[cold]
fn an_integer(range: &RangeInclusive<i64>) -> String {
    format!("an integer from {} to {}", range.start(), range.end())
}

/// An instant from 1970 on. `code`: the event's own time has a code of its own.
#[inline]
fn instant(
    s: &mut Scanner<'_>,
    tell: &mut impl Tell,
    at: At<'_>,
    code: &'static str,
) -> Result<Micros, Stop> {
    if s.peek()? == Kind::String {
        let start = s.offset();
        let text = s.string()?;
        match parse_rfc3339(&text) {
            Some(time) if (0..=MAX_TIME).contains(&time) => return Ok(time),
            _ => tell.tell(problem(code, at, A_TIME, since(s, start)))?,
        }
    } else {
        let found = s.skip()?;
        let code = if code == TIME { TIME } else { WRONG_SHAPE };
        tell.tell(problem(code, at, A_TIME, found))?;
    }
    Ok(0)
}

/// When something is to happen.
pub(super) fn time(s: &mut Scanner<'_>, tell: &mut impl Tell, at: At<'_>) -> Result<Micros, Stop> {
    instant(s, tell, at, OUT_OF_RANGE)
}

/// When the event happened.
#[inline]
pub(super) fn event_time(s: &mut Scanner<'_>, tell: &mut impl Tell) -> Result<Micros, Stop> {
    instant(s, tell, At::Attribute("time"), TIME)
}

/// `null` says nothing.
#[inline(always)]
pub(super) fn optional<'a, T>(
    s: &mut Scanner<'a>,
    read: impl FnOnce(&mut Scanner<'a>) -> Result<T, Stop>,
) -> Result<Option<T>, Stop> {
    if s.peek()? == Kind::Null {
        s.null()?;
        return Ok(None);
    }
    read(s).map(Some)
}

/// A field that must be there.
#[inline(always)]
pub(super) fn required<T: Default>(
    value: Option<T>,
    tell: &mut impl Tell,
    at: At<'_>,
    expected: &str,
) -> Result<T, Stop> {
    match value {
        Some(value) => Ok(value),
        None => {
            tell.tell(missing(WRONG_SHAPE, at, expected))?;
            Ok(T::default())
        }
    }
}
