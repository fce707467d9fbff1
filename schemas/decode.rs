//! CloudEvents 1.0 into typed events: structured, binary, batch.
//!
//! In: bytes of one record. Out: [`Event`] borrowed from them, or the [`Problem`].
//!
//! # Meaning
//! The contract, strictly: `specversion` is `1.0`; `id`, `source`, `type`, `time` and `data` are
//! there; `data` is JSON and has the fields of its type and no others. `tenant` is `default` where
//! it is not said. Where there is a `subject`, it is the entity's id; where there is a
//! `dataschema`, it names version 1 of the type (`…/order.placed.json` or `…/order.placed/1`).
//! Other attributes are CloudEvents extensions: read over, and kept in the log's record. An
//! optional field that is `null` is as good as absent; in `customer.*` it withdraws the value.
//! JSON itself is read as [`crate::json`] says. `tests/decode_plain.rs` compares all this with a
//! plain serde_json decoder, `tests/examples.rs` holds the words in which problems are told.
//!
//! # Invariants
//! Never panics. Allocates only for lines, skills and attributes, and for text with escapes. One
//! pass where `type` comes before `data`; else `data` is passed over once and read when its type
//! is known.
//!
//! Not decided here: how far ahead of its append time an event may be (who knows that time says
//! so), and how many bytes a record may have, which is a setting: see [`within`].

mod binary;
mod data;
mod envelope;
mod fields;
mod identity;
mod messages;
mod records;
mod report;
mod system;

use crate::events::Event;
use crate::json::{Kind, Scanner};
use crate::problem::Problem;
use envelope::Parts;
use report::{All, At, First, Stop, TOO_LARGE, Tell, WRONG_SHAPE, problem};

/// Largest event, in bytes (configurable at the door; CloudEvents' floor).
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// Whether a record is small enough to be looked at.
#[inline]
pub fn within(record: &[u8], max_bytes: usize) -> Result<(), Problem> {
    if record.len() <= max_bytes {
        return Ok(());
    }
    let found = format!("{} bytes", record.len());
    Err(problem(TOO_LARGE, At::Event, format!("an event of at most {max_bytes} bytes"), &found))
}

/// One structured-mode event (`application/cloudevents+json`). Stops at the first problem.
pub fn structured(record: &[u8]) -> Result<Event<'_>, Problem> {
    let mut parts = Parts::default();
    if let Err(stop) = read(record, &mut First, &mut parts) {
        return Err(first_problem(stop, record));
    }
    match parts.event() {
        Some(event) => Ok(event),
        None => Err(first_problem(Stop::Told, record)),
    }
}

#[inline]
fn read<'a>(record: &'a [u8], tell: &mut impl Tell, parts: &mut Parts<'a>) -> Result<(), Stop> {
    let mut scanner = Scanner::new(record)?;
    let read = envelope::read(&mut scanner, tell, parts);
    if !matches!(read, Ok(()) | Err(Stop::Told)) {
        return read;
    }
    scanner.finish()?;
    read?;
    envelope::settle(parts, tell)
}

#[cold]
fn first_problem(stop: Stop, record: &[u8]) -> Problem {
    match stop {
        Stop::Found(problem) => *problem,
        Stop::Fault(fault) => fault.problem(record),
        // The first problem stops decoding by being found; this is the rest of the enum.
        Stop::Told => problem(WRONG_SHAPE, At::Event, "an event of the contract", "another"),
    }
}

/// Every problem of one event (cold path: for the 400 answer). A record that is not JSON to its
/// end is told as that, with what was found before.
pub fn problems(record: &[u8]) -> Vec<Problem> {
    let mut all = All::default();
    if let Err(Stop::Fault(fault)) = read(record, &mut all, &mut Parts::default()) {
        all.0.push(fault.problem(record));
    }
    all.0
}

/// The raw bytes of each event of a batch (`application/cloudevents-batch+json`).
pub fn batch(body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let mut events = Vec::new();
    let mut read = || {
        let mut scanner = Scanner::new(body)?;
        if scanner.peek()? != Kind::Array {
            fields::mistyped(&mut scanner, &mut First, At::Event, "an array of events")?;
        }
        scanner.array(|it| -> Result<(), Stop> {
            events.push(it.skip()?.as_bytes());
            Ok(())
        })?;
        Ok(scanner.finish()?)
    };
    read().map_err(|stop| first_problem(stop, body))?;
    Ok(events)
}

/// Binary mode: attributes (without their `ce-` / `ce_` prefix, names lower-cased, values
/// percent-decoded where the binding says so) and the body, as one structured record. What the
/// log keeps is always structured.
pub fn binary_to_structured(
    attributes: &[(&str, &str)],
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>, Problem> {
    binary::structured(attributes, content_type, body)
}
