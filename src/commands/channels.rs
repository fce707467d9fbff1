//! `millstream channels`: how channels stand, and what is done about them.
//!
//! # Meaning
//! How they stand a running process says: its channels are its own. A secret is rotated in its file,
//! by this command, and a running process is told to read it again; where none runs the next start
//! does.

use serde_json::Value;

use super::Problems;
use super::ask;
use super::chosen::Chosen;
use super::out::{Out, Reader};
use super::typed::{Channels, OfChannel, RotateChannel, SecretKind};
use crate::config::channels::To;
use crate::config::{ChannelSettings, Password, Settings};
use crate::notify;
use crate::notify::rotate::{Step, rotate};
use crate::notify::sign::{Keys, Kind};
use crate::report::Report;

/// Lists, or has something done.
pub fn main(what: &Channels, chosen: &Chosen) -> Result<(), Problems> {
    let folder = match what {
        Channels::List { folder } => folder,
        Channels::Again(it) | Channels::Resume(it) => &it.folder,
        Channels::Rotate(it) => &it.of.folder,
    };
    let settings = chosen.folder(folder)?;
    let done = match what {
        Channels::List { folder } => list(&settings, folder.json),
        Channels::Again(it) => again(&settings, it),
        Channels::Resume(it) => resume(&settings, it),
        Channels::Rotate(it) => rotated(&settings, it),
    };
    done.map_err(|it| vec![it])
}

fn list(settings: &Settings, json: bool) -> Result<(), Report> {
    let (peer, path) = (running(settings, "list")?, "/v1/admin/channels");
    print((&peer, path), &peer.get(path)?, json, line)
}

fn again(settings: &Settings, it: &OfChannel) -> Result<(), Report> {
    let (peer, path) = (running(settings, "again")?, path(&it.name, "again"));
    print((&peer, &path), &peer.post(&path)?, it.folder.json, |it| {
        format!(
            "{}  {}  attempts {}  next {}  {}",
            text(it, "message"),
            text(it, "about"),
            it["attempts"],
            time(it, "next_try_ms"),
            text(it, "why")
        )
    })
}

fn resume(settings: &Settings, it: &OfChannel) -> Result<(), Report> {
    let done = running(settings, "resume")?.post(&path(&it.name, "resume"))?;
    let mut out = Out::default();
    out.line(if it.folder.json { done.to_string() } else { line(&done) })?;
    out.end()
}

fn rotated(settings: &Settings, it: &RotateChannel) -> Result<(), Report> {
    let name = it.of.name.as_str();
    let known: Vec<&str> = settings.channels.iter().map(|it| it.name.as_str()).collect();
    let channel = settings.channels.iter().find(|it| it.name == name);
    let channel = channel.ok_or_else(|| notify::no_such(name, &known))?;
    let To::Webhook { secret, .. } = &channel.to else {
        return Err(cannot(channel, "mail is not signed by us".into()));
    };
    let Password::File(path) = secret else {
        let why = "its secret comes from a variable, which only its owner can change";
        return Err(cannot(channel, why.into()));
    };
    let kind = it.kind.map(|it| match it {
        SecretKind::Hmac => Kind::Hmac,
        SecretKind::Ed25519 => Kind::Ed25519,
    });
    let step = if it.finish { Step::Finish } else { Step::Begin(kind) };
    let keys = rotate(path, step)
        .map_err(|why| cannot(channel, format!("{}: {why}", path.display())))?
        .map_err(|why| cannot(channel, format!("{}: {why}", path.display())))?;
    let peer = ask::running(&settings.data_dir);
    if let Some(peer) = &peer {
        let told = peer.post(&self::path(name, "reload"));
        told.map_err(|it| Report {
            effect: "the file is as it is to be; the running process signs as before".into(),
            ..cannot(channel, it.to_string())
        })?;
    }
    let mut out = Out::default();
    if it.of.folder.json {
        let told = serde_json::json!({
            "channel": name, "file": path.display().to_string(), "signs": keys.kinds(),
            "told": peer.is_some(),
        });
        out.line(told.to_string())?;
        return out.end();
    }
    for line in words(name, (&path.display().to_string(), &keys), (it.finish, peer.is_some())) {
        out.line(line)?;
    }
    out.end()
}

/// What was done, and what comes next.
fn words(name: &str, (file, keys): (&str, &Keys), (finished, told): (bool, bool)) -> Vec<String> {
    let kinds = keys.kinds();
    let mut lines = vec![format!("{name}: {} of {file} sign: {}", kinds.len(), kinds.join(", "))];
    lines.push(match told {
        true => "the running process signs with them from now on".into(),
        false => "no process runs; the next one signs with them".into(),
    });
    if !finished {
        let what = match keys.first() {
            Kind::Hmac => format!("the secret in the first line of {file}"),
            Kind::Ed25519 => format!("the public key {}", kinds[0]),
        };
        lines.push(format!(
            "next: give the receiver {what}; then `millstream channels rotate {name} --finish`"
        ));
    }
    lines
}

fn path(name: &str, what: &str) -> String {
    let of = [("channel", Some(name.to_string())), ("do", Some(what.to_string()))];
    format!("/v1/admin/channels/do{}", ask::query(&of))
}

fn running(settings: &Settings, what: &str) -> Result<ask::Peer, Report> {
    ask::running(&settings.data_dir).ok_or_else(|| Report {
        code: "commands/not-running",
        what: "cannot say or do that about a channel".into(),
        at: vec![("folder", settings.data_dir.display().to_string()), ("action", what.into())],
        why: "expected a process that runs on the data folder, found none".into(),
        effect: "nothing was changed".into(),
        fix: "start it (`millstream run`), then say it again".into(),
    })
}

fn cannot(channel: &ChannelSettings, why: String) -> Report {
    Report {
        code: "notify/rotate",
        what: "cannot rotate the secret of a channel".into(),
        at: vec![("setting", format!("channels.{}", channel.name))],
        why,
        effect: "nothing was changed".into(),
        fix:
            "keep the secret in a file (`secret_file`) that this user may write, a secret a line, \
              then say it again"
                .into(),
    }
}

fn print(
    (peer, path): (&ask::Peer, &str),
    found: &Value,
    json: bool,
    line: impl Fn(&Value) -> String,
) -> Result<(), Report> {
    let mut out = Out::default();
    let Some(all) = found.as_array() else {
        return Err(peer.told(path, "expected a list, found something else"));
    };
    for it in all {
        if out.line(if json { it.to_string() } else { line(it) })? == Reader::Gone {
            return Ok(());
        }
    }
    if all.is_empty() && !json {
        out.line("none")?;
    }
    out.end()
}

fn line(it: &Value) -> String {
    let more = if it["waiting_more"] == true { " and more" } else { "" };
    let why = match it["code"].as_str() {
        Some(code) => format!("  {code}: {}", text(it, "why")),
        None => String::new(),
    };
    let signs = it["signs"].as_array().map_or(0, Vec::len);
    format!(
        "{:<16} {:<13} delivered {}  {} wait{more}  {signs} sign{why}",
        text(it, "name"),
        text(it, "state"),
        it["delivered"],
        it["waiting"],
    )
}

fn text(it: &Value, key: &str) -> String {
    it[key].as_str().unwrap_or("").to_string()
}

fn time(it: &Value, key: &str) -> String {
    let micros = it[key].as_i64().unwrap_or(0).saturating_mul(1_000);
    schemas::time::rfc3339(micros)
}
