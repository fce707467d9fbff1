//! A kept reject: as it lies in a block, and as others see it.

use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::messages::{MAX_REJECT_BYTES, Origin, Rejected};

/// A kept reject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its number in the store.
    pub id: u64,
    /// Where it was read, why it was rejected.
    pub head: Head,
    /// It was appended to the embedded log again, at this position.
    pub retried_as: Option<u64>,
    /// The record was longer than what is kept of it; it cannot be retried.
    pub cut: bool,
    /// The record.
    pub bytes: Vec<u8>,
}

impl Reject {
    /// As everybody is told of it, over HTTP and by the command line: one spelling.
    pub fn told(&self) -> Value {
        let time = |ms: u64| schemas::time::rfc3339(ms.saturating_mul(1_000).cast_signed());
        let head = &self.head;
        let origin = head.origin.as_ref().map(|it| {
            json!({
                "feed": it.feed, "partition": it.partition, "offset": it.offset,
                "appended_at": time(it.appended_ms),
            })
        });
        let mut told = json!({
            "id": self.id,
            "reason": head.code,
            "pointer": head.pointer,
            "expected": head.expected,
            "found": head.found,
            "feed": head.feed,
            "partition": head.partition,
            "offset": head.offset,
            "appended_at": time(head.appended_ms),
            "rejected_at": time(head.rejected_ms),
            "mapping": head.mapping,
            "origin": origin,
            "cut": self.cut,
            "retried_as": self.retried_as,
        });
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => told["text"] = json!(text),
            Err(_) => {
                let text = base64::engine::general_purpose::STANDARD.encode(&self.bytes);
                told["base64"] = json!(text);
            }
        }
        told
    }
}

/// What is known of a reject beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The feed's name.
    pub feed: String,
    /// Its partition.
    pub partition: u32,
    /// The record's offset.
    pub offset: u64,
    /// When the log took it, milliseconds since the Unix epoch.
    pub appended_ms: u64,
    /// When it was rejected, milliseconds since the Unix epoch.
    pub rejected_ms: u64,
    /// The reason's name; `docs/errors/` has its page.
    pub code: String,
    /// Which field: a JSON pointer.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// It was itself a retried record: where it was first read. A retry of it has this origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The mapping by which it was read, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
}

/// Which rejects; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this feed.
    pub feed: Option<String>,
    /// For this reason.
    pub code: Option<String>,
    /// Retried, or not yet.
    pub retried: Option<bool>,
}

/// Some rejects, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rejects.
    pub rejects: Vec<Reject>,
    /// Where the next page begins; absent on the last.
    pub next: Option<u64>,
}

/// How many rejects there are and were, for one feed and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The feed's name.
    pub feed: String,
    /// The reason.
    pub code: String,
    /// Kept now.
    pub kept: u64,
    /// Of these, retried.
    pub retried: u64,
    /// Pushed out by newer ones.
    pub summarised: u64,
    /// Never kept, since this process began: they came faster than they could be written.
    pub not_kept: u64,
    /// Read again since this process began, and known.
    pub repeated: u64,
}

/// The payload of a reject's block.
pub(super) fn encode(head: &Head, bytes: &[u8]) -> Vec<u8> {
    let json = serde_json::to_vec(head).expect("plain fields");
    let mut out = Vec::with_capacity(4 + json.len() + bytes.len());
    out.extend_from_slice(&(json.len() as u32).to_le_bytes());
    out.extend_from_slice(&json);
    out.extend_from_slice(bytes);
    out
}

/// The head, and where the record's bytes begin.
pub(super) fn head(payload: &[u8]) -> Option<(Head, usize)> {
    let len = u32::from_le_bytes(*payload.first_chunk()?) as usize;
    let json = payload.get(4..)?.get(..len)?;
    Some((serde_json::from_slice(json).ok()?, 4 + len))
}

pub(super) fn decode(id: u64, payload: &[u8], retried_as: Option<u64>) -> Option<Reject> {
    let (head, at) = head(payload)?;
    let bytes = payload[at..].to_vec();
    // A record of exactly the limit may be one that was cut: better not retried than half.
    let cut = bytes.len() >= MAX_REJECT_BYTES;
    Some(Reject { id, head, retried_as, cut, bytes })
}

pub(super) fn head_of(
    it: &Rejected,
    feed: &str,
    mapping: Option<String>,
    rejected_ms: u64,
) -> Head {
    Head {
        feed: feed.into(),
        partition: it.partition.1,
        offset: it.offset,
        appended_ms: it.appended_ms,
        rejected_ms,
        code: it.problem.code.into(),
        pointer: it.problem.pointer.clone(),
        expected: it.problem.expected.clone(),
        found: it.problem.found.clone(),
        // The log's own feed has no mapping; the one by which it was read has the origin.
        mapping: it.origin.as_ref().map_or(mapping, |it| it.mapping.clone()),
        origin: it.origin.clone(),
    }
}
