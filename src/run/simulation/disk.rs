//! A disk that keeps what was not synced to itself, and may lose it; and the seed's draws.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::segments::Medium;

/// SplitMix64.
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// How the disk is, for every file on it.
#[derive(Clone)]
pub(super) struct Trouble(Arc<Mutex<State>>);

struct State {
    random: Random,
    /// One write or sync in so many fails; none if 0.
    one_in: u64,
    /// The process has ended: nothing gets through any more but what the disk chooses.
    dead: bool,
}

impl Trouble {
    pub(super) fn new(random: Random, one_in: u64) -> Trouble {
        Trouble(Arc::new(Mutex::new(State { random, one_in, dead: false })))
    }

    pub(super) fn one_in(&self, n: u64) {
        self.0.lock().one_in = n;
    }

    pub(super) fn die(&self) {
        self.0.lock().dead = true;
    }

    /// A file on this disk.
    pub(super) fn file(&self, file: File) -> Box<dyn Medium> {
        Box::new(Disk { file, unsynced: Vec::new(), trouble: self.clone() })
    }

    fn fails(&self) -> bool {
        let mut it = self.0.lock();
        let one_in = it.one_in;
        it.dead || one_in > 0 && it.random.below(one_in) == 0
    }
}

struct Disk {
    file: File,
    unsynced: Vec<(u64, Vec<u8>)>,
    trouble: Trouble,
}

impl Medium for Disk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.trouble.fails() {
            let half = bytes.len() / 2;
            self.unsynced.push((offset, bytes[..half].to_vec()));
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.unsynced.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.trouble.fails() {
            return Err(io::Error::other("sync failed"));
        }
        for (offset, bytes) in self.unsynced.drain(..) {
            Medium::write_at(&mut self.file, &bytes, offset)?;
        }
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        if self.trouble.0.lock().dead {
            return Err(io::Error::other("dead"));
        }
        self.unsynced.retain(|it| it.0 < len);
        self.file.set_len(len)
    }
}

impl Drop for Disk {
    /// What was not synced may be there all the same, in any order, or half.
    fn drop(&mut self) {
        let mut trouble = self.trouble.0.lock();
        for (offset, bytes) in self.unsynced.drain(..) {
            let kept = trouble.random.below(3) as usize * bytes.len() / 2;
            Medium::write_at(&mut self.file, &bytes[..kept.min(bytes.len())], offset).unwrap();
        }
    }
}
