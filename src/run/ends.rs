//! How threads end, well or not, and what is said of it.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::report::Report;
use crate::supervise::notes;

/// Where a parent finds what we said when we went down.
static LAST_WORDS: OnceLock<PathBuf> = OnceLock::new();

/// From now on a panic is also told there.
pub(super) fn last_words_to(data_dir: PathBuf) {
    LAST_WORDS.get_or_init(|| data_dir);
}

pub(super) fn joined(
    name: &str,
    ended: std::thread::Result<Result<(), Report>>,
) -> Result<(), Report> {
    ended.unwrap_or_else(|_| {
        Err(Report {
            code: "run/panic",
            what: "a thread panicked".into(),
            at: vec![("feed", name.into())],
            why: "its message is above".into(),
            effect: "nothing that was acknowledged is lost".into(),
            fix: "start again; if it repeats, report the message".into(),
        })
    })
}

/// Ends the process with a report when any thread panics: never half dead.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let report = Report {
            code: "run/panic",
            what: "a thread panicked; the process ends".into(),
            at: vec![
                ("thread", thread.name().unwrap_or("unnamed").to_string()),
                ("place", info.location().map_or_else(String::new, ToString::to_string)),
            ],
            why: info.payload_as_str().unwrap_or("no message").to_string(),
            effect: "nothing that was acknowledged is lost; the views are computed again from \
                     the log"
                .into(),
            fix: "start again; if it repeats, keep the log folder and report this text".into(),
        };
        let said = LAST_WORDS.get().map(|it| notes::last_words(it, &report.why));
        if let Some(Err(report)) = said {
            report.tell_fatal();
        }
        report.tell_fatal_with(Some(&std::backtrace::Backtrace::force_capture()));
        std::process::abort();
    }));
}
