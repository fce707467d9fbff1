//! The one operator of kind *fold*. (owner: dataflows-core)

use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::difference::Abelian;
use schemas::names::Name;
use timely::dataflow::Stream;

use crate::served::Served;
use crate::{Addressed, Epoch, Fold};

/// What a relation takes from a touched entity: retractions for the old state, insertions for
/// the new one, already projected to what the relation needs (empty where nothing changes).
/// `None` is: did not exist before.
pub trait Project<F: Fold>: 'static {
    /// The data of the relation's input.
    type Data: differential_dataflow::ExchangeData;
    /// Its difference: totals ride here.
    type Diff: Abelian + differential_dataflow::ExchangeData;
    /// Called once per touched entity and epoch, old and new evaluated at their own instants.
    fn change(
        &mut self,
        name: &Name,
        old: Option<&F::State>,
        new: &F::State,
        emit: &mut dyn FnMut(Self::Data, Self::Diff),
    );
}

/// No relation listens.
pub struct Nobody;

impl<F: Fold> Project<F> for Nobody {
    type Data = ();
    type Diff = isize;
    fn change(
        &mut self,
        _: &Name,
        _: Option<&F::State>,
        _: &F::State,
        _: &mut dyn FnMut((), isize),
    ) {
    }
}

/// Exchanges updates by entity, applies each epoch in place in the served map when the frontier
/// has passed it, fires timers at their exact instants, publishes this worker's lane to the
/// clock, and hands what changed to the relation.
///
/// At frontier `f` the epochs up to `f - 1` are applied, and every timer due up to then has
/// fired at its own instant (`epoch == due`).
pub fn fold<'s, F: Fold, P: Project<F>>(
    _updates: Stream<'s, Epoch, Vec<Addressed<F::Update>>>,
    _map: Arc<Served<F>>,
    _worker: usize,
    _project: P,
) -> VecCollection<'s, Epoch, P::Data, P::Diff> {
    todo!()
}
