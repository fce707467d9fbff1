//! The examples that `--help` shows: each is a command line, and works.

use std::os::unix::fs::symlink;

use clap::Parser;
use millstream::commands::typed::Typed;

use crate::process::{Folder, Process, command, get, run, told};

/// The examples of a command, in their order.
fn examples(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
    let (code, out, err) = run(&words);
    assert_eq!(code, 0, "{name}: {err}");
    let (_, shown) = out.split_once("Example").unwrap_or_else(|| panic!("{name}: {out}"));
    let mut lines: Vec<String> = Vec::new();
    for line in shown.lines() {
        match line.strip_prefix("  millstream") {
            Some(it) => lines.push(it.trim().to_string()),
            // A long one goes on in the next line where there is no terminal.
            None if line.starts_with("  ") => {
                if let Some(before) = lines.last_mut() {
                    before.push(' ');
                    before.push_str(line.trim());
                }
            }
            None => {}
        }
    }
    let shown = lines;
    assert!(!shown.is_empty(), "{name}: {out}");
    assert!(name.is_empty() || shown.iter().all(|it| it.starts_with(name)), "{name}: {shown:?}");
    shown
}

/// Where the examples find what they name.
fn a_place_to_try() -> Folder {
    let folder = Folder::new("examples");
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"), folder.0.join("schemas")).unwrap();
    let record = r#"{"event":"order_purchased","order_id":"O1","customer_id":"C1"}"#;
    folder.file("orders.jsonl", format!("{record}\n"));
    folder.file("orders.jsonl.gz", packed(record.as_bytes()));
    let (_, events, _) = run(&["generate", "--events", "20"]);
    folder.file("events.jsonl", events);
    folder.file("reviews.jsonl", reviews());
    folder
}

/// Forty reviews with stars, in few words.
pub(crate) fn reviews() -> String {
    let one = |at: usize| {
        let (stars, text) = match at % 4 {
            0 => (5, "a great pump, thank you"),
            1 => (1, "it broke, and nobody answers"),
            2 => (4, "works well, quick delivery"),
            _ => (2, "not what I ordered, too late"),
        };
        format!(
            r#"{{"specversion":"1.0","id":"r{at}","source":"/shop","type":"feedback.submitted","subject":"C1","time":"2026-01-01T00:00:00Z","data":{{"customer":"C1","rating":{stars},"text":"{at}: {text}"}}}}"#
        ) + "\n"
    };
    (0..40).map(one).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Goal: every command and every subcommand shows an example; each is a command line, names only
/// files that are there (or that the example before made), and does what it says. Method: parsed
/// here; then run in a folder that has the user's files. What needs a broker is parsed only; what
/// runs for ever is started, asked to end, and ends well.
#[test]
fn every_example_works() {
    let folder = a_place_to_try();
    let names = [
        "generate",
        "check",
        "",
        "run",
        "demo",
        "replay",
        "produce",
        "map",
        "log",
        "log show",
        "log stats",
        "rejects",
        "rejects list",
        "rejects show",
        "rejects retry",
        "feed",
        "feed list",
        "feed reset",
        "state",
        "state list",
        "state stats",
        "state verify",
        "model",
        "model train",
        "model score",
        "model publish",
        "model list",
        "model show",
        "backup",
        "restore",
        "sql",
        "migrate",
        "verify",
        "rebuild",
        "schema",
        "schema list",
        "schema show",
    ];
    let (mut parsed, mut ran) = (0, 0);
    for name in names {
        for example in examples(name) {
            let (line, into) = example.split_once('>').unwrap_or((&example, ""));
            let line =
                line.replace("/var/lib/millstream", "data").replace("0.0.0.0:8080", "127.0.0.1:0");
            let line = line.as_str();
            let words = words_of(line);
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            let typed = Typed::try_parse_from([&["millstream"], words.as_slice()].concat());
            assert!(typed.is_ok(), "{example}: {}", typed.err().unwrap());
            parsed += 1;
            // Others' servers are not here; tests/live and tests/clickhouse run these.
            let server = matches!(words[0], "produce" | "migrate" | "verify" | "rebuild");
            if words.contains(&"--brokers") || server {
                continue;
            }
            any_port(&mut words);
            // SQL is asked of a process that runs.
            let runs = (words[0] == "sql").then(|| {
                let mut run = command(&["run", "--listen", "127.0.0.1:0"]);
                run.current_dir(&folder.0);
                let mut process = Process::spawn(&mut run);
                process.address(&folder.0.join("data"));
                process
            });
            let forever = matches!(words[0], "run" | "demo");
            let mut asked = command(&words);
            asked.current_dir(&folder.0);
            if forever {
                let mut process = Process::spawn(&mut asked);
                let data = if words[0] == "demo" { "demo-data" } else { "data" };
                let address = process.address(&folder.0.join(data));
                assert_eq!(get(&address, "/health/live").0, 200, "{example}");
                process.signal("-TERM");
                let (code, out, err) = process.end();
                assert_eq!(code, 0, "{example}: {out}{err}");
            } else {
                let (code, out, err) = told(asked.output().unwrap());
                // That one number is nobody's yet, and no topic has been read.
                let nobody = line.contains("--id 17")
                    && err.contains("error[commands/no-such-reject]")
                    || line.starts_with("feed reset") && err.contains("error[ingest/no-such-feed]");
                assert!(code == 0 || nobody, "{example}: {out}{err}");
                if !into.trim().is_empty() {
                    std::fs::write(folder.0.join(into.trim()), out).unwrap();
                }
            }
            if let Some(process) = runs {
                process.signal("-TERM");
                let (code, out, err) = process.end();
                assert_eq!(code, 0, "{example}: {out}{err}");
            }
            ran += 1;
        }
    }
    assert!(parsed > 25 && ran > 20, "{parsed} parsed, {ran} ran: does the test still look?");
}

/// The words of a line, as a shell has them: what stands in double quotes is one.
fn words_of(line: &str) -> Vec<String> {
    let pieces = line.split('"').enumerate();
    let words = pieces.flat_map(|(n, piece)| match n % 2 {
        0 => piece.split_whitespace().map(String::from).collect(),
        _ => vec![piece.to_string()],
    });
    words.collect()
}

/// What listens takes any port.
fn any_port(words: &mut Vec<&str>) {
    if matches!(words[0], "run" | "demo") && !words.contains(&"--listen") {
        words.extend(["--listen", "127.0.0.1:0"]);
    }
}
