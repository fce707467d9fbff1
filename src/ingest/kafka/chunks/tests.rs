//! Every offset is accounted for; binary mode is put together.

use super::*;

fn plain(bytes: &[u8]) -> Taken<'_> {
    Taken { bytes: bytes.into(), apart: None }
}

/// `at` a record, `end` the partition's end, `lost` up to, `|` a chunk is taken.
fn check(script: &str, expected: &[&str]) {
    let mut it = Building::new((3, 1), 10);
    let mut told = Vec::new();
    let mut accounted = 0;
    let mut take = |it: &mut Building, told: &mut Vec<String>| {
        let chunk = it.chunk();
        let offsets: Vec<u64> = match &chunk.framing {
            Framing::Records(all) => (chunk.first..).take(all.len()).collect(),
            Framing::Sparse(all) => all.iter().map(|it| chunk.first + u64::from(it.1)).collect(),
            Framing::Lines => panic!("never lines"),
        };
        accounted += offsets.len() as u64 + chunk.gap.lost + chunk.gap.absent;
        assert_eq!(chunk.next - 10, accounted, "{script}");
        let (lost, absent, next) = (chunk.gap.lost, chunk.gap.absent, chunk.next);
        told.push(format!("{offsets:?} lost {lost} absent {absent} next {next}"));
    };
    for word in script.split_whitespace() {
        let number = |from: &str| word.strip_prefix(from).and_then(|it| it.parse().ok());
        if let Some(offset) = number("at") {
            it.record(offset, &plain(b"x"), 5);
        } else if let Some(offset) = number("end") {
            it.pass_to(offset);
        } else if let Some(offset) = number("lost") {
            it.lose_to(offset);
        } else {
            take(&mut it, &mut told);
        }
    }
    assert_eq!(told, expected, "{script}");
}

/// Goal: next - first = records + lost + absent, whatever comes. Method: a table of histories.
#[test]
fn every_offset_is_in_one_place() {
    check("|", &["[] lost 0 absent 0 next 10"]);
    check("at10 at11 |", &["[10, 11] lost 0 absent 0 next 12"]);
    check("at12 at13 |", &["[12, 13] lost 0 absent 2 next 14"]);
    check("at10 at12 at13 at17 |", &["[10, 12, 13, 17] lost 0 absent 4 next 18"]);
    check(
        "at10 end14 | end14 end12 |",
        &["[10] lost 0 absent 3 next 14", "[] lost 0 absent 0 next 14"],
    );
    check("end20 | at22 |", &["[] lost 0 absent 10 next 20", "[22] lost 0 absent 2 next 23"]);
    check("lost100 | at100 |", &["[] lost 90 absent 0 next 100", "[100] lost 0 absent 0 next 101"]);
    check("at10 lost14 at15 at17 |", &["[10, 15, 17] lost 3 absent 2 next 18"]);
    check("at10 at10 at9 at11 |", &["[10, 11] lost 0 absent 0 next 12"]);
    check("at10 at11 lost20 at20 |", &["[10, 11, 20] lost 8 absent 0 next 21"]);
}

#[test]
fn the_broker_s_time_counts_a_producer_s_does_not() {
    assert_eq!(appended_ms(Stamp::Appended(7), 100), 7);
    assert_eq!(appended_ms(Stamp::Appended(-1), 100), 100);
    assert_eq!(appended_ms(Stamp::Created(7), 100), 100);
    assert_eq!(appended_ms(Stamp::Created(i64::MAX), 100), 100);
    assert_eq!(appended_ms(Stamp::Absent, 100), 100);
}

/// Goal: the mode is told by the headers, and a binary event becomes the structured one. Method: a
/// table of headers.
#[test]
fn binary_mode_is_put_together() {
    let check = |headers: &[(&str, &str)], key: Option<&str>, data: &str, expected: &str| {
        let mut it = Headers::default();
        for (name, value) in headers {
            it.note(name.as_bytes(), Some(value.as_bytes()));
        }
        let told = match it.binary() {
            false => "structured".to_string(),
            true => match it.structured(key.map(str::as_bytes), data.as_bytes()) {
                Ok(bytes) => String::from_utf8(bytes).unwrap(),
                Err(problem) => problem.to_string(),
            },
        };
        assert_eq!(told, expected, "{headers:?}");
    };
    check(&[], None, "{}", "structured");
    check(&[("trace", "x")], None, "{}", "structured");
    check(
        &[("ce_id", "1"), ("content-type", "application/cloudevents+json; charset=UTF-8")],
        None,
        "{}",
        "structured",
    );
    check(
        &[("ce_ID", "1"), ("ce_type", "order.placed"), ("content-type", "application/json")],
        Some("C-1"),
        "{\"a\":1}",
        "{\"id\":\"1\",\"type\":\"order.placed\",\"partitionkey\":\"C-1\",\
         \"datacontenttype\":\"application/json\",\"data\":{\"a\":1}}",
    );
    check(
        &[("ce_id", "1"), ("ce_partitionkey", "p")],
        Some("k"),
        "",
        "{\"id\":\"1\",\"partitionkey\":\"p\"}",
    );
    let mut it = Headers::default();
    it.note(b"ce_id", Some(b"\xff"));
    assert_eq!(it.structured(None, b"{}").unwrap_err().pointer, "/id");
}
