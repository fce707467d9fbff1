//! How good opinions are, against what people said.
//!
//! # Meaning
//! Accuracy: the share of texts with the right label. Macro-F1: the mean over the classes that
//! occur of 2 tp / (2 tp + fp + fn). Expected calibration error: over ten bands of confidence, the
//! mean distance between confidence and share of right ones, weighted by texts (Guo et al., *On
//! Calibration of Modern Neural Networks*, 2017). All from whole numbers, so in any order.

use super::opinion::{Label, ONE, Opinion};

const BANDS: usize = 10;

/// Sums over texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Texts by label given and label said.
    pub texts: [[u64; 3]; 3],
    bands: [(u64, u64, u64); BANDS],
}

/// What the sums say.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Quality {
    /// Texts that it was measured on.
    pub n_texts: u64,
    /// Share of right labels.
    pub accuracy: f64,
    /// Mean over classes.
    pub macro_f1: f64,
    /// Expected calibration error.
    pub ece: f64,
}

impl Tally {
    /// One more text.
    pub fn add(&mut self, given: Label, said: &Opinion) {
        let texts = &mut self.texts[given as usize][said.label as usize];
        *texts = texts.saturating_add(1);
        let confidence = said.confidence.clamp(0, ONE) as u64;
        let band = (confidence as usize * BANDS / ONE as usize).min(BANDS - 1);
        let band = &mut self.bands[band];
        band.0 = band.0.saturating_add(1);
        band.1 = band.1.saturating_add(confidence);
        band.2 = band.2.saturating_add(u64::from(given == said.label));
    }

    /// Every sum, in a fixed order.
    pub(crate) fn sums(&self) -> impl Iterator<Item = u64> {
        let bands = self.bands.iter().flat_map(|it| [it.0, it.1, it.2]);
        self.texts.iter().flatten().copied().chain(bands)
    }

    /// The sums back, in that order.
    pub(crate) fn of_sums(mut next: impl FnMut() -> Option<u64>) -> Option<Tally> {
        let mut tally = Tally::default();
        for it in tally.texts.iter_mut().flatten() {
            *it = next()?;
        }
        for it in &mut tally.bands {
            *it = (next()?, next()?, next()?);
        }
        Some(tally)
    }

    /// What they say so far.
    pub fn quality(&self) -> Quality {
        let sum = |of: &mut dyn Iterator<Item = u64>| of.fold(0, u64::saturating_add);
        let n_texts = sum(&mut self.texts.iter().flatten().copied());
        if n_texts == 0 {
            return Quality::default();
        }
        let n = n_texts as f64;
        let right = sum(&mut (0..3).map(|it| self.texts[it][it]));
        let (mut f1, mut classes) = (0.0, 0u32);
        for class in 0..3 {
            let given = sum(&mut self.texts[class].iter().copied());
            let said = sum(&mut self.texts.iter().map(|it| it[class]));
            if given > 0 {
                classes += 1;
                f1 += 2.0 * self.texts[class][class] as f64 / (given as f64 + said as f64);
            }
        }
        let off = |it: &(u64, u64, u64)| (it.1 as f64 / f64::from(ONE) - it.2 as f64).abs();
        Quality {
            n_texts,
            accuracy: right as f64 / n,
            macro_f1: f1 / f64::from(classes.max(1)),
            ece: self.bands.iter().map(off).sum::<f64>() / n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the three measures are what their names say. Method: four texts by hand.
    #[test]
    fn four_texts_by_hand() {
        let said = |label, confidence| Opinion { label, confidence, ..Opinion::default() };
        let mut tally = Tally::default();
        tally.add(Label::Negative, &said(Label::Negative, 9_500));
        tally.add(Label::Negative, &said(Label::Negative, 9_500));
        tally.add(Label::Positive, &said(Label::Negative, 6_500));
        tally.add(Label::Positive, &said(Label::Positive, 6_500));
        let it = tally.quality();
        assert_eq!((it.n_texts, it.accuracy), (4, 0.75));
        assert!((it.macro_f1 - (4.0 / 5.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert!((it.ece - (0.1 + 0.3) / 4.0).abs() < 1e-12, "{}", it.ece);
        assert_eq!(Tally::default().quality(), Quality::default());
    }
}
