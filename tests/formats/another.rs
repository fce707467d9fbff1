//! Files as another version might have written them: whole by their checksums, and different.
//! This reads and writes segments by docs/format.md alone.

use std::ops::Range;
use std::path::{Path, PathBuf};

const HEADER: usize = 64;
const BLOCK: usize = 44;
const END: u16 = u16::MAX;

/// The segments of a log.
pub fn segments(log: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(log).unwrap().map(|it| it.unwrap().path());
    let mut all: Vec<PathBuf> =
        all.filter(|it| it.extension().is_some_and(|it| it == "seg")).collect();
    all.sort();
    all
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn tag_of(block: &[u8]) -> u16 {
    u16::from_le_bytes([block[12], block[13]])
}

/// Every block of a segment: where it lies.
fn blocks(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut at, mut found) = (HEADER, Vec::new());
    while at < bytes.len() {
        assert_eq!(&bytes[at..at + 4], b"MBLK");
        let end = at + BLOCK + u32_at(bytes, at + 4) as usize;
        found.push(at..end);
        at = end;
    }
    found
}

/// A block with its checksums made anew.
fn whole(mut block: Vec<u8>, salt: u32) -> Vec<u8> {
    let len = (block.len() - BLOCK) as u32;
    block[4..8].copy_from_slice(&len.to_le_bytes());
    let payload = crc32c::crc32c(&block[BLOCK..]);
    block[36..40].copy_from_slice(&payload.to_le_bytes());
    let header = crc32c::crc32c_append(salt, &block[..40]);
    block[40..44].copy_from_slice(&header.to_le_bytes());
    block
}

/// Changes the last block of which `choose` makes another; what stood behind it is left out.
fn change(path: &Path, choose: impl Fn(u16, &[u8]) -> Option<(u16, Vec<u8>)>) -> bool {
    let mut bytes = std::fs::read(path).unwrap();
    let salt = u32_at(&bytes, HEADER - 4);
    for at in blocks(&bytes).into_iter().rev() {
        let block = &bytes[at.clone()];
        let tag = tag_of(block);
        if tag == END {
            continue;
        }
        let Some((tag, payload)) = choose(tag, &block[BLOCK..]) else { continue };
        let mut block = block[..BLOCK].to_vec();
        block[12..14].copy_from_slice(&tag.to_le_bytes());
        block.extend(payload);
        bytes.truncate(at.start);
        bytes.extend(whole(block, salt));
        std::fs::write(path, bytes).unwrap();
        return true;
    }
    false
}

/// The version after this one.
pub fn version(path: &Path) -> bool {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[8] += 1;
    std::fs::write(path, bytes).is_ok()
}

/// Another layout of the payloads: the header says so, and is whole.
pub fn schema(path: &Path) -> bool {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[16] ^= 1;
    let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(path, bytes).is_ok()
}

/// The last block is of a kind that is not known; or the last retried record's origin ends so.
pub fn tag(path: &Path, origin: Option<&str>) -> bool {
    change(path, |tag, payload| match origin {
        None => Some((7, payload.to_vec())),
        Some(end) if tag == 2 => {
            let len = u32_at(payload, 0) as usize;
            let text = std::str::from_utf8(&payload[4..4 + len]).unwrap();
            let text = text.strip_suffix('}').unwrap().to_string() + end;
            let mut changed = (text.len() as u32).to_le_bytes().to_vec();
            changed.extend(text.as_bytes());
            changed.extend(&payload[4 + len..]);
            Some((tag, changed))
        }
        Some(_) => None,
    })
}

/// The last commit ends so.
pub fn commit(path: &Path, end: &str) -> bool {
    change(path, |tag, payload| {
        let text = std::str::from_utf8(payload).ok().filter(|_| tag == 1)?;
        Some((tag, (text.strip_suffix('}')?.to_string() + end).into_bytes()))
    })
}

/// The last commit says that a view was laid out otherwise.
pub fn layout(path: &Path) -> bool {
    change(path, |tag, payload| {
        let text = std::str::from_utf8(payload).ok().filter(|_| tag == 1)?;
        let changed = text.replacen("record 1: ", "record 0: ", 1);
        (changed != text).then(|| (tag, changed.into_bytes()))
    })
}

/// A small file with a field that is not known.
pub fn small(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap();
    let body = &text[..text.len() - 10];
    // The first object in it, wherever it stands.
    let Some(at) = body.rfind('}').filter(|_| body.contains('{')) else { return false };
    let at = body[..at].rfind(|c: char| !c.is_whitespace()).unwrap() + 1;
    let changed = format!("{},\"later\":1{}", &body[..at], &body[at..]);
    let crc = crc32c::crc32c(changed.as_bytes());
    std::fs::write(path, format!("{changed}\n{crc:08x}\n")).is_ok()
}
