//! Goal: what an earlier version has written is read with the right rows, or refused with a report
//! that says why; what a later one may write is refused, never misread. Method: the folders in
//! `tests/fixtures/`, each written by the version of its day (`formats/make.rs`), and one made now;
//! each is taken up by the real program and held against the plain computation over its events.
//! Then copies of them are changed as another version might have written them.
//!
//! `MILLSTREAM_FIXTURE=NAME cargo test --locked --test formats -- what_is_written_today` keeps the
//! one made now under that name in `tests/fixtures/` (docs/format.md says when).

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

#[path = "formats/another.rs"]
mod another; // files as another version might have written them
#[path = "common/mod.rs"]
mod common;
#[path = "crash/load.rs"]
mod load;
#[path = "formats/make.rs"]
mod make;
#[path = "formats/outbox.rs"]
mod outbox;
#[path = "common/process.rs"]
mod process;
#[path = "common/random.rs"]
mod random;

use std::path::{Path, PathBuf};
use std::time::Duration;

use make::{Known, TENANTS, copy, lines};
use millstream::backup;
use millstream::ingest::resets::Resets;
use millstream::store::Incarnation;
use millstream::supervise::notes;
use process::{Folder, Process, get, run};
use serde_json::Value;

/// Those that are kept.
fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    all.sort();
    all
}

/// Every row, count, reject and decision of a data folder is what its fixture says.
fn is_read(fixture: &Path, dir: &Path, more: &[&str]) {
    let known = Known::of(fixture);
    let mut process = make::started(dir, fixture, more);
    let address = process.address(dir);
    ready(&address, &mut process);
    load::check_of(&address, &known.events(fixture), TENANTS);
    let (_, ledger) = get(&address, "/v1/ledger");
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    assert_eq!(make::counts(&ledger), known.counts, "{}", dir.display());
    let (_, rejects) = get(&address, "/v1/rejects");
    let rejects: Value = serde_json::from_str(&rejects).unwrap();
    assert_eq!(make::rejects(&rejects), known.rejects, "{}", dir.display());
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert_eq!(code, 0, "{err}");
}

fn ready(address: &str, process: &mut Process) {
    while get(address, "/health/ready").0 != 200 {
        assert!(process.child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// One fixture, in every way that it can be read.
fn holds(fixture: &Path) {
    let folder = Folder::new(&format!("formats-{}", fixture.file_name().unwrap().display()));
    let known = Known::of(fixture);
    let dir = folder.0.join("data");
    copy(&fixture.join("data"), &dir);
    // The small files, before a start does what they say.
    assert!(!Resets::open(&dir).unwrap().all().is_empty());
    assert!(!notes::aside(&dir).unwrap().is_empty());
    assert_eq!(Incarnation::read(&dir).unwrap().unwrap().number, known.incarnation);
    let data = dir.display().to_string();
    let (code, shown, err) =
        run(&["log", "show", "--json", "--limit", "1000", "--data-dir", &data]);
    assert_eq!((code, lines(&shown)), (0, known.in_log), "{err}");
    if dir.join("sinks").exists() {
        let apart = folder.0.join("apart");
        copy(&fixture.join("data"), &apart);
        outbox::leaves(fixture, &apart, &folder.0.join("out"), known.n_applied());
    }
    is_read(fixture, &dir, &[]);
    let (code, _, err) = run(&["state", "verify", "--data-dir", &data]);
    assert_eq!(code, 0, "{err}");
    // From its checkpoint once more, and from its events alone.
    is_read(fixture, &dir, &[]);
    is_read(fixture, &dir, &["--rebuild"]);
    // Its list makes a backup of it.
    let from = folder.0.join("backup");
    copy(&fixture.join("data"), &from);
    std::fs::copy(fixture.join(backup::LIST), from.join(backup::LIST)).unwrap();
    let to = folder.0.join("restored");
    let (from, told) = (from.display().to_string(), to.display().to_string());
    let (code, _, err) = run(&["restore", &from, "--data-dir", &told]);
    assert_eq!(code, 0, "{err}");
    is_read(fixture, &to, &[]);
}

#[test]
fn what_was_written_before_is_read() {
    let all = fixtures();
    assert!(!all.is_empty());
    all.iter().for_each(|it| holds(it));
}

#[test]
fn what_is_written_today_is_read() {
    let folder = Folder::new("formats-today");
    let made = make::make(&folder);
    holds(&made);
    if let Ok(name) = std::env::var("MILLSTREAM_FIXTURE") {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        assert!(!kept.exists(), "{} is there: a fixture is never changed", kept.display());
        copy(&made, &kept);
    }
}

/// What it takes to refuse this folder: the codes of which one must be told.
fn is_refused(dir: &Path, fixture: &Path, what: &str, codes: &[&str]) {
    let before = make::contents(dir);
    // The views of the oldest fixture's day. One that is younger is begun anew, which is noted before
    // all that is there has been looked at.
    let views = "engine.views=customers,orders,cases,volume,records,orders_by_status,top_customers";
    let process = make::started(dir, fixture, &["--set", views]);
    let (code, _, err) = process.end();
    assert_eq!(code, 1, "{what}: {err}");
    assert!(codes.iter().any(|it| err.contains(it)), "{what}: expected {codes:?}, found {err}");
    assert!(err.contains("fix: "), "{what}: {err}");
    // What is there is as it was; a log that was opened has one more end mark.
    let after = make::contents(dir);
    for (path, bytes) in &before {
        let same = after.get(path).is_some_and(|it| it.starts_with(bytes));
        assert!(same, "{what}: {} was changed", path.display());
    }
}

#[test]
fn what_a_later_version_may_write_is_refused() {
    let folder = Folder::new("formats-later");
    // One of today: of an older one views are laid out anew before it is read, as a new incarnation.
    let base = Folder::new("formats-later-base");
    let fixture = make::make(&base);
    let whole = fixture.join("data");
    let mut n = 0;
    let mut with = |change: &dyn Fn(&Path) -> bool, what: &str, codes: &[&str]| {
        let dir = folder.0.join(format!("{n}"));
        n += 1;
        copy(&whole, &dir);
        assert!(change(&dir), "{what}: nothing to change");
        is_refused(&dir, &fixture, what, codes);
        std::fs::remove_dir_all(&dir).unwrap();
    };
    for log in ["log", "state", "identities", "rejects"] {
        let of = |dir: &Path| another::segments(&dir.join(log));
        let what = |it: &str| format!("{log}: {it}");
        with(
            &|dir| of(dir).iter().all(|it| another::version(it)),
            &what("another version"),
            &["segments/other-version"],
        );
        with(
            &|dir| of(dir).iter().all(|it| another::schema(it)),
            &what("another layout of what is in it"),
            &["segments/other-contents"],
        );
        if log != "log" {
            // (Of the log only what no checkpoint knows is read at a start: see below.)
            with(
                &|dir| of(dir).iter().any(|it| another::tag(it, None)),
                &what("another kind of block"),
                &["store/unreadable", "segments/other-version"],
            );
        }
    }
    let of_state = |dir: &Path| another::segments(&dir.join("state"));
    with(
        &|dir| of_state(dir).iter().any(|it| another::commit(it, r#","later":1}"#)),
        "a checkpoint with a field of its own",
        &["store/unreadable"],
    );
    for (file, code) in [
        ("incarnation", "store/incarnation"),
        ("feeds.json", "ingest/feeds-file"),
        ("aside.json", "supervise/note"),
        ("models/published", "models/list"),
        ("models/arrivals", "models/list"),
    ] {
        with(&|dir| another::small(&dir.join(file)), file, &[code]);
    }
}

/// Goal: what waits for a sink is not handed over as something else. Method: the outbox that waits,
/// as a later version might have written it, under settings that name its sink.
#[test]
fn an_outbox_of_a_later_version_is_refused() {
    let folder = Folder::new("formats-outbox");
    let fixture = fixtures().pop().unwrap();
    let out = folder.0.join("out");
    let config = outbox::settings(&out, &out.join("waits"));
    for (n, code) in ["segments/other-version", "segments/other-contents"].into_iter().enumerate() {
        let change = [another::version, another::schema][n];
        let dir = folder.0.join(format!("{n}"));
        copy(&fixture.join("data"), &dir);
        let segments = another::segments(&dir.join("sinks/waits"));
        assert!(segments.iter().all(|it| change(it)), "nothing to change");
        let process = make::started(&dir, &fixture, &["--config", &config]);
        let (status, _, err) = process.end();
        assert!(status == 1 && err.contains(code) && err.contains("fix: "), "{code}: {err}");
        assert!(!out.join("waits").exists(), "something left");
    }
}

#[test]
fn a_log_of_a_later_version_is_not_shown_either() {
    let folder = Folder::new("formats-log");
    let fixture = fixtures().pop().unwrap();
    // A block of another kind, and a retried record whose origin says more.
    for (n, origin) in [None, Some(r#","later":1}"#)].into_iter().enumerate() {
        let dir = folder.0.join(format!("{n}"));
        copy(&fixture.join("data"), &dir);
        let segments = another::segments(&dir.join("log"));
        assert!(segments.iter().any(|it| another::tag(it, origin)), "nothing to change");
        let data = dir.display().to_string();
        let (code, _, err) = run(&["log", "show", "--limit", "1000", "--data-dir", &data]);
        assert!(code == 1 && err.contains("segments/other-version"), "{code}: {err}");
        // Nor read.
        let process = make::started(&dir, &fixture, &["--rebuild"]);
        let (code, _, err) = process.end();
        assert!(code != 0 && err.contains("segments/other-version"), "{code}: {err}");
    }
}

/// Goal: one bit of a backup's list is found. Method: some, by their places.
#[test]
fn a_list_with_one_bit_flipped_is_no_backup() {
    let folder = Folder::new("formats-list");
    let fixture = fixtures().pop().unwrap();
    let from = folder.0.join("backup");
    copy(&fixture.join("data"), &from);
    let list = std::fs::read(fixture.join(backup::LIST)).unwrap();
    for n in 0..40 {
        let mut flipped = list.clone();
        flipped[n * list.len() / 40] ^= 1 << (n % 8);
        std::fs::write(from.join(backup::LIST), flipped).unwrap();
        let to = folder.0.join("to");
        let refused = backup::restore(&from, &to, |_| Ok(())).unwrap_err();
        assert_eq!(refused.code, "backup/not-whole", "{n}");
        assert!(!to.exists());
    }
}

#[test]
fn a_view_that_is_laid_out_otherwise_is_built_again() {
    let folder = Folder::new("formats-layout");
    let fixture = fixtures().pop().unwrap();
    let dir = folder.0.join("data");
    copy(&fixture.join("data"), &dir);
    let segments = another::segments(&dir.join("state"));
    assert!(segments.iter().any(|it| another::layout(it)), "nothing to change");
    is_read(&fixture, &dir, &[]);
}
