//! Goal: whatever a feed holds that is no event, each record of it is one kept reject that says
//! which field, what was expected and what was found; nothing is lost, and what is good beside it
//! is applied. Method: the real binary reads one file with one record of each kind; the ledger and
//! `/v1/rejects` are compared with the table below, while it runs, and the rejects again with
//! nobody running.

#![allow(missing_docs)]

#[path = "common/process.rs"]
mod process;

use std::time::Duration;

use process::{Folder, Process, get, run};
use serde_json::{Value, json};

/// An event that would be taken but for the attributes or data that a test sets.
fn event(attributes: Value, data: Value) -> Vec<u8> {
    let mut event = json!({
        "specversion": "1.0", "type": "feedback.submitted", "source": "/shop", "id": "e-1",
        "time": "2026-03-01T09:30:00Z", "data": {"customer": "C-1", "rating": 4},
    });
    let set = |into: &mut Value, what: Value| {
        for (name, value) in what.as_object().unwrap() {
            match value {
                // `null`: without it.
                Value::Null => into.as_object_mut().unwrap().remove(name),
                _ => into.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
    };
    set(&mut event["data"], data);
    set(&mut event, attributes);
    event.to_string().into_bytes()
}

/// A record, and how it is told: reason, pointer, words in *expected*, words in *found*.
type Kind = (Vec<u8>, [&'static str; 4]);

fn kinds() -> Vec<Kind> {
    let of = |attributes| event(attributes, json!({}));
    let data = |data| event(json!({}), data);
    let identifier = "text of 1 to 128 bytes without control characters";
    let mut not_utf8 = data(json!({"text": "Zoe"}));
    let at = not_utf8.windows(3).position(|it| it == b"Zoe").unwrap();
    not_utf8[at] = 0xff;
    let time = "as RFC 3339 writes it, from 1970 on";
    vec![
        (b"case K-1 resolved".to_vec(), ["schemas/not-json", "", "a value", "case K-1"]),
        (b"{\"specversion\": \"1.0\"".to_vec(), ["schemas/not-json", "", "", "after 21 bytes"]),
        (not_utf8, ["schemas/not-json", "", "UTF-8", ""]),
        (b"[]".to_vec(), ["schemas/wrong-shape", "", "a JSON object", "[]"]),
        (
            data(json!({"customer": null})),
            ["schemas/wrong-shape", "/data", "a customer", "nothing"],
        ),
        (data(json!({"stars": 4})), ["schemas/wrong-shape", "/data/stars", "rating", "\"stars\""]),
        (data(json!({"rating": "4"})), ["schemas/wrong-shape", "/data/rating", "1 to 5", "\"4\""]),
        (data(json!({"rating": 6})), ["schemas/out-of-range", "/data/rating", "1 to 5", "6"]),
        (of(json!({"type": "case.closed"})), ["schemas/unknown-type", "/type", "", "case.closed"]),
        (
            of(json!({"dataschema": "feedback.submitted/2"})),
            ["schemas/unknown-version", "/dataschema", "version 1", "feedback.submitted/2"],
        ),
        (of(json!({"id": ""})), ["schemas/identifier", "/id", identifier, "\"\""]),
        (
            of(json!({"id": "i".repeat(129)})),
            ["schemas/identifier", "/id", identifier, "129 bytes"],
        ),
        (of(json!({"id": "a\0b"})), ["schemas/identifier", "/id", identifier, "a\\u0000b"]),
        (of(json!({"time": null})), ["schemas/time", "/time", "", "nothing"]),
        (of(json!({"time": "noon"})), ["schemas/time", "/time", time, "\"noon\""]),
        (
            of(json!({"time": "1969-12-31T23:59:59Z"})),
            ["schemas/time", "/time", time, "\"1969-12-31T23:59:59Z\""],
        ),
        (
            of(json!({"time": "2999-01-01T00:00:00Z"})),
            ["engine/future-time", "/time", "a time not after", "2999-01-01T00:00:00.000Z"],
        ),
        (data(json!({"text": "x".repeat(70_000)})), ["schemas/too-large", "", "65536 bytes", "70"]),
    ]
}

/// The same rejects, told by whoever, in the order of the file.
fn are_as_told(mut rejects: Vec<Value>, kinds: &[Kind]) {
    rejects.reverse();
    assert_eq!(rejects.len(), kinds.len(), "{rejects:#?}");
    for (n, (reject, (bytes, [reason, pointer, expected, found]))) in
        rejects.iter().zip(kinds).enumerate()
    {
        let text = |name: &str| reject[name].as_str().unwrap_or_else(|| panic!("{name}: {reject}"));
        assert_eq!((text("reason"), text("pointer")), (*reason, *pointer), "{reject}");
        assert!(text("expected").contains(expected) && text("found").contains(found), "{reject}");
        assert!(!text("expected").is_empty() && !text("found").is_empty(), "{reject}");
        // The file is good, then of each kind one.
        assert_eq!((text("feed"), &reject["offset"]), ("shop", &json!(n + 1)), "{reject}");
        match std::str::from_utf8(bytes) {
            // What is too large is kept as far as it may be.
            Ok(whole) if reject["cut"] == json!(false) => assert_eq!(text("text"), whole),
            Ok(whole) => assert!(whole.starts_with(text("text")), "{reject}"),
            Err(_) => assert!(reject["base64"].is_string(), "{reject}"),
        }
    }
}

#[test]
fn each_kind_is_one_reject_and_nothing_is_lost() {
    let (folder, kinds) = (Folder::new("bad-input"), kinds());
    let good = event(json!({"id": "good-1"}), json!({"customer": "C-good"}));
    let last = event(json!({"id": "good-2"}), json!({"customer": "C-last"}));
    let mut lines: Vec<&[u8]> = vec![&good];
    lines.extend(kinds.iter().map(|it| it.0.as_slice()));
    // A second of the first: a duplicate is no reject.
    lines.extend([good.as_slice(), last.as_slice()]);
    let file = folder.file("in.jsonl", lines.join(&b'\n'));
    let (data_dir, feed) = (folder.path("data"), format!("shop={file}"));
    let words = ["run", "--data-dir", &data_dir, "--listen", "127.0.0.1:0", "--feed", &feed];
    let mut process = Process::start(&words);
    let address = process.address(&folder.0.join("data"));
    let ask = |path: &str| -> Value { serde_json::from_str(&get(&address, path).1).unwrap() };

    let n = kinds.len() as u64;
    let counted = || {
        let ledger = ask("/v1/ledger");
        let line = ledger["partitions"].as_array().unwrap().iter().find(|it| it["feed"] == "shop");
        let line = line.cloned().unwrap_or_default();
        ["next", "read", "applied", "duplicate", "skipped", "rejected", "lost", "absent"]
            .map(|name| line[name].as_u64().unwrap_or_default())
    };
    let all = [n + 3, n + 3, 2, 1, 0, n, 0, 0];
    let page = || ask("/v1/rejects?limit=1000")["rejects"].as_array().unwrap().clone();
    // A minute at least: it waits for a machine that is busy.
    for _ in 0..1_200 {
        if counted() == all && page().len() == kinds.len() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(counted(), all, "next, read, applied, duplicate, skipped, rejected, lost, absent");
    are_as_told(page(), &kinds);
    for (customer, status) in [("C-good", 200), ("C-last", 200), ("C-1", 404)] {
        assert_eq!(get(&address, &format!("/v1/views/customers/{customer}")).0, status);
    }
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert_eq!(code, 0, "{err}");

    let (code, out, err) =
        run(&["rejects", "show", "--json", "--limit", "100", "--data-dir", &data_dir]);
    assert_eq!(code, 0, "{err}");
    are_as_told(out.lines().map(|it| serde_json::from_str(it).unwrap()).collect(), &kinds);
}
