//! What does it cost that states are kept: the workers, per saved state, and at the start?
//!
//! `cargo bench -p dataflows --bench keeping [-- EVENTS WORKERS]`, by default 2,000,000 and 1: all
//! views over the common workload, not kept, kept, and kept with a saver beside it every 250 ms
//! (elapsed and CPU seconds of the whole process); then all states saved at once and put back from
//! memory on one thread and two. Aim: within 3 % of not kept; at most 0.4 µs of CPU a state; a
//! million entities put back in half a second on two threads (FIELD-NOTES 5). No disk here.

// A bench may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

#[path = "support/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use dataflows::Epoch;
use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::inputs::Updates;
use schemas::events::Event;
use schemas::names::Secret;
use schemas::reading::Instants;
use workload::{cpu_seconds, workload};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SECRET: Secret = Secret([7; 16]);

const UNDO_MAX_BYTES: u64 = 64 << 20;

/// Arrivals that are routed at a time, and sealed into one epoch.
const CHUNK: usize = 4_000;
const EPOCH: usize = 10_000;

/// Between two saves.
const PERIOD: Duration = Duration::from_millis(250);

const START: Epoch = 1_767_225_600_000;

/// Applies all events; gives the last epoch.
fn apply(views: &Arc<Views>, events: &Arc<Vec<Event<'static>>>, workers: usize) -> Epoch {
    let (shared, at_worker) = (events.clone(), views.clone());
    let last = START + 5 * events.len().div_ceil(EPOCH) as u64;
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut sources = Sources::build(worker, &at_worker);
        let mut updates = Updates::default();
        let mut epoch = START;
        for events in shared.chunks(EPOCH) {
            epoch += 5;
            sources.advance_to(epoch);
            for chunk in events.chunks(CHUNK).skip(worker.index()).step_by(workers) {
                for event in chunk {
                    updates.route(event, &SECRET, ViewSet::all());
                }
                sources.send(&mut updates);
                worker.step();
            }
        }
        sources.advance_to(last + 1);
        while at_worker.clock().complete() < last {
            worker.step();
        }
    });
    guards.expect("workers start").join().into_iter().for_each(|it| it.expect("ended well"));
    last
}

/// Saves, and gives how many records and bytes; the epoch is held as short as the save.
fn save(views: &Views, generation: u32, mut emit: impl FnMut(usize, &[u8])) -> (u64, u64) {
    let pin = views.clock().pin();
    let (mut n, mut bytes) = (0, 0);
    for (view, keeper) in views.keepers().iter().enumerate() {
        let outcome = keeper.save(pin.epoch(), generation, &mut |record| {
            bytes += record.len() as u64;
            emit(view, record);
        });
        n += outcome.expect("pinned");
    }
    (n, bytes)
}

/// What this thread has computed so far.
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0))
}

fn measured<T>(what: &str, millions: f64, run: impl FnOnce() -> T) -> T {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let outcome = run();
    println!(
        "{what}: {:.0} events/s, {:.3} CPU-s per million",
        millions * 1e6 / start.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) / millions,
    );
    outcome
}

fn run(events: &Arc<Vec<Event<'static>>>, workers: usize) -> Arc<Views> {
    let millions = events.len() as f64 / 1e6;
    let made = || Views::keeping(ViewSet::all(), workers, SECRET, UNDO_MAX_BYTES);
    let plain = Views::new(ViewSet::all(), workers, SECRET, UNDO_MAX_BYTES);
    measured("not kept", millions, || apply(&plain, events, workers));
    drop(plain);
    let marked = made();
    measured("kept", millions, || apply(&marked, events, workers));
    drop(marked);
    let views = made();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let saver = scope.spawn(|| {
            let (mut generation, mut n, mut bytes, mut spent) = (0, 0, 0, Duration::ZERO);
            while !stop.load(SeqCst) {
                std::thread::sleep(PERIOD);
                let start = thread_cpu();
                let saved = save(&views, generation, |_, _| {});
                spent += thread_cpu() - start;
                (n, bytes, generation) = (n + saved.0, bytes + saved.1, generation + 1);
            }
            println!(
                "  {generation} saves: {n} records of {:.0} bytes, {:.0} ns CPU each, {:.0} \
                 bytes an event",
                bytes as f64 / n as f64,
                spent.as_nanos() as f64 / n as f64,
                bytes as f64 / events.len() as f64,
            );
        });
        measured("kept and saved", millions, || apply(&views, events, workers));
        stop.store(true, SeqCst);
        saver.join().expect("the saver ended well");
    });
    views
}

/// Everything saved, then put back on so many threads, then taken up by the workers.
fn restart(views: &Views, threads: usize, workers: usize) {
    for keeper in views.keepers() {
        keeper.again(&|_| true);
    }
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let start = thread_cpu();
    let (n, _) = save(views, 1, |view, record| {
        bytes.extend_from_slice(record);
        ends.push((view, bytes.len()));
    });
    let saved = thread_cpu() - start;
    let again = Views::keeping(ViewSet::all(), workers, SECRET, UNDO_MAX_BYTES);
    let (start, cpu) = (Instant::now(), cpu_seconds());
    std::thread::scope(|scope| {
        let share = ends.len().div_ceil(threads);
        for (part, of_thread) in ends.chunks(share).enumerate() {
            let (bytes, again) = (&bytes, &again);
            let mut from = if part == 0 { 0 } else { ends[part * share - 1].1 };
            scope.spawn(move || {
                for (view, end) in of_thread {
                    let fresh = again.keepers()[*view].restore(&bytes[from..*end], 1);
                    assert_eq!(fresh, Ok(true));
                    from = *end;
                }
            });
        }
    });
    let (loaded, spent) = (start.elapsed(), cpu_seconds() - cpu);
    let start = Instant::now();
    let last = views.clock().complete();
    let at_worker = again.clone();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut sources = Sources::build(worker, &at_worker);
        sources.advance_to(last + 1);
        while at_worker.clock().complete() < last {
            worker.step();
        }
    });
    guards.expect("workers start").join().into_iter().for_each(|it| it.expect("ended well"));
    let taken_up = start.elapsed();
    let start = Instant::now();
    again.readers().iter().for_each(|it| while it.merge_index() {});
    println!(
        "{n} states, {:.0} bytes each: saved in {:.2} CPU-s ({:.0} ns each), put back by {threads} \
         threads in {:.2} s ({:.0} ns CPU each), relations after {:.2} s more, keys in order in \
         {:.2} s",
        bytes.len() as f64 / n as f64,
        saved.as_secs_f64(),
        saved.as_nanos() as f64 / n as f64,
        loaded.as_secs_f64(),
        spent * 1e9 / n as f64,
        taken_up.as_secs_f64(),
        start.elapsed().as_secs_f64(),
    );
    let rows = |views: &Views| views.readers().iter().map(|it| it.rows()).collect::<Vec<_>>();
    assert_eq!(rows(&again), rows(views));
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|it| it.parse::<usize>().ok());
    let events = Arc::new(workload(numbers.next().unwrap_or(2_000_000)));
    let workers = numbers.next().unwrap_or(1);
    for round in 0..3 {
        let views = run(&events, workers);
        if round == 2 {
            restart(&views, 1, workers);
            restart(&views, 2, workers);
        }
    }
}
