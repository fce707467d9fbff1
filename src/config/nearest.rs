//! The name that was probably meant.

/// The candidate nearest to what was written, if it is near enough to be meant: at most a third of
/// its letters differ (at least one, so that `log` finds `lag`; a swap of neighbours counts once).
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (written.chars().count() / 3).max(1);
    let near = candidates.into_iter().map(|it| (distance(written, it), it));
    near.filter(|(distance, _)| *distance <= limit).min_by_key(|it| it.0).map(|it| it.1)
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let plain = |text: &str| -> Vec<char> {
        text.chars().map(|it| if it == '-' { '_' } else { it.to_ascii_lowercase() }).collect()
    };
    let (a, b) = (plain(a), plain(b));
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let other = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + other);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    /// Goal: slips of the finger find the name, other words find none. Method: a table.
    #[test]
    fn finds_what_was_meant() {
        let names = ["workers", "views", "epoch_period", "epoch_max_period", "listen"];
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(nearest(written, names), expected, "{written}");
        };
        check("worker", Some("workers"));
        check("wrokers", Some("workers"));
        check("epoch-period", Some("epoch_period"));
        check("Listen", Some("listen"));
        check("listne", Some("listen"));
        check("brightness", None);
        check("x", None);
        check("", None);
    }
}
