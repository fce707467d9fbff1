//! `[sinks.NAME]`: what leaves, where to, and how much at once.
//!
//! In: a table of the settings file. Out: [`SinkSettings`], or every problem at once.
//!
//! # Invariants
//! A key stands in [`SINK_KEYS`] with the kinds of sinks that it is for; one that is for another
//! kind is told, never ignored.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemas::nearest::nearest;
use toml::de::DeTable;

use super::clickhouse::{self, ClickHouseSettings};
use super::kafka::Wrong;
use super::named::{Key, Reader};
use super::problem::{Place, Trouble};

/// A `[sinks.NAME]`, checked.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Unique; the name of its folder, too.
    pub name: String,
    /// What is handed over.
    pub take: Vec<Sort>,
    /// Of which views; empty is all.
    pub views: Vec<String>,
    /// Bytes of its outbox above which reading is held back.
    pub max_bytes: u64,
    /// Items in one batch, at most.
    pub batch_rows: usize,
    /// Bytes of one batch, about.
    pub batch_bytes: u64,
    /// What waits is handed over after so long.
    pub flush_every: Duration,
    /// An attempt that takes longer is given up.
    pub timeout: Duration,
    /// Where to.
    pub to: To,
}

/// What can be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Current rows.
    Rows,
    /// Changes.
    Changes,
    /// Events.
    Events,
}

/// Sorts, as they are written.
pub const SORTS: [(&str, Sort); 3] =
    [("rows", Sort::Rows), ("changes", Sort::Changes), ("events", Sort::Events)];

/// Where to.
#[derive(Clone, Debug)]
pub enum To {
    /// Files of JSON lines in this folder.
    Jsonl(PathBuf),
    /// The tables of a ClickHouse.
    ClickHouse(ClickHouseSettings),
}

/// Kinds of sinks.
pub const KINDS: &[&str] = &["clickhouse", "jsonl"];

/// The keys of a `[sinks.NAME]`: name, the kind it is for (empty: every kind), an example as it is
/// written (the default, where there is one), words.
pub const SINK_KEYS: &[Key] = &[
    (
        "kind",
        "",
        "\"jsonl\"",
        "What it is: `clickhouse` (tables, docs/clickhouse.md) or `jsonl` (files of JSON lines).",
    ),
    ("path", "jsonl", "\"out\"", "The folder of the files."),
    (
        "url",
        "clickhouse",
        "\"http://127.0.0.1:8123\"",
        "The server, by http or https; user and password are said apart.",
    ),
    (
        "database",
        "clickhouse",
        "\"millstream\"",
        "The database; `millstream migrate` makes it and its tables.",
    ),
    (
        "user",
        "clickhouse",
        "\"default\"",
        "Who we are there; needs the role `millstream_writer` (schemas/clickhouse/access.sql).",
    ),
    (
        "password_file",
        "clickhouse",
        "\"clickhouse.password\"",
        "A file that holds the user's password; read again whenever we connect.",
    ),
    (
        "password_env",
        "clickhouse",
        "\"CLICKHOUSE_PASSWORD\"",
        "A variable of the process that holds the user's password.",
    ),
    (
        "ca_file",
        "clickhouse",
        "\"clickhouse.pem\"",
        "Certificates that are trusted with https; the system's if absent.",
    ),
    (
        "compress",
        "clickhouse",
        "\"auto\"",
        "Inserts as lz4: `auto` (to other machines only: on one machine it only costs), `lz4`, `none`.",
    ),
    (
        "take",
        "",
        "[\"rows\", \"changes\"]",
        "What is handed over: `rows` (current rows, the newest of each key), `changes` (every change, by instants), `events` (as they were applied); if absent `rows` and `changes`, to `clickhouse` all three.",
    ),
    ("views", "", "[\"orders\"]", "Of which views; of all if absent."),
    (
        "max_bytes",
        "",
        "\"4 GiB\"",
        "What waits for it may have so much of the disk; above, reading is held back until it is less. 64 MiB to 64 TiB.",
    ),
    ("batch_rows", "", "200000", "Items in one batch, at most: 1 to 1,000,000."),
    ("batch_bytes", "", "\"12 MiB\"", "Bytes of one batch, about: 1 KiB to 12 MiB."),
    (
        "flush_every",
        "",
        "\"1s\"",
        "What waits is handed over after so long, however little it is: 10ms to 10min.",
    ),
    (
        "timeout",
        "",
        "\"30s\"",
        "An attempt that takes longer is given up and made again: 100ms to 1h.",
    ),
];

/// Reads a `[sinks.NAME]`; `None` if something is wrong, and all of it is in `wrong`.
pub(super) fn read(
    (name, place): (&str, Place),
    table: &DeTable<'_>,
    (folder, variables): (&Path, &[(String, String)]),
    at: &dyn Fn(usize) -> Place,
    wrong: &mut Vec<Wrong>,
) -> Option<SinkSettings> {
    let it = Reader::of(("sinks", name, &place), table, SINK_KEYS, at, wrong);
    it.finish(place, folder, variables)
}

impl Reader<'_> {
    fn take(&mut self, kind: &str) -> Vec<Sort> {
        let Some((at, texts)) = self.list("take") else {
            // Tables are for history: without events some of it is missing, for good.
            let all = SORTS.map(|it| it.1);
            return if kind == "clickhouse" { all.into() } else { all[..2].into() };
        };
        let mut sorts = Vec::new();
        for text in texts {
            match SORTS.iter().find(|it| it.0 == text) {
                Some((_, sort)) => sorts.push(*sort),
                None => {
                    let names = SORTS.map(|it| it.0);
                    let meant = nearest(&text, &names).map(str::to_string);
                    let expected = format!("of {}", names.join(", "));
                    let found = format!("{text:?}");
                    self.say(Trouble::Value, at.clone(), "take", expected, found, meant);
                }
            }
        }
        sorts.sort_unstable();
        sorts.dedup();
        sorts
    }

    fn finish(
        mut self,
        place: Place,
        folder: &Path,
        variables: &[(String, String)],
    ) -> Option<SinkSettings> {
        let kind = match self.text("kind") {
            Some((_, kind)) if KINDS.contains(&kind.as_str()) => kind,
            Some((at, kind)) => {
                let meant = nearest(&kind, KINDS).map(str::to_string);
                let expected = format!("one of {}", KINDS.join(", "));
                self.say(Trouble::Value, at, "kind", expected, format!("{kind:?}"), meant);
                return None;
            }
            None => {
                if !self.said("kind") {
                    let found = "a sink without `kind`";
                    self.say(Trouble::Value, place, "", "`kind`", found, None);
                }
                return None;
            }
        };
        self.only_of(&kind, SINK_KEYS);
        const MIB: u64 = 1 << 20;
        let (ms, secs) = (Duration::from_millis, Duration::from_secs);
        let take = self.take(&kind);
        let views = self.list("views").map_or_else(Vec::new, |it| it.1);
        let max_bytes = self.size("max_bytes", 4 << 30, 64 * MIB, 64 << 40);
        let batch_rows = self.count("batch_rows", 200_000, 1_000_000);
        let batch_bytes = self.size("batch_bytes", 12 * MIB, 1 << 10, 12 * MIB);
        let flush_every = self.time("flush_every", secs(1), ms(10), secs(600));
        let timeout = self.time("timeout", secs(30), ms(100), secs(3_600));
        let to = match kind.as_str() {
            "clickhouse" => {
                let it = self.clickhouse(place, folder, variables);
                it.map(|it| To::ClickHouse(ClickHouseSettings { timeout, ..it }))
            }
            _ => self.jsonl(place, folder),
        };
        let to = to?;
        let name = self.name().to_string();
        self.good().then_some(SinkSettings {
            name,
            take,
            views,
            max_bytes,
            batch_rows,
            batch_bytes,
            flush_every,
            timeout,
            to,
        })
    }
}

impl Reader<'_> {
    fn jsonl(&mut self, place: Place, folder: &Path) -> Option<To> {
        let path = self.text("path").map(|it| folder.join(it.1));
        if path.is_none() && self.good() {
            let found = "a sink without `path`";
            self.say(Trouble::Value, place, "", "`path`", found, None);
        }
        path.map(To::Jsonl)
    }

    fn clickhouse(
        &mut self,
        place: Place,
        folder: &Path,
        variables: &[(String, String)],
    ) -> Option<ClickHouseSettings> {
        let mut it = ClickHouseSettings::default();
        type Check<'s> = (&'s str, fn(&str) -> bool, &'s str, &'s mut String);
        let checks: [Check<'_>; 4] = [
            ("url", clickhouse::is_url, clickhouse::A_URL, &mut it.url),
            ("database", clickhouse::is_name, clickhouse::A_NAME, &mut it.database),
            ("user", |_| true, "a user's name", &mut it.user),
            ("compress", clickhouse::is_compress, clickhouse::A_COMPRESS, &mut it.compress),
        ];
        for (key, fits, expected, into) in checks {
            match self.text(key) {
                Some((_, text)) if fits(&text) => *into = text,
                Some((at, text)) => {
                    self.say(Trouble::Value, at, key, expected, format!("{text:?}"), None);
                }
                None => {}
            }
        }
        it.ca_file = self.text("ca_file").map(|it| folder.join(it.1));
        it.password = self.secret(("password_file", "password_env"), folder, variables);
        if it.url.is_empty() && self.good() {
            let found = "a sink without `url`";
            self.say(Trouble::Value, place, "", "`url`", found, None);
        }
        self.good().then_some(it)
    }
}
