//! A view as a table: its columns, and what values look like in them.
//!
//! | field | column | |
//! |---|---|---|
//! | text | `TEXT` | |
//! | int | `INTEGER` | amounts: minor units |
//! | bool | `INTEGER` | 1 or 0 |
//! | time | `TEXT` | `2026-01-31T08:05:00.000Z`: UTC, always 24 characters, cut to milliseconds |
//! | money, json | `TEXT` | JSON, for `->>` and `json_each` |
//!
//! # Why this way
//! Times as text of one width compare as times do, also with a date alone or with what JavaScript
//! writes, and SQLite's date functions read them.

use std::ffi::CString;

use rusqlite::ToSql;
use rusqlite::types::{Null, ToSqlOutput};
use schemas::rows::{FieldKind, Value, ViewDef};
use serde_json::json;

/// The table that lists all columns of all tables.
pub(super) const CATALOGUE: &str = "catalogue";

/// A table.
pub(super) struct Columns {
    pub(super) table: &'static str,
    /// Names and kinds, in order.
    pub(super) all: Vec<(&'static str, FieldKind)>,
    /// Places of the key's parts.
    pub(super) key: Vec<usize>,
    /// `CREATE TABLE …`, as SQLite is told.
    pub(super) declared: CString,
}

impl Columns {
    pub(super) fn of(def: &'static ViewDef) -> Columns {
        let all: Vec<_> = def.fields.iter().map(|it| (it.name, it.kind)).collect();
        let key = def.key.iter().filter_map(|it| def.position(it)).collect();
        Columns::new(def.name, all, key)
    }

    /// Of the table that lists all columns.
    pub(super) fn of_catalogue() -> Columns {
        let kinds = [FieldKind::Text, FieldKind::Text, FieldKind::Text, FieldKind::Bool];
        let more = [FieldKind::Int, FieldKind::Text];
        let names = ["view", "field", "type", "nullable", "key_part", "words"];
        Columns::new(
            CATALOGUE,
            names.into_iter().zip(kinds.into_iter().chain(more)).collect(),
            vec![0, 1],
        )
    }

    /// Without a row id: SQLite would take one for the row's identity.
    fn new(table: &'static str, all: Vec<(&'static str, FieldKind)>, key: Vec<usize>) -> Columns {
        let columns: Vec<String> =
            all.iter().map(|(name, kind)| format!("\"{name}\" {}", sql_type(*kind))).collect();
        let parts: Vec<String> = key.iter().map(|it| format!("\"{}\"", all[*it].0)).collect();
        let (columns, parts) = (columns.join(", "), parts.join(", "));
        // By its own name: while it is declared SQLite asks whether its columns may be read.
        let text = format!("CREATE TABLE {table}({columns}, PRIMARY KEY({parts})) WITHOUT ROWID");
        let declared = CString::new(text).expect("names of ours have no NUL");
        Columns { table, all, key, declared }
    }
}

/// The rows of the table that lists all columns.
pub(super) fn catalogue<'d>(views: impl Iterator<Item = &'d ViewDef>) -> Vec<Vec<Value>> {
    let text = |it: &str| Value::Text(it.into());
    let rows = views.flat_map(|view| {
        view.fields.iter().map(move |it| {
            let part = view.key.iter().position(|part| *part == it.name);
            vec![
                text(view.name),
                text(it.name),
                text(kind_name(it.kind)),
                Value::Bool(it.nullable),
                part.map_or(Value::Null, |it| Value::Int(it as i64 + 1)),
                text(it.words),
            ]
        })
    });
    rows.collect()
}

/// What SQLite keeps of a kind.
pub(super) fn sql_type(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Int | FieldKind::Bool => "INTEGER",
        FieldKind::Text | FieldKind::Time | FieldKind::Money | FieldKind::Json => "TEXT",
    }
}

/// What the catalogue calls a kind.
fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "text",
        FieldKind::Int => "integer",
        FieldKind::Bool => "boolean",
        FieldKind::Time => "time",
        FieldKind::Money => "money",
        FieldKind::Json => "json",
    }
}

/// A value as SQLite takes it.
pub(super) struct AsSql<'v>(pub(super) &'v Value);

impl ToSql for AsSql<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self.0 {
            Value::Null => Null.to_sql(),
            Value::Bool(it) => Ok(i64::from(*it).into()),
            Value::Int(it) => it.to_sql(),
            Value::Text(it) => it.as_str().to_sql(),
            Value::Time(it) => Ok(stamp(*it).into()),
            Value::Json(it) => Ok(json!(it).to_string().into()),
        }
    }
}

/// A time as text, cut to milliseconds.
pub(super) fn stamp(micros: i64) -> String {
    schemas::time::rfc3339(micros.div_euclid(1_000) * 1_000)
}

/// What text that a time is compared with says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// This millisecond.
    Exactly(i64),
    /// Only the beginning of a text: less than every time from here on, more than all before.
    From(i64),
}

/// `None`: not written as our times are; nothing is known of how it compares.
pub(super) fn said(text: &str) -> Option<Said> {
    const FIRST: &str = "0000-01-01T00:00:00.000Z";
    let whole = text.len() == FIRST.len();
    if !whole && !matches!(text.len(), 4 | 7 | 10 | 13 | 16 | 19 | 23) {
        return None;
    }
    let filled = format!("{text}{}", FIRST.get(text.len()..)?);
    let micros = schemas::time::parse_rfc3339(&filled).filter(|it| stamp(*it) == filled)?;
    Some(if whole { Said::Exactly(micros) } else { Said::From(micros) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_text_of_one_width() {
        let at = schemas::time::parse_rfc3339("2026-01-31T08:05:00.123456Z").unwrap();
        assert_eq!(stamp(at), "2026-01-31T08:05:00.123Z");
        assert_eq!(stamp(at - 123_456), "2026-01-31T08:05:00.000Z");
        assert_eq!(stamp(-1).len(), 24);
    }

    /// Goal: what is known of how text compares with our times is so. Method: texts beside times.
    #[test]
    fn text_beside_a_time() {
        let at = |text: &str| schemas::time::parse_rfc3339(text).unwrap();
        let day = at("2026-01-31T00:00:00Z");
        assert_eq!(said("2026-01-31"), Some(Said::From(day)));
        assert_eq!(said("2026-01-31T00:00:00"), Some(Said::From(day)));
        assert_eq!(said("2026-01-31T00:00:00.000Z"), Some(Said::Exactly(day)));
        assert_eq!(said("2026"), Some(Said::From(at("2026-01-01T00:00:00Z"))));
        for odd in [
            "2026-1",
            "2026-01-3",
            "2026-01-31 00:00",
            "2026-01-31T00:00:00Z",
            "x",
            "",
            "2026-02-30",
        ] {
            assert_eq!(said(odd), None, "{odd}");
        }
        for micros in [day - 1_000, day, day + 1_000] {
            assert_eq!(stamp(micros).as_str() >= "2026-01-31", micros >= day);
            assert_eq!(stamp(micros).as_str() > "2026-01-31", micros >= day);
        }
    }
}
