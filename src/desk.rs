//! Who is next, and who has which case: one place decides.
//!
//! ```text
//!  HTTP ─▶ queue ─▶ the desk: newest complete epoch + own decisions not in it yet
//!                     │ decides all that waits, one after the other
//!                     └─▶ one block of own facts in the embedded log, fsynced ─▶ answers
//! ```
//!
//! In: [`Asked`]. Out: an answer each, once its decision is durable.
//!
//! # Meaning
//! A decision is an event (`case.assigned` with the end of its lease, or `case.resolved`) whose id is
//! the request's key; the views are a function of it like of any other, so that what is decided
//! outlives the process without a table of its own. Two requests never get one case: decisions are
//! made one after the other, each seeing all before it.
//!
//! # Invariants
//! - Nothing is answered that is not durable; nothing is durable that a next decision does not see:
//!   it is among [`recent::Recent`] until an epoch that the views have completed includes it.
//! - After a start nothing is decided before the views include what the log held at that time.
//! - The event time of a decision is later than anything said of its case.
//!
//! # When it fails
//! An append that is refused is a decision that was not made: the case waits as before.

pub mod backtest; // what a policy would have done to recorded cases
mod decide; // one request, at one instant
pub mod policy; // who is next: a pure function
mod recent; // own decisions that the views do not show yet
mod waiting; // what waits, read at one instant

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use crate::config;
use crate::messages::queues::{Answer, AskDesk, Asked, Decision, Ordered, Refused};
use crate::messages::{AppendRefused, Appended, ReadHandle};
use crate::report::Report;
use crate::tasks;
use decide::Desk;
use policy::Policy;
use recent::Recent;

/// Decided at once: their events are one block of the log.
const BATCH: usize = 64;

/// Hands a block of own facts to the log.
pub type AppendFacts = Arc<
    dyn Fn(
            Vec<Vec<u8>>,
        ) -> Result<oneshot::Receiver<Result<Appended, AppendRefused>>, AppendRefused>
        + Send
        + Sync,
>;

/// Whether a view is being built again.
pub type IsBuilding = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What the desk is made of.
pub struct Parts {
    /// `[queues]`
    pub settings: config::Queues,
    /// The views.
    pub read: ReadHandle,
    /// The log.
    pub append: AppendFacts,
    /// Positions below are to be in the views before anything is decided.
    pub needed: u64,
    /// The wall clock, milliseconds.
    pub now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Whether a view is being built again.
    pub is_building: IsBuilding,
}

/// A request and where its answer goes.
type Waiting = (Asked, oneshot::Sender<Answer>);

/// The desk on its thread; it ends when the last handle is gone.
pub struct Counter {
    queue: Sender<Waiting>,
    read: ReadHandle,
    policy: Policy,
    is_building: IsBuilding,
}

/// Starts the desk: who asks, and the thread.
pub fn start(parts: Parts) -> Result<(Counter, JoinHandle<()>), Report> {
    let (queue, waiting) = crossbeam_channel::bounded(parts.settings.max_waiting);
    let policy = Policy::from(&parts.settings);
    let counter = Counter {
        queue,
        read: parts.read.clone(),
        policy,
        is_building: Arc::clone(&parts.is_building),
    };
    let thread = tasks::thread("desk", move || work(&parts, policy, &waiting))?;
    Ok((counter, thread))
}

/// Decides what waits until nobody can ask any more.
fn work(parts: &Parts, policy: Policy, waiting: &Receiver<Waiting>) {
    let mut recent = Recent::default();
    while let Ok(first) = waiting.recv() {
        let mut all = vec![first];
        all.extend(waiting.try_iter().take(BATCH - 1));
        let mut desk = Desk::at_newest(parts, policy, &mut recent);
        let (mut events, mut answers) = (Vec::new(), Vec::with_capacity(all.len()));
        for (asked, to) in all {
            let answer = desk.decide(&asked, &mut events);
            answers.push((answer, to));
        }
        drop(desk);
        let kept = keep(parts, events);
        recent.kept(&kept);
        for (answer, to) in answers {
            // Who asked may have gone; what was decided stands.
            drop(to.send(told(answer, &kept)));
        }
    }
}

/// Makes decisions durable: where they ended up, if there were any.
fn keep(parts: &Parts, events: Vec<Vec<u8>>) -> Result<Option<Appended>, Refused> {
    if events.is_empty() {
        return Ok(None);
    }
    let waiting = (parts.append)(events).map_err(Refused::Log)?;
    match waiting.blocking_recv() {
        Ok(Ok(appended)) => Ok(Some(appended)),
        Ok(Err(refused)) => Err(Refused::Log(refused)),
        // The log's writer is gone; whether it was written is read at the next start.
        Err(_) => Err(Refused::Ending),
    }
}

/// The answer to a request, once it is known what became of the block.
fn told(answer: Answer, kept: &Result<Option<Appended>, Refused>) -> Answer {
    match (answer, kept) {
        (Ok(Some(it)), _) if it.again && it.position > 0 => Ok(Some(it)),
        (Ok(Some(_)), Err(refused)) => Err(refused.clone()),
        (Ok(Some(it)), Ok(Some(appended))) => Ok(Some(Decision { position: appended.next, ..it })),
        (answer, _) => answer,
    }
}

impl AskDesk for Counter {
    fn ask(&self, asked: Asked) -> Result<oneshot::Receiver<Answer>, Refused> {
        let (to, answer) = oneshot::channel();
        self.queue.try_send((asked, to)).map_err(|why| match why {
            TrySendError::Full(_) => Refused::Busy,
            TrySendError::Disconnected(_) => Refused::Ending,
        })?;
        Ok(answer)
    }

    fn order(&self, tenant: &str, queue: &str, limit: usize) -> Result<Ordered, Refused> {
        waiting::order(&self.read, &self.is_building, self.policy, (tenant, queue), limit)
    }
}
