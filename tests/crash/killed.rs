//! Goal: killed at any instant it goes on as if nothing had happened: what was acknowledged is
//! there once, nothing else is, the ledger is balanced, and a start takes up the state instead of
//! reading everything again.
//! Method: the real binary under load; a producer that sends each batch until it is acknowledged
//! and keeps a list of what was; a nemesis with a seed that kills (or asks to end, then kills) and
//! starts again with another number of workers. Then every row of every view is held against the
//! plain computation over the list.
//!
//! `MILLSTREAM_SEED` repeats a run, `MILLSTREAM_KILLS` says how often (`scripts/soak`).

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::load::*;
use crate::process::{Folder, command, run};

/// Kills where nobody says how many.
const KILLS: u64 = 30;

/// Whether there is a checkpoint of anything that was read; the first is of nothing.
fn has_state(address: &str) -> bool {
    let newest = newest_checkpoint(address).flatten();
    newest.is_some_and(|it| it["position"].as_u64().is_some_and(|it| it > 0))
}

#[test]
fn killed_at_any_instant() {
    let seed = setting("MILLSTREAM_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    let kills = setting("MILLSTREAM_KILLS").unwrap_or(KILLS);
    println!("MILLSTREAM_SEED={seed} MILLSTREAM_KILLS={kills}");
    let mut random = Random(seed);
    let folder = Folder::new("crash");
    let stage = Arc::new(Stage::default());
    let (mut process, address) = start(&folder, 1);
    *stage.address.lock().unwrap() = address;
    let producer = {
        let (stage, random) = (Arc::clone(&stage), Random(random.next()));
        std::thread::spawn(move || produce(&stage, random))
    };
    // A machine so busy that no life is long enough for a first state would show nothing.
    let first = stage.address.lock().unwrap().clone();
    let until = Instant::now() + Duration::from_secs(60);
    while !has_state(&first) {
        assert!(Instant::now() < until, "no state of anything");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let (mut recoveries, mut resumed) = (Vec::new(), 0);
    let (mut in_backup, mut in_start) = (0, 0);
    for kill in 0..kills {
        // Sometimes while a backup is being made of it: what is left of that is none.
        let to = folder.path(&format!("backup-{kill}"));
        let backing_up = (random.below(6) == 0).then(|| {
            in_backup += 1;
            let data = folder.path("data");
            let mut backup = command(&["backup", &to, "--data-dir", &data]);
            backup.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        // Sometimes at once: in the middle of starting, or twice in a row.
        let life = match random.below(4) {
            0 => random.below(30),
            _ => random.below(700),
        };
        let until = Instant::now() + Duration::from_millis(life);
        while Instant::now() < until {
            assert!(!producer.is_finished(), "the producer has failed");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        if random.below(5) == 0 {
            process.signal("-TERM");
            std::thread::park_timeout(Duration::from_millis(random.below(40)));
        }
        process.signal("-KILL");
        drop(process);
        if let Some(mut backup) = backing_up {
            // What counts as one is whole; the answer that it was made may have been lost.
            let made = backup.wait().unwrap().success();
            let counts = folder.0.join(format!("backup-{kill}/backup.json")).exists();
            assert!(counts || !made, "it was said to be made");
            if counts {
                let elsewhere = folder.path("elsewhere");
                let (code, _, err) = run(&["restore", &to, "--data-dir", &elsewhere]);
                assert_eq!(code, 0, "{err}");
                std::fs::remove_dir_all(&elsewhere).unwrap();
            }
            std::fs::remove_dir_all(&to).ok();
        }
        let workers = random.below(3) + 1;
        if random.below(4) == 0 {
            // Once more before it has said where it is.
            in_start += 1;
            let process = starting(&folder, ".", workers, &[]);
            std::thread::park_timeout(Duration::from_millis(random.below(60)));
            process.signal("-KILL");
        }
        // It has been dead for as long as a backup took to end and be restored: nobody's wait.
        let died = Instant::now();
        let address;
        (process, address) = start(&folder, workers);
        let acknowledged = stage.acknowledged.load(SeqCst);
        let (status, ledger) = get(&address, "/v1/ledger").expect("an answer");
        assert_eq!(status, 200);
        recoveries.push(died.elapsed());
        let line = &ledger["partitions"][0];
        resumed += u64::from(line["read"].as_u64().unwrap_or(0) > 0);
        *stage.address.lock().unwrap() = address;
        println!(
            "kill {kill} after {life} ms, {workers} workers: reads again after {:?}, at {} of {acknowledged}",
            recoveries.last().unwrap(),
            line["read"]
        );
    }
    stage.ended.store(true, SeqCst);
    producer.join().unwrap();
    let n = stage.acknowledged.load(SeqCst);
    let address = stage.address.lock().unwrap().clone();
    // The last batch once more: it is known, and with it everything is readable. (While it were
    // still on its way, two workers might take the repeat first.)
    settled(&address);
    let (status, taken) = post(&address, n - BATCH, "&wait=applied").expect("an answer");
    assert_eq!((status, &taken["duplicate"]), (202, &Value::from(BATCH)), "{taken}");
    check(&address, n);
    let (_, ledger) = get(&address, "/v1/ledger").unwrap();
    let line = &ledger["partitions"][0];
    let of = |name: &str| line[name].as_u64().unwrap();
    assert_eq!(of("next") - of("first"), of("read") + of("lost") + of("absent"), "{line}");
    assert_eq!(of("applied"), n, "each event is applied once: {line}");
    assert_eq!(of("read"), of("applied") + of("duplicate"), "{line}");
    println!("{in_backup} kills in a backup, {in_start} more in a start");
    assert!(resumed * 2 > kills, "only {resumed} of {kills} starts took up a state");
    recoveries.sort_unstable();
    let at = |share: usize| recoveries[(recoveries.len() - 1) * share / 100];
    println!("{n} events; reads again after p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100));
    process.signal("-TERM");
    let (code, _, told) = process.end();
    assert_eq!(code, 0, "{told}");
    // Of few kills on a slow machine there may be too little.
    assert!(kills < 100 || first_position(&folder) > 0, "nothing was cleaned meanwhile");
    // After a clean end nothing is read again.
    let (process, address) = start(&folder, 2);
    check(&address, n);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}

/// Goal: what was seen again between two checkpoints is known after a crash, too, and changes
/// nothing. Method: a clean end; then, in a life that makes no checkpoint of its own, only what was
/// sent before, and a kill.
#[test]
fn all_since_the_checkpoint_was_known() {
    let folder = Folder::new("known");
    let n = 10 * BATCH;
    let (process, address) = start(&folder, 1);
    for first in (0..n).step_by(BATCH as usize) {
        assert_eq!(post(&address, first, "&wait=applied").unwrap().0, 202);
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    let never = ["--set", "state.interval=1min", "--set", "state.max_interval=1min"];
    for (life, workers) in [3, 2].into_iter().enumerate() {
        let (process, address) = started_with(&folder, ".", workers, &never);
        for first in (0..5 * BATCH).step_by(BATCH as usize) {
            let (status, taken) = post(&address, first, "&wait=applied").unwrap();
            assert_eq!((status, &taken["duplicate"]), (202, &Value::from(BATCH)), "{taken}");
        }
        process.signal("-KILL");
        drop(process);
        let (process, address) = started_with(&folder, ".", 1, &never);
        settled(&address);
        let line = get(&address, "/v1/ledger").unwrap().1["partitions"][0].clone();
        let again = (life as u64 + 1) * 5 * BATCH;
        assert_eq!((&line["applied"], &line["duplicate"]), (&n.into(), &again.into()), "{line}");
        check(&address, n);
        process.signal("-KILL");
    }
}
