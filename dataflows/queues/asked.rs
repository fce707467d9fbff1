//! What the folds tell the relations about queues: projected, and summed where that will do.
//!
//! # Meaning
//! [`Asked`]: of each case, while it is not resolved, what its rows say; the day on which its
//! customer opened it; and its [`Load`], under its queue's hour and under the whole queue. A case
//! whose opening is not known waits nowhere. [`Tiers`]: of each customer with a tier, the tier. [`Late`]:
//! of each order that is late now, its customer. [`Bands`]: of each customer who opened a case, the
//! band of health, and the better one before. [`Picks`]: of each case handed out, that it was.

use std::sync::Arc;

use compact_str::CompactString;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use schemas::names::Name;
use serde::{Deserialize, Serialize};

use super::terms::day_of;
use super::{Key, Open};
use crate::Epoch;
use crate::cases::{Case, Cases};
use crate::claims::{self, Claims};
use crate::customers::{self, Customers};
use crate::fold::Project;
use crate::health::{self, Health};
use crate::orders::{self, Orders};

/// A queue as a whole (`None`), or an hour of it: microseconds since the Unix epoch.
pub type Period = (CompactString, CompactString, Option<i64>);

/// What is said of a case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Waits {
    /// It is not resolved.
    Open(Key, Arc<Open>),
    /// It was opened on a day.
    Day(Key, i64),
    /// It is a load.
    Load(Period),
}

/// Sums over the cases of a queue, as a difference. For what is no load, `n` counts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Load {
    /// Cases that were opened.
    pub n: i64,
    /// That wait.
    pub n_waiting: i64,
    /// That somebody works on.
    pub n_in_work: i64,
    /// That are resolved.
    pub n_resolved: i64,
    /// From opening to the last assignment, of those that were assigned; seconds.
    pub wait_seconds: i64,
    /// From the last assignment to the resolution, of those that were resolved after it; seconds.
    pub work_seconds: i64,
    /// Claims that were given a case.
    pub n_claims: i64,
}

impl Load {
    fn parts(&mut self) -> [&mut i64; 7] {
        let Load { n, n_waiting, n_in_work, n_resolved, wait_seconds, work_seconds, n_claims } =
            self;
        [n, n_waiting, n_in_work, n_resolved, wait_seconds, work_seconds, n_claims]
    }
}

impl IsZero for Load {
    fn is_zero(&self) -> bool {
        *self == Load::default()
    }
}

impl Semigroup for Load {
    fn plus_equals(&mut self, more: &Load) {
        let mut more = *more;
        for (sum, it) in self.parts().into_iter().zip(more.parts()) {
            // Checked: a wrapped total would be a wrong answer that nobody sees.
            *sum = sum.checked_add(*it).expect("fewer than 2^63 cases and seconds");
        }
    }
}

impl Monoid for Load {
    fn zero() -> Load {
        Load::default()
    }
}

impl Abelian for Load {
    fn negate(&mut self) {
        self.parts().into_iter().for_each(|it| *it = -*it);
    }
}

const HOUR: i64 = 3_600_000_000;
const SECOND: i64 = 1_000_000;

/// The periods that an instant of a queue counts in.
fn periods(tenant: &str, queue: &str, at: i64) -> [Period; 2] {
    let hour = at.div_euclid(HOUR) * HOUR;
    [None, Some(hour)].map(|period| (tenant.into(), queue.into(), period))
}

/// Of cases.
pub(crate) struct Asked;

impl Project<Cases> for Asked {
    type Data = Waits;
    type Diff = Load;

    fn change(&mut self, _: &Name, _: Option<&Case>, _: &Case, _: &mut dyn FnMut(Waits, Load)) {
        unreachable!("what waits depends on the instant: `change_at` is what is called");
    }

    fn change_at(
        &mut self,
        name: &Name,
        old: Option<(&Case, Epoch)>,
        new: (&Case, Epoch),
        emit: &mut dyn FnMut(Waits, Load),
    ) {
        if let Some((old, at)) = old {
            tell(name, old, at, &mut |said, mut load| {
                load.negate();
                emit(said, load);
            });
        }
        tell(name, new.0, new.1, emit);
    }
}

/// What a case says of itself at an instant.
fn tell(name: &Name, case: &Case, now: Epoch, emit: &mut dyn FnMut(Waits, Load)) {
    let Some(asked) = case.asked(now) else { return };
    let one = Load { n: 1, ..Load::default() };
    let key: Key = (name.tenant().into(), asked.customer.into());
    emit(Waits::Day(key.clone(), day_of(asked.opened_at)), one);
    let seconds = |from: i64, to: i64| ((to - from) / SECOND).max(0);
    let assigned = asked.assigned_at;
    let resolved = asked.resolved_at.filter(|_| asked.status == "resolved");
    let load = Load {
        n: 1,
        n_waiting: i64::from(asked.status == "open"),
        n_in_work: i64::from(asked.status == "assigned"),
        n_resolved: i64::from(asked.status == "resolved"),
        wait_seconds: assigned.map_or(0, |it| seconds(asked.opened_at, it)),
        work_seconds: assigned.zip(resolved).map_or(0, |(from, to)| seconds(from, to)),
        n_claims: 0,
    };
    for period in periods(name.tenant(), asked.queue, asked.opened_at) {
        emit(Waits::Load(period), load);
    }
    if asked.status == "resolved" {
        return;
    }
    let agent = asked.agent.zip(assigned).filter(|_| asked.status == "assigned");
    let open = Open {
        case: crate::key_id(name),
        queue: asked.queue.into(),
        severity: asked.severity,
        skills: asked.skills.to_vec(),
        opened_at: asked.opened_at,
        agent: agent.map(|(agent, since)| (agent.into(), since)),
    };
    emit(Waits::Open(key, Arc::new(open)), one);
}

/// Of customers.
pub(crate) struct Tiers;

impl Project<Customers> for Tiers {
    type Data = (Key, CompactString);
    type Diff = isize;

    #[inline]
    fn change(
        &mut self,
        name: &Name,
        old: Option<&customers::State>,
        new: &customers::State,
        emit: &mut dyn FnMut((Key, CompactString), isize),
    ) {
        if old.is_some_and(|it| it.is_as_told_in(new)) {
            return;
        }
        let (old, new) = (old.and_then(|it| it.tier()), new.tier());
        if old == new {
            return;
        }
        let key: Key = (name.tenant().into(), crate::key_id(name));
        for (tier, n) in old.map(|it| (it, -1)).into_iter().chain(new.map(|it| (it, 1))) {
            emit((key.clone(), tier.into()), n);
        }
    }
}

/// Of orders.
pub(crate) struct Late;

impl Project<Orders> for Late {
    type Data = Key;
    type Diff = isize;

    fn change(
        &mut self,
        _: &Name,
        _: Option<&orders::State>,
        _: &orders::State,
        _: &mut dyn FnMut(Key, isize),
    ) {
        unreachable!("whether it is late depends on the instant: `change_at` is what is called");
    }

    #[inline]
    fn change_at(
        &mut self,
        name: &Name,
        old: Option<(&orders::State, Epoch)>,
        new: (&orders::State, Epoch),
        emit: &mut dyn FnMut(Key, isize),
    ) {
        let (old, new) = (old.and_then(|it| it.0.late_for(it.1)), new.0.late_for(new.1));
        if old == new {
            return;
        }
        for (customer, n) in old.map(|it| (it, -1)).into_iter().chain(new.map(|it| (it, 1))) {
            emit((name.tenant().into(), customer.into()), n);
        }
    }
}

/// A customer, their band of health, and the better one of which they were lately.
pub(crate) type Standing = (Key, CompactString, Option<CompactString>);

/// Of the health of customers.
pub(crate) struct Bands;

impl Project<Health> for Bands {
    type Data = Standing;
    type Diff = isize;

    fn change(
        &mut self,
        _: &Name,
        _: Option<&health::State>,
        _: &health::State,
        _: &mut dyn FnMut(Standing, isize),
    ) {
        unreachable!("a band depends on the day: `change_at` is what is called");
    }

    fn change_at(
        &mut self,
        name: &Name,
        old: Option<(&health::State, Epoch)>,
        new: (&health::State, Epoch),
        emit: &mut dyn FnMut(Standing, isize),
    ) {
        let (old, new) = (old.and_then(|it| it.0.standing(it.1)), new.0.standing(new.1));
        if old == new {
            return;
        }
        for ((band, before), n) in old.map(|it| (it, -1)).into_iter().chain(new.map(|it| (it, 1))) {
            emit(((name.tenant().into(), crate::key_id(name)), band, before), n);
        }
    }
}

/// Of claims.
pub(crate) struct Picks;

impl Project<Claims> for Picks {
    type Data = Period;
    type Diff = Load;

    fn change(
        &mut self,
        name: &Name,
        old: Option<&claims::State>,
        new: &claims::State,
        emit: &mut dyn FnMut(Period, Load),
    ) {
        for (state, n) in old.map(|it| (it, -1)).into_iter().chain([(new, 1)]) {
            let Some((queue, at)) = state.picked() else { continue };
            for period in periods(name.tenant(), queue, at) {
                emit(period, Load { n_claims: n, ..Load::default() });
            }
        }
    }
}
