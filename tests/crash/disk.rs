//! Goal: on a disk that is full, may only be read, or takes seconds for a sync, reads go on,
//! ingest says why it does not, and all mends itself when the disk does. Method: the real binary
//! behind the library of `writes`, for as long as a file is there.
//!
//! And: where the data folder is removed, moved or replaced under the process, reads go on, nothing
//! is acknowledged that would be gone with the process, and nothing is written into what stands in
//! its place.

use std::time::Duration;

use crate::load::*;
use crate::process::{Folder, Process, command};
use crate::shim;

fn start(folder: &Folder, how: &str) -> (Process, String) {
    let data = folder.path("data");
    let mut run = command(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    run.args(["--set", "state.interval=20ms", "--set", "state.max_interval=20ms"]);
    run.env("LD_PRELOAD", shim::library()).env("SHIM_FOLDER", &data);
    run.env("SHIM_HOW", how).env("SHIM_WHILE", folder.path("while"));
    let mut process = Process::spawn(&mut run);
    let address = process.address(&folder.0.join("data"));
    (process, address)
}

fn metric(address: &str, name: &str) -> u64 {
    let (_, text) = crate::process::get(address, "/metrics");
    let line =
        text.lines().find_map(|it| it.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    line.trim().parse::<f64>().unwrap() as u64
}

#[test]
fn a_disk_in_trouble_mends_itself() {
    for how in ["enospc", "erofs", "slow"] {
        let folder = Folder::new(&format!("disk-{how}"));
        let (process, address) = start(&folder, how);
        assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
        let flag = folder.0.join("while");
        std::fs::write(&flag, "").unwrap();
        // Reads go on.
        check(&address, BATCH);
        let raised = |name: &str| {
            while metric(&address, name) == 0 {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        };
        if how == "slow" {
            let asking = address.clone();
            let answer = std::thread::spawn(move || post(&asking, BATCH, ""));
            raised("millstream_disk_slow");
            assert_eq!(answer.join().unwrap().unwrap().0, 202);
        } else {
            let (status, why) = post(&address, BATCH, "").unwrap();
            assert_eq!(status, 503, "{how}: {why}");
            assert!(why.to_string().contains("segments/"), "{how}: {why}");
            raised("millstream_log_failing");
            check(&address, BATCH);
        }
        std::fs::remove_file(&flag).unwrap();
        while post(&address, BATCH, "&wait=applied").unwrap().0 != 202 {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        settled(&address);
        check(&address, 2 * BATCH);
        for name in ["millstream_log_failing", "millstream_disk_slow"] {
            while metric(&address, name) != 0 {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
        // A checkpoint is made of it.
        let made = metric(&address, "millstream_checkpoints_total");
        assert_eq!(post(&address, 2 * BATCH, "&wait=applied").unwrap().0, 202);
        while metric(&address, "millstream_checkpoints_total") <= made {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        process.signal("-TERM");
        let (code, _, err) = process.end();
        assert_eq!(code, 0, "{how}: {err}");
        assert_eq!(err.contains("watch/disk-slow"), how == "slow", "{err}");
        let (process, address) = start(&folder, how);
        check(&address, 3 * BATCH);
        process.signal("-TERM");
        assert_eq!(process.end().0, 0);
    }
}

/// Told to end while a sync does not return, it ends in time, and says that it was late; what was
/// acknowledged is there at the next start, which says that it is alive while it loads.
#[test]
fn a_disk_that_does_not_answer_holds_up_neither_the_end_nor_liveness() {
    let folder = Folder::new("disk-stuck");
    let (process, address) = start(&folder, "stuck");
    assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
    settled(&address);
    let flag = folder.0.join("while");
    std::fs::write(&flag, "").unwrap();
    // Nobody is told that it was taken: it hangs in the sync.
    let asking = address.clone();
    let hanging = std::thread::spawn(move || post(&asking, BATCH, ""));
    std::thread::park_timeout(Duration::from_millis(300));
    let began = std::time::Instant::now();
    process.signal("-TERM");
    let (code, _, err) = process.end();
    let took = began.elapsed();
    assert!(took < Duration::from_millis(11_000), "{took:?}: {err}");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("run/stop-late"), "{err}");
    assert!(hanging.join().unwrap().is_none_or(|it| it.0 != 202), "nothing was acknowledged");
    std::fs::remove_file(&flag).unwrap();
    let (process, address) = start(&folder, "slow");
    settled(&address);
    // What nobody acknowledged is there whole or not at all.
    let line = get(&address, "/v1/ledger").unwrap().1["partitions"][0].clone();
    let n_events = line["next"].as_u64().unwrap();
    assert!([BATCH, 2 * BATCH].contains(&n_events), "{line}");
    check(&address, n_events);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);

    // Each sync takes two seconds, and there are some before the state is there: that a view is to
    // be built again is noted first.
    std::fs::write(&flag, "").unwrap();
    let data = folder.path("data");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut run = command(&["run", "--data-dir", &data, "--listen", &address]);
    run.args(["--rebuild", "orders"]);
    run.env("LD_PRELOAD", shim::library()).env("SHIM_FOLDER", &data);
    run.env("SHIM_HOW", "slow").env("SHIM_WHILE", &flag);
    let mut process = Process::spawn(&mut run);
    let mut told = Vec::new();
    while !folder.0.join("data/admin.addr").exists() {
        if let Some((status, body)) = get(&address, "/health/live") {
            // (By now it may be served.)
            if let Some((other, why)) = get(&address, "/v1/views")
                && other != 200
            {
                assert_eq!((status, &body["live"]), (200, &true.into()), "{body}");
                assert_eq!((other, &why["code"]), (503, &"serve/starting".into()), "{why}");
                if let Some((503, why)) = get(&address, "/health/ready") {
                    assert_eq!(why["ready"], false, "{why}");
                    told.push(why);
                }
            }
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(!told.is_empty(), "it was alive before it could be read");
    std::fs::remove_file(&flag).unwrap();
    assert_eq!(process.address(&folder.0.join("data")), address);
    while get(&address, "/v1/views/orders").unwrap().0 == 503 {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    check(&address, n_events);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}

/// Refuses what is sent, with the reason, and goes on answering reads.
fn takes_nothing(address: &str, how: &str) {
    let (status, why) = post(address, BATCH, "").unwrap();
    assert_eq!(status, 503, "{how}: {why}");
    assert!(why.to_string().contains("segments/removed"), "{how}: {why}");
    check(address, BATCH);
}

#[test]
fn a_folder_that_is_taken_away_is_noticed() {
    for how in ["removed", "replaced", "moved", "a file"] {
        let folder = Folder::new(&format!("disk-{how}"));
        let (process, address) = crate::load::start(&folder, 1);
        assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
        let (data, aside) = (folder.0.join("data"), folder.0.join("aside"));
        match how {
            "removed" => std::fs::remove_dir_all(&data).unwrap(),
            "replaced" => {
                std::fs::rename(&data, &aside).unwrap();
                // As a tool that puts a backup in its place would.
                copy(&aside, &data);
            }
            "moved" => std::fs::rename(&data, &aside).unwrap(),
            _ => {
                let segments = std::fs::read_dir(data.join("log")).unwrap();
                let segments = segments.map(|it| it.unwrap().path());
                let mut segments =
                    segments.filter(|it| it.extension().is_some_and(|it| it == "seg"));
                std::fs::remove_file(segments.next().unwrap()).unwrap();
            }
        }
        takes_nothing(&address, how);
        // Not even where a folder of that name comes back.
        std::fs::create_dir_all(data.join("log")).unwrap();
        let stands = files(&data);
        takes_nothing(&address, how);
        while metric(&address, "millstream_log_failing") == 0 {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        process.signal("-TERM");
        let (code, _, err) = process.end();
        assert!(err.contains("segments/removed"), "{how}: {err}");
        if how == "a file" {
            continue; // the rest of the folder is ours: it is written
        }
        assert_ne!(code, 0, "{how}: {err}");
        assert_eq!(files(&data), stands, "{how}: it was written into");
        if how == "moved" {
            // Put back, it is what it was.
            std::fs::remove_dir_all(&data).unwrap();
            std::fs::rename(&aside, &data).unwrap();
            let (process, address) = crate::load::start(&folder, 2);
            // What no checkpoint had taken is read again.
            caught_up(&address, BATCH);
            check(&address, BATCH);
            process.signal("-TERM");
            assert_eq!(process.end().0, 0);
        }
    }
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Segments, with their lengths.
fn files(dir: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "seg" || it == "new") {
            let len = std::fs::metadata(&path).unwrap().len();
            found.push((path, len));
        }
    }
    found.sort();
    found
}
