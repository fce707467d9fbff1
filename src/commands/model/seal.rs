//! A model of what a running process knows now, on demand.
//!
//! # Meaning
//! The process seals and publishes by itself ([`crate::run`]); this asks it to do so now. Without a
//! process there are no rows to learn from.

use serde_json::Value;

use crate::commands::chosen::Chosen;
use crate::commands::out::Out;
use crate::commands::typed::model::{Seal, Sealed};
use crate::commands::{Problems, ask};
use crate::config::Settings;
use crate::report::Report;

/// Has it sealed, and says what was.
pub(super) fn main(it: &Seal, chosen: &Chosen) -> Result<(), Problems> {
    let flags = [("--data-dir", "data_dir", it.data_dir.clone())];
    let settings = chosen.settings(&flags, &[])?;
    let seal = || -> Result<(), Report> {
        let peer = ask::running(&settings.data_dir).ok_or_else(|| not_running(&settings))?;
        let told = match it.what {
            Sealed::Arrivals => peer.post_slowly("/v1/admin/models/seal")?,
        };
        let mut out = Out::default();
        out.line(if it.json { told.to_string() } else { line(&told) })?;
        out.end()
    };
    seal().map_err(|it| vec![it])
}

/// One in a line.
pub(super) fn line(told: &Value) -> String {
    let text = |key: &str| told[key].as_str().unwrap_or("").to_string();
    format!(
        "{}  {}  sealed {}  in use since {}  of {} arrivals before {}",
        text("model"),
        text("digest"),
        text("sealed_at"),
        text("in_use_since"),
        told["n_arrived"],
        text("boundary")
    )
}

fn not_running(settings: &Settings) -> Report {
    Report {
        code: "commands/not-running",
        what: "cannot seal a model".into(),
        at: vec![("folder", settings.data_dir.display().to_string())],
        why: "expected a process that runs on the data folder, found none".into(),
        effect: "nothing was changed".into(),
        fix: "start it (`millstream run`), then say it again".into(),
    }
}
