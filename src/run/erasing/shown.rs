//! The certificate as it is shown: by the command line and by HTTP.

use std::path::Path;

use serde_json::{Value, json};

use super::there::{self, AtSink};
use super::{Certificate, Done};
use crate::config::SinkSettings;
use crate::config::sinks::To;
use crate::report::Report;

/// One customer's.
pub struct Shown {
    /// What was done here.
    pub here: Certificate,
    /// What each sink's receiver has removed; none: not yet.
    pub there: Vec<(String, Option<AtSink>)>,
}

/// When something was done; none: not yet.
pub fn at(ms: Option<u64>) -> Option<String> {
    ms.map(|ms| schemas::time::rfc3339(ms.saturating_mul(1_000).cast_signed()))
}

/// What the files of a data folder say: of all customers, or of those with this id.
pub fn shown(
    dir: &Path,
    sinks: &[SinkSettings],
    customer: Option<&str>,
) -> Result<Vec<Shown>, Report> {
    let there = there::read(dir)?;
    let can = sinks.iter().filter(|it| matches!(it.to, To::ClickHouse(_)));
    let can: Vec<&str> = can.map(|it| &*it.name).collect();
    let wanted = |it: &Certificate| customer.is_none_or(|id| id == it.customer);
    let all = Done::read(dir)?.customers.into_iter().filter(wanted);
    let with = |here: Certificate| {
        let is_theirs = |it: &&AtSink| (&it.tenant, &it.customer) == (&here.tenant, &here.customer);
        let done: Vec<&AtSink> = there.iter().filter(is_theirs).collect();
        let missing = can.iter().filter(|name| done.iter().all(|it| it.sink != **name));
        let missing = missing.map(|it| (it.to_string(), None));
        let done_there = done.iter().map(|it| (it.sink.clone(), Some((*it).clone())));
        Shown { there: done_there.chain(missing).collect(), here }
    };
    Ok(all.map(with).collect())
}

impl Shown {
    /// For programs.
    pub fn json(&self) -> Value {
        let it = &self.here;
        let sinks: Vec<Value> = (self.there.iter())
            .map(|(name, it)| {
                json!({
                    "name": name,
                    "rows": it.as_ref().map_or(0, |it| it.rows),
                    "events": it.as_ref().map_or(0, |it| it.events),
                    "at": at(it.as_ref().map(|it| it.at_ms)),
                })
            })
            .collect();
        json!({
            "tenant": it.tenant,
            "customer": it.customer,
            "erased_at": it.erased_at,
            "source": it.source,
            "id": it.id,
            "log": { "records": it.log_records, "upto": it.log_upto, "at": at(it.log_at_ms) },
            "rejects": { "at": at(it.rejects_at_ms) },
            "state": { "at": at(it.state_at_ms) },
            "outbox": { "at": at(it.outbox_at_ms) },
            "sinks": sinks,
        })
    }
}
