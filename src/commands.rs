//! One file per command of the command line.

pub mod replay; // a file through the whole path, and what it made of it
pub mod run; // everything, until told to stop
