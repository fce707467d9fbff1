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
//! Per key what of its text the one before does not begin with (two digits in a byte, where it is
//! digits) plus seven bytes; while two runs are merged, both and the result.
//!
//! # Why this way
//! Merged off the worker in bulk a new key costs about 57 ns, in a tree one by one 430
//! (FIELD-NOTES 4), and a tree of owned texts takes four times the memory.

use std::sync::Arc;

use parking_lot::Mutex;
use schemas::names::Name;

use crate::packed::{Reader, Writer};

/// A run's blocks begin at what four bytes can say; longer ones stay apart.
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

/// Some keys in order. Each says how much of the one before it begins with, and how it goes on;
/// every [`BLOCK`]th stands whole.
#[derive(Default)]
pub(crate) struct Run {
    bytes: Vec<u8>,
    /// Where each block begins.
    blocks: Vec<u32>,
    slots: Vec<u32>,
    shards: Vec<u8>,
}

/// Keys of a block: so many are read, half of them on average, to find one.
const BLOCK: usize = 16;

impl Run {
    fn sorted(mut born: Vec<&Born>) -> Run {
        born.sort_unstable_by(|a, b| (&a.name, a.place).cmp(&(&b.name, b.place)));
        let mut run = Making::of(born.len(), 0);
        for Born { name, place } in born {
            run.push(name.text().as_bytes(), *place);
        }
        run.made()
    }

    /// Two runs as one, without the keys that `keep` does not want.
    fn merged(a: &Run, b: &Run, keep: &dyn Fn(&[u8], Place) -> bool) -> Run {
        let mut run = Making::of(a.len() + b.len(), a.bytes.len() + b.bytes.len());
        let (mut a, mut b) = (Reading::from(a, 0), Reading::from(b, 0));
        let (mut of_a, mut of_b) = (a.next(), b.next());
        loop {
            let first = match (of_a, of_b) {
                (None, None) => return run.made(),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(of_a), Some(of_b)) => (a.text(), of_a) <= (b.text(), of_b),
            };
            let (reading, place) = if first { (&mut a, &mut of_a) } else { (&mut b, &mut of_b) };
            if let Some(place) = *place
                && !run.ends_with(reading.text(), place)
                && keep(reading.text(), place)
            {
                run.push(reading.text(), place);
            }
            *place = reading.next();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn first_not(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = low.midpoint(high);
            let mut reading = Reading::from(self, middle * BLOCK);
            if reading.next().is_some() && before(reading.text()) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        // It stands in the block before, or begins this one.
        let mut n = low.saturating_sub(1) * BLOCK;
        let mut reading = Reading::from(self, n);
        while n < low * BLOCK && reading.next().is_some() && before(reading.text()) {
            n += 1;
        }
        n
    }

    fn bytes(&self) -> usize {
        self.bytes.capacity()
            + self.blocks.capacity() * 4
            + self.slots.capacity() * 4
            + self.shards.capacity()
    }
}

/// A run that is being made, in the order of its keys.
struct Making {
    run: Run,
    last: Vec<u8>,
}

impl Making {
    /// With room for so many keys, and so many bytes of them.
    fn of(keys: usize, bytes: usize) -> Making {
        let run = Run {
            bytes: Vec::with_capacity(bytes),
            blocks: Vec::with_capacity(keys.div_ceil(BLOCK)),
            slots: Vec::with_capacity(keys),
            shards: Vec::with_capacity(keys),
        };
        Making { run, last: Vec::new() }
    }

    fn push(&mut self, text: &[u8], place: Place) {
        let run = &mut self.run;
        let begins = run.len().is_multiple_of(BLOCK);
        if begins {
            run.blocks.push(run.bytes.len() as u32);
        }
        let same = || text.iter().zip(&self.last).take_while(|it| it.0 == it.1).count();
        let shared = if begins { 0 } else { same() };
        let rest = &text[shared..];
        let digits = rest.len() > 1 && rest.iter().all(|it| digit(*it).is_some());
        let mut writer = Writer(&mut run.bytes);
        writer.count(shared as u64);
        writer.count((rest.len() as u64) << 1 | u64::from(digits));
        if digits {
            let nibble = |it: Option<&u8>| it.and_then(|it| digit(*it)).unwrap_or(0);
            run.bytes.extend(rest.chunks(2).map(|it| nibble(it.first()) << 4 | nibble(it.get(1))));
        } else {
            run.bytes.extend_from_slice(rest);
        }
        run.slots.push(place.slot);
        run.shards.push(place.shard);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
    }

    /// Whether this was pushed last.
    fn ends_with(&self, text: &[u8], place: Place) -> bool {
        let run = &self.run;
        let last = run.shards.last().zip(run.slots.last());
        last == Some((&place.shard, &place.slot)) && self.last == text
    }

    fn made(self) -> Run {
        let mut run = self.run;
        run.bytes.shrink_to_fit();
        run.blocks.shrink_to_fit();
        run.slots.shrink_to_fit();
        run.shards.shrink_to_fit();
        run
    }
}

/// What a hexadecimal digit says; two of them are one byte.
pub(super) fn digit(it: u8) -> Option<u8> {
    match it {
        b'0'..=b'9' => Some(it - b'0'),
        b'a'..=b'f' => Some(it - b'a' + 10),
        _ => None,
    }
}

/// Reads a run, key by key.
pub(crate) struct Reading<'r> {
    run: &'r Run,
    next: usize,
    rest: Reader<'r>,
    text: Vec<u8>,
}

impl<'r> Reading<'r> {
    /// From a key on; at the end, there is none.
    fn from(run: &'r Run, n: usize) -> Reading<'r> {
        let block = n / BLOCK;
        let start = run.blocks.get(block).map_or(run.bytes.len(), |it| *it as usize);
        let rest = Reader(&run.bytes[start..]);
        let mut reading = Reading { run, next: block * BLOCK, rest, text: Vec::new() };
        while reading.next < n.min(run.len()) {
            reading.next();
        }
        reading
    }

    /// Goes to the next key; gives its place.
    fn next(&mut self) -> Option<Place> {
        let slot = *self.run.slots.get(self.next)?;
        let shard = self.run.shards[self.next];
        self.next += 1;
        let shared = self.rest.count() as usize;
        let said = self.rest.count() as usize;
        let n = said >> 1;
        self.text.truncate(shared);
        if said & 1 == 0 {
            self.text.extend_from_slice(self.rest.bytes(n));
        } else {
            let bytes = self.rest.bytes(n.div_ceil(2));
            let digits = bytes.iter().flat_map(|it| [it >> 4, it & 15]);
            let digits = digits.map(|it| b"0123456789abcdef"[usize::from(it)]);
            self.text.extend(digits.take(n));
        }
        Some(Place { shard, slot })
    }

    /// The key that was gone to.
    fn text(&self) -> &[u8] {
        &self.text
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
        let fits = a.bytes.len() + b.bytes.len() <= RUN_BYTES_MAX;
        (fits && (all || a.len() <= b.len() * 2)).then(|| (a.clone(), b.clone()))
    }
}

/// A walk through one source, in the order of the key's text.
pub(crate) enum Walk<'a> {
    Run {
        reading: Reading<'a>,
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

impl Walk<'_> {
    /// It ended, but there would have been more.
    pub(crate) fn is_cut_short(&self) -> bool {
        matches!(self, Walk::Recent { born, next, cut: true } if *next == born.len())
    }

    /// The key's text and place that stand next.
    pub(crate) fn next(&mut self) -> Option<(Box<[u8]>, Place)> {
        match self {
            Walk::Run { reading, prefix, end } => {
                if reading.next >= *end {
                    return None;
                }
                let place = reading.next()?;
                Some((reading.text()[*prefix..].into(), place))
            }
            Walk::Recent { born, next, .. } => {
                let it = born.get(*next)?;
                *next += 1;
                Some((it.name.key().as_bytes().into(), it.place))
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
                Walk::Run { reading: Reading::from(run, next), prefix, end: end.max(next) }
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
            // Texts that are digits, that end in digits, and that do not.
            before in prop::sample::select(vec!["", "é", "msg_0f"]),
            behind in prop::sample::select(vec!["", "f0", "-", "0123456789abcdef"]),
        ) {
            let text = |n: u32| format!("{before}{n}{behind}");
            let keys = Keys::default();
            let mut expected = std::collections::BTreeSet::new();
            for (batch, merge) in batches {
                let batch: Vec<Born> = batch
                    .into_iter()
                    .filter(|it| expected.insert(*it))
                    .map(|(tenant, n)| Born {
                        name: Name::new(&format!("t{tenant}"), &text(n)),
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
            let after = after.map(text);
            let snapshot = keys.snapshot();
            let mut found = Vec::new();
            for mut walk in snapshot.walks("t1", after.as_deref(), usize::MAX) {
                let mut last = None;
                while let Some((text, place)) = walk.next() {
                    prop_assert!(last.as_ref() < Some(&text), "in order");
                    found.push((String::from_utf8(text.to_vec()).unwrap(), place));
                    last = Some(text);
                }
            }
            found.sort();
            let mut wanted: Vec<_> = expected
                .into_iter()
                .filter(|it| it.0 == 1)
                .map(|(shard, slot)| (text(slot), Place { shard, slot }))
                .filter(|it| after.as_ref().is_none_or(|after| it.0 > *after))
                .collect();
            wanted.sort();
            prop_assert_eq!(found, wanted);
        }
    }
}
