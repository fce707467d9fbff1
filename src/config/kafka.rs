//! `[[kafka]]`: which topics are read, how, and as whom.
//!
//! In: a table of the settings file. Out: [`KafkaSettings`], or every problem at once.
//!
//! # Invariants
//! - Reading is ours: a librdkafka setting that would break a promise is refused, with the
//!   promise ([`REFUSED`]). Any other is passed through by its name.
//! - No secret stands in the file and none is ever printed: a password comes from a file (read
//!   again whenever we connect, so that a mended one is taken up) or from a variable.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use schemas::nearest::nearest;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Trouble};

mod refused;

pub use refused::{REFUSED, is_secret, refused, secret_file};

/// A `[[kafka]]`, checked.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Unique among all feeds; its topics are the feeds `name/topic`.
    pub name: String,
    /// Addresses to begin with.
    pub brokers: Vec<String>,
    /// Topics by name.
    pub topics: Vec<String>,
    /// Topics by pattern, also those that come later.
    pub pattern: Option<regex::Regex>,
    /// A mapping file; native CloudEvents if absent.
    pub mapping: Option<PathBuf>,
    /// Where a topic that was never read begins.
    pub start: Start,
    /// The group that is told how far we are; a courtesy, nothing depends on it.
    pub group: String,
    /// TLS, if it is wanted.
    pub tls: Option<Tls>,
    /// Who we are.
    pub sasl: Option<Sasl>,
    /// Settings passed through.
    pub librdkafka: Vec<(String, String)>,
}

impl KafkaSettings {
    /// Whether it reads a topic of this name.
    pub fn names(&self, topic: &str) -> bool {
        let by_pattern = self.pattern.as_ref().is_some_and(|it| it.is_match(topic));
        by_pattern || self.topics.iter().any(|it| it == topic)
    }
}

/// Where a topic that was never read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest record there is.
    Earliest,
    /// What comes after the start.
    Latest,
    /// The first record of this time or later, milliseconds.
    At(u64),
}

/// How the broker's certificate is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// By the system's authorities.
    System,
    /// By these, a PEM file.
    Ca(PathBuf),
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The user.
    pub username: String,
    /// Where its password comes from.
    pub password: Password,
}

/// Where a password comes from. Shown without it.
#[derive(Clone)]
pub enum Password {
    /// A file, read whenever we connect.
    File(PathBuf),
    /// The value of a variable of the process.
    Variable(String, String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::File(path) => write!(f, "in the file {}", path.display()),
            Password::Variable(name, _) => write!(f, "in the variable {name}"),
        }
    }
}

/// The keys of a `[[kafka]]`: name, an example as it is written, words.
pub const KAFKA_KEYS: &[(&str, &str, &str)] = &[
    (
        "name",
        "\"shop\"",
        "Unique among all feeds; letters, digits, `.`, `_`, `-`. Its topics are the feeds `name/topic`.",
    ),
    (
        "brokers",
        "[\"127.0.0.1:9092\"]",
        "Addresses to begin with; the others are learned from these.",
    ),
    (
        "topics",
        "[\"crm.events\"]",
        "Topics by name. A topic that is not there yet is read once it is.",
    ),
    (
        "pattern",
        "\"^shop[.]\"",
        "Topics by regular expression, besides those of `topics`; those that come later are found within ten seconds. Kafka's own (`__…`) are left out.",
    ),
    (
        "mapping",
        "\"mappings/orders.toml\"",
        "A mapping file that turns foreign JSON into events; native CloudEvents (structured or binary) if absent.",
    ),
    (
        "start",
        "\"earliest\"",
        "Where a topic that was never read begins: `earliest` (if absent), `latest`, or an instant such as `2026-01-01T00:00:00Z`.",
    ),
    (
        "group",
        "\"millstream\"",
        "The consumer group that is told how far we are, for tools that show lag; `millstream` if absent. Nothing depends on it.",
    ),
    (
        "tls_ca",
        "\"ca.pem\"",
        "Speak TLS, and trust the authorities of this PEM file; `system` trusts the system's.",
    ),
    (
        "sasl",
        "\"SCRAM-SHA-256\"",
        "Say who we are: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; needs `username` and a password.",
    ),
    ("username", "\"millstream\"", "The user of `sasl`."),
    (
        "password_file",
        "\"kafka.password\"",
        "A file that holds the password; read again whenever we connect.",
    ),
    ("password_env", "\"KAFKA_PASSWORD\"", "A variable of the process that holds the password."),
    (
        "librdkafka",
        "{ \"client.id\" = \"millstream\" }",
        "Settings of librdkafka, passed through by name, except those that would break a promise.",
    ),
];

/// One thing wrong: what kind, where, which setting, expected, found, nearest.
pub(super) type Wrong = (Trouble, Place, String, String, String, Option<String>);

/// Reads a `[[kafka]]`; `None` if something is wrong, and all of it is in `wrong`.
pub(super) fn read(
    place: Place,
    table: &DeTable<'_>,
    folder: &Path,
    variables: &[(String, String)],
    at: &dyn Fn(usize) -> Place,
    wrong: &mut Vec<Wrong>,
) -> Option<KafkaSettings> {
    let mut it = Reader { texts: BTreeMap::new(), at, wrong, good: true };
    let mut librdkafka = Vec::new();
    for (key, value) in table {
        let (name, at) = (key.get_ref().as_ref(), at(key.span().start));
        match name {
            _ if !KAFKA_KEYS.iter().any(|it| it.0 == name) => {
                let names: Vec<&str> = KAFKA_KEYS.iter().map(|it| it.0).collect();
                let meant = nearest(name, &names).map(str::to_string);
                let expected = format!("one of {}", names.join(", "));
                it.say(Trouble::Name, at, name, expected, format!("{name:?}"), meant);
            }
            "librdkafka" => it.passed_through(at, value.get_ref(), folder, &mut librdkafka),
            "brokers" | "topics" => it.list(at, name, value.get_ref()),
            _ => match value.get_ref().as_str() {
                Some(text) if !text.trim().is_empty() => {
                    it.texts.insert(name.to_string(), (at, vec![text.trim().to_string()]));
                }
                _ => it.say(Trouble::Value, at, name, "text", told(value.get_ref()), None),
            },
        }
    }
    it.finish(place, folder, variables, librdkafka)
}

struct Reader<'a> {
    texts: BTreeMap<String, (Place, Vec<String>)>,
    at: &'a dyn Fn(usize) -> Place,
    wrong: &'a mut Vec<Wrong>,
    good: bool,
}

impl Reader<'_> {
    fn say(
        &mut self,
        trouble: Trouble,
        place: Place,
        key: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
        nearest: Option<String>,
    ) {
        self.good = false;
        let setting = if key.is_empty() { "kafka".into() } else { format!("kafka.{key}") };
        self.wrong.push((trouble, place, setting, expected.into(), found.into(), nearest));
    }

    fn list(&mut self, at: Place, name: &str, value: &DeValue<'_>) {
        let texts: Option<Vec<String>> = match value {
            DeValue::String(it) => Some(super::table::names_in(it)),
            DeValue::Array(list) => {
                list.iter().map(|it| it.get_ref().as_str().map(|it| it.trim().into())).collect()
            }
            _ => None,
        };
        match texts.filter(|it| !it.is_empty() && it.iter().all(|it| !it.is_empty())) {
            Some(texts) => {
                self.texts.insert(name.to_string(), (at, texts));
            }
            None => self.say(Trouble::Value, at, name, "a list of texts", told(value), None),
        }
    }

    fn passed_through(
        &mut self,
        at: Place,
        value: &DeValue<'_>,
        folder: &Path,
        to: &mut Vec<(String, String)>,
    ) {
        let DeValue::Table(table) = value else {
            let expected = "a table `{ \"name\" = value }`";
            return self.say(Trouble::Value, at, "librdkafka", expected, told(value), None);
        };
        for (key, value) in table {
            let (name, place) = (key.get_ref().as_ref(), (self.at)(key.span().start));
            let setting = format!("librdkafka.{name}");
            let file = value.get_ref().as_str().and_then(|it| secret_file(name, it));
            if let Some(file) = file {
                to.push((name.to_string(), format!("file:{}", folder.join(file).display())));
            } else if let Some(promise) = refused(name) {
                let expected = format!("a setting that breaks no promise ({promise})");
                self.say(Trouble::Conflict, place, &setting, expected, format!("{name:?}"), None);
                continue;
            }
            match value.get_ref() {
                DeValue::String(it) => to.push((name.to_string(), it.to_string())),
                DeValue::Integer(it) => to.push((name.to_string(), it.as_str().to_string())),
                DeValue::Boolean(it) => to.push((name.to_string(), it.to_string())),
                other => {
                    let expected = "text, a number, true or false";
                    self.say(Trouble::Value, place, &setting, expected, told(other), None);
                }
            }
        }
    }

    fn one(&self, key: &str) -> Option<(Place, String)> {
        self.texts.get(key).and_then(|it| Some((it.0.clone(), it.1.first()?.clone())))
    }

    fn many(&self, key: &str) -> Vec<String> {
        self.texts.get(key).map_or_else(Vec::new, |it| it.1.clone())
    }

    fn finish(
        mut self,
        place: Place,
        folder: &Path,
        variables: &[(String, String)],
        librdkafka: Vec<(String, String)>,
    ) -> Option<KafkaSettings> {
        let pattern = self.pattern();
        let start = self.start();
        let sasl = self.sasl(folder, variables);
        // A problem with a key says itself why the key is not there.
        if self.good {
            for (lacks, there) in [
                ("`name`", self.texts.contains_key("name")),
                ("`brokers`", self.texts.contains_key("brokers")),
                ("`topics` or `pattern`", self.texts.contains_key("topics") || pattern.is_some()),
            ] {
                if !there {
                    let expected = "`name`, `brokers`, and `topics` or `pattern`";
                    let found = format!("a feed without {lacks}");
                    self.say(Trouble::Value, place.clone(), "", expected, found, None);
                }
            }
        }
        let in_folder = |it: String| folder.join(it);
        let tls = self.one("tls_ca").map(|it| match it.1.as_str() {
            "system" => Tls::System,
            _ => Tls::Ca(in_folder(it.1)),
        });
        self.good.then(|| KafkaSettings {
            name: self.one("name").map_or_else(String::new, |it| it.1),
            brokers: self.many("brokers"),
            topics: self.many("topics"),
            pattern,
            mapping: self.one("mapping").map(|it| in_folder(it.1)),
            start,
            group: self.one("group").map_or_else(|| "millstream".into(), |it| it.1),
            tls,
            sasl,
            librdkafka,
        })
    }

    fn pattern(&mut self) -> Option<regex::Regex> {
        let (place, text) = self.one("pattern")?;
        match regex::RegexBuilder::new(&text).size_limit(1 << 20).build() {
            Ok(it) => Some(it),
            Err(why) => {
                let why = why.to_string();
                let found = format!("{text:?}: {}", why.lines().last().unwrap_or(&why));
                self.say(Trouble::Value, place, "pattern", "a regular expression", found, None);
                None
            }
        }
    }

    fn start(&mut self) -> Start {
        let Some((place, text)) = self.one("start") else { return Start::Earliest };
        match parse_start(&text) {
            Some(it) => it,
            None => {
                let expected = A_START;
                self.say(Trouble::Value, place, "start", expected, format!("{text:?}"), None);
                Start::Earliest
            }
        }
    }

    fn sasl(&mut self, folder: &Path, variables: &[(String, String)]) -> Option<Sasl> {
        const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
        let (username, file, variable) =
            (self.one("username"), self.one("password_file"), self.one("password_env"));
        let Some((at, said)) = self.one("sasl") else {
            if let Some((at, _)) = username.or(file).or(variable) {
                let expected = format!("`sasl`: one of {}", MECHANISMS.join(", "));
                self.say(Trouble::Conflict, at, "username", expected, "none", None);
            }
            return None;
        };
        let Some(mechanism) = MECHANISMS.into_iter().find(|it| *it == said) else {
            let expected = format!("one of {}", MECHANISMS.join(", "));
            let meant = nearest(&said, &MECHANISMS).map(str::to_string);
            self.say(Trouble::Value, at, "sasl", expected, format!("{said:?}"), meant);
            return None;
        };
        let password = match (file, variable) {
            (Some((_, file)), None) => Some(Password::File(folder.join(file))),
            (None, Some((at, name))) => match variables.iter().find(|it| it.0 == name) {
                Some((_, value)) => Some(Password::Variable(name, value.clone())),
                None => {
                    let expected = "a variable that is set";
                    let found = format!("no {name}");
                    self.say(Trouble::Value, at, "password_env", expected, found, None);
                    None
                }
            },
            (Some((at, _)), Some(_)) => {
                let expected = "`password_file` or `password_env`";
                self.say(Trouble::Conflict, at, "password_file", expected, "both", None);
                None
            }
            (None, None) => {
                let expected = "`password_file` or `password_env`";
                self.say(Trouble::Value, at.clone(), "sasl", expected, "neither", None);
                None
            }
        };
        if username.is_none() {
            self.say(Trouble::Value, at, "sasl", "`username`", "none", None);
        }
        Some(Sasl { mechanism, username: username?.1, password: password? })
    }
}

/// What a start may be, in words.
pub const A_START: &str = "`earliest`, `latest` or an instant such as \"2026-01-01T00:00:00Z\"";

/// A start as it is written.
pub fn parse_start(text: &str) -> Option<Start> {
    match text {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        _ => {
            let micros = schemas::time::parse_rfc3339(text)?;
            u64::try_from(micros / 1_000).ok().map(Start::At)
        }
    }
}

fn told(value: &DeValue<'_>) -> String {
    super::layers::said(value).to_string()
}
