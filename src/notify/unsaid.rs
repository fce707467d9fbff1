//! A text that could not be made of a row is told, and kept among the rejects.
//!
//! # Meaning
//! The message itself is in the view, suppressed with reason [`TEMPLATE`] and why: it is counted
//! there, once, like every other. Of the first, second, fourth, eighth… of a rule since the process
//! began there is a report in the log of the process, and a reject with the same words beside what
//! planned it: a rule that fails for every row of a storm pushes out no other reject.

use std::collections::BTreeMap;

use schemas::problem::Problem;

use super::intent::Intent;
use super::rule::Rule;
use crate::messages::UNSAID;
use crate::report::{Report, log_report};

/// Why such a message is not sent.
pub(super) const TEMPLATE: &str = "template";

/// How often that was, by rule.
#[derive(Debug, Default)]
pub(super) struct Unsaid(BTreeMap<String, u64>);

impl Unsaid {
    /// Tells of a message that was decided, if it is one of these; what a reject of it says, if there is
    /// to be one.
    pub(super) fn tell(&mut self, rule: &Rule, it: &Intent) -> Option<Problem> {
        if it.suppressed != Some(TEMPLATE) {
            return None;
        }
        let n = self.0.entry(rule.settings.name.clone()).or_default();
        *n += 1;
        n.is_power_of_two().then(|| {
            log_report!(warn, report(rule, it), times = *n, "a text could not be said");
            Problem {
                code: UNSAID,
                pointer: "/data/text".into(),
                expected: format!("what rule {:?} says of a row", rule.settings.name),
                found: it.reason.clone(),
            }
        })
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
        effect:
            "nothing of it is sent; the message is kept as suppressed, with this reason, and the \
                 first, second, fourth, eighth… of the rule among the rejects"
                .into(),
        fix: format!(
            "correct the text, look at it with `millstream rules preview --rule {name}` (`--key` \
             names the row), then `millstream rules reload`"
        ),
    }
}
