//! `[queues]`: what waiting cases are promised, and who is next.
//!
//! # Meaning
//! A line of `sla` says until when work begins on cases of a class: for whom (`*`: everybody; a
//! tier; `tier/band` or `*/band` with the band of the customer's health), then a time for each of
//! the severities 1 to 4. A line of `tiers` says what a tier's cases are left of that time, in
//! hundredths: who is left half of it is served as if half had passed.

use std::time::Duration;

use super::values;

/// `[queues]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// What is promised. The line for everybody is among them.
    pub sla: Vec<SlaLine>,
    /// Tiers, and what of a hundred their cases are left of their time.
    pub tiers: Vec<(String, u8)>,
    /// The same while the customer's health falls (75).
    pub falling: usize,
    /// The same while an order of the customer is late (75).
    pub late_order: usize,
    /// The same for one of three cases within a week (75).
    pub third_case: usize,
    /// Due soon when so much of a hundred of the time is left (25).
    pub due_soon: usize,
    /// Cases up to this severity come before all others (1); 0: none.
    pub first_severity: usize,
    /// Every n-th pick, n being this, takes the oldest case of those that are late already (4); 0: none.
    pub fairness: usize,
    /// How long a claim holds a case (15 min).
    pub lease: Duration,
    /// Requests that wait for the desk (256).
    pub max_waiting: usize,
}

/// One line of the table of promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaLine {
    /// Of this tier; of every one if absent.
    pub tier: Option<String>,
    /// Of this band of health; of every one if absent.
    pub band: Option<String>,
    /// By severity, from 1.
    pub times: [Duration; 4],
}

/// Most lines of `sla`, and of `tiers`.
pub const LINES_MAX: usize = 64;
/// The longest promise: a year.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Default for Queues {
    fn default() -> Queues {
        let minutes = |it: u64| Duration::from_secs(60 * it);
        Queues {
            sla: vec![SlaLine { tier: None, band: None, times: [15, 60, 240, 1_440].map(minutes) }],
            tiers: vec![("gold".into(), 50), ("silver".into(), 75)],
            falling: 75,
            late_order: 75,
            third_case: 75,
            due_soon: 25,
            first_severity: 1,
            fairness: 4,
            lease: minutes(15),
            max_waiting: 256,
        }
    }
}

/// What is expected of `sla`, in words.
pub(super) const SLA_EXPECTED: &str = "lines `for-whom time time time time` (severity 1 to 4), one of them for everybody (`*`), at \
     most 64, such as \"* 15min 1h 4h 1d\" or \"gold/falling 5min 20min 1h 8h\"";

/// What is expected of `tiers`, in words.
pub(super) const TIERS_EXPECTED: &str =
    "lines `tier hundredths` (1 to 100), at most 64, such as \"gold 50\"";

/// Reads the table of promises.
pub(super) fn sla(lines: &[String]) -> Option<Vec<SlaLine>> {
    let read: Option<Vec<SlaLine>> = lines.iter().map(|it| sla_line(it)).collect();
    let read = read.filter(|it| it.len() <= LINES_MAX)?;
    let whose = |it: &SlaLine| (it.tier.clone(), it.band.clone());
    let mut all: Vec<_> = read.iter().map(whose).collect();
    all.sort();
    all.dedup();
    (all.len() == read.len() && all.contains(&(None, None))).then_some(read)
}

fn sla_line(line: &str) -> Option<SlaLine> {
    let mut words = line.split_whitespace();
    let whose = words.next()?;
    let (tier, band) = match whose.split_once('/') {
        Some((tier, band)) => {
            (tier, Some(band.to_string()).filter(|it| !it.is_empty() && it != "*"))
        }
        None => (whose, None),
    };
    let times: Option<Vec<Duration>> = words.map(values::duration).collect();
    let times: [Duration; 4] = times?.try_into().ok()?;
    times.iter().all(|it| !it.is_zero() && *it <= LONGEST).then(|| SlaLine {
        tier: Some(tier.to_string()).filter(|it| it != "*"),
        band,
        times,
    })
}

/// A line as it is written.
pub(super) fn show_sla(it: &SlaLine) -> String {
    let tier = it.tier.as_deref().unwrap_or("*");
    let band = it.band.as_ref().map(|it| format!("/{it}")).unwrap_or_default();
    let times = it.times.map(|it| format!(" {}", values::show_duration(it))).concat();
    format!("{tier}{band}{times}")
}

/// Reads what tiers are left.
pub(super) fn tiers(lines: &[String]) -> Option<Vec<(String, u8)>> {
    let line = |line: &String| {
        let (tier, percent) = line.trim().rsplit_once(' ')?;
        let percent = percent.parse().ok().filter(|it| (1..=100).contains(it))?;
        Some((tier.trim().to_string(), percent))
    };
    let read: Vec<(String, u8)> = lines.iter().map(line).collect::<Option<_>>()?;
    let mut names: Vec<_> = read.iter().map(|it| &it.0).collect();
    names.sort();
    names.dedup();
    (names.len() == read.len() && read.len() <= LINES_MAX).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a line means what was written, and what nobody can mean is refused.
    #[test]
    fn lines_are_read_as_they_are_shown() {
        let read = |texts: &[&str]| {
            sla(&texts.iter().map(|it| it.to_string()).collect::<Vec<_>>())
                .map(|it| it.iter().map(show_sla).collect::<Vec<_>>())
        };
        let good = ["* 15min 1h 4h 1d", "gold 1min 2min 3min 4min", "*/falling 1s 1s 1s 1s"];
        assert_eq!(read(&good).unwrap(), good);
        for bad in [
            &["gold 1min 1min 1min 1min"][..],
            &["* 1min 1min 1min"],
            &["* 1 1 1 1"],
            &["* 0s 1s 1s 1s"],
            &["* 1s 1s 1s 1s", "* 2s 2s 2s 2s"],
            &["* 1s 1s 1s 400d"],
            &[],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let shares = |it: &str| tiers(&[it.to_string()]);
        assert_eq!(shares("very gold 50"), Some(vec![("very gold".into(), 50)]));
        assert_eq!([shares("gold"), shares("gold 0"), shares("gold 101")], [None, None, None]);
    }
}
