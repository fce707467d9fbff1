//! Rows and instants as JSON, written straight into the answer's bytes.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use schemas::rows::{Row, Value, ViewDef};
use serde::ser::{Serialize, SerializeMap, Serializer};
use warp::reply::Response;

use crate::messages::AsOf;

/// An instant: epoch, its time, position.
#[derive(Clone, Copy)]
pub(super) struct AsOfJson(pub(super) AsOf);

impl Serialize for AsOfJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("epoch", &self.0.epoch)?;
        map.serialize_entry("time", &epoch_time(self.0.epoch))?;
        map.serialize_entry("position", &self.0.position)?;
        map.end()
    }
}

/// An epoch as RFC 3339.
pub(super) fn epoch_time(epoch: u64) -> String {
    let micros = i64::try_from(epoch).unwrap_or(i64::MAX).saturating_mul(1_000);
    schemas::time::rfc3339(micros.min(schemas::time::MAX_TIME))
}

/// A row, by its definition.
pub(super) struct RowJson<'a>(pub(super) &'static ViewDef, pub(super) &'a Row);

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.fields.len()))?;
        for (field, value) in self.0.fields.iter().zip(&self.1.values) {
            map.serialize_entry(field.name, &ValueJson(value))?;
        }
        map.end()
    }
}

struct ValueJson<'a>(&'a Value);

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(it) => serializer.serialize_bool(*it),
            Value::Int(it) => serializer.serialize_i64(*it),
            Value::Text(it) => serializer.serialize_str(it),
            Value::Time(it) => serializer.serialize_str(&schemas::time::rfc3339(*it)),
            Value::Json(it) => it.serialize(serializer),
        }
    }
}

/// Appends a value as JSON. Writing to memory, and every key of ours is text: it cannot fail.
pub(super) fn push_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("JSON with text keys, into memory");
}

/// A JSON answer of these bytes.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Bytes::from(body).into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::rows::{FieldDef, FieldKind, Shape};

    /// Goal: the fast way says what the plain one says. Method: a row with every kind of value.
    #[test]
    fn a_row_is_written_as_its_definition_says() {
        const fn field(name: &'static str, kind: FieldKind) -> FieldDef {
            FieldDef { name, kind, nullable: true, filterable: false, words: "" }
        }
        static DEF: ViewDef = ViewDef {
            name: "all",
            words: "",
            shape: Shape::Fold,
            key: &["a"],
            fields: &[
                field("a", FieldKind::Text),
                field("b", FieldKind::Int),
                field("c", FieldKind::Bool),
                field("d", FieldKind::Time),
                field("e", FieldKind::Money),
                field("f", FieldKind::Json),
            ],
        };
        let row = Row {
            values: vec![
                Value::Text("tab\t\"quote\" \u{2028} ü".into()),
                Value::Int(i64::MIN),
                Value::Bool(true),
                Value::Time(1_700_000_000_123_456),
                Value::Json(serde_json::json!({"EUR": 12})),
                Value::Null,
            ],
        };
        let mut out = Vec::new();
        push_json(&mut out, &RowJson(&DEF, &row));
        assert_eq!(String::from_utf8(out).unwrap(), DEF.to_json(&row).to_string());
    }
}
