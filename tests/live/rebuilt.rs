//! A view that is built again from topics, a file and the log, beside the others.

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::{Millstream, TENANTS, generated, replayed};
use crate::source::{feed_of, record};
use crate::topics::Topic;
use crate::wait::{self, seed, until};

fn sent(topic: &Topic, events: &[String]) {
    Sender::new(topic, &[]).all(&events.iter().map(|it| record(it)).collect::<Vec<Record>>());
}

/// Goal: a view that is built again from topics and a file is what it was, while what comes goes
/// on; where a topic has let go of its first records that is refused, saying from where it could
/// start, and done when that is accepted. Method: a topic of two partitions and a file feed; more is
/// sent while it is built; digests against a replay of all; then the topic is cut.
#[test]
fn a_view_is_built_again_from_topics() {
    let (file, events) = generated("rebuilt", seed(), 900);
    let topic = Topic::create(Broker::shared().brokers(), "rebuilt", 2, &[]);
    let part = wait::folder("rebuilt-file").join("part.jsonl");
    std::fs::write(&part, events[..200].join("\n")).unwrap();
    let feeds = format!(
        "{}\n[[feed]]\nname = \"part\"\npath = \"{}\"\n",
        feed_of(&[&topic]),
        part.display()
    );
    let mut it = Millstream::start("rebuilt", &feeds);
    sent(&topic, &events[200..700]);
    it.until_read("k/", 500);
    assert_eq!(it.stop(), 0, "{}", it.said());

    let mut it = it.start_again_with(&["--rebuild", "orders"]);
    sent(&topic, &events[700..]);
    it.until_read("k/", 700);
    until("it is whole", || it.said().contains("the views are whole again").then_some(()));
    until("it is served", || (it.get("/v1/views/orders?limit=1")?.0 == 200).then_some(()));
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
    it.balances("k/");
    assert_eq!(it.stop(), 0, "{}", it.said());

    topic.delete_records(1, 20);
    let (code, _, err) = it.refused(&["--rebuild", "orders"]);
    assert_eq!(code, 1, "{err}");
    let words = format!("partition 1 of k/{} begins at 20", topic.name);
    assert!(err.contains("error[store/not-covered]") && err.contains(&words), "{err}");
    let said = it.said().len();
    let mut it = it.start_again_with(&["--rebuild", "orders", "--accept-incomplete"]);
    until("it is built from what is left", || {
        it.said()[said..].contains("the views are whole again").then_some(())
    });
    assert_eq!(it.stop(), 0, "{}", it.said());
}
