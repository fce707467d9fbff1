//! Which streams of which sinks are told, and until when those were that are not any more.
//!
//! In: what the sinks of a start declare, and the checkpoint that was put back. Out: what each of them
//! has missed ([`Hole`]).
//!
//! # Meaning
//! A stream that is taken out of the settings is gathered for nobody. When it is named again, what
//! happened meanwhile is missing, and its log does not show it: so one file names every stream that is
//! told, and keeps of each that is not any more the instant up to which it was. A sink with such a
//! stream begins another life ([`super::book::Book::begin`]): all there is comes again, and what went
//! meanwhile no longer counts.
//!
//! # Invariants
//! - A stream is noted as left before a checkpoint is made without it ([`Present::leave`]).
//! - It is noted as told again once its sink's book is durable as that of another life
//!   ([`Present::arrive`]): a crash before it begins one more.
//!
//! # State
//! A line per stream that was ever named, and [`HOLES_MAX`] holes per sink.
//!
//! # When it fails
//! A file that cannot be written refuses the start (a stream leaves) or holds checkpoints back (one
//! arrives). A folder without the file was written before there was one: nobody has left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::batch::Stream;
use crate::messages::Epoch;
use crate::report::Report;
use crate::segments;

/// The file, beside the folders of the sinks.
const FILE: &str = "told";
/// Of the file.
const VERSION: u32 = 1;
/// Of a sink; older ones are forgotten.
pub(super) const HOLES_MAX: usize = 16;

/// What a sink has missed of some streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// Everything up to this epoch was told; none: that is not known.
    pub from: Option<Epoch>,
    /// Everything above this one is.
    pub upto: Epoch,
    /// Their names.
    pub streams: Vec<String>,
}

/// As it lies in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    sinks: BTreeMap<String, OfSink>,
}

/// Of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSink {
    /// By name: up to when it was told; none: it is.
    streams: BTreeMap<String, Option<Epoch>>,
    holes: Vec<Hole>,
}

/// The file.
pub(super) struct Present {
    path: PathBuf,
    kept: Kept,
    /// As it is to be, once the books are durable.
    next: Option<Kept>,
}

impl Present {
    /// As it was left in the folder of all sinks.
    pub(super) fn read(sinks_dir: &Path) -> Result<Present, Report> {
        let path = sinks_dir.join(FILE);
        let read = segments::read_checked(&path).map_err(|why| cannot(&path, &why.to_string()))?;
        let kept = match read {
            None => Kept { version: VERSION, ..Kept::default() },
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|why| cannot(&path, &why.to_string()))?
            }
        };
        if kept.version != VERSION {
            let why = format!("expected version {VERSION}, found {}", kept.version);
            return Err(cannot(&path, &why));
        }
        Ok(Present { path, kept, next: None })
    }

    /// Notes, durably, whoever is told no more: up to the checkpoint that was put back they were, but
    /// for those of whom something waited and is passed over.
    pub(super) fn leave(
        &mut self,
        declared: &BTreeMap<String, Vec<Stream>>,
        passed: &BTreeMap<String, BTreeMap<String, Epoch>>,
        epoch: Epoch,
    ) -> Result<(), Report> {
        let mut kept = self.kept.clone();
        for (name, of_sink) in &mut kept.sinks {
            for (stream, until) in &mut of_sink.streams {
                if !names(declared, name, stream) {
                    let covered = passed.get(name).and_then(|it| it.get(stream));
                    let told = until.get_or_insert(epoch);
                    *told = covered.copied().unwrap_or(*told).min(*told);
                }
            }
        }
        self.write(kept)
    }

    /// What a sink that is told again has missed up to this checkpoint; `is_known`: its outbox is
    /// there.
    pub(super) fn missed(
        &self,
        (name, declared): (&str, &[Stream]),
        is_known: bool,
        epoch: Epoch,
    ) -> Option<Hole> {
        let of_sink = self.kept.sinks.get(name)?;
        let mut hole = Hole { from: Some(epoch), upto: epoch, streams: Vec::new() };
        for stream in declared.iter().filter(|it| **it != Stream::Marks) {
            let stream = stream.to_string();
            let from = match of_sink.streams.get(&stream) {
                Some(Some(until)) if *until < epoch => Some(*until),
                // What waited for it is gone with its outbox.
                Some(_) if !is_known => None,
                _ => continue,
            };
            hole.from = hole.from.min(from);
            hole.streams.push(stream);
        }
        (!hole.streams.is_empty()).then_some(hole)
    }

    /// Since which checkpoint nothing has been gathered for a sink, if nothing is.
    pub(super) fn away_since(&self, name: &str) -> Option<Epoch> {
        let streams = &self.kept.sinks.get(name)?.streams;
        let until: Option<Vec<Epoch>> = streams.values().copied().collect();
        until?.into_iter().max()
    }

    /// Who is told from now on, and what they have missed: to be noted with [`Present::arrive`].
    pub(super) fn arriving(
        &mut self,
        declared: &BTreeMap<String, Vec<Stream>>,
        holes: &BTreeMap<String, Hole>,
    ) {
        let mut next = self.kept.clone();
        for (name, streams) in declared {
            let of_sink = next.sinks.entry(name.clone()).or_default();
            let names = streams.iter().filter(|it| **it != Stream::Marks);
            of_sink.streams.extend(names.map(|it| (it.to_string(), None)));
            of_sink.holes.extend(holes.get(name).cloned());
            let over = of_sink.holes.len().saturating_sub(HOLES_MAX);
            of_sink.holes.drain(..over);
        }
        self.next = Some(next);
    }

    /// Notes, durably, who is told from now on. Every book must be durable as it was begun.
    pub(super) fn arrive(&mut self) -> Result<(), Report> {
        let Some(next) = self.next.clone() else { return Ok(()) };
        self.write(next)?;
        self.next = None;
        Ok(())
    }

    /// Whether somebody has arrived and that is not noted yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.next.is_some()
    }

    /// What a sink has missed, ever.
    pub(super) fn holes(&self, name: &str) -> &[Hole] {
        let kept = self.next.as_ref().unwrap_or(&self.kept);
        kept.sinks.get(name).map_or(&[], |it| &it.holes)
    }

    fn write(&mut self, kept: Kept) -> Result<(), Report> {
        if kept == self.kept {
            return Ok(());
        }
        let text = serde_json::to_vec(&kept);
        let text = text.map_err(|why| cannot(&self.path, &why.to_string()))?;
        segments::replace_checked(&self.path, &text)
            .map_err(|why| cannot(&self.path, &why.to_string()))?;
        self.kept = kept;
        Ok(())
    }
}

fn names(declared: &BTreeMap<String, Vec<Stream>>, name: &str, stream: &str) -> bool {
    declared.get(name).is_some_and(|it| it.iter().any(|it| it.to_string() == stream))
}

impl Hole {
    /// As it is told to people.
    pub(super) fn report(&self, sink: &str) -> Report {
        let instant = |epoch: Epoch| {
            let micros = i64::try_from(epoch).unwrap_or(i64::MAX).saturating_mul(1_000);
            format!("{} (epoch {epoch})", schemas::time::rfc3339(micros))
        };
        let from = self.from.map_or("an instant that is not known".into(), instant);
        let events = match self.streams.iter().any(|it| *it == Stream::Events.to_string()) {
            true => "; the events that were applied in between are missing there, and stay so",
            false => "",
        };
        Report {
            code: "sinks/was-away",
            what: "a sink has missed some of what happened, and begins anew".into(),
            at: vec![("sink", sink.into()), ("streams", self.streams.join(", "))],
            why: format!(
                "expected the settings to name it all the time, found that it was told nothing \
                 from {from} to {}",
                instant(self.upto)
            ),
            effect: format!(
                "all its current rows are delivered again under another incarnation, and changes \
                 begin with one per row{events}"
            ),
            fix: "nothing: it goes on by itself; `millstream sinks list` keeps what was missed"
                .into(),
        }
    }
}

fn cannot(path: &Path, why: &str) -> Report {
    Report {
        code: "sinks/told",
        what: "could not read or write which streams are told".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "nothing is lost: no checkpoint is made before it can be".into(),
        fix:
            "see to the disk; a file that is damaged may be removed while the process is stopped: \
              what a sink missed before is not noticed then (`millstream sinks anew NAME`)"
                .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Declared = BTreeMap<String, Vec<Stream>>;

    fn of(name: &str, streams: &[Stream]) -> Declared {
        BTreeMap::from([(name.to_string(), streams.to_vec())])
    }

    /// A start at this checkpoint: what `ch` has missed. `noted`: its book becomes durable.
    fn start(dir: &Path, declared: &Declared, epoch: Epoch, noted: bool) -> Option<Hole> {
        let mut it = Present::read(dir).unwrap();
        it.leave(declared, &BTreeMap::new(), epoch).unwrap();
        let streams = declared.get("ch")?;
        let hole = it.missed(("ch", streams), true, epoch);
        let holes = hole.iter().map(|it| ("ch".to_string(), it.clone())).collect();
        it.arriving(declared, &holes);
        assert!(it.is_waiting());
        if noted {
            it.arrive().unwrap();
        }
        hole
    }

    /// Goal: a stream that was away is known again as one that was, with the range, whatever came
    /// between: other settings, no sinks at all, a crash before its book was durable; and one that was
    /// away while nothing became durable has missed nothing. Method: starts, one after the other.
    #[test]
    fn what_was_away_is_known_again() {
        let dir = std::env::temp_dir().join(format!("millstream-told-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (both, one) = ([Stream::Events, Stream::Marks], [Stream::Marks]);
        let (both, one, none) = (of("ch", &both), of("ch", &one), Declared::new());
        let missed = |from| Some(Hole { from, upto: 9, streams: vec!["events".into()] });
        assert_eq!(start(&dir, &both, 1, true), None, "for the first time");
        assert_eq!(start(&dir, &both, 3, true), None);
        assert_eq!(start(&dir, &one, 5, true), None);
        assert_eq!(start(&dir, &both, 5, true), None, "no checkpoint was made without it");
        assert_eq!(start(&dir, &none, 6, true), None);
        assert_eq!(start(&dir, &one, 7, true), None);
        assert_eq!(Present::read(&dir).unwrap().away_since("ch"), Some(6));
        assert_eq!(start(&dir, &both, 9, false), missed(Some(6)));
        assert_eq!(start(&dir, &both, 9, true), missed(Some(6)), "a crash, and once more");
        assert_eq!(start(&dir, &both, 9, true), None);
        let it = Present::read(&dir).unwrap();
        assert_eq!(it.holes("ch"), [missed(Some(6)).unwrap()]);
        assert_eq!(it.away_since("ch"), None);
        let gone = it.missed(("ch", &both["ch"]), false, 9);
        assert_eq!(gone, missed(None), "its outbox was removed");
        let told = gone.unwrap().report("ch");
        assert!(told.effect.contains("events") && told.why.contains("not known"), "{told}");
        std::fs::write(dir.join(FILE), b"{").unwrap();
        assert_eq!(Present::read(&dir).err().unwrap().code, "sinks/told");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// Goal: what is kept is bounded.
    #[test]
    fn old_holes_are_forgotten() {
        let dir = std::env::temp_dir().join(format!("millstream-holes-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (one, none) = (of("ch", &[Stream::Events]), Declared::new());
        for n in 0..2 * HOLES_MAX as u64 {
            start(&dir, &one, 2 * n + 1, true);
            start(&dir, &none, 2 * n + 2, true);
        }
        let it = Present::read(&dir).unwrap();
        assert_eq!(it.holes("ch").len(), HOLES_MAX);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
