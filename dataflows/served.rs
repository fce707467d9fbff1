//! The multi-version map: a fold's own state, and what readers read. (owner: dataflows-core)

use std::sync::Arc;

use schemas::names::{Fingerprint, Name};
use schemas::reading::{Gone, Instants, MapStats, Page, Pin, ViewReader};
use schemas::rows::{Row, ViewDef};

use crate::{Epoch, Fold};

/// What every view of every worker has applied, the last complete epoch, who reads below it.
/// One per process. A *lane* is one (view, worker).
pub struct Clock {}

impl Clock {
    /// A clock for this many lanes; nothing is complete yet (epoch 0).
    pub fn new(_lanes: usize) -> Arc<Clock> {
        todo!()
    }
    /// This lane has applied everything up to and including `epoch`.
    pub fn publish(&self, _lane: usize, _epoch: Epoch) {
        todo!()
    }
    /// Called with each new complete epoch, from a worker thread; must return at once.
    pub fn on_complete(&self, _call: Box<dyn Fn(Epoch) + Send + Sync>) {
        todo!()
    }
    /// No undo entry at or below this epoch is needed by anyone.
    pub fn floor(&self) -> Epoch {
        todo!()
    }
}

impl Instants for Clock {
    fn complete(&self) -> Epoch {
        todo!()
    }
    fn pin(&self) -> Pin {
        todo!()
    }
    fn lease(&self, _epoch: Epoch, _now_ms: u64, _lease_ms: u64) -> Result<(), Gone> {
        todo!()
    }
    fn expire(&self, _now_ms: u64) {
        todo!()
    }
    fn undo_bytes(&self) -> u64 {
        todo!()
    }
}

/// A fold's map over all workers.
pub struct Served<F: Fold> {
    _fold: std::marker::PhantomData<F>,
}

impl<F: Fold> Served<F> {
    /// A map for this many workers; lanes `first_lane..first_lane + workers` of the clock.
    pub fn new(_workers: usize, _clock: Arc<Clock>, _first_lane: usize) -> Arc<Served<F>> {
        todo!()
    }
    /// Puts a state back at start-up, as of `epoch` (the store comes with a later issue).
    pub fn load(
        &self,
        _worker: usize,
        _key: Fingerprint,
        _name: Name,
        _state: F::State,
        _epoch: Epoch,
    ) {
        todo!()
    }
}

impl<F: Fold> ViewReader for Served<F> {
    fn def(&self) -> &'static ViewDef {
        F::DEF
    }
    fn get(&self, _tenant: &str, _key: &str, _at: Epoch) -> Result<Option<Row>, Gone> {
        todo!()
    }
    fn page(
        &self,
        _tenant: &str,
        _after: Option<&str>,
        _at: Epoch,
        _limit: usize,
        _examine: usize,
        _keep: &mut dyn FnMut(&Row) -> bool,
    ) -> Result<Page, Gone> {
        todo!()
    }
    fn count(&self, _tenant: &str, _at: Epoch) -> u64 {
        todo!()
    }
    fn rows(&self) -> u64 {
        todo!()
    }
    fn changes(
        &self,
        _after: Epoch,
        _upto: Epoch,
        _emit: &mut dyn FnMut(&Name, Option<Row>, Option<Row>),
    ) -> Result<(), Gone> {
        todo!()
    }
    fn for_each(&self, _at: Epoch, _emit: &mut dyn FnMut(&Name, Row)) -> Result<(), Gone> {
        todo!()
    }
    fn stats(&self) -> MapStats {
        todo!()
    }
    fn merge_index(&self) -> bool {
        todo!()
    }
}
