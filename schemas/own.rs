//! What only Millstream itself may say: sources that begin with [`SOURCES`], and [`TYPES`].
//!
//! # Meaning
//! What the desk decided and what rules planned are events like any other, so that the views are a
//! function of them alone. Somebody else who could say them could hand out cases, or have messages
//! sent to every channel there is. So whoever takes an event from outside asks [`from_outside`]
//! (docs/decisions/own-facts-are-ours.md).

use crate::events::{Event, EventType};
use crate::problem::Problem;

/// What our own sources begin with.
pub const SOURCES: &str = "urn:millstream:";

/// Types that say what we decided or did: nobody else has anything to say of it.
pub const TYPES: &[EventType] = &[
    EventType::MessagePlanned,
    EventType::MessageAnswered,
    EventType::MessageMarked,
    EventType::SystemMeasured,
];

/// Whether somebody else may say this.
#[inline]
pub fn from_outside(event: &Event<'_>) -> Result<(), Problem> {
    said_by_others(&event.source, Some(event.data.event_type()))
}

/// The same of what an event says of itself, where the event as a whole may not be understood.
#[inline]
pub fn said_by_others(source: &str, kind: Option<EventType>) -> Result<(), Problem> {
    if source.starts_with(SOURCES) {
        return Err(of_source(source));
    }
    match kind.filter(|it| TYPES.contains(it)) {
        Some(kind) => Err(of_type(kind)),
        None => Ok(()),
    }
}

#[cold]
fn of_source(found: &str) -> Problem {
    Problem::reserved(
        "/source",
        format!("a source of your own: those that begin with {SOURCES:?} are Millstream's"),
        format!("{found:?}"),
    )
}

#[cold]
fn of_type(found: EventType) -> Problem {
    let own: Vec<&str> = TYPES.iter().map(|it| it.as_str()).collect();
    Problem::reserved(
        "/type",
        format!("a type that others may send: {} are Millstream's own", own.join(", ")),
        format!("{:?}", found.as_str()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use crate::events::{CAPACITY, DESK, NOTIFY};

    /// Goal: nobody speaks in our name, by source or by type; everybody else may speak.
    #[test]
    fn who_may_say_what() {
        let check = |source: &str, kind: &str, data: &str, expected: Option<&str>| {
            let event = format!(
                r#"{{"specversion":"1.0","id":"1","source":"{source}","type":"{kind}","time":"2026-03-01T09:30:00Z","data":{data}}}"#
            );
            let event = decode::structured(event.as_bytes()).unwrap();
            let found = from_outside(&event).err();
            assert_eq!(found.as_ref().map(|it| it.pointer.as_str()), expected, "{source} {kind}");
            assert!(found.is_none_or(|it| it.code == "schemas/reserved"));
        };
        let assigned = r#"{"case":"K-1","agent":"zoe"}"#;
        let answered = r#"{"message":"msg_1","outcome":"delivered"}"#;
        check("//crm", "case.assigned", assigned, None);
        check(DESK, "case.assigned", assigned, Some("/source"));
        check("urn:millstream:not-there-yet", "case.assigned", assigned, Some("/source"));
        check("//crm", "message.answered", answered, Some("/type"));
        let measured = r#"{"process":"main","seconds":3600,"n_events":1,"busy_micros":1,"workers":1,"processors":1}"#;
        check("//crm", "system.measured", measured, Some("/type"));
        check(NOTIFY, "message.answered", answered, Some("/source"));
        check("urn:millstreams", "case.assigned", assigned, None);
    }

    /// Goal: what we say ourselves is said under a source that is kept for us.
    #[test]
    fn our_sources_are_reserved() {
        assert!([CAPACITY, DESK, NOTIFY].iter().all(|it| it.starts_with(SOURCES)));
    }
}
