//! Views that are built again from all that was read, while the others go on from their states.
//!
//! ```text
//!  log, files, topics: ──readers──▶ this thread ──▶ queue ─▶ workers: these views only, with
//!   first record to T               (counts, ends at T)       identities of their own
//!  the same, from T on ───────────────────────────▶ queues ─▶ workers: every view
//! ```
//!
//! # Meaning
//! A fold's `apply` does not mind the order, so what came before T (where the state of the others
//! stands) may come while what comes after it does. What is read here is in no ledger: it was
//! counted when it was first read. Until it is whole the view is not served, and no checkpoint
//! says that it holds it: a process that goes down meanwhile begins again.
//!
//! # When it fails
//! A feed that ends before T (a file that is shorter now, a topic that cannot be read) leaves the
//! views unserved, with a report; the others go on. The next start begins again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use parking_lot::Mutex;

use super::again::{self, Again};
use crate::epochs::Epochs;
use crate::messages::{BookLine, Chunk, Feeds, Framing, NotTaken, Outlet, ReadHandle, of_backfill};
use crate::report::{Report, log_report};
use crate::tasks;

/// Longest time between two looks whether to end.
const LOOK: Duration = Duration::from_millis(50);

/// The views that are being built, and how far.
#[derive(Debug, Default)]
pub(super) struct Building {
    views: Mutex<BTreeSet<&'static str>>,
    /// Records read of those that there are.
    read: AtomicU64,
    n_records: u64,
    failed: OnceLock<String>,
}

impl Building {
    /// These, from what these lines were made of.
    pub(super) fn of(views: &[&'static str], lines: &[BookLine]) -> Building {
        let views = Mutex::new(views.iter().copied().collect());
        let n_records = lines.iter().map(|it| it.next - it.first).sum();
        Building { views, n_records, ..Building::default() }
    }

    /// Whether this fold is being built.
    pub(super) fn has(&self, fold: &str) -> bool {
        self.views.lock().contains(fold)
    }

    /// Whether what this view shows is not whole: it is being built, or made of what may be.
    pub(super) fn shows_half(&self, view: &str) -> bool {
        let fold = crate::engine::fold_of(view);
        let views = self.views.lock();
        views.contains(fold) || crate::engine::is_made_of_others(view) && !views.is_empty()
    }

    /// How far, in words; none where nothing is being built, or not this view.
    pub(super) fn words(&self, view: Option<&str>) -> Option<String> {
        let views = self.views.lock();
        let names = match view {
            _ if views.is_empty() => return None,
            Some(view) if !views.contains(crate::engine::fold_of(view)) => return None,
            Some(view) => view.to_string(),
            None => views.iter().copied().collect::<Vec<_>>().join(", "),
        };
        let (read, n) = (self.read.load(SeqCst).min(self.n_records), self.n_records);
        Some(match self.failed.get() {
            None => format!("{names}: being built again, {read} of {n} records"),
            Some(why) => format!("{names}: could not be built again: {why}"),
        })
    }

    /// Whether some are on their way to be whole.
    pub(super) fn goes_on(&self) -> bool {
        !self.views.lock().is_empty() && self.failed.get().is_none()
    }

    fn end(&self) {
        self.views.lock().clear();
    }
}

/// What it takes to build.
pub(super) struct Behind<'a> {
    pub(super) again: Again<'a>,
    pub(super) lines: Vec<BookLine>,
    /// Also from feeds that end too early.
    pub(super) accept_incomplete: bool,
    pub(super) feeds: Feeds,
    pub(super) queue: Sender<Chunk>,
    pub(super) bell: Arc<dyn Fn() + Send + Sync>,
    pub(super) epochs: Arc<Epochs>,
    pub(super) read: ReadHandle,
    pub(super) building: Arc<Building>,
    pub(super) stop: Arc<AtomicBool>,
}

/// Reads everything once more, from its first record on.
pub(super) fn start(behind: Behind<'_>) -> Result<JoinHandle<Result<(), Report>>, Report> {
    let Behind { again, lines, accept_incomplete, feeds, queue, bell, .. } = behind;
    let Behind { epochs, read, building, stop, .. } = behind;
    let (chunks, reading) = again::start(&again, &lines)?;
    let ahead = Outlet::new(queue.clone(), bell);
    let mut left = Left::of(lines);
    tasks::thread("rebuild", move || {
        let began = crate::clock::monotonic();
        let mut ended = false;
        while !left.is_done() && !stop.load(SeqCst) {
            let mut chunk = match chunks.recv_timeout(LOOK) {
                Ok(chunk) => chunk,
                // What they have sent is taken before.
                Err(RecvTimeoutError::Timeout) if ended => break,
                Err(RecvTimeoutError::Timeout) => {
                    ended = reading.have_ended(left.is_done_of("log"));
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let feed = feeds.of(of_backfill(chunk.partition.0));
            let n = left.take(&feed.name, &mut chunk);
            if chunk.next > chunk.first && !forward(&ahead, chunk, &stop) {
                break;
            }
            building.read.fetch_add(n, SeqCst);
        }
        let whole = left.is_done() || accept_incomplete;
        reading.stop();
        // They may be waiting for room.
        drop(chunks);
        let ended = reading.join();
        if stop.load(SeqCst) {
            return ended;
        }
        if !whole {
            let report = left.report();
            log_report!(error, report, "a view cannot be built again");
            building.failed.get_or_init(|| report.why.clone());
            return ended.and(Err(report));
        }
        // All is handed out once the queue is empty and no piece of a chunk waits, and applied when
        // that epoch is complete.
        let handed_out = || epochs.dated_again().filter(|_| queue.is_empty());
        let mut last = handed_out();
        while last.is_none() && !stop.load(SeqCst) {
            std::thread::park_timeout(LOOK);
            last = handed_out();
        }
        while last.is_none_or(|it| read.instants.complete() < it) && !stop.load(SeqCst) {
            std::thread::park_timeout(LOOK);
        }
        if !stop.load(SeqCst) {
            building.end();
            let took_ms = crate::clock::since(began).as_millis() as u64;
            tracing::info!(took_ms, records = building.n_records, "the views are whole again");
        }
        ended
    })
}

/// What is still to be read: of each partition where it has come to, and up to where.
struct Left(BTreeMap<(String, u32), (u64, u64)>);

impl Left {
    fn of(lines: Vec<BookLine>) -> Left {
        let some = lines.into_iter().filter(|it| it.next > it.first);
        Left(some.map(|it| ((it.feed, it.partition), (it.first, it.next))).collect())
    }

    fn is_done(&self) -> bool {
        self.0.values().all(|(at, until)| at >= until)
    }

    fn is_done_of(&self, feed: &str) -> bool {
        let mut of = self.0.iter().filter(|it| it.0.0 == feed);
        of.all(|(_, (at, until))| at >= until)
    }

    /// Leaves of the chunk what is to be read; how many offsets that is.
    fn take(&mut self, feed: &str, chunk: &mut Chunk) -> u64 {
        // In no ledger: what is missing was told when it was first missed.
        chunk.gap = Default::default();
        let place = self.0.get_mut(&(feed.to_string(), chunk.partition.1));
        // One that no line knew is read as what comes after T.
        let (at, until) = place.map_or((0, 0), |it| *it);
        let to = chunk.next.min(until);
        cut(chunk, until);
        if let Some(it) = self.0.get_mut(&(feed.to_string(), chunk.partition.1)) {
            it.0 = at.max(to);
        }
        to.saturating_sub(at)
    }

    fn report(&self) -> Report {
        let left = self.0.iter().filter(|(_, (at, until))| at < until);
        let left = left.map(|((feed, partition), (at, until))| {
            format!("feed {feed}, partition {partition}, ended at {at} and was read up to {until}")
        });
        Report {
            code: "store/not-covered",
            what: "cannot build views again from what was read".into(),
            at: vec![],
            why: left.collect::<Vec<_>>().join("; "),
            effect: "they are not served, and no checkpoint holds them; all others go on".into(),
            fix: "put back what is missing and start again, or build them from what is left: \
                  `--rebuild VIEW --accept-incomplete`"
                .into(),
        }
    }
}

/// Sends it, unless told to stop.
fn forward(ahead: &Outlet, mut chunk: Chunk, stop: &AtomicBool) -> bool {
    loop {
        match ahead.send_within(chunk, LOOK) {
            Ok(()) => return true,
            Err(NotTaken::Stopped) => return false,
            Err(NotTaken::Full(_)) if stop.load(SeqCst) => return false,
            Err(NotTaken::Full(it)) => chunk = it,
        }
    }
}

/// Without the records from there on.
fn cut(chunk: &mut Chunk, until: u64) {
    if chunk.next <= until {
        return;
    }
    let keep = usize::try_from(until.saturating_sub(chunk.first)).unwrap_or(usize::MAX);
    match &mut chunk.framing {
        Framing::Records(records) => records.truncate(keep),
        Framing::Sparse(records) => records.retain(|it| (it.1 as usize) < keep),
        Framing::Lines => {
            let ends = memchr::memchr_iter(b'\n', &chunk.bytes);
            let end = ends.take(keep).last().map_or(0, |it| it + 1);
            chunk.bytes.truncate(end);
        }
    }
    chunk.next = until.max(chunk.first);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{BACKFILL, Counts, Gap, RecordAt};

    fn line(partition: u32, first: u64, next: u64) -> BookLine {
        let (feed, identity, counts) = ("f".to_string(), None, Counts::default());
        BookLine { feed, identity, partition, first, next, newest_event: 0, reset: 0, counts }
    }

    fn chunk(partition: u32, first: u64, next: u64, framing: Framing) -> Chunk {
        let (gap, bytes) = (Gap::default(), b"a\nb\nc\n".to_vec());
        let partition = (BACKFILL + 1, partition);
        Chunk { partition, first, next, gap, pass: 0, appended_ms: 0, bytes, framing }
    }

    /// Goal: exactly the records below each line's next are taken, however they are told apart.
    /// Method: chunks over the edge, beyond it, and of a partition that no line knows.
    #[test]
    fn up_to_where_it_was_read() {
        let mut left = Left::of(vec![line(0, 0, 5), line(1, 10, 12), line(2, 4, 4)]);
        let mut first = chunk(0, 0, 3, Framing::Lines);
        assert_eq!((left.take("f", &mut first), first.bytes.len()), (3, 6));
        let mut edge = chunk(0, 3, 6, Framing::Lines);
        assert_eq!(left.take("f", &mut edge), 2);
        assert_eq!((edge.next, edge.bytes.as_slice()), (5, &b"a\nb\n"[..]));
        assert!(!left.is_done());
        assert!(left.report().why.contains("partition 1, ended at 10"));
        let at = |start| RecordAt { start, len: 1, appended_ms: 0, apart: None };
        let sparse = vec![(at(0), 0), (at(2), 4), (at(4), 5)];
        let mut over = chunk(1, 7, 13, Framing::Sparse(sparse));
        assert_eq!(left.take("f", &mut over), 2);
        assert!(matches!(&over.framing, Framing::Sparse(it) if it.len() == 2));
        assert!(left.is_done());
        for mut beyond in [chunk(0, 6, 9, Framing::Lines), chunk(7, 0, 3, Framing::Lines)] {
            assert_eq!(left.take("f", &mut beyond), 0);
            assert_eq!((beyond.next, beyond.bytes.len()), (beyond.first, 0));
        }
    }
}
