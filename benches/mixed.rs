//! How many point reads a second are answered over HTTP while 50,000 events a second stream in,
//! and how late does an event become readable meanwhile? Unit: reads/s; ms.
//!
//! 64 keep-alive connections on the same machine, four to a client thread; the events are
//! appended to the embedded log in blocks of 100, by the clock, whatever the readers do.

#![allow(missing_docs, clippy::disallowed_methods)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use common::{Client, get, percentile};
use millstream::config::Settings;
use millstream::run::{Plan, start};

const CONNECTIONS: usize = 64;
const THREADS: usize = 8;
const RATE: f64 = 50_000.0;
const SECONDS: f64 = 10.0;
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

fn main() {
    let folder = std::env::temp_dir().join(format!("millstream-mixed-{}", std::process::id()));
    let mut settings = Settings::default_in(&folder);
    settings.serve.listen = "127.0.0.1:0".parse().expect("an address");
    let plan = Plan::of(&settings);
    let running = start(settings, plan).expect("starts");
    let address = running.address().expect("serves");
    let append = running.append.clone().expect("a log");
    let done = Arc::new(AtomicBool::new(false));

    let writer = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let started = Instant::now();
            let (mut n, mut waiting) = (0_u64, std::collections::VecDeque::new());
            while !done.load(SeqCst) {
                let due = (started.elapsed().as_secs_f64() * RATE) as u64;
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
    let readers: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut clients: Vec<Client> =
                    (0..CONNECTIONS / THREADS).map(|_| Client::connect(address)).collect();
                let mut took = Vec::new();
                let mut at = thread as u64;
                let started = Instant::now();
                while started.elapsed().as_secs_f64() < SECONDS {
                    for client in &mut clients {
                        at = (at * 25_214_903_917 + 11) % CUSTOMERS;
                        let request = get(&format!("/v1/views/customers/C{at}"));
                        let sent = Instant::now();
                        let (status, _) = client.send(&request);
                        assert!(status == 200 || status == 404, "{status}");
                        took.push(sent.elapsed().as_secs_f64() * 1e3);
                    }
                }
                took
            })
        })
        .collect();
    let mut took: Vec<f64> = readers.into_iter().flat_map(|it| it.join().expect("ends")).collect();
    done.store(true, SeqCst);
    let (events, seconds) = writer.join().expect("ends");
    took.sort_by(f64::total_cmp);
    println!(
        "point reads while {:.0} events/s are ingested, {CONNECTIONS} connections: {:.0} reads/s, \
         p50 {:.2} ms, p99 {:.2} ms",
        events as f64 / seconds,
        took.len() as f64 / SECONDS,
        percentile(&took, 0.5),
        percentile(&took, 0.99)
    );
    running.stop().expect("stops");
    std::fs::remove_dir_all(&folder).expect("cleans up");
}
