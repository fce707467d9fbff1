use super::*;
use crate::served::{Clock, UNDO_MAX_BYTES};
use differential_dataflow::consolidation::consolidate_updates;
use proptest::prelude::*;
use schemas::names::{Fingerprint, Kind, Secret};
use schemas::reading::{Instants, ViewReader};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use std::collections::BTreeMap;
use std::sync::Mutex;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

/// Promises: a total, and an instant from which the row says `late`.
struct Promise;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    total: i64,
    /// Earliest, 0: none.
    promised: u64,
    /// By how much it is put off.
    later: u64,
}

impl State {
    fn due(&self) -> Option<u64> {
        (self.promised != 0).then_some(self.promised + self.later)
    }
}

const LATER: u64 = 1;

/// An amount and an instant promised (0: none; [`LATER`]: what is promised is put off by a second).
type Said = (i64, u64);

const fn field(name: &'static str, kind: FieldKind) -> FieldDef {
    FieldDef { name, kind, nullable: false, filterable: false, words: "" }
}

static DEF: ViewDef = ViewDef {
    name: "promises",
    words: "Promises.",
    shape: Shape::Fold,
    key: &["promise"],
    fields: &[
        field("promise", FieldKind::Text),
        field("total", FieldKind::Int),
        field("late", FieldKind::Bool),
        field("evaluated", FieldKind::Int),
    ],
};

fn row(name: &Name, state: &State, now: Epoch) -> Row {
    let late = state.due().is_some_and(|it| now >= it);
    let values = vec![
        Value::Text(name.key().into()),
        Value::Int(state.total),
        Value::Bool(late),
        Value::Int(now as i64),
    ];
    Row { values }
}

impl Fold for Promise {
    type Update = Said;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    fn apply(state: &mut State, said: &Said) {
        state.total += said.0;
        if said.1 == LATER {
            state.later += 1_000;
        } else if said.1 != 0 && (state.promised == 0 || said.1 < state.promised) {
            state.promised = said.1;
        }
    }
    fn row(name: &Name, state: &State, now: Epoch) -> Option<Row> {
        Some(row(name, state, now))
    }
    fn next_due(state: &State, after: Epoch) -> Option<Epoch> {
        state.due().filter(|it| *it > after)
    }
}

/// Totals by tenant, in the difference; every touch also shows as a pair that sums to nothing.
struct Totals;

impl Project<Promise> for Totals {
    type Data = String;
    type Diff = isize;
    fn change(
        &mut self,
        name: &Name,
        old: Option<&State>,
        new: &State,
        emit: &mut dyn FnMut(String, isize),
    ) {
        if let Some(old) = old {
            emit(name.tenant().into(), -old.total as isize);
        }
        emit(name.tenant().into(), new.total as isize);
    }
}

fn fingerprint(tenant: &str, key: &str) -> Fingerprint {
    Secret([9; 16]).fingerprint(tenant, Kind::Order, &[key])
}

fn promise(tenant: &str, key: &str, said: Said) -> Addressed<Said> {
    let name = Name::new(tenant, key);
    Addressed { key: fingerprint(tenant, key), name, update: said }
}

fn map(workers: usize) -> (Arc<Clock>, Arc<Served<Promise>>) {
    let clock = Clock::new(workers, UNDO_MAX_BYTES);
    let key_of = Arc::new(|tenant: &str, key: &str| Some(fingerprint(tenant, key)));
    (clock.clone(), Served::new(workers, clock, 0, key_of))
}

type Emitted = Arc<Mutex<Vec<(String, Epoch, isize)>>>;

/// What was told, summed.
fn summed(emitted: &Emitted) -> Vec<(String, Epoch, isize)> {
    let mut told = emitted.lock().unwrap().clone();
    consolidate_updates(&mut told);
    told
}

/// One worker's end: an input, and how far the fold's output has come.
struct Door {
    input: InputHandle<Epoch, CapacityContainerBuilder<Vec<Addressed<Said>>>>,
    probe: ProbeHandle<Epoch>,
}

fn build(
    worker: &mut timely::worker::Worker,
    map: &Arc<Served<Promise>>,
    emitted: &Emitted,
) -> Door {
    let (index, map, emitted) = (worker.index(), map.clone(), emitted.clone());
    worker.dataflow(|scope| {
        let (input, stream) = scope.new_input();
        let probe = ProbeHandle::new();
        let (done, said) = fold(stream, map, index, Some(Totals));
        done.probe_with(&probe);
        said.inner.inspect(move |it| emitted.lock().unwrap().push(it.clone())).probe_with(&probe);
        Door { input, probe }
    })
}

impl Door {
    /// Opens an epoch: everything below is complete when this returns.
    fn advance(&mut self, worker: &mut timely::worker::Worker, epoch: Epoch) {
        self.input.advance_to(epoch);
        self.input.flush();
        worker.step_while(|| self.probe.less_than(&epoch));
    }
}

fn evaluated(map: &Served<Promise>, key: &str, at: Epoch) -> (i64, bool, i64) {
    match &map.get("a", key, at).unwrap().unwrap().values[1..] {
        [Value::Int(total), Value::Bool(late), Value::Int(evaluated)] => {
            (*total, *late, *evaluated)
        }
        other => panic!("{other:?}"),
    }
}

/// Goal: an entity's row turns at its very instant, whatever epochs there are; stale timers do
/// nothing, early ones are put off; what happens at one instant is one change. Method: one worker,
/// held epochs read back.
#[test]
fn timers_fire_at_their_instant() {
    timely::execute_directly(|worker| {
        let ((clock, map), emitted) = (map(1), Emitted::default());
        let mut door = build(worker, &map, &emitted);
        door.advance(worker, 1_000);
        let all = [("x", 5_000), ("y", 5_000), ("z", 5_500), ("far", 90_000_000), ("w", 5_000)];
        for (key, due) in all {
            door.input.send(promise("a", key, (1, due)));
        }
        door.advance(worker, 2_000);
        assert_eq!(clock.complete(), 1_999);
        clock.lease(1_999, 0, u64::MAX).unwrap();
        // `y` is promised earlier: its timer at 5,000 goes stale, the one at 3,000 counts.
        door.input.send(promise("a", "y", (10, 3_000)));
        // `w` is put off twice: its timer at 5,000 is early.
        door.input.send(promise("a", "w", (0, LATER)));
        door.input.send(promise("a", "w", (0, LATER)));
        // `z` is touched at the instant that it is due.
        door.advance(worker, 5_500);
        assert_eq!(clock.complete(), 5_499);
        clock.lease(5_499, 0, u64::MAX).unwrap();
        door.input.send(promise("a", "z", (100, 0)));
        door.advance(worker, 60_000);
        let all = [1_999, 5_499, 59_999]
            .map(|at| ["x", "y", "z", "far", "w"].map(|key| evaluated(&map, key, at)));
        let now = (1, false, 1_000);
        assert_eq!(all[0], [now; 5]);
        let (x, y) = ((1, true, 5_000), (11, true, 3_000));
        assert_eq!(all[1], [x, y, now, now, (1, false, 2_000)]);
        assert_eq!(all[2], [x, y, (101, true, 5_500), now, (1, true, 7_000)]);
        // Changes are by instant: x at 5,000; y at 2,000 and 3,000; z at 5,500; w at 2,000 and 7,000.
        let mut changed = Vec::new();
        map.changes(1_999, 59_999, &mut |name, old, new| {
            assert!(old.is_some() && new.is_some());
            changed.push(name.key().to_string());
        })
        .unwrap();
        changed.sort();
        assert_eq!(changed, ["w", "x", "y", "z"]);
        // Timers move no total: only data is told to the relation.
        let told = summed(&emitted);
        let a = || "a".to_string();
        assert_eq!(told, [(a(), 1_000, 5), (a(), 2_000, 10), (a(), 5_500, 100)]);
    });
}

/// Goal: when the input ends, all that was sent is applied and published, and time does not run
/// on: a timer of tomorrow does not fire.
#[test]
fn the_end_of_the_input_is_not_the_end_of_time() {
    timely::execute_directly(|worker| {
        let ((clock, map), emitted) = (map(1), Emitted::default());
        let mut door = build(worker, &map, &emitted);
        door.advance(worker, 10);
        door.input.send(promise("a", "x", (7, 20)));
        door.input.send(promise("a", "y", (7, 12)));
        door.input.advance_to(15);
        door.input.send(promise("a", "y", (1, 0)));
        drop(door.input);
        worker.step_while(|| !door.probe.done());
        assert_eq!(clock.complete(), 15);
        assert_eq!(evaluated(&map, "x", 15), (7, false, 10));
        assert_eq!(evaluated(&map, "y", 15), (8, true, 15));
    });
}

/// Goal: states put back at start-up get their timers and are shown to the relation.
#[test]
fn loaded_states_go_on() {
    timely::execute_directly(|worker| {
        let ((clock, map), emitted) = (map(1), Emitted::default());
        for (key, promised) in [("x", 600), ("y", 0)] {
            let state = State { total: 5, promised, later: 0 };
            assert!(map.load(fingerprint("a", key), Name::new("a", key), state, 500));
        }
        let mut door = build(worker, &map, &emitted);
        door.advance(worker, 1_000);
        assert_eq!(clock.complete(), 999);
        assert_eq!(evaluated(&map, "x", 999), (5, true, 600));
        assert_eq!(evaluated(&map, "y", 999), (5, false, 500));
        assert_eq!(summed(&emitted), [("a".to_string(), 500, 10)]);
    });
}

/// What was said in one epoch: tenant, key, amount, promised after so many milliseconds.
type History = Vec<(u64, Vec<(bool, u8, i64, u64)>)>;

fn history() -> impl Strategy<Value = History> {
    let said = (any::<bool>(), 0..20_u8, -5..9_i64, 0..3_000_u64);
    prop::collection::vec((1..900_u64, prop::collection::vec(said, 0..12)), 1..25)
}

fn tenant(second: bool) -> &'static str {
    if second { "b" } else { "a" }
}

fn promised(now: Epoch, after: u64) -> u64 {
    match after % 4 {
        0 => 0,
        1 => LATER,
        _ => now + after,
    }
}

/// What the relation hears: by tenant and instant.
type Told = BTreeMap<(String, Epoch), isize>;

/// Rows at the end, by the plain computation.
fn reference(history: &History) -> (BTreeMap<Name, Row>, Told, Epoch) {
    let mut states: BTreeMap<Name, (State, Epoch)> = BTreeMap::new();
    let mut told = Told::new();
    let mut now = 10_000;
    for (pass, said) in history {
        let end = now + pass;
        for (second, key, amount, after) in said {
            let name = Name::new(tenant(*second), &key.to_string());
            let entry = states.entry(name).or_default();
            let promised = promised(now, *after);
            Promise::apply(&mut entry.0, &(*amount, promised));
            entry.1 = now;
            *told.entry((tenant(*second).to_string(), now)).or_default() += *amount as isize;
        }
        for (state, evaluated) in states.values_mut() {
            if let Some(due) = state.due().filter(|it| *it > *evaluated && *it < end) {
                *evaluated = due;
            }
        }
        now = end;
    }
    told.retain(|_, it| *it != 0);
    let rows = states.iter().map(|(name, it)| (name.clone(), row(name, &it.0, it.1))).collect();
    (rows, told, now - 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Goal: the same rows, evaluated at the same instants, and the same changes told, with one,
    /// two or three workers. Method: random histories against the plain computation.
    #[test]
    fn equals_the_plain_computation(history in history(), workers in 1..4_usize) {
        let ((clock, map), emitted) = (map(workers), Emitted::default());
        let config = timely::Config::process(workers);
        let (shared, told, epochs) = (map.clone(), emitted.clone(), history.clone());
        let guards = timely::execute(config, move |worker| {
            let mut door = build(worker, &shared, &told);
            let mut now = 10_000;
            door.advance(worker, now);
            for (pass, said) in &epochs {
                for (n, (second, key, amount, after)) in said.iter().enumerate() {
                    if n % workers == worker.index() {
                        let promised = promised(now, *after);
                        let key = key.to_string();
                        door.input.send(promise(tenant(*second), &key, (*amount, promised)));
                    }
                }
                now += pass;
                door.advance(worker, now);
            }
            // Timers beyond the last epoch must not fire: the map is read before the end.
            drop(door);
        }).unwrap();
        for guard in guards.join() {
            guard.unwrap();
        }
        let (rows, told, last) = reference(&history);
        prop_assert_eq!(clock.complete(), last);
        let mut found = BTreeMap::new();
        map.for_each(last, &mut |name, row| { found.insert(name.clone(), row); }).unwrap();
        prop_assert_eq!(found, rows);
        let mut sums = Told::new();
        for (tenant, epoch, diff) in emitted.lock().unwrap().iter() {
            *sums.entry((tenant.clone(), *epoch)).or_default() += diff;
        }
        sums.retain(|_, it| *it != 0);
        prop_assert_eq!(sums, told);
    }
}
