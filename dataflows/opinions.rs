//! What is said of the texts that come in, once for each, before anything is exchanged.
//!
//! In: an event's text, with its tenant and time. Out: its [`Opinion`], with the name of the model
//! that said it.
//!
//! # Meaning
//! An opinion is a pure function of the text and of the model, and which model speaks is one of the
//! event's time and tenant ([`crate::models::published`]): the same on every worker and at every
//! replay. The English lexicon speaks where no model was published before.
//!
//! # State
//! For each model that has spoken on this worker, a scorer and the opinions of [`RECENT`] short
//! texts (short ones are said again and again).

use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;

use crate::models::lexicon::Lexicon;
use crate::models::opinion::{Opinion, Scorer};
use crate::models::published::{Published, Speaker, speaker_of};

/// Texts whose opinion is kept, of each model.
const RECENT: usize = 1_024;
/// Longest text that is kept.
const SHORT: usize = 64;

/// One worker's scorers.
#[derive(Default)]
pub(crate) struct Opinions {
    published: Arc<Published>,
    known: Arc<[Arc<Speaker>]>,
    /// The lexicon, then one for each of the known; made when first asked.
    voices: Vec<Option<Voice>>,
}

/// Who speaks, and what it said lately.
struct Voice {
    scorer: Box<dyn Scorer>,
    name: CompactString,
    recent: HashMap<CompactString, Opinion, foldhash::fast::FixedState>,
}

impl Opinions {
    /// Of those that were published.
    pub(crate) fn of(published: Arc<Published>) -> Opinions {
        Opinions { published, ..Opinions::default() }
    }

    /// What is said of a text of this tenant and event time, and by which model.
    pub(crate) fn say(&mut self, tenant: &str, at: i64, text: &str) -> (Opinion, CompactString) {
        self.published.bring(&mut self.known);
        let place = speaker_of(&self.known, tenant, at);
        self.voices.resize_with(self.known.len() + 1, || None);
        let voice = self.voices[place.map_or(0, |it| it + 1)].get_or_insert_with(|| match place {
            Some(it) => Voice::of(Box::new(self.known[it].model())),
            None => Voice::of(Box::new(Lexicon::default())),
        });
        (voice.say(text), voice.name.clone())
    }
}

impl Voice {
    fn of(scorer: Box<dyn Scorer>) -> Voice {
        let name = scorer.name().into();
        Voice { scorer, name, recent: HashMap::default() }
    }

    fn say(&mut self, text: &str) -> Opinion {
        if let Some(said) = self.recent.get(text) {
            return said.clone();
        }
        let said = self.scorer.opinion(text);
        if text.len() <= SHORT {
            if self.recent.len() >= RECENT {
                self.recent.clear();
            }
            self.recent.insert(text.into(), said.clone());
        }
        said
    }
}
