//! Which record of a table it is: the key, from the row or from the record's own key in Kafka.
//!
//! # Meaning
//! Columns that the mapping states are looked for in the row, and what the row lacks in the key
//! beside it. Without stated columns the key beside it says all: every column of it, in its order;
//! what is no object (a key that was taken out of its object on the way) is one column without a
//! name. MongoDB writes there `{"id":"<the _id as JSON>"}`.

use std::borrow::Cow;

use super::seen::Seen;
use super::{BEFORE, Connector, KEY, KEY_PAYLOAD, KEY_SCHEMA};
use crate::json::{Fault as Unread, Kind, Scanner};
use crate::limits::is_identifier;
use crate::mapping::slots::Slot;
use crate::mapping::values::Fault;
use crate::names::key_text;
use crate::problem::Problem;

/// What the record's own key says: columns and their values, in its order.
pub(super) type Beside = Vec<(Box<str>, Option<String>)>;

impl<'a> Seen<'_, 'a> {
    /// The record's own key; `None`: there is none.
    pub(super) fn beside(&self, connector: Connector) -> Result<Option<Beside>, Fault> {
        let wrapped = matches!(self.slots[KEY], Slot::Object(_))
            && self.slots[KEY_SCHEMA] != Slot::Absent
            && self.slots[KEY_PAYLOAD] != Slot::Absent;
        let at = if wrapped { KEY_PAYLOAD } else { KEY };
        let mongo = connector == Connector::MongoDb;
        let mut found = Beside::new();
        let read = match &self.slots[at] {
            Slot::Absent | Slot::Null => return Ok(None),
            Slot::Object(text) => Scanner::over(text).object(|name, it| {
                let value = part(it)?;
                found.push(match mongo && name == "id" {
                    true => ("_id".into(), value.map(document_id)),
                    false => (name.into(), value),
                });
                Ok::<_, Unread>(())
            }),
            slot => {
                let value = slot.scalar().map(Cow::into_owned);
                found.push(("".into(), if mongo { value.map(document_id) } else { value }));
                Ok(())
            }
        };
        read.map_err(|it| {
            let pointer = self.pointers[at].clone();
            let text = if let Slot::Object(text) = self.slots[at] { text } else { "" };
            Box::new(Problem { pointer, ..it.problem(text.as_bytes()) })
        })?;
        Ok(Some(found).filter(|it| !it.is_empty()))
    }

    /// The key by these columns: of the row at this place (if its text is there), and where that
    /// lacks one, of the key beside it.
    pub(super) fn key(
        &self,
        at: usize,
        row: Option<&str>,
        columns: &[Box<str>],
        beside: Option<&Beside>,
    ) -> Result<String, Fault> {
        let mut parts = self.row_parts(at, row, columns)?;
        for (column, part) in columns.iter().zip(&mut parts) {
            let named = |it: &&(Box<str>, Option<String>)| {
                it.0 == *column || (it.0.is_empty() && columns.len() == 1)
            };
            if part.is_none() {
                *part = beside.and_then(|it| it.iter().find(named)).and_then(|it| it.1.clone());
            }
            if part.is_none() {
                let expected = match (row, beside) {
                    (None, None) if at == BEFORE => "an object with the key of the row, or the \
                                                     key beside it as Kafka has it"
                        .into(),
                    (_, None) => format!("a row with a value of its key column {column:?}"),
                    (_, Some(_)) => format!(
                        "a row, or a key beside it, with a value of the key column {column:?}"
                    ),
                };
                return Err(self.fault("schemas/wrong-shape", at, expected));
            }
        }
        self.checked(at, &parts.iter().flatten().map(String::as_str).collect::<Vec<_>>())
    }

    /// The key that stands beside the row, by all of its columns; the row, if there is one, is read.
    pub(super) fn key_beside(
        &self,
        at: usize,
        row: Option<&str>,
        beside: &Beside,
    ) -> Result<String, Fault> {
        self.row_parts(at, row, &[])?;
        let parts: Option<Vec<&str>> = beside.iter().map(|it| it.1.as_deref()).collect();
        match parts {
            Some(parts) => self.checked(at, &parts),
            None => Err(self.fault("schemas/wrong-shape", at, "a key beside it without null")),
        }
    }

    /// The values of these columns, as parts of a key; `None` where there is none, or null.
    fn row_parts(
        &self,
        at: usize,
        row: Option<&str>,
        columns: &[Box<str>],
    ) -> Result<Vec<Option<String>>, Fault> {
        let mut parts = vec![None; columns.len()];
        let Some(row) = row else { return Ok(parts) };
        let mut scanner = Scanner::over(row);
        let read = scanner.object(|name, it| {
            match columns.iter().position(|column| **column == *name) {
                Some(place) => parts[place] = part(it)?,
                None => drop(it.skip()?),
            }
            Ok::<_, Unread>(())
        });
        read.and_then(|()| scanner.finish()).map_err(|fault| {
            let pointer = self.pointers[self.first + at].clone();
            Box::new(Problem { pointer, ..fault.problem(row.as_bytes()) })
        })?;
        Ok(parts)
    }

    fn checked(&self, at: usize, parts: &[&str]) -> Result<String, Fault> {
        let key = String::from(key_text(parts));
        if is_identifier(&key) {
            return Ok(key);
        }
        let expected = "a row with a key of 1 to 128 bytes without control characters";
        Err(self.fault("schemas/identifier", at, expected))
    }
}

/// A value as a part of a key: text as it is, MongoDB's `{"$oid":"…"}` by what is in it, anything
/// else as it is written.
fn part(it: &mut Scanner<'_>) -> Result<Option<String>, Unread> {
    Ok(match it.peek()? {
        Kind::Null => it.null().map(|()| None)?,
        Kind::String => Some(it.string()?.into_owned()),
        Kind::Object => {
            let text = it.skip()?;
            Some(extended(text).unwrap_or_else(|| text.to_string()))
        }
        _ => Some(it.skip()?.to_string()),
    })
}

/// An `_id` that is written as JSON in a text: the part of a key that the document's own gives.
fn document_id(text: String) -> String {
    let mut scanner = Scanner::over(&text);
    let read = part(&mut scanner).and_then(|it| scanner.finish().map(|()| it));
    read.ok().flatten().unwrap_or(text)
}

/// The text in an object of one member `$…`.
fn extended(text: &str) -> Option<String> {
    let mut members = Vec::new();
    let read = Scanner::over(text).object(|name, it| {
        let value = if it.peek()? == Kind::String { Some(it.string()?) } else { None };
        if value.is_none() {
            it.skip()?;
        }
        members.push((name, value));
        Ok::<_, Unread>(())
    });
    match (read, members.pop(), members.is_empty()) {
        (Ok(()), Some((name, Some(value))), true) if name.starts_with('$') => {
            Some(value.into_owned())
        }
        _ => None,
    }
}
