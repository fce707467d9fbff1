//! Goal: a stepped clock changes nothing but the words in the log: epochs go on by the steady
//! clock, append times and the verdict on times in the future with them, forward and backward.
//! Method: the real binary under faketime, whose offset is changed while it runs.

#![allow(clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use process::{Folder, Process, command};
use serde_json::{Value, json};

/// Where distributions put the library; the package is `faketime`.
fn library() -> PathBuf {
    let of = |arch: &str| PathBuf::from(format!("/usr/lib/{arch}/faketime/libfaketime.so.1"));
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", "."].map(of);
    let found = places.iter().find(|it| it.exists()).cloned();
    found.expect("libfaketime: install the package faketime (scripts/test does)")
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Appends one event dated so far from the true time, waits until it is readable.
fn append(address: &str, id: &str, ahead_s: i64) -> (u16, Value) {
    let event = json!({
        "specversion": "1.0", "type": "customer.registered", "source": "/clock", "id": id,
        "time": schemas::time::rfc3339((now_s() + ahead_s) * 1_000_000),
        "data": {"customer": id, "name": "Ada"},
    });
    let (body, mut answer) = (event.to_string(), String::new());
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/events?wait=applied HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn a_stepped_clock_is_told_and_not_followed() {
    let folder = Folder::new("clock");
    let offset = folder.file("offset", "+0");
    let step = |to: &str| {
        // Replaced at once: a half-written offset would be a step of its own.
        let new = folder.file("offset.new", to);
        std::fs::rename(new, &offset).unwrap();
    };
    let mut run = command(&["run", "--data-dir", &folder.path("data"), "--listen", "127.0.0.1:0"]);
    run.env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", &offset)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut process = Process::spawn(&mut run);
    let address = process.address(&folder.0.join("data"));

    let mut epochs = Vec::new();
    let offsets = ["+0", "+3650d", "+0", "-3600", "+5", "+0"];
    for (n, to) in offsets.iter().enumerate() {
        step(to);
        let (status, taken) = append(&address, &format!("C{n}"), 0);
        assert_eq!((status, &taken["new"]), (202, &json!(1)), "at {to}: {taken}");
        epochs.push(taken["as_of"]["epoch"].as_i64().unwrap());
        // A year ahead is the future, whatever the stepped clock says.
        let (status, refused) = append(&address, &format!("F{n}"), 365 * 86_400);
        assert_eq!(status, 400, "at {to}: {refused}");
    }
    assert!(epochs.windows(2).all(|it| it[0] < it[1]), "{epochs:?}");
    let off = epochs[offsets.len() - 1] / 1_000 - now_s();
    assert!(off.abs() < 30, "the epoch is {off} s off");

    process.signal("-TERM");
    let (code, _, told) = process.end();
    assert_eq!(code, 0, "{told}");
    assert!(told.matches("run/clock-step").count() >= 2, "{told}");
    assert!(told.contains("agrees again"), "{told}");
}
