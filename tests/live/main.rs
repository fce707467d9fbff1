//! Does it hold against a real Kafka? Started by `scripts/test live`, never by `cargo test` alone.
//!
//! ```text
//!  broker     a broker of the suite (shared), or one of a test's own that may be killed and paused
//!  topics     topics made, grown, cut, deleted and made again
//!  acls       who may read a topic of a broker that asks
//!  client     another client: any codec, transactions, tombstones, any timestamp; reads it all back
//!  relay      a broker behind a relay that can keep fetches to itself
//!  raw        the protocol by hand: times that no client sends
//!  kcat       a third client, by other people, for what should not depend on ours
//!  engine     a `millstream run` of its own: ready, ledger, digests of its views
//!  wait       until something is so, with patience; seeds
//! ```
//!
//! The tests are in `source`, `outages`, `stalls`, `rebuilt`, `documents`, `group`, `resets`, `rights`,
//! `debezium`, `mapped`, `latency`, `produce`, `brokers` and `helpers` (that the helpers do what they
//! say). Each topic and folder is a test's own, so that tests run beside each other.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "../common/random.rs"]
mod random;

mod acls;
mod broker;
mod client;
mod engine;
mod kcat;
mod raw;
mod relay;
#[path = "../support/skipped.rs"]
mod skipped;
mod topics;
mod wait;

mod debezium; // a database's change stream
mod documents; // docs/kafka.md, as a newcomer types it
mod brokers; // what scripts/kafka promises
mod group; // told, never asked
mod helpers; // what the files above promise
mod mapped; // key and headers through a mapping
mod outages; // reading while brokers die, stop, delete
mod latency; // from produced to readable
mod produce; // `millstream produce`
mod rebuilt; // a view, from topics, beside the others
mod resets; // `millstream feed reset`
mod rights; // topics that we may not read
mod source; // reading topics
mod stalls; // records that wait and do not come
