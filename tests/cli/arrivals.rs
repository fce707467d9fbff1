//! Models of arrival that a running process seals: which of them speaks of which order, live, after a
//! kill, replayed, restored; and what happens when a file of theirs is damaged.

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
fn order(name: &str, shipped: i64, took: Option<i64>) -> Vec<String> {
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

/// What `order_visibility` says of when these arrive, by order, once it is not being built again.
fn etas(address: &str) -> BTreeMap<String, Value> {
    let path = "/v1/views/order_visibility?limit=1000";
    let (mut status, mut body) = get(address, path);
    while status == 503 && body.contains("serve/rebuilding") {
        std::thread::park_timeout(Duration::from_millis(5));
        (status, body) = get(address, path);
    }
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).unwrap();
    page["rows"].as_array().unwrap().iter().map(|it| eta(&it["row"])).collect()
}

fn eta(row: &Value) -> (String, Value) {
    let said = ["eta_p50", "eta_p90", "late_risk_percent", "eta_model"].map(|it| row[it].clone());
    (row["order"].as_str().unwrap().to_string(), json!(said))
}

/// The same in a replay of a file by these models.
fn replayed(folder: &Folder, input: &str, models: &str) -> BTreeMap<String, Value> {
    let out = folder.path("rows");
    told(&["replay", input, "--models", models, "--rows-out", &out, "--json"]);
    let text = std::fs::read_to_string(Path::new(&out).join("order_visibility.jsonl")).unwrap();
    text.lines().map(|it| eta(&serde_json::from_str(it).unwrap())).collect()
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
