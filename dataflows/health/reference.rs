//! The view `health`, plainly: per customer all that was said, in maps, then the newest of it.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::{Data, Event, OrderReversed, Status};
use schemas::names::{Currency, Name, key_text};
use schemas::rows::{Row, Value};

use super::facts::{
    CELLS_MAX, Cell, Facts, SPAN, STATEMENTS_MAX, Statement, TEXTS_MAX, Texts, What,
};
use super::{DEF, offset_of, standing, values};
use crate::models::opinion::text_of;
use crate::{Epoch, sentiment};

const DAY_MS: i64 = 86_400_000;

/// All that was said of a customer.
#[derive(Default)]
struct Plain<'e> {
    bought: BTreeMap<(i64, Currency), (u64, i64)>,
    texts: BTreeMap<i64, (u64, i64)>,
    /// Of a kind, about an order or a case, the instant and the promise.
    said: BTreeMap<(What, &'e str), (i64, i64)>,
}

/// The view over these events at this instant.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let rows = each(events).into_iter().filter_map(|(name, facts)| {
        let values = row(&name, &facts, now)?;
        Some((name, Row { values }))
    });
    rows.collect()
}

fn row(whom: &Name, facts: &Facts, now: Epoch) -> Option<Vec<Value>> {
    let day = (now as i64 - i64::from(facts.offset)).div_euclid(DAY_MS);
    let all: Vec<usize> = (0..DEF.fields.len()).collect();
    values(whom, facts, day, &all)
}

/// Of each of these persons what the row says, had all that was said of the members been said of one
/// customer, on the same days.
pub(crate) fn of_persons(
    events: &[Event<'static>],
    persons: impl Iterator<Item = (Name, Vec<Name>)>,
    now: Epoch,
) -> BTreeMap<Name, Vec<Value>> {
    let all = all(events);
    let rows = persons.filter_map(|(person, members)| {
        let mut one = Plain::default();
        for it in members.iter().filter_map(|it| all.get(it)) {
            for (cell, (n, amount)) in &it.bought {
                let sum = one.bought.entry(*cell).or_default();
                *sum = (sum.0 + n, sum.1 + amount);
            }
            for (day, (n, score)) in &it.texts {
                let sum = one.texts.entry(*day).or_default();
                *sum = (sum.0 + n, sum.1 + score);
            }
            for (about, said) in &it.said {
                let newest = one.said.entry(*about).or_insert(*said);
                *newest = (*newest).max(*said);
            }
        }
        let row = row(&person, &one.facts(&crate::key_id(&person)), now)?;
        Some((person, row))
    });
    rows.collect()
}

/// Of customers who opened cases: the band, and the better one before.
pub(crate) fn standings(
    events: &[Event<'static>],
    now: Epoch,
) -> BTreeMap<Name, (CompactString, Option<CompactString>)> {
    let opened = |it: &Facts| it.said.iter().any(|it| it.what == What::Opened);
    let all = each(events).into_iter().filter(|it| opened(&it.1));
    all.filter_map(|(name, facts)| {
        let day = (now as i64 - i64::from(facts.offset)).div_euclid(DAY_MS);
        Some((name, standing(&facts, day)?))
    })
    .collect()
}

/// What is known of each customer.
fn each(events: &[Event<'static>]) -> BTreeMap<Name, Facts> {
    let facts = |(name, plain): (Name, Plain<'_>)| {
        let facts = plain.facts(&crate::key_id(&name));
        (name, facts)
    };
    all(events).into_iter().map(facts).collect()
}

/// All that was said of each customer.
fn all<'e>(events: &'e [Event<'static>]) -> BTreeMap<Name, Plain<'e>> {
    let mut customers: BTreeMap<(&str, &str), Plain<'_>> = BTreeMap::new();
    let gone = crate::erased::Plain::of(events);
    for event in events.iter().filter(|it| !gone.names(it)) {
        let at = event.time.div_euclid(1_000);
        let amount = |it: &OrderReversed<'_>, sign| {
            it.currency.zip(it.amount).map(|it| (it.0, 0, sign * it.1))
        };
        // Whom it is about; orders and money; what is said about which order or case, with a promise.
        type Money = Option<(Currency, u64, i64)>;
        let (customer, money, statement): (Option<&str>, Money, _) = match &event.data {
            Data::OrderPlaced(it) => {
                let sum = it.lines.iter().map(|it| it.quantity * it.unit_price).sum();
                let promised = it.promised_at.map(|it| it.div_euclid(1_000));
                let promised = promised.filter(|it| (it - at).abs() <= SPAN * DAY_MS);
                let said = promised.map(|promised| (What::Promised, &*it.order, promised));
                (Some(&it.customer), Some((it.currency, 1, sum)), said)
            }
            Data::OrderStatusChanged(it) => {
                let what = match (it.line, it.status) {
                    (None, Status::Delivered) => What::Delivered,
                    (None, Status::Cancelled) => What::Cancelled,
                    _ => continue,
                };
                (it.customer.as_deref(), None, Some((what, &*it.order, 0)))
            }
            Data::OrderCancelled(it) => {
                (it.customer.as_deref(), amount(it, -1), Some((What::Cancelled, &*it.order, 0)))
            }
            Data::OrderReturned(it) => (it.customer.as_deref(), amount(it, -1), None),
            Data::CaseOpened(it) => (Some(&it.customer), None, Some((What::Opened, &*it.case, 0))),
            Data::CaseResolved(it) => {
                (it.customer.as_deref(), None, Some((What::Resolved, &*it.case, 0)))
            }
            _ => (sentiment::about(event).0, None, None),
        };
        let Some(customer) = customer else { continue };
        let text = text_of(event).filter(|_| sentiment::about(event).0.is_some());
        if money.is_none() && statement.is_none() && text.is_none() {
            continue;
        }
        let plain = customers.entry((&event.tenant, customer)).or_default();
        let day = (at - i64::from(offset_of(customer))).div_euclid(DAY_MS);
        if let Some((currency, n, amount)) = money {
            let cell = plain.bought.entry((day, currency)).or_default();
            (cell.0, cell.1) = (cell.0 + n, cell.1 + amount);
        }
        if let Some((what, about, promised)) = statement {
            let newest = plain.said.entry((what, about)).or_insert((at, promised));
            *newest = (*newest).max((at, promised));
        }
        if let Some(text) = text {
            let texts = plain.texts.entry(day).or_default();
            let score = sentiment::plainly(text).0.score;
            (texts.0, texts.1) = (texts.0 + 1, texts.1 + i64::from(score));
        }
    }
    let named = customers
        .into_iter()
        .map(|((tenant, customer), plain)| (Name::new(tenant, &key_text(&[customer])), plain));
    named.collect()
}

impl Plain<'_> {
    /// The newest of it.
    fn facts(self, customer: &str) -> Facts {
        let mut bought: Vec<Cell> = Vec::new();
        for ((day, currency), (n, amount)) in self.bought {
            bought.push(Cell { day, currency, n, amount });
        }
        let mut texts: Vec<Texts> = Vec::new();
        for (day, (n, score)) in self.texts {
            texts.push(Texts { day, n, score });
        }
        let mut ids: BTreeMap<&str, u64> = BTreeMap::new();
        let mut said: Vec<Statement> = Vec::new();
        for ((what, about), (at, promised)) in self.said {
            let next = ids.len() as u64;
            let id = *ids.entry(about).or_insert(next);
            said.push(Statement { at, promised, what, id });
        }
        said.sort();
        let newest = said.last().map_or(0, |it| it.at);
        said.retain(|it| it.at >= newest - SPAN * DAY_MS);
        bought.drain(..bought.len().saturating_sub(CELLS_MAX));
        texts.drain(..texts.len().saturating_sub(TEXTS_MAX));
        said.drain(..said.len().saturating_sub(STATEMENTS_MAX));
        Facts { offset: offset_of(customer), is_told_of: false, bought, texts, said }
    }
}
