//! The view `customers`, plainly: events in the order of (time, id, source), later ones over
//! earlier ones.

use std::collections::BTreeMap;

use schemas::events::{Data, Event, Field};
use schemas::names::{Name, key_text};
use schemas::rows::Row;

use super::rows::Facts;
use super::{MAX_CASES, MAX_NAMES, fixed};
use crate::Epoch;
use crate::erased::Plain;

/// The view over these events.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let gone = Plain::of(events);
    let mut sorted: Vec<&Event<'static>> = events.iter().collect();
    sorted.sort_by_key(|it| (it.time, &it.id, &it.source));
    /// The row, the newest value of each free attribute, of each case the place of the newest
    /// statement among all and whether it leaves the case open.
    type Known<'e> = (Facts, BTreeMap<&'e str, Option<&'e str>>, BTreeMap<&'e str, (usize, bool)>);
    let mut all: BTreeMap<(&str, &str), Known<'_>> = BTreeMap::new();
    for (place, event) in sorted.into_iter().enumerate() {
        let other = match &event.data {
            Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => {
                (it.other != it.customer).then_some(&it.other)
            }
            _ => None,
        };
        let customer = match &event.data {
            Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => Some(&it.customer),
            Data::OrderPlaced(it) => Some(&it.customer),
            Data::OrderStatusChanged(it) => it.customer.as_ref(),
            Data::OrderCancelled(it) | Data::OrderReturned(it) => it.customer.as_ref(),
            Data::FeedbackSubmitted(it) => it.customer.as_ref(),
            Data::CaseOpened(it) => Some(&it.customer),
            Data::CaseAssigned(it) => it.customer.as_ref(),
            Data::CaseResolved(it) => it.customer.as_ref(),
            Data::InteractionRecorded(it) => Some(&it.customer),
            Data::CustomerIdentified(it) | Data::CustomerUnlinked(it) => Some(&it.customer),
            Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => {
                Some(&it.customer)
            }
            Data::MessagePlanned(_) | Data::MessageAnswered(_) | Data::MessageMarked(_) => None,
            Data::RecordUpserted(_) | Data::RecordDeleted(_) | Data::LoadMeasured(_) => None,
            Data::CustomerErased(_) => None,
            Data::SystemMeasured(_) => None,
        };
        let named = customer.into_iter().chain(other);
        for customer in named.filter(|it| !gone.has(&event.tenant, it)) {
            let (facts, attributes, cases) =
                all.entry((&event.tenant, customer)).or_insert_with(|| {
                    (Facts::new(customer.as_ref().into()), BTreeMap::new(), BTreeMap::new())
                });
            facts.n_events += 1;
            facts.seen = (facts.seen.0.min(event.time), facts.seen.1.max(event.time));
            match &event.data {
                Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => {
                    for (place, said) in fixed(it).into_iter().enumerate() {
                        match said {
                            Field::Absent => {}
                            Field::Withdrawn => facts.fixed[place] = None,
                            Field::Is(text) => facts.fixed[place] = Some(text.as_ref().into()),
                        }
                    }
                    for (name, value) in &it.attributes {
                        attributes.insert(name, value.as_deref());
                    }
                }
                Data::OrderPlaced(it) => {
                    facts.n_orders += 1;
                    let amount: i64 = it.lines.iter().map(|it| it.quantity * it.unit_price).sum();
                    let sum = facts.spend.entry(it.currency).or_insert(0);
                    *sum = sum.saturating_add(amount);
                }
                Data::OrderCancelled(it) | Data::OrderReturned(it) => {
                    if let (Some(amount), Some(currency)) = (it.amount, it.currency) {
                        let cancelled = matches!(event.data, Data::OrderCancelled(_));
                        let sums =
                            if cancelled { &mut facts.cancelled } else { &mut facts.returned };
                        let sum = sums.entry(currency).or_insert(0);
                        *sum = sum.saturating_add(amount);
                    }
                }
                Data::FeedbackSubmitted(it) => {
                    facts.n_ratings += u64::from(it.rating.is_some());
                    facts.rating_sum += u64::from(it.rating.unwrap_or(0));
                }
                Data::CaseOpened(it) => {
                    facts.n_cases += 1;
                    cases.insert(&it.case, (place, true));
                }
                Data::CaseAssigned(it) => drop(cases.insert(&it.case, (place, true))),
                Data::CaseResolved(it) => drop(cases.insert(&it.case, (place, false))),
                Data::OrderStatusChanged(_)
                | Data::InteractionRecorded(_)
                | Data::RecordUpserted(_)
                | Data::RecordDeleted(_)
                | Data::MessagePlanned(_)
                | Data::MessageAnswered(_)
                | Data::MessageMarked(_)
                | Data::LoadMeasured(_)
                | Data::SystemMeasured(_)
                | Data::CustomerIdentified(_)
                | Data::CustomerUnlinked(_)
                | Data::CustomerLinkedByHand(_)
                | Data::CustomerSeparatedByHand(_)
                | Data::CustomerErased(_) => {}
            }
        }
    }
    let rows = all.into_iter().map(|((tenant, customer), (mut facts, attributes, cases))| {
        let kept = attributes.into_iter().take(MAX_NAMES);
        facts.attributes =
            kept.filter_map(|(name, value)| Some((name.into(), value?.into()))).collect();
        let mut newest: Vec<(usize, bool)> = cases.into_values().collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        facts.n_open_cases = newest.iter().take(MAX_CASES).filter(|it| it.1).count() as u64;
        (Name::new(tenant, &key_text(&[customer])), facts.row())
    });
    rows.collect()
}
