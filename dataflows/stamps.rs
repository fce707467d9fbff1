//! Which of two statements is the newer: by event time, then id, then source.
//!
//! # Meaning
//! Two statements of one tenant never share a [`Stamp`], for (source, id) is an event's identity
//! within its tenant. So "the newest wins" is the same in every order of arrival.

use std::cell::RefCell;

use compact_str::CompactString;
use schemas::events::Event;
use serde::{Deserialize, Serialize};

use crate::packed::{Checked, Writer};

/// When something was said, and by which event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Event time, microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// Id and source in one text, see [`tie`].
    pub(crate) tie: CompactString,
}

impl Stamp {
    /// The stamp of an event.
    #[inline]
    pub(crate) fn of(event: &Event<'_>) -> Stamp {
        Stamp { at: event.time, tie: tie(&event.id, &event.source) }
    }

    /// Bytes kept outside the value itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        text_bytes(&self.tie)
    }

    pub(crate) fn store(&self, into: &mut Writer<'_>) {
        into.int(self.at);
        into.text(&self.tie);
    }

    pub(crate) fn restore(from: &mut Checked<'_>) -> Option<Stamp> {
        Some(Stamp { at: from.int()?, tie: from.text()?.into() })
    }
}

/// Id, NUL, source. No identifier holds a control character, so this text is ordered as the pair
/// (id, source) is.
#[inline]
pub(crate) fn tie(id: &str, source: &str) -> CompactString {
    SCRATCH.with_borrow_mut(|tie| {
        tie.clear();
        tie.push_str(id);
        tie.push('\0');
        tie.push_str(source);
        CompactString::new(&*tie)
    })
}

thread_local! {
    /// Where a tie is put together: one copy into a small string instead of three appends to it.
    static SCRATCH: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Bytes that a text keeps outside itself.
pub(crate) fn text_bytes(text: &CompactString) -> usize {
    if text.is_heap_allocated() { text.capacity() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the packed text orders as the pair does. Method: every pair of some awkward ones.
    #[test]
    fn orders_as_the_pair() {
        let parts = ["", "a", "a!", "ab", "b", "\u{e9}"];
        let pairs = parts.iter().flat_map(|id| parts.iter().map(move |source| (*id, *source)));
        let pairs: Vec<_> = pairs.collect();
        for a in &pairs {
            for b in &pairs {
                assert_eq!(tie(a.0, a.1).cmp(&tie(b.0, b.1)), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
