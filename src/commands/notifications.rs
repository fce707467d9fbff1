//! `millstream notifications`: which messages there are, and what is done about them.
//!
//! # Meaning
//! A running process is asked: messages are rows of its views, and what is done about them is
//! written into its log.

use schemas::time::rfc3339;
use serde_json::{Value, json};

use super::Problems;
use super::ask::{self, Asking, Peer};
use super::chosen::{Chosen, wrong_flag};
use super::out::{Out, Reader};
use super::typed::rules::{Listed, Marked, Notifications, Which};
use crate::clock;
use crate::config::Settings;
use crate::report::Report;

/// Lists, or has something done.
pub fn main(what: &Notifications, chosen: &Chosen) -> Result<(), Problems> {
    let folder = match what {
        Notifications::List(it) => &it.which.folder,
        Notifications::Retry(it) | Notifications::Cancel(it) => &it.folder,
        Notifications::Acknowledge(it) => &it.folder,
        Notifications::Snooze(it) => &it.marked.folder,
    };
    let settings = chosen.folder(folder)?;
    let word = match what {
        Notifications::List(_) => "list",
        Notifications::Retry(_) => "retry",
        Notifications::Cancel(_) => "cancel",
        Notifications::Acknowledge(_) => "acknowledge",
        Notifications::Snooze(_) => "snooze",
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
        Notifications::Acknowledge(it) => mark(&peer, it, word, json!({})).map_err(one),
        Notifications::Snooze(it) => {
            let until = it.length.map(|it| {
                let ms = u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
                let ms = clock::wall_ms().saturating_add(ms);
                rfc3339(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000))
            });
            let until = until.or_else(|| it.until.clone());
            mark(&peer, &it.marked, word, json!({"until": until})).map_err(one)
        }
    }
}

/// Says something of one message; `body`: what, without who.
fn mark(peer: &Peer, it: &Marked, word: &str, mut body: Value) -> Result<(), Report> {
    if let Some(by) = &it.by {
        body["by"] = json!(by);
    }
    let query = ask::query(&[("tenant", Some(it.tenant.clone()))]);
    let path = format!("/v1/notifications/{}/{word}{query}", ask::encoded(&it.message));
    let body = body.to_string();
    let asking = Asking { path: &path, headers: "", body: body.as_bytes() };
    let answer = peer.ask(&asking)?;
    let mut out = Out::default();
    if it.folder.json {
        out.line(&answer)?;
        return out.end();
    }
    let told: Value = serde_json::from_slice(&answer)
        .map_err(|why| peer.told(&path, &format!("expected JSON, found {why}")))?;
    let text = |key: &str| told[key].as_str();
    let stands = match (text("did"), text("until")) {
        (Some("acknowledged"), _) => {
            let by = text("by").map(|it| format!(" by {it}")).unwrap_or_default();
            format!("acknowledged {}{by}", text("at").unwrap_or(""))
        }
        (_, Some(until)) => format!("snoozed until {until}"),
        (_, None) => "not snoozed".into(),
    };
    let before = if told["again"] == true { " (as before)" } else { "" };
    out.line(format!("{}  {stands}{before}", it.message))?;
    out.end()
}

fn row_in<'v>(peer: &Peer, path: &str, told: &'v Value) -> Result<&'v Value, Report> {
    let row = told.get("row").filter(|it| it.is_object());
    row.ok_or_else(|| peer.told(path, &format!("expected a row, found {told}")))
}

fn list(peer: &Peer, it: &Listed) -> Result<(), Report> {
    let pairs = [
        ("tenant", Some(it.which.tenant.clone().unwrap_or_else(|| "default".into()))),
        ("message", it.which.message.clone()),
        ("rule", it.which.rule.clone()),
        ("channel", it.which.channel.clone()),
        ("state", it.state.clone()),
        ("about", it.about.clone()),
        ("snoozed", it.snoozed.then(|| "all".into())),
        ("limit", Some(it.limit.to_string())),
    ];
    // The key is no filter: it is asked for by itself.
    let (mut pairs, key) = (pairs.to_vec(), it.which.message.clone());
    pairs.retain(|pair| pair.0 != "message" && (key.is_none() || pair.0 == "tenant"));
    let (path, query) = match &key {
        Some(key) => (format!("/v1/views/notifications/{}", ask::encoded(key)), ask::query(&pairs)),
        None => ("/v1/notifications".to_string(), ask::query(&pairs)),
    };
    let path = format!("{path}{query}");
    let told = peer.json(&path)?;
    let told = told.as_ref();
    let rows: Vec<&Value> = match (&key, told) {
        // There is no such message.
        (Some(_), None) => Vec::new(),
        (Some(_), Some(told)) => vec![row_in(peer, &path, told)?],
        (None, None) => return Err(peer.told(&path, "no such route: another version runs")),
        (None, Some(told)) => {
            let rows = peer.listed(&path, told, "rows")?;
            rows.iter().map(|it| row_in(peer, &path, it)).collect::<Result<_, _>>()?
        }
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
    if told.is_some_and(|it| !it["next"].is_null()) {
        eprintln!("there are more: narrow it down, or page through `GET /v1/notifications`");
    }
    Ok(())
}

fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("").to_string();
    let answer = row["answer"].as_str().map(|it| format!(" ({it})")).unwrap_or_default();
    let snoozed = match row["snoozed_until"].as_str().filter(|_| row["snoozed"] == true) {
        Some(until) => format!("  snoozed until {until}"),
        None => String::new(),
    };
    let by = row["acknowledged_by"].as_str().map(|it| format!(" by {it}")).unwrap_or_default();
    let seen = if row["acknowledged"] == true { "  acknowledged" } else { "" };
    let marks = if seen.is_empty() { snoozed } else { format!("{seen}{by}{snoozed}") };
    format!(
        "{}  {}  {:<10}  {} -> {}  {}  {}{answer}{marks}",
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
