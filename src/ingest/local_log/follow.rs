//! Reads the log back, checked, and follows it as it grows.
//!
//! # Why this way
//! The newest blocks are read again from the page cache rather than handed over in memory: some
//! microseconds, and one way for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use schemas::events::EventType;

use super::record::{Kind, Place, places};
use super::{OnFailed, Shared};
use crate::messages::{
    Apart, Chunk, FeedId, FormatOf, Framing, Gap, MAX_CHUNK_BYTES, Outlet, RecordAt, RetriedAs,
    Stopped, buffers,
};
use crate::report::Report;
use crate::segments::{
    Block, Damaged, END_TAG, OnDamage, Reading, Segment, cannot_read, damaged, other_layout,
};

/// The one physical log is one partition of its feed.
pub const PARTITION: u32 = 0;

/// A reader at work. Dropping it asks it to stop.
#[derive(Debug)]
pub struct Following {
    stop: Arc<AtomicBool>,
    wake: Wake,
    thread: Option<JoinHandle<Result<(), Report>>>,
}

#[derive(Clone)]
struct Wake(Arc<Shared>);

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Following {
    /// Asks it to stop; it does after the chunk at hand.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(self.wake.0.durable.lock());
        self.wake.0.grown.notify_all();
    }

    /// Whether nothing more will come of it.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end: asked to stop, the log closed, nobody to read for, or damage.
    pub fn join(mut self) -> Result<(), Report> {
        let thread = self.thread.take().expect("joined once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn start(
    shared: Arc<Shared>,
    position: u64,
    feed: FeedId,
    outlet: Outlet,
    formats: FormatOf,
    on_failed: OnFailed,
) -> Result<Following, Report> {
    let stop = Arc::new(AtomicBool::new(false));
    let wake = Wake(shared.clone());
    let chunk = Building::new(position, feed, outlet, formats);
    let mut reader = Reader { shared, stop: stop.clone(), position, chunk };
    let thread = std::thread::Builder::new()
        .name("log-reader".into())
        .spawn(move || match reader.run() {
            Ok(()) | Err(End::Stopped) => Ok(()),
            Err(End::Failed(report)) => {
                on_failed(&report);
                Err(report)
            }
        })
        .map_err(super::no_thread)?;
    Ok(Following { stop, wake, thread: Some(thread) })
}

enum End {
    Stopped,
    Failed(Report),
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> End {
        End::Stopped
    }
}

impl From<Report> for End {
    fn from(it: Report) -> End {
        End::Failed(it)
    }
}

struct Reader {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    /// The next to be read.
    position: u64,
    chunk: Building,
}

impl Reader {
    fn run(&mut self) -> Result<(), End> {
        let mut vanished: Option<Arc<Segment>> = None;
        loop {
            match self.shared.folder.find(self.position) {
                Reading::Nothing(_) => self.wait()?,
                Reading::At(segment, from) => {
                    self.lose(from)?;
                    if self.segment(&segment)? {
                        continue;
                    }
                    // Aged out between looking it up and opening it: another is there instead.
                    if vanished.as_ref().is_some_and(|it| Arc::ptr_eq(it, &segment)) {
                        let why = std::io::ErrorKind::NotFound.into();
                        return Err(cannot_read(&segment.path, &why).into());
                    }
                    vanished = Some(segment);
                }
            }
        }
    }

    /// Reads one segment to its end. `false`: its file is gone.
    fn segment(&mut self, segment: &Segment) -> Result<bool, End> {
        let Some(mut blocks) = segment.open()? else { return Ok(false) };
        let cannot = |why: std::io::Error| End::from(cannot_read(&segment.path, &why));
        loop {
            let extent = segment.extent();
            blocks.set_end(extent.end);
            let bad = match blocks.read().map_err(cannot)? {
                Some(Ok(block)) => match self.take(&block) {
                    Ok(()) => continue,
                    Err(Take::End(end)) => return Err(end),
                    Err(Take::Layout(why)) => {
                        // Its checksum holds: not damage, but nothing that we write either.
                        return Err(other_layout(&segment.path, block.offset, why).into());
                    }
                },
                None if extent.sealed => {
                    self.lose(extent.next)?;
                    return Ok(true);
                }
                None => {
                    self.wait()?;
                    continue;
                }
                Some(Err(bad)) => bad,
            };
            let first = blocks.expected();
            let there = blocks.resync().map_err(cannot)?;
            let (until, next) = match there {
                true => (blocks.offset(), blocks.expected()),
                false => (extent.end, extent.next),
            };
            if self.shared.folder.on_damage == OnDamage::Refuse {
                self.chunk.send()?;
                let it = Damaged { offset: bad.offset, until, first, next, why: bad.why };
                return Err(damaged(&segment.path, &it).into());
            }
            if !there {
                blocks.skip_to_end(next);
            }
            self.lose(next)?;
        }
    }

    /// Adds the records of a block that are still to be read.
    fn take(&mut self, block: &Block<'_>) -> Result<(), Take> {
        let header = &block.header;
        if header.tag == END_TAG || header.next() <= self.position {
            return Ok(());
        }
        let kind = Kind::of(header.tag).ok_or(Take::Layout("the block's tag is none of ours"))?;
        self.lose(header.first)?;
        let room = MAX_CHUNK_BYTES.saturating_sub(self.chunk.bytes.len());
        if block.payload.len() > room {
            self.chunk.send()?;
        }
        let whole = block.payload.len() <= MAX_CHUNK_BYTES;
        let base = self.chunk.bytes.len();
        if whole {
            self.chunk.bytes.extend_from_slice(block.payload);
        }
        let (mut at, mut ended) = (header.first, Ok::<(), Take>(()));
        let (chunk, position) = (&mut self.chunk, self.position);
        let laid_out = places(kind, block.payload, |place| {
            if at >= position && ended.is_ok() {
                ended =
                    if whole { chunk.add(place, base, block) } else { chunk.copy(place, block) };
            }
            at += 1;
        });
        ended?;
        laid_out.map_err(Take::Layout)?;
        if at != header.next() {
            return Err(Take::Layout("the block holds another number of records than it says"));
        }
        self.position = at;
        if self.chunk.bytes.len() >= MAX_CHUNK_BYTES {
            self.chunk.send()?;
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Take::End(End::Stopped));
        }
        Ok(())
    }

    /// Everything up to the position cannot be had.
    fn lose(&mut self, position: u64) -> Result<(), Stopped> {
        if position > self.position {
            self.chunk.send()?;
            self.chunk.gap.lost += position - self.position;
            self.chunk.next = position;
            self.position = position;
        }
        Ok(())
    }

    /// Sends what there is, and sleeps until there is more.
    fn wait(&mut self) -> Result<(), End> {
        self.chunk.send()?;
        if self.chunk.gap != Gap::default() {
            self.chunk.send_gap()?;
        }
        let mut durable = self.shared.durable.lock();
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Err(End::Stopped);
            }
            if *durable > self.position {
                return Ok(());
            }
            if self.shared.is_closing() {
                return Err(End::Stopped);
            }
            self.shared.grown.wait(&mut durable);
        }
    }
}

/// Why a block was not taken.
enum Take {
    End(End),
    Layout(&'static str),
}

impl From<Stopped> for Take {
    fn from(it: Stopped) -> Take {
        Take::End(it.into())
    }
}

/// Whether a fact is about ourselves, and no view has it: a type of ours that no event is of.
pub(super) fn is_of_system(record: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        kind: std::borrow::Cow<'a, str>,
    }
    serde_json::from_slice::<Typed<'_>>(record).is_ok_and(|it| {
        let ours = it.kind.starts_with("system.") || it.kind == "model.published";
        ours && EventType::parse(&it.kind).is_none()
    })
}

/// A chunk in the making.
struct Building {
    feed: FeedId,
    outlet: Outlet,
    formats: FormatOf,
    gap: Gap,
    next: u64,
    bytes: Vec<u8>,
    records: Vec<RecordAt>,
}

impl Building {
    fn new(next: u64, feed: FeedId, outlet: Outlet, formats: FormatOf) -> Building {
        let (gap, bytes, records) = (Gap::default(), Vec::new(), Vec::new());
        Building { feed, outlet, formats, gap, next, bytes, records }
    }

    /// Adds a record whose payload is in the chunk from `base` on.
    fn add(&mut self, place: Place, base: usize, block: &Block<'_>) -> Result<(), Take> {
        let apart = place.origin(block.payload).map_err(Take::Layout)?.map(|origin| {
            Arc::new(Apart::Retried(RetriedAs { format: (self.formats)(&origin), origin }))
        });
        let ours = block.header.tag == Kind::Fact as u16;
        let system = ours && is_of_system(place.bytes(block.payload));
        let apart = if system { Some(Arc::new(Apart::System)) } else { apart };
        self.records.push(RecordAt {
            start: (base + place.start) as u32,
            len: place.len as u32,
            appended_ms: block.header.appended_ms,
            apart,
        });
        self.next += 1;
        Ok(())
    }

    /// Adds a record of a block that is too large for one chunk.
    fn copy(&mut self, place: Place, block: &Block<'_>) -> Result<(), Take> {
        if self.bytes.len() + place.len > MAX_CHUNK_BYTES {
            self.send()?;
        }
        let base = self.bytes.len();
        self.bytes.extend_from_slice(place.bytes(block.payload));
        let start = place.start;
        self.add(place, base, block)?;
        if let Some(it) = self.records.last_mut() {
            it.start -= start as u32;
        }
        Ok(())
    }

    /// Sends the records there are.
    fn send(&mut self) -> Result<(), Stopped> {
        if self.records.is_empty() {
            // The start of a block whose records were all read before.
            self.bytes.clear();
            return Ok(());
        }
        self.send_gap()
    }

    /// Sends what there is, be it only a gap.
    fn send_gap(&mut self) -> Result<(), Stopped> {
        let records = std::mem::take(&mut self.records);
        let chunk = Chunk {
            partition: (self.feed, PARTITION),
            first: self.next - records.len() as u64,
            next: self.next,
            gap: std::mem::take(&mut self.gap),
            appended_ms: records.last().map_or(0, |it| it.appended_ms),
            bytes: std::mem::replace(&mut self.bytes, buffers::empty()),
            framing: Framing::Records(records),
            pass: 0,
        };
        self.outlet.send(chunk)
    }
}
