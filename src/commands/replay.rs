//! `millstream replay`: a file through the whole path as fast as it goes, then what it made of it.
//!
//! # Meaning
//! The same rooms as `run`: read, decode (through the mapping), deduplicate, fold in the served
//! maps, relate, publish. Durable is nothing: state is a function of the file. The digest of a
//! view is the first 16 hex digits of the SHA-256 of its rows as JSON lines (tenant first),
//! sorted bytewise, joined by newlines.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use schemas::reading::{Gone, ViewReader};
use schemas::rows::Row;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::commands::check::mapping_problems;
use crate::commands::chosen::{Chosen, instant_ms, rate};
use crate::commands::out::Out;
use crate::commands::{Problems, rejects, typed};
use crate::config::kafka::Start;
use crate::config::{KafkaSettings, Settings};
use crate::ingest::file::Progress;
use crate::ledger::EpochTimes;
use crate::report::Report;
use crate::run::{self, Ended, Passed, Plan, Rebuild, Reread, Resolver, Source};
use crate::{tasks, usage};

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Replay {
    /// A file, a folder, or `-`; nothing if topics are read.
    pub input: Option<PathBuf>,
    /// Topics to read, to the end that they have at the start.
    pub kafka: Option<KafkaSettings>,
    /// A mapping file; native CloudEvents if absent.
    pub mapping: Option<PathBuf>,
    /// Where the epoch's time comes from.
    pub clock: Clock,
    /// How often the input is read: ids suffixed and times moved a day on, entities kept.
    pub repeat: u32,
    /// Events a second, sent by the clock whatever the engine does; as fast as it goes if absent.
    pub rate: Option<f64>,
    /// Keep the state in this folder, as `run` does; in memory only if absent.
    pub state: Option<PathBuf>,
    /// A folder of models that were published, which speak of texts and of when orders arrive.
    pub models: Option<PathBuf>,
    /// Where it has none that say when orders arrive: whether models are sealed at the midnights
    /// that the events pass ([`Clock::Event`] only).
    pub seals: bool,
    /// Where to write every view's rows, `<view>.jsonl`.
    pub rows_out: Option<PathBuf>,
    /// Serve HTTP meanwhile.
    pub serve: bool,
    /// Serve HTTP afterwards too, until interrupted.
    pub stay: bool,
    /// One JSON document instead of lines for people.
    pub json: bool,
}

/// Where the epoch's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The newest event time read.
    Event,
    /// The system's.
    Wall,
    /// Exactly this instant at the end, milliseconds since the Unix epoch.
    Instant(u64),
}

/// What came out; `--json` prints it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Records read.
    pub events: u64,
    /// Where they ended.
    pub counts: crate::messages::Counts,
    /// Of the rejected the first that was kept, as `millstream rejects show --json` tells it.
    pub first_reject: Option<serde_json::Value>,
    /// Workers.
    pub workers: usize,
    /// Seconds from the first read to the last epoch complete.
    pub run_s: f64,
    /// Records a second.
    pub events_per_s: f64,
    /// CPU seconds of the whole process per million records.
    pub cpu_s_per_million: f64,
    /// Peak resident memory, MB (10^6 bytes).
    pub peak_mb: f64,
    /// From the seal of an epoch to its completion.
    pub epoch_ms: Percentiles,
    /// Paced only: from the instant a record was due to the instant it was readable.
    pub latency_ms: Option<Percentiles>,
    /// The instant of the views.
    pub now_ms: u64,
    /// Models of arrival that were sealed at midnights passed; none where that is not done.
    pub arrivals: Option<Passed>,
    /// Rows and digest per view.
    pub views: BTreeMap<&'static str, ViewOutcome>,
}

/// Two percentiles.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// One view, at the end.
#[derive(Debug, Serialize)]
pub struct ViewOutcome {
    /// Rows.
    pub rows: u64,
    /// Digest of the rows.
    pub digest: String,
}

/// From what was typed to what is replayed, with which settings.
pub fn chosen(it: &typed::Replay, chosen: &Chosen) -> Result<(Replay, Settings), Problems> {
    let short = [
        ("--listen", "serve.listen", it.listen.clone()),
        ("--workers", "engine.workers", it.workers.clone()),
        ("--views", "engine.views", it.views.clone()),
    ];
    let clock = match it.clock.as_str() {
        "event" => Clock::Event,
        "wall" => Clock::Wall,
        text => Clock::Instant(instant_ms("--clock", text, "event, wall, or ")?),
    };
    let replay = Replay {
        input: it.input.clone(),
        kafka: kafka(it),
        mapping: it.mapping.clone(),
        clock,
        repeat: it.repeat,
        rate: rate(it.rate)?,
        state: it.state.clone(),
        models: it.models.clone(),
        seals: true,
        rows_out: it.rows_out.clone(),
        serve: it.serve,
        stay: it.stay,
        json: it.json,
    };
    let settings = chosen.settings(&short, &[])?;
    let problems = mapping_problems(&replay.mapping);
    if problems.is_empty() { Ok((replay, settings)) } else { Err(problems) }
}

/// The topics that were typed.
fn kafka(it: &typed::Replay) -> Option<KafkaSettings> {
    let brokers = it.brokers.as_ref()?;
    Some(KafkaSettings {
        name: "replay".into(),
        brokers: brokers.split(',').map(str::to_string).collect(),
        topics: it.topics.clone(),
        pattern: None,
        mapping: it.mapping.clone(),
        start: Start::Earliest,
        group: "millstream-replay".into(),
        tls: None,
        sasl: None,
        librdkafka: Vec::new(),
    })
}

/// Replays, prints, and (if asked) stays to serve.
pub fn main(replay: &Replay, settings: Settings) -> Result<(), Report> {
    run::end_on_panic();
    let (outcome, ended) = run(replay, settings)?;
    let text = if replay.json {
        serde_json::to_string(&outcome).map_err(|it| output("standard output", &it.to_string()))?
    } else {
        outcome.to_string() + &why_rejected(replay, &outcome)
    };
    let mut out = Out::default();
    out.line(text)?;
    out.end()?;
    if replay.stay { ended.stay() } else { ended.stop() }
}

/// The first that was rejected, and what shows the others.
fn why_rejected(replay: &Replay, outcome: &Outcome) -> String {
    let Some(first) = &outcome.first_reject else { return String::new() };
    let mapping = replay.mapping.iter().map(|it| format!(" --mapping {}", it.display()));
    let shown = replay.input.iter().map(|input| {
        let mapping: String = mapping.clone().collect();
        format!(
            "\n  `millstream map --input {}{mapping}` shows what becomes of its records",
            input.display()
        )
    });
    let (first, shown): (String, String) = (rejects::line(first), shown.collect());
    format!("\n  the first that was rejected: {}{shown}", first.trim_start())
}

/// How often a long replay says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Says how far it is, a line a second, for those who sit before a terminal.
fn tell_progress(reading: &[Arc<Progress>], ended: &AtomicBool) {
    while !ended.load(Relaxed) {
        std::thread::park_timeout(TOLD_EVERY);
        let Some(it) = reading.iter().find(|it| !it.done.load(Relaxed)) else { continue };
        let (read, all) = (it.bytes.load(Relaxed), it.bytes_total.load(Relaxed));
        let share = (all > 0).then(|| format!("  {:.0} % read", read as f64 / all as f64 * 1e2));
        if !ended.load(Relaxed) {
            eprintln!("{:>11} records{}", it.records.load(Relaxed), share.unwrap_or_default());
        }
    }
}

/// Replays and says what came out.
pub fn run(replay: &Replay, settings: Settings) -> Result<(Outcome, Ended), Report> {
    let workers = settings.engine.workers;
    let plan = Plan {
        log: false,
        sources: replay
            .input
            .iter()
            .map(|input| Source {
                name: "replay".into(),
                path: input.clone(),
                mapping: replay.mapping.clone(),
                repeat: replay.repeat,
                rate: replay.rate,
            })
            .collect(),
        kafka: replay.kafka.iter().cloned().collect(),
        state: replay.state.clone(),
        models: replay.models.clone(),
        seals: replay.seals,
        rebuild: Rebuild::default(),
        until_end: true,
        sinks: Vec::new(),
        resolver: Resolver::default(),
        reread: Reread::default(),
        told: None,
        clock: replay.clock,
        serve: replay.serve || replay.stay,
    };
    let cpu = usage::cpu_seconds();
    let started = crate::clock::monotonic();
    let running = run::start(settings, plan)?;
    run::tell_address(&running);
    let reading = running.progress();
    let is_over = Arc::new(AtomicBool::new(false));
    let teller = std::io::stderr().is_terminal().then(|| {
        let (reading, is_over) = (running.progress(), Arc::clone(&is_over));
        tasks::thread("replay-progress", move || tell_progress(&reading, &is_over))
    });
    let ended = running.drain();
    is_over.store(true, Relaxed);
    if let Some(teller) = teller.transpose()? {
        teller.thread().unpark();
        teller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    let ended = ended?;
    let run_s = crate::clock::since(started).as_secs_f64();
    let cpu = usage::cpu_seconds() - cpu;
    let peak_mb = usage::peak_bytes() as f64 / 1e6;

    let counts = ended.book.totals();
    let times = ended.book.times();
    let at = ended.read.instants.complete();
    let mut views = BTreeMap::new();
    for view in ended.read.views.iter() {
        views.insert(view.def().name, digest(&**view, at)?);
    }
    if let Some(folder) = &replay.rows_out {
        for view in ended.read.views.iter() {
            write_rows(&**view, at, folder)?;
        }
    }
    let outcome = Outcome {
        events: counts.read,
        counts,
        first_reject: ended.first_reject()?.map(|it| it.told()),
        workers,
        run_s,
        events_per_s: counts.read as f64 / run_s,
        cpu_s_per_million: cpu / (counts.read.max(1) as f64) * 1e6,
        peak_mb,
        epoch_ms: percentiles(times.iter().map(|it| it.complete - it.sealed).collect()),
        latency_ms: replay.rate.map(|rate| {
            let from = reading.first().and_then(|it| it.paced_from.get().copied());
            latencies(&times, from.unwrap_or(started), rate)
        }),
        now_ms: at,
        arrivals: ended.passed.clone(),
        views,
    };
    Ok((outcome, ended))
}

fn percentiles(mut durations: Vec<Duration>) -> Percentiles {
    durations.sort_unstable();
    let at = |share: f64| {
        let last = durations.len().saturating_sub(1);
        durations.get((last as f64 * share) as usize).map_or(0.0, |it| it.as_secs_f64() * 1e3)
    };
    Percentiles { p50: at(0.5), p99: at(0.99) }
}

/// From the instant at which each record was due to the completion of its epoch. Every tenth
/// record stands for its neighbours.
fn latencies(times: &[EpochTimes], started: Instant, rate: f64) -> Percentiles {
    let mut latencies = Vec::new();
    let mut record = 0;
    for epoch in times {
        while record < epoch.records {
            let due = started + Duration::from_secs_f64(record as f64 / rate);
            latencies.push(epoch.complete.saturating_duration_since(due));
            record += 10;
        }
    }
    percentiles(latencies)
}

fn line(view: &dyn ViewReader, tenant: &str, row: &Row) -> String {
    let mut object = serde_json::Map::new();
    object.insert("tenant".into(), tenant.into());
    if let serde_json::Value::Object(fields) = view.def().to_json(row) {
        object.extend(fields);
    }
    serde_json::Value::Object(object).to_string()
}

/// Of all rows, in order: no larger than they are, for all of a view are held at once.
fn lines(view: &dyn ViewReader, at: u64) -> Result<Vec<Box<str>>, Report> {
    let mut lines = Vec::new();
    let read = view.for_each(at, &mut |name, row| {
        lines.push(line(view, name.tenant(), &row).into_boxed_str());
    });
    read.map_err(|it| gone(view.def().name, at, &it))?;
    lines.sort_unstable();
    Ok(lines)
}

/// The last instant of a view is not there any more.
pub(super) fn gone(view: &str, at: u64, gone: &Gone) -> Report {
    Report {
        code: "engine/gone",
        what: "could not read a view at its last instant".into(),
        at: vec![("view", view.into()), ("epoch", at.to_string())],
        why: format!("expected it to be kept, found that {} is the oldest", gone.oldest),
        effect: "nothing is lost: the input is as it was".into(),
        fix: "replay again; if it repeats, report it".into(),
    }
}

fn digest(view: &dyn ViewReader, at: u64) -> Result<ViewOutcome, Report> {
    let lines = lines(view, at)?;
    let mut hasher = Sha256::new();
    for (n, line) in lines.iter().enumerate() {
        if n > 0 {
            hasher.update(b"\n");
        }
        hasher.update(line.as_bytes());
    }
    let digest = hasher.finalize().iter().take(8).map(|it| format!("{it:02x}")).collect();
    Ok(ViewOutcome { rows: lines.len() as u64, digest })
}

fn write_rows(view: &dyn ViewReader, at: u64, folder: &Path) -> Result<(), Report> {
    let path = folder.join(format!("{}.jsonl", view.def().name));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        for line in lines(view, at).map_err(std::io::Error::other)? {
            writeln!(file, "{line}")?;
        }
        file.flush()
    };
    write().map_err(|it| output(&path.display().to_string(), &it.to_string()))
}

fn output(path: &str, why: &str) -> Report {
    Report {
        code: "commands/output",
        what: "could not write what came out".into(),
        at: vec![("file", path.into())],
        why: why.into(),
        effect: "the replay itself was done; nothing durable depends on it".into(),
        fix: "make room or choose another place, then replay again".into(),
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let it = self;
        writeln!(f, "{} records in {:.3} s, {} worker(s)", it.events, it.run_s, it.workers)?;
        writeln!(
            f,
            "  {:.0} records/s, {:.2} CPU-s per million, {:.0} MB at peak",
            it.events_per_s, it.cpu_s_per_million, it.peak_mb
        )?;
        writeln!(f, "  epoch p50 {:.1} ms, p99 {:.1} ms", it.epoch_ms.p50, it.epoch_ms.p99)?;
        if let Some(latency) = it.latency_ms {
            writeln!(f, "  due to readable p50 {:.1} ms, p99 {:.1} ms", latency.p50, latency.p99)?;
        }
        if let Some(passed) = it.arrivals.as_ref().filter(|it| it.cuts > 0) {
            writeln!(
                f,
                "  {} models of arrival sealed at {} midnights, for which reading waited {:.1} s",
                passed.sealed, passed.cuts, passed.waited_s
            )?;
        }
        let c = &it.counts;
        writeln!(
            f,
            "  applied {} (late {}), duplicate {}, skipped {}, rejected {}",
            c.applied, c.late, c.duplicate, c.skipped, c.rejected
        )?;
        write!(f, "  {:<18} {:>10}  digest", "view", "rows")?;
        for (name, view) in &it.views {
            write!(f, "\n  {name:<18} {:>10}  {}", view.rows, view.digest)?;
        }
        Ok(())
    }
}
