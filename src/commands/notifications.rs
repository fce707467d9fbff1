//! `millstream notifications`: which messages there are, and what is done about them.
//!
//! # Meaning
//! A running process is asked: messages are rows of its views, and what is done about them is
//! written into its log.

use serde_json::Value;

use super::Problems;
use super::ask::{self, Peer};
use super::chosen::{Chosen, wrong_flag};
use super::out::{Out, Reader};
use super::typed::rules::{Listed, Notifications, Which};
use crate::config::Settings;
use crate::report::Report;

/// Lists, or has something done.
pub fn main(what: &Notifications, chosen: &Chosen) -> Result<(), Problems> {
    let folder = match what {
        Notifications::List(it) => &it.which.folder,
        Notifications::Retry(it) | Notifications::Cancel(it) => &it.folder,
    };
    let settings = chosen.folder(folder)?;
    let word = match what {
        Notifications::List(_) => "list",
        Notifications::Retry(_) => "retry",
        Notifications::Cancel(_) => "cancel",
    };
    let one = |it: Report| vec![it];
    let peer = ask::running(&settings.data_dir).ok_or_else(|| one(not_running(&settings, word)))?;
    match what {
        Notifications::List(it) => list(&peer, it).map_err(one),
        Notifications::Retry(it) | Notifications::Cancel(it) => {
            if it.message.is_none() && it.rule.is_none() && it.channel.is_none() && !it.all {
                let expected = "a message, --rule, --channel, or --all";
                return Err(wrong_flag("--all", expected, "none of them"));
            }
            act(&peer, it, word).map_err(one)
        }
    }
}

fn list(peer: &Peer, it: &Listed) -> Result<(), Report> {
    let pairs = [
        ("tenant", Some(it.which.tenant.clone().unwrap_or_else(|| "default".into()))),
        ("message", it.which.message.clone()),
        ("rule", it.which.rule.clone()),
        ("channel", it.which.channel.clone()),
        ("state", it.state.clone()),
        ("about", it.about.clone()),
        ("limit", Some(it.limit.to_string())),
    ];
    // The key is no filter: it is asked for by itself.
    let (mut pairs, key) = (pairs.to_vec(), it.which.message.clone());
    pairs.retain(|pair| pair.0 != "message" && (key.is_none() || pair.0 == "tenant"));
    let (path, query) = match &key {
        Some(key) => (format!("/v1/views/notifications/{}", ask::encoded(key)), ask::query(&pairs)),
        None => ("/v1/notifications".to_string(), ask::query(&pairs)),
    };
    let told = peer.json(&format!("{path}{query}"))?.unwrap_or_default();
    let rows: Vec<&Value> = match &key {
        Some(_) => told.get("row").into_iter().collect(),
        None => told["rows"].as_array().into_iter().flatten().map(|it| &it["row"]).collect(),
    };
    let json = it.which.folder.json;
    let mut out = Out::default();
    for row in &rows {
        let reader = if json { out.line(row.to_string())? } else { out.line(line(row))? };
        if reader == Reader::Gone {
            return Ok(());
        }
    }
    if rows.is_empty() && !json {
        out.line("none")?;
    }
    out.end()?;
    if !told["next"].is_null() {
        eprintln!("there are more: narrow it down, or page through `GET /v1/notifications`");
    }
    Ok(())
}

fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("").to_string();
    let answer = row["answer"].as_str().map(|it| format!(" ({it})")).unwrap_or_default();
    format!(
        "{}  {}  {:<10}  {} -> {}  {}  {}{answer}",
        text("planned_at"),
        text("message"),
        text("state"),
        text("rule"),
        text("channel"),
        text("about"),
        text("text"),
    )
}

fn act(peer: &Peer, it: &Which, word: &str) -> Result<(), Report> {
    let query = ask::query(&[
        ("do", Some(word.to_string())),
        ("message", it.message.clone()),
        ("rule", it.rule.clone()),
        ("channel", it.channel.clone()),
        ("owner", it.tenant.clone()),
    ]);
    let done = peer.post(&format!("/v1/admin/notifications/do{query}"))?;
    let mut out = Out::default();
    if it.folder.json {
        out.line(done.to_string())?;
        return out.end();
    }
    let late = match done["too_late"].as_u64() {
        Some(n) if n > 0 => format!("; {n} not: their time is over"),
        _ => String::new(),
    };
    let more = if done["more"] == true { "; there are more: say it again" } else { "" };
    out.line(format!("{} {}{late}{more}", done["n"], done["did"].as_str().unwrap_or("done")))?;
    for name in done["messages"].as_array().into_iter().flatten() {
        out.line(format!("  {}", name.as_str().unwrap_or("")))?;
    }
    out.end()
}

fn not_running(settings: &Settings, what: &str) -> Report {
    Report {
        code: "commands/not-running",
        what: "cannot look at messages, or have anything done about them".into(),
        at: vec![("folder", settings.data_dir.display().to_string()), ("action", what.into())],
        why: "expected a process that runs on the data folder, found none".into(),
        effect: "nothing was changed".into(),
        fix: "start it (`millstream run`), then say it again".into(),
    }
}
