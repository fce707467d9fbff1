//! Which of the series measured outside have a row.
//!
//! In: updates of all series. Out: those of series that stand, and a word to each that stands no more.
//!
//! # Meaning
//! Of the series that a tenant ever measured, the [`SERIES_MAX`] stand whose keys have the smallest
//! hashes; of the others nothing is kept. More names only push some out: one that does not stand now
//! never will again, so what a row says is all that was measured of it, in whatever order it came
//! (`tests::a_function_of_the_set`). Series of the tenant's own events are as many as the contract has
//! types, and go through at once.
//!
//! # Invariants
//! A tenant's series meet on one worker, and of an epoch all are there before one is let through: what
//! came first within an epoch is nothing that the events say.
//!
//! # State
//! A name, a fingerprint and sixteen bytes for each series that stands, on its tenant's worker; the
//! measurements of epochs not yet complete. Loaded states are the series that stand. A series that was pushed out
//! leaves an empty entry in the map; names in an order that the hash does not know push out some
//! `SERIES_MAX * ln(n / SERIES_MAX)` of n.
//!
//! # Why this way
//! The first to come would depend on the order, and a sum of the rest would add calls to kilowatts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use compact_str::CompactString;
use parking_lot::Mutex;
use schemas::names::{Fingerprint, Name};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;

use super::{Counted, DEF, LoadForecast, Update};
use crate::served::{Served, route};
use crate::{Addressed, Epoch, hash_of};

/// Series measured outside, of a tenant, that have rows at the most.
pub const SERIES_MAX: usize = 1_000;

/// The place of a series among those of its tenant: the first stand.
pub(super) type Rank = (u64, Name);

pub(super) fn rank(name: &Name) -> Rank {
    (hash_of(name.key()), name.clone())
}

/// A tenant's series that stand: of each its fingerprint, and since which epoch.
type Series = BTreeMap<Rank, (Fingerprint, Epoch)>;

/// Those of all tenants.
#[derive(Default)]
pub(crate) struct Standing {
    most: usize,
    tenants: HashMap<CompactString, Series>,
}

impl Standing {
    fn of(most: usize) -> Standing {
        Standing { most, ..Standing::default() }
    }

    /// Those of which something is known, of the tenants that meet on a worker.
    pub(crate) fn recalled(
        map: &Served<LoadForecast>,
        (worker, workers): (usize, usize),
    ) -> Standing {
        let mut standing = Standing::of(SERIES_MAX);
        map.each_key(|key, name, state| {
            let is_here = meet(name) % workers as u64 == worker as u64;
            if is_here && state.is_known && state.counted == Counted::Not {
                standing.of_tenant(name).insert(rank(name), (key, 0));
            }
        });
        standing
    }

    fn of_tenant(&mut self, name: &Name) -> &mut Series {
        match self.tenants.contains_key(name.tenant()) {
            true => self.tenants.get_mut(name.tenant()).expect("it is there"),
            false => self.tenants.entry(name.tenant().into()).or_default(),
        }
    }

    /// Of what was measured in an epoch: that of series that stand, a word to those that stand no more,
    /// and of each tenant how much is left out.
    fn sift(
        &mut self,
        epoch: Epoch,
        said: Vec<Addressed<Update>>,
        mut pass: impl FnMut(Addressed<Update>),
    ) -> BTreeMap<CompactString, Less> {
        let most = self.most;
        let mut less: BTreeMap<CompactString, Less> = BTreeMap::new();
        let said: Vec<_> = said.into_iter().map(|it| (rank(&it.name), it)).collect();
        for (rank, it) in &said {
            let series = self.of_tenant(&it.name);
            if series.contains_key(rank)
                || series.len() >= most && series.last_key_value().is_some_and(|it| it.0 < rank)
            {
                continue;
            }
            series.insert(rank.clone(), (it.key, epoch));
            while series.len() > most {
                let Some(((_, name), (key, since))) = series.pop_last() else { break };
                if since < epoch {
                    less.entry(name.tenant().into()).or_default().pushed_out += 1;
                    pass(Addressed { key, name, update: Update::NO_MORE });
                }
            }
        }
        for (rank, it) in said {
            match self.of_tenant(&it.name).contains_key(&rank) {
                true => pass(it),
                false => less.entry(it.name.tenant().into()).or_default().measurements += 1,
            }
        }
        less
    }
}

/// What a tenant has less than it measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Less {
    /// Measurements of series that did not stand when they came.
    pub measurements: u64,
    /// Series that stood, and were pushed out with all that was measured of them.
    pub pushed_out: u64,
}

/// What was left out since the start, of each tenant of which something was: for whoever looks after
/// the process. Which of the two counts something goes to depends on what came first.
#[derive(Default)]
pub struct LeftOut(Mutex<BTreeMap<CompactString, Less>>);

impl LeftOut {
    fn add(&self, less: BTreeMap<CompactString, Less>) {
        if less.is_empty() {
            return;
        }
        let mut all = self.0.lock();
        for (tenant, less) in less {
            let it = all.entry(tenant).or_default();
            it.measurements += less.measurements;
            it.pushed_out += less.pushed_out;
        }
    }

    /// By tenant.
    pub fn tenants(&self) -> BTreeMap<CompactString, Less> {
        self.0.lock().clone()
    }
}

/// Where a tenant's series meet.
fn meet(name: &Name) -> u64 {
    hash_of(name.tenant())
}

/// Lets through what is of series that stand.
pub(crate) fn bounded<'s>(
    updates: Stream<'s, Epoch, Vec<Addressed<Update>>>,
    mut standing: Standing,
    left_out: Arc<LeftOut>,
) -> Stream<'s, Epoch, Vec<Addressed<Update>>> {
    let meet = Exchange::new(|it: &Addressed<Update>| match it.update.counted {
        Counted::Not => meet(&it.name),
        Counted::All | Counted::OneType => route(it.key),
    });
    type Out = CapacityContainerBuilder<Vec<Addressed<Update>>>;
    let name = format!("bound {}", DEF.name);
    updates.unary_frontier::<Out, _, _, _>(meet, &name, move |first, _| {
        let mut pending: BTreeMap<Epoch, Vec<Addressed<Update>>> = BTreeMap::new();
        let mut capability = Some(first);
        move |(input, frontier), output| {
            input.for_each(|at, said| {
                let mut session = output.session(&at);
                for it in said.drain(..) {
                    match it.update.counted {
                        Counted::Not => pending.entry(*at.time()).or_default().push(it),
                        Counted::All | Counted::OneType => session.give(it),
                    }
                }
            });
            let frontier = frontier.frontier().first().copied();
            while let Some(entry) = pending.first_entry() {
                let epoch = *entry.key();
                let Some(capability) =
                    capability.as_ref().filter(|_| frontier.is_none_or(|it| it > epoch))
                else {
                    break;
                };
                let at = capability.delayed(&epoch);
                let mut session = output.session(&at);
                left_out.add(standing.sift(epoch, entry.remove(), |it| session.give(it)));
            }
            match (frontier, &mut capability) {
                (Some(frontier), Some(capability)) => capability.downgrade(&frontier),
                _ => capability = None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn said(series: u8, n: i64) -> Addressed<Update> {
        let name = Name::new("t", &super::super::key_of("measured", &series.to_string(), 5));
        let update = Update { minutes: 5, bucket: n, n, counted: Counted::Not };
        Addressed { key: series.into(), name, update }
    }

    proptest! {
        /// Goal: what is let through, with what is taken back, is all that was measured of the series
        /// with the smallest hashes, at every epoch, however it is dealt out over epochs and whatever
        /// the order; also when the series that stand are recalled in the midst; and whatever is less
        /// than what was measured is counted. Method: measurements
        /// of some series at random, against the set of their names; at most three stand.
        #[test]
        fn a_function_of_the_set(
            epochs in prop::collection::vec(prop::collection::vec(0..12_u8, 0..6), 1..12),
            recalled_at in 0..12_usize,
        ) {
            const MOST: usize = 3;
            let mut standing = Standing::of(MOST);
            let mut held: BTreeMap<Fingerprint, Vec<i64>> = BTreeMap::new();
            let mut all: Vec<(u8, i64)> = Vec::new();
            for (at, series) in epochs.iter().enumerate() {
                let epoch = at as Epoch + 1;
                if at == recalled_at {
                    standing = Standing::of(MOST);
                    for key in held.keys() {
                        let name = said(*key as u8, 0).name;
                        standing.of_tenant(&name).insert(rank(&name), (*key, 0));
                    }
                }
                let words: Vec<_> = series.iter().map(|it| (*it, all.len() as i64)).collect();
                all.extend(&words);
                let words = words.iter().map(|(it, n)| said(*it, *n)).collect();
                let (mut passed, mut pushed_out) = (0, 0);
                let less = standing.sift(epoch, words, |it| match it.update.minutes {
                    0 => {
                        pushed_out += 1;
                        assert!(held.remove(&it.key).is_some(), "it stood before");
                    }
                    _ => {
                        passed += 1;
                        held.entry(it.key).or_default().push(it.update.n);
                    }
                });
                let measurements = (series.len() - passed) as u64;
                let counted = less.get("t").copied().unwrap_or_default();
                prop_assert_eq!(counted, Less { measurements, pushed_out });
                let names: BTreeSet<_> = all.iter().map(|it| (rank(&said(it.0, 0).name), it.0)).collect();
                let stand: BTreeSet<u8> = names.into_iter().take(MOST).map(|it| it.1).collect();
                let mut expected: BTreeMap<Fingerprint, Vec<i64>> = BTreeMap::new();
                for (series, n) in all.iter().filter(|it| stand.contains(&it.0)) {
                    expected.entry((*series).into()).or_default().push(*n);
                }
                prop_assert_eq!(&held, &expected);
            }
        }
    }
}
