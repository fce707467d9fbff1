//! Goal: the views are a function of the *set* of events and of `now`: the same for any number of
//! workers, batching into epochs, arrival order, partitioning and duplication, through the whole
//! engine. Method: one random history, run in many shapes, every row of every view compared.

mod common;

use common::{Rng, START_MS, Shape, history, run};
use serde_json::json;

/// Statements about who is who: few customers and values, so that they meet, contradict each other
/// and are taken back.
fn identities(seed: u64, n: u64) -> Vec<String> {
    let rng = &mut Rng(seed ^ 0x1d);
    let each = (0..n).map(|n| {
        let customer = |rng: &mut Rng| format!("C{}", rng.next(9));
        let (mine, other) = (customer(rng), customer(rng));
        let (kind, value) = *rng.pick(&[
            ("email", "A@x.org"),
            ("email", " a@x.org"),
            ("email", "null"),
            ("phone", "+49 30 1234567"),
            ("device", "d"),
            ("account", "1"),
            ("account", "2"),
        ]);
        let identified = json!({"customer": mine, "kind": kind, "value": value});
        let by_hand = json!({"customer": mine, "other": other});
        let (kind, data) = match rng.next(8) {
            0 => ("customer.unlinked", identified),
            1 => ("customer.linked_by_hand", by_hand),
            2 => ("customer.separated_by_hand", by_hand),
            _ => ("customer.identified", identified),
        };
        let time = schemas::time::rfc3339((START_MS + 300 * n + rng.next(3_000)) as i64 * 1_000);
        json!({"specversion": "1.0", "id": format!("i{n:06}"), "source": "test", "type": kind,
               "time": time, "tenant": *rng.pick(&["acme", "globex"]), "data": data})
        .to_string()
    });
    each.collect()
}

#[test]
fn the_same_answer_in_every_shape() {
    for seed in 1..=6_u64 {
        let mut lines = history(seed, 540);
        lines.extend(identities(seed, 60));
        let time = schemas::time::rfc3339(START_MS as i64 * 1_000);
        let erased = json!({"specversion": "1.0", "id": "erased", "source": "test",
            "type": "customer.erased", "time": time, "tenant": "acme", "data": {"customers": ["C3"]}});
        lines.push(erased.to_string());
        let now = START_MS + 40 * 600 + 30_000;
        let plain =
            Shape { workers: 1, per_chunk: 601, max_arrivals: 1_000, partitions: 1, views: vec![] };
        let (expected, counts) = run(&lines, &plain, now);
        assert_eq!((counts.read, counts.applied), (601, 601), "seed {seed}");
        let empty = expected
            .iter()
            .filter(|it| it.1.is_empty())
            .map(|it| it.0.as_ref())
            .collect::<Vec<&str>>();
        // Only the desk decides on claims, only rules on what is said, and only a process that runs
        // measures itself.
        let own = ["capacity", "capacity_advice", "claims", "notifications"];
        assert_eq!(empty, own, "every other view has rows");

        let rng = &mut Rng(seed ^ 0x5eed);
        for workers in [1, 2, 3] {
            for max_arrivals in [1, 17, 250] {
                let mut shuffled = lines.clone();
                let repeated: Vec<String> = (0..200).map(|_| rng.pick(&lines).clone()).collect();
                shuffled.extend(repeated);
                rng.shuffle(&mut shuffled);
                let shape = Shape {
                    workers,
                    per_chunk: 1 + rng.next(40) as usize,
                    max_arrivals,
                    partitions: 1 + rng.next(3) as u32,
                    views: vec![],
                };
                let (rows, counts) = run(&shuffled, &shape, now);
                for (view, lines) in &rows {
                    assert_eq!(lines, &expected[view], "seed {seed}, {shape:?}, view {view}");
                }
                // What came about the one who is erased before that was known is applied, and gone;
                // what comes later is rejected.
                let taken = counts.applied + counts.rejected;
                assert_eq!((taken, counts.duplicate), (601, 200), "{shape:?}");
            }
        }
    }
}
