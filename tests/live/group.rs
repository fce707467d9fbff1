//! The group: told how far checkpoints are, and never asked.

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::{Millstream, TENANTS, generated, replayed};
use crate::source::{feed, record};
use crate::topics::Topic;
use crate::wait::{PATIENCE, seed, unique, until};

/// A client that says it is the group, as a tool that shows lag does.
fn tool(topic: &Topic, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &topic.brokers).set("group.id", group);
    config.create().unwrap()
}

/// Partitions of a topic, each at this offset.
fn all_at(topic: &Topic, offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for it in 0..topic.partitions() {
        list.add_partition_offset(&topic.name, it, offset).unwrap();
    }
    list
}

/// Goal: tools that show lag have something to show, and what a group is told by others decides
/// nothing. Method: the group's offsets as another client sees them, until they are the ends; then
/// that client says that the group is at the beginning, and we are started again.
#[test]
fn a_group_is_told_and_never_asked() {
    let (file, events) = generated("group", seed(), 600);
    let topic = Topic::create(Broker::shared().brokers(), "group", 3, &[]);
    let group = unique("group");
    let more = format!("topics = [{:?}]\ngroup = {group:?}", topic.name);
    let mut it = Millstream::start("group", &feed(&topic.brokers, &more));
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    Sender::new(&topic, &[]).all(&records[..500]);
    it.until_read("k/", 500);
    let tool = tool(&topic, &group);
    until("the group is told", || {
        let told = tool.committed_offsets(all_at(&topic, Offset::Invalid), PATIENCE).ok()?;
        let at_the_end = |n: i32| {
            let told = told.find_partition(&topic.name, n).map(|it| it.offset());
            told == Some(Offset::Offset(topic.watermarks(n).1))
        };
        (0..3).all(at_the_end).then_some(())
    });
    assert_eq!(it.stop(), 0, "{}", it.said());
    tool.commit(&all_at(&topic, Offset::Offset(0)), CommitMode::Sync).unwrap();
    let it = it.start_again();
    Sender::new(&topic, &[]).all(&records[500..]);
    it.until_read("k/", 600);
    it.balances("k/");
    assert_eq!((it.count("k/", "applied"), it.count("k/", "duplicate")), (600, 0));
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}
