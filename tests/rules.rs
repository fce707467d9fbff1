//! Goal: a rule can be tried on history before it speaks; that it did or did not speak is told with
//! the reason; and what it would say is shown on a real row.
//! Method: the real binary: a log of some days made over HTTP by a process without rules, then the
//! commands on its folder, stopped and running, against what was made.

#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;
#[path = "common/receiver.rs"]
mod receiver;
#[path = "common/rules.rs"]
mod rules;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use process::{Folder, Process, get, run};
use receiver::{Receiver, Temper};
use rules::{rule, settings};
use serde_json::{Value, json};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64
}

/// A case is opened, or resolved, at an instant.
fn event(kind: &str, case: &str, at: i64) -> Value {
    let mut data = json!({"case": case, "customer": "C-1"});
    if kind == "case.opened" {
        data["severity"] = json!(1);
        data["queue"] = json!("q");
    }
    json!({"specversion": "1.0", "id": format!("{case}-{kind}-{at}"), "source": "//crm",
           "type": kind, "time": schemas::time::rfc3339(at), "data": data})
}

fn tell(address: &str, events: &[Value]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let body = Value::Array(events.to_vec()).to_string();
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

fn start(data: &Path, more: &[&str]) -> (Process, String) {
    let data_dir = data.display().to_string();
    std::fs::remove_file(data.join("admin.addr")).ok();
    let mut words = vec!["run", "--listen", "127.0.0.1:0", "--data-dir", &data_dir];
    words.extend(more);
    let mut process = Process::start(&words);
    let address = process.address(data);
    (process, address)
}

/// What a command prints, as JSON, a document a line.
fn told(words: &[&str], settings: &str, data: &Path) -> Vec<Value> {
    let data_dir = data.display().to_string();
    let words = [words, &["--json", "--config", settings, "--data-dir", &data_dir]].concat();
    let (code, out, err) = run(&words);
    assert_eq!(code, 0, "{words:?}: {out}{err}");
    out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn refused(words: &[&str], settings: &str, data: &Path) -> String {
    let data_dir = data.display().to_string();
    let words = [words, &["--config", settings, "--data-dir", &data_dir]].concat();
    let (code, out, err) = run(&words);
    assert_eq!(code, 1, "{words:?}: {out}{err}");
    err
}

/// Goal: what rules would have said of a week is what the week had in it: each episode once, those
/// before `--since` not, those in quiet time and those that did not settle told apart; the same
/// whatever the step, and again.
#[test]
fn a_week_is_tried() {
    let folder = Folder::new("rules-week");
    let data = folder.0.join("data");
    let (process, address) = start(&data, &[]);
    let began = now();
    let ago = |time: i64| began - time;
    let week = [
        // Long before: not of this week.
        event("case.opened", "K-0", ago(20 * DAY)),
        // Three hours; then again, after the quiet hour.
        event("case.opened", "K-1", ago(6 * DAY)),
        event("case.resolved", "K-1", ago(6 * DAY - 3 * HOUR)),
        event("case.opened", "K-1", ago(6 * DAY - 4 * HOUR)),
        // Ten minutes; then again, within the quiet hour.
        event("case.opened", "K-2", ago(3 * DAY)),
        event("case.resolved", "K-2", ago(3 * DAY - 10 * MINUTE)),
        event("case.opened", "K-2", ago(3 * DAY - 20 * MINUTE)),
        event("case.resolved", "K-2", ago(3 * DAY - 30 * MINUTE)),
        // Open to this day.
        event("case.opened", "K-3", ago(2 * HOUR)),
    ];
    for it in &week {
        tell(&address, std::slice::from_ref(it));
    }
    let rules = rule("waits", "quiet = \"1h\"\nresolved = \"case {{ case }} is done\"")
        + &rule("settles", "settle = \"1h\"");
    let settings = settings(&folder, "127.0.0.1:9", &rules);
    let test = ["rules", "test", "--since", "7d", "--samples", "20"];
    // A process has the log open.
    let err = refused(&test, &settings, &data);
    assert!(err.contains("commands/running"), "{err}");
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);

    let figures = told(&test, &settings, &data).remove(0);
    assert_eq!(figures["records"], week.len(), "{figures}");
    let of = |figures: &Value, name: &str| {
        let rules = figures["rules"].as_array().unwrap();
        rules.iter().find(|it| it["rule"] == name).unwrap().clone()
    };
    let waits = of(&figures, "waits");
    let n = |it: &Value| {
        (it["raised"].as_u64().unwrap(), it["resolved"].as_u64().unwrap(), it["suppressed"].clone())
    };
    // K-1 twice, K-2 once and once quiet, K-3; what was said of K-1 and K-2 is over.
    assert_eq!(n(&waits), (4, 2, json!({"quiet": 1})), "{waits:#}");
    assert_eq!((&waits["subjects"], &waits["conditions_failed"]), (&json!(3), &json!(0)));
    let samples = waits["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 7, "{samples:#?}");
    assert_eq!(samples[0]["text"], "case K-1 of C-1 waits");
    assert_eq!(samples[1]["text"], "case K-1 is done");
    // An hour later it is still so: twice of K-1, and of K-3.
    let settles = of(&figures, "settles");
    assert_eq!(n(&settles), (3, 0, json!({})), "{settles:#}");
    let by_day: u64 =
        settles["by_day"].as_array().unwrap().iter().map(|it| it["n"].as_u64().unwrap()).sum();
    assert_eq!(by_day, 3);
    let again = told(&[&test[..], &["--step", "1min"]].concat(), &settings, &data).remove(0);
    for name in ["waits", "settles"] {
        assert_eq!(n(&of(&again, name)), n(&of(&figures, name)), "{name}");
    }
    // One rule, to an earlier end; and as text for a person.
    let until = schemas::time::rfc3339(ago(5 * DAY));
    let since = schemas::time::rfc3339(ago(7 * DAY));
    let words = ["rules", "test", "--rule", "settles", "--since", &since, "--until", &until];
    let earlier = told(&words, &settings, &data).remove(0);
    assert_eq!(n(&of(&earlier, "settles")).0, 2, "{earlier:#}");
    assert_eq!(earlier["rules"].as_array().unwrap().len(), 1);
    let data_dir = data.display().to_string();
    let (code, out, err) = run(&["rules", "test", "--config", &settings, "--data-dir", &data_dir]);
    assert_eq!(code, 0, "{err}");
    for words in
        ["waits (cases -> ops, warning): 6 message(s) about 3 row(s)", "suppressed (quiet)"]
    {
        assert!(out.contains(words), "{words}: {out}");
    }
    let err = refused(&["rules", "test", "--rule", "wait"], &settings, &data);
    assert!(err.contains("commands/no-such-rule") && err.contains("`waits` was meant"), "{err}");
}

/// Goal: why a rule did or did not speak of a row is told with what decided it, by the running
/// process's rows and by the folder's alike; a text is shown on a real row.
#[test]
fn why_and_what() {
    let folder = Folder::new("rules-why");
    let data = folder.0.join("data");
    let receiver = Receiver::start(|_| Temper::status(200));
    let rules = rule("waits", "quiet = \"1h\"")
        + &rule("settles", "settle = \"30d\"\nmax_age = \"60d\"")
        + &rule("fresh", "max_age = \"1h\"");
    let settings = settings(&folder, receiver.address, &rules);
    let (process, address) = start(&data, &["--config", &settings]);
    let of = now();
    tell(&address, &[event("case.opened", "K-1", of), event("case.opened", "K-2", of - 2 * HOUR)]);
    // Said of K-1, then again in its quiet hour.
    let delivered = |n: usize| {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let (_, text) = get(&address, "/v1/notifications?limit=1000");
            let page: Value = serde_json::from_str(&text).unwrap();
            let rows = page["rows"].as_array().unwrap();
            let waits = rows.iter().filter(|it| it["row"]["state"] == "planned").count();
            if rows.len() == n && waits == 0 {
                return;
            }
            assert!(Instant::now() < end, "{text}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    // `waits` and `fresh` of K-1, `waits` of K-2.
    delivered(3);
    tell(&address, &[event("case.resolved", "K-2", of)]);
    let verdicts = |subject: &str| {
        let all = told(&["rules", "explain", subject], &settings, &data);
        let all = all.iter().map(|it| {
            let text = |name: &str| it[name].as_str().unwrap().to_string();
            (text("rule"), text("verdict"), it.clone())
        });
        all.collect::<Vec<_>>()
    };
    let check = |subject: &str, expected: [&str; 3]| {
        let found = verdicts(subject);
        let names: Vec<&str> = found.iter().map(|it| it.1.as_str()).collect();
        let rules: Vec<&str> = found.iter().map(|it| it.0.as_str()).collect();
        let by_rule: std::collections::BTreeMap<&str, &str> =
            rules.into_iter().zip(names).collect();
        let expected = ["waits", "settles", "fresh"].into_iter().zip(expected).collect();
        assert_eq!(by_rule, expected, "{subject}: {found:#?}");
        found.into_iter().find(|it| it.0 == "waits").unwrap().2
    };
    let looked_at = || {
        let said = check("K-1", ["spoken", "settles", "spoken"]);
        assert_eq!(said["messages"][0]["state"], "delivered", "{said:#}");
        let over = check("K-2", ["not-matched"; 3]);
        let parts = over["conditions"].as_array().unwrap();
        assert_eq!(
            (&parts[0]["part"], &parts[0]["holds"]),
            (&json!("status == 'open'"), &json!(false))
        );
        assert_eq!((&parts[1]["holds"], &parts[1]["saw"]), (&json!(true), &json!({"severity": 1})));
        assert_eq!(parts[0]["saw"], json!({"status": "resolved"}));
        check("K-9", ["no-row"; 3]);
        // The rule as it stands in the file, on a row that it means.
        let shown = told(&["rules", "preview", "--rule", "waits"], &settings, &data).remove(0);
        assert_eq!(shown["says"], json!({"text": "case K-1 of C-1 waits"}), "{shown:#}");
        assert_eq!(shown["matches"], json!(true));
        let words = ["rules", "preview", "--rule", "waits", "--key", "K-2"];
        let shown = told(&words, &settings, &data).remove(0);
        assert_eq!((&shown["matches"], &shown["row"]["case"]), (&json!(false), &json!("K-2")));
        let err =
            refused(&["rules", "preview", "--rule", "waits", "--key", "K-9"], &settings, &data);
        assert!(err.contains("commands/no-such-row"), "{err}");
    };
    looked_at();
    // Opened once more within the quiet hour.
    tell(&address, &[event("case.opened", "K-1", of + 1_000_000)]);
    delivered(5);
    let quiet = check("K-1", ["suppressed", "settles", "spoken"]);
    assert!(quiet["why"].as_str().unwrap().ends_with("quiet"), "{quiet:#}");
    tell(&address, &[event("case.opened", "K-3", of - 5 * HOUR)]);
    delivered(6);
    check("K-3", ["spoken", "settles", "too-old"]);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    check("K-1", ["suppressed", "settles", "spoken"]);
    check("K-3", ["spoken", "settles", "too-old"]);
    check("K-2", ["not-matched"; 3]);
    // A text that cannot be said of a row is told before it is switched on.
    let broken = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, broken.replace("waits\"\nquiet", "{{ opened_at.year }}\"\nquiet"))
        .unwrap();
    let shown = told(&["rules", "preview", "--rule", "waits"], &settings, &data).remove(0);
    assert!(shown["says"]["error"].is_string(), "{shown:#}");
}
