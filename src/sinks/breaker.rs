//! When a receiver is left alone: a circuit breaker, and pauses that grow and are jittered.
//!
//! # Meaning
//! *Closed*: batches are tried, with a pause after each failure. *Open*: nothing is tried until an
//! instant. *Half-open*: one probe; its end closes the breaker or opens it for longer. Time and
//! randomness are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Fault;

/// Failures of the surroundings, one after the other, after which it opens.
pub const FAILURES: u32 = 5;
/// The first pause after a failure, and the longest while closed.
const PAUSE_MS: (u64, u64) = (100, 5_000);
/// How long it stays open first, and at most: surroundings.
const OPEN_MS: (u64, u64) = (1_000, 30_000);
/// The same where somebody has to do something: a probe costs little, and finds it repaired.
const FAULT_MS: (u64, u64) = (5_000, 60_000);
/// Longest wait that a receiver may ask for.
const ASKED_MAX_MS: u64 = 300_000;

/// As it is kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it stands.
    pub state: State,
    /// Failures since the last success.
    pub failures: u32,
    /// Since when it is open, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When the next probe is.
    pub until_ms: u64,
    /// What opened it: the code of a report.
    pub code: String,
    /// In words.
    pub why: String,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Batches are tried.
    #[default]
    Closed,
    /// One probe is being made.
    HalfOpen,
    /// Nothing is tried.
    Open,
    /// The same, and somebody has to set something right.
    Misconfigured,
    /// The same, and nobody can tell what is wrong.
    Paused,
}

impl State {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
            State::Misconfigured => "misconfigured",
            State::Paused => "paused",
        }
    }

    /// Whether somebody is to be told.
    pub fn is_alarm(self) -> bool {
        matches!(self, State::Misconfigured | State::Paused)
    }

    /// As a metric: 0 closed, 1 half-open, 2 open, 3 misconfigured, 4 paused.
    pub fn number(self) -> i64 {
        match self {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
            State::Misconfigured => 3,
            State::Paused => 4,
        }
    }
}

/// What failed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The surroundings; the receiver may have said until when.
    Surroundings(Option<Duration>),
    /// It was refused, and not for what is in the batch.
    Refusal(Fault),
}

/// The breaker of one sink.
#[derive(Debug)]
pub struct Breaker {
    /// Where it stands.
    pub kept: Kept,
    /// Times that it was opened without a success between.
    opened: u32,
    random: u64,
}

impl Breaker {
    /// As it was left; `seed` makes its jitter.
    pub fn new(kept: Kept, seed: u64) -> Breaker {
        let opened = u32::from(kept.state != State::Closed);
        Breaker { kept, opened, random: seed | 1 }
    }

    /// How long nothing may be tried; half-open once that is over. True: it has become so now.
    pub fn wait(&mut self, now_ms: u64) -> (Duration, bool) {
        // A clock that was set back must not close it for a year.
        let left = self.kept.until_ms.saturating_sub(now_ms).min(ASKED_MAX_MS * 2);
        let probe = left == 0 && !matches!(self.kept.state, State::Closed | State::HalfOpen);
        if probe {
            self.kept.state = State::HalfOpen;
        }
        (Duration::from_millis(left), probe)
    }

    /// It went well. True: it was not closed before.
    pub fn success(&mut self) -> bool {
        let was = std::mem::take(&mut self.kept);
        self.opened = 0;
        was.state != State::Closed
    }

    /// It failed. True: it opens now, or for another reason than before.
    pub fn failure(&mut self, what: Failure, now_ms: u64, (code, why): (&str, &str)) -> bool {
        let before = (self.kept.state, self.kept.code.clone());
        self.kept.failures = self.kept.failures.saturating_add(1);
        (self.kept.code, self.kept.why) = (code.into(), why.into());
        let (state, range, n) = match what {
            Failure::Surroundings(_) if self.opened == 0 && self.kept.failures < FAILURES => {
                (State::Closed, PAUSE_MS, self.kept.failures - 1)
            }
            Failure::Surroundings(_) => (State::Open, OPEN_MS, self.opened),
            Failure::Refusal(Fault::Configuration) => (State::Misconfigured, FAULT_MS, self.opened),
            Failure::Refusal(_) => (State::Paused, FAULT_MS, self.opened),
        };
        if state != State::Closed {
            self.opened = self.opened.saturating_add(1);
            if before.0 == State::Closed {
                self.kept.since_ms = now_ms;
            }
        }
        self.kept.state = state;
        let mut pause = self.jittered(range.0.saturating_mul(1 << n.min(20)).min(range.1));
        if let Failure::Surroundings(Some(asked)) = what {
            let asked = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
            pause = pause.max(asked.min(ASKED_MAX_MS));
        }
        self.kept.until_ms = now_ms + pause;
        let is_new = before.0 == State::Closed || before.1 != code;
        state != State::Closed && is_new
    }

    /// Somebody says that it is repaired: the next probe is now.
    pub fn probe_now(&mut self) {
        self.kept.until_ms = 0;
    }

    /// Between half of it and all of it: who failed together does not come back together.
    fn jittered(&mut self, ms: u64) -> u64 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ms / 2 + self.random % (ms / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: (&str, &str) = ("a/b", "because");

    /// Goal: some failures open it, pauses grow to a bound, one probe decides, and a success
    /// forgets everything. Method: by hand, with a clock of its own.
    #[test]
    fn opens_probes_closes() {
        let mut it = Breaker::new(Kept::default(), 7);
        let mut now = 1_000;
        let mut last = 0;
        for n in 1..FAILURES {
            assert!(!it.failure(Failure::Surroundings(None), now, TOLD), "{n}");
            assert_eq!((it.kept.state, it.wait(now).1), (State::Closed, false));
            let pause = it.kept.until_ms - now;
            assert!((50 << (n - 1)..=100 << (n - 1)).contains(&pause), "{n}: {pause}");
        }
        assert!(it.failure(Failure::Surroundings(None), now, TOLD));
        assert_eq!((it.kept.state, it.kept.since_ms), (State::Open, now));
        for _ in 0..12 {
            let (wait, _) = it.wait(now);
            assert!(wait > Duration::ZERO && wait.as_millis() as u64 <= OPEN_MS.1);
            now = it.kept.until_ms;
            assert!(it.wait(now).1, "one probe");
            // Told once, however long it lasts.
            assert!(!it.failure(Failure::Surroundings(None), now, TOLD));
            last = it.kept.until_ms - now;
        }
        assert!(last >= OPEN_MS.1 / 2 && it.kept.since_ms == 1_000);
        now = it.kept.until_ms;
        assert!(it.wait(now).1 && it.success());
        assert_eq!(it.kept, Kept::default());
    }

    /// Goal: who has to set something right is told at once and again for another reason; what a
    /// receiver asks for is kept to, up to a bound; what was kept goes on.
    #[test]
    fn refusals_open_at_once() {
        let mut it = Breaker::new(Kept::default(), 7);
        assert!(it.failure(Failure::Refusal(Fault::Configuration), 0, TOLD));
        assert_eq!(it.kept.state, State::Misconfigured);
        assert!(it.kept.state.is_alarm() && (2_500..=5_000).contains(&it.kept.until_ms));
        assert!(it.failure(Failure::Refusal(Fault::Unknown), 9_000, ("a/c", "")));
        let mut again = Breaker::new(it.kept.clone(), 8);
        assert_eq!(again.kept.state, State::Paused);
        assert!(again.wait(it.kept.until_ms - 1).0 > Duration::ZERO);
        again.probe_now();
        assert_eq!(again.wait(9_000), (Duration::ZERO, true));

        let mut it = Breaker::new(Kept::default(), 7);
        it.failure(Failure::Surroundings(Some(Duration::from_secs(20))), 0, TOLD);
        assert_eq!(it.kept.until_ms, 20_000);
        it.failure(Failure::Surroundings(Some(Duration::from_secs(86_400))), 0, TOLD);
        assert_eq!(it.kept.until_ms, ASKED_MAX_MS);
    }
}
