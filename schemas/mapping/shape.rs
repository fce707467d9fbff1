//! What a mapping may fill in: the fields of each event type, by name and kind.
//!
//! The order is that in which `build` asks for them by place; it asserts the names.

use std::ops::RangeInclusive;

use crate::events::EventType;
use crate::limits;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 1 to 128 bytes, no control characters.
    Identifier,
    /// Free text.
    Text,
    /// An attribute of a customer, which may be withdrawn (`null = "withdraws"`).
    Clearable(Within),
    /// ISO 4217.
    Currency,
    /// A status of an order.
    Status,
    /// A whole number within these bounds.
    Integer(&'static RangeInclusive<i64>),
    /// ISO 3166-1 alpha-2.
    Country,
    /// Money, in minor units.
    Amount,
    /// A time.
    Time,
    /// Lines of an order.
    Lines,
    /// Attributes of a customer, by name.
    Attributes,
    /// A list of texts.
    Texts,
    /// An object, taken as it is written.
    Object,
}

/// What an attribute of a customer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Text,
    Identifier,
    /// ISO 3166-1 alpha-2.
    Country,
}

/// One field.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

const fn must(name: &'static str, kind: Kind) -> Spec {
    Spec { name, kind, required: true }
}

const fn may(name: &'static str, kind: Kind) -> Spec {
    Spec { name, kind, required: false }
}

/// The fields of every event, beside its data.
pub(super) static ENVELOPE: [Spec; 4] = [
    may("tenant", Kind::Identifier),
    must("source", Kind::Identifier),
    must("id", Kind::Identifier),
    must("time", Kind::Time),
];

static CUSTOMER: [Spec; 9] = [
    must("customer", Kind::Identifier),
    may("name", Kind::Clearable(Within::Text)),
    may("email", Kind::Clearable(Within::Text)),
    may("phone", Kind::Clearable(Within::Text)),
    may("tier", Kind::Clearable(Within::Identifier)),
    may("language", Kind::Clearable(Within::Identifier)),
    may("country", Kind::Clearable(Within::Country)),
    may("time_zone", Kind::Clearable(Within::Identifier)),
    may("attributes", Kind::Attributes),
];

static ORDER_PLACED: [Spec; 6] = [
    must("order", Kind::Identifier),
    must("customer", Kind::Identifier),
    must("currency", Kind::Currency),
    may("promised_at", Kind::Time),
    may("channel", Kind::Identifier),
    must("lines", Kind::Lines),
];

/// The fields of one line of an order.
pub(super) static LINE: [Spec; 7] = [
    must("sku", Kind::Identifier),
    must("quantity", Kind::Integer(&limits::QUANTITY)),
    must("unit_price", Kind::Amount),
    may("ship_from", Kind::Identifier),
    may("ship_to", Kind::Identifier),
    may("carrier", Kind::Identifier),
    may("seller", Kind::Identifier),
];

static ORDER_STATUS_CHANGED: [Spec; 4] = [
    must("order", Kind::Identifier),
    must("status", Kind::Status),
    may("line", Kind::Integer(&limits::LINE)),
    may("customer", Kind::Identifier),
];

static ORDER_REVERSED: [Spec; 5] = [
    must("order", Kind::Identifier),
    may("customer", Kind::Identifier),
    may("amount", Kind::Amount),
    may("currency", Kind::Currency),
    may("reason", Kind::Text),
];

static FEEDBACK_SUBMITTED: [Spec; 5] = [
    may("customer", Kind::Identifier),
    may("order", Kind::Identifier),
    may("product", Kind::Identifier),
    may("rating", Kind::Integer(&limits::RATING)),
    may("text", Kind::Text),
];

static CASE_OPENED: [Spec; 6] = [
    must("case", Kind::Identifier),
    must("customer", Kind::Identifier),
    must("severity", Kind::Integer(&limits::SEVERITY)),
    may("text", Kind::Text),
    must("queue", Kind::Identifier),
    may("skills", Kind::Texts),
];

static CASE_ASSIGNED: [Spec; 5] = [
    must("case", Kind::Identifier),
    must("agent", Kind::Identifier),
    may("queue", Kind::Identifier),
    may("customer", Kind::Identifier),
    may("until", Kind::Time),
];

static CASE_RESOLVED: [Spec; 3] = [
    must("case", Kind::Identifier),
    may("customer", Kind::Identifier),
    may("resolution", Kind::Text),
];

static INTERACTION_RECORDED: [Spec; 5] = [
    must("customer", Kind::Identifier),
    must("channel", Kind::Identifier),
    must("action", Kind::Identifier),
    may("target", Kind::Text),
    may("text", Kind::Text),
];

static RECORD_UPSERTED: [Spec; 4] = [
    must("table", Kind::Identifier),
    must("key", Kind::Identifier),
    must("fields", Kind::Object),
    must("version", Kind::Identifier),
];

static RECORD_DELETED: [Spec; 3] = [
    must("table", Kind::Identifier),
    must("key", Kind::Identifier),
    must("version", Kind::Identifier),
];

static MESSAGE_PLANNED: [Spec; 15] = [
    must("message", Kind::Identifier),
    must("rule", Kind::Identifier),
    must("version", Kind::Identifier),
    must("view", Kind::Identifier),
    must("about", Kind::Text),
    must("episode", Kind::Text),
    must("channel", Kind::Identifier),
    must("severity", Kind::Identifier),
    must("text", Kind::Text),
    may("reason", Kind::Text),
    may("corrects", Kind::Identifier),
    may("suppressed", Kind::Identifier),
    may("customer", Kind::Identifier),
    may("due", Kind::Time),
    may("expires", Kind::Time),
];

static MESSAGE_ANSWERED: [Spec; 4] = [
    must("message", Kind::Identifier),
    must("outcome", Kind::Identifier),
    may("reason", Kind::Text),
    may("attempts", Kind::Integer(&limits::ATTEMPTS)),
];

static MESSAGE_MARKED: [Spec; 4] = [
    must("message", Kind::Identifier),
    must("mark", Kind::Identifier),
    may("by", Kind::Identifier),
    may("until", Kind::Time),
];

static LOAD_MEASURED: [Spec; 3] = [
    must("series", Kind::Identifier),
    must("bucket_minutes", Kind::Integer(&limits::BUCKET)),
    must("value", Kind::Integer(&limits::LOAD)),
];

static SYSTEM_MEASURED: [Spec; 6] = [
    must("process", Kind::Identifier),
    must("seconds", Kind::Integer(&limits::MEASURED)),
    must("n_events", Kind::Integer(&limits::SOME)),
    must("busy_micros", Kind::Integer(&limits::SOME)),
    must("workers", Kind::Integer(&limits::WORKERS)),
    must("processors", Kind::Integer(&limits::WORKERS)),
];

static IDENTIFIED: [Spec; 4] = [
    must("customer", Kind::Identifier),
    must("kind", Kind::Identifier),
    must("value", Kind::Identifier),
    may("country", Kind::Country),
];

static BY_HAND: [Spec; 4] = [
    must("customer", Kind::Identifier),
    must("other", Kind::Identifier),
    may("agent", Kind::Identifier),
    may("reason", Kind::Text),
];

static ERASED: [Spec; 1] = [must("customers", Kind::Texts)];

/// The data fields of a type.
pub(super) fn fields(event: EventType) -> &'static [Spec] {
    match event {
        EventType::CustomerRegistered | EventType::CustomerUpdated => &CUSTOMER,
        EventType::OrderPlaced => &ORDER_PLACED,
        EventType::OrderStatusChanged => &ORDER_STATUS_CHANGED,
        EventType::OrderCancelled | EventType::OrderReturned => &ORDER_REVERSED,
        EventType::FeedbackSubmitted => &FEEDBACK_SUBMITTED,
        EventType::CaseOpened => &CASE_OPENED,
        EventType::CaseAssigned => &CASE_ASSIGNED,
        EventType::CaseResolved => &CASE_RESOLVED,
        EventType::InteractionRecorded => &INTERACTION_RECORDED,
        EventType::RecordUpserted => &RECORD_UPSERTED,
        EventType::RecordDeleted => &RECORD_DELETED,
        EventType::MessagePlanned => &MESSAGE_PLANNED,
        EventType::MessageAnswered => &MESSAGE_ANSWERED,
        EventType::MessageMarked => &MESSAGE_MARKED,
        EventType::LoadMeasured => &LOAD_MEASURED,
        EventType::SystemMeasured => &SYSTEM_MEASURED,
        EventType::CustomerIdentified | EventType::CustomerUnlinked => &IDENTIFIED,
        EventType::CustomerLinkedByHand | EventType::CustomerSeparatedByHand => &BY_HAND,
        EventType::CustomerErased => &ERASED,
    }
}
