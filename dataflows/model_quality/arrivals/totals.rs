//! What orders that arrived add up to, and what that says of who told them.
//!
//! # Meaning
//! Of an order that was promised: the risk of being late that it was told, in whole percent as its
//! row shows it, against whether it came after its promise. The *Brier score* is the mean of (risk -
//! late)², where late is 1 or 0: what is told with certainty and happens is 0, and 250 of a thousand
//! is what always saying even chance comes to (Brier, *Verification of Forecasts Expressed in Terms
//! of Probability*, 1950). The *area under the curve* is the chance that of a late and a punctual
//! order the late one was told the greater risk (Hanley and McNeil, 1982); risks of one band of
//! [`BAND`] percent are told apart by nothing and count half.
//!
//! # Invariants
//! Whole numbers, so that they are the same in any order and what was added can be taken back.
//!
//! # Why this way
//! The area of single risks would be the counts of 101 of them, five times as long, for a few
//! thousandths: bands move it by at most half the pairs within one.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use serde::{Deserialize, Serialize};

/// Percent: so wide is a band of risks.
const BAND: i64 = 5;
/// A certain one is in the last.
const BANDS: usize = 20;

/// Orders, as a difference.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Totals {
    /// How many; or how many stays of them.
    pub(super) n: i64,
    /// Minutes between when they arrived and when they were told to with even chance.
    off: i64,
    /// Those that arrived by when they were told to in nine cases of ten; of stays those without a
    /// longer silence than they were told.
    in_time: i64,
    /// Of those that were promised: percent of risk that they were told.
    risk: i64,
    /// Of those: squared percent between that and what happened.
    squares: i64,
    /// By band of the risk that they were told: those that came by their promise, and after it.
    bands: [[i64; 2]; BANDS],
}

/// What one order was told of its promise, and what became of that.
#[derive(Clone, Copy)]
pub(super) struct Promise {
    /// Percent.
    pub(super) risk: i64,
    pub(super) is_late: bool,
}

impl Totals {
    /// Of one order, or stay.
    pub(super) fn of(off: i64, is_in_time: bool, promise: Option<Promise>) -> Totals {
        let in_time = i64::from(is_in_time);
        let mut one = Totals { n: 1, off, in_time, ..Totals::default() };
        if let Some(Promise { risk, is_late }) = promise {
            let happened = if is_late { 100 } else { 0 };
            one.risk = risk;
            one.squares = (risk - happened) * (risk - happened);
            let band = usize::try_from(risk / BAND).map_or(0, |it| it.min(BANDS - 1));
            one.bands[band][usize::from(is_late)] = 1;
        }
        one
    }

    fn each(&mut self) -> impl Iterator<Item = &mut i64> {
        let Totals { n, off, in_time, risk, squares, bands } = self;
        [n, off, in_time, risk, squares].into_iter().chain(bands.iter_mut().flatten())
    }

    /// The same, taken back.
    pub(super) fn taken_back(mut self) -> Totals {
        self.negate();
        self
    }

    /// Mean error in hours and by p90; how many were promised, the mean risk that they were told, how
    /// many of them came late, the Brier score, the area under the curve: thousandths, and none
    /// without an order to say it of.
    pub(super) fn of_orders(&self) -> [Option<i64>; 7] {
        let [in_time, late] = [0, 1].map(|it| self.bands.iter().map(|band| band[it]).sum::<i64>());
        let promised = in_time + late;
        [
            nearest(self.off, 60 * self.n),
            self.in_time(),
            Some(promised),
            nearest(10 * self.risk, promised),
            nearest(1_000 * late, promised),
            nearest(self.squares, 10 * promised),
            self.area(in_time, late),
        ]
    }

    /// The share that came, or was spoken of, in time.
    pub(super) fn in_time(&self) -> Option<i64> {
        (self.n > 0).then(|| self.in_time * 1_000 / self.n)
    }

    /// The area under the curve.
    fn area(&self, in_time: i64, late: i64) -> Option<i64> {
        let mut below = 0;
        // Twice the pairs that were told the right way round; a million orders squared is a lot.
        let mut won = 0;
        for [in_time, late] in self.bands.map(|it| it.map(i128::from)) {
            won += late * (2 * below + in_time);
            below += in_time;
        }
        let pairs = i128::from(in_time) * i128::from(late);
        (pairs > 0).then(|| (1_000 * won + pairs) / (2 * pairs)).and_then(|it| it.try_into().ok())
    }
}

/// A share, to the next whole number.
fn nearest(sum: i64, of: i64) -> Option<i64> {
    (of > 0).then(|| (sum + of / 2) / of)
}

impl IsZero for Totals {
    #[inline]
    fn is_zero(&self) -> bool {
        *self == Totals::default()
    }
}

impl Semigroup for Totals {
    #[inline]
    fn plus_equals(&mut self, more: &Totals) {
        let mut more = *more;
        for (it, more) in self.each().zip(more.each()) {
            *it = it.checked_add(*more).expect("fewer than 2^63 orders, minutes and squares");
        }
    }
}

impl Monoid for Totals {
    fn zero() -> Totals {
        Totals::default()
    }
}

impl Abelian for Totals {
    fn negate(&mut self) {
        self.each().for_each(|it| *it = -*it);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(risk: i64, is_late: bool) -> Totals {
        Totals::of(0, true, Some(Promise { risk, is_late }))
    }

    fn sum(all: &[Totals]) -> Totals {
        let mut sum = Totals::default();
        all.iter().for_each(|it| sum.plus_equals(it));
        sum
    }

    /// Goal: the figures are those of their definitions. Method: by hand.
    #[test]
    fn by_hand() {
        // 0.2 in time, 0.8 late, 0.5 late, 0.5 in time: squares 0.04, 0.04, 0.25, 0.25.
        let all = [told(20, false), told(80, true), told(50, true), told(50, false)];
        let found = sum(&all).of_orders();
        // Of four pairs three the right way round, and one alike.
        assert_eq!(found[2..], [Some(4), Some(500), Some(500), Some(145), Some(875)]);
        let certain = sum(&[told(0, false), told(100, true)]).of_orders();
        assert_eq!(certain[2..], [Some(2), Some(500), Some(500), Some(0), Some(1_000)]);
        let wrong = sum(&[told(100, false), told(0, true)]).of_orders();
        assert_eq!(wrong[2..], [Some(2), Some(500), Some(500), Some(1_000), Some(0)]);
        // 95 and 100 are of one band; 94 is of another.
        let alike = sum(&[told(95, false), told(100, true)]).of_orders();
        assert_eq!(alike[6], Some(500));
        assert_eq!(sum(&[told(94, false), told(95, true)]).of_orders()[6], Some(1_000));
    }

    /// Goal: what was added can be taken back, and nothing is said of no orders.
    #[test]
    fn nothing_is_left() {
        let without = Totals::of(90, false, None);
        assert_eq!(without.of_orders(), [Some(2), Some(0), Some(0), None, None, None, None]);
        let one = told(35, true);
        assert_eq!(one.of_orders()[6], None, "a late one, and none to compare it with");
        assert!(sum(&[without, one, one.taken_back(), without.taken_back()]).is_zero());
    }
}
