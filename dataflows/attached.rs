//! What is known of something, with what it stands in.
//!
//! In: a collection of what stands under keys, and one in which a key stands once at the most. Out:
//! of each of the first what is made of both.
//!
//! # Meaning
//! At each complete epoch the records are exactly `make(key, one, other)` of every one of the first
//! collection, with what stands under its key in the second, if anything does: a left join.
//!
//! # Invariants
//! A key under which two stand in the second at a complete epoch is a mistake of who sends them: the
//! greater one counts, and a build for tests stops.
//!
//! # State
//! Per key those of the first and the other: nothing of the past.
//!
//! # Why this way
//! A `join` looks for each changed key in what it has arranged over time, in several batches of
//! different ages, comparing names; here it is one look into a table (figures: docs/performance.md).

use std::collections::BTreeMap;
use std::hash::Hash;

use differential_dataflow::{AsCollection, ExchangeData, Hashable, VecCollection};
use hashbrown::hash_map::Entry;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;

use crate::Epoch;
use crate::grouped::{ByKey, Members, gathered};

/// What is added and taken away, under keys.
type Said<K, V> = Vec<((K, V), isize)>;

/// What came of one collection and is not of a complete epoch yet.
struct Pending<K, V>(BTreeMap<Epoch, Said<K, V>>);

impl<K: Eq + Hash, V: Ord> Pending<K, V> {
    fn add(&mut self, said: &mut Vec<((K, V), Epoch, isize)>) {
        for (it, epoch, n) in said.drain(..) {
            self.0.entry(epoch).or_default().push((it, n));
        }
    }

    /// The first epoch before a frontier.
    fn first(&self, frontier: Option<Epoch>) -> Option<Epoch> {
        let epoch = *self.0.first_key_value()?.0;
        frontier.is_none_or(|it| epoch < it).then_some(epoch)
    }

    /// By key.
    fn of(&mut self, epoch: Epoch) -> ByKey<K, Vec<(V, isize)>> {
        // Of the two collections one alone may have said something then.
        let said = self.0.remove(&epoch).unwrap_or_default();
        gathered(said.into_iter().map(|((key, it), n)| (key, it, n)))
    }
}

/// What stands under a key in both.
struct Stand<A, B> {
    ones: Members<A>,
    other: Option<B>,
}

impl<A, B> Default for Stand<A, B> {
    fn default() -> Self {
        Stand { ones: Members::default(), other: None }
    }
}

/// Each of the first collection, with what stands under its key in the second.
pub(crate) fn attached<'s, K, A, B, R>(
    ones: VecCollection<'s, Epoch, (K, A), isize>,
    others: VecCollection<'s, Epoch, (K, B), isize>,
    name: &str,
    make: impl Fn(&K, &A, Option<&B>) -> Option<R> + 'static,
) -> VecCollection<'s, Epoch, R, isize>
where
    K: ExchangeData + Hash,
    A: ExchangeData,
    B: ExchangeData,
    R: Clone + 'static,
{
    let one_by_key = Exchange::new(|it: &((K, A), Epoch, isize)| it.0.0.hashed());
    let other_by_key = Exchange::new(|it: &((K, B), Epoch, isize)| it.0.0.hashed());
    type Out<R> = CapacityContainerBuilder<Vec<(R, Epoch, isize)>>;
    let made = ones.inner.binary_frontier::<_, Out<R>, _, _, _, _>(
        others.inner,
        one_by_key,
        other_by_key,
        name,
        move |first, _| {
            // In boxes: half of a table is empty.
            let mut stand: ByKey<K, Box<Stand<A, B>>> = ByKey::default();
            let (mut ones, mut others) = (Pending(BTreeMap::new()), Pending(BTreeMap::new()));
            let mut capability = Some(first);
            move |(one, one_frontier), (other, other_frontier), output| {
                one.for_each(|_, said| ones.add(said));
                other.for_each(|_, said| others.add(said));
                let frontiers = [one_frontier, other_frontier];
                let frontier = frontiers.iter().filter_map(|it| it.frontier().first().copied());
                let frontier = frontier.min();
                while let Some(epoch) =
                    ones.first(frontier).into_iter().chain(others.first(frontier)).min()
                {
                    let (mut came, others) = (ones.of(epoch), others.of(epoch));
                    let Some(capability) = &capability else { break };
                    let mut session = output.session(capability);
                    let moved: Vec<_> = others
                        .into_iter()
                        .map(|(key, said)| (came.remove(&key).unwrap_or_default(), key, Some(said)))
                        .collect();
                    let rest = came.into_iter().map(|(key, came)| (came, key, None));
                    for (came, key, moved) in moved.into_iter().chain(rest) {
                        let mut entry = match stand.entry(key) {
                            Entry::Occupied(entry) => entry,
                            Entry::Vacant(entry) => entry.insert_entry(Box::default()),
                        };
                        let mut it = std::mem::take(&mut **entry.get_mut());
                        let mut say = |one: &A, other: Option<&B>, n| {
                            let made = make(entry.key(), one, other);
                            session.give_iterator(made.into_iter().map(|it| (it, epoch, n)));
                        };
                        match moved {
                            None => {
                                came.iter().for_each(|(one, n)| say(one, it.other.as_ref(), *n));
                                it.ones.take(came);
                            }
                            Some(said) => {
                                let before = it.other.take();
                                let all = it.ones.all().iter();
                                all.for_each(|(one, n)| say(one, before.as_ref(), -n));
                                it.ones.take(came);
                                it.other = newest(said);
                                let all = it.ones.all().iter();
                                all.for_each(|(one, n)| say(one, it.other.as_ref(), *n));
                            }
                        }
                        if it.ones.all().is_empty() && it.other.is_none() {
                            entry.remove();
                        } else {
                            **entry.get_mut() = it;
                        }
                    }
                }
                match (frontier, &mut capability) {
                    (Some(frontier), Some(capability)) => capability.downgrade(&frontier),
                    _ => capability = None,
                }
            }
        },
    );
    made.as_collection()
}

/// What stands after what was said.
fn newest<B: Ord>(said: Vec<(B, isize)>) -> Option<B> {
    let mut came = said.into_iter().filter(|it| it.1 > 0).map(|it| it.0);
    let newest = came.next_back();
    debug_assert!(came.next().is_none(), "one stands under a key");
    newest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use differential_dataflow::input::InputSession;
    use proptest::prelude::*;
    use timely::dataflow::ProbeHandle;
    use timely::dataflow::operators::Probe;

    use super::*;
    use crate::histories::Held;

    type Input = InputSession<Epoch, (u8, u8), isize>;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// Goal: at every epoch each of the first has what stands under its key in the second. Method:
        /// values come and go under keys of the first, and come, change and go under those of the
        /// second, at random, several times an epoch.
        #[test]
        fn each_with_what_it_stands_in(
            epochs in proptest::collection::vec(
                proptest::collection::vec((any::<bool>(), 0..4_u8, proptest::option::of(0..3_u8)), 0..8),
                1..12,
            ),
        ) {
            timely::execute_directly(move |worker| {
                let (mut ones, mut others) = (Input::new(), Input::new());
                let (probe, held) = (ProbeHandle::new(), Held::default());
                worker.dataflow(|scope| {
                    let inputs = (ones.to_collection(scope), others.to_collection(scope));
                    let made = attached(inputs.0, inputs.1, "made", |key: &u8, one, other| {
                        (*one != 2 || other.is_some()).then(|| (*key, *one, other.copied()))
                    });
                    held.watch(made).inner.probe_with(&probe);
                });
                let (mut there, mut stands) = (BTreeSet::new(), BTreeMap::new());
                for (epoch, said) in (1..).zip(epochs) {
                    for (is_one, key, value) in said {
                        if is_one {
                            let it = (key, value.unwrap_or(0));
                            let came = there.insert(it);
                            if !came {
                                there.remove(&it);
                            }
                            ones.update(it, if came { 1 } else { -1 });
                            continue;
                        }
                        let before = match value {
                            Some(it) => stands.insert(key, it),
                            None => stands.remove(&key),
                        };
                        before.into_iter().for_each(|it| others.update((key, it), -1));
                        value.into_iter().for_each(|it| others.update((key, it), 1));
                    }
                    for input in [&mut ones, &mut others] {
                        input.advance_to(epoch);
                        input.flush();
                    }
                    worker.step_while(|| probe.less_than(&epoch));
                    let each = there.iter().map(|(key, one)| (*key, *one, stands.get(key).copied()));
                    let expected: Vec<_> = each.filter(|it| it.1 != 2 || it.2.is_some()).collect();
                    assert_eq!(held.all(), expected);
                }
            });
        }
    }
}
