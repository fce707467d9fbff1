//! Events in: three modes, whole or not at all, and what the log's mood makes of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Client, get, post};
use crate::world::{LogMood, settings, start};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "type": "feedback.submitted", "source": "/shop", "id": id,
        "time": "2026-03-01T09:30:00Z", "data": {"order": "O-1", "rating": 1},
    })
}

/// Goal: the three modes end as structured records in the log, in order. Method: one of each.
#[tokio::test]
async fn three_modes() {
    let server = start(settings()).await;
    let one = post(server.address, "/v1/events", STRUCTURED, event("1").to_string()).await;
    assert_eq!(one.status, 202, "{}", one.text());
    assert_eq!((&one.json()["accepted"], &one.json()["position"]), (&json!(1), &json!(1)));
    let batch = json!([event("2"), event("3")]).to_string();
    let two = post(server.address, "/v1/events", BATCH, batch).await.json();
    assert_eq!((&two["accepted"], &two["position"]), (&json!(2), &json!(3)));
    assert!(two["as_of"]["epoch"].is_u64());
    let mut client = Client::connect(server.address).await;
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "feedback.submitted"),
        ("ce-source", "/shop"),
        ("ce-id", "n%C3%BCmber%204"),
        ("ce-time", "2026-03-01T09:30:00Z"),
    ];
    let three = client.ask("POST", "/v1/events", &headers, r#"{"order":"O-1","rating":2}"#).await;
    assert_eq!(three.status, 202, "{}", three.text());
    let empty = post(server.address, "/v1/events", BATCH, "[]").await;
    assert_eq!((empty.status, &empty.json()["accepted"]), (202, &json!(0)));
    let records = server.world.log.records.lock().unwrap().clone();
    let ids: Vec<Value> =
        records.iter().map(|it| serde_json::from_str::<Value>(it).unwrap()["id"].clone()).collect();
    assert_eq!(ids, [json!("1"), json!("2"), json!("3"), json!("nümber 4")]);
}

/// Goal: a request with problems is refused whole, with all of them. Method: good events between
/// different kinds of bad ones; then single ones.
#[tokio::test]
async fn refused_whole_with_every_problem() {
    let server = start(settings()).await;
    let mut wrong_type = event("2");
    wrong_type["data"]["rating"] = json!("five");
    let mut twice_wrong = event("");
    twice_wrong["data"]["rating"] = json!(6);
    let mut ahead = event("4");
    ahead["time"] = json!("2026-09-21T14:18:20.001Z");
    // Beside what its shape is, what a request may not say.
    let mut all_wrong = event("6");
    all_wrong["data"]["rating"] = json!(9);
    for (part, says) in
        [("time", "2999-01-01T00:00:00Z"), ("tenant", "other"), ("source", "urn:millstream:desk")]
    {
        all_wrong[part] = json!(says);
    }
    let batch =
        json!([event("1"), wrong_type, event("3"), twice_wrong, ahead, {"x": 1}, all_wrong]);
    let answer = post(server.address, "/v1/events", BATCH, batch.to_string()).await;
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(body["code"], "serve/events");
    let problems = body["problems"].as_array().unwrap();
    let found = |event: u64, pointer: &str| {
        problems.iter().any(|it| it["event"] == event && it["pointer"] == pointer)
    };
    assert!(found(1, "/data/rating"), "{body}");
    assert!(found(3, "/id") && found(3, "/data/rating"), "{body}");
    assert!(found(4, "/time"), "{body}");
    let all = ["/data/rating", "/time", "/tenant", "/source"];
    assert!(all.iter().all(|it| found(6, it)), "{body}");
    assert_eq!(problems.iter().filter(|it| it["event"] == 6).count(), all.len(), "each once");
    assert!(problems.iter().any(|it| it["event"] == 5), "{body}");
    assert!(!problems.iter().any(|it| it["event"] == 0 || it["event"] == 2), "{body}");
    assert_eq!(body["n_problems"], problems.len());
    for (kind, body) in [
        (STRUCTURED, "{"),
        (STRUCTURED, ""),
        (STRUCTURED, "[]"),
        (BATCH, "{}"),
        (BATCH, "[1"),
        (BATCH, "[7]"),
        ("application/json", "{}"),
    ] {
        let answer = post(server.address, "/v1/events", kind, body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!("serve/events")),
            "{kind} {body}"
        );
        assert!(!answer.json()["problems"].as_array().unwrap().is_empty());
    }
    assert!(server.world.log.records.lock().unwrap().is_empty(), "nothing was taken");
    // Exactly at the limit is not ahead of it.
    let mut near = event("5");
    near["time"] = json!("2026-09-21T14:18:20Z");
    assert_eq!(post(server.address, "/v1/events", STRUCTURED, near.to_string()).await.status, 202);
}

/// Goal: who sends a whole event as plain JSON is told of the media type, and who sends headers is
/// told of headers. Method: each mode's usual mistake.
#[tokio::test]
async fn the_media_type_and_headers_are_told() {
    let server = start(settings()).await;
    let json_type = "application/json";
    let whole = post(server.address, "/v1/events", json_type, event("1").to_string()).await.json();
    assert_eq!(
        whole["fix"],
        "send it with Content-Type: application/cloudevents+json, or with the headers"
    );
    let detail = whole["detail"].as_str().unwrap();
    assert!(
        detail.contains("ce-specversion, ce-type") && detail.contains("is a whole event"),
        "{detail}"
    );
    let many = post(server.address, "/v1/events", json_type, json!([event("1")]).to_string()).await;
    assert!(
        many.text().contains("Content-Type: application/cloudevents-batch+json"),
        "{}",
        many.text()
    );
    let mut client = Client::connect(server.address).await;
    let headers = [
        ("content-type", json_type),
        ("ce-specversion", "1.0"),
        ("ce-type", "feedback.submitted"),
        ("ce-source", "/s"),
        ("ce-time", "yesterday"),
    ];
    let told = client.ask("POST", "/v1/events", &headers, r#"{"order":"O-1","rating":9}"#).await;
    let body = told.json();
    let places: Vec<_> = body["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["header"].as_str().or(it["pointer"].as_str()).unwrap().to_string())
        .collect();
    for place in ["ce-id", "ce-time", "/rating"] {
        assert!(places.iter().any(|it| it == place), "{place}: {body}");
    }
    assert!(server.world.log.records.lock().unwrap().is_empty(), "nothing was taken");
}

/// Goal: sizes and kinds have limits that are named. Method: one step beyond each.
#[tokio::test]
async fn limits() {
    let server = start(settings()).await;
    let mut big = event("1");
    big["data"]["text"] = json!("x".repeat(64 * 1024));
    let answer =
        post(server.address, "/v1/events", BATCH, json!([event("0"), big]).to_string()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!("serve/event-too-large")));
    assert_eq!(
        (&answer.json()["event"], &answer.json()["limit_bytes"]),
        (&json!(1), &json!(65536))
    );
    let body = vec![b' '; 1024 * 1024 + 1];
    let answer = post(server.address, "/v1/events", BATCH, body).await;
    assert_eq!((answer.status, &answer.json()["limit_bytes"]), (413, &json!(1024 * 1024)));
    for kind in ["text/plain", "application/cloudevents+avro", "application/json; charset=latin1"] {
        assert_eq!(post(server.address, "/v1/events", kind, "{}").await.status, 415, "{kind}");
    }
    let mut client = Client::connect(server.address).await;
    let packed = [("content-type", STRUCTURED), ("content-encoding", "gzip")];
    assert_eq!(client.ask("POST", "/v1/events", &packed, "{}").await.status, 415);
    assert_eq!(post(server.address, "/v1/events?wait=later", STRUCTURED, "{}").await.status, 400);
    assert_eq!(post(server.address, "/v1/events?x=1", STRUCTURED, "{}").await.status, 400);
    assert!(server.world.log.records.lock().unwrap().is_empty(), "nothing was taken");
    // A full mebibyte of small events is taken, off the reactor.
    let many: Vec<Value> = (0..5_000).map(|n| event(&n.to_string())).collect();
    let body = serde_json::to_string(&many).unwrap();
    assert!(body.len() > 512 * 1024 && body.len() < 1024 * 1024);
    let answer = post(server.address, "/v1/events", BATCH, body).await;
    assert_eq!((answer.status, &answer.json()["accepted"]), (202, &json!(5_000)));
}

/// Goal: the log's troubles reach the sender, and nothing else does. Method: its moods.
#[tokio::test]
async fn the_logs_moods() {
    let server = start(settings()).await;
    let send = || post(server.address, "/v1/events", STRUCTURED, event("1").to_string());
    *server.world.log.mood.lock().unwrap() = LogMood::Busy(Duration::from_millis(1_200));
    let busy = send().await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, Some("2")));
    assert_eq!(busy.json()["code"], "serve/busy");
    *server.world.log.mood.lock().unwrap() = LogMood::DiskFull;
    let full = send().await;
    assert_eq!((full.status, &full.json()["code"]), (503, &json!("segments/disk-full")));
    assert_eq!(full.json()["effect"], "nothing was taken");
    assert!(full.json()["detail"].as_str().unwrap().contains("no space left"));
    *server.world.log.mood.lock().unwrap() = LogMood::NeverAnswers;
    let answered = async {
        let log = &server.world.log;
        while log.kept_open.lock().unwrap().pop().is_none() {
            tokio::task::yield_now().await;
        }
    };
    let (stopped, ()) = tokio::join!(send(), answered);
    assert_eq!((stopped.status, &stopped.json()["code"]), (503, &json!("serve/log-stopped")));
}

/// Goal: `?wait=applied` answers with counts once the views include the events, and says so when
/// they do not in time: taken they are. Method: complete the position, or not.
#[tokio::test]
async fn wait_until_applied() {
    let mut patient = settings();
    patient.at_least_timeout = Duration::from_secs(20);
    let server = start(patient).await;
    let body = json!([event("1"), event("2")]).to_string();
    let sent = post(server.address, "/v1/events?wait=applied", BATCH, body.clone());
    let completes = async {
        while server.world.log.records.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        server.world.epoch_at("default", &[], 2);
    };
    let (answer, ()) = tokio::join!(sent, completes);
    let answer = answer.json();
    assert_eq!((&answer["applied"], &answer["new"]), (&json!(true), &json!(2)));
    assert_eq!((&answer["duplicate"], &answer["as_of"]["position"]), (&json!(0), &json!(2)));
    let server = start(settings()).await;
    let late = post(server.address, "/v1/events?wait=applied", BATCH, body).await;
    assert_eq!((late.status, &late.json()["applied"]), (202, &json!(false)));
    assert_eq!(late.json()["position"], 2);
}

/// Goal: what the log keeps names the tenant of the request. Method: absent, equal, another.
#[tokio::test]
async fn the_tenant_is_kept_with_the_event() {
    let server = start(settings()).await;
    let named = |id: &str, tenant: &str| {
        let mut event = event(id);
        event["tenant"] = json!(tenant);
        event.to_string()
    };
    let send = |query: &'static str, body: String| async move {
        post(server.address, &format!("/v1/events{query}"), STRUCTURED, body).await.status
    };
    assert_eq!(send("", event("1").to_string()).await, 202);
    assert_eq!(send("?tenant=acme", event("2").to_string()).await, 202);
    assert_eq!(send("?tenant=acme", named("3", "acme")).await, 202);
    assert_eq!(send("?tenant=acme", named("4", "default")).await, 400);
    assert_eq!(send("?tenant=acme", named("5", "other")).await, 400);
    assert_eq!(send("", named("6", "acme")).await, 400);
    let null = named("7", "").replace("\"\"", "null");
    let refused = post(server.address, "/v1/events?tenant=acme", STRUCTURED, null).await.json();
    let told = &refused["problems"][0];
    assert_eq!((&told["pointer"], &told["found"]), (&json!("/tenant"), &json!("null")), "{told}");
    assert_eq!(refused["status"], 400);
    let records = server.world.log.records.lock().unwrap().clone();
    let tenants: Vec<Value> = records
        .iter()
        .map(|it| serde_json::from_str::<Value>(it).unwrap()["tenant"].clone())
        .collect();
    assert_eq!(tenants, [Value::Null, json!("acme"), json!("acme")]);
    assert!(records.iter().all(|it| schemas::decode::structured(it.as_bytes()).is_ok()));
    assert_eq!(get(server.address, "/health/live").await.status, 200);
}
