//! How long does one link take, added or taken away, among a million customers?
//!
//! `cargo bench -p dataflows --bench one_link [-- CUSTOMERS]`, by default 1,000,000, on one worker.
//! Every customer has an address and a number of their own, every tenth shares a device with the
//! next one. Then two hundred times two customers are given one address, an epoch, and it is taken
//! back, another one: milliseconds from the sealing of the epoch until all three views can be read
//! at it. Then the same number of epochs in which nobody is identified, for what the operators cost
//! by being there.

// A bench may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

#[path = "support/epochs.rs"]
mod epochs;

use std::time::Instant;

use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::inputs::Updates;
use epochs::{EPOCH, SECRET, event, sealed};
use schemas::events::{Data, Event, Identified, InteractionRecorded};

const TIMES: usize = 200;

/// When the `n`th statement is of, in microseconds.
fn at(n: usize) -> i64 {
    1_767_225_600_000_000 + n as i64
}

fn identified(customer: usize, kind: &'static str, value: String) -> Identified<'static> {
    let customer = format!("C{customer:07}").into();
    Identified { customer, kind: kind.into(), value: value.into(), country: None }
}

/// Two or three statements of each customer.
fn known(customers: usize) -> impl Iterator<Item = Event<'static>> {
    let each = (0..customers).flat_map(|it| {
        let device = it / 10 * 10;
        let shares = it % 10 < 2;
        let said = [
            Some(identified(it, "email", format!("c{it}@x.org"))),
            Some(identified(it, "phone", format!("+4930{:07}", 1_000_000 + it))),
            shares.then(|| identified(it, "device", format!("d{device}"))),
        ];
        said.into_iter().flatten()
    });
    each.enumerate().map(|(n, it)| event(n, at(n), Data::CustomerIdentified(it)))
}

fn told(what: &str, mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms", at(0.5), at(0.99), at(1.0));
}

fn main() {
    let numbers = std::env::args().skip(1).find_map(|it| it.parse::<usize>().ok());
    let customers = numbers.unwrap_or(1_000_000);
    timely::execute_directly(move |worker| {
        let names = ["customers", "profiles", "identifiers", "identity_conflicts"];
        let chosen = ViewSet::parse(&names).expect("views of the catalogue");
        let views = Views::new(chosen, 1, SECRET, 64 << 20);
        let mut sources = Sources::build(worker, &views);
        let mut updates = Updates::default();
        let (mut epoch, mut n, began) = (1_767_225_600_000_u64, 0, Instant::now());
        let mut all = known(customers).peekable();
        while all.peek().is_some() {
            epoch += 250;
            sources.advance_to(epoch);
            for event in all.by_ref().take(EPOCH) {
                updates.route(&event, &SECRET, chosen);
                n += 1;
            }
            sources.send(&mut updates);
            sealed(worker, &mut sources, &views, epoch);
        }
        let seconds = began.elapsed().as_secs_f64();
        println!("{customers} customers, {n} statements: {:.0} a second", n as f64 / seconds);
        let (mut added, mut taken) = (Vec::new(), Vec::new());
        for it in 0..TIMES {
            let (a, b) = (it * 31 % customers, (it * 37 + customers / 2) % customers);
            for is_added in [true, false] {
                epoch += 5;
                n += 1;
                let it = identified(b, "email", format!("c{a}@x.org"));
                let data = match is_added {
                    true => Data::CustomerIdentified(it),
                    false => Data::CustomerUnlinked(it),
                };
                sources.advance_to(epoch);
                updates.route(&event(n, at(n), data), &SECRET, chosen);
                sources.send(&mut updates);
                let took = sealed(worker, &mut sources, &views, epoch);
                if is_added { added.push(took) } else { taken.push(took) }
            }
        }
        let mut quiet = Vec::new();
        for it in 0..TIMES {
            epoch += 5;
            n += 1;
            sources.advance_to(epoch);
            let data = Data::InteractionRecorded(InteractionRecorded {
                customer: format!("quiet-{it}").into(),
                channel: "web".into(),
                action: "view".into(),
                target: None,
                text: None,
            });
            updates.route(&event(n, at(n), data), &SECRET, chosen);
            sources.send(&mut updates);
            quiet.push(sealed(worker, &mut sources, &views, epoch));
        }
        told("a link added", added);
        told("a link taken away", taken);
        told("an epoch without any", quiet);
        for view in views.readers() {
            println!("  {:20} {:8} rows", view.def().name, view.rows());
        }
        assert_eq!(views.anomalies(), 0);
    });
}
