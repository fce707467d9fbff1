//! Is every example decoded as its text says?
//!
//! Goal: the right events, and the right words for what is wrong with the others. Method: each
//! file of `schemas/examples/` is an event, a line `----`, and what becomes of it: `accepted` and
//! the event, or every problem, a line each. `MILLSTREAM_BLESS=1` writes what is found into the
//! files, to be read before it is kept.

use std::path::{Path, PathBuf};

use schemas::decode;
use schemas::events::EventType;

const SEPARATOR: &str = "\n----\n";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|why| panic!("{folder:?}: {why}"));
    let mut files: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    files.sort();
    files
}

/// What becomes of it, as text.
fn told(input: &str) -> String {
    let problems = decode::problems(input.as_bytes());
    match decode::structured(input.as_bytes()) {
        Ok(event) => {
            assert_eq!(problems, [], "accepted, and yet there are problems");
            format!("accepted\n{event:#?}\n")
        }
        Err(first) => {
            assert!(problems.contains(&first), "{first:?} is not among {problems:?}");
            problems.iter().map(|it| format!("{}: {it}\n", it.code)).collect()
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn every_example() {
    let bless = std::env::var("MILLSTREAM_BLESS").is_ok();
    let mut n = 0;
    for folder in files(&examples()) {
        let mut accepted = 0;
        for file in files(&folder) {
            let text = std::fs::read_to_string(&file).unwrap();
            let (input, expected) = text.split_once(SEPARATOR).unwrap_or((text.trim_end(), ""));
            let found = told(input);
            if bless {
                std::fs::write(&file, format!("{input}{SEPARATOR}{found}")).unwrap();
            } else {
                assert_eq!(found, expected, "{file:?}");
            }
            accepted += usize::from(found.starts_with("accepted"));
            n += 1;
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        if EventType::parse(name).is_some() {
            let all = files(&folder).len();
            assert!(accepted >= 1 && all - accepted >= 4, "{name}: {accepted} of {all} accepted");
        }
    }
    for it in EventType::ALL {
        assert!(examples().join(it.as_str()).exists(), "{} has no examples", it.as_str());
    }
    assert!(n >= 5 * EventType::ALL.len());
}

/// Goal: a producer who copies from the documentation is accepted. Method: every JSON block of the
/// page.
#[test]
fn the_examples_of_the_documentation() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> =
        page.split("```json\n").skip(1).map(|it| it.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let found = told(block);
        assert!(found.starts_with("accepted"), "{block}\n{found}");
    }
}
