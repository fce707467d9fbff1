//! Does the embedded log keep what it answered, and nothing else? Each test has a folder of its
//! own under the system's folder for temporary files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream::config;
use millstream::ingest::local_log::{Following, Kind, LocalLog};
use millstream::messages::{
    Append, AppendRefused, AppendRetried, Appended, Chunk, Format, Framing, Origin, Outlet, Retry,
};
use millstream::segments::OnDamage;

/// A folder that goes away with the test.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> TempDir {
        static N: AtomicU64 = AtomicU64::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let name = format!("millstream-log-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn settings() -> config::Log {
    config::Log {
        retention: Duration::from_secs(30 * 86_400),
        max_bytes: 64 << 30,
        segment_bytes: 256 << 20,
        commit_delay: Duration::from_millis(2),
        queue_bytes: 64 << 20,
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
        let following = log.read_from(position, 7, outlet, Arc::new(|_| Format::Native)).unwrap();
        Read { following, chunks }
    }

    fn take(&self, n: usize) -> (Vec<(u64, String)>, u64) {
        let (mut out, mut lost) = (Vec::new(), 0);
        while out.len() < n {
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
