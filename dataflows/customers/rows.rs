//! A customer's row: its fields, and how it is made of what is known.

use std::collections::BTreeMap;

use compact_str::CompactString;
use schemas::names::Currency;
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde_json::{Map, Value as Json};

use super::FIXED;
use crate::sums::money;

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "customers",
    words: "Everything known of each customer: attributes, activity, money, ratings, open cases.",
    shape: Shape::Fold,
    key: &["customer"],
    fields: &[
        FieldDef::new("customer", FieldKind::Text, false, false, "The customer."),
        FieldDef::new("name", FieldKind::Text, true, false, "Full name."),
        FieldDef::new("email", FieldKind::Text, true, false, "E-mail address, as written."),
        FieldDef::new("phone", FieldKind::Text, true, false, "Telephone number, as written."),
        FieldDef::new("tier", FieldKind::Text, true, true, "Service tier, such as gold."),
        FieldDef::new("language", FieldKind::Text, true, true, "BCP 47 language tag."),
        FieldDef::new("country", FieldKind::Text, true, true, "ISO 3166-1 alpha-2 country."),
        FieldDef::new("time_zone", FieldKind::Text, true, false, "IANA time zone."),
        FieldDef::new("attributes", FieldKind::Json, false, false, "Anything else, by name."),
        FieldDef::new(
            "first_seen_at",
            FieldKind::Time,
            false,
            false,
            "Earliest event about the customer.",
        ),
        FieldDef::new(
            "last_seen_at",
            FieldKind::Time,
            false,
            false,
            "Latest event about the customer.",
        ),
        FieldDef::new("n_events", FieldKind::Int, false, false, "Events that name the customer."),
        FieldDef::new("n_orders", FieldKind::Int, false, false, "Orders placed."),
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
            "Sum of the ratings given, each 1 to 5.",
        ),
        FieldDef::new(
            "n_cases",
            FieldKind::Int,
            false,
            false,
            "How often a case was opened for the customer: one opened again counts again.",
        ),
        FieldDef::new(
            "n_open_cases",
            FieldKind::Int,
            false,
            false,
            "Cases of which the newest statement that names the customer is no resolution, among \
             the 4,096 spoken of last. A resolution that names no customer is not seen here, only \
             in the view cases.",
        ),
    ],
};

/// What a row says.
pub(super) struct Facts {
    pub(super) customer: CompactString,
    pub(super) fixed: [Option<CompactString>; FIXED],
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) seen: (i64, i64),
    pub(super) n_events: u64,
    pub(super) n_orders: u64,
    pub(super) spend: BTreeMap<Currency, i64>,
    pub(super) cancelled: BTreeMap<Currency, i64>,
    pub(super) returned: BTreeMap<Currency, i64>,
    pub(super) n_ratings: u64,
    pub(super) rating_sum: u64,
    pub(super) n_cases: u64,
    pub(super) n_open_cases: u64,
}

impl Facts {
    pub(super) fn new(customer: CompactString) -> Facts {
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

    pub(super) fn row(self) -> Row {
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
