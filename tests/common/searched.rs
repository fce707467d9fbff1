//! Whether something stands in any file of a folder, and when it does no longer.

use std::path::Path;
use std::time::{Duration, Instant};

/// Files below a folder in which these bytes stand.
pub fn found_in(dir: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match std::fs::read(&path) {
                _ if path.is_dir() => folders.push(path),
                Ok(it) if it.windows(bytes.len()).any(|it| it == bytes) => {
                    found.push(path.display().to_string());
                }
                // What was there a moment ago may be gone: the store removes its own.
                _ => {}
            }
        }
    }
    found
}

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + Duration::from_secs(120);
    while let Err(found) = is_so() {
        assert!(Instant::now() < end, "{what}: {found}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
