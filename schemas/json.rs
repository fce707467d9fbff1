//! The strict JSON scanner that everything decodes through.
//!
//! In: the bytes of one record. Out: its parts, pulled in the order in which they are written,
//! borrowed from it.
//!
//! # Meaning
//! RFC 8259, and where that leaves a choice the strict side of it, so that no two readers can
//! take one record for two different things:
//!
//! | point | decision |
//! |---|---|
//! | a key twice in one object | refused in every object that is read, keys being compared after their escapes are resolved; in a part that is skipped nobody can take one for the other, and RFC 8259 (and the suite) has it well-formed |
//! | bytes that are not UTF-8 | refused, once for the whole record, before anything else is looked at |
//! | byte order mark | refused: JSON text is UTF-8 and needs none |
//! | half a surrogate pair | refused: there is no such character |
//! | `\u0000` in a string | accepted here; identifiers refuse it |
//! | numbers | any size and precision is well-formed; one that does not fit is refused where an integer is wanted, as are `1.0`, `1e3` and `-0`; nothing goes through a float |
//! | nesting | 64 objects and arrays inside each other, the outermost counted; more is refused |
//! | bytes after the value | refused, white space excepted |
//! | comments, trailing commas, `NaN`, single quotes, raw control characters | refused |
//!
//! `tests/json_conformance.rs` holds this against the published parsing suite.
//!
//! # Invariants
//! Never panics, never recurses deeper than [`MAX_DEPTH`], allocates only for strings that have
//! escapes and for objects of more than a few keys. After an error the scanner stands anywhere.
//!
//! # Why this way
//! A pull scanner lets the caller decide by the key what to do with a value, so that a record is
//! read once, straight into its type. Looking for the end of a string eight bytes at a time beats
//! a call to memchr on the short strings that events are made of, and finds raw control
//! characters on the way.

mod fault; // what is not JSON, and where
mod keys; // whether a key was there before
mod text; // strings

use std::borrow::Cow;

pub use fault::{Fault, FaultKind};
use keys::Keys;

/// Deepest nesting of objects and arrays. Events of the contract need four; foreign records
/// seldom ten; the limit keeps a hostile record from exhausting the stack.
pub const MAX_DEPTH: u32 = 64;

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// `-` or a digit
    Number,
    /// `t` or `f`
    Bool,
    /// `n`
    Null,
}

/// A number as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'a> {
    /// Its digits, sign, fraction and exponent: well-formed, of any size.
    pub text: &'a str,
}

impl Number<'_> {
    /// As an integer: written without fraction and exponent, and fitting. `-0` is none.
    #[inline]
    pub fn as_i64(&self) -> Option<i64> {
        let bytes = self.text.as_bytes();
        let (negative, digits) = match bytes.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, bytes),
        };
        // Nineteen digits may overflow an i64, twenty always do; eighteen never.
        if digits.len() > 18 || (negative && digits == b"0") {
            return self.long_i64();
        }
        let mut value: i64 = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + i64::from(digit);
        }
        Some(if negative { -value } else { value })
    }

    #[cold]
    fn long_i64(&self) -> Option<i64> {
        if self.text == "-0" { None } else { self.text.parse().ok() }
    }
}

/// Reads one JSON text, part by part.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of these bytes; the whole is checked to be UTF-8.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<Scanner<'a>, Fault> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with('\u{feff}') => Ok(Scanner::over(text)),
            Ok(_) => Err(Fault { offset: 0, kind: FaultKind::ByteOrderMark }),
            Err(error) => Err(Fault { offset: error.valid_up_to(), kind: FaultKind::NotUtf8 }),
        }
    }

    /// A scanner over text, such as a value that [`Scanner::skip`] gave. Offsets count from its
    /// start.
    #[inline]
    pub fn over(text: &'a str) -> Scanner<'a> {
        Scanner { text, bytes: text.as_bytes(), at: 0, depth: 0 }
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The whole text that is being read.
    #[inline]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The kind of the next value, which stays unread.
    #[inline]
    pub fn peek(&mut self) -> Result<Kind, Fault> {
        match self.next_byte() {
            b'"' => Ok(Kind::String),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::Array),
            b't' | b'f' => Ok(Kind::Bool),
            b'n' => Ok(Kind::Null),
            _ => Err(self.expected("a value")),
        }
    }

    /// A string; borrowed unless it has escapes.
    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.next_byte() != b'"' {
            return Err(self.expected("a string"));
        }
        self.at += 1;
        text::rest_of_string(self)
    }

    /// A number, as written.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>, Fault> {
        let first = self.next_byte();
        let start = self.at;
        if first == b'-' {
            self.at += 1;
        }
        match self.byte() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ if first == b'-' => return Err(self.expected("a digit")),
            _ => return Err(self.expected("a number")),
        }
        if matches!(self.byte(), b'.' | b'e' | b'E') {
            self.fraction_and_exponent()?;
        }
        Ok(Number { text: &self.text[start..self.at] })
    }

    /// `true` or `false`.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, Fault> {
        match self.next_byte() {
            b't' => self.word("true").map(|()| true),
            b'f' => self.word("false").map(|()| false),
            _ => Err(self.expected("true or false")),
        }
    }

    /// `null`.
    #[inline]
    pub fn null(&mut self) -> Result<(), Fault> {
        self.next_byte();
        self.word("null")
    }

    /// An object whose keys are all different. `member` is handed each key and must read exactly
    /// the one value that follows ([`Scanner::skip`] reads any). Its error type may carry more
    /// than a [`Fault`].
    #[inline]
    pub fn object<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut keys = Keys::new();
        self.members(|start, key, it| {
            if !keys.is_new(it.text, start, &key) {
                return Err(Fault { offset: start - 1, kind: FaultKind::DuplicateKey }.into());
            }
            it.colon()?;
            member(key, it)
        })
    }

    /// An object, whatever its keys; the place of each key and the key go to `member`, which
    /// reads on from the colon.
    #[inline(always)]
    fn members<E: From<Fault>>(
        &mut self,
        mut member: impl FnMut(usize, Cow<'a, str>, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{', "an object")?;
        if self.next_byte() == b'}' {
            self.close();
            return Ok(());
        }
        loop {
            if self.next_byte() != b'"' {
                return Err(self.expected("a key in quotes").into());
            }
            self.at += 1;
            let start = self.at;
            let key = text::rest_of_string(self)?;
            member(start, key, self)?;
            match self.next_byte() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.expected("a comma or the end of the object").into()),
            }
        }
        self.close();
        Ok(())
    }

    /// An array. `item` must read exactly one value each time it is called.
    #[inline]
    pub fn array<E: From<Fault>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[', "an array")?;
        if self.next_byte() == b']' {
            self.close();
            return Ok(());
        }
        loop {
            item(self)?;
            match self.next_byte() {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.expected("a comma or the end of the array").into()),
            }
        }
        self.close();
        Ok(())
    }

    /// Any value, whole; its text, without white space around. Checked as strictly as if it were
    /// used, but for keys that come twice.
    pub fn skip(&mut self) -> Result<&'a str, Fault> {
        let kind = self.peek()?;
        let start = self.at;
        match kind {
            Kind::String => drop(self.string()?),
            Kind::Number => drop(self.number()?),
            Kind::Bool => drop(self.bool()?),
            Kind::Null => self.null()?,
            Kind::Object => self.members(|_, _, it| {
                it.colon()?;
                it.skip().map(drop)
            })?,
            Kind::Array => self.array(|it| it.skip().map(drop))?,
        }
        Ok(&self.text[start..self.at])
    }

    /// Nothing but white space may follow.
    #[inline]
    pub fn finish(mut self) -> Result<(), Fault> {
        self.next_byte();
        if self.at == self.bytes.len() {
            return Ok(());
        }
        Err(Fault { offset: self.at, kind: FaultKind::TrailingBytes })
    }

    /// The byte here; 0, which no JSON has outside strings, at the end.
    #[inline(always)]
    fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// The first byte that is not white space.
    #[inline(always)]
    fn next_byte(&mut self) -> u8 {
        let byte = self.byte();
        if byte > b' ' { byte } else { self.after_space() }
    }

    fn after_space(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
        self.byte()
    }

    #[inline(always)]
    fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), Fault> {
        if self.next_byte() != bracket {
            return Err(self.expected(what));
        }
        if self.depth == MAX_DEPTH {
            return Err(Fault { offset: self.at, kind: FaultKind::TooDeep });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn colon(&mut self) -> Result<(), Fault> {
        if self.next_byte() != b':' {
            return Err(self.expected("a colon"));
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    #[inline(always)]
    fn digits(&mut self) {
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        if !self.byte().is_ascii_digit() {
            return Err(self.expected("a digit"));
        }
        self.digits();
        Ok(())
    }

    fn fraction_and_exponent(&mut self) -> Result<(), Fault> {
        if self.byte() == b'.' {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    #[inline]
    fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            // `not json` begins as `null` does, and nobody meant that.
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    #[cold]
    fn expected(&self, what: &'static str) -> Fault {
        let ended = self.at >= self.bytes.len();
        let kind = if ended { FaultKind::Ended(what) } else { FaultKind::Expected(what) };
        Fault { offset: self.at, kind }
    }
}

#[cfg(test)]
mod tests;
