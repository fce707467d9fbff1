use std::collections::BTreeMap;

use proptest::prelude::*;
use schemas::reading::Instants;
use schemas::rows::Value;
use schemas::scanning::{Is, Test};

use super::super::Slots;
use super::super::tests::{Bench, Update, addressed, fingerprint};
use super::*;

/// Behind which the keys of the second map stand.
const PREFIX: &str = "m 1/";

/// Keys that lie on both sides of the prefix, and some that nearly begin like it.
fn key() -> impl Strategy<Value = &'static str> {
    const KEYS: [&str; 12] =
        ["", "a", "m", "m 1", "m 1%2F", "m 10", "m/", "n", "m 0/a", "z/é", "%", "m 1."];
    proptest::sample::select(&KEYS[..])
}

/// Which map, whose entity, what becomes of it, in steps.
fn history() -> impl Strategy<Value = Vec<Vec<(bool, bool, &'static str, bool)>>> {
    let said = (any::<bool>(), any::<bool>(), key(), prop::bool::weighted(0.2));
    prop::collection::vec(prop::collection::vec(said, 0..12), 1..6)
}

/// As the view says them: by tenant and key.
type Plain = BTreeMap<(String, String), Row>;

/// Page by page.
fn listed(
    view: &Several,
    tenant: &str,
    at: Epoch,
    limit: usize,
    examine: usize,
) -> Vec<(Name, Row)> {
    let (mut all, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = view.page(tenant, after.as_deref(), at, limit, examine, Keep::ALL).unwrap();
        assert!(page.rows.len() <= limit);
        all.extend(page.rows);
        pages += 1;
        assert!(pages < 1_000, "it does not get on");
        match page.next {
            None => return all,
            Some(next) => {
                assert!(after.as_ref().is_none_or(|it| *it < next));
                after = Some(next);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Goal: two maps seen as one say what a single map with all their rows would: by key, page by
    /// page whatever the size of a page, as a table, as changes, and to those who hand rows on.
    /// Method: random histories of two maps against a plain map, at the end and at an epoch before.
    #[test]
    fn several_are_as_one(history in history(), limit in 1..5_usize, examine in 1..4_usize) {
        let mut maps = [false, true].map(|_| Bench::with(2, 64 << 20, Slots::Kept));
        let parts = maps.iter().zip(["", PREFIX]).map(|(it, prefix)| {
            Piece::of(prefix, it.map.clone(), it.map.clone())
        });
        let view = Several::of(ViewReader::def(maps[0].map.as_ref()), parts.collect());
        view.note();
        let mut told = Plain::new();
        let mut plain: Vec<Plain> = vec![Plain::new()];
        for (epoch, said) in (1..).zip(&history) {
            for (second, bench) in maps.iter_mut().enumerate() {
                let updates: Vec<_> = (said.iter().filter(|it| usize::from(it.0) == second))
                    .map(|(_, tenant, key, gone)| {
                        let update = if *gone { Update::Delete } else { Update::Add(1) };
                        addressed(if *tenant { "t" } else { "u" }, key, update)
                    })
                    .collect();
                bench.epoch(epoch, &updates);
                bench.clock.lease(epoch, 0, u64::MAX).unwrap();
            }
            let mut now = Plain::new();
            for (bench, prefix) in maps.iter().zip(["", PREFIX]) {
                let mut see = |name: &Name, row: Row| {
                    let key = [prefix, name.key()].concat();
                    now.insert((name.tenant().to_string(), key), row);
                };
                bench.map.for_each(epoch, &mut see).unwrap();
            }
            plain.push(now);
            view.touched(epoch - 1, epoch, true, &mut |it| {
                let key = (it.name.tenant().to_string(), it.name.key().to_string());
                assert_eq!(it.exists, it.row.is_some());
                let again = view.read(it.spot, it.key, epoch).unwrap().unwrap();
                assert_eq!((again.0, &again.1, &again.2), (it.epoch, it.name, &it.row));
                match it.row {
                    Some(row) => drop(told.insert(key, row)),
                    None => drop(told.remove(&key)),
                }
            })
            .unwrap();
            prop_assert_eq!(&told, plain.last().unwrap(), "what was told of epoch {}", epoch);
        }
        let last = history.len() as Epoch;
        for at in [last, last / 2].into_iter().filter(|it| *it > 0) {
            let expected = &plain[at as usize];
            for ((tenant, key), row) in expected {
                prop_assert_eq!(view.get(tenant, key, at).unwrap(), Some(row.clone()));
                let mut fields = Vec::new();
                prop_assert!(view.fields_of(tenant, key, at, &[1], &mut fields).unwrap());
                prop_assert_eq!(&fields[0], &row.values[1]);
            }
            prop_assert_eq!(view.get("t", "m 1", at).unwrap().is_some(),
                expected.contains_key(&("t".into(), "m 1".into())));
            for tenant in ["t", "u", "nobody"] {
                let of: Vec<_> = expected.iter().filter(|it| it.0.0 == tenant).collect();
                let found = listed(&view, tenant, at, limit, examine);
                let found: Vec<_> = found.iter().map(|it| (it.0.key(), &it.1)).collect();
                let plain: Vec<_> = of.iter().map(|it| (it.0.1.as_str(), it.1)).collect();
                prop_assert_eq!(found, plain);
                prop_assert_eq!(view.count(tenant, at), of.len() as u64);
                let tests = vec![Test { field: 1, is: Is::AtLeast(Value::Int(2)) }];
                let wanted = Wanted { fields: vec![1], tests };
                let (mut scan, mut values, mut n) = (Scan::default(), Vec::new(), 0);
                while !scan.over {
                    n += view.scan(tenant, at, &wanted, &mut scan, &mut values).unwrap();
                }
                let passes = of.iter().filter(|it| wanted.tests[0].is.passes(&it.1.values[1]));
                prop_assert_eq!((n, values.len()), (passes.clone().count(), passes.count()));
            }
        }
        // From an epoch to another: what a plain map would see.
        let (from, mut changed) = (last / 2, plain[last as usize / 2].clone());
        if from > 0 {
            view.changes(from, last, &mut |name, old, new| {
                let key = (name.tenant().to_string(), name.key().to_string());
                assert_eq!(changed.remove(&key), old);
                changed.extend(new.map(|row| (key, row)));
            })
            .unwrap();
            prop_assert_eq!(&changed, &plain[last as usize]);
        }
        let mut since = 0;
        view.since(0, last, &mut |spot, key, _| {
            since += 1;
            let (_, name, _) = view.read(spot, key, last).unwrap().unwrap();
            let own = name.key().strip_prefix(PREFIX).filter(|_| spot.0 >> PART_OF_SPOT == 1);
            assert_eq!(key, fingerprint(name.tenant(), own.unwrap_or(name.key())));
        })
        .unwrap();
        prop_assert_eq!(since, view.stats().entities);
        prop_assert_eq!(view.rows(), plain[last as usize].len() as u64);
        prop_assert!(view.is_kept());
        while view.merge_index() {}
        prop_assert_eq!(listed(&view, "t", last, 100, 1_000).len() as u64, view.count("t", last));
    }
}
