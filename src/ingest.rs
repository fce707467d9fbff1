//! Reads: turns what lies outside into [`Chunk`](crate::messages::Chunk)s, noting where each was
//! read. Nothing is decoded here.
//!
//! ```text
//!  a file, a folder, standard input ─▶ file ──────┐
//!  topics ───────────────────────────▶ kafka ─────┼─▶ Outlet (bounded) ─▶ epochs
//!  HTTP, claims, retried rejects ─▶ local_log ────┘
//! ```

pub mod file; // JSON lines, plain or compressed, as fast as it goes or paced
pub mod kafka; // topics: every record once, every offset accounted for
pub mod resets; // where topics are to begin at the next start, as decided
pub mod local_log; // the embedded log: durable before it is answered, read back as it grows
