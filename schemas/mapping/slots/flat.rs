//! The pass over a record for what most records are: one object of scalars without escapes.
//!
//! In: text, and the names wanted. Out: the slots, or nothing: then the text is something else,
//! or not JSON at all, and the general way reads it from the start and says which.
//!
//! # Meaning
//! Where it gives slots, they are those of the general way; a property test compares the two.
//! Deliberately absent: escapes, objects and arrays inside, exponents, more than
//! [`MOST_UNWANTED`] keys that nobody wants, and every error.
//!
//! # Why this way
//! A key of up to seven bytes and its closing quote are one load: the word that finds the quote
//! is, masked, also the number by which the key is looked up. The general way looks at each key
//! three times (end, whether it was there before, what is wanted), which is most of its time.

use super::{Below, Slot};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
/// Most keys that no pointer asks for: they are kept aside to tell one that comes twice.
const MOST_UNWANTED: usize = 16;
/// Most keys that pointers ask for: one bit each.
const MOST_WANTED: usize = 64;

/// `None`: read it the general way; the slots are then of no use.
#[inline]
pub(super) fn fill<'a>(below: &Below, text: &'a str, slots: &mut [Slot<'a>]) -> Option<()> {
    let bytes = text.as_bytes();
    let mut at = space(bytes, 0);
    if *bytes.get(at)? != b'{' || below.nodes.len() > MOST_WANTED {
        return None;
    }
    at = space(bytes, at + 1);
    let mut seen = 0_u64;
    let mut unwanted = Unwanted { filter: 0, n: 0, starts: [0; MOST_UNWANTED] };
    loop {
        if *bytes.get(at)? != b'"' {
            return None; // also an object without keys: nobody sends those
        }
        let key = at + 1;
        let word = load(bytes, key);
        let ends = ends(word);
        let found;
        if ends != 0 {
            let len = (ends.trailing_zeros() / 8) as usize;
            at = key + len;
            found = below.names.find_short(word & !(u64::MAX << (8 * len)), len);
        } else {
            at = end_of_text(bytes, key + 8);
            found = below.names.find(text.get(key..at)?);
        }
        if *bytes.get(at)? != b'"' {
            return None;
        }
        match found {
            Some(place) => {
                if seen & (1 << place) != 0 {
                    return None;
                }
                seen |= 1 << place;
            }
            None => {
                if !unwanted.is_new(bytes, key, at, word) {
                    return None;
                }
            }
        }
        at = space(bytes, at + 1);
        if *bytes.get(at)? != b':' {
            return None;
        }
        at = space(bytes, at + 1);
        let (value, end) = scalar(text, bytes, at)?;
        if let Some(place) = found {
            // Something wanted below a scalar is not there, in both ways of reading.
            if let Some(slot) = below.nodes[place].slot {
                slots[usize::from(slot)] = value;
            }
        }
        at = space(bytes, end);
        match *bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b'}' => break,
            _ => return None,
        }
    }
    (space(bytes, at + 1) == bytes.len()).then_some(())
}

/// The keys so far that no pointer asks for.
struct Unwanted {
    /// A bit for each: a key that sets a new one is new.
    filter: u64,
    n: usize,
    starts: [u32; MOST_UNWANTED],
}

impl Unwanted {
    /// Takes in the key between `start` and `end`, whose first bytes are `word`; false if it was
    /// there before or is one too many.
    #[inline(always)]
    fn is_new(&mut self, bytes: &[u8], start: usize, end: usize, word: u64) -> bool {
        let Ok(start_32) = u32::try_from(start) else { return false };
        if self.n == MOST_UNWANTED {
            return false;
        }
        // The lowest byte and the length are the key's own, whatever comes after it.
        let length = (end - start) as u64;
        let bit = 1 << (((word & 0xff) ^ length.wrapping_mul(31)) & 63);
        if self.filter & bit != 0 && was_there(bytes, &self.starts[..self.n], start, end) {
            return false;
        }
        self.starts[self.n] = start_32;
        self.n += 1;
        self.filter |= bit;
        true
    }
}

#[cold]
fn was_there(bytes: &[u8], starts: &[u32], start: usize, end: usize) -> bool {
    // With its closing quote, so that a longer key is another.
    let key = &bytes[start..=end];
    starts.iter().any(|it| bytes[*it as usize..].starts_with(key))
}

/// A value that is neither object nor array, and where it ends.
#[inline(always)]
fn scalar<'a>(text: &'a str, bytes: &'a [u8], at: usize) -> Option<(Slot<'a>, usize)> {
    match *bytes.get(at)? {
        b'"' => {
            let end = end_of_text(bytes, at + 1);
            if *bytes.get(end)? != b'"' {
                return None;
            }
            Some((Slot::Text(&text[at + 1..end]), end + 1))
        }
        b'0' => number(text, bytes, at, at + 1),
        b'1'..=b'9' => number(text, bytes, at, digits(bytes, at + 1)),
        b'-' => match *bytes.get(at + 1)? {
            b'0' => number(text, bytes, at, at + 2),
            b'1'..=b'9' => number(text, bytes, at, digits(bytes, at + 2)),
            _ => None,
        },
        b't' => word(bytes, at, b"true").map(|end| (Slot::Bool(true), end)),
        b'f' => word(bytes, at, b"false").map(|end| (Slot::Bool(false), end)),
        b'n' => word(bytes, at, b"null").map(|end| (Slot::Null, end)),
        _ => None,
    }
}

/// A number whose whole part ends at `end`; its fraction, if there is one.
#[inline(always)]
fn number<'a>(
    text: &'a str,
    bytes: &[u8],
    start: usize,
    mut end: usize,
) -> Option<(Slot<'a>, usize)> {
    if bytes.get(end) == Some(&b'.') {
        let point = end;
        end = digits(bytes, point + 1);
        if end == point + 1 {
            return None;
        }
    }
    // An exponent, or whatever else is there, is seen by whoever goes on from `end`.
    Some((Slot::Number(&text[start..end]), end))
}

#[inline(always)]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

#[inline]
fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes[at..].starts_with(word).then_some(at + word.len())
}

#[inline(always)]
fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The next quote, backslash or control character from here on, or the end.
#[inline(always)]
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let ends = ends(load(bytes, at));
        if ends != 0 {
            return at + (ends.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
}

/// Eight bytes, the first the lowest; zeros after the end.
#[inline(always)]
fn load(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(|it| it.first_chunk::<8>()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => rest(bytes, at),
    }
}

#[cold]
fn rest(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default().iter().rev();
    rest.fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The high bit of each byte that ends a text, the lowest such byte being right: quote,
/// backslash, control character (so that the zeros after the end are one).
#[inline(always)]
fn ends(word: u64) -> u64 {
    let zero = |it: u64| it.wrapping_sub(ONES) & !it;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Scanner, Tree};
    use super::*;

    const POINTERS: [&str; 7] = ["/a", "/id", "/customer", "/amount_cents", "/b/c", "/é", "/"];

    fn compare(record: &str) -> Option<()> {
        let tree = Tree::new(POINTERS.iter().map(|it| it.to_string()).collect());
        let mut general = [Slot::Absent; POINTERS.len()];
        let mut scanner = Scanner::over(record);
        let read = tree.root.fill(&mut scanner, &mut general).and_then(|()| scanner.finish());
        let mut flat = [Slot::Absent; POINTERS.len()];
        let filled = fill(tree.root.below.as_ref().unwrap(), record, &mut flat);
        if filled.is_some() {
            assert_eq!(read, Ok(()), "{record}");
            assert_eq!(flat, general, "{record}");
        }
        filled
    }

    /// Goal: what it is for, it reads; everything else it leaves alone.
    #[test]
    fn reads_flat_records_only() {
        for record in [
            r#"{"a":1,"id":"x","customer":"C1","amount_cents":-12.50,"z":true,"y":null,"é":"ü"}"#,
            " { \"id\" : \"12345678\" ,\t\"amount_cents\":0 } \n",
            r#"{"abcdefgh":1,"abcdefghi":2,"abcdefg":3,"":4}"#,
        ] {
            assert!(compare(record).is_some(), "{record}");
        }
        for record in [
            "",
            "{",
            "{}",
            "[]",
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"z":1,"z":2}"#,
            r#"{"a":"\n"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":1e3}"#,
            r#"{"a":-}"#,
            r#"{"a":[]}"#,
            r#"{"a" 1}"#,
            r#"{"a":tru}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":"x}"#,
            r#"{"a":"1234567"#,
        ] {
            assert!(compare(record).is_none(), "{record}");
        }
    }

    proptest! {
        /// Goal: the same slots as the general way, whatever the text. Method: texts put together
        /// from the parts of records, so that many are nearly right.
        #[test]
        fn agrees_with_the_general_way(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "\"", ":", ",", " ", "[", "\\", "\"a\":", "\"id\":\"", "\"customer\"",
                "\"amount_cents\":12", "\"b\":{\"c\":1}", "\"z\":1,", "1", "-0", "0.5", "e3",
                "true", "null", "é", "\u{1f}", "abcdefgh", "{\"a\":1,", "\"é\":\"x\"}", "\"\":",
            ]), 0..12),
        ) {
            compare(&parts.concat());
            compare(&format!("{{{}}}", parts.concat()));
        }

        /// The same over records that are all well-formed.
        #[test]
        fn agrees_on_records(
            fields in prop::collection::btree_map(
                prop::sample::select(vec!["a", "id", "customer", "amount_cents", "é", "", "zz", "y"]),
                prop::sample::select(vec!["1", "\"\"", "\"é tail of it\"", "-1.5", "null", "false"]),
                1..8,
            ),
        ) {
            let fields: Vec<String> = fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            let record = format!("{{{}}}", fields.join(","));
            prop_assert!(compare(&record).is_some(), "{}", record);
        }
    }
}
