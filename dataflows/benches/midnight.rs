//! How long is the longest epoch around midnight?
//!
//! `cargo bench -p dataflows --bench midnight [-- CUSTOMERS [MILLISECONDS]]`, by default 1,000,000
//! customers and epochs of 50 ms, on one worker, all views on. During a day each customer places an
//! order, which is delivered, and says a text about it. Then time passes, from 23:59:30 to
//! 01:00:30, an event an epoch: milliseconds from the sealing of an epoch until every view can be
//! read at it. In the first hour of the day each customer's own day begins, which moves their health.

// A bench may look at the clock; the crate may not.
#![allow(clippy::disallowed_methods)]

#[path = "support/epochs.rs"]
mod epochs;

use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::inputs::Updates;
use epochs::{EPOCH, SECRET, event, placed, sealed};
use schemas::events::*;

/// 2026-01-05T00:00:00Z, in milliseconds.
const MONDAY: u64 = 1_767_571_200_000;
const DAY: u64 = 86_400_000;

/// The `n`th statement of a customer.
fn said(customer: usize, n: usize) -> Data<'static> {
    let order = format!("O-{customer:07}");
    let who = format!("C{customer:07}");
    match n {
        0 => placed(order, who, None),
        1 => Data::OrderStatusChanged(OrderStatusChanged {
            order: order.into(),
            status: Status::Delivered,
            line: None,
            customer: Some(who.into()),
        }),
        _ => Data::InteractionRecorded(InteractionRecorded {
            customer: who.into(),
            channel: "chat".into(),
            action: "message".into(),
            target: None,
            text: Some(format!("not good at all, number {customer}").into()),
        }),
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|it| it.parse::<usize>().ok());
    let customers = numbers.next().unwrap_or(1_000_000);
    let step = numbers.next().unwrap_or(50) as u64;
    timely::execute_directly(move |worker| {
        let views = Views::new(ViewSet::all(), 1, SECRET, 64 << 20);
        let mut sources = Sources::build(worker, &views);
        let mut updates = Updates::default();
        // During the day before.
        let at = |customer: usize, n: usize| {
            MONDAY + (DAY - 60_000) * customer as u64 / customers as u64 + n as u64
        };
        let each = (0..customers).flat_map(|it| (0..3).map(move |n| (it, n)));
        let mut all = each.zip(0..).peekable();
        let mut n = 0;
        while all.peek().is_some() {
            let mut epoch = 0;
            let chunk: Vec<_> = all.by_ref().take(EPOCH).collect();
            for ((customer, of), _) in &chunk {
                epoch = at(*customer, *of);
            }
            sources.advance_to(epoch);
            for ((customer, of), number) in chunk {
                let micros = at(customer, of) as i64 * 1_000;
                let event = event(number, micros, said(customer, of));
                updates.route(&event, &SECRET, ViewSet::all());
                n = number;
            }
            sources.send(&mut updates);
            sealed(worker, &mut sources, &views, epoch);
        }
        println!("{customers} customers, {} events", n + 1);
        let (mut took, midnight) = (Vec::new(), MONDAY + DAY);
        let mut epoch = midnight - 30_000;
        // What fell due while nothing came is not of midnight.
        sealed(worker, &mut sources, &views, epoch);
        while epoch < midnight + 3_630_000 {
            epoch += step;
            n += 1;
            sources.advance_to(epoch);
            updates.route(
                &event(n, epoch as i64 * 1_000, said(n % customers, 2)),
                &SECRET,
                ViewSet::all(),
            );
            sources.send(&mut updates);
            took.push((sealed(worker, &mut sources, &views, epoch), epoch));
        }
        took.sort_by(|a, b| a.0.total_cmp(&b.0));
        let of = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let ((p50, _), (p99, _), (longest, when)) = (of(0.5), of(0.99), of(1.0));
        let when = (when as f64 - midnight as f64) / 1e3;
        println!(
            "{} epochs of {step} ms: p50 {p50:.2} ms, p99 {p99:.2} ms, longest {longest:.2} ms \
             ({when:.2} s after midnight)",
            took.len()
        );
        for (ms, at) in took.iter().rev().take(5) {
            println!("  {ms:8.2} ms at {:+.2} s", (*at as f64 - midnight as f64) / 1e3);
        }
        assert_eq!(views.anomalies(), 0);
    });
}
