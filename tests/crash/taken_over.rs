//! Goal: a process that was stopped (SIGSTOP), and comes back after another has taken its folder
//! over, notices before it writes: it takes nothing more, reads go on, and nothing of it gets into
//! what the other one keeps. Method: the real binary, stopped at a random instant under load; then
//! the locks are removed, or a copy is put in the folder's place; a second process starts there and
//! takes events; the first one goes on.
//!
//! `MILLSTREAM_SEED` repeats a run, but for the instants.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::load::*;
use crate::process::{Folder, Process, run};

/// Of each way.
const ROUNDS: u64 = 4;
/// Batches that the second process takes while the first one is stopped, and as many after.
const MORE: u64 = 3;

fn pause() {
    std::thread::park_timeout(Duration::from_millis(1));
}

/// Stopped, with every thread.
fn stop(process: &Process) {
    process.signal("-STOP");
    let tasks = format!("/proc/{}/task", process.child.id());
    let stands = |task: &Path| {
        let Ok(text) = std::fs::read_to_string(task.join("stat")) else { return true };
        text.rsplit_once(')').is_some_and(|it| it.1.trim_start().starts_with('T'))
    };
    while !std::fs::read_dir(&tasks).unwrap().all(|it| stands(&it.unwrap().path())) {
        pause();
    }
}

fn remove_locks(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_locks(&path);
        } else if path.ends_with("lock") {
            std::fs::remove_file(&path).unwrap();
        }
    }
}

/// Events in the views, of the log.
fn applied(address: &str) -> u64 {
    settled(address);
    get(address, "/v1/ledger").unwrap().1["partitions"][0]["applied"].as_u64().unwrap()
}

fn taken_over(how: &str, random: &mut Random, folder: &Folder) {
    let (stopped, old) = start(folder, 1);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let producer = {
        let (acknowledged, old) = (Arc::clone(&acknowledged), old.clone());
        std::thread::spawn(move || {
            loop {
                let next = acknowledged.load(SeqCst);
                match post(&old, next * BATCH, "") {
                    Some((202, _)) => acknowledged.store(next + 1, SeqCst),
                    Some((429, _)) => pause(),
                    it => return it,
                }
            }
        })
    };
    let enough = 3 + random.below(20);
    while acknowledged.load(SeqCst) < enough {
        pause();
    }
    std::thread::park_timeout(Duration::from_micros(random.below(3_000)));
    stop(&stopped);

    let data = folder.0.join("data");
    match how {
        "unlocked" => remove_locks(&data),
        _ => {
            std::fs::rename(&data, folder.0.join("aside")).unwrap();
            crate::disk::copy(&folder.0.join("aside"), &data);
        }
    }
    let (second, address) = start(folder, 2);
    let there = applied(&address);
    let mut next = there / BATCH;
    assert_eq!(there, next * BATCH, "{how}: a batch is there whole or not at all");
    for _ in 0..MORE {
        assert_eq!(post(&address, next * BATCH, "&wait=applied").unwrap().0, 202);
        next += 1;
    }

    stopped.signal("-CONT");
    // What was on its way is refused; or it had been written before, and the second one has it.
    // (On a machine that stood still its sender has given up.)
    if let Some((status, why)) = producer.join().unwrap() {
        assert_eq!(status, 503, "{how}: {why}");
        assert!(why.to_string().contains("segments/removed"), "{how}: {why}");
    }
    let acknowledged = acknowledged.load(SeqCst);
    assert!(acknowledged * BATCH <= there, "{how}: {acknowledged} acknowledged, {there} there");
    // It takes nothing, and answers what it is asked.
    let (status, why) = post(&old, 1_000 * BATCH, "").expect("an answer");
    assert_eq!(status, 503, "{how}: {why}");
    assert_eq!(get(&old, "/v1/views/customers").expect("an answer").0, 200);
    for _ in 0..MORE {
        assert_eq!(post(&address, next * BATCH, "&wait=applied").unwrap().0, 202);
        next += 1;
    }
    stopped.signal("-TERM");
    let (code, _, err) = stopped.end();
    assert_ne!(code, 0, "{how}: {err}");
    assert!(err.contains("segments/removed"), "{how}: {err}");

    let told = std::fs::read_to_string(data.join("admin.addr")).unwrap();
    assert_eq!(told.trim(), address, "{how}: where the second one is");
    check(&address, next * BATCH);
    second.signal("-TERM");
    let (code, _, err) = second.end();
    assert_eq!(code, 0, "{how}: {err}");
    let (code, out, err) = run(&["state", "verify", "--data-dir", &data.display().to_string()]);
    assert_eq!(code, 0, "{how}: {out}{err}");
    let (third, address) = start(folder, 1);
    assert_eq!(applied(&address), next * BATCH, "{how}");
    check(&address, next * BATCH);
    third.signal("-TERM");
    assert_eq!(third.end().0, 0);
}

#[test]
fn one_that_comes_back_writes_nothing() {
    let seed = setting("MILLSTREAM_SEED").unwrap_or(1);
    println!("MILLSTREAM_SEED={seed}");
    let mut random = Random(seed);
    for round in 0..ROUNDS {
        for how in ["unlocked", "copied"] {
            let folder = Folder::new(&format!("taken-over-{how}-{round}"));
            taken_over(how, &mut random, &folder);
        }
    }
}
