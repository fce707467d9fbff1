//! From what was typed to what is needed: settings out of file, variables and flags.

use std::path::{Path, PathBuf};

use super::Problems;
use super::check::mapping_problems;
use super::typed;
use crate::config::{self, Settings, Sources};
use crate::report::Report;

/// The file that is read if nobody names one.
const FILE: &str = "millstream.toml";

/// What was typed for every command, and the process's variables.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Flags of every command.
    pub common: typed::Common,
    /// The process's variables.
    pub variables: Vec<(String, String)>,
}

/// A flag of its own for a setting: flag, setting, value if it was typed.
type Short<'a> = (&'a str, &'a str, Option<String>);

impl Chosen {
    /// The same with more settings, over those of `--set`.
    pub fn with(&self, more: &[String]) -> Chosen {
        let mut other = self.clone();
        other.common.overrides.extend(more.iter().cloned());
        other
    }

    /// The settings, with these flags over the others.
    pub fn settings(&self, short: &[Short<'_>], feeds: &[String]) -> Result<Settings, Problems> {
        let (settings, problems) = self.read(short, feeds)?;
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The settings as far as they were understood, and every problem.
    pub fn read(
        &self,
        short: &[Short<'_>],
        feeds: &[String],
    ) -> Result<(Settings, Problems), Problems> {
        let mut sources = Sources {
            file: self.file()?,
            variables: self.variables.clone(),
            feeds: feeds.to_vec(),
            views: Some(view_names),
            ..Sources::default()
        };
        let mut problems = Vec::new();
        for said in &self.common.overrides {
            match said.split_once('=') {
                Some((name, value)) => {
                    sources.flags.push(("--set".into(), name.trim().into(), value.into()));
                }
                None => problems.push(Report {
                    code: "config/value",
                    what: "cannot use the value of a setting".into(),
                    at: vec![("flag", "--set".into())],
                    why: format!("expected `section.key=value`, found {said:?}"),
                    effect: "nothing was started; no data was touched".into(),
                    fix: "write it as in `--set engine.workers=2`".into(),
                }),
            }
        }
        for (flag, setting, value) in short {
            if let Some(value) = value {
                sources.flags.push(((*flag).into(), (*setting).into(), value.clone()));
            }
        }
        let (settings, more) = config::read(&sources);
        problems.extend(more.iter().map(config::ConfigProblem::report));
        Ok((settings, problems))
    }

    /// The file that is read, with its text.
    pub fn file(&self) -> Result<Option<(PathBuf, String)>, Problems> {
        let (path, asked) = match &self.common.config {
            Some(path) => (path.as_path(), true),
            None => (Path::new(FILE), false),
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some((path.to_path_buf(), text))),
            Err(why) if !asked && why.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(vec![Report {
                code: "config/file",
                what: "could not read the settings file".into(),
                at: vec![("file", path.display().to_string())],
                why: why.to_string(),
                effect: "nothing was started; no data was touched".into(),
                fix: "name another with --config, or make it readable; \
                      `millstream check --example` prints one"
                    .into(),
            }]),
        }
    }

    /// For `run`.
    pub fn run(&self, it: &typed::Run) -> Result<Settings, Problems> {
        let short = [
            ("--data-dir", "data_dir", it.data_dir.clone()),
            ("--listen", "serve.listen", it.listen.clone()),
            ("--workers", "engine.workers", it.workers.clone()),
        ];
        let settings = self.settings(&short, &it.feeds)?;
        let of_files = settings.feeds.iter().filter_map(|it| it.mapping.as_ref());
        let of_topics = settings.kafka.iter().filter_map(|it| it.mapping.as_ref());
        // All of them before anything is started.
        let problems = mapping_problems(of_files.chain(of_topics));
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// For `demo`: its data folder is its own, so that no made-up event enters a real log.
    pub fn demo(&self, it: &typed::Demo) -> Result<Settings, Problems> {
        let short = [
            ("--data-dir", "data_dir", Some(it.data_dir.display().to_string())),
            ("--listen", "serve.listen", it.listen.clone()),
            ("--workers", "engine.workers", it.workers.clone()),
        ];
        let mut settings = self.settings(&short, &[])?;
        settings.feeds.clear();
        settings.kafka.clear();
        Ok(settings)
    }

    /// For commands that look into a data folder.
    pub fn folder(&self, it: &typed::Folder) -> Result<Settings, Problems> {
        self.settings(&[("--data-dir", "data_dir", it.data_dir.clone())], &[])
    }
}

/// An instant that was typed, in milliseconds.
pub fn instant_ms(flag: &'static str, text: &str, or: &str) -> Result<u64, Problems> {
    let micros = schemas::time::parse_rfc3339(text);
    micros
        .and_then(|it| u64::try_from(it / 1_000).ok())
        .ok_or_else(|| {
            let expected = format!("{or}an instant such as 2026-01-01T00:00:00Z");
            wrong_flag(flag, &expected, &format!("{text:?}")).remove(0)
        })
        .map_err(|it| vec![it])
}

/// The rates that can be asked for, a second.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1e9;

/// The rate that was typed, if it is one.
pub fn rate(typed: Option<f64>) -> Result<Option<f64>, Problems> {
    match typed {
        Some(rate) if !RATES.contains(&rate) => {
            Err(wrong_flag("--rate", "a number from 0.001 to 1000000000", &rate.to_string()))
        }
        rate => Ok(rate),
    }
}

/// The value of a flag is not one that it can have.
pub fn wrong_flag(flag: &'static str, expected: &str, found: &str) -> Problems {
    vec![Report {
        code: "commands/flag",
        what: "cannot use the value of a flag".into(),
        at: vec![("flag", flag.into())],
        why: format!("expected {expected}, found {found}"),
        effect: "nothing was started; no data was touched".into(),
        fix: "correct it; `--help` shows an example".into(),
    }]
}

fn view_names() -> Vec<&'static str> {
    crate::engine::definitions().iter().map(|it| it.name).collect()
}
