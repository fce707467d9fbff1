//! How long do statements over a million orders take, and a point query by key over HTTP?
//! Unit: seconds; milliseconds at p50 and p99.
//!
//! A running engine over a million orders (placed, half of them paid since), asked over HTTP on
//! this machine. Each statement is asked `--rounds` times (7), the median is told with the least
//! and the most. Point queries go over `--connections` keep-alive connections (4), one under way on
//! each, for `--seconds` (10): first alone, then while another client asks for the sum over all
//! rows again and again. Beside it, for comparison, `GET /v1/views/orders/{key}`.
//!
//! Use: `scripts/bench-sql`, or `cargo bench --bench sql [-- --orders 1000000]`

#![allow(missing_docs, dead_code, unreachable_pub, clippy::disallowed_methods)]

#[path = "common/mod.rs"]
mod http;
#[path = "../tests/support/temp_dir.rs"]
mod temp_dir;

use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{Client, get, percentile, post};
use millstream::commands::replay::Clock;
use millstream::config::Settings;
use millstream::run::{Ended, Plan, Rebuild, Reread, Resolver, Source, start};
use temp_dir::TempDir;

const STATEMENTS: &[(&str, &str)] = &[
    ("count(*), sum(amount)", "SELECT count(*), sum(amount) FROM orders"),
    ("the same of one status", "SELECT count(*), sum(amount) FROM orders WHERE status = 'paid'"),
    ("by status", "SELECT status, count(*), sum(amount) FROM orders GROUP BY status"),
    (
        "by day and currency",
        "SELECT substr(placed_at, 1, 10), currency, count(*), sum(amount) FROM orders GROUP BY 1, 2",
    ),
    (
        "joined with customers by key",
        "SELECT count(*), sum(c.n_orders) FROM orders o JOIN customers c ON c.customer = o.customer",
    ),
    ("pieces, out of the lines", "SELECT sum(value ->> 'quantity') FROM orders, json_each(lines)"),
];

fn main() {
    let orders = argument("--orders").unwrap_or(1_000_000);
    let rounds = argument("--rounds").unwrap_or(7);
    let seconds = Duration::from_secs(argument("--seconds").unwrap_or(10));
    let connections = argument("--connections").unwrap_or(4);
    let dir = TempDir::new();
    let (ended, address) = loaded(&dir, orders);
    println!("{orders} orders, {} customers", orders / 10);
    for (name, sql) in STATEMENTS {
        let mut client = Client::connect(address);
        let mut took: Vec<f64> = (0..rounds).map(|_| timed(&mut client, sql)).collect();
        took.sort_by(f64::total_cmp);
        let (least, most) = (took[0], took[took.len() - 1]);
        println!("{name}: {:.3} s ({least:.3} to {most:.3})", percentile(&took, 0.5));
    }
    let by_key = |n: u64| {
        let body = format!(
            r#"{{"sql":"SELECT status, customer, amount FROM orders WHERE \"order\" = ?","params":["O-{n:07}"]}}"#
        );
        post("/v1/sql", "application/json", body.as_bytes())
    };
    let row = |n: u64| get(&format!("/v1/views/orders/O-{n:07}"));
    points("GET of a row", address, (connections, orders), seconds, &row);
    points("point query by key", address, (connections, orders), seconds, &by_key);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::connect(address);
            while !stop.load(Relaxed) {
                timed(&mut client, STATEMENTS[0].1);
            }
        });
        points("the same beside sums over all", address, (connections, orders), seconds, &by_key);
        stop.store(true, Relaxed);
    });
    ended.stop().expect("the server ends");
}

/// An engine that holds so many orders.
fn loaded(dir: &TempDir, orders: u64) -> (Ended, SocketAddr) {
    let path = dir.0.join("orders.jsonl");
    let mut out = BufWriter::new(std::fs::File::create(&path).expect("a file"));
    for n in 0..orders {
        let (day, second) = (1 + n % 28, n % 60);
        let time = format!("2026-01-{day:02}T10:00:{second:02}Z");
        let (currency, customer) =
            (["EUR", "USD", "GBP"][(n % 3) as usize], n * 7_919 % (orders / 10));
        write!(
            out,
            r#"{{"specversion":"1.0","source":"/shop","id":"p{n}","type":"order.placed","time":"{time}","data":{{"order":"O-{n:07}","customer":"C-{customer:06}","currency":"{currency}","channel":"web","lines":[{{"sku":"SKU-{:03}","quantity":{},"unit_price":{}}},{{"sku":"SKU-007","quantity":1,"unit_price":499}}]}}}}"#,
            n % 400,
            1 + n % 3,
            500 + n % 5_000
        )
        .expect("written");
        writeln!(out).expect("written");
        if n % 2 == 0 {
            writeln!(
                out,
                r#"{{"specversion":"1.0","source":"/shop","id":"s{n}","type":"order.status_changed","time":"{time}","data":{{"order":"O-{n:07}","status":"paid"}}}}"#
            )
            .expect("written");
        }
    }
    out.into_inner().expect("written");
    let mut settings = Settings::default_in(&dir.0.join("data"));
    settings.serve.listen = "127.0.0.1:0".parse().expect("an address");
    // What takes long is to be told, not stopped.
    settings.sql.timeout = Duration::from_secs(120);
    let source =
        Source { name: "orders".into(), path: path.clone(), mapping: None, repeat: 1, rate: None };
    let plan = Plan {
        log: false,
        sources: vec![source],
        kafka: vec![],
        state: None,
        models: None,
        seals: false,
        rebuild: Rebuild::default(),
        until_end: true,
        resolver: Resolver::default(),
        reread: Reread::default(),
        told: None,
        sinks: vec![],
        clock: Clock::Wall,
        serve: true,
    };
    let running = start(settings, plan).expect("the engine starts");
    let address = running.address().expect("it serves");
    let ended = running.drain().expect("every order is taken");
    std::fs::remove_file(&path).expect("the file was ours");
    (ended, address)
}

fn timed(client: &mut Client, sql: &str) -> f64 {
    let body = serde_json::json!({"sql": sql}).to_string();
    let begun = Instant::now();
    let (status, answer) = client.send(&post("/v1/sql", "application/json", body.as_bytes()));
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(answer));
    took
}

/// Asks for single orders all over the keys, one under way on each connection.
fn points(
    name: &str,
    address: SocketAddr,
    (connections, orders): (u64, u64),
    seconds: Duration,
    request: &(impl Fn(u64) -> Vec<u8> + Sync),
) {
    let next = AtomicU64::new(0);
    let until = Instant::now() + seconds;
    let mut took: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    let mut took = Vec::new();
                    while Instant::now() < until {
                        let n = next.fetch_add(1, Relaxed) * 104_729 % orders;
                        let request = request(n);
                        let begun = Instant::now();
                        let (status, answer) = client.send(&request);
                        took.push(begun.elapsed().as_secs_f64() * 1_000.0);
                        let known = answer.windows(2).any(|it| it == b"C-");
                        assert!(status == 200 && known, "{}", String::from_utf8_lossy(answer));
                    }
                    took
                })
            })
            .collect();
        threads.into_iter().flat_map(|it| it.join().expect("a client")).collect()
    });
    took.sort_by(f64::total_cmp);
    println!(
        "{name}: p50 {:.2} ms, p99 {:.2} ms, {:.0}/s",
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        took.len() as f64 / seconds.as_secs_f64()
    );
}

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args();
    arguments.find(|it| it == name)?;
    arguments.next()?.parse().ok()
}
