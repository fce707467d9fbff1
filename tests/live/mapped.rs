//! Foreign records through a mapping that sees key and headers.

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::Millstream;
use crate::source::feed;
use crate::topics::Topic;
use crate::wait::{self, seed, until};

/// The mapping that docs/mappings.md shows for whole records.
fn documented() -> String {
    let text = include_str!("../../docs/mappings.md");
    let (_, part) = text.split_once("## Key, headers, tombstones").unwrap();
    let (_, mapping) = part.split_once("```toml\n").unwrap();
    mapping.split_once("```").unwrap().0.to_string()
}

/// Goal: key, headers and tombstones reach a mapping that asks for them; what cannot be JSON is a
/// kept reject; nothing else of the ledger changes. Method: the mapping of the document; orders of
/// two tenants told apart by a header, one cancelled by a tombstone, one that is no JSON.
#[test]
fn a_mapping_sees_key_headers_and_tombstones() {
    seed();
    let topic = Topic::create(Broker::shared().brokers(), "whole", 1, &[]);
    let at = 1_767_225_600_000;
    let paid = Record::new("A-17", r#"{"state":"paid"}"#);
    let records = [
        paid.clone().header("tenant", Some(b"acme")).at(at),
        paid.clone().header("tenant", Some(b"globex")).at(at),
        Record::tombstone("A-17").header("tenant", Some(b"globex")).at(at + 1_000),
        Record::new("A-18", "{\"state\":\"paid\"},\"key\":\"A-19\"")
            .header("tenant", Some(b"acme")),
        paid,
    ];
    Sender::new(&topic, &[]).all(&records);
    let mapping = wait::folder("whole").join("mapping.toml");
    std::fs::write(&mapping, documented()).unwrap();
    let more = format!("topics = [{:?}]\nmapping = {:?}", topic.name, mapping);
    let it = Millstream::start("whole", &feed(&topic.brokers, &more));
    it.until_read("k/", 5);
    it.balances("k/");
    let counts = ["applied", "rejected", "skipped"].map(|name| it.count("k/", name));
    assert_eq!(counts, [3, 2, 0]);
    for (tenant, status) in [("acme", "paid"), ("globex", "cancelled")] {
        let row = it.json(&format!("/v1/views/orders/A-17?tenant={tenant}"));
        assert_eq!(row["row"]["status"], status, "{row}");
    }
    assert!(it.get("/v1/views/orders/A-19?tenant=acme").is_none_or(|it| it.0 == 404));
    // Kept in the form that the mapping reads, with the key.
    until("it is kept", || {
        let kept = it.json("/v1/rejects?reason=schemas/wrong-shape&tenant=default").to_string();
        (kept.contains("A-17") && kept.contains("offset")).then_some(())
    });
}
