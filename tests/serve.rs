//! The HTTP room on real sockets, over a world that the test makes by hand (`serve/world.rs`).

#[path = "serve/client.rs"]
mod client;
#[path = "serve/connections.rs"]
mod connections;
#[path = "serve/events.rs"]
mod events;
#[path = "serve/routes.rs"]
mod routes;
#[path = "serve/rows.rs"]
mod rows;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "serve/sql.rs"]
mod sql;
#[path = "serve/streams.rs"]
mod streams;
#[path = "serve/world.rs"]
mod world;
