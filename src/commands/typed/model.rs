//! `millstream model`: what may be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `millstream model`
#[derive(Clone, Debug, Subcommand)]
pub enum Model {
    /// Learn from your own texts with ratings
    #[command(after_help = "Examples:\n  \
                            millstream model train sentiment --input reviews.jsonl --out model\n  \
                            millstream model train sentiment --input reviews.jsonl --out model-pt --language other --json\n\n\
                            Without --input the embedded log is read. \
                            Reads `feedback.submitted` events that have a rating and a text: one and two \
                            stars are negative, three neutral, four and five positive. A tenth, chosen by \
                            hash, is held out to measure on. docs/models.md says what is learnt.")]
    Train(Train),
    /// Say what a model says of the texts of a file
    #[command(after_help = "Examples:\n  \
                            millstream model score lexicon --input reviews.jsonl\n  \
                            millstream model score model --input reviews.jsonl --json")]
    Score(Score),
}

/// What can be learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// How somebody feels, of what they write.
    Sentiment,
}

/// Which language the texts are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// As they look.
    Auto,
    /// English: the lexicon helps.
    English,
    /// Any other: it does not.
    Other,
}

/// `millstream model train`
#[derive(Clone, Debug, Args)]
pub struct Train {
    /// What to learn
    #[arg(value_enum)]
    pub what: What,
    /// A file of JSON lines (plain, .gz, .zst), or `-`; the embedded log without it
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The mapping; native CloudEvents without it
    #[arg(long, value_name = "FILE", requires = "input")]
    pub mapping: Option<PathBuf>,
    /// The data folder whose log is read
    #[arg(long, value_name = "FOLDER", conflicts_with = "input")]
    pub data_dir: Option<String>,
    /// The file that the model is written to; one that is there and is better stays
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which language the texts are in
    #[arg(long, value_enum, default_value = "auto")]
    pub language: Language,
    /// Replace a model that is better, too
    #[arg(long)]
    pub anyway: bool,
    /// JSON
    #[arg(long)]
    pub json: bool,
}

/// `millstream model score`
#[derive(Clone, Debug, Args)]
pub struct Score {
    /// A file that `millstream model train` wrote, or `lexicon`
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// A file of JSON lines (plain, .gz, .zst), or `-`
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The mapping; native CloudEvents without it
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// A JSON object a text, then one that measures it against the ratings there are
    #[arg(long)]
    pub json: bool,
}
