//! A partition at work: its queue, its chunk in the making, how far it is to be read.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::Batches;
use super::chunks::Building;
use super::clients::Ear;
use super::damage::Search;
use super::shared::{Lane, Shared};

/// A partition at work. The queue is dropped before the consumer.
pub(super) struct Work {
    pub(super) queue: Option<Batches<Ear>>,
    pub(super) lane: Arc<Lane>,
    pub(super) building: Building,
    pub(super) until: Option<u64>,
    /// Bytes of a record, on average of the last turn.
    pub(super) record_bytes: usize,
    /// It has met what cannot be read, and looks for what can.
    pub(super) search: Option<Search>,
}

impl Work {
    pub(super) fn is_done(&self) -> bool {
        self.until.is_some_and(|it| self.building.next() >= it)
    }

    /// Its name has another topic now; control has it left.
    pub(super) fn is_another(&self) -> bool {
        self.lane.topic.another.get().is_some()
    }

    pub(super) fn note(&self) {
        self.lane.next.store(self.building.next(), SeqCst);
    }

    /// Its records come to us, not to the consumer's queue; to be done before it is assigned.
    pub(super) fn detach(&mut self, consumer: &Arc<BaseConsumer<Ear>>, shared: &Arc<Shared>) {
        let ring = Arc::clone(shared);
        let (topic, number) = (&self.lane.topic.name, self.lane.number);
        self.queue = Batches::of(consumer, topic, number, move || ring.ring_reader());
        if self.queue.is_none() {
            shared.broken.store(true, SeqCst);
            shared.ring_control();
        }
    }
}

/// Partitions, each at its next offset.
pub(super) fn list(works: &[&Work]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for it in works {
        add(&mut list, it, it.building.next())?;
    }
    Ok(list)
}

/// One partition, at this offset.
pub(super) fn list_at(work: &Work, offset: u64) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    add(&mut list, work, offset)?;
    Ok(list)
}

fn add(list: &mut TopicPartitionList, work: &Work, offset: u64) -> KafkaResult<()> {
    let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(&work.lane.topic.name, work.lane.number, offset)
}
