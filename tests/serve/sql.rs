//! SQL over HTTP: an instant that is let go, a client that goes away.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, post};
use crate::world::{order, settings, start};

/// Takes its time (some tenths of a second), and reads the orders only then.
fn slow(steps: u64) -> String {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {steps}), \
         slow AS MATERIALIZED (SELECT max(i) AS i FROM n) \
         SELECT slow.i, count(*) FROM slow CROSS JOIN orders"
    );
    json!({ "sql": sql }).to_string()
}

/// Goal: a statement of milliseconds holds a pin and lets it go; a longer one a lease, which can be
/// taken away, and then it says so and gives no rows. Method: a world in which instants are let go
/// by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_statement_can_lose_its_instant() {
    let server = start(settings()).await;
    server.world.epoch("default", &[("O-1", Some(order("O-1", "paid", 5)))]);
    let clock = server.world.clock.clone();
    let short = json!({"sql": "SELECT sum(amount) FROM orders"}).to_string();
    let answer = post(server.address, "/v1/sql", "application/json", &short).await;
    assert_eq!(answer.json()["results"][0]["rows"], json!([[5]]));
    assert_eq!(answer.header("millstream-as-of").unwrap(), clock_epoch(&answer));
    assert_eq!((clock.pins.load(SeqCst), clock.leases.lock().unwrap().len()), (0, 0));

    // As long as it needs to be leased; the instant stands, so it is answered.
    let answer = post(server.address, "/v1/sql", "application/json", slow(3_000_000)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((clock.pins.load(SeqCst), clock.leases.lock().unwrap().len()), (0, 1));

    clock.leases.lock().unwrap().clear();
    let address = server.address;
    let asked = millstream::tasks::spawn("asks", async move {
        post(address, "/v1/sql", "application/json", slow(3_000_000)).await
    });
    while clock.leases.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.world.epoch("default", &[("O-1", Some(order("O-1", "paid", 6)))]);
    clock.revoke();
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (410, &json!("sql/gone")));
    assert_eq!(clock.pins.load(SeqCst), 0);
}

fn clock_epoch(answer: &crate::client::Answer) -> String {
    answer.json()["as_of"]["epoch"].to_string()
}

/// Goal: nobody computes for a client that has gone. Method: one goes away in the middle of a
/// statement that would take minutes, on every thread there is; the next client is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_frees_its_thread() {
    let server = start(settings()).await;
    server.world.epoch("default", &[("O-1", Some(order("O-1", "paid", 5)))]);
    for _ in 0..4 {
        let mut client = Client::connect(server.address).await;
        let body = slow(10_000_000_000);
        let head = format!(
            "POST /v1/sql HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        client.send(head).await;
        while server.world.clock.pins.load(SeqCst) == 0
            && server.world.clock.leases.lock().unwrap().is_empty()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(client);
    }
    let begun = millstream::clock::monotonic();
    let short = json!({"sql": "SELECT sum(amount) FROM orders"}).to_string();
    let answer = post(server.address, "/v1/sql", "application/json", &short).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Far below the ten seconds that each of them may take.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
