//! Whom and what an event concerns: the customers that it names, the order, case or intent that it
//! is about.

use crate::events::{Data, Event};

/// The customer that an event names, if it names one.
pub fn customer_of<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    match &event.data {
        Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => Some(&it.customer),
        Data::OrderPlaced(it) => Some(&it.customer),
        Data::OrderStatusChanged(it) => it.customer.as_deref(),
        Data::OrderCancelled(it) | Data::OrderReturned(it) => it.customer.as_deref(),
        Data::FeedbackSubmitted(it) => it.customer.as_deref(),
        Data::CaseOpened(it) => Some(&it.customer),
        Data::CaseAssigned(it) => it.customer.as_deref(),
        Data::CaseResolved(it) => it.customer.as_deref(),
        Data::InteractionRecorded(it) => Some(&it.customer),
        Data::CustomerIdentified(it) | Data::CustomerUnlinked(it) => Some(&it.customer),
        Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => Some(&it.customer),
        Data::MessagePlanned(it) => it.customer.as_deref(),
        Data::MessageAnswered(_) | Data::MessageMarked(_) => None,
        Data::RecordUpserted(_) | Data::RecordDeleted(_) | Data::LoadMeasured(_) => None,
        Data::CustomerErased(_) | Data::SystemMeasured(_) => None,
    }
}

/// Both customers that an event names, where it names two.
pub fn customers_of<'e>(event: &'e Event<'_>) -> impl Iterator<Item = &'e str> {
    let other = match &event.data {
        Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => Some(&*it.other),
        _ => None,
    };
    customer_of(event).into_iter().chain(other)
}

/// The order, the case or the intent that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About<'e> {
    /// An order.
    Order(&'e str),
    /// A case.
    Case(&'e str),
    /// An intent.
    Message(&'e str),
}

/// What an event is about besides a customer.
pub fn about<'e>(event: &'e Event<'_>) -> Option<About<'e>> {
    Some(match &event.data {
        Data::OrderPlaced(it) => About::Order(&it.order),
        Data::OrderStatusChanged(it) => About::Order(&it.order),
        Data::OrderCancelled(it) | Data::OrderReturned(it) => About::Order(&it.order),
        Data::CaseOpened(it) => About::Case(&it.case),
        Data::CaseAssigned(it) => About::Case(&it.case),
        Data::CaseResolved(it) => About::Case(&it.case),
        Data::MessagePlanned(it) => About::Message(&it.message),
        Data::MessageAnswered(it) => About::Message(&it.message),
        Data::MessageMarked(it) => About::Message(&it.message),
        _ => return None,
    })
}
