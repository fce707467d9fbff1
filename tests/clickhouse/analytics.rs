//! The questions of docs/analytics.md: what live SQL answers too it answers alike, the others as the plain
//! computation over the events does.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use dataflows::catalogue::{definitions, references};
use schemas::decode;
use schemas::events::{Data, Event};
use schemas::rows::{Row, Value as Field};
use serde_json::Value;

use crate::engine::Millstream;
use crate::flow::{Events, is_equal, settings};
use crate::server::{Database, Real};

/// The statements of a page, by the headings over them.
fn questions(page: &str) -> BTreeMap<String, String> {
    let path = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let of = |part: &str| {
        let (title, rest) = part.split_once('\n')?;
        let sql = rest.split("```sql\n").nth(1)?.split("```").next()?;
        title
            .starts_with(|it: char| it.is_ascii_digit())
            .then(|| (title.to_string(), sql.to_string()))
    };
    text.split("### ").filter_map(of).collect()
}

/// The statements of a page that is about something else.
fn statements(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR")));
    let text = text.unwrap();
    let blocks = text.split("```sql\n").skip(1).map(|it| it.split("```").next().unwrap());
    let all: Vec<String> = blocks.flat_map(|it| it.split(";\n")).map(str::to_string).collect();
    assert!(!all.is_empty(), "{page} has none");
    all
}

/// A value as both write it.
fn plain(it: &Value) -> String {
    let text = match it {
        Value::String(it) => it.clone(),
        other => other.to_string(),
    };
    if let Ok(number) = text.parse::<f64>() {
        return format!("{number:.4}");
    }
    // 2026-01-01 00:00:01.000 there, 2026-01-01T00:00:01.000Z here.
    match text.len() == 23 && text.as_bytes()[10] == b' ' {
        true => format!("{}Z", text.replace(' ', "T")),
        false => text,
    }
}

type Table = Vec<Vec<String>>;

/// A mean in the middle of two thousandths is rounded to the even one there, and up here.
fn alike(a: &Table, b: &Table) -> bool {
    let number = |it: &str| it.parse::<f64>().ok();
    let cell = |(a, b): (&String, &String)| match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() < 0.0011,
        _ => a == b,
    };
    let row =
        |(a, b): (&Vec<String>, &Vec<String>)| a.len() == b.len() && a.iter().zip(b).all(cell);
    a.len() == b.len() && a.iter().zip(b).all(row)
}

fn table(rows: &Value) -> Table {
    let row = |it: &Value| it.as_array().unwrap().iter().map(plain).collect();
    rows.as_array().unwrap().iter().map(row).collect()
}

/// As the analyst, over HTTP.
fn asked(database: &Database<'_>, sql: &str) -> Table {
    let password = std::fs::read_to_string(database.real.password("analyst")).unwrap();
    let done = Command::new("curl")
        .args(["-s", "--fail-with-body", "-H", "X-ClickHouse-User: analyst", "-H"])
        .arg(format!("X-ClickHouse-Key: {}", password.trim()))
        .arg(format!("{}/?database={}", database.real.url(), database.name))
        .args(["--data-binary", &format!("{sql} FORMAT JSONCompact")])
        .output()
        .unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{sql}: {said}");
    table(&serde_json::from_str::<Value>(&said).unwrap()["data"])
}

/// As live SQL answers it.
fn live(it: &Millstream, sql: &str) -> Table {
    let body = serde_json::json!({ "sql": sql }).to_string();
    let more =
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (status, answer) = it.ask("POST /v1/sql?tenant=acme", &more).unwrap();
    assert_eq!(status, 200, "{sql}: {answer}");
    table(&serde_json::from_str::<Value>(&answer).unwrap()["results"][0]["rows"])
}

/// The plain computation of a view, the tenant's rows.
fn reference(view: &str, events: &[Event<'static>], now: u64) -> Vec<Row> {
    let place = definitions().iter().position(|it| it.name == view).unwrap();
    let rows = references()[place](events, now);
    rows.into_iter().filter(|it| it.0.tenant() == "acme").map(|it| it.1).collect()
}

fn field<'r>(view: &str, row: &'r Row, name: &str) -> &'r Field {
    let def = definitions().iter().find(|it| it.name == view).unwrap();
    &row.values[def.position(name).unwrap()]
}

/// Counted by a text: most first, then by text.
fn most_first(counts: BTreeMap<String, i64>) -> Table {
    let mut rows: Vec<_> = counts.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    rows.into_iter().map(|(text, n)| vec![text, format!("{:.4}", n as f64)]).collect()
}

/// The ISO week of an instant (microseconds), as `%G-W%V`.
fn week(at: i64) -> String {
    let day = at.div_euclid(86_400_000_000); // 1970-01-01 was a Thursday
    let thursday = day - (day + 3).rem_euclid(7) + 3;
    let text = schemas::time::rfc3339(thursday * 86_400_000_000);
    let year: i64 = text[..4].parse().unwrap();
    let first = schemas::time::parse_rfc3339(&format!("{year}-01-01T00:00:00Z")).unwrap();
    let nth = (thursday - first.div_euclid(86_400_000_000)) / 7 + 1;
    format!("{year}-W{nth:02}")
}

fn by_status(events: &[Event<'static>], now: u64) -> Table {
    let mut counts = BTreeMap::new();
    for row in reference("orders", events, now) {
        if let Field::Text(it) = field("orders", &row, "status") {
            *counts.entry(it.to_string()).or_insert(0) += 1;
        }
    }
    most_first(counts)
}

fn volume(events: &[Event<'static>]) -> Table {
    let mut counts: BTreeMap<(i64, String), u64> = BTreeMap::new();
    for it in events.iter().filter(|it| it.tenant == "acme") {
        let minute = it.time.div_euclid(60_000_000) * 60_000_000;
        *counts.entry((minute, it.data.event_type().as_str().into())).or_default() += 1;
    }
    // Whole seconds there.
    let at = |it: i64| {
        schemas::time::rfc3339(it).trim_end_matches('Z').replace('T', " ")[..19].to_string()
    };
    counts
        .into_iter()
        .map(|((minute, kind), n)| vec![at(minute), kind, format!("{:.4}", n as f64)])
        .collect()
}

fn new_by_week(events: &[Event<'static>], now: u64) -> Table {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for row in reference("customers", events, now) {
        if let Field::Time(at) = field("customers", &row, "first_seen_at") {
            *counts.entry(week(*at)).or_default() += 1;
        }
    }
    counts.into_iter().map(|(week, n)| vec![week, format!("{:.4}", n as f64)]).collect()
}

fn returned(events: &[Event<'static>], now: u64) -> Table {
    let mut counts = BTreeMap::new();
    for row in reference("orders", events, now) {
        let (Field::Time(_), Field::Json(lines)) =
            (field("orders", &row, "returned_at"), field("orders", &row, "lines"))
        else {
            continue;
        };
        for line in lines.as_array().unwrap() {
            let sku = line["sku"].as_str().unwrap().to_string();
            *counts.entry(sku).or_insert(0) += line["quantity"].as_i64().unwrap();
        }
    }
    most_first(counts)
}

fn before_the_first_order(events: &[Event<'static>]) -> Table {
    let ours = || events.iter().filter(|it| it.tenant == "acme");
    let mut first: BTreeMap<String, i64> = BTreeMap::new();
    for it in ours() {
        if let Data::OrderPlaced(placed) = &it.data {
            let at = first.entry(placed.customer.to_string()).or_insert(i64::MAX);
            *at = (*at).min(it.time.div_euclid(1_000));
        }
    }
    let mut counts: BTreeMap<String, i64> = first.keys().map(|it| (it.clone(), 0)).collect();
    for it in ours() {
        if let Data::InteractionRecorded(one) = &it.data
            && first.get(&*one.customer).is_some_and(|at| it.time.div_euclid(1_000) < *at)
        {
            *counts.get_mut(&*one.customer).unwrap() += 1;
        }
    }
    most_first(counts)
}

/// Goal: ten questions are answered alike by live SQL and by ClickHouse, five by ClickHouse as the
/// plain computation does. Method: the statements of both pages, one state that stands still; a past
/// epoch between two portions of events. (Events of one seed: there is something to answer each with.)
#[test]
fn fifteen_questions() {
    let database = Real::shared().database("analytics");
    let more = "take = [\"rows\", \"changes\", \"events\"]";
    let it = Millstream::start("analytics", &settings(&database, database.real.url(), more));
    let mut events = Events::new("analytics", 7, 6_000);
    events.post(&it, 3_000);
    is_equal(&it, &database);
    let past = database.number("SELECT epoch FROM _now");
    while events.post(&it, 1_500) {}
    is_equal(&it, &database);

    let (here, there) = (questions("sql.md"), questions("analytics.md"));
    assert_eq!((here.len(), there.len()), (10, 15));
    for (title, sql) in &here {
        let theirs = there.get(title).unwrap_or_else(|| panic!("docs/analytics.md lacks {title}"));
        let (live, found) = (live(&it, sql), asked(&database, theirs));
        assert!(!live.is_empty(), "{title}: nothing to compare");
        assert!(alike(&found, &live), "{title}: {found:?}, live {live:?}");
    }

    let mut known = BTreeSet::new();
    // For as long as the test: what is decoded borrows.
    let lines: Vec<&'static str> =
        events.lines().into_iter().map(|it| &*Box::leak(it.into_boxed_str())).collect();
    let mut decoded = |lines: &[&'static str]| -> Vec<Event<'static>> {
        let each = lines.iter().map(|it| decode::structured(it.as_bytes()).unwrap());
        let name = |it: &Event<'_>| [&it.tenant, &it.source, &it.id].map(|it| it.to_string());
        each.filter(|it| known.insert(name(it))).collect()
    };
    let mut first = decoded(&lines[..3_000]);
    let now = millstream::clock::wall_ms();
    let ask = |n: &str| {
        let (title, sql) = there.iter().find(|it| it.0.starts_with(n)).unwrap();
        let found = asked(&database, &sql.replace("1767225600000", &past.to_string()));
        assert!(!found.is_empty(), "{title}: nothing to compare");
        found
    };
    assert_eq!(ask("11."), by_status(&first, past));
    first.extend(decoded(&lines[3_000..]));
    assert_eq!(ask("12."), volume(&first));
    assert_eq!(ask("13."), new_by_week(&first, now));
    assert_eq!(ask("14."), returned(&first, now));
    assert_eq!(ask("15."), before_the_first_order(&first));

    // What other pages ask is asked as it stands there: it is understood, whatever it finds here.
    for sql in ["health.md", "load.md"].into_iter().flat_map(statements) {
        asked(&database, &sql);
    }
    for sql in statements("profiles.md") {
        live(&it, &sql);
    }
}
