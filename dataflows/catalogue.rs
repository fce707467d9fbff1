//! Every view: its definition, its dataflow, its reader. (owner: dataflows-views)

use std::sync::Arc;

use schemas::rows::ViewDef;
use timely::dataflow::ProbeHandle;
use timely::worker::Worker;

use crate::Epoch;
use crate::inputs::Updates;
use crate::served::Clock;
use schemas::reading::ViewReader;

/// Every view of this build, in the order of the documentation.
pub fn definitions() -> &'static [&'static ViewDef] {
    todo!()
}

/// A choice of views (the whole catalogue by default). A relation needs the folds it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewSet(pub u32);

impl ViewSet {
    /// Every view.
    pub fn all() -> ViewSet {
        todo!()
    }
    /// These, or the name that is not a view / the fold that a relation lacks, in words.
    pub fn parse(_names: &[&str]) -> Result<ViewSet, String> {
        todo!()
    }
    /// Whether it is among them.
    pub fn contains(self, _name: &str) -> bool {
        todo!()
    }
}

/// The maps of the chosen views over all workers. Made once, before the workers start.
pub struct Views {}

impl Views {
    /// Maps and a clock for this many workers.
    pub fn new(
        _chosen: ViewSet,
        _workers: usize,
        _secret: schemas::names::Secret,
        _undo_max_bytes: u64,
    ) -> Arc<Views> {
        todo!()
    }
    /// The clock of all of them.
    pub fn clock(&self) -> &Arc<Clock> {
        todo!()
    }
    /// As readers see them, in the catalogue's order.
    pub fn readers(&self) -> &[Arc<dyn ViewReader>] {
        todo!()
    }
    /// Multiplicities other than one seen by relations, over all of them.
    pub fn anomalies(&self) -> u64 {
        todo!()
    }
}

/// One worker's end of the dataflow: where updates go in, and how far it has come.
pub struct Sources {}

impl Sources {
    /// Builds the dataflow of the chosen views on this worker.
    pub fn build(_worker: &mut Worker, _views: &Arc<Views>) -> Sources {
        todo!()
    }
    /// Sends (and empties) the updates at the open epoch. Volume counts stay until the epoch is
    /// sealed by `advance_to`, so that they are summed once per epoch.
    pub fn send(&mut self, _updates: &mut Updates) {
        todo!()
    }
    /// Seals the open epoch and opens `epoch` on every input.
    pub fn advance_to(&mut self, _epoch: Epoch) {
        todo!()
    }
    /// The frontier of everything: `less_than(&e)` while some epoch below `e` is not complete.
    pub fn probe(&self) -> &ProbeHandle<Epoch> {
        todo!()
    }
}
