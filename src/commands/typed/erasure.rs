//! `millstream erasure`, as it is typed.

use clap::Subcommand;

use super::Folder;

/// `millstream erasure`
#[derive(Clone, Debug, Subcommand)]
pub enum Erasure {
    /// The certificate of each customer who was erased
    #[command(after_help = "Example:\n  millstream erasure show --customer C-17")]
    Show {
        /// Only of the customer with this id
        #[arg(long, value_name = "ID")]
        customer: Option<String>,
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
}
