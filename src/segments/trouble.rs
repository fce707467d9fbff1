//! What can go wrong with segments, as it is told.

use std::io;
use std::path::Path;

use super::examine::Damaged;
use crate::report::Report;

fn file(path: &Path) -> (&'static str, String) {
    ("file", path.display().to_string())
}

fn disk_is_full(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A folder or file that could not be opened or made.
pub(super) fn cannot_open(path: &Path, why: &io::Error) -> Report {
    Report {
        code: "segments/cannot-open",
        what: "could not open a log folder or one of its files".into(),
        at: vec![file(path)],
        why: why.to_string(),
        effect: "nothing was read or written".into(),
        fix: match why.kind() {
            _ if disk_is_full(why) => "make room on the disk, then start again".into(),
            io::ErrorKind::PermissionDenied => {
                "give this user the right to read and write there, or set another `data_dir`".into()
            }
            _ => "see that `data_dir` is a folder on a disk that is there".into(),
        },
    }
}

/// A group of blocks that could not be written. `back_out`: whether the file is again as it was.
pub fn cannot_write(path: &Path, why: &io::Error, back_out: bool) -> Report {
    let full = disk_is_full(why);
    Report {
        code: if full { "segments/disk-full" } else { "segments/cannot-write" },
        what: "could not append".into(),
        at: vec![file(path)],
        why: why.to_string(),
        effect: if back_out {
            "nothing of it was kept, and nothing half-written is left; what was there is whole"
                .into()
        } else {
            "it is not in the log; the disk did not let its remains be removed, so until the log \
             has gone on in a new segment a restart may find it there"
                .into()
        },
        fix: if full {
            "make room on the disk; appending goes on by itself".into()
        } else {
            "see to the disk; appending goes on by itself once it can be written".into()
        },
    }
}

/// The code of a folder that is not ours any more.
pub(super) const REMOVED: &str = "segments/removed";

/// A folder that was taken away under the process that had it.
pub(super) fn removed(path: &Path) -> Report {
    Report {
        code: REMOVED,
        what: "cannot write into a folder that was removed, moved or replaced".into(),
        at: vec![file(path)],
        why: "what is under this name is not what this process has open".into(),
        effect: "nothing of it was taken; what was acknowledged before was in the folder, and is \
                 in memory until this process ends"
            .into(),
        fix: "ask what is wanted of it while it answers; then end it, put the folder or a backup \
              in its place, and start again"
            .into(),
    }
}

/// A segment that could not be read.
pub fn cannot_read(path: &Path, why: &io::Error) -> Report {
    Report {
        code: "segments/cannot-read",
        what: "could not read a segment".into(),
        at: vec![file(path)],
        why: why.to_string(),
        effect: "reading stopped before the first byte that could not be read".into(),
        fix: "see to the disk, then start again".into(),
    }
}

/// Damage that was found, and refused.
pub fn damaged(path: &Path, it: &Damaged) -> Report {
    let lost = it.next - it.first;
    Report {
        code: "segments/damaged",
        what: "cannot read part of a segment".into(),
        at: vec![
            file(path),
            ("offset", format!("{} to {}", it.offset, it.until)),
            ("positions", format!("{} to before {}", it.first, it.next)),
        ],
        why: it.why.into(),
        effect: format!("nothing was decoded or changed; {lost} records are in the damaged bytes"),
        fix: "restore the file from a backup, or set `log.on_damage = \"skip\"` to go on without \
              these records: they are counted as lost"
            .into(),
    }
}

/// Damage that was skipped on request.
pub(super) fn skipped(path: &Path, it: &Damaged) -> Report {
    let lost = it.next - it.first;
    Report {
        effect: format!("{lost} records are counted as lost; all others are read"),
        fix: "nothing, or restore the file from a backup".into(),
        ..damaged(path, it)
    }
}

/// A group cut short at the end; `removed`, or only looked at.
pub(super) fn cut_off(
    path: &Path,
    offset: u64,
    bytes: u64,
    next: u64,
    why: &str,
    removed: bool,
) -> Report {
    let end = "the end of a segment that was being written when the process stopped";
    let answered = "what was answered is there, unless a disk fault hit the very last group";
    let (what, effect, fix) = if removed {
        let kept = "the bytes removed are kept beside the segment, with the ending `.cut`";
        let fix = "nothing; senders that got no answer send again";
        (format!("removed {end}"), format!("{answered}; {kept}"), fix)
    } else {
        let fix = "nothing; the next start removes it";
        (format!("found {end}"), format!("nothing was changed; {answered}"), fix)
    };
    Report {
        code: "segments/cut-off",
        what,
        at: vec![
            file(path),
            ("offset", offset.to_string()),
            ("bytes", bytes.to_string()),
            ("position", next.to_string()),
        ],
        why: why.into(),
        effect,
        fix: fix.into(),
    }
}

/// A segment's header that cannot be used.
pub(super) fn header_damaged(path: &Path, why: &str) -> Report {
    Report {
        code: "segments/damaged",
        what: "cannot read a segment".into(),
        at: vec![file(path), ("offset", "0".into())],
        why: why.into(),
        effect: "nothing was decoded or changed".into(),
        fix: "restore the file from a backup, or move it out of the folder".into(),
    }
}

/// A segment in a version of the format that this program does not read.
pub(super) fn other_version(path: &Path, found: u16, expected: u16) -> Report {
    Report {
        code: "segments/other-version",
        what: "cannot read a segment of another format version".into(),
        at: vec![file(path)],
        why: format!("expected version {expected}, found {found}"),
        effect: "nothing was read or changed".into(),
        fix: "run the version of Millstream that wrote it".into(),
    }
}

/// A block whose checksums hold, and that is not laid out as this program writes it.
pub fn other_layout(path: &Path, offset: u64, why: &str) -> Report {
    Report {
        code: "segments/other-version",
        what: "cannot read a block that another version wrote".into(),
        at: vec![file(path), ("offset", offset.to_string())],
        why: why.into(),
        effect: "nothing of it was taken or changed".into(),
        fix: "run the version of Millstream that wrote it".into(),
    }
}

/// A segment that belongs to something else.
pub(super) fn other_contents(path: &Path, why: String) -> Report {
    Report {
        code: "segments/other-contents",
        what: "cannot read a segment that holds something else".into(),
        at: vec![file(path)],
        why,
        effect: "nothing was read or changed".into(),
        fix: "move the file to where it belongs, or run the version of Millstream that wrote it"
            .into(),
    }
}
