use schemas::events::{Data, OrderPlaced, OrderStatusChanged};

use super::*;
use crate::histories::{START, THEN, arrivals_published, history, line};
use crate::models::lanes::STAGES;

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = DAY / 24;

fn value(row: &Row, field: &str) -> Value {
    row.values[DEF.position(field).expect("a field")].clone()
}

/// Goal: each line says what comes next and by when: as the order, where it stands as that does; by
/// its own status, where it does not; nothing once the order is over. Method: two lines, one of
/// which leaves the house; then the order arrives. (That rows are this at every epoch is the oracle's.)
#[test]
fn a_line_says_what_comes_next() {
    let placed = Data::OrderPlaced(OrderPlaced {
        order: "O".into(),
        customer: "C".into(),
        currency: schemas::names::Currency::parse("EUR").unwrap(),
        lines: vec![line("one", 100), line("two", 100)],
        promised_at: None,
        channel: None,
    });
    let said = |status, line| {
        let order = "O".into();
        Data::OrderStatusChanged(OrderStatusChanged { order, status, line, customer: None })
    };
    let all = history(vec![
        placed,
        said(Status::InProduction, None),
        said(Status::Shipped, Some(2)),
        said(Status::Delivered, None),
    ]);
    let lines = |n: usize| {
        let rows = reference(&all[..n], START + 10_000);
        let row = rows.into_values().next().expect("the order");
        match row.values[DEF.position("lines").unwrap()].clone() {
            Value::Json(it) => (it, row.values[DEF.position("next_by").unwrap()].clone()),
            it => panic!("{it:?}"),
        }
    };
    let at = |second: i64, days: i64| {
        json!(schemas::time::rfc3339((START as i64 + second * 1_000) * 1_000 + days * DAY))
    };
    let (both, by) = lines(2);
    for line in both.as_array().unwrap() {
        assert_eq!((&line["next"], &line["next_by"]), (&json!("quality_checked"), &at(1, 7)));
    }
    assert_eq!(by, Value::Time((START as i64 + 1_000) * 1_000 + 7 * DAY));
    let (apart, by) = lines(3);
    assert_eq!(apart[1]["status"], "shipped");
    assert_eq!((&apart[1]["next"], &apart[1]["next_by"]), (&json!("out_for_delivery"), &at(2, 14)));
    // Something was said of the order a second later: it has that much longer, and so has what stands
    // as it does.
    assert_eq!(by, Value::Time((START as i64 + 2_000) * 1_000 + 7 * DAY));
    assert_eq!((&apart[0]["next"], &apart[0]["next_by"]), (&json!("quality_checked"), &at(2, 7)));
    for line in lines(4).0.as_array().unwrap() {
        assert_eq!((&line["next"], &line["next_by"]), (&Json::Null, &Json::Null));
    }
}

/// Goal: an order and what is wrong with it name the model that says what is usual there, not the one
/// that says when it arrives; none where a fixed time holds, and where nothing comes next. Method: an
/// order that was paid, of a tenant of whom that is known, and of one of whom it is not; then it is
/// delivered.
#[test]
fn who_says_by_when_is_named() {
    arrivals_published();
    let rows = |tenant: &'static str, days: i64, ends: bool| {
        let said = [(0, Status::Paid), (HOUR, Status::Delivered)];
        let said = said.into_iter().take(if ends { 2 } else { 1 });
        let all: Vec<_> = said
            .map(|(after, status)| Event {
                tenant: tenant.into(),
                source: "s".into(),
                id: status.as_str().into(),
                time: THEN + after,
                data: Data::OrderStatusChanged(OrderStatusChanged {
                    order: "O".into(),
                    status,
                    line: None,
                    customer: None,
                }),
            })
            .collect();
        let now = u64::try_from((THEN + days * DAY + 2 * HOUR) / 1_000).unwrap();
        let order = reference(&all, now).into_values().next().expect("the order");
        let wrong = crate::order_exceptions::reference(&all, now).into_values().next();
        let by = crate::order_exceptions::DEF.position("model").unwrap();
        (value(&order, "next_by_model"), wrong.map(|it| it.values[by].clone()))
    };
    let seven = || Value::Text("arrival 7".into());
    assert_eq!(rows("quiet", 0, false), (seven(), None));
    assert_eq!(rows("quiet", 2, false), (seven(), Some(seven())));
    assert_eq!(rows("quiet", 81, false), (Value::Null, Some(Value::Null)));
    assert_eq!(rows("t", 2, false), (Value::Null, None));
    assert_eq!(rows("t", 4, false), (Value::Null, Some(Value::Null)));
    assert_eq!(rows("quiet", 2, true), (Value::Null, None));
}

/// Goal: when an order arrives is said anew at each stage that it enters, by the furthest one, with
/// what that leans on; of a line from where that stands; and no more once it is there. Method: an
/// order goes through all stages, a day each; one of its two lines ahead of it; what is said later of
/// a stage before moves nothing.
#[test]
fn when_it_arrives_is_said_at_each_stage() {
    arrivals_published();
    let at = |hours: i64| THEN + hours * HOUR;
    let said = |hours: i64, status, line: Option<u16>| {
        let (order, customer) = ("O".into(), None);
        (at(hours), Data::OrderStatusChanged(OrderStatusChanged { order, status, line, customer }))
    };
    let placed = Data::OrderPlaced(OrderPlaced {
        order: "O".into(),
        customer: "C".into(),
        currency: schemas::names::Currency::parse("EUR").unwrap(),
        lines: vec![line("one", 100), line("two", 100)],
        promised_at: None,
        channel: None,
    });
    let way = (1..).zip(STAGES).map(|(day, it)| said(24 * day, it, None));
    let ahead = said(30, Status::Shipped, Some(2));
    let back = said(24 * 5 + 1, Status::Paid, None);
    let end = said(24 * 6, Status::Delivered, None);
    let mut all: Vec<(i64, Data<'static>)> =
        [(at(0), placed)].into_iter().chain(way).chain([ahead, back, end]).collect();
    all.sort_by_key(|it| it.0);
    let of = |tenant: &'static str| {
        let each = all.clone().into_iter().enumerate();
        let event = |(n, (time, data)): (usize, (i64, Data<'static>))| {
            let (tenant, source, id) = (tenant.into(), "s".into(), n.to_string().into());
            Event { tenant, source, id, time, data }
        };
        each.map(event).collect::<Vec<_>>()
    };
    // An hour after something was said.
    let row_of = |tenant: &'static str, hours: i64| {
        let heard: Vec<_> = of(tenant).into_iter().filter(|it| it.time <= at(hours)).collect();
        let now = u64::try_from(at(hours + 1) / 1_000).unwrap();
        reference(&heard, now).into_values().next().expect("the order")
    };
    let row = |hours| row_of("t", hours);
    // Three days from then on, to a quarter of a day and what is smoothed.
    let is_from = |hours: i64, it: i64| (2 * DAY..4 * DAY).contains(&(it - at(hours)));
    let time = |it: &Json| schemas::time::parse_rfc3339(it.as_str().expect("a time")).unwrap();
    assert_eq!(
        (value(&row(0), "eta_p50"), value(&row(0), "eta_reasons")),
        (Value::Null, Value::Json(json!([])))
    );
    let mut before = 0;
    for day in 1..=5 {
        let row = row(24 * day);
        let Value::Time(p50) = value(&row, "eta_p50") else { panic!("day {day}: {row:?}") };
        assert!(is_from(24 * day, p50) && p50 > before, "day {day}: {p50}");
        before = p50;
        let Value::Json(reasons) = value(&row, "eta_reasons") else { panic!("{row:?}") };
        let orders = reasons[0]["orders"].as_i64().unwrap();
        assert!((20..60).contains(&orders), "{reasons}");
        let words = format!("{orders} orders arrived lately");
        assert_eq!(reasons, json!([{"words": words, "orders": orders}]));
        let Value::Json(lines) = value(&row, "lines") else { panic!("{row:?}") };
        assert_eq!(time(&lines[0]["eta_p50"]), p50);
    }
    // One line goes ahead: six hours later than the order was paid.
    let ahead = row(30);
    assert_eq!(value(&ahead, "eta_p50"), value(&row(24), "eta_p50"));
    let Value::Json(lines) = value(&ahead, "lines") else { panic!("{ahead:?}") };
    assert!(time(&lines[1]["eta_p50"]) > time(&lines[0]["eta_p50"]), "{lines}");
    assert!(time(&lines[1]["eta_p90"]) > time(&lines[1]["eta_p50"]), "{lines}");
    assert_eq!(value(&row(24 * 5 + 1), "eta_p50"), value(&row(24 * 5), "eta_p50"));
    // Of a stage of which nothing is known what was said before stands, for as long as it would have.
    let known = value(&row_of("u", 24), "eta_p50");
    assert!(matches!(known, Value::Time(it) if is_from(24, it)), "{known:?}");
    assert_eq!(value(&row_of("u", 24 * 5 + 1), "eta_p50"), known);
    let end = row(24 * 6);
    assert_eq!((value(&end, "eta_p50"), value(&end, "eta_model")), (Value::Null, Value::Null));
    let Value::Json(lines) = value(&end, "lines") else { panic!("{end:?}") };
    assert!(lines.as_array().unwrap().iter().all(|it| it.get("eta_p50").is_none()), "{lines}");
}
