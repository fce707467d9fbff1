//! `millstream rules`: what rules would have said, why they did or did not, what they would say.
//!
//! # Meaning
//! Rules are taken from the settings as they stand in the file, so that one can be tried before it
//! is loaded. `test` lives through the log of a folder that no process has open; `explain` and
//! `preview` ask the running process for rows, and live through the log where there is none.

mod history; // what they would have said
mod rows; // rows of a process, or of a folder

use serde_json::Value;

use super::Problems;
use super::ask;
use super::chosen::Chosen;
use super::out::Out;
use super::typed::Folder;
use super::typed::rules::{Explain, Preview, Rules as Typed};
use crate::config::Settings;
use crate::notify::{About, Rule, Rules};
use crate::report::Report;
use rows::Rows;
use schemas::names::Name;
use schemas::nearest::nearest;

/// Tests, explains, or previews.
pub fn main(what: &Typed, chosen: &Chosen) -> Result<(), Problems> {
    match what {
        Typed::Test(it) => history::main(it, chosen),
        Typed::Reload { folder } => reload(folder, chosen),
        Typed::Explain(it) => explain(it, chosen),
        Typed::Preview(it) => preview(it, chosen),
    }
}

/// Asks the running process to take them anew; it reads its own settings.
fn reload(folder: &Folder, chosen: &Chosen) -> Result<(), Problems> {
    let one = |it: Report| vec![it];
    let settings = chosen.folder(folder)?;
    let peer = ask::running(&settings.data_dir).ok_or_else(|| one(not_running(&settings)))?;
    let path = "/v1/admin/rules/reload";
    let told = peer.post_slowly(path).map_err(one)?;
    let mut out = Out::default();
    if folder.json {
        out.line(told.to_string()).map_err(one)?;
    }
    out.end().map_err(one)?;
    if told["reloaded"] != true {
        let problems = peer.listed(path, &told, "problems").map_err(one)?;
        if problems.is_empty() {
            let why = format!("neither that it was done nor what hinders it: {told}");
            return Err(one(peer.told(path, &why)));
        }
        return Err(problems.iter().map(as_told).collect());
    }
    if folder.json {
        return Ok(());
    }
    let names = |key: &str| -> Result<String, Problems> {
        let all = peer.listed(path, &told, key).map_err(one)?;
        let all: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
        Ok(if all.is_empty() { "none".to_string() } else { all.join(", ") })
    };
    let mut out = Out::default();
    let lines = [
        format!("{} rules decide from epoch {} on", told["rules"], told["from"]),
        format!("added     {}", names("added")?),
        format!("changed   {}", names("changed")?),
        format!("removed   {}", names("removed")?),
        format!("channels  {}", names("channels")?),
    ];
    for line in lines {
        out.line(line).map_err(one)?;
    }
    out.end().map_err(one)
}

/// What the process could not use, in its words.
fn as_told(it: &Value) -> Report {
    let text = |key: &str| it[key].as_str().unwrap_or("").to_string();
    let at = it["at"].as_object().into_iter().flatten();
    let at: Vec<String> =
        at.map(|(name, value)| format!("{name} {}", value.as_str().unwrap_or(""))).collect();
    Report {
        code: "commands/not-reloaded",
        what: text("what"),
        at: vec![("problem", text("code")), ("there", at.join(", "))],
        why: text("why"),
        effect: text("effect"),
        fix: text("fix"),
    }
}

fn not_running(settings: &Settings) -> Report {
    Report {
        code: "commands/not-running",
        what: "cannot have rules taken anew".into(),
        at: vec![("folder", settings.data_dir.display().to_string())],
        why: "expected a process that runs on the data folder, found none".into(),
        effect: "nothing was changed; the next start takes them as they stand".into(),
        fix: "start it (`millstream run`)".into(),
    }
}

/// The rules of these names, all if there are none, over the views that are kept.
fn compiled(mut settings: Settings, names: &[String]) -> Result<(Settings, Rules), Problems> {
    let all: Vec<String> = settings.rules.iter().map(|it| it.name.clone()).collect();
    let known: Vec<&str> = all.iter().map(String::as_str).collect();
    if let Some(name) = names.iter().find(|it| !known.contains(&it.as_str())) {
        return Err(vec![no_such_rule(name, &known)]);
    }
    if known.is_empty() {
        return Err(vec![no_such_rule("", &known)]);
    }
    settings.rules.retain(|it| names.is_empty() || names.contains(&it.name));
    let rules = crate::run::compiled_rules(&settings)?;
    Ok((settings, rules))
}

fn no_such_rule(name: &str, known: &[&str]) -> Report {
    let fix = match nearest(name, known) {
        Some(meant) => format!("perhaps `{meant}` was meant"),
        None => "write a `[rules.NAME]` (docs/notifications.md), or name the settings file with \
                 --config"
            .into(),
    };
    Report {
        code: "commands/no-such-rule",
        what: "cannot find a rule".into(),
        at: vec![("flag", "--rule".into())],
        why: match known {
            [] => "the settings have no rules".into(),
            all => format!("expected one of {}, found {name:?}", all.join(", ")),
        },
        effect: "nothing was read or changed".into(),
        fix,
    }
}

fn explain(it: &Explain, chosen: &Chosen) -> Result<(), Problems> {
    let (settings, rules) = compiled(chosen.folder(&it.folder)?, &it.rules)?;
    let one = |it: Report| vec![it];
    let rows = Rows::of(&settings).map_err(one)?;
    let subject = Name::new(&it.tenant, &it.subject);
    let messages = rows.messages(&subject).map_err(one)?;
    let mut out = Out::default();
    for rule in &rules.all {
        let row = rows.row(rule, &subject).map_err(one)?;
        let now_ms = rows.now_ms();
        let about = About { subject: &subject, row: row.as_ref(), messages: &messages, now_ms };
        let told = rules.explain(rule, &about);
        let text = if it.folder.json { told.to_string() } else { explained(&told) };
        out.line(text).map_err(one)?;
    }
    out.end().map_err(one)
}

fn explained(told: &Value) -> String {
    let text = |it: &Value| match it {
        Value::String(it) => it.clone(),
        it => it.to_string(),
    };
    let mut lines = vec![format!(
        "{} ({} -> {}): {}: {}",
        text(&told["rule"]),
        text(&told["view"]),
        text(&told["channel"]),
        text(&told["verdict"]),
        text(&told["why"]),
    )];
    if let Some(episode) = told["episode"].as_str() {
        lines.push(format!("  episode  {episode}"));
    }
    for it in told["conditions"].as_array().into_iter().flatten() {
        let holds = match (&it["holds"], &it["error"]) {
            (Value::Bool(true), _) => "yes  ",
            (Value::Bool(false), _) => "NO   ",
            _ => "?    ",
        };
        let saw = it["saw"].as_object().into_iter().flatten();
        let saw: Vec<String> = saw.map(|(name, value)| format!("{name}: {value}")).collect();
        let error = it["error"].as_str().map(|it| format!("; {it}")).unwrap_or_default();
        lines.push(format!("  {holds}    {}   ({}{error})", text(&it["part"]), saw.join(", ")));
    }
    for it in told["messages"].as_array().into_iter().flatten() {
        let answer = it["answer"].as_str().map(|it| format!(": {it}")).unwrap_or_default();
        lines.push(format!(
            "  message  {}  {}  {}{answer}  (episode {})",
            text(&it["planned_at"]),
            text(&it["message"]),
            text(&it["state"]),
            text(&it["episode"]),
        ));
    }
    lines.join("\n")
}

fn preview(it: &Preview, chosen: &Chosen) -> Result<(), Problems> {
    let names = [it.rule.clone()];
    let (settings, rules) = compiled(chosen.folder(&it.folder)?, &names)?;
    let one = |it: Report| vec![it];
    let rows = Rows::of(&settings).map_err(one)?;
    let Some(rule) = rules.all.first() else { return Err(vec![no_such_rule(&it.rule, &[])]) };
    let row = match &it.key {
        Some(key) => rows.row(rule, &Name::new(&it.tenant, key)),
        None => rows.one(rule, &it.tenant, &|row| rules.preview(rule, row)["matches"] == true),
    };
    let Some(row) = row.map_err(one)? else { return Err(vec![no_row(rule, it)]) };
    let told = rules.preview(rule, &row);
    let text = if it.folder.json { told.to_string() } else { previewed(&told) };
    let mut out = Out::default();
    out.line(text).map_err(one)?;
    out.end().map_err(one)
}

fn previewed(told: &Value) -> String {
    let said = |it: &Value| match (&it["text"], &it["error"]) {
        (Value::String(text), _) => text.clone(),
        (_, why) => format!("nothing: {}", why.as_str().unwrap_or("?")),
    };
    let mut lines = vec![
        format!("says      {}", said(&told["says"])),
        format!("matches   {}", told["matches"]),
        format!("episode   {}", told["episode"].as_str().unwrap_or("")),
        format!(
            "to        {} ({})",
            told["channel"].as_str().unwrap_or(""),
            told["severity"].as_str().unwrap_or("")
        ),
    ];
    if !told["resolved"].is_null() {
        lines.insert(1, format!("resolved  {}", said(&told["resolved"])));
    }
    lines.push(format!("row       {}", told["row"]));
    lines.join("\n")
}

fn no_row(rule: &Rule, it: &Preview) -> Report {
    let why = match &it.key {
        Some(key) => format!("{} has no row {key:?} of the tenant {:?}", rule.def.name, it.tenant),
        None => format!("{} has no row of the tenant {:?}", rule.def.name, it.tenant),
    };
    Report {
        code: "commands/no-such-row",
        what: "cannot find a row".into(),
        at: vec![("rule", it.rule.clone())],
        why,
        effect: "nothing was changed".into(),
        fix: "name a key that is there, as `GET /v1/views/{view}` lists them".into(),
    }
}
