//! Dates what is read: hands chunks to the workers with the epoch they belong to, and seals.
//!
//! In: [`Chunk`]s from the feeds' queues. Out: (epoch, chunk) to whichever worker asks next;
//! (sealed epoch, [`Offsets`]) to the ledger.
//!
//! # Meaning
//! The offsets of a sealed epoch are a *prefix*: every record below them is in this epoch or an
//! earlier one, every record from them on is in a later one, for any number of workers.
//! `tests::offsets_of_a_sealed_epoch_are_a_prefix` checks this sentence.
//!
//! # Invariants
//! - A chunk is taken from its queue and dated under one lock, so chunks of a partition have
//!   epochs in the order of their offsets.
//! - A worker applies a chunk only when every worker has opened that chunk's epoch
//!   ([`Epochs::all_opened`]): nobody can still claim an identity for an earlier one, so which
//!   epoch an event falls in does not depend on the threads' luck.
//! - An epoch is never longer open than its limits say; epochs strictly increase.
//!
//! # State
//! The queues (bounded), and one entry per sealed epoch that is not complete yet, at most
//! [`MAX_INCOMPLETE`]: then nothing is handed out, and reading slows.
//!
//! # Why this way
//! Each worker sealing for itself needs one owner per partition, and a file or the embedded log
//! has only one. It is code that runs on the workers, not a thread: an event crosses one queue.

mod guard; // takes chunks apart where records must be told from each other

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use parking_lot::Mutex;

use crate::clock::SteadyClock;
use crate::config;
use crate::messages::{BACKFILL, Chunk, Epoch, Offsets};
pub use guard::{Aside, Careful, Guard, OnTrying};

/// Sealed epochs that may wait for completion before nothing more is handed out: one being
/// computed while the next is being read, and one to spare.
pub const MAX_INCOMPLETE: usize = 2;

/// Where the epoch's time comes from.
pub enum TimeSource {
    /// The wall, steadied.
    Wall(Arc<SteadyClock>),
    /// The newest event time read (replays, back-tests).
    Event,
    /// Ends at exactly this instant (milliseconds).
    Instant(u64),
    /// What somebody says who hands out one chunk an epoch, and says it before the chunk before.
    Told(Arc<AtomicU64>),
}

/// Why nothing is handed out: something behind us must catch up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Too many identities wait for a checkpoint.
    Checkpoints = 1,
    /// The process is above its cap of memory.
    Memory = 2,
    /// What waits for a sink has all of the disk that it may have.
    Outbox = 4,
    /// A model becomes the newest: between two texts, not while one is scored.
    Model = 8,
}

/// What a worker gets when it asks.
#[derive(Debug)]
pub enum Take {
    /// These records belong to this epoch.
    Chunk(Epoch, Chunk),
    /// Nothing to do now: open this epoch, and look again after so long at the latest.
    Nothing(Epoch, Duration),
    /// Nothing will ever come; this epoch is the last to be opened and stays empty.
    Ended(Epoch),
}

/// When epochs close.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// While events come.
    pub period: Duration,
    /// At the latest under backlog.
    pub max_period: Duration,
    /// At the latest after so many records.
    pub max_arrivals: u64,
    /// When nothing comes.
    pub idle_period: Duration,
}

impl From<&config::Engine> for Limits {
    fn from(it: &config::Engine) -> Limits {
        Limits {
            period: it.epoch_period,
            max_period: it.epoch_max_period,
            max_arrivals: it.epoch_max_arrivals,
            idle_period: it.idle_period,
        }
    }
}

/// Called with each sealed epoch, before any worker can complete it.
pub type OnSealed = Box<dyn Fn(Sealed) + Send + Sync>;

/// A sealed epoch: no further record will carry it.
#[derive(Debug)]
pub struct Sealed {
    /// The epoch.
    pub epoch: Epoch,
    /// Where reading stood.
    pub offsets: Offsets,
    /// Records in it.
    pub arrivals: u64,
}

/// The one who dates, shared by the workers.
pub struct Epochs {
    inner: Mutex<Inner>,
    /// The epoch that each worker has opened.
    opened: Box<[AtomicU64]>,
    /// The epoch that is open.
    open: AtomicU64,
    /// Newest event time decoded, microseconds.
    newest_event: AtomicI64,
    bells: Box<[Bell]>,
    /// A bit for each [`Hold`]: nothing is handed out while there is one.
    held: AtomicU8,
    /// Nothing more comes before what there is is complete.
    hurried: AtomicBool,
    limits: Limits,
    on_sealed: OnSealed,
}

#[derive(Default)]
struct Bell {
    parked: AtomicBool,
    ring: Mutex<Option<Ring>>,
}

type Ring = Box<dyn Fn() + Send>;

struct Inner {
    queues: Vec<Queue>,
    /// Where chunks are taken apart.
    guard: Option<Guard>,
    turn: usize,
    open: Epoch,
    opened_at: Instant,
    arrivals: u64,
    offsets: Offsets,
    incomplete: VecDeque<Epoch>,
    time: TimeSource,
    ended: bool,
}

struct Queue {
    chunks: Receiver<Chunk>,
    /// Pieces of a chunk that was taken apart.
    pieces: VecDeque<Chunk>,
    open: bool,
}

impl Epochs {
    /// Opens the first epoch, later than `after`. `from`: where reading begins, per partition.
    pub fn new(
        queues: Vec<Receiver<Chunk>>,
        from: Offsets,
        workers: usize,
        limits: Limits,
        (time, after): (TimeSource, Epoch),
        on_sealed: OnSealed,
    ) -> Arc<Epochs> {
        let first = match &time {
            TimeSource::Wall(clock) => clock.now_ms(),
            TimeSource::Event => 1,
            // Room for as many epochs below the instant as any replay will have.
            TimeSource::Instant(at) => at.saturating_sub(1_000_000_000).max(1),
            TimeSource::Told(at) => at.load(SeqCst),
        };
        let first = first.max(after + 1);
        let now = crate::clock::monotonic();
        let inner = Inner {
            queues: queues.into_iter().map(Queue::new).collect(),
            guard: None,
            turn: 0,
            open: first,
            opened_at: now,
            arrivals: 0,
            offsets: from,
            incomplete: VecDeque::new(),
            time,
            ended: false,
        };
        Arc::new(Epochs {
            inner: Mutex::new(inner),
            opened: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            open: AtomicU64::new(first),
            newest_event: AtomicI64::new(0),
            bells: (0..workers).map(|_| Bell::default()).collect(),
            held: AtomicU8::new(0),
            hurried: AtomicBool::new(false),
            limits,
            on_sealed,
        })
    }

    /// From now on chunks are taken apart by this.
    pub fn guarded(&self, guard: Guard) {
        self.inner.lock().guard = Some(guard);
    }

    /// Whether few records are handed out at a time.
    pub fn is_careful(&self) -> bool {
        self.inner.lock().guard.as_ref().is_some_and(Guard::is_careful)
    }

    /// The next chunk for a worker. `complete`: the last complete epoch.
    pub fn take(&self, complete: Epoch) -> Take {
        let inner = &mut *self.inner.lock();
        while inner.incomplete.front().is_some_and(|it| *it <= complete) {
            inner.incomplete.pop_front();
        }
        if inner.ended {
            return Take::Ended(inner.open);
        }
        let age = crate::clock::since(inner.opened_at);
        let room = inner.incomplete.len() < MAX_INCOMPLETE;
        let full = inner.arrivals >= self.limits.max_arrivals || age >= self.limits.max_period;
        if inner.arrivals > 0 && full && room {
            self.seal(inner);
        }
        let must_close = inner.arrivals >= self.limits.max_arrivals;
        if must_close || (!room && inner.arrivals > 0 && age >= self.limits.max_period) {
            return Take::Nothing(inner.open, Duration::from_millis(1));
        }
        let waits = inner.guard.as_mut().is_some_and(|it| it.waits(inner.arrivals));
        let held = waits || self.is_held();
        if let Some(chunk) = if held { None } else { inner.next_chunk() } {
            // A gap is an arrival too: an epoch must carry the offsets after it.
            inner.arrivals += (chunk.next - chunk.first).max(1);
            if chunk.partition.0 < BACKFILL {
                inner.offsets.insert(chunk.partition, chunk.next);
            }
            if let Some(guard) = &mut inner.guard {
                guard.hands(&chunk, inner.open);
            }
            return Take::Chunk(inner.open, chunk);
        }
        if !held && inner.queues.iter().all(|it| !it.open && it.pieces.is_empty()) {
            if inner.arrivals > 0 {
                if !room {
                    return Take::Nothing(inner.open, Duration::from_millis(1));
                }
                self.seal(inner);
            }
            if !self.decoded_all(inner.open) {
                return Take::Nothing(inner.open, Duration::from_millis(1));
            }
            self.last(inner);
            return Take::Ended(inner.open);
        }
        let period = match inner.arrivals {
            0 => self.limits.idle_period,
            _ if self.hurried.load(SeqCst) => Duration::ZERO,
            _ => self.limits.period,
        };
        if age >= period && room {
            self.seal(inner);
            return Take::Nothing(inner.open, self.limits.period.min(self.limits.idle_period));
        }
        Take::Nothing(inner.open, period.saturating_sub(age).max(Duration::from_micros(200)))
    }

    /// This worker has opened this epoch: it will send nothing earlier any more.
    pub fn opened(&self, worker: usize, epoch: Epoch) {
        self.opened[worker].store(epoch, SeqCst);
        self.ring_others(worker);
    }

    /// Whether every worker has opened this epoch.
    pub fn all_opened(&self, epoch: Epoch) -> bool {
        self.opened.iter().all(|it| it.load(SeqCst) >= epoch)
    }

    /// The epoch that is open now.
    pub fn open(&self) -> Epoch {
        self.open.load(SeqCst)
    }

    /// The newest event time that a worker has decoded, microseconds.
    pub fn decoded(&self, newest: i64) {
        self.newest_event.fetch_max(newest, SeqCst);
    }

    /// The newest event time that was told by [`Epochs::decoded`].
    pub fn newest_event(&self) -> i64 {
        self.newest_event.load(SeqCst)
    }

    /// The newest epoch that a chunk may have been dated with. While reading is held back no chunk
    /// is dated with a later one.
    pub fn dated(&self) -> Epoch {
        self.inner.lock().open
    }

    /// The same of what is read once more; none while a piece of it still waits to be handed out:
    /// its queue may be empty by then.
    pub fn dated_again(&self) -> Option<Epoch> {
        let inner = self.inner.lock();
        let mut pieces = inner.queues.iter().flat_map(|it| &it.pieces);
        (!pieces.any(|it| it.partition.0 >= BACKFILL)).then_some(inner.open)
    }

    /// How a parked worker is woken.
    pub fn bell(&self, worker: usize, ring: Box<dyn Fn() + Send>) {
        *self.bells[worker].ring.lock() = Some(ring);
    }

    /// A worker says that it is about to park; it must ask once more before it does.
    pub fn parking(&self, worker: usize) {
        self.bells[worker].parked.store(true, SeqCst);
    }

    /// A worker is awake.
    pub fn awake(&self, worker: usize) {
        self.bells[worker].parked.store(false, SeqCst);
    }

    /// Holds back what could be handed out, or lets it go on: back-pressure, on purpose.
    pub fn hold(&self, why: Hold, held: bool) {
        let bit = why as u8;
        if held {
            self.held.fetch_or(bit, SeqCst);
        } else if self.held.fetch_and(!bit, SeqCst) == bit {
            self.ring();
        }
    }

    /// From now on (or no more) an epoch closes as soon as nothing waits to be handed out: who reads
    /// waits for its completion.
    pub fn hurry(&self, hurried: bool) {
        self.hurried.store(hurried, SeqCst);
        if hurried {
            self.ring();
        }
    }

    /// Whether reading is held back on purpose.
    pub fn is_held(&self) -> bool {
        self.held.load(SeqCst) != 0
    }

    /// Whether it is held back for this.
    pub fn is_held_for(&self, why: Hold) -> bool {
        self.held.load(SeqCst) & why as u8 != 0
    }

    /// Whether reading is ahead of what comes after it: a queue is half full, and not because it is held
    /// back.
    pub fn lags(&self) -> bool {
        !self.is_held() && self.inner.lock().queues.iter().any(Queue::is_half_full)
    }

    /// Whether something could be handed out at once.
    pub fn waiting(&self) -> bool {
        if self.is_held() {
            return false;
        }
        self.inner.lock().queues.iter().any(Queue::has_some)
    }

    /// Wakes one parked worker: there is something to do.
    pub fn ring(&self) {
        for bell in &self.bells {
            if bell.ring_if_parked() {
                return;
            }
        }
    }

    fn ring_others(&self, worker: usize) {
        for (_, bell) in self.bells.iter().enumerate().filter(|it| it.0 != worker) {
            bell.ring_if_parked();
        }
    }

    /// Every worker has opened the newest epoch, so everything handed out has been decoded.
    fn decoded_all(&self, open: Epoch) -> bool {
        self.all_opened(open)
    }

    fn seal(&self, inner: &mut Inner) {
        let sealed = inner.open;
        inner.open = self.next_epoch(inner);
        inner.opened_at = crate::clock::monotonic();
        if inner.arrivals > 0 {
            inner.incomplete.push_back(sealed);
            let (offsets, arrivals) = (inner.offsets.clone(), inner.arrivals);
            (self.on_sealed)(Sealed { epoch: sealed, offsets, arrivals });
        }
        inner.arrivals = 0;
        self.open.store(inner.open, SeqCst);
        for bell in &self.bells {
            bell.ring_if_parked();
        }
    }

    /// Opens the epoch after the last one, so that the last one can complete.
    fn last(&self, inner: &mut Inner) {
        inner.open = match &inner.time {
            TimeSource::Wall(_) | TimeSource::Told(_) => self.next_epoch(inner),
            TimeSource::Event => {
                let newest = self.newest_event.load(SeqCst).max(0).cast_unsigned() / 1_000;
                inner.open.max(newest + 1)
            }
            TimeSource::Instant(at) => inner.open.max(at + 1),
        };
        inner.ended = true;
        self.open.store(inner.open, SeqCst);
    }

    fn next_epoch(&self, inner: &mut Inner) -> Epoch {
        let now = match &inner.time {
            TimeSource::Wall(clock) => clock.now_ms(),
            TimeSource::Event => self.newest_event.load(SeqCst).max(0).cast_unsigned() / 1_000,
            TimeSource::Instant(_) => 0,
            TimeSource::Told(at) => at.load(SeqCst),
        };
        now.max(inner.open + 1)
    }
}

impl Inner {
    /// One chunk, the queues in turn, so that a busy feed does not starve the others.
    fn next_chunk(&mut self) -> Option<Chunk> {
        for _ in 0..self.queues.len() {
            let at = self.turn % self.queues.len();
            self.turn = self.turn.wrapping_add(1);
            let queue = &mut self.queues[at];
            if let Some(piece) = queue.pieces.pop_front() {
                return Some(piece);
            }
            if !queue.open {
                continue;
            }
            match queue.chunks.try_recv() {
                Ok(chunk) => match &self.guard {
                    None => return Some(chunk),
                    Some(guard) => {
                        queue.pieces = guard.pieces(chunk);
                        return queue.pieces.pop_front();
                    }
                },
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => queue.open = false,
            }
        }
        None
    }
}

impl Queue {
    fn new(chunks: Receiver<Chunk>) -> Queue {
        Queue { chunks, pieces: VecDeque::new(), open: true }
    }

    fn is_half_full(&self) -> bool {
        self.chunks.capacity().is_some_and(|it| self.chunks.len() * 2 >= it)
    }

    fn has_some(&self) -> bool {
        !self.pieces.is_empty() || !self.chunks.is_empty()
    }
}

impl Bell {
    fn ring_if_parked(&self) -> bool {
        if !self.parked.swap(false, SeqCst) {
            return false;
        }
        if let Some(ring) = &*self.ring.lock() {
            ring();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Framing, Gap, Partition};

    fn chunk(partition: Partition, first: u64, next: u64) -> Chunk {
        let framing = Framing::Lines;
        let (gap, bytes) = (Gap::default(), Vec::new());
        Chunk { partition, first, next, gap, pass: 0, appended_ms: 0, bytes, framing }
    }

    fn limits(max_arrivals: u64) -> Limits {
        Limits {
            period: Duration::ZERO,
            max_period: Duration::from_millis(5),
            max_arrivals,
            idle_period: Duration::from_millis(1),
        }
    }

    /// Goal: at every sealed epoch, what has been applied up to it is exactly the records below
    /// its offsets, for any number of workers. Method: three threads play workers over two
    /// partitions and note what they apply in which epoch; then each seal is held against that.
    #[test]
    fn offsets_of_a_sealed_epoch_are_a_prefix() {
        for workers in [1, 3] {
            let partitions: [Partition; 2] = [(0, 0), (1, 4)];
            let mut queues = Vec::new();
            for partition in partitions {
                let (send, receive) = crossbeam_channel::unbounded();
                let mut first = 0;
                for n in 0..500_u64 {
                    let next = first + 1 + n * 7 % 40;
                    send.send(chunk(partition, first, next)).unwrap();
                    first = next;
                }
                queues.push(receive);
            }
            let sealed = Arc::new(Mutex::new(Vec::new()));
            let seals = Arc::clone(&sealed);
            let epochs = Epochs::new(
                queues,
                Offsets::from([(partitions[0], 0), (partitions[1], 0)]),
                workers,
                limits(100),
                (TimeSource::Wall(SteadyClock::start(Box::new(|_| {}))), 0),
                Box::new(move |it| seals.lock().push(it)),
            );
            let applied: Mutex<Vec<(Epoch, Partition, u64, u64)>> = Mutex::default();
            std::thread::scope(|scope| {
                for me in 0..workers {
                    let (epochs, applied) = (&epochs, &applied);
                    scope.spawn(move || {
                        loop {
                            let complete =
                                epochs.opened.iter().map(|it| it.load(SeqCst)).min().unwrap_or(0);
                            match epochs.take(complete.saturating_sub(1)) {
                                Take::Chunk(epoch, it) => {
                                    epochs.opened(me, epoch);
                                    while !epochs.all_opened(epoch) {
                                        std::thread::yield_now();
                                    }
                                    applied.lock().push((epoch, it.partition, it.first, it.next));
                                }
                                Take::Nothing(epoch, _) => {
                                    epochs.opened(me, epoch);
                                    std::thread::yield_now();
                                }
                                Take::Ended(epoch) => {
                                    epochs.opened(me, epoch);
                                    break;
                                }
                            }
                        }
                    });
                }
            });
            let applied = applied.into_inner();
            let sealed = sealed.lock();
            assert!(sealed.len() > 10, "{} epochs were sealed", sealed.len());
            assert!(sealed.windows(2).all(|it| it[0].epoch < it[1].epoch));
            for seal in sealed.iter() {
                for (partition, next) in &seal.offsets {
                    let of = applied.iter().filter(|it| it.1 == *partition);
                    let (before, after): (Vec<&(Epoch, Partition, u64, u64)>, Vec<_>) =
                        of.partition(|it| it.0 <= seal.epoch);
                    assert_eq!(before.iter().map(|it| it.3 - it.2).sum::<u64>(), *next);
                    assert!(before.iter().all(|it| it.3 <= *next));
                    assert!(after.iter().all(|it| it.2 >= *next));
                }
            }
        }
    }

    #[test]
    fn nothing_is_handed_out_while_too_much_is_incomplete() {
        let (send, receive) = crossbeam_channel::unbounded();
        for n in 0..10 {
            send.send(chunk((0, 0), n, n + 1)).unwrap();
        }
        let from = Offsets::from([((0, 0), 0)]);
        let quiet: OnSealed = Box::new(|_| {});
        let time = TimeSource::Instant(5_000_000_000_000);
        let epochs = Epochs::new(vec![receive], from, 1, limits(1), (time, 0), quiet);
        let mut handed = 0;
        while let Take::Chunk(..) = epochs.take(0) {
            handed += 1;
        }
        assert_eq!(handed, MAX_INCOMPLETE + 1);
        assert!(matches!(epochs.take(epochs.open() - 1), Take::Chunk(..)));
    }

    /// Goal: what is read once more is handed out when its last piece is, not when its queue is
    /// empty. Method: one chunk in two pieces.
    #[test]
    fn a_piece_that_waits_is_not_handed_out() {
        let (send, receive) = crossbeam_channel::unbounded();
        let again = (BACKFILL + 1, 0);
        send.send(Chunk { bytes: b"a\nb\n".into(), ..chunk(again, 0, 2) }).unwrap();
        let quiet: OnSealed = Box::new(|_| {});
        let time = TimeSource::Instant(5_000_000_000_000);
        let epochs = Epochs::new(vec![receive], Offsets::new(), 1, limits(1), (time, 0), quiet);
        let durable = Arc::new(AtomicU64::new(u64::MAX));
        let careful = Careful { limit: 1, until: None, on_trying: Box::new(|_, _, _| {}), durable };
        epochs.guarded(Guard::new(Box::new(|_| vec![]), Some(careful)));
        let Take::Chunk(first, piece) = epochs.take(0) else { panic!("nothing") };
        assert_eq!((piece.next, send.is_empty(), epochs.dated_again()), (1, true, None));
        let Take::Chunk(second, piece) = epochs.take(0) else { panic!("nothing") };
        assert!(second > first && piece.next == 2);
        assert_eq!(epochs.dated_again(), Some(second));
    }
}
