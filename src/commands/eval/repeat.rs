//! `millstream eval repeat`: who would have been said to buy again, and who did.
//!
//! # Meaning
//! The events go the way of every event, into `orders`; a purchase is an order that was placed and
//! not cancelled. As of the start of a day (UTC) everybody who bought before gets a chance, fitted on
//! what was known by then; came again is who has a purchase on that day or later. The area under the
//! curve is the chance that of one who came again and one who did not the first was given the
//! greater chance.

use std::collections::BTreeMap;

use schemas::rows::Value;
use serde_json::json;

use super::{area, each, one, text, through};
use crate::commands::chosen::Chosen;
use crate::commands::out::Out;
use crate::commands::{Problems, replay, typed};
use crate::config::Settings;
use crate::models::{Purchases, Repeat};
use crate::report::Report;

const DAY: i64 = 86_400_000_000;

/// Evaluates and prints.
pub(super) fn main(it: &typed::Repeat, chosen: &Chosen) -> Result<(), Problems> {
    let settings = chosen.settings(&[("--views", "engine.views", Some("orders".into()))], &[])?;
    let at = it.at.div_euclid(DAY);
    let customers = recorded(it, &settings).map_err(one)?;
    let all: Vec<&Purchases> = customers.values().collect();
    let repeat = Repeat::fit(&all, at, i64::from(it.within));
    let said: Vec<(f64, bool)> =
        all.iter().filter_map(|it| Some((repeat.chance(it)?, it.within(at, i64::MAX)))).collect();
    let n_came = said.iter().filter(|it| it.1).count();
    let auc = area(&said);
    let mut out = Out::default();
    let line = match it.json {
        true => {
            json!({"auc": (auc * 10_000.0).round() / 10_000.0, "n": said.len(), "came": n_came})
                .to_string()
        }
        false => format!(
            "{} customers, {n_came} of them came again: {auc:.3} (area under the curve){}",
            said.len(),
            if repeat.is_fitted() {
                ""
            } else {
                "; too little history to fit, by recent days alone"
            }
        ),
    };
    out.line(line).map_err(one)?;
    out.end().map_err(one)
}

/// What every customer bought, by tenant and customer.
fn recorded(
    it: &typed::Repeat,
    settings: &Settings,
) -> Result<BTreeMap<(String, String), Purchases>, Report> {
    let replay = through(it.events.clone(), it.mapping.clone());
    let (_, ended) = replay::run(&replay, settings.clone())?;
    let mut customers: BTreeMap<(String, String), Purchases> = BTreeMap::new();
    each(&ended.read, "orders", |of, tenant| {
        let (Value::Time(placed), Value::Int(amount), Value::Null, Some(customer)) =
            (of("placed_at"), of("amount"), of("cancelled_at"), text(of("customer")))
        else {
            return;
        };
        let bought = customers.entry((tenant.to_string(), customer)).or_default();
        bought.add(placed.div_euclid(DAY), 1, amount);
    })?;
    ended.stop()?;
    Ok(customers)
}
