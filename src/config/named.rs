//! A table with a name (`[sinks.NAME]`, `[channels.NAME]`, `[rules.NAME]`), read key by key.
//!
//! # Meaning
//! Every problem of the table is told; a key that no row of its list has is told with the nearest
//! one. Nothing of a table in which something is wrong is used.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use schemas::nearest::nearest;
use toml::de::{DeTable, DeValue};

use super::kafka::{Password, Wrong};
use super::problem::{Place, Trouble};
use super::values;

/// A key: name, the kind it is for (empty: every kind), an example as it is written, words.
pub type Key = (&'static str, &'static str, &'static str, &'static str);

/// A table, being read.
pub(super) struct Reader<'a> {
    section: &'static str,
    name: &'a str,
    wrong: &'a mut Vec<Wrong>,
    good: bool,
    said: BTreeMap<&'a str, (Place, &'a DeValue<'a>)>,
}

impl<'a> Reader<'a> {
    /// The table, its name and keys looked at.
    pub(super) fn of(
        (section, name, place): (&'static str, &'a str, &Place),
        table: &'a DeTable<'a>,
        keys: &[Key],
        at: &dyn Fn(usize) -> Place,
        wrong: &'a mut Vec<Wrong>,
    ) -> Reader<'a> {
        let mut it = Reader { section, name, wrong, good: true, said: BTreeMap::new() };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            let expected = "a name of letters, digits, `_` and `-`, at most 64";
            it.say(Trouble::Value, place.clone(), "", expected, format!("{name:?}"), None);
        }
        for (key, value) in table {
            let (key, at) = (key.get_ref().as_ref(), at(key.span().start));
            if !keys.iter().any(|it| it.0 == key) {
                let names: Vec<&str> = keys.iter().map(|it| it.0).collect();
                let meant = nearest(key, &names).map(str::to_string);
                let expected = format!("one of {}", names.join(", "));
                it.say(Trouble::Name, at, key, expected, format!("{key:?}"), meant);
                continue;
            }
            it.said.insert(key, (at, value.get_ref()));
        }
        it
    }

    /// The table's name.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Whether nothing was wrong.
    pub(super) fn good(&self) -> bool {
        self.good
    }

    /// Whether a key stands there, whatever its value.
    pub(super) fn said(&self, key: &str) -> bool {
        self.said.contains_key(key)
    }

    /// Which keys stand there, and where.
    pub(super) fn keys(&self) -> Vec<(String, Place)> {
        self.said.iter().map(|(key, (at, _))| ((*key).to_string(), at.clone())).collect()
    }

    pub(super) fn say(
        &mut self,
        trouble: Trouble,
        place: Place,
        key: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
        nearest: Option<String>,
    ) {
        self.good = false;
        let dot = if key.is_empty() { "" } else { "." };
        let setting = format!("{}.{}{dot}{key}", self.section, self.name);
        self.wrong.push((trouble, place, setting, expected.into(), found.into(), nearest));
    }

    pub(super) fn text(&mut self, key: &str) -> Option<(Place, String)> {
        let (at, value) = self.said.get(key).cloned()?;
        match value.as_str().map(str::trim).filter(|it| !it.is_empty()) {
            Some(text) => Some((at, text.to_string())),
            None => {
                self.say(Trouble::Value, at, key, "text", told(value), None);
                None
            }
        }
    }

    /// One that must stand there.
    pub(super) fn must(&mut self, key: &str, place: &Place) -> Option<(Place, String)> {
        if !self.said(key) {
            let found = format!("a table without `{key}`");
            self.say(Trouble::Value, place.clone(), "", format!("`{key}`"), found, None);
        }
        self.text(key)
    }

    /// One of some words.
    pub(super) fn word(
        &mut self,
        key: &str,
        default: &'static str,
        words: &[&'static str],
    ) -> &'static str {
        let Some((at, text)) = self.text(key) else { return default };
        match words.iter().find(|it| **it == text) {
            Some(it) => it,
            None => {
                let meant = nearest(&text, words).map(str::to_string);
                let expected = format!("one of {}", words.join(", "));
                self.say(Trouble::Value, at, key, expected, format!("{text:?}"), meant);
                default
            }
        }
    }

    /// `kind`, which must be one of these.
    pub(super) fn kind(&mut self, kinds: &[&'static str], place: Place) -> Option<&'static str> {
        if !self.said("kind") {
            let found = format!("a table of {} without `kind`", self.section);
            self.say(Trouble::Value, place, "", "`kind`", found, None);
            return None;
        }
        let (at, kind) = self.text("kind")?;
        let found = kinds.iter().find(|it| **it == kind).copied();
        if found.is_none() {
            let meant = nearest(&kind, kinds).map(str::to_string);
            let expected = format!("one of {}", kinds.join(", "));
            self.say(Trouble::Value, at, "kind", expected, format!("{kind:?}"), meant);
        }
        found
    }

    /// Keys that stand there and are of another kind are told.
    pub(super) fn only_of(&mut self, kind: &str, keys: &[Key]) {
        for (key, at) in self.keys() {
            let of = keys.iter().find(|it| it.0 == key).map_or("", |it| it.1);
            if !of.is_empty() && of != kind {
                let expected = format!("it with `kind = \"{of}\"` only");
                self.say(Trouble::Conflict, at, &key, expected, format!("\"{kind}\""), None);
            }
        }
    }

    pub(super) fn list(&mut self, key: &str) -> Option<(Place, Vec<String>)> {
        let (at, value) = self.said.get(key).cloned()?;
        let texts: Option<Vec<String>> = match value {
            DeValue::Array(list) => {
                list.iter().map(|it| it.get_ref().as_str().map(|it| it.trim().into())).collect()
            }
            _ => None,
        };
        match texts.filter(|it| !it.is_empty()) {
            Some(texts) => Some((at, texts)),
            None => {
                self.say(Trouble::Value, at, key, "a list of texts", told(value), None);
                None
            }
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        let Some((at, value)) = self.said.get(key).cloned() else { return false };
        match value {
            DeValue::Boolean(it) => *it,
            _ => {
                self.say(Trouble::Value, at, key, "true or false", told(value), None);
                false
            }
        }
    }

    pub(super) fn size(&mut self, key: &str, default: u64, low: u64, high: u64) -> u64 {
        let Some((at, text)) = self.text(key) else { return default };
        match values::size(&text).filter(|it| (low..=high).contains(it)) {
            Some(it) => it,
            None => {
                let (low, high) = (values::show_size(low), values::show_size(high));
                let expected = format!("{}, from {low} to {high}", values::A_SIZE);
                self.say(Trouble::Value, at, key, expected, format!("{text:?}"), None);
                default
            }
        }
    }

    pub(super) fn time(
        &mut self,
        key: &str,
        default: Duration,
        low: Duration,
        high: Duration,
    ) -> Duration {
        let Some((at, text)) = self.text(key) else { return default };
        match values::duration(&text).filter(|it| (low..=high).contains(it)) {
            Some(it) => it,
            None => {
                let show = values::show_duration;
                let expected =
                    format!("{}, from {} to {}", values::A_DURATION, show(low), show(high));
                self.say(Trouble::Value, at, key, expected, format!("{text:?}"), None);
                default
            }
        }
    }

    pub(super) fn count(&mut self, key: &str, default: usize, high: usize) -> usize {
        let Some((at, value)) = self.said.get(key).cloned() else { return default };
        let number = match value {
            DeValue::Integer(it) => it.as_str().replace('_', "").parse().ok(),
            _ => None,
        };
        match number.filter(|it| (1..=high).contains(it)) {
            Some(it) => it,
            None => {
                let expected = format!("a whole number from 1 to {high}");
                self.say(Trouble::Value, at, key, expected, told(value), None);
                default
            }
        }
    }

    /// A secret in a file or a variable, by the names of the two keys; none where none is said.
    pub(super) fn secret(
        &mut self,
        (file, variable): (&str, &str),
        folder: &Path,
        variables: &[(String, String)],
    ) -> Option<Password> {
        match (self.text(file), self.text(variable)) {
            (Some((_, path)), None) => Some(Password::File(folder.join(path))),
            (None, Some((at, name))) => match variables.iter().find(|it| it.0 == name) {
                Some((_, value)) => Some(Password::Variable(name, value.clone())),
                None => {
                    let (expected, found) = ("a variable that is set", format!("no {name}"));
                    self.say(Trouble::Value, at, variable, expected, found, None);
                    None
                }
            },
            (Some((at, _)), Some(_)) => {
                let expected = format!("`{file}` or `{variable}`");
                self.say(Trouble::Conflict, at, file, expected, "both", None);
                None
            }
            (None, None) => None,
        }
    }
}

fn told(value: &DeValue<'_>) -> String {
    super::layers::said(value).to_string()
}
