//! What was measured before the demonstration began: calls by the hour, two weeks of them, so that
//! there is a forecast from the first minute on.
//!
//! # Meaning
//! The value of an hour depends on the hour alone: few by night and on Sundays, most at ten and at
//! three, and a tenth more or less by a hash.

use schemas::encode;
use schemas::events::{Data, Event, LoadMeasured};
use schemas::time::rfc3339;

use super::TENANTS;

/// Days that were measured.
const DAYS: i64 = 14;
const HOUR: i64 = 3_600_000_000;
/// Calls of an hour of a weekday, by hour of the day.
const USUAL: [i64; 24] = [
    6, 4, 3, 3, 4, 8, 19, 42, 88, 121, 134, 126, 104, 109, 125, 131, 118, 96, 71, 52, 38, 27, 17,
    10,
];
/// Percent of it, from Thursday (the first of January 1970 was one) to Wednesday.
const WEEK: [i64; 7] = [100, 94, 61, 33, 117, 104, 99];

/// The events: every hour of every tenant that had ended at `start_ms`, oldest first.
pub fn past(start_ms: u64) -> impl Iterator<Item = Vec<u8>> {
    let now = start_ms.cast_signed().saturating_mul(1_000);
    let end = now.div_euclid(HOUR);
    (end - DAYS * 24..end).flat_map(|hour| TENANTS.map(|tenant| measured(tenant, hour)))
}

fn measured(tenant: &'static str, hour: i64) -> Vec<u8> {
    let time = hour * HOUR;
    let event = Event {
        tenant: tenant.into(),
        source: "/demo/exchange".into(),
        id: format!("{}/calls", rfc3339(time)).into(),
        time,
        data: Data::LoadMeasured(LoadMeasured {
            series: "calls".into(),
            bucket_minutes: 60,
            value: calls(hour),
        }),
    };
    encode::structured(&event)
}

fn calls(hour: i64) -> i64 {
    let (day, of_day) = (hour.div_euclid(24), hour.rem_euclid(24) as usize);
    let usual = USUAL[of_day] * WEEK[day.rem_euclid(7) as usize] / 100;
    // The upper bits of a product with an odd number are as good as any.
    let noise = (hour as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usual * (90 + (noise % 21).cast_signed()) / 100
}
