//! Holds reading back before the machine runs out of memory.
//!
//! # Meaning
//! Above the cap nothing more is read: what is only on its way (undo, identities that wait for a
//! checkpoint, chunks) is worked off and given back, and reading goes on below [`GO_ON`] of it.
//! That is slowing down, and no alarm. What is still above after [`ALARM_AFTER`] lives: an alarm,
//! and reading stands until there is more room; reads go on all the while.

use std::time::Duration;

/// Reading goes on below this share of the cap, in hundredths: some room, so that it is not held
/// and let go at each look.
const GO_ON: u64 = 97;

/// What is on its way is worked off much sooner than this.
const ALARM_AFTER: Duration = Duration::from_secs(5);

/// Holds reading back by looking at the memory in use.
#[derive(Debug)]
pub struct Cap {
    max_bytes: u64,
    /// Since when it is held, by a clock that only goes on.
    since: Option<Duration>,
    alarmed: bool,
}

/// What a look gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Nothing may be read.
    pub(super) held: bool,
    /// What lives alone is above the cap.
    pub(super) alarmed: bool,
    /// The alarm has begun or ended with this look.
    pub(super) news: bool,
}

impl Cap {
    /// Of so many bytes.
    pub fn new(max_bytes: u64) -> Cap {
        Cap { max_bytes, since: None, alarmed: false }
    }

    /// Looks.
    pub(super) fn look(&mut self, resident_bytes: u64, now: Duration) -> Verdict {
        let before = self.alarmed;
        let go_on = self.max_bytes / 100 * GO_ON;
        self.since = match self.since {
            Some(since) if resident_bytes > go_on => Some(since),
            None if resident_bytes > self.max_bytes => Some(now),
            _ => None,
        };
        self.alarmed = self.since.is_some_and(|it| now.saturating_sub(it) >= ALARM_AFTER);
        let (held, alarmed) = (self.since.is_some(), self.alarmed);
        Verdict { held, alarmed, news: alarmed != before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: held above the cap, let go with some room below it, an alarm only for what stays.
    /// Method: looks, second by second.
    #[test]
    fn slows_first_and_alarms_for_what_stays() {
        let mut cap = Cap::new(1_000);
        let mut look = |bytes, seconds| {
            let it = cap.look(bytes, Duration::from_secs(seconds));
            (it.held, it.alarmed, it.news)
        };
        assert_eq!(look(1_000, 0), (false, false, false));
        assert_eq!(look(1_001, 1), (true, false, false));
        assert_eq!(look(990, 2), (true, false, false));
        assert_eq!(look(969, 3), (false, false, false));
        assert_eq!(look(1_200, 10), (true, false, false));
        assert_eq!(look(1_100, 15), (true, true, true));
        assert_eq!(look(1_100, 99), (true, true, false));
        assert_eq!(look(900, 100), (false, false, true));
        assert_eq!(look(1_001, 101), (true, false, false));
    }
}
