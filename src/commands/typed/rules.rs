//! `millstream rules` and `millstream notifications`, as they are typed.

use clap::{Args, Subcommand};

use super::Folder;

/// What to ask of rules.
#[derive(Clone, Debug, Subcommand)]
pub enum Rules {
    /// What rules would have said over the recorded history, before anybody switches them on
    #[command(after_help = "Examples:\n  millstream rules test --rule waits --since 7d\n  \
                            millstream rules test --since 2026-03-01T00:00:00Z --json\n\n\
                            Reads the log of a data folder that no process has open (stop it, or \
                            restore a backup of it beside), in the time of its events. Nothing is \
                            written, and nobody is told anything.")]
    Test(Test),
    /// Have the running process take rules and channels as they stand in the settings now
    #[command(after_help = "Example:\n  millstream rules reload\n\n\
                            All of them, or, where something is wrong, none: then everything that is \
                            wrong is told. SIGHUP to the process does the same. Other settings need \
                            a restart. Exit codes: 0 they decide; 1 all is as it was.")]
    Reload {
        /// Which data folder, and how it is printed.
        #[command(flatten)]
        folder: Folder,
    },
    /// Why each rule did or did not speak of a row
    #[command(after_help = "Examples:\n  millstream rules explain K-1\n  \
                            millstream rules explain K-1 --rule waits --json\n\n\
                            Asks the running process; with none running it lives through the log \
                            of the folder first.")]
    Explain(Explain),
    /// What a rule would say of a real row
    #[command(after_help = "Examples:\n  millstream rules preview --rule waits\n  \
                            millstream rules preview --rule waits --key K-1\n\n\
                            Without --key the first row that the rule means, or else the first. The \
                            rule is taken from the settings: edit, and look again.")]
    Preview(Preview),
}

/// `millstream rules test`
#[derive(Clone, Debug, Args)]
pub struct Test {
    /// Which rule; all if none is named; may be repeated
    #[arg(long = "rule", value_name = "NAME")]
    pub rules: Vec<String>,
    /// From when on: so long before the end, such as 7d or 12h, or an instant
    #[arg(long, value_name = "DURATION|INSTANT", default_value = "7d")]
    pub since: String,
    /// The end: an instant; now if absent
    #[arg(long, value_name = "INSTANT")]
    pub until: Option<String>,
    /// What happens within so long is seen as it was at its end
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub step: String,
    /// Samples of each rule: 0 to 1000
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub samples: u16,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream rules explain`
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// The text of the row's key, such as K-1
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// Which rule; all if none is named; may be repeated
    #[arg(long = "rule", value_name = "NAME")]
    pub rules: Vec<String>,
    /// Whose row
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// `millstream rules preview`
#[derive(Clone, Debug, Args)]
pub struct Preview {
    /// Which rule
    #[arg(long, value_name = "NAME")]
    pub rule: String,
    /// The text of a row's key
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Whose row
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// What to do about messages.
#[derive(Clone, Debug, Subcommand)]
pub enum Notifications {
    /// One line a message
    #[command(after_help = "Examples:\n  millstream notifications list --state refused\n  \
                            millstream notifications list --about K-1 --json")]
    List(Listed),
    /// Send what was refused, or cancelled, after all: under the same id
    #[command(
        after_help = "Examples:\n  millstream notifications retry msg_1e9976dbe1e0830d3f8043a1eab0b3d8\n  \
                            millstream notifications retry --channel ops\n\n\
                            One whose time is over (`expires` of its channel) is not sent any more."
    )]
    Retry(Which),
    /// Do not send what still waits
    #[command(after_help = "Examples:\n  millstream notifications cancel --rule waits\n  \
                            millstream notifications cancel --all\n\n\
                            An attempt that is on its way is not called back.")]
    Cancel(Which),
    /// Say that somebody sees to a message; the first to say so stands
    #[command(after_help = "Example:\n  millstream notifications acknowledge \
                            msg_1e9976dbe1e0830d3f8043a1eab0b3d8 --by zoe")]
    Acknowledge(Marked),
    /// Have a message shown later
    #[command(after_help = "Examples:\n  millstream notifications snooze \
                            msg_1e9976dbe1e0830d3f8043a1eab0b3d8 --for 2h --by zoe\n  \
                            millstream notifications snooze \
                            msg_1e9976dbe1e0830d3f8043a1eab0b3d8 --over\n\n\
                            Until then `list` leaves it out. What is sent does not change.")]
    Snooze(Snoozed),
}

/// Of which message something is said, and by whom.
#[derive(Clone, Debug, Args)]
pub struct Marked {
    /// The message
    #[arg(value_name = "MESSAGE")]
    pub message: String,
    /// Who says so
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Whose message it is
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// How long a message is not shown.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("when").required(true))]
pub struct Snoozed {
    /// Which, and who says so.
    #[command(flatten)]
    pub marked: Marked,
    /// For so long from now
    #[arg(long = "for", value_name = "TIME", group = "when", value_parser = super::duration)]
    pub length: Option<std::time::Duration>,
    /// Until this time, RFC 3339
    #[arg(long, value_name = "TIME", group = "when")]
    pub until: Option<String>,
    /// No longer
    #[arg(long, group = "when")]
    pub over: bool,
}

/// Which messages.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// This one
    #[arg(value_name = "MESSAGE")]
    pub message: Option<String>,
    /// Only those of this rule
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// Only those to this channel
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Of all that there are
    #[arg(long)]
    pub all: bool,
    /// Which data folder, and how it is printed.
    #[command(flatten)]
    pub folder: Folder,
}

/// Which messages are listed.
#[derive(Clone, Debug, Args)]
pub struct Listed {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Only those in this state: planned, delivered, refused, expired, suppressed
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only those about this row: the text of its key
    #[arg(long, value_name = "KEY")]
    pub about: Option<String>,
    /// Also those that are snoozed
    #[arg(long)]
    pub snoozed: bool,
    /// How many: 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}
