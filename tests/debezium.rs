//! Goal: the view `records` of a database's change stream is the table as it is in the end, however
//! the stream comes. Method: the published stream of a PostgreSQL table through the whole engine:
//! as it is, every record twice, and in the reverse order of each key, in several shapes; compared
//! with the published final table. Without the data sets (`support/skipped.rs`) it says so
//! and passes.

mod common;
#[path = "support/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{START_MS, Shape, run_as};
use millstream::messages::Format;
use schemas::mapping::Mapping;
use serde_json::Value;

/// A file of the data sets.
fn shared(file: &str) -> Option<Vec<String>> {
    let path = skipped::shared(&format!("data/conformance/{file}"))?;
    let done = std::process::Command::new("zstd").arg("-dc").arg(&path).output().expect("zstd");
    assert!(done.status.success(), "{path:?}");
    Some(String::from_utf8(done.stdout).expect("text").lines().map(String::from).collect())
}

/// The key of an envelope's record.
fn key(record: &str) -> i64 {
    let record: Value = serde_json::from_str(record).expect("JSON");
    ["after", "before"].iter().find_map(|it| record[it]["id"].as_i64()).expect("a key")
}

/// The records of each key in reverse, keys where they were.
fn reversed_per_key(stream: &[String]) -> Vec<String> {
    let mut of_key: BTreeMap<i64, Vec<&String>> = BTreeMap::new();
    stream.iter().for_each(|it| of_key.entry(key(it)).or_default().push(it));
    let last = |it: &String| of_key.get_mut(&key(it)).and_then(Vec::pop).expect("as many");
    stream.iter().map(last).cloned().collect()
}

#[test]
fn a_change_stream_ends_in_its_final_table() {
    let Some(stream) = shared("debezium_postgres_orders.jsonl.zst") else { return };
    let table = shared("debezium_postgres_orders_final_table.jsonl.zst").expect("beside it");
    let parsed = |it: &String| serde_json::from_str::<Value>(it).expect("JSON");
    let expected: BTreeMap<String, Value> =
        table.iter().map(parsed).map(|it| (it["id"].to_string(), it)).collect();

    let mapping = Mapping::compile("shape = \"debezium\"\nkey = \"id\"").expect("a mapping");
    let format = Format::Mapped(Arc::new(mapping));
    let twice: Vec<String> = stream.iter().flat_map(|it| [it.clone(), it.clone()]).collect();
    let reversed = reversed_per_key(&stream);
    let again = [&reversed[..], &stream, &reversed].concat();
    for lines in [&stream, &twice, &reversed, &again] {
        for (workers, partitions) in [(1, 1), (2, 3)] {
            let shape =
                Shape { workers, per_chunk: 50, max_arrivals: 90, partitions, views: vec![] };
            let (rows, counts) = run_as(format.clone(), lines, &shape, START_MS);
            let found: BTreeMap<String, Value> = rows["records"]
                .iter()
                .map(|line| parsed(&line.splitn(3, ' ').last().expect("a row").to_string()))
                .map(|row| (row["key"].as_str().expect("text").to_string(), row["fields"].clone()))
                .collect();
            assert_eq!(found, expected, "{shape:?}");
            assert_eq!(counts.read, lines.len() as u64);
            assert_eq!(counts.applied, stream.len() as u64, "{shape:?}");
        }
    }
}
