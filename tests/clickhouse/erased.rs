//! Customers who are erased: what the tables have of them goes, and does not come back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::engine::Millstream;
use crate::flow::{settings, sink};
use crate::life::life;
use crate::server::{Database, Real};
use crate::wait::until;

/// In everything that is about the customer, and in nothing else.
const SECRET: &str = "secret-7b2d";

/// Rows of each table in which a text stands, in any column, whatever the views make of them.
fn found(database: &Database<'_>, text: &str) -> BTreeMap<String, u64> {
    let of = |table: &String| {
        let sql =
            format!("SELECT count() FROM {table} WHERE position(toString(tuple(*)), '{text}') > 0");
        (table.clone(), database.number(&sql))
    };
    database.tables().iter().map(of).filter(|it| it.1 > 0).collect()
}

fn post(to: &Millstream, events: &[Value]) {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    to.post("default", &lines.iter().collect::<Vec<_>>());
}

fn erase(to: &Millstream, customer: &str) {
    post(
        to,
        &[json!({
            "specversion": "1.0", "type": "customer.erased", "source": "desk", "id": format!("r-{customer}"),
            "tenant": "default", "time": "2026-01-03T00:00:00Z", "data": {"customers": [customer]},
        })],
    );
}

/// What the certificate says of the sink.
fn certificate(it: &Millstream, customer: &str) -> Value {
    let (code, out, err) = it.command(&["erasure", "show", "--customer", customer, "--json"]);
    assert_eq!(code, 0, "{err}");
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["sinks"][0].clone();
    out.lines().next().map_or(Value::Null, of)
}

fn until_certified(it: &Millstream, customer: &str) -> u64 {
    until("what the tables had is certified to be gone", || {
        let said = certificate(it, customer);
        println!("{said} {}", sink(it));
        said["at"].is_string().then(|| said["rows"].as_u64().unwrap())
    })
}

fn is_in_tables(database: &Database<'_>, text: &str) {
    until("it is in the tables", || {
        let found = found(database, text);
        println!("{found:?}");
        let all = ["customers", "orders", "cases", "profiles", "identifiers"];
        let both = all.iter().flat_map(|it| [format!("{it}_rows"), format!("{it}_changes")]);
        both.chain(["events_rows".into()]).all(|it| found.contains_key(&it)).then_some(())
    });
}

/// Only the fact is there.
fn nothing_is_found(database: &Database<'_>, customer: &str) {
    assert_eq!(found(database, SECRET), BTreeMap::new());
    let fact = ["erasures_changes", "erasures_rows", "events_rows"];
    let names = found(database, customer);
    assert_eq!(names.keys().collect::<Vec<_>>(), fact, "{names:?}");
    assert_eq!(names["events_rows"], 1, "the event that said so");
}

/// Every table holds what is served; what was removed is counted.
fn is_equal(it: &Millstream, database: &Database<'_>) {
    let mut last = String::new();
    until("the tables hold what is served", || {
        let (code, out, err) = it.command(&["verify", "clickhouse"]);
        last = format!("{out}{err}");
        println!("{last}");
        (code == 0).then_some(())
    });
    database.each_row_is_once();
}

/// Goal: nothing of an erased customer is found in any table, older rows and raw events among them;
/// what is not theirs stays; without the right to delete the sink waits, is told so, and goes on
/// when it has it. Method: a canary in every way that a person's data comes in, beside another
/// customer; every column of every table is searched.
#[test]
fn nothing_of_an_erased_customer_is_in_a_table() {
    let (who, other) = ("C-17", "D-2");
    let database = Real::shared().database("erased");
    let it = Millstream::start("erased", &settings(&database, database.real.url(), ""));
    post(&it, &life(other, "known"));
    post(&it, &life(who, SECRET));
    is_in_tables(&database, SECRET);
    // Each of their rows has older versions.
    let mut again = life(who, SECRET);
    again.iter_mut().for_each(|it| it["time"] = json!("2026-01-02T12:00:00Z"));
    post(&it, &again);
    let before = found(&database, "known");

    let rights = format!("ALTER DELETE ON {}.*", database.name);
    database.run(&format!("REVOKE {rights} FROM writer"));
    erase(&it, who);
    until("the sink is told that it may not", || {
        (sink(&it)["code"] == "sinks/clickhouse-refused").then_some(())
    });
    assert!(certificate(&it, who)["at"].is_null(), "nothing is certified before it is so");
    database.run(&format!("GRANT {rights} TO writer"));
    it.command(&["sinks", "resume", "ch"]);
    let rows = until_certified(&it, who);
    assert!(rows >= 30, "{rows}");
    nothing_is_found(&database, who);
    assert!(found(&database, "known").keys().eq(before.keys()), "nobody else's is gone");
    let orders = database.rows("SELECT `order` FROM orders");
    assert_eq!(orders, [json!({"order": format!("O-{other}")})]);
    is_equal(&it, &database);

    // Everything is delivered anew; the sink is asked to remove them again.
    let (code, _, err) = it.command(&["sinks", "anew", "ch"]);
    assert_eq!(code, 0, "{err}");
    until("all is there again", || {
        (sink(&it)["whole"] == true && sink(&it)["in_flight_batches"] == 0).then_some(())
    });
    nothing_is_found(&database, who);
    is_equal(&it, &database);
}

/// Goal: who is killed while somebody is erased finishes it. Method: a process that is killed as soon
/// as it has answered, again and again; every table is searched at the end of each.
#[test]
fn killed_while_somebody_is_erased() {
    let database = Real::shared().database("erased_killed");
    let mut it = Millstream::start("erased-killed", &settings(&database, database.real.url(), ""));
    for n in 0..4 {
        let who = format!("E-{n}x");
        post(&it, &life(&who, SECRET));
        is_in_tables(&database, SECRET);
        erase(&it, &who);
        std::thread::park_timeout(std::time::Duration::from_millis(70 * n));
        it = it.kill_and_start_again();
        until_certified(&it, &who);
        nothing_is_found(&database, &who);
    }
    is_equal(&it, &database);
}
