//! Every metric, in one place: one field each, with its name, unit and words beside it.
//!
//! In: numbers set by those who know them. Out: Prometheus text ([`Metrics::encode`]).
//!
//! # Invariants
//! - Units are part of the name (`_seconds`, `_bytes`); counters only grow.
//! - Values of labels are bounded: feeds, views, routes, reasons that the code names. Never a
//!   tenant, a key, an address or anything else that a client chooses.
//! - Setting one costs an atomic or two: no lock where events or requests pass.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge as AnyGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

/// A gauge of seconds or shares.
pub type Gauge = AnyGauge<f64, AtomicU64>;
/// A gauge of whole things.
pub type Whole = AnyGauge<i64>;

/// A counter that can also be brought up to a total that someone else keeps.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }
    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Up to this total; never down.
    pub fn raise_to(&self, total: u64) {
        self.0.fetch_max(total, Relaxed);
    }
    /// The total.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl TypedMetric for Count {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Count {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, f64>(&self.get(), None)
    }
    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// How long things took, in fixed buckets of atomics (the library's own takes a lock).
#[derive(Clone, Debug, Default)]
pub struct Durations(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    micros: AtomicU64,
}

/// From a hit in memory to the longest wait that a request may ask for.
const BOUNDS_MICROS: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000,
    5_000_000,
];

impl Durations {
    /// Notes one.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.0.counts[bucket].fetch_add(1, Relaxed);
        self.0.micros.fetch_add(micros, Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let bounds = BOUNDS_MICROS.iter().map(|it| *it as f64 / 1e6).chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|it| it.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let n = buckets.iter().map(|it| it.1).sum();
        let sum = self.0.micros.load(Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, n, &buckets, None)
    }
    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// By feed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfFeed {
    /// The feed's name.
    pub feed: String,
}

/// By view.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfView {
    /// The view's name.
    pub view: &'static str,
}

/// By operator of the dataflow.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfOperator {
    /// Its name, the same on every worker.
    pub operator: String,
}

/// By route.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfRoute {
    /// The route's pattern, as in `/openapi.json`.
    pub route: &'static str,
    /// The method.
    pub method: &'static str,
}

/// By route and class of status.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfAnswer {
    /// The route's pattern.
    pub route: &'static str,
    /// The method.
    pub method: &'static str,
    /// `2xx`, `4xx`, `5xx`.
    pub status: &'static str,
}

/// By a reason that the code names.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfReason {
    /// The reason.
    pub reason: &'static str,
}

/// By feed and kind of error.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfTrouble {
    /// The feed's name.
    pub feed: String,
    /// A kind that the code names.
    pub kind: &'static str,
}

/// By feed and alarm.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfAlarm {
    /// The feed's name.
    pub feed: String,
    /// The code of its report.
    pub alarm: &'static str,
}

/// By sink.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfSink {
    /// The sink's name.
    pub sink: String,
}

/// By sink and how an attempt ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfSinkOutcome {
    /// The sink's name.
    pub sink: String,
    /// `durable`, `retry`, `data`, `configuration`, `unknown`.
    pub outcome: &'static str,
}

/// By partition; the first thousand of a feed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfPartition {
    /// The feed's name.
    pub feed: String,
    /// The partition.
    pub partition: u32,
}

macro_rules! metrics {
    ($( $(#[doc = $words:literal])+ $field:ident: $kind:ty = $name:literal; )+) => {
        /// Every metric. Cloning is cheap and means the same metrics.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Arc<Registry>,
            $( $(#[doc = $words])+ pub $field: $kind, )+
        }

        impl Default for Metrics {
            fn default() -> Metrics {
                let mut registry = Registry::with_prefix("millstream");
                $( let $field = register::<$kind>(
                    &mut registry, $name, concat!($($words),+).trim(),
                ); )+
                Metrics { registry: Arc::new(registry), $( $field, )+ }
            }
        }
    };
}

fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, words: &str) -> M {
    let metric = M::default();
    // The library adds the full stop.
    registry.register(name, words.trim_end_matches('.'), metric.clone());
    metric
}

metrics! {
    /// The last complete epoch, seconds since the Unix epoch.
    epoch_seconds: Gauge = "complete_epoch_seconds";
    /// Age of the last complete epoch against the wall clock.
    frontier_lag_seconds: Gauge = "frontier_lag_seconds";
    /// Epochs completed that records were read in.
    epochs: Count = "epochs_completed";
    /// From an epoch's sealing to its completion.
    epoch_time: Durations = "epoch_duration_seconds";
    /// Epochs sealed and not complete.
    epochs_waiting: Whole = "epochs_waiting";
    /// Times that the frontier stood still with work waiting.
    stalls: Count = "frontier_stalls";
    /// Times that the wall clock was stepped.
    clock_steps: Count = "clock_steps";
    /// Records read.
    read: Family<OfFeed, Count> = "records_read";
    /// Events applied, late ones included.
    applied: Family<OfFeed, Count> = "events_applied";
    /// Events applied that were late.
    late: Family<OfFeed, Count> = "events_late";
    /// Events whose identity was known.
    duplicate: Family<OfFeed, Count> = "events_duplicate";
    /// Records that a mapping said to skip.
    skipped: Family<OfFeed, Count> = "records_skipped";
    /// Records rejected.
    rejected: Family<OfFeed, Count> = "records_rejected";
    /// Records that the source no longer had.
    lost: Family<OfFeed, Count> = "records_lost";
    /// Records not yet read.
    lag: Family<OfFeed, Whole> = "lag_records";
    /// Age of the newest record read, against the newest there is.
    lag_seconds: Family<OfFeed, Gauge> = "lag_seconds";
    /// Rejects kept.
    rejects_kept: Whole = "rejects_kept";
    /// Rejects that are only counted any more.
    rejects_summarised: Count = "rejects_summarised";
    /// Rejects that were never kept: they came faster than they could be written.
    rejects_not_kept: Count = "rejects_not_kept";
    /// Entities of a view, all tenants.
    entities: Family<OfView, Whole> = "view_entities";
    /// Memory of a view.
    view_bytes: Family<OfView, Whole> = "view_bytes";
    /// Undo kept for readers.
    undo_bytes: Whole = "undo_bytes";
    /// Time that an operator ran, over all workers.
    operator_busy: Family<OfOperator, Count> = "operator_busy_microseconds";
    /// Records that an operator was sent.
    operator_records: Family<OfOperator, Count> = "operator_records_in";
    /// Records in an operator's arrangement.
    operator_arranged: Family<OfOperator, Whole> = "operator_arranged_records";
    /// Bytes that wait to be arranged.
    operator_waiting: Family<OfOperator, Whole> = "operator_waiting_bytes";
    /// Consolidated records whose multiplicity was not one: an alarm.
    anomalies: Count = "relation_anomalies";
    /// Measurements of outside series that had no place among those that their tenant may have.
    left_out: Count = "load_measured_left_out";
    /// Outside series that had a place and lost it to another, with all that was measured of them.
    pushed_out: Count = "load_series_pushed_out";
    /// Identities remembered.
    dedup_entries: Whole = "dedup_entries";
    /// Checkpoints made.
    checkpoints: Count = "checkpoints";
    /// Checkpoints that could not be written.
    checkpoints_failed: Count = "checkpoints_failed";
    /// How long a checkpoint took.
    checkpoint_time: Durations = "checkpoint_duration_seconds";
    /// Instant of the newest checkpoint, seconds since the Unix epoch.
    checkpoint_epoch: Gauge = "checkpoint_epoch_seconds";
    /// Records of states written.
    state_records: Count = "state_records_written";
    /// Records of states ordered to be written once more, for their segment was given up.
    state_again: Count = "state_records_again";
    /// Bytes of states and identities written.
    state_written: Count = "state_written_bytes";
    /// Bytes of states and identities on disk.
    state_bytes: Whole = "state_bytes";
    /// Which life of the state this is.
    incarnation: Whole = "state_incarnation";
    /// From the start of the process to the state put back, seconds.
    restored_after: Gauge = "state_restored_after_seconds";
    /// Times that the parent has started us again.
    recoveries: Count = "recoveries";
    /// From the last time the process went to all being caught up again, seconds.
    recovery_seconds: Gauge = "recovery_seconds";
    /// A sink's breaker: 0 closed, 1 half-open, 2 open, 3 misconfigured, 4 paused (3 and 4 are alarms).
    sink_state: Family<OfSink, Whole> = "sink_state";
    /// Attempts at batches, by how they ended.
    sink_attempts: Family<OfSinkOutcome, Count> = "sink_attempts";
    /// Items (rows, events, marks) that are durable at a receiver.
    sink_items: Family<OfSink, Count> = "sink_items_delivered";
    /// How long an attempt took.
    sink_time: Family<OfSink, Durations> = "sink_attempt_seconds";
    /// Items that a receiver will not take, kept aside.
    sink_aside: Family<OfSink, Whole> = "sink_items_aside";
    /// The instant up to which all was delivered, seconds since the Unix epoch.
    sink_marked: Family<OfSink, Gauge> = "sink_marked_seconds";
    /// Bytes of a sink's outbox on disk.
    outbox_bytes: Family<OfSink, Whole> = "outbox_bytes";
    /// Rows that wait for a sink; unknown ones count as none.
    outbox_rows: Family<OfSink, Whole> = "outbox_rows_waiting";
    /// Whether reading is held back for a full outbox: 1 or 0.
    outbox_held: Whole = "outbox_held";
    /// Memory for identities.
    dedup_bytes: Whole = "dedup_bytes";
    /// How far back identities are remembered.
    dedup_horizon_seconds: Gauge = "dedup_effective_horizon_seconds";
    /// Resident memory.
    resident_bytes: Whole = "resident_memory_bytes";
    /// Whether reading is held back for memory: 1 or 0.
    memory_held: Whole = "memory_held";
    /// CPU time of all threads, in hundredths of a second.
    cpu_centiseconds: Count = "cpu_centiseconds";
    /// The embedded log's next position.
    log_position: Count = "log_position";
    /// Bytes of the embedded log.
    log_bytes: Whole = "log_bytes";
    /// Whether the embedded log refuses appends because it could not be written: 1 or 0.
    log_failing: Whole = "log_failing";
    /// Whether the disk takes longer than a second over a sync of what is kept: 1 or 0.
    disk_slow: Whole = "disk_slow";
    /// From an append to its fsync.
    log_commit: Durations = "log_commit_seconds";

    /// The next offset of a Kafka partition to be read.
    kafka_position: Family<OfPartition, Whole> = "kafka_position";
    /// The stable end of a Kafka partition: its high watermark, less what open transactions hide.
    kafka_end: Family<OfPartition, Whole> = "kafka_stable_end";
    /// The end of a Kafka partition, with what open transactions hide; some seconds old.
    kafka_high_watermark: Family<OfPartition, Whole> = "kafka_high_watermark";
    /// Offsets of a Kafka partition not yet read.
    kafka_lag: Family<OfPartition, Whole> = "kafka_lag_records";
    /// How long the oldest record of a Kafka partition has been waiting to be read.
    kafka_lag_seconds: Family<OfPartition, Gauge> = "kafka_lag_seconds";
    /// Bytes of payload read from a Kafka partition.
    kafka_bytes: Family<OfPartition, Count> = "kafka_bytes_read";
    /// Errors that the clients of a Kafka cluster met, by kind.
    kafka_errors: Family<OfTrouble, Count> = "kafka_errors";
    /// Alarms of a Kafka feed that are on, by code.
    kafka_alarms: Family<OfAlarm, Whole> = "kafka_alarms";
    /// Times that reading from Kafka waited for room.
    kafka_waits: Family<OfFeed, Count> = "kafka_waits";

    /// Connections open.
    connections: Whole = "http_connections";
    /// Connections accepted.
    accepted: Count = "http_connections_accepted";
    /// Connections closed before their time, by reason.
    cut: Family<OfReason, Count> = "http_connections_cut";
    /// Requests answered.
    answers: Family<OfAnswer, Count> = "http_requests";
    /// From header to answer.
    answer_time: Family<OfRoute, Durations> = "http_request_duration_seconds";
    /// Streams open.
    streams: Whole = "http_streams";
    /// Changes handed to streams.
    stream_changes: Count = "http_stream_changes";
    /// Streams ended by us, by reason.
    streams_ended: Family<OfReason, Count> = "http_streams_ended";
    /// Watchers let go because what waited for them was full.
    watchers_slow: Count = "http_streams_slow";
    /// Streams that began again with a snapshot.
    stream_resets: Count = "http_stream_resets";
}

impl Metrics {
    /// In Prometheus' text format (OpenMetrics).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail, and every metric here encodes.
        if let Err(why) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%why, "metrics could not be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is counted is what is shown, with unit and help. Method: text of a few.
    #[test]
    fn shows_what_was_counted() {
        let metrics = Metrics::default();
        metrics.epochs.add(3);
        metrics.epochs.raise_to(2);
        metrics.applied.get_or_create(&OfFeed { feed: "log".into() }).raise_to(7);
        metrics.epoch_time.observe(Duration::from_micros(300));
        metrics.epoch_time.observe(Duration::from_secs(60));
        let text = metrics.encode();
        for line in [
            "# HELP millstream_epochs_completed Epochs completed that records were read in.",
            "millstream_epochs_completed_total 3",
            "millstream_events_applied_total{feed=\"log\"} 7",
            "millstream_epoch_duration_seconds_bucket{le=\"0.0005\"} 1",
            "millstream_epoch_duration_seconds_bucket{le=\"+Inf\"} 2",
            "millstream_epoch_duration_seconds_count 2",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }
}
