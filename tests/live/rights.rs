//! What a user may not read is an alarm of that topic alone, and is read once the user may.

use crate::acls::{self, Right};
use crate::broker::{Broker, Secured};
use crate::client::{Record, Sender};
use crate::engine::{Millstream, TENANTS, generated, replayed};
use crate::source::record;
use crate::topics::Topic;
use crate::wait::{seed, until};

/// Goal: a topic that is refused, wholly or for reading alone, from the start or later, is told and
/// taken up by itself when the right is given; the others go on meanwhile; nothing is lost. Method:
/// three topics of a broker that asks for rights; those of two are given and taken back.
#[test]
fn a_refused_topic_is_told_and_taken_up() {
    let seed = seed();
    let (file, events) = generated("rights", seed, 300);
    let broker = Broker::own("rights", acls::ASKING);
    let topics = ["open", "unseen", "unread"].map(|it| Topic::create(broker.brokers(), it, 1, &[]));
    let [open, unseen, unread] = &topics;
    let user = "plain";
    // A rule of somebody else: from now on nobody may what no rule allows.
    acls::allow(unseen, "somebody", Right::Read);
    acls::allow(unread, user, Right::Describe);
    let send = |topic: &Topic, from: usize, to: usize| {
        let records: Vec<Record> = events[from..to].iter().map(|it| record(it)).collect();
        Sender::new(topic, &[]).all(&records);
    };
    send(open, 0, 50);
    send(unseen, 50, 100);
    send(unread, 100, 150);
    let (address, _, password) = broker.secured(Secured::SaslPlaintext);
    let names = topics.each_ref().map(|it| it.name.as_str());
    let it = Millstream::start(
        "rights",
        &format!(
            "[[kafka]]\nname = \"k\"\nbrokers = [{address:?}]\ntopics = {names:?}\n\
             sasl = \"PLAIN\"\nusername = {user:?}\npassword_file = {:?}\n",
            password.unwrap().display().to_string()
        ),
    );
    let alarms = |n: usize| {
        let line = format!("kafka_alarms{{feed=\"k\",alarm=\"ingest/kafka-refused\"}} {n}");
        until(&line, || it.get("/metrics")?.1.contains(&line).then_some(()));
    };
    let feed = |topic: &Topic| format!("k/{}", topic.name);
    it.until_read(&feed(open), 50);
    alarms(2);
    assert_eq!((it.count(&feed(unseen), "read"), it.count(&feed(unread), "read")), (0, 0));
    let said = it.said();
    for topic in [unseen, unread] {
        assert!(said.contains(&feed(topic)), "{said}");
    }

    acls::allow(unseen, user, Right::Read);
    it.until_read(&feed(unseen), 50);
    acls::allow(unread, user, Right::Read);
    it.until_read(&feed(unread), 50);
    alarms(0);

    // While it is read.
    acls::take_back(unread, user, Right::Read);
    send(unread, 150, 200);
    alarms(1);
    send(open, 200, 300);
    it.until_read(&feed(open), 150);
    acls::allow(unread, user, Right::Read);
    it.until_read(&feed(unread), 100);
    alarms(0);
    it.balances("k/");
    assert!(!it.said().contains("ingest/kafka-stuck"), "{}", it.said());
    assert_eq!(it.digests(&TENANTS), replayed(&file, &[]));
}
