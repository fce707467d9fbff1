//! Records wait and do not come: when that is a stall, what is done about it, and when it is none.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::{Millstream, TENANTS, generated, replayed};
use crate::relay::Relayed;
use crate::source::{feed_of, record};
use crate::topics::Topic;
use crate::wait::{seed, until, until_within};

/// How long a partition may stand still, by the source's own word.
const PATIENCE: Duration = Duration::from_secs(10);
/// librdkafka waits as long for an answer before it connects again by itself: what is cured sooner
/// was cured by us.
const BY_ITSELF: Duration = Duration::from_secs(60);

/// How often a line of the log says that a new consumer was made.
fn rebuilt(it: &Millstream) -> usize {
    it.said().lines().filter(|it| it.contains("a new consumer reads on")).count()
}

/// A broker behind the relay, a topic, and a process that has read the first half and whose fetches
/// get no answer any more.
fn stalled(name: &str, records: &[Record], keep: fn(&Relayed)) -> (Relayed, Topic, Millstream) {
    let relay = Relayed::start(name);
    let topic = Topic::create(&relay.address, name, 2, &[]);
    let it = Millstream::start(name, &feed_of(&[&topic]));
    Sender::new(&topic, &[]).all(records);
    it.until_read("k/", records.len() as u64);
    keep(&relay);
    // What was on its way has come by then: it waits 50 ms in the broker.
    until("a fetch is kept", || (relay.kept() > 0).then_some(()));
    (relay, topic, it)
}

/// Goal: a consumer that gets no records although there are some, while the broker answers every
/// other question, is replaced within the promised time, and nothing is lost or doubled. Method: a
/// relay that keeps the fetches of the connections that are there; the digests.
#[test]
fn a_consumer_that_stands_still_is_replaced() {
    let (file, events) = generated("stalled", seed(), 4_000);
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    let (before, after) = records.split_at(2_000);
    let (relay, topic, it) = stalled("stalled", before, Relayed::keep_those_open);
    Sender::new(&topic, &[]).all(after);
    let waits = Instant::now();
    let again = || (it.count("k/", "read") > 2_000).then_some(());
    until_within(PATIENCE * 3, "records come again", again);
    let took = waits.elapsed();
    println!("reading again after {:.1} s, {} fetches kept", took.as_secs_f64(), relay.kept());
    it.until_read("k/", 4_000);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
    let said = it.said();
    assert_eq!(rebuilt(&it), 1, "{said}");
    assert!(said.contains("ingest/kafka-stuck") && !said.contains("ingest/kafka-unreachable"));
    assert!(took < BY_ITSELF, "{took:?}");
}

/// Goal: when new consumers bring nothing either, the process ends with a report that says where it
/// stood, and a start later loses and doubles nothing. Method: a relay that keeps every fetch; then
/// none.
#[test]
fn again_and_again_ends_the_process() {
    let (file, events) = generated("stuck", seed(), 4_000);
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    let (before, after) = records.split_at(2_000);
    let (relay, topic, mut it) = stalled("stuck", before, Relayed::keep_all);
    Sender::new(&topic, &[]).all(after);
    let waits = Instant::now();
    let code = until_within(PATIENCE * 8, "the process ends", || it.ended());
    println!("ended after {:.1} s", waits.elapsed().as_secs_f64());
    let said = it.said();
    assert_eq!((code, rebuilt(&it)), (1, 3), "{said}");
    let (_, report) = said.rsplit_once("error[ingest/kafka-stuck]").expect("a report");
    let why = "and 3 new consumers brought no record";
    for part in [&format!("k/{}", topic.name), why, "effect:", "fix:"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    relay.let_through();
    let it = it.start_again();
    it.until_read("k/", 4_000);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: a cluster that answers, but never how far its partitions reach (as a client hears it that
/// has lost their leaders), is asked by new clients, and read on once it tells. Method: a relay that
/// keeps such questions and the fetches until somebody new asks; the digests.
#[test]
fn what_is_not_told_is_asked_by_new_clients() {
    let (file, events) = generated("mute", seed(), 4_000);
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    let (before, after) = records.split_at(2_000);
    let (relay, topic, mut it) = stalled("mute", before, Relayed::keep_ends_too);
    Sender::new(&topic, &[]).all(after);
    let asked = |it: &Millstream| it.said().contains("new clients ask").then_some(());
    until("new clients ask", || asked(&it));
    relay.let_through();
    it.until_read("k/", 4_000);
    it.balances("k/");
    assert_eq!(it.ended(), None);
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: leaving records unread on purpose is no stall, however long it takes. Method: a memory cap
/// below what the process needs, so that nothing more is taken, for more than twice the patience;
/// then a start with room.
#[test]
fn reading_held_back_is_no_stall() {
    let (file, events) = generated("held", seed(), 40_000);
    let topic = Topic::create(Broker::shared().brokers(), "held", 4, &[]);
    let settings = |cap: &str| format!("{}[engine]\nmemory_max = {cap:?}\n", feed_of(&[&topic]));
    let mut it = Millstream::start_unready("held", &settings("16 MiB"));
    until("reading is held back", || it.said().contains("watch/memory").then_some(()));
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    Sender::new(&topic, &[("linger.ms", "20")]).all(&records);
    let lag = |it: &Millstream| it.metric("millstream_kafka_lag_records{");
    until("it is known that they wait", || (lag(&it) > 0.0).then_some(()));
    let held = Instant::now();
    let waiting = || {
        assert_eq!(it.ended(), None, "{}", it.said());
        (held.elapsed() > PATIENCE * 5 / 2).then_some(())
    };
    until("more than the patience has passed twice", waiting);
    assert_eq!(it.count("k/", "read"), 0, "it was held all the while");
    assert!(lag(&it) > 0.0 && it.metric("millstream_kafka_waits_total{") > 0.0);
    assert!(!it.said().contains("ingest/kafka"), "{}", it.said());
    assert_eq!(it.stop(), 0, "{}", it.said());
    let it = it.start_again_by(&settings("4 GiB"));
    it.until_read("k/", events.len() as u64);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}
