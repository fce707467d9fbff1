//! Entries that nobody touches any more, packed: what waits for days need not lie spread out.
//!
//! # Meaning
//! What is unpacked is what was packed: key, epoch, name, and the state as [`Keep::store`] and
//! [`Keep::restore`] have it. Tests: `super::tests::model`, whose map rests at random; `tests` below.
//!
//! # State
//! Of a chunk its bytes. The key is not among them: it is made of the name again (see
//! [`KeyOf`]); a chunk of which that cannot be done does not rest.
//!
//! # When it fails
//! What was packed in this process is unpacked by it: bytes that cannot be are a mistake of ours, or
//! of the memory, and panic.
//!
//! # Why this way
//! A message that waits takes some 430 bytes as an entry, 70 here: messages of one rule say nearly the
//! same. To leave its text in the log would save less (name, key and entry are half of it), and a row
//! could no longer be made without reading a disk.

use std::cell::RefCell;

use schemas::names::{Fingerprint, Name};
use zstd::bulk::{Compressor, Decompressor};

use super::KeyOf;
use super::keys::digit;
use super::shard::{CHUNK, Entry};
use crate::packed::{Reader, Writer};
use crate::{Epoch, Keep};

/// Above it a fifth more time saves hardly a byte.
const LEVEL: i32 = 3;

/// Digits of a name's end that are kept as eight bits for two.
const DIGITS: usize = 32;

thread_local! {
    /// Its tables are used again.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// How entries of a map rest.
pub(crate) struct Rest<S> {
    key_of: KeyOf,
    store: fn(&S, &mut Vec<u8>),
    restore: fn(&[u8]) -> Option<S>,
}

/// A chunk, decompressed; one of its entries is unpacked at a time.
pub(crate) struct Opened<S> {
    bytes: Vec<u8>,
    /// Where each entry ends.
    ends: [u32; CHUNK],
    entry: Option<(usize, Entry<S>)>,
}

/// The end of a name that is so many hexadecimal digits: what stands before, and they as bytes.
fn digits(text: &str) -> Option<(&str, [u8; DIGITS / 2])> {
    let (before, end) = text.split_at_checked(text.len().checked_sub(DIGITS)?)?;
    let mut bytes = [0; DIGITS / 2];
    for (byte, pair) in bytes.iter_mut().zip(end.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some((before, bytes))
}

impl<S> Rest<S> {
    /// As the store keeps them.
    pub(crate) fn of<F: Keep<State = S>>(key_of: KeyOf) -> Rest<S> {
        Rest { key_of, store: F::store, restore: F::restore }
    }

    fn key(&self, name: &Name) -> Option<Fingerprint> {
        (self.key_of)(name.tenant(), name.key())
    }

    /// A whole chunk; none where it cannot rest.
    ///
    /// A table of digits that say nothing to a compressor, then, compressed, each entry: how many
    /// bytes, whether its name ends in digits, the rest of the name, the epoch, the state.
    pub(super) fn packed(&self, entries: &[Entry<S>]) -> Option<Box<[u8]>> {
        let (mut table, mut plain, mut one) = (Vec::new(), Vec::new(), Vec::new());
        for it in entries {
            if self.key(&it.name) != Some(it.key()) {
                return None;
            }
            let text = it.name.text();
            let (before, digits) = match digits(text) {
                Some((before, digits)) => (before, Some(digits)),
                None => (text, None),
            };
            one.clear();
            let mut writer = Writer(&mut one);
            writer.count(u64::from(digits.is_some()));
            writer.text(before);
            writer.count(it.epoch);
            (self.store)(&it.state, &mut one);
            table.extend(digits.into_iter().flatten());
            let mut writer = Writer(&mut plain);
            writer.count(one.len() as u64);
            plain.extend_from_slice(&one);
        }
        let compressed = Compressor::new(LEVEL).and_then(|mut it| it.compress(&plain)).ok()?;
        let mut bytes = Vec::with_capacity(8 + table.len() + compressed.len());
        let mut writer = Writer(&mut bytes);
        writer.count(table.len() as u64);
        writer.count(plain.len() as u64);
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(&compressed);
        Some(bytes.into())
    }

    /// Decompressed: the entries, each with its whole name.
    pub(super) fn opened(&self, bytes: &[u8]) -> Opened<S> {
        let mut from = Reader(bytes);
        let (n_table, n_plain) = (from.count() as usize, from.count() as usize);
        let mut table = Reader(from.bytes(n_table));
        let plain = DECOMPRESSOR.with_borrow_mut(|it| {
            let it = it.get_or_insert_with(|| Decompressor::new().expect("memory for its tables"));
            it.decompress(from.0, n_plain).expect("what was compressed here")
        });
        let (mut bytes, mut ends) = (Vec::with_capacity(n_plain + 3 * n_table), [0; CHUNK]);
        let mut from = Reader(&plain);
        for end in &mut ends {
            let n = from.count() as usize;
            let mut entry = Reader(from.bytes(n));
            let has_digits = entry.count() != 0;
            let mut name = entry.text().to_string();
            if has_digits {
                let digit = |it: u8| char::from(b"0123456789abcdef"[usize::from(it)]);
                for byte in table.bytes(DIGITS / 2) {
                    name.push(digit(byte >> 4));
                    name.push(digit(byte & 15));
                }
            }
            Writer(&mut bytes).text(&name);
            bytes.extend_from_slice(entry.0);
            *end = bytes.len() as u32;
        }
        Opened { bytes, ends, entry: None }
    }

    /// One of them.
    pub(super) fn entry<'o>(&self, opened: &'o mut Opened<S>, n: usize) -> &'o Entry<S> {
        let entry = opened.entry.take().filter(|it| it.0 == n);
        let entry = entry.unwrap_or_else(|| (n, self.made(&opened.bytes, &opened.ends, n)));
        &opened.entry.insert(entry).1
    }

    /// All of them.
    pub(super) fn unpacked(&self, bytes: &[u8]) -> Vec<Entry<S>> {
        let opened = self.opened(bytes);
        (0..CHUNK).map(|n| self.made(&opened.bytes, &opened.ends, n)).collect()
    }

    fn made(&self, bytes: &[u8], ends: &[u32; CHUNK], n: usize) -> Entry<S> {
        let start = if n == 0 { 0 } else { ends[n - 1] as usize };
        let mut from = Reader(&bytes[start..ends[n] as usize]);
        let name = Name::from_text(from.text());
        let epoch: Epoch = from.count();
        let state = (self.restore)(from.0).expect("a state that was stored here");
        let key = self.key(&name).expect("it was made of the name when it was packed");
        Entry::new(key, name, state, epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the digits of a name are what stands there. Method: a table.
    #[test]
    fn names_that_end_in_digits() {
        let hex = "00112233445566778899aabbccddeeff";
        let found =
            digits(&format!("t\0msg_{hex}")).map(|it| (it.0.to_string(), it.1[1], it.1[15]));
        assert_eq!(found, Some(("t\0msg_".to_string(), 0x11, 0xff)));
        for text in ["", "t\0msg_", &hex[1..], &hex.to_uppercase(), &format!("é{}", &hex[1..])] {
            assert_eq!(digits(text), None, "{text}");
        }
    }
}
