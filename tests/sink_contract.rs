//! Goal: whatever becomes of a receiver, of the process, or of both, each row, change and mark
//! arrives: in order, never under two ids, an id never with other bytes, nothing dropped, nobody
//! else kept waiting. Method: the kit of `tests/common/sinks.rs`, over a receiver in memory that
//! knows ids again, and over the sink of files.

#![allow(missing_docs, clippy::disallowed_methods)]

mod common;
#[path = "common/sinks.rs"]
mod kit;
#[path = "support/temp_dir.rs"]
mod temp_dir;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::history;
use kit::*;
use millstream::sinks::jsonl::Jsonl;
use millstream::sinks::{Batch, Declared, Delivering, Delivery, Sink};
use parking_lot::Mutex;
use serde_json::Value as Json;

/// A receiver in memory: it knows ids again, keeps current rows by version, changes by instant.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    ids: BTreeSet<String>,
    /// By sort: of each key, in each incarnation, the newest version and its text.
    newest: BTreeMap<(&'static str, u64, Key), (u64, Option<String>)>,
}

struct InMemory(Memory, Declared);

impl Sink for InMemory {
    fn declared(&self) -> Declared {
        self.1.clone()
    }
    fn ready(&self) -> Delivering<'_> {
        Box::pin(async { Delivery::Durable })
    }
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivering<'a> {
        Box::pin(async move {
            let kept = &mut *self.0.0.lock();
            if !kept.ids.insert(batch.id.clone()) {
                return Delivery::Durable;
            }
            for row in batch.rows() {
                let key = (batch.stream.view().into(), row.tenant.into(), row.key.into());
                let at = (batch.stream.sort(), batch.incarnation, key);
                let text = (!row.is_deleted()).then(|| row_text(batch, &row));
                let newest = kept.newest.entry(at).or_default();
                if row.epoch >= newest.0 {
                    *newest = (row.epoch, text);
                }
            }
            Delivery::Durable
        })
    }
}

impl Subject for Memory {
    fn sink(&self, declared: Declared) -> Arc<dyn Sink> {
        Arc::new(InMemory(self.clone(), declared))
    }
    fn held(&self, incarnation: u64) -> (Rows, Rows) {
        let kept = self.0.lock();
        let of = |sort: &str| {
            let of = kept.newest.iter().filter(|it| it.0.0 == sort && it.0.1 == incarnation);
            of.filter_map(|(at, it)| Some((at.2.clone(), it.1.clone()?))).collect()
        };
        (of("rows"), of("changes"))
    }
}

/// The sink of files.
struct Files(PathBuf);

impl Subject for Files {
    fn sink(&self, declared: Declared) -> Arc<dyn Sink> {
        Arc::new(Jsonl::new(&self.0, declared))
    }
    fn held(&self, incarnation: u64) -> (Rows, Rows) {
        let of = |sort: &str| {
            let mut newest: BTreeMap<Key, (u64, Option<String>)> = BTreeMap::new();
            for view in list(&self.0.join(sort)) {
                let name = view.file_name().unwrap().to_str().unwrap().to_string();
                for file in list(&view).iter().filter(|it| it.extension().unwrap() == "jsonl") {
                    let text = std::fs::read_to_string(file).unwrap_or_default();
                    for line in text.lines() {
                        let line: Json = serde_json::from_str(line).unwrap();
                        if line["incarnation"] != incarnation {
                            continue;
                        }
                        let text = |field: &str| line[field].as_str().unwrap().to_string();
                        let row = (line["deleted"] == false).then(|| line["row"].to_string());
                        let epoch = line["epoch"].as_u64().unwrap();
                        let key = (name.clone(), text("tenant"), text("key"));
                        let it = newest.entry(key).or_default();
                        if epoch >= it.0 {
                            *it = (epoch, row);
                        }
                    }
                }
            }
            newest.into_iter().filter_map(|(key, it)| Some((key, it.1?))).collect()
        };
        (of("rows"), of("changes"))
    }
}

fn list(folder: &std::path::Path) -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<PathBuf> = all.map(|it| it.unwrap().path()).collect();
    all.sort();
    all
}

/// Both receivers pass each test.
fn each(test: fn(&mut World<'_>)) {
    let dir = temp_dir::TempDir::new();
    let memory = Memory::default();
    test(&mut World::new(&dir.0, &memory));
    let dir = temp_dir::TempDir::new();
    let files = Files(dir.0.join("out"));
    test(&mut World::new(&dir.0, &files));
}

/// What every temper must leave behind: nothing open, nothing aside.
fn settled(world: &World<'_>) {
    until("everything is acknowledged", || world.told("tested")["in_flight_batches"] == 0);
    assert_eq!(world.stage.seen.lock().open_ids(), BTreeSet::new());
    assert_eq!(world.told("tested")["aside"], 0);
    assert_eq!(world.state(), "closed");
}

/// A receiver that is well holds what can be read, while events come, and after restarts.
#[test]
fn well() {
    each(|world| {
        let lines = history(1, 600);
        world.start();
        for _ in 0..3 {
            world.send(&lines, 150);
            world.equal(|_| false);
        }
        world.restart();
        world.equal(|_| false);
        world.send(&lines, 150);
        world.equal(|_| false);
        until("every event has arrived, once", || world.stage.seen.lock().events.len() == 600);
        until("a mark says that it is whole", || {
            world.stage.seen.lock().marks.values().last().is_some_and(|it| it.whole)
        });
        settled(world);
    });
}

/// One that fails loses nothing and doubles nothing, also over a restart in between: what was not
/// acknowledged comes again with the same id and the same bytes (the kit looks at each attempt).
fn fails(world: &mut World<'_>, temper: Temper, state: &[&str]) {
    let lines = history(2, 600);
    world.start();
    world.send(&lines, 200);
    world.equal(|_| false);
    world.stage.set(temper);
    let before = world.stage.attempts();
    world.send(&lines, 200);
    until("it is tried, and fails", || world.stage.attempts() > before);
    until("the breaker stands", || state.contains(&world.state().as_str()));
    let open = world.stage.seen.lock().open_ids();
    assert!(!open.is_empty());
    world.restart();
    if state != ["closed"] {
        assert_ne!(world.state(), "closed", "the breaker is kept over a restart");
    }
    world.send(&lines, 200);
    world.stage.set(Temper::Well);
    world.running.as_ref().unwrap().sinks().unwrap().resume("tested").unwrap();
    world.equal(|_| false);
    settled(world);
}

#[test]
fn fails_before() {
    each(|it| fails(it, Temper::FailsBefore, &["open", "half-open"]));
}

#[test]
fn fails_after() {
    each(|it| fails(it, Temper::FailsAfter, &["open", "half-open"]));
}

#[test]
fn hangs() {
    each(|it| fails(it, Temper::Hangs, &["closed"]));
}

#[test]
fn hangs_after() {
    each(|it| fails(it, Temper::HangsAfter, &["open", "half-open"]));
}

#[test]
fn misconfigured() {
    each(|it| fails(it, Temper::Misconfigured, &["misconfigured"]));
}

#[test]
fn unknown() {
    each(|it| fails(it, Temper::Unknown, &["paused"]));
}

/// A slow one holds nobody up and comes through.
#[test]
fn slow() {
    each(|world| {
        let lines = history(3, 400);
        world.start();
        world.stage.set(Temper::Slow(Duration::from_millis(30)));
        world.send(&lines, 400);
        world.equal(|_| false);
        settled(world);
    });
}

/// A receiver that is not fit is an alarm before anything is sent, and nothing is.
#[test]
fn unfit() {
    each(|world| {
        let lines = history(4, 200);
        world.stage.set(Temper::Unfit);
        world.start();
        world.send(&lines, 200);
        until("it is told", || world.state() == "misconfigured");
        let asking = world.running.as_ref().unwrap().sinks().unwrap();
        assert_eq!(asking.alarms(), ["sink tested is misconfigured"]);
        assert_eq!(world.stage.attempts(), 0);
        world.stage.set(Temper::Well);
        asking.resume("tested").unwrap();
        world.equal(|_| false);
        settled(world);
    });
}

/// Rows that a receiver refuses are put aside one by one, with the report; all others pass; once it
/// takes them, they are delivered after all.
#[test]
fn refuses_some() {
    each(|world| {
        let lines = history(5, 600);
        let bad = |key: &str| is_bad(key, 11);
        world.start();
        world.stage.set(Temper::RefusesOneOf(11));
        world.send(&lines, 600);
        world.equal(bad);
        let asking = world.running.as_ref().unwrap().sinks().unwrap();
        let aside = asking.aside("tested").unwrap();
        let aside = aside.as_array().unwrap();
        assert!(!aside.is_empty(), "{:?}", world.live().keys().take(9).collect::<Vec<_>>());
        for it in aside {
            assert!(bad(it["row"]["key"].as_str().unwrap()), "{it}");
            assert_eq!(it["report"]["why"], "one of the rows");
        }
        assert_eq!(world.state(), "closed", "its surroundings are well");
        drop(asking);
        world.restart();
        let asking = world.running.as_ref().unwrap().sinks().unwrap();
        assert_eq!(asking.aside("tested").unwrap().as_array().unwrap().len(), aside.len());
        world.stage.set(Temper::Well);
        asking.retry("tested").unwrap();
        world.equal(|_| false);
        until("nothing stands aside", || world.told("tested")["aside"] == 0);
        until("everything is acknowledged", || world.told("tested")["in_flight_batches"] == 0);
    });
}

/// A dead sink costs at most a row per entity, nobody else waits for it, and when it is back it gets
/// the newest rows only.
#[test]
fn dead_for_long() {
    let dir = temp_dir::TempDir::new();
    let (dead, alive) = (Memory::default(), Memory::default());
    let mut world = World::new(&dir.0, &dead);
    let other: Arc<Stage> = Arc::default();
    world.others.push(("other", Arc::clone(&other), &alive));
    world.streams = row_streams;
    world.max_bytes = 1 << 20;
    world.stage.set(Temper::Hangs);
    world.start();
    let mut sizes = Vec::new();
    for round in 0..10 {
        // The same few entities, again and again.
        world.send_all(
            &history(100 + round, 500)
                .iter()
                .map(|it| it.replace("\"source\":\"test\"", &format!("\"source\":\"test{round}\"")))
                .collect::<Vec<_>>(),
        );
        world.equal_of(&alive, &|_| false);
        sizes.push(world.told("tested")["outbox_bytes"].as_u64().unwrap());
    }
    // Two or three segments, whatever comes.
    assert!(sizes.iter().all(|it| *it < 600 << 10), "the outbox of a dead sink grows: {sizes:?}");
    assert_eq!(world.told("other")["state"], "closed");
    world.stage.set(Temper::Well);
    world.running.as_ref().unwrap().sinks().unwrap().resume("tested").unwrap();
    world.equal(|_| false);
}

/// Changes that nobody takes fill the outbox to its bound; then reading is held back, reads go on,
/// and it is no stall; when the receiver is back, all of them arrive.
#[test]
fn full() {
    let dir = temp_dir::TempDir::new();
    let memory = Memory::default();
    let mut world = World::new(&dir.0, &memory);
    world.max_bytes = 600 << 10;
    world.stage.set(Temper::FailsBefore);
    world.start();
    let lines = history(6, 12_000);
    let mut sent = 0;
    let running = |world: &World<'_>| world.running.as_ref().unwrap().ledger().partitions[0].lag;
    while world.told("tested")["full"] == false {
        world.append(&lines[sent..sent + 40]);
        sent += 40;
        std::thread::park_timeout(Duration::from_millis(10));
        assert!(sent < 11_900, "it is never full: {}", world.told("tested"));
    }
    // What is appended now stays in the log.
    std::thread::park_timeout(Duration::from_millis(200));
    world.append(&lines[sent..sent + 40]);
    std::thread::park_timeout(Duration::from_millis(300));
    assert!(running(&world) > 0, "reading is held back");
    assert!(world.told("tested")["outbox_bytes"].as_u64().unwrap() < 2 * world.max_bytes);
    assert!(!world.live().is_empty());
    world.stage.set(Temper::Well);
    world.running.as_ref().unwrap().sinks().unwrap().resume("tested").unwrap();
    until("reading goes on", || running(&world) == 0);
    world.equal(|_| false);
    assert_eq!(world.told("tested")["full"], false);
    settled(&world);
}

/// Another life of the state: all there is comes again under its number, and a mark says when it is
/// whole.
#[test]
fn another_life() {
    each(|world| {
        let lines = history(7, 400);
        world.start();
        world.send(&lines, 300);
        world.equal(|_| false);
        let before = world.incarnation();
        world.stop();
        world.rebuild = true;
        world.start();
        world.rebuild = false;
        world.send(&lines, 100);
        let now = world.incarnation();
        assert!(now > before);
        world.equal(|_| false);
        until("its marks come to be whole", || {
            world.stage.seen.lock().marks.get(&now).is_some_and(|it| it.whole)
        });
        settled(world);
    });
}

/// Asked to begin anew, beside what happens: everything comes once more, and in the end it is equal.
#[test]
fn anew() {
    let dir = temp_dir::TempDir::new();
    let memory = Memory::default();
    let mut world = World::new(&dir.0, &memory);
    let lines = history(8, 600);
    world.start();
    world.send(&lines, 300);
    world.equal(|_| false);
    // As if somebody had emptied the receiver.
    world.stage.seen.lock().again = true;
    memory.0.lock().newest.clear();
    world.running.as_ref().unwrap().sinks().unwrap().anew("tested").unwrap();
    world.send(&lines, 300);
    world.equal(|_| false);
    until("it is whole again", || world.told("tested")["whole"] == true);
    settled(&world);
}
