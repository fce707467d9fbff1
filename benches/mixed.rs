//! While events are ingested at a fixed rate: how many point reads a second are answered over HTTP,
//! and how long after the instant it was due is an event readable there? Unit: reads/s; ms.
//!
//! The events are appended to the embedded log in blocks of 100, by the clock, whatever the engine
//! and the readers do, over the real engine with every view. 64 keep-alive connections on the same
//! machine with a request under way on each; beside them one client asks for an order that has just
//! become due until it is there, twenty times a second. With `--readers 0` only that one: what
//! `scripts/bench-latency` prints. Fails when the rate was not kept.
//!
//! Use: `cargo bench --bench mixed [-- --rate 50000 --seconds 10 --readers 64]`

#![allow(missing_docs, clippy::disallowed_methods)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use common::{Client, argument, get, percentile};
use millstream::config::Settings;
use millstream::run::{Plan, start};

const THREADS: usize = 8;
/// An order is looked for so often.
const LOOK: Duration = Duration::from_millis(50);
const CUSTOMERS: u64 = 50_000;

fn event(n: u64) -> Vec<u8> {
    let customer = n * 7919 % CUSTOMERS;
    let order = n / 4;
    let head = format!(
        r#"{{"specversion":"1.0","id":"{n}","source":"bench","time":"2026-01-01T00:00:00Z""#
    );
    let rest = match n % 4 {
        0 => format!(
            r#""type":"order.placed","data":{{"order":"O{order}","customer":"C{customer}","currency":"EUR","lines":[{{"sku":"S","quantity":1,"unit_price":10}}]}}}}"#
        ),
        1 => format!(
            r#""type":"order.status_changed","data":{{"order":"O{order}","status":"paid"}}}}"#
        ),
        _ => format!(
            r#""type":"interaction.recorded","data":{{"customer":"C{customer}","channel":"web","action":"view"}}}}"#
        ),
    };
    format!("{head},{rest}").into_bytes()
}

/// Keeps a request under way on each of its connections; how long each took, in ms.
fn read(address: SocketAddr, thread: usize, connections: usize, for_s: f64) -> Vec<f64> {
    let mut took = Vec::new();
    let mut at = thread as u64;
    let mut ask = |client: &mut Client| {
        at = (at * 25_214_903_917 + 11) % CUSTOMERS;
        client.ask(&get(&format!("/v1/views/customers/C{at}")));
        Instant::now()
    };
    let connect = |_| {
        let mut client = Client::connect(address);
        let asked = ask(&mut client);
        (client, asked)
    };
    let mut clients: Vec<(Client, Instant)> = (0..connections).map(connect).collect();
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < for_s {
        for (client, asked) in &mut clients {
            let (status, _) = client.answer();
            assert!(status == 200 || status == 404, "{status}");
            took.push(asked.elapsed().as_secs_f64() * 1e3);
            *asked = ask(client);
        }
        if connections == 0 {
            std::thread::sleep(LOOK);
        }
    }
    took
}

/// Asks for an order from when it is due until it is there; how long that took, in ms.
fn probe(address: SocketAddr, started: Instant, rate: f64, done: &AtomicBool) -> Vec<f64> {
    let mut client = Client::connect(address);
    let mut late = Vec::new();
    // Past the first second, in which threads and caches come up.
    let mut next = Duration::from_secs(1);
    while !done.load(SeqCst) {
        next += LOOK;
        // Every fourth event places an order; a block of 100 is appended when its last is due.
        let order = (next.as_secs_f64() * rate / 100.0) as u64 * 25 + 24;
        let due = Duration::from_secs_f64((order * 4 + 4) as f64 / rate);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let request = get(&format!("/v1/views/orders/O{order}"));
        while client.send(&request).0 != 200 && !done.load(SeqCst) {
            std::thread::sleep(Duration::from_micros(300));
        }
        late.push((started.elapsed().saturating_sub(due)).as_secs_f64() * 1e3);
        next = next.max(started.elapsed());
    }
    late
}

fn main() {
    let rate = argument("--rate").unwrap_or(50_000.0);
    let for_s = argument("--seconds").unwrap_or(10.0);
    let connections = argument("--readers").unwrap_or(64.0) as usize;
    let folder = std::env::temp_dir().join(format!("millstream-mixed-{}", std::process::id()));
    let mut settings = Settings::default_in(&folder);
    settings.serve.listen = "127.0.0.1:0".parse().expect("an address");
    let plan = Plan::of(&settings);
    let running = start(settings, plan).expect("starts");
    let address = running.address().expect("serves");
    let append = running.append.clone().expect("a log");
    let done = Arc::new(AtomicBool::new(false));

    let started = Instant::now();
    let writer = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let (mut n, mut waiting) = (0_u64, std::collections::VecDeque::new());
            while !done.load(SeqCst) {
                let due = (started.elapsed().as_secs_f64() * rate) as u64;
                while n + 100 <= due {
                    let block = (n..n + 100).map(event).collect();
                    waiting.push_back(append.append(block).expect("room in the log"));
                    n += 100;
                }
                while waiting.len() > 200 {
                    let answer = waiting.pop_front().expect("one");
                    answer.blocking_recv().expect("an answer").expect("durable");
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            (n, started.elapsed().as_secs_f64())
        })
    };
    let prober = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || probe(address, started, rate, &done))
    };
    let readers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let mine = connections / THREADS;
            std::thread::spawn(move || read(address, thread, mine, for_s))
        })
        .collect();
    let mut took: Vec<f64> = readers.into_iter().flat_map(|it| it.join().expect("ends")).collect();
    done.store(true, SeqCst);
    let (events, seconds) = writer.join().expect("ends");
    let mut late = prober.join().expect("ends");
    let kept = events as f64 / seconds;
    for list in [&mut took, &mut late] {
        list.sort_by(f64::total_cmp);
    }
    if connections > 0 {
        println!(
            "point reads while {kept:.0} events/s are ingested, {connections} connections: \
             {:.0} reads/s, p50 {:.2} ms, p99 {:.2} ms",
            took.len() as f64 / for_s,
            percentile(&took, 0.5),
            percentile(&took, 0.99)
        );
    }
    println!(
        "due to readable over HTTP at {kept:.0} events/s, {connections} readers, {} orders: \
         p50 {:.1} ms, p99 {:.1} ms",
        late.len(),
        percentile(&late, 0.5),
        percentile(&late, 0.99)
    );
    assert!(kept > 0.98 * rate, "{kept:.0} events/s were taken, not {rate:.0}");
    running.stop().expect("stops");
    std::fs::remove_dir_all(&folder).expect("cleans up");
}
