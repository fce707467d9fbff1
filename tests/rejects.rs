//! Are rejects kept, found, bounded and retried once? Each test has a store of its own.

use std::sync::Arc;
use std::time::Duration;

use millstream::config;
use millstream::ingest::local_log::LocalLog;
use millstream::messages::{Feed, Feeds, Format, MAX_REJECT_BYTES, Rejected};
use millstream::rejects::{Count, Filter, RejectStore, Select};
use millstream::segments::OnDamage;
use schemas::problem::Problem;

#[path = "support/temp_dir.rs"]
mod temp_dir;
use temp_dir::TempDir;

fn feeds() -> Feeds {
    let feed = |name: &str, mapping: Option<&str>| Feed {
        name: name.into(),
        mapping: mapping.map(Into::into),
        format: Format::Native,
        is_log: false,
        takes_own: false,
        identity: None,
    };
    Feeds::new(vec![feed("log", None), feed("file:shop", Some("shop"))])
}

fn open(dir: &TempDir, max_bytes: u64) -> RejectStore {
    let settings = config::Rejects { max_bytes };
    RejectStore::open(&dir.0.join("rejects"), &settings, feeds(), OnDamage::Refuse, Arc::new(|| 5))
        .unwrap()
}

fn rejected(feed: u16, offset: u64, code: &'static str, bytes: &[u8]) -> Rejected {
    Rejected {
        partition: (feed, 3),
        offset,
        appended_ms: 1_000 + offset,
        problem: Problem {
            code,
            pointer: "/amount".into(),
            expected: "an integer".into(),
            found: "\"12,00\"".into(),
        },
        bytes: bytes.to_vec(),
        origin: None,
    }
}

fn flushed(store: &RejectStore) {
    assert!(store.flush(Duration::from_secs(20)));
}

fn ids(store: &RejectStore, filter: &Filter) -> Vec<u64> {
    store.list(filter, 100, None).unwrap().rejects.iter().map(|it| it.id).collect()
}

fn count(feed: &str, code: &str, kept: u64, repeated: u64) -> Count {
    let (feed, code) = (feed.into(), code.into());
    Count { feed, code, kept, retried: 0, summarised: 0, not_kept: 0, repeated }
}

/// Goal: what was put is found, with all of its report, also after a restart; the same record
/// read again is not kept twice. Method: two runs over one folder.
#[test]
fn kept_found_and_not_doubled() {
    let dir = TempDir::new();
    for run in 0..2 {
        let store = open(&dir, 1 << 20);
        store.put(rejected(0, 7, "schemas/not-json", b"{oops"));
        store.put(rejected(1, 7, "schemas/mistyped", &[0xff, 0xfe]));
        flushed(&store);
        let page = store.list(&Filter::default(), 100, None).unwrap();
        assert_eq!(page.rejects.len(), 2, "run {run}");
        assert_eq!(page.next, None);
        let it = &page.rejects[1];
        assert_eq!(it.told()["text"], "{oops");
        assert_eq!((it.head.feed.as_str(), it.head.partition, it.head.offset), ("log", 3, 7));
        assert_eq!((it.head.appended_ms, it.head.rejected_ms), (1_007, 5));
        assert_eq!(it.head.pointer, "/amount");
        assert_eq!(page.rejects[0].told()["base64"], "//4=");
        assert_eq!(page.rejects[0].head.mapping.as_deref(), Some("shop"));
        let one = store.get(it.id).unwrap().unwrap();
        assert_eq!(&one, it);
        assert_eq!(store.get(999).unwrap(), None);
        let expected = [
            count("file:shop", "schemas/mistyped", 1, run),
            count("log", "schemas/not-json", 1, run),
        ];
        assert_eq!(store.counts(), expected);
    }
}

/// Goal: filters and pages. Method: a hundred rejects, pages of seven.
#[test]
fn pages_newest_first() {
    let store = {
        let settings = config::Rejects { max_bytes: 1 << 20 };
        RejectStore::in_memory(&settings, feeds(), Arc::new(|| 5)).unwrap()
    };
    for i in 0..100 {
        let code = if i % 2 == 0 { "schemas/not-json" } else { "schemas/mistyped" };
        store.put(rejected((i % 4 / 2) as u16, i, code, b"x"));
    }
    flushed(&store);
    let filter = Filter { code: Some("schemas/mistyped".into()), ..Filter::default() };
    let (mut offsets, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(&filter, 7, before).unwrap();
        offsets.extend(page.rejects.iter().map(|it| it.head.offset));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let expected: Vec<u64> = (0..100).rev().filter(|it| it % 2 == 1).collect();
    assert_eq!(offsets, expected);
    let filter = Filter { feed: Some("log".into()), ..filter };
    assert_eq!(ids(&store, &filter).len(), 25);
    let nobody = Filter { feed: Some("elsewhere".into()), ..Filter::default() };
    assert_eq!(ids(&store, &nobody), [0u64; 0]);
}

/// Goal: the store stays within its bytes, and what is pushed out is counted, for good: read
/// again after a restart it is known. Method: far more than fits, two runs, disk and memory.
#[test]
fn bounded_and_summarised() {
    let dir = TempDir::new();
    let (n, max) = (4_000, 1 << 20);
    let body = vec![b'x'; 1_000];
    for run in 0..2 {
        let store = open(&dir, max);
        for i in 0..n {
            store.put(rejected(0, i, "schemas/not-json", &body));
            if i % 500 == 0 {
                flushed(&store);
            }
        }
        flushed(&store);
        let counts = store.counts();
        assert_eq!(counts.len(), 1);
        let it = &counts[0];
        assert_eq!((it.kept + it.summarised, it.not_kept), (n, 0), "run {run}: {it:?}");
        assert!(it.kept >= 500 && it.summarised >= 2_000, "{it:?}");
        let newest = store.list(&Filter::default(), 1, None).unwrap();
        assert_eq!(newest.rejects[0].head.offset, n - 1);
        drop(store);
        let bytes: u64 = std::fs::read_dir(dir.0.join("rejects"))
            .unwrap()
            .map(|it| it.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= max + max / 4, "run {run}: {bytes} bytes on disk");
    }
    let settings = config::Rejects { max_bytes: max };
    let store = RejectStore::in_memory(&settings, feeds(), Arc::new(|| 5)).unwrap();
    for i in 0..n {
        store.put(rejected(0, i, "schemas/not-json", &body));
        if i % 500 == 0 {
            flushed(&store);
        }
    }
    flushed(&store);
    let it = &store.counts()[0];
    assert_eq!((it.kept + it.summarised, it.not_kept), (n, 0));
}

/// Goal: a flood never blocks the worker and is never silent. Method: put far more than the
/// queue holds without a pause; every one is in exactly one count.
#[test]
fn a_flood_is_counted() {
    let dir = TempDir::new();
    let store = open(&dir, 64 << 20);
    let (n, body) = (60_000, vec![b'x'; 2_000]);
    for i in 0..n {
        store.put(rejected(0, i, "schemas/not-json", &body));
    }
    flushed(&store);
    let it = &store.counts()[0];
    assert_eq!(it.kept + it.summarised + it.not_kept, n, "{it:?}");
    assert!(it.not_kept > 0, "the flood was no flood: {it:?}");
}

/// Goal: a retry appends each reject once, with its origin, and remembers it over a restart.
/// Method: a real embedded log; retry by filter, again, by id, and one that was cut.
#[test]
fn retried_once() {
    let dir = TempDir::new();
    let settings = config::Log {
        retention: Duration::from_secs(86_400),
        max_bytes: 64 << 30,
        segment_bytes: 256 << 20,
        commit_delay: Duration::from_millis(2),
        queue_bytes: 64 << 20,
        on_damage: OnDamage::Refuse,
    };
    let path = dir.0.join("log");
    let log = LocalLog::open(&path, &settings, OnDamage::Refuse, Arc::new(|| 9)).unwrap();
    {
        let store = open(&dir, 1 << 20);
        store.put(rejected(1, 4, "schemas/mistyped", b"four"));
        store.put(rejected(1, 5, "schemas/mistyped", b"five"));
        store.put(rejected(0, 6, "schemas/too-large", &vec![b'x'; MAX_REJECT_BYTES + 1]));
        flushed(&store);
        let filter = Filter { code: Some("schemas/mistyped".into()), ..Filter::default() };
        let first = store.retry(&Select::Filter(filter.clone()), &log).unwrap();
        assert_eq!((first.n_retried, first.position, first.skipped.len()), (2, Some(2), 0));
        let again = store.retry(&Select::Filter(filter), &log).unwrap();
        assert_eq!(again.n_retried, 0);
    }
    let store = open(&dir, 1 << 20);
    let marked = Filter { retried: Some(true), ..Filter::default() };
    assert_eq!(ids(&store, &marked).len(), 2);
    let all = ids(&store, &Filter::default());
    let third = store.retry(&Select::Ids(all.into_iter().chain([77]).collect()), &log).unwrap();
    assert_eq!((third.n_retried, third.skipped.len()), (0, 4));
    let shown = log.show(0, 10).unwrap();
    assert_eq!(shown.len(), 2);
    let origin = shown[0].origin.as_ref().unwrap();
    assert_eq!((origin.feed.as_str(), origin.partition, origin.offset), ("file:shop", 3, 4));
    assert_eq!((origin.appended_ms, origin.mapping.as_deref()), (1_004, Some("shop")));
    assert_eq!(shown[1].bytes, b"five");
}
