//! Which files there are, and their bytes, decompressed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Progress;
use crate::report::Report;

/// One file to read.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// Decompressors ask for small pieces; the system is asked for large ones.
const BUFFER_BYTES: usize = 256 * 1024;

/// The file, or the files of the folder in the order of their names (hidden ones and folders
/// left out).
pub(super) fn files(path: &Path) -> Result<Vec<Input>, Report> {
    if path == Path::new("-") {
        return Ok(vec![Input { path: path.into(), bytes: 0 }]);
    }
    let list = || -> io::Result<Vec<Input>> {
        let about = std::fs::metadata(path)?;
        if !about.is_dir() {
            return Ok(vec![Input { path: path.into(), bytes: about.len() }]);
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            let about = std::fs::metadata(&path)?;
            let hidden = path.file_name().is_some_and(|it| it.as_encoded_bytes()[0] == b'.');
            if about.is_file() && !hidden {
                found.push(Input { path, bytes: about.len() });
            }
        }
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    };
    list().map_err(|why| cannot_open(path, &why))
}

/// The bytes of the file, counted as they are read.
pub(super) fn open(
    input: &Input,
    progress: &Arc<Progress>,
) -> Result<Box<dyn Read + Send>, Report> {
    let progress = progress.clone();
    let cannot = |why| cannot_open(&input.path, &why);
    let (ending, mut bytes): (_, Box<dyn Read + Send>) = if input.path == Path::new("-") {
        (None, Box::new(Counted { inner: io::stdin(), progress }))
    } else {
        let file = File::open(&input.path).map_err(cannot)?;
        let ending = input.path.extension().and_then(|it| it.to_str());
        (ending, Box::new(Counted { inner: file, progress }))
    };
    let packed = match ending {
        Some("gz") => Some(Packed::Gzip),
        Some("zst") => Some(Packed::Zstd),
        // No JSON begins as these do: what is packed is known without its name.
        _ => {
            let (packed, all) = told_by_content(bytes).map_err(cannot)?;
            bytes = all;
            packed
        }
    };
    Ok(match packed {
        Some(Packed::Gzip) => {
            let inner = BufReader::with_capacity(BUFFER_BYTES, bytes);
            Box::new(flate2::bufread::MultiGzDecoder::new(inner))
        }
        Some(Packed::Zstd) => Box::new(zstd::stream::read::Decoder::new(bytes).map_err(cannot)?),
        None => bytes,
    })
}

/// How a file is compressed.
#[derive(Clone, Copy)]
enum Packed {
    Gzip,
    Zstd,
}

/// Looks at the first bytes (waits for them), and gives all of them.
fn told_by_content(
    mut bytes: Box<dyn Read + Send>,
) -> io::Result<(Option<Packed>, Box<dyn Read + Send>)> {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut start = Vec::with_capacity(ZSTD.len());
    // One by one as long as it may still be one of them: a pipe's first line is not to wait for
    // more than it has.
    while ZSTD.starts_with(&start) || GZIP.starts_with(&start) {
        let before = start.len();
        bytes.by_ref().take(1).read_to_end(&mut start)?;
        if start.len() == before || start == ZSTD || start == GZIP {
            break;
        }
    }
    let packed = match start.as_slice() {
        it if it == ZSTD => Some(Packed::Zstd),
        it if it == GZIP => Some(Packed::Gzip),
        _ => None,
    };
    Ok((packed, Box::new(io::Cursor::new(start).chain(bytes))))
}

struct Counted<R> {
    inner: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.progress.bytes.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

fn cannot_open(path: &Path, why: &io::Error) -> Report {
    Report {
        code: "ingest/cannot-open",
        what: "could not open what is to be read".into(),
        at: vec![("path", path.display().to_string())],
        why: why.to_string(),
        effect: "nothing of it was read".into(),
        fix: "see that the path is right and that this user may read it".into(),
    }
}

pub(super) fn cannot_read_on(input: &Input, lines: u64, why: &io::Error) -> Report {
    Report {
        code: "ingest/cannot-read",
        what: "could not read a file to its end".into(),
        at: vec![("path", input.path.display().to_string()), ("line", (lines + 1).to_string())],
        why: why.to_string(),
        effect: format!("{lines} lines before it were taken; nothing after them was"),
        fix: "restore the file, then read it again: what was taken is known by its ids".into(),
    }
}

pub(super) fn cannot_repeat() -> Report {
    Report {
        code: "ingest/cannot-repeat",
        what: "cannot read standard input more than once".into(),
        at: vec![("path", "-".into())],
        why: "what was read from it is gone".into(),
        effect: "nothing was read".into(),
        fix: "write it to a file and give that, or leave `--repeat` out".into(),
    }
}
