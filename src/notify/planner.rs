//! What rules make of row changes: intents.
//!
//! In: rows before and after, of complete epochs. Out: [`Intent`]s, in the order of the changes.
//!
//! # Meaning
//! A rule speaks of a row that is as the rule wants it, and was not before, or was in another
//! episode; one that waits for a state to settle speaks at `since + settle`, if it is still so. What
//! is decided is a function of the rows' own facts; what falls into the quiet time after a message
//! of the same subject is decided too, and suppressed. Tests: `tests` below, `tests/notify.rs`.
//!
//! # Invariants
//! An episode that began and ended between two looks was never seen, and is not spoken of: looks are
//! at complete epochs, some milliseconds apart.
//!
//! # State
//! What waits to settle, at most [`SETTLING_MAX`], and who is quiet: both can be read from the views
//! again, and are at a start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemas::names::Name;
use schemas::rows::{Row, ViewDef};

use super::intent::{self, Intent, Side};
use super::language::Facts;
use super::reload::Differs;
use super::rule::{Rule, Rules};
use super::sieve::{Seen, Sieve};
use super::unsaid::TEMPLATE;
use crate::config::rules::On;
use crate::messages::Epoch;

/// Most rows that wait to settle: some tens of megabytes. What comes beyond is planned at once, and
/// suppressed, so that it can be seen.
pub(super) const SETTLING_MAX: usize = 262_144;

/// Who is quiet is looked through when it has grown by so many.
const QUIET_LOOK: usize = 65_536;

/// What rules make of changes.
pub(super) struct Planner {
    rules: Rules,
    /// Of each view which of its rules a change can concern.
    of_view: HashMap<usize, Arc<Sieve>>,
    settling: BTreeMap<(Epoch, u64), Settling>,
    n_settling: u64,
    /// When a rule last spoke of a subject, milliseconds.
    quiet: HashMap<(usize, Name), u64>,
    quiet_look: usize,
    /// Rules that came when the others were at work.
    fresh: Vec<usize>,
    /// Conditions that could not be told, by rule.
    pub(super) failed: Vec<u64>,
}

struct Settling {
    rule: usize,
    subject: Name,
    episode: String,
}

/// A row of a view now.
pub(super) type RowNow<'a> = dyn Fn(usize, &Name) -> Option<Row> + 'a;

fn millis(it: std::time::Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX / 2)
}

fn with_facts<'r>(def: &'static ViewDef, row: Option<&'r Row>) -> Option<(&'r Row, Facts)> {
    row.map(|it| (it, Facts::of(def, it)))
}

impl Planner {
    /// Nothing waits yet.
    pub(super) fn new(rules: Rules) -> Planner {
        let mut seen: HashMap<usize, Vec<Seen<'_>>> = HashMap::new();
        for (n, it) in rules.all.iter().enumerate() {
            let one = Seen { rule: n, when: &it.settings.when, fields: it.decides() };
            seen.entry(it.view).or_default().push(one);
        }
        let sieve = |all: &[Seen<'_>]| {
            let def = all.first().map(|it| rules.all[it.rule].def);
            Arc::new(def.map_or_else(Sieve::default, |def| Sieve::of(all, def)))
        };
        let of_view = seen.iter().map(|(view, all)| (*view, sieve(all))).collect();
        Planner {
            failed: vec![0; rules.all.len()],
            rules,
            of_view,
            fresh: Vec::new(),
            settling: BTreeMap::new(),
            n_settling: 0,
            quiet: HashMap::new(),
            quiet_look: QUIET_LOOK,
        }
    }

    /// The rules.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules.all
    }

    /// Which rules of a view a change can concern.
    pub(super) fn sieve(&self, view: usize) -> Arc<Sieve> {
        self.of_view.get(&view).map(Arc::clone).unwrap_or_default()
    }

    /// The views that are watched.
    pub(super) fn views(&self) -> Vec<usize> {
        self.of_view.keys().copied().collect()
    }

    /// A row that changed; `now`: the epoch at which it is as it is.
    pub(super) fn see(
        &mut self,
        view: usize,
        subject: &Name,
        (old, new): (Option<&Row>, Option<&Row>),
        now: Epoch,
        out: &mut Vec<Intent>,
    ) {
        let rules = self.sieve(view).of_rows(old, new);
        let Some(def) = rules.first().map(|it| self.rules.all[*it].def) else { return };
        let (old, new) = (with_facts(def, old), with_facts(def, new));
        for rule in rules {
            let was = self.meant(rule, old.as_ref());
            let is = self.meant(rule, new.as_ref());
            let it = &self.rules.all[rule];
            let episode = |row: Option<&(&Row, Facts)>| row.map(|row| it.episode(row.0));
            let (before, after) = (
                was.then(|| episode(old.as_ref())).flatten(),
                is.then(|| episode(new.as_ref())).flatten(),
            );
            if before == after {
                continue;
            }
            match (it.settings.on, before, after) {
                (On::Leave, Some(episode), _) => {
                    if let Some((row, facts)) = &old {
                        self.speak((rule, subject), episode, (row, facts), now, out);
                    }
                }
                (On::Leave, None, _) => {}
                (On::Enter, before, after) => {
                    if let (Some(episode), Some((row, facts))) = (before, &old) {
                        let (row, facts) = new.as_ref().map_or((*row, facts), |it| (it.0, &it.1));
                        self.over((rule, subject), &episode, (row, facts), out);
                    }
                    if let (Some(episode), Some((row, facts))) = (after, &new) {
                        self.enter((rule, subject), episode, (row, facts), now, out);
                    }
                }
            }
        }
    }

    /// A row as it is at a start, at the epoch of what was put back: what waits to settle waits
    /// again, and rules that speak also of what is so do. `anew`: nothing was put back, so that it
    /// cannot be told what is new; then rules that know since when it is so speak of what is young
    /// enough, and what they said before is known by its name.
    pub(super) fn found(
        &mut self,
        view: usize,
        subject: &Name,
        row: &Row,
        (at, anew): (Epoch, bool),
        out: &mut Vec<Intent>,
    ) {
        let rules = self.sieve(view).of_rows(None, Some(row));
        let Some(def) = rules.first().map(|it| self.rules.all[*it].def) else { return };
        let facts = Facts::of(def, row);
        for rule in rules {
            let it = &self.rules.all[rule];
            let settles = !it.settings.settle.is_zero();
            let already = it.settings.already || anew && it.settings.since.is_some();
            let is_enter = it.settings.on == On::Enter;
            if !is_enter || !(settles || already) || !self.meant(rule, Some(&(row, facts.clone())))
            {
                continue;
            }
            let it = &self.rules.all[rule];
            let waits = settles && self.due(it, row) > at;
            if waits || already {
                let episode = it.episode(row);
                self.enter((rule, subject), episode, (row, &facts), at, out);
            }
        }
    }

    /// Goes on where others were: what settles by the same wording, and who is quiet by the same name.
    /// What settles is due by the new `settle`. Gives what is other than before (in anything that is
    /// set), and where rules of before stand now.
    pub(super) fn take_over(&mut self, old: Planner) -> (Differs, HashMap<usize, usize>) {
        let (mut differs, mut places) = (Differs::default(), HashMap::new());
        let mut same = HashMap::new();
        for (n, it) in self.rules.all.iter().enumerate() {
            let name = &it.settings.name;
            let before = old.rules.all.iter().position(|it| it.settings.name == *name);
            let Some(before) = before else {
                differs.added.push(name.clone());
                self.fresh.push(n);
                continue;
            };
            places.insert(before, n);
            let was = &old.rules.all[before];
            if was.version == it.version {
                same.insert(before, (n, millis(was.settings.settle)));
            }
            if !was.settings.says_the_same(&it.settings) {
                differs.changed.push(name.clone());
                self.fresh.push(n);
            }
        }
        for (n, it) in old.rules.all.iter().enumerate() {
            if !places.contains_key(&n) {
                differs.removed.push(it.settings.name.clone());
            }
        }
        let settling = old.settling.into_iter();
        self.settling = settling
            .filter_map(|((due, n), it)| {
                let (rule, settle) = *same.get(&it.rule)?;
                let now = millis(self.rules.all[rule].settings.settle);
                let due = due.saturating_sub(settle).saturating_add(now);
                Some(((due, n), Settling { rule, ..it }))
            })
            .collect();
        self.n_settling = old.n_settling;
        let quiet = old.quiet.into_iter();
        self.quiet = quiet
            .filter_map(|((rule, subject), at)| Some(((*places.get(&rule)?, subject), at)))
            .collect();
        (differs, places)
    }

    /// Whether a rule that has come meanwhile speaks also of rows of a view that are so already.
    pub(super) fn speaks_of_what_is(&self, view: usize) -> bool {
        self.fresh.iter().any(|it| {
            let it = &self.rules.all[*it];
            it.view == view && it.settings.already && it.settings.on == On::Enter
        })
    }

    /// A row as it is when such rules come.
    pub(super) fn is_so(
        &mut self,
        view: usize,
        subject: &Name,
        row: &Row,
        at: Epoch,
        out: &mut Vec<Intent>,
    ) {
        for rule in self.fresh.clone() {
            let it = &self.rules.all[rule];
            if it.view != view || !it.settings.already || it.settings.on != On::Enter {
                continue;
            }
            let facts = Facts::of(it.def, row);
            if self.meant(rule, Some(&(row, facts.clone()))) {
                let episode = self.rules.all[rule].episode(row);
                self.enter((rule, subject), episode, (row, &facts), at, out);
            }
        }
    }

    /// Whether a start has to look at every row of a view.
    pub(super) fn looks_at_all(&self, view: usize, anew: bool) -> bool {
        let rules = self.rules.all.iter().filter(|it| it.view == view);
        let mut settings = rules.map(|it| &it.settings);
        settings.any(|it| it.already || anew && it.since.is_some() || !it.settle.is_zero())
    }

    /// When which rule spoke of which subjects last, milliseconds: what the view of intents says at a
    /// start.
    pub(super) fn spoke(&mut self, last: HashMap<(usize, Name), u64>) {
        for (key, at_ms) in last {
            let newest = self.quiet.entry(key).or_default();
            *newest = at_ms.max(*newest);
        }
    }

    /// When the next row will have settled.
    pub(super) fn next_due(&self) -> Option<Epoch> {
        self.settling.first_key_value().map(|it| it.0.0)
    }

    /// What has settled by now, if it is still so.
    pub(super) fn settled(&mut self, now: Epoch, row: &RowNow<'_>, out: &mut Vec<Intent>) {
        while let Some(first) = self.settling.first_entry().filter(|it| it.key().0 <= now) {
            let Settling { rule, subject, episode } = first.remove();
            let it = &self.rules.all[rule];
            let Some(row) = row(it.view, &subject) else { continue };
            let facts = Facts::of(it.def, &row);
            let still = it.episode(&row) == episode;
            if still && self.meant(rule, Some(&(&row, facts.clone()))) {
                self.speak((rule, &subject), episode, (&row, &facts), now, out);
            }
        }
    }

    fn meant(&mut self, rule: usize, row: Option<&(&Row, Facts)>) -> bool {
        let Some((_, facts)) = row else { return false };
        match self.rules.all[rule].holds(facts) {
            Ok(it) => it,
            Err(why) => {
                self.failed[rule] += 1;
                if self.failed[rule].is_power_of_two() {
                    let rule = self.rules.all[rule].settings.name.as_str();
                    tracing::warn!(code = "notify/condition", rule, why, "a condition failed");
                }
                false
            }
        }
    }

    /// When a row will have settled, milliseconds; 0 where it need not.
    fn due(&self, rule: &Rule, row: &Row) -> Epoch {
        if rule.settings.settle.is_zero() {
            return 0;
        }
        let since = rule.since(row).unwrap_or(0).max(0).cast_unsigned() / 1_000;
        since + millis(rule.settings.settle)
    }

    fn enter(
        &mut self,
        (rule, subject): (usize, &Name),
        episode: String,
        (row, facts): (&Row, &Facts),
        now: Epoch,
        out: &mut Vec<Intent>,
    ) {
        let it = &self.rules.all[rule];
        if let Some(since) = it.since(row) {
            let age = now.saturating_sub(since.max(0).cast_unsigned() / 1_000);
            // What is to settle for longer is not too old because it did; nor after a start meanwhile.
            if u128::from(age) > it.settings.max_age.max(it.settings.settle).as_millis() {
                return;
            }
        }
        let due = self.due(it, row);
        if due <= now {
            return self.speak((rule, subject), episode, (row, facts), now, out);
        }
        if self.settling.len() >= SETTLING_MAX {
            let mut intent = self.intent((rule, subject), episode, (row, facts), Side::Began);
            intent.suppressed = Some("too many wait to settle");
            out.push(intent);
            return;
        }
        self.n_settling += 1;
        let waits = Settling { rule, subject: subject.clone(), episode };
        self.settling.insert((due, self.n_settling), waits);
    }

    fn speak(
        &mut self,
        (rule, subject): (usize, &Name),
        episode: String,
        (row, facts): (&Row, &Facts),
        now: Epoch,
        out: &mut Vec<Intent>,
    ) {
        let mut intent = self.intent((rule, subject), episode, (row, facts), Side::Began);
        let quiet = self.rules.all[rule].settings.quiet;
        if !quiet.is_zero() && intent.suppressed.is_none() {
            let quiet_ms = u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX);
            let key = (rule, subject.clone());
            match self.quiet.get(&key) {
                Some(last) if now < last.saturating_add(quiet_ms) => {
                    intent.suppressed = Some("quiet");
                }
                _ => drop(self.quiet.insert(key, now)),
            }
            self.forget_quiet(now);
        }
        out.push(intent);
    }

    /// What is over is corrected, if the rule wants it.
    fn over(
        &self,
        (rule, subject): (usize, &Name),
        episode: &str,
        (row, facts): (&Row, &Facts),
        out: &mut Vec<Intent>,
    ) {
        let it = &self.rules.all[rule];
        if it.settings.resolved.is_none() {
            return;
        }
        let began = intent::id(&it.settings.name, &it.version, subject, episode, Side::Began);
        let mut intent =
            self.intent((rule, subject), episode.to_string(), (row, facts), Side::Over);
        intent.corrects = Some(began);
        out.push(intent);
    }

    fn intent(
        &self,
        (rule, subject): (usize, &Name),
        episode: String,
        (row, facts): (&Row, &Facts),
        side: Side,
    ) -> Intent {
        let it = &self.rules.all[rule];
        let said = self.rules.text(it, side == Side::Over, facts);
        let (text, suppressed, reason) = match said {
            Ok(text) => (text, None, it.reason(row)),
            // Nothing half-rendered leaves; that there was something to say is kept.
            Err(why) => (String::new(), Some(TEMPLATE), format!("the text: {why}")),
        };
        Intent {
            id: intent::id(&it.settings.name, &it.version, subject, &episode, side),
            subject: subject.clone(),
            rule,
            episode,
            text,
            reason,
            corrects: None,
            suppressed,
            customer: it.customer(row),
            due: None,
        }
    }

    /// Who has been quiet long enough is forgotten, now and then.
    fn forget_quiet(&mut self, now: Epoch) {
        if self.quiet.len() < self.quiet_look {
            return;
        }
        let rules = &self.rules.all;
        self.quiet.retain(|(rule, _), last| {
            let quiet = rules[*rule].settings.quiet.as_millis();
            u128::from(now.saturating_sub(*last)) < quiet
        });
        self.quiet_look = self.quiet.len() * 2 + QUIET_LOOK;
    }
}

#[cfg(test)]
mod tests;
