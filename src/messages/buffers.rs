//! Buffers for what is read, used again.
//!
//! # Why this way
//! A reader fills a quarter of a megabyte, a worker decodes it and drops it, thousands of times a
//! minute. From the allocator each costs its pages again, and zeros that are overwritten at once:
//! 2 % of a replay.
//!
//! # State
//! At most [`SPARE_MAX`] buffers of [`MAX_CHUNK_BYTES`] and a little, for the whole process.

use parking_lot::Mutex;

use super::MAX_CHUNK_BYTES;

/// Buffers kept: more than a reader and its workers have between them.
const SPARE_MAX: usize = 8;

/// A buffer that is much larger goes back to the allocator.
const KEPT_BYTES_MAX: usize = 2 * MAX_CHUNK_BYTES;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer of this length. What it holds is anything: it is to be overwritten.
pub(crate) fn take(len: usize) -> Vec<u8> {
    let mut buffer = SPARE.lock().pop().unwrap_or_default();
    buffer.resize(len, 0);
    buffer
}

/// An empty buffer, with room where one was given back.
pub(crate) fn empty() -> Vec<u8> {
    let mut buffer = SPARE.lock().pop().unwrap_or_default();
    buffer.clear();
    buffer
}

/// Takes a buffer back.
pub(crate) fn give_back(buffer: Vec<u8>) {
    if buffer.capacity() < MAX_CHUNK_BYTES || buffer.capacity() > KEPT_BYTES_MAX {
        return;
    }
    let mut spare = SPARE.lock();
    if spare.len() < SPARE_MAX {
        spare.push(buffer);
    }
}
