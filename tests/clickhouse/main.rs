//! Does it hold against a real ClickHouse? Started by `scripts/test live`, never by `cargo test` alone.
//!
//! ```text
//!  server     a server of the suite (shared), or one of a test's own that may be killed and paused
//!  between    what lies between us and a server: passes on, or misbehaves on request
//!  batches    batches as the outbox makes them, and what must be in the tables after them
//! ```
//!
//! The tests are in `once` (each row once), `answers` (whose fault an answer is), `broken` (a
//! server or a way to it that misbehaves), `tables` (migrations, columns, users, times).
//! Each test has a database of its own, so that they run beside each other.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "../common/random.rs"]
mod random;

mod batches;
mod between;
mod server;
#[path = "../live/wait.rs"]
#[allow(dead_code)]
mod wait;

mod answers; // whose fault
mod broken; // between the first byte and the acknowledgement
mod once; // each row once
mod tables; // what they are
