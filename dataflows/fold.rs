//! The one operator of kind *fold*: the state machines of all entities of a view, in the served map.
//!
//! In: updates, addressed. Out: the served map, and what changed, projected for each relation.
//!
//! ```text
//!  updates ─exchange by key─▶ pending, by epoch ─┐
//!                       timers, by due instant ──┴─▶ instants below the frontier, in order:
//!      apply in place · fire · project old and new ─▶ what changed at that instant, per relation
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
//! If `next_due(state, epoch)` of an entity's newest version is some instant, a timer is pending for
//! it or for an earlier one ([`timers`]). One that fires when the entity is not due does nothing but
//! wait on until it is.
//!
//! # State
//! The map's own, the updates of epochs not yet complete, 8 bytes per pending timer. Timers are
//! not stored: states that were loaded are asked again at the start, and shown to the relation.

mod listeners; // the relations that listen to one fold
pub(crate) mod timers; // what wakes an entity when only time passes

use std::collections::BTreeMap;
use std::sync::Arc;

pub use listeners::{Listen, Seen};

use differential_dataflow::difference::Abelian;
use schemas::names::Name;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

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

/// Exchanges updates by entity, applies each epoch in place in the served map when the frontier
/// has passed it, fires timers at their exact instants, publishes this worker's lane to the
/// clock, and hands what changed to those who listen. The stream has no records: it says how far
/// the fold is.
///
/// At frontier `f` the epochs up to `f - 1` are applied, and every timer due up to then has
/// fired at its own instant (`epoch == due`).
///
/// At an instant with an erasure the states of those who are erased are emptied; what comes about
/// them later is taken in and emptied within the same instant. See [`crate::erased`].
pub fn fold<'s, F: Fold, L: Listen<F>>(
    updates: Stream<'s, Epoch, Vec<Addressed<F::Update>>>,
    map: Arc<Served<F>>,
    worker: usize,
    listener: L,
) -> (Stream<'s, Epoch, Vec<()>>, L::Said<'s>) {
    let by_key = Exchange::new(|it: &Addressed<F::Update>| route(it.key));
    let mut builder = OperatorBuilder::new(format!("fold {}", F::DEF.name), updates.scope());
    let mut input = builder.new_input(updates, by_key);
    let (_, done) = builder.new_output();
    let (mut ends, said) = L::ends(&mut builder);
    builder.build(move |capabilities| {
        let mut capabilities = capabilities.into_iter();
        let first = capabilities.next();
        L::begin(&mut ends, &mut capabilities);
        let mut step = Step::<F, L>::new(map, worker, (listener, ends), first);
        move |frontiers| {
            input.for_each(|capability, updates| {
                let of_epoch = step.pending.entry(*capability.time()).or_default();
                of_epoch.push(std::mem::take(updates));
            });
            step.run(frontiers[0].frontier().first().copied());
        }
    });
    (done, said)
}

/// The operator's state.
struct Step<F: Fold, L: Listen<F>> {
    pending: BTreeMap<Epoch, Vec<Vec<Addressed<F::Update>>>>,
    writer: Writer<F>,
    watch: Watch<F, L>,
    /// Of the output that says how far this is.
    done: Option<Capability<Epoch>>,
    /// The first instant that is not yet applied.
    open: Epoch,
    /// Entities of the map before the first step.
    loaded: Option<(Arc<Served<F>>, usize)>,
    /// Whom it looks for among its states.
    erased: Option<Watched>,
}

/// What looks at each touched entity: timers and those who listen.
struct Watch<F: Fold, L: Listen<F>> {
    timers: Timers,
    listener: L,
    ends: L::Ends,
    /// Others make something of the states.
    looked_on: bool,
}

impl<F: Fold, L: Listen<F>> Watch<F, L> {
    fn see(&mut self, epoch: Epoch, touch: Touch<'_, F::State>) {
        if let Some(due) = served::due::<F>(touch.name, touch.new, epoch, self.looked_on) {
            let had = touch.old.and_then(|(state, since)| {
                served::due::<F>(touch.name, state, since, self.looked_on)
            });
            if due > epoch {
                self.timers.schedule((due, had), epoch, touch.place);
            }
        }
        let seen = Seen { name: touch.name, old: touch.old, new: (touch.new, epoch) };
        self.listener.change(&mut self.ends, seen, epoch);
    }

    /// After an erasure: shows every entity of this worker to a projection that asks for it.
    #[cold]
    fn look_again(&mut self, writer: &Writer<F>, epoch: Epoch) {
        let Watch { listener, ends, .. } = self;
        if !listener.asks_again() {
            return;
        }
        writer.each_newest(|name, state| listener.again(ends, name, state, epoch));
        listener.was_told_again();
    }
}

impl<F: Fold, L: Listen<F>> Step<F, L> {
    fn new(
        map: Arc<Served<F>>,
        worker: usize,
        (listener, ends): (L, L::Ends),
        first: Option<Capability<Epoch>>,
    ) -> Step<F, L> {
        Step {
            erased: map.erased().filter(|_| F::OWNED).map(Watched::new),
            pending: BTreeMap::new(),
            writer: Writer::new(map.clone(), worker),
            watch: Watch {
                timers: Timers::default(),
                listener,
                ends,
                looked_on: map.is_looked_on(),
            },
            done: first,
            open: 0,
            loaded: Some((map, worker)),
        }
    }

    /// Applies what is complete; `None`: the input is closed.
    fn run(&mut self, frontier: Option<Epoch>) {
        let last = self.pending.last_key_value().map_or(0, |it| it.0 + 1);
        let end = frontier.unwrap_or(last.max(self.open));
        if end <= self.open && frontier.is_some() {
            return;
        }
        self.writer.begin();
        if let Some((map, worker)) = self.loaded.take() {
            self.show_loaded(&map, worker);
        }
        let (mut due, mut early) = (Vec::new(), Vec::new());
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
                writer.fire(epoch, &due, &mut early, &mut |touch| watch.see(epoch, touch));
                watch.timers.put_off(&mut early);
            }
            // Last: what was touched at this instant is settled already, and is shown once.
            if erased.as_mut().is_some_and(|it| it.take(epoch)) {
                writer.erase(epoch, &mut |touch| watch.see(epoch, touch));
                watch.look_again(writer, epoch);
            }
            writer.finish(epoch);
            self.watch.listener.send(&mut self.watch.ends, epoch);
        }
        if end > self.open {
            self.open = end;
            self.writer.end(end - 1);
        }
        L::downgrade(&mut self.watch.ends, frontier);
        match (frontier, &mut self.done) {
            (Some(frontier), Some(done)) => done.downgrade(&frontier),
            _ => self.done = None,
        }
    }

    fn next_instant(&mut self, end: Epoch) -> Option<Epoch> {
        let data = self.pending.first_key_value().map(|it| *it.0).filter(|it| *it < end);
        let due = self.watch.timers.next(end);
        let erased = self.erased.as_ref().and_then(|it| it.next(end));
        data.into_iter().chain(due).chain(erased).min()
    }

    /// States that were there before: their timers, and their rows for the relation.
    fn show_loaded(&mut self, map: &Served<F>, worker: usize) {
        let mut newest = 0;
        map.each_newest(worker, |_, _, _, epoch| newest = newest.max(epoch));
        let watch = &mut self.watch;
        map.each_newest(worker, |place, name, state, epoch| {
            if let Some(due) = served::due::<F>(name, state, epoch, watch.looked_on) {
                watch.timers.add(due, place);
            }
            let seen = Seen { name, old: None, new: (state, epoch) };
            watch.listener.change(&mut watch.ends, seen, newest);
        });
        watch.listener.send(&mut watch.ends, newest);
    }
}

#[cfg(test)]
mod tests;
