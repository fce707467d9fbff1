//! A map read as a table: some fields of every row of a tenant, stride by stride, in no order.
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

use schemas::reading::Gone;
use schemas::rows::Value;
use schemas::scanning::{Scan, Test, Wanted};

use super::journal::SHARDS;
use super::shard;
use super::{Copied, STRIDE, Served, route, shard_of};
use crate::{Epoch, Fold};

fn is_near<F: Fold>(field: usize) -> bool {
    field < 64 && F::NEAR >> field & 1 == 1
}

/// Whether an entity passes, its fields made one by one in `scratch`.
fn passes<'t, F: Fold>(
    mut tests: impl Iterator<Item = &'t Test>,
    version: (&schemas::names::Name, shard::Version<'_, F::State>),
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
    pub(super) fn scan_on(
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
        let near = |it: &&Test| is_near::<F>(it.field);
        let all_near = wanted.fields.iter().all(|it| is_near::<F>(*it))
            && wanted.tests.iter().all(|it| near(&it));
        let (mut n, mut copied, mut scratch) = (0, Vec::new(), Vec::new());
        let shard = part.shards[scan.shard % SHARDS].read();
        self.readable(&shard, at)?;
        let upto = scan.slot.saturating_add(STRIDE).min(shard.slots());
        for slot in scan.slot..upto {
            let name = &shard.entry(slot).name;
            if name.tenant() != tenant {
                continue;
            }
            let Some(version) = shard.version(slot, at).filter(|it| F::exists(it.0)) else {
                continue;
            };
            let tests = wanted.tests.iter().filter(near);
            if !passes::<F>(tests, (name, version), &mut scratch) {
                continue;
            }
            if all_near {
                F::fields(name, version.0, version.1, &wanted.fields, into);
                n += 1;
            } else {
                copied.push(Copied::new(name, version));
            }
        }
        (scan.slot, scan.shard) =
            if upto == shard.slots() { (0, scan.shard + 1) } else { (upto, scan.shard) };
        scan.over = scan.shard == self.parts.len() * SHARDS;
        drop(shard);
        for it in copied {
            let tests = wanted.tests.iter().filter(|it| !near(it));
            if passes::<F>(tests, (&it.name, (&it.state, it.epoch)), &mut scratch) {
                F::fields(&it.name, &it.state, it.epoch, &wanted.fields, into);
                n += 1;
            }
        }
        Ok(n)
    }

    /// See [`ViewReader::fields_of`](schemas::reading::ViewReader::fields_of).
    pub(super) fn read_fields(
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
        let Some(slot) = shard.find(hash, key) else { return Ok(false) };
        let name = &shard.entry(slot).name;
        let Some(version) = shard.version(slot, at).filter(|it| F::exists(it.0)) else {
            return Ok(false);
        };
        if fields.iter().all(|it| is_near::<F>(*it)) {
            F::fields(name, version.0, version.1, fields, into);
            return Ok(true);
        }
        let it = Copied::new(name, version);
        drop(shard);
        F::fields(&it.name, &it.state, it.epoch, fields, into);
        Ok(true)
    }
}
