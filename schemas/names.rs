//! Identifiers, currencies and fingerprints: what the events' side and the rows' side share.

use std::hash::Hasher;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

/// The tenant of an event that names none.
pub const DEFAULT_TENANT: &str = "default";

/// Longest identifier, in bytes of UTF-8.
pub const MAX_IDENTIFIER_BYTES: usize = 128;

/// Largest amount in one event, in minor units: 10^13. Sums of it stay within an `i64` for
/// 900,000 events of the largest amount; sums saturate, they never wrap.
pub const MAX_AMOUNT: i64 = 10_000_000_000_000;

/// A 128-bit fingerprint of (tenant, kind, id) under the deployment's secret.
pub type Fingerprint = u128;

/// What an identifier names; part of its fingerprint, so that equal ids of two kinds differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// The identity of an event: (tenant, source, id).
    Event = 1,
    /// A customer.
    Customer = 2,
    /// An order.
    Order = 3,
    /// A case.
    Case = 4,
    /// A cell of `volume`: (minute, type).
    Volume = 5,
    /// A row of a relation.
    Relation = 6,
    /// A record of a foreign table: (table, key).
    Record = 7,
    /// A text: (source, id) of its event.
    Text = 8,
    /// A product.
    Product = 9,
    /// A day.
    Day = 10,
    /// A model with its version.
    Model = 11,
    /// A decision of the desk, by the key of its request.
    Claim = 12,
    /// A decision to tell somebody something.
    Message = 13,
    /// A series of loads: (whose, series, minutes of a bucket).
    Load = 14,
    /// A process of ours.
    Process = 15,
}

/// The deployment's secret: nobody outside can construct two identifiers with one fingerprint.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; 16]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A fingerprint of (tenant, kind, parts). Parts are length-delimited: ("ab","c") differs
    /// from ("a","bc").
    #[inline]
    pub fn fingerprint(&self, tenant: &str, kind: Kind, parts: &[&str]) -> Fingerprint {
        // SipHash over one slice is twice as fast as over its pieces, and says the same.
        let needed = 8 + tenant.len() + parts.iter().map(|it| 8 + it.len()).sum::<usize>();
        if needed > SHORT_BYTES {
            return self.fingerprint_of_pieces(tenant, kind, parts);
        }
        let mut message = Message::default();
        message.put_word(header(tenant, kind), 8);
        message.put(tenant.as_bytes());
        for part in parts {
            message.put_word(part.len() as u64, 8);
            message.put(part.as_bytes());
        }
        SipHasher13::new_with_key(&self.0).hash(&message.ended()[..needed]).as_u128()
    }

    #[cold]
    fn fingerprint_of_pieces(&self, tenant: &str, kind: Kind, parts: &[&str]) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(&header(tenant, kind).to_le_bytes());
        hasher.write(tenant.as_bytes());
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part.as_bytes());
        }
        hasher.finish128().as_u128()
    }
}

/// Longest message fingerprinted in one piece: two identifiers of ordinary length.
const SHORT_BYTES: usize = 128;

/// A short message, put together word by word: it is read in words next, and what was written in
/// other sizes than it is read costs a stall at each.
struct Message {
    bytes: [u8; SHORT_BYTES + 8],
    /// Bytes written: whole words.
    written: usize,
    /// The word begun, and how many bytes of it there are.
    word: u64,
    begun: usize,
}

impl Default for Message {
    fn default() -> Message {
        Message { bytes: [0; SHORT_BYTES + 8], written: 0, word: 0, begun: 0 }
    }
}

impl Message {
    #[inline]
    fn put(&mut self, piece: &[u8]) {
        let (words, rest) = piece.as_chunks::<8>();
        words.iter().for_each(|it| self.put_word(u64::from_le_bytes(*it), 8));
        if !rest.is_empty() {
            self.put_word(rest_of(piece, rest), rest.len());
        }
    }

    /// The lowest `n` bytes of a word, 1 to 8; those above are 0.
    #[inline]
    fn put_word(&mut self, word: u64, n: usize) {
        self.word |= word << (8 * self.begun);
        let all = self.begun + n;
        if all < 8 {
            self.begun = all;
            return;
        }
        self.bytes[self.written..self.written + 8].copy_from_slice(&self.word.to_le_bytes());
        self.written += 8;
        // In two steps, for nothing is left of a word that fitted, and a shift by 64 is none.
        self.word = word >> (8 * (7 - self.begun)) >> 8;
        self.begun = all - 8;
    }

    #[inline]
    fn ended(&mut self) -> &[u8] {
        self.bytes[self.written..self.written + 8].copy_from_slice(&self.word.to_le_bytes());
        &self.bytes
    }
}

/// The last 1 to 7 bytes of a piece as a number, in few loads.
#[inline]
fn rest_of(piece: &[u8], rest: &[u8]) -> u64 {
    if let Some(last) = piece.last_chunk::<8>() {
        return u64::from_le_bytes(*last) >> (8 * (8 - rest.len()));
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let word = |it: &[u8; 4]| u64::from(u32::from_le_bytes(*it));
        return word(first) | word(last) << (8 * (rest.len() - 4));
    }
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn header(tenant: &str, kind: Kind) -> u64 {
    (kind as u64) << 56 | tenant.len() as u64
}

/// The name of an entity: tenant and key text in one small string (24 bytes inline), so that it
/// lives once, in the served map's entry. Ordered by tenant, then by key text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Name(CompactString);

impl Name {
    /// The name of the entity with this key text (see [`key_text`]) in this tenant.
    #[inline]
    pub fn new(tenant: &str, key: &str) -> Name {
        let mut text = CompactString::with_capacity(tenant.len() + 1 + key.len());
        text.push_str(tenant);
        text.push('\0');
        text.push_str(key);
        Name(text)
    }

    /// The name whose text is the tenant, NUL, and the key's text.
    #[inline]
    pub fn from_text(text: &str) -> Name {
        debug_assert!(text.contains('\0'), "a tenant and a key");
        Name(CompactString::new(text))
    }

    /// The tenant, NUL, and the key's text.
    #[inline]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The tenant.
    #[inline]
    pub fn tenant(&self) -> &str {
        self.0.split_once('\0').map_or("", |it| it.0)
    }

    /// The key's text.
    #[inline]
    pub fn key(&self) -> &str {
        self.0.split_once('\0').map_or("", |it| it.1)
    }

    /// Bytes kept outside the value itself.
    pub fn heap_bytes(&self) -> usize {
        if self.0.is_heap_allocated() { self.0.capacity() } else { 0 }
    }
}

/// The text of a key of several parts: each part percent-encoded, joined by `/`.
///
/// Only `%`, `/`, and control characters are encoded, so that ordinary identifiers read as they
/// are written.
pub fn key_text(parts: &[&str]) -> CompactString {
    let mut text = CompactString::default();
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            text.push('/');
        }
        push_key_part(&mut text, part);
    }
    text
}

fn push_key_part(text: &mut CompactString, part: &str) {
    let plain = |byte: u8| byte != b'%' && byte != b'/' && byte >= 0x20 && byte != 0x7f;
    if part.bytes().all(plain) {
        text.push_str(part);
        return;
    }
    for c in part.chars() {
        if c.is_ascii() && !plain(c as u8) {
            text.push_str(&format!("%{:02X}", c as u8));
        } else {
            text.push(c);
        }
    }
}

/// Three upper-case letters of ISO 4217, or none: `"EUR"`. Four bytes, ordered by text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Currency([u8; 3]);

impl Currency {
    /// No currency stated.
    pub const NONE: Currency = Currency([0; 3]);

    /// Three upper-case ASCII letters, else `None`.
    #[inline]
    pub fn parse(text: &str) -> Option<Currency> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|it| it.is_ascii_uppercase()) => {
                Some(Currency([*a, *b, *c]))
            }
            _ => None,
        }
    }

    /// The letters; empty for [`Currency::NONE`].
    pub fn as_str(&self) -> &str {
        if self.0[0] == 0 { "" } else { std::str::from_utf8(&self.0).unwrap_or("") }
    }
}

impl std::fmt::Debug for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_its_parts_back() {
        let name = Name::new("acme", "C1/2");
        assert_eq!((name.tenant(), name.key()), ("acme", "C1/2"));
        assert_eq!(key_text(&["a/b", "50%"]), "a%2Fb/50%25");
        assert!(Name::new("a", "z") < Name::new("b", "a"));
    }

    #[test]
    fn fingerprints_tell_kinds_tenants_and_parts_apart() {
        let secret = Secret([7; 16]);
        let all = [
            secret.fingerprint("t", Kind::Customer, &["ab", "c"]),
            secret.fingerprint("t", Kind::Customer, &["a", "bc"]),
            secret.fingerprint("t", Kind::Order, &["ab", "c"]),
            secret.fingerprint("u", Kind::Customer, &["ab", "c"]),
            Secret([8; 16]).fingerprint("t", Kind::Customer, &["ab", "c"]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        for n in (0..40).chain([100, 111, 112, 113, 500]) {
            let id = "x".repeat(n);
            let whole = secret.fingerprint("t", Kind::Event, &[&id, ""]);
            assert_eq!(whole, secret.fingerprint_of_pieces("t", Kind::Event, &[&id, ""]), "{n}");
        }
    }
}
