//! How fast do foreign records become events, and how does that compare with native ones?
//!
//! Unit: records/s and ns a record, on one core; the best of several passes. Method: the first
//! lines of the common workload (or the file named as argument), decoded through the shipped
//! mapping; then the same events written as CloudEvents, decoded natively. Asked for: at most 1.5
//! times the time of native decoding; it fails where that is not kept.
//!
//! `cargo bench -p schemas --bench mapped_decode [-- FILE]`
#![allow(clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use schemas::events::{Data, Event};
use schemas::mapping::Mapping;

const MAPPING: &str = include_str!("../mappings/crm_workload.toml");
const LINES: &[u8] = include_bytes!("../tests/data/crm_first.jsonl");
/// Enough passes for the best of them to be undisturbed.
const PASSES: usize = 200;
/// The time of native decoding that decoding through a mapping may take.
const MOST: f64 = 1.5;
/// Records of one pass: some milliseconds, so that a pass seldom loses its core to others, and
/// too many for the branch predictor to learn by heart.
const RECORDS: usize = 10_000;

fn main() {
    let named = std::env::args().skip(1).find(|it| !it.starts_with('-'));
    let bytes = named.map_or_else(|| LINES.to_vec(), |it| std::fs::read(it).expect("the file"));
    let records: Vec<&[u8]> = bytes.split(|it| *it == b'\n').filter(|it| !it.is_empty()).collect();
    let mapping = Mapping::compile(MAPPING).expect("the shipped mapping");
    let native: Vec<Vec<u8>> = records.iter().map(|it| as_cloud_event(&mapping, it)).collect();
    let native: Vec<&[u8]> = native.iter().map(Vec::as_slice).collect();
    let size = bytes.len() / records.len();
    println!("{} records of {size} bytes", records.len());
    let checked = measure("checked to be JSON, nothing else", &records, |record| {
        let mut scanner = schemas::json::Scanner::new(record).expect("UTF-8");
        black_box(scanner.skip().expect("JSON"));
    });
    let mapped = measure("through the mapping", &records, |record| {
        mapping.decode(record, |event| drop(black_box(event))).expect("a record of the workload");
    });
    let size = native.iter().map(|it| it.len()).sum::<usize>() / native.len();
    println!("the same as CloudEvents of {size} bytes");
    let native = measure("natively", &native, |record| {
        drop(black_box(schemas::decode::structured(record).expect("an event")));
    });
    println!(
        "mapped takes {:.2} of native, {:.2} of checking alone",
        mapped / native,
        mapped / checked
    );
    assert!(mapped <= native * MOST, "mapped takes more than {MOST} of native");
}

/// Nanoseconds a record, best of the passes.
fn measure(what: &str, records: &[&[u8]], mut work: impl FnMut(&[u8])) -> f64 {
    let passes: Vec<&[&[u8]]> =
        records.chunks(RECORDS).filter(|it| it.len() == records.len().min(RECORDS)).collect();
    let mut best = f64::MAX;
    for pass in passes.iter().cycle().take(PASSES) {
        let start = Instant::now();
        pass.iter().for_each(|it| work(it));
        best = best.min(start.elapsed().as_secs_f64());
    }
    let n = passes[0].len() as f64;
    let (rate, nanos) = (n / best / 1e6, best * 1e9 / n);
    println!("  {what:<36} {rate:6.2} M records/s {nanos:8.1} ns/record");
    nanos
}

/// What a producer of ours would have written.
fn as_cloud_event(mapping: &Mapping, record: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    let decoded = mapping.decode(record, |event| written = written_out(&event).into_bytes());
    decoded.expect("a record of the workload");
    written
}

fn written_out(event: &Event<'_>) -> String {
    let quoted = |it: &str| serde_json::to_string(it).expect("text");
    let maybe = |it: &Option<schemas::events::Text<'_>>| {
        it.as_deref().map_or_else(|| "null".into(), quoted)
    };
    let data = match &event.data {
        Data::OrderPlaced(it) => format!(
            r#"{{"order":{},"customer":{},"currency":"EUR","lines":[{{"sku":{},"quantity":1,"unit_price":{}}}]}}"#,
            quoted(&it.order),
            quoted(&it.customer),
            quoted(&it.lines[0].sku),
            it.lines[0].unit_price
        ),
        Data::OrderStatusChanged(it) => format!(
            r#"{{"order":{},"status":"{}","customer":{}}}"#,
            quoted(&it.order),
            it.status.as_str(),
            maybe(&it.customer)
        ),
        Data::FeedbackSubmitted(it) => format!(
            r#"{{"customer":{},"rating":{},"text":{}}}"#,
            maybe(&it.customer),
            it.rating.unwrap_or(1),
            maybe(&it.text)
        ),
        Data::CaseOpened(it) => format!(
            r#"{{"case":{},"customer":{},"severity":{},"text":{},"queue":"support"}}"#,
            quoted(&it.case),
            quoted(&it.customer),
            it.severity,
            maybe(&it.text)
        ),
        Data::InteractionRecorded(it) => format!(
            r#"{{"customer":{},"channel":{},"action":{},"target":{}}}"#,
            quoted(&it.customer),
            quoted(&it.channel),
            quoted(&it.action),
            maybe(&it.target)
        ),
        other => panic!("{other:?} is not of the workload"),
    };
    format!(
        r#"{{"specversion":"1.0","id":{},"source":"crm","type":"{}","time":"{}","data":{data}}}"#,
        quoted(&event.id),
        event.data.event_type().as_str(),
        schemas::time::rfc3339(event.time)
    )
}
