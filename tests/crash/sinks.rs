//! Goal: killed at any instant, nothing has left that is not in the checkpoint that is put back, no
//! batch comes with other bytes, no change comes in two, a current row that does (a crash took back
//! a touch for which rows had been left out) is the same row, and in the end the receiver holds what
//! can be read.
//! Method: the real binary under load with a sink of files; a nemesis with a seed; after each kill
//! every new file is held against the newest checkpoint; at the end all files against the rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::load::*;
use crate::process::{Folder, run};
use crate::rebuilt::{Place, flip, segments};

/// Kills where nobody says how many.
const KILLS: u64 = 15;

/// What lies in the folder of the sink.
#[derive(Default)]
struct Out {
    /// What each file said when it was first seen.
    files: HashMap<PathBuf, String>,
    /// Which file holds a row of a stream: tenant, key, epoch, incarnation.
    rows: HashMap<(String, String, String, u64, u64), PathBuf>,
    /// Rows that came once more.
    n_again: usize,
}

impl Out {
    /// Looks at every file that is new; gives the newest epoch in them.
    fn look(&mut self, folder: &Path) -> u64 {
        let mut newest = 0;
        for path in files(folder) {
            if self.files.contains_key(&path) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let stream = path.parent().unwrap().strip_prefix(folder).unwrap();
            let stream = stream.display().to_string();
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let epoch = line["epoch"].as_u64().unwrap();
                newest = newest.max(epoch);
                if stream == "marks" {
                    continue;
                }
                let word = |key: &str| line[key].as_str().unwrap().to_string();
                let incarnation = line["incarnation"].as_u64().unwrap();
                let row = (stream.clone(), word("tenant"), word("key"), epoch, incarnation);
                if let Some(other) = self.rows.insert(row.clone(), path.clone()) {
                    let (a, b) = (other.display(), path.display());
                    assert!(stream.starts_with("rows/"), "{row:?} is in {a} and in {b}");
                    let before = self.line(&other, &row.1, &row.2, epoch);
                    assert_eq!(before, line, "{row:?} is another row in {b} than in {a}");
                    self.n_again += 1;
                }
            }
            self.files.insert(path, text);
        }
        newest
    }

    /// A row of a file that was seen.
    fn line(&self, path: &Path, tenant: &str, key: &str, epoch: u64) -> Value {
        self.files[path]
            .lines()
            .map(|it| serde_json::from_str::<Value>(it).unwrap())
            .find(|it| it["key"] == *key && it["tenant"] == *tenant && it["epoch"] == epoch)
            .unwrap()
    }

    /// What each file said it still says: a repeat writes the same.
    fn unchanged(&self) {
        for (path, text) in &self.files {
            let now = std::fs::read_to_string(path).unwrap();
            assert!(*text == now, "{} has other bytes now", path.display());
        }
    }

    /// The newest row of each key of a stream and tenant.
    fn newest(&self, stream: &str, tenant: &str) -> BTreeMap<String, Value> {
        let mut newest: BTreeMap<String, (u64, Value)> = BTreeMap::new();
        for ((of, whose, key, epoch, _), path) in &self.rows {
            if of != stream || whose != tenant || newest.get(key).is_some_and(|it| it.0 >= *epoch) {
                continue;
            }
            let line = self.line(path, whose, key, *epoch);
            newest.insert(key.clone(), (*epoch, line));
        }
        let live = newest.into_iter().filter(|it| it.1.1["deleted"] == false);
        live.map(|(key, (_, line))| (key, line["row"].clone())).collect()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_leaves_is_durable_first() {
    let seed = setting("MILLSTREAM_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64
    });
    let kills = setting("MILLSTREAM_KILLS").unwrap_or(KILLS);
    println!("MILLSTREAM_SEED={seed} MILLSTREAM_KILLS={kills}");
    let mut random = Random(seed);
    let folder = Folder::new("crash-sinks");
    let (out, data) = (folder.0.join("out"), folder.path("data"));
    let settings = folder.file(
        "millstream.toml",
        format!(
            "[sinks.files]\nkind = \"jsonl\"\npath = {:?}\nflush_every = \"20ms\"\n\
             batch_rows = 200\n",
            out.display().to_string()
        ),
    );
    let more = ["--config", settings.as_str()];
    let stage = Arc::new(Stage::default());
    let (mut process, address) = started_with(&folder, ".", 1, &more);
    *stage.address.lock().unwrap() = address;
    let producer = {
        let (stage, random) = (Arc::clone(&stage), Random(random.next()));
        std::thread::spawn(move || produce(&stage, random))
    };
    let mut seen = Out::default();
    for kill in 0..kills {
        let life = Duration::from_millis(random.below(900));
        let until = Instant::now() + life;
        while Instant::now() < until {
            assert!(!producer.is_finished(), "the producer has failed");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        process.signal("-KILL");
        drop(process);
        // What left is in the checkpoint that the next start puts back.
        let newest = seen.look(&out);
        let (code, told, why) =
            run(&["state", "list", "--limit", "1", "--json", "--data-dir", &data]);
        assert_eq!(code, 0, "{why}");
        let checkpoint = told.lines().next().map_or(0, |it| {
            let it: Value = serde_json::from_str(it).unwrap();
            it["epoch_ms"].as_u64().unwrap()
        });
        assert!(newest <= checkpoint, "kill {kill}: {newest} left, {checkpoint} is durable");
        let address;
        (process, address) = started_with(&folder, ".", random.below(3) + 1, &more);
        *stage.address.lock().unwrap() = address;
        println!("kill {kill} after {life:?}: {} files, up to {newest}", seen.files.len());
    }
    stage.ended.store(true, SeqCst);
    producer.join().unwrap();
    let address = stage.address.lock().unwrap().clone();
    settled(&address);
    // As long as something comes it is on its way, however slow the machine.
    let (mut moved, mut n_files) = (Instant::now(), 0);
    loop {
        seen.look(&out);
        if equal(&seen, &address, false) {
            break;
        }
        if seen.files.len() > n_files {
            (moved, n_files) = (Instant::now(), seen.files.len());
        }
        if moved.elapsed() > Duration::from_secs(90) {
            println!("the sinks: {:?}", crate::load::get(&address, "/v1/admin/sinks"));
            equal(&seen, &address, true);
            unreachable!("told above");
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    seen.unchanged();
    let (n_rows, n_again) = (seen.rows.len(), seen.n_again);
    println!("{n_rows} rows, {n_again} of them again, in {} files", seen.files.len());
    process.signal("-TERM");
    let (code, _, told) = process.end();
    assert_eq!(code, 0, "{told}");
}

/// Whether the files hold what is served, both ways.
fn equal(seen: &Out, address: &str, tell: bool) -> bool {
    for def in dataflows::catalogue::definitions() {
        for tenant in ["default", "b"] {
            let live = rows(address, def.name, tenant);
            for stream in ["rows", "changes"] {
                let held = seen.newest(&format!("{stream}/{}", def.name), tenant);
                if tell {
                    for (key, row) in &live {
                        assert_eq!(
                            held.get(key),
                            Some(row),
                            "{stream}/{} {key} {tenant}",
                            def.name
                        );
                    }
                    assert_eq!(held.len(), live.len(), "{stream}/{} of {tenant}", def.name);
                } else if held != live {
                    return false;
                }
            }
        }
    }
    true
}

/// Goal: a state that is older than what left of it begins another life: nothing comes twice in
/// one. Method: the state removed, with the note that there was one; the log makes it again.
#[test]
fn a_state_that_was_taken_away_is_another_life() {
    let folder = Folder::new("crash-sinks-away");
    let out = folder.0.join("out");
    let text = format!("[sinks.files]\nkind = \"jsonl\"\npath = {:?}\n", out.display().to_string());
    let settings = folder.file("millstream.toml", text);
    let mut seen = Out::default();
    for life in 1..=3 {
        let (process, address) = started_with(&folder, ".", 1, &["--config", &settings]);
        if life == 1 {
            assert_eq!(post(&address, 0, "&wait=applied").expect("an answer").0, 202);
        }
        settled(&address);
        let lives = |it: &Out| it.rows.keys().map(|row| row.4).collect::<BTreeSet<u64>>().len();
        let end = Instant::now() + Duration::from_secs(90);
        while lives(&seen) < life.min(2) || !equal(&seen, &address, false) {
            assert!(
                Instant::now() < end,
                "{} lives; {:?}",
                lives(&seen),
                get(&address, "/v1/admin/sinks")
            );
            std::thread::park_timeout(Duration::from_millis(50));
            seen.look(&out);
        }
        process.signal("-TERM");
        let (code, _, told) = process.end();
        assert_eq!(code, 0, "{told}");
        seen.look(&out);
        // Once it was taken away, and once it was not.
        assert_eq!(lives(&seen), life.min(2), "{told}");
        assert_eq!(told.contains("older than what was told"), life == 2, "{told}");
        if life == 1 {
            for name in ["state", "identities"] {
                std::fs::remove_dir_all(folder.0.join("data").join(name)).unwrap();
            }
            std::fs::remove_file(folder.0.join("data/kept.json")).unwrap();
        }
    }
    // Damage in it is told with what helps: nothing reads around it.
    let mut segments: Vec<PathBuf> = std::fs::read_dir(folder.0.join("data/state"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    segments.sort_by_key(|it| std::fs::metadata(it).unwrap().len());
    let (code, all, err) = run(&["state", "verify", "--data-dir", &folder.path("data")]);
    assert!(code == 0 && all.contains("sinks/"), "{code}: {all} {err}");
    let largest = segments.last().unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(largest, bytes).unwrap();
    let (code, _, err) = run(&[
        "run",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        &folder.path("data"),
        "--set",
        "state.on_damage=refuse",
    ]);
    assert!(code == 1 && err.contains("segments/damaged") && err.contains("--rebuild"), "{err}");
    assert!(!err.contains("on_damage"), "{err}");
    let (code, _, err) = run(&["state", "verify", "--data-dir", &folder.path("data")]);
    assert!(code == 1 && err.contains("store/damaged"), "{code}: {err}");
}

/// Goal: a state that goes back to an older checkpoint begins another life: what left since is not
/// taken for what comes again, and in the end the receiver holds what can be read. Method: a bit of
/// the newest states.
#[test]
fn what_left_since_an_older_checkpoint_is_of_another_life() {
    let folder = Folder::new("crash-sinks-older");
    let out = folder.0.join("out");
    let text = format!("[sinks.files]\nkind = \"jsonl\"\npath = {:?}\n", out.display().to_string());
    let settings = folder.file("millstream.toml", text);
    // Nothing is cleaned: every checkpoint has all that it needs.
    let more = ["--config", &settings, "--set", "state.segment_bytes=4 MiB"];
    let mut seen = Out::default();
    for life in 1..=2 {
        let (process, address) = started_with(&folder, ".", life, &more);
        if life == 1 {
            for batch in 0..30 {
                assert_eq!(
                    post(&address, batch * BATCH, "&wait=applied").expect("an answer").0,
                    202
                );
            }
        }
        settled(&address);
        let lives = |it: &Out| it.rows.keys().map(|row| row.4).collect::<BTreeSet<u64>>().len();
        let end = Instant::now() + Duration::from_secs(90);
        while lives(&seen) < life as usize || !equal(&seen, &address, false) {
            assert!(Instant::now() < end, "{:?}", get(&address, "/v1/admin/sinks"));
            std::thread::park_timeout(Duration::from_millis(50));
            seen.look(&out);
        }
        check(&address, 30 * BATCH);
        process.signal("-TERM");
        let (code, _, told) = process.end();
        assert_eq!(code, 0, "{told}");
        assert_eq!(told.contains("an older checkpoint is taken up"), life == 2, "{told}");
        seen.look(&out);
        assert_eq!(lives(&seen), life as usize, "{told}");
        if life == 1 {
            let newest = segments(&folder, "state");
            flip(newest.last().unwrap(), Place::Middle);
        }
    }
    seen.unchanged();
}
