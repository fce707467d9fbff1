//! ClickHouse as a sink: rows, changes, events and marks, each row there once.
//!
//! In: [`Batch`]es. Out: inserts into the tables of `schemas/clickhouse/`.
//!
//! ```text
//!  batch ─ coding ─▶ RowBinaryWithNamesAndTypes ─ server ─▶ INSERT … (token = batch id)
//!                                                  wire: TCP_NODELAY, TLS, an ear for exceptions
//!  ready: who writes here, migrations, columns, windows ◀─ fit
//! ```
//!
//! # Meaning
//! One batch is one insert is one block, with constant settings and the batch's id as its
//! deduplication token: the same batch in two hands is one. Beyond the server's window of tokens,
//! and over tokens of halves, the row's own identity is the second net (`row_id` in the sorting
//! key): read with FINAL, `count() = uniqExact(row_id)` in every table. Tests: `tests/live/`.
//!
//! # Invariants
//! - Nothing but inserts and questions: tables are made by `millstream migrate` ([`migrate`]).
//! - A database has one writer: the process that came last ([`fit`]). One that is superseded is
//!   refused, as is a database of another deployment.
//!
//! # When it fails
//! [`faults`] says which of the server's errors is whose fault. A time-out is answered by
//! [`Delivery::Retry`]: the block may be there, and the same token tells.

mod coding; // rows, events and marks as RowBinary
mod faults; // what an error means
mod fit; // whether the tables are as they must be, and who writes there
pub mod migrate; // tables made and changed
mod server; // questions, statements, inserts
mod views; // whether materialized views on the tables count an insert once
mod verify; // whether the tables hold what is served
mod wire; // connections

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::clickhouse::Table;
use schemas::reading::ViewReader;
use serde_json::Value;

use crate::config::ClickHouseSettings;
use crate::report::Report;
use crate::sinks::{Against, Batch, Declared, Delivering, Delivery, Fault, Sink, Stream};
use crate::tasks;

pub use fit::Writer;
pub use server::{Server, Told};
pub(crate) use wire::{client_config, trusted};

/// ClickHouse as a sink.
pub struct ClickHouse {
    settings: ClickHouseSettings,
    declared: Declared,
    writer: Writer,
    /// By the stream's name.
    layouts: BTreeMap<String, coding::Layout>,
    /// Made by `ready`, with the password as it was then.
    server: Mutex<Option<Server>>,
}

impl ClickHouse {
    /// The sink of what is declared, for this writer. Nothing is connected yet.
    pub fn new(settings: &ClickHouseSettings, declared: Declared, writer: Writer) -> ClickHouse {
        let layout = |it: &Stream| match it {
            Stream::Rows(def) => coding::Layout::of_view(def, Table::Rows),
            Stream::Changes(def) => coding::Layout::of_view(def, Table::Changes),
            Stream::Events => coding::Layout::events(),
            Stream::Marks => coding::Layout::marks(),
        };
        let layouts = declared.streams.iter().map(|it| (it.to_string(), layout(it))).collect();
        let settings = settings.clone();
        ClickHouse { settings, declared, writer, layouts, server: Mutex::new(None) }
    }

    async fn look(&self) -> Result<(), Told> {
        // Anew each time: a password that was mended is taken up.
        let server = Server::connect(&self.settings)?;
        fit::claim(&server, &self.writer).await?;
        fit::look(&server, self.layouts.values()).await?;
        *self.server.lock() = Some(server);
        Ok(())
    }

    async fn insert(&self, batch: &Batch) -> Result<(), Told> {
        let server = match &*self.server.lock() {
            Some(it) => it.clone(),
            None => return Err(Told::unknown("deliver came before ready".into())),
        };
        let layout = self.layouts.get(&batch.stream.to_string());
        let layout =
            layout.ok_or_else(|| Told::unknown(format!("no table for {}", batch.stream)))?;
        let bytes = layout.encode(batch).map_err(Told::data)?;
        fit::still_ours_lately(&server, &self.writer).await?;
        server.insert(layout, &batch.id, bytes).await
    }
}

impl Sink for ClickHouse {
    fn declared(&self) -> Declared {
        self.declared.clone()
    }

    fn ready(&self) -> Delivering<'_> {
        Box::pin(async move { self.answer(self.look().await) })
    }

    fn takes_two(&self) -> bool {
        true
    }

    fn verify(&self, against: &Against<'_>) -> Result<Value, Report> {
        let told = |it: Told| it.report(&self.settings);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let could_not = |why| tasks::could_not_start(("runtime", "verify"), &why);
        let runtime = runtime.map_err(could_not)?;
        let server = Server::connect(&self.settings).map_err(told)?;
        let mut all = Vec::new();
        for stream in &self.declared.streams {
            let table = match stream {
                Stream::Changes(_) => Table::Changes,
                Stream::Rows(_) => Table::Rows,
                Stream::Events => {
                    let counted = verify::events(&server, against.events);
                    all.push(runtime.block_on(counted).map_err(told)?);
                    continue;
                }
                Stream::Marks => continue,
            };
            let of_it = |it: &&Arc<dyn ViewReader>| it.def().name == stream.view();
            let Some(reader) = against.readers.iter().find(of_it) else { continue };
            let between = (against.at, against.upto);
            let one = verify::view(&server, reader.as_ref(), table, between);
            all.push(runtime.block_on(one).map_err(told)?);
        }
        Ok(Value::Array(all))
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivering<'a> {
        Box::pin(async move { self.answer(self.insert(batch).await) })
    }
}

impl ClickHouse {
    fn answer(&self, done: Result<(), Told>) -> Delivery {
        let told = match done {
            Ok(()) => return Delivery::Durable,
            Err(told) => told,
        };
        let report = told.report(&self.settings);
        match told.fault {
            None => Delivery::Retry { after: told.after, report },
            Some(fault) => Delivery::Refused { fault, report },
        }
    }
}

impl Told {
    fn data(why: String) -> Told {
        Told::new(Some(Fault::Data), faults::ROW, why)
    }

    fn unknown(why: String) -> Told {
        Told::new(Some(Fault::Unknown), faults::UNKNOWN, why)
    }
}
