//! One request: a connection of its own, its statements one after the other, its rows.
//!
//! # Why this way
//! A connection in memory costs most of a point query's third of a millisecond
//! (`docs/performance.md`); kept between requests it would have to be proved that nothing of one
//! tenant's is found by the next.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::functions::FunctionFlags;
use rusqlite::limits::Limit;
use rusqlite::types::{Null, ToSqlOutput};
use rusqlite::{Batch, Connection, OpenFlags, Statement, ToSql};
use schemas::rows::Value;

use super::allowed;
use super::columns::{Columns, stamp};
use super::hold::{Hold, Until};
use super::out::Out;
use super::refused;
use super::table::{self, Building, Rows, Source};
use super::texts;
use crate::config;
use crate::messages::ReadHandle;
use crate::messages::sql::{SqlAnswer, SqlAsked, SqlFormat, SqlParam, SqlParams, SqlRefused};

/// Steps of SQLite's machine between two looks at the time: some tens of microseconds.
const STEPS: i32 = 4_000;
/// Longest pattern of LIKE and GLOB, whose cost grows with its square, between two looks.
const PATTERN_BYTES: i32 = 1_000;
/// Deepest expression: SQLite takes it apart on its stack.
const EXPRESSION_DEPTH: i32 = 200;

/// What every request has in common.
pub(super) struct Tables {
    pub(super) settings: config::Sql,
    pub(super) read: ReadHandle,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) building: Building,
    /// Of each view, in the order of [`ReadHandle::views`].
    pub(super) columns: Vec<Arc<Columns>>,
    pub(super) catalogue: (Arc<Columns>, Arc<Vec<Vec<Value>>>),
}

impl Tables {
    /// The answer to a request.
    pub(super) fn answer(&self, asked: &SqlAsked, until: Until) -> Result<SqlAnswer, SqlRefused> {
        until.look().map_err(|why| refused::stopped(&why, &self.settings))?;
        let hold = Arc::new(Hold::new(&self.read, Arc::clone(&self.now_ms), until));
        let as_of = hold.as_of;
        let denied = Arc::new(Mutex::new(None));
        let told = |why: rusqlite::Error| refused::failed(&why, &asked.sql, &self.settings);
        let connection = self.connection(asked, &hold, &denied).map_err(told);
        let answered = connection.and_then(|it| self.run(&it, asked));
        // What was noted says more than what SQLite makes of it.
        let answered = answered.map_err(|why| match (hold.stopped(), denied.lock().take()) {
            (Some(stop), _) => refused::stopped(&stop, &self.settings),
            (None, Some(what)) => refused::not_allowed(&what),
            (None, None) => why,
        });
        match answered {
            Ok(out) => Ok(SqlAnswer { as_of, n_rows: out.n_rows, bytes: out.whole() }),
            Err(why) => Err(why.at(as_of)),
        }
    }

    /// A database in memory with nothing in it but our tables.
    fn connection(
        &self,
        asked: &SqlAsked,
        hold: &Arc<Hold>,
        denied: &Arc<Mutex<Option<String>>>,
    ) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_in_memory_with_flags(flags)?;
        // Sorting stays in memory, under its limit; it never goes to a file.
        connection.execute_batch("PRAGMA temp_store = MEMORY")?;
        for (config, is) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
            // Text in double quotes is a name that is not there, not text.
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        ] {
            connection.set_db_config(config, is)?;
        }
        for (limit, is) in [
            (Limit::SQLITE_LIMIT_LENGTH, super::VALUE_BYTES),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, super::STATEMENT_BYTES),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_DEPTH),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, is)?;
        }
        let source = |columns: &Arc<Columns>, rows| Source {
            columns: Arc::clone(columns),
            rows,
            tenant: asked.tenant.clone(),
            hold: Arc::clone(hold),
        };
        for (view, columns) in self.read.views.iter().zip(&self.columns) {
            let rows = Rows::View(Arc::clone(view), Arc::clone(&self.building));
            table::add(&connection, source(columns, rows))?;
        }
        let (columns, rows) = &self.catalogue;
        table::add(&connection, source(columns, Rows::Fixed(Arc::clone(rows))))?;
        let now = stamp(i64::try_from(hold.as_of.epoch).unwrap_or(0).saturating_mul(1_000));
        connection.create_scalar_function(
            "as_of",
            0,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
            move |_| Ok(now.clone()),
        )?;
        texts::add(&connection, hold)?;
        let tending = Arc::clone(hold);
        connection.progress_handler(STEPS, Some(move || tending.tend().is_err()))?;
        let mut tables: Vec<&'static str> = self.columns.iter().map(|it| it.table).collect();
        tables.push(columns.table);
        let denied = Arc::clone(denied);
        let decide = move |it: rusqlite::hooks::AuthContext<'_>| {
            let decision = allowed::decide(&it, &tables);
            if let Err(what) = &decision {
                denied.lock().get_or_insert(what.clone());
            }
            allowed::told(&decision)
        };
        connection.authorizer(Some(decide))?;
        Ok(connection)
    }

    fn run(&self, connection: &Connection, asked: &SqlAsked) -> Result<Out, SqlRefused> {
        let told = |why: rusqlite::Error| refused::failed(&why, &asked.sql, &self.settings);
        let mut statements = Batch::new(connection, &asked.sql);
        let mut out = Out::new(asked.format);
        let mut n = 0;
        while let Some(mut statement) = statements.next().map_err(told)? {
            n += 1;
            let one = asked.format != SqlFormat::Json || !asked.params.is_empty();
            if n > 1 && one {
                let why = "expected one statement: only JSON without parameters takes several";
                return Err(refused::statement(why));
            }
            if n > super::STATEMENTS {
                let why = format!("expected at most {} statements", super::STATEMENTS);
                return Err(refused::statement(why));
            }
            // The authorizer has said so before; this is SQLite's own word. What has no columns is
            // no question, also where it would find nothing to do (REINDEX).
            if !statement.readonly() || statement.column_count() == 0 {
                return Err(refused::not_allowed("a statement that does not only read"));
            }
            bind(&mut statement, &asked.params)?;
            self.rows(&mut statement, &mut out, told)?;
        }
        if n == 0 {
            return Err(refused::statement("expected a statement, found none"));
        }
        Ok(out)
    }

    fn rows(
        &self,
        statement: &mut Statement<'_>,
        out: &mut Out,
        told: impl Fn(rusqlite::Error) -> SqlRefused,
    ) -> Result<(), SqlRefused> {
        out.begin(statement.column_names());
        let mut rows = statement.raw_query();
        while let Some(row) =
            rusqlite::fallible_streaming_iterator::FallibleStreamingIterator::next(&mut rows)
                .map_err(&told)?
        {
            if out.n_rows == self.settings.max_rows {
                return Err(refused::rows(&self.settings));
            }
            out.row(|n| row.get_ref(n)).map_err(&told)?;
            if out.bytes.len() as u64 > self.settings.max_bytes {
                return Err(refused::bytes(&self.settings));
            }
        }
        out.end();
        Ok(())
    }
}

impl SqlParams {
    fn is_empty(&self) -> bool {
        match self {
            SqlParams::Listed(it) => it.is_empty(),
            SqlParams::Named(it) => it.is_empty(),
        }
    }
}

impl ToSql for SqlParam {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            SqlParam::Null => Null.to_sql(),
            SqlParam::Int(it) => it.to_sql(),
            SqlParam::Real(it) => it.to_sql(),
            SqlParam::Text(it) => it.to_sql(),
        }
    }
}

/// Puts the parameters in their places: each place has one, and each has a place.
fn bind(statement: &mut Statement<'_>, params: &SqlParams) -> Result<(), SqlRefused> {
    let places = statement.parameter_count();
    let values: Vec<&SqlParam> = match params {
        SqlParams::Listed(it) if it.len() == places => it.iter().collect(),
        SqlParams::Listed(it) => {
            return Err(refused::parameters(format!("expected {places}, found {}", it.len())));
        }
        SqlParams::Named(named) => {
            let mut found = Vec::new();
            for place in 1..=places {
                let name = statement.parameter_name(place).unwrap_or("?");
                let bare = name.trim_start_matches([':', '@', '$']);
                match named.iter().find(|it| it.0 == bare) {
                    Some(it) => found.push(&it.1),
                    None => return Err(refused::parameters(format!("there is none for {name}"))),
                }
            }
            if let Some((name, _)) = named.iter().find(|it| {
                !(1..=places).any(|place| {
                    let place = statement.parameter_name(place).unwrap_or("?");
                    place.trim_start_matches([':', '@', '$']) == it.0
                })
            }) {
                return Err(refused::parameters(format!(
                    "the statement has no place for {name:?}"
                )));
            }
            found
        }
    };
    for (place, value) in (1..).zip(values) {
        statement
            .raw_bind_parameter(place, value)
            .map_err(|why| refused::parameters(why.to_string()))?;
    }
    Ok(())
}
