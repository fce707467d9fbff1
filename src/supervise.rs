//! The parent that starts the process again when it ended or hangs, and says how long it took.
//!
//! In: how the process ends, and what it answers. Out: another process; log lines; what the next
//! one is [`Told`].
//!
//! ```text
//!  parent ──holds its standard input───────▶ process (closed: it ends by itself)
//!     ▲                                          │
//!     └──a line at each look at the frontier─────┘ standard output
//! ```
//!
//! # Meaning
//! *Hangs* is no progress, not no life: nobody in it looks at its frontier any more, or the
//! frontier stands although work waits that is not held back on purpose. *Healthy*
//! is one that has been ready. After a healthy one the next starts at once, however often that
//! happens; after one that never was, the wait doubles, up to [`WAIT_MAX`], unless a record is
//! being looked for.
//!
//! # Invariants
//! - One process at a time: the next starts when the one before has ended.
//! - Ending the parent ends the process: cleanly if told, and when the parent is gone.
//! - SIGHUP to the parent is passed on: a line into the process's standard input, which waits there
//!   while it starts. Told between two processes, it is done with: the next reads its settings anew.
//!
//! # Why this way
//! A restart takes less than a second and needs no other code than a start: what hangs is not
//! mended from inside. Lines through a pipe need neither ports nor a disk, which may be what it
//! hangs on.

pub mod notes; // what they write down for each other
mod suspicion; // which record brings the process down

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::messages::BookLine;
use crate::report::{Report, log_report};
use crate::tasks;
use notes::{Aside, Told};
use suspicion::{Suspicion, Verdict};

/// From an end to the next start, after one that never was healthy: at first, and at most.
pub const WAIT_MIN: Duration = Duration::from_millis(200);
/// The most.
pub const WAIT_MAX: Duration = Duration::from_secs(10);
/// One that was ready and lived so long was well: ends before it are not counted with its own.
const HEALTHY: Duration = Duration::from_secs(600);
/// How often it is looked whether the process has ended.
const LOOK: Duration = Duration::from_millis(20);
/// A process that uses the processor but says nothing yet is starting; so long at most.
const START_MAX: Duration = Duration::from_secs(1_800);
/// For a clean end; then it is killed.
const END_MAX: Duration = Duration::from_secs(30);

/// What a process says of itself at each look at its frontier: a line of JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Says {
    /// The frontier stands, with work waiting.
    pub stalled: bool,
    /// Caught up.
    pub ready: bool,
    /// It hands out few records at a time.
    pub careful: bool,
}

/// What is supervised.
pub struct Supervised {
    /// The program.
    pub program: PathBuf,
    /// Its words; what it is told is added.
    pub words: Vec<OsString>,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// No progress for so long is a hang.
    pub stall_after: Duration,
    /// The offsets of the newest checkpoint, while no process has the folder.
    pub lines: Box<dyn Fn() -> Result<Vec<BookLine>, Report>>,
}

/// What the parent is told by signals.
#[derive(Clone, Debug, Default)]
pub struct Signalled {
    /// To end.
    pub end: Arc<AtomicBool>,
    /// To have rules and channels read anew (SIGHUP).
    pub hangup: Arc<AtomicBool>,
}

/// How a process ended.
enum Ended {
    /// By itself, in this way.
    Itself(ExitStatus),
    /// It hung, and was killed.
    Hung(&'static str),
    /// We were told to end.
    Told(ExitStatus),
}

/// Starts it again until it ends well, or the end is told. Gives the exit code.
pub fn run(it: &Supervised, signalled: &Signalled) -> Result<u8, Report> {
    let end = &signalled.end;
    let mut told = Told::default();
    let mut suspicion = Suspicion::default();
    let mut wait = WAIT_MIN;
    notes::forget_all(&it.data_dir);
    loop {
        let started = clock::monotonic();
        // The one that starts now reads its settings after this.
        signalled.hangup.store(false, SeqCst);
        let child = match start(it, &told) {
            // Who has just started it is told; later the system may have room again.
            Err(report) if told.restarts > 0 => {
                log_report!(error, report, "it is tried again");
                std::thread::park_timeout(WAIT_MAX);
                if end.load(SeqCst) {
                    return Ok(0);
                }
                continue;
            }
            it => it?,
        };
        let (ended, was_ready) = watch(it, child, (signalled, &told), &mut suspicion)?;
        let went_ms = clock::wall_ms();
        let last_words = notes::take_last_words(&it.data_dir);
        let (why, by_itself) = match &ended {
            Ended::Told(status) => return Ok(code(*status)),
            Ended::Itself(status) if status.success() => return Ok(0),
            Ended::Itself(status)
                if told.restarts == 0 && !was_ready && status.code().is_some() =>
            {
                // What it said is for the person who has just started it.
                return Ok(code(*status));
            }
            // One that ended with a report said what it lacks: no record's fault.
            Ended::Itself(status) => {
                (status.to_string(), status.code().is_none() && !killed_from_outside(*status))
            }
            Ended::Hung(why) => ((*why).to_string(), true),
        };
        let why = last_words.unwrap_or(why);
        if was_ready && clock::since(started) > HEALTHY {
            suspicion.lived();
        }
        let careful_before = suspicion.careful();
        tracing::error!(
            code = "supervise/restart",
            why,
            lived_ms = clock::since(started).as_millis() as u64,
            restarts = told.restarts + 1,
            "the process went; it is started again"
        );
        if by_itself {
            // Without its notes (a full disk) no record is found, and the process is started again.
            if let Err(report) = judge(it, &mut suspicion, &why) {
                log_report!(error, report, "what brought the process down could not be looked at");
            }
        }
        told = Told { went_ms, why, restarts: told.restarts + 1, careful: suspicion.careful() };
        // While a record is looked for, an end may bring us nearer.
        let nearer = told.careful.is_some() && told.careful != careful_before;
        let now;
        (now, wait) = back_off(wait, was_ready, nearer);
        let until = clock::monotonic() + now;
        while clock::monotonic() < until && !end.load(SeqCst) {
            std::thread::park_timeout(LOOK);
        }
        if end.load(SeqCst) {
            return Ok(0);
        }
    }
}

/// How long to wait now, and the next time.
fn back_off(wait: Duration, was_ready: bool, nearer: bool) -> (Duration, Duration) {
    if was_ready {
        return (Duration::ZERO, WAIT_MIN);
    }
    let now = if nearer { WAIT_MIN } else { wait };
    (now, (now * 2).min(WAIT_MAX))
}

/// Looks for the record that did it.
fn judge(it: &Supervised, suspicion: &mut Suspicion, why: &str) -> Result<(), Report> {
    let lines = match (it.lines)() {
        Ok(lines) => lines,
        // The next start tells of it, if it has not mended itself.
        Err(report) => {
            log_report!(warn, report, "the newest checkpoint could not be looked at");
            return Ok(());
        }
    };
    let tried = notes::tried(&it.data_dir)?;
    if let Verdict::PutAside(place) = suspicion.went_down(&lines, tried.as_ref()) {
        let (feed, partition, offset) = (place.feed.clone(), place.partition, place.offset);
        let put = notes::put_aside(&it.data_dir, Aside { place, why: why.into() })?;
        tracing::error!(
            code = if put { "engine/brought-down" } else { "supervise/too-many" },
            feed,
            partition,
            offset,
            why,
            put_aside = put,
            "a record brings the process down"
        );
    }
    Ok(())
}

fn start(it: &Supervised, told: &Told) -> Result<Child, Report> {
    let text = serde_json::to_string(told).expect("text and numbers");
    let mut command = Command::new(&it.program);
    command
        .args(&it.words)
        .arg("--supervised")
        .arg(text)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command.spawn().map_err(|why| Report {
        code: "supervise/start",
        what: "could not start the process".into(),
        at: vec![("program", it.program.display().to_string())],
        why: why.to_string(),
        effect: "nothing runs; no data was touched".into(),
        fix: "see whether the program is still there, and whether the system has room for another \
              process"
            .into(),
    })
}

/// What is known of a process while it lives.
struct Seen {
    /// Nothing yet: it is starting.
    says: Option<Says>,
    /// The last progress.
    at: Instant,
}

/// Listens to a process until it has ended.
fn listen(said: ChildStdout, seen: &Mutex<Seen>) {
    for line in BufReader::new(said).lines() {
        let Ok(line) = line else { return };
        // What else it prints is for nobody.
        if let Ok(says) = serde_json::from_str::<Says>(&line) {
            let mut seen = seen.lock();
            if !says.stalled {
                seen.at = clock::monotonic();
            }
            seen.says = Some(says);
        }
    }
}

/// Watches one process to its end. Also says whether it was ever ready.
fn watch(
    it: &Supervised,
    mut child: Child,
    (signalled, told): (&Signalled, &Told),
    suspicion: &mut Suspicion,
) -> Result<(Ended, bool), Report> {
    let began = clock::monotonic();
    let pid = child.id();
    let seen = Arc::new(Mutex::new(Seen { says: None, at: began }));
    let listening = match child.stdout.take() {
        Some(said) => {
            let theirs = Arc::clone(&seen);
            Some(tasks::thread("listen", move || listen(said, &theirs))?)
        }
        None => None,
    };
    let mut cpu = 0;
    let (mut was_ready, mut told_at) = (false, None);
    let ended = loop {
        if let Some(status) = child.try_wait().map_err(lost_child)? {
            break if told_at.is_some() { Ended::Told(status) } else { Ended::Itself(status) };
        }
        let (says, at) = {
            let mut seen = seen.lock();
            let spent = if seen.says.is_none() { cpu_of(pid) } else { cpu };
            if spent > cpu {
                seen.at = clock::monotonic();
                cpu = spent;
            }
            (seen.says, seen.at)
        };
        let it_says = says.unwrap_or_default();
        if it_says.ready && !was_ready {
            was_ready = true;
            if told.restarts > 0 {
                tracing::warn!(
                    code = "supervise/restart",
                    restarts = told.restarts,
                    took_ms = clock::wall_ms().saturating_sub(told.went_ms),
                    "recovered"
                );
            }
        }
        if it_says.ready && !it_says.careful && suspicion.careful().is_some() {
            suspicion.passed();
            notes::forget_all(&it.data_dir);
        }
        if told_at.is_none() && signalled.hangup.swap(false, SeqCst) {
            pass_on_hangup(&mut child);
        }
        if told_at.is_none() && signalled.end.load(SeqCst) {
            told_at = Some(clock::monotonic());
            // It ends by itself when its standard input is closed.
            drop(child.stdin.take());
        }
        let too_long = told_at.is_some_and(|it| clock::since(it) > END_MAX);
        let starting = says.is_none() && clock::since(began) > START_MAX;
        let stands = clock::since(at) > it.stall_after;
        if told_at.is_none() && (it_says.stalled || stands || starting) || too_long {
            let why = match says {
                None => "it said nothing after its start",
                Some(it) if it.stalled => "the frontier stood although work waited",
                Some(_) => "nobody looked at its frontier any more",
            };
            child.kill().map_err(lost_child)?;
            let status = child.wait().map_err(lost_child)?;
            break if too_long { Ended::Told(status) } else { Ended::Hung(why) };
        }
        std::thread::park_timeout(LOOK);
    };
    if listening.is_some_and(|it| it.join().is_err()) {
        tracing::error!("the thread that listens to the process panicked");
    }
    Ok((ended, was_ready))
}

/// It takes rules and channels anew.
fn pass_on_hangup(child: &mut Child) {
    let Some(stdin) = &mut child.stdin else { return };
    if let Err(why) = stdin.write_all(b"hangup\n") {
        // It has just ended: the next one reads its settings anew.
        tracing::warn!(%why, "SIGHUP could not be passed on");
    }
}

/// Hundredths of a second of processor that it has used.
fn cpu_of(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |it| it.1).split_whitespace();
    // utime and stime.
    fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum()
}

/// By a person, the system short of memory, or another program: no record's fault.
fn killed_from_outside(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    const SIGNALS: [i32; 4] = [1, 2, 9, 15]; // HUP, INT, KILL, TERM
    status.signal().is_some_and(|it| SIGNALS.contains(&it))
}

fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|it| u8::try_from(it).ok()).unwrap_or(1)
}

fn lost_child(why: std::io::Error) -> Report {
    Report {
        code: "supervise/lost",
        what: "could not learn how the process fares".into(),
        at: vec![],
        why: why.to_string(),
        effect: "the parent ends, and with it the process; nothing acknowledged is lost".into(),
        fix: "start again; if it repeats, report it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: one that was well is started at once, however often; one that never was waits ever
    /// longer, to a bound, and as if for the first time where a record is looked for.
    #[test]
    fn the_wait_grows_only_where_none_was_well() {
        let mut wait = WAIT_MIN;
        for _ in 0..100 {
            let now;
            (now, wait) = back_off(wait, true, false);
            assert_eq!((now, wait), (Duration::ZERO, WAIT_MIN));
        }
        let mut waited = Vec::new();
        for n in 0..8 {
            let now;
            (now, wait) = back_off(wait, false, n == 7);
            waited.push(now.as_millis());
        }
        assert_eq!(waited, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 200]);
        assert_eq!(back_off(WAIT_MAX, true, false), (Duration::ZERO, WAIT_MIN));
    }
}
