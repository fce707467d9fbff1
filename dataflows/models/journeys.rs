//! What a row of `orders` says of an order's way: the one place where it is read from, for who
//! seals, who is told, and who measures.
//!
//! # Meaning
//! An order enters a stage ([`STAGES`]) when it is first said to stand there, as a whole. One that
//! was delivered before it entered a stage did not enter it. It is in the furthest stage that it
//! entered, whatever was said later of an earlier one. One that was cancelled, or came back without
//! having been delivered, is on its way no more and teaches nothing.

use schemas::events::Status;
use schemas::rows::{Row, Value};
use schemas::time::parse_rfc3339;
use serde_json::Value as Json;

use super::eta::WEIGHS;
use super::lanes::{Lane, Lanes, STAGES, Way};
use super::silences;
use crate::orders;

/// Adds what a row of `orders` says of what was known before a boundary: when it arrived, and how
/// long nothing was said of it where it stood.
pub fn teach(row: &Row, tenant: &str, lanes: &mut Lanes, boundary: i64) {
    Journey::of(row, tenant).teach(lanes, boundary);
    let places = silences::places(row);
    for stay in silences::stays(row, boundary) {
        lanes.silences.add(tenant, places, &stay, 1);
    }
}

/// An order's way.
#[derive(Clone, Debug, Default)]
pub struct Journey {
    tenant: String,
    /// From, to, seller (or carrier) of its first line.
    places: [Option<String>; 3],
    /// Whether its lines are known.
    pub has_lines: bool,
    placed_at: Option<i64>,
    /// When it was promised, microseconds since the Unix epoch, like all that follow.
    pub promised_at: Option<i64>,
    /// When it was first said to stand at each of [`STAGES`].
    stood: [Option<i64>; STAGES.len()],
    /// When it was first delivered.
    pub delivered_at: Option<i64>,
    /// When it was first cancelled, or came back.
    ended_at: Option<i64>,
}

impl Journey {
    /// Of a row of `orders`.
    pub fn of(row: &Row, tenant: &str) -> Journey {
        let value = |name: &str| orders::DEF.position(name).and_then(|it| row.values.get(it));
        let at = |name: &str| match value(name) {
            Some(Value::Time(it)) => Some(*it),
            _ => None,
        };
        let list = |name: &str| match value(name) {
            Some(Value::Json(Json::Array(it))) => it.as_slice(),
            _ => &[],
        };
        let (lines, timeline) = (list("lines"), list("timeline"));
        let place = |name: &str| Some(lines.first()?.get(name)?.as_str()?.to_string());
        let first = |status: Status| {
            let is = |it: &&Json| it["status"] == status.as_str() && it.get("line").is_none();
            parse_rfc3339(timeline.iter().find(is)?["at"].as_str()?)
        };
        Journey {
            tenant: tenant.to_string(),
            places: [
                place("ship_from"),
                place("ship_to"),
                place("seller").or_else(|| place("carrier")),
            ],
            has_lines: !lines.is_empty(),
            placed_at: at("placed_at"),
            promised_at: at("promised_at"),
            stood: STAGES.map(first),
            delivered_at: at("delivered_at"),
            ended_at: at("cancelled_at").into_iter().chain(at("returned_at")).min(),
        }
    }

    /// As lanes tell ways apart.
    pub fn way(&self) -> Way<'_> {
        let [from, to, seller] = &self.places;
        Way {
            tenant: &self.tenant,
            from: from.as_deref(),
            to: to.as_deref(),
            seller: seller.as_deref(),
            promised: self.promised_at.zip(self.placed_at).map(|(by, since)| by - since),
        }
    }

    /// When it entered a stage.
    pub fn entered(&self, stage: Status) -> Option<i64> {
        let place = STAGES.iter().position(|it| *it == stage)?;
        self.stood[place].filter(|at| self.delivered_at.is_none_or(|it| it >= *at))
    }

    /// The stages that it entered and since when, the furthest first; none once it is on its way no
    /// more.
    pub fn stages(&self) -> impl Iterator<Item = (Status, i64)> + '_ {
        let is_over = self.delivered_at.is_some() || self.ended_at.is_some();
        let stages = STAGES.into_iter().rev().filter(move |_| !is_over);
        stages.filter_map(|stage| Some((stage, self.entered(stage)?)))
    }

    /// Adds what was known of when it arrived before a boundary, as far as that still weighs.
    pub fn teach(&self, lanes: &mut Lanes, boundary: i64) {
        let before = |at: &i64| *at < boundary;
        let delivered = self.delivered_at.filter(before);
        if delivered.is_none() && self.ended_at.is_some_and(|at| at < boundary) {
            return;
        }
        for stage in STAGES {
            let since = boundary.saturating_sub(WEIGHS);
            let Some(entered) = self.entered(stage).filter(|it| *it >= since && before(it)) else {
                continue;
            };
            let lane = Lane::of(&self.way(), stage);
            lanes.entered(&lane, entered, 1);
            if let Some(delivered) = delivered {
                lanes.arrived(&lane, entered, delivered, 1);
            }
        }
    }
}
