//! `millstream produce`: a file's lines, or the generator's events, into a Kafka topic.
//!
//! # Meaning
//! The file is read as a feed's is; [`crate::produce`] sends. Progress goes to standard error, a
//! line a second; what came of it to standard output, also when it failed: with the line to go on
//! from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::Problems;
use super::chosen::{Chosen, rate, wrong_flag};
use super::out::Out;
use super::typed::produce::{Mode, Produce};
use crate::generator::{Generator, Shape};
use crate::ingest::file;
use crate::messages::{Chunk, Framing, Gap, MAX_CHUNK_BYTES, Outlet};
use crate::produce::record::{self, Pointer};
use crate::produce::{self, Ended, Outcome, Plan, Word, client};
use crate::report::Report;

/// Chunks read ahead.
const AHEAD: usize = 4;

/// Sends, and says what came of it.
pub fn main(it: &Produce, chosen: &Chosen) -> Result<(), Problems> {
    let plan = plan(it, chosen)?;
    let progress = Arc::new(file::Progress::default());
    let stop = Arc::new(AtomicBool::new(false));
    let one = |it: Report| vec![it];
    let (send, chunks) = crossbeam_channel::bounded(AHEAD);
    let reader = {
        let (stop, progress) = (stop.clone(), progress.clone());
        let outlet = Outlet::new(send, Arc::new(|| {}));
        match it.input.clone() {
            Some(path) => {
                let reading = reading(path);
                thread("produce-read", move || file::read(&reading, &outlet, &progress, &stop))
            }
            None => {
                let (events, seed) = (it.events.unwrap_or(0), it.seed);
                thread("produce-make", move || make(events, seed, &outlet, &stop))
            }
        }
        .map_err(one)?
    };
    let heard = stop.clone();
    // It waits for a signal that may never come, and ends with the process.
    thread("produce-signals", move || interrupted(&heard)).map_err(one)?;
    let (outcome, sent) = produce::run(&plan, &chunks, &stop, &mut |word| tell(&word, &progress));
    stop.store(true, Relaxed);
    drop(chunks);
    let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    print(it, &outcome).map_err(one)?;
    sent.and(read).map_err(one)?;
    match outcome.ended {
        Ended::Interrupted => Err(vec![not_whole(&outcome)]),
        Ended::Whole | Ended::Failed => Ok(()),
    }
}

fn reading(path: PathBuf) -> file::Plan {
    file::Plan {
        path,
        feed: 0,
        first_read_ms: crate::clock::wall_ms(),
        max_event_bytes: produce::LINE_MAX_BYTES as u64,
        rate: None,
        passes: 1,
        from: BTreeMap::new(),
    }
}

/// Events of the generator as if they were a file's lines: the same ones each time, so that
/// `--from` goes on with them.
fn make(events: u64, seed: u64, outlet: &Outlet, stop: &AtomicBool) -> Result<(), Report> {
    let mut made =
        Generator::new(Shape::of(seed)).take(usize::try_from(events).unwrap_or(usize::MAX));
    let mut first = 0;
    loop {
        let (mut bytes, mut next) = (Vec::with_capacity(MAX_CHUNK_BYTES), first);
        while bytes.len() < MAX_CHUNK_BYTES
            && let Some(event) = made.next()
        {
            bytes.extend_from_slice(&event);
            bytes.push(b'\n');
            next += 1;
        }
        if next == first || stop.load(Relaxed) {
            return Ok(());
        }
        let chunk = Chunk {
            partition: (0, 0),
            first,
            next,
            gap: Gap::default(),
            pass: 0,
            appended_ms: 0,
            bytes,
            framing: Framing::Lines,
        };
        if outlet.send(chunk).is_err() {
            // Sending has ended, and says why.
            return Ok(());
        }
        first = next;
    }
}

fn plan(it: &Produce, chosen: &Chosen) -> Result<Plan, Problems> {
    let key_pointer = it.key_pointer.as_deref().map(|text| {
        let expected = "a JSON pointer such as /order_id or /data/customer";
        Pointer::parse(text).ok_or_else(|| wrong_flag("--key-pointer", expected, text))
    });
    let rate = rate(it.rate)?;
    let mode = match it.mode {
        Mode::Structured => record::Mode::Structured,
        Mode::Binary => record::Mode::Binary,
    };
    Ok(Plan {
        client: client::Settings {
            brokers: it.brokers.clone(),
            compression: it.compression.name().into(),
            paced: rate.is_some(),
            properties: client::properties(&it.properties, &chosen.variables)?,
        },
        topic: it.topic.clone(),
        partitions: it.partitions,
        shape: record::Shape { mode, key_pointer: key_pointer.transpose()? },
        rate,
        from: it.from,
    })
}

/// Waits for a signal, then asks for the end.
fn interrupted(stop: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let heard = runtime.and_then(|it| it.block_on(tokio::signal::ctrl_c()));
    match heard {
        Ok(()) => stop.store(true, Relaxed),
        Err(why) => tracing::warn!(%why, "signals cannot be heard; Ctrl-C ends without a word"),
    }
}

fn tell(word: &Word, progress: &file::Progress) {
    let (read, all) = (progress.bytes.load(Relaxed), progress.bytes_total.load(Relaxed));
    let share = if all > 0 {
        format!("  {:.0} % read", read as f64 / all as f64 * 1e2)
    } else {
        String::new()
    };
    eprintln!(
        "{:>5}s  {:>9} acknowledged  {:>8.0}/s  {} under way{share}  next line {}",
        word.passed.as_secs(),
        word.acknowledged,
        word.per_s,
        word.under_way,
        word.next_line,
    );
}

fn print(it: &Produce, outcome: &Outcome) -> Result<(), Report> {
    let mut out = Out::default();
    if it.json {
        let text = serde_json::to_string(outcome).map_err(|why| Report {
            code: "commands/output",
            what: "could not write what came out".into(),
            at: vec![("to", "standard output".into())],
            why: why.to_string(),
            effect: "what was acknowledged is kept".into(),
            fix: "leave `--json` out, and report it".into(),
        })?;
        out.line(text)?;
    } else {
        let Outcome { acknowledged, skipped, unkeyed, next_line, run_s, records_per_s, .. } =
            outcome;
        out.line(format!(
            "{acknowledged} records acknowledged in {run_s:.2} s ({records_per_s:.0}/s); \
             {unkeyed} without a key, {skipped} empty lines; next line: {next_line}"
        ))?;
    }
    out.end()
}

fn not_whole(outcome: &Outcome) -> Report {
    Report {
        code: "produce/interrupted",
        what: "could not send the whole input: told to end".into(),
        at: vec![("line", outcome.next_line.to_string())],
        why: "a signal".into(),
        effect: "the lines before it are kept; of those after it some may be there".into(),
        fix: format!("go on with `--from {}`", outcome.next_line),
    }
}

fn thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, Report> {
    let started = std::thread::Builder::new().name(name.into()).spawn(work);
    started.map_err(|why| Report {
        code: "ingest/no-thread",
        what: "could not start a thread".into(),
        at: vec![("thread", name.into())],
        why: why.to_string(),
        effect: "nothing was sent".into(),
        fix: "let this user have more threads, then do it again".into(),
    })
}
