//! What a sink is handed: a batch, and what is in it.
//!
//! # Invariants
//! A batch is immutable. Its id stands for its bytes: over restarts the same id is the same bytes,
//! and no other batch of any process has it (the outbox's own id, the incarnation and a number).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use schemas::rows::ViewDef;
use serde::{Deserialize, Serialize};

use super::coding::{Items, Packed};
use crate::messages::Epoch;

/// What a batch is a piece of.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// The current rows of a view.
    Rows(&'static ViewDef),
    /// The changes of a view.
    Changes(&'static ViewDef),
    /// Events that were applied.
    Events,
    /// How far all of it has come.
    Marks,
}

impl Stream {
    /// The view, if it is one's.
    pub fn def(&self) -> Option<&'static ViewDef> {
        match self {
            Stream::Rows(def) | Stream::Changes(def) => Some(def),
            Stream::Events | Stream::Marks => None,
        }
    }

    /// The view's name; empty if it is none's.
    pub fn view(&self) -> &'static str {
        self.def().map_or("", |it| it.name)
    }

    /// `rows`, `changes`, `events`, `marks`.
    pub fn sort(&self) -> &'static str {
        match self {
            Stream::Rows(_) => "rows",
            Stream::Changes(_) => "changes",
            Stream::Events => "events",
            Stream::Marks => "marks",
        }
    }
}

/// Who was erased: the view of that name.
const ERASED: &str = "erasures";

impl Stream {
    /// Whether its rows say who was erased: they are handed over behind all earlier rows of
    /// everybody, so that a receiver may remove what it has of them when they come.
    pub fn is_behind(&self) -> bool {
        matches!(self, Stream::Rows(def) if def.name == ERASED)
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Stream) -> bool {
        (self.sort(), self.view()) == (other.sort(), other.view())
    }
}

impl Eq for Stream {}

/// `rows/orders`, `events`.
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.def() {
            Some(def) => write!(f, "{}/{}", self.sort(), def.name),
            None => f.write_str(self.sort()),
        }
    }
}

/// What is handed over at once, and again until it is durable. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Batch {
    /// By which a receiver knows it again: at most 96 letters, digits, `-` and `.`.
    pub id: String,
    /// Its place in the order of its sink; rises. (Halves of one batch have the same.)
    pub seq: u64,
    /// What it is a piece of.
    pub stream: Stream,
    /// Which life of the state it is from.
    pub incarnation: u64,
    /// The checkpoint as of which it was fixed: no item of it has a later epoch.
    pub upto: Epoch,
    /// Its items.
    pub items: Items,
    /// The whole, or the piece of it that this is.
    pub part: Part,
}

/// Which piece of the fixed batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(pub Option<Range<usize>>);

impl Batch {
    /// How many items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its rows; empty unless it is of [`Stream::Rows`] or [`Stream::Changes`].
    pub fn rows(&self) -> impl Iterator<Item = OutRow<'_>> {
        let rows = self.stream.def().is_some();
        self.items.each().filter(move |_| rows).map(OutRow::read)
    }

    /// Its events; empty unless it is of [`Stream::Events`].
    pub fn events(&self) -> impl Iterator<Item = OutEvent<'_>> {
        let events = self.stream == Stream::Events;
        self.items.each().filter(move |_| events).map(OutEvent::read)
    }

    /// Its marks, rising; empty unless it is of [`Stream::Marks`].
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        let marks = self.stream == Stream::Marks;
        self.items.each().filter(move |_| marks).map(|it| Mark::read(it.0))
    }

    /// Both halves; none of a single item. Their ids are made from this one's, so that an attempt
    /// at a half is known again, too.
    pub fn halves(&self) -> Option<[Batch; 2]> {
        let n = self.len();
        if n < 2 {
            return None;
        }
        let whole = self.part.0.clone().unwrap_or(0..n);
        let middle = n / 2;
        let half = |range: Range<usize>| {
            let part = whole.start + range.start..whole.start + range.end;
            let root = self.id.split('.').next().unwrap_or_default();
            Batch {
                id: format!("{root}.{}-{}", part.start, part.end),
                items: self.items.slice(range),
                part: Part(Some(part)),
                ..self.clone()
            }
        };
        Some([half(0..middle), half(middle..n)])
    }

    /// A batch of these items, as a test or a tool makes it.
    pub fn of(id: &str, stream: Stream, incarnation: u64, upto: Epoch, items: Packed) -> Batch {
        Batch {
            id: id.into(),
            seq: 0,
            stream,
            incarnation,
            upto,
            items: Items::of(Arc::from(items.bytes())).unwrap_or_default(),
            part: Part::default(),
        }
    }
}

/// A row on its way out. Borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutRow<'b> {
    /// Whose.
    pub tenant: &'b str,
    /// The key's text: parts percent-encoded, joined by `/`.
    pub key: &'b str,
    /// Of a current row: when it last changed. Of a change: the instant as of which it is. The
    /// version of the row, within one incarnation.
    pub epoch: Epoch,
    /// The fields as they lie in the batch; none: the row was deleted.
    pub(super) fields: Option<&'b [u8]>,
}

impl<'b> OutRow<'b> {
    /// There is no row any more.
    pub fn is_deleted(&self) -> bool {
        self.fields.is_none()
    }

    /// One value per field of the view's definition, in its order; nothing of a deleted row.
    pub fn values(&self) -> impl Iterator<Item = Value<'b>> + use<'b> {
        super::coding::values(self.fields.unwrap_or_default())
    }
}

/// One field of a row on its way out; exact, and borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'b> {
    /// Nothing known.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(&'b str),
    /// Microseconds since the Unix epoch.
    Time(i64),
    /// Money (`{"EUR":1200}`, minor units) or any JSON, as text.
    Json(&'b str),
}

/// An event on its way out. Borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutEvent<'b> {
    /// The epoch that it was applied in.
    pub epoch: Epoch,
    /// When its log took it, milliseconds since the Unix epoch.
    pub appended_ms: u64,
    /// The feed it was read from.
    pub feed: &'b str,
    /// Its partition there.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// The event as structured CloudEvents JSON.
    pub json: &'b [u8],
}

/// Everything up to here has been delivered before this. An instant may be marked twice: the second
/// time it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The instant: every change at or below it is delivered, in this incarnation.
    pub epoch: Epoch,
    /// The epoch at which this incarnation took the state over: of those before it what is above
    /// is void. 0: it began with nothing, and all of theirs is void.
    pub forked_at: Epoch,
    /// Whether everything that there was when this incarnation (or a new beginning) came has been
    /// delivered: before, rows of the incarnation before are still to be counted with.
    pub whole: bool,
}
