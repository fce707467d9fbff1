//! Another client than the product's: sends anything, in transactions or not, and reads it back.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::topics::Topic;
use crate::wait::PATIENCE;

/// The codecs of Kafka.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// A record, as it is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    /// None: a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// CreateTime, milliseconds; now if absent.
    pub timestamp: Option<i64>,
}

impl Record {
    pub fn new(key: &str, value: impl AsRef<[u8]>) -> Record {
        let (key, value) = (Some(key.into()), Some(value.as_ref().to_vec()));
        Record { key, value, ..Record::default() }
    }
    pub fn tombstone(key: &str) -> Record {
        Record { key: Some(key.into()), ..Record::default() }
    }
    pub fn on(mut self, partition: i32) -> Record {
        self.partition = Some(partition);
        self
    }
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Record {
        self.headers.push((name.into(), value.map(<[u8]>::to_vec)));
        self
    }
    pub fn at(mut self, millis: i64) -> Record {
        self.timestamp = Some(millis);
        self
    }
}

/// A record, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What became of each record, in the order of the answers.
#[derive(Default)]
pub struct Answers(Mutex<Vec<Result<(i32, i64), RDKafkaErrorCode>>>);

impl ClientContext for Answers {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Answers {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.lock().unwrap().push(match result {
            Ok(it) => Ok((it.partition(), it.offset())),
            Err((why, _)) => Err(why.rdkafka_error_code().unwrap()),
        });
    }
}

/// Sends records to one topic.
pub struct Sender {
    producer: BaseProducer<Answers>,
    topic: String,
}

impl Sender {
    /// With these of librdkafka's settings, such as `("compression.type", "zstd")`.
    pub fn new(topic: &Topic, settings: &[(&str, &str)]) -> Sender {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &topic.brokers).set("enable.idempotence", "true");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let producer = config.create_with_context(Answers::default()).unwrap();
        Sender { producer, topic: topic.name.clone() }
    }

    /// In transactions of this id: between [`Sender::begin`] and its end.
    pub fn transactional(topic: &Topic, id: &str) -> Sender {
        let it = Sender::new(topic, &[("transactional.id", id)]);
        it.producer.init_transactions(PATIENCE).unwrap();
        it
    }
    pub fn begin(&self) {
        self.producer.begin_transaction().unwrap();
    }
    pub fn commit(&self) {
        self.producer.commit_transaction(PATIENCE).unwrap();
    }
    pub fn abort(&self) {
        self.producer.abort_transaction(PATIENCE).unwrap();
    }

    pub fn send(&self, record: &Record) {
        let mut it: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
        it.key = record.key.as_deref();
        it.payload = record.value.as_deref();
        it.partition = record.partition;
        it.timestamp = record.timestamp;
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: value.as_deref() });
            }
            it = it.headers(headers);
        }
        loop {
            match self.producer.send(it) {
                Ok(()) => return self.producer.poll(Duration::ZERO),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    it = back;
                    self.producer.poll(Duration::from_millis(50));
                }
                // Too large for the client itself: answered as if the broker had said it.
                Err((why, _)) => {
                    let code = why.rdkafka_error_code().unwrap();
                    return self.producer.context().0.lock().unwrap().push(Err(code));
                }
            }
        }
    }

    /// Waits for every answer and gives them: partition and offset, or the code of the refusal.
    pub fn answers(&self) -> Vec<Result<(i32, i64), RDKafkaErrorCode>> {
        self.producer.flush(PATIENCE).unwrap();
        std::mem::take(&mut self.producer.context().0.lock().unwrap())
    }

    /// Sends all, and fails unless each is kept.
    pub fn all<'a>(&self, records: impl IntoIterator<Item = &'a Record>) {
        records.into_iter().for_each(|it| self.send(it));
        for it in self.answers() {
            it.unwrap();
        }
    }
}

/// Everything in a topic, committed, by partition and offset.
pub fn read_all(topic: &Topic) -> Vec<Read> {
    read(topic, "read_committed")
}

/// With what was aborted, too.
pub fn read_uncommitted(topic: &Topic) -> Vec<Read> {
    read(topic, "read_uncommitted")
}

fn read(topic: &Topic, isolation: &str) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.brokers)
        .set("group.id", "live-tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .set("check.crcs", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    let mut open = topic.partitions();
    assert!(open > 0, "{} is not there", topic.name);
    for it in 0..open {
        list.add_partition_offset(&topic.name, it, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut found = BTreeMap::new();
    while open > 0 {
        match consumer.poll(PATIENCE).expect("a record, or the end") {
            Ok(it) => {
                let headers = it.headers().map_or(vec![], |all| {
                    let own = |it: Header<'_, &[u8]>| (it.key.into(), it.value.map(<[u8]>::to_vec));
                    all.iter().map(own).collect()
                });
                let (key, value) = (it.key().map(<[u8]>::to_vec), it.payload().map(<[u8]>::to_vec));
                let (partition, offset) = (it.partition(), it.offset());
                let timestamp = it.timestamp().to_millis();
                let read = Read { partition, offset, timestamp, key, value, headers };
                assert_eq!(found.insert((partition, offset), read), None, "one offset, twice");
            }
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {}
            Err(why) => panic!("{why}"),
        }
    }
    found.into_values().collect()
}
