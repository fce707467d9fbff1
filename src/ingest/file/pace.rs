//! An open loop: line `k` is due at `k / rate` seconds, whatever became of those before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::Progress;
use crate::clock;

/// Finest step: what is due within it goes together.
const STEP: Duration = Duration::from_micros(500);
/// Longest sleep before looking whether to stop.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Pace {
    rate: f64,
    progress: Arc<Progress>,
    first_ms: u64,
    sent: u64,
}

impl Pace {
    pub(super) fn new(rate: f64, first_ms: u64, progress: &Arc<Progress>) -> Pace {
        Pace { rate: rate.max(f64::MIN_POSITIVE), progress: progress.clone(), first_ms, sent: 0 }
    }

    /// Waits until a line is due. How many are, and when the first of them was (milliseconds).
    /// `None` when asked to stop.
    pub(super) fn due(&mut self, stop: &AtomicBool) -> Option<(u64, u64)> {
        let started = *self.progress.paced_from.get_or_init(clock::monotonic);
        let at = Duration::from_secs_f64((self.sent as f64 / self.rate).min(1e9));
        loop {
            let passed = clock::since(started);
            if stop.load(Relaxed) {
                return None;
            }
            if passed >= at {
                let by_now = (passed.as_secs_f64() * self.rate) as u64 + 1;
                let due_ms = self.first_ms + at.as_millis() as u64;
                return Some((by_now.saturating_sub(self.sent).max(1), due_ms));
            }
            std::thread::sleep((at - passed).max(STEP).min(LOOK));
        }
    }

    pub(super) fn sent(&mut self, lines: u64) {
        self.sent += lines;
    }
}
