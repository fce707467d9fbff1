//! What does an update of the served map cost, what a read, what an entity, what an identity?
//!
//! `cargo bench -p dataflows --bench served [-- entities]`. Writing is CPU time, reading elapsed
//! time. One thread writes through the whole
//! fold operator (exchange included), one reads. The sketch reached 101 to 116 ns an upsert at a
//! million entities of fixed size in epochs of 10,000, 0.3 / 0.85 µs p50 / p99 a get, and 98 ns
//! and 26 bytes an identity (docs/performance.md has ours).
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dataflows::dedup::{Dedup, DedupLimits};
use dataflows::fold::fold;
use dataflows::served::{Clock, Served, UNDO_MAX_BYTES};
use dataflows::{Addressed, Epoch, Fold};
use schemas::names::{Fingerprint, Kind, Name, Secret};
use schemas::reading::{Instants, ViewReader};
use schemas::rows::{Row, Shape, Value, ViewDef};
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

static DEF: ViewDef = ViewDef {
    name: "bench",
    words: "Counters.",
    shape: Shape::Fold,
    key: &["counter"],
    fields: &[],
};

/// 104 bytes in place.
struct Plain;

/// 40 bytes in place, and 64 behind an `Arc` that every fourth update changes.
struct Boxed;

type Said = (u64, u64);

impl Fold for Plain {
    type Update = Said;
    type State = [u64; 13];
    const DEF: &'static ViewDef = &DEF;
    fn apply(state: &mut [u64; 13], said: &Said) {
        state[0] += 1;
        state[1] = state[1].wrapping_add(said.0);
        state[2] = state[2].max(said.1);
    }
    fn row(_: &Name, state: &[u64; 13], _: Epoch) -> Option<Row> {
        Some(Row { values: vec![Value::Int(state[0] as i64)] })
    }
}

impl Fold for Boxed {
    type Update = Said;
    type State = ([u64; 4], Arc<[u64; 8]>);
    const DEF: &'static ViewDef = &DEF;
    fn apply((state, more): &mut Self::State, said: &Said) {
        state[0] += 1;
        state[1] = state[1].wrapping_add(said.0);
        if said.0.is_multiple_of(4) {
            Arc::make_mut(more)[0] += 1;
        }
    }
    fn row(_: &Name, state: &Self::State, _: Epoch) -> Option<Row> {
        Some(Row { values: vec![Value::Int(state.0[0] as i64)] })
    }
    fn heap_bytes(_: &Self::State) -> usize {
        80
    }
}

fn fingerprint(tenant: &str, key: &str) -> Fingerprint {
    Secret([5; 16]).fingerprint(tenant, Kind::Customer, &[key])
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// What this thread has computed so far: on a busy machine the only time that means something.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0))
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

type Door<F> = InputHandle<
    Epoch,
    timely::container::CapacityContainerBuilder<Vec<Addressed<<F as Fold>::Update>>>,
>;

/// One worker, one map of `n` entities.
struct Bench<'a, F: Fold> {
    worker: &'a mut timely::worker::Worker,
    input: Door<F>,
    probe: ProbeHandle<Epoch>,
    names: Arc<Vec<Addressed<Said>>>,
    epoch: Epoch,
}

impl<F: Fold<Update = Said>> Bench<'_, F> {
    /// Sends and applies an epoch of random updates; the time that the operator took.
    fn epoch(&mut self, picks: impl Iterator<Item = (usize, Said)>) -> Duration {
        for (n, update) in picks {
            self.input.send(Addressed { update, ..self.names[n].clone() });
        }
        self.epoch += 1;
        let start = cpu();
        self.input.advance_to(self.epoch);
        self.input.flush();
        self.worker.step_while(|| self.probe.less_than(&self.epoch));
        cpu() - start
    }
}

fn map<F: Fold<Update = Said>>(what: &'static str, n: usize, per_epoch: usize, seconds: u64) {
    timely::execute_directly(move |worker| {
        let names: Arc<Vec<_>> = Arc::new(
            (0..n)
                .map(|it| {
                    let key = format!("C{it:07}");
                    let name = Name::new("default", &key);
                    Addressed { key: fingerprint("default", &key), name, update: (0, 0) }
                })
                .collect(),
        );
        let clock = Clock::new(1, UNDO_MAX_BYTES);
        let key_of = Arc::new(|tenant: &str, key: &str| Some(fingerprint(tenant, key)));
        let map = Served::<F>::new(1, clock.clone(), 0, key_of);
        let (shared, probe) = (map.clone(), ProbeHandle::new());
        let input = worker.dataflow(|scope| {
            let (input, stream) = scope.new_input();
            fold(stream, shared, 0, ()).0.probe_with(&probe);
            input
        });
        let before = resident_bytes();
        let mut bench = Bench::<F> { worker, input, probe, names: names.clone(), epoch: 0 };
        let mut load = Duration::ZERO;
        for part in 0..n.div_ceil(per_epoch) {
            let range = part * per_epoch..((part + 1) * per_epoch).min(n);
            load += bench.epoch(range.map(|it| (it, (1, 1))));
        }
        while map.merge_index() {}
        let resident = resident_bytes().saturating_sub(before);
        let bytes = map.stats().bytes;

        let stop = AtomicBool::new(false);
        let (mut spent, mut updates, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
        let mut seed = 0x9e37_79b9_u64;
        let mut gets = std::thread::scope(|scope| {
            let (map, names, stop, clock) = (&map, &names, &stop, &clock);
            let reader = scope.spawn(move || {
                let (mut taken, mut seed) = (Vec::new(), 77_u64);
                while !stop.load(Relaxed) {
                    for _ in 0..25 {
                        let key = names[random(&mut seed) as usize % n].name.key();
                        let start = Instant::now();
                        let pin = clock.pin();
                        let row = map.get("default", key, pin.epoch());
                        drop(pin);
                        taken.push(start.elapsed().as_nanos() as u64);
                        assert!(row.is_ok_and(|it| it.is_some()));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                taken
            });
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(seconds) {
                let picks = (0..per_epoch).map(|_| {
                    let it = random(&mut seed);
                    (it as usize % n, (it >> 32, it >> 20))
                });
                let took = bench.epoch(picks);
                spent += took;
                longest = longest.max(took);
                updates += per_epoch;
            }
            stop.store(true, Relaxed);
            reader.join().unwrap_or_default()
        });
        gets.sort_unstable();
        let at = |part: f64| gets[((gets.len() - 1) as f64 * part) as usize] as f64 / 1e3;
        println!(
            "{what}, {n} entities, epochs of {per_epoch}: load {:.0} ns, update {:.0} ns an update \
             (epoch {:.2} ms on average, {:.2} ms at most); get p50 {:.2} p99 {:.2} µs; {} bytes \
             an entity counted, {} resident",
            load.as_nanos() as f64 / n as f64,
            spent.as_nanos() as f64 / updates as f64,
            spent.as_secs_f64() * 1e3 / (updates / per_epoch) as f64,
            longest.as_secs_f64() * 1e3,
            at(0.5),
            at(0.99),
            bytes / n as u64,
            resident / n as u64,
        );
    });
}

fn dedup(n: usize, per_batch: usize) {
    let before = resident_bytes();
    let dedup = Dedup::new(DedupLimits { horizon_ms: 7 * 86_400_000, max_bytes: 8 << 30 });
    let mut seed = 99_u64;
    let mut fresh = Vec::new();
    let (mut spent, mut longest, mut last) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let batches = n / per_batch;
    for batch in 0..batches {
        let ids: Vec<Fingerprint> = (0..per_batch)
            .map(|_| u128::from(random(&mut seed)) << 64 | u128::from(random(&mut seed)))
            .collect();
        let start = cpu();
        dedup.claim(&ids, 1_000_000_000 + batch as u64, &mut fresh);
        let took = cpu() - start;
        assert!(fresh.iter().all(|it| *it));
        spent += took;
        longest = longest.max(took);
        if batch >= batches * 9 / 10 {
            last += took;
        }
    }
    let stats = dedup.stats();
    println!(
        "dedup, {n} identities, batches of {per_batch}: {:.0} ns a claim ({:.0} ns in the last \
         tenth; {:.2} ms a batch at most); {} bytes an identity counted, {} resident",
        spent.as_nanos() as f64 / n as f64,
        last.as_nanos() as f64 / (n / 10) as f64,
        longest.as_secs_f64() * 1e3,
        stats.bytes / stats.entries,
        (resident_bytes().saturating_sub(before)) / stats.entries,
    );
}

fn main() {
    let only = std::env::args().skip(1).find_map(|it| it.parse::<usize>().ok());
    for n in only.map_or(vec![100_000, 1_000_000], |it| vec![it]) {
        map::<Plain>("fixed state", n, 10_000, 3);
        map::<Boxed>("state with a shared part", n, 10_000, 3);
    }
    if only.is_none() {
        map::<Plain>("fixed state", 1_000_000, 500, 3);
        dedup(2_000_000, 5_000);
        dedup(10_000_000, 5_000);
    }
}
