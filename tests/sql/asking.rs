//! An engine over generated events that are spread over weeks, and a client that asks it.

use std::net::SocketAddr;

use millstream::commands::replay::Clock;
use millstream::config::Settings;
use millstream::generator::{Generator, Shape, TENANTS};
use millstream::run::{Ended, Plan, Rebuild, Reread, Resolver, Source, start};
use schemas::events::{Data, Event};
use serde_json::{Value, json};

use crate::http::{Client, post};
use crate::temp_dir::TempDir;

/// Each second of the generator becomes a day and a half: weeks in some thousand events.
const STRETCH: i64 = 130_000;
/// What is promised is promised within some days.
const PROMISED: i64 = 9_000;

pub(crate) const TENANT: &str = TENANTS[0];

/// Events of the generator, far apart.
pub(crate) fn events(seed: u64, n: usize) -> Vec<Event<'static>> {
    let shape = Shape::of(seed);
    let start = shape.start_ms as i64 * 1_000;
    let stretched = |it: Vec<u8>| {
        // For as long as the test runs: events borrow from their text.
        let mut event = schemas::decode::structured(it.leak()).unwrap();
        let was = event.time;
        // Not on whole milliseconds, so that what is cut off would be seen.
        event.time = start + (was - start) * STRETCH + (was % 977);
        if let Data::OrderPlaced(order) = &mut event.data {
            order.promised_at = order.promised_at.map(|it| event.time + (it - was) * PROMISED);
        }
        event
    };
    Generator::new(shape).take(n).map(stretched).collect()
}

/// An engine that has applied some events, at an instant.
pub(crate) struct Asked {
    address: SocketAddr,
    ended: Option<Ended>,
    _dir: TempDir,
}

impl Asked {
    /// `now`: milliseconds.
    pub(crate) fn of(events: &[Event<'static>], now: u64, workers: usize) -> Asked {
        Asked::with(events, now, |settings| settings.engine.workers = workers)
    }

    /// The same with some settings.
    pub(crate) fn with(
        events: &[Event<'static>],
        now: u64,
        change: impl FnOnce(&mut Settings),
    ) -> Asked {
        let dir = TempDir::new();
        let path = dir.0.join("events.jsonl");
        let lines: Vec<u8> = events
            .iter()
            .flat_map(|it| [schemas::encode::structured(it), b"\n".to_vec()].concat())
            .collect();
        std::fs::write(&path, lines).unwrap();
        let mut settings = Settings::default_in(&dir.0.join("data"));
        settings.serve.listen = "127.0.0.1:0".parse().unwrap();
        change(&mut settings);
        let source = Source { name: "events".into(), path, mapping: None, repeat: 1, rate: None };
        let plan = Plan {
            log: false,
            sources: vec![source],
            kafka: vec![],
            state: None,
            models: None,
            seals: false,
            rebuild: Rebuild::default(),
            until_end: true,
            resolver: Resolver::default(),
            reread: Reread::default(),
            told: None,
            sinks: vec![],
            clock: Clock::Instant(now),
            serve: true,
        };
        let running = start(settings, plan).unwrap();
        let address = running.address().unwrap();
        let ended = running.drain().unwrap();
        let counts = ended.book.ledger(Value::Null).partitions[0].counts;
        assert_eq!(counts.applied, events.len() as u64, "{counts:?}");
        Asked { address, ended: Some(ended), _dir: dir }
    }

    /// Status and answer.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let mut client = Client::connect(self.address);
        let request = post(path, "application/json", body.to_string().as_bytes());
        let (status, body) = client.send(&request);
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Status and answer, as JSON.
    pub(crate) fn sql(&self, sql: &str, params: Value) -> (u16, Value) {
        let path = format!("/v1/sql?tenant={TENANT}");
        let (status, text) = self.post(&path, &json!({"sql": sql, "params": params}));
        (status, serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}")))
    }

    /// Columns and rows of one statement.
    pub(crate) fn rows(&self, sql: &str) -> (Vec<String>, Vec<Vec<Value>>) {
        let (status, answer) = self.sql(sql, json!([]));
        assert_eq!(status, 200, "{sql}: {answer}");
        assert_eq!(answer["results"].as_array().unwrap().len(), 1);
        let result = &answer["results"][0];
        (
            serde_json::from_value(result["columns"].clone()).unwrap(),
            serde_json::from_value(result["rows"].clone()).unwrap(),
        )
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.stop().unwrap();
        }
    }
}
