//! Past records that cannot be read: where the next one is that can.
//!
//! # Meaning
//! A batch whose checksum does not hold says nothing that can be believed, not even how many offsets
//! it has; and a client that has met one asks for it again and again. So the partition is asked at
//! offsets behind it: at the same once more (the network may have done it), then further and
//! further, and between the last that could not be read and the first that could, until they are
//! neighbours. What lies between is lost, to the offset. `tests::a_table_of_damage`.
//!
//! # Invariants
//! - What comes first says all about the offset that was asked for; nothing of an answer to such a
//!   question is handed over.
//! - It ends: a batch is bounded, and so is the partition; some dozens of questions, each of some
//!   milliseconds.

use std::sync::atomic::Ordering::SeqCst;

use super::batch::Read;
use super::reader::Turns;
use super::trouble::{self, Kind, kind};
use crate::report::log_report;

/// A search for the first offset that can be read.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// What could not be read, first.
    from: u64,
    /// The furthest that could not be read, once it was asked for again.
    bad: Option<u64>,
    /// The nearest behind it that could.
    good: Option<u64>,
    asked: Option<u64>,
}

impl Search {
    pub(super) fn from(next: u64) -> Search {
        Search { from: next, bad: None, good: None, asked: None }
    }

    /// The next offset to ask for; `None`: an answer is awaited, or the partition is not known to
    /// reach further.
    fn ask(&mut self, end: u64) -> Option<u64> {
        let next = match (self.asked, self.bad, self.good) {
            (Some(_), ..) => return None,
            (None, None, _) => self.from,
            (None, Some(bad), Some(good)) => bad + (good - bad) / 2,
            (None, Some(bad), None) => (bad + (bad - self.from).max(1)).min(end).max(bad),
        };
        if self.bad == Some(next) {
            return None;
        }
        self.asked = Some(next);
        self.asked
    }

    /// What became of the question.
    fn answered(&mut self, readable: bool) {
        let asked = self.asked.take();
        *(if readable { &mut self.good } else { &mut self.bad }) = asked;
    }

    /// Where reading goes on.
    fn found(&self) -> Option<u64> {
        let good = self.good?;
        (self.bad.is_none_or(|bad| bad + 1 == good)).then_some(good)
    }
}

impl Turns<'_> {
    /// A turn of a partition that looks for what can be read. How much its queue held.
    pub(super) fn search(&mut self, at: usize) -> usize {
        let work = &mut self.works[at];
        let (Some(queue), Some(search)) = (&mut work.queue, &mut work.search) else { return 0 };
        let end = work.lane.end.load(SeqCst);
        if let Some(offset) = search.ask(end) {
            self.ask_at(at, offset);
            return 1;
        }
        let Some(asked) = search.asked else { return 0 };
        let mut first = None;
        let got = queue.read(1, |read| {
            first = match read {
                Read::Record(it) => (it.offset.cast_unsigned() >= asked).then_some(true),
                Read::End(_) => Some(true),
                Read::Trouble(code, ..) if kind(code) == Kind::Damage => Some(false),
                // A broker that is away, or no longer has it: control sees to that.
                Read::Trouble(..) => None,
            };
        });
        if let Some(readable) = first {
            search.answered(readable);
            work.lane.searches.store(true, SeqCst);
        }
        if let Some(good) = search.found() {
            let building = &mut work.building;
            let (from, to) = (building.next(), good.min(work.until.unwrap_or(good)));
            if to > from {
                let (feed, number) = (&work.lane.topic.feed_name, work.lane.number);
                let report = trouble::damaged(feed, number, from, to);
                log_report!(error, report, "records of a topic are damaged");
            }
            building.lose_to(to);
            if building.has_something() {
                self.pending.push_back(building.chunk());
            }
            work.note();
            work.search = None;
            self.again(at);
        }
        got.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: exactly what cannot be read is passed over, whatever its length, and a second try that
    /// works loses nothing. Method: damage from 100 up to (not including) an offset; an end.
    #[test]
    fn a_table_of_damage() {
        let check = |behind: u64, end: u64, most: usize| {
            let mut it = Search::from(100);
            let mut asked = Vec::new();
            while it.found().is_none() {
                let offset = it.ask(end).unwrap_or_else(|| panic!("nothing more after {asked:?}"));
                assert!((100..=end).contains(&offset) && it.ask(end).is_none());
                asked.push(offset);
                it.answered(offset >= behind);
            }
            assert_eq!(it.found(), Some(behind), "{asked:?}");
            assert!(asked.len() <= most, "{asked:?}");
        };
        check(100, 500, 1);
        check(101, 101, 2);
        for behind in 101..400 {
            check(behind, 400, 20);
            check(behind, 1_000_000, 20);
        }
        check(16_484, 1_000_000, 31);
        check(1_000_000, 1_000_000, 42);
        // The end that we know of is not beyond it yet.
        let mut it = Search::from(100);
        assert_eq!(it.ask(100), Some(100));
        it.answered(false);
        assert_eq!((it.ask(100), it.ask(101)), (None, Some(101)));
    }
}
