//! Goal: at every complete epoch every view says what its plain `reference()` says of the events
//! so far, at `now` = that epoch. Method: random histories with duplicates and late events, cut
//! into epochs at random, through dedup, routing and the dataflow on one worker; promises lie
//! around the epochs, so that timers matter, and time goes on after the last event.

#[path = "support/arrivals.rs"]
mod arrivals;
#[path = "support/drive.rs"]
mod drive;
#[path = "support/history.rs"]
mod history;

use dataflows::catalogue::{Sources, ViewSet, Views, definitions, references};
use dataflows::sentiment_by_day;
use drive::{SECRET, apply, complete, dedup, rows, views};
use history::{SPAN_MS, START_MS, history};
use proptest::prelude::*;
use schemas::events::{
    Data, Erased, Event, FeedbackSubmitted, Line, OrderPlaced, OrderStatusChanged, Status,
};
use schemas::names::{Currency, Kind, Name};
use schemas::reading::{Instants, Known, ViewReader};
use schemas::rows::{FieldKind, Row, Value, ViewDef};
use schemas::scanning::{Is, Scan, Test, Wanted};
use std::collections::BTreeMap;
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
    arrivals::publish();
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

/// Texts of two and a half months in no order, and in some histories a customer who is erased.
fn texts_of_days() -> impl Strategy<Value = Vec<Batch>> {
    let text = (any::<bool>(), 0..75_i64, 0..3_i64, 0..3_usize, 0..4_usize);
    let erased = proptest::option::of(any::<proptest::sample::Index>());
    let steps = proptest::collection::vec((0..12_usize, 1..SPAN_MS / 6), 1..8);
    (proptest::collection::vec(text, 1..40), erased, steps).prop_map(|(texts, erased, steps)| {
        let event = |n: usize, tenant: bool, time, data| Event {
            tenant: if tenant { "acme" } else { "default" }.into(),
            source: "//shop".into(),
            id: n.to_string().into(),
            time,
            data,
        };
        let each = texts.iter().enumerate();
        let mut events: Vec<_> = each
            .map(|(n, (tenant, day, micros, customer, text))| {
                let text = ["it stopped", "GREAT pump", "I hate it", "a box"][*text];
                let data = Data::FeedbackSubmitted(FeedbackSubmitted {
                    customer: [None, Some("C1".into()), Some("C2".into())][*customer].clone(),
                    order: None,
                    product: None,
                    rating: None,
                    text: Some(text.into()),
                });
                let at = START_MS as i64 * 1_000 - day * 86_400_000_000 + micros;
                event(n, *tenant, at, data)
            })
            .collect();
        if let Some(place) = erased {
            let data = Data::CustomerErased(Erased { customers: vec!["C1".into()] });
            let at = START_MS as i64 * 1_000;
            events.insert(place.index(texts.len()), event(texts.len(), true, at, data));
        }
        let mut events = events.into_iter();
        steps.into_iter().map(|(n, step)| (events.by_ref().take(n).collect(), step)).collect()
    })
}

/// Goal: days say what their references say also where the days before them matter, and in whatever
/// order the days come. Method: as above, of this view and of texts alone, months apart.
#[test]
fn days_are_their_reference() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 96,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&texts_of_days(), |batches| {
        timely::execute_directly(move |worker| {
            let chosen = ViewSet::parse(&["sentiment_by_day"]).expect("a view");
            let views = Views::new(chosen, 1, SECRET, 64 << 20);
            let (mut sources, dedup) = (Sources::build(worker, &views), dedup());
            let mut so_far: Vec<Event<'static>> = Vec::new();
            let mut epoch = START_MS;
            for (batch, step) in batches {
                epoch += step;
                apply(&mut sources, &dedup, &batch, epoch);
                so_far.extend(batch);
                complete(worker, &mut sources, &views, epoch);
                let found = rows(&views, epoch).swap_remove(0);
                assert_eq!(found, sentiment_by_day::reference(&so_far, epoch));
            }
        });
        Ok(())
    });
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

/// Goal: an order is stuck from the first millisecond after what is usual on its lane, not before and
/// not again later; and eighty days after the fixed time stands. Method: one that was paid, on a lane
/// of a quarter of an hour, and one on a lane of eight days, looked at around each of these instants; what is
/// told to who listens is the same as what is read.
#[test]
fn the_timer_fires_at_the_instant_that_was_learnt() {
    arrivals::publish();
    let said_at = START_MS + SPAN_MS;
    let (minute, day) = (60_000, 86_400_000);
    for (from, usual) in [(None, 15 * minute), (Some("north"), 9 * day - 8 * 60 * minute)] {
        timely::execute_directly(move |worker| {
            let views = views(1);
            let mut sources = Sources::build(worker, &views);
            let so_far = paid("O1", from, said_at);
            apply(&mut sources, &dedup(), &so_far, said_at);
            let mut since = |at: u64| {
                complete(worker, &mut sources, &views, at);
                compare(&views, &so_far, at);
                let of = |view: &str, key: &str, field: &str| {
                    let reader = views.readers().iter().find(|it| it.def().name == view).unwrap();
                    let row = reader.get("default", key, at).expect("complete")?;
                    Some(row.values[reader.def().position(field).unwrap()].clone())
                };
                let stuck = of("order_visibility", "O1", "stuck").expect("it is there");
                let since = of("order_exceptions", "O1/not_in_production", "since");
                assert_eq!(stuck, Value::Bool(since.is_some()));
                since.map(|it| match it {
                    Value::Time(it) => it as u64 / 1_000 - said_at,
                    it => panic!("{it:?}"),
                })
            };
            let learnt = Some(usual);
            assert_eq!(since(said_at + 1), None);
            assert_eq!(since(said_at + usual), None);
            assert_eq!(since(said_at + usual + 1), learnt);
            assert_eq!(since(said_at + 60 * day), learnt);
            assert_eq!(since(said_at + 80 * day), learnt);
            assert_eq!(since(said_at + 80 * day + 1), Some(3 * day));
            assert_eq!(views.anomalies(), 0);
        });
    }
}

/// An order that was placed and paid, and leaves from there; and of a line of it something was said
/// at an instant.
fn paid(order: &'static str, from: Option<&'static str>, at: u64) -> Vec<Event<'static>> {
    let line = Line {
        sku: "S1".into(),
        quantity: 1,
        unit_price: 1,
        ship_from: from.map(Into::into),
        ship_to: None,
        carrier: None,
        seller: None,
    };
    let placed = Data::OrderPlaced(OrderPlaced {
        order: order.into(),
        customer: "C1".into(),
        currency: Currency::parse("EUR").unwrap(),
        lines: vec![line],
        promised_at: None,
        channel: None,
    });
    let changed = |status, line| {
        let (order, customer) = (order.into(), None);
        Data::OrderStatusChanged(OrderStatusChanged { order, status, line, customer })
    };
    let event = |id: &'static str, at: u64, data| Event {
        tenant: "default".into(),
        source: "//shop".into(),
        id: id.into(),
        time: at as i64 * 1_000,
        data,
    };
    vec![
        event("1", at - 2, placed),
        event("2", at - 1, changed(Status::Paid, None)),
        event("3", at, changed(Status::InProduction, Some(1))),
    ]
}

fn check(worker: &mut Worker, batches: Vec<Batch>) {
    let views = views(1);
    let mut sources = Sources::build(worker, &views);
    let dedup = dedup();
    let mut so_far: Vec<Event<'static>> = Vec::new();
    let mut epoch = START_MS;
    // To where promises of a quarter of an hour to a day, brought forward or not, are broken.
    let minute = 60_000;
    let day = 24 * 60 * minute;
    let quiet = [500, SPAN_MS, 70_000, 7 * minute, 16 * minute, 60 * minute, 1_500 * minute];
    // And to where orders that make no progress are stuck.
    let quiet = quiet.into_iter().chain([2 * day, 5 * day, 8 * day]);
    // And to where nothing is said any more of when they arrive.
    let quiet = quiet.chain([60 * day, 5 * day]);
    let quiet = quiet.map(|step| (vec![], step));
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
        // At some of the epochs: it reads every field by itself, of every row.
        if epoch.is_multiple_of(5) {
            as_a_table(reader.as_ref(), &expected, epoch);
        }
        for tenant in ["default", "acme", "nobody"] {
            let rows = expected.keys().filter(|it| it.tenant() == tenant).count() as u64;
            assert_eq!(reader.count(tenant, epoch), rows, "{} of {tenant}", def.name);
        }
        let left = match def.name {
            "notifications" => dataflows::notifications::reference_left(so_far),
            _ => BTreeMap::new(),
        };
        as_known(reader.as_ref(), &expected, left, epoch);
    }
}

/// Every row is known, and what is left where there is none any more; by name, and all of them.
fn as_known(
    reader: &dyn ViewReader,
    rows: &BTreeMap<Name, Row>,
    left: BTreeMap<Name, &'static str>,
    epoch: u64,
) {
    let rows = rows.iter().map(|(name, row)| (name.clone(), Known::Row(row.clone())));
    let left = left.into_iter().map(|(name, it)| (name, Known::Left(it)));
    let expected: BTreeMap<Name, Known> = rows.chain(left).collect();
    for (name, known) in &expected {
        let found = reader.known(name.tenant(), name.key(), epoch);
        assert_eq!(found, Ok(Some(known.clone())), "{name:?}");
    }
    let (mut found, mut scan, mut n) = (BTreeMap::new(), Scan::default(), 0);
    while !scan.over {
        let see = &mut |name: &Name, known| {
            assert_eq!(found.insert(name.clone(), known), None, "{name:?} twice");
        };
        n += reader.each_known(epoch, &mut scan, see).expect("complete");
    }
    assert!(n >= found.len());
    assert_eq!(found, expected, "{}", reader.def().name);
}

/// A scan gives of each row what is wanted of it, however little that is, and a test drops what it
/// should; so does a read by key.
fn as_a_table(reader: &dyn ViewReader, expected: &BTreeMap<Name, Row>, epoch: u64) {
    let n = reader.def().fields.len();
    let all: Vec<usize> = (0..n).rev().collect();
    let one_by_one = (0..n).map(|it| vec![it]);
    for fields in one_by_one.chain([all, vec![]]) {
        let picked =
            |row: &Row| -> Vec<Value> { fields.iter().map(|it| row.values[*it].clone()).collect() };
        for (name, row) in expected {
            let mut found = Vec::new();
            let is = reader.fields_of(name.tenant(), name.key(), epoch, &fields, &mut found);
            assert_eq!((is, found), (Ok(true), picked(row)), "{name:?} {fields:?}");
        }
        for tenant in ["default", "acme", "nobody"] {
            let of_tenant = || expected.iter().filter(|it| it.0.tenant() == tenant);
            // By what one of the rows has there, if anything.
            let some = of_tenant().nth(epoch as usize % 3).map(|it| it.1);
            let is = |field: &usize| match &some?.values[*field] {
                Value::Null | Value::Json(_) => None,
                it if epoch.is_multiple_of(2) => Some(Is::Equal(it.clone())),
                it => Some(Is::AtLeast(it.clone())),
            };
            let tests = fields.iter().filter_map(|it| Some(Test { field: *it, is: is(it)? }));
            for tests in [vec![], tests.collect::<Vec<_>>()] {
                let passes =
                    |row: &&Row| tests.iter().all(|it| it.is.passes(&row.values[it.field]));
                let mut expected: Vec<_> =
                    of_tenant().map(|it| it.1).filter(passes).map(picked).collect();
                let wanted = Wanted { fields: fields.clone(), tests };
                let (mut scan, mut n_rows, mut values) = (Scan::default(), 0, Vec::new());
                while !scan.over {
                    n_rows +=
                        reader.scan(tenant, epoch, &wanted, &mut scan, &mut values).expect("kept");
                }
                let mut found: Vec<_> =
                    values.chunks(fields.len().max(1)).map(<[Value]>::to_vec).collect();
                if fields.is_empty() {
                    found = vec![vec![]; n_rows];
                }
                found.sort_by_key(|it| format!("{it:?}"));
                expected.sort_by_key(|it| format!("{it:?}"));
                assert_eq!(found, expected, "{wanted:?}");
            }
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
        let found = rows(&views, now).swap_remove(6);
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
