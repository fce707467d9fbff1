//! The models that were published, and which of them speaks of which text.
//!
//! In: [`Speaker`]s, each with the instant from which it speaks. Out: to each worker, all of them.
//!
//! # Meaning
//! Of a text speaks the newest model whose instant is not after the text's own event time, among
//! those for its tenant and those for all; the lexicon where there is none. So what is said of a
//! text depends on the text and on what was published, never on the order in which either came
//! (test: `the_newest_before_its_own_time_speaks`).
//!
//! # Invariants
//! Instants strictly increase; nothing is ever taken away or replaced. A model is added while no
//! worker has a chunk (the door's matter), so that no text is scored by an older one than it would
//! be at a replay.
//!
//! # State
//! What was learnt, once for all workers: about 20 bytes a feature. How many there may be is the
//! business of those who add them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use compact_str::CompactString;
use parking_lot::RwLock;

use super::sentiment::Model;

/// A model, and of what it speaks.
pub struct Speaker {
    /// Only of this tenant's texts; of all without.
    tenant: Option<CompactString>,
    /// Of texts with this event time and later: microseconds since the Unix epoch.
    since: i64,
    model: Model,
}

impl Speaker {
    /// A model that speaks of texts from this instant on, under the name that it has.
    pub fn new(model: &Model, tenant: Option<&str>, since: i64) -> Speaker {
        Speaker { tenant: tenant.map(CompactString::new), since, model: model.twin() }
    }

    /// Another one for a thread of its own.
    pub(crate) fn model(&self) -> Model {
        self.model.twin()
    }

    fn speaks(&self, tenant: &str, at: i64) -> bool {
        self.since <= at && self.tenant.as_ref().is_none_or(|it| it == tenant)
    }
}

/// All of them, in the order in which they were published.
#[derive(Default)]
pub struct Published {
    all: RwLock<Arc<[Arc<Speaker>]>>,
    n: AtomicUsize,
}

impl Published {
    /// One more, whose instant is after those of all before it; false, and nothing is added, if it
    /// is not.
    pub fn add(&self, speaker: Speaker) -> bool {
        let mut all = self.all.write();
        if all.last().is_some_and(|it| it.since >= speaker.since) {
            return false;
        }
        let more = all.iter().cloned().chain([Arc::new(speaker)]);
        *all = more.collect();
        self.n.store(all.len(), SeqCst);
        true
    }

    /// Brings what is known to a worker up to date.
    pub(crate) fn bring(&self, known: &mut Arc<[Arc<Speaker>]>) {
        if self.n.load(SeqCst) != known.len() {
            *known = Arc::clone(&self.all.read());
        }
    }
}

/// The place of the one who speaks of a text; none: the lexicon does.
pub(crate) fn speaker_of(all: &[Arc<Speaker>], tenant: &str, at: i64) -> Option<usize> {
    all.iter().rposition(|it| it.speaks(tenant, at))
}

#[cfg(test)]
mod tests {
    use super::super::opinion::{Label, Scorer};
    use super::super::sentiment::{English, Trainer};
    use super::*;
    use crate::opinions::Opinions;

    /// One that has learnt what a word that nobody knows means.
    fn model(name: &str, label: Label) -> Model {
        let mut trainer = Trainer::default();
        let other = if label == Label::Positive { Label::Negative } else { Label::Positive };
        for n in 0..40 {
            trainer.add(&format!("zorg {n}"), label);
            trainer.add(&format!("blub {n}"), other);
        }
        trainer.fit(English::No).unwrap().0.named(name)
    }

    /// Goal: of a text speaks the newest before its own time, for its tenant, whatever was asked
    /// before and whenever the models came. Method: a table, asked forwards and backwards, with
    /// the models there from the start and added in between.
    #[test]
    fn the_newest_before_its_own_time_speaks() {
        let [first, second, third] = [
            (model("one", Label::Positive), None, 1_000),
            (model("two", Label::Negative), Some("a"), 2_000),
            (model("three", Label::Positive), None, 3_000),
        ];
        let lexicon = super::super::lexicon::NAME;
        let table = [
            ("a", 999, lexicon, Label::Neutral),
            ("a", 1_000, "one", Label::Positive),
            ("b", 2_500, "one", Label::Positive),
            ("a", 2_000, "two", Label::Negative),
            ("a", 2_999, "two", Label::Negative),
            ("a", 3_000, "three", Label::Positive),
            ("b", i64::MAX, "three", Label::Positive),
        ];
        let add = |to: &Published, it: &(Model, Option<&str>, i64)| {
            assert!(to.add(Speaker::new(&it.0, it.1, it.2)));
        };
        let all = Arc::new(Published::default());
        [&first, &second, &third].into_iter().for_each(|it| add(&all, it));
        assert!(!all.add(Speaker::new(&first.0, None, 3_000)), "not after the last");
        let mut opinions = Opinions::of(Arc::clone(&all));
        for (tenant, at, name, label) in table.iter().chain(table.iter().rev()) {
            let (said, by) = opinions.say(tenant, *at, "zorg");
            assert_eq!((said.label, by.as_str()), (*label, *name), "{tenant} {at}");
        }
        let growing = Arc::new(Published::default());
        let mut opinions = Opinions::of(Arc::clone(&growing));
        for (tenant, at, name, label) in &table {
            for it in [&first, &second, &third] {
                let comes = *at >= it.2 && growing.n.load(SeqCst) < 3;
                let known = growing.all.read().iter().any(|known| known.since == it.2);
                if comes && !known {
                    add(&growing, it);
                }
            }
            let (said, by) = opinions.say(tenant, *at, "zorg");
            assert_eq!((said.label, by.as_str()), (*label, *name), "{tenant} {at}");
        }
    }

    /// Goal: a twin says what its model says. Method: both are asked.
    #[test]
    fn a_twin_says_the_same() {
        let mut one = model("one", Label::Positive);
        let mut twin = one.twin();
        for text in ["zorg 3", "blub", "ZORG!", "what is it?", ""] {
            assert_eq!(one.opinion(text), twin.opinion(text));
        }
        assert_eq!(one.name(), twin.name());
        assert_eq!(one.texts, [40, 0, 40]);
    }
}
