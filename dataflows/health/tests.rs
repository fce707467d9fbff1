use proptest::prelude::*;
use schemas::events::*;
use schemas::names::{Currency, Name, Secret};
use schemas::rows::Value;

use super::facts::DAY_MS;
use super::*;
use crate::catalogue::ViewSet;
use crate::inputs::Updates;

const CUSTOMER: &str = "C1";
/// A day, counted from the Unix epoch.
const DAY: i64 = 20_000;

fn name() -> Name {
    Name::new("t", CUSTOMER)
}

fn event(n: usize, day: i64, data: Data<'static>) -> Event<'static> {
    let time = (DAY + day) * DAY_MS * 1_000 + 7_200_000_000 + n as i64;
    Event { tenant: "t".into(), source: "s".into(), id: n.to_string().into(), time, data }
}

fn placed(order: &str, amount: i64, promised: Option<i64>) -> Data<'static> {
    let line = Line {
        sku: "S".into(),
        quantity: 1,
        unit_price: amount,
        ship_from: None,
        ship_to: None,
        carrier: None,
        seller: None,
    };
    Data::OrderPlaced(OrderPlaced {
        order: order.to_string().into(),
        customer: CUSTOMER.into(),
        currency: Currency::parse("EUR").unwrap(),
        lines: vec![line],
        promised_at: promised.map(|it| (DAY + it) * DAY_MS * 1_000),
        channel: None,
    })
}

fn opened(case: &str) -> Data<'static> {
    Data::CaseOpened(CaseOpened {
        case: case.to_string().into(),
        customer: CUSTOMER.into(),
        severity: 2,
        text: None,
        queue: "first".into(),
        skills: vec![],
    })
}

fn resolved(case: &str) -> Data<'static> {
    let (case, customer) = (case.to_string().into(), Some(CUSTOMER.into()));
    Data::CaseResolved(CaseResolved { case, customer, resolution: None })
}

fn delivered(order: &str) -> Data<'static> {
    Data::OrderStatusChanged(OrderStatusChanged {
        order: order.to_string().into(),
        status: Status::Delivered,
        line: None,
        customer: Some(CUSTOMER.into()),
    })
}

fn wrote(text: &'static str) -> Data<'static> {
    Data::FeedbackSubmitted(FeedbackSubmitted {
        customer: Some(CUSTOMER.into()),
        order: None,
        product: None,
        rating: None,
        text: Some(text.into()),
    })
}

fn state(events: &[Event<'static>]) -> State {
    let (mut state, mut updates) = (State::default(), Updates::default());
    for it in events {
        updates.route(it, &Secret([7; 16]), ViewSet(ViewSet::HEALTH));
    }
    updates.health.iter().for_each(|it| state.take(&it.update));
    state
}

/// The instant at which the customer's day begins.
fn at(day: i64) -> Epoch {
    facts::start_of(DAY + day, offset_of(CUSTOMER)) as Epoch
}

fn field(state: &State, day: i64, field: &str) -> Value {
    let row = Health::row(&name(), state, at(day)).unwrap();
    row.values[DEF.position(field).unwrap()].clone()
}

fn int(state: &State, day: i64, name: &str) -> i64 {
    match field(state, day, name) {
        Value::Int(it) => it,
        other => panic!("{name}: {other:?}"),
    }
}

/// Goal: what each component says is what its words promise. Method: one history each.
#[test]
fn components_say_what_they_are_about() {
    let every: Vec<_> =
        (0..10).map(|it| event(it, 10 * it as i64, placed("O", 100, None))).collect();
    let regular = state(&every);
    // Usually every (60 + 90) / 10 = 15 days.
    assert_eq!(int(&regular, 90, "recency"), 100);
    assert_eq!(int(&regular, 105, "recency"), 80);
    assert_eq!(int(&regular, 150, "recency"), 50);
    assert!(int(&regular, 91, "frequency") > int(&regular, 300, "frequency"));
    // As much a day as before: of 90 days 900 of 1,000, of the days before (one) 100.
    assert_eq!(int(&regular, 91, "trend"), 9);
    assert_eq!(field(&regular, 90, "trend"), Value::Null);
    assert_eq!(field(&regular, 91, "sentiment"), Value::Null);
    assert_eq!((int(&regular, 91, "cases"), int(&regular, 91, "late_orders")), (100, 100));

    let case =
        state(&[event(0, 0, opened("T1")), event(1, 0, opened("T2")), event(2, 1, resolved("T2"))]);
    assert_eq!([1, 5].map(|it| int(&case, it, "cases")), [80, 50]);
    assert_eq!(field(&case, 1, "recency"), Value::Null);
    let words = field(&case, 5, "reasons");
    assert_eq!(
        words,
        Value::Json(json!([{"points": -25, "words": "1 case is open, 1 of them for long"}]))
    );

    let late = [event(0, 0, placed("O1", 100, Some(3))), event(1, 0, placed("O2", 100, Some(3)))];
    let late = state(&[&late[..], &[event(2, 9, delivered("O2"))]].concat());
    assert_eq!([2, 3, 9, 10, 70].map(|it| int(&late, it, "late_orders")), [80, 40, 40, 40, 60]);
    let texts = state(&[event(0, 0, wrote("I hate it, it is awful"))]);
    assert!(int(&texts, 1, "sentiment") < 40);
    assert_eq!(field(&texts, 92, "sentiment"), Value::Null);
    // Nothing to say.
    assert!(!Health::exists(&state(&[event(0, 0, delivered("O1"))])));
    assert!(Health::row(&name(), &state(&[event(0, 0, resolved("T"))]), at(1)).is_none());
    assert!(!Health::exists(&State::default()));
}

/// Goal: a change of band stays where it was, from day to day, and says what was before; a customer
/// who has just come has no band before. Method: one who stops buying, day by day.
#[test]
fn a_change_of_band_stays_where_it_was() {
    let every: Vec<_> =
        (0..12).map(|it| event(it, 7 * it as i64, placed("O", 100, None))).collect();
    let state = state(&every);
    let of = |day| ["band", "band_before", "band_since"].map(|it| field(&state, day, it));
    // Of a customer who came today nothing was said before.
    let of_the_first = super::tests::state(&every[..1]);
    let new = ["band_before", "band_since"].map(|it| field(&of_the_first, 0, it));
    assert_eq!(new, [Value::Null, Value::Time(at(0) as i64 * 1_000)]);
    let (mut changes, mut last) = (Vec::new(), of(90));
    for day in 91..500 {
        let now = of(day);
        if now[0] != last[0] {
            // It was otherwise when the day before began.
            let since = Value::Time(at(day - 1) as i64 * 1_000);
            assert_eq!((&now[1], &now[2]), (&last[0], &since), "{day}");
            changes.push((day, now[0].clone()));
        } else if now[2] != Value::Null {
            assert_eq!(now[2], last[2], "{day}");
        }
        last = now;
    }
    assert!(changes.len() >= 2, "{changes:?}");
    assert_eq!(last[1], Value::Null);
}

fn any_data() -> impl Strategy<Value = Data<'static>> {
    let order = || prop::sample::select(vec!["O1", "O2", "O3", "O4"]);
    let case = || prop::sample::select(vec!["T1", "T2"]);
    prop_oneof![
        4 => (order(), 1..900_i64, prop::option::of(-200..900_i64))
            .prop_map(|(it, amount, promised)| placed(it, amount, promised)),
        2 => order().prop_map(delivered),
        1 => case().prop_map(opened),
        1 => case().prop_map(resolved),
        1 => prop::sample::select(vec!["great, thank you", "awful", "it is here"]).prop_map(wrote),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// Goal: beyond what is kept, too, a row is a function of the set of events, as the plain
    /// computation says it; time moves it at the instants that are told, and at no other. Method:
    /// hundreds of events over years in two orders, some of them while others are bytes; the row
    /// at every start of a day beside that of the last instant that was told.
    #[test]
    fn the_same_in_every_order_and_at_every_day(
        said in prop::collection::vec((0..300_i64, any_data()), 1..150),
        seed in any::<u64>(),
        far in prop::option::of(-300..300_i64),
    ) {
        let mut events: Vec<_> =
            said.into_iter().enumerate().map(|(n, (day, data))| event(n, day, data)).collect();
        if let Some(far) = far {
            events[0].time += far * DAY_MS * 1_000;
        }
        let one = state(&events);
        let mut others = events.clone();
        others.sort_by_key(|it| (it.time as u64 ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = Vec::new();
        Health::store(&state(&others[..others.len() / 2]), &mut bytes);
        let mut two = Health::restore(&bytes).unwrap();
        let mut updates = Updates::default();
        for it in &others[others.len() / 2..] {
            updates.route(it, &Secret([7; 16]), ViewSet(ViewSet::HEALTH));
        }
        updates.health.iter().for_each(|it| two.take(&it.update));
        let row = |state: &State, now| Health::row(&name(), state, now);
        let mut told = at(-400);
        for day in -399..1_060 {
            let now = at(day);
            if Health::next_due(&one, told).is_some_and(|it| it <= now) {
                told = now;
            }
            let moved = row(&one, now);
            if told != now {
                prop_assert_eq!(&row(&one, told), &moved, "{} told {}", day, told);
            }
            if day % 50 == 0 {
                prop_assert_eq!(&row(&one, now + 86_399_999), &moved);
                prop_assert_eq!(&row(&two, now), &moved);
                let plain = reference(&events, now);
                prop_assert_eq!(plain.get(&name()), moved.as_ref());
            }
        }
        prop_assert_eq!(Health::next_due(&one, at(20_000)), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Goal: what two customers did, added up, is what one would have kept who did all of it, beyond
    /// what is kept too. Method: hundreds of events over a year, dealt out to two; the bytes.
    #[test]
    fn what_two_did_is_what_one_would_have_done(
        said in prop::collection::vec((0..400_i64, any_data(), any::<bool>()), 1..400),
    ) {
        let dealt = said.into_iter().enumerate();
        let (mut all, mut parts) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (n, (day, data, is_first)) in dealt {
            let it = event(n, day, data);
            parts[usize::from(is_first)].push(it.clone());
            all.push(it);
        }
        let states = parts.map(|it| state(&it).0);
        let united = Packed::united(&name(), states.iter().flatten());
        let one = state(&all);
        prop_assert_eq!(united.as_ref(), one.0.as_ref().filter(|it| it.head().is_said));
    }
}

/// Goal: a customer of whom only an identifier is known has no row, no timer, and is read back.
#[test]
fn who_is_only_identified_has_no_row() {
    let it = Identified {
        customer: CUSTOMER.into(),
        kind: "email".into(),
        value: "a@x.org".into(),
        country: None,
    };
    let known = state(&[event(0, 0, Data::CustomerIdentified(it))]);
    assert!(!Health::exists(&known) && Health::row(&name(), &known, at(1)).is_none());
    assert_eq!(Health::next_due(&known, at(0)), None);
    let mut bytes = Vec::new();
    Health::store(&known, &mut bytes);
    let again = Health::restore(&bytes).unwrap();
    assert!(again.told().is_some() && again.told() == known.told());
    assert!(state(&[event(0, 0, placed("O1", 1, None))]).told().is_none());
    // Whoever has nothing at all is not kept.
    let nothing = Facts { offset: offset_of(CUSTOMER), ..Facts::default() };
    let mut bytes = vec![1];
    nothing.pack(&mut Writer(&mut bytes));
    assert!(Health::restore(&bytes).is_none());
}

/// Goal: where producers name the customer, an order is late here exactly where `orders` says so at
/// the start of the day. Method: one order in every stage beside the reference of `orders`.
#[test]
fn late_orders_agree_with_orders() {
    let events = [
        event(0, 0, placed("O1", 1, Some(2))),
        event(1, 5, delivered("O1")),
        event(2, 0, placed("O2", 1, Some(4))),
        event(3, 0, placed("O3", 1, None)),
        event(4, 1, placed("O4", 1, Some(8))),
    ];
    for known in 1..=events.len() {
        for day in 0..12 {
            let now = at(day);
            let rows = crate::orders::reference(&events[..known], now);
            let open = |row: &&Row| {
                let of = |it| row.values[crate::orders::DEF.position(it).unwrap()].clone();
                of("late") == Value::Bool(true) && of("delivered_at") == Value::Null
            };
            let n_late = rows.values().filter(open).count() as i64;
            let came = i64::from(known > 1);
            let state = state(&events[..known]);
            let said = int(&state, day, "late_orders");
            assert_eq!(said, 100 - 40 * n_late - 20 * came, "{known} events, day {day}");
        }
    }
}

/// Goal: what is kept of an ordinary customer is small, and of the busiest bounded. Method: sizes.
#[test]
fn sizes() {
    assert_eq!(size_of::<State>(), 16);
    assert!(size_of::<Update>() <= 48);
    let one = state(&[event(0, 0, placed("O1", 4_990, Some(3))), event(1, 2, delivered("O1"))]);
    assert!(Health::heap_bytes(&one) <= 72, "{}", Health::heap_bytes(&one));
    let many: Vec<_> = (0..3_000)
        .flat_map(|n| {
            let order = format!("O{n}");
            let day = n as i64 / 3;
            [
                event(3 * n, day, placed(&order, 4_990, Some(day + 3))),
                event(3 * n + 1, day + 2, delivered(&order)),
                event(3 * n + 2, day, wrote("great")),
            ]
        })
        .collect();
    let bytes = Health::heap_bytes(&state(&many));
    assert!(bytes <= 2_048, "{bytes}");
}
