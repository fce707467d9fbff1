//! What rules would have said: the planner over a history, with nothing written down and nobody
//! told.
//!
//! In: the views at one instant after the other. Out: a [`Tally`] of each rule.
//!
//! # Meaning
//! The same planner as in a running process, from the same row changes; what it decides is counted
//! instead of written. An episode speaks once, and a correction only of what was said.
//!
//! # State
//! The names of what was said, at most [`KNOWN_MAX`]; of each rule its tally, with at most
//! [`SUBJECTS_MAX`] subjects told apart.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use schemas::reading::{Gone, Side};
use serde_json::{Value, json};

use super::group::Groups;
use super::intent::Intent;
use super::planner::Planner;
use super::rule::Rules;
use crate::messages::{Epoch, ReadHandle};

/// Names of what was said: some tens of megabytes.
const KNOWN_MAX: usize = 1_048_576;
/// Subjects of one rule told apart; beyond, their number is a least one.
const SUBJECTS_MAX: usize = 1_048_576;
/// Milliseconds of a minute, and of a day.
const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

/// What one rule would have said.
#[derive(Debug, Default)]
pub struct Tally {
    raised: u64,
    resolved: u64,
    suppressed: BTreeMap<&'static str, u64>,
    subjects: HashSet<u64>,
    by_day: BTreeMap<u64, u64>,
    /// The minute that is counted, and how many; the busiest so far.
    minute: (u64, u64),
    busiest: (u64, u64),
    samples: Vec<Value>,
}

/// Rules on trial.
pub struct Trial {
    planner: Planner,
    groups: Groups,
    /// What was decided, and whether it would have been sent.
    known: HashMap<u128, bool>,
    tallies: Vec<Tally>,
    n_samples: usize,
    began: bool,
}

impl Trial {
    /// Of these rules; so many samples of each.
    pub fn of(rules: Rules, n_samples: usize) -> Trial {
        let planner = Planner::new(rules);
        let tallies = planner.rules().iter().map(|_| Tally::default()).collect();
        Trial {
            planner,
            groups: Groups::default(),
            known: HashMap::new(),
            tallies,
            n_samples,
            began: false,
        }
    }

    /// What changed between two instants, both held; tells when there is something to look at
    /// though nothing changes.
    pub fn see(
        &mut self,
        read: &ReadHandle,
        last: Epoch,
        now: Epoch,
    ) -> Result<Option<Epoch>, Gone> {
        let mut intents = Vec::new();
        let began = std::mem::replace(&mut self.began, true);
        for view in self.planner.views() {
            let reader = Arc::clone(&read.views[view]);
            let planner = &mut self.planner;
            if !began && planner.looks_at_all(view, false) {
                reader.for_each(last, &mut |name, row| {
                    planner.found(view, name, &row, (last, false), &mut intents);
                })?;
            }
            let sieve = planner.sieve(view);
            let mut wants = |old: Side<'_>, new: Side<'_>| sieve.wants(old, new);
            reader.changes_where(
                (last, now),
                (&sieve.fields, &mut wants),
                &mut |name, old, new| {
                    planner.see(view, name, (old.as_ref(), new.as_ref()), now, &mut intents);
                },
            )?;
        }
        let row = |view: usize, name: &schemas::names::Name| {
            read.views[view].get(name.tenant(), name.key(), now).ok().flatten()
        };
        self.planner.settled(now, &row, &mut intents);
        let mut counted = Vec::new();
        self.groups.over(self.planner.rules(), now, &mut counted);
        let mut fresh: Vec<Intent> = Vec::with_capacity(intents.len());
        for it in intents {
            if self.is_new(&it, &fresh) {
                fresh.push(it);
            }
        }
        self.groups.hold(self.planner.rules(), now, &mut fresh);
        fresh.into_iter().chain(counted).for_each(|it| self.count(it, now));
        let due = [self.planner.next_due(), self.groups.next_due()];
        Ok(due.into_iter().flatten().min())
    }

    /// Not decided before; and of a correction, that what it corrects was said.
    fn is_new(&self, it: &Intent, these: &[Intent]) -> bool {
        let tenant = it.subject.tenant();
        let now = |id: &String| {
            let same = these.iter().rev().find(|one| one.id == *id);
            same.filter(|one| one.subject.tenant() == tenant).map(|one| one.suppressed.is_none())
        };
        let known = |id: &String| self.known.get(&named(tenant, id)).copied();
        let said = |id: &String| now(id).or_else(|| known(id)) == Some(true);
        known(&it.id).is_none() && it.corrects.as_ref().is_none_or(said)
    }

    fn count(&mut self, it: Intent, now: Epoch) {
        let tenant = it.subject.tenant();
        if self.known.contains_key(&named(tenant, &it.id)) {
            return;
        }
        if self.known.len() < KNOWN_MAX {
            self.known.insert(named(tenant, &it.id), it.suppressed.is_none());
        }
        let rule = &self.planner.rules()[it.rule];
        let tally = &mut self.tallies[it.rule];
        if tally.samples.len() < self.n_samples {
            tally.samples.push(json!({
                "at": rfc3339(now), "tenant": tenant, "about": it.subject.key(),
                "episode": it.episode, "text": it.text, "reason": it.reason,
                "is": match (&it.suppressed, &it.corrects) {
                    (Some(why), _) => format!("suppressed ({why})"),
                    (None, Some(_)) => "resolved".into(),
                    (None, None) => "raised".into(),
                },
                "channel": rule.settings.channel,
            }));
        }
        if let Some(why) = it.suppressed {
            *tally.suppressed.entry(why).or_default() += 1;
            return;
        }
        match it.corrects {
            Some(_) => tally.resolved += 1,
            None => tally.raised += 1,
        }
        if tally.subjects.len() < SUBJECTS_MAX {
            tally.subjects.insert(hash(&it.subject));
        }
        *tally.by_day.entry(now / DAY).or_default() += 1;
        let minute = now / MINUTE;
        tally.minute = match tally.minute {
            (at, n) if at == minute => (at, n + 1),
            _ => (minute, 1),
        };
        if tally.minute.1 > tally.busiest.1 {
            tally.busiest = tally.minute;
        }
    }

    /// What came of it, a document a rule.
    pub fn told(&self) -> Vec<Value> {
        let rules = self.planner.rules().iter().zip(&self.tallies).zip(&self.planner.failed);
        let told = rules.map(|((rule, it), failed)| {
            let busiest = (it.busiest.1 > 0)
                .then(|| json!({"minute": rfc3339(it.busiest.0 * MINUTE), "n": it.busiest.1}));
            let by_day = it.by_day.iter().map(|(day, n)| {
                let day = rfc3339(day * DAY);
                json!({"day": day.get(..10).unwrap_or(&day), "n": n})
            });
            json!({
                "rule": rule.settings.name, "version": rule.version, "view": rule.def.name,
                "channel": rule.settings.channel, "severity": rule.settings.severity,
                "raised": it.raised, "resolved": it.resolved, "suppressed": it.suppressed,
                "subjects": it.subjects.len(), "busiest": busiest,
                "by_day": by_day.collect::<Vec<_>>(),
                "conditions_failed": failed, "samples": it.samples,
            })
        });
        told.collect()
    }
}

fn rfc3339(ms: u64) -> String {
    schemas::time::rfc3339(ms.saturating_mul(1_000).min(i64::MAX as u64).cast_signed())
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A message's name, with its tenant: 32 hexadecimal digits are in it, which no two share.
fn named(tenant: &str, id: &str) -> u128 {
    let digits = id.strip_prefix("msg_").unwrap_or(id);
    u128::from_str_radix(digits, 16).unwrap_or_default() ^ u128::from(hash(&tenant))
}
