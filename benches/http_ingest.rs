//! How many events a second does `POST /v1/events` take, in batches of 100, each batch durable
//! before it is answered? Unit: events/s; latency of one request in ms.
//!
//! Sixteen keep-alive connections on the same machine; every answer must be 202, and at the end
//! the ledger must have applied every event once.

#![allow(missing_docs, clippy::disallowed_methods)]

mod common;

use std::time::{Duration, Instant};

use common::{Client, get, percentile, post};
use millstream::config::Settings;
use millstream::run::{Plan, start};

const CONNECTIONS: usize = 16;
const BATCH: usize = 100;
const EVENTS: usize = 600_000;

fn main() {
    let folder = std::env::temp_dir().join(format!("millstream-ingest-{}", std::process::id()));
    let mut settings = Settings::default_in(&folder);
    settings.serve.listen = "127.0.0.1:0".parse().expect("an address");
    let plan = Plan::of(&settings);
    let running = start(settings, plan).expect("starts");
    let address = running.address().expect("serves");

    let bodies: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS).map(requests).collect();
    let cpu = millstream::usage::cpu_seconds();
    let started = Instant::now();
    let clients: Vec<_> = bodies
        .into_iter()
        .map(|requests| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut took = Vec::with_capacity(requests.len());
                for request in &requests {
                    let sent = Instant::now();
                    loop {
                        let (status, body) = client.send(request);
                        if status == 202 {
                            break;
                        }
                        let told = String::from_utf8_lossy(body);
                        assert_eq!(status, 429, "{told}");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    took.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                took
            })
        })
        .collect();
    let mut took: Vec<f64> = clients.into_iter().flat_map(|it| it.join().expect("ends")).collect();
    let seconds = started.elapsed().as_secs_f64();
    let cpu = millstream::usage::cpu_seconds() - cpu;
    took.sort_by(f64::total_cmp);

    let mut reader = Client::connect(address);
    let mut request = String::from_utf8(get("/v1/ledger")).expect("text");
    request
        .insert_str(request.len() - 2, &format!("millstream-at-least: {}\r\n", took.len() * BATCH));
    let (status, body) = reader.send(request.as_bytes());
    let ledger: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(status, 200, "{ledger}");
    assert_eq!(ledger["partitions"][0]["applied"], took.len() * BATCH, "{ledger}");

    let events = (took.len() * BATCH) as f64;
    println!(
        "http ingest, {CONNECTIONS} connections, batches of {BATCH}, durable: {:.0} events/s, \
         request p50 {:.1} ms, p99 {:.1} ms, {:.1} CPU-s per million (client included)",
        events / seconds,
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        cpu / events * 1e6
    );
    running.stop().expect("stops");
    std::fs::remove_dir_all(&folder).expect("cleans up");
}

/// The requests of one connection: every event has an id of its own.
fn requests(connection: usize) -> Vec<Vec<u8>> {
    let event = |n: usize| {
        let (customer, order) = (n * 7919 % 50_000, n / 3);
        let head = format!(
            r#"{{"specversion":"1.0","id":"{connection}-{n}","source":"bench","time":"2026-01-01T00:00:00Z""#
        );
        match n % 3 {
            0 => format!(
                r#"{head},"type":"order.placed","data":{{"order":"{connection}-{order}","customer":"C{customer}","currency":"EUR","lines":[{{"sku":"S1","quantity":2,"unit_price":1250}}]}}}}"#
            ),
            1 => format!(
                r#"{head},"type":"order.status_changed","data":{{"order":"{connection}-{order}","status":"paid"}}}}"#
            ),
            _ => format!(
                r#"{head},"type":"interaction.recorded","data":{{"customer":"C{customer}","channel":"web","action":"view"}}}}"#
            ),
        }
    };
    let batches = EVENTS / CONNECTIONS / BATCH;
    (0..batches)
        .map(|batch| {
            let events: Vec<String> = (0..BATCH).map(|n| event(batch * BATCH + n)).collect();
            let body = format!("[{}]", events.join(","));
            post("/v1/events", "application/cloudevents-batch+json", body.as_bytes())
        })
        .collect()
}
