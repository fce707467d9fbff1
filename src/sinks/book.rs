//! What a sink's outbox knows of itself, as it lies on the disk: one JSON text, the newest stands.

use std::collections::BTreeMap;

use schemas::names::Fingerprint;
use schemas::rows::ViewDef;
use serde::{Deserialize, Serialize};

use super::Counted;
use super::batch::{Mark, Stream};
use super::breaker::Kept;
use crate::messages::Epoch;
use crate::segments::Contents;

/// What is in the log of a sink.
pub(super) const OUTBOX: Contents = Contents::new(
    *b"outb",
    "book: JSON; gathered: sort u8, view, incarnation u64, instant u64, items; rows: items; items: \
     length u32 and bytes, as src/sinks/coding.rs says, version 1",
);

/// A block with the [`Book`].
pub(super) const BOOK: u16 = 0;
/// A block of what was gathered at an instant.
pub(super) const GATHERED: u16 = 1;
/// A block of the rows of a batch.
pub(super) const ROWS: u16 = 2;

/// Up to which entity current rows have been fixed: in the order of (epoch, key).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) epoch: Epoch,
    #[serde(with = "hex")]
    pub(super) key: Fingerprint,
}

/// Rows that were left out because they had been touched behind the newest checkpoint: if that
/// touch was never so, they wait again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// No row of them is older.
    pub(super) from: Epoch,
    /// Nor was one touched later: what a checkpoint at this epoch holds needs no more care.
    pub(super) until: Epoch,
}

/// JSON numbers end below 128 bits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{key:032x}"))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

/// A batch that was fixed and is not durable at its receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fixed {
    pub(super) seq: u64,
    /// As [`Stream`] is written.
    pub(super) stream: String,
    pub(super) incarnation: u64,
    pub(super) upto: Epoch,
    pub(super) of: Source,
}

/// Where the items of a batch lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    /// In the blocks of its stream that were gathered at these positions.
    Gathered(u64, u64),
    /// In a block of its own.
    Own(u64),
    /// Here.
    Mark(Mark),
}

/// Events, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventsTold {
    /// Of epochs above this one.
    pub(super) from: Epoch,
    /// So many.
    pub(super) n: u64,
    /// Up to this instant all of them, so many.
    pub(super) upto: Epoch,
    pub(super) n_upto: u64,
}

impl EventsTold {
    /// From here on.
    pub(super) fn after(from: Epoch) -> EventsTold {
        EventsTold { from, n: 0, upto: from, n_upto: 0 }
    }

    /// For who compares.
    pub(super) fn counted(&self) -> Counted {
        Counted { from: self.from, upto: self.upto, n: self.n_upto }
    }
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Book {
    /// The life that is being handed over, and where it left the one before.
    pub(super) incarnation: u64,
    pub(super) forked_at: Epoch,
    /// The life of the state, where that is another: this sink has missed some of it, and began anew.
    #[serde(default)]
    pub(super) of: Option<u64>,
    /// Number of the next batch.
    pub(super) next: u64,
    /// What was gathered below this position has been fixed.
    pub(super) read: u64,
    /// Positions of what was gathered at instants that never became durable.
    pub(super) void: Vec<(u64, u64)>,
    /// Not yet durable at the receiver, in order.
    pub(super) fixed: Vec<Fixed>,
    /// The instant of the last mark, and whether it said that all was whole.
    pub(super) marked: Epoch,
    pub(super) marked_whole: bool,
    /// Of each view whose rows leave from its map.
    pub(super) rows: BTreeMap<String, Cursor>,
    /// Of each such view: what was left out below its cursor, for touches of which no checkpoint is
    /// known yet.
    #[serde(default)]
    pub(super) left: BTreeMap<String, Left>,
    /// The streams that have begun, each with what its view looked like.
    pub(super) streams: BTreeMap<String, u64>,
    /// What lies from this position on of a stream that has not begun is a beginning that comes
    /// again.
    #[serde(default)]
    pub(super) begins_at: u64,
    /// What there was at the beginning lies below this position; none: all of it was delivered.
    pub(super) beginning: Option<u64>,
    /// Everything up to this instant has been fixed.
    #[serde(default)]
    pub(super) covered: Epoch,
    /// The events that were fixed since it began, if it takes them.
    #[serde(default)]
    pub(super) events: Option<EventsTold>,
    /// Views whose rows of the beginning have not all been fixed; streams that have not begun, for
    /// their view is being built.
    pub(super) catching: Vec<String>,
    /// The breaker, as it was last.
    #[serde(default)]
    pub(super) breaker: Kept,
    /// Durable at the receiver, ever: batches and items.
    #[serde(default)]
    pub(super) delivered: (u64, u64),
}

impl Book {
    /// Whether a mark at this instant says anything new.
    pub(super) fn wants_mark(&self, instant: Epoch) -> bool {
        instant > self.marked || instant == self.marked && self.is_whole() && !self.marked_whole
    }

    /// Whether all that there was at the beginning has been fixed.
    pub(super) fn is_whole(&self) -> bool {
        self.beginning.is_some_and(|it| self.read >= it) && self.catching.is_empty()
    }

    /// It begins when its view has been built: until then not all is there.
    pub(super) fn begins_later(&mut self, stream: &Stream) {
        let name = stream.to_string();
        if !self.catching.contains(&name) {
            self.catching.push(name);
        }
    }

    /// It has begun.
    pub(super) fn begun(&mut self, stream: &Stream) {
        let name = stream.to_string();
        self.catching.retain(|it| *it != name);
        self.streams.insert(name, layout(stream));
    }

    /// The life of the state that it is of.
    pub(super) fn is_of(&self) -> u64 {
        self.of.unwrap_or(self.incarnation)
    }

    /// Another life, of this one of the state, from this checkpoint on.
    pub(super) fn begin(&mut self, life: u64, of: u64, forked_at: Epoch, position: u64) {
        (self.incarnation, self.forked_at) = (life, forked_at);
        self.of = (life != of).then_some(of);
        self.covered = self.covered.min(forked_at);
        self.forget(position);
    }

    /// Everything is to begin anew, from this position on.
    pub(super) fn forget(&mut self, position: u64) {
        self.begins_at = position;
        self.streams.clear();
        self.rows.clear();
        self.left.clear();
        self.catching.clear();
        self.beginning = None;
        self.events = None;
        (self.marked, self.marked_whole) = (0, false);
    }

    /// A row of this epoch was left out for a touch that can be seen at `pin`.
    pub(super) fn leave(&mut self, view: &str, epoch: Epoch, pin: Epoch) {
        let it = self.left.entry(view.into()).or_insert(Left { from: epoch, until: pin });
        *it = Left { from: it.from.min(epoch), until: it.until.max(pin) };
    }

    /// A checkpoint at this epoch is durable.
    pub(super) fn durable(&mut self, epoch: Epoch) {
        self.left.retain(|_, it| it.until > epoch);
    }

    /// The state is that of this checkpoint again: what was left out for later touches waits. Some
    /// that was fixed waits with it, and is the same row once more.
    pub(super) fn go_back(&mut self, epoch: Epoch) {
        self.durable(epoch);
        for (view, left) in std::mem::take(&mut self.left) {
            if let Some(cursor) = self.rows.get_mut(&view) {
                // Before all of that epoch, the least key too.
                let before =
                    left.from.checked_sub(1).map(|it| Cursor { epoch: it, key: u128::MAX });
                *cursor = before.unwrap_or_default().min(*cursor);
            }
        }
    }

    /// The lowest position that is still needed.
    pub(super) fn needed(&self) -> u64 {
        let first = |it: &Fixed| match it.of {
            Source::Gathered(from, _) => from,
            Source::Own(at) => at,
            Source::Mark(_) => u64::MAX,
        };
        self.fixed.iter().map(first).min().unwrap_or(u64::MAX).min(self.read)
    }

    /// Whether this lies there of a beginning of which was not noted that it was made durable, so
    /// that it comes again. What happened beside it does not: that something has gone is told once.
    pub(super) fn comes_again(&self, at: u64, it: &Gathered<'_>, declared: &[Stream]) -> bool {
        let stream = declared.iter().find(|stream| it.is_of(stream));
        let begun = |it: &Stream| self.streams.contains_key(&it.to_string());
        it.beginning
            && at >= self.begins_at
            && it.incarnation == self.incarnation
            && stream.is_some_and(|it| !begun(it))
    }

    pub(super) fn is_void(&self, position: u64) -> bool {
        self.void.iter().any(|it| (it.0..it.1).contains(&position))
    }
}

/// What a view looks like: rows laid out otherwise are not read as its own.
pub(super) fn layout(stream: &Stream) -> u64 {
    stream.def().map_or(0, layout_of)
}

fn layout_of(def: &ViewDef) -> u64 {
    // FNV-1a, as the segments' own.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut put = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    put(def.name);
    def.key.iter().for_each(|it| put(it));
    for field in def.fields {
        put(field.name);
        put(&format!("{:?} {}", field.kind, field.nullable));
    }
    hash
}

/// What was gathered of one stream at one instant.
pub(super) struct Gathered<'b> {
    pub(super) sort: u8,
    pub(super) beginning: bool,
    pub(super) view: &'b str,
    pub(super) incarnation: u64,
    pub(super) instant: Epoch,
    pub(super) items: &'b [u8],
}

/// In the sort of a block: it holds what there was at a beginning, and comes again if that it was
/// made durable is not noted.
const BEGINNING: u8 = 0x80;

/// Number of a stream's sort.
pub(super) fn sort_of(stream: &Stream) -> u8 {
    match stream {
        Stream::Changes(_) => 1,
        Stream::Events => 2,
        Stream::Rows(_) => 3,
        Stream::Marks => 4,
    }
}

impl Gathered<'_> {
    /// Before the items; `beginning`: they are all there was.
    pub(super) fn head(
        stream: &Stream,
        incarnation: u64,
        instant: Epoch,
        beginning: bool,
    ) -> Vec<u8> {
        let view = stream.view();
        let sort = sort_of(stream) | if beginning { BEGINNING } else { 0 };
        let mut head = vec![sort, view.len() as u8];
        head.extend_from_slice(view.as_bytes());
        head.extend_from_slice(&incarnation.to_le_bytes());
        head.extend_from_slice(&instant.to_le_bytes());
        head
    }

    pub(super) fn read(payload: &[u8]) -> Option<Gathered<'_>> {
        let (sort, rest) = payload.split_first()?;
        let (len, rest) = rest.split_first()?;
        let (view, rest) = rest.split_at_checked(usize::from(*len))?;
        let (incarnation, rest) = rest.split_first_chunk::<8>()?;
        let (instant, items) = rest.split_first_chunk::<8>()?;
        Some(Gathered {
            sort: sort & !BEGINNING,
            beginning: sort & BEGINNING > 0,
            view: std::str::from_utf8(view).ok()?,
            incarnation: u64::from_le_bytes(*incarnation),
            instant: u64::from_le_bytes(*instant),
            items,
        })
    }

    /// Its stream, as that is written.
    pub(super) fn name(&self) -> String {
        match self.sort {
            1 => format!("changes/{}", self.view),
            3 => format!("rows/{}", self.view),
            _ => "events".into(),
        }
    }

    /// How many items, if they are items.
    pub(super) fn count(&self) -> Option<usize> {
        super::coding::count(self.items)
    }

    pub(super) fn is_of(&self, stream: &Stream) -> bool {
        self.sort == sort_of(stream) && self.view == stream.view()
    }
}
