//! Many like messages become one with a count.
//!
//! In: decisions that are new. Out: the same, those beyond the first of a window held back; and once
//! a window is over, one message that says how many there were.
//!
//! # Meaning
//! A rule with `group` speaks at once, and opens a window of so long. What it has to say of other
//! rows of the tenant until the window ends is decided too, and suppressed (reason [`GROUPED`], due
//! at the end of the window); then one message says how many those were, and opens the next
//! window. So a storm of ten thousand is two messages, and one more for each window that it lasts.
//! Corrections are not held back: of what was not sent there are none.
//!
//! # Invariants
//! A window that has something held back is told from the view at a start: by when what was held
//! back is due. Its message is named by that instant; decided twice, it is one.
//!
//! # State
//! One window a rule and tenant, at most [`WINDOWS_MAX`]; beyond, every message speaks for itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use schemas::names::Name;

use super::intent::{self, Intent, Side};
use super::rule::Rule;
use crate::config::values::show_duration;
use crate::messages::Epoch;

/// Why a message that is counted in another is not sent.
pub(super) const GROUPED: &str = "grouped";
/// What the message that counts others is about.
const ALL: &str = "*";
/// Some megabytes.
const WINDOWS_MAX: usize = 65_536;

/// The windows that are open.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By rule and tenant.
    windows: HashMap<(usize, String), Window>,
}

#[derive(Debug, Default)]
struct Window {
    end: Epoch,
    held: u64,
    /// What was held back last.
    last: String,
    /// At a start: the end of what the newest message that was sent has opened.
    sent: Epoch,
}

fn millis(it: Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

impl Groups {
    /// A message of the view, at a start: sent at an instant, or held back until one.
    pub(super) fn was(
        &mut self,
        (at, rule): (usize, &Rule),
        tenant: &str,
        (planned_ms, held_until): (u64, Option<u64>),
        text: &str,
    ) {
        let group = millis(rule.settings.group);
        if group == 0 {
            return;
        }
        let window = self.windows.entry((at, tenant.to_string())).or_default();
        match held_until {
            // Of windows with something in them the newest.
            Some(until) if until > window.end || window.held == 0 => {
                (window.end, window.held, window.last) = (until, 1, text.to_string());
            }
            Some(until) if until == window.end => {
                window.held += 1;
                window.last = text.to_string();
            }
            Some(_) => {}
            None => window.sent = window.sent.max(planned_ms.saturating_add(group)),
        }
    }

    /// All of the view was told: what is counted by a message that there is (`known`) is not counted
    /// again, and the window is the one that the newest message opened.
    pub(super) fn begin(&mut self, rules: &[Rule], known: impl Fn(&Name) -> bool) {
        for ((rule, tenant), window) in &mut self.windows {
            let is_counted =
                || known(&Name::new(tenant, &counted((*rule, &rules[*rule]), tenant, window).id));
            if window.held == 0 || is_counted() {
                *window = Window { end: window.sent, ..Window::default() };
            }
        }
    }

    /// Rules stand elsewhere now: their windows go with them.
    pub(super) fn take_over(&mut self, places: &HashMap<usize, usize>) {
        let old = std::mem::take(&mut self.windows);
        let moved = old
            .into_iter()
            .filter_map(|((rule, tenant), window)| Some(((*places.get(&rule)?, tenant), window)));
        self.windows = moved.collect();
    }

    /// Holds back what falls into a window, and opens windows.
    pub(super) fn hold(&mut self, rules: &[Rule], now: Epoch, intents: &mut Vec<Intent>) {
        let mut held = HashSet::new();
        intents.retain_mut(|it| {
            let group = millis(rules[it.rule].settings.group);
            if group == 0 || it.suppressed.is_some() {
                return true;
            }
            if let Some(corrected) = &it.corrects {
                // Decided in the same look, and held back: there is nothing to correct.
                return !held.contains(corrected);
            }
            let key = (it.rule, it.subject.tenant().to_string());
            if let Some(window) = self.windows.get_mut(&key).filter(|open| now < open.end) {
                window.held += 1;
                window.last.clone_from(&it.text);
                it.suppressed = Some(GROUPED);
                it.due = Some(micros(window.end));
                held.insert(it.id.clone());
            } else if self.windows.len() < WINDOWS_MAX {
                let end = now.saturating_add(group);
                self.windows.insert(key, Window { end, ..Window::default() });
            }
            true
        });
    }

    /// The windows that are over: one message each, if anything was held back.
    pub(super) fn over(&mut self, rules: &[Rule], now: Epoch, out: &mut Vec<Intent>) {
        self.windows.retain(|(rule, tenant), window| {
            if now < window.end {
                return true;
            }
            if window.held == 0 {
                return false;
            }
            let it = &rules[*rule];
            out.push(counted((*rule, it), tenant, window));
            let end = now.saturating_add(millis(it.settings.group));
            *window = Window { end, ..Window::default() };
            true
        });
    }

    /// When the next window with something in it is over.
    pub(super) fn next_due(&self) -> Option<Epoch> {
        self.windows.values().filter(|it| it.held > 0).map(|it| it.end).min()
    }
}

fn counted((at, rule): (usize, &Rule), tenant: &str, window: &Window) -> Intent {
    let it = &rule.settings;
    let subject = Name::new(tenant, ALL);
    let episode = schemas::time::rfc3339(micros(window.end));
    let within = show_duration(it.group);
    Intent {
        id: intent::id(&it.name, &rule.version, &subject, &episode, Side::Began),
        subject,
        rule: at,
        episode,
        text: format!("{} more within {within}; the last: {}", window.held, window.last),
        reason: format!("{} were held back until the window of {within} was over", window.held),
        corrects: None,
        suppressed: None,
        customer: None,
        due: None,
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
