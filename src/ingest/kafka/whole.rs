//! A whole record as one JSON text: for mappings that say `record = "whole"`.
//!
//! # Meaning
//! `{"topic", "partition", "offset", "timestamp_ms", "key", "headers", "value"}`, always all seven.
//! A value is the JSON that it is; a tombstone is `null`. A key that is a JSON object or array is
//! that; any other is a text. Headers are texts by name; a name that repeats has the list of its
//! values. Bytes that are no text are `{"base64": "…"}`. `tests::a_table_of_records`.
//!
//! # Invariants
//! A value is checked to be one JSON text before it is put between the others: what it holds
//! cannot pass for a key or a header.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemas::problem::Problem;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// What a record says of itself.
pub(super) struct Parts<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Milliseconds, whoever set it.
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    /// In order; a name may repeat.
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(super) value: Option<&'a [u8]>,
}

impl Parts<'_> {
    /// As JSON, or why its value cannot be part of one.
    pub(super) fn written(&self) -> Result<Vec<u8>, Problem> {
        let value = match self.value {
            None => &b"null"[..],
            Some(value) => json_text(value)?,
        };
        let head = json!({
            "topic": self.topic, "partition": self.partition, "offset": self.offset,
            "timestamp_ms": self.timestamp_ms, "key": self.key.map(key), "headers": self.headers(),
        });
        let mut bytes = head.to_string().into_bytes();
        // In place of the closing bracket.
        bytes.pop();
        bytes.extend_from_slice(b",\"value\":");
        bytes.extend_from_slice(value);
        bytes.push(b'}');
        Ok(bytes)
    }

    fn headers(&self) -> Value {
        let mut by_name: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (name, value) in &self.headers {
            by_name.entry(name).or_default().push(value.as_deref().map_or(Value::Null, text));
        }
        let one = |mut it: Vec<Value>| if it.len() == 1 { it.remove(0) } else { Value::Array(it) };
        Value::Object(by_name.into_iter().map(|(name, it)| (name.into(), one(it))).collect())
    }
}

fn key(bytes: &[u8]) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(it @ (Value::Object(_) | Value::Array(_))) => it,
        _ => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(it) => it.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A value of no bytes is an empty text: it is no tombstone.
fn json_text(bytes: &[u8]) -> Result<&[u8], Problem> {
    if bytes.is_empty() {
        return Ok(b"\"\"");
    }
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Ok(_) => Ok(bytes),
        Err(why) => Err(Problem {
            code: "schemas/not-json",
            pointer: "/value".into(),
            expected: "JSON".into(),
            found: why.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every record has one shape, nothing of it is left out, and no value passes for
    /// something else. Method: a table.
    #[test]
    fn a_table_of_records() {
        let check = |key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &[u8])], more| {
            let headers =
                headers.iter().map(|it| (it.0.to_string(), Some(it.1.to_vec()))).collect();
            let timestamp_ms = Some(5);
            let it =
                Parts { topic: "t", partition: 1, offset: 7, timestamp_ms, key, headers, value };
            let found = it.written().map(|it| serde_json::from_slice::<Value>(&it).unwrap());
            let mut expected =
                json!({ "topic": "t", "partition": 1, "offset": 7, "timestamp_ms": 5 });
            match (found, more) {
                (Ok(found), Some((key, headers, value))) => {
                    (expected["key"], expected["headers"], expected["value"]) =
                        (key, headers, value);
                    assert_eq!(found, expected);
                }
                (Err(problem), None) => assert_eq!(problem.code, "schemas/not-json"),
                (found, _) => panic!("{found:?}"),
            }
        };
        let json = Some(&b"{\"a\": 1}"[..]);
        check(None, None, &[], Some((Value::Null, json!({}), Value::Null)));
        check(Some(b"k"), json, &[], Some((json!("k"), json!({}), json!({"a": 1}))));
        check(json, Some(b""), &[], Some((json!({"a": 1}), json!({}), json!(""))));
        check(Some(b"17"), Some(b"17"), &[], Some((json!("17"), json!({}), json!(17))));
        let bytes = json!({"base64": "/w=="});
        let twice: &[(&str, &[u8])] = &[("h", b"1"), ("b", b"\xff"), ("h", b"2")];
        let headers = json!({"h": ["1", "2"], "b": bytes});
        check(Some(b"\xff"), Some(b"[]"), twice, Some((bytes.clone(), headers, json!([]))));
        check(None, Some(b"1, \"key\": \"of another\""), &[], None);
        check(None, Some(b"plain words"), &[], None);
    }
}
