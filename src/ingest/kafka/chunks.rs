//! One partition's records into chunks, every offset accounted for.
//!
//! In: records, ends and losses, in the order of their offsets. Out: [`Chunk`]s.
//!
//! # Meaning
//! Over all chunks of a partition: next - first = records + lost + absent. Offsets between two
//! records that the broker does not deliver are *absent* (markers, aborted, compacted). What was
//! removed, or cannot be read, is *lost*: whoever finds out says how far.
//!
//! # Invariants
//! - `next` is what we have handed over or will with the chunk at hand; it never goes back.
//! - Nothing is decoded, with two exceptions: an event in binary mode is put together as the log
//!   would keep it, because its attributes are outside of its bytes; and so is a record of which a
//!   mapping wants key and headers. One that cannot be is rejected where the others are, with the
//!   same words.

use std::sync::Arc;

use schemas::decode::binary_to_structured;
use schemas::problem::Problem;

use super::Takes;
use super::batch::{Record, Stamp};
use super::whole::Parts;
use crate::messages::{Apart, Chunk, Framing, Gap, MAX_CHUNK_BYTES, Partition, RecordAt, buffers};

/// A chunk in the making.
#[derive(Debug)]
pub(super) struct Building {
    partition: Partition,
    next: u64,
    first: u64,
    gap: Gap,
    bytes: Vec<u8>,
    records: Vec<RecordAt>,
    /// Offsets from `first` on, once they are no longer consecutive.
    after: Vec<u32>,
}

/// A record's bytes, and how they are read.
pub(super) struct Taken<'a> {
    bytes: std::borrow::Cow<'a, [u8]>,
    apart: Option<Arc<Apart>>,
}

impl Building {
    /// Begins at this offset.
    pub(super) fn new(partition: Partition, next: u64) -> Building {
        Building {
            partition,
            next,
            first: next,
            gap: Gap::default(),
            bytes: Vec::new(),
            records: Vec::new(),
            after: Vec::new(),
        }
    }

    /// The next offset to be read.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether there is anything to hand over.
    pub(super) fn has_something(&self) -> bool {
        !self.records.is_empty() || self.gap != Gap::default()
    }

    /// Whether it is large enough to be handed over at once.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= MAX_CHUNK_BYTES
    }

    /// A record. `false`: it was read before, and is left out.
    pub(super) fn record(&mut self, offset: u64, taken: &Taken<'_>, appended_ms: u64) -> bool {
        if offset < self.next {
            return false;
        }
        self.pass_to(offset);
        if self.records.is_empty() {
            self.first = offset;
            if self.bytes.capacity() == 0 {
                self.bytes = buffers::empty();
            }
        }
        let after = (offset - self.first) as usize;
        if after != self.records.len() || !self.after.is_empty() {
            if self.after.is_empty() {
                self.after.extend(0..self.records.len() as u32);
            }
            self.after.push(after as u32);
        }
        self.records.push(RecordAt {
            start: self.bytes.len() as u32,
            len: taken.bytes.len() as u32,
            appended_ms,
            apart: taken.apart.clone(),
        });
        self.bytes.extend_from_slice(&taken.bytes);
        self.next = offset + 1;
        true
    }

    /// Whether a record at this offset must wait for the next chunk.
    pub(super) fn too_far(&self, offset: u64) -> bool {
        !self.records.is_empty() && offset.saturating_sub(self.first) >= u64::from(u32::MAX)
    }

    /// Nothing is delivered before this offset.
    pub(super) fn pass_to(&mut self, offset: u64) {
        let missing = offset.saturating_sub(self.next);
        if missing > 0 {
            self.gap.absent += missing;
            self.next = offset;
        }
    }

    /// What is before this offset is no longer there, or cannot be read.
    pub(super) fn lose_to(&mut self, offset: u64) {
        self.gap.lost += offset.saturating_sub(self.next);
        self.next = self.next.max(offset);
    }

    /// What there is, even if it is nothing: then it tells where the partition begins.
    pub(super) fn chunk(&mut self) -> Chunk {
        let records = std::mem::take(&mut self.records);
        let after = std::mem::take(&mut self.after);
        let first = if records.is_empty() { self.next } else { self.first };
        let appended_ms = records.last().map_or(0, |it| it.appended_ms);
        // Absent offsets behind the last record are not of this chunk's range; they are in `gap`.
        let framing = match after.is_empty() {
            true => Framing::Records(records),
            false => Framing::Sparse(records.into_iter().zip(after).collect()),
        };
        Chunk {
            partition: self.partition,
            first,
            next: self.next,
            gap: std::mem::take(&mut self.gap),
            pass: 0,
            appended_ms,
            bytes: std::mem::take(&mut self.bytes),
            framing,
        }
    }
}

/// The bytes of a record as they are handed over: at most one byte more than an event may have, so
/// that a longer one is seen to be too long.
pub(super) fn taken<'a>(
    record: &Record<'a>,
    topic: &str,
    partition: i32,
    takes: Takes,
    max_event_bytes: usize,
) -> Taken<'a> {
    let value = record.payload.unwrap_or_default();
    let bytes = &value[..value.len().min(max_event_bytes + 1)];
    let made = match takes {
        Takes::Value => None,
        _ if value.len() > max_event_bytes => None,
        Takes::Event => {
            let mut headers = Headers::default();
            record.headers(|name, value| headers.note(name, value));
            headers.binary().then(|| headers.structured(record.key, value))
        }
        Takes::Whole => {
            let mut headers = Vec::new();
            record.headers(|name, value| {
                headers.push((String::from_utf8_lossy(name).into(), value.map(<[u8]>::to_vec)));
            });
            let (offset, key, value) = (record.offset, record.key, record.payload);
            let timestamp_ms = match record.stamp() {
                Stamp::Appended(at) | Stamp::Created(at) => Some(at),
                Stamp::Absent => None,
            };
            let it = Parts { topic, partition, offset, timestamp_ms, key, headers, value };
            Some(it.written().map(|mut it| {
                it.truncate(max_event_bytes + 1);
                it
            }))
        }
    };
    match made {
        None => Taken { bytes: bytes.into(), apart: None },
        Some(Ok(bytes)) => Taken { bytes: bytes.into(), apart: None },
        Some(Err(problem)) => {
            Taken { bytes: bytes.into(), apart: Some(Arc::new(Apart::Refused(problem))) }
        }
    }
}

/// When the log took it: the broker's time if that is what the topic keeps, else the time of first
/// reading, because a producer may say anything.
pub(super) fn appended_ms(stamp: Stamp, read_ms: u64) -> u64 {
    match stamp {
        Stamp::Appended(at) => u64::try_from(at).unwrap_or(read_ms),
        Stamp::Created(_) | Stamp::Absent => read_ms,
    }
}

/// What the headers say of an event (CloudEvents' binding for Kafka).
#[derive(Debug, Default)]
pub(super) struct Headers {
    attributes: Vec<(String, Result<String, Vec<u8>>)>,
    content_type: Option<String>,
}

impl Headers {
    pub(super) fn note(&mut self, name: &[u8], value: Option<&[u8]>) {
        let value = value.unwrap_or_default();
        if let Some(attribute) = name.strip_prefix(b"ce_") {
            let name = String::from_utf8_lossy(attribute).to_ascii_lowercase();
            let text = String::from_utf8(value.to_vec());
            self.attributes.push((name, text.map_err(std::string::FromUtf8Error::into_bytes)));
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.content_type = Some(String::from_utf8_lossy(value).into_owned());
        }
    }

    /// Structured is what says so, and what says nothing.
    pub(super) fn binary(&self) -> bool {
        let structured = self.content_type.as_deref().is_some_and(|it| {
            let media = it.split(';').next().unwrap_or_default().trim();
            media.to_ascii_lowercase().starts_with("application/cloudevents")
        });
        !structured && !self.attributes.is_empty()
    }

    /// One structured record; the key is the attribute `partitionkey`, unless a header says it.
    pub(super) fn structured(&self, key: Option<&[u8]>, data: &[u8]) -> Result<Vec<u8>, Problem> {
        let mut attributes = Vec::with_capacity(self.attributes.len() + 1);
        for (name, value) in &self.attributes {
            match value {
                Ok(value) => attributes.push((name.as_str(), value.as_str())),
                Err(bytes) => {
                    return Err(Problem {
                        code: "schemas/wrong-shape",
                        pointer: format!("/{name}"),
                        expected: "UTF-8".into(),
                        found: format!("{:?}", String::from_utf8_lossy(bytes)),
                    });
                }
            }
        }
        let key = key.and_then(|it| std::str::from_utf8(it).ok()).filter(|it| !it.is_empty());
        if let Some(key) = key.filter(|_| !attributes.iter().any(|it| it.0 == "partitionkey")) {
            attributes.push(("partitionkey", key));
        }
        binary_to_structured(&attributes, self.content_type.as_deref(), data)
    }
}

#[cfg(test)]
#[path = "chunks/tests.rs"]
mod tests;
