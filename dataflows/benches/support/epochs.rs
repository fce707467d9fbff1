//! What benches of single epochs share: events, and how long an epoch takes until it can be read.

use std::time::Instant;

use dataflows::catalogue::{Sources, Views};
use schemas::events::{Data, Event, Line, OrderPlaced};
use schemas::names::{Currency, Secret};
use schemas::reading::Instants;
use timely::worker::Worker;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub(crate) const SECRET: Secret = Secret([7; 16]);
/// Events of an epoch while all that is there is taken in.
pub(crate) const EPOCH: usize = 30_000;

/// The `n`th event, of an instant in microseconds.
pub(crate) fn event(n: usize, time: i64, data: Data<'static>) -> Event<'static> {
    let id = format!("{n:012x}").into();
    Event { tenant: "default".into(), source: "/shop".into(), id, time, data }
}

/// An order of one line.
#[allow(dead_code, reason = "not every bench has orders")]
pub(crate) fn placed(order: String, customer: String, promised_at: Option<i64>) -> Data<'static> {
    Data::OrderPlaced(OrderPlaced {
        order: order.into(),
        customer: customer.into(),
        currency: Currency::parse("EUR").expect("three letters"),
        lines: vec![Line {
            sku: "S".into(),
            quantity: 1,
            unit_price: 100,
            ship_from: None,
            ship_to: None,
            carrier: None,
            seller: None,
        }],
        promised_at,
        channel: None,
    })
}

/// Seals an epoch; milliseconds until every view can be read at it.
pub(crate) fn sealed(worker: &mut Worker, sources: &mut Sources, views: &Views, epoch: u64) -> f64 {
    let began = Instant::now();
    sources.advance_to(epoch + 1);
    while views.clock().complete() < epoch {
        worker.step();
    }
    began.elapsed().as_secs_f64() * 1e3
}
