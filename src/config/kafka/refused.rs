//! librdkafka's settings that are not passed through, and why; and those that are secrets.

use std::path::Path;

const NOTHING_LOST: &str =
    "nothing lost, nothing doubled: where reading goes on comes from our own record";
const NOTHING_SILENT: &str = "nothing silent: every offset is counted in one place";
const SECRETS: &str = "secrets come from a file or a variable and are never printed";
const SECRET_FILE: &str = "say `\"file:PATH\"`: secrets come from a file and are never printed";
const BOUNDED: &str = "memory stays under its cap";

/// librdkafka settings that are refused: a name (or a beginning of names, with `*`), and the
/// promise that it would break, or what to say instead.
pub const REFUSED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "a name with a mistake in it makes no topic"),
    ("auto.commit.*", NOTHING_LOST),
    ("auto.offset.reset", NOTHING_LOST),
    ("bootstrap.servers", "say `brokers`"),
    ("check.crcs", "damage is detected, never decoded"),
    ("enable.auto.commit", NOTHING_LOST),
    ("enable.auto.offset.store", NOTHING_LOST),
    ("enable.partition.eof", NOTHING_SILENT),
    ("enable.ssl.certificate.verification", "a broker that we cannot trust is refused"),
    ("group.*", "say `group`; it is told how far we are and decides nothing"),
    ("isolation.level", "what a transaction took back is never read"),
    ("log.queue", "nothing silent: librdkafka's own words are heard"),
    ("metadata.broker.list", "say `brokers`"),
    ("offset.store.*", NOTHING_LOST),
    ("partition.assignment.strategy", NOTHING_LOST),
    ("plugin.library.paths", "no code of others is loaded into this process"),
    ("queued.max.messages.kbytes", BOUNDED),
    ("sasl.mechanism", "say `sasl`"),
    ("sasl.mechanisms", "say `sasl`"),
    ("sasl.password", SECRETS),
    ("sasl.username", "say `username`"),
    ("sasl.oauthbearer.client.secret", SECRET_FILE),
    ("sasl.oauthbearer.config", SECRET_FILE),
    ("security.protocol", "say `tls_ca` and `sasl`"),
    ("ssl.ca.location", "say `tls_ca`"),
    ("ssl.ca.pem", "say `tls_ca`"),
    ("ssl.key.password", SECRET_FILE),
    ("ssl.key.pem", SECRET_FILE),
    ("ssl.keystore.password", SECRET_FILE),
    ("statistics.interval.ms", NOTHING_SILENT),
];

/// Whether nobody may see its value.
pub fn is_secret(name: &str) -> bool {
    matches!(refused(name), Some(SECRETS | SECRET_FILE))
}

/// The file that holds the value of a setting, if it is a secret and its value says so. It is read
/// whenever we connect.
pub fn secret_file<'a>(name: &str, value: &'a str) -> Option<&'a Path> {
    let path = value.strip_prefix("file:").filter(|it| !it.is_empty());
    path.filter(|_| refused(name) == Some(SECRET_FILE)).map(Path::new)
}

/// The promise that a librdkafka setting would break.
pub fn refused(name: &str) -> Option<&'static str> {
    let matches = |it: &&(&str, &str)| match it.0.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => it.0 == name,
    };
    REFUSED.iter().find(matches).map(|it| it.1)
}
