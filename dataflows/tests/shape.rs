//! Goal: the views are a function of the *set* of events and of `now`: the same for any number of
//! workers, any batching into epochs, any order of arrival and any duplication. Method: one random
//! history, applied in random shapes through one dedup and the dataflow on 1, 2 and 3 workers;
//! all rows are compared at equal `now` with those of one worker that took it in at once.

#[path = "support/arrivals.rs"]
mod arrivals;
#[path = "support/drive.rs"]
mod drive;
#[path = "support/history.rs"]
mod history;

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::catalogue::{Sources, definitions};
use drive::{apply, complete, dedup, rows, views};
use history::{SPAN_MS, START_MS, history};
use proptest::prelude::*;
use proptest::sample::Index;
use schemas::events::Event;
use schemas::names::Name;
use schemas::rows::Row;

/// Every row of every view.
type Answer = Vec<BTreeMap<Name, Row>>;

/// Where an arrival goes: an epoch and a worker (each modulo their number), and its place in the
/// order of arrival.
type Arrival = (Event<'static>, usize, usize);

/// Applies arrivals on so many workers in so many epochs; the answer at `now`.
fn answer(arrivals: Vec<Arrival>, workers: usize, epochs: usize, now: u64) -> Answer {
    let views = views(workers);
    let dedup = Arc::new(dedup());
    let (at_worker, arrivals) = (views.clone(), Arc::new(arrivals));
    let run = timely::execute(timely::Config::process(workers), move |worker| {
        let views = &at_worker;
        let mut sources = Sources::build(worker, views);
        for epoch in 0..epochs {
            let mine = arrivals
                .iter()
                .filter(|it| it.1 % epochs == epoch && it.2 % workers == worker.index());
            let batch: Vec<_> = mine.map(|it| it.0.clone()).collect();
            apply(&mut sources, &dedup, &batch, START_MS + epoch as u64 * 37);
            // Some epochs are sent before the one before is complete, as under backlog.
            if epoch % 3 == 0 {
                worker.step();
            }
        }
        complete(worker, &mut sources, views, now);
    });
    for worker in run.expect("workers start").join() {
        worker.expect("the worker ended well");
    }
    assert_eq!(views.anomalies(), 0);
    rows(&views, now)
}

type Shape = (Vec<(Index, Index)>, Vec<Index>, usize, usize);

fn shape() -> impl Strategy<Value = Shape> {
    let again = proptest::collection::vec((any::<Index>(), any::<Index>()), 0..40);
    let places = proptest::collection::vec(any::<Index>(), 160);
    (again, places, 1..=3_usize, 1..40_usize)
}

/// A shape of a history: some events again, all in another order.
fn shaped(events: &[Event<'static>], (again, places, ..): &Shape) -> Vec<Arrival> {
    let mut all = events.to_vec();
    for (which, at) in again {
        all.insert(at.index(all.len() + 1), which.get(events).clone());
    }
    let places = places.iter().cycle();
    let arrivals = all.into_iter().zip(places).enumerate();
    let mut arrivals: Vec<Arrival> = arrivals
        .map(|(n, (event, place))| (event, place.index(1 << 20), place.index(1 << 10) + n))
        .collect();
    arrivals.sort_by_key(|it| it.2 % 17);
    arrivals
}

#[test]
fn the_same_answer_in_every_shape() {
    arrivals::publish();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        ..ProptestConfig::default()
    });
    let shapes = proptest::collection::vec(shape(), 1..3);
    let strategy = (history(120), shapes, 0..3 * SPAN_MS);
    let outcome = runner.run(&strategy, |(events, shapes, later)| {
        let now = START_MS + 2_000 + later;
        let at_once = events.iter().map(|it| (it.clone(), 0, 0)).collect();
        let expected = answer(at_once, 1, 1, now);
        for shape in shapes {
            let (workers, epochs) = (shape.2, shape.3);
            let found = answer(shaped(&events, &shape), workers, epochs, now);
            for ((def, found), expected) in definitions().iter().zip(&found).zip(&expected) {
                let shape = format!("{workers} workers, {epochs} epochs");
                for (name, row) in expected {
                    let found = found.get(name).map(|it| def.to_json(it));
                    prop_assert_eq!(
                        found,
                        Some(def.to_json(row)),
                        "{} {:?} {}",
                        def.name,
                        name,
                        shape
                    );
                }
                prop_assert_eq!(found.len(), expected.len(), "{}, {}", def.name, shape);
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|why| panic!("{why}"));
}
