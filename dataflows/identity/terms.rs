//! Which kinds of identifiers join customers: settings of the process.
//!
//! # Why this way
//! As [`crate::health`]'s: a row is made by functions without settings, and a process has one
//! configuration. States do not depend on them: what they change is made anew at the next start.

use std::sync::{Arc, LazyLock};

use compact_str::CompactString;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// What a kind of identifier is worth: its place in the order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rank {
    /// Its place, 0 the strongest.
    Of(u8),
    /// A value that says nothing.
    Blocked,
    /// A kind that is not configured.
    Unknown,
}

/// How customers are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Kinds, from the one trusted most, each with how many customers may carry one value.
    pub kinds: Vec<(CompactString, u32)>,
    /// Kinds of which one person has one value.
    pub veto: Vec<CompactString>,
    /// Values that say nothing: whole, or with `*` for any characters; in small letters.
    pub blocked: Vec<CompactString>,
    /// Most customers of one person.
    pub max_members: u32,
}

impl Default for Terms {
    fn default() -> Terms {
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
        Terms {
            kinds: kinds.map(|it| (it.0.into(), it.1)).to_vec(),
            veto: vec!["account".into()],
            blocked: blocked.map(CompactString::from).to_vec(),
            max_members: 50,
        }
    }
}

impl Terms {
    /// What an identifier is worth by itself: kind, and value as it is compared.
    pub fn judge(&self, kind: &str, value: &str) -> Rank {
        let Some(place) = self.kinds.iter().position(|it| it.0 == kind) else {
            return Rank::Unknown;
        };
        let value = value.to_lowercase();
        // Zeros and signs, as 0000 or --: nobody's number, however long.
        let is_empty = !value.chars().any(|it| it.is_alphanumeric() && it != '0');
        if is_empty || self.blocked.iter().any(|it| matches(it, &value)) {
            return Rank::Blocked;
        }
        Rank::Of(u8::try_from(place).unwrap_or(u8::MAX))
    }

    /// How many customers may carry an identifier of this worth.
    pub fn limit(&self, rank: Rank) -> u32 {
        match rank {
            Rank::Of(place) => self.kinds.get(usize::from(place)).map_or(0, |it| it.1),
            Rank::Blocked | Rank::Unknown => 0,
        }
    }

    /// Whether a person has one value of this kind.
    pub fn is_veto(&self, rank: Rank) -> bool {
        let Rank::Of(place) = rank else { return false };
        let kind = self.kinds.get(usize::from(place));
        kind.is_some_and(|it| self.veto.contains(&it.0))
    }
}

/// Whether a text is as a pattern says, `*` for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

static TERMS: LazyLock<RwLock<Arc<Terms>>> = LazyLock::new(RwLock::default);

/// Sets them for this process, before the views are made.
pub fn set_terms(terms: Terms) {
    *TERMS.write() = Arc::new(terms);
}

/// Those by which customers are joined.
pub fn terms() -> Arc<Terms> {
    TERMS.read().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what people type when they have no identifier joins nobody; an identifier does.
    #[test]
    fn what_says_nothing_is_blocked() {
        let terms = Terms::default();
        for said in ["null", "NULL", "0000", "00-00", "-", "", "test@acme.org", "n/a"] {
            assert_eq!(terms.judge("email", said), Rank::Blocked, "{said}");
        }
        for said in ["ann@acme.org", "contest@acme.org", "7", "1000"] {
            assert_eq!(terms.judge("account", said), Rank::Of(0), "{said}");
        }
        assert_eq!(terms.judge("badge", "null"), Rank::Unknown);
        assert!(terms.is_veto(Rank::Of(0)) && !terms.is_veto(Rank::Of(1)));
        assert!(!terms.is_veto(Rank::Blocked) && terms.limit(Rank::Unknown) == 0);
    }

    /// Goal: patterns are what they look like.
    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("*@x.org", "b@x.org", true),
            ("*@x.org", "b@x.org.uk", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxa", false),
            ("ab", "abc", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
