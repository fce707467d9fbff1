//! What is said of the texts that come in, once for each, before anything is exchanged.
//!
//! In: an event with a text. Out: its [`Opinion`], with the name of the model that said it.
//!
//! # Meaning
//! An opinion is a pure function of the text and of the model, so it is the same on every worker
//! and at every replay. The English lexicon speaks until a model of the company's own does.
//!
//! # State
//! A scorer for each worker, made with the first text, and the opinions of [`RECENT`] short texts
//! (short ones are said again and again).

use compact_str::CompactString;
use hashbrown::HashMap;

use crate::models::lexicon::Lexicon;
use crate::models::opinion::{Opinion, Scorer};

/// Texts whose opinion is kept.
const RECENT: usize = 1_024;
/// Longest text that is kept.
const SHORT: usize = 64;

/// One worker's scorer.
#[derive(Default)]
pub(crate) struct Opinions {
    lexicon: Option<Lexicon>,
    recent: HashMap<CompactString, Opinion, foldhash::fast::FixedState>,
}

impl Opinions {
    /// What is said of a text, and by which model.
    pub(crate) fn of(&mut self, text: &str) -> (Opinion, CompactString) {
        let lexicon = self.lexicon.get_or_insert_with(Lexicon::default);
        let name = CompactString::new(lexicon.name());
        if let Some(said) = self.recent.get(text) {
            return (said.clone(), name);
        }
        let said = lexicon.opinion(text);
        if text.len() <= SHORT {
            if self.recent.len() >= RECENT {
                self.recent.clear();
            }
            self.recent.insert(text.into(), said.clone());
        }
        (said, name)
    }
}
