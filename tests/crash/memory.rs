//! Goal: above its cap of memory it takes nothing more and says so, while reads go on; with room
//! it goes on as if nothing had been. Method: the real binary with a cap below what it needs to
//! stand there, over a folder in which it has read something before.

use std::time::Duration;

use crate::load::*;
use crate::process::{Folder, Process, command};

fn capped(folder: &Folder, cap: &str) -> (Process, String) {
    let data = folder.path("data");
    let mut run = command(&["run", "--data-dir", &data, "--listen", "127.0.0.1:0"]);
    run.args(["--set", &format!("engine.memory_max={cap}"), "--set", "state.interval=50ms"]);
    let mut process = Process::spawn(&mut run);
    let address = process.address(&folder.0.join("data"));
    (process, address)
}

#[test]
fn above_the_cap_reads_go_on() {
    let folder = Folder::new("memory");
    let (process, address) = capped(&folder, "4 GiB");
    assert_eq!(post(&address, 0, "&wait=applied").unwrap().0, 202);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);

    let (process, address) = capped(&folder, "16 MiB");
    // What comes before the alarm is acknowledged, and waits in the log.
    let mut n_batches = 1;
    loop {
        match post(&address, n_batches * BATCH, "").unwrap() {
            (202, _) => n_batches += 1,
            (429, _) => break,
            other => panic!("{other:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let (status, ready) = get(&address, "/health/ready").unwrap();
    assert_eq!(status, 503, "{ready}");
    assert!(ready.to_string().contains("more memory than it may have"), "{ready}");
    let line = get(&address, "/v1/ledger").unwrap().1["partitions"][0].clone();
    let n_read = line["applied"].as_u64().unwrap();
    assert!(n_read < n_batches * BATCH, "{line}");
    check(&address, n_read);
    process.signal("-TERM");
    let (code, _, err) = process.end();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("watch/memory"), "{err}");

    let (process, address) = capped(&folder, "4 GiB");
    caught_up(&address, n_batches * BATCH);
    check(&address, n_batches * BATCH);
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
}
