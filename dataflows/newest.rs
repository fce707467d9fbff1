//! The newest texts of a subject: what the views by customer, by product and by day name.
//!
//! # Meaning
//! At most [`NEWEST`] texts, by time. Where a subject's texts are of many customers, those of who is
//! erased are named no more: nothing newer may ever come and push them out. Their places stay taken,
//! by when they were said and a hash of the key: so what is named is a function of the *set* of
//! events, in whatever order they and the erasures come.
//!
//! # Invariants
//! The newest first, no two alike: within a microsecond the key decides, and where keys may go its
//! hash. Tests: in [`crate::mood`] and [`crate::sentiment_by_day`].
//!
//! # State
//! Packed, about 9 bytes a text and its key; 24 more where texts are of many customers. Where all
//! are one customer's, they go with that one, and none needs an owner.

use std::cmp::Reverse;

use compact_str::CompactString;
use schemas::names::Fingerprint;
use schemas::rows::Value;
use serde::{Deserialize, Serialize};

use crate::erased::Gone;
use crate::hash_of;
use crate::models::opinion::Opinion;
use crate::packed::{Checked, Writer};

/// Newest texts that are named.
pub(crate) const NEWEST: usize = 5;

/// One of them, with its key in the view `sentiment`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Text<K> {
    /// Event time, microseconds since the Unix epoch.
    at: i64,
    /// Where keys may go, a hash of it: what comes first within a microsecond. Else 0.
    mark: u64,
    /// Empty: its customer is erased.
    key: K,
    /// Where texts are of many customers; else 0.
    owner: Fingerprint,
}

impl<K: AsRef<str>> Text<K> {
    /// Of a subject of which one customer speaks.
    pub(crate) fn of_one(at: i64, key: K) -> Text<K> {
        Text { at, mark: 0, key, owner: 0 }
    }

    /// Of a subject of which many do.
    pub(crate) fn of_many(at: i64, key: K, owner: Fingerprint) -> Text<K> {
        Text { at, mark: hash_of(key.as_ref()), key, owner }
    }

    /// The newest is the greatest.
    fn order(&self) -> (i64, u64, &str) {
        (self.at, self.mark, if self.mark == 0 { self.key.as_ref() } else { "" })
    }
}

impl Text<CompactString> {
    /// The same, its key borrowed.
    pub(crate) fn borrowed(&self) -> Text<&str> {
        Text { at: self.at, mark: self.mark, key: &self.key, owner: self.owner }
    }
}

/// The newest first, at most [`NEWEST`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Newest<K>(Vec<Text<K>>);

impl<K> Default for Newest<K> {
    fn default() -> Self {
        Newest(Vec::new())
    }
}

impl<K: AsRef<str>> Newest<K> {
    /// One more, if it is one of them and is not there yet; whether it was taken.
    pub(crate) fn hear(&mut self, text: Text<K>) -> bool {
        let place = self.0.iter().take_while(|it| it.order() > text.order()).count();
        let is_there = self.0.get(place).is_some_and(|it| it.order() == text.order());
        let taken = place < NEWEST && !is_there;
        if taken {
            self.0.truncate(NEWEST - 1);
            self.0.insert(place, text);
        }
        taken
    }

    /// All of another.
    pub(crate) fn merge(&mut self, other: Newest<K>) {
        for it in other.0 {
            self.hear(it);
        }
    }

    /// Whether one of this time may be among them.
    pub(crate) fn may_take(&self, at: i64) -> bool {
        self.0.get(NEWEST - 1).is_none_or(|it| it.at <= at)
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Text<K>> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys of those that are named, and when the newest was said; none: nothing was.
    pub(crate) fn values(&self) -> Option<[Value; 2]> {
        let keys = self.0.iter().map(|it| it.key.as_ref()).filter(|it| !it.is_empty());
        Some([Value::Json(keys.collect::<Vec<&str>>().into()), Value::Time(self.0.first()?.at)])
    }

    /// Appends them; `is_many`: they are of many customers.
    pub(crate) fn store(&self, into: &mut Writer<'_>, is_many: bool) {
        for it in &self.0 {
            into.int(it.at);
            if is_many {
                into.instant(it.mark.cast_signed());
            }
            into.text(it.key.as_ref());
            if is_many {
                into.id(it.owner);
            }
        }
    }
}

impl<'t> Newest<&'t str> {
    /// So many, as they were stored; nothing, if nobody stored them so.
    pub(crate) fn read(from: &mut Checked<'t>, n: usize, is_many: bool) -> Option<Self> {
        let mut texts: Vec<Text<&str>> = Vec::new();
        for _ in 0..Some(n).filter(|it| *it <= NEWEST)? {
            let it = read(from, is_many)?;
            if texts.last().is_some_and(|last| last.order() <= it.order()) {
                return None;
            }
            texts.push(it);
        }
        Some(Newest(texts))
    }

    /// All that this process stored.
    pub(crate) fn of(packed: &'t [u8], is_many: bool) -> Self {
        let mut from = Checked(packed);
        let mut texts = Vec::with_capacity(NEWEST);
        while !from.0.is_empty() {
            texts.push(read(&mut from, is_many).expect("it was packed here, or looked through"));
        }
        Newest(texts)
    }

    /// Those of erased customers are named no more; whether any was.
    pub(crate) fn settle(&mut self, gone: &Gone) -> bool {
        let mut any = false;
        for it in self.0.iter_mut().filter(|it| gone.has(it.owner)) {
            (it.key, it.owner, any) = ("", 0, true);
        }
        any
    }
}

fn read<'t>(from: &mut Checked<'t>, is_many: bool) -> Option<Text<&'t str>> {
    let at = from.int()?;
    let mark = if is_many { from.instant()?.cast_unsigned() } else { 0 };
    let key = from.text()?;
    let owner = if is_many { from.id()? } else { 0 };
    Some(Text { at, mark, key, owner })
}

/// A text, plainly: its time, what is said of it, its key, whether its customer is erased.
pub(crate) type Said = (i64, Opinion, CompactString, bool);

/// What [`Newest::values`] says, plainly: of some texts, in any order.
pub(crate) fn plainly<'s>(texts: impl Iterator<Item = &'s Said>, is_many: bool) -> [Value; 2] {
    let mut newest: Vec<&Said> = texts.collect();
    newest.sort_by_key(|it| Reverse((it.0, if is_many { hash_of(&it.2) } else { 0 }, &it.2)));
    let named = newest.iter().take(NEWEST).filter(|it| !it.3).map(|it| it.2.as_str());
    [Value::Json(named.collect::<Vec<_>>().into()), Value::Time(newest[0].0)]
}
