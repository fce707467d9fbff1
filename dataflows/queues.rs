//! Cases that wait, and what is known of the customers who wait.
//!
//! ```text
//!  fold cases ──┬─ cases not resolved, by customer ──────────────────┐
//!               └─ days on which a customer opened cases ─┐          ├ attached ─▶ [`Pressed`]: a case
//!  fold customers ─ tiers ────────────────────────────────┼ grouped ─┘    with its promise and deadline
//!  fold orders ──── orders that are late now ─────────────┤
//!  fold health ──── bands, of who opened cases ───────────┘
//! ```
//!
//! # Meaning
//! A case that was opened and not resolved has a class (severity, its customer's tier, and the band
//! of the customer's health, if the view `health` is kept), a promise (`due_at`: opened_at and the
//! time that [`Terms`] give its class) and a deadline: the promise, brought forward by what is known
//! of the customer *now*. Whoever reads the two relations made of it (`priority_queue`, `sla`) sees
//! the customer as of the same epoch. It is the one whose case it is, also where that one and others
//! are one person.
//!
//! # State
//! - Per customer with a tier, a late order or a case ever: 80 bytes, and 56 for each of tier, band,
//!   late orders, and day on which cases were opened.
//! - Of those who ever opened a case: 168 for what follows from it, and 80 where cases meet it.
//! - Per case not resolved: 136 for what was said of it, 144 with what its customer makes of it, 16
//!   where they meet; 24 for a skill, and of names what is longer than 24.
//!
//! Nothing grows with cases that are resolved but the days. An event about a customer makes the
//! records of their open cases anew, and of no others.
//!
//! # Why this way
//! A customer who opens case upon case changes little here: the new case meets one small record of
//! the customer. Reducing over all of a customer's cases would look at each of them again.

mod asked;
mod terms;

use std::sync::Arc;

use compact_str::CompactString;
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::Epoch;
use crate::attached::attached;
use crate::grouped::{grouped, records};
pub(crate) use asked::{Asked, Bands, Late, Picks, Standing, Tiers, Waits};
pub use asked::{Load, Period};
pub use terms::{Bring, Pressing, Sla, Terms};

/// Whose a case is: tenant and customer.
pub type Key = (CompactString, CompactString);

/// What is said of a customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Known {
    /// Has this tier.
    Tier(CompactString),
    /// Waits for an order that is late.
    Late,
    /// Is of this band of health, and fell from that one.
    Band(CompactString, Option<CompactString>),
    /// Opened a case on this day since 1970.
    Day(i64),
}

/// What is known of a customer who has opened a case: of one customer, whoever else they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Person {
    /// Service tier.
    pub tier: Option<CompactString>,
    /// Band of health, if it is known.
    pub band: Option<CompactString>,
    /// The better band of which they were one, two, three or four weeks before.
    pub fell_from: Option<CompactString>,
    /// An order of theirs is late.
    pub is_late: bool,
    /// From and to: days that lie in a week in which three cases were opened.
    pub crowded: Vec<(i64, i64)>,
}

/// A case that is not resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) case: CompactString,
    pub(crate) queue: CompactString,
    pub(crate) severity: u8,
    pub(crate) skills: Vec<CompactString>,
    /// Microseconds since the Unix epoch, as the next.
    pub(crate) opened_at: i64,
    /// Who works on it, and since when.
    pub(crate) agent: Option<(CompactString, i64)>,
}

/// A case that is not resolved, with what its customer makes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pressed {
    tenant: CompactString,
    customer: CompactString,
    open: Arc<Open>,
    pub(crate) class: CompactString,
    /// Promised to be begun by then.
    pub(crate) due_at: i64,
    /// From then on it is due soon.
    pub(crate) soon_at: i64,
    /// Its place in the queue.
    pub(crate) deadline: i64,
    pub(crate) reasons: Vec<CompactString>,
}

/// The figures of the module's doc: a counted one has its two counts beside.
const _: () = {
    assert!(size_of::<(Known, isize)>() <= 56 && size_of::<Key>() <= 48);
    assert!(16 + size_of::<(Key, Person)>() <= 168);
    assert!(16 + size_of::<Open>() <= 136 && 16 + size_of::<Pressed>() <= 144);
};

impl Pressed {
    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    pub(crate) fn customer(&self) -> &CompactString {
        &self.customer
    }

    pub(crate) fn open(&self) -> &Open {
        &self.open
    }

    pub(crate) fn of(
        (tenant, customer): &Key,
        open: &Arc<Open>,
        person: &Person,
        terms: &Terms,
    ) -> Pressed {
        let bring = terms.bring(open.severity, open.opened_at, person);
        Pressed {
            tenant: tenant.clone(),
            customer: customer.clone(),
            open: open.clone(),
            class: bring.class,
            due_at: bring.due_at,
            soon_at: bring.soon_at,
            deadline: bring.deadline,
            reasons: bring.reasons,
        }
    }
}

/// Days of a week.
const WEEK: i64 = 7;
/// So many cases within a week are too many.
const MANY: isize = 3;

/// What is known of a customer, of all that was said with how often.
fn person<'a>(said: impl Iterator<Item = (&'a Known, isize)>) -> Option<Person> {
    let (mut it, mut days) = (Person::default(), Vec::new());
    for (known, n) in said {
        match known {
            Known::Tier(tier) => it.tier = Some(tier.clone()),
            Known::Late => it.is_late = n > 0,
            Known::Band(band, before) => {
                (it.band, it.fell_from) = (Some(band.clone()), before.clone());
            }
            Known::Day(day) => days.push((*day, n)),
        }
    }
    if days.is_empty() {
        return None;
    }
    it.crowded = crowded(&days);
    Some(it)
}

/// The spans of days, of those in order, that lie in a week of too many.
pub fn crowded(days: &[(i64, isize)]) -> Vec<(i64, i64)> {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for (at, (first, _)) in days.iter().enumerate() {
        let week = || days[at..].iter().take_while(|it| it.0 < first + WEEK);
        let Some(last) = week().last().filter(|_| week().map(|it| it.1).sum::<isize>() >= MANY)
        else {
            continue;
        };
        match spans.last_mut().filter(|it| it.1 >= *first) {
            Some(it) => it.1 = it.1.max(last.0),
            None => spans.push((*first, last.0)),
        }
    }
    spans
}

/// What the relations are made from.
pub(crate) struct Streams<'s> {
    pub(crate) open: VecCollection<'s, Epoch, (Key, Arc<Open>), isize>,
    pub(crate) days: VecCollection<'s, Epoch, (Key, i64), isize>,
    pub(crate) tiers: VecCollection<'s, Epoch, (Key, CompactString), isize>,
    pub(crate) late: VecCollection<'s, Epoch, Key, isize>,
    /// None where the view `health` is not kept.
    pub(crate) bands: Option<VecCollection<'s, Epoch, Standing, isize>>,
}

/// Every case that is not resolved, with what its customer makes of it: shared by the relations that
/// show it.
pub(crate) fn relate<'s>(
    streams: Streams<'s>,
    terms: Arc<Terms>,
) -> VecCollection<'s, Epoch, Arc<Pressed>, isize> {
    let Streams { open, days, tiers, late, bands } = streams;
    let mut known = days
        .map(|(key, day)| (key, Known::Day(day)))
        .concat(tiers.map(|(key, tier)| (key, Known::Tier(tier))))
        .concat(late.map(|key| (key, Known::Late)));
    if let Some(bands) = bands {
        known = known.concat(bands.map(|(key, band, before)| (key, Known::Band(band, before))));
    }
    let people = records(grouped(known, "people priority_queue", |key: &Key, said| {
        Some(Arc::new((key.clone(), person(said.iter().map(|it| (&it.0, it.1)))?)))
    }));
    // Shared by who makes it and who meets it: of most people there is none.
    let people = people.map(|it| (it.0.clone(), it));
    attached(open, people, "pressed priority_queue", move |key: &Key, open, person| {
        Some(Arc::new(Pressed::of(key, open, &person?.1, &terms)))
    })
}

#[cfg(test)]
mod tests;
