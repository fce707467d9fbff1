//! Millstream's words at both doors: events in, rows out.
//!
//! Pure: values in, values out. No I/O, no clock, no settings files. [`events`] says what an event
//! is, [`decode`] and [`mapping`] make events out of bytes, [`rows`] says what a row of a view is
//! and what the catalogue of views looks like.

pub mod names; // identifiers, currencies, fingerprints: what both doors share
pub mod time; // event time in microseconds, RFC 3339 both ways
pub mod events; // the typed events of the contract
pub mod messages; // of them: what rules decided to say, and what became of it
pub mod identity; // of them: which customers are one person
pub mod concerns; // of them: whom and what one is about
pub mod records; // of them: what a foreign table's change stream says
pub mod own; // of them: what only Millstream itself may say
pub mod limits; // what a single value may be
pub mod nearest; // the name that was probably meant
pub mod problem; // how an undecodable record is told
pub mod rows; // rows, values, and the catalogue's types
pub mod reading; // how rows are read, at one epoch
pub mod scanning; // the same in no order, and only the fields that are wanted
pub mod keeping; // how states are kept and put back
pub mod leaving; // which rows leave, and as of when
pub mod json; // the strict scanner that everything decodes through
pub mod decode; // CloudEvents: structured, binary, batch
pub mod encode; // the other way: events as structured CloudEvents
pub mod published; // the contract as JSON Schema
pub mod mapping; // foreign JSON into events
pub mod clickhouse; // the tables of ClickHouse, as the catalogue says them
