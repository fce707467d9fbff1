//! Goal: no statement does anything but read: nothing is written, attached, loaded, set, or read
//! from elsewhere. Method: a list of attempts, each refused, before and after which the views and
//! the folder say the same.

use serde_json::{Value, json};

use crate::asking::{Asked, TENANT, events};

/// What must be refused as not allowed, if it is understood at all.
const ATTEMPTS: &[&str] = &[
    // writing
    "INSERT INTO orders (\"order\") VALUES ('O-1')",
    "UPDATE orders SET status = 'paid'",
    "DELETE FROM customers",
    "REPLACE INTO customers (customer) VALUES ('C-1')",
    "WITH x AS (SELECT 1) DELETE FROM orders",
    "INSERT INTO catalogue VALUES ('a', 'b', 'c', 1, 1, 'd')",
    "UPDATE sqlite_master SET sql = 'x'",
    "EXPLAIN DELETE FROM orders",
    // things of one's own
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE t AS SELECT * FROM orders",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE INDEX i ON orders (status)",
    "CREATE TRIGGER g AFTER INSERT ON orders BEGIN SELECT 1; END",
    "CREATE TEMP TRIGGER g AFTER INSERT ON orders BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE f USING fts5(x)",
    "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
    "CREATE VIRTUAL TABLE t USING csv(filename='/etc/passwd')",
    "DROP TABLE orders",
    "DROP TABLE IF EXISTS customers",
    "ALTER TABLE orders RENAME TO o",
    "ALTER TABLE orders ADD COLUMN x",
    "ANALYZE",
    "ANALYZE orders",
    "REINDEX",
    // files
    "ATTACH 'millstream-attempt.db' AS other",
    "ATTACH ':memory:' AS other",
    "ATTACH DATABASE 'file:millstream-attempt.db?mode=rwc' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO 'millstream-attempt.db'",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('millstream-attempt.db', 'x')",
    "SELECT load_extension('millstream-attempt.so')",
    "SELECT edit('x')",
    "SELECT fts3_tokenizer('simple')",
    // settings
    "PRAGMA writable_schema = ON",
    "PRAGMA temp_store_directory = '/'",
    "PRAGMA hard_heap_limit = 0",
    "PRAGMA database_list",
    "PRAGMA table_info(orders)",
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = WAL",
    "SELECT * FROM pragma_database_list",
    "SELECT count(*) FROM pragma_database_list",
    "SELECT * FROM pragma_table_info('orders')",
    "SELECT name FROM pragma_function_list",
    "SELECT * FROM dbstat",
    "SELECT count(*) FROM dbstat",
    "SELECT * FROM sqlite_master",
    "SELECT count(*) FROM sqlite_schema",
    "SELECT * FROM sqlite_temp_master",
    // transactions
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "RELEASE s",
    // memory for nothing
    "SELECT zeroblob(1000000)",
    "SELECT randomblob(1000000)",
    "SELECT json_patch('{}', '{}')",
    // behind what is allowed
    "SELECT 1; DELETE FROM orders",
    "SELECT 1; PRAGMA writable_schema = ON; SELECT 2",
    "SELECT (SELECT load_extension('x'))",
    "WITH x AS (SELECT * FROM sqlite_schema) SELECT count(*) FROM x",
];

#[test]
fn nothing_but_reading() {
    let asked = Asked::of(&events(3, 2_000), 1_800_000_000_000, 1);
    let state = || asked.rows("SELECT status, count(*), sum(amount) FROM orders GROUP BY status");
    let before = state();
    for attempt in ATTEMPTS {
        let (status, answer) = asked.sql(attempt, json!([]));
        let code = answer["code"].as_str().unwrap_or("");
        let refused = matches!(code, "sql/not-allowed" | "sql/statement");
        assert!(status >= 400 && refused, "{attempt}: {status} {answer}");
        // What exists is refused because it is not allowed; what does not exist is not understood.
        let known = !attempt.contains("readfile")
            && !attempt.contains("writefile")
            && !attempt.contains("edit(")
            && !attempt.contains("csv");
        if known && code == "sql/statement" {
            let told = answer["detail"].as_str().unwrap();
            let elsewhere = ["no such", "may not be", "cannot", "unable", "near"];
            assert!(elsewhere.iter().any(|it| told.contains(it)), "{attempt}: {told}");
        }
    }
    assert!(ATTEMPTS.len() >= 30);
    assert_eq!(state(), before);
    for left in ["millstream-attempt.db", "millstream-attempt.so"] {
        assert!(!std::path::Path::new(left).exists(), "{left} was made");
    }
}

/// Goal: what only reads and computes is not refused by mistake. Method: one of each kind.
#[test]
fn what_reads_is_allowed() {
    let asked = Asked::of(&events(3, 2_000), 1_800_000_000_000, 1);
    for sql in [
        "SELECT count(*) FROM orders",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT sum(i) FROM n",
        "SELECT count(*) FROM (SELECT 1 UNION SELECT 2)",
        "WITH mine AS (SELECT * FROM orders) SELECT count(*) FROM mine",
        "SELECT key, value FROM customers, json_each(spend) LIMIT 3",
        "SELECT count(*) FROM orders, json_each(lines)",
        "SELECT status, rank() OVER (ORDER BY amount) FROM orders LIMIT 3",
        "SELECT group_concat(DISTINCT status) FROM orders",
        "SELECT * FROM orders WHERE status IN (SELECT status FROM orders_by_status) LIMIT 1",
        "SELECT date(as_of(), '-7 days'), typeof(as_of()), upper('a') || printf('%05d', 7)",
        "SELECT o.\"order\" FROM orders o LEFT JOIN customers c USING (customer) LIMIT 1",
        "EXPLAIN QUERY PLAN SELECT * FROM orders WHERE \"order\" = 'O-1'",
        "VALUES (1), (2)",
        "SELECT count(*) FROM catalogue",
        "SELECT 1 -- a comment; with a semicolon",
        "SELECT 1;;  ",
    ] {
        let (status, answer) = asked.sql(sql, Value::Null);
        assert_eq!(status, 200, "{sql}: {answer}");
    }
    let path = format!("/v1/sql?tenant={TENANT}");
    for nothing in ["", "   ", ";", "-- nothing", "/* nothing */"] {
        let (status, answer) = asked.post(&path, &json!({"sql": nothing}));
        assert_eq!(status, 400, "{nothing:?}: {answer}");
    }
}
