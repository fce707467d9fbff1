//! Goal: whatever write, sync, rename, cut or removal is the last one, or fails, the next start is
//! right: what was acknowledged is through, once, and nothing else, before anything is sent again.
//! A sync that failed is never tried again on the same file. Method: a script that passes through
//! start, checkpoints, cleaning and stop, behind a library that counts what is written; at the
//! chosen count the process ends, does half of it, or is told that it failed. Then it starts
//! without the library.
//!
//! Counts are taken until one is not reached any more: `MILLSTREAM_WRITES=all` every one, else one
//! of some.

use std::process::Stdio;
use std::time::Duration;

use crate::load::*;
use crate::process::{Folder, Process, command};
use crate::shim;

/// Rounds of the script, and batches of one.
const ROUNDS: u64 = 8;
const BATCHES: u64 = 6;
/// Without being asked for all, one of so many counts is taken.
const STRIDE: u64 = 12;
/// Most scripts have fewer counts: from here on the steps grow, so that one that has more (on a
/// slow machine, where checkpoints find less to put together) comes to its end too.
const COUNTS: u64 = 400;

fn start(folder: &Folder, at: Option<(u64, &str)>) -> Process {
    let data = folder.path("data");
    let mut run = command(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    run.args(["--workers", "1", "--set", "state.interval=10ms"]);
    run.args(["--set", "state.segment_bytes=64 KiB", "--set", "state.max_interval=10ms"]);
    if let Some((at, how)) = at {
        run.env("LD_PRELOAD", shim::library());
        run.env("SHIM_FOLDER", &data).env("SHIM_AT", at.to_string()).env("SHIM_HOW", how);
        run.env("SHIM_TOLD", folder.path("told")).env("SHIM_REACHED", folder.path("reached"));
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

/// Sends batch by batch, each until it is acknowledged or the process has ended, and tells it to
/// end after the last; gives how many were acknowledged.
fn script(folder: &Folder, mut process: Process, until: u64) -> u64 {
    let mut acknowledged = 0;
    let Some(address) = address(folder, &mut process) else { return acknowledged };
    while acknowledged < until {
        // A round is read before the next: each has its checkpoint.
        let wait = if (acknowledged + 1).is_multiple_of(BATCHES) { "&wait=applied" } else { "" };
        match post(&address, acknowledged * BATCH, wait) {
            Some((202, _)) => acknowledged += 1,
            Some((429 | 503, _)) => std::thread::park_timeout(Duration::from_millis(2)),
            Some((status, why)) => panic!("{status}: {why}"),
            None if process.child.try_wait().unwrap().is_some() => return acknowledged,
            // It is ending, or the answer was lost with it.
            None => std::thread::park_timeout(Duration::from_millis(1)),
        }
    }
    process.signal("-TERM");
    process.child.wait().unwrap();
    acknowledged
}

/// One count in one way. Whether it was reached.
fn hit(at: u64, how: &str) -> bool {
    let folder = Folder::new(&format!("writes-{how}-{at}"));
    let n_batches = ROUNDS * BATCHES;
    let acknowledged = script(&folder, start(&folder, Some((at, how))), n_batches);
    let told = std::fs::read_to_string(folder.0.join("told"));
    assert!(told.is_err(), "{how} {at}: a failed sync was tried again: {told:?}");
    let mut process = start(&folder, None);
    let Some(address) = address(&folder, &mut process) else {
        panic!("{how} {at}: does not start: {}", process.end().2);
    };
    // What was acknowledged is through; of what was not, at most the batch that was on its way.
    let applied = |address: &str| {
        settled(address);
        get(address, "/v1/ledger").unwrap().1["partitions"][0]["applied"].as_u64().unwrap()
    };
    let there = applied(&address);
    let may_be = [acknowledged * BATCH, n_batches.min(acknowledged + 1) * BATCH];
    assert!(may_be.contains(&there), "{how} {at}: {acknowledged} acknowledged, {there} events");
    check(&address, there);
    // The rest, and all of it held against the plain computation.
    for batch in acknowledged..n_batches {
        assert_eq!(post(&address, batch * BATCH, "").unwrap().0, 202, "{how} {at}");
    }
    if acknowledged < n_batches {
        assert_eq!(applied(&address), n_batches * BATCH, "{how} {at}");
        check(&address, n_batches * BATCH);
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0, "{how} {at}");
    folder.0.join("reached").exists()
}

/// All counts in one way. The ways share them out between them where not all are taken.
fn at_every_write(nth: u64, how: &str) {
    let all = std::env::var("MILLSTREAM_WRITES").is_ok_and(|it| it == "all");
    let stride = if all { 1 } else { STRIDE };
    let (mut counts, mut at) = (1, 1 + nth * stride / 4);
    while hit(at, how) {
        counts += 1;
        at += if at < COUNTS { stride } else { at };
    }
    println!("{how}: {counts} counts, the last one, {at}, beyond the end");
    assert!(counts > 3, "{how}: only {counts} counts");
}

#[test]
fn ended_at_every_write() {
    at_every_write(0, "end");
}

#[test]
fn ended_in_the_midst_of_every_write() {
    at_every_write(1, "half");
}

#[test]
fn without_room_at_every_write() {
    at_every_write(2, "enospc");
}

#[test]
fn failed_at_every_write() {
    at_every_write(3, "eio");
}
