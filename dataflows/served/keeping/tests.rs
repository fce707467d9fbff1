use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use proptest::prelude::*;
use schemas::reading::{Instants, ViewReader};

use super::super::marks::Marks;
use super::super::tests::{Account, Bench, KEYS, Model, State, Update, addressed, check};
use super::super::{Slots, Writer, route};
use super::*;
use crate::{Addressed, Fold, packed};

impl Keep for Account {
    const LAYOUT: &'static str = layout!("accounts 1: total, notes");
    fn store(state: &State, into: &mut Vec<u8>) {
        let mut writer = packed::Writer(into);
        writer.int(state.total);
        state.notes.iter().for_each(|it| writer.int(*it));
    }
    fn restore(bytes: &[u8]) -> Option<State> {
        let mut from = Checked(bytes);
        let mut state = State { total: from.int()?, notes: Default::default() };
        let mut notes = Vec::new();
        while !from.0.is_empty() {
            notes.push(from.int()?);
        }
        state.notes = notes.into();
        Some(state)
    }
}

/// The records that a store has, by generation.
#[derive(Default)]
struct Log {
    kept: BTreeMap<u32, Vec<Vec<u8>>>,
    newest: u32,
    /// Given up; gone with the next save that is kept.
    old: Vec<u32>,
}

impl Log {
    fn keep(&mut self, generation: u32, records: Vec<Vec<u8>>) {
        self.kept.insert(generation, records);
        self.old.drain(..).for_each(|it| drop(self.kept.remove(&it)));
    }

    /// Newest first, or now and then oldest first.
    fn open(&self, workers: usize, at: Epoch) -> Bench {
        let bench = Bench::with(workers, u64::MAX, Slots::Kept);
        let mut all: Vec<_> = self.kept.iter().collect();
        if !self.newest.is_multiple_of(3) {
            all.reverse();
        }
        let each = all.into_iter().flat_map(|it| it.1.iter().map(|record| (*it.0, record)));
        for (generation, record) in each {
            bench.map.restore(record, generation).unwrap();
        }
        (0..workers).for_each(|it| bench.clock.publish(it, at));
        bench
    }
}

type Said = Vec<(bool, u8, Option<i64>)>;

fn updates(said: &Said) -> Vec<Addressed<Update>> {
    let update = |(tenant, key, n): &(bool, u8, Option<i64>)| {
        let update = n.map_or(Update::Delete, Update::Add);
        addressed(if *tenant { "a" } else { "b" }, &format!("k{key}"), update)
    };
    said.iter().map(update).collect()
}

#[derive(Clone, Debug)]
enum Act {
    Epoch(Said),
    Hold,
    /// As of one of the held epochs; after so many records the workers apply an epoch; whether the
    /// store can keep it.
    Save(usize, usize, Said, bool),
    /// As of an epoch that nobody holds.
    SaveUnheld(u64),
    GiveUp(prop::sample::Index),
    Restart(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let said = || {
        let update = (any::<bool>(), 0..KEYS, prop::option::weighted(0.7, -9..9_i64));
        prop::collection::vec(update, 0..8)
    };
    let act = prop_oneof![
        8 => said().prop_map(Act::Epoch),
        4 => Just(Act::Hold),
        6 => (0..4_usize, 0..12_usize, said(), prop::bool::weighted(0.7))
            .prop_map(|it| Act::Save(it.0, it.1, it.2, it.3)),
        1 => (0..9_u64).prop_map(Act::SaveUnheld),
        2 => any::<prop::sample::Index>().prop_map(Act::GiveUp),
        1 => (1..4_usize).prop_map(Act::Restart),
    ];
    prop::collection::vec(act, 1..80)
}

/// A map, what it should say, and what the store has of it.
struct World {
    bench: Bench,
    model: Model,
    log: Log,
    epoch: Epoch,
    held: Vec<Epoch>,
    /// Of the last save, kept or not; of the last one kept.
    saved: Epoch,
    safe: Epoch,
}

impl World {
    fn apply(&mut self, said: &Said) {
        self.epoch += 1;
        self.bench.epoch(self.epoch, &updates(said));
        if self.epoch.is_multiple_of(2) {
            self.bench.map.put_to_rest(Epoch::MAX, 1_000);
        }
        self.model.epoch(self.epoch, &updates(said));
    }

    fn save(&mut self, at: Epoch, after: usize, meanwhile: &Said, is_kept: bool) {
        self.log.newest += 1;
        let (map, generation) = (self.bench.map.clone(), self.log.newest);
        let mut records = Vec::new();
        let shown = map.save(at, generation, &mut |record| {
            records.push(record.to_vec());
            if records.len() == after {
                self.apply(meanwhile);
            }
        });
        self.saved = at;
        if !is_kept || shown.is_err() {
            let ordered = map.again(&|it| it == generation);
            assert_eq!(ordered, records.len() as u64);
            return;
        }
        assert_eq!(shown, Ok(records.len() as u64));
        self.safe = at;
        self.log.keep(generation, records);
        let found = self.log.open(2, at);
        check(&found.map, &self.model, at);
        assert_eq!(states(&found), self.versions(at), "states at {at}");
    }

    fn versions(&self, at: Epoch) -> BTreeMap<Name, (State, Epoch)> {
        let version = self.model.versions.range(..=at).next_back();
        version.map(|it| it.1.clone()).unwrap_or_default()
    }

    /// Killed: what is after the last save that was kept never was.
    fn restart(&mut self, workers: usize) {
        self.bench = self.log.open(workers, self.safe);
        self.model.versions.retain(|it, _| *it <= self.safe);
        self.model.now = self.versions(self.safe);
        self.held = vec![];
        self.saved = self.safe;
        // A generation is never used twice.
        self.log.newest += 1;
    }
}

fn states(bench: &Bench) -> BTreeMap<Name, (State, Epoch)> {
    let mut all = BTreeMap::new();
    for worker in 0..bench.writers.len() {
        bench.map.each_newest(worker, |_, name, state, epoch| {
            all.insert(name.clone(), (state.clone(), epoch));
        });
    }
    all
}

proptest! {
    /// Goal: the newest records, up to the last save that was kept, are the map as of that save,
    /// whatever came between. Method: random epochs, saves at held epochs with epochs in the midst
    /// of them, saves that fail, generations given up and dropped, restarts with another number of
    /// workers; what is put back is compared with the plain model.
    #[test]
    fn records_are_the_map(acts in acts(), workers in 1..4_usize) {
        let bench = Bench::with(workers, u64::MAX, Slots::Kept);
        let (model, log) = (Model::default(), Log::default());
        let mut it =
            World { bench, model, log, epoch: 100, held: vec![], saved: 100, safe: 100 };
        for act in acts {
            match act {
                Act::Epoch(said) => it.apply(&said),
                Act::Hold if it.epoch > it.saved => {
                    it.bench.clock.lease(it.epoch, 0, u64::MAX).unwrap();
                    it.held.push(it.epoch);
                }
                Act::Save(n, after, meanwhile, is_kept) => {
                    it.held.retain(|held| *held >= it.saved);
                    if it.held.is_empty() {
                        continue;
                    }
                    let at = it.held[n.min(it.held.len() - 1)];
                    it.save(at, after, &meanwhile, is_kept);
                }
                Act::SaveUnheld(back) => {
                    let at = it.epoch.saturating_sub(back).max(it.saved);
                    it.save(at, 0, &vec![], false);
                }
                Act::GiveUp(which) if !it.log.kept.is_empty() => {
                    let generations: Vec<u32> = it.log.kept.keys().copied().collect();
                    let old = *which.get(&generations);
                    it.bench.map.again(&|it| it == old);
                    it.log.old.push(old);
                }
                Act::Restart(workers) => {
                    // What was given up stays in the log, and is given up again or not.
                    it.log.old.clear();
                    it.restart(workers);
                }
                _ => continue,
            }
        }
        // At last everything is saved, and nothing is due any more.
        it.apply(&vec![]);
        it.bench.clock.lease(it.epoch, 0, u64::MAX).unwrap();
        let at = it.epoch;
        it.save(at, 0, &vec![], true);
        let mut none = |_: &[u8]| panic!("shown again");
        prop_assert_eq!(it.bench.map.save(at, 77_777, &mut none), Ok(0));
    }
}

/// Goal: an entity touched in a hundred epochs, or ordered twice, is noted once: the list of a
/// shard does not grow while nobody saves. Method: the list's own memory.
#[test]
fn a_touch_is_noted_once_between_two_saves() {
    let mut bench = Bench::with(1, 64 << 20, Slots::Kept);
    let touch = |n: u64| addressed("a", &n.to_string(), Update::Add(1));
    let all: Vec<_> = (0..300).map(touch).collect();
    for epoch in 1..=100 {
        bench.epoch(epoch, &all);
    }
    let due = |bench: &Bench| -> usize {
        let shards = bench.map.parts[0].shards.iter();
        shards.map(|it| it.read().marks.as_ref().map_or(0, Marks::due)).sum()
    };
    assert_eq!(due(&bench), 300);
    let pin = bench.clock.pin();
    assert_eq!(bench.map.save(pin.epoch(), 1, &mut |_| {}), Ok(300));
    assert_eq!(due(&bench), 0);
    drop(pin);
    for epoch in 101..=200 {
        bench.epoch(epoch, &all[..7]);
    }
    assert_eq!(due(&bench), 7);
    // What was ordered is ordered.
    assert_eq!([0, 1, 1].map(|old| bench.map.again(&|it| it == old)), [0, 300, 0]);
}

/// Goal: the same while workers really run beside the saver. Method: two workers on threads of
/// their own touch few entities as fast as they can; a third thread pins, saves, fails now and
/// then, and compares what the records say with what the map says at the pinned epoch.
#[test]
fn nothing_is_missed_beside_running_workers() {
    const EPOCHS: u64 = 3_000;
    let bench = Bench::with(2, 64 << 20, Slots::Kept);
    let (map, clock) = (bench.map.clone(), bench.clock.clone());
    let stop = AtomicBool::new(false);
    let work = |mut writer: Writer<Account>, worker: u64| {
        let mut seed = worker + 1;
        for epoch in 1..=EPOCHS {
            let mut batch = Vec::new();
            for _ in 0..30 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Half of all touches go to few entities, and now and then one is born.
                let key = if seed >> 63 == 0 { seed >> 33 & 7 } else { (seed >> 33) % (8 + epoch) };
                let it = addressed("a", &key.to_string(), Update::Add(1));
                batch.extend((route(it.key) % 2 == worker).then_some(it));
            }
            writer.begin();
            writer.apply(epoch, &[batch], &Account::apply, &mut |_| {});
            writer.finish(epoch);
            writer.end(epoch);
        }
    };
    std::thread::scope(|scope| {
        let saver = scope.spawn(|| {
            let mut log = Log::default();
            let mut saves = 0;
            loop {
                let is_last = stop.load(SeqCst);
                let pin = clock.pin();
                let at = pin.epoch();
                log.newest += 1;
                let generation = log.newest;
                let mut records = Vec::new();
                map.save(at, generation, &mut |it| records.push(it.to_vec())).unwrap();
                if generation % 5 == 3 && !is_last {
                    map.again(&|it| it == generation);
                } else {
                    log.keep(generation, records);
                    let found = log.open(1, at);
                    let (mut rows, mut expected) = (BTreeMap::new(), BTreeMap::new());
                    let into = |rows: &mut BTreeMap<_, _>, name: &Name, row| {
                        rows.insert(name.clone(), row);
                    };
                    found.map.for_each(at, &mut |name, row| into(&mut rows, name, row)).unwrap();
                    map.for_each(at, &mut |name, row| into(&mut expected, name, row)).unwrap();
                    assert_eq!(rows, expected, "at {at}");
                    saves += 1;
                    let old = *log.kept.keys().next().unwrap();
                    if log.kept.len() > 4 {
                        map.again(&|it| it == old);
                        log.old.push(old);
                    }
                }
                if is_last {
                    return (at, saves);
                }
            }
        });
        let workers: Vec<_> = bench
            .writers
            .into_iter()
            .zip(0..)
            .map(|(writer, worker)| scope.spawn(move || work(writer, worker)))
            .collect();
        workers.into_iter().for_each(|it| it.join().unwrap());
        stop.store(true, SeqCst);
        let (at, saves) = saver.join().unwrap();
        assert_eq!(at, EPOCHS);
        assert!(saves > 3, "{saves} saves");
    });
}

/// Goal: what is no record is told, and never harms. Method: a record cut at every byte, and with
/// each bit turned.
#[test]
fn what_is_no_record_is_unreadable() {
    let mut bench = Bench::with(1, 64 << 20, Slots::Kept);
    bench.epoch(1, &[addressed("a", "x", Update::Add(5))]);
    let mut records = Vec::new();
    let pin = bench.clock.pin();
    bench.map.save(pin.epoch(), 1, &mut |it| records.push(it.to_vec())).unwrap();
    let record = &records[0];
    let head = record.len() - 2;
    for cut in 0..head {
        let fresh = Bench::with(1, 64 << 20, Slots::Kept);
        let outcome = fresh.map.restore(&record[..cut], 1);
        assert!(outcome.is_err_and(|it| it.why.contains("accounts")), "cut at {cut}");
        assert_eq!(fresh.map.stats().entities, 0);
    }
    for bit in 0..record.len() * 8 {
        let mut other = record.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        let fresh = Bench::with(1, 64 << 20, Slots::Kept);
        let taken = fresh.map.restore(&other, 1).unwrap_or(false);
        assert_eq!(fresh.map.stats().entities, u64::from(taken), "bit {bit}");
    }
    let fresh = Bench::with(3, 64 << 20, Slots::Kept);
    assert_eq!(fresh.map.restore(record, 1), Ok(true));
    assert_eq!(fresh.map.restore(record, 0), Ok(false));
}
