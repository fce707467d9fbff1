//! The one operator of kind *fold*: the state machines of all entities of a view, in the served map.
//!
//! In: updates, addressed. Out: the served map, and what changed, projected for the relations.
//!
//! ```text
//!  updates ─exchange by key─▶ pending, by epoch ─┐
//!                       timers, by due instant ──┴─▶ instants below the frontier, in order:
//!      apply in place · fire · project old and new ─▶ consolidated changes at that instant
//! ```
//!
//! # Meaning
//! At frontier `f` the epochs up to `f - 1` are applied and every timer due up to then has fired at
//! its own instant (`epoch == due`); then the lane publishes `f - 1`. Test:
//! `tests::timers_fire_at_their_instant`.
//!
//! When the input is closed for good there is no more frontier: what was sent is applied, the
//! largest instant seen is published, and timers beyond it do not fire. Time did not pass, it ended.
//!
//! # Invariants
//! If `next_due(state, epoch)` of an entity's newest version is some instant, a timer for it is
//! pending. One that fires when this no longer holds is stale and is dropped; an instant that the
//! version before had too is not scheduled again.
//!
//! # State
//! The map's own, the updates of epochs not yet complete, 16 bytes per pending timer. Timers are
//! not stored: states that were loaded are asked again at the start, and shown to the relation.

mod both; // two relations that listen to one fold
pub(crate) mod timers; // what wakes an entity when only time passes

use std::any::type_name;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use both::{Both, Either, split};

use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::difference::Abelian;
use differential_dataflow::{AsCollection, VecCollection};
use schemas::names::Name;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;

use crate::erased::Watched;
use crate::served::{self, Served, Touch, Writer, route};
use crate::{Addressed, Epoch, Fold};
use timers::Timers;

/// What a relation takes from a touched entity: retractions for the old state, insertions for
/// the new one, already projected to what the relation needs (empty where nothing changes).
/// `None` is: was not there before.
pub trait Project<F: Fold>: 'static {
    /// The data of the relation's input.
    type Data: differential_dataflow::ExchangeData;
    /// Its difference: totals ride here.
    type Diff: Abelian + differential_dataflow::ExchangeData;
    /// Called once per touched entity and epoch. A state without a row (deleted) is given like
    /// any other: `Fold::exists` tells. Runs under the shard's lock: short, no I/O.
    fn change(
        &mut self,
        name: &Name,
        old: Option<&F::State>,
        new: &F::State,
        emit: &mut dyn FnMut(Self::Data, Self::Diff),
    );
    /// The same with the instants at which the two are looked at, for a relation that depends on
    /// what time alone changes.
    fn change_at(
        &mut self,
        name: &Name,
        old: Option<(&F::State, Epoch)>,
        new: (&F::State, Epoch),
        emit: &mut dyn FnMut(Self::Data, Self::Diff),
    ) {
        self.change(name, old.map(|it| it.0), new.0, emit);
    }
    /// Whether an erasure took away what cannot be made up for but by looking at every entity.
    fn asks_again(&self) -> bool {
        false
    }
    /// Then: one of all entities of this worker, as it is now.
    fn again(&mut self, _: &Name, _: &F::State, _: &mut dyn FnMut(Self::Data, Self::Diff)) {}
    /// And that was the last of them.
    fn was_told_again(&mut self) {}
    /// Called once after the last change of an instant: what was summed up over it, so that a
    /// relation of few groups need not emit for each entity.
    fn seal(&mut self, _emit: &mut dyn FnMut(Self::Data, Self::Diff)) {}
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
///
/// At an instant with an erasure the states of those who are erased are emptied; what comes about
/// them later is taken in and emptied within the same instant. See [`crate::erased`].
pub fn fold<'s, F: Fold, P: Project<F>>(
    updates: Stream<'s, Epoch, Vec<Addressed<F::Update>>>,
    map: Arc<Served<F>>,
    worker: usize,
    project: P,
) -> VecCollection<'s, Epoch, P::Data, P::Diff> {
    let name = format!("fold {}", F::DEF.name);
    let by_key = Exchange::new(|it: &Addressed<F::Update>| route(it.key));
    type Out<D, R> = CapacityContainerBuilder<Vec<(D, Epoch, R)>>;
    updates
        .unary_frontier::<Out<P::Data, P::Diff>, _, _, _>(by_key, &name, |first, _| {
            let mut step = Step::<F, P>::new(map, worker, project, first);
            move |(input, frontier), output| {
                input.for_each(|capability, updates| {
                    let of_epoch = step.pending.entry(*capability.time()).or_default();
                    of_epoch.push(std::mem::take(updates));
                });
                let frontier = frontier.frontier().first().copied();
                step.run(frontier, |capability, changes| {
                    output.session(capability).give_iterator(changes.drain(..));
                });
            }
        })
        .as_collection()
}

/// The operator's state.
struct Step<F: Fold, P: Project<F>> {
    pending: BTreeMap<Epoch, Vec<Vec<Addressed<F::Update>>>>,
    writer: Writer<F>,
    watch: Watch<F, P>,
    capability: Option<Capability<Epoch>>,
    /// The first instant that is not yet applied.
    open: Epoch,
    /// Entities of the map before the first step.
    loaded: Option<(Arc<Served<F>>, usize)>,
    /// Whom it looks for among its states.
    erased: Option<Watched>,
}

/// What looks at each touched entity: timers and projection.
struct Watch<F: Fold, P: Project<F>> {
    timers: Timers,
    project: P,
    /// Others make something of the states.
    looked_on: bool,
    changes: Vec<(P::Data, Epoch, P::Diff)>,
}

impl<F: Fold, P: Project<F>> Watch<F, P> {
    fn see(&mut self, epoch: Epoch, touch: Touch<'_, F::State>) {
        if let Some(due) = served::due::<F>(touch.new, epoch, self.looked_on) {
            let had =
                touch.old.and_then(|(state, since)| served::due::<F>(state, since, self.looked_on));
            if had != Some(due) && due > epoch {
                self.timers.add(due, touch.place);
            }
        }
        let changes = &mut self.changes;
        self.project.change_at(touch.name, touch.old, (touch.new, epoch), &mut |data, diff| {
            changes.push((data, epoch, diff));
        });
    }
}

impl<F: Fold, P: Project<F>> Watch<F, P> {
    /// After an erasure: shows every entity of this worker to a projection that asks for it.
    #[cold]
    fn look_again(&mut self, writer: &Writer<F>, epoch: Epoch) {
        let Watch { project, changes, .. } = self;
        if !project.asks_again() {
            return;
        }
        writer.each_newest(|name, state| {
            project.again(name, state, &mut |data, diff| changes.push((data, epoch, diff)));
        });
        project.was_told_again();
    }
}

impl<F: Fold, P: Project<F>> Step<F, P> {
    fn new(map: Arc<Served<F>>, worker: usize, project: P, first: Capability<Epoch>) -> Step<F, P> {
        Step {
            erased: map.erased().filter(|_| F::OWNED).map(Watched::new),
            pending: BTreeMap::new(),
            writer: Writer::new(map.clone(), worker),
            watch: Watch {
                timers: Timers::default(),
                project,
                looked_on: map.is_looked_on(),
                changes: Vec::new(),
            },
            capability: Some(first),
            open: 0,
            loaded: Some((map, worker)),
        }
    }

    /// Applies what is complete; `None`: the input is closed.
    fn run(
        &mut self,
        frontier: Option<Epoch>,
        mut send: impl FnMut(&Capability<Epoch>, &mut Vec<(P::Data, Epoch, P::Diff)>),
    ) {
        let last = self.pending.last_key_value().map_or(0, |it| it.0 + 1);
        let end = frontier.unwrap_or(last.max(self.open));
        if end <= self.open && frontier.is_some() {
            return;
        }
        self.writer.begin();
        if let Some((map, worker)) = self.loaded.take() {
            self.show_loaded(&map, worker, &mut send);
        }
        let mut due = Vec::new();
        while let Some(epoch) = self.next_instant(end) {
            let Step { pending, writer, watch, erased, .. } = self;
            if let Some(erased) = erased {
                writer.settle_by(erased.at(epoch));
            }
            if let Some(batches) = pending.remove(&epoch) {
                let mut see = |touch: Touch<'_, F::State>| watch.see(epoch, touch);
                let apply = |state: &mut F::State, update: &F::Update| {
                    if !F::is_gone(state) {
                        F::apply(state, update);
                    }
                };
                writer.apply(epoch, &batches, &apply, &mut see);
            }
            if watch.timers.next(end) == Some(epoch) {
                watch.timers.take(epoch, &mut due);
                writer.fire(epoch, &due, &mut |touch| watch.see(epoch, touch));
            }
            // Last: what was touched at this instant is settled already, and is shown once.
            if erased.as_mut().is_some_and(|it| it.take(epoch)) {
                writer.erase(epoch, &mut |touch| watch.see(epoch, touch));
                watch.look_again(writer, epoch);
            }
            writer.finish(epoch);
            self.send(epoch, &mut send);
        }
        if end > self.open {
            self.open = end;
            self.writer.end(end - 1);
        }
        match (frontier, &mut self.capability) {
            (Some(frontier), Some(capability)) => capability.downgrade(&frontier),
            _ => self.capability = None,
        }
    }

    fn next_instant(&mut self, end: Epoch) -> Option<Epoch> {
        let data = self.pending.first_key_value().map(|it| *it.0).filter(|it| *it < end);
        let due = self.watch.timers.next(end);
        let erased = self.erased.as_ref().and_then(|it| it.next(end));
        data.into_iter().chain(due).chain(erased).min()
    }

    /// Sends what changed at an instant, summed.
    fn send(
        &mut self,
        epoch: Epoch,
        send: &mut impl FnMut(&Capability<Epoch>, &mut Vec<(P::Data, Epoch, P::Diff)>),
    ) {
        let Watch { changes, project, .. } = &mut self.watch;
        project.seal(&mut |data, diff| changes.push((data, epoch, diff)));
        consolidate_updates(changes);
        if changes.is_empty() {
            return;
        }
        let Some(capability) = &self.capability else {
            // Held from the start until the input is closed: it can only be missing by a
            // mistake here, and a relation that misses changes must not go on.
            panic!("{}: changes at {epoch} after the end of the input", type_name::<F>());
        };
        send(&capability.delayed(&epoch), changes);
    }

    /// States that were there before: their timers, and their rows for the relation.
    fn show_loaded(
        &mut self,
        map: &Served<F>,
        worker: usize,
        send: &mut impl FnMut(&Capability<Epoch>, &mut Vec<(P::Data, Epoch, P::Diff)>),
    ) {
        let mut newest = 0;
        map.each_newest(worker, |_, _, _, epoch| newest = newest.max(epoch));
        let watch = &mut self.watch;
        map.each_newest(worker, |place, name, state, epoch| {
            if let Some(due) = served::due::<F>(state, epoch, watch.looked_on) {
                watch.timers.add(due, place);
            }
            watch.project.change_at(name, None, (state, epoch), &mut |data, diff| {
                watch.changes.push((data, newest, diff));
            });
        });
        self.send(newest, send);
    }
}

#[cfg(test)]
mod tests;
