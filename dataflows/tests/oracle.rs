//! Goal: at every complete epoch every view says what its plain `reference()` says of the events
//! so far, at `now` = that epoch. Method: random histories with duplicates and late events, cut
//! into epochs at random, through dedup, routing and the dataflow on one worker; promises lie
//! around the epochs, so that timers matter, and time goes on after the last event.

#[path = "support/drive.rs"]
mod drive;
#[path = "support/history.rs"]
mod history;

use dataflows::catalogue::{Sources, Views, definitions, references};
use drive::{SECRET, apply, complete, dedup, rows, views};
use history::{SPAN_MS, START_MS, history};
use proptest::prelude::*;
use schemas::events::{Data, Event, Line, OrderPlaced};
use schemas::names::{Currency, Kind, Name};
use schemas::reading::Instants;
use schemas::rows::{FieldKind, Value, ViewDef};
use timely::worker::Worker;

/// Events of one epoch, and by how many milliseconds it is later than the one before.
type Batch = (Vec<Event<'static>>, u64);

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let picks = proptest::collection::vec((any::<proptest::sample::Index>(), 0..4_u8), 0..30);
    let steps = proptest::collection::vec((0..20_usize, 1..SPAN_MS / 6), 1..14);
    (history(90), picks, steps).prop_map(|(mut events, picks, steps)| {
        for (pick, _) in &picks {
            let again = pick.get(&events).clone();
            events.insert(pick.index(events.len()), again);
        }
        let mut events = events.into_iter();
        steps.into_iter().map(|(n, step)| (events.by_ref().take(n).collect(), step)).collect()
    })
}

#[test]
fn every_view_is_its_reference_at_every_epoch() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 160,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&batches(), |batches| {
        timely::execute_directly(move |worker| check(worker, batches));
        Ok(())
    });
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

fn check(worker: &mut Worker, batches: Vec<Batch>) {
    let views = views(1);
    let mut sources = Sources::build(worker, &views);
    let dedup = dedup();
    let mut so_far: Vec<Event<'static>> = Vec::new();
    let mut epoch = START_MS;
    let quiet = [500, SPAN_MS, 70_000].map(|step| (vec![], step));
    for (batch, step) in batches.into_iter().chain(quiet) {
        epoch += step;
        apply(&mut sources, &dedup, &batch, epoch);
        complete(worker, &mut sources, &views, epoch);
        for event in batch {
            if !so_far.contains(&event) {
                so_far.push(event);
            }
        }
        compare(&views, &so_far, epoch);
    }
    assert_eq!(views.anomalies(), 0);
}

fn compare(views: &Views, so_far: &[Event<'static>], epoch: u64) {
    let found = rows(views, epoch);
    for ((def, found), reference) in definitions().iter().zip(found).zip(references()) {
        let expected = reference(so_far, epoch);
        let told = |rows: &std::collections::BTreeMap<_, _>| {
            rows.iter()
                .map(|(name, row)| format!("{name:?} {}", def.to_json(row)))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&found), told(&expected), "{} at {epoch}", def.name);
        let reader = views.readers().iter().find(|it| it.def().name == def.name).unwrap();
        for (name, row) in &expected {
            let read = reader.get(name.tenant(), name.key(), epoch).expect("complete");
            assert_eq!(read.as_ref(), Some(row), "{} {name:?}", def.name);
            well_formed(def, &row.values);
        }
        for tenant in ["default", "acme", "nobody"] {
            let rows = expected.keys().filter(|it| it.tenant() == tenant).count() as u64;
            assert_eq!(reader.count(tenant, epoch), rows, "{} of {tenant}", def.name);
        }
    }
}

/// Each value is of its field's kind.
fn well_formed(def: &ViewDef, values: &[Value]) {
    assert_eq!(values.len(), def.fields.len(), "{}", def.name);
    for (field, value) in def.fields.iter().zip(values) {
        let right = match value {
            Value::Null => field.nullable,
            Value::Bool(_) => field.kind == FieldKind::Bool,
            Value::Int(_) => field.kind == FieldKind::Int,
            Value::Text(_) => field.kind == FieldKind::Text,
            Value::Time(_) => field.kind == FieldKind::Time,
            Value::Json(it) => match field.kind {
                FieldKind::Money => {
                    it.as_object().is_some_and(|it| it.values().all(|it| it.is_i64()))
                }
                kind => kind == FieldKind::Json,
            },
        };
        assert!(right, "{}.{}: {value:?}", def.name, field.name);
    }
}

/// Goal: what decides an answer does not depend on the secret or on the text's encoding. Method: a
/// key written another way than the row's is no row, not another one's.
#[test]
fn only_the_written_key_finds_a_row() {
    let event = Event {
        tenant: "default".into(),
        source: "//shop".into(),
        id: "1".into(),
        time: START_MS as i64 * 1_000,
        data: schemas::events::Data::InteractionRecorded(schemas::events::InteractionRecorded {
            customer: "a/b".into(),
            channel: "web".into(),
            action: "view".into(),
            target: None,
            text: None,
        }),
    };
    timely::execute_directly(move |worker| {
        let views = views(1);
        let mut sources = Sources::build(worker, &views);
        apply(&mut sources, &dedup(), &[event], START_MS);
        complete(worker, &mut sources, &views, START_MS);
        let found =
            |key| views.readers()[0].get("default", key, START_MS).expect("complete").is_some();
        let spellings = ["a%2Fb", "a/b", "a%2fb", "%61%2Fb", "a%2Fb%", ""];
        assert_eq!(spellings.map(found), [true, false, false, false, false, false]);
        assert_ne!(
            SECRET.fingerprint("default", Kind::Customer, &["a/b"]),
            SECRET.fingerprint("default", Kind::Customer, &["a", "b"])
        );
    });
}

/// Goal: the hundred are exact when there are more than a hundred. Method: several hundred
/// customers spending again and again, in epochs, on 1 and on 3 workers, with many equal sums, so
/// that customers come in, are pushed out and come back; compared with the reference at each epoch.
#[test]
fn more_customers_than_places() {
    for workers in [1, 3] {
        let spent = std::sync::Arc::new(spending(4_000));
        let views = views(workers);
        let (at_worker, all) = (views.clone(), spent.clone());
        let run = timely::execute(timely::Config::process(workers), move |worker| {
            let mut sources = Sources::build(worker, &at_worker);
            let mut so_far = 0;
            let mut epoch = START_MS;
            for batch in all.chunks(180) {
                so_far += batch.len();
                epoch += 10;
                let share = batch.len().div_ceil(workers);
                let mine = batch.chunks(share).nth(worker.index()).unwrap_or(&[]);
                apply(&mut sources, &dedup(), mine, epoch);
                complete(worker, &mut sources, &at_worker, epoch);
                if worker.index() == 0 {
                    let pin = at_worker.clock().pin();
                    let reader = &at_worker.readers()[6];
                    if pin.epoch() == epoch {
                        let mut found = std::collections::BTreeMap::new();
                        let mut take = |name: &Name, row| drop(found.insert(name.clone(), row));
                        reader.for_each(epoch, &mut take).expect("pinned");
                        let expected = dataflows::top_customers::reference(&all[..so_far], epoch);
                        assert_eq!(found, expected, "after {so_far} events");
                    }
                }
            }
        });
        for worker in run.expect("workers start").join() {
            worker.expect("the worker ended well");
        }
        let now = views.clock().complete();
        let found = rows(&views, now).pop().expect("the last view");
        assert_eq!(found, dataflows::top_customers::reference(&spent, now));
        assert_eq!(found.len(), 200, "two currencies of a hundred");
        assert_eq!(views.anomalies(), 0);
    }
}

/// Orders of 400 customers, small amounts, two currencies.
fn spending(n: u64) -> Vec<Event<'static>> {
    let order = |n: u64| {
        let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let line = Line {
            sku: "S1".into(),
            quantity: 1,
            unit_price: (mixed >> 20) as i64 % 4,
            ship_from: None,
            ship_to: None,
            carrier: None,
            seller: None,
        };
        Event {
            tenant: "default".into(),
            source: "//shop".into(),
            id: format!("{n}").into(),
            time: START_MS as i64 * 1_000,
            data: Data::OrderPlaced(OrderPlaced {
                order: format!("O{n}").into(),
                customer: format!("C{}", mixed % 400).into(),
                currency: Currency::parse(if mixed >> 40 & 1 == 0 { "EUR" } else { "USD" })
                    .unwrap(),
                lines: vec![line],
                promised_at: None,
                channel: None,
            }),
        }
    };
    (0..n).map(order).collect()
}
