//! What does a sink cost a replay? One that takes everything at once, so that what is measured is
//! ours: gathering with the checkpoints, fixing batches, handing them over.
//!
//! `cargo bench --bench sinks -- [EVENTS]` (default 1,000,000) prints events a second of replays of
//! a generated file with checkpoints on, without a sink and with one of each choice, in turn, three
//! times; the share of each beside the run without just before it; and the items a second that
//! were delivered meanwhile.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use millstream::clock;
use millstream::commands::replay::Clock;
use millstream::config::Settings;
use millstream::engine;
use millstream::generator::{Generator, Shape};
use millstream::run::{Plan, Rebuild, Source, start};
use millstream::sinks::{Batch, Declared, Delivering, Delivery, Given, Limits, Sink, Stream};

const WORKERS: usize = 2;
const ROUNDS: usize = 3;

/// Takes everything at once, and counts it.
struct Null {
    streams: Vec<Stream>,
    items: Arc<AtomicU64>,
}

impl Sink for Null {
    fn declared(&self) -> Declared {
        let streams = self.streams.clone();
        Declared { kind: "null", streams, limits: Limits::default() }
    }
    fn ready(&self) -> Delivering<'_> {
        Box::pin(async { Delivery::Durable })
    }
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivering<'a> {
        self.items.fetch_add(batch.len() as u64, Relaxed);
        Box::pin(async { Delivery::Durable })
    }
}

fn streams(rows: bool, changes: bool, events: bool) -> Vec<Stream> {
    let mut all = Vec::new();
    for def in engine::definitions() {
        all.extend(rows.then_some(Stream::Rows(def)));
        all.extend(changes.then_some(Stream::Changes(def)));
    }
    all.extend(events.then_some(Stream::Events));
    all.push(Stream::Marks);
    all
}

fn main() {
    let n = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(1_000_000_u64);
    let dir = std::env::temp_dir().join(format!("millstream-bench-sinks-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let input = dir.join("events.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&input).unwrap());
    for event in Generator::new(Shape::of(1)).take(n as usize) {
        file.write_all(&event).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.into_inner().unwrap();
    let choices = [
        ("rows", streams(true, false, false)),
        ("changes", streams(false, true, false)),
        ("rows and changes", streams(true, true, false)),
        ("rows, changes, events", streams(true, true, true)),
    ];
    for round in 0..ROUNDS {
        for (name, streams) in &choices {
            let off = replay(&dir, &input, None);
            let items = Arc::new(AtomicU64::new(0));
            let sink = Null { streams: streams.clone(), items: Arc::clone(&items) };
            let on = replay(&dir, &input, Some(sink));
            let rate = |seconds: f64| n as f64 / seconds;
            println!(
                "{round} {name:<22} off {:>9.0} events/s, on {:>9.0}, share {:.2}; {} items delivered meanwhile, {:.0}/s",
                rate(off),
                rate(on),
                off / on,
                items.load(Relaxed),
                items.load(Relaxed) as f64 / on,
            );
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Seconds from the start to the last epoch complete and in a checkpoint.
fn replay(dir: &Path, input: &Path, sink: Option<Null>) -> f64 {
    let state = dir.join("state");
    let mut settings = Settings::default_in(&state);
    settings.engine.workers = WORKERS;
    let source = Source {
        name: "bench".into(),
        path: input.to_path_buf(),
        mapping: None,
        repeat: 1,
        rate: None,
    };
    let sinks =
        sink.map(|sink| Given { name: "null".into(), sink: Arc::new(sink), max_bytes: 16 << 30 });
    let plan = Plan {
        log: false,
        sources: vec![source],
        state: Some(state.clone()),
        models: None,
        rebuild: Rebuild::default(),
        sinks: sinks.into_iter().collect(),
        clock: Clock::Event,
        serve: false,
        until_end: true,
        ..Plan::of(&settings)
    };
    let began = clock::monotonic();
    start(settings, plan).unwrap().drain().unwrap().stop().unwrap();
    let took = clock::since(began).as_secs_f64();
    std::fs::remove_dir_all(&state).unwrap();
    took
}
