//! Goal: a feed that fails is told at once, and nobody is left with half a process: damage in the
//! log ends it with the report; a file that cannot be read further is an alarm and no readiness,
//! and everything else goes on. Method: the real binary; bits flipped under it, files cut short.

#![allow(clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use process::{Folder, Process, command, get, run};
use serde_json::Value;

fn event(n: u64) -> String {
    format!(
        r#"{{"specversion":"1.0","type":"customer.registered","source":"/s","id":"{n}","time":"2026-03-01T09:30:00Z","data":{{"customer":"C-{n}","name":"{}"}}}}"#,
        "x".repeat(200)
    )
}

fn post(address: &str, events: &[String]) -> bool {
    let body = format!("[{}]", events.join(","));
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let head = "content-type: application/cloudevents-batch+json\r\nconnection: close";
    let sent = write!(
        stream,
        "POST /v1/events HTTP/1.1\r\nhost: a\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    sent.is_ok()
        && std::io::Read::read_to_string(&mut stream, &mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 202")
}

#[test]
fn damage_under_a_running_process_ends_it_with_its_report() {
    let folder = Folder::new("damage");
    let data = folder.path("data");
    let mut process = Process::spawn(&mut command(&[
        "run",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--set",
        "log.commit_delay=200ms",
    ]));
    let address = process.address(&folder.0.join("data"));
    // Makes the segment.
    assert!(post(&address, &[event(u64::MAX)]));
    let log = folder.0.join("data/log/00000000000000000000.seg");
    let until = Instant::now() + Duration::from_secs(60);
    let mut n = 0;
    // Again until the reader was caught behind the damage: it reads within milliseconds.
    while process.child.try_wait().unwrap().is_none() && Instant::now() < until {
        let events: Vec<String> = (n..n + 1_000).map(event).collect();
        n += 1_000;
        let flipper = std::thread::spawn({
            let log = log.clone();
            move || {
                let before = std::fs::metadata(&log).map_or(0, |it| it.len());
                let file = std::fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
                let until = Instant::now() + Duration::from_secs(1);
                // As soon as the file grows, a bit of what is new is another.
                while Instant::now() < until {
                    let len = file.metadata().unwrap().len();
                    if len > before + 1_000 {
                        let mut byte = [0];
                        file.read_exact_at(&mut byte, before + 900).unwrap();
                        file.write_all_at(&[byte[0] ^ 1], before + 900).unwrap();
                        return;
                    }
                    std::hint::spin_loop();
                }
            }
        });
        post(&address, &events);
        flipper.join().unwrap();
    }
    let (code, _, told) = process.end();
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("segments/damaged"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_refused_at_start() {
    let folder = Folder::new("nofile");
    let feed = format!("a={}", folder.path("no-such-file"));
    let data = folder.path("data");
    let (code, _, told) =
        run(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--feed", &feed]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("ingest/cannot-open") || told.contains("no-such-file"), "{told}");
}

#[test]
fn a_file_cut_short_is_an_alarm_and_no_readiness() {
    let folder = Folder::new("cutshort");
    let text: String = (0..5_000).map(|n| event(n) + "\n").collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    let bytes = gz.finish().unwrap();
    let feed = format!("a={}", folder.file("a.jsonl.gz", &bytes[..bytes.len() / 2]));
    let data = folder.path("data");
    let mut process = Process::spawn(&mut command(&[
        "run",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--feed",
        &feed,
    ]));
    let address = process.address(&folder.0.join("data"));
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, body) = get(&address, "/health/ready");
        if status == 503 && body.contains("cannot be read further") {
            break;
        }
        assert!(Instant::now() < until, "{status}: {body}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    // What was read is served, and others can send.
    assert!(post(&address, &[event(900_000)]));
    // The alarm may be told before the epoch is complete that carries what was read.
    loop {
        let (_, ledger) = get(&address, "/v1/ledger");
        let ledger: Value = serde_json::from_str(&ledger).unwrap();
        let lines = ledger["partitions"].as_array().unwrap();
        if lines.iter().any(|it| it["feed"] == "a" && it["read"].as_u64() > Some(0)) {
            break;
        }
        assert!(Instant::now() < until, "{ledger}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    process.signal("-TERM");
    let (code, _, told) = process.end();
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("ingest/cannot-read"), "{told}");
}

/// Goal: ready means read. Method: a file that takes a while; the moment it says ready, all
/// of it counts. (A machine may have read it before the first question.)
#[test]
fn ready_is_when_the_files_are_read() {
    let folder = Folder::new("ready");
    let text: String = (0..120_000).map(|n| event(n) + "\n").collect();
    let feed = format!("a={}", folder.file("a.jsonl", &text));
    let data = folder.path("data");
    let mut process = Process::spawn(&mut command(&[
        "run",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--feed",
        &feed,
    ]));
    let address = process.address(&folder.0.join("data"));
    let until = Instant::now() + Duration::from_secs(60);
    let read = |address: &str| {
        let ledger: Value = serde_json::from_str(&get(address, "/v1/ledger").1).unwrap();
        let lines = ledger["partitions"].as_array().unwrap().clone();
        let line = lines.iter().find(|it| it["feed"] == "a").cloned();
        line.map_or((0, 0), |it| (it["read"].as_u64().unwrap(), it["lag"].as_u64().unwrap()))
    };
    while get(&address, "/health/ready").0 != 200 {
        assert!(Instant::now() < until);
    }
    assert_eq!(read(&address), (120_000, 0));
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}
