//! A copy of everything durable, taken while it is being written; and put back elsewhere.
//!
//! In: the logs of a data folder and its small files. Out: a folder that [`restore`] takes.
//!
//! # Meaning
//! What is copied is what a crash at one instant could have left: the state first, then what its
//! newest checkpoint names (identities), then what it goes on from (rejects, the event log). All
//! of them only grow at their ends, so a later look at a log holds everything an earlier one did.
//! `tests/crash/backup.rs` restores a copy that was taken under load and holds every row against the
//! plain computation.
//!
//! # When it fails
//! A copy counts when its list of files is there, which is written last. Restoring checks each
//! file against that list, and the folder has its name only once everything is in it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::segments::{self, Folder};

/// The list of files; a backup without it is none.
pub const LIST: &str = "backup.json";
/// The version of the list that this code writes and reads.
const VERSION: u32 = 1;
/// Copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Of this list.
    pub version: u32,
    /// When it was made, milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Every file.
    pub files: Vec<Copied>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// Its path in the data folder.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Their CRC32C.
    pub crc: u32,
}

/// A log and the name of its folder.
pub type Part = (&'static str, Arc<Folder>);

/// Copies these logs, in this order, and then the small files that are there, also in this order; of
/// a folder among them every file that is not in the making. So a list that is named before the
/// folder of what it lists is never ahead of it.
pub fn make(
    data_dir: &Path,
    logs: &[Part],
    small: &[&str],
    to: &Path,
    now_ms: u64,
) -> Result<Made, Report> {
    let cannot = |path: &Path, why: &io::Error| could_not_write(path, why);
    expect_empty(to)?;
    segments::make_dir(to).map_err(|why| cannot(to, &why))?;
    let mut files = Vec::new();
    // Every log is held before any is copied: copying takes long.
    let mut held = Vec::new();
    for (name, folder) in logs {
        held.push((*name, folder.hold()?));
    }
    for (name, segments) in held {
        let folder = to.join(name);
        segments::make_dir(&folder).map_err(|why| cannot(&folder, &why))?;
        for it in segments {
            let target = folder.join(&it.name);
            let path = format!("{name}/{}", it.name.display());
            let copied =
                copy(it.file.take(it.bytes), &target).map_err(|why| cannot(&target, &why))?;
            if copied.0 != it.bytes {
                let why = format!("expected {} bytes, found {}", it.bytes, copied.0);
                return Err(cannot(&target, &io::Error::other(why)));
            }
            files.push(Copied { path, bytes: copied.0, crc: copied.1 });
        }
        segments::sync_dir(&folder).map_err(|why| cannot(&folder, &why))?;
    }
    for name in small {
        for path in of_small(data_dir, name).map_err(|why| cannot(&data_dir.join(name), &why))? {
            if files.iter().any(|it: &Copied| it.path == path) {
                continue;
            }
            let (from, target) = (data_dir.join(&path), to.join(&path));
            let file = match File::open(&from) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(|why| cannot(&from, &why))?,
            };
            let folder = target.parent().unwrap_or(to);
            segments::make_dir(folder).map_err(|why| cannot(folder, &why))?;
            let (bytes, crc) = copy(file, &target).map_err(|why| cannot(&target, &why))?;
            segments::sync_dir(folder).map_err(|why| cannot(folder, &why))?;
            files.push(Copied { path, bytes, crc });
        }
    }
    let bytes = files.iter().map(|it| it.bytes).sum();
    let made = Made { version: VERSION, made_ms: now_ms, bytes, files };
    let list = to.join(LIST);
    let text = serde_json::to_vec_pretty(&made).map_err(|why| cannot(&list, &why.into()))?;
    segments::replace_checked(&list, &text).map_err(|why| cannot(&list, &why))?;
    Ok(made)
}

/// Puts a backup into a data folder that has nothing in it. `finish` is called before the folder
/// has its name.
pub fn restore(
    from: &Path,
    data_dir: &Path,
    finish: impl FnOnce(&Path) -> Result<(), Report>,
) -> Result<Made, Report> {
    let list = from.join(LIST);
    let text = segments::read_checked(&list).map_err(|why| not_whole(&list, &why.to_string()))?;
    let text = text.ok_or_else(|| not_whole(&list, "there is no such file"))?;
    let made: Made =
        serde_json::from_slice(&text).map_err(|why| not_whole(&list, &why.to_string()))?;
    if made.version != VERSION {
        return Err(not_whole(
            &list,
            &format!("expected version {VERSION}, found {}", made.version),
        ));
    }
    expect_empty(data_dir)?;
    let aside = aside(data_dir);
    let cannot = |path: &Path, why: &io::Error| could_not_write(path, why);
    match std::fs::remove_dir_all(&aside) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(cannot(&aside, &why)),
        _ => {}
    }
    segments::make_dir(&aside).map_err(|why| cannot(&aside, &why))?;
    for it in &made.files {
        let source = from.join(&it.path);
        let inside = Path::new(&it.path)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !inside {
            return Err(not_whole(&list, &format!("expected a path inside, found {:?}", it.path)));
        }
        let target = aside.join(&it.path);
        let folder = target.parent().unwrap_or(&aside);
        segments::make_dir(folder).map_err(|why| cannot(folder, &why))?;
        let file = File::open(&source).map_err(|why| not_whole(&source, &why.to_string()))?;
        let found = copy(file, &target).map_err(|why| cannot(&target, &why))?;
        if found != (it.bytes, it.crc) {
            let why = format!(
                "expected {} bytes with the checksum {:08x}, found {} with {:08x}",
                it.bytes, it.crc, found.0, found.1
            );
            return Err(not_whole(&source, &why));
        }
        segments::sync_dir(folder).map_err(|why| cannot(folder, &why))?;
    }
    finish(&aside)?;
    let named = || -> io::Result<()> {
        segments::sync_dir(&aside)?;
        if data_dir.is_dir() {
            std::fs::remove_dir(data_dir)?;
        }
        std::fs::rename(&aside, data_dir)?;
        segments::sync_dir(segments::parent(data_dir))
    };
    named().map_err(|why| cannot(data_dir, &why))?;
    Ok(made)
}

/// A small file, or the files of a small folder, as paths in the data folder.
fn of_small(data_dir: &Path, name: &str) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(data_dir.join(name)) {
        Err(_) => return Ok(vec![name.to_string()]),
        Ok(entries) => entries,
    };
    let mut paths = Vec::new();
    for it in entries {
        let it = it?;
        let file = it.file_name();
        // One with an ending is in the making.
        if it.file_type()?.is_file() && Path::new(&file).extension().is_none() {
            paths.push(format!("{name}/{}", file.to_string_lossy()));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Where a folder is put together before it has its name.
fn aside(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_os_string();
    name.push(".restoring");
    data_dir.with_file_name(name)
}

/// Bytes and their checksum; durable.
fn copy(mut from: impl Read, to: &Path) -> io::Result<(u64, u32)> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    // The deployment's secret is among them.
    let mut file = options.write(true).create_new(true).mode(0o600).open(to)?;
    let (mut bytes, mut crc) = (0, 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(why),
        };
        file.write_all(&chunk[..n])?;
        crc = crc32c::crc32c_append(crc, &chunk[..n]);
        bytes += n as u64;
    }
    file.sync_all()?;
    Ok((bytes, crc))
}

fn expect_empty(folder: &Path) -> Result<(), Report> {
    let first = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => None,
        Err(why) => return Err(could_not_write(folder, &why)),
    };
    let Some(found) = first else { return Ok(()) };
    let name = found.map_or_else(|why| why.to_string(), |it| format!("{:?}", it.file_name()));
    Err(Report {
        code: "backup/not-empty",
        what: "cannot write into a folder that has something in it".into(),
        at: vec![("folder", folder.display().to_string())],
        why: format!("expected nothing in it, found {name}"),
        effect: "nothing was written".into(),
        fix: "name another folder; to restore over a data folder, move that one away first".into(),
    })
}

pub(crate) fn could_not_write(path: &Path, why: &io::Error) -> Report {
    Report {
        code: "backup/could-not-copy",
        what: "could not copy a file".into(),
        at: vec![("file", path.display().to_string())],
        why: why.to_string(),
        effect: "what was being written is no backup and no data folder; what it was to be \
                 copied from is as it was"
            .into(),
        fix: "make room, or name a folder that this user may write to; remove what is there of \
              this try, then try again"
            .into(),
    }
}

fn not_whole(path: &Path, why: &str) -> Report {
    Report {
        code: "backup/not-whole",
        what: "cannot restore from a backup that is not whole".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "no data folder was made; the backup is as it was".into(),
        fix: "take another backup; one that was interrupted has no list of files".into(),
    }
}
