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
use crate::wait::{self, seed, until};

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

/// Rows of the view, by key: their columns.
fn rows(it: &Millstream) -> BTreeMap<String, Value> {
    let mut page = it.json("/v1/views/records?tenant=default&limit=1000");
    let rows = page["rows"].as_array_mut().unwrap().iter_mut().map(|it| it["row"].take());
    rows.map(|row| (row["key"].as_str().unwrap().to_string(), row["fields"].clone())).collect()
}

/// The published final table, by key.
fn final_table() -> BTreeMap<String, Value> {
    let table = shared("debezium_postgres_orders_final_table.jsonl.zst").unwrap();
    table.into_iter().map(|(_, it)| (it["id"].to_string(), it)).collect()
}

/// Goal: the published stream of a PostgreSQL table ends in its published final table, also when
/// every record comes twice and in reversed order per key. Method: the records by key to one of
/// three partitions, once as they came and once backwards, both ways in one topic and each alone.
#[test]
fn a_change_stream_ends_in_its_final_table() {
    seed();
    let Some(stream) = shared("debezium_postgres_orders.jsonl.zst") else { return };
    let expected = final_table();
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
        assert_eq!(rows(&it), expected, "{name}");
    }
}

/// Goal: a stream whose rows do not say what is deleted is known by the keys beside them, without a
/// word in the mapping, with and without their schema; and a change that does not say whose it is is
/// a kept reject. Method: the published stream with every row before taken out, backwards and
/// forwards; one record without the name of its server.
#[test]
fn a_change_stream_is_known_by_its_keys() {
    seed();
    let Some(stream) = shared("debezium_postgres_orders.jsonl.zst") else { return };
    let forward: Vec<_> = stream.iter().collect();
    let backward: Vec<_> = stream.iter().rev().collect();
    let mut sent = records(&[&backward[..], &forward].concat());
    let mut deletions = 0;
    for (n, record) in sent.iter_mut().enumerate() {
        if n % 2 == 0 {
            let key = String::from_utf8(record.key.take().unwrap()).unwrap();
            let schema = r#"{"type":"struct","fields":[{"type":"int64","field":"id"}]}"#;
            record.key = Some(format!(r#"{{"schema":{schema},"payload":{key}}}"#).into_bytes());
        }
        let Some(value) = &record.value else { continue };
        let mut change: Value = serde_json::from_slice(value).unwrap();
        deletions += u64::from(change["op"] == "d");
        change["before"] = Value::Null;
        record.value = Some(change.to_string().into_bytes());
    }
    assert!(deletions > 10, "{deletions} deletions: is this the stream?");
    let mut unnamed: Value = serde_json::from_str(&stream[0].0).unwrap();
    unnamed["source"].as_object_mut().unwrap().remove("name");
    sent.push(Record::new(r#"{"id":1}"#, unnamed.to_string()).on(0));

    let mapping = wait::folder("debezium-keys").join("mapping.toml");
    std::fs::write(&mapping, "shape = \"debezium\"\n").unwrap();
    let topic = Topic::create(Broker::shared().brokers(), "debezium-keys", 3, &[]);
    Sender::new(&topic, &[("compression.type", "zstd")]).all(&sent);
    let more = format!("topics = [{:?}]\nmapping = {:?}", topic.name, mapping);
    let it = Millstream::start("debezium-keys", &feed(&topic.brokers, &more));
    it.until_read("k/", sent.len() as u64);
    it.balances("k/");
    assert_eq!(rows(&it), final_table());
    let counts = ["applied", "duplicate", "rejected"].map(|name| it.count("k/", name));
    assert_eq!(counts, [stream.len() as u64, stream.len() as u64, 1]);
    until("it is kept", || {
        let kept = it.json("/v1/rejects?reason=schemas/wrong-shape&tenant=default").to_string();
        kept.contains("the name of the server").then_some(())
    });
}
