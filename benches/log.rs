//! How fast does the embedded log take events durably, and give them back?
//!
//! `cargo bench --bench log` prints records a second and microseconds an answer. Blocks of 100
//! records of 200 bytes; the folder is made under the folder for temporary files (`TMPDIR`), so
//! that is the disk that is measured. Beside it, as a yardstick: the file feed on a plain file.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use millstream::clock;
use millstream::config;
use millstream::ingest::file::{self, Plan, Progress};
use millstream::ingest::local_log::LocalLog;
use millstream::messages::{Append, AppendRefused, Format, Outlet};
use millstream::segments::OnDamage;

const BLOCK: usize = 100;
const RECORD: usize = 200;
const READ_BACK: u64 = 2_000_000;

fn main() {
    let dir = std::env::temp_dir().join(format!("millstream-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for threads in [1, 4, 16, 64] {
        durable(&dir.join(format!("durable-{threads}")), threads);
    }
    read_back(&dir.join("read"));
    read_file(&dir.join("file.jsonl"));
    std::fs::remove_dir_all(&dir).unwrap();
}

fn open(dir: &std::path::Path) -> LocalLog {
    let settings = config::Log {
        retention: Duration::from_secs(86_400),
        max_bytes: 64 << 30,
        segment_bytes: 256 << 20,
        commit_delay: Duration::from_millis(2),
        queue_bytes: 64 << 20,
        on_damage: OnDamage::Refuse,
    };
    LocalLog::open(dir, &settings, OnDamage::Refuse, Arc::new(clock::wall_ms)).unwrap()
}

fn block() -> Vec<Vec<u8>> {
    (0..BLOCK).map(|i| vec![b'a' + (i % 26) as u8; RECORD]).collect()
}

/// Each thread appends a block, waits for the answer, and appends the next.
fn durable(dir: &std::path::Path, threads: usize) {
    let log = open(dir);
    let started = clock::monotonic();
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut waits = Vec::new();
                    while clock::since(started) < Duration::from_secs(3) {
                        let asked = clock::monotonic();
                        log.append(block()).unwrap().blocking_recv().unwrap().unwrap();
                        waits.push(clock::since(asked));
                    }
                    waits
                })
            })
            .collect();
        workers.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let seconds = clock::since(started).as_secs_f64();
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "append, durable, {threads:>2} threads: {:>9.0} records/s, answer p50 {} us, p99 {} us",
        log.end() as f64 / seconds,
        at(0.5),
        at(0.99)
    );
}

/// Two million records, read back and checked.
fn read_back(dir: &std::path::Path) {
    let log = open(dir);
    let mut answers = Vec::new();
    let started = clock::monotonic();
    for _ in 0..READ_BACK as usize / BLOCK {
        loop {
            match log.append(block()) {
                Ok(answer) => break answers.push(answer),
                Err(AppendRefused::Busy(_)) => {
                    for it in answers.drain(..) {
                        it.blocking_recv().unwrap().unwrap();
                    }
                }
                Err(AppendRefused::Failed(report)) => panic!("{report}"),
            }
        }
    }
    for it in answers {
        it.blocking_recv().unwrap().unwrap();
    }
    let seconds = clock::since(started).as_secs_f64();
    println!("append, queue kept full: {:>9.0} records/s", READ_BACK as f64 / seconds);
    for _ in 0..3 {
        let (sender, chunks) = crossbeam_channel::bounded(8);
        let outlet = Outlet::new(sender, Arc::new(|| ()));
        let started = clock::monotonic();
        let following =
            log.read_from(0, 0, outlet, Arc::new(|_| Format::Native), Arc::new(|_| {})).unwrap();
        while chunks.recv().unwrap().next < READ_BACK {}
        let seconds = clock::since(started).as_secs_f64();
        println!("read back: {:>9.0} records/s", READ_BACK as f64 / seconds);
        following.stop();
        following.join().unwrap();
    }
    let started = clock::monotonic();
    drop(log);
    let log = open(dir);
    assert_eq!(log.end(), READ_BACK);
    println!("close, open and check {} bytes: {:?}", log.stats().bytes, clock::since(started));
}

/// A plain file of lines of the same length.
fn read_file(path: &std::path::Path) {
    let mut line = vec![b'x'; RECORD - 1];
    line.push(b'\n');
    std::fs::write(path, line.repeat(READ_BACK as usize)).unwrap();
    let plan = Plan {
        path: path.into(),
        feed: 0,
        first_read_ms: 0,
        max_event_bytes: 64 * 1024,
        rate: None,
        passes: 1,
        from: std::collections::BTreeMap::new(),
    };
    for _ in 0..3 {
        let (sender, chunks) = crossbeam_channel::bounded(8);
        let outlet = Outlet::new(sender, Arc::new(|| ()));
        let progress = Arc::new(Progress::default());
        let started = clock::monotonic();
        std::thread::scope(|scope| {
            let (plan, progress) = (&plan, &progress);
            scope.spawn(move || file::read(plan, &outlet, progress, &AtomicBool::new(false)));
            let lines: u64 = chunks.iter().map(|it| it.next - it.first).sum();
            assert_eq!(lines, READ_BACK);
        });
        let bytes = READ_BACK as f64 * RECORD as f64;
        let seconds = clock::since(started).as_secs_f64();
        println!("read a plain file: {:>6.0} MB/s", bytes / seconds / 1e6);
    }
}
