//! One person out of many customers: who they are, by what, and what they did.
//!
//! ```text
//!  fold customers ─▶ [`identity`] ─▶ its members, by person ─▶ publish
//! ```
//!
//! # Meaning
//! One row per person of whom a statement about identity was made ([`identity`] says who is one).
//! Attributes are what the row of `customers` would say, were all members one customer: the newest
//! statement about each stands, by event time. Counts and sums are those of the members' rows,
//! added up. Merged and separated again, a person's row is as if they had never been merged.
//!
//! # State
//! Per person 32 bytes, and 64 for each member: their name, when they were first seen, and references
//! to what is known of them, which the fold shares. The row is made when it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use schemas::events::Event;
use schemas::names::{Currency, Name};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::customers::newest_of;
use crate::identity::known::Pair;
use crate::identity::{self, Member, Sums, Who};
use crate::publish::Relation;
use crate::stamps::Stamp;
use crate::sums::money;
use crate::{Epoch, customers, key_id};

/// The attributes, in the order of a customer's row.
const ATTRIBUTES: [&str; 7] =
    ["name", "email", "phone", "tier", "language", "country", "time_zone"];

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "profiles",
    words: "One person out of many customers: who they are, by what, and what they did.",
    shape: Shape::Relation,
    key: &["person"],
    fields: &[
        FieldDef::new(
            "person",
            FieldKind::Text,
            false,
            false,
            "The person: the id of the member who was seen first.",
        ),
        FieldDef::new("name", FieldKind::Text, true, false, "Full name, as it was told last."),
        FieldDef::new(
            "email",
            FieldKind::Text,
            true,
            false,
            "E-mail address, as it was told last.",
        ),
        FieldDef::new("phone", FieldKind::Text, true, false, "Telephone number, as told last."),
        FieldDef::new("tier", FieldKind::Text, true, true, "Service tier, as it was told last."),
        FieldDef::new("language", FieldKind::Text, true, true, "BCP 47 language tag, likewise."),
        FieldDef::new("country", FieldKind::Text, true, true, "ISO 3166-1 country, likewise."),
        FieldDef::new("time_zone", FieldKind::Text, true, false, "IANA time zone, likewise."),
        FieldDef::new("attributes", FieldKind::Json, false, false, "Anything else, by name."),
        FieldDef::new("n_members", FieldKind::Int, false, false, "Customers who are this person."),
        FieldDef::new(
            "members",
            FieldKind::Json,
            false,
            false,
            "Their ids, all of them names of this person, the one seen first at the front.",
        ),
        FieldDef::new(
            "identifiers",
            FieldKind::Json,
            false,
            false,
            "Every identifier that a member carries: kind, value, and by whom, as what was given (raw) \
             and in which events.",
        ),
        FieldDef::new(
            "by_hand",
            FieldKind::Json,
            false,
            false,
            "Pairs of members that were linked by hand, when, and by whom.",
        ),
        FieldDef::new("first_seen_at", FieldKind::Time, false, false, "Earliest event about them."),
        FieldDef::new("last_seen_at", FieldKind::Time, false, false, "Latest event about them."),
        FieldDef::new("n_events", FieldKind::Int, false, false, "Events, of all members."),
        FieldDef::new("n_orders", FieldKind::Int, false, false, "Orders placed, likewise."),
        FieldDef::new(
            "spend",
            FieldKind::Money,
            false,
            false,
            "Amounts placed, by currency; 9223372036854775807 means at least that.",
        ),
        FieldDef::new(
            "cancelled",
            FieldKind::Money,
            false,
            false,
            "Amounts cancelled, by currency; 9223372036854775807 means at least that.",
        ),
        FieldDef::new(
            "returned",
            FieldKind::Money,
            false,
            false,
            "Amounts returned, by currency; 9223372036854775807 means at least that.",
        ),
        FieldDef::new("n_ratings", FieldKind::Int, false, false, "Ratings given."),
        FieldDef::new(
            "rating_sum",
            FieldKind::Int,
            false,
            false,
            "Sum of the ratings, each 1 to 5.",
        ),
        FieldDef::new("n_cases", FieldKind::Int, false, false, "How often a case was opened."),
        FieldDef::new("n_open_cases", FieldKind::Int, false, false, "Cases that are open."),
    ],
};

/// The relation.
pub struct Profiles;

/// A person: their members, the one who gives the id first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Person(Box<[(Who, Member)]>);

// The doc's.
const _: () = assert!(16 + size_of::<Person>() <= 32 && size_of::<(Who, Member)>() <= 64);

impl Person {
    /// Of their members, in any order; at least one.
    pub(crate) fn of<'m>(members: impl Iterator<Item = &'m (Who, Member)>) -> Person {
        let mut all: Vec<(Who, Member)> = members.cloned().collect();
        all.sort_by_cached_key(|it| (it.1.seen.0, key_id(&it.0)));
        Person(all.into())
    }

    /// The members, the one who gives the id first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &Who> {
        self.0.iter().map(|it| &it.0)
    }

    /// Each member, with the person that they are.
    pub(crate) fn whose(self: Arc<Self>) -> impl Iterator<Item = (Who, Who)> {
        let person = self.0[0].0.clone();
        (0..self.0.len()).map(move |at| (self.0[at].0.clone(), person.clone()))
    }
}

fn event_of(stamp: &Stamp) -> Json {
    let (id, source) = stamp.tie.split_once('\0').unwrap_or((&stamp.tie, ""));
    json!({ "at": schemas::time::rfc3339(stamp.at), "source": source, "id": id })
}

/// Every identifier that one of the members carries.
fn identifiers(members: &[(Who, Member)]) -> Json {
    let mut all: BTreeMap<(&str, &str), Vec<Json>> = BTreeMap::new();
    for (who, member) in members {
        for it in member.known.marks() {
            let events: Vec<Json> = it.evidence().map(|it| event_of(&it.stamp)).collect();
            let Some(newest) = it.evidence().next() else { continue };
            let raw = newest.raw.as_ref().unwrap_or(&it.value);
            let by = json!({ "customer": key_id(who), "raw": raw, "events": events });
            all.entry((&it.kind, &it.value)).or_default().push(by);
        }
    }
    let each = all
        .into_iter()
        .map(|((kind, value), by)| json!({ "kind": kind, "value": value, "by": by }));
    Json::Array(each.collect())
}

/// The pairs of members that were linked by hand.
fn by_hand(members: &[(Who, Member)]) -> Json {
    let ids: Vec<CompactString> = members.iter().map(|it| key_id(&it.0)).collect();
    let mut pairs: BTreeMap<(&str, &str), &Pair> = BTreeMap::new();
    for ((_, member), id) in members.iter().zip(&ids) {
        for (other, pair) in member.known.by_hand() {
            if pair.is_one && other > id && ids.contains(other) {
                pairs.insert((id, other), pair);
            }
        }
    }
    let each = pairs.into_iter().map(|((a, b), it)| {
        json!({ "customers": [a, b], "agent": it.agent, "event": event_of(&it.stamp) })
    });
    Json::Array(each.collect())
}

impl Relation for Profiles {
    const DEF: &'static ViewDef = &DEF;
    type Record = Person;

    fn name(record: &Person) -> Name {
        record.0[0].0.clone()
    }

    fn row(Person(members): &Person) -> Row {
        let text = |it: Option<&str>| it.map_or(Value::Null, |it| Value::Text(it.into()));
        let count = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
        let profiles = members.iter().filter_map(|it| it.1.profile.as_deref());
        let (fixed, named) = newest_of(profiles);
        let named = named.into_iter().map(|it| (it.0.to_string(), Json::String(it.1.into())));
        let ids: Vec<Json> = members.iter().map(|it| json!(key_id(&it.0))).collect();
        let mut counts = [0_u64; Sums::COUNTS.len()];
        let mut sums: [BTreeMap<Currency, i64>; 3] = Default::default();
        for (_, it) in members.iter() {
            for (sum, it) in counts.iter_mut().zip(it.sums.counts) {
                *sum = sum.saturating_add(it);
            }
            for (sums, it) in sums.iter_mut().zip(&it.sums.money) {
                for (currency, amount) in it {
                    let sum = sums.entry(*currency).or_insert(0);
                    *sum = sum.saturating_add(*amount);
                }
            }
        }
        let [n_events, n_orders, others @ ..] = counts;
        let first = members.iter().map(|it| it.1.seen.0).min();
        let last = members.iter().map(|it| it.1.seen.1).max();
        let mut values = Vec::with_capacity(DEF.fields.len());
        values.push(Value::Text(key_id(&members[0].0)));
        values.extend(fixed.map(text));
        values.push(Value::Json(Json::Object(named.collect::<Map<_, _>>())));
        values.push(count(members.len() as u64));
        values.push(Value::Json(Json::Array(ids)));
        values.push(Value::Json(identifiers(members)));
        values.push(Value::Json(by_hand(members)));
        values.extend([first, last].map(|it| it.map_or(Value::Null, Value::Time)));
        values.extend([n_events, n_orders].map(count));
        values.extend(sums.map(|it| money(it.into_iter())));
        values.extend(others.map(count));
        Row { values }
    }
}

/// The view, plainly: the rows of `customers`, added up by person; attributes as `customers` would
/// say them, had every member told theirs under one id.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let plain = identity::plain(events, now);
    let customers = customers::reference(events, now);
    let at = |name: &str| customers::DEF.position(name).expect("a field of customers");
    let as_one = customers::reference(&plain.as_one(), now);
    let persons = plain.persons().map(|(person, members)| {
        let rows: Vec<&Row> = members.iter().map(|it| &customers[it]).collect();
        let told = as_one.get(&person);
        let field = |name: &str| told.map_or(Value::Null, |it| it.values[at(name)].clone());
        let sum = |name: &str| {
            let each = rows.iter().map(|it| match it.values[at(name)] {
                Value::Int(it) => it,
                _ => 0,
            });
            Value::Int(each.sum())
        };
        let sums = |name: &str| {
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            for row in &rows {
                let Value::Json(Json::Object(of)) = &row.values[at(name)] else { continue };
                for (currency, amount) in of {
                    *sums.entry(currency.clone()).or_insert(0) += amount.as_i64().unwrap_or(0);
                }
            }
            Value::Json(json!(sums))
        };
        let seen = |name: &str| {
            let at = at(name);
            let time = |it: &&Row| match it.values[at] {
                Value::Time(it) => it,
                _ => 0,
            };
            rows.iter().map(time).collect::<Vec<i64>>()
        };
        let mut values = vec![Value::Text(key_id(&person))];
        values.extend(ATTRIBUTES.map(field));
        values.push(match field("attributes") {
            Value::Null => Value::Json(json!({})),
            it => it,
        });
        values.push(Value::Int(members.len() as i64));
        values.push(Value::Json(members.iter().map(|it| json!(key_id(it))).collect()));
        values.push(Value::Json(plain.identifiers_of(&members)));
        values.push(Value::Json(plain.by_hand_of(&members)));
        values.push(Value::Time(seen("first_seen_at").into_iter().min().expect("a member")));
        values.push(Value::Time(seen("last_seen_at").into_iter().max().expect("a member")));
        values.extend(["n_events", "n_orders"].map(sum));
        values.extend(["spend", "cancelled", "returned"].map(sums));
        values.extend(["n_ratings", "rating_sum", "n_cases", "n_open_cases"].map(sum));
        (person, Row { values })
    });
    persons.collect()
}

/// By who they are: what is known of each need not be gone through.
impl std::hash::Hash for Person {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|it| it.0.hash(state));
    }
}
