//! A text that could not be made of a row is told, not only kept.
//!
//! # Meaning
//! The message itself is in the view, suppressed with reason [`TEMPLATE`] and why: it is counted
//! there, once, like every other. It is no reject, for those are records that were read. Who watches
//! the log sees it too: the first, second, fourth, eighth… of a rule.

use std::collections::BTreeMap;

use super::intent::Intent;
use super::rule::Rule;
use crate::report::{Report, log_report};

/// Why such a message is not sent.
pub(super) const TEMPLATE: &str = "template";

/// How often that was, by rule.
#[derive(Debug, Default)]
pub(super) struct Unsaid(BTreeMap<String, u64>);

impl Unsaid {
    /// Tells of a message that was decided, if it is one of these.
    pub(super) fn tell(&mut self, rule: &Rule, it: &Intent) {
        if it.suppressed != Some(TEMPLATE) {
            return;
        }
        let n = self.0.entry(rule.settings.name.clone()).or_default();
        *n += 1;
        if n.is_power_of_two() {
            log_report!(warn, report(rule, it), times = *n, "a text could not be said");
        }
    }
}

fn report(rule: &Rule, it: &Intent) -> Report {
    let name = &rule.settings.name;
    let key = it.subject.key();
    Report {
        code: "notify/template",
        what: "could not say of a row what a rule wants said".into(),
        at: vec![
            ("rule", name.clone()),
            ("view", rule.def.name.into()),
            ("row", key.into()),
            ("message", it.id.clone()),
        ],
        why: it.reason.clone(),
        effect: "nothing of it is sent; the message is kept as suppressed, with this reason".into(),
        fix: format!(
            "correct the text, look at it with `millstream rules preview --rule {name}` (`--key` \
             names the row), then `millstream rules reload`"
        ),
    }
}
