//! The settings of queues, of health, of identity and of capacity as the views take them.

use dataflows::health::Band;
use dataflows::queues::{Person, Pressing, Sla, Terms, crowded};

use crate::config;

/// Has the customers of this process judged by these.
pub fn judge_by(settings: &config::Health) {
    let weights = [
        settings.recency,
        settings.frequency,
        settings.trend,
        settings.sentiment,
        settings.cases,
        settings.late_orders,
    ];
    let bands = settings.bands.iter();
    dataflows::health::set_terms(dataflows::health::Terms {
        weights: weights.map(|it| u16::try_from(it).unwrap_or(u16::MAX)),
        bands: bands.map(|it| Band { name: it.0.as_str().into(), from: it.1 }).collect(),
        long_case_ms: i64::try_from(settings.long_case.as_millis()).unwrap_or(i64::MAX),
    });
}

/// Has the customers of this process joined to persons by these.
pub fn join_by(settings: &config::Identity) {
    dataflows::identity::set_terms(identity(settings));
}

/// Has this process's room judged by these.
pub fn scale_by(settings: &config::Capacity) {
    dataflows::capacity::set_terms(capacity(settings));
}

fn capacity(settings: &config::Capacity) -> dataflows::capacity::Terms {
    let full_permille = u16::try_from(settings.full * 10).unwrap_or(1_000);
    dataflows::capacity::Terms { full_permille }
}

fn identity(settings: &config::Identity) -> dataflows::identity::Terms {
    dataflows::identity::Terms {
        kinds: settings.kinds.iter().map(|it| (it.0.as_str().into(), it.1)).collect(),
        veto: settings.veto.iter().map(|it| it.as_str().into()).collect(),
        blocked: settings.blocked.iter().map(|it| it.as_str().into()).collect(),
        max_members: u32::try_from(settings.max_members).unwrap_or(u32::MAX),
    }
}

/// What the views are made with.
pub(super) fn of(settings: &config::Queues) -> Terms {
    let hundredth = |it: usize| u8::try_from(it).unwrap_or(100);
    let sla = settings.sla.iter().map(|it| Sla {
        tier: it.tier.as_deref().map(Into::into),
        band: it.band.as_deref().map(Into::into),
        times: it.times.map(|it| i64::try_from(it.as_micros()).unwrap_or(i64::MAX)),
    });
    let tiers = settings.tiers.iter();
    Terms {
        sla: sla.collect(),
        tiers: tiers.map(|it| Pressing { tier: it.0.as_str().into(), percent: it.1 }).collect(),
        falling: hundredth(settings.falling),
        late_order: hundredth(settings.late_order),
        third_case: hundredth(settings.third_case),
        due_soon: hundredth(settings.due_soon),
    }
}

/// What a case was brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Microseconds since the Unix epoch.
    pub due_at: i64,
    /// Microseconds since the Unix epoch.
    pub deadline: i64,
}

/// What the views promise, for cases that are long over: the same function, asked by itself.
pub struct Promises(Terms);

impl Promises {
    /// By these settings.
    pub fn of(settings: &config::Queues) -> Promises {
        Promises(of(settings))
    }

    /// Of a person of this tier who opened cases at these instants (in order), each case: severity
    /// and opened_at. What is known only while it is so (an order that is late) is not asked.
    pub fn each(&self, tier: Option<&str>, cases: &[(u8, i64)]) -> Vec<Brought> {
        const DAY: i64 = 86_400_000_000;
        let mut days: Vec<(i64, isize)> = Vec::new();
        for (_, opened_at) in cases {
            let day = opened_at.div_euclid(DAY);
            match days.last_mut().filter(|it| it.0 == day) {
                Some(it) => it.1 += 1,
                None => days.push((day, 1)),
            }
        }
        let person =
            Person { tier: tier.map(Into::into), crowded: crowded(&days), ..Person::default() };
        let brought = cases.iter().map(|(severity, opened_at)| {
            let it = self.0.bring(*severity, *opened_at, &person);
            Brought { due_at: it.due_at, deadline: it.deadline }
        });
        brought.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the defaults are the same on both sides of the wall.
    #[test]
    fn defaults_are_the_same_on_both_sides() {
        let ours = identity(&config::Identity::default());
        assert_eq!(ours, dataflows::identity::Terms::default());
        let ours = capacity(&config::Capacity::default());
        assert_eq!(ours, dataflows::capacity::Terms::default());
    }
}
