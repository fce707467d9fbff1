//! Goal: an event about a customer re-orders a queue at its own epoch: at that one the order is
//! another, at the one before it is not. Method: a running engine; an instant is held, one event is
//! taken; of each epoch since then the position of the log tells whether the event is in it; the
//! desk's own policy puts the rows of `priority_queue` in order, as of each of the two.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "../benches/common/mod.rs"]
mod http;
#[path = "support/temp_dir.rs"]
mod temp_dir;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Client;
use millstream::config::Settings;
use millstream::desk::policy::{Open, Policy};
use millstream::messages::ReadHandle;
use millstream::run::{Plan, Running, start};
use schemas::reading::Epoch;
use schemas::rows::{Row, Value as Field};
use serde_json::{Value, json};
use temp_dir::TempDir;

/// Appends an event of so many minutes ago; once the views have it: the first epoch that has.
fn take(running: &Running, kind: &str, minutes: i64, data: Value) -> Epoch {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    let event = json!({
        "specversion": "1.0", "type": kind, "source": "s", "id": now.to_string(),
        "time": schemas::time::rfc3339(now - minutes * 60_000_000), "data": data,
    });
    schemas::decode::structured(event.to_string().as_bytes()).expect("an event of the contract");
    let read = &running.read;
    let pin = read.instants.pin();
    let append = running.append.as_ref().unwrap();
    let next = append.append(vec![event.to_string().into_bytes()]).unwrap();
    let next = next.blocking_recv().unwrap().unwrap().next;
    let end = Instant::now() + Duration::from_secs(60);
    while read.newest.borrow().position < next {
        assert!(Instant::now() < end, "{event} is not applied");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let mut at = read.newest.borrow().epoch;
    while at > pin.epoch() && (read.as_of)(at - 1).position >= next {
        at -= 1;
    }
    assert!(at > pin.epoch(), "it is not there before it is sent");
    at
}

/// The cases of a queue in the order in which the desk hands them out, as of an epoch.
fn order(read: &ReadHandle, queue: &str, at: Epoch) -> Vec<String> {
    let view = read.views.iter().find(|it| it.def().name == "priority_queue").unwrap();
    let mut open = Vec::new();
    let mut each = |_: &_, row: Row| {
        let of = |name: &str| row.values[view.def().position(name).unwrap()].clone();
        let time = |name: &str| match of(name) {
            Field::Time(it) => it,
            other => panic!("{name}: {other:?}"),
        };
        let (Field::Text(case), Field::Int(severity)) = (of("case"), of("severity")) else {
            panic!("{row:?}");
        };
        if of("queue") == Field::Text(queue.into()) {
            open.push(Open {
                case: case.to_string(),
                severity: severity as u8,
                opened_at: time("opened_at"),
                due_at: time("due_at"),
                deadline: time("deadline"),
            });
        }
    };
    view.for_each(at, &mut each).expect("the epoch is held");
    let policy = Policy::from(&millstream::config::Queues::default());
    let order = policy.order(&open, at as i64 * 1_000, 0);
    order.into_iter().map(|it| open[it].case.clone()).collect()
}

/// The same as the route answers it now.
fn shown(running: &Running, queue: &str) -> Vec<String> {
    let mut client = Client::connect(running.address().unwrap());
    let request = format!("GET /v1/queues/{queue} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let (status, body) = client.send(request.as_bytes());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
    let told: Value = serde_json::from_slice(body).unwrap();
    let cases = told["cases"].as_array().unwrap().iter();
    cases.map(|it| it["case"].as_str().unwrap().to_string()).collect()
}

/// Goal and method: as above, for a tier, an order that is late and then is not, and a third case
/// within a week; each time the case of one customer, which waits behind that of another, goes ahead.
#[test]
fn a_row_update_of_the_person_reorders_the_queue_in_the_same_epoch() {
    let dir = TempDir::new();
    let mut settings = Settings::default_in(&dir.0);
    settings.serve.listen = "127.0.0.1:0".parse().unwrap();
    let plan = Plan::of(&settings);
    let running = start(settings, plan).unwrap();
    let open = |case: &str, customer: &str, queue: &str| json!({"case": case, "customer": customer, "severity": 3, "queue": queue});
    for queue in ["tier", "late", "third"] {
        for (name, minutes) in [("first", 30), ("second", 20)] {
            let customer = format!("{queue}-{name}");
            let data = json!({"customer": customer, "tier": "bronze"});
            take(&running, "customer.registered", 60, data);
            let case = open(&format!("{name} of {queue}"), &customer, queue);
            take(&running, "case.opened", minutes, case);
        }
        let another = open(&format!("{queue}-2"), &format!("{queue}-second"), "elsewhere");
        take(&running, "case.opened", 25, another);
    }
    let promised = json!({
        "order": "O", "customer": "late-second", "currency": "EUR",
        "lines": [{"sku": "s", "quantity": 1, "unit_price": 1}],
        "promised_at": "2026-01-01T00:00:00Z",
    });
    let steps = [
        ("tier", "customer.updated", json!({"customer": "tier-second", "tier": "gold"}), true),
        ("late", "order.placed", promised, true),
        ("late", "order.status_changed", json!({"order": "O", "status": "delivered"}), false),
        ("third", "case.opened", open("third-3", "third-second", "elsewhere"), true),
    ];
    for (queue, kind, data, goes_ahead) in steps {
        let held = running.read.instants.pin();
        let at = take(&running, kind, 0, data);
        let both = |ahead: bool| {
            let names = if ahead { ["second", "first"] } else { ["first", "second"] };
            names.map(|it| format!("{it} of {queue}"))
        };
        assert_eq!(
            order(&running.read, queue, at - 1),
            both(!goes_ahead),
            "{queue}: before {kind}"
        );
        assert_eq!(order(&running.read, queue, at), both(goes_ahead), "{queue}: at {kind}");
        assert_eq!(shown(&running, queue), both(goes_ahead), "{queue}: after {kind}");
        drop(held);
    }
    running.stop().unwrap();
}
