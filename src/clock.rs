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
