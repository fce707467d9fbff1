//! `millstream sinks`: how sinks stand, and what is done about them.
//!
//! # Meaning
//! What is done, a running process does: its sinks are its own. With none running, how they stood
//! at the end is read from the folder.

use serde_json::Value;

use super::Problems;
use super::ask;
use super::chosen::Chosen;
use super::folder;
use super::out::{Out, Reader};
use super::typed::{OfSink, Sinks};
use crate::config::Settings;
use crate::report::Report;
use crate::sinks;

/// Lists, shows, or has something done.
pub fn main(what: &Sinks, chosen: &Chosen) -> Result<(), Problems> {
    let folder = match what {
        Sinks::List { folder } => folder,
        Sinks::Aside(it)
        | Sinks::Resume(it)
        | Sinks::Retry(it)
        | Sinks::Drop(it)
        | Sinks::Anew(it) => &it.folder,
    };
    let settings = chosen.folder(folder)?;
    let done = match what {
        Sinks::List { .. } => list(&settings, folder.json),
        Sinks::Aside(it) => aside(&settings, it),
        Sinks::Resume(it) => act(&settings, it, "resume"),
        Sinks::Retry(it) => act(&settings, it, "retry"),
        Sinks::Drop(it) => act(&settings, it, "drop"),
        Sinks::Anew(it) => act(&settings, it, "anew"),
    };
    done.map_err(|it| vec![it])
}

fn list(settings: &Settings, json: bool) -> Result<(), Report> {
    let found = match ask::running(&settings.data_dir) {
        Some(peer) => peer.get("/v1/admin/sinks")?,
        None => {
            let _looked = folder::look(settings)?;
            sinks::look(&settings.data_dir)?
        }
    };
    print(&found, json, line)
}

fn aside(settings: &Settings, it: &OfSink) -> Result<(), Report> {
    let of = [("sink", Some(it.name.clone()))];
    let found = match ask::running(&settings.data_dir) {
        Some(peer) => peer.get(&format!("/v1/admin/sinks/aside{}", ask::query(&of)))?,
        None => {
            let _looked = folder::look(settings)?;
            sinks::aside_of(&settings.data_dir, &it.name)?
        }
    };
    print(&found, it.folder.json, item)
}

fn act(settings: &Settings, it: &OfSink, what: &str) -> Result<(), Report> {
    let Some(peer) = ask::running(&settings.data_dir) else {
        return Err(not_running(settings, what));
    };
    let of = [("sink", Some(it.name.clone())), ("do", Some(what.into())), ("id", it.id.clone())];
    let done = peer.post(&format!("/v1/admin/sinks/do{}", ask::query(&of)))?;
    let mut out = Out::default();
    if it.folder.json {
        out.line(done.to_string())?;
    } else if let Some(n) = done["dropped"].as_u64() {
        out.line(format!("{n} given up"))?;
    } else {
        out.line(line(&done))?;
    }
    out.end()
}

fn print(found: &Value, json: bool, line: fn(&Value) -> String) -> Result<(), Report> {
    let mut out = Out::default();
    let all = found.as_array().map(Vec::as_slice).unwrap_or_default();
    for it in all {
        let reader = if json { out.line(it.to_string())? } else { out.line(line(it))? };
        if reader == Reader::Gone {
            return Ok(());
        }
    }
    if all.is_empty() && !json {
        out.line("none")?;
    }
    out.end()
}

fn line(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or("").to_string();
    let mark = it["marked_epoch"].as_u64().filter(|it| *it > 0);
    let mark = mark.map_or_else(
        || "never".to_string(),
        |ms| schemas::time::rfc3339((ms * 1_000).cast_signed()),
    );
    let waits = match (it["waiting_rows"].as_u64(), it["waiting_rows_unknown"].as_bool()) {
        (Some(_), Some(true)) => "rows wait".to_string(),
        (Some(n), _) => format!("{n} rows wait"),
        _ => "not running".to_string(),
    };
    let why = match it["code"].as_str() {
        Some(code) => format!("  {code}: {}", text("why")),
        None => String::new(),
    };
    let missed = it["missed"].as_array().and_then(|it| it.last()).map_or(String::new(), missed);
    format!(
        "{:<16} {:<13} up to {mark}  delivered {}  in flight {}  {waits}  aside {}  outbox {} B{why}{missed}",
        text("name"),
        text("state"),
        it["delivered_items"],
        it["in_flight_batches"],
        it["aside"],
        it["outbox_bytes"],
    )
}

/// What it was not told of, being away from the settings.
fn missed(it: &Value) -> String {
    let streams = it["streams"].as_array().map_or(0, Vec::len);
    let from = it["from"].as_u64().map_or("?".into(), |it| it.to_string());
    format!("  missed {streams} streams of epochs above {from} up to {}", it["upto"])
}

fn item(it: &Value) -> String {
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or("").to_string();
    let (row, report) = (&it["row"], &it["report"]);
    let key = match row.is_object() {
        true => format!("{} {} @{}", text(row, "tenant"), text(row, "key"), row["epoch"]),
        false => String::new(),
    };
    format!(
        "{}  {}  {key}  {}: {}",
        text(it, "id"),
        text(it, "stream"),
        text(report, "code"),
        text(report, "why")
    )
}

fn not_running(settings: &Settings, what: &str) -> Report {
    Report {
        code: "commands/not-running",
        what: "cannot have that done about a sink".into(),
        at: vec![("folder", settings.data_dir.display().to_string()), ("action", what.into())],
        why: "expected a process that runs on the data folder, found none".into(),
        effect: "nothing was changed".into(),
        fix: "start it (`millstream run`), then say it again".into(),
    }
}
