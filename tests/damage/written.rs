//! A data folder with some of everything that is kept, written by the real program: logs of several
//! segments, states of many checkpoints, rejects, small files, a model that was published, and what
//! waits for sinks, of which one has taken everything, one never will, and one refuses a row.

use std::path::{Path, PathBuf};

use millstream::ingest::resets::{Resets, To};
use millstream::messages::{BookLine, Counts};
use millstream::segments;
use millstream::sinks::aside;
use millstream::supervise::notes;

use crate::process::{self, Folder, run};
use crate::{load, make, outbox};

/// Events that are sent, in so many lives of the process, of which one of some is sent once more in
/// the next life.
const EVENTS: &str = "600";
const LIVES: usize = 3;
const REPEATS: usize = 9;

/// A process that keeps its state often.
fn started(dir: &Path, more: &[&str]) -> process::Process {
    let dir = dir.display().to_string();
    let mut all = vec!["run", "--data-dir", &dir, "--listen", "127.0.0.1:0"];
    all.extend(["--set", "state.interval=10ms", "--set", "state.segment_bytes=64 KiB"]);
    all.extend(more);
    process::Process::start(&all)
}

pub fn written(folder: &Folder) -> PathBuf {
    let (_, events, _) = run(&["generate", "--events", EVENTS, "--seed", "3"]);
    let lines: Vec<&str> = events.lines().collect();
    let dir = folder.0.join("data");
    // The receiver of one sink is not there: no folder can be made in a file.
    let nowhere = PathBuf::from(folder.file("a file", "")).join("out");
    let config = outbox::settings(&folder.0.join("out"), &nowhere);
    let sinks = ["--config", config.as_str()];
    let mut before: &[&str] = &[];
    // Rejects: a feed of what is no event.
    let feed = folder.file("bad.jsonl", "garbage\n{\"specversion\":\"1.0\"}\n");
    let feed = ["--feed".to_string(), format!("bad={feed}")];
    for (n, part) in lines.chunks(lines.len().div_ceil(LIVES)).enumerate() {
        let last = n + 1 == LIVES;
        let more = if last { &feed[..] } else { &[] };
        let more: Vec<&str> = sinks.into_iter().chain(more.iter().map(String::as_str)).collect();
        let mut process = started(&dir, &more);
        let address = process.address(&dir);
        crate::ready(&address, &mut process);
        for line in before.iter().step_by(REPEATS).chain(part) {
            make::send(&address, line);
        }
        before = part;
        load::settled(&address);
        outbox::taken(&address, &mut process);
        // Of the last one the newest segments have no end, and many checkpoints.
        process.signal(if last { "-KILL" } else { "-TERM" });
        assert_eq!(process.end().0, if last { -1 } else { 0 });
        if n == 1 {
            make::published(folder, &dir.display().to_string());
        }
    }
    small(&dir);
    dir
}

/// A decision about a topic, a record that brought a process down, and a row that a receiver would
/// not take.
fn small(dir: &Path) {
    let line = BookLine {
        feed: "shop/orders".into(),
        identity: Some("cluster/topic".into()),
        partition: 0,
        first: 0,
        next: 10,
        newest_event: 0,
        reset: 0,
        counts: Counts::default(),
    };
    let to = To::try_from("latest".to_string()).unwrap();
    Resets::open(dir).unwrap().decide(&[line], "shop", None, to).unwrap();
    let place = notes::Place { feed: "shop/orders".into(), partition: 0, offset: 5, again: false };
    notes::put_aside(dir, notes::Aside { place, why: "a panic".into() }).unwrap();
    let refused = serde_json::json!([{
        "id": "0-1-7.3", "stream": "rows orders", "incarnation": 1, "upto": 5, "at_ms": 6,
        "report": {"code": "sinks/refused", "why": "too long"}, "item": "AAAAAA==",
    }]);
    let path = dir.join("sinks/waits").join(aside::FILE);
    segments::replace_checked(&path, refused.to_string().as_bytes()).unwrap();
}
