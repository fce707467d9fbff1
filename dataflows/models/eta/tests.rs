//! Goal: an estimate is a function of the set of what happened, and says what happened. Method:
//! random orders in two orders and in parts; lanes of which the times are known.

use proptest::prelude::*;

use super::*;

const DAY: i64 = 4 * QUARTER;

fn way<'w>(from: &'w str, to: &'w str, seller: &'w str) -> Way<'w> {
    Way { tenant: "t", from: Some(from), to: Some(to), seller: Some(seller), promised: Some(DAY) }
}

/// Entered, arrived if it did, which of some ways.
type Order = (i64, Option<i64>, usize);

fn add(lanes: &mut Lanes, orders: &[Order], n: i64) {
    let places = ["SP/0/01", "SP/1", "RJ"];
    for (entered, took, which) in orders {
        let lane = Lane::of(&way("SP", places[*which], "s"), Status::Paid);
        lanes.entered(&lane, *entered, n);
        if let Some(took) = took {
            lanes.arrived(&lane, *entered, entered + took, n);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_order_does_not_matter(
        orders in proptest::collection::vec(
            (0..60 * DAY, proptest::option::of(0..100 * DAY), 0..3_usize), 1..120),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut whole = Lanes::default();
        add(&mut whole, &orders, 1);
        let (one, other) = orders.split_at(cut.index(orders.len()));
        let (mut first, mut second) = (Lanes::default(), Lanes::default());
        add(&mut second, other, 1);
        add(&mut first, one, 1);
        second.merge(&first);
        prop_assert_eq!(&second, &whole);
        prop_assert_eq!(second.sealed(60 * DAY), whole.sealed(60 * DAY));
        // Taken out again, nothing is left.
        add(&mut second, one, -1);
        add(&mut second, other, -1);
        prop_assert_eq!(&second, &Lanes::default());
    }
}

/// What is seen of a key, order by order and quarter by quarter.
fn plainly(lanes: &Lanes, key: u64, at: i32, week: &[f64; WEEK]) -> Seen {
    let mut seen = Seen { arrived: vec![0.0; QUARTERS_MAX], waited: vec![0.0; QUARTERS_MAX] };
    let first = at - (HALF_LIFE * HALF_LIVES) as i32 - QUARTERS_MAX as i32;
    for it in lanes.under(key, first, at) {
        let so_far = (at - 1 - it.entered).max(0) as usize;
        let last = it.taken.unwrap_or(so_far).min(QUARTERS_MAX - 1);
        for taken in 0..=last {
            let quarter = it.entered + taken as i32;
            let weight = it.n as f64 * 2.0_f64.powf(f64::from(quarter - at) / HALF_LIFE);
            seen.waited[taken] += weight * week[of_week(quarter)];
            if it.taken == Some(taken) && taken < QUARTERS_MAX - 1 {
                seen.arrived[taken] += weight;
            }
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Goal: orders that are gone through together weigh what each weighs by itself, and days are
    /// made of smoothed quarters. Method: random orders, beside the plain computation.
    #[test]
    fn together_is_as_one_by_one(
        orders in proptest::collection::vec(
            (0..200 * DAY, proptest::option::of(0..100 * DAY), 0..3_usize), 1..200),
    ) {
        let mut lanes = Lanes::default();
        add(&mut lanes, &orders, 1);
        let at = quarter(190 * DAY);
        let week = std::array::from_fn(|it| 0.5 + it as f64 / WEEK as f64);
        let key = Lane::of(&way("SP", "RJ", "s"), Status::Paid).0[0];
        let fades = Weights::fading(at, HALF_LIFE);
        let (mut read, mut seen) = (super::Orders::default(), Seen::default());
        read.read(&lanes, key, fades.first, at);
        read.look(&fades, &fades.times(&week), &mut seen);
        let plain = plainly(&lanes, key, at, &week);
        let near = |a: &[f64], b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + b))
        };
        prop_assert!(near(&seen.arrived, &plain.arrived), "{:?} {:?}", seen.arrived, plain.arrived);
        prop_assert!(near(&seen.waited, &plain.waited), "{:?} {:?}", seen.waited, plain.waited);
        let (smooth, far) = (seen.smooth(), |off: i64| SMOOTH + 1 - off.abs());
        for (at, it) in (0..).zip(&smooth.waited) {
            let all = (0..).zip(&plain.waited).map(|(n, it)| far(n - at).max(0) as f64 * it);
            prop_assert!(near(&[all.sum::<f64>() / far(0).pow(2) as f64], &[*it]), "{at}");
        }
        let days = seen.days();
        let whole = |at: usize| (plain.waited[4 * at..][..4].iter().sum::<f64>() * PARTS).round();
        prop_assert_eq!(days.len(), DAYS);
        prop_assert!((0..DAYS).all(|it| (days[it].1 as f64 - whole(it)).abs() <= 1.0));
    }
}

/// Two hundred orders a lane, one of three days, one of nine: each is told apart, a seller of whom
/// nothing is known goes by the lane, a place of which nothing is known by all.
#[test]
fn lanes_are_told_apart() {
    let mut lanes = Lanes::default();
    for n in 0..200 {
        let entered = n * DAY / 4;
        for (to, days) in [("SP", 3), ("AM", 9)] {
            let lane = Lane::of(&way("SP", to, "s"), Status::Shipped);
            lanes.entered(&lane, entered, 1);
            if entered + days * DAY < 50 * DAY {
                lanes.arrived(&lane, entered, entered + days * DAY, 1);
            }
        }
    }
    let sealed = lanes.sealed(50 * DAY).unwrap();
    let days = |to, seller, chance| {
        let it = sealed.arrival(&way("SP", to, seller), Status::Shipped, 50 * DAY).unwrap();
        assert!(it.after(it.by(chance)) - (1.0 - chance) < 1e-6);
        (it.by(chance) - 50 * DAY) as f64 / DAY as f64
    };
    let (near, far) = (days("SP", "s", 0.5), days("AM", "s", 0.5));
    assert!((2.0..5.5).contains(&near), "{near}");
    assert!((6.5..12.0).contains(&far), "{far}");
    let stranger = days("SP", "nobody", 0.5);
    assert!((stranger - near).abs() < 1.5, "{stranger}");
    let nowhere = days("XX", "nobody", 0.5);
    assert!(near < nowhere && nowhere < far, "{nowhere}");
    assert!(days("SP", "s", 0.9) > near);
    // What is told leans on the seller's, then the lane's, then those of everybody who goes there.
    let told = Way { promised: Some(9 * DAY), ..way("SP", "AM", "s") };
    let reasons = sealed.reasons(&told, Status::Shipped);
    let words: Vec<String> =
        reasons.iter().map(|it| it.words.replacen(&it.orders.to_string(), "N", 1)).collect();
    let of = |which: &str| format!("N orders {which} arrived lately");
    assert_eq!(words, [of("by s"), of("from SP to AM"), of("to AM")]);
    assert!(reasons[0].orders > reasons[1].orders && reasons[1].orders > 0, "{reasons:?}");
    // From anywhere to a place is told once.
    let mut anywhere = Lanes::default();
    let told = Way { from: None, seller: None, ..way("", "AM", "") };
    for n in 0..200 {
        let (lane, entered) = (Lane::of(&told, Status::Shipped), n * DAY / 8);
        anywhere.entered(&lane, entered, 1);
        anywhere.arrived(&lane, entered, entered + DAY, 1);
    }
    let reasons = anywhere.sealed(50 * DAY).unwrap().reasons(&told, Status::Shipped);
    let n = reasons[0].orders;
    let words: Vec<&str> = reasons.iter().map(|it| it.words.as_str()).collect();
    let promised = format!("{n} orders to AM, promised in 0 to 3 days, arrived lately");
    let expected = [
        promised,
        format!("{n} orders to AM arrived lately"),
        format!("{n} orders arrived lately"),
    ];
    assert_eq!(words, expected);
    // Forgotten, nothing is known.
    lanes.forget(60 * DAY);
    assert_eq!(lanes, Lanes::default());
}

/// Orders still on their way count as long as they waited: a lane that stops is not believed fast.
#[test]
fn what_waits_is_seen() {
    let (mut quick, mut stuck) = (Lanes::default(), Lanes::default());
    let lane = Lane::of(&way("SP", "SP", "s"), Status::Paid);
    for n in 0..40 {
        for it in [&mut quick, &mut stuck] {
            it.entered(&lane, n * DAY / 4, 1);
            it.arrived(&lane, n * DAY / 4, n * DAY / 4 + 2 * DAY, 1);
        }
        stuck.entered(&lane, n * DAY / 4, 1);
    }
    let by = |it: &Lanes| {
        let sealed = it.sealed(12 * DAY).unwrap();
        sealed.arrival(&way("SP", "SP", "s"), Status::Paid, 12 * DAY).unwrap().by(0.9)
    };
    assert!(by(&stuck) > by(&quick) + DAY);
}
