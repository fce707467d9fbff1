//! From a name to its number, in a few nanoseconds, over names known beforehand.
//!
//! # Why this way
//! A mapping knows the handful of keys and types that matter, so a table without collisions is
//! made for them once, and a lookup is one multiplication, one load and one comparison. A general
//! hash map hashes every byte under a secret, which keys of our own choosing do not need.

/// Names, each with the number of its place.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    names: Box<[Box<str>]>,
    /// Each name's [`word`] and length.
    marks: Box<[(u64, usize)]>,
    /// Slot of the table to place of the name; [`NONE`] where there is none.
    table: Box<[u16]>,
    multiplier: u64,
    shift: u32,
}

const NONE: u16 = u16::MAX;
/// Names of up to this many bytes are compared as one number.
pub(super) const SHORT: usize = 8;
/// Largest table tried, per name: beyond it, names have marks too much alike to be told apart.
const MOST_SPACE: usize = 64;

impl Lookup {
    /// The names must differ from each other.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Lookup {
        let names: Box<[Box<str>]> = names.into_iter().map(Box::from).collect();
        let marks = names.iter().map(|it| (word(it.as_bytes()), it.len()));
        let marks: Box<[(u64, usize)]> = marks.collect();
        let mut size = (names.len() * 2).next_power_of_two().max(2);
        let mut multiplier = 0x9e37_79b9_7f4a_7c15_u64;
        while size <= names.len() * MOST_SPACE {
            let shift = 64 - size.trailing_zeros();
            for _ in 0..32 {
                if let Some(table) = spread(&marks, size, multiplier, shift) {
                    return Lookup { names, marks, table, multiplier, shift };
                }
                multiplier = multiplier.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(2) | 1;
            }
            size *= 2;
        }
        Lookup { names, marks, table: Box::default(), multiplier, shift: 0 }
    }

    /// The place of this name among the names.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        if self.table.is_empty() {
            return self.names.iter().position(|it| **it == *name);
        }
        let (word, len) = (word(name.as_bytes()), name.len());
        // A word has the whole of a name of up to eight bytes.
        self.place(word, len).filter(|it| len <= SHORT || *self.names[*it] == *name)
    }

    /// The place of a name of up to eight bytes, given as [`word`] gives it.
    #[inline(always)]
    pub(super) fn find_short(&self, word: u64, len: usize) -> Option<usize> {
        debug_assert!(len <= SHORT);
        if self.table.is_empty() {
            return self.marks.iter().position(|it| *it == (word, len));
        }
        self.place(word, len)
    }

    #[inline(always)]
    fn place(&self, word: u64, len: usize) -> Option<usize> {
        let place = self.table[slot_of(word, len, self.multiplier, self.shift)];
        let place = usize::from(place);
        (*self.marks.get(place)? == (word, len)).then_some(place)
    }
}

#[inline(always)]
fn slot_of(word: u64, len: usize, multiplier: u64, shift: u32) -> usize {
    let spread = word ^ (len as u64).wrapping_mul(0xa076_1d64_78bd_642f);
    (spread.wrapping_mul(multiplier) >> shift) as usize
}

fn spread(marks: &[(u64, usize)], size: usize, multiplier: u64, shift: u32) -> Option<Box<[u16]>> {
    let mut table = vec![NONE; size].into_boxed_slice();
    for (place, (word, len)) in marks.iter().enumerate() {
        let slot = &mut table[slot_of(*word, *len, multiplier, shift)];
        if *slot != NONE {
            return None;
        }
        *slot = place as u16;
    }
    Some(table)
}

/// The bytes of a name of up to eight, the first the lowest; of a longer one a mixture of its
/// first and last eight.
#[inline]
fn word(name: &[u8]) -> u64 {
    let n = name.len();
    match n {
        9.. => eight(&name[..8]) ^ eight(&name[n - 8..]).rotate_left(29),
        4..=8 => four(&name[..4]) | four(&name[n - 4..]) << (8 * (n - 4)),
        1..=3 => {
            let (first, middle, last) = (name[0], name[n / 2], name[n - 1]);
            u64::from(first) | u64::from(middle) << (8 * (n / 2)) | u64::from(last) << (8 * (n - 1))
        }
        0 => 0,
    }
}

#[inline]
fn eight(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[inline]
fn four(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, |it| u64::from(u32::from_le_bytes(it)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_look_alike_are_told_apart() {
        let alike = ["first678-a-last5678", "first678-b-last5678", "first678-ab-last5678"];
        let lookup = Lookup::new(alike);
        for (place, name) in alike.iter().enumerate() {
            assert_eq!(lookup.find(name), Some(place));
        }
        assert_eq!(lookup.find("first678-c-last5678"), None);
        assert_eq!(Lookup::new([]).find("a"), None);
        assert_eq!(Lookup::new([""]).find(""), Some(0));
    }

    proptest! {
        /// The same answer as looking through the list.
        #[test]
        fn agrees_with_a_search(
            names in prop::collection::btree_set("[a-c_]{0,12}", 0..80),
            asked in "[a-c_]{0,12}",
        ) {
            let lookup = Lookup::new(names.iter().map(String::as_str));
            for (place, name) in names.iter().enumerate() {
                prop_assert_eq!(lookup.find(name), Some(place));
                if name.len() <= SHORT {
                    let bytes = [name.as_bytes(), &[0; 8]].concat();
                    prop_assert_eq!(lookup.find_short(eight(&bytes[..8]), name.len()), Some(place));
                }
            }
            prop_assert_eq!(lookup.find(&asked), names.iter().position(|it| *it == asked));
        }
    }
}
