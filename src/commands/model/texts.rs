//! The events of a file, one after another, decoded as a feed's are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use schemas::decode;
use schemas::events::Event;
use schemas::mapping::{Mapped, Mapping};

use serde_json::Value;

use crate::commands::{Problems, ask, folder, log};
use crate::config::Settings;
use crate::ingest::file;
use crate::messages::{Framing, Outlet};
use crate::report::Report;

/// Chunks read ahead.
const AHEAD: usize = 4;

/// What became of the records.
#[derive(Debug, Default)]
pub(in crate::commands) struct Read {
    /// Events that were handed on.
    pub events: u64,
    /// Records that are none.
    pub rejected: u64,
}

/// Hands every event of a file to `take`. A record that is no event is counted and passed over.
pub(in crate::commands) fn each(
    input: &std::path::Path,
    mapping: Option<&Mapping>,
    settings: &Settings,
    mut take: impl FnMut(&Event<'_>) -> Result<(), Report>,
) -> Result<Read, Problems> {
    let (send, chunks) = crossbeam_channel::bounded(AHEAD);
    let stop = Arc::new(AtomicBool::new(false));
    let plan = file::Plan {
        path: input.to_path_buf(),
        feed: 0,
        first_read_ms: crate::clock::wall_ms(),
        max_event_bytes: settings.serve.max_event_bytes,
        rate: None,
        passes: 1,
        from: std::collections::BTreeMap::new(),
    };
    let reading = {
        let stop = stop.clone();
        let outlet = Outlet::new(send, Arc::new(|| {}));
        let read = move || file::read(&plan, &outlet, &Arc::default(), &stop);
        std::thread::Builder::new().name("model-read".into()).spawn(read)
    };
    let reading = reading.map_err(|why| vec![no_thread(&why)])?;
    let mut read = Read::default();
    let mut failed = None;
    'read: for chunk in chunks {
        let Framing::Lines = chunk.framing else { continue };
        for (n, line) in (chunk.first..).zip(chunk.bytes.split(|it| *it == b'\n')) {
            if n >= chunk.next {
                break;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let mut give = |event: Event<'_>| {
                read.events += 1;
                if failed.is_none() {
                    failed = take(&event).err();
                }
            };
            let done = match mapping {
                Some(mapping) => mapping.decode(line, &mut give),
                None => decode::structured(line).map(|event| {
                    give(event);
                    Mapped::Events(1)
                }),
            };
            read.rejected += u64::from(done.is_err());
            if failed.is_some() {
                break 'read;
            }
        }
    }
    stop.store(true, Relaxed);
    let done = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match failed {
        Some(it) => Err(vec![it]),
        None => done.map(|_| read).map_err(|it| vec![it]),
    }
}

/// Records of the log asked for at once.
const PAGE: usize = 1_000;

/// Hands every event of the embedded log to `take`: asked of the running process, or read from a
/// folder that nobody has open.
pub(super) fn of_log(
    settings: &Settings,
    take: &mut dyn FnMut(&Event<'_>) -> Result<(), Report>,
) -> Result<Read, Report> {
    let peer = ask::running(&settings.data_dir);
    let looked = match &peer {
        Some(_) => None,
        None => {
            let folder = folder::look(settings)?;
            let log = folder.log()?;
            Some((folder, log))
        }
    };
    let mut read = Read::default();
    let mut from = looked.as_ref().map_or(0, |it| it.1.first());
    loop {
        let page: Vec<Value> = match (&peer, &looked) {
            (Some(peer), _) => {
                let path = format!("/v1/admin/log/records?from={from}&limit={PAGE}");
                peer.get(&path)?.as_array().cloned().unwrap_or_default()
            }
            (None, Some((_, log))) => log.show(from, PAGE)?.iter().map(log::record).collect(),
            (None, None) => Vec::new(),
        };
        let Some(last) = page.last().and_then(|it| it["position"].as_u64()) else {
            return Ok(read);
        };
        from = last + 1;
        for it in &page {
            // Facts of our own are no events; what is no text is none either.
            let event = it["text"].as_str().map(|it| decode::structured(it.as_bytes()));
            match event {
                Some(Ok(event)) => {
                    read.events += 1;
                    take(&event)?;
                }
                _ => read.rejected += 1,
            }
        }
    }
}

fn no_thread(why: &std::io::Error) -> Report {
    Report {
        code: "ingest/no-thread",
        what: "could not start a thread".into(),
        at: vec![("thread", "model-read".into())],
        why: why.to_string(),
        effect: "nothing was read or changed".into(),
        fix: "let this user have more threads, then do it again".into(),
    }
}
