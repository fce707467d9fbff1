//! `[health]`: what the components of a customer's health weigh, and its bands.
//!
//! # Meaning
//! A score is the mean of the components that are known, weighed by these; its band is the first
//! whose lowest score it reaches. Changing them changes the rows of all customers at the next start.

use std::time::Duration;

/// `[health]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What the time since the last purchase weighs, against the customer's own rhythm (20).
    pub recency: usize,
    /// How often they buy (45).
    pub frequency: usize,
    /// Whether they spend more or less (5).
    pub trend: usize,
    /// How their texts feel (10).
    pub sentiment: usize,
    /// Open cases (10).
    pub cases: usize,
    /// Late orders (10).
    pub late_orders: usize,
    /// Names, each with the lowest score of the band, from the best to the worst.
    pub bands: Vec<(String, u8)>,
    /// A case that is open for longer counts more (3 days).
    pub long_case: Duration,
}

/// Most bands.
pub const BANDS_MAX: usize = 16;
/// Longest name of a band, bytes.
const NAME_MAX: usize = 32;

impl Default for Health {
    fn default() -> Health {
        let bands = [("good", 72), ("steady", 58), ("falling", 48), ("lost", 0)];
        Health {
            recency: 20,
            frequency: 45,
            trend: 5,
            sentiment: 10,
            cases: 10,
            late_orders: 10,
            bands: bands.map(|it| (it.0.to_string(), it.1)).to_vec(),
            long_case: Duration::from_secs(3 * 86_400),
        }
    }
}

/// What is expected of `bands`, in words.
pub(super) const BANDS_EXPECTED: &str = "lines `band lowest-score` from the best to the worst, the last one from 0 on, at most 16, such as \
     \"good 72\"";

/// Reads the bands.
pub(super) fn bands(lines: &[String]) -> Option<Vec<(String, u8)>> {
    let line = |line: &String| {
        let (name, from) = line.trim().rsplit_once(' ')?;
        let (name, from) = (name.trim(), from.parse().ok().filter(|it| *it <= 100)?);
        let fits = !name.is_empty() && name.len() <= NAME_MAX && !name.contains(['/', ',']);
        fits.then(|| (name.to_string(), from))
    };
    let read: Vec<(String, u8)> = lines.iter().map(line).collect::<Option<_>>()?;
    let falls = read.windows(2).all(|it| it[0].1 > it[1].1);
    let mut names: Vec<_> = read.iter().map(|it| &it.0).collect();
    names.sort();
    names.dedup();
    let ends = read.last().is_some_and(|it| it.1 == 0);
    (falls && ends && names.len() == read.len() && read.len() <= BANDS_MAX).then_some(read)
}

/// The bands as they are written.
pub(super) fn show_bands(bands: &[(String, u8)]) -> Vec<String> {
    bands.iter().map(|it| format!("{} {}", it.0, it.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: bands are read as they are shown, and those that leave a score without a band, or two
    /// for one, are refused.
    #[test]
    fn bands_are_read_as_they_are_shown() {
        let read = |texts: &[&str]| {
            let lines: Vec<_> = texts.iter().map(|it| it.to_string()).collect();
            bands(&lines).map(|it| show_bands(&it))
        };
        assert_eq!(read(&["very good 70", "lost 0"]).unwrap(), ["very good 70", "lost 0"]);
        assert_eq!(bands(&show_bands(&Health::default().bands)), Some(Health::default().bands));
        for bad in [
            &["good 70"][..],
            &["lost 0", "good 70"],
            &["good 70", "good 50", "lost 0"],
            &["good 70", "fair 70", "lost 0"],
            &["good 101", "lost 0"],
            &["70", "lost 0"],
            &["a/b 70", "lost 0"],
            &[],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
