//! A receiver of everything that leaves, which outlives the process, and does not believe it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::reading::Epoch;
use schemas::rows::ViewDef;

use super::disk::Random;
use super::plain::{Touches, exists};
use crate::report::Report;
use crate::sinks::{Batch, Declared, Delivering, Delivery, Limits, OutRow, Sink, Stream, Value};

/// What was so at each epoch: the states, and the next record to read. Of epochs that were lost by
/// a crash nothing.
pub(super) type History = Arc<Mutex<Epochs>>;
type Epochs = BTreeMap<Epoch, (Touches, u64)>;

/// A view and a key.
type Place = (&'static str, u64);
/// A life and an epoch.
type Version = (u64, Epoch);

pub(super) struct Receiver {
    streams: Vec<Stream>,
    history: History,
    kept: Mutex<Kept>,
}

struct Kept {
    random: Random,
    /// How often an answer is lost, or the batch is: one in so many; never if 0.
    one_in: u64,
    /// By id, the bytes.
    batches: BTreeMap<String, Vec<u8>>,
    /// The newest life of which a mark said that all of it is here: what is of one before is void.
    life: u64,
    /// By life and epoch.
    rows: BTreeMap<Place, (Version, Option<u64>)>,
    changes: BTreeMap<Place, BTreeMap<Version, Option<u64>>>,
    /// How often each event came.
    events: BTreeMap<u64, u64>,
    mark: (Epoch, bool),
    /// Events of which nobody told, being away; since which one nobody tells.
    missed: Vec<Range<u64>>,
    away: Option<u64>,
    /// Emptied by hand: what is marked below the batch of this number may be missing.
    emptied: Option<u64>,
    /// The newest epoch of which anything is here.
    newest: Epoch,
    wrong: Option<String>,
}

impl Receiver {
    pub(super) fn new(streams: Vec<Stream>, history: &History, random: Random) -> Receiver {
        let kept = Kept {
            random,
            one_in: 0,
            batches: BTreeMap::new(),
            life: 0,
            rows: BTreeMap::new(),
            changes: BTreeMap::new(),
            events: BTreeMap::new(),
            mark: (0, false),
            missed: Vec::new(),
            away: None,
            emptied: None,
            newest: 0,
            wrong: None,
        };
        Receiver { streams, history: Arc::clone(history), kept: Mutex::new(kept) }
    }

    /// One batch, or one answer, in so many is lost from now on.
    pub(super) fn one_in(&self, n: u64) {
        self.kept.lock().one_in = n;
    }

    /// How many batches it has.
    pub(super) fn len(&self) -> usize {
        self.kept.lock().batches.len()
    }

    /// Somebody empties it: of rows and changes nothing is here any more; which batches were here it
    /// still knows.
    pub(super) fn empty(&self) {
        let mut kept = self.kept.lock();
        kept.rows.clear();
        kept.changes.clear();
        kept.emptied = Some(u64::MAX);
    }

    /// From the batch of this number on it is filled anew.
    pub(super) fn filled_from(&self, seq: u64) {
        self.kept.lock().emptied = Some(seq);
    }

    /// A process has begun with this record as the next, and tells it, or does not. True if somebody
    /// tells it again of what happens.
    pub(super) fn is_told(&self, told: bool, next: u64) -> bool {
        let kept = &mut *self.kept.lock();
        match (kept.away, told) {
            (None, false) => kept.away = Some(next),
            (Some(from), true) => {
                kept.missed.push(from..next);
                kept.away = None;
                return from < next;
            }
            _ => {}
        }
        false
    }

    /// Whether nobody has been asked yet to fill it.
    pub(super) fn is_emptied(&self) -> bool {
        self.kept.lock().emptied == Some(u64::MAX)
    }

    /// A process has begun at this epoch: of later ones nothing may be here.
    pub(super) fn begins(&self, found: Epoch) -> Result<(), String> {
        let kept = self.kept.lock();
        match &kept.wrong {
            Some(it) => Err(it.clone()),
            None if kept.newest > found => {
                Err(format!("of epoch {} something left, and {found} was found", kept.newest))
            }
            None => Ok(()),
        }
    }

    /// All there is at this epoch is here, once.
    pub(super) fn is_whole(&self, at: Epoch) -> Result<(), String> {
        let kept = self.kept.lock();
        if let Some(it) = &kept.wrong {
            return Err(it.clone());
        }
        let history = self.history.lock();
        let (touches, next) = &history[&at];
        for stream in &self.streams {
            let Some(def) = stream.def() else { continue };
            for (key, touches) in touches {
                let place = (def.name, *key);
                let found = match stream {
                    Stream::Rows(_) => kept.rows.get(&place).and_then(|it| it.1),
                    _ => kept.changes.get(&place).and_then(|it| *it.last_key_value()?.1),
                };
                let expected = exists(*touches).then_some(*touches);
                if found != expected {
                    return Err(format!("{stream} {key}: {found:?}, expected {expected:?}"));
                }
            }
        }
        let events = self.streams.contains(&Stream::Events);
        let expected = || (0..*next).filter(|it| !kept.has_missed(*it));
        let once =
            kept.events.keys().copied().eq(expected()) && kept.events.values().all(|n| *n == 1);
        if events && !once {
            let missing: Vec<u64> = expected().filter(|it| !kept.events.contains_key(it)).collect();
            let twice: Vec<&u64> =
                kept.events.iter().filter(|it| *it.1 > 1).map(|it| it.0).collect();
            return Err(format!("of {next} events {missing:?} are missing, {twice:?} came again"));
        }
        match kept.mark {
            mark if mark == (at, true) => Ok(()),
            mark => Err(format!("marked {mark:?}, expected {at}, whole")),
        }
    }
}

impl Kept {
    fn take(&mut self, batch: &Batch, streams: &[Stream], history: &Epochs) -> Result<(), String> {
        let bytes = batch.items.bytes().to_vec();
        if let Some(before) = self.batches.insert(batch.id.clone(), bytes) {
            let same = before == batch.items.bytes();
            return if same { Ok(()) } else { Err(format!("{} is another than before", batch.id)) };
        }
        self.newest = self.newest.max(batch.upto);
        for row in batch.rows() {
            self.row(batch, &row, history)?;
        }
        for event in batch.events() {
            self.newest = self.newest.max(event.epoch);
            *self.events.entry(event.offset).or_default() += 1;
        }
        for mark in batch.marks() {
            self.mark = (mark.epoch, mark.whole);
            if mark.whole && batch.incarnation > self.life {
                self.life = batch.incarnation;
                self.rows.retain(|_, it| it.0.0 >= batch.incarnation);
                self.changes
                    .values_mut()
                    .for_each(|it| it.retain(|at, _| at.0 >= batch.incarnation));
            }
            // Before, what there was at the beginning is still on its way.
            if mark.whole && self.emptied.is_none_or(|it| batch.seq >= it) {
                self.is_marked(streams, mark.epoch, history)?;
            }
        }
        Ok(())
    }

    /// Whether nobody was there to tell of it.
    fn has_missed(&self, event: u64) -> bool {
        self.missed.iter().any(|it| it.contains(&event))
    }

    fn row(&mut self, batch: &Batch, row: &OutRow<'_>, history: &Epochs) -> Result<(), String> {
        let (stream, at) = (batch.stream, (batch.incarnation, row.epoch));
        self.newest = self.newest.max(row.epoch);
        let key: u64 = row.key.parse().map_err(|_| format!("a key {:?}", row.key))?;
        let value = match row.values().nth(1) {
            Some(Value::Int(touches)) => Some(touches.cast_unsigned()),
            _ => None,
        };
        let was = history.get(&row.epoch).and_then(|it| it.0.get(&key)).copied();
        let was = was.filter(|it| exists(*it));
        if value != was {
            return Err(format!("{stream} {key} at {}: {value:?}, was {was:?}", row.epoch));
        }
        let place = (stream.view(), key);
        match stream {
            Stream::Rows(_) => {
                let newest = self.rows.entry(place).or_default();
                *newest = (*newest).max((at, value));
            }
            _ => drop(self.changes.entry(place).or_default().insert(at, value)),
        }
        Ok(())
    }

    /// Whether every change and event up to here is here.
    fn is_marked(&self, streams: &[Stream], at: Epoch, history: &Epochs) -> Result<(), String> {
        if at == 0 {
            return Ok(()); // before everything
        }
        let Some((touches, next)) = history.get(&at) else {
            return Err(format!("a mark at {at}, which is no epoch"));
        };
        for stream in streams.iter().filter(|it| matches!(it, Stream::Changes(_))) {
            for (key, touches) in touches {
                let changes = self.changes.get(&(stream.view(), *key));
                let found = changes.and_then(|it| *it.iter().rfind(|it| it.0.1 <= at)?.1);
                let was = Some(*touches).filter(|it| exists(*it));
                if found != was {
                    return Err(format!("marked {at}: {stream} {key}: {found:?}, was {was:?}"));
                }
            }
        }
        let missed = self.missed.iter().map(|it| it.end.min(*next).saturating_sub(it.start));
        let events = self.events.range(..next).count() as u64 + missed.sum::<u64>();
        match events == *next || !streams.contains(&Stream::Events) {
            true => Ok(()),
            false => Err(format!("marked {at}: {events} of {next} events")),
        }
    }
}

impl Sink for Receiver {
    fn declared(&self) -> Declared {
        let limits =
            Limits { rows: 7, bytes: 400, wait: Duration::ZERO, timeout: Duration::from_secs(1) };
        Declared { kind: "simulated", streams: self.streams.clone(), limits }
    }

    fn ready(&self) -> Delivering<'_> {
        Box::pin(std::future::ready(Delivery::Durable))
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> Delivering<'a> {
        let mut kept = self.kept.lock();
        let one_in = kept.one_in;
        let mut is_lost = || one_in > 0 && kept.random.below(one_in) == 0;
        let (lost, unanswered) = (is_lost(), is_lost());
        if !lost && let Err(why) = kept.take(batch, &self.streams, &self.history.lock()) {
            kept.wrong.get_or_insert(why);
        }
        let answer = match lost || unanswered {
            true => Delivery::Retry { after: None, report: no_answer() },
            false => Delivery::Durable,
        };
        Box::pin(std::future::ready(answer))
    }
}

fn no_answer() -> Report {
    Report {
        code: "sinks/no-answer",
        what: "could not hear an answer".into(),
        at: vec![],
        why: "it was lost".into(),
        effect: "it is handed over again".into(),
        fix: "nothing".into(),
    }
}

/// Which of the views a stream may be of.
pub(super) fn streams(
    rows: &[&'static ViewDef],
    changes: &[&'static ViewDef],
    events: bool,
) -> Vec<Stream> {
    let mut all: Vec<Stream> = rows.iter().map(|it| Stream::Rows(it)).collect();
    all.extend(changes.iter().map(|it| Stream::Changes(it)));
    all.extend(events.then_some(Stream::Events));
    all.push(Stream::Marks);
    all
}
