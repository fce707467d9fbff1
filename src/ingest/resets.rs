//! Where topics are to begin at the next start: decided by a person, kept until it is done.
//!
//! In: `millstream feed reset`. Out: [`Reset`]s to those who read topics.
//!
//! # Meaning
//! A reset concerns the partitions that the ledger knows at the time. It is *pending* for one
//! until the ledger's line of it carries the reset's number. The line is part of the checkpoint, so
//! that a reset is done with exactly the state that knows of it: killed before that checkpoint it
//! is done again from the state before, killed after it, it is not done twice. Done again, it is
//! the same place: what `latest` or a time comes to is written down before anything is read there.
//!
//! # State
//! A file in the data folder, with its checksum: one entry per feed and partition named; those
//! that no line waits for any more go at the next start, or with the next decision.
//!
//! # Why this way
//! Not at once in the running process: records of the old place are on their way through the
//! workers, and every count would have to know on which side of the jump it belongs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::messages::BookLine;
use crate::report::Report;
use crate::segments;

/// The file in the data folder.
pub const FILE: &str = "feeds.json";

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum To {
    /// The oldest record there is then.
    Earliest,
    /// Behind the newest.
    Latest,
    /// The first record of this time or later, milliseconds.
    At(u64),
    /// This offset, in every partition concerned.
    Offset(u64),
    /// These offsets; partitions that are not named stay where they are.
    Offsets(BTreeMap<u32, u64>),
}

/// What [`To`] may be, in words.
pub const A_PLACE: &str = "earliest, latest, a time (2026-01-31T00:00:00Z), an offset (1200), or \
                           offsets of partitions (0:1200,1:1350)";

impl TryFrom<String> for To {
    type Error = String;
    fn try_from(text: String) -> Result<To, String> {
        let offsets = || {
            let one = |it: &str| {
                let (partition, offset) = it.split_once(':')?;
                Some((partition.parse().ok()?, offset.parse().ok()?))
            };
            text.split(',').map(one).collect::<Option<BTreeMap<u32, u64>>>()
        };
        let time = || u64::try_from(schemas::time::parse_rfc3339(&text)? / 1_000).ok();
        match text.as_str() {
            "earliest" => Some(To::Earliest),
            "latest" => Some(To::Latest),
            it => it.parse().ok().map(To::Offset),
        }
        .or_else(|| time().map(To::At))
        .or_else(|| offsets().map(To::Offsets))
        .ok_or_else(|| format!("expected {A_PLACE}, found {text:?}"))
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Earliest => f.write_str("earliest"),
            To::Latest => f.write_str("latest"),
            To::At(ms) => f.write_str(&schemas::time::rfc3339(ms.cast_signed() * 1_000)),
            To::Offset(it) => write!(f, "{it}"),
            To::Offsets(all) => {
                let all: Vec<String> = all.iter().map(|it| format!("{}:{}", it.0, it.1)).collect();
                f.write_str(&all.join(","))
            }
        }
    }
}

impl From<To> for String {
    fn from(it: To) -> String {
        it.to_string()
    }
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// They rise.
    pub number: u64,
    /// A feed (`shop/crm.events`), or all topics of a `[[kafka]]` by its name (`shop`).
    pub feed: String,
    /// This partition only; then another topic under the feed's name is not accepted.
    pub partition: Option<u32>,
    /// Where to begin.
    pub to: To,
    /// What that came to: by the topic's identity, the offset of each partition.
    #[serde(default)]
    pub placed: Placed,
}

/// Offsets of partitions, by the topic's identity.
pub type Placed = BTreeMap<String, BTreeMap<u32, u64>>;

impl Reset {
    /// Whether it concerns this feed.
    pub fn is_of(&self, feed: &str) -> bool {
        is_of(&self.feed, feed)
    }

    /// Whether it concerns this partition of its feed.
    pub fn names(&self, partition: u32) -> bool {
        self.partition.is_none_or(|it| it == partition)
    }

    /// Whether it is still to be done for this line of the ledger.
    pub fn is_pending(&self, line: &BookLine) -> bool {
        self.is_of(&line.feed) && self.names(line.partition) && line.reset < self.number
    }
}

fn is_of(named: &str, feed: &str) -> bool {
    feed.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The decision that will place this line, if one is pending: the latest.
pub fn pending<'a>(resets: &'a [Reset], line: &BookLine) -> Option<&'a Reset> {
    resets.iter().filter(|it| it.is_pending(line)).max_by_key(|it| it.number)
}

/// The decisions of a data folder.
#[derive(Debug)]
pub struct Resets {
    file: PathBuf,
    kept: Mutex<Vec<Reset>>,
}

impl Resets {
    /// Those of this folder.
    pub fn open(data_dir: &Path) -> Result<Resets, Report> {
        let file = data_dir.join(FILE);
        let kept = match segments::read_checked(&file).map_err(|why| told(&file, &why))? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|why| told(&file, &why))?,
            None => Vec::new(),
        };
        Ok(Resets { file, kept: Mutex::new(kept) })
    }

    /// All that are kept, done or not.
    pub fn all(&self) -> Vec<Reset> {
        self.kept.lock().clone()
    }

    /// Forgets those that no line waits for.
    pub fn forget_done(&self, lines: &[BookLine]) -> Result<(), Report> {
        let mut kept = self.kept.lock();
        let left: Vec<Reset> = waiting(&kept, lines);
        if left.len() < kept.len() {
            self.write(&left)?;
            *kept = left;
        }
        Ok(())
    }

    /// Decides where a feed begins at the next start; an earlier decision on it that is not done
    /// yet is replaced. Gives it and the lines that it concerns.
    pub fn decide(
        &self,
        lines: &[BookLine],
        feed: &str,
        partition: Option<u32>,
        to: To,
    ) -> Result<(Reset, Vec<BookLine>), Report> {
        let mut kept = self.kept.lock();
        // A line keeps the number of its last reset when the file is long gone.
        let done = lines.iter().map(|it| it.reset);
        let number = kept.iter().map(|it| it.number).chain(done).max().unwrap_or(0) + 1;
        let placed = Placed::new();
        let reset = Reset { number, feed: feed.into(), partition, to, placed };
        // Only what is behind a name that can change can be placed: files and the log cannot.
        let of = lines.iter().filter(|it| it.identity.is_some() && reset.is_pending(it));
        let of: Vec<BookLine> = of.cloned().collect();
        if of.is_empty() {
            return Err(no_such_feed(lines, feed, partition));
        }
        let mut left = waiting(&kept, lines);
        left.retain(|it| (&it.feed, it.partition) != (&reset.feed, partition));
        left.push(reset.clone());
        self.write(&left)?;
        *kept = left;
        Ok((reset, of))
    }

    /// What a decision came to, before it is acted on.
    pub fn placed(
        &self,
        number: u64,
        identity: &str,
        offsets: &BTreeMap<u32, u64>,
    ) -> Result<(), Report> {
        let mut kept = self.kept.lock();
        let mut all = kept.clone();
        if let Some(reset) = all.iter_mut().find(|it| it.number == number) {
            reset.placed.entry(identity.to_string()).or_default().extend(offsets);
        }
        if all != *kept {
            self.write(&all)?;
            *kept = all;
        }
        Ok(())
    }

    /// Replaced whole, with its checksum: a crash leaves what was or what is to be.
    fn write(&self, resets: &[Reset]) -> Result<(), Report> {
        let bytes = serde_json::to_vec_pretty(resets).map_err(|why| told(&self.file, &why))?;
        segments::replace_checked(&self.file, &bytes).map_err(|why| told(&self.file, &why))
    }
}

/// Those that a line waits for.
fn waiting(resets: &[Reset], lines: &[BookLine]) -> Vec<Reset> {
    let waits = |it: &&Reset| lines.iter().any(|line| it.is_pending(line));
    resets.iter().filter(waits).cloned().collect()
}

fn told(file: &Path, why: &dyn fmt::Display) -> Report {
    Report {
        code: "ingest/feeds-file",
        what: "could not use what was decided about feeds".into(),
        at: vec![("file", file.display().to_string())],
        why: why.to_string(),
        effect: "nothing was changed; no feed was placed otherwise".into(),
        fix: "see who may read and write there; if its contents are not to be understood, remove \
              it and say `millstream feed reset` again"
            .into(),
    }
}

fn no_such_feed(lines: &[BookLine], feed: &str, partition: Option<u32>) -> Report {
    let mut known: Vec<&str> =
        lines.iter().filter(|it| it.identity.is_some()).map(|it| it.feed.as_str()).collect();
    known.dedup();
    let mut at = vec![("feed", feed.to_string())];
    at.extend(partition.map(|it| ("partition", it.to_string())));
    Report {
        code: "ingest/no-such-feed",
        what: "cannot find a topic of this name among those that were read".into(),
        at,
        why: match known.is_empty() {
            true => "no topic has been read into this data folder yet".into(),
            false => format!("expected one of {}", known.join(", ")),
        },
        effect: "nothing was changed".into(),
        fix: "see `millstream feed list`; where a topic that was never read begins is its `start`"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(feed: &str, partition: u32, reset: u64) -> BookLine {
        BookLine {
            feed: feed.into(),
            identity: Some("c/t".into()),
            partition,
            first: 0,
            next: 10,
            newest_event: 0,
            reset,
            counts: crate::messages::Counts::default(),
        }
    }

    /// Goal: a place is read as it is written. Method: a table, there and back.
    #[test]
    fn places_there_and_back() {
        for (text, expected) in [
            ("earliest", To::Earliest),
            ("latest", To::Latest),
            ("7", To::Offset(7)),
            ("0:5,3:9", To::Offsets(BTreeMap::from([(0, 5), (3, 9)]))),
            ("1970-01-01T00:00:01Z", To::At(1_000)),
        ] {
            let to = To::try_from(text.to_string());
            assert_eq!(to.as_ref(), Ok(&expected), "{text}");
            assert_eq!(To::try_from(expected.to_string()), to, "{text}");
        }
        for text in ["", "soon", "-1", "0:", "0:1,2", "2026-01-31"] {
            assert!(To::try_from(text.to_string()).is_err(), "{text}");
        }
    }

    /// Goal: a decision waits until the ledger's lines carry its number, also over starts, and
    /// numbers are never given twice. Method: decide, open again, lines that have it.
    #[test]
    fn a_decision_waits_for_its_lines() {
        let dir = std::env::temp_dir().join(format!("millstream-resets-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let lines = [line("k/t", 0, 0), line("k/t", 1, 0), line("kk/t", 0, 0)];
        let resets = Resets::open(&dir).unwrap();
        let (first, of) = resets.decide(&lines, "k/t", Some(0), To::Latest).unwrap();
        assert_eq!((first.number, of.len()), (1, 1));
        let (second, of) = resets.decide(&lines, "k", None, To::Earliest).unwrap();
        assert_eq!((second.number, of.len()), (2, 2));
        for (named, partition) in [("x", None), ("k/t", Some(7)), ("t", None)] {
            let refused = resets.decide(&lines, named, partition, To::Latest).unwrap_err();
            assert_eq!(refused.code, "ingest/no-such-feed");
        }
        let resets = Resets::open(&dir).unwrap();
        let all = resets.all();
        assert_eq!(pending(&all, &lines[0]), Some(&second));
        assert_eq!(pending(&all, &lines[2]), None);
        // Half of it is done: the other half waits.
        let half = [line("k/t", 0, 2), line("k/t", 1, 0)];
        resets.forget_done(&half).unwrap();
        assert_eq!(resets.all(), vec![second]);
        let offsets = BTreeMap::from([(1, 17)]);
        resets.placed(2, "c/t", &offsets).unwrap();
        assert_eq!(Resets::open(&dir).unwrap().all()[0].placed["c/t"], offsets);
        let done = [line("k/t", 0, 2), line("k/t", 1, 2)];
        resets.forget_done(&done).unwrap();
        assert_eq!(Resets::open(&dir).unwrap().all(), vec![]);
        let (third, _) = resets.decide(&done, "k/t", None, To::Offset(3)).unwrap();
        assert_eq!(third.number, 3);
        // One bit, and what a crash of something else might leave.
        let whole = std::fs::read(dir.join(FILE)).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 4;
        for damaged in [&flipped[..], b"{", b"", &whole[..whole.len() - 1]] {
            std::fs::write(dir.join(FILE), damaged).unwrap();
            assert_eq!(Resets::open(&dir).unwrap_err().code, "ingest/feeds-file");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
