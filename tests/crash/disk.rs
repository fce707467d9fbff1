//! Goal: on a disk that is full, may only be read, or takes seconds for a sync, reads go on,
//! ingest says why it does not, and all mends itself when the disk does. Method: the real binary
//! behind the library of `writes`, for as long as a file is there.

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
        if how == "slow" {
            assert_eq!(post(&address, BATCH, "").unwrap().0, 202);
        } else {
            let (status, why) = post(&address, BATCH, "").unwrap();
            assert_eq!(status, 503, "{how}: {why}");
            assert!(why.to_string().contains("segments/"), "{how}: {why}");
            check(&address, BATCH);
        }
        std::fs::remove_file(&flag).unwrap();
        while post(&address, BATCH, "&wait=applied").unwrap().0 != 202 {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        settled(&address);
        check(&address, 2 * BATCH);
        // A checkpoint is made of it.
        let made = metric(&address, "millstream_checkpoints_total");
        assert_eq!(post(&address, 2 * BATCH, "&wait=applied").unwrap().0, 202);
        while metric(&address, "millstream_checkpoints_total") <= made {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        process.signal("-TERM");
        let (code, _, err) = process.end();
        assert_eq!(code, 0, "{how}: {err}");
        let (process, address) = start(&folder, how);
        check(&address, 3 * BATCH);
        process.signal("-TERM");
        assert_eq!(process.end().0, 0);
    }
}
