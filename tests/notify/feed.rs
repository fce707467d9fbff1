//! Goal: people see what was said, say that they see to it, and have it shown later: durably, once,
//! each tenant its own, without a word more to the receiver.
//! Method: the real binary over HTTP, a stream, and its command line; `kill -9`; the log read again.

use std::io::{BufRead, BufReader};

use super::*;

fn post(address: &str, path: &str, body: Value) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Messages that a listing shows, by what they are about.
fn listed(address: &str, query: &str) -> Vec<String> {
    let (status, told) = ask(address, "GET", &format!("/v1/notifications{query}"), &Value::Null);
    assert_eq!(status, 200, "{told}");
    let rows = told["rows"].as_array().unwrap().iter();
    let mut all: Vec<String> =
        rows.map(|it| it["row"]["about"].as_str().unwrap().to_string()).collect();
    all.sort();
    all
}

fn until_listed(address: &str, query: &str, expected: &[&str]) {
    let end = Instant::now() + Duration::from_secs(300);
    while listed(address, query) != expected {
        assert!(Instant::now() < end, "{query}: {:?}", listed(address, query));
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn in_ms(ms: i64) -> String {
    schemas::time::rfc3339(now() + ms * 1_000)
}

#[test]
fn seen_and_shown_later() {
    let folder = Folder::new("notify-feed");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = channel("ops", &receiver, "") + &rule("waits", "ops", "");
    let settings = settings(&folder, &text);
    let data = folder.0.join("data");
    let (mut process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", 3));
    let all = until(&address, "delivered", |it| states(it).get("delivered") == Some(&3));
    let of = |about: &str| {
        let mut ids = all.iter().filter(|it| it.1["about"] == about).map(|it| it.0.clone());
        ids.next().unwrap()
    };
    let [first, second, third] = ["K-0", "K-1", "K-2"].map(of);
    let path = |id: &str, what: &str| format!("/v1/notifications/{id}/{what}");

    // The first who says so stands.
    let (status, told) = post(&address, &path(&first, "acknowledge"), json!({"by": "zoe"}));
    assert_eq!((status, &told["did"]), (200, &json!("acknowledged")), "{told}");
    assert!(told["again"] == false && told["position"].is_u64(), "{told}");
    let is_seen = |it: &BTreeMap<String, Value>| it[&first]["acknowledged"] == true;
    let row = until(&address, "it is seen", is_seen)[&first].clone();
    assert_eq!((&row["acknowledged_by"], &row["acknowledged_at"]), (&json!("zoe"), &told["at"]));
    let (status, again) = post(&address, &path(&first, "acknowledge"), json!({"by": "ann"}));
    assert_eq!((status, &again["again"], &again["by"]), (200, &json!(true), &json!("zoe")));
    assert_eq!((&again["at"], &again["position"]), (&told["at"], &Value::Null));
    until_listed(&address, "?acknowledged=true", &["K-0"]);
    until_listed(&address, "?acknowledged=false", &["K-1", "K-2"]);

    // Left out until its time; in a stream it leaves, and enters at that time.
    let stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut stream = BufReader::new(stream);
    write!(
        stream.get_mut(),
        "GET /v1/notifications?about=K-1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    )
    .unwrap();
    let mut streamed = |event: &str| loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended before {event}");
        if line.trim_end() == format!("event: {event}") {
            let mut data = String::new();
            while !data.starts_with("data:") {
                data.clear();
                assert!(stream.read_line(&mut data).unwrap() > 0);
            }
            return data;
        }
    };
    assert!(streamed("snapshot").contains(&second));
    let body = json!({"until": in_ms(3_600_000), "by": "zoe"});
    let (status, told) = post(&address, &path(&second, "snooze"), body.clone());
    assert_eq!((status, &told["did"], &told["until"]), (200, &json!("snoozed"), &body["until"]));
    assert!(streamed("leave").contains(&second));
    // Sooner: as soon as can be, on a machine however slow.
    let until_time = (8..24)
        .map(|n| in_ms(1 << n))
        .find(|it| post(&address, &path(&second, "snooze"), json!({"until": it})).0 == 200);
    assert!(streamed("enter").contains(&second));
    assert!(in_ms(0) >= until_time.unwrap(), "not before its time");
    until_listed(&address, "", &["K-0", "K-1", "K-2"]);
    let later = json!({"until": in_ms(3_600_000)});
    for again in [false, true] {
        let (status, told) = post(&address, &path(&third, "snooze"), later.clone());
        assert_eq!((status, &told["again"]), (200, &json!(again)), "{told}");
        until_listed(&address, "?snoozed=true", &["K-2"]);
    }
    until_listed(&address, "", &["K-0", "K-1"]);
    until_listed(&address, "?snoozed=all", &["K-0", "K-1", "K-2"]);

    // What cannot be is told, and nothing is written.
    let (gone, far) = (in_ms(-60_000), in_ms(400 * 86_400_000));
    for (path, body, expected) in [
        (path("msg_none", "acknowledge"), json!({}), 404),
        (path("msg_none", "snooze"), later.clone(), 404),
        (format!("{}?tenant=other", path(&third, "acknowledge")), json!({}), 404),
        (path(&third, "acknowledge"), json!({"until": in_ms(1_000)}), 400),
        (path(&third, "acknowledge"), json!({"by": ""}), 400),
        (path(&third, "acknowledge"), json!({"by": "a\nb"}), 400),
        (path(&third, "acknowledge"), json!([]), 400),
        (path(&third, "snooze"), json!({}), 400),
        (path(&third, "snooze"), json!({"until": gone}), 400),
        (path(&third, "snooze"), json!({"until": far}), 400),
        (path(&third, "snooze"), json!({"until": "tomorrow"}), 400),
        (path(&third, "snooze"), json!({"until": 7}), 400),
    ] {
        let (status, told) = post(&address, &path, body.clone());
        assert_eq!(status, expected, "{path} {body}: {told}");
    }

    // The same by the command line; and from the log alone, after a kill.
    let command = |words: &[&str]| {
        let data_dir = data.display().to_string();
        let all = [&["notifications"], words, &["--data-dir", &data_dir, "--config", &settings]];
        let (code, out, err) = run(&all.concat());
        assert_eq!(code, 0, "{words:?}: {out}{err}");
        out
    };
    let told = command(&["acknowledge", &second, "--by", "ann"]);
    assert!(told.contains("acknowledged ") && told.contains(" by ann"), "{told}");
    assert!(command(&["acknowledge", &first]).contains(" by zoe (as before)"));
    assert!(command(&["snooze", &second, "--for", "2h"]).contains("snoozed until "));
    until_listed(&address, "", &["K-0"]);
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    drop(process);
    std::fs::remove_dir_all(data.join("state")).unwrap();
    std::fs::remove_dir_all(data.join("identities")).ok();
    let (_process, address) = start(&data, &settings);
    until_listed(&address, "", &["K-0"]);
    until_listed(&address, "?acknowledged_by=ann&snoozed=all", &["K-1"]);
    let shown = command(&["list"]);
    assert!(shown.contains("acknowledged by zoe") && !shown.contains(&third), "{shown}");
    assert!(command(&["list", "--snoozed"]).matches("snoozed until").count() == 2);
    assert!(command(&["snooze", &third, "--over"]).contains("not snoozed"));
    until_listed(&address, "", &["K-0", "K-2"]);
    assert_eq!(receiver.came().len(), 3, "nothing of it is told to anybody");
}
