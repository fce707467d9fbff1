//! `millstream demo`: everything that `run` is, and a generator that appends realistic events to
//! the embedded log.
//!
//! # Meaning
//! Events take the way of any other: a durable block of the log, read back, decoded, computed,
//! served. The generator keeps its own pace by the clock; when the log or the engine cannot keep
//! up, the lag on the line of progress grows, and nothing is lost.
//!
//! Two weeks of calls by the hour are said first, into an empty log: there is a forecast at once.
//!
//! A second start reads the same log again and goes on: numbers of new customers and orders begin
//! above the log's end, so that nothing is repeated.

use std::time::{Duration, Instant};

use super::out::{Out, Reader};
use super::typed::Demo;
use crate::config::Settings;
use crate::generator::{self, Generator, Shape, TENANTS};
use crate::messages::{Append, AppendRefused, Appended};
use crate::report::Report;
use crate::run::{self, Plan, Running};
use crate::{clock, usage};

/// A block so often: below what a person notices, and few fsyncs.
const BLOCK_PERIOD: Duration = Duration::from_millis(20);
/// Most events of one block: about 1 MiB.
const MAX_BLOCK: u64 = 4_000;
/// So long the first lines wait at most for the keys that they name.
const KEYS_WITHIN: Duration = Duration::from_secs(10);
/// A line of progress so often.
const LINE_PERIOD: Duration = Duration::from_secs(1);
/// Views whose rows a line tells: as many as a terminal is wide.
const LINE_VIEWS: usize = 4;

/// Runs until told to end, or for as long as was asked.
pub fn main(it: &Demo, settings: Settings) -> Result<(), Report> {
    run::end_on_panic();
    let data_dir = settings.data_dir.display().to_string();
    // The demonstration has its own events, whatever the settings would read.
    let plan = Plan { sources: vec![], kafka: vec![], ..Plan::of(&settings) };
    let running = run::start(settings, plan)?;
    let played = match &running.append {
        Some(append) => play(it, &running, &**append, &data_dir),
        None => Ok(()),
    };
    // Also when something failed: what was acknowledged is to be applied and closed.
    played.and(running.stop_in_time())
}

fn play(it: &Demo, running: &Running, append: &dyn Append, data_dir: &str) -> Result<(), Report> {
    let mut out = Out::default();
    let started = clock::monotonic();
    let start_ms = clock::wall_ms();
    let base = end_of_log(append, start_ms)?;
    let shape = Shape { seed: it.seed.wrapping_add(base), base, start_ms, rate: it.rate };
    let mut events = Generator::new(shape);
    // The keys that the lines name are there before the lines are.
    let keys = put(append, events.by_ref().take(4).collect())?;
    wait_for(running, keys.next);
    if base == 0 {
        put(append, generator::past(start_ms).collect())?;
    }
    hello(running, &events, data_dir, &mut out)?;
    let mut lines = Lines::new(running, started);
    let until = |last: Duration| it.duration.is_none_or(|it| last < it);
    while !running.ending() && until(clock::since(started)) {
        let due = (clock::since(started).as_secs_f64() * f64::from(it.rate)) as u64;
        let n = due.saturating_sub(events.made()).min(MAX_BLOCK);
        if n > 0 {
            let block = events.by_ref().take(usize::try_from(n).unwrap_or(0)).collect();
            put(append, block)?;
        }
        if lines.tell(running, &mut out)? == Reader::Gone {
            return Ok(());
        }
        if n < MAX_BLOCK {
            std::thread::sleep(BLOCK_PERIOD);
        }
    }
    out.line("ending: requests are answered, the last events applied")?;
    out.end()
}

/// The end of the log: one event is appended to ask for it. Its id is of this instant,
/// so that it is new each time.
fn end_of_log(append: &dyn Append, now_ms: u64) -> Result<u64, Report> {
    let event = serde_json::json!({
        "specversion": "1.0", "type": "interaction.recorded", "source": "/demo/door",
        "id": format!("start-{now_ms}"), "time": schemas::time::rfc3339(now_ms.cast_signed() * 1_000),
        "tenant": TENANTS[0],
        "data": {"customer": "C-1", "channel": "demo", "action": "start"},
    });
    Ok(put(append, vec![event.to_string().into_bytes()])?.first)
}

/// Waits until what was appended below this position can be read; not for ever.
fn wait_for(running: &Running, next: u64) {
    let began = clock::monotonic();
    let shows = || (running.read.as_of)(running.read.instants.complete()).position >= next;
    while !shows() && !running.ending() && clock::since(began) < KEYS_WITHIN {
        std::thread::sleep(BLOCK_PERIOD);
    }
}

/// Appends a block and waits until it is durable; a full queue is waited for.
fn put(append: &dyn Append, block: Vec<Vec<u8>>) -> Result<Appended, Report> {
    loop {
        let refused = match append.append(block.clone()) {
            Ok(answer) => match answer.blocking_recv() {
                Ok(Ok(appended)) => return Ok(appended),
                Ok(Err(refused)) => refused,
                Err(_) => return Err(log_gone()),
            },
            Err(refused) => refused,
        };
        match refused {
            AppendRefused::Busy(after) => std::thread::sleep(after),
            AppendRefused::Failed(report) => return Err(report),
        }
    }
}

fn log_gone() -> Report {
    Report {
        code: "ingest/log-closed",
        what: "could not append generated events".into(),
        at: vec![],
        why: "the embedded log has been closed".into(),
        effect: "what was acknowledged before is kept; the block at hand is not".into(),
        fix: "start again: it goes on with the same log".into(),
    }
}

fn hello(
    running: &Running,
    events: &Generator,
    data_dir: &str,
    out: &mut Out,
) -> Result<(), Report> {
    let Some(address) = running.address() else { return Ok(()) };
    let (customer, _) = events.first_keys();
    let tenant = TENANTS[0];
    out.line(format!("Millstream serves http://{address}; its log is in {data_dir}. Try:"))?;
    out.line(format!(
        "  curl -s 'http://{address}/v1/views/customers/{customer}?tenant={tenant}'"
    ))?;
    out.line(format!("  curl -s 'http://{address}/v1/views/orders_by_status?tenant={tenant}'"))?;
    out.line(format!(
        "  curl -sN 'http://{address}/v1/stream?view=orders&status=problem&tenant={tenant}'"
    ))?;
    out.line("")?;
    out.flush().map(|_| ())
}

/// A line of progress a second.
struct Lines {
    started: Instant,
    told_at: Instant,
    read: u64,
}

impl Lines {
    fn new(running: &Running, started: Instant) -> Lines {
        let read = running.ledger().partitions.iter().map(|it| it.counts.read).sum();
        Lines { started, told_at: started, read }
    }

    fn tell(&mut self, running: &Running, out: &mut Out) -> Result<Reader, Report> {
        let passed = clock::since(self.told_at);
        if passed < LINE_PERIOD {
            return Ok(Reader::There);
        }
        self.told_at = clock::monotonic();
        let ledger = running.ledger();
        let read: u64 = ledger.partitions.iter().map(|it| it.counts.read).sum();
        let lag: u64 = ledger.partitions.iter().map(|it| it.lag).sum();
        let behind = ledger.partitions.iter().map(|it| it.lag_seconds).fold(0.0, f64::max);
        let rate = read.saturating_sub(self.read) as f64 / passed.as_secs_f64();
        self.read = read;
        let views = running.read.views.iter().take(LINE_VIEWS);
        let views: Vec<String> =
            views.map(|it| format!("{} {}", it.def().name, it.rows())).collect();
        out.line(format!(
            "{:>5}s  {rate:>8.0} events/s  {}  lag {lag} ({behind:.1} s)  {:.0} MB",
            clock::since(self.started).as_secs(),
            views.join("  "),
            usage::resident_bytes() as f64 / 1e6,
        ))?;
        out.flush()
    }
}
