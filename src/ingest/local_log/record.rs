//! Records inside a block's payload.

use crate::messages::{Origin, Retry};

/// What the records of a block are. A block is of one kind, its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Events that were sent to us.
    Event = 0,
    /// Events of our own; never aged out.
    Fact = 1,
    /// Rejects that are to be read again, each with its origin.
    Retried = 2,
}

impl Kind {
    pub(super) fn of(tag: u16) -> Option<Kind> {
        [Kind::Event, Kind::Fact, Kind::Retried].into_iter().find(|it| *it as u16 == tag)
    }
}

/// A bit per tag that is never aged out.
pub(super) const KEPT: u64 = 1 << Kind::Fact as u16;

pub(super) fn plain(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.iter().map(|it| it.len() + 4).sum());
    for it in records {
        put(&mut out, it);
    }
    out
}

pub(super) fn retried(records: &[Retry]) -> Vec<u8> {
    let mut out = Vec::new();
    for it in records {
        put(&mut out, &serde_json::to_vec(&it.origin).expect("plain fields"));
        put(&mut out, &it.bytes);
    }
    out
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // A payload above 16 MiB is refused, so a record's length always fits once it is written.
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A record in a payload: where its bytes are, and its origin's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) origin: Option<(usize, usize)>,
}

impl Place {
    pub(super) fn bytes(self, payload: &[u8]) -> &[u8] {
        &payload[self.start..self.start + self.len]
    }

    /// Where a retried record was first read; none where it is not a retried one.
    pub(super) fn origin(self, payload: &[u8]) -> Result<Option<Origin>, &'static str> {
        let Some((start, len)) = self.origin else { return Ok(None) };
        let read = serde_json::from_slice(&payload[start..start + len]);
        read.map(Some).map_err(|_| "the origin of a retried record is not what it should be")
    }
}

/// The records of a payload; an error if it is not laid out as its tag says, although its
/// checksum holds.
pub(super) fn places(
    kind: Kind,
    payload: &[u8],
    mut take: impl FnMut(Place),
) -> Result<(), &'static str> {
    let mut at = 0;
    let next = |at: &mut usize| -> Result<(usize, usize), &'static str> {
        const CUT: &str = "the records in the block do not fill it as they should";
        let len = payload.get(*at..).and_then(|it| it.first_chunk::<4>()).ok_or(CUT)?;
        let len = u32::from_le_bytes(*len) as usize;
        let start = *at + 4;
        if payload.len() - start < len {
            return Err(CUT);
        }
        *at = start + len;
        Ok((start, len))
    };
    while at < payload.len() {
        let origin = if kind == Kind::Retried { Some(next(&mut at)?) } else { None };
        let (start, len) = next(&mut at)?;
        take(Place { start, len, origin });
    }
    Ok(())
}
