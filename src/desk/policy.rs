//! Who is next: a pure function of the open cases, the instant, and how many were handed out.
//!
//! # Meaning
//! Of the cases given, the next one is
//! 1. one of the first severities, if any waits, by deadline;
//! 2. else, at every so-manieth pick, the oldest of those whose promise is broken already, if any;
//! 3. else one whose promise can still be kept, by deadline;
//! 4. else one whose promise is broken, by deadline.
//!
//! Of equal ones the one opened first, then the first by text. Nothing depends on the order in which
//! cases are given. Test: `tests::the_order_is_the_next_one_again_and_again`.
//!
//! # Why this way
//! By deadline alone, a queue that has once fallen behind serves only what is lost already; with the
//! broken ones last it keeps all the promises that it can, and the broken ones would starve: hence
//! the third line's exception, the knob of fairness. Measured on recorded days: docs/queues.md.

use std::cmp::Ordering;

use crate::config;

/// A case that waits. Instants: microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The case.
    pub case: String,
    /// 1 (most severe) to 4.
    pub severity: u8,
    /// When it was opened.
    pub opened_at: i64,
    /// What it was promised.
    pub due_at: i64,
    /// What it is ordered by.
    pub deadline: i64,
}

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Up to this severity cases come before all others; 0: none.
    pub first_severity: u8,
    /// Every n-th pick, n being this, takes the oldest broken one; 0: none.
    pub fairness: u64,
}

impl From<&config::Queues> for Policy {
    fn from(it: &config::Queues) -> Policy {
        let first_severity = u8::try_from(it.first_severity).unwrap_or(u8::MAX);
        Policy { first_severity, fairness: it.fairness as u64 }
    }
}

impl Policy {
    /// Whether the pick with this number, from 0, is one of those for the broken ones.
    fn is_fair(&self, picks: u64) -> bool {
        self.fairness > 0 && picks % self.fairness == self.fairness - 1
    }

    /// Which of the three groups a case is in.
    fn group(&self, it: &Open, now: i64) -> u8 {
        match () {
            () if it.severity <= self.first_severity => 0,
            () if it.due_at >= now => 1,
            () => 2,
        }
    }

    fn compare(&self, a: &Open, b: &Open, now: i64) -> Ordering {
        let key = |it: &Open| (self.group(it, now), it.deadline, it.opened_at);
        key(a).cmp(&key(b)).then_with(|| a.case.cmp(&b.case))
    }

    /// Which of these is next at `now`, after so many picks.
    pub fn next<'o>(
        &self,
        open: impl Iterator<Item = &'o Open> + Clone,
        now: i64,
        picks: u64,
    ) -> Option<&'o Open> {
        let best = open.clone().min_by(|a, b| self.compare(a, b, now))?;
        if self.group(best, now) == 0 || !self.is_fair(picks) {
            return Some(best);
        }
        let broken = open.filter(|it| self.group(it, now) == 2);
        Some(broken.min_by(|a, b| by_age(a, b)).unwrap_or(best))
    }

    /// All of them in the order in which they would be handed out at this very instant.
    pub fn order(&self, open: &[Open], now: i64, picks: u64) -> Vec<usize> {
        let mut sorted: Vec<usize> = (0..open.len()).collect();
        sorted.sort_unstable_by(|a, b| self.compare(&open[*a], &open[*b], now));
        let group = |it: &usize| self.group(&open[*it], now);
        let mut broken: Vec<usize> = sorted.iter().copied().filter(|it| group(it) == 2).collect();
        broken.sort_unstable_by(|a, b| by_age(&open[*a], &open[*b]));
        let (mut sorted, mut broken) = (sorted.into_iter().peekable(), broken.into_iter());
        let mut taken = vec![false; open.len()];
        let mut order = Vec::with_capacity(open.len());
        while order.len() < open.len() {
            while sorted.next_if(|it| taken[*it]).is_some() {}
            let is_first = sorted.peek().is_some_and(|it| group(it) == 0);
            let fair = !is_first && self.is_fair(picks.wrapping_add(order.len() as u64));
            let oldest = if fair { broken.find(|it| !taken[*it]) } else { None };
            let Some(next) = oldest.or_else(|| sorted.next()) else { break };
            taken[next] = true;
            order.push(next);
        }
        order
    }
}

fn by_age(a: &Open, b: &Open) -> Ordering {
    (a.opened_at, &a.case).cmp(&(b.opened_at, &b.case))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(severity: u8, opened_at: i64, due: i64, deadline: i64, n: usize) -> Open {
        let (due_at, deadline) = (opened_at + due, opened_at + deadline.min(due));
        Open { case: format!("T{n}"), severity, opened_at, due_at, deadline }
    }

    proptest! {
        /// Goal: what is shown is what will be handed out, and neither depends on the order in
        /// which cases come. Method: random cases with many ties; the whole order against taking
        /// the next one again and again, of the cases in another order.
        #[test]
        fn the_order_is_the_next_one_again_and_again(
            cases in prop::collection::vec((1..5_u8, 0..9_i64, 0..9_i64, 0..9_i64), 0..30),
            (first_severity, fairness, picks) in (0..3_u8, 0..5_u64, 0..9_u64),
            seed in any::<u64>(),
        ) {
            let policy = Policy { first_severity, fairness };
            let all = cases.into_iter().enumerate();
            let all: Vec<Open> = all.map(|(n, it)| open(it.0, it.1, it.2, it.3, n)).collect();
            let shown: Vec<_> =
                policy.order(&all, 9, picks).into_iter().map(|it| &all[it].case).collect();
            let mut left = all.clone();
            left.sort_by_key(|it| {
                let n: u64 = it.case[1..].parse().unwrap();
                (n ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            });
            let mut taken = Vec::new();
            while let Some(next) = policy.next(left.iter(), 9, picks + taken.len() as u64) {
                let place = left.iter().position(|it| it == next).unwrap();
                taken.push(left.swap_remove(place).case);
            }
            prop_assert_eq!(shown, taken.iter().collect::<Vec<_>>());
        }
    }

    proptest! {
        /// Goal: nobody starves: a case whose promise is broken, with `k` such before it, is taken
        /// within `fairness * (k + 1)` picks. Method: before each pick come cases that all go before
        /// it but at a fair pick: promises that can be kept, and broken ones that are more pressing.
        #[test]
        fn the_knob_bounds_the_wait(
            (fairness, k, picks) in (1..6_u64, 0..6_usize, 0..20_u64),
            coming in prop::collection::vec((2..5_u8, any::<bool>()), 1..9),
        ) {
            let policy = Policy { first_severity: 1, fairness };
            let mut waiting: Vec<Open> = (0..k).map(|n| open(4, 0, 10, 10, n)).collect();
            let last = open(4, 1, 900, 900, k);
            waiting.push(last.clone());
            let all = fairness * (k as u64 + 1);
            let taken = (0..all).map(|pick| {
                for (n, (severity, is_broken)) in coming.iter().enumerate() {
                    let due = if *is_broken { 1 } else { 9_000 };
                    let n = 1_000 + pick as usize * coming.len() + n;
                    waiting.push(open(*severity, 500, due, 1, n));
                }
                let next = policy.next(waiting.iter(), 1_000, picks + pick).unwrap().clone();
                waiting.retain(|it| *it != next);
                next
            });
            prop_assert!(taken.into_iter().any(|it| it == last));
        }
    }

    /// Goal: each line of the policy, by itself. Method: few cases, at instant 100.
    #[test]
    fn each_rule_by_itself() {
        let policy = Policy { first_severity: 1, fairness: 4 };
        let broken_old = open(3, 0, 10, 10, 0);
        let broken_new = open(3, 50, 10, 5, 1);
        let kept = open(4, 60, 900, 900, 2);
        let kept_pressed = open(4, 60, 900, 450, 3);
        let first = open(1, 90, 15, 15, 4);
        let all = [broken_old, broken_new, kept, kept_pressed, first];
        let next = |among: &[usize], picks| {
            let next = policy.next(among.iter().map(|it| &all[*it]), 100, picks)?;
            all.iter().position(|it| it == next)
        };
        assert_eq!(next(&[0, 1, 2, 3, 4], 3), Some(4), "the first severity, also at a fair pick");
        assert_eq!(next(&[0, 1, 2, 3], 0), Some(3), "kept by deadline");
        assert_eq!(next(&[0, 1, 2, 3], 3), Some(0), "a fair pick: the oldest broken one");
        assert_eq!(next(&[2, 3], 3), Some(3), "a fair pick with nothing broken");
        assert_eq!(next(&[1, 0], 0), Some(0), "broken by deadline");
        assert_eq!(next(&[], 0), None);
    }
}
