//! Does the format on disk keep what was written, and show every way in which it was not?
//! Method throughout: write known blocks, harm the files, open again, compare.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use millstream::report::Report;
use millstream::segments::{
    Block, Contents, MAX_BLOCK_BYTES, Medium, NewBlock, OnDamage, Opened, SEGMENT_HEADER_BYTES,
    go_back, look, open, sound,
};
use proptest::prelude::*;

#[path = "support/temp_dir.rs"]
mod temp_dir;
use temp_dir::TempDir;

const CONTENTS: Contents = Contents::new(*b"test", "a payload is a payload");

/// A block as a test knows it: tag, positions, payload.
type Known = (u16, u32, Vec<u8>);

fn opened(dir: &Path, on_damage: OnDamage, segment_bytes: u64) -> Result<Opened, Report> {
    open(dir, CONTENTS, on_damage, segment_bytes, "the test log", 1_000)
}

fn append(it: &mut Opened, group: &[Known]) -> Result<u64, Report> {
    let blocks: Vec<NewBlock<'_>> = group
        .iter()
        .map(|(tag, count, payload)| NewBlock {
            tag: *tag,
            count: *count,
            payload,
            payload_crc: crc32c::crc32c(payload),
        })
        .collect();
    it.writer.append(&blocks, 2_000)
}

/// Every block with its position, as the log gives it back.
fn read(it: &Opened) -> Result<Vec<(u64, Known)>, Report> {
    let mut out = Vec::new();
    for segment in it.folder.segments() {
        it.folder.each_block(&segment, |block| {
            let header = block.header;
            out.push((header.first, (header.tag, header.count, block.payload.to_vec())));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(out)
}

fn placed(blocks: &[Known]) -> Vec<(u64, Known)> {
    let mut at = 0;
    blocks
        .iter()
        .map(|it| {
            let first = at;
            at += u64::from(it.1);
            (first, it.clone())
        })
        .collect()
}

fn block(i: usize, len: usize) -> Known {
    ((i % 3) as u16, 1 + (i % 4) as u32, vec![b'a' + (i % 26) as u8; len])
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "seg"))
        .collect();
    found.sort();
    found
}

/// Three segments, groups of two blocks; ended as a crash ends, without a mark. The blocks, and
/// how many of them are in the last group.
fn three_segments(dir: &Path) -> (Vec<Known>, usize) {
    let mut it = opened(dir, OnDamage::Refuse, 600).unwrap();
    let blocks: Vec<Known> = (0..14).map(|i| block(i, 40 + i * 3)).collect();
    for group in blocks.chunks(2) {
        append(&mut it, group).unwrap();
    }
    assert_eq!(segments(dir).len(), 3);
    (blocks, 2)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in segments(from) {
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goal: any blocks in any groups come back as they were, over restarts and segments.
    #[test]
    fn whatever_is_written_comes_back(
        groups in prop::collection::vec(
            prop::collection::vec(
                (0u16..64, 1u32..5, prop::collection::vec(any::<u8>(), 0..300)), 1..5), 1..12),
        segment_bytes in 200u64..2_000,
        restart_every in 1usize..6,
    ) {
        let dir = TempDir::new();
        let mut it = opened(&dir.0, OnDamage::Refuse, segment_bytes).unwrap();
        let mut all = Vec::new();
        for (i, group) in groups.iter().enumerate() {
            if i % restart_every == 0 {
                if i % 2 == 0 {
                    it.writer.roll().unwrap();
                }
                drop(it);
                it = opened(&dir.0, OnDamage::Refuse, segment_bytes).unwrap();
                prop_assert_eq!(&it.notes, &[]);
            }
            append(&mut it, group).unwrap();
            all.extend(group.iter().cloned());
        }
        let placed = placed(&all);
        prop_assert_eq!(read(&it).unwrap(), placed.clone());
        drop(it);
        let it = opened(&dir.0, OnDamage::Refuse, segment_bytes).unwrap();
        prop_assert_eq!(read(&it).unwrap(), placed);
        let next: u64 = all.iter().map(|it| u64::from(it.1)).sum();
        prop_assert_eq!(it.writer.next(), next);
    }

    /// Goal: bytes that are no segment, or a segment's header with anything behind it, never
    /// bring the opener down, and no length in them makes it allocate.
    #[test]
    fn anything_can_be_opened(
        bytes in prop::collection::vec(any::<u8>(), 0..4_000),
        header in any::<bool>(),
        magic_at in prop::collection::vec(0usize..4_000, 0..8),
        skip in any::<bool>(),
    ) {
        let dir = TempDir::new();
        drop(opened(&dir.0, OnDamage::Refuse, 600).map(|mut it| append(&mut it, &[block(0, 9)])));
        let path = segments(&dir.0).remove(0);
        let mut file = fs::read(&path).unwrap();
        file.truncate(if header { SEGMENT_HEADER_BYTES } else { 0 });
        file.extend(bytes);
        for at in magic_at {
            if let Some(place) = file.get_mut(at..at + 4) {
                place.copy_from_slice(b"MBLK");
            }
        }
        fs::write(&path, &file).unwrap();
        let on_damage = if skip { OnDamage::Skip } else { OnDamage::Refuse };
        match opened(&dir.0, on_damage, 600) {
            Ok(it) => prop_assert_eq!(read(&it).unwrap(), []),
            Err(report) => prop_assert!(report.code.starts_with("segments/"), "{}", report),
        }
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|it| it.starts_with("VmHWM")).unwrap();
        let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
        prop_assert!(peak < 512 << 10, "peak memory {} kB", peak);
    }
}

/// Goal: a log cut off anywhere in its last group opens with everything before it, says what it
/// removed, and goes on. Method: every length from the last group's beginning to its end.
#[test]
fn cut_off_at_every_byte_of_the_last_group() {
    let whole = TempDir::new();
    let (blocks, in_last) = three_segments(&whole.0);
    let last = segments(&whole.0).pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    let group: u64 = blocks[blocks.len() - in_last..].iter().map(|it| 44 + it.2.len() as u64).sum();
    for cut in len - group..len {
        let dir = TempDir::new();
        copy(&whole.0, &dir.0);
        let path = dir.0.join(last.file_name().unwrap());
        File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let mut it = opened(&dir.0, OnDamage::Refuse, 600).unwrap();
        let got = read(&it).unwrap();
        let kept = got.len();
        assert_eq!(got, placed(&blocks)[..kept], "cut at {cut}");
        assert!(kept >= blocks.len() - in_last, "cut at {cut}");
        let edge = kept == blocks.len() - 1 && it.notes.is_empty();
        if cut > len - group && !edge {
            assert_eq!(it.notes[0].code, "segments/cut-off", "cut at {cut}");
            assert!(path.with_extension("cut").exists());
        }
        append(&mut it, &[block(20, 50)]).unwrap();
        drop(it);
        let it = opened(&dir.0, OnDamage::Refuse, 600).unwrap();
        assert_eq!(it.notes, []);
        assert_eq!(read(&it).unwrap().len(), kept + 1);
    }
}

/// Goal: one flipped bit anywhere is refused with its place, or in the last group is cut off, or
/// is harmless; never is a wrong block given. Method: every byte of three segments, one bit each;
/// refused, and skipped.
#[test]
fn one_flipped_bit_anywhere() {
    let whole = TempDir::new();
    let (blocks, in_last) = three_segments(&whole.0);
    let all = placed(&blocks);
    let (mut refused, mut cut_off, mut harmless) = (0, 0, 0);
    let names = segments(&whole.0);
    for (n, name) in names.iter().enumerate() {
        let good = fs::read(name).unwrap();
        for at in 0..good.len() {
            let dir = TempDir::new();
            copy(&whole.0, &dir.0);
            let path = dir.0.join(name.file_name().unwrap());
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            match opened(&dir.0, OnDamage::Refuse, 600) {
                Ok(it) => {
                    let got = read(&it).unwrap();
                    let sound = it.notes.is_empty();
                    assert_eq!(got, all[..got.len()], "segment {n}, byte {at}");
                    if sound {
                        // An end mark: what it says is known without it.
                        assert_eq!(got.len(), all.len(), "segment {n}, byte {at}");
                        harmless += 1;
                    } else {
                        assert!(n == 2 && got.len() >= all.len() - in_last, "byte {at}");
                        cut_off += 1;
                    }
                }
                Err(report) => {
                    refused += 1;
                    let place = path.display().to_string();
                    assert!(report.at.contains(&("file", place)), "{report}");
                    if report.code != "segments/other-version" {
                        let (_, offset) = &report.at[1];
                        let from: usize = offset.split(' ').next().unwrap().parse().unwrap();
                        assert!(from <= at, "{report}");
                    }
                    assert_eq!(fs::read(&path).unwrap(), bytes, "changed although refused");
                }
            }
            // A header that is gone is skipped only where another segment tells what was lost.
            if at >= SEGMENT_HEADER_BYTES || n < 2 {
                match opened(&dir.0, OnDamage::Skip, 600) {
                    Ok(it) => {
                        let got = read(&it).unwrap();
                        assert!(got.iter().all(|it| all.contains(it)), "segment {n}, byte {at}");
                        let whole_segment = if at < SEGMENT_HEADER_BYTES { 6 } else { in_last };
                        assert!(got.len() + whole_segment >= all.len(), "segment {n}, byte {at}");
                    }
                    Err(report) => {
                        assert_eq!(report.code, "segments/other-version", "{report}");
                    }
                }
            }
        }
    }
    assert!(refused > 1_000 && cut_off > 100 && harmless > 0, "{refused} {cut_off} {harmless}");
}

/// Goal: what is missing as a whole is noticed, and what is not ours is refused untouched.
/// Goal: whatever is damaged, what lies before it can be gone back to, and the log goes on there.
/// Method: every seventh byte flipped, and each segment gone, in turn.
#[test]
fn before_damage_it_is_sound() {
    let dir = TempDir::new();
    let (blocks, _) = three_segments(&dir.0);
    let placed = placed(&blocks);
    let end = placed.last().map(|it| it.0 + u64::from(it.1.1)).unwrap();
    let files = segments(&dir.0);
    let mut seen = std::collections::BTreeSet::new();
    let mut check = |harm: &dyn Fn(&Path), what: String| {
        let copied = TempDir::new();
        copy(&dir.0, &copied.0);
        harm(&copied.0);
        let mut before = Vec::new();
        let mut take = |it: &Block<'_>| before.push(it.header.first);
        let (first, to) = sound(&copied.0, CONTENTS, "the test log", &mut take).unwrap();
        // Without the first segment it begins later; the caller knows from where it needs it.
        let of = |it: &&(u64, Known)| it.0 >= first && it.0 < to;
        let expected: Vec<(u64, Known)> = placed.iter().filter(of).cloned().collect();
        let firsts: Vec<u64> = expected.iter().map(|it| it.0).collect();
        assert_eq!(before, firsts, "{what}");
        seen.insert(to);
        go_back(&copied.0, to, "the test log").unwrap();
        // Again: as after a kill in between.
        go_back(&copied.0, to, "the test log").unwrap();
        let mut it = opened(&copied.0, OnDamage::Refuse, 600).unwrap();
        assert_eq!(read(&it).unwrap(), expected, "{what}");
        let next = append(&mut it, &blocks[..1]).unwrap();
        assert_eq!(next, if expected.is_empty() { 0 } else { to }, "{what}");
    };
    for (n, file) in files.iter().enumerate() {
        let name = file.file_name().unwrap();
        for at in (0..fs::metadata(file).unwrap().len() as usize).step_by(7) {
            let flip = |dir: &Path| {
                let path = dir.join(name);
                let mut bytes = fs::read(&path).unwrap();
                bytes[at] ^= 1 << (at % 8);
                fs::write(&path, bytes).unwrap();
            };
            check(&flip, format!("segment {n}, byte {at}"));
        }
        check(&|dir| fs::remove_file(dir.join(name)).unwrap(), format!("segment {n} gone"));
    }
    check(&|_| {}, "nothing".into());
    assert!(seen.contains(&0) && seen.contains(&end) && seen.len() == blocks.len() + 1, "{seen:?}");
}

#[test]
fn missing_and_foreign_segments() {
    let whole = TempDir::new();
    three_segments(&whole.0);
    let refused = |harm: &dyn Fn(&Path, &[PathBuf])| {
        let dir = TempDir::new();
        copy(&whole.0, &dir.0);
        harm(&dir.0, &segments(&dir.0));
        opened(&dir.0, OnDamage::Refuse, 600).err().map(|it| it.code)
    };
    assert_eq!(refused(&|_, _| ()), None);
    assert_eq!(refused(&|_, it| fs::remove_file(&it[1]).unwrap()), Some("segments/damaged"));
    let cut_at_an_edge = |_: &Path, it: &[PathBuf]| {
        let file = File::options().write(true).open(&it[0]).unwrap();
        // Its end mark and its last group.
        file.set_len(64 + 44 + 40 + 44 + 43).unwrap();
    };
    assert_eq!(refused(&cut_at_an_edge), Some("segments/damaged"));
    let version = |_: &Path, it: &[PathBuf]| {
        File::options().write(true).open(&it[1]).unwrap().write_all_at(&[2], 8).unwrap();
    };
    assert_eq!(refused(&version), Some("segments/other-version"));
    let of_another_log = |_: &Path, it: &[PathBuf]| {
        let other = TempDir::new();
        three_segments(&other.0);
        fs::copy(&segments(&other.0)[1], &it[1]).unwrap();
    };
    assert_eq!(refused(&of_another_log), Some("segments/other-contents"));
    let renamed = |dir: &Path, it: &[PathBuf]| {
        fs::rename(&it[1], dir.join("00000000000000000003.seg")).unwrap();
    };
    assert_eq!(refused(&renamed), Some("segments/other-contents"));
    let other = Contents::new(*b"test", "another layout");
    let it = open(&whole.0, other, OnDamage::Refuse, 600, "the test log", 0);
    assert_eq!(it.err().map(|it| it.code), Some("segments/other-contents"));
}

/// What the disk does at a call: the test sets it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The n-th write from now writes half and says that the disk is full.
    Write,
    /// The same, and cutting the file fails as well.
    WriteAndCut,
    /// The next sync fails; what was written is there.
    Sync,
    /// The same, and cutting the file fails as well.
    SyncAndCut,
}

struct Faulty {
    file: File,
    fault: Arc<Mutex<Fault>>,
    /// Syncs of one file after one that failed: must stay 0.
    synced_after_failure: Arc<AtomicU32>,
    failed: bool,
}

impl Medium for Faulty {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if matches!(*self.fault.lock().unwrap(), Fault::Write | Fault::WriteAndCut) {
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.synced_after_failure.fetch_add(u32::from(self.failed), Ordering::Relaxed);
        if matches!(*self.fault.lock().unwrap(), Fault::Sync | Fault::SyncAndCut) {
            self.failed = true;
            return Err(io::Error::other("the disk said no"));
        }
        self.file.sync_data()
    }
    fn cut(&mut self, len: u64) -> io::Result<()> {
        if matches!(*self.fault.lock().unwrap(), Fault::WriteAndCut | Fault::SyncAndCut) {
            return Err(io::Error::other("the disk said no"));
        }
        self.file.set_len(len)
    }
}

/// Goal: a write or sync that fails leaves nothing, is told, and appending goes on once the disk
/// does; what was refused never appears, and no file is synced again after a sync that failed.
/// Method: each fault before each append of a script that also rolls, then a restart.
#[test]
fn a_failing_disk_loses_and_invents_nothing() {
    for fault in [Fault::Write, Fault::WriteAndCut, Fault::Sync, Fault::SyncAndCut] {
        for at in 0..9 {
            let dir = TempDir::new();
            let mut it = opened(&dir.0, OnDamage::Refuse, 400).unwrap();
            let state = Arc::new(Mutex::new(Fault::None));
            let again = Arc::new(AtomicU32::new(0));
            let (for_file, counter) = (state.clone(), again.clone());
            it.writer.through(move |file| {
                let (fault, synced_after_failure) = (for_file.clone(), counter.clone());
                Box::new(Faulty { file, fault, synced_after_failure, failed: false })
            });
            let mut kept = Vec::new();
            for i in 0..9 {
                let group = [block(i, 60), block(i + 1, 30)];
                if i == at {
                    *state.lock().unwrap() = fault;
                    for _ in 0..2 {
                        let refused = [block(24, 60), block(25, 30)];
                        let report = append(&mut it, &refused).unwrap_err();
                        let full = report.code == "segments/disk-full";
                        let write = matches!(fault, Fault::Write | Fault::WriteAndCut);
                        assert_eq!(full, write, "{report}");
                    }
                    *state.lock().unwrap() = Fault::None;
                }
                append(&mut it, &group).unwrap();
                kept.extend(group);
            }
            let what = format!("{fault:?} at {at}");
            assert_eq!(read(&it).unwrap(), placed(&kept), "{what}");
            drop(it);
            let it = opened(&dir.0, OnDamage::Refuse, 400).unwrap();
            assert_eq!(read(&it).unwrap(), placed(&kept), "{what}, opened again");
            assert_eq!(it.notes, [], "{what}");
            assert_eq!(again.load(Ordering::Relaxed), 0, "{what}: synced again");
        }
    }
}

/// Goal: the largest block fits. Method: one of exactly the limit.
#[test]
fn the_largest_block() {
    let dir = TempDir::new();
    let mut it = opened(&dir.0, OnDamage::Refuse, 600).unwrap();
    let blocks = [block(0, 10), block(1, MAX_BLOCK_BYTES), block(2, 10)];
    append(&mut it, &blocks).unwrap();
    assert!(read(&it).unwrap() == placed(&blocks));
}

/// Goal: ageing out keeps what is to be kept, at its positions, over restarts and over a crash in
/// the middle of a merge; the newest segment never leaves. Method: tag 1 is kept; of four segments
/// three leave, one after the other.
#[test]
fn ageing_out_keeps_the_kept() {
    let dir = TempDir::new();
    let (mut blocks, _) = three_segments(&dir.0);
    let mut it = opened(&dir.0, OnDamage::Refuse, 600).unwrap();
    append(&mut it, &[block(0, 10)]).unwrap();
    blocks.push(block(0, 10));
    let before = TempDir::new();
    let mut leftover_seen = false;
    for left in (0..3).rev() {
        it.writer.roll().unwrap();
        copy(&dir.0, &before.0);
        let old = it.folder.oldest().unwrap();
        it.folder.age_out(1 << 1, 3_000).unwrap();
        let gone_before = old.extent().next;
        let expected: Vec<(u64, Known)> = placed(&blocks)
            .into_iter()
            .filter(|(first, it)| *first >= gone_before || it.0 == 1)
            .collect();
        assert_eq!(read(&it).unwrap(), expected);
        let next = it.writer.next();
        // As if the process had ended before the merged segment was removed.
        if !old.path.exists() {
            fs::copy(before.0.join(old.path.file_name().unwrap()), &old.path).unwrap();
            leftover_seen = true;
        }
        drop(it);
        it = opened(&dir.0, OnDamage::Refuse, 600).unwrap();
        assert_eq!((it.notes.len(), it.writer.next()), (0, next));
        assert_eq!(read(&it).unwrap(), expected, "{left} left, opened again");
    }
    assert!(leftover_seen);
    assert!(it.folder.oldest().is_none());
    assert_eq!(segments(&dir.0).len(), 2);
    append(&mut it, &[block(2, 20)]).unwrap();
    let got = read(&it).unwrap();
    drop(it);
    assert_eq!(read(&opened(&dir.0, OnDamage::Refuse, 600).unwrap()).unwrap(), got);
}

/// Goal: what a process still writes that has lost its folder while it was stopped is not read, by
/// the one that has it now or by a later one. Method: a writer, kept; its locks removed; another
/// opens the folder and appends; then the bytes that the first one was about to write are put where
/// it would have put them, all or some of them.
#[test]
fn what_a_lost_writer_writes_is_not_read() {
    for n_bytes in [1, 43, 44, 60, 300, 2_000] {
        let dir = TempDir::new();
        let mut first = opened(&dir.0, OnDamage::Refuse, 1 << 20).unwrap();
        append(&mut first, &[block(0, 10), block(1, 20)]).unwrap();
        let path = segments(&dir.0).remove(0);
        let end = fs::metadata(&path).unwrap().len();
        // What it would write next.
        append(&mut first, &[block(0, 1_000), block(2, 3_000)]).unwrap();
        let late = fs::read(&path).unwrap()[end as usize..].to_vec();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(end).unwrap();

        fs::remove_file(dir.0.join("lock")).unwrap();
        let mut second = opened(&dir.0, OnDamage::Refuse, 1 << 20).unwrap();
        append(&mut second, &[block(2, 30)]).unwrap();
        let expected = placed(&[block(0, 10), block(1, 20), block(2, 30)]);
        let why = append(&mut first, &[block(0, 10)]).expect_err("refused");
        assert_eq!(why.code, "segments/removed");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&late[..n_bytes], end).unwrap();
        assert_eq!(read(&second).unwrap(), expected, "{n_bytes} bytes");
        append(&mut second, &[block(0, 40)]).unwrap();
        drop((first, second));
        let third = opened(&dir.0, OnDamage::Refuse, 1 << 20).unwrap();
        let expected = placed(&[block(0, 10), block(1, 20), block(2, 30), block(0, 40)]);
        assert_eq!((third.notes.len(), &read(&third).unwrap()), (0, &expected), "{n_bytes} bytes");
        drop(third);
        // Nor is it taken for what is sound, or for the end of that.
        let mut before = Vec::new();
        let mut take = |it: &Block<'_>| before.push((it.header.first, it.payload.len()));
        let reach = sound(&dir.0, CONTENTS, "the test log", &mut take).unwrap();
        let firsts: Vec<_> = expected.iter().map(|it| (it.0, it.1.2.len())).collect();
        let end = expected.last().map_or(0, |it| it.0 + u64::from(it.1.1));
        assert_eq!((reach, before), ((0, end), firsts), "{n_bytes} bytes");
    }
}

/// Goal: several may look at once, nobody looks while it is written, and who starts waits for those
/// who look. Method: locks of one process, as those of several.
#[test]
fn looking_is_shared() {
    let dir = TempDir::new();
    let (blocks, _) = three_segments(&dir.0);
    let look = || look(&dir.0, CONTENTS, OnDamage::Refuse, "the test log");
    let (one, other) = (look().unwrap(), look().unwrap());
    assert_eq!(one.folder.range(), other.folder.range());
    let next = placed(&blocks).last().map(|it| it.0 + u64::from(it.1.1));
    assert_eq!(Some(one.folder.range().1), next);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| opened(&dir.0, OnDamage::Refuse, 600).unwrap());
        // However the threads run, the writer has it only after these are gone.
        drop((one, other));
        let writer = writer.join().unwrap();
        let why = look().err().expect("refused");
        assert_eq!(why.code, "segments/in-use");
        drop(writer);
    });
    look().unwrap();
}

/// Goal: what is overwritten is gone from the file, and nothing else is another: positions, places,
/// lengths, the other blocks; also for one who opens it again, and for one who was reading. Method:
/// three segments, the newest not ended; every second block of them is overwritten.
#[test]
fn overwritten_blocks_keep_their_places() {
    let dir = TempDir::new();
    let blocks: Vec<Known> = (0..60).map(|i| block(i, 50 + i)).collect();
    let mut it = opened(&dir.0, OnDamage::Refuse, 1_500).unwrap();
    for known in &blocks {
        append(&mut it, std::slice::from_ref(known)).unwrap();
    }
    let before = read(&it).unwrap();
    let all = it.folder.segments();
    assert!(all.len() >= 3, "{}", all.len());
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    let lengths: Vec<u64> = all.iter().map(|it| length(&it.path)).collect();
    let mut reading = all[0].open().unwrap().unwrap();
    let (mut n, mut expected) = (0, 0);
    for (place, segment) in all.iter().enumerate() {
        let is_newest = place + 1 == all.len();
        let changed = it.folder.overwrite(segment, |header, payload| {
            let is_to_go = header.first % 2 == 0;
            if is_to_go {
                payload.fill(b' ');
                expected += 1;
            }
            Ok(is_to_go)
        });
        let changed = changed.unwrap();
        assert!(changed > 0 || is_newest, "{place}");
        assert!(changed == 0 || !is_newest, "the one that is being written is left alone");
        n += changed;
    }
    assert_eq!(n, expected);
    let ended = all[all.len() - 1].header.first;
    let overwritten = |known: &[(u64, Known)]| -> Vec<(u64, Known)> {
        let mut known = known.to_vec();
        let to_go = known.iter_mut().filter(|it| it.0 % 2 == 0 && it.0 < ended);
        to_go.for_each(|it| it.1.2.fill(b' '));
        known
    };
    assert_eq!(read(&it).unwrap(), overwritten(&before));
    assert_eq!(all.iter().map(|it| length(&it.path)).collect::<Vec<_>>(), lengths);
    // Who had the old file open reads it to its end.
    let mut seen = 0;
    while let Some(block) = reading.read().unwrap() {
        let block = block.expect("good");
        seen += u64::from(block.header.count > 0);
        assert!(block.header.count == 0 || !block.payload.contains(&b' '));
    }
    assert!(seen > 1);
    // Once more: nothing that was overwritten is there to be found.
    let again = it.folder.overwrite(&all[0], |_, payload| Ok(payload.is_empty())).unwrap();
    assert_eq!(again, 0);
    append(&mut it, &[block(60, 9)]).unwrap();
    drop(it);
    // A copy that was being made when the process ended is removed.
    let aside = all[0].path.with_extension("new");
    fs::write(&aside, "half").unwrap();
    let it = opened(&dir.0, OnDamage::Refuse, 1_500).unwrap();
    assert!(it.notes.is_empty(), "{:?}", it.notes);
    assert!(!aside.exists());
    let found = read(&it).unwrap();
    assert_eq!(found[..before.len()], overwritten(&before)[..]);
    assert_eq!(found.len(), before.len() + 1);
}
