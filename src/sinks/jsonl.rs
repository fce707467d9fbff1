//! Files of JSON lines: one per batch, there whole or not at all, under the batch's id.
//!
//! # Meaning
//! A line is a row (`tenant`, `key`, `epoch`, `incarnation`, `deleted`, and `row` with its fields), an
//! event (`feed`, `partition`, `offset`, `event`), or a mark. A file is
//! `<folder>/<stream>/<number>-<id>.jsonl`; names of one stream sort in the order of its batches. Whoever
//! reads them takes whole files, and may take them away.
//!
//! # Invariants
//! The same batch is the same file: delivering it again writes the same bytes under the same name. A
//! file without an ending other than `.jsonl` is whole and durable.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::{Batch, Declared, Delivering, Delivery, Fault, OutRow, Sink, Stream, Value};
use crate::report::Report;
use crate::segments;

/// The sink.
pub struct Jsonl {
    folder: PathBuf,
    declared: Declared,
}

impl Jsonl {
    /// Into this folder, which is made if need be.
    pub fn new(folder: &Path, declared: Declared) -> Jsonl {
        Jsonl { folder: folder.to_path_buf(), declared }
    }

    fn write(&self, batch: &Batch) -> std::io::Result<()> {
        let folder = self.folder.join(batch.stream.to_string());
        segments::make_dir(&folder)?;
        let path = folder.join(format!("{:020}-{}.jsonl", batch.seq, batch.id));
        segments::replace(&path, &lines(batch))
    }
}

impl Sink for Jsonl {
    fn declared(&self) -> Declared {
        self.declared.clone()
    }

    fn ready(&self) -> Delivering<'_> {
        let made = segments::make_dir(&self.folder);
        Box::pin(async move { self.told(made) })
    }

    /// A disk is waited for by this sink's own thread, which has nothing else to do.
    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivering<'a> {
        Box::pin(async move { self.told(self.write(batch)) })
    }
}

impl Jsonl {
    fn told(&self, done: std::io::Result<()>) -> Delivery {
        use std::io::ErrorKind as Kind;
        let Err(why) = done else { return Delivery::Durable };
        let report = Report {
            code: "sinks/jsonl",
            what: "could not write a file of rows".into(),
            at: vec![("folder", self.folder.display().to_string())],
            why: why.to_string(),
            effect: "nothing is lost: the batch waits, and is written again".into(),
            fix: "see to the disk, or to the rights on the folder".into(),
        };
        match why.kind() {
            Kind::PermissionDenied | Kind::NotADirectory | Kind::ReadOnlyFilesystem => {
                Delivery::Refused { fault: Fault::Configuration, report }
            }
            _ => Delivery::Retry { after: None, report },
        }
    }
}

/// A batch as its file.
fn lines(batch: &Batch) -> Vec<u8> {
    let mut out = String::new();
    for row in batch.rows() {
        push(&mut out, &row_line(batch, &row));
    }
    for it in batch.events() {
        // What was decoded once is JSON.
        let event = serde_json::from_slice::<Json>(it.json).unwrap_or(Json::Null);
        push(
            &mut out,
            &json!({"epoch": it.epoch, "incarnation": batch.incarnation, "feed": it.feed,
                    "partition": it.partition, "offset": it.offset,
                    "appended_ms": it.appended_ms, "event": event}),
        );
    }
    for it in batch.marks() {
        push(
            &mut out,
            &json!({"epoch": it.epoch, "incarnation": batch.incarnation,
                    "forked_at": it.forked_at, "whole": it.whole}),
        );
    }
    out.into_bytes()
}

fn push(out: &mut String, line: &Json) {
    // Writing to a String cannot fail.
    if writeln!(out, "{line}").is_err() {
        out.push('\n');
    }
}

fn row_line(batch: &Batch, row: &OutRow<'_>) -> Json {
    let fields = batch.stream.def().map_or(&[][..], |it| it.fields);
    let values = fields.iter().zip(row.values());
    let values: Map<String, Json> =
        values.map(|(def, value)| (def.name.to_string(), value_json(&value))).collect();
    let row_json = if row.is_deleted() { Json::Null } else { Json::Object(values) };
    json!({"tenant": row.tenant, "key": row.key, "epoch": row.epoch,
           "incarnation": batch.incarnation, "deleted": row.is_deleted(), "row": row_json})
}

fn value_json(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(it) => Json::from(*it),
        Value::Int(it) => Json::from(*it),
        Value::Text(it) => Json::from(*it),
        Value::Time(it) => Json::from(schemas::time::rfc3339(*it)),
        Value::Json(it) => serde_json::from_str(it).unwrap_or_else(|_| Json::from(*it)),
    }
}

/// The streams of a folder of files.
pub fn folder_of(folder: &Path, stream: &Stream) -> PathBuf {
    folder.join(stream.to_string())
}
