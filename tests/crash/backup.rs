//! Goal: a backup taken while events stream in is what a crash at one instant could have left:
//! restored elsewhere it serves exactly the events its log holds, and is another incarnation.
//! Method: the real binary under load; backups are taken of it, one after the other, and of the
//! folder at rest; each is restored into an empty folder, started with another number of workers,
//! and every row held against the plain computation over the log's first records.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::Value;

use crate::load::*;
use crate::process::{Folder, run};

fn json(words: &[&str]) -> Value {
    let (code, out, err) = run(words);
    assert_eq!(code, 0, "{words:?}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|why| panic!("{words:?}: {why}: {out}"))
}

#[test]
fn restored_elsewhere_it_is_the_same() {
    let folder = Folder::new("backup");
    let (process, address) = start(&folder, 2);
    let stage = Arc::new(Stage::default());
    *stage.address.lock().unwrap() = address;
    let producer = {
        let stage = Arc::clone(&stage);
        std::thread::spawn(move || produce(&stage, Random(7)))
    };
    let data = folder.path("data");
    // Before the first checkpoint there is only a log to copy.
    while json(&["state", "stats", "--data-dir", &data, "--json"])["newest"].is_null() {
        assert!(!producer.is_finished(), "the producer has failed");
    }
    let mut backups = Vec::new();
    for n in 0..3 {
        let acknowledged = stage.acknowledged.load(SeqCst);
        while stage.acknowledged.load(SeqCst) < acknowledged + 10 * BATCH {
            assert!(!producer.is_finished(), "the producer has failed");
            std::thread::yield_now();
        }
        let before = stage.acknowledged.load(SeqCst);
        let to = folder.path(&format!("backup-{n}"));
        let made = json(&["backup", &to, "--data-dir", &data, "--json"]);
        assert!(made["bytes"].as_u64().unwrap() > 0, "{made}");
        backups.push((to, before));
    }
    // What a running process says of its state.
    let stats = json(&["state", "stats", "--data-dir", &data, "--json"]);
    assert!(stats["newest"]["checkpoint"].as_u64() > Some(0), "{stats}");
    let verified = json(&["state", "verify", "--data-dir", &data, "--json"]);
    assert_eq!(verified["logs"].as_array().map(Vec::len), Some(4), "{verified}");
    stage.ended.store(true, SeqCst);
    producer.join().unwrap();
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);

    let incarnation =
        json(&["state", "stats", "--data-dir", &data, "--json"])["incarnation"].as_u64();
    let to = folder.path("backup-at-rest");
    json(&["backup", &to, "--data-dir", &data, "--json"]);
    backups.push((to, stage.acknowledged.load(SeqCst)));
    for (n, (backup, at_least)) in backups.iter().enumerate() {
        let (name, dir) = (format!("restored-{n}"), folder.0.join(format!("restored-{n}/data")));
        std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
        let restored = dir.display().to_string();
        json(&["restore", backup, "--data-dir", &restored, "--json"]);
        // Twice into one folder is refused.
        assert_eq!(run(&["restore", backup, "--data-dir", &restored]).0, 1);
        let stats = json(&["state", "stats", "--data-dir", &restored, "--json"]);
        assert_eq!(stats["began"], "restored", "{stats}");
        assert!(stats["incarnation"].as_u64() > incarnation, "{stats}");
        let position = json(&["log", "stats", "--data-dir", &restored, "--json"])["next"].clone();
        let process = started(&folder, &name, n as u64 % 3 + 1);
        let ledger = caught_up(&process.1, position.as_u64().unwrap());
        // Some of the log are repeats; each event is in it before those with greater numbers.
        let n_events = ledger["applied"].as_u64().unwrap();
        assert!(n_events >= *at_least, "{n_events} of {at_least} acknowledged before it began");
        check(&process.1, n_events);
        process.0.signal("-TERM");
        assert_eq!(process.0.end().0, 0);
    }
    // A file that is not what the list says is found, and no data folder is made of it.
    let (backup, damaged) = (&backups[0].0, folder.0.join("damaged/data"));
    let segment =
        std::fs::read_dir(format!("{backup}/log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, _, err) = run(&["restore", backup, "--data-dir", &damaged.display().to_string()]);
    assert_eq!((code, damaged.exists()), (1, false), "{err}");
    assert!(err.contains("backup/not-whole"), "{err}");
}
