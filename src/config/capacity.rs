//! `[capacity]`: how often the process is measured, and from when on it is full.

use std::time::Duration;

/// `[capacity]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How often what the workers did is entered as the fact `system.measured` (1 h).
    pub measure: Duration,
    /// Percent of what the process can do above which more workers are advised (80).
    pub full: usize,
}

impl Default for Capacity {
    fn default() -> Capacity {
        Capacity { measure: Duration::from_secs(3_600), full: 80 }
    }
}
