use super::*;
use crate::served::UNDO_MAX_BYTES;
use differential_dataflow::input::Input;
use proptest::prelude::*;
use schemas::reading::Instants;
use schemas::rows::{FieldDef, FieldKind, Shape, Value};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;

/// A place in a list and who stands there.
struct Ranking;

static DEF: ViewDef = ViewDef {
    name: "ranking",
    words: "A ranking.",
    shape: Shape::Relation,
    key: &["place"],
    fields: &[
        FieldDef {
            name: "place",
            kind: FieldKind::Int,
            nullable: false,
            filterable: false,
            words: "",
        },
        FieldDef {
            name: "who",
            kind: FieldKind::Int,
            nullable: false,
            filterable: false,
            words: "",
        },
    ],
};

impl Relation for Ranking {
    const DEF: &'static ViewDef = &DEF;
    type Record = (u8, i64);
    fn name(record: &(u8, i64)) -> Name {
        Name::new("t", &record.0.to_string())
    }
    fn row(record: &(u8, i64)) -> Row {
        Row { values: vec![Value::Int(record.0.into()), Value::Int(record.1)] }
    }
}

/// Changes of one epoch: place, who, how often.
type Epochs = Vec<Vec<(u8, i64, isize)>>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Goal: at each epoch a row stands under exactly the names with one record once; anything
    /// else is no row, is counted, and mends itself. Method: random differences, also wrong ones,
    /// with one or two workers, against a plain multiset, at every epoch.
    #[test]
    fn shows_exactly_what_the_relation_holds(
        epochs in prop::collection::vec(
            prop::collection::vec((0..6_u8, 0..3_i64, -1..2_isize), 0..6), 1..30),
        workers in 1..3_usize,
    ) {
        let clock = Clock::new(workers, UNDO_MAX_BYTES);
        let map = Published::<Ranking>::new(workers, clock.clone(), 0, Secret([1; 16]));
        // Nothing is trimmed, so that every epoch can be read afterwards.
        clock.lease(0, 0, u64::MAX).unwrap();
        let (shared, told): (_, Epochs) = (map.clone(), epochs.clone());
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let (index, map) = (worker.index(), shared.clone());
            let (mut input, probe) = worker.dataflow(|scope| {
                let (input, records) = scope.new_collection();
                let probe = ProbeHandle::new();
                publish(records, map, index).probe_with(&probe);
                (input, probe)
            });
            for (epoch, changes) in told.iter().enumerate() {
                input.advance_to(epoch as u64 + 1);
                for (n, (place, who, diff)) in changes.iter().enumerate() {
                    if n % workers == index {
                        input.update((*place, *who), *diff);
                    }
                }
            }
            let end = told.len() as u64 + 1;
            input.advance_to(end);
            input.flush();
            worker.step_while(|| probe.less_than(&end));
        })
        .unwrap();
        for guard in guards.join() {
            guard.unwrap();
        }
        prop_assert_eq!(clock.complete(), epochs.len() as u64);
        let reader = map.reader();
        let (mut held, mut anomalies) = (BTreeMap::<u8, BTreeMap<i64, isize>>::new(), 0);
        for (at, changes) in epochs.iter().enumerate() {
            let mut net = BTreeMap::<(u8, i64), isize>::new();
            for (place, who, diff) in changes {
                *held.entry(*place).or_default().entry(*who).or_default() += diff;
                *net.entry((*place, *who)).or_default() += diff;
            }
            held.values_mut().for_each(|it| it.retain(|_, n| *n != 0));
            let is_odd = |place: &u8| {
                let under = &held[place];
                !under.is_empty() && under.values().copied().collect::<Vec<_>>() != [1]
            };
            net.retain(|_, diff| *diff != 0);
            let mut touched: Vec<u8> = net.keys().map(|it| it.0).collect();
            touched.dedup();
            anomalies += touched.iter().filter(|it| is_odd(it)).count() as u64;
            for place in 0..6 {
                let wanted = match held.get(&place).map(|it| it.iter().collect::<Vec<_>>()).as_deref()
                {
                    Some([(who, 1)]) => Some(Ranking::row(&(place, **who))),
                    _ => None,
                };
                let found = reader.get("t", &place.to_string(), at as u64 + 1).unwrap();
                prop_assert_eq!(found, wanted, "place {} at {}", place, at + 1);
            }
            let rows = held.iter().filter(|it| !it.1.is_empty() && !is_odd(it.0)).count();
            prop_assert_eq!(reader.count("t", at as u64 + 1), rows as u64);
        }
        prop_assert_eq!(map.anomalies(), anomalies);
    }
}

/// Goal: a list whose members come and go does not remember them all. Method: thousands of names
/// inserted and retracted; entities counted.
#[test]
fn deleted_records_do_not_pile_up() {
    timely::execute_directly(|worker| {
        struct Wide;
        impl Relation for Wide {
            const DEF: &'static ViewDef = &DEF;
            type Record = i64;
            fn name(record: &i64) -> Name {
                Name::new("t", &record.to_string())
            }
            fn row(record: &i64) -> Row {
                Row { values: vec![Value::Int(*record), Value::Int(0)] }
            }
        }
        let clock = Clock::new(1, UNDO_MAX_BYTES);
        let map = Published::<Wide>::new(1, clock.clone(), 0, Secret([1; 16]));
        let (shared, probe) = (map.clone(), ProbeHandle::new());
        let mut input = worker.dataflow(|scope| {
            let (input, records) = scope.new_collection();
            publish(records, shared, 0).probe_with(&probe);
            input
        });
        for epoch in 1..300_u64 {
            input.advance_to(epoch);
            for n in 0..50 {
                input.insert(epoch as i64 * 50 + n);
                input.update(epoch as i64 * 50 + n - 100, if epoch > 2 { -1 } else { 0 });
            }
            input.flush();
            worker.step_while(|| probe.less_than(&epoch));
        }
        let stats = map.reader().stats();
        assert!(stats.entities < 1_000, "{stats:?}");
        assert_eq!(map.reader().rows(), 100);
        assert_eq!(map.anomalies(), 0);
    });
}
