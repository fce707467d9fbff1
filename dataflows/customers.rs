//! Everything known of each customer: attributes, activity, money, ratings, open cases.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! Each attribute is what the newest statement about it, by (event time, id, source), says; a
//! withdrawal is a statement too. An event is *about* a customer if it names one. Spend is the sum
//! of amounts placed; cancelled and returned amounts are sums of their own, of those events that
//! state an amount. Two `order.placed` of one order both count here: they are two facts; so do two
//! `case.opened` of one case in `n_cases`.
//!
//! A case is open (`n_open_cases`) unless the newest statement that names both it and the customer
//! is its resolution. A statement of a case that names no customer, or another one, cannot be seen
//! here: a case whose resolution named nobody stays counted, and so does one that was opened again
//! for somebody else, until a resolution names this customer. The view `cases` sees every
//! statement; where producers name the customer, the two agree. Test:
//! `tests::open_cases_agree_with_cases`.
//!
//! # Invariants
//! Everything but the attributes and the cases is a sum, a minimum or a maximum. Sums of money
//! saturate: 9223372036854775807 in a row means at least that, and the field's words say so.
//!
//! # State
//! 96 bytes in place; attributes (packed), further currencies, reversals and cases behind one `Arc`
//! each; what was said of who the customer is ([`crate::identity`]) beside the reversals. Of
//! attributes by free name the [`MAX_NAMES`] first, in the order of their text, are kept; of cases
//! the [`MAX_CASES`] spoken of last, by event time. The owner is the customer itself: the entity's
//! own fingerprint, which the map keeps, so [`Fold::owner`] says nothing here. Of one who was erased
//! an empty state is left.

use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Customer, Data, Event, Field};
use schemas::names::{Currency, Fingerprint, Name};
use schemas::rows::{Row, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::erased::Gone;
use crate::identity::known::{self, Known};
use crate::identity::{self, Member};
use crate::stamps::Stamp;
use crate::sums::Sums;
use crate::{Epoch, Fold, near_or_row};

/// Most names of free attributes kept for one customer (withdrawn ones included): eight events of
/// the largest size, all of different names. Which are kept must not depend on the order of
/// arrival, so it is the first ones by text.
pub const MAX_NAMES: usize = 512;

/// The fold.
pub struct Customers;

/// What an event says of a customer whom it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Event time, microseconds since the Unix epoch.
    pub(crate) at: i64,
    pub(crate) said: Said,
}

/// What an event says of a customer, beyond that it names one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// Nothing.
    Seen,
    /// An order was placed.
    Placed(i64, Currency),
    /// An amount of an order was cancelled.
    Cancelled(i64, Currency),
    /// An amount of an order was returned.
    Returned(i64, Currency),
    /// A rating was given.
    Rated(u8),
    /// Something of who they are.
    Known(Arc<known::Said>),
    /// Something of a case.
    Case(Arc<caseload::Said>),
    /// Attributes.
    Attributes(Arc<Attributes>),
}

/// Attributes of one event: each a value, or that there is none any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attributes {
    stamp: Stamp,
    /// By place in [`FIXED`].
    fixed: Vec<(u8, Option<CompactString>)>,
    named: Vec<(CompactString, Option<CompactString>)>,
}

/// The attributes that every customer has, in the order of the row.
const FIXED: usize = 7;
/// The place of the tier among them.
const TIER: usize = 3;

fn fixed<'e>(it: &'e Customer<'_>) -> [&'e Field<'e>; FIXED] {
    [&it.name, &it.email, &it.phone, &it.tier, &it.language, &it.country, &it.time_zone]
}

mod caseload;
mod profile; // the attributes, packed
mod reference;
mod rows;
mod stored;
#[cfg(test)]
mod tests;

pub use caseload::MAX_CASES;
pub use reference::reference;
pub use rows::DEF;

use caseload::{Caseload, Word};
pub(crate) use profile::{Profile, newest_of};
use rows::Facts;

impl Update {
    /// What an event says of the customer it names, if it names one. `amount`: the order's whole
    /// amount, for `order.placed`.
    #[inline]
    pub(crate) fn of<'e>(event: &'e Event<'_>, amount: i64) -> Option<(&'e str, Update)> {
        let case = |case: &str, word| Said::Case(Arc::new(caseload::Said::of(event, case, word)));
        let (customer, said): (&str, Said) = match &event.data {
            Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => {
                (&it.customer, Said::Attributes(Arc::new(Attributes::of(event, it))))
            }
            Data::OrderPlaced(it) => (&it.customer, Said::Placed(amount, it.currency)),
            Data::OrderStatusChanged(it) => (it.customer.as_deref()?, Said::Seen),
            Data::OrderCancelled(it) => {
                let said = it.amount.zip(it.currency).map(|it| Said::Cancelled(it.0, it.1));
                (it.customer.as_deref()?, said.unwrap_or(Said::Seen))
            }
            Data::OrderReturned(it) => {
                let said = it.amount.zip(it.currency).map(|it| Said::Returned(it.0, it.1));
                (it.customer.as_deref()?, said.unwrap_or(Said::Seen))
            }
            Data::FeedbackSubmitted(it) => {
                (it.customer.as_deref()?, it.rating.map_or(Said::Seen, Said::Rated))
            }
            Data::CaseOpened(it) => (&it.customer, case(&it.case, Word::Opened)),
            Data::CaseAssigned(it) => (it.customer.as_deref()?, case(&it.case, Word::Assigned)),
            Data::CaseResolved(it) => (it.customer.as_deref()?, case(&it.case, Word::Resolved)),
            Data::InteractionRecorded(it) => (&it.customer, Said::Seen),
            Data::CustomerIdentified(it) => {
                (&it.customer, Said::Known(Arc::new(known::Said::mark(event, it, true))))
            }
            Data::CustomerUnlinked(it) => {
                (&it.customer, Said::Known(Arc::new(known::Said::mark(event, it, false))))
            }
            Data::CustomerLinkedByHand(it) => {
                let said = known::Said::by_hand(event, it, &it.other, true);
                (&it.customer, Said::Known(Arc::new(said)))
            }
            Data::CustomerSeparatedByHand(it) => {
                let said = known::Said::by_hand(event, it, &it.other, false);
                (&it.customer, Said::Known(Arc::new(said)))
            }
            // What we say of a customer is nothing that the customer did.
            Data::MessagePlanned(_) | Data::MessageAnswered(_) | Data::MessageMarked(_) => {
                return None;
            }
            Data::RecordUpserted(_) | Data::RecordDeleted(_) | Data::LoadMeasured(_) => {
                return None;
            }
            Data::CustomerErased(_) => return None,
            Data::SystemMeasured(_) => return None,
        };
        Some((customer, Update { at: event.time, said }))
    }

    /// The same for the other one of two customers, where an event names two.
    #[inline]
    pub(crate) fn of_other<'e>(event: &'e Event<'_>) -> Option<(&'e str, Update)> {
        let (it, is_one) = match &event.data {
            Data::CustomerLinkedByHand(it) => (it, true),
            Data::CustomerSeparatedByHand(it) => (it, false),
            _ => return None,
        };
        // Nobody is somebody else than they are: what is said of one customer is said once.
        let said = known::Said::by_hand(event, it, &it.customer, is_one);
        let update = Update { at: event.time, said: Said::Known(Arc::new(said)) };
        (it.other != it.customer).then_some((&*it.other, update))
    }
}

impl Attributes {
    fn of(event: &Event<'_>, it: &Customer<'_>) -> Attributes {
        let fixed = fixed(it).into_iter().zip(0..).filter_map(|(field, place)| match field {
            Field::Absent => None,
            Field::Withdrawn => Some((place, None)),
            Field::Is(text) => Some((place, Some(text.as_ref().into()))),
        });
        let named = it
            .attributes
            .iter()
            .map(|(name, value)| (name.as_ref().into(), value.as_deref().map(CompactString::from)));
        let stamp = Stamp::of(event);
        Attributes { stamp, fixed: fixed.collect(), named: named.collect() }
    }
}

/// What is known of a customer.
#[derive(Clone, Debug)]
pub struct State {
    first_seen: i64,
    last_seen: i64,
    n_events: u64,
    n_orders: u64,
    n_ratings: u64,
    rating_sum: u64,
    pub(crate) spend: Sums,
    rare: Option<Arc<Rare>>,
    cases: Option<Arc<Caseload>>,
    profile: Option<Arc<Profile>>,
}

impl Default for State {
    fn default() -> State {
        State {
            first_seen: i64::MAX,
            last_seen: i64::MIN,
            n_events: 0,
            n_orders: 0,
            n_ratings: 0,
            rating_sum: 0,
            spend: Sums::default(),
            rare: None,
            cases: None,
            profile: None,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Rare {
    cancelled: Sums,
    returned: Sums,
    known: Option<Arc<Known>>,
}

impl Fold for Customers {
    type Update = Update;
    type State = State;
    const DEF: &'static ViewDef = &DEF;

    #[inline]
    fn apply(state: &mut State, update: &Update) {
        state.first_seen = state.first_seen.min(update.at);
        state.last_seen = state.last_seen.max(update.at);
        state.n_events += 1;
        match &update.said {
            Said::Seen => {}
            Said::Placed(amount, currency) => {
                state.n_orders += 1;
                state.spend.add(*currency, *amount);
            }
            Said::Cancelled(amount, currency) => state.rare().cancelled.add(*currency, *amount),
            Said::Returned(amount, currency) => state.rare().returned.add(*currency, *amount),
            Said::Rated(rating) => {
                state.n_ratings += 1;
                state.rating_sum += u64::from(*rating);
            }
            Said::Known(said) => {
                Arc::make_mut(state.rare().known.get_or_insert_default()).take(said);
            }
            Said::Case(said) => {
                Arc::make_mut(state.cases.get_or_insert_default()).take(update.at, said);
            }
            Said::Attributes(said) => {
                Arc::make_mut(state.profile.get_or_insert_default()).take(said);
            }
        }
    }

    /// Every statement is an event: a state of none is that of one who was erased.
    #[inline]
    fn exists(state: &State) -> bool {
        state.n_events > 0
    }

    const OWNED: bool = true;

    fn settle(key: Fingerprint, name: &Name, state: &State, gone: &Gone) -> Option<State> {
        if gone.has(key) {
            return Self::exists(state).then(State::default);
        }
        let known = state.known()?.without(name.tenant(), gone)?;
        let mut left = state.clone();
        left.rare().known = known.is_said().then(|| Arc::new(known));
        Some(left)
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        if !Self::exists(state) {
            return None;
        }
        let mut facts = Facts::new(crate::key_id(name));
        if let Some(profile) = &state.profile {
            facts.fixed = profile.all_fixed();
            facts.attributes =
                profile.named().map(|(name, it)| (name.to_string(), it.to_string())).collect();
        }
        facts.seen = (state.first_seen, state.last_seen);
        facts.n_events = state.n_events;
        facts.n_orders = state.n_orders;
        facts.spend = state.spend.each().collect();
        if let Some(it) = &state.rare {
            facts.cancelled = it.cancelled.each().collect();
            facts.returned = it.returned.each().collect();
        }
        facts.n_ratings = state.n_ratings;
        facts.rating_sum = state.rating_sum;
        if let Some(it) = &state.cases {
            (facts.n_cases, facts.n_open_cases) = (it.n_opened, it.n_open());
        }
        Some(facts.row())
    }

    const NEAR: u64 = NEAR;

    fn fields(name: &Name, state: &State, now: Epoch, fields: &[usize], into: &mut Vec<Value>) {
        near_or_row::<Customers>((name, state, now), fields, near, into);
    }

    fn heap_bytes(state: &State) -> usize {
        let rare = |it: &Arc<Rare>| {
            let known = it.known.as_ref().map_or(0, |it| it.heap_bytes());
            16 + size_of::<Rare>() + it.cancelled.heap_bytes() + it.returned.heap_bytes() + known
        };
        state.spend.heap_bytes()
            + state.rare.as_ref().map_or(0, rare)
            + state.cases.as_ref().map_or(0, |it| it.heap_bytes())
            + state.profile.as_ref().map_or(0, |it| it.heap_bytes())
    }
}

/// The fields that [`near`] makes: customer to time_zone, first_seen_at to n_orders, n_ratings to
/// n_cases.
const NEAR: u64 = 0b111_0001_1110_1111_1111;

/// One field of the row of a state, if it is among [`NEAR`].
fn near(name: &Name, state: &State, _now: Epoch, field: usize) -> Option<Value> {
    let count = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
    Some(match field {
        0 => Value::Text(crate::key_id(name)),
        1..=FIXED => {
            let value = state.profile.as_ref().and_then(|it| it.fixed(field - 1));
            value.map_or(Value::Null, |it| Value::Text(it.into()))
        }
        9 => Value::Time(state.first_seen),
        10 => Value::Time(state.last_seen),
        11 => count(state.n_events),
        12 => count(state.n_orders),
        16 => count(state.n_ratings),
        17 => count(state.rating_sum),
        18 => count(state.cases.as_ref().map_or(0, |it| it.n_opened)),
        _ => return None,
    })
}

impl State {
    /// The customer's service tier, for relations.
    #[inline]
    pub(crate) fn tier(&self) -> Option<&str> {
        self.profile.as_ref()?.fixed(TIER)
    }

    /// Surely no attribute was stated between these two versions.
    #[inline]
    pub(crate) fn is_as_told_in(&self, other: &State) -> bool {
        match (&self.profile, &other.profile) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        Arc::make_mut(self.rare.get_or_insert_default())
    }

    /// What was said of who the customer is, if anything was.
    #[inline]
    pub(crate) fn known(&self) -> Option<&Arc<Known>> {
        self.rare.as_ref()?.known.as_ref()
    }

    /// What the row of a person is made of.
    pub(crate) fn member(&self, known: &Arc<Known>) -> Member {
        let (n_cases, n_open) = self.cases.as_ref().map_or((0, 0), |it| (it.n_opened, it.n_open()));
        let (n_orders, n_ratings) = (self.n_orders, self.n_ratings);
        let sums = |it: &Sums| it.each().collect::<Vec<_>>().into();
        let reversed = self.rare.as_ref();
        let money = [
            sums(&self.spend),
            reversed.map_or_else(Box::default, |it| sums(&it.cancelled)),
            reversed.map_or_else(Box::default, |it| sums(&it.returned)),
        ];
        let counts = [self.n_events, n_orders, n_ratings, self.rating_sum, n_cases, n_open];
        Member {
            seen: (self.first_seen, self.last_seen),
            sums: Arc::new(identity::Sums { counts, money }),
            profile: self.profile.clone(),
            known: known.clone(),
        }
    }
}
