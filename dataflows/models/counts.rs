//! How often each feature was seen in texts of each class: the sums that a model is made of.
//!
//! # Invariants
//! Whole numbers only. Taking a text in and out again leaves what was there before, and
//! [`Counts::merge`] of parts in any order is the same as counting all at once.
//!
//! # State
//! About 24 bytes a feature. Grows with the different words, pairs and pieces seen.
//!
//! # Why this way
//! Multinomial naive Bayes over presence is a sum of logarithms of these numbers. A text's own part
//! can be taken off before it is scored (*leave one out*, exact and free), so the layer above is
//! trained on the very texts that were counted, without having seen them.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::opinion::Label;

/// Classes that are counted.
pub const CLASSES: usize = Label::ALL.len();
/// Added to every count, so that what was never seen in a class is unlikely and not impossible.
pub(crate) const PRIOR: f64 = 0.3;

/// A hasher for keys that are hashes.
#[derive(Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|it| self.0 = self.0.rotate_left(8) ^ u64::from(*it));
    }
    fn write_u64(&mut self, it: u64) {
        self.0 = it;
    }
}

/// A map by hashes of features.
pub type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Hashed>>;

/// Of one kind of feature, how often each was seen.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Counts {
    /// Texts of each class that have the feature.
    pub of: ByHash<[u32; CLASSES]>,
    /// Features of all texts of each class.
    pub total: [u64; CLASSES],
}

impl Counts {
    /// A text with these features, each once, is of this class.
    pub fn add(&mut self, features: &[u64], label: Label) {
        for feature in features {
            let count = &mut self.of.entry(*feature).or_default()[label as usize];
            *count = count.saturating_add(1);
        }
        self.total[label as usize] += features.len() as u64;
    }

    /// It is not, after all: exactly what [`Counts::add`] did, undone.
    pub fn remove(&mut self, features: &[u64], label: Label) {
        for feature in features {
            if let Some(counts) = self.of.get_mut(feature) {
                counts[label as usize] = counts[label as usize].saturating_sub(1);
                if *counts == [0; CLASSES] {
                    self.of.remove(feature);
                }
            }
        }
        let total = &mut self.total[label as usize];
        *total = total.saturating_sub(features.len() as u64);
    }

    /// Takes in what was counted elsewhere.
    pub fn merge(&mut self, other: &Counts) {
        for (feature, theirs) in &other.of {
            let ours = self.of.entry(*feature).or_default();
            ours.iter_mut().zip(theirs).for_each(|(it, by)| *it = it.saturating_add(*by));
        }
        self.total.iter_mut().zip(other.total).for_each(|(it, by)| *it += by);
    }

    /// Logarithms of the likelihood of these features in each class, and how many were known.
    /// `own`: the class under which this very text was counted, if it was: its part is taken off.
    pub fn score(&self, features: &[u64], own: Option<Label>) -> ([f64; CLASSES], usize) {
        let mut sums = [0.0; CLASSES];
        let mut n_known = 0;
        let mut total = self.total;
        if let Some(own) = own {
            total[own as usize] = total[own as usize].saturating_sub(features.len() as u64);
        }
        for feature in features {
            let Some(counts) = self.of.get(feature) else { continue };
            let mut counts = *counts;
            if let Some(own) = own {
                counts[own as usize] = counts[own as usize].saturating_sub(1);
            }
            if counts == [0; CLASSES] {
                continue;
            }
            n_known += 1;
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += (f64::from(count) + PRIOR).ln();
            }
        }
        for (sum, total) in sums.iter_mut().zip(total) {
            *sum -= n_known as f64 * (total as f64 + PRIOR * self.of.len() as f64).ln();
        }
        (sums, n_known)
    }

    /// The same logarithms, ready to be added up.
    pub(crate) fn table(&self) -> ByHash<[f32; CLASSES]> {
        let all = PRIOR * self.of.len() as f64;
        let off = self.total.map(|it| (it as f64 + all).ln());
        let one = |(feature, counts): (&u64, &[u32; CLASSES])| {
            let mut it = [0.0; CLASSES];
            for class in 0..CLASSES {
                it[class] = ((f64::from(counts[class]) + PRIOR).ln() - off[class]) as f32;
            }
            (*feature, it)
        };
        self.of.iter().map(one).collect()
    }
}
