//! Kafka clusters on their way through threads of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::ends::joined;
use super::feeds::{mapping, mapping_name};
use super::now_by;
use crate::clock::SteadyClock;
use crate::config::KafkaSettings;
use crate::ingest::kafka::{self, Durable, Hooks, Plan, Reading, Recorded, Takes};
use crate::ingest::resets::{Reset, Resets};
use crate::ledger::Book;
use crate::messages::{BookLine, Feed, Feeds, Format, Outlet};
use crate::metrics::Metrics;
use crate::report::{Report, log_report};

/// How the topics of a cluster are read.
#[derive(Clone)]
pub(super) struct Topics {
    pub(super) format: Format,
    /// The mapping's name.
    pub(super) mapping: Option<String>,
}

/// How the topics of each cluster are read.
pub(super) fn formats(clusters: &[KafkaSettings]) -> Result<Vec<Topics>, Report> {
    let of = |it: &KafkaSettings| {
        let format = match &it.mapping {
            Some(path) => Format::Mapped(Arc::new(mapping(path)?)),
            None => Format::Native,
        };
        Ok(Topics { format, mapping: mapping_name(it.mapping.as_deref()) })
    };
    clusters.iter().map(of).collect()
}

/// What reading a cluster needs of the rest.
pub(super) struct Behind<'a> {
    pub(super) feeds: &'a Feeds,
    pub(super) book: &'a Arc<Book>,
    pub(super) clock: &'a Arc<SteadyClock>,
    pub(super) metrics: &'a Metrics,
    pub(super) stop: &'a Arc<AtomicBool>,
    pub(super) end: &'a tokio::sync::watch::Sender<bool>,
    /// What was decided about feeds.
    pub(super) resets: Option<&'a Arc<Resets>>,
    pub(super) max_event_bytes: u64,
    pub(super) until_end: bool,
    /// There are checkpoints.
    pub(super) keeps: bool,
}

/// A cluster that is being read.
pub(super) struct Cluster {
    name: String,
    reading: Reading,
}

impl Behind<'_> {
    /// Starts reading.
    pub(super) fn read(
        &self,
        cluster: &KafkaSettings,
        topics: Topics,
        outlet: Outlet,
    ) -> Result<Cluster, Report> {
        let decided = self.resets.map_or_else(Vec::new, |it| it.all());
        let resets = self.resets.map(Arc::clone);
        let keeps = self.keeps;
        let plan = Plan {
            settings: cluster.clone(),
            takes: takes(&topics.format),
            recorded: recorded(self.book, &cluster.name, &decided),
            until_end: self.until_end,
            max_event_bytes: self.max_event_bytes,
        };
        let (feeds, book, end) = (self.feeds.clone(), Arc::clone(self.book), self.end.clone());
        let (began, behind, accepted) = (Arc::clone(&book), Arc::clone(&book), Arc::clone(&book));
        let hooks = Hooks {
            add_feed: Arc::new(move |name, id| {
                let (format, mapping) = (topics.format.clone(), topics.mapping.clone());
                let identity = Some(id.to_string());
                let (name, is_log, takes_own) = (name.into(), false, false);
                feeds.add(Feed { name, mapping, format, is_log, takes_own, identity })
            }),
            begins: Arc::new(move |partition, it| {
                began.begins(partition, it.first, it.anew, it.reset);
            }),
            placed: Arc::new(move |number, identity, offsets| match &resets {
                Some(resets) => resets.placed(number, identity, offsets),
                None => Ok(()),
            }),
            accepted: Arc::new(move |feed, partitions| accepted.forget(feed, partitions)),
            tail: Arc::new(move |partition, end, ms| behind.behind(partition, end, ms)),
            durable: keeps.then(|| durable(book)),
            now_ms: now_by(self.clock),
            on_fatal: Arc::new(move |report| {
                log_report!(error, *report, "reading from Kafka ends");
                end.send_replace(true);
            }),
        };
        let (metrics, stop) = (self.metrics.clone(), Arc::clone(self.stop));
        let reading = kafka::start(plan, outlet, hooks, metrics, stop)?;
        Ok(Cluster { name: cluster.name.clone(), reading })
    }
}

fn durable(book: Arc<Book>) -> Durable {
    Arc::new(move |partition| book.durable(partition))
}

/// Where each topic of a cluster was first read.
pub(super) fn first_of(lines: &[BookLine], cluster: &str) -> BTreeMap<String, Recorded> {
    let mut recorded: BTreeMap<String, Recorded> = BTreeMap::new();
    for line in lines.iter().filter(|it| it.next > it.first) {
        if let Some((of, topic)) = line.feed.split_once('/')
            && of == cluster
        {
            let topic = recorded.entry(topic.to_string()).or_default();
            (topic.cluster, topic.id) =
                Recorded::of_identity(line.identity.as_deref().unwrap_or_default());
            topic.next.insert(line.partition, (line.first, 0));
        }
    }
    recorded
}

pub(super) fn takes(format: &Format) -> Takes {
    match format {
        Format::Native => Takes::Event,
        Format::Mapped(mapping) if mapping.takes_whole_records() => Takes::Whole,
        Format::Mapped(_) => Takes::Value,
    }
}

/// Where each topic of a cluster goes on, as was kept.
fn recorded(book: &Book, cluster: &str, resets: &[Reset]) -> BTreeMap<String, Recorded> {
    let mut recorded: BTreeMap<String, Recorded> = BTreeMap::new();
    let mut lines = book.later();
    // Where a reset was interrupted, its topic is the one that lines begun anew are of.
    lines.sort_by_key(|it| it.reset);
    for line in lines {
        if let Some((of, topic)) = line.feed.split_once('/')
            && of == cluster
        {
            let topic = recorded.entry(topic.to_string()).or_default();
            (topic.cluster, topic.id) =
                Recorded::of_identity(line.identity.as_deref().unwrap_or_default());
            topic.next.insert(line.partition, (line.next, line.reset));
            if topic.resets.is_empty() {
                topic.resets = resets.iter().filter(|it| it.is_of(&line.feed)).cloned().collect();
            }
        }
    }
    recorded
}

impl Cluster {
    /// Waits for its end.
    pub(super) fn join(self) -> Result<(), Report> {
        let [reading, asking] = self.reading.threads;
        let (reading, asking) = (reading.join(), asking.join());
        joined(&self.name, reading)?;
        joined(&self.name, asking)
    }
}
