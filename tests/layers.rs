//! Does the tree keep its promises? Read [`ROOMS`] to learn the shape of `src/`.
//!
//! Method: the sources and the documents are read as text. Crude, and enough: a room that needs a
//! name it may not know has to write that name somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What every room may know.
const COMMON: &[&str] = &["messages", "config", "report", "metrics", "clock", "tasks"];

/// The places that may know every room.
const WIRING: &[&str] = &["lib", "main", "run", "commands"];

/// Every other room, what it may know beyond itself and [`COMMON`], and why.
const ROOMS: &[(&str, &[&str], &str)] = &[
    ("ingest", &["segments"], "the embedded log is made of segments"),
    ("epochs", &["ledger"], "what was read is counted in the epoch that carries it"),
    (
        "engine",
        &["epochs", "ledger", "changes", "dataflows"],
        "the workers read, date and compute; nobody else knows what a dataflow is",
    ),
    ("changes", &[], ""),
    ("store", &["segments"], "states are kept in segments; folds are known through `schemas` only"),
    ("ledger", &[], ""),
    ("backup", &["segments"], "a copy of logs: it knows files, not what is in them"),
    ("supervise", &["segments"], "its notes are files replaced whole; the process it only asks"),
    ("segments", &[], "a format, not a place: it knows nobody"),
    ("rejects", &["segments"], "kept rejects are made of segments"),
    ("secret", &[], "the deployment's secret, in a file"),
    ("produce", &[], "lines into a topic: it knows librdkafka, and nobody here"),
    ("watch", &["ledger", "usage"], "looks at the whole four times a second"),
    ("usage", &[], "asks the system about this process"),
    ("generator", &[], "makes events from a seed: it knows the contract and nobody else"),
    (
        "sinks",
        &["segments"],
        "the outbox is made of segments; rows come as rows, never collections",
    ),
    (
        "models",
        &["segments", "dataflows"],
        "what is learnt is pure and the crate's; this room keeps it as files",
    ),
    ("sql", &[], "the views as tables, through a read handle; serve asks it by a message"),
    (
        "notify",
        &["sinks", "segments"],
        "rows through a read handle, decisions through the log; a receiver fails as a sink does, \
         and how it stands is a file replaced whole",
    ),
    ("desk", &[], "claims on queues: rows through a read handle, decisions through the log"),
    ("serve", &["changes"], "rows through a read handle and gathered changes, never collections"),
];

/// Goal: rooms do not know each other. Method: every `crate::x` and `dataflows::` in a room's
/// files, against the table.
#[test]
fn rooms_know_only_what_the_table_says() {
    let mut seen = BTreeSet::new();
    for file in files(&["src"], &["rs"]) {
        let path = shown(&file);
        let room = path["src/".len()..].split(['/', '.']).next().unwrap().to_string();
        if WIRING.contains(&room.as_str()) {
            assert!(
                !names_known(&product_text(&file)).contains("dataflows"),
                "{path} knows `dataflows`; only `engine` does: ask it (src/engine.rs)"
            );
            continue;
        }
        let may: &[&str] = match ROOMS.iter().find(|(name, ..)| *name == room) {
            Some((_, may, _)) => may,
            None if COMMON.contains(&room.as_str()) => &[],
            None => panic!(
                "{path}: `{room}` is a new room; say in tests/layers.rs what it may know, and why"
            ),
        };
        seen.insert(room.clone());
        for known in names_known(&product_text(&file)) {
            assert!(
                known == room || COMMON.contains(&known.as_str()) || may.contains(&known.as_str()),
                "{path} knows `{known}`. `{room}` may know itself, {COMMON:?} and {may:?}.\n\
                 Hand it a message instead (src/messages.rs), or wire the two in src/run.rs."
            );
        }
    }
    assert!(
        seen.contains("messages"),
        "no rooms found: does the test still look in the right place?"
    );
}

/// Goal: `schemas` and `dataflows` are pure. Method: no name of the outside world in their text
/// (the dependency tree is held by `scripts/check`, the clock by `clippy.toml`).
#[test]
fn the_inner_crates_touch_nothing_outside() {
    const OUTSIDE: &[&str] =
        &["std::fs", "std::net", "std::process", "std::env", "std::io::stdin", "println!"];
    for file in files(&["schemas", "dataflows"], &["rs"]) {
        let path = shown(&file);
        if path.contains("/tests/") || path.contains("/examples/") || path.contains("/benches/") {
            continue;
        }
        let text = product_text(&file);
        for name in OUTSIDE {
            assert!(
                !text.contains(name),
                "{path} uses `{name}`; the crate is values in, values out: do it in src/"
            );
        }
    }
}

/// Goal: a path that a document names is there. Method: every word in the documents (and in the
/// comments of the sources) that begins like a path of this repository, and every relative link.
#[test]
fn paths_named_in_documents_exist() {
    let mut documents = files(&["docs"], &["md"]);
    documents.extend(["README.md", "CONTRIBUTING.md"].map(|it| root().join(it)));
    let mut gone = Vec::new();
    let mut looked_at = 0;
    for document in &documents {
        let text = fs::read_to_string(document).unwrap_or_else(|why| panic!("{document:?}: {why}"));
        for link in links(&text) {
            looked_at += 1;
            if !document.parent().unwrap().join(&link).exists() {
                gone.push(format!("{}: link to {link}", shown(document)));
            }
        }
        for path in paths_in(&text) {
            looked_at += 1;
            if !exists(&path) {
                gone.push(format!("{}: {path}", shown(document)));
            }
        }
    }
    for source in files(&["src", "schemas", "dataflows", "tests", "benches"], &["rs", "toml"]) {
        let text = fs::read_to_string(&source).unwrap();
        for line in text.lines().filter(|it| it.trim_start().starts_with(['/', '#'])) {
            for path in paths_in(line) {
                looked_at += 1;
                // In a file under `schemas/`, `tests/…` may be that crate's own, and so on.
                let own = |folder: &Path| folder.starts_with(root()) && folder.join(&path).exists();
                if !exists(&path) && !source.ancestors().any(own) {
                    gone.push(format!("{}: {path}", shown(&source)));
                }
            }
        }
    }
    assert!(looked_at > 10, "only {looked_at} paths found: does the test still look?");
    assert!(gone.is_empty(), "named, but not there:\n{}", gone.join("\n"));
}

/// Goal: whoever meets an error code finds its page, and no page outlives its code. Method: every
/// string of the form `room/problem` in the sources, against `docs/errors/`.
#[test]
fn every_error_code_has_its_page() {
    let mut codes: BTreeMap<String, String> = BTreeMap::new();
    for file in files(&["src", "schemas", "dataflows"], &["rs"]) {
        for code in error_codes(&product_text(&file)) {
            codes.entry(code).or_insert_with(|| shown(&file));
        }
    }
    let index = fs::read_to_string(root().join("docs/errors/README.md")).unwrap();
    let mut wrong = Vec::new();
    for (code, file) in &codes {
        let page = format!("{}.md", code.replace('/', "-"));
        if !root().join("docs/errors").join(&page).exists() {
            wrong.push(format!("{file} uses the code {code}: write docs/errors/{page}"));
        }
    }
    for page in files(&["docs/errors"], &["md"]) {
        let name = page.file_name().unwrap().to_str().unwrap().to_string();
        if name == "README.md" {
            continue;
        }
        if !codes.keys().any(|code| format!("{}.md", code.replace('/', "-")) == name) {
            wrong.push(format!("docs/errors/{name}: no code like this in the sources; remove it"));
        }
        if !index.contains(&format!("({name})")) {
            wrong.push(format!(
                "docs/errors/README.md does not list {name}: run scripts/error-index"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Goal: habits that a reader would have to watch for otherwise. Method: text of the sources.
#[test]
fn habits_hold() {
    let mut wrong = Vec::new();
    for file in files(&["src", "schemas", "dataflows", "tests", "benches"], &["rs"]) {
        let path = shown(&file);
        let text = fs::read_to_string(&file).unwrap();
        let mut say = |words: &str| wrong.push(format!("{path}: {words}"));
        // (What test programs share is in `tests/common/mod.rs`: elsewhere it would be one itself.)
        if path.ends_with("/mod.rs") && !path.ends_with("/common/mod.rs") {
            say("modules are `name.rs` beside `name/`");
        }
        if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
            say("begins without its module doc (`//! ...`)");
        }
        // Written in two halves, or this file would find itself.
        let ignored = concat!("#[ig", "nore");
        if text.contains(ignored) {
            say(&format!(
                "`{ignored}`: a test that does not run proves nothing: run it or remove it"
            ));
        }
        let product = !path.contains("tests/") && !path.contains("benches/");
        if product && product_text(&file).contains("unbounded") {
            say("`unbounded`: every queue has a bound");
        }
        if path.starts_with("src/") && text.contains(concat!("let ", "_ = ")) {
            say("a result is thrown away: handle it");
        }
        if path.contains("tests/") && text.contains(concat!("thread::", "sleep(")) {
            say("a test waits for the thing, not for the clock");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Goal: nobody has to wonder where memory safety is held by hand. Method: the word, outside the
/// files that are named for it (and their tests).
#[test]
fn unsafe_code_is_where_it_is_said_to_be() {
    // Each with what it relies on at its head (docs/decisions/{served-map,kafka-batches,live-sql}.md).
    const MAY: &[&str] = &[
        "dataflows/served/prefetch.rs",
        "src/sql/table.rs",
        "src/ingest/kafka/batch.rs",
        "src/ingest/kafka/topic_ids.rs",
    ];
    for file in files(&["src", "schemas", "dataflows"], &["rs"]) {
        let (path, text) = (shown(&file), product_text(&file));
        let words: BTreeSet<&str> =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        assert!(
            MAY.contains(&path.as_str()) || !words.contains("unsafe"),
            "{path} has unsafe code; it may stand in {MAY:?} only: find a safe way, or decide \
             (docs/decisions) and name the file here"
        );
    }
}

/// Goal: files that can be read in one sitting. Method: lines are counted; from [`LOOK`] on the
/// file is named in the output, above [`TOO_LONG`] it fails.
#[test]
fn files_are_short() {
    /// From here on: are there two ideas in it?
    const LOOK: usize = 400;
    /// Nobody planned it.
    const TOO_LONG: usize = 800;
    let mut too_long = Vec::new();
    for file in files(&["src", "schemas", "dataflows", "tests", "benches"], &["rs"]) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines > LOOK {
            println!("{} has {lines} lines: are there two ideas in it?", shown(&file));
        }
        if lines > TOO_LONG {
            too_long.push(format!("{} has {lines} lines", shown(&file)));
        }
    }
    assert!(too_long.is_empty(), "more than {TOO_LONG} lines:\n{}", too_long.join("\n"));
}

/// Goal: a decision can be judged by who was not there. Method: every page has the parts of the
/// template and is listed.
#[test]
fn decisions_have_their_parts() {
    const PARTS: &[&str] = &["Problem", "Success", "Out of scope", "Choice", "Rejected"];
    let index = fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    for page in files(&["docs/decisions"], &["md"]) {
        let (path, text) = (shown(&page), fs::read_to_string(&page).unwrap());
        let name = page.file_name().unwrap().to_str().unwrap();
        if name == "README.md" {
            continue;
        }
        assert!(text.starts_with("# "), "{path} begins without its title");
        for part in PARTS {
            assert!(text.contains(&format!("**{part}.**")), "{path} has no `**{part}.**`");
        }
        assert!(index.contains(&format!("({name})")), "docs/decisions/README.md lacks {name}");
    }
}

/// Goal: the crates depend in one direction, and the inner ones on nothing that does I/O. Method:
/// their manifests (`scripts/check` looks at the whole tree).
#[test]
fn the_inner_crates_depend_on_little() {
    const OUTSIDE: &[&str] = &[
        "tokio",
        "warp",
        "hyper",
        "rdkafka",
        "clickhouse",
        "crossbeam-channel",
        "tracing",
        "clap",
    ];
    let dependencies = |manifest: &str| -> Vec<String> {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let table: toml::Table = text.parse().unwrap();
        table["dependencies"].as_table().unwrap().keys().cloned().collect()
    };
    let check = |manifest: &str, ours: &[&str]| {
        for name in dependencies(manifest) {
            let own = ["schemas", "dataflows", "millstream"].contains(&name.as_str());
            assert!(!own || ours.contains(&name.as_str()), "{manifest}: may not know {name}");
            assert!(!OUTSIDE.contains(&name.as_str()), "{manifest}: {name} is the outside world");
        }
    };
    check("schemas/Cargo.toml", &[]);
    check("dataflows/Cargo.toml", &["schemas"]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A path as people write it: relative to the repository, with `/`.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_str().unwrap().to_string()
}

/// Every file with one of these extensions under these folders, in name order.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<PathBuf> {
    fn visit(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                visit(&path, extensions, found);
            } else if path.extension().is_some_and(|it| extensions.iter().any(|want| it == *want)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        visit(&root().join(folder), extensions, &mut found);
    }
    found.sort();
    found
}

/// The text of a file up to its tests, without comment lines.
fn product_text(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let product = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let lines = product.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Every `x` in `crate::x` and `crate::{x, y::z}`, and `dataflows` where that crate is named.
fn names_known(text: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => known.extend(heads_of_group(group)),
            None => known.extend(word(rest)),
        }
    }
    if text.contains("dataflows::") {
        known.insert("dataflows".to_string());
    }
    // `$crate` in macros and `crate::Type` from lib.rs are not rooms.
    known.retain(|it| it.starts_with(|c: char| c.is_lowercase()));
    known
}

/// The first names of a braced group, up to its closing brace: `a, b::{c, d}}` gives a and b.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut at_head) = (0, Vec::new(), true);
    let mut rest = group;
    while let Some(c) = rest.chars().next() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => at_head = true,
            _ if at_head && !c.is_whitespace() => {
                heads.extend(word(rest));
                at_head = false;
            }
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    heads
}

fn word(text: &str) -> Option<String> {
    let word: String =
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

/// Words that begin like a path of this repository; patterns and placeholders are left out.
fn paths_in(text: &str) -> Vec<String> {
    const BEGINNINGS: &[&str] =
        &["src/", "schemas/", "dataflows/", "benches/", "tests/", "scripts/", "docs/", ".ci/"];
    let text = text.replace("error[", "error_"); // a problem as it is told: a code, not a path
    let separators = |c: char| c.is_whitespace() || "`'\"()[]|,;:!".contains(c);
    text.split(separators)
        .map(|word| word.strip_prefix("./").unwrap_or(word).trim_end_matches(['.', '/', '?']))
        .map(|word| word.split('#').next().unwrap())
        .filter(|word| BEGINNINGS.iter().any(|it| word.starts_with(it)))
        .filter(|word| !word.contains(['<', '>', '*', '{', '}', '…', '$', '=', '\\']))
        .filter(|word| !word.contains("..") && !word.contains("NNNN"))
        .map(str::to_string)
        .collect()
}

/// A path is there as it stands, or as a folder with the module file beside it.
fn exists(path: &str) -> bool {
    // Codes of errors read like paths; a code that has its page is as good.
    root().join(path).exists()
        || root().join(format!("docs/errors/{}.md", path.replace('/', "-"))).exists()
}

/// Targets of relative Markdown links.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap().trim().to_string())
        .filter(|it| !it.is_empty() && !it.contains("://") && !it.contains(' '))
        .collect()
}

/// String literals of the form `room/problem`, the room being one of ours.
fn error_codes(text: &str) -> BTreeSet<String> {
    let rooms: Vec<&str> = ROOMS
        .iter()
        .map(|(name, ..)| *name)
        .chain(COMMON.iter().chain(WIRING).copied())
        .chain(["schemas", "dataflows"])
        .collect();
    text.split('"')
        .filter(|literal| {
            literal.split_once('/').is_some_and(|(room, problem)| {
                rooms.contains(&room)
                    && problem.starts_with(|c: char| c.is_ascii_lowercase())
                    && problem
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit())
            })
        })
        .map(str::to_string)
        .collect()
}

/// Goal: the readers of text above read it right. Method: small tables.
#[test]
fn the_readers_of_this_test_read() {
    let known = names_known("use crate::{clock, serve::{a, b}, report::Report};\ncrate::run::x()");
    assert_eq!(known.into_iter().collect::<Vec<_>>(), ["clock", "report", "run", "serve"]);
    assert_eq!(names_known("dataflows::fold").into_iter().collect::<Vec<_>>(), ["dataflows"]);
    assert_eq!(
        paths_in("see `./scripts/test`, (docs/errors/<room>.md) or src/run.rs."),
        ["scripts/test", "src/run.rs"]
    );
    assert_eq!(links("[a](docs/a.md#b) [c](https://x.y) [d](#e)"), ["docs/a.md"]);
    let codes = error_codes(r#"code: "ingest/cut-off", mime("text/plain"), "src/a.rs""#);
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["ingest/cut-off"]);
}
