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
//! - Nothing but inserts and questions, and removing what is of erased customers ([`erase`]): tables are
//!   made by `millstream migrate` ([`migrate`]).
//! - A database has one writer: the process that came last ([`fit`]). One that is superseded is
//!   refused, as is a database of another deployment.
//!
//! # When it fails
//! [`faults`] says which of the server's errors is whose fault. A time-out is answered by
//! [`Delivery::Retry`]: the block may be there, and the same token tells.

mod coding; // rows, events and marks as RowBinary
mod erase; // what the tables have of who was erased
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
use crate::sinks::{
    Against, Batch, Certificates, Declared, Delivering, Delivery, Fault, RemovedThere, Sink,
    Stream, Value as Field,
};
use crate::tasks;
use erase::Removed;

pub use erase::KEYS_MAX;
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
    /// Where what was removed is written down.
    certificates: Arc<dyn Certificates>,
    /// What was removed by attempts that came to nothing, by tenant and customer.
    removed: Mutex<BTreeMap<(String, String), Removed>>,
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
        ClickHouse {
            settings,
            declared,
            writer,
            layouts,
            server: Mutex::new(None),
            certificates: Arc::new(Unwritten),
            removed: Mutex::default(),
        }
    }

    /// What is removed of erased customers is written down there.
    pub fn certified_by(self, certificates: Arc<dyn Certificates>) -> ClickHouse {
        ClickHouse { certificates, ..self }
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
        if batch.stream.is_behind() {
            self.erase(&server, batch).await?;
        }
        server.insert(layout, &batch.id, bytes).await
    }

    /// Removes what the tables have of those whom these rows name. One after the other: who is done
    /// is, whatever becomes of the batch.
    async fn erase(&self, server: &Server, batch: &Batch) -> Result<(), Told> {
        for row in batch.rows() {
            let Some(Field::Text(customer)) = row.values().next() else { continue };
            let of = (row.tenant.to_string(), customer.to_string());
            if self.certificates.has(&batch.id, row.tenant, customer) {
                continue;
            }
            // What an attempt that is dropped has removed is counted: it is not there any more.
            let counted = self.removed.lock().get(&of).copied().unwrap_or_default();
            let mut counting = Counting { of: &of, removed: counted, all: &self.removed };
            erase::erase(server, (row.tenant, customer), row.epoch, &mut counting.removed).await?;
            let Removed { rows, events } = counting.removed;
            drop(counting);
            self.removed.lock().remove(&of);
            let by = batch.id.clone();
            let (tenant, customer) = of;
            self.certificates.note(RemovedThere { tenant, customer, by, rows, events });
        }
        self.certificates.write().map_err(|report| {
            Told::new(None, faults::BUSY, format!("the certificate: {}", report.why))
        })
    }
}

/// Keeps what was counted, also when the attempt is dropped.
struct Counting<'c> {
    of: &'c (String, String),
    removed: Removed,
    all: &'c Mutex<BTreeMap<(String, String), Removed>>,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.all.lock().insert(self.of.clone(), self.removed);
    }
}

/// Nobody asks.
struct Unwritten;

impl Certificates for Unwritten {
    fn has(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }
    fn note(&self, _: RemovedThere) {}
    fn write(&self) -> Result<(), Report> {
        Ok(())
    }
    fn events(&self) -> u64 {
        0
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
                    let counted =
                        verify::events(&server, against.events, self.certificates.events());
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
