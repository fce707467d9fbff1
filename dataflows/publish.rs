//! Serves a relation's output in a map of the same kind as a fold's. (owner: dataflows-core)

use std::sync::Arc;

use differential_dataflow::VecCollection;
use schemas::names::Name;
use schemas::rows::{Row, ViewDef};

use crate::Epoch;
use crate::served::Clock;
use schemas::reading::ViewReader;

/// A row type of a relation.
pub trait Relation: Send + Sync + 'static {
    /// Its entry in the catalogue.
    const DEF: &'static ViewDef;
    /// The record that differential computes.
    type Record: differential_dataflow::ExchangeData + Sync;
    /// Where it stands: tenant and key text. At most one record per name after consolidation.
    fn name(record: &Self::Record) -> Name;
    /// Its row.
    fn row(record: &Self::Record) -> Row;
}

/// A relation's map over all workers.
pub struct Published<R: Relation> {
    _relation: std::marker::PhantomData<R>,
}

impl<R: Relation> Published<R> {
    /// A map for this many workers; lanes `first_lane..first_lane + workers` of the clock.
    pub fn new(_workers: usize, _clock: Arc<Clock>, _first_lane: usize) -> Arc<Self> {
        todo!()
    }
    /// As readers see it.
    pub fn reader(self: &Arc<Self>) -> Arc<dyn ViewReader> {
        todo!()
    }
    /// Consolidated records whose multiplicity was not one (negative, or two rows under one
    /// name): an alarm, never a row.
    pub fn anomalies(&self) -> u64 {
        todo!()
    }
}

/// Consolidates each complete epoch of a relation and writes it to its map, by name.
pub fn publish<'s, R: Relation>(
    _records: VecCollection<'s, Epoch, R::Record, isize>,
    _map: Arc<Published<R>>,
    _worker: usize,
) {
    todo!()
}
