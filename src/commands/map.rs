//! `millstream map`: what becomes of a file's first records, beside the reason for each rejection.
//!
//! # Meaning
//! The records are read, decoded and judged as a feed's are (the time of reading being their append
//! time), and nothing else: no view, no log, no deduplication. With `--all` it reads to the end and counts, so that a mapping is known to fit a
//! file before it is used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use schemas::decode;
use schemas::encode;
use schemas::events::Event;
use schemas::mapping::{Mapped, Mapping};
use schemas::own;
use schemas::problem::Problem;
use serde_json::{Value, json};

use super::Problems;
use super::check::load_mapping;
use super::chosen::Chosen;
use super::out::{Out, Reader};
use super::typed::Map;
use crate::ingest::file;
use crate::messages::{Chunk, Framing, Outlet};
use crate::report::Report;

/// Chunks read ahead: little, for often only the first is wanted.
const AHEAD: usize = 2;
/// So much of a record is shown to a person.
const SHOWN_CHARS: usize = 400;

/// What has become of the records so far.
#[derive(Default)]
struct Summary {
    records: u64,
    events: u64,
    skipped: u64,
    types: BTreeMap<&'static str, u64>,
    rejected: BTreeMap<&'static str, u64>,
}

/// Maps and shows.
pub fn main(it: &Map, chosen: &Chosen) -> Result<(), Problems> {
    let mapping = it.mapping.as_deref().map(load_mapping).transpose()?;
    let settings = chosen.settings(&[], &[])?;
    let (send, chunks) = crossbeam_channel::bounded(AHEAD);
    let stop = Arc::new(AtomicBool::new(false));
    let plan = file::Plan {
        path: it.input.clone(),
        feed: 0,
        first_read_ms: crate::clock::wall_ms(),
        max_event_bytes: settings.serve.max_event_bytes,
        rate: None,
        passes: 1,
        from: std::collections::BTreeMap::new(),
    };
    let max_bytes = usize::try_from(settings.serve.max_event_bytes).unwrap_or(usize::MAX);
    let reading = {
        let stop = stop.clone();
        let outlet = Outlet::new(send, Arc::new(|| {}));
        let read = move || file::read(&plan, &outlet, &Arc::default(), &stop);
        std::thread::Builder::new().name("map-read".into()).spawn(read)
    };
    let reading = reading.map_err(|why| vec![no_thread(&why)])?;
    let future_us = i64::try_from(settings.engine.future_limit.as_micros()).unwrap_or(i64::MAX);
    let sum = Summary::default();
    let mut show = Show { it, mapping: mapping.as_ref(), max_bytes, future_us, sum };
    let shown = show.all(chunks);
    stop.store(true, Relaxed);
    let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    // What could not be read has no summary.
    let told = shown.and_then(|out| read.map(|()| out)).and_then(|out| match out {
        Some(out) => show.summary(out),
        None => Ok(()),
    });
    told.map_err(|it| vec![it])
}

struct Show<'a> {
    it: &'a Map,
    mapping: Option<&'a Mapping>,
    max_bytes: usize,
    /// An event later than the reading by more is rejected, in microseconds.
    future_us: i64,
    sum: Summary,
}

/// Where a record was read, and when.
#[derive(Clone, Copy)]
struct At {
    file: u32,
    offset: u64,
    read_ms: u64,
}

impl Show<'_> {
    /// Takes the receiver, so that the reader ends when this does. Nothing is left to write to
    /// when the reader of what is shown has gone.
    fn all(&mut self, chunks: crossbeam_channel::Receiver<Chunk>) -> Result<Option<Out>, Report> {
        let mut out = Out::default();
        'read: for chunk in chunks {
            let Framing::Lines = chunk.framing else { continue };
            for (n, line) in (chunk.first..).zip(chunk.bytes.split(|it| *it == b'\n')) {
                // What follows the last line end is no line.
                if n >= chunk.next {
                    break;
                }
                let wanted = self.sum.records < self.it.limit as u64;
                if !wanted && !self.it.all {
                    break 'read;
                }
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let (file, read_ms) = (chunk.partition.1, chunk.appended_ms);
                let at = At { file, offset: n, read_ms };
                if self.record(at, line, wanted, &mut out)? == Reader::Gone {
                    return Ok(None);
                }
            }
        }
        Ok(Some(out))
    }

    fn record(
        &mut self,
        at: At,
        line: &[u8],
        wanted: bool,
        out: &mut Out,
    ) -> Result<Reader, Report> {
        self.sum.records += 1;
        let latest = (at.read_ms as i64).saturating_mul(1_000).saturating_add(self.future_us);
        let (mut events, mut types, mut refused) = (Vec::new(), Vec::new(), None);
        let mut take = |event: Event<'_>| {
            if let Err(problem) = own::from_outside(&event) {
                refused.get_or_insert(problem);
            }
            if event.time > latest {
                refused.get_or_insert_with(|| Problem::future_time(event.time, latest));
            }
            types.push(event.data.event_type().as_str());
            if wanted {
                events.push(encode::to_json(&event));
            }
        };
        let done: Result<Mapped, Problem> = if line.trim_ascii().is_empty() {
            Ok(Mapped::Skipped)
        } else {
            decode::within(line, self.max_bytes).and_then(|()| match self.mapping {
                Some(mapping) => mapping.decode(line, &mut take),
                None => decode::structured(line).map(|event| {
                    take(event);
                    Mapped::Events(1)
                }),
            })
        };
        // A record is taken whole or not at all.
        let done = done.and_then(|it| refused.map_or(Ok(it), Err));
        match &done {
            Ok(Mapped::Skipped | Mapped::Events(0)) => self.sum.skipped += 1,
            Ok(Mapped::Events(_)) => {
                self.sum.events += types.len() as u64;
                for it in types {
                    *self.sum.types.entry(it).or_default() += 1;
                }
            }
            Err(problem) => *self.sum.rejected.entry(problem.code).or_default() += 1,
        }
        if !wanted {
            return Ok(Reader::There);
        }
        if self.it.json {
            out.line(as_json(at, line, &events, &done).to_string())
        } else {
            out.text(&as_text(at, line, &events, &done))
        }
    }

    fn summary(&self, mut out: Out) -> Result<(), Report> {
        let Summary { records, events, skipped, types, rejected } = &self.sum;
        if self.it.json {
            let counts = json!({
                "records": records, "events": events, "skipped": skipped,
                "types": types, "rejected": rejected,
            });
            out.line(json!({"summary": counts}).to_string())?;
            return out.end();
        }
        let n_rejected: u64 = rejected.values().sum();
        out.line(format!(
            "{records} record(s): {events} event(s), {skipped} skipped, {n_rejected} rejected"
        ))?;
        for (name, n) in types {
            out.line(format!("  {n:>10}  {name}"))?;
        }
        for (code, n) in rejected {
            out.line(format!("  {n:>10}  rejected: {code}"))?;
        }
        out.end()
    }
}

fn as_json(at: At, line: &[u8], events: &[Value], done: &Result<Mapped, Problem>) -> Value {
    let record = String::from_utf8_lossy(line);
    let mut shown = json!({"file": at.file, "line": at.offset + 1, "record": record});
    match done {
        Ok(Mapped::Skipped) => shown["skipped"] = true.into(),
        Ok(Mapped::Events(_)) => shown["events"] = events.into(),
        Err(it) => {
            shown["rejected"] = json!({
                "code": it.code, "pointer": it.pointer, "expected": it.expected, "found": it.found,
            });
        }
    }
    shown
}

fn as_text(at: At, line: &[u8], events: &[Value], done: &Result<Mapped, Problem>) -> String {
    let text = String::from_utf8_lossy(line);
    let mut record: String = text.chars().take(SHOWN_CHARS).collect();
    if record.len() < text.len() {
        record.push('…');
    }
    let of_file = if at.file == 0 { String::new() } else { format!(" of file {}", at.file + 1) };
    let mut shown = format!("line {}{of_file}: {record}\n", at.offset + 1);
    match done {
        Ok(Mapped::Skipped) => shown.push_str("  skipped\n"),
        Ok(Mapped::Events(0)) => shown.push_str("  no events\n"),
        Ok(Mapped::Events(_)) => {
            for event in events {
                shown.push_str(&format!("  -> {event}\n"));
            }
        }
        Err(it) => shown.push_str(&format!("  rejected[{}]: {it}\n", it.code)),
    }
    shown.push('\n');
    shown
}

fn no_thread(why: &std::io::Error) -> Report {
    Report {
        code: "ingest/no-thread",
        what: "could not start a thread".into(),
        at: vec![("thread", "map-read".into())],
        why: why.to_string(),
        effect: "nothing was read or changed".into(),
        fix: "let this user have more threads, then do it again".into(),
    }
}
