//! Whose an identifier is: a lookup by any of them.
//!
//! # Meaning
//! One row per (kind, value) that somebody carries: whether it is usable ([`crate::identity`] says
//! what that is) and who carries it; and one per customer of whom a statement about identity was
//! made, under the kind [`customer`](CUSTOMER), so that every member's id finds the person. Of one
//! that is not usable only the number is told: it is nobody's in particular.
//!
//! # State
//! Per row 72 bytes, and 48 for each customer who carries it, while it is usable: so many as its kind
//! allows, at most. Of a customer who is somebody else by id 24 more. What it is made from is held by
//! [`crate::identity`]. A row goes when nobody carries it any more.

use std::collections::{BTreeMap, BTreeSet};

use schemas::events::Event;
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::identity::{self, CUSTOMER, Mark, Rank, Who};
use crate::publish::Relation;
use crate::{Epoch, decoded, key_id};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "identifiers",
    words: "Whose an identifier is: a lookup by any of them.",
    shape: Shape::Relation,
    key: &["kind", "value"],
    fields: &[
        FieldDef::new(
            "kind",
            FieldKind::Text,
            false,
            true,
            "Such as email; customer: the id of a customer.",
        ),
        FieldDef::new("value", FieldKind::Text, false, false, "As it is compared: normalised."),
        FieldDef::new(
            "person",
            FieldKind::Text,
            true,
            false,
            "The person whose it is, if it is one's and usable.",
        ),
        FieldDef::new("usable", FieldKind::Bool, false, true, "Whether it says who somebody is."),
        FieldDef::new(
            "why_not",
            FieldKind::Text,
            true,
            true,
            "blocked: the value says nothing; kind: identity.kinds has it not; too_many: more customers \
             carry it than its kind allows.",
        ),
        FieldDef::new("n_customers", FieldKind::Int, false, false, "Customers who carry it."),
        FieldDef::new("customers", FieldKind::Json, false, false, "Who they are, if it is usable."),
        FieldDef::new(
            "persons",
            FieldKind::Json,
            false,
            false,
            "The persons whom it names, if it is usable: several, if a link was refused.",
        ),
    ],
};

/// The relation.
pub struct Identifiers;

/// How an identifier stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Stands {
    /// Each customer who carries it, and who they are.
    Usable(Vec<(Who, Who)>),
    /// So many carry it.
    Unusable(i64),
    /// It is the customer's own id: the person whom they are, if they do not give the id.
    Own(Option<Box<Who>>),
}

/// An identifier: its name, what it is worth by itself, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier(Name, Rank, Stands);

/// The figures of the module's doc.
const _: () = {
    assert!(16 + size_of::<Identifier>() <= 72 && size_of::<(Who, Who)>() <= 48);
    assert!(size_of::<Who>() <= 24);
};

impl Identifier {
    pub(crate) fn of((rank, name): Mark, stands: Stands) -> Identifier {
        Identifier(name, rank, stands)
    }

    /// A customer's own id.
    pub(crate) fn customer(who: &Who, person: Who) -> Identifier {
        let name = Name::new(who.tenant(), &key_text(&[CUSTOMER, &key_id(who)]));
        let other = (person != *who).then(|| Box::new(person));
        Identifier(name, Rank::Of(0), Stands::Own(other))
    }
}

fn row(name: &Name, rank: Rank, stands: &Stands) -> Row {
    let (kind, value) = name.key().split_once('/').unwrap_or((name.key(), ""));
    let ids = |all: &mut dyn Iterator<Item = &Who>| all.map(key_id).collect::<BTreeSet<_>>();
    let (n, customers, persons) = match stands {
        Stands::Usable(all) => {
            let persons = ids(&mut all.iter().map(|it| &it.1));
            (all.len() as i64, ids(&mut all.iter().map(|it| &it.0)), persons)
        }
        Stands::Unusable(n) => (*n, BTreeSet::new(), BTreeSet::new()),
        Stands::Own(other) => {
            let (own, other) = (decoded(value), other.as_deref().map(key_id));
            let person = other.unwrap_or_else(|| own.clone());
            (1, BTreeSet::from([own]), BTreeSet::from([person]))
        }
    };
    let usable = !matches!(stands, Stands::Unusable(_));
    let one = persons.first().filter(|_| persons.len() == 1);
    let why_not = match rank {
        _ if usable => Value::Null,
        Rank::Blocked => Value::Text("blocked".into()),
        Rank::Unknown => Value::Text("kind".into()),
        Rank::Of(_) => Value::Text("too_many".into()),
    };
    Row {
        values: vec![
            Value::Text(decoded(kind)),
            Value::Text(decoded(value)),
            one.map_or(Value::Null, |it| Value::Text(it.clone())),
            Value::Bool(usable),
            why_not,
            Value::Int(n),
            Value::Json(json!(customers)),
            Value::Json(json!(persons)),
        ],
    }
}

impl Relation for Identifiers {
    const DEF: &'static ViewDef = &DEF;
    type Record = Identifier;

    fn name(record: &Identifier) -> Name {
        record.0.clone()
    }

    fn row(Identifier(name, rank, stands): &Identifier) -> Row {
        row(name, *rank, stands)
    }
}

/// The view, plainly: of everybody's identifiers, each with its carriers.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let plain = identity::plain(events, now);
    let mut rows = BTreeMap::new();
    for (name, (rank, carriers)) in plain.marks() {
        let usable = carriers.len() <= plain.limit(*rank);
        let stands = match usable {
            true => {
                Stands::Usable(carriers.iter().map(|it| (it.clone(), plain.person(it))).collect())
            }
            false => Stands::Unusable(carriers.len() as i64),
        };
        rows.insert(name.clone(), row(name, *rank, &stands));
    }
    for (person, members) in plain.persons() {
        for member in members {
            let name = Name::new(member.tenant(), &key_text(&[CUSTOMER, &key_id(&member)]));
            let stands = Stands::Usable(vec![(member, person.clone())]);
            let row = row(&name, Rank::Of(0), &stands);
            rows.insert(name, row);
        }
    }
    rows
}
