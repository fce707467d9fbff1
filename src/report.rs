//! How a problem is told: what, where, why, what it did to the data, and what to do.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::{Map, Value, json};

/// A problem, told to the person who has to act on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// A stable name, `room/problem`; `docs/errors/<room>-<problem>.md` explains it.
    pub code: &'static str,
    /// What failed. Lower case, no full stop. *Could not* if it may work next time, *cannot* if
    /// it never will.
    pub what: String,
    /// Where: feed, partition, offset, file and line, setting.
    pub at: Vec<(&'static str, String)>,
    /// Why: what was expected, and what was found.
    pub why: String,
    /// What became of the data. Never empty: it is the first thing an operator asks.
    pub effect: String,
    /// What to do next; a command where there is one.
    pub fix: String,
}

impl Report {
    /// As a program reads it: a member for each part.
    pub fn as_json(&self) -> Value {
        let at: Map<String, Value> =
            self.at.iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        json!({
            "code": self.code, "what": self.what, "at": at, "why": self.why,
            "effect": self.effect, "fix": self.fix,
        })
    }

    /// Where, in one line.
    pub fn place(&self) -> String {
        let at: Vec<String> =
            self.at.iter().map(|(name, value)| format!("{name} {value}")).collect();
        at.join(", ")
    }

    /// Told last, on standard error: for people, or as one line of JSON where log lines are JSON.
    pub fn tell_fatal(&self) {
        self.tell_fatal_with(None);
    }

    /// The same, with where in the program it happened.
    pub fn tell_fatal_with(&self, backtrace: Option<&std::backtrace::Backtrace>) {
        if !LINES_ARE_JSON.load(Relaxed) {
            eprintln!("{self}");
            if let Some(it) = backtrace {
                eprintln!("{it}");
            }
            return;
        }
        let mut line = self.as_json();
        line["level"] = json!("ERROR");
        if let Some(it) = backtrace {
            line["backtrace"] = json!(it.to_string());
        }
        eprintln!("{line}");
    }
}

/// Set once, at the door.
static LINES_ARE_JSON: AtomicBool = AtomicBool::new(false);

/// From now on fatal reports are lines of JSON.
pub fn lines_are_json() {
    LINES_ARE_JSON.store(true, Relaxed);
}

/// Logs a report while the process goes on: one line, a constant message, a field for each part
/// and those that are added.
macro_rules! log_report {
    ($level:ident, $report:expr, $($name:ident = $value:expr,)* $message:literal) => {{
        let it: &$crate::report::Report = &$report;
        tracing::$level!(
            code = it.code,
            $($name = $value,)*
            what = it.what.as_str(),
            at = it.place().as_str(),
            why = it.why.as_str(),
            effect = it.effect.as_str(),
            fix = it.fix.as_str(),
            $message
        );
    }};
}

pub(crate) use log_report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error[{}]: {}", self.code, self.what)?;
        if !self.at.is_empty() {
            writeln!(f, "  at: {}", self.place())?;
        }
        writeln!(f, "  why: {}", self.why)?;
        writeln!(f, "  effect: {}", self.effect)?;
        write!(f, "  fix: {}", self.fix)
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Goal: a report that is logged is one line, with a field for each part, whatever stands in
    /// it. Method: a report with line ends in it, through the log lines of the process.
    #[test]
    fn a_logged_report_is_one_line() {
        let report = Report {
            code: "room/problem",
            what: "could not".into(),
            at: vec![("feed", "a".into()), ("offset", "7".into())],
            why: "two\nlines".into(),
            effect: "none".into(),
            fix: "nothing".into(),
        };
        let lines = Lines::default();
        let sink = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            log_report!(error, report, extra = 5, "a constant message");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            "ERROR millstream::report::tests: a constant message code=\"room/problem\" extra=5",
            r#"what="could not" at="feed a, offset 7" why="two\nlines" effect="none""#,
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(report.as_json()["at"]["offset"], "7");
    }
}
