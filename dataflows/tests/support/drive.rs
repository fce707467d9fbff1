//! Drives the dataflow as the engine does: dedup, routing, sources, epochs.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataflows::Epoch;
use dataflows::catalogue::{Sources, ViewSet, Views};
use dataflows::dedup::{Dedup, DedupLimits};
use dataflows::inputs::Updates;
use schemas::events::Event;
use schemas::names::{Kind, Name, Secret};
use schemas::reading::Instants;
use schemas::rows::Row;
use timely::worker::Worker;

pub(crate) const SECRET: Secret = Secret(*b"a test's secret!");

pub(crate) fn views(workers: usize) -> Arc<Views> {
    Views::new(ViewSet::all(), workers, SECRET, 64 << 20)
}

pub(crate) fn dedup() -> Dedup {
    Dedup::new(DedupLimits { horizon_ms: 7 * 86_400_000, max_bytes: 64 << 20 })
}

/// Those of a batch that were not there before.
pub(crate) fn fresh<'e>(
    dedup: &Dedup,
    batch: &'e [Event<'static>],
    at: Epoch,
) -> Vec<&'e Event<'static>> {
    let identity =
        |it: &Event<'_>| SECRET.fingerprint(&it.tenant, Kind::Event, &[&it.source, &it.id]);
    let identities: Vec<_> = batch.iter().map(identity).collect();
    let mut fresh = Vec::new();
    dedup.claim(&identities, at, &mut fresh);
    batch.iter().zip(fresh).filter(|it| it.1).map(|it| it.0).collect()
}

/// Applies a batch at an epoch; the next one will be later.
pub(crate) fn apply(sources: &mut Sources, dedup: &Dedup, batch: &[Event<'static>], epoch: Epoch) {
    sources.advance_to(epoch);
    let mut updates = Updates::default();
    for event in fresh(dedup, batch, epoch) {
        updates.route(event, &SECRET, ViewSet::all());
    }
    sources.send(&mut updates);
}

/// Works until everything up to and including this epoch can be read.
pub(crate) fn complete(worker: &mut Worker, sources: &mut Sources, views: &Views, epoch: Epoch) {
    sources.advance_to(epoch + 1);
    let mut steps = 0_u32;
    while views.clock().complete() < epoch {
        worker.step();
        steps += 1;
        assert!(steps < 100_000_000, "epoch {epoch} was never complete");
    }
}

/// Every row of every view, by view.
pub(crate) fn rows(views: &Views, at: Epoch) -> Vec<BTreeMap<Name, Row>> {
    let of_view = |it: &Arc<dyn schemas::reading::ViewReader>| {
        let mut rows = BTreeMap::new();
        let mut take = |name: &Name, row: Row| {
            assert_eq!(rows.insert(name.clone(), row), None, "{name:?} twice");
        };
        it.for_each(at, &mut take).expect("the last complete epoch is kept");
        rows
    };
    views.readers().iter().map(of_view).collect()
}
