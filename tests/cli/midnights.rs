//! A replay by the events' own time that seals models of arrival at the midnights it passes: the same
//! list and rows however it is read, killed and gone on with, or given what was sealed.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::time::{parse_rfc3339, rfc3339};
use serde_json::{Value, json};

use crate::arrivals::order;
use crate::process::{self, Folder, Process, command, run};
use crate::published::told;

const DAY: i64 = 86_400_000_000;
const HOUR: i64 = DAY / 24;
/// A midnight.
const FIRST: i64 = 18_000 * DAY;
const DAYS: i64 = 40;

/// Numbers that are the same each time.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn at(event: &str) -> i64 {
    let event: Value = serde_json::from_str(event).unwrap();
    parse_rfc3339(event["time"].as_str().unwrap()).unwrap()
}

/// Forty days of orders, faster first and slower then, in the order of their times; some are told
/// of days late.
fn history() -> Vec<String> {
    let mut seed = 7;
    let mut all: Vec<(i64, String)> = Vec::new();
    for n in 0..DAYS * 4 {
        let shipped = FIRST + n * DAY / 4 + next(&mut seed) as i64 % (5 * HOUR);
        let days = if n < DAYS * 2 { 2 } else { 6 };
        let took = days * DAY + next(&mut seed) as i64 % DAY;
        let late = if n % 9 == 0 { 3 * DAY } else { 0 };
        let events = order(&format!("O{n:03}"), shipped, Some(took));
        all.extend(events.into_iter().map(|it| (at(&it) + late, it)));
    }
    all.sort();
    // What is not delivered by the end is on its way.
    let end = FIRST + DAYS * DAY;
    all.into_iter().filter(|it| it.0 < end).map(|it| it.1).collect()
}

/// The newest day that was reached at each place: what stands in one of these may stand in any order.
fn days(lines: &[String]) -> Vec<i64> {
    let mut newest = i64::MIN;
    let mut day = |it: &String| {
        newest = at(it).div_euclid(DAY).max(newest);
        newest
    };
    lines.iter().map(&mut day).collect()
}

/// The same, shuffled within each day, so that the first of a day is one that reaches it.
fn shuffled(lines: &[String]) -> Vec<String> {
    let (days, mut seed) = (days(lines), 3);
    let mut keyed: Vec<(i64, bool, u64, String)> = lines
        .iter()
        .zip(days)
        .map(|(it, day)| (day, at(it).div_euclid(DAY) != day, next(&mut seed), it.clone()))
        .collect();
    keyed.sort();
    keyed.into_iter().map(|it| it.3).collect()
}

/// What came out, and the rows of `order_visibility` as text.
fn replayed(folder: &Folder, input: &str, more: &[&str]) -> (Value, String) {
    let out = folder.path("rows");
    let words = ["replay", input, "--rows-out", &out, "--json"];
    let outcome = told(&[&words[..], more].concat());
    let rows = std::fs::read_to_string(Path::new(&out).join("order_visibility.jsonl")).unwrap();
    (outcome, rows)
}

fn models(outcome: &Value) -> Vec<Value> {
    outcome["arrivals"]["models"].as_array().unwrap().clone()
}

fn instant(model: &Value, name: &str) -> i64 {
    parse_rfc3339(model[name].as_str().unwrap()).unwrap()
}

/// Goal: a replay waits at each midnight that the events pass and seals what was before it, exactly:
/// the same models and rows by one worker and by two, in chunks and epochs of other sizes, with the
/// records of a day in another order, as part of a longer file; with what was sealed given, the same
/// rows, and nothing sealed. Method: the real binary over made histories.
#[test]
fn a_replay_seals_at_the_midnights_it_passes() {
    let folder = Folder::new("midnights");
    let lines = history();
    let input = folder.file("in.jsonl", lines.join("\n"));
    let state = folder.path("state");
    let (outcome, rows) = replayed(&folder, &input, &["--workers", "1", "--state", &state]);
    let sealed = models(&outcome);
    let passed = &outcome["arrivals"];
    let n_days = days(&lines).windows(2).filter(|it| it[0] != it[1]).count();
    assert_eq!(passed["cuts"], n_days, "one cut a day: {passed}");
    assert_eq!((&passed["sealed"], sealed.len()), (&json!(sealed.len()), sealed.len()));
    assert!(sealed.len() > 20 && passed["too_few"].as_u64() > Some(0), "{passed}");
    assert!(passed["waited_s"].as_f64() > Some(0.0));

    // Each is of a midnight, and speaks from right behind what was read before it.
    let days = days(&lines);
    for it in &sealed {
        let boundary = instant(it, "boundary");
        assert_eq!(boundary % DAY, 0);
        let before = lines.iter().zip(&days).filter(|it| it.1 * DAY < boundary);
        let newest = before.map(|it| at(it.0)).max().unwrap();
        assert_eq!(instant(it, "in_use_since"), (newest + 1_000) / 1_000 * 1_000, "{it}");
    }

    // Of each order on its way speaks the newest before it entered its stage, by what was known then.
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows.lines() {
        let row: Value = serde_json::from_str(row).unwrap();
        let is_on_its_way = ["paid", "shipped"].iter().any(|it| row["status"] == *it);
        let entered = row["since"].as_str().and_then(parse_rfc3339).unwrap();
        let by = sealed.iter().rfind(|it| instant(it, "in_use_since") <= entered);
        let expected = by.filter(|_| is_on_its_way).map_or(Value::Null, |it| it["model"].clone());
        assert_eq!(row["eta_model"], expected, "{row}");
        assert_eq!(row["eta_p50"].is_null(), expected.is_null(), "{row}");
        *said.entry(expected.to_string()).or_default() += 1;
    }
    assert!(said.len() > 5, "{said:?}");

    let same = |what: &str, input: &str, more: &[&str]| {
        let (other, its_rows) = replayed(&folder, input, more);
        assert_eq!(models(&other), sealed, "{what}");
        assert_eq!(its_rows, rows, "{what}");
        assert_eq!(other["views"], outcome["views"], "{what}");
    };
    same("two workers", &input, &["--workers", "2"]);
    let longer = ["--workers", "2", "--set", "engine.epoch_period=100ms"];
    same("longer epochs", &input, &longer);
    // One record a chunk, at the most.
    same("line by line", &input, &["--workers", "2", "--rate", "2000"]);
    let other = folder.file("other.jsonl", shuffled(&lines).join("\n"));
    same("shuffled", &other, &["--workers", "2"]);
    let parts = folder.path("parts");
    std::fs::create_dir(&parts).unwrap();
    for (n, part) in lines.chunks(lines.len() / 3 + 1).enumerate() {
        folder.file(&format!("parts/{n}.jsonl"), part.join("\n"));
    }
    same("several files", &parts, &["--workers", "2"]);
    // Another time than that of the events seals nothing.
    let (other, its_rows) = replayed(&folder, &input, &["--clock", "2019-05-31T00:00:00Z"]);
    assert_eq!(other["arrivals"], Value::Null);
    assert!(!its_rows.contains("arrival 1"), "nobody says when orders arrive");
    let (other, _) = replayed_views(&folder, &input, "orders");
    assert_eq!(other["arrivals"], Value::Null);

    // What was sealed says the same, and nothing is sealed beside it.
    let given = format!("{state}/models");
    let (other, its_rows) = replayed(&folder, &input, &["--models", &given]);
    assert_eq!((&other["arrivals"], &its_rows), (&Value::Null, &rows));
    // Of the beginning alone the same was sealed.
    let half = folder.file("half.jsonl", lines[..lines.len() * 2 / 3].join("\n"));
    let (other, _) = replayed(&folder, &half, &[]);
    let these = models(&other);
    assert!(these.len() > 5 && these[..] == sealed[..these.len()], "{these:?}");
}

/// The same with some views only.
fn replayed_views(folder: &Folder, input: &str, views: &str) -> (Value, String) {
    let out = folder.path("some");
    let outcome = told(&["replay", input, "--rows-out", &out, "--json", "--views", views]);
    (outcome, String::new())
}

/// Goal: a replay with a state that is killed and goes on ends with the same models and rows as one
/// that was not. Method: kill -9 after each third model, until it comes to its end.
#[test]
fn a_killed_replay_goes_on_to_the_same_models() {
    let folder = Folder::new("midnights-killed");
    let input = folder.file("in.jsonl", history().join("\n"));
    let (outcome, rows) = replayed(&folder, &input, &[]);
    let state = folder.path("state");
    let list = || {
        let text = std::fs::read(Path::new(&state).join("models/arrivals")).unwrap_or_default();
        String::from_utf8_lossy(&text).matches("\"digest\"").count()
    };
    for n in [3, 9, 15] {
        let words = ["replay", &input, "--state", &state, "--rate", "100", "--workers", "2"];
        let mut process = Process::start(&words);
        while list() < n {
            assert!(process.child.try_wait().unwrap().is_none(), "it ended before");
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        process.signal("-KILL");
        assert_ne!(process.end().0, 0);
    }
    let (other, its_rows) = replayed(&folder, &input, &["--state", &state]);
    assert_eq!((models(&other), &its_rows), (models(&outcome), &rows));
    assert!(other["arrivals"]["sealed"].as_u64() < outcome["arrivals"]["sealed"].as_u64());
    // Without what was sealed it would say other things of the same orders: it is refused.
    std::fs::remove_file(Path::new(&state).join("models/arrivals")).unwrap();
    let (code, _, err) = run(&["replay", &input, "--state", &state]);
    assert!(code == 1 && err.contains("error[models/list]"), "{err}");
}

/// Goal: standard input is sealed as a file is; a second replay of the same state seals nothing more;
/// a model that cannot be written ends the replay with its report, and what follows goes on from
/// there to the same models. Method: the real binary; a folder stands where the list is written, and
/// a file where the models are to lie.
#[test]
fn what_cannot_be_written_ends_a_replay_that_can_go_on() {
    let folder = Folder::new("midnights-written");
    let lines = history().join("\n");
    let input = folder.file("in.jsonl", &lines);
    let (outcome, rows) = replayed(&folder, &input, &[]);

    let out = folder.path("rows");
    let mut command = command(&["replay", "-", "--rows-out", &out, "--json"]);
    command.stdin(std::fs::File::open(&input).unwrap());
    let (code, said, err) = process::told(command.output().unwrap());
    assert_eq!(code, 0, "{err}");
    let other: Value = serde_json::from_str(&said).unwrap();
    let its_rows = std::fs::read_to_string(Path::new(&out).join("order_visibility.jsonl")).unwrap();
    assert_eq!((models(&other), &its_rows), (models(&outcome), &rows));

    let state = folder.path("state");
    let in_the_way = Path::new(&state).join("models/arrivals.new");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let (code, said, err) = run(&["replay", &input, "--state", &state]);
    let told = "error[models/not-written]";
    assert!(code == 1 && said.is_empty() && err.contains(told), "{said}{err}");
    std::fs::remove_dir(&in_the_way).unwrap();
    // A body without a list that names it would be left for ever.
    assert_eq!(std::fs::read_dir(Path::new(&state).join("models")).unwrap().count(), 0);
    let (other, its_rows) = replayed(&folder, &input, &["--state", &state]);
    assert_eq!((models(&other), &its_rows), (models(&outcome), &rows));
    let passed = |it: &Value| ["cuts", "sealed"].map(|name| it["arrivals"][name].as_u64().unwrap());
    // From the last checkpoint, if there was one yet: never more than all.
    assert!(passed(&other)[0] <= passed(&outcome)[0]);
    assert_eq!(passed(&other)[1], passed(&outcome)[1]);

    let list = std::fs::read(Path::new(&state).join("models/arrivals")).unwrap();
    let (other, its_rows) = replayed(&folder, &input, &["--state", &state, "--workers", "2"]);
    assert_eq!((passed(&other), models(&other)), ([0, 0], models(&outcome)));
    assert_eq!(its_rows, rows);
    assert_eq!(std::fs::read(Path::new(&state).join("models/arrivals")).unwrap(), list);

    let other = folder.path("other");
    std::fs::create_dir(&other).unwrap();
    folder.file("other/models", "");
    let (code, said, err) = run(&["replay", &input, "--state", &other]);
    assert!(code == 1 && said.is_empty() && err.contains("error[models/list]"), "{said}{err}");
}

/// Goal: a record of years later makes one cut and not thousands, and one that the contract refuses
/// makes none. Method: both in the middle of a history.
#[test]
fn a_jump_over_years_is_one_cut() {
    let folder = Folder::new("midnights-jump");
    let mut lines = history();
    let (whole, _) = replayed(&folder, &folder.file("in.jsonl", lines.join("\n")), &[]);
    let middle = lines.len() / 2;
    lines.insert(middle, order("refused", FIRST + 40_000 * DAY, None).remove(0));
    let (other, _) = replayed(&folder, &folder.file("refused.jsonl", lines.join("\n")), &[]);
    assert_eq!((models(&other), &other["counts"]["rejected"]), (models(&whole), &json!(1)));
    lines[middle] = order("jumps", FIRST + 500 * DAY, None).remove(0);
    let (other, _) = replayed(&folder, &folder.file("jumps.jsonl", lines.join("\n")), &[]);
    let cuts = days(&lines).windows(2).filter(|it| it[0] != it[1]).count();
    assert_eq!(other["arrivals"]["cuts"], cuts);
    assert!(cuts > 10 && cuts < 30, "{cuts}");
    let boundaries = models(&other).iter().map(|it| instant(it, "boundary")).max();
    assert!(boundaries < Some(FIRST + DAYS * DAY), "nothing is known of years later");
    let shown = rfc3339(FIRST + 498 * DAY);
    assert_eq!(
        other["now_ms"].as_i64().unwrap() / 86_400_000,
        (FIRST + 498 * DAY) / DAY,
        "{shown}"
    );
}
