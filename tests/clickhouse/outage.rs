//! A minute without a server, and a server that refuses one row.

use std::time::{Duration, Instant};

use crate::engine::Millstream;
use crate::flow::{Events, is_equal, settings, sink};
use crate::server::Real;
use crate::wait::{seed, until};

/// Goal: with the server away for a minute everything else goes on, memory stays flat, and what has
/// waited comes in order once it is back. Method: events flow all the time; marks only rise.
#[test]
fn a_minute_without_a_server() {
    let seed = seed();
    let real = Real::own("away", &[]);
    let database = real.database("away");
    let it = Millstream::start("away", &settings(&database, real.url(), ""));
    let mut events = Events::new("away", seed, 200_000);
    for _ in 0..20 {
        events.post(&it, 500);
    }
    until("the first mark", || (database.number("SELECT epoch FROM _now") > 0).then_some(()));
    real.stop();
    let (began, before) = (Instant::now(), it.resident_bytes());
    let mut n = 0;
    while began.elapsed() < Duration::from_secs(60) {
        assert!(events.post(&it, 50), "enough events");
        n += 50;
        std::thread::park_timeout(Duration::from_millis(25));
    }
    let after = it.resident_bytes();
    println!("{n} events meanwhile; resident {} MiB, then {} MiB", before >> 20, after >> 20);
    assert!(after < before + (96 << 20), "memory is not flat: {before} {after}");
    let told = sink(&it);
    assert_eq!(told["code"], "sinks/clickhouse-unreachable", "{told}");
    real.start();
    let mut last = 0;
    until("what has waited is there", || {
        events.post(&it, 10);
        let now = database.number("SELECT epoch FROM _now");
        assert!(now >= last, "marks go back");
        last = now;
        let told = sink(&it);
        (told["state"] == "closed" && told["waiting_rows"] == 0).then_some(())
    });
    is_equal(&it, &database);
}

/// Goal: a row that the server refuses is put aside with its report, and the others are there; once
/// the table is mended, what stands aside goes in. Method: a constraint that one order violates.
#[test]
fn a_row_that_is_refused_is_put_aside_and_tried_again() {
    let seed = seed();
    let database = Real::shared().database("aside");
    let it =
        Millstream::start("aside", &settings(&database, database.real.url(), "take = [\"rows\"]"));
    let mut events = Events::new("aside", seed, 10_000);
    events.post(&it, 200);
    until("orders are there", || (database.number("SELECT count() FROM orders") > 0).then_some(()));
    let placed = events.lines().into_iter().skip(200).find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let is_it = event["type"] == "order.placed" && event["tenant"] == "globex";
        is_it.then(|| event["data"]["order"].as_str().unwrap().to_string())
    });
    let key = placed.expect("one of the orders still to come");
    database.run(&format!(
        "ALTER TABLE orders_rows ADD CONSTRAINT no CHECK NOT (tenant = 'globex' AND n_lines > 0 AND key_text = '{key}')"
    ));
    while events.post(&it, 1_000) {}
    until("a row stands aside", || (sink(&it)["aside"].as_u64() > Some(0)).then_some(()));
    let (code, out, err) = it.command(&["sinks", "aside", "ch"]);
    assert!(code == 0 && out.contains("sinks/clickhouse-row") && out.contains(&key), "{out}{err}");
    database.run("ALTER TABLE orders_rows DROP CONSTRAINT no");
    assert_eq!(it.command(&["sinks", "retry", "ch"]).0, 0);
    until("nothing stands aside", || (sink(&it)["aside"] == 0).then_some(()));
    is_equal(&it, &database);
}
