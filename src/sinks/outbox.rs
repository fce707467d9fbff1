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

mod gathering; // what each stream gets of an instant

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::{Condvar, Mutex};
use schemas::leaving::Leaving;
use schemas::reading::{Instants, Pin, ViewReader};

use super::Given;
use super::batch::Stream;
use super::book;
use super::coding::Packed;
use super::lane::{Begun, Lane};
use super::opening::{Opened, declared, open_lane};
use super::present::Present;
use crate::messages::Epoch;
use crate::metrics::Metrics;
use crate::report::{Report, log_report};
use crate::segments::Folder;

/// No sink is told any more of what happens from this checkpoint on.
pub fn nobody(data_dir: &Path, epoch: Epoch) -> Result<(), Report> {
    Present::read(&data_dir.join(SINKS_DIR))?.leave(&BTreeMap::new(), &BTreeMap::new(), epoch)
}

/// The folder of all outboxes in the data folder.
pub const SINKS_DIR: &str = "sinks";

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
    gathering: Mutex<Gathering>,
    /// Who is told; until it is noted that they are, no checkpoint is made.
    present: Mutex<Present>,
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

pub(super) struct Gathering {
    upto: Epoch,
    /// By lane; in order.
    pub(super) unwritten: Vec<(usize, Vec<u8>)>,
    pub(super) bytes: usize,
    /// Streams that are to begin with all there is; those that have, once it is durable.
    begin: Vec<(usize, Stream)>,
    begun: Vec<(usize, Stream)>,
    /// The newest epoch at which there was anything.
    found: Epoch,
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
        let dir = data_dir.join(SINKS_DIR);
        let mut present = Present::read(&dir)?;
        let of = |it: &Given| (it.name.clone(), declared(it.sink.as_ref()).streams);
        let told: BTreeMap<String, Vec<Stream>> = sinks.iter().map(of).collect();
        let mut opened = Vec::new();
        let mut begin = Vec::new();
        let (mut holes, mut passed) = (BTreeMap::new(), BTreeMap::new());
        for (n, given) in sinks.into_iter().enumerate() {
            let it = open_lane(&dir, given, &parts, &present, now_ms)?;
            if let Some(hole) = &it.hole {
                let report = hole.report(&it.lane.name);
                log_report!(warn, report, "a sink comes back");
                holes.insert(it.lane.name.clone(), hole.clone());
            }
            passed.insert(it.lane.name.clone(), it.passed.clone());
            let missing = it.lane.declared.streams.iter().filter(|stream| {
                **stream != Stream::Marks && !it.book.streams.contains_key(&stream.to_string())
            });
            begin.extend(missing.map(|it| (n, *it)));
            opened.push(it);
        }
        present.leave(&told, &passed, parts.epoch)?;
        present.arriving(&told, &holes);
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
            present: Mutex::new(present),
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
        self.arrive()?;
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

    /// Notes who is told from now on, once their books are as they were begun.
    fn arrive(&self) -> Result<(), Report> {
        let mut present = self.present.lock();
        if !present.is_waiting() {
            return Ok(());
        }
        match self.lanes.iter().find(|it| !it.noted.load(SeqCst)) {
            Some(lane) => Err(not_noted(&lane.log.folder)),
            None => present.arrive(),
        }
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

    /// Writes what there is; what a disk does not take stays.
    pub(super) fn write(&self, gathering: &mut Gathering) -> Result<(), Report> {
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

    /// What was gathered until now leaves the disk as soon as it was delivered, not in its time:
    /// somebody was erased.
    pub fn forget(&self) -> Result<(), Report> {
        for lane in &self.lanes {
            lane.leaves.fetch_max(lane.log.end_segment()?, SeqCst);
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Whether it has.
    pub fn has_forgotten(&self) -> bool {
        self.lanes.iter().all(|it| it.log.folder.range().0 >= it.leaves.load(SeqCst))
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
