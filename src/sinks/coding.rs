//! Rows and events as bytes in the outbox, and back, without copying.
//!
//! An item is its length (4 bytes, little-endian) and its bytes. [`Items::of`] has looked through
//! all of it once, so that reading afterwards cannot fail: bytes that are not what they should be
//! are told there, never decoded.
//!
//! # Why this way
//! A row as values is an allocation for each text; 250,000 a second are handed over on the way to
//! a receiver that wants them as bytes of its own.

use std::sync::Arc;

use schemas::names::Name;
use schemas::rows;

use super::batch::{Mark, OutEvent, OutRow, Value};
use crate::messages::Epoch;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const TEXT: u8 = 4;
const TIME: u8 = 5;
const JSON: u8 = 6;

const ROW: u8 = 0;
const DELETED: u8 = 1;
const EVENT: u8 = 2;
const MARK: u8 = 3;

/// Items in the making.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    n: usize,
}

impl Packed {
    /// What there is.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Leaves none, but their room.
    pub(super) fn clear(&mut self) {
        self.n = 0;
        self.bytes.clear();
    }

    /// Takes the bytes and leaves none.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.n = 0;
        std::mem::take(&mut self.bytes)
    }

    /// All of another's, behind.
    pub(super) fn append(&mut self, other: &Packed) {
        self.bytes.extend_from_slice(&other.bytes);
        self.n += other.n;
    }

    /// One after the other.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || take_text(&mut rest).map(Item))
    }

    /// One more item that lies somewhere as bytes already.
    pub(super) fn again(&mut self, item: Item<'_>) {
        self.item(|into| into.extend_from_slice(item.0));
    }

    /// One more row; none: it is deleted.
    pub fn row(&mut self, name: &Name, epoch: Epoch, row: Option<&rows::Row>) {
        self.item(|into| {
            into.push(if row.is_some() { ROW } else { DELETED });
            into.extend_from_slice(&epoch.to_le_bytes());
            text(into, name.tenant());
            text(into, name.key());
            row.iter().flat_map(|it| &it.values).for_each(|it| value(into, it));
        });
    }

    /// One more event.
    pub fn event(&mut self, it: &OutEvent<'_>) {
        self.item(|into| {
            into.push(EVENT);
            into.extend_from_slice(&it.epoch.to_le_bytes());
            into.extend_from_slice(&it.appended_ms.to_le_bytes());
            into.extend_from_slice(&it.offset.to_le_bytes());
            into.extend_from_slice(&it.partition.to_le_bytes());
            text(into, it.feed);
            into.extend_from_slice(it.json);
        });
    }

    /// One more mark.
    pub fn mark(&mut self, it: &Mark) {
        self.item(|into| {
            into.push(MARK);
            into.extend_from_slice(&it.epoch.to_le_bytes());
            into.extend_from_slice(&it.forked_at.to_le_bytes());
            into.push(u8::from(it.whole));
        });
    }

    fn item(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        let len = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        self.n += 1;
    }
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend_from_slice(&(text.len() as u32).to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

fn value(into: &mut Vec<u8>, value: &rows::Value) {
    match value {
        rows::Value::Null => into.push(NULL),
        rows::Value::Bool(false) => into.push(FALSE),
        rows::Value::Bool(true) => into.push(TRUE),
        rows::Value::Int(it) => number(into, INT, *it),
        rows::Value::Time(it) => number(into, TIME, *it),
        rows::Value::Text(it) => {
            into.push(TEXT);
            text(into, it);
        }
        rows::Value::Json(it) => {
            into.push(JSON);
            let at = into.len();
            into.extend_from_slice(&[0; 4]);
            // A JSON value in memory has a text, always: it has no map whose keys are no text.
            if serde_json::to_writer(&mut *into, it).is_err() {
                into.truncate(at + 4);
                into.extend_from_slice(b"null");
            }
            let len = (into.len() - at - 4) as u32;
            into[at..at + 4].copy_from_slice(&len.to_le_bytes());
        }
    }
}

fn number(into: &mut Vec<u8>, tag: u8, it: i64) {
    into.push(tag);
    into.extend_from_slice(&it.to_le_bytes());
}

/// One item, as bytes that were looked through.
#[derive(Clone, Copy, Debug)]
pub struct Item<'b>(pub(super) &'b [u8]);

/// Items, looked through. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Items {
    bytes: Arc<[u8]>,
    from: usize,
    upto: usize,
    n: usize,
}

impl Items {
    /// These, if all of it is what it should be.
    pub fn of(bytes: Arc<[u8]>) -> Option<Items> {
        let (mut rest, mut n) = (&bytes[..], 0);
        while !rest.is_empty() {
            let item = take_text(&mut rest)?;
            check(item)?;
            n += 1;
        }
        let upto = bytes.len();
        Some(Items { bytes, from: 0, upto, n })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..self.upto]
    }

    /// One after the other.
    pub fn each(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest = self.bytes();
        std::iter::from_fn(move || take_text(&mut rest).map(Item))
    }

    /// All of them, in pieces of at most so many, and so many bytes (or one).
    pub(super) fn chunks(&self, n: usize, bytes: usize) -> Vec<Packed> {
        let mut pieces = vec![Packed::default()];
        for item in self.each() {
            if let Some(last) = pieces.last()
                && !last.is_empty()
                && (last.n >= n || last.bytes.len() + item.0.len() > bytes)
            {
                pieces.push(Packed::default());
            }
            if let Some(last) = pieces.last_mut() {
                last.again(item);
            }
        }
        pieces.retain(|it| !it.is_empty());
        pieces
    }

    /// Some of them.
    pub(super) fn slice(&self, range: std::ops::Range<usize>) -> Items {
        let mut ends = self.each().scan(self.from, |at, it| {
            *at += 4 + it.0.len();
            Some(*at)
        });
        let from = match range.start {
            0 => self.from,
            n => ends.nth(n - 1).unwrap_or(self.upto),
        };
        let upto = match range.len() {
            0 => from,
            n => ends.nth(n - 1).unwrap_or(self.upto),
        };
        Items { bytes: Arc::clone(&self.bytes), from, upto, n: range.len() }
    }
}

/// How many items there are, by their lengths.
pub(super) fn count(mut bytes: &[u8]) -> Option<usize> {
    let mut n = 0;
    while !bytes.is_empty() {
        take_text(&mut bytes)?;
        n += 1;
    }
    Some(n)
}

/// Whether an item is one.
fn check(item: &[u8]) -> Option<()> {
    let (kind, mut rest) = item.split_first()?;
    match *kind {
        ROW | DELETED => {
            take::<8>(&mut rest)?;
            for _ in 0..2 {
                std::str::from_utf8(take_text(&mut rest)?).ok()?;
            }
            if *kind == DELETED {
                return rest.is_empty().then_some(());
            }
            while !rest.is_empty() {
                read_value(&mut rest)?;
            }
            Some(())
        }
        EVENT => {
            take::<28>(&mut rest)?;
            std::str::from_utf8(take_text(&mut rest)?).ok().map(|_| ())
        }
        MARK => (rest.len() == 17 && rest[16] < 2).then_some(()),
        _ => None,
    }
}

impl<'b> OutRow<'b> {
    pub(super) fn read(Item(item): Item<'b>) -> OutRow<'b> {
        let deleted = item.first() != Some(&ROW);
        let mut rest = item.get(1..).unwrap_or_default();
        let epoch = u64::from_le_bytes(take(&mut rest).unwrap_or_default());
        let tenant = as_str(&mut rest);
        let key = as_str(&mut rest);
        OutRow { tenant, key, epoch, fields: (!deleted).then_some(rest) }
    }
}

impl<'b> OutEvent<'b> {
    pub(super) fn read(Item(item): Item<'b>) -> OutEvent<'b> {
        let mut rest = item.get(1..).unwrap_or_default();
        let epoch = u64::from_le_bytes(take(&mut rest).unwrap_or_default());
        let appended_ms = u64::from_le_bytes(take(&mut rest).unwrap_or_default());
        let offset = u64::from_le_bytes(take(&mut rest).unwrap_or_default());
        let partition = u32::from_le_bytes(take(&mut rest).unwrap_or_default());
        let feed = as_str(&mut rest);
        OutEvent { epoch, appended_ms, feed, partition, offset, json: rest }
    }
}

impl Mark {
    pub(super) fn read(item: &[u8]) -> Mark {
        let mut rest = item.get(1..).unwrap_or_default();
        let epoch = u64::from_le_bytes(take(&mut rest).unwrap_or_default());
        let forked_at = u64::from_le_bytes(take(&mut rest).unwrap_or_default());
        Mark { epoch, forked_at, whole: rest.first() == Some(&1) }
    }
}

/// The values of a row.
pub(super) fn values<'b>(mut rest: &'b [u8]) -> impl Iterator<Item = Value<'b>> + use<'b> {
    std::iter::from_fn(move || read_value(&mut rest))
}

fn read_value<'b>(rest: &mut &'b [u8]) -> Option<Value<'b>> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    Some(match *tag {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(i64::from_le_bytes(take(rest)?)),
        TIME => Value::Time(i64::from_le_bytes(take(rest)?)),
        TEXT => Value::Text(std::str::from_utf8(take_text(rest)?).ok()?),
        JSON => Value::Json(std::str::from_utf8(take_text(rest)?).ok()?),
        _ => return None,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn take_text<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let len = u32::from_le_bytes(take(rest)?) as usize;
    let (text, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(text)
}

fn as_str<'b>(rest: &mut &'b [u8]) -> &'b str {
    take_text(rest).and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Batch, Stream};
    use super::*;
    use schemas::rows::{Row, Shape, ViewDef};

    static DEF: ViewDef =
        ViewDef { name: "some", words: "", shape: Shape::Fold, key: &[], fields: &[] };

    fn row() -> Row {
        let json = serde_json::json!({"EUR": 1200, "x": 0.1});
        let values = vec![
            rows::Value::Null,
            rows::Value::Bool(true),
            rows::Value::Int(i64::MIN),
            rows::Value::Text("zwölf".into()),
            rows::Value::Time(-1),
            rows::Value::Json(json),
        ];
        Row { values }
    }

    /// Goal: what goes in comes out, exactly; what is cut short is told. Method: one row of every
    /// kind of value, a deletion, an event and a mark; every shorter text of their bytes.
    #[test]
    fn there_and_back() {
        let mut packed = Packed::default();
        packed.row(&Name::new("t", "a/b"), 7, Some(&row()));
        packed.row(&Name::new("t", "gone"), u64::MAX, None);
        let bytes: Arc<[u8]> = packed.bytes().into();
        let whole = Batch::of("1", Stream::Rows(&DEF), 3, 9, packed);
        let rows: Vec<_> = whole.rows().collect();
        let values: Vec<_> = rows[0].values().collect();
        assert_eq!((rows[0].tenant, rows[0].key, rows[0].epoch), ("t", "a/b", 7));
        let expected = [
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Text("zwölf"),
            Value::Time(-1),
            Value::Json(r#"{"EUR":1200,"x":0.1}"#),
        ];
        assert_eq!(values, expected);
        assert!(rows[1].is_deleted() && rows[1].values().next().is_none());
        assert_eq!((rows[1].key, rows[1].epoch, whole.events().count()), ("gone", u64::MAX, 0));
        for len in 1..bytes.len() {
            let cut = Items::of(bytes[..len].into());
            assert!(cut.is_none_or(|it| it.len() == 1), "cut at {len}");
        }

        let event = OutEvent {
            epoch: 1,
            appended_ms: 2,
            feed: "log",
            partition: 3,
            offset: 4,
            json: b"{}",
        };
        let mut packed = Packed::default();
        packed.event(&event);
        let events = Batch::of("2", Stream::Events, 3, 9, packed);
        assert_eq!(events.events().collect::<Vec<_>>(), [event]);
        let mark = Mark { epoch: 5, forked_at: 4, whole: true };
        let mut packed = Packed::default();
        packed.mark(&mark);
        let marks = Batch::of("3", Stream::Marks, 3, 9, packed);
        assert_eq!(marks.marks().collect::<Vec<_>>(), [mark]);
    }

    /// Goal: halves are the whole, in order, each under an id of its own that says which piece.
    #[test]
    fn halves_down_to_the_row() {
        let mut packed = Packed::default();
        for n in 0..5 {
            packed.row(&Name::new("t", &n.to_string()), n, None);
        }
        let whole = Batch::of("b-1", Stream::Rows(&DEF), 3, 9, packed);
        let mut pieces = vec![whole];
        let mut found = Vec::new();
        while let Some(it) = pieces.pop() {
            match it.halves() {
                Some([first, second]) => pieces.extend([second, first]),
                None => found.push((it.id.clone(), it.rows().next().unwrap().key.to_string())),
            }
        }
        let expected: Vec<_> =
            (0..5).map(|n| (format!("b-1.{n}-{}", n + 1), n.to_string())).collect();
        assert_eq!(found, expected);
    }
}
