//! `millstream eval eta`: what would have been said of recorded orders, and when they came.
//!
//! # Meaning
//! The events go the way of every event, into `orders`; its rows say when each order was paid,
//! shipped and delivered. Then the days are gone through in their order: at midnight what happened
//! before it is sealed, and each order that was paid or shipped on that day gets its instant of even
//! chance, the one of nine in ten, and (if shipped) the chance that it breaks its promise. Nothing
//! of that day or later is known to them. Judged is an order that was delivered, whose lines are
//! known, and in whose record a stage does not come after delivery.

use std::collections::BTreeMap;

use schemas::rows::Value;
use schemas::time::parse_rfc3339;
use serde_json::{Value as Json, json};

use super::{area, each, one, text, through};
use crate::commands::chosen::Chosen;
use crate::commands::out::Out;
use crate::commands::{Problems, replay, typed};
use crate::config::Settings;
use crate::models::{Lane, Lanes, Stage, WEIGHS, Way};
use crate::report::Report;

const DAY: i64 = 86_400_000_000;

/// Evaluates and prints.
pub(super) fn main(it: &typed::Eta, chosen: &Chosen) -> Result<(), Problems> {
    let settings = chosen.settings(&[("--views", "engine.views", Some("orders".into()))], &[])?;
    let orders = recorded(it, &settings).map_err(one)?;
    let [paid, shipped] = judged(&orders, it.channel.as_deref());
    let mut out = Out::default();
    let mut line = |text: String| out.line(text).map(|_| ()).map_err(one);
    if it.json {
        let mut of_shipped = paid_like(&shipped);
        of_shipped["late_auc"] = rounded(area(&shipped.late));
        line(json!({"approval": paid_like(&paid), "shipping": of_shipped}).to_string())?;
    } else {
        line(format!("{} orders on record", orders.len()))?;
        for (name, it) in [("paid", &paid), ("shipped", &shipped)] {
            line(format!(
                "  {name:<8} {} judged: {:.2} days off, {:.3} arrived by the p90",
                it.n,
                it.mae(),
                it.covered()
            ))?;
        }
        line(format!(
            "  late     {:.3} (area under the curve, once shipped)",
            area(&shipped.late)
        ))?;
    }
    out.end().map_err(one)
}

fn paid_like(it: &Tally) -> Json {
    json!({"mae": rounded(it.mae()), "p90_cover": rounded(it.covered()), "n": it.n})
}

fn rounded(it: f64) -> Json {
    json!((it * 10_000.0).round() / 10_000.0)
}

/// An order on record.
struct Order {
    tenant: String,
    /// From, to, seller of its first line.
    places: [Option<String>; 3],
    channel: Option<String>,
    has_lines: bool,
    placed_at: Option<i64>,
    promised_at: Option<i64>,
    /// When it was first paid, shipped, delivered.
    paid_at: Option<i64>,
    shipped_at: Option<i64>,
    delivered_at: Option<i64>,
}

impl Order {
    fn way(&self) -> Way<'_> {
        let [from, to, seller] = &self.places;
        Way {
            tenant: &self.tenant,
            from: from.as_deref(),
            to: to.as_deref(),
            seller: seller.as_deref(),
            promised: self.promised_at.zip(self.placed_at).map(|(by, since)| by - since),
        }
    }

    fn entered(&self, stage: Stage) -> Option<i64> {
        let at = if stage == Stage::Paid { self.paid_at } else { self.shipped_at };
        at.filter(|at| self.delivered_at.is_none_or(|it| it >= *at))
    }
}

/// Every order on record.
fn recorded(it: &typed::Eta, settings: &Settings) -> Result<Vec<Order>, Report> {
    let replay = through(it.events.clone(), it.mapping.clone());
    let (_, ended) = replay::run(&replay, settings.clone())?;
    let mut orders = Vec::new();
    each(&ended.read, "orders", |of, tenant| {
        let at = |name: &str| match of(name) {
            Value::Time(it) => Some(it),
            _ => None,
        };
        let (Value::Json(lines), Value::Json(timeline)) = (of("lines"), of("timeline")) else {
            return;
        };
        let place = |name: &str| Some(lines.get(0)?.get(name)?.as_str()?.to_string());
        let first = |status: &str| {
            let said = timeline.as_array().into_iter().flatten();
            let mut said = said.filter(|it| it["status"] == status && it.get("line").is_none());
            parse_rfc3339(said.next()?["at"].as_str()?)
        };
        orders.push(Order {
            tenant: tenant.to_string(),
            places: ["ship_from", "ship_to", "seller"].map(place),
            channel: text(of("channel")),
            has_lines: lines.as_array().is_some_and(|it| !it.is_empty()),
            placed_at: at("placed_at"),
            promised_at: at("promised_at"),
            paid_at: first("paid"),
            shipped_at: first("shipped"),
            delivered_at: at("delivered_at"),
        });
    })?;
    ended.stop()?;
    Ok(orders)
}

/// Goes through the days; what was said of orders paid, and of orders shipped.
fn judged(orders: &[Order], channel: Option<&str>) -> [Tally; 2] {
    let mut happened: Vec<(i64, usize, Stage, bool)> = Vec::new();
    let mut asked: BTreeMap<i64, Vec<(usize, Stage, i64)>> = BTreeMap::new();
    for (n, order) in orders.iter().enumerate() {
        let of_channel = channel.is_none_or(|it| order.channel.as_deref() == Some(it));
        for stage in [Stage::Paid, Stage::Shipped] {
            let Some(entered) = order.entered(stage) else { continue };
            happened.push((entered, n, stage, false));
            happened.extend(order.delivered_at.map(|it| (it, n, stage, true)));
            if order.delivered_at.is_some() && order.has_lines && of_channel {
                asked.entry(entered.div_euclid(DAY)).or_default().push((n, stage, entered));
            }
        }
    }
    happened.sort_by_key(|it| it.0);
    let mut happened = happened.into_iter().peekable();
    let mut lanes = Lanes::default();
    let mut tallies = [Tally::default(), Tally::default()];
    for (day, asked) in asked {
        let midnight = day * DAY;
        while let Some((at, n, stage, is_arrival)) = happened.next_if(|it| it.0 < midnight) {
            let lane = Lane::of(&orders[n].way(), stage);
            match (is_arrival, orders[n].entered(stage)) {
                (true, Some(entered)) => lanes.arrived(&lane, entered, at, 1),
                _ => lanes.entered(&lane, at, 1),
            }
        }
        lanes.forget(midnight - WEIGHS);
        let mut sealed = lanes.sealed(midnight);
        for (n, stage, entered) in asked {
            let order = &orders[n];
            let Some(delivered) = order.delivered_at else { continue };
            let arrival = sealed.arrival(&order.way(), stage, entered);
            let tally = &mut tallies[usize::from(stage == Stage::Shipped)];
            tally.n += 1;
            tally.off += (arrival.by(0.5) - delivered).unsigned_abs() as f64 / DAY as f64;
            tally.in_time += u64::from(delivered <= arrival.by(0.9));
            if let Some(promised) = order.promised_at {
                tally.late.push((arrival.after(promised), delivered > promised));
            }
        }
    }
    tallies
}

/// How near what was said came.
#[derive(Default)]
struct Tally {
    n: u64,
    off: f64,
    in_time: u64,
    /// Chance said, and whether it was late.
    late: Vec<(f64, bool)>,
}

impl Tally {
    fn mae(&self) -> f64 {
        self.off / self.n.max(1) as f64
    }

    fn covered(&self) -> f64 {
        self.in_time as f64 / self.n.max(1) as f64
    }
}
