//! The models that were published: which, since when, and their bodies.
//!
//! In: what is to be published. Out: [`Entry`]s, and the [`Published`] that the workers ask.
//!
//! # Meaning
//! A model is published once the list (`models/published`, replaced whole) names it; its body
//! (`models/<digest>`) was durable before. The fact `model.published` in the embedded log tells of
//! it; one that could not be told at once is told at the next start, under the same id.
//!
//! # Invariants
//! - `since` is after every event time that was read before, and after that of every earlier entry:
//!   no text that was scored is another model's at a replay.
//! - Nothing is ever taken off the list; at most [`MODELS_MAX`] models with bodies
//!   of at most [`ALL_MAX_BYTES`] together are on it, because all of them are in memory: a late text
//!   is scored by the model of its time.
//! - Every checkpoint names what was on the list, so that a list that went missing is noticed.
//!
//! # When it fails
//! A list or a body that cannot be read refuses the start: going on with another scorer would say
//! other things of the same texts at the next replay.

use std::io;
use std::path::{Path, PathBuf};

use schemas::time::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Model, Published, Quality, Speaker, not_readable, not_written, read, speaks_from};
use crate::report::Report;
use crate::segments::{read_checked, replace_checked};

/// The folder of bodies in the data folder.
pub const DIR: &str = "models";
/// The list, in that folder.
pub const LIST: &str = "published";
/// The list, in the data folder. (In two halves: in one it reads like an error's code.)
pub const LIST_PATH: &str = concat!("models", "/published");
/// What all of them are models of.
pub const NAME: &str = "sentiment";
/// The type of the fact.
pub const FACT: &str = "model.published";
/// Models that may be published in a deployment's life.
pub const MODELS_MAX: usize = 64;
/// Bodies of all that are published, together: a dozen million features, some 400 megabytes in
/// memory. A model of ten thousand reviews has about two megabytes.
pub const ALL_MAX_BYTES: u64 = 64 << 20;

/// A model that was published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is a model of.
    pub name: String,
    /// Counted from one.
    pub version: u32,
    /// Of its body.
    pub digest: String,
    /// Of its body.
    pub bytes: u64,
    /// Only of this tenant's texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// When it was published, milliseconds since the Unix epoch.
    pub sealed_ms: u64,
    /// It speaks of texts with this event time and later, microseconds since the Unix epoch.
    pub since: i64,
    /// Texts it was learnt from: negative, neutral, positive.
    pub texts: [u64; 3],
    /// Whether the English lexicon is an input.
    pub uses_lexicon: bool,
    /// How good it was on texts it had not seen, when it was learnt.
    pub quality: Quality,
    /// Beside the one before, on the same texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// Who spoke before.
    pub predecessor: String,
    /// Whether the log has the fact.
    pub told: bool,
}

/// Two models on the same texts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// This one.
    pub this: Quality,
    /// The one before.
    pub before: Quality,
}

/// What is to be published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Of the body, which is in the folder.
    pub digest: String,
    /// Only of this tenant's texts.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Against the one before.
    #[serde(default)]
    pub compared: Option<Compared>,
    /// Who is to be followed: another one may have been published in between.
    pub predecessor: String,
}

impl Entry {
    /// The name under which it speaks in rows.
    pub fn speaks_as(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// By which a checkpoint names it.
    pub fn id(&self) -> String {
        format!("{} {} {}", self.name, self.version, self.digest)
    }

    /// For people and the log.
    pub fn as_json(&self) -> Value {
        let [negative, neutral, positive] = self.texts;
        json!({
            "model": self.speaks_as(), "name": self.name, "version": self.version,
            "digest": self.digest, "bytes": self.bytes, "tenant": self.tenant,
            "sealed_at": rfc3339(self.sealed_ms.cast_signed().saturating_mul(1_000)),
            "in_use_since": rfc3339(self.since),
            "texts": {"negative": negative, "neutral": neutral, "positive": positive},
            "uses_lexicon": self.uses_lexicon, "held_out": self.quality,
            "compared": self.compared, "predecessor": self.predecessor,
        })
    }

    /// The fact that tells of it.
    pub fn fact(&self) -> Vec<u8> {
        let time = rfc3339(self.sealed_ms.cast_signed().saturating_mul(1_000));
        let mut fact = json!({
            "specversion": "1.0", "id": self.id(), "source": "millstream", "type": FACT,
            "subject": self.speaks_as(), "time": time, "data": self.as_json(),
        });
        if let Some(tenant) = &self.tenant {
            fact["tenant"] = json!(tenant);
        }
        fact.to_string().into_bytes()
    }
}

/// Who speaks newest, for all tenants or for this one.
pub fn newest<'e>(entries: &'e [Entry], tenant: Option<&str>) -> Option<&'e Entry> {
    let speaks = |it: &&Entry| it.tenant.is_none() || it.tenant.as_deref() == tenant;
    entries.iter().rev().find(speaks)
}

/// The folder of models of a data folder.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// This folder.
    pub fn at(dir: &Path) -> Shelf {
        Shelf { dir: dir.to_path_buf() }
    }

    /// That of a data folder.
    pub fn of(data_dir: &Path) -> Shelf {
        Shelf::at(&data_dir.join(DIR))
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every model that was published, in order.
    pub fn list(&self) -> Result<Vec<Entry>, Report> {
        let path = self.dir.join(LIST);
        let list = |why: &io::Error| list_unreadable(&path, &why.to_string());
        let Some(bytes) = read_checked(&path).map_err(|why| list(&why))? else {
            return Ok(Vec::new());
        };
        let entries: Vec<Entry> =
            serde_json::from_slice(&bytes).map_err(|why| list(&why.into()))?;
        let in_order = entries.is_sorted_by(|a, b| a.since < b.since && a.version < b.version);
        match in_order && entries.len() <= MODELS_MAX {
            true => Ok(entries),
            false => Err(list_unreadable(&path, "its entries are not in order, or too many")),
        }
    }

    /// The list, from now on, durably.
    pub fn write(&self, entries: &[Entry]) -> Result<(), Report> {
        let path = self.dir.join(LIST);
        let bytes = serde_json::to_vec_pretty(entries).map_err(io::Error::from);
        bytes
            .and_then(|it| replace_checked(&path, &it))
            .map_err(|why| not_written(&path, &why.to_string()))
    }

    /// The model of an entry, under its name, verified.
    pub fn model(&self, entry: &Entry) -> Result<Model, Report> {
        Ok(self.body(&entry.digest)?.named(&entry.speaks_as()))
    }

    /// The model with this digest, verified.
    pub fn body(&self, digest: &str) -> Result<Model, Report> {
        read(&self.body_path(digest)?)
    }

    /// Where the body with this digest is. A path that leads elsewhere is no name of a body.
    pub(super) fn body_path(&self, digest: &str) -> Result<PathBuf, Report> {
        let path = self.dir.join(digest);
        match super::is_digest(digest) {
            true => Ok(path),
            false => Err(not_readable(&path, "expected a digest")),
        }
    }

    /// All models of these entries, for the workers.
    pub fn published(&self, entries: &[Entry]) -> Result<Published, Report> {
        let published = Published::default();
        for it in entries {
            // In order: the list was looked at.
            published.add(self.speaker_of(self.model(it)?, it));
        }
        Ok(published)
    }

    /// The model of an entry, which was read already, for the workers.
    pub fn speaker_of(&self, model: Model, entry: &Entry) -> Speaker {
        let model = model.named(&entry.speaks_as());
        Speaker::new(&model, entry.tenant.as_deref(), entry.since)
    }

    /// The entry that would be next. `now_ms`: the time; `newest_event`: the newest event time that
    /// was read, microseconds. Nothing is written.
    pub fn next(
        &self,
        entries: &[Entry],
        asked: &Asked,
        model: &Model,
        (now_ms, newest_event): (u64, i64),
    ) -> Result<Entry, Report> {
        let path = self.dir.join(&asked.digest);
        let bytes =
            std::fs::metadata(&path).map_err(|why| not_readable(&path, &why.to_string()))?;
        let bytes = bytes.len();
        let all = entries.iter().map(|it| it.bytes).fold(bytes, u64::saturating_add);
        if all > ALL_MAX_BYTES || entries.len() >= MODELS_MAX {
            return Err(too_much(entries.len() + 1, all));
        }
        let before = newest(entries, asked.tenant.as_deref());
        let predecessor = before.map_or_else(|| super::LEXICON.into(), Entry::speaks_as);
        if before.is_some_and(|it| it.digest == asked.digest && it.tenant == asked.tenant) {
            return Err(already(&predecessor, &asked.digest));
        }
        if predecessor != asked.predecessor {
            return Err(another_first(&asked.predecessor, &predecessor));
        }
        let last = entries.last();
        let now = now_ms.cast_signed().saturating_mul(1_000);
        Ok(Entry {
            name: NAME.into(),
            version: last.map_or(0, |it| it.version) + 1,
            digest: asked.digest.clone(),
            bytes,
            tenant: asked.tenant.clone(),
            sealed_ms: now_ms,
            since: speaks_from(now, newest_event, last.map(|it| it.since)),
            texts: model.texts,
            uses_lexicon: model.is_english,
            quality: model.quality,
            compared: asked.compared,
            predecessor,
            told: false,
        })
    }
}

/// That every model which a checkpoint names is on the list.
pub fn expect(shelf: &Shelf, entries: &[Entry], named: &[String]) -> Result<(), Report> {
    match named.iter().find(|it| !entries.iter().any(|entry| entry.id() == **it)) {
        None => Ok(()),
        Some(it) => {
            let why = format!("the newest checkpoint was made with {it}, which it does not name");
            Err(list_unreadable(&shelf.dir.join(LIST), &why))
        }
    }
}

fn list_unreadable(path: &Path, why: &str) -> Report {
    Report {
        code: "models/list",
        what: "cannot tell which models were published".into(),
        at: vec![("file", path.display().to_string())],
        why: why.into(),
        effect: "nothing was started or changed: texts would be scored by other models than before"
            .into(),
        fix: "put the folder `models` of a backup back in its place".into(),
    }
}

fn too_much(n: usize, bytes: u64) -> Report {
    Report {
        code: "models/too-much",
        what: "cannot publish one more model like this".into(),
        at: vec![("models", n.to_string()), ("bytes", bytes.to_string())],
        why: format!(
            "expected at most {MODELS_MAX} models of {ALL_MAX_BYTES} bytes together: all of them \
             stay in memory, for texts that come late"
        ),
        effect: "nothing was published; the one in use stays".into(),
        fix: "publish less often, or a model of fewer texts".into(),
    }
}

fn already(name: &str, digest: &str) -> Report {
    Report {
        code: "models/already",
        what: "did not publish a model that is in use".into(),
        at: vec![("model", name.into())],
        why: format!("it has the same body, {digest}"),
        effect: "nothing was changed".into(),
        fix: "nothing is to be done".into(),
    }
}

fn another_first(expected: &str, found: &str) -> Report {
    Report {
        code: "models/another-first",
        what: "did not publish a model: another one came first".into(),
        at: vec![("model", found.into())],
        why: format!("it was measured against {expected}; in use is {found} by now"),
        effect: "nothing was changed".into(),
        fix: "publish it again: it is measured against the one in use".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{English, Label, Trainer, keep};

    /// Goal: an instant is after everything read and every earlier one; versions count; what is
    /// full, in use, overtaken or no name of a body is refused. Method: a folder, and a table.
    #[test]
    fn one_follows_the_other() {
        let dir = std::env::temp_dir().join(format!("millstream-shelf-{}", std::process::id()));
        let shelf = Shelf::of(&dir);
        assert!(shelf.list().unwrap().is_empty());
        let mut trainer = Trainer::default();
        for n in 0..40 {
            let label = if n % 2 == 0 { Label::Positive } else { Label::Negative };
            trainer.add(&format!("{label:?} {n}"), label);
        }
        let (model, _) = trainer.fit(English::No).unwrap();
        let digest = keep(shelf.dir(), &model.body()).unwrap();
        let ask = |tenant: Option<&str>, predecessor: &str| Asked {
            digest: digest.clone(),
            tenant: tenant.map(str::to_string),
            compared: None,
            predecessor: predecessor.into(),
        };
        let mut entries = Vec::new();
        // The clock; a newest event ahead of it; both behind the entry before.
        let times = [(5, 1), (6, 9_000_001), (7, 3)];
        let askers = [(None, super::super::LEXICON), (Some("a"), "sentiment 1"), (None, "no")];
        for (now, (tenant, predecessor)) in times.into_iter().zip(askers) {
            match shelf.next(&entries, &ask(tenant, predecessor), &model, now) {
                Ok(entry) => {
                    entries.push(entry);
                    shelf.write(&entries).unwrap();
                    let ids = |all: &[Entry]| -> Vec<_> {
                        all.iter().map(|it| (it.id(), it.since, it.tenant.clone())).collect()
                    };
                    assert_eq!(ids(&shelf.list().unwrap()), ids(&entries));
                }
                Err(why) => assert_eq!((why.code, predecessor), ("models/already", "no")),
            }
        }
        let since: Vec<(u32, i64)> = entries.iter().map(|it| (it.version, it.since)).collect();
        assert_eq!(since, [(1, 5_000), (2, 9_001_000)]);
        assert_eq!(newest(&entries, None).map(|it| it.version), Some(1));
        assert_eq!(newest(&entries, Some("a")).map(|it| it.version), Some(2));
        let asked = ask(Some("a"), "sentiment 1");
        let again = shelf.next(&entries, &asked, &model, (7, 3)).unwrap_err();
        assert_eq!(again.code, "models/already");
        let other = Asked { tenant: Some("b".into()), ..ask(None, "lexicon-en 1") };
        assert_eq!(
            shelf.next(&entries, &other, &model, (7, 3)).unwrap_err().code,
            "models/another-first"
        );
        let other = Asked { predecessor: "sentiment 1".into(), ..other };
        let third = shelf.next(&entries, &other, &model, (7, 3)).unwrap();
        assert_eq!((third.version, third.since), (3, 9_002_000));
        let fact: Value = serde_json::from_slice(&third.fact()).unwrap();
        assert_eq!((&fact["type"], &fact["tenant"]), (&json!(FACT), &json!("b")));

        while entries.len() < MODELS_MAX {
            let last = entries.last().unwrap().clone();
            entries.push(Entry { version: last.version + 1, since: last.since + 1, ..last });
        }
        assert_eq!(
            shelf.next(&entries, &other, &model, (7, 3)).unwrap_err().code,
            "models/too-much"
        );
        entries.truncate(2);
        entries[0].bytes = ALL_MAX_BYTES;
        assert_eq!(
            shelf.next(&entries, &other, &model, (7, 3)).unwrap_err().code,
            "models/too-much"
        );
        assert!(shelf.body("../models/published").is_err());
        assert!(expect(&shelf, &entries, &[entries[0].id()]).is_ok());
        assert_eq!(expect(&shelf, &entries, &["x".into()]).unwrap_err().code, "models/list");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
