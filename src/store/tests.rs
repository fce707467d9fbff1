//! The protocol in simulation: checkpoints, crashes and a disk that fails, by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::keeping::{StateKeeper, Unreadable};
use schemas::reading::{Epoch, Gone, Instants, Pin};

use super::checkpoint::{Maker, Parts};
use super::{Fresh, Store};
use crate::config;
use crate::messages::{BookLine, BookState, Counts};
use crate::metrics::Metrics;
use crate::segments::Medium;

/// SplitMix64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Versions of an entity by epoch: how often it was touched up to then.
type Versions = BTreeMap<Epoch, u64>;

/// A keeper of plain numbers.
#[derive(Default)]
struct Plain {
    entities: Mutex<BTreeMap<u64, Versions>>,
    dirty: Mutex<BTreeSet<u64>>,
    generations: Mutex<BTreeMap<u64, u32>>,
}

impl Plain {
    fn touch(&self, key: u64, epoch: Epoch) {
        let mut entities = self.entities.lock();
        let versions = entities.entry(key).or_default();
        let before = versions.last_key_value().map_or(0, |it| *it.1);
        versions.insert(epoch, before + 1);
        self.dirty.lock().insert(key);
    }

    fn at(&self, epoch: Epoch) -> BTreeMap<u64, u64> {
        let entities = self.entities.lock();
        let at = |versions: &Versions| versions.range(..=epoch).next_back().map(|it| *it.1);
        entities.iter().filter_map(|(key, it)| Some((*key, at(it)?))).collect()
    }
}

impl StateKeeper for Plain {
    fn view(&self) -> &'static str {
        "plain"
    }
    fn layout(&self) -> &'static str {
        "plain 1: key, epoch, touches"
    }
    fn save(&self, at: Epoch, generation: u32, emit: &mut dyn FnMut(&[u8])) -> Result<u64, Gone> {
        let dirty = std::mem::take(&mut *self.dirty.lock());
        let mut n = 0;
        for key in dirty {
            let entities = self.entities.lock();
            let versions = &entities[&key];
            if versions.last_key_value().is_some_and(|it| *it.0 > at) {
                self.dirty.lock().insert(key);
            }
            let Some((epoch, touches)) = versions.range(..=at).next_back() else { continue };
            let mut record = Vec::new();
            for number in [key, *epoch, *touches] {
                record.extend_from_slice(&number.to_le_bytes());
            }
            emit(&record);
            self.generations.lock().insert(key, generation);
            n += 1;
        }
        Ok(n)
    }
    fn again(&self, of: &dyn Fn(u32) -> bool) -> u64 {
        let generations = self.generations.lock();
        let again: Vec<u64> = generations.iter().filter(|it| of(*it.1)).map(|it| *it.0).collect();
        self.dirty.lock().extend(&again);
        again.len() as u64
    }
    fn restore(&self, record: &[u8], generation: u32) -> Result<bool, Unreadable> {
        let (numbers, rest) = record.as_chunks::<8>();
        let [key, epoch, touches] = numbers else {
            return Err(Unreadable { why: format!("{} bytes", record.len()) });
        };
        assert!(rest.is_empty());
        let [key, epoch, touches] = [key, epoch, touches].map(|it| u64::from_le_bytes(*it));
        let mut entities = self.entities.lock();
        if entities.contains_key(&key) {
            return Ok(false);
        }
        entities.insert(key, BTreeMap::from([(epoch, touches)]));
        self.generations.lock().insert(key, generation);
        Ok(true)
    }
}

/// The epoch that is complete.
struct Now(Mutex<Epoch>);

impl Instants for Now {
    fn complete(&self) -> Epoch {
        *self.0.lock()
    }
    fn pin(&self) -> Pin {
        Pin::new(self.complete(), Box::new(|| {}))
    }
    fn lease(&self, _: Epoch, _: u64, _: u64) -> Result<(), Gone> {
        Ok(())
    }
    fn expire(&self, _: u64) {}
    fn undo_bytes(&self) -> u64 {
        0
    }
}

/// A disk that keeps what was not synced to itself, and may lose it.
struct Disk {
    file: File,
    unsynced: Vec<(u64, Vec<u8>)>,
    trouble: Arc<Mutex<Trouble>>,
}

struct Trouble {
    random: Random,
    /// One write or sync in so many fails.
    one_in: u64,
    /// The process has ended: nothing gets through any more but what the disk chooses.
    dead: bool,
}

impl Medium for Disk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut trouble = self.trouble.lock();
        let one_in = trouble.one_in;
        if trouble.dead || one_in > 0 && trouble.random.below(one_in) == 0 {
            let half = bytes.len() / 2;
            self.unsynced.push((offset, bytes[..half].to_vec()));
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.unsynced.push((offset, bytes.to_vec()));
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut trouble = self.trouble.lock();
        let one_in = trouble.one_in;
        if trouble.dead || one_in > 0 && trouble.random.below(one_in) == 0 {
            return Err(io::Error::other("sync failed"));
        }
        for (offset, bytes) in self.unsynced.drain(..) {
            Medium::write_at(&mut self.file, &bytes, offset)?;
        }
        Ok(())
    }
    fn cut(&mut self, len: u64) -> io::Result<()> {
        if self.trouble.lock().dead {
            return Err(io::Error::other("dead"));
        }
        self.unsynced.retain(|it| it.0 < len);
        self.file.set_len(len)
    }
}

impl Drop for Disk {
    /// What was not synced may be there all the same, in any order, or half.
    fn drop(&mut self) {
        let mut trouble = self.trouble.lock();
        for (offset, bytes) in self.unsynced.drain(..) {
            let kept = trouble.random.below(3) as usize * bytes.len() / 2;
            Medium::write_at(&mut self.file, &bytes[..kept.min(bytes.len())], offset).unwrap();
        }
    }
}

struct World {
    dir: PathBuf,
    keeper: Arc<Plain>,
    now: Arc<Now>,
    fresh: Arc<Fresh>,
    /// The ids that the dedup would know.
    known: BTreeSet<u128>,
    /// Records applied per epoch: what the log holds. `records[n]` touches an entity.
    next: u64,
    maker: Maker,
    trouble: Arc<Mutex<Trouble>>,
    book: Arc<Mutex<BookState>>,
}

const ENTITIES: u64 = 40;

fn entity_of(record: u64) -> u64 {
    record.wrapping_mul(0x9e37_79b9) % ENTITIES
}

/// A process starts: what the newest checkpoint says, or nothing.
fn start(dir: &Path, random: &Random, one_in: u64) -> (World, Option<Epoch>) {
    let settings = config::State {
        interval: std::time::Duration::ZERO,
        max_interval: std::time::Duration::ZERO,
        segment_bytes: 4_096,
    };
    let (mut store, _) = Store::open(dir, &settings, 1).expect("opens");
    let (keeper, known) = (Arc::new(Plain::default()), Mutex::new(BTreeSet::new()));
    let keepers: Vec<Arc<dyn StateKeeper>> = vec![keeper.clone()];
    let take = |ids: &[u128], _: u64| known.lock().extend(ids);
    let restored = store.load(&keepers, &take, 0, 1, &[]).expect("loads");
    let trouble = Trouble { random: random.clone(), one_in, dead: false };
    let trouble = Arc::new(Mutex::new(trouble));
    for log in [&mut store.state, &mut store.identities] {
        let trouble = trouble.clone();
        log.writer.through(move |file| {
            Box::new(Disk { file, unsynced: Vec::new(), trouble: trouble.clone() })
        });
    }
    let epoch = restored.as_ref().map(|it| it.epoch);
    let book = restored.map(|it| it.book);
    let next = book.as_ref().map_or(0, |it| it.lines[0].next);
    let now = Arc::new(Now(Mutex::new(epoch.unwrap_or(0))));
    let fresh = Arc::new(Fresh::default());
    let told = Arc::new(Mutex::new(book.clone().unwrap_or_default()));
    let asked = told.clone();
    let parts = Parts {
        leaving: None,
        keepers,
        instants: now.clone(),
        book: Arc::new(move |epoch| Some(asked.lock().clone()).filter(|it| it.epoch == epoch)),
        fresh: fresh.clone(),
        entities: Arc::new(|| vec![("plain".into(), ENTITIES)]),
        rejects: Arc::new(|| true),
        hold: Arc::new(|_| {}),
        now_ms: Arc::new(|| 1_000),
        building: Arc::new(|_| false),
        durable: Arc::default(),
        horizon: (u64::MAX, u64::MAX),
        kept: Arc::new(|_| {}),
        metrics: Metrics::default(),
    };
    let maker = Maker::new(store, parts, book);
    let known = known.into_inner();
    let (dir, book) = (dir.to_path_buf(), told);
    (World { dir, keeper, now, fresh, known, next, maker, trouble, book }, epoch)
}

impl World {
    /// Some records of the log in one epoch, complete.
    fn epoch(&mut self, records: u64) {
        let epoch = *self.now.0.lock() + 1;
        for record in self.next..self.next + records {
            let id = u128::from(record) + 1;
            assert!(self.known.insert(id), "record {record} was applied before it was read");
            self.fresh.note(epoch, 60_000 * (record / 64), vec![id]);
            self.keeper.touch(entity_of(record), epoch);
        }
        self.next += records;
        *self.now.0.lock() = epoch;
        let counts = Counts { read: self.next, applied: self.next, ..Counts::default() };
        let (feed, newest_event) = ("log".into(), self.next as i64);
        let line = BookLine {
            feed,
            identity: None,
            partition: 0,
            first: 0,
            next: self.next,
            newest_event,
            reset: 0,
            counts,
        };
        *self.book.lock() = BookState { epoch, lines: vec![line] };
    }

    /// What every entity must be after so many records.
    fn expected(&self) -> BTreeMap<u64, u64> {
        let mut expected = BTreeMap::new();
        for record in 0..self.next {
            *expected.entry(entity_of(record)).or_insert(0) += 1;
        }
        expected
    }

    fn is_right(&self) {
        assert_eq!(self.keeper.at(u64::MAX), self.expected(), "states at {}", self.next);
        let ids: BTreeSet<u128> = (1..=u128::from(self.next)).collect();
        assert_eq!(self.known, ids, "identities at {}", self.next);
    }
}

/// Goal: whatever was being written when the process ended, and whatever the disk made of what
/// was not synced, a start finds states, identities and offsets of one instant, and never one
/// older than a checkpoint that was told as made. Method: some lives of some epochs each, on a
/// disk that refuses writes and loses or halves what was not synced; the plain count of the log's
/// records as the oracle.
#[test]
fn a_start_finds_one_instant() {
    // One that fails is repeated by naming it here alone.
    let seeds = 0..1_000;
    let (mut resumed, mut cleaned) = (0, 0);
    for seed in seeds {
        // Syncs cost nothing in memory; what they mean is simulated above.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
        let dir = dir.join(format!("millstream-store-{}-{seed}", std::process::id()));
        let mut random = Random(seed);
        let mut made = 0;
        for life in 0..5 {
            let one_in = [0, 0, 7, 30][random.below(4) as usize];
            random.below(1);
            let (mut world, epoch) = start(&dir, &random, one_in);
            world.is_right();
            let found = epoch.unwrap_or(0);
            assert!(found >= made, "seed {seed}, life {life}: found {found}, made was {made}");
            resumed += u64::from(found > 0);
            let epochs = random.below(40);
            let dies_at = random.below(epochs + 1);
            for n in 0..epochs {
                world.epoch(random.below(30));
                if n == dies_at {
                    // In the middle of a checkpoint: some of its writes still get through.
                    world.trouble.lock().one_in = 1 + random.below(4);
                    world.maker.make().err();
                    world.trouble.lock().dead = true;
                    world.maker.make().err();
                    break;
                }
                if random.below(3) > 0 {
                    // That it fails is what the disk is for; what was made is counted.
                    world.maker.make().err();
                }
            }
            made = found.max(world.maker.made);
            let folder = &world.maker.store.state.folder;
            cleaned += u64::from(folder.range().0 > 0);
            let World { dir, maker, .. } = world;
            drop((dir, maker));
        }
        std::fs::remove_dir_all(&dir).expect("removed");
    }
    assert!(resumed > 0 && cleaned > 0);
}
