//! What people say of messages they read, and what is answered: between serving and the room that
//! writes it down.

use std::future::Future;
use std::pin::Pin;

use super::AppendRefused;

/// What is said of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marking {
    /// Whose message it is.
    pub tenant: String,
    /// Which: the key of its row.
    pub message: String,
    /// What.
    pub mark: Mark,
    /// Who says so.
    pub by: Option<String>,
}

/// What may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Somebody sees to it.
    Acknowledged,
    /// It is to be shown later: at this instant, microseconds since the Unix epoch; none: at once.
    Snoozed(Option<i64>),
}

/// How it stands now, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// When it was said; of an acknowledgement the first.
    pub at: Option<i64>,
    /// Who said so.
    pub by: Option<String>,
    /// Until when it is not shown.
    pub until: Option<i64>,
    /// It stood so before: nothing was written.
    pub again: bool,
    /// Views that include everything below show it.
    pub position: Option<u64>,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum NotMarked {
    /// There is no such message of this tenant.
    NoSuch,
    /// The log does not take it.
    Log(AppendRefused),
}

/// An answer on its way.
pub type Marks = Pin<Box<dyn Future<Output = Result<Marked, NotMarked>> + Send>>;

/// Who writes down what is said of messages.
pub trait MarkMessages: Send + Sync {
    /// Says it; ready once it is durable.
    fn mark(&self, it: Marking) -> Marks;
}
