//! The keys of one worker's part of a map, in the order of their text.
//!
//! ```text
//!  worker ─▶ recent: new keys, a batch per epoch ─(housekeeping: sort)─▶ run
//!                                           run, run, … ─(merge the like-sized)─▶ longer run
//! ```
//!
//! # Invariants
//! Every key ever born is in exactly one recent batch or run at every moment (in two runs when a
//! slot was given back and the key born again). Runs never change; a reader holds them by `Arc`
//! and blocks nobody. Each run is more than twice as long as the next, so there are at most some
//! thirty.
//!
//! # State
//! Per key its text plus nine bytes; while two runs are merged, both and the result.
//!
//! # Why this way
//! Merged off the worker in bulk a new key costs about 57 ns, in a tree one by one 430
//! (FIELD-NOTES 4), and a tree of owned texts takes four times the memory.

use std::sync::Arc;

use parking_lot::Mutex;
use schemas::names::Name;

/// A run's text ends at what four bytes can say; longer ones stay apart.
const RUN_BYTES_MAX: usize = 1 << 31;

/// Between tenant and key text, as in [`Name`].
const SEPARATOR: u8 = 0;

/// Where an entity lies in its worker's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) shard: u8,
    pub(crate) slot: u32,
}

/// A new key.
pub(crate) struct Born {
    pub(crate) name: Name,
    pub(crate) place: Place,
}

/// Some keys in order.
#[derive(Default)]
pub(crate) struct Run {
    text: Vec<u8>,
    ends: Vec<u32>,
    slots: Vec<u32>,
    shards: Vec<u8>,
}

impl Run {
    fn with_capacity(keys: usize, bytes: usize) -> Run {
        Run {
            text: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(keys),
            slots: Vec::with_capacity(keys),
            shards: Vec::with_capacity(keys),
        }
    }

    fn sorted(mut born: Vec<&Born>) -> Run {
        born.sort_unstable_by(|a, b| (&a.name, a.place).cmp(&(&b.name, b.place)));
        let bytes = born.iter().map(|it| it.name.tenant().len() + 1 + it.name.key().len()).sum();
        let mut run = Run::with_capacity(born.len(), bytes);
        for Born { name, place } in born {
            run.text.extend_from_slice(name.tenant().as_bytes());
            run.text.push(SEPARATOR);
            run.text.extend_from_slice(name.key().as_bytes());
            run.close(*place);
        }
        run
    }

    /// Two runs as one, without the keys that `keep` does not want.
    fn merged(a: &Run, b: &Run, keep: &dyn Fn(&[u8], Place) -> bool) -> Run {
        let mut run = Run::with_capacity(a.len() + b.len(), a.text.len() + b.text.len());
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            let first = j == b.len() || i < a.len() && a.at(i) <= b.at(j);
            let (text, place) = if first { a.at(i) } else { b.at(j) };
            *(if first { &mut i } else { &mut j }) += 1;
            let again = run.len() > 0 && run.at(run.len() - 1) == (text, place);
            if !again && keep(text, place) {
                run.text.extend_from_slice(text);
                run.close(place);
            }
        }
        run
    }

    fn close(&mut self, place: Place) {
        self.ends.push(self.text.len() as u32);
        self.slots.push(place.slot);
        self.shards.push(place.shard);
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn at(&self, n: usize) -> (&[u8], Place) {
        let start = if n == 0 { 0 } else { self.ends[n - 1] as usize };
        let place = Place { shard: self.shards[n], slot: self.slots[n] };
        (&self.text[start..self.ends[n] as usize], place)
    }

    fn first_not(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(self.at(middle).0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn bytes(&self) -> usize {
        self.text.capacity()
            + self.ends.capacity() * 4
            + self.slots.capacity() * 4
            + self.shards.capacity()
    }
}

#[derive(Default)]
struct State {
    /// Longest first.
    runs: Vec<Arc<Run>>,
    recent: Vec<Arc<Vec<Born>>>,
    /// The batch that is being loaded, not yet among the recent.
    loading: Vec<Born>,
}

impl State {
    /// All that is not merged yet.
    fn recent(&mut self) -> Vec<Arc<Vec<Born>>> {
        if !self.loading.is_empty() {
            self.recent.push(Arc::new(std::mem::take(&mut self.loading)));
        }
        self.recent.clone()
    }
}

/// The keys of one worker's part.
#[derive(Default)]
pub(crate) struct Keys {
    state: Mutex<State>,
    /// Held while merging: one at a time.
    merging: Mutex<()>,
}

/// What a reader walks: all runs and all that is not yet merged.
pub(crate) struct Snapshot {
    runs: Vec<Arc<Run>>,
    recent: Vec<Arc<Vec<Born>>>,
}

impl Keys {
    /// Takes the new keys of an epoch; called before the epoch is published.
    pub(crate) fn push(&self, born: Vec<Born>) {
        self.state.lock().recent.push(Arc::new(born));
    }

    /// Takes one key that was there from the start: cheaply, and not from a worker.
    pub(crate) fn load(&self, born: Born) {
        self.state.lock().loading.push(born);
    }

    /// What there is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock();
        Snapshot { runs: state.runs.clone(), recent: state.recent() }
    }

    /// Bytes of the runs and of what waits to be merged.
    pub(crate) fn bytes(&self) -> usize {
        let state = self.state.lock();
        state.runs.iter().map(|it| it.bytes()).sum::<usize>()
            + state.recent.iter().map(|it| it.capacity() * size_of::<Born>()).sum::<usize>()
            + state.loading.capacity() * size_of::<Born>()
    }

    /// Merges what is recent into the runs; true if there was something. With `all`, everything
    /// into one run, of the keys that `keep` wants.
    pub(crate) fn merge(&self, all: bool, keep: &dyn Fn(&[u8], Place) -> bool) -> bool {
        let _one = self.merging.lock();
        let recent = self.state.lock().recent();
        if !recent.is_empty() {
            let run = Run::sorted(recent.iter().flat_map(|it| it.iter()).collect());
            let mut state = self.state.lock();
            state.recent.drain(..recent.len());
            state.runs.push(Arc::new(run));
        }
        if all {
            self.sift(keep);
        }
        while let Some((a, b)) = self.pair(all) {
            let run = Run::merged(&a, &b, &|_, _| true);
            let mut state = self.state.lock();
            let n = state.runs.len();
            state.runs.truncate(n - 2);
            state.runs.push(Arc::new(run));
        }
        !recent.is_empty()
    }

    /// Each run without the keys that nobody needs.
    fn sift(&self, keep: &dyn Fn(&[u8], Place) -> bool) {
        let runs = self.state.lock().runs.clone();
        let empty = Run::default();
        let sifted = runs.iter().map(|it| Arc::new(Run::merged(it, &empty, keep))).collect();
        self.state.lock().runs = sifted;
    }

    /// The two last runs, when they are of like size.
    fn pair(&self, all: bool) -> Option<(Arc<Run>, Arc<Run>)> {
        let state = self.state.lock();
        let [.., a, b] = &state.runs[..] else { return None };
        let fits = a.text.len() + b.text.len() <= RUN_BYTES_MAX;
        (fits && (all || a.len() <= b.len() * 2)).then(|| (a.clone(), b.clone()))
    }
}

/// A walk through one source, in the order of the key's text.
pub(crate) enum Walk<'a> {
    Run {
        run: &'a Run,
        next: usize,
        prefix: usize,
        end: usize,
    },
    /// `cut`: there are more behind them.
    Recent {
        born: Vec<&'a Born>,
        next: usize,
        cut: bool,
    },
}

impl<'a> Walk<'a> {
    /// It ended, but there would have been more.
    pub(crate) fn is_cut_short(&self) -> bool {
        matches!(self, Walk::Recent { born, next, cut: true } if *next == born.len())
    }

    /// The key's text and place that stand next.
    pub(crate) fn next(&mut self) -> Option<(&'a [u8], Place)> {
        match self {
            Walk::Run { run, next, prefix, end } => {
                if next == end {
                    return None;
                }
                let (text, place) = run.at(*next);
                *next += 1;
                Some((&text[*prefix..], place))
            }
            Walk::Recent { born, next, .. } => {
                let it = born.get(*next)?;
                *next += 1;
                Some((it.name.key().as_bytes(), it.place))
            }
        }
    }
}

impl Snapshot {
    /// Walks of a tenant's keys after a key text. About `at_most` keys of what is not merged yet
    /// are put in order; a walk that is cut there says so when it ends.
    pub(crate) fn walks<'a>(
        &'a self,
        tenant: &str,
        after: Option<&str>,
        at_most: usize,
    ) -> Vec<Walk<'a>> {
        let mut low = tenant.as_bytes().to_vec();
        low.push(SEPARATOR);
        let prefix = low.len();
        let high = [tenant.as_bytes(), &[SEPARATOR + 1]].concat();
        if let Some(after) = after {
            low.extend_from_slice(after.as_bytes());
        }
        let mut walks: Vec<Walk<'a>> = self
            .runs
            .iter()
            .map(|run| {
                let next = match after {
                    Some(_) => run.first_not(|text| text <= &low[..]),
                    None => run.first_not(|text| text < &low[..]),
                };
                let end = run.first_not(|text| text < &high[..]);
                Walk::Run { run, next, prefix, end: end.max(next) }
            })
            .collect();
        let wanted = |it: &&Born| {
            it.name.tenant() == tenant && after.is_none_or(|after| it.name.key() > after)
        };
        let mut born: Vec<&Born> =
            self.recent.iter().flat_map(|it| it.iter()).filter(wanted).collect();
        let order = |a: &&Born, b: &&Born| (&a.name, a.place).cmp(&(&b.name, b.place));
        let mut cut = false;
        if born.len() > at_most {
            let (below, last, _) = born.select_nth_unstable_by(at_most, order);
            // Never between two of the same name.
            let last = &last.name;
            let within: Vec<&Born> = below.iter().copied().filter(|it| it.name < *last).collect();
            cut = !within.is_empty();
            if cut {
                born = within;
            }
        }
        born.sort_unstable_by(order);
        walks.push(Walk::Recent { born, next: 0, cut });
        walks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: whatever was merged when, walks give every key of a tenant after a text, in
        /// order. Method: random keys in random batches, merges between, against a sorted set.
        #[test]
        fn walks_are_complete_and_ordered(
            batches in prop::collection::vec(
                (prop::collection::vec((0..3_u8, 0..200_u32), 0..20), any::<bool>()), 0..30),
            after in prop::option::of(0..200_u32),
        ) {
            let keys = Keys::default();
            let mut expected = std::collections::BTreeSet::new();
            for (batch, merge) in batches {
                let batch: Vec<Born> = batch
                    .into_iter()
                    .filter(|it| expected.insert(*it))
                    .map(|(tenant, n)| Born {
                        name: Name::new(&format!("t{tenant}"), &n.to_string()),
                        place: Place { shard: tenant, slot: n },
                    })
                    .collect();
                keys.push(batch);
                if merge {
                    keys.merge(false, &|_, _| true);
                }
            }
            let runs = keys.snapshot().runs.iter().map(|it| it.len()).collect::<Vec<_>>();
            prop_assert!(runs.windows(2).all(|it| it[0] > it[1] * 2), "{:?}", runs);
            let after = after.map(|it| it.to_string());
            let snapshot = keys.snapshot();
            let mut found = Vec::new();
            for mut walk in snapshot.walks("t1", after.as_deref(), usize::MAX) {
                let mut last = None;
                while let Some((text, place)) = walk.next() {
                    prop_assert!(last < Some(text), "in order");
                    last = Some(text);
                    found.push((String::from_utf8(text.to_vec()).unwrap(), place));
                }
            }
            found.sort();
            let mut wanted: Vec<_> = expected
                .into_iter()
                .filter(|it| it.0 == 1)
                .map(|(shard, slot)| (slot.to_string(), Place { shard, slot }))
                .filter(|it| after.as_ref().is_none_or(|after| it.0 > *after))
                .collect();
            wanted.sort();
            prop_assert_eq!(found, wanted);
        }
    }
}
