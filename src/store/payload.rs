//! What is in the blocks of both logs, as bytes and back. All numbers are little-endian.
//!
//! Nothing here trusts a length: bytes that are not what they should be are `None`.

use serde::{Deserialize, Serialize};

use super::fresh::Claimed;
use crate::messages::BookLine;
use crate::segments::Contents;

/// Records of states, and the commits that make them count.
pub(super) const STATES: Contents = Contents::new(
    *b"stat",
    "records: seq u32, length of the view's name u8, the name, then per record its length u32 and \
     its bytes; commit: JSON",
);
/// Identities already applied.
pub(super) const IDENTITIES: Contents =
    Contents::new(*b"idnt", "remembered from u64, then identities of 16 bytes");

/// A block of records.
pub(super) const RECORDS: u16 = 0;
/// A block that makes a checkpoint count.
pub(super) const COMMIT: u16 = 1;
/// A block of identities.
pub(super) const CLAIMED: u16 = 0;

/// Bytes of records that are gathered into one block.
pub(super) const BLOCK_BYTES: usize = 2 << 20;
/// A block is full with the record that makes it so: room for that one, mostly.
const RECORD_ROOM: usize = 64 << 10;
/// Identities in one block.
pub(super) const BLOCK_IDS: u32 = 128 << 10;

/// A block of records in the making.
pub(super) struct Records {
    pub(super) bytes: Vec<u8>,
    head: usize,
    pub(super) n: u64,
}

impl Records {
    /// An empty one, in this memory.
    pub(super) fn of(seq: u32, view: &str, mut bytes: Vec<u8>) -> Records {
        bytes.clear();
        bytes.reserve(BLOCK_BYTES + RECORD_ROOM);
        bytes.extend_from_slice(&seq.to_le_bytes());
        bytes.push(view.len() as u8);
        bytes.extend_from_slice(view.as_bytes());
        Records { head: bytes.len(), bytes, n: 0 }
    }

    pub(super) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(record);
        self.n += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES
    }

    /// What comes next is another block of the same view.
    pub(super) fn again(&mut self) {
        self.bytes.truncate(self.head);
        self.n = 0;
    }
}

/// A block of records, read: its checkpoint, its view, its records.
pub(super) fn records(payload: &[u8]) -> Option<(u32, &str, Vec<&[u8]>)> {
    let (seq, rest) = payload.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first()?;
    let (view, mut rest) = rest.split_at_checked(usize::from(*len))?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (record, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        records.push(record);
        rest = after;
    }
    Some((u32::from_le_bytes(*seq), std::str::from_utf8(view).ok()?, records))
}

/// What makes a checkpoint count, and what it holds besides records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    pub(super) seq: u32,
    pub(super) incarnation: u64,
    pub(super) epoch: u64,
    /// Each view's name and the layout of its records.
    pub(super) views: Vec<(String, String)>,
    /// What the deployment's secret makes of a known text: keys are fingerprints under it.
    #[serde(default)]
    pub(super) under: String,
    /// Which program wrote it, under which settings.
    #[serde(default)]
    pub(super) made_by: MadeBy,
    /// Views that were built again, each with the first checkpoint whose records are of what it
    /// is now.
    #[serde(default)]
    pub(super) since: Vec<(String, u32)>,
    /// How many entities each had, about: others are counted while it is written.
    #[serde(default)]
    pub(super) entities: Vec<(String, u64)>,
    /// The models that were published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) models: Vec<String>,
    /// The first position of the segments that it needs: without them it is not whole. None in
    /// files of builds that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) needs: Option<u64>,
    /// The first position of the identities that it needs. None in files of builds that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identities_from: Option<u64>,
    /// The next position of the identities' log.
    pub(super) identities: u64,
    /// Its positions that belong to no checkpoint.
    pub(super) dead: Vec<(u64, u64)>,
    /// Where reading stood, and where the records had ended.
    pub(super) lines: Vec<BookLine>,
}

/// Who wrote a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// The program's version: the schemas of events are those of its day.
    pub version: String,
    /// The settings that decide what becomes of a record, as text.
    pub settings: String,
}

/// Begins a block of identities in this memory; each follows as its 16 bytes.
pub(super) fn begin_claimed(into: &mut Vec<u8>, claimed_ms: u64) {
    into.clear();
    into.extend_from_slice(&claimed_ms.to_le_bytes());
}

/// A block of identities, read.
pub(super) fn read_claimed(payload: &[u8]) -> Option<Claimed> {
    let (claimed_ms, rest) = payload.split_first_chunk::<8>()?;
    let (ids, rest) = rest.as_chunks::<16>();
    let ids = ids.iter().map(|id| u128::from_le_bytes(*id)).collect();
    rest.is_empty().then_some(Claimed { claimed_ms: u64::from_le_bytes(*claimed_ms), ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is written is read back, and nothing shorter is read at all.
    #[test]
    fn there_and_back() {
        let mut block = Records::of(7, "orders", vec![1, 2, 3]);
        block.push(b"one");
        block.push(b"");
        let read = records(&block.bytes).unwrap();
        assert_eq!(read, (7, "orders", vec![b"one".as_slice(), b""]));
        for len in 0..block.bytes.len() {
            let cut = records(&block.bytes[..len]);
            assert!(cut.is_none_or(|it| it.2.len() < 2), "cut at {len}");
        }
        block.again();
        assert_eq!(records(&block.bytes).unwrap().2.len(), 0);

        let mut bytes = vec![9; 3];
        begin_claimed(&mut bytes, 5);
        [1, u128::MAX].iter().for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
        assert_eq!(read_claimed(&bytes), Some(Claimed { claimed_ms: 5, ids: vec![1, u128::MAX] }));
        assert_eq!(read_claimed(&bytes[..bytes.len() - 1]), None);
    }
}
