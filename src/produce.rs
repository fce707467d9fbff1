//! Sends JSON lines to a Kafka topic, and knows from which line to go on.
//!
//! In: [`Chunk`]s of lines, as every reader gives them. Out: records in the topic, and an
//! [`Outcome`].
//!
//! # Meaning
//! A line is one record; empty ones are not sent. [`Outcome::next_line`] is the first line that is
//! not known to be kept: everything before it has been acknowledged by all replicas. Sending again
//! from there leaves nothing out; of what follows it some may be there twice, which a reader tells
//! by the events' ids (`tests/live/produce.rs`).
//!
//! # Invariants
//! - The producer is idempotent: within one run nothing is doubled or put out of order by a retry.
//! - Memory: one chunk, and librdkafka's queue ([`client::QUEUE_KIB`]).
//!
//! # When it fails
//! The first line that is refused ends the sending; what is under way then is waited for
//! ([`REST`]). A broker that is away is waited for until a record's time is over
//! (`message.timeout.ms`, five minutes).
//!
//! # Why this way
//! One thread that sends and polls: the callbacks of two million records cost less than handing
//! them to another thread.

mod acknowledged;
pub mod client;
mod pointer;
pub mod record;
mod topic;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use serde::Serialize;

use crate::clock;
use crate::messages::Chunk;
use crate::report::Report;
use client::{Client, Refused};
use record::{Shape, Shaped};

/// After a refusal, or when told to stop: how long what is under way is waited for.
const REST: Duration = Duration::from_secs(10);
/// Longest wait without looking whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long answers are waited for where the next thing depends on one. (librdkafka's poll, as it
/// is wrapped, always takes the whole time that it is given.)
const BREATH: Duration = Duration::from_millis(5);
/// So many lines are sent between two looks at what has come back.
const BETWEEN_LOOKS: u64 = 256;
/// Longest line: somewhat above what a broker takes by default. Of a longer one the reader keeps
/// one byte more than this, and half a line is no record.
pub const LINE_MAX_BYTES: usize = 1 << 20;
/// A word of progress so often.
const WORD_PERIOD: Duration = Duration::from_secs(1);

/// What to send, where to, how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to reach, and by which settings.
    pub client: client::Settings,
    /// The topic.
    pub topic: String,
    /// It is made with so many partitions if it is not there.
    pub partitions: Option<i32>,
    /// What becomes of a line.
    pub shape: Shape,
    /// Lines a second; as fast as it goes if absent.
    pub rate: Option<f64>,
    /// The first line to send, counted from 1.
    pub from: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Everything was sent and acknowledged.
    Whole,
    /// Told to stop.
    Interrupted,
    /// Something was refused, or nobody answered.
    Failed,
}

/// What came of it; `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// Records that the broker has acknowledged.
    pub acknowledged: u64,
    /// Lines that were empty, and so not sent.
    pub skipped: u64,
    /// Records sent without a key: any partition may have them.
    pub unkeyed: u64,
    /// The first line that is not known to be kept: where to go on (`--from`).
    pub next_line: u64,
    /// Seconds from the first line to the last acknowledgement.
    pub run_s: f64,
    /// Records acknowledged a second.
    pub records_per_s: f64,
}

/// A word of progress.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// Since the start.
    pub passed: Duration,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records acknowledged a second since the last word.
    pub per_s: f64,
    /// Records sent and not yet acknowledged.
    pub under_way: i32,
    /// Where to go on if it ended now.
    pub next_line: u64,
}

/// Sends all of it, on the caller's thread.
pub fn run(
    plan: &Plan,
    chunks: &Receiver<Chunk>,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Word),
) -> (Outcome, Result<(), Report>) {
    let started = clock::monotonic();
    let client = match client::connect(plan, stop) {
        Ok(client) => client,
        Err(why) => return (Sent::new(plan.from).outcome(Ended::Failed, started, None), Err(why)),
    };
    let started = clock::monotonic();
    let mut sending = Sending { plan, client, stop, sent: Sent::new(plan.from), started, tell };
    let (ended, told) = match sending.all(chunks) {
        Ok(ended) => (ended, Ok(())),
        Err(why) => {
            // What was sent before it may still arrive.
            sending.settle();
            (Ended::Failed, Err(why))
        }
    };
    let outcome = sending.sent.outcome(ended, started, Some(&sending.client));
    (outcome, told)
}

/// What has been sent, counted.
struct Sent {
    from: u64,
    /// The line that comes next.
    line: u64,
    records: u64,
    skipped: u64,
    unkeyed: u64,
    word_at: Duration,
    word_of: u64,
}

impl Sent {
    fn new(from: u64) -> Sent {
        let word_at = Duration::ZERO;
        Sent { from, line: 1, records: 0, skipped: 0, unkeyed: 0, word_at, word_of: 0 }
    }

    fn outcome(&self, ended: Ended, started: Instant, client: Option<&Client>) -> Outcome {
        let run_s = clock::since(started).as_secs_f64();
        let (acknowledged, next_line) =
            client.map_or((0, self.from), |it| it.context().acknowledged());
        Outcome {
            ended,
            acknowledged,
            skipped: self.skipped,
            unkeyed: self.unkeyed,
            next_line,
            run_s,
            records_per_s: acknowledged as f64 / run_s.max(1e-9),
        }
    }
}

struct Sending<'a> {
    plan: &'a Plan,
    client: Client,
    stop: &'a AtomicBool,
    sent: Sent,
    started: Instant,
    tell: &'a mut dyn FnMut(Word),
}

impl Sending<'_> {
    fn all(&mut self, chunks: &Receiver<Chunk>) -> Result<Ended, Report> {
        loop {
            match chunks.recv_timeout(LOOK) {
                Ok(chunk) => self.chunk(&chunk)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look(Duration::ZERO)?;
            if self.stopped() {
                break;
            }
        }
        while !self.stopped() {
            if self.client.in_flight_count() == 0 {
                self.look(Duration::ZERO)?;
                return Ok(Ended::Whole);
            }
            self.look(BREATH)?;
        }
        self.settle();
        Ok(Ended::Interrupted)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), Report> {
        let n = usize::try_from(chunk.next - chunk.first).unwrap_or(usize::MAX);
        // What follows the last line end is no line.
        for line in chunk.bytes.split(|it| *it == b'\n').take(n) {
            if self.stopped() {
                return Ok(());
            }
            let number = self.sent.line;
            self.sent.line += 1;
            if number < self.plan.from {
                continue;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.client.context().sent(number);
            if line.trim_ascii().is_empty() {
                self.client.context().passed(number);
                self.sent.skipped += 1;
                continue;
            }
            self.until_due()?;
            if line.len() > LINE_MAX_BYTES {
                let why = format!("expected at most {LINE_MAX_BYTES} bytes, found more");
                return Err(self.client.told(&Refused { line: number, why }));
            }
            let shaped =
                record::shaped(line, &self.plan.shape).map_err(|why| not_an_event(number, why))?;
            self.send(number, &shaped)?;
            self.sent.records += 1;
            self.sent.unkeyed += u64::from(shaped.key.is_none());
            if self.sent.records.is_multiple_of(BETWEEN_LOOKS) {
                self.look(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Waits until the next record is due: an open loop, whatever became of those before.
    fn until_due(&mut self) -> Result<(), Report> {
        let Some(rate) = self.plan.rate else { return Ok(()) };
        let at = Duration::from_secs_f64((self.sent.records as f64 / rate).min(1e9));
        loop {
            let passed = clock::since(self.started);
            if passed >= at || self.stopped() {
                return Ok(());
            }
            self.look((at - passed).min(LOOK))?;
        }
    }

    fn send(&mut self, number: u64, shaped: &Shaped<'_>) -> Result<(), Report> {
        // A line's number fits: a file of so many lines does not.
        let opaque = usize::try_from(number).unwrap_or(usize::MAX);
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(&self.plan.topic, opaque);
        record.key = shaped.key.as_deref();
        record.payload = shaped.value.as_deref();
        if !shaped.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(shaped.headers.len());
            for (key, value) in &shaped.headers {
                headers = headers.insert(Header { key, value: Some(&**value) });
            }
            record = record.headers(headers);
        }
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.look(BREATH)?;
                    if self.stopped() {
                        return Ok(());
                    }
                }
                Err((why, _)) => {
                    return Err(self.client.told(&Refused { line: number, why: why.to_string() }));
                }
            }
        }
    }

    /// Waits for what is under way, whatever comes of it, for [`REST`] at most.
    fn settle(&mut self) {
        let began = clock::monotonic();
        while self.client.in_flight_count() > 0 && clock::since(began) < REST {
            self.client.poll(BREATH);
        }
    }

    /// Takes what has come back, and says a word when it is time.
    fn look(&mut self, wait: Duration) -> Result<(), Report> {
        self.client.poll(wait);
        let passed = clock::since(self.started);
        if passed >= self.sent.word_at + WORD_PERIOD {
            let (acknowledged, next_line) = self.client.context().acknowledged();
            let since = (passed - self.sent.word_at).as_secs_f64();
            (self.tell)(Word {
                passed,
                acknowledged,
                per_s: (acknowledged - self.sent.word_of) as f64 / since,
                under_way: self.client.in_flight_count(),
                next_line,
            });
            self.sent.word_at = passed;
            self.sent.word_of = acknowledged;
        }
        self.client.trouble()
    }
}

fn not_an_event(line: u64, why: String) -> Report {
    Report {
        code: "produce/not-an-event",
        what: "cannot send a line in binary mode".into(),
        at: vec![("line", line.to_string())],
        why,
        effect: "the lines before it were sent; this one and those after it were not".into(),
        fix: format!(
            "send the file with `--mode structured`, which takes any JSON; or leave the line out \
             and go on with `--from {}`",
            line + 1
        ),
    }
}
