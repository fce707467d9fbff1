//! How many records does one core decode in a second?
//!
//! Two kinds: foreign flat records of about 137 bytes read through the scanner into plain fields
//! (what a mapping at its best could do), and native events through `decode::structured`. Each
//! figure is the best of many short passes over the same records, so that the machine's other work
//! weighs little. `cargo bench -p schemas --bench decode`

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use schemas::decode;
use schemas::json::{Fault, Scanner};

const RECORDS: usize = 5_000;

/// Short ones: the machine may do something else in between, but seldom within each.
const PASSES: usize = 300;

fn main() {
    println!("flat records through the scanner, bytes kept as text:");
    measure("  flat", &records(flat), |it| flat_fields(it).is_ok());
    println!("native events, `type` before `data`:");
    measure("  interaction.recorded", &records(interaction), |it| decode::structured(it).is_ok());
    measure("  order.status_changed", &records(status), |it| decode::structured(it).is_ok());
    measure("  order.placed, 2 lines", &records(placed), |it| decode::structured(it).is_ok());
    println!("native events, `data` before `type`:");
    measure("  order.status_changed", &records(turned), |it| decode::structured(it).is_ok());
}

/// Records, one after the other, and where each ends.
fn records(make: impl Fn(usize) -> String) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for i in 0..RECORDS {
        // Some order that is not the order of the numbers.
        bytes.extend_from_slice(make(i.wrapping_mul(2_654_435_761) % 1_000_000).as_bytes());
        ends.push(bytes.len());
    }
    (bytes, ends)
}

#[allow(clippy::disallowed_methods)]
fn measure(name: &str, (bytes, ends): &(Vec<u8>, Vec<usize>), decode: impl Fn(&[u8]) -> bool) {
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let started = Instant::now();
        let (mut start, mut good) = (0, 0);
        for end in ends {
            good += usize::from(black_box(decode(black_box(&bytes[start..*end]))));
            start = *end;
        }
        best = best.min(started.elapsed().as_secs_f64());
        assert_eq!(good, ends.len(), "{name}: a record was refused");
    }
    let n = ends.len() as f64;
    println!(
        "{name:30} {:6.2} M records/s  {:6.0} ns/record  {:6.0} MB/s  {:4.0} bytes/record",
        n / best / 1e6,
        best / n * 1e9,
        bytes.len() as f64 / best / 1e6,
        bytes.len() as f64 / n,
    );
}

/// The fields of a flat record.
#[derive(Default)]
struct Flat<'a> {
    id: Cow<'a, str>,
    time: i64,
    customer: Cow<'a, str>,
    kind: Cow<'a, str>,
    order: Cow<'a, str>,
    amount: i64,
    sku: Cow<'a, str>,
    quantity: i64,
}

fn flat_fields(record: &[u8]) -> Result<Flat<'_>, Fault> {
    let mut out = Flat::default();
    let mut scanner = Scanner::new(record)?;
    scanner.object(|key, it| -> Result<(), Fault> {
        match &*key {
            "id" => out.id = it.string()?,
            "time" => out.time = it.number()?.as_i64().unwrap_or_default(),
            "customer" => out.customer = it.string()?,
            "type" => out.kind = it.string()?,
            "order" => out.order = it.string()?,
            "amount_cents" => out.amount = it.number()?.as_i64().unwrap_or_default(),
            "sku" => out.sku = it.string()?,
            "qty" => out.quantity = it.number()?.as_i64().unwrap_or_default(),
            _ => drop(it.skip()?),
        }
        Ok(())
    })?;
    scanner.finish()?;
    Ok(out)
}

fn flat(i: usize) -> String {
    format!(
        "{{\"id\":\"e{i:09}\",\"time\":{},\"customer\":\"C{:07}\",\"type\":\"order.placed\",\
         \"order\":\"O{i:08}\",\"amount_cents\":{},\"sku\":\"S{:04}\",\"qty\":{}}}",
        1_767_225_600_000 + i,
        i % 50_000,
        i % 90_000,
        i % 2_000,
        1 + i % 5,
    )
}

fn envelope(kind: &str, i: usize, data: &str) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"e{i:09}\",\"source\":\"/shop/web\",\"type\":\"{kind}\",\
         \"time\":\"2026-03-{:02}T09:30:{:02}.{:03}Z\",\"data\":{data}}}",
        1 + i % 28,
        i % 60,
        i % 1_000,
    )
}

fn interaction(i: usize) -> String {
    let data = format!(
        "{{\"customer\":\"C{:07}\",\"channel\":\"web\",\"action\":\"view\",\"target\":\"/p/{}\"}}",
        i % 50_000,
        i % 2_000
    );
    envelope("interaction.recorded", i, &data)
}

fn status(i: usize) -> String {
    let status = ["paid", "shipped", "delivered"][i % 3];
    envelope(
        "order.status_changed",
        i,
        &format!("{{\"order\":\"O{i:08}\",\"status\":\"{status}\"}}"),
    )
}

fn turned(i: usize) -> String {
    let text = status(i);
    let (envelope, data) = text[1..].split_once(",\"data\":").unwrap();
    format!("{{\"data\":{},{envelope}}}", data.strip_suffix('}').unwrap())
}

fn placed(i: usize) -> String {
    let line = |n: usize| {
        format!("{{\"sku\":\"S{:04}\",\"quantity\":{n},\"unit_price\":{}}}", i % 2_000, i)
    };
    let data = format!(
        "{{\"order\":\"O{i:08}\",\"customer\":\"C{:07}\",\"currency\":\"EUR\",\"lines\":[{},{}]}}",
        i % 50_000,
        line(1),
        line(2)
    );
    envelope("order.placed", i, &data)
}
