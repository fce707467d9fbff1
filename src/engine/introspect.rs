//! What each operator did: records in, time spent, what its arrangements hold.
//!
//! In: timely's and differential's own loggers, one pair per worker, installed before the
//! dataflow is built. Out: a table for `/v1/debug/dataflow` and the metrics.
//!
//! # Invariants
//! - A name says one operator of a worker, and which view it works for. The libraries call every
//!   input, probe and count alike; such a one is told with whom it serves: *Probe of fold orders*.
//!   `tests/dataflow.rs`.
//!
//! # State
//! One line per operator and worker; nothing grows with events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use differential_dataflow::logging::{DifferentialEvent, DifferentialEventBuilder};
use parking_lot::Mutex;
use serde::Serialize;
use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

/// One operator on one worker.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OperatorLine {
    /// The worker.
    pub worker: usize,
    /// Its address in the dataflow.
    pub address: Vec<usize>,
    /// Its name, the same on every worker.
    pub name: String,
    /// Records that it was sent.
    pub records_in: i64,
    /// How often it ran.
    pub n_runs: u64,
    /// Time it ran, milliseconds.
    pub busy_ms: f64,
    /// Records in its arrangement.
    pub arranged_records: i64,
    /// Batches in its arrangement.
    pub arranged_batches: i64,
    /// Records waiting to be arranged.
    pub waiting_records: i64,
    /// Bytes of these.
    pub waiting_bytes: i64,
}

/// The lines of every worker.
#[derive(Clone, Default)]
pub(crate) struct Introspection {
    workers: Arc<Mutex<Vec<Arc<Mutex<Lines>>>>>,
}

#[derive(Default)]
struct Lines {
    operators: BTreeMap<usize, OperatorLine>,
    started: BTreeMap<usize, Duration>,
    /// Channel to the addresses of the operators that it begins and ends at.
    channels: BTreeMap<usize, (Vec<usize>, Vec<usize>)>,
    received: BTreeMap<usize, i64>,
}

impl Introspection {
    /// Listens to this worker. Operators take their loggers when they are built.
    pub(crate) fn install(&self, worker: &Worker) {
        let lines: Arc<Mutex<Lines>> = Arc::default();
        self.workers.lock().push(Arc::clone(&lines));
        let Some(mut register) = worker.log_register() else { return };
        let (me, timely) = (worker.index(), Arc::clone(&lines));
        register.insert::<TimelyEventBuilder, _>("timely", move |_time, events| {
            let Some(events) = events else { return };
            let mut lines = timely.lock();
            for (at, event) in events.drain(..) {
                lines.timely(me, at, event);
            }
        });
        register.insert::<DifferentialEventBuilder, _>(
            "differential/arrange",
            move |_time, events| {
                let Some(events) = events else { return };
                let mut lines = lines.lock();
                for (_, event) in events.drain(..) {
                    lines.differential(event);
                }
            },
        );
    }

    /// How long all workers together were busy with their dataflows, microseconds.
    pub(crate) fn busy_micros(&self) -> u64 {
        let mut busy_ms = 0.0;
        for lines in self.workers.lock().iter() {
            // A dataflow runs for as long as the operators in it do.
            let lines = lines.lock();
            let flows = lines.operators.values().filter(|it| it.address.len() == 1);
            busy_ms += flows.map(|it| it.busy_ms).sum::<f64>();
        }
        (busy_ms * 1e3) as u64
    }

    /// Every operator of every worker, the busiest first.
    pub(crate) fn table(&self) -> Vec<OperatorLine> {
        let mut table = Vec::new();
        for lines in self.workers.lock().iter() {
            let lines = lines.lock();
            for line in lines.operators.values() {
                let mut line = line.clone();
                line.name = lines.full_name(&line);
                let into = lines.channels.iter().filter(|it| it.1.1 == line.address);
                line.records_in =
                    into.filter_map(|it| lines.received.get(it.0)).copied().sum::<i64>();
                table.push(line);
            }
        }
        table.sort_by(|a, b| b.busy_ms.total_cmp(&a.busy_ms));
        table
    }
}

/// What the libraries call operators that cannot be given a name.
const UNNAMED: &[&str] = &["Input", "Probe", "FlatMap", "AsCollection", "CountTotal"];

impl Lines {
    /// The name, with that of the operator that it follows (of an input: that it feeds), if it is
    /// one of the libraries' own.
    fn full_name(&self, of: &OperatorLine) -> String {
        let mut at = &of.address;
        // At most one step for each operator.
        for _ in 0..self.operators.len() {
            let name = self.operators.values().find(|it| it.address == *at).map(|it| &*it.name);
            match name {
                None => break,
                Some(name) if UNNAMED.contains(&name) => {}
                Some(name) if at == &of.address => return name.to_string(),
                Some(name) => return format!("{} of {name}", of.name),
            }
            let mut ends = self.channels.values();
            let before = ends.find(|it| it.1 == *at).map(|it| &it.0);
            let mut ends = self.channels.values();
            let Some(next) = before.or_else(|| ends.find(|it| it.0 == *at).map(|it| &it.1)) else {
                break;
            };
            at = next;
        }
        of.name.clone()
    }

    fn timely(&mut self, worker: usize, at: Duration, event: TimelyEvent) {
        match event {
            TimelyEvent::Operates(it) => {
                let line =
                    OperatorLine { worker, address: it.addr, name: it.name, ..Default::default() };
                self.operators.insert(it.id, line);
            }
            TimelyEvent::Channels(it) => {
                let at = |operator| it.scope_addr.iter().copied().chain([operator]).collect();
                self.channels.insert(it.id, (at(it.source.0), at(it.target.0)));
            }
            TimelyEvent::Schedule(it) => match it.start_stop {
                StartStop::Start => {
                    self.started.insert(it.id, at);
                }
                StartStop::Stop => {
                    let started = self.started.remove(&it.id);
                    if let (Some(started), Some(line)) = (started, self.operators.get_mut(&it.id)) {
                        line.busy_ms += at.saturating_sub(started).as_secs_f64() * 1e3;
                        line.n_runs += 1;
                    }
                }
            },
            TimelyEvent::Messages(it) if !it.is_send => {
                *self.received.entry(it.channel).or_default() += it.record_count;
            }
            _ => {}
        }
    }

    fn differential(&mut self, event: DifferentialEvent) {
        let line = |lines: &mut Lines, id: usize, records: i64, batches: i64| {
            if let Some(line) = lines.operators.get_mut(&id) {
                line.arranged_records += records;
                line.arranged_batches += batches;
            }
        };
        match event {
            DifferentialEvent::Batch(it) => line(self, it.operator, it.length as i64, 1),
            DifferentialEvent::Merge(it) => {
                if let Some(length) = it.complete {
                    let change = length as i64 - (it.length1 + it.length2) as i64;
                    line(self, it.operator, change, -1);
                }
            }
            DifferentialEvent::Drop(it) => line(self, it.operator, -(it.length as i64), -1),
            DifferentialEvent::Batcher(it) => {
                if let Some(line) = self.operators.get_mut(&it.operator) {
                    line.waiting_records += it.records_diff as i64;
                    line.waiting_bytes += it.size_diff as i64;
                }
            }
            _ => {}
        }
    }
}
