//! Takes chunks apart where one record at a time must be told from the others: those that are put
//! aside, and, after a process was brought down again and again, those that are tried.
//!
//! # Meaning
//! A record that is put aside goes on as one that is refused with its problem: it is counted and
//! kept among the rejects. While *careful*, at most so many records are handed out at once, and
//! the next only when a checkpoint holds them; what is being tried is written down before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use schemas::problem::Problem;

use crate::messages::{Apart, Chunk, Epoch, Framing, Gap, Partition, RecordAt};

/// What is put aside of a partition: offsets, each with its problem, in order.
pub type Aside = Box<dyn Fn(Partition) -> Vec<(u64, Problem)> + Send + Sync>;

/// Told of what is about to be handed out: partition, first offset, next offset.
pub type OnTrying = Box<dyn Fn(Partition, u64, u64) + Send + Sync>;

/// Careful for so many records where nobody knows where the trouble lies: more than was on its way
/// when the process went down, unless checkpoints had failed for long.
const CAREFUL_RECORDS: u64 = 1 << 20;

/// Few records at a time, each group in a checkpoint before the next.
pub struct Careful {
    /// Records handed out at once at most.
    pub limit: u64,
    /// Over once a checkpoint holds this of its partition; else after [`CAREFUL_RECORDS`].
    pub until: Option<(Partition, u64)>,
    /// Told before.
    pub on_trying: OnTrying,
    /// The epoch of the newest checkpoint.
    pub durable: Arc<AtomicU64>,
}

/// What stands between the queues and the epochs.
pub struct Guard {
    aside: Aside,
    careful: Option<Careful>,
    /// Epoch of what was handed out last.
    handed: Epoch,
    n_handed: u64,
    /// The range is passed, once `handed` is durable.
    passed: bool,
}

impl Guard {
    /// Puts these aside; careful, if that is given.
    pub fn new(aside: Aside, careful: Option<Careful>) -> Guard {
        Guard { aside, careful, handed: 0, n_handed: 0, passed: false }
    }

    /// Whether it still hands out few at a time.
    pub fn is_careful(&self) -> bool {
        self.careful.is_some()
    }

    /// Whether nothing may be handed out now. `arrivals`: records in the open epoch.
    pub(super) fn waits(&mut self, arrivals: u64) -> bool {
        let Some(careful) = &self.careful else { return false };
        if arrivals > 0 || careful.durable.load(SeqCst) < self.handed {
            return true;
        }
        if self.passed || careful.until.is_none() && self.n_handed >= CAREFUL_RECORDS {
            self.careful = None;
        }
        false
    }

    /// This chunk goes out in this epoch.
    pub(super) fn hands(&mut self, chunk: &Chunk, epoch: Epoch) {
        let Some(careful) = &self.careful else { return };
        (careful.on_trying)(chunk.partition, chunk.first, chunk.next);
        self.handed = epoch;
        self.n_handed += chunk.next - chunk.first;
        let until = careful.until.as_ref();
        self.passed |= until.is_some_and(|it| it.0 == chunk.partition && chunk.next >= it.1);
    }

    /// The chunk in pieces, if it has to be taken apart.
    pub(super) fn pieces(&self, chunk: Chunk) -> VecDeque<Chunk> {
        let mut aside = (self.aside)(chunk.partition);
        aside.retain(|it| (chunk.first..chunk.next).contains(&it.0));
        let limit = self.careful.as_ref().map_or(u64::MAX, |it| it.limit.max(1));
        if aside.is_empty() && chunk.next - chunk.first <= limit {
            return VecDeque::from([chunk]);
        }
        pieces(chunk, limit, &aside)
    }
}

/// Pieces of at most so many records, those that are put aside by themselves.
fn pieces(chunk: Chunk, limit: u64, aside: &[(u64, Problem)]) -> VecDeque<Chunk> {
    let records = records(&chunk);
    let mut groups: Vec<Vec<(u64, RecordAt)>> = Vec::new();
    let mut alone = true;
    for (offset, mut record) in records {
        let problem = aside.iter().find(|it| it.0 == offset).map(|it| it.1.clone());
        let put_aside = problem.is_some();
        if let Some(problem) = problem {
            record.apart = Some(Arc::new(Apart::Refused(problem)));
        }
        match groups.last_mut() {
            Some(group) if !alone && !put_aside && (group.len() as u64) < limit => {
                group.push((offset, record));
            }
            _ => groups.push(vec![(offset, record)]),
        }
        alone = put_aside;
    }
    let (n, mut absent_later) = (groups.len(), 0);
    let mut made = VecDeque::with_capacity(n.max(1));
    for (i, group) in groups.iter().enumerate() {
        let first = if i == 0 { chunk.first } else { group[0].0 };
        let next = groups.get(i + 1).map_or(chunk.next, |it| it[0].0);
        let absent = (next - first) - group.len() as u64;
        let mut bytes = Vec::new();
        let place = |(offset, it): &(u64, RecordAt)| {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(&chunk.bytes[it.start as usize..(it.start + it.len) as usize]);
            (RecordAt { start, ..it.clone() }, (offset - first) as u32)
        };
        let records: Vec<(RecordAt, u32)> = group.iter().map(place).collect();
        absent_later += if i == 0 { 0 } else { absent };
        made.push_back(Chunk {
            partition: chunk.partition,
            first,
            next,
            gap: Gap { lost: 0, absent },
            pass: chunk.pass,
            appended_ms: records.last().map_or(chunk.appended_ms, |it| it.0.appended_ms),
            bytes,
            framing: Framing::Sparse(records),
        });
    }
    match made.front_mut() {
        // What the chunk said of gaps stands, less what its later pieces say of theirs.
        Some(front) => {
            front.gap = chunk.gap;
            front.gap.absent = chunk.gap.absent.saturating_sub(absent_later);
            made
        }
        None => VecDeque::from([chunk]),
    }
}

/// Every record with its offset.
fn records(chunk: &Chunk) -> Vec<(u64, RecordAt)> {
    match &chunk.framing {
        Framing::Records(records) => (chunk.first..).zip(records.iter().cloned()).collect(),
        Framing::Sparse(records) => {
            records.iter().map(|it| (chunk.first + u64::from(it.1), it.0.clone())).collect()
        }
        Framing::Lines => {
            let mut start = 0;
            let mut found = Vec::new();
            let ends = memchr::memchr_iter(b'\n', &chunk.bytes).chain(Some(chunk.bytes.len()));
            for (offset, end) in (chunk.first..chunk.next).zip(ends) {
                let line = &chunk.bytes[start..end];
                let len = line.strip_suffix(b"\r").unwrap_or(line).len() as u32;
                let (at, appended_ms) = (start as u32, chunk.appended_ms);
                found.push((offset, RecordAt { start: at, len, appended_ms, apart: None }));
                start = end + 1;
            }
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        let text = String::new;
        Problem { code: "engine/brought-down", pointer: text(), expected: text(), found: text() }
    }

    fn shown(pieces: &VecDeque<Chunk>) -> Vec<String> {
        let of = |it: &Chunk| {
            let Framing::Sparse(records) = &it.framing else { panic!("{:?}", it.framing) };
            let texts = records.iter().map(|(at, after)| {
                let bytes = &it.bytes[at.start as usize..(at.start + at.len) as usize];
                let aside = if at.apart.is_some() { "!" } else { "" };
                format!("{}{}{aside}", it.first + u64::from(*after), String::from_utf8_lossy(bytes))
            });
            let texts: Vec<String> = texts.collect();
            format!("{}..{} -{} [{}]", it.first, it.next, it.gap.absent, texts.join(" "))
        };
        pieces.iter().map(of).collect()
    }

    /// Goal: every record is in one piece, with its offset, and the offsets between are counted
    /// once. Method: lines and sparse records, taken apart by number and around one put aside.
    #[test]
    fn every_record_is_in_one_piece() {
        let chunk = |framing, bytes: &str, next, absent| Chunk {
            partition: (0, 0),
            first: 10,
            next,
            gap: Gap { lost: 0, absent },
            pass: 0,
            appended_ms: 7,
            bytes: bytes.into(),
            framing,
        };
        let lines = || chunk(Framing::Lines, "a\nb\r\n\nd", 14, 0);
        assert_eq!(shown(&pieces(lines(), 3, &[])), ["10..13 -0 [10a 11b 12]", "13..14 -0 [13d]"]);
        assert_eq!(
            shown(&pieces(lines(), u64::MAX, &[(11, problem())])),
            ["10..11 -0 [10a]", "11..12 -0 [11b!]", "12..14 -0 [12 13d]"]
        );
        let at = |start, len| RecordAt { start, len, appended_ms: 7, apart: None };
        let sparse = vec![(at(0, 1), 0), (at(1, 1), 3), (at(2, 1), 4)];
        // Two offsets before it, and two between its records.
        let sparse = chunk(Framing::Sparse(sparse), "xyz", 15, 4);
        assert_eq!(
            shown(&pieces(sparse, 1, &[])),
            ["10..13 -4 [10x]", "13..14 -0 [13y]", "14..15 -0 [14z]"]
        );
    }

    /// Goal: while careful nothing goes out before a checkpoint holds what went before, and that
    /// ends behind the range.
    #[test]
    fn careful_until_the_range_is_passed() {
        let durable = Arc::new(AtomicU64::new(0));
        let careful = Careful {
            limit: 2,
            until: Some(((0, 0), 4)),
            on_trying: Box::new(|_, _, _| {}),
            durable: Arc::clone(&durable),
        };
        let mut guard = Guard::new(Box::new(|_| vec![]), Some(careful));
        let chunk = |first, next| Chunk {
            partition: (0, 0),
            first,
            next,
            gap: Gap::default(),
            pass: 0,
            appended_ms: 0,
            bytes: b"a\nb\n".into(),
            framing: Framing::Lines,
        };
        assert!(guard.waits(1) && !guard.waits(0));
        guard.hands(&chunk(0, 2), 5);
        assert!(guard.waits(0));
        durable.store(5, SeqCst);
        assert!(!guard.waits(0) && guard.is_careful());
        guard.hands(&chunk(2, 4), 6);
        assert!(guard.waits(0) && guard.is_careful());
        durable.store(6, SeqCst);
        assert!(!guard.waits(0) && !guard.is_careful());
    }
}
