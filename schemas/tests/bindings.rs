//! Are the three modes of CloudEvents read alike?
//!
//! Goal: binary and structured mode give the attributes and the data that the published vectors
//! say; a batch gives its events' bytes; whatever a binary request holds, nothing in it can pass
//! for something else. Method: the vectors (looked for in `shared/` beside the checkout, or where
//! `MILLSTREAM_SHARED` says), and a text per way of being wrong.

#[path = "../../tests/support/skipped.rs"]
mod skipped;

use std::io::Read;

use schemas::decode::{batch, binary_to_structured, problems, structured};
use schemas::events::Data;
use serde_json::Value;

fn vectors() -> Option<Vec<Value>> {
    let path = skipped::shared("data/conformance/cloudevents_bindings.json.zst")?;
    let mut bytes = Vec::new();
    zstd::Decoder::new(std::fs::File::open(path).unwrap())
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// One event as we keep it, from the headers and the body of a request or a message.
fn kept(headers: &Value, body: &str) -> Vec<u8> {
    let headers: Vec<(String, String)> = headers
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_string()))
        .collect();
    let content_type = headers.iter().find(|it| it.0 == "content-type").map(|it| it.1.as_str());
    if content_type.is_some_and(|it| it.starts_with("application/cloudevents+json")) {
        return body.into();
    }
    let attributes: Vec<(&str, &str)> = headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("ce-").or_else(|| name.strip_prefix("ce_"))?;
            Some((name, value.as_str()))
        })
        .collect();
    binary_to_structured(&attributes, content_type, body.as_bytes()).unwrap()
}

#[test]
fn the_published_vectors() {
    let Some(vectors) = vectors() else { return };
    for case in &vectors {
        let record = kept(&case["headers"], case["body"].as_str().unwrap());
        let mut event: Value = serde_json::from_slice(&record).unwrap();
        let data = event.as_object_mut().unwrap().remove("data").unwrap();
        assert_eq!((&event, &data), (&case["attributes"], &case["data"]), "{}", case["name"]);
        // All that is wrong with them is that their type is not of our contract.
        let told = problems(&record);
        let codes: Vec<&str> = told.iter().map(|it| it.code).collect();
        assert_eq!(codes, ["schemas/unknown-type"], "{}: {told:?}", case["name"]);
    }
    assert!(!vectors.is_empty());
}

const ATTRIBUTES: &[(&str, &str)] = &[
    ("specversion", "1.0"),
    ("id", "e \"1\""),
    ("source", "/s"),
    ("type", "case.resolved"),
    ("time", "2026-03-01T09:30:00Z"),
];

#[test]
fn binary_becomes_structured() {
    let body = b" {\"case\": \"K-1\"}\n";
    let record = binary_to_structured(ATTRIBUTES, Some("application/json"), body).unwrap();
    let event = structured(&record).unwrap();
    assert_eq!(event.id, "e \"1\"");
    assert!(matches!(event.data, Data::CaseResolved(it) if it.case == "K-1"));
}

/// What is wrong with a request in binary mode, as it is told.
fn told(attributes: &[(&str, &str)], content_type: Option<&str>, body: &[u8]) -> String {
    match binary_to_structured(attributes, content_type, body) {
        Err(problem) => format!("{}: {problem}", problem.code),
        Ok(record) => problems(&record)
            .iter()
            .map(|it| format!("{}: {it}", it.code))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[test]
fn binary_mode_is_as_strict() {
    let good: &[u8] = b"{\"case\":\"K-1\"}";
    let json = Some("application/json; charset=utf-8");
    let with = |more: &[(&'static str, &'static str)]| [ATTRIBUTES, more].concat();
    let check = |attributes: &[(&str, &str)], content_type, body, expected: &str| {
        assert_eq!(told(attributes, content_type, body), expected);
    };
    check(ATTRIBUTES, json, good, "");
    check(ATTRIBUTES, None, good, "");
    check(&with(&[("datacontenttype", "text/plain")]), json, good, "");
    check(
        &with(&[("datacontenttype", "text/plain")]),
        None,
        good,
        "schemas/wrong-shape: field \"/datacontenttype\": expected JSON, such as application/json, \
         found \"text/plain\"",
    );
    check(
        ATTRIBUTES,
        Some("text/plain"),
        good,
        "schemas/wrong-shape: field \"/datacontenttype\": expected JSON, such as application/json, \
         found \"text/plain\"",
    );
    check(
        ATTRIBUTES,
        json,
        b"",
        "schemas/wrong-shape: field \"/data\": expected an object, found nothing",
    );
    check(
        ATTRIBUTES,
        json,
        b"{\"case\":\"K-1\"},\"tenant\":\"other\"",
        "schemas/not-json: field \"/data\": expected nothing after the value, \
         found ,\"tenant\":\"other\" at byte 14",
    );
    check(
        &with(&[("data", "{}")]),
        json,
        good,
        "schemas/wrong-shape: field \"/data\": expected `data` as the body, found \"data\"",
    );
    check(
        &with(&[("id", "2")]),
        json,
        good,
        "schemas/wrong-shape: field \"/id\": expected each attribute once, found \"id\"",
    );
    check(
        &with(&[("my\"attribute", "2")]),
        json,
        good,
        "schemas/wrong-shape: field \"/my\"attribute\": expected attributes named by lower-case \
         letters and digits, found \"my\\\"attribute\"",
    );
    check(
        &ATTRIBUTES[1..],
        json,
        good,
        "schemas/wrong-shape: field \"/specversion\": expected \"1.0\", found nothing",
    );
}

#[test]
fn a_batch_gives_the_bytes_of_its_events() {
    let check = |body: &str, expected: Result<&[&str], &str>| {
        let read = batch(body.as_bytes()).map_err(|it| it.to_string());
        let expected = expected.map(|it| it.iter().map(|it| it.as_bytes()).collect());
        assert_eq!(read, expected.map_err(str::to_string), "{body}");
    };
    check("[]", Ok(&[]));
    check(" [ {\"id\" : 1} ,2 , \"x\"]\n", Ok(&["{\"id\" : 1}", "2", "\"x\""]));
    check("{}", Err("expected an array of events, found {}"));
    check("[{}", Err("expected a comma or the end of the array, found the end, after 3 bytes"));
    check("[{}]x", Err("expected nothing after the value, found x at byte 4"));
    check("", Err("expected a value, found the end, after 0 bytes"));
}
