//! Goal: what only Millstream itself may say comes into no view from outside, whichever way in; and
//! what it did say is still there when its log is written out and replayed.
//! Method: the real binary; events forged in every mode over HTTP, in files, through a mapping, and
//! retried from the rejects; then a log with facts of its own, written out line by line.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;
#[path = "common/receiver.rs"]
mod receiver;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use process::{Folder, Process, get, run};
use receiver::{Receiver, Temper};
use schemas::events::{CAPACITY, DESK, NOTIFY};
use serde_json::{Value, json};

const CODE: &str = "schemas/reserved";

/// Posts; status and answer.
fn post(address: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let (status, body) = process::answer(stream);
    (status, serde_json::from_str(&body).unwrap())
}

fn event(source: &str, kind: &str, id: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": source, "type": kind,
           "time": schemas::time::rfc3339(now()), "data": data})
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    now.unwrap().as_micros() as i64
}

fn opened(case: &str) -> Value {
    let data = json!({"case": case, "customer": "C-1", "severity": 1, "queue": "q"});
    event("//crm", "case.opened", case, data)
}

/// One of each that is ours: by source, by type, by both.
fn forged(mark: &str) -> Vec<Value> {
    let planned = json!({
        "message": format!("msg_{mark}"), "rule": "waits", "version": "1", "view": "cases",
        "about": "K-0", "episode": "e", "channel": "ops", "severity": "critical",
        "text": "send money", "expires": schemas::time::rfc3339(now() + 3_600_000_000),
    });
    let answered = json!({"message": format!("msg_{mark}"), "outcome": "planned"});
    let assigned = json!({"case": "K-0", "agent": "mallory", "queue": "q"});
    vec![
        event(NOTIFY, "message.planned", &format!("{mark}-1"), planned.clone()),
        event("//crm", "message.planned", &format!("{mark}-2"), planned),
        event(NOTIFY, "message.answered", &format!("{mark}-3"), answered),
        event(DESK, "case.assigned", &format!("{mark}-4"), assigned.clone()),
        event("urn:millstream:other", "case.assigned", &format!("{mark}-5"), assigned),
        event(CAPACITY, "system.measured", &format!("{mark}-6"), measured()),
    ]
}

fn measured() -> Value {
    json!({"process": "main", "seconds": 3600, "n_events": 1_000_000, "busy_micros": 1,
           "workers": 1, "processors": 1})
}

fn settings(folder: &Folder, receiver: &Receiver) -> String {
    folder.file("ops.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let address = receiver.address;
    folder.file(
        "millstream.toml",
        format!(
            "[channels.ops]\nkind = \"webhook\"\nurl = \"http://{address}/ops\"\n\
             secret_file = \"ops.secret\"\nallow = [\"{address}\"]\n\
             [rules.waits]\nview = \"cases\"\nwhen = \"status == 'open' and severity == 1\"\n\
             episode = [\"opened_at\"]\nsince = \"opened_at\"\nchannel = \"ops\"\n\
             text = \"case {{{{ case }}}} waits\"\n"
        ),
    )
}

fn start(data: &Path, settings: &str, more: &[&str]) -> (Process, String) {
    let data_dir = data.display().to_string();
    let mut words =
        vec!["run", "--listen", "127.0.0.1:0", "--data-dir", &data_dir, "--config", settings];
    words.extend(more);
    let mut process = Process::start(&words);
    let address = process.address(data);
    (process, address)
}

fn rows(address: &str, view: &str) -> Vec<Value> {
    let (status, text) = get(address, &format!("/v1/views/{view}?limit=1000"));
    assert_eq!(status, 200, "{text}");
    let page: Value = serde_json::from_str(&text).unwrap();
    page["rows"].as_array().unwrap().iter().map(|it| it["row"].clone()).collect()
}

/// Waits until something can be made of what is asked for.
fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match look() {
            Ok(it) => return it,
            Err(why) => assert!(Instant::now() < end, "{what}: {why}"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn delivered(address: &str, n: usize) -> Vec<Value> {
    until("delivered", || {
        let all = rows(address, "notifications");
        let done = all.iter().filter(|it| it["state"] == "delivered").count();
        if done == n { Ok(all) } else { Err(format!("{all:?}")) }
    })
}

/// Goal: over HTTP nobody speaks in our name, in no mode; one such event refuses its whole request,
/// and what comes as it should goes its way.
#[test]
fn not_over_http() {
    let folder = Folder::new("own-http");
    let receiver = Receiver::start(|_| Temper::status(200));
    let (_process, address) = start(&folder.0.join("data"), &settings(&folder, &receiver), &[]);
    let refused = |(status, told): (u16, Value), n: usize| {
        assert_eq!((status, told["code"].as_str()), (400, Some("serve/events")), "{told}");
        let problems = told["problems"].as_array().unwrap();
        assert_eq!(problems.iter().filter(|it| it["code"] == CODE).count(), n, "{told}");
    };
    let structured = "Content-Type: application/cloudevents+json\r\n";
    for it in forged("s") {
        refused(post(&address, "/v1/events", structured, &it.to_string()), 1);
    }
    let mut all = forged("b");
    all.push(opened("K-never"));
    let batch = "Content-Type: application/cloudevents-batch+json\r\n";
    refused(post(&address, "/v1/events", batch, &Value::Array(all).to_string()), 6);
    for it in forged("h") {
        let text = |name: &str| it[name].as_str().unwrap().to_string();
        let mut headers = "Content-Type: application/json\r\n".to_string();
        for name in ["specversion", "id", "source", "type", "time"] {
            headers += &format!("ce-{name}: {}\r\n", text(name));
        }
        refused(post(&address, "/v1/events", &headers, &it["data"].to_string()), 1);
    }
    let path = "/v1/events?wait=applied";
    let (status, told) = post(&address, path, structured, &opened("K-1").to_string());
    assert_eq!(status, 202, "{told}");
    let all = delivered(&address, 1);
    assert_eq!((all.len(), &all[0]["text"]), (1, &json!("case K-1 waits")));
    assert_eq!(receiver.came().len(), 1);
    assert_eq!((rows(&address, "claims").len(), rows(&address, "cases").len()), (0, 1));
}

/// Goal: through a feed neither, as it stands or through a mapping; each is one kept reject, and is
/// one again when somebody retries it.
#[test]
fn not_through_a_feed_or_a_retry() {
    let folder = Folder::new("own-feed");
    let receiver = Receiver::start(|_| Temper::status(200));
    let settings = settings(&folder, &receiver);
    let mut lines: Vec<String> = forged("f").iter().map(Value::to_string).collect();
    lines.push(opened("K-1").to_string());
    let native = folder.file("native.jsonl", lines.join("\n"));
    let foreign = folder.file(
        "foreign.jsonl",
        [DESK, "//shop"]
            .map(|it| {
                let at = schemas::time::rfc3339(now());
                json!({"id": it, "from": it, "at": at, "case": "K-2", "who": "zoe"}).to_string()
            })
            .join("\n"),
    );
    let mapping = folder.file(
        "foreign.toml",
        "[event]\nid = \"/id\"\nsource = \"/from\"\ntime = { from = \"/at\", format = \"rfc3339\" }\n\
         [always]\nbecomes = \"case.assigned\"\n[always.data]\ncase = \"/case\"\nagent = \"/who\"\n",
    );
    let feeds = [format!("native={native}"), format!("foreign={foreign},{mapping}")];
    let data = folder.0.join("data");
    let (process, address) = start(&data, &settings, &["--feed", &feeds[0], "--feed", &feeds[1]]);
    let rejects = |n: usize| {
        until("rejects", || {
            let (_, text) = get(&address, &format!("/v1/rejects?reason={CODE}&limit=1000"));
            let page: Value = serde_json::from_str(&text).unwrap();
            let found = page["rejects"].as_array().unwrap().len();
            if found == n { Ok(()) } else { Err(text) }
        });
    };
    // Six of ours, and one through the mapping.
    rejects(7);
    delivered(&address, 1);
    let data_dir = data.display().to_string();
    let (code, out, err) = run(&["rejects", "retry", "--reason", CODE, "--data-dir", &data_dir]);
    assert_eq!(code, 0, "{out}{err}");
    rejects(14);
    // A reject is kept before what it came from is counted.
    until("rejected again", || {
        let text = get(&address, "/v1/ledger").1;
        let ledger: Value = serde_json::from_str(&text).unwrap();
        let lines = ledger["partitions"].as_array().unwrap();
        let again: u64 = lines.iter().filter_map(|it| it["rejected_again"].as_u64()).sum();
        if again == 7 { Ok(()) } else { Err(text) }
    });
    let all = delivered(&address, 1);
    assert_eq!((all.len(), receiver.came().len()), (1, 1), "{all:?}");
    assert!(rows(&address, "claims").is_empty() && rows(&address, "capacity").is_empty());
    // `map` says beforehand what would become of them.
    let (_, out, _) = run(&["map", "--input", &native, "--all", "--json"]);
    let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(summary["summary"]["rejected"], json!({CODE: 6}), "{summary}");
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}

/// Goal: what our own rooms decided is there after a restart without a state, and in a replay of the
/// log as it is written out, row by row. Method: a message delivered and a case handed out; their
/// rows as served, against those that `replay` makes of the lines.
#[test]
fn a_log_written_out_is_replayed_whole() {
    let folder = Folder::new("own-replay");
    let receiver = Receiver::start(|_| Temper::status(200));
    let settings = settings(&folder, &receiver);
    let data = folder.0.join("data");
    let (process, address) = start(&data, &settings, &[]);
    let structured = "Content-Type: application/cloudevents+json\r\n";
    for n in 0..3 {
        let case = opened(&format!("K-{n}")).to_string();
        assert_eq!(post(&address, "/v1/events?wait=applied", structured, &case).0, 202);
    }
    delivered(&address, 3);
    let headers = "Content-Type: application/json\r\nIdempotency-Key: one\r\n";
    let claim = json!({"agent": "zoe"}).to_string();
    let (status, told) = post(&address, "/v1/queues/q/claim", headers, &claim);
    assert_eq!(status, 200, "{told}");
    let served = until("the claim", || {
        let claims = rows(&address, "claims");
        match claims.len() {
            1 => Ok([rows(&address, "notifications"), claims]),
            _ => Err(format!("{claims:?}")),
        }
    });
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    // Without its state: the log alone.
    std::fs::remove_dir_all(data.join("state")).unwrap();
    std::fs::remove_dir_all(data.join("identities")).unwrap();
    std::fs::remove_file(data.join("admin.addr")).ok();
    let (process, address) = start(&data, &settings, &[]);
    delivered(&address, 3);
    assert_eq!(rows(&address, "claims"), served[1]);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);

    let data_dir = data.display().to_string();
    let (code, out, err) =
        run(&["log", "show", "--json", "--limit", "1000", "--data-dir", &data_dir]);
    assert_eq!(code, 0, "{err}");
    let texts = out.lines().map(|it| {
        let record: Value = serde_json::from_str(it).unwrap();
        record["text"].as_str().unwrap().to_string()
    });
    let file = folder.file("log.jsonl", texts.collect::<Vec<_>>().join("\n"));
    let rows_out = folder.path("rows");
    let (code, out, err) = run(&["replay", &file, "--json", "--rows-out", &rows_out]);
    assert_eq!(code, 0, "{out}{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["counts"]["rejected"], 0, "{told}");
    for (view, served) in ["notifications", "claims"].iter().zip(served) {
        let text = std::fs::read_to_string(Path::new(&rows_out).join(format!("{view}.jsonl")));
        let text = text.unwrap();
        let mut made: Vec<Value> = text
            .lines()
            .map(|it| {
                let mut row: Value = serde_json::from_str(it).unwrap();
                row.as_object_mut().unwrap().remove("tenant");
                row
            })
            .collect();
        made.sort_by_key(Value::to_string);
        let mut served = served;
        served.sort_by_key(Value::to_string);
        assert_eq!(made, served, "{view}");
    }
    // Through a mapping it is somebody else's file, and refused (above); a process that keeps a
    // log takes own facts from that alone.
    let feed = format!("old={file}");
    let (_process, address) = start(&folder.0.join("another"), &settings, &["--feed", &feed]);
    until("refused", || {
        let (_, text) = get(&address, &format!("/v1/rejects?reason={CODE}"));
        let page: Value = serde_json::from_str(&text).unwrap();
        // Three planned, three answered, one handed out.
        match page["rejects"].as_array().unwrap().len() {
            7 => Ok(()),
            _ => Err(text),
        }
    });
}
