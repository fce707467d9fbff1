//! The hundred customers with most spend, by currency.
//!
//! ```text
//!  fold customers ─(its own top 100)─▶ reduce by (tenant, currency): the top 100 of all, ranked ─▶ publish
//! ```
//!
//! # Meaning
//! Per (tenant, currency): the customers who spent in it, by spend falling, then by their text;
//! the first [`PLACES`] of them, ranked from 1.
//!
//! # Invariants
//! Each worker keeps the first [`PLACES`] of its own customers exactly, so the first of all are
//! among what the workers give. That needs spend never to fall, and it never does: amounts are
//! not negative, and facts are only added. One who was pushed out can only come back by
//! spending.
//!
//! # Why this way
//! Differential over every customer's spend keeps and sorts hundreds of thousands of records to
//! show a hundred; here it sees only those that enter or leave a worker's hundred.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use differential_dataflow::VecCollection;
use hashbrown::HashMap;
use schemas::events::{Data, Event};
use schemas::names::{Currency, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};

use crate::Epoch;
use crate::customers::{Customers, State};
use crate::fold::Project;
use crate::publish::Relation;

/// How many are shown per currency.
pub const PLACES: usize = 100;

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "top_customers",
    words: "The hundred customers with most spend, by currency.",
    shape: Shape::Relation,
    key: &["currency", "rank"],
    fields: &[
        FieldDef {
            name: "currency",
            kind: FieldKind::Text,
            nullable: false,
            filterable: true,
            words: "ISO 4217.",
        },
        FieldDef {
            name: "rank",
            kind: FieldKind::Int,
            nullable: false,
            filterable: false,
            words: "From 1; in the key with three digits. Of equal spend the first by text is first.",
        },
        FieldDef {
            name: "customer",
            kind: FieldKind::Text,
            nullable: false,
            filterable: true,
            words: "The customer.",
        },
        FieldDef {
            name: "spend",
            kind: FieldKind::Int,
            nullable: false,
            filterable: false,
            words: "Amounts placed, minor units of the currency; 9223372036854775807 means at least \
                    that.",
        },
    ],
};

/// The relation.
pub struct TopCustomers;

/// Tenant and currency.
pub type Group = (CompactString, Currency);

/// Spend and customer, the first first.
pub type Candidate = (Reverse<i64>, CompactString);

/// What differential computes: a group, a rank and who holds it.
pub type Record = (Group, (u16, Candidate));

/// The first [`PLACES`] of this worker's customers.
#[derive(Default)]
pub struct Candidates {
    groups: HashMap<Group, BTreeSet<Candidate>, foldhash::fast::FixedState>,
    /// Groups that lost one of theirs while somebody stood behind them: who follows is not known
    /// but by looking at everybody.
    lost: Vec<Group>,
}

impl Project<Customers> for Candidates {
    type Data = (Group, Candidate);
    type Diff = isize;

    #[inline]
    fn change(
        &mut self,
        name: &Name,
        old: Option<&State>,
        new: &State,
        emit: &mut dyn FnMut((Group, Candidate), isize),
    ) {
        if old.is_some_and(|it| it.spend.is_same_as(&new.spend)) {
            return;
        }
        if !<Customers as crate::Fold>::exists(new) {
            for (currency, spend) in old.into_iter().flat_map(|it| it.spend.each()) {
                self.erased(name, currency, spend, emit);
            }
            return;
        }
        for (currency, spend) in new.spend.each() {
            let before = old.and_then(|it| it.spend.get(currency));
            if before != Some(spend) {
                self.moved(name, currency, before, spend, emit);
            }
        }
    }

    fn asks_again(&self) -> bool {
        !self.lost.is_empty()
    }

    fn again(
        &mut self,
        name: &Name,
        state: &State,
        emit: &mut dyn FnMut((Group, Candidate), isize),
    ) {
        for (currency, spend) in state.spend.each() {
            let is_it = |it: &Group| it.1 == currency && it.0 == name.tenant();
            if self.lost.iter().any(is_it) {
                self.moved(name, currency, Some(spend), spend, emit);
            }
        }
    }

    fn was_told_again(&mut self) {
        self.lost.clear();
    }
}

impl Candidates {
    #[cold]
    fn erased(
        &mut self,
        name: &Name,
        currency: Currency,
        spend: i64,
        emit: &mut dyn FnMut((Group, Candidate), isize),
    ) {
        let group = (CompactString::from(name.tenant()), currency);
        let Some(first) = self.groups.get_mut(&group) else { return };
        let was_full = first.len() >= PLACES;
        let candidate = (Reverse(spend), crate::key_id(name));
        if first.remove(&candidate) {
            emit((group.clone(), candidate), -1);
            if was_full && !self.lost.contains(&group) {
                self.lost.push(group);
            }
        }
    }

    fn moved(
        &mut self,
        name: &Name,
        currency: Currency,
        before: Option<i64>,
        spend: i64,
        emit: &mut dyn FnMut((Group, Candidate), isize),
    ) {
        debug_assert!(before.is_none_or(|it| it <= spend), "spend never falls");
        let group = (CompactString::from(name.tenant()), currency);
        let first = self.groups.entry(group.clone()).or_default();
        let full = first.len() >= PLACES;
        if full && first.last().is_some_and(|it| it.0.0 > spend) {
            return; // Below the last place, hence also before: it is not among them.
        }
        let customer = crate::key_id(name);
        if let Some(before) = before {
            let old = (Reverse(before), customer.clone());
            if first.remove(&old) {
                emit((group.clone(), old), -1);
            }
        }
        let new = (Reverse(spend), customer);
        first.insert(new.clone());
        if first.len() <= PLACES {
            emit((group, new), 1);
            return;
        }
        let out = first.pop_last().expect("more than the places");
        if out != new {
            emit((group.clone(), out), -1);
            emit((group, new), 1);
        }
    }
}

/// The first of all workers' candidates, ranked.
pub fn relate<'s>(
    candidates: VecCollection<'s, Epoch, (Group, Candidate), isize>,
) -> VecCollection<'s, Epoch, Record, isize> {
    candidates.reduce_named("top_customers", |_, all, first| {
        let ranked = (1_u16..).zip(all.iter().take(PLACES));
        first.extend(ranked.map(|(rank, (candidate, _))| ((rank, (*candidate).clone()), 1)));
    })
}

fn row(currency: &str, rank: u16, customer: &str, spend: i64) -> Row {
    Row {
        values: vec![
            Value::Text(currency.into()),
            Value::Int(rank.into()),
            Value::Text(customer.into()),
            Value::Int(spend),
        ],
    }
}

impl Relation for TopCustomers {
    const DEF: &'static ViewDef = &DEF;
    type Record = Record;

    fn name(((tenant, currency), (rank, _)): &Record) -> Name {
        Name::new(tenant, &key_text(&[currency.as_str(), &format!("{rank:03}")]))
    }

    fn row(((_, currency), (rank, (Reverse(spend), customer))): &Record) -> Row {
        row(currency.as_str(), *rank, customer, *spend)
    }
}

/// The view, plainly: everybody's spend, sorted.
pub fn reference(events: &[Event<'static>], _now: Epoch) -> BTreeMap<Name, Row> {
    let mut spend: BTreeMap<(&str, &str, &str), i64> = BTreeMap::new();
    let gone = crate::erased::Plain::of(events);
    for event in events.iter().filter(|it| !gone.names(it)) {
        if let Data::OrderPlaced(it) = &event.data {
            let amount: i64 = it.lines.iter().map(|it| it.quantity * it.unit_price).sum();
            *spend.entry((&event.tenant, it.currency.as_str(), &it.customer)).or_insert(0) +=
                amount;
        }
    }
    let mut groups: BTreeMap<(&str, &str), Vec<(i64, &str)>> = BTreeMap::new();
    for ((tenant, currency, customer), spend) in spend {
        groups.entry((tenant, currency)).or_default().push((-spend, customer));
    }
    let mut rows = BTreeMap::new();
    for ((tenant, currency), mut customers) in groups {
        customers.sort();
        for (rank, (negative, customer)) in (1..=100).zip(customers) {
            let name = Name::new(tenant, &format!("{currency}/{rank:03}"));
            rows.insert(name, row(currency, rank, customer, -negative));
        }
    }
    rows
}
