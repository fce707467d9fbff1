//! What is not JSON, and where. Three words, no allocation: a fault is made on the hot path of a
//! feed that sends nothing else.

use std::fmt;

use crate::problem::{Problem, shortened};

/// Where a text stops being JSON that we read, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Bytes before it.
    pub offset: usize,
    /// Why.
    pub kind: FaultKind,
}

/// Why a text is not JSON that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// It starts with a byte order mark.
    ByteOrderMark,
    /// Something else stands where this was expected.
    Expected(&'static str),
    /// The text ended where this was expected.
    Ended(&'static str),
    /// A raw control character inside a string.
    ControlCharacter,
    /// Half of a surrogate pair.
    LoneSurrogate,
    /// The same key a second time in one object.
    DuplicateKey,
    /// More than [`super::MAX_DEPTH`] objects and arrays inside each other.
    TooDeep,
    /// Something follows the value.
    TrailingBytes,
}

impl FaultKind {
    /// What was expected, in words.
    pub fn expected(self) -> &'static str {
        match self {
            FaultKind::NotUtf8 => "UTF-8",
            FaultKind::ByteOrderMark => "JSON without a byte order mark",
            FaultKind::Expected(what) | FaultKind::Ended(what) => what,
            FaultKind::ControlCharacter => "control characters in strings to be escaped",
            FaultKind::LoneSurrogate => "surrogates in pairs",
            FaultKind::DuplicateKey => "each key once in an object",
            FaultKind::TooDeep => "at most 64 objects and arrays inside each other",
            FaultKind::TrailingBytes => "nothing after the value",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.kind.expected(), self.offset)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// As it is told: `schemas/not-json`, with what stands at the place.
    pub fn problem(self, record: &[u8]) -> Problem {
        let rest = record.get(self.offset..).unwrap_or_default();
        let found = match self.kind {
            FaultKind::Ended(_) => format!("the end, after {} bytes", self.offset),
            _ if rest.is_empty() => format!("the end, after {} bytes", self.offset),
            _ => format!("{} at byte {}", shortened(rest), self.offset),
        };
        Problem {
            code: "schemas/not-json",
            pointer: String::new(),
            expected: self.kind.expected().to_string(),
            found,
        }
    }
}
