//! One chunk of records into the updates of its epoch: decode, judge, deduplicate, take apart.
//!
//! In: a [`Chunk`]. Out: updates for the folds; [`Counts`]; the rejected records.
//!
//! # Meaning
//! Each record ends in exactly one count: applied if at least one of its events is new,
//! duplicate if none is, skipped, or rejected. A record whose new events are all about customers who
//! were erased is rejected, without its bytes. A record is taken whole or not at all. *Late* is
//! judged against what of the partition had been decoded before: with several workers, chunks
//! decoded at the same time do not see each other, so its count may differ; no row depends on it.
//! A record that the embedded log took is not judged by size, time or who says it again
//! ([`Needs::is_log`]): it was, at the door it came in by.
//!
//! # Why this way
//! Events are borrowed from the chunk, and decoded some dozens at a time, so that the lookups of
//! their identities can be grouped and overlap. Decoding one by one and looking up one by one
//! waits for memory at each event.

use std::borrow::Cow;

use dataflows::catalogue::ViewSet;
use dataflows::dedup::Dedup;
use dataflows::erased::Erased;
use dataflows::inputs::Updates;
use schemas::decode;
use schemas::events::{Data, Event};
use schemas::mapping::Mapped;
use schemas::names::{Kind, Secret};
use schemas::own;
use schemas::problem::Problem;

use crate::config;
use crate::messages::{
    Apart, Applied, Chunk, Counts, Format, Framing, MAX_REJECT_BYTES, NotNew, Origin, RecordAt,
    Rejected,
};

/// Events looked up together: enough to overlap the waits for memory, few enough to stay in the
/// first two levels of cache.
const STAGE: usize = 512;

/// Room made at once for new identities of a chunk, at most: more than 256 KiB of records have.
const FRESH_ROOM: usize = 4_096;

/// How event times are judged, all in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judgement {
    /// Later than the append time by more is rejected.
    pub(crate) future_limit: i64,
    /// Older than the newest of the partition by more is late.
    pub(crate) late_after: i64,
    /// Added to every event time, once per pass (repeated replays).
    pub(crate) shift_per_pass: i64,
}

impl Judgement {
    /// As the settings say.
    pub(super) fn new(settings: &config::Engine, shift_per_pass: i64) -> Judgement {
        Judgement {
            future_limit: settings.future_limit.as_micros() as i64,
            late_after: settings.late_after.as_micros() as i64,
            shift_per_pass,
        }
    }

    /// Who may say it; its time against the append time, and moved where the file is being read
    /// again (`pass`). `again`: what its id ends with then.
    #[inline]
    pub(super) fn of(
        &self,
        event: &mut Event<'_>,
        appended_ms: u64,
        takes_own: bool,
        (pass, again): (u32, &str),
    ) -> Result<(), Problem> {
        if !takes_own {
            own::from_outside(event)?;
        }
        if pass > 0 {
            event.time += self.shift_per_pass * i64::from(pass);
            event.id = Cow::Owned([&*event.id, again].concat());
        }
        let limit = (appended_ms as i64).saturating_mul(1_000) + self.future_limit;
        if event.time > limit {
            return Err(Problem::future_time(event.time, limit));
        }
        Ok(())
    }
}

/// What a decoder needs besides the chunk.
pub(crate) struct Needs<'a> {
    pub(crate) format: &'a Format,
    pub(crate) secret: &'a Secret,
    pub(crate) views: ViewSet,
    pub(crate) dedup: &'a Dedup,
    pub(crate) judgement: Judgement,
    /// Longest record; a longer one is rejected unread.
    pub(crate) max_event_bytes: usize,
    /// The embedded log's: what it took was acknowledged, by the limits of then. With a lower one
    /// of now, an event that somebody relies on would become a reject at the next reading. A
    /// retried reject is judged: it was acknowledged by nobody.
    pub(crate) is_log: bool,
    /// Whether what only we may say is taken from this feed too.
    pub(crate) takes_own: bool,
    /// Whether new identities are to be told, for a checkpoint.
    pub(crate) tell_fresh: bool,
    /// Whether the events that are applied are to be handed on.
    pub(crate) keep_applied: bool,
    /// Who is erased. What comes about them is rejected, without its bytes.
    pub(crate) erased: &'a Erased,
}

/// What became of a chunk, besides the updates.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    /// Offsets of records that held nothing new, if they are to be told.
    pub(crate) places: Vec<(u64, NotNew)>,
    pub(crate) rejected: Vec<Rejected>,
    /// Events that were applied; not those about ourselves, which come because we looked.
    pub(crate) n_events: u64,
    /// Identities that are new, with the instant from which each batch is remembered.
    pub(crate) fresh: Vec<(u64, Vec<u128>)>,
    /// The events that were applied, if they are to be handed on.
    pub(crate) taken: Applied,
    /// Newest event time seen in the partition, this chunk included.
    pub(crate) newest: i64,
    /// When its newest record was appended.
    pub(crate) appended_ms: u64,
}

/// A record on its way: where its events stand in the stage.
struct Staged<'c> {
    offset: u64,
    appended_ms: u64,
    /// The event itself, if the record is one and says it as we do.
    native: Option<&'c [u8]>,
    events: u32,
    retried: bool,
}

/// Reused between chunks.
#[derive(Default)]
pub(crate) struct Scratch {
    identities: Vec<u128>,
    fresh: Vec<bool>,
}

/// Decodes a whole chunk. `newest`: the newest event time of the partition so far.
pub(crate) fn decode_chunk(
    chunk: &Chunk,
    needs: &Needs<'_>,
    newest: i64,
    keep_places: bool,
    scratch: &mut Scratch,
    updates: &mut Updates,
) -> Outcome {
    let mut pass = Pass {
        chunk,
        needs,
        keep_places,
        scratch,
        updates,
        again: format!("~{}", chunk.pass),
        events: Vec::with_capacity(STAGE + 16),
        staged: Vec::with_capacity(STAGE + 16),
        outcome: Outcome { newest, appended_ms: chunk.appended_ms, ..Outcome::default() },
    };
    match &chunk.framing {
        Framing::Lines => {
            let mut start = 0;
            for (offset, end) in (chunk.first..).zip(line_ends(&chunk.bytes)) {
                let line = &chunk.bytes[start..end];
                start = end + 1;
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                pass.record(line, offset, chunk.appended_ms, needs.format, None);
            }
        }
        Framing::Records(records) => {
            for (offset, at) in (chunk.first..).zip(records) {
                pass.record_at(at, offset);
            }
        }
        Framing::Sparse(records) => {
            for (at, after) in records {
                pass.record_at(at, chunk.first + u64::from(*after));
            }
        }
    }
    pass.flush();
    pass.outcome.counts.lost += chunk.gap.lost;
    pass.outcome.counts.absent += chunk.gap.absent;
    pass.outcome
}

/// The end of each line; the last one may lack its newline.
pub(super) fn line_ends(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let unfinished = bytes.last().is_some_and(|it| *it != b'\n').then_some(bytes.len());
    memchr::memchr_iter(b'\n', bytes).chain(unfinished)
}

struct Pass<'c, 'n> {
    chunk: &'c Chunk,
    needs: &'n Needs<'n>,
    keep_places: bool,
    scratch: &'n mut Scratch,
    updates: &'n mut Updates,
    /// Behind the ids when a file is read once more.
    again: String,
    events: Vec<Event<'c>>,
    staged: Vec<Staged<'c>>,
    outcome: Outcome,
}

impl<'c, 'n> Pass<'c, 'n>
where
    'n: 'c,
{
    #[inline]
    fn record_at(&mut self, at: &'c RecordAt, offset: u64) {
        let bytes = &self.chunk.bytes[at.start as usize..(at.start + at.len) as usize];
        self.outcome.appended_ms = at.appended_ms;
        let Some(apart) = &at.apart else {
            return self.record(bytes, offset, at.appended_ms, self.needs.format, None);
        };
        match &**apart {
            Apart::Retried(it) => {
                self.record(bytes, offset, it.origin.appended_ms, &it.format, Some(&it.origin));
            }
            Apart::System => {
                self.outcome.counts.read += 1;
                self.outcome.counts.skipped += 1;
            }
            Apart::Refused(problem) => {
                self.outcome.counts.read += 1;
                self.reject(bytes, offset, at.appended_ms, None, problem.clone());
            }
        }
    }

    fn record(
        &mut self,
        bytes: &'c [u8],
        offset: u64,
        appended_ms: u64,
        format: &'c Format,
        origin: Option<&Origin>,
    ) {
        self.outcome.counts.read += 1;
        // Nearly every record begins with something else than a space.
        if bytes.first().is_none_or(u8::is_ascii_whitespace) && bytes.trim_ascii().is_empty() {
            self.outcome.counts.skipped += 1;
            return;
        }
        let before = self.events.len();
        let taken = self.needs.is_log && origin.is_none();
        let within = match taken {
            true => Ok(()),
            false => decode::within(bytes, self.needs.max_event_bytes),
        };
        let decoded = within.and_then(|()| match format {
            Format::Native => decode::structured(bytes).map(|event| {
                self.events.push(event);
                Mapped::Events(1)
            }),
            Format::Mapped(mapping) => mapping.decode(bytes, &mut |event| self.events.push(event)),
        });
        let judged = match taken {
            true => decoded,
            false => decoded.and_then(|it| self.judge(before, appended_ms).map(|()| it)),
        };
        match judged {
            Ok(Mapped::Skipped | Mapped::Events(0)) => self.outcome.counts.skipped += 1,
            Ok(Mapped::Events(events)) => {
                let is_native = self.chunk.pass == 0 && matches!(format, Format::Native);
                let native = is_native.then_some(bytes);
                let retried = origin.is_some();
                self.staged.push(Staged { offset, appended_ms, native, events, retried });
                if self.events.len() >= STAGE {
                    self.flush();
                }
            }
            Err(problem) => {
                self.events.truncate(before);
                self.reject(bytes, offset, appended_ms, origin, problem);
            }
        }
    }

    fn judge(&mut self, from: usize, appended_ms: u64) -> Result<(), Problem> {
        let (judgement, takes_own) = (self.needs.judgement, self.needs.takes_own);
        let again = (self.chunk.pass, &*self.again);
        let mut events = self.events[from..].iter_mut();
        events.try_for_each(|it| judgement.of(it, appended_ms, takes_own, again))
    }

    fn reject(
        &mut self,
        bytes: &[u8],
        offset: u64,
        appended_ms: u64,
        origin: Option<&Origin>,
        problem: Problem,
    ) {
        self.outcome.counts.rejected += 1;
        if self.keep_places {
            self.outcome.places.push((offset, NotNew::Rejected));
        }
        self.outcome.counts.rejected_again += u64::from(origin.is_some());
        self.outcome.rejected.push(Rejected {
            partition: self.chunk.partition,
            offset,
            appended_ms,
            problem,
            bytes: bytes[..bytes.len().min(MAX_REJECT_BYTES)].to_vec(),
            origin: origin.cloned(),
        });
    }

    /// Looks the staged identities up together, and takes the new events apart.
    fn flush(&mut self) {
        let Scratch { identities, fresh } = &mut *self.scratch;
        let secret = self.needs.secret;
        identities.clear();
        identities.extend(self.events.iter().map(|event| {
            secret.fingerprint(&event.tenant, Kind::Event, &[&event.source, &event.id])
        }));
        fresh.clear();
        let claimed_ms = self.needs.dedup.claim(identities, self.outcome.appended_ms, fresh);
        if self.needs.tell_fresh {
            let new = identities.iter().zip(&*fresh).filter(|it| *it.1).map(|it| *it.0);
            let all = &mut self.outcome.fresh;
            if all.last().is_none_or(|it| it.0 != claimed_ms) {
                // Mostly every record is one event, and new.
                let records = self.chunk.next.saturating_sub(self.chunk.first);
                let left = records.saturating_sub(self.outcome.counts.read);
                let n = usize::try_from(left).unwrap_or(0).min(FRESH_ROOM) + identities.len();
                all.push((claimed_ms, Vec::with_capacity(n)));
            }
            all.last_mut().expect("pushed if there was none").1.extend(new);
        }

        let counts = &mut self.outcome.counts;
        let late_after = self.needs.judgement.late_after;
        let mut at = 0;
        for staged in self.staged.drain(..) {
            let (mut applied, mut late, mut erased) = (false, false, false);
            for _ in 0..staged.events {
                let event = &self.events[at];
                if fresh[at] {
                    // Counts without a person, and that an order is theirs, come of it all the same.
                    self.updates.route(event, secret, self.needs.views);
                    let is_theirs = self.needs.erased.names(event);
                    erased |= is_theirs;
                    applied |= !is_theirs;
                    let about_us = matches!(event.data, Data::SystemMeasured(_));
                    self.outcome.n_events += u64::from(!about_us);
                    late |= !is_theirs && event.time < self.outcome.newest - late_after;
                    if self.needs.keep_applied && !is_theirs {
                        let taken = &mut self.outcome.taken;
                        match staged.native {
                            Some(bytes) => taken.bytes.extend_from_slice(bytes),
                            None => taken.bytes.extend(schemas::encode::structured(event)),
                        }
                        taken.events.push((staged.offset, staged.appended_ms, taken.bytes.len()));
                    }
                }
                self.outcome.newest = self.outcome.newest.max(event.time);
                at += 1;
            }
            if applied {
                counts.applied += 1;
                counts.late += u64::from(late);
                counts.retried += u64::from(staged.retried);
            } else if erased {
                counts.rejected += 1;
                counts.rejected_again += u64::from(staged.retried);
                if self.keep_places {
                    self.outcome.places.push((staged.offset, NotNew::Rejected));
                }
                self.outcome.rejected.push(Rejected {
                    partition: self.chunk.partition,
                    offset: staged.offset,
                    appended_ms: staged.appended_ms,
                    problem: Problem::erased(),
                    bytes: Vec::new(),
                    origin: None,
                });
            } else {
                counts.duplicate += 1;
                if self.keep_places {
                    self.outcome.places.push((staged.offset, NotNew::Known));
                }
            }
        }
        self.events.clear();
    }
}
