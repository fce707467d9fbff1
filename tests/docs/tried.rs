//! What the pages tell people to type, typed: blocks marked `bash` are run as they stand, by bash,
//! with the built binary. Only places are others: a free port for 8080, a folder of the test for
//! those that the pages name.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::process::{Folder, run};
use super::{blocks, read};

/// Whose blocks are tried. `docs/kafka.md` needs a broker.
const PAGES: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "docs/operating.md",
    "docs/http.md",
    "docs/events.md",
    "docs/mappings.md",
    "docs/cli.md",
    "docs/configuration.md",
    "docs/performance.md",
    "docs/queues.md",
    "docs/profiles.md",
    "docs/notifications.md",
    "docs/tour.md",
];

/// A person looks before typing on; here curl asks again until somebody answers. What was started
/// is ended with the block, in order.
const AS_A_PERSON: &str = r#"
set -m
curl() { command curl --retry 40 --retry-delay 1 --retry-all-errors --max-time 60 "$@"; }
started_here() {
    for job in $(jobs -p); do kill -TERM "$job"; done
    wait
}
trap started_here EXIT
"#;

/// Runs a block, `before` it something; what it printed.
fn try_it(folder: &Folder, before: &str, block: &str) -> String {
    // Free a moment ago: nobody else is given it so soon.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let script = format!("{AS_A_PERSON}\n{before}\n{block}")
        .replace(":8080", &format!(":{port}"))
        .replace("/tmp/ms", &folder.path("ms"))
        .replace("/backup/today", &folder.path("today"))
        .replace("/var/lib/millstream-restored", &folder.path("restored"));
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_millstream"));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binary.parent().unwrap().display());
    let done = Command::new("timeout")
        .args(["-k", "5", "120", "bash", "-c", &script])
        .current_dir(&folder.0)
        .env_clear()
        .env("PATH", path)
        .env("MILLSTREAM_SERVE__LISTEN", format!("127.0.0.1:{port}"))
        .env("MILLSTREAM_DATA_DIR", folder.path("ms"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(!err.contains("error["), "{block}\n{said}\n{err}");
    assert_ne!(done.status.code(), Some(124), "{block}\nnever ended: {said}\n{err}");
    format!("{said}\n{err}")
}

/// The block of a page with these words.
fn block(page: &str, mark: &str, words: &str) -> String {
    let text = read(page);
    let found: Vec<&str> =
        blocks(&text, mark).into_iter().filter(|it| it.contains(words)).collect();
    assert_eq!(found.len(), 1, "{page}: one block marked `{mark}` with {words:?}");
    found[0].to_string()
}

/// Goal: nothing that looks like something to type is left untried. Method: every block with a line
/// that begins like a command is marked; all marked ones are counted below.
#[test]
fn what_is_to_be_typed_is_marked() {
    let mut marked = 0;
    for page in PAGES {
        let text = read(page);
        for block in blocks(&text, "") {
            for line in block.lines() {
                let typed = ["millstream ", "curl ", "./scripts/", "scripts/", "cargo ", "kill "]
                    .iter()
                    .any(|it| line.starts_with(it));
                assert!(!typed, "{page}: `{line}`: mark the block `bash`, and try it here");
            }
        }
        marked += blocks(&text, "bash").len();
    }
    assert_eq!(marked, 14, "each of them has its lines in this file");
}

/// Goal: what was acknowledged is there after `kill -9`, and can be backed up and restored.
#[test]
fn killed_started_again_backed_up_and_restored() {
    let folder = Folder::new("tried-operating");
    let said = try_it(&folder, "", &block("docs/operating.md", "bash", "customers/C-4"));
    assert!(said.contains(r#""accepted":1"#), "{said}");
    let row = said.lines().find(|it| it.contains(r#""row""#)).unwrap_or_else(|| panic!("{said}"));
    assert!(row.contains("Ada"), "{said}");
    let said = try_it(&folder, "", &block("docs/operating.md", "bash", "millstream backup"));
    assert!(folder.0.join("today").is_dir() && folder.0.join("restored").is_dir(), "{said}");
    let words = ["log", "stats", "--json", "--data-dir", &folder.path("restored")];
    let (code, out, err) = run(&words);
    assert_eq!(code, 0, "{err}");
    let stats: Value = serde_json::from_str(&out).unwrap();
    assert!(stats["next"].as_u64() >= Some(1), "the event is in the copy: {out}");
}

/// Goal: the parent starts again what was killed, and counts it.
#[test]
fn kept_alive() {
    let folder = Folder::new("tried-supervise");
    let said = try_it(&folder, "", &block("docs/operating.md", "bash", "--supervise"));
    assert!(said.lines().any(|it| it == "millstream_recoveries_total 1"), "{said}");
}

/// Goal: the event that the README posts can be read as it says.
#[test]
fn posted_and_read() {
    let folder = Folder::new("tried-readme");
    let running = "millstream run >run.log &";
    let said = try_it(&folder, running, &block("README.md", "bash", "v1/events"));
    assert!(said.contains(r#""accepted":1"#), "{said}");
    let row = said.lines().find(|it| it.contains(r#""row""#)).unwrap_or_else(|| panic!("{said}"));
    assert!(row.contains(r#""customer":"C-4""#) && row.contains("2500"), "{said}");
}

/// Goal: cases are ordered, claimed and completed as the page of queues says.
#[test]
fn claimed_and_completed() {
    let folder = Folder::new("tried-queues");
    let said = try_it(&folder, "", &block("docs/queues.md", "bash", "queues/support/claim"));
    let line = |words: &str| said.lines().filter(|it| it.contains(words)).count();
    assert_eq!(line(r#""n_waiting":2"#), 1, "{said}");
    assert!(said.contains("tier gold: 50 % of its time"), "{said}");
    assert_eq!(line(r#""did":"claimed""#), 2, "{said}");
    assert_eq!(line(r#""again":true"#), 1, "{said}");
    assert_eq!(line(r#""did":"completed""#), 1, "{said}");
}

/// Goal: customers are identified and found as the page of profiles says.
#[test]
fn identified_and_found() {
    let folder = Folder::new("tried-profiles");
    let said = try_it(&folder, "", &block("docs/profiles.md", "bash", "identifiers/email"));
    let times = |words: &str| said.matches(words).count();
    assert_eq!(times(r#""accepted":1"#), 3, "{said}");
    let both = r#""person":"till-3","usable":true,"why_not":null,"n_customers":2"#;
    assert_eq!(times(both), 1, "{said}");
    assert_eq!(times(r#""kind":"customer","value":"web-7","person":"till-3""#), 1, "{said}");
    assert_eq!(times(r#""why_not":"blocked""#), 1, "{said}");
}

/// Goal: a rule, a receiver and a stuck order as the page of notifications has them are a webhook
/// that verifies, once, and another one when the order goes on.
#[test]
fn stuck_heard_and_verified() {
    let folder = Folder::new("tried-notifications");
    let page = block("docs/notifications.md", "bash", "order_exceptions");
    // The receiver's port is free, too.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let said = try_it(&folder, "", &page.replace("9000", &port));
    assert_eq!(said.matches(r#""accepted":1"#).count(), 2, "{said}");
    let heard = std::fs::read_to_string(folder.0.join("heard.log")).unwrap();
    let heard: Vec<&str> = heard.lines().collect();
    let stuck = "verified: order O-1 of C-1 is stuck (placed)";
    assert_eq!(heard, [stuck, "verified: order O-1 goes on"], "{said}");
    assert!(said.contains("order O-1 goes on") && said.contains("stuck"), "{said}");
}

/// Goal: the tour shows what it says it does, group by group. Method: all of its blocks as one.
#[test]
fn the_tour_is_taken() {
    let folder = Folder::new("tried-tour");
    let page = read("docs/tour.md");
    let said = try_it(&folder, "", &blocks(&page, "bash").concat());
    let says = |words: &str| assert!(said.contains(words), "{words}: {said}");
    // Persons with two members; identifiers that join nobody; who carries which.
    let two: Vec<&str> =
        said.lines().filter(|it| it.starts_with("C-") && it.contains("[\"C-")).collect();
    assert!(!two.is_empty() && two.len() <= 3, "{said}");
    ["too_many", "blocked", r#""value":"A-1""#].into_iter().for_each(says);
    // Texts, health, orders.
    says(r#""label":"negative""#);
    says(r#""model":"lexicon-en 1""#);
    says(r#""reasons":[{"points""#);
    ["We have your order.", "returned ", "contradictory "].into_iter().for_each(says);
    ["late ", "stuck ", r#""eta_model":"arrival 1""#, r#""view":"capacity""#]
        .into_iter()
        .for_each(says);
    // Twenty-four hours, each with its band.
    let forecast = said.lines().find(|it| it.contains(r#""view":"load_forecast""#)).unwrap();
    assert_eq!(forecast.matches(r#""p90""#).count(), 24, "{forecast}");
    says("calls ");
    says(r#""queue":"billing""#);
    assert_eq!(said.matches(r#""did":"claimed""#).count(), 1, "{said}");
    says(r#""case":"K-tour""#);
    assert!(!said.contains("serve/events"), "what is sent is taken: {said}");
    let queues: Vec<&str> = said.lines().filter(|it| it.starts_with("billing ")).collect();
    assert_eq!(queues.len(), 1, "{said}");
}

/// Goal: a mapping is looked at as its page says. Method: the page's own mapping and record.
#[test]
fn a_mapping_is_tried() {
    let folder = Folder::new("tried-mapping");
    let page = "docs/mappings.md";
    folder.file("M.toml", block(page, "toml", "The shop's order topic"));
    folder.file("F.jsonl", block(page, "json", r#""kind":"ordered""#));
    let said = try_it(&folder, "", &block(page, "bash", "millstream map"));
    assert!(said.contains("order.placed"), "{said}");
}
