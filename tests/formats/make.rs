//! Makes a fixture: a small data folder with some of everything that is kept, written by the real
//! program, and beside it what went in and what was counted.
//!
//! ```text
//!  history.jsonl   lines of a file feed, two of them no events
//!  sent.jsonl      events that came by HTTP
//!  known.json      what was counted, rejected, appended
//!  backup.json     the list that makes a backup of `data`
//!  data/           the folder, as its process left it; since `format-1-sinks` with what waits for
//!                  sinks (`outbox.rs`), since `format-1-models` with a model that was published,
//!                  since `format-1-arrivals` with one of arrival, since `format-1-silences` with
//!                  what is usual where orders stand in it
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dataflows::models::lanes::{Lane, Lanes, Way};
use dataflows::models::silences::{ORDERS_MIN, Stay};
use millstream::backup;
use millstream::config::Settings;
use millstream::ingest::local_log::{self, LocalLog};
use millstream::ingest::resets::{Resets, To};
use millstream::messages::{BookLine, Counts};
use millstream::models::arrivals;
use millstream::models::shelf::Shelf;
use millstream::segments::OnDamage;
use millstream::store::Incarnation;
use millstream::supervise::notes;
use schemas::events::Status;
use serde_json::{Value, json};

use crate::process::{Folder, Process, get, run};
use crate::{common, load, outbox};

pub const TENANTS: &[&str] = &["acme", "globex"];

/// What is neither written by us nor lasts.
const PASSING: &[&str] = &["lock", "admin.addr"];

/// What a fixture says of itself.
pub struct Known {
    pub counts: Value,
    pub rejects: Value,
    pub in_log: usize,
    pub incarnation: u64,
}

impl Known {
    pub fn of(fixture: &Path) -> Known {
        let text = std::fs::read_to_string(fixture.join("known.json")).unwrap();
        let it: Value = serde_json::from_str(&text).unwrap();
        Known {
            counts: it["counts"].clone(),
            rejects: it["rejects"].clone(),
            in_log: it["in_log"].as_u64().unwrap() as usize,
            incarnation: it["incarnation"].as_u64().unwrap(),
        }
    }

    /// Events that were applied, of all feeds.
    pub fn n_applied(&self) -> usize {
        let all = self.counts.as_array().unwrap().iter();
        all.map(|it| it["applied"].as_u64().unwrap() as usize).sum()
    }

    /// Every event in it.
    pub fn events(&self, fixture: &Path) -> Vec<String> {
        let read = |name: &str| std::fs::read_to_string(fixture.join(name)).unwrap();
        let all = [read("history.jsonl"), read("sent.jsonl")];
        let lines = all.iter().flat_map(|it| it.lines());
        lines.filter(|it| it.starts_with(r#"{"specversion"#)).map(Into::into).collect()
    }
}

pub fn lines(text: &str) -> usize {
    text.lines().count()
}

/// Where the records of each partition ended.
pub fn counts(ledger: &Value) -> Value {
    let of = |it: &Value| {
        let names = ["feed", "partition", "next", "read", "applied", "duplicate", "rejected"];
        let fields = names.iter().map(|name| (name.to_string(), it[*name].clone()));
        Value::Object(fields.collect())
    };
    ledger["partitions"].as_array().unwrap().iter().map(of).collect()
}

/// What is kept of the rejects, the newest first.
pub fn rejects(all: &Value) -> Value {
    let of = |it: &Value| {
        json!({"id": it["id"], "reason": it["reason"], "feed": it["feed"],
               "offset": it["offset"], "text": it["text"], "retried": it["retried_as"]})
    };
    all["rejects"].as_array().unwrap().iter().map(of).collect()
}

/// A process over this folder that reads the fixture's file.
pub fn started(dir: &Path, fixture: &Path, more: &[&str]) -> Process {
    let data = dir.display().to_string();
    let feed = format!("history={}", fixture.join("history.jsonl").display());
    let mut all = vec!["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--feed", &feed];
    all.extend(["--workers", "1", "--set", "state.interval=10ms"]);
    all.extend(more);
    Process::start(&all)
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if !PASSING.contains(&name) {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Every file that lasts, with what is in it.
pub fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !PASSING.contains(&path.file_name().unwrap().to_str().unwrap()) {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Makes one; where it is.
pub fn make(folder: &Folder) -> PathBuf {
    let (made, dir) = (folder.0.join("made"), folder.0.join("made/data"));
    std::fs::create_dir_all(&dir).unwrap();
    let data = dir.display().to_string();
    let all = common::history(11, 240);
    let (of_file, sent) = all.split_at(120);
    let mut history = of_file.to_vec();
    history.insert(50, "garbage".into());
    history.insert(90, r#"{"id":"no event"}"#.into());
    std::fs::write(made.join("history.jsonl"), history.join("\n") + "\n").unwrap();
    std::fs::write(made.join("sent.jsonl"), sent.join("\n") + "\n").unwrap();
    // The receiver of one sink is not there: no folder can be made in a file.
    let nowhere = made.join("history.jsonl").join("out");
    let config = outbox::settings(&folder.0.join("out"), &nowhere);
    let sinks = ["--config", config.as_str()];
    for (n, part) in sent.chunks(60).enumerate() {
        let mut process = started(&dir, &made, &sinks);
        let address = process.address(&dir);
        for event in part {
            send(&address, event);
        }
        // One is sent twice.
        send(&address, &part[0]);
        crate::ready(&address, &mut process);
        if n == 1 {
            let (code, _, err) =
                run(&["rejects", "retry", "--feed", "history", "--data-dir", &data]);
            assert_eq!(code, 0, "{err}");
            load::caught_up(&address, 62 + 61 + 2);
        }
        outbox::taken(&address, &mut process);
        process.signal("-TERM");
        assert_eq!(process.end().0, 0);
        if n == 0 {
            own_fact(&dir);
            published(folder, &data);
        }
    }
    // Once more: everything is in its checkpoint, and counted.
    let mut process = started(&dir, &made, &sinks);
    let address = process.address(&dir);
    crate::ready(&address, &mut process);
    outbox::taken(&address, &mut process);
    let get = |path: &str| -> Value { serde_json::from_str(&get(&address, path).1).unwrap() };
    let (ledger, rejected) = (get("/v1/ledger"), get("/v1/rejects"));
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let incarnation = Incarnation::read(&dir).unwrap().unwrap().number;
    let (code, shown, err) =
        run(&["log", "show", "--json", "--limit", "1000", "--data-dir", &data]);
    assert_eq!(code, 0, "{err}");
    let known = json!({
        "written_by": env!("CARGO_PKG_VERSION"), "counts": counts(&ledger),
        "rejects": rejects(&rejected), "in_log": lines(&shown), "incarnation": incarnation,
    });
    let text = serde_json::to_string_pretty(&known).unwrap();
    std::fs::write(made.join("known.json"), text + "\n").unwrap();
    decisions(&dir);
    let to = folder.path("backup");
    let (code, _, err) = run(&["backup", &to, "--data-dir", &data]);
    assert_eq!(code, 0, "{err}");
    std::fs::copy(folder.0.join("backup").join(backup::LIST), made.join(backup::LIST)).unwrap();
    made
}

/// A fact of our own, as `run --supervise` appends one.
fn own_fact(dir: &Path) {
    let settings = Settings::default_in(dir);
    let log = dir.join(local_log::DIR);
    let clock = Arc::new(millstream::clock::wall_ms);
    let log = LocalLog::open(&log, &settings.log, OnDamage::Refuse, clock).unwrap();
    let fact = json!({"specversion": "1.0", "id": "recovered-1", "source": "/millstream",
        "type": "system.recovered", "time": "2026-01-01T00:00:00Z",
        "data": {"why": "killed", "went_at": "2026-01-01T00:00:00Z", "took_ms": 5, "restarts": 1}});
    let answer = log.append_facts(vec![fact.to_string().into_bytes()]).unwrap();
    answer.blocking_recv().unwrap().unwrap();
    log.close();
}

/// A model of a few orders, sealed: it speaks of later ones than those of the fixture.
fn sealed(data: &str) {
    let shelf = Shelf::of(Path::new(data));
    let way = Way { tenant: "acme", to: Some("SP/01"), ..Way::default() };
    let lane = Lane::of(&way, Status::Shipped);
    let mut lanes = Lanes::default();
    for day in 0..30 {
        lanes.entered(&lane, day * arrivals::DAY, 1);
        lanes.arrived(&lane, day * arrivals::DAY, (day + 3) * arrivals::DAY, 1);
    }
    let silence = 5 * arrivals::DAY;
    let stay = Stay { status: Status::Paid, entered: 0, silence, went_on: true };
    lanes.silences.add("acme", [Some("E"), Some("SP/01")], &stay, ORDERS_MIN);
    let model = lanes.sealed(40 * arrivals::DAY).unwrap();
    let body = model.body();
    let digest = millstream::models::keep(shelf.dir(), &body).unwrap();
    let now = (millstream::clock::wall_ms(), 0);
    let list = arrivals::List::default().next((&model, &body, &digest), now).unwrap();
    list.write(&shelf).unwrap();
}

/// A model of a few texts, published, and one of arrival: they speak of later ones than those of the
/// fixture.
pub fn published(folder: &Folder, data: &str) {
    let one = |at: usize| {
        let (stars, text) = [(5, "a great pump, thank you"), (1, "it broke")][at % 2];
        json!({"specversion": "1.0", "id": format!("r{at}"), "source": "/shop",
               "type": "feedback.submitted", "subject": "C1", "time": "2026-01-01T00:00:00Z",
               "data": {"customer": "C1", "rating": stars, "text": format!("{at} {text}")}})
        .to_string()
    };
    let texts: Vec<String> = (0..40).map(one).collect();
    let input = folder.file("reviews.jsonl", texts.join("\n") + "\n");
    let train = ["model", "train", "sentiment", "--input", &input, "--publish", "--anyway"];
    let (code, _, err) = run(&[&train[..], &["--data-dir", data]].concat());
    assert_eq!(code, 0, "{err}");
    sealed(data);
}

/// A decision about a feed that this folder has never read, and a record put aside.
fn decisions(dir: &Path) {
    let line = BookLine {
        feed: "shop/crm.orders".into(),
        identity: Some("cluster/topic".into()),
        partition: 3,
        first: 0,
        next: 10,
        newest_event: 0,
        reset: 0,
        counts: Counts::default(),
    };
    let to = To::try_from("3:7".to_string()).unwrap();
    Resets::open(dir).unwrap().decide(&[line], "shop", None, to).unwrap();
    let place = notes::Place { feed: "gone".into(), partition: 0, offset: 5, again: false };
    let put = notes::put_aside(dir, notes::Aside { place, why: "a panic".into() }).unwrap();
    assert!(put);
}

pub fn send(address: &str, event: &str) {
    let of: Value = serde_json::from_str(event).unwrap();
    let tenant = of["tenant"].as_str().unwrap_or("default");
    let head = "host: a\r\nconnection: close\r\ncontent-type: application/cloudevents+json";
    let request = format!(
        "POST /v1/events?tenant={tenant} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n\r\n{event}",
        event.len()
    );
    let (status, answer) = load::ask(address, &request).expect("an answer");
    assert_eq!(status, 202, "{answer}");
}
