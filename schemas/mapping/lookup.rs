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
    marks: Box<[u64]>,
    /// Slot of the table to place of the name; [`NONE`] where there is none.
    table: Box<[u16]>,
    multiplier: u64,
    shift: u32,
}

const NONE: u16 = u16::MAX;
/// Largest table tried, per name: beyond it, names have marks too much alike to be told apart.
const MOST_SPACE: usize = 64;

impl Lookup {
    /// The names must differ from each other.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Lookup {
        let names: Box<[Box<str>]> = names.into_iter().map(Box::from).collect();
        let marks: Box<[u64]> = names.iter().map(|it| mark(it.as_bytes())).collect();
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
        let mark = mark(name.as_bytes());
        let place = self.table[(mark.wrapping_mul(self.multiplier) >> self.shift) as usize];
        let place = usize::from(place);
        // A mark tells names of up to eight bytes and of one length apart for certain.
        (*self.marks.get(place)? == mark && *self.names[place] == *name).then_some(place)
    }
}

fn spread(marks: &[u64], size: usize, multiplier: u64, shift: u32) -> Option<Box<[u16]>> {
    let mut table = vec![NONE; size].into_boxed_slice();
    for (place, mark) in marks.iter().enumerate() {
        let slot = &mut table[(mark.wrapping_mul(multiplier) >> shift) as usize];
        if *slot != NONE {
            return None;
        }
        *slot = place as u16;
    }
    Some(table)
}

/// Length, first and last bytes of a name in one number.
#[inline]
fn mark(name: &[u8]) -> u64 {
    let n = name.len();
    let (head, tail) = match n {
        8.. => (eight(&name[..8]), eight(&name[n - 8..])),
        4..=7 => (four(&name[..4]), four(&name[n - 4..])),
        0 => (0, 0),
        _ => (u64::from(name[0]) | u64::from(name[n / 2]) << 8, u64::from(name[n - 1])),
    };
    head ^ tail.rotate_left(29) ^ (n as u64).wrapping_mul(0xa076_1d64_78bd_642f)
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
            }
            prop_assert_eq!(lookup.find(&asked), names.iter().position(|it| *it == asked));
        }
    }
}
