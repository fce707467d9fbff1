//! Goal: a process measures what its workers do and enters it into its log; the view `capacity` is
//! made of that, and is the same when the log is read again, by whoever and whenever.
//! Method: the real binary with a period of a second; its log written out and replayed; and days of
//! events with a measurement, replayed by one worker and by two.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use process::{Folder, Process, get, run};
use schemas::events::CAPACITY;
use schemas::time::rfc3339;
use serde_json::{Value, json};

/// More than the least of which something is said.
const BATCH: u64 = 150;
const HOUR: i64 = 3_600_000_000;

fn start(folder: &Folder) -> (Process, String) {
    let settings = folder.file("millstream.toml", "[capacity]\nmeasure = \"1s\"\n");
    let data = folder.0.join("data");
    let data_dir = data.display().to_string();
    let words = ["run", "--listen", "127.0.0.1:0", "--data-dir", &data_dir, "--config", &settings];
    let mut process = Process::start(&words);
    let address = process.address(&data);
    (process, address)
}

fn stop(process: Process) {
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}

/// Some events in one request: they are applied together.
fn post(address: &str, mark: &str) {
    let event = |n: u64| {
        json!({"specversion": "1.0", "id": format!("{mark}-{n}"), "source": "//crm",
               "type": "interaction.recorded", "time": "2026-03-01T09:30:00Z",
               "data": {"customer": format!("C-{n}"), "channel": "web", "action": "view"}})
    };
    let body = Value::Array((0..BATCH).map(event).collect()).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        stream,
        "POST /v1/events?wait=applied HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/cloudevents-batch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let (status, told) = process::answer(stream);
    assert_eq!(status, 202, "{told}");
}

fn rows(address: &str, view: &str) -> Vec<Value> {
    let (status, text) = get(address, &format!("/v1/views/{view}"));
    assert_eq!(status, 200, "{text}");
    let page: Value = serde_json::from_str(&text).unwrap();
    page["rows"].as_array().unwrap().iter().map(|it| it["row"].clone()).collect()
}

/// Posts until so many measurements are known.
fn until_measured(address: &str, n: i64, mark: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    for turn in 0_u64.. {
        post(address, &format!("{mark}{turn}"));
        for _ in 0..20 {
            let row = rows(address, "capacity").pop();
            if let Some(row) = row.filter(|it| it["n_measurements"].as_i64() >= Some(n)) {
                return row;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert!(Instant::now() < end, "{:?}", rows(address, "capacity"));
    }
    unreachable!("it ends before")
}

/// The lines of a log, as events.
fn written(folder: &Folder) -> Vec<String> {
    let data_dir = folder.path("data");
    let mut texts = Vec::new();
    loop {
        let from = texts.len().to_string();
        let words =
            ["log", "show", "--json", "--limit", "1000", "--from", &from, "--data-dir", &data_dir];
        let (code, out, err) = run(&words);
        assert_eq!(code, 0, "{err}");
        if out.is_empty() {
            return texts;
        }
        texts.extend(out.lines().map(|it| {
            let record: Value = serde_json::from_str(it).unwrap();
            record["text"].as_str().unwrap().to_string()
        }));
    }
}

/// The rows of a view that a replay of a file makes, by so many workers.
fn replayed(folder: &Folder, file: &str, view: &str, workers: &str) -> Vec<Value> {
    let rows_out = folder.path(&format!("rows-{workers}"));
    let words = ["replay", file, "--json", "--rows-out", &rows_out, "--workers", workers];
    let (code, out, err) = run(&words);
    assert_eq!(code, 0, "{out}{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["counts"]["rejected"], 0, "{told}");
    let text = std::fs::read_to_string(Path::new(&rows_out).join(format!("{view}.jsonl")));
    std::fs::remove_dir_all(&rows_out).unwrap();
    let rows = text.unwrap();
    let row = |it: &str| {
        let mut row: Value = serde_json::from_str(it).unwrap();
        assert_eq!(row.as_object_mut().unwrap().remove("tenant"), Some("default".into()));
        row
    };
    rows.lines().map(row).collect()
}

#[test]
fn what_was_measured_stands_in_the_log() {
    let folder = Folder::new("capacity");
    let (process, address) = start(&folder);
    assert!(rows(&address, "capacity").is_empty());
    until_measured(&address, 1, "a");
    let row = until_measured(&address, 2, "b");
    assert_eq!((&row["process"], &row["advice"]), (&json!("main"), &json!("unknown")));
    let advice = rows(&address, "capacity_advice");
    assert_eq!(advice[0]["advice"], "unknown", "{advice:?}");
    stop(process);

    // Each is of a whole number of requests: none was counted twice, and none of the facts.
    let texts = written(&folder);
    let facts: Vec<Value> = texts
        .iter()
        .map(|it| serde_json::from_str::<Value>(it).unwrap())
        .filter(|it| it["type"] == "system.measured")
        .collect();
    let int = |it: &Value, field: &str| it["data"][field].as_i64().unwrap();
    for fact in &facts {
        assert_eq!(fact["source"], CAPACITY);
        assert_eq!(fact["id"], format!("measured/main/{}", fact["time"].as_str().unwrap()));
        assert!(int(fact, "n_events") > 0 && int(fact, "n_events") % BATCH as i64 == 0, "{fact}");
        assert!(int(fact, "busy_micros") > 100 && int(fact, "seconds") > 0, "{fact}");
    }
    // What came while it was asked may have been measured after that.
    let leant = &facts[..row["n_measurements"].as_u64().unwrap() as usize];
    let sum = |field: &str| leant.iter().map(|it| int(it, field)).sum::<i64>();
    let at_work = int(&facts[0], "workers").min(int(&facts[0], "processors"));
    let rate = i128::from(at_work) * i128::from(sum("n_events")) * 3_600_000_000
        / i128::from(sum("busy_micros"));
    assert_eq!(row["n_events"].as_i64(), Some(sum("n_events")));
    assert_eq!(row["rate_per_hour"].as_i64().map(i128::from), Some(rate), "{row}");

    // Without its state, and with other workers: the log says what was measured.
    std::fs::remove_dir_all(folder.0.join("data/state")).unwrap();
    std::fs::remove_dir_all(folder.0.join("data/identities")).unwrap();
    let file = folder.file("log.jsonl", texts.join("\n"));
    let made = replayed(&folder, &file, "capacity", "1");
    assert_eq!(made, replayed(&folder, &file, "capacity", "2"));
    assert_eq!(made[0]["n_measurements"], facts.len());
    let (process, address) = start(&folder);
    let end = Instant::now() + Duration::from_secs(60);
    while rows(&address, "capacity") != made {
        assert!(Instant::now() < end, "{:?} {made:?}", rows(&address, "capacity"));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    stop(process);
    assert_eq!(written(&folder).len(), texts.len(), "what is read again is not measured again");
}

/// Goal: a forecast above what was measured says when, and how many; the same in every replay.
#[test]
fn replays_agree_on_when_to_scale() {
    let folder = Folder::new("capacity-replay");
    let monday = 24 * (20_454 + 3) * HOUR;
    let mut lines = Vec::new();
    for hour in 0..24 * 9 {
        let n = if hour % 24 == 12 { 40 } else { 4 };
        for at in 0..n {
            let tenant = if at % 2 == 0 { "default" } else { "acme" };
            let time = rfc3339(monday + hour * HOUR + at * HOUR / n);
            lines.push(json!({
                "specversion": "1.0", "id": format!("{hour}-{at}"), "source": "//crm",
                "tenant": tenant, "type": "interaction.recorded", "time": time,
                "data": {"customer": "C-1", "channel": "web", "action": "view"},
            }));
        }
    }
    // Ten events an hour, by each of two workers.
    let time = rfc3339(monday + 24 * 9 * HOUR);
    lines.push(json!({
        "specversion": "1.0", "id": format!("measured/main/{time}"), "source": CAPACITY,
        "type": "system.measured", "time": time,
        "data": {"process": "main", "seconds": 3_600, "n_events": 1_000,
                 "busy_micros": 360_000_000_000_i64, "workers": 2, "processors": 8},
    }));
    let text = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let file = folder.file("days.jsonl", text);
    let made = replayed(&folder, &file, "capacity", "1");
    assert_eq!(made.len(), 1, "{made:?}");
    let row = &made[0];
    assert_eq!((&row["rate_per_hour"], &row["advice"]), (&json!(20), &json!("more")), "{row}");
    let (scale_at, peak_at) = (row["scale_at"].as_str(), row["peak_at"].as_str());
    assert!(scale_at.is_some() && scale_at <= peak_at && peak_at > Some(&time), "{row}");
    assert!(row["workers_wanted"].as_i64() > Some(2), "{row}");
    let advice = replayed(&folder, &file, "capacity_advice", "1");
    assert_eq!(advice[0]["workers_wanted"], row["workers_wanted"], "{advice:?}");
    lines.reverse();
    let text = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let turned = folder.file("turned.jsonl", text);
    assert_eq!(made, replayed(&folder, &turned, "capacity", "2"));
    assert_eq!(advice, replayed(&folder, &turned, "capacity_advice", "2"));
}
