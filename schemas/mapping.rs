//! Mappings: foreign JSON into events, without changing its producers.
//!
//! In: a TOML text, checked whole, compiled once; then the bytes of foreign records. Out: events.
//!
//! ```text
//!  text --compile--> pointers wanted --> Tree --+
//!                    rules ------------> Program|--- record --one pass--> slots --rule--> events
//! ```
//!
//! # Meaning
//! `docs/mappings.md` says what each key means; `tests/mapping_oracle.rs` has the same meaning as
//! a plain program over parsed JSON and holds the two together on random records.
//!
//! # Invariants
//! A record is read once, checked as strictly as a native event, also where the mapping wants
//! nothing of it. It is taken whole or not at all. Nothing is guessed: a time without a stated
//! format, money without a stated unit, is no mapping.
//!
//! # Why this way
//! Deserialising into a map and walking it costs several times the reading itself. Here the
//! pointers are known beforehand: each wanted key leads to a slot by one multiplication, and a
//! rule fills the event from the slots.

mod build; // events from slots
mod compile; // text to program: the file, its rules
mod debezium; // a built-in shape: change streams of databases
mod digits; // decimals, by their digits
mod fields; // text to program: one field
mod lookup; // a name to its number
mod notes; // reading the text, noting everything that is wrong
mod program; // what compiling makes
mod shape; // the fields of each event type
mod slots; // a record to slots, in one pass
mod times; // times as they are written elsewhere
mod values; // slots to checked values

use crate::events::Event;
use crate::problem::Problem;

use debezium::Debezium;
use program::{Others, Program, Rule};
use slots::{Slot, with_slots};
use values::{Fault, Frames};

/// A mapping, compiled.
#[derive(Debug)]
pub struct Mapping {
    reads: Reads,
    whole: bool,
}

/// The two kinds of mapping.
#[derive(Debug)]
enum Reads {
    /// Rules that the text states.
    Rules(Program),
    /// `shape = "debezium"`.
    Debezium(Box<Debezium>),
}

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

impl std::fmt::Display for MappingProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at)?;
        }
        f.write_str(&self.why)
    }
}

impl Mapping {
    /// Checks the whole text and compiles it; every problem at once, in the order of the text.
    pub fn compile(text: &str) -> Result<Mapping, Vec<MappingProblem>> {
        compile::compile(text).map(|(reads, whole)| Mapping { reads, whole })
    }

    /// Its pointers speak of a record of Kafka with key and headers (`record = "whole"`), not of
    /// the record's value alone.
    pub fn takes_whole_records(&self) -> bool {
        self.whole
    }

    /// Makes events of one record. `each` over an array may give several; every one is handed to
    /// `emit`. A record is taken whole or not at all: on `Err` nothing of it may be applied, so
    /// events are emitted only once all of them are good.
    #[inline]
    pub fn decode<'a>(
        &'a self,
        record: &'a [u8],
        emit: impl FnMut(Event<'a>),
    ) -> Result<Mapped, Problem> {
        let program = match &self.reads {
            Reads::Rules(program) => program,
            Reads::Debezium(shape) => return shape.decode(record, emit).map_err(|it| *it),
        };
        let told = |fault: crate::json::Fault| fault.problem(record);
        with_slots(program.record.pointers.len(), |slots| {
            program.record.fill_record(record, slots).map_err(told)?;
            let frames = Frames::of_record(slots, &program.record);
            match program.rule(&frames) {
                Ok(Some(Rule { becomes: Some(becomes), .. })) => {
                    becomes.events(&frames, emit).map(Mapped::Events).map_err(|it| *it)
                }
                Ok(_) => Ok(Mapped::Skipped),
                Err(fault) => Err(*fault),
            }
        })
    }
}

impl Program {
    /// The rule for a record; `None`: the mapping says to skip what it has no rule for.
    #[inline]
    fn rule<'a>(&'a self, frames: &Frames<'_, 'a>) -> Result<Option<&'a Rule>, Fault> {
        let place = match &self.discriminator[..] {
            [] => Some(0),
            found => {
                let kind = found.iter().map(|it| frames.slot(*it)).find(|it| it.is_present());
                kind.and_then(Slot::scalar).and_then(|it| self.types.find(&it))
            }
        };
        let mut rules = place.map_or(&[][..], |it| &self.rules[it]).iter();
        let holds = |it: &&Rule| it.when.as_ref().is_none_or(|when| when.holds(frames));
        match (rules.find(holds), self.others) {
            (Some(rule), _) => Ok(Some(rule)),
            (None, Others::Skip) => Ok(None),
            (None, Others::Reject) => Err(self.without_rule(frames, place)),
        }
    }

    #[cold]
    fn without_rule(&self, frames: &Frames<'_, '_>, place: Option<usize>) -> Fault {
        let first = self.discriminator.iter().find(|it| frames.slot(**it).is_present());
        let at = first.or(self.discriminator.first());
        let expected = match place {
            Some(_) => "a record that meets the `when` of one of its type's rules",
            None => "a type that the mapping names",
        };
        Box::new(Problem {
            code: "schemas/unmapped-type",
            pointer: at.map_or_else(String::new, |it| frames.pointer(*it)),
            expected: expected.into(),
            found: at.map_or_else(|| "another".into(), |it| frames.slot(*it).told()),
        })
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
