//! Why there is no answer, from what SQLite says and from why it was stopped.

use std::time::Duration;

use rusqlite::{Error, ErrorCode};
use serde_json::{Value, json};

use super::hold::Stop;
use crate::config;
use crate::messages::AsOf;
use crate::messages::sql::{SqlRefused, SqlTrouble};

/// When to ask again, where all threads have work.
const AGAIN: Duration = Duration::from_secs(1);
/// When to ask again, where a view is being built.
const BUILT: Duration = Duration::from_secs(5);

fn refused(
    kind: SqlTrouble,
    (code, title): (&'static str, &'static str),
    why: impl Into<String>,
    fix: impl Into<String>,
) -> SqlRefused {
    let (why, fix) = (why.into(), fix.into());
    SqlRefused { kind, code, title, why, fix, more: Vec::new(), as_of: None }
}

impl SqlRefused {
    fn with(mut self, name: &'static str, value: Value) -> SqlRefused {
        self.more.push((name, value));
        self
    }

    pub(super) fn at(mut self, as_of: AsOf) -> SqlRefused {
        self.as_of = Some(as_of);
        self
    }
}

/// The text is not what it has to be.
pub(super) fn statement(why: impl Into<String>) -> SqlRefused {
    refused(
        SqlTrouble::Statement,
        ("sql/statement", "the statement is not understood"),
        why,
        "docs/sql.md has the tables; `SELECT * FROM catalogue` lists every column",
    )
}

/// Parameters do not fit the statement.
pub(super) fn parameters(why: impl Into<String>) -> SqlRefused {
    refused(
        SqlTrouble::Statement,
        ("sql/parameters", "the parameters do not fit the statement"),
        why,
        "send as many as the statement has places, null, numbers or text, for one statement",
    )
}

/// It would do more than read.
pub(super) fn not_allowed(what: &str) -> SqlRefused {
    refused(
        SqlTrouble::NotAllowed,
        ("sql/not-allowed", "only reading is allowed"),
        format!("{what} is not allowed here: statements read the views and compute"),
        "write a SELECT over the tables of docs/sql.md",
    )
}

/// Nobody has time for it.
pub(super) fn busy(settings: &config::Sql) -> SqlRefused {
    refused(
        SqlTrouble::Busy(AGAIN),
        ("sql/busy", "all threads for SQL have work"),
        format!(
            "{} statements run and {} wait, as many as may",
            settings.threads, settings.max_waiting
        ),
        "ask again; if it repeats, ask less at once, or raise sql.threads",
    )
    .with("retry_after_seconds", json!(AGAIN.as_secs()))
}

/// More rows than an answer may have.
pub(super) fn rows(settings: &config::Sql) -> SqlRefused {
    refused(
        SqlTrouble::TooMuch,
        ("sql/too-many-rows", "the answer has too many rows"),
        format!("expected at most {} rows (sql.max_rows), found more", settings.max_rows),
        "group, or add LIMIT; for whole views page through GET /v1/views/{view}",
    )
    .with("limit_rows", json!(settings.max_rows))
}

/// More bytes than an answer may have.
pub(super) fn bytes(settings: &config::Sql) -> SqlRefused {
    refused(
        SqlTrouble::TooMuch,
        ("sql/too-large", "the answer is too large"),
        format!("expected at most {} bytes (sql.max_bytes), found more", settings.max_bytes),
        "name the columns that are needed, or add LIMIT",
    )
    .with("limit_bytes", json!(settings.max_bytes))
}

fn late(settings: &config::Sql) -> SqlRefused {
    let ms = settings.timeout.as_millis() as u64;
    refused(
        SqlTrouble::TooMuch,
        ("sql/timeout", "the statement took too long"),
        format!("it was stopped {ms} ms after it was asked (sql.timeout)"),
        "join on keys, ask for less, or raise sql.timeout; EXPLAIN QUERY PLAN shows what is scanned",
    )
    .with("limit_ms", json!(ms))
}

/// Why it was stopped.
pub(super) fn stopped(why: &Stop, settings: &config::Sql) -> SqlRefused {
    match why {
        Stop::Late => late(settings),
        Stop::GivenUp => busy(settings),
        Stop::Gone(gone) => refused(
            SqlTrouble::Gone,
            ("sql/gone", "the instant is no longer kept"),
            "so much changed while the statement ran that its instant was let go \
             (engine.undo_max_bytes)",
            "ask again; if it repeats, ask for less, or raise engine.undo_max_bytes",
        )
        .with("oldest", json!(gone.oldest)),
        Stop::Building(words) => refused(
            SqlTrouble::Busy(BUILT),
            ("sql/rebuilding", "a view of the statement is being built again"),
            words.clone(),
            "ask again; it ends by itself",
        ),
    }
}

/// What SQLite says. `sql`: the whole text, in which its offset is looked up.
pub(super) fn failed(why: &Error, sql: &str, settings: &config::Sql) -> SqlRefused {
    match why {
        Error::SqlInputError { error, msg, sql: rest, offset } => {
            let refused = of_code(error.code, msg, settings);
            let before = sql.len().saturating_sub(rest.len());
            match usize::try_from(*offset).ok().map(|it| before + it) {
                Some(at) if sql.is_char_boundary(at) => placed(refused, sql, at),
                _ => refused,
            }
        }
        Error::SqliteFailure(error, words) => {
            let words = words.clone().unwrap_or_else(|| error.to_string());
            of_code(error.code, &words, settings)
        }
        other => statement(other.to_string()),
    }
}

/// Where in the text, for people and for programs.
fn placed(refused: SqlRefused, sql: &str, at: usize) -> SqlRefused {
    let line = sql[..at].matches('\n').count() + 1;
    let column = sql[..at].chars().rev().take_while(|it| *it != '\n').count() + 1;
    let near: String = sql[at..].chars().take_while(|it| *it != '\n').take(24).collect();
    let why = format!("{}, at line {line}, column {column}", refused.why);
    SqlRefused { why, ..refused }
        .with("line", json!(line))
        .with("column", json!(column))
        .with("offset", json!(at))
        .with("near", json!(near))
}

fn of_code(code: ErrorCode, words: &str, settings: &config::Sql) -> SqlRefused {
    match code {
        ErrorCode::OutOfMemory => refused(
            SqlTrouble::TooMuch,
            ("sql/memory", "the statement needs too much memory"),
            format!(
                "all statements together may have {} bytes (sql.memory_max)",
                settings.memory_max
            ),
            "sort and group less at once, name only the columns that are needed, or raise \
             sql.memory_max",
        )
        .with("limit_bytes", json!(settings.memory_max)),
        ErrorCode::TooBig => refused(
            SqlTrouble::TooMuch,
            ("sql/too-large", "a value is too large"),
            format!("{words}: a text or a row may have {} bytes", super::VALUE_BYTES),
            "make smaller texts: group_concat and json_group_array over fewer rows",
        ),
        ErrorCode::AuthorizationForStatementDenied => not_allowed(words),
        // SQLite sees that a table is read-only before it asks whether it may be written.
        _ if words.ends_with("may not be modified") => not_allowed(&format!("writing ({words})")),
        ErrorCode::OperationInterrupted => late(settings),
        _ => statement(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_line_and_column() {
        let told = placed(statement("no such column: stauts"), "SELECT\n  ü, stauts\nFROM x", 13);
        assert_eq!(told.why, "no such column: stauts, at line 2, column 6");
        assert!(told.more.contains(&("near", json!("stauts"))), "{told:?}");
    }
}
