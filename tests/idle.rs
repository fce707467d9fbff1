//! Goal: with nothing to do the whole process costs next to nothing, and waking it adds nothing
//! that a person could feel. Method: the real binary with two workers and some events in it; the
//! processor time that the system counts for it (not the clock on the wall, of which a busy
//! machine takes what it likes); then events one by one, each after a pause. Optimised it is run by
//! `scripts/bench-http idle`.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use process::{Folder, Process};

/// Of one core, in all: what is promised of what people run. Unoptimised, the same few wakings a
/// second cost five to seven times as much (4.5 to 5.2 %); a loop that spins would show here too.
const SHARE: f64 = if cfg!(debug_assertions) { 0.12 } else { 0.01 };
/// How long it is watched: the system counts in hundredths of a second.
const WATCHED: Duration = Duration::from_secs(10);
/// What it may go on with after the last event: a checkpoint, keys put in order.
const SETTLES: Duration = Duration::from_secs(3);

/// Processor time of all threads of a process, user and system.
fn cpu(process: &Process) -> Duration {
    let path = format!("/proc/{}/stat", process.child.id());
    let stat = std::fs::read_to_string(path).unwrap();
    // After the name, which may hold anything: state is field 3, utime and stime 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|it| it.parse::<u64>().unwrap()).sum();
    // A tick is a hundredth of a second on every Linux (`USER_HZ`).
    Duration::from_millis(ticks * 10)
}

/// Posts events and waits until they can be read; how long that took.
fn post(address: &str, first: usize, n: usize) -> Duration {
    let event = |n: usize| {
        format!(
            r#"{{"specversion":"1.0","type":"feedback.submitted","source":"/s","id":"{n}","time":"2026-03-01T09:30:00Z","data":{{"customer":"C-{n}","rating":4}}}}"#
        )
    };
    let body = (first..first + n).map(event).collect::<Vec<_>>().join(",");
    let started = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/events?wait=applied HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
         content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n[{body}]",
        body.len() + 2
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    started.elapsed()
}

fn start(folder: &Folder, more: &[&str]) -> (Process, String) {
    let data = folder.path("data");
    let words = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--workers", "2"];
    let words: Vec<&str> = words.iter().chain(more).copied().collect();
    let mut process = Process::start(&words);
    let address = process.address(&folder.0.join("data"));
    (process, address)
}

fn end(process: Process) {
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert_eq!(code, 0, "{err}");
}

#[test]
fn with_nothing_to_do_it_needs_next_to_nothing() {
    let folder = Folder::new("idle");
    let (process, address) = start(&folder, &[]);
    for n in 0..20 {
        post(&address, n * 100, 100);
    }
    std::thread::park_timeout(SETTLES);
    let (began, before) = (Instant::now(), cpu(&process));
    while began.elapsed() < WATCHED {
        std::thread::park_timeout(WATCHED.saturating_sub(began.elapsed()));
    }
    let share = (cpu(&process) - before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("{:.2} % of a core", share * 100.0);
    assert!(share < SHARE, "{:.2} % of a core with nothing to do", share * 100.0);
    post(&address, 2_000, 1); // Asleep, not dead.
    end(process);
}

/// Were a worker not woken, an event would wait for the next tick: with one every ten seconds,
/// five on average, and the slowest of twenty nearly ten.
#[test]
fn waking_does_not_wait_for_the_tick() {
    let folder = Folder::new("waking");
    let (process, address) = start(&folder, &["--set", "engine.idle_period=10s"]);
    post(&address, 0, 1);
    let mut took: Vec<Duration> = (1..=20)
        .map(|n| {
            std::thread::park_timeout(Duration::from_millis(100));
            post(&address, n, 1)
        })
        .collect();
    took.sort_unstable();
    println!("posted, durable, readable, from idle: p50 {:?}, most {:?}", took[10], took[19]);
    // Some milliseconds; a busy machine may take its turns.
    assert!(took[10] < Duration::from_secs(1), "{took:?}");
    end(process);
}
