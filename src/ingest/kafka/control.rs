//! Asks the cluster, and decides: which partitions are read, from where, whether they go on.
//!
//! In: what the cluster answers once a second, what the reader met. Out: [`Order`]s; alarms; how
//! far the partitions reach.
//!
//! # Invariants
//! - It has connections of its own: on the reading consumer's, a question waits behind its fetches.
//! - Whatever goes wrong with one topic, the others go on; whatever goes wrong here, other feeds do.
//! - Nothing ends this without a report: a fatal error ends the process, and everything else is
//!   tried again, after 0.2 s to 5 s, and shown as an alarm until it is mended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::alarms::Alarms;
use super::clients::{self, ANSWER, CannotMake, Ear};
use super::progress::{Behind, Progress, Seen, Verdict};
use super::shared::{Lane, Order, Shared, Topic};
use super::trouble::{self, Kind};
use super::{Hooks, Plan};
use crate::clock;
use crate::metrics::{Metrics, OfPartition, OfTrouble};
use crate::report::Report;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);
/// How often topics, partitions and their ids are asked for.
const DISCOVER: Duration = Duration::from_secs(2);
/// How often the group is told how far we are.
const COMMIT: Duration = Duration::from_secs(5);
/// First and longest wait before a connection is tried again; jittered by half.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// New consumers without a record before the process is to end.
const REBUILDS: u32 = 3;
/// A replay that does not reach its cluster for so long ends.
const REPLAY_PATIENCE: Duration = Duration::from_secs(30);
/// Partitions with metrics of their own; a label is not to be had for the asking.
const MAX_SHOWN: usize = 1_000;

/// A topic that we know.
pub(super) struct Known {
    pub(super) topic: Arc<Topic>,
    pub(super) id: String,
    pub(super) lanes: Vec<Arc<Lane>>,
    /// Another topic has its name: it is not read any more.
    pub(super) left: bool,
}

pub(super) struct Control {
    pub(super) plan: Plan,
    pub(super) hooks: Hooks,
    pub(super) orders: Sender<Order>,
    pub(super) shared: Arc<Shared>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) metrics: Metrics,
    pub(super) alarms: Alarms,
    pub(super) started: Instant,
    pub(super) cluster: Option<String>,
    pub(super) known: BTreeMap<String, Known>,
    /// The first look has been done: what is found from now on is new.
    pub(super) looked: bool,
    pub(super) progress: BTreeMap<(u16, i32), (Progress, Behind)>,
    pub(super) rebuilds: u32,
    /// The partition that new consumers were made for, and where it stood.
    pub(super) stood: Option<((u16, i32), u64)>,
}

/// Why a connection ended.
pub(super) enum End {
    /// Told to.
    Stopped,
    /// Try again later.
    Again,
    /// The process is to end.
    Fatal(Report),
}

impl Control {
    /// Until told to stop, or the process is to end.
    pub(super) fn run(mut self) -> Result<(), Report> {
        self.shared.i_control();
        let mut failures = 0_u32;
        loop {
            let connected = clock::monotonic();
            let end = self.connection().unwrap_or_else(|it| it);
            match end {
                End::Stopped => {
                    self.shared.end();
                    return Ok(());
                }
                End::Fatal(report) => {
                    self.shared.end();
                    (self.hooks.on_fatal)(&report);
                    return Err(report);
                }
                End::Again => {}
            }
            // The consumer keeps what it has; without a working control client it is not trusted.
            self.order(Order::Close).ok();
            failures = if clock::since(connected) > BACKOFF.1 * 2 { 0 } else { failures + 1 };
            if !self.wait(backoff(failures)) {
                self.shared.end();
                return Ok(());
            }
        }
    }

    /// One connection's life.
    fn connection(&mut self) -> Result<End, End> {
        let heard = Arc::clone(&self.shared.heard);
        drop(heard.take_cause());
        let client = clients::control(&self.plan.settings, &heard).map_err(|it| self.made(&it))?;
        self.greet(&client)?;
        self.discover(&client)?;
        self.open()?;
        if self.plan.until_end {
            self.order(Order::All)?;
        }
        let mut discovered = clock::monotonic();
        let mut committed = clock::monotonic();
        loop {
            if !self.wait(LOOK) {
                return Ok(End::Stopped);
            }
            self.hear(&client)?;
            if clock::since(discovered) >= DISCOVER {
                self.discover(&client)?;
                discovered = clock::monotonic();
            }
            self.look(&client)?;
            if clock::since(committed) >= COMMIT && !self.plan.until_end {
                self.commit(&client);
                committed = clock::monotonic();
            }
        }
    }

    /// A new consumer for everything that is read.
    fn open(&mut self) -> Result<(), End> {
        let partitions = self.known.values().map(|it| it.lanes.len()).sum();
        let heard = Arc::clone(&self.shared.heard);
        let consumer = clients::reading(&self.plan.settings, partitions, &heard)
            .map_err(|it| self.made(&it))?;
        self.shared.broken.store(false, SeqCst);
        self.order(Order::Open(Arc::new(consumer)))
    }

    /// Waits for the cluster's id, and holds it against the one that we know.
    fn greet(&mut self, client: &BaseConsumer<Ear>) -> Result<(), End> {
        let mut found = None;
        // In pieces, so that a refusal is heard before the whole wait is over.
        for _ in 0..10 {
            found = client.client().fetch_cluster_id(ANSWER / 10);
            listen(client);
            if found.is_some() || self.stopped() {
                break;
            }
            if let Some((code, words)) = self.refusal() {
                return Err(self.not_connected(Some(code), &words));
            }
        }
        let Some(found) = found else {
            let cause = self.shared.heard.take_cause();
            let (code, words) = cause.map_or((None, String::new()), |it| (Some(it.0), it.1));
            return Err(self.not_connected(code, &words));
        };
        let name = self.plan.settings.name.clone();
        if let Some(was) = self.cluster.clone().filter(|it| *it != found) {
            self.alarms.raise(&name, || trouble::another_cluster(&name, &was, &found));
            return Err(End::Again);
        }
        self.cluster = Some(found);
        for code in [
            "ingest/kafka-unreachable",
            "ingest/kafka-refused",
            "ingest/kafka-settings",
            "ingest/kafka-another-cluster",
        ] {
            self.alarms.clear(code, &name);
        }
        Ok(())
    }

    /// What the clients have said since the last look.
    fn hear(&mut self, client: &BaseConsumer<Ear>) -> Result<(), End> {
        listen(client);
        if let Some((code, words)) = self.refusal() {
            return match trouble::kind(code) {
                Kind::Fatal => Err(End::Fatal(trouble::fatal(&self.plan.settings.name, &words))),
                _ => Err(self.not_connected(Some(code), &words)),
            };
        }
        for (kind, n) in self.shared.heard.errors() {
            let of = OfTrouble { feed: self.plan.settings.name.clone(), kind };
            self.metrics.kafka_errors.get_or_create(&of).raise_to(n);
        }
        Ok(())
    }

    /// What a person has to mend, if anything was said of the kind. What we may not read of one
    /// topic is not of the kind: the others go on.
    fn refusal(&self) -> Option<(Code, String)> {
        let (code, words) = self.shared.heard.take_cause()?;
        (trouble::kind(code) >= Kind::Authentication).then_some((code, words))
    }

    /// Ends of all partitions, what they mean, and what the reader met.
    fn look(&mut self, client: &BaseConsumer<Ear>) -> Result<(), End> {
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
        let full_at = self.shared.full_at_ms.load(SeqCst);
        let full = full_at > 0 && now.saturating_sub(full_at) < 2 * LOOK.as_millis() as u64;
        let mut stuck = None;
        for (n, lane) in lanes.iter().enumerate() {
            let key = (lane.topic.feed, lane.number);
            if lane.out_of_range.load(SeqCst) {
                self.out_of_range(client, lane);
            }
            let next = lane.next.load(SeqCst);
            if let Some(end) = ends.get(&key) {
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
            // Out of range is not asking: its own answer is on the way.
            if verdict == Verdict::Stuck && !lane.out_of_range.load(SeqCst) {
                stuck = Some((Arc::clone(lane), next, end));
            }
            if n < MAX_SHOWN {
                self.show(lane, next, end, behind_ms);
            }
        }
        self.metrics
            .kafka_waits
            .get_or_create(&crate::metrics::OfFeed { feed: name.clone() })
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

    fn show(&self, lane: &Lane, next: u64, end: u64, behind_ms: u64) {
        let of = OfPartition {
            feed: lane.topic.feed_name.clone(),
            partition: lane.number.unsigned_abs(),
        };
        let m = &self.metrics;
        m.kafka_position.get_or_create(&of).set(next.cast_signed());
        m.kafka_end.get_or_create(&of).set(end.cast_signed());
        m.kafka_lag.get_or_create(&of).set(end.saturating_sub(next).cast_signed());
        m.kafka_lag_seconds.get_or_create(&of).set(behind_ms as f64 / 1e3);
        m.kafka_bytes.get_or_create(&of).raise_to(lane.bytes.load(Relaxed));
    }

    /// The broker does not have what we asked for: removed, or another topic.
    fn out_of_range(&mut self, client: &BaseConsumer<Ear>, lane: &Arc<Lane>) {
        let wait = ANSWER;
        let answer = client.fetch_watermarks(&lane.topic.name, lane.number, wait);
        let Ok((low, high)) = answer else { return };
        let (low, high) = (low.max(0).unsigned_abs(), high.max(0).unsigned_abs());
        let next = lane.next.load(SeqCst);
        lane.out_of_range.store(false, SeqCst);
        let feed = lane.topic.feed_name.clone();
        // The stable end may be below an offset that is there: only the log's end tells.
        let end = high.max(self.shared.heard.high(&lane.topic.name, lane.number));
        if next > end {
            self.leave(&lane.topic.name, trouble::past_the_end(&feed, lane.number, next, end));
        } else {
            if next < low {
                let report = trouble::lost(&feed, lane.number, next, low);
                tracing::error!(code = report.code, "{report}");
            }
            let again = Order::Again(lane.partition(), low.max(next));
            if self.order(again).is_err() {
                tracing::debug!("the reader has ended");
            }
        }
    }

    /// This topic is not read any more.
    pub(super) fn leave(&mut self, topic: &str, report: Report) {
        let Some(known) = self.known.get_mut(topic) else { return };
        if std::mem::replace(&mut known.left, true) {
            return;
        }
        for lane in &known.lanes {
            lane.left.store(true, SeqCst);
        }
        let feed = known.topic.feed;
        self.alarms.raise(topic, || report);
        if self.order(Order::Leave(feed)).is_err() {
            tracing::debug!("the reader has ended");
        }
    }

    /// Tells the group how far complete epochs reach. A courtesy: whatever becomes of it.
    fn commit(&self, client: &BaseConsumer<Ear>) {
        let mut list = TopicPartitionList::new();
        for lane in self.known.values().filter(|it| !it.left).flat_map(|it| &it.lanes) {
            let Some(next) = (self.hooks.complete)(lane.partition()) else { continue };
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

    fn made(&mut self, why: &CannotMake) -> End {
        let name = self.plan.settings.name.clone();
        let report = trouble::cannot_make(&name, why);
        if self.plan.until_end {
            return End::Fatal(report);
        }
        self.alarms.raise(&name, || report);
        End::Again
    }

    fn not_connected(&mut self, code: Option<Code>, words: &str) -> End {
        let (name, brokers) =
            (self.plan.settings.name.clone(), self.plan.settings.brokers.join(","));
        let report = trouble::not_connected(&name, &brokers, code, words);
        if self.plan.until_end && clock::since(self.started) > REPLAY_PATIENCE {
            return End::Fatal(report);
        }
        self.alarms.raise(&name, || report);
        End::Again
    }

    /// Hands over an order; the reader takes them all the time.
    pub(super) fn order(&self, order: Order) -> Result<(), End> {
        let sent = self.orders.send(order).map_err(|_| End::Stopped);
        self.shared.ring_reader();
        sent
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Relaxed) || self.shared.ended.load(Relaxed)
    }

    /// `false`: told to stop. Something to decide ends the wait.
    fn wait(&self, wait: Duration) -> bool {
        let from = clock::monotonic();
        while !self.stopped() {
            let passed = clock::since(from);
            if passed >= wait {
                return true;
            }
            std::thread::park_timeout((wait - passed).min(Duration::from_millis(100)));
            if self.shared.broken.load(Relaxed) || self.any_out_of_range() {
                return !self.stopped();
            }
        }
        false
    }

    fn any_out_of_range(&self) -> bool {
        self.known
            .values()
            .flat_map(|it| &it.lanes)
            .any(|it| it.out_of_range.load(Relaxed) && !it.left.load(Relaxed))
    }
}

/// Lets the client's errors be heard.
fn listen(client: &BaseConsumer<Ear>) {
    // That nothing is returned does not mean that nothing was there: a line of its log is nothing.
    for _ in 0..50 {
        drop(client.poll(Duration::ZERO));
    }
}

/// Offsets of partitions, in one question: the stable end, the beginning, or of a time (as
/// `Offset::Offset`). Those without an answer are left out.
pub(super) fn offsets(
    client: &BaseConsumer<Ear>,
    lanes: &[&Lane],
    of: Offset,
) -> Result<BTreeMap<(u16, i32), u64>, String> {
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
        if it.error().is_ok()
            && let Offset::Offset(at) = it.offset()
            && let Ok(at) = u64::try_from(at)
        {
            found.insert((lane.topic.feed, lane.number), at);
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

/// Doubles from failure to failure; half of it is jitter.
fn backoff(failures: u32) -> Duration {
    let whole = (BACKOFF.0 * 2_u32.saturating_pow(failures.min(8))).min(BACKOFF.1);
    let jitter = u64::from(clock::wall_ms() as u32).wrapping_mul(0x9e37_79b9) % 1_000;
    whole / 2 + whole * u32::try_from(jitter).unwrap_or(0) / 2_000
}
