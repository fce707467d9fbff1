//! Reading a mapping's text while noting everything that is wrong with it.
//!
//! # Why this way
//! The text is walked as a tree that keeps where each part stands, instead of being deserialised
//! into types: a deserialiser stops at the first mistake, and whoever writes a mapping wants to
//! hear of all of them at once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;

use super::MappingProblem;

/// What is wrong so far.
pub(super) struct Notes<'t> {
    text: &'t str,
    problems: Vec<MappingProblem>,
}

/// Most problems that are told of one mapping.
const PROBLEMS_MAX: usize = 100;

/// A table of the text and where it stands.
#[derive(Clone)]
pub(super) struct Place<'t> {
    pub(super) table: &'t DeTable<'t>,
    pub(super) at: String,
    pub(super) span: Range<usize>,
}

/// A value of the text and where it stands.
#[derive(Clone)]
pub(super) struct Part<'t> {
    pub(super) value: &'t DeValue<'t>,
    pub(super) at: String,
    pub(super) span: Range<usize>,
}

impl<'t> Notes<'t> {
    pub(super) fn new(text: &'t str) -> Notes<'t> {
        Notes { text, problems: Vec::new() }
    }

    pub(super) fn note(&mut self, at: &str, span: &Range<usize>, why: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|it| *it == b'\n').count() + 1;
        self.problems.push(MappingProblem { line: Some(line), at: at.into(), why: why.into() });
    }

    /// In the order of the text, the first [`PROBLEMS_MAX`].
    pub(super) fn finish(mut self) -> Vec<MappingProblem> {
        self.problems.sort_by_key(|it| it.line);
        let more = self.problems.len().saturating_sub(PROBLEMS_MAX);
        self.problems.truncate(PROBLEMS_MAX);
        if more > 0
            && let Some(last) = self.problems.last_mut()
        {
            last.why += &format!("; and {more} more problems");
        }
        self.problems
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Notes every key that is none of these.
    pub(super) fn only(&mut self, place: &Place<'t>, allowed: &[&'static str]) {
        for key in place.table.keys() {
            if !allowed.contains(&&**key.get_ref()) {
                let at = join(&place.at, key.get_ref());
                self.unnamed(&at, &key.span(), "key", key.get_ref(), allowed);
            }
        }
    }

    /// Notes that no `what` has this name, with the one that was probably meant.
    pub(super) fn unnamed(
        &mut self,
        at: &str,
        span: &Range<usize>,
        what: &str,
        found: &str,
        names: &[&'static str],
    ) {
        let meant = match nearest(found, names) {
            Some(meant) => format!("perhaps {meant:?} was meant"),
            None => format!("expected one of {}", names.join(", ")),
        };
        self.note(at, span, format!("there is no {what} {found:?} here: {meant}"));
    }

    fn mistyped(&mut self, part: &Part<'t>, expected: &str) {
        let found = part.value.type_str();
        self.note(&part.at, &part.span, format!("expected {expected}, found {found}"));
    }

    pub(super) fn table(&mut self, part: &Part<'t>) -> Option<Place<'t>> {
        let Some(table) = part.value.as_table() else {
            self.mistyped(part, "a table");
            return None;
        };
        Some(Place { table, at: part.at.clone(), span: part.span.clone() })
    }

    pub(super) fn text(&mut self, part: &Part<'t>) -> Option<&'t str> {
        let text = part.value.as_str();
        if text.is_none() {
            self.mistyped(part, "a text");
        }
        text
    }

    pub(super) fn integer(&mut self, part: &Part<'t>) -> Option<i64> {
        let found = part.value.as_integer();
        let integer = found.and_then(|it| i64::from_str_radix(it.as_str(), it.radix()).ok());
        if integer.is_none() {
            self.mistyped(part, "an integer");
        }
        integer
    }

    pub(super) fn truth(&mut self, part: &Part<'t>) -> Option<bool> {
        let found = part.value.as_bool();
        if found.is_none() {
            self.mistyped(part, "true or false");
        }
        found
    }

    /// One of these words.
    pub(super) fn word(&mut self, part: &Part<'t>, words: &[&'static str]) -> Option<&'static str> {
        let found = self.text(part)?;
        let word = words.iter().find(|it| **it == found).copied();
        if word.is_none() {
            self.unnamed(&part.at, &part.span, "word", found, words);
        }
        word
    }

    /// The elements of a list; a single value is a list of one.
    pub(super) fn list(&mut self, part: &Part<'t>) -> Vec<Part<'t>> {
        part.elements().unwrap_or_else(|| vec![part.clone()])
    }
}

impl<'t> Place<'t> {
    /// The value of this key.
    pub(super) fn get(&self, key: &str) -> Option<Part<'t>> {
        self.parts().find(|it| *it.0.get_ref() == key).map(|it| it.1)
    }

    /// Every key with its value.
    pub(super) fn parts(
        &self,
    ) -> impl Iterator<Item = (&'t Spanned<toml::de::DeString<'t>>, Part<'t>)> {
        let at = self.at.clone();
        self.table.iter().map(move |(key, value)| {
            let at = join(&at, key.get_ref());
            (key, Part { value: value.get_ref(), at, span: value.span() })
        })
    }
}

impl<'t> Part<'t> {
    /// The elements, if it is a list.
    pub(super) fn elements(&self) -> Option<Vec<Part<'t>>> {
        let array = self.value.as_array()?;
        let element = |(n, it): (usize, &'t Spanned<DeValue<'t>>)| Part {
            value: it.get_ref(),
            at: format!("{}[{n}]", self.at),
            span: it.span(),
        };
        Some(array.iter().enumerate().map(element).collect())
    }
}

/// A key under a place, in quotes where TOML wants them.
fn join(at: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'));
    let key = if bare { key.to_string() } else { format!("{key:?}") };
    if at.is_empty() { key } else { format!("{at}.{key}") }
}
