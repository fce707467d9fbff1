//! English by words and rules: what is said of texts before there is anything to learn from.
//!
//! # Meaning
//! VADER (Hutto and Gilbert, *VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
//! Social Media Text*, 2014), by the crate `vader-parity`, which agrees with the authors' own
//! program on every text tried. The score is their *compound*; from 0.05 on a text is positive, up
//! to -0.05 negative, as they say. The confidence is not calibrated: it grows with the compound.
//!
//! # State
//! What single words weigh is asked once and kept ([`KNOWN_MAX`] words, then begun anew).
//!
//! # Why this way
//! A scorer of our own would have to prove the same parity. It knows English only; a model for
//! another language is trained without it.

use compact_str::CompactString;
use hashbrown::HashMap;
use vader_parity::SentimentIntensityAnalyzer;

use super::grams::{self, Grams, Token};
use super::opinion::{Label, Opinion, Scorer, WORD_MAX_BYTES, WORDS_MAX, ten_thousandths};

/// Words whose weight is kept.
const KNOWN_MAX: usize = 65_536;
/// From which compound on a text is positive or negative, in the authors' words.
const THRESHOLD: f64 = 0.05;
/// In the authors' normalisation, x / sqrt(x² + 15).
const ALPHA: f64 = 15.0;
/// What capitals add to a word, and what a negation makes of it, in the authors' rules.
const SHOUTED: f64 = 0.733;
const NEGATED: f64 = -0.74;
/// The inputs that [`Lexicon::inputs`] gives.
pub const INPUTS: usize = 7;

/// The words and rules.
pub struct Lexicon {
    rules: SentimentIntensityAnalyzer,
    known: HashMap<u64, f32, foldhash::fast::FixedState>,
    grams: Grams,
}

impl Default for Lexicon {
    fn default() -> Lexicon {
        let rules = SentimentIntensityAnalyzer::new();
        Lexicon { rules, known: HashMap::default(), grams: Grams::default() }
    }
}

impl Lexicon {
    /// What a word of a text weighs by itself: -4 to 4.
    pub fn weight(&mut self, text: &str, token: &Token) -> f64 {
        let as_it_stands = &text[token.start as usize..token.end as usize];
        // By its own characters: the token's hash takes all numbers for one, and long runs of marks,
        // but the lexicon does not (143, 187).
        let name = grams::exactly(as_it_stands);
        if let Some(weight) = self.known.get(&name) {
            return f64::from(*weight);
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let word = as_it_stands.to_lowercase();
        let compound = self.rules.polarity_scores(&word).compound.clamp(-0.9999, 0.9999);
        let weight = compound * (ALPHA / (1.0 - compound * compound)).sqrt();
        self.known.insert(name, weight as f32);
        f64::from(weight as f32)
    }

    /// What it says of a text, as inputs of a layer: of the rules the compound and the shares of
    /// positive and negative; of the words alone their sum, both shares, and the last that weighs.
    pub(crate) fn inputs(&mut self, text: &str, grams: &Grams, into: &mut Vec<f64>) {
        let said = self.rules.polarity_scores(text);
        let (mut positive, mut negative, mut last) = (0.0, 0.0, 0.0);
        for token in &grams.tokens {
            let mut weight = self.weight(text, token);
            if weight == 0.0 {
                continue;
            }
            if token.is_shouted {
                weight += SHOUTED.copysign(weight);
            }
            if token.is_negated {
                weight *= NEGATED;
            }
            last = weight;
            if weight > 0.0 {
                positive += weight;
            } else {
                negative -= weight;
            }
        }
        let sum: f64 = positive - negative;
        let n = grams.tokens.len().max(1) as f64;
        into.extend([said.compound, said.pos, said.neg]);
        into.extend([sum / (sum * sum + ALPHA).sqrt(), positive / n, negative / n, last / 4.0]);
    }
}

impl Scorer for Lexicon {
    fn name(&self) -> &str {
        NAME
    }

    fn opinion(&mut self, text: &str) -> Opinion {
        let compound = self.rules.polarity_scores(text).compound;
        let label = match compound {
            it if it >= THRESHOLD => Label::Positive,
            it if it <= -THRESHOLD => Label::Negative,
            _ => Label::Neutral,
        };
        let confidence = match label {
            Label::Neutral => 0.5,
            _ => 0.5 + compound.abs() / 2.0,
        };
        let mut grams = std::mem::take(&mut self.grams);
        grams.read_tokens(text);
        let words = weightiest(text, &grams, compound, |token| {
            let weight = self.weight(text, token);
            if token.is_negated { weight * NEGATED } else { weight }
        });
        self.grams = grams;
        Opinion {
            label,
            score: ten_thousandths(compound),
            confidence: ten_thousandths(confidence),
            words,
        }
    }
}

/// Its name, with the version of what it says.
pub const NAME: &str = "lexicon-en 1";

/// The words that weigh most in the direction of `sign`, each once; in either, if it is none.
pub(crate) fn weightiest(
    text: &str,
    grams: &Grams,
    sign: f64,
    mut weigh: impl FnMut(&Token) -> f64,
) -> Vec<CompactString> {
    let mut best: [(f64, usize); WORDS_MAX] = [(0.0, usize::MAX); WORDS_MAX];
    for (at, token) in grams.tokens.iter().enumerate() {
        let length = (token.end - token.start) as usize;
        let weight = weigh(token);
        let counts = if sign == 0.0 { weight.abs() } else { weight * sign.signum() };
        let seen = || {
            best.iter().any(|it| grams.tokens.get(it.1).is_some_and(|it| it.plain == token.plain))
        };
        if counts <= best[WORDS_MAX - 1].0 || length > WORD_MAX_BYTES || seen() {
            continue;
        }
        let place = best.iter().position(|it| counts > it.0).unwrap_or(WORDS_MAX - 1);
        best[place..].rotate_right(1);
        best[place] = (counts, at);
    }
    let named = best.iter().filter_map(|it| grams.tokens.get(it.1));
    named.map(|it| text[it.start as usize..it.end as usize].to_lowercase().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Opinion {
        Lexicon::default().opinion(text)
    }

    /// Goal: what is said and why. Method: texts whose compound the authors' paper or program gives.
    #[test]
    fn texts_have_label_score_and_reasons() {
        let it = said("VADER is smart, handsome, and funny.");
        assert_eq!((it.label, it.score), (Label::Positive, 8_316));
        assert_eq!(it.words, ["handsome", "funny", "smart"]);
        let it = said("At least it isn't a horrible book.");
        assert_eq!((it.label, it.score), (Label::Positive, 4_310));
        let it = said(
            "The plot was good, but the characters are uncompelling and the dialog is not great.",
        );
        assert_eq!((it.label, it.score), (Label::Negative, -7_042));
        assert_eq!(said("the parcel"), Opinion { confidence: 5_000, ..Opinion::default() });
        assert_eq!(said("").label, Label::Neutral);
    }

    /// Goal: what is said of a text depends on no other text. Method: of numbers the lexicon knows
    /// (and of marks and mentions) first, then of others that count as the same word in a model.
    #[test]
    fn what_was_read_before_changes_nothing() {
        let texts =
            ["143", "item 115 is here", ":)", ":)))))))", "@143 187", "@you 999", "don’t", "don't"];
        for backwards in [false, true] {
            let mut one = Lexicon::default();
            let mut texts = texts.to_vec();
            if backwards {
                texts.reverse();
            }
            for text in texts {
                let mut grams = Grams::default();
                grams.read(text);
                let (mut after, mut alone) = (Vec::new(), Vec::new());
                one.inputs(text, &grams, &mut after);
                Lexicon::default().inputs(text, &grams, &mut alone);
                assert_eq!(after, alone, "{text}");
                assert_eq!(one.opinion(text), said(text), "{text}");
            }
        }
        assert_eq!(said("143").words, ["143"]);
        assert!(said("item 115 is here").words.is_empty());
    }
}
