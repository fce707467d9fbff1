//! Every setting: its name, what it may be, and what it does, in words.
//!
//! One row reads a line of the file, a variable and a flag; `docs/configuration.md` is written
//! from the same rows ([`super::page`]). Defaults are those of [`Settings::default_in`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::health;
use super::identity;
use super::queues::{self, SlaLine};
use super::{OnDamage, Settings, StateOnDamage, values};

/// The data folder where nobody names one.
pub const DATA_DIR: &str = "data";

/// One setting.
pub struct Setting {
    /// `engine.workers`, `data_dir`.
    pub name: &'static str,
    /// What it may be, and where it goes.
    pub kind: Kind,
    /// What it does.
    pub words: &'static str,
}

/// What a setting may be (bounds included), and its place in [`Settings`].
pub enum Kind {
    /// A folder.
    Folder(fn(&mut Settings) -> &mut PathBuf),
    /// An address to listen on.
    Address(fn(&mut Settings) -> &mut SocketAddr),
    /// A plain number of things.
    Count(fn(&mut Settings) -> &mut usize, usize, usize),
    /// A plain number of things, large.
    Many(fn(&mut Settings) -> &mut u64, u64, u64),
    /// Time, with its unit; bounds as they are written.
    Time(fn(&mut Settings) -> &mut Duration, &'static str, &'static str),
    /// Bytes, with their unit; bounds as they are written.
    Size(fn(&mut Settings) -> &mut u64, &'static str, &'static str),
    /// One of two words: the one or the other.
    Word(fn(&mut Settings) -> &mut dyn Worded, [&'static str; 2]),
    /// Names of views.
    Views(fn(&mut Settings) -> &mut Vec<String>),
    /// What cases of a class are promised.
    Sla(fn(&mut Settings) -> &mut Vec<SlaLine>),
    /// What tiers are left of their time.
    Tiers(fn(&mut Settings) -> &mut Vec<(String, u8)>),
    /// Bands of health.
    Bands(fn(&mut Settings) -> &mut Vec<(String, u8)>),
    /// Kinds of identifiers, each with its limit.
    Kinds(fn(&mut Settings) -> &mut Vec<(String, u32)>),
    /// Names or patterns.
    Names(fn(&mut Settings) -> &mut Vec<String>),
}

/// A setting that is one of some words.
pub trait Worded {
    /// The word that it is.
    fn word(&self) -> &'static str;
    /// Becomes what this word means; none that it knows: nothing.
    fn take(&mut self, word: &str) -> Option<()>;
}

impl Worded for OnDamage {
    fn word(&self) -> &'static str {
        match self {
            OnDamage::Refuse => "refuse",
            OnDamage::Skip => "skip",
        }
    }
    fn take(&mut self, word: &str) -> Option<()> {
        *self = match word {
            "refuse" => OnDamage::Refuse,
            "skip" => OnDamage::Skip,
            _ => return None,
        };
        Some(())
    }
}

impl Worded for StateOnDamage {
    fn word(&self) -> &'static str {
        match self {
            StateOnDamage::Rebuild => "rebuild",
            StateOnDamage::Refuse => "refuse",
        }
    }
    fn take(&mut self, word: &str) -> Option<()> {
        *self = match word {
            "rebuild" => StateOnDamage::Rebuild,
            "refuse" => StateOnDamage::Refuse,
            _ => return None,
        };
        Some(())
    }
}

const fn row(name: &'static str, kind: Kind, words: &'static str) -> Setting {
    Setting { name, kind, words }
}

/// Every setting, in the order of the documentation. `[[feed]]` has rows of its own
/// ([`FEED_KEYS`]).
pub const TABLE: &[Setting] = &[
    row(
        "data_dir",
        Kind::Folder(|s| &mut s.data_dir),
        "Where everything durable lives: the embedded log, the kept rejects, the deployment's secret. One process at a time.",
    ),
    row(
        "engine.workers",
        Kind::Count(|s| &mut s.engine.workers, 1, 256),
        "Timely workers, one thread each. Answers do not depend on it.",
    ),
    row(
        "engine.views",
        Kind::Views(|s| &mut s.engine.views),
        "Views that are kept, by name; empty is all of them. A relation needs the views that it reads.",
    ),
    row(
        "engine.epoch_period",
        Kind::Time(|s| &mut s.engine.epoch_period, "1ms", "10s"),
        "How long an epoch stays open while events come: the delay from read to readable.",
    ),
    row(
        "engine.epoch_max_period",
        Kind::Time(|s| &mut s.engine.epoch_max_period, "1ms", "10s"),
        "Under backlog an epoch closes after this at the latest.",
    ),
    row(
        "engine.epoch_max_arrivals",
        Kind::Many(|s| &mut s.engine.epoch_max_arrivals, 1_000, 10_000_000),
        "Under backlog an epoch closes after so many events at the latest.",
    ),
    row(
        "engine.idle_period",
        Kind::Time(|s| &mut s.engine.idle_period, "10ms", "10s"),
        "How often `as_of` and the timers move when nothing comes.",
    ),
    row(
        "engine.stall_after",
        Kind::Time(|s| &mut s.engine.stall_after, "1s", "10min"),
        "Work waits and no epoch completes for so long: an alarm, and readiness fails.",
    ),
    row(
        "engine.late_after",
        Kind::Time(|s| &mut s.engine.late_after, "0s", "30d"),
        "An event older than the newest of its partition by more counts as late. It is applied all the same.",
    ),
    row(
        "engine.future_limit",
        Kind::Time(|s| &mut s.engine.future_limit, "0s", "1d"),
        "An event whose time is later than its append time by more is rejected.",
    ),
    row(
        "engine.dedup_horizon",
        Kind::Time(|s| &mut s.engine.dedup_horizon, "1min", "400d"),
        "How far back identities are remembered. A repeat from further back is counted again by counters.",
    ),
    row(
        "engine.dedup_max_bytes",
        Kind::Size(|s| &mut s.engine.dedup_max_bytes, "1 MiB", "1 TiB"),
        "Memory for identities. When it is short, the horizon shrinks: an alarm, and the effective horizon on `/v1/ledger`.",
    ),
    row(
        "engine.memory_max",
        Kind::Size(|s| &mut s.engine.memory_max, "16 MiB", "64 TiB"),
        "Resident memory. Above it nothing more is read until what is on its way has been worked off; when what lives alone is above it, reading stops with an alarm (HTTP answers 429) and reads go on.",
    ),
    row(
        "engine.undo_max_bytes",
        Kind::Size(|s| &mut s.engine.undo_max_bytes, "1 MiB", "64 GiB"),
        "Old versions kept for readers of earlier instants, and what one epoch adds. Above it the oldest cursor or stream loses its instant (410).",
    ),
    row(
        "engine.sentiment_half_life",
        Kind::Time(|s| &mut s.engine.sentiment_half_life, "1d", "1000d"),
        "A text older by so much than the newest of its customer or product, or than the day, counts half in their mean; in whole days.",
    ),
    row(
        "log.retention",
        Kind::Time(|s| &mut s.log.retention, "1min", "4000d"),
        "Segments of the embedded log older than this are removed; our own facts never.",
    ),
    row(
        "log.max_bytes",
        Kind::Size(|s| &mut s.log.max_bytes, "16 MiB", "1024 TiB"),
        "The oldest segments are removed while the log is larger; our own facts never.",
    ),
    row(
        "log.segment_bytes",
        Kind::Size(|s| &mut s.log.segment_bytes, "1 MiB", "2 GiB"),
        "Size of a segment: what is removed at once.",
    ),
    row(
        "log.commit_delay",
        Kind::Time(|s| &mut s.log.commit_delay, "0s", "1s"),
        "How long blocks may wait for each other, so that one fsync makes all of them durable.",
    ),
    row(
        "log.queue_bytes",
        Kind::Size(|s| &mut s.log.queue_bytes, "2 MiB", "64 GiB"),
        "Bytes waiting to be written before appends are refused (429).",
    ),
    row(
        "log.on_damage",
        Kind::Word(|s| &mut s.log.on_damage, ["refuse", "skip"]),
        "Damaged blocks in the embedded log or the kept rejects: `refuse` stops with their place; `skip` goes on without them, counting their positions as lost.",
    ),
    row(
        "state.interval",
        Kind::Time(|s| &mut s.state.interval, "10ms", "1min"),
        "From one checkpoint to the next: what a start after a crash reads again.",
    ),
    row(
        "state.max_interval",
        Kind::Time(|s| &mut s.state.max_interval, "10ms", "10min"),
        "Under backlog checkpoints are stretched, so that they take at most a seventh of the time, but no further than this.",
    ),
    row(
        "state.segment_bytes",
        Kind::Size(|s| &mut s.state.segment_bytes, "64 KiB", "1 GiB"),
        "Size of a segment of the state: what is written again and removed at once.",
    ),
    row(
        "state.on_damage",
        Kind::Word(|s| &mut s.state.on_damage, ["rebuild", "refuse"]),
        "A state that is damaged at a start: `rebuild` takes up the newest checkpoint before the damage where all that came since is to be read again, or makes it again from the log where nothing but the log was ever read and it has all of it, as another incarnation, and stops with the place otherwise; `refuse` always stops.",
    ),
    row(
        "rejects.max_bytes",
        Kind::Size(|s| &mut s.rejects.max_bytes, "1 MiB", "1 TiB"),
        "Kept rejects; above it the oldest become counts.",
    ),
    row(
        "serve.listen",
        Kind::Address(|s| &mut s.serve.listen),
        "Address and port of HTTP; port 0 takes a free one. Loopback unless told otherwise: there is no authorisation yet.",
    ),
    row(
        "serve.max_body_bytes",
        Kind::Size(|s| &mut s.serve.max_body_bytes, "1 KiB", "8 MiB"),
        "Largest request body (413). A request is one block of the log, which holds 16 MiB, tenants written in.",
    ),
    row(
        "serve.max_event_bytes",
        Kind::Size(|s| &mut s.serve.max_event_bytes, "1 KiB", "1 MiB"),
        "Largest event, its tenant included (413 over HTTP, a kept reject elsewhere); what the log has stays. CloudEvents asks for at least 64 KiB.",
    ),
    row(
        "serve.max_connections",
        Kind::Count(|s| &mut s.serve.max_connections, 1, 1_000_000),
        "Connections at once.",
    ),
    row(
        "serve.max_connections_per_address",
        Kind::Count(|s| &mut s.serve.max_connections_per_address, 1, 1_000_000),
        "Connections at once from one address; loopback has the whole.",
    ),
    row(
        "serve.max_streams",
        Kind::Count(|s| &mut s.serve.max_streams, 0, 1_000_000),
        "Streams (`/v1/stream`) at once.",
    ),
    row(
        "serve.header_timeout",
        Kind::Time(|s| &mut s.serve.header_timeout, "100ms", "10min"),
        "From the connection, or from the last answer's first new byte, to a complete header.",
    ),
    row(
        "serve.body_timeout",
        Kind::Time(|s| &mut s.serve.body_timeout, "100ms", "10min"),
        "From the header to the whole body.",
    ),
    row(
        "serve.idle_timeout",
        Kind::Time(|s| &mut s.serve.idle_timeout, "100ms", "1d"),
        "A connection without a request is closed.",
    ),
    row(
        "serve.drain_timeout",
        Kind::Time(|s| &mut s.serve.drain_timeout, "0s", "10min"),
        "How long requests and streams have to end at shutdown.",
    ),
    row(
        "serve.cursor_lease",
        Kind::Time(|s| &mut s.serve.cursor_lease, "1s", "10min"),
        "How long a listing's cursor holds its instant after each page; then 410.",
    ),
    row(
        "serve.at_least_timeout",
        Kind::Time(|s| &mut s.serve.at_least_timeout, "0s", "10min"),
        "Longest wait for `Millstream-At-Least`; then 503.",
    ),
    row(
        "sql.threads",
        Kind::Count(|s| &mut s.sql.threads, 1, 64),
        "Statements at once, one thread each. A request is answered by one of them.",
    ),
    row(
        "sql.max_waiting",
        Kind::Count(|s| &mut s.sql.max_waiting, 0, 10_000),
        "Requests that wait for such a thread; more are answered 503.",
    ),
    row(
        "sql.timeout",
        Kind::Time(|s| &mut s.sql.timeout, "10ms", "10min"),
        "From taking a request, its waiting included, to its last row; then it is stopped (422).",
    ),
    row(
        "sql.max_rows",
        Kind::Many(|s| &mut s.sql.max_rows, 1, 10_000_000),
        "Rows of an answer (422).",
    ),
    row(
        "sql.max_bytes",
        Kind::Size(|s| &mut s.sql.max_bytes, "1 KiB", "1 GiB"),
        "Bytes of an answer (422). As many are kept in memory for each statement at once.",
    ),
    row(
        "sql.memory_max",
        Kind::Size(|s| &mut s.sql.memory_max, "8 MiB", "1 TiB"),
        "Memory of all statements together, for sorting, grouping and joining: the one that asks for more is stopped (422). Nothing is written to a disk instead.",
    ),
    row(
        "queues.sla",
        Kind::Sla(|s| &mut s.queues.sla),
        "Until when work begins: for whom (`*`, a tier, `tier/band`, `*/band`), then a time for each of the severities 1 to 4. Of the lines that fit a case the one that says most stands.",
    ),
    row(
        "queues.tiers",
        Kind::Tiers(|s| &mut s.queues.tiers),
        "What cases of a tier are left of that time, in hundredths: it moves them forward, not their promise.",
    ),
    row(
        "queues.falling",
        Kind::Count(|s| &mut s.queues.falling, 1, 100),
        "What a case is left of its time while the customer is of a worse band of health than one, two, three or four weeks before, in hundredths; 100: nothing changes.",
    ),
    row(
        "queues.late_order",
        Kind::Count(|s| &mut s.queues.late_order, 1, 100),
        "What a case is left of its time while an order of its customer is late, in hundredths; 100: nothing changes.",
    ),
    row(
        "queues.third_case",
        Kind::Count(|s| &mut s.queues.third_case, 1, 100),
        "The same for one of three cases of a customer within a week.",
    ),
    row(
        "queues.due_soon",
        Kind::Count(|s| &mut s.queues.due_soon, 0, 100),
        "A waiting case is due soon when so much of its time is left, in hundredths.",
    ),
    row(
        "queues.first_severity",
        Kind::Count(|s| &mut s.queues.first_severity, 0, 4),
        "Cases up to this severity come before all others; 0: none does.",
    ),
    row(
        "queues.fairness",
        Kind::Count(|s| &mut s.queues.fairness, 0, 1_000),
        "Every n-th pick, n being this, takes the oldest of the cases whose promise is broken already, so that none waits for ever; 0: none does.",
    ),
    row(
        "queues.lease",
        Kind::Time(|s| &mut s.queues.lease, "1s", "30d"),
        "How long a claim holds a case; not completed by then, it waits again in its old place.",
    ),
    row(
        "queues.max_waiting",
        Kind::Count(|s| &mut s.queues.max_waiting, 1, 100_000),
        "Requests that wait for the desk; more are answered 503.",
    ),
    row(
        "health.recency",
        Kind::Count(|s| &mut s.health.recency, 0, 1_000),
        "What the time since the last purchase weighs, against the customer's own rhythm; 0: nothing.",
    ),
    row(
        "health.frequency",
        Kind::Count(|s| &mut s.health.frequency, 0, 1_000),
        "What it weighs how often the customer buys.",
    ),
    row(
        "health.trend",
        Kind::Count(|s| &mut s.health.trend, 0, 1_000),
        "What it weighs whether the customer spends more or less than before.",
    ),
    row(
        "health.sentiment",
        Kind::Count(|s| &mut s.health.sentiment, 0, 1_000),
        "What it weighs how the customer's texts of late feel.",
    ),
    row("health.cases", Kind::Count(|s| &mut s.health.cases, 0, 1_000), "What open cases weigh."),
    row(
        "health.late_orders",
        Kind::Count(|s| &mut s.health.late_orders, 0, 1_000),
        "What late orders weigh.",
    ),
    row(
        "health.bands",
        Kind::Bands(|s| &mut s.health.bands),
        "The bands, from the best to the worst, each with its lowest score.",
    ),
    row(
        "health.long_case",
        Kind::Time(|s| &mut s.health.long_case, "1min", "300d"),
        "A case that is open for longer, as of the start of the customer's day, counts more.",
    ),
    row(
        "identity.kinds",
        Kind::Kinds(|s| &mut s.identity.kinds),
        "Kinds of identifiers that join customers, from the one trusted most, each with how many customers may carry one value.",
    ),
    row(
        "identity.veto",
        Kind::Names(|s| &mut s.identity.veto),
        "Kinds of which one person has one value: customers with different ones are not joined, but by hand.",
    ),
    row(
        "identity.blocked",
        Kind::Names(|s| &mut s.identity.blocked),
        "Values that say nothing, in small letters, `*` for any characters. Those without a letter or a digit but 0 say nothing anyway.",
    ),
    row(
        "identity.max_members",
        Kind::Count(|s| &mut s.identity.max_members, 2, 1_000),
        "Most customers of one person: links that would make more of them do not count.",
    ),
    row(
        "capacity.measure",
        Kind::Time(|s| &mut s.capacity.measure, "1s", "24h"),
        "How often what the workers did is entered into the log, as the fact `system.measured`: at whole multiples of it in UTC, where at least 100 events were applied since the one before. What is before the first such instant is not measured.",
    ),
    row(
        "capacity.full",
        Kind::Count(|s| &mut s.capacity.full, 1, 100),
        "Percent of what the process can do: where one in ten forecasts exceeds it, more workers are advised.",
    ),
    row(
        "notifications.keep",
        Kind::Time(|s| &mut s.notifications.keep, "1s", "4000d"),
        "Messages that ended longer ago are forgotten, but for their ids and what they ended as. At least the longest `expires` of a channel and the longest `max_age`, `quiet`, `settle` and `group` of a rule; as long as that, where it is not said and that is longer.",
    ),
];

/// The keys of a `[[feed]]`, with their words; the last is optional.
pub const FEED_KEYS: &[(&str, &str)] = &[
    ("name", "Unique; letters, digits, `.`, `_`, `-`. `log`, `rejects` and `replay` are ours."),
    (
        "path",
        "A file of JSON lines (plain, `.gz`, `.zst`), a folder of such files, or `-` for standard input.",
    ),
    (
        "mapping",
        "A mapping file that turns foreign JSON into events; native CloudEvents if absent.",
    ),
];

/// Sections of the file, with what they are about.
pub const SECTIONS: &[(&str, &str)] = &[
    ("", "Before the first section."),
    ("engine", "How events are dated, deduplicated and computed."),
    ("log", "The embedded log."),
    ("state", "What is kept of every entity, so that a start goes on."),
    ("rejects", "Records that could not be taken."),
    ("serve", "HTTP."),
    ("sql", "Live SQL: `millstream sql` and `POST /v1/sql`."),
    ("queues", "Cases that wait: what they are promised, who is next ([queues.md](queues.md))."),
    ("health", "How well it stands with each customer ([health.md](health.md))."),
    ("identity", "Which customers are one person ([profiles.md](profiles.md))."),
    ("capacity", "What the process can do, against what comes ([load.md](load.md))."),
    ("notifications", "Messages that rules planned ([notifications.md](notifications.md))."),
];

/// Why a value cannot be used: what was expected.
pub(super) type Expected = String;

/// What somebody said, before it is known what it should be.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Text in the file (or a variable or a flag, which can only say text).
    Text(String),
    /// A whole number in the file.
    Number(String),
    /// A list of texts in the file.
    List(Vec<String>),
    /// Something that no setting is.
    Other(String),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Said::Text(it) => write!(f, "{it:?}"),
            Said::Number(it) => write!(f, "the plain number {it}"),
            Said::List(it) => write!(f, "{it:?}"),
            Said::Other(it) => f.write_str(it),
        }
    }
}

impl Setting {
    /// The row of this name.
    pub fn find(name: &str) -> Option<&'static Setting> {
        TABLE.iter().find(|it| it.name == name)
    }

    /// Section and key.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }

    /// The variable that overrides it.
    pub fn variable(&self) -> String {
        format!("MILLSTREAM_{}", self.name.replace('.', "__").to_uppercase())
    }

    /// What is expected of a value, in words.
    pub fn expected(&self) -> String {
        match &self.kind {
            Kind::Folder(_) => "a folder".to_string(),
            Kind::Address(_) => "an IP address and port such as \"127.0.0.1:8080\"".to_string(),
            Kind::Count(_, low, high) => format!("a whole number from {low} to {high}"),
            Kind::Many(_, low, high) => format!("a whole number from {low} to {high}"),
            Kind::Time(_, low, high) => format!("{}, from {low} to {high}", values::A_DURATION),
            Kind::Size(_, low, high) => format!("{}, from {low} to {high}", values::A_SIZE),
            Kind::Word(_, [one, other]) => format!("{one:?} or {other:?}"),
            Kind::Views(_) => "a list of names of views".to_string(),
            Kind::Sla(_) => queues::SLA_EXPECTED.to_string(),
            Kind::Tiers(_) => queues::TIERS_EXPECTED.to_string(),
            Kind::Bands(_) => health::BANDS_EXPECTED.to_string(),
            Kind::Kinds(_) => identity::KINDS_EXPECTED.to_string(),
            Kind::Names(_) => identity::NAMES_EXPECTED.to_string(),
        }
    }

    /// Takes what was said into the settings. `text_only`: from a variable or a flag, where numbers
    /// and lists (by commas) come as text.
    pub(super) fn set(
        &self,
        settings: &mut Settings,
        said: &Said,
        text_only: bool,
    ) -> Result<(), Expected> {
        let whole = || match said {
            Said::Number(it) => it.replace('_', "").parse::<u64>().ok(),
            Said::Text(it) if text_only => it.trim().replace('_', "").parse().ok(),
            _ => None,
        };
        let text = || match said {
            Said::Text(it) if !it.trim().is_empty() => Some(it.trim()),
            _ => None,
        };
        let done = match &self.kind {
            Kind::Folder(place) => text().map(|it| *place(settings) = PathBuf::from(it)),
            Kind::Address(place) => {
                text().and_then(|it| it.parse().ok()).map(|it| *place(settings) = it)
            }
            Kind::Count(place, low, high) => whole()
                .and_then(|it| usize::try_from(it).ok())
                .filter(|it| (low..=high).contains(&it))
                .map(|it| *place(settings) = it),
            Kind::Many(place, low, high) => {
                whole().filter(|it| (low..=high).contains(&it)).map(|it| *place(settings) = it)
            }
            Kind::Time(place, low, high) => text()
                .and_then(values::duration)
                .filter(|it| {
                    values::duration(low) <= Some(*it) && Some(*it) <= values::duration(high)
                })
                .map(|it| *place(settings) = it),
            Kind::Size(place, low, high) => text()
                .and_then(values::size)
                .filter(|it| values::size(low) <= Some(*it) && Some(*it) <= values::size(high))
                .map(|it| *place(settings) = it),
            Kind::Word(place, _) => text().and_then(|it| place(settings).take(it)),
            Kind::Views(place) => lines(said, text_only).map(|it| *place(settings) = it),
            Kind::Sla(place) => lines(said, text_only)
                .and_then(|it| queues::sla(&it))
                .map(|it| *place(settings) = it),
            Kind::Tiers(place) => lines(said, text_only)
                .and_then(|it| queues::tiers(&it))
                .map(|it| *place(settings) = it),
            Kind::Bands(place) => lines(said, text_only)
                .and_then(|it| health::bands(&it))
                .map(|it| *place(settings) = it),
            Kind::Kinds(place) => lines(said, text_only)
                .and_then(|it| identity::kinds(&it))
                .map(|it| *place(settings) = it),
            Kind::Names(place) => lines(said, text_only)
                .and_then(|it| identity::names(&it))
                .map(|it| *place(settings) = it),
        };
        done.ok_or_else(|| self.expected())
    }

    /// The value in some settings, as it would be written in the file.
    pub fn show(&self, settings: &Settings) -> String {
        let mut settings = settings.clone();
        match &self.kind {
            Kind::Folder(place) => format!("{:?}", place(&mut settings).display().to_string()),
            Kind::Address(place) => format!("\"{}\"", place(&mut settings)),
            Kind::Count(place, ..) => place(&mut settings).to_string(),
            Kind::Many(place, ..) => place(&mut settings).to_string(),
            Kind::Time(place, ..) => {
                format!("\"{}\"", values::show_duration(*place(&mut settings)))
            }
            Kind::Size(place, ..) => format!("\"{}\"", values::show_size(*place(&mut settings))),
            Kind::Word(place, _) => format!("{:?}", place(&mut settings).word()),
            Kind::Views(place) => format!("{:?}", place(&mut settings)),
            Kind::Sla(place) => {
                let lines: Vec<_> = place(&mut settings).iter().map(queues::show_sla).collect();
                format!("{lines:?}")
            }
            Kind::Tiers(place) => {
                let shown = place(&mut settings).iter().map(|it| format!("{} {}", it.0, it.1));
                format!("{:?}", shown.collect::<Vec<_>>())
            }
            Kind::Bands(place) => format!("{:?}", health::show_bands(place(&mut settings))),
            Kind::Kinds(place) => format!("{:?}", identity::show_kinds(place(&mut settings))),
            Kind::Names(place) => format!("{:?}", place(&mut settings)),
        }
    }
}

/// A list of texts: from a variable or a flag they come by commas.
fn lines(said: &Said, text_only: bool) -> Option<Vec<String>> {
    match said {
        Said::List(it) => Some(it.clone()),
        Said::Text(it) if text_only => Some(names_in(it)),
        _ => None,
    }
}

/// `a, b` as a list of two.
pub(super) fn names_in(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_string).collect()
}
