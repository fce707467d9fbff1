//! Every route, the document made from the same table, and what no tenant may see of another.

use std::collections::BTreeSet;

use millstream::serve::routes::{Class, ROUTES};
use millstream::serve::{AdminAction, KeptReject};
use serde_json::json;

use crate::client::{Client, Stream, get, post};
use crate::world::{Running, order, settings, start};

fn concrete(path: &str) -> String {
    path.replace("{view}", "orders").replace("{key}", "O-1")
}

/// Goal: the document says what the router does. Method: ask the real router every method on
/// every path of the document and on some that are in none; compare what it took with the table.
#[tokio::test]
async fn the_document_and_the_router_agree() {
    let server = start(settings()).await;
    server.world.epoch("default", &[("O-1", Some(order("O-1", "paid", 5)))]);
    let document = get(server.address, "/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            documented.insert((method.to_uppercase(), path.clone()));
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{path}");
            for placeholder in ["{view}", "{key}"].iter().filter(|it| path.contains(**it)) {
                let name = placeholder.trim_matches(['{', '}']);
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(parameters.iter().any(|it| it["name"] == name), "{path} {name}");
            }
        }
    }
    let table: BTreeSet<_> =
        ROUTES.iter().map(|it| (it.method.to_string(), it.path.to_string())).collect();
    assert_eq!(documented, table);
    let paths: BTreeSet<&str> = ROUTES.iter().map(|it| it.path).collect();
    for path in &paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if (method, *path) == ("GET", "/v1/stream") {
                continue; // Has no end; the streams have their own tests.
            }
            let mut client = Client::connect(server.address).await;
            let answer = client.ask(method, &concrete(path), &[], "").await;
            let ours = table.contains(&(method.to_string(), path.to_string()));
            assert_eq!(answer.status == 405, !ours, "{method} {path}: {}", answer.status);
            if ours {
                let listed = document["paths"][path][method.to_lowercase()]["responses"]
                    .get(answer.status.to_string());
                assert!(listed.is_some(), "{method} {path} answers {}, unlisted", answer.status);
            } else {
                assert!(answer.header("allow").is_some());
            }
        }
    }
    // What a route takes is in the document, and nothing else is taken.
    for route in ROUTES.iter().filter(|it| it.method == "GET" && it.path.starts_with("/v1/")) {
        if route.path == "/v1/stream" {
            continue;
        }
        let parameters = &document["paths"][route.path]["get"]["parameters"];
        let parameters = parameters.as_array().unwrap();
        let takes = |name: &str| parameters.iter().any(|it| it["name"] == name);
        let refuses = |path: String, header: Option<(&'static str, &'static str)>| async move {
            let mut client = Client::connect(server.address).await;
            let headers: Vec<_> = header.into_iter().collect();
            let answer = client.ask("GET", &path, &headers, "").await;
            (answer.status == 400).then(|| answer.json()["code"].clone())
        };
        let refused = Some(json!("serve/parameter"));
        let path = concrete(route.path);
        let at_least = refuses(path.clone(), Some(("millstream-at-least", "soon"))).await;
        if route.class != Class::Loopback {
            assert_eq!(at_least == refused, takes("millstream-at-least"), "{}", route.path);
        }
        let tenant = refuses(format!("{path}?tenant=default"), None).await;
        assert_eq!(tenant != refused, takes("tenant"), "{}", route.path);
        let tenant = refuses(path.clone(), Some(("millstream-tenant", "default"))).await;
        assert_eq!(tenant != refused, takes("millstream-tenant"), "{}", route.path);
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/view",
        "/v1/views/",
        "/v1/views/orders/",
        "/v2/views",
        "/v1/admin",
        "/v1/admin/other",
        "/health",
        "/metrics/x",
        "//v1/views",
    ] {
        let answer = get(server.address, path).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (404, &json!("serve/no-such-route")),
            "{path}"
        );
    }
}

/// Goal: every refusal is a problem that tells what, why, effect and fix, and names its page.
/// Method: one request per kind of refusal.
#[tokio::test]
async fn refusals_are_problems() {
    let server = start(settings()).await;
    for (path, status, code) in [
        ("/nowhere", 404, "serve/no-such-route"),
        ("/v1/events", 405, "serve/method"),
        ("/v1/views/nothing", 404, "serve/no-such-view"),
        ("/v1/views/nothing/x", 404, "serve/no-such-view"),
        ("/v1/views/orders/x", 404, "serve/no-such-row"),
        ("/v1/views/orders/%FF", 400, "serve/parameter"),
        ("/v1/views/orders?amount=5", 400, "serve/not-filterable"),
        ("/v1/views/orders?limit=0", 400, "serve/parameter"),
        ("/v1/views/orders?limit=1001", 400, "serve/parameter"),
        ("/v1/views/orders?cursor=xyz", 400, "serve/parameter"),
        ("/v1/views?limit=5", 400, "serve/parameter"),
        ("/v1/views?tenant=", 400, "serve/parameter"),
        ("/v1/stream", 400, "serve/parameter"),
        ("/v1/stream?view=nothing", 404, "serve/no-such-view"),
        ("/v1/stream?view=orders&key=a&status=paid", 400, "serve/parameter"),
        ("/v1/stream?view=orders&amount=1", 400, "serve/not-filterable"),
        ("/v1/rejects?limit=x", 400, "serve/parameter"),
        ("/v1/rejects?reason=nonsense", 400, "serve/parameter"),
        ("/v1/rejects?feed=nonsense", 400, "serve/parameter"),
        ("/v1/ledger?x=1", 400, "serve/parameter"),
    ] {
        let answer = get(server.address, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        let body = answer.json();
        assert_eq!(body["code"], code, "{path}");
        assert_eq!(body["status"], status);
        let page = body["type"].as_str().unwrap();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        assert!(std::path::Path::new(&format!("{folder}{page}")).exists(), "{page} is missing");
        for part in ["title", "detail", "effect", "fix"] {
            assert!(!body[part].as_str().unwrap().is_empty(), "{path}: no {part}");
        }
        assert!(body["as_of"]["epoch"].is_u64(), "{path}: no as_of");
    }
    let known = get(server.address, "/v1/rejects?reason=nonsense").await.json();
    assert_eq!(known["known"], json!(["schemas/not-json"]));
    let fields = get(server.address, "/v1/views/orders?amount=5").await.json();
    assert_eq!(fields["filterable"], json!(["status"]));
}

/// Goal: the operator's routes answer. Method: each, against what the world was told to say.
#[tokio::test]
async fn operators_are_answered() {
    let server = start(settings()).await;
    server.world.epoch_at("default", &[], 9);
    let ledger = get(server.address, "/v1/ledger").await.json();
    assert_eq!(ledger["partitions"][0]["applied"], 7);
    assert_eq!(ledger["as_of"]["position"], 9);
    assert!(ledger["as_of"]["time"].as_str().unwrap().starts_with("2026-"));
    let live = get(server.address, "/health/live").await;
    assert_eq!((live.status, &live.json()["live"]), (200, &json!(true)));
    server.world.health.lock().unwrap().not_ready.push("reading 5 records".into());
    let ready = get(server.address, "/health/ready?probe=1").await;
    assert_eq!((ready.status, &ready.json()["reasons"]), (503, &json!(["reading 5 records"])));
    assert_eq!(get(server.address, "/health/live").await.status, 200);
    server.world.health.lock().unwrap().dead.push("a worker ended".into());
    assert_eq!(get(server.address, "/health/live").await.status, 503);
    let dataflow = get(server.address, "/v1/debug/dataflow").await.json();
    assert_eq!(dataflow["dataflow"][0]["name"], "orders");
    let metrics = get(server.address, "/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let line =
        "millstream_http_requests_total{route=\"/v1/ledger\",method=\"GET\",status=\"2xx\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    assert!(metrics.text().ends_with("# EOF\n"));
}

/// Goal: the admin routes do what the command line asks, and only for programs of this machine.
/// Method: the actions heard; a browser's headers. (Other machines: a unit test.)
#[tokio::test]
async fn admin_is_asked_from_here_only() {
    let server = start(settings()).await;
    for (method, path) in [
        ("GET", "/v1/admin/status"),
        ("GET", "/v1/admin/log"),
        ("POST", "/v1/admin/rejects/retry?reason=schemas/not-json&id=3"),
        ("GET", "/v1/admin/feeds"),
        ("POST", "/v1/admin/feeds/reset?feed=k/t&to=0:5,1:6&partition=2"),
        ("POST", "/v1/admin/shutdown"),
    ] {
        let mut client = Client::connect(server.address).await;
        let answer = client.ask(method, path, &[], "").await;
        assert_eq!(
            (answer.status, &answer.json()["result"]["heard"]),
            (200, &json!(true)),
            "{path}"
        );
        for header in
            [("origin", "http://localhost"), ("host", "evil.example"), ("sec-fetch-site", "none")]
        {
            let mut client = Client::connect(server.address).await;
            // A second Host is refused by the parser; a foreign one alone by us.
            let bytes = match header.0 {
                "host" => format!(
                    "{method} {path} HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 0\r\n\r\n"
                ),
                _ => format!(
                    "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\ncontent-length: 0\r\n\r\n",
                    header.0, header.1
                ),
            };
            client.send(bytes).await;
            let answer = client.answer().await.unwrap();
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (403, &json!("serve/loopback-only"))
            );
        }
    }
    let heard = server.world.admin.0.lock().unwrap();
    assert_eq!(
        *heard,
        [
            AdminAction::Status,
            AdminAction::LogStats,
            AdminAction::RetryRejects {
                reason: Some("schemas/not-json".into()),
                feed: None,
                number: Some(3)
            },
            AdminAction::Feeds,
            AdminAction::ResetFeed { feed: "k/t".into(), to: "0:5,1:6".into(), partition: Some(2) },
            AdminAction::Shutdown,
        ]
    );
}

fn reject(id: u64, native: bool, bytes: &[u8]) -> KeptReject {
    let told = json!({"id": id, "feed": "file:a", "text": String::from_utf8_lossy(bytes)});
    KeptReject { id, native, bytes: bytes.to_vec(), told }
}

/// Goal: a tenant finds nothing of another's, whatever it asks. Method: tenant `a` has a canary in
/// every place that holds data; every route of the table is asked as `b`, in every way that could
/// find it, and the answers are searched.
#[tokio::test]
async fn nothing_of_another_tenants_is_found() {
    const CANARY: &str = "canary-5f1e";
    let server = start(settings()).await;
    let world = &server.world;
    let rows: Vec<_> =
        (0..5).map(|n| (format!("{CANARY}-{n}"), order(CANARY, "paid", n))).collect();
    let rows: Vec<_> = rows.iter().map(|(key, row)| (key.as_str(), Some(row.clone()))).collect();
    world.epoch("a", &rows);
    world.cell("a", CANARY, "x", 1);
    world.epoch("b", &[("O-1", Some(order("O-1", "paid", 1)))]);
    world.rejects.0.lock().unwrap().extend([
        reject(1, true, format!(r#"{{"tenant":"a","id":"{CANARY}"}}"#).as_bytes()),
        reject(2, true, format!(r#"{{"tenant":"a","id":"{CANARY}"#).as_bytes()),
        reject(3, true, CANARY.as_bytes()),
        reject(4, false, format!(r#"{{"tenant":"b","id":"{CANARY}"}}"#).as_bytes()),
    ]);
    let event = |tenant: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"feedback.submitted","source":"/s","id":"{CANARY}",
            "tenant":"{tenant}","time":"2026-03-01T09:30:00Z","data":{{"order":"O-1","rating":1}}}}"#
        )
    };
    let taken =
        post(server.address, "/v1/events?tenant=a", "application/cloudevents+json", event("a"))
            .await;
    assert_eq!(taken.status, 202, "{}", taken.text());

    // As `a`, it is there: the search below would find it.
    let (row, list) =
        (format!("/v1/views/orders/{CANARY}-1?tenant="), "/v1/views/orders?limit=2&tenant=");
    let cursor =
        get(server.address, &format!("{list}a")).await.json()["next"].as_str().unwrap().to_string();
    for path in [format!("{row}a"), format!("{list}a"), "/v1/rejects?tenant=a".into()] {
        assert!(get(server.address, &path).await.text().contains(CANARY), "{path}");
    }

    let mut asked = BTreeSet::new();
    let mut search = |route: &'static str, what: &str, text: String| {
        // What was asked for may be told back in a refusal; nothing else may.
        let text = text.replace(what, "");
        assert!(!text.contains(CANARY), "{route}: {text}");
        asked.insert(route);
    };
    let ask = |method: &'static str, path: String, body: String| async move {
        let mut client = Client::connect(server.address).await;
        client.ask(method, &path, &[("content-type", "application/json")], body).await.text()
    };
    // Page by page, newest first.
    let mut numbers = Vec::new();
    let mut path = "/v1/rejects?tenant=a&limit=1".to_string();
    loop {
        let page = get(server.address, &path).await.json();
        numbers.extend(page["rejects"].as_array().unwrap().iter().map(|it| it["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/rejects?tenant=a&limit=1&cursor={next}");
    }
    assert_eq!(numbers, [json!(2), json!(1)]);
    for tenant in ["b", "default", "A", "a%20"] {
        let q = format!("tenant={tenant}");
        for route in ROUTES.iter().filter(|it| it.class != Class::Loopback) {
            let path = match route.path {
                "/v1/stream" => continue,
                "/v1/views/{view}/{key}" => format!("/v1/views/orders/{CANARY}-1?{q}"),
                "/v1/views/{view}" => format!("/v1/views/orders?status=paid&{q}"),
                "/v1/events" => format!("/v1/events?{q}"),
                other => format!("{other}?{q}"),
            };
            let body = match route.path {
                "/v1/read" => json!({"reads": [
                    {"view": "orders", "key": format!("{CANARY}-1")},
                    {"view": "cells", "key": format!("{CANARY}/x")},
                ]})
                .to_string(),
                _ => String::new(),
            };
            if route.path == "/v1/rejects" && tenant == "default" {
                // What belongs to nobody that can be told is the default tenant's to see.
                let text = ask("GET", path, body).await;
                assert_eq!(text.matches(CANARY).count(), 2, "{text}");
                continue;
            }
            let text = ask(route.method, path, body).await;
            let what = if route.path.contains("events") { "" } else { "canary-5f1e-1" };
            let text = text.replace(&format!("{CANARY}/x"), "");
            search(route.path, if what.is_empty() { "\0" } else { what }, text);
        }
        let path = format!("/v1/views/orders?limit=2&cursor={cursor}&{q}");
        search("cursor", "\0", ask("GET", path, String::new()).await);
        let path = format!("/v1/views/cells?row={CANARY}&{q}");
        search("filter", "\0", ask("GET", path, String::new()).await);
        // Naming another tenant inside the event does not help either.
        let path = format!("/v1/events?{q}");
        let kind = "application/cloudevents+json";
        assert_eq!(post(server.address, &path, kind, event("a")).await.status, 400);
    }
    const KEY: &str = "canary-5f1e-1";
    for (n, query) in ["view=orders", "view=orders&status=paid", "view=orders&key=canary-5f1e-1"]
        .iter()
        .enumerate()
    {
        let path = format!("/v1/stream?tenant=b&{query}");
        let mut stream = Stream::open(server.address, &path, &[]).await;
        assert_eq!(stream.next().await.unwrap().event, "snapshot");
        world.epoch("a", &[(KEY, Some(order(CANARY, "paid", 77 + n as i64)))]);
        // Something of its own follows; whatever leaked would have come before it.
        world.epoch("b", &[(KEY, Some(order("own", "paid", n as i64)))]);
        assert_eq!(stream.next().await.unwrap().json()["row"]["order"], "own");
        search("/v1/stream", KEY, String::from_utf8(stream.raw.clone()).unwrap());
    }
    let covered = ROUTES.iter().filter(|it| it.class != Class::Loopback);
    for route in covered {
        assert!(asked.contains(route.path), "{} was not asked", route.path);
    }
    end(server).await;
}

async fn end(server: Running) {
    let (_, ended) = server.stop();
    ended.await.unwrap().unwrap();
}
