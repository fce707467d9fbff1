//! A model of sentiment as bytes and back. The digest of these bytes is the model's version.
//!
//! # Meaning
//! A tag, whether the lexicon counts, the classes, how many texts of each were learnt from, the
//! quality, the layer (floats by their bits),
//! then the counts of words and of pieces in ascending order of hashes, each as the distance from
//! the one before and a number per class. The same model is the same bytes.
//!
//! # When it fails
//! What is not such a body is `None`, never a panic, and never asks for more memory than the bytes
//! can fill. Whether bytes were damaged is seen by their digest before they come here.

use super::counts::{CLASSES, Counts};
use super::grams;
use super::layer::Layer;
use super::measure::Quality;
use super::opinion::Label;
use super::sentiment::Model;
use crate::packed::{Checked, Writer};

const TAG: &str = "millstream sentiment 2";
/// Most inputs of a layer.
const INPUTS_MAX: usize = 63;

impl Model {
    /// As bytes.
    pub fn body(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut to = Writer(&mut bytes);
        to.text(TAG);
        to.count(grams::VERSION.into());
        to.count(self.is_english.into());
        to.count(self.classes.len() as u64);
        self.classes.iter().for_each(|it| to.count(*it as u64));
        self.texts.iter().for_each(|it| to.count(*it));
        to.count(self.quality.n_texts);
        for it in [self.quality.accuracy, self.quality.macro_f1, self.quality.ece] {
            float(&mut to, it);
        }
        to.count(self.layer.inputs as u64);
        for it in [&self.layer.mean, &self.layer.scale, &self.layer.weights] {
            it.iter().for_each(|it| float(&mut to, *it));
        }
        for counts in [&self.words, &self.pieces] {
            counts.total.iter().for_each(|it| to.count(*it));
            let mut all: Vec<_> = counts.of.iter().collect();
            all.sort_unstable();
            to.count(all.len() as u64);
            let mut before = 0;
            for (feature, counts) in all {
                to.count(feature - before);
                before = *feature;
                counts.iter().for_each(|it| to.count((*it).into()));
            }
        }
        bytes
    }

    /// The model that [`Model::body`] wrote.
    pub fn of_body(bytes: &[u8]) -> Option<Model> {
        let mut from = Checked(bytes);
        if from.text()? != TAG || from.count::<u8>()? != grams::VERSION {
            return None;
        }
        let is_english = from.count::<u8>()? == 1;
        let n_classes: usize = from.count()?;
        let mut classes = Vec::new();
        for _ in 0..n_classes {
            classes.push(*Label::ALL.get(from.count::<usize>()?)?);
        }
        if !classes.is_sorted_by(|a, b| a < b) || classes.len() < 2 {
            return None;
        }
        let mut texts = [0; CLASSES];
        for it in &mut texts {
            *it = from.count()?;
        }
        let n_texts = from.count()?;
        let mut next = || Some(f64::from_bits(from.id()? as u64));
        let quality = Quality { n_texts, accuracy: next()?, macro_f1: next()?, ece: next()? };
        let inputs: usize = from.count()?;
        if inputs > INPUTS_MAX {
            return None;
        }
        let mut floats = |n: usize| {
            (0..n).map(|_| Some(f64::from_bits(from.id()? as u64))).collect::<Option<Vec<_>>>()
        };
        let (mean, scale) = (floats(inputs)?, floats(inputs)?);
        let weights = floats(n_classes * (inputs + 1))?;
        let words = counts(&mut from)?;
        let pieces = counts(&mut from)?;
        from.end()?;
        let mut model = Model::of(words, pieces, is_english, classes);
        if model.n_inputs() != inputs {
            return None;
        }
        model.layer = Layer { classes: n_classes, inputs, mean, scale, weights };
        model.quality = quality;
        model.texts = texts;
        Some(model)
    }
}

fn float(to: &mut Writer<'_>, it: f64) {
    to.id(it.to_bits().into());
}

fn counts(from: &mut Checked<'_>) -> Option<Counts> {
    let mut counts = Counts::default();
    for it in &mut counts.total {
        *it = from.count()?;
    }
    let n: usize = from.count()?;
    // Each takes four bytes at least.
    if n > from.0.len() / (CLASSES + 1) {
        return None;
    }
    counts.of.reserve(n);
    let mut feature = 0u64;
    for _ in 0..n {
        feature = feature.checked_add(from.count()?)?;
        let mut of = [0; CLASSES];
        for it in &mut of {
            *it = from.count()?;
        }
        counts.of.insert(feature, of);
    }
    Some(counts)
}
