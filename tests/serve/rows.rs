//! Rows: one, pages of many, several at one instant; waiting for one's own writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, get, post};
use crate::world::{FIRST, order, settings, start};

fn keys(page: &Value) -> Vec<String> {
    let rows = page["rows"].as_array().unwrap();
    rows.iter().map(|it| it["key"].as_str().unwrap().to_string()).collect()
}

/// Goal: a row is found by its key however the key is encoded, and says its instant. Method: keys
/// with everything in them.
#[tokio::test]
async fn one_row() {
    let server = start(settings()).await;
    let odd = schemas::names::key_text(&["50% ä/b"]);
    let rows =
        [("O-1", Some(order("O-1", "paid", 5))), (odd.as_str(), Some(order("odd", "new", 6)))];
    server.world.epoch_at("default", &rows, 42);
    server.world.cell("default", "r/1", "c", 9);
    let answer = get(server.address, "/v1/views/orders/O-1").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.json(),
        json!({
            "as_of": {"epoch": FIRST + 10, "time": "2026-09-21T14:13:20.010Z", "position": 42},
            "view": "orders",
            "key": "O-1",
            "row": {"order": "O-1", "status": "paid", "amount": 5},
        })
    );
    for path in ["50%25%20%C3%A4%2Fb", "50%25%20%c3%a4%2fb"] {
        let row = get(server.address, &format!("/v1/views/orders/{path}")).await.json();
        assert_eq!((&row["key"], &row["row"]["amount"]), (&json!("50%25 ä%2Fb"), &json!(6)));
    }
    let cell = get(server.address, "/v1/views/cells/r%2F1/c").await.json();
    assert_eq!(cell["row"], json!({"row": "r/1", "column": "c", "n": 9}));
    assert_eq!(get(server.address, "/v1/views/orders/O-2").await.status, 404);
    assert_eq!(server.world.clock.pins.load(std::sync::atomic::Ordering::SeqCst), 0);
}

/// Goal: the catalogue says what there is, counted for the tenant. Method: two tenants.
#[tokio::test]
async fn the_catalogue() {
    let server = start(settings()).await;
    server.world.epoch("a", &[("O-1", Some(order("O-1", "paid", 5))), ("O-2", None)]);
    let views = get(server.address, "/v1/views?tenant=a").await.json()["views"].clone();
    assert_eq!((&views[0]["name"], &views[0]["rows"]), (&json!("orders"), &json!(1)));
    assert_eq!(views[0]["fields"][1]["type"], "text");
    assert_eq!(views[0]["fields"][1]["filterable"], true);
    assert_eq!(views[1]["key"], json!(["row", "column"]));
    assert_eq!(get(server.address, "/v1/views").await.json()["views"][0]["rows"], 0);
}

/// Goal: a listing is one instant over all its pages. Method: change everything between pages.
#[tokio::test]
async fn a_listing_is_one_instant() {
    let server = start(settings()).await;
    let names: Vec<String> = (0..10).map(|n| format!("O-{n}")).collect();
    let all = |amount| -> Vec<_> {
        names.iter().map(|it| (it.as_str(), Some(order(it, "paid", amount)))).collect()
    };
    let epoch = server.world.epoch("default", &all(1));
    let mut seen = Vec::new();
    let mut path = "/v1/views/orders?limit=3".to_string();
    loop {
        let page = get(server.address, &path).await.json();
        assert_eq!(page["as_of"]["epoch"], epoch);
        assert!(page["rows"].as_array().unwrap().iter().all(|it| it["row"]["amount"] == 1));
        seen.extend(keys(&page));
        server.world.epoch("default", &all(2));
        server.world.epoch("default", &[("O-99", Some(order("O-99", "paid", 2)))]);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/views/orders?limit=3&cursor={next}");
    }
    assert_eq!(seen, names);
    let leases = server.world.clock.leases.lock().unwrap().clone();
    assert_eq!(leases, [(epoch, FIRST + 30_000)].into(), "only the listing's instant is held");
}

/// Goal: a cursor whose instant was let go is told so. Method: revoke it.
#[tokio::test]
async fn a_cursor_can_be_gone() {
    let server = start(settings()).await;
    let row = |key| (key, Some(order(key, "paid", 1)));
    server.world.epoch("default", &[row("a"), row("b")]);
    let page = get(server.address, "/v1/views/orders?limit=1").await.json();
    let path = format!("/v1/views/orders?limit=1&cursor={}", page["next"].as_str().unwrap());
    assert_eq!(keys(&get(server.address, &path).await.json()), ["b"]);
    let newest = server.world.epoch("default", &[row("c")]);
    server.world.clock.revoke();
    let gone = get(server.address, &path).await;
    assert_eq!((gone.status, &gone.json()["code"]), (410, &json!("serve/cursor-gone")));
    assert_eq!(gone.json()["oldest"], newest);
    // A cursor of another run, or for another listing.
    let other = start(settings()).await;
    assert_eq!(get(other.address, &path).await.status, 410);
    assert_eq!(get(server.address, &format!("{path}&status=paid")).await.status, 400);
    let twice = get(server.address, "/v1/views/orders?status=paid&status=placed").await;
    assert_eq!((twice.status, &twice.json()["code"]), (400, &json!("serve/parameter")));
    assert!(twice.json()["detail"].as_str().unwrap().contains("more than once"));
    assert_eq!(get(server.address, &path.replace("orders", "cells")).await.status, 400);
}

/// Goal: filters find what equals, and look at a bounded number of rows. Method: one in ten rows
/// fits; then the world looks at five rows a page only.
#[tokio::test]
async fn filters_and_short_pages() {
    let server = start(settings()).await;
    let names: Vec<String> = (0..100).map(|n| format!("O-{n:02}")).collect();
    let status = |n: usize| if n % 10 == 3 { "late & sound" } else { "paid" };
    let rows: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, it)| (it.as_str(), Some(order(it, status(n), 1))))
        .collect();
    server.world.epoch("default", &rows);
    let late = get(server.address, "/v1/views/orders?status=late+%26+sound").await.json();
    let expected: Vec<String> = (0..10).map(|n| format!("O-{n}3")).collect();
    assert_eq!((keys(&late), &late["next"]), (expected.clone(), &Value::Null));
    server.world.orders.examined_max.store(5, std::sync::atomic::Ordering::SeqCst);
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/v1/views/orders?limit=100&status=late+%26+sound{cursor}");
        let page = get(server.address, &path).await.json();
        seen.extend(keys(&page));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((seen, pages), (expected, 20));
}

/// Goal: a filter whose value can be none of its field's is refused with what was expected, by
/// listing and stream alike. Method: a number asked for by words.
#[tokio::test]
async fn a_mistyped_filter_is_refused() {
    let server = start(settings()).await;
    server.world.cell("default", "r", "c", 9);
    for path in ["/v1/views/cells?n=nine", "/v1/stream?view=cells&n=nine"] {
        let answer = get(server.address, path).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["parameter"]), (400, &json!("n")), "{path}: {told}");
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("expected a whole number, found \"nine\""), "{detail}");
    }
    let nine = get(server.address, "/v1/views/cells?n=9").await.json();
    assert_eq!(keys(&nine), ["r/c"]);
}

/// Goal: several reads are one instant, and problems are told together. Method: two views.
#[tokio::test]
async fn several_reads() {
    let server = start(settings()).await;
    server.world.epoch("default", &[("O-1", Some(order("O-1", "paid", 5)))]);
    server.world.cell("default", "r", "c", 9);
    let read = |body: Value| async move {
        post(server.address, "/v1/read", "application/json", body.to_string()).await
    };
    let answer = read(json!({"reads": [
        {"view": "orders", "key": "O-1"}, {"view": "cells", "key": "r/c"}, {"view": "orders", "key": "O-2"},
    ]}))
    .await
    .json();
    assert_eq!(answer["as_of"]["epoch"], FIRST + 10);
    assert_eq!(answer["results"][0]["row"]["amount"], 5);
    assert_eq!(answer["results"][1]["row"]["n"], 9);
    assert_eq!(answer["results"][2], json!({"view": "orders", "key": "O-2", "row": null}));
    let wrong = read(json!({"reads": [
        {"view": "x", "key": "1"}, {"view": "orders", "key": "1"}, {"view": "y", "key": "1"},
    ]}))
    .await;
    assert_eq!(wrong.status, 400);
    assert_eq!(
        wrong.json()["problems"],
        json!([{"pointer": "/reads/0/view", "found": "x"}, {"pointer": "/reads/2/view", "found": "y"}])
    );
    assert_eq!(read(json!({"reads": []})).await.status, 400);
    let many: Vec<_> = (0..101).map(|n| json!({"view": "orders", "key": n.to_string()})).collect();
    assert_eq!(read(json!({"reads": many})).await.status, 400);
    assert_eq!(read(json!({"reads": [{"view": "orders", "key": "1", "x": 1}]})).await.status, 400);
    // Told in our words, every problem at once, with what is expected.
    let told = read(json!({"reads": [{"view": "orders"}, 5, {"view": 1, "key": "x", "kez": 2}]}))
        .await
        .json();
    let pointers: Vec<_> =
        told["problems"].as_array().unwrap().iter().map(|it| it["pointer"].clone()).collect();
    assert_eq!(pointers, ["/reads/0/key", "/reads/1", "/reads/2/kez", "/reads/2/view"], "{told}");
    for body in ["{", "[]", "{}", r#"{"reads":{}}"#, r#"{"reads":[{}],"x":1}"#] {
        let told =
            post(server.address, "/v1/read", "application/json", body.to_string()).await.text();
        assert!(told.contains("`reads`, an array of objects with `view` and `key`"), "{told}");
        assert!(
            !told.contains("struct") && !told.contains("sequence") && !told.contains("EOF"),
            "{told}"
        );
    }
    let text = post(server.address, "/v1/read", "text/plain", "{}").await;
    assert_eq!(text.status, 415);
}

/// Goal: a client reads its own writes. Method: ask at a position that comes later, and at one
/// that never comes.
#[tokio::test]
async fn at_least() {
    let server = start(settings()).await;
    let address = server.address;
    let ask = |path: &'static str, position: &'static str| async move {
        let mut client = Client::connect(address).await;
        client.ask("GET", path, &[("Millstream-At-Least", position)], "").await
    };
    server.world.epoch_at("default", &[("O-1", Some(order("O-1", "new", 1)))], 10);
    assert_eq!(ask("/v1/views/orders/O-1", "10").await.status, 200);
    let late = ask("/v1/views/orders/O-1", "11").await;
    assert_eq!((late.status, &late.json()["code"]), (503, &json!("serve/not-reached")));
    assert_eq!(late.header("retry-after"), Some("1"));
    assert_eq!(ask("/v1/views/orders/O-1", "x").await.status, 400);
    // Waits for what is on its way: the answer is of the instant that has it.
    let mut patient = settings();
    patient.at_least_timeout = Duration::from_secs(20);
    let server = start(patient).await;
    let address = server.address;
    for path in ["/v1/views/orders/O-1", "/v1/views/orders", "/v1/views", "/v1/rejects"] {
        let position = server.world.epoch_at("default", &[], 0) + 1;
        let mut client = Client::connect(address).await;
        let at_least = position.to_string();
        let headers = [("millstream-at-least", at_least.as_str())];
        let waits = client.ask("GET", path, &headers, "");
        let comes = async {
            // Whichever is first, the answer includes the position.
            tokio::task::yield_now().await;
            let row = Some(order("O-1", "paid", 2));
            server.world.epoch_at("default", &[("O-1", row)], position);
        };
        let (answer, ()) = tokio::join!(waits, comes);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json()["as_of"]["position"], position, "{path}");
    }
}
