//! Links between customers that do not count, and why.
//!
//! # Meaning
//! One row per identifier (or pair linked by hand) whose customers stood in several parts when its
//! level came, and whose component was refused ([`crate::identity`] says when). It is there as long
//! as that is so. A weaker link may yet join some of them.
//!
//! # State
//! Per row 96 bytes, and 24 for each customer whom it would have joined; what it is made from is held
//! by [`crate::identity`]. A row goes when its link counts, or is taken back.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use schemas::events::Event;
use schemas::names::Name;
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde_json::json;

use crate::identity::{self, Conflict};
use crate::publish::Relation;
use crate::{Epoch, decoded, key_id};

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "identity_conflicts",
    words: "Links between customers that do not count, and why.",
    shape: Shape::Relation,
    key: &["kind", "value"],
    fields: &[
        FieldDef::new(
            "kind",
            FieldKind::Text,
            false,
            true,
            "Such as email; by_hand: a pair of customers.",
        ),
        FieldDef::new(
            "value",
            FieldKind::Text,
            false,
            false,
            "As it is compared: normalised; of a pair the two ids, joined by a slash.",
        ),
        FieldDef::new(
            "reason",
            FieldKind::Text,
            false,
            true,
            "too_large, separated or contradiction: what speaks against all that these links join.",
        ),
        FieldDef::new(
            "detail",
            FieldKind::Text,
            false,
            false,
            "How many customers; which two were separated; which two values contradict each other.",
        ),
        FieldDef::new("customers", FieldKind::Json, false, false, "Whom it would have joined."),
    ],
};

/// The relation.
pub struct IdentityConflicts;

const _: () = assert!(16 + size_of::<Conflict>() <= 96); // the doc's

impl Relation for IdentityConflicts {
    const DEF: &'static ViewDef = &DEF;
    type Record = Conflict;

    fn name(record: &Conflict) -> Name {
        record.link.clone()
    }

    fn row(it: &Conflict) -> Row {
        let (kind, value) = it.link.key().split_once('/').unwrap_or((it.link.key(), ""));
        let customers: BTreeSet<CompactString> = it.customers.iter().map(key_id).collect();
        Row {
            values: vec![
                Value::Text(decoded(kind)),
                Value::Text(decoded(value)),
                Value::Text(it.why.as_str().into()),
                Value::Text(it.detail.clone()),
                Value::Json(json!(customers)),
            ],
        }
    }
}

/// The view, plainly: the links that [`identity`] refused.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let conflicts = identity::plain(events, now).into_conflicts();
    let rows = conflicts.into_iter().map(|it| (it.link.clone(), IdentityConflicts::row(&it)));
    rows.collect()
}
