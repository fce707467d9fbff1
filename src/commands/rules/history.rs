//! `millstream rules test`: what rules would have said over the recorded history.

use std::io::IsTerminal;
use std::time::Duration;

use schemas::time::{parse_rfc3339, rfc3339};
use serde_json::{Value, json};

use crate::commands::chosen::{Chosen, instant_ms, wrong_flag};
use crate::commands::out::Out;
use crate::commands::typed::rules::Test;
use crate::commands::{Problems, ask, folder};
use crate::config::{Settings, values};
use crate::notify::Trial;
use crate::report::Report;
use crate::run::tried::{self, Seen, Steps};

/// A stretch is at least so long, and at most a day.
const STEP_MIN: Duration = Duration::from_millis(10);
const STEP_MAX: Duration = Duration::from_secs(86_400);
/// Where nothing comes, time goes on by a minute, or in so many steps over the whole.
const IDLE_STEPS: u64 = 2_000;
const IDLE: Duration = Duration::from_secs(60);
/// How often a long history says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Tries rules on history.
pub(super) fn main(it: &Test, chosen: &Chosen) -> Result<(), Problems> {
    let (settings, rules) = super::compiled(chosen.folder(&it.folder)?, &it.rules)?;
    let steps = steps(it)?;
    let one = |it: Report| vec![it];
    if ask::running(&settings.data_dir).is_some() {
        return Err(vec![in_use(&settings)]);
    }
    let folder = folder::look(&settings).map_err(one)?;
    let log = folder.log().map_err(one)?;
    let mut trial = Trial::of(rules, usize::from(it.samples));
    let mut told = Progress::new(log.stats().n_records);
    let lived = tried::live(&settings, &log, &steps, &mut |seen| {
        told.tell(&seen);
        match seen.looks {
            true => match trial.see(seen.read, seen.last, seen.now) {
                Ok(next) => Ok(next),
                Err(_) => Err(lost(&seen)),
            },
            false => Ok(None),
        }
    });
    let lived = lived.map_err(one)?;
    let notes = notes(&settings, &log.stats(), &steps);
    let figures = json!({
        "since": instant(steps.since), "until": instant(steps.until), "records": lived.records,
        "notes": notes, "rules": trial.told(),
    });
    let mut out = Out::default();
    let text = if it.folder.json { figures.to_string() } else { shown(&figures) };
    out.line(text).map_err(one)?;
    out.end().map_err(one)
}

fn steps(it: &Test) -> Result<Steps, Problems> {
    let until = match &it.until {
        Some(text) => instant_ms("--until", text, "")?,
        None => crate::clock::wall_ms(),
    };
    let since = match (values::duration(&it.since), parse_rfc3339(&it.since)) {
        (Some(ago), _) => until.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        (None, Some(at)) => at.max(0).cast_unsigned() / 1_000,
        (None, None) => {
            let expected = "so long ago, such as 7d, or an instant such as 2026-01-01T00:00:00Z";
            return Err(wrong_flag("--since", expected, &format!("{:?}", it.since)));
        }
    };
    if since >= until {
        let expected = format!("an instant before the end, {}", instant(until));
        return Err(wrong_flag("--since", &expected, &instant(since)));
    }
    let step = values::duration(&it.step).filter(|it| (STEP_MIN..=STEP_MAX).contains(it));
    let Some(step) = step else {
        return Err(wrong_flag("--step", "a duration from 10ms to 1d", &format!("{:?}", it.step)));
    };
    let idle = IDLE.max(step).max(Duration::from_millis((until - since) / IDLE_STEPS));
    // The first step needs one before it.
    Ok(Steps { since: since.max(tried::FIRST + 1), until, step, idle })
}

/// What the history does not say.
fn notes(settings: &Settings, log: &crate::ingest::local_log::Stats, steps: &Steps) -> Vec<String> {
    let mut notes = Vec::new();
    let files = settings.feeds.iter().map(|it| it.name.as_str());
    let others: Vec<&str> = files.chain(settings.kafka.iter().map(|it| it.name.as_str())).collect();
    if !others.is_empty() {
        notes.push(format!(
            "only the embedded log is read: what these feeds brought is not in it: {}",
            others.join(", ")
        ));
    }
    if log.whole_from > 0 {
        notes.push(format!(
            "records before position {} were aged out: rows that need them are not whole",
            log.whole_from
        ));
    }
    if log.newest_ms.is_some_and(|it| it < steps.since) {
        notes.push("the newest record is older than --since: only time went on".into());
    }
    notes
}

/// How far it is, a line a second, for those who sit before a terminal.
struct Progress {
    n_records: u64,
    told: std::time::Instant,
    is_wanted: bool,
}

impl Progress {
    fn new(n_records: u64) -> Progress {
        let is_wanted = std::io::stderr().is_terminal();
        Progress { n_records, told: crate::clock::monotonic(), is_wanted }
    }

    fn tell(&mut self, seen: &Seen<'_>) {
        if !self.is_wanted || crate::clock::since(self.told) < TOLD_EVERY {
            return;
        }
        self.told = crate::clock::monotonic();
        let at = if seen.looks { instant(seen.now) } else { "before --since".into() };
        eprintln!("{:>11} of {} records  {at}", seen.records, self.n_records);
    }
}

fn shown(figures: &Value) -> String {
    let text = |it: &Value| it.as_str().unwrap_or("").to_string();
    let mut lines = vec![format!(
        "{} records; from {} to {}",
        figures["records"],
        text(&figures["since"]),
        text(&figures["until"])
    )];
    for note in figures["notes"].as_array().into_iter().flatten() {
        lines.push(format!("note: {}", text(note)));
    }
    for it in figures["rules"].as_array().into_iter().flatten() {
        let suppressed = it["suppressed"].as_object().into_iter().flatten();
        let suppressed: Vec<String> =
            suppressed.map(|(why, n)| format!("{n} suppressed ({why})")).collect();
        let n = it["raised"].as_u64().unwrap_or(0) + it["resolved"].as_u64().unwrap_or(0);
        lines.push(String::new());
        lines.push(format!(
            "{} ({} -> {}, {}): {n} message(s) about {} row(s): {} raised, {} resolved{}",
            text(&it["rule"]),
            text(&it["view"]),
            text(&it["channel"]),
            text(&it["severity"]),
            it["subjects"],
            it["raised"],
            it["resolved"],
            suppressed.iter().map(|it| format!("; {it}")).collect::<String>(),
        ));
        if it["conditions_failed"] != 0 {
            lines.push(format!(
                "  the condition could not be told {} time(s)",
                it["conditions_failed"]
            ));
        }
        if !it["busiest"].is_null() {
            let busiest = &it["busiest"];
            lines.push(format!(
                "  busiest minute: {} at {}",
                busiest["n"],
                text(&busiest["minute"])
            ));
        }
        let days = it["by_day"].as_array().into_iter().flatten();
        let days: Vec<String> =
            days.map(|it| format!("{} {}", text(&it["day"]), it["n"])).collect();
        if !days.is_empty() {
            lines.push(format!("  by day: {}", days.join(", ")));
        }
        for sample in it["samples"].as_array().into_iter().flatten() {
            lines.push(format!(
                "  {}  {}  {}  {}",
                text(&sample["at"]),
                text(&sample["about"]),
                text(&sample["is"]),
                text(&sample["text"]),
            ));
        }
    }
    lines.join("\n")
}

fn instant(ms: u64) -> String {
    rfc3339(ms.saturating_mul(1_000).min(i64::MAX as u64).cast_signed())
}

fn in_use(settings: &Settings) -> Report {
    Report {
        code: "commands/running",
        what: "cannot try rules on a log that a process is writing".into(),
        at: vec![("folder", settings.data_dir.display().to_string())],
        why: "a running process has the data folder open".into(),
        effect: "nothing was read or changed".into(),
        fix:
            "`millstream backup COPY`, then `millstream restore COPY --data-dir BESIDE`, and name \
              BESIDE with --data-dir; or end the process first"
                .into(),
    }
}

fn lost(seen: &Seen<'_>) -> Report {
    Report {
        code: "notify/lost",
        what: "could not show rules what changed".into(),
        at: vec![("instant", instant(seen.now))],
        why: "changes of that stretch are no longer kept: it was too large".into(),
        effect: "nothing was changed".into(),
        fix: "try a shorter --step, or raise engine.undo_max_bytes".into(),
    }
}
