//! Goal: whatever write, sync, rename, cut or removal is the last one, or fails, the next start is
//! right: what was acknowledged is there once, and nothing else. A sync that failed is never tried
//! again on the same file. Method: a script that passes through start, checkpoints, cleaning and
//! stop, behind a library that counts what is written; at the chosen count the process ends, does
//! half of it, or is told that it failed. Then it starts without the library.
//!
//! `MILLSTREAM_WRITES=all` takes every count until one is not reached any more; else some.

use std::process::Stdio;
use std::time::Duration;

use crate::load::*;
use crate::process::{Folder, Process, command};
use crate::shim;

/// Rounds of the script, and batches of one.
const ROUNDS: u64 = 8;
const BATCHES: u64 = 6;
/// More than the script has.
const COUNT_MAX: u64 = 400;
/// Without being asked for all, so many counts lie between two that are taken.
const STRIDE: u64 = 23;

/// The outcome of a script: batches acknowledged, and whether it was hit at all.
struct Ran {
    acknowledged: u64,
    /// The process ended by itself before it was told to.
    ended: bool,
}

fn start(folder: &Folder, at: Option<(u64, &str)>) -> Process {
    let data = folder.path("data");
    let mut run = command(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    run.args(["--workers", "1", "--set", "state.interval=10ms"]);
    run.args(["--set", "state.segment_bytes=64 KiB", "--set", "state.max_interval=10ms"]);
    if let Some((at, how)) = at {
        run.env("LD_PRELOAD", shim::library());
        run.env("SHIM_FOLDER", &data).env("SHIM_AT", at.to_string()).env("SHIM_HOW", how);
        run.env("SHIM_TOLD", folder.path("told"));
    }
    std::fs::remove_file(folder.0.join("data/admin.addr")).ok();
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    Process::of(child, out)
}

/// The address, or none where it ends first.
fn address(folder: &Folder, process: &mut Process) -> Option<String> {
    loop {
        if process.child.try_wait().unwrap().is_some() {
            return None;
        }
        match std::fs::read_to_string(folder.0.join("data/admin.addr")) {
            Ok(address) if address.ends_with('\n') => return Some(address.trim().into()),
            _ => std::thread::park_timeout(Duration::from_millis(1)),
        }
    }
}

/// Sends what is not acknowledged yet, batch by batch.
fn script(folder: &Folder, mut process: Process, mut acknowledged: u64, until: u64) -> Ran {
    let Some(address) = address(folder, &mut process) else {
        return Ran { acknowledged, ended: true };
    };
    while acknowledged < until {
        // A round is read before the next: each has its checkpoint.
        let wait = if (acknowledged + 1).is_multiple_of(BATCHES) { "&wait=applied" } else { "" };
        match post(&address, acknowledged * BATCH, wait) {
            Some((202, _)) => acknowledged += 1,
            Some((429 | 503, _)) => std::thread::park_timeout(Duration::from_millis(2)),
            Some((status, why)) => panic!("{status}: {why}"),
            None if process.child.try_wait().unwrap().is_some() => {
                return Ran { acknowledged, ended: true };
            }
            // It is ending, or the answer was lost with it.
            None => std::thread::park_timeout(Duration::from_millis(1)),
        }
    }
    process.signal("-TERM");
    let code = process.child.wait().unwrap().code();
    Ran { acknowledged, ended: code.is_none() }
}

/// One count in one way. Whether the script came through without being hit.
fn hit(at: u64, how: &str) -> bool {
    let folder = Folder::new(&format!("writes-{how}-{at}"));
    let n_batches = ROUNDS * BATCHES;
    let ran = script(&folder, start(&folder, Some((at, how))), 0, n_batches);
    let told = std::fs::read_to_string(folder.0.join("told"));
    assert!(told.is_err(), "{how} {at}: a failed sync was tried again: {told:?}");
    // What was acknowledged is there: the rest is sent now, and all of it held against the plain
    // computation.
    let mut process = start(&folder, None);
    let Some(address) = address(&folder, &mut process) else {
        panic!("{how} {at}: does not start: {}", process.end().2);
    };
    for batch in ran.acknowledged..n_batches {
        assert_eq!(post(&address, batch * BATCH, "").unwrap().0, 202, "{how} {at}");
    }
    settled(&address);
    let (_, ledger) = get(&address, "/v1/ledger").unwrap();
    let line = &ledger["partitions"][0];
    assert_eq!(line["applied"], n_batches * BATCH, "{how} {at}: {line}");
    check(&address, n_batches * BATCH);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0, "{how} {at}");
    !ran.ended && (how == "end" || how == "half")
}

#[test]
fn at_every_write() {
    let all = std::env::var("MILLSTREAM_WRITES").is_ok_and(|it| it == "all");
    let stride = if all { 1 } else { STRIDE };
    for (n, how) in ["end", "half", "enospc", "eio"].into_iter().enumerate() {
        // The ways share the counts out between them where not all are taken.
        let first = 1 + n as u64 * stride / 4;
        let (mut counts, mut at) = (0, first);
        let mut through = false;
        while at < COUNT_MAX && !through {
            through = hit(at, how);
            counts += 1;
            at += stride;
            // Where it only fails, nothing tells that it was not reached: as many as of the first.
            if matches!(how, "enospc" | "eio") && at > COUNT_MAX / 2 {
                break;
            }
        }
        println!("{how}: {counts} counts, up to {at}");
        assert!(counts > 3, "{how}: only {counts} counts");
    }
}
