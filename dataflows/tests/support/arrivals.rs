//! Two models of when orders arrive and how long nothing is usually said of them: orders of histories
//! are told something.

use dataflows::models::arrivals::{Speaker, published};
use dataflows::models::eta::Fitted;
use dataflows::models::lanes::{Lane, Lanes, QUARTER, STAGES, Way};
use dataflows::models::silences::{ORDERS_MIN, SILENCE_MIN, Stay};
use schemas::events::Status;

use crate::history::{SPAN_MS, START_MS};

/// The second speaks of what happens later. Of what is said before the first the fixed times hold.
pub(crate) fn publish() {
    let speaker = |name, days, since| Speaker::new(arrivals_of(days), name, since);
    let first = START_MS as i64 * 1_000;
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        published().set(vec![
            speaker("arrival 1", 3, first + 1_000_000),
            speaker("arrival 2", 9, first + SPAN_MS as i64 * 500),
        ]);
    });
}

/// What is usual where orders take so many days: of some statuses, tenants and places, from a quarter
/// of an hour to eighty days, and longer than the fixed time or shorter.
fn silences_of(days: i64, lanes: &mut Lanes) {
    let default = [
        (Status::Placed, None, 5 * days * SILENCE_MIN),
        (Status::Paid, None, 0),
        (Status::Paid, Some("north"), 8 * 96 * SILENCE_MIN),
        (Status::Shipped, None, 79 * 96 * SILENCE_MIN),
        (Status::OutForDelivery, Some("south"), days * 96 * SILENCE_MIN),
    ];
    let acme = [(Status::Shipped, None, days * SILENCE_MIN), (Status::InProduction, None, 0)];
    let default = default.into_iter().map(|it| ("default", it));
    for (tenant, (status, from, silence)) in default.chain(acme.map(|it| ("acme", it))) {
        let stay = Stay { status, entered: 0, silence, went_on: true };
        // Those without a place are most of all.
        let n = if from.is_none() { 20 * ORDERS_MIN } else { ORDERS_MIN };
        lanes.silences.add(tenant, [from, None], &stay, n);
    }
}

/// What is known where orders take so many days.
fn arrivals_of(days: i64) -> Fitted {
    let (mut lanes, day) = (Lanes::default(), 4 * QUARTER);
    let stages = ["default", "acme"].into_iter().flat_map(|it| STAGES.map(|stage| (it, stage)));
    // Of one pair nothing is known: what was said before stands.
    for (tenant, stage) in stages.filter(|it| *it != ("acme", Status::QualityChecked)) {
        let lane = Lane::of(&Way { tenant, ..Way::default() }, stage);
        for at in (0..60).map(|it| it * day) {
            lanes.entered(&lane, at, 1);
            lanes.arrived(&lane, at, at + days * day, 1);
        }
    }
    silences_of(days, &mut lanes);
    lanes.sealed(90 * day).unwrap()
}
