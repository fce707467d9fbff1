//! Goal: what brings a case forward is what the module docs say. Method: small tables.

use schemas::events::Event;
use schemas::names::Name;
use schemas::rows::{Row, Value};

use super::*;
use crate::histories::{Answer, START, bought, opened, play_until};
use crate::{health, priority_queue};

#[test]
fn three_within_a_week_are_too_many() {
    let found = |days: &[(i64, isize)]| crowded(days);
    assert_eq!(found(&[(0, 2)]), []);
    assert_eq!(found(&[(0, 3)]), [(0, 0)]);
    assert_eq!(found(&[(0, 1), (3, 1), (6, 1)]), [(0, 6)]);
    assert_eq!(found(&[(0, 1), (3, 1), (7, 1)]), []);
    assert_eq!(found(&[(0, 1), (6, 2), (12, 1), (40, 3)]), [(0, 12), (40, 40)]);
}

#[test]
fn the_line_that_says_most_stands() {
    let line = |tier: Option<&str>, band: Option<&str>, minutes: i64| Sla {
        tier: tier.map(CompactString::from),
        band: band.map(CompactString::from),
        times: [minutes * 60_000_000; 4],
    };
    let sla = vec![
        line(None, None, 1),
        line(None, Some("falling"), 2),
        line(Some("gold"), None, 3),
        line(Some("gold"), Some("falling"), 4),
    ];
    let terms = Terms { sla, tiers: vec![], ..Terms::default() };
    let minutes = |tier: Option<&str>, band: Option<&str>| {
        let person = Person {
            tier: tier.map(CompactString::from),
            band: band.map(CompactString::from),
            ..Person::default()
        };
        terms.bring(2, 0, &person).due_at / 60_000_000
    };
    let (gold, falling) = (Some("gold"), Some("falling"));
    let found =
        [(None, None), (None, falling), (gold, None), (gold, falling), (Some("tin"), falling)];
    assert_eq!(found.map(|(tier, band)| minutes(tier, band)), [1, 2, 3, 4, 2]);
}

#[test]
fn each_reason_takes_its_share_of_what_is_left() {
    let person = Person {
        tier: Some("gold".into()),
        band: Some("falling".into()),
        fell_from: Some("good".into()),
        is_late: true,
        crowded: vec![(0, 3)],
    };
    let found = Terms::default().bring(1, 0, &person);
    let minutes = |it: i64| it as f64 / 6e7;
    assert_eq!((minutes(found.due_at), minutes(found.soon_at)), (15.0, 11.25));
    assert_eq!(minutes(found.deadline), 15.0 * 0.5 * 0.75 * 0.75 * 0.75);
    assert_eq!((found.class.as_str(), found.reasons.len()), ("P1/gold/falling", 4));
    assert_eq!(found.reasons[1], "health fell from good to falling: 75 % of its time");
    let nobody = Terms::default().bring(1, 0, &Person::default());
    assert_eq!((nobody.deadline, nobody.reasons.len()), (nobody.due_at, 0));
}

/// Goal: a customer who bought every week and stops falls to a worse band one day, weeks after; at that
/// instant, and not a millisecond before, their case moves ahead of one that was opened before it, and
/// says why. Method: the queue and the bands around the start of each of the customer's days.
#[test]
fn a_band_that_falls_brings_the_case_forward() {
    let (week, day) = (7 * 86_400_000, 86_400_000);
    let at = |n: usize, ms: i64, data| Event {
        tenant: "default".into(),
        source: "//test".into(),
        id: n.to_string().into(),
        time: (START as i64 + ms) * 1_000,
        data,
    };
    let mut events: Vec<_> =
        (0..12).map(|n| at(n, (n as i64 - 11) * week, bought("a", "O1", 500))).collect();
    events.push(at(12, 1_000, opened("b", "T2")));
    events.push(at(13, 2_000, opened("a", "T1")));
    let begins = START + u64::from(health::offset_of("a"));
    let starts: Vec<u64> = (0..90).map(|it| begins + it * day).collect();
    let instants = starts.iter().flat_map(|it| [it - 1, *it]).collect();
    let answers = play_until(events, instants);

    let row = |answer: &Answer, view: &str, key: &str| -> Row {
        answer[view]
            .get(&Name::new("default", key))
            .unwrap_or_else(|| panic!("{view}/{key}"))
            .clone()
    };
    let queued = |answer: &Answer, case: &str, field: &str| {
        row(answer, "priority_queue", case).values[priority_queue::DEF.position(field).unwrap()]
            .clone()
    };
    let deadline = |answer: &Answer, case: &str| match queued(answer, case, "deadline") {
        Value::Time(it) => it,
        other => panic!("{other:?}"),
    };
    let band = |answer: &Answer| match &row(answer, "health", "a").values[2] {
        Value::Text(it) => health::terms().bands.iter().position(|band| band.name == *it).unwrap(),
        other => panic!("{other:?}"),
    };
    let pairs: Vec<_> = answers.chunks(2).map(|it| (&it[0], &it[1])).collect();
    let falls = pairs.iter().position(|(before, at)| band(at) > band(before));
    let falls = falls.expect("who stops buying falls");
    assert!(falls > 28, "four weeks on: {falls}");
    let (before, after) = pairs[falls];
    let name = |it: usize| health::terms().bands[it].name.clone();
    let why = format!(
        "health fell from {} to {}: 75 % of its time",
        name(band(before)),
        name(band(after))
    );
    assert_eq!(queued(before, "T1", "reasons"), Value::Json(serde_json::json!([])));
    assert_eq!(queued(after, "T1", "reasons"), Value::Json(serde_json::json!([why])));
    assert!(deadline(before, "T2") < deadline(before, "T1"));
    assert!(deadline(after, "T1") < deadline(after, "T2"));
    assert_eq!(queued(after, "T1", "due_at"), queued(before, "T1", "due_at"));
    assert_eq!(queued(after, "T2", "deadline"), queued(before, "T2", "deadline"));
}
