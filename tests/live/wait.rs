//! Until something is so, with patience; seeds; folders.

pub use crate::random::Random as Rng;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// A machine may stand still for so long.
const PAUSE: Duration = Duration::from_secs(120);
/// Longer than anything here takes on a loaded machine; what takes longer has failed.
const LOOKED_FOR: Duration = Duration::from_secs(90);
/// The same for one wait by the clock, in which a machine may stand still.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Asks again and again until there is an answer; fails with these words when patience ends.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(LOOKED_FOR, what, ask)
}

/// Patience is counted in looks, not by the clock alone: a machine that is slow, or that stood still
/// (a minute was seen), has not been looked at more often for that.
pub fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let (began, mut looks) = (Instant::now(), 0);
    loop {
        if let Some(it) = ask() {
            return it;
        }
        looks += 1;
        let over = LOOK * looks >= patience || began.elapsed() > patience * 2 + PAUSE;
        assert!(!over, "after {looks} looks, {:?}, still not: {what}", began.elapsed());
        std::thread::park_timeout(LOOK);
    }
}

/// A seed, printed: `MILLSTREAM_TEST_SEED` gives it again.
pub fn seed() -> u64 {
    let said = std::env::var("MILLSTREAM_TEST_SEED").ok().and_then(|it| it.parse().ok());
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = said.unwrap_or_else(now);
    let test = std::thread::current().name().unwrap_or("?").to_string();
    println!("{test}: seed {seed}");
    seed
}

/// Everything of this run of the suite; scripts/test removes it when the run is over.
pub fn suite_folder() -> PathBuf {
    let name = format!("live-{}", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A folder of a test's own.
pub fn folder(name: &str) -> PathBuf {
    let path = suite_folder().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A name that no other test has: for topics, groups, transactional ids.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
