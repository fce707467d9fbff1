//! The view `orders`, plainly: per order its events in the order of (time, id, source).

use std::collections::{BTreeMap, BTreeSet};

use schemas::events::{Data, Event, Status};
use schemas::names::{Name, key_text};
use schemas::rows::Row;

use super::rows::{Facts, Line};
use crate::Epoch;
use crate::erased::{About, Plain};

/// The view over these events at this instant.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut orders: BTreeMap<(&str, &str), Vec<&Event<'static>>> = BTreeMap::new();
    for event in events {
        let order = match &event.data {
            Data::OrderPlaced(it) => &it.order,
            Data::OrderStatusChanged(it) => &it.order,
            Data::OrderCancelled(it) | Data::OrderReturned(it) => &it.order,
            _ => continue,
        };
        orders.entry((&event.tenant, order)).or_default().push(event);
    }
    let mut rows = BTreeMap::new();
    let gone = Plain::of(events);
    orders.retain(|(tenant, order), _| !gone.has_thing(tenant, About::Order(order)));
    for ((tenant, order), mut said) in orders {
        said.sort_by_key(|it| (it.time, &it.id, &it.source));
        let facts = one(order, &said, now as i64 * 1_000);
        rows.insert(Name::new(tenant, &key_text(&[order])), facts.row());
    }
    rows
}

/// One order of its sorted events.
fn one(order: &str, said: &[&Event<'static>], now: i64) -> Facts {
    let mut facts = Facts { order: order.into(), ..Facts::default() };
    let mut customer_if_never_placed = None;
    let mut line_statuses = BTreeMap::new();
    for event in said {
        match &event.data {
            Data::OrderPlaced(it) => {
                facts.customer = Some(it.customer.as_ref().into());
                facts.channel = it.channel.as_deref().map(|it| it.into());
                let amount = it.lines.iter().map(|it| it.quantity * it.unit_price).sum();
                facts.money = Some((it.currency, amount));
                facts.placed_at = Some(event.time);
                facts.promised_at = it.promised_at;
                let text = |it: &Option<std::borrow::Cow<'_, str>>| it.as_deref().map(String::from);
                let lines = it.lines.iter().map(|it| Line {
                    sku: it.sku.to_string(),
                    quantity: it.quantity,
                    unit_price: it.unit_price,
                    way: [&it.ship_from, &it.ship_to, &it.carrier, &it.seller].map(text),
                    status: None,
                });
                facts.lines = lines.collect();
            }
            Data::OrderStatusChanged(it) => {
                customer_if_never_placed = it.customer.as_deref().or(customer_if_never_placed);
            }
            Data::OrderCancelled(it) | Data::OrderReturned(it) => {
                customer_if_never_placed = it.customer.as_deref().or(customer_if_never_placed);
                let cancelled = matches!(event.data, Data::OrderCancelled(_));
                let sums = if cancelled { &mut facts.cancelled } else { &mut facts.returned };
                if let (Some(amount), Some(currency)) = (it.amount, it.currency) {
                    *sums.amounts.entry(currency).or_insert(0) += amount;
                }
                sums.reason = it.reason.as_deref().map(|it| it.into()).or(sums.reason.take());
            }
            _ => {}
        }
        let (status, line) = match &event.data {
            Data::OrderPlaced(_) => (Status::Placed, 0),
            Data::OrderStatusChanged(it) => (it.status, it.line.unwrap_or(0)),
            Data::OrderCancelled(_) => (Status::Cancelled, 0),
            _ => (Status::Returned, 0),
        };
        facts.timeline.push((event.time, status, line));
        if line > 0 {
            line_statuses.insert(line, status);
            continue;
        }
        facts.status = Some(status);
        let first = match status {
            Status::Delivered => &mut facts.delivered_at,
            Status::Cancelled => &mut facts.cancelled.at,
            Status::Returned => &mut facts.returned.at,
            _ => continue,
        };
        *first = first.or(Some(event.time));
    }
    if facts.money.is_none() {
        facts.customer = customer_if_never_placed.map(|it| it.into());
    }
    for (line, place) in facts.lines.iter_mut().zip(1..) {
        line.status = line_statuses.get(&place).copied();
    }
    let settled = [facts.delivered_at, facts.cancelled.at].into_iter().flatten().min();
    facts.late = facts.promised_at.map(|promised| settled.unwrap_or(now) > promised);
    facts.timeline = bounded(std::mem::take(&mut facts.timeline));
    facts
}

/// The 256 newest, and the newest of the order and of each of its first 256 lines.
fn bounded(timeline: Vec<(i64, Status, u16)>) -> Vec<(i64, Status, u16)> {
    let beyond = timeline.len().saturating_sub(256);
    let mut kept: BTreeSet<usize> = (beyond..timeline.len()).collect();
    for line in 0..=256 {
        kept.extend(timeline.iter().rposition(|it| it.2 == line));
    }
    kept.into_iter().map(|place| timeline[place]).collect()
}
