//! Connections: deadlines, caps, endless bodies, and the end.

use std::time::Duration;

use millstream::metrics::OfReason;
use serde_json::json;

use crate::client::{Client, PATIENCE, Stream, get, post};
use crate::world::{LogMood, Running, order, settings, start};

fn cut(server: &Running, reason: &'static str) -> u64 {
    server.world.metrics.cut.get_or_create(&OfReason { reason }).get()
}

/// Goal: half-sent headers are closed in time, drop by drop too, and a whole one is answered.
/// Method: a short deadline; nothing, half a header, a byte at a time.
#[tokio::test]
async fn half_sent_headers() {
    let mut short = settings();
    short.header_timeout = Duration::from_millis(100);
    let server = start(short).await;
    for half in ["", "G", "GET /v1/views HTTP/1.1\r\nhost: loc"] {
        let mut client = Client::connect(server.address).await;
        client.send(half).await;
        client.closed().await;
    }
    assert_eq!(cut(&server, "header-timeout"), 3);
    let mut dripping = Client::connect(server.address).await;
    let drip = async {
        loop {
            // Each byte is on time, the whole never is.
            if tokio::io::AsyncWriteExt::write_all(&mut dripping.socket, b"x").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.expect("dripping is closed");
    assert_eq!(cut(&server, "header-timeout"), 4);
    // The deadline holds for every request of a connection, not only the first.
    let mut second = Client::connect(server.address).await;
    assert_eq!(second.ask("GET", "/v1/views", &[], "").await.status, 200);
    second.send("GET /v1/vi").await;
    second.closed().await;
    assert_eq!(cut(&server, "header-timeout"), 5);
}

/// Goal: an idle connection is kept for a while, then closed. Method: a short while.
#[tokio::test]
async fn idle_connections() {
    let mut short = settings();
    short.idle_timeout = Duration::from_millis(100);
    let server = start(short).await;
    let mut client = Client::connect(server.address).await;
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/v1/views", &[], "").await.status, 200);
    }
    client.closed().await;
    assert_eq!(cut(&server, "idle"), 1);
}

/// Goal: a slow body is refused in time, with words. Method: half a body, and nothing more.
#[tokio::test]
async fn slow_bodies() {
    let mut short = settings();
    short.body_timeout = Duration::from_millis(100);
    let server = start(short).await;
    for framing in ["content-length: 100\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"]
    {
        let mut client = Client::connect(server.address).await;
        let head =
            "POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-type: application/cloudevents+json\r\n";
        client.send(format!("{head}{framing}")).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, &answer.json()["code"]), (408, &json!("serve/body-timeout")));
        client.closed().await;
    }
}

/// Goal: a body without a length is read within the limit; an endless one is refused at it, and
/// what is thrown away is bounded. Method: chunks, few and without end.
#[tokio::test]
async fn endless_bodies() {
    let server = start(settings()).await;
    let event = r#"{"specversion":"1.0","type":"feedback.submitted","source":"/s","id":"1","time":"2026-03-01T09:30:00Z","data":{"order":"O-1","rating":1}}"#;
    let head = "POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-type: application/cloudevents+json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = Client::connect(server.address).await;
    let (one, two) = event.split_at(40);
    client
        .send(format!("{head}{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len()))
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let mut endless = Client::connect(server.address).await;
    endless.send(head).await;
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, "x".repeat(65_536));
    let (mut reading, mut writing) = endless.socket.split();
    let send = async {
        use tokio::io::AsyncWriteExt;
        let mut sent = 0_u64;
        while writing.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 65_536;
            assert!(sent < 1 << 30, "never closed");
        }
        sent
    };
    let read = async {
        use tokio::io::AsyncReadExt;
        let mut bytes = Vec::new();
        // Closing may come as a reset: what was read until then counts.
        reading.read_to_end(&mut bytes).await.unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (sent, answer) = tokio::time::timeout(PATIENCE, async { tokio::join!(send, read) })
        .await
        .expect("an endless body is cut");
    assert!(answer.starts_with("HTTP/1.1 413"), "after {sent} bytes: {answer}");
    // Announced and too large: told before it is sent.
    let mut polite = Client::connect(server.address).await;
    polite
        .send("POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 60000000\r\nexpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(polite.answer().await.unwrap().status, 413);
    polite.closed().await;
}

/// Goal: half-sent headers cannot keep others out. Method: fill every place with them, then ask.
#[tokio::test]
async fn a_full_house_of_half_headers() {
    let mut small = settings();
    small.max_connections = 8;
    let server = start(small).await;
    let mut attackers = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(server.address).await;
        client.send("GET /v1/views HT").await;
        attackers.push(client);
    }
    for _ in 0..20 {
        assert_eq!(get(server.address, "/v1/views").await.status, 200);
    }
    assert!(cut(&server, "crowded") >= 12);
    assert!(server.world.metrics.connections.get() <= 8);
}

/// Goal: places in use are not taken from anybody. Method: fill every place with streams; one more
/// is turned away, and finds a place when one is given back.
#[tokio::test]
async fn a_full_house() {
    let mut small = settings();
    small.max_connections = 3;
    let server = start(small).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = Stream::open(server.address, "/v1/stream?view=orders", &[]).await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    let mut turned_away = Client::connect(server.address).await;
    turned_away.closed().await;
    assert_eq!(cut(&server, "cap"), 1);
    server.world.epoch("default", &[("A", Some(order("A", "new", 1)))]);
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().event, "enter");
    }
    drop(streams.pop());
    let find_a_place = async {
        loop {
            let mut client = Client::connect(server.address).await;
            let request = "GET /v1/views HTTP/1.1\r\nhost: a\r\n\r\n";
            let sent = tokio::io::AsyncWriteExt::write_all(&mut client.socket, request.as_bytes());
            if sent.await.is_ok() && client.head().await.is_some_and(|it| it.status == 200) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, find_a_place).await.expect("a place given back is found");
}

/// Goal: at the end, requests are answered, streams are told, and nobody new is let in. Method:
/// a request that waits, a stream, an idle connection, and the word.
#[tokio::test]
async fn a_graceful_end() {
    let mut patient = settings();
    patient.at_least_timeout = Duration::from_secs(20);
    let server = start(patient).await;
    let address = server.address;
    let mut idle = Client::connect(address).await;
    assert_eq!(idle.ask("GET", "/v1/views", &[], "").await.status, 200);
    let mut stream = Stream::open(address, "/v1/stream?view=orders", &[]).await;
    stream.next().await.unwrap();
    let mut waiting = Client::connect(address).await;
    waiting.send("GET /v1/views HTTP/1.1\r\nhost: a\r\nmillstream-at-least: 5\r\n\r\n").await;
    // Its header has been read once a second request on the same server is answered after it.
    assert_eq!(get(address, "/v1/views").await.status, 200);
    let (world, ended) = server.stop();
    let last = stream.next().await.unwrap();
    assert_eq!((last.event.as_str(), &last.json()["reason"]), ("closed", &json!("stopping")));
    assert!(stream.next().await.is_none());
    idle.closed().await;
    world.epoch_at("default", &[], 5);
    assert_eq!(waiting.answer().await.expect("an answer").status, 200);
    ended.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
    assert_eq!(world.metrics.connections.get(), 0);
}

/// Goal: what does not end in time is cut. Method: a log that never answers, a short drain.
#[tokio::test]
async fn an_end_with_a_deadline() {
    let mut short = settings();
    short.drain_timeout = Duration::from_millis(100);
    let server = start(short).await;
    *server.world.log.mood.lock().unwrap() = LogMood::NeverAnswers;
    let event = r#"{"specversion":"1.0","type":"feedback.submitted","source":"/s","id":"1","time":"2026-03-01T09:30:00Z","data":{"order":"O-1","rating":1}}"#;
    let mut client = Client::connect(server.address).await;
    let head =
        "POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-type: application/cloudevents+json\r\n";
    client.send(format!("{head}content-length: {}\r\n\r\n{event}", event.len())).await;
    while server.world.log.kept_open.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let (world, ended) = server.stop();
    ended.await.unwrap().unwrap();
    client.closed().await;
    assert_eq!(world.metrics.cut.get_or_create(&OfReason { reason: "drain-timeout" }).get(), 1);
}

/// Goal: a taken port is told with its fix, and nothing is started. Method: bind twice.
#[tokio::test]
async fn a_port_in_use() {
    let server = start(settings()).await;
    let mut same = settings();
    same.listen = server.address;
    let Err(report) = millstream::serve::bind(same, server.world.ports()).await else {
        panic!("two servers on one port");
    };
    assert_eq!(report.code, "serve/port-in-use");
    assert!(report.to_string().contains(&server.address.to_string()));
    assert!(report.fix.contains(&server.address.port().to_string()));
    let mut elsewhere = settings();
    elsewhere.listen = "203.0.113.7:1".parse().unwrap();
    let Err(report) = millstream::serve::bind(elsewhere, server.world.ports()).await else {
        panic!("listens on an address of another machine");
    };
    assert_eq!(report.code, "serve/cannot-listen");
}

/// Goal: pipelined requests and HTTP/1.0 are answered in order. Method: both, raw.
#[tokio::test]
async fn old_and_eager_clients() {
    let server = start(settings()).await;
    let mut eager = Client::connect(server.address).await;
    let one = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";
    eager.send(format!("{one}GET /v1/views/x HTTP/1.1\r\nhost: a\r\n\r\n{one}")).await;
    for status in [200, 404, 200] {
        assert_eq!(eager.answer().await.unwrap().status, status);
    }
    let mut old = Client::connect(server.address).await;
    old.send("GET /health/live HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.answer().await.unwrap().status, 200);
    old.closed().await;
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let mut long = Client::connect(server.address).await;
    long.send(head).await;
    assert_eq!(long.answer().await.unwrap().status, 431);
    assert_eq!(post(server.address, "/v1/read", "application/json", "{").await.status, 400);
}
