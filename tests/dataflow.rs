//! Goal: where time and memory go in the dataflow can be told, by names that say one operator and
//! its view, on `/v1/debug/dataflow` and in the metrics. Method: the real binary with two workers;
//! some hundreds of events; every view of the catalogue has its operators there.

#![allow(missing_docs)]

#[path = "common/process.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};

use process::{Folder, Process, get, run};
use serde_json::Value;

#[test]
fn operators_are_named_and_measured() {
    const WORKERS: usize = 2;
    let folder = Folder::new("dataflow");
    let (_, events, _) = run(&["generate", "--events", "2000"]);
    let feed = format!("shop={}", folder.file("in.jsonl", events));
    let data = folder.path("data");
    let listen = ["--listen", "127.0.0.1:0", "--workers", "2", "--feed", &feed];
    let words = ["run", "--data-dir", &data].into_iter().chain(listen).collect::<Vec<_>>();
    let mut process = Process::start(&words);
    let address = process.address(&folder.0.join("data"));
    let ask = |path: &str| -> Value { serde_json::from_str(&get(&address, path).1).unwrap() };
    for _ in 0..1_200 {
        let ledger = ask("/v1/ledger");
        let lines = ledger["partitions"].as_array().unwrap();
        if lines.iter().any(|it| it["feed"] == "shop" && it["read"] == 2_000) {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }

    let catalogue = ask("/v1/views");
    let views: BTreeSet<String> = catalogue["views"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap().to_string())
        .collect();
    let answer = ask("/v1/debug/dataflow");
    let mut workers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    // Over the workers: records in, milliseconds, records arranged.
    let mut sums: BTreeMap<String, (i64, f64, i64)> = BTreeMap::new();
    for line in answer["dataflow"]["operators"].as_array().unwrap() {
        let name = line["name"].as_str().unwrap().to_string();
        let view = name.rsplit(' ').next().unwrap();
        // What timely and differential name themselves, and let nobody name: by kind, perhaps with whom
        // it serves, and perhaps several times.
        let kind = name.split(' ').next().unwrap();
        const THEIRS: [&str; 10] = [
            "Concatenate",
            "Enter",
            "Feedback",
            "Filter",
            "FlatMap",
            "Join",
            "Leave",
            "Map",
            "Negate",
            "ResultsIn",
        ];
        if THEIRS.contains(&kind) {
            continue;
        }
        // `views` is the whole.
        assert!(views.contains(view) || name == "views", "{name:?} says no view");
        let sum = sums.entry(name.clone()).or_default();
        sum.0 += line["records_in"].as_i64().unwrap();
        sum.1 += line["busy_ms"].as_f64().unwrap();
        sum.2 += line["arranged_records"].as_i64().unwrap();
        let told_once = workers.entry(name).or_default().insert(line["worker"].as_u64().unwrap());
        assert!(told_once, "two operators have one name: {line}");
    }
    assert!(workers.values().all(|it| it.len() == WORKERS), "{workers:?}");
    for view in &views {
        // What is another look at the states of a fold has no operators of its own.
        let keeps = match view.as_str() {
            "order_visibility" => "orders",
            "capacity_advice" => "capacity",
            view => view,
        };
        let own = ["fold", "publish"].map(|it| format!("{it} {keeps}"));
        let own = own.iter().find_map(|it| sums.get(it)).unwrap_or_else(|| panic!("{view}"));
        assert!(own.1 > 0.0, "{view} has taken no time");
        // The demonstration has no foreign records, nobody has claimed a case or is erased.
        let is_quiet = ["records", "claims", "notifications", "erasures"].contains(&view.as_str());
        assert!(own.0 > 0 || is_quiet, "{view} was sent nothing");
    }
    for arranged in ["Arrange: orders_by_status", "Arrange: top_customers"] {
        assert!(sums[arranged].2 > 0, "{arranged} holds nothing: {sums:?}");
    }
    for fed in ["customers", "orders", "cases", "volume"] {
        assert_eq!(sums[&format!("Input of fold {fed}")].0, 0, "nobody sends to an input");
        assert!(sums.contains_key(&format!("Probe of fold {fed}")));
    }

    let metrics = get(&address, "/metrics").1;
    for (name, (records, _, arranged)) in &sums {
        let told = |metric: &str| -> i64 {
            let line = format!("millstream_operator_{metric}{{operator=\"{name}\"}} ");
            let line = metrics.lines().find_map(|it| it.strip_prefix(&line));
            line.unwrap_or_else(|| panic!("{metric} of {name}: {metrics}")).parse().unwrap()
        };
        // Time goes on: what was read first is not more.
        assert!(told("records_in_total") >= *records, "{name}");
        assert!(told("busy_microseconds_total") >= 0 && told("waiting_bytes") >= 0, "{name}");
        assert!(told("arranged_records") > 0 || *arranged == 0, "{name}");
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}
