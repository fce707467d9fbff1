//! What brokers do to those who read: they die, stop, delete, and make topics again.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Record, Sender};
use crate::engine::{Millstream, TENANTS, generated, replayed};
use crate::source::{feed_of, record};
use crate::topics::Topic;
use crate::wait::{Rng, seed, unique, until, until_within};

/// Records of these events, each to one of so many partitions.
fn dealt(events: &[String], partitions: i32, rng: &mut Rng) -> Vec<Record> {
    events.iter().map(|it| record(it).on(rng.below(partitions as u64) as i32)).collect()
}

/// Goal: a killed broker costs a wait and nothing else. Method: SIGKILL while sending and reading;
/// the digests, and the seconds from its return until records come again.
#[test]
fn a_killed_broker_costs_only_a_wait() {
    let seed = seed();
    let mut rng = Rng(seed);
    let (file, events) = generated("killed", seed, 12_000);
    let broker = Broker::own("source-killed", &[]);
    let topic = Topic::create(broker.brokers(), "killed", 4, &[]);
    let it = Millstream::start("source-killed", &feed_of(&[&topic]));
    // It is back soon after the broker, or it would be the one that is measured.
    let soon = [("linger.ms", "5"), ("reconnect.backoff.max.ms", "500")];
    let sender = Sender::new(&topic, &soon);
    let records = dealt(&events, 4, &mut rng);
    sender.all(&records[..4_000]);
    records[4_000..8_000].iter().for_each(|it| sender.send(it));
    broker.kill();
    records[8_000..].iter().for_each(|it| sender.send(it));
    broker.start();
    let back = Instant::now();
    // More than were sent before it was killed.
    let again = || (it.count("k/", "read") > 8_000).then_some(());
    until_within(Duration::from_secs(10), "records come again", again);
    println!("reading again {:.1} s after its return", back.elapsed().as_secs_f64());
    sender.answers().iter().for_each(|it| assert!(it.is_ok(), "{it:?}"));
    let transient = "millstream_kafka_errors_total{feed=\"k\",kind=\"transient\"} ";
    until("it is counted", || (it.metric(transient) > 0.0).then_some(()));
    it.until_read("k/", events.len() as u64);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: a broker that stands still for a minute is waited for, with an alarm, and without a
/// restart of ours. Method: SIGSTOP for sixty seconds in the middle.
#[test]
fn a_silent_broker_is_waited_for() {
    let seed = seed();
    let mut rng = Rng(seed);
    let (file, events) = generated("silent", seed, 6_000);
    let broker = Broker::own("source-silent", &[]);
    let topic = Topic::create(broker.brokers(), "silent", 4, &[]);
    let it = Millstream::start("source-silent", &feed_of(&[&topic]));
    let records = dealt(&events, 4, &mut rng);
    Sender::new(&topic, &[]).all(&records[..3_000]);
    it.until_read("k/", 3_000);
    broker.pause();
    let paused = Instant::now();
    until("it is an alarm", || it.said().contains("ingest/kafka-unreachable").then_some(()));
    until("a minute has passed", || (paused.elapsed() > Duration::from_secs(60)).then_some(()));
    broker.go_on();
    Sender::new(&topic, &[]).all(&records[3_000..]);
    it.until_read("k/", events.len() as u64);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: partitions that are added are read from their first record, within ten seconds. Method:
/// from one to three while sending; the digests.
#[test]
fn partitions_that_are_added_are_read() {
    let seed = seed();
    let mut rng = Rng(seed);
    let (file, events) = generated("grown", seed, 6_000);
    let topic = Topic::create(Broker::shared().brokers(), "grown", 1, &[]);
    let it = Millstream::start("grown", &feed_of(&[&topic]));
    let (before, after) = (dealt(&events[..3_000], 1, &mut rng), &events[3_000..]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let sender = Sender::new(&topic, &[]);
            before.chunks(50).for_each(|it| sender.all(it));
        });
        until("some are read", || (it.count("k/", "read") > 0).then_some(()));
        topic.grow(3);
        // They are there before we know of their partitions.
        Sender::new(&topic, &[]).all(&dealt(after, 3, &mut rng));
        let all = || (it.ledger("k/").len() == 3).then_some(());
        until_within(Duration::from_secs(10), "all three are read", all);
    });
    it.until_read("k/", events.len() as u64);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: records that are removed before they are read are counted as lost, to the offset, and
/// reading goes on. Method: our process stopped while records come and most of them are removed.
#[test]
fn removed_records_are_counted_as_lost() {
    let (_, events) = generated("removed", seed(), 2_000);
    let topic = Topic::create(Broker::shared().brokers(), "removed", 1, &[]);
    let other = Topic::create(Broker::shared().brokers(), "removed-not", 1, &[]);
    let it = Millstream::start("removed", &feed_of(&[&topic, &other]));
    let sender = Sender::new(&topic, &[("batch.num.messages", "10")]);
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    sender.all(&records[..1_000]);
    it.until_read("k/", 1_000);
    let signal = |name: &str| {
        assert!(
            Command::new("kill").args([name, &it.pid().to_string()]).status().unwrap().success()
        );
    };
    signal("-STOP");
    sender.all(&records[1_000..]);
    topic.delete_records(0, 1_900);
    signal("-CONT");
    until("all there is is read", || {
        let line = &it.ledger(&format!("k/{}", topic.name))[0];
        (line["next"] == 2_000).then_some(())
    });
    it.balances("k/");
    let (read, lost) = (it.count("k/", "read"), it.count("k/", "lost"));
    assert_eq!(read + lost, 2_000);
    // A fetch that was on its way may have brought a few of them.
    assert!((500..=900).contains(&lost), "{lost}");
    assert!(it.said().contains("ingest/kafka-lost"));
    Sender::new(&other, &[]).all(&[record(&events[0])]);
    it.until_read(&format!("k/{}", other.name), 1);
}

/// Goal: damage is seen, never decoded, counted to the record, and reading goes on behind it, also
/// when nothing is there behind it yet. Method: one byte of a batch changed in the broker's file while
/// nobody reads: of one in the middle, then of the last; more records afterwards.
#[test]
fn damaged_records_are_counted_as_lost() {
    let (_, events) = generated("damaged", seed(), 500);
    let broker = Broker::own("damaged", &[]);
    let topic = Topic::create(broker.brokers(), "damaged", 1, &[]);
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    // One batch: sent within the time that it waits for more. How long the file is then.
    let send = |n: usize| {
        let part = &records[n * 100..(n + 1) * 100];
        Sender::new(&topic, &[("linger.ms", "1000")]).all(part);
        broker.log_path(&topic.name, 0).metadata().unwrap().len() as usize
    };
    let damage = |from: usize, to: usize| {
        broker.stop();
        let path = broker.log_path(&topic.name, 0);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[(from + to) / 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        broker.start();
    };
    let until_at = |it: &Millstream, next: u64| {
        until("what is behind it is read", || (it.count("k/", "next") == next).then_some(()));
        it.balances("k/");
        ["applied", "lost", "absent"].map(|name| it.count("k/", name))
    };
    let mut it = Millstream::start("damaged", &feed_of(&[&topic]));
    let good = send(0);
    assert_eq!(until_at(&it, 100), [100, 0, 0]);
    assert_eq!(it.stop(), 0, "{}", it.said());
    let bad = send(1);
    let last = send(2);
    damage(good, bad);
    let mut it = it.start_again();
    assert_eq!(until_at(&it, 300), [200, 100, 0]);
    assert_eq!(it.stop(), 0, "{}", it.said());
    let end = send(3);
    damage(last, end);
    let it = it.start_again();
    assert_eq!(until_at(&it, 400), [200, 200, 0]);
    send(4);
    assert_eq!(until_at(&it, 500), [300, 200, 0]);
    let said = it.said();
    let told = |from: &str| said.matches(&format!("offset {from}\"")).count();
    assert_eq!(said.matches("ingest/kafka-damaged").count(), 2, "each told once: {said}");
    assert_eq!((told("100"), told("300")), (1, 1), "{said}");
}

/// Goal: a topic that is deleted and made again is not read on, be it shorter, as long or longer;
/// others go on. Method: all three at once, and a fourth that stays.
#[test]
fn a_topic_made_again_is_not_read_on() {
    let (_, events) = generated("again", seed(), 400);
    let brokers = Broker::shared().brokers();
    let topics: Vec<Topic> =
        (0..4).map(|n| Topic::create(brokers, &format!("again{n}"), 1, &[])).collect();
    let it = Millstream::start("again", &feed_of(&topics.iter().collect::<Vec<_>>()));
    let send = |topic: &Topic, from: usize, n: usize| {
        let records: Vec<Record> = events[from..from + n].iter().map(|it| record(it)).collect();
        Sender::new(topic, &[]).all(&records);
    };
    topics.iter().for_each(|topic| send(topic, 0, 100));
    it.until_read("k/", 400);
    for topic in &topics[..3] {
        topic.recreate(1, &[]);
    }
    until("all three are told", || {
        let all = it.get("/metrics").unwrap().1;
        let line = "kafka_alarms{feed=\"k\",alarm=\"ingest/kafka-another-topic\"} 3";
        all.contains(line).then_some(())
    });
    for (topic, n) in topics.iter().zip([50, 100, 200, 10]) {
        send(topic, 200, n);
    }
    it.until_read(&format!("k/{}", topics[3].name), 110);
    for topic in &topics[..3] {
        assert_eq!(it.count(&format!("k/{}", topic.name), "next"), 100);
    }
    it.balances("k/");
    assert!(it.said().contains("millstream feed reset"));
}

/// Goal: not one record of the new topic is taken for one of the old, however soon they come and
/// however many: also before anybody has asked which topic it is. Method: made again and filled
/// beyond our offset at once, while being read and between a stop and a start.
#[test]
fn nothing_of_another_topic_is_read() {
    let (_, events) = generated("soon", seed(), 2_000);
    let brokers = Broker::shared().brokers();
    let topics: Vec<Topic> =
        (0..3).map(|n| Topic::create(brokers, &format!("soon{n}"), 1, &[])).collect();
    let mut it = Millstream::start("soon", &feed_of(&topics.iter().collect::<Vec<_>>()));
    let send = |topic: &Topic, from: usize, to: usize| {
        let records: Vec<Record> = events[from..to].iter().map(|it| record(it)).collect();
        Sender::new(topic, &[]).all(&records);
    };
    topics.iter().for_each(|topic| send(topic, 0, 100));
    it.until_read("k/", 300);
    let alarms = |it: &Millstream, n: usize| {
        let line = format!("kafka_alarms{{feed=\"k\",alarm=\"ingest/kafka-another-topic\"}} {n}");
        until("it is told", || it.get("/metrics")?.1.contains(&line).then_some(()));
        for topic in &topics {
            let feed = format!("k/{}", topic.name);
            assert_eq!((it.count(&feed, "read"), it.count(&feed, "next")), (100, 100), "{feed}");
        }
    };
    for (n, topic) in topics[..2].iter().enumerate() {
        topic.recreate(1, &[]);
        send(topic, 100, 2_000);
        alarms(&it, n + 1);
    }
    it.balances("k/");
    assert_eq!(it.stop(), 0, "{}", it.said());
    topics[2].recreate(1, &[]);
    let it = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&topics[2], 100, 2_000));
        let it = it.start_again();
        sending.join().unwrap();
        it
    });
    alarms(&it, 3);
    it.balances("k/");
}

/// Goal: an open transaction that hides records is its own alarm, and none of a stall. Method: a
/// transaction left open with records of others behind it.
#[test]
fn an_open_transaction_is_told_apart() {
    let (_, events) = generated("open", seed(), 20);
    let topic = Topic::create(Broker::shared().brokers(), "open", 1, &[]);
    let it = Millstream::start("open", &feed_of(&[&topic]));
    Sender::new(&topic, &[]).all(&[record(&events[0])]);
    it.until_read("k/", 1);
    let sender = Sender::transactional(&topic, &unique("open"));
    sender.begin();
    sender.send(&record(&events[1]));
    sender.answers();
    Sender::new(&topic, &[]).all(&events[2..].iter().map(|it| record(it)).collect::<Vec<_>>());
    let alarm = |n: u32| {
        let line =
            format!("kafka_alarms{{feed=\"k\",alarm=\"ingest/kafka-open-transaction\"}} {n}");
        it.get("/metrics").unwrap().1.contains(&line).then_some(())
    };
    until("it is an alarm", || alarm(1));
    sender.abort();
    it.until_read("k/", 19);
    until("it is over", || alarm(0));
    it.balances("k/");
    assert!(!it.said().contains("ingest/kafka-stuck"), "{}", it.said());
}

/// Goal: killed in the middle, it has the same views afterwards, and the end is in order. Method:
/// SIGKILL while reading; again while there is nothing to read.
#[test]
fn killed_ourselves_we_have_the_same_views() {
    let seed = seed();
    let mut rng = Rng(seed);
    let (file, events) = generated("ourselves", seed, 20_000);
    let topic = Topic::create(Broker::shared().brokers(), "ourselves", 4, &[]);
    let mut it = Millstream::start("ourselves", &feed_of(&[&topic]));
    let records = dealt(&events, 4, &mut rng);
    Sender::new(&topic, &[("linger.ms", "20")]).all(&records);
    until("some are read", || (it.count("k/", "read") > 0).then_some(()));
    it = it.kill_and_start_again();
    it.until_read("k/", events.len() as u64);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
    assert_eq!(it.stop(), 0, "{}", it.said());
}

/// Goal: what happened while we were away is found at the start: partitions that were added are read
/// from their first record even where `start` is the latest, removed ranges are lost, a topic that
/// was made again is not read on. Method: stopped in order, three changes, started again.
#[test]
fn changes_while_we_were_away_are_found() {
    let (_, events) = generated("away", seed(), 400);
    let brokers = Broker::shared().brokers();
    let name = unique("away");
    let [grown, cut, again] =
        ["grown", "cut", "again"].map(|it| Topic::create(brokers, &format!("{name}-{it}"), 1, &[]));
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    let more = format!("pattern = \"^{name}-\"\nstart = \"latest\"");
    let mut it = Millstream::start("away", &crate::source::feed(brokers, &more));
    until("their partitions are known", || (it.ledger("k/").len() == 3).then_some(()));
    for (topic, n) in [&grown, &cut, &again].iter().zip([0, 100, 200]) {
        Sender::new(topic, &[]).all(&records[n..n + 100]);
    }
    it.until_read("k/", 300);
    assert_eq!(it.stop(), 0, "{}", it.said());
    grown.grow(2);
    let added: Vec<Record> = records[300..350].iter().map(|it| it.clone().on(1)).collect();
    Sender::new(&grown, &[]).all(&added);
    Sender::new(&cut, &[]).all(&records[350..]);
    cut.delete_records(0, 120);
    again.recreate(1, &[]);
    Sender::new(&again, &[]).all(&records[..200]);
    let it = it.start_again();
    let of = |topic: &Topic, name: &str| it.count(&format!("k/{}", topic.name), name);
    until("what was added is read", || (of(&grown, "next") == 150).then_some(()));
    until("what is left is read", || (of(&cut, "next") == 150).then_some(()));
    until("the other topic is told", || {
        let line = "kafka_alarms{feed=\"k\",alarm=\"ingest/kafka-another-topic\"} 1";
        it.get("/metrics").unwrap().1.contains(line).then_some(())
    });
    assert_eq!(of(&cut, "lost"), 20);
    assert_eq!((of(&again, "next"), of(&again, "read")), (100, 100));
    it.balances("k/");
}
