//! `millstream model`: learning from one's own texts, and what a model says of texts.
//!
//! # Meaning
//! Training is a function of the set of rated texts: another order of the file gives the same
//! bytes. A model that is there already is measured on the same texts, held out by hash; where it
//! is better it stays, and that is told, unless `--anyway` is said.

mod backtest; // what a view would have told
mod publish; // a model into the data folder
mod seal; // what a running process knows now
pub(super) mod texts;

use std::collections::HashSet;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Problems;
use super::check::load_mapping;
use super::chosen::Chosen;
use super::out::{Out, Reader};
use super::typed::model::{Language, Model, Score, Train};
use crate::models::shelf::Entry;
use crate::models::{self, English, Label, Lexicon, ONE, Opinion, Quality, Scorer, Trainer};
use crate::report::Report;
use publish::Before;
use schemas::events::Event;

/// Learns or says.
pub fn main(what: &Model, chosen: &Chosen) -> Result<(), Problems> {
    match what {
        Model::Train(it) => train(it, chosen),
        Model::Score(it) => score(it, chosen),
        Model::Publish(it) => publish::publish(it, chosen),
        Model::Backtest(it) => backtest::main(it, chosen),
        Model::Seal(it) => seal::main(it, chosen),
        Model::List(it) => publish::list(it, chosen),
        Model::Show(it) => publish::show(it, chosen),
    }
}

fn train(it: &Train, chosen: &Chosen) -> Result<(), Problems> {
    let mapping = it.mapping.as_deref().map(load_mapping).transpose()?;
    let flags = [("--data-dir", "data_dir", it.data_dir.clone())];
    let settings = chosen.settings(&flags, &[])?;
    let began = crate::clock::monotonic();
    let mut trainer = Trainer::default();
    let mut seen = Seen::default();
    let mut learn = |event: &Event<'_>| {
        if let Some((text, label)) = models::rated(event)
            && seen.is_new(event)
        {
            trainer.add(text, label);
        }
        Ok(())
    };
    let read = match &it.input {
        Some(input) => texts::each(input, mapping.as_ref(), &settings, learn)?,
        None => texts::of_log(&settings, &mut learn).map_err(|it| vec![it])?,
    };
    let from = it.input.as_ref().unwrap_or(&settings.data_dir);
    let [negative, neutral, positive] = trainer.texts();
    let before = match it.out.as_deref().filter(|it| it.exists()) {
        Some(out) => Some(models::read(out).map_err(|it| vec![it])?),
        None => None,
    };
    let before = before.map(|mut it| trainer.measure(&mut it));
    let in_use = match it.publish {
        true => Some(Before::of(&settings, None, &trainer).map_err(|it| vec![it])?),
        false => None,
    };
    let lexicon = trainer.measure(&mut Lexicon::default());
    let english = match it.language {
        Language::Auto => English::ByTexts,
        Language::English => English::Yes,
        Language::Other => English::No,
    };
    let n_texts = negative + neutral + positive;
    let Some((model, quality)) = trainer.fit(english) else {
        return Err(vec![too_few(from, [negative, neutral, positive])]);
    };
    if let Some(before) = before.filter(|it| it.accuracy > quality.accuracy && n_texts > 0)
        && !it.anyway
    {
        let out = it.out.as_deref().unwrap_or(Path::new(""));
        return Err(vec![no_better(out, &before, &quality)]);
    }
    let body = model.body();
    let digest = models::digest(&body);
    if let Some(out) = &it.out {
        models::write(out, &body).map_err(|it| vec![it])?;
    }
    let published = match in_use {
        // It has not seen the texts it was measured on.
        Some(in_use) => {
            let standing = (quality, quality.accuracy);
            let done = in_use.follow(&settings, (&body, None), standing, it.anyway);
            Some(done.map_err(|it| vec![it])?)
        }
        None => None,
    };
    let seconds = began.elapsed().as_secs_f64();
    let mut out = Out::default();
    let told = if it.json {
        let told = json!({
            "model": format!("sentiment {digest}"), "events": read.events, "rejected": read.rejected,
            "texts": {"negative": negative, "neutral": neutral, "positive": positive},
            "uses_lexicon": model.is_english, "held_out": quality, "lexicon_held_out": lexicon,
            "replaced_held_out": before, "bytes": body.len(), "seconds": seconds,
            "published": published.as_ref().map(Entry::as_json),
        });
        out.line(told.to_string())
    } else {
        let with = if model.is_english { "with" } else { "without" };
        out.text(&format!(
            "sentiment {digest}: {n_texts} texts ({negative} negative, {neutral} neutral, {positive} \
             positive), {with} the English lexicon, {seconds:.1} s\n  held out: {}\n  the lexicon \
             alone: {}\n",
            words(&quality),
            words(&lexicon)
        ))
    };
    told.and_then(|_| out.end()).map_err(|it| vec![it])?;
    match published.filter(|_| !it.json) {
        Some(entry) => publish::told(&entry, false).map_err(|it| vec![it]),
        None => Ok(()),
    }
}

/// An event that comes twice is one.
#[derive(Default)]
struct Seen(HashSet<[u8; 16]>);

impl Seen {
    fn is_new(&mut self, event: &Event<'_>) -> bool {
        self.0.insert(identity(event))
    }
}

/// Sixteen bytes that no two events share.
pub(super) fn identity(event: &Event<'_>) -> [u8; 16] {
    // Identifiers hold no control characters.
    let text = [&*event.tenant, &*event.source, &*event.id].join("\0");
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(text)[..16]);
    short
}

fn words(it: &Quality) -> String {
    format!(
        "{} texts, accuracy {:.3}, macro-F1 {:.3}, calibration error {:.3}",
        it.n_texts, it.accuracy, it.macro_f1, it.ece
    )
}

fn score(it: &Score, chosen: &Chosen) -> Result<(), Problems> {
    let mapping = it.mapping.as_deref().map(load_mapping).transpose()?;
    let settings = chosen.settings(&[], &[])?;
    let mut scorer: Box<dyn Scorer> = match it.model.to_str() {
        Some("lexicon") => Box::new(Lexicon::default()),
        _ => Box::new(models::read(&it.model).map_err(|it| vec![it])?),
    };
    let name = scorer.name().to_string();
    let mut tally = models::Tally::default();
    let mut out = Out::default();
    let mut reader = Reader::There;
    texts::each(&it.input, mapping.as_ref(), &settings, |event| {
        let Some(text) = models::text_of(event).filter(|_| reader == Reader::There) else {
            return Ok(());
        };
        let said = scorer.opinion(text);
        let given = models::rated(event).map(|it| it.1);
        given.iter().for_each(|it| tally.add(*it, &said));
        reader = out.line(match it.json {
            true => as_json(&event.id, given, &said).to_string(),
            false => as_text(&event.id, &said),
        })?;
        Ok(())
    })?;
    let quality = tally.quality();
    let told = match it.json {
        true => json!({"model": name, "measured": quality}).to_string(),
        false if quality.n_texts == 0 => format!("by {name}"),
        false => format!("by {name}; against the ratings: {}", words(&quality)),
    };
    out.line(told).and_then(|_| out.end()).map_err(|it| vec![it])
}

fn share(it: i32) -> f64 {
    f64::from(it) / f64::from(ONE)
}

fn as_json(id: &str, given: Option<Label>, said: &Opinion) -> serde_json::Value {
    json!({
        "id": id, "given": given, "label": said.label, "score": share(said.score),
        "confidence": share(said.confidence), "words": said.words,
    })
}

fn as_text(id: &str, said: &Opinion) -> String {
    let words: Vec<&str> = said.words.iter().map(|it| it.as_str()).collect();
    let (label, score) = (said.label.as_str(), share(said.score));
    format!("{id}  {label} {score:+.2}  {}", words.join(", "))
}

fn too_few(input: &Path, texts: [u64; 3]) -> Report {
    let [negative, neutral, positive] = texts;
    Report {
        code: "models/too-few",
        what: "could not learn from these texts".into(),
        at: vec![("input", input.display().to_string())],
        why: format!(
            "expected at least 20 feedback.submitted events with a rating and a text, of two \
             classes 5 each; found {negative} negative, {neutral} neutral, {positive} positive"
        ),
        effect: "no model was written; the one in use stays".into(),
        fix: "collect or label more texts; until then `lexicon` needs none".into(),
    }
}

fn no_better(out: &Path, before: &Quality, now: &Quality) -> Report {
    Report {
        code: "models/no-better",
        what: "did not replace a model that is better".into(),
        at: vec![("file", out.display().to_string())],
        why: format!(
            "on the same {} texts held out, the one that is there has accuracy {:.4}, the new one {:.4}",
            now.n_texts, before.accuracy, now.accuracy
        ),
        effect: "the model that is there stays".into(),
        fix: "train on more texts, or say --anyway (the older one may have learnt from texts that \
              are held out here)"
            .into(),
    }
}
