//! Reads: the partitions in turn, by the batch, into chunks.
//!
//! In: a consumer and partitions, by [`Order`]. Out: chunks to the [`Outlet`].
//!
//! # Invariants
//! - A chunk that does not fit into the outlet waits here, and no partition is read meanwhile: the
//!   records stay in librdkafka's bounded queues, then in the broker. Nothing is paused, so nothing
//!   is fetched twice.
//! - The next offset of a partition is ours ([`Building::next`]), never librdkafka's.
//! - A new consumer goes on at exactly that offset.
//! - No record of another topic under the same name is handed over: before it reads there, the
//!   client's log has said so, and the log is heard before records are handed over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::Takes;
use super::batch::{Read, Stamp, events_waiting};
use super::chunks::{Building, appended_ms, taken};
use super::clients::Ear;
use super::damage::Search;
use super::shared::{Begin, Order, Shared};
use super::trouble::{Kind, kind};
use super::work::{Work, list, list_at};
use crate::clock;
use crate::messages::{Chunk, MAX_CHUNK_BYTES, NotTaken, Outlet};

/// Most records of one turn of a partition.
const BATCH: usize = 2_048;
/// Longest sleep when nothing comes; records and orders ring.
const IDLE: Duration = Duration::from_millis(50);
/// Longest wait for room before orders are looked at.
const ROOM: Duration = Duration::from_millis(50);
/// Events taken at once, where more can wait until the next time.
const AT_ONCE: usize = 8;
/// How often librdkafka's errors and statistics are asked for.
const EVENTS: Duration = Duration::from_millis(20);

pub(super) struct Reader {
    pub(super) orders: Receiver<Order>,
    pub(super) outlet: Outlet,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) shared: Arc<Shared>,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) takes: Takes,
    pub(super) max_event_bytes: usize,
    pub(super) started: Instant,
}

/// Why a turn ended early.
struct Ended;

impl Reader {
    /// Reads until told to stop, or (if there is an end) to it.
    pub(super) fn run(self) {
        self.shared.i_read();
        let mut it =
            Turns { it: &self, works: vec![], consumer: None, pending: VecDeque::new(), n_ids: 0 };
        it.run();
        self.shared.end();
    }
}

pub(super) struct Turns<'a> {
    it: &'a Reader,
    pub(super) works: Vec<Work>,
    consumer: Option<Arc<BaseConsumer<Ear>>>,
    /// Chunks that the outlet had no room for; at most those of one turn of one partition.
    pub(super) pending: VecDeque<Chunk>,
    /// How many ids of topics were heard when they were last looked at.
    n_ids: u64,
}

impl Turns<'_> {
    fn run(&mut self) {
        let (mut turn, mut all, mut asked) = (0_usize, false, clock::monotonic());
        while !self.it.stop.load(Relaxed) && !self.it.shared.ended.load(Relaxed) {
            match self.orders(&mut all) {
                Ok(()) => {}
                Err(Ended) => return,
            }
            if clock::since(asked) >= EVENTS {
                self.events(AT_ONCE);
                asked = clock::monotonic();
            }
            match self.hand_over() {
                Ok(true) => {}
                Ok(false) => continue,
                Err(Ended) => return,
            }
            let mut got = 0;
            turn = turn.wrapping_add(1);
            for n in 0..self.works.len() {
                let at = turn.wrapping_add(n) % self.works.len();
                got += self.read(at);
                if !self.pending.is_empty() {
                    match self.hand_over() {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(Ended) => return,
                    }
                }
            }
            if all && self.pending.is_empty() && self.works.iter().all(Work::is_done) {
                return;
            }
            if got == 0 && self.pending.is_empty() {
                std::thread::park_timeout(IDLE);
            }
        }
    }

    fn orders(&mut self, all: &mut bool) -> Result<(), Ended> {
        loop {
            match self.it.orders.try_recv() {
                Ok(Order::Open(consumer)) => self.open(consumer),
                Ok(Order::Close) => self.close(),
                Ok(Order::Take(begins)) => self.take(begins),
                Ok(Order::Again(partition, next)) => {
                    let found = self.works.iter().position(|it| it.lane.partition() == partition);
                    if let Some(at) = found {
                        self.works[at].building.lose_to(next);
                        self.works[at].note();
                        self.works[at].search = None;
                        self.again(at);
                    }
                }
                Ok(Order::Leave(feed)) => self.leave(feed),
                Ok(Order::All) => *all = true,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Ended),
            }
        }
    }

    fn close(&mut self) {
        for work in &mut self.works {
            work.queue = None;
        }
        self.consumer = None;
    }

    fn open(&mut self, consumer: Arc<BaseConsumer<Ear>>) {
        self.close();
        self.consumer = Some(Arc::clone(&consumer));
        for work in &mut self.works {
            // What it looked for is met again.
            work.search = None;
            work.detach(&consumer, &self.it.shared);
        }
        let all: Vec<&Work> = self.works.iter().filter(|it| !it.is_done()).collect();
        self.assigned(list(&all).and_then(|it| consumer.assign(&it)));
    }

    fn take(&mut self, begins: Vec<Begin>) {
        let from = self.works.len();
        for Begin { lane, first, until } in begins {
            let mut building = Building::new(lane.partition(), first);
            building.lose_to(lane.next.load(SeqCst));
            // Nothing yet, but the ledger is to know where it begins.
            self.pending.push_back(building.chunk());
            let mut work =
                Work { queue: None, lane, building, until, record_bytes: 256, search: None };
            if let Some(consumer) = &self.consumer {
                work.detach(consumer, &self.it.shared);
            }
            self.works.push(work);
        }
        if let Some(consumer) = &self.consumer {
            let new: Vec<&Work> = self.works[from..].iter().collect();
            self.assigned(list(&new).and_then(|it| consumer.incremental_assign(&it)));
        }
    }

    /// A partition is read from its next offset, whatever was asked for before.
    pub(super) fn again(&mut self, at: usize) {
        self.ask_at(at, self.works[at].building.next());
    }

    /// A partition is asked at this offset.
    pub(super) fn ask_at(&mut self, at: usize, offset: u64) {
        let Some(consumer) = self.consumer.clone() else { return };
        let work = &mut self.works[at];
        work.queue = None;
        let left = list(&[&*work]).and_then(|it| consumer.incremental_unassign(&it));
        work.detach(&consumer, &self.it.shared);
        let taken = list_at(work, offset).and_then(|it| consumer.incremental_assign(&it));
        self.assigned(left.and(taken));
    }

    fn leave(&mut self, feed: u16) {
        let (gone, kept): (Vec<Work>, Vec<Work>) =
            std::mem::take(&mut self.works).into_iter().partition(|it| it.lane.topic.feed == feed);
        self.works = kept;
        if let Some(consumer) = &self.consumer {
            let gone: Vec<&Work> = gone.iter().collect();
            self.assigned(list(&gone).and_then(|it| consumer.incremental_unassign(&it)));
        }
    }

    /// A consumer that does not take its partitions is replaced.
    fn assigned(&self, result: KafkaResult<()>) {
        if let Err(why) = result {
            tracing::warn!(%why, "a Kafka consumer did not take its partitions");
            self.broken();
        }
    }

    fn broken(&self) {
        self.it.shared.broken.store(true, SeqCst);
        self.it.shared.ring_control();
    }

    /// Errors and statistics go to the ear; a record that comes this way was not detached.
    /// (That nothing is returned does not mean that nothing was there.)
    fn events(&self, n: usize) {
        let Some(consumer) = &self.consumer else { return };
        for _ in 0..n {
            match consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(record)) => {
                    use rdkafka::message::Message as _;
                    tracing::warn!(
                        topic = record.topic(),
                        partition = record.partition(),
                        offset = record.offset(),
                        "a record came by another way than its partition's; a new consumer reads it"
                    );
                    self.broken();
                    return;
                }
                Some(Err(KafkaError::MessageConsumptionFatal(_))) => self.broken(),
                Some(Err(_)) => {}
            }
        }
    }

    /// Hears all that the client has said; what it has in its log about a topic was said before a
    /// record of it came.
    fn hear_ids(&mut self) {
        let Some(consumer) = &self.consumer else { return };
        self.events(events_waiting(consumer));
        let heard = &self.it.shared.heard;
        let n = heard.n_ids.load(SeqCst);
        if std::mem::replace(&mut self.n_ids, n) == n {
            return;
        }
        for work in &self.works {
            let topic = &work.lane.topic;
            if let Some(id) = heard.id(&topic.name).filter(|it| *it != topic.id) {
                topic.another.get_or_init(|| id);
                self.it.shared.ring_control();
            }
        }
    }

    /// Whether everything that waited is handed over.
    fn hand_over(&mut self) -> Result<bool, Ended> {
        while let Some(chunk) = self.pending.pop_front() {
            match self.it.outlet.send_within(chunk, ROOM) {
                Ok(()) => {}
                Err(NotTaken::Full(chunk)) => {
                    self.pending.push_front(chunk);
                    let now = clock::since(self.it.started).as_millis() as u64;
                    self.it.shared.full_at_ms.store(now.max(1), SeqCst);
                    self.it.shared.waits.fetch_add(1, Relaxed);
                    return Ok(false);
                }
                Err(NotTaken::Stopped) => return Err(Ended),
            }
        }
        Ok(true)
    }

    /// A turn of one partition. How much its queue held.
    fn read(&mut self, at: usize) -> usize {
        let work = &mut self.works[at];
        if work.is_done() || work.is_another() || work.lane.held.load(Relaxed) {
            return 0;
        }
        if work.search.is_some() {
            return self.search(at);
        }
        let Work { queue, lane, building, until, record_bytes, search } = work;
        let Some(queue) = queue else { return 0 };
        let max = (MAX_CHUNK_BYTES / (*record_bytes).max(1)).clamp(16, BATCH);
        let read_ms = (self.it.now_ms)();
        let (mut n_bytes, mut n_records, mut stamp_ms, mut repeated) = (0, 0, 0, 0_u64);
        let (pending, shared) = (&mut self.pending, &self.it.shared);
        let (takes, max_event_bytes) = (self.it.takes, self.it.max_event_bytes);
        let got = queue.read(max, |read| match read {
            // What follows damage in the same answer is asked for again.
            _ if search.is_some() => {}
            Read::Record(record) => {
                let Ok(offset) = u64::try_from(record.offset) else { return };
                if until.is_some_and(|it| offset >= it) {
                    building.pass_to(until.unwrap_or(0));
                    return;
                }
                if building.is_full() || building.too_far(offset) {
                    pending.push_back(building.chunk());
                }
                let stamp = record.stamp();
                if let Stamp::Appended(at) | Stamp::Created(at) = stamp {
                    stamp_ms = at;
                }
                let bytes = taken(&record, &lane.topic.name, lane.number, takes, max_event_bytes);
                if !building.record(offset, &bytes, appended_ms(stamp, read_ms)) {
                    repeated += 1;
                }
                n_records += 1;
                n_bytes += record.payload.map_or(0, <[u8]>::len);
            }
            Read::End(offset) => {
                let end = u64::try_from(offset).unwrap_or(0);
                building.pass_to(until.map_or(end, |it| it.min(end)));
            }
            Read::Trouble(code, offset, words) => {
                shared.heard.error(code, &words);
                match (code, kind(code)) {
                    (Code::AutoOffsetReset, _) => {
                        lane.out_of_range.store(true, SeqCst);
                        shared.ring_control();
                    }
                    (_, Kind::Damage) => *search = Some(Search::from(building.next())),
                    (_, Kind::Authorisation) => {
                        lane.refused_at.store(building.next() + 1, SeqCst);
                    }
                    _ => tracing::debug!(?code, offset, words, "an error about a partition"),
                }
            }
        });
        self.hear_ids();
        let work = &mut self.works[at];
        if work.is_another() {
            // Nothing waited before this turn.
            self.pending.clear();
            return 0;
        }
        let Work { lane, building, record_bytes, .. } = work;
        if repeated > 0 {
            tracing::warn!(
                repeated,
                feed = lane.topic.feed_name,
                "records came again; they were left out"
            );
        }
        if let Some(average) = n_bytes.checked_div(n_records) {
            *record_bytes = average.max(1);
            lane.bytes.fetch_add(n_bytes as u64, Relaxed);
            if stamp_ms > 0 {
                lane.stamp_ms.store(stamp_ms, Relaxed);
            }
        }
        if building.has_something() {
            self.pending.push_back(building.chunk());
        }
        work.note();
        match got {
            Ok(n) => n,
            Err(code) => {
                self.it.shared.heard.error(code, "a batch could not be read");
                0
            }
        }
    }
}
