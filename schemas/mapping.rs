//! Mappings: foreign JSON into events, without changing its producers.
//!
//! In: a TOML text, checked whole, compiled once; then the bytes of foreign records. Out: events.

use crate::events::Event;
use crate::problem::Problem;

/// A mapping, compiled.
#[derive(Debug)]
pub struct Mapping {}

/// What is wrong with a mapping file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingProblem {
    /// Line in the file, counted from 1, where it could be told.
    pub line: Option<usize>,
    /// What it is about: `types."order.placed".data.amount`.
    pub at: String,
    /// What was expected and what was found, with the nearest valid name.
    pub why: String,
}

impl Mapping {
    /// Checks the whole text and compiles it; every problem at once.
    pub fn compile(_text: &str) -> Result<Mapping, Vec<MappingProblem>> {
        todo!("owner: schemas-mapping")
    }

    /// Makes events of one record. `each` over an array may give several; every one is handed to
    /// `emit`. A record is taken whole or not at all: on `Err` nothing of it may be applied, so
    /// events are emitted only once all of them are good.
    pub fn decode<'a>(
        &'a self,
        _record: &'a [u8],
        _emit: &mut dyn FnMut(Event<'a>),
    ) -> Result<Mapped, Problem> {
        todo!("owner: schemas-mapping")
    }
}

/// What became of a good record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// This many events.
    Events(u32),
    /// The mapping says to skip and count its type.
    Skipped,
}
