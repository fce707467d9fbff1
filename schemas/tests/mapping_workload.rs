//! Do the shipped mappings make the right events of the data they are for?
//!
//! Goal: the common workload, the Olist orders and a Debezium topic come in as what they say.
//! Method: the events of real lines against expectations computed from parsed JSON, and counts
//! that the data sets' own descriptions state. The larger sets are looked for in `shared/` beside
//! the checkout (or where `MILLSTREAM_SHARED` says).

#[path = "../../tests/support/skipped.rs"]
mod skipped;

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use schemas::events::{CaseOpened, InteractionRecorded, OrderPlaced, OrderStatusChanged};
use schemas::events::{Data, Event, EventType, FeedbackSubmitted, Line, Status};
use schemas::mapping::{Mapped, Mapping};
use schemas::names::Currency;
use serde_json::Value;

const CRM: &str = include_str!("../mappings/crm_workload.toml");
const OLIST: &str = include_str!("../mappings/olist_orders.toml");
/// The first lines of the common workload.
const LINES: &str = include_str!("data/crm_first.jsonl");

fn compiled(text: &str) -> Mapping {
    Mapping::compile(text).unwrap_or_else(|problems| {
        let told: Vec<String> = problems.iter().map(|it| it.to_string()).collect();
        panic!("the mapping does not compile:\n{}", told.join("\n"))
    })
}

fn decoded<'a>(mapping: &'a Mapping, record: &'a str) -> Vec<Event<'a>> {
    let mut events = Vec::new();
    match mapping.decode(record.as_bytes(), &mut |event| events.push(event)) {
        Ok(Mapped::Events(n)) => assert_eq!(n as usize, events.len()),
        Ok(Mapped::Skipped) => assert!(events.is_empty()),
        Err(problem) => panic!("{problem}: {record}"),
    }
    events
}

/// A file of the data sets, if it is there.
fn shared(name: &str) -> Option<String> {
    let path = skipped::shared(name)?;
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    Some(text)
}

/// What a line of the common workload says, read the plain way.
fn expected(line: &Value) -> Event<'_> {
    let text = |name: &str| line[name].as_str().unwrap().into();
    let data = match line["type"].as_str().unwrap() {
        "order.placed" => Data::OrderPlaced(OrderPlaced {
            order: text("order"),
            customer: text("customer"),
            currency: Currency::parse("EUR").unwrap(),
            lines: vec![Line {
                sku: text("sku"),
                quantity: 1,
                unit_price: line["amount_cents"].as_i64().unwrap(),
                ship_from: None,
                ship_to: None,
                carrier: None,
                seller: None,
            }],
            promised_at: None,
            channel: None,
        }),
        "order.status" => Data::OrderStatusChanged(OrderStatusChanged {
            order: text("order"),
            status: Status::parse(&text("status")).unwrap(),
            line: None,
            customer: Some(text("customer")),
        }),
        "feedback.submitted" => Data::FeedbackSubmitted(FeedbackSubmitted {
            customer: Some(text("customer")),
            order: None,
            product: None,
            rating: Some(line["rating"].as_u64().unwrap() as u8),
            text: Some(text("text")),
        }),
        "support.opened" => Data::CaseOpened(CaseOpened {
            case: text("ticket"),
            customer: text("customer"),
            severity: line["severity"].as_u64().unwrap() as u8,
            text: Some(text("text")),
            queue: "support".into(),
            skills: Vec::new(),
        }),
        "interaction" => Data::InteractionRecorded(InteractionRecorded {
            customer: text("customer"),
            channel: text("channel"),
            action: text("action"),
            target: Some(text("path")),
            text: None,
        }),
        other => panic!("{other} is not of the workload"),
    };
    Event {
        tenant: "default".into(),
        source: "crm".into(),
        id: text("id"),
        time: line["time"].as_i64().unwrap() * 1_000,
        data,
    }
}

#[test]
fn the_common_workload() {
    let mapping = compiled(CRM);
    assert_eq!(LINES.lines().count(), 1_000);
    for line in LINES.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap();
        assert_eq!(decoded(&mapping, line), [expected(&parsed)], "{line}");
    }
}

/// Minor units of a price that the data writes with at most two decimals.
fn centavos(price: &Value) -> i64 {
    let text = price.to_string();
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    whole.parse::<i64>().unwrap() * 100 + format!("{rest:0<2}").parse::<i64>().unwrap()
}

#[test]
fn the_olist_orders() {
    let Some(text) = shared("data/olist_orders/order_events.jsonl.zst") else { return };
    let mapping = compiled(OLIST);
    let mut ids = HashSet::new();
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap();
        let events = decoded(&mapping, line);
        let [event] = &events[..] else { panic!("one event each: {line}") };
        assert!(ids.insert(event.id.to_string()), "the id of {line} was there before");
        *counts.entry(event.data.event_type()).or_insert(0) += 1;
        if let Data::OrderPlaced(placed) = &event.data {
            let items = parsed["items"].as_array().unwrap();
            assert_eq!(placed.lines.len(), items.len());
            for (line, item) in placed.lines.iter().zip(items) {
                let total = centavos(&item["price"]) + centavos(&item["freight"]);
                assert_eq!((line.unit_price, line.quantity), (total, 1));
                assert_eq!(line.sku, item["product_id"].as_str().unwrap());
                assert_eq!(line.seller.as_deref(), item["seller_id"].as_str());
            }
            assert_eq!(placed.customer, parsed["customer_unique_id"].as_str().unwrap());
            assert!(placed.promised_at.is_some_and(|it| it > event.time));
        }
    }
    // The counts of the data by type and by whether there are items.
    assert_eq!(counts[&EventType::OrderPlaced], 12_021);
    assert_eq!(counts[&EventType::FeedbackSubmitted], 5_756);
    assert_eq!(counts[&EventType::OrderStatusChanged], 63_524 - 12_021 - 5_756);
}

#[test]
fn olist_in_words() {
    let mapping = compiled(OLIST);
    let line = r#"{"type":"order.created","time":"2016-10-04 10:41:17","order_id":"o1","customer_id":"c1","customer_unique_id":"u1","estimated_delivery":"2016-11-28","items":[{"item":1,"product_id":"p1","seller_id":"s1","price":199.0,"freight":15.98}],"payments":[]}"#;
    let placed = decoded(&mapping, line);
    assert_eq!(placed[0].id, "o1:order.created");
    assert_eq!(schemas::time::rfc3339(placed[0].time), "2016-10-04T13:41:17.000Z");
    let Data::OrderPlaced(order) = &placed[0].data else { panic!("{placed:?}") };
    assert_eq!(order.lines[0].unit_price, 21_498);
    let promised = order.promised_at.map(schemas::time::rfc3339);
    assert_eq!(promised.as_deref(), Some("2016-11-29T01:59:59.999999Z"));
    // Without items, it is still known that an order was placed.
    let line = r#"{"type":"order.created","time":"2016-10-04 10:41:17","order_id":"o1","customer_id":"c1","estimated_delivery":"2016-11-28"}"#;
    let placed = decoded(&mapping, line);
    let Data::OrderStatusChanged(order) = &placed[0].data else { panic!("{placed:?}") };
    assert_eq!((order.status, order.customer.as_deref()), (Status::Placed, Some("c1")));
    // An empty message is none; a title may stand for it.
    let line = r#"{"type":"review.answered","time":"2016-10-16 03:20:17","order_id":"o1","review_id":"r1","score":4,"title":"","message":""}"#;
    let answered = decoded(&mapping, line);
    assert_eq!(answered[0].id, "o1:review.answered:r1");
    let Data::FeedbackSubmitted(said) = &answered[0].data else { panic!("{answered:?}") };
    assert_eq!((said.rating, said.text.as_deref()), (Some(4), None));
}

/// A Debezium topic of a table of orders: creates place an order, updates that change the status
/// and deletes move it on.
const DEBEZIUM: &str = r#"
discriminator = "/op"
other_types = "skip"

[event]
id = { template = "{/source/lsn}:{/op}:{/source/txId}" }
source = { template = "{/source/name}/{/source/schema}.{/source/table}" }
time = { from = "/source/ts_ms", format = "unix_ms" }

[types.c]
becomes = "order.placed"
[types.c.data]
order = { from = "/after/id", written_as = "number" }
customer = "/after/customer_name"
currency = { constant = "USD" }
[[types.c.data.lines]]
sku = "/after/product_name"
quantity = { constant = 1 }
unit_price = { from = "/after/price", unit = "major", decimals = 2 }

[[types.u]]
when = { differ = ["/before/status", "/after/status"] }
becomes = "order.status_changed"
[types.u.data]
order = { from = "/after/id", written_as = "number" }
customer = "/after/customer_name"
status = { from = "/after/status", values = { Pending = "placed", Shipped = "shipped", Delivered = "delivered", Cancelled = "cancelled" } }
[[types.u]]
skip = true

[types.d]
becomes = "order.cancelled"
data = { order = { from = "/before/id", written_as = "number" }, reason = { constant = "deleted" } }
"#;

#[test]
fn a_debezium_topic() {
    let Some(text) = shared("data/conformance/debezium_postgres_orders.jsonl.zst") else { return };
    let table = shared("data/conformance/debezium_postgres_orders_final_table.jsonl.zst").unwrap();
    let mapping = compiled(DEBEZIUM);
    let mut ids = HashSet::new();
    let mut orders = BTreeMap::new();
    let mut counts = [0; 4];
    for line in text.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap();
        let events = decoded(&mapping, line);
        let Some(event) = events.first() else {
            assert_eq!(parsed["before"]["status"], parsed["after"]["status"]);
            counts[3] += 1;
            continue;
        };
        assert!(ids.insert(event.id.to_string()), "the id of {line} was there before");
        assert_eq!(event.source, "arroyo/public.orders");
        match &event.data {
            Data::OrderPlaced(it) => {
                counts[0] += 1;
                orders.insert(it.order.to_string(), it.lines[0].unit_price);
                assert_eq!(it.lines[0].unit_price, centavos(&parsed["after"]["price"]));
            }
            Data::OrderStatusChanged(it) => {
                counts[1] += 1;
                assert!(orders.contains_key(&*it.order));
            }
            Data::OrderCancelled(it) => {
                counts[2] += 1;
                assert!(orders.remove(&*it.order).is_some());
            }
            other => panic!("{other:?}"),
        }
    }
    // What the envelopes say: 335 creates, 148 updates, 15 deletes.
    assert_eq!((counts[0], counts[1] + counts[3], counts[2]), (335, 148, 15));
    // What is left is the table that the stream leaves behind, row by row.
    let left: BTreeMap<String, i64> = table
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap())
        .map(|it| (it["id"].to_string(), centavos(&it["price"])))
        .collect();
    assert_eq!(orders, left);
}
