//! How somebody feels, learnt from a company's own texts with ratings, in any language.
//!
//! In: [`Sums`] of rated texts. Out: [`Model`], which says an [`Opinion`] of a text.
//!
//! # Meaning
//! Naive Bayes over words and pairs of words, and over pieces of words (two scores a class each, by
//! the root and by the number of the features known), and beside them what the English lexicon
//! says, under one logistic layer. The layer is fitted on at most [`SAMPLE_MAX`] texts, each scored
//! with its own counts taken off. With few texts the layer leans on the lexicon, with many on the
//! counts; no weight is chosen by hand. The score is P(positive) - P(negative).
//!
//! # Invariants
//! The model is a pure function of the set of texts: sums are whole numbers, the sample is the
//! texts with the smallest hash, and the layer takes them in the order of hashes. Classes that no
//! text has are never said. The lexicon is an input only where the texts are English.
//!
//! # Why this way
//! Stacking on left-out scores: Wolpert, *Stacked Generalization* (1992); naive Bayes features
//! under a discriminative layer: Wang and Manning (2012). A logistic regression over all features
//! gains half a point and is no sum over events: one person could not be taken out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counts::{ByHash, CLASSES, Counts};
use super::grams::Grams;
use super::layer::Layer;
use super::lexicon::{self, Lexicon, weightiest};
use super::measure::{Quality, Tally};
use super::opinion::{Label, ONE, Opinion, Scorer, ten_thousandths};
use crate::hash_of;

/// Texts that the layer is fitted on.
pub const SAMPLE_MAX: usize = 20_000;
/// Below so many texts the layer is held back more.
const FEW: usize = 3_000;
/// How much the layer is held back (L2), with few texts and with many.
const HELD_BACK: (f64, f64) = (10.0, 1.0);
/// Fewest texts, and of at least two classes this many each, that a model is made of.
pub const TEXTS_MIN: u64 = 20;
/// One text in so many is held out to measure on.
const HELD_OUT: u64 = 10;
/// Of a hundred words of English at least so many are the commonest ones.
const ENGLISH_PERCENT: u64 = 8;
const COMMON: &[&str] = &[
    "the", "and", "is", "to", "of", "was", "it", "for", "with", "this", "my", "you", "i", "on",
    "that", "have", "be", "but", "are", "not",
];

/// Whether the English lexicon is an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum English {
    /// If the texts look so.
    ByTexts,
    /// Yes.
    Yes,
    /// No.
    No,
}

/// What is counted of rated texts. Merged in any order it is the same.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Sums {
    /// Texts of each class.
    pub texts: [u64; CLASSES],
    pub(crate) words: Counts,
    pub(crate) pieces: Counts,
    n_tokens: u64,
    n_common: u64,
    /// The texts with the smallest hashes, with how often each was said under each label.
    sample: BTreeMap<(u64, String), [u32; CLASSES]>,
}

impl Sums {
    /// Takes a text in.
    pub fn add(&mut self, grams: &mut Grams, text: &str, label: Label) {
        grams.read(text);
        self.texts[label as usize] += 1;
        self.words.add(&grams.words, label);
        self.pieces.add(&grams.pieces, label);
        let (n_tokens, n_common) = common(text, grams);
        self.n_tokens += n_tokens;
        self.n_common += n_common;
        let key = (hash_of(text), text.to_string());
        let full = self.sample.len() >= SAMPLE_MAX;
        if full && self.sample.last_key_value().is_some_and(|it| *it.0 < key) {
            return;
        }
        self.sample.entry(key).or_default()[label as usize] += 1;
        self.bound();
    }

    /// Takes in what was counted elsewhere.
    pub fn merge(&mut self, other: &Sums) {
        self.texts.iter_mut().zip(other.texts).for_each(|(it, by)| *it += by);
        self.words.merge(&other.words);
        self.pieces.merge(&other.pieces);
        self.n_tokens += other.n_tokens;
        self.n_common += other.n_common;
        for (key, theirs) in &other.sample {
            let ours = self.sample.entry(key.clone()).or_default();
            ours.iter_mut().zip(theirs).for_each(|(it, by)| *it += by);
        }
        self.bound();
    }

    fn bound(&mut self) {
        while self.sample.len() > SAMPLE_MAX {
            self.sample.pop_last();
        }
    }

    /// Whether there is something to learn: enough texts, of two classes at least.
    pub fn is_enough(&self) -> bool {
        self.texts.iter().filter(|it| **it >= TEXTS_MIN / 4).count() >= 2
            && self.texts.iter().sum::<u64>() >= TEXTS_MIN
    }

    /// Whether the texts look English.
    pub fn looks_english(&self) -> bool {
        self.n_common * 100 >= self.n_tokens * ENGLISH_PERCENT
    }

    /// The model that these sums say; `None` where there is not enough to learn from.
    pub fn fit(&self, english: English) -> Option<Model> {
        if !self.is_enough() {
            return None;
        }
        let is_english = match english {
            English::ByTexts => self.looks_english(),
            English::Yes => true,
            English::No => false,
        };
        let classes = Label::ALL.into_iter().filter(|it| self.texts[*it as usize] > 0).collect();
        let mut model = Model::of(self.words.clone(), self.pieces.clone(), is_english, classes);
        model.texts = self.texts;
        let (mut rows, mut given, mut one) = (Vec::new(), Vec::new(), Vec::new());
        for ((_, text), labels) in &self.sample {
            model.grams.read(text);
            for (place, class) in model.classes.clone().into_iter().enumerate() {
                for _ in 0..labels[class as usize] {
                    model.inputs(text, Some(class), &mut one);
                    rows.extend_from_slice(&one);
                    given.push(place as u8);
                }
            }
        }
        let held_back = if given.len() < FEW { HELD_BACK.0 } else { HELD_BACK.1 };
        model.layer = Layer::fit(&rows, &given, model.n_inputs(), model.classes.len(), held_back);
        Some(model)
    }
}

/// Rated texts in two parts by their hash: what is learnt from, and what it is measured on.
#[derive(Default)]
pub struct Trainer {
    grams: Grams,
    learnt: Sums,
    held_out: Sums,
    texts: Vec<(String, Label)>,
}

impl Trainer {
    /// Takes a rated text in.
    pub fn add(&mut self, text: &str, label: Label) {
        // Another part of the hash than the sample's order: a sample is of both parts alike.
        if (hash_of(text) >> 7).is_multiple_of(HELD_OUT) {
            self.held_out.add(&mut self.grams, text, label);
            self.texts.push((text.to_string(), label));
        } else {
            self.learnt.add(&mut self.grams, text, label);
        }
    }

    /// Texts of each class so far.
    pub fn texts(&self) -> [u64; CLASSES] {
        let mut all = self.learnt.texts;
        all.iter_mut().zip(self.held_out.texts).for_each(|(it, by)| *it += by);
        all
    }

    /// How good a scorer is on the part held out.
    pub fn measure(&self, scorer: &mut dyn Scorer) -> Quality {
        let mut tally = Tally::default();
        self.texts.iter().for_each(|(text, label)| tally.add(*label, &scorer.opinion(text)));
        tally.quality()
    }

    /// A model of everything, and how good one is that has not seen the part held out. `None`
    /// where there is not enough to learn from.
    pub fn fit(mut self, english: English) -> Option<(Model, Quality)> {
        let quality = self.learnt.fit(english).map(|mut it| self.measure(&mut it));
        self.learnt.merge(&self.held_out);
        let mut model = self.learnt.fit(english)?;
        model.quality = quality.unwrap_or_default();
        Some((model, quality.unwrap_or_default()))
    }
}

/// What was learnt.
pub struct Model {
    pub(crate) words: Counts,
    pub(crate) pieces: Counts,
    pub(crate) classes: Vec<Label>,
    pub(crate) layer: Layer,
    /// Whether the English lexicon is an input.
    pub is_english: bool,
    /// How good it was on texts it had not seen.
    pub quality: Quality,
    /// Texts of each class that it was learnt from.
    pub texts: [u64; CLASSES],
    word_table: Arc<ByHash<[f32; CLASSES]>>,
    piece_table: Arc<ByHash<[f32; CLASSES]>>,
    name: String,
    lexicon: Lexicon,
    grams: Grams,
    row: Vec<f64>,
}

impl Model {
    pub(crate) fn of(
        words: Counts,
        pieces: Counts,
        is_english: bool,
        classes: Vec<Label>,
    ) -> Model {
        let (word_table, piece_table) = (Arc::new(words.table()), Arc::new(pieces.table()));
        let (mean, scale, weights) = (Vec::new(), Vec::new(), Vec::new());
        let layer = Layer { classes: classes.len(), inputs: 0, mean, scale, weights };
        Model {
            words,
            pieces,
            classes,
            layer,
            is_english,
            quality: Quality::default(),
            texts: [0; CLASSES],
            word_table,
            piece_table,
            name: "sentiment".into(),
            lexicon: Lexicon::default(),
            grams: Grams::default(),
            row: Vec::new(),
        }
    }

    /// Gives it the name under which it speaks.
    pub fn named(mut self, name: &str) -> Model {
        self.name = name.into();
        self
    }

    /// One more that says the same, for another thread: what was learnt is shared. The counts stay
    /// behind, so it has no body.
    pub(crate) fn twin(&self) -> Model {
        Model {
            words: Counts::default(),
            pieces: Counts::default(),
            classes: self.classes.clone(),
            layer: self.layer.clone(),
            is_english: self.is_english,
            quality: self.quality,
            texts: self.texts,
            word_table: Arc::clone(&self.word_table),
            piece_table: Arc::clone(&self.piece_table),
            name: self.name.clone(),
            lexicon: Lexicon::default(),
            grams: Grams::default(),
            row: Vec::new(),
        }
    }

    pub(crate) fn n_inputs(&self) -> usize {
        let lexicon = if self.is_english { lexicon::INPUTS } else { 0 };
        self.classes.len() * 4 + lexicon + 4
    }

    /// The inputs of the layer for the text just read into `grams`.
    fn inputs(&mut self, text: &str, own: Option<Label>, into: &mut Vec<f64>) {
        into.clear();
        for is_pieces in [false, true] {
            let (counts, table, features) = match is_pieces {
                false => (&self.words, &self.word_table, &self.grams.words),
                true => (&self.pieces, &self.piece_table, &self.grams.pieces),
            };
            let (sums, n) = match own {
                Some(_) => counts.score(features, own),
                None => added(table, features),
            };
            let mean = self.classes.iter().map(|it| sums[*it as usize]).sum::<f64>()
                / self.classes.len() as f64;
            let n = n.max(1) as f64;
            into.extend(self.classes.iter().map(|it| (sums[*it as usize] - mean) / n.sqrt()));
            into.extend(self.classes.iter().map(|it| (sums[*it as usize] - mean) / n));
        }
        if self.is_english {
            self.lexicon.inputs(text, &self.grams, into);
        }
        let n = self.grams.tokens.len() as f64;
        into.push((1.0 + n).ln());
        into.push(f64::from(self.grams.n_exclamations.min(5)));
        into.push(f64::from(self.grams.n_questions.min(5)));
        into.push(f64::from(self.grams.n_shouted) / (1.0 + n));
    }

    /// The probability of each label.
    pub fn probabilities(&mut self, text: &str) -> [f64; CLASSES] {
        let mut grams = std::mem::take(&mut self.grams);
        grams.read(text);
        self.grams = grams;
        let mut row = std::mem::take(&mut self.row);
        self.inputs(text, None, &mut row);
        let mut said = [0.0; CLASSES];
        self.layer.probabilities(&row, &mut said[..self.classes.len()]);
        self.row = row;
        let mut all = [0.0; CLASSES];
        self.classes.iter().zip(said).for_each(|(it, p)| all[*it as usize] = p);
        all
    }

    /// What a word weighs for positive against negative.
    fn weight(&mut self, text: &str, at: usize) -> f64 {
        let token = self.grams.tokens[at];
        match self.word_table.get(&token.counted) {
            Some(it) => f64::from(it[Label::Positive as usize] - it[Label::Negative as usize]),
            None if self.is_english => self.lexicon.weight(text, &token),
            None => 0.0,
        }
    }
}

impl Scorer for Model {
    fn name(&self) -> &str {
        &self.name
    }

    fn opinion(&mut self, text: &str) -> Opinion {
        let p = self.probabilities(text);
        let mut label = self.classes[0];
        for it in &self.classes {
            if p[*it as usize] > p[label as usize] {
                label = *it;
            }
        }
        let score = p[Label::Positive as usize] - p[Label::Negative as usize];
        let weights: Vec<f64> =
            (0..self.grams.tokens.len()).map(|at| self.weight(text, at)).collect();
        let mut weights = weights.into_iter();
        let words = weightiest(text, &self.grams, score, |_| weights.next().unwrap_or(0.0));
        Opinion {
            label,
            score: ten_thousandths(score),
            confidence: ten_thousandths(p[label as usize]).clamp(0, ONE),
            words,
        }
    }
}

/// The logarithms of a table for these features, added up in the features' order.
fn added(table: &ByHash<[f32; CLASSES]>, features: &[u64]) -> ([f64; CLASSES], usize) {
    let mut sums = [0.0; CLASSES];
    let mut n_known = 0;
    for it in features.iter().filter_map(|it| table.get(it)) {
        n_known += 1;
        sums.iter_mut().zip(it).for_each(|(sum, by)| *sum += f64::from(*by));
    }
    (sums, n_known)
}

/// Words of a text, and those among them that English cannot do without.
fn common(text: &str, grams: &Grams) -> (u64, u64) {
    let words = grams.tokens.iter().filter(|it| it.is_word);
    let is_common = |word: &str| COMMON.iter().any(|it| it.eq_ignore_ascii_case(word));
    let n_common =
        words.clone().filter(|it| is_common(&text[it.start as usize..it.end as usize])).count();
    (words.count() as u64, n_common as u64)
}

#[cfg(test)]
mod tests;
