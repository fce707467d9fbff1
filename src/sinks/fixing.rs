//! Fixes batches: what waits becomes immutable, durable, and numbered, before anyone sees it.
//!
//! ```text
//!  gathered blocks up to the durable checkpoint ─┐
//!  rows that wait, read from the map at a pin ───┼▶ flush: a batch per stream, then a mark
//!                                                └▶ rows and the book in one append ─▶ queue
//! ```
//!
//! # Invariants
//! - A batch is handed over only once the book that names it is durable; a start makes the same
//!   bytes of the same book.
//! - Of everything in a flush no epoch is above the newest durable checkpoint.
//! - The rows of a flush are read at the pin of a checkpoint, where the newest row is that of the
//!   checkpoint; at another pin (nothing has been read for a while, or a sink catches up) a row that
//!   is newer than the checkpoint is left out, and waits further behind. The book says from which
//!   epoch on rows were, so that they wait again if a crash takes those touches back.
//!
//! # State
//! One flush per sink: [`FLUSH_BYTES`], and one batch more.

mod compacting; // rows of relations that wait, put together
mod taking; // what waits, taken into a flush

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use schemas::reading::Pin;

use super::batch::{Batch, Mark, Part, Stream};
use super::book::{self, Book, Cursor, EventsTold, Fixed, Gathered, Source, layout};
use super::breaker::{Kept, State};
use super::coding::{Items, Packed};
use super::lane::{Begun, Lane, QUEUE_BYTES, batches_most};
use super::log::{Follow, unreadable};
use super::opening::Opened;
use super::outbox::Outbox;
use super::waiting::Waiting;
use crate::clock;
use crate::messages::Epoch;
use crate::report::{Report, log_report};
use taking::items;

/// Bytes of one flush, about.
const FLUSH_BYTES: usize = 32 << 20;
/// While undo is above this, rows are read no further at this pin.
pub(super) const UNDO_STOP_BYTES: u64 = 32 << 20;
/// While reading lags a flush waits so many times as long: what a sink takes of the machine then is
/// taken from reading, and rows that wait are replaced by newer ones meanwhile.
const LAGGING_WAITS: u32 = 10;
/// Unless so much of its outbox is full.
const LAGGING_SHARE: u64 = 4;

/// One sink's, in the hands of the thread that fixes.
pub(super) struct Desk {
    lane: Arc<Lane>,
    number: usize,
    book: Book,
    /// The book on the disk is older.
    unwritten: bool,
    follow: Follow,
    /// Everything begins anew with the batch of this number; whether that is durable.
    anew: (u64, bool),
    /// Batches handed over and not done: number, bytes, flush.
    in_flight: Vec<(u64, usize, u64)>,
    /// Number of the newest flush.
    flushes: u64,
    flushed: Instant,
    /// The same of those at a pin.
    rows_flushed: Instant,
    failing: bool,
    /// Bytes that were left when rows in the log were last put together.
    compacted: u64,
}

/// A flush in the making.
#[derive(Default)]
struct Flush {
    batches: Vec<Batch>,
    /// Of `batches`, where the items lie; `Own` counts blocks of this flush from 0.
    sources: Vec<Source>,
    rows: Vec<Vec<u8>>,
    bytes: usize,
}

/// A flush that is made and not yet durable.
pub(super) struct Prepared {
    /// As it will be.
    book: Book,
    ready: Vec<(Batch, Source)>,
    rows: Vec<Vec<u8>>,
    unread: u64,
}

impl Desk {
    /// Hands over what had been fixed before.
    pub(super) fn new(opened: &Opened, number: usize) -> Result<Desk, Report> {
        let mut desk = Desk {
            lane: Arc::clone(&opened.lane),
            number,
            book: opened.book.clone(),
            unwritten: true,
            follow: Follow::default(),
            anew: (0, true),
            in_flight: Vec::new(),
            flushes: 0,
            flushed: clock::monotonic(),
            rows_flushed: clock::monotonic(),
            failing: false,
            compacted: 0,
        };
        desk.settle();
        let again: Vec<Batch> =
            desk.book.fixed.iter().map(|it| desk.again(it)).collect::<Result<_, _>>()?;
        again.into_iter().for_each(|it| desk.hand_over(it));
        Ok(desk)
    }

    /// Views that have no cursor yet begin at the first row.
    fn settle(&mut self) {
        for stream in &self.lane.declared.streams {
            let view = stream.view();
            let waits = self.lane.shared.lock().waiting.contains_key(view);
            let name = stream.to_string();
            if matches!(stream, Stream::Rows(_)) && waits && !self.book.rows.contains_key(view) {
                self.book.rows.insert(view.into(), Cursor::default());
                self.book.catching.push(view.into());
                self.book.streams.insert(name, layout(stream));
            }
        }
    }

    /// A batch that was fixed before, made once more of what lies in the log.
    fn again(&self, fixed: &Fixed) -> Result<Batch, Report> {
        let lane = &self.lane;
        let cannot = |why: &str| unreadable(&lane.log.folder, why);
        let stream = lane.declared.streams.iter().find(|it| it.to_string() == fixed.stream);
        let stream = *stream.ok_or_else(|| not_declared(&lane.name, &fixed.stream))?;
        let mut bytes = Vec::new();
        match fixed.of {
            Source::Gathered(from, upto) => lane.log.each(from, upto, |at, tag, payload| {
                if tag == book::GATHERED && !self.book.is_void(at) {
                    let read = Gathered::read(payload).ok_or_else(|| cannot("a head"))?;
                    if read.is_of(&stream) {
                        bytes.extend_from_slice(read.items);
                    }
                }
                Ok(())
            })?,
            Source::Own(position) => lane.log.each(position, position + 1, |_, _, payload| {
                bytes.extend_from_slice(payload);
                Ok(())
            })?,
            Source::Mark(mark) => {
                let mut packed = Packed::default();
                packed.mark(&mark);
                bytes = packed.take();
            }
        }
        let items = items(&stream, bytes).ok_or_else(|| cannot("its items"))?;
        Ok(self.batch(fixed.seq, stream, (fixed.incarnation, fixed.upto), items))
    }

    fn batch(
        &self,
        seq: u64,
        stream: Stream,
        (incarnation, upto): (u64, Epoch),
        items: Items,
    ) -> Batch {
        let id = format!("{:016x}-{incarnation}-{seq}", self.lane.log.folder.log_id());
        Batch { id, seq, stream, incarnation, upto, items, part: Part::default() }
    }

    fn hand_over(&mut self, batch: Batch) {
        self.in_flight.push((batch.seq, batch.items.bytes().len(), self.flushes));
        if let Err(why) = self.lane.queue.try_send(batch) {
            // There is room for it by the count above, unless its sink has ended.
            tracing::debug!(sink = self.lane.name, %why, "a batch stays in the outbox");
        }
    }

    /// Takes in what others have told.
    pub(super) fn look(&mut self, outbox: &Outbox) {
        let (done, begun, breaker) = {
            let mut shared = self.lane.shared.lock();
            let done = std::mem::take(&mut shared.done);
            let durable = outbox.durable.load(SeqCst);
            let (begun, later) =
                std::mem::take(&mut shared.begun).into_iter().partition(|it| it.at <= durable);
            shared.begun = later;
            (done, begun, shared.breaker.take())
        };
        for (seq, items) in done {
            self.in_flight.retain(|it| it.0 != seq);
            self.book.fixed.retain(|it| it.seq != seq);
            self.book.delivered.0 += 1;
            self.book.delivered.1 += items;
            self.unwritten = true;
        }
        let begun: Vec<Begun> = begun;
        for Begun { streams, position, .. } in begun {
            streams.iter().for_each(|it| self.book.begun(it));
            self.book.beginning = Some(self.book.beginning.unwrap_or(0).max(position));
            self.unwritten = true;
        }
        // Not each probe of one that stays open: a dead receiver must not fill a disk.
        let news = |it: &Kept| {
            it.state != State::HalfOpen
                && (it.state, &it.code) != (self.book.breaker.state, &self.book.breaker.code)
        };
        if let Some(breaker) = breaker.filter(news) {
            self.book.breaker = breaker;
            self.unwritten = true;
        }
        if self.lane.anew.swap(false, SeqCst) {
            self.book.forget(self.lane.log.next());
            self.settle();
            for waiting in self.lane.shared.lock().waiting.values_mut() {
                waiting.lose();
            }
            outbox.begin_anew(self.number);
            self.anew = (self.book.next, false);
            self.unwritten = true;
        }
        self.pass_over();
        let mut shared = self.lane.shared.lock();
        shared.told.delivered = self.book.delivered;
        shared.told.in_flight = self.in_flight.len();
        shared.told.fixing = false;
        shared.told.marked = self.book.marked;
        shared.told.whole = self.book.is_whole();
        shared.told.events = self.book.events.as_ref().map(EventsTold::counted);
    }

    /// Where what lies below a position is to leave the disk, and nothing of it waits, it is not
    /// needed any more.
    fn pass_over(&mut self) {
        let leaves = self.lane.leaves.load(SeqCst);
        if leaves <= self.book.read || self.lane.unread() > 0 {
            return;
        }
        let mut waits = false;
        let seen = self.lane.log.each(self.book.read, leaves, |at, tag, _| {
            waits |= tag == book::GATHERED && !self.book.is_void(at);
            Ok(())
        });
        match seen {
            Ok(()) if !waits => {
                self.book.read = leaves;
                self.unwritten = true;
            }
            Ok(()) => {}
            Err(report) => self.failed(&report),
        }
    }

    /// Whether a flush is due; `lags`: reading has more than can be taken in; `pinned`: rows that wait
    /// can be read. Rows have a clock of their own: a pin comes when a checkpoint does, and a flush
    /// without one must not put them off.
    pub(super) fn is_due(&self, durable: Epoch, lags: bool, pinned: bool) -> bool {
        let lane = &self.lane;
        let bytes: usize = self.in_flight.iter().map(|it| it.1).sum();
        let streams = lane.declared.streams.len();
        let room = self.in_flight.len() + streams < batches_most(streams);
        // One flush is made while another is being delivered; what is fixed sooner is old sooner.
        let room =
            room && bytes < QUEUE_BYTES && self.in_flight.iter().all(|it| it.2 == self.flushes);
        let fails = lane.shared.lock().told.breaker.failures > 0;
        let room = (room && !fails) || self.in_flight.is_empty();
        let limits = &lane.declared.limits;
        let unread = lane.unread();
        let rows = pinned && self.wants_pin();
        let (much, wait) = if lags {
            (unread >= lane.max_bytes / LAGGING_SHARE, limits.wait * LAGGING_WAITS)
        } else {
            let many = rows && lane.n_waiting() >= limits.rows;
            (unread >= limits.bytes as u64 || many, limits.wait)
        };
        let is_time = |since: Instant| much || clock::since(since) >= wait;
        let gathered = self.has_gathered(durable) && is_time(self.flushed);
        room && (gathered || rows && is_time(self.rows_flushed))
    }

    fn has_gathered(&self, durable: Epoch) -> bool {
        let marks = self.lane.takes(&Stream::Marks);
        self.lane.unread() > 0 || (marks && self.book.wants_mark(durable))
    }

    /// Whether rows wait: then a pin is wanted.
    pub(super) fn wants_pin(&self) -> bool {
        self.lane.shared.lock().waiting.values().any(|it| !it.is_empty())
    }

    /// Makes batches of what there is, up to the limits. Nothing is written yet: an epoch is held
    /// meanwhile.
    pub(super) fn prepare(
        &mut self,
        outbox: &Outbox,
        pin: Option<&Pin>,
        durable: Epoch,
    ) -> Option<Prepared> {
        match self.try_prepare(outbox, pin, durable) {
            Ok(it) => it,
            Err(report) => {
                self.failed(&report);
                None
            }
        }
    }

    /// Up to which epoch every row was taken, but those of this stream.
    fn all_taken(&self, book: &Book, but: &Stream) -> Epoch {
        let mut shared = self.lane.shared.lock();
        let others = shared.waiting.iter_mut().filter(|it| *it.0 != but.view());
        let upto = others.map(|(view, it)| match it.is_lost() {
            // What waits is behind the cursor.
            true => book.rows.get(*view).map_or(0, |it| it.epoch.saturating_sub(1)),
            false => it.first().map_or(Epoch::MAX, |it| it.epoch.saturating_sub(1)),
        });
        upto.min().unwrap_or(Epoch::MAX)
    }

    /// Fixes what was prepared, and hands it over.
    pub(super) fn fix(&mut self, outbox: &Outbox, prepared: Prepared) {
        match self.try_fix(outbox, prepared) {
            Ok(()) if self.failing => {
                self.failing = false;
                let sink = &self.lane.name;
                tracing::warn!(code = "sinks/outbox", sink, "batches are fixed again");
            }
            Ok(()) => {}
            Err(report) => self.failed(&report),
        }
    }

    fn failed(&mut self, report: &Report) {
        // What was taken from the places is found again by looking.
        self.lane.shared.lock().waiting.values_mut().for_each(Waiting::lose);
        self.follow = Follow::default();
        if !std::mem::replace(&mut self.failing, true) {
            log_report!(error, *report, "batches of a sink cannot be fixed");
        }
    }

    fn try_prepare(
        &mut self,
        outbox: &Outbox,
        pin: Option<&Pin>,
        durable: Epoch,
    ) -> Result<Option<Prepared>, Report> {
        // From here on what is taken waits nowhere, until it is in flight.
        self.lane.shared.lock().told.fixing = true;
        let mut book = self.book.clone();
        book.durable(durable);
        let mut flush = Flush::default();
        let (covered, unread) = self.take_gathered(&mut book, &mut flush, durable)?;
        book.covered = book.covered.max(covered);
        if let Some(pin) = pin {
            let streams = self.lane.declared.streams.clone();
            let rows = streams.iter().filter(|it| matches!(it, Stream::Rows(_)));
            let (behind, before): (Vec<_>, Vec<_>) = rows.partition(|it| it.is_behind());
            for stream in before {
                if flush.bytes < FLUSH_BYTES {
                    self.take_rows(outbox, &mut book, &mut flush, stream, (pin, durable))?;
                }
            }
            // Who was erased: behind all that was touched before.
            for stream in behind {
                let upto = self.all_taken(&book, stream).min(covered).min(durable);
                self.take_rows(outbox, &mut book, &mut flush, stream, (pin, upto))?;
            }
        }
        // In the order in which the sink wants them, whatever they were made of.
        let place = |it: &Batch| {
            let place = self.lane.declared.streams.iter().position(|s| *s == it.stream);
            (it.stream.is_behind(), place)
        };
        let mut made: Vec<(Batch, Source)> = flush.batches.into_iter().zip(flush.sources).collect();
        made.sort_by_key(|it| place(&it.0));
        if self.lane.takes(&Stream::Marks) && book.wants_mark(covered) {
            let mark = Mark { epoch: covered, forked_at: book.forked_at, whole: book.is_whole() };
            let mut packed = Packed::default();
            packed.mark(&mark);
            let items = items(&Stream::Marks, packed.take()).unwrap_or_default();
            let of = (book.incarnation, covered);
            made.push((self.batch(0, Stream::Marks, of, items), Source::Mark(mark)));
            (book.marked, book.marked_whole) = (covered, mark.whole);
        }
        self.flushed = clock::monotonic();
        if pin.is_some() {
            self.rows_flushed = self.flushed;
        }
        if made.is_empty() && book == self.book {
            return Ok(None);
        }
        let mut ready = Vec::new();
        for (Batch { stream, incarnation, upto, items, .. }, source) in made {
            ready.push((self.batch(book.next, stream, (incarnation, upto), items), source));
            book.next += 1;
        }
        Ok(Some(Prepared { book, ready, rows: flush.rows, unread }))
    }

    fn try_fix(&mut self, outbox: &Outbox, prepared: Prepared) -> Result<(), Report> {
        let Prepared { mut book, ready, rows, unread } = prepared;
        let now_ms = (outbox.now_ms)();
        let mut failed = None;
        self.lane.log.append(now_ms, |first| {
            for (batch, source) in &ready {
                let of = match source {
                    Source::Own(n) => Source::Own(first + n),
                    other => *other,
                };
                let (seq, stream) = (batch.seq, batch.stream.to_string());
                let (incarnation, upto) = (batch.incarnation, batch.upto);
                book.fixed.push(Fixed { seq, stream, incarnation, upto, of });
            }
            let mut blocks: Vec<_> = rows.into_iter().map(|it| (book::ROWS, it)).collect();
            match serde_json::to_vec(&book) {
                Ok(text) => blocks.push((book::BOOK, text)),
                Err(why) => failed = Some(why.to_string()),
            }
            if failed.is_some() { Vec::new() } else { blocks }
        })?;
        if let Some(why) = failed {
            return Err(unreadable(&self.lane.log.folder, &why));
        }
        self.book = book;
        self.noted();
        self.flushes += 1;
        self.lane.unread.fetch_sub(unread.min(self.lane.unread()), SeqCst);
        ready.into_iter().for_each(|(batch, _)| self.hand_over(batch));
        self.lane.log.trim(self.book.needed(), now_ms)
    }

    /// Writes the book, if the one on the disk is older.
    pub(super) fn write(&mut self, now_ms: u64) {
        if !self.unwritten {
            return;
        }
        let text = match serde_json::to_vec(&self.book) {
            Ok(text) => text,
            Err(why) => return tracing::error!(%why, "a book cannot be written"),
        };
        let written = self.lane.log.append(now_ms, |_| vec![(book::BOOK, text)]);
        let done = written.and_then(|_| self.lane.log.trim(self.book.needed(), now_ms));
        match done {
            Ok(()) => self.noted(),
            Err(report) if !std::mem::replace(&mut self.failing, true) => {
                log_report!(error, report, "what a sink has taken cannot be noted");
            }
            Err(_) => {}
        }
    }

    /// The book on the disk is this one.
    fn noted(&mut self) {
        self.unwritten = false;
        self.lane.noted.store(true, SeqCst);
        if !std::mem::replace(&mut self.anew.1, true) {
            self.lane.shared.lock().told.anews += 1;
        }
    }

    /// With which batch everything begins anew, if that is durable.
    #[cfg(test)]
    pub(super) fn anew_from(&self) -> Option<u64> {
        self.anew.1.then_some(self.anew.0)
    }

    /// The last word, at the end.
    pub(super) fn close(mut self, outbox: &Outbox) -> Result<(), Report> {
        self.look(outbox);
        self.write((outbox.now_ms)());
        self.lane.log.close()
    }
}

fn not_declared(sink: &str, stream: &str) -> Report {
    Report {
        code: "sinks/not-declared",
        what: "cannot go on with what waits for a sink".into(),
        at: vec![("sink", sink.into()), ("stream", stream.into())],
        why: "expected the settings to name the stream, found a batch of it that waits and no \
              such stream"
            .into(),
        effect: "nothing was started; what waits is as it was".into(),
        fix: "name the view again until `millstream sinks list` shows that nothing waits; or \
              remove the sink's folder: then all rows are delivered anew, and changes that wait \
              are missing at the receiver"
            .into(),
    }
}
