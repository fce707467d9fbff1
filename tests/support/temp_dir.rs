//! A folder that goes away with the test that made it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> TempDir {
        static N: AtomicU64 = AtomicU64::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a folder: these tests end processes, not machines.
        let shm = PathBuf::from("/dev/shm");
        let base = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let path = base.join(format!("millstream-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A failed test says more than a folder that was left.
        if let Err(why) = std::fs::remove_dir_all(&self.0) {
            eprintln!("could not remove {}: {why}", self.0.display());
        }
    }
}
