//! Goal: when much happens at once, little is said, and nothing is lost count of: a storm of ten
//! thousand rows, a row that flaps, a rule that fails beside nine that do not, a clock that is
//! stepped; and what a person has done about messages is counted like everything else.
//! Method: the real binary with rules and channels, and a receiver of ours; afterwards the rows of
//! the view, the receiver's ledger and `/v1/ledger` against each other.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;
#[path = "common/receiver.rs"]
mod receiver;
#[path = "common/rules.rs"]
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use process::{Folder, Process, command, get, run};
use receiver::{Receiver, Temper};
use rules::{rule, settings};
use serde_json::{Value, json};

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// Cases are opened, or resolved; one request.
fn tell(address: &str, kind: &str, cases: &[String]) {
    let event = |case: &String| {
        let mut data = json!({"case": case, "customer": "C-1"});
        if kind == "case.opened" {
            data["severity"] = json!(1);
            data["queue"] = json!("q");
        }
        let time = now();
        json!({"specversion": "1.0", "id": format!("{case}-{kind}-{time}"), "source": "//crm",
               "type": kind, "time": schemas::time::rfc3339(time), "data": data})
    };
    let body = Value::Array(cases.iter().map(event).collect()).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    write!(
        stream,
        "POST /v1/events?wait=applied HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/cloudevents-batch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

fn words<'w>(data: &'w str, settings: &'w str) -> [&'w str; 7] {
    ["run", "--listen", "127.0.0.1:0", "--data-dir", data, "--config", settings]
}

fn start(data: &Path, settings: &str) -> (Process, String) {
    // One that was killed a moment ago has left its own behind.
    std::fs::remove_file(data.join("admin.addr")).ok();
    let mut process = Process::start(&words(&data.display().to_string(), settings));
    let address = process.address(data);
    (process, address)
}

/// Every message there is, page by page.
fn messages(address: &str) -> Vec<Value> {
    let (mut all, mut path) = (Vec::new(), "/v1/notifications?limit=1000".to_string());
    loop {
        let (status, text) = get(address, &path);
        let page: Value = serde_json::from_str(&text).unwrap();
        if status == 410 {
            // The cursor's instant was let go: from the beginning.
            (all, path) = (Vec::new(), "/v1/notifications?limit=1000".to_string());
            continue;
        }
        assert_eq!(status, 200, "{text}");
        all.extend(page["rows"].as_array().unwrap().iter().map(|it| it["row"].clone()));
        let Some(next) = page["next"].as_str() else { return all };
        path = format!("/v1/notifications?limit=1000&cursor={next}");
    }
}

fn until(address: &str, what: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let end = Instant::now() + Duration::from_secs(180);
    loop {
        let all = messages(address);
        if enough(&all) {
            return all;
        }
        assert!(Instant::now() < end, "{what}: {:?} {:#?}", states(&all), all.last());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn states(all: &[Value]) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for it in all {
        let answer = match it["state"].as_str().unwrap() {
            "suppressed" => it["answer"].as_str().unwrap().to_string(),
            state => state.to_string(),
        };
        *states.entry(answer).or_default() += 1;
    }
    states
}

fn of(states: &BTreeMap<String, usize>, name: &str) -> usize {
    states.get(name).copied().unwrap_or(0)
}

/// Different messages that the log says were planned, by us.
fn planned(address: &str) -> BTreeSet<String> {
    let (mut all, mut from) = (BTreeSet::new(), None);
    loop {
        let from_here = from.map_or(String::new(), |it| format!("&from={it}"));
        let path = format!("/v1/admin/log/records?limit=1000{from_here}");
        let (status, text) = get(address, &path);
        assert_eq!(status, 200, "{text}");
        let page: Value = serde_json::from_str(&text).unwrap();
        let records = page["result"].as_array().unwrap();
        for it in records {
            let Ok(event) = serde_json::from_str::<Value>(it["text"].as_str().unwrap_or("")) else {
                continue;
            };
            if event["type"] == "message.planned" {
                all.insert(event["data"]["message"].as_str().unwrap().to_string());
            }
        }
        let Some(last) = records.last() else { return all };
        from = Some(last["position"].as_u64().unwrap() + 1);
    }
}

/// The counts of `/v1/ledger` are those of the rows, and together as many as there are messages in
/// the log.
fn balances(address: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut rows: BTreeMap<String, i64> = BTreeMap::new();
        for it in messages(address) {
            *rows.entry(it["state"].as_str().unwrap().to_string()).or_default() += 1;
        }
        let ledger: Value = serde_json::from_str(&get(address, "/v1/ledger").1).unwrap();
        let told = ledger["notifications"].as_object().unwrap().iter();
        let told: BTreeMap<String, i64> =
            told.map(|it| (it.0.clone(), it.1.as_i64().unwrap())).filter(|it| it.1 != 0).collect();
        let n = planned(address).len();
        if told == rows && told.values().sum::<i64>() == i64::try_from(n).unwrap() {
            return;
        }
        // The counts are of the watcher's last look.
        assert!(Instant::now() < end, "{told:?} {rows:?}, {n} in the log");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn names(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|it| format!("{prefix}-{it}")).collect()
}

/// How many a message that counts others says there were.
fn counted(all: &[Value]) -> usize {
    let texts = all.iter().filter(|it| it["about"] == "*").map(|it| it["text"].as_str().unwrap());
    texts.map(|it| it.split(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

/// Goal: a storm of ten thousand rows is a handful of messages that count the rest, each row still
/// has its own message with its state, and a kill in the middle changes none of that.
#[test]
fn a_storm_of_ten_thousand() {
    const N: usize = 10_000;
    let folder = Folder::new("storm");
    let receiver = Receiver::start(|_| Temper::status(200));
    let settings = settings(&folder, receiver.address, &rule("waits", "group = \"3s\""));
    let data = folder.0.join("data");
    let (mut process, address) = start(&data, &settings);
    let cases = names("K", N);
    let (first, second) = cases.split_at(N / 2);
    first.chunks(500).for_each(|it| tell(&address, "case.opened", it));
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let (_process, address) = start(&data, &settings);
    second.chunks(500).for_each(|it| tell(&address, "case.opened", it));
    let all = until(&address, "the storm is over", |all| {
        let states = states(all);
        of(&states, "grouped") == counted(all) && of(&states, "planned") == 0 && all.len() > N
    });
    let (of_rows, of_groups): (Vec<&Value>, Vec<&Value>) =
        all.iter().partition(|it| it["about"] != "*");
    let about: BTreeSet<&str> = of_rows.iter().map(|it| it["about"].as_str().unwrap()).collect();
    assert_eq!((of_rows.len(), about.len()), (N, N), "each row has one message");
    let states = states(&all);
    assert_eq!(of(&states, "grouped") + of(&states, "delivered"), all.len(), "{states:?}");
    // One speaks for itself in each window that had nothing before it, the others are counted.
    assert!(of(&states, "grouped") > N * 9 / 10, "{states:?}");
    let heard = receiver.came();
    let ids: BTreeSet<String> = heard.iter().map(|it| it.id().to_string()).collect();
    assert_eq!(ids.len(), of(&states, "delivered"), "{states:?}");
    assert!(!of_groups.is_empty() && of_groups.iter().all(|it| it["state"] == "delivered"));
    balances(&address);
}

/// Goal: a row that flaps is said once in its quiet time, and each time is there with its reason.
#[test]
fn a_flapping_row() {
    const TIMES: usize = 40;
    let folder = Folder::new("flaps");
    let receiver = Receiver::start(|_| Temper::status(200));
    let text = "quiet = \"1h\"\nresolved = \"case {{ case }} is done\"";
    let settings = settings(&folder, receiver.address, &rule("waits", text));
    let (_process, address) = start(&folder.0.join("data"), &settings);
    let case = names("K", 1);
    for n in 1..=TIMES {
        tell(&address, "case.opened", &case);
        // Each episode is looked at; one shorter than a look would not be seen.
        until(&address, "seen", |all| {
            all.iter().filter(|it| it["corrects"].is_null()).count() == n
        });
        tell(&address, "case.resolved", &case);
    }
    let all = until(&address, "all of it", |all| {
        let states = states(all);
        of(&states, "delivered") == 2 && of(&states, "quiet") == TIMES - 1
    });
    // The first, and that it is over; what was not said has no end.
    assert_eq!(all.len(), TIMES + 1, "{:?}", states(&all));
    assert_eq!(receiver.came().len(), 2);
    balances(&address);
}

/// Goal: a rule whose condition, and one whose text, cannot be told of any row keep nine others
/// from nothing.
#[test]
fn a_rule_with_an_error_beside_nine() {
    const CASES: usize = 20;
    let folder = Folder::new("errors");
    let receiver = Receiver::start(|_| Temper::status(200));
    let mut rules: String = (0..9).map(|it| rule(&format!("good-{it}"), "")).collect();
    let when = "status == 'open' and severity == 1";
    rules += &rule("fails", "").replace(when, "severity.name == 'high'");
    rules += &rule("halves", "").replace("{{ case }}", "{{ case }} {{ case.name }}");
    let settings = settings(&folder, receiver.address, &rules);
    let (process, address) = start(&folder.0.join("data"), &settings);
    tell(&address, "case.opened", &names("K", CASES));
    let all = until(&address, "nine of each", |all| {
        let states = states(all);
        of(&states, "delivered") == 9 * CASES && of(&states, "template") == CASES
    });
    assert_eq!(all.len(), 10 * CASES, "{:?}", states(&all));
    assert!(all.iter().all(|it| it["rule"] != "fails"));
    let halves = all.iter().find(|it| it["rule"] == "halves").unwrap();
    assert_eq!((&halves["text"], &halves["state"]), (&json!(""), &json!("suppressed")));
    assert_eq!(receiver.came().len(), 9 * CASES);
    balances(&address);
    // What could not be said is among the rejects too, each now and then, with what planned it.
    let (status, text) = get(&address, "/v1/rejects?reason=notify/template");
    let page: Value = serde_json::from_str(&text).unwrap();
    let rejects = page["rejects"].as_array().unwrap_or_else(|| panic!("{status} {text}"));
    assert_eq!(rejects.len(), 5, "{text}");
    for it in rejects {
        assert_eq!((&it["feed"], &it["pointer"]), (&json!("log"), &json!("/data/text")), "{it}");
        assert!(it["found"].as_str().unwrap().starts_with("the text: "), "{it}");
        let event: Value = serde_json::from_str(it["text"].as_str().unwrap()).unwrap();
        let message = event["data"]["message"].as_str().unwrap();
        let row = all.iter().find(|row| row["message"] == message).unwrap();
        assert_eq!((&row["state"], &row["rule"]), (&json!("suppressed"), &json!("halves")));
        let path = format!("/v1/admin/log/records?limit=1&from={}", it["offset"]);
        let record: Value = serde_json::from_str(&get(&address, &path).1).unwrap();
        let record = record["result"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(record).unwrap(), event, "what planned it");
    }
    // It is no record: there is nothing to be read again. The feeds' own counts know nothing of it.
    let data = folder.0.join("data").display().to_string();
    let id = rejects[0]["id"].to_string();
    let words = ["rejects", "retry", "--id", &id, "--data-dir", &data, "--config", &settings];
    let (_, out, err) = run(&words);
    assert!(format!("{out}{err}").contains("it is a message and no record"), "{out}{err}");
    let (_, ledger) = get(&address, "/v1/ledger");
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    for it in ledger["partitions"].as_array().unwrap() {
        assert_eq!(it["rejected"], 0, "{it}");
    }
    // Both are told, each now and then: of twenty the first, second, fourth, eighth and sixteenth.
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert_eq!((code, err.matches("a text could not be said").count()), (0, 5), "{err}");
    assert!(err.contains("notify/condition") && err.contains("rule halves, view cases"), "{err}");
}

/// Goal: what was refused is sent after all under its id, what waits can be called off, and both are
/// counted like everything else. Method: a receiver that answers 410, then, after a restart and
/// `channels resume`, 500, then 200.
#[test]
fn retried_and_cancelled() {
    let folder = Folder::new("retried");
    let temper = Arc::new(AtomicU16::new(410));
    let answers = Arc::clone(&temper);
    let receiver = Receiver::start(move |_| Temper::status(answers.load(SeqCst)));
    let settings = settings(&folder, receiver.address, &rule("waits", ""));
    let data = folder.0.join("data");
    let data_dir = data.display().to_string();
    let told = |words: &[&str]| -> Vec<Value> {
        let words = [words, &["--json", "--config", &settings, "--data-dir", &data_dir]].concat();
        let (code, out, err) = run(&[&["notifications"], words.as_slice()].concat());
        assert_eq!(code, 0, "{words:?}: {out}{err}");
        out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
    };
    let (process, address) = start(&data, &settings);
    tell(&address, "case.opened", &names("K", 1));
    let all = until(&address, "refused", |all| of(&states(all), "refused") == 1);
    let id = all[0]["message"].as_str().unwrap().to_string();
    let listed = told(&["list", "--state", "refused"]);
    assert_eq!(listed, all);
    assert_eq!(told(&["list", &id]), all);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let (code, _, err) =
        run(&["notifications", "retry", &id, "--config", &settings, "--data-dir", &data_dir]);
    assert!(code == 1 && err.contains("commands/not-running"), "{err}");

    temper.store(500, SeqCst);
    let (_process, address) = start(&data, &settings);
    // A receiver that answered 410 is left alone, after a restart too, until somebody says so.
    let (code, out, err) =
        run(&["channels", "resume", "ops", "--config", &settings, "--data-dir", &data_dir]);
    assert_eq!(code, 0, "{out}{err}");
    let done = told(&["retry", &id]).remove(0);
    assert_eq!((&done["n"], &done["messages"]), (&json!(1), &json!([id])), "{done}");
    receiver.until("tried again", |it| it.len() >= 2);
    // It waits for its next attempt; and is called off, with another one.
    tell(&address, "case.opened", &names("L", 1));
    until(&address, "both wait", |all| of(&states(all), "planned") == 2);
    let (code, _, err) =
        run(&["notifications", "cancel", "--config", &settings, "--data-dir", &data_dir]);
    assert!(code == 1 && err.contains("commands/flag"), "{err}");
    let done = told(&["cancel", "--rule", "waits"]).remove(0);
    assert_eq!(done["n"], 2, "{done}");
    let all = until(&address, "cancelled", |all| of(&states(all), "cancelled") == 2);
    assert_eq!(all.len(), 2);
    balances(&address);
    assert_eq!(told(&["cancel", "--all"]).remove(0)["n"], 0);
    // After all: both, under their ids.
    temper.store(200, SeqCst);
    assert_eq!(told(&["retry", "--channel", "ops"]).remove(0)["n"], 2);
    until(&address, "delivered", |all| of(&states(all), "delivered") == 2);
    let ids: BTreeSet<String> = receiver.came().iter().map(|it| it.id().to_string()).collect();
    assert_eq!(ids, all.iter().map(|it| it["message"].as_str().unwrap().to_string()).collect());
    assert_eq!(told(&["retry", "--all"]).remove(0)["n"], 0, "what was delivered stays so");
    balances(&address);
}

/// Goal: a start with more that waits than a channel has in memory (4,096) delivers each message
/// exactly once, those about one row in their order. Method: a receiver that is down while 1,500
/// cases are opened, resolved and opened again: 4,500 messages; killed, and started when it is up.
#[test]
fn a_start_with_more_than_a_window() {
    const CASES: usize = 1_500;
    let folder = Folder::new("window");
    let temper = Arc::new(AtomicU16::new(503));
    let tempered = Arc::clone(&temper);
    let receiver = Receiver::start(move |_| Temper::status(tempered.load(SeqCst)));
    let rules = rule("waits", "resolved = \"case {{ case }} is done\"");
    let settings = settings(&folder, receiver.address, &rules);
    let data = folder.0.join("data");
    let counted = |address: &str, state: &str, n: usize| {
        let end = Instant::now() + Duration::from_secs(300);
        loop {
            let (_, text) = get(address, "/v1/ledger");
            let ledger: Value = serde_json::from_str(&text).unwrap();
            if ledger["notifications"][state] == n {
                return;
            }
            assert!(Instant::now() < end, "{n} {state}: {text}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    let (mut process, address) = start(&data, &settings);
    for (n, kind) in ["case.opened", "case.resolved", "case.opened"].iter().enumerate() {
        tell(&address, kind, &names("K", CASES));
        counted(&address, "planned", (n + 1) * CASES);
    }
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    drop(process);
    let failed = receiver.came().len();
    temper.store(200, SeqCst);
    let (_process, address) = start(&data, &settings);
    let data_dir = data.display().to_string();
    let (code, out, err) =
        run(&["channels", "resume", "ops", "--config", &settings, "--data-dir", &data_dir]);
    assert_eq!(code, 0, "{out}{err}");
    counted(&address, "delivered", 3 * CASES);
    let came = receiver.came().split_off(failed);
    let ids: BTreeSet<&str> = came.iter().map(|it| it.id()).collect();
    assert_eq!((came.len(), ids.len()), (3 * CASES, 3 * CASES), "each once");
    assert_eq!(ids.into_iter().map(str::to_string).collect::<BTreeSet<_>>(), planned(&address));
    let mut about: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for it in &came {
        let mut said = it.json();
        let said = said["data"].take();
        about.entry(said["about"].as_str().unwrap().to_string()).or_default().push(said);
    }
    assert_eq!(about.len(), CASES);
    for (case, said) in about {
        let [first, over, again] = &said[..] else { panic!("{case}: {said:#?}") };
        assert_eq!(over["corrects"], first["message"], "{case}: {said:#?}");
        assert_eq!((&first["corrects"], &again["corrects"]), (&Value::Null, &Value::Null));
        let episode = |it: &Value| it["episode"].as_str().unwrap().to_string();
        assert!(episode(first) < episode(again), "{case}: {said:#?}");
        assert_eq!(episode(first), episode(over));
    }
}

/// Where distributions put the library; the package is `faketime`.
fn library() -> PathBuf {
    let of = |arch: &str| PathBuf::from(format!("/usr/lib/{arch}/faketime/libfaketime.so.1"));
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", "."].map(of);
    let found = places.iter().find(|it| it.exists()).cloned();
    found.expect("libfaketime: install the package faketime (scripts/test does)")
}

/// Goal: a step of the clock, forward or backward, makes no rule say anything twice, nothing too
/// early and nothing not at all. Method: the real binary under faketime, whose offset is changed
/// while it runs: by ten years forward, which settling would feel, and by a minute back. One rule
/// settles in half an hour, and says nothing; one in seconds, and every case settles across a step;
/// one message is answered with 500 before the first step, and waits for its next attempt meanwhile.
#[test]
fn a_clock_that_is_stepped() {
    let folder = Folder::new("stepped");
    const SETTLES: Duration = Duration::from_secs(3);
    let receiver = Receiver::start(|came| {
        let said = came.json();
        let is = |field: &str, text: &str| said["data"][field] == text;
        let fails = came.nth == 0 && is("rule", "waits") && is("about", "R-0");
        Temper::status(if fails { 500 } else { 200 })
    });
    let soon = format!("settle = \"{}s\"", SETTLES.as_secs());
    let rules = rule("waits", "") + &rule("settles", "settle = \"30min\"") + &rule("soon", &soon);
    let settings = settings(&folder, receiver.address, &rules);
    let offset = folder.file("offset", "+0");
    let step = |to: &str| {
        // Replaced at once: a half-written offset would be a step of its own.
        let new = folder.file("offset.new", to);
        std::fs::rename(new, &offset).unwrap();
    };
    let data = folder.0.join("data");
    let data_dir = data.display().to_string();
    let mut run = command(&words(&data_dir, &settings));
    run.env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", &offset)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut process = Process::spawn(&mut run);
    let address = process.address(&data);
    // Every case is spoken of by two rules, once.
    let said = |n: usize| {
        until(&address, "said", |all| of(&states(all), "delivered") == n && all.len() == n)
    };
    tell(&address, "case.opened", &names("R", 1));
    receiver.until("one fails", |it| it.len() == 1);
    tell(&address, "case.opened", &names("K", 1));
    step("+3650d");
    said(4);
    tell(&address, "case.opened", &names("L", 1));
    step("-60");
    said(6);
    tell(&address, "case.opened", &names("M", 1));
    step("+0");
    said(8);
    tell(&address, "case.resolved", &names("K", 1));
    tell(&address, "case.opened", &names("N", 1));
    let all = said(10);
    let once: BTreeSet<(&str, &str)> = all
        .iter()
        .map(|it| (it["rule"].as_str().unwrap(), it["about"].as_str().unwrap()))
        .collect();
    let cases = ["K-0", "L-0", "M-0", "N-0", "R-0"];
    let expected = ["soon", "waits"].into_iter().flat_map(|rule| cases.map(|it| (rule, it)));
    assert_eq!(once, expected.collect(), "{all:#?}");
    let came = receiver.came();
    assert_eq!(came.len(), 11);
    for it in &came {
        let said = it.json();
        // The clocks are read in milliseconds.
        let least = match (said["data"]["rule"].as_str().unwrap(), it.nth) {
            ("soon", _) => SETTLES - Duration::from_millis(100),
            ("waits", 1) => Duration::from_millis(4_900),
            _ => continue,
        };
        let since = schemas::time::parse_rfc3339(said["data"]["episode"].as_str().unwrap());
        let at = it.at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64;
        let took = Duration::from_micros((at - since.unwrap()).unsigned_abs());
        assert!(took >= least && at > since.unwrap(), "too early: {took:?} {said}");
    }
    balances(&address);
}
