//! One sink's outbox, opened: its log and its book, as the checkpoint that was put back has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::aside::Aside;
use super::batch::{Batch, Stream};
use super::book::{Book, EventsTold, layout};
use super::lane::{self, Lane, Shared, Told};
use super::log::{self, Log, Unread};
use super::outbox::Parts;
use super::present::{Hole, Present};
use super::waiting::Waiting;
use super::{Declared, Given, Sink};
use crate::messages::Epoch;
use crate::report::{Report, log_report};

/// A lane as it was found: what the thread that fixes needs of it.
pub(super) struct Opened {
    pub(super) lane: Arc<Lane>,
    pub(super) book: Book,
    pub(super) batches: tokio::sync::mpsc::Receiver<Batch>,
    /// What it has missed, being away.
    pub(super) hole: Option<Hole>,
    /// Streams that it takes no more, and of which something waited: until when all of each was fixed.
    pub(super) passed: BTreeMap<String, Epoch>,
}

/// Opens (or makes) the outbox of a sink in the folder of all.
pub(super) fn open_lane(
    sinks_dir: &Path,
    given: Given,
    parts: &Parts,
    present: &Present,
    now_ms: u64,
) -> Result<Opened, Report> {
    let Given { name, sink, max_bytes } = given;
    let declared = declared(sink.as_ref());
    let dir = sinks_dir.join(&name);
    let found = Log::open(&dir, max_bytes, now_ms)?;
    for note in found.notes {
        log_report!(warn, note, "found in the outbox of a sink");
    }
    let log = found.log;
    let hole = present.missed((&name, &declared.streams), found.book.is_some(), parts.epoch);
    let mut book = found.book.unwrap_or_default();
    // A crash takes nothing back that was told: the state was put back by a person, to an older
    // checkpoint or to none.
    let went_back = book.is_of() == parts.incarnation && book.covered > parts.epoch;
    if went_back {
        let (told, state) = (book.covered, parts.epoch);
        tracing::warn!(
            sink = name,
            told,
            state,
            "the state is older than what was told of it: all comes again, in a life of its own"
        );
    }
    if book.is_of() != parts.incarnation || hole.is_some() || went_back {
        // Another life of the state, or some of this one was missed or is gone: all there is comes
        // again, under a number of its own.
        let least = parts.incarnation.max(book.incarnation + 1);
        let is_own = hole.is_some() || went_back;
        let own = if is_own { now_ms.max(parts.incarnation + 1) } else { 0 };
        book.begin(least.max(own), parts.incarnation, parts.epoch, log.next());
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
    let events = Stream::Events.to_string();
    if declared.streams.contains(&Stream::Events) && !book.streams.contains_key(&events) {
        book.events = Some(EventsTold::after(parts.epoch));
    }
    // What was gathered for it last, and never became durable, nobody noted while it was away.
    let durable = present.away_since(&name).map_or(parts.epoch, |it| it.min(parts.epoch));
    let Unread { void, bytes, passed } = log::unread(&log, &book, &declared.streams, durable)?;
    let until = |it: String| (it, book.covered.min(parts.epoch));
    let passed = passed.into_iter().map(until).collect();
    // Until that is noted nothing may be gathered: it is told by its instant, and a start after the
    // next checkpoint would count it. Nor under a life that no book knows.
    let noted = book.void == void && hole.is_none() && !went_back;
    book.void = void;
    let capacity = lane::batches_most(declared.streams.len()).max(book.fixed.len());
    let (queue, batches) = tokio::sync::mpsc::channel(capacity);
    let mut shared = Shared::default();
    for stream in &declared.streams {
        let is_kept = parts.leaving.iter().any(|it| it.def().name == stream.view() && it.is_kept());
        if matches!(stream, Stream::Rows(_)) && is_kept {
            shared.waiting.insert(stream.view(), Waiting::unknown(parts.epoch));
        }
    }
    shared.told = Told { breaker: book.breaker.clone(), ..Told::default() };
    let holes = present.holes(&name).iter().chain(&hole).cloned().collect();
    let lane = Arc::new(Lane {
        aside: Aside::open(&dir)?,
        name,
        sink,
        declared,
        incarnation: book.incarnation,
        holes,
        log,
        max_bytes,
        queue,
        shared: Mutex::new(shared),
        unread: AtomicU64::new(bytes),
        anew: AtomicBool::new(false),
        noted: AtomicBool::new(noted),
        ask: Notify::new(),
        probe: AtomicBool::new(false),
        retry_aside: AtomicBool::new(false),
        leaves: AtomicU64::new(0),
    });
    Ok(Opened { lane, book, batches, hole, passed })
}

/// What a sink declares, within what an outbox can hold.
pub(super) fn declared(sink: &dyn Sink) -> Declared {
    let mut declared = sink.declared();
    declared.limits.rows = declared.limits.rows.max(1);
    declared.limits.bytes = declared.limits.bytes.clamp(1, super::BATCH_MAX_BYTES);
    // Marks come behind what they speak of.
    let marks = declared.streams.contains(&Stream::Marks);
    declared.streams.retain(|it| *it != Stream::Marks);
    declared.streams.extend(marks.then_some(Stream::Marks));
    declared
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
