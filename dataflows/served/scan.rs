//! A map read as a table: some fields of every row of a tenant, stride by stride, in no order; and
//! of a listing, whose rows are made only once some fields have said that they are wanted.
//!
//! # Meaning
//! A scan at a held epoch gives each row of the tenant that passes the tests once: test
//! `tests::readers_see_one_instant` beside a writer, `dataflows/tests/oracle.rs` for every view.
//! An entity never changes its slot while it has a version that a held epoch can read, so going
//! through the slots in their order meets each once, whatever is written meanwhile.
//!
//! # Invariants
//! One shard's lock is held for [`STRIDE`] slots at most, and for what is *near*
//! ([`Fold::NEAR`]) only; for anything else the states are copied under it, and the fields made
//! after. The ordered index of keys is not asked.

use schemas::names::Name;
use schemas::reading::{Gone, Keep, Known};
use schemas::rows::{Row, Value};
use schemas::scanning::{Scan, Test, Wanted};

use super::journal::SHARDS;
use super::shard;
use super::{Copied, Place, STRIDE, Served, route, shard_of};
use crate::{Epoch, Fold};

fn is_near<F: Fold>(field: usize) -> bool {
    field < 64 && F::NEAR >> field & 1 == 1
}

/// Whether all of these fields are.
pub(super) fn are_near<F: Fold>(fields: &[usize]) -> bool {
    fields.iter().all(|it| is_near::<F>(*it))
}

/// Whether an entity passes, its fields made one by one in `scratch`.
fn passes<'t, F: Fold>(
    mut tests: impl Iterator<Item = &'t Test>,
    version: (&Name, shard::Version<'_, F::State>),
    scratch: &mut Vec<Value>,
) -> bool {
    let (name, (state, epoch)) = version;
    tests.all(|test| {
        scratch.clear();
        F::fields(name, state, epoch, &[test.field], scratch);
        scratch.first().is_some_and(|it| test.is.passes(it))
    })
}

impl<F: Fold> Served<F> {
    /// See [`ViewReader::scan`](schemas::reading::ViewReader::scan).
    pub(super) fn scan_on<G: Fold<State = F::State>>(
        &self,
        tenant: &str,
        at: Epoch,
        wanted: &Wanted,
        scan: &mut Scan,
        into: &mut Vec<Value>,
    ) -> Result<usize, Gone> {
        let Some(part) = self.parts.get(scan.shard / SHARDS) else {
            scan.over = true;
            return Ok(0);
        };
        let near = |it: &&Test| is_near::<G>(it.field);
        let all_near = wanted.fields.iter().all(|it| is_near::<G>(*it))
            && wanted.tests.iter().all(|it| near(&it));
        let (mut n, mut copied, mut scratch) = (0, Vec::new(), Vec::new());
        let shard = part.shards[scan.shard % SHARDS].read();
        self.readable(&shard, at)?;
        let upto = scan.slot.saturating_add(STRIDE).min(shard.slots());
        let mut look = shard.look();
        for slot in scan.slot..upto {
            let entry = look.entry(slot);
            let name = &entry.name;
            if name.tenant() != tenant {
                continue;
            }
            let Some(version) = shard.version(entry, at).filter(|it| G::exists(it.0)) else {
                continue;
            };
            let tests = wanted.tests.iter().filter(near);
            if !passes::<G>(tests, (name, version), &mut scratch) {
                continue;
            }
            if all_near {
                G::fields(name, version.0, version.1, &wanted.fields, into);
                n += 1;
            } else {
                copied.push(Copied::new(name, version));
            }
        }
        (scan.slot, scan.shard) =
            if upto == shard.slots() { (0, scan.shard + 1) } else { (upto, scan.shard) };
        scan.over = scan.shard == self.parts.len() * SHARDS;
        drop(look);
        drop(shard);
        for it in copied {
            let tests = wanted.tests.iter().filter(|it| !near(it));
            if passes::<G>(tests, (&it.name, (&it.state, it.epoch)), &mut scratch) {
                G::fields(&it.name, &it.state, it.epoch, &wanted.fields, into);
                n += 1;
            }
        }
        Ok(n)
    }

    /// See [`ViewReader::each_known`](schemas::reading::ViewReader::each_known).
    pub(super) fn known_on(
        &self,
        at: Epoch,
        scan: &mut Scan,
        emit: &mut dyn FnMut(&Name, Known),
    ) -> Result<usize, Gone> {
        let Some(part) = self.parts.get(scan.shard / SHARDS) else {
            scan.over = true;
            return Ok(0);
        };
        let shard = part.shards[scan.shard % SHARDS].read();
        self.readable(&shard, at)?;
        let from = scan.slot;
        let upto = from.saturating_add(STRIDE).min(shard.slots());
        let mut look = shard.look();
        let copied: Vec<_> = (from..upto)
            .filter_map(|slot| {
                let entry = look.entry(slot);
                Some(Copied::new(&entry.name, shard.version(entry, at)?))
            })
            .collect();
        (scan.slot, scan.shard) =
            if upto == shard.slots() { (0, scan.shard + 1) } else { (upto, scan.shard) };
        scan.over = scan.shard == self.parts.len() * SHARDS;
        drop(look);
        drop(shard);
        for it in &copied {
            if let Some(known) = it.known::<F>() {
                emit(&it.name, known);
            }
        }
        Ok(copied.len())
    }

    /// What a listing takes of a place: nothing if it is another entity's by now, else its row, if
    /// there is one and it is kept. A page looks at thousands of rows to keep some: fields that are
    /// near are looked at in place, and only what is kept is copied and made.
    pub(super) fn listed<G: Fold<State = F::State>>(
        &self,
        worker: usize,
        place: Place,
        name: (&str, &[u8]),
        at: Epoch,
        keep: Keep<'_>,
        scratch: &mut Vec<Value>,
    ) -> Result<Option<Option<(Name, Row)>>, Gone> {
        let some = !keep.fields.is_empty();
        let near = some && keep.fields.iter().all(|it| is_near::<G>(*it));
        scratch.clear();
        if near {
            match self.near_at::<G>((worker, place), name, at, keep.fields, scratch)? {
                None => return Ok(None),
                // No lock is held while the caller looks; a held epoch says the same twice.
                Some(there) if !there || !(keep.wants)(scratch) => return Ok(Some(None)),
                Some(_) => {}
            }
        }
        let Some(it) = self.at_place(worker, place, name, at)? else { return Ok(None) };
        if !G::exists(&it.state) {
            return Ok(Some(None));
        }
        if some && !near {
            G::fields(&it.name, &it.state, it.epoch, keep.fields, scratch);
        }
        if !near && !(keep.wants)(scratch) {
            return Ok(Some(None));
        }
        Ok(Some(it.row::<G>().map(|row| (it.name, row))))
    }

    /// Fields that are near, of the entity at a place; whether it has a row. `None`: another's.
    fn near_at<G: Fold<State = F::State>>(
        &self,
        (worker, place): (usize, Place),
        (tenant, key): (&str, &[u8]),
        at: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) -> Result<Option<bool>, Gone> {
        let shard = self.parts[worker].shards[place.shard as usize].read();
        self.readable(&shard, at)?;
        let mut look = shard.look();
        let entry = look.entry(place.slot);
        let name = &entry.name;
        if name.key().as_bytes() != key || name.tenant() != tenant {
            return Ok(None);
        }
        Ok(shard.version(entry, at).map(|(state, epoch)| {
            let there = G::exists(state);
            if there {
                G::fields(name, state, epoch, fields, into);
            }
            there
        }))
    }

    /// See [`ViewReader::fields_of`](schemas::reading::ViewReader::fields_of).
    pub(super) fn read_fields<G: Fold<State = F::State>>(
        &self,
        (tenant, key): (&str, &str),
        at: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) -> Result<bool, Gone> {
        let Some(key) = (self.key_of)(tenant, key) else { return Ok(false) };
        let hash = shard::hash(key);
        let part = &self.parts[(route(key) % self.parts.len() as u64) as usize];
        let shard = part.shards[shard_of(hash)].read();
        self.readable(&shard, at)?;
        let mut look = shard.look();
        let Some(slot) = look.find(hash, key) else { return Ok(false) };
        let entry = look.entry(slot);
        let name = &entry.name;
        let Some(version) = shard.version(entry, at).filter(|it| G::exists(it.0)) else {
            return Ok(false);
        };
        if fields.iter().all(|it| is_near::<G>(*it)) {
            G::fields(name, version.0, version.1, fields, into);
            return Ok(true);
        }
        let it = Copied::new(name, version);
        drop(look);
        drop(shard);
        G::fields(&it.name, &it.state, it.epoch, fields, into);
        Ok(true)
    }
}
