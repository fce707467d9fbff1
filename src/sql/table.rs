//! A view as a virtual table of SQLite's: read-only, of one tenant, at one instant.
//!
//! ```text
//!  SQLite ─best_index─▶ Plan ─filter─▶ cursor ─▶ fields_of (by key) ─┐
//!                                        │                           ├─▶ some rows' used fields
//!                                        └─▶ scan, stride by stride ─┘
//! ```
//!
//! # Invariants
//! A cursor holds no lock between two calls: it has a stride of rows in hand, each with the fields
//! that the statement uses. Whether to go on is looked at with each stride ([`Hold::tend`]).
//!
//! # Unsafe
//! Two `unsafe impl`, no unsafe block. What rusqlite asks of them, and why it holds: the types are
//! `repr(C)` with SQLite's own structure first, so that a pointer to one is a pointer to the other;
//! they are made by rusqlite in a box of their own and never moved; SQLite closes every cursor
//! before it lets a table go. A panic in here would cross C code: `extern "C"` functions of
//! rusqlite's abort the process then, as every panic of ours does (`src/run/ends.rs`).

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::sync::Arc;

use rusqlite::vtab::{
    Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};
use schemas::names::key_text;
use schemas::reading::{Gone, ViewReader};
use schemas::rows::Value;
use schemas::scanning::{Scan, Wanted};

use super::columns::{AsSql, Columns};
use super::hold::{Hold, Stop};
use super::plan::{Plan, key_part, tests};

/// Where a table's rows come from.
pub(super) struct Source {
    pub(super) columns: Arc<Columns>,
    pub(super) rows: Rows,
    pub(super) tenant: String,
    pub(super) hold: Arc<Hold>,
}

/// Rows of a view, or the same ones always.
pub(super) enum Rows {
    View(Arc<dyn ViewReader>, Building),
    Fixed(Arc<Vec<Vec<Value>>>),
}

/// How far a view is that is being built again; none where it is whole.
pub(super) type Building = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Puts a table into a connection.
pub(super) fn add(connection: &Connection, source: Source) -> Result<()> {
    const MODULE: Module<'_, Table> = Module::eponymous_only_module().without_rowid();
    let name = source.columns.table;
    connection.create_module(name, &MODULE, Some(Arc::new(source)))
}

#[repr(C)]
struct Table {
    base: sqlite3_vtab,
    source: Arc<Source>,
}

unsafe impl VTab<'_> for Table {
    type Aux = Arc<Source>;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Arc<Source>>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Table)> {
        let source = aux.ok_or_else(|| Error::ModuleError("a table without rows".into()))?;
        let declared = Cow::Owned(source.columns.declared.clone());
        Ok((declared, Table { base: sqlite3_vtab::default(), source: Arc::clone(source) }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let rows = match &self.source.rows {
            Rows::View(view, _) => view.rows(),
            Rows::Fixed(rows) => rows.len() as u64,
        };
        Plan::choose(&self.source.columns, rows, info);
        Ok(true)
    }

    fn open(&mut self) -> Result<Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            source: Arc::clone(&self.source),
            told: String::new(),
            plan: Plan::default(),
            wanted: Wanted::default(),
            places: Vec::new(),
            scan: Scan { over: true, ..Scan::default() },
            values: Vec::new(),
            n_rows: 0,
            at: 0,
        })
    }
}

/// A place in a table.
#[repr(C)]
struct Cursor {
    base: sqlite3_vtab_cursor,
    source: Arc<Source>,
    /// The plan as SQLite told it last: a join tells the same one for every row of its outer side.
    told: String,
    plan: Plan,
    wanted: Wanted,
    /// Of each column, where its value stands in a row; of those used.
    places: Vec<usize>,
    scan: Scan,
    /// The rows in hand, one after the other.
    values: Vec<Value>,
    n_rows: usize,
    at: usize,
}

impl Cursor {
    fn take(&mut self, told: &str) -> Result<()> {
        if self.told == told && !told.is_empty() {
            return Ok(());
        }
        if let Rows::View(view, building) = &self.source.rows
            && let Some(words) = building(view.def().name)
        {
            return Err(stopped(self.source.hold.stop(Stop::Building(words))));
        }
        let plan = Plan::from_text(told);
        self.plan = plan.ok_or_else(|| Error::ModuleError("a plan that is not ours".into()))?;
        self.told = told.to_string();
        self.places = vec![usize::MAX; self.source.columns.all.len()];
        self.plan.used.iter().enumerate().for_each(|(place, it)| self.places[*it] = place);
        self.wanted.fields = self.plan.used.clone();
        Ok(())
    }

    fn begin(&mut self, args: &Filters<'_>) -> Result<()> {
        let columns = Arc::clone(&self.source.columns);
        self.values.clear();
        (self.n_rows, self.at) = (0, 0);
        self.scan = Scan::default();
        self.wanted.tests.clear();
        let plan = &self.plan;
        if plan.by_key {
            let compared = plan.compared.iter().zip(args.iter());
            let parts = compared.map(|((it, _), arg)| key_part(columns.all[*it].1, arg));
            let parts: Option<Vec<String>> = parts.collect();
            // What is no text of a key may still equal one to SQLite: then all are looked at.
            if let Some(parts) = parts {
                return self.find(&parts);
            }
        } else {
            let compared = plan.compared.iter().zip(args.iter());
            self.wanted.tests = compared
                .flat_map(|((it, op), arg)| tests(*it, columns.all[*it].1, *op, arg))
                .collect();
        }
        self.fill()
    }

    fn find(&mut self, parts: &[String]) -> Result<()> {
        let Source { rows, tenant, hold, .. } = self.source.as_ref();
        hold.tend().map_err(stopped)?;
        self.scan.over = true;
        if let Rows::View(view, _) = rows {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let (epoch, fields) = (hold.as_of.epoch, &self.wanted.fields);
            let found = view.fields_of(tenant, &key_text(&parts), epoch, fields, &mut self.values);
            self.n_rows = usize::from(found.map_err(|it| self.gone(it))?);
            return Ok(());
        }
        self.scan.over = false;
        self.fill()
    }

    /// Takes the next rows in hand, if there are any.
    fn fill(&mut self) -> Result<()> {
        (self.n_rows, self.at) = (0, 0);
        let source = Arc::clone(&self.source);
        while self.n_rows == 0 && !self.scan.over {
            source.hold.tend().map_err(stopped)?;
            self.values.clear();
            self.n_rows = match &source.rows {
                Rows::View(view, _) => {
                    let (tenant, epoch) = (source.tenant.as_str(), source.hold.as_of.epoch);
                    view.scan(tenant, epoch, &self.wanted, &mut self.scan, &mut self.values)
                        .map_err(|it| self.gone(it))?
                }
                Rows::Fixed(rows) => {
                    self.scan.over = true;
                    let used = |row: &Vec<Value>| -> Vec<Value> {
                        self.wanted.fields.iter().map(|it| row[*it].clone()).collect()
                    };
                    self.values.extend(rows.iter().flat_map(used));
                    rows.len()
                }
            };
        }
        Ok(())
    }

    fn gone(&self, gone: Gone) -> Error {
        stopped(self.source.hold.stop(Stop::Gone(gone)))
    }
}

/// Why it stops is noted in the hold; SQLite is told that it does.
fn stopped(_: Stop) -> Error {
    Error::ModuleError("stopped".into())
}

unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, plan: Option<&str>, args: &Filters<'_>) -> Result<()> {
        self.take(plan.unwrap_or(""))?;
        self.begin(args)
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        if self.at < self.n_rows { Ok(()) } else { self.fill() }
    }

    fn eof(&self) -> bool {
        self.at >= self.n_rows
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let place = usize::try_from(column).ok().and_then(|it| self.places.get(it));
        let place = place.filter(|it| **it != usize::MAX);
        let width = self.wanted.fields.len();
        match place.and_then(|it| self.values.get(self.at * width + it)) {
            Some(value) => context.set_result(AsSql(value)),
            None => Err(Error::ModuleError("a column that the plan does not name".into())),
        }
    }

    /// SQLite does not ask: the tables have none.
    fn rowid(&self) -> Result<i64> {
        Ok(0)
    }
}
