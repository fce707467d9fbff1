//! What a case is promised, and what brings it forward: a pure function of settings.
//!
//! # Meaning
//! Promise: opened_at and the time of the class. Of the lines of the table the one stands that says
//! most: tier and band, else tier, else band, else the one for everybody. Deadline: opened_at and
//! what is left of that time when each reason has taken its share, one after the other.

use compact_str::{CompactString, format_compact};

use super::Person;

/// Severities, 1 to 4.
const SEVERITIES: usize = 4;

/// One line of the table of promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sla {
    /// Of this tier; of every one if absent.
    pub tier: Option<CompactString>,
    /// Of this band of health; of every one if absent.
    pub band: Option<CompactString>,
    /// By severity, from 1: until work begins, microseconds.
    pub times: [i64; SEVERITIES],
}

/// How much of its time a tier's case is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressing {
    /// The tier.
    pub tier: CompactString,
    /// Of a hundred.
    pub percent: u8,
}

/// The terms by which cases wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is promised. The line for everybody is among them.
    pub sla: Vec<Sla>,
    /// What tiers are left of their time.
    pub tiers: Vec<Pressing>,
    /// What a case is left of its time while its customer's health falls; of a hundred.
    pub falling: u8,
    /// The same, while an order of its customer is late.
    pub late_order: u8,
    /// The same, for one of three cases of a customer within a week.
    pub third_case: u8,
    /// A case is due soon when so much of its time is left; of a hundred.
    pub due_soon: u8,
}

/// What becomes of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bring {
    /// Severity, tier, band.
    pub class: CompactString,
    /// opened_at and the time of its class, microseconds since the Unix epoch.
    pub due_at: i64,
    /// When it is due soon.
    pub soon_at: i64,
    /// What the queue is ordered by.
    pub deadline: i64,
    /// Why that is earlier than `due_at`, in words.
    pub reasons: Vec<CompactString>,
}

const MINUTE: i64 = 60_000_000;

impl Default for Terms {
    /// What is kept where nobody says otherwise, and what `reference()` of the views is made with.
    fn default() -> Terms {
        let times = [15, 60, 240, 1_440].map(|it| it * MINUTE);
        let tier = |tier: &str, percent| Pressing { tier: tier.into(), percent };
        Terms {
            sla: vec![Sla { tier: None, band: None, times }],
            tiers: vec![tier("gold", 50), tier("silver", 75)],
            falling: 75,
            late_order: 75,
            third_case: 75,
            due_soon: 25,
        }
    }
}

impl Terms {
    /// Until work begins, microseconds. `severity`: 1 to 4, as the contract has it.
    fn time(&self, severity: u8, person: &Person) -> i64 {
        let place = usize::from(severity.clamp(1, SEVERITIES as u8)) - 1;
        let fits =
            |said: &Option<CompactString>, is: &Option<CompactString>| said.is_none() || said == is;
        let fitting = self
            .sla
            .iter()
            .filter(|it| fits(&it.tier, &person.tier) && fits(&it.band, &person.band));
        let most = fitting.max_by_key(|it| (it.tier.is_some(), it.band.is_some()));
        most.map_or(Terms::default().sla[0].times[place], |it| it.times[place])
    }

    /// What becomes of a case of this customer.
    pub fn bring(&self, severity: u8, opened_at: i64, person: &Person) -> Bring {
        let time = self.time(severity, person);
        let mut class = format_compact!("P{severity}");
        for part in person.tier.iter().chain(&person.band) {
            class.push('/');
            class.push_str(part);
        }
        let (mut left, mut reasons) = (time, Vec::new());
        let mut bring = |why: &str, percent: u8| {
            left = share(left, percent);
            reasons.push(format_compact!("{why}: {percent} % of its time"));
        };
        if let Some(tier) = &person.tier
            && let Some(it) = self.tiers.iter().find(|it| it.tier == *tier)
        {
            bring(&format_compact!("tier {tier}"), it.percent);
        }
        if let Some((band, before)) = person.band.as_ref().zip(person.fell_from.as_ref())
            && self.falling < 100
        {
            bring(&format_compact!("health fell from {before} to {band}"), self.falling);
        }
        if person.is_late && self.late_order < 100 {
            bring("an order is late", self.late_order);
        }
        let day = day_of(opened_at);
        let is_crowded = person.crowded.iter().any(|it| (it.0..=it.1).contains(&day));
        if is_crowded && self.third_case < 100 {
            bring("one of three cases within a week", self.third_case);
        }
        let due_at = opened_at.saturating_add(time);
        Bring {
            class,
            due_at,
            soon_at: due_at.saturating_sub(share(time, self.due_soon)),
            deadline: opened_at.saturating_add(left),
            reasons,
        }
    }
}

/// So much of a hundred of a time.
fn share(time: i64, percent: u8) -> i64 {
    (i128::from(time) * i128::from(percent) / 100) as i64
}

/// The day since 1970 on which an instant lies, UTC.
pub(crate) fn day_of(at: i64) -> i64 {
    at.div_euclid(24 * 60 * MINUTE)
}
