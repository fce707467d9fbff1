//! What a person may type, as it is typed. What the program needs of it is made in
//! [`super::chosen`].
//!
//! # Why this way
//! clap reads words; units, paths, files and what goes together are read by `config`, in one
//! place, so that a flag, a variable and a line of the file mean the same.

pub mod erasure; // what was done about customers who were erased
pub mod eval; // what would have been done
pub mod model; // learning, and what a model says
pub mod produce; // the longest list of flags, by itself
pub mod rules; // what rules would say, and why
pub mod sql; // statements over the live views

use std::path::PathBuf;

pub use eval::{Eta, Eval, Forecast, Repeat, Routing};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Keeps a live, exact picture of customers, orders and cases while events stream in.
#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  millstream demo\n  millstream run --data-dir /var/lib/millstream\n  \
                  millstream check --config millstream.toml\n\n\
                  Exit codes: 0 done; 1 a problem, told on standard error; 2 not a command line."
)]
pub struct Typed {
    /// Settings and logs.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "For every command")]
pub struct Common {
    /// Settings file; `millstream.toml` in the working directory if there is one
    #[arg(long, global = true, value_name = "FILE", env = "MILLSTREAM_CONFIG")]
    pub config: Option<PathBuf>,
    /// One setting, over file and variables (docs/configuration.md has them all)
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub overrides: Vec<String>,
    /// How log lines look on standard error
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "MILLSTREAM_LOG_FORMAT",
        hide_env = true
    )]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or directives such as `info,millstream::serve=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        env = "MILLSTREAM_LOG_LEVEL",
        hide_env = true
    )]
    pub log_level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start with a generator of realistic events; a line of progress a second
    #[command(after_help = "Example:\n  millstream demo --rate 5000 --seed 7\n\nCtrl-C ends it \
                            cleanly; started again it goes on with the same log.")]
    Demo(Demo),
    /// Start: read the log and the feeds, keep the views, serve them
    #[command(after_help = "Examples:\n  millstream run\n  \
                            millstream run --data-dir /var/lib/millstream --listen 0.0.0.0:8080\n  \
                            millstream run --supervise\n  \
                            millstream run --feed \
                            orders=orders.jsonl,schemas/mappings/olist_orders.toml")]
    Run(Run),
    /// Drive a file, or what topics hold, through the whole path as fast as it goes; print rate and digests
    #[command(after_help = "Examples:\n  millstream replay events.jsonl\n  millstream replay \
                            orders.jsonl.gz --mapping schemas/mappings/olist_orders.toml --json\n  millstream replay \
                            --brokers localhost:9092 --topic crm.events")]
    Replay(Replay),
    /// Send a file's lines to a Kafka topic, one record a line
    #[command(
        after_help = "Examples:\n  millstream produce --input events.jsonl --topic crm.events \
                            --brokers b1:9092\n  millstream produce --input orders.jsonl.gz --topic \
                            shop.orders --key-pointer /order_id\n\nExit codes: \
                            0 everything is kept; 1 not everything: the outcome says from which line \
                            to go on."
    )]
    Produce(produce::Produce),
    /// Show what becomes of the first records of a file, beside the reason for each rejection
    #[command(after_help = "Example:\n  \
                            millstream map --mapping schemas/mappings/olist_orders.toml --input \
                            orders.jsonl --limit 5")]
    Map(Map),
    /// Look into the embedded log
    #[command(after_help = "Examples:\n  millstream log stats\n  \
                            millstream log show --from 1000 --limit 3")]
    Log {
        /// What to look at.
        #[command(subcommand)]
        what: Log,
    },
    /// Look at the records that could not be taken, and try them again
    #[command(after_help = "Examples:\n  millstream rejects list --reason schemas/wrong-shape\n  \
                            millstream rejects show --id 17\n  \
                            millstream rejects retry --feed orders")]
    Rejects {
        /// What to do with them.
        #[command(subcommand)]
        what: Rejects,
    },
    /// See how sinks stand, and have something done about them
    #[command(after_help = "Examples:\n  millstream sinks list\n  \
                            millstream sinks aside files\n  millstream sinks retry files\n\n\
                            docs/sinks.md says what each state means.")]
    Sinks {
        /// What to do with them.
        #[command(subcommand)]
        what: Sinks,
    },
    /// Try rules on history, ask why they did or did not speak, see what they would say
    #[command(after_help = "Examples:\n  millstream rules test --rule waits --since 7d\n  \
                            millstream rules explain K-1\n  \
                            millstream rules preview --rule waits\n\n\
                            docs/notifications.md says what rules are.")]
    Rules {
        /// What to ask.
        #[command(subcommand)]
        what: rules::Rules,
    },
    /// See which messages rules planned and what became of them; have them sent after all, or not
    #[command(after_help = "Examples:\n  millstream notifications list --state refused\n  \
                            millstream notifications retry --channel ops\n  \
                            millstream notifications cancel --rule waits")]
    Notifications {
        /// What to do about them.
        #[command(subcommand)]
        what: rules::Notifications,
    },
    /// See how channels stand, and have something done about them
    #[command(after_help = "Examples:\n  millstream channels list\n  \
                            millstream channels resume ops\n  \
                            millstream channels rotate ops\n\n\
                            docs/notifications.md says what each state means.")]
    Channels {
        /// What to do with them.
        #[command(subcommand)]
        what: Channels,
    },
    /// See where the feeds stand, and say where a topic is to begin at the next start
    #[command(after_help = "Examples:\n  millstream feed list\n  \
                            millstream feed reset shop/crm.events --to earliest\n  \
                            millstream feed reset shop/crm.events --to 1200 --partition 3\n\n\
                            What is skipped is counted as lost; what is read again is known by its \
                            identity. A reset of a whole topic also accepts one that was made again.")]
    Feed {
        /// What to do with them.
        #[command(subcommand)]
        what: Feed,
    },
    /// Look into what is kept of every entity
    #[command(after_help = "Examples:\n  millstream state stats\n  \
                            millstream state list --limit 3\n  millstream state verify")]
    State {
        /// What to look at.
        #[command(subcommand)]
        what: State,
    },
    /// Ask the live views in SQL, all statements at one instant
    #[command(
        after_help = "Examples:\n  millstream sql \"SELECT status, count(*) FROM orders GROUP BY status\"\n  \
                            millstream sql \"SELECT * FROM customers WHERE customer = ?\" --param C-17\n  \
                            millstream sql \"SELECT * FROM catalogue\" --format csv > fields.csv\n\n\
                            With - the statement is read from standard input, as from a file with \
                            `< report.sql`.\ndocs/sql.md has the tables, the limits and ten questions."
    )]
    Sql(sql::Sql),
    /// Learn how people feel from your own texts with ratings, and say it of others
    #[command(after_help = "Examples:\n  \
                            millstream model train sentiment --input reviews.jsonl --out model\n  \
                            millstream model score lexicon --input reviews.jsonl")]
    Model {
        /// What to do.
        #[command(subcommand)]
        what: model::Model,
    },
    /// Say of customers who were erased what was done: what, where, how many, when
    #[command(subcommand, after_help = "Example:\n  millstream erasure show --json")]
    Erasure(erasure::Erasure),
    /// Copy everything durable into an empty folder, also while it is being written
    #[command(after_help = "Example:\n  millstream backup backup-of-today")]
    Backup(Backup),
    /// Put a backup into an empty data folder
    #[command(
        after_help = "Example:\n  millstream restore backup-of-today --data-dir restored\n\n\
                            What leaves from then on carries another incarnation."
    )]
    Restore(Restore),
    /// Make or change the tables of ClickHouse, as far as they lack
    #[command(after_help = "Examples:\n  millstream migrate --dry-run\n  \
                            millstream migrate --url http://127.0.0.1:8123 --user admin \
                            --password-file secrets/admin\n\n\
                            Needs a user who may make databases and tables; `run` needs one who may only \
                            read and insert.")]
    Migrate(Migrate),
    /// Compare what ClickHouse has with what is served, at one instant, and say which keys differ
    #[command(
        after_help = "Example:\n  millstream verify clickhouse\n\nAsks the running process. \
                            Exit codes: 0 everything is equal; 1 something differs, or could not be \
                            compared."
    )]
    Verify(OfClickHouse),
    /// Empty the tables of ClickHouse and deliver all there is once more, beside what happens
    #[command(
        after_help = "Example:\n  millstream rebuild clickhouse --user admin --password-file \
                            clickhouse-data/secrets/admin\n\nNeeds a user who may empty tables, and the \
                            running process. Changes of before are gone; events stay."
    )]
    Rebuild(Rebuild),
    /// The JSON Schemas of the events that are taken
    #[command(after_help = "Examples:\n  millstream schema list\n  \
                            millstream schema show order.placed > order.placed.json")]
    Schema {
        /// What to print.
        #[command(subcommand)]
        what: Schema,
    },
    /// Check settings and mappings: every problem at once
    #[command(after_help = "Examples:\n  millstream check --example > millstream.toml\n  \
                            millstream check --config millstream.toml\n  \
                            millstream check --mapping schemas/mappings/crm_workload.toml")]
    Check(Check),
    /// What the product would have done, on recorded events
    #[command(
        after_help = "Example:\n  millstream eval routing events.jsonl --agents 8 --instead \
                            queues.fairness=2\n\ndocs/queues.md explains the figures."
    )]
    Eval {
        /// What to evaluate.
        #[command(subcommand)]
        what: Eval,
    },
    /// Write generated events, one a line
    #[command(after_help = "Example:\n  millstream generate --events 1000 --seed 7 > events.jsonl")]
    Generate(Generate),
}

/// `millstream demo`
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Events a second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// The same seed makes the same events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where its log is kept
    #[arg(long, value_name = "FOLDER", default_value = "demo-data")]
    pub data_dir: PathBuf,
    /// End by itself after this long, such as 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub duration: Option<std::time::Duration>,
    /// Address of HTTP
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Threads that compute
    #[arg(long)]
    pub workers: Option<String>,
}

/// `millstream run`
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Build a view again from all that was read, beside the others; every view, if none is named; may be repeated
    #[arg(long, value_name = "VIEW", num_args = 0..=1, default_missing_value = "")]
    pub rebuild: Vec<String>,
    /// Build again from what is left, where the log or another feed cannot be read from its first record on
    #[arg(long)]
    pub accept_incomplete: bool,
    /// Stay as a parent that starts the process again when it ends or hangs
    #[arg(long)]
    pub supervise: bool,
    /// What a parent tells the process that it starts
    #[arg(long, hide = true, value_name = "JSON", conflicts_with = "supervise", value_parser = super::run::told)]
    pub supervised: Option<crate::supervise::notes::Told>,
    /// Where everything durable lives
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Address of HTTP
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Threads that compute
    #[arg(long)]
    pub workers: Option<String>,
    /// A file or folder to read, perhaps through a mapping; may be repeated
    #[arg(long = "feed", value_name = "NAME=PATH[,MAPPING]")]
    pub feeds: Vec<String>,
}

/// Which ClickHouse, and who we are there: over the settings of a `[sinks.NAME]`.
#[derive(Clone, Debug, Args)]
pub struct ClickHouse {
    /// Which sink of the settings, where there are several
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// The server, such as http://127.0.0.1:8123
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The database
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// The user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file that holds the user's password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Certificates that are trusted, a PEM file
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// `millstream migrate`
#[derive(Clone, Debug, Args)]
pub struct Migrate {
    /// Which server, and as whom.
    #[command(flatten)]
    pub server: ClickHouse,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `millstream verify clickhouse`
#[derive(Clone, Debug, Args)]
pub struct OfClickHouse {
    /// What: `clickhouse`, the sink of that kind
    #[arg(value_name = "WHAT", value_parser = ["clickhouse"])]
    pub what: String,
    /// Which sink of the settings, where there are several
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream rebuild clickhouse`
#[derive(Clone, Debug, Args)]
pub struct Rebuild {
    /// What: `clickhouse`, the sink of that kind
    #[arg(value_name = "WHAT", value_parser = ["clickhouse"])]
    pub what: String,
    /// Which server, and as whom.
    #[command(flatten)]
    pub server: ClickHouse,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream replay`
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// A file of JSON lines (plain, .gz, .zst), a folder of such files, or `-`
    #[arg(value_name = "INPUT", required_unless_present = "brokers")]
    pub input: Option<PathBuf>,
    /// Read topics of Kafka instead, to the end that they have at the start
    #[arg(long, value_name = "HOST:PORT,…", conflicts_with_all = ["input", "repeat", "rate"], requires = "topics")]
    pub brokers: Option<String>,
    /// A topic, with --brokers; may be repeated
    #[arg(long = "topic", value_name = "TOPIC", requires = "brokers")]
    pub topics: Vec<String>,
    /// Turns foreign JSON into events; native CloudEvents without it
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// Threads that compute
    #[arg(long)]
    pub workers: Option<String>,
    /// Where "now" comes from: event (the newest event time read; models of arrival are sealed at its midnights, unless --models has some), wall, or an instant (RFC 3339)
    #[arg(long, default_value = "event")]
    pub clock: String,
    /// Read the input so often, ids suffixed and times a day on
    #[arg(long, default_value_t = 1, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub repeat: u32,
    /// Records a second, by the clock; as fast as it goes without it
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Only these views, separated by commas
    #[arg(long, value_name = "A,B")]
    pub views: Option<String>,
    /// Keep the state there with checkpoints, as `run` does; a second replay goes on from it
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    /// The models published in there speak, of texts and of when orders arrive: the folder `models` of a data folder
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<PathBuf>,
    /// Write every view's rows there, VIEW.jsonl
    #[arg(long, value_name = "FOLDER")]
    pub rows_out: Option<PathBuf>,
    /// Serve HTTP meanwhile
    #[arg(long)]
    pub serve: bool,
    /// Serve HTTP meanwhile, and afterwards until interrupted
    #[arg(long)]
    pub stay: bool,
    /// Address of HTTP, with --serve or --stay; with port 0 one that is free, and it is told
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `millstream map`
#[derive(Clone, Debug, Args)]
pub struct Map {
    /// The mapping; native CloudEvents without it
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// A file of JSON lines (plain, .gz, .zst), or `-`
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// How many records are shown
    #[arg(long, default_value_t = 5)]
    pub limit: usize,
    /// Read on to the end and count what becomes of every record
    #[arg(long)]
    pub all: bool,
    /// A JSON object a record, then one for the summary
    #[arg(long)]
    pub json: bool,
}

/// `millstream log`
#[derive(Clone, Debug, Subcommand)]
pub enum Log {
    /// Records, one a line
    #[command(after_help = "Example:\n  millstream log show --from 1000 --limit 3 --json")]
    Show {
        /// The first position to show; the oldest there is without it
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        /// How many: 1 to 1000
        #[arg(long, default_value_t = 10, value_parser = limit)]
        limit: usize,
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// Size, age and positions
    #[command(after_help = "Example:\n  millstream log stats --data-dir demo-data")]
    Stats {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
}

/// `millstream state`
#[derive(Clone, Debug, Subcommand)]
pub enum State {
    /// The checkpoints there are, the newest first
    #[command(after_help = "Example:\n  millstream state list --limit 3 --json")]
    List {
        /// How many: 1 to 1000
        #[arg(long, default_value_t = 10, value_parser = limit)]
        limit: usize,
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// Size, newest checkpoint, entities and records of each view
    #[command(after_help = "Example:\n  millstream state stats --json")]
    Stats {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// Read everything that is kept, and say what of it is damaged
    #[command(after_help = "Example:\n  millstream state verify")]
    Verify {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
}

/// `millstream backup`
#[derive(Clone, Debug, Args)]
pub struct Backup {
    /// An empty folder, or one that is not there
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream restore`
#[derive(Clone, Debug, Args)]
pub struct Restore {
    /// A folder that `millstream backup` made
    #[arg(value_name = "FROM")]
    pub from: PathBuf,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// Which data folder, and how it is printed.
#[derive(Clone, Debug, Args)]
pub struct Folder {
    /// Where everything durable lives
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// JSON
    #[arg(long)]
    pub json: bool,
}

/// `millstream sinks`
#[derive(Clone, Debug, Subcommand)]
pub enum Sinks {
    /// A line a sink: its breaker, what is delivered, what waits
    #[command(after_help = "Example:\n  millstream sinks list --json")]
    List {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// What a sink's receiver will not take, each with its report
    #[command(after_help = "Example:\n  millstream sinks aside files --json")]
    Aside(OfSink),
    /// The receiver is mended: probe it now instead of later
    #[command(after_help = "Example:\n  millstream sinks resume files")]
    Resume(OfSink),
    /// Try again what stands aside
    #[command(after_help = "Example:\n  millstream sinks retry files")]
    Retry(OfSink),
    /// Give up what stands aside
    #[command(after_help = "Example:\n  millstream sinks drop files")]
    Drop(OfSink),
    /// Deliver all there is once more, beside what happens
    #[command(after_help = "Example:\n  millstream sinks anew files")]
    Anew(OfSink),
}

/// One sink.
#[derive(Clone, Debug, Args)]
pub struct OfSink {
    /// Its name, as in `[sinks.NAME]`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Of what stands aside, only this
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream channels`
#[derive(Clone, Debug, Subcommand)]
pub enum Channels {
    /// A line a channel: its breaker, what is delivered, what waits, how many secrets sign
    #[command(after_help = "Example:\n  millstream channels list --json")]
    List {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// Messages that failed and wait for another attempt, each with why
    #[command(after_help = "Example:\n  millstream channels again ops --json")]
    Again(OfChannel),
    /// The receiver is mended: try it now, and what failed with it
    #[command(after_help = "Example:\n  millstream channels resume ops")]
    Resume(OfChannel),
    /// A new secret beside those that sign; later, only that one
    #[command(after_help = "Examples:\n  millstream channels rotate ops\n  \
                            millstream channels rotate ops --kind ed25519\n  \
                            millstream channels rotate ops --finish")]
    Rotate(RotateChannel),
}

/// One channel.
#[derive(Clone, Debug, Args)]
pub struct OfChannel {
    /// Its name, as in `[channels.NAME]`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream channels rotate`
#[derive(Clone, Debug, Args)]
pub struct RotateChannel {
    /// Which.
    #[command(flatten)]
    pub of: OfChannel,
    /// What the new one is; as the first in the file, if absent
    #[arg(long, value_enum, conflicts_with = "finish")]
    pub kind: Option<SecretKind>,
    /// The receivers know the new one: the others are taken out
    #[arg(long)]
    pub finish: bool,
}

/// How a secret signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SecretKind {
    /// HMAC-SHA256: the receiver has the same secret
    Hmac,
    /// Ed25519: the receiver has the public half
    Ed25519,
}

/// `millstream rejects`
#[derive(Clone, Debug, Subcommand)]
pub enum Rejects {
    /// One line a reject
    #[command(after_help = "Example:\n  millstream rejects list --reason schemas/wrong-shape")]
    List {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// How many: 1 to 1000
        #[arg(long, default_value_t = 100, value_parser = limit)]
        limit: usize,
    },
    /// Whole, with their bytes
    #[command(after_help = "Example:\n  millstream rejects show --id 17 --json")]
    Show {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// How many: 1 to 1000
        #[arg(long, default_value_t = 10, value_parser = limit)]
        limit: usize,
    },
    /// How many there are and were, by feed and reason: those that are only counted, too
    #[command(after_help = "Example:\n  millstream rejects counts --json")]
    Counts {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// Append them to the log again, with where they came from
    #[command(after_help = "Example:\n  millstream rejects retry --reason schemas/unmapped-type")]
    Retry {
        /// Which.
        #[command(flatten)]
        which: Which,
    },
}

/// Which rejects.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// Only those with this code, such as schemas/wrong-shape
    #[arg(long)]
    pub reason: Option<String>,
    /// Only those of this feed
    #[arg(long)]
    pub feed: Option<String>,
    /// Only this one, by its number
    #[arg(long)]
    pub id: Option<u64>,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream feed`
#[derive(Clone, Debug, Subcommand)]
pub enum Feed {
    /// A line a partition: where it began, what is next, what was decided about it
    #[command(after_help = "Example:\n  millstream feed list --json")]
    List {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// Begin somewhere else at the next start
    #[command(after_help = "Examples:\n  \
                            millstream feed reset shop/crm.events --to 2026-01-31T00:00:00Z\n  \
                            millstream feed reset shop/crm.events --to 0:1200,1:1350\n  \
                            millstream feed reset shop --to earliest")]
    Reset(ResetFeed),
}

/// `millstream feed reset`
#[derive(Clone, Debug, Args)]
pub struct ResetFeed {
    /// A topic's feed, such as shop/crm.events; or the name of a `[[kafka]]`: all its topics
    #[arg(value_name = "FEED")]
    pub feed: String,
    /// earliest, latest, a time (RFC 3339), an offset, or PARTITION:OFFSET,…
    #[arg(long, value_name = "PLACE", value_parser = super::feed::place)]
    pub to: crate::ingest::resets::To,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream schema`
#[derive(Clone, Debug, Subcommand)]
pub enum Schema {
    /// Every type of event
    #[command(after_help = "Example:\n  millstream schema list")]
    List {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of a type's `data`
    #[command(after_help = "Example:\n  millstream schema show order.placed > order.placed.json")]
    Show {
        /// Such as order.placed
        #[arg(value_name = "TYPE")]
        event_type: String,
    },
}

/// `millstream check`
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// A mapping to check beside those that the settings name; may be repeated
    #[arg(long, value_name = "FILE")]
    pub mapping: Vec<PathBuf>,
    /// Print the settings that would be used
    #[arg(long)]
    pub show: bool,
    /// Print the documentation of every setting, as Markdown
    #[arg(long)]
    pub settings: bool,
    /// Print a file with every setting at its default
    #[arg(long, conflicts_with = "settings")]
    pub example: bool,
    /// JSON: every problem as an object
    #[arg(long)]
    pub json: bool,
}

/// `millstream generate`
#[derive(Clone, Debug, Args)]
pub struct Generate {
    /// How many
    #[arg(long, default_value_t = 1_000)]
    pub events: u64,
    /// The same seed makes the same events
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Time of the first event, RFC 3339
    #[arg(long, default_value = "2026-01-01T00:00:00Z")]
    pub start: String,
    /// Events a second of event time
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
}

/// Most that one look shows.
const LIMIT_MAX: usize = 1_000;

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|it| (1..=LIMIT_MAX).contains(it));
    limit.ok_or_else(|| format!("expected a number from 1 to {LIMIT_MAX}"))
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    let expected = crate::config::values::A_DURATION;
    crate::config::values::duration(text).ok_or_else(|| format!("expected {expected}"))
}
