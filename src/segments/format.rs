//! Headers as bytes, both ways. All numbers are little-endian.

/// First bytes of every segment.
const SEGMENT_MAGIC: [u8; 8] = *b"MLSTRSEG";
/// First bytes of every block; what a search for the next good block looks for.
pub(super) const BLOCK_MAGIC: [u8; 4] = *b"MBLK";
/// The version that this code writes and reads.
pub(super) const VERSION: u16 = 1;
/// Blocks were taken out of the segment on purpose: positions between its blocks may be missing.
const COMPACTED: u16 = 1;

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 44;
/// Largest payload of a block. A request is at most some MiB; above this a length is damage.
pub const MAX_BLOCK_BYTES: usize = 16 << 20;
/// The tag of the mark that ends a segment; tags of one's own are below 64.
pub const END_TAG: u16 = u16::MAX;

/// What the blocks of a log hold. A segment of other contents is refused, never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Four letters, for people: `evlg`.
    pub name: [u8; 4],
    /// Hash of the layout of the payloads.
    pub schema: u64,
}

impl Contents {
    /// Contents of this name whose payloads are laid out as the text says (FNV-1a, 64 bits).
    pub const fn new(name: [u8; 4], layout: &str) -> Contents {
        let (bytes, mut i) = (layout.as_bytes(), 0);
        let mut schema = 0xcbf2_9ce4_8422_2325u64;
        while i < bytes.len() {
            schema = (schema ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            i += 1;
        }
        Contents { name, schema }
    }
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What its blocks hold.
    pub contents: Contents,
    /// The log that it belongs to: drawn when the log was made.
    pub log_id: u64,
    /// Position of its first record.
    pub first: u64,
    /// When it was made, milliseconds.
    pub created_ms: u64,
    /// Positions may be missing between its blocks.
    pub compacted: bool,
}

/// Why a segment's header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentProblem {
    /// Too short, not a segment, or its checksum does not hold.
    Damaged(&'static str),
    /// Written in another version of the format.
    Version(u16),
}

impl SegmentHeader {
    /// As bytes; the last four are the checksum, which also salts every block of the segment.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[0..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&(if self.compacted { COMPACTED } else { 0 }).to_le_bytes());
        out[12..16].copy_from_slice(&self.contents.name);
        out[16..24].copy_from_slice(&self.contents.schema.to_le_bytes());
        out[24..32].copy_from_slice(&self.log_id.to_le_bytes());
        out[32..40].copy_from_slice(&self.first.to_le_bytes());
        out[40..48].copy_from_slice(&self.created_ms.to_le_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header and the salt of its blocks.
    pub fn decode(bytes: &[u8]) -> Result<(SegmentHeader, u32), SegmentProblem> {
        let Some(it) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err(SegmentProblem::Damaged("its header is cut short"));
        };
        if it[..8] != SEGMENT_MAGIC {
            return Err(SegmentProblem::Damaged("it does not begin as a segment does"));
        }
        // The version comes first and its place never changes: another version may have another
        // checksum. A flipped bit in it is told as another version, which is refused as well.
        let version = u16::from_le_bytes([it[8], it[9]]);
        if version != VERSION {
            return Err(SegmentProblem::Version(version));
        }
        let salt = u32_at(it, 60);
        if crc32c::crc32c(&it[..60]) != salt {
            return Err(SegmentProblem::Damaged("the checksum of its header does not hold"));
        }
        let contents = Contents { name: [it[12], it[13], it[14], it[15]], schema: u64_at(it, 16) };
        let header = SegmentHeader {
            contents,
            log_id: u64_at(it, 24),
            first: u64_at(it, 32),
            created_ms: u64_at(it, 40),
            compacted: it[10] & 1 == 1,
        };
        Ok((header, salt))
    }
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes of payload.
    pub len: u32,
    /// Positions that it takes.
    pub count: u32,
    /// Its owner's mark, below 64; [`END_TAG`] for the mark that ends a segment.
    pub tag: u16,
    /// Position of its first record.
    pub first: u64,
    /// When it was appended, milliseconds; never less than the block before.
    pub appended_ms: u64,
    /// Bytes from the beginning of its group to here. All before the group was durable when this
    /// was written, so a damaged byte there is damage and not a write cut short.
    pub back: u32,
    /// CRC32C of the payload.
    pub payload_crc: u32,
}

impl BlockHeader {
    /// The next position after the block.
    pub fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Bytes of the whole block.
    pub fn total(&self) -> u64 {
        BLOCK_HEADER_BYTES as u64 + u64::from(self.len)
    }

    /// As bytes; the last four are the checksum of the others and the segment's salt.
    pub fn encode(&self, salt: u32) -> [u8; BLOCK_HEADER_BYTES] {
        let mut out = [0; BLOCK_HEADER_BYTES];
        out[0..4].copy_from_slice(&BLOCK_MAGIC);
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..12].copy_from_slice(&self.count.to_le_bytes());
        out[12..14].copy_from_slice(&self.tag.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        out[24..32].copy_from_slice(&self.appended_ms.to_le_bytes());
        out[32..36].copy_from_slice(&self.back.to_le_bytes());
        out[36..40].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &out[..40]);
        out[40..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header, if its checksum holds and its length is one that we write.
    pub fn decode(
        bytes: &[u8; BLOCK_HEADER_BYTES],
        salt: u32,
    ) -> Result<BlockHeader, &'static str> {
        if bytes[..4] != BLOCK_MAGIC {
            return Err("no block begins there");
        }
        if crc32c::crc32c_append(salt, &bytes[..40]) != u32_at(bytes, 40) {
            return Err("the checksum of the block's header does not hold");
        }
        let it = BlockHeader {
            len: u32_at(bytes, 4),
            count: u32_at(bytes, 8),
            tag: u16::from_le_bytes([bytes[12], bytes[13]]),
            first: u64_at(bytes, 16),
            appended_ms: u64_at(bytes, 24),
            back: u32_at(bytes, 32),
            payload_crc: u32_at(bytes, 36),
        };
        if it.len as usize > MAX_BLOCK_BYTES || it.first.checked_add(it.count.into()).is_none() {
            return Err("the block's header states a length that is never written");
        }
        Ok(it)
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
