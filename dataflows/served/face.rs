//! The states of one view seen as another: a view that costs nothing while nobody reads it.
//!
//! # Meaning
//! A row of the face is what `G` makes of the state that `F` keeps, as of the same epoch. Its rows
//! change when a state is touched or a timer of `F` fires, so `F::next_look` has to name every
//! instant at which time alone changes a row of it. `G` must say that a state has a row exactly
//! where `F` does.
//!
//! # State
//! None of its own but the list of those who hand its rows on.

use std::marker::PhantomData;
use std::sync::Arc;

use schemas::leaving::{Leaving, Spot, Touched, Version};
use schemas::names::{Fingerprint, Name};
use schemas::reading::{Gone, Keep, MapStats, Page, Side, ViewReader};
use schemas::rows::{Row, Value, ViewDef};
use schemas::scanning::{Scan, Wanted};

use super::Served;
use super::leaving::Ear;
use crate::{Epoch, Fold};

/// `F`'s map as `G` shows it.
pub(crate) struct Face<F: Fold, G> {
    map: Arc<Served<F>>,
    shows: PhantomData<G>,
}

impl<F: Fold, G: Fold<State = F::State>> Face<F, G> {
    pub(crate) fn of(map: &Arc<Served<F>>) -> Arc<Face<F, G>> {
        map.look_on();
        Arc::new(Face { map: map.clone(), shows: PhantomData })
    }
}

impl<F: Fold, G: Fold<State = F::State>> ViewReader for Face<F, G> {
    fn def(&self) -> &'static ViewDef {
        G::DEF
    }

    fn get(&self, tenant: &str, key: &str, at: Epoch) -> Result<Option<Row>, Gone> {
        self.map.get_as::<G>(tenant, key, at)
    }

    fn page(
        &self,
        tenant: &str,
        after: Option<&str>,
        at: Epoch,
        limit: usize,
        examine: usize,
        keep: Keep<'_>,
    ) -> Result<Page, Gone> {
        self.map.page_as::<G>(tenant, after, at, limit, examine, keep)
    }

    fn count(&self, tenant: &str, at: Epoch) -> u64 {
        self.map.count(tenant, at)
    }

    fn rows(&self) -> u64 {
        self.map.rows()
    }

    fn changes(
        &self,
        after: Epoch,
        upto: Epoch,
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        self.map.changes_as::<G>(after, upto, emit)
    }

    fn changes_where(
        &self,
        between: (Epoch, Epoch),
        only: (&[usize], &mut dyn FnMut(Side<'_>, Side<'_>) -> bool),
        emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        self.map.changes_where_as::<G>(between, only, emit)
    }

    fn for_each(&self, at: Epoch, emit: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone> {
        self.map.for_each_as::<G>(at, emit)
    }

    fn fields_of(
        &self,
        tenant: &str,
        key: &str,
        at: Epoch,
        fields: &[usize],
        into: &mut Vec<Value>,
    ) -> Result<bool, Gone> {
        self.map.read_fields::<G>((tenant, key), at, fields, into)
    }

    fn scan(
        &self,
        tenant: &str,
        at: Epoch,
        wanted: &Wanted,
        scan: &mut Scan,
        into: &mut Vec<Value>,
    ) -> Result<usize, Gone> {
        self.map.scan_on::<G>(tenant, at, wanted, scan, into)
    }

    /// The map tells its own size; here it would count twice.
    fn stats(&self) -> MapStats {
        MapStats { entities: self.map.stats().entities, ..MapStats::default() }
    }

    /// The map merges its own index.
    fn merge_index(&self) -> bool {
        false
    }
}

impl<F: Fold, G: Fold<State = F::State>> Leaving for Face<F, G> {
    fn def(&self) -> &'static ViewDef {
        G::DEF
    }

    fn is_kept(&self) -> bool {
        self.map.is_kept()
    }

    fn note(&self) {
        self.map.note_as(Ear::Face);
    }

    fn touched(
        &self,
        after: Epoch,
        at: Epoch,
        with_rows: bool,
        emit: &mut dyn FnMut(Touched<'_>),
    ) -> Result<(), Gone> {
        self.map.touched_as::<G>(Ear::Face, after, at, with_rows, emit)
    }

    fn read(&self, spot: Spot, key: Fingerprint, at: Epoch) -> Result<Option<Version>, Gone> {
        self.map.read_as::<G>(spot, key, at)
    }

    fn since(
        &self,
        after: Epoch,
        at: Epoch,
        emit: &mut dyn FnMut(Spot, Fingerprint, Epoch),
    ) -> Result<(), Gone> {
        self.map.since(after, at, emit)
    }
}
