//! Entries that nobody touches any more, packed: what waits for days need not lie spread out.
//!
//! # Meaning
//! What is unpacked is what was packed: key, epoch, name, and the state as [`Keep::rest`] and
//! [`Keep::wake`] have it. Tests: `super::tests::model`, whose map rests at random; `tests` below.
//!
//! # State
//! Of a chunk its bytes. The key is not among them: it is made of the name again (see
//! [`KeyOf`]), and neither is the fingerprint of who owns a state that says whose it is: sixteen bytes
//! each that no compressor makes less of; four of them stand before, where a state goes with its owner
//! only, for who looks for an owner. A chunk of which that cannot be done does not rest.
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
use std::sync::Arc;

use schemas::names::{Fingerprint, Name};
use zstd::bulk::{Compressor, Decompressor};

use super::KeyOf;
use super::keys::digit;
use super::shard::{CHUNK, Entry};
use crate::erased::{Tags, tag};
use crate::packed::{Reader, Writer};
use crate::{Epoch, Keep, OwnerOf};

/// Above it a fifth more time saves hardly a byte.
const LEVEL: i32 = 3;

/// Digits of a name's end that are kept as eight bits for two.
const DIGITS: usize = 32;

thread_local! {
    /// Its tables are used again.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Finds who owns what, by the tenant and the customer's id.
pub type OwnerBy = Arc<dyn Fn(&str, &str) -> Fingerprint + Send + Sync>;

/// How entries of a map rest.
pub(crate) struct Rest<S> {
    key_of: KeyOf,
    owner_by: OwnerBy,
    rest: fn(&S, OwnerOf<'_>, &mut Vec<u8>) -> bool,
    wake: fn(&[u8], OwnerOf<'_>) -> Option<S>,
    /// Whose a state is, if it goes with them only.
    owner: Option<fn(&S) -> Option<Fingerprint>>,
}

/// Bytes of an owner's tag, of each entry at the beginning of a chunk; 0 where there is none.
const TAG: usize = size_of::<u32>();

/// A chunk, decompressed; one of its entries is unpacked at a time.
pub(crate) struct Opened<S> {
    plain: Vec<u8>,
    digits: Vec<u8>,
    spots: [Spot; CHUNK],
    entry: Option<(usize, Entry<S>)>,
}

/// Where an entry lies, and from where on the digits of its name do, if it has some.
#[derive(Clone, Copy, Default)]
struct Spot {
    start: u32,
    end: u32,
    digits: u32,
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
    pub(crate) fn of<F: Keep<State = S>>(key_of: KeyOf, owner_by: OwnerBy) -> Rest<S> {
        let owner: fn(&S) -> Option<Fingerprint> = F::owner;
        let owner = F::GOES_WITH_OWNER.then_some(owner);
        Rest { key_of, owner_by, rest: F::rest, wake: F::wake, owner }
    }

    fn key(&self, name: &Name) -> Option<Fingerprint> {
        (self.key_of)(name.tenant(), name.key())
    }

    /// A whole chunk; none where it cannot rest.
    ///
    /// Tags of owners, if states go with them; a table of digits that say nothing to a compressor;
    /// then, compressed, each entry: how many bytes, whether its name ends in digits, the rest of the
    /// name, the epoch, the state.
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
            let owner_of = |customer: &str| (self.owner_by)(it.name.tenant(), customer);
            if !(self.rest)(&it.state, &owner_of, &mut one) {
                return None;
            }
            table.extend(digits.into_iter().flatten());
            let mut writer = Writer(&mut plain);
            writer.count(one.len() as u64);
            plain.extend_from_slice(&one);
        }
        let compressed = Compressor::new(LEVEL).and_then(|mut it| it.compress(&plain)).ok()?;
        let mut bytes = Vec::with_capacity(8 + CHUNK * TAG + table.len() + compressed.len());
        if let Some(owner) = self.owner {
            let tags = entries.iter().map(|it| owner(&it.state).map_or(0, tag));
            bytes.extend(tags.flat_map(u32::to_le_bytes));
        }
        let mut writer = Writer(&mut bytes);
        writer.count(table.len() as u64);
        writer.count(plain.len() as u64);
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(&compressed);
        Some(bytes.into())
    }

    /// Decompressed: where each entry lies, and the digits of its name.
    pub(super) fn opened(&self, bytes: &[u8]) -> Opened<S> {
        let mut from = Reader(bytes);
        from.bytes(self.n_tags());
        let (n_table, n_plain) = (from.count() as usize, from.count() as usize);
        let digits = from.bytes(n_table).to_vec();
        let plain = DECOMPRESSOR.with_borrow_mut(|it| {
            let it = it.get_or_insert_with(|| Decompressor::new().expect("memory for its tables"));
            it.decompress(from.0, n_plain).expect("what was compressed here")
        });
        let mut spots = [Spot::default(); CHUNK];
        let (mut rest, mut of_table) = (Reader(&plain), 0);
        for it in &mut spots {
            let n = rest.count() as usize;
            let start = plain.len() - rest.0.len();
            let has_digits = Reader(rest.bytes(n)).count() != 0;
            *it = Spot { start: start as u32, end: (start + n) as u32, digits: of_table };
            of_table += if has_digits { (DIGITS / 2) as u32 } else { 0 };
        }
        Opened { plain, digits, spots, entry: None }
    }

    fn n_tags(&self) -> usize {
        if self.owner.is_some() { CHUNK * TAG } else { 0 }
    }

    /// Whether an entry may be of one of those with these tags.
    pub(super) fn may_be_of(&self, bytes: &[u8], tags: &Tags) -> bool {
        let (all, _) = bytes[..self.n_tags()].as_chunks();
        all.is_empty() || all.iter().any(|it| tags.contains(&u32::from_le_bytes(*it)))
    }

    /// One of them.
    pub(super) fn entry<'o>(&self, opened: &'o mut Opened<S>, n: usize) -> &'o Entry<S> {
        let entry = opened.entry.take().filter(|it| it.0 == n);
        let entry = entry.unwrap_or_else(|| (n, self.made(opened, n)));
        &opened.entry.insert(entry).1
    }

    /// All of them.
    pub(super) fn unpacked(&self, bytes: &[u8]) -> Vec<Entry<S>> {
        let opened = self.opened(bytes);
        (0..CHUNK).map(|n| self.made(&opened, n)).collect()
    }

    fn made(&self, opened: &Opened<S>, n: usize) -> Entry<S> {
        let Spot { start, end, digits } = opened.spots[n];
        let mut from = Reader(&opened.plain[start as usize..end as usize]);
        let has_digits = from.count() != 0;
        let mut name = String::from(from.text());
        if has_digits {
            let digits = &opened.digits[digits as usize..][..DIGITS / 2];
            let digits = digits.iter().flat_map(|it| [it >> 4, it & 15]);
            name.extend(digits.map(|it| char::from(b"0123456789abcdef"[usize::from(it)])));
        }
        let name = Name::from_text(&name);
        let epoch: Epoch = from.count();
        let owner_of = |customer: &str| (self.owner_by)(name.tenant(), customer);
        let state = (self.wake)(from.0, &owner_of).expect("a state that was stored here");
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

    /// Goal: who looks for an owner finds the chunk that rests with a state of theirs, and passes over
    /// the others. Method: texts of a customer each, and one of nobody.
    #[test]
    fn owners_are_told_by_their_tags() {
        use schemas::events::{Data, Event, FeedbackSubmitted};
        use schemas::names::{Kind, Secret, key_text};

        use crate::Fold;
        use crate::models::opinion::Opinion;
        use crate::sentiment::{Said, Sentiment};

        let secret = Secret([7; 16]);
        let owner = move |it: &str| secret.fingerprint("t", Kind::Customer, &[it]);
        let key_of: KeyOf =
            Arc::new(move |tenant, key| Some(secret.fingerprint(tenant, Kind::Order, &[key])));
        let rest = Rest::of::<Sentiment>(key_of.clone(), Arc::new(move |_, it| owner(it)));
        let entry = |customer: Option<&'static str>, id: &'static str| {
            let data = FeedbackSubmitted {
                customer: customer.map(Into::into),
                order: None,
                product: None,
                rating: None,
                text: Some("good".into()),
            };
            let event = Event {
                tenant: "t".into(),
                source: "/s".into(),
                id: id.into(),
                time: 1,
                data: Data::FeedbackSubmitted(data),
            };
            let said = Said::of(&event, &Opinion::default(), "m", customer.map_or(0, owner));
            let mut state = Default::default();
            Sentiment::apply(&mut state, &said);
            let key = key_text(&["/s", id]);
            Entry::new(key_of("t", &key).expect("a key"), Name::new("t", &key), state, 5)
        };
        let ids = ["1", "2", "3", "4"];
        let packed = |customers: &[Option<&'static str>]| {
            let entries = (0..CHUNK).map(|n| entry(customers[n % customers.len()], ids[n % 4]));
            let bytes = rest.packed(&entries.collect::<Vec<_>>()).expect("texts rest");
            let woken = rest.unpacked(&bytes);
            let owners = woken.iter().map(|it| Sentiment::owner(&it.state)).collect::<Vec<_>>();
            let whose = (0..CHUNK).map(|n| customers[n % customers.len()].map(owner));
            assert_eq!(owners, whose.collect::<Vec<_>>());
            bytes
        };
        let of = |bytes: &[u8], who: &str| {
            rest.may_be_of(bytes, &[tag(owner(who))].into_iter().collect())
        };
        let both = packed(&[Some("a"), Some("b")]);
        assert!(of(&both, "a") && of(&both, "b") && !of(&both, "c"));
        let one = packed(&[None, Some("c")]);
        assert!(of(&one, "c") && !of(&one, "a"));
        assert!(!rest.may_be_of(&both, &Tags::default()));
    }
}
