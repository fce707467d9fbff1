//! What becomes of a line: its key, its headers, its value.
//!
//! # Meaning
//! *Structured*: the line is the value as it stands; a CloudEvent is marked by its content type.
//! *Binary* (the CloudEvents binding for Kafka): each attribute is a header `ce_<name>`, `data` is
//! the value. The key is what the pointer names; else a CloudEvent's `partitionkey`; else its
//! `subject`; else there is none.
//!
//! # Invariants
//! Nothing is judged here: a line that no reader would take is sent as it stands (structured).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use super::pointer::Pointer;

/// How events are laid out in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The whole event is the value.
    #[default]
    Structured,
    /// Attributes are headers, data is the value.
    Binary,
}

/// What becomes of lines.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The layout.
    pub mode: Mode,
    /// Where the key is found; in the event's own attributes if absent.
    pub key_pointer: Option<Pointer>,
}

/// A line, ready to be sent.
#[derive(Debug, PartialEq)]
pub struct Shaped<'a> {
    /// Records of one key stay in order.
    pub key: Option<Cow<'a, [u8]>>,
    /// Names and values.
    pub headers: Vec<(Cow<'a, str>, Cow<'a, [u8]>)>,
    /// The value; none for a binary event without data.
    pub value: Option<Cow<'a, [u8]>>,
}

/// How a structured event is told from other JSON.
const STRUCTURED: &[u8] = b"application/cloudevents+json; charset=UTF-8";
/// What an event's data are if it does not say.
const JSON: &[u8] = b"application/json";

/// What of an event decides about its record.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow)]
    partitionkey: Option<&'a RawValue>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
}

/// The record of a line. The error says why it cannot be one (binary mode only).
pub fn shaped<'a>(line: &'a [u8], shape: &Shape) -> Result<Shaped<'a>, String> {
    let head: Option<Head<'a>> = serde_json::from_slice(line).ok();
    let head = head.filter(|it| it.specversion.is_some());
    let key = match &shape.key_pointer {
        Some(pointer) => pointer.find(line).and_then(bytes),
        None => head
            .as_ref()
            .and_then(|it| it.partitionkey.and_then(bytes).or_else(|| it.subject.and_then(bytes))),
    };
    if shape.mode == Mode::Binary {
        let (headers, value) = binary(line, head.is_some())?;
        return Ok(Shaped { key, headers, value });
    }
    let mut headers = Vec::new();
    if head.is_some() {
        headers.push((Cow::Borrowed("content-type"), Cow::Borrowed(STRUCTURED)));
    }
    Ok(Shaped { key, headers, value: Some(Cow::Borrowed(line)) })
}

/// A value as bytes: a text's own, any other as JSON writes it; nothing for null.
fn bytes(raw: &RawValue) -> Option<Cow<'_, [u8]>> {
    match raw.get() {
        "null" => None,
        text if text.starts_with('"') => Some(match plain(text) {
            Some(plain) => Cow::Borrowed(plain.as_bytes()),
            None => Cow::Owned(serde_json::from_str::<String>(text).ok()?.into_bytes()),
        }),
        other => Some(Cow::Borrowed(other.as_bytes())),
    }
}

/// The inside of a JSON text without escapes.
fn plain(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.contains('\\')).then_some(inside)
}

type Parts<'a> = (Vec<(Cow<'a, str>, Cow<'a, [u8]>)>, Option<Cow<'a, [u8]>>);

fn binary(line: &[u8], is_event: bool) -> Result<Parts<'_>, String> {
    let found = || {
        let start: String = String::from_utf8_lossy(line).chars().take(80).collect();
        format!("expected a CloudEvent (a JSON object with `specversion`), found {start}")
    };
    if !is_event {
        return Err(found());
    }
    let all: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_slice(line).map_err(|_| found())?;
    let (mut headers, mut value, mut content_type) = (Vec::new(), None, None);
    for (name, raw) in all {
        match name.as_str() {
            "data" => {}
            "data_base64" => {
                use base64::Engine;
                let text = bytes(raw).unwrap_or_default();
                let decoded = base64::engine::general_purpose::STANDARD.decode(&*text);
                let why =
                    |_| "expected `data_base64` to be base64, found something else".to_string();
                value = Some(Cow::Owned(decoded.map_err(why)?));
            }
            "datacontenttype" => content_type = bytes(raw),
            _ => {
                if let Some(it) = bytes(raw) {
                    headers.push((Cow::Owned(format!("ce_{name}")), it));
                }
            }
        }
    }
    // `data` as it was written: JSON if the event says nothing else, or else the text itself.
    let data: Option<&RawValue> = data_of(line);
    let is_json = content_type.as_deref().is_none_or(|it| {
        let it = String::from_utf8_lossy(it).to_ascii_lowercase();
        let it = it.split(';').next().unwrap_or_default().trim();
        it.ends_with("/json") || it.ends_with("+json")
    });
    if let Some(raw) = data {
        value = if is_json { Some(Cow::Borrowed(raw.get().as_bytes())) } else { bytes(raw) };
    }
    if value.is_some() {
        let it = content_type.unwrap_or(Cow::Borrowed(JSON));
        headers.push((Cow::Borrowed("content-type"), it));
    }
    Ok((headers, value))
}

fn data_of(line: &[u8]) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    serde_json::from_slice::<Data<'_>>(line).ok()?.data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, shape: &Shape) -> String {
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        match shaped(line.as_bytes(), shape) {
            Err(why) => format!("cannot: {why}"),
            Ok(it) => {
                let headers: Vec<String> = it
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}={}", text(value)))
                    .collect();
                let or = |it: &Option<Cow<'_, [u8]>>| it.as_deref().map_or("-".into(), text);
                format!("{} [{}] {}", or(&it.key), headers.join(", "), or(&it.value))
            }
        }
    }

    /// Goal: keys, headers and values as the module says. Method: a table.
    #[test]
    fn lines_become_records() {
        let structured = Shape::default();
        let binary = Shape { mode: Mode::Binary, ..Shape::default() };
        let by = |pointer: &str| Shape { key_pointer: Pointer::parse(pointer), ..Shape::default() };
        let marked = "[content-type=application/cloudevents+json; charset=UTF-8]";
        let check = |line: &str, shape: &Shape, expected: &str| {
            assert_eq!(told(line, shape), expected, "{line}");
        };
        for (line, key) in [
            (r#"{"specversion":"1.0","partitionkey":"P","subject":"S"}"#, "P"),
            (r#"{"specversion":"1.0","partitionkey":null,"subject":"S\u00e9"}"#, "Sé"),
            (r#"{"specversion":"1.0","id":"1"}"#, "-"),
        ] {
            check(line, &structured, &format!("{key} {marked} {line}"));
        }
        for (line, key) in [
            (r#"{"a":{"k":"x\ty"}}"#, "x\ty"),
            (r#"{"a":{"k":12.50}}"#, "12.50"),
            (r#"{"a":{"k":null}}"#, "-"),
            (r#"{"b":1}"#, "-"),
            ("not json", "-"),
        ] {
            check(line, &by("/a/k"), &format!("{key} [] {line}"));
        }
        check(
            r#"{"specversion":"1.0","id":"1","subject":"S","n":5,"data":{"a": 1.0}}"#,
            &binary,
            r#"S [ce_id=1, ce_n=5, ce_specversion=1.0, ce_subject=S, content-type=application/json] {"a": 1.0}"#,
        );
        check(
            r#"{"specversion":"1.0","datacontenttype":"text/plain","data":"hi"}"#,
            &binary,
            "- [ce_specversion=1.0, content-type=text/plain] hi",
        );
        check(
            r#"{"specversion":"1.0","datacontenttype":"image/png","data_base64":"aGk="}"#,
            &binary,
            "- [ce_specversion=1.0, content-type=image/png] hi",
        );
        check(r#"{"specversion":"1.0","id":"1"}"#, &binary, "- [ce_id=1, ce_specversion=1.0] -");
        assert!(told(r#"{"a":1}"#, &binary).starts_with("cannot: expected a CloudEvent"));
    }
}
