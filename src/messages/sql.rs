//! What is asked in SQL, and what comes back: between serving and the room that answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::AsOf;

/// One request.
#[derive(Clone, Debug)]
pub struct SqlAsked {
    /// Whose rows.
    pub tenant: String,
    /// One statement, or several with `;` between them: all at one instant.
    pub sql: String,
    /// Of the one statement.
    pub params: SqlParams,
    /// How the rows are written.
    pub format: SqlFormat,
}

/// What stands for `?`, `?1`, `:name`.
#[derive(Clone, Debug)]
pub enum SqlParams {
    /// In order.
    Listed(Vec<SqlParam>),
    /// By name.
    Named(Vec<(String, SqlParam)>),
}

impl Default for SqlParams {
    fn default() -> SqlParams {
        SqlParams::Listed(Vec::new())
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlParam {
    /// Null.
    Null,
    /// A whole number; true is 1, false 0.
    Int(i64),
    /// Another number.
    Real(f64),
    /// Text.
    Text(String),
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqlFormat {
    /// An array of results, each with its columns and its rows as arrays.
    #[default]
    Json,
    /// One object a row; one statement only.
    JsonLines,
    /// A header and a line a row (RFC 4180); one statement only.
    Csv,
}

/// An answer.
#[derive(Debug)]
pub struct SqlAnswer {
    /// The one instant of all its statements.
    pub as_of: AsOf,
    /// Rows, over all statements.
    pub n_rows: u64,
    /// The rows, as asked.
    pub bytes: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct SqlRefused {
    /// Whose matter it is.
    pub kind: SqlTrouble,
    /// Its page is `docs/errors/`.
    pub code: &'static str,
    /// What failed.
    pub title: &'static str,
    /// Why.
    pub why: String,
    /// What to do.
    pub fix: String,
    /// More, for programs: where in the text, which limit.
    pub more: Vec<(&'static str, Value)>,
    /// The instant, if there was one.
    pub as_of: Option<AsOf>,
}

/// Whose matter it is, and whether asking again helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlTrouble {
    /// The text: never, as it stands.
    Statement,
    /// It would do more than read: never.
    NotAllowed,
    /// It needs more than a limit allows: not as it stands.
    TooMuch,
    /// The instant was let go: at once.
    Gone,
    /// All threads have work, or a view is being built again: after this long.
    Busy(Duration),
}

/// The room that answers SQL, as serving sees it.
pub trait AskSql: Send + Sync {
    /// Hands a request over; the answer comes by the receiver.
    fn ask(&self, asked: SqlAsked) -> Result<SqlWaiting, SqlRefused>;
}

/// A request under way. Dropped, it is given up: its thread stops at the next look.
#[derive(Debug)]
pub struct SqlWaiting {
    answer: oneshot::Receiver<Result<SqlAnswer, SqlRefused>>,
    given_up: Arc<AtomicBool>,
}

impl SqlWaiting {
    /// What will be answered by `answer`, and where it is noted that nobody waits.
    pub fn new(
        answer: oneshot::Receiver<Result<SqlAnswer, SqlRefused>>,
        given_up: Arc<AtomicBool>,
    ) -> SqlWaiting {
        SqlWaiting { answer, given_up }
    }

    /// The answer; `None`: the process is ending.
    pub async fn answer(mut self) -> Option<Result<SqlAnswer, SqlRefused>> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for SqlWaiting {
    fn drop(&mut self) {
        self.given_up.store(true, Relaxed);
    }
}
