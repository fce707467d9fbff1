//! Says on the real standard error, which no test harness captures, that a check was not made.

use std::io::Write;

/// What needs a right or a tool that is not there was skipped.
pub(crate) fn skipped(what: &str) {
    let line = format!("SKIPPED: {what}\n");
    // Nobody reads it: then nobody is misled either.
    std::io::stderr().write_all(line.as_bytes()).ok();
}
