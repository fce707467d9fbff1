//! Models of arrival that a running process seals: which of them speaks of which order, live, after a
//! kill, replayed, restored; what happens when a file of theirs is damaged; and when an order is stuck
//! by what is usual on its lane.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use schemas::time::rfc3339;
use serde_json::{Value, json};

use crate::process::{Folder, Process, get, run};
use crate::published::{end, post, start, told};

const DAY: i64 = 86_400_000_000;

fn event(id: &str, kind: &str, at: i64, data: Value) -> String {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": kind, "time": rfc3339(at),
           "subject": data["order"], "data": data})
    .to_string()
}

/// What is said of an order that was placed, paid and shipped a day apart, and delivered if it was.
pub(crate) fn order(name: &str, shipped: i64, took: Option<i64>) -> Vec<String> {
    let line = json!({"sku": "S", "quantity": 1, "unit_price": 100, "ship_from": "W",
                      "ship_to": "SP/01", "carrier": "DHL"});
    let placed = json!({"order": name, "customer": "C1", "currency": "EUR", "lines": [line],
                        "promised_at": rfc3339(shipped + 4 * DAY)});
    let said = |status: &str| json!({"order": name, "status": status});
    let changed = "order.status_changed";
    let mut all = vec![
        event(&format!("{name}-1"), "order.placed", shipped - 2 * DAY, placed),
        event(&format!("{name}-2"), changed, shipped - DAY, said("paid")),
        event(&format!("{name}-3"), changed, shipped, said("shipped")),
    ];
    let delivered = took.map(|it| shipped + it);
    all.extend(delivered.map(|at| event(&format!("{name}-4"), changed, at, said("delivered"))));
    all
}

/// What `order_visibility` says of when these arrive and go on, by order.
fn etas(address: &str) -> BTreeMap<String, Value> {
    rows(address).iter().map(eta).collect()
}

/// Its rows, once it is not being built again.
fn rows(address: &str) -> Vec<Value> {
    let path = "/v1/views/order_visibility?limit=1000";
    let (mut status, mut body) = get(address, path);
    while status == 503 && body.contains("serve/rebuilding") {
        std::thread::park_timeout(Duration::from_millis(5));
        (status, body) = get(address, path);
    }
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).unwrap();
    page["rows"].as_array().unwrap().iter().map(|it| it["row"].clone()).collect()
}

fn eta(row: &Value) -> (String, Value) {
    let fields = ["eta_p50", "eta_p90", "late_risk_percent", "eta_model", "next_by"];
    let said = fields.map(|it| row[it].clone());
    (row["order"].as_str().unwrap().to_string(), json!(said))
}

/// The same in a replay of a file by these models.
fn replayed(folder: &Folder, input: &str, models: &str) -> BTreeMap<String, Value> {
    let out = folder.path("rows");
    told(&["replay", input, "--models", models, "--rows-out", &out, "--json"]);
    of_view(&out, "order_visibility").iter().map(eta).collect()
}

/// The rows of a view that a replay wrote into a folder.
fn of_view(folder: &str, view: &str) -> Vec<Value> {
    let path = Path::new(folder).join(format!("{view}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn seal(data: &str) -> Value {
    told(&["model", "seal", "arrivals", "--data-dir", data, "--json"])
}

/// The instant from which a model speaks.
fn since(model: &Value) -> i64 {
    schemas::time::parse_rfc3339(model["in_use_since"].as_str().unwrap()).unwrap()
}

/// Goal: an order is told when it arrives by the model that was published before it entered its
/// stage, and by no other ever after: when another is published, after kill -9, from the same events
/// with the same models, and in a restored backup. What is damaged refuses the start. Method: the
/// real binary; orders delivered on a lane, before, between and after two sealings, some told of late.
#[test]
fn the_model_of_its_time_says_when_an_order_arrives() {
    let folder = Folder::new("arrivals");
    let data = folder.path("data");
    let now = millstream::clock::wall_ms() as i64 * 1_000;
    let (process, address) = start(&data, &[]);
    let mut all = String::new();
    let mut say = |address: &str, events: Vec<String>| {
        for it in events {
            post(address, &it);
            all.push_str(&it);
            all.push('\n');
        }
    };
    let seals = ["model", "seal", "arrivals", "--data-dir", &data];
    let (code, _, err) = run(&seals);
    assert!(code == 1 && err.contains("503 models/too-few-arrived"), "{err}");
    assert!(!Path::new(&data).join("models").exists(), "nothing is left behind");

    // One a day, each of three days.
    for n in 0..40 {
        say(&address, order(&format!("old-{n}"), now - (60 - n) * DAY, Some(3 * DAY)));
    }
    say(&address, order("waits", now - 5 * DAY, None));
    let one = seal(&data);
    assert_eq!((&one["model"], &one["n_arrived"]), (&json!("arrival 1"), &json!(80)));
    assert!(since(&one) > now);
    let (code, _, err) = run(&seals);
    assert!(code == 1 && err.contains("models/already"), "{err}");
    let before = etas(&address);
    assert!(
        before.values().all(|it| it[3] == Value::Null),
        "nothing is told otherwise: {before:?}"
    );

    say(&address, order("first", since(&one), None));
    say(&address, order("late", since(&one) - DAY, None));
    let first = etas(&address)["first"].clone();
    let days = |it: &Value| {
        let at = schemas::time::parse_rfc3339(it.as_str().unwrap()).unwrap();
        (at - since(&one)) as f64 / DAY as f64
    };
    assert_eq!(first[3], "arrival 1");
    assert!((1.5..4.5).contains(&days(&first[0])) && days(&first[1]) > days(&first[0]), "{first}");
    assert!((1..99).contains(&first[2].as_i64().unwrap()), "{first}");
    // Shipped orders took three days; one of which something was said before that has the fixed time.
    assert_eq!(first[4], json!(rfc3339(since(&one) + 80 * DAY / 24)));
    assert_eq!(etas(&address)["late"][4], json!(rfc3339(since(&one) + 13 * DAY)));

    // What comes then takes long; the one before goes on to be told by what was known.
    for n in 0..40 {
        say(&address, order(&format!("slow-{n}"), now - (60 - n) * DAY, Some(18 * DAY)));
    }
    let two = seal(&data);
    assert_eq!(two["model"], "arrival 2");
    say(&address, order("second", since(&two), None));
    say(&address, order("between", since(&two) - 1_000, None));
    say(&address, order("ended", since(&two) + 1_000, Some(1_000)));
    let live = etas(&address);
    for (name, model) in
        [("waits", None), ("late", None), ("ended", None), ("first", Some("arrival 1"))]
    {
        assert_eq!(live[name][3], json!(model), "{name}");
    }
    assert_eq!((&live["first"], &live["between"][3]), (&first, &json!("arrival 1")));
    assert_eq!(live["second"][3], "arrival 2");
    assert!(days(&live["second"][1]) > days(&first[1]) + 3.0, "{live:?}");

    process.signal("-KILL");
    assert_ne!(process.end().0, 0);
    let (process, address) = start(&data, &[]);
    assert_eq!(etas(&address), live);
    let (_, out, _) = run(&["log", "show", "--data-dir", &data, "--limit", "1000", "--json"]);
    assert_eq!(out.matches("model.published").count(), 2, "each is told once");
    end(process);
    let (process, address) = start(&data, &["--rebuild", "orders"]);
    assert_eq!(etas(&address), live);
    end(process);
    let input = folder.file("all.jsonl", &all);
    assert_eq!(replayed(&folder, &input, &folder.path("data/models")), live);
    let (code, _, err) = run(&seals);
    assert!(code == 1 && err.contains("error[commands/not-running]"), "{err}");

    let (copy, restored) = (folder.path("copy"), folder.path("restored"));
    told(&["backup", &copy, "--data-dir", &data, "--json"]);
    told(&["restore", &copy, "--data-dir", &restored, "--json"]);
    let list = |data: &str| run(&["model", "list", "--data-dir", data, "--json"]).1;
    assert_eq!((list(&restored), list(&data).lines().count()), (list(&data), 2));
    let (process, address) = start(&restored, &[]);
    assert_eq!(etas(&address), live);
    end(process);

    let models = Path::new(&data).join("models");
    let body = models.join(one["digest"].as_str().unwrap());
    for (file, code) in [(body, "models/not-readable"), (models.join("arrivals"), "models/list")] {
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        for bytes in [Some(&damaged[..]), Some(&whole[..whole.len() / 2]), None] {
            match bytes {
                Some(it) => std::fs::write(&file, it).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            let process = Process::start(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
            let (status, _, err) = process.end();
            assert!(status == 1 && err.contains(&format!("error[{code}]")), "{code}: {err}");
        }
        std::fs::write(&file, &whole).unwrap();
    }
    let (process, address) = start(&data, &[]);
    assert_eq!(etas(&address), live);
    end(process);
}

const HOUR: i64 = DAY / 24;

/// What is said of an order on a lane that was placed an hour before it was paid, and shipped, if it
/// was, so long after that; then delivered.
fn on_lane(
    name: &str,
    (from, to): (&str, &str),
    paid: i64,
    shipped_after: Option<i64>,
) -> Vec<String> {
    let line = json!({"sku": "S", "quantity": 1, "unit_price": 100, "ship_from": from,
                      "ship_to": to});
    let placed = json!({"order": name, "customer": "C1", "currency": "EUR", "lines": [line]});
    let changed = |n: u8, status: &str, at: i64| {
        let said = json!({"order": name, "status": status});
        event(&format!("{name}-{n}"), "order.status_changed", at, said)
    };
    let mut all = vec![
        event(&format!("{name}-1"), "order.placed", paid - HOUR, placed),
        changed(2, "paid", paid),
    ];
    if let Some(after) = shipped_after {
        all.push(changed(3, "shipped", paid + after));
        all.push(changed(4, "delivered", paid + after + 2 * DAY));
    }
    all
}

/// Which orders are not in production as of an instant, and since when: by order, of a replay.
fn waiting(folder: &Folder, words: &[&str], at: i64) -> BTreeMap<String, Value> {
    let (out, clock) = (folder.path("waiting"), rfc3339(at));
    told(&[&["replay"], words, &["--clock", &clock, "--rows-out", &out, "--json"]].concat());
    let rows = of_view(&out, "order_exceptions").into_iter();
    let rows = rows.filter(|it| it["exception"] == "not_in_production");
    rows.map(|it| (it["order"].as_str().unwrap().to_string(), it["since"].clone())).collect()
}

/// Goal: an order is stuck by what is usual on its own lane: on a quick one after hours, where the
/// fixed time is days; on a slow one not, though the fixed time has passed. What was said before the
/// model, or without it, goes by the fixed time. Method: the real binary learns two lanes, and says of
/// orders on each by when they go on; the same events are replayed as of instants around that.
#[test]
fn an_order_is_stuck_by_what_is_usual_on_its_lane() {
    let folder = Folder::new("stuck");
    let data = folder.path("data");
    let now = millstream::clock::wall_ms() as i64 * 1_000;
    let (process, address) = start(&data, &[]);
    let (quick, slow) = (("W", "SP/01"), ("E", "AM"));
    let mut all = String::new();
    let mut say = |address: &str, events: Vec<String>| {
        for it in events {
            post(address, &it);
            all.push_str(&it);
            all.push('\n');
        }
    };
    for n in 0..40 {
        let paid = now - (70 - n) * DAY;
        let hours = 2 * HOUR + n % 3 * HOUR / 4;
        say(&address, on_lane(&format!("quick-{n}"), quick, paid, Some(hours)));
        say(&address, on_lane(&format!("slow-{n}"), slow, paid, Some(10 * DAY)));
    }
    let since = since(&seal(&data));
    for (name, lane) in [("quick", quick), ("slow", slow)] {
        say(&address, on_lane(name, lane, since, None));
        say(&address, on_lane(&format!("{name}-before"), lane, since - 1_000, None));
    }
    // The ends of the buckets in which two and a half hours and ten days lie.
    let (hours, days) = (11 * HOUR / 4, 10 * DAY + 16 * HOUR);
    let said: BTreeMap<String, Value> = rows(&address).iter().map(eta).collect();
    let by = |name: &str| said[name][4].clone();
    assert_eq!(
        (by("quick"), by("slow")),
        (json!(rfc3339(since + hours)), json!(rfc3339(since + days)))
    );
    let fixed = json!(rfc3339(since - 1_000 + 3 * DAY));
    assert_eq!((by("quick-before"), by("slow-before")), (fixed.clone(), fixed.clone()));
    for row in rows(&address) {
        let message = row["message"].as_str().unwrap();
        let is_learnt = row["order"] == "quick" || row["order"] == "slow";
        assert_eq!(message.contains("(as with 19 of 20 such orders)"), is_learnt, "{row}");
        assert_eq!(row["stuck"], false, "{row}");
        let by = if is_learnt { json!("arrival 1") } else { Value::Null };
        assert_eq!(row["next_by_model"], by, "{row}");
    }
    end(process);

    let input = folder.file("all.jsonl", &all);
    let models = folder.path("data/models");
    let with = ["--models", models.as_str(), input.as_str()];
    let none = BTreeMap::new();
    assert_eq!(waiting(&folder, &with, since + hours), none);
    let of_quick = [("quick".to_string(), json!(rfc3339(since + hours)))];
    let mut expected = BTreeMap::from(of_quick);
    assert_eq!(waiting(&folder, &with, since + hours + 1_000), expected);
    // The fixed time has passed: the slow lane is not late by its own.
    expected.extend(["quick-before", "slow-before"].map(|it| (it.to_string(), fixed.clone())));
    assert_eq!(waiting(&folder, &with, since + 4 * DAY), expected);
    let rows = of_view(&folder.path("waiting"), "order_visibility");
    let quick = rows.iter().find(|it| it["order"] == "quick").unwrap();
    let longer = "It takes longer than with 19 of 20 such orders";
    assert!(
        quick["stuck"] == true && quick["message"].as_str().unwrap().contains(longer),
        "{quick}"
    );
    for row in of_view(&folder.path("waiting"), "order_exceptions") {
        let by = if row["order"] == "quick" { json!("arrival 1") } else { Value::Null };
        assert_eq!(row["model"], by, "{row}");
    }
    expected.insert("slow".to_string(), json!(rfc3339(since + days)));
    assert_eq!(waiting(&folder, &with, since + days + 1_000), expected);
    // Without models all of them go by the fixed time.
    let names = ["quick", "slow", "quick-before", "slow-before"].map(String::from);
    let without = waiting(&folder, &with[2..], since + 4 * DAY);
    assert_eq!(without.len(), names.len());
    for it in names {
        let at = if it.ends_with("before") { since - 1_000 } else { since };
        assert_eq!(without[&it], json!(rfc3339(at + 3 * DAY)), "{it}");
    }
}
