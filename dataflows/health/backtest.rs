//! What the bands would have told: recorded history, judged as it was known, beside what came.
//!
//! # Meaning
//! At each cut (an instant) every customer who bought within the year before it is judged as the
//! view's row would have said at that instant, of the events dated before it. *Left* is who buys
//! nothing from the cut on for so many days. Of each band: how many were in it, how many of them
//! left, and the lift: that share over the share of all. The area under the curve is the chance that
//! of one who left and one who stayed the first had the lower score (equal ones count half).
//!
//! Texts are scored by the lexicon: what a model that was learnt later says of them was not known.
//!
//! # State
//! What the view is told, of all events, in memory.

use std::collections::BTreeMap;

use schemas::events::Event;
use schemas::names::{Name, Secret};

use super::facts::{DAY_MS, Said};
use super::{State, Terms, Update, terms};
use crate::catalogue::ViewSet;
use crate::inputs::Updates;

/// Days before a cut in which a customer must have bought: others had left before.
pub const BOUGHT_WITHIN: i64 = 365;
/// Days of history before the first cut.
pub const HISTORY: i64 = 90;
/// Days from one cut to the next.
pub const APART: i64 = 30;

/// Events, on their way to being judged.
#[derive(Default)]
pub struct Backtest {
    updates: Updates,
    /// Event time, milliseconds, and what was told.
    said: BTreeMap<Name, Vec<(i64, Update)>>,
}

/// Of a band.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfBand {
    /// Its name.
    pub name: String,
    /// Customers in it, over all cuts.
    pub n: u64,
    /// Of them left.
    pub n_left: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Instants at which customers were judged, milliseconds.
    pub cuts: Vec<i64>,
    /// By band, from the best to the worst.
    pub bands: Vec<OfBand>,
    /// Score and whether the customer left, each customer at each cut.
    pub judged: Vec<(u8, bool)>,
}

impl Backtest {
    /// One more event. Each is to be told once.
    pub fn add(&mut self, event: &Event<'_>) {
        // Nothing that leaves here depends on the secret.
        self.updates.route(event, &Secret([0; 16]), ViewSet(ViewSet::HEALTH));
        for it in self.updates.health.drain(..) {
            let at = event.time.div_euclid(1_000);
            self.said.entry(it.name).or_default().push((at, it.update));
        }
    }

    /// Judges at every cut after which `within` days are known. `from`: not before this instant,
    /// milliseconds.
    pub fn run(mut self, within: i64, from: Option<i64>) -> Found {
        self.said.values_mut().for_each(|it| it.sort_by_key(|it| it.0));
        let bought = |it: &Update| matches!(it.said, Said::Bought { n: 1.., .. });
        let purchases = || self.said.values().flatten().filter(|it| bought(&it.1)).map(|it| it.0);
        let (Some(first), Some(last)) = (purchases().min(), purchases().max()) else {
            return Found::default();
        };
        let midnight = |at: i64| at.div_euclid(DAY_MS) * DAY_MS;
        let begin = from.unwrap_or(first + HISTORY * DAY_MS);
        // The newest cut is the one of which the days after it are just known.
        let newest = midnight(last + DAY_MS) - within * DAY_MS;
        let mut cuts: Vec<i64> = (0..)
            .map(|it| newest - it * APART * DAY_MS)
            .take_while(|it| *it >= begin && *it > first)
            .collect();
        cuts.reverse();
        let terms = terms();
        let name = |it: &super::Band| OfBand { name: it.name.to_string(), ..OfBand::default() };
        let mut found = Found { bands: terms.bands.iter().map(name).collect(), ..Found::default() };
        for said in self.said.values() {
            let days: Vec<i64> = said.iter().filter(|it| bought(&it.1)).map(|it| it.0).collect();
            judge(said, &days, &cuts, within, &terms, &mut found);
        }
        found.cuts = cuts;
        found
    }
}

/// Judges one customer at each cut.
fn judge(
    said: &[(i64, Update)],
    bought: &[i64],
    cuts: &[i64],
    within: i64,
    terms: &Terms,
    found: &mut Found,
) {
    let (mut state, mut known) = (State::default(), 0);
    for cut in cuts {
        let new = said[known..].partition_point(|it| it.0 < *cut);
        said[known..][..new].iter().for_each(|it| state.take(&it.1));
        known += new;
        let before = bought.partition_point(|it| it < cut);
        let is_customer =
            bought[..before].last().is_some_and(|it| *it >= cut - BOUGHT_WITHIN * DAY_MS);
        let now = u64::try_from(*cut).unwrap_or(0);
        let Some((score, band)) = state.judged(now, terms).filter(|_| is_customer) else {
            continue;
        };
        let left = bought.get(before).is_none_or(|it| *it >= cut + within * DAY_MS);
        found.judged.push((score, left));
        found.bands[band].n += 1;
        found.bands[band].n_left += u64::from(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::events::{Data, Line, OrderPlaced};
    use schemas::names::Currency;

    fn placed(customer: usize, day: i64) -> Event<'static> {
        let line = Line {
            sku: "S".into(),
            quantity: 1,
            unit_price: 100,
            ship_from: None,
            ship_to: None,
            carrier: None,
            seller: None,
        };
        Event {
            tenant: "t".into(),
            source: "s".into(),
            id: format!("{customer}/{day}").into(),
            time: (20_000 + day) * DAY_MS * 1_000 + 43_200_000_000,
            data: Data::OrderPlaced(OrderPlaced {
                order: "O".into(),
                customer: customer.to_string().into(),
                currency: Currency::parse("EUR").unwrap(),
                lines: vec![line],
                promised_at: None,
                channel: None,
            }),
        }
    }

    /// Goal: who stops is told from who goes on, by what was known then, in any order of events;
    /// who left long before is not asked about. Method: a hundred with a rhythm, half of whom stop.
    #[test]
    fn who_stops_is_told() {
        let mut events = Vec::new();
        for customer in 0..100 {
            let until = if customer % 2 == 0 { 300 } else { 150 + customer as i64 % 30 };
            (0..until).step_by(7 + customer % 5).for_each(|it| events.push(placed(customer, it)));
        }
        let found = |events: &[Event<'static>]| {
            let mut it = Backtest::default();
            events.iter().for_each(|event| it.add(event));
            it.run(60, None)
        };
        let one = found(&events);
        events.reverse();
        let two = found(&events);
        assert_eq!((&one.bands, &one.cuts), (&two.bands, &two.cuts));
        assert_eq!(one.bands.iter().map(|it| it.n).sum::<u64>(), one.judged.len() as u64);
        assert!(one.cuts.len() >= 4, "{:?}", one.cuts);
        let share = |it: &OfBand| it.n_left as f64 / it.n.max(1) as f64;
        let (best, rest) = one.bands.split_first().unwrap();
        let worst = rest.iter().rev().find(|it| it.n > 0).unwrap();
        assert!(share(best) < share(worst), "{:?}", one.bands);
        assert!(found(&[]).judged.is_empty());
    }
}
