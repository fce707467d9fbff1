//! What waits for sinks, as a fixture holds it: one sink that has taken everything, and one whose
//! receiver was never there. Read by this build, the one is handed nothing that it has, and the
//! other all of it: each event once, and of each order the row that is served.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::make;
use crate::process::{Process, get};

/// The sink that took everything, and the one that waits.
const TAKEN: &str = "taken";
const WAITS: &str = "waits";

/// Settings with both, each into its folder below `out`; written beside it.
pub fn settings(out: &Path, waits: &Path) -> String {
    let of = |name: &str, path: &Path| {
        format!(
            "[sinks.{name}]\nkind = \"jsonl\"\npath = \"{}\"\ntake = [\"rows\", \"changes\", \
             \"events\"]\nviews = [\"orders\", \"orders_by_status\"]\n",
            path.display()
        )
    };
    std::fs::create_dir_all(out).unwrap();
    let path = out.join("sinks.toml");
    std::fs::write(&path, of(TAKEN, &out.join(TAKEN)) + &of(WAITS, waits)).unwrap();
    path.display().to_string()
}

/// Waits until nothing waits for this sink.
fn until_idle(address: &str, process: &mut Process, name: &str) {
    loop {
        assert!(process.child.try_wait().unwrap().is_none(), "it has ended");
        let all: Value = serde_json::from_str(&get(address, "/v1/admin/sinks").1).unwrap();
        let all = all["result"].as_array().unwrap();
        let it = all.iter().find(|it| it["name"] == name).unwrap();
        let none = |what: &str| it[what] == 0;
        let whole = it["whole"] == true && it["waiting_rows_unknown"] == false;
        if whole && none("in_flight_batches") && none("waiting_rows") && none("gathered_bytes") {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Until one has everything: what the other is to wait for lies in its outbox then.
pub fn taken(address: &str, process: &mut Process) {
    until_idle(address, process, TAKEN);
}

/// Every line of a stream's files, in their order.
fn lines(folder: &Path) -> Vec<Value> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = files.map(|it| it.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|it| std::fs::read_to_string(it).unwrap());
    let lines = texts.flat_map(|it| it.lines().map(str::to_string).collect::<Vec<_>>());
    lines.map(|it| serde_json::from_str(&it).unwrap()).collect()
}

/// Everything that waits in this folder is delivered, and nothing that was delivered.
pub fn leaves(fixture: &Path, dir: &Path, out: &Path, n_applied: usize) {
    let config = settings(out, &out.join(WAITS));
    let mut process = make::started(dir, fixture, &["--config", &config]);
    let address = process.address(dir);
    crate::ready(&address, &mut process);
    until_idle(&address, &mut process, WAITS);
    until_idle(&address, &mut process, TAKEN);

    assert!(lines(&out.join(TAKEN).join("events")).is_empty(), "what it has came again");
    let events = lines(&out.join(WAITS).join("events"));
    let mut places: Vec<String> = events
        .iter()
        .map(|it| format!("{} {} {}", it["feed"], it["partition"], it["offset"]))
        .collect();
    places.sort();
    places.dedup();
    assert_eq!((places.len(), events.len()), (n_applied, n_applied), "each event once");

    let newest = |stream: &str| {
        let mut newest: BTreeMap<String, Value> = BTreeMap::new();
        for line in lines(&out.join(WAITS).join(stream)) {
            let (tenant, key) = (line["tenant"].as_str().unwrap(), line["key"].as_str().unwrap());
            newest.insert(format!("{key}?tenant={tenant}"), line["row"].clone());
        }
        newest
    };
    let (rows, changes) = (newest("rows/orders"), newest("changes/orders"));
    assert!(!rows.is_empty());
    assert_eq!(rows, changes);
    for (key, row) in rows {
        let (status, served) = get(&address, &format!("/v1/views/orders/{key}"));
        assert_eq!(status, 200, "{key}: {served}");
        let served: Value = serde_json::from_str(&served).unwrap();
        for (field, value) in row.as_object().unwrap() {
            assert_eq!(&served["row"][field], value, "{key}: {field}");
        }
    }
    assert!(!newest("rows/orders_by_status").is_empty());
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert_eq!(code, 0, "{err}");
}
