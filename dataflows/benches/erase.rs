//! How long does it take until nothing of a customer is left in any view?
//!
//! `cargo bench -p dataflows --bench erase [-- CUSTOMERS]`, by default 100,000, on one worker, all
//! views on. Every customer has an order, a case with a text and an interaction; one has 10,000
//! events, a third each of orders, texts and statuses. Then that one is erased, and after that a
//! hundred of the others, an epoch each: milliseconds from the sealing of the epoch until every view
//! can be read at it. The rows that are left of them are counted, and there must be none.

// A bench may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

#[path = "support/epochs.rs"]
mod epochs;

use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::inputs::Updates;
use epochs::{EPOCH, SECRET, event, placed, sealed};
use schemas::events::*;
use schemas::reading::Instants;

const MANY: usize = 10_000;
const OTHERS: usize = 100;
const WHO: &str = "C-many";

/// When the `n`th statement is of, in microseconds.
fn at(n: usize) -> i64 {
    1_767_225_600_000_000 + n as i64
}

/// The `n`th statement of a customer.
fn said(customer: &str, n: usize) -> Data<'static> {
    let order = format!("O-{customer}-{}", n / 3);
    let customer = customer.to_string();
    match n % 3 {
        0 => placed(order, customer, Some(1_767_312_000_000_000)),
        1 => Data::CaseOpened(CaseOpened {
            case: format!("T-{customer}-{}", n / 3).into(),
            customer: customer.into(),
            severity: 2,
            text: Some("not good at all".into()),
            queue: "q".into(),
            skills: vec![],
        }),
        // Of the order, and of nobody.
        _ => Data::OrderStatusChanged(OrderStatusChanged {
            order: order.into(),
            status: Status::Shipped,
            line: None,
            customer: None,
        }),
    }
}

fn main() {
    let numbers = std::env::args().skip(1).find_map(|it| it.parse::<usize>().ok());
    let customers = numbers.unwrap_or(100_000);
    timely::execute_directly(move |worker| {
        let views = Views::new(ViewSet::all(), 1, SECRET, 64 << 20);
        let mut sources = Sources::build(worker, &views);
        let mut updates = Updates::default();
        let mut epoch = 1_767_225_600_000_u64;
        let others = (0..customers).flat_map(|it| (0..3).map(move |n| (format!("C{it:07}"), n)));
        let many = (0..MANY).map(|n| (WHO.to_string(), n));
        let mut all = others.chain(many).map(|(who, n)| said(&who, n)).zip(0..).peekable();
        let mut n = 0;
        while all.peek().is_some() {
            epoch += 250;
            sources.advance_to(epoch);
            for (data, number) in all.by_ref().take(EPOCH) {
                updates.route(&event(number, at(number), data), &SECRET, ViewSet::all());
                n = number;
            }
            sources.send(&mut updates);
            sealed(worker, &mut sources, &views, epoch);
        }
        let rows = |of: &str| {
            let pin = views.clock().pin();
            let mut n = 0;
            for view in views.readers().iter().filter(|it| it.def().name != "erasures") {
                let mut see =
                    |name: &schemas::names::Name, _| n += usize::from(name.key().contains(of));
                view.for_each(pin.epoch(), &mut see).expect("pinned");
            }
            n
        };
        println!("{customers} customers, {n} events; rows of the one: {}", rows(WHO));
        let mut took = Vec::new();
        let others = (0..OTHERS).map(|it| format!("C{:07}", it * 7 % customers));
        for who in [WHO.to_string()].into_iter().chain(others) {
            epoch += 5;
            n += 1;
            sources.advance_to(epoch);
            let customers = vec![who.into()];
            updates.route(
                &event(n, at(n), Data::CustomerErased(Erased { customers })),
                &SECRET,
                ViewSet::all(),
            );
            sources.send(&mut updates);
            took.push(sealed(worker, &mut sources, &views, epoch));
        }
        println!("{MANY} events of one customer erased: {:.1} ms", took[0]);
        let mut rest = took.split_off(1);
        rest.sort_by(f64::total_cmp);
        println!(
            "one of the others: p50 {:.1} ms, longest {:.1} ms",
            rest[rest.len() / 2],
            rest[rest.len() - 1]
        );
        assert_eq!(rows(WHO), 0, "nothing is left");
        assert_eq!(views.anomalies(), 0);
    });
}
