//! `[rules.NAME]`: which change of which row is worth telling whom.
//!
//! In: a table of the settings file. Out: [`RuleSettings`], or every problem at once. Whether the
//! view is kept, has the fields, and what the expressions mean is looked at where rules are
//! compiled (src/notify/rule.rs).

use std::time::Duration;

use schemas::nearest::nearest;
use toml::de::DeTable;

use super::Settings;
use super::kafka::Wrong;
use super::named::{Key, Reader};
use super::problem::{Place, Trouble};

/// A `[rules.NAME]`, checked as far as it can be without the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    /// Unique.
    pub name: String,
    /// Of which rows.
    pub view: String,
    /// Which change.
    pub on: On,
    /// The condition.
    pub when: String,
    /// Fields that name the episode.
    pub episode: Vec<String>,
    /// The field that says since when it is so.
    pub since: Option<String>,
    /// Who is told.
    pub channel: String,
    /// How urgent it is.
    pub severity: &'static str,
    /// What is said: a template.
    pub text: String,
    /// What is said once it is over: a template; nothing if absent.
    pub resolved: Option<String>,
    /// After one message of a subject so long none.
    pub quiet: Duration,
    /// After one message others of the rule become one with a count, for so long; none if zero.
    pub group: Duration,
    /// Said only if it is still so, so long after `since`.
    pub settle: Duration,
    /// Nothing is said of what began longer ago.
    pub max_age: Duration,
    /// Also of what is so when the process starts.
    pub already: bool,
    /// Where it was said.
    pub place: Place,
}

impl RuleSettings {
    /// Whether another says the same, wherever it stands.
    pub fn says_the_same(&self, other: &RuleSettings) -> bool {
        RuleSettings { place: other.place.clone(), ..self.clone() } == *other
    }
}

/// Which change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The condition is met, and was not, or for another episode.
    Enter,
    /// The condition was met, and is not any more.
    Leave,
}

/// Severities, the least urgent first.
pub const SEVERITIES: &[&str] = &["info", "warning", "critical"];

/// Most rules.
pub const RULES_MAX: usize = 4_096;

/// The keys of a `[rules.NAME]`.
pub const RULE_KEYS: &[Key] = &[
    ("view", "", "\"orders\"", "Of which rows; any view but `notifications` and `volume`."),
    (
        "when",
        "",
        "\"late and channel == 'web'\"",
        "The condition over the row's fields: an expression of Jinja (`and`, `or`, `not`, `==`, `<`, `in`, `is none`, filters).",
    ),
    (
        "on",
        "",
        "\"enter\"",
        "`enter`: the condition is met, and was not, or was met for another episode. `leave`: it was met, and is not any more.",
    ),
    (
        "episode",
        "",
        "[\"promised_at\"]",
        "Fields that name the episode: the same episode speaks once, whatever happens. A band that changes: the field of the band and its `since`.",
    ),
    (
        "since",
        "",
        "\"promised_at\"",
        "The field (a time) that says since when it is so; needed for `settle`, and by it `max_age` is told.",
    ),
    ("channel", "", "\"ops\"", "Who is told: a `[channels.NAME]`."),
    ("severity", "", "\"warning\"", "`info`, `warning` or `critical`."),
    (
        "text",
        "",
        "\"order {{ order }} of {{ customer }} is late\"",
        "What is said: a template of Jinja over the row's fields. A field that is not there refuses the message, never renders half of it.",
    ),
    (
        "resolved",
        "",
        "\"order {{ order }} is on its way again\"",
        "What is said once it is over, as a message that corrects the first; nothing if absent.",
    ),
    (
        "quiet",
        "",
        "\"10min\"",
        "After a message about a subject so long none of this rule: what falls into it is kept as suppressed. 1s to 30d; none if absent.",
    ),
    (
        "group",
        "",
        "\"1min\"",
        "After a message others of this rule (of one tenant) are held back for so long and become one message with a count. 1s to 1d; each by itself if absent.",
    ),
    (
        "settle",
        "",
        "\"5s\"",
        "Said only if it is still so, so long after `since`. 100ms to 30d; at once if absent. Not with `on = \"leave\"`.",
    ),
    (
        "max_age",
        "",
        "\"1d\"",
        "Nothing is said of an episode that began (`since`) longer ago: a history that is read late is no news. 1s to 365d. Not with `on = \"leave\"`.",
    ),
    (
        "already",
        "",
        "false",
        "Also of what is so when the process starts, or when the rule comes by a reload, if it was not said before. Not with `on = \"leave\"`.",
    ),
];

/// Keys that say nothing of a row that is left, and why.
const NOT_OF_LEAVING: &[(&str, &str)] = &[
    ("resolved", "what is left has no end"),
    ("settle", "what is left is over at once"),
    ("max_age", "it tells how long ago something began, not when it was left"),
    ("already", "what is so was not left"),
];

/// Reads a `[rules.NAME]`; `None` if something is wrong, and all of it is in `wrong`.
pub(super) fn read(
    (name, place): (&str, Place),
    table: &DeTable<'_>,
    at: &dyn Fn(usize) -> Place,
    wrong: &mut Vec<Wrong>,
) -> Option<RuleSettings> {
    let mut it = Reader::of(("rules", name, &place), table, RULE_KEYS, at, wrong);
    let (secs, day) = (Duration::from_secs, 86_400);
    let view = it.must("view", &place);
    let when = it.must("when", &place);
    let on = match it.word("on", "enter", &["enter", "leave"]) {
        "leave" => On::Leave,
        _ => On::Enter,
    };
    if !it.said("episode") {
        let found = "a table without `episode`";
        it.say(Trouble::Value, place.clone(), "", "`episode`", found, None);
    }
    let episode = it.list("episode");
    let since = it.text("since").map(|it| it.1);
    let channel = it.must("channel", &place);
    let severity = it.word("severity", "warning", SEVERITIES);
    let text = it.must("text", &place);
    let resolved = it.text("resolved").map(|it| it.1);
    let quiet = it.time("quiet", Duration::ZERO, secs(1), secs(30 * day));
    let group = it.time("group", Duration::ZERO, secs(1), secs(day));
    let settle = it.time("settle", Duration::ZERO, Duration::from_millis(100), secs(30 * day));
    let max_age = it.time("max_age", secs(day), secs(1), secs(365 * day));
    let already = it.flag("already");
    if since.is_none() && (it.said("settle") || it.said("max_age")) {
        let key = if it.said("settle") { "settle" } else { "max_age" };
        let expected = "`since` beside it: the field that says since when";
        it.say(Trouble::Conflict, place.clone(), key, expected, "no `since`", None);
    }
    if on == On::Leave {
        for (key, why) in NOT_OF_LEAVING {
            if it.said(key) {
                let expected = format!("it with `on = \"enter\"` only: {why}");
                it.say(Trouble::Conflict, place.clone(), key, &expected, "\"leave\"", None);
            }
        }
    }
    let good = it.good();
    let rule = RuleSettings {
        name: name.to_string(),
        view: view?.1,
        on,
        when: when?.1,
        episode: episode?.1,
        since,
        channel: channel?.1,
        severity,
        text: text?.1,
        resolved,
        quiet,
        group,
        settle,
        max_age,
        already,
        place,
    };
    good.then_some(rule)
}

/// The longest time for which messages that ended are looked back on, and whose it is.
pub(super) fn looks_back(settings: &Settings) -> Option<(Duration, String)> {
    let channels = settings.channels.iter();
    let channels = channels.map(|it| (it.expires, format!("channels.{}.expires", it.name)));
    let rules = settings.rules.iter().flat_map(|it| {
        let max_age = it.since.as_ref().map_or(Duration::ZERO, |_| it.max_age);
        let all = [("max_age", max_age), ("quiet", it.quiet), ("settle", it.settle)];
        let all = all.into_iter().chain([("group", it.group)]);
        all.map(|(key, time)| (time, format!("rules.{}.{key}", it.name)))
    });
    channels.chain(rules).max_by_key(|it| it.0)
}

/// What is wrong with the channel that a rule names, if anything is.
pub(super) fn no_channel(rule: &RuleSettings, channels: &[&str]) -> Option<Wrong> {
    if channels.contains(&rule.channel.as_str()) {
        return None;
    }
    let expected = match channels {
        [] => "a channel; there is none: write a `[channels.NAME]`".to_string(),
        all => format!("one of the channels {}", all.join(", ")),
    };
    let meant = nearest(&rule.channel, channels).map(str::to_string);
    let setting = format!("rules.{}.channel", rule.name);
    let found = format!("{:?}", rule.channel);
    Some((Trouble::Value, rule.place.clone(), setting, expected, found, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what would say nothing of a row that is left is refused, not read and forgotten. Method:
    /// each such key, with either word.
    #[test]
    fn what_is_left_does_not_settle() {
        let read = |on: &str, more: &str| {
            let text = format!(
                "on = \"{on}\"\nview = \"cases\"\nwhen = \"n > 1\"\nepisode = [\"since\"]\n\
                 since = \"since\"\nchannel = \"ops\"\ntext = \"so\"\n{more}"
            );
            let table = DeTable::parse(&text).unwrap();
            let (place, at) = (Place::Flag("test".into()), |_| Place::Flag("test".into()));
            let mut wrong = Vec::new();
            let rule = super::read(("r", place), table.get_ref(), &at, &mut wrong);
            assert_eq!(rule.is_some(), wrong.is_empty());
            wrong.into_iter().map(|it| it.2).collect::<Vec<_>>()
        };
        for (key, value) in [
            ("resolved", "\"so\""),
            ("settle", "\"5s\""),
            ("max_age", "\"1d\""),
            ("already", "true"),
        ] {
            let more = format!("{key} = {value}\n");
            assert!(read("enter", &more).is_empty(), "{key}");
            assert_eq!(read("leave", &more), [format!("rules.r.{key}")]);
        }
        assert!(read("leave", "quiet = \"1min\"\ngroup = \"1min\"\n").is_empty());
    }
}
