//! Asks the processor to bring memory near before it is needed.
//!
//! # Why this way
//! Applying an epoch to a map of a million entities is one cache miss after the other; asked for
//! sixteen at a time they overlap. This is the only unsafe code of the crate: one instruction
//! that can neither fault nor change anything, whatever the address.

use std::sync::Arc;

/// Most lines asked for per value: beyond four the processor's own read-ahead has started.
const LINES_MAX: usize = 4;

/// Bytes per cache line.
const LINE: usize = 64;

/// Brings the beginning of a value near.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    let lines = size_of::<T>().div_ceil(LINE).clamp(1, LINES_MAX);
    for line in 0..lines {
        line_at(start.wrapping_add(line * LINE));
    }
}

/// Brings shared bytes near, with the count of those who share them, which stands before them.
#[inline(always)]
pub(crate) fn prefetch_shared(bytes: &Arc<[u8]>) {
    const COUNTS: usize = 2 * size_of::<usize>();
    let start = bytes.as_ptr().cast::<i8>().wrapping_sub(COUNTS);
    for line in 0..(COUNTS + bytes.len()).div_ceil(LINE).min(LINES_MAX) {
        line_at(start.wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "a prefetch is a hint: it never faults and never changes memory")]
#[inline(always)]
fn line_at(place: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction is defined for every address, mapped or not; SSE is part of x86_64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn line_at(_place: *const i8) {}
