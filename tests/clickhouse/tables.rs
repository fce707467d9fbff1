//! What the tables are: made once, told apart from others', documented; who may do what.

use millstream::sinks::clickhouse::{Server, migrate};
use serde_json::Value;

use crate::batches::{batch, cells, def, events, must, sink};
use crate::server::{Real, block_on};

/// Goal: a migration is applied once, goes on where it was interrupted, and refuses what it does
/// not know. Method: a plan before and after, a migration half done, a later version's, a text that
/// is another, a database of somebody else.
#[test]
fn migrations_are_applied_once_and_refuse_what_they_do_not_know() {
    let database = Real::shared().database("migrations");
    let server = Server::connect(&database.settings("admin")).unwrap();
    let plan = || block_on(migrate::plan(&server));
    assert_eq!(plan().unwrap(), []);
    // Interrupted: the note that it is whole is not there, some of its tables are.
    database.run("ALTER TABLE _migrations DELETE WHERE name = '0003_orders' AND is_whole SETTINGS mutations_sync = 1");
    database.run("DROP VIEW orders_now");
    let lacking = plan().unwrap();
    assert_eq!(lacking.iter().map(|it| it.name).collect::<Vec<_>>(), ["0003_orders"]);
    block_on(migrate::apply(&server, &lacking, &mut |_| {})).unwrap();
    assert_eq!((plan().unwrap(), database.number("SELECT count() FROM orders_now")), (vec![], 0));
    database.each_row_is_once();
    // One that was dropped behind our back is made anew.
    database.run("DROP TABLE cases_rows");
    let lacking = plan().unwrap();
    assert_eq!(lacking.iter().map(|it| it.name).collect::<Vec<_>>(), ["0004_cases"]);
    block_on(migrate::apply(&server, &lacking, &mut |_| {})).unwrap();
    assert_eq!((plan().unwrap(), database.number("SELECT count() FROM cases")), (vec![], 0));

    let refuses = |sql: &str, words: &str| {
        database.run(sql);
        let told = plan().unwrap_err();
        assert_eq!(told.code, "sinks/clickhouse-migrate");
        assert!(told.why.contains(words), "{}", told.why);
    };
    refuses(
        "INSERT INTO _migrations (name, digest, is_whole, version) VALUES ('0099_later', 'x', true, '9')",
        "of a later version",
    );
    database.run(
        "ALTER TABLE _migrations DELETE WHERE name = '0099_later' SETTINGS mutations_sync = 1",
    );
    refuses(
        "ALTER TABLE _migrations UPDATE digest = 'x' WHERE name = '0003_orders' SETTINGS mutations_sync = 1",
        "with another text",
    );
    refuses("DROP TABLE _migrations", "no _migrations");
}

/// Goal: an analyst who looks at a table finds out what each column means. Method: every column of
/// every table of ours has a comment, and that of a field is the catalogue's.
#[test]
fn every_column_says_what_it_is() {
    let database = Real::shared().database("words");
    let rows = database.rows(
        "SELECT table, name, comment FROM system.columns WHERE database = currentDatabase() \
         AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')",
    );
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_string();
    assert!(rows.len() > 100);
    for it in &rows {
        assert!(!text(it, "comment").is_empty(), "{it}");
    }
    let amount =
        rows.iter().find(|it| text(it, "table") == "orders_rows" && text(it, "name") == "amount");
    let words = def("orders").fields.iter().find(|it| it.name == "amount").unwrap().words;
    assert_eq!(text(amount.unwrap(), "comment"), words);
    let engines = database.rows("SELECT name, engine_full, sorting_key FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'");
    for it in engines {
        assert!(text(&it, "engine_full").starts_with("ReplacingMergeTree"), "{it}");
        assert!(text(&it, "sorting_key").contains("row_id"), "{it}");
    }
}

/// Goal: the shipped roles may do what they are for and nothing else. Method: a table of statements
/// by user.
#[test]
fn the_shipped_roles_may_what_they_are_for() {
    let database = Real::shared().database("roles");
    must(&sink(&database.settings("writer")), &batch("b", false, 1, 1_000, &cells(0..10, 1)));
    let may = |user: &str, sql: &str, expected: bool| {
        let said = database.rows_as(user, sql);
        assert_eq!(said.is_ok(), expected, "{user}: {sql}: {said:?}");
    };
    // A reader of ours asks with settings, which an analyst may not have: he asks by himself.
    let analyst = |sql: &str, expected: bool| {
        let password = std::fs::read_to_string(database.real.password("analyst")).unwrap();
        let done = std::process::Command::new("curl")
            .args(["-s", "--fail-with-body", "-H", "X-ClickHouse-User: analyst", "-H"])
            .arg(format!("X-ClickHouse-Key: {}", password.trim()))
            .arg(format!("{}/?database={}", database.real.url(), database.name))
            .args(["--data-binary", sql])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.success(), expected, "{sql}: {said}");
        said
    };
    assert_eq!(analyst("SELECT count() FROM volume", true).trim(), "10");
    assert_eq!(analyst("SELECT count() FROM volume_at(epoch = 5)", true).trim(), "0");
    analyst("SELECT count() FROM volume_now", true);
    for sql in [
        "INSERT INTO volume_rows (tenant) VALUES ('x')",
        "CREATE TABLE t (a Int8) ENGINE = Memory",
        "DROP TABLE volume_rows",
        "ALTER TABLE volume_rows DELETE WHERE 1",
        "SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a String')",
        "SELECT * FROM file('/etc/passwd', CSV, 'a String')",
        "SELECT * FROM remote('127.0.0.1', system.one)",
        "SET max_execution_time = 0",
        "SELECT count() FROM volume SETTINGS max_execution_time = 0",
        "SELECT * FROM system.users",
    ] {
        analyst(sql, false);
    }
    may("writer", "SELECT count() FROM volume", true);
    may("writer", "DROP TABLE volume_rows", false);
    may("writer", "ALTER TABLE volume_rows DELETE WHERE 1", true);
    may("writer", "ALTER TABLE volume_rows UPDATE n_events = 1 WHERE 1", false);
    may("writer", "TRUNCATE TABLE volume_rows", false);
    may("writer", "CREATE TABLE t (a Int8) ENGINE = Memory", false);
}

/// Goal: an event is there as it came, with its envelope as columns. Method: one row of many.
#[test]
fn an_event_is_there_as_it_came() {
    let database = Real::shared().database("events");
    must(&sink(&database.settings("writer")), &events("e", 1, 1_000, 0..10));
    let rows = database.rows(
        "SELECT tenant, source, id, type, subject, toString(time) AS time, feed, offset, data, JSONExtractString(event, 'id') AS again \
         FROM events WHERE id = 'e-7'",
    );
    let expected = serde_json::json!({
        "tenant": "acme", "source": "/test", "id": "e-7", "type": "customer.identified",
        "subject": "C-1", "time": "2026-01-01 00:00:00.123", "feed": "log", "offset": 7,
        "data": "{\"customer\":\"C-7\"}", "again": "e-7",
    });
    assert_eq!(rows, [expected]);
}
