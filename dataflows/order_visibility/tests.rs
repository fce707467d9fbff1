use schemas::events::{Data, OrderPlaced, OrderStatusChanged};

use super::*;
use crate::histories::{START, history, line};

/// Goal: each line says what comes next and by when: as the order, where it stands as that does; by
/// its own status, where it does not; nothing once the order is over. Method: two lines, one of
/// which leaves the house; then the order arrives. (That rows are this at every epoch is the oracle's.)
#[test]
fn a_line_says_what_comes_next() {
    const DAY: i64 = 86_400_000_000;
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
