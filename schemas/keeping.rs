//! How states are kept: the door through which the store saves and restores what folds know,
//! without knowing what it is.

use crate::reading::{Epoch, Gone};

/// Why a record cannot be put back: its bytes are not what the layout says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// In words.
    pub why: String,
}

/// One fold's states, as the store sees them. A *record* is one entity: key, name, owner, the
/// epoch that touched it last, its state; bytes of the keeper's own layout.
///
/// A *generation* says where the newest record of an entity lies (the store gives a number to
/// each of its segments, below `u32::MAX`); the keeper remembers one number per entity, or none
/// while the entity waits to be shown again.
pub trait StateKeeper: Send + Sync {
    /// The view's name.
    fn view(&self) -> &'static str;

    /// What a record is, in words, with a version: records are read only where this text is the
    /// one under which they were written.
    fn layout(&self) -> &'static str;

    /// Shows a record, as of `at`, of every entity touched since it was last shown (or ordered
    /// [`again`](StateKeeper::again)), and notes `generation` for it. `at` must be pinned, and
    /// not below that of the call before. An entity touched after `at` is shown now as it was
    /// then, and once more by a later call. Gives how many were shown. One thread at a time;
    /// workers go on meanwhile. After `Gone` what was shown is no checkpoint: order `generation`
    /// [`again`](StateKeeper::again).
    fn save(&self, at: Epoch, generation: u32, emit: &mut dyn FnMut(&[u8])) -> Result<u64, Gone>;

    /// Orders every entity whose generation `of` names to be shown by the next save: a write
    /// that failed, a segment that is to be given up. Gives how many. Looks at every entity, a
    /// few at a time between the workers.
    fn again(&self, of: &dyn Fn(u32) -> bool) -> u64;

    /// Puts a record back, before the workers start. From any thread, in any order: of two
    /// records of an entity the newer stands; false if one at least as new is there already. The
    /// newest first are the fastest: what is older is not even read.
    fn restore(&self, record: &[u8], generation: u32) -> Result<bool, Unreadable>;
}
