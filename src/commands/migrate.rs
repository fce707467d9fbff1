//! `millstream migrate`: makes or changes the tables of ClickHouse, as far as they lack.

use super::Problems;
use super::chosen::{Chosen, wrong_flag};
use super::out::Out;
use super::typed::{self, Migrate};
use crate::config::clickhouse::{A_NAME, A_URL, is_name, is_url};
use crate::config::sinks::To;
use crate::config::{ClickHouseSettings, Password, Settings, SinkSettings};
use crate::report::Report;
use crate::sinks::clickhouse::{Server, Told, migrate};

/// Plans, says what is to be done, and does it.
pub fn main(it: &Migrate, chosen: &Chosen) -> Result<(), Problems> {
    let settings = settings(&it.server, chosen)?;
    let one = |it: Report| vec![it];
    let told = |it: Told| vec![it.report(&settings)];
    let runtime = runtime().map_err(one)?;
    let server = Server::connect(&settings).map_err(told)?;
    let plan = runtime.block_on(migrate::plan(&server)).map_err(told)?;
    let mut out = Out::default();
    let said = |told: Result<super::out::Reader, Report>| told.map(drop).map_err(one);
    if plan.is_empty() {
        let words = format!("the database {} has every migration", settings.database);
        said(out.line(words))?;
        return out.end().map_err(one);
    }
    if it.dry_run {
        for step in &plan {
            said(out.line(format!("-- {}\n", step.name)))?;
            for it in &step.statements {
                said(out.line(format!("{it};\n")))?;
            }
        }
        return out.end().map_err(one);
    }
    let mut names = Vec::new();
    let mut tell = |step: &migrate::Step| names.push(step.name);
    let done = runtime.block_on(migrate::apply(&server, &plan, &mut tell));
    for name in names {
        said(out.line(name))?;
    }
    out.end().map_err(one)?;
    done.map_err(told)
}

/// The settings of the sink that is meant, with what was typed over them.
pub(super) fn settings(
    it: &typed::ClickHouse,
    chosen: &Chosen,
) -> Result<ClickHouseSettings, Problems> {
    let first = named(&chosen.settings(&[], &[])?, it.sink.as_deref())?;
    let mut settings = first.map(|it| it.1).unwrap_or_default();
    let typed = [(&it.url, &mut settings.url), (&it.user, &mut settings.user)];
    for (said, setting) in typed.into_iter().chain([(&it.database, &mut settings.database)]) {
        if let Some(said) = said {
            setting.clone_from(said);
        }
    }
    if let Some(path) = &it.password_file {
        settings.password = Some(Password::File(path.clone()));
    }
    settings.ca_file = it.ca_file.clone().or(settings.ca_file);
    if !is_url(&settings.url) && !settings.url.is_empty() {
        return Err(wrong_flag("--url", A_URL, &format!("{:?}", settings.url)));
    }
    if !is_name(&settings.database) {
        return Err(wrong_flag("--database", A_NAME, &format!("{:?}", settings.database)));
    }
    if !settings.url.is_empty() {
        return Ok(settings);
    }
    Err(vec![no_clickhouse()])
}

/// The sink of that kind that is meant: of this name, or the only one.
pub(super) fn named(
    settings: &Settings,
    name: Option<&str>,
) -> Result<Option<(String, ClickHouseSettings)>, Problems> {
    let meant = |sink: &&SinkSettings| name.is_none_or(|name| name == sink.name);
    let of_it = |sink: &SinkSettings| match &sink.to {
        To::ClickHouse(to) => Some((sink.name.clone(), to.clone())),
        To::Jsonl(_) => None,
    };
    let mut all = settings.sinks.iter().filter(meant).filter_map(of_it);
    let first = all.next();
    if let (Some((first, _)), Some((second, _))) = (&first, all.next()) {
        let (expected, found) = ("one of the sinks by its name", format!("{first} and {second}"));
        return Err(wrong_flag("--sink", expected, &found));
    }
    Ok(first)
}

/// There is none.
pub(super) fn no_clickhouse() -> Report {
    Report {
        code: "commands/no-clickhouse",
        what: "cannot reach a ClickHouse: none is named".into(),
        at: vec![("setting", "[sinks.NAME]".into())],
        why: "expected a sink with kind = \"clickhouse\", or --url; found neither".into(),
        effect: "nothing was done".into(),
        fix: "name one; `scripts/clickhouse start` gives one to try".into(),
    }
}

/// What asks and waits.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Report> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|why| crate::tasks::could_not_start(("runtime", "command"), &why))
}
