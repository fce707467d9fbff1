//! The producer: its settings, reaching the brokers, the topic, what comes back.
//!
//! # When it fails
//! Settings that would break a promise, and secrets on the command line, are refused before
//! anything is reached. Wrong credentials and certificates are told at once; librdkafka itself
//! would try them again for ever.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use super::Plan;
use super::acknowledged::Acknowledged;
use super::topic;
use crate::clock;
use crate::report::Report;

/// What librdkafka may hold: seconds of sending at full speed.
pub const QUEUE_KIB: u32 = 65_536;
/// How long brokers are looked for before it is told that there are none.
pub(super) const REACH: Duration = Duration::from_secs(15);
/// One try of it.
const TRY: Duration = Duration::from_secs(1);
/// Time to hear what librdkafka has said meanwhile: a poll without time hears one word.
const HEAR: Duration = Duration::from_millis(20);
/// librdkafka's own `message.max.bytes`: a batch is never larger.
const BATCH_MAX_BYTES: u64 = 1_000_000;
/// The least that librdkafka takes for it.
const BATCH_MIN_BYTES: u64 = 1_000;

/// What is refused, and the promise that it would break.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "the brokers are named by --brokers"),
    ("metadata.broker.list", "the brokers are named by --brokers"),
    ("enable.idempotence", "a lost answer would double records or put them out of order"),
    ("acks", "a record would count as kept before all replicas have it"),
    ("request.required.acks", "a record would count as kept before all replicas have it"),
    ("delivery.report.only.error", "nobody would know which lines are kept"),
    ("transactional.id", "nothing here commits a transaction: readers would wait for ever"),
];

/// The largest record, and the largest batch.
const MESSAGE_MAX_BYTES: &str = "message.max.bytes";

/// Settings whose values nobody may see.
const SECRET: &[&str] = &[
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Whom to reach, and how.
#[derive(Clone)]
pub struct Settings {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// How batches are compressed.
    pub compression: String,
    /// Sent by the clock: batches wait less for company.
    pub paced: bool,
    /// librdkafka's own settings; read from where they say.
    pub properties: Vec<(String, String)>,
}

/// Without the values: there may be a secret among them.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|it| &*it.0).collect();
        write!(f, "Settings {{ brokers: {:?}, properties: {names:?} }}", self.brokers)
    }
}

/// Reads `name=value` words: a value may be `file:PATH` or `env:NAME`, and a secret must be.
pub fn properties(
    words: &[String],
    variables: &[(String, String)],
) -> Result<Vec<(String, String)>, Vec<Report>> {
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    for word in words {
        match property(word, variables) {
            Ok(it) => read.push(it),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

fn property(word: &str, variables: &[(String, String)]) -> Result<(String, String), Report> {
    let Some((name, value)) = word.split_once('=') else {
        let name = word.chars().take(40).collect::<String>();
        return Err(cannot_set(&name, "expected NAME=VALUE, found no `=`"));
    };
    let name = name.trim();
    if let Some((_, why)) = REFUSED.iter().find(|it| it.0 == name) {
        return Err(cannot_set(name, why));
    }
    if let Some(path) = value.strip_prefix("file:") {
        let text = std::fs::read_to_string(path)
            .map_err(|why| cannot_set(name, &format!("could not read {path}: {why}")))?;
        return Ok((name.into(), text.trim_end_matches(['\r', '\n']).into()));
    }
    if let Some(variable) = value.strip_prefix("env:") {
        let found = variables.iter().find(|it| it.0 == variable);
        let (_, value) =
            found.ok_or_else(|| cannot_set(name, &format!("there is no variable {variable}")))?;
        return Ok((name.into(), value.clone()));
    }
    if SECRET.contains(&name) {
        return Err(Report {
            code: "produce/secret",
            what: "cannot take a secret from the command line".into(),
            at: vec![("property", name.into())],
            why: "every user of the machine can read it there, and shells keep it".into(),
            effect: "nothing was sent; the secret was not used".into(),
            fix: format!("write `--property {name}=file:PATH` or `--property {name}=env:NAME`"),
        });
    }
    Ok((name.into(), value.into()))
}

fn cannot_set(name: &str, why: &str) -> Report {
    Report {
        code: "produce/property",
        what: "cannot use a setting of the Kafka client".into(),
        at: vec![("property", name.into())],
        why: why.into(),
        effect: "nothing was sent".into(),
        fix: "correct it or leave it out; its names are librdkafka's".into(),
    }
}

/// A record that was refused, and why.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) line: u64,
    pub(super) why: String,
}

/// What comes back.
pub(super) struct Answers {
    acknowledged: Mutex<Acknowledged>,
    refused: Mutex<Option<Refused>>,
    /// What librdkafka says about the connection; the last one that a person can act on stays.
    said: Mutex<Option<(KafkaError, String)>>,
}

impl Answers {
    pub(super) fn sent(&self, line: u64) {
        self.acknowledged.lock().sent(line);
    }
    pub(super) fn passed(&self, line: u64) {
        self.acknowledged.lock().passed(line);
    }
    /// Records kept, and the first line that is not known to be.
    pub(super) fn acknowledged(&self) -> (u64, u64) {
        let it = self.acknowledged.lock();
        (it.records(), it.next())
    }
}

impl ClientContext for Answers {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        // What matters of it comes as an error too.
        tracing::debug!(facility, "librdkafka: {text}");
    }
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
        // That all brokers are down follows from what was said of each, which says why.
        let sums_up = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let mut said = self.said.lock();
        if !said.as_ref().is_some_and(|(it, _)| sums_up || is_ours_to_mend(it)) {
            *said = Some((error, reason.to_string()));
        }
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, line: usize) {
        let line = line as u64;
        match result {
            Ok(_) => self.acknowledged.lock().kept(line),
            Err((why, _)) => {
                let mut refused = self.refused.lock();
                if refused.as_ref().is_none_or(|it| line < it.line) {
                    *refused = Some(Refused { line, why: why.to_string() });
                }
            }
        }
    }
}

/// Waiting mends nothing.
fn is_ours_to_mend(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{Authentication, SSL, SaslAuthenticationFailed};
    matches!(error.rdkafka_error_code(), Some(Authentication | SaslAuthenticationFailed | SSL))
}

/// A producer that has reached its brokers and found its topic.
pub(super) struct Client {
    producer: BaseProducer<Answers>,
    brokers: String,
    topic: String,
}

impl std::ops::Deref for Client {
    type Target = BaseProducer<Answers>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

/// Reaches the brokers; makes the topic if it is not there and that was asked for.
pub(super) fn connect(plan: &Plan, stop: &AtomicBool) -> Result<Client, Report> {
    let mut config = config(&plan.client);
    let client = Client::new(plan, &config)?;
    let admin = topic::Admin::new(&plan.client)?;
    if !client.finds_topic(stop)? {
        let Some(partitions) = plan.partitions else { return Err(no_topic(&plan.topic)) };
        admin.make(&plan.topic, partitions)?;
    }
    // A topic's limit is the batch's: one record above it would have its neighbours refused too.
    // So no batch is larger, and the record is refused by itself.
    let asked = plan.client.properties.iter().any(|it| it.0 == MESSAGE_MAX_BYTES);
    match admin.record_max_bytes(&plan.topic) {
        Some(limit) if limit < BATCH_MAX_BYTES && !asked => {
            config.set(MESSAGE_MAX_BYTES, limit.max(BATCH_MIN_BYTES).to_string());
            Client::new(plan, &config)
        }
        _ => Ok(client),
    }
}

fn config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "millstream-produce")
        .set("enable.idempotence", "true")
        // A batch that is nearly full costs broker and network least; one that is sent by the
        // clock should not wait long.
        .set("linger.ms", if settings.paced { "5" } else { "20" })
        .set("batch.size", "262144")
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
        .set("compression.type", &settings.compression)
        // Where Java's producers put a key.
        .set("partitioner", "murmur2_random")
        .set("reconnect.backoff.max.ms", "1000");
    for (name, value) in &settings.properties {
        config.set(name, value);
    }
    config
}

impl Client {
    fn new(plan: &Plan, config: &ClientConfig) -> Result<Client, Report> {
        let answers = Answers {
            acknowledged: Mutex::new(Acknowledged::new(plan.from)),
            refused: Mutex::new(None),
            said: Mutex::new(None),
        };
        let producer = config.create_with_context(answers).map_err(|why| cannot_make(&why))?;
        Ok(Client { producer, brokers: plan.client.brokers.clone(), topic: plan.topic.clone() })
    }

    /// Whether the topic is there; waits for a broker to say it.
    fn finds_topic(&self, stop: &AtomicBool) -> Result<bool, Report> {
        let began = clock::monotonic();
        loop {
            // All topics: asking for this one by name would make it, where brokers do that.
            match self.producer.client().fetch_metadata(None, TRY) {
                Ok(all) => return Ok(all.topics().iter().any(|it| it.name() == self.topic)),
                Err(why) => {
                    self.producer.poll(HEAR);
                    self.trouble()?;
                    if clock::since(began) >= REACH || stop.load(Relaxed) {
                        return Err(self.no_broker(&why.to_string()));
                    }
                }
            }
        }
    }

    /// What ends the sending, if there is something.
    pub(super) fn trouble(&self) -> Result<(), Report> {
        let refused = self.context().refused.lock().clone();
        if let Some(refused) = refused {
            return Err(self.told(&refused));
        }
        if let Some((_, why)) = self.producer.client().fatal_error() {
            return Err(self.no_broker(&why));
        }
        // Let go before it is told: telling looks at it again.
        let said = self.context().said.lock().clone();
        match said {
            Some((error, why)) if is_ours_to_mend(&error) => {
                Err(self.no_broker(&format!("{error}: {why}")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn told(&self, refused: &Refused) -> Report {
        let said = self.context().said.lock();
        let more = said.as_ref().map_or(String::new(), |(_, why)| format!("; last heard: {why}"));
        Report {
            code: "produce/refused",
            what: "could not send a line".into(),
            at: vec![("line", refused.line.to_string()), ("topic", self.topic.clone())],
            why: format!("{}{more}", refused.why),
            effect: "the lines before the one to go on from are kept; of those after it some may \
                     be there"
                .into(),
            fix: "mend what the reason says, then go on with `--from` and the line that the \
                  outcome names: what is there twice is known by its ids"
                .into(),
        }
    }

    fn no_broker(&self, why: &str) -> Report {
        let said = self.context().said.lock();
        let more = said.as_ref().map(|(_, more)| more.as_str()).filter(|it| !why.contains(it));
        let more = more.map_or(String::new(), |it| format!("; last heard: {it}"));
        Report {
            code: "produce/no-broker",
            what: "could not work with a Kafka broker".into(),
            at: vec![("brokers", self.brokers.clone()), ("topic", self.topic.clone())],
            why: format!("{why}{more}"),
            effect: "nothing more was sent; the outcome says how many lines are kept".into(),
            fix: "see that the address, the listener's protocol (`--property \
                  security.protocol=...`), user and certificate are right; `scripts/kafka start` \
                  gives a broker to try with"
                .into(),
        }
    }
}

pub(super) fn cannot_make(why: &KafkaError) -> Report {
    let (name, why) = match why {
        // Its description may hold the value.
        KafkaError::ClientConfig(_, _, name, _) if SECRET.contains(&name.as_str()) => {
            (name.clone(), "librdkafka cannot use its value".into())
        }
        KafkaError::ClientConfig(_, why, name, _) => (name.clone(), why.clone()),
        other => ("-".into(), other.to_string()),
    };
    cannot_set(&name, &why)
}

fn no_topic(topic: &str) -> Report {
    Report {
        code: "produce/no-topic",
        what: "cannot send to a topic that is not there".into(),
        at: vec![("topic", topic.into())],
        why: "expected it among the topics that the brokers show this user, found it nowhere"
            .into(),
        effect: "nothing was sent; no topic was made".into(),
        fix: "correct its name, or add `--partitions 4` to make it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what breaks a promise is refused, and a secret neither taken from the command line nor
    /// shown. Method: a table, with a secret that is searched for.
    #[test]
    fn properties_are_read_or_refused() {
        let canary = "kestrel-7731";
        let variables = [("PASS".to_string(), canary.to_string())];
        let check = |word: &str, expected: Result<&str, &str>| {
            let read = properties(&[word.to_string()], &variables);
            let shown = match &read {
                Ok(it) => Ok(it[0].1.as_str()),
                Err(problems) => {
                    assert!(!problems[0].to_string().contains(canary), "{}", problems[0]);
                    Err(problems[0].code)
                }
            };
            assert_eq!(shown, expected, "{word}");
        };
        check("security.protocol=SASL_SSL", Ok("SASL_SSL"));
        check("sasl.password=env:PASS", Ok(canary));
        check("sasl.password=env:NONE", Err("produce/property"));
        check("sasl.password=file:/no/such", Err("produce/property"));
        check(&format!("sasl.password={canary}"), Err("produce/secret"));
        check("acks=1", Err("produce/property"));
        check("enable.idempotence=false", Err("produce/property"));
        check("linger", Err("produce/property"));
        let properties = properties(&["sasl.password=env:PASS".into()], &variables).unwrap();
        let compression = "lz4".into();
        let it = Settings { brokers: "b".into(), compression, paced: false, properties };
        assert!(!format!("{it:?}").contains(canary) && format!("{it:?}").contains("sasl.password"));
        let mut it = it;
        it.properties = vec![("ssl.keystore.password".into(), format!("\0{canary}"))];
        assert!(
            !cannot_make(&KafkaError::ClientConfig(
                rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
                canary.into(),
                "sasl.password".into(),
                canary.into()
            ))
            .to_string()
            .contains(canary)
        );
    }
}
