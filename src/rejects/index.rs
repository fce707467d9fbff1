//! What is known of the kept rejects without reading them: who, where, and what was let go.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::{self, Count, Filter, Head};
use crate::report::Report;
use crate::segments::{Folder, other_layout};

/// A block's tag.
pub(super) const REJECT: u16 = 0;
/// [`Marks`].
pub(super) const RETRIED: u16 = 1;
/// [`Summary`].
pub(super) const SUMMARY: u16 = 2;

/// Where a reject's payload is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In its segment, from this byte on.
    At(u64),
    /// Here.
    Held(Arc<[u8]>),
}

/// A kept reject.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    id: u64,
    feed: u16,
    code: u16,
    identity: u64,
    partition: u32,
    offset: u64,
    retried_as: u64,
    pub(super) place: Place,
}

const NOT_RETRIED: u64 = u64::MAX;

impl Entry {
    pub(super) fn retried_as(&self) -> Option<u64> {
        (self.retried_as != NOT_RETRIED).then_some(self.retried_as)
    }
}

/// Rejects that were retried, with their positions in the log.
#[derive(Serialize, Deserialize)]
pub(super) struct Marks(pub(super) Vec<(u64, u64)>);

/// What was let go, all of it, when this was written.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Summary {
    /// Every reject with a smaller number.
    pub(super) before: u64,
    /// By origin and reason.
    pub(super) gone: Vec<Gone>,
}

/// What was let go of one partition, for one reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gone {
    feed: String,
    partition: u32,
    code: String,
    count: u64,
    /// Read again up to here, it is known.
    offset_max: u64,
}

/// The index.
#[derive(Default)]
pub(super) struct Index {
    entries: VecDeque<Entry>,
    known: HashSet<u64>,
    names: Vec<String>,
    gone: BTreeMap<(u16, u32, u16), (u64, u64)>,
    missed: BTreeMap<(u16, u16), u64>,
    repeated: BTreeMap<(u16, u16), u64>,
    before: u64,
}

impl Index {
    /// Reads the whole store.
    pub(super) fn load(folder: &Folder) -> Result<Index, Report> {
        let mut index = Index::default();
        for segment in folder.segments() {
            folder.each_block(&segment, |block| {
                let (id, payload) = (block.header.first, block.payload);
                let other = |why: &str| other_layout(&segment.path, block.offset, why);
                match block.header.tag {
                    REJECT => {
                        let (head, at) = record::head(payload)
                            .ok_or_else(|| other("a reject's head is other"))?;
                        let identity = identity(&head, &payload[at..]);
                        index.add(id, &head, identity, Place::At(block.offset));
                    }
                    RETRIED => {
                        let marks: Marks = serde_json::from_slice(payload)
                            .map_err(|why| other(&why.to_string()))?;
                        index.mark(&marks.0);
                    }
                    SUMMARY => {
                        let summary: Summary = serde_json::from_slice(payload)
                            .map_err(|why| other(&why.to_string()))?;
                        index.summarise(summary);
                    }
                    _ => return Err(other("its tag is none of ours")),
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(index)
    }

    /// Segments that were summarised, and then the process ended before they were removed.
    pub(super) fn remove_leftovers(&self, folder: &Folder, now_ms: u64) -> Result<(), Report> {
        while let Some(old) = folder.oldest()
            && old.extent().next <= self.before
        {
            folder.age_out(0, now_ms)?;
        }
        Ok(())
    }

    fn name(&mut self, name: &str) -> u16 {
        let found = self.names.iter().position(|it| it == name);
        let at = found.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        u16::try_from(at).expect("feeds and codes are few")
    }

    fn find_name(&self, name: &str) -> Option<u16> {
        self.names.iter().position(|it| it == name).map(|it| it as u16)
    }

    /// Whether this record was rejected for this reason before; if so it is counted as repeated.
    pub(super) fn knows(&mut self, head: &Head, identity: u64) -> bool {
        let (Some(feed), Some(code)) = (self.find_name(&head.feed), self.find_name(&head.code))
        else {
            return false;
        };
        let gone = self.gone.get(&(feed, head.partition, code));
        let known = self.known.contains(&identity)
            || gone.is_some_and(|(_, offset_max)| head.offset <= *offset_max);
        if known {
            *self.repeated.entry((feed, code)).or_default() += 1;
        }
        known
    }

    pub(super) fn add(&mut self, id: u64, head: &Head, identity: u64, place: Place) {
        let (feed, code) = (self.name(&head.feed), self.name(&head.code));
        let (partition, offset) = (head.partition, head.offset);
        self.known.insert(identity);
        let retried_as = NOT_RETRIED;
        self.entries.push_back(Entry {
            id,
            feed,
            code,
            identity,
            partition,
            offset,
            retried_as,
            place,
        });
    }

    pub(super) fn not_kept(&mut self, feed: &str, code: &str, n: u64) {
        let key = (self.name(feed), self.name(code));
        *self.missed.entry(key).or_default() += n;
    }

    pub(super) fn entry(&self, id: u64) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&id, |it| it.id).ok()?;
        self.entries.get(at)
    }

    pub(super) fn mark(&mut self, marks: &[(u64, u64)]) {
        for (id, position) in marks {
            if let Ok(at) = self.entries.binary_search_by_key(id, |it| it.id) {
                self.entries[at].retried_as = *position;
            }
        }
    }

    /// Lets go of every reject with a smaller number, counting it.
    pub(super) fn let_go(&mut self, before: u64) {
        while let Some(it) = self.entries.front()
            && it.id < before
        {
            let key = (it.feed, it.partition, it.code);
            let gone = self.gone.entry(key).or_default();
            *gone = (gone.0 + 1, gone.1.max(it.offset));
            self.known.remove(&it.identity);
            self.entries.pop_front();
        }
        self.before = self.before.max(before);
    }

    /// The number of the oldest.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|it| it.id)
    }

    /// The oldest reject that is held in memory, and its bytes.
    pub(super) fn oldest_held(&self) -> Option<(u64, u64)> {
        let it = self.entries.front()?;
        match &it.place {
            Place::Held(payload) => Some((it.id, payload.len() as u64)),
            Place::At(_) => None,
        }
    }

    /// What was let go, to be written down.
    pub(super) fn summary(&self) -> Summary {
        let name = |it: u16| self.names[usize::from(it)].clone();
        let gone = self.gone.iter().map(|((feed, partition, code), (count, offset_max))| Gone {
            feed: name(*feed),
            partition: *partition,
            code: name(*code),
            count: *count,
            offset_max: *offset_max,
        });
        Summary { before: self.before, gone: gone.collect() }
    }

    fn summarise(&mut self, summary: Summary) {
        self.let_go(summary.before);
        self.gone.clear();
        for it in summary.gone {
            let key = (self.name(&it.feed), it.partition, self.name(&it.code));
            self.gone.insert(key, (it.count, it.offset_max));
        }
    }

    /// The numbers of a page's rejects, newest first, and where the next page begins.
    pub(super) fn page(
        &self,
        filter: &Filter,
        limit: usize,
        before: Option<u64>,
    ) -> (Vec<u64>, Option<u64>) {
        let wanted = |name: &Option<String>| match name {
            None => Some(None),
            Some(it) => self.find_name(it).map(Some),
        };
        let (Some(feed), Some(code)) = (wanted(&filter.feed), wanted(&filter.code)) else {
            return (Vec::new(), None);
        };
        let end = before
            .map_or(self.entries.len(), |before| self.entries.partition_point(|it| it.id < before));
        let mut found: Vec<u64> = Vec::new();
        for it in self.entries.range(..end).rev() {
            let fits = feed.is_none_or(|feed| feed == it.feed)
                && code.is_none_or(|code| code == it.code)
                && filter.retried.is_none_or(|retried| retried == it.retried_as().is_some());
            if fits && found.len() == limit {
                return (found.clone(), found.last().copied());
            }
            if fits {
                found.push(it.id);
            }
        }
        (found, None)
    }

    /// How many are here, were let go, were never here.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        let gone = self.gone.values().map(|it| it.0).sum();
        (self.entries.len() as u64, gone, self.missed.values().sum())
    }

    pub(super) fn counts(&self) -> Vec<Count> {
        let mut by: BTreeMap<(u16, u16), [u64; 5]> = BTreeMap::new();
        for it in &self.entries {
            let counts = by.entry((it.feed, it.code)).or_default();
            counts[0] += 1;
            counts[1] += u64::from(it.retried_as().is_some());
        }
        for ((feed, _, code), (count, _)) in &self.gone {
            by.entry((*feed, *code)).or_default()[2] += count;
        }
        for (key, count) in &self.missed {
            by.entry(*key).or_default()[3] += count;
        }
        for (key, count) in &self.repeated {
            by.entry(*key).or_default()[4] += count;
        }
        let name = |it: u16| self.names[usize::from(it)].clone();
        let mut out: Vec<Count> = by
            .into_iter()
            .map(|((feed, code), [kept, retried, summarised, not_kept, repeated])| Count {
                feed: name(feed),
                code: name(code),
                kept,
                retried,
                summarised,
                not_kept,
                repeated,
            })
            .collect();
        out.sort_unstable_by(|a, b| (&a.feed, &a.code).cmp(&(&b.feed, &b.code)));
        out
    }
}

/// The bytes are part of it: another file under the same name has other records at its offsets.
pub(super) fn identity(head: &Head, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&head.feed, head.partition, head.offset, &head.code).hash(&mut hasher);
    crc32c::crc32c(bytes).hash(&mut hasher);
    hasher.finish()
}
