//! Gathers what leaves, so that it is durable with the checkpoint that it belongs to.
//!
//! ```text
//!  checkpoint thread: pin T ─▶ gather: what was touched up to T ─┬▶ changes, events: into each log
//!                     states read, the pin handed on             └▶ current rows: places only
//!                     settle, commit, durable(T) ─▶ the thread that fixes batches
//! ```
//!
//! # Meaning
//! What is gathered at T is of exactly the epochs up to T. It lies in the logs before the commit of
//! checkpoint T does, and is not looked at before that commit is durable; after a crash whatever
//! was gathered above the checkpoint that was put back is void.
//!
//! # State
//! Places of touched entities (see [`super::waiting`]), and blocks that a disk did not take: then
//! nothing more is gathered, and no checkpoint made, until it does.
//!
//! # When it fails
//! A log that cannot be written fails the checkpoint, which is tried again. An epoch that was let
//! go too early (it is pinned: it cannot be) begins the view's streams anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use parking_lot::{Condvar, Mutex};
use schemas::leaving::Leaving;
use schemas::reading::{Instants, Pin, ViewReader};
use tokio::sync::Notify;

use super::aside::Aside;
use super::batch::Stream;
use super::book::{self, Book, Gathered, layout};
use super::coding::Packed;
use super::lane::{Begun, Lane, QUEUE_BATCHES, Shared, Told};
use super::log::{self, Log};
use super::waiting::{Due, Waiting};
use super::{Given, Sink};
use crate::messages::Epoch;
use crate::metrics::Metrics;
use crate::report::{Report, log_report};
use crate::segments::Folder;

/// The folder of all outboxes in the data folder.
pub const SINKS_DIR: &str = "sinks";

/// Items are gathered into blocks of about this size.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks are written when so much has come together, or with the checkpoint.
const WRITE_BYTES: usize = 64 << 20;
/// Without a checkpoint for so long nothing is happening.
const NEXT_INSTANT: std::time::Duration = std::time::Duration::from_secs(3);
/// How long an instant that somebody asked for is held, unless its undo grows too large.
const INSTANT_LEASE_MS: u64 = 600_000;
/// Events that may wait for a checkpoint before reading is held back.
pub const EVENTS_MAX_BYTES: u64 = 64 << 20;

/// A view that some sink takes.
pub(super) struct View {
    pub(super) leaving: Arc<dyn Leaving>,
    reader: Arc<dyn ViewReader>,
}

/// What outboxes are made of, besides their sinks.
pub struct Parts {
    /// The views, as those see them who hand rows on; they note what is touched already.
    pub leaving: Vec<Arc<dyn Leaving>>,
    /// The views, as readers see them.
    pub readers: Arc<[Arc<dyn ViewReader>]>,
    /// Which epochs can be read.
    pub instants: Arc<dyn Instants>,
    /// Which life of the state this is.
    pub incarnation: u64,
    /// The checkpoint that was put back; 0: none.
    pub epoch: Epoch,
    /// Holds reading back, or lets it go on.
    pub hold: Arc<dyn Fn(bool) + Send + Sync>,
    /// Whether more is read than can be taken in.
    pub lags: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether a view is being built again: half of it is told to nobody.
    pub building: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// The time.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How it is going.
    pub metrics: Metrics,
}

/// All outboxes of a process.
pub struct Outbox {
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) views: Vec<View>,
    pub(super) instants: Arc<dyn Instants>,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) hold: Arc<dyn Fn(bool) + Send + Sync>,
    pub(super) lags: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) building: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub(super) metrics: Metrics,
    incarnation: u64,
    gathering: Mutex<Gathering>,
    /// Epoch of the newest durable checkpoint.
    pub(super) durable: AtomicU64,
    /// Its pin, until somebody takes it.
    pub(super) window: Mutex<Option<Pin>>,
    pub(super) wake: Condvar,
    /// Somebody wants to read at the next instant, and is told which it is.
    asked: Mutex<Option<crossbeam_channel::Sender<Epoch>>>,
    events: Mutex<BTreeMap<Epoch, Packed>>,
    pub(super) events_bytes: AtomicU64,
}

struct Gathering {
    upto: Epoch,
    /// By lane; in order.
    unwritten: Vec<(usize, Vec<u8>)>,
    bytes: usize,
    /// Streams that are to begin with all there is; those that have, once it is durable.
    begin: Vec<(usize, Stream)>,
    begun: Vec<(usize, Stream)>,
    /// The newest epoch at which there was anything.
    found: Epoch,
}

/// A lane as it was found: what the thread that fixes needs of it.
pub(super) struct Opened {
    pub(super) lane: Arc<Lane>,
    pub(super) book: Book,
    pub(super) batches: tokio::sync::mpsc::Receiver<super::Batch>,
}

/// The views that these sinks take need to note what is touched: before anything is put back.
pub fn note(leaving: &[Arc<dyn Leaving>], sinks: &[Given]) {
    for view in leaving {
        let name = view.def().name;
        let mut streams = sinks.iter().flat_map(|it| it.sink.declared().streams);
        if streams.any(|it| it.view() == name) {
            view.note();
        }
    }
}

impl Outbox {
    /// Opens (or makes) the outbox of each sink.
    pub(super) fn open(
        data_dir: &Path,
        sinks: Vec<Given>,
        parts: Parts,
    ) -> Result<(Arc<Outbox>, Vec<Opened>), Report> {
        let now_ms = (parts.now_ms)();
        let mut opened = Vec::new();
        let mut begin = Vec::new();
        for (n, given) in sinks.into_iter().enumerate() {
            let it = open_lane(data_dir, given, &parts, now_ms)?;
            let missing = it.lane.declared.streams.iter().filter(|stream| {
                **stream != Stream::Marks && !it.book.streams.contains_key(&stream.to_string())
            });
            begin.extend(missing.map(|it| (n, *it)));
            opened.push(it);
        }
        let lanes: Vec<_> = opened.iter().map(|it| Arc::clone(&it.lane)).collect();
        let taken = |name: &str| {
            lanes.iter().any(|it| it.declared.streams.iter().any(|it| it.view() == name))
        };
        let views = parts.leaving.into_iter().filter(|it| taken(it.def().name));
        let views = views.filter_map(|leaving| {
            let name = leaving.def().name;
            let reader = parts.readers.iter().find(|it| it.def().name == name)?;
            Some(View { leaving, reader: Arc::clone(reader) })
        });
        let outbox = Outbox {
            views: views.collect(),
            lanes,
            instants: parts.instants,
            now_ms: parts.now_ms,
            hold: parts.hold,
            lags: parts.lags,
            building: parts.building,
            metrics: parts.metrics,
            incarnation: parts.incarnation,
            gathering: Mutex::new(Gathering {
                upto: parts.epoch,
                unwritten: Vec::new(),
                bytes: 0,
                begin,
                begun: Vec::new(),
                found: 0,
            }),
            durable: AtomicU64::new(parts.epoch),
            window: Mutex::new(None),
            wake: Condvar::new(),
            asked: Mutex::default(),
            events: Mutex::default(),
            events_bytes: AtomicU64::new(0),
        };
        Ok((Arc::new(outbox), opened))
    }

    /// These events were applied in this epoch. Before it can be complete.
    pub fn note_events(&self, epoch: Epoch, events: &Packed) {
        self.events_bytes.fetch_add(events.bytes().len() as u64, SeqCst);
        self.events.lock().entry(epoch).or_default().append(events);
    }

    /// Whether a checkpoint should come sooner: events wait for it in memory.
    pub fn is_much(&self) -> bool {
        self.events_bytes.load(SeqCst) > EVENTS_MAX_BYTES / 4
    }

    /// Gathers what was touched up to `at`, which is pinned. True if anything that was gathered is
    /// in no checkpoint: then one is to be made.
    pub fn gather(&self, at: Epoch) -> Result<bool, Report> {
        let gathering = &mut *self.gathering.lock();
        // What a disk did not take comes first.
        self.write(gathering)?;
        if at > gathering.upto {
            let names = self.views.iter().map(|it| it.leaving.def().name);
            let building: Vec<&str> = names.filter(|it| (self.building)(it)).collect();
            let (begin, later): (Vec<_>, Vec<_>) = std::mem::take(&mut gathering.begin)
                .into_iter()
                .partition(|(_, it)| !building.contains(&it.view()));
            gathering.begin = later;
            let mut found = !begin.is_empty();
            let mut outcome = Ok(());
            for view in &self.views {
                if building.contains(&view.leaving.def().name) {
                    self.pass_over(view, at, gathering);
                    continue;
                }
                match self.gather_view(view, at, gathering, &begin) {
                    Ok(some) => found |= some,
                    Err(report) => outcome = Err(report),
                }
            }
            found |= self.gather_events(at, gathering);
            for (lane, stream) in &begin {
                self.begin(*lane, stream, at, gathering);
            }
            gathering.begun.extend(begin);
            gathering.upto = at;
            if found {
                gathering.found = at;
            }
            outcome?;
        }
        Ok(gathering.found > self.durable.load(SeqCst))
    }

    /// Makes durable what was gathered.
    pub fn settle(&self) -> Result<(), Report> {
        let gathering = &mut *self.gathering.lock();
        self.write(gathering)?;
        // Only once all of it lies there it has begun.
        for (n, lane) in self.lanes.iter().enumerate() {
            let of_lane = gathering.begun.iter().filter(|it| it.0 == n);
            let streams: Vec<Stream> = of_lane.map(|it| it.1).collect();
            if !streams.is_empty() {
                let (position, at) = (lane.log.next(), gathering.upto);
                lane.shared.lock().begun.push(Begun { streams, position, at });
            }
        }
        gathering.begun.clear();
        Ok(())
    }

    /// Rows may be read at this epoch; they leave once its checkpoint is durable.
    pub fn read_at(&self, pin: Pin) {
        if let Some(tell) = self.asked.lock().take() {
            self.lease(pin.epoch(), &tell);
        }
        *self.window.lock() = Some(pin);
        self.wake.notify_one();
    }

    /// The checkpoint at this epoch is durable: what was gathered up to it may leave.
    pub fn durable(&self, epoch: Epoch) {
        self.durable.fetch_max(epoch, SeqCst);
        self.wake.notify_one();
    }

    /// Whether all that was gathered is in a checkpoint.
    pub(super) fn is_settled(&self) -> bool {
        self.gathering.lock().found <= self.durable.load(SeqCst)
    }

    /// An instant at which everything can be read for a while, and of which everything is on its
    /// way: that of the next checkpoint, or now, if none is made because nothing happens.
    pub(super) fn instant(&self) -> Option<Epoch> {
        let (tell, told) = crossbeam_channel::bounded(1);
        *self.asked.lock() = Some(tell.clone());
        if let Ok(at) = told.recv_timeout(NEXT_INSTANT) {
            return Some(at);
        }
        *self.asked.lock() = None;
        self.leased_now()
    }

    /// The newest instant, at which everything can be read for a while; it is not pinned: a reader
    /// that is slow must not keep what others have replaced.
    pub(super) fn leased_now(&self) -> Option<Epoch> {
        let pin = self.instants.pin();
        self.leased(pin.epoch()).then_some(pin.epoch())
    }

    fn leased(&self, epoch: Epoch) -> bool {
        self.instants.lease(epoch, (self.now_ms)(), INSTANT_LEASE_MS).is_ok()
    }

    /// The views, as they are served.
    pub(super) fn readers(&self) -> Vec<Arc<dyn ViewReader>> {
        self.views.iter().map(|it| Arc::clone(&it.reader)).collect()
    }

    fn lease(&self, epoch: Epoch, tell: &crossbeam_channel::Sender<Epoch>) {
        if self.leased(epoch) && tell.try_send(epoch).is_err() {
            tracing::debug!(epoch, "who asked for an instant has left");
        }
    }

    /// What a view's streams get.
    fn gather_view(
        &self,
        view: &View,
        at: Epoch,
        gathering: &mut Gathering,
        begin: &[(usize, Stream)],
    ) -> Result<bool, Report> {
        let def = view.leaving.def();
        let is_kept = view.leaving.is_kept();
        // What begins gets all there is, and beside it what has gone since the gathering before: its
        // receiver may have that from before. Of a map that is looked through all is told as ever.
        let takers = |stream: &Stream| -> (Vec<usize>, Vec<usize>) {
            let lanes = self.lanes.iter().enumerate().filter(|it| it.1.takes(stream));
            let begins = |n: &usize| begin.iter().any(|it| it.0 == *n && it.1 == *stream);
            let from_map = is_kept && matches!(stream, Stream::Rows(_));
            lanes.map(|it| it.0).partition(|n| from_map || !begins(n))
        };
        let (changes, rows) = (Stream::Changes(def), Stream::Rows(def));
        let (to_changes, gone_changes) = takers(&changes);
        let (to_rows, gone_rows) = takers(&rows);
        // Of a view that the store keeps the map itself says what waits.
        let logged = if is_kept { Vec::new() } else { to_rows.clone() };
        let listening = |n: &usize| {
            let shared = self.lanes[*n].shared.lock();
            shared.waiting.get(def.name).is_some_and(|it| !it.is_lost())
        };
        let mark = is_kept && to_rows.iter().any(listening);
        let with_rows = !to_changes.is_empty() || !logged.is_empty();
        let mut due: Vec<Due> = Vec::new();
        let mut found = false;
        let mut packed = [
            Packing::of(&changes, self.incarnation, at, to_changes),
            Packing::of(&rows, self.incarnation, at, logged),
            Packing::of(&changes, self.incarnation, at, gone_changes),
            Packing::of(&rows, self.incarnation, at, gone_rows),
        ];
        let after = gathering.upto;
        let told = view.leaving.touched(after, at, with_rows, &mut |it| {
            found = true;
            let row = it.row.as_ref();
            packed[0].put(self, gathering, |into| into.row(it.name, at, row));
            packed[1].put(self, gathering, |into| into.row(it.name, it.epoch, row));
            if !it.exists {
                packed[2].put(self, gathering, |into| into.row(it.name, at, None));
                packed[3].put(self, gathering, |into| into.row(it.name, it.epoch, None));
            }
            if mark {
                due.push(Due { epoch: it.epoch, key: it.key, spot: it.spot });
            }
        });
        packed.into_iter().for_each(|it| it.end(self, gathering));
        due.sort_unstable();
        let run: Arc<[Due]> = due.into();
        for n in &to_rows {
            let mut shared = self.lanes[*n].shared.lock();
            match shared.waiting.get_mut(def.name) {
                Some(it) if mark || !found => it.push(Arc::clone(&run), at),
                // Somebody may have begun to listen meanwhile.
                Some(it) => it.missed(at),
                None => {}
            }
        }
        told.map_err(|gone| {
            // What was told is told; what was not is found by beginning anew.
            for (n, lane) in self.lanes.iter().enumerate() {
                let of_view = lane.declared.streams.iter().filter(|it| it.view() == def.name);
                gathering.begin.extend(of_view.map(|it| (n, *it)));
            }
            lost_track(def.name, at, gone.oldest)
        })?;
        Ok(found)
    }

    /// A view that is being built again: its streams begin once it is whole, with all there is.
    fn pass_over(&self, view: &View, at: Epoch, gathering: &mut Gathering) {
        let name = view.leaving.def().name;
        if let Err(gone) = view.leaving.touched(gathering.upto, at, false, &mut |_| {}) {
            tracing::debug!(view = name, at, oldest = gone.oldest, "nothing is told of it yet");
        }
        for (n, lane) in self.lanes.iter().enumerate() {
            for stream in lane.declared.streams.iter().filter(|it| it.view() == name) {
                if !gathering.begin.contains(&(n, *stream)) {
                    gathering.begin.push((n, *stream));
                }
            }
            if let Some(it) = lane.shared.lock().waiting.get_mut(name) {
                it.missed(at);
            }
        }
    }

    fn gather_events(&self, at: Epoch, gathering: &mut Gathering) -> bool {
        let taken = {
            let mut events = self.events.lock();
            let later = events.split_off(&(at + 1));
            std::mem::replace(&mut *events, later)
        };
        let takers: Vec<usize> =
            (0..self.lanes.len()).filter(|n| self.lanes[*n].takes(&Stream::Events)).collect();
        let found = !taken.is_empty();
        for packed in taken.into_values() {
            self.events_bytes.fetch_sub(packed.bytes().len() as u64, SeqCst);
            let mut packing = Packing::of(&Stream::Events, self.incarnation, at, takers.clone());
            for item in packed.pieces() {
                packing.put(self, gathering, |into| into.again(item));
            }
            packing.end(self, gathering);
        }
        found
    }

    /// A stream begins with all there is; of a view whose rows leave from the map nothing lies in
    /// the log: they are looked for.
    fn begin(&self, lane: usize, stream: &Stream, at: Epoch, gathering: &mut Gathering) {
        let Some(view) = self.views.iter().find(|it| it.leaving.def().name == stream.view()) else {
            return;
        };
        if matches!(stream, Stream::Rows(_)) && view.leaving.is_kept() {
            return;
        }
        let mut packing = Packing::of(stream, self.incarnation, at, vec![lane]);
        packing.head = Gathered::head(stream, self.incarnation, at, true);
        let shown = view.reader.for_each(at, &mut |name, row| {
            packing.put(self, gathering, |into| into.row(name, at, Some(&row)));
        });
        packing.end(self, gathering);
        if let Err(gone) = shown {
            let report = lost_track(stream.view(), at, gone.oldest);
            log_report!(error, report, "a stream could not begin");
            gathering.begin.push((lane, *stream));
        }
    }

    /// Writes what there is; what a disk does not take stays.
    fn write(&self, gathering: &mut Gathering) -> Result<(), Report> {
        let now_ms = (self.now_ms)();
        for (n, lane) in self.lanes.iter().enumerate() {
            let of_lane = gathering.unwritten.iter().filter(|it| it.0 == n);
            let blocks: Vec<_> = of_lane.map(|it| (book::GATHERED, it.1.as_slice())).collect();
            let bytes: usize = blocks.iter().map(|it| it.1.len()).sum();
            if bytes == 0 {
                continue;
            }
            if !lane.noted.load(SeqCst) {
                return Err(not_noted(&lane.log.folder));
            }
            lane.log.append(now_ms, |_| blocks)?;
            lane.unread.fetch_add(bytes as u64, SeqCst);
            gathering.unwritten.retain(|it| it.0 != n);
        }
        gathering.bytes = 0;
        Ok(())
    }

    /// Everything that this sink takes is to be delivered once more.
    pub(super) fn begin_anew(&self, lane: usize) {
        let mut gathering = self.gathering.lock();
        let streams = &self.lanes[lane].declared.streams;
        for stream in streams.iter().filter(|it| **it != Stream::Marks) {
            if !gathering.begin.contains(&(lane, *stream)) {
                gathering.begin.push((lane, *stream));
            }
        }
    }
}

/// Items of one stream on their way into blocks.
struct Packing {
    head: Vec<u8>,
    items: Packed,
    takers: Vec<usize>,
}

impl Packing {
    fn of(stream: &Stream, incarnation: u64, at: Epoch, takers: Vec<usize>) -> Packing {
        let head = Gathered::head(stream, incarnation, at, false);
        Packing { head, items: Packed::default(), takers }
    }

    fn put(&mut self, outbox: &Outbox, gathering: &mut Gathering, item: impl FnOnce(&mut Packed)) {
        if self.takers.is_empty() {
            return;
        }
        item(&mut self.items);
        let rows = self.takers.iter().map(|n| outbox.lanes[*n].declared.limits.rows).min();
        if self.items.bytes().len() >= BLOCK_BYTES || Some(self.items.len()) >= rows {
            self.close(outbox, gathering);
        }
    }

    fn close(&mut self, outbox: &Outbox, gathering: &mut Gathering) {
        let mut block = self.head.clone();
        block.extend_from_slice(self.items.bytes());
        self.items.clear();
        gathering.bytes += block.len() * self.takers.len();
        let (last, others) = self.takers.split_last().expect("somebody takes it");
        others.iter().for_each(|n| gathering.unwritten.push((*n, block.clone())));
        gathering.unwritten.push((*last, block));
        if gathering.bytes >= WRITE_BYTES {
            // What fails here is told by the last write of the gathering.
            if let Err(report) = outbox.write(gathering) {
                tracing::debug!(code = report.code, "an outbox does not take its blocks yet");
            }
        }
    }

    fn end(mut self, outbox: &Outbox, gathering: &mut Gathering) {
        if !self.items.is_empty() {
            self.close(outbox, gathering);
        }
    }
}

fn open_lane(data_dir: &Path, given: Given, parts: &Parts, now_ms: u64) -> Result<Opened, Report> {
    let Given { name, sink, max_bytes } = given;
    let declared = checked(sink.as_ref());
    let dir = data_dir.join(SINKS_DIR).join(&name);
    let found = Log::open(&dir, max_bytes, now_ms)?;
    for note in found.notes {
        log_report!(warn, note, "found in the outbox of a sink");
    }
    let log = found.log;
    let mut book = found.book.unwrap_or_default();
    if book.incarnation != parts.incarnation {
        // Another life of the state: all there is comes again, under its number.
        book.forked_at = parts.epoch;
        book.incarnation = parts.incarnation;
        book.forget(log.next());
    }
    book.go_back(parts.epoch);
    for stream in declared.streams.iter().filter(|it| (parts.building)(it.view())) {
        book.begins_later(stream);
    }
    for stream in &declared.streams {
        let known = book.streams.get(&stream.to_string());
        if known.is_some_and(|it| *it != layout(stream)) {
            if !book.fixed.is_empty() || book.read < log.next() {
                return Err(other_layout(&name, stream));
            }
            book.streams.remove(&stream.to_string());
            book.rows.remove(stream.view());
            book.beginning = None;
        }
    }
    let (void, unread) = log::void(&log, &book, &declared.streams, parts.epoch)?;
    // Until that is noted nothing may be gathered: it is told by its instant, and a start after the
    // next checkpoint would count it.
    let noted = book.void == void;
    book.void = void;
    let capacity = QUEUE_BATCHES.max(2 * (declared.streams.len() + 1)).max(book.fixed.len());
    let (queue, batches) = tokio::sync::mpsc::channel(capacity);
    let mut shared = Shared::default();
    for stream in &declared.streams {
        let is_kept = parts.leaving.iter().any(|it| it.def().name == stream.view() && it.is_kept());
        if matches!(stream, Stream::Rows(_)) && is_kept {
            shared.waiting.insert(stream.view(), Waiting::unknown(parts.epoch));
        }
    }
    shared.told = Told { breaker: book.breaker.clone(), ..Told::default() };
    let lane = Arc::new(Lane {
        aside: Aside::open(&dir)?,
        name,
        sink,
        declared,
        log,
        max_bytes,
        queue,
        shared: Mutex::new(shared),
        unread: AtomicU64::new(unread),
        anew: AtomicBool::new(false),
        noted: AtomicBool::new(noted),
        ask: Notify::new(),
        probe: AtomicBool::new(false),
        retry_aside: AtomicBool::new(false),
    });
    Ok(Opened { lane, book, batches })
}

/// What a sink declares, within what an outbox can hold.
fn checked(sink: &dyn Sink) -> super::Declared {
    let mut declared = sink.declared();
    declared.limits.rows = declared.limits.rows.max(1);
    declared.limits.bytes = declared.limits.bytes.clamp(1, super::BATCH_MAX_BYTES);
    // Marks come behind what they speak of.
    let marks = declared.streams.contains(&Stream::Marks);
    declared.streams.retain(|it| *it != Stream::Marks);
    declared.streams.extend(marks.then_some(Stream::Marks));
    declared
}

fn lost_track(view: &str, at: Epoch, oldest: Epoch) -> Report {
    Report {
        code: "sinks/lost-track",
        what: "could not gather what changed in a view".into(),
        at: vec![("view", view.into()), ("epoch", at.to_string())],
        why: format!("expected the epoch to be held, found that {oldest} is the oldest"),
        effect: "nothing is lost: the view's streams begin anew, with all their rows".into(),
        fix: "it goes on by itself; report it".into(),
    }
}

fn not_noted(folder: &Folder) -> Report {
    Report {
        code: "sinks/outbox",
        what: "could not gather what leaves".into(),
        at: vec![("folder", folder.dir.display().to_string())],
        why: "expected it to be noted what a crash made void, found that not written yet".into(),
        effect: "nothing is lost: the checkpoint waits for it".into(),
        fix: "it goes on by itself; if it repeats, see to the disk".into(),
    }
}

fn other_layout(name: &str, stream: &Stream) -> Report {
    Report {
        code: "sinks/other-layout",
        what: "cannot go on with what waits for a sink".into(),
        at: vec![("sink", name.into()), ("stream", stream.to_string())],
        why: "expected rows with the fields of this build, found that rows with others wait".into(),
        effect: "nothing was started; what waits is as it was".into(),
        fix: "start with the build that wrote them until `millstream sinks list` shows that \
              nothing waits, then with this one; or remove the sink's folder: then all rows are \
              delivered anew, and changes that wait are missing at the receiver"
            .into(),
    }
}
