//! What happened before the demonstration began, so that there is something to say from the first
//! minute on: calls by the hour, two weeks of them; and orders of regular customers, four weeks of
//! them, most of which arrived.
//!
//! # Meaning
//! Each event depends on its hour or its day alone, and is there once that has ended: who asks later
//! gets the same and more. Calls are few by night and on Sundays, most at ten and at three, and a
//! tenth more or less by a hash. A regular customer orders every other day for sixteen days and then
//! not for as long, each at another time. On one day of ten some orders are shipped and never heard
//! of again, and on another some are said to be delivered before they were shipped.

use schemas::encode;
use schemas::events::{
    Customer, Data, Event, Field, Line, LoadMeasured, OrderPlaced, OrderStatusChanged, Status,
};
use schemas::names::Currency;
use schemas::time::rfc3339;

use super::{TENANTS, article, words};

/// Days that were measured.
const DAYS: i64 = 14;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// Days of which there are orders.
const ORDERED: i64 = 28;
/// Customers who come again and again, of each tenant.
const REGULARS: i64 = 8;
/// So many days they order, and so many they do not.
const SPELL: i64 = 16;
/// When they were registered: 2025-01-01T00:00:00Z.
const REGISTERED: i64 = 1_735_689_600_000_000;
/// Calls of an hour of a weekday, by hour of the day.
const USUAL: [i64; 24] = [
    6, 4, 3, 3, 4, 8, 19, 42, 88, 121, 134, 126, 104, 109, 125, 131, 118, 96, 71, 52, 38, 27, 17,
    10,
];
/// Percent of it, from Thursday (the first of January 1970 was one) to Wednesday.
const WEEK: [i64; 7] = [100, 94, 61, 33, 117, 104, 99];

/// The events: calls of every hour of every tenant that had ended at `start_ms`, oldest first; then
/// the regular customers, and what became of their orders until the day before.
pub fn past(start_ms: u64) -> impl Iterator<Item = Vec<u8>> {
    let now = start_ms.cast_signed().saturating_mul(1_000);
    let (end, today) = (now.div_euclid(HOUR), now.div_euclid(DAY));
    let calls =
        (end - DAYS * 24..end).flat_map(|hour| TENANTS.map(|tenant| measured(tenant, hour)));
    let who = TENANTS.into_iter().flat_map(|it| (1..=REGULARS).map(move |n| registered(it, n)));
    let days = today - ORDERED..today;
    let orders = days.flat_map(|day| TENANTS.into_iter().flat_map(move |it| ordered(it, day)));
    let known = orders.filter(move |it| it.time < today * DAY).map(|it| encode::structured(&it));
    calls.chain(who).chain(known)
}

fn registered(tenant: &'static str, regular: i64) -> Vec<u8> {
    let customer = format!("R-{regular}");
    let country = words::COUNTRIES[regular as usize % words::COUNTRIES.len()];
    let data = Data::CustomerRegistered(Box::new(Customer {
        email: Field::Is(format!("regular-{regular}@{tenant}.example").into()),
        tier: Field::Is(words::TIERS[regular as usize % words::TIERS.len()].into()),
        language: Field::Is(country.1.into()),
        country: Field::Is(country.0.into()),
        customer: customer.clone().into(),
        ..Customer::default()
    }));
    encode::structured(&said(tenant, format!("past/{customer}"), REGISTERED, data))
}

/// What became of the orders of a day.
fn ordered(tenant: &'static str, day: i64) -> Vec<Event<'static>> {
    let orders = |n: &i64| {
        let day = day + 5 * n;
        day.div_euclid(SPELL).rem_euclid(2) == 0 && day.rem_euclid(2) == 0
    };
    (1..=REGULARS).filter(orders).flat_map(|n| order(tenant, day, n)).collect()
}

/// An order's way, whose first step is of this day.
fn order(tenant: &'static str, day: i64, regular: i64) -> Vec<Event<'static>> {
    let (order, customer) = (format!("P-{day}-{regular}"), format!("R-{regular}"));
    // The upper bits of a product with an odd number are as good as any.
    let luck = ((day * 64 + regular) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let luck = luck.cast_signed();
    let placed_at = day * DAY + (7 + luck % 12) * HOUR;
    let from = (luck % 3) as usize;
    let placed = Data::OrderPlaced(OrderPlaced {
        order: order.clone().into(),
        customer: customer.clone().into(),
        currency: Currency::parse("EUR").unwrap_or_default(),
        lines: vec![Line {
            sku: article(luck.unsigned_abs() % 400).into(),
            quantity: 1 + luck % 2,
            unit_price: 1_900 + luck % 9_000,
            ship_from: Some(words::WAREHOUSES[from].into()),
            ship_to: None,
            carrier: Some(words::CARRIERS[(luck / 3 % 3) as usize].into()),
            seller: None,
        }],
        promised_at: Some(placed_at + 5 * DAY),
        channel: Some("web".into()),
    });
    let first = said(tenant, format!("past/{order}/placed"), placed_at, placed);
    let step = |status: Status, at: i64| {
        let data = Data::OrderStatusChanged(OrderStatusChanged {
            order: order.clone().into(),
            status,
            line: None,
            customer: Some(customer.clone().into()),
        });
        said(tenant, format!("past/{order}/{}", status.as_str()), at, data)
    };
    let shipped_at = placed_at + (20 + luck % 24) * HOUR;
    // Two to four days, a day more from the port.
    let arrives_at = shipped_at + (40 + luck / 7 % 48 + if from == 2 { 24 } else { 0 }) * HOUR;
    let (is_lost, is_odd) = (day % 10 == 3 && regular % 2 == 1, day % 10 == 4 && regular % 4 == 2);
    let delivered_at = if is_odd { shipped_at - HOUR } else { arrives_at };
    let mut way = vec![
        first,
        step(Status::Paid, placed_at + HOUR / 2),
        step(Status::InProduction, placed_at + 3 * HOUR),
        step(Status::Shipped, shipped_at),
    ];
    way.extend((!is_lost).then(|| step(Status::Delivered, delivered_at)));
    way
}

fn said(tenant: &'static str, id: String, time: i64, data: Data<'static>) -> Event<'static> {
    Event { tenant: tenant.into(), source: "/demo/shop".into(), id: id.into(), time, data }
}

fn measured(tenant: &'static str, hour: i64) -> Vec<u8> {
    let time = hour * HOUR;
    let event = Event {
        tenant: tenant.into(),
        source: "/demo/exchange".into(),
        id: format!("{}/calls", rfc3339(time)).into(),
        time,
        data: Data::LoadMeasured(LoadMeasured {
            series: "calls".into(),
            bucket_minutes: 60,
            value: calls(hour),
        }),
    };
    encode::structured(&event)
}

fn calls(hour: i64) -> i64 {
    let (day, of_day) = (hour.div_euclid(24), hour.rem_euclid(24) as usize);
    let usual = USUAL[of_day] * WEEK[day.rem_euclid(7) as usize] / 100;
    // The upper bits of a product with an odd number are as good as any.
    let noise = (hour as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usual * (90 + (noise % 21).cast_signed()) / 100
}
