//! What components weigh, and which band a score is of: settings of the process.
//!
//! # Why this way
//! A row is made by functions without settings, and a process has one configuration (as
//! [`crate::mood`]'s half-life); answers are compared at equal settings.

use std::sync::{Arc, LazyLock};

use compact_str::CompactString;
use parking_lot::RwLock;

/// The components, in the order of the row's fields.
pub const PARTS: [&str; 6] = ["recency", "frequency", "trend", "sentiment", "cases", "late_orders"];

/// A band: its name, and the lowest score that is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// What it is called.
    pub name: CompactString,
    /// Scores from this one on, up to the band before.
    pub from: u8,
}

/// How customers are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What each component weighs, in the order of [`PARTS`].
    pub weights: [u16; PARTS.len()],
    /// From the best to the worst; the last one begins at 0.
    pub bands: Vec<Band>,
    /// A case that is open for longer counts more, milliseconds.
    pub long_case_ms: i64,
}

impl Default for Terms {
    fn default() -> Terms {
        let band = |name: &str, from| Band { name: name.into(), from };
        Terms {
            weights: [20, 45, 5, 10, 10, 10],
            bands: vec![band("good", 72), band("steady", 58), band("falling", 48), band("lost", 0)],
            long_case_ms: 3 * 86_400_000,
        }
    }
}

static TERMS: LazyLock<RwLock<Arc<Terms>>> = LazyLock::new(RwLock::default);

/// Sets them for this process, before the views are made.
pub fn set_terms(terms: Terms) {
    *TERMS.write() = Arc::new(terms);
}

/// Those by which rows are made.
pub fn terms() -> Arc<Terms> {
    TERMS.read().clone()
}
