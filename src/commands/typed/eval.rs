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
