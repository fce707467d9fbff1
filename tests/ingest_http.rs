//! Goal: what `POST /v1/events` has acknowledged is in the views, whatever the limits are and become:
//! it is never found among the rejects. Method: the real binary; events that are as long as the
//! limit lets them be, under a tenant of the longest name; then the same log is read again under
//! lower limits, with every view built anew.

#![allow(clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use process::{Folder, Process, get};
use serde_json::{Value, json};

const LIMIT: usize = 64 * 1024;
const BATCH: &str = "application/cloudevents-batch+json";
const ONE: &str = "application/cloudevents+json";

fn server(folder: &Folder, more: &[&str]) -> (Process, String) {
    let data = folder.path("data");
    let mut words = vec!["run", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    words.extend(more);
    let mut process = Process::start(&words);
    let address = process.address(&folder.0.join("data"));
    (process, address)
}

fn end(process: Process) {
    process.signal("-TERM");
    let (code, _, told) = process.end();
    assert_eq!(code, 0, "{told}");
}

fn post(address: &str, tenant: &str, kind: &str, body: &str) -> (u16, Value) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/events?wait=applied&tenant={tenant} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let (status, body) = process::answer(stream);
    (status, serde_json::from_str(&body).unwrap())
}

fn customer(id: &str, ahead_s: u64) -> Value {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = i64::try_from((now_s + ahead_s) * 1_000_000).unwrap();
    json!({
        "specversion": "1.0", "type": "customer.registered", "source": "/http", "id": id,
        "time": schemas::time::rfc3339(time), "data": {"customer": id, "name": "Ada"},
    })
}

/// The event with spaces before its end, until it has so many bytes.
fn of_length(event: &Value, bytes: usize) -> String {
    let text = event.to_string();
    let (all_but_end, padding) = (&text[..text.len() - 1], " ".repeat(bytes - text.len()));
    format!("{all_but_end}{padding}}}")
}

fn counts(address: &str) -> (i64, i64) {
    let ledger: Value = serde_json::from_str(&get(address, "/v1/ledger").1).unwrap();
    let log = &ledger["partitions"][0];
    (log["applied"].as_i64().unwrap(), log["rejected"].as_i64().unwrap())
}

/// A request that has become more than a block of the log holds is refused for good, with the limit.
#[test]
fn what_is_no_block_is_told_with_its_limit() {
    let folder = Folder::new("block");
    let (process, address) = server(&folder, &["--set", "serve.max_body_bytes=8 MiB"]);
    // Each is two bytes of JSON, so that many small events become several times as much.
    let tenant = "%22".repeat(128);
    let events: Vec<String> = (0..45_000)
        .map(|n| {
            format!(
                r#"{{"specversion":"1.0","type":"record.deleted","source":"s","id":"{n}","time":"2026-03-01T09:30:00Z","data":{{"table":"t","key":"k","version":"1"}}}}"#
            )
        })
        .collect();
    let (status, refused) = post(&address, &tenant, BATCH, &format!("[{}]", events.join(",")));
    assert_eq!((status, &refused["code"]), (413, &json!("ingest/block-too-large")), "{refused}");
    assert_eq!(refused["limit_bytes"], 16 << 20, "{refused}");
    assert_eq!(counts(&address), (0, 0));
    end(process);
}

#[test]
fn what_was_acknowledged_is_never_a_reject() {
    let folder = Folder::new("acknowledged");
    let (process, address) = server(&folder, &[]);
    let tenant = "t".repeat(128);
    // What is written in front of an event that names none: `"tenant":"…",`.
    let room = LIMIT - (r#""tenant":"","#.len() + tenant.len());

    let longest = of_length(&customer("longest", 0), room);
    let (status, answer) = post(&address, &tenant, ONE, &longest);
    let ended = [&answer["applied"], &answer["new"], &answer["duplicate"], &answer["rejected"]];
    assert_eq!(status, 202, "{answer}");
    assert_eq!(ended, [&json!(true), &json!(1), &json!(0), &json!(0)], "{answer}");
    // One byte more, and what it was without the tenant: refused, and nothing of the batch taken.
    for bytes in [room + 1, LIMIT] {
        let batch = format!("[{},{}]", customer("beside", 0), of_length(&customer("x", 0), bytes));
        let (status, refused) = post(&address, &tenant, BATCH, &batch);
        assert_eq!((status, &refused["code"]), (413, &json!("serve/event-too-large")), "{refused}");
        assert_eq!((&refused["event"], &refused["limit_bytes"]), (&json!(1), &json!(LIMIT)));
        assert!(refused["detail"].as_str().unwrap().contains("tenant"), "{refused}");
    }
    // One that needs no tenant written in has all of the limit.
    let mut own = customer("own", 0);
    own["tenant"] = json!(tenant);
    let (status, answer) = post(&address, &tenant, ONE, &of_length(&own, LIMIT));
    assert_eq!((status, &answer["new"]), (202, &json!(1)), "{answer}");
    // As late as events may be dated, and once more.
    let future = customer("future", 240);
    let again = format!("[{future},{}]", customer("longest", 0));
    let (status, answer) = post(&address, &tenant, BATCH, &again);
    assert_eq!((status, &answer["new"], &answer["duplicate"]), (202, &json!(1), &json!(1)));

    let all = ["longest", "own", "future"];
    let readable = |address: &str| {
        for id in all {
            let (status, row) = get(address, &format!("/v1/views/customers/{id}?tenant={tenant}"));
            assert_eq!(status, 200, "{id}: {row}");
        }
        assert_eq!(get(address, &format!("/v1/views/customers/beside?tenant={tenant}")).0, 404);
    };
    readable(&address);
    assert_eq!(counts(&address), (3, 0));
    end(process);

    let lower =
        ["--set", "serve.max_event_bytes=1 KiB", "--set", "engine.future_limit=1s", "--rebuild"];
    let (process, address) = server(&folder, &lower);
    // The whole log is read again first, the repeat with it.
    while get(&address, &format!("/v1/views/customers/future?tenant={tenant}")).0 != 200 {
        assert_eq!(counts(&address).1, 0, "none may be rejected");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    readable(&address);
    assert_eq!(counts(&address), (3, 0));
    let (status, refused) = post(&address, &tenant, ONE, &of_length(&customer("y", 0), 1_025));
    assert_eq!((status, &refused["limit_bytes"]), (413, &json!(1_024)), "{refused}");
    end(process);
}
