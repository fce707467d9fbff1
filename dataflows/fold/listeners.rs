//! The relations that listen to one fold, each at an output of its own.
//!
//! ```text
//!  touched entity ─▶ every projection in turn ─▶ what cancels is taken out ─▶ chunks ─▶ its output
//! ```
//!
//! # Meaning
//! A relation gets what it would get alone. `None` is one that is not there: it hears nothing. What
//! one touch of an entity says is summed up before it is sent, so that what stays as it was costs
//! those who listen nothing; what several entities say at one instant is not: whoever sums over
//! entities does it in [`Project::seal`] or behind the output.
//!
//! # Why this way
//! One output for all would carry records as large as the largest, be sorted as a whole, and be
//! taken apart again (figures: docs/performance.md).

use differential_dataflow::consolidation::consolidate_updates_slice;
use differential_dataflow::{AsCollection, VecCollection};
use schemas::names::Name;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Project;
use crate::{Epoch, Fold};

/// So many records go on together.
const CHUNK: usize = 512;

/// An entity that was touched.
pub struct Seen<'a, S> {
    /// Its name.
    pub name: &'a Name,
    /// Its state before, and the instant at which that was looked at; `None`: it was not there.
    pub old: Option<(&'a S, Epoch)>,
    /// Its state now, and the instant at which it is looked at.
    pub new: (&'a S, Epoch),
}

impl<S> Clone for Seen<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Seen<'_, S> {}

/// All who listen to a fold: a relation, or two such, or nobody.
pub trait Listen<F: Fold>: 'static {
    /// What was said and is not sent yet, and where it goes.
    type Ends: 'static;
    /// What each hears.
    type Said<'s>;

    /// Outputs for each.
    fn ends<'s>(builder: &mut OperatorBuilder<'s, Epoch>) -> (Self::Ends, Self::Said<'s>);
    /// The capabilities, in the order of the outputs.
    fn begin(ends: &mut Self::Ends, capabilities: &mut dyn Iterator<Item = Capability<Epoch>>);
    /// [`Project::change_at`], said of `epoch`.
    fn change(&mut self, ends: &mut Self::Ends, seen: Seen<'_, F::State>, epoch: Epoch);
    /// [`Project::asks_again`].
    fn asks_again(&self) -> bool;
    /// [`Project::again`].
    fn again(&mut self, ends: &mut Self::Ends, name: &Name, state: &F::State, epoch: Epoch);
    /// [`Project::was_told_again`].
    fn was_told_again(&mut self);
    /// [`Project::seal`], and all that was said at the instant goes on.
    fn send(&mut self, ends: &mut Self::Ends, epoch: Epoch);
    /// Nothing will be said of instants before this one; `None`: of any.
    fn downgrade(ends: &mut Self::Ends, frontier: Option<Epoch>);
}

/// Nobody.
impl<F: Fold> Listen<F> for () {
    type Ends = ();
    type Said<'s> = ();

    fn ends<'s>(_: &mut OperatorBuilder<'s, Epoch>) -> ((), ()) {
        ((), ())
    }

    fn begin((): &mut (), _: &mut dyn Iterator<Item = Capability<Epoch>>) {}

    fn change(&mut self, (): &mut (), _: Seen<'_, F::State>, _: Epoch) {}

    fn asks_again(&self) -> bool {
        false
    }

    fn again(&mut self, (): &mut (), _: &Name, _: &F::State, _: Epoch) {}

    fn was_told_again(&mut self) {}

    fn send(&mut self, (): &mut (), _: Epoch) {}

    fn downgrade((): &mut (), _: Option<Epoch>) {}
}

/// Records with the instant at which they are so.
type Records<D, R> = Vec<(D, Epoch, R)>;

/// One relation's end.
pub struct End<D: Clone + 'static, R: Clone + 'static> {
    open: Records<D, R>,
    full: Vec<Records<D, R>>,
    output: OutputBuilder<Epoch, CapacityContainerBuilder<Records<D, R>>>,
    capability: Option<Capability<Epoch>>,
}

impl<D, R> End<D, R>
where
    D: differential_dataflow::ExchangeData,
    R: differential_dataflow::difference::Semigroup + differential_dataflow::ExchangeData,
{
    /// What is said of one thing: summed, and put to the rest.
    fn hear(&mut self, epoch: Epoch, say: impl FnOnce(&mut dyn FnMut(D, R))) {
        let from = self.open.len();
        say(&mut |data, diff| self.open.push((data, epoch, diff)));
        if self.open.len() > from + 1 {
            let left = consolidate_updates_slice(&mut self.open[from..]);
            self.open.truncate(from + left);
        }
        if self.open.len() >= CHUNK {
            let next = Vec::with_capacity(CHUNK + CHUNK / 8);
            self.full.push(std::mem::replace(&mut self.open, next));
        }
    }
}

/// A relation, or none.
impl<F: Fold, P: Project<F>> Listen<F> for Option<P> {
    type Ends = End<P::Data, P::Diff>;
    type Said<'s> = VecCollection<'s, Epoch, P::Data, P::Diff>;

    fn ends<'s>(builder: &mut OperatorBuilder<'s, Epoch>) -> (Self::Ends, Self::Said<'s>) {
        let (output, said) = builder.new_output();
        let output = OutputBuilder::from(output);
        let end = End { open: Vec::new(), full: Vec::new(), output, capability: None };
        (end, said.as_collection())
    }

    fn begin(end: &mut Self::Ends, capabilities: &mut dyn Iterator<Item = Capability<Epoch>>) {
        end.capability = capabilities.next();
    }

    fn change(&mut self, end: &mut Self::Ends, seen: Seen<'_, F::State>, epoch: Epoch) {
        if let Some(it) = self {
            end.hear(epoch, |emit| it.change_at(seen.name, seen.old, seen.new, emit));
        }
    }

    fn asks_again(&self) -> bool {
        self.as_ref().is_some_and(P::asks_again)
    }

    fn again(&mut self, end: &mut Self::Ends, name: &Name, state: &F::State, epoch: Epoch) {
        if let Some(it) = self {
            end.hear(epoch, |emit| it.again(name, state, emit));
        }
    }

    fn was_told_again(&mut self) {
        self.iter_mut().for_each(P::was_told_again);
    }

    fn send(&mut self, end: &mut Self::Ends, epoch: Epoch) {
        if let Some(it) = self {
            end.hear(epoch, |emit| it.seal(emit));
        }
        if end.open.is_empty() && end.full.is_empty() {
            return;
        }
        let Some(capability) = &end.capability else {
            // Held from the start until the input is closed: it can only be missing by a
            // mistake here, and a relation that misses changes must not go on.
            panic!("{}: changes at {epoch} after the end of the input", F::DEF.name);
        };
        let capability = capability.delayed(&epoch);
        let mut output = end.output.activate();
        let mut session = output.session(&capability);
        for mut records in end.full.drain(..) {
            session.give_container(&mut records);
        }
        session.give_iterator(end.open.drain(..));
    }

    fn downgrade(end: &mut Self::Ends, frontier: Option<Epoch>) {
        match (frontier, &mut end.capability) {
            (Some(frontier), Some(capability)) => capability.downgrade(&frontier),
            _ => end.capability = None,
        }
    }
}

/// Both.
impl<F: Fold, A: Listen<F>, B: Listen<F>> Listen<F> for (A, B) {
    type Ends = (A::Ends, B::Ends);
    type Said<'s> = (A::Said<'s>, B::Said<'s>);

    fn ends<'s>(builder: &mut OperatorBuilder<'s, Epoch>) -> (Self::Ends, Self::Said<'s>) {
        let (one, said) = A::ends(builder);
        let (other, also) = B::ends(builder);
        ((one, other), (said, also))
    }

    fn begin(ends: &mut Self::Ends, capabilities: &mut dyn Iterator<Item = Capability<Epoch>>) {
        A::begin(&mut ends.0, capabilities);
        B::begin(&mut ends.1, capabilities);
    }

    fn change(&mut self, ends: &mut Self::Ends, seen: Seen<'_, F::State>, epoch: Epoch) {
        self.0.change(&mut ends.0, seen, epoch);
        self.1.change(&mut ends.1, seen, epoch);
    }

    fn asks_again(&self) -> bool {
        self.0.asks_again() || self.1.asks_again()
    }

    fn again(&mut self, ends: &mut Self::Ends, name: &Name, state: &F::State, epoch: Epoch) {
        self.0.again(&mut ends.0, name, state, epoch);
        self.1.again(&mut ends.1, name, state, epoch);
    }

    fn was_told_again(&mut self) {
        self.0.was_told_again();
        self.1.was_told_again();
    }

    fn send(&mut self, ends: &mut Self::Ends, epoch: Epoch) {
        self.0.send(&mut ends.0, epoch);
        self.1.send(&mut ends.1, epoch);
    }

    fn downgrade(ends: &mut Self::Ends, frontier: Option<Epoch>) {
        A::downgrade(&mut ends.0, frontier);
        B::downgrade(&mut ends.1, frontier);
    }
}
