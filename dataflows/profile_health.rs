//! How well it stands with each person, all the customers who they are together.
//!
//! ```text
//!  fold health ─ what is known of each ─┐
//!  [`crate::identity`] ─ whose each is ─┴ attached ─▶ grouped by person, added up ─▶ publish (timers)
//! ```
//!
//! # Meaning
//! One row per person of `profiles` of whom there is something to say (as in [`crate::health`]): what
//! the row of `health` would say, were all members one customer. A case of one member and an
//! order of another are the same person's; of what two members say of one order or case the newest
//! stands. Merged and separated again, a person's row is as if they had never been merged
//! (`identity::tests::merged_and_unlinked_is_as_never_merged`).
//!
//! # Invariants
//! Days are the person's own: they begin when a hash of the person's id says, as a customer's do, so
//! time moves the row once a day. Purchases and texts of a day are those that `health` counted under
//! it, by the days of the member: within the hour after midnight UTC they may be a day off.
//!
//! # State
//! Customers of whom nothing was ever said of who they are cost nothing here. Per member: what is
//! known, shared with the fold, and 24 bytes for each of three names and 16 for each of two
//! references in the two tables, twice 24 in the row of the person. Per person the sum, packed as the
//! fold packs it (some 60 bytes for an ordinary one, at most 2 KiB: test `health::tests::sizes`). An
//! event about a member adds up what is known of at most [`identity::Terms::max_members`] of them; the
//! score is made when the row is read.
//!
//! # Why this way
//! The names of the members are in the row so that a table of rows can be searched for a customer
//! who is to be erased: what was said of the person spoke of each of them. Queues hear the band of
//! the customer whose case it is ([`crate::queues`]), not of the person: a case is promised to the
//! customer who opened it, and a wrong link must not move it.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use schemas::events::Event;
use schemas::names::Name;
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::attached::attached;
use crate::fold::Project;
use crate::grouped::{grouped, records};
use crate::health::{self, Health, Packed};
use crate::identity::{self, Who, Whose};
use crate::publish::Relation;
use crate::{Epoch, key_id};

static FIELDS: [FieldDef; 14] = {
    let person = "The person: the id of the member who was seen first.";
    let mut all = health::fields(FieldDef::new("person", FieldKind::Text, false, false, person));
    all[12] = FieldDef::new(
        "n_customers",
        FieldKind::Int,
        false,
        false,
        "Customers who are this person.",
    );
    all[13] = FieldDef::new("customers", FieldKind::Json, false, false, "Their ids, in order.");
    all
};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "profile_health",
    words: "How well it stands with each person, all the customers who they are together: a score, a \
            band, and the strongest reasons.",
    shape: Shape::Relation,
    key: &["person"],
    fields: &FIELDS,
};

/// The relation.
pub struct ProfileHealth;

/// What is known of a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct United {
    person: Who,
    customers: Box<[Who]>,
    facts: Packed,
}

/// What the fold tells: of each customer of whom something was said of who they are, what is known.
pub(crate) struct Told;

impl Project<Health> for Told {
    type Data = (Who, Packed);
    type Diff = isize;

    #[inline]
    fn change(
        &mut self,
        name: &Name,
        old: Option<&health::State>,
        new: &health::State,
        emit: &mut dyn FnMut((Who, Packed), isize),
    ) {
        let (old, new) = (old.and_then(health::State::told), new.told());
        if old.zip(new).is_some_and(|(old, new)| old.is(new)) {
            return;
        }
        for (it, n) in old.map(|it| (it, -1)).into_iter().chain(new.map(|it| (it, 1))) {
            emit((name.clone(), it.clone()), n);
        }
    }
}

/// What is known of each person, added up.
pub(crate) fn relate<'s>(
    told: VecCollection<'s, Epoch, (Who, Packed), isize>,
    whose: Whose<'s>,
) -> VecCollection<'s, Epoch, Arc<United>, isize> {
    let members = attached(told, whose, "told profile_health", |who: &Who, facts, person| {
        Some((Who::clone(person?), (who.clone(), Packed::clone(facts))))
    });
    records(grouped(members, "united profile_health", |person, all| {
        let facts = Packed::united(person, all.iter().map(|it| &it.0.1))?;
        let customers = all.iter().map(|it| it.0.0.clone()).collect();
        Some(Arc::new(United { person: person.clone(), customers, facts }))
    }))
}

fn row(mut values: Vec<Value>, customers: &[Who]) -> Row {
    let mut ids: Vec<_> = customers.iter().map(key_id).collect();
    ids.sort();
    values.push(Value::Int(ids.len() as i64));
    values.push(Value::Json(Json::Array(ids.iter().map(|it| json!(it)).collect())));
    Row { values }
}

impl Relation for ProfileHealth {
    const DEF: &'static ViewDef = &DEF;
    type Record = United;

    fn name(record: &United) -> Name {
        record.person.clone()
    }

    fn row(record: &United) -> Row {
        ProfileHealth::row_at(record, 0)
    }

    fn row_at(record: &United, now: Epoch) -> Row {
        // `Packed::united` makes none of which nothing can be said.
        let values = record.facts.judged(&record.person, now);
        row(values.expect("there is something to say"), &record.customers)
    }

    fn next_due(record: &United, after: Epoch) -> Option<Epoch> {
        record.facts.next_day(after)
    }
}

/// The view, plainly.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let plain = identity::plain(events, now);
    let members: BTreeMap<Name, Vec<Name>> = plain.persons().collect();
    let rows = health::of_persons(events, plain.persons(), now).into_iter();
    rows.map(|(person, values)| {
        let row = row(values, &members[&person]);
        (person, row)
    })
    .collect()
}

#[cfg(test)]
mod tests;
