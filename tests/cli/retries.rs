//! Records that are rejected, tried again, rejected again and at last applied.

use serde_json::{Value, json};

use crate::process::{Folder, Process, get, run};

fn rejects(data: &str) -> Vec<Value> {
    let (code, out, err) = run(&["rejects", "show", "--json", "--data-dir", data]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// Goal: a retry is a record of the log's, counted there and nowhere else; one that is rejected
/// again says where it was first read, is read through its own mapping when it is tried once more,
/// and stays its tenant's; HTTP and the command line tell it in the same words; the numbers are
/// metrics. Method: a mapped feed with one record that its mapping cannot read; the mapping is
/// corrected after the first retry.
#[test]
fn a_retry_that_is_rejected_again_knows_its_origin() {
    let folder = Folder::new("again");
    let data = folder.path("data");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/mappings/crm_workload.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let mapping = folder.file("m.toml", &text);
    // A foreign record's `tenant` is whatever its producer means by it.
    let record = r#"{"id":"1","tenant":"b","time":"2026-01-01T00:00:00Z","customer":"C1","type":"order.placed","order":"O1","sku":"S","amount_cents":500}"#;
    let file = folder.file("in.jsonl", format!("{record}\n"));
    let feed = format!("shop={file},{mapping}");
    let words = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--feed", &feed];
    let log_line = |address: &str| -> Value {
        let ledger: Value = serde_json::from_str(&get(address, "/v1/ledger").1).unwrap();
        let lines = ledger["partitions"].as_array().unwrap();
        lines.iter().find(|it| it["feed"] == "log").cloned().unwrap_or_default()
    };
    let until = |process: &mut Process, done: &dyn Fn() -> bool| {
        for _ in 0..600 {
            if done() {
                return;
            }
            assert!(process.child.try_wait().unwrap().is_none(), "run ended");
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        panic!(
            "it never came: {:#?} {:#?}",
            rejects(&data),
            log_line(&process.address(&folder.0.join("data")))
        );
    };

    let mut process = Process::start(&words);
    let address = process.address(&folder.0.join("data"));
    until(&mut process, &|| rejects(&data).len() == 1);
    let (code, out, err) = run(&["rejects", "retry", "--data-dir", &data, "--feed", "shop"]);
    assert!(code == 0 && out.contains("1 appended"), "{out}{err}");
    until(&mut process, &|| rejects(&data).len() == 2);
    let again = rejects(&data).remove(0);
    assert_eq!((&again["feed"], &again["offset"]), (&json!("log"), &json!(0)));
    let origin = &again["origin"];
    assert_eq!(
        (&origin["feed"], &origin["partition"], &origin["offset"]),
        (&json!("shop"), &json!(0), &json!(0))
    );
    assert_eq!(again["mapping"], "m.toml");
    let (_, out, _) = run(&["rejects", "list", "--data-dir", &data]);
    assert!(out.contains("log 0/0 (first shop 0/0)"), "{out}");
    // One spelling over HTTP and on the command line; and not `b`'s, whatever it calls its tenant.
    let page: Value = serde_json::from_str(&get(&address, "/v1/rejects").1).unwrap();
    assert_eq!(page["rejects"], json!(rejects(&data)));
    let page: Value = serde_json::from_str(&get(&address, "/v1/rejects?tenant=b").1).unwrap();
    assert_eq!(page["rejects"], json!([]));
    let (status, known) = get(&address, "/v1/rejects?feed=shoop");
    assert!(status == 400 && known.contains("expected one of log, shop"), "{known}");
    let metrics = get(&address, "/metrics").1;
    let commits = "millstream_log_commit_seconds_count 1";
    assert!(metrics.lines().any(|it| it == commits), "{metrics}");
    let counted = |it: &Value| {
        ["read", "applied", "retried", "rejected", "rejected_again"]
            .map(|name| it[name].as_u64().unwrap())
    };
    until(&mut process, &|| counted(&log_line(&address)) == [1, 0, 0, 1, 1]);
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert_eq!(code, 0, "{err}");
    // One line for each feed and reason, not one for each record; no content of the record.
    assert_eq!(err.matches("records were rejected").count(), 2, "{err}");
    assert!(!err.contains("amount_cents"), "{err}");

    folder.file("m.toml", text.replace("\"unix_ms\"", "\"rfc3339\""));
    let id = again["id"].to_string();
    let (code, out, err) = run(&["rejects", "retry", "--data-dir", &data, "--id", &id]);
    assert!(code == 0 && out.contains("1 appended"), "{out}{err}");
    for unknown in [["retry", "777"], ["show", "777"], ["retry", &id]] {
        let (code, _, err) = run(&["rejects", unknown[0], "--data-dir", &data, "--id", unknown[1]]);
        assert!(code == 1 && err.contains("error[commands/no-such-reject]"), "{unknown:?}: {err}");
    }
    let mut process = Process::start(&words);
    let address = process.address(&folder.0.join("data"));
    until(&mut process, &|| counted(&log_line(&address)) == [2, 1, 1, 1, 1]);
    let line = log_line(&address);
    let offsets = line["next"].as_u64().unwrap() - line["first"].as_u64().unwrap();
    assert_eq!(offsets, 2, "{line}");
    assert_eq!(get(&address, "/v1/views/orders/O1").0, 200);
    until(&mut process, &|| {
        let metrics = get(&address, "/metrics").1;
        metrics.lines().any(|it| it == "millstream_rejects_kept 2")
            && metrics.lines().any(|it| it == "millstream_rejects_summarised_total 0")
    });
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}
