//! Is the model a function of the set of texts, and does it say what was learnt?

use proptest::prelude::*;

use super::*;

const WORDS: [&str; 12] = [
    "parcel", "late", "broken", "thanks", "great", "never", "again", "não", "ótimo", "rude", "the",
    "is",
];

fn text(picks: &[u8]) -> String {
    let words = picks.iter().map(|it| WORDS[usize::from(*it) % WORDS.len()]);
    words.collect::<Vec<_>>().join(" ")
}

fn texts() -> impl Strategy<Value = Vec<(String, Label)>> {
    let one = (proptest::collection::vec(any::<u8>(), 1..8), 0usize..3)
        .prop_map(|(picks, label)| (text(&picks), Label::ALL[label]));
    proptest::collection::vec(one, 40..90)
}

fn sums(texts: &[(String, Label)]) -> Sums {
    let (mut sums, mut grams) = (Sums::default(), Grams::default());
    texts.iter().for_each(|(text, label)| sums.add(&mut grams, text, *label));
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Goal: order and parts do not matter, to the last bit. Method: the texts turned round, and
    /// in two parts merged either way; bodies are compared as bytes.
    #[test]
    fn order_does_not_matter(texts in texts(), cut in 1usize..39) {
        let whole = sums(&texts);
        let mut turned = texts.clone();
        turned.reverse();
        prop_assert_eq!(&whole, &sums(&turned));
        let (mut one, mut two) = (sums(&texts[..cut]), sums(&texts[cut..]));
        let first = one.clone();
        one.merge(&two);
        two.merge(&first);
        prop_assert_eq!(&one, &whole);
        prop_assert_eq!(&two, &whole);
        if let Some(model) = whole.fit(English::ByTexts) {
            let body = model.body();
            prop_assert_eq!(&body, &one.fit(English::ByTexts).unwrap().body());
            let mut back = Model::of_body(&body).unwrap();
            prop_assert_eq!(&body, &back.body());
            let mut model = model;
            for (text, _) in &texts {
                prop_assert_eq!(model.opinion(text), back.opinion(text));
            }
        }
    }

    /// Goal: the words of a text are the same, whether features are asked for or not, and there is no
    /// feature where none was asked for. Method: both, one behind the other.
    #[test]
    fn words_alone_are_the_words(said in "[a-zA-Zé'!?.@ :0-9☺]{0,60}", negation in any::<bool>()) {
        let said = if negation { format!("{said} hasn't, nunca {said}") } else { said };
        let (mut all, mut alone) = (Grams::default(), Grams::default());
        all.read(&said);
        alone.read(&said);
        alone.read_tokens(&said);
        prop_assert_eq!(format!("{:?}", all.tokens), format!("{:?}", alone.tokens));
        let counts = |it: &Grams| (it.n_exclamations, it.n_questions, it.n_shouted);
        prop_assert_eq!(counts(&all), counts(&alone));
        prop_assert!(alone.words.is_empty() && alone.pieces.is_empty());
    }

    /// Goal: taking a text out leaves no trace. Method: counts before, and after one in and out.
    #[test]
    fn what_goes_out_was_never_in(texts in texts(), one in proptest::collection::vec(any::<u8>(), 1..8)) {
        let before = sums(&texts);
        let mut after = before.words.clone();
        let mut grams = Grams::default();
        grams.read(&text(&one));
        after.add(&grams.words, Label::Negative);
        after.remove(&grams.words, Label::Negative);
        prop_assert_eq!(&before.words, &after);
        // Left out is the same as taken out.
        if let Some((text, label)) = texts.first() {
            grams.read(text);
            let (left, n) = before.words.score(&grams.words, Some(*label));
            after.remove(&grams.words, *label);
            let known = grams.words.iter().filter(|it| after.of.contains_key(*it)).count();
            prop_assert_eq!(n, known);
            prop_assert!(left.iter().all(|it| it.is_finite()));
        }
    }

    /// Goal: bytes that are no body are told, not believed. Method: one byte changed, or some cut.
    #[test]
    fn damaged_bodies_do_no_harm(texts in texts(), at in any::<prop::sample::Index>(), by in 1u8..) {
        let Some(model) = sums(&texts).fit(English::No) else { return Ok(()) };
        let mut body = model.body();
        let at = at.index(body.len());
        prop_assert!(Model::of_body(&body[..at]).is_none());
        body[at] ^= by;
        if let Some(mut it) = Model::of_body(&body) {
            it.opinion("the parcel is late");
        }
    }
}

/// Goal: it learns, in a language that the lexicon does not know, and names its reasons.
/// Method: a hundred texts in Portuguese, made of few words.
#[test]
fn it_learns_what_people_mean() {
    let mut trainer = Trainer::default();
    for n in 0..120 {
        trainer.add(&format!("produto {n} ótimo chegou antes"), Label::Positive);
        trainer.add(&format!("produto {n} péssimo não chegou"), Label::Negative);
    }
    let (model, quality) = trainer.fit(English::ByTexts).unwrap();
    assert!(!model.is_english);
    assert!(quality.n_texts > 10 && quality.accuracy > 0.99, "{quality:?}");
    let mut model = model.named("sentiment 1");
    let said = model.opinion("Ótimo! chegou cedo");
    assert_eq!((said.label, model.name()), (Label::Positive, "sentiment 1"));
    assert_eq!(said.words[0], "ótimo");
    let said = model.opinion("péssimo");
    assert!(said.label == Label::Negative && said.score < -8_000, "{said:?}");
    // A class that nobody gave is never said.
    assert_ne!(model.opinion("xyz").label, Label::Neutral);
    assert!(Sums::default().fit(English::Yes).is_none());
}
