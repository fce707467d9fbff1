//! `millstream erasure`: what was done about customers who were erased.
//!
//! # Meaning
//! What is shown is the file that is replaced whole as the work goes on, of a running process or of
//! a folder that nobody has open.

use super::Problems;
use super::chosen::Chosen;
use super::out::{Out, Reader};
use super::typed::erasure::Erasure;
use crate::config::Settings;
use crate::report::Report;
use crate::run::erasing::shown::{Shown, at, shown};

/// Shows certificates.
pub fn main(what: &Erasure, chosen: &Chosen) -> Result<(), Problems> {
    let Erasure::Show { customer, folder } = what;
    let settings = chosen.folder(folder)?;
    show(&settings, customer.as_deref(), folder.json).map_err(|it| vec![it])
}

fn show(settings: &Settings, customer: Option<&str>, json: bool) -> Result<(), Report> {
    let mut out = Out::default();
    for it in shown(&settings.data_dir, &settings.sinks, customer)? {
        let line = if json { it.json().to_string() } else { words(&it) };
        if out.line(line)? == Reader::Gone {
            return Ok(());
        }
    }
    out.end()
}

fn words(Shown { here: it, there }: &Shown) -> String {
    let when = |ms: Option<u64>| at(ms).unwrap_or_else(|| "not yet".into());
    let mut text = format!(
        "{} of {}: erased {} by {} {}\n  log      {} records blanked, gone through below position {}, {}\n  \
         rejects  gone through, {}\n  state    older states left the disk, {}\n  \
         outbox   what waited for sinks left the disk, {}",
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
        when(it.outbox_at_ms),
    );
    for (name, it) in there {
        let rows = it.as_ref().map_or(0, |it| it.rows);
        let at = when(it.as_ref().map(|it| it.at_ms));
        text.push_str(&format!("\n  sink {name}: {rows} rows removed, {at}"));
    }
    text
}
