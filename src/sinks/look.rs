//! Looks into outboxes that no process has open. Nothing is written.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::aside::Aside;
use super::book::OUTBOX;
use super::log::newest_book;
use super::outbox::SINKS_DIR;
use super::present::Present;
use crate::config::OnDamage;
use crate::report::Report;
use crate::segments::{self, Folder};

/// How each sink stood at the last end.
pub fn look(data_dir: &Path) -> Result<Value, Report> {
    let mut found = Vec::new();
    let present = Present::read(&data_dir.join(SINKS_DIR))?;
    for name in names(data_dir)? {
        let dir = data_dir.join(SINKS_DIR).join(&name);
        let looked = segments::look(&dir, OUTBOX, OnDamage::Refuse, "the outbox of a sink")?;
        let book = newest_book(&looked.folder)?.unwrap_or_default();
        let waits = looked.folder.range().1.saturating_sub(book.read);
        found.push(json!({
            "name": name,
            "state": book.breaker.state.word(),
            "code": (!book.breaker.code.is_empty()).then_some(&book.breaker.code),
            "why": (!book.breaker.why.is_empty()).then_some(&book.breaker.why),
            "delivered_batches": book.delivered.0,
            "delivered_items": book.delivered.1,
            "in_flight_batches": book.fixed.len(),
            "gathered_blocks": waits,
            "outbox_bytes": looked.folder.bytes(),
            "aside": Aside::open(&dir)?.len(),
            "marked_epoch": book.marked,
            "whole": book.is_whole(),
            "missed": present.holes(&name),
            "running": false,
        }));
    }
    Ok(Value::Array(found))
}

/// The outbox of each sink, by its folder's place in the data folder, to be verified; also while a
/// process has them open.
pub fn outboxes(data_dir: &Path) -> Result<Vec<(String, Arc<Folder>)>, Report> {
    let mut found = Vec::new();
    for name in names(data_dir)? {
        let dir = data_dir.join(SINKS_DIR).join(&name);
        let looked = segments::look(&dir, OUTBOX, OnDamage::Skip, "the outbox of a sink")?;
        found.push((format!("{SINKS_DIR}/{name}"), looked.folder));
    }
    Ok(found)
}

/// What a sink's receiver would not take.
pub fn aside_of(data_dir: &Path, name: &str) -> Result<Value, Report> {
    let dir = data_dir.join(SINKS_DIR).join(name);
    if !names(data_dir)?.iter().any(|it| it == name) {
        return Err(super::no_sinks());
    }
    Ok(Aside::open(&dir)?.all().iter().map(|it| it.json(&[])).collect())
}

fn names(data_dir: &Path) -> Result<Vec<String>, Report> {
    let dir = data_dir.join(SINKS_DIR);
    let cannot = |why: std::io::Error| segments::cannot_read(&dir, &why);
    let all = match std::fs::read_dir(&dir) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        it => it.map_err(cannot)?,
    };
    let mut names = Vec::new();
    for entry in all {
        let entry = entry.map_err(cannot)?;
        // Beside the folders there is a file of all.
        if entry.file_type().map_err(cannot)?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
