//! Do the helpers do what they say? A test that leans on one of them may.

use crate::broker::Broker;
use crate::client::{CODECS, Record, Sender, read_all, read_uncommitted};
use crate::engine::{Millstream, TENANTS, generated, replayed};
use crate::kcat;
use crate::raw;
use crate::topics::Topic;
use crate::wait::{seed, unique};

fn values(all: &[crate::client::Read]) -> Vec<String> {
    let text = |it: &Option<Vec<u8>>| it.as_deref().map(String::from_utf8_lossy).map(String::from);
    all.iter().map(|it| text(&it.value).unwrap_or("-".into())).collect()
}

/// Goal: what was sent is read back, whatever the codec: keys, repeated and empty headers,
/// tombstones, times. Method: one record of each kind, per codec; kcat reads the same.
#[test]
fn records_come_back_as_they_were_sent() {
    seed();
    for codec in CODECS {
        let topic = Topic::create(Broker::shared().brokers(), "back", 1, &[]);
        let sent = [
            Record::new("k1", "v1").header("a", Some(b"1")).header("a", Some(b"2")),
            Record::tombstone("k1").header("none", None),
            Record { value: Some(vec![]), ..Record::default() },
            Record::new("k2", "v2").at(1_234_567),
        ];
        Sender::new(&topic, &[("compression.type", codec)]).all(&sent);
        let read = read_all(&topic);
        assert_eq!(read.len(), sent.len(), "{codec}");
        for (sent, read) in sent.iter().zip(&read) {
            assert_eq!((&read.key, &read.value), (&sent.key, &sent.value), "{codec}");
            assert_eq!(read.headers, sent.headers, "{codec}");
        }
        assert_eq!(read[3].timestamp, Some(1_234_567));
        let other = kcat::consume(&topic);
        assert_eq!(other.len(), 4, "{codec}");
        assert_eq!((&other[0].key, &other[3].value), (&read[0].key, &read[3].value), "{codec}");
    }
}

/// Goal: records are there with the times that producers get wrong. Method: zero, before 1970, and
/// far in the future, which a broker takes only where it is told to.
#[test]
fn any_time_can_be_sent() {
    seed();
    let brokers = Broker::shared().brokers();
    let times = [0, -1, -5_000, 4_102_444_800_000]; // the last one is 2100
    let send = |topic: &Topic| {
        let record = |at: i64| Record::new("k", at.to_string()).at(at).header("h", Some(b"v"));
        times.map(|it| raw::send(topic, &record(it)))
    };
    const INVALID_TIMESTAMP: i16 = 32;
    let topic = Topic::create(brokers, "times", 1, &[]);
    assert_eq!(send(&topic), [Ok(0), Ok(1), Ok(2), Err(INVALID_TIMESTAMP)]);
    let open = [("message.timestamp.after.max.ms", "9223372036854775807")];
    let topic = Topic::create(brokers, "times-open", 1, &open);
    assert_eq!(send(&topic), [Ok(0), Ok(1), Ok(2), Ok(3)]);
    let read = read_all(&topic);
    // -1 is how the protocol says that there is none.
    let found: Vec<_> = read.iter().map(|it| it.timestamp).collect();
    assert_eq!(found, [Some(0), None, Some(-5_000), Some(times[3])]);
    assert_eq!((values(&read)[3].clone(), read[3].headers.len()), (times[3].to_string(), 1));
}

/// Goal: what is aborted is not read; markers take offsets. Method: two transactions of two ids,
/// one aborted.
#[test]
fn an_aborted_transaction_is_not_there() {
    seed();
    let topic = Topic::create(Broker::shared().brokers(), "transactions", 1, &[]);
    let [kept, aborted] = ["kept", "aborted"].map(|it| Sender::transactional(&topic, &unique(it)));
    for sender in [&kept, &aborted] {
        sender.begin();
    }
    kept.send(&Record::new("k", "kept"));
    kept.answers();
    aborted.send(&Record::new("k", "aborted"));
    aborted.answers();
    kept.commit();
    aborted.abort();
    assert_eq!(values(&read_all(&topic)), ["kept"]);
    assert_eq!(values(&read_uncommitted(&topic)), ["kept", "aborted"]);
    assert_eq!(topic.watermarks(0), (0, 4), "two records, two markers");
}

/// Goal: topics are cut, grown and made again. Method: what the broker says afterwards.
#[test]
fn topics_are_cut_grown_and_made_again() {
    seed();
    let topic = Topic::create(Broker::shared().brokers(), "life", 2, &[]);
    let sender = Sender::new(&topic, &[]);
    let records: Vec<_> = (0..20).map(|n| Record::new("k", n.to_string()).on(n % 2)).collect();
    sender.all(&records);
    topic.delete_records(1, 7);
    assert_eq!((topic.watermarks(0), topic.watermarks(1)), ((0, 10), (7, 10)));
    topic.grow(3);
    // A client that is there already hears of it minutes later.
    Sender::new(&topic, &[]).all(&[Record::new("k", "new").on(2)]);
    assert_eq!(read_all(&topic).len(), 14);
    topic.recreate(1, &[("max.message.bytes", "1000")]);
    assert_eq!(topic.watermarks(0), (0, 0));
    let sender = Sender::new(&topic, &[]);
    sender.send(&Record::new("k", "x".repeat(2_000)));
    sender.answers()[0].expect_err("more than the topic takes");
}

/// Goal: kcat sends events in both modes. Method: our client reads their headers and values.
#[test]
fn kcat_sends_events_in_both_modes() {
    let seed = seed();
    let (_, events) = generated("kcat", seed, 20);
    let topic = Topic::create(Broker::shared().brokers(), "kcat", 1, &[]);
    kcat::produce_structured(&topic, &events, "zstd");
    kcat::produce_binary(&topic, &events[..3], "gzip");
    let read = read_all(&topic);
    assert_eq!(values(&read)[..20], events);
    for (read, event) in read[20..].iter().zip(&events) {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        let header = |name: &str| {
            let found = read.headers.iter().find(|it| it.0 == name).unwrap();
            String::from_utf8(found.1.clone().unwrap()).unwrap()
        };
        for name in ["id", "source", "type", "time", "tenant"] {
            assert_eq!(header(&format!("ce_{name}")), event[name]);
        }
        let data: serde_json::Value = serde_json::from_slice(read.value.as_ref().unwrap()).unwrap();
        assert_eq!((data, read.key.is_some()), (event["data"].clone(), true));
    }
}

/// Goal: the digests that a client sees over HTTP are those of a replay, and the ledger adds up,
/// also after a crash: without it, no comparison of a feed with its file means anything. Method: a
/// file as a feed.
#[test]
fn digests_over_http_are_those_of_a_replay() {
    let seed = seed();
    let (file, events) = generated("digests", seed, 3_000);
    let settings = format!("[[feed]]\nname = \"own\"\npath = {:?}\n", file.display().to_string());
    let expected = replayed(&file, &[]);
    assert!(expected.len() > 3 && expected["orders"].0 > 10, "{expected:?}");
    let mut it = Millstream::start("digests", &settings);
    it.until_read("own", events.len() as u64);
    it.balances("own");
    assert_eq!(it.digests(&TENANTS), expected);
    assert!((1 << 20..1 << 32).contains(&it.resident_bytes()));
    it = it.kill_and_start_again();
    it.until_read("own", events.len() as u64);
    assert_eq!(it.digests(&TENANTS), expected);
    assert_eq!(it.stop(), 0, "{}", it.said());
}
