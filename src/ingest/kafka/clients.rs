//! librdkafka's clients as we need them, and what they say.
//!
//! # Invariants
//! - What decides where reading goes on, or what is read, is set here and cannot be set elsewhere
//!   (`config::kafka::REFUSED`).
//! - librdkafka's words go to our log without secrets: it does not print them, and its settings are
//!   never printed whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode;

use super::trouble::{self, Kind};
use crate::config::kafka::{KafkaSettings, Password, Tls, is_secret, secret_file};

/// Bytes that wait in librdkafka for one cluster, over all partitions. It counts payloads only:
/// a record of 130 bytes takes about five times as much.
const WAITING_KB: u64 = 3 << 10;
/// Bounds of a partition's share: with less a partition alone is read slower.
const SHARE_KB: (u64, u64) = (512, 2 << 10);
/// How often a consumer says how far its partitions reach.
const STATISTICS_MS: &str = "2000";

/// What the clients of one cluster have said, for whoever decides.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// How often, by kind.
    errors: Mutex<BTreeMap<&'static str, u64>>,
    /// The last error that says why nothing works, with its words.
    cause: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// Ids of topics as the reading client has them, by name.
    ids: Mutex<BTreeMap<String, String>>,
    /// How often it has learned one.
    pub(super) n_ids: AtomicU64,
    /// Uncommitted ends, by topic and partition.
    high: Mutex<BTreeMap<(String, i32), u64>>,
    /// Commits refused.
    pub(super) commits_refused: AtomicU64,
}

impl Heard {
    pub(super) fn error(&self, code: RDKafkaErrorCode, words: &str) {
        let kind = trouble::kind(code);
        if kind == Kind::Nothing {
            return;
        }
        tracing::debug!(?code, words, "Kafka client");
        *self.errors.lock().entry(kind.name()).or_default() += 1;
        let mut cause = self.cause.lock();
        // What a person must mend is not hidden by what follows from it.
        let worse = cause.as_ref().is_none_or(|it| {
            // That all are down says less than why one is.
            code != RDKafkaErrorCode::AllBrokersDown && trouble::kind(it.0) <= kind
        });
        if worse {
            *cause = Some((code, words.to_string()));
        }
    }

    /// How often errors came, by kind.
    pub(super) fn errors(&self) -> Vec<(&'static str, u64)> {
        self.errors.lock().iter().map(|it| (*it.0, *it.1)).collect()
    }

    /// What a person has to mend, if anything of the kind was said; asked once.
    pub(super) fn take_refusal(&self) -> Option<(RDKafkaErrorCode, String)> {
        let mut cause = self.cause.lock();
        cause.take_if(|it| trouble::kind(it.0) >= Kind::Authentication)
    }

    /// Why nothing works, as far as the clients have said; asked once.
    pub(super) fn take_cause(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.cause.lock().take()
    }

    /// A line of librdkafka's log: the only place where it says that a name has another topic now,
    /// before it reads on there as if nothing had happened.
    fn line(&self, words: &str) {
        if let Some((topic, id)) = changed_id(words) {
            self.ids.lock().insert(topic.to_string(), id.to_string());
            self.n_ids.fetch_add(1, SeqCst);
        }
    }

    /// The id of a topic as the reading client has it; `None`: it has none yet.
    pub(super) fn id(&self, topic: &str) -> Option<String> {
        self.ids.lock().get(topic).cloned()
    }

    /// The uncommitted end of a partition.
    pub(super) fn high(&self, topic: &str, partition: i32) -> u64 {
        self.high.lock().get(&(topic.to_string(), partition)).copied().unwrap_or(0)
    }
}

/// What librdkafka calls.
#[derive(Clone)]
pub(super) struct Ear(pub(super) Arc<Heard>);

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, words: &str) {
        // What matters comes as an error too; a lost connection is said several times a second.
        tracing::debug!(?level, facility, words, "librdkafka");
        self.0.line(words);
    }

    fn error(&self, error: KafkaError, words: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.0.error(code, words);
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut high = self.0.high.lock();
        for (topic, it) in &statistics.topics {
            for (partition, it) in &it.partitions {
                if let Ok(end) = u64::try_from(it.hi_offset) {
                    high.insert((topic.clone(), *partition), end);
                }
            }
        }
    }
}

impl ConsumerContext for Ear {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(why) = result
            && self.0.commits_refused.fetch_add(1, Relaxed) == 0
        {
            tracing::warn!(%why, "the group could not be told how far we are; nothing depends on it");
        }
    }
}

/// Why a client could not be made.
#[derive(Debug)]
pub(super) enum CannotMake {
    /// A password cannot be read: file and why.
    Password(String, String),
    /// A setting is not taken.
    Setting(String),
}

/// What both kinds of client say.
fn common(settings: &KafkaSettings) -> Result<ClientConfig, CannotMake> {
    let mut it = ClientConfig::new();
    it.set("client.id", "millstream");
    it.set("socket.keepalive.enable", "true");
    it.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
    it.set("topic.metadata.refresh.interval.ms", "10000");
    it.set("fetch.wait.max.ms", "50").set("fetch.queue.backoff.ms", "10");
    // Of each partition at once, compressed: with 1 MiB, one answer is some 20 MB of memory.
    it.set("fetch.message.max.bytes", "262144");
    for (name, value) in &settings.librdkafka {
        match secret_file(name, value) {
            Some(path) => it.set(name, secret(path)?),
            None => it.set(name, value),
        };
    }
    it.set("bootstrap.servers", settings.brokers.join(","));
    it.set("group.id", &settings.group);
    it.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    it.set("auto.offset.reset", "error").set("isolation.level", "read_committed");
    it.set("enable.partition.eof", "true").set("check.crcs", "true");
    it.set("allow.auto.create.topics", "false");
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    it.set("security.protocol", protocol);
    if let Some(Tls::Ca(path)) = &settings.tls {
        it.set("ssl.ca.location", path.display().to_string());
    }
    if let Some(sasl) = &settings.sasl {
        let password = match &sasl.password {
            Password::Variable(_, it) => it.clone(),
            Password::File(path) => secret(path)?,
        };
        it.set("sasl.mechanism", sasl.mechanism);
        it.set("sasl.username", &sasl.username).set("sasl.password", password);
    }
    Ok(it)
}

/// What a file holds, without the end of its line.
fn secret(path: &Path) -> Result<String, CannotMake> {
    let told =
        |why: std::io::Error| CannotMake::Password(path.display().to_string(), why.to_string());
    let read = std::fs::read_to_string(path).map_err(told)?;
    Ok(read.trim_end_matches(['\r', '\n']).to_string())
}

/// A client for questions, with connections of its own: on a reading consumer's they would wait
/// behind its fetches.
pub(super) fn control(
    settings: &KafkaSettings,
    heard: &Arc<Heard>,
) -> Result<BaseConsumer<Ear>, CannotMake> {
    make(&common(settings)?, heard)
}

/// A client that reads so many partitions.
pub(super) fn reading(
    settings: &KafkaSettings,
    partitions: usize,
    heard: &Arc<Heard>,
) -> Result<BaseConsumer<Ear>, CannotMake> {
    let mut it = common(settings)?;
    let share = (WAITING_KB / partitions.max(1) as u64).clamp(SHARE_KB.0, SHARE_KB.1);
    it.set("queued.max.messages.kbytes", share.to_string());
    it.set("statistics.interval.ms", STATISTICS_MS);
    // Its log tells which topic a name has (`Heard::line`); some lines each ten seconds.
    let more = it.get("debug").map_or_else(String::new, |it| format!("{it},"));
    it.set("debug", format!("{more}topic")).set_log_level(RDKafkaLogLevel::Debug);
    make(&it, heard)
}

fn make(config: &ClientConfig, heard: &Arc<Heard>) -> Result<BaseConsumer<Ear>, CannotMake> {
    let made: KafkaResult<BaseConsumer<Ear>> = config.create_with_context(Ear(heard.clone()));
    made.map_err(|why| CannotMake::Setting(told(&why)))
}

/// What is wrong with the settings, without connecting. A secret is not among its words.
pub(super) fn check(settings: &KafkaSettings) -> Result<(), CannotMake> {
    let made = common(settings)?.create_native_config();
    made.map(drop).map_err(|why| CannotMake::Setting(told(&why)))
}

/// Name and new id, if it is a line about that.
fn changed_id(words: &str) -> Option<(&str, &str)> {
    let (before, after) = words.split_once(" changed id from ")?;
    // Neither names nor ids have blanks; before the name stands which thread says it.
    let (_, topic) = before.rsplit_once("Topic ")?;
    Some((topic, after.split_once(" to ")?.1.trim()))
}

fn told(why: &KafkaError) -> String {
    match why {
        // The value may be a secret: it is left out.
        KafkaError::ClientConfig(_, words, name, _)
            if is_secret(name) || words.contains("password") =>
        {
            format!("{name} is not taken")
        }
        KafkaError::ClientConfig(_, words, name, _) => format!("{name}: {words}"),
        KafkaError::ClientCreation(words) => words.clone(),
        other => other.to_string(),
    }
}

/// Longest wait for an answer of the cluster.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: librdkafka's words about a topic's id are understood, and no others taken for them.
    /// Method: lines as it writes them.
    #[test]
    fn an_id_is_heard() {
        let line = "[thrd:main]: Topic crm.a-1 changed id from AAAAAAAAAAAAAAAAAAAAAA to x-Y_9w";
        assert_eq!(changed_id(line), Some(("crm.a-1", "x-Y_9w")));
        assert_eq!(changed_id("[thrd:main]: Topic crm.a-1 partition 0 Leader 1 Epoch 0"), None);
        let heard = Heard::default();
        heard.line(line);
        assert_eq!((heard.id("crm.a-1").as_deref(), heard.id("crm.a")), (Some("x-Y_9w"), None));
    }
}
