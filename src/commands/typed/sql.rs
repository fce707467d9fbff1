//! `millstream sql`, as it is typed.

use clap::{Args, ValueEnum};

/// `millstream sql`
#[derive(Clone, Debug, Args)]
pub struct Sql {
    /// One SELECT, or several with `;` between them: all at one instant; `-` reads standard input
    #[arg(value_name = "STATEMENT")]
    pub statement: String,
    /// What stands for `?`, in order: null, a number, or text (also "text"); may be repeated
    #[arg(long = "param", short = 'p', value_name = "VALUE", allow_hyphen_values = true)]
    pub params: Vec<String>,
    /// How rows are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Whose rows; `default` if absent
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Wait until the views include this position of the log
    #[arg(long, value_name = "POSITION")]
    pub at_least: Option<u64>,
    /// The data folder of the running process
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One document, as HTTP answers it.
    Json,
    /// An object a row.
    Jsonl,
    /// For spreadsheets: text that would be a formula has an apostrophe before it.
    Csv,
}
