//! Strings: the run without escapes, eight bytes at a time, and the escapes.

use std::borrow::Cow;

use super::{Fault, FaultKind, Scanner};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of every byte that ends a run: quote, backslash, control character. Bytes above
/// the lowest one marked may be marked wrongly (a borrow runs through them); the lowest is right.
#[inline(always)]
fn ends(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let zero = |it: u64| it.wrapping_sub(ONES) & !it;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(quote) | zero(backslash) | control) & HIGH
}

/// Goes to the next quote, backslash or control character and returns it; 0 at the end.
#[inline(always)]
fn run<'a>(it: &mut Scanner<'a>) -> u8 {
    while let Some(chunk) = it.bytes[it.at..].first_chunk::<8>() {
        let found = ends(u64::from_le_bytes(*chunk));
        if found != 0 {
            let n = (found.trailing_zeros() / 8) as usize;
            it.at += n;
            return it.byte();
        }
        it.at += 8;
    }
    while it.at < it.bytes.len() && ends(u64::from(it.byte()) | !0xff & (ONES * b'x' as u64)) == 0 {
        it.at += 1;
    }
    it.byte()
}

/// A string whose opening quote has been read.
#[inline(always)]
pub(super) fn rest_of_string<'a>(it: &mut Scanner<'a>) -> Result<Cow<'a, str>, Fault> {
    let start = it.at;
    if run(it) == b'"' {
        let text = &it.text[start..it.at];
        it.at += 1;
        return Ok(Cow::Borrowed(text));
    }
    with_escapes(it, start).map(Cow::Owned)
}

#[cold]
fn with_escapes(it: &mut Scanner<'_>, start: usize) -> Result<String, Fault> {
    let mut out = String::from(&it.text[start..it.at]);
    loop {
        match it.byte() {
            b'"' => {
                it.at += 1;
                return Ok(out);
            }
            b'\\' => out.push(escape(it)?),
            _ if it.at == it.bytes.len() => return Err(it.expected("the end of a string")),
            _ => return Err(Fault { offset: it.at, kind: FaultKind::ControlCharacter }),
        }
        let start = it.at;
        run(it);
        out.push_str(&it.text[start..it.at]);
    }
}

fn escape(it: &mut Scanner<'_>) -> Result<char, Fault> {
    let start = it.at;
    it.at += 1;
    let plain = match it.byte() {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let lone = Fault { offset: start, kind: FaultKind::LoneSurrogate };
            let first = hex(it)?;
            let code = match first {
                0xD800..=0xDBFF => {
                    if !it.bytes[it.at..].starts_with(b"\\u") {
                        return Err(lone);
                    }
                    it.at += 1;
                    match hex(it)? {
                        second @ 0xDC00..=0xDFFF => {
                            0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                        }
                        _ => return Err(lone),
                    }
                }
                _ => first,
            };
            return char::from_u32(code).ok_or(lone);
        }
        _ => return Err(it.expected("an escape of JSON")),
    };
    it.at += 1;
    Ok(plain)
}

/// Four hexadecimal digits after the `u` that stands here.
fn hex(it: &mut Scanner<'_>) -> Result<u32, Fault> {
    let mut value = 0;
    for _ in 0..4 {
        it.at += 1;
        let Some(digit) = char::from(it.byte()).to_digit(16) else {
            return Err(it.expected("four hexadecimal digits"));
        };
        value = value * 16 + digit;
    }
    it.at += 1;
    Ok(value)
}
