//! Does the embedded log hold against the world: kills, a second process, a full disk, a folder
//! that may not be read? Method: real processes (this test program again, told by a variable what
//! to do) and a real small file system.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use millstream::clock;
use millstream::config;
use millstream::ingest::local_log::LocalLog;
use millstream::messages::{Append, AppendRefused};
use millstream::report::Report;
use millstream::segments::OnDamage;

#[path = "support/skipped.rs"]
mod skipped;
#[path = "support/temp_dir.rs"]
mod temp_dir;
use skipped::skipped;
use temp_dir::TempDir;

/// Set for a child: the folder of its log.
const FOLDER: &str = "MILLSTREAM_TEST_LOG_FOLDER";

fn open(dir: &Path) -> Result<LocalLog, Report> {
    let settings = config::Log {
        retention: Duration::from_secs(86_400),
        max_bytes: 64 << 30,
        // Small, so that segments end and begin under the kills.
        segment_bytes: 100_000,
        commit_delay: Duration::from_millis(2),
        queue_bytes: 64 << 20,
        on_damage: OnDamage::Refuse,
    };
    LocalLog::open(dir, &settings, OnDamage::Refuse, Arc::new(clock::wall_ms))
}

/// This program again, running one of the `as_a_child` functions below.
fn child(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads", "1"]);
    command.env(FOLDER, folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// One appended block, as it is written to standard output after the answer.
fn record(thread: u64, block: u64, i: u64, n: u64) -> Vec<u8> {
    format!("t{thread} b{block} {i}/{n} {}", "x".repeat((block % 97) as usize)).into_bytes()
}

/// Appends from four threads until it is killed, and says what was answered.
#[test]
fn appends_as_a_child() {
    let Some(folder) = folder_of_child() else { return };
    let log = open(&folder).unwrap();
    println!("\nopened {}", log.end());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for block in 0.. {
                    let n = 1 + (thread + block) % 9;
                    let records = (0..n).map(|i| record(thread, block, i, n)).collect();
                    let answer = log.append(records).unwrap().blocking_recv().unwrap().unwrap();
                    let line = format!("\nanswered {thread} {block} {} {n}\n", answer.first);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

/// Goal: killed at any instant, every answered block is there, at its position, whole, and no
/// block is there in part. Method: twenty kills of a process that appends from four threads, each
/// after another number of answers, over one folder; after each the whole log is looked at.
#[test]
fn killed_in_a_loop_it_keeps_what_it_answered() {
    let dir = TempDir::new();
    let mut answered = Vec::new();
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    println!("seed {seed:#x}");
    for round in 0..20 {
        let mut process = child("appends_as_a_child", &dir.0).spawn().unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kill_after = seed >> 33 & 255;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut seen, mut killed) = (0, false);
        for line in lines {
            let line = line.unwrap();
            let Some(line) = line.strip_prefix("answered ") else { continue };
            let fields: Vec<u64> = line.split(' ').map(|it| it.parse().unwrap()).collect();
            let [thread, block, first, n] = fields[..] else { panic!("{line}") };
            answered.push((thread, block, first, n));
            seen += 1;
            // What it wrote before it died is still in the pipe, and counts.
            if seen > kill_after && !killed {
                process.kill().unwrap();
                killed = true;
            }
        }
        process.wait().unwrap();
        assert!(killed, "round {round}: it ended by itself");
        let log = open(&dir.0).unwrap();
        let shown = log.show(0, usize::MAX).unwrap();
        assert_eq!(shown.len() as u64, log.end());
        for (thread, block, first, n) in &answered {
            for i in 0..*n {
                let it = &shown[(first + i) as usize];
                assert_eq!(it.bytes, record(*thread, *block, i, *n), "round {round}");
            }
        }
        // Whole or not at all: a block's records follow one another to the last.
        let mut rest = &shown[..];
        while let Some(it) = rest.first() {
            let text = String::from_utf8(it.bytes.clone()).unwrap();
            let mut words = text.split(' ');
            let (owner, block) = (words.next().unwrap(), words.next().unwrap());
            let (i, n) = words.next().unwrap().split_once('/').unwrap();
            assert_eq!(i, "0", "round {round}: a block without its beginning");
            let n: usize = n.parse().unwrap();
            for (i, it) in rest[..n].iter().enumerate() {
                let head = format!("{owner} {block} {i}/{n} ");
                assert!(it.bytes.starts_with(head.as_bytes()), "round {round}");
            }
            rest = &rest[n..];
        }
    }
    assert!(answered.len() > 1_000, "{}", answered.len());
}

/// Opens the log, says so, and holds it until its standard input ends.
#[test]
fn holds_as_a_child() {
    let Some(folder) = folder_of_child() else { return };
    match open(&folder) {
        Ok(_log) => {
            println!("\nheld");
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        Err(report) => println!("\nrefused {}", report.code),
    }
}

/// What it says of the folder, and the rest of its output, to be held until it has ended.
fn first_word(process: &mut Child) -> (String, impl Iterator<Item = String> + use<>) {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|it| it.unwrap());
    let word = lines.find(|it| it.starts_with("held") || it.starts_with("refused")).unwrap();
    (word, lines)
}

/// Goal: a second process on one folder is refused, told who has it, and harms nothing; once the
/// first is gone the folder opens. Method: a child holds it, then is killed.
#[test]
fn a_second_process_is_refused() {
    let dir = TempDir::new();
    let mut holder = child("holds_as_a_child", &dir.0).spawn().unwrap();
    let (word, _rest) = first_word(&mut holder);
    assert_eq!(word, "held");
    let report = open(&dir.0).err().expect("refused");
    assert_eq!(report.code, "segments/in-use");
    assert!(report.why.contains(&holder.id().to_string()), "{report}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    open(&dir.0).unwrap();
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t")
}

/// Goal: a folder without permission is told, with the folder. Method: as root, a child that is
/// nobody; else, and always, a folder whose name a file has.
#[test]
fn a_folder_without_permission() {
    let dir = TempDir::new();
    let file = dir.0.join("file");
    std::fs::write(&file, "").unwrap();
    let report = open(&file.join("log")).err().expect("refused");
    assert_eq!(report.code, "segments/cannot-open");
    assert!(report.at[0].1.contains("file/log"), "{report}");
    if !is_root() {
        skipped("a log folder of another user: it needs root");
        return;
    }
    let inner = dir.0.join("private");
    std::fs::create_dir(&inner).unwrap();
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&inner, only_owner).unwrap();
    match child("holds_as_a_child", &inner).uid(65_534).gid(65_534).spawn() {
        Ok(mut process) => {
            let (word, _rest) = first_word(&mut process);
            assert_eq!(word, "refused segments/cannot-open");
            process.wait().unwrap();
        }
        Err(why) => skipped(&format!("a log folder of another user: cannot start one ({why})")),
    }
}

/// A small file system of its own, unmounted at the end.
struct Small(TempDir);

impl Small {
    fn mount(size: &str) -> Option<Small> {
        let dir = TempDir::new();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&dir.0)
            .status();
        mount.is_ok_and(|it| it.success()).then_some(Small(dir))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0.0).status();
        if !unmounted.is_ok_and(|it| it.success()) {
            eprintln!("could not unmount {}", self.0.0.display());
        }
    }
}

/// Goal: a full disk refuses with its reason, leaves nothing half-written, loses nothing that was
/// answered, and mends itself. Method: a tmpfs of 1 MiB, filled to the last byte, then freed.
#[test]
fn a_full_disk() {
    let Some(disk) = Small::mount("1m") else {
        skipped("a full disk: mounting a tmpfs needs root");
        return;
    };
    let dir = disk.0.0.join("log");
    let ballast = disk.0.0.join("ballast");
    std::fs::write(&ballast, vec![0; 300_000]).unwrap();
    let log = open(&dir).unwrap();
    let (mut kept, mut refused) = (0u64, 0);
    let append = |kept: u64, n: u64| {
        let records = (0..n).map(|i| record(0, kept, i, n)).collect();
        log.append(records).expect("queued").blocking_recv().unwrap()
    };
    let mut blocks = Vec::new();
    while refused < 3 {
        let n = 50;
        match append(kept, n) {
            Ok(appended) => {
                assert_eq!(appended.first, kept);
                blocks.push((kept, n));
                kept = appended.next;
            }
            Err(AppendRefused::Failed(report)) => {
                assert_eq!(report.code, "segments/disk-full", "{report}");
                refused += 1;
            }
            Err(AppendRefused::Busy(_)) => panic!("nothing else is waiting"),
        }
    }
    assert!(log.stats().failing);
    assert!(kept > 1_000, "{kept}");
    assert_eq!(log.show(0, usize::MAX).unwrap().len() as u64, kept, "reading goes on");
    std::fs::remove_file(&ballast).unwrap();
    let appended = append(kept, 3).expect("there is room again");
    assert_eq!(appended.first, kept);
    blocks.push((kept, 3));
    assert!(!log.stats().failing);
    log.close();
    drop(log);
    let log = open(&dir).unwrap();
    assert_eq!(log.notes(), []);
    let shown = log.show(0, usize::MAX).unwrap();
    assert_eq!(shown.len() as u64, kept + 3);
    for (first, n) in blocks {
        for i in 0..n {
            assert_eq!(shown[(first + i) as usize].bytes, record(0, first, i, n));
        }
    }
}
