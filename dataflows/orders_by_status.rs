//! How many orders stand where, and what they are worth, by currency.
//!
//! ```text
//!  fold orders ─(what moved, summed)─▶ arranged by (tenant, currency, status) ─▶ publish
//! ```
//!
//! # Meaning
//! For each (tenant, currency, status) the number and the amount of the orders that now stand
//! there: of the rows of `orders`, grouped. An order not placed yet has no currency, an order of
//! which only lines were spoken has no status; they stand under [`NONE`].
//!
//! # Invariants
//! Number and amount ride in the difference, so a group is one record whatever moved through it.
//! Amounts are summed in 128 bits, which no number of orders can exceed; a row's saturates.

use std::collections::BTreeMap;

use compact_str::CompactString;
use differential_dataflow::VecCollection;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use differential_dataflow::operators::CountTotal;
use hashbrown::HashMap;
use schemas::events::{Event, Status};
use schemas::names::{Currency, Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use serde::{Deserialize, Serialize};

use crate::Epoch;
use crate::fold::Project;
use crate::orders::{self, Orders};
use crate::publish::Relation;

/// Stands for a currency or a status that an order does not have (yet).
pub const NONE: &str = "none";

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "orders_by_status",
    words: "How many orders stand where, and what they are worth, by currency.",
    shape: Shape::Relation,
    key: &["currency", "status"],
    fields: &[
        FieldDef {
            name: "currency",
            kind: FieldKind::Text,
            nullable: false,
            filterable: true,
            words: "ISO 4217; none: orders that are not placed yet.",
        },
        FieldDef {
            name: "status",
            kind: FieldKind::Text,
            nullable: false,
            filterable: true,
            words: "The orders' status; none: orders of which only lines were spoken.",
        },
        FieldDef {
            name: "n_orders",
            kind: FieldKind::Int,
            nullable: false,
            filterable: false,
            words: "Orders that stand there.",
        },
        FieldDef {
            name: "amount",
            kind: FieldKind::Int,
            nullable: false,
            filterable: false,
            words: "Their amounts summed, minor units of the currency; 9223372036854775807 means at \
                    least that.",
        },
    ],
};

/// The relation.
pub struct OrdersByStatus;

/// Where an order stands: tenant, currency, status.
pub type Group = (CompactString, Currency, Option<Status>);

/// Orders and their amounts, as a difference.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Totals {
    n_orders: i64,
    amount: i128,
}

impl IsZero for Totals {
    /// Only if both are zero: orders of no value are orders.
    #[inline]
    fn is_zero(&self) -> bool {
        *self == Totals::default()
    }
}

impl Semigroup for Totals {
    #[inline]
    fn plus_equals(&mut self, more: &Totals) {
        // Checked: a wrapped total would be a wrong answer that nobody sees.
        let n_orders = self.n_orders.checked_add(more.n_orders);
        let amount = self.amount.checked_add(more.amount);
        self.n_orders = n_orders.expect("fewer than 2^63 orders");
        self.amount = amount.expect("amounts of 2^63 orders fit in 127 bits");
    }
}

impl Monoid for Totals {
    fn zero() -> Totals {
        Totals::default()
    }
}

impl Abelian for Totals {
    fn negate(&mut self) {
        self.n_orders = -self.n_orders;
        self.amount = -self.amount;
    }
}

/// What moved within an instant, out of one group into another, summed: a few numbers per epoch
/// instead of two records per order.
#[derive(Default)]
pub struct Moves {
    by_currency: Vec<(CompactString, Currency, [Totals; PLACES])>,
    places: HashMap<(CompactString, Currency), usize, foldhash::fast::FixedState>,
    /// Most orders are of the tenant and the currency of the one before.
    last: usize,
}

/// Most pairs of tenant and currency remembered from one instant to the next.
const MAX_REMEMBERED: usize = 1_024;

/// One per status, and one for none.
const PLACES: usize = Status::ALL.len() + 1;

impl Moves {
    fn totals(&mut self, tenant: &str, currency: Currency) -> &mut [Totals; PLACES] {
        let is_it = |it: &(CompactString, Currency, _)| it.1 == currency && it.0 == tenant;
        if !self.by_currency.get(self.last).is_some_and(is_it) {
            let all = &mut self.by_currency;
            self.last = *self.places.entry((tenant.into(), currency)).or_insert_with(|| {
                all.push((tenant.into(), currency, Default::default()));
                all.len() - 1
            });
        }
        &mut self.by_currency[self.last].2
    }
}

impl Project<Orders> for Moves {
    type Data = Group;
    type Diff = Totals;

    #[inline]
    fn change(
        &mut self,
        name: &Name,
        old: Option<&orders::State>,
        new: &orders::State,
        _emit: &mut dyn FnMut(Group, Totals),
    ) {
        let stands = |it: &orders::State| (!it.is_gone()).then(|| (it.money(), it.status()));
        let (old, new) = (old.and_then(stands), stands(new));
        if old == new {
            return;
        }
        let mut add = |((currency, amount), status): ((Currency, i64), Option<Status>), n: i64| {
            let place = status.map_or(PLACES - 1, |it| it as usize);
            let more = Totals { n_orders: n, amount: i128::from(amount) * i128::from(n) };
            self.totals(name.tenant(), currency)[place].plus_equals(&more);
        };
        if let Some(old) = old {
            add(old, -1);
        }
        if let Some(new) = new {
            add(new, 1);
        }
    }

    fn seal(&mut self, emit: &mut dyn FnMut(Group, Totals)) {
        for (tenant, currency, totals) in &mut self.by_currency {
            for (place, totals) in totals.iter_mut().enumerate().filter(|it| !it.1.is_zero()) {
                let group = (tenant.clone(), *currency, Status::ALL.get(place).copied());
                emit(group, std::mem::take(totals));
            }
        }
        if self.by_currency.len() > MAX_REMEMBERED {
            self.by_currency.clear();
            self.places.clear();
        }
    }
}

/// What differential computes: a group and its totals.
pub type Record = (Group, Totals);

/// Totals per group.
pub fn relate<'s>(
    moves: VecCollection<'s, Epoch, Group, Totals>,
) -> VecCollection<'s, Epoch, Record, isize> {
    moves.arrange_by_self_named("Arrange: orders_by_status").count_total_core::<isize>()
}

fn words(currency: Currency, status: Option<Status>) -> (&'static str, CompactString) {
    let currency = if currency == Currency::NONE { NONE } else { currency.as_str() };
    (status.map_or(NONE, Status::as_str), currency.into())
}

fn row(currency: Currency, status: Option<Status>, totals: Totals) -> Row {
    let (status, currency) = words(currency, status);
    let amount = totals.amount.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
    Row {
        values: vec![
            Value::Text(currency),
            Value::Text(status.into()),
            Value::Int(totals.n_orders),
            Value::Int(amount),
        ],
    }
}

impl Relation for OrdersByStatus {
    const DEF: &'static ViewDef = &DEF;
    type Record = Record;

    fn name(((tenant, currency, status), _): &Record) -> Name {
        let (status, currency) = words(*currency, *status);
        Name::new(tenant, &key_text(&[&currency, status]))
    }

    fn row(((_, currency, status), totals): &Record) -> Row {
        row(*currency, *status, *totals)
    }
}

/// The view, plainly: the rows of `orders`, grouped.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let field = |row: &Row, name: &str| {
        row.values[orders::DEF.position(name).expect("a field of orders")].clone()
    };
    let mut groups: BTreeMap<(String, String, String), (i64, i64)> = BTreeMap::new();
    for (name, row) in orders::reference(events, now) {
        let text = |field: Value| match field {
            Value::Text(it) => it.to_string(),
            _ => "none".to_string(),
        };
        let key =
            (name.tenant().to_string(), text(field(&row, "currency")), text(field(&row, "status")));
        let group = groups.entry(key).or_default();
        group.0 += 1;
        if let Value::Int(amount) = field(&row, "amount") {
            group.1 += amount;
        }
    }
    let rows = groups.into_iter().map(|((tenant, currency, status), (n_orders, amount))| {
        let values = vec![
            Value::Text(currency.as_str().into()),
            Value::Text(status.as_str().into()),
            Value::Int(n_orders),
            Value::Int(amount),
        ];
        (Name::new(&tenant, &format!("{currency}/{status}")), Row { values })
    });
    rows.collect()
}
