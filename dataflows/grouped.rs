//! What is held under one key, put together as one record.
//!
//! In: members under keys. Out: of each key whose members changed, the record before and the one
//! after.
//!
//! # Meaning
//! At each complete epoch the record of a key is made of exactly the members that are under it then,
//! in their order; a key without members has none. That is a `reduce` with one record out.
//!
//! # State
//! Per key its members, as often as they are there, and the record: nothing of the past.
//!
//! # Why this way
//! A `reduce` keeps the history of what goes in and comes out, and goes through all of it for each
//! key that changes: one of fifty customers who are a person bought something, and fifty are copied
//! and compared several times. Here the changed one is found by halving, and fifty are read once
//! (figures: docs/performance.md).

use std::collections::BTreeMap;
use std::hash::Hash;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{AsCollection, ExchangeData, Hashable, VecCollection};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;

use crate::Epoch;
use crate::insert_tight;

/// Of one key: the record before, the record after.
pub(crate) type Change<R> = (Option<R>, Option<R>);

/// Members of keys, added and taken away.
type Said<K, V> = Vec<((K, V), isize)>;

/// What stands under one key, in order, as often as it is there.
pub(crate) struct Members<V>(Vec<(V, isize)>);

impl<V> Default for Members<V> {
    fn default() -> Self {
        Members(Vec::new())
    }
}

impl<V: Ord> Members<V> {
    pub(crate) fn all(&self) -> &[(V, isize)] {
        &self.0
    }

    pub(crate) fn take(&mut self, changes: impl IntoIterator<Item = (V, isize)>) {
        for (member, n) in changes {
            match self.0.binary_search_by(|it| it.0.cmp(&member)) {
                Ok(at) => {
                    self.0[at].1 += n;
                    if self.0[at].1 == 0 {
                        self.0.remove(at);
                    }
                }
                Err(at) => {
                    insert_tight(&mut self.0, at, (member, n));
                }
            }
        }
    }
}

/// Something under each key. Keys are names that come from outside: hashed by what no sender knows.
pub(crate) type ByKey<K, T> = HashMap<K, T, RandomState>;

/// By key what is said of it, without what cancels: most keys are said little of, so that little is
/// compared.
pub(crate) fn gathered<K: Eq + Hash, V: Ord>(
    said: impl ExactSizeIterator<Item = (K, V, isize)>,
) -> ByKey<K, Vec<(V, isize)>> {
    // Mostly a row takes the place of another.
    let mut by_key: ByKey<K, Vec<(V, isize)>> =
        HashMap::with_capacity_and_hasher(said.len() / 2, RandomState::default());
    for (key, it, n) in said {
        by_key.entry(key).or_default().push((it, n));
    }
    by_key.retain(|_, said| {
        match &**said {
            [(_, n)] => return *n != 0,
            _ => consolidate(said),
        }
        !said.is_empty()
    });
    by_key
}

struct Group<V, R> {
    members: Members<V>,
    record: Option<R>,
}

impl<V, R> Default for Group<V, R> {
    fn default() -> Self {
        Group { members: Members::default(), record: None }
    }
}

/// The changes of every key's record, epoch by epoch. `make` has at least one member.
pub(crate) fn grouped<'s, K, V, R>(
    members: VecCollection<'s, Epoch, (K, V), isize>,
    name: &str,
    make: impl Fn(&K, &[(V, isize)]) -> Option<R> + 'static,
) -> Stream<'s, Epoch, Vec<(Change<R>, Epoch)>>
where
    K: ExchangeData + Hash,
    V: ExchangeData,
    R: Clone + PartialEq + 'static,
{
    let by_key = Exchange::new(|it: &((K, V), Epoch, isize)| it.0.0.hashed());
    type Out<R> = CapacityContainerBuilder<Vec<(Change<R>, Epoch)>>;
    members.inner.unary_frontier::<Out<R>, _, _, _>(by_key, name, move |first, _| {
        // In boxes: half of a table is empty.
        let mut groups: ByKey<K, Box<Group<V, R>>> = ByKey::default();
        let mut pending: BTreeMap<Epoch, Said<K, V>> = BTreeMap::new();
        let mut capability = Some(first);
        move |(input, frontier), output| {
            input.for_each(|_, said| {
                for (member, epoch, n) in said.drain(..) {
                    pending.entry(epoch).or_default().push((member, n));
                }
            });
            let frontier = frontier.frontier().first().copied();
            while let Some(entry) = pending.first_entry() {
                let epoch = *entry.key();
                if frontier.is_some_and(|it| it <= epoch) {
                    break;
                }
                let said = entry.remove().into_iter().map(|((key, it), n)| (key, it, n));
                let Some(capability) = &capability else { break };
                let mut session = output.session(capability);
                for (key, changes) in gathered(said) {
                    let mut entry = match groups.entry(key) {
                        Entry::Occupied(entry) => entry,
                        Entry::Vacant(entry) => entry.insert_entry(Box::default()),
                    };
                    entry.get_mut().members.take(changes);
                    let members = entry.get().members.all();
                    let after = match members {
                        [] => None,
                        members => make(entry.key(), members),
                    };
                    let is_over = members.is_empty();
                    if entry.get().record != after {
                        let before = std::mem::replace(&mut entry.get_mut().record, after.clone());
                        session.give(((before, after), epoch));
                    }
                    if is_over {
                        entry.remove();
                    }
                }
            }
            match (frontier, &mut capability) {
                (Some(frontier), Some(capability)) => capability.downgrade(&frontier),
                _ => capability = None,
            }
        }
    })
}

/// The records, as a collection.
pub(crate) fn records<'s, R: Clone + 'static>(
    changes: Stream<'s, Epoch, Vec<(Change<R>, Epoch)>>,
) -> VecCollection<'s, Epoch, R, isize> {
    let each = changes.flat_map(|((before, after), epoch)| {
        let before = before.map(|it| (it, epoch, -1));
        before.into_iter().chain(after.map(|it| (it, epoch, 1)))
    });
    each.as_collection()
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// Goal: at every epoch each key has the record of exactly its members. Method: members come
        /// and go at random, several of an epoch at once, some of them in vain; the record lists them.
        #[test]
        fn a_record_is_made_of_who_is_there(
            epochs in proptest::collection::vec(proptest::collection::vec((0..4_u8, 0..5_u8), 0..8), 1..12),
        ) {
            timely::execute_directly(move |worker| {
                let mut input = InputSession::<Epoch, (u8, u8), isize>::new();
                let (probe, held) = (ProbeHandle::new(), Held::default());
                worker.dataflow(|scope| {
                    let groups = grouped(input.to_collection(scope), "groups", |key, all| {
                        assert!(!all.is_empty());
                        Some((*key, all.iter().map(|it| it.0).collect::<Vec<_>>()))
                    });
                    held.watch(records(groups)).inner.probe_with(&probe);
                });
                let mut there = BTreeSet::new();
                for (epoch, said) in (1..).zip(epochs) {
                    for it in said {
                        let came = there.insert(it);
                        if !came {
                            there.remove(&it);
                        }
                        input.update(it, if came { 1 } else { -1 });
                    }
                    input.advance_to(epoch);
                    input.flush();
                    worker.step_while(|| probe.less_than(&epoch));
                    let mut expected: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
                    there.iter().for_each(|(key, it)| expected.entry(*key).or_default().push(*it));
                    assert_eq!(held.all(), expected.into_iter().collect::<Vec<_>>());
                }
            });
        }
    }
}
