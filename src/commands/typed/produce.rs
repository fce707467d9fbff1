//! `millstream produce`, as it is typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `millstream produce`
#[derive(Clone, Debug, Args)]
pub struct Produce {
    /// A file of JSON lines (plain, .gz, .zst), a folder of such files, or `-`
    #[arg(long, value_name = "INPUT", required_unless_present = "events")]
    pub input: Option<PathBuf>,
    /// Instead of a file: so many events of the generator, as `generate` and the demo have them
    #[arg(long, value_name = "N", conflicts_with = "input")]
    pub events: Option<u64>,
    /// Of `--events`: the same seed makes the same events
    #[arg(long, default_value_t = 1, requires = "events")]
    pub seed: u64,
    /// The topic
    #[arg(long)]
    pub topic: String,
    /// Some of the cluster's brokers, separated by commas
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub brokers: String,
    /// Where a record's key is found (JSON pointer), such as /order_id; without it a CloudEvent's
    /// partitionkey, else its subject
    #[arg(long, value_name = "POINTER")]
    pub key_pointer: Option<String>,
    /// How CloudEvents are laid out in records
    #[arg(long, value_enum, default_value = "structured")]
    pub mode: Mode,
    /// How batches are compressed
    #[arg(long, value_enum, default_value = "lz4")]
    pub compression: Compression,
    /// Make the topic with so many partitions if it is not there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: Option<i32>,
    /// Records a second, by the clock; as fast as it goes without it
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// The first line to send, counted from 1: where an earlier run says to go on
    #[arg(long, value_name = "LINE", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub from: u64,
    /// A setting of the Kafka client, by librdkafka's name; a value may be file:PATH or env:NAME,
    /// and a secret must be
    #[arg(long = "property", value_name = "NAME=VALUE")]
    pub properties: Vec<String>,
    /// What came of it as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// How CloudEvents are laid out in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The line as it stands is the value.
    Structured,
    /// Attributes are headers (ce_...), data is the value.
    Binary,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Not at all.
    None,
    /// As `gzip` does.
    Gzip,
    /// Quick.
    Snappy,
    /// Quick, and smaller.
    Lz4,
    /// Smallest.
    Zstd,
}

impl Compression {
    /// As librdkafka names it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}
