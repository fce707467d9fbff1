//! `millstream eval eta`: what would have been said of recorded orders, and when they came.
//!
//! # Meaning
//! The events go the way of every event, into `orders`; its rows say when each order entered its
//! stages, and when it was delivered. Then the days are gone through in their order: at midnight what
//! happened before it is sealed into the body that a running process would publish, and each order that
//! was paid or shipped on that day gets its instant of even chance, the one of nine in ten, and (if
//! shipped) the chance that it breaks its promise. Nothing of that day or later is known to them.
//! Judged is an order that was delivered, whose lines are known, in whose record a stage does not come
//! after delivery, and of which anything was said.

use std::collections::BTreeMap;

use schemas::events::Status;
use serde_json::{Value as Json, json};

use super::{area, each_row, one, text, through};
use crate::commands::chosen::Chosen;
use crate::commands::out::Out;
use crate::commands::{Problems, replay, typed};
use crate::config::Settings;
use crate::models::{Fitted, Journey, Lane, Lanes, STAGES, WEIGHS};
use crate::report::Report;

const DAY: i64 = 86_400_000_000;
/// Stages at which it is judged what was said.
const JUDGED: [Status; 2] = [Status::Paid, Status::Shipped];

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
    journey: Journey,
    channel: Option<String>,
}

/// Every order on record.
fn recorded(it: &typed::Eta, settings: &Settings) -> Result<Vec<Order>, Report> {
    let replay = through(it.events.clone(), it.mapping.clone());
    let (_, ended) = replay::run(&replay, settings.clone())?;
    let mut orders = Vec::new();
    each_row(&ended.read, "orders", |of, name, row| {
        orders
            .push(Order { journey: Journey::of(row, name.tenant()), channel: text(of("channel")) });
    })?;
    ended.stop()?;
    Ok(orders)
}

/// Goes through the days; what was said of orders paid, and of orders shipped.
fn judged(orders: &[Order], channel: Option<&str>) -> [Tally; 2] {
    let mut happened: Vec<(i64, usize, Status, bool)> = Vec::new();
    let mut asked: BTreeMap<i64, Vec<(usize, Status, i64)>> = BTreeMap::new();
    for (n, order) in orders.iter().enumerate() {
        let of_channel = channel.is_none_or(|it| order.channel.as_deref() == Some(it));
        for stage in STAGES {
            let Some(entered) = order.journey.entered(stage) else { continue };
            happened.push((entered, n, stage, false));
            happened.extend(order.journey.delivered_at.map(|it| (it, n, stage, true)));
            let is_judged = JUDGED.contains(&stage) && of_channel;
            if is_judged && order.journey.delivered_at.is_some() && order.journey.has_lines {
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
            let lane = Lane::of(&orders[n].journey.way(), stage);
            match (is_arrival, orders[n].journey.entered(stage)) {
                (true, Some(entered)) => lanes.arrived(&lane, entered, at, 1),
                _ => lanes.entered(&lane, at, 1),
            }
        }
        lanes.forget(midnight - WEIGHS);
        // As it would have been read from the disk.
        let body = lanes.sealed(midnight).map(|it| it.body());
        let Some(sealed) = body.and_then(|it| Fitted::of_body(&it)) else { continue };
        for (n, stage, entered) in asked {
            let order = &orders[n].journey;
            let Some(delivered) = order.delivered_at else { continue };
            let Some(arrival) = sealed.arrival(&order.way(), stage, entered) else { continue };
            let tally = &mut tallies[usize::from(stage == Status::Shipped)];
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
