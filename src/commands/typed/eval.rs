//! `millstream eval`, as it is typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `millstream eval`
#[derive(Clone, Debug, Subcommand)]
pub enum Eval {
    /// Hand recorded cases out once more, by the policy of the settings; print what was kept
    #[command(after_help = "Example:\n  millstream eval routing events.jsonl --agents 8\n\n\
                            A case takes as long as it took on record, from assignment to resolution.")]
    Routing(Routing),
    /// Say of recorded orders when they arrive, each day by what was known by then; print how near
    #[command(after_help = "Example:\n  millstream eval eta events.jsonl --channel test\n\n\
                            Judged are orders that were delivered; docs/visibility.md explains the \
                            figures.")]
    Eta(Eta),
    /// Say of measured loads what comes, each by what was known before; print how near
    #[command(after_help = "Example:\n  millstream eval forecast loads.jsonl --source test\n\n\
                            Judged is what events of that source measured; docs/load.md explains the \
                            figures.")]
    Forecast(Forecast),
    /// Say of recorded customers how likely they buy again, as of a day; print how near
    #[command(
        after_help = "Example:\n  millstream eval repeat events.jsonl --at 2026-06-01T00:00:00Z\n\n\
                            docs/repeat.md explains the figure."
    )]
    Repeat(Repeat),
}

/// `millstream eval routing`
#[derive(Clone, Debug, Args)]
pub struct Routing {
    /// Recorded events: a file of JSON lines (plain, .gz, .zst), a folder of such files, or `-`
    #[arg(value_name = "EVENTS")]
    pub events: PathBuf,
    /// Turns foreign JSON into events; native CloudEvents without it
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// How many work on cases
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub agents: u32,
    /// Another setting, over those in force: shows what it would have done beside; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub instead: Vec<String>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `millstream eval eta`
#[derive(Clone, Debug, Args)]
pub struct Eta {
    /// Recorded events: a file of JSON lines (plain, .gz, .zst), a folder of such files, or `-`
    #[arg(value_name = "EVENTS")]
    pub events: PathBuf,
    /// Turns foreign JSON into events; native CloudEvents without it
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// Judge only orders of this channel; all others are learnt from all the same
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `millstream eval forecast`
#[derive(Clone, Debug, Args)]
pub struct Forecast {
    /// Recorded events: a file of JSON lines (plain, .gz, .zst), a folder of such files, or `-`
    #[arg(value_name = "EVENTS")]
    pub events: PathBuf,
    /// Turns foreign JSON into events; native CloudEvents without it
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// Judge only what events of this source measured; all others are learnt from all the same
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Buckets that a forecast is made for; those of a day without it
    #[arg(long, value_name = "N", value_parser = buckets)]
    pub ahead: Option<usize>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

fn buckets(text: &str) -> Result<usize, String> {
    let n: usize = text.parse().map_err(|_| "expected a whole number".to_string())?;
    (1..=10_080).contains(&n).then_some(n).ok_or("expected 1 to 10080 buckets".into())
}

/// `millstream eval repeat`
#[derive(Clone, Debug, Args)]
pub struct Repeat {
    /// Recorded events: a file of JSON lines (plain, .gz, .zst), a folder of such files, or `-`
    #[arg(value_name = "EVENTS")]
    pub events: PathBuf,
    /// Turns foreign JSON into events; native CloudEvents without it
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// As of the start of this day, in UTC; who buys on it or later comes again
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub at: i64,
    /// The chance is of buying within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=730))]
    pub within: u16,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

pub(super) fn instant(text: &str) -> Result<i64, String> {
    let expected = "expected a time as RFC 3339 writes it, such as 2026-06-01T00:00:00Z";
    schemas::time::parse_rfc3339(text).ok_or(expected.into())
}
