//! Two relations that listen to one fold.
//!
//! # Meaning
//! Each half gets exactly what it would get alone: [`split`] takes apart what [`Both`] put
//! together. A half that is `None` listens to nothing.

use differential_dataflow::difference::{Abelian, Monoid};
use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use schemas::names::Name;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use super::Project;
use crate::{Epoch, Fold};

/// Two projections of one fold, side by side.
pub struct Both<A, B>(pub Option<A>, pub Option<B>);

/// What one of the two said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Either<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

impl<F: Fold, A: Project<F>, B: Project<F>> Project<F> for Both<A, B>
where
    A::Diff: Monoid,
    B::Diff: Monoid,
{
    type Data = Either<A::Data, B::Data>;
    type Diff = (A::Diff, B::Diff);

    fn change(
        &mut self,
        name: &Name,
        old: Option<&F::State>,
        new: &F::State,
        emit: &mut dyn FnMut(Self::Data, Self::Diff),
    ) {
        if let Some(it) = &mut self.0 {
            it.change(name, old, new, &mut |data, diff| first::<F, A, B>(emit, data, diff));
        }
        if let Some(it) = &mut self.1 {
            it.change(name, old, new, &mut |data, diff| second::<F, A, B>(emit, data, diff));
        }
    }

    fn change_at(
        &mut self,
        name: &Name,
        old: Option<(&F::State, Epoch)>,
        new: (&F::State, Epoch),
        emit: &mut dyn FnMut(Self::Data, Self::Diff),
    ) {
        if let Some(it) = &mut self.0 {
            it.change_at(name, old, new, &mut |data, diff| first::<F, A, B>(emit, data, diff));
        }
        if let Some(it) = &mut self.1 {
            it.change_at(name, old, new, &mut |data, diff| second::<F, A, B>(emit, data, diff));
        }
    }

    fn asks_again(&self) -> bool {
        self.0.as_ref().is_some_and(A::asks_again) || self.1.as_ref().is_some_and(B::asks_again)
    }

    fn again(
        &mut self,
        name: &Name,
        state: &F::State,
        emit: &mut dyn FnMut(Self::Data, Self::Diff),
    ) {
        if let Some(it) = &mut self.0 {
            it.again(name, state, &mut |data, diff| first::<F, A, B>(emit, data, diff));
        }
        if let Some(it) = &mut self.1 {
            it.again(name, state, &mut |data, diff| second::<F, A, B>(emit, data, diff));
        }
    }

    fn was_told_again(&mut self) {
        self.0.iter_mut().for_each(A::was_told_again);
        self.1.iter_mut().for_each(B::was_told_again);
    }

    fn seal(&mut self, emit: &mut dyn FnMut(Self::Data, Self::Diff)) {
        if let Some(it) = &mut self.0 {
            it.seal(&mut |data, diff| first::<F, A, B>(emit, data, diff));
        }
        if let Some(it) = &mut self.1 {
            it.seal(&mut |data, diff| second::<F, A, B>(emit, data, diff));
        }
    }
}

type Emit<'e, F, A, B> =
    dyn FnMut(<Both<A, B> as Project<F>>::Data, <Both<A, B> as Project<F>>::Diff) + 'e;

fn first<F: Fold, A: Project<F>, B: Project<F>>(
    emit: &mut Emit<'_, F, A, B>,
    data: A::Data,
    diff: A::Diff,
) where
    A::Diff: Monoid,
    B::Diff: Monoid,
{
    emit(Either::First(data), (diff, B::Diff::zero()));
}

fn second<F: Fold, A: Project<F>, B: Project<F>>(
    emit: &mut Emit<'_, F, A, B>,
    data: B::Data,
    diff: B::Diff,
) where
    A::Diff: Monoid,
    B::Diff: Monoid,
{
    emit(Either::Second(data), (A::Diff::zero(), diff));
}

/// A collection.
type Of<'s, D, R> = VecCollection<'s, Epoch, D, R>;

/// What each half said, by itself.
pub fn split<'s, A, B, RA, RB>(
    both: Of<'s, Either<A, B>, (RA, RB)>,
) -> (Of<'s, A, RA>, Of<'s, B, RB>)
where
    A: ExchangeData,
    B: ExchangeData,
    RA: Abelian + ExchangeData,
    RB: Abelian + ExchangeData,
{
    let one = both.inner.clone().flat_map(|(data, epoch, (diff, _))| match data {
        Either::First(data) => Some((data, epoch, diff)),
        Either::Second(_) => None,
    });
    let other = both.inner.flat_map(|(data, epoch, (_, diff))| match data {
        Either::First(_) => None,
        Either::Second(data) => Some((data, epoch, diff)),
    });
    (one.as_collection(), other.as_collection())
}
