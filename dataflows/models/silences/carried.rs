//! The sums of silences, carried on from one boundary to the next by the orders that changed in
//! between: for who goes through a history, at each of whose midnights reading every order would take
//! days.
//!
//! # Meaning
//! While nothing was read that is of the boundary or later, [`Carried::at`] is the sum of
//! [`super::stays`] of every order as it is. Stays that were ended are the same at every boundary as
//! long as they count; of those that go on the silence grows, so they are added anew each time.
//!
//! # State
//! As [`Silences`], once for all days and once by the day on which a stay was entered; and about 200
//! bytes for each order on its way.

use std::collections::{BTreeMap, HashMap};

use schemas::names::Name;
use schemas::rows::Row;

use super::{LEARNT, Silences, Stay, heard, of_timeline, places, said};

const DAY: i64 = 86_400_000_000;

/// The sums of what changes from one boundary to the next.
#[derive(Default)]
pub struct Carried {
    days: BTreeMap<i64, Silences>,
    /// Of all days.
    ended: Silences,
    stand: HashMap<Name, Stands>,
    /// Stays of days before it count no more.
    first: i64,
}

/// An order on its way.
struct Stands {
    places: [Option<String>; 2],
    stay: Stay,
    /// When something was said last.
    last: i64,
}

impl Carried {
    /// Of nothing yet; `boundary`: a midnight, microseconds, as every one that follows.
    pub fn before(boundary: i64) -> Carried {
        Carried { first: first_of(boundary), ..Carried::default() }
    }

    /// Forgets what counts no more at a later boundary.
    pub fn forget(&mut self, boundary: i64) {
        self.first = first_of(boundary);
        let stay = self.days.split_off(&self.first);
        for gone in std::mem::replace(&mut self.days, stay).values() {
            self.ended.add_all(gone, -1);
        }
    }

    /// An order that was as one row says, and is as another.
    pub fn change(&mut self, name: &Name, was: Option<&Row>, is: Option<&Row>) {
        for (row, n) in [(was, -1), (is, 1)] {
            let Some(row) = row else { continue };
            let (ended, stands) = of_timeline(said(row));
            for stay in ended.iter().filter(|it| day_of(it.entered) >= self.first) {
                let day = self.days.entry(day_of(stay.entered)).or_default();
                day.add(name.tenant(), places(row), stay, n);
                self.ended.add(name.tenant(), places(row), stay, n);
            }
            self.stand.remove(name);
            if let Some((stay, last)) = stands.filter(|_| n > 0) {
                let places = places(row).map(|it| it.map(str::to_string));
                self.stand.insert(name.clone(), Stands { places, stay, last });
            }
        }
    }

    /// The sums as of a boundary.
    pub fn at(&self, boundary: i64) -> Silences {
        let mut sums = self.ended.clone();
        for (name, it) in &self.stand {
            if day_of(it.stay.entered) >= self.first {
                let (mut stay, mut last) = (it.stay, it.last);
                heard(&mut stay, &mut last, boundary);
                sums.add(name.tenant(), it.places.each_ref().map(Option::as_deref), &stay, 1);
            }
        }
        sums
    }
}

fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY)
}

fn first_of(boundary: i64) -> i64 {
    day_of(boundary.saturating_sub(LEARNT))
}
