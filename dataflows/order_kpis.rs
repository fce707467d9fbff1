//! How well orders were delivered, day by day: on time, in full, without a complaint, and how long
//! it took, by lane.
//!
//! ```text
//!  fold orders ─(delivered orders, summed by day, lane and lead time)─▶ reduce ─▶ publish
//! ```
//!
//! # Meaning
//! One row per UTC day on which orders were first said to be delivered, and lane: from where and to
//! where the first line goes (of a place written `wide/narrow` the wide part, [`UNKNOWN`] where
//! nothing was said), and [`ALL`] of them together. Of each order on its own:
//!
//! - *on time*: delivered by the promised instant; what was not promised is on time.
//! - *in full*: nothing of it was cancelled, and every line stands as delivered, or came back later.
//! - *perfect*: on time, in full, never said to be a problem, not returned, and not delivered before
//!   it was shipped. A share of perfect orders is never the product of other shares: one order that
//!   fails twice fails once.
//!
//! Lead time is from placed to delivered, of orders that were placed, in steps of [`STEP_HOURS`]
//! hours up to [`STEPS`] of them: the p50 (p95) is the end of the first step by which half (19 of
//! 20) have come. What is said later of an order, a return say, corrects the day on which it was
//! delivered.
//!
//! # Invariants
//! Whole numbers only, each the sum of what single orders add.
//!
//! # State
//! A record for each (day, lane, step) in which an order was delivered, and a row per day and lane:
//! as many lanes as there are pairs of wide places.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::{CompactString, format_compact};
use differential_dataflow::VecCollection;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use hashbrown::HashMap;
use schemas::events::{Event, Status};
use schemas::names::{Name, key_text};
use schemas::rows::{FieldDef, FieldKind, Row, Shape, Value, ViewDef};
use schemas::time::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::Epoch;
use crate::fold::Project;
use crate::order_visibility::Plain;
use crate::orders::{self, NEVER, Orders, State};
use crate::publish::Relation;

/// All places.
pub const ALL: &str = "all";
/// A place of which nothing was said.
pub const UNKNOWN: &str = "unknown";
/// Hours in which lead times are told apart.
const STEP_HOURS: i64 = 6;
/// Steps that are told apart, eighty days; what took longer took this long.
const STEPS: i64 = 320;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

const fn int(name: &'static str, nullable: bool, words: &'static str) -> FieldDef {
    FieldDef::new(name, FieldKind::Int, nullable, false, words)
}

/// The catalogue's entry.
pub static DEF: ViewDef = ViewDef {
    name: "order_kpis",
    words: "How well orders were delivered, by day and lane: on time, in full, perfect, lead time.",
    shape: Shape::Relation,
    key: &["day", "ship_from", "ship_to"],
    fields: &[
        FieldDef::new(
            "day",
            FieldKind::Text,
            false,
            true,
            "The day in UTC on which they were delivered, such as 2026-01-31.",
        ),
        FieldDef::new(
            "ship_from",
            FieldKind::Text,
            false,
            true,
            "From where, widely; all, or unknown.",
        ),
        FieldDef::new(
            "ship_to",
            FieldKind::Text,
            false,
            true,
            "To where, widely; all, or unknown.",
        ),
        int("n_delivered", false, "Orders delivered."),
        int("n_on_time", false, "Of them by the promised instant, or not promised."),
        int("n_in_full", false, "Of them with every line, and nothing cancelled."),
        int(
            "n_perfect",
            false,
            "Of them on time, in full, without a problem, not returned, nothing contradictory.",
        ),
        int("on_time_permille", false, "n_on_time of a thousand."),
        int("in_full_permille", false, "n_in_full of a thousand."),
        int("perfect_permille", false, "n_perfect of a thousand."),
        int("lead_p50_hours", true, "Half of them were delivered within so many hours of placing."),
        int("lead_p95_hours", true, "Nineteen of twenty of them were."),
    ],
};

/// The relation.
pub struct OrderKpis;

/// Where delivered orders are counted: tenant, day, from, to.
pub type Group = (CompactString, i64, CompactString, CompactString);

/// Steps from placed to delivered; none: not placed.
type Lead = Option<u16>;

/// Orders, as a difference.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Totals {
    delivered: i64,
    on_time: i64,
    in_full: i64,
    perfect: i64,
}

impl Totals {
    fn each(&mut self) -> [&mut i64; 4] {
        [&mut self.delivered, &mut self.on_time, &mut self.in_full, &mut self.perfect]
    }
}

impl IsZero for Totals {
    #[inline]
    fn is_zero(&self) -> bool {
        *self == Totals::default()
    }
}

impl Semigroup for Totals {
    #[inline]
    fn plus_equals(&mut self, more: &Totals) {
        let mut more = *more;
        for (it, more) in self.each().into_iter().zip(more.each()) {
            *it = it.checked_add(*more).expect("fewer than 2^63 orders");
        }
    }
}

impl Monoid for Totals {
    fn zero() -> Totals {
        Totals::default()
    }
}

impl Abelian for Totals {
    fn negate(&mut self) {
        self.each().into_iter().for_each(|it| *it = -*it);
    }
}

/// What an order counts for: its day, its places, its lead time, and as what.
#[derive(PartialEq)]
struct Counts {
    day: i64,
    places: [CompactString; 2],
    lead: Lead,
    as_what: Totals,
}

fn wide(place: Option<&str>) -> CompactString {
    let wide = place.and_then(|it| it.split('/').next()).filter(|it| !it.is_empty());
    wide.unwrap_or(UNKNOWN).into()
}

fn lead(placed_at: i64, delivered_at: i64) -> u16 {
    let steps = delivered_at.saturating_sub(placed_at).div_euclid(STEP_HOURS * HOUR);
    steps.clamp(0, STEPS - 1) as u16
}

fn counts(state: &State) -> Option<Counts> {
    let [promised, delivered, cancelled, returned] = state.instants_known();
    if delivered == NEVER {
        return None;
    }
    let said = state.said_of();
    let on_time = delivered <= promised;
    let arrived = |it: &Option<(Status, i64)>| {
        it.is_some_and(|it| matches!(it.0, Status::Delivered | Status::Returned))
    };
    let in_full = cancelled == NEVER && said.lines.iter().all(arrived);
    let contradictory = said.shipped_at.is_some_and(|it| delivered < it);
    let fine = returned == NEVER && !contradictory && !state.was_a_problem();
    let [from, to] = state.first_places();
    Some(Counts {
        day: delivered.div_euclid(DAY),
        places: [wide(from), wide(to)],
        lead: state.placed_at().map(|it| lead(it, delivered)),
        as_what: Totals {
            delivered: 1,
            on_time: i64::from(on_time),
            in_full: i64::from(in_full),
            perfect: i64::from(on_time && in_full && fine),
        },
    })
}

/// What moved within an instant, summed: a record per group and step instead of four per order.
#[derive(Default)]
pub struct Delivered {
    all: HashMap<(Group, Lead), Totals, foldhash::fast::FixedState>,
}

impl Delivered {
    fn add(&mut self, tenant: &str, it: Counts, is_taken_back: bool) {
        let mut more = it.as_what;
        if is_taken_back {
            more.negate();
        }
        // A lane may have the very name that all lanes together have: there it counts once.
        let everywhere = [ALL, ALL].map(CompactString::from);
        let own = Some(it.places).filter(|it| *it != everywhere);
        for [from, to] in own.into_iter().chain([everywhere]) {
            let group = (tenant.into(), it.day, from, to);
            self.all.entry((group, it.lead)).or_default().plus_equals(&more);
        }
    }
}

impl Project<Orders> for Delivered {
    type Data = (Group, Lead);
    type Diff = Totals;

    #[inline]
    fn change(
        &mut self,
        name: &Name,
        old: Option<&State>,
        new: &State,
        _emit: &mut dyn FnMut((Group, Lead), Totals),
    ) {
        let (old, new) = (old.and_then(counts), counts(new));
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.add(name.tenant(), old, true);
        }
        if let Some(new) = new {
            self.add(name.tenant(), new, false);
        }
    }

    fn seal(&mut self, emit: &mut dyn FnMut((Group, Lead), Totals)) {
        for (at, totals) in self.all.drain().filter(|it| !it.1.is_zero()) {
            emit(at, totals);
        }
    }
}

/// What a row is made of: the totals, and the steps by which half and nineteen of twenty had come.
pub type Summed = (Totals, [Option<u16>; 2]);

/// What differential computes.
pub type Record = (Group, Summed);

/// Sums per group.
pub fn relate<'s>(
    delivered: VecCollection<'s, Epoch, (Group, Lead), Totals>,
) -> VecCollection<'s, Epoch, Record, isize> {
    delivered.reduce_named("order_kpis", |_, leads, summed: &mut Vec<(Summed, isize)>| {
        let by_lead = leads.iter().map(|(lead, totals)| (**lead, *totals));
        summed.extend(sum(by_lead).map(|it| (it, 1)));
    })
}

/// Sums by lead time, ascending; none of nobody.
fn sum(by_lead: impl Iterator<Item = (Lead, Totals)> + Clone) -> Option<Summed> {
    let mut all = Totals::default();
    by_lead.clone().for_each(|it| all.plus_equals(&it.1));
    let placed = || by_lead.clone().filter_map(|(lead, it)| Some((lead?, it.delivered)));
    let n: i64 = placed().map(|it| it.1).sum();
    let by = |percent: i64| {
        let mut so_far = 0;
        let mut steps = placed().map(|(step, n)| {
            so_far += n;
            (step, so_far)
        });
        steps.find(|it| it.1 * 100 >= n * percent).map(|it| it.0)
    };
    (all.delivered > 0).then(|| (all, [by(50), by(95)]))
}

fn day_text(day: i64) -> CompactString {
    rfc3339(day.saturating_mul(DAY)).chars().take(10).collect()
}

fn row((_, day, from, to): &Group, (totals, leads): &Summed) -> Row {
    let share = |of: i64| Value::Int(of * 1_000 / totals.delivered.max(1));
    let hours =
        |it: Option<u16>| it.map_or(Value::Null, |it| Value::Int((i64::from(it) + 1) * STEP_HOURS));
    Row {
        values: vec![
            Value::Text(day_text(*day)),
            Value::Text(from.clone()),
            Value::Text(to.clone()),
            Value::Int(totals.delivered),
            Value::Int(totals.on_time),
            Value::Int(totals.in_full),
            Value::Int(totals.perfect),
            share(totals.on_time),
            share(totals.in_full),
            share(totals.perfect),
            hours(leads[0]),
            hours(leads[1]),
        ],
    }
}

impl Relation for OrderKpis {
    const DEF: &'static ViewDef = &DEF;
    type Record = Record;

    fn name(((tenant, day, from, to), _): &Record) -> Name {
        Name::new(tenant, &key_text(&[&day_text(*day), from, to]))
    }

    fn row((group, summed): &Record) -> Row {
        row(group, summed)
    }
}

/// The view, plainly: the rows of `orders` that were delivered, gone through one by one.
pub fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    /// Of a group: delivered, on time, in full, perfect, and every lead time in hours.
    type Group = ([i64; 4], Vec<i64>);
    let mut groups: BTreeMap<(String, String, String, String), Group> = BTreeMap::new();
    for (name, row) in orders::reference(events, now) {
        let of = |field: &str| &row.values[orders::DEF.position(field).expect("a field")];
        let at = |field: &str| match of(field) {
            Value::Time(it) => Some(*it),
            _ => None,
        };
        let list = |field: &str| match of(field) {
            Value::Json(Json::Array(it)) => it.clone(),
            _ => Vec::new(),
        };
        let Some(delivered) = at("delivered_at") else { continue };
        let said = Plain::of(&row);
        let on_time = at("promised_at").is_none_or(|it| delivered <= it);
        let stands = |it: &Option<(Status, i64)>| it.map(|it| it.0);
        let in_full = at("cancelled_at").is_none()
            && said.lines.iter().all(|it| {
                stands(it) == Some(Status::Delivered) || stands(it) == Some(Status::Returned)
            });
        let perfect = on_time
            && in_full
            && at("returned_at").is_none()
            && said.shipped_at.is_none_or(|it| it <= delivered)
            && !list("timeline").iter().any(|it| it["status"] == "problem");
        let place = |field: &str| {
            let lines = list("lines");
            let place = lines.first().and_then(|it| it[field].as_str());
            place.map_or("unknown", |it| it.split('/').next().unwrap_or_default()).to_string()
        };
        let places = [place("ship_from"), place("ship_to")];
        let places = places.map(|it| if it.is_empty() { "unknown".into() } else { it });
        let day = format_compact!("{}", rfc3339(delivered));
        let groups_of = BTreeSet::from([places, ["all".to_string(), "all".to_string()]]);
        for [from, to] in groups_of {
            let key = (name.tenant().to_string(), day[..10].to_string(), from, to);
            let (counts, leads) = groups.entry(key).or_default();
            for (count, is_so) in counts.iter_mut().zip([true, on_time, in_full, perfect]) {
                *count += i64::from(is_so);
            }
            // The end of its six hours.
            let hours = at("placed_at").map(|it| ((delivered - it) / HOUR).clamp(0, 1_919));
            leads.extend(hours.map(|it| it / 6 * 6 + 6));
        }
    }
    let rows = groups.into_iter().map(|((tenant, day, from, to), (counts, mut leads))| {
        leads.sort_unstable();
        let lead = |percent: usize| {
            let place = (leads.len() * percent).div_ceil(100);
            place.checked_sub(1).map_or(Value::Null, |it| Value::Int(leads[it]))
        };
        let name = Name::new(&tenant, &key_text(&[&day, &from, &to]));
        let texts = [day, from, to].map(|it| Value::Text(it.into()));
        let shares = counts[1..].iter().map(|it| Value::Int(it * 1_000 / counts[0]));
        let counts = counts.iter().map(|it| Value::Int(*it));
        let values = texts.into_iter().chain(counts).chain(shares);
        (name, Row { values: values.chain([lead(50), lead(95)]).collect() })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use schemas::events::{Data, Line, OrderPlaced, OrderStatusChanged};
    use schemas::names::Currency;

    use super::*;
    use crate::histories::{history, play};

    /// Goal: an order from a place that is called as all places are together counts once. Method: one
    /// from there to there, one from there to elsewhere.
    #[test]
    fn an_order_from_all_to_all_counts_once() {
        let order = |order: &'static str, to: &'static str| {
            let line = Line {
                sku: "S".into(),
                quantity: 1,
                unit_price: 1,
                ship_from: Some("all/north".into()),
                ship_to: Some(to.into()),
                carrier: None,
                seller: None,
            };
            let placed = Data::OrderPlaced(OrderPlaced {
                order: order.into(),
                customer: "a".into(),
                currency: Currency::parse("EUR").unwrap(),
                lines: vec![line],
                promised_at: None,
                channel: None,
            });
            let (status, customer) = (Status::Delivered, None);
            let order = order.into();
            [
                placed,
                Data::OrderStatusChanged(OrderStatusChanged {
                    order,
                    status,
                    line: None,
                    customer,
                }),
            ]
        };
        let events = history([order("O1", "all"), order("O2", "FR")].concat());
        let found = play(events.clone()).remove("order_kpis").unwrap();
        assert_eq!(found, reference(&events, crate::histories::START + 100_000_000));
        let n = |key: &str| {
            let row = found.get(&Name::new("default", key)).expect(key);
            row.values[DEF.position("n_delivered").expect("a field")].clone()
        };
        assert_eq!(n("2026-01-01/all/all"), Value::Int(2));
        assert_eq!(n("2026-01-01/all/FR"), Value::Int(1));
        assert_eq!(found.len(), 2);
    }
}
