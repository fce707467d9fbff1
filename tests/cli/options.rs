//! Options that no other test has a reason to use, each once, as a person would.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::process::{Folder, Process, get, run};

fn replayed(words: &[&str]) -> Value {
    let (code, out, err) = run(&[&["replay", "--json"], words].concat());
    assert_eq!(code, 0, "{words:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

/// A port that was free a moment ago: nobody else is given it so soon.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Asks until somebody answers.
fn asked(process: &mut Process, address: &str, path: &str) -> (u16, String) {
    for _ in 0..1_200 {
        if std::net::TcpStream::connect(address).is_ok() {
            let (status, text) = get(address, path);
            // It answers while it starts, too.
            if !text.contains("serve/starting") {
                return (status, text);
            }
        }
        assert!(process.child.try_wait().unwrap().is_none(), "ended before it answered");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("nobody answers at {address}");
}

/// Goal: `--start` dates the first event, `--seed` makes the same again.
#[test]
fn generate_from_an_instant() {
    let words = ["generate", "--events", "50", "--seed", "3", "--start", "2026-01-01T00:00:00Z"];
    let (code, out, err) = run(&words);
    assert_eq!(code, 0, "{err}");
    let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["time"], "2026-01-01T00:00:00.000Z");
    assert_eq!((out.lines().count(), run(&words).1), (50, out));
    let (code, _, err) = run(&["generate", "--events", "1", "--start", "new year"]);
    assert!(code == 1 && err.contains("--start"), "{err}");
}

/// Goal: `check --show` shows every setting as it stands, those that were set with it, in the words
/// in which it may be set.
#[test]
fn check_shows_what_stands() {
    let (code, out, err) =
        run(&["check", "--show", "--set", "engine.workers=3", "--set", "serve.idle_timeout=7 s"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.lines().any(|it| it == "engine.workers = 3"), "{out}");
    assert!(
        out.lines().any(|it| it.starts_with("serve.idle_timeout") && it.contains("7")),
        "{out}"
    );
    let (_, page, _) = run(&["check", "--settings"]);
    let mut shown = 0;
    for line in page.lines().filter(|it| it.starts_with("| `") && it.split(" | ").count() == 4) {
        let name = line.split('`').nth(1).unwrap();
        // Those of a feed or a cluster have no section: there may be none of them, or many.
        let section = name.split('.').next().unwrap();
        if ![
            "data_dir",
            "engine",
            "log",
            "state",
            "rejects",
            "serve",
            "sql",
            "queues",
            "health",
            "identity",
            "capacity",
            "notifications",
        ]
        .contains(&section)
        {
            continue;
        }
        shown += 1;
        assert!(out.lines().any(|it| it.starts_with(&format!("{name} = "))), "{name}: {out}");
    }
    assert_eq!(shown, out.lines().filter(|it| it.contains(" = ")).count(), "{out}");
    let shown: Value =
        serde_json::from_str(&run(&["check", "--show", "--json", "--set", "engine.workers=3"]).1)
            .unwrap();
    assert_eq!(shown["settings"]["engine.workers"].to_string().trim_matches('"'), "3");
}

/// Goal: `--views` keeps those and no others, `--rows-out` writes the rows whose
/// digest is told, `--repeat` reads the file again as other events about the same entities,
/// `--state` is gone on from: nothing is read twice.
#[test]
fn replay_some_views_again_and_on() {
    let folder = Folder::new("options-replay");
    let (_, events, _) = run(&["generate", "--events", "400", "--start", "2026-01-01T00:00:00Z"]);
    let file = folder.file("in.jsonl", events);
    let once = replayed(&[&file]);
    let names = |of: &Value| -> BTreeSet<String> {
        of["views"].as_object().unwrap().keys().cloned().collect()
    };
    assert!(names(&once).len() >= 7, "{once}");

    let rows = folder.path("rows");
    std::fs::create_dir_all(&rows).unwrap();
    let some = replayed(&[&file, "--views", "orders,orders_by_status,cases", "--rows-out", &rows]);
    // Who was erased is kept whatever else is.
    let expected = ["cases", "erasures", "orders", "orders_by_status"];
    assert_eq!(names(&some), expected.map(String::from).into());
    for name in names(&some) {
        assert_eq!(some["views"][&name], once["views"][&name], "{name}");
        let text = std::fs::read_to_string(folder.0.join(format!("rows/{name}.jsonl"))).unwrap();
        assert_eq!(some["views"][&name]["rows"], text.lines().count());
        let digest = Sha256::digest(text.trim_end_matches('\n'));
        let digest: String = digest.iter().take(8).map(|it| format!("{it:02x}")).collect();
        assert_eq!(some["views"][&name]["digest"], digest, "{name}");
    }

    let twice = replayed(&[&file, "--repeat", "2"]);
    assert_eq!((&twice["counts"]["read"], &twice["counts"]["applied"]), (&800.into(), &800.into()));
    // A day later, the same orders and customers.
    for view in ["orders", "customers", "cases"] {
        assert_eq!(twice["views"][view]["rows"], once["views"][view]["rows"], "{view}");
    }
    assert!(twice["now_ms"].as_u64() >= once["now_ms"].as_u64().map(|it| it + 86_400_000));

    let state = folder.path("state");
    let first = replayed(&[&file, "--state", &state]);
    let again = replayed(&[&file, "--state", &state]);
    assert_eq!(first["views"], once["views"]);
    assert_eq!((&again["views"], &again["counts"]), (&first["views"], &first["counts"]));
}

/// Goal: `--serve` answers while it reads and ends with the file; `--stay` goes on answering with
/// the whole of it until it is told to end; both where `--listen` says.
#[test]
fn replay_and_serve() {
    let folder = Folder::new("options-serve");
    let (_, events, _) = run(&["generate", "--events", "300"]);
    let file = folder.file("in.jsonl", events);
    let address = free_port();
    let mut process =
        Process::start(&["replay", &file, "--serve", "--rate", "150", "--listen", &address]);
    let (status, catalogue) = asked(&mut process, &address, "/v1/views");
    assert!(status == 200 && catalogue.contains("orders_by_status"), "{catalogue}");
    let (code, out, err) = process.end();
    assert!(code == 0 && out.contains("300 records"), "{out}{err}");
    assert!(err.contains(&format!("serving address={address}")), "{err}");

    let address = free_port();
    let mut process = Process::start(&["replay", &file, "--stay", "--listen", &address]);
    process.until("300 records");
    let (status, row) = asked(&mut process, &address, "/v1/views/customers/C-1?tenant=acme");
    assert!(status == 200 && row.contains(r#""customer":"C-1""#), "{row}");
    process.signal("-INT");
    let (code, out, err) = process.end();
    assert!(code == 0 && !err.contains("error["), "{out}{err}");
}

/// Goal: a port that the system chose is told, as `run` tells it: a line on standard error, and the
/// folder's file where there is a folder; it is gone with the process.
#[test]
fn replay_says_where_it_serves() {
    let folder = Folder::new("options-where");
    let (_, events, _) = run(&["generate", "--events", "300"]);
    let file = folder.file("in.jsonl", events);
    let anywhere = ["--listen", "127.0.0.1:0"];

    let mut process = Process::start(&[&["replay", &file, "--stay"], &anywhere[..]].concat());
    let mut said = BufReader::new(process.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving address=") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "ended without a word of where");
    }
    let address = line.split("address=").nth(1).unwrap().trim().to_string();
    assert!(!address.ends_with(":0"), "{line}");
    assert_eq!(get(&address, "/v1/views").0, 200);
    process.signal("-INT");
    assert!(process.child.wait().unwrap().success());

    let state = folder.path("state");
    let words = ["replay", &file, "--stay", "--state", &state];
    let mut process = Process::start(&[&words[..], &anywhere].concat());
    let address = process.address(&folder.0.join("state"));
    assert_eq!(get(&address, "/v1/views").0, 200);
    process.signal("-INT");
    let (code, _, err) = process.end();
    assert!(code == 0 && err.contains(&format!("serving address={address}")), "{err}");
    assert!(!folder.0.join("state/admin.addr").exists(), "nobody answers there any more");
}

/// Goal: where the log no longer reaches back, building again is refused with the instant from
/// which it could, until `--accept-incomplete` says that what is left will do. Method: a small log,
/// and more than it may hold.
#[test]
fn what_is_left_is_built_from_if_that_is_accepted() {
    let folder = Folder::new("options-incomplete");
    let data = folder.path("data");
    let small = ["--set", "log.max_bytes=16 MiB", "--set", "log.segment_bytes=1 MiB"];
    let words = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let words: Vec<&str> = words.into_iter().chain(small).collect();
    let started = |more: &[&str]| {
        let mut process = Process::start(&[&words, more].concat());
        let address = process.address(&folder.0.join("data"));
        (process, address)
    };
    let ended = |process: Process| {
        process.signal("-TERM");
        let (code, _, err) = process.end();
        assert_eq!(code, 0, "{err}");
        err
    };
    let (process, address) = started(&[]);
    let text = "x".repeat(30_000);
    // 24 requests of 900 kB.
    for n in 0..24 {
        let events: Vec<String> = (0..30)
            .map(|it| {
                format!(
                    r#"{{"specversion":"1.0","type":"feedback.submitted","source":"/s","id":"{n}-{it}","time":"2026-03-01T09:30:00Z","data":{{"customer":"C-{n}","rating":4,"text":"{text}"}}}}"#
                )
            })
            .collect();
        let (status, answer) = post_batch(&address, &format!("[{}]", events.join(",")));
        assert_eq!(status, 202, "{answer}");
    }
    ended(process);
    // A start removes what is too much.
    let (process, address) = started(&[]);
    assert_eq!(get(&address, "/v1/views/customers/C-0").0, 200, "the state has it still");
    let first = || -> u64 {
        let (_, out, err) = run(&["log", "stats", "--json", "--data-dir", &data]);
        let stats: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
        stats["first"].as_u64().unwrap()
    };
    for _ in 0..1_200 {
        if first() > 0 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(first() > 0, "the log still begins at 0");
    ended(process);

    let (code, _, err) = run(&[&words[..], &["--rebuild"]].concat());
    assert!(code == 1 && err.contains("error[store/not-covered]"), "{err}");
    assert!(err.contains("which came at 20") && err.contains("the state is as it was"), "{err}");
    let (process, address) = started(&["--rebuild", "--accept-incomplete"]);
    let ready = || get(&address, "/health/ready").0 == 200;
    for _ in 0..1_200 {
        if ready() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(get(&address, "/v1/views/customers/C-23").0, 200, "what is left is there");
    assert_eq!(get(&address, "/v1/views/customers/C-0").0, 404, "what is not is gone");
    let err = ended(process);
    assert!(err.contains("store/not-covered"), "it is told: {err}");
}

fn post_batch(address: &str, body: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /v1/events?wait=applied HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/cloudevents-batch+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}
