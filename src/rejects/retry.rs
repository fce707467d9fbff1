//! Appends rejects to the embedded log again, once each.
//!
//! # When it fails
//! A crash after the append and before the mark lets a second retry append the same record once
//! more; it is the same event then, and counts as a duplicate.

use std::time::Duration;

use crossbeam_channel::bounded;
use serde::Serialize;

use super::keeper::Work;
use super::{Filter, RejectStore};
use crate::messages::{AppendRefused, AppendRetried, Origin, Retry, UNSAID};
use crate::report::Report;

/// Appended in one block at most, so that a block stays small beside what the log takes.
const BLOCK: usize = 256;
/// The same, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// How often a full queue of the log is tried again.
const TRIES: usize = 40;
/// A disk that takes longer to write a mark is told.
const MARK_WITHIN: Duration = Duration::from_secs(10);

/// Which rejects to retry.
#[derive(Clone, Debug)]
pub enum Select {
    /// These.
    Ids(Vec<u64>),
    /// All that fit and were not retried yet.
    Filter(Filter),
}

/// What became of a retry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// Rejects appended to the log again.
    pub n_retried: u64,
    /// The next position after the last of them: a view whose `as_of.position` reaches it has
    /// seen them.
    pub position: Option<u64>,
    /// Those that were not, and why.
    pub skipped: Vec<Skipped>,
}

/// A reject that was not retried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its number.
    pub id: u64,
    /// Why.
    pub why: String,
}

impl RejectStore {
    /// Appends rejects to the log again. Waits for the disk: not for a thread of the server.
    pub fn retry(&self, select: &Select, log: &dyn AppendRetried) -> Result<Retried, Report> {
        let shared = &self.inner.shared;
        let _one_at_a_time = shared.retrying.lock();
        let ids = match select {
            Select::Ids(ids) => ids.clone(),
            Select::Filter(filter) => {
                let filter = Filter { retried: Some(false), ..filter.clone() };
                let (mut ids, _) = shared.kept.index().page(&filter, usize::MAX, None);
                ids.reverse();
                ids
            }
        };
        let mut out = Retried::default();
        let (mut block, mut bytes, mut seen) = (Vec::new(), 0, std::collections::HashSet::new());
        for id in ids {
            if !seen.insert(id) {
                continue;
            }
            let mut skip = |why: &str| out.skipped.push(Skipped { id, why: why.into() });
            match self.get(id)? {
                None => skip("there is no such reject; it may have been pushed out by newer ones"),
                Some(it) if it.retried_as.is_some() => skip("it was retried before"),
                Some(it) if it.head.code == UNSAID => {
                    skip(
                        "it is a message and no record: correct the rule, it speaks of what comes",
                    );
                }
                Some(it) if it.cut => skip("only the beginning of it was kept: it is too long"),
                Some(it) => {
                    bytes += it.bytes.len();
                    let head = it.head;
                    let origin = head.origin.unwrap_or(Origin {
                        feed: head.feed,
                        partition: head.partition,
                        offset: head.offset,
                        appended_ms: head.appended_ms,
                        mapping: head.mapping,
                    });
                    block.push((id, Retry { origin, bytes: it.bytes }));
                }
            }
            if block.len() >= BLOCK || bytes >= BLOCK_BYTES {
                self.append(std::mem::take(&mut block), log, &mut out)?;
                bytes = 0;
            }
        }
        self.append(block, log, &mut out)?;
        Ok(out)
    }

    fn append(
        &self,
        block: Vec<(u64, Retry)>,
        log: &dyn AppendRetried,
        out: &mut Retried,
    ) -> Result<(), Report> {
        if block.is_empty() {
            return Ok(());
        }
        let (ids, records): (Vec<u64>, Vec<Retry>) = block.into_iter().unzip();
        let mut tries = 0;
        let appended = loop {
            let refused = match log.append_retried(records.clone()).map(|it| it.blocking_recv()) {
                Ok(Ok(Ok(appended))) => break appended,
                Ok(Ok(Err(refused))) | Err(refused) => refused,
                Ok(Err(_gone)) => return Err(stopped(out.n_retried)),
            };
            match refused {
                AppendRefused::Busy(after) if tries < TRIES => std::thread::sleep(after),
                AppendRefused::Busy(_) => return Err(stopped(out.n_retried)),
                AppendRefused::Failed(report) => return Err(report),
            }
            tries += 1;
        };
        let marks: Vec<(u64, u64)> = ids.into_iter().zip(appended.first..).collect();
        out.n_retried += marks.len() as u64;
        out.position = Some(appended.next);
        let (done, waits) = bounded(1);
        let sent = self.inner.queue.send_timeout(Work::Mark(marks, done), MARK_WITHIN).is_ok();
        if !sent || waits.recv_timeout(MARK_WITHIN).is_err() {
            tracing::warn!("rejects were retried, but it could not be written down yet");
        }
        Ok(())
    }
}

fn stopped(n_retried: u64) -> Report {
    Report {
        code: "rejects/retry-stopped",
        what: "could not retry all of the rejects".into(),
        at: vec![],
        why: "the embedded log took no more".into(),
        effect: format!("{n_retried} were appended again; the others are kept as they were"),
        fix: "run it again: what was retried is not retried twice".into(),
    }
}
