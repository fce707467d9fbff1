//! `millstream state`: looking into what is kept of every entity, of the running process or of a
//! folder that nobody has open.

use std::path::Path;

use serde_json::{Value, json};

use super::Problems;
use super::ask;
use super::chosen::Chosen;
use super::folder;
use super::out::{Out, Reader};
use super::typed::State;
use crate::config::Settings;
use crate::report::Report;
use crate::segments::{Folder, Verified};
use crate::sinks;
use crate::store::{Began, Looking};

/// Lists, counts or verifies.
pub fn main(what: &State, chosen: &Chosen) -> Result<(), Problems> {
    let (State::List { folder, .. } | State::Stats { folder } | State::Verify { folder }) = what;
    let settings = chosen.folder(folder)?;
    let done = match what {
        State::List { limit, folder } => list(&settings, *limit, folder.json),
        State::Stats { folder } => stats(&settings, folder.json),
        State::Verify { folder } => verify(&settings, folder.json),
    };
    done.map_err(|it| vec![it])
}

/// A folder's state, where one was kept.
fn looking(settings: &Settings) -> Result<(folder::LookedAt, Looking), Report> {
    let looked = folder::look(settings)?;
    let state = looked.state()?;
    Ok((looked, state))
}

fn list(settings: &Settings, limit: usize, json: bool) -> Result<(), Report> {
    let found = match ask::running(&settings.data_dir) {
        Some(peer) => {
            let limit = [("limit", Some(limit.to_string()))];
            peer.get(&format!("/v1/admin/state/checkpoints{}", ask::query(&limit)))?
        }
        None => json!(looking(settings)?.1.checkpoints(limit)?),
    };
    let mut out = Out::default();
    for it in found.as_array().into_iter().flatten() {
        let line = match json {
            true => it.to_string(),
            false => format!(
                "checkpoint {:>8}  {}  position {:>10}  {:>9} records  {:>11} bytes  {}",
                it["checkpoint"],
                instant(&it["epoch_ms"]),
                it["position"],
                it["records"],
                it["bytes"],
                it["segment"].as_str().unwrap_or(""),
            ),
        };
        if out.line(line)? == Reader::Gone {
            return Ok(());
        }
    }
    if !json && found.as_array().is_none_or(Vec::is_empty) {
        out.line("none")?;
    }
    out.end()
}

fn stats(settings: &Settings, json: bool) -> Result<(), Report> {
    let stats = match ask::running(&settings.data_dir) {
        Some(peer) => peer.get("/v1/admin/state")?,
        None => json!(looking(settings)?.1.stats()?),
    };
    let mut out = Out::default();
    if json {
        out.line(stats.to_string())?;
        return out.end();
    }
    let newest = &stats["newest"];
    let mut line = |name: &str, value: String| out.line(format!("{name:<18} {value}"));
    line("folder", stats["folder"].as_str().unwrap_or("").into())?;
    let began = stats["began"].as_str().unwrap_or("");
    line("incarnation", format!("{}  ({began})", stats["incarnation"]))?;
    let at = instant(&newest["epoch_ms"]);
    line("newest checkpoint", format!("{}  {at}", newest["checkpoint"]))?;
    line("position", newest["position"].to_string())?;
    for name in ["n_checkpoints", "n_segments", "state_bytes", "n_identities", "identities_bytes"] {
        line(name, stats[name].to_string())?;
    }
    for it in stats["views"].as_array().into_iter().flatten() {
        let (entities, records, bytes) = (&it["entities"], &it["records"], &it["bytes"]);
        let words = format!("{entities} entities, {records} records of {bytes} bytes on disk");
        line(it["view"].as_str().unwrap_or(""), words)?;
    }
    out.end()
}

fn verify(settings: &Settings, json: bool) -> Result<(), Report> {
    let found = match ask::running(&settings.data_dir) {
        Some(peer) => peer.get_slowly("/v1/admin/state/verify")?,
        None => {
            let looked = folder::look(settings)?;
            verified(&looked.logs()?, &settings.data_dir)?
        }
    };
    let mut out = Out::default();
    let logs = listed(&found, "logs")?;
    let mut damaged = Vec::new();
    for it in logs {
        damaged.extend(listed(it, "damaged")?);
    }
    if json {
        out.line(found.to_string())?;
    } else {
        for it in logs {
            let (blocks, bytes) = (&it["blocks"], &it["bytes"]);
            let name = it["log"].as_str().unwrap_or("");
            let damaged = it["damaged"].as_array().map_or(0, Vec::len);
            out.line(format!(
                "{name:<12} {blocks:>10} blocks  {bytes:>14} bytes  {damaged} damaged"
            ))?;
        }
    }
    out.end()?;
    match damaged.last() {
        None => Ok(()),
        Some(last) => Err(Report {
            code: "store/damaged",
            what: "found damage in what is kept".into(),
            at: vec![("file", last["at"]["file"].as_str().unwrap_or("").to_string())],
            why: last["why"].as_str().unwrap_or("").to_string(),
            effect: "nothing was changed; a start would refuse it too".into(),
            fix: "restore a backup; a damaged state alone can be built again from the log: \
                  `millstream run --rebuild`"
                .into(),
        }),
    }
}

/// What must be in an answer: taken for empty, damage would go unseen.
fn listed<'v>(value: &'v Value, name: &'static str) -> Result<&'v [Value], Report> {
    value[name].as_array().map(Vec::as_slice).ok_or_else(|| Report {
        code: "commands/no-answer",
        what: "cannot use the answer of the running process".into(),
        at: vec![("field", name.into())],
        why: format!("expected a list, found {}", value[name]),
        effect: "nothing is known of what is kept".into(),
        fix: "ask with the program of the same version, or stop the process and ask again".into(),
    })
}

/// Reads all of these logs, and the outboxes of a data folder, and says of each what of it does not
/// hold.
pub fn verified(
    logs: &[(&'static str, std::sync::Arc<Folder>)],
    data_dir: &Path,
) -> Result<Value, Report> {
    let logs = logs.iter().map(|it| (it.0.to_string(), std::sync::Arc::clone(&it.1)));
    let mut all = Vec::new();
    for (name, folder) in logs.chain(sinks::outboxes(data_dir)?) {
        let Verified { n_segments, blocks, bytes, damaged } = folder.verify()?;
        let damaged: Vec<Value> = damaged.iter().map(Report::as_json).collect();
        all.push(json!({"log": name, "n_segments": n_segments, "blocks": blocks, "bytes": bytes,
                        "damaged": damaged}));
    }
    Ok(json!({"logs": all}))
}

/// The life that a restored folder begins.
pub(super) fn begin_restored(data_dir: &Path) -> Result<(), Report> {
    // A log in which nothing was yet has no file in a backup.
    let identities = data_dir.join(crate::store::IDENTITIES_DIR);
    if data_dir.join(crate::store::STATE_DIR).is_dir() {
        std::fs::create_dir_all(&identities)
            .map_err(|why| crate::backup::could_not_write(&identities, &why))?;
    }
    let now_ms = crate::clock::wall_ms();
    crate::store::Incarnation::begin(data_dir, Began::Restored, now_ms).map(|_| ())
}

fn instant(ms: &Value) -> String {
    let at = ms.as_i64().map(|it| schemas::time::rfc3339(it * 1_000));
    at.unwrap_or_else(|| "none".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a backup of a first checkpoint, before any identity, is a state. Method: a restored folder
    /// as such a backup leaves it.
    #[test]
    fn a_state_without_identities_is_one() {
        let dir = std::env::temp_dir().join(format!("millstream-restored-{}", std::process::id()));
        std::fs::create_dir_all(dir.join(crate::store::STATE_DIR)).unwrap();
        begin_restored(&dir).unwrap();
        assert!(crate::store::Looking::at(&dir).unwrap().is_some());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// Goal: an answer that says nothing of damage is not taken for one that says there is none.
    #[test]
    fn a_list_that_is_missing_is_told() {
        assert_eq!(listed(&json!({}), "logs").unwrap_err().code, "commands/no-answer");
        assert_eq!(listed(&json!({"logs": null}), "logs").unwrap_err().code, "commands/no-answer");
        assert!(listed(&json!({"logs": []}), "logs").unwrap().is_empty());
    }
}
