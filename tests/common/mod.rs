//! What the tests of the whole engine share: a random history, and an engine driven over it.

#![allow(missing_docs, unreachable_pub, dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream::config::{Engine as EngineSettings, Settings};
use millstream::engine::{Engine, Parts, Prepared};
use millstream::epochs::{Epochs, Limits, TimeSource};
use millstream::ledger::Book;
use millstream::messages::{Chunk, Counts, Feed, Feeds, Format, Framing, Gap, Offsets};
use millstream::metrics::Metrics;
use schemas::names::Secret;
use serde_json::{Value, json};

/// A small generator of our own: one seed reproduces a failure.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self, below: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.next(from.len() as u64) as usize]
    }
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.next(i as u64 + 1) as usize);
        }
    }
}

/// 2026-01-01T00:00:00Z in milliseconds: where every history begins.
pub const START_MS: u64 = 1_767_225_600_000;

/// A history of every type of event: two tenants with equal ids, few entities, late events.
pub fn history(seed: u64, events: u64) -> Vec<String> {
    let rng = &mut Rng(seed);
    (0..events).map(|n| event(rng, n).to_string()).collect()
}

fn event(rng: &mut Rng, n: u64) -> Value {
    let at = START_MS + n * 40 - rng.next(3).saturating_sub(1) * rng.next(20_000);
    let time = schemas::time::rfc3339(at as i64 * 1_000);
    let customer = format!("C{}", rng.next(9));
    let order = format!("O{}", rng.next(25));
    let case = format!("K{}", rng.next(12));
    let currency = *rng.pick(&["EUR", "USD", "JPY"]);
    let (kind, data) = match rng.next(13) {
        0 => (
            "customer.registered",
            json!({"customer": customer, "name": format!("N{n}"), "tier": "gold"}),
        ),
        1 => (
            "customer.updated",
            json!({"customer": customer, "email": format!("e{n}@example.org"),
              "attributes": {"colour": format!("c{}", n % 5)}}),
        ),
        2 | 3 => {
            let lines: Vec<Value> = (0..=rng.next(3))
                .map(|it| json!({"sku": format!("S{it}"), "quantity": 1 + rng.next(4), "unit_price": rng.next(9_000)}))
                .collect();
            let promised = schemas::time::rfc3339((at + rng.next(60_000)) as i64 * 1_000);
            (
                "order.placed",
                json!({"order": order, "customer": customer, "currency": currency,
              "lines": lines, "promised_at": promised, "channel": "web"}),
            )
        }
        4 | 5 => (
            "order.status_changed",
            json!({"order": order, "customer": customer,
              "status": *rng.pick(&["paid", "shipped", "delivered", "problem"])}),
        ),
        6 => (
            "order.cancelled",
            json!({"order": order, "customer": customer, "amount": rng.next(500), "currency": currency}),
        ),
        7 => (
            "feedback.submitted",
            json!({"customer": customer, "rating": 1 + rng.next(5), "product": "P1", "text": "it works"}),
        ),
        8 => (
            "case.opened",
            json!({"case": case, "customer": customer, "severity": 1 + rng.next(4), "queue": "support", "text": "help"}),
        ),
        9 => ("case.resolved", json!({"case": case, "customer": customer})),
        10 => (
            "record.deleted",
            json!({"table": "public.stock", "key": case, "version": format!("{}/1", rng.next(200))}),
        ),
        11 => (
            "record.upserted",
            json!({"table": "public.stock", "key": case, "fields": {"n": n, "who": customer},
              "version": format!("{}/{}", rng.next(200), rng.next(2))}),
        ),
        _ => (
            "interaction.recorded",
            json!({"customer": customer, "channel": "web", "action": "view", "target": "/p/1"}),
        ),
    };
    json!({"specversion": "1.0", "id": format!("{n:06}"), "source": "test", "type": kind, "time": time,
           "tenant": *rng.pick(&["acme", "globex"]), "data": data})
}

/// How a history is run.
#[derive(Clone, Debug)]
pub struct Shape {
    pub workers: usize,
    /// Lines in one chunk.
    pub per_chunk: usize,
    /// Records after which an epoch closes.
    pub max_arrivals: u64,
    /// Partitions that the lines are dealt to.
    pub partitions: u32,
    /// Views; all if empty.
    pub views: Vec<String>,
}

/// Every view's rows as sorted JSON lines, and the ledger's totals, at `now_ms`.
pub fn run(
    lines: &[String],
    shape: &Shape,
    now_ms: u64,
) -> (BTreeMap<&'static str, Vec<String>>, Counts) {
    run_as(Format::Native, lines, shape, now_ms)
}

/// The same, of records that are read in this way.
pub fn run_as(
    format: Format,
    lines: &[String],
    shape: &Shape,
    now_ms: u64,
) -> (BTreeMap<&'static str, Vec<String>>, Counts) {
    let settings = EngineSettings {
        workers: shape.workers,
        views: shape.views.clone(),
        epoch_max_arrivals: shape.max_arrivals,
        ..Settings::default_in(std::path::Path::new("unused")).engine
    };
    let (name, mapping) = ("test".into(), None);
    // Histories hold what only we may say, too.
    let (is_log, takes_own, identity) = (false, true, None);
    let feed = Feed { name, mapping, format, is_log, takes_own, identity };
    let feeds = Feeds::new(vec![feed]);
    let (send, receive) = crossbeam_channel::unbounded();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for (n, lines) in lines.chunks(shape.per_chunk).enumerate() {
        let partition = n as u32 % shape.partitions;
        let first = *next.entry(partition).or_default();
        let end = first + lines.len() as u64;
        next.insert(partition, end);
        let chunk = Chunk {
            partition: (0, partition),
            first,
            next: end,
            gap: Gap::default(),
            pass: 0,
            appended_ms: now_ms,
            bytes: lines.join("\n").into_bytes(),
            framing: Framing::Lines,
        };
        send.send(chunk).unwrap();
    }
    drop(send);
    let from: Offsets = next.keys().map(|it| ((0, *it), 0)).collect();
    let book = Arc::new(Book::new(feeds.clone(), from.clone(), Metrics::default()));
    let sealed = Arc::clone(&book);
    let epochs = Epochs::new(
        vec![receive],
        from,
        shape.workers,
        Limits::from(&settings),
        (TimeSource::Instant(now_ms), 0),
        Box::new(move |it| sealed.sealed(it.epoch, it.offsets)),
    );
    let engine = Engine::start(Parts {
        prepared: Prepared::new(&settings, &Default::default(), Secret([9; 16]), false).unwrap(),
        feeds,
        epochs,
        book: Arc::clone(&book),
        on_rejected: Box::new(|all| {
            let wrong = all.iter().find(|it| it.problem.code != "engine/erased");
            assert!(wrong.is_none(), "a good event was rejected: {wrong:?}");
        }),
        shift_per_pass: 0,
        max_event_bytes: 65_536,
        now_ms: Arc::new(millstream::clock::wall_ms),
        on_fresh: None,
        on_applied: None,
        building: Vec::new(),
        published: Arc::default(),
    })
    .unwrap();
    let read = engine.read_handle();
    engine.join().unwrap();
    assert_eq!(read.instants.complete(), now_ms);
    let mut rows = BTreeMap::new();
    for view in read.views.iter() {
        let mut lines = Vec::new();
        view.for_each(now_ms, &mut |name, row| {
            lines.push(format!("{} {} {}", name.tenant(), name.key(), view.def().to_json(&row)));
        })
        .unwrap();
        lines.sort_unstable();
        rows.insert(view.def().name, lines);
    }
    (rows, book.totals())
}
