//! The one format on disk: append-only segments of checksummed blocks.
//!
//! In: groups of blocks (bytes with a tag and a number of positions). Out: the same blocks, each
//! whole and as written, or a report that says which file, offset and positions are damaged.
//! It knows nothing of events; `docs/format.md` describes the files for a reader without this code.
//!
//! ```text
//!  open ─▶ Folder (lock, list of segments) ─▶ find(position) ─▶ Blocks (reads, checks)
//!     └──▶ Writer (append a group, roll)   ─▶ extends the newest segment, durable before seen
//!  look ─▶ Folder, shared with others who look; nothing is written
//! ```
//!
//! # Invariants
//! - A block is there whole or not at all; a group that was answered is on the disk.
//! - Nothing is decoded whose checksum does not hold, and nothing is allocated by a length that
//!   no checksum vouches for, or that is above [`MAX_BLOCK_BYTES`].
//! - What was cut short at the very end is removed and told. Damage before bytes that were
//!   durable is never removed: opening refuses, or skips the block when told to ([`OnDamage`]).
//! - After a failed sync a segment is never written again.
//!
//! # State
//! A list of segments in memory, and one open file. Segments leave by [`Folder::age_out`].
//!
//! # Why this way
//! Random upserts into a B-tree or LSM were measured ten to forty times dearer
//! (`docs/decisions/embedded-log-always-on.md`).

mod back;
mod blocks;
mod examine;
mod folder;
mod format;
mod lock;
mod open;
mod overwrite;
mod retain;
mod trouble;
mod verify;
mod whole;
mod writer;

pub use crate::config::OnDamage;
pub use back::{go_back, sound};
pub use blocks::{Bad, Block, Blocks, Source};
pub use examine::{Damaged, Examined, Tally, examine};
pub use folder::{Extent, Folder, Reading, Segment};
pub(crate) use folder::{make_dir, parent, sync_dir};
pub use format::{
    BLOCK_HEADER_BYTES, BlockHeader, Contents, END_TAG, MAX_BLOCK_BYTES, SEGMENT_HEADER_BYTES,
    SegmentHeader, SegmentProblem,
};
pub use lock::FolderLock;
pub use open::{Looked, Opened, VERIFY_AT_OPEN_BYTES, look, look_ahead, open, open_to_read};
pub use trouble::{cannot_read, cannot_write, damaged, other_layout};
pub use verify::{Held, Verified};
pub use whole::{read_checked, remove, replace, replace_checked};
pub use writer::{Group, Medium, NewBlock, Writer};
