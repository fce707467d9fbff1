//! The only place that asks the system for the time.
//!
//! Everything else takes time as an argument, so that a test can hold it.

use std::time::{Duration, Instant};

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods)]
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX))
}

/// A reading of the monotonic clock.
#[allow(clippy::disallowed_methods)]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Time since an earlier reading.
pub fn since(earlier: Instant) -> Duration {
    monotonic().saturating_duration_since(earlier)
}

/// Wall time that a step of the system's clock does not throw about.
///
/// In: readings of the wall and the monotonic clock. Out: milliseconds for the epoch.
///
/// # Meaning
/// The wall clock as it was at the start, carried on by the monotonic clock. A difference of
/// more than [`Steady::STEP_MS`] between the two is a *step*: told at once, and followed only
/// when it has stood for [`Steady::STANDS_MS`], so that a step that is taken back changes nothing.
/// A step forward is then jumped to; after a step backward the result stands still until the
/// wall has caught up, for an epoch never goes back.
#[derive(Debug)]
pub struct Steady {
    base_wall: u64,
    base_monotonic: u64,
    newest: u64,
    stepped_since: Option<u64>,
}

/// What [`Steady::read`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The clocks agree.
    Calm,
    /// The wall clock has been stepped by so many milliseconds; not followed yet.
    Step(i64),
    /// The step has stood; it is followed from now on.
    Followed(i64),
}

impl Steady {
    /// Less is drift, and corrected at once: a disciplined clock is slewed, not stepped.
    pub const STEP_MS: u64 = 1_000;
    /// How long a step must stand before it is followed.
    pub const STANDS_MS: u64 = 30_000;

    /// Starts from the clocks as they are (both in milliseconds).
    pub fn new(wall: u64, monotonic: u64) -> Steady {
        Steady { base_wall: wall, base_monotonic: monotonic, newest: wall, stepped_since: None }
    }

    /// The time now, never less than before.
    pub fn read(&mut self, wall: u64, monotonic: u64) -> (u64, Seen) {
        let expected = self.base_wall + monotonic.saturating_sub(self.base_monotonic);
        let difference = wall.cast_signed() - expected.cast_signed();
        let mut seen = Seen::Calm;
        let mut now = expected;
        if difference.unsigned_abs() <= Self::STEP_MS {
            self.stepped_since = None;
            self.rebase(wall, monotonic);
            now = wall;
        } else {
            let since = *self.stepped_since.get_or_insert(monotonic);
            seen = Seen::Step(difference);
            if monotonic.saturating_sub(since) >= Self::STANDS_MS {
                self.stepped_since = None;
                self.rebase(wall, monotonic);
                now = wall;
                seen = Seen::Followed(difference);
            }
        }
        self.newest = self.newest.max(now);
        (self.newest, seen)
    }

    fn rebase(&mut self, wall: u64, monotonic: u64) {
        self.base_wall = wall;
        self.base_monotonic = monotonic;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a step that is taken back changes nothing; one that stands is followed. Method:
    /// readings as they would come, second by second.
    #[test]
    fn a_step_is_told_and_followed_only_when_it_stands() {
        let mut clock = Steady::new(1_000_000, 0);
        assert_eq!(clock.read(1_001_000, 1_000), (1_001_000, Seen::Calm));
        assert_eq!(clock.read(9_002_000, 2_000), (1_002_000, Seen::Step(8_000_000)));
        assert_eq!(clock.read(1_003_000, 3_000), (1_003_000, Seen::Calm));
        assert_eq!(clock.read(9_004_000, 4_000), (1_004_000, Seen::Step(8_000_000)));
        let stood = 4_000 + Steady::STANDS_MS;
        let (now, seen) = clock.read(9_000_000 + stood, stood);
        assert_eq!((now, seen), (9_000_000 + stood, Seen::Followed(8_000_000)));
    }

    #[test]
    fn a_step_backward_stands_still_and_never_goes_back() {
        let mut clock = Steady::new(1_000_000, 0);
        let stood = Steady::STANDS_MS + 1;
        assert_eq!(clock.read(900_000, 1), (1_000_001, Seen::Step(-100_001)));
        let (now, seen) = clock.read(900_000 + stood, 1 + stood);
        assert_eq!((now, matches!(seen, Seen::Followed(_))), (1_000_001, true));
        assert_eq!(clock.read(900_500 + stood, 501 + stood).0, 1_000_001);
    }
}
