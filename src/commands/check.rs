//! `millstream check`: settings and mappings, every problem at once, before anything is started.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemas::mapping::Mapping;
use serde_json::json;

use super::Problems;
use super::chosen::Chosen;
use super::out::Out;
use super::typed::Check;
use crate::config::{Settings, page, table};
use crate::engine;
use crate::ingest::kafka;
use crate::report::Report;

/// Checks, and says so.
pub fn main(it: &Check, chosen: &Chosen) -> Result<(), Problems> {
    let one = |it: Report| vec![it];
    let mut out = Out::default();
    if it.settings || it.example {
        let text = if it.settings { page::markdown() } else { page::example() };
        out.text(&text).map_err(one)?;
        return out.end().map_err(one);
    }
    let mut mappings = it.mapping.clone();
    // What wrong settings name is looked at too: one round of correcting, not two.
    let (settings, mut problems) = match chosen.read(&[], &[]) {
        Ok((settings, problems)) => (Some(settings), problems),
        Err(problems) => (None, problems),
    };
    let good = problems.is_empty();
    if let Some(settings) = &settings {
        let told = |it: &Report| it.at.contains(&("setting", "engine.views".into()));
        if !problems.iter().any(told) {
            problems.extend(engine::chosen(&settings.engine.views).err());
        }
        for feed in &settings.feeds {
            problems.extend(feed_problem(&feed.name, &feed.path));
            mappings.extend(feed.mapping.clone());
        }
        for cluster in &settings.kafka {
            problems.extend(kafka::check(cluster).err());
            mappings.extend(cluster.mapping.clone());
        }
    }
    if let Some(settings) = settings.as_ref().filter(|_| good) {
        problems.extend(crate::run::compiled_rules(settings).err().into_iter().flatten());
    }
    let settings = settings.filter(|_| good);
    mappings.sort();
    mappings.dedup();
    problems.extend(mapping_problems(&mappings));
    tell(it, settings.as_ref(), &mappings, &problems, &mut out).map_err(one)?;
    out.end().map_err(one)?;
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn tell(
    it: &Check,
    settings: Option<&Settings>,
    mappings: &[PathBuf],
    problems: &[Report],
    out: &mut Out,
) -> Result<(), Report> {
    let shown: Vec<(&str, String)> = settings
        .filter(|_| it.show)
        .map(|it| table::TABLE.iter().map(|row| (row.name, row.show(it))).collect())
        .unwrap_or_default();
    if it.json {
        let shown: serde_json::Map<_, _> =
            shown.iter().map(|(name, value)| (name.to_string(), value.clone().into())).collect();
        let problems: Vec<_> = problems.iter().map(Report::as_json).collect();
        let document =
            json!({"good": problems.is_empty(), "problems": problems, "settings": shown});
        out.line(document.to_string())?;
        return Ok(());
    }
    for (name, value) in &shown {
        out.line(format!("{name} = {value}"))?;
    }
    if let (Some(settings), true) = (settings, problems.is_empty()) {
        let n = (settings.feeds.len() + settings.kafka.len(), mappings.len());
        out.line(format!("settings are good; {} feed(s), {} mapping(s) checked", n.0, n.1))?;
    }
    Ok(())
}

fn feed_problem(name: &str, path: &Path) -> Option<Report> {
    if path == Path::new("-") {
        return None;
    }
    let why = std::fs::metadata(path).err()?;
    Some(Report {
        code: "ingest/cannot-open",
        what: "could not find what a feed is to read".into(),
        at: vec![("feed", name.into()), ("path", path.display().to_string())],
        why: why.to_string(),
        effect: "nothing was started; no data was touched".into(),
        fix: "correct the path, or put the file there before the start".into(),
    })
}

/// What is wrong with these mapping files, each looked at once.
pub fn mapping_problems<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Problems {
    let paths: BTreeSet<&PathBuf> = paths.into_iter().collect();
    paths.into_iter().flat_map(|it| load_mapping(it).err().unwrap_or_default()).collect()
}

/// Reads and compiles a mapping.
pub fn load_mapping(path: &Path) -> Result<Mapping, Problems> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| {
        vec![Report {
            code: "run/mapping",
            what: "could not read a mapping".into(),
            at: vec![("file", file.clone())],
            why: why.to_string(),
            effect: "nothing was started; no data was touched".into(),
            fix: "correct the path, or make the file readable".into(),
        }]
    })?;
    Mapping::compile(&text).map_err(|problems| {
        let told = problems.into_iter().map(|it| {
            let mut at = vec![("file", file.clone())];
            at.extend(it.line.map(|line| ("line", line.to_string())));
            if !it.at.is_empty() {
                at.push(("mapping", it.at));
            }
            Report {
                code: "run/mapping",
                what: "cannot use a mapping".into(),
                at,
                why: it.why,
                effect: "nothing was started; no data was touched".into(),
                fix: "correct it, then `millstream check --mapping FILE`; docs/mappings.md says \
                      what each key means"
                    .into(),
            }
        });
        told.collect()
    })
}
