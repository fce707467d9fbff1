//! Identities already applied: shared by all workers, bounded by horizon and memory. (owner:
//! dataflows-core)

use schemas::names::Fingerprint;

/// How far back identities are remembered.
#[derive(Clone, Copy, Debug)]
pub struct DedupLimits {
    /// Milliseconds of append time (default 7 days).
    pub horizon_ms: u64,
    /// Bytes (default 1 GiB); reached first, it shortens the horizon: an alarm.
    pub max_bytes: u64,
}

/// What is remembered now.
#[derive(Clone, Copy, Debug, Default)]
pub struct DedupStats {
    /// Identities.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
    /// Append time of the oldest, milliseconds since the Unix epoch (0: none).
    pub oldest_ms: u64,
    /// The horizon that holds now, milliseconds.
    pub effective_horizon_ms: u64,
    /// Whether memory has shortened the horizon.
    pub shortened: bool,
}

/// The set of identities already applied. Many small shards, each under its own lock; a batch is
/// grouped by shard and prefetched.
pub struct Dedup {}

impl Dedup {
    /// Empty.
    pub fn new(_limits: DedupLimits) -> Dedup {
        todo!()
    }
    /// For each identity: true if it is new (it is remembered from now on), false if a repeat,
    /// also within the batch. `appended_ms`: the append time of the batch's records.
    pub fn claim(&self, _ids: &[Fingerprint], _appended_ms: u64, _fresh: &mut Vec<bool>) {
        todo!()
    }
    /// What is remembered.
    pub fn stats(&self) -> DedupStats {
        todo!()
    }
}
