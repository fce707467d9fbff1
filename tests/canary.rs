//! Goal: a tenant finds nothing of another's, whatever it asks. Method: a running engine with its
//! log, a feed and its HTTP server; tenant `a` has a canary in every text of every type of event,
//! in rows, relations and rejects; every route of the table is asked as `b`, in every way that
//! could find it, and every answer is searched. (`tests/serve/routes.rs` has the same for the HTTP
//! room alone.)
//! That nothing of an erased customer is found: `erased.rs`.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "canary/erased.rs"]
mod erased;
#[path = "../benches/common/mod.rs"]
mod http;
#[path = "common/life.rs"]
mod life;
#[path = "common/searched.rs"]
mod searched;
#[path = "support/temp_dir.rs"]
mod temp_dir;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::{Client, post};
use millstream::config::sinks::{Sort, To};
use millstream::config::{Settings, SinkSettings};
use millstream::run::{Plan, Running, Source, start};
use millstream::serve::routes::{Class, ROUTES};
use serde_json::{Value, json};
use temp_dir::TempDir;

const CANARY: &str = "canary-5f1e";
const EVENTS: &str = "application/cloudevents+json";

/// What the process can do is a row of the tenant `default`, and no other's.
const OF_PROCESS: [&str; 2] = ["capacity", "capacity_advice"];

/// One good event of every type, from the examples that show everything a type can say.
fn examples() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/examples");
    let whole = |name: &str| std::fs::read_to_string(format!("{folder}/{name}/accepted-whole.txt"));
    let published = schemas::published::all();
    let examples = published.iter().map(|(name, _)| {
        let text = whole(name).unwrap_or_else(|why| panic!("{name}: {why}"));
        serde_json::from_str(text.split("\n----").next().unwrap()).unwrap()
    });
    examples.collect()
}

/// The paths of every text in a document.
fn texts(of: &Value, at: String, out: &mut Vec<String>) {
    let inner = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    match of {
        Value::String(_) => out.push(at),
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(n, it)| texts(it, inner(&n.to_string()), out));
        }
        Value::Object(all) => all.iter().for_each(|(name, it)| texts(it, inner(name), out)),
        _ => {}
    }
}

/// The event as this tenant's, with a mark in every text that may be any text, and how many.
fn marked(mut event: Value, tenant: &str, mark: &str) -> (Value, usize) {
    let mut paths = Vec::new();
    event.as_object_mut().unwrap().retain(|name, _| name != "subject" && name != "dataschema");
    event["tenant"] = json!(tenant);
    event["time"] = json!("2026-03-01T09:30:00Z");
    event["traceparent"] = json!("trace");
    texts(&event["data"], "/data".into(), &mut paths);
    paths.extend(["/id", "/source", "/traceparent"].map(String::from));
    let mut n = 0;
    for path in paths {
        // The same field of every type has the same text, so that what belongs together is found
        // together: an order's customer is a customer.
        let field = path.rsplit('/').find(|it| it.parse::<u32>().is_err()).unwrap();
        let place = event.pointer_mut(&path).unwrap();
        let (was, text) = (place.take(), format!("{mark}-{field}"));
        *place = json!(if path == "/id" { format!("{text}-{}", event_id()) } else { text });
        if schemas::decode::structured(event.to_string().as_bytes()).is_ok() {
            n += 1;
        } else {
            *event.pointer_mut(&path).unwrap() = was;
        }
    }
    if event["type"] == "record.deleted" {
        // Of an earlier version than the upserted one: the record stands, and can be found.
        event["data"]["version"] = json!("0");
    }
    (event, n)
}

fn event_id() -> u64 {
    static N: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    N.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
}

fn running(dir: &TempDir, feed: &str) -> Running {
    running_with(dir, feed, Vec::new())
}

/// Files of everything, beside the data folder.
fn files(dir: &TempDir) -> SinkSettings {
    SinkSettings {
        name: "files".into(),
        take: vec![Sort::Rows, Sort::Changes, Sort::Events],
        views: Vec::new(),
        max_bytes: 1 << 30,
        batch_rows: 1_000,
        batch_bytes: 1 << 20,
        flush_every: Duration::from_millis(50),
        timeout: Duration::from_secs(30),
        to: To::Jsonl(dir.0.join("out")),
    }
}

fn running_with(dir: &TempDir, feed: &str, sinks: Vec<SinkSettings>) -> Running {
    let path = dir.0.join("feed.jsonl");
    std::fs::write(&path, feed).unwrap();
    let mut settings = Settings::default_in(&dir.0.join("data"));
    settings.serve.listen = "127.0.0.1:0".parse().unwrap();
    settings.sinks = sinks;
    let source = |name: &str, mapping| Source {
        name: name.into(),
        path: path.clone(),
        mapping,
        repeat: 1,
        rate: None,
    };
    let mapping = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/mappings/crm_workload.toml");
    let plan = Plan {
        // The same lines once more through a mapping, which takes none of them.
        sources: vec![source("shop", None), source("foreign", Some(mapping.into()))],
        ..Plan::of(&settings)
    };
    start(settings, plan).unwrap()
}

/// Asks with a tenant in both places; status and text.
fn ask(address: SocketAddr, method: &str, path: &str, tenant: &str, body: &str) -> (u16, String) {
    ask_under(address, &format!("k-{}", event_id()), method, path, tenant, body)
}

/// The same under an `Idempotency-Key`.
fn ask_under(
    address: SocketAddr,
    key: &str,
    method: &str,
    path: &str,
    tenant: &str,
    body: &str,
) -> (u16, String) {
    let kind = if path.starts_with("/v1/events") { EVENTS } else { "application/json" };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nmillstream-tenant: {tenant}\r\n\
         content-type: {kind}\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = Client::connect(address);
    let (status, text) = client.send(request.as_bytes());
    (status, String::from_utf8(text.to_vec()).unwrap())
}

/// Waits until the views have everything below this position of the log.
fn applied(running: &Running, next: u64) {
    let end = Instant::now() + Duration::from_secs(60);
    while running.read.newest.borrow().position < next {
        assert!(Instant::now() < end, "what is below {next} is not applied");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Takes an event at the door; what only we may say is appended, as the rooms that say it do.
fn take(running: &Running, event: &Value) {
    let text = event.to_string().into_bytes();
    if schemas::own::from_outside(&schemas::decode::structured(&text).unwrap()).is_err() {
        let answer = running.append.as_ref().unwrap().append(vec![text]).unwrap();
        applied(running, answer.blocking_recv().unwrap().unwrap().next);
        return;
    }
    let path = format!("/v1/events?wait=applied&tenant={}", event["tenant"].as_str().unwrap());
    let mut client = Client::connect(running.address().unwrap());
    let (status, body) = client.send(&post(&path, EVENTS, &text));
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(body));
}

/// Every key of every view, read page by page as a tenant; every page is handed to `see`.
fn keys(
    address: SocketAddr,
    tenant: &str,
    mut see: impl FnMut(&str, &str),
) -> BTreeMap<String, Vec<String>> {
    let (_, catalogue) = ask(address, "GET", "/v1/views", tenant, "");
    let catalogue: Value = serde_json::from_str(&catalogue).unwrap();
    let mut keys = BTreeMap::new();
    for view in catalogue["views"].as_array().unwrap() {
        let name = view["name"].as_str().unwrap();
        let mut path = format!("/v1/views/{name}?limit=1");
        let all: &mut Vec<String> = keys.entry(name.to_string()).or_default();
        loop {
            let (status, text) = ask(address, "GET", &path, tenant, "");
            assert_eq!(status, 200, "{path}: {text}");
            see(name, &text);
            let page: Value = serde_json::from_str(&text).unwrap();
            let rows = page["rows"].as_array().unwrap();
            all.extend(rows.iter().map(|it| it["key"].as_str().unwrap().to_string()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/views/{name}?limit=1&cursor={next}");
        }
        assert_eq!(all.len() as u64, view["rows"].as_u64().unwrap(), "{name}");
    }
    keys
}

/// What a stream sends up to the first line with these words.
fn streamed(stream: &mut BufReader<TcpStream>, until: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(until) || !seen.ends_with("\n\n") {
        assert!(stream.read_line(&mut seen).unwrap() > 0, "the stream ended: {seen}");
    }
    seen
}

/// A case that waits, one that the desk has handed out, an order with which something is wrong,
/// customers who are and are not one, and what a rule said.
fn queued(running: &Running, tenant: &str, mark: &str) {
    for (kind, source, mut data) in [
        ("case.opened", "s", json!({"severity": 2, "queue": format!("{mark}-queue")})),
        ("case.assigned", schemas::events::DESK, json!({"agent": format!("{mark}-agent")})),
    ] {
        let n = event_id();
        data["case"] = json!(format!("{mark}-{kind}-{n}"));
        data["customer"] = json!(format!("{mark}-customer"));
        let event = json!({
            "specversion": "1.0", "type": kind, "source": source, "tenant": tenant,
            "id": format!("{mark}-{kind}-{n}"), "time": "2026-01-02T00:00:00Z", "data": data,
        });
        take(running, &event);
    }
    let of = |field: &str| format!("{mark}-{field}");
    // Delivered before it was shipped: something is wrong with it.
    for (status, day) in [("delivered", 2), ("shipped", 3)] {
        let event = json!({
            "specversion": "1.0", "type": "order.status_changed", "source": "s", "tenant": tenant,
            "id": of(status), "time": format!("2026-01-0{day}T00:00:00Z"),
            "data": {"order": of("contradictory"), "status": status, "customer": of("customer")},
        });
        take(running, &event);
    }
    // Two who are said to be one with a third, and not to be one: a link does not count.
    for (kind, a, b) in [("linked", "x", "y"), ("linked", "y", "z"), ("separated", "x", "z")] {
        let event = json!({
            "specversion": "1.0", "type": format!("customer.{kind}_by_hand"), "source": "s",
            "tenant": tenant, "id": format!("{mark}-{a}{b}"), "time": "2026-01-02T00:00:00Z",
            "data": {"customer": of(a), "other": of(b)},
        });
        take(running, &event);
    }
    let event = json!({
        "specversion": "1.0", "type": "message.planned", "source": schemas::events::NOTIFY,
        "tenant": tenant, "id": of("planned"), "time": "2026-01-02T00:00:00Z",
        "data": {
            "message": of("message"), "rule": of("rule"), "version": of("version"),
            "view": of("view"), "about": of("about"), "episode": of("episode"),
            "channel": of("channel"), "severity": of("severity"), "text": of("text"),
            "customer": of("customer"),
        },
    });
    take(running, &event);
    let event = json!({
        "specversion": "1.0", "type": "message.marked", "source": schemas::events::NOTIFY,
        "tenant": tenant, "id": of("marked"), "time": "2026-01-03T00:00:00Z",
        "data": {"message": of("message"), "mark": "acknowledged", "by": of("acknowledged_by")},
    });
    take(running, &event);
}

fn clean(route: &str, text: &str, asked: &str) {
    // What was asked for may be told back; nothing else may.
    let text = if asked.is_empty() { text.to_string() } else { text.replace(asked, "") };
    assert!(!text.contains(CANARY), "{route} as another tenant: {text}");
}

/// In a path: a key is percent-encoded already, as its row says it.
fn encoded(key: &str) -> String {
    key.replace(' ', "%20")
}

#[test]
fn nothing_of_another_tenants_is_found_in_a_running_engine() {
    let dir = TempDir::new();
    let feed = format!(
        "{{\"tenant\":\"a\",\"id\":\"{CANARY}\"}}\n{{\"tenant\":\"a\",\"id\":\"{CANARY}\n{CANARY}\n\
         {{\"tenant\":\"b\",\"id\":\"own\"}}\n"
    );
    let running = running(&dir, &feed);
    let address = running.address().unwrap();
    for example in examples() {
        let (event, n) = marked(example.clone(), "a", CANARY);
        assert!(n >= 4, "{n} texts of {event}");
        take(&running, &event);
        take(&running, &marked(example, "b", "own").0);
    }
    queued(&running, "a", CANARY);
    // As `a` it is there, in every view whose rows have texts: the search below would find it.
    let mut shown = BTreeSet::new();
    let theirs = keys(address, "a", |view, page| {
        if page.contains(CANARY) {
            shown.insert(view.to_string());
        }
    });
    for view in running.read.views.iter() {
        let name = view.def().name;
        if OF_PROCESS.contains(&name) {
            assert!(theirs[name].is_empty(), "{name}: {theirs:?}");
            continue;
        }
        assert!(!theirs[name].is_empty(), "{name} has no rows");
        // Of these, rows hold nothing that somebody says freely (of the order that is delivered here
        // nobody says where it goes).
        let counts = ["volume", "orders_by_status", "order_kpis"].contains(&name);
        assert_eq!(shown.contains(name), !counts, "{name}: {theirs:?}");
    }
    // The feed is read by and by: two rejects are `a`'s, one is `b`'s, five are nobody's.
    let rejects = |tenant: &str, more: &str| {
        let (status, text) =
            ask(address, "GET", &format!("/v1/rejects?limit=1000{more}"), tenant, "");
        assert_eq!(status, 200, "{text}");
        let page: Value = serde_json::from_str(&text).unwrap();
        (page["rejects"].as_array().unwrap().len(), text)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while (rejects("a", "").0, rejects("b", "").0, rejects("default", "").0) != (2, 1, 5) {
        assert!(Instant::now() < deadline, "{}", rejects("b", "").1);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(rejects("a", "").1.matches(CANARY).count(), 2);
    let list = "/v1/views/orders?limit=1";
    take(
        &running,
        &marked(
            json!({"specversion": "1.0", "type": "order.placed", "source": "s", "id": "x",
        "data": {"order": "o", "customer": "c", "currency": "EUR",
                 "lines": [{"sku": "s", "quantity": 1, "unit_price": 1}]}}),
            "a",
            "canary-5f1e-2",
        )
        .0,
    );
    let page: Value = serde_json::from_str(&ask(address, "GET", list, "a", "").1).unwrap();
    let cursor = page["next"].as_str().expect("`a` has two orders").to_string();

    let mut asked = BTreeSet::new();
    for tenant in ["b", "A", "a-", "nobody"] {
        for route in ROUTES {
            asked.insert(route.path);
            let (path, body) = match route.path {
                // Page by page, below; here by key.
                "/v1/views/{view}/{key}" => {
                    for (view, keys) in &theirs {
                        for key in keys {
                            let path = format!("/v1/views/{view}/{}", encoded(key));
                            let (status, text) = ask(address, "GET", &path, tenant, "");
                            let own = !key.contains(CANARY);
                            assert!(status == 404 || own, "{path}: {text}");
                            // What a key has encoded the path has encoded once more.
                            clean(&path, &text.replace(&encoded(key), ""), key);
                        }
                    }
                    continue;
                }
                "/v1/read" => {
                    let of = |(view, keys): (&String, &Vec<String>)| {
                        keys.iter().map(|it| json!({"view": view, "key": it})).collect::<Vec<_>>()
                    };
                    let reads: Vec<Value> = theirs.iter().flat_map(of).collect();
                    // A hundred at most are read at once.
                    for reads in reads.chunks(100) {
                        let body = json!({ "reads": reads }).to_string();
                        let (status, text) = ask(address, "POST", route.path, tenant, &body);
                        assert_eq!(status, 200, "{text}");
                        let answer: Value = serde_json::from_str(&text).unwrap();
                        for result in answer["results"].as_array().unwrap() {
                            clean("/v1/read", &result["row"].to_string(), "");
                        }
                    }
                    continue;
                }
                "/v1/sql" => {
                    let all = theirs.keys().map(|it| format!("SELECT * FROM {it};"));
                    let by_text = theirs.keys().map(|it| {
                        let def = running.read.views.iter().find(|view| view.def().name == it);
                        let fields = def.unwrap().def().fields.iter();
                        let any = fields.map(|it| format!("\"{}\" LIKE '%canary%'", it.name));
                        let any = any.collect::<Vec<_>>().join(" OR ");
                        format!("SELECT * FROM {it} WHERE {any};")
                    });
                    let by_key = theirs.iter().flat_map(|(view, keys)| {
                        let def = running.read.views.iter().find(|it| it.def().name == view);
                        let part = def.unwrap().def().key[0];
                        keys.iter().map(move |key| {
                            format!("SELECT * FROM {view} WHERE \"{part}\" = '{key}';")
                        })
                    });
                    let sql: Vec<String> = all.chain(by_text).chain(by_key).collect();
                    let mut is_found = 0;
                    for sql in sql.chunks(50) {
                        let body = json!({"sql": sql.concat()}).to_string();
                        let (status, text) = ask(address, "POST", route.path, tenant, &body);
                        assert_eq!(status, 200, "{text}");
                        clean(route.path, &text, "");
                        let (status, text) = ask(address, "POST", route.path, "a", &body);
                        assert_eq!(status, 200, "{text}");
                        is_found += usize::from(text.contains(CANARY));
                    }
                    // The last statements may be about rows without texts.
                    assert!(is_found * 50 + 50 >= sql.len(), "{is_found} of {}", sql.len());
                    continue;
                }
                "/v1/events" => {
                    let (event, _) = marked(examples().remove(0), "a", "other");
                    let (status, text) =
                        ask(address, "POST", route.path, tenant, &event.to_string());
                    assert_eq!(status, 400, "an event that names another tenant: {text}");
                    clean(route.path, &text, "");
                    let (event, _) = marked(examples().remove(0), tenant, "own");
                    (format!("{}?wait=applied", route.path), event.to_string())
                }
                "/v1/stream" => continue,
                path if path.starts_with("/v1/notifications/") => {
                    // What `a` was told cannot be marked, nor is it said to be there.
                    let body = match path.ends_with("/snooze") {
                        true => json!({"until": null}),
                        false => json!({}),
                    };
                    assert!(!theirs["notifications"].is_empty());
                    for key in &theirs["notifications"] {
                        let path = path.replace("{message}", &encoded(key));
                        let (status, text) =
                            ask(address, route.method, &path, tenant, &body.to_string());
                        let own = !key.contains(CANARY);
                        assert!(status == 404 || own, "{path}: {status} {text}");
                        clean(&path, &text, key);
                    }
                    continue;
                }
                path if path.starts_with("/v1/queues/") => {
                    // What `a` has waiting there is neither shown nor given.
                    let case = format!("{CANARY}-case");
                    let path = path.replace("{queue}", &format!("{CANARY}-queue"));
                    let body = match path.rsplit('/').next() {
                        Some("claim") => json!({"agent": "x"}),
                        Some("release" | "complete") => json!({"agent": "x", "case": case}),
                        _ => json!({}),
                    };
                    let (status, text) =
                        ask(address, route.method, &path, tenant, &body.to_string());
                    assert!([200, 404].contains(&status), "{path}: {status} {text}");
                    assert!(status == 404 || !text.contains(&case), "{path}: {text}");
                    clean(&path, &text.replace(&case, ""), &format!("{CANARY}-queue"));
                    continue;
                }
                "/v1/views/{view}" => (format!("{list}&cursor={cursor}"), String::new()),
                path => (path.to_string(), String::new()),
            };
            let (status, text) = ask(address, route.method, &path, tenant, &body);
            clean(&path, &text, "");
            match route.class {
                // What these show is of every tenant; they answer no caller that names one.
                Class::Loopback => assert_eq!(status, 400, "{path}: {text}"),
                _ if path.contains("cursor") => assert_eq!(status, 400, "{path}: {text}"),
                _ => assert!(status < 300 || path == "/health/ready", "{path}: {status} {text}"),
            }
        }
        keys(address, tenant, |view, page| clean(view, page, ""));
        // By every field that can be asked for, with what `a` has there.
        for view in running.read.views.iter() {
            let def = view.def();
            for field in def.filterable() {
                let path = format!("/v1/views/{}?{field}={CANARY}-{field}", def.name);
                let (_, text) = ask(address, "GET", &path, tenant, "");
                clean(&path, &text, &format!("{CANARY}-{field}"));
            }
        }
        for more in ["", "&reason=schemas/wrong-shape", "&reason=schemas/not-json", "&feed=shop"] {
            clean("/v1/rejects", &rejects(tenant, more).1, "");
        }
    }
    assert_eq!(asked.len(), ROUTES.iter().map(|it| it.path).collect::<BTreeSet<_>>().len());

    // Streams: what `a` does meanwhile comes before what `b` then does.
    let names = running.read.views.iter().map(|it| it.def().name);
    let mut queries: Vec<String> =
        names.filter(|it| !OF_PROCESS.contains(it)).map(|it| format!("view={it}")).collect();
    queries.push("view=orders&key=canary-5f1e-order".into());
    for query in &queries {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut stream = BufReader::new(stream);
        write!(stream.get_mut(), "GET /v1/stream?tenant=b&{query} HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        clean(query, &streamed(&mut stream, "event: snapshot"), "");
        for example in examples() {
            take(&running, &marked(example, "a", CANARY).0);
        }
        queued(&running, "a", CANARY);
        if query.contains("key") {
            let (event, _) = marked(examples().remove(0), "b", "own");
            // The one order that it watches, as its own.
            let mut own = event.clone();
            own["type"] = json!("order.cancelled");
            own["data"] = json!({"order": "canary-5f1e-order"});
            own["id"] = json!("of-b");
            take(&running, &own);
            clean(query, &streamed(&mut stream, "event: enter"), "canary-5f1e-order");
        } else {
            // Of one customer, as those of `a`: a person is judged by what was bought and said.
            let own = format!("own-{}", event_id());
            for example in examples() {
                take(&running, &marked(example, "b", &own).0);
            }
            queued(&running, "b", &format!("own-{}", event_id()));
            let seen = streamed(&mut stream, "event: ");
            clean(query, &seen, "");
            assert!(seen.contains("event: enter") || seen.contains("event: update"), "{seen}");
        }
    }
    running.stop().unwrap();
}
