//! What facts come to as of a day: components, score, band, when that changed, and why.
//!
//! # Meaning
//! Each component is a whole number from 0 to 100, made of sums at the moment of asking:
//!
//! - `recency`: 100 · 4r / (4r + q), with q the days since the last purchase and r the customer's
//!   own rhythm: the mean distance of days with a purchase, of which one is taken to be
//!   [`PRIOR`] days. As usual is 80, four times as long is 50.
//! - `frequency`: 100 · f / (f + 2), with f the days with a purchase, of which one half as new by
//!   [`HALF_LIFE`] days counts half.
//! - `trend`: 100 · a / (a + b): what was spent in the last [`RECENT`] days, and in as many of the
//!   [`PAST`] before (of as many as there are), less what was given back; of the currency in which
//!   most was ordered.
//! - `sentiment`: 50 and half the mean of the texts of the last [`RECENT`] days, of which one half
//!   as new by [`TEXT_HALF_LIFE`] counts half.
//! - `cases`, `late_orders`: 100 less what is wrong.
//!
//! As of an earlier day only what was said before that day began counts, and of statements that
//! were said again the newest.

use schemas::names::Currency;
use schemas::time::rfc3339;

use super::facts::{AGE_MAX, Cell, DAY_MS, Facts, Statement, What, day_of, start_of};
use super::terms::{PARTS, Terms};

/// Days back in which a change of band is looked for.
pub(super) const LOOK_BACK: i64 = 28;
/// The distance of purchases that one of the customer's own is taken to be, days.
const PRIOR: i64 = 60;
/// Days by which a purchase counts half.
const HALF_LIFE: i64 = 150;
/// Days by which a text counts half.
const TEXT_HALF_LIFE: i64 = 30;
/// Days that are recent.
const RECENT: i64 = 90;
/// Days before those.
const PAST: i64 = 270;
/// Days for which an order that came late is held against us.
const CAME_LATE: i64 = 60;
/// A whole, where something counts half.
const ONE: i64 = 1_024;

/// A component.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) value: i64,
    words: Words,
}

/// What a component is about, for its words.
#[derive(Clone, Debug, PartialEq)]
enum Words {
    Recency { last: i64, every: i64 },
    Frequency { n: i64 },
    Trend { percent: i64 },
    Sentiment { mean: i64 },
    Cases { open: i64, long: i64 },
    Late { late: i64, came: i64 },
}

/// What facts come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) parts: [Option<Part>; PARTS.len()],
    pub(super) score: u8,
    /// The place of the band.
    pub(super) band: usize,
}

/// Judges as of a day, by what was said before the day `until`; none where nothing was.
pub(super) fn judge(known: &Known<'_>, day: i64, until: i64, terms: &Terms) -> Option<Judged> {
    let facts = known.facts;
    if facts.begins()? >= until {
        return None;
    }
    let starts = start_of(day, facts.offset);
    let said = if until == i64::MAX { NEVER } else { start_of(until, facts.offset) };
    let (recency, frequency) = purchases(facts, day, until).unzip();
    let parts = [
        recency,
        frequency,
        trend(&facts.bought, day, until),
        sentiment(facts, day, until),
        Some(known.cases(starts, said, terms)),
        Some(known.late_orders(day, starts, said)),
    ];
    let (mut sum, mut weight) = (0, 0);
    for (part, weighs) in parts.iter().zip(terms.weights) {
        let Some(part) = part else { continue };
        sum += part.value * i64::from(weighs);
        weight += i64::from(weighs);
    }
    // Where nothing that is known weighs anything, nothing can be said for or against.
    let score = if weight > 0 { (sum / weight) as u8 } else { 50 };
    let band = terms.bands.iter().position(|it| score >= it.from);
    let band = band.unwrap_or(terms.bands.len().saturating_sub(1));
    Some(Judged { parts, score, band })
}

/// Days by which something is older; nothing is younger than today.
fn age(day: i64, of: i64) -> i64 {
    (day - of).clamp(0, AGE_MAX)
}

/// What remains of [`ONE`] after so many days, in a straight line from half to half.
fn remains(age: i64, half_life: i64) -> i64 {
    (ONE >> (age / half_life)) * (2 * half_life - age % half_life) / (2 * half_life)
}

fn purchases(facts: &Facts, day: i64, until: i64) -> Option<(Part, Part)> {
    let (mut n, mut first, mut last, mut counts) = (0, 0, i64::MIN, 0);
    for it in facts.bought.iter().filter(|it| it.n > 0 && it.day < until) {
        // Cells of one day are neighbours.
        if it.day == last {
            continue;
        }
        first = if n == 0 { it.day } else { first };
        (n, last) = (n + 1, it.day);
        counts += remains(age(day, it.day), HALF_LIFE);
    }
    if n == 0 {
        return None;
    }
    // The rhythm is `days / n`.
    let days = PRIOR + (last - first);
    let quiet = age(day, last);
    let recency = 100 * 4 * days / (4 * days + quiet * n);
    let words = Words::Recency {
        last: start_of(last, facts.offset) + DAY_MS / 2,
        every: (days + n / 2) / n,
    };
    let recency = Part { value: recency, words };
    let value = 100 * counts / (counts + 2 * ONE);
    Some((recency, Part { value, words: Words::Frequency { n } }))
}

fn trend(bought: &[Cell], day: i64, until: i64) -> Option<Part> {
    let counts = || bought.iter().filter(|it| it.day < until);
    let orders = |of: Currency| counts().filter(|it| it.currency == of).map(|it| it.n).sum::<u64>();
    let first = counts().next()?.currency;
    // Nearly everybody pays in one.
    let most = match counts().all(|it| it.currency == first) {
        true => first,
        false => counts().map(|it| (orders(it.currency), it.currency)).max()?.1,
    };
    let (mut recent, mut past, mut since) = (0_i128, 0_i128, None);
    for it in counts().filter(|it| it.currency == most) {
        since = since.or(Some(it.day));
        match day - it.day {
            ..=RECENT => recent += i128::from(it.amount),
            age if age <= RECENT + PAST => past += i128::from(it.amount),
            _ => {}
        }
    }
    // As many days of the past as there are.
    let n = (day - RECENT - since?).clamp(0, PAST);
    let (recent, past) = (recent.max(0) * i128::from(n), past.max(0) * i128::from(RECENT));
    if n == 0 || recent + past == 0 {
        return None;
    }
    let percent = match past {
        0 => 1_000,
        _ => (100 * recent / past - 100).min(1_000) as i64,
    };
    let value = (100 * recent / (recent + past)) as i64;
    Some(Part { value, words: Words::Trend { percent } })
}

fn sentiment(facts: &Facts, day: i64, until: i64) -> Option<Part> {
    let (mut sum, mut n) = (0_i128, 0_i128);
    for it in facts.texts.iter().filter(|it| it.day < until && age(day, it.day) <= RECENT) {
        let counts = i128::from(remains(age(day, it.day), TEXT_HALF_LIFE));
        sum += counts * i128::from(it.score);
        n += counts * i128::from(it.n);
    }
    // Ten-thousandths, from -10,000 to 10,000.
    let mean = (n > 0).then(|| (sum / n).clamp(-10_000, 10_000) as i64)?;
    Some(Part { value: 50 + mean.div_euclid(200), words: Words::Sentiment { mean: mean / 100 } })
}

/// An order that was promised.
struct Order {
    /// Milliseconds since the Unix epoch, as the others.
    at: i64,
    promised: i64,
    /// [`NEVER`]: nobody said so.
    delivered: i64,
    cancelled: i64,
}

/// An instant after every other.
const NEVER: i64 = i64::MAX;

/// Facts with what is said of each order and case put together: made once, judged as of many days.
pub(super) struct Known<'f> {
    facts: &'f Facts,
    orders: Vec<Order>,
    /// When it was opened, and resolved after that.
    cases: Vec<(i64, i64)>,
}

impl<'f> Known<'f> {
    pub(super) fn of(facts: &'f Facts) -> Known<'f> {
        let mut said: Vec<&Statement> = facts.said.iter().collect();
        said.sort_unstable_by_key(|it| (it.id, it.what));
        let (mut orders, mut cases) = (Vec::new(), Vec::new());
        for about in said.chunk_by(|a, b| a.id == b.id) {
            let of = |what| about.iter().find(|it| it.what == what);
            let at = |what| of(what).map_or(NEVER, |it| it.at);
            if let Some(it) = of(What::Promised) {
                let (delivered, cancelled) = (at(What::Delivered), at(What::Cancelled));
                orders.push(Order { at: it.at, promised: it.promised, delivered, cancelled });
            }
            if let Some(it) = of(What::Opened) {
                let resolved = Some(at(What::Resolved)).filter(|end| *end >= it.at);
                cases.push((it.at, resolved.unwrap_or(NEVER)));
            }
        }
        Known { facts, orders, cases }
    }

    fn cases(&self, starts: i64, until: i64, terms: &Terms) -> Part {
        let (mut open, mut long) = (0, 0);
        for (at, _) in self.cases.iter().filter(|it| it.0 < until && it.1 >= until) {
            open += 1;
            long += i64::from(at.saturating_add(terms.long_case_ms) < starts);
        }
        let value = (100 - 20 * open - 30 * long).max(0);
        Part { value, words: Words::Cases { open, long } }
    }

    fn late_orders(&self, day: i64, starts: i64, until: i64) -> Part {
        let (mut late, mut came) = (0, 0);
        for it in self.orders.iter().filter(|it| it.at < until && it.cancelled >= until) {
            if it.delivered >= until {
                late += i64::from(it.promised < starts);
            } else {
                let of_late = age(day, day_of(it.delivered, self.facts.offset)) <= CAME_LATE;
                came += i64::from(it.delivered > it.promised && of_late);
            }
        }
        let value = (100 - 40 * late - 20 * came).max(0);
        Part { value, words: Words::Late { late, came } }
    }
}

/// The band before this one and the day on which that ended, within [`LOOK_BACK`] days: neither, if
/// it did not change; no band but a day, if the customer came on it.
pub(super) fn changed(
    known: &Known<'_>,
    day: i64,
    now: &Judged,
    terms: &Terms,
) -> (Option<usize>, Option<i64>) {
    for at in (day - LOOK_BACK + 1..=day).rev() {
        match judge(known, at, at, terms) {
            None => return (None, known.facts.begins().map(|it| it.max(at))),
            Some(it) if it.band != now.band => return (Some(it.band), Some(at)),
            Some(_) => {}
        }
    }
    (None, None)
}

/// The best band of which the customer was at the start of the day one, two, three or four weeks
/// ago, if it is better than this one.
pub(super) fn fell_from(known: &Known<'_>, day: i64, now: &Judged, terms: &Terms) -> Option<usize> {
    if now.band == 0 {
        return None;
    }
    let weeks = (1..=LOOK_BACK / 7).map(|it| day - 7 * it);
    let bands = weeks.filter_map(|it| judge(known, it, it, terms)).map(|it| it.band);
    bands.min().filter(|it| *it < now.band)
}

/// Most reasons that are given.
const REASONS_MAX: usize = 3;

/// The strongest reasons: what each does to the score, and its words.
pub(super) fn reasons(judged: &Judged, terms: &Terms) -> Vec<(i64, String)> {
    let known =
        || judged.parts.iter().zip(terms.weights).filter_map(|(it, w)| Some((it.as_ref()?, w)));
    let whole: i64 = known().map(|it| i64::from(it.1)).sum::<i64>().max(1);
    let mut reasons: Vec<(i64, &Part)> = known()
        .map(|(part, weighs)| {
            let usual = match part.words {
                Words::Cases { .. } | Words::Late { .. } => 100,
                _ => 50,
            };
            ((part.value - usual) * i64::from(weighs), part)
        })
        .filter(|it| it.0 != 0)
        .collect();
    reasons.sort_by_key(|it| -it.0.abs());
    reasons.truncate(REASONS_MAX);
    let rounded = |it: i64| (2 * it.abs() + whole) / (2 * whole) * it.signum();
    reasons.iter().map(|(it, part)| (rounded(*it), part.words.to_string())).collect()
}

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let some = |n: i64, one: &str, many: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {many}"),
        };
        match self {
            Words::Recency { last, every } => {
                let date = rfc3339(last.saturating_mul(1_000));
                let date = date.split('T').next().unwrap_or_default();
                write!(f, "bought last on {date}, usually every {}", some(*every, "day", "days"))
            }
            Words::Frequency { n } => write!(f, "bought on {}", some(*n, "day", "days")),
            Words::Trend { percent: 1_000.. } => f.write_str("spends many times what it was"),
            Words::Trend { percent } if *percent < 0 => {
                write!(f, "spends {} % less than before", -percent)
            }
            Words::Trend { percent } => write!(f, "spends {percent} % more than before"),
            Words::Sentiment { mean } => {
                let how = match mean {
                    ..=-5 => "negative",
                    5.. => "positive",
                    _ => "neutral",
                };
                write!(f, "texts of late are {how} ({mean} of 100)")
            }
            Words::Cases { open, long } => {
                write!(f, "{}", some(*open, "case is open", "cases are open"))?;
                if *long > 0 { write!(f, ", {long} of them for long") } else { Ok(()) }
            }
            Words::Late { late, came } => match (late, came) {
                (0, came) => write!(f, "{} late", some(*came, "order came", "orders came")),
                (late, 0) => write!(f, "{} late", some(*late, "order is", "orders are")),
                (late, came) => {
                    let is = some(*late, "order is", "orders are");
                    write!(f, "{is} late, {came} came late")
                }
            },
        }
    }
}
