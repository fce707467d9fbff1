//! One channel: takes what is due, one attempt after the other, until each has its answer.
//!
//! In: a [`Mail`]. Out: attempts at the receiver; answers, durable in the log.
//!
//! # Meaning
//! A message leaves only on a final answer, and that is a fact in the log: delivered, refused, or
//! expired. The schedule is the standard's ([`SCHEDULE`]), jittered; a receiver that fails again and
//! again is left alone by the breaker, and its messages wait without being counted as tried.
//!
//! # When it fails
//! Killed between the receiver's 2xx and the fact, the message is sent again under the same id: the
//! receiver sees a repeat, and nothing else. A receiver that answered 410 is not tried again before
//! somebody says so; what waits for it expires.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use schemas::reading::ViewReader;
use schemas::rows::Value;
use tokio::sync::{Notify, watch};

use super::AppendFacts;
use super::intent::Answer;
use super::mail::{Item, Mail};
use super::receiver::{ASKED_MAX_MS, Receiver, Said};
use super::standing::{Note, Standing};
use crate::clock;
use crate::config::channels::ChannelSettings;
use crate::messages::{AppendRefused, ReadHandle};
use crate::report::Report;
use crate::sinks::Fault;
use crate::sinks::breaker::{Breaker, Failure, State};

/// From one attempt at a message to the next, seconds: the standard's, 75 h 35 min in all. After the
/// tenth attempt it is refused.
pub(super) const SCHEDULE: [u64; 9] =
    [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// A pause is longer by up to so much of a hundred.
const JITTER_PERCENT: u64 = 20;
/// An answer that the log does not take is offered again after so long.
const LOG_PAUSE: Duration = Duration::from_millis(200);
/// Longest sleep: clocks are looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// Of a failure so many characters are kept with its message.
const WHY_MAX: usize = 200;

/// A channel as it is now: others may be put in its place while it runs.
pub(super) struct Live {
    /// As it was written.
    pub(super) settings: ChannelSettings,
    /// Who is told.
    pub(super) receiver: Receiver,
}

/// A channel's window, how it stands, and what wakes its task.
pub(super) struct Waiting {
    /// What waits.
    pub(super) mail: Mutex<Mail>,
    /// Something was added, or asked.
    pub(super) bell: Notify,
    /// How it stands.
    pub(super) standing: Mutex<Standing>,
    /// Somebody says that the receiver is mended.
    pub(super) probe: AtomicBool,
    /// The channel is to end.
    pub(super) end: watch::Sender<bool>,
    live: RwLock<Arc<Live>>,
}

impl Waiting {
    /// Nothing waits.
    pub(super) fn new(standing: Standing, live: Arc<Live>) -> Waiting {
        Waiting {
            mail: Mutex::default(),
            bell: Notify::new(),
            standing: Mutex::new(standing),
            probe: AtomicBool::new(false),
            end: watch::channel(false).0,
            live: RwLock::new(live),
        }
    }

    /// As it is now.
    pub(super) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read())
    }

    /// Goes on as this.
    pub(super) fn put(&self, live: Arc<Live>) {
        *self.live.write() = live;
    }
}

/// What the tasks of all channels share.
pub(super) struct Shared {
    /// The views.
    pub(super) read: ReadHandle,
    /// The view of intents.
    pub(super) view: Arc<dyn ViewReader>,
    /// The log.
    pub(super) append: AppendFacts,
    /// The time, milliseconds.
    pub(super) now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// A channel, running.
pub(super) struct Channel {
    /// What waits for it.
    pub(super) waiting: Arc<Waiting>,
    /// Jitter.
    pub(super) seed: u64,
}

/// How an item's attempt ended.
enum Ended {
    /// A final answer is durable at this position, or there was nothing to say any more.
    Done(Option<u64>),
    /// The receiver is there.
    Delivered(u64),
    /// The receiver is there, and does not take this one.
    Refused(u64),
    /// Nobody wants any more of it.
    Gone(Option<u64>),
    /// It is to go again.
    Again { after: Option<Duration>, blame: Option<Fault>, why: String },
    /// The channel is not fit.
    Never(String),
    /// It was not tried, and expires then.
    Held(u64),
}

impl Channel {
    /// Sends until the end.
    pub(super) async fn run(mut self, shared: Arc<Shared>) {
        let mut end = self.waiting.end.subscribe();
        let Note { breaker, mut gone, mut asked_ms } = self.waiting.standing.lock().note.clone();
        let mut breaker = Breaker::new(breaker, self.seed);
        let mut under_way = FuturesUnordered::new();
        // What the rate allows next, microseconds from here: it does not stand still with a clock
        // that was stepped back.
        let (began, mut next_us) = (clock::monotonic(), 0_u64);
        let passed_us = || u64::try_from(clock::since(began).as_micros()).unwrap_or(u64::MAX);
        while !*end.borrow() {
            let now = (shared.now_ms)();
            let live = self.waiting.live();
            if self.waiting.probe.swap(false, SeqCst) {
                breaker.probe_now();
                (gone, asked_ms) = (false, 0);
            }
            let (pause, _) = breaker.wait(now);
            // A clock that was set back must not hold it for a year.
            let asked = asked_ms.saturating_sub(now).min(ASKED_MAX_MS);
            let pause = if gone { Duration::ZERO } else { pause.max(Duration::from_millis(asked)) };
            let most = match breaker.kept.state {
                State::Closed => live.settings.concurrency,
                _ => 1,
            };
            self.tell(&breaker, (gone, asked_ms));
            while pause.is_zero() && under_way.len() < most && next_us <= passed_us() {
                let Some(item) = self.waiting.mail.lock().take(now) else { break };
                let earliest = passed_us().saturating_sub(1_000);
                next_us = next_us.max(earliest) + 1_000_000 / live.settings.rate as u64;
                under_way.push(attempt(&shared, Arc::clone(&live), item, gone));
            }
            let rate = Duration::from_micros(next_us.saturating_sub(passed_us()));
            let sleep = self.sleep(now, (pause, rate), under_way.len() < most);
            tokio::select! {
                Some((item, ended)) = under_way.next(), if !under_way.is_empty() => {
                    let now = (shared.now_ms)();
                    gone |= matches!(ended, Ended::Gone(_));
                    let unsent = matches!(ended, Ended::Done(None)).then(|| item.clone());
                    if let Ended::Again { after: Some(after), .. } = &ended {
                        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                        asked_ms = asked_ms.max(now.saturating_add(after));
                    }
                    self.ended(item, ended, &mut breaker, now);
                    self.tell(&breaker, (gone, asked_ms));
                    // Cancelled; and perhaps put back meanwhile, when it was still known here.
                    if let Some(item) = unsent && is_planned(&shared, &item) {
                        self.waiting.mail.lock().add(item);
                    }
                }
                () = self.waiting.bell.notified() => {}
                () = tokio::time::sleep(sleep) => {}
                changed = end.changed() => if changed.is_err() { return },
            }
        }
    }

    /// How long there is nothing to do but to wait for answers.
    fn sleep(&self, now: u64, (pause, rate): (Duration, Duration), room: bool) -> Duration {
        if !room {
            return LOOK;
        }
        let due = self.waiting.mail.lock().next_due();
        let due = due.map_or(LOOK, |it| Duration::from_millis(it.saturating_sub(now)));
        due.max(pause).max(rate).clamp(Duration::from_millis(1), LOOK)
    }

    /// How it stands, for those who look and for the next start.
    fn tell(&self, breaker: &Breaker, (gone, asked_ms): (bool, u64)) {
        let mut standing = self.waiting.standing.lock();
        let kept = &breaker.kept;
        let note = &standing.note;
        if (&note.breaker, note.gone, note.asked_ms) != (kept, gone, asked_ms) {
            standing.tell(Note { breaker: kept.clone(), gone, asked_ms });
        }
    }

    fn ended(&mut self, mut item: Item, ended: Ended, breaker: &mut Breaker, now: u64) {
        let live = self.waiting.live();
        let name = live.settings.name.as_str();
        match ended {
            Ended::Done(position) => self.waiting.mail.lock().done(&item, position),
            Ended::Delivered(position) => {
                if breaker.success() {
                    tracing::info!(channel = name, "a receiver takes messages again");
                }
                self.waiting.mail.lock().done(&item, Some(position));
                let mut standing = self.waiting.standing.lock();
                standing.delivered += 1;
                standing.last_ms = Some(now);
            }
            Ended::Refused(position) => {
                if breaker.success() {
                    tracing::info!(channel = name, "a receiver takes messages again");
                }
                self.waiting.mail.lock().done(&item, Some(position));
            }
            Ended::Gone(position) => {
                tracing::error!(
                    code = "notify/gone",
                    channel = name,
                    "a receiver answered 410: nothing more is sent to it until somebody says so"
                );
                self.waiting.mail.lock().done(&item, position);
            }
            Ended::Again { after, blame, why } => {
                let pause = pause_ms(item.attempts).unwrap_or(0);
                item.attempts += 1;
                let asked = after.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
                item.due_ms = now.saturating_add(jittered(&mut self.seed, pause).max(asked));
                item.why = why.chars().take(WHY_MAX).collect();
                failed(breaker, name, (after, blame), &why, now);
                self.waiting.mail.lock().back(item);
            }
            Ended::Never(why) => {
                failed(breaker, name, (None, Some(Fault::Configuration)), &why, now);
                item.due_ms = now;
                self.waiting.mail.lock().back(item);
            }
            Ended::Held(until_ms) => {
                (item.due_ms, item.why) = (until_ms, "its receiver answered 410".into());
                self.waiting.mail.lock().back(item);
            }
        }
    }
}

fn is_planned(shared: &Shared, item: &Item) -> bool {
    let pin = shared.read.instants.pin();
    let row = shared.view.get(item.name.tenant(), item.name.key(), pin.epoch()).ok().flatten();
    let state = row.and_then(|it| it.values.get(shared.view.def().position("state")?).cloned());
    matches!(state, Some(Value::Text(it)) if it == "planned")
}

/// What a failure says of the receiver.
fn failed(
    breaker: &mut Breaker,
    channel: &str,
    (after, blame): (Option<Duration>, Option<Fault>),
    why: &str,
    now: u64,
) {
    let (failure, code) = match blame {
        Some(Fault::Data) => {
            // It answered: nothing is wrong but with this message.
            if breaker.success() {
                tracing::info!(channel, "a receiver takes messages again");
            }
            return;
        }
        None => (Failure::Surroundings(after), "notify/receiver"),
        Some(fault) => (Failure::Refusal(fault), "notify/channel"),
    };
    if !breaker.failure(failure, now, (code, why)) {
        return;
    }
    match code {
        "notify/channel" => {
            tracing::error!(code = "notify/channel", channel, why, "somebody has to see to it");
        }
        _ => tracing::warn!(code = "notify/receiver", channel, why, "is left alone"),
    }
}

/// How long after an attempt that failed, and those before it, the next one is; none: that was the
/// last.
fn pause_ms(attempts: u32) -> Option<u64> {
    SCHEDULE.get(attempts as usize).map(|it| it * 1_000)
}

fn jittered(seed: &mut u64, pause_ms: u64) -> u64 {
    // xorshift: any spread does.
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    pause_ms + pause_ms * (*seed % (JITTER_PERCENT + 1)) / 100
}

/// One attempt at one message; a final answer is durable when this ends.
/// `held`: nothing is sent.
async fn attempt(shared: &Shared, live: Arc<Live>, item: Item, held: bool) -> (Item, Ended) {
    let now = (shared.now_ms)();
    let (tenant, message) = (item.name.tenant(), item.name.key());
    let row = {
        let pin = shared.read.instants.pin();
        shared.view.get(tenant, message, pin.epoch()).ok().flatten()
    };
    let def = shared.view.def();
    let field = |name: &str| {
        let place = def.position(name)?;
        row.as_ref()?.values.get(place).cloned()
    };
    let planned = matches!(field("state"), Some(Value::Text(it)) if it == "planned");
    let Some(row) = row.as_ref().filter(|_| planned) else {
        return (item, Ended::Done(None));
    };
    let answer = |outcome: &'static str, reason: Option<String>| {
        let at = micros((shared.now_ms)());
        let (message, attempts) = (message.to_string(), item.attempts + 1);
        let reason = reason.as_deref();
        Answer { message: (tenant, &message), outcome, reason, attempts, at }.event()
    };
    let expires = match field("expires_at") {
        Some(Value::Time(it)) => it,
        _ => i64::MAX,
    };
    if expires > micros(now) && held {
        return (item, Ended::Held(expires.unsigned_abs() / 1_000 + 1));
    }
    if expires <= micros(now) {
        let event = answer("expired", Some("not delivered in time".into()));
        let position = durable(shared, event).await;
        return (item, Ended::Done(Some(position)));
    }
    let seconds = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
    let ended = match live.receiver.tell((tenant, message), &def.to_json(row), seconds).await {
        Said::Delivered => Ended::Delivered(durable(shared, answer("delivered", None)).await),
        Said::Gone => {
            let event = answer("refused", Some("the receiver answered 410 Gone".into()));
            Ended::Gone(Some(durable(shared, event).await))
        }
        Said::Refused(why) => Ended::Refused(durable(shared, answer("refused", Some(why))).await),
        Said::Again { why, .. } if pause_ms(item.attempts).is_none() => {
            let event = answer("refused", Some(format!("tried to the end: {why}")));
            Ended::Done(Some(durable(shared, event).await))
        }
        Said::Again { after, blame, why } => Ended::Again { after, blame, why },
        Said::Never(why) => Ended::Never(why),
    };
    (item, ended)
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// Offers a fact to the log until it is durable: the position after it.
pub(super) async fn durable(shared: &Shared, event: Vec<u8>) -> u64 {
    let mut told = false;
    loop {
        let why: Option<Report> = match (shared.append)(vec![event.clone()]) {
            Ok(answer) => match answer.await {
                Ok(Ok(appended)) => return appended.next,
                Ok(Err(AppendRefused::Failed(report))) => Some(report),
                // Busy; or the log's writer is gone, and so is this process soon.
                Ok(Err(AppendRefused::Busy(_))) | Err(_) => None,
            },
            Err(AppendRefused::Failed(report)) => Some(report),
            Err(AppendRefused::Busy(_)) => None,
        };
        if let Some(report) = why
            && !std::mem::replace(&mut told, true)
        {
            crate::report::log_report!(error, report, "an answer waits for the log");
        }
        tokio::time::sleep(LOG_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Password;
    use crate::config::channels::{EXPIRES, To};
    use crate::sinks::breaker::Kept;
    use schemas::names::Name;

    /// Goal: the schedule is the standard's, and a message does not expire before it is at its end,
    /// whatever the jitter and the time-outs.
    #[test]
    fn the_schedule_ends_before_a_message_expires() {
        let in_all: u64 = SCHEDULE.iter().sum();
        assert_eq!(in_all, (75 * 60 + 35) * 60 + 5);
        let longest = Duration::from_secs(in_all * (100 + JITTER_PERCENT) / 100);
        let attempts = Duration::from_secs(60) * (SCHEDULE.len() as u32 + 1);
        assert!(longest + attempts < EXPIRES, "{longest:?}");
        // Ten attempts: a pause after each of nine, and none after the last.
        let pauses: Vec<u64> = (0..20).map_while(pause_ms).collect();
        assert_eq!(pauses.len(), 9);
        assert!(pauses.is_sorted() && pauses[0] == 5_000 && pauses[8] == 86_400_000);
    }

    /// Goal: a message is tried ten times, as far apart as the schedule says, and then no more.
    /// Method: a channel whose every attempt fails, in a time of its own.
    #[test]
    fn tried_to_the_end() {
        let secret =
            Password::Variable("S".into(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
        let settings = ChannelSettings {
            name: "ops".into(),
            to: To::Webhook { url: "http://receiver.test/hook".into(), secret },
            ca_file: None,
            allow: vec![],
            concurrency: 1,
            rate: 1,
            timeout: Duration::from_secs(1),
            expires: EXPIRES,
        };
        let receiver = Receiver::new(&settings, super::super::wire::system()).unwrap();
        let live = Arc::new(Live { settings, receiver });
        let waiting = Arc::new(Waiting::new(Standing::default(), live));
        let mut channel = Channel { waiting: Arc::clone(&waiting), seed: 7 };
        let mut breaker = Breaker::new(Kept::default(), 7);
        let name = Name::new("default", "m");
        let item = Item { name, about: "K-1".into(), attempts: 0, due_ms: 0, why: String::new() };
        waiting.mail.lock().add(item);
        let (mut now, mut pauses) = (1_000_000, Vec::new());
        loop {
            let item = waiting.mail.lock().take(now).unwrap();
            if pause_ms(item.attempts).is_none() {
                break;
            }
            let ended = Ended::Again { after: None, blame: None, why: "answered 500".into() };
            channel.ended(item, ended, &mut breaker, now);
            let due = waiting.mail.lock().next_due().unwrap();
            assert_eq!(waiting.mail.lock().take(due - 1), None, "not before");
            pauses.push(due - now);
            now = due;
        }
        assert_eq!(pauses.len(), SCHEDULE.len());
        for (pause, said) in pauses.iter().zip(SCHEDULE.map(|it| it * 1_000)) {
            assert!((said..=said + said / 5).contains(pause), "{pause} of {said}");
        }
    }

    /// Goal: a pause is never shorter than the schedule's and at most a fifth longer, and not always
    /// the same.
    #[test]
    fn jitter_has_its_bounds() {
        let mut seed = 7;
        for pause in SCHEDULE.map(|it| it * 1_000) {
            let all: Vec<u64> = (0..1_000).map(|_| jittered(&mut seed, pause)).collect();
            let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            assert!(*least >= pause && *most <= pause + pause / 5, "{least} {most}");
            assert!(most - least > pause / 6, "{least} {most}");
        }
    }
}
