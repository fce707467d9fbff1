//! Why a rule did or did not speak of a row; and what it would say of it.
//!
//! In: a rule, a row as it is now, the messages there are of both. Out: words and figures.
//!
//! # Meaning
//! Everything is told from the row's own facts and from the messages in the view: what the planner
//! goes by, and nothing that only one process remembers.

use schemas::rows::Row;
use serde_json::{Value, json};

use super::intent::{self, Side};
use super::language::{self, Facts};
use super::rule::{Rule, Rules};
use crate::config::rules::On;
use schemas::names::Name;

/// A row that is asked about.
pub struct About<'a> {
    /// Its name, with its tenant.
    pub subject: &'a Name,
    /// As it is; none: there is no such row.
    pub row: Option<&'a Row>,
    /// Messages about a key of this text, as `/v1/notifications` tells them.
    pub messages: &'a [Value],
    /// The time, milliseconds.
    pub now_ms: u64,
}

impl Rules {
    /// Why each rule did or did not speak, a document a rule.
    pub fn explain(&self, rule: &Rule, about: &About<'_>) -> Value {
        let of_rule =
            |it: &&Value| it["rule"] == *rule.settings.name && it["view"] == *rule.def.name;
        let messages: Vec<&Value> = about.messages.iter().filter(of_rule).collect();
        let (verdict, why) = self.verdict(rule, about, &messages);
        let conditions: Vec<Value> = about.row.map_or_else(Vec::new, |it| rule.parts(it));
        let shown = messages.iter().map(|it| {
            let fields = ["message", "state", "episode", "planned_at", "answer", "corrects"];
            fields.iter().map(|name| (name.to_string(), it[*name].clone())).collect::<Value>()
        });
        json!({
            "rule": rule.settings.name, "version": rule.version, "view": rule.def.name,
            "channel": rule.settings.channel, "verdict": verdict, "why": why,
            "when": rule.settings.when, "conditions": conditions,
            "episode": about.row.map(|it| rule.episode(it)),
            "messages": shown.collect::<Vec<_>>(),
        })
    }

    fn verdict(&self, rule: &Rule, about: &About<'_>, said: &[&Value]) -> (&'static str, String) {
        let it = &rule.settings;
        let Some(row) = about.row else {
            return ("no-row", format!("{} has no such row", rule.def.name));
        };
        let facts = Facts::of(rule.def, row);
        let holds = match rule.holds(&facts) {
            Ok(holds) => holds,
            Err(why) => return ("cannot-tell", format!("the condition cannot be told: {why}")),
        };
        if it.on == On::Leave {
            return match holds {
                true => ("not-left", "it is as the rule says, and speaks when it is left".into()),
                false => ("left", "it is not as the rule says: where it was, that was said".into()),
            };
        }
        if !holds {
            return ("not-matched", "it is not as `when` says".into());
        }
        let episode = rule.episode(row);
        let id = intent::id(&it.name, &rule.version, about.subject, &episode, Side::Began);
        if let Some(message) = said.iter().find(|it| it["message"] == *id) {
            let state = message["state"].as_str().unwrap_or("");
            let answer = message["answer"].as_str().map(|it| format!(": {it}")).unwrap_or_default();
            return match state {
                "suppressed" => ("suppressed", format!("decided, and not sent{answer}")),
                _ => ("spoken", format!("said of this episode, {state}{answer}")),
            };
        }
        if said.iter().any(|it| it["episode"] == *episode && it["corrects"].is_null()) {
            return ("another-wording", "said of this episode by another wording of it".into());
        }
        let since = rule.since(row).map(|it| it.max(0).cast_unsigned() / 1_000);
        if let Some(since) = since {
            let age = u128::from(about.now_ms.saturating_sub(since));
            if age > it.max_age.max(it.settle).as_millis() {
                return ("too-old", "it began longer ago than `max_age`: that is no news".into());
            }
            let due = u128::from(since) + it.settle.as_millis();
            if due > u128::from(about.now_ms) {
                let due = i64::try_from(due * 1_000).unwrap_or(i64::MAX);
                return ("settles", format!("waits until {}", schemas::time::rfc3339(due)));
            }
        }
        let why = match it.already {
            true => "nothing was decided yet: the rule is younger than the process that runs",
            false => {
                "it was so already when the rule began to look; `already = true` says that too"
            }
        };
        ("already-so", why.into())
    }

    /// What a rule says of a row, or why nothing.
    pub fn preview(&self, rule: &Rule, row: &Row) -> Value {
        let facts = Facts::of(rule.def, row);
        let told = |it: Result<String, String>| match it {
            Ok(text) => json!({"text": text}),
            Err(why) => json!({"error": why}),
        };
        let holds = match rule.holds(&facts) {
            Ok(holds) => json!(holds),
            Err(why) => json!({"error": why}),
        };
        let over = rule.settings.resolved.is_some();
        json!({
            "rule": rule.settings.name, "version": rule.version, "view": rule.def.name,
            "channel": rule.settings.channel, "severity": rule.settings.severity,
            "matches": holds, "says": told(self.text(rule, false, &facts)),
            "resolved": over.then(|| told(self.text(rule, true, &facts))),
            "episode": rule.episode(row), "reason": rule.reason(row), "row": rule.def.to_json(row),
        })
    }
}

impl Rule {
    /// Each part of the condition, with what it saw.
    fn parts(&self, row: &Row) -> Vec<Value> {
        let facts = Facts::of(self.def, row);
        let parts = conjuncts(&self.settings.when);
        let parts = parts.iter().map(|part| {
            let told = language::condition(part, self.def).ok().map(|(it, asks)| {
                let saw = asks.iter().map(|place| {
                    (self.def.fields[*place].name.to_string(), row.values[*place].to_json())
                });
                (it.holds(&facts), saw.collect::<serde_json::Map<_, _>>())
            });
            match told {
                Some((Ok(holds), saw)) => json!({"part": part, "holds": holds, "saw": saw}),
                Some((Err(why), saw)) => json!({"part": part, "error": why, "saw": saw}),
                // A part that is none by itself: the whole is told by the verdict.
                None => json!({"part": part}),
            }
        });
        parts.collect()
    }
}

/// The parts that all have to hold: cut at each `and` that stands outside of brackets and texts.
/// One part where an `or` or an `if` stands beside them.
fn conjuncts(text: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut from, mut parts) = (0_i32, None, 0, Vec::new());
    let mut word_before = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(it), _) if c == it => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, _) => {}
        }
        let outside = quote.is_none() && depth == 0 && !word_before;
        if outside && c.is_ascii_alphabetic() {
            let word = &text[at..];
            let len = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            match &word[..len.unwrap_or(word.len())] {
                "and" => {
                    parts.push(text[from..at].trim());
                    from = at + 3;
                }
                "or" | "if" => return vec![text.trim()],
                _ => {}
            }
        }
        word_before = c.is_ascii_alphanumeric() || c == '_' || c == '.';
    }
    parts.push(text[from..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a condition is cut where each part can be told by itself, and nowhere else.
    #[test]
    fn conditions_are_cut_at_and() {
        let check = |text: &str, expected: &[&str]| assert_eq!(conjuncts(text), expected);
        check("late", &["late"]);
        check("status == 'open' and n > 3", &["status == 'open'", "n > 3"]);
        check("a and (b or c) and d in ['x and y']", &["a", "(b or c)", "d in ['x and y']"]);
        check("a and b or c", &["a and b or c"]);
        check("brand == 1 and not x.and", &["brand == 1", "not x.and"]);
        check("a if b and c else d", &["a if b and c else d"]);
    }
}
