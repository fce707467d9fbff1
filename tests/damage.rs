//! Goal: a flipped bit or a cut anywhere in what is kept is found or harmless: never a wrong
//! record, a panic, or much allocated. Method: a data folder that the real program has written,
//! with several segments of each log; one bit flipped at a time (ten thousand, by a seed), and
//! each file cut at every edge of a block and at some places between; everything is read as a
//! start reads it, and held against what was read before.
//!
//! `MILLSTREAM_SEED` repeats a run.

#![allow(clippy::disallowed_methods)]

#[path = "common/process.rs"]
mod process;
#[path = "common/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use millstream::config::Settings;
use millstream::engine::Prepared;
use millstream::ingest::local_log;
use millstream::ingest::resets::{Resets, To};
use millstream::messages::{BookLine, Counts};
use millstream::rejects::{self, Filter};
use millstream::secret;
use millstream::segments::OnDamage;
use millstream::store::{Incarnation, Store};
use millstream::supervise::notes;
use process::{Folder, run};
use random::Random;
use schemas::keeping::{StateKeeper, Unreadable};
use schemas::reading::{Epoch, Gone};

const FLIPS: u64 = 10_000;

/// Records as they are put back, whatever they are.
struct Recorder {
    view: &'static str,
    layout: &'static str,
    records: Mutex<Vec<Vec<u8>>>,
}

impl StateKeeper for Recorder {
    fn view(&self) -> &'static str {
        self.view
    }
    fn layout(&self) -> &'static str {
        self.layout
    }
    fn save(&self, _: Epoch, _: u32, _: &mut dyn FnMut(&[u8])) -> Result<u64, Gone> {
        Ok(0)
    }
    fn again(&self, _: &dyn Fn(u32) -> bool) -> u64 {
        0
    }
    fn restore(&self, record: &[u8], _: u32) -> Result<bool, Unreadable> {
        self.records.lock().unwrap().push(record.to_vec());
        Ok(true)
    }
}

/// A checkpoint as it is put back.
#[derive(Debug, PartialEq)]
struct Checkpoint {
    epoch: u64,
    incarnation: u64,
    book: String,
    /// Of the log, it knows records below.
    position: u64,
    records: BTreeMap<&'static str, Vec<Vec<u8>>>,
    identities: Vec<u128>,
}

/// Everything that a start reads, as far as it can be; what of it is refused or told.
#[derive(Debug, Default, PartialEq)]
struct Found {
    state: Option<Checkpoint>,
    log: Vec<(u64, Vec<u8>)>,
    rejects: Vec<(u64, Vec<u8>)>,
    secret: Option<[u8; 16]>,
    /// What was decided about feeds, and which records are put aside.
    decided: String,
    aside: String,
    told: usize,
}

/// What the folder is held against: the views as they are laid out, and what its secret makes of
/// a known text, made once.
struct Known {
    settings: Settings,
    views: Vec<(&'static str, &'static str)>,
    secret: [u8; 16],
    under: String,
}

impl Known {
    fn of(dir: &Path) -> Known {
        let settings = Settings::default_in(dir);
        let secret = secret::of(dir).unwrap();
        let prepared = Prepared::new(&settings.engine, &settings.queues, secret, true).unwrap();
        let views = prepared.keepers().iter().map(|it| (it.view(), it.layout())).collect();
        Known { views, secret: secret.0, under: prepared.under(), settings }
    }
}

fn read(dir: &Path, known: &Known) -> Found {
    let settings = &known.settings;
    let mut found = Found::default();
    let mut told = 0;
    let mut note = |n: usize| told += n;
    let recorder = |it: &(&'static str, &'static str)| {
        Arc::new(Recorder { view: it.0, layout: it.1, records: Mutex::default() })
    };
    let keepers: Vec<Arc<Recorder>> = known.views.iter().map(recorder).collect();
    match secret::of(dir) {
        Ok(it) => found.secret = Some(it.0),
        Err(_) => note(1),
    }
    // Another secret makes something else of it.
    let same = found.secret == Some(known.secret);
    let under = if same { known.under.clone() } else { "other".into() };
    match Store::open(dir, &settings.state, 1) {
        Err(_) => note(1),
        Ok((mut store, notes)) => {
            note(notes.len());
            store.under(under);
            let dynamic: Vec<Arc<dyn StateKeeper>> =
                keepers.iter().map(|it| Arc::clone(it) as _).collect();
            let ids = Mutex::new(Vec::new());
            let take = |some: &[u128], _: u64| ids.lock().unwrap().extend_from_slice(some);
            match store.load(&dynamic, &take, 0, 1, &[]) {
                Err(_) => note(1),
                Ok(None) => {}
                Ok(Some(it)) => {
                    let records = keepers
                        .iter()
                        .map(|it| (it.view, std::mem::take(&mut *it.records.lock().unwrap())))
                        .collect();
                    let of_log = it.book.lines.iter().find(|it| it.feed == "log");
                    found.state = Some(Checkpoint {
                        epoch: it.epoch,
                        incarnation: it.incarnation,
                        book: format!("{:?}", it.book),
                        position: of_log.map_or(0, |it| it.next),
                        records,
                        identities: ids.into_inner().unwrap(),
                    });
                }
            }
        }
    }
    if Incarnation::read(dir).is_err() {
        note(1);
    }
    match Resets::open(dir) {
        Err(_) => note(1),
        Ok(it) => found.decided = format!("{:?}", it.all()),
    }
    match notes::aside(dir) {
        Err(_) => note(1),
        Ok(it) => found.aside = format!("{it:?}"),
    }
    match local_log::Looking::at(&dir.join(local_log::DIR), OnDamage::Refuse) {
        Err(_) => note(1),
        Ok(log) => {
            note(log.notes().len());
            // A start refuses it: `ingest/position-ahead`.
            let position = found.state.as_ref().map_or(0, |it| it.position);
            note(usize::from(log.stats().next < position));
            match log.show(log.first(), 1_000_000) {
                Err(_) => note(1),
                Ok(all) => {
                    found.log = all.into_iter().map(|it| (it.position, it.bytes)).collect();
                }
            }
        }
    }
    match rejects::Looking::at(&dir.join(rejects::DIR), OnDamage::Refuse) {
        Err(_) => note(1),
        Ok(looking) => {
            note(looking.notes.len());
            match looking.kept.list(&Filter::default(), 10_000, None) {
                Err(_) => note(1),
                Ok(page) => {
                    found.rejects = page.rejects.into_iter().map(|it| (it.id, it.bytes)).collect();
                }
            }
        }
    }
    found.told = told;
    found
}

/// Whether what is left is right: as it was, or told; and what is there of the log and the rejects
/// is a part of what was.
/// One that is `cut` at the edge of a block looks like one that ended there (docs/format.md): then
/// an older checkpoint, or fewer records at the end, are right too; a checkpoint that knows of
/// more than the log holds notices.
fn is_right(found: &Found, was: &Found, cut: bool) -> Result<(), String> {
    let part =
        |some: &[(u64, Vec<u8>)], all: &[(u64, Vec<u8>)]| some.iter().all(|it| all.contains(it));
    if !part(&found.log, &was.log) || !part(&found.rejects, &was.rejects) {
        return Err("a record that was never written".into());
    }
    if found.told > 0 || found == was {
        return Ok(());
    }
    let epoch = |it: &Found| it.state.as_ref().map_or(0, |it| it.epoch);
    let older = epoch(found) < epoch(was) || found.state == was.state;
    let small = |it: &Found| (it.secret, it.decided.clone(), it.aside.clone());
    if !cut || !older || small(found) != small(was) {
        return Err("something else was read, and nothing was told".into());
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) {
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

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if std::fs::metadata(&path).unwrap().len() > 0 && !path.ends_with("lock") {
            found.push(path);
        }
    }
}

/// A process that keeps its state often.
fn started(dir: &Path, more: &[&str]) -> process::Process {
    let dir = dir.display().to_string();
    let mut all = vec!["run", "--data-dir", &dir, "--listen", "127.0.0.1:0"];
    all.extend(["--set", "state.interval=10ms"]);
    all.extend(more);
    process::Process::start(&all)
}

/// A data folder with some of everything.
fn written(folder: &Folder) -> PathBuf {
    let (_, events, _) = run(&["generate", "--events", "600", "--seed", "3"]);
    let lines: Vec<&str> = events.lines().collect();
    let dir = folder.0.join("data");
    for part in lines.chunks(200) {
        let file = folder.file("part.jsonl", part.join("\n"));
        let mut process = started(&dir, &["--set", "state.segment_bytes=64 KiB"]);
        let address = process.address(&dir);
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            send(&address, line);
        }
        process.signal("-TERM");
        assert_eq!(process.end().0, 0);
    }
    // Rejects: a feed of what is no event.
    let feed = folder.file("bad.jsonl", "garbage\n{\"specversion\":\"1.0\"}\n");
    let mut process = started(&dir, &["--feed", &format!("bad={feed}")]);
    let address = process.address(&dir);
    while process::get(&address, "/health/ready").0 != 200 {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    process.signal("-TERM");
    assert_eq!(process.end().0, 0);
    // A decision about a topic, and a record that brought a process down.
    let line = BookLine {
        feed: "shop/orders".into(),
        identity: Some("cluster/topic".into()),
        partition: 0,
        first: 0,
        next: 10,
        newest_event: 0,
        reset: 0,
        counts: Counts::default(),
    };
    let to = To::try_from("latest".to_string()).unwrap();
    Resets::open(&dir).unwrap().decide(&[line], "shop", None, to).unwrap();
    let place = notes::Place { feed: "shop/orders".into(), partition: 0, offset: 5, again: false };
    notes::put_aside(&dir, notes::Aside { place, why: "a panic".into() }).unwrap();
    dir
}

fn send(address: &str, event: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = "host: a\r\nconnection: close\r\ncontent-type: application/cloudevents+json";
    let n = event.len();
    let event_of: serde_json::Value = serde_json::from_str(event).unwrap();
    let tenant = event_of["tenant"].as_str().unwrap_or("default");
    write!(
        stream,
        "POST /v1/events?tenant={tenant} HTTP/1.1\r\n{head}\r\ncontent-length: {n}\r\n\r\n{event}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 202 "), "{answer}");
}

#[test]
fn is_found_or_harmless() {
    let seed = std::env::var("MILLSTREAM_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    println!("MILLSTREAM_SEED={seed}");
    let folder = Folder::new("damage");
    let dir = written(&folder);
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let place = base.join(format!("millstream-damage-{}", std::process::id()));
    copy(&dir, &place);
    let known = Known::of(&place);
    let was = read(&place, &known);
    assert_eq!(was.told, 0, "{was:?}");
    assert!(was.decided.contains("Latest") && was.aside.contains("a panic"), "{was:?}");
    let (n_log, n_rejects) = (was.log.len(), was.rejects.len());
    assert!(
        was.state.is_some() && n_log > 100 && n_rejects == 2,
        "{:?}, {n_log} in the log, {n_rejects} rejects",
        was.state.as_ref().map(|it| it.epoch)
    );
    let mut all = Vec::new();
    files(&place, &mut all);
    all.retain(|it| !it.ends_with("admin.addr"));
    all.sort();
    let whole: Vec<Vec<u8>> = all.iter().map(|it| std::fs::read(it).unwrap()).collect();
    let mut everything = Vec::new();
    files(&place, &mut everything);
    let n_files = everything.len();
    let n_bytes = everything.iter().map(|it| std::fs::metadata(it).unwrap().len()).sum::<u64>();
    let mut random = Random(seed);
    let (mut found, mut harmless) = (0, 0);
    let mut judge = |at: usize, bytes: &[u8], what: &str, cut: bool| {
        std::fs::write(&all[at], bytes).unwrap();
        let now = read(&place, &known);
        if let Err(why) = is_right(&now, &was, cut) {
            panic!("{}: {what}: {why}", all[at].display());
        }
        if now.told > 0 {
            found += 1
        } else {
            harmless += 1
        }
        // A start removes what was cut short and keeps it aside: then all is put back.
        std::fs::write(&all[at], &whole[at]).unwrap();
        let mut here = Vec::new();
        files(&place, &mut here);
        let lens =
            |of: &[PathBuf]| of.iter().map(|it| std::fs::metadata(it).unwrap().len()).sum::<u64>();
        if here.len() != n_files || lens(&here) != n_bytes {
            std::fs::remove_dir_all(&place).unwrap();
            copy(&dir, &place);
        }
    };
    for _ in 0..FLIPS {
        let at = random.below(all.len() as u64) as usize;
        let bit = random.below(whole[at].len() as u64 * 8) as usize;
        let mut bytes = whole[at].clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        judge(at, &bytes, &format!("bit {bit}"), false);
    }
    let mut cuts = 0;
    for (at, bytes) in whole.iter().enumerate() {
        let edges = memchr::memmem::find_iter(bytes, b"MBLK").flat_map(|it| [it, it + 44]);
        let between = (0..20).map(|n| n * bytes.len() / 20);
        for cut in edges.chain(between).filter(|it| *it < bytes.len()) {
            judge(at, &bytes[..cut], &format!("cut at {cut}"), true);
            cuts += 1;
        }
    }
    println!(
        "{FLIPS} flips and {cuts} cuts in {} files: {found} found, {harmless} harmless",
        all.len()
    );
    std::fs::remove_dir_all(&place).unwrap();
}
