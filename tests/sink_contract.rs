//! Goal: whatever becomes of a receiver, of the process, or of both, each row, change and mark
//! arrives: in order, never under two ids, an id never with other bytes, nothing dropped, nobody
//! else kept waiting. Method: the kit of `tests/common/sinks.rs`, over a receiver in memory that
//! knows ids again, over the sink of files, and over channels of notifications: a receiver of
//! webhooks, and a server of mail.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "common/channel.rs"]
mod channel;
mod common;
#[path = "common/contract.rs"]
mod contract;
#[path = "common/sinks.rs"]
mod kit;
#[path = "common/postbox.rs"]
mod postbox;
#[path = "common/receiver.rs"]
mod receiver;
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
    fn takes_two(&self) -> bool {
        true
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
    fn holds(
        &self,
        world: &World<'_>,
        live: &Rows,
        but: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        let incarnation = world.incarnation();
        let of = |sort: &str| {
            let kept = self.0.lock();
            let of = kept.newest.iter().filter(|it| it.0.0 == sort && it.0.1 == incarnation);
            of.filter_map(|(at, it)| Some((at.2.clone(), it.1.clone()?))).collect()
        };
        both(world, of, live, but)
    }
    fn empty(&self) {
        self.0.lock().newest.clear();
    }
}

/// The sink of files.
struct Files(PathBuf);

impl Subject for Files {
    fn sink(&self, declared: Declared) -> Arc<dyn Sink> {
        Arc::new(Jsonl::new(&self.0, declared))
    }
    fn holds(
        &self,
        world: &World<'_>,
        live: &Rows,
        but: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        let incarnation = world.incarnation();
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
        both(world, of, live, but)
    }
    fn empty(&self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Rows, and changes where they are handed over, of a receiver that can be read as text.
fn both(
    world: &World<'_>,
    of: impl Fn(&str) -> Rows,
    live: &Rows,
    but: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    same("rows", of("rows"), live, but)?;
    if world.has_changes() { same("changes", of("changes"), live, but) } else { Ok(()) }
}

fn list(folder: &std::path::Path) -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<PathBuf> = all.map(|it| it.unwrap().path()).collect();
    all.sort();
    all
}

/// Both receivers of batches, and both of messages, pass each case.
fn each(case: fn(&mut dyn contract::Driven)) {
    each_sink(|world| case(world));
    let dir = temp_dir::TempDir::new();
    case(&mut channel::Told::webhook(&dir.0));
    let dir = temp_dir::TempDir::new();
    case(&mut channel::Told::email(&dir.0));
}

/// Both receivers of batches.
fn each_sink(case: impl Fn(&mut World<'_>)) {
    let dir = temp_dir::TempDir::new();
    let memory = Memory::default();
    case(&mut World::new(&dir.0, &memory));
    let dir = temp_dir::TempDir::new();
    let files = Files(dir.0.join("out"));
    case(&mut World::new(&dir.0, &files));
}

#[test]
fn well() {
    each(contract::well);
}

#[test]
fn fails_before() {
    each(contract::fails_before);
}

#[test]
fn fails_after() {
    each(contract::fails_after);
}

#[test]
fn hangs() {
    each(contract::hangs);
}

#[test]
fn hangs_after() {
    each(contract::hangs_after);
}

#[test]
fn misconfigured() {
    each(contract::misconfigured);
}

#[test]
fn unknown() {
    each(contract::unknown);
}

#[test]
fn slow() {
    each(contract::slow);
}

#[test]
fn unfit() {
    each(contract::unfit);
}

#[test]
fn refuses_some() {
    each(contract::refuses_some);
}

#[test]
fn another_life() {
    each(contract::another_life);
}

#[test]
fn rebuilt() {
    each(contract::rebuilt);
}

#[test]
fn was_away() {
    each_sink(contract::was_away);
}

#[test]
fn anew() {
    each_sink(contract::anew);
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
    // What is appended now stays in the log, and nothing more comes into the outbox: what is in it
    // beyond its bound is what one checkpoint brought.
    let bytes = |world: &World<'_>| world.told("tested")["outbox_bytes"].as_u64().unwrap();
    // Until it has not grown for fifty looks: what was on its way when it was full is in it.
    let at_rest = |world: &World<'_>| {
        let (mut last, mut n_same) = (0, 0);
        until("it grows no more", || {
            let now = bytes(world);
            n_same = if now == last { n_same + 1 } else { 0 };
            last = now;
            n_same == 50
        });
        last
    };
    let before = at_rest(&world);
    world.append(&lines[sent..sent + 40]);
    until("reading is held back", || running(&world) > 0);
    let after = at_rest(&world);
    assert!(running(&world) > 0, "reading is held back");
    assert!(before.max(after) < 4 * world.max_bytes, "{before}, then {after}");
    assert!(!world.live().is_empty());
    world.stage.set(Temper::Well);
    world.running.as_ref().unwrap().sinks().unwrap().resume("tested").unwrap();
    until("reading goes on", || running(&world) == 0);
    world.equal(|_| false);
    until("there is room", || world.told("tested")["full"] == false);
    contract::settled(&world);
}
