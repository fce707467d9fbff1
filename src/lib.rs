//! Keeps a live, exact picture of customers, orders and cases while events stream in.
//!
//! One event walks through these rooms, in this order, and never turns back:
//!
//! ```text
//!  1 ingest ─▶ schemas ─▶ 2 epochs ─▶ 3 engine ─▶ dataflows ─▶ 4 changes ─▶ 6 serve (streams)
//!    read       decode      date        drive       compute      gather
//!                                                      ├────────────────▶ 5 store (checkpoints)
//!                                                      ├────────────────▶ 6 serve (reads)
//!                                                      └────────────────▶ 7 sinks (what leaves)
//! ```
//!
//! **Invariant**: rooms do not know each other. They know [`messages`], [`config`], [`report`],
//! [`metrics`] and the `schemas` crate; only [`engine`] knows `dataflows`; only [`run`] (and the
//! commands) know all rooms. `tests/layers.rs` holds this.
//!
//! **Invariant**: the offsets of an epoch travel with it. There is no side table to look them up
//! in, so nothing has to walk back.

pub mod messages; // what rooms hand each other
pub mod config; // settings: the file, the variables, the flags; checked whole
pub mod report; // how a problem is told
pub mod metrics; // every metric in one place
pub mod clock; // the only place that asks the system for the time
pub mod tasks; // the one way to start a task: with a name
pub mod usage; // CPU and memory of this process
pub mod secret; // made once, kept with the state

pub mod segments; // the one on-disk format: checksummed append-only segments
pub mod ingest; // 1
pub mod epochs; // 2
pub mod engine; // 3, and the `dataflows` crate
pub mod changes; // 4
pub mod rejects; // what could not be decoded, kept with its report
pub mod ledger; // where every record read has ended, by epoch
pub mod store; // 5
pub mod backup; // a copy of everything durable, and back
pub mod models; // what was learnt, by digest
pub mod sql; // 6, in SQL
pub mod serve; // 6
pub mod desk; // 6: who is next on queues, and who has which case
pub mod sinks; // 7: what leaves, and how often it is tried
pub mod notify; // 7: what rules say of changed rows, and to whom
pub mod supervise; // the parent that starts it again
pub mod watch; // looks at the whole: metrics, alarms, readiness

pub mod produce; // lines into a Kafka topic, for tests and for those who try
pub mod generator; // realistic events for demonstrations and benches
pub mod commands; // one file per command of the command line
pub mod run; // the wiring: every channel with its bound, every task with its fate
