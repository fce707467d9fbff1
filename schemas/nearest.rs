//! The name that was probably meant.

/// Longest name that is compared: longer ones are no misspelling of ours.
const MAX_NAME_BYTES: usize = 64;

/// The candidate with the fewest letters inserted, left out or replaced, if those are at most a
/// third of the name (but at least one).
pub fn nearest<'c>(name: &str, candidates: &[&'c str]) -> Option<&'c str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let lower = name.to_lowercase();
    let scored = candidates.iter().map(|it| (distance(&lower, &it.to_lowercase()), *it));
    let (distance, candidate) = scored.min_by_key(|it| it.0)?;
    let allowed = (name.chars().count() / 3).max(1);
    (distance <= allowed).then_some(candidate)
}

/// Levenshtein, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let names = ["customer", "currency", "channel", "promised_at"];
        let check = |name: &str, expected| assert_eq!(nearest(name, &names), expected, "{name}");
        check("custmer", Some("customer"));
        check("Customer", Some("customer"));
        check("promisedAt", Some("promised_at"));
        check("amount", None);
        check("x", None);
        check("", None);
    }
}
