//! The command line as a person meets it: the built binary, its words and its exit codes.

#[path = "cli/backtest.rs"]
mod backtest;
#[path = "cli/counted.rs"]
mod counted;
#[path = "cli/examples.rs"]
mod examples;
#[path = "cli/looking.rs"]
mod looking;
#[path = "common/process.rs"]
mod process;
#[path = "cli/asking.rs"]
mod asking;
#[path = "cli/arrivals.rs"]
mod arrivals;
#[path = "cli/midnights.rs"]
mod midnights;
#[path = "cli/models.rs"]
mod models;
#[path = "cli/published.rs"]
mod published;
#[path = "cli/options.rs"]
mod options;
#[path = "cli/retries.rs"]
mod retries;
#[path = "support/skipped.rs"]
mod skipped;

use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};

use process::{Folder, Process, command, run};

/// Goal: what is no command line is 2, what is a problem is 1, what is done is 0.
#[test]
fn exit_codes_are_as_documented() {
    let check = |words: &[&str], expected: i32, says: &str| {
        let (code, out, err) = run(words);
        assert_eq!(code, expected, "{words:?}: {out}{err}");
        assert!(format!("{out}{err}").contains(says), "{words:?}: {out}{err}");
    };
    check(&[], 2, "Usage");
    check(&["--version"], 0, "millstream 0");
    check(&["fly"], 2, "unrecognized subcommand");
    check(&["demo", "--rate", "0"], 2, "--rate");
    check(&["demo", "--for", "5"], 2, "a duration with its unit");
    check(&["run", "--workers", "many"], 1, "error[config/value]");
    check(&["replay", "x", "--clock", "noon"], 1, "error[commands/flag]");
    for rate in ["0", "-1", "nan", "inf", "1e-9", "1e10"] {
        let rate = format!("--rate={rate}");
        check(&["replay", "x", &rate], 1, "expected a number from 0.001 to 1000000000");
        check(&["produce", "--input", "x", "--topic", "t", &rate], 1, "error[commands/flag]");
    }
    let file = env!("CARGO_BIN_EXE_millstream");
    check(&["run", "--listen", "127.0.0.1:0", "--data-dir", file], 1, "it is a file");
    check(&["check", "--set", "serve.listen=localhost:80"], 1, "an IP address and port");
    check(&["map", "--input", "/no/such/file"], 1, "error[ingest/cannot-open]");
    check(&["rejects", "list", "--limit", "1001"], 2, "expected a number from 1 to 1000");
    check(&["log", "show", "--limit", "0"], 2, "expected a number from 1 to 1000");
    check(&["check", "--config", "/no/such/file"], 1, "error[config/file]");
    check(&["check", "--log-level", "a=b=c"], 1, "error[commands/log-level]");
    check(&["check", "--set", "engine.workers"], 1, "expected `section.key=value`");
    check(&["check", "--set", "engine.views=orders,custmers"], 1, "perhaps `customers` was meant");
    check(&["check", "--set", "engine.views=top_customers"], 1, "error[engine/views]");
    check(&["schema", "show", "order.placd"], 1, "perhaps `order.placed` was meant");
    check(&["log", "stats", "--data-dir", "/no/such"], 1, "error[commands/no-data]");
    check(&["feed", "reset", "k/t", "--to", "soon"], 2, "expected earliest, latest, a time");
    check(&["feed", "list", "--data-dir", "/no/such"], 1, "error[commands/no-data]");
    check(&["check", "--log-level", "inof"], 1, "error[commands/log-level]");
    check(&["check", "--log-level", "info,h2=off"], 0, "settings are good");
    check(&["check"], 0, "settings are good");
    let produce = ["produce", "--input", "x", "--topic", "t"];
    let produce = |more: &[&'static str]| [&produce, more].concat();
    check(&produce(&["--key-pointer", "id"]), 1, "error[commands/flag]");
    check(&produce(&["--property", "sasl.password=kestrel"]), 1, "error[produce/secret]");
    check(&produce(&["--property", "acks=1"]), 1, "error[produce/property]");
    check(&produce(&["--property", "no.such=1"]), 1, "No such configuration property");
}

/// Goal: a configuration with three errors is told whole, with lines; for programs too.
#[test]
fn three_errors_are_three_reports() {
    let folder = Folder::new("three");
    let text = "[engine]\nworker = 2\n\n[log]\nretention = 30\n\n[serve]\nlisten = \"here\"\n";
    let file = folder.file("millstream.toml", text);
    let (code, _, err) = run(&["check", "--config", &file]);
    assert_eq!(code, 1);
    assert_eq!(err.matches("error[config/").count(), 3, "{err}");
    for line in ["line 2, setting engine.worker", "line 5, setting log.retention", "line 8, "] {
        assert!(err.contains(line), "{err}");
    }
    assert!(err.contains("perhaps `engine.workers` was meant"), "{err}");
    let (code, out, err) = run(&["check", "--config", &file, "--json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, value["problems"].as_array().unwrap().len(), err.as_str()), (1, 3, ""));
    assert_eq!(value["problems"][1]["at"]["line"], "5");
    // The same file stops `run` before anything is made.
    let data = folder.path("data");
    let (code, _, err) = run(&["run", "--config", &file, "--data-dir", &data]);
    assert_eq!((code, err.matches("error[config/").count()), (1, 3), "{err}");
    assert!(!Path::new(&data).exists());
}

/// Goal: what is wrong with the settings, with a feed and with a mapping is told at once. Method:
/// one file with a mistyped setting, a feed without its file, and a mapping with a mistake.
#[test]
fn settings_feeds_and_mappings_are_told_at_once() {
    let folder = Folder::new("at-once");
    folder.file("m.toml", "discriminater = \"/type\"\n");
    let text = "[engine]\nworkers = \"many\"\nviews = [\"custmers\"]\n\n[[feed]]\nname = \"a\"\n\
                path = \"no-such.jsonl\"\nmapping = \"m.toml\"\n";
    let file = folder.file("millstream.toml", text);
    let (code, _, err) = run(&["check", "--config", &file]);
    assert_eq!(code, 1, "{err}");
    for told in [
        "setting engine.workers",
        "perhaps `customers` was meant",
        "error[ingest/cannot-open]",
        "error[run/mapping]",
    ] {
        assert!(err.contains(told), "{told} is not told: {err}");
    }
    assert_eq!(err.matches("engine.views").count(), 1, "told once: {err}");
}

/// Goal: every schema is listed and printed as it is published.
#[test]
fn schemas_are_printed() {
    let (_, out, _) = run(&["schema", "list", "--json"]);
    let names: Vec<String> = serde_json::from_str(&out).unwrap();
    assert_eq!(names.len(), schemas::published::all().len());
    let (_, out, _) = run(&["schema", "list"]);
    let listed: Vec<&str> = out.lines().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(listed, names, "one entry a line: {out}");
    for (name, text) in schemas::published::all() {
        let (code, out, _) = run(&["schema", "show", name]);
        assert_eq!((code, out.as_str()), (0, *text), "{name}");
    }
}

/// Goal: `map` shows each record beside what became of it. Method: a file with a good record, one
/// that is skipped and two that are rejected, natively and for programs.
#[test]
fn map_shows_what_becomes_of_records() {
    let folder = Folder::new("map");
    let (_, good, _) = run(&["generate", "--events", "2"]);
    let file = folder.file("in.jsonl", format!("{good}{{\"a\":1}}\n\nno\n"));
    let (code, out, err) = run(&["map", "--input", &file]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("line 1: {") && out.contains("  -> {\"specversion\""), "{out}");
    assert!(out.contains("line 4: \n  skipped"), "{out}");
    assert!(out.contains("rejected[schemas/not-json]"), "{out}");
    assert!(out.contains("5 record(s): 2 event(s), 1 skipped, 2 rejected"), "{out}");
    let (_, out, _) = run(&["map", "--input", &file, "--json", "--limit", "3"]);
    let lines: Vec<serde_json::Value> =
        out.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert_eq!(lines[0]["events"][0]["type"], "customer.registered");
    assert!(lines[2]["rejected"]["code"].as_str().unwrap().starts_with("schemas/"));
    assert_eq!(lines[3]["summary"]["records"], 3);
    let (code, _, err) = run(&["map", "--input", "/no/such/file"]);
    assert!(code == 1 && err.contains("error[ingest/cannot-open]"), "{err}");
}

/// Goal: `map` and `replay` make the same of a file: a line of spaces is skipped, an event of the
/// day after tomorrow rejected; and packed lines on standard input are unpacked. Method: one file
/// through both, plain and as gzip and zstd from a pipe.
#[test]
fn map_and_replay_agree() {
    use std::io::Write;
    let folder = Folder::new("agree");
    let (_, good, _) = run(&["generate", "--events", "3"]);
    let now = millstream::clock::wall_ms() as i64 * 1_000;
    let later = schemas::time::rfc3339(now + 2 * 86_400_000_000);
    let soon = schemas::time::rfc3339(now + 60_000_000);
    let event = |id: &str, time: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"case.resolved","source":"s","id":"{id}","time":"{time}","data":{{"case":"K"}}}}"#
        )
    };
    let text = format!("{good}   \t \n\n{}\n{}\nno\n", event("a", &later), event("b", &soon));
    let file = folder.file("in.jsonl", &text);
    let (_, out, err) = run(&["map", "--input", &file, "--all", "--json", "--limit", "0"]);
    let mapped: serde_json::Value =
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let rejected: u64 = mapped["summary"]["rejected"]
        .as_object()
        .unwrap()
        .values()
        .map(|it| it.as_u64().unwrap())
        .sum();
    assert_eq!(mapped["summary"]["rejected"]["engine/future-time"], 1, "{out}");
    let mapped = ["records", "events", "skipped"].map(|it| mapped["summary"][it].as_u64().unwrap());
    assert_eq!((mapped, rejected), ([8, 4, 2], 2), "{out}");

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (input, bytes) in [
        (file.as_str(), vec![]),
        ("-", text.clone().into_bytes()),
        ("-", gzip.finish().unwrap()),
        ("-", zstd),
    ] {
        let mut replay = command(&["replay", input, "--json"]);
        let mut replay = replay
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        replay.stdin.take().unwrap().write_all(&bytes).unwrap();
        let (code, out, err) = process::told(replay.wait_with_output().unwrap());
        assert_eq!(code, 0, "{err}");
        let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
        let counts =
            ["read", "applied", "skipped", "rejected"].map(|it| outcome["counts"][it].as_u64());
        assert_eq!(counts, [Some(8), Some(4), Some(2), Some(2)], "{input}: {out}");
    }
}

/// Goal: every command tells a broken mapping in the same words, problem by problem; and where log
/// lines are JSON, what ends a command is a line of JSON each. Method: one mapping with two
/// mistakes, through four commands.
#[test]
fn mappings_and_fatal_problems_are_told_in_one_way() {
    let folder = Folder::new("one-way");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/mappings/crm_workload.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let text = text.replace("discriminator", "discriminater").replace("unix_ms", "unix_month");
    let (wrong, file) = (folder.file("wrong.toml", text), folder.file("in.jsonl", "{}\n"));
    let data = folder.path("data");
    let feed = format!("a={file},{wrong}");
    let mut told = Vec::new();
    for words in [
        &["check", "--mapping", &wrong][..],
        &["map", "--mapping", &wrong, "--input", &file],
        &["replay", &file, "--mapping", &wrong],
        &["run", "--data-dir", &data, "--feed", &feed],
    ] {
        let (code, _, err) = run(words);
        assert!(code == 1 && err.matches("error[run/mapping]").count() >= 2, "{words:?}: {err}");
        told.push(err);
        let (code, _, err) = run(&[words, &["--log-format", "json"]].concat());
        assert_eq!(code, 1, "{err}");
        for line in err.lines() {
            let line: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("{err}"));
            for part in ["code", "what", "at", "why", "effect", "fix"] {
                assert!(!line[part].is_null(), "{part}: {line}");
            }
        }
    }
    assert!(told.iter().all(|it| *it == told[0]), "{told:#?}");
    assert!(!Path::new(&data).exists());
}

/// Goal: a mapping is checked whole and shown at work. Method: the one of the common workload, and
/// one with two mistakes.
#[test]
fn mappings_are_checked_and_shown() {
    let folder = Folder::new("mappings");
    let shipped =
        concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/mappings/crm_workload.toml").to_string();
    let (code, out, err) = run(&["check", "--mapping", &shipped]);
    assert!(code == 0 && out.contains("1 mapping(s) checked"), "{out}{err}");
    let record = r#"{"id":"1","time":1767225600000,"customer":"C1","type":"order.placed","order":"O1","amount_cents":500,"sku":"S1","qty":2}"#;
    let file = folder.file("in.jsonl", format!("{record}\n{{\"type\":\"x\"}}\n"));
    let (code, out, err) = run(&["map", "--mapping", &shipped, "--input", &file]);
    assert!(code == 0 && out.contains("\"unit_price\":500"), "{out}{err}");
    assert!(out.contains("rejected[schemas/unmapped-type]"), "{out}");

    let text = std::fs::read_to_string(&shipped).unwrap();
    let text = text.replace("discriminator", "discriminater").replace("unix_ms", "unix_month");
    let wrong = folder.file("wrong.toml", text);
    let feed = format!("[[feed]]\nname = \"a\"\npath = {file:?}\nmapping = {wrong:?}\n");
    let settings = folder.file("millstream.toml", feed);
    let (code, _, err) = run(&["check", "--config", &settings]);
    assert!(code == 1 && err.matches("error[run/mapping]").count() >= 2, "{err}");
    assert!(err.contains("wrong.toml, line 3"), "{err}");
}

/// Goal: a demonstration shows something, is looked into while it runs, keeps its folder to itself
/// and its port, ends cleanly on Ctrl-C, and goes on with the same log. Method: two runs.
#[test]
fn a_demo_runs_is_asked_ends_and_goes_on() {
    let folder = Folder::new("demo");
    let data = folder.path("data");
    let words = ["demo", "--rate", "300", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let mut demo = Process::start(&words);
    let hello = demo.until("serves http://");
    let address = hello.split("http://").nth(1).unwrap().split(';').next().unwrap().to_string();
    let lines = ["/v1/views/customers/", "/v1/views/orders_by_status", "/v1/stream"];
    let lines = lines.map(|it| demo.until(&format!("{address}{it}")));
    let progress = demo.until("events/s");
    for word in ["customers", "orders", "lag", "MB"] {
        assert!(progress.contains(word), "{progress}");
    }
    // As a person types them.
    for (line, says) in
        lines.iter().zip([r#""customer":"C-1""#, r#""n_orders":"#, "event: snapshot"])
    {
        let curl = Command::new("bash")
            .args(["-c", &format!("exec {}", line.trim())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The stream goes on for as long as somebody reads; its process ends with the test.
        let mut curl = Process::piped(curl);
        curl.until(says);
    }

    // The running process is asked: it has the lock.
    let (code, out, err) = run(&["log", "stats", "--data-dir", &data, "--json"]);
    assert_eq!(code, 0, "{err}");
    let running: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(running["next"].as_u64().unwrap() >= 5, "{out}");
    let (_, out, err) = run(&["log", "show", "--data-dir", &data, "--from", "1", "--limit", "2"]);
    assert_eq!(out.lines().count(), 2, "{out}{err}");
    assert!(out.contains("customer.registered"), "{out}");
    let (code, out, err) = run(&["rejects", "list", "--data-dir", &data]);
    assert_eq!((code, out.trim()), (0, "none"), "{err}");

    // Two processes on one folder, two on one port: the second refuses, and says what to do.
    let (code, _, err) = run(&words);
    assert!(code == 1 && err.contains("error[segments/in-use]"), "{err}");
    let other = folder.path("other");
    let (code, _, err) = run(&["run", "--data-dir", &other, "--listen", &address]);
    assert!(code == 1 && err.contains("error[serve/port-in-use]"), "{err}");
    assert!(err.contains("no data was touched") && !Path::new(&other).exists(), "{err}");

    demo.signal("-INT");
    let (code, out, err) = demo.end();
    assert!(code == 0 && !err.contains("error["), "{code} {out}{err}");

    // Nobody runs: the folder is opened here.
    let (_, out, err) = run(&["log", "stats", "--data-dir", &data, "--json"]);
    let ended: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    assert!(ended["next"].as_u64() >= running["next"].as_u64(), "{out}");
    let json_words: Vec<&str> = words.iter().copied().chain(["--log-format", "json"]).collect();
    let mut again = Process::start(&json_words);
    let curl = again.until("curl -s ");
    assert!(!curl.contains("/C-1?"), "a second start begins with new customers: {curl}");
    again.until("events/s");
    let (_, out, _) = run(&["log", "stats", "--data-dir", &data, "--json"]);
    let more: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(more["next"].as_u64() > ended["next"].as_u64(), "{out}");
    again.signal("-TERM");
    let (code, out, err) = again.end();
    assert!(code == 0 && !err.contains("error["), "{code} {out}{err}");
    let log: Vec<serde_json::Value> = err
        .lines()
        .map(|it| serde_json::from_str(it).unwrap_or_else(|why| panic!("{why}: {it}")))
        .collect();
    assert!(log.iter().any(|it| it["fields"]["signal"] == "SIGTERM"), "{err}");
}

/// Goal: `--for` ends by itself and a closed pipe is no problem.
#[test]
fn a_demo_ends_by_itself() {
    let folder = Folder::new("for");
    let data = folder.path("data");
    let words = ["demo", "--for", "1100ms", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let (code, out, err) = run(&words);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("events/s") && out.contains("ending"), "{out}");
    let mut generate = Process::start(&["generate", "--events", "1000000"]);
    generate.until("specversion");
    let Process { child, out, .. } = &mut generate;
    drop(std::mem::replace(out, BufReader::new(child_of_nothing())));
    assert!(child.wait().unwrap().success());
    // Nor is it one where all is told at the end.
    let input = folder.file("in.jsonl", run(&["generate", "--events", "3"]).1);
    let mut replay = Process::start(&["replay", &input]);
    let Process { child, out, .. } = &mut replay;
    drop(std::mem::replace(out, BufReader::new(child_of_nothing())));
    assert!(child.wait().unwrap().success());
}

/// Standard output of a process that says nothing.
fn child_of_nothing() -> std::process::ChildStdout {
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    child.wait().unwrap();
    out
}

/// Goal: a record that cannot be taken is found, shown and tried again, with nobody running; the
/// next start reads it once more. Method: a feed with one record that is not JSON.
#[test]
fn rejects_are_listed_shown_and_retried() {
    let folder = Folder::new("rejects");
    let data = folder.path("data");
    let (_, good, _) = run(&["generate", "--events", "3"]);
    let file = folder.file("in.jsonl", format!("{good}no\n"));
    let feed = format!("shop={file}");
    let run_words = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--feed", &feed];
    let start = || {
        let mut it = Process::start(&run_words);
        let address = folder.0.join("data/admin.addr");
        let listed = || {
            let (_, out, _) = run(&["rejects", "list", "--data-dir", &data, "--json"]);
            out.lines().count()
        };
        // Each asking is a process of its own: nobody spins.
        while !address.exists() || listed() == 0 {
            assert!(it.child.try_wait().unwrap().is_none(), "run ended: {}", it.until("error"));
        }
        it
    };
    let process = start();
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let (code, out, err) = run(&["rejects", "list", "--data-dir", &data]);
    assert!(
        code == 0 && out.contains("schemas/not-json") && out.contains("shop 0/3"),
        "{out}{err}"
    );
    let (_, out, _) = run(&["rejects", "list", "--data-dir", &data, "--feed", "log"]);
    assert_eq!(out.trim(), "none");
    let (_, out, _) = run(&["rejects", "show", "--data-dir", &data, "--json"]);
    let kept: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((kept["text"].as_str(), kept["offset"].as_u64()), (Some("no"), Some(3)));
    let words = ["rejects", "retry", "--data-dir", &data, "--reason", "schemas/not-json"];
    let (code, out, err) = run(&words);
    assert!(code == 0 && out.contains("1 appended to the log again"), "{out}{err}");
    let (_, out, _) = run(&words);
    assert!(out.contains("0 appended"), "retried once, not twice: {out}");
    let (_, out, _) = run(&["log", "show", "--data-dir", &data]);
    assert!(out.contains("retried from {\"feed\":\"shop\""), "{out}");
}
