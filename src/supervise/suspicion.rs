//! Which record brings the process down: from how each process ended, to what the next is told.
//!
//! # Meaning
//! Three ends running with some partition at the same offset are suspicious: the next process is
//! careful. When a careful one goes down over some records, the next tries half of them; over one
//! record, that one is put aside. What a person or the system killed says nothing about a record.

use super::notes::{CarefulPlan, Place, Trying};
use crate::messages::BookLine;

/// So many ends running from the same position are suspicious.
const ENDS: u32 = 3;

/// Records that are tried at once at first: with one process for each halving, ten more.
const CAREFUL_LIMIT: u64 = 1_024;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start as ever, or as careful as before.
    GoOn,
    /// This record brings the process down.
    PutAside(Place),
}

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    ends: u32,
    stood: Vec<Place>,
    careful: Option<CarefulPlan>,
}

impl Suspicion {
    /// How the next process is to read.
    pub(super) fn careful(&self) -> Option<CarefulPlan> {
        self.careful.clone()
    }

    /// It has passed what was suspicious: all is as ever.
    pub(super) fn passed(&mut self) {
        *self = Suspicion::default();
    }

    /// A process has been well for long: what went before says nothing any more.
    pub(super) fn lived(&mut self) {
        if self.careful.is_none() {
            self.passed();
        }
    }

    /// A process went down by itself, at these offsets of the newest checkpoint, trying this.
    pub(super) fn went_down(&mut self, lines: &[BookLine], tried: Option<&Trying>) -> Verdict {
        let mut places: Vec<Place> = lines.iter().map(place).collect();
        if places.is_empty() {
            // Before the first checkpoint is a position too.
            places.push(Place { feed: String::new(), partition: 0, offset: 0, again: false });
        }
        let stood = self.ends == 0 || self.stood.iter().any(|it| places.contains(it));
        self.ends = if stood { self.ends + 1 } else { 1 };
        self.stood = places;
        let Some(careful) = &self.careful else {
            if self.ends >= ENDS {
                self.careful = Some(CarefulPlan { limit: CAREFUL_LIMIT, until: None });
            }
            return Verdict::GoOn;
        };
        // What a checkpoint holds did not bring it down.
        let held = |it: &Trying| {
            // (What is read to build a view again is in none.)
            !it.from.again
                && lines.iter().any(|line| {
                    (&line.feed, line.partition) == (&it.from.feed, it.from.partition)
                        && line.next >= it.next
                })
        };
        let Some(tried) = tried.filter(|it| !held(it)) else { return Verdict::GoOn };
        let n = tried.next.saturating_sub(tried.from.offset);
        let until = Some(Place { offset: tried.next, ..tried.from.clone() });
        if n > 1 {
            self.careful = Some(CarefulPlan { limit: n.div_ceil(2), until });
            return Verdict::GoOn;
        }
        self.careful = Some(CarefulPlan { limit: careful.limit, until });
        Verdict::PutAside(tried.from.clone())
    }
}

fn place(it: &BookLine) -> Place {
    let (feed, partition, offset) = (it.feed.clone(), it.partition, it.next);
    Place { feed, partition, offset, again: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Counts;

    fn line(next: u64) -> BookLine {
        BookLine {
            feed: "log".into(),
            identity: None,
            partition: 0,
            first: 0,
            next,
            newest_event: 0,
            reset: 0,
            counts: Counts::default(),
        }
    }

    fn trying(offset: u64, next: u64) -> Trying {
        Trying { from: Place { feed: "log".into(), partition: 0, offset, again: false }, next }
    }

    /// Goal: for any place of the record, it and no other is put aside, in few ends. Method: a
    /// process in miniature: it reads from its checkpoint, and goes down over one offset.
    #[test]
    fn finds_the_one_record() {
        for bad in [0, 1, 777, 1_023, 1_024, 5_000] {
            let (mut suspicion, mut durable, mut ends) = (Suspicion::default(), 0, 0);
            loop {
                ends += 1;
                assert!(ends < 20, "{bad} is not found");
                let mut tried = None;
                match suspicion.careful() {
                    // Whatever was read at once is lost with it.
                    None => durable = durable.max(bad.min(500)),
                    Some(careful) => loop {
                        let next = durable + careful.limit;
                        tried = Some(trying(durable, next));
                        if (durable..next).contains(&bad) {
                            break;
                        }
                        durable = next;
                    },
                }
                let lines = if durable == 0 { vec![] } else { vec![line(durable)] };
                match suspicion.went_down(&lines, tried.as_ref()) {
                    Verdict::GoOn => {}
                    Verdict::PutAside(place) => {
                        assert_eq!(place.offset, bad);
                        break;
                    }
                }
            }
        }
    }

    /// Goal: a process that gets on between its ends is not suspicious, nor is what was tried and
    /// then kept in a checkpoint.
    #[test]
    fn who_gets_on_is_not_suspicious() {
        let mut suspicion = Suspicion::default();
        for next in [10, 20, 30, 40] {
            assert_eq!(suspicion.went_down(&[line(next)], None), Verdict::GoOn);
            assert_eq!(suspicion.careful(), None);
        }
        for _ in 0..3 {
            suspicion.went_down(&[line(50)], None);
        }
        assert!(suspicion.careful().is_some());
        assert_eq!(suspicion.went_down(&[line(60)], Some(&trying(59, 60))), Verdict::GoOn);
        suspicion.passed();
        assert_eq!(suspicion.careful(), None);
    }

    /// Goal: a record that brings down only the process that builds a view again is found, although
    /// every checkpoint is past it; ends long ago do not count.
    #[test]
    fn while_a_view_is_built_again() {
        let mut suspicion = Suspicion::default();
        for _ in 0..3 {
            suspicion.went_down(&[line(50)], None);
            suspicion.lived();
        }
        assert_eq!(suspicion.careful(), None, "each had been well for long");
        for _ in 0..3 {
            suspicion.went_down(&[line(50)], None);
        }
        let again = |offset, next| {
            let it = trying(offset, next);
            Trying { from: Place { again: true, ..it.from }, next }
        };
        assert_eq!(suspicion.went_down(&[line(50)], Some(&again(6, 8))), Verdict::GoOn);
        let until = suspicion.careful().unwrap().until.unwrap();
        assert_eq!((until.again, until.offset), (true, 8));
        let found = suspicion.went_down(&[line(50)], Some(&again(7, 8)));
        assert_eq!(found, Verdict::PutAside(again(7, 8).from));
    }
}
