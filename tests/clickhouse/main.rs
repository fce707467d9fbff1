//! Does it hold against a real ClickHouse? Started by `scripts/test live`, never by `cargo test` alone.
//!
//! ```text
//!  server     a server of the suite (shared), or one of a test's own that may be killed and paused
//!  engine     a `millstream run` of its own that writes there
//!  flow       events for it, and the end of every story: equal, each row once
//!  between    what lies between us and a server: passes on, or misbehaves on request
//!  story      a whole engine, something that goes wrong, and the same end
//!  batches    batches as the outbox makes them, and what must be in the tables after them
//! ```
//!
//! The tests are in `contract` (what every sink passes), `once` (each row once), `answers` (whose fault an answer is), `broken` (a
//! server or a way to it that misbehaves), `tables` (migrations, columns, users); with a whole
//! process: `erased`, `killed`, `outage`, `lives`, `analytics` and `document` (what the pages say).
//! Each test has a database of its own, so that they run beside each other.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "../common/contract.rs"]
mod cases;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/sinks.rs"]
mod kit;
#[path = "../common/life.rs"]
mod life;
#[path = "../common/random.rs"]
mod random;
#[path = "../support/temp_dir.rs"]
mod temp_dir;

mod batches;
mod between;
#[path = "../live/engine.rs"]
#[allow(dead_code)]
mod engine;
mod flow;
mod server;
mod story;
#[path = "../live/wait.rs"]
#[allow(dead_code)]
mod wait;

mod analytics; // the fifteen questions
mod answers; // whose fault
mod document; // docs/clickhouse.md, typed
mod erased; // what the tables have of who was erased
mod broken; // between the first byte and the acknowledgement
mod carried; // tables carried forward
mod contract; // the kit that every sink passes
mod once; // each row once
mod killed; // we, again and again, between insert and acknowledgement
mod lives; // backups, copies, rebuilding
mod outage; // a minute without a server
mod tables; // what they are
