//! Goal: what is usual on a lane is a function of the set of what happened, says what nineteen of
//! twenty orders did, and leans on nothing else where it knows enough. Method: random stays in two
//! orders and in parts; stays and timelines of which the answer is known.

use proptest::prelude::*;
use schemas::names::Name;
use schemas::time::rfc3339;
use serde_json::json;

use super::*;
use crate::models::arrivals::SHOWN;
use crate::models::lanes::QUARTER;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn stay(silence: i64, went_on: bool) -> Stay {
    Stay { status: Status::Paid, entered: 0, silence, went_on }
}

/// The longest usual silence of paid orders without places, of which so many stayed so.
fn of_paid(all: &[(i64, bool, i64)]) -> Option<i64> {
    let mut silences = Silences::default();
    for (silence, went_on, n) in all {
        silences.add("t", [None; 2], &stay(*silence, *went_on), *n);
    }
    silences.learnt().of("t", Status::Paid, [None; 2])
}

#[test]
fn buckets_are_narrow_and_reach_eighty_days() {
    assert_eq!(SHOWN, 320 * QUARTER);
    assert_eq!((end(usize::from(LONGEST)), bucket(SHOWN - 1)), (SHOWN, usize::from(LONGEST)));
    assert_eq!((bucket(SHOWN), bucket(i64::MAX), bucket(-1)), (LONGER, LONGER, 0));
    for it in 0..LONGER {
        let end = end(it);
        assert_eq!((bucket(end - 1), bucket(end)), (it, it + 1));
        let begin = if it == 0 { 0 } else { super::end(it - 1) };
        assert!(end - begin <= SILENCE_MIN.max(begin / 8), "{it}");
    }
}

#[test]
fn nineteen_of_twenty_go_on_by_then() {
    let hours = |it: Option<i64>| it.map(|it| it as f64 / HOUR as f64);
    let (quick, slow) = (2 * HOUR, 9 * DAY);
    let (two_hours, nine_days) = (Some(2.25), Some(9.0 * 24.0 + 8.0));
    assert_eq!(hours(of_paid(&[(quick, true, 38), (slow, true, 2)])), two_hours);
    assert_eq!(hours(of_paid(&[(quick, true, 37), (slow, true, 3)])), nine_days);
    // Too few.
    assert_eq!(of_paid(&[(quick, true, ORDERS_MIN - 1), (quick, false, 500)]), None);
    // Those that still wait are as slow as they were seen to be, and no quicker: of sixty orders half
    // were paid an hour ago.
    assert_eq!(hours(of_paid(&[(slow, true, 57), (quick, true, 3)])), nine_days);
    assert_eq!(hours(of_paid(&[(slow, true, 57), (quick, true, 3), (HOUR, false, 60)])), nine_days);
    // Most of a hundred went on within two hours, because only those could so far.
    let halted = [(quick, true, 50), (4 * HOUR, false, 40), (slow, true, 10)];
    assert_eq!(hours(of_paid(&halted)), nine_days);
    // More than one of twenty is not known to go on at all: nothing is said.
    assert_eq!(hours(of_paid(&[(quick, true, 57), (slow, false, 3)])), two_hours);
    assert_eq!(of_paid(&[(quick, true, 56), (slow, false, 4)]), None);
    // What takes longer than is told apart did not go on.
    assert_eq!(of_paid(&[(quick, true, 56), (SHOWN, true, 4)]), None);
}

/// Goal: of an order speaks the narrowest lane that knows enough, of its own tenant and status.
#[test]
fn a_narrow_lane_speaks_where_it_knows_enough() {
    let mut silences = Silences::default();
    let mut add = |places, hours: i64, n| {
        silences.add("t", places, &stay(hours * HOUR, true), n);
    };
    add([Some("W"), Some("SP/01")], 1, ORDERS_MIN);
    add([Some("W"), Some("SP/02")], 5, ORDERS_MIN - 1);
    add([Some("W"), Some("AM")], 24, 400);
    add([Some("E"), None], 400, 2_000);
    let learnt = silences.learnt();
    let told = |from, to| {
        let it = learnt.of("t", Status::Paid, [from, to]).expect("something");
        bucket(it - 1)
    };
    let of = |hours: i64| bucket(hours * HOUR);
    let w = Some("W");
    assert_eq!(told(w, Some("SP/01")), of(1));
    assert_eq!(told(w, Some("SP/01/x")), of(1));
    // One order too few: what is so of all that goes to SP.
    assert_eq!(told(w, Some("SP/02")), of(5));
    assert_eq!(told(w, Some("SP")), of(5));
    assert_eq!(told(w, Some("AM/7")), of(24));
    // Nothing goes there from W yet, or nobody knows where it goes.
    assert_eq!((told(w, Some("RJ")), told(w, None)), (of(24), of(24)));
    assert_eq!((told(Some("E"), None), told(None, None)), (of(400), of(400)));
    assert_eq!((told(Some("N"), Some("SP/01")), told(None, Some("SP/01"))), (of(400), of(400)));
    assert_eq!(learnt.of("other", Status::Paid, [w, Some("SP/01")]), None);
    assert_eq!(learnt.of("t", Status::Shipped, [w, Some("SP/01")]), None);
    assert!(!learnt.is_empty() && Patience::default().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_order_does_not_matter(
        stays in proptest::collection::vec(
            (0..4_usize, 0..100 * DAY, any::<bool>(), 0..3_usize, 1..60_i64), 1..120),
        cut in any::<proptest::sample::Index>(),
    ) {
        let add = |to: &mut Silences, stays: &[(usize, i64, bool, usize, i64)], sign: i64| {
            for (status, silence, went_on, place, n) in stays {
                let places = [Some("W"), [None, Some("SP/01"), Some("SP/02")][*place]];
                let stay = Stay { status: Status::ALL[*status], ..stay(*silence, *went_on) };
                to.add("t", places, &stay, sign * n);
            }
        };
        let mut whole = Silences::default();
        add(&mut whole, &stays, 1);
        let (one, other) = stays.split_at(cut.index(stays.len()));
        let (mut first, mut second) = (Silences::default(), Silences::default());
        add(&mut second, other, 1);
        add(&mut first, one, 1);
        second.add_all(&first, 1);
        prop_assert_eq!(&second, &whole);
        prop_assert_eq!(second.learnt(), whole.learnt());
        // Taken out again, nothing is left.
        add(&mut second, one, -1);
        add(&mut second, other, -1);
        prop_assert_eq!(&second, &Silences::default());
    }
}

/// A row of `orders`, as far as stays are read off it.
fn row(said: &[(i64, Status, bool)], to: &str) -> Row {
    let timeline = said.iter().map(|(at, status, of_line)| {
        let mut it = json!({"at": rfc3339(*at), "status": status.as_str()});
        if *of_line {
            it["line"] = json!(1);
        }
        it
    });
    let mut values = vec![Value::Null; orders::DEF.fields.len()];
    let lines = json!([{"ship_from": "W", "ship_to": to}]);
    for (name, it) in [("lines", lines), ("timeline", timeline.collect())] {
        values[orders::DEF.position(name).unwrap()] = Value::Json(it);
    }
    Row { values }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Goal: sums that are carried on are those of all orders as they are, at every midnight, also of
    /// what is told of late, and when stays count no more. Method: random statements about some
    /// orders, over more than a year, beside all of them read anew.
    #[test]
    fn what_is_carried_on_is_what_all_orders_say(
        statements in proptest::collection::vec(
            (0..12_usize, 0..400 * DAY, 0..30 * DAY, 0..Status::ALL.len(), any::<bool>()), 1..150),
        steps in proptest::collection::vec(1..30_i64, 1..40),
    ) {
        let place = |order: usize| ["SP/01", "SP/02", "RJ"][order % 3];
        let mut told: Vec<_> = statements
            .iter()
            .map(|(order, at, late, status, line)| (at + late, *order, (*at, Status::ALL[*status], *line)))
            .collect();
        told.sort_by_key(|it| (it.0, it.1));
        let mut orders = vec![Vec::new(); 12];
        let (mut boundary, mut told) = (0, told.into_iter().peekable());
        let mut carried = Carried::before(boundary);
        for step in steps {
            boundary += step * DAY;
            carried.forget(boundary);
            let was = orders.clone();
            while let Some((_, order, it)) = told.next_if(|it| it.0 < boundary) {
                let said: &mut Vec<(i64, Status, bool)> = &mut orders[order];
                said.insert(said.partition_point(|other| other.0 <= it.0), it);
            }
            let mut anew = Silences::default();
            for (n, (was, is)) in was.iter().zip(&orders).enumerate() {
                let row = |said: &Vec<_>| (!said.is_empty()).then(|| row(said, place(n)));
                let (was, is) = (row(was), row(is));
                if was != is {
                    carried.change(&Name::new("t", &n.to_string()), was.as_ref(), is.as_ref());
                }
                for (is, stay) in is.iter().flat_map(|it| stays(it, boundary).into_iter().map(move |s| (it, s))) {
                    anew.add("t", places(is), &stay, 1);
                }
            }
            prop_assert_eq!(carried.at(boundary), anew);
        }
    }
}

/// What was said on these days, of the order or of a line; as known on a day.
fn told(said: &[(i64, Status, bool)], known: i64) -> Vec<(Status, i64, i64, bool)> {
    let said = said.iter().map(|(day, status, line)| (day * DAY, *status, *line));
    let all = stays_of(said, known * DAY);
    all.iter().map(|it| (it.status, it.entered / DAY, it.silence / DAY, it.went_on)).collect()
}

#[test]
fn a_stay_is_as_long_as_nothing_was_said() {
    use Status::*;
    let way = [
        (0, Placed, false),
        (1, Paid, false),
        (2, InProduction, false),
        (5, QualityChecked, true),
        (11, QualityChecked, true),
        // Said again.
        (12, InProduction, false),
        (14, Shipped, false),
        (20, Delivered, false),
        (25, Shipped, false),
    ];
    let first = [(Placed, 0, 1, true), (Paid, 1, 1, true)];
    let all = [&first[..], &[(InProduction, 2, 6, true), (Shipped, 14, 6, true)]].concat();
    assert_eq!(told(&way, 30), all);
    // Nothing of what comes later is known.
    assert_eq!(told(&way, 20), [&all[..3], &[(Shipped, 14, 6, false)]].concat());
    assert_eq!(told(&way, 13), [&first[..], &[(InProduction, 2, 6, false)]].concat());
    assert_eq!(told(&way, 10), [&first[..], &[(InProduction, 2, 5, false)]].concat());
    assert!(told(&way, 0).is_empty());
    // It did not go on where it was cancelled or came back; where it is said to be a problem
    // something was said, and there it may stay.
    assert_eq!(told(&[(0, Paid, false), (4, Cancelled, false)], 9), [(Paid, 0, 4, false)]);
    assert_eq!(told(&[(0, Shipped, false), (4, Returned, false)], 9), [(Shipped, 0, 4, false)]);
    let problem = [(0, Shipped, false), (4, Problem, false), (6, Problem, true)];
    assert_eq!(told(&problem, 9), [(Shipped, 0, 4, true)]);
    // Of lines only: it stands nowhere.
    assert!(told(&[(0, Shipped, true)], 9).is_empty());
}

/// Goal: as many keys are kept as are allowed, those with the most orders.
#[test]
fn limits() {
    let mut silences = Silences::default();
    for n in 0..KEYS_MAX as i64 {
        let from = format!("W{n}");
        silences.add("t", [Some(&from), None], &stay(HOUR, true), ORDERS_MIN + n);
    }
    let learnt = silences.learnt();
    assert_eq!(learnt.of.len(), KEYS_MAX);
    let own = |n: i64| {
        let (keys, len) = keys("t", Status::Paid, [Some(&format!("W{n}")), None]);
        learnt.of.contains_key(&keys[len - 1])
    };
    // One is that of all orders.
    assert_eq!((own(0), own(1)), (false, true));
    // More parts of a place than are looked at.
    let deep = [Some("W"), Some("a/b/c/d/e/f")];
    silences.add("t", deep, &stay(2 * DAY, true), 9 * ORDERS_MIN);
    let (learnt, two_days) = (silences.learnt(), Some(end(bucket(2 * DAY))));
    assert_eq!(learnt.of("t", Status::Paid, deep), two_days);
    assert_eq!(learnt.of("t", Status::Paid, [Some("W"), Some("a/b/c/d/x")]), two_days);
}
