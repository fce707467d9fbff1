//! Opens a folder: takes its lock, looks at every segment, and says where the log goes on. Or only
//! looks: then nothing on the disk is changed, not even what a crash left behind.

use std::fs::{File, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::blocks::Source;
use super::examine::{Damaged, Examined, Tally, examine};
use super::folder::{Extent, Folder, NEW_ENDING, SEGMENT_ENDING, Segment, make_dir, sync_dir};
use super::format::{
    BLOCK_HEADER_BYTES, BlockHeader, Contents, END_TAG, SEGMENT_HEADER_BYTES, SegmentHeader,
    SegmentProblem, VERSION,
};
use super::lock::FolderLock;
use super::trouble;
use super::writer::{END_MARK_BYTES, Writer, end_mark};
use crate::config::OnDamage;
use crate::report::Report;

/// Read and checked at opening, newest segments first: about a second. Older segments are checked
/// as they are read, by the same rules, so that a log of 64 GiB opens as fast as a small one.
pub const VERIFY_AT_OPEN_BYTES: u64 = 1 << 30;

/// A folder, opened.
pub struct Opened {
    /// For readers.
    pub folder: Arc<Folder>,
    /// For the one who appends.
    pub writer: Writer,
    /// What was found and dealt with: a tail cut off, damage skipped.
    pub notes: Vec<Report>,
}

/// A folder that is only looked at.
pub struct Looked {
    /// For readers.
    pub folder: Arc<Folder>,
    /// What was found, and is left as it is: a tail cut short, damage skipped.
    pub notes: Vec<Report>,
}

/// Opens the folder, making it if need be. `what` names it to people: `the event log`.
pub fn open(
    dir: &Path,
    contents: Contents,
    on_damage: OnDamage,
    segment_bytes: u64,
    what: &str,
    now_ms: u64,
) -> Result<Opened, Report> {
    let verify = VERIFY_AT_OPEN_BYTES;
    open_verifying(dir, contents, on_damage, segment_bytes, what, (now_ms, verify))
}

/// The same for a log that is read whole directly afterwards, and so is checked then: only what
/// has no end mark is read here.
pub fn open_to_read(
    dir: &Path,
    contents: Contents,
    on_damage: OnDamage,
    segment_bytes: u64,
    what: &str,
    now_ms: u64,
) -> Result<Opened, Report> {
    open_verifying(dir, contents, on_damage, segment_bytes, what, (now_ms, 0))
}

fn open_verifying(
    dir: &Path,
    contents: Contents,
    on_damage: OnDamage,
    segment_bytes: u64,
    what: &str,
    (now_ms, verify): (u64, u64),
) -> Result<Opened, Report> {
    make_dir(dir).map_err(|why| trouble::cannot_open(dir, &why))?;
    let lock = FolderLock::take(dir, what)?;
    let Looked { folder, notes } =
        survey(dir, contents, on_damage, Some(lock), To::Write { now_ms, verify })?;
    let next = folder.range().1;
    let newest_ms =
        folder.segments().iter().map(|it| it.extent().tally.newest_ms).max().unwrap_or(0);
    let writer = Writer::new(folder.clone(), next, newest_ms, segment_bytes);
    Ok(Opened { folder, writer, notes })
}

/// Looks into the folder: what a reader sees is what opening it would keep. Others may look too;
/// a process that has it open is told, and one that starts waits until the looking is over.
pub fn look(
    dir: &Path,
    contents: Contents,
    on_damage: OnDamage,
    what: &str,
) -> Result<Looked, Report> {
    look_verifying(dir, contents, on_damage, what, VERIFY_AT_OPEN_BYTES)
}

/// The same for who reads the newest of it now and leaves the rest to be read, and so checked,
/// directly afterwards: only what has no end mark is read here.
pub fn look_ahead(
    dir: &Path,
    contents: Contents,
    on_damage: OnDamage,
    what: &str,
) -> Result<Looked, Report> {
    look_verifying(dir, contents, on_damage, what, 0)
}

fn look_verifying(
    dir: &Path,
    contents: Contents,
    on_damage: OnDamage,
    what: &str,
    verify: u64,
) -> Result<Looked, Report> {
    let lock = FolderLock::share(dir, what)?;
    survey(dir, contents, on_damage, lock, To::Look { verify })
}

/// What for, and how many bytes of what has an end mark are read and checked all the same.
#[derive(Clone, Copy)]
enum To {
    Write { now_ms: u64, verify: u64 },
    Look { verify: u64 },
}

fn survey(
    dir: &Path,
    contents: Contents,
    on_damage: OnDamage,
    lock: Option<FolderLock>,
    to: To,
) -> Result<Looked, Report> {
    let writes = matches!(to, To::Write { .. });
    let mut notes = Vec::new();
    let mut found = Vec::new();
    for path in list(dir, writes).map_err(|why| trouble::cannot_open(dir, &why))? {
        found.push(Candidate::read(path, contents)?);
    }
    let log_id = match found.iter().find_map(|it| it.header.as_ref().ok()) {
        Some((header, _)) => header.log_id,
        None => match to {
            To::Write { now_ms, .. } => {
                std::hash::RandomState::new().hash_one((now_ms, std::process::id()))
            }
            To::Look { .. } => 0,
        },
    };
    let (To::Write { verify: mut budget, .. } | To::Look { verify: mut budget }) = to;
    for it in found.iter_mut().rev() {
        it.verify = budget > 0;
        budget = budget.saturating_sub(it.len);
    }
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let n = found.len();
    let firsts: Vec<u64> = found.iter().map(|it| it.first).collect();
    for (i, it) in found.into_iter().enumerate() {
        let (header, salt) = match it.header {
            Ok(it) => it,
            Err(why) if on_damage == OnDamage::Skip && i + 1 < n => {
                let (first, next) = (it.first, firsts[i + 1]);
                let whole = Damaged { offset: 0, until: it.len, first, next, why };
                notes.push(trouble::skipped(&it.path, &whole));
                continue;
            }
            Err(why) => return Err(trouble::header_damaged(&it.path, why)),
        };
        if header.log_id != log_id || header.first != it.first {
            let why = "it belongs to another log, or has another segment's name".to_string();
            return Err(trouble::other_contents(&it.path, why));
        }
        let covered = segments
            .last()
            .is_some_and(|before| before.header.compacted && before.extent().next > it.first);
        if covered {
            // Its blocks were moved into the one before, and it was about to be removed.
            let cannot = |why| trouble::cannot_open(&it.path, &why);
            if writes {
                std::fs::remove_file(&it.path).and_then(|()| sync_dir(dir)).map_err(cannot)?;
            }
            continue;
        }
        let last = i + 1 == n;
        let followed_by = firsts.get(i + 1).copied();
        let cannot = |why| trouble::cannot_open(&it.path, &why);
        let file =
            OpenOptions::new().read(true).write(writes && last).open(&it.path).map_err(cannot)?;
        let marked = end_of(&file, salt, it.len).map_err(cannot)?;
        let sure = marked
            .filter(|(next, _)| (header.compacted || followed_by == Some(*next)) && !it.verify);
        let follower = match marked {
            Some((next, _)) if header.compacted => Some(next),
            _ => followed_by,
        };
        let mut result = match sure {
            Some((next, tally)) => {
                Examined { end: it.len, next, tally, ended: true, ..Default::default() }
            }
            None => examine_file(&file, &header, salt, it.len, follower).map_err(cannot)?,
        };
        if header.compacted {
            // It was whole, with its mark, before it had its name.
            let next = followed_by.unwrap_or(result.next).max(result.next);
            let whole =
                Damaged { offset: result.end, until: it.len, first: result.next, next, why: "" };
            if marked.is_none() {
                let why = "its end mark is damaged";
                result.damaged.push(Damaged { why, ..whole });
            } else if result.next < next {
                let why = "the segment that should follow is missing";
                result.damaged.push(Damaged { why, ..whole });
            }
            result.next = next;
        }
        for damaged in &result.damaged {
            match on_damage {
                OnDamage::Refuse => return Err(trouble::damaged(&it.path, damaged)),
                OnDamage::Skip => notes.push(trouble::skipped(&it.path, damaged)),
            }
        }
        if last
            && !header.compacted
            && let Some(why) = result.tail
        {
            if writes {
                cut(&it.path, &file, it.len, result.end).map_err(cannot)?;
            }
            let bytes = it.len - result.end;
            notes.push(trouble::cut_off(&it.path, result.end, bytes, result.next, why, writes));
        }
        if last && writes {
            seal(&file, &header, salt, &result).map_err(cannot)?;
        }
        let sealed = !last || header.compacted || writes;
        let extent = Extent { end: result.end, next: result.next, tally: result.tally, sealed };
        let segment = Segment { path: it.path, header, salt, extent: Mutex::new(extent) };
        segments.push(Arc::new(segment));
    }
    let folder = Arc::new(Folder {
        dir: dir.to_path_buf(),
        contents,
        on_damage,
        log_id,
        segments: Mutex::new(segments),
        lock,
        syncing: Mutex::new(None),
        rewriting: Mutex::default(),
    });
    Ok(Looked { folder, notes })
}

/// Ends the segment that another process has written last: the log goes on in one of our own. That
/// process may only be stopped, and come back: what it still writes then lies beyond the first
/// position of the next segment, and is not read: the mark, which it may have written over, neither.
/// All that counts is durable before anything follows.
fn seal(file: &File, header: &SegmentHeader, salt: u32, result: &Examined) -> io::Result<()> {
    // One that has nothing in it is replaced by the next, which has its name.
    if !result.ended && result.next > header.first {
        let mut mark = Vec::new();
        end_mark(&mut mark, salt, result.next, &result.tally);
        if let Err(why) = file.write_all_at(&mark, result.end) {
            // It only spares reading the segment: a full disk must not keep it from opening.
            tracing::warn!(%why, "could not end the segment that was written last");
            file.set_len(result.end)?;
        }
    }
    file.sync_data()
}

struct Candidate {
    path: PathBuf,
    first: u64,
    len: u64,
    header: Result<(SegmentHeader, u32), &'static str>,
    verify: bool,
}

impl Candidate {
    fn read((first, path): (u64, PathBuf), contents: Contents) -> Result<Candidate, Report> {
        let cannot = |why| trouble::cannot_open(&path, &why);
        let file = File::open(&path).map_err(cannot)?;
        let len = file.metadata().map_err(cannot)?.len();
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let n = Source::read_at(&file, &mut bytes, 0).map_err(cannot)?;
        let header = match SegmentHeader::decode(&bytes[..n]) {
            Ok((header, _)) if header.contents != contents => {
                let text = |it: Contents| {
                    format!("{} ({:016x})", String::from_utf8_lossy(&it.name), it.schema)
                };
                let why = format!("expected {}, found {}", text(contents), text(header.contents));
                return Err(trouble::other_contents(&path, why));
            }
            Ok(it) => Ok(it),
            Err(SegmentProblem::Version(found)) => {
                return Err(trouble::other_version(&path, found, VERSION));
            }
            Err(SegmentProblem::Damaged(why)) => Err(why),
        };
        Ok(Candidate { path, first, len, header, verify: false })
    }
}

/// The segments by first position; what was being made when the process stopped is passed over,
/// and removed if the folder is to be written.
pub(super) fn list(dir: &Path, writes: bool) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|it| it.to_str());
        let first = path.file_stem().and_then(|it| it.to_str()).and_then(|it| it.parse().ok());
        match (ending, first) {
            (Some(SEGMENT_ENDING), Some(first)) => found.push((first, path)),
            (Some(NEW_ENDING), Some(_)) if writes => std::fs::remove_file(&path)?,
            _ => {}
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What the end mark in the last bytes says, if there is one.
fn end_of(file: &File, salt: u32, len: u64) -> io::Result<Option<(u64, Tally)>> {
    let Some(at) = len.checked_sub(END_MARK_BYTES) else { return Ok(None) };
    let mut bytes = [0; END_MARK_BYTES as usize];
    if Source::read_at(file, &mut bytes, at)? < bytes.len() {
        return Ok(None);
    }
    let (head, payload) = bytes.split_at(BLOCK_HEADER_BYTES);
    let head = head.first_chunk().expect("its length");
    Ok(match BlockHeader::decode(head, salt) {
        Ok(it) if it.tag == END_TAG && crc32c::crc32c(payload) == it.payload_crc => {
            Tally::decode(payload).map(|tally| (it.next(), tally))
        }
        _ => None,
    })
}

fn examine_file(
    file: &File,
    header: &SegmentHeader,
    salt: u32,
    len: u64,
    follower: Option<u64>,
) -> io::Result<Examined> {
    examine(file.try_clone()?, header, salt, len, follower)
}

/// Removes the end of the file; a copy of it stays beside, because nobody can prove that it was
/// worth nothing.
fn cut(path: &Path, file: &File, len: u64, end: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(len - end).unwrap_or(usize::MAX).min(CUT_KEPT_BYTES)];
    let n = Source::read_at(file, &mut bytes, end)?;
    if let Err(why) = std::fs::write(path.with_extension("cut"), &bytes[..n]) {
        // A full disk must not keep the log from opening.
        tracing::warn!(%why, "could not keep a copy of the end that was cut off");
    }
    file.set_len(end)?;
    file.sync_all()
}

/// More than a group of blocks can be.
const CUT_KEPT_BYTES: usize = 64 << 20;
