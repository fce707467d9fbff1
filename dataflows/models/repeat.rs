//! Who buys again: the chance that a customer does within some days, by what they bought before.
//!
//! In: [`Purchases`] of each customer, whole numbers by day. Out: [`Repeat`], fitted as of a day;
//! the chance of each customer.
//!
//! # Meaning
//! Five inputs, each the logarithm of one more than: the days since the last purchase; those as
//! multiples of the customer's own rhythm (the mean gap, with one gap of [`RHYTHM`] added); the days
//! with a purchase; the money spent; the days with a purchase, half for every [`FADES`] that one lies
//! back. A small logistic layer says what they mean: it is fitted on the same customers as of earlier
//! days ([`CUTS`] of them, [`APART`] apart), by who did buy within as many days then. Days count, not
//! orders: who orders three times in an hour has come once.
//!
//! # Invariants
//! A pure function of whole numbers, in the order of the customers: the same bits for any order of
//! events. Nothing of the day itself or later is looked at.
//!
//! # Why this way
//! More inputs and forests of trees were not nearer; what is not known before (a company's rhythm)
//! is learnt from its own past. While there is too little of that, the faded days alone say who is
//! likelier.

use std::collections::BTreeMap;

use super::layer::Layer;

/// Inputs.
const INPUTS: usize = 5;
/// Names of the inputs, as shown.
pub const NAMES: [&str; INPUTS] = [
    "days since the last purchase",
    "the same in own gaps",
    "days with a purchase",
    "money spent",
    "recent days with a purchase",
];
/// A gap, in days, that everybody is given beside the own ones.
const RHYTHM: f64 = 60.0;
/// Days after which a purchase counts half.
const FADES: f64 = 45.0;
/// Earlier days as of which the layer is fitted.
const CUTS: i64 = 6;
/// Days between them.
const APART: i64 = 14;
/// Days of history that an earlier day needs before it.
const HISTORY: i64 = 30;
/// What the weights are held back by.
const HELD: f64 = 1.0;
/// Days after which a purchase counts half, where nothing could be fitted.
const FADES_COLD: f64 = 150.0;

/// What a customer bought, by day since the Unix epoch: orders, and minor units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Purchases(BTreeMap<i64, (i64, i64)>);

impl Purchases {
    /// So many more orders on a day (less, if negative), of this amount together.
    pub fn add(&mut self, day: i64, n: i64, amount: i64) {
        let sums = self.0.entry(day).or_default();
        *sums = (sums.0.saturating_add(n), sums.1.saturating_add(amount));
        if sums.0 == 0 {
            self.0.remove(&day);
        }
    }

    /// Whether something was bought from one day on and before another.
    pub fn within(&self, from: i64, before: i64) -> bool {
        self.0.range(from..before).next().is_some()
    }

    /// The inputs as of a day; none where nothing was bought before.
    fn inputs(&self, at: i64) -> Option<[f64; INPUTS]> {
        let mut before = self.0.range(..at);
        let (first, last) = (*before.clone().next()?.0, *before.next_back()?.0);
        let (mut days, mut money, mut recent) = (0.0, 0.0, 0.0);
        for (day, (_, amount)) in self.0.range(..at) {
            days += 1.0;
            money += amount.max(&0).to_owned() as f64;
            recent += (-((at - day) as f64) / FADES).exp2();
        }
        let since = (at - last) as f64;
        let rhythm = ((last - first) as f64 + RHYTHM) / days;
        Some([since, since / rhythm, days, money / 100.0, recent].map(f64::ln_1p))
    }

    /// The days with a purchase, faded.
    fn cold(&self, at: i64) -> Option<f64> {
        let faded = |it: (&i64, _)| (-((at - it.0) as f64) / FADES_COLD).exp2();
        let recent: f64 = self.0.range(..at).map(faded).sum();
        (recent > 0.0).then(|| recent / (1.0 + recent))
    }
}

/// Says who buys again, as of a day.
#[derive(Clone, Debug)]
pub struct Repeat {
    at: i64,
    /// None where there is too little to fit.
    layer: Option<Layer>,
}

impl Repeat {
    /// Fitted on these customers as of earlier days, for buying again within some days.
    pub fn fit(customers: &[&Purchases], at: i64, within: i64) -> Repeat {
        let starts = customers.iter().filter_map(|it| it.0.first_key_value());
        let start = starts.map(|it| *it.0).min().unwrap_or(at);
        // As far back as there is history on both sides, and not further than half of it.
        let within = within.clamp(1, ((at - start) / 2).max(1));
        let cuts = (0..CUTS).map(|it| at - within - it * APART);
        let (mut rows, mut came) = (Vec::new(), Vec::new());
        for cut in cuts.filter(|it| *it >= start + HISTORY) {
            for it in customers {
                if let Some(inputs) = it.inputs(cut) {
                    rows.extend(inputs);
                    came.push(u8::from(it.within(cut, cut + within)));
                }
            }
        }
        let is_told = came.contains(&0) && came.contains(&1);
        let layer = is_told.then(|| Layer::fit(&rows, &came, INPUTS, 2, HELD));
        Repeat { at, layer }
    }

    /// Whether there was enough to fit.
    pub fn is_fitted(&self) -> bool {
        self.layer.is_some()
    }

    /// The chance that a customer buys again, or, where nothing could be fitted, a number that is
    /// greater where it is likelier; none for who never bought.
    pub fn chance(&self, it: &Purchases) -> Option<f64> {
        let Some(layer) = &self.layer else { return it.cold(self.at) };
        let mut chances = [0.0; 2];
        layer.probabilities(&it.inputs(self.at)?, &mut chances);
        Some(chances[1])
    }

    /// What speaks for or against it, the strongest first: places of [`NAMES`], and how much each
    /// moves the odds' logarithm.
    pub fn reasons(&self, it: &Purchases) -> Vec<(usize, f64)> {
        let Some((layer, inputs)) = self.layer.as_ref().zip(it.inputs(self.at)) else {
            return Vec::new();
        };
        let [none, again] =
            [0, 1].map(|class| &layer.weights[class * (INPUTS + 1) + 1..][..INPUTS]);
        let moves =
            |at: usize| (inputs[at] - layer.mean[at]) * layer.scale[at] * (again[at] - none[at]);
        let mut reasons: Vec<(usize, f64)> = (0..INPUTS).map(|at| (at, moves(at))).collect();
        reasons.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Customers who come every `gap` days, with a start of their own, until some day.
    fn customers(until: i64) -> Vec<Purchases> {
        let every = [7, 20, 45, 90, 400];
        let mut all = Vec::new();
        for (n, gap) in every.into_iter().cycle().take(200).enumerate() {
            let mut it = Purchases::default();
            let start = (n as i64 * 13) % 60;
            (start..until).step_by(gap).for_each(|day| it.add(day, 1, 1_000 + 10 * gap as i64));
            all.push(it);
        }
        all
    }

    /// Goal: who comes often is said to come again, in numbers that fit; nothing of the day or later
    /// is looked at; taken back is as never said. Method: customers with a rhythm each.
    #[test]
    fn who_comes_often_comes_again() {
        let (known, later) = (customers(300), customers(340));
        let fit = |all: &[Purchases]| Repeat::fit(&all.iter().collect::<Vec<_>>(), 300, 40);
        let said = fit(&known);
        assert!(said.is_fitted());
        let (mut right, mut sum, mut came) = (0, 0.0, 0);
        for (known, later) in known.iter().zip(&later) {
            let chance = said.chance(known).unwrap();
            let comes = later.within(300, 340);
            right += usize::from((chance > 0.5) == comes);
            (sum, came) = (sum + chance, came + usize::from(comes));
        }
        assert!(right > 170, "{right} of 200");
        assert!((sum - came as f64).abs() < 20.0, "{sum} expected, {came} came");
        let other = fit(&later);
        for (one, later) in known.iter().zip(&later) {
            assert_eq!(said.chance(one), other.chance(later));
            assert_eq!(said.reasons(one).len(), INPUTS);
        }
        let mut other = known.clone();
        other.iter_mut().for_each(|it| it.add(17, 3, 99));
        other.iter_mut().for_each(|it| it.add(17, -3, -99));
        assert_eq!(other, known);
        // Of three weeks nothing can be learnt: who came more lately is likelier.
        let cold = Repeat::fit(&known.iter().collect::<Vec<_>>(), 21, 40);
        assert!(!cold.is_fitted());
        assert!(cold.chance(&known[0]) > cold.chance(&known[1]));
        assert_eq!(cold.chance(&Purchases::default()), None);
    }
}
