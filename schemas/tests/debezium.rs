//! Do Debezium's envelopes become what they say of a record?
//!
//! Goal: the three databases, both forms of the envelope, every operation, and the words for what
//! is wrong. Method: texts and what is made of them; the published stream of a table ends in its
//! published final table, whatever the order. Without the data sets
//! (`tests/support/skipped.rs`) those tests say so and pass.

#[path = "../../tests/support/skipped.rs"]
mod skipped;

use std::collections::BTreeMap;

use schemas::decode;
use schemas::encode;
use schemas::events::{Data, Event};
use schemas::mapping::{Mapped, Mapping};
use schemas::records::compare_versions;
use serde_json::Value;

const ORDERS: &str = "shape = \"debezium\"\nkey = \"id\"";

fn mapping(text: &str) -> Mapping {
    Mapping::compile(text).unwrap_or_else(|why| panic!("{why:?}\n{text}"))
}

/// What becomes of a record: an event a line, `skipped`, or the problem.
fn told(mapping: &Mapping, record: &str) -> String {
    let mut events = Vec::new();
    let mut take = |event: Event<'_>| {
        // Whatever the shape makes, the contract takes.
        let text = encode::structured(&event);
        assert_eq!(decode::structured(&text).as_ref(), Ok(&event), "{event:?}");
        let data = &encode::to_json(&event)["data"];
        let kind = event.data.event_type().as_str();
        events.push(format!("{kind} {} {} {data}", event.id, event.time / 1_000));
    };
    match mapping.decode(record.as_bytes(), &mut take) {
        Ok(Mapped::Skipped) => "skipped".into(),
        Ok(Mapped::Events(n)) => {
            assert_eq!(n as usize, events.len());
            events.join("\n")
        }
        Err(it) => format!("{}: {it}", it.code),
    }
}

fn check(text: &str, record: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(told(&mapping(text), record), expected.join("\n"), "{record}");
}

/// A change of PostgreSQL.
fn postgres(op: &str, before: &str, after: &str, lsn: &str) -> String {
    format!(
        r#"{{"before":{before},"after":{after},"source":{{"connector":"postgresql","name":"shop","ts_ms":1000,"snapshot":"false","db":"d","schema":"public","table":"orders","lsn":{lsn}}},"op":"{op}","ts_ms":2000}}"#
    )
}

#[test]
fn every_operation() {
    let row = r#"{"id":7,"v":1.5}"#;
    let upserted = |op| {
        format!(
            r#"record.upserted 90/1:{op}:public.orders:7 1000 {{"table":"public.orders","key":"7","fields":{row},"version":"90/1"}}"#
        )
    };
    check(ORDERS, &postgres("c", "null", row, "90"), &upserted('c'));
    check(ORDERS, &postgres("u", "null", row, "90"), &upserted('u'));
    check(
        ORDERS,
        &postgres("r", "null", row, "90"),
        r#"record.upserted 90/0:r:public.orders:7 1000 {"table":"public.orders","key":"7","fields":{"id":7,"v":1.5},"version":"90/0"}"#,
    );
    check(
        ORDERS,
        &postgres("d", r#"{"id":7,"v":null}"#, "null", "91"),
        r#"record.deleted 91/1:d:public.orders:7 1000 {"table":"public.orders","key":"7","version":"91/1"}"#,
    );
    check(
        ORDERS,
        &postgres("u", r#"{"id":6,"v":0}"#, row, "90"),
        &format!(
            "record.deleted 90/1:k:public.orders:6 1000 {}\n{}",
            r#"{"table":"public.orders","key":"6","version":"90/1"}"#,
            upserted('u')
        ),
    );
    for nothing in ["", " ", "null", r#"{"schema":null,"payload":null}"#] {
        check(ORDERS, nothing, "skipped");
    }
    check(ORDERS, &postgres("m", "null", "null", "1"), "skipped");
    let emptied = postgres("t", "null", "null", "1");
    check(
        ORDERS,
        &emptied,
        r#"schemas/unmapped-type: field "/op": expected a change of one record: "t" says that a whole table was emptied (truncations = "skip" passes over it), found "t""#,
    );
    check(&format!("{ORDERS}\ntruncations = \"skip\""), &emptied, "skipped");
}

#[test]
fn with_its_schema_beside_it() {
    let bare = postgres("c", "null", r#"{"id":7}"#, "5");
    let whole = format!(r#"{{"schema":{{"type":"struct","fields":[]}},"payload":{bare}}}"#);
    assert_eq!(told(&mapping(ORDERS), &whole), told(&mapping(ORDERS), &bare));
    check(
        ORDERS,
        &whole.replace("postgresql", "sqlite"),
        r#"schemas/unmapped-type: field "/payload/source/connector": expected a connector whose positions have an order that we know: postgresql, mysql, mariadb or mongodb, found "sqlite""#,
    );
}

#[test]
fn mysql_and_mongodb() {
    check(
        "shape = \"debezium\"\n[tables.\"shop.lines\"]\nkey = [\"b\", \"a\"]\nname = \"lines\"",
        r#"{"before":null,"after":{"a":"x/y","b":1},"source":{"connector":"mysql","name":"s","ts_ms":0,"snapshot":"last","db":"shop","table":"lines","file":"binlog.000003","pos":74,"row":2},"op":"c","ts_ms":9}"#,
        r#"record.upserted 000003/74/2/0:c:lines:1/x%2Fy 9 {"table":"lines","key":"1/x%2Fy","fields":{"a":"x/y","b":1},"version":"000003/74/2/0"}"#,
    );
    let mongo = |op: &str, before: &str, after: &str| {
        format!(
            r#"{{"before":{before},"after":{after},"source":{{"connector":"mongodb","name":"m","ts_ms":3000,"snapshot":null,"db":"shop","collection":"people","ord":4}},"op":"{op}"}}"#
        )
    };
    let document = r#""{\"_id\":{\"$oid\":\"5f\"},\"n\":1}""#;
    check(
        "shape = \"debezium\"",
        &mongo("u", "null", document),
        r#"record.upserted 3000/4/1:u:shop.people:5f 3000 {"table":"shop.people","key":"5f","fields":{"_id":{"$oid":"5f"},"n":1},"version":"3000/4/1"}"#,
    );
    check(
        "shape = \"debezium\"",
        &mongo("d", document, "null"),
        r#"record.deleted 3000/4/1:d:shop.people:5f 3000 {"table":"shop.people","key":"5f","version":"3000/4/1"}"#,
    );
    check(
        "shape = \"debezium\"",
        &mongo("u", "null", "null"),
        r#"schemas/wrong-shape: field "/after": expected the whole document (capture.mode = change_streams_update_full), found null"#,
    );
}

#[test]
fn what_is_wrong_is_told() {
    let row = r#"{"id":7}"#;
    let fails = |text: &str, record: &str, expected: &str| check(text, record, expected);
    fails(
        "shape = \"debezium\"",
        &postgres("c", "null", row, "1"),
        r#"schemas/unmapped-type: field "/source/table": expected a table whose key the mapping states: tables."public.orders".key, or `key` for all (or a record of Kafka that has a key), found "orders""#,
    );
    fails(
        "shape = \"debezium\"\nother_tables = \"reject\"",
        &postgres("c", "null", row, "1"),
        r#"schemas/unmapped-type: field "/source/table": expected a table that the mapping names under `tables`, found "orders""#,
    );
    fails(
        "shape = \"debezium\"\nkey = [\"id\", \"line\"]",
        &postgres("c", "null", row, "1"),
        r#"schemas/wrong-shape: field "/after": expected a row with a value of its key column "line", found an object: {"id":7}"#,
    );
    fails(
        ORDERS,
        &postgres("c", "null", row, "null"),
        r#"schemas/wrong-shape: field "/source/lsn": expected the position in the source's log, found null"#,
    );
    fails(
        ORDERS,
        &postgres("c", "null", "null", "1"),
        r#"schemas/wrong-shape: field "/after": expected an object: the row as it is now, found null"#,
    );
    fails(
        ORDERS,
        r#"{"id":7,"name":"flat"}"#,
        r#"schemas/unmapped-type: field "/op": expected an operation of Debezium: c, u, r, d, t or m, found nothing"#,
    );
    fails(
        ORDERS,
        &postgres("c", "null", r#"{"id":7,"id":8}"#, "1"),
        r#"schemas/not-json: field "/after": expected each key once in an object, found "id":8} at byte 8"#,
    );
    check(
        &format!("{ORDERS}\n[tables.\"public.orders\"]\nskip = true"),
        &postgres("c", "null", row, "1"),
        "skipped",
    );
    check(
        &format!("{ORDERS}\nother_tables = \"skip\""),
        &postgres("c", "null", row, "1"),
        "skipped",
    );
}

/// A whole record of Kafka, as a topic gives it to the mapping.
fn whole(key: &str, value: &str) -> String {
    format!(
        r#"{{"headers":{{}},"key":{key},"offset":3,"partition":0,"timestamp_ms":1,"topic":"t","value":{value}}}"#
    )
}

/// Goal: a record is known by the key that stands beside it in Kafka, where the mapping states none
/// or the row does not have it; the row of a mapping that states its columns stands first. Method:
/// forms of keys, with and without a row.
#[test]
fn by_the_key_beside_it() {
    let any = "shape = \"debezium\"";
    let deleted = |lsn: &str, key: &str| {
        format!(
            r#"record.deleted {lsn}/1:d:public.orders:{key} 1000 {{"table":"public.orders","key":"{key}","version":"{lsn}/1"}}"#
        )
    };
    let gone = postgres("d", "null", "null", "91");
    for text in [any, ORDERS] {
        for key in [
            r#"{"id":7}"#,
            r#"{"schema":{"type":"struct"},"payload":{"id":7}}"#,
            r#"{"schema":null,"payload":{"id":7}}"#,
            "7",
            r#""7""#,
        ] {
            check(text, &whole(key, &gone), &deleted("91", "7"));
            let with_schema = format!(r#"{{"schema":{{"type":"struct"}},"payload":{gone}}}"#);
            check(text, &whole(key, &with_schema), &deleted("91", "7"));
        }
        for nothing in ["null", r#""""#, r#"{"schema":null,"payload":null}"#] {
            check(text, &whole(r#"{"id":7}"#, nothing), "skipped");
        }
    }
    check(any, &whole(r#"{"line":"a/b","order_id":1}"#, &gone), &deleted("91", "a%2Fb/1"));
    let stated = "shape = \"debezium\"\nkey = [\"order_id\", \"line\"]";
    check(stated, &whole(r#"{"line":"a/b","order_id":1}"#, &gone), &deleted("91", "1/a%2Fb"));
    // What the row lacks.
    let partly = postgres("d", r#"{"order_id":1}"#, "null", "91");
    check(stated, &whole(r#"{"line":"x","order_id":2}"#, &partly), &deleted("91", "1/x"));
    // A changed key is seen also where nobody stated which it is.
    let changed = whole(r#"{"id":7}"#, &postgres("u", r#"{"id":6}"#, r#"{"id":7}"#, "90"));
    assert_eq!(told(&mapping(any), &changed), told(&mapping(ORDERS), &changed));
    assert_eq!(told(&mapping(any), &changed).lines().count(), 2);
    let fails = |text: &str, key: &str, expected: &str| check(text, &whole(key, &gone), expected);
    fails(
        ORDERS,
        "null",
        r#"schemas/wrong-shape: field "/value/before": expected an object with the key of the row, or the key beside it as Kafka has it, found null"#,
    );
    fails(
        ORDERS,
        r#"{"number":7}"#,
        r#"schemas/wrong-shape: field "/value/before": expected a row, or a key beside it, with a value of the key column "id", found null"#,
    );
    fails(
        any,
        r#"{"id":null}"#,
        r#"schemas/wrong-shape: field "/value/before": expected a key beside it without null, found null"#,
    );
    // A row that is not one is told also where its key is not asked for it.
    let twice = postgres("c", "null", r#"{"id":7,"id":8}"#, "1");
    check(
        any,
        &whole(r#"{"id":7}"#, &twice),
        r#"schemas/not-json: field "/value/after": expected each key once in an object, found "id":8} at byte 8"#,
    );
}

/// Goal: MongoDB's deletions and updates without a row before, as its connector sends them: the key
/// is a text with the `_id` as JSON. Method: the forms of its documentation; the same key as that of
/// the document.
#[test]
fn by_the_key_beside_a_document() {
    let mongo = |op: &str, after: &str| {
        format!(
            r#"{{"before":null,"after":{after},"source":{{"connector":"mongodb","name":"m","ts_ms":3000,"db":"shop","collection":"people","ord":4}},"op":"{op}"}}"#
        )
    };
    for (key, id, known) in [
        (r#"{"id":"{\"$oid\": \"5f\"}"}"#, r#"{\"$oid\":\"5f\"}"#, "5f"),
        (r#"{"id":"1004"}"#, r#"1004"#, "1004"),
        (r#"{"id":"\"a b\""}"#, r#"\"a b\""#, "a b"),
        (r#"{"id":"1004"}"#, r#"{\"$numberLong\":\"1004\"}"#, "1004"),
    ] {
        let text = "shape = \"debezium\"";
        let put = format!(r#""{{\"_id\":{id}}}""#);
        let expected = |op: char| format!("3000/4/1:{op}:shop.people:{known} ");
        for (record, op) in [
            (whole(key, &mongo("d", "null")), 'd'),
            (whole(key, &mongo("u", &put)), 'u'),
            (mongo("u", &put), 'u'),
        ] {
            let said = told(&mapping(text), &record);
            assert!(said.contains(&expected(op)) && said.lines().count() == 1, "{record}: {said}");
        }
    }
}

/// Goal: nobody's changes pass for another's: a stream that does not say whose it is needs a stated
/// source. Method: an envelope without the name of its server.
#[test]
fn whose_it_is_must_be_said() {
    let unnamed = postgres("c", "null", r#"{"id":7}"#, "1").replace(r#""name":"shop","#, "");
    check(
        ORDERS,
        &unnamed,
        r#"schemas/wrong-shape: field "/source/name": expected the name of the server (topic.prefix), or a mapping that states `source`, found nothing"#,
    );
    let stated = format!("{ORDERS}\nsource = {{ constant = \"/shop\" }}");
    assert!(told(&mapping(&stated), &unnamed).starts_with("record.upserted"));
}

/// Goal: what a topic hands over is the mapping's to say: whole records, unless it wants values.
#[test]
fn whole_records_are_asked_for() {
    let asks = |more: &str| mapping(&format!("shape = \"debezium\"\n{more}")).takes_whole_records();
    assert!(asks("") && asks("record = \"whole\"") && !asks("record = \"value\""));
}

/// Every problem of the text at once.
#[test]
fn the_mapping_itself() {
    let text = "shape = \"debezium\"\ntable = \"id\"\nkey = []\ntenant = \"/t\"\n[tables.a]\nskip = true\nkey = [\"x\", \"x\"]\n";
    let problems = Mapping::compile(text).err().unwrap_or_default();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2: table: there is no key \"table\" here: perhaps \"tables\" was meant",
            "line 3: key: expected 1 to 32 columns",
            "line 4: tenant: in this shape it is the same for every record: { constant = \"…\" }",
            "line 5: tables.a: a table that is skipped needs no other key",
            "line 7: tables.a.key[1]: this column is there twice",
        ]
    );
    let problems = Mapping::compile("shape = \"debezum\"").err().unwrap_or_default();
    assert_eq!(
        problems[0].to_string(),
        "line 1: shape: there is no word \"debezum\" here: perhaps \"debezium\" was meant"
    );
}

/// A file of the data sets; `None`: they are not here.
fn shared(file: &str) -> Option<String> {
    let path = skipped::shared(&format!("data/conformance/{file}"))?;
    let done = std::process::Command::new("zstd").arg("-dc").arg(&path).output().expect("zstd");
    assert!(done.status.success(), "{path:?}");
    Some(String::from_utf8(done.stdout).expect("text"))
}

/// The newest of every record, by version alone.
fn table<'r>(mapping: &Mapping, records: impl Iterator<Item = &'r str>) -> BTreeMap<String, Value> {
    let mut newest: BTreeMap<String, (String, Option<Value>)> = BTreeMap::new();
    for record in records {
        let mut take = |event: Event<'_>| {
            let (key, version, fields) = match &event.data {
                Data::RecordUpserted(it) => {
                    (&it.key, &it.version, Some(serde_json::from_str(&it.fields).expect("JSON")))
                }
                Data::RecordDeleted(it) => (&it.key, &it.version, None),
                other => panic!("{other:?}"),
            };
            let stands = newest.get(&**key).map_or("", |it| &it.0);
            if compare_versions(stands, version).is_lt() {
                newest.insert(key.to_string(), (version.to_string(), fields));
            }
        };
        mapping.decode(record.as_bytes(), &mut take).unwrap_or_else(|it| panic!("{it}\n{record}"));
    }
    newest.into_iter().filter_map(|(key, (_, fields))| Some((key, fields?))).collect()
}

#[test]
fn a_published_stream_ends_in_its_published_table() {
    let Some(stream) = shared("debezium_postgres_orders.jsonl.zst") else { return };
    let expected: BTreeMap<String, Value> =
        shared("debezium_postgres_orders_final_table.jsonl.zst")
            .expect("beside it")
            .lines()
            .map(|it| serde_json::from_str::<Value>(it).expect("JSON"))
            .map(|it| (it["id"].to_string(), it))
            .collect();
    let mapping = mapping(ORDERS);
    assert_eq!(table(&mapping, stream.lines()), expected);
    assert_eq!(table(&mapping, stream.lines().rev().chain(stream.lines())), expected);
}

#[test]
fn a_published_snapshot() {
    let Some(stream) = shared("debezium_mysql_lineitem_snapshot.jsonl.zst") else { return };
    let mapping = mapping("shape = \"debezium\"\nkey = [\"L_ORDERKEY\", \"L_LINENUMBER\"]");
    let keys: Vec<String> = table(&mapping, stream.lines()).into_keys().collect();
    assert_eq!(keys, ["56165/1", "56166/1", "56166/2"]);
}

/// Goal: a table's records may become events of the contract, by an ordinary mapping. Method: the
/// mapping of `docs/mappings.md`, on the published stream.
#[test]
fn a_tables_records_as_events_of_our_own() {
    let Some(stream) = shared("debezium_postgres_orders.jsonl.zst") else { return };
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mappings.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let block = page.split("```toml\n").map(|it| it.split("```").next().unwrap_or_default());
    let text = block.into_iter().find(|it| it.contains("/source/table")).expect("an example");
    let mapping = mapping(text);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for record in stream.lines() {
        let mut take =
            |it: Event<'_>| *counts.entry(it.data.event_type().as_str()).or_default() += 1;
        mapping.decode(record.as_bytes(), &mut take).unwrap_or_else(|it| panic!("{it}\n{record}"));
    }
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["order.status_changed"]);
    assert!(counts["order.status_changed"] > 300, "{counts:?}");
}
