//! A database's change stream in a topic: the view `records` is its table.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::Millstream;
use crate::skipped;
use crate::source::feed;
use crate::topics::Topic;
use crate::wait::{self, seed};

/// The lines of a file of the data sets, each parsed beside its text.
fn shared(file: &str) -> Option<Vec<(String, Value)>> {
    let path = skipped::shared(&format!("data/conformance/{file}"))?;
    let done = Command::new("zstd").arg("-dc").arg(&path).output().unwrap();
    assert!(done.status.success(), "{path:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    Some(text.lines().map(|it| (it.to_string(), serde_json::from_str(it).unwrap())).collect())
}

/// As Debezium sends it: by its key, a deletion followed by a tombstone.
fn records(envelopes: &[&(String, Value)]) -> Vec<Record> {
    let mut records = Vec::new();
    for (text, it) in envelopes {
        let id = ["after", "before"].iter().find_map(|of| it[of]["id"].as_i64()).unwrap();
        let (key, partition) = (format!(r#"{{"id":{id}}}"#), (id % 3) as i32);
        records.push(Record::new(&key, text).on(partition));
        if it["op"] == "d" {
            records.push(Record::tombstone(&key).on(partition));
        }
    }
    records
}

/// Goal: the published stream of a PostgreSQL table ends in its published final table, also when
/// every record comes twice and in reversed order per key. Method: the records by key to one of
/// three partitions, once as they came and once backwards, both ways in one topic and each alone.
#[test]
fn a_change_stream_ends_in_its_final_table() {
    seed();
    let Some(stream) = shared("debezium_postgres_orders.jsonl.zst") else { return };
    let table = shared("debezium_postgres_orders_final_table.jsonl.zst").unwrap();
    let expected: BTreeMap<String, Value> =
        table.into_iter().map(|(_, it)| (it["id"].to_string(), it)).collect();
    let forward: Vec<_> = stream.iter().collect();
    let backward: Vec<_> = stream.iter().rev().collect();
    let both = [&backward[..], &forward].concat();
    for (name, sent) in [("forward", forward), ("backward", backward), ("both", both)] {
        let mapping = wait::folder(&format!("debezium-{name}")).join("mapping.toml");
        std::fs::write(&mapping, "shape = \"debezium\"\nkey = \"id\"\n").unwrap();
        let topic = Topic::create(Broker::shared().brokers(), "debezium", 3, &[]);
        let records = records(&sent);
        Sender::new(&topic, &[("compression.type", "lz4")]).all(&records);
        let more = format!("topics = [{:?}]\nmapping = {:?}", topic.name, mapping);
        let it = Millstream::start(&format!("debezium-{name}"), &feed(&topic.brokers, &more));
        it.until_read("k/", records.len() as u64);
        it.balances("k/");
        assert_eq!(it.count("k/", "applied"), stream.len() as u64, "{name}");
        assert_eq!(it.count("k/", "skipped"), (records.len() - sent.len()) as u64, "{name}");
        let mut page = it.json("/v1/views/records?tenant=default&limit=1000");
        let rows = page["rows"].as_array_mut().unwrap().iter_mut().map(|it| it["row"].take());
        let found: BTreeMap<String, Value> = rows
            .map(|row| (row["key"].as_str().unwrap().to_string(), row["fields"].clone()))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}
