//! A small file replaced whole: a crash leaves the old one or the new one, never half of either.

use std::io::{self, Write};
use std::path::Path;

use super::folder::{NEW_ENDING, create_anew, parent, sync_dir};

/// Writes the file, durably, under its name.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(NEW_ENDING);
    let mut file = create_anew(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    sync_dir(parent(path))
}

/// The same with its CRC32C as a last line of eight digits, for [`read_checked`].
pub fn replace_checked(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut all = bytes.to_vec();
    all.extend_from_slice(format!("\n{:08x}\n", crc32c::crc32c(bytes)).as_bytes());
    replace(path, &all)
}

/// Removes the file, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// What was written; none where there is no such file, an error where its checksum does not hold.
pub fn read_checked(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = match std::fs::read(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        it => it?,
    };
    let mark = bytes.split_off(bytes.len().saturating_sub(MARK_BYTES));
    if mark != format!("\n{:08x}\n", crc32c::crc32c(&bytes)).into_bytes() {
        return Err(io::Error::other("its checksum does not hold"));
    }
    Ok(Some(bytes))
}

/// A line end before the eight digits, and one behind.
const MARK_BYTES: usize = 10;
