//! One pass over a record: the values a mapping wants, each in its slot.
//!
//! In: the bytes of a record, and the tree of pointers wanted of it. Out: a slot per pointer,
//! borrowed from the record.
//!
//! # Invariants
//! The whole record is checked as strictly as native decoding checks it, also where nothing is
//! wanted of it; a key twice is refused in every object into which a pointer leads. Nothing is allocated but for strings that have escapes.

mod flat; // the same for the records that most are, faster

use std::borrow::Cow;

use crate::json::{Fault, Kind, Scanner};

use super::lookup::Lookup;

/// What was found at one pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Slot<'a> {
    /// Nothing.
    #[default]
    Absent,
    Null,
    Bool(bool),
    /// Well-formed, as written.
    Number(&'a str),
    /// A text without escapes.
    Text(&'a str),
    /// A text with escapes, as written, in its quotes; read and found well-formed before.
    Escaped(&'a str),
    /// The text of the whole array.
    Array(&'a str),
    Object(&'a str),
}

impl<'a> Slot<'a> {
    /// Neither absent nor null.
    #[inline]
    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Slot::Absent | Slot::Null)
    }

    /// A text.
    #[inline]
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Slot::Text(text) => Some(Cow::Borrowed(text)),
            Slot::Escaped(written) => Scanner::over(written).string().ok(),
            _ => None,
        }
    }

    /// A scalar as text: numbers by their digits.
    #[inline]
    pub(super) fn scalar(&self) -> Option<Cow<'a, str>> {
        match self {
            Slot::Text(text) | Slot::Number(text) => Some(Cow::Borrowed(text)),
            Slot::Escaped(_) => self.text(),
            Slot::Bool(true) => Some(Cow::Borrowed("true")),
            Slot::Bool(false) => Some(Cow::Borrowed("false")),
            Slot::Absent | Slot::Null | Slot::Array(_) | Slot::Object(_) => None,
        }
    }

    /// For a report: as it was written, or nearly.
    pub(super) fn told(&self) -> String {
        let shortened = |it: &str| crate::problem::shortened(it.as_bytes());
        match self {
            Slot::Absent => "nothing".into(),
            Slot::Null => "null".into(),
            Slot::Bool(it) => it.to_string(),
            Slot::Text(it) => shortened(&format!("\"{it}\"")),
            Slot::Number(it) | Slot::Escaped(it) => shortened(it),
            Slot::Array(it) => format!("an array: {}", shortened(it)),
            Slot::Object(it) => format!("an object: {}", shortened(it)),
        }
    }
}

/// The pointers wanted of a record, or of an element of an array.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
    /// Each slot's pointer.
    pub(super) pointers: Vec<String>,
}

/// One place in a record.
#[derive(Debug, Default)]
struct Node {
    slot: Option<u16>,
    below: Option<Box<Below>>,
}

/// The names wanted of an object or array, each with what is wanted there.
#[derive(Debug)]
struct Below {
    names: Lookup,
    nodes: Box<[Node]>,
}

impl Tree {
    /// `pointers` are well-formed (see [`parts`]) and differ from each other.
    pub(super) fn new(pointers: Vec<String>) -> Tree {
        let wanted = pointers.iter().enumerate().map(|(slot, it)| (parts(it), slot as u16));
        Tree { root: Node::new(wanted.collect()), pointers }
    }

    /// Reads a whole record, which is all that the bytes may hold.
    #[inline]
    pub(super) fn fill_record<'a>(
        &self,
        record: &'a [u8],
        slots: &mut [Slot<'a>],
    ) -> Result<(), Fault> {
        let mut scanner = Scanner::new(record)?;
        if let Some(below) = &self.root.below {
            if flat::fill(below, scanner.text(), slots).is_some() {
                return Ok(());
            }
            slots.fill(Slot::Absent);
        }
        self.root.fill(&mut scanner, slots)?;
        scanner.finish()
    }

    /// Reads the one value that the scanner stands before.
    #[inline]
    pub(super) fn fill<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        slots: &mut [Slot<'a>],
    ) -> Result<(), Fault> {
        self.root.fill(scanner, slots)
    }
}

/// The parts of a JSON pointer, unescaped.
fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")).collect()
}

/// Whether this is a JSON pointer (RFC 6901).
pub(super) fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|it| it.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && escapes
}

impl Node {
    fn new(wanted: Vec<(Vec<String>, u16)>) -> Node {
        let mut node = Node::default();
        let mut names: Vec<String> = Vec::new();
        let mut below: Vec<Vec<(Vec<String>, u16)>> = Vec::new();
        for (mut parts, slot) in wanted {
            if parts.is_empty() {
                node.slot = Some(slot);
                continue;
            }
            let name = parts.remove(0);
            let place = names.iter().position(|it| *it == name).unwrap_or_else(|| {
                names.push(name);
                below.push(Vec::new());
                names.len() - 1
            });
            below[place].push((parts, slot));
        }
        if !names.is_empty() {
            node.below = Some(Box::new(Below {
                names: Lookup::new(names.iter().map(String::as_str)),
                nodes: below.into_iter().map(Node::new).collect(),
            }));
        }
        node
    }

    #[inline]
    fn fill<'a>(&self, scanner: &mut Scanner<'a>, slots: &mut [Slot<'a>]) -> Result<(), Fault> {
        let value = match scanner.peek()? {
            Kind::String => text(scanner)?,
            Kind::Number => Slot::Number(scanner.number()?.text),
            Kind::Bool => Slot::Bool(scanner.bool()?),
            Kind::Null => {
                scanner.null()?;
                Slot::Null
            }
            Kind::Object => Slot::Object(self.descend(scanner, slots, Below::object)?),
            Kind::Array => Slot::Array(self.descend(scanner, slots, Below::array)?),
        };
        if let Some(slot) = self.slot {
            slots[usize::from(slot)] = value;
        }
        Ok(())
    }

    /// Into an object or array where something below it is wanted; its text.
    #[inline]
    fn descend<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        slots: &mut [Slot<'a>],
        into: impl Fn(&Below, &mut Scanner<'a>, &mut [Slot<'a>]) -> Result<(), Fault>,
    ) -> Result<&'a str, Fault> {
        let Some(below) = &self.below else { return scanner.skip() };
        let start = scanner.offset();
        into(below, scanner, slots)?;
        Ok(&scanner.text()[start..scanner.offset()])
    }
}

#[inline]
fn text<'a>(scanner: &mut Scanner<'a>) -> Result<Slot<'a>, Fault> {
    let start = scanner.offset();
    Ok(match scanner.string()? {
        Cow::Borrowed(text) => Slot::Text(text),
        Cow::Owned(_) => Slot::Escaped(scanner.text()[start..scanner.offset()].trim_start()),
    })
}

impl Below {
    #[inline]
    fn object<'a>(&self, scanner: &mut Scanner<'a>, slots: &mut [Slot<'a>]) -> Result<(), Fault> {
        scanner.object(|key, scanner| match self.names.find(&key) {
            Some(place) => self.nodes[place].fill(scanner, slots),
            None => scanner.skip().map(drop),
        })
    }

    fn array<'a>(&self, scanner: &mut Scanner<'a>, slots: &mut [Slot<'a>]) -> Result<(), Fault> {
        let mut index = 0_usize;
        scanner.array(|scanner| {
            let name = index.to_string();
            index += 1;
            match self.names.find(&name) {
                Some(place) => self.nodes[place].fill(scanner, slots),
                None => scanner.skip().map(drop),
            }
        })
    }
}

/// Work with `n` empty slots: on the stack where they are few.
#[inline]
pub(super) fn with_slots<'a, R>(n: usize, work: impl FnOnce(&mut [Slot<'a>]) -> R) -> R {
    match n {
        0..=8 => work(&mut [const { Slot::Absent }; 8]),
        9..=16 => work(&mut [const { Slot::Absent }; 16]),
        17..=32 => work(&mut [const { Slot::Absent }; 32]),
        _ => work(&mut vec![Slot::Absent; n]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled<'a>(tree: &Tree, record: &'a str) -> Result<Vec<Slot<'a>>, Fault> {
        let mut slots = vec![Slot::Absent; tree.pointers.len()];
        let mut scanner = Scanner::over(record);
        tree.fill(&mut scanner, &mut slots)?;
        scanner.finish().map(|()| slots)
    }

    #[test]
    fn pointers_find_their_values() {
        let pointers = ["/a", "/a/b", "/a~1b", "/~0", "/l/1/x", "/l", "", "/none"];
        let tree = Tree::new(pointers.iter().map(|it| it.to_string()).collect());
        let record =
            r#" {"a":{"b":1.50},"a/b":"\u0041","~":null,"l":[{"x":0},{"x":true}],"z":[]} "#;
        let slots = filled(&tree, record).unwrap();
        assert_eq!(slots[0], Slot::Object(r#"{"b":1.50}"#));
        assert_eq!(slots[1], Slot::Number("1.50"));
        assert_eq!(slots[2], Slot::Escaped(r#""\u0041""#));
        assert_eq!(slots[2].text().as_deref(), Some("A"));
        assert_eq!(slots[3], Slot::Null);
        assert_eq!(slots[4], Slot::Bool(true));
        assert_eq!(slots[5], Slot::Array(r#"[{"x":0},{"x":true}]"#));
        assert!(matches!(slots[6], Slot::Object(it) if it == record.trim()));
        assert_eq!(slots[7], Slot::Absent);
    }

    #[test]
    fn what_is_not_wanted_is_checked_all_the_same() {
        let tree = Tree::new(vec!["/a".into()]);
        for record in [
            r#"{"z":1,"z":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"z":"\ud800"}"#,
            r#"{"z":01}"#,
            r#"{"a":1}x"#,
            r#"{"z":tru}"#,
        ] {
            assert!(filled(&tree, record).is_err(), "{record}");
        }
    }

    #[test]
    fn pointers_are_told_from_names() {
        for good in ["", "/", "/a/b", "/~0~1"] {
            assert!(is_pointer(good), "{good}");
        }
        for not in ["a", "a/b", "/~", "/~2"] {
            assert!(!is_pointer(not), "{not}");
        }
    }
}
