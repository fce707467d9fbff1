use schemas::events::{Data, Line, OrderPlaced, OrderReversed, OrderStatusChanged, Status};
use schemas::names::Currency;

use super::*;
use crate::histories::{THEN, arrivals_published, play_until};

const HOUR: i64 = 60 * MINUTE;

fn event(n: usize, at: i64, data: Data<'static>) -> Event<'static> {
    let (tenant, source, id) = ("t".into(), "s".into(), n.to_string().into());
    Event { tenant, source, id, time: at, data }
}

fn status(order: &'static str, status: Status) -> Data<'static> {
    let (order, line, customer) = (order.into(), None, None);
    Data::OrderStatusChanged(OrderStatusChanged { order, status, line, customer })
}

/// Of each row, by its key: how many orders, the mean error in hours, by p90.
fn rows(events: &[Event<'static>], instants: Vec<Epoch>) -> Vec<BTreeMap<String, [i64; 3]>> {
    arrivals_published();
    let answers = play_until(events.to_vec(), instants.clone());
    let of = |(answer, now): (&BTreeMap<_, BTreeMap<Name, Row>>, Epoch)| {
        let found = &answer["model_quality"];
        assert_eq!(*found, super::super::reference(events, now));
        let arrivals = found.iter().filter(|it| it.0.key().starts_with("arrival"));
        let some = |row: &Row| {
            ["n_judged", "mean_error_hours", "by_p90_permille"].map(|it| {
                match row.values[DEF.position(it).expect("a field")] {
                    Value::Int(it) => it,
                    ref other => panic!("{it}: {other:?}"),
                }
            })
        };
        arrivals.map(|(name, row)| (name.key().to_string(), some(row))).collect()
    };
    answers.iter().zip(instants).map(of).collect()
}

/// What was told is judged stage by stage: one order that came as it was told, one that came a week
/// late, one that was cancelled before it came, one that was told nothing when it was paid.
fn orders() -> Vec<Event<'static>> {
    let (on_time, late, cancelled, at_once) = ("a", "b", "c", "d");
    let reversed = OrderReversed {
        order: cancelled.into(),
        customer: None,
        amount: None,
        currency: None,
        reason: None,
    };
    let said = [
        (HOUR, status(on_time, Status::Paid)),
        (3 * DAY + HOUR, status(on_time, Status::Delivered)),
        (HOUR, status(late, Status::Paid)),
        (DAY + HOUR, status(late, Status::Shipped)),
        (11 * DAY + HOUR, status(late, Status::Delivered)),
        (HOUR, status(cancelled, Status::Shipped)),
        (2 * DAY, Data::OrderCancelled(reversed)),
        (3 * DAY, status(cancelled, Status::Delivered)),
        (DAY + HOUR, status(at_once, Status::Paid)),
        (DAY + HOUR, status(at_once, Status::Shipped)),
        (4 * DAY + HOUR, status(at_once, Status::Delivered)),
        // Before any model spoke.
        (-HOUR, status("e", Status::Paid)),
        (2 * DAY, status("e", Status::Delivered)),
    ];
    said.into_iter().enumerate().map(|(n, (at, data))| event(n, THEN + at, data)).collect()
}

/// Goal: every stage is judged, each until a later one was entered. Method: an order that goes through
/// all of them, and one that is said to be checked an hour before it was said to be in production.
#[test]
fn every_stage_is_judged() {
    let way = STAGES.into_iter().chain([Status::Delivered]);
    let through = (0..).zip(way).map(|(day, it)| (day * DAY, status("f", it)));
    let back = [
        (0, status("g", Status::Paid)),
        (3 * HOUR, status("g", Status::InProduction)),
        (2 * HOUR, status("g", Status::QualityChecked)),
        (3 * DAY, status("g", Status::Delivered)),
    ];
    let events = through.chain(back).enumerate();
    let events = events.map(|(n, (at, data))| event(n, THEN + HOUR + at, data)).collect::<Vec<_>>();
    let found = rows(&events, vec![ms(9 * DAY)]).remove(0);
    let n: BTreeMap<&str, i64> = found.iter().map(|(key, it)| (key.as_str(), it[0])).collect();
    let expected = [("paid", 2), ("in_production", 1), ("quality_checked", 2), ("shipped", 1)];
    let expected = expected.into_iter().chain([("out_for_delivery", 1)]);
    let expected: BTreeMap<String, i64> =
        expected.map(|(stage, n)| (format!("arrival 7/{stage}"), n)).collect();
    assert_eq!(n, expected.iter().map(|(key, n)| (key.as_str(), *n)).collect());
}

fn ms(at: i64) -> Epoch {
    u64::try_from((THEN + at) / 1_000).unwrap()
}

/// Goal: each stage is judged by what was told in it and by nothing else; orders count until eighty
/// days after the day on which they entered it, to the millisecond. Method: orders that say what is
/// meant, and the rows around the ends of their two days.
#[test]
fn stage_by_stage_for_eighty_days() {
    let ends = [81 * DAY, 82 * DAY];
    let around = ends.iter().flat_map(|it| [ms(*it) - 1, ms(*it)]);
    let instants = [ms(12 * DAY)].into_iter().chain(around).collect();
    let found = rows(&orders(), instants);
    let [paid, shipped] = ["arrival 7/paid", "arrival 7/shipped"].map(String::from);
    // Those that came in three days are off by hours at most, the late one by eight and seven days.
    let of = |at: usize, key: &String| found[at].get(key).copied();
    let [n, off, in_time] = of(0, &paid).unwrap();
    assert_eq!((n, in_time), (2, 500));
    assert!((90..=102).contains(&off), "{off}");
    let [n, off, in_time] = of(0, &shipped).unwrap();
    assert_eq!((n, in_time), (2, 500));
    assert!((78..=90).contains(&off), "{off}");
    assert_eq!(found[1], found[0], "until the first day's end");
    assert_eq!((of(2, &paid), of(2, &shipped)), (None, of(0, &shipped)));
    assert_eq!(found[3], found[2]);
    assert_eq!(found[4], BTreeMap::new());
}

/// Goal: late facts correct what an order added, and one that comes when its day counts no longer
/// changes nothing. Method: the late order is said to have come earlier; then that it was cancelled
/// before. Its line says where it goes: another lane, of which nothing more is known.
#[test]
fn late_facts_correct() {
    let mut events = orders();
    let n = events.len();
    events.push(event(n, THEN + 7 * DAY + HOUR, status("b", Status::Delivered)));
    let corrected = rows(&events, vec![ms(12 * DAY)]).remove(0);
    let [n_paid, off, in_time] = corrected["arrival 7/paid"];
    assert_eq!((n_paid, in_time), (2, 500));
    assert!((42..=54).contains(&off), "{off}");
    let line = Line {
        sku: "s".into(),
        quantity: 1,
        unit_price: 1,
        ship_from: None,
        ship_to: Some("x".into()),
        carrier: Some("c".into()),
        seller: None,
    };
    let placed = OrderPlaced {
        order: "a".into(),
        customer: "c".into(),
        currency: Currency::parse("EUR").unwrap(),
        lines: vec![line],
        promised_at: Some(THEN + 9 * DAY),
        channel: None,
    };
    events.push(event(n + 1, THEN, Data::OrderPlaced(placed)));
    let again = rows(&events, vec![ms(12 * DAY)]).remove(0);
    assert_eq!(again["arrival 7/paid"], corrected["arrival 7/paid"]);
    let reversed = OrderReversed {
        order: "b".into(),
        customer: None,
        amount: None,
        currency: None,
        reason: None,
    };
    events.push(event(n + 2, THEN + 2 * DAY, Data::OrderCancelled(reversed)));
    let gone = rows(&events, vec![ms(12 * DAY)]).remove(0);
    assert_eq!(gone["arrival 7/paid"][0], 1);
    assert_eq!(gone["arrival 7/shipped"][0], 1);
}

/// Placed a day before the model's first, promised at an instant, paid in the model's first hour.
fn promised(order: &'static str, by: i64) -> [(i64, Data<'static>); 2] {
    let placed = OrderPlaced {
        order: order.into(),
        customer: "c".into(),
        currency: Currency::parse("EUR").unwrap(),
        lines: vec![],
        promised_at: Some(THEN + by),
        channel: None,
    };
    [(-DAY, Data::OrderPlaced(placed)), (HOUR, status(order, Status::Paid))]
}

/// Goal: the risk of being late is judged as orders' rows show it while they are on their way, by those
/// that were promised only; a promise that is kept to the microsecond is kept. Method: orders that are
/// promised early and late, and come in time and not; their risks are read from `order_visibility`
/// before they come, and the figures reckoned here by their definitions.
#[test]
fn the_risk_told_is_judged() {
    // Promised, and arrived.
    let orders = [
        ("p", 2 * DAY, 3 * DAY, true),
        ("q", 3 * DAY, 3 * DAY, false),
        ("r", 8 * DAY, 3 * DAY, false),
        ("s", 3 * DAY + 6 * HOUR, 4 * DAY, true),
        ("u", 8 * DAY, 9 * DAY, true),
        // It was past when it was paid.
        ("v", 0, 2 * DAY, true),
    ];
    let on_its_way = orders.iter().flat_map(|it| promised(it.0, it.1));
    let on_its_way = on_its_way.chain([(HOUR, status("w", Status::Paid))]);
    let arrived = orders.iter().map(|it| (it.2, status(it.0, Status::Delivered)));
    let arrived = arrived.chain([(3 * DAY, status("w", Status::Delivered))]);
    let number = |it: Vec<(i64, Data<'static>)>| -> Vec<Event<'static>> {
        it.into_iter().enumerate().map(|(n, (at, data))| event(n, THEN + at, data)).collect()
    };
    arrivals_published();
    let waiting = number(on_its_way.clone().collect());
    let waiting = play_until(waiting, vec![ms(DAY)]).remove(0);
    let def = &crate::order_visibility::DEF;
    let risk = |order: &str| {
        let row = &waiting["order_visibility"][&Name::new("t", order)];
        match row.values[def.position("late_risk_percent").unwrap()] {
            Value::Int(it) => it,
            ref other => panic!("{order}: {other:?}"),
        }
    };
    let risks = orders.map(|it| (risk(it.0), it.3));
    assert_eq!(risks[5].0, 100);
    assert!(risks[0].0 > risks[3].0 && risks[3].0 > risks[2].0, "{risks:?}");
    let n = risks.len() as i64;
    let told = risks.iter().map(|it| it.0 * 10).sum::<i64>();
    let brier =
        risks.iter().map(|(risk, late)| (risk - i64::from(*late) * 100).pow(2)).sum::<i64>();
    let (mut pairs, mut won) = (0, 0);
    for late in risks.iter().filter(|it| it.1) {
        for in_time in risks.iter().filter(|it| !it.1) {
            pairs += 1;
            won += 1 + (late.0.min(99) / 5 - in_time.0.min(99) / 5).signum();
        }
    }
    let events = number(on_its_way.chain(arrived).collect());
    let found = play_until(events.clone(), vec![ms(10 * DAY)]).remove(0).remove("model_quality");
    let found = found.unwrap();
    assert_eq!(found, super::super::reference(&events, ms(10 * DAY)));
    let row = &found[&Name::new("t", "arrival 7/paid")];
    let of = |it: &str| match row.values[DEF.position(it).unwrap()] {
        Value::Int(it) => it as f64,
        ref other => panic!("{it}: {other:?}"),
    };
    assert_eq!((of("n_judged"), of("n_promised")), (7.0, 6.0));
    assert_eq!(of("risk_told_permille"), (told as f64 / n as f64).round());
    assert_eq!(of("late_permille"), (4_000.0 / 6.0_f64).round());
    assert_eq!(of("brier_permille"), (brier as f64 / 10.0 / n as f64).round());
    assert_eq!(of("late_auc_permille"), (won as f64 * 500.0 / pairs as f64).round());
    // Something is told apart, and not everything.
    assert!((501.0..1_000.0).contains(&of("late_auc_permille")), "{row:?}");
}

/// Goal: what is said later of a promise corrects what was added; what nothing can be said of is null.
/// Method: an order that came is said, later and earlier than before, to have been promised otherwise;
/// one that was never promised.
#[test]
fn late_promises_correct() {
    let line = |by: i64| promised("p", by).into_iter();
    let delivered = (3 * DAY, status("p", Status::Delivered));
    let history = |said: Vec<(i64, Data<'static>)>| -> [Option<Value>; 5] {
        let number = |(n, (at, data))| event(n, THEN + at, data);
        let events: Vec<_> = said.into_iter().enumerate().map(number).collect();
        arrivals_published();
        let found = play_until(events.clone(), vec![ms(4 * DAY)]).remove(0);
        assert_eq!(found["model_quality"], super::super::reference(&events, ms(4 * DAY)));
        let fields = ["n_promised", "risk_told_permille", "late_permille", "brier_permille"];
        let fields = [fields[0], fields[1], fields[2], fields[3], "late_auc_permille"];
        let row = found["model_quality"].get(&Name::new("t", "arrival 7/paid"));
        fields.map(|it| row.map(|row| row.values[DEF.position(it).unwrap()].clone()))
    };
    let int = |it: i64| Some(Value::Int(it));
    let null = Some(Value::Null);
    let late: Vec<_> = line(0).chain([delivered.clone()]).collect();
    let kept = [int(1), int(1_000), int(1_000), int(0), null.clone()];
    assert_eq!(history(late.clone()), kept);
    // The newest statement of it being placed holds, in any order of them.
    let mut again = line(60 * DAY);
    let (at, data) = again.next().unwrap();
    let corrected = late.iter().cloned().chain([(at + HOUR, data.clone())]).collect();
    assert_eq!(history(corrected), [int(1), int(0), int(0), int(0), null.clone()]);
    let older = late.iter().cloned().chain([(at - HOUR, data)]).collect();
    assert_eq!(history(older), kept);
    let unpromised = vec![(HOUR, status("p", Status::Paid)), delivered];
    assert_eq!(history(unpromised), [int(0), null.clone(), null.clone(), null.clone(), null]);
}

/// Goal: how long nothing is usually said is judged by the stays of orders that arrived, each by what was
/// told when it began, for eighty days; statements about lines, and such as say nothing new, are
/// statements. Method: orders of a tenant of whom nothing is usually said for a day once they are paid,
/// and nothing is known elsewhere; then it is said late that something was said in between.
#[test]
fn silences_are_judged() {
    let of_line = |order: &'static str| {
        let (order, line, customer) = (order.into(), Some(1), None);
        let status = Status::InProduction;
        Data::OrderStatusChanged(OrderStatusChanged { order, status, line, customer })
    };
    let (paid, shipped, delivered) = (Status::Paid, Status::Shipped, Status::Delivered);
    let mut said = vec![
        // At once; after two days; after twice twenty hours; to be paid and made, and paid again.
        (HOUR, status("a", paid)),
        (13 * HOUR, status("a", shipped)),
        (3 * DAY, status("a", delivered)),
        (HOUR, status("b", paid)),
        (2 * DAY, status("b", shipped)),
        (3 * DAY, status("b", delivered)),
        (HOUR, status("c", paid)),
        (21 * HOUR, of_line("c")),
        (41 * HOUR, status("c", delivered)),
        (HOUR, status("d", paid)),
        (21 * HOUR, status("d", paid)),
        (41 * HOUR, status("d", Status::Problem)),
        (DAY + 23 * HOUR, status("d", paid)),
        (9 * DAY, status("d", delivered)),
        // On its way, before the model, and over before it came.
        (HOUR, status("e", paid)),
        (2 * DAY, status("e", shipped)),
        (-HOUR, status("f", paid)),
        (4 * DAY, status("f", delivered)),
        (HOUR, status("g", paid)),
        (2 * DAY, status("g", Status::Returned)),
        (3 * DAY, status("g", delivered)),
    ];
    let found = |said: &[(i64, Data<'static>)], instants: Vec<Epoch>| {
        arrivals_published();
        let events = said.iter().cloned().enumerate();
        let events = events.map(|(n, (at, data))| {
            let tenant = "quiet".into();
            Event { tenant, ..event(n, THEN + at, data) }
        });
        let events: Vec<_> = events.collect();
        let answers = play_until(events.clone(), instants.clone());
        let rows = answers.into_iter().zip(instants).map(|(mut answer, now)| {
            let found = answer.remove("model_quality").unwrap();
            assert_eq!(found, super::super::reference(&events, now));
            let found = found.into_iter().filter(|it| it.0.key().starts_with("arrival"));
            let rows = found.map(|(name, row)| {
                assert_eq!((name.tenant(), name.key()), ("quiet", "arrival 7/silences/paid"));
                ["series", "n_judged", "by_p95_permille", "mean_error_hours", "n_promised"]
                    .map(|it| row.values[DEF.position(it).expect("a field")].clone())
            });
            rows.collect::<Vec<_>>()
        });
        rows.collect::<Vec<_>>()
    };
    let row = |n: i64, share: i64| {
        let series = Value::Text("paid".into());
        vec![[series, Value::Int(n), Value::Int(share), Value::Null, Value::Null]]
    };
    let ends = [81 * DAY, 82 * DAY].map(ms);
    let instants = vec![ms(10 * DAY), ends[0] - 1, ends[0], ends[1] - 1, ends[1]];
    // The second stay of `d` was a day later, and too long.
    let expected = [row(5, 600), row(5, 600), row(1, 0), row(1, 0), vec![]];
    assert_eq!(found(&said, instants), expected);
    said.push((DAY, of_line("b")));
    assert_eq!(found(&said, vec![ms(10 * DAY)]), [row(5, 800)]);
}
