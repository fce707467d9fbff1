//! Goal: a statement that asks for too much is stopped with a clear word, and nobody else notices.
//! Method: one engine with small limits (SQLite's memory limit is the process's: a test program of
//! its own), and statements that go over each.

#![allow(missing_docs, dead_code, clippy::disallowed_methods)]

#[path = "sql/asking.rs"]
mod asking;
#[path = "../benches/common/mod.rs"]
mod http;
#[path = "support/temp_dir.rs"]
mod temp_dir;

use std::time::{Duration, Instant};

use asking::{Asked, events};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_millis(1_500);
/// Goes on until it is stopped.
const FOR_EVER: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                        SELECT count(*) FROM n";

fn numbers(n: u64, then: &str) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {n}) SELECT {then}"
    )
}

#[test]
fn too_much_is_told_and_stopped() {
    let asked = Asked::with(&events(2, 4_000), 1_772_000_000_000, |settings| {
        settings.sql.threads = 1;
        settings.sql.max_waiting = 1;
        settings.sql.timeout = TIMEOUT;
        settings.sql.max_rows = 1_000;
        settings.sql.max_bytes = 64 << 10;
        settings.sql.memory_max = 8 << 20;
    });
    let check = |sql: &str, status: u16, code: &str| -> Value {
        let (found, answer) = asked.sql(sql, json!([]));
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{sql}: {answer}");
        let page = format!("docs/errors/{}.md", code.replace('/', "-"));
        assert_eq!(answer["type"], json!(page));
        assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&page).exists());
        // Whatever was stopped, the next one is answered.
        let (status, next) = asked.sql("SELECT count(*) FROM orders", json!([]));
        assert_eq!(status, 200, "after {sql}: {next}");
        answer
    };

    // Rows and bytes: all or nothing, exactly at the limit.
    assert_eq!(asked.sql(&numbers(1_000, "i FROM n"), json!([])).0, 200);
    let told = check(&numbers(1_001, "i FROM n"), 422, "sql/too-many-rows");
    assert_eq!(told["limit_rows"], 1_000);
    let told = check(&numbers(900, "printf('%0100d', i) FROM n"), 422, "sql/too-large");
    assert_eq!(told["limit_bytes"], 64 << 10);
    check("SELECT length(printf('%02000000d', 1))", 422, "sql/too-large");

    // Memory: sorting, grouping, one large text; nothing goes to a file.
    let files = || std::fs::read_dir(std::env::temp_dir()).unwrap().count();
    let before = files();
    for sql in [
        numbers(
            400_000,
            "max(t) FROM (SELECT printf('%0100d', i) AS t FROM n ORDER BY t LIMIT -1)",
        ),
        numbers(400_000, "count(*) FROM (SELECT 1 FROM n GROUP BY printf('%0100d', i))"),
        numbers(400_000, "count(DISTINCT printf('%0100d', i)) FROM n"),
    ] {
        check(&sql, 422, "sql/memory");
    }
    assert!(files() <= before + 2, "files were made: {before} before, {} now", files());

    // Time: a loop, a join of everything with everything, one that waits its turn.
    for sql in [
        FOR_EVER.to_string(),
        "SELECT count(*) FROM orders a, orders b, orders c, orders d WHERE a.amount + b.amount = c.amount * d.amount".into(),
        "SELECT count(*) FROM volume a, volume b, volume c, volume d, volume e".into(),
        // Functions of which SQLite's own would take minutes for one call.
        numbers(1_000_000, "sum(instr(printf('%0900000d', 0), printf('%0400000d', i))) FROM n"),
        numbers(1_000_000, "sum(length(ltrim(printf('%0900000d', 0), replace(printf('%0400000d', i), '0', '1') || '0'))) FROM n"),
    ] {
        let begun = Instant::now();
        let told = check(&sql, 422, "sql/timeout");
        let took = begun.elapsed();
        assert_eq!(told["limit_ms"], TIMEOUT.as_millis() as u64);
        assert!(took >= TIMEOUT && took < TIMEOUT * 4, "{sql}: {took:?}");
    }

    // Statements at once: one runs, one waits, the next is sent away; and the one that waited is
    // late before it begins.
    let statuses = std::thread::scope(|scope| {
        let asking: Vec<_> =
            (0..6).map(|_| scope.spawn(|| asked.sql(FOR_EVER, json!([])))).collect();
        let answers = asking.into_iter().map(|it| it.join().unwrap());
        answers
            .map(|(status, it)| (status, it["code"].as_str().unwrap().to_string()))
            .collect::<Vec<_>>()
    });
    let busy = statuses.iter().filter(|it| **it == (503, "sql/busy".into())).count();
    let late = statuses.iter().filter(|it| **it == (422, "sql/timeout".into())).count();
    assert!(busy >= 3 && late >= 1 && busy + late == 6, "{statuses:?}");
    assert_eq!(asked.sql("SELECT 1", json!([])).0, 200);
}
