//! Settings: what was written in the file, the variables and the flags, checked whole, and what
//! the rooms receive.
//!
//! In: the text of a file, the process's variables, flags. Out: [`Settings`], or every
//! [`ConfigProblem`] at once.
//!
//! # Meaning
//! file < `MILLSTREAM_SECTION__KEY` variables < flags, setting by setting; what nobody says has its
//! default, so that no file is needed. One table ([`table::TABLE`]) names every setting, its
//! bounds and its words; `docs/configuration.md` is written from it (`tests/config.rs`).
//!
//! # When it fails
//! Nothing is started and no data is touched. Each problem says where, what was expected, what
//! was found and the nearest valid name.
//!
//! # Why this way
//! serde stops at the first wrong value; a table over the parsed tree sees all of them, and the
//! same row reads a line of the file, a variable and a flag.

pub mod channels; // `[channels.NAME]`: who is told, and how
pub mod clickhouse; // where a ClickHouse is, who we are there
pub mod kafka; // `[[kafka]]`: topics, who we are, what is passed through
mod machine; // what this machine has
mod layers; // file, variables and flags, laid over each other
pub mod page; // the table as documentation and as an example file
pub mod rules; // `[rules.NAME]`: what is worth telling whom
pub mod sinks; // `[sinks.NAME]`: what leaves, and where to
pub mod health; // `[health]`: what the components weigh, which bands there are
pub mod capacity; // `[capacity]`: how often it is measured, and when it is full
pub mod identity; // `[identity]`: which identifiers join customers
pub mod queues; // `[queues]`: what is promised, who is next
pub mod named; // tables with a name, key by key
mod problem; // how a wrong setting is told
pub mod table; // every setting: name, kind, bounds, words
pub mod values; // sizes and durations with their units

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use capacity::Capacity;
pub use channels::ChannelSettings;
pub use clickhouse::ClickHouseSettings;
pub use health::Health;
pub use identity::Identity;
pub use kafka::{KafkaSettings, Password};
pub use layers::{Sources, load, read};
pub use problem::{ConfigProblem, Place, Trouble};
pub use queues::Queues;
pub use rules::RuleSettings;
pub use sinks::SinkSettings;
pub use values::show_duration;

/// The settings, checked: a room that holds them need not doubt them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything durable lives (`data_dir`).
    pub data_dir: PathBuf,
    /// `[engine]`
    pub engine: Engine,
    /// `[log]`
    pub log: Log,
    /// `[state]`
    pub state: State,
    /// `[rejects]`
    pub rejects: Rejects,
    /// `[serve]`
    pub serve: Serve,
    /// `[sql]`
    pub sql: Sql,
    /// `[queues]`
    pub queues: Queues,
    /// `[health]`
    pub health: Health,
    /// `[identity]`
    pub identity: Identity,
    /// `[capacity]`
    pub capacity: Capacity,
    /// `[notifications]`
    pub notifications: Notifications,
    /// `[[feed]]`
    pub feeds: Vec<FeedSettings>,
    /// `[[kafka]]`
    pub kafka: Vec<KafkaSettings>,
    /// `[sinks.NAME]`
    pub sinks: Vec<SinkSettings>,
    /// `[channels.NAME]`
    pub channels: Vec<ChannelSettings>,
    /// `[rules.NAME]`
    pub rules: Vec<RuleSettings>,
}

/// `[engine]`
#[derive(Clone, Debug)]
pub struct Engine {
    /// Timely workers; default: all cores but one, at least one.
    pub workers: usize,
    /// Views kept; empty is all.
    pub views: Vec<String>,
    /// How long an epoch stays open while events come (5 ms).
    pub epoch_period: Duration,
    /// At the latest under backlog (250 ms).
    pub epoch_max_period: Duration,
    /// At the latest after so many arrivals (30,000: docs/decisions/epochs-of-thirty-thousand.md).
    pub epoch_max_arrivals: u64,
    /// How often `as_of` moves when nothing comes (200 ms).
    pub idle_period: Duration,
    /// No progress of the frontier for so long, with work waiting, is a stall (10 s).
    pub stall_after: Duration,
    /// An event older than the newest of its partition by more is late (5 s).
    pub late_after: Duration,
    /// An event whose time is later than its append time by more is rejected (5 min).
    pub future_limit: Duration,
    /// How far back identities are remembered (7 days).
    pub dedup_horizon: Duration,
    /// Memory for identities (1 GiB).
    pub dedup_max_bytes: u64,
    /// Resident memory above which nothing more is read (60 % of the machine).
    pub memory_max: u64,
    /// Undo kept for readers before the oldest lease is revoked (64 MiB).
    pub undo_max_bytes: u64,
    /// A text half as new by so much counts half in the mean of its customer or product (30 days).
    pub sentiment_half_life: Duration,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// Segments older than this are removed (30 days).
    pub retention: Duration,
    /// Segments are removed while the log is larger (64 GiB).
    pub max_bytes: u64,
    /// Size of a segment (256 MiB).
    pub segment_bytes: u64,
    /// Blocks waiting for one fsync at most this long (2 ms).
    pub commit_delay: Duration,
    /// Bytes waiting to be written before appends are refused (64 MiB).
    pub queue_bytes: u64,
    /// What becomes of damage that is found in it (refused).
    pub on_damage: OnDamage,
}

/// `[state]`
#[derive(Clone, Debug)]
pub struct State {
    /// From one checkpoint to the next (250 ms).
    pub interval: Duration,
    /// The same at most, where checkpoints take long (1 s).
    pub max_interval: Duration,
    /// Size of a segment: what is written again and removed at once (16 MiB).
    pub segment_bytes: u64,
    /// What a start does with damage in it (builds it again from the log).
    pub on_damage: StateOnDamage,
}

/// What a start does with a state that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateOnDamage {
    /// It is built again from the log, where that has everything; else as below.
    Rebuild,
    /// It ends with a report.
    Refuse,
}

/// What becomes of damage in what is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    /// Opening (or reading) ends with a report.
    Refuse,
    /// The damaged blocks are skipped; their positions are told as lost.
    Skip,
}

/// `[rejects]`
#[derive(Clone, Debug)]
pub struct Rejects {
    /// Kept rejects, in bytes; older ones become counts (256 MiB).
    pub max_bytes: u64,
}

/// `[serve]`
#[derive(Clone, Debug)]
pub struct Serve {
    /// Address (127.0.0.1:8080).
    pub listen: SocketAddr,
    /// Largest request body (1 MiB).
    pub max_body_bytes: u64,
    /// Largest event (64 KiB).
    pub max_event_bytes: u64,
    /// Connections at once (4,096).
    pub max_connections: usize,
    /// Connections at once from one address (1,024; loopback has the whole).
    pub max_connections_per_address: usize,
    /// Streams at once (1,000).
    pub max_streams: usize,
    /// From accept, or from the last answer, to a complete header (10 s).
    pub header_timeout: Duration,
    /// From header to the whole body (10 s).
    pub body_timeout: Duration,
    /// Keep-alive without a request (60 s).
    pub idle_timeout: Duration,
    /// For requests and streams to end at shutdown (10 s).
    pub drain_timeout: Duration,
    /// How long a cursor holds its instant (30 s).
    pub cursor_lease: Duration,
    /// Longest wait for `Millstream-At-Least` (5 s).
    pub at_least_timeout: Duration,
}

/// `[sql]`
#[derive(Clone, Debug)]
pub struct Sql {
    /// Threads: statements at once (2).
    pub threads: usize,
    /// Requests that wait for one of them (16).
    pub max_waiting: usize,
    /// From taking a request to its last row (10 s).
    pub timeout: Duration,
    /// Rows of an answer (100,000).
    pub max_rows: u64,
    /// Bytes of an answer (32 MiB).
    pub max_bytes: u64,
    /// Memory of all statements together (256 MiB).
    pub memory_max: u64,
}

/// `[notifications]`
#[derive(Clone, Debug)]
pub struct Notifications {
    /// Messages that ended longer ago are forgotten (30 days; longer where a channel or a rule looks
    /// back further).
    pub keep: Duration,
}

/// `[[feed]]`: a file or folder read at start.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// Unique name.
    pub name: String,
    /// A file, a folder, or `-`.
    pub path: PathBuf,
    /// A mapping file; native CloudEvents if absent.
    pub mapping: Option<PathBuf>,
}

/// Names of feeds that are ours.
pub const OWN_FEEDS: &[&str] = &["log", "rejects", "replay"];

impl Settings {
    /// The defaults, with everything durable in this folder.
    pub fn default_in(data_dir: &Path) -> Settings {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let secs = Duration::from_secs;
        let millis = Duration::from_millis;
        Settings {
            data_dir: data_dir.to_path_buf(),
            engine: Engine {
                workers: cores.saturating_sub(1).max(1),
                views: Vec::new(),
                epoch_period: millis(5),
                epoch_max_period: millis(250),
                epoch_max_arrivals: 30_000,
                idle_period: millis(200),
                stall_after: secs(10),
                late_after: secs(5),
                future_limit: secs(300),
                dedup_horizon: 7 * DAY,
                dedup_max_bytes: GIB,
                memory_max: machine::memory_bytes() / 100 * 60,
                undo_max_bytes: 64 * MIB,
                sentiment_half_life: 30 * DAY,
            },
            log: Log {
                retention: 30 * DAY,
                max_bytes: 64 * GIB,
                segment_bytes: 256 * MIB,
                commit_delay: millis(2),
                queue_bytes: 64 * MIB,
                on_damage: OnDamage::Refuse,
            },
            state: State {
                interval: millis(250),
                max_interval: secs(1),
                segment_bytes: 16 * MIB,
                on_damage: StateOnDamage::Rebuild,
            },
            rejects: Rejects { max_bytes: 256 * MIB },
            serve: Serve {
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                max_body_bytes: MIB,
                max_event_bytes: 64 << 10,
                max_connections: 4_096,
                max_connections_per_address: 1_024,
                max_streams: 1_000,
                header_timeout: secs(10),
                body_timeout: secs(10),
                idle_timeout: secs(60),
                drain_timeout: secs(5),
                cursor_lease: secs(30),
                at_least_timeout: secs(5),
            },
            sql: Sql {
                threads: 2,
                max_waiting: 16,
                timeout: secs(10),
                max_rows: 100_000,
                max_bytes: 32 * MIB,
                memory_max: 256 * MIB,
            },
            queues: Queues::default(),
            health: Health::default(),
            identity: Identity::default(),
            capacity: Capacity::default(),
            notifications: Notifications { keep: 30 * DAY },
            feeds: Vec::new(),
            kafka: Vec::new(),
            sinks: Vec::new(),
            channels: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Default for Settings {
    /// The defaults in the folder that is used when nobody names one.
    fn default() -> Settings {
        Settings::default_in(Path::new(table::DATA_DIR))
    }
}
