//! The thread that writes rejects, and lets go of the oldest.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::{Condvar, Mutex};

use super::index::{self, Place};
use super::record::{Head, encode, head_of};
use super::{QUEUE_BYTES, Shared};
use crate::messages::{FeedId, MAX_REJECT_BYTES, Rejected};
use crate::report::{Report, log_report};
use crate::segments::{BLOCK_HEADER_BYTES, NewBlock, Writer};

/// Written at once at most.
const GROUP: usize = 1024;
/// The same, in bytes.
const GROUP_BYTES: usize = 4 << 20;
/// A disk that could not be written is tried again after.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What the keeper is asked.
pub(super) enum Work {
    /// Keep it.
    Keep(Box<Rejected>),
    /// These were retried.
    Mark(Vec<(u64, u64)>, Sender<()>),
    /// Overwrite what is in these.
    Blank(Theirs, Sender<Result<u64, Report>>),
    /// Answer once all before is durable.
    Flush(Sender<()>),
    /// Write what waits, and end.
    Close,
}

/// Whether the bytes of a reject are to be overwritten.
pub type Theirs = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Where rejects are kept.
pub(super) enum Keep {
    Disk(Box<Writer>),
    Memory { next: u64 },
}

/// How much waits.
#[derive(Default)]
pub(super) struct Pressure {
    bytes: AtomicU64,
    told: AtomicBool,
    /// Not kept since it was told.
    flood: AtomicU64,
    missed: Mutex<BTreeMap<(FeedId, &'static str), u64>>,
    closing: Mutex<bool>,
    closed: Condvar,
}

impl Pressure {
    /// Whether there is room for so many bytes; if so they are taken.
    pub(super) fn take(&self, bytes: u64) -> bool {
        let room = self.bytes.fetch_add(bytes, Relaxed) + bytes <= QUEUE_BYTES;
        if !room {
            self.give_back(bytes);
        }
        room
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Counts a reject that is not kept; tells of it once until there is room again. Has a lock
    /// of its own: a feed that is nothing but rejects must not wait for the keeper.
    pub(super) fn miss(&self, feed: FeedId, code: &'static str) {
        *self.missed.lock().entry((feed, code)).or_default() += 1;
        self.flood.fetch_add(1, Relaxed);
        if !self.told.swap(true, Relaxed) {
            tracing::warn!(
                code = "rejects/not-kept",
                "rejects come faster than they can be kept; those that are not kept are counted"
            );
        }
    }

    /// There is room again: says how many were not kept, if that was told of.
    pub(super) fn ease(&self) {
        if self.told.swap(false, Relaxed) {
            tracing::warn!(
                code = "rejects/not-kept",
                n_rejects = self.flood.swap(0, Relaxed),
                "rejects can be kept again; so many were only counted"
            );
        }
    }

    /// How many were not kept since this was last asked.
    pub(super) fn missed(&self) -> BTreeMap<(FeedId, &'static str), u64> {
        std::mem::take(&mut *self.missed.lock())
    }

    pub(super) fn close(&self) {
        *self.closing.lock() = true;
        self.closed.notify_all();
    }

    /// Sleeps; `false` when the store is being closed.
    fn sleep(&self, time: Duration) -> bool {
        let mut closing = self.closing.lock();
        if !*closing {
            // Woken or not, what matters is whether it is closing now.
            let _timed_out = self.closed.wait_for(&mut closing, time).timed_out();
        }
        !*closing
    }
}

/// What a reject takes in the queue.
pub(super) fn size(it: &Rejected) -> u64 {
    let problem = &it.problem;
    let texts = problem.pointer.len() + problem.expected.len() + problem.found.len();
    (size_of::<Rejected>() + it.bytes.len() + texts) as u64
}

pub(super) struct Keeper {
    shared: Arc<Shared>,
    keep: Keep,
    work: Receiver<Work>,
    /// Bytes held in memory, if that is where they are kept.
    held: u64,
    /// By feed and reason: when it was last logged, and how many came since.
    logged: BTreeMap<(String, String), (u64, u64)>,
}

/// A feed's rejects of one reason are logged at the first, then so often.
const LOG_EVERY_MS: u64 = 60_000;

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, keep: Keep, work: Receiver<Work>) -> Keeper {
        Keeper { shared, keep, work, held: 0, logged: BTreeMap::new() }
    }

    pub(super) fn run(mut self) {
        // A group may make a segment that much longer, and leaves with it.
        let group_bytes = (self.shared.max_bytes as usize / 16).clamp(64 << 10, GROUP_BYTES);
        loop {
            let first = match self.work.recv_timeout(self.until_log()) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.log_due();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut group = Vec::new();
            let (mut bytes, mut other, mut next) = (0, None, Some(first));
            while let Some(work) = next {
                match work {
                    Work::Keep(it) => {
                        bytes += it.bytes.len();
                        group.push(*it);
                    }
                    work => {
                        other = Some(work);
                        break;
                    }
                }
                let full = group.len() >= GROUP || bytes >= group_bytes;
                next = if full { None } else { self.work.try_recv().ok() };
            }
            self.put(group);
            match other {
                Some(Work::Close) => break,
                Some(Work::Mark(marks, done)) => {
                    self.note(index::RETRIED, &index::Marks(marks.clone()));
                    self.shared.kept.index().mark(&marks);
                    answer(&done);
                }
                Some(Work::Blank(is_theirs, done)) => {
                    if done.send(self.blank(&is_theirs)).is_err() {
                        tracing::debug!("who asked the keeper of rejects has gone");
                    }
                }
                Some(Work::Flush(done)) => answer(&done),
                Some(Work::Keep(_)) | None => {}
            }
            self.log_due();
            if self.work.is_empty() {
                self.shared.pressure.ease();
            }
        }
        self.shared.pressure.ease();
        if let Keep::Disk(writer) = &mut self.keep
            && let Err(report) = writer.roll()
        {
            log_report!(error, report, "could not close the kept rejects");
        }
    }

    /// How long until something is to be logged.
    fn until_log(&self) -> Duration {
        let now = (self.shared.clock)();
        let due = self.logged.values().filter(|it| it.1 > 0);
        let due = due.map(|it| it.0.saturating_add(LOG_EVERY_MS).saturating_sub(now)).min();
        Duration::from_millis(due.unwrap_or(LOG_EVERY_MS).max(1))
    }

    /// Logs what has come since a minute.
    fn log_due(&mut self) {
        let now = (self.shared.clock)();
        for ((feed, code), (at, n)) in &mut self.logged {
            if *n > 0 && at.saturating_add(LOG_EVERY_MS) <= now {
                tracing::warn!(code, feed, n_rejects = *n, "records were rejected");
                (*at, *n) = (now, 0);
            }
        }
    }

    /// Logs the first of its feed and reason, counts the others.
    fn note_reject(&mut self, head: &Head, now: u64) {
        let (feed, code) = (&head.feed, &head.code);
        if let Some((_, n)) = self.logged.get_mut(&(feed.clone(), code.clone())) {
            *n += 1;
            return;
        }
        // What is wrong may be a person's: the log line says where, `rejects show` says what.
        let (partition, offset) = (head.partition, head.offset);
        tracing::warn!(code, feed, partition, offset, n_rejects = 1, "records were rejected");
        self.logged.insert((feed.clone(), code.clone()), (now, 0));
    }

    fn put(&mut self, group: Vec<Rejected>) {
        let now = (self.shared.clock)();
        let freed: u64 = group.iter().map(size).sum();
        let mut new = Vec::with_capacity(group.len());
        for mut it in group {
            it.bytes.truncate(MAX_REJECT_BYTES);
            let feed = self.shared.feeds.get(it.partition.0);
            let (name, mapping) =
                feed.map_or_else(|| ("?".into(), None), |it| (it.name.clone(), it.mapping.clone()));
            let head = head_of(&it, &name, mapping, now);
            let identity = index::identity(&head, &it.bytes);
            new.push((head, identity, it.bytes));
        }
        {
            let (mut index, mut here) = (self.shared.kept.index(), HashSet::new());
            new.retain(|(head, identity, _)| {
                here.insert(*identity) && !index.knows(head, *identity)
            });
        }
        let new: Vec<_> = new
            .into_iter()
            .map(|(head, identity, bytes)| (encode(&head, &bytes), head, identity))
            .collect();
        self.shared.pressure.give_back(freed);
        for (_, head, _) in &new {
            self.note_reject(head, now);
        }
        if new.is_empty() {
            return;
        }
        match &mut self.keep {
            Keep::Memory { next } => {
                let mut index = self.shared.kept.index();
                for (payload, head, identity) in new {
                    self.held += payload.len() as u64;
                    index.add(*next, &head, identity, Place::Held(payload.into()));
                    *next += 1;
                }
                while self.held > self.shared.max_bytes
                    && let Some((id, bytes)) = index.oldest_held()
                {
                    index.let_go(id + 1);
                    self.held -= bytes;
                }
            }
            Keep::Disk(_) => {
                let blocks: Vec<(u16, &[u8])> =
                    new.iter().map(|it| (index::REJECT, it.0.as_slice())).collect();
                let written = self.append(&blocks);
                let mut index = self.shared.kept.index();
                match written {
                    Some((mut id, mut offset)) => {
                        for (payload, head, identity) in new {
                            index.add(id, &head, identity, Place::At(offset));
                            id += 1;
                            offset += (BLOCK_HEADER_BYTES + payload.len()) as u64;
                        }
                    }
                    None => {
                        for (_, head, _) in new {
                            index.not_kept(&head.feed, &head.code, 1);
                        }
                    }
                }
                drop(index);
                self.let_go();
            }
        }
    }

    /// Appends until it works or the store is closed. Gives the first id, and where its block is.
    fn append(&mut self, blocks: &[(u16, &[u8])]) -> Option<(u64, u64)> {
        let Keep::Disk(writer) = &mut self.keep else { return None };
        let blocks: Vec<NewBlock<'_>> =
            blocks.iter().map(|(tag, payload)| NewBlock::new(*tag, 1, payload)).collect();
        let mut told = false;
        loop {
            match writer.append(&blocks, (self.shared.clock)()) {
                Ok(first) => return Some((first, writer.group_at())),
                Err(report) => {
                    if !told {
                        tell(&report);
                        told = true;
                    }
                }
            }
            if !self.shared.pressure.sleep(TRY_AGAIN) {
                return None;
            }
        }
    }

    fn note(&mut self, tag: u16, note: &impl serde::Serialize) -> bool {
        let payload = serde_json::to_vec(note).expect("plain fields");
        matches!(self.keep, Keep::Memory { .. }) || self.append(&[(tag, &payload)]).is_some()
    }

    /// Overwrites the bytes of rejects that are theirs, and what their reports say was found.
    fn blank(&mut self, is_theirs: &Theirs) -> Result<u64, Report> {
        let Keep::Disk(writer) = &mut self.keep else { return Ok(0) };
        let Some(folder) = self.shared.kept.folder().cloned() else { return Ok(0) };
        writer.roll()?;
        let mut n = 0;
        for segment in folder.segments() {
            n += folder.overwrite(&segment, |header, payload| {
                Ok(header.tag == index::REJECT && blank(payload, is_theirs))
            })?;
        }
        Ok(n)
    }

    /// Lets go of the oldest segments while there is too much: first it is written down what was
    /// in them, then they are removed. A crash between leaves segments that opening removes.
    fn let_go(&mut self) {
        let Some(folder) = self.shared.kept.folder().cloned() else { return };
        while folder.bytes() > self.shared.max_bytes
            && let Some(old) = folder.oldest()
        {
            let summary = {
                let mut index = self.shared.kept.index();
                index.let_go(old.extent().next);
                index.summary()
            };
            if !self.note(index::SUMMARY, &summary) {
                return;
            }
            if let Err(report) = folder.age_out(0, (self.shared.clock)()) {
                return tell(&report);
            }
        }
    }
}

fn answer(done: &Sender<()>) {
    if done.send(()).is_err() {
        tracing::debug!("who asked the keeper of rejects has gone");
    }
}

fn tell(report: &Report) {
    log_report!(error, *report, "rejects could not be written; they wait");
}

/// Overwrites a reject that is theirs, if it is: its length stays.
fn blank(payload: &mut [u8], is_theirs: &Theirs) -> bool {
    let Some((head, at)) = super::record::head(payload) else { return false };
    let has_text = payload[at..].iter().any(|it| *it != b' ');
    let is_told = !(head.found.is_empty() && head.expected.is_empty() && head.pointer.is_empty());
    if !(has_text && is_theirs(&payload[at..]) || is_told && is_theirs(head.found.as_bytes())) {
        return false;
    }
    payload[at..].fill(b' ');
    let none = String::new;
    let head = Head { found: none(), expected: none(), pointer: none(), ..head };
    let json = serde_json::to_vec(&head).expect("plain fields");
    // Shorter by what was taken out; JSON may end in spaces.
    let room = &mut payload[4..at];
    room.fill(b' ');
    if let Some(room) = room.get_mut(..json.len()) {
        room.copy_from_slice(&json);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: of a reject that is blanked nothing of the record is left, its place and its reason
    /// are, and its length stays. Method: one whose report repeats the record; another's.
    #[test]
    fn a_blanked_reject_says_nothing_of_the_record() {
        let head = Head {
            feed: "orders".into(),
            partition: 1,
            offset: 7,
            appended_ms: 1,
            rejected_ms: 2,
            code: "schemas/identifier".into(),
            pointer: "/data/name".into(),
            expected: "an identifier, \"C-1\"".into(),
            found: "\"secret\"".into(),
            origin: None,
            mapping: None,
        };
        let whole = encode(&head, b"{\"customer\":\"C-1\",\"text\":\"secret\"}");
        let mut payload = whole.clone();
        let others: Theirs = Arc::new(|it| memchr::memmem::find(it, b"C-2").is_some());
        assert!(!blank(&mut payload, &others));
        assert_eq!(payload, whole);
        let theirs: Theirs = Arc::new(|it| memchr::memmem::find(it, b"C-1").is_some());
        assert!(blank(&mut payload, &theirs));
        assert_eq!(payload.len(), whole.len());
        for word in [b"secret".as_slice(), b"C-1", b"/data/name"] {
            assert_eq!(memchr::memmem::find(&payload, word), None);
        }
        let reject = super::super::record::decode(3, &payload, None).unwrap();
        assert_eq!((reject.head.offset, &*reject.head.code), (7, "schemas/identifier"));
        assert!(reject.bytes.iter().all(|it| *it == b' '));
        assert!(!blank(&mut payload, &theirs), "once");
    }
}
