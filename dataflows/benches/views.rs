//! How many events a second do the views take, once decoded? Events per second (and seconds of
//! CPU per million) of routing, exchange, folds and relations: base views, then all.
//!
//! `cargo bench -p dataflows --bench views [-- EVENTS WORKERS]`, by default 2,000,000 and 1. The
//! mix is that of the common workload: 15 % orders placed, 40 % statuses, 30 % interactions, 10 %
//! feedback, 5 % cases; customers skewed, 10 % of the events late. No decoding and no dedup, so
//! this is a bound on what the whole path can reach, not a claim about it.

// A bench may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;
use std::time::Instant;

use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::inputs::Updates;
use schemas::events::Event;
use schemas::names::Secret;
use schemas::reading::Instants;
use workload::{cpu_seconds, workload};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SECRET: Secret = Secret([7; 16]);

/// Arrivals that the engine decodes and routes at a time, and seals into one epoch under backlog.
const CHUNK: usize = 4_000;
const EPOCH: usize = 50_000;

fn run(events: &Arc<Vec<Event<'static>>>, chosen: ViewSet, workers: usize) {
    let views = Views::new(chosen, workers, SECRET, 64 << 20);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (shared, at_worker) = (events.clone(), views.clone());
    let routing = std::sync::atomic::AtomicU64::new(0);
    let routing = Arc::new(routing);
    let spent = routing.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut sources = Sources::build(worker, &at_worker);
        let mut updates = Updates::default();
        let mut epoch = 1_767_225_600_000_u64;
        for events in shared.chunks(EPOCH) {
            epoch += 250;
            sources.advance_to(epoch);
            for chunk in events.chunks(CHUNK).skip(worker.index()).step_by(workers) {
                let before = Instant::now();
                for event in chunk {
                    updates.route(event, &SECRET, chosen);
                }
                let nanos = before.elapsed().as_nanos() as u64;
                spent.fetch_add(nanos, std::sync::atomic::Ordering::Relaxed);
                sources.send(&mut updates);
                worker.step();
            }
        }
        sources.advance_to(epoch + 1);
        while at_worker.clock().complete() < epoch {
            worker.step();
        }
    });
    guards.expect("workers start").join().into_iter().for_each(|it| it.expect("ended well"));
    let seconds = started.elapsed().as_secs_f64();
    let millions = events.len() as f64 / 1e6;
    println!(
        "{} views, {workers} workers: {:.0} events/s, {:.2} CPU-s per million, routing {:.0} ns an event",
        chosen.0.count_ones(),
        events.len() as f64 / seconds,
        (cpu_seconds() - cpu) / millions,
        routing.load(std::sync::atomic::Ordering::Relaxed) as f64 / events.len() as f64,
    );
    for view in views.readers() {
        while view.merge_index() {}
        let stats = view.stats();
        println!(
            "  {:16} {:8} rows {:6.1} MB",
            view.def().name,
            view.rows(),
            stats.bytes as f64 / 1e6
        );
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|it| it.parse::<usize>().ok());
    let events = Arc::new(workload(numbers.next().unwrap_or(2_000_000)));
    let workers = numbers.next().unwrap_or(1);
    let base = ViewSet::parse(&["customers", "orders", "volume"]).expect("views of the catalogue");
    for _ in 0..3 {
        run(&events, base, workers);
    }
    for _ in 0..3 {
        run(&events, ViewSet::all(), workers);
    }
}
