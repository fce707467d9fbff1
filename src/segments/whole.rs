//! A small file replaced whole: a crash leaves the old one or the new one, never half of either.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::folder::{NEW_ENDING, sync_dir};

/// Writes the file, durably, under its name.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(NEW_ENDING);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync_dir(folder),
        _ => Ok(()),
    }
}
