//! What is asked of the desk, and what it answers: between serving and the room that decides.

use tokio::sync::oneshot;

use super::AppendRefused;
use super::AsOf;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whose queue.
    pub tenant: String,
    /// Which queue.
    pub queue: String,
    /// The request's `Idempotency-Key`: an identifier.
    pub key: String,
    /// What.
    pub what: Wanted,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The next case that fits.
    Claim {
        /// Who asks.
        agent: String,
        /// What the agent can do; a case fits if it asks for no more.
        skills: Vec<String>,
    },
    /// A case is given back.
    Release {
        /// Who has it.
        agent: String,
        /// The case.
        case: String,
    },
    /// A case is done.
    Complete {
        /// Who has it.
        agent: String,
        /// The case.
        case: String,
        /// How it was resolved, in words.
        resolution: Option<String>,
    },
}

impl Wanted {
    /// Who asks.
    pub fn agent(&self) -> &str {
        match self {
            Wanted::Claim { agent, .. }
            | Wanted::Release { agent, .. }
            | Wanted::Complete { agent, .. } => agent,
        }
    }

    /// The word of the decision that it may lead to.
    pub fn word(&self) -> &'static str {
        match self {
            Wanted::Claim { .. } => "claimed",
            Wanted::Release { .. } => "released",
            Wanted::Complete { .. } => "completed",
        }
    }
}

/// A decision, durable. Instants: microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// `claimed`, `released`, `completed`.
    pub did: &'static str,
    /// The case.
    pub case: String,
    /// When it was decided.
    pub at: i64,
    /// Of a claim: when the lease ends.
    pub until: Option<i64>,
    /// It had been decided before, under the same key.
    pub again: bool,
    /// Views whose position has reached it show it.
    pub position: u64,
}

/// What is answered; nothing where no case fits.
pub type Answer = Result<Option<Decision>, Refused>;

/// The newest instant of the views, what waits, and how it is ordered there.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The instant.
    pub as_of: AsOf,
    /// Cases handed out so far.
    pub picks: u64,
    /// How many wait.
    pub n_waiting: usize,
    /// When the one that has waited longest was opened, microseconds since the Unix epoch.
    pub oldest: Option<i64>,
    /// The first of them, in order: rows of `priority_queue`.
    pub rows: Vec<schemas::rows::Row>,
}

/// Why there is no decision; nothing was changed.
#[derive(Clone, Debug)]
pub enum Refused {
    /// As many requests wait as may, or decide and are not in the views yet.
    Busy,
    /// The log's tail has not been applied since the start.
    Behind {
        /// Positions below are in the views.
        have: u64,
        /// Those have to be.
        need: u64,
    },
    /// Somebody else has the case, or nobody (it waits again, or is resolved).
    Held {
        /// Who has it.
        holder: Option<String>,
        /// What the view `cases` says of it.
        status: String,
    },
    /// There is no such case in this queue.
    NoCase(String),
    /// The key was used for another request.
    KeyUsed {
        /// For what.
        did: String,
        /// About which case.
        case: String,
    },
    /// A view that is needed is not kept, or is being built again.
    NoView(&'static str),
    /// The log did not take it.
    Log(AppendRefused),
    /// The process ends.
    Ending,
}

/// The room that decides, as serving sees it.
pub trait AskDesk: Send + Sync {
    /// Hands over a request; the answer comes once it is durable.
    fn ask(&self, asked: Asked) -> Result<oneshot::Receiver<Answer>, Refused>;

    /// What waits in a queue, in order at the newest complete epoch: the first `limit`.
    fn order(&self, tenant: &str, queue: &str, limit: usize) -> Result<Ordered, Refused>;
}
