//! The threads of the sinks: one that fixes batches for all of them, and one for each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use schemas::reading::Pin;
use serde_json::Value;
use tokio::sync::watch;

use super::aside;
use super::fixing::{Desk, UNDO_STOP_BYTES};
use super::lane::Lane;
use super::outbox::{EVENTS_MAX_BYTES, Outbox, Parts};
use super::runner::Runner;
use super::{Against, Given};
use crate::clock;
use crate::metrics::OfSink;
use crate::report::Report;
use crate::tasks;

/// Longest time between two looks at what waits.
const LOOK: Duration = Duration::from_millis(50);
/// Without the pin of a checkpoint for so long, rows are read at one of our own: nothing is being
/// read, or checkpoints are far apart.
const OWN_PIN_AFTER: Duration = Duration::from_millis(1_500);
/// Who wants to compare waits so long for what is on its way.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);
/// Who wants all anew waits so long until that is noted.
const NOTED_WITHIN: Duration = Duration::from_secs(10);
/// A commit takes one sync; after so long the pin is given up.
const COMMIT_WITHIN: Duration = Duration::from_millis(500);
/// How often is looked whether it is there.
const POLL: Duration = Duration::from_millis(5);
/// Reading lags once it has been seen to for so long more than not, and until that is undone: a queue
/// that is full for a moment is no lag.
const LAGS_FROM: Duration = Duration::from_millis(500);
/// More of it is not remembered.
const LAGS_MOST: Duration = Duration::from_secs(1);
/// How often the numbers are told.
const TELL: Duration = Duration::from_millis(250);

/// All sinks of a process, running.
pub struct Sinks {
    outbox: Arc<Outbox>,
    fixing: JoinHandle<Result<(), Report>>,
    threads: Vec<(String, JoinHandle<()>)>,
    end: watch::Sender<bool>,
    stop: Arc<AtomicBool>,
}

/// What may be asked of running sinks. Cloning is cheap.
#[derive(Clone)]
pub struct Asking(Arc<Outbox>);

impl Sinks {
    /// Opens every outbox and starts the threads: what was fixed before is handed over at once.
    pub fn start(data_dir: &Path, sinks: Vec<Given>, parts: Parts) -> Result<Sinks, Report> {
        let (outbox, opened) = Outbox::open(data_dir, sinks, parts)?;
        let mut desks = Vec::new();
        for (n, it) in opened.iter().enumerate() {
            let mut desk = Desk::new(it, n)?;
            // A disk that is full is no reason not to start: it is written with the next turn.
            desk.write((outbox.now_ms)());
            desks.push(desk);
        }
        let (end, told) = watch::channel(false);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for it in opened {
            let runner = Runner::new(&outbox, &it.lane, it.batches, told.clone());
            let name = it.lane.name.clone();
            let could_not = |why: std::io::Error| tasks::could_not_start(("thread", "sink"), &why);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(could_not)?;
            let thread =
                tasks::thread(&format!("sink-{name}"), move || runtime.block_on(runner.run()))?;
            threads.push((name, thread));
        }
        let (theirs, until) = (Arc::clone(&outbox), Arc::clone(&stop));
        let fixing = tasks::thread("outbox", move || fix(&theirs, desks, &until))?;
        Ok(Sinks { outbox, fixing, threads, end, stop })
    }

    /// For the checkpoints.
    pub fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }

    /// For those who ask.
    pub fn asking(&self) -> Asking {
        Asking(Arc::clone(&self.outbox))
    }

    /// Ends them: attempts are given up, and made again by the next start. The last checkpoint must
    /// have been made.
    pub fn stop(self) -> Result<(), Report> {
        self.end.send_replace(true);
        let mut panicked = None;
        for (name, thread) in self.threads {
            if let Err(panic) = thread.join() {
                panicked = Some((name, panic));
            }
        }
        self.stop.store(true, SeqCst);
        self.outbox.wake.notify_all();
        let fixed = self.fixing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some((name, panic)) = panicked {
            tracing::error!(sink = name, "a sink's thread panicked");
            std::panic::resume_unwind(panic);
        }
        fixed
    }
}

fn not_noted(name: &str) -> Report {
    Report {
        code: "sinks/outbox",
        what: "could not note that all is to be delivered anew".into(),
        at: vec![("sink", name.into())],
        why: format!("expected its outbox to take the note within {NOTED_WITHIN:?}, it did not"),
        effect: "it may begin anew all the same; a crash may take that back".into(),
        fix: "see to the disk (the log says what it refused), then ask again".into(),
    }
}

/// There are none to ask.
pub fn no_sinks() -> Report {
    Report {
        code: "sinks/no-such-sink",
        what: "cannot find a sink".into(),
        at: vec![],
        why: "expected a `[sinks.NAME]` in the settings, found none".into(),
        effect: "nothing was changed".into(),
        fix: "name one in the settings (docs/sinks.md), then start again".into(),
    }
}

/// The life of the thread that fixes.
fn fix(outbox: &Outbox, mut desks: Vec<Desk>, stop: &AtomicBool) -> Result<(), Report> {
    let mut last_pin = clock::monotonic();
    let mut last_told: Option<Instant> = None;
    let mut lag = Lag::default();
    loop {
        let pin = wait(outbox);
        if stop.load(SeqCst) {
            drop(pin);
            return desks.into_iter().try_for_each(|it| it.close(outbox));
        }
        let pin = pin.filter(|it| is_durable(outbox, it, stop));
        if pin.is_some() {
            last_pin = clock::monotonic();
        }
        let lags = lag.seen((outbox.lags)(), clock::monotonic());
        turn(outbox, &mut desks, pin, (clock::since(last_pin) > OWN_PIN_AFTER, lags));
        if last_told.is_none_or(|it| clock::since(it) > TELL) {
            last_told = Some(clock::monotonic());
            outbox.lanes.iter().for_each(|it| tell(outbox, it));
        }
    }
}

/// For how long reading has been seen to lag, less for how long not.
#[derive(Default)]
struct Lag {
    level: Duration,
    looked: Option<Instant>,
}

impl Lag {
    /// It was looked at: whether reading lags.
    fn seen(&mut self, lags: bool, now: Instant) -> bool {
        let passed = self.looked.map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        self.looked = Some(now);
        self.level = if lags {
            (self.level + passed).min(LAGS_MOST)
        } else {
            self.level.saturating_sub(passed)
        };
        self.level >= LAGS_FROM
    }
}

/// One turn: takes in what others have told, and fixes what is due. `pin`: of a checkpoint that is
/// durable; without one, rows that wait are read at one of our own if `own` says so. `lags`: reading
/// does, and sinks wait.
pub(super) fn turn(
    outbox: &Outbox,
    desks: &mut [Desk],
    pin: Option<Pin>,
    (own, lags): (bool, bool),
) {
    let durable = outbox.durable.load(SeqCst);
    desks.iter_mut().for_each(|it| {
        it.look(outbox);
        it.compact(outbox);
    });
    let pinned = pin.is_some() || own;
    let due = desks.iter_mut().filter(|it| it.is_due(durable, lags, pinned));
    let due: Vec<&mut Desk> = due.collect();
    let wanted = due.iter().any(|it| it.wants_pin());
    let pin = pin.or_else(|| (wanted && own).then(|| outbox.instants.pin()));
    // Rows wait for a pin; what was gathered need not. No disk is waited for while it is held.
    let mut prepared = Vec::new();
    for desk in due {
        if let Some(it) = desk.prepare(outbox, pin.as_ref(), durable) {
            prepared.push((desk, it));
        }
    }
    drop(pin);
    prepared.into_iter().for_each(|(desk, it)| desk.fix(outbox, it));
    let now_ms = (outbox.now_ms)();
    desks.iter_mut().for_each(|it| it.write(now_ms));
    let full = outbox.lanes.iter().any(|it| it.is_full());
    (outbox.hold)(full || outbox.events_bytes.load(SeqCst) > EVENTS_MAX_BYTES);
}

/// Waits until the checkpoint at the epoch of this pin is durable: what is read there may leave
/// then. False if that takes long, or too many old versions pile up behind it: rows go on waiting.
fn is_durable(outbox: &Outbox, pin: &Pin, stop: &AtomicBool) -> bool {
    let began = clock::monotonic();
    while outbox.durable.load(SeqCst) < pin.epoch() {
        let much = outbox.instants.undo_bytes() > UNDO_STOP_BYTES;
        if much || stop.load(SeqCst) || clock::since(began) > COMMIT_WITHIN {
            return false;
        }
        let mut window = outbox.window.lock();
        outbox.wake.wait_for(&mut window, POLL);
    }
    true
}

/// Waits until there may be something to do; the pin of a checkpoint, if one was made.
fn wait(outbox: &Outbox) -> Option<Pin> {
    let mut window = outbox.window.lock();
    if window.is_none() {
        outbox.wake.wait_for(&mut window, LOOK);
    }
    window.take()
}

fn tell(outbox: &Outbox, lane: &Lane) {
    let of = OfSink { sink: lane.name.clone() };
    let metrics = &outbox.metrics;
    let bytes = i64::try_from(lane.log.folder.bytes()).unwrap_or(i64::MAX);
    metrics.outbox_bytes.get_or_create(&of).set(bytes);
    metrics.outbox_rows.get_or_create(&of).set(lane.n_waiting() as i64);
    metrics.sink_aside.get_or_create(&of).set(lane.aside.len() as i64);
    let marked = lane.shared.lock().told.marked;
    metrics.sink_marked.get_or_create(&of).set(marked as f64 / 1e3);
}

impl Asking {
    /// How each stands.
    pub fn list(&self) -> Value {
        let now_ms = (self.0.now_ms)();
        self.0.lanes.iter().map(|it| it.json(now_ms)).collect()
    }

    /// The codes of those that need somebody.
    pub fn alarms(&self) -> Vec<String> {
        let alarms = self.0.lanes.iter().filter_map(|lane| {
            let told = lane.shared.lock().told.clone();
            let state = told.breaker.state;
            state.is_alarm().then(|| format!("sink {} is {}", lane.name, state.word()))
        });
        alarms.collect()
    }

    /// What stands aside of one.
    pub fn aside(&self, name: &str) -> Result<Value, Report> {
        let lane = self.lane(name)?;
        Ok(lane.aside.all().iter().map(|it| it.json(&lane.declared.streams)).collect())
    }

    /// The receiver has been mended: it is probed at once.
    pub fn resume(&self, name: &str) -> Result<Value, Report> {
        let lane = self.lane(name)?;
        lane.probe.store(true, SeqCst);
        lane.ask.notify_one();
        Ok(lane.json((self.0.now_ms)()))
    }

    /// What stands aside is tried once more, and the receiver probed.
    pub fn retry(&self, name: &str) -> Result<Value, Report> {
        let lane = self.lane(name)?;
        lane.retry_aside.store(true, SeqCst);
        self.resume(name)
    }

    /// What stands aside (this item, or all) is given up.
    pub fn drop_aside(&self, name: &str, id: Option<&str>) -> Result<Value, Report> {
        let lane = self.lane(name)?;
        let n = lane.aside.remove(|it: &aside::Kept| id.is_none_or(|id| it.id == id))?;
        lane.probe.store(true, SeqCst);
        lane.ask.notify_one();
        Ok(serde_json::json!({"sink": name, "dropped": n}))
    }

    /// All there is is delivered anew, beside what happens. Returns when that is noted: it outlives
    /// a crash.
    pub fn anew(&self, name: &str) -> Result<Value, Report> {
        let lane = self.lane(name)?;
        let before = lane.shared.lock().told.anews;
        lane.anew.store(true, SeqCst);
        self.0.wake.notify_one();
        let began = clock::monotonic();
        while lane.shared.lock().told.anews == before {
            if clock::since(began) > NOTED_WITHIN {
                return Err(not_noted(name));
            }
            std::thread::park_timeout(POLL);
        }
        Ok(lane.json((self.0.now_ms)()))
    }

    /// What a sink's receiver has against what is served, at one instant of which everything has
    /// been delivered.
    pub fn verify(&self, name: &str) -> Result<Value, Report> {
        let (outbox, lane) = (&self.0, self.lane(name)?);
        let cannot = |why: &str| Report {
            code: "sinks/could-not-verify",
            what: "could not compare what a receiver has with what is served".into(),
            at: vec![("sink", name.into())],
            why: why.into(),
            effect: "nothing was changed".into(),
            fix: "see `millstream sinks list`; ask again once it is closed and caught up".into(),
        };
        let at = outbox.instant().ok_or_else(|| cannot("no instant could be held"))?;
        let began = clock::monotonic();
        let events = loop {
            // In the order in which it moves on: what does so meanwhile is seen behind.
            let rows = !lane.waits_at(at);
            let changes = outbox.is_settled() && lane.unread() == 0;
            let told = lane.shared.lock().told.clone();
            let idle = told.in_flight == 0 && !told.fixing;
            if told.whole && rows && (told.marked >= at || changes) && idle {
                break told.events;
            }
            if clock::since(began) > DELIVERED_WITHIN {
                return Err(cannot("what there is was not delivered within a minute"));
            }
            std::thread::park_timeout(LOOK);
        };
        // A row that was touched meanwhile may be on its way once more.
        let upto = outbox.leased_now().ok_or_else(|| cannot("no instant could be held"))?;
        let readers = outbox.readers();
        let against = Against { at, upto, readers: &readers, events };
        let tables = lane.sink.verify(&against)?;
        let is_equal = |it: &Value| it["equal"] == true;
        let equal = tables.as_array().is_some_and(|it| !it.is_empty() && it.iter().all(is_equal));
        Ok(serde_json::json!({"sink": name, "epoch": at, "equal": equal, "tables": tables}))
    }

    /// For counting.
    pub fn n(&self) -> usize {
        self.0.lanes.len()
    }

    fn lane(&self, name: &str) -> Result<&Arc<Lane>, Report> {
        let found = self.0.lanes.iter().find(|it| it.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.0.lanes.iter().map(|it| it.name.as_str()).collect();
            Report {
                code: "sinks/no-such-sink",
                what: "cannot find a sink".into(),
                at: vec![("sink", name.into())],
                why: format!("expected one of {}, found {name:?}", known.join(", ")),
                effect: "nothing was changed".into(),
                fix: "name one of the settings' `[sinks.NAME]` tables".into(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: reading that is behind for long lags, one that is for a moment now and then does not.
    /// Method: looks at a clock that is moved by hand.
    #[test]
    fn for_a_moment_is_no_lag() {
        let (mut lag, mut now) = (Lag::default(), clock::monotonic());
        let mut look = |lags| {
            now += LOOK;
            lag.seen(lags, now)
        };
        assert!((0..1_000).all(|n| !look(n % 3 == 0)), "a third of the time");
        assert_eq!((0..20).filter(|_| look(true)).count(), 12);
        assert!((0..1_000).all(|n| look(n % 3 > 0)), "two thirds of the time");
        assert_eq!((0..20).filter(|_| look(false)).count(), 9);
    }
}
