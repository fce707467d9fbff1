//! `[identity]`: which identifiers join customers to one person.
//!
//! # Meaning
//! Kinds in the order of trust, each with how many customers may carry one value of it; kinds of
//! which one person has one; values that say nothing; how many customers one person may be.
//! Changing them changes who is one person at the next start, of the past too.

/// `[identity]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Kinds, from the one trusted most, each with its limit.
    pub kinds: Vec<(String, u32)>,
    /// Kinds of which one person has one value (account).
    pub veto: Vec<String>,
    /// Values that say nothing, `*` for any characters.
    pub blocked: Vec<String>,
    /// Most customers of one person (50).
    pub max_members: usize,
}

/// Most kinds: each is a level of the dataflow, and costs a little of every epoch.
pub const KINDS_MAX: usize = 16;
/// Most customers who may carry one value: they are looked at together.
pub const LIMIT_MAX: u32 = 1_000;
/// Most values and patterns that are blocked: each identifier is held against all of them.
pub const BLOCKED_MAX: usize = 1_000;

impl Default for Identity {
    fn default() -> Identity {
        let kinds = [
            ("account", 20),
            ("loyalty_card", 20),
            ("external_id", 20),
            ("email", 10),
            ("phone", 6),
            ("device", 4),
            ("cookie", 4),
        ];
        let blocked = [
            "null",
            "none",
            "nil",
            "n/a",
            "na",
            "undefined",
            "unknown",
            "anonymous",
            "guest",
            "test",
            "test@*",
            "noreply@*",
            "no-reply@*",
            "*@example.com",
        ];
        Identity {
            kinds: kinds.map(|it| (it.0.to_string(), it.1)).to_vec(),
            veto: vec!["account".to_string()],
            blocked: blocked.map(str::to_string).to_vec(),
            max_members: 50,
        }
    }
}

/// What is expected of `kinds`, in words.
pub(super) const KINDS_EXPECTED: &str = "lines `kind limit` from the kind trusted most, each limit from 1 to 1,000, at most 16, such as \
     \"email 10\"";

/// What is expected of the lists, in words.
pub(super) const NAMES_EXPECTED: &str =
    "a list of at most 1,000 different texts of 1 to 128 bytes, without commas";

/// Reads the kinds.
pub(super) fn kinds(lines: &[String]) -> Option<Vec<(String, u32)>> {
    let line = |line: &String| {
        let (kind, limit) = line.trim().rsplit_once(' ')?;
        let limit = limit.parse().ok().filter(|it| (1..=LIMIT_MAX).contains(it))?;
        let kind = kind.trim();
        (is_name(kind) && !["customer", "by_hand"].contains(&kind))
            .then(|| (kind.to_string(), limit))
    };
    let read: Vec<(String, u32)> = lines.iter().map(line).collect::<Option<_>>()?;
    let names: Vec<String> = read.iter().map(|it| it.0.clone()).collect();
    (are_different(&names) && read.len() <= KINDS_MAX).then_some(read)
}

/// Reads a list of names or of patterns.
pub(super) fn names(lines: &[String]) -> Option<Vec<String>> {
    let read: Vec<String> = lines.iter().map(|it| it.trim().to_string()).collect();
    let fits = read.iter().all(|it| is_name(it)) && are_different(&read);
    (fits && read.len() <= BLOCKED_MAX).then_some(read)
}

fn is_name(it: &str) -> bool {
    !it.is_empty() && it.len() <= 128 && !it.contains(',')
}

fn are_different(names: &[String]) -> bool {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    sorted.windows(2).all(|it| it[0] != it[1])
}

/// The kinds as they are written.
pub(super) fn show_kinds(kinds: &[(String, u32)]) -> Vec<String> {
    kinds.iter().map(|it| format!("{} {}", it.0, it.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: kinds are read as they are shown; what cannot be meant is refused.
    #[test]
    fn kinds_are_read_as_they_are_shown() {
        let read = |texts: &[&str]| {
            let lines: Vec<_> = texts.iter().map(|it| it.to_string()).collect();
            kinds(&lines).map(|it| show_kinds(&it))
        };
        assert_eq!(read(&["tax number 1", "email 10"]).unwrap(), ["tax number 1", "email 10"]);
        assert_eq!(read(&[]).unwrap(), [""; 0]);
        let default = Identity::default();
        assert_eq!(kinds(&show_kinds(&default.kinds)), Some(default.kinds));
        assert_eq!(names(&default.blocked), Some(default.blocked.clone()));
        for bad in [&["email"][..], &["email 0"], &["email 1001"], &["a 1", "a 2"], &["customer 2"]]
        {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(names(&["a".into(), "a".into()]), None);
        assert_eq!(names(&["".into()]), None);
    }
}
