//! Rules, compiled: what is watched, when it speaks, what it says.
//!
//! In: [`RuleSettings`] and the views that are kept. Out: [`Rules`], or everything that is wrong.
//!
//! # Meaning
//! A rule's *version* is a digest of all that decides what it says: another wording is another
//! rule, and its intents have other names.

use std::sync::Arc;

use schemas::nearest::nearest;
use schemas::rows::{FieldKind, Row, Value, ViewDef};
use sha2::{Digest, Sha256};

use super::language::{self, Condition, Facts, Texts, Wrong};
use crate::config::rules::{On, RuleSettings};
use crate::report::Report;

/// Views that say what we said, and what came in: a rule over them would answer itself.
pub(super) const NOT_WATCHED: &[&str] = &["notifications", "volume"];

/// Characters of one value in a reason.
const REASON_VALUE_MAX: usize = 80;

/// A rule that can speak.
pub struct Rule {
    /// As it was written.
    pub settings: RuleSettings,
    /// A digest of the wording.
    pub version: String,
    /// Index among the views.
    pub view: usize,
    /// The rows' fields.
    pub def: &'static ViewDef,
    condition: Arc<dyn Condition>,
    /// Fields that the condition asks for.
    asks: Vec<usize>,
    episode: Vec<usize>,
    since: Option<usize>,
    customer: Option<usize>,
}

/// All rules, with their texts.
#[derive(Default)]
pub struct Rules {
    /// In the order of the settings.
    pub all: Vec<Rule>,
    texts: Texts,
}

/// What is said once it is over is kept under this name.
fn over(name: &str) -> String {
    format!("{name}/resolved")
}

impl Rules {
    /// Compiles them over the views that are kept, or tells everything that is wrong.
    pub fn compile(
        settings: &[RuleSettings],
        kept: &[&'static ViewDef],
    ) -> Result<Rules, Vec<Report>> {
        let (mut rules, mut wrong) = (Rules::default(), Vec::new());
        for it in settings {
            match rules.compiled(it, kept) {
                Ok(rule) => rules.all.push(rule),
                Err(more) => wrong.extend(more),
            }
        }
        if wrong.is_empty() { Ok(rules) } else { Err(wrong) }
    }

    fn compiled(
        &mut self,
        it: &RuleSettings,
        kept: &[&'static ViewDef],
    ) -> Result<Rule, Vec<Report>> {
        let watched: Vec<&str> =
            kept.iter().map(|it| it.name).filter(|it| !NOT_WATCHED.contains(it)).collect();
        let Some(view) =
            kept.iter().position(|def| def.name == it.view && watched.contains(&def.name))
        else {
            let expected = format!("one of the views that are kept ({})", watched.join(", "));
            return Err(vec![told(it, "view", "notify/view", expected, &it.view, &watched)]);
        };
        let def = kept[view];
        let names: Vec<&str> = def.fields.iter().map(|it| it.name).collect();
        let mut wrong = Vec::new();
        let mut place_of = |key: &'static str, name: &str| {
            let place = def.position(name);
            if place.is_none() {
                let expected = format!("a field of {} ({})", def.name, names.join(", "));
                wrong.push(told(it, key, "notify/field", expected, name, &names));
            }
            place
        };
        let episode: Vec<usize> =
            it.episode.iter().filter_map(|name| place_of("episode", name)).collect();
        let since = it.since.as_ref().and_then(|name| place_of("since", name));
        if let Some(place) = since
            && def.fields[place].kind != FieldKind::Time
        {
            let times = def.fields.iter().filter(|it| it.kind == FieldKind::Time);
            let times: Vec<&str> = times.map(|it| it.name).collect();
            let expected = format!("a field that is a time ({})", times.join(", "));
            wrong.push(told(it, "since", "notify/field", expected, names[place], &[]));
        }
        let mut say = |key: &'static str, why: Wrong| match why {
            Wrong::Field(name) => {
                let expected = format!("a field of {} ({})", def.name, names.join(", "));
                wrong.push(told(it, key, "notify/field", expected, &name, &names));
            }
            Wrong::Syntax(why) => wrong.push(unreadable(it, key, &why)),
        };
        let condition = language::condition(&it.when, def).map_err(|why| say("when", why)).ok();
        if let Err(why) = self.texts.add(&it.name, &it.text, def) {
            say("text", why);
        }
        if let Some(text) = &it.resolved
            && let Err(why) = self.texts.add(&over(&it.name), text, def)
        {
            say("resolved", why);
        }
        match (condition, wrong.is_empty()) {
            (Some((condition, asks)), true) => Ok(Rule {
                settings: it.clone(),
                version: version(it),
                view,
                def,
                condition,
                asks,
                episode,
                since,
                customer: def.position("customer"),
            }),
            _ => Err(wrong),
        }
    }

    /// What a rule says of a row; in words, why nothing.
    pub(super) fn text(&self, rule: &Rule, is_over: bool, facts: &Facts) -> Result<String, String> {
        match is_over {
            true => self.texts.say(&over(&rule.settings.name), facts),
            false => self.texts.say(&rule.settings.name, facts),
        }
    }
}

impl Rule {
    /// The places of the fields that decide whether it speaks.
    pub(super) fn decides(&self) -> Vec<usize> {
        self.asks.iter().chain(&self.episode).copied().collect()
    }

    /// Whether a row is meant.
    pub(super) fn holds(&self, facts: &Facts) -> Result<bool, String> {
        self.condition.holds(facts)
    }

    /// A row of its view, as JSON tells it; none where it is of another.
    pub fn row_of(&self, told: &serde_json::Value) -> Option<Row> {
        let value = |(name, kind): (&str, FieldKind)| {
            let told = told.get(name)?;
            Some(match (kind, told) {
                (_, serde_json::Value::Null) => Value::Null,
                (FieldKind::Text, it) => Value::Text(it.as_str()?.into()),
                (FieldKind::Int, it) => Value::Int(it.as_i64()?),
                (FieldKind::Bool, it) => Value::Bool(it.as_bool()?),
                (FieldKind::Time, it) => Value::Time(schemas::time::parse_rfc3339(it.as_str()?)?),
                (FieldKind::Money | FieldKind::Json, it) => Value::Json(it.clone()),
            })
        };
        let values = self.def.fields.iter().map(|it| value((it.name, it.kind)));
        Some(Row { values: values.collect::<Option<_>>()? })
    }

    /// Why it speaks: the condition, and what it saw.
    pub fn reason(&self, row: &Row) -> String {
        let saw = self.asks.iter().map(|place| {
            let value = row.values[*place].to_json().to_string();
            let short = value.char_indices().nth(REASON_VALUE_MAX).map_or(value.len(), |it| it.0);
            format!("{}: {}", self.def.fields[*place].name, &value[..short])
        });
        format!("{}; {}", self.settings.when, saw.collect::<Vec<_>>().join(", "))
    }

    /// Which episode a row is in, by its own facts.
    pub fn episode(&self, row: &Row) -> String {
        let parts = self.episode.iter().map(|place| match &row.values[*place] {
            Value::Text(it) => it.to_string(),
            other => match other.to_json() {
                serde_json::Value::String(it) => it,
                it => it.to_string(),
            },
        });
        parts.collect::<Vec<_>>().join(" ")
    }

    /// Since when it is so, microseconds, if the row says.
    pub fn since(&self, row: &Row) -> Option<i64> {
        match row.values[self.since?] {
            Value::Time(it) => Some(it),
            _ => None,
        }
    }

    /// Whose data it is.
    pub fn customer(&self, row: &Row) -> Option<String> {
        match &row.values[self.customer?] {
            Value::Text(it) => Some(it.to_string()),
            _ => None,
        }
    }
}

fn version(it: &RuleSettings) -> String {
    let mut digest = Sha256::new();
    let on = match it.on {
        On::Enter => "enter",
        On::Leave => "leave",
    };
    let episode = it.episode.join("\0");
    let since = it.since.as_deref().unwrap_or("");
    let resolved = it.resolved.as_deref().unwrap_or("");
    for part in
        [&*it.view, on, &it.when, &episode, since, &it.channel, it.severity, &it.text, resolved]
    {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(6).map(|it| format!("{it:02x}")).collect()
}

fn told(
    it: &RuleSettings,
    key: &'static str,
    code: &'static str,
    expected: String,
    found: &str,
    names: &[&str],
) -> Report {
    let fix = match nearest(found, names) {
        Some(name) => format!("perhaps `{name}` was meant"),
        None => "correct it, then `millstream check`; docs/notifications.md has an example".into(),
    };
    Report {
        code,
        what: "cannot use a rule".into(),
        at: vec![("setting", format!("rules.{}.{key}", it.name))],
        why: format!("expected {expected}, found {found:?}"),
        effect: "nothing was started; no data was touched".into(),
        fix,
    }
}

fn unreadable(it: &RuleSettings, key: &'static str, why: &str) -> Report {
    Report {
        code: "notify/expression",
        what: "cannot read an expression of a rule".into(),
        at: vec![("setting", format!("rules.{}.{key}", it.name))],
        why: why.into(),
        effect: "nothing was started; no data was touched".into(),
        fix: "correct it, then `millstream check`; docs/notifications.md says what can be written"
            .into(),
    }
}
