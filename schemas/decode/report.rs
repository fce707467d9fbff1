//! How decoding tells what it finds: the first problem and stop, or all of them.
//!
//! # Why this way
//! One decoder serves the hot path and the 400 answer that lists every problem: it is compiled
//! once for each [`Tell`], so the two cannot disagree, and problems are only put into words where
//! they are kept.

use std::fmt;

use crate::json::Fault;
use crate::nearest::nearest;
use crate::problem::{Problem, shortened};

/// Missing, extra or mistyped.
pub(super) const WRONG_SHAPE: &str = "schemas/wrong-shape";
/// Of the right type, beyond a limit.
pub(super) const OUT_OF_RANGE: &str = "schemas/out-of-range";
/// No identifier, or not the one that it must be.
pub(super) const IDENTIFIER: &str = "schemas/identifier";
/// Event time missing or not a time that we take.
pub(super) const TIME: &str = "schemas/time";
/// A type that is not of the contract.
pub(super) const UNKNOWN_TYPE: &str = "schemas/unknown-type";
/// A version of a type that is not of the contract.
pub(super) const UNKNOWN_VERSION: &str = "schemas/unknown-version";
/// More bytes than are taken.
pub(super) const TOO_LARGE: &str = "schemas/too-large";

/// Why decoding does not go on.
pub(super) enum Stop {
    /// The record is not JSON from here on.
    Fault(Fault),
    /// The first problem was enough.
    Found(Box<Problem>),
    /// What is wrong has been told; there is nothing to go on with.
    Told,
}

impl From<Fault> for Stop {
    #[cold]
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// Where problems go.
pub(super) trait Tell {
    /// Whether the first problem ends it.
    const FIRST: bool;
    /// Takes a problem; `Err` if that ends it.
    fn tell(&mut self, problem: Problem) -> Result<(), Stop>;
}

/// The first problem ends it.
pub(super) struct First;

impl Tell for First {
    const FIRST: bool = true;
    #[cold]
    fn tell(&mut self, problem: Problem) -> Result<(), Stop> {
        Err(Stop::Found(Box::new(problem)))
    }
}

/// Every problem is kept.
#[derive(Default)]
pub(super) struct All(pub(super) Vec<Problem>);

impl Tell for All {
    const FIRST: bool = false;
    #[cold]
    fn tell(&mut self, problem: Problem) -> Result<(), Stop> {
        self.0.push(problem);
        Ok(())
    }
}

/// A place in an event, as it is told: a JSON pointer once somebody wants to read it.
#[derive(Clone, Copy)]
pub(super) enum At<'p> {
    /// The event itself.
    Event,
    /// An attribute of CloudEvents.
    Attribute(&'p str),
    /// A field of `data`.
    Data(&'p str),
    /// A line of an order.
    Line(usize),
    /// A field of a line.
    InLine(usize, &'p str),
    /// A customer's attribute.
    Named(&'p str),
    /// One of the texts of a list.
    Element(&'p str, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |it: &str| it.replace('~', "~0").replace('/', "~1");
        match self {
            At::Event => Ok(()),
            At::Attribute(name) => write!(f, "/{}", part(name)),
            At::Data(name) => write!(f, "/data/{}", part(name)),
            At::Line(n) => write!(f, "/data/lines/{n}"),
            At::InLine(n, name) => write!(f, "/data/lines/{n}/{}", part(name)),
            At::Named(name) => write!(f, "/data/attributes/{}", part(name)),
            At::Element(name, n) => write!(f, "/data/{name}/{n}"),
        }
    }
}

/// A problem in the usual words. `found` is text of the record.
#[cold]
pub(super) fn problem(
    code: &'static str,
    at: At<'_>,
    expected: impl Into<String>,
    found: &str,
) -> Problem {
    let found = shortened(found.as_bytes());
    Problem { code, pointer: at.to_string(), expected: expected.into(), found }
}

/// A field that should be there.
#[cold]
pub(super) fn missing(code: &'static str, at: At<'_>, expected: &str) -> Problem {
    let found = "nothing".to_string();
    Problem { code, pointer: at.to_string(), expected: expected.to_string(), found }
}

/// A field that nobody reads.
#[cold]
pub(super) fn extra(at: At<'_>, name: &str, fields: &[&'static str]) -> Problem {
    let expected = match nearest(name, fields) {
        Some(meant) => format!("a field of the contract, such as \"{meant}\""),
        None => format!("one of {}", fields.join(", ")),
    };
    let found = format!("\"{}\"", shortened(name.as_bytes()));
    Problem { code: WRONG_SHAPE, pointer: at.to_string(), expected, found }
}
