//! Server-sent events as bytes.
//!
//! # Invariants
//! `event` and `id` are words and numbers of ours; `data` is JSON on one line, in which CR and LF
//! are always escaped: no text of a user's can end a field (warp's own encoder writes them raw).

use bytes::Bytes;
use schemas::rows::{Row, ViewDef};

use super::answer::{AsOfJson, push_json};
use super::state::push_row;
use crate::changes::{Change, Delta, Kind};
use crate::messages::{AsOf, Epoch};

/// How long a client waits before it comes back.
const RETRY_MS: u32 = 2_000;

/// The beginning of every stream.
pub(super) fn opening() -> Bytes {
    Bytes::from(format!("retry: {RETRY_MS}\n\n"))
}

/// Nothing has happened up to this epoch: moves the client's last id, is not an event to it.
pub(super) fn heartbeat(epoch: Epoch) -> Bytes {
    Bytes::from(format!(": still here\nid: {epoch}\n\n"))
}

/// A part of the snapshot; only the last one has an id.
pub(super) fn snapshot(
    as_of: AsOf,
    def: &'static ViewDef,
    rows: &[(impl AsRef<str>, Row)],
    last: bool,
) -> Bytes {
    let mut out = Vec::with_capacity(256 + rows.len() * 512);
    head(&mut out, "snapshot", last.then_some(as_of.epoch));
    data(&mut out, as_of, def);
    out.extend(b",\"rows\":[");
    for (n, (key, row)) in rows.iter().enumerate() {
        out.extend(if n == 0 { b"{".as_slice() } else { b",{" });
        push_row(&mut out, def, key.as_ref(), row);
        out.push(b'}');
    }
    out.extend(b"],\"last\":");
    push_json(&mut out, &last);
    out.extend(b"}\n\n");
    out.into()
}

/// Changes of one instant. Only the last event has the id: who was cut off in the middle gets all
/// of them again.
pub(super) fn delta(delta: &Delta) -> Bytes {
    let mut out = Vec::with_capacity(delta.changes.len() * 512);
    let last = delta.changes.len().saturating_sub(1);
    for (n, Change { kind, name, row }) in delta.changes.iter().enumerate() {
        let event = match kind {
            Kind::Enter => "enter",
            Kind::Update => "update",
            Kind::Leave => "leave",
        };
        head(&mut out, event, (n == last).then_some(delta.as_of.epoch));
        data(&mut out, delta.as_of, delta.def);
        out.push(b',');
        match row {
            Some(row) => push_row(&mut out, delta.def, name.key(), row),
            None => {
                out.extend(b"\"key\":");
                push_json(&mut out, &name.key());
            }
        }
        out.extend(b"}\n\n");
    }
    out.into()
}

/// The epoch asked for is no longer known; a snapshot follows.
pub(super) fn reset(as_of: AsOf, def: &'static ViewDef) -> Bytes {
    let mut out = Vec::with_capacity(256);
    head(&mut out, "reset", None);
    data(&mut out, as_of, def);
    out.extend(b"}\n\n");
    out.into()
}

/// The stream ends; `reason` is one of ours.
pub(super) fn closed(as_of: AsOf, def: &'static ViewDef, reason: &'static str) -> Bytes {
    let mut out = Vec::with_capacity(256);
    head(&mut out, "closed", None);
    data(&mut out, as_of, def);
    out.extend(b",\"reason\":");
    push_json(&mut out, &reason);
    out.extend(b"}\n\n");
    out.into()
}

fn head(out: &mut Vec<u8>, event: &'static str, id: Option<Epoch>) {
    out.extend(b"event: ");
    out.extend(event.as_bytes());
    out.push(b'\n');
    if let Some(id) = id {
        out.extend(format!("id: {id}\n").as_bytes());
    }
}

/// Begins the data; the caller closes the object.
fn data(out: &mut Vec<u8>, as_of: AsOf, def: &ViewDef) {
    out.extend(b"data: {\"as_of\":");
    push_json(out, &AsOfJson(as_of));
    out.extend(b",\"view\":");
    push_json(out, &def.name);
}
