//! Goal: what is pushed down to the maps changes no answer; formats, parameters and errors are as
//! the page says; tenants are apart. Method: the same conditions on the tables and on a plain copy
//! that SQLite makes of them; requests by hand.

use serde_json::{Value, json};

use crate::asking::{Asked, TENANT, events};

fn asked() -> Asked {
    Asked::of(&events(5, 6_000), 1_772_000_000_000, 2)
}

/// Goal: every comparison that is pushed down keeps what SQLite keeps. Method: conditions over
/// every kind of column, on the table, and on a copy of it into which nothing can be pushed.
#[test]
fn pushing_down_changes_nothing() {
    let asked = asked();
    let (_, some) =
        asked.rows("SELECT \"order\", customer FROM orders ORDER BY amount DESC LIMIT 1");
    let (order, customer) = (some[0][0].as_str().unwrap(), some[0][1].as_str().unwrap());
    let conditions = [
        ("orders", format!("\"order\" = '{order}'")),
        ("orders", format!("\"order\" IN ('{order}', 'O-1', 'nobody', NULL)")),
        ("orders", format!("\"order\" > '{order}' AND \"order\" <= 'O-9'")),
        ("orders", format!("customer = '{customer}' OR \"order\" = '{order}'")),
        ("orders", format!("customer = '{customer}' AND status <> 'paid'")),
        ("orders", "status = 'delivered' OR status = 'paid' OR late".into()),
        ("orders", "status = 'DELIVERED' COLLATE NOCASE".into()),
        ("orders", "status IS NULL OR status = 'cancelled'".into()),
        ("orders", "status > 'd' AND status < 'q'".into()),
        ("orders", "status BETWEEN 'delivered' AND 'paid'".into()),
        ("orders", "status LIKE 'P%'".into()),
        ("orders", "status = 5 OR status = NULL".into()),
        ("orders", "late = 1".into()),
        ("orders", "late = 0 AND late <> 1".into()),
        ("orders", "late = 'true'".into()),
        ("orders", "late > 0".into()),
        ("orders", "NOT late".into()),
        ("orders", "amount = 5000 OR amount < 1000".into()),
        ("orders", "amount >= 20000 AND amount <= 60000.5".into()),
        ("orders", "amount > '20000'".into()),
        ("orders", "amount > 9223372036854775807 OR amount <= 9223372036854775807".into()),
        ("orders", "n_lines = 2 AND amount > 100".into()),
        ("orders", "placed_at >= '2026-01-10' AND placed_at < '2026-01-12'".into()),
        ("orders", "placed_at > '2026-01-10T12:30' AND placed_at <= '2026-01-20'".into()),
        ("orders", "placed_at = (SELECT max(placed_at) FROM orders)".into()),
        ("orders", "placed_at <= (SELECT avg(1) || placed_at FROM orders)".into()),
        ("orders", "placed_at < '2026-01-10T00:00:00Z' OR placed_at > '2026-1'".into()),
        ("orders", "placed_at <> delivered_at".into()),
        ("orders", "substr(placed_at, 1, 10) = '2026-01-05'".into()),
        ("orders", "cancelled_at IS NOT NULL".into()),
        ("orders", "cancelled <> '{}'".into()),
        ("volume", "minute = (SELECT min(minute) FROM volume)".into()),
        ("volume", "minute = '2026-01-01T00:00:00.000Z' AND type = 'order.placed'".into()),
        ("volume", "minute = '2026-01-01' AND type = 'order.placed'".into()),
        ("volume", "type = 'order.placed' AND minute > '2026-01-03'".into()),
        ("top_customers", "currency = 'EUR' AND rank = 3".into()),
        ("top_customers", "rank <= 3".into()),
        ("top_customers", "currency = 'EUR' AND rank = '003'".into()),
        ("orders_by_status", "currency = 'EUR' AND status = 'paid'".into()),
        ("orders_by_status", "status = 'paid' OR currency = 'EUR'".into()),
        ("cases", "severity = 2 AND status = 'open'".into()),
        ("cases", "severity IN (1, 3) AND queue >= 'b'".into()),
        ("cases", "assigned_at > opened_at".into()),
        ("customers", "country = 'DE' AND n_orders > 1".into()),
        ("customers", format!("customer = '{customer}'")),
        ("customers", format!("customer = CAST('{customer}' AS BLOB)")),
        ("customers", "customer = 'a/b' OR customer = '%'".into()),
        ("customers", "last_seen_at >= first_seen_at AND n_ratings".into()),
        ("catalogue", "view = 'orders' AND key_part = 1".into()),
        ("catalogue", "view = 'orders' AND field = 'order'".into()),
    ];
    let mut some = 0;
    for (table, condition) in conditions {
        // A limit keeps SQLite from moving the condition into it.
        let copy = format!("(SELECT * FROM {table} LIMIT -1)");
        let count = |from: &str| {
            asked.rows(&format!("SELECT count(*), sum(length(x.rowed)) FROM (SELECT 'row' AS rowed FROM {from} AS {table} WHERE {condition}) x"))
        };
        let all = |from: &str| {
            let (_, mut rows) = asked
                .rows(&format!("SELECT * FROM {from} AS {table} WHERE {condition} LIMIT 100000"));
            rows.sort_by_key(|it| json!(it).to_string());
            rows
        };
        let (expected, found) = (all(&copy), all(table));
        assert_eq!(found.len(), expected.len(), "{table} WHERE {condition}");
        assert_eq!(found, expected, "{table} WHERE {condition}");
        assert_eq!(count(table), count(&copy), "{table} WHERE {condition}");
        some += usize::from(!expected.is_empty());
    }
    assert!(some > 35, "only {some} conditions find a row: they say little");
}

/// Goal: joins are by key where there is one, and right. Method: the plan, and the same join over
/// copies.
#[test]
fn joins_are_by_key() {
    let asked = asked();
    let join = |orders: &str, customers: &str| {
        asked.rows(&format!(
            "SELECT c.country, count(*), sum(o.amount) FROM {orders} o JOIN {customers} c \
             ON c.customer = o.customer WHERE o.status = 'delivered' GROUP BY c.country ORDER BY 1"
        ))
    };
    let copied = join("(SELECT * FROM orders LIMIT -1)", "(SELECT * FROM customers LIMIT -1)");
    let found = join("orders", "customers");
    assert!(found.1.len() > 3);
    assert_eq!(found, copied);
    let (_, plan) = asked.rows(
        "EXPLAIN QUERY PLAN SELECT * FROM orders o JOIN customers c ON c.customer = o.customer",
    );
    let plan = json!(plan).to_string();
    assert!(plan.contains("key|=0|") && plan.contains("scan||"), "{plan}");
}

/// Goal: a tenant sees its own rows, and who names another sees that one's. Method: both tenants of
/// the generator, and one that has nothing.
#[test]
fn tenants_are_apart() {
    let asked = asked();
    let count = |tenant: &str| {
        let body = json!({"sql": "SELECT count(*), (SELECT count(*) FROM customers), (SELECT count(*) FROM volume) FROM orders"});
        let (status, text) = asked.post(&format!("/v1/sql?tenant={tenant}"), &body);
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["results"][0]["rows"][0].clone()
    };
    let (acme, globex) = (count("acme"), count("globex"));
    assert!(acme[0].as_i64() > Some(0) && globex[0].as_i64() > Some(0) && acme != globex);
    assert_eq!(count("nobody"), json!([0, 0, 0]));
    assert_eq!(count("default"), json!([0, 0, 0]));
}

#[test]
fn several_statements_are_one_instant() {
    let asked = asked();
    let (status, answer) = asked
        .sql("SELECT as_of() AS at; SELECT count(*) AS n, count(*) AS n FROM orders;", json!([]));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["results"][0]["rows"][0][0], answer["as_of"]["time"]);
    assert_eq!(answer["results"][1]["columns"], json!(["n", "n_2"]));
    assert_eq!(answer["n_rows"], 2);
    let (status, answer) = asked.sql("SELECT ?; SELECT 2", json!([1]));
    assert_eq!((status, &answer["code"]), (400, &json!("sql/statement")), "{answer}");
}

#[test]
fn parameters_take_their_places() {
    let asked = asked();
    let (status, answer) = asked.sql(
        "SELECT ?1, typeof(?1), ?2, typeof(?2), typeof(?3), typeof(?4)",
        json!(["it's", 5, null, 1.5]),
    );
    assert_eq!(status, 200, "{answer}");
    let expected = json!(["it's", "text", 5, "integer", "null", "real"]);
    assert_eq!(answer["results"][0]["rows"][0], expected);
    let (_, answer) = asked.sql("SELECT :a || $b || @c", json!({"a": "x", "b": "y", "c": "z"}));
    assert_eq!(answer["results"][0]["rows"][0][0], "xyz");
    for (sql, params) in [
        ("SELECT ?", json!([])),
        ("SELECT 1", json!([1])),
        ("SELECT :a", json!({"b": 1})),
        ("SELECT :a", json!({"a": 1, "b": 1})),
    ] {
        let (status, answer) = asked.sql(sql, params);
        assert_eq!((status, &answer["code"]), (400, &json!("sql/parameters")), "{answer}");
    }
    let (status, answer) =
        asked.sql("SELECT * FROM customers WHERE customer = ?", json!(["' OR 1 --"]));
    assert_eq!((status, &answer["n_rows"]), (200, &json!(0)));
}

#[test]
fn every_format() {
    let asked = asked();
    let body = json!({"sql": "SELECT 'a,\"b\"' AS t, 1 AS n, NULL AS z, '=1+1' AS f"});
    let of = |format: &str| asked.post(&format!("/v1/sql?tenant={TENANT}&format={format}"), &body);
    assert_eq!(of("csv"), (200, "t,n,z,f\r\n\"a,\"\"b\"\"\",1,,'=1+1\r\n".into()));
    assert_eq!(
        of("jsonl"),
        (200, "{\"t\":\"a,\\\"b\\\"\",\"n\":1,\"z\":null,\"f\":\"=1+1\"}\n".into())
    );
    let (status, text) = of("json");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, 200);
    assert_eq!(answer["results"][0]["rows"][0], json!(["a,\"b\"", 1, null, "=1+1"]));
    let (status, text) = of("xml");
    assert!(status == 400 && text.contains("serve/parameter"), "{text}");
}

/// Goal: who writes a wrong statement is told what and where. Method: mistakes, with SQLite's
/// words and the place that they are at.
#[test]
fn mistakes_are_told_with_their_place() {
    let asked = asked();
    let check = |sql: &str, words: &str, at: Option<(u64, u64)>| {
        let (status, answer) = asked.sql(sql, json!([]));
        assert_eq!((status, &answer["code"]), (400, &json!("sql/statement")), "{sql}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{sql}: {detail}");
        let found = answer["line"].as_u64().zip(answer["column"].as_u64());
        assert_eq!(found, at, "{sql}: {answer}");
        assert!(answer["as_of"]["epoch"].as_u64() > Some(0) && answer["fix"].is_string());
    };
    check("SELCT 1", "syntax error", Some((1, 1)));
    check("SELECT 1;\nSELECT\n  stauts FROM orders", "no such column: stauts", Some((3, 3)));
    check("SELECT * FROM order_s", "no such table: order_s", None);
    check("SELECT \"paid\" FROM orders", "no such column", Some((1, 8)));
    check("SELECT nobody(1)", "no such function: nobody", Some((1, 8)));
    check("SELECT sum(9223372036854775807) FROM orders", "integer overflow", None);
    check("SELECT json('{')", "malformed JSON", None);
    check("SELECT 1 WHERE (", "incomplete input", None);
    let long = format!("SELECT {}", "1+".repeat(70_000));
    check(&long, "expected at most 131072 bytes", None);
}
