//! A minute without a server, and a server that refuses one row.

use std::time::{Duration, Instant};

use crate::engine::Millstream;
use crate::flow::{Events, every_event_is_there, is_equal, settings, sink};
use crate::server::{Database, Real};
use crate::wait::{seed, until};

/// What a process may grow by while a server is away: what it reads meanwhile is in its state, too.
const GROWS_MAX: u64 = 48 << 20;

/// Blocks as they were inserted, one after the other: the least and the greatest epoch of each.
fn in_order(database: &Database<'_>, table: &str) -> Vec<(u64, u64)> {
    // A part that was never merged is a block: its name says which (`202611_17_17_0`).
    let sql = format!(
        "SELECT min(epoch) AS least, max(epoch) AS greatest FROM {table} GROUP BY _part \
         ORDER BY toUInt64(splitByChar('_', _part)[2])"
    );
    let number = |it: &serde_json::Value, name: &str| it[name].as_u64().unwrap();
    database.rows(&sql).iter().map(|it| (number(it, "least"), number(it, "greatest"))).collect()
}

/// Goal: with the server away for a minute everything else goes on, memory stays flat, what waits lies
/// on the disk, and it comes in order once the server is back. Method: events flow all the time; resident
/// memory from the tenth second on; with merges stopped each part of a table is a batch, and no batch of
/// changes or events has an older row than the one before it, nor is a mark older.
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
    let began = Instant::now();
    let bytes = || sink(&it)["outbox_bytes"].as_u64().unwrap();
    let (mut n, mut before, on_disk) = (0, 0, bytes());
    while began.elapsed() < Duration::from_secs(60) {
        assert!(events.post(&it, 50), "enough events");
        n += 50;
        if before == 0 && began.elapsed() > Duration::from_secs(10) {
            before = it.resident_bytes();
        }
        std::thread::park_timeout(Duration::from_millis(25));
    }
    let (after, waits) = (it.resident_bytes(), bytes());
    println!(
        "{n} events meanwhile; resident {} MiB, then {} MiB; on disk {} KiB, then {} KiB",
        before >> 20,
        after >> 20,
        on_disk >> 10,
        waits >> 10
    );
    assert!(after < before + GROWS_MAX, "memory is not flat: {before} {after}");
    assert!(waits > on_disk, "what waits is on the disk");
    let told = sink(&it);
    assert_eq!(told["code"], "sinks/clickhouse-unreachable", "{told}");
    real.start();
    let ordered = ["orders_changes", "customers_changes", "events_rows", "_progress"];
    for table in ordered {
        database.run(&format!("SYSTEM STOP MERGES {table}"));
    }
    let then = ordered.map(|it| in_order(&database, it).len());
    until("what has waited is there", || {
        events.post(&it, 10);
        let told = sink(&it);
        (told["state"] == "closed" && told["waiting_rows"] == 0).then_some(())
    });
    is_equal(&it, &database);
    every_event_is_there(&it, &database);
    for (table, then) in ordered.iter().zip(then) {
        let blocks = in_order(&database, table);
        println!("{table}: {} blocks, {then} of before", blocks.len());
        assert!(blocks.len() > then, "{table}: nothing came");
        let goes_back = blocks[then..].windows(2).find(|it| it[1].0 < it[0].1);
        assert_eq!(goes_back, None, "{table}: not in order");
    }
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
