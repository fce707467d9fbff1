//! Typed events as structured CloudEvents: the other way of [`crate::decode`].
//!
//! # Meaning
//! `decode::structured(encode::structured(e)) == e` (`tests/encode.rs`). Used where events are
//! made or shown; never on the hot path.

use serde_json::{Map, Value, json};

use crate::events::{
    ByHand, CaseAssigned, CaseOpened, CaseResolved, Customer, Data, Erased, Event,
    FeedbackSubmitted, Field, Identified, InteractionRecorded, Line, LoadMeasured, MessageAnswered,
    MessageMarked, MessagePlanned, OrderPlaced, OrderReversed, OrderStatusChanged, RecordDeleted,
    RecordUpserted, SystemMeasured, Text,
};
use crate::names::DEFAULT_TENANT;
use crate::time::rfc3339;

/// The event as one JSON document, attributes in the order in which it is read fastest.
pub fn structured(event: &Event<'_>) -> Vec<u8> {
    to_json(event).to_string().into_bytes()
}

/// The event as a JSON value.
pub fn to_json(event: &Event<'_>) -> Value {
    let (subject, data) = data(&event.data);
    let mut out = Object::default();
    out.put("specversion", "1.0");
    out.put("type", event.data.event_type().as_str());
    out.put("source", &*event.source);
    out.put("id", &*event.id);
    out.put("time", rfc3339(event.time));
    if event.tenant != DEFAULT_TENANT {
        out.put("tenant", &*event.tenant);
    }
    if let Some(subject) = subject {
        out.put("subject", subject);
    }
    out.put("data", Value::Object(data));
    Value::Object(out.0)
}

#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_string(), value.into());
    }
    /// Left out where there is nothing.
    fn opt(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
    fn text(&mut self, name: &str, value: &Option<Text<'_>>) {
        self.opt(name, value.as_deref());
    }
}

/// Subject and data.
fn data<'a>(data: &'a Data<'_>) -> (Option<&'a str>, Map<String, Value>) {
    let mut out = Object::default();
    let subject: Option<&str> = match data {
        Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => {
            customer(&mut out, it);
            Some(&it.customer)
        }
        Data::OrderPlaced(it) => {
            order_placed(&mut out, it);
            Some(&it.order)
        }
        Data::OrderStatusChanged(OrderStatusChanged { order, status, line, customer }) => {
            out.put("order", &**order);
            out.put("status", status.as_str());
            out.opt("line", *line);
            out.text("customer", customer);
            Some(order)
        }
        Data::OrderCancelled(it) | Data::OrderReturned(it) => {
            let OrderReversed { order, customer, amount, currency, reason } = it;
            out.put("order", &**order);
            out.text("customer", customer);
            out.opt("amount", *amount);
            out.opt("currency", currency.as_ref().map(|it| it.as_str()));
            out.text("reason", reason);
            Some(order)
        }
        Data::FeedbackSubmitted(it) => {
            let FeedbackSubmitted { customer, order, product, rating, text } = it;
            out.text("customer", customer);
            out.text("order", order);
            out.text("product", product);
            out.opt("rating", *rating);
            out.text("text", text);
            None
        }
        Data::CaseOpened(CaseOpened { case, customer, severity, text, queue, skills }) => {
            out.put("case", &**case);
            out.put("customer", &**customer);
            out.put("severity", *severity);
            out.text("text", text);
            out.put("queue", &**queue);
            if !skills.is_empty() {
                out.put("skills", skills.iter().map(|it| json!(it)).collect::<Vec<_>>());
            }
            Some(case)
        }
        Data::CaseAssigned(CaseAssigned { case, agent, queue, customer, until }) => {
            out.put("case", &**case);
            out.put("agent", &**agent);
            out.text("queue", queue);
            out.text("customer", customer);
            out.opt("until", until.map(rfc3339));
            Some(case)
        }
        Data::CaseResolved(CaseResolved { case, customer, resolution }) => {
            out.put("case", &**case);
            out.text("customer", customer);
            out.text("resolution", resolution);
            Some(case)
        }
        Data::InteractionRecorded(it) => {
            let InteractionRecorded { customer, channel, action, target, text } = it;
            out.put("customer", &**customer);
            out.put("channel", &**channel);
            out.put("action", &**action);
            out.text("target", target);
            out.text("text", text);
            Some(customer)
        }
        Data::MessagePlanned(it) => {
            let MessagePlanned {
                message,
                rule,
                version,
                view,
                about,
                episode,
                channel,
                severity,
                text,
                reason,
                corrects,
                suppressed,
                customer,
                due,
                expires,
            } = &**it;
            out.put("message", &**message);
            out.put("rule", &**rule);
            out.put("version", &**version);
            out.put("view", &**view);
            out.put("about", &**about);
            out.put("episode", &**episode);
            out.put("channel", &**channel);
            out.put("severity", &**severity);
            out.put("text", &**text);
            out.text("reason", reason);
            out.text("corrects", corrects);
            out.text("suppressed", suppressed);
            out.text("customer", customer);
            out.opt("due", due.map(rfc3339));
            out.opt("expires", expires.map(rfc3339));
            Some(message)
        }
        Data::MessageAnswered(MessageAnswered { message, outcome, reason, attempts }) => {
            out.put("message", &**message);
            out.put("outcome", &**outcome);
            out.text("reason", reason);
            out.opt("attempts", *attempts);
            Some(message)
        }
        Data::MessageMarked(MessageMarked { message, mark, by, until }) => {
            out.put("message", &**message);
            out.put("mark", &**mark);
            out.text("by", by);
            out.opt("until", until.map(rfc3339));
            Some(message)
        }
        Data::RecordUpserted(RecordUpserted { table, key, fields, version }) => {
            out.put("table", &**table);
            out.put("key", &**key);
            // Read before, so that it is an object; as text where JSON values cannot hold it.
            let read = serde_json::from_str::<Value>(fields);
            out.put("fields", read.unwrap_or_else(|_| (&**fields).into()));
            out.put("version", &**version);
            Some(key)
        }
        Data::RecordDeleted(RecordDeleted { table, key, version }) => {
            out.put("table", &**table);
            out.put("key", &**key);
            out.put("version", &**version);
            Some(key)
        }
        Data::LoadMeasured(LoadMeasured { series, bucket_minutes, value }) => {
            out.put("series", &**series);
            out.put("bucket_minutes", *bucket_minutes);
            out.put("value", *value);
            Some(series)
        }
        Data::SystemMeasured(it) => {
            let SystemMeasured { process, seconds, n_events, busy_micros, workers, processors } =
                it;
            out.put("process", &**process);
            out.put("seconds", *seconds);
            out.put("n_events", *n_events);
            out.put("busy_micros", *busy_micros);
            out.put("workers", *workers);
            out.put("processors", *processors);
            Some(process)
        }
        Data::CustomerIdentified(it) | Data::CustomerUnlinked(it) => {
            let Identified { customer, kind, value, country } = it;
            out.put("customer", &**customer);
            out.put("kind", &**kind);
            out.put("value", &**value);
            out.text("country", country);
            Some(customer)
        }
        Data::CustomerLinkedByHand(it) | Data::CustomerSeparatedByHand(it) => {
            let ByHand { customer, other, agent, reason } = it;
            out.put("customer", &**customer);
            out.put("other", &**other);
            out.text("agent", agent);
            out.text("reason", reason);
            Some(customer)
        }
        Data::CustomerErased(Erased { customers }) => {
            out.put("customers", customers.iter().map(|it| json!(it)).collect::<Vec<_>>());
            customers.first().map(|it| &**it)
        }
    };
    (subject, out.0)
}

fn customer(out: &mut Object, it: &Customer<'_>) {
    out.put("customer", &*it.customer);
    let fields = [
        ("name", &it.name),
        ("email", &it.email),
        ("phone", &it.phone),
        ("tier", &it.tier),
        ("language", &it.language),
        ("country", &it.country),
        ("time_zone", &it.time_zone),
    ];
    for (name, field) in fields {
        match field {
            Field::Absent => {}
            Field::Withdrawn => out.put(name, Value::Null),
            Field::Is(text) => out.put(name, &**text),
        }
    }
    if !it.attributes.is_empty() {
        let pairs = it.attributes.iter().map(|(name, value)| (name.to_string(), json!(value)));
        out.put("attributes", Value::Object(pairs.collect()));
    }
}

fn order_placed(out: &mut Object, it: &OrderPlaced<'_>) {
    out.put("order", &*it.order);
    out.put("customer", &*it.customer);
    out.put("currency", it.currency.as_str());
    out.put("lines", it.lines.iter().map(line).collect::<Vec<_>>());
    out.opt("promised_at", it.promised_at.map(rfc3339));
    out.text("channel", &it.channel);
}

fn line(it: &Line<'_>) -> Value {
    let mut out = Object::default();
    out.put("sku", &*it.sku);
    out.put("quantity", it.quantity);
    out.put("unit_price", it.unit_price);
    out.text("ship_from", &it.ship_from);
    out.text("ship_to", &it.ship_to);
    out.text("carrier", &it.carrier);
    out.text("seller", &it.seller);
    Value::Object(out.0)
}
