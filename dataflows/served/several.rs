//! Several maps seen as one view.
//!
//! ```text
//!  a fold's map ───────────────────┐
//!  another look at a fold's map ───┼─▶ one reader, one list of what leaves
//!  a relation's map ───────────────┘
//! ```
//!
//! # Meaning
//! A row of the view is a row of one of the parts, under the part's own key or under that behind a
//! prefix. So keys of two parts never meet as long as no part has keys of its own that begin like
//! another's prefix; whoever puts the parts together sees to that. A listing is in the order of the
//! keys' text over all parts: a prefix does not change the order of what is behind it.
//!
//! # State
//! None of its own: no lane on the clock, no map. It is complete when its parts are.
//!
//! # Why this way
//! Rows of one kind (how right a model is) are made of states of three kinds, at three places. To
//! bring them into one map, each would be kept, and stored, a second time.

use std::sync::Arc;

use schemas::leaving::{Leaving, Spot, Touched, Version};
use schemas::names::{Fingerprint, Name};
use schemas::reading::{Gone, Keep, MapStats, Page, ViewReader};
use schemas::rows::{Row, Value, ViewDef};
use schemas::scanning::{Scan, Wanted};

use crate::Epoch;

/// Where the number of the part stands in a [`Spot`]; below it there is room for the part's own.
const PART_OF_SPOT: u32 = 60;
/// And in the shard of a [`Scan`].
const PART_OF_SCAN: u32 = 32;
/// As many as a spot can tell apart.
const PARTS_MAX: usize = 16;

/// A part: a map, as readers and as those see it who hand its rows on.
pub(crate) struct Piece {
    /// Before the keys of the map; may be empty.
    prefix: &'static str,
    reader: Arc<dyn ViewReader>,
    leaving: Arc<dyn Leaving>,
}

impl Piece {
    pub(crate) fn of(
        prefix: &'static str,
        reader: Arc<dyn ViewReader>,
        leaving: Arc<dyn Leaving>,
    ) -> Piece {
        Piece { prefix, reader, leaving }
    }

    /// As the view says it.
    fn name(&self, own: &Name) -> Name {
        match self.prefix {
            "" => own.clone(),
            prefix => Name::new(own.tenant(), &[prefix, own.key()].concat()),
        }
    }

    /// After which of its own keys a listing goes on; none: after all of them.
    fn after<'k>(&self, key: Option<&'k str>) -> Option<Option<&'k str>> {
        let Some(key) = key else { return Some(None) };
        match key.strip_prefix(self.prefix) {
            Some(own) => Some(Some(own)),
            None if key < self.prefix => Some(None),
            None => None,
        }
    }
}

/// The view.
pub(crate) struct Several {
    def: &'static ViewDef,
    parts: Box<[Piece]>,
}

impl Several {
    /// Of these parts.
    pub(crate) fn of(def: &'static ViewDef, parts: Vec<Piece>) -> Arc<Several> {
        assert!(parts.len() <= PARTS_MAX, "{}: too many parts", def.name);
        Arc::new(Several { def, parts: parts.into() })
    }

    /// Each part that may have this key, with what the key is there.
    fn under<'s: 'k, 'k>(&'s self, key: &'k str) -> impl Iterator<Item = (&'s Piece, &'k str)> {
        self.parts.iter().filter_map(move |it| Some((it, key.strip_prefix(it.prefix)?)))
    }
}

impl ViewReader for Several {
    fn def(&self) -> &'static ViewDef {
        self.def
    }

    fn get(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Row>, Gone> {
        for (part, own) in self.under(key) {
            if let Some(row) = part.reader.get(tenant, own, at)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// A page of each part, as far as all of them have been looked at.
    fn page(
        &self,
        tenant: &str,
        after: Option<&str>,
        at: Epoch,
        limit: usize,
        examine: usize,
        keep: Keep<'_>,
    ) -> Result<Page, Gone> {
        let limit = limit.max(1);
        let (mut rows, mut upto): (Vec<(Name, Row)>, Option<String>) = (Vec::new(), None);
        for part in &self.parts {
            let Some(after) = part.after(after) else { continue };
            let page = part.reader.page(tenant, after, at, limit, examine, keep)?;
            rows.extend(page.rows.into_iter().map(|(own, row)| (part.name(&own), row)));
            let next = page.next.map(|own| [part.prefix, &own].concat());
            upto = [upto, next].into_iter().flatten().min();
        }
        rows.retain(|it| upto.as_ref().is_none_or(|upto| it.0.key() <= upto.as_str()));
        rows.sort_unstable_by(|a, b| a.0.key().cmp(b.0.key()));
        if rows.len() > limit {
            rows.truncate(limit);
            upto = rows.last().map(|it| it.0.key().to_string());
        }
        Ok(Page { rows, next: upto })
    }

    fn count(&self, tenant: &str, at: Epoch) -> u64 {
        self.parts.iter().map(|it| it.reader.count(tenant, at)).sum()
    }

    fn rows(&self) -> u64 {
        self.parts.iter().map(|it| it.reader.rows()).sum()
    }

    fn changes(
        &self,
        after: Epoch,
        upto: Epoch,
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        self.parts.iter().try_for_each(|part| {
            part.reader.changes(after, upto, &mut |own, old, new| emit(&part.name(own), old, new))
        })
    }

    fn for_each(&self, at: Epoch, emit: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone> {
        self.parts.iter().try_for_each(|part| {
            part.reader.for_each(at, &mut |own, row| emit(&part.name(own), row))
        })
    }

    fn fields_of(
        &self,
        tenant: &str,
        key: &str,
        at: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) -> Result<bool, Gone> {
        for (part, own) in self.under(key) {
            if part.reader.fields_of(tenant, own, at, fields, into)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Piece after part.
    fn scan(
        &self,
        tenant: &str,
        at: Epoch,
        wanted: &Wanted,
        scan: &mut Scan,
        into: &mut Vec<Value>,
    ) -> Result<usize, Gone> {
        let number = scan.shard >> PART_OF_SCAN;
        let Some(part) = self.parts.get(number) else {
            scan.over = true;
            return Ok(0);
        };
        let first = number << PART_OF_SCAN;
        let mut own = Scan { shard: scan.shard - first, ..*scan };
        let n = part.reader.scan(tenant, at, wanted, &mut own, into)?;
        let next = number + 1;
        *scan = match own.over {
            true => Scan { shard: next << PART_OF_SCAN, slot: 0, over: next == self.parts.len() },
            false => Scan { shard: first + own.shard, ..own },
        };
        Ok(n)
    }

    fn stats(&self) -> MapStats {
        let mut sum = MapStats::default();
        for it in self.parts.iter().map(|it| it.reader.stats()) {
            sum.entities += it.entities;
            sum.bytes += it.bytes;
            sum.undo_bytes += it.undo_bytes;
        }
        sum
    }

    fn merge_index(&self) -> bool {
        self.parts.iter().fold(false, |worked, it| it.reader.merge_index() | worked)
    }
}

/// Where an entity lies: in which part, and where there.
fn spot(part: usize, own: Spot) -> Spot {
    Spot((part as u64) << PART_OF_SPOT | own.0)
}

impl Leaving for Several {
    fn def(&self) -> &'static ViewDef {
        self.def
    }

    /// Only if all parts are: one that is made anew at a start has epochs of that instant.
    fn is_kept(&self) -> bool {
        self.parts.iter().all(|it| it.leaving.is_kept())
    }

    fn note(&self) {
        self.parts.iter().for_each(|it| it.leaving.note());
    }

    fn touched(
        &self,
        after: Epoch,
        at: Epoch,
        with_rows: bool,
        emit: &mut dyn FnMut(Touched<'_>),
    ) -> Result<(), Gone> {
        self.parts.iter().enumerate().try_for_each(|(number, part)| {
            part.leaving.touched(after, at, with_rows, &mut |it| {
                let name = part.name(it.name);
                emit(Touched { spot: spot(number, it.spot), name: &name, ..it });
            })
        })
    }

    fn read(&self, at: Spot, key: Fingerprint, epoch: Epoch) -> Result<Option<Version>, Gone> {
        let number = (at.0 >> PART_OF_SPOT) as usize;
        let Some(part) = self.parts.get(number) else { return Ok(None) };
        let own = Spot(at.0 - spot(number, Spot(0)).0);
        let found = part.leaving.read(own, key, epoch)?;
        Ok(found.map(|(epoch, own, row)| (epoch, part.name(&own), row)))
    }

    fn since(
        &self,
        after: Epoch,
        at: Epoch,
        emit: &mut dyn FnMut(Spot, Fingerprint, Epoch),
    ) -> Result<(), Gone> {
        self.parts.iter().enumerate().try_for_each(|(number, part)| {
            part.leaving.since(after, at, &mut |own, key, epoch| {
                emit(spot(number, own), key, epoch);
            })
        })
    }
}

#[cfg(test)]
mod tests;
