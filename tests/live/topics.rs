//! Topics made, grown, cut, deleted and made again, as an operator would.

use std::future::Future;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::wait::{PATIENCE, unique, until};

type Admin = AdminClient<DefaultClientContext>;

/// A topic on some brokers.
#[derive(Clone, Debug)]
pub struct Topic {
    pub brokers: String,
    pub name: String,
}

impl Topic {
    /// A new topic with a name of its own, and these settings of it.
    pub fn create(brokers: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        let topic = Topic { brokers: brokers.into(), name: unique(name) };
        topic.make(partitions, settings);
        topic
    }

    /// Made again under the same name; another topic to those who ask for its id.
    pub fn recreate(&self, partitions: i32, settings: &[(&str, &str)]) {
        self.delete();
        self.make(partitions, settings);
    }

    /// With the name that it has.
    pub fn make(&self, partitions: i32, settings: &[(&str, &str)]) {
        let mut wanted = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            wanted = wanted.set(name, value);
        }
        // One that was just deleted is still there for a moment.
        until("the topic can be made", || {
            let made = block_on(self.admin().create_topics([&wanted], &options())).unwrap();
            match &made[0] {
                Ok(_) => Some(()),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
                Err(why) => panic!("{}: {why:?}", self.name),
            }
        });
        until("the topic is there", || (self.partitions() == partitions).then_some(()));
    }

    pub fn delete(&self) {
        let done = block_on(self.admin().delete_topics(&[&self.name], &options())).unwrap();
        done[0].as_ref().unwrap_or_else(|why| panic!("{why:?}"));
        until("the topic is gone", || (self.partitions() == 0).then_some(()));
    }

    /// So many partitions from now on.
    pub fn grow(&self, partitions: i32) {
        let wanted = NewPartitions::new(&self.name, partitions as usize);
        let done = block_on(self.admin().create_partitions([&wanted], &options())).unwrap();
        done[0].as_ref().unwrap_or_else(|why| panic!("{why:?}"));
        until("the partitions are there", || (self.partitions() == partitions).then_some(()));
    }

    /// How many there are; 0 for a topic that is not there.
    pub fn partitions(&self) -> i32 {
        let admin = self.admin();
        // All topics: asking for one by name may make it.
        let all = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        let found = all.topics().iter().find(|it| it.name() == self.name);
        found.map_or(0, |it| it.partitions().len() as i32)
    }

    /// The first offset that is there, and the next to be written.
    pub fn watermarks(&self, partition: i32) -> (i64, i64) {
        self.admin().inner().fetch_watermarks(&self.name, partition, PATIENCE).unwrap()
    }

    /// Everything below this offset is removed.
    pub fn delete_records(&self, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(before)).unwrap();
        let done = block_on(self.admin().delete_records(&list, &options())).unwrap();
        for it in done.elements() {
            it.error().unwrap();
        }
        until("the records are gone", || (self.watermarks(partition).0 >= before).then_some(()));
    }

    fn admin(&self) -> Admin {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))
}

fn block_on<T>(it: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(it)
}
