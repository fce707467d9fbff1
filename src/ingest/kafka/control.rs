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
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::alarms::Alarms;
use super::clients::{self, ANSWER, CannotMake, Ear};
use super::progress::{Behind, Progress, Silence};
use super::recorded::other_cluster;
use super::shared::{Lane, Order, Shared, Topic};
use super::trouble::{self, Kind};
use super::{Hooks, Plan};
use crate::clock;
use crate::config::kafka::Start;
use crate::metrics::{Metrics, OfTrouble};
use crate::report::Report;

/// How often it looks.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How often topics, partitions and their ids are asked for.
const DISCOVER: Duration = Duration::from_secs(2);
/// How often the group is told how far we are.
const COMMIT: Duration = Duration::from_secs(5);
/// First and longest wait before a connection is tried again; jittered by half.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A replay that does not reach its cluster for so long ends.
const REPLAY_PATIENCE: Duration = Duration::from_secs(30);
/// A topic that we know.
pub(super) struct Known {
    pub(super) topic: Arc<Topic>,
    /// As the ledger keeps it.
    pub(super) identity: String,
    /// Where its partitions begin, those that are there at the first look.
    pub(super) start: Start,
    pub(super) lanes: Vec<Arc<Lane>>,
    /// Partitions at the first look: those from here on were added while we read.
    pub(super) at_first: usize,
    /// It is another topic than the one recorded, and was accepted.
    pub(super) another: bool,
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
    /// Whether the cluster answered when it was last asked what its topics are.
    pub(super) answers: bool,
    pub(super) silence: Silence,
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
            let closed = self.order(Order::Close);
            failures = if clock::since(connected) > BACKOFF.1 * 2 { 0 } else { failures + 1 };
            // Without a reader there is nothing to ask for.
            if closed.is_err() || !self.wait(backoff(failures), |_| false) {
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
            if !self.wait(LOOK, Control::any_to_decide) {
                return Ok(End::Stopped);
            }
            self.hear(&client)?;
            self.others()?;
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
    pub(super) fn open(&mut self) -> Result<(), End> {
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
        let topic = self.plan.settings.topics.first().cloned();
        // In pieces, so that a refusal is heard before the whole wait is over.
        for _ in 0..10 {
            // A question makes it connect at once; the id alone waits for it to do so, up to a second.
            let asked = client.fetch_metadata(topic.as_deref(), ANSWER / 10);
            if asked.is_ok() {
                found = client.client().fetch_cluster_id(ANSWER / 10);
            }
            listen(client);
            if found.is_some() || self.stopped() {
                break;
            }
            if let Some((code, words)) = self.shared.heard.take_refusal() {
                return Err(self.not_connected(Some(code), &words));
            }
        }
        let Some(found) = found else {
            let cause = self.shared.heard.take_cause();
            let (code, words) = cause.map_or((None, String::new()), |it| (Some(it.0), it.1));
            return Err(self.not_connected(code, &words));
        };
        let name = self.plan.settings.name.clone();
        let settings = &self.plan.settings;
        let recorded = self.plan.recorded.iter().filter(|it| settings.names(it.0));
        let kept = other_cluster(recorded.map(|it| it.1), &found);
        if let Some(was) = self.cluster.clone().or(kept).filter(|it| *it != found) {
            let report = trouble::another_cluster(&name, &was, &found);
            if self.plan.until_end {
                return Err(End::Fatal(report));
            }
            self.alarms.raise(&name, || report);
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
        if let Some((code, words)) = self.shared.heard.take_refusal() {
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

    /// This topic is not read any more. A replay, which is to be whole, ends.
    pub(super) fn leave(&mut self, topic: &str, report: Report) -> Result<(), End> {
        let Some(known) = self.known.get_mut(topic) else { return Ok(()) };
        if std::mem::replace(&mut known.left, true) {
            return Ok(());
        }
        if self.plan.until_end {
            return Err(End::Fatal(report));
        }
        for lane in &known.lanes {
            lane.left.store(true, SeqCst);
        }
        let feed = known.topic.feed;
        self.alarms.raise(topic, || report);
        self.order(Order::Leave(feed))
    }

    /// The reading client has found another topic under a name: what it had of it was left out.
    fn others(&mut self) -> Result<(), End> {
        let found = |it: &Known| {
            let other = it.topic.another.get().filter(|_| !it.left)?;
            Some((Arc::clone(&it.topic), other.clone()))
        };
        let others: Vec<_> = self.known.values().filter_map(found).collect();
        for (topic, other) in others {
            let why = format!("expected the topic id {}, found {other}", topic.id);
            self.leave(&topic.name, trouble::another_topic(&topic.feed_name, why))?;
        }
        Ok(())
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

    /// `false`: told to stop. What is asked for ends the wait.
    fn wait(&self, wait: Duration, enough: fn(&Control) -> bool) -> bool {
        let from = clock::monotonic();
        while !self.stopped() {
            let passed = clock::since(from);
            if passed >= wait {
                return true;
            }
            std::thread::park_timeout((wait - passed).min(Duration::from_millis(100)));
            if enough(self) {
                return !self.stopped();
            }
        }
        false
    }

    fn any_to_decide(&self) -> bool {
        let out_of_range = |it: &Arc<Lane>| it.out_of_range.load(Relaxed);
        let mut read = self.known.values().filter(|it| !it.left);
        self.shared.broken.load(Relaxed)
            || read.any(|it| it.topic.another.get().is_some() || it.lanes.iter().any(out_of_range))
    }
}

/// Lets the client's errors be heard.
fn listen(client: &BaseConsumer<Ear>) {
    // That nothing is returned does not mean that nothing was there: a line of its log is nothing.
    for _ in 0..50 {
        drop(client.poll(Duration::ZERO));
    }
}

/// Doubles from failure to failure; half of it is jitter.
fn backoff(failures: u32) -> Duration {
    let whole = (BACKOFF.0 * 2_u32.saturating_pow(failures.min(8))).min(BACKOFF.1);
    let jitter = u64::from(clock::wall_ms() as u32).wrapping_mul(0x9e37_79b9) % 1_000;
    whole / 2 + whole * u32::try_from(jitter).unwrap_or(0) / 2_000
}
