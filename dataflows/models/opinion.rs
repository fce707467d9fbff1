//! What is said of a text, by whichever scorer.
//!
//! # Meaning
//! The score runs from -1 (negative) to 1 (positive) and the confidence from 0 to 1, both kept as
//! whole ten-thousandths, so that sums of them are exact in any order.

use compact_str::CompactString;
use schemas::events::{Data, Event};

/// Ten-thousandths in one.
pub const ONE: i32 = 10_000;
/// Most words that an opinion names.
pub const WORDS_MAX: usize = 3;
/// Longest word that it names, in bytes; a longer one is not named.
pub const WORD_MAX_BYTES: usize = 40;

/// How somebody feels.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Label {
    /// Not well.
    Negative,
    /// Neither.
    #[default]
    Neutral,
    /// Well.
    Positive,
}

impl Label {
    /// Every label, in the order in which classes are counted.
    pub const ALL: [Label; 3] = [Label::Negative, Label::Neutral, Label::Positive];

    /// In rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Label::Negative => "negative",
            Label::Neutral => "neutral",
            Label::Positive => "positive",
        }
    }

    /// What stars say: one and two negative, three neutral, four and five positive.
    pub const fn of_stars(stars: u8) -> Label {
        match stars {
            0..=2 => Label::Negative,
            3 => Label::Neutral,
            _ => Label::Positive,
        }
    }
}

/// What is said of one text.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Opinion {
    /// The likeliest label.
    pub label: Label,
    /// -10,000 to 10,000.
    pub score: i32,
    /// 0 to 10,000: of the label, as far as the scorer knows.
    pub confidence: i32,
    /// The words that counted most for it, the weightiest first, as they stand in the text in
    /// lower case.
    pub words: Vec<CompactString>,
}

/// Says something of texts. Keeps buffers: one for each thread.
pub trait Scorer {
    /// Which model speaks, with its version: `lexicon-en 1`, `sentiment 7c0d…`.
    fn name(&self) -> &str;
    /// What it says of a text.
    fn opinion(&mut self, text: &str) -> Opinion;
}

/// Numbers from -1 to 1 as whole ten-thousandths.
pub(crate) fn ten_thousandths(it: f64) -> i32 {
    (it.clamp(-1.0, 1.0) * f64::from(ONE)).round() as i32
}

/// The free text of an event, if it has one: of feedback, of a case that opens, of an interaction.
pub fn text_of<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    let text = match &event.data {
        Data::FeedbackSubmitted(it) => it.text.as_deref(),
        Data::CaseOpened(it) => it.text.as_deref(),
        Data::InteractionRecorded(it) => it.text.as_deref(),
        _ => None,
    };
    text.filter(|it| !it.trim_ascii().is_empty())
}

/// A text whose label somebody gave by stars.
pub fn rated<'e>(event: &'e Event<'_>) -> Option<(&'e str, Label)> {
    match &event.data {
        Data::FeedbackSubmitted(it) => Some((text_of(event)?, Label::of_stars(it.rating?))),
        _ => None,
    }
}
