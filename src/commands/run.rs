//! `millstream run`: everything, until told to stop; with a parent that starts it again, if asked.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::chosen::Chosen;
use super::typed;
use crate::config::Settings;
use crate::report::Report;
use crate::run::{self, Plan, Rebuild, Reread};
use crate::segments;
use crate::store;
use crate::supervise::notes::Told;
use crate::supervise::{self, Supervised};

/// Runs until SIGINT or SIGTERM, then ends cleanly.
pub fn main(settings: Settings, typed: &typed::Run, chosen: &Chosen) -> Result<(), Report> {
    run::end_on_panic();
    // What was to be built again has been, by the process before.
    let again = typed.supervised.as_ref().is_some_and(|it| it.restarts > 0);
    let rebuild = if again { &[][..] } else { &typed.rebuild };
    let rebuild = Rebuild {
        all: rebuild.iter().any(String::is_empty),
        views: rebuild.iter().filter(|it| !it.is_empty()).cloned().collect(),
        accept_incomplete: typed.accept_incomplete,
    };
    let (again, as_typed) = (chosen.clone(), typed.clone());
    let reread = Reread(Some(Arc::new(move || again.run(&as_typed))));
    let plan = Plan { rebuild, reread, told: typed.supervised.clone(), ..Plan::of(&settings) };
    let running = run::start(settings, plan)?;
    run::tell_address(&running);
    running.until_told();
    running.stop_in_time()
}

/// What a parent has told us.
pub fn told(text: &str) -> Result<Told, String> {
    serde_json::from_str(text).map_err(|why| why.to_string())
}

/// Runs it in a process of its own, again and again.
pub fn supervised(settings: Settings) -> Result<ExitCode, Report> {
    let cannot = |why: String| Report {
        code: "supervise/start",
        what: "could not start the process".into(),
        at: vec![],
        why,
        effect: "nothing was started; no data was touched".into(),
        fix: "start without --supervise".into(),
    };
    if let Some(it) = settings.feeds.iter().find(|it| it.path.as_os_str() == "-") {
        let why = format!("feed {} is standard input, which cannot be read again", it.name);
        return Err(cannot(why));
    }
    let words = std::env::args_os().skip(1).filter(|it| it != "--supervise");
    let dir = settings.data_dir.clone();
    segments::make_dir(&dir).map_err(|why| cannot(why.to_string()))?;
    let it = Supervised {
        program: std::env::current_exe().map_err(|why| cannot(why.to_string()))?,
        words: words.collect(),
        stall_after: settings.engine.stall_after,
        lines: Box::new(move || store::lines(&dir)),
        data_dir: settings.data_dir,
    };
    let told = supervise::Signalled::default();
    let (end, hangup) = (told.clone(), told.clone());
    let listening = run::listen_for_signals(
        move || end.end.store(true, SeqCst),
        move || hangup.hangup.store(true, SeqCst),
    )?;
    let code = supervise::run(&it, &told)?;
    drop(listening);
    Ok(ExitCode::from(code))
}
