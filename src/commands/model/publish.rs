//! A model into the data folder: measured beside the one in use, then published.
//!
//! # Meaning
//! Both are asked about the same rated texts, the tenth that training holds out. What counts for
//! each is the lower of its accuracy there and of the one that was measured when it was learnt, on
//! texts that it had not seen: texts that a model has learnt from flatter it. A model that is worse
//! is refused, and so is one that could not be measured, unless `--even-if-worse` is said.
//!
//! # Invariants
//! The body is durable under its digest before anybody is asked to publish it. A running process
//! publishes by itself ([`crate::run`]); with none running the list is written here, under the
//! folder's lock, and the next start tells the log.

use serde_json::Value;

use super::texts;
use crate::commands::check::load_mapping;
use crate::commands::chosen::Chosen;
use crate::commands::out::Out;
use crate::commands::typed::model::{List, Publish, Show};
use crate::commands::{Problems, ask, folder};
use crate::config::Settings;
use crate::models::arrivals;
use crate::models::shelf::{Asked, Compared, Entry, Shelf, newest};
use crate::models::{self, LEXICON, Lexicon, Quality, Trainer};
use crate::report::Report;
use crate::store::Looking;
use schemas::events::Event;

/// Publishes a file.
pub(super) fn publish(it: &Publish, chosen: &Chosen) -> Result<(), Problems> {
    let mapping = it.mapping.as_deref().map(load_mapping).transpose()?;
    let flags = [("--data-dir", "data_dir", it.data_dir.clone())];
    let settings = chosen.settings(&flags, &[])?;
    let mut model = models::read(&it.model).map_err(|it| vec![it])?;
    let mut trainer = Trainer::default();
    let mut seen = super::Seen::default();
    let mut learn = |event: &Event<'_>| {
        let theirs = it.tenant.as_ref().is_none_or(|tenant| *tenant == event.tenant);
        if let Some((text, label)) = models::rated(event).filter(|_| theirs)
            && seen.is_new(event)
        {
            trainer.add(text, label);
        }
        Ok(())
    };
    match &it.input {
        Some(input) => texts::each(input, mapping.as_ref(), &settings, learn)?,
        None => texts::of_log(&settings, &mut learn).map_err(|it| vec![it])?,
    };
    let mut publish = || -> Result<Entry, Report> {
        let tenant = it.tenant.as_deref();
        let before = Before::of(&settings, tenant, &trainer)?;
        let this = trainer.measure(&mut model);
        let body = std::fs::read(&it.model)
            .map_err(|why| models::not_readable(&it.model, &why.to_string()))?;
        let standing = (this, lower(this, model.quality));
        before.follow(&settings, (&body, tenant), standing, it.even_if_worse)
    };
    told(&publish().map_err(|it| vec![it])?, it.json).map_err(|it| vec![it])
}

/// The one in use, and how good it is.
pub(super) struct Before {
    name: String,
    measured: Quality,
    /// The accuracy that counts.
    accuracy: f64,
}

/// The lower of two accuracies; of what was not measured the other one.
fn lower(here: Quality, learnt: Quality) -> f64 {
    match learnt.n_texts {
        0 => here.accuracy,
        _ => here.accuracy.min(learnt.accuracy),
    }
}

impl Before {
    /// Who speaks newest, measured on the texts held out.
    pub(super) fn of(
        settings: &Settings,
        tenant: Option<&str>,
        trainer: &Trainer,
    ) -> Result<Before, Report> {
        let shelf = Shelf::of(&settings.data_dir);
        let entries = shelf.list()?;
        Ok(match newest(&entries, tenant) {
            None => {
                let measured = trainer.measure(&mut Lexicon::default());
                Before { name: LEXICON.into(), measured, accuracy: measured.accuracy }
            }
            Some(it) => {
                let measured = trainer.measure(&mut shelf.model(it)?);
                let accuracy = lower(measured, it.quality);
                Before { name: it.speaks_as(), measured, accuracy }
            }
        })
    }

    /// Publishes this body in its place. `standing`: how good it is on the same texts, and the
    /// accuracy that counts.
    pub(super) fn follow(
        self,
        settings: &Settings,
        (body, tenant): (&[u8], Option<&str>),
        (this, accuracy): (Quality, f64),
        even_if_worse: bool,
    ) -> Result<Entry, Report> {
        if this.n_texts == 0 && !even_if_worse {
            return Err(not_compared());
        }
        if accuracy < self.accuracy && !even_if_worse {
            return Err(self.is_better(&this, accuracy));
        }
        let shelf = Shelf::of(&settings.data_dir);
        let compared = Compared { this, before: self.measured };
        let asked = Asked {
            digest: models::digest(body),
            tenant: tenant.map(str::to_string),
            compared: (this.n_texts > 0).then_some(compared),
            predecessor: self.name,
        };
        match ask::running(&settings.data_dir) {
            Some(peer) => {
                let made = Made::keep(&shelf, body, &asked.digest)?;
                let asked_json = serde_json::to_string(&asked).expect("names and numbers");
                let query = ask::query(&[("asked", Some(asked_json))]);
                peer.post(&format!("/v1/admin/models/publish{query}"))?;
                made.stays();
                let entries = shelf.list()?;
                let found = entries.into_iter().rev().find(|it| it.digest == asked.digest);
                found.ok_or_else(|| peer.told("models", "it is not on the list"))
            }
            None => at_rest(settings, &shelf, (body, &asked)),
        }
    }

    fn is_better(&self, this: &Quality, accuracy: f64) -> Report {
        Report {
            code: "models/no-better",
            what: "did not publish a model that is worse than the one in use".into(),
            at: vec![("model", self.name.clone())],
            why: format!(
                "on the same {} texts held out, or on those held out when it was learnt, the one in \
                 use has accuracy {:.4}, the new one {accuracy:.4}",
                this.n_texts, self.accuracy
            ),
            effect: "the model in use stays".into(),
            fix: "train on more texts, or say --even-if-worse".into(),
        }
    }
}

/// A body that is in the folder for a model that is not published yet: it goes again if that fails.
struct Made(Option<std::path::PathBuf>);

impl Made {
    fn keep(shelf: &Shelf, body: &[u8], digest: &str) -> Result<Made, Report> {
        let path = shelf.dir().join(digest);
        let is_new = !path.exists();
        models::keep(shelf.dir(), body)?;
        Ok(Made(is_new.then_some(path)))
    }

    fn stays(mut self) {
        self.0 = None;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(why) = std::fs::remove_file(path)
        {
            eprintln!("a body that was not published stays at {}: {why}", path.display());
        }
    }
}

/// Publishes in a folder that no process has open.
fn at_rest(
    settings: &Settings,
    shelf: &Shelf,
    (body, asked): (&[u8], &Asked),
) -> Result<Entry, Report> {
    let _taken = folder::take(settings)?;
    let made = Made::keep(shelf, body, &asked.digest)?;
    let model = shelf.body(&asked.digest)?;
    let mut entries = shelf.list()?;
    let newest = match Looking::at(&settings.data_dir)? {
        Some(state) => state.checkpoints(1)?.into_iter().next(),
        None => None,
    };
    let (epoch_ms, newest_event) = newest.map_or((0, 0), |it| (it.epoch_ms, it.newest_event));
    let now_ms = crate::clock::wall_ms().max(epoch_ms);
    let entry = shelf.next(&entries, asked, &model, (now_ms, newest_event))?;
    entries.push(entry.clone());
    shelf.write(&entries)?;
    made.stays();
    Ok(entry)
}

/// Says what was published.
pub(super) fn told(entry: &Entry, json: bool) -> Result<(), Report> {
    let mut out = Out::default();
    let told = entry.as_json();
    match json {
        true => out.line(told.to_string())?,
        false => out.text(&format!(
            "published {} ({}); it speaks of texts from {} on\n{}",
            entry.speaks_as(),
            entry.digest,
            told["in_use_since"].as_str().unwrap_or(""),
            compared(entry)
        ))?,
    };
    out.end()
}

fn compared(entry: &Entry) -> String {
    let Some(it) = &entry.compared else { return String::new() };
    let (before, this) = (super::words(&it.before), super::words(&it.this));
    format!("  held out: {this}\n  {} on the same: {before}\n", entry.predecessor)
}

/// Lists what was published. Each list is one file that is replaced whole, so it is read as it is,
/// whether a process runs or not.
pub(super) fn list(it: &List, chosen: &Chosen) -> Result<(), Problems> {
    let flags = [("--data-dir", "data_dir", it.data_dir.clone())];
    let settings = chosen.settings(&flags, &[])?;
    let list = || -> Result<(), Report> {
        let mut out = Out::default();
        let shelf = Shelf::of(&settings.data_dir);
        for entry in shelf.list()? {
            let told = entry.as_json();
            out.line(match it.json {
                true => told.to_string(),
                false => line(&entry, &told),
            })?;
        }
        for entry in arrivals::List::read(&shelf)?.models {
            let told = entry.as_json();
            out.line(if it.json { told.to_string() } else { super::seal::line(&told) })?;
        }
        out.end()
    };
    list().map_err(|it| vec![it])
}

fn line(entry: &Entry, told: &Value) -> String {
    let text = |key: &str| told[key].as_str().unwrap_or("").to_string();
    let tenant = entry.tenant.as_ref().map(|it| format!("  of tenant {it}")).unwrap_or_default();
    format!(
        "{}  {}  sealed {}  in use since {}  accuracy {:.3}{tenant}",
        entry.speaks_as(),
        entry.digest,
        text("sealed_at"),
        text("in_use_since"),
        entry.quality.accuracy
    )
}

/// Shows one, its body verified.
pub(super) fn show(it: &Show, chosen: &Chosen) -> Result<(), Problems> {
    let flags = [("--data-dir", "data_dir", it.data_dir.clone())];
    let settings = chosen.settings(&flags, &[])?;
    let show = || -> Result<(), Report> {
        let shelf = Shelf::of(&settings.data_dir);
        let entries = shelf.list()?;
        let found = entries.iter().find(|entry| entry.version == it.version);
        let entry = found.ok_or_else(|| no_such(it.version, &entries))?;
        shelf.model(entry)?;
        let mut out = Out::default();
        let told = entry.as_json();
        if it.json {
            out.line(told.to_string())?;
        } else {
            let [negative, neutral, positive] = entry.texts;
            let with = if entry.uses_lexicon { "with" } else { "without" };
            out.text(&format!(
                "{}\n  {} bytes, the body is whole\n  learnt from {negative} negative, {neutral} \
                 neutral, {positive} positive texts, {with} the English lexicon\n  when it was \
                 learnt: {}\n  after {}\n{}",
                line(entry, &told),
                entry.bytes,
                super::words(&entry.quality),
                entry.predecessor,
                compared(entry)
            ))?;
        }
        out.end()
    };
    show().map_err(|it| vec![it])
}

fn no_such(version: u32, entries: &[Entry]) -> Report {
    let known: Vec<String> = entries.iter().map(|it| it.version.to_string()).collect();
    Report {
        code: "models/no-such",
        what: "cannot show a model".into(),
        at: vec![("version", version.to_string())],
        why: match known.is_empty() {
            true => "no model was published".into(),
            false => format!("expected one of {}", known.join(", ")),
        },
        effect: "nothing was read or changed".into(),
        fix: "`millstream model list` lists them".into(),
    }
}

fn not_compared() -> Report {
    Report {
        code: "models/not-compared",
        what: "did not publish a model that could not be measured".into(),
        at: vec![],
        why: "none of the texts held out has a rating: a tenth of the rated ones, chosen by hash"
            .into(),
        effect: "the model in use stays".into(),
        fix: "name a file of rated texts with --input, or say --even-if-worse".into(),
    }
}
