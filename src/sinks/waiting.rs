//! Which current rows of one view wait for one sink.
//!
//! # Meaning
//! A row waits from the checkpoint that holds it until a batch holds it, in the order of (epoch,
//! key). What it is is read from the served map when a batch is fixed: a row that was touched
//! since waits further behind, and is left out. So an entity costs at most one place, and the
//! newest row is what leaves.
//!
//! # Invariants
//! Of everything at or below the cursor the row was fixed, or was touched later. So the cursor
//! says after a crash which rows wait: those of the entities with later epochs. No list of them is
//! ever written. Where the crash took such a touch back the cursor goes back with it
//! ([`Book::go_back`](super::book::Book::go_back)): its record may never come again.
//!
//! # State
//! At most [`DUE_MAX`] places; of more only that there are more is remembered, and the map is looked
//! through for them ([`look`]).

use std::collections::VecDeque;
use std::sync::Arc;

use schemas::leaving::{Leaving, Spot};
use schemas::names::Fingerprint;
use schemas::reading::Gone;

use super::book::Cursor;
use crate::messages::Epoch;

/// Places remembered per view and sink: 8 MiB of them.
pub const DUE_MAX: usize = 256 << 10;

/// An entity whose row waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) epoch: Epoch,
    pub(super) key: Fingerprint,
    pub(super) spot: Spot,
}

impl Due {
    pub(super) fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, key: self.key }
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Each sorted; the epochs of one are above those of the one before.
    runs: VecDeque<(Arc<[Due]>, usize)>,
    n: usize,
    /// There is more than the runs say: the map is to be looked through, from the cursor on.
    lost: bool,
    /// What was touched up to here has been told; what was not asked for, too.
    upto: Epoch,
}

impl Waiting {
    /// Everything after the cursor waits, and nobody has looked; up to here all was told.
    pub(super) fn unknown(upto: Epoch) -> Waiting {
        Waiting { lost: true, upto, ..Waiting::default() }
    }

    /// What there is of it is found by looking only.
    pub(super) fn lose(&mut self) {
        *self = Waiting::unknown(self.upto);
    }

    /// Whether what is touched need not be told: it is going to be looked for.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// How many are known to wait.
    pub(super) fn known(&self) -> usize {
        self.n
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.n == 0 && !self.lost
    }

    /// These were touched, up to this epoch.
    pub(super) fn push(&mut self, run: Arc<[Due]>, upto: Epoch) {
        self.upto = upto;
        if self.lost || run.is_empty() {
            return;
        }
        if self.n + run.len() > DUE_MAX {
            return self.lose();
        }
        self.n += run.len();
        self.runs.push_back((run, 0));
    }

    /// Some were touched, up to this epoch; which was not noted, for when that began it was not
    /// asked for.
    pub(super) fn missed(&mut self, upto: Epoch) {
        self.upto = upto;
        self.lose();
    }

    /// What was found by looking, before what was pushed since looking began.
    pub(super) fn found(&mut self, found: Vec<Due>, all: bool) {
        if !all {
            self.lose();
        }
        self.put_back(found);
    }

    /// These were taken, and not dealt with.
    pub(super) fn put_back(&mut self, rest: Vec<Due>) {
        self.n += rest.len();
        self.runs.push_front((rest.into(), 0));
    }

    /// From now on what is touched is to be told again. Gives the epoch up to which it was not, and
    /// is to be looked for at this pin; `None` if the pin is older: what was touched behind it has
    /// been told to nobody, and cannot be seen there.
    pub(super) fn listen(&mut self, pin: Epoch) -> Option<Epoch> {
        if self.upto > pin {
            return None;
        }
        *self = Waiting { upto: self.upto, ..Waiting::default() };
        Some(self.upto)
    }

    /// The next.
    pub(super) fn first(&mut self) -> Option<Due> {
        loop {
            let (run, at) = self.runs.front()?;
            match run.get(*at) {
                Some(due) => return Some(*due),
                None => drop(self.runs.pop_front()),
            }
        }
    }

    /// The next has been dealt with.
    pub(super) fn pass(&mut self) {
        if let Some((_, at)) = self.runs.front_mut() {
            *at += 1;
            self.n -= 1;
        }
    }
}

/// The entities after the cursor whose epochs are at most `upto`, as of `at`, in order; and whether
/// these are all: else the first [`DUE_MAX`].
pub(super) fn look(
    view: &dyn Leaving,
    after: Cursor,
    upto: Epoch,
    at: Epoch,
) -> Result<(Vec<Due>, bool), Gone> {
    let mut found: Vec<Due> = Vec::new();
    let mut all = true;
    view.since(after.epoch.saturating_sub(1), at, &mut |spot, key, epoch| {
        let due = Due { epoch, key, spot };
        if due.cursor() <= after || epoch > upto {
            return;
        }
        found.push(due);
        if found.len() == 2 * DUE_MAX {
            found.select_nth_unstable(DUE_MAX);
            found.truncate(DUE_MAX);
            all = false;
        }
    })?;
    if found.len() > DUE_MAX {
        all = false;
    }
    found.sort_unstable();
    found.truncate(DUE_MAX);
    Ok((found, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(epochs: std::ops::Range<u64>) -> Arc<[Due]> {
        epochs.map(|epoch| Due { epoch, key: 1, spot: Spot(epoch) }).collect()
    }

    /// Goal: places come in order, and too many are none: then it is known that some wait.
    #[test]
    fn in_order_and_bounded() {
        let mut it = Waiting::default();
        it.push(run(3..5), 4);
        it.push(run(7..8), 8);
        it.found(vec![Due { epoch: 1, key: 1, spot: Spot(1) }], true);
        let mut seen = Vec::new();
        while let Some(due) = it.first() {
            seen.push(due.epoch);
            it.pass();
        }
        assert_eq!((seen, it.is_empty()), (vec![1, 3, 4, 7], true));
        it.push(run(10..10 + DUE_MAX as u64), 1 << 40);
        assert_eq!(it.known(), DUE_MAX);
        it.push(run(1 << 41..(1 << 41) + 1), 1 << 42);
        assert!(it.is_lost() && it.known() == 0 && !it.is_empty() && it.first().is_none());
        it.push(run(1..2), 1 << 43);
        assert!(it.first().is_none(), "it is going to be looked for");
        assert_eq!(it.listen((1 << 43) - 1), None, "touched behind the pin, and told to nobody");
        assert!(it.is_lost(), "it is looked for at a newer one");
        assert_eq!(it.listen(1 << 43), Some(1 << 43));
        assert!(it.is_empty());
        it.missed(1 << 44);
        it.found(vec![Due { epoch: 1, key: 1, spot: Spot(1) }], true);
        assert!(it.is_lost() && it.first().is_some(), "what was missed is looked for once more");
    }
}
