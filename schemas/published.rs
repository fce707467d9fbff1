//! The contract as JSON Schema (draft 2020-12), one file per type in `schemas/events/`.
//!
//! In: the documents below, which say field by field what [`crate::decode`] reads. Out: the text
//! of each file, and the files themselves as they were built in.
//!
//! # Meaning
//! A published schema describes `data`. What the decoder takes, the schema takes; what the schema
//! refuses, the decoder refuses. The decoder refuses a little more, because JSON Schema cannot say
//! it: limits count bytes of UTF-8 (`maxLength` counts characters), integers are written as
//! integers (`5.0` is one to JSON Schema), the lines of an order must not come to more than 10^13,
//! times must be times. `tests/published.rs` holds documents, decoder and files together.
//!
//! # Invariants
//! Version 1 of a type only ever gains optional fields: [`changes`] compares every file with each
//! earlier publication in `schemas/events/published/`. Anything else is a new version, beside an
//! upcaster.
//!
//! # Why this way
//! The types that the decoder fills are borrowed and packed for speed, and say nothing of limits.
//! A plain document per type says all of it in one place, is read by serde as it stands (that is
//! the oracle of `tests/decode_plain.rs`), and can be read by a person.

mod compatible; // what may change in a published schema
mod documents; // the types of `data`, field by field

pub use compatible::changes;
pub use documents::*;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::events::EventType;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("events/", $name, ".json")))),*]
    };
}

/// Every published schema: the type, and the text of its file.
pub fn all() -> &'static [(&'static str, &'static str)] {
    static FILES: [(&str, &str); EventType::ALL.len()] = files![
        "customer.registered",
        "customer.updated",
        "order.placed",
        "order.status_changed",
        "order.cancelled",
        "order.returned",
        "feedback.submitted",
        "case.opened",
        "case.assigned",
        "case.resolved",
        "interaction.recorded",
        "record.upserted",
        "record.deleted",
        "message.planned",
        "message.answered",
        "load.measured",
        "message.marked",
        "customer.identified",
        "customer.unlinked",
        "customer.linked_by_hand",
        "customer.separated_by_hand",
        "customer.erased",
        "system.measured",
    ];
    &FILES
}

/// The text of a type's file, made from its document.
pub fn generate(kind: EventType) -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let schema = match kind {
        EventType::CustomerRegistered => generator.into_root_schema_for::<CustomerRegistered>(),
        EventType::CustomerUpdated => generator.into_root_schema_for::<CustomerUpdated>(),
        EventType::OrderPlaced => generator.into_root_schema_for::<OrderPlaced>(),
        EventType::OrderStatusChanged => generator.into_root_schema_for::<OrderStatusChanged>(),
        EventType::OrderCancelled => generator.into_root_schema_for::<OrderCancelled>(),
        EventType::OrderReturned => generator.into_root_schema_for::<OrderReturned>(),
        EventType::FeedbackSubmitted => generator.into_root_schema_for::<FeedbackSubmitted>(),
        EventType::CaseOpened => generator.into_root_schema_for::<CaseOpened>(),
        EventType::CaseAssigned => generator.into_root_schema_for::<CaseAssigned>(),
        EventType::CaseResolved => generator.into_root_schema_for::<CaseResolved>(),
        EventType::InteractionRecorded => generator.into_root_schema_for::<InteractionRecorded>(),
        EventType::RecordUpserted => generator.into_root_schema_for::<RecordUpserted>(),
        EventType::RecordDeleted => generator.into_root_schema_for::<RecordDeleted>(),
        EventType::MessagePlanned => generator.into_root_schema_for::<MessagePlanned>(),
        EventType::MessageAnswered => generator.into_root_schema_for::<MessageAnswered>(),
        EventType::MessageMarked => generator.into_root_schema_for::<MessageMarked>(),
        EventType::LoadMeasured => generator.into_root_schema_for::<LoadMeasured>(),
        EventType::CustomerIdentified => generator.into_root_schema_for::<CustomerIdentified>(),
        EventType::CustomerUnlinked => generator.into_root_schema_for::<CustomerUnlinked>(),
        EventType::CustomerLinkedByHand => generator.into_root_schema_for::<CustomerLinkedByHand>(),
        EventType::CustomerSeparatedByHand => {
            generator.into_root_schema_for::<CustomerSeparatedByHand>()
        }
        EventType::CustomerErased => generator.into_root_schema_for::<CustomerErased>(),
        EventType::SystemMeasured => generator.into_root_schema_for::<SystemMeasured>(),
    };
    let mut named = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("https://millstream.example/schemas/events/{}/1", kind.as_str()),
        "title": kind.as_str(),
    });
    for (keyword, value) in schema.to_value().as_object_mut().into_iter().flatten() {
        if let Some(object) = named.as_object_mut()
            && !object.contains_key(keyword)
        {
            object.insert(keyword.clone(), value.take());
        }
    }
    format!("{named:#}\n")
}

/// Puts cross-field rules into a schema.
fn rules(schema: &mut schemars::Schema, rules: &[Value]) {
    schema.insert("allOf".to_string(), Value::from(rules));
}

/// One of these fields is there, and not `null`.
fn one_of(fields: &[&str]) -> Value {
    let there = fields.iter().map(|it| json!({"required": [it], "properties": {*it: there()}}));
    json!({"anyOf": there.collect::<Vec<_>>()})
}

/// If the one field is there, so is the other.
fn needs(field: &str, other: &str) -> Value {
    json!({
        "if": {"required": [field], "properties": {field: there()}},
        "then": {"required": [other], "properties": {other: there()}},
    })
}

fn there() -> Value {
    json!({"not": {"type": "null"}})
}
