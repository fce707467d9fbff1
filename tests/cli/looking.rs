//! Looking into a data folder that no process has open.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::process::{Folder, Process, command, run, told};
use crate::skipped::skipped;

/// Every file below, with its bytes and when it was changed.
fn everything(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let changed = path.metadata().unwrap().modified().unwrap();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, (Vec::new(), changed));
        } else {
            found.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    found
}

/// A data folder whose process was killed while it wrote: events, one reject, a log cut short.
fn left_by_a_crash(folder: &Folder) -> String {
    let data = folder.path("data");
    let (_, good, _) = run(&["generate", "--events", "20"]);
    let file = folder.file("in.jsonl", format!("{good}no\n"));
    let feed = format!("shop={file}");
    let words = ["demo", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let mut process = Process::start(&words);
    process.until("events/s");
    process.signal("-KILL");
    process.end();
    let words = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--feed", &feed];
    let mut process = Process::start(&words);
    process.address(&folder.0.join("data"));
    let listed = || run(&["rejects", "list", "--data-dir", &data, "--json"]).1.lines().count();
    while listed() == 0 {
        assert!(process.child.try_wait().unwrap().is_none(), "run ended");
    }
    process.signal("-KILL");
    process.end();
    let mut segments: Vec<PathBuf> = std::fs::read_dir(folder.0.join("data/log"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "seg"))
        .collect();
    segments.sort();
    let newest = segments.last().unwrap();
    let mut bytes = std::fs::read(newest).unwrap();
    bytes.extend_from_slice(b"half of a block");
    std::fs::write(newest, bytes).unwrap();
    data
}

/// Every way of looking.
const LOOKS: [&[&str]; 5] = [
    &["log", "stats", "--json"],
    &["log", "show", "--limit", "3"],
    &["rejects", "list"],
    &["rejects", "show", "--json"],
    &["rejects", "list", "--reason", "schemas/not-json"],
];

/// Goal: looking writes nothing, not even what opening would mend, and tells of it. Method: a
/// folder that a killed process left, with a tail cut short; every file before and after.
#[test]
fn looking_does_not_write() {
    let folder = Folder::new("looking");
    let data = left_by_a_crash(&folder);
    let before = everything(&folder.0.join("data"));
    for look in LOOKS {
        let (code, out, err) = run(&[look, &["--data-dir", &data]].concat());
        assert!(code == 0 && !out.is_empty(), "{look:?}: {out}{err}");
        if look[0] == "log" {
            assert!(err.contains("found the end of a segment"), "{look:?}: {err}");
            assert!(err.contains("effect: nothing was changed"), "{look:?}: {err}");
        }
    }
    let after = everything(&folder.0.join("data"));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (path, was) in &before {
        assert!(after[path] == *was, "{} was written", path.display());
    }
    // A start then does remove it, and keeps the rest.
    let next = |out: &str| serde_json::from_str::<serde_json::Value>(out).unwrap()["next"].clone();
    let stats = run(&["log", "stats", "--json", "--data-dir", &data]);
    assert_eq!(stats.0, 0, "{stats:?}");
    let looked = next(&stats.1);
    let words = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0"];
    let mut process = Process::start(&words);
    process.address(&folder.0.join("data"));
    let stats = run(&["log", "stats", "--json", "--data-dir", &data]);
    assert_eq!(stats.0, 0, "{stats:?}");
    assert_eq!(next(&stats.1), looked);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}

/// Goal: who may read a data folder, and no more, may look into it. Method: as nobody, with a copy
/// of the program where nobody finds it.
#[test]
fn who_may_only_read_may_look() {
    let folder = Folder::new("reader");
    let data = left_by_a_crash(&folder);
    let program = folder.0.join("millstream");
    std::fs::copy(env!("CARGO_BIN_EXE_millstream"), &program).unwrap();
    for path in everything(&folder.0).keys().chain([&folder.0]) {
        let mode = if path.is_dir() || *path == program { 0o555 } else { 0o444 };
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let root = std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t");
    for look in LOOKS {
        let mut asks = command(&[]);
        if root {
            asks = std::process::Command::new(&program);
            asks.env_clear().current_dir(std::env::temp_dir()).uid(65_534).gid(65_534);
        }
        let done = asks.args(look).args(["--data-dir", &data]).output();
        let Ok(done) = done else {
            skipped("looking as nobody: cannot start a process of another user");
            break;
        };
        let (code, out, err) = told(done);
        assert!(code == 0 && !out.is_empty(), "{look:?}: {out}{err}");
    }
    for path in everything(&folder.0).keys().chain([&folder.0]).filter(|it| it.is_dir()) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}
