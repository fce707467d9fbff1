//! One sink's own thread: one batch at a time, for as long as it takes; beside it the first attempt
//! at the next one, where the sink allows it.
//!
//! # Meaning
//! While all is well the next batch, if it is of another stream and no mark, is attempted beside the
//! one whose turn it is. It counts when its turn has come; if it failed, it is tried then as if it had
//! not been, with the same id.
//!
//! A batch leaves this thread durable at its receiver, or with items put aside, or not at all. What
//! fails is tried again by the breaker's word; what is refused for its data is halved down to the
//! item. Whoever else waits for something does not wait here.
//!
//! # When it fails
//! A panic of a sink ends the process, as every panic does: what was not acknowledged is handed over
//! again, with the same id.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::batch::{Batch, Stream};
use super::breaker::{Breaker, Failure, State};
use super::lane::Lane;
use super::outbox::Outbox;
use super::{Delivery, Fault};
use crate::clock;
use crate::metrics::{Metrics, OfSink, OfSinkOutcome};
use crate::report::{Report, log_report};

/// How often one that waits looks whether it is still to.
const LOOK: Duration = Duration::from_secs(5);

/// The sink's thread is to end.
struct Ending;

pub(super) struct Runner {
    lane: Arc<Lane>,
    outbox: Arc<Outbox>,
    breaker: Breaker,
    batches: mpsc::Receiver<Batch>,
    /// Received, and its turn is next.
    next: Option<Batch>,
    stop: watch::Receiver<bool>,
    /// The receiver was found fit since the breaker was last open.
    fit: bool,
}

/// What an attempt came to.
enum Came {
    Durable,
    /// The items themselves were refused.
    Data(Report),
}

impl Runner {
    pub(super) fn new(
        outbox: &Arc<Outbox>,
        lane: &Arc<Lane>,
        batches: mpsc::Receiver<Batch>,
        stop: watch::Receiver<bool>,
    ) -> Runner {
        let kept = lane.shared.lock().told.breaker.clone();
        let seed = lane.log.folder.log_id() ^ (outbox.now_ms)();
        Runner {
            lane: Arc::clone(lane),
            outbox: Arc::clone(outbox),
            breaker: Breaker::new(kept, seed),
            batches,
            next: None,
            stop,
            fit: false,
        }
    }

    /// Until it is told to end.
    pub(super) async fn run(mut self) {
        // Told of at once: a receiver that is not fit is an alarm also while nothing happens.
        if self.begin().await.is_err() {
            return;
        }
        loop {
            // Whoever asked while something else was waited for.
            if self.lane.retry_aside.load(SeqCst) && self.asked().await.is_err() {
                return;
            }
            if let Some(batch) = self.next.take() {
                if self.deliver_two(batch).await.is_err() {
                    return;
                }
                continue;
            }
            let (lane, stop) = (Arc::clone(&self.lane), self.stop.clone());
            let batch = tokio::select! {
                batch = self.batches.recv() => batch,
                () = lane.ask.notified() => {
                    if self.asked().await.is_err() {
                        return;
                    }
                    continue;
                }
                () = told(stop) => return,
            };
            let Some(batch) = batch else { return };
            self.next = Some(batch);
        }
    }

    /// A batch, and beside it the next one, if it may be.
    async fn deliver_two(&mut self, batch: Batch) -> Result<(), Ending> {
        let well = self.fit && self.breaker.kept.state == State::Closed;
        if !well || !self.lane.sink.takes_two() || batch.stream == Stream::Marks {
            return self.deliver(batch, None).await;
        }
        let Ok(next) = self.batches.try_recv() else {
            return self.deliver(batch, None).await;
        };
        if next.stream == batch.stream || next.stream == Stream::Marks || next.stream.is_behind() {
            self.next = Some(next);
            return self.deliver(batch, None).await;
        }
        let answers = tokio::join!(self.try_once(&batch), self.try_once(&next));
        let (first, second) = (answers.0?, answers.1?);
        self.deliver(batch, Some(first)).await?;
        // That it was taken holds for ever; why it was not may have been mended meanwhile.
        let second = Some(second).filter(|it| *it == Delivery::Durable);
        self.deliver(next, second).await
    }

    /// One attempt, and how long it took.
    async fn try_once(&self, piece: &Batch) -> Result<Delivery, Ending> {
        let began = clock::monotonic();
        let answer = self.answer(self.lane.sink.deliver(piece)).await?;
        self.metrics().sink_time.get_or_create(&self.of_sink()).observe(clock::since(began));
        Ok(answer)
    }

    /// Waits until the receiver is fit.
    async fn begin(&mut self) -> Result<(), Ending> {
        while !self.fit {
            self.wait().await?;
            self.look_fit().await?;
        }
        Ok(())
    }

    /// The whole of a batch, in pieces where it must be; perhaps what the first attempt came to is
    /// known.
    async fn deliver(&mut self, batch: Batch, mut known: Option<Delivery>) -> Result<(), Ending> {
        let (seq, n) = (batch.seq, batch.len() as u64);
        let mut pieces = vec![batch];
        while let Some(piece) = pieces.pop() {
            match self.attempt(&piece, known.take()).await? {
                Came::Durable if piece.stream.is_behind() => self.forget_aside(&piece).await?,
                Came::Durable => {}
                Came::Data(report) => match piece.halves() {
                    Some([first, second]) => pieces.extend([second, first]),
                    None => {
                        if !self.put_aside(&piece, report).await? {
                            pieces.push(piece);
                        }
                    }
                },
            }
        }
        let metrics = self.metrics();
        let mut shared = self.lane.shared.lock();
        shared.done.push((seq, n));
        shared.told.last = Some((self.outbox.now_ms)());
        drop(shared);
        metrics.sink_items.get_or_create(&self.of_sink()).add(n);
        self.outbox.wake.notify_one();
        Ok(())
    }

    /// Tries until it is durable, or refused for what is in it.
    async fn attempt(
        &mut self,
        piece: &Batch,
        mut known: Option<Delivery>,
    ) -> Result<Came, Ending> {
        loop {
            let answer = match known.take() {
                Some(answer) => answer,
                None => {
                    self.wait().await?;
                    if !self.fit {
                        self.look_fit().await?;
                        continue;
                    }
                    self.try_once(piece).await?
                }
            };
            match answer {
                Delivery::Durable => {
                    self.count("durable");
                    self.well();
                    return Ok(Came::Durable);
                }
                Delivery::Refused { fault: Fault::Data, report } => {
                    self.count("data");
                    // It answered, and it is fit: nothing is wrong with the surroundings.
                    self.well();
                    return Ok(Came::Data(report));
                }
                Delivery::Retry { after, report } => {
                    self.count("retry");
                    self.failed(Failure::Surroundings(after), &report);
                }
                Delivery::Refused { fault, report } => {
                    self.count(if fault == Fault::Unknown { "unknown" } else { "configuration" });
                    self.failed(Failure::Refusal(fault), &report);
                }
            }
        }
    }

    /// Asks once whether the receiver is fit; the breaker is told.
    async fn look_fit(&mut self) -> Result<(), Ending> {
        match self.answer(self.lane.sink.ready()).await? {
            Delivery::Durable => self.fit = true,
            Delivery::Retry { after, report } => self.failed(Failure::Surroundings(after), &report),
            Delivery::Refused { fault, report } => {
                let fault = if fault == Fault::Data { Fault::Unknown } else { fault };
                self.failed(Failure::Refusal(fault), &report);
            }
        }
        Ok(())
    }

    /// The end of a call, or that it took too long.
    async fn answer(&self, call: super::Delivering<'_>) -> Result<Delivery, Ending> {
        let timeout = self.lane.declared.limits.timeout;
        tokio::select! {
            answer = tokio::time::timeout(timeout, call) => Ok(answer.unwrap_or_else(|_| {
                Delivery::Retry { after: None, report: no_answer(&self.lane.name, timeout) }
            })),
            () = told(self.stop.clone()) => Err(Ending),
        }
    }

    /// Waits as the breaker says.
    async fn wait(&mut self) -> Result<(), Ending> {
        loop {
            if *self.stop.borrow() {
                return Err(Ending);
            }
            if self.lane.probe.swap(false, SeqCst) {
                self.breaker.probe_now();
            }
            let (left, probe) = self.breaker.wait((self.outbox.now_ms)());
            if left.is_zero() {
                if probe {
                    // Whatever was wrong, it is looked at from the beginning.
                    self.fit = false;
                    self.tell();
                }
                return Ok(());
            }
            let lane = Arc::clone(&self.lane);
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                () = lane.ask.notified() => {}
                () = told(self.stop.clone()) => return Err(Ending),
            }
        }
    }

    fn well(&mut self) {
        if self.breaker.success() {
            tracing::info!(sink = self.lane.name, "a sink's receiver takes batches again");
            self.tell();
        }
    }

    fn failed(&mut self, what: Failure, report: &Report) {
        let now_ms = (self.outbox.now_ms)();
        let is_new = self.breaker.failure(what, now_ms, (report.code, &report.why));
        if self.breaker.kept.state != State::Closed {
            self.fit = false;
        }
        if is_new {
            let report = of_sink(&self.lane.name, report);
            log_report!(error, report, "a sink's receiver does not take what it is handed");
        }
        self.tell();
    }

    /// Says how the breaker stands, to those who keep it and those who look.
    fn tell(&self) {
        let kept = self.breaker.kept.clone();
        let state = kept.state.number();
        self.metrics().sink_state.get_or_create(&self.of_sink()).set(state);
        let mut shared = self.lane.shared.lock();
        shared.told.breaker = kept.clone();
        shared.breaker = Some(kept);
        drop(shared);
        self.outbox.wake.notify_one();
    }

    /// Puts the item of a piece aside. False where there is no room, or no disk: the sink waits then, and
    /// the item is to be tried again, for its receiver may be mended meanwhile.
    async fn put_aside(&mut self, piece: &Batch, report: Report) -> Result<bool, Ending> {
        let put = self.lane.aside.put(piece, &report, (self.outbox.now_ms)());
        let metrics = self.metrics();
        metrics.sink_aside.get_or_create(&self.of_sink()).set(self.lane.aside.len() as i64);
        match put {
            Ok(true) => {
                let told = of_sink(&self.lane.name, &report);
                tracing::warn!(
                    code = "sinks/put-aside",
                    why = told.code,
                    id = piece.id,
                    "an item was refused by a sink's receiver, and is kept aside"
                );
                return Ok(true);
            }
            Ok(false) => {
                let full = aside_full(&self.lane.name, &report);
                self.failed(Failure::Refusal(Fault::Unknown), &full);
            }
            Err(report) => self.failed(Failure::Surroundings(None), &report),
        }
        self.wait().await?;
        Ok(false)
    }

    /// What stands aside of those who were erased goes.
    async fn forget_aside(&mut self, erased: &Batch) -> Result<(), Ending> {
        loop {
            let streams = &self.lane.declared.streams;
            match self.lane.aside.remove(|it| it.is_of_one_of(streams, erased)) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    let sink = &self.lane.name;
                    tracing::warn!(sink, n, "items of erased customers stood aside, and are gone");
                    return Ok(());
                }
                Err(report) => self.failed(Failure::Surroundings(None), &report),
            }
            self.wait().await?;
        }
    }

    /// Somebody asked for something while nothing was on its way.
    async fn asked(&mut self) -> Result<(), Ending> {
        if self.lane.probe.swap(false, SeqCst) {
            self.breaker.probe_now();
        }
        if !self.lane.retry_aside.swap(false, SeqCst) {
            return Ok(());
        }
        for kept in self.lane.aside.all() {
            let Some(piece) = kept.batch(&self.lane.declared.streams) else { continue };
            if let Came::Durable = self.attempt(&piece, None).await?
                && let Err(report) = self.lane.aside.remove(|it| it.id == piece.id)
            {
                log_report!(error, report, "what was delivered still stands aside");
            }
        }
        let metrics = self.metrics();
        metrics.sink_aside.get_or_create(&self.of_sink()).set(self.lane.aside.len() as i64);
        Ok(())
    }

    fn count(&self, outcome: &'static str) {
        let of = OfSinkOutcome { sink: self.lane.name.clone(), outcome };
        self.metrics().sink_attempts.get_or_create(&of).one();
    }

    fn metrics(&self) -> &Metrics {
        &self.outbox.metrics
    }

    fn of_sink(&self) -> OfSink {
        OfSink { sink: self.lane.name.clone() }
    }
}

/// Once it is told to end.
async fn told(mut stop: watch::Receiver<bool>) {
    // Whoever could tell is gone: that is the end, too.
    if stop.wait_for(|it| *it).await.is_err() {
        tracing::debug!("whoever ends the sinks has gone");
    }
}

/// The report of a receiver, with the sink's name.
fn of_sink(name: &str, report: &Report) -> Report {
    let mut report = report.clone();
    report.at.insert(0, ("sink", name.into()));
    report
}

fn no_answer(name: &str, timeout: Duration) -> Report {
    Report {
        code: "sinks/no-answer",
        what: "could not hand a batch over".into(),
        at: vec![("sink", name.into())],
        why: format!("expected an answer within {timeout:?}, found none"),
        effect: "nothing is lost: it is handed over again, with the same id".into(),
        fix: "see to the receiver; it is tried again by itself".into(),
    }
}

fn aside_full(name: &str, refusal: &Report) -> Report {
    Report {
        code: "sinks/aside-full",
        what: "cannot put any more items aside".into(),
        at: vec![("sink", name.into())],
        why: format!(
            "expected single items to be refused, found more than {}; the last: {}",
            super::aside::ASIDE_MAX,
            refusal.why
        ),
        effect: "nothing is lost: the sink waits".into(),
        fix: "look at them (`millstream sinks aside NAME`), mend the receiver and `millstream \
              sinks retry NAME`, or `millstream sinks drop NAME`"
            .into(),
    }
}
