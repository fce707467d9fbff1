//! Goal: a flipped bit or a cut anywhere in what is kept is found or harmless: never a wrong row,
//! a panic, or much allocated. Method: a data folder that the real program has written, with
//! several segments of each log (`damage/written.rs`); one bit flipped at a time (ten thousand, by
//! a seed), and each file cut at every edge of a block and at some places between; everything is
//! read as a start reads it, and held against what was read before. Where a start is not refused,
//! the rows that it goes on to serve are held against the plain computation (`damage/goes_on.rs`):
//! once for each different content that was accepted.
//!
//! `MILLSTREAM_SEED` repeats a run.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::disallowed_methods)]

#[path = "common/mod.rs"]
mod common;
#[path = "damage/goes_on.rs"]
mod goes_on;
#[path = "crash/load.rs"]
mod load;
#[path = "formats/make.rs"]
mod make;
#[path = "formats/outbox.rs"]
mod outbox;
#[path = "common/process.rs"]
mod process;
#[path = "common/random.rs"]
mod random;
#[path = "damage/written.rs"]
mod written;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use millstream::config::Settings;
use millstream::engine::Prepared;
use millstream::ingest::local_log;
use millstream::ingest::resets::Resets;
use millstream::models::arrivals::{self, List};
use millstream::models::shelf::{self, Shelf};
use millstream::rejects::{self, Filter};
use millstream::secret;
use millstream::segments::{self, Contents, OnDamage, SEGMENT_HEADER_BYTES, SegmentHeader};
use millstream::sinks;
use millstream::store::{self, Incarnation, Store};
use millstream::supervise::notes;
use process::{Folder, Process, get};
use random::Random;
use schemas::events::Event;
use schemas::keeping::{StateKeeper, Unreadable};
use schemas::names::Secret;
use schemas::reading::{Epoch, Gone};

const FLIPS: u64 = 10_000;
/// Threads of the engines that go on reserve a good part of it; a length of four bytes that is
/// believed asks for as much again in one flip of eight.
const ASKED_MAX_KIB: u64 = 2 << 20;
/// Of the test and what it starts in its own process.
const RESIDENT_MAX_KIB: u64 = 1 << 19;

/// What the system says of this process.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Records as they are put back, whatever they are.
struct Recorder {
    view: &'static str,
    layout: &'static str,
    records: Mutex<Vec<(u32, Vec<u8>)>>,
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
    fn restore(&self, record: &[u8], generation: u32) -> Result<bool, Unreadable> {
        self.records.lock().unwrap().push((generation, record.to_vec()));
        Ok(true)
    }
}

/// A checkpoint as it is put back.
#[derive(Debug, PartialEq, Hash)]
struct Checkpoint {
    epoch: u64,
    incarnation: u64,
    book: String,
    /// Of the log, it knows records below.
    position: u64,
    /// By view, each with the checkpoint that wrote it.
    records: BTreeMap<&'static str, Vec<(u32, Vec<u8>)>>,
    /// With the instant from which they are remembered.
    identities: Vec<(Vec<u128>, u64)>,
}

/// A record of the log.
#[derive(Debug, PartialEq, Hash)]
struct Record {
    position: u64,
    /// Of ours: no view has it.
    is_fact: bool,
    bytes: Vec<u8>,
}

/// Everything that a start reads, as far as it can be; what of it is refused or told.
#[derive(Debug, Default, PartialEq)]
struct Found {
    state: Option<Checkpoint>,
    log: Vec<Record>,
    rejects: Vec<(u64, Vec<u8>)>,
    secret: Option<[u8; 16]>,
    /// What was decided about feeds, which records are put aside, and the models.
    decided: String,
    aside: String,
    models: String,
    /// How each sink stood, and every block of their outboxes.
    stood: Vec<String>,
    outboxes: Vec<(String, u64, Vec<u8>)>,
    told: usize,
    /// A start would have read the state and the log.
    accepted: bool,
}

/// What the folder is held against: the views as they are laid out, what its secret makes of a
/// known text, and what an outbox holds, made once.
struct Known {
    settings: Settings,
    views: Vec<(&'static str, &'static str)>,
    secret: [u8; 16],
    under: String,
    outbox: Contents,
}

/// Sinks of the folder.
const SINKS: [&str; 2] = ["taken", "waits"];

impl Known {
    fn of(dir: &Path) -> Known {
        let settings = Settings::default_in(dir);
        let secret = secret::of(dir).unwrap();
        let prepared = Prepared::new(&settings.engine, &settings.queues, secret, true).unwrap();
        let views = prepared.keepers().iter().map(|it| (it.view(), it.layout())).collect();
        let segment = segments_of(&dir.join("sinks/taken")).remove(0);
        let header = std::fs::read(segment).unwrap();
        let outbox = SegmentHeader::decode(&header[..SEGMENT_HEADER_BYTES]).unwrap().0.contents;
        Known { views, secret: secret.0, under: prepared.under(), outbox, settings }
    }
}

fn segments_of(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(dir, &mut all);
    all.retain(|it| it.extension().is_some_and(|it| it == "seg"));
    all.sort();
    all
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
    let (mut models, mut accepted) = (Vec::new(), same);
    match Store::open(dir, &settings.state, 1) {
        Err(_) => {
            note(1);
            accepted = false;
        }
        Ok((mut store, notes)) => {
            note(notes.len());
            store.under(under);
            let dynamic: Vec<Arc<dyn StateKeeper>> =
                keepers.iter().map(|it| Arc::clone(it) as _).collect();
            let ids = Mutex::new(Vec::new());
            let take = |some: &[u128], at: u64| ids.lock().unwrap().push((some.to_vec(), at));
            match store.load(&dynamic, &take, 0, 1, &[]) {
                Err(_) => {
                    note(1);
                    accepted = false;
                }
                Ok(None) => {}
                Ok(Some(it)) => {
                    models.clone_from(&it.models);
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
    match models_of(dir, &models) {
        Err(_) => {
            note(1);
            accepted = false;
        }
        Ok(it) => found.models = it,
    }
    match local_log::Looking::at(&dir.join(local_log::DIR), OnDamage::Refuse) {
        Err(_) => {
            note(1);
            accepted = false;
        }
        Ok(log) => {
            note(log.notes().len());
            // A start refuses it: `ingest/position-ahead`.
            let position = found.state.as_ref().map_or(0, |it| it.position);
            let is_ahead = log.stats().next < position;
            note(usize::from(is_ahead));
            accepted &= !is_ahead;
            match log.show(log.first(), 1_000_000) {
                Err(_) => note(1),
                Ok(all) => {
                    let record = |it: local_log::Shown| Record {
                        position: it.position,
                        is_fact: it.kind == local_log::Kind::Fact,
                        bytes: it.bytes,
                    };
                    found.log = all.into_iter().map(record).collect();
                }
            }
        }
    }
    for name in SINKS {
        match outbox_of(dir, name, known) {
            Err(_) => note(1),
            Ok((notes, blocks)) => {
                note(notes);
                let blocks = blocks.into_iter().map(|(at, it)| (name.to_string(), at, it));
                found.outboxes.extend(blocks);
            }
        }
        match sinks::aside_of(dir, name) {
            Err(_) => note(1),
            Ok(it) => found.stood.push(it.to_string()),
        }
    }
    match sinks::look(dir) {
        Err(_) => note(1),
        Ok(mut it) => {
            // A mark that ends an older segment counts among its bytes, and is not needed.
            for sink in it.as_array_mut().into_iter().flatten() {
                sink["outbox_bytes"].take();
            }
            found.stood.push(it.to_string());
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
    (found.told, found.accepted) = (told, accepted);
    found
}

/// The models that were published, of which the checkpoint names these.
fn models_of(dir: &Path, named: &[String]) -> Result<String, millstream::report::Report> {
    let shelf = Shelf::of(dir);
    let entries = shelf.list()?;
    let is_theirs = |it: &&String| arrivals::is_ours(it);
    let (theirs, named): (Vec<_>, Vec<_>) = named.iter().partition(is_theirs);
    let named: Vec<String> = named.into_iter().cloned().collect();
    shelf::expect(&shelf, &entries, &named)?;
    let list = List::read(&shelf)?;
    list.expect(&shelf, &theirs.into_iter().cloned().collect::<Vec<_>>())?;
    list.speakers(&shelf)?;
    for it in &entries {
        shelf.model(it)?;
    }
    Ok(format!("{entries:?} {list:?}"))
}

type Blocks = Vec<(u64, Vec<u8>)>;

/// Every block of a sink's outbox, and how much of it was told.
fn outbox_of(
    dir: &Path,
    name: &str,
    known: &Known,
) -> Result<(usize, Blocks), millstream::report::Report> {
    let dir = dir.join("sinks").join(name);
    let looked = segments::look(&dir, known.outbox, OnDamage::Refuse, "an outbox")?;
    let mut blocks = Vec::new();
    for segment in looked.folder.segments() {
        looked.folder.each_block(&segment, |block| {
            blocks.push((block.header.first, block.payload.to_vec()));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok((looked.notes.len(), blocks))
}

/// Whether all of some are there, in the same order.
fn part<T: PartialEq>(some: &[T], all: &[T]) -> bool {
    let mut all = all.iter();
    some.iter().all(|it| all.any(|other| other == it))
}

/// Whether what is left is right: as it was, or told; and what is there of the log, the rejects and
/// the outboxes is a part of what was.
/// One that is `cut` at the edge of a block looks like one that ended there (docs/format.md): then
/// an older checkpoint, or fewer records at the end, are right too; a checkpoint that knows of
/// more than the log holds notices.
fn is_right(found: &Found, was: &Found, cut: bool) -> Result<(), String> {
    if !part(&found.log, &was.log)
        || !part(&found.rejects, &was.rejects)
        || !part(&found.outboxes, &was.outboxes)
    {
        return Err("a record that was never written".into());
    }
    if found.told > 0 || found == was {
        return Ok(());
    }
    let epoch = |it: &Found| it.state.as_ref().map_or(0, |it| it.epoch);
    let older = epoch(found) < epoch(was) || found.state == was.state;
    let small = |it: &Found| (it.secret, it.decided.clone(), it.aside.clone(), it.models.clone());
    if !cut || !older || small(found) != small(was) {
        let parts = [
            ("state", found.state == was.state),
            ("log", found.log == was.log),
            ("rejects", found.rejects == was.rejects),
            ("small files", small(found) == small(was)),
            ("outboxes", found.outboxes == was.outboxes),
            ("how sinks stand", found.stood == was.stood),
        ];
        let other: Vec<&str> = parts.iter().filter(|it| !it.1).map(|it| it.0).collect();
        let stood = (&found.stood, &was.stood);
        return Err(format!(
            "something else was read of {other:?}, and nothing was told; {stood:?}"
        ));
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

fn ready(address: &str, process: &mut Process) {
    while get(address, "/health/ready").0 != 200 {
        assert!(process.child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

/// The rows that starts go on to serve, each different content once.
struct Rows {
    events: Vec<(u64, Event<'static>)>,
    secret: Secret,
    /// An instant after all of it.
    now: Epoch,
    judged: HashMap<u64, Result<(), String>>,
}

impl Rows {
    fn are_right(&mut self, found: &Found) -> Result<(), String> {
        let mut content = DefaultHasher::new();
        (&found.state, &found.log).hash(&mut content);
        let (state, log) = (found.state.as_ref(), &found.log[..]);
        let judge = || goes_on::is_right(state, log, &self.events, (self.secret, self.now));
        self.judged.entry(content.finish()).or_insert_with(judge).clone()
    }
}

#[test]
fn is_found_or_harmless() {
    let seed = std::env::var("MILLSTREAM_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    println!("MILLSTREAM_SEED={seed}");
    let folder = Folder::new("damage");
    let dir = written::written(&folder);
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let place = base.join(format!("millstream-damage-{}", std::process::id()));
    // A start ends what a process that was killed has left open.
    read(&dir, &Known::of(&dir));
    copy(&dir, &place);
    let known = Known::of(&place);
    let was = read(&place, &known);
    assert_eq!(was.told, 0, "{was:?}");
    assert!(was.decided.contains("Latest") && was.aside.contains("a panic"), "{was:?}");
    assert!(was.models.contains("n_arrived"), "{was:?}");
    assert!(was.models.contains("sentiment") && was.stood[1].contains("too long"), "{was:?}");
    let (n_log, n_rejects, n_blocks) = (was.log.len(), was.rejects.len(), was.outboxes.len());
    println!("{n_log} records, {n_rejects} rejects, {n_blocks} blocks in outboxes");
    assert!(
        was.state.is_some() && n_log > 100 && n_rejects == 2 && n_blocks > 10,
        "{:?}",
        was.state.as_ref().map(|it| it.epoch)
    );
    let (events, secret) = (goes_on::events(&was.log), Secret(known.secret));
    let now = was.state.as_ref().map_or(0, |it| it.epoch) + 60_000;
    let mut rows = Rows { events, secret, now, judged: HashMap::new() };
    rows.are_right(&was).unwrap();
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
    let (mut found, mut harmless, mut accepted, mut older) = (0, 0, 0, 0);
    let mut judge = |at: usize, bytes: &[u8], what: &str, cut: bool| {
        std::fs::write(&all[at], bytes).unwrap();
        let now = read(&place, &known);
        if let Err(why) = is_right(&now, &was, cut) {
            panic!("{}: {what}: {why}", all[at].display());
        }
        if now.accepted {
            accepted += 1;
            if let Err(why) = rows.are_right(&now) {
                panic!("{}: {what}: {why}", all[at].display());
            }
        }
        if now.told > 0 {
            found += 1
        } else {
            harmless += 1
        }
        // What a start does where the newest checkpoint is damaged: the one before it.
        let others = now.secret == Some(known.secret) && Incarnation::read(&place).is_ok();
        let goes_back = !now.accepted && others;
        let before = goes_back.then(|| store::older(&place).unwrap()).flatten();
        if let Some(it) = &before {
            it.take_up(&place, 0).unwrap();
            let gone_on = read(&place, &known);
            let epoch = gone_on.state.as_ref().map(|it| it.epoch);
            assert!(gone_on.state.is_none() || epoch == Some(it.epoch), "{what}: {epoch:?}");
            if gone_on.accepted {
                older += 1;
                if let Err(why) = rows.are_right(&gone_on) {
                    panic!("{}: {what}, gone back to {}: {why}", all[at].display(), it.seq);
                }
            }
        }
        // A start removes what was cut short and keeps it aside: then all is put back.
        std::fs::write(&all[at], &whole[at]).unwrap();
        let mut here = Vec::new();
        files(&place, &mut here);
        let lens =
            |of: &[PathBuf]| of.iter().map(|it| std::fs::metadata(it).unwrap().len()).sum::<u64>();
        if before.is_some() || here.len() != n_files || lens(&here) != n_bytes {
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
    // No length in what was damaged has made anybody allocate by it: what is asked for counts here,
    // touched or not.
    let (asked, resident) = (memory_kib("VmPeak:"), memory_kib("VmHWM:"));
    println!("at most {asked} KiB of addresses, {resident} KiB of memory");
    assert!(asked < ASKED_MAX_KIB && resident < RESIDENT_MAX_KIB);
    assert!(older > 100, "{older} times an older checkpoint was taken up");
    println!(
        "{FLIPS} flips and {cuts} cuts in {} files: {found} found, {harmless} harmless; {accepted} \
         states accepted, {older} gone back to an older one, rows of {} different ones held against the plain computation",
        all.len(),
        rows.judged.len()
    );
    std::fs::remove_dir_all(&place).unwrap();
}
