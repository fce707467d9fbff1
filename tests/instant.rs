//! Goal: every answer is read at one complete epoch, while 50,000 events a second stream in: the
//! rows of `orders`, the sum of `orders_by_status` and the sum of `customers.n_orders` always
//! agree, in reads, in paged listings and in streams; and a cursor that sleeps cannot hold memory.
//! Method: a running engine with its log and its HTTP server; one thread appends, others read.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "../benches/common/mod.rs"]
mod http;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::{Client, post};
use millstream::commands::replay::Clock;
use millstream::config::Settings;
use millstream::messages::{Append, AppendRefused};
use millstream::run::{Plan, Running, start};
use serde_json::{Value, json};

const CUSTOMERS: u64 = 20;
const RATE: u64 = 50_000;
/// Customers of the sleeper's test.
const SLEEPERS: u64 = 2_000;
const STATUSES: [&str; 4] = ["placed", "paid", "shipped", "delivered"];

fn folder(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("millstream-{name}-{}", std::process::id()))
}

fn running(name: &str, change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings::default_in(&folder(name));
    settings.serve.listen = "127.0.0.1:0".parse().unwrap();
    change(&mut settings);
    let plan = Plan {
        log: true,
        sources: vec![],
        kafka: vec![],
        state: Some(settings.data_dir.clone()),
        rebuild: false,
        until_end: false,
        clock: Clock::Wall,
        serve: true,
        progress: false,
    };
    start(settings, plan).unwrap()
}

/// Event `n`: an order is placed, then walks on, three events later each.
fn event(n: u64) -> Vec<u8> {
    let (order, step) = (n / 4, (n % 4) as usize);
    let head = format!(
        r#"{{"specversion":"1.0","id":"{n}","source":"test","time":"2026-01-01T00:00:{:02}Z""#,
        step * 10
    );
    let customer = order * 7919 % CUSTOMERS;
    match step {
        0 => format!(
            r#"{head},"type":"order.placed","data":{{"order":"O{order:08}","customer":"C{customer}","currency":"EUR","lines":[{{"sku":"S","quantity":1,"unit_price":10}}]}}}}"#
        ),
        _ => format!(
            r#"{head},"type":"order.status_changed","data":{{"order":"O{order:08}","customer":"C{customer}","status":"{}"}}}}"#,
            STATUSES[step]
        ),
    }
    .into_bytes()
}

/// Interaction `n`: touches one of many customers, so that an epoch of any length changes many.
fn interaction(n: u64) -> Vec<u8> {
    let customer = n % SLEEPERS;
    format!(
        r#"{{"specversion":"1.0","id":"i{n}","source":"test","type":"interaction.recorded","time":"2026-01-01T00:00:00Z","data":{{"customer":"S{customer:06}","channel":"web","action":"viewed"}}}}"#
    )
    .into_bytes()
}

/// Appends at [`RATE`] until told to stop; gives how many.
fn write(
    append: &dyn Append,
    event: impl Fn(u64) -> Vec<u8>,
    done: &AtomicBool,
    written: &AtomicU64,
) {
    let started = Instant::now();
    let mut n = 0;
    while !done.load(SeqCst) {
        let due = (started.elapsed().as_secs_f64() * RATE as f64) as u64;
        if n + 100 > due {
            std::thread::yield_now();
            continue;
        }
        let block: Vec<Vec<u8>> = (n..n + 100).map(&event).collect();
        match append.append(block) {
            Ok(answer) => {
                answer.blocking_recv().unwrap().unwrap();
                n += 100;
                written.store(n, SeqCst);
            }
            Err(AppendRefused::Busy(wait)) => std::thread::park_timeout(wait),
            Err(AppendRefused::Failed(report)) => panic!("{report}"),
        }
    }
}

/// Tells the others to end, also when a check fails: a failed test must not wait for ever.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// One request that reads every status and every customer: both sums at one instant.
fn both_sums(client: &mut Client, request: &[u8]) -> (u64, i64, i64) {
    let (status, body) = client.send(request);
    let answer: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let mut sums = BTreeMap::new();
    for read in answer["results"].as_array().unwrap() {
        let view = read["view"].as_str().unwrap();
        let n = read["row"]["n_orders"].as_i64().unwrap_or(0);
        *sums.entry(view).or_insert(0) += n;
    }
    let epoch = answer["as_of"]["epoch"].as_u64().unwrap();
    (epoch, sums["customers"], sums["orders_by_status"])
}

fn sums_request() -> Vec<u8> {
    let mut reads: Vec<Value> =
        (0..CUSTOMERS).map(|it| json!({"view": "customers", "key": format!("C{it}")})).collect();
    for status in STATUSES {
        reads.push(json!({"view": "orders_by_status", "key": format!("EUR/{status}")}));
    }
    let body = json!({ "reads": reads }).to_string();
    post("/v1/read", "application/json", body.as_bytes())
}

/// Follows `orders_by_status` and gives the sum of `n_orders` after each epoch.
fn follow(address: SocketAddr, done: &AtomicBool) -> BTreeMap<u64, i64> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /v1/stream?view=orders_by_status HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let (mut rows, mut sums, mut id) = (BTreeMap::new(), BTreeMap::new(), None);
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(epoch) = line.strip_prefix("id:") {
            id = Some(epoch.trim().parse::<u64>().unwrap());
        }
        // Only the last event of an instant has its id: with it, the instant is whole.
        if line.is_empty()
            && let Some(epoch) = id.take()
        {
            sums.insert(epoch, rows.values().sum());
        }
        if let Some(data) = line.strip_prefix("data:") {
            let data: Value = serde_json::from_str(data.trim()).unwrap();
            let items = match &data["rows"] {
                Value::Array(all) => all.clone(),
                _ => vec![data.clone()],
            };
            for item in items {
                let Some(key) = item["key"].as_str() else { continue };
                match item["row"]["n_orders"].as_i64() {
                    Some(n) => rows.insert(key.to_string(), n),
                    None => rows.remove(key),
                };
            }
        }
        if done.load(SeqCst) {
            break;
        }
    }
    sums
}

#[test]
fn reads_listings_and_streams_agree_at_every_instant() {
    let running = running("instant", |_| {});
    let address = running.address().unwrap();
    let append = running.append.clone().unwrap();
    let read = running.read.clone();
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (answers, listings, streamed) = std::thread::scope(|scope| {
        let _ends = Ends(&done);
        scope.spawn(|| write(&*append, event, &done, &written));
        let stream = scope.spawn(|| follow(address, &done));
        let lister = scope.spawn(|| {
            // A listing over many pages is one instant: as many orders as both sums say.
            let view = |name: &str| read.views.iter().find(|it| it.def().name == name).unwrap();
            let position = |name: &str| view(name).def().position("n_orders").unwrap();
            let mut listings = 0;
            while !done.load(SeqCst) {
                let pin = read.instants.pin();
                let at = pin.epoch();
                read.instants.lease(at, 0, u64::MAX / 2).unwrap();
                drop(pin);
                let sum = |name: &str| {
                    let mut sum = 0;
                    let (mut after, field) = (None, position(name));
                    loop {
                        let page = view(name)
                            .page("default", after.as_deref(), at, 7, 1_000, &mut |_| true)
                            .unwrap();
                        for (_, row) in page.rows {
                            if let schemas::rows::Value::Int(n) = row.values[field] {
                                sum += n;
                            }
                        }
                        match page.next {
                            Some(next) => after = Some(next),
                            None => return sum,
                        }
                    }
                };
                let (mut orders, mut after) = (0, None);
                loop {
                    let page = view("orders")
                        .page("default", after.as_deref(), at, 1_000, 10_000, &mut |_| true)
                        .unwrap();
                    orders += page.rows.len() as i64;
                    match page.next {
                        Some(next) => after = Some(next),
                        None => break,
                    }
                }
                assert_eq!((orders, orders), (sum("customers"), sum("orders_by_status")));
                assert_eq!(orders as u64, view("orders").count("default", at));
                // Ends this lease: housekeeping lets go of what is over.
                read.instants.lease(at, 0, 0).unwrap();
                listings += 1;
            }
            listings
        });
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, request) = (Client::connect(address), sums_request());
                    let mut seen = BTreeMap::new();
                    for _ in 0..100_000 / 24 / 2 {
                        let (epoch, customers, by_status) = both_sums(&mut client, &request);
                        assert_eq!(customers, by_status, "at epoch {epoch}");
                        seen.insert(epoch, customers);
                    }
                    seen
                })
            })
            .collect();
        let mut answers = BTreeMap::new();
        for reader in readers {
            answers.extend(reader.join().unwrap());
        }
        done.store(true, SeqCst);
        (answers, lister.join().unwrap(), stream.join().unwrap())
    });
    // How many depends on the machine; a handful would mean that nothing was streaming in.
    assert!(answers.len() > 20, "{} instants were read", answers.len());
    assert!(listings > 1, "{listings} listings");
    let both: Vec<u64> = answers.keys().filter(|it| streamed.contains_key(it)).copied().collect();
    for epoch in &both {
        assert_eq!(answers[epoch], streamed[epoch], "streamed at epoch {epoch}");
    }
    assert!(both.len() > 5, "{} instants were both read and streamed", both.len());
    println!(
        "{} events, {} instants read, {listings} listings, {} instants compared with the stream",
        written.load(SeqCst),
        answers.len(),
        both.len()
    );
    running.stop().unwrap();
    std::fs::remove_dir_all(folder("instant")).unwrap();
}

/// A cursor that sleeps: undo stays under its limit, and the cursor is told that it is gone.
#[test]
fn a_sleeping_cursor_cannot_hold_memory() {
    const LIMIT: u64 = 2 << 20;
    let running = running("sleeper", |it| {
        it.engine.undo_max_bytes = LIMIT;
        it.serve.cursor_lease = Duration::from_secs(600);
    });
    let address = running.address().unwrap();
    let append = running.append.clone().unwrap();
    let first: Vec<Vec<u8>> = (0..SLEEPERS).map(interaction).collect();
    let appended = append.append(first).unwrap().blocking_recv().unwrap().unwrap();
    let mut client = Client::connect(address);
    let request = format!(
        "GET /v1/views/customers?limit=10 HTTP/1.1\r\nhost: localhost\r\nmillstream-at-least: {}\r\n\r\n",
        appended.next
    );
    let (status, body) = client.send(request.as_bytes());
    let page: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(status, 200, "{page}");
    let cursor = page["next"].as_str().expect("a cursor").to_string();
    let ask = http::get(&format!("/v1/views/customers?limit=10&cursor={cursor}"));
    assert_eq!(client.send(&ask).0, 200);

    // Every epoch changes hundreds of customers: the sleeper would hold an old version of each.
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        scope.spawn(|| write(&*append, interaction, &done, &written));
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let undo = running.read.instants.undo_bytes();
            // What one epoch adds between two looks of housekeeping may lie on top.
            assert!(undo < LIMIT * 4, "{undo} bytes of undo");
            let (status, body) = client.send(&ask);
            if status == 410 {
                let told: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(told["status"], 410, "{told}");
                break;
            }
            assert_eq!(status, 200);
            assert!(Instant::now() < deadline, "the cursor was never let go; {undo} bytes of undo");
        }
        done.store(true, SeqCst);
    });
    running.stop().unwrap();
    std::fs::remove_dir_all(folder("sleeper")).unwrap();
}
