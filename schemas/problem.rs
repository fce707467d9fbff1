//! How an undecodable record is told: which field, what was expected, what was found.

use std::fmt;

/// One thing wrong with one event. Cheap to make on the cold path only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable name, `schemas/<problem>`; each has a page in `docs/errors/`.
    pub code: &'static str,
    /// JSON pointer into the event as the producer wrote it (`""` is the whole of it).
    pub pointer: String,
    /// What was expected: `an integer from 1 to 5`.
    pub expected: String,
    /// What was found, shortened: `"12,00"`.
    pub found: String,
}

/// Every code that a record can be rejected with.
pub const CODES: &[&str] = &[
    "engine/brought-down",
    "engine/erased",
    "engine/future-time",
    "schemas/identifier",
    "schemas/not-json",
    "schemas/out-of-range",
    "schemas/reserved",
    "schemas/time",
    "schemas/too-large",
    "schemas/unknown-type",
    "schemas/unknown-version",
    "schemas/unmapped-type",
    "schemas/wrong-shape",
];

impl Problem {
    /// An event says what only Millstream itself may say.
    pub fn reserved(pointer: &str, expected: String, found: String) -> Problem {
        Problem { code: "schemas/reserved", pointer: pointer.into(), expected, found }
    }

    /// An event names a customer who was erased. Nothing of the event is in it.
    pub fn erased() -> Problem {
        Problem {
            code: "engine/erased",
            pointer: String::new(),
            expected: "an event about somebody who was not erased".into(),
            found: "one about a customer who was".into(),
        }
    }

    /// An event's time is after the latest that it may have, both in microseconds: the append (or
    /// read) time and some minutes.
    pub fn future_time(time: i64, latest: i64) -> Problem {
        Problem {
            code: "engine/future-time",
            pointer: "/time".into(),
            expected: format!("a time not after {}", crate::time::rfc3339(latest)),
            found: crate::time::rfc3339(time),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            write!(f, "expected {}, found {}", self.expected, self.found)
        } else {
            write!(
                f,
                "field \"{}\": expected {}, found {}",
                self.pointer, self.expected, self.found
            )
        }
    }
}

impl std::error::Error for Problem {}

/// Longest excerpt of a record in a report, in bytes.
const EXCERPT_BYTES: usize = 40;

/// The start of what was found, as text that can be printed.
pub fn shortened(found: &[u8]) -> String {
    let (start, rest) = found.split_at(found.len().min(EXCERPT_BYTES));
    let mut text = String::new();
    for c in String::from_utf8_lossy(start).trim_end_matches('\u{fffd}').chars() {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    if text.is_empty() {
        for byte in start {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if !rest.is_empty() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the list of codes is whole. Method: the pages of the documentation, one a code.
    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
        let mut pages: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|it| it.unwrap().file_name().into_string().ok())
            .filter_map(|it| {
                Some(format!("schemas/{}", it.strip_prefix("schemas-")?.strip_suffix(".md")?))
            })
            .collect();
        pages.sort();
        let codes: Vec<&str> =
            CODES.iter().copied().filter(|it| it.starts_with("schemas/")).collect();
        assert_eq!(pages, codes);
    }
}
