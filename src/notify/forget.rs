//! Messages that ended long ago are forgotten, but for their ids and what they ended as.
//!
//! In: the view of intents, how long messages are kept. Out: answers `forgotten` in the log.
//!
//! # Meaning
//! What was delivered, refused, expired or suppressed longer ago than `notifications.keep` is
//! forgotten: an event under a name of its own, so that twice is once. What waits is not, and
//! neither is what somebody wants shown later, nor what could still be sent again. The view keeps
//! the id and what it ended as: an episode that was spoken of is not spoken of again.
//!
//! # Limits
//! A thread of its own looks at [`STEP`] messages, rests, and looks at the next: it forgets at most
//! so many at once, and holds no instant while it rests. Once it has seen all it waits until the
//! first of those that stay is due.
//!
//! # When it fails
//! A log that takes nothing holds it up; nobody else waits for it. What was found is found again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use schemas::events::ENDED;
use schemas::names::Name;
use schemas::reading::{Known, ViewReader};
use schemas::rows::{Row, Value};
use schemas::scanning::Scan;

use super::AppendFacts;
use super::intent;
use crate::messages::{AppendRefused, Epoch, ReadHandle};

/// Messages looked at, and so forgotten, between two rests; a stride of the view more.
pub(super) const STEP: usize = 1_024;
/// Such a rest: a million are looked at in three to four minutes.
const REST: Duration = Duration::from_millis(200);
/// From the end of one round to the next at least; or a quarter of what is kept, if that is shorter.
const BETWEEN: Duration = Duration::from_secs(60);
/// The same at most: what somebody wanted shown later may have been shown meanwhile.
const BETWEEN_MAX: Duration = Duration::from_secs(86_400);
/// The clock is looked at again after so long.
const LOOK: Duration = Duration::from_secs(10);
/// Whatever it waits for is looked for again after so long.
const PAUSE: Duration = Duration::from_millis(10);
/// One block of the log.
const BLOCK: usize = 256;

/// Who forgets.
pub(super) struct Forgetter {
    pub(super) read: ReadHandle,
    /// The view of intents.
    pub(super) view: Arc<dyn ViewReader>,
    pub(super) append: AppendFacts,
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) is_building: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// For so long messages are kept, milliseconds.
    pub(super) keep_ms: Arc<AtomicU64>,
    /// Up to here the watcher has looked, and counted.
    pub(super) looked: Arc<AtomicU64>,
    pub(super) stop: Arc<AtomicBool>,
}

/// The end came first.
struct Stopped;

/// A message to be forgotten: whose, which, and what it ended as.
type Old = (String, String, &'static str);

impl Forgetter {
    /// Forgets until told to stop.
    pub(super) fn run(self) {
        // Where the watcher has not begun, it is not known yet what the log holds.
        while self.looked.load(SeqCst) == 0 {
            if self.stop.load(SeqCst) {
                return;
            }
            std::thread::park_timeout(PAUSE);
        }
        loop {
            // Another time that is taken up meanwhile has the next round begin at once.
            let keep_ms = self.keep_ms.load(SeqCst);
            let Ok(due) = self.round(keep_ms) else { return };
            if self.wait(due, keep_ms).is_err() {
                return;
            }
        }
    }

    /// Looks at every message once. When the first of those that stay is to be forgotten.
    fn round(&self, keep_ms: u64) -> Result<Option<u64>, Stopped> {
        let (mut scan, mut next, mut upto) = (Scan::default(), None::<u64>, None);
        while !scan.over {
            if (self.is_building)(self.view.def().name) {
                return Ok(None);
            }
            let now = (self.now_ms)();
            let mut old = Vec::new();
            let pin = self.read.instants.pin();
            let epoch = pin.epoch();
            let mut n = 0;
            while n < STEP && !scan.over {
                let read = self.view.each_known(epoch, &mut scan, &mut |name, known| {
                    let Known::Row(row) = known else { return };
                    match self.due(&row, keep_ms) {
                        Some((due, ended)) if due <= now => {
                            old.push((name.tenant().to_string(), self.message(name, &row), ended));
                        }
                        Some((due, _)) => next = Some(next.map_or(due, |it| it.min(due))),
                        None => {}
                    }
                });
                // The epoch is held while it is read.
                let Ok(looked_at) = read else { return Ok(None) };
                n += looked_at;
            }
            drop(pin);
            if !old.is_empty() {
                // What the watcher has not counted as ended it would not count as forgotten.
                self.until(|| self.looked.load(SeqCst) >= epoch)?;
                for block in old.chunks(BLOCK) {
                    upto = Some(self.written(block)?);
                }
            }
            if !scan.over {
                self.rest(REST)?;
            }
        }
        if let Some(position) = upto {
            // Or the next round would find them again.
            let instants = &self.read.instants;
            self.until(|| (self.read.as_of)(instants.pin().epoch()).position >= position)?;
        }
        Ok(next)
    }

    /// From when on one may be forgotten, milliseconds, and what it ended as; `None`: it has not ended.
    fn due(&self, row: &Row, keep_ms: u64) -> Option<(u64, &'static str)> {
        let value = |name: &str| self.view.def().position(name).map(|it| &row.values[it]);
        let time = |name: &str| match value(name) {
            Some(Value::Time(it)) => Some(it.max(&0).cast_unsigned().div_ceil(1_000)),
            _ => None,
        };
        let Some(Value::Text(state)) = value("state") else { return None };
        let ended = ENDED.iter().find(|it| **it == state.as_str())?;
        // What its plan suppressed ended with it.
        let at = time("answered_at").or_else(|| time("planned_at"))?;
        let shown = time("snoozed_until").unwrap_or(0);
        let again = time("expires_at").unwrap_or(0);
        Some((at.saturating_add(keep_ms).max(shown).max(again), ended))
    }

    /// Its own name: what is percent-encoded in the key is not here.
    fn message(&self, name: &Name, row: &Row) -> String {
        match self.view.def().position("message").map(|it| &row.values[it]) {
            Some(Value::Text(it)) => it.to_string(),
            _ => name.key().to_string(),
        }
    }

    /// Offers them to the log until it has them: the position after the last.
    fn written(&self, block: &[Old]) -> Result<u64, Stopped> {
        let at = i64::try_from((self.now_ms)()).unwrap_or(i64::MAX).saturating_mul(1_000);
        let event =
            |(tenant, message, ended): &Old| intent::forgotten((tenant, message), ended, at);
        let events: Vec<_> = block.iter().map(event).collect();
        let mut told = false;
        loop {
            let answer = (self.append)(events.clone()).and_then(|it| {
                it.blocking_recv().unwrap_or(Err(AppendRefused::Busy(Duration::ZERO)))
            });
            match answer {
                Ok(appended) => return Ok(appended.next),
                Err(AppendRefused::Failed(report)) if !std::mem::replace(&mut told, true) => {
                    crate::report::log_report!(error, report, "old messages wait for the log");
                }
                Err(_) => {}
            }
            self.rest(REST)?;
        }
    }

    /// Until the next round.
    fn wait(&self, due: Option<Epoch>, keep_ms: u64) -> Result<(), Stopped> {
        let least = BETWEEN.min(Duration::from_millis(keep_ms / 4));
        let began = (self.now_ms)();
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let (least, most) = (began + millis(least), began + millis(BETWEEN_MAX));
        // What ends from now on is due later than that.
        let due = due.unwrap_or(began.saturating_add(keep_ms)).clamp(least, most);
        loop {
            let left = due.saturating_sub((self.now_ms)());
            if left == 0 || self.keep_ms.load(SeqCst) != keep_ms {
                return Ok(());
            }
            self.rest(LOOK.min(Duration::from_millis(left)))?;
        }
    }

    fn until(&self, mut is_so: impl FnMut() -> bool) -> Result<(), Stopped> {
        while !is_so() {
            self.rest(PAUSE)?;
        }
        Ok(())
    }

    /// So long, or until it is woken.
    fn rest(&self, pause: Duration) -> Result<(), Stopped> {
        if !self.stop.load(SeqCst) {
            std::thread::park_timeout(pause);
        }
        if self.stop.load(SeqCst) { Err(Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
