//! Which rules of a view a row's change can concern at all: told by a few of its fields, before
//! anything is evaluated, and before the row is made.
//!
//! # Meaning
//! A rule that is left out would have said nothing: its condition holds neither before nor after, or
//! nothing that it looks at has changed. Test: `the_sieve_changes_nothing` of the planner, against one
//! without.
//!
//! # State
//! Of each rule what it begins with. A condition that begins `field == 'text' and …` is false where
//! the field says otherwise, whatever follows; of several such the one is taken that the fewest
//! rules have. So a thousand rules that each wait for a text of their own cost a look into a table.
//!
//! # When it fails
//! What is not understood of a condition leaves nothing out.

use std::collections::{HashMap, HashSet};

use schemas::reading::Side;
use schemas::rows::{FieldKind, Row, Value, ViewDef};

/// A rule, as far as it is looked at here.
pub(super) struct Seen<'a> {
    /// Its number.
    pub(super) rule: usize,
    /// Its condition.
    pub(super) when: &'a str,
    /// The places of the fields that decide whether it speaks.
    pub(super) fields: Vec<usize>,
}

/// The rules of one view.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// Places of the fields that any of them looks at.
    pub(super) fields: Vec<usize>,
    /// By place among those and text.
    told: Vec<(usize, HashMap<String, Vec<usize>>)>,
    /// Those that no text tells.
    others: Vec<usize>,
    /// Of each rule what it looks at: bits of places among the fields.
    asks: HashMap<usize, u128>,
}

/// Of a place one bit; beyond the width two places share one, which leaves less out.
fn bit(n: usize) -> u128 {
    1 << (n % 128)
}

impl Sieve {
    /// Of these rules.
    pub(super) fn of(rules: &[Seen<'_>], def: &ViewDef) -> Sieve {
        let mut sieve = Sieve::default();
        let guards: Vec<Vec<(usize, String)>> =
            rules.iter().map(|it| guards(it.when, def)).collect();
        let all: HashSet<usize> = rules.iter().flat_map(|it| it.fields.iter().copied()).collect();
        sieve.fields = all.into_iter().collect();
        sieve.fields.sort_unstable();
        let mut n_having: HashMap<&(usize, String), usize> = HashMap::new();
        guards.iter().flatten().for_each(|it| *n_having.entry(it).or_default() += 1);
        let mut told: HashMap<usize, HashMap<String, Vec<usize>>> = HashMap::new();
        for (rule, of_rule) in rules.iter().zip(&guards) {
            let places = rule.fields.iter().filter_map(|it| sieve.fields.binary_search(it).ok());
            sieve.asks.insert(rule.rule, places.fold(0, |bits, it| bits | bit(it)));
            let known = of_rule.iter().filter_map(|it| {
                Some((n_having[it], sieve.fields.binary_search(&it.0).ok()?, &it.1))
            });
            match known.min() {
                Some((_, place, text)) => {
                    let of_place = told.entry(place).or_default();
                    of_place.entry(text.clone()).or_default().push(rule.rule);
                }
                None => sieve.others.push(rule.rule),
            }
        }
        sieve.told = told.into_iter().collect();
        sieve
    }

    /// One that leaves nothing out.
    #[cfg(test)]
    pub(super) fn open(rules: std::ops::Range<usize>) -> Sieve {
        Sieve { others: rules.collect(), ..Sieve::default() }
    }

    /// The rules that a change can concern, in their order.
    pub(super) fn of_rows(&self, old: Option<&Row>, new: Option<&Row>) -> Vec<usize> {
        let (changed, found) = self.found(
            |n| old.map(|it| &it.values[self.fields[n]]),
            |n| new.map(|it| &it.values[self.fields[n]]),
        );
        let mut rules: Vec<usize> = (found.into_iter().flatten())
            .chain(&self.others)
            .copied()
            .filter(|it| self.asks.get(it).is_none_or(|asks| asks & changed != 0))
            .collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// Whether there are any, by [`Sieve::fields`] of the rows.
    pub(super) fn wants(&self, old: Side<'_>, new: Side<'_>) -> bool {
        let (changed, found) = self.found(|n| old.map(|it| &it[n]), |n| new.map(|it| &it[n]));
        let asks = |it: &usize| self.asks.get(it).is_none_or(|asks| asks & changed != 0);
        changed != 0 && found.into_iter().flatten().chain(&self.others).any(asks)
    }

    /// What has changed, and the rules whose text stands on either side, perhaps twice.
    fn found<'v>(
        &self,
        old: impl Fn(usize) -> Option<&'v Value>,
        new: impl Fn(usize) -> Option<&'v Value>,
    ) -> (u128, Vec<&Vec<usize>>) {
        let places = 0..self.fields.len();
        let changed = places.filter(|n| old(*n) != new(*n)).fold(0, |bits, it| bits | bit(it));
        let mut found = Vec::new();
        for (place, of_text) in &self.told {
            for value in [old(*place), new(*place)] {
                if let Some(Value::Text(it)) = value
                    && let Some(rules) = of_text.get(it.as_str())
                {
                    found.push(rules);
                }
            }
        }
        (changed, found)
    }
}

/// A piece of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Word(&'t str),
    Text(&'t str),
    Other(&'t str),
}

/// Its pieces; none where a text has an escape, or does not end.
fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Some(pieces) };
        let n = match first {
            '\'' | '"' => {
                let inner = &rest[1..];
                let end = inner.find(first)?;
                if inner[..end].contains('\\') {
                    return None;
                }
                pieces.push(Piece::Text(&inner[..end]));
                end + 2
            }
            it if it.is_ascii_alphabetic() || it == '_' => {
                let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
                let n = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
                pieces.push(Piece::Word(&rest[..n]));
                n
            }
            _ if rest.starts_with("==") => {
                pieces.push(Piece::Other("=="));
                2
            }
            it => {
                pieces.push(Piece::Other(&rest[..it.len_utf8()]));
                it.len_utf8()
            }
        };
        rest = &rest[n..];
    }
}

/// What a condition begins with: fields of text, and what each has to be for it to hold. What stands
/// before them cannot fail, so that they decide alone where one of them is otherwise.
fn guards(when: &str, def: &ViewDef) -> Vec<(usize, String)> {
    let Some(pieces) = pieces(when) else { return Vec::new() };
    // Weaker than `and`: what is joined so is not all of one chain.
    let mut depth = 0;
    for piece in &pieces {
        match piece {
            Piece::Other("(" | "[" | "{") => depth += 1,
            Piece::Other(")" | "]" | "}") => depth -= 1,
            Piece::Word("or" | "if" | "else") if depth == 0 => return Vec::new(),
            _ => {}
        }
    }
    let (mut found, mut rest) = (Vec::new(), &pieces[..]);
    while let [Piece::Word(field), Piece::Other("=="), Piece::Text(text), more @ ..] = rest {
        let place = def.position(field).filter(|it| def.fields[*it].kind == FieldKind::Text);
        let Some(place) = place else { break };
        match more {
            [] => {
                found.push((place, (*text).to_string()));
                break;
            }
            [Piece::Word("and"), next @ ..] => {
                found.push((place, (*text).to_string()));
                rest = next;
            }
            _ => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use schemas::rows::{FieldDef, Shape};

    use super::*;

    static DEF: ViewDef = ViewDef {
        name: "orders",
        words: "",
        shape: Shape::Fold,
        key: &["order"],
        fields: &[
            FieldDef::new("status", FieldKind::Text, false, false, ""),
            FieldDef::new("channel", FieldKind::Text, true, false, ""),
            FieldDef::new("n", FieldKind::Int, false, false, ""),
            FieldDef::new("since", FieldKind::Time, false, false, ""),
        ],
    };

    /// Goal: only what decides alone is taken for it. Method: a table.
    #[test]
    fn what_a_condition_begins_with() {
        let check = |when: &str, expected: &[(usize, &str)]| {
            let found = guards(when, &DEF);
            let found: Vec<(usize, &str)> = found.iter().map(|it| (it.0, it.1.as_str())).collect();
            assert_eq!(found, expected, "{when}");
        };
        check("status == 'a'", &[(0, "a")]);
        check("status=='a' and channel == \"b c\" and n > 3", &[(0, "a"), (1, "b c")]);
        check("status == 'a' and (n > 3 or n is none)", &[(0, "a")]);
        check("status == 'a' and (n if n else 2)", &[(0, "a")]);
        // Not all of it is one chain.
        check("status == 'a' and channel == 'b' or n > 3", &[]);
        check("status == 'a' if n else true", &[]);
        check("status == 'a' or channel == 'b'", &[]);
        // What follows the text binds stronger.
        for more in ["|upper", "~ 'b'", "[0]", "== 'b'", "is string", ".x", "'b'", "in channel"] {
            check(&format!("status == 'a' {more}"), &[]);
            check(&format!("channel == 'b' and status == 'a' {more} and n"), &[(1, "b")]);
        }
        // What stands before might fail, or is none of it.
        check("n.x > 3 and status == 'a'", &[]);
        check("not status == 'a'", &[]);
        check("(status == 'a') and channel == 'b'", &[]);
        check("'a' == status", &[]);
        check("status != 'a'", &[]);
        // A time is no text here, and an escape is not understood.
        check("since == '2026'", &[]);
        check("status == 'it\\'s'", &[]);
        check("status == 'a", &[]);
        check("status == 'é and' and channel == ''", &[(0, "é and"), (1, "")]);
    }
}
