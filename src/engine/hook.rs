//! For the crash tests only (feature `crash`): a marked record brings the process down.

use crate::messages::{Apart, Chunk, Framing};

/// Stands in a record that is to panic where it is decoded.
const MARK: &[u8] = b"brings-the-process-down";

/// Panics if a marked record is to be decoded; not over one that was put aside.
pub(super) fn panic_on_marked(chunk: &Chunk) {
    let aside = |it: &crate::messages::RecordAt| {
        it.apart.as_ref().is_some_and(|it| matches!(**it, Apart::Refused(_)))
    };
    let apart = match &chunk.framing {
        Framing::Lines => false,
        Framing::Records(records) => records.iter().any(aside),
        Framing::Sparse(records) => records.iter().any(|it| aside(&it.0)),
    };
    if !apart && memchr::memmem::find(&chunk.bytes, MARK).is_some() {
        panic!("a marked record at {:?}, {}..{}", chunk.partition, chunk.first, chunk.next);
    }
}
