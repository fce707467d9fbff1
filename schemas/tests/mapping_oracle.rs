//! Is a compiled mapping what the plain reading of the same text says?
//!
//! Goal: equal events, or a refusal by both, for any record. Method: an interpreter that walks the
//! mapping's TOML and the record's parsed JSON, slowly and obviously, on random records made of
//! what records are made of: missing, null, escaped, of the wrong type, too long, just beyond a
//! limit. A refusal's words are not compared here (`mapping_problems.rs` has those).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use schemas::events::{
    CaseOpened, Customer, Data, Event, EventType, FeedbackSubmitted, Field, Line, OrderPlaced,
    OrderReversed, OrderStatusChanged, Status, Text,
};
use schemas::mapping::Mapping;
use schemas::names::Currency;
use serde_json::Value;

const MAPPING: &str = r#"
discriminator = ["/kind", "/meta/kind"]
other_types = "skip"

[event]
tenant = { from = "/tenant", default = "acme" }
source = { template = "s/{/meta/n}" }
id = "/id"
time = { from = "/at", format = "unix_ms" }

[[types.a]]
when = { present = "/items", equal = { "/flag" = ["yes", true, 1] } }
becomes = "order.placed"
time = { from = ["/when", "/at"], format = "rfc3339" }
[types.a.data]
order = { template = "{/id}-{/meta/n}{{}}" }
customer = { from = ["/meta/who", "/who"] }
currency = { from = "/cur", values = { euro = "EUR", "1" = "USD" }, otherwise = "BRL" }
promised_at = { from = "/day", format = "%Y-%m-%d", zone = "-03:00", day = "end" }
channel = { from = "/channel", empty = "absent", default = "web" }
[types.a.data.lines]
each = "/items"
sku = { from = "/sku", written_as = "either" }
quantity = { from = "/n", default = 1 }
unit_price = { sum = ["/price", "^/price"], unit = "major", decimals = 2 }
seller = "^/who"

[[types.a]]
when = { absent = "/items", differ = ["/who", "/meta/who"] }
becomes = "order.returned"
[types.a.data]
order = { from = "/id", written_as = "either" }
amount = { from = "/price", unit = "minor" }
currency = "/cur"
reason = { from = ["/reason", "/channel"], empty = "absent" }

[types.b]
becomes = "order.status_changed"
each = "/items"
id = { template = "{^/id}/{#}" }
data = { order = "^/id", status = { from = "/st", values = { new = "placed", "2" = "paid", true = "shipped" } }, line = { from = "/n", written_as = "either" }, customer = { from = "/sku", required = true } }

[types.c]
becomes = "customer.updated"
[types.c.data]
customer = "/who"
name = { from = "/name", null = "withdraws" }
tier = { from = "/tier", empty = "absent", null = "withdraws" }
country = "/cur"
attributes = { n = { from = "/n", written_as = "number", null = "withdraws" }, flag = "/flag" }

[types.d]
becomes = "feedback.submitted"
data = { customer = "/who", order = "/id", rating = { from = "/n", written_as = "text" }, text = "/reason" }

[types.e]
becomes = "case.opened"
data = { case = "/id", customer = "/who", severity = "/n", queue = { constant = "q" }, skills = { each = "/items", item = "/sku" } }

[types.f]
becomes = "case.opened"
data = { case = "/id", customer = "/who", severity = { constant = 2 }, queue = { constant = "q" }, skills = ["/tier", { from = "/name" }], text = { template = "{/reason}" } }

[types.g]
skip = true
"#;

/// Refused.
type No = ();
type Said<T> = Result<Option<T>, No>;

/// The plain reading: a mapping's TOML, applied to parsed JSON. `levels`: the record, then the
/// element that is being looked at.
struct Plain {
    mapping: toml::Table,
}

enum Found<'v> {
    Nothing { null: bool },
    Json(&'v Value),
    Stated(&'v toml::Value),
}

fn at<'v>(levels: &[&'v Value], pointer: &str) -> &'v Value {
    let own = pointer.trim_start_matches('^');
    let level = levels.len() - 1 - (pointer.len() - own.len());
    levels[level].pointer(own).unwrap_or(&Value::Null)
}

fn is_there(levels: &[&Value], pointer: &str) -> bool {
    let own = pointer.trim_start_matches('^');
    levels[levels.len() - 1 - (pointer.len() - own.len())].pointer(own).is_some()
}

fn texts(of: &toml::Value) -> Vec<&str> {
    match of {
        toml::Value::Array(list) => list.iter().map(|it| it.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<String> {
    let text = value.as_number()?.to_string();
    text.bytes().all(|it| it == b'-' || it.is_ascii_digit()).then_some(text)
}

fn found<'v>(source: &'v toml::Value, levels: &[&'v Value]) -> Result<Found<'v>, No> {
    if let Some(stated) = source.get("constant") {
        return Ok(Found::Stated(stated));
    }
    let (pointers, empty) = match source {
        toml::Value::String(one) => (vec![one.as_str()], false),
        table => (texts(&table["from"]), table.get("empty").is_some()),
    };
    let mut null = false;
    for pointer in pointers {
        let value = at(levels, pointer);
        if value.is_null() {
            null |= is_there(levels, pointer);
        } else if !(empty && value == "") {
            let Some(table) = source.get("values") else { return Ok(Found::Json(value)) };
            let found = scalar(value).and_then(|it| table.get(&it));
            return found.or(source.get("otherwise")).map(Found::Stated).ok_or(());
        }
    }
    Ok(source.get("default").map_or(Found::Nothing { null }, Found::Stated))
}

fn text(source: &toml::Value, levels: &[&Value]) -> Said<String> {
    if let Some(template) = source.get("template") {
        return made(template.as_str().unwrap(), levels).map(Some);
    }
    let written = source.get("written_as").map_or("text", |it| it.as_str().unwrap());
    match found(source, levels)? {
        Found::Nothing { .. } => Ok(None),
        Found::Stated(stated) => Ok(Some(stated.as_str().unwrap().to_string())),
        Found::Json(Value::String(text)) if written != "number" => Ok(Some(text.clone())),
        Found::Json(value) if written != "text" => whole(value).map(Some).ok_or(()),
        Found::Json(_) => Err(()),
    }
}

fn made(template: &str, levels: &[&Value]) -> Result<String, No> {
    let template = template.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut out = String::new();
    for (n, part) in template.split('{').enumerate() {
        if n == 0 {
            out.push_str(part);
            continue;
        }
        let (field, literal) = part.split_once('}').unwrap();
        match field {
            "#" => out.push_str(&place(levels)),
            pointer => match at(levels, pointer) {
                Value::Number(_) => out.push_str(&whole(at(levels, pointer)).ok_or(())?),
                value => out.push_str(&scalar(value).ok_or(())?),
            },
        }
        out.push_str(literal);
    }
    Ok(out.replace('\u{1}', "{").replace('\u{2}', "}"))
}

/// Which element of the one array of these tests it is.
fn place(levels: &[&Value]) -> String {
    let items = levels[0]["items"].as_array().unwrap();
    let place = items.iter().position(|it| std::ptr::eq(it, levels[1])).unwrap();
    (place + 1).to_string()
}

fn identifier(source: &toml::Value, levels: &[&Value]) -> Said<Text<'static>> {
    let found = text(source, levels)?;
    let good = |it: &String| (1..=128).contains(&it.len()) && !it.chars().any(char::is_control);
    if found.as_ref().is_none_or(good) { Ok(found.map(Text::Owned)) } else { Err(()) }
}

fn free(source: &toml::Value, levels: &[&Value]) -> Said<Text<'static>> {
    text(source, levels).map(|it| it.map(Text::Owned))
}

fn integer(source: &toml::Value, levels: &[&Value], least: i64, most: i64) -> Said<i64> {
    let written = source.get("written_as").map_or("number", |it| it.as_str().unwrap());
    let value = match found(source, levels)? {
        Found::Nothing { .. } => return Ok(None),
        Found::Stated(stated) => stated.as_integer().unwrap(),
        Found::Json(Value::String(text)) if written != "number" => {
            serde_json::from_str::<Value>(text)
                .ok()
                .filter(|it| it.as_i64().map(|it| it.to_string()).as_ref() == Some(text))
                .and_then(|it| it.as_i64())
                .ok_or(())?
        }
        Found::Json(value) if written != "text" => value.as_i64().ok_or(())?,
        Found::Json(_) => return Err(()),
    };
    if (least..=most).contains(&value) { Ok(Some(value)) } else { Err(()) }
}

/// A number's digits, moved by `decimals`; only what comes out whole.
fn minor(value: &Value, decimals: usize) -> Result<i64, No> {
    let text = match value {
        Value::String(text) => {
            serde_json::from_str::<serde_json::Number>(text).map_err(drop)?.to_string()
        }
        Value::Number(number) => number.to_string(),
        _ => return Err(()),
    };
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    if rest.len() > decimals {
        return Err(());
    }
    let digits = format!("{whole}{rest:0<decimals$}");
    let amount: i64 = digits.parse().map_err(drop)?;
    if (0..=10_000_000_000_000).contains(&amount) { Ok(amount) } else { Err(()) }
}

fn amount(source: &toml::Value, levels: &[&Value]) -> Said<i64> {
    let decimals = source.get("decimals").map_or(0, |it| it.as_integer().unwrap()) as usize;
    if let Some(sum) = source.get("sum") {
        let parts: Vec<&Value> = texts(sum).iter().map(|it| at(levels, it)).collect();
        if parts.iter().all(|it| it.is_null()) {
            return Ok(None);
        }
        let parts: Result<Vec<i64>, No> = parts.iter().map(|it| minor(it, decimals)).collect();
        let total: i64 = parts?.iter().sum();
        return if total <= 10_000_000_000_000 { Ok(Some(total)) } else { Err(()) };
    }
    match found(source, levels)? {
        Found::Json(value) => minor(value, decimals).map(Some),
        _ => Ok(None),
    }
}

fn time(source: &toml::Value, levels: &[&Value]) -> Said<i64> {
    let Found::Json(value) = found(source, levels)? else { return Ok(None) };
    let time = match source["format"].as_str().unwrap() {
        "rfc3339" => value.as_str().and_then(schemas::time::parse_rfc3339).ok_or(())?,
        "unix_ms" => {
            let text = value.as_str().map_or_else(|| value.to_string(), String::from);
            let number: Value = serde_json::from_str(&text).map_err(drop)?;
            if text.trim() != text || !number.is_number() || number.as_f64() < Some(0.0) {
                return Err(());
            }
            // Micros are three more digits; what is finer is cut.
            let text = number.to_string();
            let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
            let rest: String = format!("{rest:0<3}").chars().take(3).collect();
            format!("{whole}{rest}").parse().map_err(drop)?
        }
        _ => {
            let date: jiff::civil::Date = value.as_str().ok_or(())?.parse().map_err(drop)?;
            let end = date.at(23, 59, 59, 999_999_000);
            jiff::tz::offset(-3).to_timestamp(end).map_err(drop)?.as_microsecond()
        }
    };
    if (0..=schemas::time::MAX_TIME).contains(&time) { Ok(Some(time)) } else { Err(()) }
}

fn clearable(
    source: Option<&toml::Value>,
    levels: &[&Value],
    good: impl Fn(&str) -> bool,
) -> Result<Field<'static>, No> {
    let Some(source) = source else { return Ok(Field::Absent) };
    match text(source, levels)? {
        Some(text) if good(&text) => Ok(Field::Is(Text::Owned(text))),
        Some(_) => Err(()),
        None => {
            let null = matches!(found(source, levels)?, Found::Nothing { null: true });
            let withdraws = source.get("null").is_some();
            Ok(if null && withdraws { Field::Withdrawn } else { Field::Absent })
        }
    }
}

fn may<T>(
    data: &toml::Value,
    name: &str,
    levels: &[&Value],
    read: impl Fn(&toml::Value, &[&Value]) -> Said<T>,
) -> Said<T> {
    let Some(source) = data.get(name) else { return Ok(None) };
    match read(source, levels)? {
        None if source.get("required").is_some() => Err(()),
        it => Ok(it),
    }
}

fn must<T>(
    data: &toml::Value,
    name: &str,
    levels: &[&Value],
    read: impl Fn(&toml::Value, &[&Value]) -> Said<T>,
) -> Result<T, No> {
    may(data, name, levels, read)?.ok_or(())
}

impl Plain {
    /// The events of a record; `None` if it is skipped.
    fn decode(&self, record: &Value) -> Said<Vec<Event<'static>>> {
        let levels = [record];
        let kind = texts(&self.mapping["discriminator"])
            .into_iter()
            .map(|it| at(&levels, it))
            .find(|it| !it.is_null())
            .and_then(scalar);
        let Some(rules) = kind.and_then(|it| self.mapping["types"].get(&it)) else {
            return Ok(None);
        };
        let rules = rules.as_array().cloned().unwrap_or_else(|| vec![rules.clone()]);
        let Some(rule) = rules.iter().find(|it| holds(it.get("when"), &levels)) else {
            return Ok(None);
        };
        if rule.get("skip").is_some() {
            return Ok(None);
        }
        let Some(each) = rule.get("each") else {
            return Ok(Some(vec![self.event(rule, &levels)?]));
        };
        let elements = at(&levels, each.as_str().unwrap()).as_array().ok_or(())?;
        let events = elements.iter().map(|it| self.event(rule, &[record, it]));
        events.collect::<Result<_, _>>().map(Some)
    }

    fn event(&self, rule: &toml::Value, levels: &[&Value]) -> Result<Event<'static>, No> {
        // What is said for all rules speaks of the record.
        let own = |name: &str| rule.get(name).is_some();
        let of = |name: &str| {
            if own(name) { (rule, levels) } else { (&self.mapping["event"], &levels[..1]) }
        };
        let data = &rule["data"];
        let (tenant, source, id, when) = (of("tenant"), of("source"), of("id"), of("time"));
        Ok(Event {
            tenant: must(tenant.0, "tenant", tenant.1, identifier)?,
            source: must(source.0, "source", source.1, identifier)?,
            id: must(id.0, "id", id.1, identifier)?,
            time: must(when.0, "time", when.1, time)?,
            data: match rule["becomes"].as_str().unwrap() {
                "order.placed" => placed(data, levels)?,
                "order.returned" => returned(data, levels)?,
                "order.status_changed" => status_changed(data, levels)?,
                "customer.updated" => updated(data, levels)?,
                "feedback.submitted" => feedback(data, levels)?,
                "case.opened" => opened(data, levels)?,
                other => panic!("{other}"),
            },
        })
    }
}

fn holds(when: Option<&toml::Value>, levels: &[&Value]) -> bool {
    let Some(when) = when else { return true };
    let all = |key: &str, present: bool| {
        let pointers = when.get(key).map(texts).unwrap_or_default();
        pointers.iter().all(|it| at(levels, it).is_null() != present)
    };
    let equal = when.get("equal").and_then(|it| it.as_table()).is_none_or(|equal| {
        equal.iter().all(|(pointer, values)| {
            let found = scalar(at(levels, pointer));
            let plain = |it: &toml::Value| it.as_str().map_or_else(|| it.to_string(), String::from);
            values.as_array().unwrap().iter().any(|it| Some(plain(it)) == found)
        })
    });
    let differ = when.get("differ").is_none_or(|it| {
        let pair = texts(it);
        scalar(at(levels, pair[0])) != scalar(at(levels, pair[1]))
    });
    all("present", true) && all("absent", false) && equal && differ
}

fn currency(source: &toml::Value, levels: &[&Value]) -> Said<Currency> {
    match text(source, levels)? {
        Some(text) => Currency::parse(&text).map(Some).ok_or(()),
        None => Ok(None),
    }
}

fn placed(data: &toml::Value, levels: &[&Value]) -> Result<Data<'static>, No> {
    let lines = &data["lines"];
    let elements = at(levels, lines["each"].as_str().unwrap()).as_array().ok_or(())?;
    let line = |element: &Value| -> Result<Line<'static>, No> {
        let levels = [levels[0], element];
        Ok(Line {
            sku: must(lines, "sku", &levels, identifier)?,
            quantity: must(lines, "quantity", &levels, |s, l| integer(s, l, 1, 1_000_000))?,
            unit_price: must(lines, "unit_price", &levels, amount)?,
            ship_from: None,
            ship_to: None,
            carrier: None,
            seller: may(lines, "seller", &levels, identifier)?,
        })
    };
    let lines = elements.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    let total: i128 =
        lines.iter().map(|it| i128::from(it.quantity) * i128::from(it.unit_price)).sum();
    if lines.is_empty() || lines.len() > 256 || total > 10_000_000_000_000 {
        return Err(());
    }
    Ok(Data::OrderPlaced(OrderPlaced {
        order: must(data, "order", levels, identifier)?,
        customer: must(data, "customer", levels, identifier)?,
        currency: must(data, "currency", levels, currency)?,
        lines,
        promised_at: may(data, "promised_at", levels, time)?,
        channel: may(data, "channel", levels, identifier)?,
    }))
}

fn returned(data: &toml::Value, levels: &[&Value]) -> Result<Data<'static>, No> {
    let it = OrderReversed {
        order: must(data, "order", levels, identifier)?,
        customer: None,
        amount: may(data, "amount", levels, amount)?,
        currency: may(data, "currency", levels, currency)?,
        reason: may(data, "reason", levels, free)?,
    };
    if it.amount.is_some() && it.currency.is_none() { Err(()) } else { Ok(Data::OrderReturned(it)) }
}

fn status_changed(data: &toml::Value, levels: &[&Value]) -> Result<Data<'static>, No> {
    let status = |source: &toml::Value, levels: &[&Value]| match text(source, levels)? {
        Some(text) => Status::parse(&text).map(Some).ok_or(()),
        None => Ok(None),
    };
    Ok(Data::OrderStatusChanged(OrderStatusChanged {
        order: must(data, "order", levels, identifier)?,
        status: must(data, "status", levels, status)?,
        line: may(data, "line", levels, |s, l| integer(s, l, 1, 256))?.map(|it| it as u16),
        customer: may(data, "customer", levels, identifier)?,
    }))
}

fn updated(data: &toml::Value, levels: &[&Value]) -> Result<Data<'static>, No> {
    let tier = |it: &str| (1..=128).contains(&it.len()) && !it.chars().any(char::is_control);
    let country = |it: &str| it.len() == 2 && it.bytes().all(|it| it.is_ascii_uppercase());
    let mut attributes = Vec::new();
    for (name, source) in data["attributes"].as_table().unwrap() {
        match clearable(Some(source), levels, |_| true)? {
            Field::Absent => {}
            Field::Withdrawn => attributes.push((Text::Owned(name.clone()), None)),
            Field::Is(text) => attributes.push((Text::Owned(name.clone()), Some(text))),
        }
    }
    Ok(Data::CustomerUpdated(Box::new(Customer {
        customer: must(data, "customer", levels, identifier)?,
        name: clearable(data.get("name"), levels, |_| true)?,
        tier: clearable(data.get("tier"), levels, tier)?,
        country: clearable(data.get("country"), levels, country)?,
        attributes,
        ..Customer::default()
    })))
}

fn feedback(data: &toml::Value, levels: &[&Value]) -> Result<Data<'static>, No> {
    let it = FeedbackSubmitted {
        customer: may(data, "customer", levels, identifier)?,
        order: may(data, "order", levels, identifier)?,
        product: None,
        rating: may(data, "rating", levels, |s, l| integer(s, l, 1, 5))?.map(|it| it as u8),
        text: may(data, "text", levels, free)?,
    };
    let about = it.customer.is_some() || it.order.is_some();
    if about && (it.rating.is_some() || it.text.is_some()) {
        Ok(Data::FeedbackSubmitted(it))
    } else {
        Err(())
    }
}

fn opened(data: &toml::Value, levels: &[&Value]) -> Result<Data<'static>, No> {
    let skills: Result<Vec<Option<Text<'static>>>, No> = match &data["skills"] {
        toml::Value::Array(sources) => sources.iter().map(|it| identifier(it, levels)).collect(),
        table => match at(levels, table["each"].as_str().unwrap()) {
            Value::Null => Ok(Vec::new()),
            Value::Array(elements) if elements.len() <= 32 => {
                elements.iter().map(|it| identifier(&table["item"], &[levels[0], it])).collect()
            }
            _ => Err(()),
        },
    };
    Ok(Data::CaseOpened(CaseOpened {
        case: must(data, "case", levels, identifier)?,
        customer: must(data, "customer", levels, identifier)?,
        severity: must(data, "severity", levels, |s, l| integer(s, l, 1, 4))? as u8,
        text: may(data, "text", levels, free)?,
        queue: must(data, "queue", levels, identifier)?,
        skills: skills?.into_iter().flatten().collect(),
    }))
}

/// Compares the two on one record; the types of the events that it gave.
fn compare(record: &str) -> Vec<EventType> {
    let (mapping, plain) = &*BOTH;
    let parsed: Value = serde_json::from_str(record).unwrap();
    let expected = plain.decode(&parsed);
    let mut events = Vec::new();
    let found = mapping.decode(record.as_bytes(), |event| events.push(event));
    match (&found, &expected) {
        (Ok(_), Ok(expected)) => {
            assert_eq!(&events, expected.as_deref().unwrap_or(&[]), "{record}")
        }
        (Err(_), Err(())) => assert!(events.is_empty(), "{record}"),
        _ => panic!("found {found:?}, expected {expected:?}: {record}"),
    }
    events.iter().map(|it| it.data.event_type()).collect()
}

static BOTH: LazyLock<(Mapping, Plain)> = LazyLock::new(|| {
    let mapping = Mapping::compile(MAPPING).unwrap_or_else(|it| panic!("{it:#?}"));
    (mapping, Plain { mapping: MAPPING.parse().unwrap() })
});

/// Mostly what a field of this name should be, sometimes what is nearly that, seldom anything.
fn value(name: &'static str) -> BoxedStrategy<String> {
    let (good, odd): (&[&str], &[&str]) = match name {
        "kind" => (&["'a'", "'b'", "'c'", "'d'", "'e'", "'f'", "'\\u0061'"], &["'g'", "'h'"]),
        "id" | "who" | "sku" => (&["'x1'", "'\\u00e9'", "'q\\'q'"], &["'b\\n'", "17", "1.5"]),
        "tenant" => (&["'t'", "null"], &["''"]),
        "at" => (&["1767225595621", "'1767225595621'", "1767225595621.5"], &["-1", "' 1'"]),
        "when" => (&["'2026-01-01T00:00:00Z'"], &["'2026-01-01'", "null"]),
        "day" => (&["'2026-02-28'"], &["'2026-02-29'", "'1969-01-01'"]),
        "price" => (
            &["12.34", "'12.34'", "0", "7", "1.50", "12"],
            &["12.345", "'1.5x'", "9999999999999", "1e3", "'\\u0031'"],
        ),
        "n" => (&["1", "2", "4", "'3'"], &["6", "1.0", "-1", "'03'", "300"]),
        "flag" => (&["'yes'", "true", "1"], &["'no'"]),
        "cur" => (&["'euro'", "1", "'EUR'", "'DE'"], &["'eur'"]),
        "st" => (&["'new'", "2", "true"], &["'old'"]),
        "name" | "tier" => (&["''", "'some text'", "null"], &["'tab\\t'"]),
        "unwanted" => (&["[{'a':1}]", "'x'", "{'a':'\\n'}"], &["1e300"]),
        _ => (&["''", "'some text'"], &["'tab\\t'"]),
    };
    let any = ["null", "true", "0", "-7", "0.25", "''", "'z'", "[]", "{}", "[1]", "LONG"];
    let long = format!("\"{}\"", "x".repeat(129));
    let texts = |them: &[&str]| {
        let written = |it: &&str| it.replace('\'', "\"").replace("LONG", &long);
        prop::sample::select(them.iter().map(written).collect::<Vec<_>>())
    };
    prop_oneof![60 => texts(good), 4 => texts(odd), 1 => texts(&any)].boxed()
}

fn object(fields: Vec<(String, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            prop_oneof![15 => value.prop_map(move |it| Some(format!("\"{name}\":{it}"))), 1 => Just(None)]
        })
        .collect();
    let shuffled =
        fields.prop_map(|it| it.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle();
    shuffled.prop_map(|it| format!("{{{}}}", it.join(", "))).boxed()
}

fn fields(names: &[&'static str]) -> Vec<(String, BoxedStrategy<String>)> {
    names.iter().map(|it| (it.to_string(), value(it))).collect()
}

fn record() -> BoxedStrategy<String> {
    let element = prop_oneof![40 => object(fields(&["sku", "n", "price", "st"])), 1 => value("n")];
    let items = prop::collection::vec(element, 0..4).prop_map(|it| format!("[{}]", it.join(",")));
    let items =
        prop_oneof![9 => items.boxed(), 3 => Just(String::from("null")).boxed(), 1 => value("n")]
            .boxed();
    let meta = prop_oneof![40 => object(fields(&["kind", "n", "who"])), 1 => value("n")].boxed();
    let mut all = fields(&[
        "kind", "id", "tenant", "at", "when", "day", "who", "price", "n", "flag", "cur", "channel",
        "reason", "name", "tier", "unwanted",
    ]);
    all.push(("items".into(), items));
    all.push(("meta".into(), meta));
    object(all)
}

/// Method: some thousands of records; so that the two do not merely agree in refusing, each event
/// type must have come out often.
#[test]
fn a_compiled_mapping_is_its_plain_reading() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let counts = RefCell::new(BTreeMap::new());
    let outcome = runner.run(&record(), |record| {
        for kind in compare(&record) {
            *counts.borrow_mut().entry(kind).or_insert(0) += 1;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|it| panic!("{it}"));
    let counts = counts.into_inner();
    assert!(counts.len() == 6 && counts.values().all(|it| *it > 40), "{counts:?}");
}

/// Goal: the comparison is not one of refusals only. Method: for each type a good record.
#[test]
fn every_rule_gives_events() {
    for record in [
        r#"{"kind":"a","when":"2026-01-01T00:00:00Z","flag":1,"cur":"other","items":[{"sku":7,"price":2.25}],"id":"x","meta":{"n":1},"who":"w","price":"1.5"}"#,
        r#"{"kind":"a","cur":"EUR","reason":"","channel":"late","price":12,"id":"3","at":1,"meta":{"n":1,"who":"m"},"tenant":"t","items":null,"who":"w"}"#,
        r#"{"meta":{"kind":"b","n":2},"items":[{"st":true,"sku":"s"},{"st":2,"sku":"t","n":"3"}],"id":"x","at":"1767225595621.5"}"#,
        r#"{"kind":"c","name":null,"tier":"","cur":"DE","flag":"f","n":-7,"id":"x","at":1,"meta":{"n":1},"who":"w"}"#,
        r#"{"kind":"d","n":"4","id":"x","at":1,"meta":{"n":1}}"#,
        r#"{"kind":"e","items":[{"sku":"s"},{}],"n":3,"id":"x","at":1,"meta":{"n":1},"who":"\u00fc"}"#,
        r#"{"kind":"f","tier":"t","reason":"r","id":"x","at":1,"meta":{"n":1},"who":"w"}"#,
    ] {
        assert!(!compare(record).is_empty(), "{record}");
    }
}
