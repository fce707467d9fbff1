use std::collections::{BTreeMap, BTreeSet};

use schemas::decode::structured;
use schemas::events::{Data, EventType, Status};

use super::*;

const SHAPE: Shape = Shape { seed: 7, base: 0, start_ms: 1_767_225_600_000, rate: 1_000 };

/// Goal: a seed is a bug report. Method: the same shape twice, another seed, another base.
#[test]
fn the_same_shape_gives_the_same_events() {
    let take = |shape: Shape| Generator::new(shape).take(500).collect::<Vec<_>>();
    assert_eq!(take(SHAPE), take(SHAPE));
    assert_ne!(take(SHAPE), take(Shape { seed: 8, ..SHAPE }));
    assert_ne!(take(SHAPE), take(Shape { base: 500, ..SHAPE }));
}

/// Goal: realistic, and of the contract. Method: 20,000 events are decoded; identities are unique,
/// every type and both tenants are there, orders walk forwards, entities exist before they are
/// spoken of, texts differ, times are paced.
#[test]
fn events_tell_a_plausible_story() {
    let records: Vec<Vec<u8>> = Generator::new(SHAPE).take(20_000).collect();
    let mut ids = BTreeSet::new();
    let mut kinds: BTreeMap<EventType, u64> = BTreeMap::new();
    let mut steps: BTreeMap<(String, String), usize> = BTreeMap::new();
    let (mut customers, mut texts) = (BTreeSet::new(), BTreeSet::new());
    let (mut n_texts, mut n_lines, mut last) = (0, 0, 0);
    for (n, record) in records.iter().enumerate() {
        let event = structured(record).unwrap_or_else(|why| panic!("{why}: {record:?}"));
        let tenant = event.tenant.to_string();
        assert!(ids.insert((tenant.clone(), event.source.to_string(), event.id.to_string())));
        assert!(event.time >= last && event.time <= 1_767_225_600_000_000 + n as i64 * 1_000);
        last = event.time;
        *kinds.entry(event.data.event_type()).or_default() += 1;
        match &event.data {
            Data::CustomerRegistered(it) => {
                assert!(customers.insert((tenant, it.customer.to_string())));
            }
            Data::OrderPlaced(it) => {
                assert!(customers.contains(&(tenant.clone(), it.customer.to_string())));
                n_lines += it.lines.len();
                assert_eq!(steps.insert((tenant, it.order.to_string()), 0), None);
            }
            Data::OrderStatusChanged(it) => {
                let step = steps.get_mut(&(tenant, it.order.to_string())).expect("placed before");
                if it.status != Status::Problem {
                    assert_eq!(it.status, LIFE[*step]);
                    *step += 1;
                }
            }
            Data::FeedbackSubmitted(it) => {
                n_texts += usize::from(it.text.is_some());
                texts.extend(it.text.as_ref().map(|it| it.to_string()));
            }
            _ => {}
        }
    }
    // A shop has no records of foreign tables, what rules and the process say is
    // said by them, and nobody is erased.
    let others = ["record.", "load.", "message.", "system.", "customer.erased"];
    let made = EventType::ALL
        .iter()
        .filter(|it| !others.iter().any(|other| it.as_str().starts_with(other)));
    assert_eq!(kinds.len(), made.count(), "{kinds:?}");
    let placed = kinds[&EventType::OrderPlaced];
    assert!(n_lines as u64 > placed * 3 / 2, "orders of several lines: {n_lines} for {placed}");
    assert!(texts.len() * 10 > n_texts * 9 && n_texts > 300, "{} of {n_texts}", texts.len());
    let delivered = steps.values().filter(|it| **it == LIFE.len()).count() as u64;
    assert!(delivered * 2 > placed, "{delivered} of {placed} orders arrive");
    let text = String::from_utf8(records.concat()).unwrap();
    assert!(TENANTS.iter().all(|it| text.contains(&format!("\"tenant\":\"{it}\""))));
}

/// Goal: a second run repeats nothing of the first. Method: identities and keys of both.
#[test]
fn a_later_base_repeats_nothing() {
    let first = Generator::new(SHAPE);
    let later = Generator::new(Shape { base: 2_000, ..SHAPE });
    assert_eq!(later.first_keys(), ("C-2001".to_string(), "O-2001".to_string()));
    let names = |it: Generator| -> BTreeSet<String> {
        it.take(2_000)
            .filter_map(|it| {
                let event = structured(&it).ok()?.clone();
                match event.data {
                    Data::CustomerRegistered(it) => Some(it.customer.into_owned()),
                    Data::OrderPlaced(it) => Some(it.order.into_owned()),
                    _ => None,
                }
            })
            .collect()
    };
    assert!(names(first).is_disjoint(&names(later)));
}

/// Goal: two weeks of calls, of the contract, each hour once, whoever asks and when; orders of whole
/// days, most of which arrived. Method: the past of two instants of one hour, of the next, and of the
/// next day.
#[test]
fn the_past_is_of_its_hours_and_days_alone() {
    let of = |start_ms: u64| past(start_ms).collect::<Vec<_>>();
    let is_call = |it: &&Vec<u8>| String::from_utf8_lossy(it).contains("load.measured");
    let (now, hour) = (1_767_225_600_000, 3_600_000);
    let some = of(now);
    assert_eq!(some, of(now + hour - 1));
    let next = of(now + hour);
    let n_calls = 14 * 24 * TENANTS.len();
    assert_eq!(some[TENANTS.len()..n_calls], next[..n_calls - TENANTS.len()]);
    assert_eq!(some[n_calls..], next[n_calls..]);
    let later: BTreeSet<Vec<u8>> = of(now + 24 * hour).into_iter().collect();
    let of_this_week =
        |it: &&Vec<u8>| structured(it).unwrap().time > (now as i64 - 6 * 86_400_000) * 1_000;
    assert!(some.iter().filter(of_this_week).all(|it| later.contains(it)), "nothing is taken back");
    let mut ids = BTreeSet::new();
    let (mut placed, mut delivered, mut last) = (BTreeSet::new(), 0, BTreeMap::new());
    for record in &some {
        let event = structured(record).unwrap_or_else(|why| panic!("{why}: {record:?}"));
        let said = (event.tenant.to_string(), event.source.to_string(), event.id.to_string());
        assert!(ids.insert(said) && event.time < now as i64 * 1_000);
        let tenant = event.tenant.to_string();
        match &event.data {
            Data::LoadMeasured(it) => {
                assert!((0..200).contains(&it.value) && it.bucket_minutes == 60, "{it:?}");
            }
            Data::OrderPlaced(it) => {
                assert!(placed.insert((tenant, it.order.to_string())));
            }
            Data::OrderStatusChanged(it) => {
                let order = (tenant, it.order.to_string());
                assert!(placed.contains(&order), "{order:?}");
                delivered += usize::from(it.status == Status::Delivered);
                last.insert(order, it.status);
            }
            Data::CustomerRegistered(it) => assert!(it.customer.starts_with("R-")),
            _ => panic!("{event:?}"),
        }
    }
    assert_eq!(some.iter().filter(is_call).count(), n_calls);
    assert!(placed.len() > 80 && delivered * 10 > placed.len() * 7, "{delivered} of {placed:?}");
    assert!(last.values().any(|it| *it == Status::Shipped), "some are on their way");
}

/// Goal: whenever it begins, some of the past is stuck and late, some cannot be, and enough arrived
/// to learn from. Method: every day until the past repeats itself (spells and tenth days).
#[test]
fn every_past_has_what_can_be_wrong() {
    const DAY: i64 = 86_400_000_000;
    for day in 20_454..20_454 + 160_i64 {
        let (mut way, mut arrived) = (BTreeMap::<String, BTreeMap<Status, i64>>::new(), 0);
        for record in past((day * DAY / 1_000).cast_unsigned()) {
            let event = structured(&record).unwrap();
            if let (true, Data::OrderStatusChanged(it)) = (event.tenant == "acme", &event.data) {
                way.entry(it.order.to_string()).or_default().insert(it.status, event.time);
                arrived += u64::from(it.status == Status::Delivered);
            }
        }
        let at = |it: &BTreeMap<Status, i64>, status| it.get(&status).copied();
        let is_stuck = |it: &BTreeMap<Status, i64>| {
            let shipped = at(it, Status::Shipped).filter(|it| *it < (day - 10) * DAY);
            shipped.is_some() && at(it, Status::Delivered).is_none()
        };
        let is_odd = |it: &BTreeMap<Status, i64>| {
            at(it, Status::Delivered).is_some_and(|delivered| delivered < it[&Status::Shipped])
        };
        let n_stuck = way.values().filter(|it| is_stuck(it)).count();
        let n_odd = way.values().filter(|it| is_odd(it)).count();
        assert!(n_stuck > 0 && n_odd > 0 && arrived >= 30, "{day}: {n_stuck} {n_odd} {arrived}");
    }
}
