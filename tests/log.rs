//! Does the embedded log keep what it answered, and nothing else? Each test has a folder of its
//! own under the system's folder for temporary files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream::config;
use millstream::ingest::local_log::{Following, Kind, LocalLog};
use millstream::messages::{
    Append, AppendRefused, AppendRetried, Appended, Chunk, Format, Framing, Origin, Outlet, Retry,
};
use millstream::segments::OnDamage;

#[path = "support/temp_dir.rs"]
mod temp_dir;
use temp_dir::TempDir;

fn settings() -> config::Log {
    config::Log {
        retention: Duration::from_secs(30 * 86_400),
        max_bytes: 64 << 30,
        segment_bytes: 256 << 20,
        commit_delay: Duration::from_millis(2),
        queue_bytes: 64 << 20,
        on_damage: OnDamage::Refuse,
    }
}

fn open_with(dir: &TempDir, settings: &config::Log) -> LocalLog {
    let clock = AtomicU64::new(1_000);
    let clock = Arc::new(move || clock.fetch_add(1, Ordering::Relaxed));
    LocalLog::open(&dir.0, settings, OnDamage::Refuse, clock).unwrap()
}

fn texts(from: u64, n: u64) -> Vec<Vec<u8>> {
    (from..from + n).map(|i| format!("record {i}").into_bytes()).collect()
}

fn wait(
    answer: Result<tokio::sync::oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused>,
) -> Appended {
    answer.expect("queued").blocking_recv().expect("answered").expect("appended")
}

/// Reads until there are `n` records: their offsets and texts, and what was lost before them.
struct Read {
    following: Following,
    chunks: crossbeam_channel::Receiver<Chunk>,
}

impl Read {
    fn from(log: &LocalLog, position: u64) -> Read {
        let (sender, chunks) = crossbeam_channel::bounded(4);
        let outlet = Outlet::new(sender, Arc::new(|| ()));
        let following =
            log.read_from(position, 7, outlet, Arc::new(|_| Format::Native), Arc::new(|_| {}));
        let following = following.unwrap();
        Read { following, chunks }
    }

    fn take(&self, n: usize) -> (Vec<(u64, String)>, u64) {
        self.until(|out| out.len() >= n)
    }

    fn until(&self, enough: impl Fn(&[(u64, String)]) -> bool) -> (Vec<(u64, String)>, u64) {
        let (mut out, mut lost) = (Vec::new(), 0);
        while !enough(&out) {
            let chunk = self.chunks.recv_timeout(Duration::from_secs(20)).expect("more to come");
            lost += chunk.gap.lost;
            assert_eq!(chunk.partition, (7, 0));
            let Framing::Records(records) = &chunk.framing else { panic!("records") };
            assert_eq!(chunk.next - chunk.first, records.len() as u64);
            for (offset, it) in (chunk.first..).zip(records) {
                let bytes = &chunk.bytes[it.start as usize..][..it.len as usize];
                out.push((offset, String::from_utf8(bytes.to_vec()).unwrap()));
            }
        }
        (out, lost)
    }
}

fn expected(from: u64, n: u64) -> Vec<(u64, String)> {
    (from..from + n).map(|i| (i, format!("record {i}"))).collect()
}

/// Goal: what is appended is read back, in order, at its position, also after a restart, and a
/// reader that is ahead gets what comes next. Method: three runs over one folder.
#[test]
fn append_and_read_back() {
    let dir = TempDir::new();
    let log = open_with(&dir, &settings());
    let read = Read::from(&log, 0);
    assert_eq!(wait(log.append(texts(0, 3))), Appended { first: 0, next: 3 });
    assert_eq!(read.take(3).0, expected(0, 3));
    assert_eq!(wait(log.append(texts(3, 100))), Appended { first: 3, next: 103 });
    assert_eq!(read.take(100).0, expected(3, 100));
    read.following.stop();
    read.following.join().unwrap();
    log.close();
    drop(log);

    let log = open_with(&dir, &settings());
    assert_eq!(log.notes(), []);
    assert_eq!((log.first(), log.end()), (0, 103));
    assert_eq!(wait(log.append(texts(103, 2))), Appended { first: 103, next: 105 });
    let (read, lost) = Read::from(&log, 50).take(55);
    assert_eq!((read, lost), (expected(50, 55), 0));
    assert_eq!(log.stats().n_records, 105);
}

/// Goal: a block larger than a chunk is split, records stay whole. Method: records of 100 KiB.
#[test]
fn large_blocks_are_split_into_chunks() {
    let dir = TempDir::new();
    let log = open_with(&dir, &settings());
    let records: Vec<Vec<u8>> = (0..20u8).map(|i| vec![b'a' + i; 100 << 10]).collect();
    wait(log.append(records.clone()));
    wait(log.append(texts(20, 5)));
    let read = Read::from(&log, 3);
    let (got, _) = read.take(22);
    for (offset, text) in &got[..17] {
        assert_eq!(text.as_bytes(), records[*offset as usize]);
    }
    assert_eq!(got[17..], expected(20, 5));
}

/// Goal: a retried reject comes back with its origin. Method: one of each kind.
#[test]
fn kinds_and_origins_are_kept() {
    let dir = TempDir::new();
    let log = open_with(&dir, &settings());
    let origin = Origin {
        feed: "file:a".into(),
        partition: 2,
        offset: 17,
        appended_ms: 5,
        mapping: Some("shop".into()),
    };
    wait(log.append(texts(0, 1)));
    wait(log.append_facts(texts(1, 1)));
    wait(log.append_retried(vec![Retry { origin: origin.clone(), bytes: b"record 2".to_vec() }]));
    let shown = log.show(0, 10).unwrap();
    let kinds: Vec<Kind> = shown.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::Event, Kind::Fact, Kind::Retried]);
    assert_eq!(shown[2].origin, Some(origin));
    assert_eq!(shown[2].bytes, b"record 2");
    assert_eq!(Read::from(&log, 0).take(3).0, expected(0, 3));
}

/// Waits until it is so; a test that waits for ever is one that failed.
fn until(what: &str, is: impl Fn() -> bool) {
    let started = millstream::clock::monotonic();
    while !is() {
        assert!(millstream::clock::since(started) < Duration::from_secs(20), "{what}: never");
        std::thread::yield_now();
    }
}

/// Goal: a full queue refuses at once, whole, and says when to come back; nothing refused is in
/// the log. Method: a queue of one record's size, blocks pushed faster than any disk.
#[test]
fn a_full_queue_is_busy() {
    let dir = TempDir::new();
    let log = open_with(&dir, &config::Log { queue_bytes: 4_000, ..settings() });
    let (mut answers, mut busy) = (Vec::new(), 0);
    for i in 0..2_000 {
        match log.append(vec![vec![b'x'; 1_000 + i % 7]]) {
            Ok(answer) => answers.push(answer),
            Err(AppendRefused::Busy(after)) => {
                assert!(after > Duration::ZERO);
                busy += 1;
            }
            Err(AppendRefused::Failed(report)) => panic!("{report}"),
        }
    }
    assert!(busy > 0);
    let n = answers.len() as u64;
    let last = answers.into_iter().map(|it| it.blocking_recv().unwrap().unwrap()).last().unwrap();
    assert_eq!((last.next, log.end()), (n, n));
}

/// Goal: old and large logs lose their oldest segments, own facts stay, a reader is told what is
/// lost. Method: small segments and a clock in hand; by size, then by age.
#[test]
fn retention_by_size_and_age() {
    let dir = TempDir::new();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = now.clone();
    let small = config::Log {
        retention: Duration::from_secs(1_000),
        max_bytes: 20_000,
        segment_bytes: 2_000,
        ..settings()
    };
    let clock = Arc::new(move || clock.load(Ordering::Relaxed));
    let log = LocalLog::open(&dir.0, &small, OnDamage::Refuse, clock).unwrap();
    wait(log.append_facts(texts(0, 2)));
    let mut n = 0;
    while let Ok(answer) = log.append(texts(2 + n * 10, 10)) {
        wait(Ok(answer));
        n += 1;
        // All of it is needed: then no more is taken, once the thread that looks has had its turn.
        assert!(n < 100_000, "no more is taken");
        std::thread::park_timeout(Duration::from_micros(n * 10));
    }
    assert_eq!((log.stats().whole_from, log.stats().n_records), (0, 2 + n * 10));
    log.needed().from(u64::MAX);
    // (More than it may have: that is what it was overfull by.)
    until("there is room again", || log.stats().bytes <= 20_000);
    let all = n + 400;
    for i in n..all {
        wait(log.append(texts(2 + i * 10, 10)));
    }
    let end = 2 + all * 10;
    // It looks when a segment is full, so by then it may be larger by one.
    until("by size", || log.stats().bytes <= 20_000 + 2_500);
    assert_eq!(log.first(), 0, "the facts are there");
    assert!(log.stats().whole_from > 2, "and nothing else of what was around them");
    // One more segment may leave while this reads.
    let last = |out: &[(u64, String)]| out.last().is_some_and(|it| it.0 == end - 1);
    let (got, lost) = Read::from(&log, 0).until(last);
    assert_eq!(got[..2], expected(0, 2));
    assert!(lost > 0);
    assert_eq!(lost + got.len() as u64, end);
    let first = got[2].0;
    assert_eq!(got[2..], expected(first, end - first));

    // Everything is old now; what is still written to leaves once it is no longer.
    now.fetch_add(2_000_000, Ordering::Relaxed);
    wait(log.append(texts(end, 1)));
    until("by age", || log.stats().n_records == 3);
    let read = Read::from(&log, 1);
    let (got, lost) = read.take(2);
    assert_eq!(got, [(1, "record 1".to_string()), (end, format!("record {end}"))]);
    assert_eq!(lost, end - 2);
    wait(log.append(texts(end + 1, 1)));
    assert_eq!(read.take(1).0, expected(end + 1, 1));
}

/// Goal: damage is refused at opening with its place, and skipped as a lost range when told to.
/// Method: one flipped bit in the second of three blocks.
#[test]
fn a_flipped_bit_is_refused_or_skipped() {
    let dir = TempDir::new();
    let log = open_with(&dir, &settings());
    for i in 0..3 {
        wait(log.append(texts(i * 5, 5)));
    }
    drop(log);
    let file = dir.0.join("00000000000000000000.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|it| it == b"record 7").unwrap();
    bytes[at] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let clock: millstream::ingest::local_log::Clock = Arc::new(|| 1);
    let open = |it| LocalLog::open(&dir.0, &settings(), it, clock.clone());
    let report = open(OnDamage::Refuse).err().expect("refused");
    assert_eq!(report.code, "segments/damaged");
    assert!(report.at.contains(&("file", file.display().to_string())), "{report}");
    assert!(report.at.contains(&("positions", "5 to before 10".into())), "{report}");
    let log = open(OnDamage::Skip).unwrap();
    assert_eq!(log.notes().len(), 1);
    let (got, lost) = Read::from(&log, 0).take(10);
    assert_eq!((got, lost), ([expected(0, 5), expected(10, 5)].concat(), 5));
    assert_eq!(wait(log.append(texts(15, 1))).first, 15);
}

/// Goal: damage that comes after opening is found when it is read: nothing of the block is given.
/// Method: one flipped bit under an open log.
#[test]
fn damage_under_an_open_log_is_found_in_reading() {
    let dir = TempDir::new();
    let log = open_with(&dir, &settings());
    for i in 0..3 {
        wait(log.append(texts(i * 5, 5)));
    }
    let file = dir.0.join("00000000000000000000.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(8).position(|it| it == b"record 7").unwrap();
    bytes[at] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let read = Read::from(&log, 0);
    assert_eq!(read.take(5).0, expected(0, 5));
    let Read { following, chunks } = read;
    let report = following.join().expect_err("refused");
    assert!(report.at.contains(&("positions", "5 to before 10".into())), "{report}");
    assert!(chunks.recv().is_err(), "nothing of the damaged block, nothing behind it");
}

/// Goal: a position that the log has not reached is refused, not waited for.
#[test]
fn a_position_ahead_is_refused() {
    let dir = TempDir::new();
    let log = open_with(&dir, &settings());
    wait(log.append(texts(0, 3)));
    let (sender, _chunks) = crossbeam_channel::bounded(4);
    let outlet = Outlet::new(sender, Arc::new(|| ()));
    let refused = log.read_from(4, 7, outlet, Arc::new(|_| Format::Native), Arc::new(|_| {}));
    assert_eq!(refused.err().map(|it| it.code), Some("ingest/position-ahead"));
}
