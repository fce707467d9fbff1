use super::*;
use crate::Addressed;
use proptest::prelude::*;
use schemas::names::{Kind, Secret};
use schemas::reading::{Instants, Keep};
use schemas::rows::{FieldDef, FieldKind, Shape, Value};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A fold that can do everything: a total, a growing part behind an `Arc`, deletion.
pub(super) struct Account;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) total: i64,
    pub(super) notes: Arc<Vec<i64>>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Update {
    Add(i64),
    Delete,
}

const fn field(name: &'static str, kind: FieldKind) -> FieldDef {
    FieldDef { name, kind, nullable: false, filterable: false, words: "" }
}

static DEF: ViewDef = ViewDef {
    name: "accounts",
    words: "Accounts.",
    shape: Shape::Fold,
    key: &["account"],
    fields: &[
        field("account", FieldKind::Text),
        field("total", FieldKind::Int),
        field("notes", FieldKind::Int),
        field("at", FieldKind::Int),
    ],
};

impl Fold for Account {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, update: &Update) {
        match update {
            Update::Add(n) => {
                state.total += n;
                Arc::make_mut(&mut state.notes).push(*n);
            }
            Update::Delete => *state = State::default(),
        }
    }
    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        let values = vec![
            Value::Text(name.key().into()),
            Value::Int(state.total),
            Value::Int(state.notes.len() as i64),
            Value::Int(now as i64),
        ];
        Self::exists(state).then_some(Row { values })
    }
    fn exists(state: &State) -> bool {
        !state.notes.is_empty()
    }
    const NEAR: u64 = 0b10;
    fn heap_bytes(state: &State) -> usize {
        state.notes.capacity() * 8
    }
}

const SECRET: Secret = Secret([3; 16]);

pub(super) fn fingerprint(tenant: &str, key: &str) -> Fingerprint {
    SECRET.fingerprint(tenant, Kind::Customer, &[key])
}

fn key_of() -> KeyOf {
    Arc::new(|tenant, key| Some(fingerprint(tenant, key)))
}

pub(super) fn addressed(tenant: &str, key: &str, update: Update) -> Addressed<Update> {
    let name = Name::new(tenant, key);
    Addressed { key: fingerprint(tenant, key), name, update }
}

/// A map with its writers, driven by hand.
pub(super) struct Bench {
    pub(super) clock: Arc<Clock>,
    pub(super) map: Arc<Served<Account>>,
    pub(super) writers: Vec<Writer<Account>>,
}

impl Bench {
    fn new(workers: usize, undo_max_bytes: u64, reclaim: bool) -> Bench {
        let vacant = |it: &State| it.notes.is_empty();
        let slots = if reclaim { Slots::Reclaimed(vacant as fn(&_) -> _) } else { Slots::Stay };
        Bench::with(workers, undo_max_bytes, slots)
    }

    pub(super) fn with(workers: usize, undo_max_bytes: u64, slots: Slots<State>) -> Bench {
        let clock = Clock::new(workers, undo_max_bytes);
        let stays = !matches!(slots, Slots::Reclaimed(_));
        let rest =
            stays.then(|| Arc::new(Rest::of::<Account>(key_of(), Arc::new(|_, _| unreachable!()))));
        let map = Served::<Account>::with(workers, clock.clone(), 0, key_of(), (slots, rest));
        let writers = (0..workers).map(|it| Writer::new(map.clone(), it)).collect();
        Bench { clock, map, writers }
    }

    pub(super) fn epoch(&mut self, epoch: Epoch, updates: &[Addressed<Update>]) {
        let n = self.writers.len() as u64;
        for (worker, writer) in self.writers.iter_mut().enumerate() {
            let mine = |it: &&Addressed<Update>| route(it.key) % n == worker as u64;
            let batches: Vec<Vec<_>> =
                updates.chunks(7).map(|it| it.iter().filter(mine).cloned().collect()).collect();
            writer.begin();
            writer.apply(epoch, &batches, &Account::apply, &mut |_| {});
            writer.finish(epoch);
            writer.end(epoch);
        }
    }
}

/// The plain answer: a whole map per epoch.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) now: BTreeMap<Name, (State, Epoch)>,
    pub(super) versions: BTreeMap<Epoch, BTreeMap<Name, (State, Epoch)>>,
}

impl Model {
    pub(super) fn epoch(&mut self, epoch: Epoch, updates: &[Addressed<Update>]) {
        for it in updates {
            let entry = self.now.entry(it.name.clone()).or_default();
            Account::apply(&mut entry.0, &it.update);
            entry.1 = epoch;
        }
        self.versions.insert(epoch, self.now.clone());
    }

    pub(super) fn rows(&self, at: Epoch) -> BTreeMap<Name, Row> {
        let version = self.versions.range(..=at).next_back();
        let all = version.into_iter().flat_map(|it| it.1);
        all.filter_map(|(name, (state, epoch))| {
            Some((name.clone(), Account::row(name, state, *epoch)?))
        })
        .collect()
    }
}

pub(super) fn check(map: &Served<Account>, model: &Model, at: Epoch) {
    let rows = model.rows(at);
    let mut all = BTreeMap::new();
    map.for_each(at, &mut |name, row| assert!(all.insert(name.clone(), row).is_none())).unwrap();
    assert_eq!(all, rows, "all rows at {at}");
    for tenant in ["a", "b"] {
        let of_tenant: Vec<(Name, Row)> = rows
            .iter()
            .filter(|it| it.0.tenant() == tenant)
            .map(|it| (it.0.clone(), it.1.clone()))
            .collect();
        assert_eq!(map.count(tenant, at), of_tenant.len() as u64, "count of {tenant} at {at}");
        for n in 0..KEYS {
            let key = format!("k{n}");
            let row = map.get(tenant, &key, at).unwrap();
            assert_eq!(row.as_ref(), rows.get(&Name::new(tenant, &key)), "{tenant}/{key} at {at}");
        }
        for (limit, examine) in [(3, 100), (100, 2), (1_000, 1_000)] {
            let (mut listed, mut after) = (Vec::new(), None::<String>);
            loop {
                let odd = |it: &[Value]| matches!(it[0], Value::Int(it) if it % 2 != 0);
                let keep = match limit {
                    1_000 => Keep::ALL,
                    _ => Keep { fields: &[1], wants: &odd },
                };
                let page = map.page(tenant, after.as_deref(), at, limit, examine, keep).unwrap();
                assert!(page.rows.len() <= limit);
                listed.extend(page.rows);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let mut wanted = of_tenant.clone();
            wanted.retain(|(_, row)| {
                limit == 1_000 || matches!(row.values[1], Value::Int(it) if it % 2 != 0)
            });
            assert_eq!(listed, wanted, "page of {limit}, {examine} at {at}");
        }
    }
}

/// Old and new of everything that was touched in `(after, upto]` and has a row at either end.
fn check_changes(map: &Served<Account>, model: &Model, after: Epoch, upto: Epoch) {
    let mut found = BTreeMap::new();
    map.changes(after, upto, &mut |name, old, new| {
        assert!(found.insert(name.clone(), (old, new)).is_none(), "{name:?} twice");
    })
    .unwrap();
    let (old, new) = (model.rows(after), model.rows(upto));
    let touched = |name: &&Name| {
        let at = |epoch: Epoch| {
            model.versions.range(..=epoch).next_back().and_then(|it| it.1.get(*name)).map(|it| it.1)
        };
        at(upto) != at(after)
    };
    let names: std::collections::BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
    let wanted: BTreeMap<Name, (Option<Row>, Option<Row>)> = names
        .into_iter()
        .filter(touched)
        .map(|name| (name.clone(), (old.get(name).cloned(), new.get(name).cloned())))
        .collect();
    assert_eq!(found, wanted, "changes from {after} to {upto}");
    // Of some of them, by a field that is near and by one that is not.
    for fields in [[1], [2]] {
        let value = |row: &Option<Row>| row.as_ref().map(|it| it.values[fields[0]].clone());
        let is_wanted = |old: Option<Value>, new: Option<Value>| {
            old != new
                && [old, new].iter().flatten().any(|it| matches!(it, Value::Int(it) if it % 3 == 0))
        };
        let mut found = BTreeMap::new();
        let mut wants = |old: Side<'_>, new: Side<'_>| {
            is_wanted(old.map(|it| it[0].clone()), new.map(|it| it[0].clone()))
        };
        map.changes_where((after, upto), (&fields, &mut wants), &mut |name, old, new| {
            assert!(found.insert(name.clone(), (old, new)).is_none(), "{name:?} twice");
        })
        .unwrap();
        let mut wanted = wanted.clone();
        wanted.retain(|_, (old, new)| is_wanted(value(old), value(new)));
        assert_eq!(found, wanted, "of changes from {after} to {upto} by {fields:?}");
    }
}

pub(super) const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Act {
    Epoch(Vec<(bool, u8, Option<i64>)>),
    Lease,
    Release(usize),
    Merge,
    Rest(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let update = (any::<bool>(), 0..KEYS, prop::option::weighted(0.7, -9..9_i64));
    let act = prop_oneof![
        6 => prop::collection::vec(update, 0..10).prop_map(Act::Epoch),
        2 => Just(Act::Lease),
        2 => (0..8_usize).prop_map(Act::Release),
        1 => Just(Act::Merge),
        3 => (1..40_usize).prop_map(Act::Rest),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    /// Goal: at every held epoch, every way of reading answers as a map of whole versions would,
    /// with one worker or three, whether deleted entities are given back or not, whatever rests.
    /// Method: random histories with leases that come and go, entries put to rest in between, all
    /// checked after each epoch.
    #[test]
    fn model(acts in acts(), workers in 1..4_usize, reclaim: bool) {
        let mut bench = Bench::new(workers, u64::MAX, reclaim);
        let mut model = Model::default();
        let (mut epoch, mut held) = (100, Vec::<Epoch>::new());
        for act in acts {
            match act {
                Act::Epoch(updates) => {
                    epoch += 1;
                    let updates: Vec<_> = updates
                        .into_iter()
                        .map(|(tenant, key, n)| {
                            let update = n.map_or(Update::Delete, Update::Add);
                            addressed(if tenant { "a" } else { "b" }, &format!("k{key}"), update)
                        })
                        .collect();
                    bench.epoch(epoch, &updates);
                    model.epoch(epoch, &updates);
                }
                Act::Lease if epoch > 100 => {
                    // Each lease ends by itself at a time that is its epoch.
                    bench.clock.lease(epoch, 0, epoch).unwrap();
                    held.push(epoch);
                }
                Act::Release(n) if n < held.len() => {
                    // Time passes: the n oldest leases end.
                    held.dedup();
                    let n = n.min(held.len() - 1);
                    bench.clock.expire(held[n]);
                    held.drain(..=n);
                }
                Act::Merge => {
                    bench.map.merge_index();
                }
                Act::Rest(most) => bench.map.put_to_rest(Epoch::MAX, most),
                _ => continue,
            }
            for at in held.iter().copied().chain([epoch]) {
                check(&bench.map, &model, at);
                for &after in held.iter().filter(|it| **it <= at) {
                    check_changes(&bench.map, &model, after, at);
                }
            }
        }
        let entities = bench.map.stats().entities;
        prop_assert!(entities <= model.now.len() as u64);
        prop_assert_eq!(bench.map.rows(), model.rows(epoch).len() as u64);
    }
}

/// Goal: nobody ever sees two epochs in one answer. Method: a writer moves amounts between
/// accounts, each epoch leaving the sum as it was; three threads pin, lease and read, each way,
/// and add up.
#[test]
fn readers_see_one_instant() {
    const ACCOUNTS: i64 = 500;
    let mut bench = Bench::new(1, 64 << 20, false);
    let key = |n: i64| format!("{n:04}");
    let open: Vec<_> = (0..ACCOUNTS).map(|it| addressed("a", &key(it), Update::Add(100))).collect();
    bench.epoch(1, &open);
    let (map, clock, stop) = (bench.map.clone(), bench.clock.clone(), AtomicBool::new(false));
    let total = |row: &Row| match row.values[1] {
        Value::Int(it) => it,
        _ => panic!("not a total"),
    };
    std::thread::scope(|scope| {
        let (map, clock, stop) = (&map, &clock, &stop);
        let readers: Vec<_> = (0..5)
            .map(|reader| {
                scope.spawn(move || {
                    let mut n = 0;
                    while !stop.load(SeqCst) || n < 20 {
                        let pin = clock.pin();
                        let at = pin.epoch();
                        let mut sum = 0;
                        match reader {
                            0 => map.for_each(at, &mut |_, row| sum += total(&row)).unwrap(),
                            1 => {
                                for n in 0..ACCOUNTS {
                                    sum += total(&map.get("a", &key(n), at).unwrap().unwrap());
                                }
                            }
                            2 | 3 => {
                                // As a table: what is near, and what is not.
                                let fields = vec![1, 2][..reader - 1].to_vec();
                                let wanted = Wanted { fields, tests: vec![] };
                                let (mut scan, mut rows) = (Scan::default(), 0);
                                let mut values = Vec::new();
                                while !scan.over {
                                    rows +=
                                        map.scan("a", at, &wanted, &mut scan, &mut values).unwrap();
                                }
                                for row in values.chunks(wanted.fields.len()) {
                                    sum +=
                                        total(&Row { values: vec![Value::Null, row[0].clone()] });
                                }
                                assert_eq!(rows as i64, ACCOUNTS);
                            }
                            _ => {
                                // A cursor: the pin is let go, the lease holds.
                                clock.lease(at, 0, u64::MAX).unwrap();
                                drop(pin);
                                let (mut after, mut rows) = (None::<String>, 0);
                                loop {
                                    let page = map
                                        .page("a", after.as_deref(), at, 37, 90, Keep::ALL)
                                        .unwrap();
                                    rows += page.rows.len();
                                    sum += page.rows.iter().map(|it| total(&it.1)).sum::<i64>();
                                    after = page.next;
                                    if after.is_none() {
                                        break;
                                    }
                                }
                                assert_eq!(rows as i64, ACCOUNTS);
                                clock.expire(u64::MAX);
                            }
                        }
                        assert_eq!(sum, ACCOUNTS * 100, "at {at}");
                        n += 1;
                    }
                })
            })
            .collect();
        let mut seed = 7_u64;
        for epoch in 2..400 {
            let mut moves = Vec::new();
            for _ in 0..200 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (from, to) = (seed >> 33, seed >> 48);
                moves.push(addressed("a", &key(from as i64 % ACCOUNTS), Update::Add(-1)));
                moves.push(addressed("a", &key(to as i64 % ACCOUNTS), Update::Add(1)));
            }
            bench.epoch(epoch, &moves);
            map.merge_index();
            map.put_to_rest(Epoch::MAX, 100);
        }
        stop.store(true, SeqCst);
        readers.into_iter().for_each(|it| it.join().unwrap());
    });
}

/// Goal: a reader that sleeps cannot make memory grow: its lease is revoked when undo exceeds
/// its limit, undo stays there, and reading on gives `Gone` with what can be read.
#[test]
fn a_sleeping_cursor_is_revoked() {
    let limit = 256 << 10;
    let mut bench = Bench::new(2, limit, false);
    let updates: Vec<_> =
        (0..400).map(|it| addressed("a", &it.to_string(), Update::Add(1))).collect();
    bench.epoch(1, &updates);
    bench.clock.lease(1, 0, u64::MAX).unwrap();
    let mut gone_at = None;
    for epoch in 2..100 {
        bench.epoch(epoch, &updates[..]);
        let one_epoch = 400 * (size_of::<State>() as u64 + 64 + epoch * 16);
        assert!(bench.clock.undo_bytes() <= limit + 2 * one_epoch, "{}", bench.clock.undo_bytes());
        let read = bench.map.get("a", "7", 1);
        let listed = bench.map.page("a", None, 1, 10, 10, Keep::ALL);
        let changed = bench.map.changes(1, epoch, &mut |_, _, _| {});
        if let Err(gone) = read {
            assert!(gone.oldest > 1 && gone.oldest <= epoch);
            assert!(listed.is_err() && changed.is_err());
            gone_at = gone_at.or(Some(epoch));
        }
    }
    assert!(gone_at.is_some_and(|it| it > 3), "{gone_at:?}");
    assert!(bench.clock.lease(1, 0, 1).is_err());
    bench.map.get("a", "7", 99).unwrap().unwrap();
}

/// Goal: undo of shards that no update comes to any more is freed too.
#[test]
fn quiet_shards_give_their_undo_back() {
    let mut bench = Bench::new(1, 64 << 20, false);
    let updates: Vec<_> =
        (0..3_000).map(|it| addressed("a", &it.to_string(), Update::Add(1))).collect();
    bench.epoch(1, &updates);
    bench.epoch(2, &updates);
    assert!(bench.map.stats().undo_bytes > 0);
    for epoch in 3..12 {
        bench.epoch(epoch, &[]);
    }
    assert_eq!((bench.map.stats().undo_bytes, bench.clock.undo_bytes()), (0, 0));
}

/// Goal: in a map that reclaims, deleted entities do not pile up: neither entries nor keys.
#[test]
fn deleted_entities_are_given_back() {
    let mut bench = Bench::new(1, 64 << 20, true);
    for round in 0..50 {
        let at = 10 * round + 1;
        let names = (0..1_000).map(|it| format!("r{round}-{it}"));
        let born: Vec<_> = names.map(|it| addressed("a", &it, Update::Add(1))).collect();
        let gone: Vec<_> =
            born.iter().map(|it| Addressed { update: Update::Delete, ..it.clone() }).collect();
        bench.epoch(at, &born);
        bench.map.merge_index();
        bench.epoch(at + 1, &gone);
        for quiet in 2..8 {
            bench.epoch(at + quiet, &[]);
        }
        bench.map.merge_index();
        assert_eq!(bench.map.stats().entities, 0);
    }
    let keys = bench.map.parts[0].keys.bytes();
    assert!(keys < 4_000 * 40, "{keys} bytes of keys for no row");
}

/// Goal: states put back at start-up are served at their epoch, and not below.
#[test]
fn loaded_states_are_served() {
    let bench = Bench::new(3, 64 << 20, false);
    for n in 0..100 {
        let state = State { total: n, notes: Arc::new(vec![n]) };
        let key = n.to_string();
        let load =
            || bench.map.load(fingerprint("a", &key), Name::new("a", &key), state.clone(), 50);
        assert!(load() && !load());
    }
    (0..3).for_each(|it| bench.clock.publish(it, 50));
    assert_eq!((bench.map.count("a", 50), bench.map.rows()), (100, 100));
    let page = bench.map.page("a", Some("97"), 50, 10, 10, Keep::ALL).unwrap();
    assert_eq!(page.rows.iter().map(|it| it.0.key()).collect::<Vec<_>>(), ["98", "99"]);
    assert!(bench.map.get("a", "5", 49).is_err());
}
