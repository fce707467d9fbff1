//! What a policy would have done to recorded cases.
//!
//! # Meaning
//! So many agents; whoever is free takes the next case of those that have been opened by then, and
//! works on it for as long as it took on record; nobody is interrupted. Of agents free at the same
//! instant the one with the smallest number takes first. A function of the set of cases: the
//! assignments are the same in whatever order they are given.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::policy::{Open, Policy};

/// A case on record.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// As it would wait.
    pub open: Open,
    /// How long it takes, microseconds.
    pub work: i64,
    /// Its customer's tier.
    pub tier: Option<String>,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The place of the case among those given.
    pub case: usize,
    /// Which agent, from 0.
    pub agent: usize,
    /// When work began, microseconds since the Unix epoch.
    pub at: i64,
}

/// Hands all cases out, in order of time.
pub fn assignments(cases: &[Recorded], agents: usize, policy: Policy) -> Vec<Assigned> {
    let mut arriving: Vec<usize> = (0..cases.len()).collect();
    let of = |it: &usize| &cases[*it].open;
    arriving.sort_by(|a, b| (of(a).opened_at, &of(a).case).cmp(&(of(b).opened_at, &of(b).case)));
    let mut arriving = arriving.into_iter().peekable();
    let mut free: BinaryHeap<Reverse<(i64, usize)>> =
        (0..agents).map(|it| Reverse((i64::MIN, it))).collect();
    let mut waiting: Vec<usize> = Vec::new();
    let mut assigned = Vec::with_capacity(cases.len());
    // Who is idle has been free for long: time does not go back for them.
    let mut clock = i64::MIN;
    while let Some(Reverse((since, agent))) = free.pop() {
        let mut now = since.max(clock);
        if waiting.is_empty() {
            let Some(next) = arriving.peek() else { break };
            now = now.max(of(next).opened_at);
        }
        clock = now;
        while let Some(it) = arriving.next_if(|it| of(it).opened_at <= now) {
            waiting.push(it);
        }
        let picks = assigned.len() as u64;
        let Some(next) = policy.next(waiting.iter().map(of), now, picks) else { break };
        let Some(place) = waiting.iter().position(|it| std::ptr::eq(of(it), next)) else { break };
        let case = waiting.swap_remove(place);
        assigned.push(Assigned { case, agent, at: now });
        free.push(Reverse((now.saturating_add(cases[case].work), agent)));
    }
    assigned
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// Cases on which work began after the promised instant.
    pub breaches: u64,
    /// Those of severity 1.
    pub p1_breaches: u64,
    /// Mean wait of severity 1, minutes.
    pub p1_mean: f64,
    /// Breaches of customers of the tier gold.
    pub gold_breaches: u64,
    /// The longest wait of all, minutes.
    pub longest: f64,
}

/// Counts what assignments did.
pub fn outcome(cases: &[Recorded], assigned: &[Assigned]) -> Outcome {
    const MINUTE: f64 = 60e6;
    let waits =
        || assigned.iter().map(|it| (&cases[it.case], it.at - cases[it.case].open.opened_at));
    let broken = assigned.iter().filter(|it| it.at > cases[it.case].open.due_at);
    let broken: Vec<&Recorded> = broken.map(|it| &cases[it.case]).collect();
    let first: Vec<i64> = waits().filter(|it| it.0.open.severity == 1).map(|it| it.1).collect();
    let count = |is: &dyn Fn(&Recorded) -> bool| broken.iter().filter(|it| is(it)).count() as u64;
    Outcome {
        breaches: broken.len() as u64,
        p1_breaches: count(&|it| it.open.severity == 1),
        p1_mean: first.iter().sum::<i64>() as f64 / MINUTE / first.len().max(1) as f64,
        gold_breaches: count(&|it| it.tier.as_deref() == Some("gold")),
        longest: waits().map(|it| it.1).max().unwrap_or(0) as f64 / MINUTE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the assignments are a function of the set of cases. Method: a few hundred cases in two
    /// orders; compared by name.
    #[test]
    fn the_same_in_every_order() {
        let case = |n: u64| {
            let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let (opened_at, time) = ((mixed % 500) as i64, (mixed >> 10) as i64 % 90);
            let open = Open {
                case: format!("T{n}"),
                severity: 1 + (mixed % 4) as u8,
                opened_at,
                due_at: opened_at + time,
                deadline: opened_at + time / 2,
            };
            Recorded { open, work: (mixed >> 20) as i64 % 40, tier: None }
        };
        let policy = Policy { first_severity: 1, fairness: 4 };
        let cases: Vec<Recorded> = (0..300).map(case).collect();
        let told = |cases: &[Recorded]| {
            let assigned = assignments(cases, 3, policy);
            let told =
                assigned.iter().map(|it| (cases[it.case].open.case.clone(), it.agent, it.at));
            (told.collect::<Vec<_>>(), outcome(cases, &assigned))
        };
        let mut other = cases.clone();
        other.reverse();
        other.rotate_left(77);
        assert_eq!(told(&cases), told(&other));
        assert_eq!(told(&cases).0.len(), 300);
    }
}
