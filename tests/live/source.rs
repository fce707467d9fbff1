//! Reading topics: the views of a topic are those of its file, and every offset is in one place.

use serde_json::Value;

use crate::broker::{Broker, Secured};
use crate::client::{CODECS, Record, Sender};
use crate::engine::{Millstream, PASSWORD_VARIABLE, TENANTS, generated, program, replayed, told};
use crate::topics::Topic;
use crate::wait::{self, Rng, seed, unique, until};
use crate::{kcat, raw};

/// A `[[kafka]]` of the name `k`, with these keys besides.
pub fn feed(brokers: &str, more: &str) -> String {
    format!("[[kafka]]\nname = \"k\"\nbrokers = [{brokers:?}]\n{more}\n")
}

/// One that reads these topics.
pub fn feed_of(topics: &[&Topic]) -> String {
    let names: Vec<&str> = topics.iter().map(|it| it.name.as_str()).collect();
    feed(&topics[0].brokers, &format!("topics = {names:?}"))
}

/// The event's records: its key is its subject.
pub fn record(event: &str) -> Record {
    let subject: Value = serde_json::from_str(event).unwrap();
    Record::new(subject["subject"].as_str().unwrap_or(""), event)
}

/// The same, in binary mode.
fn binary(event: &str) -> Record {
    let parsed: Value = serde_json::from_str(event).unwrap();
    let mut it = Record::new("", parsed["data"].to_string());
    it.key = None;
    for (name, value) in parsed.as_object().unwrap().iter().filter(|it| it.0 != "data") {
        it = it.header(&format!("ce_{name}"), Some(value.as_str().unwrap().as_bytes()));
    }
    it.header("content-type", Some(b"application/json; charset=utf-8"))
}

/// Goal: a topic gives what its file gives, whatever the codec, the mode, the order over partitions,
/// and with repeats and tombstones between. Method: each event once to three times, to one of four
/// partitions of which one has most; the file's replay.
#[test]
fn a_topic_gives_the_views_of_its_file() {
    let seed = seed();
    let mut rng = Rng(seed);
    let (file, events) = generated("source", seed, 20_000);
    let topic = Topic::create(Broker::shared().brokers(), "source", 4, &[]);
    let it = Millstream::start("source", &feed_of(&[&topic]));
    let (mut sent, mut tombstones, mut repeats) = (0, 0, 0);
    for (part, codec) in events.chunks(events.len() / CODECS.len()).zip(CODECS) {
        let sender = Sender::new(&topic, &[("compression.type", codec), ("linger.ms", "20")]);
        let mut records = Vec::new();
        for event in part {
            let partition = if rng.below(10) < 7 { 0 } else { 1 + rng.below(3) as i32 };
            let times = if rng.below(20) == 0 { 2 + rng.below(2) } else { 1 };
            repeats += times - 1;
            for _ in 0..times {
                let made = if rng.below(2) == 0 { record(event) } else { binary(event) };
                records.push(made.on(partition));
            }
            if rng.below(50) == 0 {
                records.push(Record::tombstone("gone").on(partition));
                tombstones += 1;
            }
        }
        sent += records.len() as u64;
        sender.all(&records);
    }
    it.until_read("k/", sent);
    it.balances("k/");
    assert_eq!(it.count("k/", "skipped"), tombstones);
    assert_eq!(it.count("k/", "duplicate"), repeats);
    assert_eq!((it.count("k/", "rejected"), it.count("k/", "absent")), (0, 0));
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
    measured(&it, &topic);
}

/// What /metrics says of each partition once all is read, by the names that docs/kafka.md lists.
fn measured(it: &Millstream, topic: &Topic) {
    for line in it.ledger("k/") {
        let (number, next) = (&line["partition"], line["next"].as_f64().unwrap());
        let of = format!("{{feed=\"k/{}\",partition=\"{number}\"}} ", topic.name);
        let told = |name: &str, expected: &dyn Fn(f64) -> bool| {
            let start = format!("millstream_kafka_{name}{of}");
            until(&start, || {
                let all = it.get("/metrics")?.1;
                let found = all.lines().find_map(|it| it.strip_prefix(start.as_str()))?;
                expected(found.parse().unwrap()).then_some(())
            });
        };
        for name in ["position", "stable_end", "high_watermark"] {
            told(name, &|it| it == next);
        }
        for name in ["lag_records", "lag_seconds"] {
            told(name, &|it| it == 0.0);
        }
        told("bytes_read_total", &|it| it > 0.0);
    }
}

/// Goal: as a command, from the beginning to the end that there is. Method: `replay` of a topic
/// and of its file, at the same instant.
#[test]
fn a_topic_is_replayed_like_a_file() {
    let seed = seed();
    let (file, events) = generated("replayed", seed, 10_000);
    let topic = Topic::create(Broker::shared().brokers(), "replayed", 4, &[]);
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    Sender::new(&topic, &[("compression.type", "lz4")]).all(&records);
    let words = ["replay", "--brokers", &topic.brokers, "--topic", &topic.name, "--json"];
    let (code, out, err) = told(program(&words).output().unwrap());
    assert_eq!(code, 0, "{err}");
    let path = file.display().to_string();
    let (_, of_file, _) = told(program(&["replay", &path, "--json"]).output().unwrap());
    let [topic, file]: [Value; 2] = [out, of_file].map(|it| serde_json::from_str(&it).unwrap());
    assert_eq!(topic["views"], file["views"]);
    assert_eq!(topic["counts"]["applied"], file["counts"]["applied"]);
}

/// Goal: events that other people's clients send are read in both modes. Method: kcat; every event
/// in both modes, so that the second of each is a repeat.
#[test]
fn another_client_s_events_are_read() {
    let seed = seed();
    let (file, events) = generated("source-kcat", seed, 60);
    let topic = Topic::create(Broker::shared().brokers(), "source-kcat", 2, &[]);
    kcat::produce_structured(&topic, &events, "zstd");
    kcat::produce_binary(&topic, &events, "gzip");
    let it = Millstream::start("source-kcat", &feed_of(&[&topic]));
    it.until_read("k/", 120);
    it.balances("k/");
    assert_eq!((it.count("k/", "applied"), it.count("k/", "duplicate")), (60, 60));
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: what is aborted is not applied, and the offsets of it and of the markers are absent.
/// Method: every event in an aborted transaction, changed, then in one that is committed.
#[test]
fn aborted_transactions_are_absent() {
    let seed = seed();
    let (file, events) = generated("aborted", seed, 2_000);
    let topic = Topic::create(Broker::shared().brokers(), "aborted", 2, &[]);
    let it = Millstream::start("aborted", &feed_of(&[&topic]));
    until("its partitions are known", || (it.ledger("k/").len() == 2).then_some(()));
    let sender = Sender::transactional(&topic, &unique("aborting"));
    for (n, part) in events.chunks(50).enumerate() {
        for commit in [false, true] {
            sender.begin();
            for (n, event) in part.iter().enumerate() {
                let event = if commit { event.clone() } else { event.replace("EUR", "USD") };
                sender.send(&record(&event).on(n as i32 % 2));
            }
            sender.answers();
            if commit { sender.commit() } else { sender.abort() }
        }
        if n % 10 == 9 {
            it.balances("k/");
        }
    }
    it.until_read("k/", events.len() as u64);
    let ends = topic.watermarks(0).1 + topic.watermarks(1).1;
    until("what is behind the last record is known to be absent", || {
        (it.count("k/", "next") == ends as u64).then_some(())
    });
    it.balances("k/");
    assert_eq!(it.count("k/", "absent"), ends as u64 - events.len() as u64);
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: several feeds fill the same views: two topics by pattern, one of them made later, a file
/// and HTTP; the ledger shows each. Method: a part of the events each.
#[test]
fn several_feeds_fill_the_same_views() {
    let seed = seed();
    let (file, events) = generated("several", seed, 6_000);
    let name = unique("several");
    let part = wait::folder("several").join("part.jsonl");
    std::fs::write(&part, events[..1_000].join("\n")).unwrap();
    let brokers = Broker::shared().brokers();
    let settings = format!(
        "[[feed]]\nname = \"part\"\npath = {:?}\n{}",
        part.display().to_string(),
        feed(brokers, &format!("pattern = \"^{name}-\"")),
    );
    let one = Topic::create(brokers, &format!("{name}-one"), 1, &[]);
    let it = Millstream::start("several", &settings);
    let records = |from: usize, to: usize| events[from..to].iter().map(|it| record(it));
    Sender::new(&one, &[]).all(&records(2_000, 4_000).collect::<Vec<_>>());
    it.until_read("k/", 2_000);
    for tenant in TENANTS {
        let of = format!("\"tenant\":\"{tenant}\"");
        let posted: Vec<&String> =
            events[1_000..2_000].iter().filter(|it| it.contains(&of)).collect();
        it.post(tenant, &posted);
    }
    let two = Topic::create(brokers, &format!("{name}-two"), 3, &[]);
    Sender::new(&two, &[]).all(&records(4_000, 6_000).collect::<Vec<_>>());
    it.until_read("k/", 4_000);
    it.until_read("part", 1_000);
    it.until_read("log", 1_000);
    ["k/", "part", "log"].iter().for_each(|feed| it.balances(feed));
    assert_eq!(it.ledger(&format!("k/{}", two.name)).len(), 3);
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: a producer's clock decides nothing. Method: events of this year with CreateTimes of 1970,
/// before it, and of 2100.
#[test]
fn a_producer_s_clock_decides_nothing() {
    let seed = seed();
    let (file, events) = generated("clocks", seed, 4);
    let open = [("message.timestamp.after.max.ms", "9223372036854775807")];
    let topic = Topic::create(Broker::shared().brokers(), "clocks", 1, &open);
    for (event, at) in events.iter().zip([0, -1, -5_000, 4_102_444_800_000]) {
        raw::send(&topic, &record(event).at(at)).unwrap();
    }
    let it = Millstream::start("clocks", &feed_of(&[&topic]));
    it.until_read("k/", 4);
    assert_eq!(it.count("k/", "applied"), 4);
    it.balances("k/");
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}

/// Goal: an event at the limit is taken, one above is a kept reject, and nothing of it is decoded.
/// Method: events filled up with blanks.
#[test]
fn an_event_above_the_limit_is_rejected() {
    const LIMIT: usize = 64 << 10;
    let (_, events) = generated("limits", seed(), 3);
    let topic = Topic::create(Broker::shared().brokers(), "limits", 1, &[]);
    let filled = |n: usize, len: usize| {
        record(&format!("{}{}", events[n], " ".repeat(len - events[n].len())))
    };
    let sender = Sender::new(&topic, &[]);
    sender.all(&[filled(0, LIMIT), filled(1, LIMIT + 1), filled(2, 900_000)]);
    let it = Millstream::start("limits", &feed_of(&[&topic]));
    it.until_read("k/", 3);
    it.balances("k/");
    assert_eq!((it.count("k/", "applied"), it.count("k/", "rejected")), (1, 2));
    until("both are kept", || {
        let of = |tenant: &&str| {
            let path = format!("/v1/rejects?reason=schemas/too-large&tenant={tenant}");
            it.json(&path)["rejects"].as_array().unwrap().len()
        };
        (TENANTS.iter().map(of).sum::<usize>() == 2).then_some(())
    });
}

/// Goal: reading begins where it is told to: at what comes next, or at an instant; a topic that
/// comes later begins at its first record. Method: a record before, one after.
#[test]
fn a_topic_begins_where_it_is_told_to() {
    let (_, events) = generated("starts", seed(), 4);
    let brokers = Broker::shared().brokers();
    let topic = Topic::create(brokers, "starts", 1, &[]);
    let later = unique("starts-later");
    let sender = Sender::new(&topic, &[]);
    // 2026-01-02 and 2026-01-04.
    sender
        .all(&[record(&events[0]).at(1_767_312_000_000), record(&events[1]).at(1_767_484_800_000)]);
    let at = |start: &str| {
        let more = format!("topics = [{:?}, {later:?}]\nstart = {start:?}", topic.name);
        feed(brokers, &more)
    };
    let latest = Millstream::start("starts-latest", &at("latest"));
    until("its partition is known", || (!latest.ledger("k/").is_empty()).then_some(()));
    let instant = Millstream::start("starts-at", &at("2026-01-03T00:00:00Z"));
    instant.until_read("k/", 1);
    assert_eq!(latest.count("k/", "first"), 2);
    assert_eq!(instant.count("k/", "first"), 1);
    sender.all(&[record(&events[2])]);
    latest.until_read("k/", 1);
    instant.until_read("k/", 2);
    latest.until_alarms("k", "ingest/kafka-no-topic", 1);
    let later = Topic { brokers: brokers.into(), name: later };
    // Not made by the helper: its name is known beforehand.
    later.make(1, &[]);
    Sender::new(&later, &[]).all(&[record(&events[3])]);
    latest.until_read("k/", 2);
    latest.until_alarms("k", "ingest/kafka-no-topic", 0);
    [&latest, &instant].iter().for_each(|it| it.balances("k/"));
}

/// Goal: where a topic begins is chosen once: a process that is killed soon after goes on from there,
/// and what came meanwhile is read. Method: the latest; a record is read only when the choice is
/// kept, here some seconds later; killed as soon as it is, and a record more.
#[test]
fn where_a_topic_begins_is_chosen_once() {
    let (_, events) = generated("once", seed(), 3);
    let topic = Topic::create(Broker::shared().brokers(), "once", 1, &[]);
    let sender = Sender::new(&topic, &[]);
    sender.all(&[record(&events[0])]);
    let more = format!("topics = [{:?}]\nstart = \"latest\"", topic.name);
    let slowly = "[state]\ninterval = \"3s\"\nmax_interval = \"10s\"\n";
    let settings = format!("{}{slowly}", feed(&topic.brokers, &more));
    let mut it = Millstream::start("once", &settings);
    until("its partition is known", || (!it.ledger("k/").is_empty()).then_some(()));
    sender.all(&[record(&events[1])]);
    it.until_read("k/", 1);
    it = it.kill_and_start_again();
    sender.all(&[record(&events[2])]);
    it.until_read("k/", 2);
    assert_eq!((it.count("k/", "first"), it.count("k/", "next")), (1, 3));
    it.balances("k/");
}

/// Goal: a wrong password is an alarm and never printed; corrected, reading begins by itself; an
/// unknown authority is refused; a password whose file is not there is a setting to be mended; other
/// clusters go on. Method: five feeds, the password in a file, and in a variable.
#[test]
fn a_wrong_password_is_told_and_mended() {
    let (_, events) = generated("secure", seed(), 10);
    let broker = Broker::shared();
    let topic = Topic::create(broker.brokers(), "secure", 1, &[]);
    let records: Vec<Record> = events.iter().map(|it| record(it)).collect();
    Sender::new(&topic, &[]).all(&records);
    let folder = wait::folder("secure");
    let (secret, canary) = (folder.join("password"), "canary-4711-never-printed");
    std::fs::write(&secret, canary).unwrap();
    let (address, _, right) = broker.secured(Secured::SaslSsl);
    let one = |name: &str, address: &str, more: &str| {
        let topics = [&topic.name];
        format!(
            "[[kafka]]\nname = {name:?}\nbrokers = [{address:?}]\ntopics = {topics:?}\n{more}\n"
        )
    };
    let absent = folder.join("absent");
    let by = |file: &std::path::Path| {
        let file = file.display().to_string();
        format!("sasl = \"SCRAM-SHA-256\"\nusername = \"scram\"\npassword_file = {file:?}")
    };
    let who = by(&secret);
    let by_variable = format!(
        "tls_ca = {:?}\nsasl = \"SCRAM-SHA-256\"\nusername = \"scram\"\npassword_env = {:?}",
        broker.ca(),
        PASSWORD_VARIABLE
    );
    let own = wait::folder("millstream-secure").join(PASSWORD_VARIABLE);
    std::fs::copy(right.as_ref().unwrap(), own).unwrap();
    let unknown = crate::broker::unknown_ca("secure-unknown");
    let ca = |path: &str| format!("tls_ca = {path:?}\n{who}");
    let settings = [
        one("plain", broker.brokers(), ""),
        one("variable", &address, &by_variable),
        one("secret", &address, &ca(broker.ca())),
        one("unknown", &address, &ca(unknown.to_str().unwrap())),
        one("absent", &address, &format!("tls_ca = {:?}\n{}", broker.ca(), by(&absent))),
    ]
    .concat();
    let it = Millstream::start("secure", &format!("{settings}[engine]\nworkers = 1\n"));
    it.until_read("plain/", 10);
    it.until_read("variable/", 10);
    for (feed, code) in [
        ("secret", "ingest/kafka-refused"),
        ("unknown", "ingest/kafka-refused"),
        ("absent", "ingest/kafka-settings"),
    ] {
        it.until_alarms(feed, code, 1);
    }
    assert_eq!(it.ledger("secret/").len() + it.ledger("unknown/").len(), 0);
    for (feed, file) in [("secret/", &secret), ("absent/", &absent)] {
        std::fs::copy(right.as_ref().unwrap(), file).unwrap();
        it.until_read(feed, 10);
        assert_eq!(it.count(feed, "duplicate"), 10);
    }
    it.until_alarms("absent", "ingest/kafka-settings", 0);
    ["plain/", "secret/", "absent/"].iter().for_each(|feed| it.balances(feed));
    let password = std::fs::read_to_string(&secret).unwrap();
    let shown = [it.said(), it.get("/metrics").unwrap().1, it.json("/v1/ledger").to_string()];
    for shown in shown {
        assert!(!shown.contains(canary) && !shown.contains(password.trim()), "{shown}");
    }
}
