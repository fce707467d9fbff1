//! Rows of the view `orders`: their fields, and how they are made of a state.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::events::Status;
use schemas::names::{Currency, Name};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde_json::{Map, Value as Json};

use super::way::{self, Way};
use super::{NEVER, State};
use crate::Epoch;
use crate::packed::Reader;
use crate::sums::money;

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "orders",
    words: "Each order: where it stands, how it came there, what it is, and whether it is late.",
    shape: Shape::Fold,
    key: &["order"],
    fields: &[
        FieldDef::new("order", FieldKind::Text, false, false, "The order."),
        FieldDef::new(
            "status",
            FieldKind::Text,
            true,
            true,
            "What was said last of the whole order, by event time; null while only lines were spoken of.",
        ),
        FieldDef::new("customer", FieldKind::Text, true, true, "Who placed it."),
        FieldDef::new("channel", FieldKind::Text, true, true, "Where it was placed, such as web."),
        FieldDef::new(
            "currency",
            FieldKind::Text,
            true,
            true,
            "ISO 4217; null until it is placed.",
        ),
        FieldDef::new(
            "amount",
            FieldKind::Int,
            true,
            false,
            "Sum of its lines, minor units of its currency; null until it is placed.",
        ),
        FieldDef::new("n_lines", FieldKind::Int, false, false, "Lines placed."),
        FieldDef::new(
            "placed_at",
            FieldKind::Time,
            true,
            false,
            "When it was placed (last, if twice).",
        ),
        FieldDef::new("promised_at", FieldKind::Time, true, false, "When it was promised."),
        FieldDef::new(
            "late",
            FieldKind::Bool,
            true,
            true,
            "Not delivered or cancelled by the promised instant; null without a promise.",
        ),
        FieldDef::new(
            "delivered_at",
            FieldKind::Time,
            true,
            false,
            "When it was first said to be delivered.",
        ),
        FieldDef::new(
            "cancelled_at",
            FieldKind::Time,
            true,
            false,
            "When it was first said to be cancelled.",
        ),
        FieldDef::new(
            "cancelled",
            FieldKind::Money,
            false,
            false,
            "Amounts cancelled, by currency; 9223372036854775807 means at least that.",
        ),
        FieldDef::new(
            "cancel_reason",
            FieldKind::Text,
            true,
            false,
            "The newest reason for cancelling, in words.",
        ),
        FieldDef::new(
            "returned_at",
            FieldKind::Time,
            true,
            false,
            "When it was first said to be returned.",
        ),
        FieldDef::new(
            "returned",
            FieldKind::Money,
            false,
            false,
            "Amounts returned, by currency; 9223372036854775807 means at least that.",
        ),
        FieldDef::new(
            "return_reason",
            FieldKind::Text,
            true,
            false,
            "The newest reason for returning, in words.",
        ),
        FieldDef::new(
            "lines",
            FieldKind::Json,
            false,
            false,
            "Its lines: line, sku, quantity, unit_price (minor units), the newest status said of the line; ship_from, ship_to, carrier, seller where stated.",
        ),
        FieldDef::new(
            "timeline",
            FieldKind::Json,
            false,
            false,
            "What was said of its status, oldest first: at, status, and the line if it is one line's.",
        ),
    ],
};

/// What a row says.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) order: CompactString,
    pub(super) status: Option<Status>,
    pub(super) customer: Option<CompactString>,
    pub(super) channel: Option<CompactString>,
    /// Currency and amount.
    pub(super) money: Option<(Currency, i64)>,
    pub(super) placed_at: Option<i64>,
    pub(super) promised_at: Option<i64>,
    pub(super) late: Option<bool>,
    pub(super) delivered_at: Option<i64>,
    pub(super) cancelled: Reversal,
    pub(super) returned: Reversal,
    pub(super) lines: Vec<Line>,
    /// At, status, line (0: the order).
    pub(super) timeline: Vec<(i64, Status, u16)>,
}

/// Cancelled or returned.
#[derive(Default)]
pub(super) struct Reversal {
    pub(super) at: Option<i64>,
    pub(super) amounts: BTreeMap<Currency, i64>,
    pub(super) reason: Option<CompactString>,
}

/// A line as its row says it.
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) quantity: i64,
    pub(super) unit_price: i64,
    /// ship_from, ship_to, carrier, seller
    pub(super) way: [Option<String>; 4],
    pub(super) status: Option<Status>,
}

impl Line {
    fn json(self, line: usize) -> Json {
        let mut object = Map::new();
        object.insert("line".into(), line.into());
        object.insert("sku".into(), self.sku.into());
        object.insert("quantity".into(), self.quantity.into());
        object.insert("unit_price".into(), self.unit_price.into());
        object.insert("status".into(), self.status.map(Status::as_str).into());
        let names = ["ship_from", "ship_to", "carrier", "seller"];
        for (name, value) in names.into_iter().zip(self.way) {
            if let Some(value) = value {
                object.insert(name.into(), value.into());
            }
        }
        Json::Object(object)
    }
}

fn entry((at, status, line): (i64, Status, u16)) -> Json {
    let mut object = Map::new();
    object.insert("at".into(), schemas::time::rfc3339(at).into());
    object.insert("status".into(), status.as_str().into());
    if line > 0 {
        object.insert("line".into(), line.into());
    }
    Json::Object(object)
}

impl Facts {
    pub(super) fn row(self) -> Row {
        let text = |it: Option<CompactString>| it.map_or(Value::Null, Value::Text);
        let time = |it: Option<i64>| it.map_or(Value::Null, Value::Time);
        let n_lines = self.lines.len() as i64;
        let lines = self.lines.into_iter().zip(1..).map(|(it, line)| it.json(line));
        let values = vec![
            Value::Text(self.order),
            text(self.status.map(|it| it.as_str().into())),
            text(self.customer),
            text(self.channel),
            text(self.money.map(|it| it.0.as_str().into())),
            self.money.map_or(Value::Null, |it| Value::Int(it.1)),
            Value::Int(n_lines),
            time(self.placed_at),
            time(self.promised_at),
            self.late.map_or(Value::Null, Value::Bool),
            time(self.delivered_at),
            time(self.cancelled.at),
            money(self.cancelled.amounts.into_iter()),
            text(self.cancelled.reason),
            time(self.returned.at),
            money(self.returned.amounts.into_iter()),
            text(self.returned.reason),
            Value::Json(lines.collect()),
            Value::Json(self.timeline.into_iter().map(entry).collect()),
        ];
        Row { values }
    }
}

/// The row of a state.
pub(super) fn row(name: &Name, state: &State, now: Epoch) -> Row {
    let known = |at: i64| (at != NEVER).then_some(at);
    let mut facts = Facts { order: crate::key_id(name), status: state.status, ..Facts::default() };
    if let Some(super::Facts { at, amount, mut rest, .. }) = state.facts() {
        let _tie = rest.text();
        facts.customer = Some(rest.text().into());
        if state.placed {
            facts.money = Some((state.currency, amount));
            facts.placed_at = Some(at);
            facts.channel = rest.maybe().map(CompactString::from);
            facts.lines = lines(rest, state);
        }
    }
    facts.promised_at = known(state.promised_at);
    facts.late = late(state, now);
    facts.delivered_at = known(state.delivered_at);
    facts.cancelled.at = known(state.cancelled_at());
    facts.returned.at = known(state.returned_at());
    if let Some(it) = &state.reversals {
        let (cancelled, returned) = (&it.cancelled, &it.returned);
        facts.cancelled.amounts = cancelled.amounts.each().collect();
        facts.cancelled.reason = cancelled.reason.as_ref().map(|it| it.1.clone());
        facts.returned.amounts = returned.amounts.each().collect();
        facts.returned.reason = returned.reason.as_ref().map(|it| it.1.clone());
    }
    facts.timeline = state.timeline.entries().map(|it| (it.at, it.status, it.line)).collect();
    facts.row()
}

/// The fields that [`near`] makes: order to amount, placed_at to cancelled_at, returned_at.
pub(super) const NEAR: u64 = 0b100_1111_1011_1111;

/// One field of the row of a state, if it is among [`NEAR`].
pub(super) fn near(name: &Name, state: &State, now: Epoch, field: usize) -> Option<Value> {
    let time = |at: i64| if at == NEVER { Value::Null } else { Value::Time(at) };
    let text = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
    let placed = |value: Value| if state.placed { value } else { Value::Null };
    let facts = || {
        let mut rest = state.facts()?.rest;
        let _tie = rest.text();
        let customer = rest.text();
        Some((customer, rest))
    };
    Some(match field {
        0 => Value::Text(crate::key_id(name)),
        1 => text(state.status.map(Status::as_str)),
        2 => text(facts().map(|it| it.0)),
        3 if state.placed => text(facts().and_then(|(_, mut rest)| rest.maybe())),
        3 => Value::Null,
        4 => placed(Value::Text(state.currency.as_str().into())),
        5 => placed(Value::Int(state.money().1)),
        7 => state.placed_at().map_or(Value::Null, Value::Time),
        8 => time(state.promised_at),
        9 => late(state, now).map_or(Value::Null, Value::Bool),
        10 => time(state.delivered_at),
        11 => time(state.cancelled_at()),
        14 => time(state.returned_at()),
        _ => return None,
    })
}

/// Whether it is late; none: nothing was promised.
fn late(state: &State, now: Epoch) -> Option<bool> {
    if state.promised_at == NEVER {
        return None;
    }
    let settled = state.settled_at();
    let until = match settled == NEVER {
        false => settled,
        true => i64::try_from(now).map_or(NEVER, |it| it.saturating_mul(1_000)),
    };
    Some(until > state.promised_at)
}

fn lines(mut reader: Reader<'_>, state: &State) -> Vec<Line> {
    let n_lines = reader.count();
    let mut way = Way::default();
    let line = |_| {
        let (sku, quantity, unit_price) = (reader.text().into(), reader.int(), reader.int());
        way = way::read(&mut reader, way);
        let way = way.map(|it| it.map(String::from));
        Line { sku, quantity, unit_price, way, status: None }
    };
    let mut lines: Vec<Line> = (0..n_lines).map(line).collect();
    // Oldest first: the last one said of a line stands.
    for entry in state.timeline.entries().filter(|it| it.line > 0) {
        if let Some(line) = lines.get_mut(usize::from(entry.line) - 1) {
            line.status = Some(entry.status);
        }
    }
    lines
}
