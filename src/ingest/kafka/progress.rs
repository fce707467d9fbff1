//! Whether a partition goes on, and if not, why: pure, over what was seen each second.
//!
//! # Meaning
//! *Stuck*: there are records to read (the stable end is beyond our next offset), we ask for
//! them, and the next offset has not moved for [`PATIENCE`]. Waiting for room is not asking.
//! *Held by a transaction*: we are at the stable end, and for [`PATIENCE`] there has been more
//! behind it while it did not move. `tests::a_table_of_seconds`.

use std::time::Duration;

/// How long a partition may stand still.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What was seen of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Our next offset.
    pub(super) next: u64,
    /// The stable end.
    pub(super) end: u64,
    /// The end with open transactions.
    pub(super) high: u64,
    /// We had no room for more.
    pub(super) full: bool,
}

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on, or there is nothing to read.
    Fine,
    /// Records wait and do not come.
    Stuck,
    /// An open transaction hides what is there.
    Held,
}

/// A partition's progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    next: u64,
    end: u64,
    moved_ms: u64,
    /// Since when more has been hidden behind the same stable end.
    hidden_ms: u64,
    known: bool,
}

impl Progress {
    /// Judges. `now_ms`: since anything, only growing.
    pub(super) fn look(&mut self, seen: Seen, now_ms: u64) -> Verdict {
        let patience = PATIENCE.as_millis() as u64;
        let first = !std::mem::replace(&mut self.known, true);
        if first || seen.next != self.next || seen.full || seen.next >= seen.end {
            self.next = seen.next;
            self.moved_ms = now_ms;
        }
        if first || seen.end != self.end || seen.high <= seen.end {
            self.end = seen.end;
            self.hidden_ms = now_ms;
        }
        if seen.next < seen.end {
            match now_ms.saturating_sub(self.moved_ms) >= patience {
                true => Verdict::Stuck,
                false => Verdict::Fine,
            }
        } else if seen.high > seen.end && now_ms.saturating_sub(self.hidden_ms) >= patience {
            Verdict::Held
        } else {
            Verdict::Fine
        }
    }

    /// It is read with a new consumer, or nobody knows its end: it has its time again.
    pub(super) fn again(&mut self, now_ms: u64) {
        (self.moved_ms, self.hidden_ms) = (now_ms, now_ms);
    }
}

/// How long the cluster, which answers, has not told of some partition how far it reaches.
///
/// librdkafka may keep what it once heard of a partition that had no leader for a moment (a broker
/// that stood still, and was fenced), and never learn of the next one: of those partitions nothing
/// is answered and nothing comes, while the cluster has long been well. New clients ask anew. Where
/// there really is no leader that is in vain: each time it is tried after twice the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence {
    since_ms: Option<u64>,
    tries: u32,
}

impl Silence {
    /// The longest wait between two tries: so many doublings of [`PATIENCE`].
    const TRIES_MAX: u32 = 5;

    /// Whether new clients should ask. `told`: of every partition; `answers`: the cluster, about
    /// anything. `now_ms`: since anything, only growing.
    pub(super) fn look(&mut self, told: bool, answers: bool, now_ms: u64) -> bool {
        if told {
            *self = Silence::default();
            return false;
        }
        if !answers {
            self.since_ms = None;
            return false;
        }
        let since = *self.since_ms.get_or_insert(now_ms);
        let patience = (PATIENCE.as_millis() as u64) << self.tries.min(Self::TRIES_MAX);
        let is_over = now_ms.saturating_sub(since) >= patience;
        if is_over {
            (self.since_ms, self.tries) = (None, self.tries.saturating_add(1));
        }
        is_over
    }
}

/// How long the oldest record that we have not read has been there, as far as we saw: the ends of
/// the past, each with the instant at which it was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Behind {
    seen: std::collections::VecDeque<(u64, u64)>,
}

impl Behind {
    /// Ends kept: with one a second, an hour; then every second one goes.
    const MAX: usize = 3_600;

    /// Notes the end, and says how long `next` has been waiting, milliseconds. `stamp_ms`: when
    /// the newest record read was made, for what lay there before we looked; 0 if unknown.
    pub(super) fn look(&mut self, next: u64, end: u64, now_ms: u64, stamp_ms: u64) -> u64 {
        let first = self.seen.is_empty();
        if self.seen.back().is_none_or(|it| it.0 < end) {
            // What was there at the first look is older than that look.
            self.seen.push_back((end, if first { 0 } else { now_ms }));
        }
        while self.seen.front().is_some_and(|it| it.0 <= next) && self.seen.len() > 1 {
            self.seen.pop_front();
        }
        if self.seen.len() > Self::MAX {
            let mut n = 0;
            self.seen.retain(|_| {
                n += 1;
                n % 2 == 1
            });
        }
        match self.seen.front() {
            _ if next >= end => 0,
            Some((_, 0)) => match stamp_ms {
                0 => 0,
                stamp => now_ms.saturating_sub(stamp),
            },
            Some((_, at)) => now_ms.saturating_sub(*at),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is not told of for long is asked for by new clients, ever more seldom while that
    /// is in vain; a cluster that is away is waited for. Method: a table of seconds.
    #[test]
    fn silence_has_an_end() {
        let mut silence = Silence::default();
        let mut tried = Vec::new();
        for second in 0..200_u64 {
            let (told, answers) = match second {
                // Away: nothing is asked of new clients.
                5..40 => (false, false),
                // There, but of some partition nothing is heard.
                40..170 => (false, true),
                _ => (true, true),
            };
            if silence.look(told, answers, second * 1_000) {
                tried.push(second);
            }
        }
        assert_eq!(tried, [50, 71, 112]);
        // Once told all begins anew.
        assert!(!silence.look(false, true, 300_000));
        assert!(!silence.look(false, true, 309_000));
        assert!(silence.look(false, true, 310_000));
    }

    /// Goal: the three are told apart. Method: a second a word: next/end/high, `f` for full.
    #[test]
    fn a_table_of_seconds() {
        let check = |seconds: &[(&str, u64)], expected: Verdict| {
            let (mut progress, mut now, mut verdict) =
                (Progress::default(), 3_600_000, Verdict::Fine);
            for (word, times) in seconds {
                let numbers: Vec<u64> =
                    word.trim_end_matches('f').split('/').map(|it| it.parse().unwrap()).collect();
                let full = word.ends_with('f');
                let seen = Seen { next: numbers[0], end: numbers[1], high: numbers[2], full };
                for _ in 0..*times {
                    now += 1_000;
                    verdict = progress.look(seen, now);
                }
            }
            assert_eq!(verdict, expected, "{seconds:?}");
        };
        check(&[("0/0/0", 100)], Verdict::Fine);
        check(&[("0/9/12", 1)], Verdict::Fine);
        check(&[("5/9/9", 10)], Verdict::Fine);
        check(&[("5/9/9", 11)], Verdict::Stuck);
        check(&[("5/9/9", 8), ("6/9/9", 8)], Verdict::Fine);
        check(&[("5/9/9f", 100)], Verdict::Fine);
        check(&[("5/9/9f", 100), ("5/9/9", 9)], Verdict::Fine);
        check(&[("5/9/9f", 100), ("5/9/9", 11)], Verdict::Stuck);
        check(&[("9/9/9", 100), ("9/10/10", 9)], Verdict::Fine);
        check(&[("9/9/12", 11)], Verdict::Held);
        check(&[("9/9/9", 100), ("9/9/12", 9)], Verdict::Fine);
        check(&[("9/9/12", 8), ("10/10/12", 8)], Verdict::Fine);
        check(&[("9/9/12", 20), ("12/12/12", 1)], Verdict::Fine);
    }

    /// Goal: seconds behind are those since the oldest unread record came. Method: ends by the
    /// second.
    #[test]
    fn how_long_it_has_been_waiting() {
        let mut it = Behind::default();
        assert_eq!(it.look(0, 100, 10_000, 0), 0);
        assert_eq!(it.look(50, 100, 11_000, 4_000), 7_000, "older than our first look");
        assert_eq!(it.look(100, 110, 12_000, 5_000), 0);
        assert_eq!(it.look(100, 120, 13_000, 5_000), 1_000);
        assert_eq!(it.look(115, 120, 14_000, 5_000), 1_000);
        assert_eq!(it.look(120, 120, 15_000, 5_000), 0);
    }
}
