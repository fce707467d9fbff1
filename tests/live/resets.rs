//! `millstream feed reset`: what a report tells people to type does what it says.

use serde_json::Value;

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::{Millstream, TENANTS, generated, replayed};
use crate::source::{feed_of, record};
use crate::topics::Topic;
use crate::wait::{self, seed, until};

/// Waits for an alarm.
fn alarm(it: &Millstream, code: &str) {
    let line = format!("kafka_alarms{{feed=\"k\",alarm=\"{code}\"}} 1");
    until(&line, || it.get("/metrics")?.1.contains(&line).then_some(()));
}

/// The command that the process tells people to use, with its feed, as words.
fn told_to(it: &Millstream) -> Vec<String> {
    let said = it.said().replace('\n', " ");
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ");
    let (_, rest) = said.rsplit_once("`millstream feed ").expect("a command is named");
    let (command, _) = rest.split_once('`').unwrap();
    command.split(' ').map(str::to_string).collect()
}

fn follow(it: &Millstream, words: &[String]) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (code, out, err) = it.feed(&words);
    assert_eq!(code, 0, "{words:?}: {err}");
    out
}

/// The ledger's numbers of a topic: read, duplicate, lost; over its lines.
fn counts(it: &Millstream) -> [u64; 3] {
    ["read", "duplicate", "lost"].map(|name| it.count("k/", name))
}

fn sent(topic: &Topic, events: &[String]) {
    Sender::new(topic, &[]).all(&events.iter().map(|it| record(it)).collect::<Vec<Record>>());
}

/// Goal: a topic that was made again is read when a person says so, once, and each record is in one
/// place. Method: made again with fewer partitions while we were away; the command that the report
/// names, to the running process; killed afterwards.
#[test]
fn a_topic_made_again_is_read_when_accepted() {
    let (_, events) = generated("accepted", seed(), 400);
    let topic = Topic::create(Broker::shared().brokers(), "accepted", 2, &[]);
    let mut it = Millstream::start("accepted", &feed_of(&[&topic]));
    sent(&topic, &events[..150]);
    it.until_read("k/", 150);
    assert_eq!(it.stop(), 0, "{}", it.said());
    topic.recreate(1, &[]);
    sent(&topic, &events[..250]);

    let mut it = it.start_again();
    alarm(&it, "ingest/kafka-another-topic");
    assert_eq!(counts(&it), [150, 0, 0]);
    let words = told_to(&it);
    assert_eq!(words[..2], ["reset", &format!("k/{}", topic.name)]);
    assert!(follow(&it, &words).contains("the running process reads as before"));
    assert!(follow(&it, &["list".into()]).contains("begins at the next start: earliest"));
    assert_eq!(it.stop(), 0, "{}", it.said());

    let mut it = it.start_again();
    until("the new topic is read", || (counts(&it) == [250, 150, 0]).then_some(()));
    it.balances("k/");
    assert_eq!(it.ledger("k/").len(), 1, "the partition that is gone has no line");
    let metrics = it.get("/metrics").unwrap().1;
    assert!(!metrics.contains("alarm=\"ingest/kafka-another-topic\"} 1"), "{metrics}");
    assert!(!follow(&it, &["list".into()]).contains("at the next start"));
    // In the checkpoint, or not yet: either way it is done once.
    it = it.kill_and_start_again();
    sent(&topic, &events[250..]);
    until("all is read", || (it.count("k/", "next") == 400).then_some(()));
    until("each once", || {
        (it.count("k/", "applied") + it.count("k/", "duplicate") == 400).then_some(())
    });
    it.balances("k/");
    let file = wait::folder("accepted-all").join("events.jsonl");
    std::fs::write(&file, events.join("\n")).unwrap();
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: forward is lost and counted, back is read again and known, also by partition, and nothing
/// is done twice. Method: with no process running; the ledger.
#[test]
fn forward_is_lost_and_back_is_read_again() {
    let (_, events) = generated("moved", seed(), 300);
    let topic = Topic::create(Broker::shared().brokers(), "moved", 1, &[]);
    let mut it = Millstream::start("moved", &feed_of(&[&topic]));
    let feed = format!("k/{}", topic.name);
    sent(&topic, &events[..100]);
    it.until_read("k/", 100);
    let (code, _, err) = it.feed(&["reset", "k/no", "--to", "latest"]);
    assert_eq!((code, err.contains(&feed)), (1, true), "{err}");
    assert_eq!(it.stop(), 0, "{}", it.said());
    let (code, _, err) = it.feed(&["reset", "k/no", "--to", "latest"]);
    assert_eq!((code, err.contains("error[ingest/no-such-feed]")), (1, true), "{err}");
    sent(&topic, &events[100..200]);
    let (code, _, err) = it.feed(&["reset", &feed, "--to", "latest"]);
    assert_eq!(code, 0, "{err}");

    it = it.start_again();
    until("it is skipped", || (counts(&it) == [100, 0, 100]).then_some(()));
    sent(&topic, &events[200..]);
    until("what follows is read", || (counts(&it) == [200, 0, 100]).then_some(()));
    it.balances("k/");
    it = it.kill_and_start_again();
    until("it stands", || (it.count("k/", "next") == 300).then_some(()));
    assert_eq!(counts(&it), [200, 0, 100]);
    assert_eq!(it.stop(), 0, "{}", it.said());

    let (code, out, err) = it.feed(&["reset", "k", "--to", "0:150", "--partition", "0", "--json"]);
    assert_eq!(code, 0, "{err}");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&out["to"], &out["partitions"][0]["next"]), (&"0:150".into(), &300.into()));
    let it = it.start_again();
    until("it is read again", || (counts(&it) == [150, 100, 0]).then_some(()));
    assert_eq!((it.count("k/", "first"), it.count("k/", "next")), (150, 300));
    it.balances("k/");
}

/// Goal: another cluster at the same address is refused also by a process that never saw the first,
/// and read when a person says so. Method: a broker emptied between two starts; the command that the
/// report names, with no process running.
#[test]
fn another_cluster_is_refused_after_a_start() {
    let (file, events) = generated("clusters", seed(), 200);
    let broker = Broker::own("clusters", &[]);
    let topic = Topic::create(broker.brokers(), "clusters", 1, &[]);
    let mut it = Millstream::start("clusters", &feed_of(&[&topic]));
    sent(&topic, &events[..100]);
    it.until_read("k/", 100);
    assert_eq!(it.stop(), 0, "{}", it.said());
    broker.reset();
    broker.start();
    topic.make(1, &[]);
    sent(&topic, &events);

    it = it.start_again();
    alarm(&it, "ingest/kafka-another-cluster");
    assert_eq!((counts(&it), it.count("k/", "next")), ([100, 0, 0], 100));
    let words = told_to(&it);
    assert_eq!(words[..2], ["reset", "k"]);
    assert_eq!(it.stop(), 0, "{}", it.said());
    follow(&it, &words);
    let it = it.start_again();
    until("the new cluster is read", || (counts(&it) == [200, 100, 0]).then_some(()));
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}
