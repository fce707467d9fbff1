//! `data` of each type, field by field, as a producer reads it. The comments become the
//! descriptions in the published schemas.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::{needs, one_of, rules};
use crate::events::Status;

/// An identifier: opaque text of 1 to 128 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Identifier(
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")
    )]
    pub String,
);

/// Text of at most 32 KiB.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct FreeText(#[schemars(length(max = 32_768))] pub String);

/// A currency of ISO 4217.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct CurrencyCode(#[schemars(regex(pattern = "^[A-Z]{3}$"))] pub String);

/// A country of ISO 3166-1, two letters.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct CountryCode(#[schemars(regex(pattern = "^[A-Z]{2}$"))] pub String);

/// A time as RFC 3339 writes it, from 1970 on.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Instant(#[schemars(extend("format" = "date-time"))] pub String);

/// An amount of money in minor units: 1999 is 19.99 EUR.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct MinorUnits(
    #[schemars(range(min = 0, max = 10_000_000_000_000_i64), extend("format" = "int64"))] pub i64,
);

/// Where an order, or a line of it, stands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct StatusName(pub String);

impl JsonSchema for StatusName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Status".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "enum": Status::ALL.map(Status::as_str) })
    }
}

/// Any of a customer's attributes by name; `null` withdraws one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Attributes(pub BTreeMap<Identifier, Option<FreeText>>);

impl JsonSchema for Attributes {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Attributes".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "maxProperties": crate::events::MAX_ATTRIBUTES,
            "propertyNames": Identifier::json_schema(generator),
            "additionalProperties": Option::<FreeText>::json_schema(generator),
        })
    }
}

/// A customer is known from now on. An attribute that is not there says nothing.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerRegistered {
    /// The customer; the event's subject.
    pub customer: Identifier,
    /// Full name.
    pub name: Option<FreeText>,
    /// E-mail address.
    pub email: Option<FreeText>,
    /// Telephone number.
    pub phone: Option<FreeText>,
    /// Service tier, such as `gold`.
    pub tier: Option<Identifier>,
    /// BCP 47 language tag.
    pub language: Option<Identifier>,
    /// ISO 3166-1 country, two letters.
    pub country: Option<CountryCode>,
    /// IANA time zone.
    pub time_zone: Option<Identifier>,
    /// Anything else, by name.
    pub attributes: Option<Attributes>,
}

/// Some of a customer's attributes have changed. One that is not there says nothing; `null`
/// withdraws the value.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerUpdated {
    /// The customer; the event's subject.
    pub customer: Identifier,
    /// Full name.
    pub name: Option<FreeText>,
    /// E-mail address.
    pub email: Option<FreeText>,
    /// Telephone number.
    pub phone: Option<FreeText>,
    /// Service tier, such as `gold`.
    pub tier: Option<Identifier>,
    /// BCP 47 language tag.
    pub language: Option<Identifier>,
    /// ISO 3166-1 country, two letters.
    pub country: Option<CountryCode>,
    /// IANA time zone.
    pub time_zone: Option<Identifier>,
    /// Anything else, by name.
    pub attributes: Option<Attributes>,
}

/// A customer has placed an order. Its lines come to at most 10^13 minor units.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderPlaced {
    /// The order; the event's subject.
    pub order: Identifier,
    /// Who placed it.
    pub customer: Identifier,
    /// The currency of every amount in it.
    pub currency: CurrencyCode,
    /// What was ordered.
    #[schemars(length(min = 1, max = 256))]
    pub lines: Vec<OrderLine>,
    /// When it was promised.
    pub promised_at: Option<Instant>,
    /// Where it was placed, such as `web` or `store`.
    pub channel: Option<Identifier>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// The article.
    pub sku: Identifier,
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub quantity: i64,
    /// Price of one.
    pub unit_price: MinorUnits,
    /// The warehouse it leaves from.
    pub ship_from: Option<Identifier>,
    /// Where it goes.
    pub ship_to: Option<Identifier>,
    /// Who carries it.
    pub carrier: Option<Identifier>,
    /// Who sells it.
    pub seller: Option<Identifier>,
}

/// An order, or one line of it, has reached a status.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderStatusChanged {
    /// The order; the event's subject.
    pub order: Identifier,
    /// The status it now has.
    pub status: StatusName,
    /// The line it is about, counted from 1; the whole order if absent.
    #[schemars(range(min = 1, max = 256))]
    pub line: Option<i64>,
    /// Whose order it is.
    pub customer: Option<Identifier>,
}

/// An order has been cancelled. An amount needs a currency.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = amount_needs_currency)]
pub struct OrderCancelled {
    /// The order; the event's subject.
    pub order: Identifier,
    /// Whose order it is.
    pub customer: Option<Identifier>,
    /// What was cancelled, in money.
    pub amount: Option<MinorUnits>,
    /// The currency of the amount.
    pub currency: Option<CurrencyCode>,
    /// Why, in words.
    pub reason: Option<FreeText>,
}

/// An order has been returned. An amount needs a currency.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = amount_needs_currency)]
pub struct OrderReturned {
    /// The order; the event's subject.
    pub order: Identifier,
    /// Whose order it is.
    pub customer: Option<Identifier>,
    /// What was returned, in money.
    pub amount: Option<MinorUnits>,
    /// The currency of the amount.
    pub currency: Option<CurrencyCode>,
    /// Why, in words.
    pub reason: Option<FreeText>,
}

fn amount_needs_currency(schema: &mut Schema) {
    rules(schema, &[needs("amount", "currency")]);
}

/// Somebody has said what they think: about a customer or an order, a rating or a text.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = says_something_about_somebody)]
pub struct FeedbackSubmitted {
    /// Who says it. The event's subject may be this or the order.
    pub customer: Option<Identifier>,
    /// About which order.
    pub order: Option<Identifier>,
    /// About which product.
    pub product: Option<Identifier>,
    /// 5 is best.
    #[schemars(range(min = 1, max = 5))]
    pub rating: Option<i64>,
    /// In words.
    pub text: Option<FreeText>,
}

fn says_something_about_somebody(schema: &mut Schema) {
    rules(schema, &[one_of(&["customer", "order"]), one_of(&["rating", "text"])]);
}

/// A customer needs help.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseOpened {
    /// The case; the event's subject.
    pub case: Identifier,
    /// Whose case it is.
    pub customer: Identifier,
    /// 1 is most severe.
    #[schemars(range(min = 1, max = 4))]
    pub severity: i64,
    /// In words.
    pub text: Option<FreeText>,
    /// Where it waits.
    pub queue: Identifier,
    /// What it takes to solve it.
    #[schemars(length(max = 32))]
    pub skills: Option<Vec<Identifier>>,
}

/// Somebody now works on a case.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseAssigned {
    /// The case; the event's subject.
    pub case: Identifier,
    /// Who works on it.
    pub agent: Identifier,
    /// Where it now waits.
    pub queue: Option<Identifier>,
    /// Whose case it is.
    pub customer: Option<Identifier>,
    /// When the assignment ends: from then on the case waits again. For good, if absent.
    pub until: Option<Instant>,
}

/// A case has been resolved.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseResolved {
    /// The case; the event's subject.
    pub case: Identifier,
    /// Whose case it is.
    pub customer: Option<Identifier>,
    /// How, in words.
    pub resolution: Option<FreeText>,
}

/// A customer has done something.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InteractionRecorded {
    /// Who; the event's subject.
    pub customer: Identifier,
    /// Where, such as `web`.
    pub channel: Identifier,
    /// What, such as `view`.
    pub action: Identifier,
    /// On what.
    pub target: Option<FreeText>,
    /// In words.
    pub text: Option<FreeText>,
}

/// So much of something came within a bucket of time: the one that the event's time lies in.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadMeasured {
    /// What was measured; the event's subject.
    pub series: Identifier,
    /// How long a bucket is. Buckets are counted from the Unix epoch; a forecast wants one of which a
    /// day has a whole number.
    #[schemars(range(min = 1, max = 1440))]
    pub bucket_minutes: i64,
    /// How much, in whole units of its own; what is said of one bucket twice is added up.
    #[schemars(range(min = 0, max = 10_000_000_000_000_i64))]
    pub value: i64,
}

/// What a process of Millstream did in the time up to the event's own.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemMeasured {
    /// Which process; the event's subject.
    pub process: Identifier,
    /// How long was measured.
    #[schemars(range(min = 1, max = 31_622_400))]
    pub seconds: i64,
    /// Events that were applied.
    #[schemars(range(min = 1, max = 10_000_000_000_000_i64))]
    pub n_events: i64,
    /// How long all workers together were busy.
    #[schemars(range(min = 1, max = 10_000_000_000_000_i64))]
    pub busy_micros: i64,
    /// Workers.
    #[schemars(range(min = 1, max = 65_535))]
    pub workers: i64,
    /// Processors that the process may use.
    #[schemars(range(min = 1, max = 65_535))]
    pub processors: i64,
}

/// A customer has been seen with an identifier, such as an e-mail address or a device.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerIdentified {
    /// The customer; the event's subject.
    pub customer: Identifier,
    /// What sort of identifier: `email`, `phone`, `account`, `device`, `cookie`, `loyalty_card`,
    /// `external_id`, or one of the company's own.
    pub kind: Identifier,
    /// The identifier, as it was given. Of an `email` case and blanks around it are no matter; a
    /// `phone` is read as telephone numbers are written.
    pub value: Identifier,
    /// In which country a telephone number without a country code is read, two letters.
    pub country: Option<CountryCode>,
}

/// An identifier is a customer's no longer. Of the statements about the two the newest stands.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerUnlinked {
    /// The customer; the event's subject.
    pub customer: Identifier,
    /// What sort of identifier, as it was said when the customer was seen with it.
    pub kind: Identifier,
    /// The identifier.
    pub value: Identifier,
    /// In which country a telephone number without a country code is read, two letters.
    pub country: Option<CountryCode>,
}

/// Somebody said that two customers are one person. Of the statements about two the newest stands.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerLinkedByHand {
    /// One of the two; the event's subject.
    pub customer: Identifier,
    /// The other.
    pub other: Identifier,
    /// Who says so.
    pub agent: Option<Identifier>,
    /// Why, in words.
    pub reason: Option<FreeText>,
}

/// Somebody said that two customers are two persons. Of the statements about two the newest stands.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerSeparatedByHand {
    /// One of the two; the event's subject.
    pub customer: Identifier,
    /// The other.
    pub other: Identifier,
    /// Who says so.
    pub agent: Option<Identifier>,
    /// Why, in words.
    pub reason: Option<FreeText>,
}

/// What is about these customers is to go, for good: nothing about them is taken any more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerErased {
    /// Their ids; the event's subject is one of them.
    #[schemars(length(min = 1, max = 32))]
    pub customers: Vec<Identifier>,
}

/// A record of a foreign table, whole, as it is from now on.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordUpserted {
    /// The table, such as `public.orders`.
    pub table: Identifier,
    /// The record in it: the parts of its key percent-encoded, joined by `/`; the event's subject.
    pub key: Identifier,
    /// Its columns, by name: at most 64 KiB.
    pub fields: Columns,
    /// The position in the source's log. The newest stands; runs of digits count as numbers.
    pub version: Identifier,
}

/// A record of a foreign table is no more.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordDeleted {
    /// The table, such as `public.orders`.
    pub table: Identifier,
    /// The record in it: the parts of its key percent-encoded, joined by `/`; the event's subject.
    pub key: Identifier,
    /// The position in the source's log. The newest stands; runs of digits count as numbers.
    pub version: Identifier,
}

/// Columns by name, of any kind.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Columns(pub BTreeMap<String, serde_json::Value>);

/// A rule of ours decided to tell somebody something.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagePlanned {
    /// The intent; the event's subject.
    pub message: Identifier,
    /// The rule that speaks.
    pub rule: Identifier,
    /// Which wording of the rule.
    pub version: Identifier,
    /// The view whose row changed.
    pub view: Identifier,
    /// Of which row: the text of its key.
    pub about: FreeText,
    /// Which episode of that row, by the row's own facts.
    pub episode: FreeText,
    /// Who is told.
    pub channel: Identifier,
    /// How urgent it is: `info`, `warning`, `critical`.
    pub severity: Identifier,
    /// What is said, as it was rendered.
    pub text: FreeText,
    /// Why: the condition, and what it saw.
    pub reason: Option<FreeText>,
    /// The intent that this one corrects.
    pub corrects: Option<Identifier>,
    /// Why it is not sent at all.
    pub suppressed: Option<Identifier>,
    /// Whose data it is.
    pub customer: Option<Identifier>,
    /// Not before.
    pub due: Option<Instant>,
    /// From then on it is not worth saying.
    pub expires: Option<Instant>,
}

/// What somebody who read a message said of it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageMarked {
    /// The intent; the event's subject.
    pub message: Identifier,
    /// `acknowledged`: somebody has seen to it; `snoozed`: it is to be shown again later.
    pub mark: Identifier,
    /// Who said so.
    pub by: Option<Identifier>,
    /// Of one that is snoozed: until when; absent: not any more.
    pub until: Option<Instant>,
}

/// What became of a message that a rule of ours planned.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageAnswered {
    /// The intent; the event's subject.
    pub message: Identifier,
    /// `delivered`, `refused`, `expired`, `suppressed`; `planned`: it is sent again; `forgotten`.
    pub outcome: Identifier,
    /// In words.
    pub reason: Option<FreeText>,
    /// Attempts that were made, up to this answer.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub attempts: Option<i64>,
}
