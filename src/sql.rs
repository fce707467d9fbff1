//! Live SQL: the catalogue's views as read-only tables of SQLite, at one complete epoch.
//!
//! ```text
//!  serve ─ask─▶ queue ─▶ thread sql-<n>: hold an epoch ─▶ connection in memory ─▶ rows, written
//!         503 when full                    │                │
//!                             time, undo ◀─┘                └─▶ virtual tables over the served maps
//! ```
//!
//! In: [`SqlAsked`]. Out: [`SqlAnswer`] or [`SqlRefused`].
//!
//! # Meaning
//! All statements of a request are read at one complete epoch, which the answer says, and of one
//! tenant. The answers are those of SQLite over the rows that `GET /v1/views` shows: `tests/sql.rs`
//! has ten questions beside a computation of its own (`docs/sql.md`).
//!
//! # Invariants
//! - Statements read and compute; nothing else is allowed (`src/sql/allowed.rs`).
//! - Everything has a limit: statements at once and waiting, time, rows, bytes of an answer and of
//!   a value, memory. All of an answer is there before any of it is sent, so that a limit is an
//!   error and never a shorter answer.
//! - No worker waits for a statement: rows are taken a stride at a time, and a long statement's
//!   instant can be taken away.
//!
//! # State
//! Per request: a stride of rows for each table that it reads, what SQLite sorts and groups, the
//! answer. Nothing outlives a request.
//!
//! # Why this way
//! SQLite knows SQL and is one file of C; DataFusion takes 25 minutes to build and brings its own
//! runtime (docs/decisions/live-sql.md).

mod allowed; // what a statement may do
mod columns; // a view as a table: columns and values
mod hold; // one instant, and how long
mod out; // rows as JSON, JSON lines, CSV
mod plan; // by key, or all of it past tests
mod refused; // why there is no answer
mod session; // one request
mod table; // the virtual table
mod texts; // functions whose cost would grow with a product

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Receiver, Sender};
use rusqlite::Connection;
use tokio::sync::oneshot;

use columns::{Columns, catalogue};
use hold::Until;
use session::Tables;

use crate::clock;
use crate::config;
use crate::messages::ReadHandle;
use crate::messages::sql::{AskSql, SqlAnswer, SqlAsked, SqlRefused, SqlWaiting};
use crate::report::Report;
use crate::tasks;

/// Largest text, JSON or row inside SQLite. One call of a function is not interrupted: this also
/// bounds how long it can take.
const VALUE_BYTES: i32 = 1 << 20;
/// Longest request: more than a person writes.
const STATEMENT_BYTES: i32 = 128 << 10;
/// Most statements of a request.
const STATEMENTS: usize = 100;

/// How far a view is that is being built again; none where it is whole.
pub type Building = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Threads that answer, and the queue before them. They end when nobody can ask any more.
pub struct Sql {
    settings: config::Sql,
    queue: Sender<Job>,
}

struct Job {
    asked: SqlAsked,
    until: Until,
    answer: oneshot::Sender<Result<SqlAnswer, SqlRefused>>,
}

impl Sql {
    /// Starts the threads.
    pub fn start(
        settings: &config::Sql,
        read: ReadHandle,
        now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
        building: Building,
    ) -> Result<Arc<Sql>, Report> {
        limit_memory(settings)?;
        let columns = read.views.iter().map(|it| Arc::new(Columns::of(it.def()))).collect();
        let rows = catalogue(read.views.iter().map(|it| it.def()));
        let tables = Arc::new(Tables {
            settings: settings.clone(),
            read,
            now_ms,
            building,
            columns,
            catalogue: (Arc::new(Columns::of_catalogue()), Arc::new(rows)),
        });
        let (queue, jobs) = crossbeam_channel::bounded(settings.max_waiting);
        for n in 0..settings.threads {
            let (tables, jobs): (_, Receiver<Job>) = (Arc::clone(&tables), jobs.clone());
            tasks::thread(&format!("sql-{n}"), move || {
                for Job { asked, until, answer } in jobs {
                    if answer.send(tables.answer(&asked, until)).is_err() {
                        tracing::debug!("nobody waits for an answer of SQL any more");
                    }
                }
            })?;
        }
        Ok(Arc::new(Sql { settings: settings.clone(), queue }))
    }
}

impl AskSql for Sql {
    fn ask(&self, asked: SqlAsked) -> Result<SqlWaiting, SqlRefused> {
        if asked.sql.len() > STATEMENT_BYTES as usize {
            let (n, most) = (asked.sql.len(), STATEMENT_BYTES);
            return Err(refused::statement(format!("expected at most {most} bytes, found {n}")));
        }
        let given_up = Arc::new(AtomicBool::new(false));
        let deadline = clock::monotonic() + self.settings.timeout;
        let until = Until { deadline, given_up: Arc::clone(&given_up) };
        let (answer, waiting) = oneshot::channel();
        match self.queue.try_send(Job { asked, until, answer }) {
            Ok(()) => Ok(SqlWaiting::new(waiting, given_up)),
            Err(_) => Err(refused::busy(&self.settings)),
        }
    }
}

/// SQLite's memory is the process's: it can be limited further, and never less.
fn limit_memory(settings: &config::Sql) -> Result<(), Report> {
    let bytes = settings.memory_max;
    let limited = Connection::open_in_memory().and_then(|it| {
        it.query_row(&format!("PRAGMA hard_heap_limit = {bytes}"), [], |row| row.get::<_, i64>(0))
    });
    match limited {
        Ok(is) if is as u64 <= bytes => Ok(()),
        Ok(is) => Err(unlimited(format!("the limit is {is} bytes"))),
        Err(why) => Err(unlimited(why.to_string())),
    }
}

fn unlimited(why: String) -> Report {
    Report {
        code: "sql/memory-limit",
        what: "could not limit the memory of SQL".into(),
        at: vec![("setting", "sql.memory_max".into())],
        why,
        effect: "nothing was started; no data was touched".into(),
        fix: "start again; if it repeats, report it".into(),
    }
}
