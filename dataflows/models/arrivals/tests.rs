//! Goal: of an order speaks the model of its own time, whatever was asked before; a body is what it
//! was, or nothing. Method: models of lanes of which the times are known; bodies cut and changed.

use super::super::eta::{ARRIVED_MIN, KEYS_MAX};
use super::super::lanes::{Lane, Lanes};
use super::super::silences::{LONGEST, ORDERS_MIN, Stay};
use super::*;

const DAY: i64 = 4 * QUARTER;

fn way<'w>(tenant: &'w str, to: &'w str) -> Way<'w> {
    Way { tenant, from: Some("SP"), to: Some(to), seller: None, promised: None }
}

/// Forty orders of tenant `t` that took so many days each.
fn model(days: i64) -> Fitted {
    lanes(days, 40, &["SP"]).sealed(50 * DAY).unwrap()
}

fn lanes(days: i64, n: i64, to: &[&str]) -> Lanes {
    let mut lanes = Lanes::default();
    for (n, to) in (0..n).flat_map(|n| to.iter().map(move |to| (n, to))) {
        let lane = Lane::of(&way("t", to), Status::Shipped);
        lanes.entered(&lane, n * DAY, 1);
        if n + days < 50 {
            lanes.arrived(&lane, n * DAY, (n + days) * DAY, 1);
        }
        lanes.silences.add("t", [Some("SP"), Some(to)], &stay(days), 1);
    }
    lanes
}

/// An order was shipped, and so many days nothing was said.
fn stay(days: i64) -> Stay {
    let went_on = true;
    Stay { status: Status::Shipped, entered: 0, silence: days * DAY, went_on }
}

fn asked(of: &Arrivals, entered: i64) -> Option<(i64, String)> {
    let (arrival, name) = of.of(&way("t", "SP"), Status::Shipped, entered)?;
    let days = (arrival.by(0.5) - entered) as f64 / DAY as f64;
    Some((days.round() as i64, name.to_string()))
}

#[test]
fn the_newest_before_its_own_time_speaks() {
    let of = Arrivals::default();
    assert_eq!(asked(&of, 100 * DAY), None);
    let add = |days, name, since| of.add(Speaker::new(model(days), name, since));
    assert!(add(2, "arrival 1", 100 * DAY));
    let first = asked(&of, 100 * DAY).unwrap();
    let late = asked(&of, 105 * DAY).unwrap();
    assert_eq!((first.1.as_str(), asked(&of, 100 * DAY - 1)), ("arrival 1", None));
    assert!(!add(12, "arrival 2", 100 * DAY), "not after the last");
    assert!(add(12, "arrival 2", 110 * DAY));
    // What was said stays, also of a statement that comes late; what comes then is told anew.
    assert_eq!((asked(&of, 100 * DAY).unwrap(), asked(&of, 105 * DAY).unwrap()), (first, late));
    let second = asked(&of, 110 * DAY).unwrap();
    assert_eq!(
        (second.1.as_str(), asked(&of, i64::MAX / 2).unwrap().1.as_str()),
        ("arrival 2", "arrival 2")
    );
    assert!(second.0 > asked(&of, 110 * DAY - 1).unwrap().0 + 3, "{second:?}");
    // Of a tenant, or a stage, of which nothing is known nothing is said.
    assert!(of.of(&way("other", "SP"), Status::Shipped, 110 * DAY).is_none());
    assert!(of.of(&way("t", "SP"), Status::Paid, 110 * DAY).is_none());
    of.forget(101 * DAY);
    assert_eq!(asked(&of, 109 * DAY), None);
    assert_eq!(asked(&of, 110 * DAY).unwrap(), second);
    of.set(Vec::new());
    assert_eq!(asked(&of, 110 * DAY), None);
}

/// Goal: what is kept of lanes is bounded, and makes no difference. Method: more lanes of more models
/// than are kept, each asked twice, against the model itself.
#[test]
fn what_is_kept_makes_no_difference() {
    let places: Vec<String> = (0..100).map(|n| format!("P{n}")).collect();
    let to: Vec<&str> = places.iter().map(String::as_str).collect();
    let model = lanes(3, 30, &to).sealed(50 * DAY).unwrap();
    let of = Arrivals::default();
    for n in 0..30 {
        assert!(of.add(Speaker::new(model.clone(), "m", n * DAY)));
    }
    for _ in 0..2 {
        for (n, to) in (0..30).flat_map(|n| to.iter().map(move |to| (n, to))) {
            let entered = n * DAY + n * QUARTER / 30 + 17;
            let expected = model.arrival(&way("t", to), Status::Shipped, entered);
            let said = of.of(&way("t", to), Status::Shipped, entered).map(|it| it.0);
            assert_eq!(said, expected);
            assert!((1..=LANES_MAX).contains(&of.rates.read().len()));
        }
    }
}

#[test]
fn a_body_is_what_it_was() {
    let model = lanes(4, 40, &["SP/0/01", "RJ", "AM"]).sealed(50 * DAY).unwrap();
    let body = model.body();
    assert_eq!(Fitted::of_body(&body).as_ref(), Some(&model));
    assert_eq!((model.boundary(), model.n_arrived()), (50 * DAY, 120));
    for n in 0..body.len() {
        assert_eq!(Fitted::of_body(&body[..n]), None, "cut at {n}");
    }
    let mut longer = body.clone();
    longer.push(0);
    assert_eq!(Fitted::of_body(&longer), None);
    // Whatever one bit makes of it: never a panic, never what it was. (That it was flipped is seen
    // by the digest.)
    for n in 0..body.len() * 8 {
        let mut flipped = body.clone();
        flipped[n / 8] ^= 1 << (n % 8);
        let found = Fitted::of_body(&flipped);
        assert_ne!(found.as_ref(), Some(&model), "bit {n}");
        if let Some(it) = found {
            it.arrival(&way("t", "RJ"), Status::Shipped, 60 * DAY);
        }
    }
}

#[test]
fn limits() {
    assert!(lanes(1, ARRIVED_MIN - 1, &["SP"]).sealed(50 * DAY).is_none());
    assert!(lanes(1, ARRIVED_MIN, &["SP"]).sealed(50 * DAY).is_some());
    let places: Vec<String> = (0..KEYS_MAX as i64).map(|n| format!("P{n}")).collect();
    let to: Vec<&str> = places.iter().map(String::as_str).collect();
    let model = lanes(3, 1, &to).sealed(50 * DAY).unwrap();
    assert_eq!(model.n_keys(), KEYS_MAX);
    assert!(model.arrival(&way("t", "nowhere"), Status::Shipped, 60 * DAY).is_some());
    assert!(model.body().len() < 1 << 20, "{}", model.body().len());
}

/// Goal: what is usual is said by the newest model before the statement, whatever comes later, and by
/// nobody where it knows too little. Method: models of lanes of which the silences are known, and one
/// that has none.
#[test]
fn what_is_usual_is_said_by_the_model_of_its_time() {
    let of = Arrivals::default();
    let days = |said_at: i64, tenant: &str| {
        let places = || [Some("SP"), Some("RJ")];
        let it = of.patience(tenant, Status::Shipped, said_at, places)?;
        Some(it / DAY)
    };
    let mut none = lanes(2, 40, &["SP"]);
    none.silences = Default::default();
    let none = none.sealed(50 * DAY).unwrap();
    assert!(none.patience().is_empty());
    assert!(of.add(Speaker::new(none.clone(), "arrival 1", 100 * DAY)));
    assert_eq!((days(105 * DAY, "t"), of.patient_from.load(Ordering::SeqCst)), (None, i64::MAX));
    for (n, days) in [(2, 3), (3, 11)] {
        assert!(of.add(Speaker::new(model(days), "m", (90 + n * 10) * DAY)));
    }
    let first = days(110 * DAY, "t");
    assert_eq!((days(110 * DAY - 1, "t"), first), (None, Some(3)));
    assert_eq!(days(120 * DAY - 1, "t"), first);
    assert_eq!((days(120 * DAY, "t"), days(i64::MAX, "t")), (Some(12), Some(12)));
    assert_eq!(days(120 * DAY, "other"), None);
    // One that knows of none leaves it to the fixed times, not to one before it.
    assert!(of.add(Speaker::new(none, "arrival 4", 130 * DAY)));
    assert_eq!((days(129 * DAY, "t"), days(130 * DAY, "t")), (Some(12), None));
    of.forget(115 * DAY);
    assert_eq!((days(110 * DAY, "t"), days(120 * DAY, "t")), (None, Some(12)));
    of.set(Vec::new());
    assert_eq!(days(120 * DAY, "t"), None);
    // Forty orders are enough, and one less is not.
    let mut few = lanes(2, 40, &["SP"]);
    few.silences.add("t", [Some("SP"), Some("SP")], &stay(2), ORDERS_MIN - 41);
    assert!(few.sealed(50 * DAY).unwrap().patience().is_empty());
}

/// Goal: a body that was written before there were silences is read as it was, and says nothing of
/// them; one of a later tag is not. Method: one that was kept, and one made of today's.
#[test]
fn a_body_of_the_first_tag_is_read() {
    let kept =
        include_bytes!("../../../tests/fixtures/format-1-arrivals/data/models/5e1826edb0cd55fa");
    assert_eq!(kept[..22], *b"\x15millstream arrivals 1");
    let read = Fitted::of_body(kept).expect("it was written by an earlier version");
    assert!(read.patience().is_empty());
    assert_eq!((read.n_arrived(), read.n_keys(), read.boundary()), (30, 4, 40 * DAY));
    // Today it is the same with no silences.
    let mut today = kept.to_vec();
    today[21] = b'2';
    assert_eq!(Fitted::of_body(&today), None);
    today.push(0);
    assert_eq!((read.body(), Fitted::of_body(&today)), (today.clone(), Some(read)));
    today[21] = b'3';
    assert_eq!(Fitted::of_body(&today), None);
}

/// Goal: what no model can say is no body. Method: one whose last silence is made the longest that
/// there is, and longer.
#[test]
fn a_silence_longer_than_any_is_refused() {
    let mut body = model(3).body();
    let last = body.len() - 1;
    body[last] = LONGEST;
    let read = Fitted::of_body(&body).expect("it is eighty days");
    assert!(!read.patience().is_empty());
    body[last] = LONGEST + 1;
    assert_eq!(Fitted::of_body(&body), None);
}
