//! Takes out what is too old or too much, oldest segment first, on a thread of its own.
//!
//! # Invariants
//! What no checkpoint holds yet is kept, however old: it was acknowledged. While it alone is more
//! than the log may have, nothing more is taken.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Shared, record};
use crate::report::log_report;

/// Age moves slowly; a new segment rings the bell.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Wakes the thread.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    woken: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock() = true;
        self.woken.notify_all();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock();
        if !*rung {
            // Rung or not, it is time to look.
            let _timed_out = self.woken.wait_for(&mut rung, LOOK_EVERY).timed_out();
        }
        *rung = false;
    }
}

pub(super) fn run(shared: &Shared) {
    let mut told = false;
    while !shared.is_closing() {
        let failed = retain(shared);
        if let Some(report) = &failed
            && !told
        {
            log_report!(error, report, "could not age out a segment");
        }
        told = failed.is_some();
        shared.retention.wait();
    }
}

fn retain(shared: &Shared) -> Option<crate::report::Report> {
    let keep = u64::try_from(shared.settings.retention.as_millis()).unwrap_or(u64::MAX);
    while let Some(old) = shared.folder.oldest() {
        let now = (shared.clock)();
        let aged = old.extent().tally.newest_ms.saturating_add(keep) < now;
        let much = shared.folder.bytes() > shared.settings.max_bytes;
        let extent = old.extent();
        let from = shared.needed.load(SeqCst);
        let needed = extent.next > from;
        shared.overfull.store(much && needed, SeqCst);
        if from != shared.needed.load(SeqCst) {
            // Told in between, by one who may have seen no reason to ring.
            continue;
        }
        if !aged && !much || needed {
            return None;
        }
        if let Err(report) = shared.folder.age_out(record::KEPT, now) {
            return Some(report);
        }
        tracing::info!(
            before = extent.next,
            bytes = extent.end,
            reason = if aged { "age" } else { "size" },
            "a segment of the event log was aged out"
        );
    }
    // The one that is being written is all there is.
    shared.overfull.store(false, SeqCst);
    None
}
