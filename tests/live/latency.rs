//! From produced to readable: how long until a reader over HTTP sees what another client has sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::{Millstream, TENANTS, generated};
use crate::source::{feed_of, record};
use crate::topics::Topic;
use crate::wait::{PATIENCE, seed, unique};

/// Events a second. Not optimised, every view together takes some 20,000 of these on two cores that
/// do nothing else; here broker, sender and reader are on them too.
const RATE: u32 = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
/// Sent together, by the clock: a hundred times a second.
const AT_ONCE: u32 = RATE / 100;
/// Of so many groups, one ends with an order that a reader waits for.
const PROBE_EVERY: usize = 10;
/// Events in all: five seconds.
const EVENTS: usize = 5 * RATE as usize;
/// Sent and read before that: a group is joined and tables are made once, which takes seconds where
/// nothing is optimised.
const BEFORE: usize = 2_000;
/// What the build for tests is held to on a shared machine: no wait of a second is in the way of
/// most (how long the slowest took says how busy the machine was).
const P50_MAX: Duration = Duration::from_secs(1);

/// An order that nobody else has placed.
fn order(name: &str) -> String {
    let data = serde_json::json!({
        "order": name, "customer": "C-probe", "currency": "EUR", "channel": "web",
        "promised_at": "2026-01-05T00:00:00Z",
        "lines": [{"sku": "SKU-1", "quantity": 1, "unit_price": 100, "ship_from": "W-port",
                   "carrier": "pigeon"}],
    });
    serde_json::json!({
        "specversion": "1.0", "type": "order.placed", "source": "/probe", "id": name,
        "time": "2026-01-01T00:00:00Z", "tenant": TENANTS[0], "subject": name, "data": data,
    })
    .to_string()
}

/// A connection that asks for one row after the other.
struct Asking(BufReader<TcpStream>);

impl Asking {
    fn status(&mut self, path: &str) -> u16 {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length, mut line) = (0, 0, String::new());
        while line != "\r\n" {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection ended");
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            let lower = line.to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap();
            }
        }
        self.0.by_ref().take(length).read_to_end(&mut Vec::new()).unwrap();
        status
    }
}

/// Goal: an event is readable soon after it was due, at a fixed rate. Method: sent by the
/// clock whatever becomes of those before; a reader asks for each tenth group's order until it is
/// there, counted from the instant it was due.
#[test]
fn produced_to_readable() {
    let (_, events) = generated("latency", seed(), (BEFORE + EVENTS) as u64);
    let topic = Topic::create(Broker::shared().brokers(), "latency", 4, &[]);
    let it = Millstream::start("latency", &feed_of(&[&topic]));
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    let (probes, asked) = std::sync::mpsc::channel::<(String, Instant)>();
    let mut asking = Asking(BufReader::new(it.connect()));
    let reader = std::thread::spawn(move || {
        let mut took = Vec::new();
        for (name, due) in asked {
            let path = format!("/v1/views/orders/{name}?tenant={}", TENANTS[0]);
            while asking.status(&path) != 200 {
                assert!(due.elapsed() < PATIENCE, "{name} is not there");
                std::thread::park_timeout(Duration::from_millis(1));
            }
            took.push(due.elapsed());
        }
        took
    });
    let sender = Sender::new(&topic, &[("linger.ms", "1"), ("compression.type", "lz4")]);
    let (before, records) = records.split_at(BEFORE);
    before.iter().for_each(|it| sender.send(it));
    it.until_read("k/", BEFORE as u64);
    let name = unique("O-probe");
    let began = Instant::now();
    for (n, group) in records.chunks(AT_ONCE as usize).enumerate() {
        let due = began + Duration::from_secs(1) * AT_ONCE * n as u32 / RATE;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        group.iter().for_each(|it| sender.send(it));
        if n % PROBE_EVERY == 0 {
            let name = format!("{name}-{n}");
            sender.send(&Record::new(&name, order(&name)));
            probes.send((name, due)).unwrap();
        }
    }
    drop(probes);
    for it in sender.answers() {
        it.unwrap();
    }
    let mut took = reader.join().unwrap();
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    println!("produced to readable at {RATE}/s: p50 {:?}, p99 {:?}", at(50), at(99));
    it.until_read("k/", (records.len() + BEFORE + took.len()) as u64);
    it.balances("k/");
    assert!(at(50) < P50_MAX, "p50 {:?}", at(50));
}
