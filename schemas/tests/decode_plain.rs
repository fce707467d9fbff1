//! Does the fast decoder say what a plain one says?
//!
//! Goal: on any bytes, both accept and give the same event, or both refuse; and what only ours
//! refuses it refuses for a documented reason. Method: serde_json into one document per type with
//! every rule written out again (`plain/decoder.rs`), on events from a seed, half of them good,
//! the others with a member or a few bytes changed (`plain/generator.rs`); as a property, and as
//! a fuzz target that runs bounded here and unbounded under a fuzzer.

#[path = "plain/decoder.rs"]
mod decoder;
#[path = "plain/generator.rs"]
mod generator;

use proptest::prelude::*;
use schemas::decode;
use schemas::events::{Data, Event, EventType};
use schemas::json::{FaultKind, Scanner};
use schemas::published;

/// Attributes come in the order of the record from ours, by name from serde's map.
fn sorted(mut event: Event<'_>) -> Event<'_> {
    if let Data::CustomerRegistered(it) | Data::CustomerUpdated(it) = &mut event.data {
        it.attributes.sort();
    }
    event
}

/// What ours refuses and serde_json takes: documented in `schemas/json.rs`.
fn documented(problem: &schemas::problem::Problem) -> bool {
    problem.code == "schemas/not-json"
        && [
            FaultKind::DuplicateKey,
            FaultKind::TooDeep,
            FaultKind::NotUtf8,
            FaultKind::LoneSurrogate,
        ]
        .iter()
        .any(|it| problem.expected == it.expected())
}

/// Whether it was accepted.
fn compare(record: &[u8]) -> bool {
    let shown = || String::from_utf8_lossy(record).into_owned();
    let ours = decode::structured(record);
    let plain = decoder::structured(record);
    match (&ours, &plain) {
        (Ok(ours), Ok(plain)) => assert_eq!(sorted(ours.clone()), *plain, "{}", shown()),
        (Err(problem), Ok(_)) => assert!(documented(problem), "{problem:?}: {}", shown()),
        (Ok(_), Err(why)) => panic!("accepted, but plain says {why}: {}", shown()),
        (Err(_), Err(_)) => {}
    }
    // The list of problems is empty exactly for what is accepted; the first one is in it, unless
    // the record stops being JSON later: then that may be all that is told.
    let problems = decode::problems(record);
    match &ours {
        Ok(_) => assert_eq!(problems, [], "{}", shown()),
        Err(first) => assert!(
            problems.contains(first) || problems.iter().any(|it| it.code == "schemas/not-json"),
            "{first:?}, {problems:?}: {}",
            shown()
        ),
    }
    ours.is_ok()
}

/// The scanner against serde_json on any bytes.
fn compare_json(bytes: &[u8]) {
    let ours = Scanner::new(bytes).and_then(|mut it| {
        it.skip()?;
        it.finish()
    });
    let plain = serde_json::from_slice::<serde_json::Value>(bytes);
    let shown = String::from_utf8_lossy(bytes);
    match (&ours, &plain) {
        // serde_json makes a float of every number, and refuses those that are too large for one.
        (Ok(()), Err(why)) => {
            assert!(why.to_string().contains("number out of range"), "{why}: {shown}")
        }
        (Err(fault), Ok(_)) => {
            assert!(
                matches!(fault.kind, FaultKind::TooDeep | FaultKind::ByteOrderMark),
                "{fault}: {shown}"
            );
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn same_answer_on_generated_events(seed in any::<u64>()) {
        let record = generator::event(seed);
        compare(&record);
        compare_json(&record);
    }
}

/// Goal: what the decoder takes, the published schema takes; and the generator is worth its name.
/// Method: a validator that knows nothing of us, on the events of many seeds, of which about half
/// are accepted.
#[test]
fn what_is_accepted_is_valid() {
    let validators = EventType::ALL.map(|kind| {
        let schema = serde_json::from_str(&published::generate(kind)).unwrap();
        (kind, jsonschema::draft202012::new(&schema).unwrap())
    });
    let mut accepted = 0;
    for record in (0..2_000).map(generator::event) {
        let Ok(event) = decode::structured(&record) else { continue };
        accepted += 1;
        let kind = event.data.event_type();
        let (_, validator) = validators.iter().find(|it| it.0 == kind).unwrap();
        let data = data_of(&record);
        let told = validator.iter_errors(&data).next().map(|it| it.to_string());
        assert_eq!(told, None, "{data}");
    }
    assert!((500..1_500).contains(&accepted), "{accepted} of 2000");
}

/// `data` by serde_json, which would refuse the numbers too large for a float that extension
/// attributes may have.
fn data_of(record: &[u8]) -> serde_json::Value {
    let mut data = None;
    let mut scanner = Scanner::new(record).unwrap();
    scanner
        .object(|key, it| -> Result<(), schemas::json::Fault> {
            let raw = it.skip()?;
            if key == "data" {
                data = Some(serde_json::from_str(raw).unwrap());
            }
            Ok(())
        })
        .unwrap();
    data.unwrap()
}

/// The fuzz target. `cargo bolero test fuzz` runs it for as long as one likes; here it is bounded.
#[test]
fn fuzz() {
    bolero::check!().with_iterations(4_000).with_type::<(u64, Vec<(u16, u8)>)>().for_each(
        |(seed, changes)| {
            let mut record = generator::event(*seed);
            for (at, byte) in changes {
                if let Some(it) = record.get_mut(usize::from(*at)) {
                    *it = *byte;
                }
            }
            compare(&record);
            compare_json(&record);
            let raw: Vec<u8> = changes.iter().map(|it| it.1).collect();
            compare(&raw);
            compare_json(&raw);
        },
    );
}
