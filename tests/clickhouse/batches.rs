//! Batches as the outbox makes them, and what must be in the tables after them.

use std::collections::BTreeMap;

use millstream::config::ClickHouseSettings;
use millstream::engine::definitions;
use millstream::sinks::clickhouse::{ClickHouse, Writer};
use millstream::sinks::{
    Batch, Declared, Delivery, Fault, Limits, Mark, OutEvent, Packed, Sink, Stream,
};
use schemas::names::Name;
use schemas::rows::{Row, Value, ViewDef};

use crate::server::{Database, block_on};

/// A view's definition.
pub fn def(view: &str) -> &'static ViewDef {
    definitions().iter().find(|it| it.name == view).unwrap()
}

/// The sink of a database, as this process writes there.
pub fn sink(settings: &ClickHouseSettings) -> ClickHouse {
    sink_of(settings, "one deployment", &crate::wait::unique("process"))
}

pub fn sink_of(settings: &ClickHouseSettings, deployment: &str, process: &str) -> ClickHouse {
    let mut streams = vec![Stream::Events];
    for view in definitions() {
        streams.extend([Stream::Changes(view), Stream::Rows(view)]);
    }
    streams.push(Stream::Marks);
    let declared = Declared { kind: "clickhouse", streams, limits: Limits::default() };
    ClickHouse::new(settings, declared, Writer::new(deployment, process))
}

/// One cell of `volume`: a row that is quickly made.
pub fn cell(n: usize, n_events: i64) -> Row {
    let minute = 1_700_000_000_000_000 / 60_000_000 * 60_000_000;
    let values =
        vec![Value::Time(minute), Value::Text(format!("kind.{n}").into()), Value::Int(n_events)];
    Row { values }
}

/// Rows of `volume` by number: how many events each has; none: it is gone.
pub type Cells = BTreeMap<usize, Option<i64>>;

/// So many, each with this many events.
pub fn cells(numbers: std::ops::Range<usize>, n_events: i64) -> Cells {
    numbers.map(|it| (it, Some(n_events))).collect()
}

/// A batch of cells at an epoch.
pub fn batch(id: &str, changes: bool, incarnation: u64, epoch: u64, cells: &Cells) -> Batch {
    let mut packed = Packed::default();
    for (n, n_events) in cells {
        let name = Name::new("acme", &format!("m/kind.{n}"));
        let row = n_events.map(|it| cell(*n, it));
        packed.row(&name, epoch, row.as_ref());
    }
    let volume = def("volume");
    let stream = if changes { Stream::Changes(volume) } else { Stream::Rows(volume) };
    Batch::of(id, stream, incarnation, epoch, packed)
}

/// A batch of events with these numbers.
pub fn events(id: &str, incarnation: u64, epoch: u64, numbers: std::ops::Range<u64>) -> Batch {
    let what = ("customer.identified", "2026-01-01T00:00:00.123456Z");
    events_as(id, (incarnation, epoch), numbers, what)
}

/// The same, of this type and time.
pub fn events_as(
    id: &str,
    (incarnation, epoch): (u64, u64),
    numbers: std::ops::Range<u64>,
    (kind, time): (&str, &str),
) -> Batch {
    let mut packed = Packed::default();
    for n in numbers {
        let json = format!(
            r#"{{"specversion":"1.0","id":"e-{n}","source":"/test","type":"{kind}","time":"{time}","tenant":"acme","subject":"C-1","data":{{"customer":"C-{n}"}}}}"#
        );
        let (appended_ms, offset) = (1_767_225_600_000 + n, n);
        packed.event(&OutEvent {
            epoch,
            appended_ms,
            feed: "log",
            partition: 0,
            offset,
            json: json.as_bytes(),
        });
    }
    Batch::of(id, Stream::Events, incarnation, epoch, packed)
}

/// A mark.
pub fn mark(id: &str, incarnation: u64, epoch: u64, forked_at: u64, whole: bool) -> Batch {
    let mut packed = Packed::default();
    packed.mark(&Mark { epoch, forked_at, whole });
    Batch::of(id, Stream::Marks, incarnation, epoch, packed)
}

/// Looks and delivers, once.
pub fn hand(sink: &ClickHouse, batch: &Batch) -> Delivery {
    block_on(async {
        match sink.ready().await {
            Delivery::Durable => sink.deliver(batch).await,
            refused => refused,
        }
    })
}

/// Delivers, and it is durable.
pub fn must(sink: &ClickHouse, batch: &Batch) {
    let came = hand(sink, batch);
    assert_eq!(came, Delivery::Durable, "{}", batch.id);
}

/// Whose fault, and the code of the report.
pub fn fault(came: &Delivery) -> (Option<Fault>, &'static str) {
    match came {
        Delivery::Durable => panic!("it is durable"),
        Delivery::Retry { report, .. } => (None, report.code),
        Delivery::Refused { fault, report } => (Some(*fault), report.code),
    }
}

/// What a reader of `volume` sees: number and events, in some view of it.
pub fn seen(database: &Database<'_>, from: &str) -> BTreeMap<usize, i64> {
    let sql = format!("SELECT type, n_events FROM {from} WHERE tenant = 'acme'");
    let rows = database.rows(&sql);
    let of = |it: &serde_json::Value| {
        let n = it["type"].as_str().unwrap().strip_prefix("kind.").unwrap().parse().unwrap();
        (n, it["n_events"].as_i64().unwrap())
    };
    let found: BTreeMap<usize, i64> = rows.iter().map(of).collect();
    assert_eq!(found.len(), rows.len(), "{from}: keys that are there twice");
    found
}

/// The rows that are there, of these.
pub fn there(cells: &Cells) -> BTreeMap<usize, i64> {
    cells.iter().filter_map(|(n, it)| it.map(|it| (*n, it))).collect()
}
