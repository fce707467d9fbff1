//! What a process of ours says of itself.

use super::data::{AN_IDENTIFIER, not_ours};
use super::fields::{identifier, integer, required};
use super::report::{At, Stop, Tell};
use crate::events::SystemMeasured;
use crate::json::Scanner;
use crate::limits::{MEASURED, SOME, WORKERS};

/// `system.measured`
pub(super) fn measured<'a>(
    s: &mut Scanner<'a>,
    tell: &mut impl Tell,
) -> Result<SystemMeasured<'a>, Stop> {
    const FIELDS: &[&str] =
        &["process", "seconds", "n_events", "busy_micros", "workers", "processors"];
    let (mut process, mut seconds, mut n_events) = (None, None, None);
    let (mut busy, mut workers, mut processors) = (None, None, None);
    s.object(|key, s| -> Result<(), Stop> {
        let at = At::Data(&key);
        match &*key {
            "process" => process = Some(identifier(s, tell, at)?),
            "seconds" => seconds = Some(integer(s, tell, at, &MEASURED)?),
            "n_events" => n_events = Some(integer(s, tell, at, &SOME)?),
            "busy_micros" => busy = Some(integer(s, tell, at, &SOME)?),
            "workers" => workers = Some(integer(s, tell, at, &WORKERS)?),
            "processors" => processors = Some(integer(s, tell, at, &WORKERS)?),
            _ => not_ours(s, tell, at, &key, FIELDS)?,
        }
        Ok(())
    })?;
    let mut whole = |it: Option<i64>, name| required(it, tell, At::Data(name), "an integer");
    let (seconds, n_events) = (whole(seconds, "seconds")?, whole(n_events, "n_events")?);
    let (busy_micros, workers) = (whole(busy, "busy_micros")?, whole(workers, "workers")?);
    let processors = whole(processors, "processors")?;
    Ok(SystemMeasured {
        process: required(process, tell, At::Data("process"), AN_IDENTIFIER)?,
        seconds,
        n_events,
        busy_micros,
        workers: u16::try_from(workers).unwrap_or(u16::MAX),
        processors: u16::try_from(processors).unwrap_or(u16::MAX),
    })
}
