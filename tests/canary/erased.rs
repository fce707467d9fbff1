//! Goal: of an erased customer nothing is found, in no answer and in no file. Method: a secret in
//! every text that is about them, also in what the desk hands out; before the erasure it is shown to
//! be where it is planted, in each view and in each file; then the same searches find nothing, also
//! of what came late, also after a start.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use millstream::serve::routes::ROUTES;
use serde_json::{Value, json};

use crate::life::life;
use crate::searched::{found_in, until};
use crate::temp_dir::TempDir;
use crate::{
    applied, ask, ask_under, encoded, event_id, files, keys, running_with, streamed, take,
};

/// In what is about the customer who is erased, and nowhere else.
const SECRET: &str = "secret-7b2d";
const WHO: &str = "C-17";
/// In the ids of what is theirs beside a [`life`]. Of these the kept state goes on to know that they
/// are gone (docs/privacy.md); nothing else does.
const THEIRS: &str = "of-C-17-4c9e";
/// Of which they alone wrote.
const PRODUCT: &str = "P-1";

/// The views that show the secret, and those that say whose or what a row is, by ids, and nothing
/// that is said freely. The others speak of nobody.
const SHOW_IT: [&str; 11] = [
    "cases",
    "claims",
    "customers",
    "identifiers",
    "notifications",
    "order_visibility",
    "orders",
    "priority_queue",
    "profiles",
    "sentiment",
    "sla",
];
const NAME_THEM: [&str; 8] = [
    "health",
    "identity_conflicts",
    "order_exceptions",
    "profile_health",
    "sentiment_by_customer",
    "sentiment_by_day",
    "sentiment_by_product",
    "top_customers",
];
const OF_NOBODY: [&str; 10] = [
    "capacity",
    "capacity_advice",
    "erasures",
    "load_forecast",
    "model_quality",
    "order_kpis",
    "orders_by_status",
    "queue_load",
    "records",
    "volume",
];

/// What else is known of them than a [`life`]: a tier, an order with which something is wrong, a text
/// about it and about a product, the newest of its day, three cases for the desk, links, and what a
/// rule said.
fn more() -> Vec<Value> {
    let order = format!("O-{THEIRS}");
    let case = |name: &str, severity: u8, skills: &[&str]| {
        json!({"case": format!("{name}-{THEIRS}"), "customer": WHO, "severity": severity,
               "queue": "q", "text": SECRET, "skills": skills})
    };
    let line = json!({"sku": "s", "quantity": 1, "unit_price": 1});
    let message = json!({
        "message": format!("M-{THEIRS}"), "rule": "r", "version": "1", "view": "customers",
        "about": WHO, "episode": "e", "channel": "c", "severity": "s", "text": SECRET,
        "customer": WHO,
    });
    let said = [
        ("customer.updated", json!({"customer": WHO, "tier": SECRET})),
        (
            "order.placed",
            json!({"order": order, "customer": WHO, "currency": "EUR", "lines": [line]}),
        ),
        ("order.status_changed", json!({"order": order, "status": "problem"})),
        (
            "feedback.submitted",
            json!({"customer": WHO, "order": SECRET, "product": PRODUCT, "text": "not good"}),
        ),
        ("case.opened", case("T-done", 1, &[])),
        ("case.opened", case("T-held", 2, &[])),
        ("case.opened", case("T-back", 3, &[SECRET])),
        // Two links and that it is not so: a link does not count.
        ("customer.linked_by_hand", json!({"customer": WHO, "other": "F-1"})),
        ("customer.separated_by_hand", json!({"customer": WHO, "other": "F-2"})),
        ("message.planned", message),
    ];
    let event = |(kind, data): (&str, Value)| {
        let source = match kind {
            "message.planned" => schemas::events::NOTIFY.to_string(),
            _ => format!("//{THEIRS}"),
        };
        let second = u8::from(kind == "feedback.submitted");
        json!({
            "specversion": "1.0", "type": kind, "source": source,
            "id": format!("{THEIRS}-{}", event_id()), "tenant": "default",
            "time": format!("2026-01-02T00:00:0{second}Z"), "data": data,
        })
    };
    said.into_iter().map(event).collect()
}

/// Who asks the desk. The name is nobody's who is erased; but it stands only in what the desk decided
/// about their cases, so it goes with that.
fn agent() -> String {
    format!("ann-{SECRET}")
}

/// What the desk is asked, by path, key and body, and which case it is: one is claimed and completed,
/// one claimed and held, one claimed and given back.
fn at_the_desk() -> [(&'static str, String, Value, &'static str); 5] {
    let of = |name: &str| json!({"agent": agent(), "case": format!("{name}-{THEIRS}")});
    let claim = json!({"agent": agent()});
    let (mut done, mut skilled) = (of("T-done"), claim.clone());
    done["resolution"] = json!(SECRET);
    skilled["skills"] = json!([SECRET]);
    [
        ("claim", claim.clone(), "T-done"),
        ("complete", done, "T-done"),
        ("claim", claim, "T-held"),
        ("claim", skilled, "T-back"),
        ("release", of("T-back"), "T-back"),
    ]
    .map(|(what, body, case)| (what, format!("{THEIRS}-{what}-{case}"), body, case))
}

fn asked_of_desk(address: SocketAddr, what: &str, key: &str, body: &Value) -> (u16, Value) {
    let path = format!("/v1/queues/q/{what}");
    let (status, text) = ask_under(address, key, "POST", &path, "default", &body.to_string());
    (status, serde_json::from_str(&text).unwrap())
}

/// An answer to who names no tenant.
fn plainly(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    text
}

/// What [`nothing_is_answered`] looks for is found there, by the same questions.
fn everything_is_answered(address: SocketAddr, before: &BTreeMap<String, Vec<String>>) {
    let is_there = |path: &str, text: &str| assert!(text.contains(SECRET), "{path}: {text}");
    is_there("/v1/queues/q", &ask(address, "GET", "/v1/queues/q", "default", "").1);
    for (what, key, body, case) in at_the_desk() {
        let (status, told) = asked_of_desk(address, what, &key, &body);
        assert_eq!((status, &told["again"]), (200, &json!(true)), "{told}");
        assert_eq!(told["case"], format!("{case}-{THEIRS}"), "{told}");
    }
    for path in ["/v1/rejects?limit=1000", "/v1/notifications"] {
        is_there(path, &ask(address, "GET", path, "default", "").1);
    }
    for path in ["/v1/admin/log/records", "/v1/admin/rejects"] {
        is_there(path, &plainly(address, path));
    }
    for view in SHOW_IT {
        let body = json!({"sql": format!("SELECT * FROM {view};")}).to_string();
        is_there(view, &ask(address, "POST", "/v1/sql", "default", &body).1);
        is_there(view, &snapshot(address, view));
    }
    for (view, keys) in before {
        for key in keys.iter().filter(|it| it.contains(WHO)) {
            let path = format!("/v1/views/{view}/{}", encoded(key));
            let (status, text) = ask(address, "GET", &path, "default", "");
            assert_eq!(status, 200, "{path}: {text}");
        }
    }
}

/// The texts that are named of the product.
fn newest_of(address: SocketAddr) -> Value {
    let path = format!("/v1/views/sentiment_by_product/{PRODUCT}");
    let (status, text) = ask(address, "GET", &path, "default", "");
    assert_eq!(status, 200, "{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    told["row"]["newest"].clone()
}

/// The beginning of a view's stream.
fn snapshot(address: SocketAddr, view: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("GET /v1/stream?tenant=default&view={view} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    streamed(&mut stream, "event: snapshot")
}

/// Every answer: to a question without parameters, every page of every view, each row that there was,
/// tables by SQL, the beginning of a stream. `log`: records of the log and of rejects, too.
fn nothing_is_answered(address: SocketAddr, before: &BTreeMap<String, Vec<String>>, log: bool) {
    let clean = |path: &str, text: &str| {
        assert!(!text.contains(SECRET) && !text.contains(THEIRS), "{path}: {text}");
    };
    keys(address, "default", |view, page| clean(view, page));
    let plain = ROUTES.iter().filter(|it| it.method == "GET" && !it.path.contains('{'));
    for route in plain.filter(|it| it.path != "/v1/stream") {
        clean(route.path, &ask(address, "GET", route.path, "default", "").1);
        if log {
            clean(route.path, &plainly(address, route.path));
        }
    }
    let (status, text) = ask(address, "GET", "/v1/rejects?limit=1000", "default", "");
    assert_eq!(status, 200);
    clean("/v1/rejects", &text);
    // Of their queue: nobody waits, and of what the desk decided nothing is known.
    let (status, text) = ask(address, "GET", "/v1/queues/q", "default", "");
    assert_eq!(status, 200, "{text}");
    clean("/v1/queues/q", &text);
    for (what, key, body, _) in at_the_desk() {
        let (status, told) = asked_of_desk(address, what, &key, &body);
        let named = body["case"].as_str();
        assert_eq!(status, if named.is_none() { 200 } else { 404 }, "{what}: {told}");
        assert!(told["case"].is_null(), "{what}: {told}");
        // Who asked, and for what, may be told back.
        let told = told.to_string().replace(&agent(), "");
        clean(what, &named.map_or(told.clone(), |it| told.replace(it, "")));
    }
    let said = plainly(address, &format!("/v1/admin/erasures?customer={WHO}"));
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.contains("\"erased_at\"") && said.contains(WHO), "{said}");
    let (mut asked, mut statements) = (0, String::new());
    for (view, keys) in before {
        statements.push_str(&format!("SELECT * FROM \"{view}\";"));
        for key in keys.iter().filter(|it| it.contains(WHO)) {
            let path = format!("/v1/views/{view}/{}", encoded(key));
            let (status, text) = ask(address, "GET", &path, "default", "");
            assert_eq!(status, 404, "{path}: {text}");
            clean(&path, &text.replace(key, ""));
            asked += 1;
        }
        clean(view, &snapshot(address, view));
    }
    assert!(asked >= 20, "{before:?}");
    let body = json!({"sql": statements}).to_string();
    let (status, text) = ask(address, "POST", "/v1/sql", "default", &body);
    assert_eq!(status, 200, "{text}");
    clean("/v1/sql", &text);
}

#[test]
fn nothing_of_an_erased_customer_is_found() {
    use millstream::run::erasing::Done;
    let dir = TempDir::new();
    let data = dir.0.join("data");
    // A reject that names them, and one that is not even JSON.
    let feed = format!(
        "{{\"id\":\"1\",\"data\":{{\"customer\":\"{WHO}\",\"nam\":\"{SECRET}\"}}}}\n\
         {{\"id\":\"2\",\"customer\":\"{WHO}\",\"name\":\"{SECRET}\n"
    );
    let engine = running_with(&dir, &feed, vec![files(&dir)]);
    let address = engine.address().unwrap();
    let theirs = [life(WHO, SECRET), more()].concat();
    for event in theirs.iter().chain(&life("D-2", "other")) {
        take(&engine, event);
    }
    for (what, key, body, case) in at_the_desk() {
        let (status, told) = asked_of_desk(address, what, &key, &body);
        assert_eq!(status, 200, "{told}");
        assert_eq!(told["case"], format!("{case}-{THEIRS}"), "{what}: {told}");
        applied(&engine, told["position"].as_u64().unwrap());
    }
    // What is another's at the desk stays.
    for (kind, data) in [
        ("customer.linked_by_hand", json!({"customer": "F-1", "other": "F-2"})),
        (
            "case.opened",
            json!({"case": "T-another", "customer": "D-2", "severity": 1, "queue": "q"}),
        ),
    ] {
        let of_another = json!({
            "specversion": "1.0", "type": kind, "source": "s", "id": format!("of-another-{kind}"),
            "tenant": "default", "time": "2026-01-02T00:00:00Z", "data": data,
        });
        take(&engine, &of_another);
    }
    let (_, told) = asked_of_desk(address, "claim", "of-another", &json!({"agent": "ann"}));
    assert_eq!(told["case"], "T-another", "{told}");
    applied(&engine, told["position"].as_u64().unwrap());
    until("the rejects are kept", || {
        let text = ask(address, "GET", "/v1/rejects?limit=1000", "default", "").1;
        if text.matches(SECRET).count() >= 4 { Ok(()) } else { Err(text) }
    });
    until("what was given back waits again", || {
        let text = ask(address, "GET", "/v1/views/priority_queue", "default", "").1;
        if text.contains(THEIRS) { Ok(()) } else { Err(text) }
    });
    // The search finds what is there: in every view that has it, by what it is or by whose it is.
    let (mut shown, mut named) = (BTreeSet::new(), BTreeSet::new());
    let before = keys(address, "default", |view, page| {
        if page.contains(SECRET) {
            shown.insert(view.to_string());
        } else if page.contains(WHO) {
            named.insert(view.to_string());
        }
    });
    named.retain(|it| !shown.contains(it));
    let of = |names: &[&str]| names.iter().map(|it| it.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(shown, of(&SHOW_IT));
    assert_eq!(named, of(&NAME_THEM));
    let of_nobody: BTreeSet<String> = before.keys().cloned().collect();
    let of_nobody = &(&of_nobody - &shown) - &named;
    assert_eq!(of_nobody, of(&OF_NOBODY));
    let newest = newest_of(address);
    assert!(newest[0].as_str().is_some_and(|it| it.contains(THEIRS)), "{newest}");
    everything_is_answered(address, &before);
    until("it is in files", || {
        let found = found_in(&data, SECRET.as_bytes());
        let is_in = |it: &str| found.iter().any(|path| path.contains(it));
        if ["/log/", "/state/", "/rejects/", "/sinks/"].into_iter().all(is_in) {
            Ok(())
        } else {
            Err(found.concat())
        }
    });
    // Each decision of the desk by itself: a record of the log, which has its key, and a row.
    for (_, key, ..) in at_the_desk() {
        let found = found_in(&data.join("log"), key.as_bytes());
        assert!(!found.is_empty(), "{key} is not in the log");
        assert!(before["claims"].contains(&key), "{key}: {before:?}");
    }

    let erased = json!({
        "specversion": "1.0", "type": "customer.erased", "source": "desk", "id": "r-1",
        "tenant": "default", "time": "2026-01-03T00:00:00Z", "data": {"customers": [WHO]},
    });
    take(&engine, &erased);
    // From the epoch of the erasure on; the rejects follow.
    keys(address, "default", |view, page| assert!(!page.contains(SECRET), "{view}: {page}"));
    let done = || Done::read(&data).unwrap();
    until("all is gone through", || {
        let done = done();
        let is_done = |it: &millstream::run::erasing::Certificate| {
            let at = [it.log_at_ms, it.rejects_at_ms, it.state_at_ms, it.outbox_at_ms];
            at.iter().all(Option::is_some)
        };
        match &done.customers[..] {
            [it] if is_done(it) => Ok(()),
            _ => Err(format!("{done:?}")),
        }
    });
    nothing_is_answered(address, &before, true);
    let after = keys(address, "default", |_, _| {});
    assert_eq!(after["erasures"], [WHO]);
    for (view, keys) in &after {
        let theirs = |it: &&String| it.contains(WHO);
        let fact = usize::from(view == "erasures");
        assert_eq!(keys.iter().filter(theirs).count(), fact, "{view}: {keys:?}");
    }
    assert_eq!(after["volume"].len(), before["volume"].len() + 1, "counts stay, and count this");
    assert_eq!(after["sentiment_by_product"], [PRODUCT]);
    assert_eq!(newest_of(address), json!([]));
    assert!(after["customers"].contains(&"D-2".to_string()), "nobody else is erased");
    assert_eq!(after["claims"], ["of-another"], "what the desk decided of others stays");
    let it = done().customers.remove(0);
    assert_eq!((&*it.tenant, &*it.customer, &*it.id), ("default", WHO, "r-1"));
    let records = (theirs.len() + at_the_desk().len()) as u64;
    assert_eq!(
        (it.log_records, done().rejects),
        (records, 4),
        "every record, every reject of theirs"
    );
    assert_eq!(found_in(&data, SECRET.as_bytes()), [""; 0]);
    let kept = found_in(&data, THEIRS.as_bytes());
    assert!(kept.iter().all(|it| it.contains("/state/")), "{kept:?}");
    // A receiver hears of it behind all that it was handed of them.
    let number = |path: &String| path.rsplit('/').next().unwrap()[..20].parse::<u64>().unwrap();
    let out = dir.0.join("out");
    let facts = || found_in(&out, b"\"customer\":\"C-17\",\"erased_at\"");
    let facts = || facts().into_iter().filter(|it| it.contains("/rows/")).collect::<Vec<_>>();
    until("a receiver is told", || if facts().is_empty() { Err(String::new()) } else { Ok(()) });
    let facts = facts();
    let data_of_theirs = found_in(&out, SECRET.as_bytes());
    assert!(facts.len() == 1 && data_of_theirs.len() > 5, "{facts:?} {data_of_theirs:?}");
    assert!(data_of_theirs.iter().all(|it| number(it) < number(&facts[0])), "{facts:?}");

    // What comes later is rejected, without its bytes; its record leaves with the segment's end.
    let mut late = life(WHO, SECRET).remove(0);
    late["time"] = json!("2026-01-04T00:00:00Z");
    take(&engine, &late);
    until("it is rejected", || {
        let text = ask(address, "GET", "/v1/rejects?limit=1000", "default", "").1;
        if text.contains("engine/erased") { Ok(()) } else { Err(text) }
    });
    nothing_is_answered(address, &before, false);
    // (It is counted where counts are without a person.)
    let after = keys(address, "default", |_, _| {});
    engine.stop().unwrap();
    let engine = running_with(&dir, &feed, vec![files(&dir)]);
    let address = engine.address().unwrap();
    until("the late record is blanked", || {
        let found = found_in(&data, SECRET.as_bytes());
        if found.is_empty() { Ok(()) } else { Err(found.concat()) }
    });
    nothing_is_answered(address, &before, true);
    assert_eq!(keys(address, "default", |_, _| {}), after, "a restart brings nothing back");
    engine.stop().unwrap();
    assert_eq!(found_in(&data, SECRET.as_bytes()), [""; 0]);
}
