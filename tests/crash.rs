//! Goal: killed at any instant it goes on as if nothing had happened: what was acknowledged is
//! there once, nothing else is, the ledger is balanced, and a start takes up the state instead of
//! reading everything again.
//! Method: the real binary under load; a producer that sends each batch until it is acknowledged
//! and keeps a list of what was; a nemesis with a seed that kills (or asks to end, then kills) and
//! starts again with another number of workers. Then every row of every view is held against the
//! plain computation over the list.
//!
//! `MILLSTREAM_SEED` repeats a run, `MILLSTREAM_KILLS` says how often (`scripts/soak`).

#![allow(clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::{Folder, Process, command};
use schemas::events::Event;
use serde_json::Value;

/// Kills where nobody says how many.
const KILLS: u64 = 30;
const BATCH: u64 = 50;
const STATUSES: [&str; 4] = ["paid", "in_production", "shipped", "delivered"];

/// SplitMix64: a seed is a bug report.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().expect("a number"))
}

/// A request is one tenant's.
fn tenant_of(n: u64) -> &'static str {
    if (n / BATCH).is_multiple_of(3) { "b" } else { "default" }
}

/// Event `n`: orders are placed and walk on, customers write, cases are opened and resolved; two
/// tenants with equal ids.
fn event(n: u64) -> String {
    let tenant = tenant_of(n);
    let (order, customer, case) = (n / 4 % 900, n * 7 % 120, n / 9 % 200);
    let time = schemas::time::rfc3339(1_767_225_600_000_000 + (n as i64 * 37_003) % 9_000_000_000);
    let (kind, data) = match n % 9 {
        0 | 4 => (
            "order.placed",
            format!(
                r#"{{"order":"O-{order}","customer":"C-{customer}","currency":"EUR","lines":[{{"sku":"S","quantity":{},"unit_price":{}}}]}}"#,
                n % 5 + 1,
                n % 997
            ),
        ),
        1 | 5 | 7 => (
            "order.status_changed",
            format!(r#"{{"order":"O-{order}","status":"{}"}}"#, STATUSES[(n / 2 % 4) as usize]),
        ),
        2 => (
            "customer.updated",
            format!(r#"{{"customer":"C-{customer}","name":"N{n}","tier":"t{}"}}"#, n % 3),
        ),
        3 => (
            "case.opened",
            format!(
                r#"{{"case":"K-{case}","customer":"C-{customer}","severity":{},"queue":"q","text":"t{n}"}}"#,
                n % 4 + 1
            ),
        ),
        6 => ("case.resolved", format!(r#"{{"case":"K-{case}"}}"#)),
        _ => (
            "interaction.recorded",
            format!(r#"{{"customer":"C-{customer}","channel":"web","action":"view"}}"#),
        ),
    };
    format!(
        r#"{{"specversion":"1.0","id":"e{n}","source":"/crash","tenant":"{tenant}","type":"{kind}","time":"{time}","data":{data}}}"#
    )
}

/// An answer, or nothing if the connection broke.
fn ask(address: &str, request: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

fn get(address: &str, path: &str) -> Option<(u16, Value)> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
}

/// Posts the batch that begins with this event.
fn post(address: &str, first: u64, wait: &str) -> Option<(u16, Value)> {
    let events: Vec<String> = (first..first + BATCH).map(event).collect();
    let tenant = tenant_of(first);
    let body = format!("[{}]", events.join(","));
    let head = "content-type: application/cloudevents-batch+json\r\nconnection: close";
    ask(
        address,
        &format!(
            "POST /v1/events?tenant={tenant}{wait} HTTP/1.1\r\nhost: a\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

/// What the producer and the nemesis share.
#[derive(Default)]
struct Stage {
    address: Mutex<String>,
    ended: AtomicBool,
    acknowledged: AtomicU64,
}

/// Sends batch after batch, each until it is acknowledged; now and then one that was before.
fn produce(stage: &Stage, mut random: Random) {
    let mut next = 0;
    while !stage.ended.load(SeqCst) {
        let repeat = next > BATCH && random.below(10) == 0;
        let first = if repeat { random.below(next / BATCH) * BATCH } else { next };
        loop {
            let address = stage.address.lock().unwrap().clone();
            match post(&address, first, "") {
                Some((202, _)) => break,
                Some((429 | 503, _)) | None => std::thread::park_timeout(Duration::from_millis(5)),
                Some((status, why)) => panic!("{status}: {why}"),
            }
        }
        if !repeat {
            next += BATCH;
            stage.acknowledged.store(next, SeqCst);
        }
    }
}

fn start(folder: &Folder, workers: u64) -> (Process, String) {
    let data = folder.path("data");
    let workers = workers.to_string();
    let mut run = command(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    run.args(["--workers", &workers, "--set", "state.interval=50ms"]);
    run.args(["--set", "state.segment_bytes=1 MiB", "--set", "log.segment_bytes=4 MiB"]);
    run.env("RUST_BACKTRACE", "1");
    // One that was killed a moment ago has left its address behind.
    std::fs::remove_file(folder.0.join("data/admin.addr")).ok();
    let mut process = Process::spawn(&mut run);
    let address = process.address(&folder.0.join("data"));
    (process, address)
}

/// Every row of a view of a tenant, by key.
fn rows(address: &str, view: &str, tenant: &str) -> BTreeMap<String, Value> {
    let mut rows = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/views/{view}?tenant={tenant}&limit=1000{cursor}");
        let (status, page) = get(address, &path).expect("an answer");
        assert_eq!(status, 200, "{page}");
        for row in page["rows"].as_array().unwrap() {
            rows.insert(row["key"].as_str().unwrap().to_string(), row["row"].clone());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// The whole of what is served, against the plain computation over what was acknowledged.
fn check(address: &str, n_events: u64) {
    // Borrowed by the events for the rest of the test.
    let text = |n| &*Box::leak(event(n).into_boxed_str());
    let events: Vec<Event<'static>> =
        (0..n_events).map(|n| schemas::decode::structured(text(n).as_bytes()).unwrap()).collect();
    let definitions = dataflows::catalogue::definitions();
    for (def, reference) in definitions.iter().zip(dataflows::catalogue::references()) {
        let mut expected: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
        let plain = reference(&events, 2_000_000_000_000);
        for (name, row) in &plain {
            let of_tenant = expected.entry(name.tenant()).or_default();
            of_tenant.insert(name.key().to_string(), def.to_json(row));
        }
        for tenant in ["default", "b"] {
            let found = rows(address, def.name, tenant);
            let expected = expected.remove(tenant).unwrap_or_default();
            assert_eq!(found.len(), expected.len(), "rows of {} of {tenant}", def.name);
            for (key, row) in &expected {
                assert_eq!(found.get(key), Some(row), "{} {key} of {tenant}", def.name);
            }
        }
        assert!(expected.is_empty());
    }
}

#[test]
fn killed_at_any_instant() {
    let seed = setting("MILLSTREAM_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    let kills = setting("MILLSTREAM_KILLS").unwrap_or(KILLS);
    println!("MILLSTREAM_SEED={seed} MILLSTREAM_KILLS={kills}");
    let mut random = Random(seed);
    let folder = Folder::new("crash");
    let stage = Arc::new(Stage::default());
    let (mut process, address) = start(&folder, 1);
    *stage.address.lock().unwrap() = address;
    let producer = {
        let (stage, random) = (Arc::clone(&stage), Random(random.next()));
        std::thread::spawn(move || produce(&stage, random))
    };
    let (mut recoveries, mut resumed) = (Vec::new(), 0);
    for kill in 0..kills {
        // Sometimes at once: in the middle of starting, or twice in a row.
        let life = match random.below(4) {
            0 => random.below(30),
            _ => random.below(700),
        };
        let until = Instant::now() + Duration::from_millis(life);
        while Instant::now() < until {
            assert!(!producer.is_finished(), "the producer has failed");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        if random.below(5) == 0 {
            process.signal("-TERM");
            std::thread::park_timeout(Duration::from_millis(random.below(40)));
        }
        process.signal("-KILL");
        let died = Instant::now();
        drop(process);
        let workers = random.below(3) + 1;
        let address;
        (process, address) = start(&folder, workers);
        let acknowledged = stage.acknowledged.load(SeqCst);
        let (status, ledger) = get(&address, "/v1/ledger").expect("an answer");
        assert_eq!(status, 200);
        recoveries.push(died.elapsed());
        let line = &ledger["partitions"][0];
        resumed += u64::from(line["read"].as_u64().unwrap_or(0) > 0);
        *stage.address.lock().unwrap() = address;
        println!(
            "kill {kill} after {life} ms, {workers} workers: reads again after {:?}, at {} of {acknowledged}",
            recoveries.last().unwrap(),
            line["read"]
        );
    }
    stage.ended.store(true, SeqCst);
    producer.join().unwrap();
    let n = stage.acknowledged.load(SeqCst);
    let address = stage.address.lock().unwrap().clone();
    // The last batch once more: it is known, and with it everything is readable.
    let (status, taken) = post(&address, n - BATCH, "&wait=applied").expect("an answer");
    assert_eq!((status, &taken["duplicate"]), (202, &Value::from(BATCH)), "{taken}");
    check(&address, n);
    let (_, ledger) = get(&address, "/v1/ledger").unwrap();
    let line = &ledger["partitions"][0];
    let of = |name: &str| line[name].as_u64().unwrap();
    assert_eq!(of("next") - of("first"), of("read") + of("lost") + of("absent"), "{line}");
    assert_eq!(of("applied"), n, "each event is applied once: {line}");
    assert_eq!(of("read"), of("applied") + of("duplicate"), "{line}");
    assert!(resumed * 2 > kills, "only {resumed} of {kills} starts took up a state");
    recoveries.sort_unstable();
    let at = |share: usize| recoveries[(recoveries.len() - 1) * share / 100];
    println!("{n} events; reads again after p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
    process.signal("-TERM");
    let (code, _, told) = process.end();
    assert_eq!(code, 0, "{told}");
    // After a clean end nothing is read again.
    let (process, address) = start(&folder, 2);
    check(&address, n);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}
