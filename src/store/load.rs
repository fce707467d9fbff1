//! Puts back what the newest checkpoint says.
//!
//! # Meaning
//! Segments are read from the newest to the oldest, blocks likewise: the first record of an
//! entity that belongs to a checkpoint is the one that stands. Identities are all of those up to
//! the checkpoint, but for the ones that belong to none.
//!
//! # When it fails
//! A checkpoint whose end is missing (killed while writing) does not count: the one before does.
//! Damage elsewhere, a view that was not kept then, or one whose records look otherwise now, is
//! told with its place; [`Restored`] is then not to be had from here, and the caller decides
//! whether the logs reach back far enough to build it all again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use schemas::keeping::StateKeeper;

use super::Store;
use super::payload::{self, Commit, MadeBy};
use crate::messages::{BookLine, BookState, Epoch};
use crate::report::Report;
use crate::segments::{self, Folder, OnDamage, Segment};

/// What was put back.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The instant of the checkpoint.
    pub epoch: Epoch,
    /// Which life of the state this is.
    pub incarnation: u64,
    /// Counts and offsets at it.
    pub book: BookState,
    /// Who wrote it.
    pub made_by: MadeBy,
    /// The models that were published at it.
    pub models: Vec<String>,
    /// Entities.
    pub n_entities: u64,
    /// Identities.
    pub n_identities: u64,
}

/// Takes identities, with the instant from which they are remembered (milliseconds).
pub(crate) type TakeIds<'a> = dyn Fn(&[u128], u64) + Sync + 'a;

impl Store {
    /// Puts the newest checkpoint back; `None` if there is none. `threads`: how many load at once.
    /// `anew`: views that are to be built again; of them nothing is put back.
    pub fn load(
        &mut self,
        keepers: &[Arc<dyn StateKeeper>],
        take_ids: &TakeIds<'_>,
        horizon_from_ms: u64,
        threads: usize,
        anew: &[&'static str],
    ) -> Result<Option<Restored>, Report> {
        self.put_back(keepers, take_ids, horizon_from_ms, threads, anew)
            .map_err(super::never_skipped)
    }

    fn put_back(
        &mut self,
        keepers: &[Arc<dyn StateKeeper>],
        take_ids: &TakeIds<'_>,
        horizon_from_ms: u64,
        threads: usize,
        anew: &[&'static str],
    ) -> Result<Option<Restored>, Report> {
        let mut newest: Option<Commit> = None;
        let mut since = BTreeMap::new();
        let mut committed = BTreeSet::new();
        let (mut seq_max, mut n_entities) = (0, 0);
        let mut written: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
        let mut segments = self.state.folder.segments();
        segments.reverse();
        for segment in segments {
            let blocks = blocks_of(&self.state.folder, &segment)?;
            let mut newest_here = 0;
            for (tag, payload) in blocks.iter().rev() {
                if *tag == payload::COMMIT {
                    let commit: Commit = serde_json::from_slice(payload)
                        .map_err(|why| unreadable(&segment, &why.to_string()))?;
                    seq_max = seq_max.max(commit.seq);
                    newest_here = newest_here.max(commit.seq);
                    committed.insert(commit.seq);
                    if newest.is_none() {
                        same_views(&commit, keepers, anew)?;
                        same_secret(&commit, &self.under)?;
                        self.has_all(&commit)?;
                        since = commit.since.iter().cloned().collect();
                        newest = Some(commit);
                    }
                    continue;
                }
                if *tag != payload::RECORDS {
                    return Err(unreadable(&segment, &format!("a block has the tag {tag}")));
                }
                let (seq, view, records) = payload::records(payload)
                    .ok_or_else(|| unreadable(&segment, "a block of records is cut short"))?;
                seq_max = seq_max.max(seq);
                newest_here = newest_here.max(seq);
                let of_now = since.get(view).is_none_or(|it| seq >= *it) && !anew.contains(&view);
                if !committed.contains(&seq) || !of_now {
                    continue;
                }
                // A view that is not kept any more: its records are left behind.
                let Some(keeper) = keepers.iter().find(|it| it.view() == view) else { continue };
                let n = restore(&**keeper, &records, seq, threads)
                    .map_err(|why| unreadable(&segment, &why))?;
                let of_view = written.entry(keeper.view()).or_default();
                of_view.0 += records.iter().map(|it| it.len() as u64 + 4).sum::<u64>();
                of_view.1 += records.len() as u64;
                n_entities += n;
            }
            self.newest_in.insert(segment.header.first, newest_here);
        }
        self.seq = seq_max + 1;
        since.extend(anew.iter().map(|it| (it.to_string(), self.seq)));
        self.since = since;
        self.record_bytes = written;
        let Some(commit) = newest else {
            // Killed before its first commit: what it left behind belongs to no checkpoint.
            self.dead.extend(Some(self.identities.folder.range()).filter(|it| it.0 < it.1));
            return Ok(None);
        };
        self.dead = commit.dead.clone();
        let n_identities = self.load_identities(&commit, take_ids, horizon_from_ms, threads)?;
        Ok(Some(Restored {
            epoch: commit.epoch,
            incarnation: self.incarnation.number,
            book: BookState { epoch: commit.epoch, lines: commit.lines },
            made_by: commit.made_by,
            models: commit.models,
            n_entities,
            n_identities,
        }))
    }

    /// A checkpoint older than the newest may have come to be the newest that can be read, when
    /// what it rested on has been given up.
    fn has_all(&self, commit: &Commit) -> Result<(), Report> {
        let begins = |it: &super::Log, needs: Option<u64>| {
            let (first, next) = it.folder.range();
            // (Of identities there may never have been one.)
            let lacks = needs.filter(|it| first > *it || next == 0 && *it > 0);
            lacks.map(|needs| (it.folder.dir.display().to_string(), needs, first))
        };
        let lacking = begins(&self.state, commit.needs)
            .or_else(|| begins(&self.identities, commit.identities_from));
        let Some((folder, needs, first)) = lacking else { return Ok(()) };
        Err(Report {
            code: "store/incomplete",
            what: "cannot take up a checkpoint of which a part is missing".into(),
            at: vec![("folder", folder), ("checkpoint", commit.seq.to_string())],
            why: format!("expected segments from position {needs} on, found them from {first} on"),
            effect: "nothing was started; nothing was changed".into(),
            fix: "restore a backup, or let it be built again from the log: \
                  `millstream run --rebuild`"
                .into(),
        })
    }

    /// How many identities are kept from an instant on, or some more.
    pub fn identities_at_most(&self, from_ms: u64) -> u64 {
        let segments = self.identities.folder.segments();
        let some = segments.iter().map(|it| it.extent()).filter(|it| it.tally.newest_ms >= from_ms);
        some.map(|it| it.end).sum::<u64>() / size_of::<u128>() as u64
    }

    fn load_identities(
        &mut self,
        commit: &Commit,
        take_ids: &TakeIds<'_>,
        horizon_from_ms: u64,
        threads: usize,
    ) -> Result<u64, Report> {
        let log = &self.identities;
        let next = log.folder.segments().last().map_or(0, |it| it.extent().next);
        if next < commit.identities {
            return Err(missing(commit.identities, next));
        }
        if next > commit.identities {
            self.dead.push((commit.identities, next));
        }
        let (dead, loaded) = (&self.dead, AtomicU64::new(0));
        for segment in log.folder.segments() {
            if segment.extent().tally.newest_ms < horizon_from_ms {
                continue;
            }
            let mut blocks = Vec::new();
            log.folder.each_block(&segment, |block| {
                let (at, tag) = (block.header.first, block.header.tag);
                if tag != payload::CLAIMED {
                    return Err(unreadable(&segment, &format!("a block has the tag {tag}")));
                }
                if !dead.iter().any(|it| (it.0..it.1).contains(&at)) {
                    blocks.push(block.payload.to_vec());
                }
                Ok(ControlFlow::Continue(()))
            })?;
            let (queue, failed) = (Mutex::new(blocks.into_iter()), AtomicBool::new(false));
            std::thread::scope(|scope| {
                for _ in 0..threads.max(1) {
                    scope.spawn(|| {
                        loop {
                            let Some(payload) = queue.lock().next() else { return };
                            let Some(it) = payload::read_claimed(&payload) else {
                                failed.store(true, Relaxed);
                                return;
                            };
                            take_ids(&it.ids, it.claimed_ms);
                            loaded.fetch_add(it.ids.len() as u64, Relaxed);
                        }
                    });
                }
            });
            if failed.into_inner() {
                return Err(unreadable(&segment, "a block of identities is cut short"));
            }
        }
        Ok(loaded.into_inner())
    }
}

/// What the newest checkpoint of a data folder has of the ledger, looked at: nothing is written.
/// None where none was made.
pub fn lines(data_dir: &Path) -> Result<Vec<BookLine>, Report> {
    Ok(newest_commit(data_dir)?.map_or_else(Vec::new, |it| it.lines))
}

/// The same of the newest checkpoint that can be read in a state that is damaged, whatever lies
/// before or behind it. None where none can be.
pub fn lines_left(data_dir: &Path) -> Result<Option<Vec<BookLine>>, Report> {
    Ok(newest_of(data_dir, OnDamage::Skip)?.map(|it| it.lines))
}

fn newest_commit(data_dir: &Path) -> Result<Option<Commit>, Report> {
    newest_of(data_dir, OnDamage::Refuse).map_err(super::never_skipped)
}

fn newest_of(data_dir: &Path, on_damage: OnDamage) -> Result<Option<Commit>, Report> {
    let dir = data_dir.join(super::STATE_DIR);
    if !dir.is_dir() {
        return Ok(None);
    }
    // Who asks reads all of it a moment later, if at all: once is enough.
    let looked = segments::look_ahead(&dir, payload::STATES, on_damage, "the state")?;
    for segment in looked.folder.segments().iter().rev() {
        let blocks = blocks_of(&looked.folder, segment)?;
        for (_, payload) in blocks.iter().rev().filter(|it| it.0 == payload::COMMIT) {
            match serde_json::from_slice(payload) {
                Ok(it) => return Ok(Some(it)),
                Err(why) if on_damage == OnDamage::Refuse => {
                    return Err(unreadable(segment, &why.to_string()));
                }
                Err(_) => {}
            }
        }
    }
    Ok(None)
}

/// Every block of a segment, in order: tag and payload.
fn blocks_of(folder: &Folder, segment: &Segment) -> Result<Vec<(u16, Vec<u8>)>, Report> {
    let mut blocks = Vec::new();
    folder.each_block(segment, |block| {
        blocks.push((block.header.tag, block.payload.to_vec()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(blocks)
}

/// Records of one block, several threads at once: no entity is twice in a block.
fn restore(
    keeper: &dyn StateKeeper,
    records: &[&[u8]],
    seq: u32,
    threads: usize,
) -> Result<u64, String> {
    let put = |records: &[&[u8]]| -> Result<u64, String> {
        let mut n = 0;
        for record in records {
            n += u64::from(keeper.restore(record, seq).map_err(|it| it.why)?);
        }
        Ok(n)
    };
    // Below some thousands a thread costs more than it brings.
    if threads < 2 || records.len() < 2_048 {
        return put(records);
    }
    std::thread::scope(|scope| {
        let parts = records.chunks(records.len().div_ceil(threads));
        let parts: Vec<_> = parts.map(|it| scope.spawn(move || put(it))).collect();
        let mut n = 0;
        for part in parts {
            n += part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(n)
    })
}

/// The views of now as a commit says them.
pub(super) fn layouts(keepers: &[Arc<dyn StateKeeper>]) -> Vec<(String, String)> {
    keepers.iter().map(|it| (it.view().to_string(), it.layout().to_string())).collect()
}

/// Views that are kept now, but were not then, or in another layout.
fn differing(commit: &Commit, keepers: &[Arc<dyn StateKeeper>]) -> Vec<&'static str> {
    let then: BTreeMap<&str, &str> =
        commit.views.iter().map(|it| (it.0.as_str(), it.1.as_str())).collect();
    let differ = keepers.iter().filter(|it| then.get(it.view()) != Some(&it.layout()));
    differ.map(|it| it.view()).collect()
}

/// What of the newest checkpoint this build cannot take up.
pub struct Others {
    /// Its number.
    pub seq: u32,
    /// Views that it does not have, or in another layout.
    pub views: Vec<&'static str>,
    /// Where reading stood.
    pub lines: Vec<BookLine>,
}

/// The same of the newest checkpoint of a data folder, with the feeds it had read; none where
/// there is none. Nothing is written.
pub fn other_views(
    data_dir: &Path,
    keepers: &[Arc<dyn StateKeeper>],
) -> Result<Option<Others>, Report> {
    let commit = newest_commit(data_dir)?;
    Ok(commit.map(|it| {
        let views = differing(&it, keepers);
        Others { seq: it.seq, views, lines: it.lines }
    }))
}

/// Every view that is kept now was kept then, in the same layout; but for those built anew.
fn same_views(
    commit: &Commit,
    keepers: &[Arc<dyn StateKeeper>],
    anew: &[&'static str],
) -> Result<(), Report> {
    let mut differ = differing(commit, keepers);
    differ.retain(|it| !anew.contains(it));
    if differ.is_empty() {
        return Ok(());
    }
    Err(Report {
        code: OTHER_VIEWS,
        what: "could not take up the state that was kept".into(),
        at: vec![("views", differ.join(", "))],
        why: "they were not kept then, or are laid out otherwise in this build".into(),
        effect: "nothing is lost: the state is as it was".into(),
        fix: "let it be built again from the log: `millstream run --rebuild`".into(),
    })
}

/// The code of a state that this build cannot read, but could build again.
pub const OTHER_VIEWS: &str = "store/other-views";

pub(super) fn unreadable(segment: &Segment, why: &str) -> Report {
    Report {
        code: "store/unreadable",
        what: "cannot read the state that was kept".into(),
        at: vec![("file", segment.path.display().to_string())],
        why: why.into(),
        effect: "nothing was started; nothing was changed".into(),
        fix: "start with the version of Millstream that wrote it, restore a backup, or let it be \
              built again from the log: `millstream run --rebuild`"
            .into(),
    }
}

fn same_secret(commit: &Commit, under: &str) -> Result<(), Report> {
    if commit.under.is_empty() || commit.under == under {
        return Ok(());
    }
    Err(Report {
        code: "store/other-secret",
        what: "cannot read a state that was kept under another secret".into(),
        at: vec![("checkpoint", commit.seq.to_string())],
        why: "the deployment's secret is not the one under which its keys were made".into(),
        effect: "nothing was started; nothing was changed".into(),
        fix: "restore the file `secret` from the backup that the rest of the folder is from".into(),
    })
}

fn missing(expected: u64, found: u64) -> Report {
    Report {
        code: "store/identities-missing",
        what: "cannot read the identities that were kept".into(),
        at: vec![("folder", super::IDENTITIES_DIR.into())],
        why: format!("expected {expected} of them, found {found}"),
        effect: "nothing was started; nothing was changed".into(),
        fix: "restore a backup, or let it be built again from the log: `millstream run --rebuild`"
            .into(),
    }
}
