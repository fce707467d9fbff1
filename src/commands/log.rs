//! `millstream log`: looking into the embedded log, of the running process or of a folder that
//! nobody has open.

use serde_json::{Value, json};

use super::Problems;
use super::ask;
use super::chosen::Chosen;
use super::folder;
use super::out::{Out, Reader};
use super::typed::Log;
use crate::config::Settings;
use crate::ingest::local_log::Shown;
use crate::report::Report;

/// Shows records or figures.
pub fn main(what: &Log, chosen: &Chosen) -> Result<(), Problems> {
    let (Log::Show { folder, .. } | Log::Stats { folder }) = what;
    let settings = chosen.folder(folder)?;
    let done = match what {
        Log::Show { from, limit, folder } => show(&settings, *from, *limit, folder.json),
        Log::Stats { folder } => stats(&settings, folder.json),
    };
    done.map_err(|it| vec![it])
}

fn stats(settings: &Settings, json: bool) -> Result<(), Report> {
    let stats = match ask::running(&settings.data_dir) {
        Some(peer) => peer.get("/v1/admin/log")?,
        None => {
            let log = folder::look(settings)?.log()?;
            json!(log.stats())
        }
    };
    let mut out = Out::default();
    if json {
        out.line(stats.to_string())?;
    } else if let Value::Object(fields) = &stats {
        for (name, value) in fields {
            let words = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            let time = value.as_i64().filter(|_| name.ends_with("_ms"));
            let time = time.map(|it| format!("  ({})", schemas::time::rfc3339(it * 1_000)));
            out.line(format!("{name:<14} {words}{}", time.unwrap_or_default()))?;
        }
    }
    out.end()
}

fn show(settings: &Settings, from: Option<u64>, limit: usize, json: bool) -> Result<(), Report> {
    let records: Vec<Value> = match ask::running(&settings.data_dir) {
        Some(peer) => {
            let pairs =
                [("from", from.map(|it| it.to_string())), ("limit", Some(limit.to_string()))];
            let answer = peer.get(&format!("/v1/admin/log/records{}", ask::query(&pairs)))?;
            answer.as_array().cloned().unwrap_or_default()
        }
        None => {
            let log = folder::look(settings)?.log()?;
            let from = from.unwrap_or_else(|| log.first());
            log.show(from, limit)?.iter().map(record).collect()
        }
    };
    let mut out = Out::default();
    for it in &records {
        let reader = if json { out.line(it.to_string())? } else { out.line(line(it))? };
        if reader == Reader::Gone {
            return Ok(());
        }
    }
    out.end()
}

/// A record as JSON: with its text, or its bytes in base64.
pub fn record(it: &Shown) -> Value {
    use base64::Engine;
    let mut value = json!(it);
    match std::str::from_utf8(&it.bytes) {
        Ok(text) => value["text"] = text.into(),
        Err(_) => {
            value["base64"] = base64::engine::general_purpose::STANDARD.encode(&it.bytes).into();
        }
    }
    value
}

fn line(it: &Value) -> String {
    let time = it["appended_ms"].as_i64().unwrap_or(0) * 1_000;
    let text = it["text"].as_str().or(it["base64"].as_str()).unwrap_or("");
    let kind = it["kind"].as_str().unwrap_or("");
    let origin = match &it["origin"] {
        Value::Null => String::new(),
        origin => format!(" from {origin}"),
    };
    format!("{:>10}  {}  {kind}{origin}  {text}", it["position"], schemas::time::rfc3339(time))
}
