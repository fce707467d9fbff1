//! `millstream model backtest`, as a person uses it.

use serde_json::Value;

use crate::process::{Folder, run};

/// An order of a customer on a day after the first one.
fn order(customer: usize, day: i64) -> String {
    let time = schemas::time::rfc3339((20_000 + day) * 86_400_000_000 + 43_200_000_000);
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{customer}/{day}\",\"source\":\"s\",\
         \"type\":\"order.placed\",\"time\":\"{time}\",\"data\":{{\"order\":\"{customer}/{day}\",\
         \"customer\":\"{customer}\",\"currency\":\"EUR\",\
         \"lines\":[{{\"sku\":\"S\",\"quantity\":1,\"unit_price\":100}}]}}}}\n"
    )
}

/// Goal: bands are tried on what came afterwards, the same in any order of the file and with events
/// that come twice; a history that is too short is told. Method: customers with a rhythm, half of
/// whom stop.
#[test]
fn bands_are_tried_on_history() {
    let folder = Folder::new("backtest");
    let path = |name: &str| folder.0.join(name).display().to_string();
    let mut lines = Vec::new();
    for customer in 0..60 {
        let until = if customer % 2 == 0 { 260 } else { 130 + customer as i64 % 30 };
        (0..until).step_by(7 + customer % 5).for_each(|day| lines.push(order(customer, day)));
    }
    folder.file("one.jsonl", lines.concat());
    lines.reverse();
    lines.extend_from_within(..50);
    folder.file("two.jsonl", lines.concat());
    folder.file("short.jsonl", lines[..2].concat());
    let tried = |name: &str, more: &[&str]| {
        let (code, out, err) =
            run(&[&["model", "backtest", "health", "--input", &path(name)], more].concat());
        assert_eq!(code, 0, "{err}");
        out
    };
    let one = tried("one.jsonl", &["--within", "60", "--json"]);
    assert_eq!(one, tried("two.jsonl", &["--within", "60", "--json"]));
    let told: Value = serde_json::from_str(&one).unwrap();
    assert!(told["auc"].as_f64().unwrap() > 0.6, "{told}");
    let bands = told["bands"].as_array().unwrap();
    let of = |it: &Value, field: &str| it[field].as_u64().unwrap();
    assert_eq!(bands.iter().map(|it| of(it, "n")).sum::<u64>(), of(&told, "n"));
    assert_eq!(bands.iter().map(|it| of(it, "left")).sum::<u64>(), of(&told, "left"));
    assert_eq!(bands[0]["band"], "good");
    assert!(tried("one.jsonl", &[]).contains("area under the curve"));
    // Judged by the settings in force.
    let other = ["--json", "--set", "health.bands=all 0"];
    let told: Value = serde_json::from_str(&tried("one.jsonl", &other)).unwrap();
    assert_eq!(told["bands"].as_array().unwrap().len(), 1, "{told}");
    let (code, _, err) = run(&["model", "backtest", "health", "--input", &path("short.jsonl")]);
    assert!(code == 1 && err.contains("error[models/no-history]"), "{err}");
}
