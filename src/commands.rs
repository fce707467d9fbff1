//! One file per command of the command line, and what happens at the door.
//!
//! In: words and variables. Out: an exit code: 0 done, 1 a problem was told on standard error,
//! 2 it was not a command line.
//!
//! What was typed ([`typed`]) becomes what is needed ([`chosen`]) before anything is done.

pub mod ask; // asking the running process over its loopback routes
pub mod backup; // a copy of everything durable, and back
pub mod channels; // how channels stand, and what is done about them
pub mod check; // settings and mappings: every problem at once
pub mod chosen; // from what was typed to what is needed
pub mod demo; // the generator and everything else in one process
pub mod erasure; // what was done about customers who were erased
pub mod eval; // what would have been done, on recorded events
pub mod feed; // where the feeds stand, and where a topic is to begin
pub mod folder; // a data folder that no process has open
pub mod generate; // generated events on standard output
pub mod log; // looking into the embedded log
pub mod map; // what becomes of the first records of a file
pub mod produce; // a file's lines into a Kafka topic
pub mod model; // learning from one's own texts, and what a model says
pub mod migrate; // the tables of ClickHouse
pub mod notifications; // which messages there are, and what is done about them
pub mod out; // standard output that may be a closed pipe
pub mod replay; // a file through the whole path, and what it made of it
pub mod run; // everything, until told to stop
pub mod rejects; // looking at kept rejects, trying them again
pub mod rules; // what rules would have said, and why
pub mod sinks; // how sinks stand, and what is done about them
pub mod state; // looking into what is kept of every entity
pub mod schema; // what events may say
pub mod sql; // statements over the live views
pub mod verify; // whether ClickHouse has what is served; filling it anew
pub mod typed; // what a person may type

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::report::Report;
use chosen::Chosen;
use typed::{Command, Typed};

/// Everything that went wrong; more than one for settings and mappings.
pub type Problems = Vec<Report>;

/// A command line, from words to exit code.
pub fn main(
    words: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let typed = match Typed::try_parse_from(words) {
        Ok(typed) => typed,
        Err(said) => {
            // Help and version are errors to clap; printing them can only fail on a closed pipe.
            let printed = said.print();
            let usage = said.exit_code() != 0 || printed.is_err();
            return if usage { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let text = |it: OsString| it.to_string_lossy().into_owned();
    let variables = variables.into_iter().map(|it| (text(it.0), text(it.1))).collect();
    let json = matches!(&typed.command, Command::Check(it) if it.json);
    if typed.common.log_format == typed::LogFormat::Json {
        crate::report::lines_are_json();
    }
    match obey(typed, variables) {
        Ok(code) => code,
        // `check --json` has told them on standard output.
        Err(_) if json => ExitCode::FAILURE,
        Err(problems) => {
            problems.iter().for_each(Report::tell_fatal);
            ExitCode::FAILURE
        }
    }
}

fn obey(typed: Typed, variables: Vec<(String, String)>) -> Result<ExitCode, Problems> {
    let Typed { common, command } = typed;
    start_log(&common)?;
    let chosen = Chosen { common, variables };
    let one = |it: Report| vec![it];
    let done = match command {
        Command::Check(it) => check::main(&it, &chosen),
        Command::Generate(it) => generate::main(&it),
        Command::Eval { what } => eval::main(&what, &chosen),
        Command::Schema { what } => schema::main(&what).map_err(one),
        Command::Map(it) => map::main(&it, &chosen),
        Command::Log { what } => log::main(&what, &chosen),
        Command::State { what } => state::main(&what, &chosen),
        Command::Erasure(what) => erasure::main(&what, &chosen),
        Command::Backup(it) => backup::main(&it, &chosen),
        Command::Restore(it) => backup::restore(&it, &chosen),
        Command::Feed { what } => feed::main(&what, &chosen),
        Command::Rejects { what } => rejects::main(&what, &chosen),
        Command::Rules { what } => rules::main(&what, &chosen),
        Command::Notifications { what } => notifications::main(&what, &chosen),
        Command::Sinks { what } => sinks::main(&what, &chosen),
        Command::Channels { what } => channels::main(&what, &chosen),
        Command::Sql(it) => sql::main(&it, &chosen),
        Command::Model { what } => model::main(&what, &chosen),
        Command::Migrate(it) => migrate::main(&it, &chosen),
        Command::Verify(it) => verify::main(&it, &chosen),
        Command::Rebuild(it) => verify::rebuild(&it, &chosen),
        Command::Produce(it) => produce::main(&it, &chosen),
        Command::Replay(it) => {
            let (replay, settings) = replay::chosen(&it, &chosen)?;
            replay::main(&replay, settings).map_err(one)
        }
        Command::Run(it) if it.supervise => return run::supervised(chosen.run(&it)?).map_err(one),
        Command::Run(it) => run::main(chosen.run(&it)?, &it, &chosen).map_err(one),
        Command::Demo(it) => demo::main(&it, chosen.demo(&it)?).map_err(one),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Log lines go to standard error, one a problem, where it is handled.
fn start_log(common: &typed::Common) -> Result<(), Problems> {
    use std::io::IsTerminal;
    let refused = |why: &str| {
        vec![Report {
            code: "commands/log-level",
            what: "cannot use the log level".into(),
            at: vec![("flag", "--log-level".into())],
            why: format!(
                "expected a level (error, warn, info, debug, trace) or directives such as \
                 \"info,millstream::serve=debug\", found {:?}: {why}",
                common.log_level
            ),
            effect: "nothing was started; no data was touched".into(),
            fix: "name a level, or leave the flag away".into(),
        }]
    };
    // A word that is no level would be taken for a target, and everything else be silent.
    let is_level = |it: &str| it == "off" || it.parse::<tracing::Level>().is_ok();
    let is_known =
        |it: &str| it.is_empty() || it.contains(['=', '[']) || it.contains("::") || is_level(it);
    if let Some(it) = common.log_level.split(',').map(str::trim).find(|it| !is_known(it)) {
        return Err(refused(&format!("{it:?} is no level")));
    }
    let filter = tracing_subscriber::EnvFilter::try_new(&common.log_level)
        .map_err(|why| refused(&why.to_string()))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second subscriber in one process is a test's; the first one stands.
    let started = match common.log_format {
        typed::LogFormat::Text => lines.try_init(),
        typed::LogFormat::Json => lines.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("log lines are already written by someone else");
    }
    Ok(())
}
