//! Where every record read has ended, as of the last complete epoch.
//!
//! In: counts per (epoch, partition) from the workers, offsets per sealed epoch, completions.
//! Out: [`Ledger`] for `/v1/ledger`; [`AsOf`] for every answer.
//!
//! # Meaning
//! At a complete epoch, per partition: next - first = read + lost + absent, and
//! read = applied + duplicate + skipped + rejected. `tests::every_record_is_in_one_place`.
//!
//! # State
//! One entry per partition, one per incomplete epoch, and the instants of the last
//! [`MAX_INSTANTS`] epochs that held records.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use parking_lot::Mutex;

use crate::messages::{
    AsOf, BookLine, BookState, Counts, Ended, Epoch, FeedId, Feeds, Ledger, LedgerLine, NotNew,
    Offsets, Partition,
};
use crate::metrics::Metrics;

/// Instants whose position can still be told: a lease lives half a minute, an epoch at least
/// five milliseconds.
pub const MAX_INSTANTS: usize = 16_384;

/// Positions of the embedded log whose record held nothing new, kept for `?wait=applied`.
pub const MAX_PLACES_KEPT: usize = 262_144;

/// Epochs whose times are kept, for the percentiles of a replay.
const MAX_TIMES: usize = 1 << 18;

/// The book that the ledger is read from.
pub struct Book {
    feeds: Feeds,
    log: Option<FeedId>,
    metrics: Metrics,
    inner: Mutex<Inner>,
}

struct Inner {
    pending: BTreeMap<Epoch, Pending>,
    complete: Epoch,
    totals: BTreeMap<Partition, Counts>,
    newest_event: BTreeMap<Partition, i64>,
    first: Offsets,
    next: Offsets,
    /// The next offsets of the newest checkpoint.
    durable: Offsets,
    resets: BTreeMap<Partition, u64>,
    instants: VecDeque<(Epoch, u64)>,
    /// Of the log: what held nothing new, complete from this position on.
    places: VecDeque<(u64, NotNew)>,
    places_from: u64,
    tails: BTreeMap<Partition, Tail>,
    times: Vec<EpochTimes>,
    /// What was kept of feeds that are not found yet.
    later: Vec<BookLine>,
}

/// When an epoch that held records was sealed and became readable.
#[derive(Clone, Copy, Debug)]
pub struct EpochTimes {
    /// The epoch.
    pub epoch: Epoch,
    /// Records read up to it, over all partitions.
    pub records: u64,
    /// Sealed.
    pub sealed: Instant,
    /// Complete.
    pub complete: Instant,
}

#[derive(Default)]
struct Pending {
    counts: BTreeMap<Partition, Counts>,
    newest_event: BTreeMap<Partition, i64>,
    sealed: Option<(Offsets, Instant)>,
    read_up_to: BTreeMap<Partition, u64>,
}

/// What is known of a partition's end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tail {
    /// The next offset that will be written.
    pub end: u64,
    /// When its newest record was appended, milliseconds.
    pub newest_ms: u64,
    /// When the newest record that we have read was appended.
    pub read_ms: u64,
    /// How long the oldest unread record has been there, where the feed knows it.
    pub behind_ms: Option<u64>,
}

impl Book {
    /// A book of these feeds, reading from these offsets.
    pub fn new(feeds: Feeds, from: Offsets, metrics: Metrics) -> Book {
        let log = feeds.all().iter().position(|it| it.is_log).map(|it| it as FeedId);
        let position = log.and_then(|it| from.get(&(it, 0)).copied()).unwrap_or(0);
        let inner = Inner {
            pending: BTreeMap::new(),
            complete: 0,
            totals: from.keys().map(|it| (*it, Counts::default())).collect(),
            newest_event: BTreeMap::new(),
            first: from.clone(),
            next: from,
            durable: Offsets::new(),
            resets: BTreeMap::new(),
            instants: VecDeque::from([(0, position)]),
            places: VecDeque::new(),
            places_from: position,
            tails: BTreeMap::new(),
            times: Vec::new(),
            later: Vec::new(),
        };
        Book { feeds, log, metrics, inner: Mutex::new(inner) }
    }

    /// A worker has put the records of a chunk into an epoch. `places`: positions that
    /// held nothing new, if the chunk is the log's.
    pub fn note(
        &self,
        epoch: Epoch,
        partition: Partition,
        counts: &Counts,
        (appended_ms, newest_event): (u64, i64),
        places: &[(u64, NotNew)],
    ) {
        let inner = &mut *self.inner.lock();
        let pending = inner.pending.entry(epoch).or_default();
        pending.counts.entry(partition).or_default().add(counts);
        let newest = pending.newest_event.entry(partition).or_insert(newest_event);
        *newest = newest_event.max(*newest);
        let read_ms = pending.read_up_to.entry(partition).or_default();
        *read_ms = appended_ms.max(*read_ms);
        if Some(partition.0) == self.log {
            inner.places.extend(places);
            while inner.places.len() > MAX_PLACES_KEPT {
                if let Some((dropped, _)) = inner.places.pop_front() {
                    inner.places_from = inner.places_from.max(dropped + 1);
                }
            }
        }
    }

    /// An epoch is sealed at these offsets; called before it can complete.
    pub fn sealed(&self, epoch: Epoch, offsets: Offsets) {
        let now = crate::clock::monotonic();
        self.inner.lock().pending.entry(epoch).or_default().sealed = Some((offsets, now));
    }

    /// Everything up to this epoch is complete. Gives its instant.
    pub fn completed(&self, complete: Epoch) -> AsOf {
        let inner = &mut *self.inner.lock();
        while let Some(entry) = inner.pending.first_entry() {
            if *entry.key() > complete {
                break;
            }
            let epoch = *entry.key();
            let pending = entry.remove();
            for (partition, counts) in &pending.counts {
                inner.totals.entry(*partition).or_default().add(counts);
            }
            for (partition, newest_event) in pending.newest_event {
                let newest = inner.newest_event.entry(partition).or_insert(newest_event);
                *newest = newest_event.max(*newest);
            }
            for (partition, read_ms) in pending.read_up_to {
                let tail = inner.tails.entry(partition).or_default();
                tail.read_ms = tail.read_ms.max(read_ms);
            }
            if let Some((offsets, at)) = pending.sealed {
                self.metrics.epochs.one();
                self.metrics.epoch_time.observe(crate::clock::since(at));
                if inner.times.len() < MAX_TIMES {
                    let complete = crate::clock::monotonic();
                    let records = offsets.values().sum();
                    inner.times.push(EpochTimes { epoch, records, sealed: at, complete });
                }
                for partition in offsets.keys() {
                    let first = inner.first.entry(*partition);
                    first.or_insert(0);
                }
                let position = self.log.and_then(|it| offsets.get(&(it, 0)).copied()).unwrap_or(0);
                // Those that were put back and have not been read since stand as they were.
                inner.next.extend(offsets);
                if inner.instants.len() == MAX_INSTANTS {
                    inner.instants.pop_front();
                }
                inner.instants.push_back((epoch, position));
            }
        }
        inner.complete = inner.complete.max(complete);
        AsOf { epoch: inner.complete, position: inner.position_at(inner.complete) }
    }

    /// What is kept of the ledger, at the last complete epoch.
    pub fn state(&self) -> BookState {
        self.state_of(&self.inner.lock())
    }

    /// The same, if this is the last complete epoch.
    pub fn state_at(&self, epoch: Epoch) -> Option<BookState> {
        let inner = self.inner.lock();
        (inner.complete == epoch).then(|| self.state_of(&inner))
    }

    fn state_of(&self, inner: &Inner) -> BookState {
        let feeds = self.feeds.all();
        let line = |(partition, next): (&Partition, &u64)| BookLine {
            feed: feeds[usize::from(partition.0)].name.clone(),
            identity: feeds[usize::from(partition.0)].identity.clone(),
            partition: partition.1,
            first: inner.first.get(partition).copied().unwrap_or(0),
            next: *next,
            newest_event: inner.newest_event.get(partition).copied().unwrap_or(0),
            reset: inner.resets.get(partition).copied().unwrap_or(0),
            counts: inner.totals.get(partition).copied().unwrap_or_default(),
        };
        let lines = inner.next.iter().map(line).chain(inner.later.iter().cloned());
        BookState { epoch: inner.complete, lines: lines.collect() }
    }

    /// Goes on from what was kept, before anything is read. Lines of feeds that are not known yet
    /// wait until they [begin](Book::begins), and are kept as they are.
    pub fn restore(&self, kept: &BookState) {
        let inner = &mut *self.inner.lock();
        let feeds = self.feeds.all();
        for line in &kept.lines {
            let Some(feed) = feeds.iter().position(|it| it.name == line.feed) else {
                inner.later.push(line.clone());
                continue;
            };
            let partition = (feed as FeedId, line.partition);
            inner.put_back(partition, line);
            if self.log == Some(partition.0) {
                inner.places_from = line.next;
            }
        }
        inner.complete = kept.epoch;
        let position = self.log.and_then(|it| inner.next.get(&(it, 0)).copied()).unwrap_or(0);
        inner.instants = VecDeque::from([(kept.epoch, position)]);
    }

    /// The instant of an epoch that is held.
    pub fn as_of(&self, epoch: Epoch) -> AsOf {
        AsOf { epoch, position: self.inner.lock().position_at(epoch) }
    }

    /// Of the log's records `first..next`, all complete: how they ended. `None` where that is no
    /// longer known.
    pub fn applied(&self, first: u64, next: u64) -> Option<Ended> {
        let inner = self.inner.lock();
        if first < inner.places_from {
            return None;
        }
        let mut ended = Ended::default();
        for (_, why) in inner.places.iter().filter(|it| (first..next).contains(&it.0)) {
            match why {
                NotNew::Known => ended.duplicate += 1,
                NotNew::Rejected => ended.rejected += 1,
            }
        }
        ended.new = next - first - ended.duplicate - ended.rejected;
        Some(ended)
    }

    /// What a feed knows of its own end.
    pub fn tail(&self, partition: Partition, end: u64, newest_ms: u64) {
        let inner = &mut *self.inner.lock();
        let tail = inner.tails.entry(partition).or_default();
        tail.end = tail.end.max(end);
        tail.newest_ms = tail.newest_ms.max(newest_ms);
    }

    /// What a feed knows of its own end, and how long its oldest unread record has been there.
    pub fn behind(&self, partition: Partition, end: u64, behind_ms: u64) {
        self.tail(partition, end, 0);
        if let Some(tail) = self.inner.lock().tails.get_mut(&partition) {
            tail.behind_ms = Some(behind_ms);
        }
    }

    /// A partition that was not known at the start is read from this offset on; told before its
    /// first chunk. What was kept of it goes on, or (`anew`) begins anew; `reset`: the number that
    /// its line carries from now on.
    pub fn begins(&self, partition: Partition, first: u64, anew: bool, reset: u64) {
        let inner = &mut *self.inner.lock();
        let feed = self.feeds.of(partition.0);
        let kept =
            inner.later.iter().position(|it| (&it.feed, it.partition) == (&feed.name, partition.1));
        let kept = kept.map(|at| inner.later.swap_remove(at));
        match kept {
            Some(line) if !anew => inner.put_back(partition, &line),
            // A line at once: the next checkpoint may come before its first epoch.
            _ if anew => {
                inner.first.insert(partition, first);
                inner.next.insert(partition, first);
                inner.totals.insert(partition, Counts::default());
            }
            _ => {
                inner.first.entry(partition).or_insert(first);
            }
        }
        if reset > 0 {
            inner.resets.insert(partition, reset);
        }
    }

    /// Another topic has taken a feed's name: lines of partitions that it does not have go.
    pub fn forget(&self, feed: &str, from: u32) {
        self.inner.lock().later.retain(|it| it.feed != feed || it.partition < from);
    }

    /// What was kept of feeds that are not found yet.
    pub fn later(&self) -> Vec<BookLine> {
        self.inner.lock().later.clone()
    }

    /// The newest event time read of a partition, microseconds, as of the last complete epoch.
    pub fn newest_event(&self, partition: Partition) -> i64 {
        self.inner.lock().newest_event.get(&partition).copied().unwrap_or(0)
    }

    /// About where a partition ends, as a guess that may be taken back.
    pub fn estimate(&self, partition: Partition, end: u64) {
        self.inner.lock().tails.entry(partition).or_default().end = end;
    }

    /// Records read of a feed, over its partitions, as of the last complete epoch.
    pub fn read_of(&self, feed: FeedId) -> u64 {
        let inner = self.inner.lock();
        inner.totals.range((feed, 0)..=(feed, u32::MAX)).map(|it| it.1.read).sum()
    }

    /// The next offset of a partition, as of the last complete epoch.
    pub fn next(&self, partition: Partition) -> Option<u64> {
        self.inner.lock().next.get(&partition).copied()
    }

    /// A checkpoint holds this.
    pub fn kept(&self, state: &BookState) {
        let feeds = self.feeds.all();
        let of = |name: &str| feeds.iter().position(|it| it.name == name);
        let line = |it: &BookLine| Some(((of(&it.feed)? as FeedId, it.partition), it.next));
        self.inner.lock().durable = state.lines.iter().filter_map(line).collect();
    }

    /// The next offset of a partition in the newest checkpoint of this life.
    pub fn durable(&self, partition: Partition) -> Option<u64> {
        self.inner.lock().durable.get(&partition).copied()
    }

    /// The ledger as of the last complete epoch.
    pub fn ledger(&self, dedup: serde_json::Value) -> Ledger {
        let inner = self.inner.lock();
        let line = |(partition, next): (&Partition, &u64)| {
            let tail = inner.tails.get(partition).copied().unwrap_or_default();
            let behind_ms =
                tail.behind_ms.unwrap_or_else(|| tail.newest_ms.saturating_sub(tail.read_ms));
            let lag = tail.end.saturating_sub(*next);
            LedgerLine {
                feed: self.feeds.of(partition.0).name.clone(),
                partition: partition.1,
                first: inner.first.get(partition).copied().unwrap_or(0),
                next: *next,
                lag,
                lag_seconds: if lag == 0 { 0.0 } else { behind_ms as f64 / 1_000.0 },
                counts: inner.totals.get(partition).copied().unwrap_or_default(),
            }
        };
        let as_of = AsOf { epoch: inner.complete, position: inner.position_at(inner.complete) };
        // What was read before a start is not gone because its feed is not found again.
        let waiting = inner.later.iter().map(|it| LedgerLine {
            feed: it.feed.clone(),
            partition: it.partition,
            first: it.first,
            next: it.next,
            lag: 0,
            lag_seconds: 0.0,
            counts: it.counts,
        });
        Ledger {
            as_of,
            partitions: inner.next.iter().map(line).chain(waiting).collect(),
            dedup,
            notifications: None,
        }
    }

    /// Counts over all partitions, as of the last complete epoch.
    pub fn totals(&self) -> Counts {
        let mut all = Counts::default();
        for counts in self.inner.lock().totals.values() {
            all.add(counts);
        }
        all
    }

    /// Sealed epochs that are not complete, and the age of the oldest.
    pub fn incomplete(&self) -> (usize, std::time::Duration) {
        let inner = self.inner.lock();
        let mut sealed = inner.pending.values().filter_map(|it| it.sealed.as_ref()).peekable();
        let age = sealed.peek().map_or(std::time::Duration::ZERO, |it| crate::clock::since(it.1));
        (sealed.count(), age)
    }

    /// When each epoch that held records was sealed and complete, in order; the first
    /// [`MAX_TIMES`].
    pub fn times(&self) -> Vec<EpochTimes> {
        self.inner.lock().times.clone()
    }
}

impl Inner {
    fn put_back(&mut self, partition: Partition, line: &BookLine) {
        self.first.insert(partition, line.first);
        self.next.insert(partition, line.next);
        self.totals.insert(partition, line.counts);
        self.newest_event.insert(partition, line.newest_event);
        self.resets.insert(partition, line.reset);
    }

    fn position_at(&self, epoch: Epoch) -> u64 {
        let after = self.instants.partition_point(|it| it.0 <= epoch);
        self.instants.get(after.saturating_sub(1)).map_or(0, |it| it.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Feed, Format};

    fn book() -> Book {
        let (name, mapping) = ("log".into(), None);
        let (format, is_log, takes_own) = (Format::Native, true, false);
        let feed = Feed { name, mapping, format, is_log, takes_own, identity: None };
        Book::new(Feeds::new(vec![feed]), Offsets::from([((0, 0), 10)]), Metrics::default())
    }

    /// Goal: counts and offsets become visible together, with their epoch, and add up.
    #[test]
    fn every_record_is_in_one_place() {
        let book = book();
        let counts = Counts { read: 5, applied: 3, duplicate: 1, rejected: 1, ..Counts::default() };
        let places = [(12, NotNew::Known), (13, NotNew::Rejected)];
        book.note(7, (0, 0), &counts, (0, 0), &places);
        book.sealed(7, Offsets::from([((0, 0), 15)]));
        assert_eq!(book.completed(6), AsOf { epoch: 6, position: 10 });
        assert_eq!(book.completed(9), AsOf { epoch: 9, position: 15 });
        assert_eq!(book.as_of(6).position, 10);
        let ledger = book.ledger(serde_json::Value::Null);
        let line = &ledger.partitions[0];
        assert_eq!(
            line.next - line.first,
            line.counts.read + line.counts.lost + line.counts.absent
        );
        assert_eq!(book.applied(10, 15), Some(Ended { new: 3, duplicate: 1, rejected: 1 }));
        assert_eq!(book.applied(13, 14), Some(Ended { rejected: 1, ..Ended::default() }));
        assert_eq!(book.applied(9, 15), None);
    }
}
