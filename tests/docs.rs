//! Do the documents tell the truth? Commands that they tell people to run exist and answer, and
//! the event that the README posts is one that we take.
//!
//! Method: fenced blocks marked `sh` hold the scripts of this repository; each is called with
//! `--help`, which every script answers without doing anything. (`scripts/check` and
//! `scripts/test` themselves run in the gate, and `scripts/demo` in `scripts/test unit`.) Those
//! marked `bash` are run as they stand (`docs/tried.rs`).

#[path = "common/process.rs"]
mod process;
#[path = "docs/tried.rs"]
mod tried;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|why| panic!("{document}: {why}"))
}

/// The lines of the fenced blocks with this mark (an empty one: unmarked blocks).
fn blocks<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("```") {
        let (label, body) = rest[at + 3..].split_once('\n').unwrap();
        let (body, after) = body.split_once("```").expect("a fenced block that never ends");
        if label.trim() == mark {
            blocks.push(body);
        }
        rest = after;
    }
    blocks
}

/// Runs a script with `--help`; what it printed.
fn help(script: &str) -> String {
    let done = Command::new(root().join(script))
        .arg("--help")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|why| panic!("{script} cannot be run: {why}"));
    assert!(done.status.success(), "{script} --help: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn commands_in_the_documents_exist_and_answer() {
    let mut commands = 0;
    for document in ["README.md", "CONTRIBUTING.md"] {
        for line in blocks(&read(document), "sh").into_iter().flat_map(str::lines) {
            let command = line.split('#').next().unwrap().split_whitespace().next();
            let Some(command) = command else { continue };
            assert!(
                command.starts_with("./scripts/"),
                "{document}: `{line}`: a block marked `sh` holds scripts of this repository"
            );
            let said = help(command);
            assert!(said.lines().count() >= 3, "{command} --help says too little: {said}");
            commands += 1;
        }
    }
    assert!(commands >= 4, "only {commands} commands found: does the test still look?");
}

#[test]
fn every_script_answers_help() {
    let mut scripts = 0;
    for entry in fs::read_dir(root().join("scripts")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.contains('.') || name == "__pycache__" {
            continue; // what the scripts share; not called by people
        }
        let said = help(&format!("scripts/{name}"));
        assert!(said.len() > 40, "scripts/{name} --help says too little: {said}");
        scripts += 1;
    }
    assert!(scripts >= 8, "only {scripts} scripts found: does the test still look?");
}

#[test]
fn the_event_that_the_readme_posts_is_one_that_we_take() {
    let readme = read("README.md");
    let block =
        blocks(&readme, "bash").into_iter().find(|it| it.contains("curl")).expect("a curl block");
    let body = block.split("-d '").nth(1).and_then(|it| it.split('\'').next()).expect("-d '...'");
    let event = schemas::decode::structured(body.as_bytes()).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(event.data.event_type().as_str(), "order.placed");
    assert!(block.contains("/v1/views/orders/O-17") && body.contains("\"order\": \"O-17\""));
}
