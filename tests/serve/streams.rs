//! Streams: what a client has after any event equals the rows at that epoch.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream::serve::routes::Endpoint;
use schemas::rows::Row;
use serde_json::{Value, json};

use crate::client::{Client, PATIENCE, SseEvent, SseParser, Stream, get};
use crate::skipped::shared;
use crate::world::{World, order, settings, start};

/// Goal: the parser that the other tests trust reads as the standard says. Method: the published
/// vectors, whole and byte by byte.
#[test]
fn the_parser_agrees_with_the_vectors() {
    let Some(file) = shared("data/conformance/sse_parsing.json.zst") else { return };
    let bytes = std::fs::read(file).unwrap();
    let cases: Value =
        serde_json::from_slice(&zstd::decode_all(bytes.as_slice()).unwrap()).unwrap();
    for case in cases.as_array().unwrap() {
        use base64::Engine;
        let text = case["stream_base64"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let expected: Vec<SseEvent> = case["expected_events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                let text = |name: &str| it[name].as_str().unwrap().to_string();
                SseEvent { event: text("event"), data: text("data"), id: text("id") }
            })
            .collect();
        assert_eq!(SseParser::default().feed(&bytes), expected, "{}", case["name"]);
        let mut parser = SseParser::default();
        let one_by_one: Vec<_> = bytes.iter().flat_map(|it| parser.feed(&[*it])).collect();
        assert_eq!(one_by_one, expected, "{} byte by byte", case["name"]);
        assert_eq!(parser.retry, case["retry"].as_u64(), "{}", case["name"]);
    }
}

/// What a client knows, event by event.
#[derive(Default)]
struct Known(BTreeMap<String, Value>);

impl Known {
    fn take(&mut self, event: &SseEvent) {
        let data = event.json();
        let key = || data["key"].as_str().unwrap().to_string();
        match event.event.as_str() {
            "snapshot" => {
                for row in data["rows"].as_array().unwrap() {
                    self.0.insert(row["key"].as_str().unwrap().into(), row["row"].clone());
                }
            }
            "enter" => assert!(self.0.insert(key(), data["row"].clone()).is_none(), "{data}"),
            "update" => assert!(self.0.insert(key(), data["row"].clone()).is_some(), "{data}"),
            "leave" => assert!(self.0.remove(&key()).is_some(), "{data}"),
            "reset" => self.0.clear(),
            other => panic!("{other}: {data}"),
        }
    }
}

/// The client's last id has come to this epoch.
async fn until(stream: &mut Stream, known: &mut Known, epoch: u64) {
    while stream.parser.last_id().parse::<u64>().is_ok_and(|it| it < epoch)
        || stream.parser.last_id().is_empty()
    {
        assert!(stream.read().await, "the stream ended early");
        while let Some(event) = stream.ready() {
            known.take(&event);
        }
    }
}

async fn listed(address: std::net::SocketAddr, query: &str) -> BTreeMap<String, Value> {
    let page = get(address, &format!("/v1/views/orders?limit=1000&{query}")).await.json();
    let rows = page["rows"].as_array().unwrap();
    rows.iter().map(|it| (it["key"].as_str().unwrap().into(), it["row"].clone())).collect()
}

fn some(key: &str, status: &str, amount: i64) -> Option<Row> {
    Some(order(key, status, amount))
}

/// Goal: a snapshot, then enter, update and leave. Method: one row's life, seen by three watchers:
/// all rows, those that are paid, that one row.
#[tokio::test]
async fn a_rows_life() {
    let server = start(settings()).await;
    let world = &server.world;
    world.epoch("default", &[("A", some("A", "paid", 1))]);
    let mut all = Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
    let mut paid = Stream::open(server.address, "/v1/stream?view=orders&status=paid", &[]).await;
    let mut one = Stream::open(server.address, "/v1/stream?view=orders&key=B", &[]).await;
    for (stream, rows) in [(&mut all, 1), (&mut paid, 1), (&mut one, 0)] {
        let first = stream.next().await.unwrap();
        assert_eq!(first.event, "snapshot");
        let data = first.json();
        assert_eq!((data["rows"].as_array().unwrap().len(), &data["last"]), (rows, &json!(true)));
        assert_eq!(first.id, data["as_of"]["epoch"].to_string());
    }
    assert_eq!(all.parser.retry, Some(2_000));
    // Waiting for each step's event keeps epochs from being gathered together.
    let mut step = async |row: Option<Row>, expected: [Option<&str>; 3]| {
        let epoch = world.epoch("default", &[("B", row.clone())]);
        for (stream, expected) in [&mut all, &mut paid, &mut one].into_iter().zip(expected) {
            let Some(expected) = expected else { continue };
            let event = stream.next().await.unwrap();
            let data = event.json();
            assert_eq!((event.event.as_str(), &data["key"]), (expected, &json!("B")));
            assert_eq!((event.id, &data["as_of"]["epoch"]), (epoch.to_string(), &json!(epoch)));
            assert_eq!(data["row"]["amount"].as_i64().is_some(), expected != "leave");
        }
    };
    step(some("B", "new", 1), [Some("enter"), None, Some("enter")]).await;
    step(some("B", "paid", 1), [Some("update"), Some("enter"), Some("update")]).await;
    step(some("B", "paid", 1), [None, None, None]).await;
    step(some("B", "paid", 2), [Some("update"); 3]).await;
    step(some("B", "late", 2), [Some("update"), Some("leave"), Some("update")]).await;
    step(None, [Some("leave"), None, Some("leave")]).await;
}

/// Goal: after every event, and after coming back, a client has exactly the rows of that epoch.
/// Method: random histories; clients that come back by their last id and apply what they get.
#[tokio::test]
async fn what_a_client_has_equals_the_rows() {
    let mut short = settings();
    short.idle_timeout = Duration::from_millis(400); // Heartbeats come often, and move ids.
    let server = start(short).await;
    let world = &server.world;
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let queries = ["", "status=paid"];
    let mut known = [Known::default(), Known::default()];
    let mut ids = [String::new(), String::new()];
    for round in 0..20 {
        let mut streams = Vec::new();
        for (query, id) in queries.iter().zip(&ids) {
            let path = format!("/v1/stream?view=orders&{query}");
            let headers: &[(&str, &str)] =
                if id.is_empty() { &[] } else { &[("last-event-id", id.as_str())] };
            streams.push(Stream::open(server.address, &path, headers).await);
        }
        let mut epoch = 0;
        for _ in 0..10 {
            let keys: Vec<String> = (0..3).map(|_| format!("K{}", random(12))).collect();
            let mut changes: BTreeMap<&str, Option<Row>> = BTreeMap::new();
            for key in &keys {
                let row = match random(4) {
                    0 => None,
                    1 => some(key, "new", random(3) as i64),
                    _ => some(key, "paid", random(3) as i64),
                };
                changes.insert(key, row);
            }
            let changes: Vec<_> = changes.into_iter().collect();
            epoch = world.epoch("default", &changes);
        }
        for (n, stream) in streams.iter_mut().enumerate() {
            until(stream, &mut known[n], epoch).await;
            assert_eq!(known[n].0, listed(server.address, queries[n]).await, "round {round}");
            ids[n] = stream.parser.last_id().to_string();
        }
        if round == 10 {
            // Long away, or of another run: told, and given everything anew.
            ids[0] = "5".into();
            ids[1] = "not an epoch".into();
        }
    }
    assert_eq!(world.metrics.stream_resets.get(), 2);
}

/// Goal: a snapshot larger than one event is one instant. Method: 1,300 rows that all change while
/// it is sent; a client that comes to the end has the newest.
#[tokio::test]
async fn a_long_snapshot_is_one_instant() {
    let server = start(settings()).await;
    let names: Vec<String> = (0..1_300).map(|n| format!("O-{n:04}")).collect();
    let all = |amount| -> Vec<_> {
        names.iter().map(|it| (it.as_str(), some(it, "paid", amount))).collect()
    };
    server.world.epoch("default", &all(1));
    let mut stream = Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
    let mut known = Known::default();
    let mut parts = 0;
    loop {
        let part = stream.next().await.unwrap();
        assert_eq!(part.event, "snapshot");
        let data = part.json();
        assert!(data["rows"].as_array().unwrap().iter().all(|it| it["row"]["amount"] == 1));
        known.take(&part);
        if parts == 0 {
            assert_eq!(part.id, "", "an id before the end would skip the rest");
            server.world.epoch("default", &all(2));
        }
        parts += 1;
        if data["last"] == true {
            break;
        }
    }
    assert_eq!((parts, known.0.len()), (3, 1_300));
    let epoch = server.world.epoch("default", &[("O-0000", None)]);
    until(&mut stream, &mut known, epoch).await;
    assert_eq!(known.0.len(), 1_299);
    assert!(known.0.values().all(|it| it["amount"] == 2));
}

/// Goal: text of a user's cannot forge events. Method: rows with CR, LF and whole events in their
/// text, read back by the standard's rules.
#[tokio::test]
async fn text_cannot_forge_events() {
    let server = start(settings()).await;
    let evil = "x\r\nevent: forged\rdata: 1\n\nid: 9\u{0}\u{2028}\u{feff}";
    let key = schemas::names::key_text(&[evil]);
    server.world.epoch("default", &[(&key, some(evil, evil, 1))]);
    let mut stream = Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
    let snapshot = stream.next().await.unwrap();
    assert_eq!(snapshot.json()["rows"][0]["row"]["order"], evil);
    server.world.epoch("default", &[(&key, some(evil, evil, 2))]);
    let update = stream.next().await.unwrap();
    assert_eq!((update.event.as_str(), &update.json()["row"]["status"]), ("update", &json!(evil)));
    assert_eq!(update.id, update.json()["as_of"]["epoch"].to_string());
    server.world.epoch("default", &[(&key, None)]);
    assert_eq!(stream.next().await.unwrap().event, "leave");
}

/// Goal: a quiet stream shows that it lives, and its id moves on. Method: a watcher of a row that
/// does not change while others do.
#[tokio::test]
async fn heartbeats_move_the_id() {
    let mut short = settings();
    short.idle_timeout = Duration::from_millis(40);
    let server = start(short).await;
    let mut stream = Stream::open(server.address, "/v1/stream?view=orders&key=A", &[]).await;
    assert_eq!(stream.next().await.unwrap().event, "snapshot");
    let epoch = server.world.epoch("default", &[("B", some("B", "new", 1))]);
    let mut known = Known::default();
    until(&mut stream, &mut known, epoch).await;
    assert_eq!(stream.parser.last_id(), epoch.to_string());
    assert!(String::from_utf8(stream.raw.clone()).unwrap().contains(": still here\n"));
    assert!(known.0.is_empty());
}

/// Goal: one stream too many is told at once, and the others are not touched. Method: two allowed.
#[tokio::test]
async fn as_many_streams_as_may_be() {
    let mut few = settings();
    few.max_streams = 2;
    let server = start(few).await;
    let mut first = Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
    let second = Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
    let third = get(server.address, "/v1/stream?view=orders").await;
    assert_eq!((third.status, &third.json()["code"]), (503, &json!("serve/too-many-streams")));
    assert_eq!(third.header("retry-after"), Some("5"));
    first.next().await.unwrap();
    server.world.epoch("default", &[("A", some("A", "new", 1))]);
    assert_eq!(first.next().await.unwrap().event, "enter");
    drop(second);
    // Its place is free once the server has noticed: with the next thing it would have sent.
    let deadline = tokio::time::timeout(PATIENCE, async {
        let mut amount = 2;
        while server.world.metrics.streams.get() > 1 {
            server.world.epoch("default", &[("A", some("A", "new", amount))]);
            amount += 1;
            first.next().await.unwrap();
        }
    });
    deadline.await.expect("a left stream gives its place back");
    Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
}

/// Changes until the watcher is found slow: big rows, epoch by epoch.
async fn flood(world: &World, enough: impl Fn() -> bool) -> u64 {
    let text = "x".repeat(60_000);
    let mut epochs = 0;
    let flooding = async {
        while !enough() {
            world.epoch("default", &[("A", some(&text, "new", epochs as i64))]);
            epochs += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, flooding).await.expect("a slow stream is noticed");
    epochs
}

/// Goal: who reads too slowly is told and closed; what waits for it is bounded; others go on.
/// Method: a client with a small window that stops reading, then reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_is_told() {
    let server = start(settings()).await;
    let world = &server.world;
    let client = Client::with_small_window(server.address).await;
    let mut slow = Stream::on(client, "/v1/stream?view=orders", &[]).await;
    slow.next().await.unwrap();
    let reason = millstream::metrics::OfReason { reason: "slow" };
    let let_go = || world.metrics.streams_ended.get_or_create(&reason).get() > 0;
    // Reads nothing until the server has given up on it.
    flood(world, || world.metrics.watchers_slow.get() > 0).await;
    let mut last = None;
    while let Some(event) = slow.next().await {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!((last.event.as_str(), &last.json()["reason"]), ("closed", &json!("slow")));
    assert!(let_go());
    let mut other = Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
    assert_eq!(other.next().await.unwrap().event, "snapshot");
}

/// Goal: a client that never reads is cut within the deadline for writing. Method: flood it, and
/// wait for its connection to be closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_is_cut() {
    let mut short = settings();
    short.body_timeout = Duration::from_millis(200);
    let server = start(short).await;
    let mut client = Client::with_small_window(server.address).await;
    client.send("GET /v1/stream?view=orders HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    client.head().await.unwrap();
    let cut = millstream::metrics::OfReason { reason: "not-reading" };
    let cut = server.world.metrics.cut.get_or_create(&cut).clone();
    flood(&server.world, || cut.get() > 0).await;
    let streams_end = async {
        while server.world.metrics.streams.get() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, streams_end).await.expect("the stream's task ends with it");
    assert_eq!(server.world.metrics.connections.get(), 0);
    assert!(get(server.address, "/health/live").await.status == 200);
    // The table names the route that these tests are about.
    assert_eq!(millstream::serve::routes::Route::of(Endpoint::Stream).path, "/v1/stream");
}
