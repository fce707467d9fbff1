//! How long does a claim take, from request to durable answer, at 200 claims a second? Unit: ms.
//!
//! Cases wait in one queue (5,000 of 10,000 at the end), the views are all on, sixteen keep-alive
//! connections claim by the clock: a claim's time counts from the instant at which it was due, so
//! that a slow answer makes those behind it late. Every case may be given once.

#![allow(missing_docs, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{Client, percentile};
use millstream::config::Settings;
use millstream::run::{Plan, start};

const CONNECTIONS: usize = 16;
const PER_SECOND: f64 = 200.0;
const CLAIMS: usize = 5_000;
const CASES: usize = 10_000;
const BATCH: usize = 500;

fn main() {
    let folder = std::env::temp_dir().join(format!("millstream-claims-{}", std::process::id()));
    let mut settings = Settings::default_in(&folder);
    settings.serve.listen = "127.0.0.1:0".parse().expect("an address");
    let plan = Plan::of(&settings);
    let running = start(settings, plan).expect("starts");
    let address = running.address().expect("serves");
    let mut client = Client::connect(address);
    for first in (0..CASES).step_by(BATCH) {
        let (status, told) = client.send(&opened(first));
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(told));
    }
    let started = Instant::now();
    let claimers: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let (mut took, mut given) = (Vec::new(), Vec::new());
                for n in (connection..CLAIMS).step_by(CONNECTIONS) {
                    let due = started + Duration::from_secs_f64(n as f64 / PER_SECOND);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let (status, answer) = client.send(&claim(n));
                    took.push(due.elapsed().as_secs_f64() * 1e3);
                    let answer: serde_json::Value = serde_json::from_slice(answer).expect("JSON");
                    assert_eq!(status, 200, "{answer}");
                    given.push(answer["case"].as_str().expect("a case").to_string());
                }
                (took, given)
            })
        })
        .collect();
    let (mut took, mut given) = (Vec::new(), BTreeSet::new());
    for claimer in claimers {
        let (times, cases) = claimer.join().expect("ends");
        took.extend(times);
        given.extend(cases);
    }
    assert_eq!(given.len(), CLAIMS, "a case was given twice");
    let seconds = started.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    println!(
        "{CLAIMS} claims at {:.0}/s of {CASES} cases: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        CLAIMS as f64 / seconds,
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        took[took.len() - 1]
    );
    running.stop().expect("ends well");
    std::fs::remove_dir_all(&folder).expect("was ours");
}

/// A batch of openings, as it goes over the wire.
fn opened(first: usize) -> Vec<u8> {
    let event = |n: usize| {
        format!(
            r#"{{"specversion":"1.0","id":"o{n}","source":"//crm","type":"case.opened","time":"2026-01-01T08:00:00Z","data":{{"case":"K-{n}","customer":"C-{}","severity":{},"queue":"q","skills":["s{}"]}}}}"#,
            n % 3_000,
            1 + n % 4,
            n % 3
        )
    };
    let body: Vec<String> = (first..first + BATCH).map(event).collect();
    let body = format!("[{}]", body.join(","));
    let kind = "application/cloudevents-batch+json";
    request("/v1/events?wait=applied", kind, "none", &body)
}

fn claim(n: usize) -> Vec<u8> {
    let body = format!(r#"{{"agent":"a{}","skills":["s0","s1","s2"]}}"#, n % 64);
    request("/v1/queues/q/claim", "application/json", &format!("key-{n}"), &body)
}

fn request(path: &str, kind: &str, key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n\
         idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
