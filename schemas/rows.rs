//! Rows out, and the catalogue of views that says what they are.
//!
//! # Meaning
//! A [`Row`] is one record of a view: one [`Value`] per field of its [`ViewDef`], in the order of
//! the definition. Everything that lists views (HTTP, OpenAPI, later SQL and ClickHouse) is made
//! from the definitions; nobody else knows the fields of a view.

use compact_str::CompactString;
use serde_json::{Map, Value as Json};

/// One view: what it is called, what its key is made of, what its fields are.
#[derive(Debug)]
pub struct ViewDef {
    /// The name, as in `/v1/views/{view}`.
    pub name: &'static str,
    /// In words, one sentence.
    pub words: &'static str,
    /// Fold or relation.
    pub shape: Shape,
    /// Names of the key's parts; each is also a field.
    pub key: &'static [&'static str],
    /// Every field; the key's parts first.
    pub fields: &'static [FieldDef],
}

/// Which kind of operator keeps a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The state machine of one entity.
    Fold,
    /// Computed by differential from the rows of others.
    Relation,
}

/// One field of a view.
#[derive(Clone, Copy, Debug)]
pub struct FieldDef {
    /// The name; units are part of it (`_at`, `_ms`).
    pub name: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// May be null.
    pub nullable: bool,
    /// May be asked for by equality.
    pub filterable: bool,
    /// In words.
    pub words: &'static str,
}

impl FieldDef {
    /// A field: name, kind, nullable, filterable, words.
    pub const fn new(
        name: &'static str,
        kind: FieldKind,
        nullable: bool,
        filterable: bool,
        words: &'static str,
    ) -> FieldDef {
        FieldDef { name, kind, nullable, filterable, words }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A 64-bit integer.
    Int,
    /// True or false.
    Bool,
    /// Microseconds since the Unix epoch inside; RFC 3339 in JSON.
    Time,
    /// Currency to minor units: `{"EUR": 1200}`.
    Money,
    /// A JSON document.
    Json,
}

/// One field of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing known.
    #[default]
    Null,
    /// [`FieldKind::Bool`]
    Bool(bool),
    /// [`FieldKind::Int`]
    Int(i64),
    /// [`FieldKind::Text`]
    Text(CompactString),
    /// [`FieldKind::Time`]
    Time(i64),
    /// [`FieldKind::Money`] and [`FieldKind::Json`]
    Json(Json),
}

impl Value {
    /// As JSON: times in RFC 3339.
    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(it) => Json::Bool(*it),
            Value::Int(it) => Json::from(*it),
            Value::Text(it) => Json::String(it.to_string()),
            Value::Time(it) => Json::String(crate::time::rfc3339(*it)),
            Value::Json(it) => it.clone(),
        }
    }

    /// Equal to this text, as a filter `?field=text` means it.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Value::Null => text == "null",
            Value::Bool(it) => text == if *it { "true" } else { "false" },
            Value::Int(it) => text.parse() == Ok(*it),
            Value::Text(it) => it == text,
            Value::Time(it) => crate::time::parse_rfc3339(text) == Some(*it),
            Value::Json(_) => false,
        }
    }
}

impl FieldDef {
    /// What a filter on this field expects, if this text is not that: it would fit no row ever.
    pub fn expects(&self, text: &str) -> Option<&'static str> {
        let (fits, expected) = match self.kind {
            FieldKind::Text => (true, "text"),
            FieldKind::Int => (text.parse::<i64>().is_ok(), "a whole number"),
            FieldKind::Bool => (matches!(text, "true" | "false"), "true or false"),
            FieldKind::Time => {
                let it = crate::time::parse_rfc3339(text);
                (it.is_some(), "a time such as 2026-01-01T00:00:00Z (a `+` of its zone as %2B)")
            }
            FieldKind::Money | FieldKind::Json => (false, "nothing: it is no field to filter by"),
        };
        let null = self.nullable && text == "null";
        (!fits && !null).then_some(expected)
    }
}

/// One record of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// One per field of the definition, in its order.
    pub values: Vec<Value>,
}

impl ViewDef {
    /// Where this field stands in a row.
    pub fn position(&self, field: &str) -> Option<usize> {
        self.fields.iter().position(|it| it.name == field)
    }

    /// The names of the filterable fields.
    pub fn filterable(&self) -> Vec<&'static str> {
        self.fields.iter().filter(|it| it.filterable).map(|it| it.name).collect()
    }

    /// A row as a JSON object, fields in the order of the definition.
    pub fn to_json(&self, row: &Row) -> Json {
        let fields = self.fields.iter().zip(&row.values);
        Json::Object(
            fields
                .map(|(def, value)| (def.name.to_string(), value.to_json()))
                .collect::<Map<_, _>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a filter that can fit no row is told, and no other. Method: each kind of field with
    /// texts, and what a value that the text means matches.
    #[test]
    fn a_filter_says_what_it_expects() {
        let check = |kind, nullable, text: &str, expected: Option<&str>| {
            let def = FieldDef { name: "f", kind, nullable, filterable: true, words: "" };
            let told = def.expects(text).map(|it| it.split(" (").next().unwrap());
            assert_eq!(told, expected, "{kind:?} {text}");
        };
        check(FieldKind::Text, false, "", None);
        check(FieldKind::Bool, false, "true", None);
        check(FieldKind::Bool, false, "maybe", Some("true or false"));
        check(FieldKind::Bool, false, "null", Some("true or false"));
        check(FieldKind::Bool, true, "null", None);
        check(FieldKind::Int, false, "-3", None);
        check(FieldKind::Int, false, "x", Some("a whole number"));
        check(FieldKind::Int, false, "9223372036854775808", Some("a whole number"));
        let time = "2026-01-01T00:00:00Z";
        check(FieldKind::Time, false, time, None);
        check(FieldKind::Time, false, "x", Some("a time such as 2026-01-01T00:00:00Z"));
        let instant = crate::time::parse_rfc3339(time).unwrap();
        assert!(Value::Time(instant).matches(time) && Value::Int(-3).matches("-3"));
    }
}
