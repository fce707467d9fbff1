//! `millstream rejects`: the records that could not be taken: look at them, try them again.
//!
//! # Meaning
//! A retry appends the bytes with their origin to the embedded log, so that each is applied once and
//! state stays a function of the log; from then on it is a record of the log's, counted there. With no process running the append is
//! made here, and the next start reads it.

use std::collections::BTreeSet;

use schemas::problem::CODES;
use serde_json::{Value, json};

use super::Problems;
use super::ask;
use super::chosen::{Chosen, wrong_flag};
use super::folder;
use super::out::{Out, Reader};
use super::typed::{Rejects, Which};
use crate::config::Settings;
use crate::ingest::local_log;
use crate::rejects::{Count, Filter, Kept, Reject, Select};
use crate::report::Report;

/// Lists, shows, counts or retries.
pub fn main(what: &Rejects, chosen: &Chosen) -> Result<(), Problems> {
    let (Rejects::List { which: Which { folder, .. }, .. }
    | Rejects::Show { which: Which { folder, .. }, .. }
    | Rejects::Retry { which: Which { folder, .. } }
    | Rejects::Counts { folder }) = what;
    let settings = chosen.folder(folder)?;
    let done = match what {
        Rejects::Counts { folder } => counts(&settings).and_then(|it| print(&it, folder.json)),
        Rejects::List { which, limit } => look(&settings, which, *limit, line),
        Rejects::Show { which, limit } => look(&settings, which, *limit, whole),
        Rejects::Retry { which } => retry(&settings, which),
    };
    done.map_err(|it| vec![it])
}

fn look(
    settings: &Settings,
    which: &Which,
    limit: usize,
    tell: fn(&Value) -> String,
) -> Result<(), Report> {
    let rejects: Vec<Value> = match ask::running(&settings.data_dir) {
        Some(peer) => {
            let mut pairs = query(which).to_vec();
            pairs.push(("limit", Some(limit.to_string())));
            let answer = peer.get(&format!("/v1/admin/rejects{}", ask::query(&pairs)))?;
            answer.as_array().cloned().unwrap_or_default()
        }
        None => {
            let kept = folder::look(settings)?.rejects()?;
            expect_known(which, settings, &kept.counts())?;
            let found = find(&kept, which.reason.clone(), which.feed.clone(), which.id, limit)?;
            found.iter().map(Reject::told).collect()
        }
    };
    if rejects.is_empty()
        && let Some(id) = which.id
    {
        return Err(no_such_reject(id, "it was never kept, or was pushed out by newer ones"));
    }
    let mut out = Out::default();
    for it in &rejects {
        let reader =
            if which.folder.json { out.line(it.to_string())? } else { out.line(tell(it))? };
        if reader == Reader::Gone {
            return Ok(());
        }
    }
    if rejects.is_empty() && !which.folder.json {
        out.line("none")?;
    }
    out.end()?;
    tell_of_the_counted(&counts(settings)?);
    Ok(())
}

/// How many there are and were, by feed and reason.
fn counts(settings: &Settings) -> Result<Vec<Value>, Report> {
    let counts = match ask::running(&settings.data_dir) {
        Some(peer) => peer.get("/v1/admin/rejects/counts")?,
        None => json!(folder::look(settings)?.rejects()?.counts()),
    };
    Ok(counts.as_array().cloned().unwrap_or_default())
}

fn print(counts: &[Value], json: bool) -> Result<(), Report> {
    let mut out = Out::default();
    if json {
        for it in counts {
            out.line(it.to_string())?;
        }
        return out.end();
    }
    if counts.is_empty() {
        out.line("none")?;
        return out.end();
    }
    let columns = ["kept", "retried", "summarised", "not_kept", "repeated"];
    let head = columns.map(|it| format!("{:>11}", it.replace('_', " ")));
    out.line(format!("{}  feed, reason", head.concat()))?;
    for it in counts {
        let numbers = columns.map(|column| format!("{:>11}", it[column].as_u64().unwrap_or(0)));
        let text = |key: &str| it[key].as_str().unwrap_or("").to_string();
        out.line(format!("{}  {}  {}", numbers.concat(), text("feed"), text("code")))?;
    }
    out.end()
}

/// Beside a list: that there were more than are kept. To standard error, for it is no reject.
fn tell_of_the_counted(counts: &[Value]) {
    let number = |it: &Value, key: &str| it[key].as_u64().unwrap_or(0);
    let gone: u64 = counts.iter().map(|it| number(it, "summarised") + number(it, "not_kept")).sum();
    if gone > 0 {
        eprintln!(
            "{gone} more are only counted: newer ones pushed them out, or they came faster than \
             they could be kept; `millstream rejects counts` has them by feed and reason"
        );
    }
}

/// Refuses a reason or a feed that there is nothing of: "none" would look like an answer.
fn expect_known(which: &Which, settings: &Settings, counts: &[Count]) -> Result<(), Report> {
    let mut reasons: BTreeSet<&str> = CODES.iter().copied().collect();
    reasons.extend(counts.iter().map(|it| it.code.as_str()));
    let mut feeds: BTreeSet<&str> = settings.feeds.iter().map(|it| it.name.as_str()).collect();
    feeds.extend(counts.iter().map(|it| it.feed.as_str()));
    feeds.insert(local_log::FEED);
    // Which topics a pattern found, only the process knew.
    let of_kafka = |name: &str| {
        let cluster = name.split_once('/').map(|it| it.0);
        settings.kafka.iter().any(|it| Some(it.name.as_str()) == cluster)
    };
    for (flag, name, known) in
        [("--reason", &which.reason, reasons), ("--feed", &which.feed, feeds)]
    {
        let Some(name) = name else { continue };
        if !known.contains(name.as_str()) && !of_kafka(name) {
            let known: Vec<&str> = known.into_iter().collect();
            let expected = match known.is_empty() {
                true => "nothing: no feed is read, and nothing is kept".to_string(),
                false => format!("one of {}", known.join(", ")),
            };
            return Err(wrong_flag(flag, &expected, &format!("{name:?}")).remove(0));
        }
    }
    Ok(())
}

/// The rejects that fit, newest first.
pub fn find(
    kept: &Kept,
    reason: Option<String>,
    feed: Option<String>,
    id: Option<u64>,
    limit: usize,
) -> Result<Vec<Reject>, Report> {
    if let Some(id) = id {
        return Ok(kept.get(id)?.into_iter().collect());
    }
    let filter = Filter { feed, code: reason, retried: None };
    Ok(kept.list(&filter, limit, None)?.rejects)
}

/// What a retry is to take.
pub fn select(reason: Option<String>, feed: Option<String>, id: Option<u64>) -> Select {
    match id {
        Some(id) => Select::Ids(vec![id]),
        None => Select::Filter(Filter { feed, code: reason, retried: None }),
    }
}

fn retry(settings: &Settings, which: &Which) -> Result<(), Report> {
    let done = match ask::running(&settings.data_dir) {
        Some(peer) => {
            peer.post(&format!("/v1/admin/rejects/retry{}", ask::query(&query(which))))?
        }
        None => {
            let taken = folder::take(settings)?;
            let (log, store) = (taken.log()?, taken.rejects()?);
            expect_known(which, settings, &store.counts())?;
            let select = select(which.reason.clone(), which.feed.clone(), which.id);
            json!(store.retry(&select, &log)?)
        }
    };
    if let (Some(id), Some(0)) = (which.id, done["n_retried"].as_u64()) {
        // Asked for by its number, and not done: that is a problem, not an answer.
        return Err(no_such_reject(id, done["skipped"][0]["why"].as_str().unwrap_or("")));
    }
    let mut out = Out::default();
    if which.folder.json {
        out.line(done.to_string())?;
        return out.end();
    }
    out.line(format!("{} appended to the log again", done["n_retried"]))?;
    if let Some(position) = done["position"].as_u64() {
        out.line(format!("read once the views have reached position {position}"))?;
    }
    for it in done["skipped"].as_array().into_iter().flatten() {
        out.line(format!("  {} not: {}", it["id"], it["why"].as_str().unwrap_or("")))?;
    }
    out.end()
}

fn no_such_reject(id: u64, why: &str) -> Report {
    Report {
        code: "commands/no-such-reject",
        what: "cannot find this reject, or it is not one to be retried".into(),
        at: vec![("reject", id.to_string())],
        why: why.into(),
        effect: "nothing was changed".into(),
        fix: "`millstream rejects list` has those that are kept".into(),
    }
}

fn query(which: &Which) -> [(&'static str, Option<String>); 3] {
    let id = which.id.map(|it| it.to_string());
    [("reason", which.reason.clone()), ("feed", which.feed.clone()), ("id", id)]
}

fn place(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or("").to_string();
    let again = if it["retried_as"].is_null() { "" } else { "  (retried)" };
    let at = |it: &Value| {
        let feed = it["feed"].as_str().unwrap_or("");
        format!("{feed} {}/{}", it["partition"], it["offset"])
    };
    let origin = &it["origin"];
    let first = if origin.is_null() { String::new() } else { format!(" (first {})", at(origin)) };
    format!(
        "{:>8}  {}  {}{first}  {}{again}",
        it["id"],
        text("rejected_at"),
        at(it),
        text("reason"),
    )
}

/// A reject in one line.
pub fn line(it: &Value) -> String {
    let text = |key: &str| it[key].as_str().unwrap_or("").to_string();
    let pointer = text("pointer");
    let field = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
    format!("{}  {field}expected {}, found {}", place(it), text("expected"), text("found"))
}

fn whole(it: &Value) -> String {
    let bytes = it["text"].as_str().or(it["base64"].as_str()).unwrap_or("");
    format!("{}\n{bytes}\n", line(it))
}
