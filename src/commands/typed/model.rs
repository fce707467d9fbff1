//! `millstream model`: what may be typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `millstream model`
#[derive(Clone, Debug, Subcommand)]
pub enum Model {
    /// Learn from your own texts with ratings
    #[command(after_help = "Examples:\n  \
                            millstream model train sentiment --input reviews.jsonl --out model\n  \
                            millstream model train sentiment --input reviews.jsonl --out model-pt --language other --json\n  \
                            millstream model train sentiment --input reviews.jsonl --language other --publish\n\n\
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
    /// Have a model speak of texts in the live views, from now on
    #[command(after_help = "Examples:\n  \
                            millstream model publish model --input reviews.jsonl\n  \
                            millstream model publish model-pt --input reviews.jsonl --tenant brazil --even-if-worse\n\n\
                            It is measured beside the one in use on the same rated texts, a tenth of \
                            the log's (or the file's), and refused where it is worse. It speaks of \
                            texts whose event time is after everything read so far; what was said \
                            of others stays. docs/models.md says more.")]
    Publish(Publish),
    /// Say what a view would have told of recorded history, beside what came
    #[command(after_help = "Examples:\n  \
                            millstream model backtest health --input events.jsonl\n  \
                            millstream model backtest health --within 60d --json\n\n\
                            Every thirty days each customer who bought within the year before is \
                            judged by what was known then; left is who bought nothing in the days \
                            after. Without --input the embedded log is read. docs/health.md says \
                            more.")]
    Backtest(Backtest),
    /// Seal a model of what the running process knows now, and have it speak
    #[command(after_help = "Example:\n  millstream model seal arrivals --json\n\n\
                            Of the orders delivered so far: when those arrive that are paid or \
                            shipped from now on, in `order_visibility`. A running process does \
                            this by itself once a day; docs/visibility.md says more.")]
    Seal(Seal),
    /// The models that were published: which, since when, how good
    #[command(after_help = "Example:\n  millstream model list --json")]
    List(List),
    /// All that is known of a model that was published
    #[command(after_help = "Example:\n  millstream model show 1")]
    Show(Show),
}

/// What can be learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// How somebody feels, of what they write.
    Sentiment,
}

/// What can be tried on history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tried {
    /// How well it stands with each customer, against who then left.
    Health,
}

/// What can be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sealed {
    /// When orders arrive, by the lanes that they go.
    Arrivals,
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
    /// The data folder whose log is read, and where the model is published
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// The file that the model is written to; one that is there and is better stays
    #[arg(long, value_name = "FILE", required_unless_present = "publish")]
    pub out: Option<PathBuf>,
    /// Have it speak of texts from now on, too; where the one in use is better, that one stays
    #[arg(long)]
    pub publish: bool,
    /// Which language the texts are in
    #[arg(long, value_enum, default_value = "auto")]
    pub language: Language,
    /// Replace a model that is better, too
    #[arg(long, visible_alias = "even-if-worse")]
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

/// `millstream model publish`
#[derive(Clone, Debug, Args)]
pub struct Publish {
    /// A file that `millstream model train` wrote
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// Rated texts that it is measured on: a file of JSON lines, or `-`; the embedded log without it
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The mapping; native CloudEvents without it
    #[arg(long, value_name = "FILE", requires = "input")]
    pub mapping: Option<PathBuf>,
    /// The data folder that it is published in
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Only of this tenant's texts, and measured on those
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Also where it is worse than the one in use, or cannot be measured
    #[arg(long)]
    pub even_if_worse: bool,
    /// JSON
    #[arg(long)]
    pub json: bool,
}

/// `millstream model backtest`
#[derive(Clone, Debug, Args)]
pub struct Backtest {
    /// What to try
    #[arg(value_enum)]
    pub what: Tried,
    /// A file of JSON lines (plain, .gz, .zst), or `-`; the embedded log without it
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// The mapping; native CloudEvents without it
    #[arg(long, value_name = "FILE", requires = "input")]
    pub mapping: Option<PathBuf>,
    /// The data folder whose log is read
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Left is who buys nothing for so many days (1 to 365)
    #[arg(long, value_name = "DAYS", default_value = "90", value_parser = clap::value_parser!(u16).range(1..=365))]
    pub within: u16,
    /// The first instant at which customers are judged; 90 days after the first purchase without it
    #[arg(long, value_name = "INSTANT", value_parser = super::eval::instant)]
    pub from: Option<i64>,
    /// JSON
    #[arg(long)]
    pub json: bool,
}

/// `millstream model seal`
#[derive(Clone, Debug, Args)]
pub struct Seal {
    /// What to seal
    #[arg(value_enum)]
    pub what: Sealed,
    /// The data folder of the running process
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// JSON
    #[arg(long)]
    pub json: bool,
}

/// `millstream model list`
#[derive(Clone, Debug, Args)]
pub struct List {
    /// The data folder
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// A JSON object a model
    #[arg(long)]
    pub json: bool,
}

/// `millstream model show`
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Its version, as `millstream model list` shows it
    #[arg(value_name = "VERSION")]
    pub version: u32,
    /// The data folder
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// JSON
    #[arg(long)]
    pub json: bool,
}
