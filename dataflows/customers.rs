//! Everything known of each customer: attributes, activity, money, ratings, open cases.
//!
//! In: [`Update`]. Out: rows of [`DEF`].
//!
//! # Meaning
//! Each attribute is what the newest statement about it, by (event time, id, source), says; a
//! withdrawal is a statement too. An event is *about* a customer if it names one. Spend is the sum
//! of amounts placed; cancelled and returned amounts are sums of their own, of those events that
//! state an amount. Two `order.placed` of one order both count here: they are two facts.
//!
//! # Invariants
//! Everything but the attributes is a sum, a minimum or a maximum. Sums saturate.
//!
//! # State
//! 96 bytes in place; attributes, further currencies and reversals behind one `Arc` each. Of
//! attributes by free name the [`MAX_NAMES`] first, in the order of their text, are kept. The owner
//! is the customer itself: the entity's own fingerprint, which the map keeps, so [`Fold::owner`]
//! says nothing here.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::{Customer, Data, Event, Field};
use schemas::names::{Currency, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::stamps::{Stamp, text_bytes};
use crate::sums::{Sums, money};
use crate::{Epoch, Fold};

/// Most names of free attributes kept for one customer (withdrawn ones included): eight events of
/// the largest size, all of different names. Which are kept must not depend on the order of
/// arrival, so it is the first ones by text.
pub const MAX_NAMES: usize = 512;

const fn field(
    name: &'static str,
    kind: FieldKind,
    nullable: bool,
    filterable: bool,
    words: &'static str,
) -> FieldDef {
    FieldDef { name, kind, nullable, filterable, words }
}

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "customers",
    words: "Everything known of each customer: attributes, activity, money, ratings, open cases.",
    shape: Shape::Fold,
    key: &["customer"],
    fields: &[
        field("customer", FieldKind::Text, false, false, "The customer."),
        field("name", FieldKind::Text, true, false, "Full name."),
        field("email", FieldKind::Text, true, false, "E-mail address, as written."),
        field("phone", FieldKind::Text, true, false, "Telephone number, as written."),
        field("tier", FieldKind::Text, true, true, "Service tier, such as gold."),
        field("language", FieldKind::Text, true, true, "BCP 47 language tag."),
        field("country", FieldKind::Text, true, true, "ISO 3166-1 alpha-2 country."),
        field("time_zone", FieldKind::Text, true, false, "IANA time zone."),
        field("attributes", FieldKind::Json, false, false, "Anything else, by name."),
        field("first_seen_at", FieldKind::Time, false, false, "Earliest event about the customer."),
        field("last_seen_at", FieldKind::Time, false, false, "Latest event about the customer."),
        field("n_events", FieldKind::Int, false, false, "Events that name the customer."),
        field("n_orders", FieldKind::Int, false, false, "Orders placed."),
        field("spend", FieldKind::Money, false, false, "Amounts placed, by currency."),
        field("cancelled", FieldKind::Money, false, false, "Amounts cancelled, by currency."),
        field("returned", FieldKind::Money, false, false, "Amounts returned, by currency."),
        field("n_ratings", FieldKind::Int, false, false, "Ratings given."),
        field("rating_sum", FieldKind::Int, false, false, "Sum of the ratings given, each 1 to 5."),
        field("n_cases", FieldKind::Int, false, false, "Cases opened."),
        field(
            "n_open_cases",
            FieldKind::Int,
            false,
            false,
            "Cases opened less cases resolved, at least 0.",
        ),
    ],
};

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
    /// A case was opened.
    CaseOpened,
    /// A case was resolved.
    CaseResolved,
    /// Attributes.
    Attributes(Arc<Attributes>),
}

/// Attributes of one event: each a value, or that there is none any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attributes {
    stamp: Arc<Stamp>,
    /// By place in [`FIXED`].
    fixed: Vec<(u8, Option<CompactString>)>,
    named: Vec<(CompactString, Option<CompactString>)>,
}

/// The attributes that every customer has, in the order of the row.
const FIXED: usize = 7;

fn fixed<'e>(it: &'e Customer<'_>) -> [&'e Field<'e>; FIXED] {
    [&it.name, &it.email, &it.phone, &it.tier, &it.language, &it.country, &it.time_zone]
}

mod stored;

impl Update {
    /// What an event says of the customer it names, if it names one. `amount`: the order's whole
    /// amount, for `order.placed`.
    #[inline]
    pub(crate) fn of<'e>(event: &'e Event<'_>, amount: i64) -> Option<(&'e str, Update)> {
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
            Data::CaseOpened(it) => (&it.customer, Said::CaseOpened),
            Data::CaseAssigned(it) => (it.customer.as_deref()?, Said::Seen),
            Data::CaseResolved(it) => (it.customer.as_deref()?, Said::CaseResolved),
            Data::InteractionRecorded(it) => (&it.customer, Said::Seen),
        };
        Some((customer, Update { at: event.time, said }))
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
        let stamp = Arc::new(Stamp::of(event));
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
    n_cases: u32,
    n_resolved: u32,
    pub(crate) spend: Sums,
    reversed: Option<Arc<Reversed>>,
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
            n_cases: 0,
            n_resolved: 0,
            spend: Sums::default(),
            reversed: None,
            profile: None,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Reversed {
    cancelled: Sums,
    returned: Sums,
}

/// The newest statement about each attribute.
#[derive(Clone, Debug, Default)]
struct Profile {
    fixed: [Option<Kept>; FIXED],
    /// Sorted by name.
    named: Vec<(CompactString, Kept)>,
}

#[derive(Clone, Debug)]
struct Kept {
    stamp: Arc<Stamp>,
    value: Option<CompactString>,
}

impl Profile {
    fn take(&mut self, said: &Attributes) {
        let newer = |it: &Kept| it.stamp < said.stamp;
        for (place, value) in &said.fixed {
            let kept = &mut self.fixed[usize::from(*place)];
            if kept.as_ref().is_none_or(newer) {
                *kept = Some(Kept { stamp: said.stamp.clone(), value: value.clone() });
            }
        }
        for (name, value) in &said.named {
            let kept = Kept { stamp: said.stamp.clone(), value: value.clone() };
            match self.named.binary_search_by(|it| it.0.cmp(name)) {
                Ok(at) if newer(&self.named[at].1) => self.named[at].1 = kept,
                Ok(_) => {}
                Err(at) => {
                    self.named.insert(at, (name.clone(), kept));
                    self.named.truncate(MAX_NAMES);
                }
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        let value = |it: &Kept| it.value.as_ref().map_or(0, text_bytes);
        let fixed = self.fixed.iter().flatten().map(value).sum::<usize>();
        let named = self.named.iter().map(|it| text_bytes(&it.0) + value(&it.1)).sum::<usize>();
        // Stamps are shared by the attributes of one event; counted as one per customer.
        let stamp = 16 + size_of::<Stamp>();
        let vector = self.named.capacity() * size_of::<(CompactString, Kept)>();
        16 + size_of::<Profile>() + stamp + fixed + named + vector
    }
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
            Said::Cancelled(amount, currency) => state.reversed().cancelled.add(*currency, *amount),
            Said::Returned(amount, currency) => state.reversed().returned.add(*currency, *amount),
            Said::Rated(rating) => {
                state.n_ratings += 1;
                state.rating_sum += u64::from(*rating);
            }
            Said::CaseOpened => state.n_cases = state.n_cases.saturating_add(1),
            Said::CaseResolved => state.n_resolved = state.n_resolved.saturating_add(1),
            Said::Attributes(said) => {
                Arc::make_mut(state.profile.get_or_insert_default()).take(said);
            }
        }
    }

    fn row(name: &Name, state: &State, _now: Epoch) -> Option<Row> {
        let mut facts = Facts::new(crate::key_id(name));
        if let Some(profile) = &state.profile {
            let value = |it: &Option<Kept>| it.as_ref().and_then(|it| it.value.clone());
            facts.fixed = std::array::from_fn(|place| value(&profile.fixed[place]));
            facts.attributes = profile
                .named
                .iter()
                .filter_map(|(name, kept)| {
                    Some((name.to_string(), kept.value.as_ref()?.to_string()))
                })
                .collect();
        }
        facts.seen = (state.first_seen, state.last_seen);
        facts.n_events = state.n_events;
        facts.n_orders = state.n_orders;
        facts.spend = state.spend.each().collect();
        if let Some(it) = &state.reversed {
            facts.cancelled = it.cancelled.each().collect();
            facts.returned = it.returned.each().collect();
        }
        facts.n_ratings = state.n_ratings;
        facts.rating_sum = state.rating_sum;
        facts.n_cases = state.n_cases.into();
        facts.n_open_cases = state.n_cases.saturating_sub(state.n_resolved).into();
        Some(facts.row())
    }

    fn heap_bytes(state: &State) -> usize {
        let reversed = |it: &Arc<Reversed>| {
            16 + size_of::<Reversed>() + it.cancelled.heap_bytes() + it.returned.heap_bytes()
        };
        state.spend.heap_bytes()
            + state.reversed.as_ref().map_or(0, reversed)
            + state.profile.as_ref().map_or(0, |it| it.heap_bytes())
    }
}

impl State {
    fn reversed(&mut self) -> &mut Reversed {
        Arc::make_mut(self.reversed.get_or_insert_default())
    }
}

/// What a row says.
struct Facts {
    customer: CompactString,
    fixed: [Option<CompactString>; FIXED],
    attributes: BTreeMap<String, String>,
    seen: (i64, i64),
    n_events: u64,
    n_orders: u64,
    spend: BTreeMap<Currency, i64>,
    cancelled: BTreeMap<Currency, i64>,
    returned: BTreeMap<Currency, i64>,
    n_ratings: u64,
    rating_sum: u64,
    n_cases: u64,
    n_open_cases: u64,
}

impl Facts {
    fn new(customer: CompactString) -> Facts {
        Facts {
            customer,
            fixed: Default::default(),
            attributes: BTreeMap::new(),
            seen: (i64::MAX, i64::MIN),
            n_events: 0,
            n_orders: 0,
            spend: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            returned: BTreeMap::new(),
            n_ratings: 0,
            rating_sum: 0,
            n_cases: 0,
            n_open_cases: 0,
        }
    }

    fn row(self) -> Row {
        let count = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
        let attributes = self.attributes.into_iter().map(|it| (it.0, Json::String(it.1)));
        let mut values = Vec::with_capacity(DEF.fields.len());
        values.push(Value::Text(self.customer));
        values.extend(self.fixed.into_iter().map(|it| it.map_or(Value::Null, Value::Text)));
        values.push(Value::Json(Json::Object(attributes.collect::<Map<_, _>>())));
        values.push(Value::Time(self.seen.0));
        values.push(Value::Time(self.seen.1));
        values.push(count(self.n_events));
        values.push(count(self.n_orders));
        for sums in [self.spend, self.cancelled, self.returned] {
            values.push(money(sums.into_iter()));
        }
        let counts = [self.n_ratings, self.rating_sum, self.n_cases, self.n_open_cases];
        values.extend(counts.map(count));
        Row { values }
    }
}

/// The view, plainly: events in the order of (time, id, source), later ones over earlier ones.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut sorted: Vec<&Event<'static>> = events.iter().collect();
    sorted.sort_by_key(|it| (it.time, &it.id, &it.source));
    /// The row, the newest value of each free attribute, cases opened less resolved.
    type Known<'e> = (Facts, BTreeMap<&'e str, Option<&'e str>>, i64);
    let mut all: BTreeMap<(&str, &str), Known<'_>> = BTreeMap::new();
    for event in sorted {
        let customer = match &event.data {
            Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => Some(&it.customer),
            Data::OrderPlaced(it) => Some(&it.customer),
            Data::OrderStatusChanged(it) => it.customer.as_ref(),
            Data::OrderCancelled(it) | Data::OrderReturned(it) => it.customer.as_ref(),
            Data::FeedbackSubmitted(it) => it.customer.as_ref(),
            Data::CaseOpened(it) => Some(&it.customer),
            Data::CaseAssigned(it) => it.customer.as_ref(),
            Data::CaseResolved(it) => it.customer.as_ref(),
            Data::InteractionRecorded(it) => Some(&it.customer),
        };
        let Some(customer) = customer else { continue };
        let (facts, attributes, open) = all
            .entry((&event.tenant, customer))
            .or_insert_with(|| (Facts::new(customer.as_ref().into()), BTreeMap::new(), 0));
        facts.n_events += 1;
        facts.seen = (facts.seen.0.min(event.time), facts.seen.1.max(event.time));
        match &event.data {
            Data::CustomerRegistered(it) | Data::CustomerUpdated(it) => {
                for (place, said) in fixed(it).into_iter().enumerate() {
                    match said {
                        Field::Absent => {}
                        Field::Withdrawn => facts.fixed[place] = None,
                        Field::Is(text) => facts.fixed[place] = Some(text.as_ref().into()),
                    }
                }
                for (name, value) in &it.attributes {
                    attributes.insert(name, value.as_deref());
                }
            }
            Data::OrderPlaced(it) => {
                facts.n_orders += 1;
                let amount: i64 = it.lines.iter().map(|it| it.quantity * it.unit_price).sum();
                *facts.spend.entry(it.currency).or_insert(0) += amount;
            }
            Data::OrderCancelled(it) | Data::OrderReturned(it) => {
                if let (Some(amount), Some(currency)) = (it.amount, it.currency) {
                    let cancelled = matches!(event.data, Data::OrderCancelled(_));
                    let sums = if cancelled { &mut facts.cancelled } else { &mut facts.returned };
                    *sums.entry(currency).or_insert(0) += amount;
                }
            }
            Data::FeedbackSubmitted(it) => {
                facts.n_ratings += u64::from(it.rating.is_some());
                facts.rating_sum += u64::from(it.rating.unwrap_or(0));
            }
            Data::CaseOpened(_) => {
                facts.n_cases += 1;
                *open += 1;
            }
            Data::CaseResolved(_) => *open -= 1,
            _ => {}
        }
    }
    let rows = all.into_iter().map(|((tenant, customer), (mut facts, attributes, open))| {
        let kept = attributes.into_iter().take(MAX_NAMES);
        facts.attributes =
            kept.filter_map(|(name, value)| Some((name.into(), value?.into()))).collect();
        facts.n_open_cases = open.max(0) as u64;
        (Name::new(tenant, &key_text(&[customer])), facts.row())
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: which names are kept does not depend on the order of arrival. Method: more names than
    /// are kept, forth and back.
    #[test]
    fn the_first_names_by_text_are_kept() {
        let said = |n: usize| Attributes {
            stamp: Arc::new(Stamp { at: n as i64, tie: "1\0s".into() }),
            fixed: vec![],
            named: vec![(format!("{n:04}").into(), Some("x".into()))],
        };
        let (mut forth, mut back) = (Profile::default(), Profile::default());
        (0..MAX_NAMES + 9).for_each(|n| forth.take(&said(n)));
        (0..MAX_NAMES + 9).rev().for_each(|n| back.take(&said(n)));
        let names = |it: &Profile| it.named.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&forth), names(&back));
        assert_eq!((names(&back).len(), names(&back)[0].as_str()), (MAX_NAMES, "0000"));
    }

    /// Goal: what is exchanged and kept per customer stays small. Method: the sizes themselves.
    #[test]
    fn sizes() {
        assert!(size_of::<crate::Addressed<Update>>() <= 64);
        assert!(size_of::<State>() <= 96);
    }
}
