//! How far the partitions reach, once a second, and what that means for each.
//!
//! # Meaning
//! The end is the stable one: what open transactions hide is not there yet. What lies below the
//! log's beginning is lost, and counted; what lies beyond its end was read from another topic. A
//! partition that stands still although records wait gets a new consumer ([`super::progress`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::clients::{ANSWER, Ear};
use super::control::{Control, End, LOOK};
use super::progress::{Seen, Verdict};
use super::shared::{Lane, Order};
use super::trouble;
use crate::clock;
use crate::metrics::{OfFeed, OfPartition};
use crate::report::{Report, log_report};

/// New consumers without a record before the process is to end.
const REBUILDS: u32 = 3;
/// Partitions with metrics of their own; a label is not to be had for the asking.
const MAX_SHOWN: usize = 1_000;

impl Control {
    /// Ends of all partitions, what they mean, and what the reader met.
    pub(super) fn look(&mut self, client: &BaseConsumer<Ear>) -> Result<(), End> {
        let lanes: Vec<Arc<Lane>> =
            self.known.values().filter(|it| !it.left).flat_map(|it| it.lanes.clone()).collect();
        let asked: Vec<&Lane> = lanes.iter().map(|it| &**it).collect();
        let now = clock::since(self.started).as_millis() as u64;
        let name = self.plan.settings.name.clone();
        let brokers = self.plan.settings.brokers.join(",");
        let ends = match offsets(client, &asked, Offset::End) {
            Ok(ends) => {
                self.alarms.clear("ingest/kafka-unreachable", &name);
                ends
            }
            Err(why) => {
                // A broker that is away: the client finds it again by itself, and so does the
                // consumer. Neither is touched.
                let told = || trouble::not_connected(&name, &brokers, None, &why);
                self.alarms.raise(&name, told);
                BTreeMap::new()
            }
        };
        // Of those that we may read.
        let mut known = lanes.iter().filter(|it| !it.is_refused());
        let told = known.all(|it| ends.contains_key(&(it.topic.feed, it.number)));
        if self.silence.look(told, self.answers, now) {
            tracing::error!(
                code = "ingest/kafka-stuck",
                feed = name,
                "the cluster answers, but not how far every partition reaches; new clients ask"
            );
            return Err(End::Again);
        }
        let full_at = self.shared.full_at_ms.load(SeqCst);
        let full = full_at > 0 && now.saturating_sub(full_at) < 2 * LOOK.as_millis() as u64;
        let mut stuck = None;
        for (n, lane) in lanes.iter().enumerate() {
            let key = (lane.topic.feed, lane.number);
            let waits = lane.held.load(SeqCst) && !self.is_recorded(lane);
            lane.held.store(waits, SeqCst);
            if lane.out_of_range.load(SeqCst) {
                self.out_of_range(client, lane)?;
            }
            let next = lane.next.load(SeqCst);
            if let Some(Some(end)) = ends.get(&key) {
                lane.end.fetch_max(*end, SeqCst);
            }
            let end = lane.end.load(SeqCst);
            let high = self.shared.heard.high(&lane.topic.name, lane.number);
            let stamp = lane.stamp_ms.load(Relaxed).max(0).unsigned_abs();
            let (progress, behind) = self.progress.entry(key).or_default();
            let behind_ms = behind.look(next, end, (self.hooks.now_ms)(), stamp);
            (self.hooks.tail)(lane.partition(), end, behind_ms);
            if self.stood.is_some_and(|it| it.0 == key && next > it.1) {
                // The new consumer brings records: it is a good one.
                (self.stood, self.rebuilds) = (None, 0);
            }
            // Answers that bring no record are no stall: they say how far it is damaged.
            let asks = lane.searches.swap(false, SeqCst);
            let full = full || waits || asks;
            // Without the cluster's answer nothing is judged: what we know of the end is old.
            let verdict = match ends.contains_key(&key) {
                true => progress.look(Seen { next, end, high, full }, now),
                false => {
                    progress.again(now);
                    Verdict::Fine
                }
            };
            let about = format!("{} {}", lane.topic.feed_name, lane.number);
            match verdict {
                Verdict::Held => self.alarms.raise(&about, || held(lane, end, high)),
                _ if ends.contains_key(&key) => {
                    self.alarms.clear("ingest/kafka-open-transaction", &about);
                }
                _ => {}
            }
            // librdkafka asks again by itself, and goes on when it may.
            let refused = lane.is_refused();
            match refused {
                true => {
                    let (code, feed) = (Code::TopicAuthorizationFailed, &lane.topic.feed_name);
                    let words = code.to_string();
                    let told = || trouble::not_connected(feed, &brokers, Some(code), &words);
                    self.alarms.raise(&about, told);
                }
                false => self.alarms.clear("ingest/kafka-refused", &about),
            }
            // Out of range is not asking: its own answer is on the way.
            if verdict == Verdict::Stuck && !refused && !lane.out_of_range.load(SeqCst) {
                stuck = Some((Arc::clone(lane), next, end));
            }
            if n < MAX_SHOWN {
                self.show(lane, Seen { next, end, high, full }, behind_ms);
            }
        }
        self.metrics
            .kafka_waits
            .get_or_create(&OfFeed { feed: name.clone() })
            .raise_to(self.shared.waits.load(Relaxed));
        if let Some((lane, next, end)) = stuck {
            if self.rebuilds >= REBUILDS {
                let feed = &lane.topic.feed_name;
                let report = trouble::stuck(feed, lane.number, next, end, self.rebuilds);
                return Err(End::Fatal(report));
            }
            self.rebuilds += 1;
            self.stood = Some(((lane.topic.feed, lane.number), next));
            tracing::error!(
                code = "ingest/kafka-stuck",
                feed = lane.topic.feed_name,
                partition = lane.number,
                next,
                end,
                attempt = self.rebuilds,
                "records wait and do not come; a new consumer reads on"
            );
            for (progress, _) in self.progress.values_mut() {
                progress.again(now);
            }
            return self.open();
        }
        if self.shared.broken.swap(false, SeqCst) {
            return self.open();
        }
        Ok(())
    }

    /// A checkpoint knows where it begins.
    fn is_recorded(&self, lane: &Lane) -> bool {
        self.hooks.durable.as_ref().is_none_or(|it| it(lane.partition()).is_some())
    }

    fn show(&self, lane: &Lane, seen: Seen, behind_ms: u64) {
        let Seen { next, end, high, .. } = seen;
        let of = OfPartition {
            feed: lane.topic.feed_name.clone(),
            partition: lane.number.unsigned_abs(),
        };
        let m = &self.metrics;
        m.kafka_position.get_or_create(&of).set(next.cast_signed());
        m.kafka_end.get_or_create(&of).set(end.cast_signed());
        m.kafka_high_watermark.get_or_create(&of).set(high.max(end).cast_signed());
        m.kafka_lag.get_or_create(&of).set(end.saturating_sub(next).cast_signed());
        m.kafka_lag_seconds.get_or_create(&of).set(behind_ms as f64 / 1e3);
        m.kafka_bytes.get_or_create(&of).raise_to(lane.bytes.load(Relaxed));
    }

    /// The broker does not have what we asked for: removed, or another topic.
    fn out_of_range(&mut self, client: &BaseConsumer<Ear>, lane: &Arc<Lane>) -> Result<(), End> {
        let wait = ANSWER;
        let answer = client.fetch_watermarks(&lane.topic.name, lane.number, wait);
        // It is asked again at the next look.
        let Ok((low, high)) = answer else { return Ok(()) };
        let (low, high) = (low.max(0).unsigned_abs(), high.max(0).unsigned_abs());
        let next = lane.next.load(SeqCst);
        lane.out_of_range.store(false, SeqCst);
        let feed = lane.topic.feed_name.clone();
        // The stable end may be below an offset that is there: only the log's end tells.
        let end = high.max(self.shared.heard.high(&lane.topic.name, lane.number));
        if next > end {
            self.leave(&lane.topic.name, trouble::past_the_end(&feed, lane.number, next, end))
        } else {
            if next < low {
                let report = trouble::lost(&feed, lane.number, next, low);
                log_report!(error, report, "offsets of a topic are gone");
            }
            self.order(Order::Again(lane.partition(), low.max(next)))
        }
    }

    /// Tells the group how far checkpoints reach. A courtesy: whatever becomes of it.
    pub(super) fn commit(&self, client: &BaseConsumer<Ear>) {
        let Some(durable) = &self.hooks.durable else { return };
        let mut list = TopicPartitionList::new();
        for lane in self.known.values().filter(|it| !it.left).flat_map(|it| &it.lanes) {
            let Some(next) = durable(lane.partition()) else { continue };
            let next = Offset::Offset(next.cast_signed());
            if let Err(why) = list.add_partition_offset(&lane.topic.name, lane.number, next) {
                tracing::debug!(%why, "an offset was not told");
            }
        }
        if list.count() > 0
            && let Err(why) = client.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%why, "the group was not told how far we are");
        }
    }
}

/// Offsets by partition. `None`: nothing that late is there yet.
pub(super) type Offsets = BTreeMap<(u16, i32), Option<u64>>;

/// Offsets of partitions, in one question: the stable end, the beginning, or of a time (as
/// `Offset::Offset`). Those without an answer are left out.
pub(super) fn offsets(
    client: &BaseConsumer<Ear>,
    lanes: &[&Lane],
    of: Offset,
) -> Result<Offsets, String> {
    if lanes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut list = TopicPartitionList::new();
    for lane in lanes {
        let added = list.add_partition_offset(&lane.topic.name, lane.number, of);
        added.map_err(|it| it.to_string())?;
    }
    let answer = client.offsets_for_times(list, ANSWER).map_err(|it| it.to_string())?;
    let mut found = BTreeMap::new();
    for (lane, it) in lanes.iter().flat_map(|lane| {
        let it = answer.find_partition(&lane.topic.name, lane.number);
        it.map(|it| (lane, it))
    }) {
        let key = (lane.topic.feed, lane.number);
        match it.offset() {
            _ if it.error().is_err() => {}
            Offset::Offset(at) => {
                found.extend(u64::try_from(at).ok().map(|at| (key, Some(at))));
            }
            Offset::End => {
                found.insert(key, None);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn held(lane: &Lane, end: u64, high: u64) -> Report {
    Report {
        code: "ingest/kafka-open-transaction",
        what: "cannot read on: a transaction is open".into(),
        at: vec![
            ("feed", lane.topic.feed_name.clone()),
            ("partition", lane.number.to_string()),
            ("offset", end.to_string()),
        ],
        why: format!("the partition reaches to {high}, but nothing from {end} on is final"),
        effect: "records behind the transaction wait; nothing is lost; other partitions go on"
            .into(),
        fix: "end or abort the producer's transaction (`kafka-transactions.sh find-hanging`); the \
              broker aborts it after the producer's transaction.timeout.ms"
            .into(),
    }
}
