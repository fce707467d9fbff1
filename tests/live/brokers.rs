//! What `scripts/kafka` promises: data survive a crash, a paused broker is silent, a reset one new.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::client::{Record, Sender, read_all};
use crate::topics::Topic;
use crate::wait::{seed, until};

/// Goal: a killed broker is back within seconds with everything that it acknowledged; in order it
/// stops as well; reset makes another cluster. Method: records and cluster id before and after.
#[test]
fn a_killed_broker_comes_back_with_its_data() {
    seed();
    let broker = Broker::own("killed", &["message.max.bytes=2000000"]);
    let topic = Topic::create(broker.brokers(), "kept", 2, &[]);
    let records: Vec<_> = (0..1_000).map(|n| Record::new(&format!("k{n}"), "v")).collect();
    Sender::new(&topic, &[]).all(&records);
    let cluster = broker.status()["cluster_id"].clone();

    broker.kill();
    assert_eq!(broker.status()["state"], "stopped");
    let began = Instant::now();
    broker.start();
    println!("back {:.1} s after SIGKILL", began.elapsed().as_secs_f64());
    assert_eq!(read_all(&topic).len(), records.len());

    broker.stop();
    broker.start();
    assert_eq!(read_all(&topic).len(), records.len());
    assert_eq!(broker.status()["cluster_id"], cluster);

    broker.reset();
    broker.start();
    assert_ne!(broker.status()["cluster_id"], cluster);
    assert_eq!(topic.partitions(), 0);
}

/// Goal: a paused broker answers nobody and goes on where it was. Method: its state, a record that
/// is acknowledged only afterwards.
#[test]
fn a_paused_broker_is_silent_and_goes_on() {
    seed();
    let broker = Broker::own("paused", &[]);
    let topic = Topic::create(broker.brokers(), "paused", 1, &[]);
    let sender = Sender::new(&topic, &[]);
    sender.all(&[Record::new("k", "before")]);
    broker.pause();
    assert_eq!(broker.status()["state"], "paused");
    let paused = Instant::now();
    sender.send(&Record::new("k", "meanwhile"));
    until("a second has passed", || (paused.elapsed() > Duration::from_secs(1)).then_some(()));
    assert_eq!(broker.status()["state"], "paused");
    broker.go_on();
    assert!(sender.answers()[0].is_ok());
    assert_eq!(read_all(&topic).len(), 2);
    assert_eq!(broker.status()["state"], "running");
}
