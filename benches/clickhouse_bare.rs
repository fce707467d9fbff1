//! How many rows a second does the `clickhouse` crate insert by itself, with typed rows and its own
//! validation? Unit: rows/s. What the sink's rate is a share of (scripts/bench-clickhouse).
//!
//! The rows are those that the sink has just written: changes of orders and of customers, read
//! back, and inserted into tables of the same kind, as large at once as the sink's batches are.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use clickhouse::{Client, Row};
use hyper_util::client::legacy::connect::HttpConnector;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// As the sink's batches by default.
const BATCH: usize = 200_000;

type Money = Vec<(String, i64)>;

#[derive(Clone, Debug, Row, Serialize, Deserialize)]
struct Order {
    tenant: String,
    key_text: String,
    order: String,
    status: Option<i8>,
    customer: Option<String>,
    channel: Option<String>,
    currency: Option<String>,
    amount: Option<i64>,
    n_lines: i64,
    placed_at: Option<i64>,
    promised_at: Option<i64>,
    late: Option<bool>,
    delivered_at: Option<i64>,
    cancelled_at: Option<i64>,
    cancelled: Money,
    cancel_reason: Option<String>,
    returned_at: Option<i64>,
    returned: Money,
    return_reason: Option<String>,
    lines: String,
    timeline: String,
    epoch: u64,
    incarnation: u64,
    diff: i8,
}

#[derive(Clone, Debug, Row, Serialize, Deserialize)]
struct Customer {
    tenant: String,
    key_text: String,
    customer: String,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    tier: Option<String>,
    language: Option<String>,
    country: Option<String>,
    time_zone: Option<String>,
    attributes: String,
    first_seen_at: i64,
    last_seen_at: i64,
    n_events: i64,
    n_orders: i64,
    spend: Money,
    cancelled: Money,
    returned: Money,
    n_ratings: i64,
    rating_sum: i64,
    n_cases: i64,
    n_open_cases: i64,
    epoch: u64,
    incarnation: u64,
    diff: i8,
}

async fn measured<T>(client: &Client, table: &str) -> (usize, Duration)
where
    T: clickhouse::RowOwned
        + clickhouse::RowWrite
        + Serialize
        + DeserializeOwned
        + for<'a> Row<Value<'a> = T>,
{
    let rows: Vec<T> =
        client.query(&format!("SELECT ?fields FROM {table}")).fetch_all().await.expect("rows");
    let run = |sql: String| async move { client.query(&sql).execute().await.expect("a table") };
    run(format!("DROP TABLE IF EXISTS bare_{table}")).await;
    run(format!("CREATE TABLE bare_{table} AS {table}")).await;
    let began = Instant::now();
    for (n, batch) in rows.chunks(BATCH).enumerate() {
        let insert = client.insert::<T>(&format!("bare_{table}")).await.expect("the table fits");
        let mut insert = insert
            .with_setting("insert_deduplication_token", format!("bare-{n}"))
            .with_setting("async_insert", "0")
            .with_setting("optimize_on_insert", "0");
        for row in batch {
            insert.write(row).await.expect("a row");
        }
        insert.end().await.expect("an insert");
    }
    let took = began.elapsed();
    run(format!("DROP TABLE bare_{table}")).await;
    (rows.len(), took)
}

fn main() {
    let (Ok(url), Ok(file)) = (std::env::var("BARE_URL"), std::env::var("BARE_PASSWORD_FILE"))
    else {
        // `cargo bench` runs every bench: without a server there is nothing to ask.
        println!(
            "BARE_URL and BARE_PASSWORD_FILE name a server that holds rows: scripts/bench-clickhouse"
        );
        return;
    };
    let password = std::fs::read_to_string(file).expect("a password");
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build(connector);
    let client = Client::with_http_client(http)
        .with_url(url)
        .with_user("admin")
        .with_password(password.trim())
        .with_database("millstream")
        .with_compression(clickhouse::Compression::None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (rows, seconds) = runtime.expect("a runtime").block_on(async {
        let orders = measured::<Order>(&client, "orders_changes").await;
        let customers = measured::<Customer>(&client, "customers_changes").await;
        (orders.0 + customers.0, (orders.1 + customers.1).as_secs_f64())
    });
    println!("{}", serde_json::json!({"rows": rows, "rows_per_s": rows as f64 / seconds}));
}
