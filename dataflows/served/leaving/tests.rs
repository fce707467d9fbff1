use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::names::Name;
use schemas::reading::Instants;
use schemas::rows::Row;

use super::super::tests::{Bench, KEYS, Model, State, Update, addressed, fingerprint};
use super::*;

type Said = Vec<(bool, u8, Option<i64>)>;

#[derive(Clone, Debug)]
enum Act {
    Epoch(Said),
    /// Holds the present, lets the workers apply so much more, then tells.
    Tell(Vec<Said>),
    /// Looks for everything since some earlier telling.
    Since(prop::sample::Index),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let said = || {
        let update = (any::<bool>(), 0..KEYS, prop::option::weighted(0.6, -9..9_i64));
        prop::collection::vec(update, 0..8)
    };
    let act = prop_oneof![
        6 => said().prop_map(Act::Epoch),
        3 => prop::collection::vec(said(), 0..3).prop_map(Act::Tell),
        1 => any::<prop::sample::Index>().prop_map(Act::Since),
    ];
    prop::collection::vec(act, 1..60)
}

struct World {
    bench: Bench,
    model: Model,
    epoch: Epoch,
    /// What those who were told have, and as of when.
    told: BTreeMap<Name, Row>,
    tellings: Vec<Epoch>,
    spots: BTreeMap<Name, (Spot, Fingerprint)>,
}

impl World {
    fn apply(&mut self, said: &Said) {
        self.epoch += 1;
        let updates: Vec<_> = said
            .iter()
            .map(|(tenant, key, n)| {
                let update = n.map_or(Update::Delete, Update::Add);
                addressed(if *tenant { "a" } else { "b" }, &format!("k{key}"), update)
            })
            .collect();
        self.bench.epoch(self.epoch, &updates);
        if self.epoch.is_multiple_of(2) {
            self.bench.map.put_to_rest(Epoch::MAX, 1_000);
        }
        self.model.epoch(self.epoch, &updates);
    }

    fn tell(&mut self, meanwhile: &[Said]) {
        let pin = self.bench.clock.pin();
        meanwhile.iter().for_each(|it| self.apply(it));
        let at = pin.epoch();
        let after = self.tellings.last().copied().unwrap_or(0);
        let (told, spots) = (&mut self.told, &mut self.spots);
        let mut names = std::collections::BTreeSet::new();
        let map = &self.bench.map;
        map.touched(after, at, true, &mut |it| {
            assert!(it.epoch > after && it.epoch <= at);
            assert_eq!(it.exists, it.row.is_some());
            assert!(names.insert(it.name.clone()), "{:?} twice", it.name);
            spots.insert(it.name.clone(), (it.spot, it.key));
            match it.row {
                Some(row) => told.insert(it.name.clone(), row),
                None => told.remove(it.name),
            };
        })
        .unwrap();
        assert_eq!(self.told, self.model.rows(at), "as of {at}");
        for name in names {
            let (spot, key) = self.spots[&name];
            let (_, found, row) = map.read(spot, key, at).unwrap().expect("it lies there");
            assert_eq!((&found, row.as_ref()), (&name, self.told.get(&name)));
        }
        self.tellings.push(at);
    }

    fn since(&mut self, after: Epoch) {
        let pin = self.bench.clock.pin();
        let mut found = BTreeMap::new();
        let map = &self.bench.map;
        map.since(after, pin.epoch(), &mut |spot, key, epoch| {
            let (at, name, row) = map.read(spot, key, pin.epoch()).unwrap().unwrap();
            assert_eq!(at, epoch);
            if let Some(row) = row {
                found.insert(name, row);
            }
        })
        .unwrap();
        let now = &self.model.now;
        let mut rows = self.model.rows(pin.epoch());
        rows.retain(|name, _| now[name].1 > after);
        assert_eq!(found, rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Goal: who applies what is told has the rows of that instant, whatever the workers do
    /// meanwhile, also where slots are given back. Method: random histories against the model.
    #[test]
    fn what_is_told_is_what_changed(acts in acts(), workers in 1..4_usize, reclaims: bool) {
        let vacant = |it: &State| it.notes.is_empty();
        let slots = if reclaims { Slots::Reclaimed(vacant as fn(&_) -> _) } else { Slots::Kept };
        let bench = Bench::with(workers, u64::MAX, slots);
        bench.map.note();
        let mut world = World {
            bench,
            model: Model::default(),
            epoch: 0,
            told: BTreeMap::new(),
            tellings: Vec::new(),
            spots: BTreeMap::new(),
        };
        for act in &acts {
            match act {
                Act::Epoch(said) => world.apply(said),
                Act::Tell(meanwhile) => world.tell(meanwhile),
                Act::Since(which) if !world.tellings.is_empty() => {
                    let after = *which.get(&world.tellings);
                    world.since(after);
                }
                Act::Since(_) => {}
            }
        }
        world.tell(&[]);
    }
}

/// Goal: of an entity that is gone it is told, also where the workers go on and give slots back while it
/// is being told. Method: more entities of one shard than are read at once; all go, and at the first of
/// them that is told a later epoch touches the shard.
#[test]
fn what_dies_is_told_whoever_buries_beside() {
    let vacant = |it: &State| it.notes.is_empty();
    let mut bench = Bench::with(1, u64::MAX, Slots::Reclaimed(vacant as fn(&_) -> _));
    bench.map.note();
    let shard =
        |key: &String| super::super::shard_of(super::super::shard::hash(fingerprint("a", key)));
    let mut keys = (0..).map(|n| format!("k{n}")).filter(|it| shard(it) == 0);
    let all: Vec<_> = keys.by_ref().take(STRIDE as usize + 10).collect();
    let later = [addressed("a", &keys.next().expect("there are more"), Update::Add(1))];
    let said = |update: fn() -> Update| -> Vec<_> {
        all.iter().map(|it| addressed("a", it, update())).collect()
    };
    bench.epoch(1, &said(|| Update::Add(1)));
    bench.epoch(2, &said(|| Update::Delete));
    let (map, pin) = (bench.map.clone(), bench.clock.pin());
    let mut gone = 0;
    map.touched(0, pin.epoch(), true, &mut |it| {
        if gone == 0 {
            bench.epoch(3, &later);
        }
        assert!(!it.exists, "{:?}", it.name);
        gone += 1;
    })
    .unwrap();
    assert_eq!(gone, all.len());
    drop(pin);
    // Once told, they are given back.
    bench.epoch(4, &later);
    bench.epoch(5, &later);
    let pin = bench.clock.pin();
    let mut names = 0;
    map.touched(2, pin.epoch(), true, &mut |_| names += 1).unwrap();
    assert_eq!(names, 1);
}
