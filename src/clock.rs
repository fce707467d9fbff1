//! The only place that asks the system for the time.
//!
//! Everything else takes time as an argument, so that a test can hold it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

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

/// The clock of a running process: epochs, append times and leases are dated by this one.
pub struct SteadyClock {
    started: Instant,
    inner: Mutex<(Steady, bool)>,
    told: Box<dyn Fn(Seen) + Send + Sync>,
}

impl SteadyClock {
    /// Starts from the wall. `told` hears of a step once when it begins, when it is taken back
    /// and when it is followed.
    pub fn start(told: Box<dyn Fn(Seen) + Send + Sync>) -> Arc<SteadyClock> {
        let inner = Mutex::new((Steady::new(wall_ms(), 0), false));
        Arc::new(SteadyClock { started: monotonic(), inner, told })
    }

    /// Never tells less than this from now on: something durable has that date already.
    pub fn not_before(&self, floor_ms: u64) {
        let steady = &mut self.inner.lock().0;
        steady.newest = steady.newest.max(floor_ms);
    }

    /// Milliseconds since the Unix epoch, never less than before.
    pub fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(since(self.started).as_millis()).unwrap_or(u64::MAX);
        let (now, tell) = {
            let (steady, stepping) = &mut *self.inner.lock();
            let (now, seen) = steady.read(wall_ms(), elapsed);
            let steps = matches!(seen, Seen::Step(_));
            let news = *stepping != steps || matches!(seen, Seen::Followed(_));
            *stepping = steps;
            (now, news.then_some(seen))
        };
        if let Some(seen) = tell {
            (self.told)(seen);
        }
        now
    }
}

/// Wall time that a step of the system's clock does not throw about.
///
/// In: readings of the wall and the monotonic clock. Out: milliseconds for the epoch.
///
/// # Meaning
/// The wall clock as it was at the start, carried on by the monotonic clock. A difference of
/// more than [`Steady::STEP_MS`] between the two is a *step*: told at once, and followed only
/// when it has stood for [`Steady::STANDS_MS`], so that a step that is taken back changes nothing.
/// One forward by more than [`Steady::FOLLOWS_MS`] is never followed: no machine sleeps that long,
/// and what it dated would stand in the way for years. A step forward is then jumped to; after a step backward the result stands still until the
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

    /// A week: the longest step forward that is followed; beyond, a person looks and starts again.
    pub const FOLLOWS_MS: u64 = 7 * 86_400_000;

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
            let stands = monotonic.saturating_sub(since) >= Self::STANDS_MS;
            if stands && difference <= Self::FOLLOWS_MS.cast_signed() {
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
    fn a_step_of_years_is_never_followed() {
        let (mut clock, years) = (Steady::new(1_000_000, 0), 10 * 365 * 86_400_000);
        for seconds in 1..1_000 {
            let passed = seconds * 1_000;
            let read = clock.read(1_000_000 + years + passed, passed);
            assert_eq!(read, (1_000_000 + passed, Seen::Step(years.cast_signed())));
        }
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
