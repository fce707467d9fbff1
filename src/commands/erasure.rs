//! `millstream erasure`: what was done about customers who were erased.
//!
//! # Meaning
//! What is shown is the file that is replaced whole as the work goes on, of a running process or of
//! a folder that nobody has open.

use serde_json::{Value, json};

use super::Problems;
use super::chosen::Chosen;
use super::out::{Out, Reader};
use super::typed::erasure::Erasure;
use crate::config::Settings;
use crate::report::Report;
use crate::run::erasing::{Certificate, Done};

/// Shows certificates.
pub fn main(what: &Erasure, chosen: &Chosen) -> Result<(), Problems> {
    let Erasure::Show { customer, folder } = what;
    let settings = chosen.folder(folder)?;
    show(&settings, customer.as_deref(), folder.json).map_err(|it| vec![it])
}

fn show(settings: &Settings, customer: Option<&str>, json: bool) -> Result<(), Report> {
    let done = Done::read(&settings.data_dir)?;
    let mut out = Out::default();
    for it in done.customers.iter().filter(|it| customer.is_none_or(|id| id == it.customer)) {
        let line = if json { told(it).to_string() } else { words(it) };
        if out.line(line)? == Reader::Gone {
            return Ok(());
        }
    }
    out.end()
}

/// When something was done; null: not yet.
fn at(ms: Option<u64>) -> Value {
    let time = |ms: u64| schemas::time::rfc3339(ms.saturating_mul(1_000).cast_signed());
    ms.map_or(Value::Null, |it| time(it).into())
}

fn told(it: &Certificate) -> Value {
    json!({
        "tenant": it.tenant,
        "customer": it.customer,
        "erased_at": it.erased_at,
        "source": it.source,
        "id": it.id,
        "log": { "records": it.log_records, "upto": it.log_upto, "at": at(it.log_at_ms) },
        "rejects": { "at": at(it.rejects_at_ms) },
        "state": { "at": at(it.state_at_ms) },
    })
}

fn words(it: &Certificate) -> String {
    let when = |ms: Option<u64>| match at(ms) {
        Value::String(it) => it,
        _ => "not yet".to_string(),
    };
    format!(
        "{} of {}: erased {} by {} {}\n  log      {} records blanked, gone through below position {}, {}\n  \
         rejects  gone through, {}\n  state    older states left the disk, {}",
        it.customer,
        it.tenant,
        it.erased_at,
        it.source,
        it.id,
        it.log_records,
        it.log_upto,
        when(it.log_at_ms),
        when(it.rejects_at_ms),
        when(it.state_at_ms),
    )
}
