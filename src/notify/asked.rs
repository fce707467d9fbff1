//! What a person has done about messages: refused ones again, planned ones not at all.
//!
//! In: [`Asked`]. Out: answers in the log, under the messages' own ids.
//!
//! # Meaning
//! Both are facts like any other answer, and the newest stands: `planned` puts a refused message
//! back under its id, `suppressed` (reason `cancelled`) ends one that waits. So the counts by state
//! still add up to the messages there are. An attempt that is on its way is not called back; what
//! came of it is then the newest answer.
//!
//! # Limits
//! [`ASKED_MAX`] messages at once, the oldest first; the answer says whether there are more.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::names::Name;
use schemas::reading::{Known, ViewReader};
use schemas::rows::{Row, Value as Field};
use schemas::scanning::Scan;
use serde_json::{Value, json};

use super::AppendFacts;
use super::intent::Answer;
use crate::messages::{AppendRefused, ReadHandle};
use crate::report::Report;

/// Most messages at once: a block of the log for each [`BLOCK`] of them.
const ASKED_MAX: usize = 10_000;
const BLOCK: usize = 256;
/// Names that an answer lists.
const LISTED: usize = 100;

/// Why a message that waited was not sent.
pub(super) const CANCELLED: &str = "cancelled";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What was refused, or cancelled, is sent after all.
    Retry,
    /// What waits is not sent.
    Cancel,
}

/// About which messages; of those that are named all.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// This one.
    pub message: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// To this channel.
    pub channel: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
}

/// Who is asked.
#[derive(Clone)]
pub struct Asking {
    pub(super) read: ReadHandle,
    pub(super) view: Arc<dyn ViewReader>,
    pub(super) append: AppendFacts,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// A message that was found.
struct Found {
    planned_at: i64,
    name: Name,
    /// Later than all that was said of it.
    at: i64,
    attempts: u32,
    too_late: bool,
}

/// The oldest of what was found; those beyond are found when it is said again.
struct Oldest {
    most: usize,
    all: BTreeMap<(i64, Name), Found>,
    /// Too late for anything: they take nobody's place.
    n_late: usize,
    more: bool,
}

impl Oldest {
    fn of(most: usize) -> Oldest {
        Oldest { most, all: BTreeMap::new(), n_late: 0, more: false }
    }

    fn add(&mut self, it: Found) {
        if it.too_late {
            self.n_late += 1;
            return;
        }
        self.all.insert((it.planned_at, it.name.clone()), it);
        if self.all.len() > self.most {
            self.all.pop_last();
            self.more = true;
        }
    }

    fn is_none(&self) -> bool {
        self.all.is_empty() && self.n_late == 0
    }
}

impl Asking {
    /// Does it; waits for the log.
    pub fn act(&self, wanted: Wanted, asked: &Asked) -> Result<Value, Report> {
        let Oldest { all, n_late, more, .. } = self.found(wanted, asked)?;
        let found: Vec<Found> = all.into_values().collect();
        let (outcome, reason) = match wanted {
            Wanted::Retry => ("planned", None),
            Wanted::Cancel => ("suppressed", Some(CANCELLED)),
        };
        let mut position = None;
        for block in found.chunks(BLOCK) {
            let events = block.iter().map(|it| {
                let message = (it.name.tenant(), it.name.key());
                Answer { message, outcome, reason, attempts: it.attempts, at: it.at }.event()
            });
            position = Some(self.durable(events.collect())?);
        }
        let names: Vec<&str> = found.iter().take(LISTED).map(|it| it.name.key()).collect();
        Ok(json!({
            "did": if wanted == Wanted::Retry { "retried" } else { "cancelled" },
            "n": found.len(), "too_late": n_late, "more": more, "messages": names,
            "position": position,
        }))
    }

    fn found(&self, wanted: Wanted, asked: &Asked) -> Result<Oldest, Report> {
        let pin = self.read.instants.pin();
        let def = self.view.def();
        let place = |name: &str| def.position(name);
        let text = |row: &Row, name: &str| match place(name).map(|it| &row.values[it]) {
            Some(Field::Text(it)) => it.to_string(),
            _ => String::new(),
        };
        let time = |row: &Row, name: &str| match place(name).map(|it| &row.values[it]) {
            Some(Field::Time(it)) => Some(*it),
            _ => None,
        };
        let now = micros((self.now_ms)());
        let is =
            |filter: &Option<String>, found: &str| filter.as_ref().is_none_or(|it| it == found);
        let (mut oldest, mut forgotten) = (Oldest::of(ASKED_MAX), None);
        let mut see = |name: &Name, known: Known| {
            let row = match known {
                Known::Row(row) => row,
                Known::Left(ended) => {
                    if asked.message.as_deref() == Some(name.key())
                        && is(&asked.tenant, name.tenant())
                    {
                        forgotten = Some(ended);
                    }
                    return;
                }
            };
            let state = text(&row, "state");
            let fits = match wanted {
                Wanted::Cancel => state == "planned",
                Wanted::Retry => {
                    state == "refused" || state == "suppressed" && text(&row, "answer") == CANCELLED
                }
            };
            let named = is(&asked.message, name.key())
                && is(&asked.tenant, name.tenant())
                && is(&asked.rule, &text(&row, "rule"))
                && is(&asked.channel, &text(&row, "channel"));
            if !fits || !named {
                return;
            }
            let attempts = match place("attempts").map(|it| &row.values[it]) {
                Some(Field::Int(it)) => u32::try_from(*it).unwrap_or(0),
                _ => 0,
            };
            let answered = time(&row, "answered_at").unwrap_or(0);
            oldest.add(Found {
                planned_at: time(&row, "planned_at").unwrap_or(0),
                name: name.clone(),
                at: now.max(answered.saturating_add(1)),
                attempts,
                too_late: wanted == Wanted::Retry
                    && time(&row, "expires_at").is_some_and(|it| it <= now),
            });
        };
        let mut scan = Scan::default();
        while !scan.over {
            let read = self.view.each_known(pin.epoch(), &mut scan, &mut see);
            // The newest epoch is held while it is read.
            debug_assert!(read.is_ok());
            scan.over |= read.is_err();
        }
        match (forgotten, &asked.message) {
            (Some(ended), Some(message)) if oldest.is_none() => Err(too_old(message, ended)),
            _ => Ok(oldest),
        }
    }

    fn durable(&self, events: Vec<Vec<u8>>) -> Result<u64, Report> {
        let answer = (self.append)(events).and_then(|it| {
            it.blocking_recv().unwrap_or(Err(AppendRefused::Busy(std::time::Duration::ZERO)))
        });
        match answer {
            Ok(appended) => Ok(appended.next),
            Err(AppendRefused::Failed(report)) => Err(report),
            Err(AppendRefused::Busy(_)) => Err(busy()),
        }
    }
}

/// There is nobody to ask: neither rules nor channels.
pub fn no_notifications() -> Report {
    Report {
        code: "notify/none",
        what: "cannot do anything about messages".into(),
        at: vec![],
        why: "the running process has neither rules nor channels".into(),
        effect: "nothing was changed".into(),
        fix: "start it with the settings that have them (docs/notifications.md)".into(),
    }
}

/// It was forgotten: what was to be said is not known any more.
fn too_old(message: &str, ended: &str) -> Report {
    Report {
        code: "notify/forgotten",
        what: "cannot do anything about a message".into(),
        at: vec![("message", message.into())],
        why: format!(
            "it ended ({ended}) longer ago than `notifications.keep`, and was forgotten: only its id \
             and what it ended as are known"
        ),
        effect: "nothing was changed".into(),
        fix: "what it said stands in the log (`millstream log show`), if it is needed; its episode is \
              not spoken of again"
            .into(),
    }
}

fn busy() -> Report {
    Report {
        code: "serve/busy",
        what: "could not write down what is to be done about messages".into(),
        at: vec![],
        why: "the log takes nothing now: too much waits for the disk".into(),
        effect: "some may be done, and none twice".into(),
        fix: "say it again in a moment".into(),
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the oldest are done first, and what is too late keeps nobody out. Method: more of both
    /// than are done at once, the newest first.
    #[test]
    fn what_is_too_late_takes_nobodys_place() {
        let mut oldest = Oldest::of(2);
        for planned_at in (1..=9).rev() {
            let name = Name::new("t", &format!("m-{planned_at}"));
            let too_late = planned_at > 3;
            oldest.add(Found { planned_at, name, at: 0, attempts: 0, too_late });
        }
        let found: Vec<i64> = oldest.all.values().map(|it| it.planned_at).collect();
        assert_eq!((found.as_slice(), oldest.n_late, oldest.more), (&[1, 2][..], 6, true));
        let mut late = Oldest::of(2);
        let name = Name::new("t", "m");
        late.add(Found { planned_at: 1, name, at: 0, attempts: 0, too_late: true });
        assert!(!late.is_none() && !late.more && Oldest::of(1).is_none());
    }
}
