//! The layers: file, variables, flags, each laid over the one before; then what must go together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemas::nearest::nearest;
use toml::de::{DeTable, DeValue};

use super::problem::{ConfigProblem, Place, Trouble};
use super::table::{FEED_KEYS, Kind, SECTIONS, Said, Setting, TABLE};
use super::{FeedSettings, OWN_FEEDS, Settings, channels, kafka, rules, sinks, values};

/// Everything that may say a setting. Texts; nothing is read from the system here.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file and its text. Paths in it are relative to its folder.
    pub file: Option<(PathBuf, String)>,
    /// The process's variables; those that are none of ours are left alone.
    pub variables: Vec<(String, String)>,
    /// Flags: as written (`--listen`), the setting, the value.
    pub flags: Vec<(String, String, String)>,
    /// Feeds from flags, `name=path[,mapping]`, added to those of the file.
    pub feeds: Vec<String>,
    /// Names of the views that there are, to check `engine.views` against; asked only if it is said.
    pub views: Option<fn() -> Vec<&'static str>>,
}

/// Lays the sources over the defaults and checks the whole: the settings, or every problem.
pub fn load(sources: &Sources) -> Result<Settings, Vec<ConfigProblem>> {
    let (settings, problems) = read(sources);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// The same, with the settings as far as they were understood beside the problems: for who looks
/// for further problems in what they name, and starts nothing.
pub fn read(sources: &Sources) -> (Settings, Vec<ConfigProblem>) {
    let mut it = Layers {
        settings: Settings::default(),
        problems: Vec::new(),
        said_at: BTreeMap::new(),
        feeds_at: Vec::new(),
        kafka_at: Vec::new(),
        sinks_at: Vec::new(),
        channels: Vec::new(),
    };
    if let Some((path, text)) = &sources.file {
        it.file(path, text, &sources.variables);
    }
    it.variables(&sources.variables);
    for (flag, setting, value) in &sources.flags {
        it.say(Place::Flag(flag.clone()), setting, &Said::Text(value.clone()), true);
    }
    for feed in &sources.feeds {
        it.feed_flag(feed);
    }
    it.check_views(sources.views);
    it.check_sinks(sources.views);
    it.check_rules();
    it.check_together();
    it.check_keep();
    it.check_feeds();
    // The file's in the order of its lines, then what variables and flags said.
    it.problems.sort_by_key(|it| match it.place {
        Place::File { line, .. } => line,
        _ => usize::MAX,
    });
    (it.settings, it.problems)
}

struct Layers {
    settings: Settings,
    problems: Vec<ConfigProblem>,
    /// Who said a setting last.
    said_at: BTreeMap<&'static str, Place>,
    /// Who said each feed.
    feeds_at: Vec<Place>,
    /// Who said each Kafka feed.
    kafka_at: Vec<Place>,
    /// Who said each sink.
    sinks_at: Vec<Place>,
    /// Channels that were named, right or wrong.
    channels: Vec<String>,
}

/// Tables of notifications.
const NOTIFY: [&str; 2] = ["channels", "rules"];

/// Of what is no TOML so much is told line by line.
const SYNTAX_MAX: usize = 3;

impl Layers {
    fn problem(
        &mut self,
        trouble: Trouble,
        place: Place,
        setting: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
        nearest: Option<&str>,
    ) {
        // What the reader of TOML makes of a line that it cannot read is not what was said.
        if self.problems.iter().any(|it| it.trouble == Trouble::Syntax && it.place == place) {
            return;
        }
        self.problems.push(ConfigProblem {
            trouble,
            place,
            setting: setting.to_string(),
            expected: expected.into(),
            found: found.into(),
            nearest: nearest.map(str::to_string),
        });
    }

    /// One setting, said by anyone.
    fn say(&mut self, place: Place, name: &str, said: &Said, text_only: bool) {
        let Some(setting) = Setting::find(name) else {
            return self.no_such_setting(place, name);
        };
        match setting.set(&mut self.settings, said, text_only) {
            Ok(()) => {
                self.said_at.insert(setting.name, place);
            }
            Err(expected) => {
                self.problem(Trouble::Value, place, name, expected, said.to_string(), None);
            }
        }
    }

    fn no_such_setting(&mut self, place: Place, name: &str) {
        let (section, key) = name.split_once('.').unwrap_or(("", name));
        // A key of the section, else the whole name, else the same key in another section.
        let names: Vec<&'static str> = TABLE.iter().map(|it| it.name).collect();
        let parts: Vec<_> = TABLE.iter().map(Setting::parts).collect();
        let keys: Vec<_> = parts.iter().filter(|it| it.0 == section).map(|it| it.1).collect();
        let of = |section: &str, key: &str| {
            TABLE.iter().find(|it| it.parts() == (section, key)).map(|it| it.name)
        };
        let meant = nearest(key, &keys)
            .and_then(|key| of(section, key))
            .or_else(|| nearest(name, &names))
            .or_else(|| parts.iter().find(|it| it.1 == key).and_then(|it| of(it.0, key)));
        let expected = match SECTIONS.iter().find(|it| it.0 == section) {
            Some(("", _)) => "data_dir, or a setting of a section".to_string(),
            Some(_) => format!("one of {}", keys.join(", ")),
            None => "a name from docs/configuration.md".to_string(),
        };
        self.problem(Trouble::Name, place, name, expected, format!("{name:?}"), meant);
    }

    fn file(&mut self, path: &Path, text: &str, variables: &[(String, String)]) {
        let at = |offset: usize| {
            let before = text.as_bytes().iter().take(offset);
            let line = 1 + before.filter(|it| **it == b'\n').count();
            Place::File { path: path.to_path_buf(), line }
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors.iter().take(SYNTAX_MAX) {
            let place = at(error.span().map_or(0, |it| it.start));
            self.problem(Trouble::Syntax, place, "", "TOML", error.message().trim(), None);
        }
        if errors.len() > SYNTAX_MAX {
            // No TOML at all, most likely: what could be read of it is nothing that was said.
            let found = format!("{} lines that are none", errors.len());
            self.problem(Trouble::Syntax, at(text.len()), "", "TOML", found, None);
            return;
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for (key, value) in table.get_ref() {
            let (name, place) = (key.get_ref().as_ref(), at(key.span().start));
            match value.get_ref() {
                DeValue::Table(section) if SECTIONS.iter().any(|it| it.0 == name) => {
                    for (key, value) in section {
                        let setting = format!("{name}.{}", key.get_ref());
                        self.say(at(key.span().start), &setting, &said(value.get_ref()), false);
                    }
                }
                DeValue::Array(feeds) if name == "feed" => {
                    for feed in feeds.iter() {
                        self.feed_table(at(feed.span().start), feed.get_ref(), folder, &at);
                    }
                }
                DeValue::Array(feeds) if name == "kafka" => {
                    for feed in feeds.iter() {
                        let place = at(feed.span().start);
                        self.kafka_table(place, feed.get_ref(), folder, variables, &at);
                    }
                }
                DeValue::Table(sinks) if name == "sinks" => {
                    for (key, sink) in sinks {
                        let place = at(key.span().start);
                        let sink = (sink.get_ref(), folder, variables);
                        self.sink_table((key.get_ref(), place), sink, &at);
                    }
                }
                DeValue::Table(tables) if NOTIFY.contains(&name) => {
                    for (key, table) in tables {
                        let place = at(key.span().start);
                        let table = (table.get_ref(), folder, variables);
                        self.notify_table((name, key.get_ref(), place), table, &at);
                    }
                }
                _ if name == "sinks" || NOTIFY.contains(&name) => {
                    let found = said(value.get_ref()).to_string();
                    let expected = format!("tables `[{name}.NAME]`");
                    self.problem(Trouble::Value, place, name, expected, found, None);
                }
                _ if name == "feed" || name == "kafka" => {
                    let found = said(value.get_ref()).to_string();
                    self.problem(
                        Trouble::Value,
                        place,
                        name,
                        format!("tables `[[{name}]]`"),
                        found,
                        None,
                    );
                }
                DeValue::Table(_) => {
                    let sections = SECTIONS
                        .iter()
                        .map(|it| it.0)
                        .chain(["feed", "kafka", "sinks", "channels", "rules"]);
                    let sections: Vec<&str> = sections.filter(|it| !it.is_empty()).collect();
                    let meant = nearest(name, &sections);
                    let expected = format!("one of the sections {}", sections.join(", "));
                    self.problem(Trouble::Name, place, name, expected, format!("[{name}]"), meant);
                }
                other if SECTIONS.iter().any(|it| it.0 == name) => {
                    let found = said(other).to_string();
                    self.problem(Trouble::Value, place, name, "a section", found, None);
                }
                other => self.say(place, name, &said(other), false),
            }
        }
        if matches!(self.said_at.get("data_dir"), Some(Place::File { .. })) {
            self.settings.data_dir = folder.join(&self.settings.data_dir);
        }
    }

    /// A `[[feed]]` of the file.
    fn feed_table(
        &mut self,
        place: Place,
        feed: &DeValue<'_>,
        folder: &Path,
        at: &dyn Fn(usize) -> Place,
    ) {
        let DeValue::Table(feed) = feed else {
            let found = said(feed).to_string();
            return self.problem(Trouble::Value, place, "feed", "a table", found, None);
        };
        let mut given: BTreeMap<&str, String> = BTreeMap::new();
        let mut whole = true;
        for (key, value) in feed {
            let (name, at) = (key.get_ref().as_ref(), at(key.span().start));
            let setting = format!("feed.{name}");
            if !FEED_KEYS.iter().any(|it| it.0 == name) {
                let names: Vec<&str> = FEED_KEYS.iter().map(|it| it.0).collect();
                let meant = nearest(name, &names);
                let (expected, found) = ("one of name, path, mapping", format!("{name:?}"));
                self.problem(Trouble::Name, at, &setting, expected, found, meant);
                whole = false;
            } else if let Some(text) = value.get_ref().as_str().filter(|it| !it.is_empty()) {
                given.insert(name, text.to_string());
            } else {
                let found = said(value.get_ref()).to_string();
                self.problem(Trouble::Value, at, &setting, "text", found, None);
                whole = false;
            }
        }
        let in_folder = |it: &String| if it == "-" { PathBuf::from(it) } else { folder.join(it) };
        match (given.get("name"), given.get("path")) {
            (Some(name), Some(path)) => {
                let mapping = given.get("mapping").map(in_folder);
                let feed = FeedSettings { name: name.clone(), path: in_folder(path), mapping };
                self.settings.feeds.push(feed);
                self.feeds_at.push(place);
            }
            // A problem above has said why one of them is not there.
            _ if !whole => {}
            (name, _) => {
                let lacks = if name.is_none() { "name" } else { "path" };
                let found = format!("a feed without `{lacks}`");
                self.problem(Trouble::Value, place, "feed", "`name` and `path`", found, None);
            }
        }
    }

    /// A `[[kafka]]` of the file.
    fn kafka_table(
        &mut self,
        place: Place,
        feed: &DeValue<'_>,
        folder: &Path,
        variables: &[(String, String)],
        at: &dyn Fn(usize) -> Place,
    ) {
        let DeValue::Table(table) = feed else {
            let found = said(feed).to_string();
            return self.problem(Trouble::Value, place, "kafka", "a table", found, None);
        };
        let mut wrong = Vec::new();
        let read = kafka::read(place.clone(), table, folder, variables, at, &mut wrong);
        for (trouble, place, setting, expected, found, nearest) in wrong {
            self.problem(trouble, place, &setting, expected, found, nearest.as_deref());
        }
        if let Some(read) = read {
            self.settings.kafka.push(read);
            self.kafka_at.push(place);
        }
    }

    /// A `[sinks.NAME]` of the file.
    fn sink_table(
        &mut self,
        (name, place): (&str, Place),
        (sink, folder, variables): (&DeValue<'_>, &Path, &[(String, String)]),
        at: &dyn Fn(usize) -> Place,
    ) {
        let DeValue::Table(table) = sink else {
            let found = said(sink).to_string();
            let setting = format!("sinks.{name}");
            return self.problem(Trouble::Value, place, &setting, "a table", found, None);
        };
        let mut wrong = Vec::new();
        let read = sinks::read((name, place.clone()), table, (folder, variables), at, &mut wrong);
        for (trouble, place, setting, expected, found, nearest) in wrong {
            self.problem(trouble, place, &setting, expected, found, nearest.as_deref());
        }
        if let Some(read) = read {
            self.settings.sinks.push(read);
            self.sinks_at.push(place);
        }
    }

    /// A `[channels.NAME]` or a `[rules.NAME]` of the file.
    fn notify_table(
        &mut self,
        (section, name, place): (&str, &str, Place),
        (table, folder, variables): (&DeValue<'_>, &Path, &[(String, String)]),
        at: &dyn Fn(usize) -> Place,
    ) {
        let DeValue::Table(table) = table else {
            let found = said(table).to_string();
            let setting = format!("{section}.{name}");
            return self.problem(Trouble::Value, place, &setting, "a table", found, None);
        };
        let mut wrong = Vec::new();
        if section == "channels" {
            let of = (name, place);
            let read = channels::read(of, table, (folder, variables), at, &mut wrong);
            self.settings.channels.extend(read);
            self.channels.push(name.to_string());
        } else {
            let read = rules::read((name, place), table, at, &mut wrong);
            self.settings.rules.extend(read);
        }
        self.told(wrong);
    }

    fn told(&mut self, wrong: Vec<kafka::Wrong>) {
        for (trouble, place, setting, expected, found, nearest) in wrong {
            self.problem(trouble, place, &setting, expected, found, nearest.as_deref());
        }
    }

    /// A rule can name only a channel that there is, right or wrong.
    fn check_rules(&mut self) {
        let channels: Vec<&str> = self.channels.iter().map(String::as_str).collect();
        let all = self.settings.rules.iter();
        let wrong: Vec<_> = all.filter_map(|it| rules::no_channel(it, &channels)).collect();
        self.told(wrong);
        if self.settings.rules.len() > rules::RULES_MAX {
            let expected = format!("at most {} rules", rules::RULES_MAX);
            let found = self.settings.rules.len().to_string();
            let place = self.settings.rules[0].place.clone();
            self.problem(Trouble::Value, place, "rules", expected, found, None);
        }
    }

    /// `--feed name=path[,mapping]`.
    fn feed_flag(&mut self, text: &str) {
        let place = Place::Flag("--feed".to_string());
        let parts = text.split_once('=').filter(|it| !it.0.is_empty() && !it.1.is_empty());
        let Some((name, rest)) = parts else {
            let (expected, found) = ("`name=path` or `name=path,mapping`", format!("{text:?}"));
            return self.problem(Trouble::Value, place, "feed", expected, found, None);
        };
        let (path, mapping) = match rest.split_once(',') {
            Some((path, mapping)) => (path, Some(PathBuf::from(mapping))),
            None => (rest, None),
        };
        let feed = FeedSettings { name: name.to_string(), path: PathBuf::from(path), mapping };
        self.settings.feeds.push(feed);
        self.feeds_at.push(place);
    }

    /// Ours are those with a section (`__`) and those of the top level; others may be anything,
    /// for a cluster sets `MILLSTREAM_PORT` for a service of that name. A near miss is told.
    fn variables(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix("MILLSTREAM_") else { continue };
            let setting = rest.to_lowercase().replace("__", ".");
            let place = Place::Variable(name.clone());
            if rest.contains("__") || Setting::find(&setting).is_some() {
                self.say(place, &setting, &Said::Text(value.clone()), true);
            } else if let Some(meant) = TABLE
                .iter()
                .map(Setting::variable)
                .find(|it| it.replace('_', "") == name.replace('_', ""))
            {
                let (expected, found) = (format!("{meant:?}"), format!("{name:?}"));
                self.problem(Trouble::Name, place, &setting, expected, found, Some(&meant));
            }
        }
    }

    fn place_of(&self, names: &[&str]) -> Option<Place> {
        names.iter().find_map(|it| self.said_at.get(it)).cloned()
    }

    fn check_views(&mut self, views: Option<fn() -> Vec<&'static str>>) {
        let Some(place) = self.place_of(&["engine.views"]) else { return };
        let Some(views) = views.map(|it| it()) else { return };
        for name in self.settings.engine.views.clone() {
            if !views.contains(&name.as_str()) {
                let meant = nearest(&name, &views);
                let expected = format!("one of {}", views.join(", "));
                let found = format!("{name:?}");
                self.problem(Trouble::Value, place.clone(), "engine.views", expected, found, meant);
            }
        }
    }

    /// A sink can take only views that are kept.
    fn check_sinks(&mut self, views: Option<fn() -> Vec<&'static str>>) {
        let Some(all) = views.map(|it| it()) else { return };
        let kept = self.settings.engine.views.clone();
        let known: Vec<&str> =
            all.into_iter().filter(|it| kept.is_empty() || kept.iter().any(|k| k == it)).collect();
        for (sink, place) in self.settings.sinks.clone().iter().zip(self.sinks_at.clone()) {
            for name in sink.views.iter().filter(|it| !known.contains(&it.as_str())) {
                let meant = nearest(name, &known);
                let expected = format!("of the views that are kept: {}", known.join(", "));
                let setting = format!("sinks.{}.views", sink.name);
                let found = format!("{name:?}");
                self.problem(Trouble::Value, place.clone(), &setting, expected, found, meant);
            }
        }
    }

    /// What must not be larger than what.
    fn check_together(&mut self) {
        const ORDERED: &[(&str, &str, &str)] = &[
            (
                "engine.epoch_period",
                "engine.epoch_max_period",
                "an epoch would close under backlog before it closes otherwise",
            ),
            ("log.segment_bytes", "log.max_bytes", "the log would never have a whole segment"),
            (
                "serve.max_event_bytes",
                "serve.max_body_bytes",
                "no request could carry the largest event",
            ),
            (
                "serve.max_body_bytes",
                "log.queue_bytes",
                "the largest request could never be appended",
            ),
            (
                "serve.max_connections_per_address",
                "serve.max_connections",
                "one address may not have more than all",
            ),
        ];
        for (small, large, why) in ORDERED {
            let (Some(low), Some(high)) = (Setting::find(small), Setting::find(large)) else {
                continue;
            };
            // Only what somebody said can be corrected; the defaults go together.
            let Some(place) = self.place_of(&[small, large]) else { continue };
            if low.value(&self.settings) > high.value(&self.settings) {
                let expected =
                    format!("at most {large}, which is {} ({why})", high.show(&self.settings));
                let found = low.show(&self.settings);
                self.problem(Trouble::Conflict, place, small, expected, found, None);
            }
        }
    }

    /// What looks back on messages finds them there.
    fn check_keep(&mut self) {
        let Some((longest, whose)) = rules::looks_back(&self.settings) else { return };
        if longest <= self.settings.notifications.keep {
            return;
        }
        let Some(place) = self.place_of(&["notifications.keep"]) else {
            self.settings.notifications.keep = longest;
            return;
        };
        let expected = format!("at least {}, which is {whose}", values::show_duration(longest));
        let found = values::show_duration(self.settings.notifications.keep);
        self.problem(Trouble::Conflict, place, "notifications.keep", expected, found, None);
    }

    fn check_feeds(&mut self) {
        let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        let files = self.settings.feeds.iter().map(|it| it.name.clone()).zip(&self.feeds_at);
        let topics = self.settings.kafka.iter().map(|it| it.name.clone()).zip(&self.kafka_at);
        let all: Vec<_> = (files.map(|it| ("feed.name", it.0, it.1.clone())))
            .chain(topics.map(|it| ("kafka.name", it.0, it.1.clone())))
            .collect();
        for (n, (setting, name, place)) in all.iter().enumerate() {
            let (place, found) = (place.clone(), format!("{name:?}"));
            if OWN_FEEDS.contains(&name.as_str()) {
                let expected = format!("a name that is not ours ({})", OWN_FEEDS.join(", "));
                self.problem(Trouble::Value, place, setting, expected, found, None);
            } else if name.len() > 64 || !name.chars().all(plain) {
                let expected = "1 to 64 letters, digits, `.`, `_`, `-`";
                self.problem(Trouble::Value, place, setting, expected, found, None);
            } else if all[..n].iter().any(|it| it.1 == *name) {
                let expected = "a name that no other feed has";
                self.problem(Trouble::Conflict, place, setting, expected, found, None);
            }
        }
    }
}

impl Setting {
    /// Its value as a number, to be compared with another of the same kind.
    fn value(&self, settings: &Settings) -> u128 {
        let mut settings = settings.clone();
        match &self.kind {
            Kind::Count(place, ..) => *place(&mut settings) as u128,
            Kind::Many(place, ..) | Kind::Size(place, ..) => u128::from(*place(&mut settings)),
            Kind::Time(place, ..) => place(&mut settings).as_micros(),
            Kind::Folder(_) | Kind::Address(_) | Kind::Word(..) | Kind::Views(_) => 0,
            Kind::Sla(_) | Kind::Tiers(_) | Kind::Bands(_) | Kind::Kinds(_) | Kind::Names(_) => 0,
        }
    }
}

/// What a value of the file says.
pub(super) fn said(value: &DeValue<'_>) -> Said {
    match value {
        DeValue::String(it) => Said::Text(it.to_string()),
        DeValue::Integer(it) if it.radix() == 10 => Said::Number(it.as_str().to_string()),
        DeValue::Integer(it) => Said::Other(format!("a number in base {}", it.radix())),
        DeValue::Float(it) => Said::Other(format!("the fraction {}", it.as_str())),
        DeValue::Boolean(it) => Said::Other(it.to_string()),
        DeValue::Datetime(it) => Said::Other(format!("the time {it}")),
        DeValue::Table(_) => Said::Other("a table".to_string()),
        DeValue::Array(list) => {
            let texts: Option<Vec<String>> =
                list.iter().map(|it| it.get_ref().as_str().map(str::to_string)).collect();
            texts.map_or_else(|| Said::Other("a list of other things".to_string()), Said::List)
        }
    }
}
