//! The multi-version map: a fold's own state, and what readers read, at one complete epoch.
//!
//! ```text
//!  fold ─▶ writer ─▶ shard × 256 per worker: index · slab (newest in place) · undo per epoch
//!            │                         ▲
//!            ├─▶ journal               │ get: in place, or along the undo steps
//!            ├─▶ keys ─────────────────┤ page: in the order of the key's text
//!            ├─▶ marks ────────────────┤ save, restore: what the store has yet to be shown;
//!            │                         │ touched: what sinks have yet to be told
//!            └─▶ clock (lane applied) ─┘ pin, lease: which epochs are kept
//! ```
//!
//! # Meaning
//! Everything read at a held epoch is what a map of whole versions would answer: test
//! `tests::model`, against one. A row is made at the instant its entity was last touched
//! (`row(name, state, entry.epoch)`), so time alone moves it only by its timer.
//!
//! # Invariants
//! Epochs are held by [`Clock`] (pins, leases). Below what was trimmed an answer is [`Gone`], never
//! a guess. No lock is held while a row is made or a caller's closure runs. All safe code but one
//! prefetch.
//!
//! # State
//! Per entity: an entry (56 bytes and the state), 8 to 16 bytes of index, its key's text once more
//! in the ordered index; four bytes for where the store has it, if it is kept. Per touch and epoch
//! above the floor: the old version. Entries of a map whose fold says so ([`Keep::RESTS`]) are packed
//! once nobody touches them. A map of folds keeps an entity for ever, rows or not (an older
//! event must not bring a deleted one back); a published map ([`crate::publish`]) gives the slots
//! of deleted records back once the floor has passed.
//!
//! # When it fails
//! A reader that asks below the floor gets [`Gone`] with the oldest epoch that can be read.
//!
//! # Why this way
//! Persistent maps cost 2,200 to 5,600 ns an upsert and a copy doubles the memory; this costs less
//! than a private hash map, because a whole epoch is applied by shard with prefetch (`DESIGN.md` 7).

mod clock;
mod journal;
mod keeping;
mod keys;
mod face; // the same states as another view
mod several; // several maps as one view
mod leaving;
mod marks;
mod pins;
pub(crate) mod prefetch;
mod rest; // what nobody touches any more, packed
mod scan;
mod shard;
mod writer;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use schemas::names::{Fingerprint, Name};
use schemas::reading::{Gone, Keep as KeepRow, Known, MapStats, Page, Side, ViewReader};
use schemas::rows::{Row, Value, ViewDef};
use schemas::scanning::{Scan, Wanted};

use crate::erased::Erased;
use crate::{Epoch, Fold, Keep};
use journal::{Journal, SHARDS};
use keys::{Born, Keys};
pub use rest::OwnerBy;
use rest::Rest;
use shard::{Loaded, Shard};

pub use clock::{Clock, UNDO_MAX_BYTES};
pub(crate) use face::Face;
pub(crate) use keeping::layout;
pub(crate) use keys::Place;
pub(crate) use several::{Piece, Several};
pub(crate) use writer::{Touch, Writer};

/// The fingerprint of (tenant, key text); `None`: no key of this view can be written so.
pub type KeyOf = Arc<dyn Fn(&str, &str) -> Option<Fingerprint> + Send + Sync>;

/// What becomes of an entity's slot.
pub(crate) enum Slots<S> {
    /// It is the entity's for ever.
    Stay,
    /// The same, and the store is shown what changes in it.
    Kept,
    /// It is given back when the state is as if the entity had never been.
    Reclaimed(fn(&S) -> bool),
}

/// What becomes of slots, and how what lies in them rests, if it does.
pub(crate) type Room<S> = (Slots<S>, Option<Arc<Rest<S>>>);

/// Entries looked at to estimate what states and names keep outside themselves.
const SAMPLE: usize = 2_048;

/// Slots given back before the ordered index is worth sifting.
const SIFT_MIN: u64 = 1_024;

/// An entry that may rest does so when nobody has touched it for so long.
const AWAKE_MS: u64 = 500;

/// Chunks packed at a time: some thirty milliseconds of housekeeping. A million messages that come
/// back at a start rest within ten seconds.
const PACKED_MAX: usize = 256;

/// Chunks of a shard that are looked at for one that may rest.
const TIRED: usize = 16;

/// Slots per hold of a shard's lock when everything is read.
const STRIDE: u32 = 64;

/// A fold's map over all workers.
pub struct Served<F: Fold> {
    parts: Box<[Part<F::State>]>,
    clock: Arc<Clock>,
    first_lane: usize,
    key_of: KeyOf,
    slots: Slots<F::State>,
    /// What nobody touches any more is packed.
    rests: bool,
    /// Others make something of its states.
    looked_on: AtomicBool,
    /// Whom nobody is to know.
    erased: OnceLock<Arc<Erased>>,
    /// Held by whoever looks for what the store is to be shown.
    saver: Mutex<keeping::Hand>,
}

/// The next instant at which time alone changes the row, or what others make of the state.
#[inline]
pub(crate) fn due<F: Fold>(
    name: &Name,
    state: &F::State,
    after: Epoch,
    looked_on: bool,
) -> Option<Epoch> {
    let own = F::next_due(state, after);
    if !looked_on {
        return own;
    }
    own.into_iter().chain(F::next_look(name, state, after)).min()
}

/// What one worker writes.
struct Part<S> {
    shards: Box<[RwLock<Shard<S>>]>,
    journal: Mutex<Journal>,
    keys: Keys,
    rows: AtomicI64,
    undo_bytes: AtomicU64,
    buried: AtomicU64,
}

/// A version that was copied out of a shard.
struct Copied<S> {
    name: Name,
    state: S,
    epoch: Epoch,
}

impl<S: Clone> Copied<S> {
    fn new(name: &Name, (state, epoch): shard::Version<'_, S>) -> Copied<S> {
        Copied { name: name.clone(), state: state.clone(), epoch }
    }

    fn row<F: Fold<State = S>>(&self) -> Option<Row> {
        if F::exists(&self.state) { F::row(&self.name, &self.state, self.epoch) } else { None }
    }

    fn known<F: Fold<State = S>>(&self) -> Option<Known> {
        match F::exists(&self.state) {
            true => F::row(&self.name, &self.state, self.epoch).map(Known::Row),
            false => F::left(&self.state).map(Known::Left),
        }
    }
}

/// What routes an entity to its worker (taken modulo their number).
pub(crate) fn route(key: Fingerprint) -> u64 {
    shard::hash(key) & 0xff_ffff
}

fn shard_of(hash: u64) -> usize {
    (hash >> 24) as usize % SHARDS
}

impl<F: Fold> Served<F> {
    /// A map for this many workers; lanes `first_lane..first_lane + workers` of the clock.
    /// `key_of` finds an entity by what a reader writes; it must agree with the fingerprints
    /// that updates carry.
    pub fn new(
        workers: usize,
        clock: Arc<Clock>,
        first_lane: usize,
        key_of: KeyOf,
    ) -> Arc<Served<F>> {
        Served::with(workers, clock, first_lane, key_of, (Slots::Stay, None))
    }

    /// The same for states that outlast the process, whether this one keeps them or not (see
    /// [`schemas::keeping::StateKeeper`]). `owner_by` must agree with the owners that updates carry.
    pub(crate) fn resting(
        workers: usize,
        clock: Arc<Clock>,
        first_lane: usize,
        (key_of, owner_by): (KeyOf, OwnerBy),
        slots: Slots<F::State>,
    ) -> Arc<Served<F>>
    where
        F: Keep,
    {
        let rest = F::RESTS.then(|| Arc::new(Rest::of::<F>(Arc::clone(&key_of), owner_by)));
        Served::with(workers, clock, first_lane, key_of, (slots, rest))
    }

    pub(crate) fn with(
        workers: usize,
        clock: Arc<Clock>,
        first_lane: usize,
        key_of: KeyOf,
        (slots, rest): Room<F::State>,
    ) -> Arc<Served<F>> {
        let is_kept = matches!(slots, Slots::Kept);
        let shard = |n| RwLock::new(Shard::new(n, is_kept, rest.clone()));
        let part = || Part {
            shards: (0..SHARDS).map(shard).collect(),
            journal: Mutex::default(),
            keys: Keys::default(),
            rows: AtomicI64::new(0),
            undo_bytes: AtomicU64::new(0),
            buried: AtomicU64::new(0),
        };
        let parts = (0..workers).map(|_| part()).collect();
        let (looked_on, saver) = (AtomicBool::new(false), Mutex::default());
        let rests = rest.is_some();
        let erased = OnceLock::new();
        Arc::new(Served {
            parts,
            clock,
            first_lane,
            key_of,
            slots,
            rests,
            looked_on,
            erased,
            saver,
        })
    }

    /// Others make something of its states: from before the dataflow is built.
    pub(crate) fn look_on(&self) {
        self.looked_on.store(true, Relaxed);
    }

    /// Whose states are to be emptied: from before the dataflow is built.
    pub(crate) fn look_for(&self, erased: &Arc<Erased>) {
        self.erased.get_or_init(|| erased.clone());
    }

    pub(crate) fn erased(&self) -> Option<Arc<Erased>> {
        self.erased.get().cloned()
    }

    pub(crate) fn is_looked_on(&self) -> bool {
        self.looked_on.load(Relaxed)
    }

    /// Puts a state back at start-up, as of `epoch`, before the dataflow is built. The key decides
    /// which worker it belongs to. Of two states of an entity the newer stands; false if one at
    /// least as new is there already.
    pub fn load(&self, key: Fingerprint, name: Name, state: F::State, epoch: Epoch) -> bool {
        self.load_shown(key, name, state, epoch, None)
    }

    /// The same; `generation`: where the store has it, else it has to be shown.
    fn load_shown(
        &self,
        key: Fingerprint,
        name: Name,
        state: F::State,
        epoch: Epoch,
        generation: Option<u32>,
    ) -> bool {
        let part = &self.parts[(route(key) % self.parts.len() as u64) as usize];
        let number = shard_of(shard::hash(key));
        let exists = i64::from(F::exists(&state));
        let mut shard = part.shards[number].write();
        let (slot, gained, is_new) = match shard.load(key, name.clone(), state, epoch) {
            Loaded::New(slot) => (slot, exists, true),
            Loaded::Newer(slot, older) => (slot, exists - i64::from(F::exists(&older)), false),
            Loaded::Known => return false,
        };
        if let Some(marks) = &mut shard.marks {
            marks.loaded(slot, epoch, generation);
        }
        drop(shard);
        part.journal.lock().load(name.tenant(), gained, epoch);
        part.rows.fetch_add(gained, Relaxed);
        if is_new {
            part.keys.load(Born { name, place: Place { shard: number as u8, slot } });
        }
        true
    }

    /// Every entity of one worker, newest, with its epoch (what a fold starts from).
    pub(crate) fn each_newest(
        &self,
        worker: usize,
        mut see: impl FnMut(Place, &Name, &F::State, Epoch),
    ) {
        for (number, shard) in self.parts[worker].shards.iter().enumerate() {
            let shard = shard.read();
            let mut look = shard.look();
            for slot in 0..shard.slots() {
                let entry = look.entry(slot);
                if entry.epoch != Epoch::MAX {
                    let place = Place { shard: number as u8, slot };
                    see(place, &entry.name, &entry.state, entry.epoch);
                }
            }
        }
    }

    /// Packs what nobody has touched after `before`: at most so many chunks. No writer waits longer
    /// than it takes to pack one.
    fn put_to_rest(&self, before: Epoch, most: usize) {
        let mut left = most;
        for lock in self.parts.iter().flat_map(|it| &it.shards) {
            loop {
                if left == 0 {
                    return;
                }
                let packed = lock.read().packed(TIRED, before);
                let Some(packed) = packed else { break };
                lock.write().lay(packed);
                left -= 1;
            }
        }
    }

    /// Every entity of all workers, newest, by its fingerprint.
    pub(crate) fn each_key(&self, mut see: impl FnMut(Fingerprint, &Name, &F::State)) {
        for lock in self.parts.iter().flat_map(|it| &it.shards) {
            let shard = lock.read();
            let mut look = shard.look();
            for slot in 0..shard.slots() {
                let entry = look.entry(slot);
                if entry.epoch != Epoch::MAX {
                    see(entry.key(), &entry.name, &entry.state);
                }
            }
        }
    }

    fn gone(&self) -> Gone {
        Gone { oldest: self.clock.oldest() }
    }

    fn readable(&self, shard: &Shard<F::State>, at: Epoch) -> Result<(), Gone> {
        if at < shard.trimmed() { Err(self.gone()) } else { Ok(()) }
    }

    /// The version of the entity at a place, if it is the one with this key text.
    fn at_place(
        &self,
        worker: usize,
        place: Place,
        (tenant, key): (&str, &[u8]),
        at: Epoch,
    ) -> Result<Option<Copied<F::State>>, Gone> {
        let shard = self.parts[worker].shards[place.shard as usize].read();
        self.readable(&shard, at)?;
        let mut look = shard.look();
        let entry = look.entry(place.slot);
        let name = &entry.name;
        if name.key().as_bytes() != key || name.tenant() != tenant {
            return Ok(None);
        }
        Ok(shard.version(entry, at).map(|it| Copied::new(name, it)))
    }

    /// Whether the place still belongs to the entity with this whole name.
    fn is_at(&self, worker: usize, place: Place, text: &[u8]) -> bool {
        let shard = self.parts[worker].shards[place.shard as usize].read();
        let mut look = shard.look();
        let name = &look.entry(place.slot).name;
        let tenant = name.tenant().as_bytes();
        text.strip_prefix(tenant).and_then(|it| it.strip_prefix(&[0]))
            == Some(name.key().as_bytes())
    }

    /// What an entity keeps outside its entry, on average, from evenly spread samples.
    fn outside_bytes(&self, entities: u64) -> u64 {
        let shards = self.parts.len() * SHARDS;
        let per_shard = SAMPLE.div_ceil(shards) as u32;
        let (mut seen, mut bytes) = (0_u64, 0_u64);
        for shard in self.parts.iter().flat_map(|it| &it.shards) {
            let shard = shard.read();
            let step = shard.slots().div_ceil(per_shard).max(1);
            for slot in (0..shard.slots()).step_by(step as usize) {
                seen += 1;
                let Some(entry) = shard.awake_entry(slot) else { continue };
                bytes += (entry.name.heap_bytes() + F::heap_bytes(&entry.state)) as u64;
            }
        }
        if seen == 0 { 0 } else { (bytes as f64 / seen as f64 * entities as f64) as u64 }
    }
}

/// Is told a name, its row before and its row after.
type Tell<'t> = &'t mut dyn FnMut(&Name, Option<Row>, Option<Row>);

/// Some fields, and whether a change is wanted by them.
type Only<'f, 'w> = (&'f [usize], &'w mut dyn FnMut(Side<'_>, Side<'_>) -> bool);

impl<F: Fold> Served<F> {
    /// One row, as that view says it (see [`ViewReader`], as for the next three).
    fn get_as<G: Fold<State = F::State>>(
        &self,
        tenant: &str,
        key: &str,
        at: Epoch,
    ) -> Result<Option<Row>, Gone> {
        Ok(self.copied(tenant, key, at)?.and_then(|it| it.row::<G>()))
    }

    /// An entity as it was.
    fn copied(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Copied<F::State>>, Gone> {
        let Some(key) = (self.key_of)(tenant, key) else { return Ok(None) };
        let hash = shard::hash(key);
        let part = &self.parts[(route(key) % self.parts.len() as u64) as usize];
        let shard = part.shards[shard_of(hash)].read();
        self.readable(&shard, at)?;
        let mut look = shard.look();
        Ok(look.find(hash, key).and_then(|slot| {
            let entry = look.entry(slot);
            Some(Copied::new(&entry.name, shard.version(entry, at)?))
        }))
    }

    /// A page of rows.
    fn page_as<G: Fold<State = F::State>>(
        &self,
        tenant: &str,
        after: Option<&str>,
        at: Epoch,
        limit: usize,
        examine: usize,
        keep: KeepRow<'_>,
    ) -> Result<Page, Gone> {
        let (limit, examine) = (limit.max(1), examine.max(1));
        let snapshots: Vec<_> = self.parts.iter().map(|it| it.keys.snapshot()).collect();
        let mut walks = Vec::new();
        for (worker, snapshot) in snapshots.iter().enumerate() {
            let of_part = snapshot.walks(tenant, after, examine.saturating_add(1));
            walks.extend(of_part.into_iter().map(|it| (worker, it)));
        }
        let mut heads = BinaryHeap::new();
        for (n, (_, walk)) in walks.iter_mut().enumerate() {
            heads.extend(walk.next().map(|(text, place)| Reverse((text, n, place))));
        }
        let mut page = Page::default();
        // The key text looked at last, and whether its entity was found.
        let mut last: Option<(Box<[u8]>, bool)> = None;
        let (mut examined, mut scratch) = (0, Vec::new());
        let mut ends: Option<Box<[u8]>> = None;
        while let Some(Reverse((text, n, place))) = heads.pop() {
            let (worker, walk) = &mut walks[n];
            match walk.next() {
                Some((text, place)) => heads.push(Reverse((text, n, place))),
                // Beyond this text the walk might have had the next one.
                None if ends.is_none() && walk.is_cut_short() => ends = Some(text.clone()),
                None => {}
            }
            // A key born again after its slot was given back may stand twice.
            if last.as_ref().is_some_and(|it| it.1 && it.0 == text) {
                continue;
            }
            if last.as_ref().is_none_or(|it| it.0 != text) {
                let is_end = ends.as_ref().is_some_and(|it| *it < text);
                if page.rows.len() == limit || examined == examine || is_end {
                    page.next = last.map(|it| String::from_utf8_lossy(&it.0).into_owned());
                    return Ok(page);
                }
                examined += 1;
            }
            let listed =
                self.listed::<G>(*worker, place, (tenant, &text), at, keep, &mut scratch)?;
            last = Some((text, listed.is_some()));
            page.rows.extend(listed.flatten());
        }
        page.next = ends.map(|it| String::from_utf8_lossy(&it).into_owned());
        Ok(page)
    }

    /// What changed.
    fn changes_as<G: Fold<State = F::State>>(
        &self,
        after: Epoch,
        upto: Epoch,
        emit: Tell<'_>,
    ) -> Result<(), Gone> {
        for part in &self.parts {
            let touched = part.journal.lock().touched(after, upto).ok_or_else(|| self.gone())?;
            for number in touched.iter() {
                let mut changed = Vec::new();
                let shard = part.shards[number].read();
                self.readable(&shard, after)?;
                let mut look = shard.look();
                for undo in shard.undo_between(after, upto) {
                    // The first touch in the range shows the version before it.
                    for step in undo.steps.iter().filter(|it| it.epoch <= after) {
                        let entry = look.entry(step.slot);
                        let old = Copied::new(&entry.name, (&step.state, step.epoch));
                        let new = shard.version(entry, upto);
                        changed.push((Some(old), new.map(|it| Copied::new(&entry.name, it))));
                    }
                    for &slot in &undo.born {
                        let entry = look.entry(slot);
                        let new = shard.version(entry, upto);
                        changed.push((None, new.map(|it| Copied::new(&entry.name, it))));
                    }
                }
                drop(look);
                drop(shard);
                for (old, new) in changed {
                    let Some(name) = old.as_ref().or(new.as_ref()).map(|it| &it.name) else {
                        continue;
                    };
                    let rows = (
                        old.as_ref().and_then(|it| it.row::<G>()),
                        new.as_ref().and_then(|it| it.row::<G>()),
                    );
                    if rows != (None, None) {
                        emit(name, rows.0, rows.1);
                    }
                }
            }
        }
        Ok(())
    }

    /// What changed, of what is wanted by some fields.
    fn changes_where_as<G: Fold<State = F::State>>(
        &self,
        (after, upto): (Epoch, Epoch),
        (fields, wants): Only<'_, '_>,
        emit: Tell<'_>,
    ) -> Result<(), Gone> {
        if !scan::are_near::<G>(fields) {
            let some = |row: &Row| -> Vec<Value> {
                fields
                    .iter()
                    .map(|it| row.values.get(*it).cloned().unwrap_or(Value::Null))
                    .collect()
            };
            return self.changes_as::<G>(after, upto, &mut |name, old, new| {
                let (before, now) = (old.as_ref().map(some), new.as_ref().map(some));
                if wants(before.as_deref(), now.as_deref()) {
                    emit(name, old, new);
                }
            });
        }
        for part in &self.parts {
            let touched = part.journal.lock().touched(after, upto).ok_or_else(|| self.gone())?;
            for number in touched.iter() {
                // In place first, of all that was touched: slots, and the fields at both ends.
                let (mut seen, mut values) = (Vec::new(), Vec::new());
                let shard = part.shards[number].read();
                self.readable(&shard, after)?;
                let mut look = shard.look();
                for undo in shard.undo_between(after, upto) {
                    let steps = undo.steps.iter().filter(|it| it.epoch <= after);
                    let olds = steps.map(|it| (it.slot, Some((&it.state, it.epoch))));
                    let born = undo.born.iter().map(|it| (*it, None));
                    for (slot, old) in olds.chain(born) {
                        let entry = look.entry(slot);
                        let mut add = |it: Option<shard::Version<'_, F::State>>| {
                            let it = it.filter(|it| G::exists(it.0));
                            if let Some((state, epoch)) = it {
                                G::fields(&entry.name, state, epoch, fields, &mut values);
                            }
                            it.is_some()
                        };
                        seen.push((slot, add(old), add(shard.version(entry, upto))));
                    }
                }
                drop(look);
                drop(shard);
                let mut rest = &values[..];
                seen.retain(|(_, was, is)| {
                    let mut side = |there: bool| {
                        let (side, more) = rest.split_at(if there { fields.len() } else { 0 });
                        rest = more;
                        there.then_some(side)
                    };
                    let (old, new) = (side(*was), side(*is));
                    (*was || *is) && wants(old, new)
                });
                if seen.is_empty() {
                    continue;
                }
                // A slot is its entity's while an epoch is held at which it has a version.
                let shard = part.shards[number].read();
                self.readable(&shard, after)?;
                let mut look = shard.look();
                let copied: Vec<_> = (seen.iter())
                    .map(|(slot, was, is)| {
                        let entry = look.entry(*slot);
                        let at = |there: bool, at: Epoch| {
                            let version = shard.version(entry, at).filter(|_| there);
                            version.map(|it| Copied::new(&entry.name, it))
                        };
                        (at(*was, after), at(*is, upto))
                    })
                    .collect();
                drop(look);
                drop(shard);
                for (old, new) in copied {
                    let Some(name) = old.as_ref().or(new.as_ref()).map(|it| &it.name) else {
                        continue;
                    };
                    let row =
                        |it: &Option<Copied<F::State>>| it.as_ref().and_then(Copied::row::<G>);
                    emit(name, row(&old), row(&new));
                }
            }
        }
        Ok(())
    }

    /// Every row.
    fn for_each_as<G: Fold<State = F::State>>(
        &self,
        at: Epoch,
        emit: &mut dyn FnMut(&Name, Row),
    ) -> Result<(), Gone> {
        for lock in self.parts.iter().flat_map(|it| &it.shards) {
            let mut from = 0;
            loop {
                let shard = lock.read();
                self.readable(&shard, at)?;
                let upto = (from + STRIDE).min(shard.slots());
                let mut look = shard.look();
                let copied: Vec<_> = (from..upto)
                    .filter_map(|slot| {
                        let entry = look.entry(slot);
                        Some(Copied::new(&entry.name, shard.version(entry, at)?))
                    })
                    .collect();
                drop(look);
                drop(shard);
                for it in copied {
                    if let Some(row) = it.row::<G>() {
                        emit(&it.name, row);
                    }
                }
                if upto == from {
                    break;
                }
                from = upto;
            }
        }
        Ok(())
    }
}

impl<F: Fold> ViewReader for Served<F> {
    fn def(&self) -> &'static ViewDef {
        F::DEF
    }

    fn get(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Row>, Gone> {
        self.get_as::<F>(tenant, key, at)
    }

    fn page(
        &self,
        tenant: &str,
        after: Option<&str>,
        at: Epoch,
        limit: usize,
        examine: usize,
        keep: KeepRow<'_>,
    ) -> Result<Page, Gone> {
        self.page_as::<F>(tenant, after, at, limit, examine, keep)
    }

    fn count(&self, tenant: &str, at: Epoch) -> u64 {
        let rows: i64 = self.parts.iter().map(|it| it.journal.lock().count(tenant, at)).sum();
        u64::try_from(rows).unwrap_or(0)
    }

    fn rows(&self) -> u64 {
        let rows: i64 = self.parts.iter().map(|it| it.rows.load(Relaxed)).sum();
        u64::try_from(rows).unwrap_or(0)
    }

    fn changes(
        &self,
        after: Epoch,
        upto: Epoch,
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        self.changes_as::<F>(after, upto, emit)
    }

    fn changes_where(
        &self,
        between: (Epoch, Epoch),
        only: (&[usize], &mut dyn FnMut(Side<'_>, Side<'_>) -> bool),
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        self.changes_where_as::<F>(between, only, emit)
    }

    fn for_each(&self, at: Epoch, emit: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone> {
        self.for_each_as::<F>(at, emit)
    }

    fn known(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Known>, Gone> {
        Ok(self.copied(tenant, key, at)?.and_then(|it| it.known::<F>()))
    }

    fn each_known(
        &self,
        at: Epoch,
        scan: &mut Scan,
        emit: &mut dyn FnMut(&Name, Known),
    ) -> Result<usize, Gone> {
        self.known_on(at, scan, emit)
    }

    fn fields_of(
        &self,
        tenant: &str,
        key: &str,
        at: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) -> Result<bool, Gone> {
        self.read_fields::<F>((tenant, key), at, fields, into)
    }

    fn scan(
        &self,
        tenant: &str,
        at: Epoch,
        wanted: &Wanted,
        scan: &mut Scan,
        into: &mut Vec<Value>,
    ) -> Result<usize, Gone> {
        self.scan_on::<F>(tenant, at, wanted, scan, into)
    }

    /// Index and slab exactly; what names and states keep outside is estimated from
    /// [`SAMPLE`] evenly spread entries, so that nothing is counted on the hot path.
    fn stats(&self) -> MapStats {
        let mut stats = MapStats::default();
        for part in &self.parts {
            for shard in &part.shards {
                let shard = shard.read();
                stats.entities += shard.len() as u64;
                stats.bytes += shard.bytes() as u64;
            }
            stats.bytes += part.keys.bytes() as u64;
            stats.undo_bytes += part.undo_bytes.load(Relaxed);
        }
        stats.bytes += self.outside_bytes(stats.entities);
        stats
    }

    fn merge_index(&self) -> bool {
        let mut worked = false;
        for (worker, part) in self.parts.iter().enumerate() {
            let buried = part.buried.load(Relaxed);
            let entities = part.rows.load(Relaxed).unsigned_abs();
            let sift = buried > SIFT_MIN.max(entities);
            if sift {
                part.buried.fetch_sub(buried, Relaxed);
            }
            worked |= part.keys.merge(sift, &|text, place| self.is_at(worker, place, text)) | sift;
        }
        if self.rests {
            self.put_to_rest(self.clock.floor().saturating_sub(AWAKE_MS), PACKED_MAX);
        }
        worked
    }
}

#[cfg(test)]
mod tests;
