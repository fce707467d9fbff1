//! Rejects that are not kept are counted, and whoever asks is told.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Folder, Process, get, run};

/// Records of the flood: more than fit into the least that can be kept.
const FLOOD: u64 = 40_000;

fn counts(data: &str) -> Vec<Value> {
    let (code, out, err) = run(&["rejects", "counts", "--json", "--data-dir", data]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn sum(counts: &[Value], keys: &[&str]) -> u64 {
    let of = |it: &Value| keys.iter().map(|key| it[*key].as_u64().unwrap_or(0)).sum::<u64>();
    counts.iter().map(of).sum()
}

/// Goal: of a flood of rejects every one is found in a count: over HTTP, on the command line, in
/// the metrics; and a list says that there were more. Method: a file of nothing but wrong records
/// with the smallest room for them; the same folder asked again when nobody runs.
#[test]
fn what_is_not_kept_is_counted() {
    let folder = Folder::new("counted");
    let data = folder.path("data");
    let mut text = String::new();
    for n in 0..FLOOD {
        writeln!(text, r#"{{"n":{n},"padding":"{}"}}"#, "x".repeat(60)).unwrap();
    }
    let feed = format!("wrong={}", folder.file("wrong.jsonl", text));
    let mut process = Process::start(&[
        "run",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--feed",
        &feed,
        "--set",
        "rejects.max_bytes=1MiB",
    ]);
    let address = process.address(&folder.0.join("data"));
    let parts = ["kept", "summarised", "not_kept"];
    for look in 0.. {
        if sum(&counts(&data), &parts) == FLOOD {
            break;
        }
        assert!(look < 600, "{:?}", counts(&data));
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let told = counts(&data);
    assert_eq!(told[0]["feed"], "wrong");
    assert!(sum(&told, &parts[1..]) > 0 && sum(&told, &["kept"]) > 0, "{told:?}");

    let page: Value = serde_json::from_str(&get(&address, "/v1/rejects?limit=1").1).unwrap();
    assert_eq!(sum(page["counts"].as_array().unwrap(), &parts), FLOOD);
    // Of all tenants: not for one of them.
    let page: Value = serde_json::from_str(&get(&address, "/v1/rejects?tenant=b").1).unwrap();
    assert_eq!(page.get("counts"), None);
    let of_metric = |name: &str| -> u64 {
        let metrics = get(&address, "/metrics").1;
        let line = metrics.lines().find_map(|it| it.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    for look in 0.. {
        let kept = of_metric("millstream_rejects_kept ");
        let gone = of_metric("millstream_rejects_summarised_total ");
        if kept + gone + of_metric("millstream_rejects_not_kept_total ") == FLOOD {
            break;
        }
        assert!(look < 100, "{}", get(&address, "/metrics").1);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let (code, out, err) = run(&["rejects", "list", "--limit", "2", "--data-dir", &data]);
    assert_eq!((code, out.lines().count()), (0, 2), "{err}");
    assert!(err.contains("more are only counted"), "{err}");
    let (code, out, _) = run(&["rejects", "counts", "--data-dir", &data]);
    assert!(code == 0 && out.contains("not kept") && out.contains("wrong  schemas/"), "{out}");
    for (flag, name) in [("--reason", "nope"), ("--feed", "nope")] {
        let (code, _, err) = run(&["rejects", "list", flag, name, "--data-dir", &data]);
        assert!(code == 1 && err.contains("error[commands/refused]"), "{err}");
    }

    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    // What was never kept is known only to the process that read it; the ledger keeps its number.
    assert_eq!(sum(&counts(&data), &parts[..2]), FLOOD - sum(&told, &["not_kept"]));
    for (flag, name) in [("--reason", "nope"), ("--feed", "nope")] {
        let (code, _, err) = run(&["rejects", "list", flag, name, "--data-dir", &data]);
        assert!(code == 1 && err.contains("error[commands/flag]"), "{err}");
    }
}

/// Goal: a replay of the wrong file says why nothing came of it. Method: a file of records that
/// nobody understands.
#[test]
fn a_replay_of_the_wrong_file_says_why() {
    let folder = Folder::new("wrong");
    let file = folder.file("wrong.jsonl", "{\"a\":1}\n{\"a\":2}\n");
    let (code, out, err) = run(&["replay", &file]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("rejected 2") && out.contains("the first that was rejected"), "{out}");
    assert!(out.contains(&format!("millstream map --input {file}")), "{out}");
    let (_, out, _) = run(&["replay", &file, "--json"]);
    let outcome: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(outcome["first_reject"]["offset"], 0, "{out}");
}
