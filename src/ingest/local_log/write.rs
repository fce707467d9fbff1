//! The writer thread: gathers what waits, writes it at once, syncs once, answers all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Answer, Kind, Shared};
use crate::clock;
use crate::messages::{AppendRefused, Appended};
use crate::report::{Report, log_report};
use crate::segments::{MAX_BLOCK_BYTES, NewBlock, Writer};

/// Written at once at most: some tens of milliseconds of a slow disk, so that the first of a
/// group does not wait for a crowd.
const GROUP_BYTES: usize = 8 << 20;
/// Idle, the writer looks so often whether its segment has grown old.
const IDLE: Duration = Duration::from_secs(60);
/// Full queues empty at the speed of the disk: 64 MiB take about this long.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// The same where the log has all that it may have, and checkpoints do not come: disks take longer.
const OVERFULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Blocks that wait for the writer.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    pub(super) bytes: u64,
    /// The writer sleeps until so many wait.
    wanted: usize,
    /// The last group failed: told once, not for every append.
    pub(super) failing: bool,
}

struct Waiting {
    kind: Kind,
    count: u32,
    payload: Vec<u8>,
    crc: u32,
    answer: oneshot::Sender<Result<Appended, AppendRefused>>,
}

impl Shared {
    /// Checks and queues a block.
    pub(super) fn push(&self, kind: Kind, records: usize, payload: Vec<u8>) -> Answer {
        let (answer, receiver) = oneshot::channel();
        if records == 0 {
            let end = *self.durable.lock();
            // The receiver is right here.
            answer.send(Ok(Appended { first: end, next: end })).expect("it is held");
            return Ok(receiver);
        }
        if payload.len() > MAX_BLOCK_BYTES {
            return Err(AppendRefused::Failed(too_large(payload.len())));
        }
        // The checksum is made here, on the many threads, not on the one that writes.
        let (crc, count) = (crc32c::crc32c(&payload), records as u32);
        let len = payload.len() as u64;
        let mut queue = self.queue.lock();
        if self.is_closing() {
            return Err(AppendRefused::Failed(closed()));
        }
        if kind != Kind::Fact && self.overfull.load(Ordering::SeqCst) {
            return Err(AppendRefused::Busy(OVERFULL_RETRY_AFTER));
        }
        if queue.bytes > 0 && queue.bytes + len > self.settings.queue_bytes {
            return Err(AppendRefused::Busy(RETRY_AFTER));
        }
        queue.bytes += len;
        queue.waiting.push_back(Waiting { kind, count, payload, crc, answer });
        if queue.waiting.len() >= queue.wanted {
            self.work.notify_one();
        }
        Ok(receiver)
    }

    /// The next group; `None` when the log is closed and everything written. Empty when it only
    /// is time to look around.
    fn group(&self, last: usize, patience: Duration) -> Option<Vec<Waiting>> {
        let mut queue = self.queue.lock();
        queue.wanted = 1;
        if queue.waiting.is_empty() {
            if self.is_closing() {
                return None;
            }
            if self.work.wait_for(&mut queue, IDLE).timed_out() && queue.waiting.is_empty() {
                return Some(Vec::new());
            }
        }
        // Those who were answered together come back together: give them the time that a sync
        // would cost anyway. One who is alone never waits.
        if last > 1 && queue.waiting.len() < last && !patience.is_zero() {
            queue.wanted = last;
            let until = clock::monotonic() + patience;
            while queue.waiting.len() < last && !self.is_closing() {
                if self.work.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
            queue.wanted = 1;
        }
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(it) = queue.waiting.front()
            && (group.is_empty() || bytes + it.payload.len() <= GROUP_BYTES)
        {
            bytes += it.payload.len();
            group.extend(queue.waiting.pop_front());
        }
        Some(group)
    }
}

/// Writes until the log is closed.
pub(super) fn run(shared: &Arc<Shared>, mut writer: Writer) {
    let (mut last, mut patience) = (0, Duration::ZERO);
    // A segment must be able to grow old: else a quiet log would keep its first event for ever.
    let segment_age = u64::try_from(shared.settings.retention.as_millis() / 8).unwrap_or(u64::MAX);
    while let Some(group) = shared.group(last, patience) {
        let now = (shared.clock)();
        let is_asked = shared.end_segment.swap(false, Ordering::SeqCst);
        if is_asked
            && writer.active_since().is_some()
            && let Err(report) = writer.roll()
        {
            tell(shared, &report);
        }
        if writer.active_since().is_some_and(|it| it.saturating_add(segment_age) < now) {
            if let Err(report) = writer.roll() {
                tell(shared, &report);
            }
            shared.retention.ring();
        }
        if group.is_empty() {
            continue;
        }
        let blocks: Vec<NewBlock<'_>> = group
            .iter()
            .map(|it| NewBlock {
                tag: it.kind as u16,
                count: it.count,
                payload: &it.payload,
                payload_crc: it.crc,
            })
            .collect();
        let newest = shared.folder.newest();
        let before = clock::monotonic();
        let written = writer.append(&blocks, now);
        last = group.len();
        let took = clock::since(before);
        patience = took.min(shared.settings.commit_delay);
        if let (Some(commits), Ok(_)) = (shared.commits.get(), &written) {
            commits.observe(took);
        }
        shared.queue.lock().bytes -= group.iter().map(|it| it.payload.len() as u64).sum::<u64>();
        match written {
            Ok(first) => {
                *shared.durable.lock() = writer.next();
                shared.grown.notify_all();
                if std::mem::take(&mut shared.queue.lock().failing) {
                    tracing::info!("the event log can be written again");
                }
                answer(group, first);
            }
            Err(report) => {
                tell(shared, &report);
                for it in group {
                    ignore_gone(it.answer.send(Err(AppendRefused::Failed(report.clone()))));
                }
            }
        }
        if newest != shared.folder.newest() {
            shared.retention.ring();
        }
    }
    if let Err(report) = writer.roll() {
        tell(shared, &report);
    }
}

fn answer(group: Vec<Waiting>, mut first: u64) {
    for it in group {
        let next = first + u64::from(it.count);
        ignore_gone(it.answer.send(Ok(Appended { first, next })));
        first = next;
    }
}

/// Who asked may have gone; what was appended stays.
fn ignore_gone<T>(sent: Result<(), T>) {
    drop(sent);
}

fn tell(shared: &Shared, report: &Report) {
    if !std::mem::replace(&mut shared.queue.lock().failing, true) {
        log_report!(error, report, "the event log could not be written");
    }
}

fn too_large(bytes: usize) -> Report {
    Report {
        code: "ingest/block-too-large",
        what: "cannot append so much at once".into(),
        at: vec![("limit_bytes", MAX_BLOCK_BYTES.to_string())],
        why: format!("expected at most {MAX_BLOCK_BYTES} bytes, found {bytes}"),
        effect: "nothing was appended".into(),
        fix: "send it in parts".into(),
    }
}

fn closed() -> Report {
    Report {
        code: "ingest/log-closed",
        what: "could not append".into(),
        at: vec![],
        why: "Millstream is stopping".into(),
        effect: "nothing was appended".into(),
        fix: "send it again once Millstream is back".into(),
    }
}
