//! How a problem is told: what, where, why, what it did to the data, and what to do.

use std::fmt;

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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error[{}]: {}", self.code, self.what)?;
        if !self.at.is_empty() {
            let at: Vec<String> =
                self.at.iter().map(|(name, value)| format!("{name} {value}")).collect();
            writeln!(f, "  at: {}", at.join(", "))?;
        }
        writeln!(f, "  why: {}", self.why)?;
        writeln!(f, "  effect: {}", self.effect)?;
        write!(f, "  fix: {}", self.fix)
    }
}

impl std::error::Error for Report {}
