//! How right it was what orders were told of when they arrive, and of how long nothing is said of them.
//!
//! ```text
//!  fold orders ─(orders that arrived, summed by model, stage and day)─▶ expire ─▶ reduce ─▶ publish
//! ```
//!
//! # Meaning
//! A row for each model of arrival and stage in which it spoke of orders that arrived since: what was
//! told when they entered it, against the instant at which they were first said to be delivered. An
//! order counts for a stage if something was told of it there ([`crate::order_visibility`]) and
//! nothing ended it before: it was not cancelled and did not come back before it was delivered, and
//! entered no later stage before it (or just when it) entered this one. It counts
//! for [`SHOWN`] after the end of the UTC day on which it entered the stage, whether it arrived early
//! or late in them; those that are still on their way are in no row. What is said later of an order,
//! also that it is somebody's who was erased, corrects the sums.
//!
//! Of those that were promised the risk of being late is judged, too ([`totals`]): the very number that
//! the order's row shows in the stage ([`crate::models::eta::Arrival::risk_percent`]), against whether
//! it came after the instant that was promised. One whose promise was past when it entered the stage
//! was told a hundred there; it counts like any other.
//!
//! And a row for each model and status in which such orders stood before they arrived, if it said how
//! long nothing is usually said there ([`crate::models::silences`]), by which an order is stuck: of their
//! stays, by what was told when they began, those whose longest silence was no longer. That is meant to
//! be nineteen of twenty. A stay counts from the UTC day on which it began. What a newer model says of
//! a later statement in the same stay is judged by the stays that begin under it.
//!
//! # Invariants
//! - Whole numbers only, each the sum of what single orders add: distances in whole minutes, risks in
//!   whole percent.
//! - A model is known for as long as one of its orders counts: it is taken away no sooner than ninety
//!   days after the next one spoke, and none of its orders entered a stage after that. So what an
//!   order once added is what is taken back for it; what is beyond is dropped on both ways.
//!
//! # State
//! A record for each model, stage and day on which one of its orders entered, twice; none for orders.
//! Models are sealed once a day: some four hundred rows a tenant. A record has 45 numbers, most of them
//! the counts of bands: together about a megabyte for a tenant whose orders enter every stage daily, and
//! as much for silences.
//!
//! # Why this way
//! A timer for each order that arrived would touch it once more when it counts no longer, eighty days
//! later, and its row would go to every sink again. Stays judged when they end, and not when their order
//! arrives, would be looked for at every statement about every order. The price: stays of orders that
//! never arrived are not among them, so the share is a little better than that of all orders.

use std::collections::BTreeMap;

use compact_str::CompactString;
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::{AsCollection, VecCollection};
use hashbrown::HashMap;
use schemas::events::{Event, Status};
use schemas::names::{Name, key_text};
use schemas::rows::{Row, Value, ViewDef};
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use totals::{Promise, Totals};

use super::{ALL, DEF, Quality};
use crate::Epoch;
use crate::fold::Project;
use crate::models::arrivals::{SHOWN, published};
use crate::models::journeys::Journey;
use crate::models::lanes::{STAGES, Way};
use crate::models::silences::{self, Stay};
use crate::orders::{self, NEVER, Orders, State};
use crate::publish::Relation;

mod totals;

/// Microseconds.
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;

/// What a key says of silences.
const SILENCES: &str = "silences";

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Of {
    /// When it arrives, at a stage.
    Arrival(Status),
    /// How long nothing is said of it where it stands.
    Silence(Status),
}

/// Whose orders, who told them, and what.
pub(crate) type Group = (CompactString, CompactString, Of);

/// And the day on which they entered that stage.
type At = (Group, i64);

/// What differential computes.
pub(crate) type Record = (Group, Totals);

/// The relation.
pub(crate) struct OfArrivals;

/// The instant from which on orders that entered on a day count no longer.
fn ends(day: i64) -> Epoch {
    let micros = day.saturating_add(1).saturating_mul(DAY).saturating_add(SHOWN);
    u64::try_from(micros.div_euclid(1_000)).unwrap_or(0)
}

/// All that what an order adds depends on.
#[derive(PartialEq)]
struct Arrival<'s> {
    /// From, to, seller (or carrier).
    places: [Option<&'s str>; 3],
    placed_at: Option<i64>,
    promised_at: Option<i64>,
    /// When it entered each stage, if something may have been told of it then.
    entered: [Option<i64>; STAGES.len()],
    delivered: i64,
    /// Where it stood before.
    stays: Vec<Stay>,
}

impl<'s> Arrival<'s> {
    /// Of an order that was delivered, and told.
    fn of(state: &'s State) -> Option<Arrival<'s>> {
        let [promised, delivered, cancelled, returned] = state.instants_known();
        if delivered == NEVER || cancelled.min(returned) < delivered {
            return None;
        }
        let mut entered = state.stages_entered().map(|it| it.filter(|at| *at <= delivered));
        // Of the stages from here on the one that was entered first.
        let mut first = i64::MAX;
        for at in entered.iter_mut().rev() {
            *at = at.filter(|at| *at < first);
            first = at.unwrap_or(first);
        }
        let stays = state.stays();
        if stays.is_empty() && entered.iter().all(Option::is_none) {
            return None;
        }
        let promised_at = (promised != NEVER).then_some(promised);
        // How long it was promised is all that it counts for.
        let placed_at = promised_at.and_then(|_| state.placed_at());
        let places = state.first_way();
        Some(Arrival { places, placed_at, promised_at, entered, delivered, stays })
    }

    /// What it adds, stage by stage and stay by stay.
    fn adds<'a>(&'a self, tenant: &'a str) -> impl Iterator<Item = (At, Totals)> + 'a {
        let [from, to, seller] = self.places;
        let promised = self.promised_at.zip(self.placed_at).map(|(by, since)| by - since);
        let way = Way { tenant, from, to, seller, promised };
        let at = |model, of, entered: i64| ((tenant.into(), model, of), entered.div_euclid(DAY));
        let of_stages = STAGES.into_iter().zip(self.entered).filter_map(move |(stage, entered)| {
            let entered = entered?;
            let (model, totals) = self.judged(&way, stage, entered)?;
            Some((at(model, Of::Arrival(stage), entered), totals))
        });
        let of_stays = self.stays.iter().filter_map(move |it| {
            let said = published().patience_by(tenant, it.status, it.entered, || [from, to]);
            let (usual, model) = said?;
            let totals = Totals::of(0, it.silence <= usual, None);
            Some((at(model, Of::Silence(it.status), it.entered), totals))
        });
        of_stages.chain(of_stays)
    }

    /// What it adds that was told when it entered a stage: to whom, and how much; nothing if nothing
    /// was told.
    fn judged(
        &self,
        way: &Way<'_>,
        stage: Status,
        entered: i64,
    ) -> Option<(CompactString, Totals)> {
        let (arrival, model) = published().of(way, stage, entered)?;
        let [p50, p90] = arrival.shown();
        let off = self.delivered.saturating_sub(p50).saturating_abs().div_euclid(MINUTE);
        let promise = self
            .promised_at
            .map(|by| Promise { risk: arrival.risk_percent(by), is_late: self.delivered > by });
        Some((model, Totals::of(off, self.delivered <= p90, promise)))
    }
}

/// What moved within an instant, summed.
#[derive(Default)]
pub(crate) struct Arrived {
    all: HashMap<At, Totals, foldhash::fast::FixedState>,
}

impl Project<Orders> for Arrived {
    type Data = At;
    type Diff = Totals;

    #[inline]
    fn change(
        &mut self,
        name: &Name,
        old: Option<&State>,
        new: &State,
        _emit: &mut dyn FnMut(At, Totals),
    ) {
        let (old, new) = (old.and_then(Arrival::of), Arrival::of(new));
        if old == new {
            return;
        }
        for (at, less) in old.iter().flat_map(|it| it.adds(name.tenant())) {
            self.all.entry(at).or_default().plus_equals(&less.taken_back());
        }
        for (at, more) in new.iter().flat_map(|it| it.adds(name.tenant())) {
            self.all.entry(at).or_default().plus_equals(&more);
        }
    }

    fn seal(&mut self, emit: &mut dyn FnMut(At, Totals)) {
        for (at, totals) in self.all.drain().filter(|it| !it.1.is_zero()) {
            emit(at, totals);
        }
    }
}

/// Sums per model and stage, of the days that count.
pub(crate) fn relate<'s>(
    arrived: VecCollection<'s, Epoch, At, Totals>,
) -> VecCollection<'s, Epoch, Record, isize> {
    expire(arrived).reduce_named("model_quality", |_, days, summed: &mut Vec<(Totals, isize)>| {
        let mut all = Totals::default();
        days.iter().for_each(|it| all.plus_equals(&it.1));
        if all.n > 0 {
            summed.push((all, 1));
        }
    })
}

/// Takes a day back at the very instant from which on it counts no longer, and lets nothing more of
/// it through.
fn expire<'s>(
    arrived: VecCollection<'s, Epoch, At, Totals>,
) -> VecCollection<'s, Epoch, At, Totals> {
    type Out = CapacityContainerBuilder<Vec<(At, Epoch, Totals)>>;
    let name = format!("expire {}", DEF.name);
    let kept = arrived.inner.unary_frontier::<Out, _, _, _>(Pipeline, &name, |first, _| {
        let mut held = Some(first);
        // What was let through, by when it is to be taken back.
        let mut through: BTreeMap<Epoch, BTreeMap<At, Totals>> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, records| {
                let mut session = output.session(&capability);
                for (at, epoch, totals) in records.drain(..) {
                    let ends = ends(at.1);
                    if epoch < ends {
                        let of_day = through.entry(ends).or_default();
                        of_day.entry(at.clone()).or_default().plus_equals(&totals);
                        session.give((at, epoch, totals));
                    }
                }
            });
            let next = frontier.frontier().first().copied();
            let (Some(next), Some(capability)) = (next, &mut held) else {
                // Time did not pass, it ended: nothing more is taken back.
                held = None;
                return;
            };
            while let Some(day) = through.first_entry().filter(|it| *it.key() < next) {
                let (due, sums) = day.remove_entry();
                let back = sums.into_iter().filter(|it| !it.1.is_zero());
                let back = back.map(|(at, totals)| (at, due, totals.taken_back()));
                output.session(&capability.delayed(&due)).give_iterator(back);
            }
            capability.downgrade(&next);
        }
    });
    kept.as_collection()
}

impl Relation for OfArrivals {
    const DEF: &'static ViewDef = &DEF;
    type Record = Record;

    fn name(((tenant, model, of), _): &Record) -> Name {
        let key = match of {
            Of::Arrival(stage) => key_text(&[model, stage.as_str()]),
            Of::Silence(status) => key_text(&[model, SILENCES, status.as_str()]),
        };
        Name::new(tenant, &key)
    }

    fn row(((_, model, of), totals): &Record) -> Row {
        let (model, n_judged) = (model.clone(), totals.n);
        let it = match of {
            Of::Arrival(stage) => Quality {
                of: stage.as_str(),
                series: ALL,
                of_orders: totals.of_orders(),
                ..Quality::default()
            },
            Of::Silence(status) => Quality {
                of: SILENCES,
                series: status.as_str(),
                of_silences: totals.in_time(),
                ..Quality::default()
            },
        };
        Quality { model, n_judged, ..it }.row()
    }
}

/// The rows, plainly: each row of `orders` that says that it was delivered, by itself.
pub(super) fn reference(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    /// Tenant, model, stage.
    type Whose = (String, String, &'static str);
    /// Minutes off, whether it came by p90, and if it was promised the risk told and whether it was late.
    type Told = (i64, bool, Option<(i64, bool)>);
    let mut sums: BTreeMap<Whose, Vec<Told>> = BTreeMap::new();
    for (name, row) in orders::reference(events, now) {
        let at = |field: &str| match row.values[orders::DEF.position(field).expect("a field")] {
            Value::Time(it) => Some(it),
            _ => None,
        };
        let journey = Journey::of(&row, name.tenant());
        let Some(delivered) = journey.delivered_at else { continue };
        if ["cancelled_at", "returned_at"].iter().any(|it| at(it).is_some_and(|it| it < delivered))
        {
            continue;
        }
        for (place, stage) in STAGES.into_iter().enumerate() {
            let of = stage.as_str();
            let Some(entered) = journey.entered(stage) else { continue };
            let mut further = STAGES[place + 1..].iter().filter_map(|it| journey.entered(*it));
            if further.any(|it| it <= entered) {
                continue;
            }
            // Eighty days from the midnight that comes.
            let last = (entered.div_euclid(DAY) + 81) * DAY;
            if now as i64 * 1_000 >= last {
                continue;
            }
            let Some((arrival, model)) = published().of(&journey.way(), stage, entered) else {
                continue;
            };
            let [p50, p90] = [0.5, 0.9].map(|it| arrival.by(it).div_euclid(1_000) * 1_000);
            let group = (name.tenant().to_string(), model.to_string(), of);
            let minutes = (delivered - p50).abs() / 60_000_000;
            let promise = journey.promised_at.map(|by| {
                // As `order_visibility` shows it.
                ((arrival.after(by) * 100.0).round() as i64, delivered > by)
            });
            sums.entry(group).or_default().push((minutes, delivered <= p90, promise));
        }
    }
    let arrivals = sums.into_iter().map(|((tenant, model, of), orders)| {
        let n = orders.len() as i64;
        let minutes: i64 = orders.iter().map(|it| it.0).sum();
        let in_time = orders.iter().filter(|it| it.1).count() as i64;
        let promised: Vec<(i64, bool)> = orders.iter().filter_map(|it| it.2).collect();
        let mean = |of: &dyn Fn(&(i64, bool)) -> i64| match promised.len() {
            0 => Value::Null,
            n => {
                Value::Int((promised.iter().map(of).sum::<i64>() as f64 / n as f64).round() as i64)
            }
        };
        let name = Name::new(&tenant, &key_text(&[&model, of]));
        let values = DEF.fields.iter().map(|field| match field.name {
            "model" => Value::Text(model.as_str().into()),
            "of" => Value::Text(of.into()),
            "series" => Value::Text("all".into()),
            "bucket_minutes" => Value::Int(0),
            "n_judged" => Value::Int(n),
            "mean_error_hours" => Value::Int((minutes as f64 / n as f64 / 60.0).round() as i64),
            "by_p90_permille" => Value::Int(in_time * 1_000 / n),
            "n_promised" => Value::Int(promised.len() as i64),
            "risk_told_permille" => mean(&|it| it.0 * 10),
            "late_permille" => mean(&|it| i64::from(it.1) * 1_000),
            "brier_permille" => brier(&promised),
            "late_auc_permille" => area(&promised),
            _ => Value::Null,
        });
        (name, Row { values: values.collect() })
    });
    let mut rows: BTreeMap<Name, Row> = arrivals.collect();
    rows.extend(reference_of_silences(events, now));
    rows
}

/// Of each order that was delivered, and not ended before: each time that it stood somewhere, whether
/// something was said of it often enough.
fn reference_of_silences(events: &[Event<'static>], now: Epoch) -> BTreeMap<Name, Row> {
    let mut sums: BTreeMap<(String, String, &str), Vec<bool>> = BTreeMap::new();
    for (name, row) in orders::reference(events, now) {
        let of = |field: &str| &row.values[orders::DEF.position(field).expect("a field")];
        let Value::Time(delivered) = *of("delivered_at") else { continue };
        let before = |it: &str| matches!(of(it), Value::Time(it) if *it < delivered);
        if before("cancelled_at") || before("returned_at") {
            continue;
        }
        let Value::Json(timeline) = of("timeline") else { panic!("a list") };
        let said = timeline.as_array().expect("a list").iter().map(|it| {
            let at = it["at"].as_str().and_then(schemas::time::parse_rfc3339).expect("an instant");
            let status = it["status"].as_str().and_then(Status::parse).expect("a status");
            (at, status, it.get("line").is_some())
        });
        let said: Vec<(i64, Status, bool)> = said.collect();
        // Statements of the whole order that say where it stands from then on.
        let mut stands: Vec<usize> = (0..said.len()).filter(|it| !said[*it].2).collect();
        stands.dedup_by_key(|it| said[*it].1);
        for (from, to) in stands.iter().zip(stands.iter().skip(1)) {
            let ((entered, status, _), (_, next, _)) = (said[*from], said[*to]);
            if matches!(status, Status::Delivered | Status::Cancelled) {
                break;
            }
            // Eighty days from the midnight that comes.
            let is_past = now as i64 * 1_000 >= (entered.div_euclid(DAY) + 81) * DAY;
            if is_past || matches!(next, Status::Cancelled | Status::Returned) {
                continue;
            }
            let places = || silences::places(&row);
            let usual = published().patience_by(name.tenant(), status, entered, places);
            let Some((usual, model)) = usual else { continue };
            let in_time = said[*from..=*to].windows(2).all(|it| it[1].0 - it[0].0 <= usual);
            let group = (name.tenant().to_string(), model.to_string(), status.as_str());
            sums.entry(group).or_default().push(in_time);
        }
    }
    let rows = sums.into_iter().map(|((tenant, model, status), stays)| {
        let in_time = stays.iter().filter(|it| **it).count();
        let values = DEF.fields.iter().map(|field| match field.name {
            "model" => Value::Text(model.as_str().into()),
            "of" => Value::Text("silences".into()),
            "series" => Value::Text(status.into()),
            "bucket_minutes" => Value::Int(0),
            "n_judged" => Value::Int(stays.len() as i64),
            "by_p95_permille" => Value::Int((in_time * 1_000 / stays.len()) as i64),
            _ => Value::Null,
        });
        let name = Name::new(&tenant, &key_text(&[&model, "silences", status]));
        (name, Row { values: values.collect() })
    });
    rows.collect()
}

/// Over pairs of risk and whether it was late: the mean of (risk - late)².
fn brier(promised: &[(i64, bool)]) -> Value {
    if promised.is_empty() {
        return Value::Null;
    }
    let off = |it: &(i64, bool)| it.0 - i64::from(it.1) * 100;
    let squares: i64 = promised.iter().map(|it| off(it).pow(2)).sum();
    Value::Int((squares as f64 / 10.0 / promised.len() as f64).round() as i64)
}

/// Each late one against each punctual one, by bands of five percent.
fn area(promised: &[(i64, bool)]) -> Value {
    let of = |late| promised.iter().filter(move |it| it.1 == late).map(|it| (it.0 / 5).min(19));
    let halves = |a: i64, b: i64| 1 + (a - b).signum();
    let pairs = of(true).flat_map(|late| of(false).map(move |it| halves(late, it)));
    match of(true).count() * of(false).count() {
        0 => Value::Null,
        n => Value::Int((pairs.sum::<i64>() as f64 * 500.0 / n as f64).round() as i64),
    }
}

#[cfg(test)]
mod tests;
