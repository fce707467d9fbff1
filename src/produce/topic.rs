//! The topic, as an operator's client sees it: made where it was asked for, and its limit.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{REACH, Settings, cannot_make};
use crate::report::Report;

/// A client for what is no sending.
pub(super) struct Admin {
    client: AdminClient<Quiet>,
    /// Its answers come as futures.
    runtime: tokio::runtime::Runtime,
}

impl Admin {
    pub(super) fn new(settings: &Settings) -> Result<Admin, Report> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.brokers)
            .set("client.id", "millstream-produce-admin");
        // Who we are and how to get there; the rest concerns sending, and would be complained of.
        for (name, value) in &settings.properties {
            let reach = ["security.", "sasl.", "ssl.", "broker.", "socket.", "enable.ssl."];
            if reach.iter().any(|it| name.starts_with(it)) {
                config.set(name, value);
            }
        }
        let client = config.create_with_context(Quiet).map_err(|why| cannot_make(&why))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime =
            runtime.map_err(|why| cannot_make(&KafkaError::AdminOpCreation(why.to_string())))?;
        Ok(Admin { client, runtime })
    }

    /// Makes it with the brokers' own replication.
    pub(super) fn make(&self, topic: &str, partitions: i32) -> Result<(), Report> {
        let failed = |why: String| Report {
            code: "produce/no-topic",
            what: "could not make the topic".into(),
            at: vec![("topic", topic.into()), ("partitions", partitions.to_string())],
            why,
            effect: "nothing was sent".into(),
            fix: "have it made by someone who may, then do it again".into(),
        };
        let wanted = [NewTopic::new(topic, partitions, TopicReplication::Fixed(-1))];
        let answer = self.runtime.block_on(self.client.create_topics(&wanted, &options()));
        for it in answer.map_err(|why| failed(why.to_string()))? {
            match it {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, why)) => return Err(failed(why.to_string())),
            }
        }
        Ok(())
    }

    /// The largest batch that it takes; `None` where this user may not ask.
    pub(super) fn record_max_bytes(&self, topic: &str) -> Option<u64> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let answer = self.runtime.block_on(self.client.describe_configs(&asked, &options()));
        let told = answer.ok()?.into_iter().next()?;
        told.ok()?.get("max.message.bytes")?.value.as_ref()?.parse().ok()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(REACH)).request_timeout(Some(REACH))
}

/// Its own words are for those who look closely: what matters comes as an answer.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, "librdkafka: {text}");
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }
}
