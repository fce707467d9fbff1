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
use std::time::{Duration, Instant};

use crate::load::*;
use crate::process::{Folder, Process, command};
use crate::{disk, rebuilt, shim};

/// Batches of the script, each of which has its checkpoint.
const BATCHES: u64 = 11;
/// Events of a batch: large customers, so that few checkpoints leave enough behind to be cleaned.
const EVENTS: u64 = 5;
/// The script never has more counts.
const COUNTS: u64 = 200;
/// Without being asked for all, one of so many counts is taken.
const STRIDE: u64 = 3;

/// Event `n`: each of some customers says all its attributes anew, each batch has an order.
fn event(n: u64) -> String {
    let (customer, time) = (n % EVENTS, schemas::time::rfc3339(1_767_225_600_000_000 + n as i64));
    let (kind, data) = if customer == 0 {
        let order = format!(
            r#"{{"order":"O-{n}","customer":"C-1","currency":"EUR","lines":[{{"sku":"S","quantity":1,"unit_price":{n}}}]}}"#
        );
        ("order.placed", order)
    } else {
        let mut random = Random(n);
        let mut words = || (0..40).map(|_| format!("{:016x}", random.next())).collect::<String>();
        let attributes: Vec<_> = (0..20).map(|it| format!(r#""a{it}":"{}""#, words())).collect();
        let attributes = attributes.join(",");
        let data = format!(r#"{{"customer":"C-{customer}","attributes":{{{attributes}}}}}"#);
        ("customer.updated", data)
    };
    format!(
        r#"{{"specversion":"1.0","id":"e{n}","source":"/crash","type":"{kind}","time":"{time}","data":{data}}}"#
    )
}

fn batch(n: u64) -> Vec<String> {
    (n * EVENTS..(n + 1) * EVENTS).map(event).collect()
}

fn post(address: &str, n: u64, wait: &str) -> Option<(u16, serde_json::Value)> {
    post_of(address, "default", &batch(n), wait)
}

fn check(address: &str, n_events: u64) {
    let texts: Vec<String> = (0..n_events).map(event).collect();
    check_of(address, &texts, &["default"]);
}

/// The newest checkpoint's number, 0 before the first.
fn checkpoint(address: &str) -> Option<u64> {
    let newest = newest_checkpoint(address)?;
    Some(newest.map_or(0, |it| it["checkpoint"].as_u64().unwrap()))
}

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
fn script(folder: &Folder, mut process: Process) -> u64 {
    let mut acknowledged = 0;
    let Some(address) = address(folder, &mut process) else { return acknowledged };
    let mut ended = || process.child.try_wait().unwrap().is_some();
    let moment = || std::thread::park_timeout(Duration::from_millis(2));
    while acknowledged < BATCHES {
        let before = checkpoint(&address).unwrap_or(0);
        match post(&address, acknowledged, "&wait=applied") {
            Some((202, _)) => acknowledged += 1,
            Some((429 | 503, _)) => {
                moment();
                continue;
            }
            Some((status, why)) => panic!("{status}: {why}"),
            None if ended() => return acknowledged,
            // It is ending, or the answer was lost with it.
            None => {
                moment();
                continue;
            }
        }
        let until = Instant::now() + Duration::from_secs(60);
        while !ended() && checkpoint(&address).is_none_or(|it| it <= before) {
            assert!(Instant::now() < until, "no checkpoint of what was applied");
            moment();
        }
    }
    if !ended() {
        process.signal("-TERM");
    }
    process.child.wait().unwrap();
    acknowledged
}

/// One count in one way. Whether it was reached.
fn hit(at: u64, how: &str) -> bool {
    let folder = Folder::new(&format!("writes-{how}-{at}"));
    let acknowledged = script(&folder, start(&folder, Some((at, how))));
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
    let may_be = [acknowledged * EVENTS, BATCHES.min(acknowledged + 1) * EVENTS];
    assert!(may_be.contains(&there), "{how} {at}: {acknowledged} acknowledged, {there} events");
    check(&address, there);
    // The rest, and all of it held against the plain computation.
    for batch in acknowledged..BATCHES {
        assert_eq!(post(&address, batch, "").unwrap().0, 202, "{how} {at}");
    }
    if acknowledged < BATCHES {
        assert_eq!(applied(&address), BATCHES * EVENTS, "{how} {at}");
        check(&address, BATCHES * EVENTS);
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0, "{how} {at}");
    let reached = folder.0.join("reached").exists();
    if !reached {
        // Undisturbed: some of what it wrote it has given up.
        assert!(first_position(&folder) > 0, "{how} {at}: nothing was cleaned");
    }
    reached
}

/// All counts in one way. The ways share them out between them where not all are taken.
fn at_every_write(nth: u64, how: &str) {
    let all = std::env::var("MILLSTREAM_WRITES").is_ok_and(|it| it == "all");
    let stride = if all { 1 } else { STRIDE };
    let (mut counts, mut at) = (1, 1 + nth % stride);
    while hit(at, how) {
        counts += 1;
        at += stride;
    }
    assert!(at <= COUNTS + stride, "{how}: the script has {at} counts");
    println!("{how}: {counts} counts, the last one, {at}, beyond the end");
    assert!(counts > 3, "{how}: only {counts} counts");
}

/// Batches of a state whose newest checkpoint is damaged: too few for anything to be cleaned.
const FEW: u64 = 4;

/// Goal: who goes back to an older checkpoint and goes down in the midst of that goes back to the
/// same one at the next start. Method: one damaged state, copied for every count.
#[test]
fn ended_while_it_goes_back() {
    let damaged = Folder::new("writes-back");
    let mut process = start(&damaged, None);
    let at = address(&damaged, &mut process).unwrap();
    for batch in 0..FEW {
        assert_eq!(post(&at, batch, "&wait=applied").unwrap().0, 202);
        while checkpoint(&at).unwrap() <= batch {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    rebuilt::flip(rebuilt::segments(&damaged, "state").last().unwrap(), rebuilt::Place::Middle);
    let mut gone_back = 0;
    for (nth, how) in ["end", "half", "enospc", "eio"].into_iter().enumerate() {
        let mut n = 1 + nth as u64 % STRIDE;
        loop {
            let folder = Folder::new(&format!("writes-back-{how}-{n}"));
            disk::copy(&damaged.0.join("data"), &folder.0.join("data"));
            let mut process = start(&folder, Some((n, how)));
            if address(&folder, &mut process).is_some() {
                process.signal("-KILL");
            }
            process.end();
            let reached = folder.0.join("reached").exists();
            let mut process = start(&folder, None);
            let Some(at) = address(&folder, &mut process) else {
                panic!("{how} {n}: does not start: {}", process.end().2);
            };
            settled(&at);
            check(&at, FEW * EVENTS);
            assert_eq!(post(&at, FEW, "&wait=applied").unwrap().0, 202, "{how} {n}");
            check(&at, (FEW + 1) * EVENTS);
            process.signal("-TERM");
            let (code, _, err) = process.end();
            assert_eq!(code, 0, "{how} {n}: {err}");
            gone_back += u32::from(err.contains("an older checkpoint is taken up"));
            if !reached {
                break;
            }
            n += STRIDE;
        }
        assert!(n > 10, "{how}: only {n} counts");
    }
    assert!(gone_back > 4, "{gone_back} starts after one that went down went back");
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
