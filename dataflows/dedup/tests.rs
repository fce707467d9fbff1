use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const ROOMY: u64 = 1 << 30;

fn claim(dedup: &Dedup, ids: &[Fingerprint], appended_ms: u64) -> Vec<bool> {
    let mut fresh = vec![true; 3];
    dedup.claim(ids, appended_ms, &mut fresh);
    fresh
}

proptest! {
    /// Goal: new or repeat exactly as the horizon says, through growth, sweeps and long gaps.
    /// Method: random batches at times that rise or fall back a little, against a hash map of the
    /// step at which each identity was last new.
    #[test]
    fn is_a_set_with_a_horizon(
        batches in prop::collection::vec(
            (prop::collection::vec(1..3_000_u128, 0..400), 0..40_u64, 0..100_u32), 1..60),
    ) {
        let horizon = 20;
        let dedup = Dedup::new(DedupLimits { horizon_ms: horizon * STEP_MS, max_bytes: ROOMY });
        let mut first: HashMap<u128, u64> = HashMap::new();
        let (mut now, mut newest) = (1_000_000, 0);
        for (ids, pass, leap) in batches {
            // Now and then by more than sixteen bits of steps.
            now += if leap == 0 { 100_000 } else { pass / 4 };
            let appended = now - pass.min(5);
            newest = newest.max(appended);
            let expected: Vec<bool> = ids
                .iter()
                .map(|id| {
                    let is_new = first.get(id).is_none_or(|it| it + horizon < newest);
                    if is_new {
                        first.insert(*id, newest);
                    }
                    is_new
                })
                .collect();
            prop_assert_eq!(claim(&dedup, &ids, appended * STEP_MS + 7), expected);
        }
        let stats = dedup.stats();
        prop_assert!(!stats.shortened);
        let live = first.values().filter(|it| *it + horizon >= newest);
        prop_assert!(stats.entries >= live.clone().count() as u64);
        // Where all of them have expired there is nothing that could be told wrong.
        let oldest = live.min().map_or(u64::MAX, |it| it * STEP_MS);
        prop_assert!(stats.oldest_ms <= oldest);
    }
}

proptest! {
    /// Goal: put back in whatever order, what was claimed is remembered as long as if it had never
    /// been gone. Method: random batches; what was new in each is put back into an empty set,
    /// oldest first, newest first or mixed, some twice; then both answer the same batches.
    #[test]
    fn what_is_put_back_is_as_it_was(
        batches in prop::collection::vec(
            (prop::collection::vec(1..2_000_u128, 0..200), 0..40_u64, 0..60_u32), 2..40),
        cut in 1..40_usize,
        order in 0..3_u8,
    ) {
        let limits = DedupLimits { horizon_ms: 20 * STEP_MS, max_bytes: ROOMY };
        let (plain, again) = (Dedup::new(limits), Dedup::new(limits));
        let mut claimed = Vec::new();
        let mut now = 1_000_000;
        for (n, (ids, pass, leap)) in batches.iter().enumerate() {
            now += if *leap == 0 { 100_000 } else { pass / 4 };
            let appended = (now - pass.min(&5)) * STEP_MS + 7;
            if n == cut {
                match order {
                    0 => {}
                    1 => claimed.reverse(),
                    _ => claimed.sort_by_key(|it: &(Vec<u128>, u64)| it.0.len() % 3),
                }
                // Told how many, fewer or more: it only spares work.
                again.expect([0, 7, 3_000, u64::MAX][cut % 4]);
                let twice = claimed.iter().chain(&claimed[..claimed.len() / 2]);
                twice.for_each(|(ids, at)| again.restore(ids, *at));
                prop_assert_eq!(again.stats().effective_horizon_ms, limits.horizon_ms);
            }
            let mut fresh = Vec::new();
            let at = plain.claim(ids, appended, &mut fresh);
            if n >= cut {
                prop_assert_eq!(claim(&again, ids, appended), fresh, "batch {}", n);
                continue;
            }
            let new = ids.iter().zip(&fresh).filter(|it| *it.1).map(|it| *it.0);
            claimed.push((new.collect(), at));
        }
    }
}

/// Goal: who was told how many come does not grow while they come, and holds no more for it than one
/// who grows; where they are more than memory may hold nothing is set aside. Method: bytes.
#[test]
fn room_is_made_at_once() {
    let limits = DedupLimits { horizon_ms: 600 * STEP_MS, max_bytes: 64 << 20 };
    let [told, grows] = [0; 2].map(|_| Dedup::new(limits));
    let ids: Vec<u128> = (1..200_000_u128)
        .map(|it| it.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
        .collect();
    told.expect(ids.len() as u64);
    let room = told.stats().bytes;
    for it in [&told, &grows] {
        ids.chunks(1_000).for_each(|some| it.restore(some, 1_000 * STEP_MS));
        assert_eq!(it.stats().entries, ids.len() as u64);
    }
    assert_eq!(told.stats().bytes, room);
    assert!(room <= grows.stats().bytes * 11 / 10, "{room} {}", grows.stats().bytes);
    grows.expect(1 << 40);
    assert!(grows.stats().bytes <= limits.max_bytes);
}

/// Goal: where memory does not suffice for all that is put back, the newest is kept, in whatever
/// order it came. Method: twice as much as fits, oldest and newest first.
#[test]
fn the_newest_is_put_back_when_not_all_fits() {
    let limits = DedupLimits { horizon_ms: 600 * STEP_MS, max_bytes: 3 << 20 };
    let ids = |minute: u64| -> Vec<u128> {
        (0..1_000).map(|it| u128::from(minute * 1_000 + it)).collect()
    };
    for newest_first in [false, true] {
        let dedup = Dedup::new(limits);
        for n in 0..400 {
            let minute = if newest_first { 399 - n } else { n };
            dedup.restore(&ids(minute), (1_000 + minute) * STEP_MS);
            assert!(dedup.stats().bytes <= limits.max_bytes);
        }
        let stats = dedup.stats();
        assert!(stats.shortened && stats.entries > 80_000, "{stats:?}");
        let kept = stats.effective_horizon_ms / STEP_MS;
        assert!((50..200).contains(&kept), "{newest_first} {stats:?}");
        // A full shard makes room, by an eighth, before it looks.
        for minute in 400 - kept * 3 / 4..400 {
            assert!(claim(&dedup, &ids(minute), 1_399 * STEP_MS).iter().all(|it| !*it));
        }
    }
}

/// Goal: each identity is new once, whatever the threads. Method: four threads claim the same
/// identities in different orders and batches; the times they were new are counted.
#[test]
fn is_new_once_over_all_threads() {
    let dedup = Dedup::new(DedupLimits { horizon_ms: 60_000, max_bytes: ROOMY });
    let n = 40_000_u128;
    let fresh: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u128)
            .map(|thread| {
                let dedup = &dedup;
                scope.spawn(move || {
                    let ids: Vec<u128> = (0..n).map(|it| it * (7 + 2 * thread) % n).collect();
                    let batches = ids.chunks(100 + thread as usize * 333);
                    batches
                        .map(|it| claim(dedup, it, 5).iter().filter(|it| **it).count())
                        .sum::<usize>()
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum::<usize>()
    });
    // 7 and 13 are coprime to 40,000 as 9 and 11 are: every thread walks all of them.
    assert_eq!(fresh, n as usize);
    assert_eq!(dedup.stats().entries, n as u64);
}

/// Goal: memory is a bound; reaching it shortens the horizon and says so; the newest stay known.
#[test]
fn memory_shortens_the_horizon() {
    let limits = DedupLimits { horizon_ms: 600 * STEP_MS, max_bytes: 3 << 20 };
    let dedup = Dedup::new(limits);
    assert_eq!(dedup.stats().effective_horizon_ms, limits.horizon_ms);
    for minute in 0..500_u64 {
        let ids: Vec<u128> = (0..1_000).map(|it| u128::from(minute * 1_000 + it)).collect();
        let appended = (1_000 + minute) * STEP_MS;
        assert!(claim(&dedup, &ids, appended).iter().all(|it| *it));
        assert!(claim(&dedup, &ids, appended).iter().all(|it| !*it));
        assert!(dedup.stats().bytes <= limits.max_bytes);
    }
    let stats = dedup.stats();
    assert!(stats.shortened);
    assert!(stats.entries > 80_000, "{stats:?}");
    let kept = stats.effective_horizon_ms / STEP_MS;
    assert!((50..200).contains(&kept), "{stats:?}");
    // What the effective horizon promises is known.
    let inside = 500 - kept + 1;
    let ids: Vec<u128> = (inside * 1_000..500_000).map(u128::from).collect();
    assert!(claim(&dedup, &ids, 1_499 * STEP_MS).iter().all(|it| !*it));
}

/// Goal: after a burst memory comes back, by the sweep alone, within a horizon.
#[test]
fn the_sweep_gives_memory_back() {
    let dedup = Dedup::new(DedupLimits { horizon_ms: 100 * STEP_MS, max_bytes: ROOMY });
    let empty = dedup.stats().bytes;
    let ids: Vec<u128> = (0..200_000).collect();
    claim(&dedup, &ids, 1_000 * STEP_MS);
    let full = dedup.stats().bytes;
    assert!(full > empty + 200_000 * 18);
    assert!(full < empty + 200_000 * 33, "{} bytes an identity", full / 200_000);
    // Thousand idle claims of nothing, over two and a half horizons.
    for n in 0..3_000 {
        claim(&dedup, &[], 1_000 * STEP_MS + n * STEP_MS / 12);
    }
    let stats = dedup.stats();
    assert_eq!((stats.entries, stats.oldest_ms), (0, 0));
    assert!(stats.bytes < empty * 3, "{} of {full} bytes left", stats.bytes);
}

proptest! {
    /// Goal: a shard knows whom it has, also where runs of slots are long and go on at the beginning.
    /// Method: one shard by itself, filled until it is full at each of its sizes; then everybody who is
    /// there is asked for, and everybody who comes was not.
    #[test]
    fn a_full_shard_knows_everybody(number in 0..SHARDS, seed in any::<u64>()) {
        let age = Age { newest: 7, horizon: 20 };
        let id = |n: u64| u128::from((n ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 32 | u128::from(n);
        let mut shard = Shard::new(number);
        for n in 0..3_000 {
            if shard.is_full() {
                for known in 0..n {
                    prop_assert!(!shard.claim(id(known), age));
                }
                prop_assert_eq!(shard.len() as u64, n);
                shard.grow();
            }
            prop_assert!(shard.claim(id(n), age));
        }
        prop_assert!((0..3_000).all(|n| !shard.claim(id(n), age)));
    }
}
