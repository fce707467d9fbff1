//! Killed, filled, damaged, restored: does it go on as if nothing had happened? Real processes.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "../common/life.rs"]
mod life;
#[path = "../common/searched.rs"]
mod searched;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/random.rs"]
mod random;

mod backup; // a copy taken under load, put back elsewhere
mod killed; // again and again, at random instants
mod supervised; // by a parent that starts it again
mod panicked; // by itself, with nobody beside it
mod memory; // above its cap
mod sinks; // while a receiver is handed what changes
mod stop; // told to end
mod rebuilt; // a view, beside the others
mod shim; // between the program and the disk
mod writes; // every one of them, as the last or failing
mod erased; // somebody, and what is gone back to then
mod disk; // full, not to be written, slow
mod taken_over; // by another, while it was stopped
mod load; // what they are loaded with, and held against
