//! The typed events of the contract: what a producer may say.
//!
//! # Meaning
//! An [`Event`] is one past-tense fact about one entity. (tenant, source, id) is its identity.
//! `time` is event time in microseconds since the Unix epoch. Text is borrowed from the record
//! where it could be, owned only where it had escapes.
//!
//! # Limits
//! Identifiers: 1 to 128 bytes, no control characters. Text: 32 KiB. Amounts: integer minor
//! units, 0 to 10^13. An order: 1 to 256 lines. Attributes: 64, names up to 128 bytes.

use std::borrow::Cow;

use crate::names::Currency;

pub use crate::identity::{ByHand, Erased, Identified, MAX_ERASED};
pub use crate::messages::{ENDED, MARKS, MessageAnswered, MessageMarked, MessagePlanned, OUTCOMES};
pub use crate::records::{RecordDeleted, RecordUpserted};

/// Borrowed where it can be.
pub type Text<'a> = Cow<'a, str>;

/// Most lines of one order.
pub const MAX_LINES: usize = 256;
/// Most attributes in one customer event.
pub const MAX_ATTRIBUTES: usize = 64;
/// Most skills of one case.
pub const MAX_SKILLS: usize = 32;
/// Longest free text, in bytes.
pub const MAX_TEXT_BYTES: usize = 32 * 1024;

/// The source of the desk's own decisions; the id of such an event is the key of the request.
pub const DESK: &str = "urn:millstream:desk";

/// The source of what rules decided to say, and of what became of it.
pub const NOTIFY: &str = "urn:millstream:notify";

/// The source of what the process measured of itself.
pub const CAPACITY: &str = "urn:millstream:capacity";

/// One statement about one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Whose event; `default` where the producer names none.
    pub tenant: Text<'a>,
    /// CloudEvents' source.
    pub source: Text<'a>,
    /// CloudEvents' id; unique within (tenant, source).
    pub id: Text<'a>,
    /// Event time, microseconds since the Unix epoch; never negative.
    pub time: i64,
    /// What is said.
    pub data: Data<'a>,
}

/// What is said, by `type`. What is large and rare is boxed: every event is as large as the
/// largest of these, and is moved a few times on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<'a> {
    /// `customer.registered`
    CustomerRegistered(Box<Customer<'a>>),
    /// `customer.updated`
    CustomerUpdated(Box<Customer<'a>>),
    /// `order.placed`
    OrderPlaced(OrderPlaced<'a>),
    /// `order.status_changed`
    OrderStatusChanged(OrderStatusChanged<'a>),
    /// `order.cancelled`
    OrderCancelled(OrderReversed<'a>),
    /// `order.returned`
    OrderReturned(OrderReversed<'a>),
    /// `feedback.submitted`
    FeedbackSubmitted(FeedbackSubmitted<'a>),
    /// `case.opened`
    CaseOpened(CaseOpened<'a>),
    /// `case.assigned`
    CaseAssigned(CaseAssigned<'a>),
    /// `case.resolved`
    CaseResolved(CaseResolved<'a>),
    /// `interaction.recorded`
    InteractionRecorded(InteractionRecorded<'a>),
    /// `record.upserted`
    RecordUpserted(RecordUpserted<'a>),
    /// `record.deleted`
    RecordDeleted(RecordDeleted<'a>),
    /// `message.planned`
    MessagePlanned(Box<MessagePlanned<'a>>),
    /// `message.answered`
    MessageAnswered(MessageAnswered<'a>),
    /// `load.measured`
    LoadMeasured(LoadMeasured<'a>),
    /// `message.marked`
    MessageMarked(MessageMarked<'a>),
    /// `customer.identified`
    CustomerIdentified(Identified<'a>),
    /// `customer.unlinked`
    CustomerUnlinked(Identified<'a>),
    /// `customer.linked_by_hand`
    CustomerLinkedByHand(ByHand<'a>),
    /// `customer.separated_by_hand`
    CustomerSeparatedByHand(ByHand<'a>),
    /// `customer.erased`
    CustomerErased(Erased<'a>),
    /// `system.measured`
    SystemMeasured(SystemMeasured<'a>),
}

/// The types of this contract, in one list; the order is part of no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventType {
    /// `customer.registered`
    CustomerRegistered,
    /// `customer.updated`
    CustomerUpdated,
    /// `order.placed`
    OrderPlaced,
    /// `order.status_changed`
    OrderStatusChanged,
    /// `order.cancelled`
    OrderCancelled,
    /// `order.returned`
    OrderReturned,
    /// `feedback.submitted`
    FeedbackSubmitted,
    /// `case.opened`
    CaseOpened,
    /// `case.assigned`
    CaseAssigned,
    /// `case.resolved`
    CaseResolved,
    /// `interaction.recorded`
    InteractionRecorded,
    /// `record.upserted`
    RecordUpserted,
    /// `record.deleted`
    RecordDeleted,
    /// `message.planned`
    MessagePlanned,
    /// `message.answered`
    MessageAnswered,
    /// `load.measured`
    LoadMeasured,
    /// `message.marked`
    MessageMarked,
    /// `customer.identified`
    CustomerIdentified,
    /// `customer.unlinked`
    CustomerUnlinked,
    /// `customer.linked_by_hand`
    CustomerLinkedByHand,
    /// `customer.separated_by_hand`
    CustomerSeparatedByHand,
    /// `customer.erased`
    CustomerErased,
    /// `system.measured`
    SystemMeasured,
}

impl EventType {
    /// Every type.
    pub const ALL: [EventType; 23] = [
        EventType::CustomerRegistered,
        EventType::CustomerUpdated,
        EventType::OrderPlaced,
        EventType::OrderStatusChanged,
        EventType::OrderCancelled,
        EventType::OrderReturned,
        EventType::FeedbackSubmitted,
        EventType::CaseOpened,
        EventType::CaseAssigned,
        EventType::CaseResolved,
        EventType::InteractionRecorded,
        EventType::RecordUpserted,
        EventType::RecordDeleted,
        EventType::MessagePlanned,
        EventType::MessageAnswered,
        EventType::LoadMeasured,
        EventType::MessageMarked,
        EventType::CustomerIdentified,
        EventType::CustomerUnlinked,
        EventType::CustomerLinkedByHand,
        EventType::CustomerSeparatedByHand,
        EventType::CustomerErased,
        EventType::SystemMeasured,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventType::CustomerRegistered => "customer.registered",
            EventType::CustomerUpdated => "customer.updated",
            EventType::OrderPlaced => "order.placed",
            EventType::OrderStatusChanged => "order.status_changed",
            EventType::OrderCancelled => "order.cancelled",
            EventType::OrderReturned => "order.returned",
            EventType::FeedbackSubmitted => "feedback.submitted",
            EventType::CaseOpened => "case.opened",
            EventType::CaseAssigned => "case.assigned",
            EventType::CaseResolved => "case.resolved",
            EventType::InteractionRecorded => "interaction.recorded",
            EventType::RecordUpserted => "record.upserted",
            EventType::RecordDeleted => "record.deleted",
            EventType::MessagePlanned => "message.planned",
            EventType::MessageAnswered => "message.answered",
            EventType::LoadMeasured => "load.measured",
            EventType::MessageMarked => "message.marked",
            EventType::CustomerIdentified => "customer.identified",
            EventType::CustomerUnlinked => "customer.unlinked",
            EventType::CustomerLinkedByHand => "customer.linked_by_hand",
            EventType::CustomerSeparatedByHand => "customer.separated_by_hand",
            EventType::CustomerErased => "customer.erased",
            EventType::SystemMeasured => "system.measured",
        }
    }

    /// The type with this name on the wire.
    pub fn parse(text: &str) -> Option<EventType> {
        Some(match text {
            "customer.registered" => EventType::CustomerRegistered,
            "customer.updated" => EventType::CustomerUpdated,
            "order.placed" => EventType::OrderPlaced,
            "order.status_changed" => EventType::OrderStatusChanged,
            "order.cancelled" => EventType::OrderCancelled,
            "order.returned" => EventType::OrderReturned,
            "feedback.submitted" => EventType::FeedbackSubmitted,
            "case.opened" => EventType::CaseOpened,
            "case.assigned" => EventType::CaseAssigned,
            "case.resolved" => EventType::CaseResolved,
            "interaction.recorded" => EventType::InteractionRecorded,
            "record.upserted" => EventType::RecordUpserted,
            "record.deleted" => EventType::RecordDeleted,
            "message.planned" => EventType::MessagePlanned,
            "message.answered" => EventType::MessageAnswered,
            "load.measured" => EventType::LoadMeasured,
            "message.marked" => EventType::MessageMarked,
            "customer.identified" => EventType::CustomerIdentified,
            "customer.unlinked" => EventType::CustomerUnlinked,
            "customer.linked_by_hand" => EventType::CustomerLinkedByHand,
            "customer.separated_by_hand" => EventType::CustomerSeparatedByHand,
            "customer.erased" => EventType::CustomerErased,
            "system.measured" => EventType::SystemMeasured,
            _ => return None,
        })
    }
}

impl Data<'_> {
    /// Its type.
    #[inline]
    pub fn event_type(&self) -> EventType {
        match self {
            Data::CustomerRegistered(_) => EventType::CustomerRegistered,
            Data::CustomerUpdated(_) => EventType::CustomerUpdated,
            Data::OrderPlaced(_) => EventType::OrderPlaced,
            Data::OrderStatusChanged(_) => EventType::OrderStatusChanged,
            Data::OrderCancelled(_) => EventType::OrderCancelled,
            Data::OrderReturned(_) => EventType::OrderReturned,
            Data::FeedbackSubmitted(_) => EventType::FeedbackSubmitted,
            Data::CaseOpened(_) => EventType::CaseOpened,
            Data::CaseAssigned(_) => EventType::CaseAssigned,
            Data::CaseResolved(_) => EventType::CaseResolved,
            Data::InteractionRecorded(_) => EventType::InteractionRecorded,
            Data::RecordUpserted(_) => EventType::RecordUpserted,
            Data::RecordDeleted(_) => EventType::RecordDeleted,
            Data::MessagePlanned(_) => EventType::MessagePlanned,
            Data::MessageAnswered(_) => EventType::MessageAnswered,
            Data::LoadMeasured(_) => EventType::LoadMeasured,
            Data::MessageMarked(_) => EventType::MessageMarked,
            Data::CustomerIdentified(_) => EventType::CustomerIdentified,
            Data::CustomerUnlinked(_) => EventType::CustomerUnlinked,
            Data::CustomerLinkedByHand(_) => EventType::CustomerLinkedByHand,
            Data::CustomerSeparatedByHand(_) => EventType::CustomerSeparatedByHand,
            Data::CustomerErased(_) => EventType::CustomerErased,
            Data::SystemMeasured(_) => EventType::SystemMeasured,
        }
    }
}

/// `customer.registered`, `customer.updated`: any subset of the attributes; an absent one says
/// nothing, JSON `null` in an update withdraws the value.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Customer<'a> {
    /// The customer (also CloudEvents' subject).
    pub customer: Text<'a>,
    /// Full name.
    pub name: Field<'a>,
    /// E-mail address, as written.
    pub email: Field<'a>,
    /// Telephone number, as written.
    pub phone: Field<'a>,
    /// Service tier, such as `gold`.
    pub tier: Field<'a>,
    /// BCP 47 language tag.
    pub language: Field<'a>,
    /// ISO 3166-1 alpha-2 country.
    pub country: Field<'a>,
    /// IANA time zone.
    pub time_zone: Field<'a>,
    /// Anything else, by name; `None` withdraws.
    pub attributes: Vec<(Text<'a>, Option<Text<'a>>)>,
}

/// What an event says about one attribute.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Field<'a> {
    /// Nothing.
    #[default]
    Absent,
    /// That there is no such value any more.
    Withdrawn,
    /// That it is this.
    Is(Text<'a>),
}

/// `order.placed`
#[derive(Clone, Debug, PartialEq)]
pub struct OrderPlaced<'a> {
    /// The order (also the subject).
    pub order: Text<'a>,
    /// Who placed it.
    pub customer: Text<'a>,
    /// ISO 4217.
    pub currency: Currency,
    /// 1 to 256 lines.
    pub lines: Vec<Line<'a>>,
    /// When it was promised, microseconds since the Unix epoch.
    pub promised_at: Option<i64>,
    /// Such as `web`, `store`.
    pub channel: Option<Text<'a>>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// Article.
    pub sku: Text<'a>,
    /// 1 to 1,000,000.
    pub quantity: i64,
    /// Minor units.
    pub unit_price: i64,
    /// Warehouse it leaves from.
    pub ship_from: Option<Text<'a>>,
    /// Where it goes.
    pub ship_to: Option<Text<'a>>,
    /// Who carries it.
    pub carrier: Option<Text<'a>>,
    /// Who sells it.
    pub seller: Option<Text<'a>>,
}

/// Where an order, or one line of it, stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[repr(u8)]
pub enum Status {
    /// placed
    Placed,
    /// paid
    Paid,
    /// in_production
    InProduction,
    /// quality_checked
    QualityChecked,
    /// shipped
    Shipped,
    /// out_for_delivery
    OutForDelivery,
    /// delivered
    Delivered,
    /// cancelled
    Cancelled,
    /// returned
    Returned,
    /// problem
    Problem,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 10] = [
        Status::Placed,
        Status::Paid,
        Status::InProduction,
        Status::QualityChecked,
        Status::Shipped,
        Status::OutForDelivery,
        Status::Delivered,
        Status::Cancelled,
        Status::Returned,
        Status::Problem,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Placed => "placed",
            Status::Paid => "paid",
            Status::InProduction => "in_production",
            Status::QualityChecked => "quality_checked",
            Status::Shipped => "shipped",
            Status::OutForDelivery => "out_for_delivery",
            Status::Delivered => "delivered",
            Status::Cancelled => "cancelled",
            Status::Returned => "returned",
            Status::Problem => "problem",
        }
    }

    /// The status with this name.
    #[inline]
    pub fn parse(text: &str) -> Option<Status> {
        Some(match text {
            "placed" => Status::Placed,
            "paid" => Status::Paid,
            "in_production" => Status::InProduction,
            "quality_checked" => Status::QualityChecked,
            "shipped" => Status::Shipped,
            "out_for_delivery" => Status::OutForDelivery,
            "delivered" => Status::Delivered,
            "cancelled" => Status::Cancelled,
            "returned" => Status::Returned,
            "problem" => Status::Problem,
            _ => return None,
        })
    }
}

/// `order.status_changed`
#[derive(Clone, Debug, PartialEq)]
pub struct OrderStatusChanged<'a> {
    /// The order (also the subject).
    pub order: Text<'a>,
    /// The status it now has.
    pub status: Status,
    /// The line it is about, counted from 1; the whole order if absent.
    pub line: Option<u16>,
    /// Whose order.
    pub customer: Option<Text<'a>>,
}

/// `order.cancelled`, `order.returned`
#[derive(Clone, Debug, PartialEq)]
pub struct OrderReversed<'a> {
    /// The order (also the subject).
    pub order: Text<'a>,
    /// Whose order.
    pub customer: Option<Text<'a>>,
    /// Minor units; needs a currency.
    pub amount: Option<i64>,
    /// ISO 4217.
    pub currency: Option<Currency>,
    /// Why, in words.
    pub reason: Option<Text<'a>>,
}

/// `feedback.submitted`: about a customer or an order; a rating, a text, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedbackSubmitted<'a> {
    /// Who says it.
    pub customer: Option<Text<'a>>,
    /// About which order.
    pub order: Option<Text<'a>>,
    /// About which product.
    pub product: Option<Text<'a>>,
    /// 1 to 5.
    pub rating: Option<u8>,
    /// In words.
    pub text: Option<Text<'a>>,
}

/// `case.opened`
#[derive(Clone, Debug, PartialEq)]
pub struct CaseOpened<'a> {
    /// The case (also the subject).
    pub case: Text<'a>,
    /// Whose case.
    pub customer: Text<'a>,
    /// 1 (most severe) to 4.
    pub severity: u8,
    /// In words.
    pub text: Option<Text<'a>>,
    /// Where it waits.
    pub queue: Text<'a>,
    /// What it takes to solve it.
    pub skills: Vec<Text<'a>>,
}

/// `case.assigned`
#[derive(Clone, Debug, PartialEq)]
pub struct CaseAssigned<'a> {
    /// The case (also the subject).
    pub case: Text<'a>,
    /// Who works on it.
    pub agent: Text<'a>,
    /// Where it now waits.
    pub queue: Option<Text<'a>>,
    /// Whose case.
    pub customer: Option<Text<'a>>,
    /// When the assignment ends, microseconds since the Unix epoch: from then on the case waits
    /// again.
    pub until: Option<i64>,
}

/// `case.resolved`
#[derive(Clone, Debug, PartialEq)]
pub struct CaseResolved<'a> {
    /// The case (also the subject).
    pub case: Text<'a>,
    /// Whose case.
    pub customer: Option<Text<'a>>,
    /// How, in words.
    pub resolution: Option<Text<'a>>,
}

/// `load.measured`: what came of something within a bucket of time, the one that the event's time lies
/// in. Buckets are counted from the Unix epoch; what is said of one twice is added up.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadMeasured<'a> {
    /// What was measured (also the subject).
    pub series: Text<'a>,
    /// How long a bucket is: 1 to 1,440 minutes.
    pub bucket_minutes: u16,
    /// How much, in whole units: 0 to 10^13.
    pub value: i64,
}

/// `system.measured`: what a process of ours did in the time up to the event's own, and how long its
/// workers were busy with it.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemMeasured<'a> {
    /// Which process (also the subject).
    pub process: Text<'a>,
    /// How long was measured: 1 to 31,622,400 seconds.
    pub seconds: i64,
    /// Events that were applied: 1 to 10^13.
    pub n_events: i64,
    /// How long all workers together were busy: 1 to 10^13 microseconds.
    pub busy_micros: i64,
    /// Workers: 1 to 65,535.
    pub workers: u16,
    /// Processors that the process may use: 1 to 65,535.
    pub processors: u16,
}

/// `interaction.recorded`
#[derive(Clone, Debug, PartialEq)]
pub struct InteractionRecorded<'a> {
    /// Who.
    pub customer: Text<'a>,
    /// Such as `web`.
    pub channel: Text<'a>,
    /// Such as `view`.
    pub action: Text<'a>,
    /// On what.
    pub target: Option<Text<'a>>,
    /// In words.
    pub text: Option<Text<'a>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the two tables of names say the same.
    #[test]
    fn names_are_read_as_they_are_written() {
        for it in EventType::ALL {
            assert_eq!(EventType::parse(it.as_str()), Some(it));
        }
        for it in Status::ALL {
            assert_eq!(Status::parse(it.as_str()), Some(it));
        }
        assert_eq!(EventType::parse("order.Placed"), None);
        assert_eq!(Status::parse(""), None);
    }
}
