//! Do the documents, the decoder and the published files say the same?
//!
//! `MILLSTREAM_BLESS=1` writes the files in `schemas/events/` anew.

use std::path::{Path, PathBuf};

use schemas::decode;
use schemas::events::EventType;
use schemas::published;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{folder:?}: {why}"));
    let mut entries: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    entries.sort();
    entries
}

/// Goal: the files are what the documents say, one for each type, and every one is built in.
/// Method: generate again, compare.
#[test]
#[allow(clippy::disallowed_methods)]
fn the_files_are_generated() {
    let bless = std::env::var("MILLSTREAM_BLESS").is_ok();
    for kind in EventType::ALL {
        let file = root().join("events").join(format!("{}.json", kind.as_str()));
        let text = published::generate(kind);
        if bless {
            std::fs::write(&file, &text).unwrap();
            continue;
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(kept, text, "{file:?} is not what its document says: MILLSTREAM_BLESS=1");
        let built_in = published::all().iter().find(|it| it.0 == kind.as_str());
        assert_eq!(built_in.map(|it| it.1), Some(kept.as_str()));
    }
    let n = entries(&root().join("events")).iter().filter(|it| it.is_file()).count();
    assert_eq!(n, EventType::ALL.len(), "a file of no type");
}

/// Goal: nobody who reads or writes version 1 of a type is ever surprised. Method: every file
/// against each earlier publication, all of which are kept.
#[test]
fn compatible_with_every_earlier_publication() {
    let mut compared = 0;
    for release in entries(&root().join("events/published")) {
        for file in entries(&release) {
            let old: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let name = file.file_stem().unwrap().to_str().unwrap();
            let kind = EventType::parse(name).unwrap_or_else(|| panic!("{name} is gone"));
            let new: Value = serde_json::from_str(&published::generate(kind)).unwrap();
            let changes = published::changes(&old, &new);
            assert!(
                changes.is_empty(),
                "{name} is not compatible with {release:?}: {changes:#?}\n\
                 An optional field may be added; anything else is a new version of the type."
            );
            compared += 1;
        }
    }
    // A type that is newer than the last publication has nothing to be compared with.
    assert!(compared >= 13, "{compared}");
}

/// What the decoder refuses and JSON Schema cannot.
const SCHEMA_CANNOT_SAY: &[&str] =
    &["sum-too-large", "rating-as-decimal", "promised-at-without-zone"];

/// Goal: a producer who checks against the published schema is not surprised by the decoder.
/// Method: `data` of every example of a type against the schema of that type, by a validator that
/// knows nothing of us. What we accept it accepts; of what we refuse in `data` it refuses all but
/// the cases that are named.
#[test]
fn examples_and_schemas_agree() {
    for kind in EventType::ALL {
        let schema = published::generate(kind).parse::<Value>().unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{}", kind.as_str());
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let (mut accepted, mut refused) = (0, 0);
        for file in entries(&root().join("examples").join(kind.as_str())) {
            let text = std::fs::read_to_string(&file).unwrap();
            let input = text.split_once("\n----\n").unwrap().0;
            let event: Value = serde_json::from_str(input).unwrap();
            let valid = validator.is_valid(&event["data"]);
            let name = file.file_stem().unwrap().to_str().unwrap();
            let ours = decode::structured(input.as_bytes()).is_ok();
            assert_eq!(valid, ours || SCHEMA_CANNOT_SAY.contains(&name), "{file:?}");
            accepted += usize::from(ours);
            refused += usize::from(!ours);
        }
        assert!(accepted >= 1 && refused >= 4);
    }
}
