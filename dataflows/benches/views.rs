//! How many events a second do the views take, once decoded? Events per second (and seconds of
//! CPU per million) of routing, exchange, folds and relations: base views, then all.
//!
//! `cargo bench -p dataflows --bench views [-- EVENTS WORKERS]`, by default 2,000,000 and 1. The
//! mix is that of the common workload: 15 % orders placed, 40 % statuses, 30 % interactions, 10 %
//! feedback, 5 % cases; customers skewed, 10 % of the events late. No decoding and no dedup, so
//! this is a bound on what the whole path can reach, not a claim about it.

// A bench may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::inputs::Updates;
use schemas::events::*;
use schemas::names::{Currency, Secret};
use schemas::reading::Instants;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECRET: Secret = Secret([7; 16]);

/// Arrivals that the engine decodes and routes at a time, and seals into one epoch under backlog.
const CHUNK: usize = 4_000;
const EPOCH: usize = 50_000;

/// xorshift: small, seeded.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    fn share(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }
}

fn workload(n: usize) -> Vec<Event<'static>> {
    let rng = &mut Rng(0x9e37_79b9_7f4a_7c15);
    let eur = Currency::parse("EUR").expect("three letters");
    let stages = [
        Status::Placed,
        Status::Paid,
        Status::InProduction,
        Status::QualityChecked,
        Status::Shipped,
        Status::Delivered,
    ];
    let customers = (n / 20).max(1_000) as f64;
    let mut open: Vec<(usize, usize, usize)> = Vec::new();
    let (mut orders, mut time) = (0, 1_767_225_600_000_000_i64);
    let mut events = Vec::with_capacity(n);
    for i in 0..n {
        time += rng.below(21) as i64 * 1_000;
        let late = if rng.below(10) == 0 { rng.below(5_000) as i64 * 1_000 } else { 0 };
        let who = (customers * rng.share().powf(2.2)) as usize;
        let name = |who: usize| Text::Owned(format!("C{who:07}"));
        let data = match rng.share() {
            r if r < 0.15 => {
                open.push((orders, who, 0));
                orders += 1;
                Data::OrderPlaced(OrderPlaced {
                    order: format!("O{:08}", orders - 1).into(),
                    customer: name(who),
                    currency: eur,
                    lines: vec![Line {
                        sku: format!("S{:04}", rng.below(2_000)).into(),
                        quantity: 1,
                        unit_price: 500 + rng.below(49_500) as i64,
                        ship_from: None,
                        ship_to: None,
                        carrier: None,
                        seller: None,
                    }],
                    promised_at: None,
                    channel: None,
                })
            }
            r if r < 0.55 && !open.is_empty() => {
                let at = rng.below(open.len() as u64) as usize;
                open[at].2 += 1;
                let (order, who, stage) = open[at];
                if stage == 5 {
                    open.swap_remove(at);
                }
                Data::OrderStatusChanged(OrderStatusChanged {
                    order: format!("O{order:08}").into(),
                    status: stages[stage],
                    line: None,
                    customer: Some(name(who)),
                })
            }
            r if r < 0.65 => Data::FeedbackSubmitted(FeedbackSubmitted {
                customer: Some(name(who)),
                order: None,
                product: None,
                rating: Some(1 + rng.below(5) as u8),
                text: Some("great service, very happy".into()),
            }),
            r if r < 0.70 => Data::CaseOpened(CaseOpened {
                case: format!("T{i:09}").into(),
                customer: name(who),
                severity: 1 + rng.below(4) as u8,
                text: Some("the machine stopped and I need help now".into()),
                queue: "support".into(),
                skills: vec![],
            }),
            _ => Data::InteractionRecorded(InteractionRecorded {
                customer: name(who),
                channel: "web".into(),
                action: "view".into(),
                target: Some("/p/1".into()),
                text: None,
            }),
        };
        events.push(Event {
            tenant: "default".into(),
            source: "workload".into(),
            id: format!("{i:012x}").into(),
            time: time - late,
            data,
        });
    }
    events
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

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
