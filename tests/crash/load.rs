//! What the crash tests load a process with, and hold its answers against: events by number, a
//! producer that keeps to what was acknowledged, and the plain computation.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::process::{Folder, Process, command};
pub use crate::random::Random;
use schemas::events::Event;
use serde_json::Value;

/// Events of a request.
pub const BATCH: u64 = 50;
const STATUSES: [&str; 4] = ["paid", "in_production", "shipped", "delivered"];

pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().expect("a number"))
}

/// A request is one tenant's.
pub fn tenant_of(n: u64) -> &'static str {
    if (n / BATCH).is_multiple_of(3) { "b" } else { "default" }
}

/// Event `n`: orders are placed and walk on, customers write, cases are opened and resolved; two
/// tenants with equal ids.
pub fn event(n: u64) -> String {
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
pub fn ask(address: &str, request: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

pub fn get(address: &str, path: &str) -> Option<(u16, Value)> {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"))
}

/// The newest checkpoint, where there is one; no answer while it starts.
pub fn newest_checkpoint(address: &str) -> Option<Option<Value>> {
    let (_, answer) = get(address, "/v1/admin/state/checkpoints?limit=1")?;
    Some(answer["result"].as_array()?.first().cloned())
}

/// Posts the batch that begins with this event.
pub fn post(address: &str, first: u64, wait: &str) -> Option<(u16, Value)> {
    let events: Vec<String> = (first..first + BATCH).map(event).collect();
    post_of(address, tenant_of(first), &events, wait)
}

/// Posts these events, of one tenant.
pub fn post_of(address: &str, tenant: &str, events: &[String], wait: &str) -> Option<(u16, Value)> {
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
pub struct Stage {
    pub address: Mutex<String>,
    pub ended: AtomicBool,
    pub acknowledged: AtomicU64,
}

/// Sends batch after batch, each until it is acknowledged; now and then one that was before.
pub fn produce(stage: &Stage, mut random: Random) {
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

/// Starts in the folder's `data`.
pub fn start(folder: &Folder, workers: u64) -> (Process, String) {
    started(folder, ".", workers)
}

/// Starts in the `data` of a folder within; small segments, so that many end and begin.
pub fn started(folder: &Folder, within: &str, workers: u64) -> (Process, String) {
    started_with(folder, within, workers, &[])
}

/// The same, with more words.
pub fn started_with(
    folder: &Folder,
    within: &str,
    workers: u64,
    more: &[&str],
) -> (Process, String) {
    let mut process = starting(folder, within, workers, more);
    let address = process.address(&folder.0.join(within).join("data"));
    (process, address)
}

/// The same, on its way.
pub fn starting(folder: &Folder, within: &str, workers: u64, more: &[&str]) -> Process {
    let data = folder.0.join(within).join("data");
    let (dir, workers) = (data.display().to_string(), workers.to_string());
    let mut run = command(&["run", "--data-dir", &dir, "--listen", "127.0.0.1:0"]);
    run.args(["--workers", &workers, "--set", "state.interval=50ms"]);
    run.args(["--set", "state.segment_bytes=64 KiB", "--set", "log.segment_bytes=4 MiB"]);
    run.args(more).env("RUST_BACKTRACE", "1");
    // One that was killed a moment ago has left its address behind.
    std::fs::remove_file(data.join("admin.addr")).ok();
    Process::spawn(&mut run)
}

/// Waits until everything that the log holds is applied: what is sent again is known then.
pub fn settled(address: &str) {
    while get(address, "/v1/ledger").expect("an answer").1["partitions"][0]["lag"] != 0 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The log's line of the ledger, once it has come to this position.
pub fn caught_up(address: &str, position: u64) -> Value {
    loop {
        let (_, ledger) = get(address, "/v1/ledger").expect("an answer");
        let line = ledger["partitions"][0].clone();
        if line["next"].as_u64() >= Some(position) {
            return line;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Of the oldest segment of the states that is there.
pub fn first_position(folder: &Folder) -> u64 {
    let dir = std::fs::read_dir(folder.0.join("data/state")).unwrap();
    let names = dir.filter_map(|it| it.unwrap().file_name().into_string().ok());
    let firsts = names.filter_map(|it| it.strip_suffix(".seg")?.parse::<u64>().ok());
    firsts.min().expect("a segment")
}

/// Every row of a view of a tenant, by key.
pub fn rows(address: &str, view: &str, tenant: &str) -> BTreeMap<String, Value> {
    rows_as_of(address, view, tenant).1
}

/// The same, and the epoch of which they are.
fn rows_as_of(address: &str, view: &str, tenant: &str) -> (u64, BTreeMap<String, Value>) {
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
            None => return (page["as_of"]["epoch"].as_u64().unwrap(), rows),
        }
    }
}

/// The whole of what is served, against the plain computation over what was acknowledged.
pub fn check(address: &str, n_events: u64) {
    let texts: Vec<String> = (0..n_events).map(event).collect();
    check_of(address, &texts, &["default", "b"]);
}

/// The same over these events, of these tenants.
pub fn check_of(address: &str, texts: &[String], tenants: &[&str]) {
    // Borrowed by the events for the rest of the test.
    let text = |it: &String| &*Box::leak(it.clone().into_boxed_str());
    let decoded = texts.iter().map(|it| schemas::decode::structured(text(it).as_bytes()).unwrap());
    let events: Vec<Event<'static>> = decoded.collect();
    let definitions = dataflows::catalogue::definitions();
    for (def, reference) in definitions.iter().zip(dataflows::catalogue::references()) {
        for tenant in tenants {
            let (epoch, found) = rows_as_of(address, def.name, tenant);
            // Rows are as of their epoch: what is late, and how long ago something was.
            let plain = reference(&events, epoch);
            let of_tenant = plain.iter().filter(|it| it.0.tenant() == *tenant);
            let expected: BTreeMap<String, Value> =
                of_tenant.map(|(name, row)| (name.key().to_string(), def.to_json(row))).collect();
            assert_eq!(found.len(), expected.len(), "rows of {} of {tenant}", def.name);
            for (key, row) in &expected {
                assert_eq!(found.get(key), Some(row), "{} {key} of {tenant}", def.name);
            }
        }
    }
    assert!(events.iter().all(|it| tenants.contains(&it.tenant.as_ref())), "other tenants");
}
