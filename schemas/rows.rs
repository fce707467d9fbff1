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
#[derive(Debug)]
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
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing known.
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
