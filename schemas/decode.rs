//! CloudEvents 1.0 into typed events: structured, binary, batch.
//!
//! In: bytes of one record. Out: [`Event`] borrowed from them, or the [`Problem`].

use crate::events::Event;
use crate::problem::Problem;

/// Largest event, in bytes (configurable at the door; CloudEvents' floor).
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// One structured-mode event (`application/cloudevents+json`). Stops at the first problem.
pub fn structured(_record: &[u8]) -> Result<Event<'_>, Problem> {
    todo!("owner: schemas-decode")
}

/// Every problem of one event (cold path: for the 400 answer).
pub fn problems(_record: &[u8]) -> Vec<Problem> {
    todo!("owner: schemas-decode")
}

/// The raw bytes of each event of a batch (`application/cloudevents-batch+json`).
pub fn batch(_body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    todo!("owner: schemas-decode")
}

/// Binary mode: attributes (without their `ce-` / `ce_` prefix, names lower-cased, values
/// percent-decoded where the binding says so) and the body, as one structured record. What the
/// log keeps is always structured.
pub fn binary_to_structured(
    _attributes: &[(&str, &str)],
    _content_type: Option<&str>,
    _body: &[u8],
) -> Result<Vec<u8>, Problem> {
    todo!("owner: schemas-decode")
}
