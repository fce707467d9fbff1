//! Goal: every answer is read at one complete epoch, while 50,000 events a second are taken: the
//! rows of `orders`, the sum of `orders_by_status` and the sum of `customers.n_orders` always
//! agree, in 100,000 reads, in paged listings and in streams; and a cursor that sleeps cannot hold
//! memory. Method: a running engine with its log and its HTTP server; one thread appends, others
//! read over HTTP. A read is a request (`POST /v1/read`) whose answer has every customer and every
//! status at one instant. Unoptimised, as `cargo test` builds it, it is the same with less:
//! `scripts/bench-http instant` runs the whole of it.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "../benches/common/mod.rs"]
mod http;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::{Client, post};
use millstream::config::Settings;
use millstream::messages::{Append, AppendRefused};
use millstream::run::{Plan, Running, start};
use serde_json::{Value, json};

const CUSTOMERS: u64 = 20;
/// Events a second that are sent: somewhat more than must be taken.
const RATE: u64 = 55_000;
/// Events a second that must have been taken, durably, all the while. On two cores without
/// optimisation, and with others at work, the machine is what limits; far below, nothing would be
/// tested.
const RATE_FLOOR: f64 = if cfg!(debug_assertions) { 10_000.0 } else { 50_000.0 };
/// Reads in all, each a request of [`ROWS_OF_A_READ`] rows.
const READS: usize = if cfg!(debug_assertions) { 4_000 } else { 100_000 };
/// Both sums.
const ROWS_OF_A_READ: usize = CUSTOMERS as usize + STATUSES.len();
/// Events are written by then, or none are written any more.
const PATIENCE: Duration = Duration::from_secs(20);
/// Customers of the sleeper's test.
const SLEEPERS: u64 = 20_000;
const STATUSES: [&str; 4] = ["placed", "paid", "shipped", "delivered"];

fn folder(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("millstream-{name}-{}", std::process::id()))
}

fn running(name: &str, change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings::default_in(&folder(name));
    settings.serve.listen = "127.0.0.1:0".parse().unwrap();
    change(&mut settings);
    let plan = Plan::of(&settings);
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

/// Appends at [`RATE`] until told to stop, as senders do that wait for their answers: some blocks
/// are on their way at once.
fn write(
    append: &dyn Append,
    event: impl Fn(u64) -> Vec<u8>,
    done: &AtomicBool,
    written: &AtomicU64,
) {
    const BLOCK: u64 = 250;
    const ON_THEIR_WAY: usize = 8;
    let started = Instant::now();
    let (mut n, mut answers) = (0, VecDeque::new());
    while !done.load(SeqCst) {
        let due = (started.elapsed().as_secs_f64() * RATE as f64) as u64;
        if n + BLOCK > due {
            std::thread::park_timeout(Duration::from_millis(1));
            continue;
        }
        let block: Vec<Vec<u8>> = (n..n + BLOCK).map(&event).collect();
        match append.append(block) {
            Ok(answer) => {
                answers.push_back(answer);
                n += BLOCK;
            }
            Err(AppendRefused::Busy(wait)) => std::thread::park_timeout(wait),
            Err(AppendRefused::Failed(report)) => panic!("{report}"),
        }
        if answers.len() == ON_THEIR_WAY
            && let Some(answer) = answers.pop_front()
        {
            answer.blocking_recv().unwrap().unwrap();
            written.fetch_add(BLOCK, SeqCst);
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

fn sums_in_sql() -> Vec<u8> {
    let sql = "SELECT coalesce((SELECT sum(n_orders) FROM customers), 0), \
               coalesce((SELECT sum(n_orders) FROM orders_by_status), 0); \
               SELECT count(*) FROM orders WHERE placed_at IS NOT NULL";
    post("/v1/sql", "application/json", json!({ "sql": sql }).to_string().as_bytes())
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

/// A page of a listing: its epoch, its rows, where it goes on. `None`: the instant is gone.
fn page(client: &mut Client, path: &str) -> Option<(u64, Vec<Value>, Option<String>)> {
    let (status, body) = client.send(&http::get(path));
    let mut page: Value = serde_json::from_slice(body).unwrap();
    if status == 410 {
        return None;
    }
    assert_eq!(status, 200, "{page}");
    let Value::Array(rows) = page["rows"].take() else { panic!("{page}") };
    let next = page["next"].as_str().map(str::to_string);
    Some((page["as_of"]["epoch"].as_u64().unwrap(), rows, next))
}

/// The rest of a listing, at the instant of its first page.
fn rest(
    client: &mut Client,
    view: &str,
    limit: u32,
    (epoch, mut rows, mut next): (u64, Vec<Value>, Option<String>),
) -> Option<Vec<Value>> {
    while let Some(cursor) = next {
        let path = format!("/v1/views/{view}?limit={limit}&cursor={cursor}");
        let (at, more, then) = page(client, &path)?;
        assert_eq!(at, epoch, "a page of another instant");
        rows.extend(more);
        next = then;
    }
    Some(rows)
}

/// Lists orders and customers page by page, and reads the sums, all at one instant; `None` if the
/// three were begun in different epochs, or the instant was let go.
fn list(client: &mut Client, sums: &[u8]) -> Option<()> {
    let (epoch, customers, by_status) = both_sums(client, sums);
    let orders = page(client, "/v1/views/orders?limit=1")?;
    let listed = page(client, "/v1/views/customers?limit=1")?;
    if (orders.0, listed.0) != (epoch, epoch) {
        return None;
    }
    let listed = rest(client, "customers", 7, listed)?;
    let orders = rest(client, "orders", 1_000, orders)?;
    let n = orders.len() as i64;
    assert_eq!((customers, by_status), (n, n), "at epoch {epoch}");
    let mut of_customers: BTreeMap<&str, i64> = BTreeMap::new();
    for order in &orders {
        *of_customers.entry(order["row"]["customer"].as_str().unwrap()).or_default() += 1;
    }
    let told: BTreeMap<&str, i64> = listed
        .iter()
        .map(|it| (it["key"].as_str().unwrap(), it["row"]["n_orders"].as_i64().unwrap()))
        .collect();
    assert_eq!(of_customers, told, "at epoch {epoch}");
    Some(())
}

#[test]
fn reads_listings_and_streams_agree_at_every_instant() {
    const READERS: usize = 2;
    let running = running("instant", |_| {});
    let address = running.address().unwrap();
    let append = running.append.clone().unwrap();
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    let (answers, n_reads, listings, streamed) = std::thread::scope(|scope| {
        let _ends = Ends(&done);
        scope.spawn(|| write(&*append, event, &done, &written));
        let stream = scope.spawn(|| follow(address, &done));
        let lister = scope.spawn(|| {
            let (mut client, sums) = (Client::connect(address), sums_request());
            let mut listings = 0;
            while !done.load(SeqCst) {
                listings += u64::from(list(&mut client, &sums).is_some());
            }
            listings
        });
        // All of it in SQL: sums of two views and a count of a third, in two statements.
        let asker = scope.spawn(|| {
            let (mut client, request) = (Client::connect(address), sums_in_sql());
            let mut asked = 0;
            while !done.load(SeqCst) {
                let (status, body) = client.send(&request);
                let answer: Value = serde_json::from_slice(body).unwrap();
                // An instant that was let go is told, and no answer.
                if status != 410 {
                    assert_eq!(status, 200, "{answer}");
                    let sums = &answer["results"][0]["rows"][0];
                    let orders = &answer["results"][1]["rows"][0][0];
                    let all = [&sums[0], &sums[1], orders].map(|it| it.as_i64().unwrap());
                    assert!(all.iter().all(|it| *it == all[0]), "{answer}");
                    asked += 1;
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
            asked
        });
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, request) = (Client::connect(address), sums_request());
                    let requests = READS.div_ceil(READERS);
                    let (mut seen, mut before) = (BTreeMap::new(), 0);
                    while written.load(SeqCst) == 0 {
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                    for n in 0..requests {
                        let (epoch, customers, by_status) = both_sums(&mut client, &request);
                        assert_eq!(customers, by_status, "at epoch {epoch}");
                        seen.insert(epoch, customers);
                        if n % (requests / 10) == requests / 10 - 1 {
                            // Events stream in between the tenths of the reads, however slow
                            // the machine.
                            let since = Instant::now();
                            while written.load(SeqCst) == before {
                                assert!(since.elapsed() < PATIENCE, "nothing is written any more");
                                std::thread::park_timeout(Duration::from_millis(1));
                            }
                            before = written.load(SeqCst);
                        }
                    }
                    (seen, requests)
                })
            })
            .collect();
        let (mut answers, mut n_reads) = (BTreeMap::new(), 0);
        for reader in readers {
            let (seen, n) = reader.join().unwrap();
            answers.extend(seen);
            n_reads += n;
        }
        done.store(true, SeqCst);
        let asked: u32 = asker.join().unwrap();
        assert!(asked > 3, "{asked} statements were answered");
        (answers, n_reads, lister.join().unwrap(), stream.join().unwrap())
    });
    let rate = written.load(SeqCst) as f64 / started.elapsed().as_secs_f64();
    let both: Vec<u64> = answers.keys().filter(|it| streamed.contains_key(it)).copied().collect();
    println!(
        "{rate:.0} events/s, {n_reads} reads of {ROWS_OF_A_READ} rows at {} instants, {listings} listings, {} instants \
         compared with the stream",
        answers.len(),
        both.len()
    );
    assert!(n_reads >= READS, "{n_reads} reads");
    assert!(rate >= RATE_FLOOR, "{rate:.0} events/s were taken");
    // How many depends on the machine; a handful would mean that nothing was streaming in.
    assert!(answers.len() > 10, "{} instants were read", answers.len());
    assert!(listings > 1, "{listings} listings");
    for epoch in &both {
        assert_eq!(answers[epoch], streamed[epoch], "streamed at epoch {epoch}");
    }
    assert!(both.len() > 5, "{} instants were both read and streamed", both.len());
    running.stop().unwrap();
    std::fs::remove_dir_all(folder("instant")).unwrap();
}

/// What undo has come to, and by how much it grew at most between two looks at it.
#[derive(Clone, Copy, Debug, Default)]
struct Undo {
    most: u64,
    step: u64,
}

/// Looks at undo so often that an epoch's is seen as one step (or two as one, on a busy machine).
fn watch_undo(running: &Running, done: &AtomicBool) -> Undo {
    let (mut undo, mut before) = (Undo::default(), 0);
    while !done.load(SeqCst) {
        let now = running.read.instants.undo_bytes();
        undo.step = undo.step.max(now.saturating_sub(before));
        undo.most = undo.most.max(now);
        before = now;
        std::thread::park_timeout(Duration::from_micros(50));
    }
    undo
}

/// A cursor that sleeps: undo stays under its limit (the default, 64 MiB) but for what one epoch
/// adds, which is written whole before it is let go; and the cursor is told that it is gone.
#[test]
fn a_sleeping_cursor_cannot_hold_memory() {
    let running = running("sleeper", |it| it.serve.cursor_lease = Duration::from_secs(600));
    let defaults = Settings::default().engine;
    let limit = defaults.undo_max_bytes;
    assert_eq!(limit, 64 << 20);
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

    // Every epoch changes thousands of customers: the sleeper would hold an old version of each.
    let started = Instant::now();
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        // Its ids go on where the first block's ended: none of them is a duplicate.
        scope.spawn(|| write(&*append, |n| interaction(n + SLEEPERS), &done, &written));
        let watched = scope.spawn(|| watch_undo(&running, &done));
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let (status, body) = client.send(&ask);
            if status == 410 {
                let told: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(told["status"], 410, "{told}");
                break;
            }
            assert_eq!(status, 200);
            assert!(Instant::now() < deadline, "the cursor was never let go");
        }
        done.store(true, SeqCst);
        let Undo { most, step } = watched.join().unwrap();
        println!("let go after {:?}; at most {most} bytes, {step} at once", started.elapsed());
        assert!(most > limit / 2, "let go at {most} bytes already");
        assert!(most <= limit + step, "{most} bytes of undo, {step} of them at once");
        // A step that is half the limit would say nothing about the limit.
        assert!(step < limit / 2, "{step} bytes at once");
    });
    running.stop().unwrap();
    std::fs::remove_dir_all(folder("sleeper")).unwrap();
}
