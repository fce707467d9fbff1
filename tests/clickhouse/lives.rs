//! Other lives of the state: a backup that is older than the tables, a copy started by mistake, tables
//! that are filled anew.

use std::process::Command;

use crate::engine::Millstream;
use crate::flow::{Events, every_event_is_there, is_equal, settings, sink};
use crate::server::Real;
use crate::wait::{folder, seed, until};

/// Goal: after a restart from a backup that is older than the tables, what the restored state says
/// is what is seen: now, at the last mark, and at epochs before the fork. Method: events, a backup,
/// more events, which the restored one never sees.
#[test]
fn a_backup_older_than_the_tables() {
    let seed = seed();
    let database = Real::shared().database("backup");
    let settings = settings(&database, database.real.url(), "");
    let mut it = Millstream::start("backup", &settings);
    let mut events = Events::new("backup", seed, 9_000);
    events.post(&it, 3_000);
    is_equal(&it, &database);
    let then = database.number("SELECT epoch FROM _now");
    let counted = |sql: &str| database.number(&format!("SELECT sum(n_events) FROM {sql}"));
    let seen = counted(&format!("customers_at(epoch = {then})"));
    let kept = folder("backup-kept").join("kept").display().to_string();
    let (code, _, err) = it.command(&["backup", &kept]);
    assert_eq!(code, 0, "{err}");
    while events.post(&it, 3_000) {}
    is_equal(&it, &database);
    assert!(counted("customers") > seen);
    it.stop();

    let restored = folder("millstream-restored");
    std::fs::write(restored.join("millstream.toml"), &settings).unwrap();
    let data = restored.join("data").display().to_string();
    let (code, _, err) = crate::engine::told(
        crate::engine::program(&["restore", &kept, "--data-dir", &data]).output().unwrap(),
    );
    assert_eq!(code, 0, "{err}");
    let it = Millstream::start("restored", &settings);
    is_equal(&it, &database);
    assert_eq!(counted("customers"), seen, "what came after the backup never was");
    // Nor were its events, though they are in the table.
    every_event_is_there(&it, &database);
    let more =
        "SELECT (SELECT count() FROM events_rows FINAL) - (SELECT count() FROM events) AS more";
    assert!(database.number(more) > 1_000);
    assert_eq!(counted("customers_now"), seen);
    assert_eq!(counted(&format!("customers_at(epoch = {then})")), seen, "the past stands");
    let mut others = Events::new("restored", seed + 1, 2_000);
    while others.post(&it, 1_000) {}
    is_equal(&it, &database);
    every_event_is_there(&it, &database);
}

/// Goal: two processes of one state by mistake: the one that came last writes, the other is told and
/// serves on; filled anew, the tables are what the last one serves, and stay it. Method: a data
/// folder copied, its process started beside the first.
#[test]
fn a_copy_of_a_folder_started_by_mistake() {
    let seed = seed();
    let database = Real::shared().database("copy");
    let settings = settings(&database, database.real.url(), "");
    let mut first = Millstream::start("copied", &settings);
    let mut events = Events::new("copied", seed, 6_000);
    events.post(&first, 2_000);
    is_equal(&first, &database);
    first.stop();
    let (from, to) = (folder("millstream-copied"), folder("millstream-copy"));
    let copied = Command::new("cp").arg("-r").arg(from.join("data")).arg(to.join("data")).status();
    assert!(copied.unwrap().success());
    let first = first.start_again();
    events.post(&first, 1_000);
    is_equal(&first, &database);
    let second = Millstream::start("copy", &settings);
    let mut others = Events::new("copy", seed + 1, 3_000);
    others.post(&second, 1_500);
    until("the first is told", || {
        events.post(&first, 10);
        (sink(&first)["code"] == "sinks/clickhouse-writer").then_some(())
    });
    // What the first wrote after it was copied is told, and goes.
    let password = database.real.password("admin").display().to_string();
    let words = ["rebuild", "clickhouse", "--user", "admin", "--password-file", &password];
    let (code, out, err) = second.command(&words);
    assert_eq!(code, 0, "{out}{err}");
    while others.post(&second, 500) && events.post(&first, 100) {}
    is_equal(&second, &database);
    assert_eq!(sink(&first)["code"], "sinks/clickhouse-writer");
    first.json("/v1/views");
}

/// Goal: tables that were changed by hand are told by key; emptied and filled anew beside the live
/// flow they are equal, and their changes begin with one row per live key. Method: `verify`,
/// `rebuild`, while events flow.
#[test]
fn rebuilt_beside_the_live_flow() {
    let seed = seed();
    let database = Real::shared().database("rebuilt");
    let it = Millstream::start("rebuilt", &settings(&database, database.real.url(), ""));
    let mut events = Events::new("rebuilt", seed, 12_000);
    events.post(&it, 4_000);
    is_equal(&it, &database);
    let key = database.rows("SELECT tenant, key_text FROM orders_rows FINAL LIMIT 1")[0].clone();
    let [tenant, key] = ["tenant", "key_text"].map(|it| key[it].as_str().unwrap().to_string());
    database.run(&format!(
        "ALTER TABLE orders_rows DELETE WHERE tenant = '{tenant}' AND key_text = '{key}' SETTINGS mutations_sync = 1"
    ));
    database.run(
        "ALTER TABLE customers_changes UPDATE n_events = 4711 WHERE 1 SETTINGS mutations_sync = 1",
    );
    let (code, out, err) = it.command(&["verify", "clickhouse"]);
    assert!(code == 1 && err.contains("commands/not-equal"), "{out}{err}");
    assert!(out.contains(&format!("missing: {tenant}/{key}")), "{out}");
    assert!(out.contains("customers_changes") && out.contains("other: "), "{out}");

    // What is not filled anew is not emptied.
    database.run("CREATE TABLE theirs (n Int64) ENGINE = MergeTree ORDER BY n");
    database.run("INSERT INTO theirs VALUES (1)");
    let password = database.real.password("admin").display().to_string();
    let words = ["rebuild", "clickhouse", "--user", "admin", "--password-file", &password];
    // Nor is anything where another deployment has written.
    let rows = database.number("SELECT count() FROM orders_changes");
    database.run("INSERT INTO _writers (deployment, writer, turn) VALUES ('theirs', 'w', 1)");
    let (code, out, err) = it.command(&words);
    assert!(code == 1 && err.contains("error[sinks/clickhouse-writer]"), "{out}{err}");
    assert!(database.number("SELECT count() FROM orders_changes") >= rows, "nothing was emptied");
    database.run("DELETE FROM _writers WHERE deployment = 'theirs'");
    std::thread::scope(|scope| {
        let flow = scope.spawn(|| while events.post(&it, 100) {});
        let (code, out, err) = it.command(&words);
        assert_eq!(code, 0, "{out}{err}");
        flow.join().unwrap();
    });
    assert_eq!(database.number("SELECT count() FROM theirs"), 1);
    database.run("DROP TABLE theirs");
    is_equal(&it, &database);
    every_event_is_there(&it, &database);
    let first = database.number("SELECT min(epoch) FROM orders_changes");
    assert!(
        database.number(&format!("SELECT count() FROM orders_changes WHERE epoch = {first}")) > 10
    );
}
